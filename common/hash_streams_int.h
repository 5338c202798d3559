/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of up to four messages in turn, with instructions that do several rounds of one message.
 * The rounds of a message form a chain in which each instruction waits for the one before, so
 * another message's rounds fill the gaps. Included once by an engine that has defined, for its
 * instruction set:
 *   TARGET and INLINE (function attributes), vec (four words), add,
 *   struct stream (with the members vec state[2], vec w[4]: the last 16 words of the schedule),
 *   load_state, store_state (words stride apart; the order inside state is the engine's own),
 *   four_rounds (rounds 4 * g to 4 * g + 3 of the chunk at in).
 */
#ifndef MODELDISK_HASH_STREAMS_INT_H
#define MODELDISK_HASH_STREAMS_INT_H

#define MAX_STREAMS 4

/* cnt is a constant wherever this is inlined, so that every loop but one disappears. */
INLINE void compress(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt, size_t cnt)
{
	struct stream s[MAX_STREAMS];

	HASH_UNROLL
	for (size_t i = 0; i < cnt; i++)
		load_state(&s[i], state + i, cnt);
	for (size_t n = 0; n < chunk_cnt; n++) {
		vec before[MAX_STREAMS][2];

		HASH_UNROLL
		for (size_t i = 0; i < cnt; i++) {
			before[i][0] = s[i].state[0];
			before[i][1] = s[i].state[1];
		}
		HASH_UNROLL
		for (size_t g = 0; g < 16; g++) {
			HASH_UNROLL
			for (size_t i = 0; i < cnt; i++)
				four_rounds(&s[i], in[i] + n * HASH_CHUNK_LEN, g);
		}
		HASH_UNROLL
		for (size_t i = 0; i < cnt; i++) {
			s[i].state[0] = add(s[i].state[0], before[i][0]);
			s[i].state[1] = add(s[i].state[1], before[i][1]);
		}
	}
	HASH_UNROLL
	for (size_t i = 0; i < cnt; i++)
		store_state(&s[i], state + i, cnt);
}

TARGET static void compress_one(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt)
{
	compress(state, in, chunk_cnt, 1);
}

TARGET static void compress_two(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt)
{
	compress(state, in, chunk_cnt, 2);
}

TARGET static void compress_four(uint32_t *state, const uint8_t *const *in, size_t chunk_cnt)
{
	compress(state, in, chunk_cnt, 4);
}

#define HASH_STREAM_KERNELS                                                                        \
	{ .lanes = 4, .min_cnt = 3, .compress = compress_four },                                   \
	        { .lanes = 2, .min_cnt = 2, .compress = compress_two },                            \
	{                                                                                          \
		.lanes = 1, .min_cnt = 1, .compress = compress_one                                 \
	}

#endif
