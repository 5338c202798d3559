# SPDX-License-Identifier: Apache-2.0
"""Media that fail, machines that run out, daemons that are killed: EIO or ENOTCONN where it is due, the truth elsewhere."""
import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

from mountlib import (DEADLINE, FAILED, find_bytes, flat_disk, is_mounted, main, mount, mounted, require,
                      require_fuse, run, sandbox, start, wait_until)

BAD_MEDIUM = os.environ.get('BAD_MEDIUM') or sys.exit('BAD_MEDIUM names no program')
PAGE = 4096
PAGES = 600
CONTENT = random.Random(51).randbytes(PAGES * PAGE - 6)  # too long a tail to lie beside the inode


def make_tree():
    tree = sandbox.dir('tree')
    os.mkdir(f'{tree}/dir')
    with open(f'{tree}/dir/weights.bin', 'wb') as file:
        file.write(CONTENT)
    return tree


TREE = make_tree()
DISK, ROOT, LENGTH = flat_disk(TREE)
FIRST = find_bytes(DISK, CONTENT[:PAGE])  # offset of page 0 of the file


def page_of(page):
    return CONTENT[page * PAGE:(page + 1) * PAGE]


def read_pages(fd, pages=range(PAGES)):
    """{page: errno} of those that are refused; a wrong byte, a short page or another end is an assertion."""
    refused = {}
    for page in pages:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            got = os.pread(fd, PAGE, page * PAGE)
        except OSError as err:
            refused[page] = err.errno
            continue
        assert got == page_of(page), f'page {page} has {len(got)} bytes, and not the true ones'
    return refused


@contextlib.contextmanager
def opened(m):
    fd = os.open(f'{m.path}/dir/weights.bin', os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no readahead: a page is asked for by itself
    yield fd
    assert os.fstat(fd).st_size == len(CONTENT)
    os.close(fd)


def events(m):
    return [json.loads(line) for line in m.log().splitlines()]


def check_told(m, kind):
    """That is the cause, and no other. The file is told by its name, or by its inode where that cannot be read."""
    told = {(e['event'], e['file'].partition(' ')[0]) for e in events(m) if 'file' in e}
    assert told and told <= {(kind, '"dir/weights.bin"'), (kind, 'inode')}, told


# ---- media ----

class Medium:
    def __init__(self, disk):
        self.path = sandbox.dir(f'medium{random.randrange(1 << 30)}')
        self.process = start(BAD_MEDIUM, disk, self.path, '-f')
        wait_until('the medium is there', lambda: is_mounted(self.path))
        self.disk = f'{self.path}/disk'

    def be(self, fault):
        with open(f'{self.path}/fault', 'w', encoding='ascii') as file:
            file.write(fault)


def every_error_of_the_medium_is_eio_for_its_pages_only():
    medium = Medium(DISK)
    for number in (errno.EIO, errno.ENOENT, errno.ENODEV, errno.EINVAL, errno.ENODATA, errno.EACCES, errno.ENOSPC):
        m = mount(medium.disk, ROOT, '--log-format=json')
        with opened(m) as fd:
            medium.be(f'{number} {FIRST + 100 * PAGE + 7} {3 * PAGE}')
            assert read_pages(fd) == {page: errno.EIO for page in range(100, 104)}, number
            medium.be('none')
            assert read_pages(fd) == {}, 'it does not heal'
        assert m.end() == 0
        check_told(m, 'media-failure')


def a_medium_that_ends_early_or_gives_halves_is_no_short_file():
    medium = Medium(DISK)
    m = mount(medium.disk, ROOT, '--log-format=json')
    with opened(m) as fd:
        medium.be('halves')
        assert read_pages(fd) == {}
        medium.be(f'cut {FIRST + 200 * PAGE + 5}')
        assert read_pages(fd) == {page: errno.EIO for page in range(200, PAGES)}
        medium.be('none')
        assert read_pages(fd) == {}
    assert m.end() == 0
    check_told(m, 'media-failure')


def a_medium_that_vanishes_is_eio_and_the_mount_ends_well():
    medium = Medium(DISK)
    m = mount(medium.disk, ROOT, '--log-format=json')
    with opened(m) as fd:
        assert read_pages(fd, range(10)) == {}
        medium.process.kill()
        medium.process.wait()
        assert read_pages(fd) == {page: errno.EIO for page in range(PAGES)}
    assert m.end() == 0
    check_told(m, 'media-failure')


def copy_of_disk(name):
    copy = sandbox.file(name)
    subprocess.run(['cp', DISK, copy], check=True)
    return copy


def a_truncated_image_is_eio_behind_its_end_and_readable_before():
    disk = copy_of_disk('truncated')
    m = mount(disk, ROOT, '--log-format=json')
    with opened(m) as fd:
        for keep in (400, 300, 1):  # pages; the tree behind the data is gone each time
            os.truncate(disk, FIRST + keep * PAGE + 1)
            refused = read_pages(fd)
            assert set(refused.values()) <= {errno.EIO} and set(range(keep, PAGES)) <= set(refused), (keep, refused)
            # before the cut, what hangs from hash blocks that were proven before stays readable
        os.truncate(disk, 0)
        assert read_pages(fd) == {page: errno.EIO for page in range(PAGES)}
        subprocess.run(['cp', DISK, disk], check=True)
        assert read_pages(fd) == {}, 'whole again, and not readable'
    assert m.end() == 0
    check_told(m, 'media-failure')


def holes_are_proof_failures():
    disk = copy_of_disk('holes')
    m = mount(disk, ROOT, '--log-format=json')
    with opened(m) as fd:
        run('fallocate', '--punch-hole', f'--offset={FIRST + 50 * PAGE}', f'--length={5 * PAGE}', disk)
        assert read_pages(fd) == {page: errno.EIO for page in range(50, 55)}
    assert m.end() == 0
    check_told(m, 'proof-failure')


def a_block_device_that_shrinks_is_eio():
    disk = copy_of_disk('loop')
    made = subprocess.run(['losetup', '--find', '--show', '--read-only', disk], capture_output=True, text=True,
                          check=False)
    if made.returncode != 0:
        print('note: no loop devices here')
        return
    device = made.stdout.strip()
    try:
        m = mount(device, ROOT, '--log-format=json')
        with opened(m) as fd:
            os.truncate(disk, FIRST + 300 * PAGE)
            with open(device, 'rb') as file:  # what the kernel's cache has of the device is still the truth
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            refused = read_pages(fd)
            assert set(refused.values()) == {errno.EIO}, refused
        assert m.end() == 0
        assert all(e.get('event') != 'mount-failure' for e in events(m))
    finally:
        run('losetup', '--detach', device)


# ---- the machine ----

def limited(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


def mount_with(kind, value):
    """Starts under a limit: the mount, or None after a refusal with status 1 and a sentence."""
    where = sandbox.dir(f'limited{random.randrange(1 << 30)}')
    result = subprocess.run([sandbox.mountfs, f'--root-hash={ROOT}', DISK, where], capture_output=True, text=True,
                            check=False, timeout=DEADLINE, preexec_fn=limited(kind, value))
    if result.returncode == 0:
        return where
    assert not is_mounted(where)
    # before main() the dynamic loader speaks; without a descriptor to catch it, libfuse does so first
    last = (result.stderr.splitlines() or [''])[-1]
    assert 'error while loading shared libraries' in last or (
        result.returncode == FAILED and last.startswith('mountfs: ')), (kind, value, result)
    return None


def check_limited(where):
    with open(f'{where}/dir/weights.bin', 'rb') as file:
        refused = {}
        for page in range(PAGES):
            try:
                assert os.pread(file.fileno(), PAGE, page * PAGE) == page_of(page), page
            except OSError as err:
                refused[page] = err.errno
    assert set(refused.values()) <= {errno.ENOMEM, errno.EIO}, refused
    subprocess.run(['umount', where], check=True)


def too_few_descriptors_are_a_sentence():
    served = [cnt for cnt in range(3, 24) if (where := mount_with(resource.RLIMIT_NOFILE, cnt)) and
              check_limited(where) is None]
    assert served and served == list(range(served[0], 24)), f'more descriptors, and less works: {served}'
    print(f'note: {served[0]} descriptors are enough')


def too_little_memory_is_a_sentence_or_a_refused_read():
    served = [mib for mib in [*range(8, 80, 8), *range(80, 600, 40)] if
              (where := mount_with(resource.RLIMIT_AS, mib << 20)) and check_limited(where) is None]
    assert served, 'never enough memory'
    print(f'note: {served[0]} MiB of address space are enough')


# ---- the daemon ----

READER = '''
import errno, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
buf = mmap.mmap(-1, 1 << 20)
print("reading", flush=True)
try:
    while True:
        for at in range(0, 2 << 20, 1 << 20):
            os.preadv(fd, [buf], at)
except OSError as err:
    sys.exit(err.errno)
'''


def a_killed_daemon_leaves_no_reader_behind():
    m = mount(DISK, ROOT)
    readers = [start(sys.executable, '-c', READER, f'{m.path}/dir/weights.bin', stdout=subprocess.PIPE)
               for _ in range(16)]
    for reader in readers:
        assert reader.stdout.readline() == b'reading\n'
    began = time.monotonic()
    m.process.kill()
    for reader in readers:
        assert reader.wait(DEADLINE) in (errno.ENOTCONN, errno.ECONNABORTED), reader.returncode
        reader.stdout.close()
    took = time.monotonic() - began
    assert took < 5, took  # slow machines get more than the moment it takes
    print(f'note: 16 readers knew after {took * 1000:.0f} ms')
    subprocess.run(['umount', m.path], check=True)
    with mounted(DISK, ROOT, path=m.path) as again, opened(again) as fd:
        assert read_pages(fd) == {}


def a_daemon_that_stands_still_holds_nobody_who_is_killed():
    m = mount(DISK, ROOT)
    m.process.send_signal(signal.SIGSTOP)
    reader = start(sys.executable, '-c', f'import os; print("in", flush=True); os.stat({m.path!r} + "/dir")',
                   stdout=subprocess.PIPE)
    assert reader.stdout.readline() == b'in\n'
    reader.kill()
    assert reader.wait(DEADLINE) == -signal.SIGKILL
    reader.stdout.close()
    m.process.send_signal(signal.SIGCONT)
    assert m.end() == 0


require('mkfs.erofs', 'veritysetup', 'fallocate')
require_fuse()
main([every_error_of_the_medium_is_eio_for_its_pages_only, a_medium_that_ends_early_or_gives_halves_is_no_short_file,
      a_medium_that_vanishes_is_eio_and_the_mount_ends_well,
      a_truncated_image_is_eio_behind_its_end_and_readable_before, holes_are_proof_failures,
      a_block_device_that_shrinks_is_eio, too_few_descriptors_are_a_sentence,
      too_little_memory_is_a_sentence_or_a_refused_read, a_killed_daemon_leaves_no_reader_behind,
      a_daemon_that_stands_still_holds_nobody_who_is_killed])
