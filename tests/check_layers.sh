#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Holds the rules of docs/design.md "Who may include whom": prints each breach, exits 1 if there is one.
cd "$(dirname "$0")/.." || exit 1
bad=0

# breach SENTENCE LINES: reports if LINES is not empty
breach() {
    [ -z "$2" ] && return
    bad=1
    printf 'layers: %s\n%s\n' "$1" "$2"
}
# uses PATTERN FILES...: lines that match
uses() {
    pattern=$1
    shift
    grep -nE "$pattern" "$@" 2>/dev/null | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/\*|\*)'
}
# without FILE...: reads grep lines, drops those from the files
without() {
    lines=$(cat)
    for file; do
        lines=$(printf '%s\n' "$lines" | grep -v "^$file:")
    done
    printf '%s' "$lines"
}

all='common/*.c common/*.h mkdisk/*.c mkdisk/*.h mountfs/*.c mountfs/*.h include/*.h'
set -f; set -- $all; set +f
files=$(ls $all 2>/dev/null)

mkdisk_headers=$(ls mkdisk/*.h | xargs -n 1 basename | paste -sd '|' | sed 's/\./\\./g')
mountfs_headers=$(ls mountfs/*.h | xargs -n 1 basename | paste -sd '|' | sed 's/\./\\./g')
own=$(ls include/*.h mkdisk/*.h | xargs -n 1 basename | sort | uniq -d)
breach "a header name is used twice" "$own"
breach "common/ and include/ know neither program" \
    "$(uses "#include \"($mkdisk_headers|$mountfs_headers)\"" common/*.[ch] include/*.h)"
breach "mkdisk/ and mountfs/ do not know each other" \
    "$(uses '#include "[^"]*/' $files | grep -vE 'include <')"
breach "libfuse is reached from mountfs/ only" "$(uses '#include <fuse' common/*.[ch] include/*.h mkdisk/*.[ch])"
breach "OpenSSL has two doors: hash.c and root_signature.c" \
    "$(uses '#include <openssl/' $files | without common/hash.c common/root_signature.c)"
breach "libgit2 has one door: mkdisk/git.c" "$(uses '#include <git2' $files | grep -v '^mkdisk/git[a-z_]*\.c:')"
breach "HTTP has one door: mkdisk/http.c" "$(uses '#include <curl/' $files | without mkdisk/http.c mkdisk/http_answer.c)"
breach "rights are given up through privileges.h, system calls through sandbox.h" \
    "$(uses '#include <linux/(landlock|seccomp|filter)\.h>' $files | without common/privileges.c mountfs/sandbox.c)"
breach "libcryptsetup has one door: mountfs/kernel.c" "$(uses '#include <libcryptsetup' $files | without mountfs/kernel.c)"
breach "the on-disk EROFS structures belong to the reader and the writer" \
    "$(uses '#include "erofs_disk\.h"' $files | grep -vE '^(common/erofs|mkdisk/erofs_)')"
breach "only report.c prints" \
    "$(uses '(^|[^a-z_])(f?printf|v?fprintf|puts|fputs|perror|syslog|vsyslog)\(' $files |
        grep -vE '^(common/report\.c|mkdisk/main\.c|mountfs/main\.c|mountfs/cmd_[a-z_]*\.c|mountfs/cmd\.c|mkdisk/options_help\.c|mountfs/options\.c):')"
breach "modules return sentences; report.h is for programs" \
    "$(uses '#include "report\.h"' $files |
        grep -vE '^(common/report[a-z_]*\.[ch]|mkdisk/main\.c|mountfs/(main|ops|daemon|cmd|cmd_[a-z_]*|failures)\.c|mkdisk/options[a-z_]*\.[ch]|mountfs/(options|preload)\.[ch]):')"
breach "images are never mapped" "$(uses '(^|[^a-z_])mmap\(' $files)"
breach "the way around proof is for tests" \
    "$(uses '#include "(test_vblk|support)\.h"' $files)$(uses '#include "verity_int\.h"' mkdisk/*.[ch] mountfs/*.[ch])"
breach "a TODO stands in an issue, not in the house" "$(grep -nE '\<(TODO|FIXME|XXX|HACK)\>' $files)"
exit $bad
