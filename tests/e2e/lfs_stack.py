#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real HTTP stack: nginx with TLS and ranges has the objects and hands git and batches on to the hub.

    MKDISK=path lfs_stack.py [NAME...]
"""
import contextlib
import os
import re
import signal
import subprocess
import time

from hublib import FAILED, MKDISK, REFUSED, TOKEN, Fault, Skip, clean_env, expect, expect_match, main, serve, test, web


@contextlib.contextmanager
def stack(place, hub, **settings):
    """nginx before hub: its URL, its access log, the file of its authority. Links lead to nginx."""
    if not web.find_nginx():
        raise Skip('nginx is not installed')
    directory = os.path.join(place.path, 'nginx')
    with web.nginx(directory, place.model.hub, hub.url, **settings) as url:
        hub.storage = url
        yield url, os.path.join(directory, 'access.log'), os.path.join(directory, 'ca.pem')


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


@test
def tls_all_the_way_gives_the_right_disk(place):
    with serve(place.model.hub, token=TOKEN, open_links=True) as hub, stack(place, hub, tls=True) as (url, log, ca):
        place.build(url, '--ca-file=' + ca, env={'GIT_PAT': TOKEN})
        expect(len(re.findall(r'GET /tiny/lfs/objects/\S+ HTTP/1.1" 200', read(log))), 2, 'objects from nginx')
    place.check_secrecy()


@test
def authority_nobody_named_is_not_trusted(place):
    with serve(place.model.hub) as hub, stack(place, hub, tls=True) as (url, log, _):
        place.build(url, status=FAILED, says='certificate')
        expect(read(log), '', 'requests')


@test
def links_into_tls_of_strangers_are_not_followed(place):
    with serve(place.model.hub) as hub, stack(place, hub, tls=True) as (_, log, _):
        place.build(hub, status=FAILED, says=r'safetensors": https://localhost:\d+: its certificate is not trusted')
        expect(read(log), '', 'requests')


@test
def certificate_of_another_host_is_not_trusted(place):
    with serve(place.model.hub) as hub, stack(place, hub, tls=True, names='DNS:hub.example') as (_, log, ca):
        place.build(hub, '--ca-file=' + ca, status=FAILED, says='its certificate is not trusted')
        expect(read(log), '', 'requests')


@test
def redirect_out_of_tls_is_refused(place):
    with serve(place.model.hub, address='127.0.0.2') as plain, serve(place.model.hub) as hub:
        with stack(place, hub, tls=True) as (url, _, ca):
            hub.faults = [Fault(f'batch:redirect:0:{plain.url}')]
            place.build(url, '--ca-file=' + ca, status=REFUSED, says='redirect to http://127.0.0.2:.* others can read')
        expect(plain.requests, [], 'requests without TLS')


@test
def interrupted_build_asks_only_for_the_rest(place):
    """A slow server, a signal in mid-transfer; then the same command at full speed."""
    with serve(place.model.hub) as hub:
        with stack(place, hub, rate='2m'):
            process = subprocess.Popen([MKDISK, '--progress=off', place.disk, hub.url + '/tiny', place.model.commit],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_env(place.path))
            part = os.path.join(os.path.dirname(place.disk), '.disk.mkdisk-journal')
            await_progress(part)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            expect_match('the same command goes on with it', said.decode())
        with stack(place, hub) as (_, log, _):
            before = len(read(log))
            place.build(hub, says='going on with what an earlier run left')
            answers = re.findall(r'GET /tiny/lfs/objects/\S+ HTTP/1.1" (\d+) (\d+)', read(log)[before:])
    sizes = [len(content) for content in place.model.objects]
    expect('206' in [status for status, _ in answers], True, f'a range was asked for: {answers}')
    expect(sum(int(length) for _, length in answers) < sum(sizes), True, 'less than everything was sent')


def await_progress(journal):
    """Until the journal notes that of each object something is on the disk."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), open(journal, 'rb') as f:
            noted = f.read()[88:]
            if noted and all(any(noted[i:i + 8]) for i in range(0, len(noted), 8)):
                return
        time.sleep(0.05)
    raise AssertionError('no progress in a minute')


if __name__ == '__main__':
    main()
