#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""git and git-lfs fetch from the same hub as mkdisk, with the steps of Privatemode's verity.sh: same trees?

    MKDISK=path lfs_clients.py [NAME...]

What the clients and bash leave is given to mkdisk as a directory; both root hashes must be equal.
"""
import os
import subprocess

from hublib import TOKEN, clean_env, expect, main, make_model, require, serve, test

# github.com/edgelesssys/privatemode-public verity/verity.sh: what it does between the clone and mkfs.erofs
SCRIPT = r'''set -eo pipefail
export GIT_LFS_SKIP_SMUDGE=1 GIT_TERMINAL_PROMPT=0
git lfs install
git clone "$REPO" repo
cd repo
git checkout "$COMMIT"
git config lfs.fetchexclude "$EXCLUDE_GIT_FILES"
unset GIT_LFS_SKIP_SMUDGE
git lfs pull
shopt -s nullglob
readarray -t excluded_files <<<"$(echo "$EXCLUDE_GIT_FILES" | tr ',' '\n')"
rm -rf ${excluded_files[@]}
rm -rf .git
'''

LARGE = ['flax_model.msgpack', 'pytorch_model.bin', 'model.safetensors', '.hidden.bin', 'original/x.bin', 'metal/y.bin',
         'sub/pytorch_model.bin', 'sub/original/y.bin', 'sub/deep/z.bin', 'sp ace.bin', 'copy.bin', 'large.bin']
SMALL = {'config.json': b'{}\n', 'README.md': b'# A model\n', 'pytorch_model.index.json': b'{"a": 1}\n',
         'sub/pytorch_model.index.json': b'{"b": 2}\n', 'original/params.json': b'{"dim": 1}\n',
         'crlf.txt': b'one\ntwo\n', 'id.txt': b'$Id$\n', 'tool.sh': b'#!/bin/sh\n',
         '.gitattributes': b'*.bin filter=lfs diff=lfs merge=lfs -text\n*.msgpack filter=lfs diff=lfs merge=lfs -text\n'
                           b'*.safetensors filter=lfs diff=lfs merge=lfs -text\ncrlf.txt text eol=crlf\nid.txt ident\n'}
EXCLUDES = ['', 'flax_model.msgpack,pytorch_model.*', 'original,metal', '*.bin', 'original/', '**/*.bin', 'original/**',
            'sp ace.bin', 'pytorch_model.{bin,h5}', 'sub,*.msgpack', '.hidden.bin']


def make_hub(place, many=0):
    """Several sizes; two files with one content; many small ones to make more than a batch full."""
    hub = os.path.join(place.path, 'hub')
    repository = os.path.join(hub, 'model.git')
    content = dict(SMALL)
    large = {name: make_model.stream(name, 1000 + 77777 * i) for i, name in enumerate(LARGE)}
    large['copy.bin'] = large['original/x.bin']
    large['large.bin'] = make_model.stream('large', 5 << 20)
    large.update((f'many/{i:03}.bin', make_model.stream(f'many {i}', 1 + i * 37)) for i in range(many))
    content.update((name, make_model.pointer(blob)) for name, blob in large.items())
    commit = make_model.make_repository(repository, content, [('link', 'model.safetensors')])
    for blob in large.values():
        make_model.keep_lfs_object(repository, blob)
    return hub, commit


def reference(place, url, commit, exclude):
    """The root hash of what the clients make of it."""
    home = os.path.join(place.path, 'clients')
    os.makedirs(home)
    env = clean_env(home, REPO=url, COMMIT=commit, EXCLUDE_GIT_FILES=exclude)
    try:
        subprocess.run(['bash', '-c', SCRIPT], cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       check=True)
        # pointers that the clients leave are part of their tree
        run = place.run('--layout=flat', '--root-hash-only', '--exclude-mode=privatemode', place.disk,
                        os.path.join(home, 'repo'))
        expect(run.returncode, 0, 'exit status for the tree of the clients: ' + run.stderr.decode())
        return run.stdout.decode().strip()
    finally:
        subprocess.run(['rm', '-rf', home], check=True)


@test
def clients_and_mkdisk_make_the_same_tree(place):
    require('git', 'git-lfs', 'bash')
    hub, commit = make_hub(place)
    with serve(hub) as server:
        url = server.url + '/model'
        for exclude in EXCLUDES:
            expected = reference(place, url + '.git', commit, exclude)
            run = place.run('--layout=flat', '--root-hash-only', '--exclude-mode=privatemode', place.disk, url, commit,
                            env={'EXCLUDE_GIT_FILES': exclude})
            expect((run.returncode, run.stdout.decode().strip()), (0, expected), f'{exclude!r}: {place.said}')


# Everything that a checkout does to files, by git and git-lfs themselves
ODD = r'''set -e
git init -q -b main work && cd work
git config user.name t && git config user.email t@localhost && git lfs install --local >/dev/null
printf '*.big filter=lfs diff=lfs merge=lfs -text\n*.txt text eol=crlf\n*.id ident\n*.u16 text working-tree-encoding=UTF-16\n' \
    >.gitattributes
mkdir -p sub/deep
printf '*.raw filter=lfs -text\n*.txt -text\n' >sub/.gitattributes
head -c 300000 /dev/zero >zero.big
printf 'small' >sub/deep/small.raw
: >empty.big
printf '#!/bin/sh\n' >run.big && chmod 755 run.big
printf 'one\ntwo\n' >a.txt && printf 'one\r\ntwo\n' >sub/b.txt
printf '$Id$\n' >c.id
printf 'text\n' | iconv -t UTF-16 >d.u16
printf 'version https://git-lfs.github.com/spec/v1\nno pointer\n' >nearly
ln -s zero.big link && ln -s /etc/absolute sub/absolute && ln -s ../../nowhere sub/deep/nowhere
printf 'x' >"$(printf 'odd\377name.big')"
git init -q ../other && git -C ../other -c user.name=t -c user.email=t@localhost commit -q --allow-empty -m other
git -c protocol.file.allow=always submodule --quiet add ../other module >/dev/null 2>&1
printf '[lfs]\n\tconcurrenttransfers = 2\n' >.lfsconfig
git add -A && git commit -qm odd
git clone -q --bare . "$HUB/odd.git"
cp -r .git/lfs "$HUB/odd.git/"
git rev-parse HEAD
'''


@test
def odd_files_become_what_the_clients_make_of_them(place):
    require('git', 'git-lfs', 'bash', 'iconv')
    hub = os.path.join(place.path, 'hub')
    os.makedirs(hub)
    made = subprocess.run(['bash', '-c', ODD], cwd=place.path, env=clean_env(place.path, HUB=hub), check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    commit = made.stdout.decode().split()[-1]
    with serve(hub) as server:
        expected = reference(place, server.url + '/odd.git', commit, '')
        for source in (server.url + '/odd', os.path.join(hub, 'odd.git'), os.path.join(place.path, 'work')):
            run = place.run('--layout=flat', '--root-hash-only', place.disk, source, commit)
            expect((run.returncode, run.stdout.decode().strip()), (0, expected), source + ': ' + place.said)


@test
def patterns_replace_what_the_repository_would_leave_out(place):
    require('git', 'git-lfs', 'bash')
    hub = os.path.join(place.path, 'hub')
    blob = make_model.stream('weights', 5000)
    content = {'.gitattributes': b'*.bin filter=lfs -text\n', '.lfsconfig': b'[lfs]\n\tfetchexclude = *.bin\n',
               'a.bin': make_model.pointer(blob), 'sub/b.bin': make_model.pointer(blob)}
    commit = make_model.make_repository(os.path.join(hub, 'model.git'), content, [])
    make_model.keep_lfs_object(os.path.join(hub, 'model.git'), blob)
    with serve(hub) as server:
        expected = reference(place, server.url + '/model.git', commit, 'b.bin')
        run = place.run('--layout=flat', '--root-hash-only', '--exclude-mode=privatemode', '--exclude=b.bin', place.disk,
                        server.url + '/model', commit)
        expect((run.returncode, run.stdout.decode().strip()), (0, expected), place.said)
        run = place.run('--exclude-mode=privatemode', place.disk, server.url + '/model', commit)
        expect((run.returncode, 'lfs.fetchexclude' in place.said), (3, True), place.said)


@test
def objects_are_fetched_once_in_batches_of_a_hundred(place):
    hub, commit = make_hub(place, 130)
    with serve(hub) as server:
        run = place.run('--layout=flat', place.disk, server.url + '/model', commit)
        expect(run.returncode, 0, 'exit status: ' + place.said)
        expect([len(batch) for batch in server.batches], [100, len(LARGE) + 130 - 1 - 100], 'objects of batches')
        gets = [path for method, path, _ in server.requests if method == 'GET' and '/lfs/objects/' in path]
        expect(len(gets), len(LARGE) + 130 - 1, 'objects fetched')


@test
def number_of_transfers_changes_nothing(place):
    hub, commit = make_hub(place, 130)
    roots = set()
    with serve(hub) as server:
        for jobs in (1, 3, 64):
            run = place.run('--layout=flat', '--root-hash-only', f'-j{jobs}', place.disk, server.url + '/model', commit)
            roots.add((run.returncode, run.stdout))
    expect(len(roots), 1, 'root hashes')


@test
def clients_too_need_the_token(place):
    """The hub of the tests asks as others do: git-lfs gets in with the same credentials as mkdisk, and not without."""
    require('git', 'git-lfs', 'bash')
    hub, commit = make_hub(place)
    with serve(hub, token=TOKEN) as server:
        with_token = server.url.replace('://', f'://api:{TOKEN}@') + '/model.git'
        expected = reference(place, with_token, commit, '')
        run = place.run('--layout=flat', '--root-hash-only', place.disk, server.url + '/model', commit,
                        env={'GIT_PAT': TOKEN})
        expect((run.returncode, run.stdout.decode().strip()), (0, expected), place.said)


if __name__ == '__main__':
    main()
