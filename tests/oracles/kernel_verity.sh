#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real kernel's dm-verity (User Mode Linux, no privileges) opens both layouts with our root hash and reads the tree's
# files; with one flipped bit it reports exactly the file that mountfs would refuse.
. "$(dirname "$0")/lib.sh"
need jq apt-get dpkg-deb
case $(uname -m) in x86_64) ;; *) skip "User Mode Linux runs on x86-64 only" ;; esac
make_tree
"$oracles/kernel_mount.sh" --prepare || skip "Debian's user-mode-linux could not be fetched"
"$mkdisk" -q --size=96M "$work/disk" "$work/tree" >"$work/json" || fail "mkdisk failed"
"$mkdisk" -q --layout=flat "$work/flat" "$work/tree" >"$work/flat.json" || fail "mkdisk failed"
(cd "$work/tree" && find . -type f -printf '%P\n' | LC_ALL=C sort | while IFS= read -r name; do
    printf '%s %s %s\n' "$name" "$(stat -c %s "$name")" "$(sha256sum <"$name" | cut -d ' ' -f 1)"
done) >"$work/want"
"$oracles/kernel_mount.sh" "$work/disk" "$(root_hash "$work/json")" gpt >"$work/got" || fail "repart layout: exit $?"
cmp "$work/want" "$work/got" || fail "repart layout: files"
"$oracles/kernel_mount.sh" "$work/flat" "$(root_hash "$work/flat.json")" append >"$work/got" || fail "flat layout: exit $?"
cmp "$work/want" "$work/got" || fail "flat layout: files"
wrong=$(root_hash "$work/json" | tr '0-9a-f' '1-9a-f0')
"$oracles/kernel_mount.sh" "$work/disk" "$wrong" gpt >/dev/null 2>&1
[ $? = 3 ] || fail "the kernel accepts a wrong root hash"

# flip DISK: one bit in the middle of this file's content
victim=weights.bin
flip() {
    python3 - "$1" "$work/tree/$victim" <<'END' || fail "cannot flip a bit"
import sys
disk, content = open(sys.argv[1], 'r+b'), open(sys.argv[2], 'rb').read()
block = content[len(content) // 2 // 4096 * 4096:][:4096]
whole = disk.read()
assert len(block) == 4096 and whole.count(block) == 1
at = whole.index(block) + 1000
disk.seek(at)
disk.write(bytes([whole[at] ^ 16]))
END
}
for case in "disk json gpt" "flat flat.json append"; do
    set -- $case
    flip "$work/$1"
    "$oracles/kernel_mount.sh" "$work/$1" "$(root_hash "$work/$2")" "$3" >"$work/got" 2>"$work/log"
    [ $? = 4 ] || fail "$3: the kernel reads over a flipped bit"
    diff "$work/want" "$work/got" | sed -n 's/^> //p' >"$work/refused"
    [ "$(cat "$work/refused")" = "$victim $(stat -c %s "$work/tree/$victim") ERROR:Input/output error" ] ||
        fail "$3: with a flipped bit the kernel says $(cat "$work/refused")"
done
