# SPDX-License-Identifier: Apache-2.0
"""The actions of mountfs beside mounting: right on intact disks, exact on corrupted ones. Run as somebody without rights
wherever none should be needed."""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys

from mountlib import (DEADLINE, FAILED, NOBODY, REFUSED, USAGE, ZERO_UUID, add_hash_tree, as_user, become, find_bytes,
                      flat_disk, flip, gpt_disk, is_mounted, main, make_image, mount, require, require_fuse, run,
                      sandbox, start, wait_until)

RANDOM = random.Random(5)
BIG = RANDOM.randbytes((9 << 20) + 5000)
ODD_NAME = b'odd \\ na*me\n\xff#=\xc3\xa9.txt'


def make_tree():
    tree = sandbox.dir('tree')
    os.makedirs(f'{tree}/sub/deep')
    os.mkdir(f'{tree}/many')
    for path, content in (('big.bin', BIG), ('sub/config.json', b'{}\n'), ('sub/deep/empty', b''),
                          ('sub/holes', b'\0' * 300_000 + b'x' + b'\0' * 300_000)):
        with open(f'{tree}/{path}', 'wb') as file:
            file.write(content)
    with open(os.path.join(tree.encode(), ODD_NAME), 'wb') as file:
        file.write(b'odd')
    for i in range(300):
        with open(f'{tree}/many/{i:03}', 'wb') as file:
            file.write(b'%d' % i * (i * 7))
    os.symlink('sub/config.json', f'{tree}/link')
    os.symlink('/sub/../sub', f'{tree}/absolute')
    os.symlink('loop', f'{tree}/loop')
    os.symlink('/etc/passwd', f'{tree}/sub/outside')
    os.chmod(f'{tree}/sub/config.json', 0o6640)
    os.chmod(f'{tree}/sub/deep', 0o555)
    return tree


TREE = make_tree()
DISK, ROOT, LENGTH = flat_disk(TREE)
GPT, GPT_ROOT = gpt_disk(TREE)
BLOCK = 4096


def act(*args, root=ROOT, uid=NOBODY, status=0, text=True, **more):
    """Runs an action as somebody who may do nothing; returns (stdout, stderr)."""
    command = [sandbox.mountfs, *args] + ([f'--root-hash={root}'] if root else [])
    result = subprocess.run(command, capture_output=True, text=text, check=False, timeout=DEADLINE,
                            preexec_fn=become(uid), **more)
    assert result.returncode == status, (args, result)
    return result.stdout, result.stderr


def changed_copy(*offsets, disk=DISK, name='changed.disk'):
    copy = sandbox.file(name)
    shutil.copy(disk, copy)
    for at in offsets:
        flip(copy, at)
    return copy


def tree_paths():
    found = []
    for top, dirs, files in os.walk(TREE.encode()):
        here = os.path.relpath(top, TREE.encode())
        for name in dirs + files:
            path = os.path.normpath(os.path.join(here, name))
            found.append((path, os.path.join(top, name)))
    return found


# ---- what is on a disk ----

def octal(path, plain):
    return ''.join(c if plain(c) else ''.join(f'\\{byte:03o}' for byte in c.encode('utf-8', 'surrogateescape'))
                   for c in path.decode('utf-8', 'surrogateescape'))


def a_list_has_every_path_once_and_no_raw_byte():
    out = act('--list', DISK)[0]
    expected = [octal(path, lambda c: c.isprintable() and c != '\\') + '/' * (os.path.isdir(full) and
                                                                             not os.path.islink(full))
                for path, full in tree_paths()]
    assert sorted(out.splitlines()) == sorted(expected), set(out.splitlines()) ^ set(expected)
    assert act('-l', GPT, root=GPT_ROOT)[0] == out


def mtree_lines(text):
    lines = text.splitlines()
    assert lines[0] == '#mtree'
    return {line.split(' ')[0]: dict(word.split('=', 1) for word in line.split(' ')[1:]) for line in lines[1:]}


def an_mtree_has_the_attributes_and_digests_of_the_source():
    entries = mtree_lines(act('--mtree', DISK)[0])
    assert entries.pop('.')['type'] == 'dir'
    for path, full in tree_paths():
        status = os.lstat(full)
        entry = entries.pop('./' + octal(path, lambda c: '!' <= c <= '~' and c not in '\\#*?['))
        assert int(entry['mode'], 8) == stat.S_IMODE(status.st_mode), entry
        assert (entry['uid'], entry['gid'], entry['time']) == ('0', '0', '0.000000000'), entry
        if stat.S_ISREG(status.st_mode):
            with open(full, 'rb') as file:
                content = file.read()
            assert entry['type'] == 'file' and int(entry['size']) == len(content), entry
            assert entry['sha256digest'] == hashlib.sha256(content).hexdigest(), entry
        elif stat.S_ISLNK(status.st_mode):
            assert (entry['type'], entry['link']) == ('link', os.readlink(full).decode()), entry
        else:
            assert entry['type'] == 'dir', entry
    assert not entries, entries


def mtree_agrees_with_the_record_of_mkdisk():
    disk, record = sandbox.file('made.disk'), sandbox.file('made.json')
    root = run(os.environ['MKDISK'], '--layout=flat', '--json=off', '--progress=off', f'--record={record}', disk,
               TREE).strip()
    entries = mtree_lines(act('--mtree', disk, root=root)[0])
    with open(record, encoding='utf-8') as file:
        files = json.load(file)['files']
    for f in files:
        path = bytes.fromhex(f['path_hex']) if 'path_hex' in f else f['path'].encode()
        entry = entries.pop('./' + octal(path, lambda c: '!' <= c <= '~' and c not in '\\#*?['))
        assert entry['type'] == {'directory': 'dir', 'symlink': 'link'}.get(f['type'], f['type']), (f, entry)
        assert int(entry['mode'], 8) == int(f['mode'], 8), (f, entry)
        assert entry.get('sha256digest') == f.get('sha256') and entry.get('link') == f.get('target'), (f, entry)
    assert list(entries) == ['.'], entries


def mtree_agrees_with_a_copy():
    """mtree(8) of NetBSD reads our specification and checks our copy by it."""
    out = sandbox.file('checked')
    act('--copy-from', DISK, '/', out, uid=None)
    spec = sandbox.file('spec')
    with open(spec, 'w', encoding='ascii') as file:
        file.write(act('--mtree', DISK)[0].replace('mode=6640', 'mode=0640'))
    run('mtree', '-p', out, '-f', spec)
    with open(f'{out}/many/007', 'ab') as file:
        file.write(b'x')
    result = subprocess.run(['mtree', '-p', out, '-f', spec], capture_output=True, text=True, check=False)
    assert result.returncode != 0 and '007' in result.stdout, result


def an_mtree_of_a_bad_disk_is_no_mtree():
    out, said = act('--mtree', changed_copy(find_bytes(DISK, BIG[5 << 20:(5 << 20) + 64])), status=REFUSED)
    assert out == '' and 'big.bin' in said, said


def a_file_comes_out_as_it_is():
    assert act('--cat', DISK, 'big.bin', text=False)[0] == BIG
    for path in ('sub/config.json', '/sub//config.json', 'link', '../../link', 'absolute/config.json',
                 'sub/deep/../config.json', 'sub/./config.json'):
        assert act('--cat', DISK, path)[0] == '{}\n', path
    assert act('--cat', GPT, 'sub/deep/empty', root=GPT_ROOT)[0] == ''


def paths_lead_nowhere_else():
    for path, words in (('nothing', 'has no "nothing"'), ('link/x', 'no directory'), ('loop', 'symlinks'),
                        ('sub/outside', 'has no "etc"'), ('sub', 'no regular file'), ('x' * 300, 'has no')):
        out, said = act('--cat', DISK, path, status=USAGE if path == '' else FAILED)
        assert out == '' and words in said, (path, said)


def what_is_behind_a_bad_block_is_not_given_out():
    at = 5 << 20
    bad = changed_copy(find_bytes(DISK, BIG[at:at + 64]))
    out, said = act('--cat', bad, 'big.bin', status=REFUSED, text=False)
    assert len(out) <= at and out == BIG[:len(out)] and b'does not match the root hash' in said, (len(out), said)
    assert act('--cat', bad, 'link')[0] == '{}\n'


# ---- copies ----

def check_copy(out):
    for path, full in tree_paths():
        a, b = os.lstat(full), os.lstat(os.path.join(out.encode(), path))
        assert b.st_mtime == 0, path
        if stat.S_ISLNK(a.st_mode):
            assert os.readlink(full) == os.readlink(os.path.join(out.encode(), path)), path
            continue
        assert stat.S_IFMT(a.st_mode) == stat.S_IFMT(b.st_mode), path
        assert stat.S_IMODE(b.st_mode) == stat.S_IMODE(a.st_mode) & 0o777, (path, oct(b.st_mode))
        if stat.S_ISREG(a.st_mode):
            with open(full, 'rb') as x, open(os.path.join(out.encode(), path), 'rb') as y:
                assert x.read() == y.read(), path
    count = sum(len(dirs) + len(files) for _, dirs, files in os.walk(out))
    assert count == len(tree_paths()), 'something else is there'


def a_tree_is_copied_whole():
    place = sandbox.dir('copies', NOBODY)
    act('--copy-from', DISK, '/', f'{place}/all')
    check_copy(f'{place}/all')
    assert os.lstat(f'{place}/all/big.bin').st_uid == NOBODY
    assert os.lstat(f'{place}/all/sub/holes').st_blocks * 512 < 100_000, 'not sparse'
    act('-x', GPT, 'many', f'{place}/part', '--threads=1', root=GPT_ROOT)
    assert sorted(os.listdir(f'{place}/part')) == [f'{i:03}' for i in range(300)]
    act('--copy-from', DISK, 'link', f'{place}/config')
    with open(f'{place}/config', encoding='ascii') as file:
        assert file.read() == '{}\n'


def holes_stay_holes():
    tree, out = sandbox.dir('hollow'), sandbox.file('hollow-copy')
    with open(f'{tree}/hollow', 'wb') as file:
        file.truncate(64 << 20)
        file.seek(33 << 20)
        file.write(b'x' * BLOCK)
    disk, root, _ = flat_disk(tree, 'hollow.disk', '--chunksize=65536')
    act('--copy-from', disk, '/', out, uid=None, root=root)
    status = os.stat(f'{out}/hollow')
    assert status.st_size == 64 << 20 and status.st_blocks * 512 <= 1 << 18, status
    with open(f'{out}/hollow', 'rb') as file:
        file.seek((33 << 20) - BLOCK)
        assert file.read(3 * BLOCK) == bytes(BLOCK) + b'x' * BLOCK + bytes(BLOCK)


def a_copy_fills_what_exists_and_replaces_files():
    out = sandbox.dir('existing')
    os.chmod(out, 0o711)
    os.mkdir(f'{out}/sub')
    for name in ('big.bin', 'link', 'other'):
        with open(f'{out}/{name}', 'w', encoding='ascii') as file:
            file.write('before')
    with open(f'{out}/big.bin', encoding='ascii') as old:
        act('--copy-from', DISK, '/', out, uid=None)
        assert old.read() == 'before', 'the old file was written into'
    os.unlink(f'{out}/other')
    check_copy(out)
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o711, 'a directory that was there is not ours'


def no_symlink_in_the_destination_is_followed():
    victim, out = sandbox.dir('victim'), sandbox.dir('trap')
    with open(f'{victim}/target', 'w', encoding='ascii') as file:
        file.write('mine')
    os.symlink(victim, f'{out}/sub')
    said = act('--copy-from', DISK, '/', out, uid=None, status=FAILED)[1]
    assert '"sub"' in said, said
    assert os.listdir(victim) == ['target']
    os.unlink(f'{out}/sub')
    os.symlink(f'{victim}/target', f'{out}/big.bin')
    act('--copy-from', DISK, '/', out, uid=None)
    check_copy(out)
    with open(f'{victim}/target', encoding='ascii') as file:
        assert file.read() == 'mine'


def a_file_with_a_bad_block_is_not_copied_at_all():
    out = sandbox.dir('torn')
    bad = changed_copy(find_bytes(DISK, BIG[5 << 20:(5 << 20) + 64]))
    with open(f'{out}/big.bin', 'w', encoding='ascii') as file:
        file.write('before')
    said = act('--copy-from', bad, '/', out, uid=None, status=REFUSED)[1]
    assert 'big.bin' in said and 'does not match the root hash' in said, said
    with open(f'{out}/big.bin', encoding='ascii') as file:
        assert file.read() == 'before'
    left = [name for _, dirs, files in os.walk(out) for name in dirs + files if name.startswith('.mountfs')]
    assert not left, left


def an_interrupted_copy_leaves_no_torn_file():
    out = sandbox.dir('interrupted')
    slow = sandbox.dir('slow')
    m = mount(DISK, ROOT)
    outer_tree = sandbox.dir('outer')
    os.link(DISK, f'{outer_tree}/disk')
    outer = mount(*flat_disk(outer_tree, 'outer.disk')[:2], path=slow)
    process = start(sandbox.mountfs, '--copy-from', f'{slow}/disk', '/', out, f'--root-hash={ROOT}', '--threads=1',
                    stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) in (0, FAILED, -signal.SIGTERM)
    for top, _, files in os.walk(out):
        for name in files:
            assert not name.startswith('.mountfs'), name
            with open(os.path.join(top, name), 'rb') as a, \
                    open(os.path.join(TREE, os.path.relpath(top, out), name), 'rb') as b:
                assert a.read() == b.read(), name
    assert outer.end() == 0 and m.end() == 0


def what_cannot_be_copied_is_refused_before_anything_is_written():
    special = sandbox.dir('special')
    os.mkfifo(f'{special}/pipe')
    with open(f'{special}/a', 'w', encoding='ascii') as file:
        file.write('a')
    disk, root, _ = flat_disk(special, 'special.disk')
    out = sandbox.dir('refused')
    said = act('--copy-from', disk, '/', out, uid=None, root=root, status=REFUSED)[1]
    assert '"pipe"' in said and os.listdir(out) == [], said
    said = act('--copy-from', DISK, 'big.bin', out, uid=None, status=FAILED)[1]
    assert 'is a directory' in said, said


def output_that_nobody_gets_is_a_failure():
    with open('/dev/full', 'wb') as full:
        result = subprocess.run([sandbox.mountfs, '--cat', DISK, 'big.bin', f'--root-hash={ROOT}'], stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False, timeout=DEADLINE)
        assert result.returncode == FAILED and 'stdout' in result.stderr, result
        result = subprocess.run([sandbox.mountfs, '--list', DISK, f'--root-hash={ROOT}'], stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False, timeout=DEADLINE)
        assert result.returncode == FAILED and 'stdout' in result.stderr, result


# ---- verifying ----

def an_intact_disk_is_verified_in_every_layout():
    image, hashes, bare = sandbox.file('image'), sandbox.file('hashes'), sandbox.file('bare')
    length = make_image(TREE, image)
    separate = add_hash_tree(image, hashes)
    bare_root = add_hash_tree(image, bare, 0, '--no-superblock', '--hash=sha512', '--data-block-size=1024')
    os.chmod(hashes, 0o644)
    os.chmod(bare, 0o644)
    for args, root in (((DISK,), ROOT), ((GPT,), GPT_ROOT), ((DISK, '--threads=1'), ROOT),
                       ((image, f'--hash-device={hashes}'), separate),
                       ((image, f'--hash-device={bare}', '--no-superblock', '--hash=sha512', '--salt=00',
                         '--data-block-size=1024', f'--data-blocks={length // 1024}'), bare_root)):
        out, said = act('--verify', *args, root=root)
        assert out == '' and 'every block matches' in said, (out, said)
        result = json.loads(act('--verify', '--json', *args, root=root)[0])
        assert result == {'bytes': length, 'complete': True, 'bad_blocks': []}, result


def verify_json(disk, status=REFUSED, **more):
    return json.loads(act('--verify', '--json', '--progress=off', disk, status=status, **more)[0])['bad_blocks']


def every_bad_data_block_is_named_with_its_file():
    start_off = find_bytes(DISK, BIG[:64])
    wanted = sorted(RANDOM.sample(range(len(BIG) // BLOCK), 40))
    small = find_bytes(DISK, b'299' * 1365)
    bad = verify_json(changed_copy(small, *(start_off + i * BLOCK + 17 for i in wanted)))
    blocks = {b['block']: b for b in bad}
    assert set(blocks) == {start_off // BLOCK + i for i in wanted} | {small // BLOCK}, blocks.keys()
    for i in wanted:
        b = blocks[start_off // BLOCK + i]
        assert (b['kind'], b['level'], b['disk_offset']) == ('proof', -1, start_off + i * BLOCK), b
        assert b['files'] == [{'offset': i * BLOCK, 'length': BLOCK, 'path': 'big.bin'}], b
    assert 'many/299' in [f['path'] for f in blocks[small // BLOCK]['files']], blocks[small // BLOCK]
    text = act('--verify', sandbox.file('changed.disk'), status=REFUSED)
    assert len(text[0].splitlines()) == 41 and '41 blocks do not match' in text[1], text


def a_bad_hash_block_takes_its_data_away_and_is_named_once():
    levels = json.loads(act('--inspect', '--json', DISK)[0])['hash_tree']['levels']
    bottom = next(level for level in levels if level['level'] == 0)
    at, index = bottom['offset'] + 3 * BLOCK + 100, 3
    bad = verify_json(changed_copy(at))
    assert len(bad) == 1, bad
    assert (bad[0]['level'], bad[0]['block'], bad[0]['disk_offset']) == (0, index, at - 100), bad
    assert (bad[0]['data_offset'], bad[0]['data_length']) == (index * 128 * BLOCK, 128 * BLOCK), bad
    assert [f['path'] for f in bad[0]['files']] == ['big.bin'], bad


def bad_metadata_hides_names_but_no_block():
    for offset in (0, 1100, 4000):  # in the superblock's block
        out, said = act('--verify', changed_copy(offset), status=REFUSED)
        assert out.startswith('data block 0 (disk offset 0) does not match'), out
        assert '1 blocks do not match' in said, said
    names = find_bytes(DISK, b'000001002')  # a directory's names, one behind the other
    at = find_bytes(DISK, BIG[:64])
    bad = verify_json(changed_copy(names, at))
    assert sorted(b['block'] for b in bad) == sorted({names // BLOCK, at // BLOCK}), bad


def every_flipped_block_is_found():
    """One bit in each block of a small disk, data and tree, all at once and one by one."""
    tree = sandbox.dir('small')
    with open(f'{tree}/file', 'wb') as file:
        file.write(RANDOM.randbytes(20 * BLOCK))
    disk, root, length = flat_disk(tree, 'small.disk')
    for block in range(length // BLOCK):
        bad = verify_json(changed_copy(block * BLOCK + block, disk=disk), root=root)
        assert [(b['level'], b['block']) for b in bad] == [(-1, block)], (block, bad)
    out = act('--verify', changed_copy(*(block * BLOCK for block in range(length // BLOCK)), disk=disk), root=root,
              status=REFUSED)[0]
    assert len(out.splitlines()) == length // BLOCK, out


def a_disk_that_cannot_be_read_is_no_lie():
    """A disk on a file system that stops in the middle: exit status 1, not 3."""
    short = changed_copy(name='short.disk')
    image, hashes = sandbox.file('cut.image'), sandbox.file('cut.hashes')
    make_image(TREE, image)
    root = add_hash_tree(image, hashes)
    del short
    loop = subprocess.run(['losetup', '-f', '--show', '-r', image], capture_output=True, text=True, check=False)
    if loop.returncode != 0:
        print('note: no loop devices here')
        return
    device = loop.stdout.strip()
    try:
        os.truncate(image, os.path.getsize(image) - (5 << 20))
        out, said = act('--verify', device, f'--hash-device={hashes}', root=root, uid=None, status=FAILED)
    finally:
        run('losetup', '-d', device)
    assert 'cannot be read' in out and 'could not be read' in said, (out[:500], said)


# ---- inspecting ----

def an_inspection_says_what_is_proven():
    for disk, root, flat in ((DISK, ROOT, True), (GPT, GPT_ROOT, False)):
        for known in (True, False):
            said = json.loads(act('--inspect', '--json', disk, root=root if known else None)[0])
            assert said['size'] == os.path.getsize(disk) and ('partition_table' in said) != flat, said
            assert said['hash_tree']['proven'] is known and said['file_system']['proven'] is known, said
            assert ('root_hash' in said['hash_tree']) == known, said
            assert ('inodes' in said['file_system']) == known, 'an unproven superblock was looked into'
            if not flat:
                assert said['partition_table']['proven'] is False
                assert [p['holds'] for p in said['partition_table']['partitions']] == ['data', 'hash tree'], said
            text = act('--inspect', disk, root=root if known else None)[0]
            assert text.count('NOT proven') == (0 if known else 2) + (not flat), text


def an_inspection_agrees_with_veritysetup_and_dump():
    tree = json.loads(act('--inspect', '--json', DISK)[0])['hash_tree']
    dump = dict(re.findall(r'^([A-Z][A-Za-z ]+):\s+(.*)$', run('veritysetup', 'dump', f'--hash-offset={LENGTH}', DISK),
                           re.M))
    assert tree['unproven_uuid'] in (dump.get('UUID', ''), ZERO_UUID), dump
    assert str(tree['data_blocks']) == dump['Data blocks'], dump
    assert tree['salt'] == dump['Salt'] and tree['algorithm'] == dump['Hash algorithm'], dump
    assert str(tree['hash_type']) == dump['Hash type'], dump
    assert tree['superblock_offset'] == LENGTH and tree['tree_offset'] == LENGTH + BLOCK


def an_inspection_of_a_bad_disk_shows_what_it_can():
    wrong = ROOT[:-1] + ('0' if ROOT[-1] != '0' else '1')
    out, said = act('--inspect', DISK, root=wrong, status=REFUSED)
    assert out.count('NOT proven') == 2 and 'does not match the root hash' in said, (out, said)
    out, said = act('--inspect', changed_copy(512 + 20, os.path.getsize(GPT) - 512 + 20, disk=GPT), root=GPT_ROOT,
                    status=REFUSED)
    assert out.startswith('disk: ') and 'table' in said, (out, said)
    out, said = act('--inspect', changed_copy(LENGTH + 1), root=None, status=REFUSED)
    assert 'no verity superblock' in said, said
    out, said = act('--inspect', sandbox.file('mountfs'), root=None, status=REFUSED)
    assert 'no model disk' in said, said


# ---- unmounting, and mounting for a command ----

def unmounting_needs_a_mount_of_ours():
    for uid in (None, NOBODY):
        m = mount(DISK, ROOT, uid=uid)
        act('--umount', m.path + '/', root=None, uid=uid)
        assert m.process.wait(DEADLINE) == 0 and not is_mounted(m.path)
        said = act('-u', m.path, root=None, uid=uid, status=USAGE)[1]
        assert 'no model disk is mounted' in said, said
    m = mount(DISK, ROOT)
    with open(f'{m.path}/link', 'rb'):
        said = act('-u', m.path, root=None, uid=None, status=FAILED)[1]
        assert 'in use' in said, said
    said = act('-u', m.path, root=None, uid=NOBODY, status=FAILED)[1]
    assert len(said.splitlines()) == 1, said
    assert m.end(signal.SIGKILL) == -signal.SIGKILL
    act('-u', m.path, root=None, uid=None)
    assert not is_mounted(m.path)
    assert 'no model disk' in act('-u', '/proc', root=None, status=USAGE)[1]
    assert 'no model disk' in act('-u', sandbox.file('not-there'), root=None, status=USAGE)[1]


def a_command_runs_in_the_mount_and_its_status_is_passed_on():
    for uid in (None, NOBODY):
        out, _ = act(f'--root-hash={ROOT}', '--with', DISK, 'sh', '-c',
                     'pwd; echo "$MOUNTFS_MOUNTPOINT"; cat many/001; cat; exit 7', root=None, uid=uid, status=7, input='in')
        place, again, rest = out.split('\n', 2)
        assert place == again and rest == '1111111in', out
        assert not os.path.exists(place) and not is_mounted(place)
    with_disk = (f'--root-hash={ROOT}', '--with', DISK)
    act(*with_disk, 'true', root=None)
    act(*with_disk, 'ls', '--no-such-option', root=None, status=2)
    assert 'cannot be run' in act(*with_disk, 'no-such-program', root=None, uid=None, status=127)[1]
    act(*with_disk, '/etc/passwd', root=None, uid=None, status=126)
    act(*with_disk, 'sh', '-c', 'kill -9 $$', root=None, status=128 + signal.SIGKILL)
    act(*with_disk, 'cmp', 'big.bin', f'{TREE}/big.bin', root=None)
    assert 'COMMAND' in act(*with_disk, root=None, status=USAGE)[1]


def a_mount_that_fails_runs_no_command():
    wrong = ROOT[:-1] + ('0' if ROOT[-1] != '0' else '1')
    out, said = act(f'--root-hash={wrong}', '--with', DISK, 'echo', 'ran', root=None, status=REFUSED)
    assert out == '' and len(said.splitlines()) == 1, (out, said)
    bad = changed_copy(find_bytes(DISK, BIG[5 << 20:(5 << 20) + 64]))
    command = (bad, 'sh', '-c', 'cat big.bin >/dev/null 2>&1; true')
    act(f'--root-hash={ROOT}', '--with', *command, root=None)
    act(f'--root-hash={ROOT}', '--on-corruption=exit', '--with', *command, root=None, status=REFUSED)
    assert not [name for name in os.listdir('/tmp') if name.startswith('mountfs-') and
                is_mounted(f'/tmp/{name}')]


def signals_reach_the_command_and_the_mount_goes():
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = start(sandbox.mountfs, f'--root-hash={ROOT}', '--with', DISK, 'sh', '-c',
                        'trap "exit 5" TERM HUP; pwd; while :; do sleep 0.05; done', stdout=subprocess.PIPE, text=True)
        place = process.stdout.readline().strip()
        process.send_signal(number)
        assert process.wait(DEADLINE) == 5
        process.stdout.close()
        assert not is_mounted(place) and not os.path.exists(place)
    process = start(sandbox.mountfs, f'--root-hash={ROOT}', '--with', DISK, 'sh', '-c', 'pwd; echo $$; exec sleep 600',
                    stdout=subprocess.PIPE, text=True)
    place, orphan = process.stdout.readline().strip(), int(process.stdout.readline())
    process.kill()
    process.wait(DEADLINE)
    wait_until('the mount of a killed parent is gone', lambda: not is_mounted(place))
    process.stdout.close()
    os.kill(orphan, signal.SIGKILL)
    os.rmdir(place)


# ---- usage ----

def mistakes_are_told_before_anything_happens():
    for args in (('--verify',), ('--verify', DISK, 'more'), ('--verify', '--list', DISK), ('--cat', DISK),
                 ('--copy-from', DISK, '/'), ('--list', DISK, '--threads=0'), ('--umount',), ('--with', DISK),
                 ('--list=yes', DISK), ('--verify', DISK, '--progress=loud')):
        out, said = act(*args, status=USAGE)
        assert out == '' and len(said.splitlines()) == 1, (args, said)
    for action in ('--verify', '--list', '--mtree'):
        said = act(action, DISK, root=None, status=USAGE)[1]
        assert 'no root hash' in said, said


if __name__ == '__main__':
    require('mkfs.erofs', 'veritysetup', 'sgdisk', 'mtree')
    require_fuse(user=True)
    main([a_list_has_every_path_once_and_no_raw_byte, an_mtree_has_the_attributes_and_digests_of_the_source,
          mtree_agrees_with_the_record_of_mkdisk, mtree_agrees_with_a_copy, an_mtree_of_a_bad_disk_is_no_mtree, a_file_comes_out_as_it_is,
          paths_lead_nowhere_else, what_is_behind_a_bad_block_is_not_given_out, a_tree_is_copied_whole, holes_stay_holes,
          a_copy_fills_what_exists_and_replaces_files, no_symlink_in_the_destination_is_followed,
          a_file_with_a_bad_block_is_not_copied_at_all, an_interrupted_copy_leaves_no_torn_file,
          what_cannot_be_copied_is_refused_before_anything_is_written, output_that_nobody_gets_is_a_failure,
          an_intact_disk_is_verified_in_every_layout,
          every_bad_data_block_is_named_with_its_file, a_bad_hash_block_takes_its_data_away_and_is_named_once,
          bad_metadata_hides_names_but_no_block, every_flipped_block_is_found, a_disk_that_cannot_be_read_is_no_lie,
          an_inspection_says_what_is_proven, an_inspection_agrees_with_veritysetup_and_dump,
          an_inspection_of_a_bad_disk_shows_what_it_can, unmounting_needs_a_mount_of_ours,
          a_command_runs_in_the_mount_and_its_status_is_passed_on, a_mount_that_fails_runs_no_command,
          signals_reach_the_command_and_the_mount_goes, mistakes_are_told_before_anything_happens])
