#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deterministic test-tree generator for EROFS layout tests.

A *case* is (profile, seed[, params]).  expand_case() turns it into a list of
entries; materialize() creates them on disk.  Nothing depends on Python's own
random module, on locale, on readdir order or on the clock.

Entry dict:
  path   : bytes, relative, b"" is the root directory itself
  type   : "dir" "file" "symlink" "hardlink" "fifo" "sock" "chr" "blk"
  mode   : permission bits incl. suid/sgid/sticky (not for symlink/hardlink)
  size   : file size                       (file)
  cseed  : content seed string             (file)
  holes  : True -> sparse file: only the first and the last 4096 bytes (or the
           whole file if it is <= 8192 bytes) carry data, the rest is a hole
  target : bytes                           (symlink: target, hardlink: path of
                                            an entry that appears earlier)
  rdev   : (major, minor)                  (chr, blk)
  uid,gid,mtime                            (optional)
  xattrs : list of (name str, value bytes) (optional, set in this order)

CLI:
  gen_tree_erofs.py make   PROFILE SEED DIR [key=int ...]   create the tree
  gen_tree_erofs.py list   PROFILE SEED [key=int ...]       print the entries (JSON)
  gen_tree_erofs.py golden GOLDEN.json CASE_ID DIR          create a golden case tree
  gen_tree_erofs.py profiles
"""
import hashlib
import json
import os
import socket
import stat
import sys

M64 = (1 << 64) - 1
CHUNK = 1 << 20


class Rng:
    """splitmix64"""

    def __init__(self, seed):
        if isinstance(seed, str):
            seed = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8],
                                  "little")
        self.s = seed & M64

    def u64(self):
        self.s = (self.s + 0x9E3779B97F4A7C15) & M64
        z = self.s
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        return z ^ (z >> 31)

    def below(self, n):
        return self.u64() % n

    def rng(self, a, b):
        """inclusive"""
        return a + self.below(b - a + 1)

    def chance(self, num, den):
        return self.below(den) < num

    def pick(self, seq):
        return seq[self.below(len(seq))]

    def shuffle(self, lst):
        for i in range(len(lst) - 1, 0, -1):
            j = self.below(i + 1)
            lst[i], lst[j] = lst[j], lst[i]


def content(cseed, off, length, size=None, holes=False):
    """bytes [off, off+length) of the file with this content seed: the stream
    is the concatenation over i of SHAKE256("<cseed>#<i>") cut at 1 MiB."""
    if holes and size is not None and size > 8192:
        buf = bytearray(length)
        for lo, hi in ((0, 4096), (size - 4096, size)):
            a, b = max(lo, off), min(hi, off + length)
            if a < b:
                if lo == 0:
                    src = _stream(cseed, a, b - a)
                else:
                    src = _stream(cseed, 4096 + a - lo, b - a)
                buf[a - off:b - off] = src
        return bytes(buf)
    return _stream(cseed, off, length)


def _stream(cseed, off, length):
    out = []
    end = off + length
    i = off // CHUNK
    while i * CHUNK < end:
        need = min(CHUNK, end - i * CHUNK)
        d = hashlib.shake_256(("%s#%d" % (cseed, i)).encode()).digest(need)
        a = max(0, off - i * CHUNK)
        out.append(d[a:])
        i += 1
    return b"".join(out)


# ----------------------------------------------------------------- building

class Tree:
    def __init__(self, key):
        self.key = key
        self.entries = [dict(path=b"", type="dir", mode=0o755)]
        self.names = {b"": set()}

    def _add(self, parent, name, e):
        assert 0 < len(name) <= 255 and b"/" not in name and b"\0" not in name
        assert name not in (b".", b"..")
        if name in self.names[parent]:
            return None
        self.names[parent].add(name)
        e["path"] = (parent + b"/" + name) if parent else name
        self.entries.append(e)
        return e["path"]

    def dir(self, parent, name, mode=0o755, **kw):
        p = self._add(parent, name, dict(type="dir", mode=mode, **kw))
        if p is not None:
            self.names[p] = set()
        return p

    def file(self, parent, name, size, mode=0o644, **kw):
        e = dict(type="file", mode=mode, size=size, **kw)
        p = self._add(parent, name, e)
        if p is not None:
            e["cseed"] = "%s:%s" % (self.key, p.hex())
        return p

    def symlink(self, parent, name, target, **kw):
        return self._add(parent, name, dict(type="symlink", target=target, **kw))

    def hardlink(self, parent, name, target):
        return self._add(parent, name, dict(type="hardlink", target=target))

    def special(self, parent, name, typ, mode=0o600, rdev=(0, 0), **kw):
        return self._add(parent, name, dict(type=typ, mode=mode, rdev=rdev, **kw))

    def files(self):
        return [e["path"] for e in self.entries if e["type"] == "file"]

    def dirs(self):
        return [e["path"] for e in self.entries if e["type"] == "dir"]


EDGE_SIZES = [0, 1, 2, 31, 32, 33, 63, 64, 100, 1000, 2047, 2048, 2911, 2912,
              2913, 3000, 3999, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4066,
              4094, 4095, 4096, 4097, 4128, 5000, 8159, 8160, 8161, 8191, 8192,
              8193, 12287, 12288, 12289, 16383, 16384, 16385]
UNI = ["a", "B", "z", "0", "9", "_", "-", ".", "+", "!", "~", " ", "é", "ß",
       "ж", "中", "文", "模", "型", "🤗", "\u0301", "\u200d", "ÿ", "ﬀ", "#", "%"]


def rand_name(r, kind=None):
    kind = kind if kind is not None else r.below(8)
    if kind == 0:
        return ("f%d" % r.below(100000)).encode()
    if kind == 1:
        return ("model-%05d-of-%05d.safetensors" % (r.below(200), 200)).encode()
    if kind == 2:                                   # UTF-8
        s = "".join(r.pick(UNI) for _ in range(r.rng(1, 20)))
        b = s.encode()
        return b if b not in (b".", b"..") else b"dot"
    if kind == 3:                                   # long
        n = r.rng(200, 255)
        return bytes(97 + r.below(26) for _ in range(n))
    if kind == 4:                                   # exactly 255
        return bytes(97 + r.below(3) for _ in range(255))
    if kind == 5:                                   # arbitrary bytes
        bad = (0, 47)
        out = bytearray()
        for _ in range(r.rng(1, 12)):
            c = r.below(256)
            out.append(c if c not in bad else 33)
        b = bytes(out)
        return b if b not in (b".", b"..") else b"xx"
    if kind == 6:                                   # shared prefixes
        return (b"common/prefix/".replace(b"/", b"_") +
                bytes(97 + r.below(2) for _ in range(r.rng(1, 14))))
    return bytes(r.pick(b"abc.-_ABC019") for _ in range(r.rng(3, 9)))


def rand_size(r, big=200000):
    k = r.below(10)
    if k < 5:
        return r.pick(EDGE_SIZES)
    if k < 7:
        return r.below(4200)
    if k < 9:
        return r.below(40000)
    return r.below(big)


def rand_mode(r):
    return r.pick([0o644, 0o755, 0o600, 0o444, 0o640, 0o4755, 0o2755, 0o1777,
                   0o000, 0o777])


def rand_target(r, full=False):
    k = r.below(6)
    if k == 0:
        return b"x"
    if k == 1:
        return b"../" * r.rng(1, 30) + b"y"
    if k == 2:
        n = r.rng(3900, 4095) if full else r.rng(200, 1000)
        return bytes(r.pick(b"abcdef/") for _ in range(n))
    if k == 3:
        return rand_name(r, 2)
    if k == 4 and full:
        return b"q" * r.pick([4032, 4063, 4064, 4065, 4094, 4095])
    return bytes(97 + r.below(26) for _ in range(r.rng(1, 60)))


# ----------------------------------------------------------------- profiles

def p_mixed(t, r, n=60, links=1, special=0, big=200000):
    dirs = [b""]
    for i in range(n):
        parent = r.pick(dirs)
        k = r.below(20)
        if k < 4:
            p = t.dir(parent, rand_name(r), mode=r.pick([0o755, 0o700, 0o1777, 0o2755]))
            if p is not None and len(p) < 2500:
                dirs.append(p)
        elif k < 6 and links:
            t.symlink(parent, rand_name(r), rand_target(r, full=True))
        elif k < 7 and links:
            fs = t.files()
            if fs:
                t.hardlink(parent, rand_name(r), r.pick(fs))
        elif k < 8 and special:
            typ = r.pick(["fifo", "sock", "chr", "blk"])
            t.special(parent, rand_name(r, 0), typ, mode=rand_mode(r),
                      rdev=(r.rng(1, 4000), r.below(1 << 20))
                      if typ in ("chr", "blk") else (0, 0))
        else:
            t.file(parent, rand_name(r), rand_size(r, big), mode=rand_mode(r))


def p_edges(t, r, n=40):
    """one directory, only sizes around block boundaries, random order of names"""
    for i in range(n):
        base = r.pick([0, 4096, 8192, 12288, 4096 * 7])
        size = max(0, base + r.rng(-70, 70))
        t.file(b"", ("%04d" % r.below(10000)).encode(), size)


def p_tails(t, r, n=80, lo=0, hi=4095):
    """stress the packing of inode+tail: only sub-block files"""
    for i in range(n):
        t.file(b"", rand_name(r, r.pick([0, 7, 2])), r.rng(lo, hi))


def p_ghost(t, r, n=60):
    """tails too large to inline (> 4064) mixed with empty dirs and files"""
    dirs = [b""]
    for i in range(n):
        parent = r.pick(dirs)
        k = r.below(6)
        if k == 0:
            p = t.dir(parent, rand_name(r, 0))
            if p is not None:
                dirs.append(p)
        elif k == 1:
            t.file(parent, rand_name(r, 0), 0)
        elif k == 2:
            t.file(parent, rand_name(r, 0), r.rng(4060, 4095))
        elif k == 3:
            t.file(parent, rand_name(r, 0), 4096 * r.rng(0, 3) + r.rng(4060, 4100))
        elif k == 4:
            t.file(parent, rand_name(r, 0), r.rng(1, 4064))
        else:
            t.symlink(parent, rand_name(r, 0), rand_target(r, full=True))


def p_slots(t, r, dirs=30, per=40, namelen=60):
    """directories larger than a block full of empty files (every inode is one
    slot), sprinkled with tails that cannot be inlined"""
    ds = [b""]
    for i in range(dirs):
        d = r.pick(ds)
        p = t.dir(d, (("%03d" % i) + "d" * 255)[:r.rng(3, namelen)].encode())
        if p is None or len(p) > 3000:
            continue
        ds.append(p)
        for j in range(r.rng(0, per)):
            nm = (("%04d" % r.below(10000)) + "e" * 255)[:r.rng(4, namelen)].encode()
            k = r.below(16)
            if k == 0:
                t.file(p, nm, r.rng(4065, 4095))
            elif k == 1:
                t.file(p, nm, 4096 * r.rng(1, 2) + r.rng(4065, 4095))
            elif k == 2:
                t.file(p, nm, r.rng(3000, 4064))
            elif k == 3:
                t.file(p, nm, 32 * r.rng(1, 100))
            else:
                t.file(p, nm, 0)


def p_bigdir(t, r, n=2000, namelen=0, filesize=-1, sub=0):
    d = t.dir(b"", b"big") if sub else b""
    for i in range(n):
        if namelen:
            nm = (("%06d" % i) + "n" * 255)[:namelen].encode()
        else:
            nm = rand_name(r, r.pick([0, 2, 3, 5, 7]))
        k = r.below(12)
        if filesize >= 0:
            t.file(d, nm, filesize)
        elif k == 0:
            t.dir(d, nm)
        elif k == 1:
            t.symlink(d, nm, rand_target(r))
        else:
            t.file(d, nm, r.pick([0, 1, 7, 60, 300, 900, 4096, 5000]))


def p_deep(t, r, depth=60):
    p = b""
    for i in range(depth):
        q = t.dir(p, ("d%d" % i).encode() if not r.chance(1, 5) else rand_name(r, 0))
        if q is None:
            continue
        for j in range(r.below(4)):
            t.file(p, rand_name(r, 0), rand_size(r))
        if r.chance(1, 3):
            t.dir(p, b"e" + rand_name(r, 0))
        p = q
        if len(p) > 3000:
            break
    t.file(p, b"leaf", 4095)


def p_dirsize(t, r, entries=200, namelen=8, root=0):
    """directories whose size lands close to a block boundary"""
    base = b"" if root else t.dir(b"", b"D")
    for i in range(entries):
        t.file(base, (("%05d" % i) + "x" * 250)[:namelen].encode(),
               r.pick([0, 0, 0, 10]))
    for i in range(r.below(5)):
        t.dir(b"", b"s%d" % i)


def p_dirfit(t, r, target=4096, root=1):
    """directory with i_size exactly `target` (or just below)"""
    base = b"" if root else t.dir(b"", b"D")
    pos, i = 12 + 1 + 12 + 2, 0
    while pos < target:
        stop = min(target, (pos // 4096 + 1) * 4096)
        left = stop - pos
        step = left if left <= 267 else min(267, left - 16)
        if step < 16:
            break                               # not reachable, stay below
        t.file(base, (("%04d" % i) + "k" * 255)[:step - 12].encode(), 0)
        pos += step
        i += 1


def p_empty(t, r):
    pass


def p_one(t, r, size=0, name=0):
    t.file(b"", b"f", size)


def p_many_dirs(t, r, n=300):
    dirs = [b""]
    for i in range(n):
        p = t.dir(r.pick(dirs[-20:]), rand_name(r, r.pick([0, 2, 7])))
        if p is not None and len(p) < 3000:
            dirs.append(p)


def p_links(t, r, n=80):
    dirs = [b""]
    for i in range(n):
        parent = r.pick(dirs)
        k = r.below(6)
        if k == 0:
            p = t.dir(parent, rand_name(r, 0))
            if p is not None:
                dirs.append(p)
        elif k < 3 or not t.files():
            t.file(parent, rand_name(r, 0), rand_size(r, 30000))
        elif k < 5:
            t.hardlink(parent, rand_name(r, 0), r.pick(t.files()))
        else:
            t.symlink(parent, rand_name(r, 0), rand_target(r, full=True))


SMALL = [("README.md", 200, 30000), ("config.json", 500, 3000),
         ("generation_config.json", 100, 300), ("tokenizer.json", 100000, 900000),
         ("tokenizer_config.json", 300, 60000), (".gitattributes", 1477, 1600),
         ("special_tokens_map.json", 100, 900), ("LICENSE", 1000, 12000),
         ("merges.txt", 50000, 460000), ("vocab.json", 80000, 800000),
         ("chat_template.jinja", 1000, 9000), ("USAGE_POLICY", 100, 200),
         ("model.safetensors.index.json", 10000, 90000)]


def p_model(t, r, shards=5, shard_kb=700, variant=0):
    """looks like a Hugging Face repository"""
    for nm, lo, hi in SMALL:
        if r.chance(4, 5):
            t.file(b"", nm.encode(), r.rng(lo, hi))
    for i in range(shards):
        t.file(b"", b"model-%05d-of-%05d.safetensors" % (i + 1, shards),
               shard_kb * 1024 + r.rng(0, 20000))
    if variant >= 1:
        d = t.dir(b"", b"figures")
        for i in range(r.rng(1, 6)):
            t.file(d, b"fig%d.png" % i, r.rng(5000, 200000))
        d = t.dir(b"", b"original")
        t.file(d, b"params.json", r.rng(50, 400))
        t.file(d, b"consolidated.00.pth", r.rng(100000, 300000))
    if variant >= 2:
        d = t.dir(b"", b"assets")
        d2 = t.dir(d, b"sub dir")
        for i in range(r.rng(1, 30)):
            t.file(d2, b"t%d.txt" % i, r.rng(0, 5000), mode=r.pick([0o644, 0o755]))
        t.symlink(b"", b"latest", b"model-00001-of-%05d.safetensors" % shards)


def p_sparse(t, r, size=4294967296, n=1, delta=0, small=3):
    """large sparse files"""
    for i in range(n):
        t.file(b"", b"big%03d.bin" % i, size + delta * i, holes=True)
    for i in range(small):
        t.file(b"", b"s%d" % i, rand_size(r))


def p_owners(t, r, n=50):
    """uids/gids/mtimes for invocation B"""
    p_mixed(t, r, n=n, special=1)
    for e in t.entries:
        if e["type"] == "hardlink":
            continue
        e["uid"] = r.pick([0, 0, 1, 1000, 65534, 65535, 65536, 100000, 4000000000])
        e["gid"] = r.pick([0, 0, 5, 1000, 65535, 65536, 70000])
        e["mtime"] = r.pick([0, 1, 1700000000, 2000000000, 5000000000, -1, -86400])


def p_xattrs(t, r, n=50, pool=6):
    """user/trusted/security xattrs, some of them shared by many files"""
    p_mixed(t, r, n=n)
    vals = [("user.k%d" % i, bytes(r.below(256) for _ in range(r.below(40))))
            for i in range(pool)]
    vals += [("trusted.t%d" % i, b"v%d" % i) for i in range(2)]
    vals += [("security.sel", b"system_u:object_r:usr_t:s0\0"),
             ("user.a" * 20, b"x" * r.rng(100, 900))]
    for e in t.entries:
        if e["type"] in ("hardlink",):
            continue
        xs, seen = [], set()
        for _ in range(r.below(5)):
            nm, v = r.pick(vals)
            if r.chance(1, 4):
                v = bytes(r.below(256) for _ in range(r.below(60)))
            if e["type"] == "symlink" and nm.startswith("user."):
                continue
            if nm in seen:
                continue
            seen.add(nm)
            xs.append((nm, v))
        if xs:
            e["xattrs"] = xs


def p_xshared(t, r, n=100, values=20, vmax=2000):
    """a large area of shared xattrs (up to many blocks)"""
    vals = [("user.v%d" % i, bytes(r.below(256) for _ in range(r.rng(0, vmax))))
            for i in range(values)]
    ds = [b""]
    for i in range(n):
        p = r.pick(ds)
        if r.chance(1, 8):
            ds.append(t.dir(p, b"d%d" % i + b"n" * r.below(100)))
        else:
            t.file(p, b"f%d" % i + b"m" * r.below(200), rand_size(r, 20000))
    for e in t.entries:
        xs, tot = [], 0
        for v in [r.pick(vals) for _ in range(r.below(5))]:
            if v[0] not in [x[0] for x in xs] and tot + len(v[1]) + 60 <= 3600:
                tot += len(v[1]) + 60         # ext4 keeps xattrs in one block
                xs.append(v)
        if xs:
            e["xattrs"] = xs


def p_whiteout(t, r, n=20):
    p_mixed(t, r, n=n)
    for d in t.dirs():
        if r.chance(1, 2):
            t.special(d, b"wh%d" % r.below(100), "chr", mode=0, rdev=(0, 0))


PROFILES = {k[2:]: v for k, v in list(globals().items()) if k.startswith("p_")}


def expand_case(profile, seed, params=None):
    params = dict(params or {})
    key = "%s/%s/%s" % (profile, seed,
                        ",".join("%s=%s" % kv for kv in sorted(params.items())))
    t = Tree(key)
    PROFILES[profile](t, Rng(key), **params)
    return t.entries


def manifest_digest(entries):
    h = hashlib.sha256()
    for e in entries:
        h.update(json.dumps({k: (v.hex() if isinstance(v, bytes) else
                                 [[n, x.hex()] for n, x in v] if k == "xattrs"
                                 else v) for k, v in sorted(e.items())},
                            sort_keys=True).encode() + b"\n")
    return h.hexdigest()


# -------------------------------------------------------------- materialize

def materialize(entries, root, shuffle=None):
    """Create the tree.  `shuffle` (int) permutes the creation order of
    siblings, to show that readdir order is irrelevant."""
    root = os.fsencode(root)
    umask = os.umask(0)
    os.makedirs(root, exist_ok=True)
    order = [e for e in entries if e["path"]]
    if shuffle is not None:
        r = Rng(shuffle)
        dirs = [e for e in order if e["type"] == "dir"]
        rest = [e for e in order if e["type"] not in ("dir", "hardlink")]
        r.shuffle(rest)
        order = dirs + rest + [e for e in order if e["type"] == "hardlink"]
    rootfd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for e in order:
        p, typ = e["path"], e["type"]
        parent, name = os.path.split(p)
        fd = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=rootfd)
        try:
            if typ == "dir":
                os.mkdir(name, 0o700, dir_fd=fd)
            elif typ == "symlink":
                os.symlink(e["target"], name, dir_fd=fd)
            elif typ == "hardlink":
                os.link(e["target"], name, src_dir_fd=rootfd, dst_dir_fd=fd,
                        follow_symlinks=False)
            elif typ == "file":
                f = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600,
                            dir_fd=fd)
                size, cs = e["size"], e["cseed"]
                if e.get("holes") and size > 8192:
                    os.ftruncate(f, size)
                    os.pwrite(f, content(cs, 0, 4096, size, True), 0)
                    os.pwrite(f, content(cs, size - 4096, 4096, size, True),
                              size - 4096)
                else:
                    off = 0
                    while off < size:
                        n = min(CHUNK, size - off)
                        os.write(f, content(cs, off, n))
                        off += n
                os.close(f)
            else:
                mode = {"fifo": stat.S_IFIFO, "sock": stat.S_IFSOCK,
                        "chr": stat.S_IFCHR, "blk": stat.S_IFBLK}[typ]
                os.mknod(name, mode | 0o600, os.makedev(*e["rdev"]), dir_fd=fd)
        finally:
            os.close(fd)
    # second pass: ownership, xattrs, modes, times (deepest first for dirs)
    for e in sorted(entries, key=lambda e: -e["path"].count(b"/") -
                    (1 if e["path"] else 0)):
        if e["type"] == "hardlink":
            continue
        parent, name = os.path.split(e["path"])
        fd = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=rootfd)
        try:
            # a short path even in very deep trees
            p = b"/proc/self/fd/%d/%s" % (fd, name or b".")
            if "uid" in e:
                os.chown(p, e["uid"], e["gid"], follow_symlinks=False)
            for n, v in e.get("xattrs", ()):
                os.setxattr(p, n, v, follow_symlinks=False)
            if e["type"] != "symlink":
                os.chmod(p, e["mode"])
            mt = e.get("mtime", 1500000000 + len(e["path"]) * 1000)
            os.utime(p, (mt, mt), follow_symlinks=False)
        finally:
            os.close(fd)
    os.close(rootfd)
    os.umask(umask)


def _jsonable(entries):
    out = []
    for e in entries:
        d = {}
        for k, v in e.items():
            if k == "xattrs":
                v = [[n, x.hex()] for n, x in v]
            elif isinstance(v, bytes):
                try:
                    v = v.decode("utf-8")
                except UnicodeDecodeError:
                    v, k = v.hex(), k + "_hex"
            d[k] = v
        out.append(d)
    return out


def main(argv):
    if len(argv) < 2:
        print(__doc__)
        return 2
    cmd = argv[1]
    if cmd == "profiles":
        for k in sorted(PROFILES):
            print(k, "-", (PROFILES[k].__doc__ or "").strip())
        return 0
    if cmd == "golden":
        with open(argv[2]) as f:
            g = json.load(f)
        c = [c for c in g["cases"] if c["id"] == argv[3]][0]
        ents = expand_case(c["profile"], c["seed"], c["params"])
        assert manifest_digest(ents) == c["manifest_sha256"], "generator drift"
        materialize(ents, argv[4])
        return 0
    params = {k: int(v) for k, v in (a.split("=") for a in argv[4 if cmd == "list" else 5:])}
    ents = expand_case(argv[2], argv[3], params)
    if cmd == "list":
        json.dump(_jsonable(ents), sys.stdout, indent=1, ensure_ascii=False)
        print()
        return 0
    if cmd == "make":
        materialize(ents, argv[4])
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
