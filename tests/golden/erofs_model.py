#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reference model of the image layout produced by mkfs.erofs 1.9.x for
uncompressed images: docs/format.md as a program that decides whether the
writer in C is right.

Two strictly separated phases:
  plan(root, opt)   uses names, types, modes, owners, mtimes, sizes, xattrs,
                    hard-link identity.  Never looks at file contents or at
                    symlink targets.  Decides the place of every byte.
  Plan.write(out)   fills in contents and the superblock checksum.

CLI:
  erofs_model.py build  [options] IMAGE DIR    image of a real directory
  erofs_model.py plan   [options] LIST.json    layout from a list of
                                               {path,type,mode,size} objects
  erofs_model.py verity IMAGE                  append a dm-verity tree (salt 00,
                                               zero uuid), print the root hash
options: --inv A|B  --uuid U  --compat 1.9|1.9.1|1.9.3 (default 1.9.3)
"""
import collections
import hashlib
import itertools
import json
import os
import stat
import struct
import sys
import uuid as _uuid

BLK = 4096
SLOT = 32
SB_OFF = 1024
SB_LEN = 128
NOBLOCK = 0xFFFFFFFF
PLAIN, INLINE = 0, 2                         # data layouts used here

FT = {"file": 1, "dir": 2, "chr": 3, "blk": 4, "fifo": 5, "sock": 6,
      "symlink": 7}
S_IF = {"file": 0o100000, "dir": 0o040000, "chr": 0o020000, "blk": 0o060000,
        "fifo": 0o010000, "sock": 0o140000, "symlink": 0o120000}


def up(x, a):
    return (x + a - 1) // a * a


# ------------------------------------------------------------------ crc, hash

def _crc_table():
    t = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        t.append(i)
    return t


_CRC = _crc_table()


def crc32c(data, crc=0xFFFFFFFF):
    for b in data:
        crc = _CRC[(crc ^ b) & 0xFF] ^ (crc >> 8)
    return crc                                # no final inversion


def xxh32(data, seed):
    p1, p2, p3, p4, p5 = (2654435761, 2246822519, 3266489917, 668265263,
                          374761393)
    m = 0xFFFFFFFF

    def rot(x, r):
        return ((x << r) | (x >> (32 - r))) & m
    n, i = len(data), 0
    if n >= 16:
        v = [(seed + p1 + p2) & m, (seed + p2) & m, seed & m, (seed - p1) & m]
        while i + 16 <= n:
            for k in range(4):
                w = struct.unpack_from("<I", data, i)[0]
                v[k] = rot((v[k] + w * p2) & m, 13) * p1 & m
                i += 4
        h = (rot(v[0], 1) + rot(v[1], 7) + rot(v[2], 12) + rot(v[3], 18)) & m
    else:
        h = (seed + p5) & m
    h = (h + n) & m
    while i + 4 <= n:
        h = rot((h + struct.unpack_from("<I", data, i)[0] * p3) & m, 17) * p4 & m
        i += 4
    while i < n:
        h = rot((h + data[i] * p5) & m, 11) * p1 & m
        i += 1
    h ^= h >> 15
    h = h * p2 & m
    h ^= h >> 13
    h = h * p3 & m
    return h ^ (h >> 16)


# -------------------------------------------------------------- input objects

class Inode:
    __slots__ = ("kind", "perm", "uid", "gid", "mtime", "nsec", "size", "rdev",
                 "xattrs", "children", "parent", "read", "label",
                 # results
                 "ino", "nlink", "nlink_paths", "extended", "layout",
                 "startblk", "region", "off", "tail", "tail_off", "xsize",
                 "seen", "dir_blocks", "shared")

    def __init__(self, kind, perm, size=0, uid=0, gid=0, mtime=0, nsec=0,
                 rdev=(0, 0), xattrs=(), read=None, label=b""):
        self.kind, self.perm, self.size = kind, perm & 0o7777, size
        self.uid, self.gid, self.mtime, self.nsec = uid, gid, mtime, nsec
        self.rdev, self.xattrs = rdev, list(xattrs)
        self.children = []                    # (name bytes, Inode)
        self.parent = None
        self.read = read                      # read(offset, length) -> bytes
        self.label = label
        self.nlink, self.nlink_paths = 1, 1
        self.seen = False
        self.xsize = 0
        self.shared = ([], [])
        self.startblk = 0
        self.tail = 0
        self.tail_off = None
        self.dir_blocks = None


class Options:
    """inv A: -T<epoch> -x-1 --all-root ; inv B: SOURCE_DATE_EPOCH=<epoch>,
    everything else at its default"""

    def __init__(self, inv="A", uuid=None, compat="1.9.3", epoch=0):
        self.clamp = inv == "B"               # B keeps mtimes older than epoch
        self.all_root = inv == "A"
        self.xattr_tolerance = -1 if inv == "A" else 2
        self.epoch = epoch
        self.uuid = uuid or _uuid.UUID(int=0)
        self.incompat = 1 if compat == "1.9" else 0
        self.sorted_xattrs = compat not in ("1.9", "1.9.1", "1.9.2")


# ------------------------------------------------------ metadata space

class Region:
    """A run of consecutive blocks that receives inodes front to back."""
    __slots__ = ("start", "blocks", "fill", "shelf", "level")

    def __init__(self):
        self.start = None                     # first block, None: not placed
        self.blocks = 0
        self.fill = 0                         # bytes used, from the start
        self.shelf = None                     # None: never received anything
        self.level = 0


class Shelf:
    """regions sorted by fill % 4096; equal levels queue up first-in first-out
    (every change of a region sends it to the end of its queue)"""

    def __init__(self):
        self.queues = {}
        self.bits = 0

    @staticmethod
    def take(r):
        if r.shelf is not None:
            q = r.shelf.queues[r.level]
            del q[r]
            if not q:
                r.shelf.bits &= ~(1 << r.level)
            r.shelf = None

    def put(self, r):
        self.take(r)
        r.shelf, r.level = self, r.fill % BLK
        self.queues.setdefault(r.level, {})[r] = None
        self.bits |= 1 << r.level

    def down(self, hi, lo):
        """occupied levels from hi down to lo"""
        while hi >= lo:
            hi = (self.bits & ((2 << hi) - 1)).bit_length() - 1
            if hi < lo:
                return
            yield hi
            hi -= 1


class Space:
    def __init__(self):
        self.tail = 0                         # first block not handed out
        self.placed = []                      # regions with an address
        self.pending = collections.deque()    # regions without one, in order
        self.pshelf, self.qshelf = Shelf(), Shelf()

    def touch(self, r):
        (self.qshelf if r.start is None else self.pshelf).put(r)

    # -- would `size` bytes (+`inline` bytes glued behind) fit into r?
    def probe(self, r, size, inline, align):
        """number of bytes used in the last block afterwards, or None"""
        end = up(r.fill, align) + size
        last = (end + BLK - 1) % BLK          # offset of the last byte
        if last + inline > BLK - 1:
            return None                       # inline part may not cross
        if end + inline > r.blocks * BLK and r.start is not None:
            if r is not self.placed[-1] or self.tail != r.start + r.blocks:
                return None                   # cannot grow
        return last + 1 + inline

    def choose(self, size, inline, align, busy):
        """busy: a freshly written data extent sits at the end of the image"""
        total = size + inline
        room = (BLK - total % BLK) // align * align    # latest start offset
        best, best_used = None, 0
        if total < BLK and self.placed:
            # (a) the fullest placed region that still has room
            last = None if busy else self.placed[-1]
            for f in self.pshelf.down(room, 1):
                r = next((r for r in self.pshelf.queues[f] if r is not last), None)
                if r is not None:
                    best, best_used = r, self.probe(r, size, inline, align)
                    break
            # (b) the region placed last, which may be able to grow
            if last is not None:
                used = self.probe(last, size, inline, align)
                if used and used > best_used:
                    best, best_used = last, used
        # (c) pending regions: fullest first starting at `room`, wrapping around
        room %= BLK
        for f in itertools.chain(self.qshelf.down(room, 0),
                                 self.qshelf.down(BLK - 1, room + align)):
            r = next(iter(self.qshelf.queues[f]))
            used = self.probe(r, size, inline, align)
            if used:
                if used > best_used:
                    best = r
                break
        return best

    def put(self, r, size, align):
        """append; returns offset inside the region"""
        a = up(r.fill, align)
        r.fill = a + size
        need = up(r.fill, BLK) // BLK
        if need > r.blocks:
            if r.start is not None:
                assert r is self.placed[-1] and self.tail == r.start + r.blocks
                self.tail = r.start + need
            r.blocks = need
        self.touch(r)
        return a

    def add_inode(self, size, inline, busy):
        """returns (region, offset) or None when the tail cannot be inlined"""
        r = self.choose(size, inline, SLOT, busy)
        if r is None:
            r = Region()
            self.pending.append(r)
            if self.probe(r, size, inline, SLOT) is None:
                return None                   # the empty region stays behind
        off = self.put(r, size, SLOT)
        if inline:
            self.put(r, inline, 1)
        return r, off

    def place_through(self, region=None):
        """give addresses to pending regions, up to `region` (None: all)"""
        if region is not None and region.start is not None:
            return
        while self.pending:
            r = self.pending.popleft()
            r.start = self.tail
            self.tail += r.blocks
            self.placed.append(r)
            self.touch(r)
            if r is region:
                break

    def data(self, blocks):
        s = self.tail
        self.tail += blocks
        return s


# -------------------------------------------------------------- xattrs

PREFIX = [(b"user.", 1), (b"system.posix_acl_access", 2),
          (b"system.posix_acl_default", 3), (b"trusted.", 4),
          (b"security.", 6)]


def split_xattr(name):
    for p, i in PREFIX:
        if name.startswith(p):
            return i, name[len(p):]
    return 0, name


def xattr_entry(name, value):
    idx, rest = split_xattr(name)
    e = struct.pack("<BBH", len(rest) & 0xFF, idx, len(value)) + rest + value
    return e.ljust(up(len(e), 4), b"\0")


def xattr_cmp_key(kv):
    # compares "name\0value" as bytes; on a common prefix the shorter is first
    return kv[0] + b"\0" + kv[1]


def xattr_body_size(inode):
    inl, sh = inode.shared
    if not inl and not sh:
        return 0
    return 12 + 4 * len(sh) + sum(len(xattr_entry(*x)) for x in inl)


def xattr_body(inode, shared_ids):
    inl, sh = inode.shared
    flt = 0xFFFFFFFF
    for n, _ in inl + sh:
        idx, rest = split_xattr(n)
        flt &= ~(1 << (xxh32(rest, 0x25BBE08F + idx) & 31))
    out = struct.pack("<IB7x", flt & 0xFFFFFFFF, len(sh))
    out += b"".join(struct.pack("<I", shared_ids[x]) for x in sh)
    out += b"".join(xattr_entry(*x) for x in inl)
    return out, flt


# -------------------------------------------------------------------- planner

class Plan:
    def __init__(self):
        self.meta = []        # (offset, bytes)         known from metadata
        self.extents = []     # (offset, length, Inode, file offset) contents
        self.inodes = []      # in i_ino order
        self.blocks = 0
        self.sb = None

    # ---- phase 2
    def write(self, f):
        """f: binary file opened for writing (sparse-friendly)"""
        f.truncate(0)
        f.truncate(self.blocks * BLK)
        head = bytearray(BLK)

        def emit(off, data):
            if off < BLK:
                n = min(len(data), BLK - off)
                head[off:off + n] = data[:n]
            f.seek(off)
            f.write(data)
        for off, data in self.meta:
            emit(off, data)
        for off, length, ino, fo in self.extents:
            done = 0
            while done < length:
                n = min(length - done, 1 << 20)
                if getattr(ino.read, "hole", None) and \
                        ino.read.hole(fo + done, n):
                    done += n
                    continue
                emit(off + done, ino.read(fo + done, n))
                done += n
        head[SB_OFF:SB_OFF + SB_LEN] = self.sb
        crc = crc32c(bytes(head[SB_OFF:]))
        head[SB_OFF + 4:SB_OFF + 8] = struct.pack("<I", crc)
        f.seek(0)
        f.write(head)

    def describe(self):
        out = []
        for i in self.inodes:
            out.append(dict(
                ino=i.ino, path=i.label.decode("utf-8", "surrogateescape"),
                kind=i.kind, size=i.size, nid=i.off // SLOT,
                inode_offset=i.off, extended=bool(i.extended),
                layout={PLAIN: "plain", INLINE: "inline"}[i.layout],
                startblk=i.startblk, nlink=i.nlink, tail=i.tail,
                tail_offset=i.tail_off))
        return out


def effective(inode, o):
    """fixed owner and time; decides compact/extended"""
    if o.all_root:
        inode.uid = inode.gid = 0
    # the comparison is unsigned: times before 1970 count as "later"
    if not o.clamp or (inode.mtime & (1 << 64) - 1) >= o.epoch:
        inode.mtime, inode.nsec = o.epoch, 0
    inode.extended = (inode.size > 0xFFFFFFFF or inode.uid > 0xFFFF or
                      inode.gid > 0xFFFF or inode.mtime != o.epoch)


def plan(root, o):
    P = Plan()
    sp = Space()
    # block 0: boot area + superblock
    sb = Region()
    sp.pending.append(sb)
    sp.put(sb, SB_OFF + SB_LEN, 1)
    sp.place_through()

    # ---- shared xattrs
    shared_ids, xattr_blkaddr = {}, 0
    if o.xattr_tolerance >= 0:
        count = {}

        def scan(d):
            for _, c in d.children:
                for x in c.xattrs:
                    count[x] = count.get(x, 0) + 1
                if c.kind == "dir":
                    scan(c)
        scan(root)
        pool = sorted((x for x, n in count.items() if n > o.xattr_tolerance),
                      key=xattr_cmp_key)
        if pool:
            blob, rel = b"", {}
            for x in pool:
                rel[x] = len(blob)
                blob += xattr_entry(*x)
            r = sp.choose(len(blob), 0, 4, False)
            tmp = r is None
            if tmp:
                r = Region()
                sp.pending.append(r)
            a = sp.put(r, len(blob), 4)
            sp.place_through(r)
            base = r.start * BLK + a
            if tmp:                            # nothing may share its blocks
                sp.placed.remove(r)
                Shelf.take(r)
            xattr_blkaddr = base // BLK
            for x in pool:
                shared_ids[x] = (base % BLK + rel[x]) // 4
            P.meta.append((base, blob))

    meta_base = 0

    def nid(i):
        # unsigned 64-bit: inodes below meta_base get huge, wrapping numbers
        return ((i.region.start * BLK + i.off - meta_base) & (1 << 64) - 1) // SLOT

    def add_inode(i, busy):
        """assign the inode slot; decides inline vs plain"""
        isz = (64 if i.extended else 32) + i.xsize
        got = None
        if i.tail:
            got = sp.add_inode(isz, i.tail, busy)
            if got:
                i.layout = INLINE
                i.tail_off = isz               # relative for now
        if not got:
            i.layout = PLAIN
            if i.tail and busy:                # data extent grows by one block
                assert sp.tail == i.startblk + i.size // BLK
                sp.data(1)
            got = sp.add_inode(isz, 0, busy)
        i.region, i.off = got
        P.inodes.append(i)
        i.ino = len(P.inodes)

    def prepare_xattrs(i):
        xs = list(i.xattrs) if o.xattr_tolerance >= 0 else []
        if i.kind == "dir" and any(c.kind == "chr" and c.rdev == (0, 0)
                                   for _, c in i.children):
            xs.append((b"trusted.overlay.origin", b""))
        if o.sorted_xattrs:
            xs.sort(key=xattr_cmp_key)
            sh = [x for x in xs if x in shared_ids][:255]
        else:
            sh = [x for x in reversed(xs) if x in shared_ids][:255]
        inl = [x for x in xs if x not in sh]
        i.shared = (inl, sh)
        i.xsize = xattr_body_size(i)

    def visit(i):
        """first encounter of an inode"""
        i.seen = True
        effective(i, o)
        if i.kind == "dir":
            dir_prepare(i)
        prepare_xattrs(i)
        i.startblk, busy = 0, False
        if i.kind in ("file", "symlink") and i.size:
            full, i.tail = divmod(i.size, BLK)
            i.startblk = NOBLOCK
            if full:
                i.startblk = sp.data(full)
                P.extents.append((i.startblk * BLK, full * BLK, i, 0))
                busy = True
        elif i.kind == "dir":
            i.tail = i.size % BLK              # its blocks come later
        add_inode(i, busy)
        if i.kind in ("file", "symlink") and i.tail and i.layout == PLAIN:
            if not busy:
                i.startblk = sp.data(1)
            P.extents.append((i.startblk * BLK + i.size // BLK * BLK, i.tail,
                              i, i.size // BLK * BLK))

    def dir_prepare(d):
        ents = [(n, c) for n, c in d.children]
        ents.append((b".", d))
        ents.append((b"..", d.parent))
        ents.sort(key=lambda e: e[0])
        size, blocks, cur = 0, [], []
        for n, c in ents:
            need = 12 + len(n)
            if size % BLK + need > BLK:
                size = up(size, BLK)
                blocks.append(cur)
                cur = []
            elif size and size % BLK == 0:
                blocks.append(cur)
                cur = []
            cur.append((n, c))
            size += need
        blocks.append(cur)
        d.size, d.dir_blocks = size, blocks
        links = 2 + sum(c.kind == "dir" for _, c in d.children)
        d.nlink = links if links <= 0xFFFF or d.extended else 1

    def dir_write(d):
        """directory contents; gives final addresses to the entries' inodes"""
        full = d.size // BLK
        d.startblk = NOBLOCK
        if full:
            sp.place_through()
            d.startblk = sp.data(full)
        for blk in d.dir_blocks:
            for _, c in blk:
                sp.place_through(c.region)
        if d.tail and d.layout == PLAIN:
            if full:
                sp.data(1)
            else:
                sp.place_through()
                d.startblk = sp.data(1)
        for k, blk in enumerate(d.dir_blocks):
            names = len(blk) * 12
            ents, strs = b"", b""
            for n, c in blk:
                ents += struct.pack("<QHBx", nid(c), names + len(strs),
                                    FT[c.kind])
                strs += n
            data = ents + strs
            if k < full or d.layout == PLAIN:
                P.meta.append((d.startblk * BLK + k * BLK, data))
            else:
                P.meta.append((("inline", d), data))

    # ---- traversal
    root.parent = root
    visit(root)
    sp.place_through(root.region)
    root_pos = root.region.start * BLK + root.off
    if root_pos > 0xFFFF * SLOT:
        meta_base = up(root_pos - 0xFFFF * SLOT, BLK)
    todo = [root]
    while todo:
        d = todo.pop()
        subdirs = []
        for n, c in sorted(d.children, key=lambda e: e[0]):
            if c.seen:
                c.nlink += 1
                continue
            c.parent = d
            visit(c)
            if c.kind == "dir":
                subdirs.append(c)
        dir_write(d)
        todo.extend(reversed(subdirs))
    sp.place_through()
    P.blocks = sp.tail

    # ---- resolve positions, serialize inodes
    for i in P.inodes:
        i.off = i.region.start * BLK + i.off
        if i.layout == INLINE:
            i.tail_off += i.off
            if i.kind != "dir":
                P.extents.append((i.tail_off, i.tail, i, i.size - i.tail))
    P.meta = [(off[1].tail_off if isinstance(off, tuple) else off, data)
              for off, data in P.meta]
    compat = 3
    for i in P.inodes:
        if i.kind in ("chr", "blk", "fifo", "sock"):
            ma, mi = i.rdev
            u = (mi & 0xFF) | (ma << 8) | ((mi & ~0xFF) << 12)
        else:
            u = i.startblk
        body, icount = b"", 0
        if i.xsize:
            body, flt = xattr_body(i, shared_ids)
            assert len(body) == i.xsize
            icount = (i.xsize - 12) // 4 + 1
            if flt:
                compat |= 4
        mode = S_IF[i.kind] | i.perm
        fmt = (i.layout << 1) | (1 if i.extended else 0)
        if i.extended:
            raw = struct.pack("<HHHHQIIIIqII16x", fmt, icount, mode, 0, i.size,
                              u & 0xFFFFFFFF, i.ino, i.uid & 0xFFFFFFFF,
                              i.gid & 0xFFFFFFFF, i.mtime, i.nsec, i.nlink)
        else:
            raw = struct.pack("<HHHHIIIIHHI", fmt, icount, mode,
                              i.nlink & 0xFFFF, i.size, 0, u & 0xFFFFFFFF,
                              i.ino, i.uid, i.gid, 0)
        P.meta.append((i.off, raw + body))
    sbp = struct.pack("<IIIBBHQQIIII16s16sIHHHBBIQBB2xI", 0xE0F5E1E2, 0, compat,
                      12, 0, nid_of(root, meta_base), len(P.inodes), o.epoch, 0,
                      P.blocks, meta_base // BLK, xattr_blkaddr, o.uuid.bytes,
                      b"", o.incompat, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    P.sb = sbp.ljust(SB_LEN, b"\0")
    assert len(sbp) <= SB_LEN
    return P


def nid_of(i, meta_base):
    return (i.off - meta_base) // SLOT


# ------------------------------------------------------------ input providers

class DirReader:
    def __init__(self, path, kind):
        self.path, self.kind = path, kind
        self.fd = None

    def __call__(self, off, n):
        if self.kind == "symlink":
            return os.readlink(self.path)[off:off + n]
        fd = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(fd, n, off)
        finally:
            os.close(fd)

    def hole(self, off, n):
        if self.kind == "symlink" or n < 65536:
            return False
        fd = os.open(self.path, os.O_RDONLY)
        try:
            try:
                return os.lseek(fd, off, os.SEEK_DATA) >= off + n
            except OSError:
                return True                  # ENXIO: nothing but a hole left
        finally:
            os.close(fd)


def from_directory(path, xattrs=True):
    """Inode tree of a directory on disk (hard links by device+inode)."""
    seen = {}

    def load(p, label):
        st = os.lstat(p)
        key = (st.st_dev, st.st_ino)
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir",
                stat.S_IFLNK: "symlink", stat.S_IFCHR: "chr",
                stat.S_IFBLK: "blk", stat.S_IFIFO: "fifo",
                stat.S_IFSOCK: "sock"}[stat.S_IFMT(st.st_mode)]
        if kind != "dir" and key in seen:
            return seen[key]
        size = st.st_size if kind in ("file", "symlink") else 0
        xs = []
        if xattrs:
            for n in os.listxattr(p, follow_symlinks=False):
                xs.append((os.fsencode(n),
                           os.getxattr(p, n, follow_symlinks=False)))
        i = Inode(kind, stat.S_IMODE(st.st_mode), size, st.st_uid, st.st_gid,
                  st.st_mtime_ns // 10**9, st.st_mtime_ns % 10**9,
                  (os.major(st.st_rdev), os.minor(st.st_rdev)), xs,
                  DirReader(p, kind), label)
        seen[key] = i
        if kind == "dir":
            for n in os.listdir(p):
                i.children.append((n, load(p + b"/" + n, label + b"/" + n)))
        return i
    return load(os.fsencode(path), b"")


def from_entries(entries, reader=None):
    """Inode tree from gen_tree style entries; reader(entry) -> read function.
    Missing parent directories are created with mode 0755."""
    nodes = {b"": Inode("dir", 0o755)}
    alias = {"directory": "dir"}              # Hugging Face tree API

    def parent_of(path):
        d = path.rpartition(b"/")[0]
        if d not in nodes:
            nodes[d] = Inode("dir", 0o755, label=d)
            parent_of(d).children.append((d.rpartition(b"/")[2], nodes[d]))
        return nodes[d]
    for e in entries:
        path, typ = e["path"], alias.get(e["type"], e["type"])
        if typ == "dir" and path in nodes and path:
            nodes[path].perm = e.get("mode", 0o755) & 0o7777
            continue
        if typ == "hardlink":
            parent_of(path).children.append((path.rpartition(b"/")[2],
                                             nodes[e["target"]]))
            nodes[path] = nodes[e["target"]]
            continue
        size = e["size"] if typ == "file" else 0
        mode = e.get("mode", 0o755 if typ == "dir" else 0o644)
        if typ == "symlink":
            size = e["size"] if "size" in e else len(e["target"])
            mode = 0o777
        xs = [(n.encode() if isinstance(n, str) else n, v)
              for n, v in e.get("xattrs", ())]
        if path == b"":
            i = nodes[b""]
            i.perm = mode
        else:
            i = nodes[path] = Inode(typ, mode, size, label=path)
            parent_of(path).children.append((path.rpartition(b"/")[2], i))
        i.uid, i.gid = e.get("uid", 0), e.get("gid", 0)
        i.mtime = e.get("mtime", 1500000000 + len(path) * 1000)
        i.rdev = tuple(e.get("rdev", (0, 0)))
        i.xattrs = xs
        i.read = reader(e) if reader else None
    return nodes[b""]


def gen_reader(e):
    """contents of gen_tree entries"""
    import gen_tree_erofs as gen_tree
    if e["type"] == "symlink":
        return lambda off, n: e["target"][off:off + n]
    if e["type"] != "file":
        return None
    size, cs, holes = e["size"], e["cseed"], bool(e.get("holes"))

    def rd(off, n):
        return gen_tree.content(cs, off, n, size, holes)
    if holes:
        rd.hole = lambda off, n: off >= 4096 and off + n <= size - 4096
    return rd


# --------------------------------------------------------------------- verity

def verity(path, salt=b"\0", uuid=b"\0" * 16):
    """append `veritysetup format --hash-offset=<size>` output; returns root"""
    size = os.path.getsize(path)
    assert size % BLK == 0
    nblk = size // BLK
    H = hashlib.sha256

    with open(path, "r+b") as f:
        zero = H(salt + b"\0" * BLK).digest()
        level = bytearray()
        fd = f.fileno()
        pos = 0
        while pos < size:
            try:
                nxt = os.lseek(fd, pos, os.SEEK_DATA)
            except OSError:
                nxt = size
            nxt = min(size, nxt // BLK * BLK)
            if nxt > pos:
                level += zero * ((nxt - pos) // BLK)
                pos = nxt
                continue
            buf = os.pread(fd, 1 << 20, pos)
            for k in range(0, len(buf), BLK):
                level += H(salt + buf[k:k + BLK]).digest()
            pos += len(buf)
        levels = []
        while True:
            level = bytes(level).ljust(up(len(level), BLK), b"\0")
            if nblk == 1:                      # a single block has no tree
                root = level[:32]
                break
            levels.append(level)
            if len(level) == BLK:
                root = H(salt + level).digest()
                break
            level = b"".join(H(salt + level[k:k + BLK]).digest()
                             for k in range(0, len(level), BLK))
        sb = struct.pack("<8sII16s32sIIQH6x256s168x", b"verity\0\0", 1, 1, uuid,
                         b"sha256", BLK, BLK, nblk, len(salt), salt)
        f.seek(size)
        f.write(sb.ljust(BLK, b"\0"))
        for lv in reversed(levels):
            f.write(lv)
        f.truncate(size + BLK + sum(map(len, levels)))
    return root.hex()


def main(argv):
    import argparse
    ap = argparse.ArgumentParser()
    ap.add_argument("cmd", choices=["build", "plan", "verity"])
    ap.add_argument("args", nargs="+")
    ap.add_argument("--inv", default="A")
    ap.add_argument("--uuid", default="00000000-0000-0000-0000-000000000000")
    ap.add_argument("--compat", default="1.9.3")
    a = ap.parse_args(argv[1:])
    o = Options(a.inv, _uuid.UUID(a.uuid), a.compat)
    if a.cmd == "verity":
        print(verity(a.args[0]))
    elif a.cmd == "build":
        P = plan(from_directory(a.args[1]), o)
        with open(a.args[0], "wb") as f:
            P.write(f)
        print(P.blocks)
    else:
        with open(a.args[0]) as f:
            ents = json.load(f)
        for e in ents:
            for k in ("path", "target"):
                if k + "_hex" in e:
                    e[k] = bytes.fromhex(e.pop(k + "_hex"))
                elif k in e:
                    e[k] = e[k].encode("utf-8", "surrogateescape")
            if isinstance(e.get("mode"), str):
                e["mode"] = int(e["mode"], 8)
        P = plan(from_entries(ents), o)
        json.dump(dict(blocks=P.blocks, bytes=P.blocks * BLK,
                       inodes=P.describe()), sys.stdout, indent=1)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
