# SPDX-License-Identifier: Apache-2.0
"""What makes reading fast must show in nothing else: the same bytes, bounded memory, nothing done when nobody reads. How
fast it is, is measured by tests/bench."""
import ctypes
import os
import random
import sys
import threading
import time

from mountlib import (NOBODY, flat_disk, flip, main, mount, mounted, refused, require_fuse, sandbox,
                      wait_until)

SIZE = (24 << 20) + 4321
PAGE = os.sysconf('SC_PAGESIZE')
NR_CACHESTAT = 451
CONTENT = random.Random(5).randbytes(SIZE)
MAX_RSS_KIB = 128 << 10


def make_disk():
    tree = sandbox.dir('tree')
    os.mkdir(f'{tree}/sub')
    for name in 'a.safetensors', 'sub/b.safetensors', 'tokenizer.json':
        with open(f'{tree}/{name}', 'wb') as file:
            file.write(CONTENT)
    return flat_disk(tree)[:2]


def read(path):
    with open(path, 'rb', buffering=0) as file:
        parts = []
        while part := file.read(1 << 20):
            parts.append(part)
    return b''.join(parts)


def cached_bytes(path):
    """Of the file, in the page cache; None where the kernel does not tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, 'rb') as file:
        where = (ctypes.c_uint64 * 2)(0, os.path.getsize(path))
        found = (ctypes.c_uint64 * 5)()
        if libc.syscall(NR_CACHESTAT, file.fileno(), where, found, 0) < 0:
            return None
    return found[0] * PAGE


def drop(path):
    with open(path, 'rb') as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def every_way_to_read_the_disk_gives_the_same_bytes():
    for mode in 'auto', 'yes', 'no':
        for warm in False, True:
            drop(DISK)
            if warm:
                read(DISK)
            with mounted(DISK, ROOT, f'--direct={mode}') as m:
                assert read(f'{m.path}/a.safetensors') == CONTENT, (mode, warm)
                backwards = [CONTENT[at:at + 65536] for at in range(SIZE - 65536, 0, -65536)]
                with open(f'{m.path}/tokenizer.json', 'rb') as file:
                    assert [os.pread(file.fileno(), 65536, at) for at in range(SIZE - 65536, 0, -65536)] == backwards


def the_disk_is_not_in_memory_twice():
    if cached_bytes(DISK) is None:
        print('note: this kernel does not tell what is in its page cache')
        return
    drop(DISK)
    floor = cached_bytes(DISK)
    if floor > SIZE // 4:
        print('note: the disk lies where it cannot leave memory')
        return
    for mode, most in ('auto', SIZE // 2), ('yes', SIZE // 2), ('no', None):
        drop(DISK)
        with mounted(DISK, ROOT, f'--direct={mode}') as m:
            assert read(f'{m.path}/a.safetensors') == CONTENT
            held = cached_bytes(DISK)
            assert cached_bytes(f'{m.path}/a.safetensors') >= SIZE
        assert held < most if most else held >= SIZE, (mode, held)
    # but what was there before stays
    read(DISK)
    before = cached_bytes(DISK)
    with mounted(DISK, ROOT) as m:
        assert read(f'{m.path}/a.safetensors') == CONTENT
    assert cached_bytes(DISK) == before


def preloaded_files_are_in_the_page_cache_before_anybody_reads():
    for uid in None, NOBODY:
        with mounted(DISK, ROOT, '--preload=*.safetensors', uid=uid) as m:
            wait_until('all is preloaded', lambda: 'preloaded' in m.log())
            assert f'preloaded {2 * SIZE} bytes\n' in m.log(), m.log()
            if cached_bytes(DISK) is not None and uid is None:
                assert cached_bytes(f'{m.path}/a.safetensors') >= SIZE
                assert cached_bytes(f'{m.path}/sub/b.safetensors') >= SIZE
                assert cached_bytes(f'{m.path}/tokenizer.json') == 0
    with mounted(DISK, ROOT, '-o', 'preload', '--progress=json') as m:
        wait_until('all is preloaded', lambda: 'preloaded' in m.log())
        assert f'preloaded {3 * SIZE} bytes\n' in m.log(), m.log()
        assert '"event":"progress"' in m.log(), m.log()


def a_pattern_that_matches_nothing_is_refused():
    status, said = refused('--root-hash=' + ROOT, '--preload=*.gguf', DISK, sandbox.dir('nothing'))
    assert status == 2 and '*.gguf' in said, (status, said)


def what_cannot_be_proven_is_passed_over_by_preloading():
    broken = sandbox.file('broken.disk')
    with open(DISK, 'rb') as source, open(broken, 'wb') as copy:
        content = source.read()
        copy.write(content)
    flip(broken, content.index(CONTENT[5 << 20:(5 << 20) + 4096]) + 99)
    with mounted(broken, ROOT, '--preload') as m:
        wait_until('all is preloaded', lambda: 'preloaded' in m.log())
        assert 'could not be proven' in m.log(), m.log()
        assert 'does not match' in m.log(), m.log()


def a_daemon_that_is_killed_takes_the_preloading_with_it():
    m = mount(DISK, ROOT, '--preload')
    m.process.kill()
    m.process.wait()

    def is_gone():
        for pid in os.listdir('/proc'):
            try:
                with open(f'/proc/{pid}/comm', encoding='ascii', errors='replace') as comm:
                    name = comm.read()
                if name == 'mountfs-preload\n' and m.path in os.readlink(f'/proc/{pid}/fd/3'):
                    return False
            except OSError:
                pass
        return True
    wait_until('nobody preloads any more', is_gone)


def status_of(pid, field):
    with open(f'/proc/{pid}/status', encoding='ascii') as status:
        return next(line.split()[1] for line in status if line.startswith(field + ':'))


def memory_stays_bounded_with_64_readers():
    with mounted(DISK, ROOT, '--threads=16') as m:
        failed = []

        def work(number):
            rng = random.Random(number)
            with open(f'{m.path}/{("a.safetensors", "sub/b.safetensors", "tokenizer.json")[number % 3]}', 'rb') as file:
                at = rng.randrange(SIZE)
                for _ in range(100):
                    # some in order, some anywhere
                    at = at + 131072 if number % 2 else rng.randrange(SIZE)
                    at %= SIZE
                    if os.pread(file.fileno(), 131072, at) != CONTENT[at:at + 131072]:
                        failed.append(number)
        threads = [threading.Thread(target=work, args=[number]) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
        peak = int(status_of(m.process.pid, 'VmHWM'))
        print(f'note: at most {peak >> 10} MiB')
        assert peak < MAX_RSS_KIB, peak


def switches(pid):
    return sum(int(status_of(f'{pid}/task/{task}', 'voluntary_ctxt_switches'))
               for task in os.listdir(f'/proc/{pid}/task'))


def nobody_reads_and_nothing_is_done():
    with mounted(DISK, ROOT) as m:
        read(f'{m.path}/a.safetensors')
        # what was begun ahead comes to its end; then there are no wake-ups at all
        wait_until('it comes to rest', lambda: switches(m.process.pid) == (time.sleep(0.3), switches(m.process.pid))[1])


def requests_are_long_where_we_may_make_them():
    def setting(path):
        device = os.stat(path).st_dev
        with open(f'/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb', encoding='ascii') as file:
            return int(file.read())
    with mounted(DISK, ROOT) as m:
        assert setting(m.path) == 1024


if __name__ == '__main__':
    require_fuse(user=True)
    DISK, ROOT = make_disk()
    tests = [every_way_to_read_the_disk_gives_the_same_bytes, the_disk_is_not_in_memory_twice,
             preloaded_files_are_in_the_page_cache_before_anybody_reads, a_pattern_that_matches_nothing_is_refused,
             what_cannot_be_proven_is_passed_over_by_preloading, a_daemon_that_is_killed_takes_the_preloading_with_it,
             memory_stays_bounded_with_64_readers, nobody_reads_and_nothing_is_done]
    if os.access('/sys/class/bdi', os.W_OK) and os.statvfs('/sys').f_flag & os.ST_RDONLY == 0:
        tests.append(requests_are_long_where_we_may_make_them)
    main(tests)
    sys.exit(0)
