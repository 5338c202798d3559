#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Commits over HTTP: credentials from everywhere and to nobody else, the cache, proxies, TLS, servers that are not there.

    MKDISK=path git_fetch.py [NAME...]
"""
import base64
import glob
import os
import signal
import ssl
import subprocess
import time

from hublib import (DONE, FAILED, MKDISK, REFUSED, TOKEN, USAGE, clean_env, expect, expect_match, main, require, serve,
                    test)

NEVER = '--retries=0'
ONLY_ROOT = '--root-hash-only'


def write(path, text, mode=0o600):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as out:
        out.write(text)
    os.chmod(path, mode)
    return path


def shown(hub):
    """User and password of every request that showed some."""
    values = {dict(headers).get('Authorization') for _, _, headers in hub.requests} - {None}
    return sorted(base64.b64decode(v.partition(' ')[2]).decode() for v in values)


def host(hub):
    return hub.url.partition('://')[2]


# ---------------------------------------------------------------------- credentials


@test
def token_is_shown_only_when_the_server_asks(place):
    with serve(place.model.hub) as hub:
        place.build(hub, ONLY_ROOT, env={'GIT_PAT': TOKEN})
        expect(shown(hub), [], 'credentials')
    with serve(place.model.hub, token=TOKEN) as hub:
        place.build(hub, ONLY_ROOT, '--no-cache', env={'GIT_PAT': TOKEN})
        expect(shown(hub), ['api:' + TOKEN], 'credentials')
        place.check_secrecy()


@test
def user_may_stand_before_the_token(place):
    with serve(place.model.hub, token=TOKEN) as hub:
        place.build(hub, ONLY_ROOT, env={'GIT_PAT': 'me:' + TOKEN + '\n'})
        expect(shown(hub), ['me:' + TOKEN], 'credentials')


@test
def netrc_is_read(place):
    with serve(place.model.hub, token=TOKEN) as hub:
        write(place.path + '/.netrc', f'machine other login x password wrong\nmachine 127.0.0.1 login me password {TOKEN}\n')
        place.build(hub, ONLY_ROOT)
        expect(shown(hub), ['me:' + TOKEN], 'credentials')
        os.rename(place.path + '/.netrc', place.path + '/elsewhere')
        place.build(hub, ONLY_ROOT, '--no-cache', env={'NETRC': place.path + '/elsewhere'})
        place.build(hub, ONLY_ROOT, '--no-cache', NEVER, status=FAILED, says='asks for a token')


@test
def helper_of_git_is_asked_and_told(place):
    require('git')
    helper = write(place.path + '/helper', '#!/bin/sh\necho "$1" "$@" >>"$HOME/asked"\ncat >>"$HOME/asked"\n'
                   f'[ "$1" != get ] || printf "username=me\\npassword={TOKEN}\\n"\n', 0o700)
    write(place.path + '/.gitconfig', f'[credential]\n\thelper = "{helper}"\n')
    with serve(place.model.hub, token=TOKEN) as hub:
        place.build(hub, ONLY_ROOT)
        expect(shown(hub), ['me:' + TOKEN], 'credentials')
        with open(place.path + '/asked', encoding='utf-8') as f:
            asked = f.read()
        expect_match(r'(?s)^get get\nprotocol=http\nhost=%s\n' % host(hub), asked)
        expect_match(r'(?m)^store store$', asked)
        expect('erase' in asked, False, 'the helper was told of a refusal')


@test
def netrc_that_is_refused_gives_way_to_the_helper(place):
    require('git')
    helper = write(place.path + '/helper', f'#!/bin/sh\n[ "$1" != get ] || printf "username=me\\npassword={TOKEN}\\n"\n', 0o700)
    write(place.path + '/.gitconfig', f'[credential]\n\thelper = "{helper}"\n')
    write(place.path + '/.netrc', 'machine 127.0.0.1 login old password 0ld\n')
    with serve(place.model.hub, token=TOKEN) as hub:
        place.build(hub, ONLY_ROOT)
        expect(shown(hub), ['me:' + TOKEN, 'old:0ld'], 'credentials')


@test
def wrong_token_is_refused_and_not_said(place):
    with serve(place.model.hub, token='another') as hub:
        write(place.path + '/.netrc', 'machine 127.0.0.1 login me password another\n')
        place.build(hub, NEVER, status=FAILED, says='does not accept the token', env={'GIT_PAT': TOKEN})
        os.unlink(place.path + '/.netrc')
        place.check_secrecy()


@test
def password_of_the_url_is_used_and_not_repeated(place):
    with serve(place.model.hub, token=TOKEN) as hub:
        url = hub.url.replace('://', f'://me:{TOKEN}@')
        record = place.path + '/record'
        run = subprocess.run([MKDISK, '-q', '--json=off', '--record=' + record, place.disk, url + '/tiny', place.model.commit],
                             env=clean_env(place.path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        expect((run.returncode, run.stderr, run.stdout.decode().strip()), (0, b'', place.model.root), 'build')
        place.check_secrecy()


@test
def redirects_get_no_token(place):
    with serve(place.model.hub) as other, serve(place.model.hub, token=TOKEN, redirect=other.url) as hub:
        place.build(hub, ONLY_ROOT, env={'GIT_PAT': TOKEN})
        expect(shown(hub), ['api:' + TOKEN], 'credentials')
        place.check_secrecy(other)
        expect(shown(other), [], 'credentials')


@test
def server_behind_a_redirect_that_asks_gets_nothing(place):
    with serve(place.model.hub, token=TOKEN) as other, serve(place.model.hub, redirect=other.url) as hub:
        place.build(hub, NEVER, '--no-cache', status=FAILED, env={'GIT_PAT': TOKEN})
        place.check_secrecy(other)


# ---------------------------------------------------------------------- the cache


def cached(place):
    return sorted(glob.glob(place.path + '/.cache/modeldisk/git/*/*'))


@test
def cache_is_for_its_owner_and_spares_requests(place):
    with serve(place.model.hub) as hub:
        place.build(hub, ONLY_ROOT)
        first = len(hub.requests)
        place.build(hub, ONLY_ROOT)
        again = [path for _, path, _ in hub.requests[first:] if '/lfs/' not in path]
        expect(again, [], 'requests to git')
    expect([os.path.basename(p) for p in cached(place)], [place.model.commit, 'lock'], 'what is kept')
    expect(os.path.basename(os.path.dirname(cached(place)[0])).startswith('tiny-'), True, 'a name for people')
    for path in glob.glob(place.path + '/.cache/modeldisk/**/', recursive=True):
        if os.path.basename(os.path.dirname(path)) in ('modeldisk', 'git'):
            expect(os.stat(path).st_mode & 0o077, 0, 'permissions of ' + path)


@test
def damaged_cache_is_fetched_again(place):
    with serve(place.model.hub) as hub:
        place.build(hub, ONLY_ROOT)
        for name in ('pack/*.pack', 'pack/*.idx'):
            for damage in ('flip', 'cut', 'remove'):
                path, = glob.glob(cached(place)[0] + '/objects/' + name)
                os.chmod(path, 0o600)
                with open(path, 'r+b') as f:
                    middle = os.path.getsize(path) // 2
                    if damage == 'cut':
                        f.truncate(middle)
                    if damage == 'flip':
                        f.seek(middle)
                        byte = f.read(1)
                        f.seek(middle)
                        f.write(bytes([byte[0] ^ 0x40]))
                if damage == 'remove':
                    os.unlink(path)
                before = len(hub.requests)
                place.build(hub, ONLY_ROOT)
                git = [p for _, p, _ in hub.requests[before:] if '/lfs/' not in p]
                # a flipped byte of the index may be one that nothing is read by
                expect(bool(git) or (damage, name) == ('flip', 'pack/*.idx'), True, f'{damage} {name}: fetched again')


@test
def no_cache_leaves_nothing(place):
    with serve(place.model.hub) as hub:
        place.build(hub, ONLY_ROOT, '--no-cache')
    expect(os.path.exists(place.path + '/.cache'), False, 'a cache')
    expect(glob.glob(place.path + '/mkdisk-*'), [], 'temporary files')


@test
def cache_that_cannot_be_made_is_done_without_unless_asked_for(place):
    blocked = write(place.path + '/file', '')
    with serve(place.model.hub) as hub:
        place.build(hub, ONLY_ROOT, env={'XDG_CACHE_HOME': blocked})
        place.build(hub, ONLY_ROOT, '--cache-dir=' + blocked, status=FAILED, says='cannot make the cache')
        place.build(hub, ONLY_ROOT, '--cache-dir=' + place.path + '/a/b', env={'XDG_CACHE_HOME': blocked})
    expect(len(glob.glob(place.path + '/a/b/git/tiny-*/*')), 2, 'files in the cache')


def start(place, hub, *args):
    command = [MKDISK, '--progress=off', '--json=off', ONLY_ROOT, *args, place.disk, hub.url + '/tiny', place.model.commit]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(place.path))


@test
def two_at_the_same_time_fetch_once(place):
    with serve(place.model.hub) as hub:
        both = [start(place, hub) for _ in range(4)]
        for run in both:
            out, err = run.communicate(timeout=60)
            expect((run.returncode, out.decode().strip()), (0, place.model.root), err.decode())
        packs = [p for method, p, _ in hub.requests if method == 'POST' and p.endswith('/git-upload-pack')]
        expect(len(packs), 1, 'packs that were fetched')


@test
def killed_fetch_is_begun_anew(place):
    with serve(place.model.hub, 'git:silent:0') as hub:
        run = start(place, hub)
        while not hub.requests:
            time.sleep(0.01)
        while not glob.glob(place.path + '/.cache/modeldisk/git/*/*.part'):
            time.sleep(0.01)
        run.kill()
        run.communicate()
        hub.faults.clear()
        place.build(hub, ONLY_ROOT)
    expect([os.path.basename(p) for p in cached(place)], [place.model.commit, 'lock'], 'what is kept')


@test
def signal_ends_a_fetch(place):
    with serve(place.model.hub, 'git:silent:0') as hub:
        run = start(place, hub)
        while not hub.requests:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=20)
        expect(run.returncode, FAILED, 'exit status')
        expect_match('interrupted', err.decode())


# ---------------------------------------------------------------------- the network


@test
def silent_server_is_given_up(place):
    with serve(place.model.hub, 'git:silent:0') as hub:
        place.build(hub, NEVER, '--timeout=1', status=FAILED, says='/tiny.*too slow|/tiny.*[Tt]ime')


@test
def server_that_is_not_there_is_named(place):
    class Nobody:
        url = 'http://127.0.0.1:9'
    place.build(Nobody, NEVER, status=FAILED, says='127.0.0.1:9.*onnect')
    Nobody.url = 'http://hub.invalid'
    place.build(Nobody, NEVER, status=FAILED, says='hub.invalid.*resolve')


@test
def proxy_of_the_environment_is_used(place):
    class Far:
        url = 'http://hub.invalid:8080'
    with serve(place.model.hub) as proxy:  # it looks at the path of what it is asked for, not at the host
        place.build(Far, ONLY_ROOT, env={'http_proxy': proxy.url})
        expect(all(path.startswith('http://') for _, path, _ in proxy.requests), True, 'requests of a proxy')
        place.build(Far, ONLY_ROOT, NEVER, '--no-cache', status=FAILED,
                    env={'http_proxy': proxy.url, 'no_proxy': 'hub.invalid'})


def make_certificates(place):
    """An authority of our own and a server's certificate for localhost."""
    require('openssl')
    for args in (['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj',
                  '/CN=test authority', '-addext', 'keyUsage=critical,keyCertSign'],
                 ['req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'key.pem', '-out', 'request.pem', '-subj', '/CN=localhost',
                  '-addext', 'subjectAltName=DNS:localhost'],
                 ['x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
                  '-copy_extensions', 'copy', '-out', 'cert.pem']):
        subprocess.run(['openssl', *args], cwd=place.path, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@test
def certificates_are_verified(place):
    make_certificates(place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place.path + '/cert.pem', place.path + '/key.pem')
    with serve(place.model.hub, token=TOKEN) as hub:
        hub.socket = context.wrap_socket(hub.socket, server_side=True)
        port = hub.server_address[1]
        trusted = '--ca-file=' + place.path + '/ca.pem'
        hub.url = f'https://localhost:{port}'
        place.build(hub, ONLY_ROOT, '--no-cache', trusted, env={'GIT_PAT': TOKEN})
        before = len(hub.requests)
        place.build(hub, NEVER, '--no-cache', status=FAILED, says='certificate is not trusted.*--ca-file')
        hub.url = f'https://127.0.0.1:{port}'  # which the certificate does not name
        place.build(hub, NEVER, '--no-cache', trusted, status=FAILED, says='certificate is not trusted')
        expect(len(hub.requests), before, 'requests')
        with serve(place.model.hub) as plain:
            hub.url, hub.token, hub.redirect = f'https://localhost:{port}', None, plain.url
            place.build(hub, NEVER, '--no-cache', trusted, status=REFUSED, says='read along')
            expect(plain.requests, [], 'requests without TLS')


@test
def mistakes_in_a_url_are_the_user_s(place):
    for url in ('http://a@b@c', 'http://h\\@evil', 'http://h:port', 'http://h h'):
        class Wrong:
            pass
        Wrong.url = url
        place.build(Wrong, status=USAGE, says='not a URL')
    with serve(place.model.hub) as hub:
        place.build(hub, '--lfs-url=ftp://x/', status=USAGE, says='not a URL')


if __name__ == '__main__':
    main()
