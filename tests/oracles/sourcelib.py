# SPDX-License-Identifier: Apache-2.0
"""For the scripts beside it: git, git-lfs and bash judge what mkdisk makes of a repository.

Random cases from fixed seeds. Environment: SOURCE_TOOL (tests/support/source_tool.c). Exit status 0 (agrees),
1 (differs; the first cases are printed), 77 (cannot run here).
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

tool = os.environ["SOURCE_TOOL"]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print("skipped: %s is not installed" % program)
            sys.exit(77)


def clean_env(**more):
    """No configuration but the repository's, C locale, a fixed author."""
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
           "GIT_ATTR_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    for who in ("AUTHOR", "COMMITTER"):
        env["GIT_%s_NAME" % who] = env["GIT_%s_EMAIL" % who] = "x"
        env["GIT_%s_DATE" % who] = "2024-01-01T00:00:00Z"
    env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "")
    env.update(more)
    return env


def run(*argv, cwd=None, stdin=b"", check=True, **env):
    done = subprocess.run(argv, cwd=cwd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_env(**env), check=False)
    if check and done.returncode:
        raise SystemExit("%s: %s" % (" ".join(argv)[:200], done.stderr.decode(errors="replace")[-2000:]))
    return done


class Judge:
    """Counts verdicts; prints the first differences."""

    def __init__(self, what):
        self.what, self.cnt, self.bad, self.notes = what, 0, 0, {}

    def compare(self, expected, found, *case):
        self.cnt += 1
        if expected == found:
            return
        self.bad += 1
        if self.bad <= 10:
            print("differs: %s: reference %r, mkdisk %r, for %s" % (
                self.what, expected, found, ", ".join(repr(c) for c in case)))

    def note(self, what):
        self.notes[what] = self.notes.get(what, 0) + 1

    def finish(self):
        print("%s: %d compared, %d differ%s" % (
            self.what, self.cnt, self.bad, "".join("; %d %s" % (n, w) for w, n in sorted(self.notes.items()))))
        if self.cnt == 0 or self.bad:
            sys.exit(1)


def make_tree(root, names, rnd, content, limit=130):
    """Directories and files of random names below root: [(path, is_dir)]."""
    paths = []

    def fill(at, depth):
        for name in rnd.sample(names, min(len(names), 7 if depth else 20)):
            path = at + "/" + name if at else name
            if depth < 4 and rnd.random() < 0.45:
                os.makedirs(os.path.join(root, path))
                paths.append((path, 1))
                fill(path, depth + 1)
            else:
                with open(os.path.join(root, path), "wb") as f:
                    f.write(content(len(paths)))
                paths.append((path, 0))
            if len(paths) > limit:
                return

    fill("", 0)
    return paths


def mutate(path, rnd, wild, most=3):
    """A path with some characters made wild."""
    chars = list(path)
    for _ in range(rnd.randint(0, most)):
        i = rnd.randrange(len(chars))
        c = chars[i]
        chars[i] = rnd.choice(wild + [c, "[" + c + "]", "[!" + c + "]", "\\" + c])
    return "".join(chars)


class Scratch:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="modeldisk-oracle-")
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def seeded(seed):
    return random.Random(seed)
