#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Would the tests notice? Takes one promise at a time out of a copy of the code, and the tests named beside it must fail:
#     mutations.sh WORK     WORK is a directory for the copy and its build, kept for the next time
# A line of tests/mutations: the file, the tests, the text as it stands there once, and what it becomes, in that order,
# with tabs between. Text that is not found is a failure too, so that the list keeps up with the code.
set -u
cd "$(dirname "$0")/.." || exit 1
list=$PWD/tests/mutations work=$1
mkdir -p "$work" || exit 1
git ls-files -z | xargs -0 cp -pu --parents -t "$work" || exit 1
cd "$work" || exit 1
[ -f build/build.ninja ] || meson setup build -Dwerror=false >build.log 2>&1 || { cat build.log; exit 1; }
ninja -C build >build.log 2>&1 || { tail -n 30 build.log; exit 1; }

bad=0
while IFS=$'\t' read -r file tests old new; do
    [ -n "$file" ] && [ "${file#\#}" = "$file" ] || continue
    cp "$file" kept
    if ! OLD=$old NEW=$new python3 -c '
import os, sys
text = open(sys.argv[1], encoding="utf-8").read()
if text.count(os.environ["OLD"]) != 1:
    sys.exit(1)
open(sys.argv[1], "w", encoding="utf-8").write(text.replace(os.environ["OLD"], os.environ["NEW"]))' "$file"; then
        echo "not there once: $file: $old"
        bad=1
        continue
    fi
    if ! ninja -C build >build.log 2>&1; then
        echo "does not build: $file: $old"
        tail -n 5 build.log
        bad=1
    elif meson test -C build --no-rebuild $tests >test.log 2>&1; then # shellcheck disable=SC2086
        echo "UNNOTICED by $tests: $file: $old"
        bad=1
    else
        echo "noticed by $(sed -n 's,^ *[0-9]*/[0-9]* [^ ]* */* *\([a-z_]*\) *\(FAIL\|ERROR\|TIMEOUT\).*,\1,p' test.log | paste -sd ' '): $file: $old"
    fi
    cp kept "$file"
done <"$list"
exit $bad
