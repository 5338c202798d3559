/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of LANES messages side by side (FIPS 180-4 6.2.2), lane i of every vector belonging to
 * message i. Included once by an engine that has defined, for its instruction set:
 *   LANES, TARGET and INLINE (function attributes), vec (a vector of LANES words),
 *   add, words_of (one word in all lanes), choose, majority, big_sigma0 and 1, small_sigma0 and 1,
 *   load_state, store_state, load_chunks (word i of each message into w[i]).
 * Rounds are written out by macros: registers cannot be indexed, and gcc 12 leaves arrays in memory
 * when loops disappear only late.
 */
#ifndef MODELDISK_HASH_LANES_INT_H
#define MODELDISK_HASH_LANES_INT_H

/*
 * Both compilers like to add in another order. Where a term arrives late, that puts more additions
 * between one round and the next, and the rounds wait for nothing but each other.
 */
INLINE vec pin(vec x)
{
	__asm__("" : "+v"(x));
	return x;
}

#define HASH_ROUND(a, b, c, d, e, f, g, h, k, w)                                                   \
	do {                                                                                       \
		vec late = big_sigma1(e);                                                          \
		vec sum = pin(add(pin(add(add(w, words_of(k)), h)), choose(e, f, g)));             \
                                                                                                   \
		d = add(pin(add(d, sum)), late);                                                   \
		h = add(pin(add(add(sum, late), majority(a, b, c))), big_sigma0(a));               \
	} while (0)

#define HASH_EIGHT_ROUNDS(s, k, i, w)                                                              \
	do {                                                                                       \
		HASH_ROUND(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], (k)[i], w((i)));        \
		HASH_ROUND(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], (k)[(i) + 1],           \
		           w((i) + 1));                                                            \
		HASH_ROUND(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], (k)[(i) + 2],           \
		           w((i) + 2));                                                            \
		HASH_ROUND(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], (k)[(i) + 3],           \
		           w((i) + 3));                                                            \
		HASH_ROUND(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], (k)[(i) + 4],           \
		           w((i) + 4));                                                            \
		HASH_ROUND(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], (k)[(i) + 5],           \
		           w((i) + 5));                                                            \
		HASH_ROUND(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], (k)[(i) + 6],           \
		           w((i) + 6));                                                            \
		HASH_ROUND(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], (k)[(i) + 7],           \
		           w((i) + 7));                                                            \
	} while (0)

/* Word i as it was loaded, and the one 16 rounds later in its place. */
#define HASH_LOADED(i) w[i]
#define HASH_SCHEDULED(i)                                                                          \
	(w[i] = add(add(w[i], w[((i) + 9) & 15]),                                                  \
	            add(small_sigma0(w[((i) + 1) & 15]), small_sigma1(w[((i) + 14) & 15]))))

TARGET static void compress(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt)
{
	vec s[8], w[16];

	HASH_UNROLL
	for (size_t i = 0; i < 8; i++)
		s[i] = load_state(state + LANES * i);
	for (size_t n = 0; n < chunk_cnt; n++) {
		load_chunks(w, in, n * HASH_CHUNK_LEN);
		HASH_EIGHT_ROUNDS(s, hash_sha256_k, 0, HASH_LOADED);
		HASH_EIGHT_ROUNDS(s, hash_sha256_k, 8, HASH_LOADED);
		for (size_t t = 16; t < 64; t += 16) {
			HASH_EIGHT_ROUNDS(s, hash_sha256_k + t, 0, HASH_SCHEDULED);
			HASH_EIGHT_ROUNDS(s, hash_sha256_k + t, 8, HASH_SCHEDULED);
		}
		HASH_UNROLL
		for (size_t i = 0; i < 8; i++) {
			s[i] = add(s[i], load_state(state + LANES * i));
			store_state(state + LANES * i, s[i]);
		}
	}
}

#endif
