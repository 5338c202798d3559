# SPDX-License-Identifier: Apache-2.0
"""What the cases of the benchmark share: what a case is, the rounds, scratch space, running and timing programs.

A case is a class in a case_*.py file. It says which contenders there are and which ratios are aimed at; this file runs
them in turn, one after the other within a round, so that a busy neighbour or a change of clock hits all of them, and
the ratio of two contenders is the median of the rounds' own ratios. A value is a rate unless the row says less is better.
"""
import contextlib
import dataclasses
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Missing(Exception):
    """A contender or a case cannot run here; the sentence says why and goes into the results."""


@dataclasses.dataclass
class Sample:
    """One contender's result in one round. cpu_s: processor time of what ran, where it was a child process."""
    value: float
    cpu_s: float | None = None
    rss_mib: float | None = None


@dataclasses.dataclass
class Aim:
    """ours must reach ratio times peer (ratio None: only compared). For rows where less is better: peer / ours."""
    ours: str
    peer: str
    ratio: float | None = None


@dataclasses.dataclass
class Row:
    """One line of results. A case has one, unless its contenders measure several things at once."""
    unit: str = 'GB/s'
    less_is_better: bool = False
    aims: list = dataclasses.field(default_factory=list)
    scale: dict | None = None  # contender -> number of threads: drawn as a line


class Case:
    """
    name      what the command line calls it, AREA-WHAT; the area groups plots and tables
    title     for people
    rows      {'': Row(...)}, or one Row for each key of the dictionary that contenders return
    prepare() makes what all rounds need; may raise Missing
    contenders() {name: function}; a function is called once a round and returns a Sample, or {row: Sample}.
              A value that is a string instead of a function says why that contender is missing.
    before(contender) is called ahead of each measurement and not timed
    check()   after the rounds: are the results those of correct programs? AssertionError otherwise
    clean()   after everything, whatever happened
    """
    name = title = ''
    rows = {}

    def __init__(self, bench):
        self.bench = bench
        self.dir = None  # a private directory, removed afterwards

    def prepare(self):
        pass

    def contenders(self):
        raise NotImplementedError

    def before(self, contender):
        pass

    def check(self):
        pass

    def clean(self):
        pass


class Bench:
    """What cases ask for: programs, sizes, files, timed commands."""

    def __init__(self, build, scratch, quick):
        self.build = pathlib.Path(build)
        self.scratch = scratch  # None: memory, where there is enough
        self.quick = quick
        self.cpus = len(os.sched_getaffinity(0))

    def program(self, name):
        """The path of one of our programs, of the build that is measured."""
        found = [p for p in self.build.rglob(name) if p.is_file() and os.access(p, os.X_OK)]
        if not found:
            raise Missing(f'{name} is not in {self.build}')
        return str(found[0])

    @staticmethod
    def tool(name):
        """The path of somebody else's program."""
        path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
        if not path:
            raise Missing(f'{name} is not installed')
        return path

    def size(self, full, quick):
        return quick if self.quick else full

    def directory(self, need, on_disk=False):
        """A new directory with room for need bytes: in memory, so that no disk is measured, or on a disk. --dir says
        where, for both."""
        usual = [] if on_disk else ['/dev/shm']
        for parent in [self.scratch] if self.scratch else [*usual, tempfile.gettempdir()]:
            with contextlib.suppress(OSError):
                free = os.statvfs(parent).f_bavail * os.statvfs(parent).f_frsize
                if parent == '/dev/shm':
                    free = min(free, available_memory() - GIB)
                if free >= need:
                    return tempfile.mkdtemp(prefix='modeldisk-bench-', dir=parent)
        raise Missing(f'no directory with {need / GIB:.1f} GiB of free space')

    @staticmethod
    def random_file(path, length):
        """length bytes that do not compress and of which no two blocks are equal, quickly."""
        noise = bytearray(os.urandom(min(16 * MIB, max(length, 1))))
        with open(path, 'wb') as out:
            at = 0
            while at < length:
                for block in range(0, len(noise) - 7, 4096):
                    noise[block:block + 8] = (at + block).to_bytes(8, 'little')
                at += out.write(noise[:min(len(noise), length - at)])

    @staticmethod
    def warm(*directories):
        """Reads all files, so that they are in the page cache."""
        for directory in directories:
            for parent, _, names in os.walk(directory):
                for name in names:
                    with open(os.path.join(parent, name), 'rb') as f:
                        while f.read(MIB):
                            pass

    @staticmethod
    def drop_caches():
        """Nothing of any file stays in memory; needs root."""
        os.sync()
        try:
            with open('/proc/sys/vm/drop_caches', 'w', encoding='ascii') as f:
                f.write('3\n')
        except OSError as e:
            raise Missing(f'caches cannot be dropped: {e.strerror}') from e

    def run(self, *argv, env=None, cwd=None):
        """Runs a program to its end; the seconds it took, its processor seconds, peak memory and output."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                                     env={**os.environ, 'LC_ALL': 'C', **(env or {})})
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), err.seek(0)
            text, errors = out.read().decode(errors='replace'), err.read().decode(errors='replace')
        if child.returncode != 0:
            raise RuntimeError(f'{argv[0]} ended with {child.returncode}: {errors.strip()[-500:] or text[-500:]}')
        # a child's peak starts from ours, so that what stays below ours is not known
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rss = usage.ru_maxrss / 1024 if usage.ru_maxrss > own else None
        return Done(seconds, usage.ru_utime + usage.ru_stime, rss, text)

    @staticmethod
    def rate(length, *done):
        """The Sample of one or more commands in sequence that together treated length bytes."""
        return Sample(length / sum(d.seconds for d in done) / 1e9, sum(d.cpu_s for d in done),
                      max((d.rss_mib for d in done if d.rss_mib), default=None))


@dataclasses.dataclass
class Done:
    seconds: float
    cpu_s: float
    rss_mib: float | None
    out: str


def available_memory():
    with open('/proc/meminfo', encoding='ascii') as f:
        return int(re.search(r'^MemAvailable:\s+(\d+) kB', f.read(), re.M)[1]) * KIB


# ---- rounds ----

def turn(case, name, function):
    case.before(name)
    got = function()
    got = got if isinstance(got, dict) else {'': got}
    for row, sample in got.items():
        assert row in case.rows and 0 < sample.value < float('inf'), (case.name, name, row, sample)
    return got


def measure(case, rounds, tell):
    """{contender: {row: [Sample]}}, {contender: why it is missing}. Who is first changes from round to round."""
    todo = case.contenders()
    missing = {name: why for name, why in todo.items() if isinstance(why, str)}
    names = [name for name in todo if name not in missing]
    samples = {}
    for number in range(rounds):
        shift = number % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            tell(f'{case.name}: round {number + 1} of {rounds}: {name}')
            try:
                for row, sample in turn(case, name, todo[name]).items():
                    samples.setdefault(name, {}).setdefault(row, []).append(sample)
            except Missing as why:
                missing[name] = str(why)
        names = [name for name in names if name not in missing]
    return {name: samples[name] for name in names}, missing


def median_of(samples, what):
    values = [getattr(s, what) for s in samples]
    return None if None in values else statistics.median(values)


def cpu_ratio(ours, theirs):
    """How many times our processor time the peer took for the same work; hardly changed by busy neighbours."""
    return theirs / ours if ours and theirs else None


def row_results(row, samples):
    """Of one row, ready for JSON: what each contender reached, and each ratio that is aimed at."""
    contenders = [{'name': name, 'median': statistics.median(s.value for s in got), 'values': [s.value for s in got],
                   'cpu_s': median_of(got, 'cpu_s'), 'rss_mib': median_of(got, 'rss_mib')}
                  for name, got in samples.items()]
    values = {c['name']: c['values'] for c in contenders}
    cpu = {c['name']: c['cpu_s'] for c in contenders}
    ratios = []
    for aim in row.aims:
        if aim.ours in values and aim.peer in values:
            each = [theirs / ours if row.less_is_better else ours / theirs
                    for ours, theirs in zip(values[aim.ours], values[aim.peer])]
            ratios.append({'ours': aim.ours, 'peer': aim.peer, 'ratio': statistics.median(each), 'low': min(each),
                           'high': max(each), 'aim': aim.ratio, 'cpu': cpu_ratio(cpu.get(aim.ours), cpu.get(aim.peer)),
                           'met': None if aim.ratio is None else statistics.median(each) >= aim.ratio})
    return {'unit': row.unit, 'less_is_better': row.less_is_better, 'contenders': contenders, 'ratios': ratios,
            'scale': row.scale}


def run_case(make, bench, rounds, tell):
    """One case from its files to its results; a case that cannot run here, or fails, becomes a sentence."""
    case = make(bench)
    result = {'name': case.name, 'title': case.title, 'rows': {}, 'missing': {}, 'failed': None}
    try:
        tell(f'{case.name}: preparing')
        case.prepare()
        samples, result['missing'] = measure(case, rounds, tell)
        case.check()
        for key, row in case.rows.items():
            of_row = {name: got[key] for name, got in samples.items() if key in got}
            result['rows'][key] = row_results(row, of_row)
    except Missing as why:
        result['missing'][''] = str(why)
    except (RuntimeError, AssertionError, OSError) as why:
        result['failed'] = f'{type(why).__name__}: {why}'
    finally:
        case.clean()
        if case.dir:
            shutil.rmtree(case.dir, ignore_errors=True)
    tell('')
    return result


def tell_progress(sentence):
    """The line on a terminal that says what is going on."""
    if sys.stderr.isatty():
        print(f'\r\x1b[K{sentence}', end='', file=sys.stderr, flush=True)
