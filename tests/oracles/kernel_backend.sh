#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mountfs --backend=kernel on a kernel that has dm-verity (User Mode Linux, no privileges): both layouts, from block
# devices and from files, through every way in and out; then what is left behind, which must be nothing. The figures
# (FIGURES=1) stand beside those of veritysetup and mount.
. "$(dirname "$0")/lib.sh"
need jq apt-get dpkg-deb ldd openssl
case $(uname -m) in x86_64) ;; *) skip "User Mode Linux runs on x86-64 only" ;; esac
make_tree
[ -z "${FIGURES:-}" ] || head -c 200000000 /dev/urandom >"$work/tree/weights.bin"
"$oracles/kernel_mount.sh" --prepare || skip "Debian's user-mode-linux could not be fetched"
share=$work/share
mkdir -p "$share/lib"
"$mkdisk" -q --size=${FIGURES:+3}96M "$share/ubda" "$work/tree" >"$work/json" || fail "mkdisk failed"
"$mkdisk" -q --layout=flat "$share/ubdb" "$work/tree" >"$work/flat.json" || fail "mkdisk failed"
sums "$work/tree" | LC_ALL=C sort >"$share/want"
cp "$work/tree/config.json" "$share/"
field "$work/flat.json" 0 hash_offset >"$share/hash_offset"
head -c "$(cat "$share/hash_offset")" "$share/ubdb" >"$share/ubdb.data"
tail -c "+$(($(cat "$share/hash_offset") + 1))" "$share/ubdb" >"$share/ubdb.tree"
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -keyout "$work/key" -out "$share/certificate" 2>/dev/null &&
    root_hash "$work/json" | tr -d '\n' >"$work/root" &&
    openssl smime -sign -nocerts -noattr -binary -in "$work/root" -inkey "$work/key" -signer "$share/certificate" -outform der \
        -out "$share/ubda.signature" || fail "openssl cannot sign"
# the program, with the libraries of this system beside those of the guest
cp "$mountfs" "$share/mountfs"
ldd "$mountfs" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | xargs -I LIB cp -L LIB "$share/lib/"
cp -L "$(ldd "$mountfs" | sed -n 's/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\) .*/\1/p')" "$share/lib/ld.so" || fail "no loader"
cp "$oracles/kernel_backend.guest" "$share/run"
for disk in ubda ubdb; do
    python3 - "$share/$disk" "$work/tree/weights.bin" <<'END' || fail "cannot flip a bit"
import sys
disk, block = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'rb').read(409600)[-4096:]
assert disk.count(block) == 1
at = disk.index(block) + 1000
with open(sys.argv[1] + '.bad', 'wb') as out:
    out.write(disk[:at] + bytes([disk[at] ^ 16]) + disk[at + 1:])
END
done

# where the kernel cannot, it is said, and auto is FUSE
if [ ! -e /dev/mapper/control ] && ! grep -q device-mapper /proc/misc && [ "$(id -u)" = 0 ]; then
    mkdir "$work/mnt"
    "$mountfs" --backend=kernel --root-hash="$(root_hash "$work/json")" "$share/ubda" "$work/mnt" 2>"$work/said"
    [ $? = 1 ] && grep -q 'no device-mapper' "$work/said" || fail "no device-mapper: $(cat "$work/said")"
    if [ -c /dev/fuse ]; then
        "$mountfs" --backend=auto --root-hash="$(root_hash "$work/json")" "$share/ubda" "$work/mnt" 2>"$work/said" ||
            fail "auto: $(cat "$work/said")"
        grep -q 'taking FUSE: .*no device-mapper' "$work/said" || fail "auto does not say why: $(cat "$work/said")"
        [ "$(findmnt -no FSTYPE "$work/mnt")" = fuse.mountfs ] || fail "auto: not by FUSE"
        umount "$work/mnt"
    fi
fi

KM_TIMEOUT=${KM_TIMEOUT:-240} KM_MEM=${KM_MEM:-192M} "$oracles/kernel_mount.sh" --script "$share" "$share/ubda" "$(root_hash "$work/json")" \
    -- "$share/ubdb" "$(root_hash "$work/flat.json")" >"$work/out" 2>"$work/log" || {
    cat "$work/log" >&2
    fail "see above"
}
[ "$(grep -c '^figure ' "$work/out")" = 12 ] || fail "the VM did not get to its end"
[ -z "${FIGURES:-}" ] || grep '^figure ' "$work/out"
