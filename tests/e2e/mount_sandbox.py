# SPDX-License-Identifier: Apache-2.0
"""What a living daemon still is: without rights, without files, and dead at the first step aside."""
import ctypes
import errno
import os
import platform
import random
import signal
import socket
import subprocess

from mountlib import (DEADLINE, NOBODY, as_user, find_bytes, flat_disk, flip, is_mounted, main, mount, mounted, require, require_fuse,
                      sandbox, wait_until)

CONTENT = random.Random(31).randbytes(1 << 20)
TREE = sandbox.dir('tree')
with open(f'{TREE}/weights.bin', 'wb') as made:
    made.write(CONTENT)
DISK, ROOT, LENGTH = flat_disk(TREE)


def check_content(path):
    with open(f'{path}/weights.bin', 'rb') as file:
        assert file.read() == CONTENT


def status_of(pid, task):
    with open(f'/proc/{pid}/task/{task}/status', encoding='ascii') as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def tasks(pid):
    return sorted(map(int, os.listdir(f'/proc/{pid}/task')))


def descriptors(pid):
    return sorted(os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd'))


def has_ended(pid):
    """Also when nobody has taken notice yet."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as file:
            return file.read().rsplit(')', 1)[1].split()[0] == 'Z'
    except OSError:
        return True


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        return list(map(int, file.read().split()))


def every_thread_has_lost_every_right():
    for uid in (None, NOBODY):
        with mounted(DISK, ROOT, uid=uid) as m:
            as_user(uid, lambda at=m.path: check_content(at))
            assert len(tasks(m.process.pid)) > 1
            for task in tasks(m.process.pid):
                status = status_of(m.process.pid, task)
                for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb') + (('CapBnd',) if uid is None else ()):
                    assert int(status[name], 16) == 0, (name, status)
                assert status['NoNewPrivs'] == '1' and status['Seccomp'] == '2', status


def the_descriptors_are_disk_fuse_and_log_and_what_events_need():
    inherited = os.open('/etc/passwd', os.O_RDONLY)
    os.set_inheritable(inherited, True)
    m = mount(DISK, ROOT)
    wait_until('--ready-fd is closed', lambda: not any(d.startswith('pipe:') for d in descriptors(m.process.pid)))
    got = descriptors(m.process.pid)
    helper, = children(m.process.pid)
    theirs = descriptors(helper)
    assert m.end() == 0
    os.close(inherited)
    sockets = [name for name in got if name.startswith('socket:')]
    assert len(sockets) == 1, got  # to the process that unmounts
    names = [name for name in got if name not in sockets]
    # the disk a second time: past the page cache
    assert names == sorted(['/dev/null'] * 3 + [m.log_path, '/dev/fuse', 'anon_inode:[eventfd]', 'anon_inode:[signalfd]']
                           + [DISK] * names.count(DISK)), got
    assert names.count(DISK) in (1, 2), got
    assert [name for name in theirs if not name.startswith('socket:')] == ['/dev/null'] * 3, theirs
    assert len(theirs) == 4, theirs


def its_own_user_cannot_look_inside():
    with mounted(DISK, ROOT, uid=NOBODY) as m:
        def look():
            for name in ('mem', 'environ', 'fd'):
                try:
                    (os.listdir if name == 'fd' else open)(f'/proc/{m.process.pid}/{name}')
                except PermissionError:
                    continue
                raise AssertionError(f'/proc/PID/{name} can be opened')
            assert trace(ATTACH, m.process.pid) == errno.EPERM
        as_user(NOBODY, look)


# ---- what happens to a daemon that steps aside ----

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 9, 12, 13, 16, 17


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in (
        'r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base '
        'ds es fs gs').split()]


def trace(request, task, data=None):
    return 0 if libc.ptrace(request, task, None, data) >= 0 else ctypes.get_errno()


def attach(task):
    """Stops a thread; returns its registers and whether it waits for a request."""
    regs = Registers()
    assert trace(ATTACH, task) == 0
    os.waitpid(task, 0x40000000)  # __WALL
    assert trace(GETREGS, task, ctypes.addressof(regs)) == 0
    return regs, regs.orig_rax == 0  # read(2)


def inject(task, number, *args):
    """Makes a thread that waits in a system call make another one. Returns its result, or None if it killed."""
    saved, waits = attach(task)
    while not waits:
        assert trace(DETACH, task) == 0
        saved, waits = attach(task)
    regs = Registers.from_buffer_copy(saved)
    regs.rip -= 2  # back onto the instruction "syscall" that it waits in
    regs.rax, regs.orig_rax = number, (1 << 64) - 1  # and nothing to be restarted
    for name, value in zip(('rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'), args + (0,) * 6):
        setattr(regs, name, value % (1 << 64))
    assert trace(SETREGS, task, ctypes.addressof(regs)) == 0
    assert trace(SINGLESTEP, task) == 0
    _, status = os.waitpid(task, 0x40000000)
    if not os.WIFSTOPPED(status):
        return None
    assert trace(GETREGS, task, ctypes.addressof(regs)) == 0
    # the call that was interrupted begins anew
    saved.rip -= 2
    saved.rax, saved.orig_rax = saved.orig_rax, (1 << 64) - 1
    assert trace(SETREGS, task, ctypes.addressof(saved)) == 0
    assert trace(DETACH, task) == 0
    return ctypes.c_longlong(regs.rax).value


GETPID, SOCKET, EXECVE, KILL, PTRACE, MOUNT, MPROTECT, OPENAT, UMOUNT2, CLONE = 39, 41, 59, 62, 101, 165, 10, 257, 166, 56
ESCAPES = {
    'open': (OPENAT, -100, 0, 0, 0),
    'exec': (EXECVE, 0, 0, 0),
    'socket': (SOCKET, 2, 1, 0),
    'ptrace': (PTRACE, 16, 1),
    'mount': (MOUNT, 0, 0, 0, 0, 0),
    'umount': (UMOUNT2, 0, 0),
    'kill': (KILL, 1, 0),
    'make memory executable': (MPROTECT, 0, 4096, 5),
    'fork': (CLONE, 17, 0, 0, 0, 0),
}


def a_daemon_made_to_escape_dies_at_once_and_its_readers_get_errors():
    if platform.machine() != 'x86_64':
        print('note: registers are known here for x86_64 only; tests/unit/test_sandbox.c tries the same calls')
        return
    for what, call in ESCAPES.items():
        m = mount(DISK, ROOT)
        worker = tasks(m.process.pid)[-1]
        # the method works: a call that is allowed comes back, and the daemon serves on
        assert inject(worker, GETPID) == m.process.pid
        with open(f'{m.path}/weights.bin', 'rb', buffering=0) as file:
            assert file.read(4096) == CONTENT[:4096]
            assert inject(worker, *call) is None, what
            assert m.process.wait(DEADLINE) == -signal.SIGSYS, (what, m.process.returncode)
            try:
                os.pread(file.fileno(), 4096, 512 << 10)
                raise AssertionError('read without a daemon')
            except OSError as err:
                assert err.errno in (errno.ENOTCONN, errno.ECONNABORTED), err
        subprocess.run(['umount', m.path], check=True)


# ---- the process that unmounts ----

def the_process_that_unmounts_has_no_other_right_and_outlasts_signals():
    m = mount(DISK, ROOT)
    helper, = children(m.process.pid)
    status = status_of(helper, helper)
    assert int(status['CapEff'], 16) == 1 << 21 | 1 << 2, status  # CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH
    assert status['NoNewPrivs'] == '1', status
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        os.kill(helper, number)
    check_content(m.path)
    assert m.end() == 0
    assert not is_mounted(m.path)
    wait_until('it has ended', lambda: has_ended(helper))


def a_daemon_that_dies_leaves_no_process_and_no_directory_that_looks_empty():
    for uid in (None, NOBODY):
        m = mount(DISK, ROOT, uid=uid)
        helper, = children(m.process.pid)
        assert m.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until('it has ended', lambda h=helper: has_ended(h))
        try:
            os.listdir(m.path)
            raise AssertionError('an answer without a daemon')
        except OSError as err:
            assert err.errno == (errno.ENOTCONN if uid is None else errno.EACCES), err
        as_user(uid, lambda at=m.path: subprocess.run(['fusermount3', '-u', at], check=True))


def auto_unmount_removes_what_a_killed_daemon_leaves():
    for uid, *options in ((None,), (NOBODY,), (None, '--no-sandbox')):
        m = mount(DISK, ROOT, '-o', 'auto_unmount', *options, uid=uid)
        assert m.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until('the dead mount is gone', lambda at=m.path: not is_mounted(at))
        # and nothing else: a mount that somebody has removed, and made anew, stays
        first = mount(DISK, ROOT, '-o', 'auto_unmount', *options, uid=uid, path=m.path)
        subprocess.run(['umount', '-l', m.path], check=True)
        assert first.process.wait(DEADLINE) == 0
        with mounted(DISK, ROOT, uid=uid, path=m.path) as second:
            as_user(uid, lambda at=second.path: check_content(at))


def without_the_process_that_unmounts_the_daemon_ends_all_the_same():
    m = mount(DISK, ROOT)
    os.kill(children(m.process.pid)[0], signal.SIGKILL)
    assert m.end() == 0
    subprocess.run(['umount', m.path], check=True)


# ---- the log ----

def a_daemon_in_the_background_tells_the_system_log_from_inside():
    if os.path.lexists('/dev/log') or os.getuid() != 0:
        print('note: there is a /dev/log, which is not ours to read')
        return
    disk, root, _ = flat_disk(TREE, 'broken.disk')
    flip(disk, find_bytes(disk, CONTENT[256 << 10:260 << 10]))
    where = sandbox.dir('logged')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind('/dev/log')
        try:
            log.settimeout(DEADLINE)
            subprocess.run([sandbox.mountfs, disk, where, f'--root-hash={root}'], check=True, timeout=DEADLINE)
            with open(f'{where}/weights.bin', 'rb', buffering=0) as file:
                try:
                    os.pread(file.fileno(), 4096, 256 << 10)
                    raise AssertionError('a broken block was read')
                except OSError as err:
                    assert err.errno == errno.EIO, err
            told = log.recv(8192)
            while b'weights.bin' not in told:  # another test's daemon
                told = log.recv(8192)
        finally:
            os.unlink('/dev/log')
        assert told.startswith(b'<27>mountfs[') and b'does not match the root hash' in told, told
    subprocess.run(['umount', where], check=True)


# ---- without ----

def no_sandbox_is_said_loudly():
    m = mount(DISK, ROOT, '--no-sandbox')
    status = status_of(m.process.pid, m.process.pid)
    assert status['Seccomp'] == '0' and status['NoNewPrivs'] == '0', status
    assert not children(m.process.pid)
    check_content(m.path)
    assert m.end() == 0
    assert not is_mounted(m.path)
    assert 'warning: serving WITHOUT A SANDBOX, as --no-sandbox demands' in m.log(), m.log()


require('mkfs.erofs', 'veritysetup')
require_fuse(user=True)
main([every_thread_has_lost_every_right, the_descriptors_are_disk_fuse_and_log_and_what_events_need,
      its_own_user_cannot_look_inside, a_daemon_made_to_escape_dies_at_once_and_its_readers_get_errors,
      the_process_that_unmounts_has_no_other_right_and_outlasts_signals,
      a_daemon_that_dies_leaves_no_process_and_no_directory_that_looks_empty,
      without_the_process_that_unmounts_the_daemon_ends_all_the_same,
      auto_unmount_removes_what_a_killed_daemon_leaves, a_daemon_in_the_background_tells_the_system_log_from_inside,
      no_sandbox_is_said_loudly])
