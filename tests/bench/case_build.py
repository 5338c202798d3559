# SPDX-License-Identifier: Apache-2.0
"""Making disks and trees, and checking them: mkdisk and the tree builder beside mkfs.erofs and veritysetup.

Files lie in memory (or in --dir), so what is measured is the work and not a disk."""
import os
import re
import shutil

from bench import GIB, KIB, MIB, Aim, Case, Missing, Row, Sample

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


class Directory(Case):
    """A directory to a flat disk. make_tree() fills self.source and returns how many bytes it holds."""
    aim = None
    on_disk = False
    jobs_grow = False  # also with fewer threads than usual?

    def __init__(self, bench):
        super().__init__(bench)
        usual = 2 * bench.cpus
        counts = thread_counts(usual) if self.jobs_grow else [usual]
        self.ours = {f'mkdisk, {n} threads': n for n in counts}
        self.peer = 'mkfs.erofs + veritysetup' + (' + sync' if self.on_disk else '')
        self.rows = {'': Row(aims=[Aim(f'mkdisk, {usual} threads', self.peer, self.aim)],
                             scale=self.ours if self.jobs_grow else None)}

    def make_dir(self):
        self.dir = self.bench.directory(self.need(), self.on_disk)
        self.source, self.disk = os.path.join(self.dir, 'source'), os.path.join(self.dir, 'disk')

    def prepare(self):
        self.make_dir()
        os.mkdir(self.source)
        self.length = self.make_tree(self.source)
        self.roots = {}

    def contenders(self):
        return {**{name: lambda name=name, n=n: self.mkdisk(name, n) for name, n in self.ours.items()},
                self.peer: self.peers}

    def before(self, contender):
        if os.path.exists(self.disk):
            os.unlink(self.disk)
        self.bench.warm(self.source)

    def mkdisk(self, name, jobs, source=None, options=()):
        done = self.bench.run(self.bench.program('mkdisk'), '--layout=flat', '--json=off', '--progress=off',
                              f'-j{jobs}', *options, self.disk, source or self.source)
        self.roots[name] = root_hash(done.out)
        return self.bench.rate(self.length, done)

    def peers(self):
        steps = [self.bench.run(self.bench.tool('mkfs.erofs'), '-T0', '-x-1', '--all-root',
                                '-U00000000-0000-0000-0000-000000000000', self.disk, self.source)]
        offset = os.path.getsize(self.disk)
        steps.append(self.bench.run(self.bench.tool('veritysetup'), 'format', self.disk, self.disk, '--salt=00',
                                    f'--hash-offset={offset}', f'--data-blocks={offset // 4096}',
                                    '--uuid=00000000-0000-0000-0000-000000000000'))
        if self.on_disk:  # mkdisk does not end before the disk is durable
            steps.append(self.bench.run('sync', self.disk))
        return self.bench.rate(self.length, *steps)

    def check(self):
        """The same root hash from all; the peers' layout is that of their version, which the golden tests judge."""
        assert len(set(self.roots.values())) == 1, self.roots


class Model(Directory):
    name = 'build-model'
    title = 'directory to flat disk: a model'
    aim = 4
    jobs_grow = True
    shard_len = GIB

    def need(self):
        return self.bench.size(4 * self.shard_len, 32 * MIB) * 17 // 8

    def make_tree(self, source):
        shard = self.bench.size(self.shard_len, 8 * MIB)
        for i in range(4):
            self.bench.random_file(os.path.join(source, f'model-{i + 1:05}-of-00004.safetensors'), shard - 12345)
        for name, length in (('config.json', 700), ('tokenizer.json', 2 * MIB), ('README.md', 9000)):
            self.bench.random_file(os.path.join(source, name), length)
        return sum(e.stat().st_size for e in os.scandir(source))


class ModelOnDisk(Model):
    name = 'build-model-disk'
    title = 'directory to flat disk, durable on a disk'
    on_disk = True


class SmallFiles(Directory):
    name = 'build-small'
    title = 'directory to flat disk: small files'

    def need(self):
        return self.bench.size(2 * GIB, 64 * MIB)

    def make_tree(self, source):
        total = 0
        for d in range(self.bench.size(100, 4)):
            directory = os.path.join(source, f'directory-{d:03}')
            os.mkdir(directory)
            for f in range(500):
                length = (f * 7919 + d * 104729) % (16 * KIB)
                with open(os.path.join(directory, f'file-{f:03}'), 'wb') as out:
                    total += out.write(os.urandom(length))
        return total


class Clone(ModelOnDisk):
    """A file system that can share what two files have in common."""
    name = 'build-clone'
    title = 'directory to flat disk on btrfs'
    aim = None
    jobs_grow = False
    shard_len = GIB // 2
    mounted = False

    def __init__(self, bench):
        super().__init__(bench)
        (self.copying, self.jobs), = self.ours.items()
        self.cloning = 'mkdisk, cloning'
        self.rows = {'': Row(aims=[Aim(self.cloning, self.peer), Aim(self.cloning, self.copying)])}

    def prepare(self):
        image_len = self.bench.size(8 * GIB, 512 * MIB)
        self.dir = self.bench.directory(image_len * 5 // 4, on_disk=True)
        image, mount = os.path.join(self.dir, 'btrfs'), os.path.join(self.dir, 'mount')
        os.mkdir(mount)
        with open(image, 'wb') as f:
            f.truncate(image_len)
        self.bench.run(self.bench.tool('mkfs.btrfs'), '-q', image)
        try:
            self.bench.run('mount', '-o', 'loop', image, mount)
        except RuntimeError as e:
            raise Missing(f'no btrfs here: {e}') from e
        self.mounted = mount
        self.disk, self.source = os.path.join(mount, 'disk'), os.path.join(mount, 'source')
        self.elsewhere = os.path.join(self.dir, 'source')  # not cloned from
        for source in self.source, self.elsewhere:
            os.mkdir(source)
            self.length = self.make_tree(source)
        for name in os.listdir(self.source):
            shutil.copyfile(os.path.join(self.source, name), os.path.join(self.elsewhere, name))
        os.sync()
        self.roots = {}

    def contenders(self):
        return {self.cloning: lambda: self.mkdisk(self.cloning, self.jobs),
                self.copying: lambda: self.mkdisk(self.copying, self.jobs, self.elsewhere),
                self.peer: self.peers}

    def before(self, contender):
        super().before(contender)
        self.bench.warm(self.elsewhere)

    def clean(self):
        if self.mounted:
            self.bench.run('umount', self.mounted)


class Check(Model):
    name = 'build-check'
    title = 'check a whole disk'
    aim = 3.5

    def __init__(self, bench):
        super().__init__(bench)
        self.rows = {'': Row(aims=[Aim('mountfs --verify', 'veritysetup verify', self.aim)])}

    def prepare(self):
        super().prepare()
        self.mkdisk('', 2 * self.bench.cpus)
        self.root = self.roots['']
        shutil.rmtree(self.source)
        with open(self.disk, 'rb') as f:  # the hash tree is behind the file system's blocks
            f.seek(1024 + 36)
            self.tree_off = int.from_bytes(f.read(4), 'little') * 4096
        self.length = self.tree_off

    def before(self, contender):
        pass

    def contenders(self):
        self.ours = [self.bench.program('mountfs'), '--verify', '--progress=off', f'--root-hash={self.root}', self.disk]
        peer = [self.bench.tool('veritysetup'), 'verify', self.disk, self.disk, self.root,
                f'--hash-offset={self.tree_off}']
        return {'mountfs --verify': lambda: self.bench.rate(self.length, self.bench.run(*self.ours)),
                'veritysetup verify': lambda: self.bench.rate(self.length, self.bench.run(*peer))}

    def check(self):
        """Whoever is fast because he does not look finds nothing."""
        with open(self.disk, 'r+b') as disk:
            disk.seek(self.length // 2)
            disk.write(b'changed')
        try:
            self.bench.run(*self.ours)
        except RuntimeError:
            return
        raise AssertionError('a changed block was not noticed')


CASES = [Tree, Check, Model, ModelOnDisk, Clone, SmallFiles]
