# SPDX-License-Identifier: Apache-2.0
"""A mount shows exactly the tree that was packed: names, modes, sizes, owners, links, bytes, attributes.

mount_identity.py root|user: who mounts and reads. The packers are mkfs.erofs and veritysetup, so nothing here can agree
with itself by mistake.
"""
import os
import random
import stat
import struct
import subprocess
import sys

from mountlib import (NOBODY, as_user, flat_disk, gpt_disk, main, mount_table, mounted, require, require_fuse, sandbox,
                      start)
from treelib import compare, relative_paths, write

UID = {'root': None, 'user': NOBODY}[sys.argv[1]]
MANY, DEPTH = 100_000, 1000
NAMES = ['plain', 'with space', 'tab\there', 'new\nline', 'quote"back\\slash', '-dash', 'comma,dot.', 'umlaut-\u00fc',
         '\u4e2d\u6587', 'emoji-\U0001f600', b'\xff\xfe-not-utf8'.decode('utf-8', 'surrogateescape'), 'n' * 254]
SIZES = [0, 1, 100, 4000, 4095, 4096, 4097, 8191, 8192, 131071, 131072, 131073, 1 << 20, (1 << 20) + 1, 3_000_001]


def try_xattr(path, name, value):
    try:
        os.setxattr(path, name, value)
    except OSError:
        print(f'note: {name} cannot be set here')


def make_tree():
    rand = random.Random(5)
    top = sandbox.dir('tree')
    for name in NAMES:
        write(os.path.join(top, name), name.encode('utf-8', 'surrogateescape'))
    os.mkdir(f'{top}/sizes')
    for size in SIZES:
        write(f'{top}/sizes/{size}', rand.randbytes(size))
    os.mkdir(f'{top}/modes')
    for mode in (0o444, 0o400, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o000):
        write(f'{top}/modes/{mode:o}', b'x', mode)
    os.mkdir(f'{top}/modes/sticky')
    os.chmod(f'{top}/modes/sticky', 0o1777)
    os.mkdir(f'{top}/links')
    os.symlink('../plain', f'{top}/links/relative')
    os.symlink('/nowhere/at/all', f'{top}/links/absolute')
    os.symlink('t' * 4000, f'{top}/links/long')
    write(f'{top}/links/first', b'linked')
    os.link(f'{top}/links/first', f'{top}/links/second')
    os.link(f'{top}/links/first', f'{top}/sizes/third')
    os.mkdir(f'{top}/special')
    os.mkfifo(f'{top}/special/fifo')
    if os.getuid() == 0:
        os.mknod(f'{top}/special/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(f'{top}/special/disk', 0o660 | stat.S_IFBLK, os.makedev(259, 70000))
    write(f'{top}/attributed', b'with attributes')
    try_xattr(f'{top}/attributed', 'user.short', b'v')
    try_xattr(f'{top}/attributed', 'user.empty', b'')
    try_xattr(f'{top}/attributed', 'user.binary', bytes(range(256)))
    os.mkdir(f'{top}/empty')
    return top


def make_deep():
    top = sandbox.dir('deep')
    path = top
    for _ in range(DEPTH):
        path += '/d'
        os.mkdir(path)
    write(path + '/bottom', b'far down')
    return top


def make_wide():
    top = sandbox.dir('wide')
    os.mkdir(f'{top}/many')
    for i in range(MANY):
        os.close(os.open(f'{top}/many/entry-{i:06}', os.O_CREAT | os.O_WRONLY, 0o644))
    return top


def make_sparse():
    top = sandbox.dir('sparse')
    with open(f'{top}/sparse', 'wb') as file:
        for at in (0, 1 << 31, (1 << 32) - 5, (9 << 29) + 17):
            file.seek(at)
            file.write(b'data at %d' % at)
    return top


# ---- claims ----

def both_layouts_show_the_tree():
    tree = make_tree()
    for disk, root in (flat_disk(tree)[:2], gpt_disk(tree)):
        with mounted(disk, root, uid=UID) as m:
            as_user(UID, lambda at=m.path: compare(tree, at))


def hard_links_share_an_inode():
    with mounted(*flat_disk(sandbox.file('tree'))[:2], uid=UID) as m:
        def check():
            numbers = {os.stat(f'{m.path}/{name}').st_ino for name in ('links/first', 'links/second', 'sizes/third')}
            assert len(numbers) == 1
        as_user(UID, check)


def the_mount_is_read_only_without_devices_and_programs():
    disk, root, _ = flat_disk(sandbox.file('tree'))
    with mounted(disk, root, uid=UID) as m:
        source, _, kind, options = next(line for line in mount_table() if line[1] == m.path)
        assert kind == 'fuse.mountfs' and source == disk, (source, kind)
        assert {'ro', 'nosuid', 'nodev', 'noexec', 'noatime', 'default_permissions'} <= set(options.split(',')), options

        def check():
            for attempt in (lambda: open(f'{m.path}/plain', 'r+b'), lambda: os.mkdir(f'{m.path}/new'),
                            lambda: os.unlink(f'{m.path}/plain')):
                try:
                    attempt()
                except OSError as err:
                    assert err.strerror == 'Read-only file system', err
                else:
                    raise AssertionError('the mount can be written to')
            assert os.statvfs(m.path).f_bavail == 0
        as_user(UID, check)


def attributes_are_those_of_the_kernels_own_erofs():
    disk, root, length = flat_disk(sandbox.file('tree'))
    where = sandbox.dir('kernel')
    result = subprocess.run(['mount', '-t', 'erofs', '-o', f'ro,loop,sizelimit={length}', disk, where], check=False)
    if result.returncode != 0:
        print('note: the kernel does not mount EROFS here')
        return
    with mounted(disk, root) as m:
        paths = relative_paths(where)
        assert paths == relative_paths(m.path)
        for path in paths:
            a, b = (os.lstat(os.path.join(top, path)) for top in (where, m.path))
            for field in (name for name in dir(a) if name.startswith('st_') and name != 'st_dev'):
                assert getattr(a, field) == getattr(b, field), (path, field)
    subprocess.run(['umount', where], check=True)


def access_lists_are_honoured():
    """u::rw-,u:nobody:---,g::r--,m::r--,o::r-- keeps out the one user whom the mode would let in."""
    tree = sandbox.dir('listed')
    write(f'{tree}/forbidden', b'x')
    entries = [(0x01, 6, 0xffffffff), (0x02, 0, NOBODY), (0x04, 4, 0xffffffff), (0x10, 4, 0xffffffff),
               (0x20, 4, 0xffffffff)]
    try:
        os.setxattr(f'{tree}/forbidden', 'system.posix_acl_access',
                    struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries))
    except OSError:
        print('note: no access lists here')
        return
    disk, root, _ = flat_disk(tree, 'listed.disk')
    with mounted(disk, root, uid=UID) as m:
        def check():
            assert os.stat(f'{m.path}/forbidden').st_mode & 0o004
            try:
                open(f'{m.path}/forbidden', 'rb').close()
            except PermissionError:
                return
            raise AssertionError('an access list was passed over')
        as_user(NOBODY, check)


def exec_is_given_back_on_request():
    disk, root, _ = flat_disk(sandbox.file('tree'))
    with mounted(disk, root, '-o', 'exec', uid=UID) as m:
        options = next(line for line in mount_table() if line[1] == m.path)[3].split(',')
        assert 'noexec' not in options and 'nosuid' in options and 'nodev' in options, options


def many_entries_are_listed_once_each():
    disk, root, _ = flat_disk(make_wide(), 'wide.disk')
    with mounted(disk, root, uid=UID) as m:
        def check():
            expected = [f'entry-{i:06}' for i in range(MANY)]
            assert sorted(os.listdir(f'{m.path}/many')) == expected
            assert sorted(os.listdir(f'{m.path}/many')) == expected  # from the kernel's cache
            for i in random.Random(1).sample(range(MANY), 200):
                assert os.lstat(f'{m.path}/many/entry-{i:06}').st_size == 0
                assert not os.path.exists(f'{m.path}/many/entry-{i:06}x')
        as_user(UID, check)


def depth_has_no_limit_of_ours():
    disk, root, _ = flat_disk(make_deep(), 'deep.disk')
    with mounted(disk, root, uid=UID) as m:
        def check():
            with open(m.path + '/d' * DEPTH + '/bottom', 'rb') as file:
                assert file.read() == b'far down'
        as_user(UID, check)


def files_beyond_4_gib_are_whole():
    tree = make_sparse()
    disk, root, _ = flat_disk(tree, 'sparse.disk', '--chunksize=1048576')
    with mounted(disk, root, uid=UID) as m:
        def check():
            with open(f'{tree}/sparse', 'rb') as a, open(f'{m.path}/sparse', 'rb') as b:
                size = os.fstat(a.fileno()).st_size
                assert os.fstat(b.fileno()).st_size == size > 1 << 32
                for at in (0, 4000, (1 << 31) - 100, 1 << 31, (1 << 32) - 4096, (1 << 32) - 7, 1 << 32, size - 70000):
                    assert os.pread(a.fileno(), 65536, at) == os.pread(b.fileno(), 65536, at), at
                assert os.pread(b.fileno(), 4096, size) == b''
        as_user(UID, check)


def parallel_readers_agree():
    tree = sandbox.file('tree')
    disk, root, _ = flat_disk(tree)
    with mounted(disk, root, '--threads=8', '--cache-size=64K', uid=UID) as m:
        readers = [start('sha256sum', *(f'{at}/sizes/{size}' for size in SIZES), uid=UID, stdout=-1, text=True)
                   for at in [m.path] * 6 + [tree]]
        sums = {reader.communicate()[0].replace(tree, m.path) for reader in readers}
        assert len(sums) == 1


require('mkfs.erofs', 'veritysetup', 'sgdisk')
require_fuse(user=UID is not None)
main([both_layouts_show_the_tree, hard_links_share_an_inode, the_mount_is_read_only_without_devices_and_programs,
      exec_is_given_back_on_request, parallel_readers_agree, depth_has_no_limit_of_ours])
if UID is not None:
    main([access_lists_are_honoured])
else:  # the packer takes long over these
    main([attributes_are_those_of_the_kernels_own_erofs, many_entries_are_listed_once_each,
          files_beyond_4_gib_are_whole])
