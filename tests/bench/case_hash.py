# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of many equal salted blocks, each engine on one core, beside OpenSSL's one-at-a-time interface."""
from bench import Aim, Case, Row, Sample


class Engines(Case):
    block_len, salt_len, per_call = 4096, 32, 32

    def prepare(self):
        self.engines = self.bench.run(self.bench.program('bench_hash'), '--list').out.split()

    def contenders(self):
        return {engine: lambda engine=engine: self.rate(engine) for engine in self.engines}

    def rate(self, engine):
        done = self.bench.run(self.bench.program('bench_hash'), engine, self.block_len, self.salt_len, self.per_call)
        return Sample(float(done.out) / 1e9)


class Blocks4096(Engines):
    name = 'hash-4k'
    title = 'hash 4 KiB blocks, one core'
    rows = {'': Row(aims=[Aim('avx512', 'openssl', 2.3), Aim('shani', 'openssl', 1.8), Aim('armv8', 'openssl'),
                          Aim('avx2', 'openssl')])}


class Blocks512(Engines):
    name = 'hash-512'
    title = 'hash 512-byte blocks, one core'
    block_len, per_call = 512, 256
    rows = {'': Row(aims=[Aim('avx512', 'openssl'), Aim('shani', 'openssl'), Aim('armv8', 'openssl'),
                          Aim('avx2', 'openssl')])}


CASES = [Blocks4096, Blocks512]
