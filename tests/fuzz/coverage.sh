#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lines and branches of the parsers that the fuzz targets reach: coverage.sh BUILD [FOUND]
# BUILD was made by clang with -fprofile-instr-generate -fcoverage-mapping. Each target replays its corpus, and what a
# search has found for it in FOUND/TARGET.
set -u
build=$1 found=${2-}
cd "$(dirname "$0")/../.." || exit 1
out=$(mktemp -d) && trap 'rm -rf "$out"' EXIT
tool() { command -v "$1" || command -v "$1-14" || { echo "coverage.sh: $1 is missing" >&2; exit 77; }; }
profdata=$(tool llvm-profdata) && cov=$(tool llvm-cov) || exit 77

printf '%-12s %7s  %-28s %6s %8s\n' target inputs file lines branches
sed '/^#/d' tests/fuzz/parsers >"$out/parsers"
for source in tests/fuzz/fuzz_*.c; do
    target=${source##*/fuzz_} && target=${target%.c}
    grep -q "^$target " "$out/parsers" || { echo "coverage.sh: tests/fuzz/parsers does not name $target" >&2; exit 1; }
done
while read -r target files; do
    inputs=("tests/fuzz/corpus/$target")
    [ -d "$found/$target" ] && [ -n "$(ls "$found/$target")" ] && inputs+=("$found/$target")
    program=$build/tests/fuzz/replay_$target
    LLVM_PROFILE_FILE="$out/$target.raw" "$program" "${inputs[@]}" >"$out/log" 2>&1 ||
        { tail -n 5 "$out/log"; echo "coverage.sh: $target fails" >&2; exit 1; }
    "$profdata" merge -o "$out/$target.data" "$out/$target.raw" || exit 1
    for file in $files; do
        [ -f "$file" ] || { echo "coverage.sh: tests/fuzz/parsers names $file, which is not there" >&2; exit 1; }
        "$cov" export -summary-only -instr-profile "$out/$target.data" "$program" "$file" >"$out/json" 2>/dev/null || exit 1
        jq -r --arg file "/$file" '.data[0].files[] | select(.filename | endswith($file)) | .summary |
                [.lines.percent, .branches.percent] | map(floor) | @tsv' "$out/json" |
            { read -r lines branches && printf '%-12s %7s  %-28s %5s%% %7s%%\n' "$target" \
                "$(find "${inputs[@]}" -type f | wc -l)" "$file" "$lines" "$branches"; } || exit 1
    done
done <"$out/parsers"
