# SPDX-License-Identifier: Apache-2.0
"""Mounts as services: late disks, readiness, numbers on demand, descriptors handed over, and the examples of docs/examples."""
import configparser
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from mountlib import (DEADLINE, FAILED, NOBODY, USAGE, add_hash_tree, as_user, find_bytes, flat_disk, flip, is_mounted, main,
                      make_image, mount, mounted, read_line, refused, require, require_fuse, run, sandbox, skip, start,
                      wait_until)

try:
    import yaml
except ImportError:
    skip('python3-yaml is not installed')

EXAMPLES = os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', '..', 'docs', 'examples')
CONTENT = random.Random(8).randbytes(4 << 20)


def make_tree():
    tree = sandbox.dir('tree')
    with open(f'{tree}/weights.bin', 'wb') as file:
        file.write(CONTENT)
    return tree


TREE = make_tree()
DISK, ROOT, LENGTH = flat_disk(TREE)


def check_content(where):
    with open(f'{where}/weights.bin', 'rb') as file:
        assert file.read() == CONTENT


# ---- late disks ----

def after(seconds, work):
    thread = threading.Timer(seconds, work)
    thread.start()
    return thread


def a_disk_that_appears_late_is_waited_for():
    late = sandbox.file('late.disk')
    thread = after(0.3, lambda: os.link(DISK, late))
    with mounted(late, ROOT, '--wait=60') as m:
        check_content(m.path)
    thread.join()
    empty = sandbox.file('empty.disk')
    open(empty, 'wb').close()  # a device without its medium
    thread = after(0.3, lambda: os.replace(late, empty))
    with mounted(empty, ROOT, '-o', 'wait=60') as m:
        check_content(m.path)
    thread.join()
    image, hashes = sandbox.file('image'), sandbox.file('hashes')
    make_image(TREE, image)
    root = add_hash_tree(image, hashes)
    os.rename(hashes, hashes + '.later')
    thread = after(0.3, lambda: os.rename(hashes + '.later', hashes))
    result = subprocess.run([sandbox.mountfs, '--verify', image, f'--hash-device={hashes}', '--wait=60',
                             f'--root-hash={root}'], capture_output=True, text=True, check=False, timeout=DEADLINE)
    thread.join()
    assert result.returncode == 0, result


def waiting_ends_with_the_time_and_with_a_signal():
    began = time.monotonic()
    status, said = refused(sandbox.file('never'), sandbox.dir('never-mnt'), f'--root-hash={ROOT}', '--wait=1')
    assert status == FAILED and 'No such file' in said and time.monotonic() - began >= 1, said
    process = start(sandbox.mountfs, '-f', sandbox.file('never'), sandbox.file('never-mnt'), f'--root-hash={ROOT}',
                    '--wait=600')
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == -signal.SIGTERM
    status, said = refused(DISK, '/dev/null', f'--root-hash={ROOT}', '--daemon', '-f')
    assert status == USAGE and 'exclude' in said, said


# ---- numbers ----

def ask(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        client.connect(path)
        text = b''
        while chunk := client.recv(4096):
            text += chunk
    assert text.endswith(b'}\n'), text
    return json.loads(text)


def stats_count_what_is_read_and_what_fails():
    path = sandbox.file('stats')
    bad = sandbox.file('bad.disk')
    shutil.copy(DISK, bad)
    flip(bad, find_bytes(DISK, CONTENT[3 << 20:(3 << 20) + 64]))
    m = mount(bad, ROOT, f'--stats={path}', '--threads=2')
    assert os.stat(path).st_mode & 0o077 == 0
    before = ask(path)
    assert (before['pid'], before['threads']) == (m.process.pid, 2), before
    with open(f'{m.path}/weights.bin', 'rb') as file:
        assert file.read(1 << 20) == CONTENT[:1 << 20]
    after_read = ask(path)
    for key, least in (('proven_bytes', 1 << 20), ('data_blocks_hashed', 256), ('requests', 1), ('hash_blocks_hashed', 0)):
        assert after_read[key] >= before[key] + least, (key, before, after_read)
    assert after_read['hashing_seconds'] > 0 and 0 <= after_read['cache_hit_rate'] <= 1, after_read
    assert before['proof_failures'] == 0, before  # after a read, what is ahead of it may have been met already
    try:
        with open(f'{m.path}/weights.bin', 'rb') as file:
            file.read()
        raise AssertionError('a bad block was given out')
    except OSError:
        pass
    failed = ask(path)
    assert failed['proof_failures'] >= 1 and failed['failed_requests'] >= 1 and failed['distinct_failures'] == 1, failed
    assert failed['media_failures'] == 0
    clients = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    for client in clients:  # who does not read holds nobody up
        client.connect(path)
    assert ask(path)['uptime_seconds'] >= failed['uptime_seconds']
    for client in clients:
        client.close()
    assert m.end() == 0
    with mounted(DISK, ROOT, f'--stats={path}'):  # the socket of the last one is replaced
        assert ask(path)['proof_failures'] == 0
        status, said = refused(DISK, sandbox.dir('second'), f'--root-hash={ROOT}', f'--stats={path}')
        assert status == FAILED and 'in use' in said, said


def stats_replace_no_file_of_somebody_else():
    path = sandbox.file('precious')
    with open(path, 'w', encoding='ascii') as file:
        file.write('mine')
    status, _ = refused(DISK, sandbox.dir('precious-mnt'), f'--root-hash={ROOT}', f'--stats={path}')
    assert status == FAILED
    with open(path, encoding='ascii') as file:
        assert file.read() == 'mine'
    status, _ = refused(DISK, sandbox.file('precious-mnt'), f'--root-hash={ROOT}', '--stats=' + 'x' * 200)
    assert status == USAGE


# ---- who mounts ----

def the_example_hands_a_descriptor_over():
    where = sandbox.dir('handed')
    program = f'import runpy, sys; sys.argv = ["hand_over.py"] + sys.argv[1:]; runpy.run_path("{EXAMPLES}/hand_over.py", ' \
              'run_name="__main__")'
    script = 'exec 9>"$0"; exec "$@"'
    fifo = sandbox.file('ready')
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)
    process = start(sys.executable, '-c', program, str(NOBODY), where, 'sh', '-c', script, fifo, sandbox.mountfs, '-f',
                    '--ready-fd=9', f'--root-hash={ROOT}', DISK, stderr=subprocess.PIPE, text=True)
    with open(fifo, 'rb') as told:
        assert told.readline() == b'ready\n', process.stderr.read()
    check_content(where)
    as_user(NOBODY, lambda: check_content(where))
    server = int(run('pgrep', '-P', str(process.pid)))
    with open(f'/proc/{server}/status', encoding='ascii') as file:
        status = dict(line.split(':\t', 1) for line in file.read().splitlines() if ':\t' in line)
    assert status['Uid'].split() == [str(NOBODY)] * 4 and int(status['CapPrm'], 16) == 0, status
    os.kill(server, signal.SIGTERM)
    assert process.wait(DEADLINE) == 0, process.stderr.read()
    process.stderr.close()
    assert not is_mounted(where)


def a_user_namespace_is_enough():
    result = subprocess.run(['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', 'unshare', '-rm',
                             sandbox.mountfs, f'--root-hash={ROOT}', '--with', DISK, 'sha256sum', 'weights.bin'],
                            capture_output=True, text=True, check=False, timeout=DEADLINE)
    if result.returncode != 0 and 'unshare' in result.stderr:
        print('note: no user namespaces here')
        return
    assert result.returncode == 0, result


def what_forbids_mounting_is_named():
    """Without CAP_SYS_ADMIN, and with the switches of user namespaces in every position."""
    if subprocess.run(['unshare', '-m', 'true'], check=False).returncode != 0:
        print('note: no mount namespaces here')
        return
    where, zero = sandbox.dir('forbidden'), sandbox.file('zero')
    with open(zero, 'w', encoding='ascii') as file:
        file.write('0\n')
    for setup, words in (('true', 'unshare -rm'),
                         (f'mount --bind {zero} /proc/sys/user/max_user_namespaces', 'max_user_namespaces=0')):
        result = subprocess.run(
            ['unshare', '-m', 'sh', '-c', f'{setup} && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$0" "$@"',
             sandbox.mountfs, '-f', DISK, where, f'--root-hash={ROOT}'],
            capture_output=True, text=True, check=False, timeout=DEADLINE)
        assert result.returncode == FAILED and words in result.stderr and 'not permitted' in result.stderr, result


# ---- the examples ----

def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=['='], comment_prefixes=['#'])
    parser.optionxform = str
    with open(f'{EXAMPLES}/mountfs@.service', encoding='utf-8') as file:
        parser.read_string(file.read())
    return parser


def the_example_unit_is_one():
    with open(f'{EXAMPLES}/mountfs@.service', encoding='utf-8') as file:
        text = file.read().replace('/usr/bin/mountfs', sandbox.mountfs)
    path = sandbox.file('mountfs@.service')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    if shutil.which('systemd-analyze'):
        instance = sandbox.file('mountfs@model.service')
        shutil.copy(path, instance)
        result = subprocess.run(['systemd-analyze', 'verify', '--man=no', instance], capture_output=True, text=True,
                                check=False, timeout=DEADLINE)
        said = [line for line in result.stderr.splitlines() if 'mountfs' in line]
        assert not said, said
    service = unit()['Service']
    assert service['Type'] == 'notify' and 'ProtectSystem' not in service and 'PrivateTmp' not in service


def the_example_unit_starts_and_ends_as_it_says():
    service = unit()['Service']
    where = sandbox.dir('served')
    stats = sandbox.file('served.stats')
    command = []
    for word in service['ExecStart'].split():
        word = word.replace('/usr/bin/mountfs', sandbox.mountfs).replace('${ROOT_HASH}', ROOT).replace('${DISK}', DISK)
        word = word.replace('/srv/models/%i', where).replace('/run/mountfs/%i.stats', stats)
        command += [] if word == '$OPTIONS' else [word]
    assert '%' not in ' '.join(command) and '$' not in ' '.join(command), command
    path = sandbox.file('notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(DEADLINE)
        process = start('setpriv', '--no-new-privs', '--bounding-set=-all,+sys_admin,+dac_read_search', '--inh-caps=-all',
                        *command, env=dict(os.environ, NOTIFY_SOCKET=path))
        assert b'READY=1' in manager.recv(4096)
        as_user(NOBODY, lambda: check_content(where))
        assert ask(stats)['requests'] > 0
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
    stop = [word.replace('/usr/bin/mountfs', sandbox.mountfs).replace('/srv/models/%i', where)
            for word in service['ExecStopPost'].lstrip('-').split()]
    run(*stop)
    assert not is_mounted(where)


def check_options(args, more=()):
    """Every option that an example uses is one of mountfs."""
    known = subprocess.run([sandbox.mountfs, '--help'], capture_output=True, text=True, check=True).stdout
    for arg in args:
        if arg.startswith('--'):
            assert re.search(rf'{re.escape(arg.split("=")[0])}\b', known), arg
    assert all(word in known for word in more)


def check_container(container, volumes):
    assert container['name'] and container['image'], container
    for use in container.get('volumeMounts', []) + container.get('volumeDevices', []):
        assert use['name'] in volumes, use
        assert (use.get('mountPath') or use.get('devicePath', '')).startswith('/'), use
    context = container['securityContext']
    assert context.get('privileged') or context['capabilities'] == {'drop': ['ALL']}, context


def the_kubernetes_example_is_consistent():
    with open(f'{EXAMPLES}/kubernetes.yaml', encoding='utf-8') as file:
        pods = list(yaml.safe_load_all(file))
    assert len(pods) == 2
    for pod in pods:
        assert (pod['apiVersion'], pod['kind']) == ('v1', 'Pod')
        volumes = {volume['name'] for volume in pod['spec']['volumes']}
        for container in pod['spec']['initContainers'] + pod['spec']['containers']:
            check_container(container, volumes)
        check_options(pod['spec']['initContainers'][0]['args'])
    mounter, copier = (pod['spec']['initContainers'][0] for pod in pods)
    assert mounter['restartPolicy'] == 'Always' and mounter['volumeMounts'][0]['mountPropagation'] == 'Bidirectional'
    assert pods[0]['spec']['containers'][0]['volumeMounts'][0]['mountPropagation'] == 'HostToContainer'
    # the copier's arguments, run as they stand
    out = sandbox.dir('copied', NOBODY)
    args = [arg.replace('$(ROOT_HASH)', ROOT).replace('/dev/model-disk', DISK).replace('/models/model', f'{out}/model')
            for arg in copier['args']]
    as_user(NOBODY, lambda: subprocess.run([sandbox.mountfs, *args], check=True, stderr=subprocess.DEVNULL))
    check_content(f'{out}/model')


def the_containerfile_is_one():
    with open(f'{EXAMPLES}/Containerfile', encoding='utf-8') as file:
        text = re.sub(r'\\\n', ' ', re.sub(r'^#.*\n', '', file.read(), flags=re.M))
    steps = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    assert {word for word, _ in steps} <= {'FROM', 'RUN', 'COPY', 'ENTRYPOINT'}, steps
    assert [word for word, _ in steps].count('FROM') == 2 and steps[0][0] == 'FROM'
    for word, rest in steps:
        if word == 'RUN':
            run('sh', '-nc', rest)
            for package in re.findall(r'install -y --no-install-recommends ([^&]*)', rest):
                known = run('apt-cache', 'policy', *package.split()) if shutil.which('apt-cache') else ''
                if known:  # there may be no package lists
                    assert all(f'{name}:' in known for name in package.split()), (package, known)
    assert json.loads(steps[-1][1]) == ['/usr/bin/mountfs']
    copied = [shlex.split(rest)[-2] for word, rest in steps if word == 'COPY' and '--from' in rest]
    assert copied == ['/build/mountfs/mountfs'], copied


def the_example_of_fstab_mounts():
    if subprocess.run(['unshare', '-m', 'true'], check=False).returncode != 0 or not os.path.exists('/sbin/mount.fuse3'):
        print('note: no mount namespaces or no mount.fuse3 here')
        return
    script = f'''
        mount -t tmpfs none /srv; mount -t tmpfs none /usr/local/bin
        mkdir -p /srv/disks /srv/models/model /srv/etc
        cp {DISK} /srv/disks/model.disk; cp {sandbox.mountfs} /usr/local/bin/mountfs
        mount --bind {EXAMPLES}/fstab /etc/fstab
        mount -t tmpfs none /media; mkdir -p /media/up /media/work /media/etc
        echo {ROOT} >/media/model.roothash
        mkdir -p /etc/mountfs && touch /etc/mountfs/model.roothash && made=1
        mount --bind /media/model.roothash /etc/mountfs/model.roothash
        mount /srv/models/model
        cmp /srv/models/model/weights.bin {TREE}/weights.bin
        umount /srv/models/model
    '''
    had = os.path.exists('/etc/mountfs')
    try:
        run('unshare', '-m', 'sh', '-euc', script)
    finally:
        if not had:
            shutil.rmtree('/etc/mountfs', ignore_errors=True)


require('mkfs.erofs', 'veritysetup', 'setpriv')
require_fuse(user=True)
main([a_disk_that_appears_late_is_waited_for, waiting_ends_with_the_time_and_with_a_signal,
      stats_count_what_is_read_and_what_fails, stats_replace_no_file_of_somebody_else, the_example_hands_a_descriptor_over,
      a_user_namespace_is_enough, what_forbids_mounting_is_named, the_example_unit_is_one,
      the_example_unit_starts_and_ends_as_it_says, the_kubernetes_example_is_consistent, the_containerfile_is_one,
      the_example_of_fstab_mounts])
