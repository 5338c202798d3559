#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check_hardening.sh BUILD_DIR: both programs are position independent, have full RELRO, a non-executable stack, stack
# protector, fortified calls, and on x86-64 landing pads for indirect branches.
build=$1
bad=0
need() { # need PROGRAM WHAT COMMAND: COMMAND must find something
    sh -c "$3" >/dev/null || { bad=1; echo "hardening: $1 has no $2"; }
}
for program in mkdisk mountfs; do
    file=$build/$program/$program
    [ -x "$file" ] || { echo "hardening: $file does not exist"; exit 1; }
    need $program "position independent code" "readelf -hW $file | grep -q 'Type:.*DYN'"
    need $program "RELRO" "readelf -lW $file | grep -q GNU_RELRO"
    need $program "immediate binding" "readelf -dW $file | grep -qE 'BIND_NOW|FLAGS.*NOW'"
    need $program "stack protector" "readelf -sW $file | grep -q __stack_chk_fail"
    need $program "fortified calls" "readelf -sW $file | grep -qE '__[a-z]+_chk'"
    readelf -lW "$file" | grep GNU_STACK | grep -q 'RWE' && { bad=1; echo "hardening: $program has an executable stack"; }
    case $(readelf -hW "$file") in
    # the note that switches it on needs start files that have it too, which Debian's glibc does not: look at the code
    *X86-64*) need $program "landing pads for indirect branches" "objdump -d --disassemble=main $file | grep -q endbr64" ;;
    esac
done
exit $bad
