#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a small model repository as one finds it on a hub: make_model.py DIR [--lfs]

DIR/tiny.git becomes a bare Git repository with one commit whose id depends on nothing but this file: config, tokenizer,
README, .gitattributes, a symlink, a sub-directory, and two safetensors shards. With --lfs the shards are Git LFS objects
(lying where git-lfs keeps them in a bare repository). Prints the commit id.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys

WHEN = "2024-01-01T00:00:00Z"


def stream(seed, length):
    """length bytes that depend on seed only."""
    return hashlib.shake_256(seed.encode()).digest(length)


def safetensors(tensors):
    """A safetensors file: 8 bytes header length, JSON header, data (github.com/huggingface/safetensors, format)."""
    header, at, data = {}, 0, []
    for name, rows, columns in tensors:
        size = rows * columns * 2
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, at + size]}
        data.append(stream(name, size))
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data)


def files():
    config = {"architectures": ["TinyForCausalLM"], "hidden_size": 256, "num_hidden_layers": 2, "vocab_size": 1000}
    tokens = {"version": "1.0", "model": {"type": "BPE", "vocab": {"t%d" % i: i for i in range(1000)}}}
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\nA model that knows nothing.\n",
        "config.json": json.dumps(config, indent=2).encode() + b"\n",
        "tokenizer.json": json.dumps(tokens).encode(),
        "model-00001-of-00002.safetensors": safetensors([("embed.weight", 1000, 256), ("layer.0.weight", 2048, 1024)]),
        "model-00002-of-00002.safetensors": safetensors([("layer.1.weight", 2049, 1023), ("head.weight", 256, 1000)]),
        "original/params.json": b'{"dim": 256}\n',
    }


def git(directory, *args, stdin=None, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    clean.update(GIT_CONFIG_NOSYSTEM="1", HOME=directory, **(env or {}))
    done = subprocess.run(["git", "-C", directory, *args], input=stdin, stdout=subprocess.PIPE, env=clean, check=True)
    return done.stdout.decode().strip()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"


def pointer(content):
    return POINTER % (hashlib.sha256(content).hexdigest().encode(), len(content))


def keep_lfs_object(repository, content):
    oid = hashlib.sha256(content).hexdigest()
    directory = os.path.join(repository, "lfs/objects", oid[:2], oid[2:4])
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, oid), "wb") as out:
        out.write(content)


def make_repository(repository, content, links=()):
    """A bare repository with one commit: content is {name: bytes}, links is [(name, target)]. Gives the commit's id."""
    os.makedirs(repository)
    git(repository, "init", "-q", "--bare", "-b", "main")
    index = ["%s blob %s\t%s" % (mode, git(repository, "hash-object", "-w", "--stdin", stdin=blob), name)
             for mode, name, blob in [("100644", name, blob) for name, blob in sorted(content.items())]
             + [("120000", name, target.encode()) for name, target in links]]
    index_env = {"GIT_INDEX_FILE": os.path.join(repository, "make-model-index")}
    git(repository, "update-index", "--index-info", env=index_env,
        stdin="".join(line.replace(" blob ", " ") + "\n" for line in index).encode())
    tree = git(repository, "write-tree", env=index_env)
    os.unlink(index_env["GIT_INDEX_FILE"])
    who = {"GIT_%s_%s" % (role, part): value for role in ("AUTHOR", "COMMITTER")
           for part, value in (("NAME", "modeldisk"), ("EMAIL", "modeldisk@localhost"), ("DATE", WHEN))}
    commit = git(repository, "commit-tree", tree, "-m", "A tiny model", env=who)
    git(repository, "update-ref", "refs/heads/main", commit)
    return commit


def main():
    directory, lfs = sys.argv[1], "--lfs" in sys.argv[2:]
    repository = os.path.join(directory, "tiny.git")
    tracked = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n" if lfs else b"*.safetensors binary\n"
    content = {".gitattributes": tracked, **files()}
    shards = {name: blob for name, blob in content.items() if lfs and name.endswith(".safetensors")}
    content.update((name, pointer(blob)) for name, blob in shards.items())
    commit = make_repository(repository, content, [("model.json", "config.json")])
    for blob in shards.values():
        keep_lfs_object(repository, blob)
    print(commit)


if __name__ == "__main__":
    main()
