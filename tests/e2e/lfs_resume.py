#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds that end before their time, and the same command again: one root hash, and nothing fetched twice that was there.

    MKDISK=path lfs_resume.py [NAME...]
    MKDISK=path KILLS=100 lfs_resume.py killed_at_random_moments_one_root_hash
"""
import contextlib
import copy
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

from hublib import (DEADLINE, FAILED, MKDISK, REFUSED, Skip, clean_env, expect, expect_match, main, make_model, model_server,
                    serve, test)

MIB = 1 << 20
PART, JOURNAL = '.disk.mkdisk-part', '.disk.mkdisk-journal'
# tails and whole blocks, one batch and several, one content twice
SIZES = {'a.safetensors': 9 * MIB + 77, 'b.safetensors': 700, 'c.safetensors': 5 * MIB, 'd.safetensors': 3 * MIB + 4095,
         'e.safetensors': 12 * MIB + 5000, 'f.safetensors': 4096, 'g.safetensors': 2 * MIB - 1, 'h.safetensors': 7 * MIB}
SAME = {'i/same.safetensors': 'd.safetensors'}
TOTAL = sum(SIZES.values())


# ---------------------------------------------------------------------- a larger model


class LargeModel:
    """Eight objects in nine files, with a README beside them."""

    def __init__(self, path):
        self.hub = os.path.join(path, 'hub')
        tree, repository = os.path.join(path, 'tree'), os.path.join(self.hub, 'tiny.git')
        content = {name: make_model.stream(name, size) for name, size in SIZES.items()}
        content.update((name, content[same]) for name, same in SAME.items())
        objects = list(content.values())
        content.update({'README.md': b'# Larger\n', '.gitattributes': b'*.safetensors filter=lfs diff=lfs merge=lfs -text\n'})
        for name, data in content.items():
            os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
            with open(os.path.join(tree, name), 'wb') as file:
                file.write(data)
        pointers = {name: make_model.pointer(data) for name, data in content.items() if name.endswith('.safetensors')}
        self.commit = make_model.make_repository(repository, {**content, **pointers})
        for data in objects:
            make_model.keep_lfs_object(repository, data)
        self.root = self.mkdisk(path, tree, '--root-hash-only')
        self.mkdisk(path, tree, '--force', disk=os.path.join(path, 'right'))
        with open(os.path.join(path, 'right'), 'rb') as disk:
            self.digest = hashlib.sha256(disk.read()).hexdigest()
        self.length = os.path.getsize(os.path.join(path, 'right'))
        os.unlink(os.path.join(path, 'right'))
        shutil.rmtree(tree)

    @staticmethod
    def mkdisk(path, tree, *args, disk='none'):
        run = subprocess.run([MKDISK, '--quiet', '--json=off', *args, disk, tree], stdout=subprocess.PIPE, env=clean_env(path),
                             check=True)
        return run.stdout.decode().strip()


@functools.lru_cache(1)
def large_model_at(path):
    return LargeModel(path)


making = threading.Lock()


def with_large_model(function):
    """The test's place, with the larger model in it; all tests share one."""

    @functools.wraps(function)
    def run(place):
        with making:
            place.model = large_model_at(os.path.join(os.path.dirname(place.path), 'large'))
        function(place)

    return run


# ---------------------------------------------------------------------- a hub that counts and waits


class Counting(model_server.Handler):
    """Counts what it serves, and stands still where it is told to."""

    def send_file(self, status, path, start, end, headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(end - start + 1))
        self.end_headers()
        with open(path, 'rb') as source:
            source.seek(start)
            while start <= end and not self.server.closing.is_set():
                piece = source.read(min(end + 1 - start, 256 << 10))
                self.server.count(len(piece))
                self.wfile.write(piece)
                start += len(piece)
        self.close_connection = start <= end


@contextlib.contextmanager
def hub_of(place, limit=None):
    """served: bytes of objects; behind limit nothing is served any more until go() is called."""
    with serve(place.model.hub, handler=Counting) as hub:
        go = threading.Event()
        hub.served, hub.limit, hub.go = 0, limit, go.set

        def count(n):
            if hub.limit is not None and hub.served + n > hub.limit:
                go.wait(DEADLINE)
            hub.served += n

        hub.count = count
        yield hub
        go.set()


def command(place, url, *args):
    return [MKDISK, '--progress=off', '--json=off', *args, place.disk, url + '/tiny', place.model.commit]


def out(place, name=''):
    return os.path.join(os.path.dirname(place.disk), name)


def noted(place):
    """Bytes that the journal says are written; -1: there is no journal."""
    try:
        with open(out(place, JOURNAL), 'rb') as journal:
            content = journal.read()
    except FileNotFoundError:
        return -1
    return sum(struct.unpack('<%dQ' % ((len(content) - 88) // 8), content[88:])) if len(content) > 88 else 0


def wait_for(what, condition):
    for _ in range(DEADLINE * 50):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError('waited in vain for ' + what)


@contextlib.contextmanager
def running(place, hub, *args):
    """mkdisk under way; killed afterwards whatever happens."""
    with subprocess.Popen(command(place, hub.url, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_env(place.path)) as run:
        try:
            yield run
        finally:
            run.kill()


def end(run, sig=None):
    if sig:
        run.send_signal(sig)
    said = run.communicate(timeout=DEADLINE)[1].decode()
    return run.returncode, said


def check_disk(place):
    with open(place.disk, 'rb') as disk:
        expect(hashlib.sha256(disk.read()).hexdigest(), place.model.digest, 'SHA-256 of the disk')
    expect(sorted(os.listdir(out(place))), ['disk'], 'files')


def finish(place, *args, says=None):
    """The same command to its end; how many bytes of objects it fetched."""
    with hub_of(place) as hub:
        place.build(hub, *args, says=says)
        check_disk(place)
        return hub.served


def interrupted(place, sig, served=20 * MIB):
    """mkdisk ended by a signal in the midst of the transfers: status and words."""
    with hub_of(place, limit=served) as hub, running(place, hub) as run:
        wait_for('transfers', lambda: hub.served > served - 4 * MIB and noted(place) > served // 2)
        return end(run, sig)


# ---------------------------------------------------------------------- ends


@test
@with_large_model
def undisturbed_build_leaves_nothing_beside_the_disk(place):
    expect(finish(place), TOTAL, 'bytes fetched')


@test
@with_large_model
def killed_at_random_moments_one_root_hash(place):
    """Each run is killed after a while; now and then one is faster than that, and the next begins anew."""
    kills, chance = int(os.environ.get('KILLS', 7)), random.Random(5)
    begun = time.monotonic()
    finish(place)
    whole, done = time.monotonic() - begun, 0
    os.unlink(place.disk)
    with hub_of(place) as hub:
        while done < kills:
            with running(place, hub) as run:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    run.wait(chance.uniform(0, 0.8 * whole))
                status, said = end(run, signal.SIGKILL)
            expect((status in (0, -signal.SIGKILL), said.count('\n') <= 1), (True, True), f'end: {status} {said}')
            done += status != 0
            if os.path.exists(place.disk):  # killed too late, perhaps before the journal was removed
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(out(place, JOURNAL))
                check_disk(place)
                os.unlink(place.disk)
    finish(place)


@test
@with_large_model
def signal_leaves_what_is_there_and_says_so(place):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        status, said = interrupted(place, sig)
        expect(status, FAILED, 'exit status')
        expect_match(r'stays in \.disk\.mkdisk-part; the same command goes on', said)
        expect_match(r'interrupted', said)
        expect(sorted(os.listdir(out(place))), [JOURNAL, PART], 'files')
        there = noted(place)
        expect(finish(place, says='going on with what an earlier run left') <= TOTAL - there, True, 'nothing is fetched twice')
        os.unlink(place.disk)


@test
@with_large_model
def killed_build_goes_on_where_it_was(place):
    status, _ = interrupted(place, signal.SIGKILL)
    expect(status, -signal.SIGKILL, 'exit status')
    there = noted(place)
    expect(finish(place) <= TOTAL - there, True, 'nothing is fetched twice')


@test
@with_large_model
def another_command_starts_over(place):
    interrupted(place, signal.SIGKILL)
    with hub_of(place) as hub:
        run = subprocess.run(command(place, hub.url, '--exclude=a.*'), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=clean_env(place.path), check=True, timeout=DEADLINE)
    expect_match('was of another command or source', run.stderr.decode())
    expect(sorted(os.listdir(out(place))), ['disk'], 'files')


@test
@with_large_model
def damaged_part_is_found_out(place):
    """Bytes and journal are changed at random; the disk is right all the same."""
    chance = random.Random(7)
    interrupted(place, signal.SIGKILL)
    for name in (PART, JOURNAL):
        os.rename(out(place, name), os.path.join(place.path, name))
    for _ in range(4):
        for name in (PART, JOURNAL):
            shutil.copyfile(os.path.join(place.path, name), out(place, name))
        with open(out(place, PART), 'r+b') as part:
            for _ in range(50):
                part.seek(chance.randrange(os.path.getsize(out(place, PART))))
                part.write(b'\x5a')
        with open(out(place, JOURNAL), 'r+b') as journal:
            journal.seek(88 + 8 * chance.randrange(8))
            journal.write(struct.pack('<Q', chance.randrange(2 * MIB)))
        finish(place)
        os.unlink(place.disk)


@test
@with_large_model
def second_run_is_refused_while_the_first_goes_on(place):
    with hub_of(place, limit=20 * MIB) as hub, running(place, hub) as run:
        wait_for('transfers', lambda: noted(place) > MIB)
        place.build(hub, status=FAILED, says='another mkdisk is writing it')
        hub.go()
        status, _ = end(run)
        expect(status, 0, 'exit status')
    check_disk(place)


@test
@with_large_model
def unexpected_root_hash_leaves_nothing(place):
    with hub_of(place) as hub:
        place.build(hub, '--expect-root-hash=' + '5' * 64, status=REFUSED,
                    says='the root hash is ' + place.model.root + ', expected ' + '5' * 64)
    expect(os.listdir(out(place)), [], 'files')


@test
@with_large_model
def listing_fetches_no_object(place):
    with hub_of(place) as hub:
        run = subprocess.run(command(place, hub.url, '--list=json', '--exclude=b.*'), stdout=subprocess.PIPE,
                             env=clean_env(place.path), check=True)
        expect((hub.served, hub.batches), (0, []), 'fetched')
    found = json.loads(run.stdout)
    expect(found['lfs_count'], len(SIZES) + len(SAME) - 1, 'objects')
    expect(found['excluded'], [{'path': 'b.safetensors', 'pattern': 'b.*'}], 'left out')
    kinds = {f['path']: (f['kind'], f.get('size')) for f in found['files']}
    expect(kinds['a.safetensors'], ('lfs', SIZES['a.safetensors']), 'a file')
    expect(kinds['README.md'], ('git', 9), 'a file')
    expect(os.listdir(out(place)), [], 'files')


# ---------------------------------------------------------------------- disks that are written where they are


def check_in_place(place, path):
    """Interrupted, gone on with, refused; in the end the right bytes. The target is as long as the disk."""

    def digest():
        with open(path, 'rb') as disk:
            return hashlib.sha256(disk.read()).hexdigest()

    def interrupt(sig):
        with hub_of(place, limit=30 * MIB) as hub, running(place, hub, '--force') as run:
            wait_for('transfers', lambda: noted_in(path, 8192) > 18 * MIB)
            return end(run, sig)

    interrupt(signal.SIGKILL)
    there = noted_in(path, 8192)
    with hub_of(place) as hub:
        place.build(hub, says='going on with what an earlier run left')
        expect(hub.served <= TOTAL - there, True, 'nothing is fetched twice')
    expect(digest(), place.model.digest, 'SHA-256 of the disk')
    status, said = interrupt(signal.SIGINT)
    expect(status, FAILED, 'exit status')
    expect_match(f'stays in {path}; the same command goes on', said)
    with hub_of(place) as hub:
        refused = place.run('--expect-root-hash=' + '5' * 64, place.disk, hub.url + '/tiny', place.model.commit)
        expect(refused.returncode, REFUSED, 'exit status')
    with open(path, 'rb') as disk:
        expect(disk.read(24576), bytes(24576), 'head of what is no disk')
    with hub_of(place) as hub:
        place.build(hub)
        expect(hub.served, TOTAL, 'bytes fetched')
    expect(digest(), place.model.digest, 'SHA-256 of the disk')


def noted_in(path, off):
    """As noted(), for a journal inside of something."""
    with open(path, 'rb') as disk:
        disk.seek(off)
        content = disk.read(88 + 8 * len(SIZES))
    return sum(struct.unpack('<%dQ' % len(SIZES), content[88:])) if content.startswith(b'mkdisk journal 1') else -1


@test
@with_large_model
def block_device_is_gone_on_with(place):
    if os.geteuid() != 0:
        raise Skip('needs root for a loop device')
    backing, length = os.path.join(place.path, 'backing'), place.model.length + 4 * MIB
    with open(backing, 'wb') as f:
        f.truncate(length)
    # the same disk in a file, undisturbed
    place.model = copy.copy(place.model)
    with hub_of(place) as hub:
        built = place.run(f'--size={length}', '--sector-size=4096', place.disk, hub.url + '/tiny', place.model.commit)
    place.model.root = built.stdout.decode().strip()
    with open(place.disk, 'rb') as disk:
        place.model.digest = hashlib.sha256(disk.read()).hexdigest()
    made = subprocess.run(['losetup', '--find', '--show', '--sector-size=4096', backing], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    if made.returncode != 0:
        raise Skip('no loop devices here')
    place.disk = made.stdout.decode().strip()
    try:
        check_in_place(place, place.disk)
    finally:
        subprocess.run(['losetup', '--detach', place.disk], check=True)


@test
@with_large_model
def file_that_cannot_be_replaced_is_gone_on_with(place):
    """A file that is a mount point, as docker run -v makes it."""
    if os.geteuid() != 0:
        raise Skip('needs root to mount')
    with open(place.disk, 'wb') as f:
        f.truncate(place.model.length)
    if subprocess.run(['mount', '--bind', place.disk, place.disk], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise Skip('cannot mount here')
    try:
        check_in_place(place, place.disk)
        expect(os.listdir(out(place)), ['disk'], 'files')
    finally:
        subprocess.run(['umount', '-l', place.disk], check=True)


# ---------------------------------------------------------------------- failures that pass


@test
@with_large_model
def server_that_goes_away_leaves_what_is_there(place):
    with hub_of(place, limit=20 * MIB) as hub:
        with running(place, hub, '--retries=0') as run:
            wait_for('transfers', lambda: noted(place) > 10 * MIB)
            hub.closing.set()
            hub.go()
            status, said = end(run)
    expect(status, FAILED, 'exit status')
    expect_match('the same command goes on with it', said)
    there = noted(place)
    # not a name any more: nothing changes
    run = subprocess.run(command(place, 'http://no-such-host.invalid', '--retries=0'), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=DEADLINE,
                         env=clean_env(place.path, RES_OPTIONS='timeout:1 attempts:1'))
    expect(run.returncode, FAILED, 'exit status')
    expect_match('no-such-host.invalid', run.stderr.decode())
    expect(noted(place), there, 'journal')
    expect(finish(place) <= TOTAL - there, True, 'nothing is fetched twice')


@contextlib.contextmanager
def small_file_system(kind, size, *options):
    """A file system of its own, mounted from a file."""
    if os.geteuid() != 0 or not shutil.which('mkfs.' + kind):
        raise Skip('needs root and mkfs.' + kind)
    with tempfile.TemporaryDirectory(prefix='modeldisk-small-') as top:
        image, there = os.path.join(top, 'image'), os.path.join(top, 'mnt')
        os.mkdir(there)
        with open(image, 'wb') as f:
            f.truncate(size)
        subprocess.run(['mkfs.' + kind, '-q', *options, image], check=True)
        if subprocess.run(['mount', '-o', 'loop', image, there], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise Skip('no loop mounts here')
        try:
            yield there
        finally:
            subprocess.run(['umount', '-l', there], check=True)


@test
@with_large_model
def disk_that_does_not_fit_is_refused_first(place):
    with small_file_system('ext4', 32 * MIB) as there, hub_of(place) as hub:
        place.disk = os.path.join(there, 'disk')
        place.build(hub, status=FAILED, says=r'the disk needs \d+ bytes .* has only \d+')
        expect(hub.served, 0, 'bytes fetched')
        expect(os.listdir(there), ['lost+found'], 'files')


@test
@with_large_model
def file_system_that_fills_up_leaves_what_is_there(place):
    """ext2 cannot reserve: somebody else takes the room that was there in the beginning."""
    with small_file_system('ext2', 120 * MIB) as there:
        place.disk = os.path.join(there, 'disk')
        filler = os.path.join(there, 'filler')
        with hub_of(place, limit=14 * MIB) as hub, running(place, hub) as run:
            wait_for('transfers', lambda: noted(place) > 4 * MIB)
            with contextlib.suppress(OSError), open(filler, 'wb') as f:
                while os.statvfs(there).f_bfree * os.statvfs(there).f_frsize > 8 * MIB:
                    os.write(f.fileno(), bytes(MIB))
                    os.fsync(f.fileno())
            hub.go()
            status, said = end(run)
        expect(status, FAILED, 'exit status')
        expect_match('No space left on device', said)
        expect_match('the same command goes on with it', said)
        left = noted(place)
        os.unlink(filler)
        with hub_of(place) as hub:
            place.build(hub)
            expect(hub.served <= TOTAL - left, True, 'nothing is fetched twice')
        with open(place.disk, 'rb') as disk:
            expect(hashlib.sha256(disk.read()).hexdigest(), place.model.digest, 'SHA-256 of the disk')


if __name__ == '__main__':
    main()
