# SPDX-License-Identifier: Apache-2.0
"""Reading from a mount, as model loaders do, beside what people mount models with today.

squashfuse_ll, fuse2fs and the kernel's EROFS prove nothing; btrfs compares each block with a SHA-256 beside it, which is
the nearest thing to a proof that the kernel's file systems have."""
import atexit
import hashlib
import os
import re
import subprocess
import tempfile

from bench import GIB, MIB, Aim, Case, Missing, Row, Sample
from mounts import BTRFS, EROFS, FUSE2FS, OURS, SQUASHFUSE, USER, Mount, Trees, in_memory, on_disk_only, quietly, rate

MODEL = 'model.safetensors'
ALL = [OURS, SQUASHFUSE, FUSE2FS, BTRFS, EROFS]
atexit.register(Trees.end)


def aims(**ratios):
    """aims(squashfuse=1.3, ...)"""
    peers = {'squashfuse': SQUASHFUSE, 'fuse2fs': FUSE2FS, 'btrfs': BTRFS, 'erofs': EROFS}
    return [Aim(OURS, peers[peer], ratio) for peer, ratio in ratios.items()]


class OnMount(Case):
    """Each contender reads from a fresh mount of its own image; read() says what."""
    kind = 'model'
    peers = ALL
    user = False

    def prepare(self):
        if not os.path.exists('/dev/fuse'):
            raise Missing('/dev/fuse is missing')
        if self.user and (os.getuid() != 0 or os.stat('/dev/fuse').st_mode & 0o006 != 0o006):
            raise Missing('needs root to become an ordinary user, and /dev/fuse open to all')
        self.images = Trees.get(self.bench, self.kind)
        self.images.path(OURS)

    def contenders(self):
        return {name: lambda name=name: self.turn(name) for name in self.peers}

    def before(self, contender):
        in_memory(self.images.path(contender))

    def turn(self, contender):
        with Mount(self.images, contender, self.user) as mount:
            return self.read(mount)

    def read(self, mount):
        raise NotImplementedError

    def check(self):
        """The bytes are those of the source."""
        if self.kind != 'model':
            return
        with Mount(self.images, OURS) as mount:
            digests = []
            for path in mount.file(MODEL), os.path.join(self.images.source, MODEL):
                with open(path, 'rb') as f:
                    digests.append(hashlib.file_digest(f, 'sha256') if hasattr(hashlib, 'file_digest')
                                   else hashlib.sha256(f.read()))
            assert digests[0].digest() == digests[1].digest()


class Threads(OnMount):
    """A pattern of mount_reader by one and by several threads; a row for each number."""
    pattern = ''
    numbers = (1,)

    def read(self, mount):
        raise NotImplementedError

    def turn(self, contender):
        result = {}
        for number in self.numbers:
            with Mount(self.images, contender, self.user) as mount:
                result[self.row(number)] = rate(mount.read(self.pattern, mount.file(MODEL), number))
        return result

    @staticmethod
    def row(number):
        return f'{number} thread' + ('s' if number > 1 else '')


class Sequential(Threads):
    name = 'mount-seq'
    title = 'pread 1 MiB in order'
    pattern, numbers = 'seq', (1, 2)

    def __init__(self, bench):
        super().__init__(bench)
        self.bound = 'hashing alone, all cores'
        wanted = aims(squashfuse=1.3, fuse2fs=1.3, btrfs=1.3, erofs=0.9) + [Aim(OURS, self.bound)]
        self.rows = {self.row(n): Row(aims=wanted) for n in self.numbers}

    def contenders(self):
        return {**super().contenders(), self.bound: self.hashing}

    def before(self, contender):
        if contender != self.bound:
            super().before(contender)

    def hashing(self):
        done = self.bench.run(self.bench.program('bench_verity'), 'hash', self.bench.cpus)
        return {row: Sample(float(done.out) / 1e9) for row in self.rows}


class Mapped(Threads):
    name = 'mount-mmap'
    title = 'copy tensors of 1 to 16 MiB from a mapping'
    pattern, numbers = 'mmap', (1, 8)
    rows = {Threads.row(n): Row(aims=aims(squashfuse=1.5, fuse2fs=None, btrfs=None, erofs=None)) for n in (1, 8)}


class UserSequential(Threads):
    name = 'mount-user-seq'
    title = 'ordinary user: pread 1 MiB in order'
    pattern, numbers, user, peers = 'seq', (1, 2), True, [OURS, SQUASHFUSE]
    rows = {Threads.row(n): Row(aims=aims(squashfuse=1.3)) for n in (1, 2)}


class UserMapped(Threads):
    name = 'mount-user-mmap'
    title = 'ordinary user: copy tensors from a mapping'
    pattern, numbers, user, peers = 'mmap', (1, 8), True, [OURS, SQUASHFUSE]
    rows = {Threads.row(n): Row(aims=aims(squashfuse=1.3)) for n in (1, 8)}


class Random(OnMount):
    name = 'mount-random'
    title = 'pread 4 KiB anywhere'
    rows = {percent: Row('us', less_is_better=True, aims=aims(squashfuse=1.0, fuse2fs=None, btrfs=None, erofs=None))
            for percent in ('p50', 'p99')}

    def read(self, mount):
        result = mount.read('random', mount.file(MODEL), 1)
        return {percent: Sample(result[percent + '_us'], result['cpu_s']) for percent in self.rows}


class Direct(OnMount):
    name = 'mount-direct'
    title = 'O_DIRECT 1 MiB, 8 at a time (libaio)'
    peers = [OURS, SQUASHFUSE]
    rows = {'': Row(aims=aims(squashfuse=1.3))}

    def prepare(self):
        super().prepare()
        self.fio = self.bench.tool('fio')

    def read(self, mount):
        out = quietly(self.fio, '--name=x', '--rw=read', '--bs=1M', '--ioengine=libaio', '--iodepth=8', '--direct=1',
                      '--readonly', '--output-format=terse', '--terse-version=3', '--filename=' + mount.file(MODEL))
        line = next(text for text in out.splitlines() if re.match(r'3;', text))
        return Sample(int(line.split(';')[6]) * 1024 / 1e9)  # field 7: read bandwidth in KiB/s


class Again(OnMount):
    name = 'mount-again'
    title = 'pread 1 MiB in order, second time'
    rows = {'': Row(aims=aims(erofs=0.95, btrfs=0.95, squashfuse=None))}
    peers = [OURS, SQUASHFUSE, BTRFS, EROFS]

    def read(self, mount):
        mount.read('seq', mount.file(MODEL), 1)
        return rate(mount.read('seq', mount.file(MODEL), 1))


class Listing(OnMount):
    name = 'mount-list'
    title = 'readdir and stat of a large directory'
    kind = 'names'
    rows = {'': Row('entries/s', aims=aims(squashfuse=1.0, btrfs=None, erofs=None))}
    peers = [OURS, SQUASHFUSE, BTRFS, EROFS]

    def read(self, mount):
        result = mount.read('tree', mount.path)
        return Sample(result['entries'] / result['seconds'], result['cpu_s'])


class Cold(Case):
    """The only case about a disk, so it is not in memory."""
    name = 'mount-cold'
    title = 'disk not in memory: pread 1 MiB in order'
    cat = 'cat of the image'
    rows = {'': Row(aims=[Aim(OURS, cat, 0.95), Aim(OURS, SQUASHFUSE)])}

    def prepare(self):
        self.images = Trees.get(self.bench, 'model', scratch_on_disk=True)
        self.images.path(OURS)

    def contenders(self):
        return {OURS: lambda: self.read(OURS), SQUASHFUSE: lambda: self.read(SQUASHFUSE), self.cat: self.read_image}

    def before(self, contender):
        on_disk_only(self.images.path(OURS if contender == self.cat else contender))

    def read(self, contender):
        with Mount(self.images, contender) as mount:
            return rate(mount.read('seq', mount.file(MODEL), 1))

    def read_image(self):
        image = self.images.path(OURS)
        done = self.bench.run(self.bench.tool('cat'), image)
        return self.bench.rate(os.path.getsize(image), done)


class Start(Case):
    """From the start of the program to the first byte of a file: large disks must not take longer than small ones."""
    name = 'mount-start'
    title = 'from start to the first byte'
    sizes = {'1 MiB': MIB, '8 GiB': 8 * GIB}
    rows = {'': Row('ms', less_is_better=True, aims=[Aim('disk of 8 GiB', 'disk of 1 MiB', 0.8)])}

    def prepare(self):
        self.dir = tempfile.mkdtemp(prefix='modeldisk-bench-', dir=self.bench.scratch or tempfile.gettempdir())
        self.disks = {}
        for label, size in self.sizes.items():
            self.disks[label] = self.make(label, size)

    def make(self, label, size):
        source = os.path.join(self.dir, 'source ' + label)
        disk = os.path.join(self.dir, 'disk ' + label)
        os.mkdir(source)
        with open(os.path.join(source, 'hole'), 'wb') as f:
            f.truncate(size)
        out = quietly(self.bench.program('mkdisk'), '--progress=off', '--json=short', disk, source)
        return disk, re.search(r'"roothash"\s*:\s*"([0-9a-f]+)"', out)[1]

    def contenders(self):
        return {'disk of ' + label: lambda label=label: self.start(label) for label in self.sizes}

    def start(self, label):
        disk, root = self.disks[label]
        mnt = os.path.join(self.dir, 'mnt')
        os.makedirs(mnt, exist_ok=True)
        run = self.bench.run(self.bench.program('mountfs'), disk, mnt, '--root-hash=' + root)
        first = self.bench.run('head', '-c', '1', os.path.join(mnt, 'hole'))
        subprocess.run(['umount', mnt], check=True)
        return Sample((run.seconds + first.seconds) * 1e3)


CASES = [Sequential, Mapped, Random, Direct, Again, Listing, UserSequential, UserMapped, Cold, Start]
