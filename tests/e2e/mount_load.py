#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many readers of all kinds while the disk is scribbled on and repaired: the true bytes, or EIO.

mount_load.py [SECONDS [ROUNDS]]: every round has a mount of its own, so that nothing is in the kernel's caches.
"""
import json
import os
import random
import subprocess
import sys
import time

from mountlib import DEADLINE, flat_disk, gpt_disk, main, mount, require, require_fuse, sandbox, start

LOAD = os.environ.get('LOAD') or sys.exit('LOAD names no program')
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 4
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
READERS = 64
MIB = 1 << 20

# Junk of up to 128 KiB in up to 16 places at a time. SIGTERM ends it with everything repaired.
SCRIBBLER = '''
import os, random, signal, sys, time
rand, fd, end = random.Random(5), os.open(sys.argv[1], os.O_RDWR), []
original = open(sys.argv[1], 'rb').read()
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
print('scribbling', flush=True)
count = written = 0
places = []
while not end or places:
    if not end:
        at = rand.randrange(len(original))
        length = min(rand.choice((1, 1, 512, 4096, 131072)), len(original) - at)
        os.pwrite(fd, bytes([original[at] ^ 1 + rand.randrange(255)]) + rand.randbytes(length - 1), at)
        places.append((at, length))
        count, written = count + 1, written + length
        time.sleep(rand.random() / 500)
    if end or len(places) > rand.randrange(17):
        at, length = places.pop(rand.randrange(len(places)))
        os.pwrite(fd, original[at:at + length], at)
assert open(sys.argv[1], 'rb').read() == original
print(count, written)
'''


def make_tree():
    tree, rand = sandbox.dir('tree'), random.Random(31)
    for name, size in (('model.safetensors', 24 * MIB + 4097), ('sub/weights.bin', 8 * MIB), ('tail', 5000), ('empty', 0)):
        os.makedirs(os.path.dirname(f'{tree}/{name}'), exist_ok=True)
        with open(f'{tree}/{name}', 'wb') as file:
            file.write(rand.randbytes(size))
    for i in range(1500):
        os.makedirs(f'{tree}/many/{i % 7}', exist_ok=True)
        with open(f'{tree}/many/{i % 7}/file-{i:05}-{"x" * (i % 40)}', 'wb') as file:
            file.write(rand.randbytes(i))
    os.symlink('sub/weights.bin', f'{tree}/link')
    return tree


def load(m, tree, seed, seconds=SECONDS):
    result = subprocess.run([LOAD, m.path, tree, str(seconds), str(READERS), str(seed)], capture_output=True,
                            text=True, check=False, timeout=seconds + DEADLINE)
    assert result.returncode == 0, f'{result.stderr}{m.log()}'
    return json.loads(result.stdout)


def note(what, counts, took):
    ways = {way: n for way, n in counts.items() if way != 'bytes'}
    print(f'note: {what}: {counts["bytes"] / 1e9:.2f} GB in {took:.0f} s compared, none wrong; (good, refused): {ways}')


def attack(disk, root, tree, seed):
    m = mount(disk, root, '--log-format=json')
    scribbler = start(sys.executable, '-c', SCRIBBLER, disk, stdout=subprocess.PIPE, text=True)
    assert scribbler.stdout.readline() == 'scribbling\n'
    began = time.monotonic()
    counts = load(m, tree, seed)
    took = time.monotonic() - began
    scribbler.terminate()
    places, written = scribbler.communicate(timeout=DEADLINE)[0].split()
    assert scribbler.returncode == 0
    note(f'scribbled on {places} places, {written} bytes', counts, took)
    good, refused = (sum(n[i] for way, n in counts.items() if way != 'bytes') for i in (0, 1))
    assert good > 0 and refused > 0, counts
    # repaired: nothing of the attack stays in any cache
    counts = load(m, tree, seed + 1, 1)
    assert all(n[1] == 0 for way, n in counts.items() if way != 'bytes'), counts
    assert m.end() == 0
    kinds = {json.loads(line).get('event') for line in m.log().splitlines()}
    assert 'media-failure' not in kinds and 'proof-failure' in kinds, kinds


def a_disk_that_is_scribbled_on_gives_true_bytes_or_eio():
    tree = make_tree()
    disks = flat_disk(tree)[:2], gpt_disk(tree)
    for number in range(ROUNDS):
        attack(*disks[number % 2], tree, seed=41 + 2 * number)


require('mkfs.erofs', 'veritysetup', 'sgdisk')
require_fuse()
main([a_disk_that_is_scribbled_on_gives_true_bytes_or_eio])
