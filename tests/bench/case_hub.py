# SPDX-License-Identifier: Apache-2.0
"""From a hub to a disk: mkdisk beside curl, which only fetches, and beside the reference's steps with git and git-lfs.

nginx serves the LFS objects on loopback, git's http-backend and a small batch server the rest."""
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys

from bench import GIB, MIB, ROOT, Aim, Case, Missing, Row, Sample

sys.path.insert(0, str(ROOT / 'tests' / 'support'))
import make_model  # noqa: E402
import web  # noqa: E402

MKDISK, HASHED, CURL, REFERENCE = 'mkdisk', 'mkdisk --root-hash-only', 'curl', 'git, git-lfs, mkfs.erofs, veritysetup'


def object_sizes(total):
    """Many sizes, as a model has them: shards down to scraps; nothing is a multiple of anything."""
    sizes, left = [], total
    for part in (4, 6, 8, 8, 16, 16, 32, 32, 64, 64, 64):
        sizes.append(total // part - 12345)
        left -= sizes[-1]
    scrap = 0
    while left > 0:
        scrap = min(left, 1000 + scrap * 7 // 5 % (4 * MIB))
        sizes.append(scrap)
        left -= scrap
    return sizes


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as f:
        while piece := f.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


class Build(Case):
    name = 'hub-build'
    title = 'from a hub to a disk'
    rows = {'time': Row(aims=[Aim(MKDISK, CURL, 1 / 1.3), Aim(MKDISK, REFERENCE, 3), Aim(HASHED, CURL)]),
            'space': Row('x disk', less_is_better=True, aims=[Aim(MKDISK, REFERENCE, 1.5)])}

    def __init__(self, bench):
        super().__init__(bench)
        self.servers = contextlib.ExitStack()
        self.roots = {}

    def prepare(self):
        if not web.find_nginx():
            raise Missing('nginx is not installed')
        total = self.bench.size(4 * GIB, 64 * MIB)
        self.dir = self.bench.directory(total * 7 // 2)
        os.chmod(self.dir, 0o755)
        self.work = os.path.join(self.dir, 'work')
        self.make_repository(total)
        hub = self.start_hub()
        self.url = self.servers.enter_context(web.nginx(os.path.join(self.dir, 'nginx'), os.path.join(self.dir, 'hub'), hub))
        # links to objects lead to nginx
        self.stop_hub()
        self.start_hub('--storage', self.url, '--port', hub.rsplit(':', 1)[1])

    def make_repository(self, total):
        repository, content, self.objects = os.path.join(self.dir, 'hub', 'model.git'), {}, []
        scratch = os.path.join(self.dir, 'object')
        for i, size in enumerate(object_sizes(total)):
            self.bench.random_file(scratch, size)
            oid = digest_of(scratch)
            content[f'model-{i:04}.safetensors'] = make_model.POINTER % (oid.encode(), size)
            self.objects.append((oid, size))
            place = os.path.join(self.dir, 'objects', oid[:2], oid[2:4], oid)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.rename(scratch, place)
        content['.gitattributes'] = b'*.safetensors filter=lfs diff=lfs merge=lfs -text\n'
        content['config.json'] = b'{}\n' * 300
        self.length = sum(size for _, size in self.objects)
        self.commit = make_model.make_repository(repository, content)
        os.makedirs(os.path.join(repository, 'lfs'), exist_ok=True)
        os.rename(os.path.join(self.dir, 'objects'), os.path.join(repository, 'lfs', 'objects'))

    def start_hub(self, *args):
        self.hub = subprocess.Popen([sys.executable, str(ROOT / 'tests/support/model_server.py'),
                                     os.path.join(self.dir, 'hub'), *args], stdout=subprocess.PIPE)
        return self.hub.stdout.readline().decode().strip()

    def stop_hub(self):
        self.hub.terminate()
        self.hub.wait()

    def contenders(self):
        lfs = shutil.which('git-lfs')
        return {MKDISK: self.mkdisk, HASHED: lambda: self.mkdisk('--root-hash-only'), CURL: self.curl,
                REFERENCE: self.reference if lfs else 'git-lfs is not installed'}

    def before(self, contender):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)

    def mkdisk(self, *args):
        disk = os.path.join(self.work, 'disk')
        done = self.bench.run(self.bench.program('mkdisk'), '--layout=flat', '--json=off', '--progress=off', *args, disk,
                              self.url + '/model', self.commit)
        self.roots['mkdisk' + ''.join(args)] = done.out.strip()
        result = {'time': self.bench.rate(self.length, done)}
        return result if args else {**result, 'space': self.space()}

    def curl(self):
        """The same objects, as many at a time, to a file each; nothing is checked."""
        config = os.path.join(self.work, 'config')
        with open(config, 'w', encoding='ascii') as out:
            for oid, _ in self.objects:
                out.write(f'url = {self.url}/model/lfs/objects/{oid}\noutput = {self.work}/{oid}\n')
        return {'time': self.bench.rate(self.length, self.bench.run(
            self.bench.tool('curl'), '--silent', '--fail', '--parallel', '--parallel-max', 8, '--config', config))}

    def reference(self):
        """As the reference's script: clone, the commit, its LFS objects, image, tree."""
        tree, disk = os.path.join(self.work, 'tree'), os.path.join(self.work, 'disk')
        env = {'HOME': self.work, 'GIT_CONFIG_NOSYSTEM': '1', 'GIT_LFS_SKIP_SMUDGE': '1', 'GIT_TERMINAL_PROMPT': '0'}
        git = self.bench.tool('git')
        steps = [self.bench.run(git, 'clone', '--quiet', self.url + '/model.git', tree, env=env),
                 self.bench.run(git, '-C', tree, 'checkout', '--quiet', self.commit, env=env),
                 self.bench.run(git, '-C', tree, 'lfs', 'install', '--local', env=env),
                 self.bench.run(git, '-C', tree, 'lfs', 'pull', env={**env, 'GIT_LFS_SKIP_SMUDGE': '0'})]
        fetched = self.space().value
        shutil.rmtree(os.path.join(tree, '.git'))
        zeros = '00000000-0000-0000-0000-000000000000'
        steps.append(self.bench.run(self.bench.tool('mkfs.erofs'), '-T0', '-x-1', '--all-root', '-U' + zeros, disk, tree))
        offset = os.path.getsize(disk)
        steps.append(self.bench.run(self.bench.tool('veritysetup'), 'format', disk, disk, '--salt=00', '--uuid=' + zeros,
                                    f'--hash-offset={offset}', f'--data-blocks={offset // 4096}'))
        return {'time': self.bench.rate(self.length, *steps), 'space': Sample(max(fetched, self.space().value))}

    def space(self):
        """What lies in the work directory now, by the length of the objects."""
        used = sum(os.lstat(os.path.join(where, name)).st_blocks * 512
                   for where, _, names in os.walk(self.work) for name in names)
        return Sample(used / self.length)

    def check(self):
        """mkfs.erofs of this machine may lay out otherwise than the one that mkdisk equals; its root hash says nothing."""
        assert len(set(self.roots.values())) == 1, self.roots

    def clean(self):
        if hasattr(self, 'hub'):
            self.stop_hub()
        self.servers.close()


CASES = [Build]
