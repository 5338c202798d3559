/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of LANES messages side by side (FIPS 180-4 6.2.2), lane i of every vector belonging to
 * message i. Included once by an engine that has defined, for its instruction set:
 *   LANES, TARGET and INLINE (function attributes), vec (a vector of LANES words),
 *   load_state, store_state, load_big_endian (words of a message), words_of (one word in all
 * lanes), add, xor3, choose, majority, ror and shr (by a constant), unpack_lo_32, unpack_hi_32,
 * unpack_lo_64, unpack_hi_64 (inside each 128-bit quarter), exchange_quarters (what transpose()
 * leaves to do). Rounds are written out by macros: registers cannot be indexed, and gcc 12 leaves
 * arrays in memory when loops disappear only late.
 */
#ifndef MODELDISK_HASH_LANES_INT_H
#define MODELDISK_HASH_LANES_INT_H

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
	return xor3(ror(x, 7), ror(x, 18), shr(x, 3));
}

INLINE vec small_sigma1(vec x)
{
	return xor3(ror(x, 17), ror(x, 19), shr(x, 10));
}

/*
 * Transposes in place LANES by LANES words: word i of message l goes from lane i of w[l] to lane l
 * of w[i]. First inside the 128-bit quarters, after which quarter q of w[4 * g + j] holds word
 * 4 * q + j of messages 4 * g to 4 * g + 3; then the quarters.
 */
INLINE void transpose(vec w[LANES])
{
	vec t[LANES];

	HASH_UNROLL
	for (int i = 0; i < LANES; i += 2) {
		t[i] = unpack_lo_32(w[i], w[i + 1]);
		t[i + 1] = unpack_hi_32(w[i], w[i + 1]);
	}
	HASH_UNROLL
	for (int i = 0; i < LANES; i += 4) {
		w[i] = unpack_lo_64(t[i], t[i + 2]);
		w[i + 1] = unpack_hi_64(t[i], t[i + 2]);
		w[i + 2] = unpack_lo_64(t[i + 1], t[i + 3]);
		w[i + 3] = unpack_hi_64(t[i + 1], t[i + 3]);
	}
	exchange_quarters(w);
}

/* Word i of each message into w[i]. */
INLINE void load_chunks(vec w[16], const uint8_t *const *in, size_t off)
{
	HASH_UNROLL
	for (int i = 0; i < 16; i += LANES) {
		HASH_UNROLL
		for (int l = 0; l < LANES; l++)
			w[i + l] = load_big_endian(in[l] + off + i * sizeof(uint32_t));
		transpose(w + i);
	}
}

/*
 * Both compilers like to add in another order. Where a term arrives late, that puts more additions
 * between one round and the next, and the rounds wait for nothing but each other.
 */
INLINE vec pin(vec x)
{
	__asm__("" : "+v"(x));
	return x;
}

/* What FIPS calls a (i = 0) to h (i = 7) in round t: the names move on, not the words. */
#define HASH_AT(i, t) s[((i) - (t)) & 7]

/* On s and w of compress(). t is a constant below 16; word is HASH_LOADED or HASH_SCHEDULED. */
#define HASH_ROUND(t, k, word)                                                                     \
	do {                                                                                       \
		vec late = big_sigma1(HASH_AT(4, t));                                              \
		vec sum = pin(add(add(word(t), words_of((k)[t])), HASH_AT(7, t)));                 \
                                                                                                   \
		sum = pin(add(sum, choose(HASH_AT(4, t), HASH_AT(5, t), HASH_AT(6, t))));          \
		HASH_AT(3, t) = add(pin(add(HASH_AT(3, t), sum)), late);                           \
		sum = add(add(sum, late), majority(HASH_AT(0, t), HASH_AT(1, t), HASH_AT(2, t)));  \
		HASH_AT(7, t) = add(pin(sum), big_sigma0(HASH_AT(0, t)));                          \
	} while (0)

#define HASH_FOUR_ROUNDS(t, k, word)                                                               \
	do {                                                                                       \
		HASH_ROUND((t), k, word);                                                          \
		HASH_ROUND((t) + 1, k, word);                                                      \
		HASH_ROUND((t) + 2, k, word);                                                      \
		HASH_ROUND((t) + 3, k, word);                                                      \
	} while (0)

#define HASH_SIXTEEN_ROUNDS(k, word)                                                               \
	do {                                                                                       \
		HASH_FOUR_ROUNDS(0, k, word);                                                      \
		HASH_FOUR_ROUNDS(4, k, word);                                                      \
		HASH_FOUR_ROUNDS(8, k, word);                                                      \
		HASH_FOUR_ROUNDS(12, k, word);                                                     \
	} while (0)

/* Word t as it was loaded, and the one 16 rounds later in its place. */
#define HASH_LOADED(t) w[t]
#define HASH_SCHEDULED(t)                                                                          \
	(w[t] = add(add(w[t], w[((t) + 9) & 15]),                                                  \
	            add(small_sigma0(w[((t) + 1) & 15]), small_sigma1(w[((t) + 14) & 15]))))

TARGET static void compress(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt)
{
	vec s[8], w[16];

	HASH_UNROLL
	for (size_t i = 0; i < 8; i++)
		s[i] = load_state(state + LANES * i);
	for (size_t n = 0; n < chunk_cnt; n++) {
		load_chunks(w, in, n * HASH_CHUNK_LEN);
		HASH_SIXTEEN_ROUNDS(hash_sha256_k, HASH_LOADED);
		for (const uint32_t *k = hash_sha256_k + 16; k < hash_sha256_k + 64; k += 16)
			HASH_SIXTEEN_ROUNDS(k, HASH_SCHEDULED);
		HASH_UNROLL
		for (size_t i = 0; i < 8; i++) {
			s[i] = add(s[i], load_state(state + LANES * i));
			store_state(state + LANES * i, s[i]);
		}
	}
}

#endif
