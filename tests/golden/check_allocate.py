#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The distribution of space against the reference model, on random definitions.

    check_allocate.py ALLOCATE_LINES [SETS [SEED]]

ref_repart.py was itself compared with systemd-repart 254 to 262 on thousands of definition sets.
"""
import random, subprocess, sys
sys.dont_write_bytecode = True
import ref_repart

GRAIN, NONE = 4096, (1 << 64) - 1


def random_len(r):
    """Lengths of all magnitudes, on the grain."""
    return r.randrange(1 << r.randrange(1, 30)) * GRAIN


def random_part(r, version):
    weight = lambda: r.choice([0, 1, 10, 33, 777, 999, 1000, 1000, 1000, r.randrange(1000001), 1000000])
    low = lambda: random_len(r) if r.random() < 0.5 else None
    def high(minimum):
        return max(minimum or 0, random_len(r)) if r.random() < 0.3 else None
    smin, pmin = low(), low() if r.random() < 0.3 else None
    return ref_repart.Part(weight(), weight() if r.random() < 0.4 else 0, smin, high(smin), pmin, high(pmin),
                           sig=r.random() < 0.1, ver=version)


def random_set(r):
    version = r.choice(['262', '261.2', '258.10', '257.13'])
    parts = [random_part(r, version) for _ in range(r.choice([1, 2, 2, 2, 3, 3, 4, 7]))]
    need = sum(p.minsize(GRAIN) + (p.pmin or 0) for p in parts)
    start = r.choice([20480, 24576, 1 << 20])
    # mostly near the minimum, where the phases matter; sometimes so large that span * weight overflows
    room = r.choice([need, need + random_len(r), need * r.randrange(1, 9), max(0, need - GRAIN), random_len(r) << 12])
    return version, parts, start, start + room


def line_of(version, parts, start, end):
    words = [start, end, int(ref_repart.V(version) >= (262, 0))]
    for p in parts:
        words += [p.minsize(GRAIN), p.maxsize(GRAIN), p.weight, p.pmin or 0, NONE if p.pmax is None else p.pmax, p.pweight]
    return ' '.join(map(str, words))


def main():
    program, cnt, seed = sys.argv[1], int((sys.argv[2:] + [2000])[0]), int((sys.argv[3:] + [1])[0])
    r = random.Random(seed)
    sets = [random_set(r) for _ in range(cnt)]
    answer = subprocess.run([program], input='\n'.join(line_of(*s) for s in sets) + '\n', capture_output=True,
                            text=True, check=True).stdout.split('\n')
    fitting = 0
    for s, found in zip(sets, answer):
        version, parts, start, end = s
        line = line_of(*s)
        places = ref_repart.allocate(parts, start, end, GRAIN, version)
        expected = ' '.join('%d,%d,%d' % p for p in places) if places is not None else '-'
        fitting += places is not None
        if found != expected:
            sys.exit('systemd %s, input %s\n  expected %s\n  found    %s' % (version, line, expected, found))
    print('%d sets, %d of them fit, all equal' % (cnt, fitting))
    if fitting < cnt // 4:
        sys.exit('too few sets fit for the comparison to mean something')


main()
