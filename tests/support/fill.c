/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from support.c, so that programs without its wrapped calls can have it. */
#include "support.h"

void support_fill(void *buf, size_t len, uint64_t seed)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			seed += UINT64_C(0x9E3779B97F4A7C15);
		uint64_t z = seed;

		z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
		z ^= z >> 31;
		p[i] = (uint8_t)(z >> (8 * (i % 8)));
	}
}
