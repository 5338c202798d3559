# SPDX-License-Identifier: Apache-2.0
"""What mkdisk has given up, tried from a program that it starts: a credential helper inherits all of it."""
import ctypes
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

MKDISK = os.environ.get('MKDISK') or sys.exit('MKDISK names no program')
NOBODY = 65534
COMMIT = '0123456789abcdef0123456789abcdef01234567'

# Tries to write, and notes what it is; its answer is no credential, so that the build ends.
HELPER = '''#!/usr/bin/env python3
import errno, json, os, sys
outcome = {}
def attempt(name, deed):
    try:
        deed()
        outcome[name] = 'done'
    except OSError as err:
        outcome[name] = errno.errorcode[err.errno]
def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
attempt('home', lambda: touch(sys.argv[1] + '/home/escaped'))
attempt('append', lambda: os.close(os.open(sys.argv[1] + '/home/.profile', os.O_WRONLY | os.O_APPEND)))
attempt('unlink', lambda: os.unlink(sys.argv[1] + '/home/.profile'))
attempt('symlink', lambda: os.symlink('x', sys.argv[1] + '/home/link'))
attempt('rename', lambda: os.rename(sys.argv[1] + '/home/.profile', sys.argv[1] + '/out/profile'))
attempt('read', lambda: open(sys.argv[1] + '/home/.profile').read())
attempt('beside the disk', lambda: touch(sys.argv[1] + '/out/beside'))
attempt('temporary', lambda: touch(sys.argv[1] + '/tmp/temporary'))
attempt('mount', lambda: os.chroot('/'))
with open('/proc/self/status') as status:
    outcome.update(line.rstrip('\\n').split(':\\t', 1) for line in status if ':\\t' in line)
with open(sys.argv[1] + '/tmp/outcome', 'w') as out:
    json.dump(outcome, out)
'''


class Demanding(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401)
        self.send_header('WWW-Authenticate', 'Basic realm="x"')
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *_):
        pass


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def outcome_of(work, port, uid, *options):
    for name in ('home', 'out', 'tmp'):
        os.mkdir(f'{work}/{name}')
    with open(f'{work}/home/.profile', 'w', encoding='ascii') as file:
        file.write('innocent\n')
    with open(f'{work}/home/.gitconfig', 'w', encoding='ascii') as file:
        file.write(f'[credential]\n\thelper = "!{work}/helper {work}"\n')
    with open(f'{work}/helper', 'w', encoding='ascii') as file:
        file.write(HELPER)
    os.chmod(f'{work}/helper', 0o755)
    for at, _, files in os.walk(work):
        for name in ['.'] + files:
            os.chown(f'{at}/{name}', uid, uid)
    env = {k: v for k, v in os.environ.items() if not k.startswith(('GIT_', 'XDG_'))}
    env.update(HOME=f'{work}/home', TMPDIR=f'{work}/tmp', GIT_CONFIG_NOSYSTEM='1', PATH='/usr/bin:/bin')
    result = subprocess.run([f'{os.path.dirname(work)}/mkdisk', *options, f'{work}/out/disk',
                             f'http://127.0.0.1:{port}/model.git', COMMIT], capture_output=True, text=True, check=False,
                            timeout=60, env=env, preexec_fn=lambda: become(uid))
    assert result.returncode == 1, result
    try:
        with open(f'{work}/tmp/outcome', encoding='ascii') as file:
            return json.load(file), result.stderr
    except OSError:
        sys.exit(f'the helper was not asked: {result.stderr}')


def kernel_limits_writes():
    return ctypes.CDLL(None).syscall(444, None, 0, 1) >= 2  # landlock_create_ruleset, as a question for the ABI


with tempfile.TemporaryDirectory(prefix='modeldisk-e2e-') as top:
    os.chmod(top, 0o755)
    subprocess.run(['cp', MKDISK, f'{top}/mkdisk'], check=True)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Demanding)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    users = [os.getuid()] + [NOBODY] * (os.getuid() == 0)
    for user in users:
        os.mkdir(f'{top}/{user}')
        got, said = outcome_of(f'{top}/{user}', server.server_port, user)
        if kernel_limits_writes():
            for what in ('home', 'append', 'unlink', 'symlink'):
                assert got[what] == 'EACCES', (what, got)
            assert got['rename'] in ('EACCES', 'EXDEV'), got
        else:
            print('note: this kernel has no Landlock that is new enough')
        for what in ('read', 'beside the disk', 'temporary'):
            assert got[what] == 'done', (what, got)
        assert got['mount'] == 'EPERM' and got['NoNewPrivs'] == '1', got
        # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
        assert int(got['CapEff'], 16) & ~0xf == 0 and (user == 0 or int(got['CapEff'], 16) == 0), got
        print(f'ok a_credential_helper_can_write_only_where_the_build_does ({user})')
        os.mkdir(f'{top}/{user}-free')
        got, said = outcome_of(f'{top}/{user}-free', server.server_port, user, '--no-sandbox')
        assert got['home'] == 'done' and got['NoNewPrivs'] == '0', got
        assert 'WITHOUT A SANDBOX' in said, said
        print(f'ok no_sandbox_is_said_loudly ({user})')
    server.shutdown()
