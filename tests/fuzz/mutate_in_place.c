/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mutator for formats whose fields have fixed places: mostly it changes a field where it stands,
 * because a byte put in or taken out moves all that follows to where nobody looks for it. Linked
 * with libFuzzer only.
 */
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max_len);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max_len, unsigned seed);

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Borders of types, of blocks, of the input, and the neighbourhood of what stands there. */
static uint64_t interesting(uint64_t old, size_t len, uint64_t *state)
{
	uint64_t bit = UINT64_C(1) << next(state) % 64;

	switch (next(state) % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return bit;
	case 3:
		return bit - 1;
	case 4:
		return old + next(state) % 5 - 2;
	case 5:
		return old ^ bit;
	case 6:
		return (len >> next(state) % 13) + next(state) % 3 - 1;
	default:
		return next(state);
	}
}

/* Copies a slot over another: directories and inodes meet others than their own. */
static void copy_slot(uint8_t *data, size_t len, uint64_t *state)
{
	size_t slot = (size_t)4 << next(state) % 5;

	if (len >= slot)
		memmove(data + next(state) % (len / slot) * slot,
		        data + next(state) % (len / slot) * slot, slot);
}

static void change_field(uint8_t *data, size_t len, uint64_t *state)
{
	size_t width = (size_t)1 << next(state) % 4;
	size_t at = next(state) % len / width * width;
	uint64_t v = 0;

	width = MIN(width, len - at);
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)data[at + i] << (8 * i);
	v = interesting(v, len, state);
	for (size_t i = 0; i < width; i++)
		data[at + i] = (uint8_t)(v >> (8 * i));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max_len, unsigned seed)
{
	uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	unsigned cnt = 1 + (unsigned)(next(&state) % 4);

	if (len == 0 || next(&state) % 4 == 0)
		return LLVMFuzzerMutate(data, len, max_len);
	for (unsigned i = 0; i < cnt; i++) {
		if (next(&state) % 6 == 0)
			copy_slot(data, len, &state);
		else
			change_field(data, len, &state);
	}
	return len;
}
