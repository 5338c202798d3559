/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between hash.c and the SHA-256 engines, one file per instruction set. An engine only compresses;
 * salt, padding, counts and the choice of engine are the business of hash.c. Also for the unit test
 * and the benchmark, which run every engine in one process.
 */
#ifndef MODELDISK_HASH_INT_H
#define MODELDISK_HASH_INT_H

#include "hash.h"

#define HASH_CHUNK_LEN 64 /* SHA-256 takes its message in chunks of this many bytes */
#define HASH_MAX_LANES 16

/* FIPS 180-4 4.2.2; aligned for whole-vector loads. */
extern const uint32_t hash_sha256_k[64];

/*
 * One way of compressing several messages side by side. Word w of lane l's state is
 * state[w * lanes + l], in the machine's byte order; in[l] points to chunk_cnt chunks of lane l,
 * without any alignment.
 */
struct hash_kernel {
	size_t lanes;   /* 1..HASH_MAX_LANES */
	size_t min_cnt; /* from this many blocks on, idle lanes included, it is the best choice */
	void (*compress)(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt);
};

#define HASH_MAX_KERNELS 3
struct hash_engine {
	const char *name;
	bool (*is_usable)(void); /* can this CPU (and kernel) run it? */
	/* widest first, ended by lanes 0; none for OpenSSL */
	struct hash_kernel kernels[HASH_MAX_KERNELS + 1];
};

extern const struct hash_engine hash_avx512, hash_shani, hash_avx2; /* x86-64 */
extern const struct hash_engine hash_armv8;                         /* arm64 */

/* hash_salted_blocks() by the named engine, which must be in hash_engine_list(). */
int hash_salted_blocks_by(const char *engine, const struct hash_salted *h, const void *blocks,
                          size_t block_len, size_t cnt, void *out, size_t out_stride) MUST_CHECK;

/* Loops over lanes disappear, so that each lane's words live in registers. */
#ifdef __clang__
#define HASH_UNROLL _Pragma("unroll")
#else
#define HASH_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
