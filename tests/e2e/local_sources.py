#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models that are on this machine already: repositories with their LFS objects, working trees, Hugging Face caches.

    MKDISK=path local_sources.py [NAME...]

Each gives the root hash of the plain directory, or one sentence; what is not what the commit says is named by its path.
"""
import hashlib
import os
import shutil
import subprocess

from hublib import DONE, FAILED, MKDISK, REFUSED, USAGE, clean_env, expect, expect_match, main, serve, test

SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']


def build(place, *args, status=DONE, says=None, env=None):
    run = subprocess.run([MKDISK, '--progress=off', '--json=off', '--root-hash-only', os.path.join(place.path, 'none'), *args],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(place.path, **(env or {})), check=False)
    said = run.stderr.decode()
    expect((run.returncode, said if run.returncode != status else ''), (status, ''), 'exit status')
    if says:
        expect_match(says, said)
    elif status == DONE:
        expect(said, '', 'words')
    if status == DONE:
        expect(run.stdout.decode().strip(), place.model.root, 'root hash')


def git(place, *args, cwd=None):
    subprocess.run(['git', *args], cwd=cwd or place.path, env=clean_env(place.path), check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def copy_hub(place):
    """A bare repository of one's own."""
    bare = os.path.join(place.path, 'tiny.git')
    shutil.copytree(os.path.join(place.model.hub, 'tiny.git'), bare)
    return bare


def object_path(bare, content):
    oid = hashlib.sha256(content).hexdigest()
    return os.path.join(bare, 'lfs/objects', oid[:2], oid[2:4], oid)


def clone(place, with_content):
    """A working tree without LFS objects; the content of files as if git-lfs had written it, or pointers."""
    tree = os.path.join(place.path, 'clone')
    env = dict(clean_env(place.path), GIT_LFS_SKIP_SMUDGE='1')
    subprocess.run(['git', 'clone', '-q', os.path.join(place.model.hub, 'tiny.git'), tree], env=env, check=True,
                   stderr=subprocess.DEVNULL)
    shutil.rmtree(os.path.join(tree, '.git/lfs'), ignore_errors=True)
    for name in SHARDS if with_content else []:
        shutil.copyfile(os.path.join(place.model.tree, name), os.path.join(tree, name))
    return tree


def flip(path, at=1000):
    with open(path, 'r+b') as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


# ---------------------------------------------------------------------- repositories


@test
def bare_repository_has_its_objects(place):
    bare = os.path.join(place.model.hub, 'tiny.git')
    for source in (bare, 'file://' + bare, 'file://localhost' + bare):
        build(place, source, place.model.commit)
    build(place, '--allow-ref', bare, 'main', says=place.model.commit)


@test
def damaged_object_is_named_by_its_path(place):
    bare = copy_hub(place)
    flip(object_path(bare, place.model.objects[1]))
    build(place, bare, place.model.commit, status=REFUSED, says=SHARDS[1] + '.*digest')


@test
def missing_object_is_named_by_its_path(place):
    bare = copy_hub(place)
    os.unlink(object_path(bare, place.model.objects[0]))
    build(place, bare, place.model.commit, status=FAILED, says=SHARDS[0] + '.*not on this machine.*--lfs-url')


@test
def what_is_missing_comes_from_the_lfs_url(place):
    bare = copy_hub(place)
    os.unlink(object_path(bare, place.model.objects[0]))
    with serve(place.model.hub) as hub:
        build(place, '--lfs-url=' + hub.url + '/tiny.git/info/lfs', bare, place.model.commit)
        expect([len(b) for b in hub.batches], [1], 'objects that were asked for')


@test
def objects_here_spare_the_network(place):
    bare = copy_hub(place)
    with serve(place.model.hub) as hub:
        build(place, '--lfs-url=' + hub.url + '/tiny.git/info/lfs', bare, place.model.commit)
        expect(hub.requests, [], 'requests')


# ---------------------------------------------------------------------- working trees


@test
def working_tree_gives_the_content(place):
    tree = clone(place, True)
    build(place, tree, place.model.commit)
    build(place, tree + '/.git', place.model.commit)
    build(place, tree)


@test
def files_that_are_no_weights_come_from_the_commit(place):
    tree = clone(place, True)
    with open(os.path.join(tree, 'config.json'), 'w', encoding='ascii') as f:
        f.write('something else')
    build(place, tree, place.model.commit)


@test
def changed_weight_is_named_by_its_path(place):
    tree = clone(place, True)
    flip(os.path.join(tree, SHARDS[0]), 4000000)
    build(place, tree, place.model.commit, status=REFUSED, says=SHARDS[0] + '.*digest')


@test
def weight_of_another_size_is_not_taken(place):
    tree = clone(place, True)
    with open(os.path.join(tree, SHARDS[1]), 'ab') as f:
        f.write(b'x')
    build(place, tree, place.model.commit, status=FAILED, says=SHARDS[1])


@test
def link_in_the_place_of_a_weight_is_not_followed(place):
    tree = clone(place, True)
    os.rename(os.path.join(tree, SHARDS[0]), os.path.join(place.path, 'elsewhere'))
    os.symlink(os.path.join(place.path, 'elsewhere'), os.path.join(tree, SHARDS[0]))
    build(place, tree, place.model.commit, status=FAILED, says=SHARDS[0])


@test
def pointers_of_a_tree_that_was_not_pulled_are_refused(place):
    tree = clone(place, False)
    build(place, tree, place.model.commit, status=FAILED, says=SHARDS[0] + '.*git lfs fetch')
    build(place, tree, status=REFUSED, says=SHARDS[0] + '.*one of 2 files.*git lfs pull')


@test
def reference_s_mode_keeps_pointers_and_warns(place):
    tree = clone(place, False)
    run = subprocess.run([MKDISK, '--progress=off', '--exclude-mode=privatemode', '--root-hash-only', '--json=off', 'none', tree],
                         env=clean_env(place.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    expect_match(SHARDS[0] + '.*Git LFS pointer', run.stderr.decode())
    excluded = subprocess.run([MKDISK, '--progress=off', '--exclude=*.safetensors', '--root-hash-only', '--json=off', 'none', tree],
                              env=clean_env(place.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    expect(excluded.stderr, b'', 'words')


@test
def commit_has_no_owners_to_keep(place):
    build(place, '--owner=keep', place.model.hub + '/tiny.git', place.model.commit, status=USAGE, says='--owner=keep')


# ---------------------------------------------------------------------- Hugging Face caches


def make_cache(place, absolute=False):
    """What huggingface_hub.snapshot_download() leaves: names of blobs are SHA-256 for LFS, git's ids for the rest."""
    repo = os.path.join(place.path, 'hub/models--org--tiny')
    snapshot = os.path.join(repo, 'snapshots', place.model.commit)
    blobs = os.path.join(repo, 'blobs')
    os.makedirs(blobs)
    for top, _, names in os.walk(place.model.tree):
        for name in names:
            source = os.path.join(top, name)
            if os.path.islink(source):
                source = os.path.join(top, os.readlink(source))
            with open(source, 'rb') as f:
                content = f.read()
            blob = hashlib.sha256(content).hexdigest() if name in SHARDS else hashlib.sha1(
                b'blob %d\0' % len(content) + content).hexdigest()
            with open(os.path.join(blobs, blob), 'wb') as f:
                f.write(content)
            os.chmod(os.path.join(blobs, blob), 0o600)
            link = os.path.join(snapshot, os.path.relpath(top, place.model.tree), name)
            os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
            target = os.path.join(blobs, blob)
            os.symlink(target if absolute else os.path.relpath(target, os.path.dirname(os.path.normpath(link))), link)
    return snapshot


def without_link(place):
    """The cache has a file where the commit has a link: the root hash without it."""
    tree = os.path.join(place.path, 'tree')
    shutil.copytree(place.model.tree, tree, symlinks=True)
    os.unlink(os.path.join(tree, 'model.json'))
    shutil.copyfile(os.path.join(tree, 'config.json'), os.path.join(tree, 'model.json'))
    run = subprocess.run([MKDISK, '-q', '--json=off', '--root-hash-only', 'none', tree], stdout=subprocess.PIPE,
                         env=clean_env(place.path), check=True)
    return run.stdout.decode().strip()


class Other:
    """The same model with another root hash."""

    def __init__(self, place, root):
        self.path = place.path
        self.model = type('Model', (), dict(vars(place.model), root=root))


@test
def snapshot_gives_what_the_commit_gives(place):
    want = Other(place, without_link(place))
    snapshot = make_cache(place)
    build(want, '--dereference', snapshot)
    build(want, '--dereference', snapshot + '/')
    shutil.rmtree(os.path.join(place.path, 'hub'))
    build(want, '--dereference', make_cache(place, absolute=True))


@test
def record_of_a_snapshot_names_its_commit(place):
    snapshot = make_cache(place)
    record = os.path.join(place.path, 'record.json')
    subprocess.run([MKDISK, '-q', '--json=off', '--dereference', '--record=' + record, place.disk, snapshot],
                   stdout=subprocess.DEVNULL, env=clean_env(place.path), check=True)
    with open(record, encoding='utf-8') as f:
        text = f.read()
    expect_match('"commit_hash" ?: "%s"' % place.model.commit, text)
    expect_match('"source_kind" ?: "huggingface"', text)
    expect(text.count('"lfs_oid"'), 2, 'files with an LFS oid')


@test
def snapshot_s_links_need_the_option(place):
    snapshot = make_cache(place)
    build(place, snapshot, status=USAGE, says='--dereference')
    build(place, '--dereference', place.model.tree, status=USAGE, says='not a snapshot')


@test
def damaged_blob_is_named_by_its_path(place):
    snapshot = make_cache(place)
    flip(os.path.realpath(os.path.join(snapshot, SHARDS[1])), 77)
    build(place, '--dereference', snapshot, status=REFUSED, says=SHARDS[1] + '.*digest')


@test
def links_of_a_snapshot_lead_to_its_blobs_only(place):
    secret = os.path.join(place.path, 'secret')
    with open(secret, 'w', encoding='ascii') as f:
        f.write('secret')
    os.makedirs(os.path.join(place.path, 'hub/models--org--other/blobs'))
    shutil.copyfile(secret, os.path.join(place.path, 'hub/models--org--other/blobs/x'))
    snapshot = make_cache(place)
    blobs = os.path.join(os.path.dirname(os.path.dirname(snapshot)), 'blobs')
    os.symlink(secret, os.path.join(blobs, 'link'))
    os.mkdir(os.path.join(blobs, 'sub'))
    link = os.path.join(snapshot, 'zzz')
    for target in (secret, '../../../../secret', '../../blobs/link', '../../blobs/sub', '../../blobs/..', 'config.json',
                   '../../blobs/sub/../../../../secret', '../../../models--org--other/blobs/x', '/', 'x', '../../blobs/'):
        os.symlink(target, link)
        build(place, '--dereference', snapshot, status=REFUSED, says='zzz')
        os.unlink(link)
    os.symlink('../../blobs/none', link)
    build(place, '--dereference', snapshot, status=FAILED, says='zzz')
    os.unlink(link)
    os.mkfifo(link)
    build(place, '--dereference', snapshot, status=REFUSED, says='zzz')


if __name__ == '__main__':
    main()
