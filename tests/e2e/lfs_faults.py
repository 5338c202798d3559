#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hub that misbehaves: each fault ends in the right disk or in one sentence, never in a wrong disk or a leak.

    MKDISK=path lfs_faults.py [NAME...]
"""
import contextlib
import os
import socket
import time

from hublib import FAILED, REFUSED, TOKEN, Fault, Skip, expect, expect_match, main, serve, test

NEVER = '--retries=0'


def recovers(place, *faults, args=(), says=None, **settings):
    with serve(place.model.hub, *faults, **settings) as hub:
        place.build(hub, *args, says=says)
        expect([f.left for f in hub.faults if f.left not in (0, float('inf'))], [], 'faults that did not happen')
        return hub


def fails(place, *faults, says, status=FAILED, args=(NEVER,), **settings):
    with serve(place.model.hub, *faults, **settings) as hub:
        place.build(hub, *args, status=status, says=says)
        return hub


# ---------------------------------------------------------------------- nothing wrong


@test
def good_hub_gives_the_directory_s_root_hash(place):
    hub = recovers(place)
    expect(len(hub.batches), 1, 'batch requests')
    expect(place.said, '', 'words')


@test
def every_request_asks_for_bytes_as_they_are(place):
    hub = recovers(place)
    for _, path, headers in hub.requests:
        if '/lfs/' in path:
            expect(dict(headers).get('Accept-Encoding'), 'identity', 'Accept-Encoding of ' + path)


@test
def root_hash_only_writes_nothing(place):
    with serve(place.model.hub) as hub:
        place.build(hub, '--root-hash-only')


# ---------------------------------------------------------------------- what passes


@test
def busy_server_is_asked_again(place):
    recovers(place, 'batch:status:1:429,Retry-After=1', 'object:status:1:429,Retry-After=1')


@test
def rate_limit_of_hugging_face_is_understood(place):
    began = time.monotonic()
    recovers(place, 'batch:status:1:429,RateLimit="resolvers";r=0;t=2', says=r'HTTP status 429; tried again in 2 s')
    expect(time.monotonic() - began >= 2, True, 'waited as long as told')


@test
def server_errors_pass(place):
    recovers(place, 'batch:status:1:500', 'batch:status:1:503', 'object:status:1:502', 'object:status:1:504')


@test
def broken_connections_pass(place):
    recovers(place, 'batch:cut', 'object:cut:2', 'object:rubbish', 'batch:rubbish')


@test
def cut_transfer_goes_on_where_it_was(place):
    hub = recovers(place, 'object:cut', args=('-j1',))
    ranges = [dict(headers).get('Range') for method, path, headers in hub.requests
              if method == 'GET' and '/lfs/objects/' in path]
    size = len(place.model.objects[0])
    expect(ranges[0:3], [None, f'bytes={size // 2}-{size - 1}', None], 'ranges')


@test
def silent_server_is_given_up_and_asked_again(place):
    recovers(place, 'batch:silent', 'object:silent', 'object:stall', args=('--timeout=1',))


@test
def dripping_server_is_given_up_and_asked_again(place):
    recovers(place, 'object:drip', args=('--timeout=1',))


@test
def range_that_is_ignored_is_no_harm(place):
    recovers(place, 'object:cut', 'object:ignore-range', args=('-j1',))


@test
def range_elsewhere_is_not_taken(place):
    recovers(place, 'object:cut', 'object:wrong-range', args=('-j1',))


@test
def server_without_ranges_is_asked_for_all(place):
    recovers(place, 'object:cut', 'object:no-range', args=('-j1',))


@test
def wrong_bytes_once_are_fetched_anew(place):
    recovers(place, 'object:wrong-bytes', says='has not the SHA-256 of its pointer; fetched anew')


@test
def wrong_length_once_is_fetched_anew(place):
    recovers(place, 'object:long', 'object:short', args=('-j1',))


@test
def wrong_length_without_a_number_once_is_fetched_anew(place):
    recovers(place, 'object:long-chunked', 'object:short-chunked', args=('-j1',))


@test
def expired_link_is_asked_for_again(place):
    hub = recovers(place, 'object:expired')
    expect(len(hub.batches), 2, 'batch requests')


@test
def short_lived_link_is_renewed_before_it_is_used(place):
    recovers(place, 'object:status:1:503,Retry-After=2', expires_in=1)


@test
def object_that_is_busy_is_asked_for_again(place):
    recovers(place, 'batch:object-error:1:503')


@test
def batch_that_is_too_large_is_made_smaller(place):
    hub = recovers(place, max_batch=1)
    expect([len(b) for b in hub.batches], [2, 1, 1], 'objects of batches')


@test
def redirect_on_the_same_server_is_followed(place):
    with serve(place.model.hub) as hub:
        hub.faults = [Fault(f'batch:redirect:2:{hub.url}'), Fault(f'object:redirect:2:{hub.url}')]
        place.build(hub)


# ---------------------------------------------------------------------- what does not


@test
def answers_against_the_protocol_are_refused(place):
    for mode, says in (('malformed', 'not JSON'), ('html', r'not JSON.*"<html>'), ('huge', 'more than 2 MiB'),
                       ('missing', 'neither a link for it nor a reason'),
                       ('no-actions', 'neither a link for it nor a reason'), ('twice', 'comes twice'),
                       ('href:1:file:///etc/passwd', 'no http or https URL'), ('href:1:nowhere', 'no http or https URL'),
                       ('bad-header', 'a header that no HTTP request can have'),
                       ('endless-header', 'header of more than 256 KiB'),
                       ('redirect:1:file://', 'redirect'), ('redirect:1:ftp://127.0.0.1', 'redirect')):
        fails(place, 'batch:' + mode, status=REFUSED, says=says)


@test
def another_transfer_is_refused(place):
    fails(place, 'batch:transfer:1:xet', status=REFUSED, says='transfer by "xet"; only basic was offered')


@test
def size_other_than_the_pointer_s_is_refused(place):
    fails(place, 'batch:wrong-size', status=REFUSED, says='the server has 47.* bytes, its pointer says 47')


@test
def wrong_bytes_again_and_again_are_refused(place):
    fails(place, 'object:wrong-bytes:0', status=REFUSED, args=(), says=r'safetensors": what the server sends is not the '
          r'object [0-9a-f]{64}: SHA-256 differs')


@test
def wrong_length_again_and_again_is_refused(place):
    for mode in ('long', 'short', 'long-chunked', 'short-chunked'):
        fails(place, f'object:{mode}:0', status=REFUSED, args=(), says='the server sends .*bytes, the pointer says')


def address_elsewhere():
    """One of this machine's that is not loopback."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as s, contextlib.suppress(OSError):
        s.connect(('192.0.2.1', 9))  # nothing is sent
        if not s.getsockname()[0].startswith('127.'):
            return s.getsockname()[0]
    raise Skip('no address but loopback here')


@test
def server_elsewhere_does_not_lead_to_this_machine(place):
    with serve(place.model.hub) as here, serve(place.model.hub, address=address_elsewhere()) as hub:
        place.build(hub)
        os.unlink(place.disk)
        for where in ('batch', 'object'):
            for host in ('127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0'):
                hub.faults = [Fault(f'{where}:redirect:0:http://{host}:{here.server_port}')]
                place.build(hub, status=REFUSED, says="this machine's own")
        hub.faults = [Fault(f'batch:href:0:{here.url}/x')]
        place.build(hub, status=REFUSED, says="this machine's own")
        expect(here.requests, [], 'requests to this machine')


@test
def endless_redirects_end(place):
    with serve(place.model.hub) as hub:
        hub.faults = [Fault(f'batch:redirect:0:{hub.url}')]
        place.build(hub, status=REFUSED, says='more than 10 redirects')


@test
def each_refusal_of_an_object_has_its_sentence(place):
    for code, says in ((404, 'not found, or private and no token was given'), (410, 'removed by its owner'),
                       (422, 'request to be invalid'), (403, 'forbidden without a token'), (409, 'HTTP status 409')):
        fails(place, f'batch:object-error:0:{code}', says=r'safetensors": .*' + says + '.*"As was asked for"')


@test
def each_refusal_of_a_batch_has_its_sentence(place):
    for status, code, says in (
            (FAILED, '403,X-Error-Code=GatedRepo', r'gated: accept the conditions at http://[0-9.:]*/tiny with'),
            (FAILED, '404,X-Error-Code=RepoNotFound', 'not found, or private and no token'),
            (FAILED, '404', 'not found, or private and no token'), (FAILED, '422', 'request to be invalid'),
            (FAILED, '403', 'forbidden without a token'), (REFUSED, '501', 'has no Git LFS'),
            (FAILED, '507', 'no space left'), (FAILED, '509', 'bandwidth limit'), (FAILED, '418', 'HTTP status 418'),
            (FAILED, '429,Retry-After=600', r'rate limited by the server until 20..-..-.. ..:..:.. UTC'),
            (FAILED, '503,Retry-After=301', 'HTTP status 503')):
        fails(place, 'batch:status:0:' + code, status=status, says=says, args=())


@test
def patience_ends(place):
    fails(place, 'object:status:0:500', args=('--retries=2',), says=r'HTTP status 500.*; tried 3 times')


@test
def server_that_is_gone_is_told(place):
    with serve(place.model.hub, storage='http://127.0.0.1:1') as hub:
        place.build(hub, '--retries=1', status=FAILED, says=r'http://127.0.0.1:1: .*; tried 2 times')


@test
def name_that_is_unknown_is_told(place):
    with serve(place.model.hub, storage='http://no-such-host.invalid') as hub:
        place.build(hub, '--retries=1', status=FAILED, says=r'http://no-such-host.invalid: .*resolve.*; tried 2 times')


@test
def proxy_of_the_environment_is_used(place):
    """The hub is the proxy, too: it takes whole URLs for their paths."""
    with serve(place.model.hub, storage='http://storage.invalid') as hub:
        place.build('http://hub.invalid', env={'http_proxy': hub.url})
        hosts = {dict(headers)['Host'] for _, _, headers in hub.requests}
        expect(hosts, {'hub.invalid', 'storage.invalid'}, 'hosts asked for')


# ---------------------------------------------------------------------- secrets


@test
def token_is_shown_to_the_hub_that_asks(place):
    with serve(place.model.hub, token=TOKEN) as hub:
        place.build(hub, env={'GIT_PAT': TOKEN})
    place.check_secrecy()


@test
def token_is_not_shown_to_a_hub_that_does_not_ask(place):
    with serve(place.model.hub) as hub:
        place.build(hub, env={'GIT_PAT': TOKEN})
        place.check_secrecy(hub)


@test
def token_is_not_shown_where_links_lead(place):
    with serve(place.model.hub, address='127.0.0.2') as other:
        with serve(place.model.hub, token=TOKEN, storage=other.url) as hub:
            place.build(hub, env={'GIT_PAT': TOKEN})
        expect(len(other.requests), 2, 'requests to the other host')
        place.check_secrecy(other)


@test
def other_host_that_asks_for_a_token_gets_none(place):
    with serve(place.model.hub, address='127.0.0.2', token='of another host') as other:
        with serve(place.model.hub, token=TOKEN, storage=other.url) as hub:
            place.build(hub, env={'GIT_PAT': TOKEN}, status=FAILED, says='asks for a token')
        place.check_secrecy(other)


@test
def redirect_to_another_host_gets_neither_token_nor_link_header(place):
    header = {'X-Secret': 'linkSecretForOneHost', 'Authorization': 'Bearer linkSecretForOneHost'}
    with serve(place.model.hub, address='127.0.0.2') as other:
        with serve(place.model.hub, token=TOKEN, open_links=True, link_header=header) as hub:
            hub.faults = [Fault(f'object:redirect:0:{other.url}')]
            place.build(hub, env={'GIT_PAT': TOKEN})
        expect(len(other.requests), 2, 'requests to the other host')
        place.check_secrecy(other)
        place.check_secrecy(other, secret='linkSecretForOneHost')


@test
def batch_redirected_to_another_host_goes_without_the_token(place):
    with serve(place.model.hub, address='127.0.0.2', token=TOKEN) as other:
        with serve(place.model.hub, token=TOKEN) as hub:
            hub.faults = [Fault(f'batch:redirect:0:{other.url}')]
            place.build(hub, env={'GIT_PAT': TOKEN}, status=FAILED, says='redirected to another server')
        place.check_secrecy(other)


@test
def header_of_a_link_is_sent_as_it_is(place):
    with serve(place.model.hub, link_header={'X-Key': 'a b=c', 'Authorization': 'Bearer abc'}) as hub:
        place.build(hub)
    place.check_secrecy(secret='Bearer abc')


@test
def wrong_token_is_told_and_not_repeated(place):
    with serve(place.model.hub, token='another') as hub:
        run = place.build(hub, env={'GIT_PAT': TOKEN}, status=FAILED)
    expect_match('GIT_PAT|token', run.stderr.decode())
    place.check_secrecy()


@test
def rate_limited_without_a_token_means_once_more_with_it(place):
    with serve(place.model.hub, 'batch:status:1:429,Retry-After=200') as hub:
        place.build(hub, env={'GIT_PAT': TOKEN})
        expect(['Authorization' in dict(h) for _, path, h in hub.requests if path.endswith('/batch')], [False, True],
               'batch requests with a token')


if __name__ == '__main__':
    main()
