#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `fsck.erofs` finds nothing wrong, `dump.erofs` reads the superblock that was meant.
. "$(dirname "$0")/lib.sh"
need fsck.erofs dump.erofs jq
make_tree
"$mkdisk" -q --layout=flat "$work/flat" "$work/tree" >"$work/json" || fail "mkdisk failed"
truncate -s "$(field "$work/json" 0 hash_offset)" "$work/flat"
fsck.erofs "$work/flat" || fail "fsck.erofs"
dump.erofs -s "$work/flat" | tee "$work/dump"
grep -qi '00000000-0000-0000-0000-000000000000' "$work/dump" || fail "dump.erofs shows another UUID"
inodes=$(find "$work/tree" -printf '%i\n' | sort -u | wc -l)
grep -qE "inode count: *$inodes\$" "$work/dump" || fail "dump.erofs counts other inodes than $inodes"
