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

INLINE vec ror(vec x, int n)
{
	return _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - n));
}

INLINE vec big_sigma0(vec x)
{
	return xor3(ror(x, 2), ror(x, 13), ror(x, 22));
}

INLINE vec big_sigma1(vec x)
{
	return xor3(ror(x, 6), ror(x, 11), ror(x, 25));
}

INLINE vec small_sigma0(vec x)
{
	return xor3(ror(x, 7), ror(x, 18), _mm256_srli_epi32(x, 3));
}

INLINE vec small_sigma1(vec x)
{
	return xor3(ror(x, 17), ror(x, 19), _mm256_srli_epi32(x, 10));
}

/*
 * Transposes in place 8 by 8 words: word i of message l goes from lane i of w[l] to lane l of w[i].
 * First inside the 128-bit halves, then the halves.
 */
INLINE void transpose(vec w[8])
{
	vec t[8];

	HASH_UNROLL
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(w[i], w[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(w[i], w[i + 1]);
	}
	HASH_UNROLL
	for (int i = 0; i < 8; i += 4) {
		w[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		w[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		w[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		w[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	/* now half q of w[4 * g + j] holds word 4 * q + j of messages 4 * g to 4 * g + 3 */
	HASH_UNROLL
	for (int j = 0; j < 4; j++) {
		t[j] = _mm256_permute2x128_si256(w[j], w[4 + j], 0x20);
		t[4 + j] = _mm256_permute2x128_si256(w[j], w[4 + j], 0x31);
	}
	HASH_UNROLL
	for (int i = 0; i < 8; i++)
		w[i] = t[i];
}

INLINE void load_chunks(vec w[16], const uint8_t *const *in, size_t off)
{
	const vec big_endian = _mm256_broadcastsi128_si256(
	        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));

	HASH_UNROLL
	for (int l = 0; l < LANES; l++) {
		const __m256i *chunk = (const __m256i *)(const void *)(in[l] + off);

		w[l] = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk), big_endian);
		w[8 + l] = _mm256_shuffle_epi8(_mm256_loadu_si256(chunk + 1), big_endian);
	}
	transpose(w);
	transpose(w + 8);
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
