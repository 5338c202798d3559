# SPDX-License-Identifier: Apache-2.0
"""What the tests of identity share: is the tree under a mount point the one that was packed?"""
import hashlib
import mmap
import os
import stat

SAMPLED = 1 << 30  # bytes; of longer files only samples are compared


def write(path, content, mode=0o644):
    with open(path, 'wb') as file:
        file.write(content)
    os.chmod(path, mode)


def relative_paths(top):
    """All paths below top, from the directories' own listings; directories before what is in them."""
    todo, found = [''], []
    while todo:
        path = todo.pop()
        found.append(path)
        with os.scandir(os.path.join(top, path)) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                below = os.path.join(path, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(below)
                else:
                    found.append(below)
    return sorted(found)


def digest(path):
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def digest_mapped(path):
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
        return hashlib.sha256(pages).hexdigest()


def compare_attributes(source, mounted_path):
    a, b = os.lstat(source), os.lstat(mounted_path)
    assert stat.S_IFMT(a.st_mode) == stat.S_IFMT(b.st_mode), mounted_path
    if stat.S_ISDIR(a.st_mode):
        assert a.st_mode == b.st_mode, mounted_path
    else:
        assert (a.st_mode, a.st_nlink, a.st_size) == (b.st_mode, b.st_nlink, b.st_size), mounted_path
    assert (b.st_uid, b.st_gid, b.st_mtime_ns, b.st_ctime_ns) == (0, 0, 0, 0), mounted_path
    assert a.st_rdev == b.st_rdev, mounted_path
    if stat.S_ISLNK(a.st_mode):
        assert os.readlink(source) == os.readlink(mounted_path), mounted_path


def compare_xattrs(source, mounted_path):
    if os.path.islink(source):
        return
    names = sorted(os.listxattr(source))
    assert names == sorted(os.listxattr(mounted_path)), mounted_path
    for name in names:
        assert os.getxattr(source, name) == os.getxattr(mounted_path, name), (mounted_path, name)


def compare_samples(source, mounted_path):
    """The ends, the surroundings of every power of two beyond 1 GiB and all data in a long sparse file."""
    with open(source, 'rb') as a, open(mounted_path, 'rb') as b:
        size = os.fstat(a.fileno()).st_size
        places = {0, size - 70_000} | {(1 << bits) - 5000 for bits in range(30, size.bit_length())}
        at = 0
        while at < size:
            try:
                at = os.lseek(a.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole up to the end
                break
            places.add(max(at - 5000, 0))
            at += 1 << 20
        with mmap.mmap(b.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
            for at in sorted(places):
                expected = os.pread(a.fileno(), 65536, at)
                assert os.pread(b.fileno(), 65536, at) == expected, (mounted_path, at)
                assert pages[at:at + 65536] == expected, (mounted_path, at)
        assert os.pread(b.fileno(), 4096, size) == b'', mounted_path


def compare_content(source, mounted_path):
    status = os.lstat(mounted_path)
    if not stat.S_ISREG(status.st_mode):
        return
    if os.getuid() != 0 and not status.st_mode & 0o004:
        try:
            open(mounted_path, 'rb').close()
        except PermissionError:
            return
        raise AssertionError(f'{mounted_path}: permissions are not checked')
    if status.st_size > SAMPLED:
        compare_samples(source, mounted_path)
        return
    assert digest(source) == digest(mounted_path), mounted_path
    if status.st_size:
        assert digest(source) == digest_mapped(mounted_path), mounted_path


def compare(top, mountpoint, with_xattrs=True):
    """As root on the source for what only root can read there; the mount is read as who mounted."""
    paths = relative_paths(top)
    assert paths == relative_paths(mountpoint)
    for path in paths:
        a, b = os.path.join(top, path), os.path.join(mountpoint, path)
        compare_attributes(a, b)
        if with_xattrs:
            compare_xattrs(a, b)
        compare_content(a, b)
