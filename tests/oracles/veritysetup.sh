#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `veritysetup verify` accepts both layouts, and refuses another root hash.
. "$(dirname "$0")/lib.sh"
need veritysetup jq
make_tree

"$mkdisk" -q --size=96M "$work/disk" "$work/tree" >"$work/json" || fail "mkdisk failed"
hash=$(root_hash "$work/json")
part() { # part INDEX FILE: the bytes of one partition
    dd if="$work/disk" of="$2" bs=4096 iflag=skip_bytes,count_bytes skip="$(field "$work/json" "$1" offset)" \
        count="$(field "$work/json" "$1" raw_size)" status=none
}
part 0 "$work/data"
part 1 "$work/hash"
veritysetup verify "$work/data" "$work/hash" "$hash" || fail "repart layout"
veritysetup verify "$work/data" "$work/hash" "${hash/?/$([ "${hash:0:1}" = 0 ] && echo 1 || echo 0)}" 2>/dev/null &&
    fail "veritysetup accepts any root hash"

"$mkdisk" -q --layout=flat "$work/flat" "$work/tree" >"$work/json" || fail "mkdisk failed"
veritysetup verify --hash-offset="$(field "$work/json" 0 hash_offset)" "$work/flat" "$work/flat" "$(root_hash "$work/json")" ||
    fail "flat layout"
# The same image, the reference's own tree: byte for byte.
cp "$work/flat" "$work/again"
truncate -s "$(field "$work/json" 0 hash_offset)" "$work/again"
veritysetup format --uuid=00000000-0000-0000-0000-000000000000 --salt=00 \
    --hash-offset="$(field "$work/json" 0 hash_offset)" "$work/again" "$work/again" >/dev/null
cmp "$work/flat" "$work/again" || fail "flat: not what veritysetup format writes"
