#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: builds modeldisk, runs each case beside its peers in the same run, in turn, and prints medians and
ratios beside what is aimed at. docs/performance.md says how to read it.

    tests/bench/run.py                     all cases, five rounds
    tests/bench/run.py 'build-*' hash      some of them (names or patterns)
    tests/bench/run.py --json >result.json
    tests/bench/run.py --from result.json --document docs/performance.md
"""
import argparse
import fnmatch
import importlib
import json
import os
import pathlib
import subprocess
import sys

import bench
import machine
import results

TARGETS = ['mkdisk/mkdisk', 'mountfs/mountfs', 'tests/bench/bench_hash', 'tests/bench/bench_verity', 'tests/bench/mount_reader', 'tests/verity_tool']


def parse():
    p = argparse.ArgumentParser(description='measures modeldisk beside its peers',
                                epilog='cases are in tests/bench/case_*.py')
    p.add_argument('case', nargs='*', help='name or pattern (default: all)')
    p.add_argument('--list', action='store_true', help='print the names of the cases')
    p.add_argument('--rounds', type=int, help='default: 5, with --quick 1')
    p.add_argument('--quick', action='store_true', help='small and once: does it run at all?')
    p.add_argument('--json', action='store_true', help='results as JSON on stdout')
    p.add_argument('--markdown', action='store_true', help='ratios as a Markdown table on stdout')
    p.add_argument('--plots', metavar='DIR', help='write PNG plots to DIR')
    p.add_argument('--document', metavar='FILE', help='put tables into this Markdown file, and plots into images/ beside it')
    p.add_argument('--dir', help='where the files measured lie (default: memory, /dev/shm)')
    p.add_argument('--build', metavar='DIR', default=str(bench.ROOT / 'build-bench'), help='the release build')
    p.add_argument('--no-build', action='store_true', help='take what is in the build directory')
    p.add_argument('--from', dest='earlier', metavar='FILE', help='do not measure: show what --json wrote')
    return p.parse_args()


def make_build(directory):
    """A release build of its own, so that no sanitizer or debug build is measured by mistake."""
    quiet = {'stdout': subprocess.DEVNULL, 'check': True}
    if not (pathlib.Path(directory) / 'build.ninja').exists():
        subprocess.run(['meson', 'setup', directory, str(bench.ROOT), '--buildtype=release'], **quiet)
    subprocess.run(['ninja', '-C', directory, *TARGETS], **quiet)


def all_cases():
    """In the order of file names, then as each file lists them in CASES."""
    for path in sorted(pathlib.Path(__file__).parent.glob('case_*.py')):
        yield from importlib.import_module(path.stem).CASES


def chosen_cases(wanted):
    cases = list(all_cases())
    for pattern in wanted:
        if not any(fnmatch.fnmatch(c.name, pattern) for c in cases):
            sys.exit(f'run.py: no case is called {pattern}; --list names them')
    return [c for c in cases if not wanted or any(fnmatch.fnmatch(c.name, w) for w in wanted)]


def measure_all(args):
    if not args.no_build:
        make_build(args.build)
    b = bench.Bench(args.build, args.dir, args.quick)
    rounds = args.rounds or (1 if args.quick else 5)
    result = {'machine': machine.describe(b), 'rounds': rounds, 'quick': args.quick, 'cases': []}
    for make in chosen_cases(args.case):
        result['cases'].append(bench.run_case(make, b, rounds, bench.tell_progress))
    return result


def main():
    args = parse()
    if args.list:
        for case in all_cases():
            print(f'{case.name:<24} {case.title}')
        return
    if args.earlier:
        with open(args.earlier, encoding='utf-8') as f:
            result = json.load(f)
    else:
        result = measure_all(args)
    if args.json:
        json.dump(result, sys.stdout, indent=1)
        print()
    elif args.markdown:
        results.print_markdown(result)
    else:
        results.print_text(result)
    why = results.plot(result, args.plots) if args.plots else None
    if args.document:
        why = results.update_document(result, args.document)
    if why:
        print(f'run.py: {why}', file=sys.stderr)
    failed = [case['name'] for case in result['cases'] if case['failed']]
    if failed:
        sys.exit(f"run.py: failed: {', '.join(failed)}")


if __name__ == '__main__':
    sys.dont_write_bytecode = True
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    main()
