#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gcc -fanalyzer and clang-tidy over the programs: analyze.sh BUILD    (a build directory, for its compile commands)
# Both see one file at a time, and tests/analyze.h tells them what they would have to know of diag.c.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$(cd "$1" && pwd) out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT

# Not looked for by gcc, whose analyzer is young: leaks, because it loses track of what a struct or a scope owns (that is
# ASan's and valgrind's to find), and uninitialised values, because it does not follow arrays of structs (valgrind's).
gcc_options="-fanalyzer -Wno-analyzer-malloc-leak -Wno-analyzer-use-of-uninitialized-value -Wno-unused-value \
    -Wno-format-truncation -Werror -O1 -fdiagnostics-plain-output -include $PWD/tests/analyze.h -c -o /dev/null"

# Besides the path-sensitive ones, checks that tell mistakes rather than taste. Not looked for, with the reason:
#   unix.Malloc, DeadStores         clang's analyzer does not know the cleanup attribute, so every scope-bound object is a leak
#                                   and every take_ptr() a lost store; ASan, valgrind and the allocation sweeps know better
#   UndefinedBinaryOperatorResult, CallAndMessage, uninitialized.Branch
#                                   outputs are set on success, and a result is 0 or negative: it tries positive ones;
#                                   valgrind sees values that were never set
#   NonNullParamChecker, UnixAPI    a NULL pointer with length 0, an allocation of 0 bytes: both are the callers' to exclude
#   insecureAPI                     functions of C11 Annex K, which glibc lacks; strcpy into arrays just measured
#   sizeof-expression               arrays of pointers; not-null-terminated-result: bytes that are no strings
#   cert-err34-c                    sscanf() with field widths, so nothing overflows
#   others                          casts between integers whose range is known, parameters of one type side by side
tidy_checks="-*,clang-analyzer-*,bugprone-*,cert-fio38-c,cert-flp30-c,cert-msc30-c"
for check in clang-analyzer-{unix.Malloc,deadcode.DeadStores,core.UndefinedBinaryOperatorResult,core.CallAndMessage} \
    clang-analyzer-{core.uninitialized.Branch,core.NonNullParamChecker,optin.portability.UnixAPI,optin.performance.Padding} \
    clang-analyzer-security.insecureAPI.{DeprecatedOrUnsafeBufferHandling,strcpy} \
    bugprone-{sizeof-expression,not-null-terminated-result,easily-swappable-parameters,assignment-in-if-condition} \
    bugprone-{narrowing-conversions,reserved-identifier,macro-parentheses,implicit-widening-of-multiplication-result} \
    bugprone-suspicious-include; do
    tidy_checks=$tidy_checks,-$check
done

# The lanes of hash_*.c are straight lines of intrinsics, on which gcc's analyzer takes minutes.
jq -r '.[] | select(.file | test("/(common|mkdisk|mountfs)/[a-z_0-9]*\\.c$")) | [.file, .command] | @tsv' \
    "$build/compile_commands.json" | sort -u >"$out/all" || exit 1
while IFS=$'\t' read -r file command; do
    case $file in */diag.c | */hash_*.c) continue ;; esac
    flags=$(grep -oE "(^| )('-D[^']*'|-[DI][^ ]*|-U[^ ]*|-std=[^ ]*)" <<<"$command" | tr '\n' ' ')
    echo "gcc $flags $gcc_options $file"
done <"$out/all" >"$out/commands"
sed "s,.*/\([a-z]*/[a-z_0-9]*\.c\)\t.*,$PWD/\1," "$out/all" | grep -v '/diag\.c$' >"$out/files"

bad=0
(cd "$build" && xargs -d '\n' -P "$(nproc)" -n 1 sh -c <"$out/commands" >"$out/gcc" 2>&1) || bad=1
grep -E '(warning|error):' "$out/gcc" | sort -u
xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build" --checks="$tidy_checks" --warnings-as-errors='*' \
    --extra-arg=-Wno-everything --extra-arg="-include$PWD/tests/analyze.h" <"$out/files" >"$out/tidy" 2>&1 || bad=1
grep -E '(warning|error):' "$out/tidy" | sort -u
echo "analyzed: $(wc -l <"$out/commands") files by gcc, $(wc -l <"$out/files") by clang-tidy"
exit $bad
