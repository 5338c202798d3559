/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 with the x86 SHA extensions, one, two or four messages at a time. Two rounds wait four
 * cycles for the two before, and another two can start every second cycle: in theory two messages
 * fill the unit, in practice four are needed, because the schedule's instructions get in the way.
 */
#include "hash_int.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1")))
#define INLINE TARGET __attribute__((always_inline)) static inline

typedef __m128i vec;

/* state is {a b e f} and {c d g h}, the first named in the highest word, as sha256rnds2 wants it.
 */
struct stream {
	vec state[2], w[4];
};

INLINE vec add(vec a, vec b)
{
	return _mm_add_epi32(a, b);
}

INLINE void load_state(struct stream *s, const uint32_t *p, size_t stride)
{
	s->state[0] =
	        _mm_set_epi32((int)p[0], (int)p[stride], (int)p[4 * stride], (int)p[5 * stride]);
	s->state[1] = _mm_set_epi32((int)p[2 * stride], (int)p[3 * stride], (int)p[6 * stride],
	                            (int)p[7 * stride]);
}

INLINE void store_state(const struct stream *s, uint32_t *p, size_t stride)
{
	p[0] = (uint32_t)_mm_extract_epi32(s->state[0], 3);
	p[stride] = (uint32_t)_mm_extract_epi32(s->state[0], 2);
	p[2 * stride] = (uint32_t)_mm_extract_epi32(s->state[1], 3);
	p[3 * stride] = (uint32_t)_mm_extract_epi32(s->state[1], 2);
	p[4 * stride] = (uint32_t)_mm_extract_epi32(s->state[0], 1);
	p[5 * stride] = (uint32_t)_mm_extract_epi32(s->state[0], 0);
	p[6 * stride] = (uint32_t)_mm_extract_epi32(s->state[1], 1);
	p[7 * stride] = (uint32_t)_mm_extract_epi32(s->state[1], 0);
}

INLINE vec load_words(const uint8_t *in)
{
	const vec big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)in), big_endian);
}

/*
 * Four messages want 24 registers and there are 16. Left alone, gcc 12 also keeps states in memory,
 * where they lengthen the chain; clang 14 chooses well, and worse if it is told.
 */
#ifdef __clang__
#define KEEP_IN_REGISTER(x)
#else
#define KEEP_IN_REGISTER(x) __asm__("" : "+x"(x))
#endif

INLINE void four_rounds(struct stream *s, const uint8_t *in, size_t g)
{
	vec *w = &s->w[g & 3], wk;

	if (g < 4) {
		*w = load_words(in + g * sizeof(vec));
	} else {
		vec w1 = s->w[(g + 1) & 3], w2 = s->w[(g + 2) & 3], w3 = s->w[(g + 3) & 3];

		*w = add(_mm_sha256msg1_epu32(*w, w1), _mm_alignr_epi8(w3, w2, 4));
		*w = _mm_sha256msg2_epu32(*w, w3);
	}
	wk = add(*w, _mm_load_si128((const __m128i *)(const void *)hash_sha256_k + g));
	s->state[1] = _mm_sha256rnds2_epu32(s->state[1], s->state[0], wk);
	s->state[0] = _mm_sha256rnds2_epu32(s->state[0], s->state[1], _mm_shuffle_epi32(wk, 0x0e));
	KEEP_IN_REGISTER(s->state[0]);
	KEEP_IN_REGISTER(s->state[1]);
}

#include "hash_streams_int.h"

/* gcc 12 has no name for the SHA bit: CPUID leaf 7, EBX bit 29. Only SSE registers are used. */
static bool is_usable(void)
{
	unsigned a, b, c, d;

	return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
	       (b >> 29 & 1);
}

const struct hash_engine hash_shani = {
	.name = "shani",
	.is_usable = is_usable,
	.kernels = { HASH_STREAM_KERNELS },
};

#endif
