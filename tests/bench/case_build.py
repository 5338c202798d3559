# SPDX-License-Identifier: Apache-2.0
"""Making disks and trees, and checking them: mkdisk and the tree builder beside mkfs.erofs and veritysetup.

Files lie in memory (or in --dir), so what is measured is the work and not a disk."""
import os
import re

from bench import GIB, KIB, MIB, Aim, Case, Row, Sample

SALT = '00' * 32


def root_hash(text):
    return re.search(r'\b[0-9a-f]{64}\b', text)[0]


def thread_counts(most):
    """1, 2, 4, ... and the machine's own number."""
    counts = {1, most}
    count = 2
    while count < most:
        counts.add(count)
        count *= 2
    return sorted(counts)


class Image(Case):
    """An image of random bytes, its tree beside it."""

    def prepare(self):
        self.length = self.bench.size(4 * GIB, 32 * MIB)
        self.dir = self.bench.directory(self.length * 21 // 20)
        self.image = os.path.join(self.dir, 'image')
        self.bench.random_file(self.image, self.length)
        self.roots = {}

    def format_argv(self, tree):
        return [self.bench.tool('veritysetup'), 'format', self.image, tree, '--salt=' + SALT]

    def check(self):
        assert len(set(self.roots.values())) == 1, self.roots


class Tree(Image):
    name = 'build-tree'
    title = 'make the tree of an image'

    def __init__(self, bench):
        super().__init__(bench)
        counts = thread_counts(bench.cpus)
        best = f'tree builder, {counts[-1]} threads'
        self.ours = {f'tree builder, {n} threads': n for n in counts}
        self.bound = f'hashing alone, {counts[-1]} threads'
        self.rows = {'': Row(aims=[Aim(best, 'veritysetup format', 5), Aim(best, self.bound)], scale=self.ours)}

    def contenders(self):
        most = self.bench.cpus
        return {**{name: lambda name=name, n=n: self.build(name, n) for name, n in self.ours.items()},
                self.bound: lambda: Sample(float(self.bench.run(
                    self.bench.program('bench_verity'), 'hash', most).out) / 1e9),
                'veritysetup format': self.veritysetup}

    def before(self, contender):
        self.tree = os.path.join(self.dir, 'tree')
        if os.path.exists(self.tree):
            os.unlink(self.tree)

    def build(self, name, threads):
        done = self.bench.run(self.bench.program('bench_verity'), 'tree', threads, self.image, self.tree)
        self.roots[name] = root_hash(done.out)
        return self.bench.rate(self.length, done)

    def veritysetup(self):
        done = self.bench.run(*self.format_argv(self.tree))
        self.roots['veritysetup'] = re.search(r'Root hash:\s*([0-9a-f]{64})', done.out)[1]
        return self.bench.rate(self.length, done)


class Check(Image):
    name = 'build-check'
    title = 'check a whole disk'
    rows = {'': Row(aims=[Aim('verified reader', 'veritysetup verify', 3.5)])}

    def prepare(self):
        super().prepare()
        self.tree = os.path.join(self.dir, 'tree')
        out = self.bench.run(*self.format_argv(self.tree)).out
        self.root = re.search(r'Root hash:\s*([0-9a-f]{64})', out)[1]

    def contenders(self):
        reader = [self.bench.program('bench_verity'), 'check', self.bench.cpus, self.image, self.tree, self.root]
        peer = [self.bench.tool('veritysetup'), 'verify', self.image, self.tree, self.root]
        self.reader = reader
        return {'verified reader': lambda: self.bench.rate(self.length, self.bench.run(*reader)),
                'veritysetup verify': lambda: self.bench.rate(self.length, self.bench.run(*peer))}

    def check(self):
        """Whoever is fast because he does not look finds nothing."""
        with open(self.image, 'r+b') as image:
            image.seek(self.length // 2)
            image.write(b'changed')
        try:
            self.bench.run(*self.reader)
        except RuntimeError:
            return
        raise AssertionError('a changed block was not noticed')


class Directory(Case):
    """A directory to a flat disk. make_tree() fills self.source and says how many bytes it holds."""

    def __init__(self, bench):
        super().__init__(bench)
        counts = thread_counts(bench.cpus)
        self.ours = {f'mkdisk, -j{n}': n for n in counts}
        self.peer = 'mkfs.erofs + veritysetup'
        self.rows = {'': Row(aims=[Aim(f'mkdisk, -j{counts[-1]}', self.peer, self.aim)], scale=self.ours)}

    def prepare(self):
        self.dir = self.bench.directory(self.need())
        self.source, self.disk = os.path.join(self.dir, 'source'), os.path.join(self.dir, 'disk')
        os.mkdir(self.source)
        self.length = self.make_tree()
        self.roots = {}

    def contenders(self):
        return {**{name: lambda name=name, n=n: self.mkdisk(name, n) for name, n in self.ours.items()},
                self.peer: self.peers}

    def before(self, contender):
        if os.path.exists(self.disk):
            os.unlink(self.disk)

    def mkdisk(self, name, jobs):
        done = self.bench.run(self.bench.program('mkdisk'), '--layout=flat', '--json=off', '--progress=off',
                              f'-j{jobs}', '--salt=00', self.disk, self.source)
        self.roots[name] = root_hash(done.out)
        return self.bench.rate(self.length, done)

    def peers(self):
        image = self.bench.run(self.bench.tool('mkfs.erofs'), '-T0', '-x-1', '--all-root',
                               '-U00000000-0000-0000-0000-000000000000', self.disk, self.source)
        offset = os.path.getsize(self.disk)
        tree = self.bench.run(self.bench.tool('veritysetup'), 'format', self.disk, self.disk, '--salt=00',
                              f'--hash-offset={offset}', f'--data-blocks={offset // 4096}',
                              '--uuid=00000000-0000-0000-0000-000000000000')
        return self.bench.rate(self.length, image, tree)

    def check(self):
        assert len(set(self.roots.values())) == 1, self.roots


class Model(Directory):
    name = 'build-model'
    title = 'directory to flat disk: a model'
    aim = 4

    def need(self):
        return self.bench.size(4 * GIB, 32 * MIB) * 17 // 8

    def make_tree(self):
        shard = self.bench.size(GIB, 8 * MIB)
        for i in range(4):
            self.bench.random_file(os.path.join(self.source, f'model-{i + 1:05}-of-00004.safetensors'), shard - 12345)
        for name, length in (('config.json', 700), ('tokenizer.json', 2 * MIB), ('README.md', 9000)):
            self.bench.random_file(os.path.join(self.source, name), length)
        return sum(e.stat().st_size for e in os.scandir(self.source))


class SmallFiles(Directory):
    name = 'build-small'
    title = 'directory to flat disk: small files'
    aim = None

    def need(self):
        return self.bench.size(2 * GIB, 64 * MIB)

    def make_tree(self):
        total = 0
        for d in range(self.bench.size(100, 4)):
            directory = os.path.join(self.source, f'directory-{d:03}')
            os.mkdir(directory)
            for f in range(500):
                length = (f * 7919 + d * 104729) % (16 * KIB)
                with open(os.path.join(directory, f'file-{f:03}'), 'wb') as out:
                    total += out.write(os.urandom(length))
        return total


CASES = [Tree, Check, Model, SmallFiles]
