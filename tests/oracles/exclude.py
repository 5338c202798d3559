#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exclusion patterns: git check-ignore judges gitignore, git-lfs and bash's rm -rf judge privatemode.

    exclude.py gitignore|privatemode [ROUNDS]       compares
    exclude.py gitignore|privatemode --table        prints cases for tests/unit: PATTERNS, PATH, directory?, verdict
"""
import os
import shutil
import sys

from sourcelib import Judge, Scratch, make_tree, mutate, need, run, seeded, tool

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:%064x\nsize 5\n"
WILD = ["*", "?", "**", "**/", "/**"]
NAMES = ["a", "b", "ab", "abc", "foo", "bar", "foobar", "a.b", ".a", "b-c", "a b", "[a]", "a]", "!a", "#b", "a*b", "\\a",
         "a\\b", "é", "ü", "A", "x.bin", ".h.bin", "y.safetensors", "0", "_", "~", "^", "-a", "a ", "original", "€"]
GIT_ATOMS = ["a", "b", "ab", "foo", "bar", ".", "c", "*", "*", "*", "**", "**", "/", "/", "/", "?", "[ab]", "[!a]", "[^b]",
             "[a-c]", "[]a]", "[!]]", "[a-", "[[:alpha:]]", "[[:space:]]", "[[:punct:]]", "[[:cntrl:]]", "[[:print:]]",
             "[[:graph:]]", "[[:alnum:]b]", "[[:x:]]", "[\\]a]", "[a\\-c]", "\\", "\\*", "\\?", "\\[", " ", "\\ ", "!", "#",
             ".bin", "x", "[", "-", "]", "[[a]", "[a[:digit:]]", "[b-a]", "[--0]", "é", "[é]", "/**/", "**/", "/**", "***",
             "***/"]
PM_ATOMS = ["a", "b", "ab", "foo", "original", ".", "c", "*", "*", "*", "**", "**", "/", "/", "/", "?", "[ab]", "[!a]",
            "[^b]", "[a-c]", "[]a]", "[!]]", "[a-", "[b-a]", "[[a]", "[\\]a]", "[a\\-c]", "\\", "\\*", "\\?", "\\[", " ",
            "!", "#", ".bin", "x", "[", "-", "]", "é", "[é]", "[!é]", "[à-ü]", "[:]", "[a^b]", "[a!]", "[!a!b]", "[--0]",
            "/**/", "**/", "/**", "***", "***/", "{a,b}", "./", ".h", "+(", "/(", ")", "\u00a0", "€", "[€]", "^"]
# What the script does with the list: see verity/verity.sh of github.com/edgelesssys/privatemode-public. Absolute paths are
# left out here: bash would remove the host's.
SCRIPT = r"""set -eo pipefail
readarray -t excluded_files <<<"$(echo "${LIST}" | tr ',' '\n')"
shopt -s nullglob
words=(); set -f
for word in ${excluded_files[@]}; do
    case "$word" in /*) ;; .. | ../* | */.. | */../*) exit 9 ;; *) words+=("$word") ;; esac
done
set +f
rm -rf ${words[@]}
"""


def verdicts(mode, text, paths):
    lines = "".join("%s %s %d\n" % (text.encode().hex(), p.encode().hex(), d) for p, d in paths)
    done = run(tool, mode, stdin=lines.encode())
    return dict(zip((p for p, _ in paths), done.stdout.decode().split())), done.stderr.decode()


def dropped(found, path):
    """Is the path or a directory above it dropped?"""
    parts = path.split("/")
    return any(found["/".join(parts[:i])] == "D" for i in range(1, len(parts) + 1))


def random_pattern(rnd, atoms, paths):
    text = "".join(rnd.choice(atoms) for _ in range(rnd.choice([1, 1, 2, 2, 3, 3, 4, 5, 6])))
    if rnd.random() < 0.3:
        text = mutate(rnd.choice(paths)[0], rnd, WILD)
    if rnd.random() < 0.1:
        text = "/" + text
    return text + "/" if rnd.random() < 0.15 else text


def gitignore_case(rnd, root, paths):
    """One list of patterns: {path: ignored?}, or None."""
    patterns = []
    for _ in range(rnd.choice([1, 1, 1, 2, 3, 4])):
        text = random_pattern(rnd, GIT_ATOMS, paths)
        patterns.append("!" + text if rnd.random() < 0.1 else text)
    patterns = "\n".join(patterns)
    with open(root + ".patterns", "w", encoding="utf-8") as f:
        f.write(patterns + "\n")
    done = run("git", "-c", "core.excludesFile=" + root + ".patterns", "check-ignore", "--no-index", "-v", "-n", "-z",
               "--stdin", cwd=root, stdin=b"".join(p.encode() + b"\0" for p, _ in paths), check=False)
    field = done.stdout.split(b"\0")
    return patterns, {field[i + 3].decode(): field[i + 2] != b"" and not field[i + 2].startswith(b"!")
                      for i in range(0, len(field) - 1, 4)}


def gitignore(rounds, table):
    rnd, judge = seeded(1), Judge("gitignore")
    with Scratch() as work:
        root = work + "/r"
        os.mkdir(root)
        run("git", "init", "-q", root)
        paths = make_tree(root, NAMES + ["\t", "\x01", "\x0b", "\x7f"], rnd, lambda i: b"")
        for _ in range(rounds):
            patterns, expected = gitignore_case(rnd, root, paths)
            found, said = verdicts("gitignore", patterns, paths)
            if "E" in found.values():
                judge.compare("accepted", said, patterns)
                continue
            for path, is_dir in paths:
                judge.compare(expected[path], dropped(found, path), patterns, path, is_dir)
            if table:
                print_some(rnd, patterns, paths, found, expected.get)
    return judge


def privatemode_case(rnd, root, paths):
    """One list: {path: K, P or D}, or None when the script fails with it."""
    text = ",".join(random_pattern(rnd, PM_ATOMS, paths) for _ in range(rnd.choice([1, 1, 1, 2, 3])))
    lfs = run("git", "lfs", "ls-files", "-n", "--exclude=" + text, cwd=root, check=False)
    copy = root + ".copy"
    shutil.rmtree(copy, ignore_errors=True)
    run("cp", "-rl", root, copy)
    shutil.rmtree(copy + "/.git")
    rm = run("bash", "-c", SCRIPT, cwd=copy, check=False, LIST=text)
    if lfs.returncode or rm.returncode:
        return text, None
    kept = set(lfs.stdout.decode().split("\n"))

    def verdict(path, is_dir):
        if not os.path.lexists(os.path.join(copy, path)):
            return "D"
        return "K" if is_dir or path in kept else "P"
    return text, {p: verdict(p, d) for p, d in paths}


def privatemode(rounds, table):
    need("git-lfs", "bash")
    rnd, judge = seeded(2), Judge("privatemode")
    with Scratch() as work:
        root = work + "/r"
        os.mkdir(root)
        run("git", "init", "-q", root)
        paths = make_tree(root, NAMES + ["{a,b}", "a(", "+(b)"], rnd, lambda i: (POINTER % i).encode(), 60)
        run("git", "add", "-A", "-f", cwd=root)
        run("git", "commit", "-qm", "x", cwd=root)
        for _ in range(rounds):
            text, expected = privatemode_case(rnd, root, paths)
            found, said = verdicts("privatemode", text, paths)
            if "E" in found.values() or not expected:
                # what the script fails with must be refused or harmless; what is not supported says so
                judge.note("lists refused" if "E" in found.values() else "lists only the script fails with")
                if expected and not any(s in said for s in ("not supported", 'refuses to remove "."')):
                    judge.compare("accepted", said, text)
                continue
            for path, is_dir in paths:
                judge.compare(expected[path], "D" if dropped(found, path) else found[path], text, path, is_dir)
            if table:
                print_some(rnd, text, paths, found, expected.get)
    return judge


def print_some(rnd, text, paths, found, expected):
    """Printable cases whose parents stay, so that the verdict is the path's own."""
    good = [(p, d) for p, d in paths if (p + text).isprintable() and
            not ("/" in p and dropped(found, os.path.dirname(p)))]
    hits = [c for c in good if found[c[0]] != "K"]
    for path, is_dir in rnd.sample(hits, min(2, len(hits))) + rnd.sample(good, min(1, len(good))):
        print("\t".join((text, path, str(is_dir), found[path])), file=sys.stdout)


def main():
    need("git")
    mode, table = sys.argv[1], "--table" in sys.argv
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 and not table else 300 if table else 60
    judge = {"gitignore": gitignore, "privatemode": privatemode}[mode](rounds, table)
    if not table:
        judge.finish()


if __name__ == "__main__":
    main()
