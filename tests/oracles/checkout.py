#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a commit becomes: git's own checkout, check-attr and git-lfs's pointer parser judge mkdisk.

    checkout.py identity                            one commit with all that repositories have
    checkout.py conversions|attributes|pointers [ROUNDS]
"""
import os
import stat
import sys

from sourcelib import Judge, Scratch, need, run, seeded, tool

ATTRIBUTES = ["text", "crlf", "eol", "ident", "working-tree-encoding"]
ENCODINGS = ["UTF-16", "utf-16le", "UTF16BE", "UTF-16LE-BOM", "utf16be-bom", "UTF-32", "UTF-32BE", "utf32le", "utf8", ""]
CONVERSIONS = ["text", "-text", "text=auto", "text=input", "text=foo", "crlf", "-crlf", "crlf=input", "crlf=auto", "eol=lf",
               "eol=crlf", "eol=x", "ident", "ident", "-ident", "ident=1", "-working-tree-encoding", "binary"]
CONVERSIONS += ["working-tree-encoding=" + e for e in ENCODINGS]
PIECES = [b"$", b"$", b"$Id", b"$Id$", b"$Id:", b"$Id: ", b"$Id: x $", b"$Id: foo bar $", b"$Id:$", b"$Id: $", b"$Id:  $",
          b"Id", b"I", b":", b" ", b"\n", b"\n", b"\r\n", b"\r", b"a", b"hello ", b"$I", b"d$", b"\t", "é".encode(),
          "😀".encode(), b"\xef\xbb\xbf"]
ODD = [b"\0", b"\x1a", b"\x01", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\x1b", b"\x08", b"\xe2\x82"]
SETTINGS = ["text", "-text", "!text", "text=auto", "text=input", "text=", "crlf", "-crlf", "crlf=input", "eol=lf", "eol=crlf",
            "eol", "-eol", "ident", "-ident", "!ident", "ident=x", "working-tree-encoding=UTF-16", "working-tree-encoding",
            "-working-tree-encoding", "!working-tree-encoding", "m1", "-m1", "m2", "!m2", "m1=x", "binary", "-binary",
            "!binary", "filter=lfs", "diff", "-diff", "x", "-text=foo", "text=a=b", "_u", ".dot", "9n"]
ILLEGAL = ["=bad", "-", "a/b", "--text", "é", "!"]
PATTERNS = ["*", "a", "b", "*.bin", "*.txt", "foo", "a/b", "/a", "d/**", "**/a", "d/", "e/a", "[a-c]", "a\\ b", '"a b"',
            '"\\141"', '"\\303\\251"', "é", '"\\"q"', "!n", "\\!n", "[attr]m1", "[attr]m2", "[attr]binary", "[attr]m1",
            "[attr]text", "[attr] m1", "[attr]", '"[attr]m2"', '"[attr] m1"', '"a', '"bad\\q"', "x", "a*", "d/*/a", "**", ".x",
            "\\#h", "#h", "[z]", "\\[z]", "[", "d/a\\", '"a\\000b"', 'a"b"']
FILES = ["b", "ab", "foo", "a.b", ".x", "a b", "é", '"q', "a/b", "a/foo", "a2/b", "a2/x/foo", "d/a", "d/e/a", "d/e/f/a b",
         "d/e/f/x.bin", "x.bin", "d/y.txt", "d/e/[z]", "d/e/!n", "#h", "d/a\tb"]
OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"


def git(root, *argv, **more):
    return run("git", *argv, cwd=root, **more).stdout


def new_repository(root):
    run("git", "init", "-q", root)
    return root


def write_blobs(root, contents):
    """Ids of blobs of these bytes, whatever the attributes say."""
    where = os.path.join(root, ".git", "in")
    os.makedirs(where, exist_ok=True)
    names = []
    for i, content in enumerate(contents):
        names.append(os.path.join(where, str(i)))
        with open(names[-1], "wb") as f:
            f.write(content)
    return git(root, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin="\n".join(names).encode()).decode().split()


def write_tree(root, entries):
    """A tree of [(mode, name, id)], in git's order, with modes as given."""
    def key(entry):
        return entry[1] + b"/" if entry[0] == "40000" else entry[1]
    raw = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(oid)) for mode, name, oid in sorted(entries, key=key))
    return git(root, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw).decode().strip()


def write_commit(root, tree):
    return git(root, "commit-tree", "-m", "x", tree).decode().strip()


def checkout(root, commit, work):
    """git's checkout and mkdisk's, into work/git and work/mkdisk."""
    os.mkdir(work + "/git")
    git(root, "read-tree", commit)
    git(root, "--work-tree=" + work + "/git", "checkout-index", "-a", "-f")
    run(tool, "checkout", root, commit, work + "/mkdisk")
    return work + "/git", work + "/mkdisk"


def describe(path):
    st = os.lstat(path)
    if stat.S_ISLNK(st.st_mode):
        return "link", os.readlink(path)
    if stat.S_ISDIR(st.st_mode):
        return "directory", st.st_mode & 0o777, sorted(os.listdir(path))
    with open(path, "rb") as f:
        return "file", st.st_mode & 0o777, f.read()


def compare_trees(judge, theirs, ours):
    theirs, ours = os.fsencode(theirs), os.fsencode(ours)
    for at, dirs, files in os.walk(theirs):
        for name in [b"."] + dirs + files:
            path = os.path.relpath(os.path.join(at, name), theirs)
            other = os.path.join(ours, path)
            found = describe(other) if os.path.lexists(other) else None
            judge.compare(describe(os.path.join(at, name)), found, path)


def identity(_):
    judge = Judge("identity")
    os.umask(0o022)
    with Scratch() as work:
        root = new_repository(work + "/r")
        contents = [b"", b"plain\n", b"a\nb\r\n", b"$Id$\n", "é\n".encode(), b"../target", b"\0binary\r\n", b"x" * 5000,
                    b"*.txt text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16\n/sub/* export-ignore\n",
                    b"*.txt -text\n[attr]ignored-here text\n"]
        void, plain, mixed, keyword, accent, target, binary, large, top_attributes, sub_attributes = write_blobs(root, contents)
        empty = write_tree(root, [])
        sub = write_tree(root, [("100644", b".gitattributes", sub_attributes), ("100644", b"mixed.txt", mixed),
                                ("100755", b"run", plain), ("40000", b"empty", empty)])
        entries = [("100644", b".gitattributes", top_attributes), ("100644", b"void", void), ("100644", b"mixed.txt", mixed),
                   ("100644", b"key.id", keyword), ("100644", b"accent.u16", accent), ("100644", b"binary.txt", binary),
                   ("100644", b"large", large), ("120000", b"link", target), ("160000", b"module", "1" * 40),
                   ("40000", b"sub", sub), ("40000", b"empty", empty), ("100755", b"exec", plain),
                   ("100664", b"group", plain), ("100600", b"private", plain), ("100777", b"all", plain),
                   ("100644", b"\xff\xfe\n \"odd\\", plain), ("100644", "é.txt".encode(), mixed),
                   ("100644", b"n" * 255, plain), ("100644", b".gitmodules", plain), ("100644", b"export", plain),
                   ("10644", b"fifo", "2" * 40), ("160755", b"module2", "3" * 40)]
        commit = write_commit(root, write_tree(root, entries))
        theirs, ours = checkout(root, commit, work)
        compare_trees(judge, theirs, ours)
        compare_trees(judge, ours, theirs)
    return judge


def random_content(rnd):
    is_odd = rnd.random() < 0.2
    content = b"".join(rnd.choice(PIECES + ODD) if is_odd and rnd.random() < 0.2 else rnd.choice(PIECES)
                       for _ in range(rnd.choice([0, 1, 2, 3, 5, 8, 20, 60, 400])))
    if rnd.random() < 0.2:
        content = content.replace(b"\r", b"")
    if rnd.random() < 0.05:
        content += b"x" * rnd.choice([127, 128, 129, 16384, 16383, 20000]) + rnd.choice([b"\x01", b"", b"$Id$"])
    return content


def conversions(rounds):
    rnd, judge = seeded(3), Judge("conversions")
    with Scratch() as work:
        root = new_repository(work + "/r")
        words = [" ".join(rnd.sample(CONVERSIONS, rnd.choice([1, 1, 2, 2, 3, 4]))) for _ in range(rounds)]
        contents = [random_content(rnd) for _ in range(rounds)]
        lines = "".join("f%d %s\n" % (i, w) for i, w in enumerate(words)).encode()
        ids = write_blobs(root, contents + [lines])
        entries = [("100644", b"f%d" % i, oid) for i, oid in enumerate(ids[:-1])] + [("100644", b".gitattributes", ids[-1])]
        theirs, ours = checkout(root, write_commit(root, write_tree(root, entries)), work)
        for i, content in enumerate(contents):
            made = describe("%s/f%d" % (theirs, i))
            if made[2] != content:
                judge.note("were converted")
            judge.compare(made, describe("%s/f%d" % (ours, i)), words[i], content[:200])
    return judge


def random_line(rnd):
    if rnd.random() < 0.05:
        return rnd.choice(["", "#c text", "   ", "\t# x"])
    line = rnd.choice(["", "", "", " ", "\t"]) + rnd.choice(PATTERNS)
    for _ in range(rnd.choice([0, 1, 1, 2, 3, 4])):
        line += rnd.choice([" ", " ", "  ", "\t", " \r "]) + rnd.choice(SETTINGS if rnd.random() < 0.95 else ILLEGAL)
    line += rnd.choice(["", "", "\r", " "])
    if rnd.random() < 0.01:
        line += " " + "x" * (rnd.choice([2000, 2047, 2048]) - len(line) - 1)
    return line


def attributes(rounds):
    rnd, judge = seeded(4), Judge("attributes")
    paths = b"".join(f.encode() + b"\0" for f in FILES)
    with Scratch() as work:
        root = new_repository(work + "/r")
        for directory in ("a", "a2/x", "d/e/f"):
            os.makedirs(os.path.join(root, directory))
        for _ in range(rounds):
            files = []
            for directory in ("", "d/", "d/e/", "d/e/f/"):
                path = os.path.join(root, directory + ".gitattributes")
                if os.path.exists(path):
                    os.unlink(path)
                if directory and rnd.random() < 0.5:
                    continue
                text = "\n".join(random_line(rnd) for _ in range(rnd.randint(0, 8))) + rnd.choice(["\n", ""])
                with open(path, "w", encoding="utf-8", newline="") as f:
                    f.write(text if rnd.random() > 0.03 else text[:len(text) // 2] + "\0" + text[len(text) // 2:])
                files.append(directory + ".gitattributes")
            ids = git(root, "hash-object", "-w", "--no-filters", "--stdin-paths", stdin="\n".join(files).encode()).split()
            git(root, "read-tree", "--empty")
            git(root, "update-index", "--add", "--index-info", stdin=b"".join(
                b"100644 %s\t%s\n" % (oid, name.encode()) for oid, name in zip(ids, files)))
            expected = git(root, "check-attr", "--cached", "-z", "--stdin", *ATTRIBUTES, stdin=paths).split(b"\0")[2::3]
            found = run(tool, "attributes", root, stdin=paths).stdout.split(b"\0")[:-1]
            for i, value in enumerate(expected):
                judge.compare(value, found[i], FILES[i // 5], ATTRIBUTES[i % 5],
                              [open(os.path.join(root, f), "rb").read() for f in files])
    return judge


def random_pointer(rnd):
    version = b"version https://git-lfs.github.com/spec/v1"
    if rnd.random() < 0.3:
        version = b"version " + rnd.choice([b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2", b"git-lfs", b"",
                                            b"https://git-lfs.github.com/spec/v2", b"https://git-lfs.github.com/spec/v1 "])
    oid = b"oid sha256:" + OID.encode()
    if rnd.random() < 0.3:
        oid = b"oid " + rnd.choice([b"sha256:" + OID.upper().encode(), b"sha256:" + OID[1:].encode(), b"sha1:" + OID.encode(),
                                    OID.encode(), oid[4:] + b"0", b"sha256::" + OID[1:].encode(), oid[4:] + b" "])
    size = b"size 12345"
    if rnd.random() < 0.3:
        size = b"size " + rnd.choice([b"0", b"-0", b"+5", b"-1", b"9223372036854775807", b"9223372036854775808", b"01", b"1_0",
                                      b"99999999999999999999999", b"", b"+", b" 5", b"0x1", b"5 ", b"\xd9\xa1", b"-"])
    lines = [version, oid, size]
    for _ in range(rnd.choice([0, 0, 0, 1, 2, 3])):
        key = rnd.choice([b"ext-0-foo", b"ext-1-bar", b"ext-0-x", b"ext-10-foo", b"ext-0-", b"ext-0-foo-bar", b"ext--foo",
                          b"Ext-0-foo", b"ext-2-_!", b"ext-0-\xc3\xa9", b"foo"])
        lines.insert(rnd.randint(0, 3), key + b" " + rnd.choice([oid[4:], b"sha256:zz", b""]))
    choice = rnd.random()
    if choice < 0.1:
        rnd.shuffle(lines)
    elif choice < 0.2:
        del lines[rnd.randrange(len(lines))]
    elif choice < 0.3:
        lines.insert(rnd.randint(0, len(lines)), rnd.choice([b"", b"\r", b" ", b"x", b"x y", b"size 12345"]))
    text = rnd.choice([b"\n"] * 6 + [b"\r\n", b"\r\r\n", b"\r"]).join(lines)
    text += rnd.choice([b"\n"] * 4 + [b"", b"\r\n", b"\n\n", b" ", b"\xc2\xa0", b"\xe3\x80\x80\n", b"\0", b"\xc2\x85", b"\x0b"])
    if rnd.random() < 0.15:
        text = rnd.choice([b" ", b"\n", b"\xc2\xa0", b"\xef\xbb\xbf", b"\t", b"\xe2\x80\x8b", b"\xe2\x80\x8a", b"\xff"]) + text
    return text + b" " * rnd.choice([0] * 9 + [max(0, 1023 - len(text))])


def pointers(rounds):
    need("git-lfs")
    rnd, judge = seeded(5), Judge("pointers")
    with Scratch() as work:
        names, expected = [], []
        for i in range(rounds):
            names.append("%s/%d" % (work, i))
            with open(names[-1], "wb") as f:
                f.write(random_pointer(rnd))
            done = run("git", "lfs", "pointer", "--check", "--file=" + names[-1], cwd=work, check=False)
            expected.append("1" if done.returncode == 0 else "0")
        found = run(tool, "pointers", *names).stdout.decode()
        for name, want, got in zip(names, expected, found):
            with open(name, "rb") as f:
                judge.compare(want, got, f.read())
            if want == "1":
                judge.note("accepted")
    return judge


def main():
    need("git")
    kinds = {"identity": (identity, 1), "conversions": (conversions, 2000), "attributes": (attributes, 150),
             "pointers": (pointers, 300)}
    what, rounds = kinds[sys.argv[1]]
    what(int(sys.argv[2]) if len(sys.argv) > 2 else rounds).finish()


if __name__ == "__main__":
    main()
