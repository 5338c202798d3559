# SPDX-License-Identifier: Apache-2.0
"""From a directory through mkdisk and mountfs back to the same directory, in both layouts.

identity.py root|user [MANY]: who makes the disk, mounts it and reads it; how many files the one long directory has.
"""
import os
import random
import shutil
import sys

from mountlib import NOBODY, as_user, become, main, mounted, require_fuse, run, sandbox
from treelib import compare, write

MKDISK = os.environ.get('MKDISK') or sys.exit('MKDISK names no program')
UID = {'root': None, 'user': NOBODY}[sys.argv[1]]
MANY = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
DEPTH = 1000
LAYOUTS = ('repart', 'flat')
NAMES = [b'plain', b'new\nline', b'quote"back\\slash', b'-dash', 'umlaut-\u00fc'.encode(), b'\xff\xfe-not-utf8', b'\x01',
         b'n' * 255, b'\xe4' * 255]
SIZES = [0, 1, *range(4095 - 65, 4096 + 66), 8191, 8192, 8193, 131071, 131072, 131073, 3_000_001]


def make_variety(top):
    rand = random.Random(7)
    for name in NAMES:
        write(os.path.join(os.fsencode(top), name), name)
    os.mkdir(f'{top}/sizes')
    for size in SIZES:
        write(f'{top}/sizes/{size}', rand.randbytes(size))
    write(f'{top}/tool', b'#!/bin/sh\n', 0o755)
    write(f'{top}/read-only', b'x', 0o444)
    os.mkdir(f'{top}/links')
    for name, target in (('relative', '../plain'), ('absolute', '/nowhere/at/all'), ('long', 't' * 4000),
                         ('dangling', 'gone'), ('directory', '../sizes')):
        os.symlink(target, f'{top}/links/{name}')
    os.symlink(b'\xff\xfe', f'{top}/links/not-utf8')
    os.link(f'{top}/sizes/8193', f'{top}/links/second')
    os.link(f'{top}/sizes/8193', f'{top}/third')
    os.mkdir(f'{top}/empty')


def make_wide(top):
    os.mkdir(f'{top}/many')
    for i in range(MANY):
        write(f'{top}/many/entry-{i:06}', b'%d' % i if i % 3 else b'')


def make_deep(top):
    path = top
    for _ in range(DEPTH):
        path += '/d'
        os.mkdir(path)
    write(path + '/bottom', b'far down')


def make_sparse(top):
    with open(f'{top}/sparse', 'wb') as file:
        for at in (0, 1 << 31, (1 << 32) - 5, (9 << 29) + 17):
            file.seek(at)
            file.write(b'data at %d' % at)


def comes_back(name, make):
    """Packs what make() makes and reads it back, all as the user of this run."""
    tree, out = sandbox.dir(name, UID), sandbox.dir(name + '.out', UID)
    as_user(UID, lambda: make(tree))
    for layout in LAYOUTS:
        disk = f'{out}/{layout}'
        root = run(mkdisk, '-q', '--json=off', '--layout=' + layout, '--owner=root', disk, tree,
                   preexec_fn=become(UID)).strip()
        with mounted(disk, root, uid=UID) as m:
            # repart's own attributes are on the root directory
            as_user(UID, lambda at=m.path: compare(tree, at, with_xattrs=False))
        os.unlink(disk)


def every_kind_of_entry_comes_back():
    comes_back('variety', make_variety)


def a_directory_of_many_files_comes_back():
    comes_back('wide', make_wide)


def a_deep_path_comes_back():
    comes_back('deep', make_deep)


def a_file_beyond_4_gib_comes_back():
    comes_back('sparse', make_sparse)


require_fuse(user=UID is not None)
# an ordinary user need not be able to reach the build directory
mkdisk = sandbox.file('mkdisk')
shutil.copy(MKDISK, mkdisk)
os.chmod(mkdisk, 0o755)
main([every_kind_of_entry_comes_back, a_directory_of_many_files_comes_back, a_deep_path_comes_back,
      a_file_beyond_4_gib_comes_back])
