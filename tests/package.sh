#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# package.sh DIR: the Debian packages of what is committed, built with dpkg-buildpackage into DIR; then installed and
# used in a fresh system that has nothing else (mmdebstrap). docs/debian is what Debian expects in ./debian.
set -eu -o pipefail
to=$(mkdir -p "${1:?usage: package.sh DIR}" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/modeldisk-$(sed -n "s/^    version: '\(.*\)',/\1/p" meson.build)
mkdir "$source"
git ls-files -z | tar --null -T - -c | tar -x -C "$source"
mv "$source/docs/debian" "$source/debian"

echo "package: building"
(cd "$source" && dpkg-buildpackage -us -uc -F) >"$to/build.log" 2>&1 || { tail -n 40 "$to/build.log"; exit 1; }
cp "$work"/*.deb "$work"/*.dsc "$work"/*.tar.* "$work"/*.changes "$to"
lintian --fail-on error,warning "$work"/*.changes

# The suite this machine has, from the mirrors it uses.
. /etc/os-release
deb=$(ls "$to"/modeldisk_*.deb | head -n 1)
mirror=$(apt-cache policy | sed -n "s|^ *500 \(http[^ ]*\) $VERSION_CODENAME/main.*|\1|p" | head -n 1)
echo "package: installing in a fresh $VERSION_CODENAME"
mmdebstrap --quiet --mode=auto --variant=apt "$VERSION_CODENAME" "$work/system.tar" ${mirror:+"$mirror"} \
    >"$to/system.log" 2>&1 || { cat "$to/system.log"; echo "package: no fresh system could be had"; exit 77; }
mkdir "$work/system"
tar -xf "$work/system.tar" -C "$work/system" --exclude='./dev/*'
cp /etc/resolv.conf "$work/system/etc/" 2>/dev/null || :
[ ! -d /etc/apt/apt.conf.d ] || cp -n /etc/apt/apt.conf.d/*proxy* "$work/system/etc/apt/apt.conf.d/" 2>/dev/null || :
cp "$deb" "$work/system/root/"
cat >"$work/system/root/try" <<'TRY'
set -eux
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends /root/modeldisk_*.deb
test -f /usr/share/man/man1/mountfs.1.gz -o -f /usr/share/man/man1/mountfs.1 || grep -rq path-exclude /etc/dpkg
test -f /usr/share/bash-completion/completions/mkdisk
mkdir /root/model
head -c 3000000 /dev/urandom >/root/model/model.safetensors
echo '{}' >/root/model/config.json
root=$(mkdisk -q --json=off /root/disk /root/model)
mountfs --verify /root/disk --root-hash="$root"
mountfs --cat /root/disk /model.safetensors --root-hash="$root" | cmp - /root/model/model.safetensors
mkdir /root/mnt
mountfs /root/disk /root/mnt --root-hash="$root"
cmp /root/mnt/model.safetensors /root/model/model.safetensors
mountfs --umount /root/mnt
apt-get remove -q -y modeldisk
! command -v mkdisk
TRY
# devices and /proc of their own, which end with the process; /dev/fuse is this machine's
unshare --mount --pid --fork sh -eu -c 'cd "$0"
    mount -t tmpfs none dev && for d in null zero urandom fuse; do touch dev/$d && mount --bind /dev/$d dev/$d; done
    mount -t proc none proc && exec chroot . sh /root/try' "$work/system" >"$to/try.log" 2>&1 ||
    { tail -n 40 "$to/try.log"; exit 1; }
echo "package: builds, installs, works and goes"
ls -l "$to"/*.deb
