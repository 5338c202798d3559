#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the examples of a manual as they are written: check_examples.py MANUAL, with MKDISK and MOUNTFS in the environment.

Each block between ``` lines of the section EXAMPLES is a shell script and must end well. They run one after the other in
one directory that has a model, in a mount namespace of their own in which /mnt, /usr/local/bin and /etc/fstab are ours.
What needs the network is passed over, and said.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ENTER = '''
set -e
mount -t tmpfs none /mnt
mkdir /mnt/model
mount -t tmpfs none /usr/local/bin
cp "$MKDISK" /usr/local/bin/mkdisk
cp "$MOUNTFS" /usr/local/bin/mountfs
touch "$WORK.fstab"
mount --bind "$WORK.fstab" /etc/fstab
cd "$WORK"
exec "$@"
'''


def blocks(manual):
    with open(manual, encoding='utf-8') as file:
        section = re.search(r'^## EXAMPLES\n(.*?)(?=^## )', file.read(), re.M | re.S).group(1)
    return re.findall(r'^```\n(.*?)^```$', section, re.M | re.S)


def make_model(path):
    os.makedirs(f'{path}/original')
    with open(f'{path}/config.json', 'w', encoding='ascii') as file:
        json.dump({'hidden_size': 64}, file)
    for name, size in (('model.safetensors', 3 << 20), ('tf_model.h5', 100_000), ('flax_model.msgpack', 100_000)):
        with open(f'{path}/{name}', 'wb') as file:
            file.write(os.urandom(size))
    for path in [path] + [os.path.join(top, name) for top, dirs, files in os.walk(path) for name in dirs + files]:
        os.utime(path, (0, 0))


def make_signer(work):
    """A key with its certificate, a directory that trusts it, definitions with a partition for its signature."""
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', f'{work}/signer.key', '-out',
                    f'{work}/signer.crt', '-subj', '/CN=signer'], check=True, stderr=subprocess.DEVNULL)
    os.mkdir(f'{work}/trusted')
    shutil.copy(f'{work}/signer.crt', f'{work}/trusted')
    shutil.copytree(f'{work}/repart.d', f'{work}/signed.d')
    with open(f'{work}/signed.d/02-signature.conf', 'w', encoding='ascii') as file:
        file.write('[Partition]\nType=root-x86-64-verity-sig\nVerity=signature\nVerityMatchKey=model\n')


def run_all(scripts, work):
    """In our namespace, which is left by exec: nothing of ours stays mounted in it when the last process ends."""
    for script in scripts:
        result = subprocess.run(['timeout', '60', 'sh', '-eu', '-c', script], cwd=work, capture_output=True, text=True,
                                check=False)
        if result.returncode != 0:
            sys.exit(f'this example ended with {result.returncode}:\n{script}{result.stdout}{result.stderr}')
        print(f'ok {script.splitlines()[0]}', flush=True)


def main(manual):
    scripts = [script for script in blocks(manual) if 'https://' not in script]
    for script in blocks(manual):
        if script not in scripts:
            print(f'note: needs the network: {script.splitlines()[0]}')
    assert scripts, 'no examples'
    if os.environ.get('WORK'):
        run_all(scripts, os.environ['WORK'])
        return
    if os.getuid() != 0 or subprocess.run(['unshare', '-m', 'true'], check=False).returncode != 0:
        print('skipped: mount namespaces need root')
        sys.exit(77)
    for program in ('mtree', 'jq', 'socat', 'mkfs.erofs', 'openssl', 'veritysetup'):
        if not shutil.which(program):
            print(f'skipped: {program} is not installed')
            sys.exit(77)
    work = os.path.realpath(tempfile.mkdtemp(prefix='modeldisk-examples-'))
    try:
        make_model(f'{work}/model')
        shutil.copytree(os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'repart'), f'{work}/repart.d')
        shutil.copytree(f'{work}/model', f'{work}/tree')
        make_signer(work)
        result = subprocess.run(['unshare', '-m', 'sh', '-c', ENTER, 'sh', sys.executable, os.path.realpath(__file__),
                                 os.path.realpath(manual)], env=dict(os.environ, WORK=work), check=False)
    finally:
        subprocess.run(['rm', '-rf', work, work + '.fstab'], check=False)
    sys.exit(result.returncode)


if __name__ == '__main__':
    main(sys.argv[1])
