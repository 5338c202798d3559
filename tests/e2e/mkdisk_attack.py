#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mkdisk among enemies: repositories that unfold or lie, file systems that are full, machines that are small.

    MKDISK=path mkdisk_attack.py [NAME...]

What a server may do is lfs_faults.py's; names no file system should see are tests/unit/test_git.c's.
"""
import hashlib
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import unicodedata
import zlib

import mkdisk_disk as base
from mkdisk_disk import DEADLINE, DONE, FAILED, MKDISK, REFUSED, Skip, expect, expect_in, need_root, sha256

base.TESTS.clear()
test = base.test

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'4d' * 32 + b'\nsize %d\n'


# ---- repositories, object by object, as no git would make them ----

class Repository:
    TYPES = {b'commit': 1, b'tree': 2, b'blob': 3}

    def __init__(self, p):
        self.path, self.objects = p.at('repository'), {}
        subprocess.run(['git', 'init', '-q', '--bare', self.path], check=True)

    def write(self, kind, body):
        oid = hashlib.sha1(b'%s %d\0' % (kind, len(body)) + body).digest()
        head = [self.TYPES[kind] << 4 | len(body) & 15]
        rest = len(body) >> 4
        while rest:  # the pack format's numbers: seven bits a byte, the lowest first
            head[-1] |= 128
            head.append(rest & 127)
            rest >>= 7
        self.objects[oid] = bytes(head) + zlib.compress(body, 1)
        return oid

    def store(self):
        """Everything so far, as one pack."""
        pack = b'PACK' + struct.pack('>II', 2, len(self.objects)) + b''.join(self.objects.values())
        subprocess.run(['git', '-C', self.path, 'index-pack', '--stdin'], input=pack + hashlib.sha1(pack).digest(),
                       check=True, stdout=subprocess.DEVNULL)

    def blob(self, body):
        return self.write(b'blob', body)

    def tree(self, entries):
        """of (mode, name, id)"""
        return self.write(b'tree', b''.join(b'%s %s\0%s' % entry for entry in entries))

    def commit(self, tree):
        body = b'tree %s\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n' % tree.hex().encode()
        oid = self.write(b'commit', body).hex()
        self.store()
        return oid

    def nest(self, tree, count, levels):
        """count names for a tree, levels times over"""
        for _ in range(levels):
            tree = self.tree([(b'40000', b'd%05d' % i, tree) for i in range(count)])
        return tree


def build(p, repository, commit, *args, status=DONE, memory=None):
    """mkdisk over a commit: (stdout, stderr, KiB it took)"""
    limit = (lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))) if memory else None
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run([MKDISK, '--progress=off', '--layout=flat', *args, p.disk, repository, commit],
                          capture_output=True, timeout=DEADLINE * 3, preexec_fn=limit, check=False)
    said = done.stderr.decode()
    expect(done.returncode, status, f'exit status, which says {said!r}')
    if status != DONE:
        expect(len(said.splitlines()), 1, f'lines of {said!r}')
        expect(p.listing(), [], 'files')
    return done.stdout.decode(), said, max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


@test
def three_objects_that_stand_for_a_hundred_thousand_files_are_built(p):
    r = Repository(p)
    leaves = r.tree([(b'100644', b'f%03d' % i, r.blob(b'x\n')) for i in range(100)])
    out, _, peak = build(p, r.path, r.commit(r.nest(leaves, 1000, 1)), memory=1 << 30)
    expect(json.loads(out)[0]['hash_offset'] > 100000 * 32, True, 'an inode for every file')
    expect(peak < 200 << 10, True, f'{peak} KiB, that is below 200 MiB')


@test
def trees_that_unfold_without_end_are_refused_in_bounded_memory(p):
    r = Repository(p)
    links = r.tree([(b'120000', b'%0255d' % i, r.blob(b'x' * 4095)) for i in range(1000)])
    said = build(p, r.path, r.commit(r.nest(links, 100, 4)), status=REFUSED, memory=3 << 30)[1]
    expect_in('unfold', said)


@test
def directories_may_be_ten_thousand_deep_but_not_twenty(p):
    r = Repository(p)
    deep = r.nest(r.tree([(b'100644', b'f', r.blob(b'x\n'))]), 1, 10000)
    build(p, r.path, r.commit(deep), '--root-hash-only')
    said = build(p, r.path, r.commit(r.nest(deep, 1, 10000)), status=REFUSED)[1]
    expect(len(said) < 3000, True, f'a sentence of {len(said)} characters')


@test
def attributes_in_every_directory_are_bounded(p):
    r = Repository(p)
    attributes = r.blob(b'#' + b'x' * ((4 << 20) - 2) + b'\n')
    tree = r.tree([(b'100644', b'f', r.blob(b'x\n'))])
    for _ in range(6):
        tree = r.tree([(b'100644', b'.gitattributes', attributes), (b'40000', b'd', tree)])
    expect_in('attributes are too many', build(p, r.path, r.commit(tree), status=REFUSED, memory=1 << 30)[1])


@test
def names_that_other_systems_take_for_one_are_kept(p):
    r = Repository(p)
    names = sorted(n.encode() for n in ('A', 'a', unicodedata.normalize('NFC', 'é'), unicodedata.normalize('NFD', 'é'),
                                        'CON', 'a.', 'a ', 'K', '\u212a'))
    tree = r.tree([(b'100644', n, r.blob(n)) for n in names])
    build(p, r.path, r.commit(tree), '--record=' + p.at('record'))
    with open(p.at('record'), encoding='utf-8') as f:
        files = [e['path'] for e in json.load(f)['files'] if e['type'] == 'file']
    expect(sorted(n.encode() for n in files), names, 'names')


@test
def pointers_to_more_than_there_can_be_are_refused_or_text(p):
    r = Repository(p)
    for size, is_pointer in ((2**64 - 1, False), (2**63, False), (2**63 - 1, True), (2**60, True), (2**45, True)):
        tree = r.tree([(b'100644', b'model', r.blob(POINTER % size))])
        if is_pointer:
            build(p, r.path, r.commit(tree), status=FAILED)
        else:  # git-lfs does not take it for a pointer either
            build(p, r.path, r.commit(tree), '--root-hash-only')


# ---- full file systems ----

def outcome(p, before, after, done):
    """The old file or the new one, whole, and nothing else."""
    said = done.stderr.decode()
    expect(p.listing(), ['disk'], 'files')
    if done.returncode == DONE:
        expect(sha256(p.disk), after, 'SHA-256 of the new file')
    else:
        # 127: the dynamic loader ran out first
        expect(done.returncode in (FAILED, 127), True, f'status {done.returncode}, which says {said!r}')
        expect(len(said.splitlines()), 1, f'lines of {said!r}')
        expect(sha256(p.disk), before, 'SHA-256 of the old file')
    return done.returncode == DONE


def sweep(p, before, after, limits, **more):
    ended = []
    for limit in limits:
        with open(p.disk, 'wb') as f:
            f.write(b'old')
        done = subprocess.run([MKDISK, '--progress=off', '--layout=flat', '--force', p.disk, p.model],
                              capture_output=True, timeout=DEADLINE, check=False,
                              **{name: value(limit) for name, value in more.items()})
        ended.append(outcome(p, before, after, done))
    expect(True in ended and False in ended, True, f'the sweep sees both ends: {ended}')


def make_both(p):
    p.run('--layout=flat')
    return hashlib.sha256(b'old').hexdigest(), sha256(p.disk)


def limited(kind):
    return lambda value: lambda: resource.setrlimit(kind, (value, value))


@test
def file_that_may_not_grow_leaves_the_old_one(p):
    before, after = make_both(p)
    size = os.path.getsize(p.disk)
    sweep(p, before, after, [*range(0, size, size // 16), size - 1, size],
          preexec_fn=limited(resource.RLIMIT_FSIZE))


@test
def too_little_memory_leaves_the_old_file(p):
    before, after = make_both(p)
    sweep(p, before, after, [mib << 20 for mib in (28, 32, 36, *range(40, 64, 3), 64, 80, 2048)],
          preexec_fn=limited(resource.RLIMIT_AS))


@test
def small_file_systems_leave_the_old_file(p):
    need_root('mounting')
    before, after = make_both(p)
    size, ended = os.path.getsize(p.disk), []
    image, where = p.at('image'), p.at('out')
    for kind in ('tmpfs', 'ext4'):
        if not shutil.which('mkfs.ext4'):
            raise Skip('mkfs.ext4 is not installed')
        for room in range(256 << 10, 3 * size + (1 << 20), size // 3):
            if kind == 'ext4':
                with open(image, 'wb') as f:
                    f.truncate(room)
                subprocess.run(['mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-m0', image], check=True)
                options = ['-o', 'loop', image]
            else:
                options = ['-t', 'tmpfs', '-o', f'size={room}', 'none']
            if subprocess.run(['mount', *options, where], check=False, stderr=subprocess.DEVNULL).returncode != 0:
                continue  # too small for a file system, or nothing may be mounted
            try:
                shutil.rmtree(p.at('out/lost+found'), ignore_errors=True)
                p.write(p.disk, b'old')
                done = subprocess.run([MKDISK, '--progress=off', '--layout=flat', '--force', p.disk, p.model],
                                      capture_output=True, timeout=DEADLINE, check=False)
                ended.append(outcome(p, before, after, done))
            finally:
                subprocess.run(['umount', where], check=True)
    if not ended:
        raise Skip('nothing can be mounted here')
    expect(True in ended and False in ended, True, f'the sweep sees both ends: {ended}')


if __name__ == '__main__':
    sys.exit(base.main())
