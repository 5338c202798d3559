#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""EROFS images of the project's planner and writer, compared byte for byte.

run_erofs.py HELPER [--large] [--random COUNT] [--from K]

HELPER is the built golden_erofs. Every case of erofs.json (images of mkfs.erofs 1.9 and 1.9.3, made once and kept as
SHA-256) is made again, invocations A and B, both releases; then odd trees and COUNT random ones (60) are compared with
erofs_model.py, which equals mkfs.erofs on thousands of trees. --large makes the golden images over 1 GiB instead, and
nothing else. Trees are never created on disk, so no privilege is needed.
"""
import argparse
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import erofs_model as model
import gen_tree_erofs as gen

NULL_UUID = "00000000-0000-0000-0000-000000000000"
COMPAT = {"1.9": "erofs-1.9.0", "1.9.3": "erofs-1.8.10+"}
LARGE = 1 << 18  # blocks
S_IF = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO,
        "sock": stat.S_IFSOCK, "chr": stat.S_IFCHR, "blk": stat.S_IFBLK}


def write_content(path, entries):
    """All files one behind the other, holes as holes; gives the offset of each."""
    offsets, end = {}, 0
    with open(path, "wb") as f:
        for e in entries:
            if e["type"] != "file":
                continue
            offsets[e["path"]] = end
            size, sparse = e["size"], e.get("holes") and e["size"] > 8192
            for off, length in ((0, 4096), (size - 4096, 4096)) if sparse else ((0, size),):
                f.seek(end + off)
                f.write(gen.content(e["cseed"], off, length, size, sparse))
            end += size
        f.truncate(end)
    return offsets


def listing(entries, offsets):
    number, out = {}, []
    for e in entries:
        path, kind = e["path"], e["type"]
        parent, _, name = path.rpartition(b"/")
        d = {"name": name.hex()}
        if path:
            d["parent"] = number[parent]
        number[path] = len(out)
        if kind == "hardlink":
            target = out[number[e["target"]]]
            d["link"], d["mode"] = number[e["target"]], target["mode"]
        else:
            d["mode"] = S_IF[kind] | (0o777 if kind == "symlink" else e["mode"])
            d["mtime"] = e.get("mtime", 1500000000 + len(path) * 1000)
            d.update({k: e[k] for k in ("uid", "gid", "rdev") if k in e})
            d["xattrs"] = [[n, v.hex()] for n, v in e.get("xattrs", ())]
        if kind == "file":
            d["size"], d["content"] = e["size"], offsets[path]
        if kind == "symlink":
            d["target"] = e["target"].hex()
        out.append(d)
    return out


def ext4_list_order(xattrs):
    """The order of llistxattr(2) on the file system that the golden images were made from: ext4, 256-byte inodes, set
    in the order of xattrs. What fits behind the inode (88 bytes of 16 + name + value, each part padded to 4) comes
    first, as it was set; then the attribute block, by prefix, length of the name, name."""
    room, inode, block = 88, [], []
    for x in xattrs:
        index, rest = model.split_xattr(x[0].encode())
        need = 16 + model.up(len(rest), 4) + model.up(len(x[1]) // 2, 4)
        if need <= room:
            room -= need
            inode.append(x)
        else:
            block.append(((index, len(rest), rest), x))
    return inode + [x for _, x in sorted(block, key=lambda b: b[0])]


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for chunk in iter(lambda: f.read(1 << 20), b""):
            h.update(chunk)
    return h.hexdigest()


class Maker:
    def __init__(self, helper, work):
        self.helper = helper
        self.list, self.content, self.image, self.reference = (
            os.path.join(work, n) for n in ("list.json", "content", "image", "reference"))

    def tree(self, entries):
        self.entries = entries
        self.rows = listing(entries, write_content(self.content, entries))

    def make(self, invocation, release, uuid_b, epoch=0, seed=0):
        b = invocation == "B"
        with open(self.list, "w") as f:
            json.dump({"compat": COMPAT[release], "uuid": uuid_b if b else NULL_UUID, "keep_owners": b,
                       "keep_xattrs": b, "epoch": epoch, "threads": 1 + seed % 4, "seed": seed,
                       "entries": self.rows}, f)
        r = subprocess.run([self.helper, self.list, self.content, self.image], capture_output=True, text=True)
        if r.returncode:
            return None, r.stderr.strip()
        return sha256(self.image), json.loads(r.stdout)

    def model(self, invocation, release, uuid_b, epoch=0):
        o = model.Options(invocation, uuid.UUID(uuid_b if invocation == "B" else NULL_UUID), release, epoch)
        p = model.plan(model.from_entries(self.entries, model.gen_reader), o)
        with open(self.reference, "wb") as f:
            p.write(f)
        return sha256(self.reference), p.blocks


def golden(maker, data, large):
    good, bad = 0, []
    for c in data["cases"]:
        todo = [(i, r) for i in "AB" for r in sorted(c[i]) if (c[i][r]["fs_blocks"] > LARGE) == large]
        if not todo:
            continue
        entries = gen.expand_case(c["profile"], c["seed"], c["params"])
        assert gen.manifest_digest(entries) == c["manifest_sha256"], "gen_tree_erofs.py makes other trees"
        maker.tree(entries)
        for row in maker.rows:
            row["xattrs"] = ext4_list_order(row.get("xattrs", []))
        for n, (invocation, release) in enumerate(todo):
            want = c[invocation][release]
            digest, said = maker.make(invocation, release, data["uuid_B"], seed=n)
            if digest == want["fs_sha256"] and said["blocks"] == want["fs_blocks"]:
                good += 1
            else:
                bad.append("%s, %s of %s: %s" % (c["id"], invocation, release, said))
    return good, bad


def schedule(k):
    """Profile, seed and parameters of random tree k."""
    r = gen.Rng("random/%d" % k)
    table = [
        ("mixed", lambda: dict(n=r.rng(3, 150), special=r.below(2))),
        ("owners", lambda: dict(n=r.rng(3, 150))),
        ("tails", lambda: dict(n=r.rng(1, 200), lo=0, hi=r.pick([60, 300, 1000, 4095]))),
        ("xattrs", lambda: dict(n=r.rng(3, 120), pool=r.rng(1, 12))),
        ("edges", lambda: dict(n=r.rng(1, 120))),
        ("whiteout", lambda: dict(n=r.rng(3, 60))),
        ("slots", lambda: dict(dirs=r.rng(5, 60), per=r.rng(3, 90), namelen=r.rng(6, 120))),
        ("xshared", lambda: dict(n=r.rng(5, 150), values=r.rng(1, 40), vmax=r.pick([50, 500, 2000, 3500]))),
        ("ghost", lambda: dict(n=r.rng(5, 200))),
        ("bigdir", lambda: dict(n=r.rng(1, 2000), namelen=r.pick([0, 6, 20, 128, 255]),
                                filesize=r.pick([-1, 0, 1, 50]), sub=r.below(2))),
        ("tails", lambda: dict(n=r.rng(50, 300), lo=r.pick([1000, 2000, 3900]), hi=4095)),
        ("deep", lambda: dict(depth=r.rng(2, 120))),
        ("dirsize", lambda: dict(entries=r.rng(1, 400), namelen=r.rng(5, 60), root=r.below(2))),
        ("dirfit", lambda: dict(target=r.pick([2912, 4096, 8192, 12288]) + r.rng(-40, 40), root=r.below(2))),
        ("many_dirs", lambda: dict(n=r.rng(5, 500))),
        ("links", lambda: dict(n=r.rng(5, 200))),
        ("mixed", lambda: dict(n=r.rng(10, 400), special=r.below(2), big=20000)),
        ("model", lambda: dict(shards=r.rng(1, 8), shard_kb=r.rng(1, 300), variant=r.below(3))),
    ]
    profile, params = table[k % len(table)]
    return profile, str(k), params()


def directed():
    """Shapes that the random trees do not have."""
    def tree(name):
        return gen.Tree("directed/" + name)

    t = tree("root behind 2 MiB of shared attributes")
    shared = [("user.%02d" % i, b"%d" % i * 32500) for i in range(40)]
    for i in range(12):
        t.file(b"", b"%02d" % i + b"n" * 253, i * 300, xattrs=shared if i < 3 else [])
    t.file(b"", b"in front", 1)
    yield t
    t = tree("300 shared attributes on an inode, 255 of them by id")
    for i in range(4):
        t.file(b"", b"f%d" % i, i * 1000, xattrs=[("user.%03d" % (k * 7 % 300), b"v") for k in range(300)])
    yield t
    t = tree("attributes that take more than a block")
    for i in range(60):
        t.file(b"", b"f%d" % i, i * 331, xattrs=[("trusted.%d" % i, bytes([i]) * (i * 700 % 60001))])
        t.dir(b"", b"d%d" % i, xattrs=[("user.%d" % i, bytes([i]) * (i * 97))])
    yield t
    t = tree("whiteouts by hard link")
    for i in range(5):
        t.dir(b"", b"d%d" % i, xattrs=[("trusted.overlay.origin", b"")] if i % 2 else [])
        t.file(b"d%d" % i, b"f", 4060 + i)
    t.special(b"d3", b"gone", "chr")
    t.hardlink(b"d1", b"gone too", b"d3/gone")
    t.hardlink(b"", b"z", b"d3/gone")
    yield t
    t = tree("7000 hard links in two directories")
    t.dir(b"", b"a")
    t.file(b"a", b"z", 5000)
    for i in range(7000):
        t.hardlink((b"a", b"")[i % 2], b"l%d" % i, b"a/z")
    yield t


def model_trees(first, count):
    for t in directed():
        yield t.key, t.entries
    for k in range(first, first + count):
        profile, seed, params = schedule(k)
        yield "%d (%s %s)" % (k, profile, params), gen.expand_case(profile, seed, params)


def against_model(maker, uuid_b, first, count):
    good, bad = 0, []
    for k, (name, entries) in enumerate(model_trees(first, count)):
        maker.tree(entries)
        for invocation, release, epoch in (("A", "1.9.3", 0), ("B", "1.9", 0), ("B", "1.9.3", (0, 1600000000)[k % 2])):
            want, blocks = maker.model(invocation, release, uuid_b, epoch)
            digest, said = maker.make(invocation, release, uuid_b, epoch, k)
            if digest == want:
                good += 1
            else:
                bad.append("tree %s, %s of %s: %s, model: %d blocks" % (name, invocation, release, said, blocks))
    return good, bad


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("helper")
    ap.add_argument("--large", action="store_true")
    ap.add_argument("--random", type=int, default=60)
    ap.add_argument("--from", dest="first", type=int, default=0)
    a = ap.parse_args()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "erofs.json")) as f:
        data = json.load(f)
    with tempfile.TemporaryDirectory() as work:
        maker = Maker(os.path.abspath(a.helper), work)
        good, bad = golden(maker, data, a.large)
        print("golden images: %d equal, %d not" % (good, len(bad)))
        good, worse = (0, []) if a.large else against_model(maker, data["uuid_B"], a.first, a.random)
        print("trees against the model: %d images equal, %d not" % (good, len(worse)))
    print("\n".join(bad + worse))
    return 1 if bad or worse else 0


if __name__ == "__main__":
    sys.exit(main())
