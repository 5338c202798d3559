#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same source built in two directories of different names gives the same programs, bit for bit.
cd "$(dirname "$0")/.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
for place in first second-with-a-longer-name; do
    mkdir -p "$dir/$place" &&
        git archive HEAD | tar -x -C "$dir/$place" &&
        (cd "$dir/$place" && umask "$([ $place = first ] && echo 022 || echo 077)" &&
            meson setup build -Dtests=false >build.log 2>&1 && ninja -C build >>build.log 2>&1 || { cat build.log; exit 1; }) ||
        exit 1
done
for program in mkdisk mountfs; do
    cmp "$dir/first/build/$program/$program" "$dir/second-with-a-longer-name/build/$program/$program" || exit 1
done
