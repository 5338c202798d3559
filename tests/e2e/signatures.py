# SPDX-License-Identifier: Apache-2.0
"""Signed root hashes from mkdisk to mountfs, and what openssl(1) and veritysetup(8) make of them."""
import base64
import json
import os
import shutil
import subprocess

from mountlib import DEADLINE, FAILED, NOBODY, REFUSED, USAGE, become, flip, main, require, run, sandbox

require('openssl', 'veritysetup')
MKDISK = os.environ['MKDISK']
SECTOR, PARTITION = 512, 16384
TYPES = {'root-x86-64-verity-sig': True, 'usr-arm64-verity-sig': True, 'linux-generic': False}


def make_signer(name, kind=('-newkey', 'rsa:2048'), subject='signer'):
    key, certificate = sandbox.file(f'{name}.key'), sandbox.file(f'{name}.crt')
    run('openssl', 'req', '-x509', *kind, '-nodes', '-keyout', key, '-out', certificate, '-subj', f'/CN={subject}',
        '-days', '2', stderr=None)
    os.chmod(certificate, 0o644)
    return key, certificate


def write_definitions(name, signature_type, uuid='null'):
    path = sandbox.dir(name)
    for i, (kind, role, rest) in enumerate((
            ('linux-generic', 'data', f'Format=erofs\nCopyFiles=/\nUUID={uuid}\n'),
            ('linux-generic', 'hash', f'UUID={uuid}\n'), (signature_type, 'signature', ''))):
        if kind:
            with open(f'{path}/{i}.conf', 'w', encoding='ascii') as file:
                file.write(f'[Partition]\nType={kind}\nVerity={role}\nVerityMatchKey=m\n{rest}')
    return path


def make_tree():
    tree = sandbox.dir('tree')
    with open(f'{tree}/weights', 'wb') as file:
        file.write(bytes(range(256)) * 4096)
    return tree


TREE = make_tree()
KEY, CERTIFICATE = make_signer('signer')
STRANGER_KEY, STRANGER = make_signer('stranger')


def mkdisk(disk, definitions, *args, status=0):
    """Returns (root hash, stderr)."""
    result = subprocess.run([MKDISK, '--json=off', '--quiet', '--force', f'--definitions={definitions}', *args, disk, TREE],
                            capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert result.returncode == status, result
    return result.stdout.strip(), result.stderr


def signed(name, definitions, key=KEY, certificate=CERTIFICATE):
    disk = sandbox.file(name)
    root, _ = mkdisk(disk, definitions, f'--private-key={key}', f'--certificate={certificate}')
    return disk, root


def partition(disk, number):
    row = json.loads(run('sfdisk', '--json', disk))['partitiontable']['partitions'][number - 1]
    return row['start'] * SECTOR, row['size'] * SECTOR


def part_bytes(disk, number):
    at, length = partition(disk, number)
    with open(disk, 'rb') as file:
        file.seek(at)
        return file.read(length)


def put_part(disk, number, content, name='changed.disk'):
    copy = sandbox.file(name)
    shutil.copy(disk, copy)
    at, length = partition(copy, number)
    with open(copy, 'r+b') as file:
        file.seek(at)
        file.write(content.ljust(length, b'\0'))
    return copy


def statement(root, signature, fingerprint='0' * 64):
    return json.dumps({'rootHash': root, 'certificateFingerprint': fingerprint,
                       'signature': base64.b64encode(signature).decode()}, separators=(',', ':')).encode()


def openssl_sign(root, key=KEY, certificate=CERTIFICATE, *options):
    text, out = sandbox.file('statement'), sandbox.file('signature.der')
    with open(text, 'w', encoding='ascii') as file:
        file.write(root)
    run('openssl', 'smime', '-sign', '-binary', *(options or ['-noattr']), '-in', text, '-inkey', key, '-signer', certificate,
        '-outform', 'der', '-out', out)
    os.chmod(out, 0o644)
    with open(out, 'rb') as file:
        return file.read()


def mountfs(disk, *args, status=0):
    """Lists the disk as somebody without rights; returns stderr."""
    os.chmod(disk, 0o644)
    result = subprocess.run([sandbox.mountfs, '--list', disk, *args], capture_output=True, text=True, check=False,
                            timeout=DEADLINE, preexec_fn=become(NOBODY))
    assert result.returncode == status, (args, result)
    assert status != 0 or result.stdout == 'weights\n', result
    return result.stderr


ROOT_SIG = write_definitions('root.d', 'root-x86-64-verity-sig')
DISK, ROOT = signed('signed.disk', ROOT_SIG)
TRUST = f'--certificate={CERTIFICATE}'


def partition_is_what_systemd_writes():
    """The fields, their order, and a signature equal to that of openssl(1) byte by byte."""
    content = part_bytes(DISK, 3)
    assert len(content) == PARTITION
    der = run('openssl', 'x509', '-in', CERTIFICATE, '-fingerprint', '-sha256', '-noout')
    fingerprint = der.split('=')[1].strip().replace(':', '').lower()
    assert content == statement(ROOT, openssl_sign(ROOT), fingerprint).ljust(PARTITION, b'\0')


def openssl_and_veritysetup_accept_what_mkdisk_signs():
    signature, text = sandbox.file('checked.der'), sandbox.file('checked')
    said = json.loads(part_bytes(DISK, 3).rstrip(b'\0'))
    with open(signature, 'wb') as file:
        file.write(base64.b64decode(said['signature']))
    with open(text, 'w', encoding='ascii') as file:
        file.write(said['rootHash'])
    run('openssl', 'smime', '-verify', '-binary', '-noverify', '-nointern', '-inform', 'der', '-in', signature,
        '-content', text, '-certfile', CERTIFICATE, '-out', '/dev/null')
    areas = []
    for number in (1, 2):
        areas.append(sandbox.file(f'area{number}'))
        with open(areas[-1], 'wb') as file:
            file.write(part_bytes(DISK, number))
    run('veritysetup', 'verify', *areas, said['rootHash'])


def signing_changes_no_other_byte():
    """The same definitions with other keys: same root hash, same disk but for the signature."""
    again, root = signed('again.disk', ROOT_SIG)
    other, other_root = signed('other.disk', ROOT_SIG, STRANGER_KEY, STRANGER)
    assert root == other_root == ROOT
    with open(DISK, 'rb') as one, open(again, 'rb') as two, open(other, 'rb') as three:
        one, two, three = one.read(), two.read(), three.read()
    assert one == two != three
    at, length = partition(DISK, 3)
    assert one[:at] == three[:at] and one[at + length:] == three[at + length:]


def signer_is_enough():
    mountfs(DISK, TRUST)
    mountfs(DISK, TRUST, f'--root-hash={ROOT}')
    trust = sandbox.dir('trust')
    shutil.copy(STRANGER, f'{trust}/first.crt')
    said = mountfs(DISK, f'--trust-dir={trust}', status=REFUSED)
    assert 'no trusted certificate has signed this root hash' in said
    shutil.copy(CERTIFICATE, f'{trust}/second.crt')
    mountfs(DISK, f'--trust-dir={trust}')


def both_demands_must_hold():
    other = ROOT[:-1] + ('0' if ROOT[-1] != '0' else '1')
    assert f'expected {other}' in mountfs(DISK, TRUST, f'--root-hash={other}', status=REFUSED)
    mountfs(DISK, f'--certificate={STRANGER}', f'--root-hash={ROOT}', status=REFUSED)


def good_signature_of_another_disk_is_no_help():
    """The signature is the signer's, the statement is another disk's: the blocks are not what it says."""
    changed = sandbox.file('flipped.disk')
    shutil.copy(DISK, changed)
    with open(changed, 'rb') as file:
        at = file.read().index(bytes(range(256)))
    flip(changed, at)
    result = subprocess.run([sandbox.mountfs, '--verify', changed, TRUST], capture_output=True, text=True, check=False)
    assert result.returncode == REFUSED and 'weights' in result.stdout + result.stderr, result
    moved = put_part(DISK, 3, statement('11' * 32, openssl_sign('11' * 32)))
    assert 'root hash' in mountfs(moved, TRUST, status=REFUSED)


def changed_statements_are_refused():
    root = '11' * 32
    good = json.loads(part_bytes(DISK, 3).rstrip(b'\0'))
    signature = base64.b64decode(good['signature'])
    for content in (b'', b'{}', statement(root, signature), statement(ROOT, signature[:-1]), statement(ROOT, b''),
                    statement(ROOT, signature[:-1] + bytes([signature[-1] ^ 1])), statement(ROOT, openssl_sign(root)),
                    statement(ROOT, openssl_sign(ROOT, STRANGER_KEY, STRANGER)),
                    statement(ROOT, openssl_sign(ROOT, KEY, CERTIFICATE, '-noattr', '-nodetach')),
                    statement(ROOT, openssl_sign(ROOT, KEY, CERTIFICATE, '-noattr', '-md', 'sha1')),
                    b'[' * PARTITION, statement(ROOT, signature) + b'\0x'):
        mountfs(put_part(DISK, 3, content), TRUST, status=REFUSED if b'sha1' not in content else FAILED)


def signatures_of_openssl_are_accepted():
    """Made elsewhere, in a file: with and without the certificate, with signed attributes, of elliptic curves."""
    plain = sandbox.file('plain.disk')
    root, _ = mkdisk(plain, write_definitions('plain.d', None))
    ec_key, ec_certificate = make_signer('ec', ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'))
    for key, certificate, options in ((KEY, CERTIFICATE, ['-noattr']), (KEY, CERTIFICATE, ['-noattr', '-nocerts']),
                                      (KEY, CERTIFICATE, ['-nocerts']), (KEY, CERTIFICATE, ['-noattr', '-md', 'sha512']),
                                      (ec_key, ec_certificate, ['-noattr'])):
        openssl_sign(root, key, certificate, *options)
        arguments = (f'--root-hash-sig={sandbox.file("signature.der")}', f'--root-hash={root}')
        mountfs(plain, f'--certificate={certificate}', *arguments)
        mountfs(plain, f'--certificate={STRANGER}', *arguments, status=REFUSED)
    assert 'has no signature partition' in mountfs(plain, TRUST, status=REFUSED)
    mountfs(plain, TRUST, f'--root-hash={root}', '--root-hash-sig=/dev/zero', status=REFUSED)
    for wrong in (['--root-hash-sig=x', TRUST], ['--root-hash-sig=x', f'--root-hash={root}'],
                  [f'--certificate={KEY}.no'], [f'--certificate={sandbox.file("statement")}']):
        mountfs(plain, *wrong, status=FAILED if '.no' in wrong[0] else USAGE)


def mkdisk_signs_into_files():
    """The same bytes as openssl(1), also for an auditor who makes no disk."""
    definitions, signature = write_definitions('file.d', None), sandbox.file('file.sig')
    keys = (f'--private-key={KEY}', TRUST, f'--root-hash-sig={signature}')
    root, _ = mkdisk(sandbox.file('file.disk'), definitions, *keys)
    with open(signature, 'rb') as file:
        assert file.read() == openssl_sign(root)
    os.chmod(signature, 0o644)
    mountfs(sandbox.file('file.disk'), TRUST, f'--root-hash-sig={signature}', f'--root-hash={root}')
    os.unlink(signature)
    audited = sandbox.file('audited.disk')
    assert mkdisk(audited, definitions, *keys, '--root-hash-only')[0] == root
    with open(signature, 'rb') as file:
        assert file.read() == openssl_sign(root)
    assert not os.path.exists(audited)
    for wrong, why in (('-', 'stdout belongs'), (audited, 'is given for the disk'), (f'{TREE}/x', 'lies inside')):
        assert why in mkdisk(audited, definitions, *keys[:2], f'--root-hash-sig={wrong}', status=USAGE)[1]
    assert 'needs --private-key' in mkdisk(audited, definitions, keys[2], status=USAGE)[1]


def every_type_of_signature_partition_is_found():
    for i, (kind, is_known) in enumerate(TYPES.items()):
        disk, root = signed(f'type{i}.disk', write_definitions(f'type{i}.d', kind))
        if is_known:
            mountfs(disk, TRUST)
            mountfs(disk, f'--root-hash={root}')
        mountfs(disk, TRUST, '--signature-partition=3')
        mountfs(disk, TRUST, '--signature-partition=1', status=REFUSED)
        mountfs(disk, TRUST, '--signature-partition=9', status=USAGE)


def mkdisk_refuses_what_cannot_be_signed():
    disk = sandbox.file('refused.disk')
    keys = (f'--private-key={KEY}', TRUST)
    ec_key, ec_certificate = make_signer('ec2', ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'))
    for definitions, args, why in ((ROOT_SIG, (), 'needs --private-key and --certificate'),
                                   (ROOT_SIG, keys[:1], 'go together'), (ROOT_SIG, keys[1:], 'go together'),
                                   (ROOT_SIG, (keys[0], f'--certificate={STRANGER}'), "not the key's certificate"),
                                   (write_definitions('none.d', None), keys, 'no place for a signature')):
        assert why in mkdisk(disk, definitions, *args, status=USAGE)[1]
    said = mkdisk(disk, ROOT_SIG, f'--private-key={ec_key}', f'--certificate={ec_certificate}', status=REFUSED)[1]
    assert 'no RSA key' in said
    assert not os.path.exists(disk)


main([partition_is_what_systemd_writes, openssl_and_veritysetup_accept_what_mkdisk_signs, signing_changes_no_other_byte,
     signer_is_enough, both_demands_must_hold, good_signature_of_another_disk_is_no_help, changed_statements_are_refused,
     signatures_of_openssl_are_accepted, mkdisk_signs_into_files, every_type_of_signature_partition_is_found,
     mkdisk_refuses_what_cannot_be_signed])
