#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# determinism.sh MKDISK: one tree, one disk. Working directory, umask, time zone, locale, user, threads, environment, the
# order in which files were made and their times, earlier contents of DISK: nothing of it changes a byte.
set -u
mkdisk=$(readlink -f "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/modeldisk-determinism-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cp "$mkdisk" "$work/mkdisk" # another user need not reach the build directory
mkdisk=$work/mkdisk
cd "$work" || exit 1
bad=0

# file INDEX: the same name and content whenever it is made
file() {
    dir=$1/d$(($2 % 5))
    mkdir -p -m 755 "$dir"
    yes "line $2" | head -c $(($2 * $2 * 37)) >"$dir/file $2"
    chmod 644 "$dir/file $2"
}
names=$(seq 0 60)
mkdir -m 755 tree shuffled
for i in $names; do file tree "$i"; done
ln -s 'd1/file 6' tree/link
ln 'tree/d1/file 6' 'tree/d4/second name'
sleep 0.01
ln -s 'd1/file 6' shuffled/link
for i in $(printf '%s\n' $names | shuf); do file shuffled "$i"; done
mv 'shuffled/d1/file 6' 'shuffled/d4/second name' # the other name is the older one here
ln 'shuffled/d4/second name' 'shuffled/d1/file 6'
for dir in tree shuffled; do
    truncate -s 60M "$dir/big" && printf x | dd of="$dir/big" bs=1 seek=40000000 conv=notrunc status=none
    chmod 644 "$dir/big"
done
mkdir ram
if mount -t tmpfs none ram 2>/dev/null; then # lists directories and numbers inodes in its own way
    trap 'umount "$work/ram"; rm -rf "$work"' EXIT
    cp -a shuffled ram/tree
else
    echo "note: no tmpfs can be mounted here"
fi
find shuffled -exec touch -h -d '2001-02-03 04:05:06.789' {} +

# same NAME COMMAND...: the command makes $work/out/disk and prints the result, both equal to the first ones
same() {
    name=$1
    shift
    rm -rf out && mkdir -m 777 out
    "$@" >out/json || { bad=1; echo "differs: $name: exit status $?"; return; }
    sum=$(sha256sum <out/disk)
    json=$(sed 's/"node" : "[^"]*"//' out/json)
    if [ -z "${first_sum-}" ]; then
        first_sum=$sum first_json=$json
    elif [ "$sum" != "$first_sum" ]; then
        bad=1 && echo "differs: $name: the disk"
    elif [ "$json" != "$first_json" ]; then
        bad=1 && echo "differs: $name: the result"
    else
        echo "equal: $name"
    fi
}
in_dir() { (cd "$1" && shift && "$@"); }
with_umask() { (umask "$1" && shift && "$@"); }
over() { # an earlier disk of random bytes
    head -c 150M /dev/zero | tr '\0' 'r' >out/disk
    "$@"
}

for layout in "--size=150M" "--layout=flat"; do
    unset first_sum
    make="$mkdisk -q $layout"
    same "$layout as it is" $make out/disk tree
    same "$layout one thread" $make -j1 out/disk tree
    same "$layout two threads" $make -j2 out/disk tree
    same "$layout seven threads" $make -j7 out/disk tree
    same "$layout many threads" $make -j16 out/disk tree
    same "$layout other directory" in_dir / $make "$work/out/disk" "$work/tree"
    same "$layout inside the source" in_dir tree $make ../out/disk .
    same "$layout umask 077" with_umask 077 $make out/disk tree
    same "$layout time zone, locale" env TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 LANG=C $make out/disk tree
    same "$layout SOURCE_DATE_EPOCH" env SOURCE_DATE_EPOCH=1700000000 $make out/disk tree
    same "$layout empty environment" env -i $make out/disk tree
    same "$layout shuffled, other times" $make out/disk shuffled
    [ ! -d ram/tree ] || same "$layout on tmpfs" $make out/disk ram/tree
    same "$layout over another file" over $make out/disk tree
    same "$layout with a record" $make --record=out/record out/disk tree
    [ -n "${first_sum-}" ] && [ "$(jq -r .file_hash_sha256 out/record)" = "${first_sum%% *}" ] ||
        { bad=1 && echo "differs: $layout: the record's SHA-256 of the disk"; }
    cp out/record first_record
    same "$layout with a record, one thread" $make -j1 --record=out/record out/disk tree
    cmp out/record first_record || { bad=1 && echo "differs: $layout: the record"; }
    if [ "$(id -u)" = 0 ]; then
        same "$layout as another user" setpriv --reuid=65534 --regid=65534 --clear-groups $make out/disk tree
        chown -R 12345:54321 tree
        same "$layout other owner" $make out/disk tree
        chown -R 0:0 tree
    fi
    if [ "$layout" = --size=150M ]; then
        root=$(jq -r '.[0].roothash' out/json)
        [ "$($make --root-hash-only --json=off nowhere tree)" = "$root" ] ||
            { bad=1 && echo "differs: --root-hash-only"; }
    fi
done
exit $bad
