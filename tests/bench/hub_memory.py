#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that mkdisk needs for a model of any size: hub_memory.py [GB (default: 595)] [--mkdisk PATH]

The shards are sparse files of zeros that nginx serves on loopback, so that neither this machine's disk nor its memory
has to hold the model; mkdisk fetches, proves and hashes every byte of them with --root-hash-only. Says its peak memory,
its threads' time and the rate. The largest model that Privatemode publishes has 595 GB."""
import argparse
import hashlib
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests' / 'support'))
import make_model  # noqa: E402
import web  # noqa: E402

SHARD = 4 * 10**9
PIECE = bytes(1 << 20)


def make_shards(repository, total):
    """Sparse LFS objects, each 4 GB and a little more than the one before, so that none is another: {name: pointer}."""
    digest, at, content = hashlib.sha256(), 0, {}
    for i in range(max(total // SHARD, 1)):
        size = min(SHARD, total) + i * 5000
        while at < size:
            digest.update(PIECE[:size - at])
            at += min(len(PIECE), size - at)
        oid = digest.hexdigest()
        path = os.path.join(repository + '.objects', oid[:2], oid[2:4], oid)
        os.makedirs(os.path.dirname(path))
        with open(path, 'wb') as out:
            out.truncate(size)
        content[f'model-{i:05}.safetensors'] = make_model.POINTER % (oid.encode(), size)
    return content


def measure(args, work):
    repository = os.path.join(work, 'hub', 'model.git')
    content = make_shards(repository, args.gigabytes * 10**9)
    content['.gitattributes'] = b'*.safetensors filter=lfs diff=lfs merge=lfs -text\n'
    commit = make_model.make_repository(repository, content)
    os.mkdir(os.path.join(repository, 'lfs'))
    os.rename(repository + '.objects', os.path.join(repository, 'lfs', 'objects'))
    port = web.free_port('127.0.0.1')
    server = [sys.executable, str(ROOT / 'tests/support/model_server.py'), os.path.join(work, 'hub'), '--port', str(port)]
    with web.nginx(os.path.join(work, 'nginx'), os.path.join(work, 'hub'), f'http://127.0.0.1:{port}') as url:
        hub = subprocess.Popen([*server, '--storage', url], stdout=subprocess.PIPE)
        try:
            hub.stdout.readline()
            began = time.monotonic()
            subprocess.run([args.mkdisk, '--layout=flat', '--json=off', '--root-hash-only', os.path.join(work, 'disk'),
                            url + '/model', commit], check=True)
            seconds = time.monotonic() - began
        finally:
            hub.terminate()
            hub.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{args.gigabytes} GB in {len(content) - 1} objects: peak memory {used.ru_maxrss / 1024:.0f} MiB, '
          f'{seconds:.0f} s, {args.gigabytes / seconds:.2f} GB/s')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('gigabytes', nargs='?', type=int, default=595)
    parser.add_argument('--mkdisk', default=str(ROOT / 'build-bench/mkdisk/mkdisk'))
    args = parser.parse_args()
    # holes of files in memory take none, also while they are sent
    work = tempfile.mkdtemp(prefix='modeldisk-memory-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)
    try:
        os.chmod(work, 0o755)
        measure(args, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
