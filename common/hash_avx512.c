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

INLINE vec load_big_endian(const uint8_t *in)
{
	const vec order = _mm512_broadcast_i32x4(
	        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));

	return _mm512_shuffle_epi8(_mm512_loadu_si512(in), order);
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

/* Macros, since the counts must be constants even where nothing is inlined. */
#define shr(x, n) _mm512_srli_epi32((x), (n))
#define ror(x, n) _mm512_ror_epi32((x), (n))

#define unpack_lo_32 _mm512_unpacklo_epi32
#define unpack_hi_32 _mm512_unpackhi_epi32
#define unpack_lo_64 _mm512_unpacklo_epi64
#define unpack_hi_64 _mm512_unpackhi_epi64

INLINE void exchange_quarters(vec w[16])
{
	vec t[16];

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
