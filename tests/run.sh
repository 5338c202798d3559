#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds and passes every test: tests/run.sh
# One named configuration, or several:                  tests/run.sh NAME...     (--list names them)
# Each configuration is a function conf_NAME below; CI runs them all by calling this file without arguments.
# A test that cannot run here says why and counts as skipped; with CI=true a skip is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/packages.sh

passed=0 failed=0 skipped=0
failures=()
notes=() # what was not run, for reasons outside this project

note() { printf '\n== %s\n' "$*"; }

# count_result NAME STATUS: one check that is not a meson test
count_result() {
    case $2 in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) && failures+=("skipped: $1") ;;
    *) failed=$((failed + 1)) && failures+=("failed: $1") ;;
    esac
}

check() {
    local name=$1 status
    shift
    "$@"
    status=$?
    count_result "$name" $status
    [ $status = 0 ] && echo "ok $name" || echo "not ok $name ($status)"
}

# build DIR [meson options]: configured once, then kept; compilers come from CC, targets (all) from TARGETS
build() {
    local dir=$1
    shift
    if [ ! -f "$dir/build.ninja" ]; then
        meson setup "$dir" -Dwerror=true "$@" >"$dir.log" 2>&1 || { cat "$dir.log"; return 1; }
    fi
    # shellcheck disable=SC2086
    ninja -C "$dir" ${TARGETS-} >"$dir.log" 2>&1 || { tail -n 60 "$dir.log"; return 1; }
    rm -f "$dir.log"
}

# meson_test CONFIGURATION DIR [meson test options]: every result is counted, failures are shown whole
meson_test() {
    local conf=$1 dir=$2 name result
    shift 2
    rm -f "$dir"/meson-logs/testlog*.json # with --wrap the name has the wrapper's in it
    meson test -C "$dir" --no-rebuild --print-errorlogs "$@" >"$dir/meson-logs/console.txt" 2>&1
    ls "$dir"/meson-logs/testlog*.json >/dev/null 2>&1 || { cat "$dir/meson-logs/console.txt"; count_result "$conf" 1; return; }
    while IFS=$'\t' read -r name result; do
        case $result in
        OK | EXPECTEDFAIL) count_result "$conf: $name" 0 ;;
        SKIP) count_result "$conf: $name" 77 ;;
        *) count_result "$conf: $name" 1 ;;
        esac
    done < <(jq -r '[.name, .result] | @tsv' "$dir"/meson-logs/testlog*.json)
    sed -n '/^ *[0-9]*\/[0-9]*/p' "$dir/meson-logs/console.txt"
    grep -qE '(FAIL|TIMEOUT|ERROR)' "$dir/meson-logs/console.txt" && tail -n 150 "$dir/meson-logs/console.txt"
    return 0
}

conf_gcc() { # gcc, every suite: unit, golden, oracle, e2e
    CC=gcc build build-gcc && prepare_fuse && meson_test gcc build-gcc || count_result "gcc build" 1
}

conf_clang() { # clang: unit tests
    CC=clang build build-clang && meson_test clang build-clang --suite unit || count_result "clang build" 1
}

conf_asan_ubsan() { # address and undefined behaviour sanitizers: unit and hostile input
    CC=clang build build-asan -Db_sanitize=address,undefined -Db_lundef=false &&
        ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1 \
            UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
            meson_test asan_ubsan build-asan --suite unit --suite hostile --suite fuzz -t 4 ||
        count_result "asan_ubsan build" 1
}

# search SECONDS [libFuzzer options]: every fuzz target, from its corpus and what was found before
search() {
    local seconds=$1 target name
    shift
    CC=clang build build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false || {
        count_result "fuzz build" 1
        return
    }
    for target in build-fuzz/tests/fuzz/fuzz_*; do
        [ -f "$target" ] || continue
        name=${target##*/fuzz_}
        mkdir -p "build-fuzz/found/$name"
        check "fuzz: $name" env UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 "$target" -max_len=24576 \
            -max_total_time="$seconds" -timeout=20 -verbosity=0 -artifact_prefix="build-fuzz/found/$name-" "$@" \
            "build-fuzz/found/$name" "tests/fuzz/corpus/$name"
    done
}

conf_fuzz() { # every fuzz target searches for some seconds, from a fixed seed
    search 10 -seed=1
}

long_fuzz_long() { # every fuzz target searches for FUZZ_SECONDS (an hour), and what it executed is told
    search "${FUZZ_SECONDS:-3600}" -print_final_stats=1
}

long_coverage() { # lines and branches of the parsers that the fuzz targets reach
    CC=clang TARGETS=$(sed -n 's,^\([a-z_]*\) .*,tests/fuzz/replay_\1,p' tests/fuzz/parsers) \
        build build-coverage -Dc_args="-fprofile-instr-generate -fcoverage-mapping" \
        -Dc_link_args=-fprofile-instr-generate &&
        check "coverage" tests/fuzz/coverage.sh build-coverage build-fuzz/found || count_result "coverage build" 1
}

long_load_long() { # 64 readers for ten minutes while the disk is scribbled on
    CC=gcc build build-gcc && prepare_fuse && check "load" env MOUNTFS="$PWD/build-gcc/mountfs/mountfs" \
        LOAD="$PWD/build-gcc/tests/load" tests/e2e/mount_load.py 60 10 || count_result "load build" 1
}

conf_tsan() { # thread sanitizer: unit tests
    CC=clang build build-tsan -Db_sanitize=thread -Db_lundef=false &&
        TSAN_OPTIONS=halt_on_error=1 meson_test tsan build-tsan --suite unit -t 6 ||
        count_result "tsan build" 1
}

conf_valgrind() { # valgrind memcheck over the parsers' unit tests
    CC=gcc build build-gcc &&
        meson_test valgrind build-gcc text gpt definitions erofs erofs_dir erofs_walk erofs_xattr verity tree record -t 10 \
            --wrap='valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite' ||
        count_result "valgrind build" 1
}

conf_char_signs() { # the sign of char and 32-bit arithmetic slips must not matter
    CC=gcc build build-uchar -Dc_args=-funsigned-char && meson_test char_signs build-uchar --suite unit ||
        count_result "char_signs build" 1
}

conf_static() { # layers, command line against manuals, documents, formatting, cppcheck
    check "layers" tests/check_layers.sh
    check "documents" tests/check_docs.sh
    CC=gcc build build-gcc && check "command line" tests/check_cli.sh build-gcc
    check "completion" tests/check_completion.sh build-gcc
    check "manuals" tests/check_manuals.sh build-gcc
    check "hardening of the binaries" tests/check_hardening.sh build-gcc
    check "formatting" sh -c "git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror"
    # cppcheck does not know the cleanup attribute: it takes every scope-bound object for a leak
    check "cppcheck" cppcheck --quiet --std=c11 --enable=warning,portability --error-exitcode=1 \
        --inline-suppr --suppress=missingIncludeSystem --suppress=memleak --suppress=uninitvar \
        --suppress=legacyUninitvar -Iinclude -Imkdisk -Imountfs common mkdisk mountfs
}

conf_bench() { # every case of the benchmark once and small: that it runs, not how fast
    CC=gcc build build-gcc && check "benchmark" tests/bench/run.py --quick --build build-gcc ||
        count_result "bench build" 1
}

conf_clients() { # llama.cpp, ONNX Runtime, nginx, rsync, fio, git and others read from a mount
    packages_need clients && CC=gcc build build-gcc || { count_result "clients build" 1; return; }
    prepare_fuse
    local client npm=$PWD/build-clients reach=0
    mkdir -p "$npm" && cp tests/clients/package.json "$npm"
    (cd "$npm" && timeout 600 npm install --ignore-scripts --omit=optional --no-audit --no-fund) >build-clients.log 2>&1 ||
        { tail -n 5 build-clients.log && reach=1; }
    for client in rsync nginx fio_verify git_fsck stress_ng llama_cpp onnx_runtime safetensors; do
        case $client in
        llama_cpp | onnx_runtime | safetensors)
            # a registry that is away says nothing about us: named, and no failure
            [ $reach = 0 ] || { notes+=("not run, no npm registry: clients: $client"); continue; }
            [ "$(uname -m)" = x86_64 ] || [ $client != llama_cpp ] ||
                { notes+=("not run, llama.cpp is fetched for x86-64 only: clients: $client"); continue; } ;;
        esac
        check "clients: $client" env MODELDISK_NPM="$npm" MKDISK="$PWD/build-gcc/mkdisk/mkdisk" \
            MOUNTFS="$PWD/build-gcc/mountfs/mountfs" PYTHONDONTWRITEBYTECODE=1 \
            python3 tests/clients/clients.py "$client" >build-clients.log 2>&1
        grep -E '^(ok|not ok)' build-clients.log || cat build-clients.log
    done
    rm -f build-clients.log
}

conf_package() { # the Debian package: built, installed and used in a fresh system
    packages_need build package && prepare_fuse && check "package" env DEB_BUILD_OPTIONS=nocheck tests/package.sh build-package
}

conf_quickstart() { # the README's first command
    prepare_fuse
    check "quickstart" ./quickstart.sh
}

conf_reproducible() { # same source, other directory: same programs
    check "reproducible build" tests/check_reproducible.sh
}

long_kernel() { # a real kernel's dm-verity and EROFS as judges, in User Mode Linux; a part of gcc
    CC=gcc build build-gcc && meson_test kernel build-gcc oracle_kernel_verity oracle_kernel_erofs oracle_kernel_backend ||
        count_result "kernel build" 1
}

long_analyze() { # gcc -fanalyzer and clang-tidy over the programs
    CC=gcc build build-gcc && check "analyzers" tests/analyze.sh build-gcc || count_result "analyzer build" 1
}

long_mutations() { # takes one promise out of the code at a time: does a test notice?
    prepare_fuse
    check "mutations" tests/mutations.sh build-mutations
}

# An ordinary user needs to open /dev/fuse; some machines have it 0600.
prepare_fuse() {
    [ "$(id -u)" = 0 ] && [ -c /dev/fuse ] && chmod 666 /dev/fuse
    return 0
}

# configurations conf: those that a run without arguments passes; long: those that are asked for by name
configurations() { sed -n "s/^$1_\\([a-z_]*\\)() { # \\(.*\\)/\\1\\t\\2/p" tests/run.sh; }
function_of() { declare -F "conf_$1" || declare -F "long_$1"; }

case ${1-} in
-h | --help)
    echo "usage: tests/run.sh [NAME...]; without NAME, all of:"
    configurations conf | sed 's/^/  /'
    echo "and, only when they are named:"
    configurations long | sed 's/^/  /'
    exit 0
    ;;
--list)
    configurations conf
    configurations long
    exit 0
    ;;
esac

packages_need build quickstart tests || exit 1
[ $# -gt 0 ] || set -- $(configurations conf | cut -f 1)
for name; do
    function_of "$name" >/dev/null || { echo "tests/run.sh: no configuration '$name'; --list names them" >&2; exit 2; }
done
for name; do
    note "$name: $({ configurations conf; configurations long; } | sed -n "s/^$name\t//p")"
    "$(function_of "$name")"
done

note "summary"
[ ${#notes[@]} = 0 ] || printf '%s\n' "${notes[@]}"
[ ${#failures[@]} = 0 ] || printf '%s\n' "${failures[@]}"
echo "tests: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] || exit 1
[ "$passed" -gt 0 ] || exit 1
[ "${CI-}" != true ] || [ "$skipped" = 0 ] || exit 1
