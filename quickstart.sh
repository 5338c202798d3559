#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a verified model, in a minute: installs what is missing, builds, makes a small model repository and
# serves it over HTTP, turns it into a disk, mounts the disk and compares what comes out with what went in.
# Leaves nothing behind but the build directory. Debian 12, Ubuntu 24.04.
set -eu
cd "$(dirname "$0")"
. tests/packages.sh

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*" >&2; "$@"; }

say "1. What is needed"
packages_need build quickstart
[ -f build/build.ninja ] || meson setup build -Dtests=false -Dbuildtype=release >/dev/null
ninja -C build >/dev/null
echo "built build/mkdisk/mkdisk and build/mountfs/mountfs"

work=$(mktemp -d "${TMPDIR:-/tmp}/modeldisk-quickstart-XXXXXX")
server=
tidy() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    if mountpoint -q "$work/mnt" 2>/dev/null; then fusermount3 -u "$work/mnt" || umount -l "$work/mnt"; fi
    rm -rf "$work"
}
trap tidy EXIT
export XDG_CACHE_HOME="$work/cache"
trap 'exit 130' INT TERM

say "2. A model repository, its shards in Git LFS, served over HTTP"
commit=$(python3 tests/support/make_model.py "$work/hub" --lfs)
python3 tests/support/model_server.py "$work/hub" --ready-file "$work/url" &
server=$!
for _ in $(seq 100); do [ -s "$work/url" ] && break; sleep 0.1; done
url=$(cat "$work/url")/tiny
echo "$url at commit $commit"

say "3. mkdisk: one command, no root, no container"
run build/mkdisk/mkdisk --record="$work/record.json" "$work/tiny.disk" "$url" "$commit" >"$work/result.json"
root_hash=$(jq -r '.[0].roothash' "$work/result.json")
echo "root hash $root_hash"
ls -ls "$work/tiny.disk"

say "4. mountfs: every byte is proven against the root hash before you see it"
mkdir "$work/mnt"
run build/mountfs/mountfs "$work/tiny.disk" "$work/mnt" --root-hash="$root_hash"
ls -l "$work/mnt"

say "5. What came out is what went in"
jq -r '.files[] | select(.sha256) | "\(.sha256)  \(.path)"' "$work/record.json" >"$work/sums"
(cd "$work/mnt" && sha256sum -c "$work/sums")

say "6. A wrong root hash gets nothing"
mkdir "$work/no"
wrong=$(printf '%s' "$root_hash" | tr '0-9a-f' '1-9a-f0')
if build/mountfs/mountfs "$work/tiny.disk" "$work/no" --root-hash="$wrong"; then
    echo "quickstart: a wrong root hash was accepted" >&2
    exit 1
else
    echo "refused with exit status $?"
fi
say "Done. Next: build/mkdisk/mkdisk --help, build/mountfs/mountfs --help, docs/"
