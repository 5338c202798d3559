#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mounts with privileges, serves without: hand_over.py UID MOUNTPOINT mountfs [options] DISK

What a CSI driver does: root opens /dev/fuse, mounts it, and starts mountfs as UID with /dev/fd/N for a mount point. That
process needs no right and no access to /dev/fuse. When it ends, the mount is ended too.
"""
import ctypes
import os
import subprocess
import sys

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MNT_DETACH = 1, 2, 4, 8, 2
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f'{what}: {os.strerror(ctypes.get_errno())}')


def main(uid, mountpoint, *command):
    uid, fuse = int(uid), os.open('/dev/fuse', os.O_RDWR)
    options = f'fd={fuse},rootmode=40000,user_id={uid},group_id={uid},default_permissions,allow_other'
    check(libc.mount(command[-1].encode(), mountpoint.encode(), b'fuse.mountfs',
                     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, options.encode()), f'mount on {mountpoint}')
    try:
        return subprocess.run([*command, f'/dev/fd/{fuse}'], pass_fds=[fuse], user=uid, group=uid, extra_groups=[],
                              check=False).returncode
    finally:
        os.close(fuse)
        check(libc.umount2(mountpoint.encode(), MNT_DETACH), f'umount {mountpoint}')


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
