#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_cli.sh BUILD_DIR: help, manual and command line agree. Every option of --help stands in docs/PROGRAM.1.md and the
# other way round; the help fits 80 columns and goes to stdout; mistakes are one line on stderr and exit status 2.
build=$(cd "${1:?usage: check_cli.sh BUILD_DIR}" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
bad=0
fail() {
    bad=1
    echo "command line: $*"
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Options stand in the manual as terms: lines that begin with **-. Several on one line are one option and its other names,
# of which the help has at least one.
check_manual() { # check_manual PROGRAM
    manual=docs/$1.1.md
    [ -f "$manual" ] || { fail "$manual is missing"; return; }
    grep -oE '(^|[ ,])--[a-z][a-z-]*' "$work/help" | grep -oE -- '--[a-z-]+' | sort -u >"$work/in_help"
    sed -n '/^## OPTIONS/,/^## [^O]/p' "$manual" | grep -E '^\*\*-' >"$work/terms"
    for option in $(cat "$work/in_help"); do
        grep -qE -- "\*\*$option(\*|=|\[)" "$work/terms" ||
            fail "$1 $option stands in --help, but not among the options of $manual"
    done
    while IFS= read -r term; do
        known=
        for option in $(printf '%s\n' "$term" | grep -oE -- '--?[a-zA-Z][a-z-]*'); do
            grep -qE -- "(^|[ ,])$option([ =[,]|\$)" "$work/help" && known=yes
        done
        [ "$known" ] || fail "$manual has $term, which --help does not know"
    done <"$work/terms"
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        grep -qx "## $section" "$manual" || fail "$manual has no section $section"
    done
}

check_help() { # check_help PROGRAM PATH
    "$2" --help >"$work/help" 2>"$work/err" || fail "$1 --help: exit status $?"
    [ -s "$work/err" ] && fail "$1 --help prints on stderr"
    awk 'length($0) > 80 { print "line " NR ": " $0 }' "$work/help" >"$work/long"
    [ -s "$work/long" ] && fail "$1 --help is wider than 80 columns: $(head -n 1 "$work/long")"
    "$2" --version >"$work/out" 2>"$work/err" || fail "$1 --version: exit status $?"
    grep -qE "^$1 [0-9]+\.[0-9]+" "$work/out" || fail "$1 --version prints '$(cat "$work/out")'"
    "$2" --help >/dev/full 2>/dev/null && fail "$1 --help on a full disk: exit status 0"
}

# mistake PROGRAM PATH ARGUMENTS...: one line on stderr, nothing on stdout, exit status 2
mistake() {
    program=$1 path=$2
    shift 2
    "$path" "$@" >"$work/out" 2>"$work/err"
    status=$?
    [ $status = 2 ] || fail "$program $*: exit status $status, expected 2"
    [ -s "$work/out" ] && fail "$program $*: prints on stdout"
    [ "$(wc -l <"$work/err")" = 1 ] || fail "$program $*: $(wc -l <"$work/err") lines on stderr, expected 1"
    grep -q "^$program: " "$work/err" || fail "$program $*: the message is '$(cat "$work/err")'"
}

for program in mkdisk mountfs; do
    path=$build/$program/$program
    [ -x "$path" ] || { fail "$path does not exist"; continue; }
    check_help $program "$path"
    check_manual $program
    mistake $program "$path"
    mistake $program "$path" --no-such-option
    mistake $program "$path" -Z
    mistake $program "$path" one
    mistake $program "$path" --help=yes
    mistake $program "$path" one two three four five
done

mkdisk=$build/mkdisk/mkdisk
mkdir "$work/model" && echo content >"$work/model/file"
for wrong in --layout=square --size=much --seed=1 --disk-guid= --empty=allow --sector-size=1024 --coverage=half \
    --offline=maybe --compat=systemd-1 --exclude-mode=regex --owner=me --xattrs=some --source-date-epoch=today \
    --source-date-epoch=-1 --json=yaml --dry-run=perhaps --expect-root-hash=abc --jobs=0 --jobs=65 -jx --retries=-1 --retries=many --timeout=0 --timeout= --progress=loud \
    --uuid=00000000-0000-0000-0000-000000000000 --salt=00 --record=-; do
    mistake mkdisk "$mkdisk" "$wrong" "$work/disk" "$work/model"
done
for wrong in --salt= --salt=0 --salt=xy --uuid=1 --verity-uuid=1 --size=1G --definitions=repart --sector-size=512; do
    mistake mkdisk "$mkdisk" --layout=flat "$wrong" "$work/disk" "$work/model"
done
mistake mkdisk "$mkdisk" "$work/model/disk" "$work/model" # would become part of it
mistake mkdisk "$mkdisk" "$work" "$work/model"            # a directory is no disk
[ -e "$work/disk" ] || [ -e "$work/model/disk" ] && fail "a mistake left a file behind"
exit $bad
