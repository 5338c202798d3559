#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kernel's EROFS mounts the data partition through a loop device at its offset; every file, mode and link is equal.
. "$(dirname "$0")/lib.sh"
need losetup jq
need_root "loop devices"
grep -qw erofs /proc/filesystems || modprobe erofs 2>/dev/null || skip "this kernel has no EROFS"
make_tree
"$mkdisk" -q --size=96M "$work/disk" "$work/tree" >"$work/json" || fail "mkdisk failed"
loop=$(losetup --find --show --read-only --offset "$(field "$work/json" 0 offset)" \
    --sizelimit "$(field "$work/json" 0 raw_size)" "$work/disk") || skip "no loop device to be had"
loops=$loop
mkdir "$work/mnt"
mount -t erofs -o ro "$loop" "$work/mnt" || fail "the kernel does not mount it"
diff <(sums "$work/tree") <(sums "$work/mnt") || fail "contents"
list() { (cd "$1" && find . -printf '%P %y %m %n %l %s\n' | sed -E 's/^(.* d [0-9]+ [0-9]+ ) ?[0-9]+$/\1/' | LC_ALL=C sort); }
diff <(list "$work/tree") <(list "$work/mnt") || fail "names, modes, links"
[ -z "$(find "$work/mnt" ! -user 0 -o ! -group 0)" ] || fail "owners are not root"
