# SPDX-License-Identifier: Apache-2.0
"""What the tests of fetching share: a model hub in this process, mkdisk beside it, and what must never leak."""
import base64
import contextlib
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
import make_model  # noqa: E402
import model_server  # noqa: E402
import web  # noqa: E402

Fault = model_server.Fault
MKDISK = os.environ.get('MKDISK') or sys.exit('MKDISK names no program')
DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
DEADLINE = 240  # seconds: a bound on hanging, not an expectation
TOKEN = 'hf_tokenThatNobodyElseMaySee'
TESTS = []


class Skip(Exception):
    """It cannot be run here; the text says why."""


def test(function):
    TESTS.append(function)
    return function


def require(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f'{program} is not installed')


def expect(found, expected, what):
    if found != expected:
        raise AssertionError(f'{what}: found {found!r}, expected {expected!r}')


def expect_match(pattern, text):
    if not re.search(pattern, text):
        raise AssertionError(f'no {pattern!r} in {text!r}')


def clean_env(home, **more):
    """The tests' own environment, without whatever the caller's has to say to git, curl and mkdisk."""
    env = {k: v for k, v in os.environ.items()
           if not re.match(r'(?i)GIT_|.*_proxy$|NETRC$|EXCLUDE_GIT_FILES$|XDG_', k)}
    return dict(env, HOME=home, TMPDIR=home, GIT_CONFIG_NOSYSTEM='1', **more)


class Model:
    """The model of make_model.py with Git LFS, and the root hash that is right for it."""

    def __init__(self, path):
        self.hub = os.path.join(path, 'hub')
        env = clean_env(path)
        made = subprocess.run([sys.executable, make_model.__file__, self.hub, '--lfs'], stdout=subprocess.PIPE, env=env,
                              check=True)
        self.commit = made.stdout.decode().strip()
        tree = os.path.join(path, 'tree')
        for name, content in make_model.files().items():
            os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
            with open(os.path.join(tree, name), 'wb') as out:
                out.write(content)
        with open(os.path.join(tree, '.gitattributes'), 'wb') as out:
            out.write(b'*.safetensors filter=lfs diff=lfs merge=lfs -text\n')
        os.symlink('config.json', os.path.join(tree, 'model.json'))
        self.tree = tree
        self.objects = [content for name, content in make_model.files().items() if name.endswith('.safetensors')]
        built = subprocess.run([MKDISK, '--quiet', '--json=off', '--root-hash-only', os.path.join(path, 'none'), tree],
                               stdout=subprocess.PIPE, env=env, check=True)
        self.root = built.stdout.decode().strip()


@contextlib.contextmanager
def serve(root, *faults, address='127.0.0.1', handler=model_server.Handler, **settings):
    """A hub that listens; its port is its own."""
    server = model_server.Server(root, (address, 0), handler=handler)
    server.faults = [Fault(text) for text in faults]
    for name, value in settings.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Place:
    """A directory of one test: the disk, the environment, and everything that a secret must not get into."""

    def __init__(self, path, model):
        self.path, self.model = path, model
        self.disk = os.path.join(path, 'out', 'disk')
        os.makedirs(os.path.dirname(self.disk))
        self.said = ''

    def run(self, *args, env=None):
        """mkdisk with these arguments; what it says is kept for check_secrecy()."""
        run = subprocess.run([MKDISK, '--progress=off', '--json=off', *args], stdout=subprocess.PIPE, check=False,
                             stderr=subprocess.PIPE, env=clean_env(self.path, **(env or {})), timeout=DEADLINE)
        self.said = run.stderr.decode()
        return run

    def build(self, hub, *args, status=DONE, says=None, env=None):
        """The disk of the model: the exit status, one sentence, and the right disk or none."""
        url = hub if isinstance(hub, str) else hub.url
        run = self.run(*args, self.disk, url + '/tiny', self.model.commit, env=env)
        if run.returncode != status:
            raise AssertionError(f'exit status {run.returncode}, not {status}: {self.said}')
        if says:
            expect_match(says, self.said)
        expect('?link=' in self.said, False, 'links, which are secrets too, in what mkdisk says')
        if status == DONE:
            expect(run.stdout.decode().strip(), self.model.root, 'root hash')
        else:
            expect(os.path.exists(self.disk), False, 'there is a disk')
            expect(self.said.count('\n') <= 6, True, 'few lines: ' + self.said)
        return run

    def holds(self, secret):
        """Names of files below the directory that hold it."""
        found = []
        for name in glob.glob(self.path + '/**', recursive=True, include_hidden=True):
            if os.path.isfile(name):
                with open(name, 'rb') as content:
                    if secret.encode() in content.read():
                        found.append(name)
        return found

    def check_secrecy(self, *others, secret=TOKEN):
        """Neither said nor written down nor sent to another host, plain or in base64."""
        forms = [secret, base64.b64encode(('api:' + secret).encode()).decode()]
        for form in forms:
            expect(form in self.said, False, 'the secret in what mkdisk says')
            expect(self.holds(form), [], 'files that hold the secret')
            for other in others:
                expect(form in repr(other.requests), False, 'the secret in what another host was sent')


def main(jobs=4):
    wanted = sys.argv[1:]
    tests = [t for t in TESTS if not wanted or t.__name__ in wanted]
    results = []
    with tempfile.TemporaryDirectory(prefix='modeldisk-net-') as top:
        model = Model(os.path.join(top, 'model'))

        def run(function):
            path = os.path.join(top, function.__name__)
            os.makedirs(path)
            try:
                function(Place(path, model))
            except Skip as why:
                return 'skip', function.__name__, str(why)
            except Exception:  # pylint: disable=broad-except
                return 'FAIL', function.__name__, traceback.format_exc()
            finally:
                shutil.rmtree(path, ignore_errors=True)
            return 'ok', function.__name__, ''

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for result in pool.map(run, tests):
                print(*result, flush=True)
                results.append(result[0])
    if 'FAIL' in results:
        sys.exit(1)
    sys.exit(0 if 'ok' in results else 77)
