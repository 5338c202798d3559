# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests of mountfs share: disks by the reference tools, mounts that never stay behind.

Every test has its own directory and its own mounts. Readiness is awaited on --ready-fd, never slept for. Whatever
happens, the processes started here are killed and what is mounted below the directory is unmounted.
"""
import atexit
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MOUNTFS = os.environ.get('MOUNTFS') or sys.exit('MOUNTFS names no program')
NOBODY = 65534
ZERO_UUID = '00000000-0000-0000-0000-000000000000'
DEADLINE = 60  # seconds: a bound on hanging, not an expectation
FAILED, USAGE, REFUSED = 1, 2, 3  # exit statuses

_libc = ctypes.CDLL(None, use_errno=True)


def skip(why):
    print('skipped:', why)
    sys.exit(77)


def require(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f'{program} is not installed')


def require_fuse(user=False):
    if not os.path.exists('/dev/fuse'):
        skip('/dev/fuse is missing')
    if user or os.getuid() != 0:
        require('fusermount3')
    if user and os.getuid() != 0:
        skip('only root can become another user')
    if user:
        os.chmod('/dev/fuse', 0o666)
    try:
        os.close(os.open('/dev/fuse', os.O_RDWR))
    except OSError as err:
        skip(f'/dev/fuse: {err.strerror}')


def mount_table():
    """The mounts of this process: [(source, target, type, options)]."""
    def plain(text):
        return text.encode().decode('unicode_escape').encode('latin-1').decode('utf-8', 'surrogateescape')
    with open('/proc/self/mounts', encoding='utf-8', errors='surrogateescape') as table:
        return [tuple(plain(field) for field in line.split()[:4]) for line in table]


class Sandbox:
    """A directory of one test, and the end of everything in it."""

    def __init__(self):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix='modeldisk-e2e-'))
        os.chmod(self.path, 0o755)
        self.started, self.owner = [], os.getpid()
        atexit.register(self.end)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        # an ordinary user need not be able to reach the build directory
        self.mountfs = self.file('mountfs')
        shutil.copy(MOUNTFS, self.mountfs)
        os.chmod(self.mountfs, 0o755)

    def file(self, *names):
        return os.path.join(self.path, *names)

    def dir(self, name, owner=None):
        path = self.file(name)
        os.mkdir(path)
        if owner is not None:
            os.chown(path, owner, owner)
        return path

    def end(self):
        if os.getpid() != self.owner:
            return
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for _, target, _, _ in reversed(mount_table()):
            if target.startswith(self.path + '/'):
                subprocess.run(['umount', '-l', target], check=False)
        subprocess.run(['rm', '-rf', self.path], check=False)  # rmtree() recurses, and gives up on depth


sandbox = Sandbox()


# ---- disks ----

def run(*command, **more):
    result = subprocess.run(command, capture_output=True, text=True, errors='replace', check=False, **more)
    if result.returncode != 0:
        sys.exit(f'{command} ended with {result.returncode}: {result.stdout}{result.stderr}')
    return result.stdout


def make_image(tree, image, *options):
    run('mkfs.erofs', '-d0', '-T0', '--all-root', '-U', ZERO_UUID, *options, image, tree)
    return os.path.getsize(image)


def add_hash_tree(data, hashes, offset=0, *options):
    """Returns the root hash."""
    out = run('veritysetup', 'format', '--salt=00', f'--uuid={ZERO_UUID}', f'--hash-offset={offset}', *options,
              data, hashes)
    return next(line.split()[-1] for line in out.splitlines() if line.startswith('Root hash:'))


def flat_disk(tree, name='flat.disk', *options):
    """An EROFS image with its hash tree behind it. Returns (path, root hash, length of the image)."""
    disk = sandbox.file(name)
    length = make_image(tree, disk, *options)
    return disk, add_hash_tree(disk, disk, length), length


def gpt_disk(tree, name='gpt.disk', *options):
    """A GPT with a data and a hash partition. Returns (path, root hash)."""
    image, hashes, disk = sandbox.file(name + '.image'), sandbox.file(name + '.hashes'), sandbox.file(name)
    length = make_image(tree, image, *options)
    root = add_hash_tree(image, hashes)
    start, hash_len = 1 << 20, os.path.getsize(hashes)
    hash_start = start + length + -length % 4096
    with open(disk, 'wb') as out:
        out.truncate(hash_start + hash_len + (1 << 20))
    run('sgdisk', '-a', '8', '-n', f'1:{start // 512}:{hash_start // 512 - 1}',
        '-n', f'2:{hash_start // 512}:{(hash_start + hash_len) // 512 - 1}', disk)
    for part, at in ((image, start), (hashes, hash_start)):
        run('dd', f'if={part}', f'of={disk}', 'bs=4096', f'seek={at // 4096}', 'conv=notrunc,sparse')
        os.unlink(part)
    return disk, root


def find_bytes(path, wanted):
    """The offset of bytes in a file, which must be there exactly once."""
    with open(path, 'rb') as file:
        content = file.read()
    at = content.find(wanted)
    assert at >= 0 and content.find(wanted, at + 1) < 0, 'the bytes are not there exactly once'
    return at


def flip(path, at):
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


# ---- mounts ----

def become(uid):
    def change():
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    return change if uid is not None else None


def start(*command, uid=None, pass_fds=(), env=None, **more):
    """Starts a program whose end is taken care of."""
    process = subprocess.Popen(command, preexec_fn=become(uid), pass_fds=pass_fds, env=env, **more)
    sandbox.started.append(process)
    return process


def wait_until(what, question):
    end = time.monotonic() + DEADLINE
    while not question():
        assert time.monotonic() < end, f'gave up waiting until {what}'
        time.sleep(0.01)


def read_line(fd):
    """A line from a pipe, or what came before its end."""
    line = b''
    while not line.endswith(b'\n'):
        assert select.select([fd], [], [], DEADLINE)[0], 'nothing came through the pipe'
        byte = os.read(fd, 1)
        if not byte:
            break
        line += byte
    return line


class Mount:
    def __init__(self, process, path, log_path):
        self.process, self.path, self.log_path = process, path, log_path

    def log(self):
        with open(self.log_path, encoding='utf-8') as log:
            return log.read()

    def end(self, number=signal.SIGTERM):
        """Asks the daemon to end; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


def is_mounted(path):
    return any(target == path for _, target, _, _ in mount_table())


_mount_cnt = 0


def mount(disk, root, *options, uid=None, path=None):
    """Mounts in the foreground and waits until it is ready."""
    global _mount_cnt
    _mount_cnt += 1
    path = path or sandbox.dir(f'mnt{_mount_cnt}', uid)
    log_path = sandbox.file(f'log{_mount_cnt}')
    ready, ready_writer = os.pipe()
    with open(log_path, 'wb') as log:
        process = start(sandbox.mountfs, '-f', f'--ready-fd={ready_writer}', f'--root-hash={root}', *options,
                        disk, path, uid=uid, pass_fds=[ready_writer], stderr=log)
    os.close(ready_writer)
    line = read_line(ready)
    os.close(ready)
    made = Mount(process, path, log_path)
    assert line == b'ready\n', f'not ready: {made.log()}'
    return made


@contextlib.contextmanager
def mounted(*args, **more):
    made = mount(*args, **more)
    yield made
    status = made.end()
    assert status == 0, f'the daemon ended with {status}: {made.log()}'
    assert not is_mounted(made.path)


def refused(*command, uid=None, env=None):
    """Runs mountfs in the background mode, where it must fail. Returns (status, what it said)."""
    result = subprocess.run([sandbox.mountfs, *command], capture_output=True, text=True, check=False, timeout=DEADLINE,
                            preexec_fn=become(uid), env=env)
    assert result.returncode != 0, f'mountfs {command} was expected to fail'
    assert result.stdout == ''
    assert len(result.stderr.splitlines()) == 1, f'not one sentence: {result.stderr}'
    return result.returncode, result.stderr


def as_user(uid, work):
    """Runs work in a child that has become uid; its failure is ours."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if uid is not None:
                become(uid)()
            work()
            status = 0
        except BaseException as err:  # pylint: disable=broad-except
            sys.excepthook(type(err), err, err.__traceback__)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, 'the child failed'


def main(tests):
    """Runs the functions in order; each says its claim by its name."""
    for test in tests:
        began = time.monotonic()
        test()
        print(f'ok {test.__name__} ({time.monotonic() - began:.1f} s)', flush=True)
