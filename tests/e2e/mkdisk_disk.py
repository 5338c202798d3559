#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mkdisk from outside: what becomes of DISK when all goes well, when it must not, and when it is cut short.

    MKDISK=path mkdisk_disk.py [NAME...]

Each test has a directory of its own. Exit status: 0 all passed, 1 a failure, 77 nothing could be run.
"""
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MKDISK = os.environ.get('MKDISK') or sys.exit('MKDISK names no program')
NOBODY = 65534
DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
DEADLINE = 60  # seconds: a bound on hanging, not an expectation
TESTS = []


class Skip(Exception):
    """It cannot be run here; the text says why."""


def test(function):
    TESTS.append(function)
    return function


def need_root(what):
    if os.geteuid() != 0:
        raise Skip('needs root: ' + what)


def expect(found, expected, what):
    if found != expected:
        raise AssertionError(f'{what}: found {found!r}, expected {expected!r}')


def expect_in(part, text):
    if part not in text:
        raise AssertionError(f'no {part!r} in {text!r}')


class Place:
    """A directory with a small model in it."""

    def __init__(self, path):
        self.path = path
        self.disk, self.model = self.at('out/disk'), self.at('model')
        os.makedirs(self.at('out'))
        os.makedirs(self.at('model/sub'))
        for i, size in enumerate((0, 10, 5000, 300000)):
            with open(self.at(f'model/sub/f{i}'), 'wb') as f:
                f.write(bytes((i * 7 + k * k) & 0xff for k in range(size)))
        self.write(self.at('model/config.json'), b'{}\n')

    def at(self, name):
        return os.path.join(self.path, name)

    @staticmethod
    def write(path, content):
        with open(path, 'wb') as f:
            f.write(content)

    def listing(self):
        return sorted(os.listdir(self.at('out')))

    def run(self, *args, status=DONE, disk=None, env=None, **kw):
        """Runs mkdisk over the model; (stdout, stderr)"""
        p = subprocess.run([MKDISK, '--progress=off', *args, disk or self.disk, self.model],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
                           env=dict(os.environ, **(env or {})), **kw)
        err = p.stderr.decode()
        expect(p.returncode, status, f'exit status of {args}, which says {err!r}')
        if status != DONE:
            expect(len(err.splitlines()), 1, f'lines of {err!r}')
            expect(p.stdout, b'', 'stdout')
        return p.stdout.decode(), err

    def root(self, *args):
        return json.loads(self.run(*args)[0])[0]['roothash']

    def big_model(self, size=400 << 20):
        """a model that takes long enough to be interrupted"""
        block = os.urandom(1 << 20)
        with open(self.at('model/big'), 'wb') as f:
            for _ in range(size >> 20):
                f.write(block)

    def start_writing(self, *args):
        """mkdisk, already at work on the disk"""
        p = subprocess.Popen([MKDISK, '--progress=off', '-j1', *args, self.disk, self.model],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError), open(f'/proc/{p.pid}/io', encoding='ascii') as f:
                if int(re.search(r'wchar: (\d+)', f.read())[1]) > 4 << 20:
                    return p
            if p.poll() is not None:
                raise AssertionError('it ended before it could be stopped')
        raise AssertionError('it writes nothing')


def sha256(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        for chunk in iter(lambda: f.read(1 << 20), b''):
            digest.update(chunk)
    return digest.hexdigest()


def is_disk(path):
    with open(path, 'rb') as f:
        return f.read(520)[512:] == b'EFI PART'


# ---- the size ----

@test
def existing_file_fixes_the_size_and_keeps_its_mode(p):
    with open(p.disk, 'wb') as f:
        f.truncate(123456789)
    os.chmod(p.disk, 0o604)
    if os.geteuid() == 0:
        os.chown(p.disk, 12, 34)
    p.run()
    st = os.stat(p.disk)
    expect(st.st_size, 123456789, 'size')
    expect(st.st_mode & 0o7777, 0o604, 'mode')
    expect((st.st_uid, st.st_gid), (12, 34) if os.geteuid() == 0 else (os.geteuid(), os.getegid()), 'owner')
    expect(p.listing(), ['disk'], 'files')


@test
def new_file_gets_the_smallest_size_that_will_do(p):
    p.run()
    size = os.path.getsize(p.disk)
    os.unlink(p.disk)
    out, err = p.run(f'--size={size - 4096}', status=FAILED)
    expect_in(str(size), err)
    expect(p.listing(), [], 'files')
    p.run(f'--size={size}')
    expect(os.path.getsize(p.disk), size, 'size')


@test
def too_small_file_is_refused_and_untouched(p):
    p.write(p.disk, b'mine' * 1000)
    _, err = p.run(status=FAILED)
    expect_in(p.disk, err)
    with open(p.disk, 'rb') as f:
        expect(f.read(), b'mine' * 1000, 'content')
    expect(p.listing(), ['disk'], 'files')


@test
def size_option_wins_over_the_file(p):
    p.write(p.disk, b'')
    p.run('--size=96M')
    expect(os.path.getsize(p.disk), 96 << 20, 'size')


@test
def larger_disk_has_another_root_hash_unless_only_the_file_system_is_covered(p):
    roots = {p.root('--root-hash-only', f'--size={size}') for size in ('100M', '101M')}
    expect(len(roots), 2, 'root hashes')
    roots = {p.root('--root-hash-only', '--coverage=filesystem', f'--size={size}') for size in ('100M', '101M')}
    expect(len(roots), 1, 'root hashes')
    roots |= {p.root('--root-hash-only', '--offline=yes')}
    expect(len(roots), 1, 'root hashes')


# ---- refusals ----

@test
def known_signature_needs_force(p):
    p.run()
    before = sha256(p.disk)
    os.utime(p.disk, (0, 0))
    _, err = p.run(status=FAILED)
    expect_in('GPT', err)
    expect(os.stat(p.disk).st_mtime, 0, 'time of the untouched file')
    p.run('--force')
    expect(sha256(p.disk), before, 'SHA-256')


@test
def unexpected_root_hash_leaves_nothing_behind(p):
    root = p.root('--root-hash-only')
    wrong = root[:-1] + ('0' if root[-1] != '0' else '1')
    for args in ([], ['--root-hash-only']):
        _, err = p.run('--expect-root-hash=' + wrong, *args, status=REFUSED)
        expect_in(root, err)
        expect_in(wrong, err)
        expect(p.listing(), [], 'files')
    with open(p.disk, 'wb') as f:
        f.write(b'mine')
        f.truncate(100 << 20)
    p.run('--expect-root-hash=' + wrong, status=REFUSED)
    with open(p.disk, 'rb') as f:
        expect(f.read(4), b'mine', 'content')
    p.run('--size=auto', '--expect-root-hash=' + root.upper())
    expect(is_disk(p.disk), True, 'a disk')


@test
def root_hash_only_writes_nothing(p):
    root = p.root()
    os.unlink(p.disk)
    expect(p.root('--root-hash-only'), root, 'root hash')
    expect(p.root('--dry-run'), root, 'root hash')
    expect(p.listing(), [], 'files')
    expect(p.root('--dry-run=no'), root, 'root hash')
    expect(p.listing(), ['disk'], 'files')
    expect(p.root('--dry-run=yes', '--layout=flat') != root, True, 'another root hash')
    expect(is_disk(p.disk), True, 'the disk is still there')


@test
def unreadable_content_is_named_and_leaves_nothing(p):
    os.chmod(p.at('model/sub/f2'), 0)
    user = {}
    if os.geteuid() == 0:  # who reads everything
        os.chmod(p.path, 0o755)
        os.chown(p.at('out'), NOBODY, NOBODY)
        user = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
    _, err = p.run(status=FAILED, **user)
    expect_in('sub/f2', err)
    expect(p.listing(), [], 'files')


@test
def disk_inside_its_source_is_refused(p):
    _, err = p.run(disk=p.at('model/disk'), status=USAGE)
    expect_in('become part of it', err)
    _, err = p.run(disk=p.at('out/../model/sub/disk'), status=USAGE)
    expect(os.path.exists(p.at('model/disk')), False, 'a disk')


@test
def full_stdout_is_a_failure(p):
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([MKDISK, '-q', p.disk, p.model], stdout=full, stderr=subprocess.PIPE, check=False)
    expect(done.returncode, FAILED, 'exit status')
    expect_in(b'stdout', done.stderr)


# ---- what comes out ----

@test
def three_forms_of_the_result_agree(p):
    pretty, _ = p.run('--root-hash-only')
    short, _ = p.run('--root-hash-only', '--json=short')
    root, _ = p.run('--root-hash-only', '--json=off')
    expect(json.loads(pretty), json.loads(short), 'result')
    expect(short.count('\n'), 1, 'lines')
    expect(root, json.loads(pretty)[0]['roothash'] + '\n', 'root hash')
    flat = json.loads(p.run('--root-hash-only', '--layout=flat')[0])
    expect(flat[0]['roothash'] + '\n', p.run('--root-hash-only', '--layout=flat', '--json=off')[0], 'root hash')


@test
def record_names_every_file_and_its_digest(p):
    os.symlink('f1', p.at('model/sub/link'))
    os.link(p.at('model/sub/f3'), p.at('model/sub/same'))
    p.write(os.fsencode(p.at('model/raw')) + b'\xff', b'raw')
    p.run('--record=' + p.at('out/record'), '--exclude=sub/f2')
    with open(p.at('out/record'), encoding='utf-8') as f:
        record = json.load(f)
    expect(record['file_hash_sha256'], sha256(p.disk), 'SHA-256 of the disk')
    expect(record['excluded_files'], 'sub/f2', 'patterns')
    expect(record['disk_size'], os.path.getsize(p.disk), 'size')
    files = {f.get('path') or bytes.fromhex(f['path_hex']): f for f in record['files']}
    expect(list(files), ['config.json', b'raw\xff', 'sub', 'sub/f0', 'sub/f1', 'sub/f3', 'sub/link', 'sub/same'], 'files')
    for name in ('config.json', 'sub/f0', 'sub/f1', 'sub/f3', 'sub/same'):
        expect(files[name]['sha256'], sha256(p.at('model/' + name)), 'SHA-256 of ' + name)
    expect(files['sub/same']['same_as'], 'sub/f3', 'first name')
    expect(files['sub/link']['target'], 'f1', 'target')
    p.run('--force', '--image-digest=no', '--record=' + p.at('out/record'), '--exclude=sub/f2')
    with open(p.at('out/record'), encoding='utf-8') as f:
        expect(dict(json.load(f), file_hash_sha256=record['file_hash_sha256']), record, 'record without it')
    dry = p.at('out/dry')
    p.run('--size=auto', '--root-hash-only', '--record=' + dry)
    with open(dry, encoding='utf-8') as f:
        expect(json.load(f)['file_hash_sha256'], None, 'SHA-256 of no disk')


@test
def record_that_cannot_be_written_is_told_before_the_work(p):
    expect_in('No such file', p.run('--record=' + p.at('none/record'), status=FAILED)[1])
    expect_in('for its record', p.run('--record=' + p.disk, status=USAGE)[1])
    expect_in('become part of it', p.run('--record=' + p.at('model/record'), status=USAGE)[1])
    expect(p.listing(), [], 'files')
    _, err = p.run('--record=' + p.at('out'), status=USAGE)
    expect(p.listing(), [], 'files')


@test
def excluded_files_are_listed_and_left_out(p):
    out, _ = p.run('--exclude=f1', '--exclude=*.json', '--list-excluded')
    expect(sorted(out.splitlines()), ['*.json\t"config.json"', 'f1\t"sub/f1"'], 'list')
    expect(p.listing(), [], 'files')
    root = p.root('--exclude=f1', '--root-hash-only')
    out, _ = p.run('--root-hash-only', env={'EXCLUDE_GIT_FILES': 'f1'})
    expect(json.loads(out)[0]['roothash'], root, 'root hash')
    os.unlink(p.at('model/sub/f1'))
    expect(p.root('--root-hash-only'), root, 'root hash')


@test
def repository_and_its_checkout_give_one_disk(p):
    if not shutil.which('git'):
        raise Skip('git is not installed')
    maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../support/make_model.py')
    commit = subprocess.run([sys.executable, maker, p.at('hub')], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    repository = p.at('hub/tiny.git')
    shutil.rmtree(p.model)
    subprocess.run(['git', 'clone', '-q', repository, p.model], check=True, umask=0o022)
    subprocess.run(['git', '-C', p.model, 'checkout', '-q', commit], check=True, umask=0o022)
    for layout in ('repart', 'flat'):
        root = p.root('--root-hash-only', '--layout=' + layout)
        out = subprocess.run([MKDISK, '-q', '--layout=' + layout, '--root-hash-only', '--json=off', p.disk, repository, commit],
                             stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        expect(out, root, 'root hash from the repository, ' + layout)
    for wrong in ([], ['master'], [commit[:12]], ['0' * 40]):
        done = subprocess.run([MKDISK, '-q', p.disk, repository, *wrong], stderr=subprocess.PIPE, check=False)
        expect(done.returncode in (FAILED, USAGE), True, f'refusal of commit {wrong}, exit status {done.returncode}')
        expect(p.listing(), [], 'files')


@test
def links_that_lead_out_are_kept_and_told(p):
    os.symlink('../config.json', p.at('model/sub/inside'))
    expect(p.run('--root-hash-only')[1], '', 'warnings')
    os.symlink('../../config.json', p.at('model/sub/outside'))
    expect_in('sub/outside', p.run('--root-hash-only')[1])
    expect(p.run('--root-hash-only', '-q')[1], '', 'warnings')


@test
def memory_is_bounded_whatever_the_model(p):
    with open(p.at('model/huge'), 'wb') as f:
        for i in range(40):
            f.seek(i << 30)
            f.write(os.urandom(1 << 20))
    for i in range(500):
        p.write(p.at(f'model/sub/n{i}'), b'x' * (i * 300))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    p.run('--root-hash-only', '-j64')
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    expect(max(peak, before) < 256 << 10, True, f'less than 256 MiB, found {peak >> 10} MiB')


# ---- cut short ----

@test
def kill_9_leaves_the_old_file_and_no_other(p):
    p.big_model()
    with open(p.disk, 'wb') as f:
        f.write(b'mine')
        f.truncate(600 << 20)
    p.start_writing().kill()
    with open(p.disk, 'rb') as f:
        expect(f.read(4), b'mine', 'content')
    end = time.monotonic() + DEADLINE
    while p.listing() != ['disk'] and time.monotonic() < end:
        time.sleep(0.05)  # the process may still be dying
    expect(p.listing(), ['disk'], 'files')


@test
def termination_is_an_orderly_end(p):
    p.big_model()
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child = p.start_writing()
        child.send_signal(sig)
        out, err = child.communicate(timeout=DEADLINE)
        expect((child.returncode, out), (FAILED, b''), 'exit status and stdout')
        expect_in(b'interrupted', err)
        expect(p.listing(), [], 'files')


@test
def full_file_system_is_told_before_anything_is_written(p):
    need_root('a small file system')
    p.big_model(64 << 20)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=32M', 'none', p.at('out')], check=True)
    try:
        _, err = p.run(status=FAILED)
        expect_in('free', err)
        expect(p.listing(), [], 'files')
    finally:
        subprocess.run(['umount', p.at('out')], check=True)


# ---- written in place ----

@test
def mount_point_is_written_in_place(p):
    need_root('a bind mount')
    for name in ('disk', 'host'):
        with open(p.at('out/' + name), 'wb') as f:
            f.truncate(100 << 20)
    inode = os.stat(p.at('out/host')).st_ino
    subprocess.run(['mount', '--bind', p.at('out/host'), p.disk], check=True)
    try:
        root = p.root()
        expect(os.stat(p.disk).st_ino, inode, 'inode')
    finally:
        subprocess.run(['umount', p.disk], check=True)
    expect(is_disk(p.at('out/host')), True, 'a disk')
    expect(p.root('--root-hash-only', '--size=100M'), root, 'root hash')
    expect(p.listing(), ['disk', 'host'], 'files')
    expect(p.root(), root, 'root hash')
    expect(sha256(p.disk), sha256(p.at('out/host')), 'SHA-256')


@contextlib.contextmanager
def loop_device(p, sector, size):
    need_root('loop devices')
    if not os.path.exists('/dev/loop-control') or not shutil.which('losetup'):
        raise Skip('no loop devices')
    backing = p.at('backing')
    with open(backing, 'wb') as f:
        f.write(os.urandom(1 << 20) * (size >> 20))
    done = subprocess.run(['losetup', '-f', '--show', '-b', str(sector), backing], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Skip('losetup fails')
    device = done.stdout.decode().strip()
    try:
        yield device, backing
    finally:
        subprocess.run(['losetup', '-d', device], check=True)


@test
def device_gets_the_bytes_of_a_file_whatever_was_on_it(p):
    for sector in (512, 4096):
        with loop_device(p, sector, 96 << 20) as (device, backing):
            p.run('--size=100M', disk=device, status=USAGE)
            out, err = p.run('--compat=systemd-258.0', disk=device)
            subprocess.run(['sync', device], check=True)
            expect_in('GPT', p.run('--compat=systemd-258.0', disk=device, status=FAILED)[1])
            root = p.root('--compat=systemd-258.0', '--force', '--size=96M', f'--sector-size={sector}')
            expect(json.loads(out)[0]['roothash'], root, 'root hash')
            expect(json.loads(out)[1]['node'], device + 'p2', 'node')
        expect(sha256(backing), sha256(p.disk), f'SHA-256 with sectors of {sector} bytes')


@test
def device_with_small_sectors_is_refused_with_the_ways_out(p):
    with loop_device(p, 512, 96 << 20) as (device, backing):
        before = sha256(backing)
        _, err = p.run(disk=device, status=REFUSED)
        expect_in('--compat=systemd-258.0', err)
        expect_in('copied to the device', err)
        expect(sha256(backing), before, 'SHA-256 of the untouched device')


@test
def definitions_may_ask_for_blocks_of_4096_on_such_a_device(p):
    os.mkdir(p.at('defs'))
    names = {'data': 'Format=erofs\nCopyFiles=/:/\n', 'hash': 'SizeMinBytes=64M\n'}
    for role, more in names.items():
        p.write(p.at(f'defs/{role}.conf'), f'[Partition]\nType=linux-generic\nVerity={role}\nVerityMatchKey=m\n'
                f'FileSystemSectorSize=4096\n{more}'.encode())
    with loop_device(p, 512, 96 << 20) as (device, _):
        out, _ = p.run('--definitions=' + p.at('defs'), disk=device)
        expect(json.loads(out)[0]['roothash'], p.root('--definitions=' + p.at('defs'), '--size=96M'), 'root hash')


@test
def signature_partition_without_keys_is_refused(p):
    os.mkdir(p.at('defs'))
    names = {'data': 'Format=erofs\nCopyFiles=/:/\n', 'hash': '', 'signature': ''}
    types = {'data': 'usr-x86-64', 'hash': 'usr-x86-64-verity', 'signature': 'usr-x86-64-verity-sig'}
    for role, more in names.items():
        p.write(p.at(f'defs/{role}.conf'),
                f'[Partition]\nType={types[role]}\nVerity={role}\nVerityMatchKey=m\n{more}'.encode())
    _, err = p.run('--definitions=' + p.at('defs'), status=USAGE)
    expect_in('signature.conf', err)
    expect(p.listing(), [], 'files')


@test
def long_list_of_what_is_excluded_is_complete(p):
    for i in range(20000):
        p.write(p.at(f'model/many{i}'), b'')
    out, _ = p.run('--list-excluded', '--exclude=many*')
    expect(len(out.splitlines()), 20000, 'lines')
    expect_in('many*\t"many19999"\n', out)


@test
def device_in_use_is_refused(p):
    with loop_device(p, 512, 96 << 20) as (device, _):
        subprocess.run(['mkfs.ext4', '-q', device], check=True)
        expect_in('ext', p.run('--compat=systemd-258.0', disk=device, status=FAILED)[1])
        os.mkdir(p.at('mnt'))
        subprocess.run(['mount', device, p.at('mnt')], check=True)
        try:
            p.run('--compat=systemd-258.0', '--force', disk=device, status=FAILED)
        finally:
            subprocess.run(['umount', p.at('mnt')], check=True)
        p.run('--compat=systemd-258.0', '--force', disk=device)


@test
def flat_disk_may_be_smaller_than_its_device(p):
    with loop_device(p, 512, 8 << 20) as (device, backing):
        out, _ = p.run('--layout=flat', disk=device)
        subprocess.run(['sync', device], check=True)
        p.run('--layout=flat')
        size = os.path.getsize(p.disk)
        with open(backing, 'rb') as f, open(p.disk, 'rb') as g:
            expect(f.read(size) == g.read(), True, 'the same bytes')
        with open(p.at('model/much'), 'wb') as f:
            f.truncate(9 << 20)
        expect_in('8388608', p.run('--layout=flat', '--force', disk=device, status=FAILED)[1])


def main():
    wanted = sys.argv[1:]
    failed = passed = 0
    for function in TESTS:
        if wanted and function.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix='modeldisk-e2e-') as path:
            try:
                function(Place(path))
                passed += 1
                print('ok', function.__name__, flush=True)
            except Skip as why:
                print('skipped', function.__name__ + ':', why, flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError) as why:
                failed += 1
                print('FAILED', function.__name__ + ':', why, flush=True)
    return 1 if failed else 0 if passed else 77


if __name__ == '__main__':
    sys.exit(main())
