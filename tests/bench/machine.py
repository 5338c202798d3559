# SPDX-License-Identifier: Apache-2.0
"""The machine and the programs a measurement was made with: without them a number says nothing."""
import os
import platform
import re
import subprocess

# program: arguments that make it say its version, somewhere
PEERS = {'veritysetup': ['--version'], 'mkfs.erofs': ['/nonexistent/image', '/nonexistent/source'], 'squashfuse_ll': ['--help'], 'fuse2fs': ['-V'],
         'mkfs.btrfs': ['--version'], 'fio': ['--version'], 'openssl': ['version'], 'curl': ['--version'],
         'git-lfs': ['version']}
PATH = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'


def output(argv):
    """What a program says, or None where there is no such program."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, 'LC_ALL': 'C', 'PATH': PATH})
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors='replace').strip()


def first_line(argv):
    return (output(argv) or '').partition('\n')[0].strip()


def version_of(program):
    """Its number, None where it is not installed."""
    said = output([program, *PEERS[program]])
    found = re.search(r'\d+\.\d+[\w.]*', said or '')
    return None if said is None else found[0] if found else 'unknown'


def read(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return f.read()
    except OSError:
        return ''


def field(pattern, text):
    found = re.search(pattern, text, re.M)
    return found[1] if found else None


def extensions():
    """Those that decide which hash engine there is."""
    flags = set((field(r'^(?:flags|Features)\s*:(.*)$', read('/proc/cpuinfo')) or '').split())
    return [f for f in ('avx512f', 'avx512bw', 'sha_ni', 'avx2', 'sha2') if f in flags]


def describe(bench):
    return {
        'cpu': field(r'^model name\s*:\s*(.*)$', read('/proc/cpuinfo')) or platform.machine(),
        'cores': bench.cpus,
        'extensions': extensions(),
        'virtual': 'hypervisor' in read('/proc/cpuinfo'),
        'memory_gib': round(int(field(r'^MemTotal:\s+(\d+)', read('/proc/meminfo'))) / 2**20, 1),
        'kernel': platform.release(),
        'system': field(r'^PRETTY_NAME="?([^"\n]*)', read('/etc/os-release')),
        'hash_engines': first_line([bench.program('bench_hash'), '--list']).split(),
        'compiler': first_line([os.environ.get('CC', 'cc'), '--version']),
        'revision': first_line(['git', '-C', os.path.dirname(__file__), 'describe', '--always', '--dirty']),
        'load': os.getloadavg()[0],
        'peers': {name: version for name in PEERS if (version := version_of(name))},
    }


def sentences(m):
    yield (f"{m['cpu']}, {m['cores']} cores{' (virtual)' if m['virtual'] else ''}, {m['memory_gib']} GiB, "
           f"{m['system']}, Linux {m['kernel']}")
    yield f"hash engines: {', '.join(m['hash_engines'])} (CPU: {', '.join(m['extensions'])})"
    yield f"modeldisk {m['revision']}, {m['compiler']}"
    yield 'peers: ' + ', '.join(f'{name} {version}' for name, version in m['peers'].items())
    if m['load'] > m['cores'] / 2:
        yield f"load average at the start {m['load']:.1f}: the machine was not idle, trust ratios rather than rates"
