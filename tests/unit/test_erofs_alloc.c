/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allocator finds a region without a search. Here the rule is spelled out as a search over all
 * of them (docs/format.md "EROFS layout"), and both must agree on long random sequences.
 */
#include "support.h"

#include <errno.h>

#include "erofs_alloc.h"

#define BLOCK_LEN   4096U
#define HEAD_LEN    1152U
#define MAX_REGIONS 4096U
#define NOBODY      UINT32_MAX

struct slow_region {
	uint64_t fill, first_blk;
	uint64_t changed; /* when: the order inside a queue */
	bool used;        /* in a queue */
};

struct slow {
	struct slow_region region[MAX_REGIONS];
	uint32_t region_cnt, placed_cnt;
	uint64_t end_blk, clock;
};

static uint64_t blocks_of(const struct slow_region *r)
{
	return div_up(r->fill, BLOCK_LEN);
}

/* FITS: bytes used in the last block afterwards, 0 if the item does not fit. */
static uint32_t slow_fits(const struct slow *s, uint32_t id, const struct erofs_item *item)
{
	const struct slow_region *r = &s->region[id];
	uint64_t end = round_up(r->fill, 32) + item->len;
	uint32_t last = (uint32_t)((end - 1) % BLOCK_LEN);
	bool may_grow = id >= s->placed_cnt ||
	                (id == s->placed_cnt - 1 && s->end_blk == r->first_blk + blocks_of(r));

	if (last + item->tail_len > BLOCK_LEN - 1)
		return 0;
	if (end + item->tail_len > blocks_of(r) * BLOCK_LEN && !may_grow)
		return 0;
	return last + 1 + item->tail_len;
}

/* The first in the queue of a level. */
static uint32_t slow_first(const struct slow *s, bool placed, uint32_t level, uint32_t skip)
{
	uint32_t best = NOBODY;

	for (uint32_t id = placed ? 0 : s->placed_cnt;
	     id < (placed ? s->placed_cnt : s->region_cnt); id++) {
		const struct slow_region *r = &s->region[id];

		if (r->used && id != skip && r->fill % BLOCK_LEN == level &&
		    (best == NOBODY || r->changed < s->region[best].changed))
			best = id;
	}
	return best;
}

static uint32_t slow_choose(const struct slow *s, const struct erofs_item *item)
{
	uint32_t total = item->len + item->tail_len;
	int64_t room = (BLOCK_LEN - total % BLOCK_LEN) / 32 * 32;
	uint32_t last = item->after_data ? NOBODY : s->placed_cnt - 1;
	uint32_t best = NOBODY, best_used = 0;

	for (int64_t level = room; total < BLOCK_LEN && level >= 1 && best == NOBODY; level--) {
		best = slow_first(s, true, (uint32_t)level, last);
		best_used = best == NOBODY ? 0 : slow_fits(s, best, item);
	}
	if (total < BLOCK_LEN && last != NOBODY && slow_fits(s, last, item) > best_used) {
		best = last;
		best_used = slow_fits(s, last, item);
	}
	room %= BLOCK_LEN;
	for (int64_t step = 0; step < BLOCK_LEN; step++) {
		int64_t level = room >= step ? room - step : room - step + BLOCK_LEN;
		if (level > room && level < room + 32)
			break;
		uint32_t id = slow_first(s, false, (uint32_t)level, NOBODY);
		uint32_t used = id == NOBODY ? 0 : slow_fits(s, id, item);
		if (used == 0)
			continue;
		return used > best_used ? id : best;
	}
	return best;
}

static int slow_item(struct slow *s, const struct erofs_item *item, uint32_t *region, uint64_t *off)
{
	uint32_t id = slow_choose(s, item);

	if (id == NOBODY) {
		id = s->region_cnt++;
		assert_true(id < MAX_REGIONS);
		s->region[id] = (struct slow_region){ 0 };
		if (slow_fits(s, id, item) == 0)
			return -ENOSPC;
	}
	struct slow_region *r = &s->region[id];
	*off = round_up(r->fill, 32);
	r->fill = *off + item->len + item->tail_len;
	r->changed = ++s->clock;
	r->used = true;
	if (id < s->placed_cnt && r->first_blk + blocks_of(r) > s->end_blk)
		s->end_blk = r->first_blk + blocks_of(r);
	*region = id;
	return 0;
}

static void slow_place(struct slow *s, uint32_t up_to)
{
	for (; s->placed_cnt <= up_to && s->placed_cnt < s->region_cnt; s->placed_cnt++) {
		struct slow_region *r = &s->region[s->placed_cnt];

		r->first_blk = s->end_blk;
		s->end_blk += blocks_of(r);
		r->changed = ++s->clock;
		r->used = true;
	}
}

struct random {
	uint64_t state;
};

static uint32_t below(struct random *r, uint32_t limit)
{
	r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(r->state >> 33) % limit;
}

/* Items as they come: plain inodes, tails of all lengths or around the limits, large attributes. */
static struct erofs_item random_item(struct random *r)
{
	struct erofs_item item = { .len = below(r, 4) == 0 ? 64 : 32,
		                   .after_data = below(r, 4) == 0 };

	switch (below(r, 6)) {
	case 0:
		item.tail_len = below(r, 4096);
		break;
	case 1:
		item.tail_len = 3900 + below(r, 196);
		break;
	case 2:
		item.tail_len = below(r, 200);
		break;
	case 3:
		item.len += 4 * below(r, 3000);
		item.tail_len = below(r, 2) ? below(r, 4096) : 0;
		break;
	default:
		break;
	}
	return item;
}

/* One sequence of items, data and placements in both; -ENOSPC is answered as the planner does. */
static void compare_sequence(uint64_t seed, struct slow *s)
{
	scoped(erofs_alloc) struct erofs_alloc *a = NULL;
	struct random random = { seed };
	uint32_t fast_region = 0, slow_region = 0;
	uint64_t fast_off = 0, slow_off = 0, first;

	assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), 0);
	*s = (struct slow){ .region_cnt = 1, .placed_cnt = 1, .end_blk = 1, .clock = 1 };
	s->region[0] = (struct slow_region){ .fill = HEAD_LEN, .changed = 1, .used = true };
	for (int i = 0; i < 400; i++) {
		struct erofs_item item = random_item(&random);

		if (item.after_data) {
			uint32_t cnt = 1 + below(&random, 3);

			assert_int_equal(erofs_alloc_blocks(a, cnt, &first), 0);
			assert_int_equal(first, s->end_blk);
			s->end_blk += cnt;
		}
		int r = slow_item(s, &item, &slow_region, &slow_off);
		assert_int_equal(erofs_alloc_item(a, &item, &fast_region, &fast_off), r);
		if (r == -ENOSPC) {
			item.tail_len = 0;
			assert_int_equal(slow_item(s, &item, &slow_region, &slow_off), 0);
			assert_int_equal(erofs_alloc_item(a, &item, &fast_region, &fast_off), 0);
		}
		assert_int_equal(fast_region, slow_region);
		assert_int_equal(fast_off, slow_off);
		if (below(&random, 20) == 0) {
			uint32_t up_to = below(&random, s->region_cnt);

			slow_place(s, up_to);
			erofs_alloc_place(a, up_to);
		}
		assert_int_equal(erofs_alloc_end(a), s->end_blk);
	}
	slow_place(s, MAX_REGIONS);
	erofs_alloc_place_all(a);
	for (uint32_t id = 0; id < s->region_cnt; id++)
		assert_int_equal(erofs_alloc_region_off(a, id),
		                 s->region[id].first_blk * BLOCK_LEN);
	assert_int_equal(erofs_alloc_end(a), s->end_blk);
}

static void every_choice_is_that_of_the_rule_spelled_out(void **state)
{
	scoped_free struct slow *s = malloc(sizeof(*s));

	(void)state;
	assert_non_null(s);
	for (uint64_t seed = 1; seed <= 40; seed++)
		compare_sequence(seed, s);
}

/* The reference tool never looks at levels between room and room + 32, although they would do. */
static void region_just_above_the_room_is_passed_over(void **state)
{
	scoped(erofs_alloc) struct erofs_alloc *a = NULL;
	const struct erofs_item fill_head = { .len = 32, .tail_len = 2911 };
	const struct erofs_item to_4033 = { .len = 32, .tail_len = 4001, .after_data = true };
	const struct erofs_item item = { .len = 64, .after_data = true };
	uint32_t region;
	uint64_t off;

	(void)state;
	assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), 0);
	assert_int_equal(erofs_alloc_item(a, &fill_head, &region, &off), 0);
	assert_int_equal(region, 0);
	assert_int_equal(erofs_alloc_item(a, &to_4033, &region, &off), 0);
	assert_int_equal(region, 1);
	assert_int_equal(erofs_alloc_item(a, &item, &region, &off), 0);
	assert_int_equal(region, 2);
}

static void shared_attributes_go_behind_the_superblock_or_have_blocks_of_their_own(void **state)
{
	static const struct {
		uint64_t len, off, end_blk;
	} want[] = {
		{ 4, 1152, 1 },    { 2944, 1152, 1 }, { 2948, 1152, 2 },  { 4092, 1152, 2 },
		{ 4096, 4096, 2 }, { 4100, 4096, 3 }, { 12288, 4096, 4 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		scoped(erofs_alloc) struct erofs_alloc *a = NULL;
		const struct erofs_item inode = { .len = 32 };
		uint64_t off;
		uint32_t region;

		assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), 0);
		assert_int_equal(erofs_alloc_shared(a, want[i].len, &off), 0);
		assert_int_equal(off, want[i].off);
		assert_int_equal(erofs_alloc_end(a), want[i].end_blk);
		/* the first inode joins the superblock, never shared blocks */
		assert_int_equal(erofs_alloc_item(a, &inode, &region, &off), 0);
		assert_int_equal(region, 0);
	}
}

static void image_of_two_to_the_32_blocks_is_refused(void **state)
{
	scoped(erofs_alloc) struct erofs_alloc *a = NULL;
	uint64_t first;

	(void)state;
	assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), 0);
	assert_int_equal(erofs_alloc_blocks(a, UINT64_C(0xFFFFFFFF), &first), -EFBIG);
	assert_int_equal(erofs_alloc_blocks(a, UINT64_MAX, &first), -EFBIG);
	assert_int_equal(erofs_alloc_blocks(a, UINT64_C(0xFFFFFFFE), &first), 0);
	assert_int_equal(first, 1);
	assert_int_equal(erofs_alloc_blocks(a, 1, &first), -EFBIG);
}

static void failed_allocation_leaves_the_space_as_it_was(void **state)
{
	scoped(erofs_alloc) struct erofs_alloc *a = NULL;
	const struct erofs_item big = { .len = 8192 };
	uint32_t region;
	uint64_t off;
	int r = 0;

	(void)state;
	for (unsigned long k = 1; k <= 2; k++) {
		support_fail_allocation(k);
		assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), -ENOMEM);
		support_fail_allocation(0);
	}
	assert_int_equal(erofs_alloc_new(HEAD_LEN, &a), 0);
	/* a full pending region takes the next item into a new block, so placing makes new ones */
	for (int i = 0; i < 100 && r == 0; i++) {
		support_fail_allocation(1);
		r = erofs_alloc_item(a, &big, &region, &off);
		support_fail_allocation(0);
		erofs_alloc_place_all(a);
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(erofs_alloc_item(a, &big, &region, &off), 0);
	assert_int_equal(off, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_choice_is_that_of_the_rule_spelled_out),
		cmocka_unit_test(region_just_above_the_room_is_passed_over),
		cmocka_unit_test(
		        shared_attributes_go_behind_the_superblock_or_have_blocks_of_their_own),
		cmocka_unit_test(image_of_two_to_the_32_blocks_is_refused),
		cmocka_unit_test(failed_allocation_leaves_the_space_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
