/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of 8 messages side by side with AVX2, for CPUs that have neither AVX-512 nor the SHA
 * extensions.
 */
#include "hash_int.h"

#ifdef __x86_64__

#include <immintrin.h>

#define LANES  8
#define TARGET __attribute__((target("avx2")))
#define INLINE TARGET __attribute__((always_inline)) static inline

typedef __m256i vec;

INLINE vec load_state(const uint32_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

INLINE void store_state(uint32_t *p, vec v)
{
	_mm256_storeu_si256((__m256i *)p, v);
}

INLINE vec load_big_endian(const uint8_t *in)
{
	const vec order = _mm256_broadcastsi128_si256(
	        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));

	return _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(const void *)in), order);
}

INLINE vec words_of(uint32_t v)
{
	return _mm256_set1_epi32((int)v);
}

INLINE vec add(vec a, vec b)
{
	return _mm256_add_epi32(a, b);
}

INLINE vec xor3(vec a, vec b, vec c)
{
	return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}

INLINE vec choose(vec e, vec f, vec g)
{
	return _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
}

INLINE vec majority(vec a, vec b, vec c)
{
	return _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)));
}

INLINE vec shr(vec x, int n)
{
	return _mm256_srli_epi32(x, n);
}

INLINE vec ror(vec x, int n)
{
	return _mm256_or_si256(shr(x, n), _mm256_slli_epi32(x, 32 - n));
}

#define unpack_lo_32 _mm256_unpacklo_epi32
#define unpack_hi_32 _mm256_unpackhi_epi32
#define unpack_lo_64 _mm256_unpacklo_epi64
#define unpack_hi_64 _mm256_unpackhi_epi64

INLINE void exchange_quarters(vec w[8])
{
	vec t[8];

	HASH_UNROLL
	for (int j = 0; j < 4; j++) {
		t[j] = _mm256_permute2x128_si256(w[j], w[4 + j], 0x20);
		t[4 + j] = _mm256_permute2x128_si256(w[j], w[4 + j], 0x31);
	}
	HASH_UNROLL
	for (int i = 0; i < 8; i++)
		w[i] = t[i];
}

#include "hash_lanes_int.h"

static bool is_usable(void)
{
	return __builtin_cpu_supports("avx2");
}

const struct hash_engine hash_avx2 = {
	.name = "avx2",
	.is_usable = is_usable,
	.kernels = { { .lanes = LANES, .min_cnt = 4, .compress = compress } },
};

#endif
