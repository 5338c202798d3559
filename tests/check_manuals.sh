#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_manuals.sh BUILD_DIR: the man pages are well-formed, and whatis(1) finds a name and a line in each.
build=$(cd "${1:?usage: check_manuals.sh BUILD_DIR}" && pwd) || exit 1
bad=0
for page in mkdisk mountfs; do
    file=$build/docs/$page.1
    [ -f "$file" ] || { echo "skipped: $file was not built: go-md2man is not installed"; exit 77; }
    command -v mandoc >/dev/null || { echo "skipped: mandoc is not installed"; exit 77; }
    mandoc -T lint -W error "$file" || bad=1 # warnings are go-md2man's ways
    head -n 5 "$file" | grep -q "^\.TH \"*$page\"* \"*1\"*" || { echo "manuals: $page.1 has no title"; bad=1; }
    mandoc -T utf8 "$file" | grep -q "$page - " || { echo "manuals: $page.1 has no line for whatis"; bad=1; }
done
exit $bad
