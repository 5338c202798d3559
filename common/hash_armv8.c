/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 with the SHA-2 instructions of ARMv8, one, two or four messages at a time.
 */
#include "hash_int.h"

#ifdef __aarch64__

/*
 * clang before 16 declares the intrinsics only if the whole file may use them; whether a function
 * may is still decided by its target attribute.
 */
#if defined(__clang__) && !defined(__ARM_FEATURE_SHA2)
#define __ARM_FEATURE_SHA2 1
#endif
#include <arm_neon.h>
#include <sys/auxv.h>

#ifdef __clang__
#define TARGET __attribute__((target("sha2")))
#else
#define TARGET __attribute__((target("+crypto"))) /* gcc 12's intrinsics ask for the whole set */
#endif
#define INLINE TARGET __attribute__((always_inline)) static inline

typedef uint32x4_t vec;

/* state is {a b c d} and {e f g h}, the first named in the lowest word. */
struct stream {
	vec state[2], w[4];
};

INLINE vec add(vec a, vec b)
{
	return vaddq_u32(a, b);
}

INLINE void load_state(struct stream *s, const uint32_t *p, size_t stride)
{
	for (size_t i = 0; i < 2; i++, p += 4 * stride)
		s->state[i] = (vec){ p[0], p[stride], p[2 * stride], p[3 * stride] };
}

INLINE void store_state(const struct stream *s, uint32_t *p, size_t stride)
{
	for (size_t i = 0; i < 2; i++, p += 4 * stride) {
		p[0] = vgetq_lane_u32(s->state[i], 0);
		p[stride] = vgetq_lane_u32(s->state[i], 1);
		p[2 * stride] = vgetq_lane_u32(s->state[i], 2);
		p[3 * stride] = vgetq_lane_u32(s->state[i], 3);
	}
}

INLINE void four_rounds(struct stream *s, const uint8_t *in, size_t g)
{
	vec *w = &s->w[g & 3], wk, abcd = s->state[0];

	if (g < 4) {
		*w = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(in + g * sizeof(vec))));
	} else {
		vec w1 = s->w[(g + 1) & 3], w2 = s->w[(g + 2) & 3], w3 = s->w[(g + 3) & 3];

		*w = vsha256su1q_u32(vsha256su0q_u32(*w, w1), w2, w3);
	}
	wk = add(*w, vld1q_u32(hash_sha256_k + 4 * g));
	s->state[0] = vsha256hq_u32(abcd, s->state[1], wk);
	s->state[1] = vsha256h2q_u32(s->state[1], abcd, wk);
}

#include "hash_streams_int.h"

static bool is_usable(void)
{
	return getauxval(AT_HWCAP) & HWCAP_SHA2;
}

const struct hash_engine hash_armv8 = {
	.name = "armv8",
	.is_usable = is_usable,
	.kernels = { HASH_STREAM_KERNELS },
};

#endif
