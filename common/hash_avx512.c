/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of 16 messages side by side with AVX-512. One rotate and one three-input logic
 * instruction replace what takes three and two elsewhere.
 */
#include "hash_int.h"

#ifdef __x86_64__

#include <immintrin.h>

#define LANES  16
#define TARGET __attribute__((target("avx512f,avx512bw")))
#define INLINE TARGET __attribute__((always_inline)) static inline

typedef __m512i vec;

INLINE vec load_state(const uint32_t *p)
{
	return _mm512_loadu_si512(p);
}

INLINE void store_state(uint32_t *p, vec v)
{
	_mm512_storeu_si512(p, v);
}

INLINE vec words_of(uint32_t v)
{
	return _mm512_set1_epi32((int)v);
}

INLINE vec add(vec a, vec b)
{
	return _mm512_add_epi32(a, b);
}

/* The last operand of vpternlogd is the truth table: bit (a << 2 | b << 1 | c). */
INLINE vec xor3(vec a, vec b, vec c)
{
	return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

INLINE vec choose(vec e, vec f, vec g)
{
	return _mm512_ternarylogic_epi32(e, f, g, 0xca);
}

INLINE vec majority(vec a, vec b, vec c)
{
	return _mm512_ternarylogic_epi32(a, b, c, 0xe8);
}

INLINE vec big_sigma0(vec x)
{
	return xor3(_mm512_ror_epi32(x, 2), _mm512_ror_epi32(x, 13), _mm512_ror_epi32(x, 22));
}

INLINE vec big_sigma1(vec x)
{
	return xor3(_mm512_ror_epi32(x, 6), _mm512_ror_epi32(x, 11), _mm512_ror_epi32(x, 25));
}

INLINE vec small_sigma0(vec x)
{
	return xor3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3));
}

INLINE vec small_sigma1(vec x)
{
	return xor3(_mm512_ror_epi32(x, 17), _mm512_ror_epi32(x, 19), _mm512_srli_epi32(x, 10));
}

/*
 * Transposes in place the 16 by 16 words of 16 chunks: word i of message l goes from lane i of w[l]
 * to lane l of w[i]. First inside the 128-bit quarters, then the quarters.
 */
INLINE void transpose(vec w[16])
{
	vec t[16];

	HASH_UNROLL
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(w[i], w[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(w[i], w[i + 1]);
	}
	HASH_UNROLL
	for (int i = 0; i < 16; i += 4) {
		w[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		w[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		w[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		w[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	/* now quarter q of w[4 * g + j] holds word 4 * q + j of messages 4 * g to 4 * g + 3 */
	HASH_UNROLL
	for (int j = 0; j < 4; j++) {
		t[j] = _mm512_shuffle_i32x4(w[j], w[4 + j], 0x88);
		t[4 + j] = _mm512_shuffle_i32x4(w[j], w[4 + j], 0xdd);
		t[8 + j] = _mm512_shuffle_i32x4(w[8 + j], w[12 + j], 0x88);
		t[12 + j] = _mm512_shuffle_i32x4(w[8 + j], w[12 + j], 0xdd);
	}
	HASH_UNROLL
	for (int j = 0; j < 4; j++) {
		w[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
		w[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
		w[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
		w[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
	}
}

INLINE void load_chunks(vec w[16], const uint8_t *const *in, size_t off)
{
	const vec big_endian = _mm512_broadcast_i32x4(
	        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));

	HASH_UNROLL
	for (int l = 0; l < LANES; l++)
		w[l] = _mm512_shuffle_epi8(_mm512_loadu_si512(in[l] + off), big_endian);
	transpose(w);
}

#include "hash_lanes_int.h"

static bool is_usable(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

const struct hash_engine hash_avx512 = {
	.name = "avx512",
	.is_usable = is_usable,
	.kernels = { { .lanes = LANES, .min_cnt = 9, .compress = compress } },
};

#endif
