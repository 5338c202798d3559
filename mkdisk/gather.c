/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides when gathered blocks go: when the next ones belong elsewhere, or do not fit.
 */
#include "gather.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct gather {
	struct gather_target to;
	uint64_t off; /* in the image: where bytes belong */
	size_t len, cap;
	uint8_t *bytes;
};

int gather_new(const struct gather_target *to, size_t cap, struct gather **out)
{
	struct gather *g = calloc(1, sizeof(*g));

	if (g)
		g->bytes = aligned_alloc(WRITER_ALIGN, cap);
	if (!g || !g->bytes) {
		free(g);
		return -ENOMEM;
	}
	g->to = *to;
	g->cap = cap;
	*out = g;
	return 0;
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	free(g->bytes);
	free(g);
}

int gather_flush(struct gather *g, struct diag *d)
{
	size_t len = g->len;
	int r;

	g->len = 0;
	if (len == 0)
		return 0;
	r = verity_build_add(g->to.verity, g->off / g->to.leaf_len, len / g->to.leaf_len, g->bytes,
	                     d);
	return r < 0 ? r : output_write(g->to.out, g->to.image_off + g->off, g->bytes, len, d);
}

int gather_room(struct gather *g, uint64_t off, size_t len, uint8_t **room, struct diag *d)
{
	int r = 0;

	assert(len <= g->cap);
	if (off != g->off + g->len || len > g->cap - g->len)
		r = gather_flush(g, d);
	if (r < 0)
		return r;
	if (g->len == 0)
		g->off = off;
	*room = g->bytes + g->len;
	return 0;
}

void gather_advance(struct gather *g, size_t len)
{
	g->len += len;
}

int gather_block(struct gather *g, uint64_t off, const uint8_t *block, struct diag *d)
{
	uint8_t *room;
	int r = gather_room(g, off, GATHER_BLOCK_LEN, &room, d);

	if (r < 0)
		return r;
	memcpy(room, block, GATHER_BLOCK_LEN);
	gather_advance(g, GATHER_BLOCK_LEN);
	return 0;
}
