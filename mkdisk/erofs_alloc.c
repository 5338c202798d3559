/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions, and the choice of one for an item. Regions are kept by their level, the number of bytes
 * used in their last block: one queue per level for the placed and one for the pending regions, and
 * a bitmap of the levels that are occupied, so that the fullest region with room is found without
 * a search. Which item comes when, and which region must have an address, is erofs_plan.c's.
 *
 * The order inside the queues is part of the format: a region goes to the end of its queue whenever
 * it changes, and only the first of a queue is ever looked at.
 */
#include "erofs_alloc.h"

#include <assert.h>
#include <errno.h>

#include "erofs_disk.h"

#define BLOCK_LEN  4096U
#define MAX_BLOCKS UINT64_C(0xFFFFFFFF)
#define NONE       UINT32_MAX /* no region, no level */

struct region {
	uint64_t fill;       /* bytes in use from the start, padding included */
	uint64_t first_blk;  /* once placed */
	uint32_t next, prev; /* in the queue of its level */
};

struct queue {
	uint32_t head, tail;
};

/* Regions of one state, by level. */
struct shelf {
	struct queue queue[BLOCK_LEN];
	uint64_t occupied[BLOCK_LEN / 64]; /* a bit per level */
	uint64_t words;                    /* a bit per word of occupied[] that is not 0 */
};

struct erofs_alloc {
	struct region *region;
	uint32_t region_cnt, region_cap;
	uint32_t placed_cnt; /* regions below this number are placed */
	uint64_t end_blk;
	struct shelf placed, pending;
};

static uint32_t level_of(const struct region *r)
{
	return (uint32_t)(r->fill % BLOCK_LEN);
}

static uint64_t block_cnt(const struct region *r)
{
	return div_up(r->fill, BLOCK_LEN);
}

static struct shelf *shelf_of(struct erofs_alloc *a, uint32_t id)
{
	return id < a->placed_cnt ? &a->placed : &a->pending;
}

static void shelf_init(struct shelf *s)
{
	for (size_t i = 0; i < BLOCK_LEN; i++)
		s->queue[i] = (struct queue){ NONE, NONE };
}

static void shelf_append(struct erofs_alloc *a, struct shelf *s, uint32_t id)
{
	struct region *r = &a->region[id];
	uint32_t level = level_of(r);
	struct queue *q = &s->queue[level];

	r->next = NONE;
	r->prev = q->tail;
	if (q->tail != NONE)
		a->region[q->tail].next = id;
	else
		q->head = id;
	q->tail = id;
	s->occupied[level / 64] |= UINT64_C(1) << level % 64;
	s->words |= UINT64_C(1) << level / 64;
}

static void shelf_remove(struct erofs_alloc *a, struct shelf *s, uint32_t id)
{
	struct region *r = &a->region[id];
	uint32_t level = level_of(r);
	struct queue *q = &s->queue[level];

	if (r->prev != NONE)
		a->region[r->prev].next = r->next;
	else
		q->head = r->next;
	if (r->next != NONE)
		a->region[r->next].prev = r->prev;
	else
		q->tail = r->prev;
	if (q->head != NONE)
		return;
	s->occupied[level / 64] &= ~(UINT64_C(1) << level % 64);
	if (s->occupied[level / 64] == 0)
		s->words &= ~(UINT64_C(1) << level / 64);
}

static uint64_t bits_up_to(uint64_t v, uint32_t bit)
{
	return v & (UINT64_MAX >> (63 - bit));
}

static uint32_t highest_bit(uint64_t v)
{
	return 63 - (uint32_t)__builtin_clzll(v);
}

/* The highest occupied level from high down to low; NONE if there is none. */
static uint32_t shelf_find(const struct shelf *s, uint32_t high, uint32_t low)
{
	uint64_t bits = bits_up_to(s->occupied[high / 64], high % 64);
	uint32_t word = high / 64;

	if (bits == 0) {
		uint64_t words = word > 0 ? bits_up_to(s->words, word - 1) : 0;

		if (words == 0)
			return NONE;
		word = highest_bit(words);
		bits = s->occupied[word];
	}
	uint32_t level = word * 64 + highest_bit(bits);
	return level >= low ? level : NONE;
}

static int add_region(struct erofs_alloc *a, uint32_t *id)
{
	if (a->region_cnt == a->region_cap) {
		uint32_t cap = a->region_cap > 0 ? a->region_cap * 2 : 16;
		struct region *region = realloc(a->region, cap * sizeof(*region));

		if (!region)
			return -ENOMEM;
		a->region = region;
		a->region_cap = cap;
	}
	/* not on a shelf before it holds something */
	a->region[a->region_cnt] = (struct region){ 0 };
	*id = a->region_cnt++;
	return 0;
}

int erofs_alloc_new(uint32_t head_len, struct erofs_alloc **out)
{
	scoped(erofs_alloc) struct erofs_alloc *a = calloc(1, sizeof(*a));
	uint32_t id;

	if (!a)
		return -ENOMEM;
	shelf_init(&a->placed);
	shelf_init(&a->pending);
	if (add_region(a, &id) < 0)
		return -ENOMEM;
	a->region[id].fill = head_len;
	a->end_blk = block_cnt(&a->region[id]);
	a->placed_cnt = 1;
	shelf_append(a, &a->placed, id);
	*out = take_ptr(a);
	return 0;
}

void erofs_alloc_free(struct erofs_alloc *a)
{
	if (!a)
		return;
	free(a->region);
	free(a);
}

int erofs_alloc_blocks(struct erofs_alloc *a, uint64_t cnt, uint64_t *first)
{
	if (a->end_blk > MAX_BLOCKS || cnt > MAX_BLOCKS - a->end_blk)
		return -EFBIG;
	*first = a->end_blk;
	a->end_blk += cnt;
	return 0;
}

/* An item, with the alignment that shared attributes have and inodes do not. */
struct request {
	uint64_t len;
	uint32_t tail_len;
	uint32_t align;
	bool after_data;
};

/* Bytes in use in its last block if a region at this fill took the request; 0 if the tail would
 * cross the block's end. */
static uint32_t used_after(uint64_t fill, const struct request *q)
{
	uint64_t end = round_up(fill, q->align) + q->len;
	uint32_t last = (uint32_t)((end - 1) % BLOCK_LEN);

	return last + q->tail_len < BLOCK_LEN ? last + 1 + q->tail_len : 0;
}

/* The same for the region placed last, which may grow as long as it ends where the image ends. */
static uint32_t used_after_in_last(const struct erofs_alloc *a, const struct request *q)
{
	const struct region *r = &a->region[a->placed_cnt - 1];
	bool may_grow = r->first_blk + block_cnt(r) == a->end_blk;
	uint64_t end = round_up(r->fill, q->align) + q->len + q->tail_len;

	if (end > block_cnt(r) * BLOCK_LEN && !may_grow)
		return 0;
	return used_after(r->fill, q);
}

/*
 * The region placed last is looked at on its own, because it can grow, unless data that was just
 * taken lies behind it.
 */
static uint32_t choose_placed(const struct erofs_alloc *a, const struct request *q, uint32_t room,
                              uint32_t *used)
{
	uint32_t skip = q->after_data ? NONE : a->placed_cnt - 1;
	uint32_t best = NONE;

	*used = 0;
	/* Every region at a level from 1 to room has its last block and room in it. */
	for (uint32_t level = room; best == NONE && level > 0; level--) {
		level = shelf_find(&a->placed, level, 1);
		if (level == NONE)
			break;
		best = a->placed.queue[level].head;
		if (best == skip)
			best = a->region[best].next;
		if (best != NONE)
			*used = used_after(level, q);
	}
	if (skip != NONE) {
		uint32_t used_in_last = used_after_in_last(a, q);

		if (used_in_last > *used) {
			best = skip;
			*used = used_in_last;
		}
	}
	return best;
}

/*
 * Pending regions: levels from room down to 0, then from the top down to just above room. room is
 * the level at which the request ends at a block's end; each step down that circle moves its end
 * away from there, until the tail would begin in one block and end in the next. So the levels that
 * take the request are one run at the beginning, and if the first occupied level does not take it,
 * none does.
 */
static uint32_t choose_pending(const struct erofs_alloc *a, const struct request *q, uint32_t room,
                               uint32_t *used)
{
	uint32_t level = shelf_find(&a->pending, room, 0);

	if (level == NONE && room + q->align < BLOCK_LEN)
		level = shelf_find(&a->pending, BLOCK_LEN - 1, room + q->align);
	if (level == NONE)
		return NONE;
	*used = used_after(level, q);
	return *used > 0 ? a->pending.queue[level].head : NONE;
}

/* The region for the request; NONE: only a new one would do. */
static uint32_t choose(const struct erofs_alloc *a, const struct request *q)
{
	uint64_t total = q->len + q->tail_len;
	uint32_t room = (uint32_t)round_down(BLOCK_LEN - total % BLOCK_LEN, q->align);
	uint32_t best = NONE, best_used = 0, used = 0;

	if (total < BLOCK_LEN)
		best = choose_placed(a, q, room, &best_used);
	uint32_t pending = choose_pending(a, q, room % BLOCK_LEN, &used);
	if (pending != NONE && used > best_used)
		best = pending;
	return best;
}

/* Appends the request to a region that takes it; its offset there. */
static uint64_t append(struct erofs_alloc *a, uint32_t id, const struct request *q, bool is_new)
{
	struct region *r = &a->region[id];
	uint64_t off = round_up(r->fill, q->align);
	uint64_t blocks_before = block_cnt(r);

	if (!is_new)
		shelf_remove(a, shelf_of(a, id), id);
	r->fill = off + q->len + q->tail_len;
	if (id < a->placed_cnt && block_cnt(r) > blocks_before) {
		assert(id == a->placed_cnt - 1 && r->first_blk + blocks_before == a->end_blk);
		a->end_blk = r->first_blk + block_cnt(r);
	}
	shelf_append(a, shelf_of(a, id), id);
	return off;
}

int erofs_alloc_item(struct erofs_alloc *a, const struct erofs_item *item, uint32_t *region,
                     uint64_t *off)
{
	const struct request q = { item->len, item->tail_len, EROFS_SLOT_LEN, item->after_data };
	uint32_t id = choose(a, &q);
	bool is_new = id == NONE;

	assert(item->len > 0 && item->tail_len < BLOCK_LEN);
	if (is_new) {
		int r = add_region(a, &id);

		if (r < 0)
			return r;
		if (used_after(0, &q) == 0)
			return -ENOSPC;
	}
	*off = append(a, id, &q, is_new);
	*region = id;
	return 0;
}

int erofs_alloc_shared(struct erofs_alloc *a, uint64_t len, uint64_t *off)
{
	const struct request q = { .len = len, .align = 4 };
	uint32_t id = choose(a, &q);
	uint64_t first;

	assert(len > 0 && a->placed_cnt == a->region_cnt);
	if (id != NONE) {
		uint64_t inside = append(a, id, &q, false);

		*off = erofs_alloc_region_off(a, id) + inside;
		return 0;
	}
	int r = erofs_alloc_blocks(a, div_up(len, BLOCK_LEN), &first);
	if (r == 0)
		*off = first * BLOCK_LEN;
	return r;
}

static void place_next(struct erofs_alloc *a)
{
	uint32_t id = a->placed_cnt;
	struct region *r = &a->region[id];

	if (r->fill > 0)
		shelf_remove(a, &a->pending, id);
	r->first_blk = a->end_blk;
	a->end_blk += block_cnt(r);
	a->placed_cnt++;
	shelf_append(a, &a->placed, id);
}

void erofs_alloc_place(struct erofs_alloc *a, uint32_t region)
{
	assert(region < a->region_cnt);
	while (a->placed_cnt <= region)
		place_next(a);
}

void erofs_alloc_place_all(struct erofs_alloc *a)
{
	while (a->placed_cnt < a->region_cnt)
		place_next(a);
}

uint64_t erofs_alloc_region_off(const struct erofs_alloc *a, uint32_t region)
{
	assert(region < a->placed_cnt);
	return a->region[region].first_blk * BLOCK_LEN;
}

uint64_t erofs_alloc_end(const struct erofs_alloc *a)
{
	return a->end_blk;
}
