# SPDX-License-Identifier: Apache-2.0
# For the scripts beside it: programs nobody here wrote judge what mkdisk made.
# Called with MODELDISK_BUILD (build directory) set; sources tests from its own place. Each script makes a directory of its
# own, removes it at the end, exits 0 (agrees), 1 (differs), 77 (cannot run here, and says why).

oracles=$(cd "$(dirname "$0")" && pwd)
: "${MODELDISK_BUILD:?the build directory}"
mkdisk=$MODELDISK_BUILD/mkdisk/mkdisk
mountfs=$MODELDISK_BUILD/mountfs/mountfs
work=$(mktemp -d "${TMPDIR:-/tmp}/modeldisk-oracle-XXXXXX") || exit 1
loops=
tidy() {
    mountpoint -q "$work/mnt" 2>/dev/null && umount "$work/mnt"
    for loop in $loops; do losetup -d "$loop"; done
    rm -rf "$work"
}
trap tidy EXIT

skip() {
    echo "skipped: $*"
    exit 77
}
fail() {
    echo "differs: $*" >&2
    exit 1
}
need() {
    for program; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || skip "$program is not installed"
    done
}
need_root() { [ "$(id -u)" = 0 ] || skip "needs root: $*"; }
PATH=$PATH:/usr/sbin:/sbin

# A tree with what model repositories have, and what file systems get wrong: $work/tree
make_tree() {
    mkdir -p "$work/tree/sub/deep" "$work/tree/empty"
    printf '{"a": 1}\n' >"$work/tree/config.json"
    : >"$work/tree/nothing"
    head -c 4096 /dev/urandom >"$work/tree/one-block"
    head -c 4097 /dev/urandom >"$work/tree/one-block-and-one"
    head -c 3000000 /dev/urandom >"$work/tree/weights.bin"
    head -c 777 /dev/urandom >"$work/tree/sub/deep/small"
    printf 'x' >"$work/tree/sub/name with blank"
    printf 'x' >"$work/tree/$(printf 'caf\303\251')"
    printf 'x' >"$work/tree/$(printf 'n%.0s' $(seq 255))"
    ln -s ../config.json "$work/tree/sub/link"
    ln "$work/tree/one-block" "$work/tree/sub/hard"
    chmod 755 "$work/tree/sub/deep/small"
    truncate -s 20M "$work/tree/hole"
    for i in $(seq 300); do printf '%s' "$i" >"$work/tree/empty/file-$i"; done
}

# root_hash JSON_FILE, field JSON_FILE INDEX KEY
root_hash() { jq -r '.[0].roothash' "$1"; }
field() { jq -r ".[$2].$3" "$1"; }
# sums DIR: every regular file's digest, by name
sums() { (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
