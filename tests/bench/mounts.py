# SPDX-License-Identifier: Apache-2.0
"""One tree of files, mounted by everybody: the disks, how each contender mounts its own, and what reading took.

Mounts live in a mount namespace of this process, so that no program elsewhere on the machine keeps one of them alive (and
its caches warm) after it was unmounted. Every measurement has a mount of its own, hence cold caches above the disk; the
files of the disks themselves are in memory, unless a case says otherwise.
"""
import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import time

from bench import GIB, MIB, Missing, Sample

OURS, SQUASHFUSE, FUSE2FS = 'mountfs', 'squashfuse_ll', 'fuse2fs'
BTRFS, EROFS = 'kernel btrfs, sha256', 'kernel EROFS, no proof'
USER = 65534
CLONE_NEWNS = 0x20000
TICK = os.sysconf('SC_CLK_TCK')


def own_namespace():
    """Once; without root everything happens in the one there is."""
    if os.getuid() == 0 and not own_namespace.done:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) == 0:
            subprocess.run(['mount', '--make-rprivate', '/'], check=True)
        own_namespace.done = True


own_namespace.done = False


def quietly(*argv, **more):
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          stdin=subprocess.DEVNULL, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {done.stdout.decode(errors='replace').strip()[-500:]}")
    return done.stdout.decode(errors='replace')


def processor_time(pid):
    """Seconds of a process until now."""
    with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Images:
    """The same tree in each contender's format. Formats are made when first asked for; a tool that is not there raises
    Missing."""

    def __init__(self, bench, directory, source, size):
        self.bench, self.dir, self.source, self.size = bench, directory, source, size
        self.made = {}

    def path(self, contender):
        if contender not in self.made:
            self.made[contender] = os.path.join(self.dir, contender.split()[-1] if ' ' not in contender
                                                else contender.split()[1].strip(','))
            {OURS: self.make_ours, SQUASHFUSE: self.make_squashfs, FUSE2FS: self.make_ext4, BTRFS: self.make_btrfs,
             EROFS: self.make_erofs}[contender](self.made[contender])
            os.chmod(self.made[contender], 0o644)
        return self.made[contender]

    def make_ours(self, path):
        out = quietly(self.bench.program('mkdisk'), '--progress=off', '--json=short', path, self.source)
        self.root = next(p['roothash'] for p in json.loads(out) if p.get('roothash'))

    def make_squashfs(self, path):
        # neither compressed nor deduplicated, as our disks are
        quietly(self.bench.tool('mksquashfs'), self.source, path, '-noappend', '-no-progress', '-no-duplicates', '-noI',
                '-noD', '-noF', '-noX', '-no-fragments')

    def make_ext4(self, path):
        with open(path, 'wb') as f:
            f.truncate(self.size * 11 // 10 + 128 * MIB)
        quietly(self.bench.tool('mkfs.ext4'), '-q', '-F', '-m', 0, '-d', self.source, path)

    def make_btrfs(self, path):
        with open(path, 'wb') as f:
            f.truncate(self.size * 11 // 10 + 512 * MIB)
        quietly(self.bench.tool('mkfs.btrfs'), '-q', '--csum', 'sha256', '--rootdir', self.source, path)

    def make_erofs(self, path):
        quietly(self.bench.tool('mkfs.erofs'), path, self.source)


class Mount:
    """with Mount(...) as path: a fresh mount of the contender's image."""

    def __init__(self, images, contender, user=False, options=()):
        self.images, self.contender, self.user, self.options = images, contender, user, options
        self.daemon = None

    def __enter__(self):
        own_namespace()
        self.path = tempfile.mkdtemp(prefix='mnt-', dir=self.images.dir)
        if self.user:
            os.chown(self.path, USER, USER)
        image = self.images.path(self.contender)
        if self.contender in (BTRFS, EROFS):
            self.mount_in_kernel(image)
        else:
            self.mount_with_daemon(image)
        return self

    def mount_in_kernel(self, image):
        kind = 'btrfs' if self.contender == BTRFS else 'erofs'
        if os.getuid() != 0:
            raise Missing('only root can mount it')
        try:
            quietly('mount', '-t', kind, '-o', 'loop,ro', image, self.path)
        except RuntimeError as e:
            os.rmdir(self.path)
            raise Missing(f'this kernel cannot mount it ({e})') from e

    def mount_with_daemon(self, image):
        bench = self.images.bench
        argv = {OURS: lambda: [bench.program('mountfs'), '-f', *self.options, image, self.path,
                               '--root-hash=' + self.images.root],
                SQUASHFUSE: lambda: [bench.tool('squashfuse_ll'), '-f', image, self.path],
                FUSE2FS: lambda: [bench.tool('fuse2fs'), '-f', '-o', 'ro', image, self.path]}[self.contender]()
        self.log = tempfile.TemporaryFile()
        self.daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                       **({'user': USER, 'group': USER, 'extra_groups': []} if self.user else {}))
        end = time.monotonic() + 20
        while not self.is_mounted():
            if self.daemon.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise RuntimeError(f'{argv[0]} does not mount: {self.log.read().decode(errors="replace")[-500:]}')
            time.sleep(0.002)

    def is_mounted(self):
        with open('/proc/self/mounts', encoding='utf-8', errors='replace') as f:
            return any(line.split()[1] == self.path for line in f)

    def __exit__(self, *_):
        for _ in range(200):
            if not self.is_mounted():
                break
            unmount = ['umount'] if os.getuid() == 0 else ['fusermount3', '-u']
            if subprocess.run([*unmount, self.path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.02)
        if self.daemon:
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        os.rmdir(self.path)

    def file(self, name):
        return os.path.join(self.path, name)

    def processor_time(self):
        return processor_time(self.daemon.pid) if self.daemon else None

    def read(self, *argv):
        """mount_reader's result, and the processor seconds that it and the daemon took: None where the kernel itself
        served, whose threads nobody counts for us."""
        before = self.processor_time()
        become = {'user': USER, 'group': USER, 'extra_groups': []} if self.user else {}
        times = os.times()
        out = json.loads(quietly(self.images.bench.program('mount_reader'), *argv, **become))
        cpu = os.times().children_user + os.times().children_system - times.children_user - times.children_system
        out['cpu_s'] = None if before is None else max(cpu + self.processor_time() - before, 1 / TICK)
        return out


def rate(result):
    return Sample(result['bytes'] / result['seconds'] / 1e9, result['cpu_s'])


def in_memory(path):
    """The file's bytes are in the page cache afterwards, whether they were before or not."""
    with open(path, 'rb', buffering=0) as f:
        buf = bytearray(MIB)
        while f.readinto(buf):
            pass


def on_disk_only(path):
    """And here they are not."""
    with open(path, 'rb') as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Trees:
    """Trees are large and several cases read the same one: made once, removed when the process ends."""
    made = {}

    @classmethod
    def get(cls, bench, kind, scratch_on_disk=False):
        key = (kind, scratch_on_disk)
        if key not in cls.made:
            cls.made[key] = cls.make(bench, kind, scratch_on_disk)
        return cls.made[key]

    @staticmethod
    def make(bench, kind, scratch_on_disk):
        size = bench.size(GIB, 16 * MIB)
        if scratch_on_disk:
            directory = tempfile.mkdtemp(prefix='modeldisk-bench-', dir=bench.scratch or tempfile.gettempdir())
        else:
            directory = bench.directory(size * 7)
        os.chmod(directory, 0o755)
        source = os.path.join(directory, 'source')
        os.mkdir(source)
        if kind == 'model':
            bench.random_file(os.path.join(source, 'model.safetensors'), size)
        else:
            for i in range(bench.size(100000, 500)):
                with open(os.path.join(source, f'tokens-{i:06}.json'), 'w', encoding='ascii') as f:
                    f.write(str(i))
            size = 512 * MIB
        return Images(bench, directory, source, size)

    @classmethod
    def end(cls):
        for images in cls.made.values():
            shutil.rmtree(images.dir, ignore_errors=True)
        cls.made.clear()
