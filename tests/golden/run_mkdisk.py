#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds every golden case with mkdisk and compares it with what the reference tools made of the same tree.

    run_mkdisk.py MKDISK [--only TEXT] [--jobs N] [--keep DIR]

repart.json: root hash, the disk's SHA-256 (of its non-zero blocks where the disk is larger than 2 GiB) and the JSON text.
erofs.json:  flat layout: invocation A root hash, hash offset and SHA-256 of the disk, invocation B SHA-256 of the image.

Trees with owners, devices, trusted attributes and unreadable modes need root: without it those cases are skipped.
Exit status: 0 all equal, 1 a difference, 77 nothing could be run.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import gen_tree_erofs  # noqa: E402

HASH_ALL = 2 << 30  # a disk up to this is hashed whole
HUGE = 2 << 30      # a flat image beyond this is not written, its root hash is enough
ZEROS = bytes(1 << 20)
# trees with other owners than root can only be made by root; of those another user makes, the golden owner is root
OWNER = "--owner=keep" if os.geteuid() == 0 else "--owner=root"
COMPAT = {          # toolchain of repart.json: --compat
    "A": "systemd-258+",
    "D": "systemd-255..257",
    "H": "systemd-258..261",
    "I": "systemd-258.0",
    "J": "systemd-255..257.7",
}


class Skip(Exception):
    """This case cannot be run here; the text says why."""


class Differs(Exception):
    """This case came out otherwise."""


def data_ranges(f):
    """(offset, length) of what is not a hole"""
    end = f.seek(0, os.SEEK_END)
    off = 0
    while off < end:
        try:
            off = os.lseek(f.fileno(), off, os.SEEK_DATA)
        except OSError:
            return
        hole = min(os.lseek(f.fileno(), off, os.SEEK_HOLE), end)
        yield off, hole - off
        off = hole


def sha256(path):
    digest, pos = hashlib.sha256(), 0

    def zeros(n):
        while n > 0:
            digest.update(ZEROS[:min(n, len(ZEROS))])
            n -= len(ZEROS)

    with open(path, "rb", buffering=0) as f:
        end = f.seek(0, os.SEEK_END)
        for off, length in data_ranges(f):
            zeros(off - pos)
            for at in range(off, off + length, 1 << 22):
                digest.update(os.pread(f.fileno(), min(1 << 22, off + length - at), at))
            pos = off + length
        zeros(end - pos)
    return digest.hexdigest()


def nonzero_blocks_sha256(path):
    """SHA-256 over u64le(offset) + block for each 4 KiB block that is not all zero"""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        for off, length in data_ranges(f):
            for at in range(off & ~4095, off + length, 1 << 20):
                chunk = os.pread(f.fileno(), 1 << 20, at)
                for i in range(0, len(chunk), 4096):
                    block = chunk[i:i + 4096]
                    if block.count(0) != len(block):
                        digest.update(struct.pack("<Q", at + i) + block)
    return digest.hexdigest()


def run(argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace").strip()


def equal(what, found, expected):
    if found != expected:
        raise Differs("%s is %s, expected %s" % (what, found, expected))


class Trees:
    """Each source tree is made once and kept until its last case is done."""

    def __init__(self, work):
        self.work, self.lock, self.made, self.uses = work, threading.Lock(), {}, {}

    def expect(self, key):
        self.uses[key] = self.uses.get(key, 0) + 1

    def get(self, key, make):
        with self.lock:
            entry = self.made.setdefault(key, {"lock": threading.Lock(), "dir": None, "why": None})
        with entry["lock"]:
            if entry["dir"] is None and entry["why"] is None:
                path = os.path.join(self.work, "tree-" + re.sub(r"[^A-Za-z0-9]", "-", key))
                try:
                    make(path)
                    entry["dir"] = path
                except PermissionError as e:
                    entry["why"] = "making the tree needs root (%s)" % (e.strerror or e)
                if entry["why"] is None and os.geteuid() != 0 and not readable(path):
                    entry["why"] = "reading the tree needs root"
        if entry["why"]:
            raise Skip(entry["why"])
        return entry["dir"]

    def done(self, key):
        with self.lock:
            self.uses[key] -= 1
            entry = self.made.get(key)
            if self.uses[key] == 0 and entry and entry["dir"]:
                shutil.rmtree(entry["dir"], ignore_errors=True)


def readable(root):
    for d, dirs, files in os.walk(root):
        if not os.access(d, os.R_OK | os.X_OK):
            return False
        for name in files:
            path = os.path.join(d, name)
            if not os.path.islink(path) and not os.access(path, os.R_OK):
                return False
    return True


class Runner:
    def __init__(self, mkdisk, work):
        self.mkdisk, self.work, self.trees = mkdisk, work, Trees(work)

    # ---- repart.json ----

    def repart_tree(self, case):
        gen = os.path.join(HERE, "gen_tree_repart.py")

        def make(path):
            code, _, err = run([sys.executable, gen, case["tree"], str(case["seed"]), path])
            if code != 0:
                if "PermissionError" in err:
                    raise PermissionError(err.splitlines()[-1])
                raise Differs("gen_tree_repart.py: " + err)
            _, out, _ = run([sys.executable, gen, "--manifest", path])
            if os.geteuid() == 0 and case.get("tree_manifest_sha256"):
                equal("the tree", hashlib.sha256(out).hexdigest(), case["tree_manifest_sha256"])

        return self.trees.get("repart-%s-%s" % (case["tree"], case["seed"]), make)

    def definitions(self, case, place):
        if case["definitions"] == "privatemode":
            return []  # the built-in ones
        os.mkdir(place)
        for name, text in case["definitions"].items():
            with open(os.path.join(place, name), "w", encoding="utf-8") as f:
                f.write(text)
        return ["--definitions=" + place]

    def repart_case(self, case):
        failing = case.get("expect_failure")
        refused = case["target"] == "block512" and case["toolchain"] == "A"  # EROFS blocks of 512 bytes
        source = self.repart_tree(case)
        disk = os.path.join(self.work, "repart-" + case["id"])
        args = [self.mkdisk, OWNER, "--xattrs=keep", "--progress=off",
                "--compat=" + COMPAT[case["toolchain"]],
                "--source-date-epoch=%d" % (case.get("source_date_epoch") or 0)]
        args += case.get("options") or []
        with open(disk, "wb") as f:
            f.truncate(case["disk_bytes"])
        try:
            if failing:
                self.must_fail(args + [disk, source], disk, case)
            elif refused:
                self.must_refuse(args + self.definitions(case, disk + ".d"), disk, source, case)
            else:
                self.must_equal(args + self.definitions(case, disk + ".d"), disk, source, case)
        finally:
            os.unlink(disk)
            shutil.rmtree(disk + ".d", ignore_errors=True)

    def must_fail(self, argv, disk, case):
        code, out, err = run(argv)
        if code != 1 or out or len(err.splitlines()) != 1:
            raise Differs("exit status %d, expected 1 and one line, got: %s" % (code, err))
        equal("the untouched disk", nonzero_blocks_sha256(disk), hashlib.sha256().hexdigest())
        equal("its size", os.path.getsize(disk), case["disk_bytes"])

    def must_refuse(self, argv, disk, source, case):
        loop = attach(disk, "512")
        try:
            code, out, err = run(argv + [loop, source])
        finally:
            run(["losetup", "-d", loop])
        if code != 3 or out or "--compat=systemd-258.0" not in err or len(err.splitlines()) != 1:
            raise Differs("exit status %d, expected 3 and the ways out, got: %s" % (code, err))
        equal("the untouched disk", nonzero_blocks_sha256(disk), hashlib.sha256().hexdigest())

    def must_equal(self, argv, disk, source, case):
        node, loop = disk, None
        if case["target"] != "file":
            node = loop = attach(disk, case["target"][len("block"):])
        try:
            code, out, err = run(argv + [node, source])
        finally:
            if loop:
                run(["losetup", "-d", loop])
        if code != 0:
            raise Differs("exit status %d: %s" % (code, err))
        rows = json.loads(out)
        equal("the root hash", rows[0]["roothash"], case["roothash"])
        equal("the JSON text", neutral(out.decode()), neutral(case["repart_json_text"]))
        equal("the node", rows[0]["node"], node + ("p1" if node[-1].isdigit() else "1"))
        if case["disk_bytes"] <= HASH_ALL:
            equal("the disk's SHA-256", sha256(disk), case["image_sha256"])
        else:
            equal("the SHA-256 of its non-zero blocks", nonzero_blocks_sha256(disk), case["image_nonzero_blocks_sha256"])

    # ---- erofs.json ----

    def erofs_tree(self, case):
        def make(path):
            gen_tree_erofs.materialize(gen_tree_erofs.expand_case(case["profile"], case["seed"], case["params"]), path)

        return self.trees.get("erofs-" + case["id"], make)

    def erofs_case(self, case, invocation, release, uuid):
        if invocation == "B" and release == "1.9" and case["profile"] in ("xattrs", "xshared"):
            raise Skip("1.9 lists attributes in the order of the file system")
        expected = case[invocation][release]
        huge = expected["fs_blocks"] * 4096 > HUGE
        if huge and invocation == "B":
            raise Skip("larger than %d bytes" % HUGE)
        source = self.erofs_tree(case)
        disk = os.path.join(self.work, "erofs-%s-%s-%s" % (case["id"], invocation, release))
        args = [self.mkdisk, "--layout=flat", "--progress=off", disk, source,
                "--compat=" + ("erofs-1.9.0" if release == "1.9" else "erofs-1.8.10+")]
        args += [OWNER, "--xattrs=keep", "--uuid=" + uuid] if invocation == "B" else []
        args += ["--root-hash-only"] if huge else []
        code, out, err = run(args)
        if code != 0:
            raise Differs("exit status %d: %s" % (code, err))
        try:
            self.compare_flat(json.loads(out)[0], disk, invocation, expected, huge)
        finally:
            if os.path.exists(disk):
                os.unlink(disk)

    def compare_flat(self, result, disk, invocation, expected, huge):
        equal("the hash offset", result["hash_offset"], expected["fs_blocks"] * 4096)
        if invocation == "A":
            equal("the root hash", result["roothash"], expected["root_hash"])
            if not huge:
                equal("the disk's SHA-256", sha256(disk), expected["disk_sha256"])
                equal("the disk's size", os.path.getsize(disk), expected["disk_bytes"])
            return
        os.truncate(disk, expected["fs_blocks"] * 4096)
        equal("the image's SHA-256", sha256(disk), expected["fs_sha256"])


def neutral(text):
    """without what depends on where the definitions and the disk lie"""
    return re.sub(r'"(file|node)" : "[^"]*"', r'"\1" : ""', text)


LOOPS = threading.Lock()


def attach(path, sector):
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        raise Skip("loop devices need root")
    with LOOPS:
        code, out, err = run(["losetup", "-f", "--show", "-b", sector, path])
    if code != 0:
        raise Skip("losetup: " + err)
    return out.decode().strip()


def cases_of(runner):
    """(name, tree key, function) of every case, those of one tree behind each other"""
    with open(os.path.join(HERE, "repart.json"), encoding="utf-8") as f:
        for c in json.load(f)["cases"]:
            if c["toolchain"] not in COMPAT:
                continue  # releases that mkdisk does not equal
            yield "repart " + c["id"], "repart-%s-%s" % (c["tree"], c["seed"]), lambda c=c: runner.repart_case(c)
    with open(os.path.join(HERE, "erofs.json"), encoding="utf-8") as f:
        golden = json.load(f)
    for c in golden["cases"]:
        for invocation in "AB":
            for release in c[invocation]:
                yield ("erofs %s %s %s" % (c["id"], invocation, release), "erofs-" + c["id"],
                       lambda c=c, i=invocation, r=release: runner.erofs_case(c, i, r, golden["uuid_B"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mkdisk")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    counts = {"ok": 0, "skipped": 0, "differs": 0}

    with tempfile.TemporaryDirectory(prefix="modeldisk-golden-") as work:
        runner = Runner(os.path.abspath(args.mkdisk), work)
        todo = [c for c in cases_of(runner) if args.only in c[0]]
        for _, tree, _ in todo:
            runner.trees.expect(tree)

        def one(case):
            name, tree, function = case
            try:
                function()
                return "ok", name, ""
            except Skip as e:
                return "skipped", name, str(e)
            except Differs as e:
                return "differs", name, str(e)
            finally:
                runner.trees.done(tree)

        reasons = {}
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for result, name, why in pool.map(one, todo):
                counts[result] += 1
                if result == "differs":
                    print("differs %s: %s" % (name, why), flush=True)
                elif result == "skipped":
                    reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        print("skipped %d: %s: %s%s" % (len(names), why, ", ".join(names[:4]), ", ..." if len(names) > 4 else ""))
    print("%(ok)d equal, %(skipped)d skipped, %(differs)d different" % counts)
    return 1 if counts["differs"] else 0 if counts["ok"] else 77


if __name__ == "__main__":
    sys.exit(main())
