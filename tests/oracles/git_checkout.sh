#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A commit read by mkdisk is what `git checkout` writes: same root hash from the repository (working, bare, file://) and
# from a checkout of it, with line endings, ident, encodings, modes, links, a submodule and names of any bytes.
. "$(dirname "$0")/lib.sh"
need git jq
umask 022
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
export HOME=$work GIT_CONFIG_NOSYSTEM=1
git() { command git -c user.name=t -c user.email=t@localhost -c init.defaultBranch=main -c protocol.file.allow=always "$@"; }

git init -q "$work/repo"
cd "$work/repo" || exit 1
printf '*.txt text eol=crlf\n*.id ident\n*.u16 text working-tree-encoding=UTF-16\n*.bin binary\nsub/*.txt -text\n' >.gitattributes
printf 'one\ntwo\n' >a.txt
mkdir -p sub/deep
printf 'one\ntwo\n' >sub/b.txt
printf '$Id$\n' >c.id
printf 'text\n' | iconv -t UTF-16 >d.u16
head -c 300000 /dev/urandom >e.bin
printf '#!/bin/sh\n' >sub/deep/run.sh
chmod 755 sub/deep/run.sh
ln -s ../e.bin sub/link
printf 'x' >"$(printf 'odd\377name')"
git add -A && git commit -qm first
git init -q "$work/other" && git -C "$work/other" commit -q --allow-empty -m other
git submodule --quiet add "$work/other" module >/dev/null 2>&1
git add -A && git commit -qm second
commit=$(git rev-parse HEAD)
git clone -q --no-checkout "$work/repo" "$work/checkout" && git -C "$work/checkout" checkout -q "$commit" || fail "git checkout"
git clone -q --bare "$work/repo" "$work/bare.git"
cd "$work" || exit 1

hash_of() { "$mkdisk" -q --root-hash-only --size=96M "$work/disk" "$@" | jq -r '.[0].roothash'; }
want=$(hash_of "$work/checkout")
[ ${#want} = 64 ] || fail "no root hash of the checkout"
for source in "$work/repo" "$work/bare.git" "file://$work/bare.git"; do
    got=$(hash_of "$source" "$commit")
    [ "$got" = "$want" ] || fail "$source: $got, the checkout: $want"
done
# the first commit is another tree
[ "$(hash_of "$work/repo" "$commit~1" 2>/dev/null)" = "" ] || fail "a commit that is no full id was accepted"
[ "$(hash_of "$work/repo" "$(git -C "$work/repo" rev-parse HEAD~1)")" != "$want" ] || fail "two commits, one root hash"
