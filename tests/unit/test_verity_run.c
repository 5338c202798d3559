/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of data blocks that can be taken back: same tree, whatever the cuts, the order and the false
 * starts. */
#include "support.h"

#include "verity.h"

#include <errno.h>

#define BLOCK_LEN 512 /* 16 digests in a hash block: three levels with few blocks */
#define BLK_CNT   1337

struct built {
	struct verity_params p;
	struct verity_geometry geo;
	uint8_t *data, *tree;
	uint8_t root[32];
};

static int keep(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct built *t = ctx;

	(void)d;
	assert_true(range_is_inside(off, len, t->geo.tree_len));
	memcpy(t->tree + off, buf, len);
	return 0;
}

static void begin(struct built *t, uint64_t blk_cnt)
{
	memset(t, 0, sizeof(*t));
	t->p = (struct verity_params){
		.alg = HASH_SHA256,
		.hash_type = 1,
		.data_block_len = BLOCK_LEN,
		.hash_block_len = BLOCK_LEN,
		.data_blk_cnt = blk_cnt,
		.salt_len = 32,
	};
	assert_int_equal(verity_geometry_init(&t->geo, &t->p, NULL), 0);
	t->data = malloc(blk_cnt * BLOCK_LEN);
	t->tree = calloc(1, t->geo.tree_len + 1);
	assert_non_null(t->data);
	assert_non_null(t->tree);
	support_fill(t->data, blk_cnt * BLOCK_LEN, 7);
	if (blk_cnt > 500) /* zeros across several groups */
		memset(t->data + 200 * BLOCK_LEN, 0, 150 * BLOCK_LEN);
}

static void end(struct built *t)
{
	free(t->data);
	free(t->tree);
}

/* The tree by plain adds: what every run must give. */
static void build_plainly(struct built *t, uint64_t blk_cnt)
{
	scoped(verity_build) struct verity_build *b = NULL;

	begin(t, blk_cnt);
	assert_int_equal(verity_build_new(&t->p, keep, t, &b, NULL), 0);
	assert_int_equal(verity_build_add(b, 0, blk_cnt, t->data, NULL), 0);
	assert_int_equal(verity_build_finish(b, t->root, NULL), 0);
}

/* Adds [from, to) of t's data to the run, zeros as zeros, in pieces of at most step blocks. */
static void feed(struct verity_run *run, const struct built *t, uint64_t from, uint64_t to,
                 uint64_t step)
{
	static const uint8_t zero[BLOCK_LEN];

	while (from < to) {
		uint64_t n = 0;
		bool is_zero = memcmp(t->data + from * BLOCK_LEN, zero, BLOCK_LEN) == 0;

		while (n < step && from + n < to &&
		       (memcmp(t->data + (from + n) * BLOCK_LEN, zero, BLOCK_LEN) == 0) == is_zero)
			n++;
		if (is_zero)
			assert_int_equal(verity_run_add_zero(run, n, NULL), 0);
		else
			assert_int_equal(verity_run_add(run, n, t->data + from * BLOCK_LEN, NULL),
			                 0);
		from += n;
	}
}

static void build_by_runs(uint64_t blk_cnt, uint64_t run_len, uint64_t step,
                          const struct built *want)
{
	struct built t;
	struct verity_build *b = NULL;

	begin(&t, blk_cnt);
	assert_int_equal(verity_build_new(&t.p, keep, &t, &b, NULL), 0);
	/* from the end, so that no order is assumed; every run is begun twice, first with lies */
	for (uint64_t cnt = div_up(blk_cnt, run_len); cnt-- > 0;) {
		uint64_t from = cnt * run_len, to = MIN(from + run_len, blk_cnt);
		scoped(verity_run) struct verity_run *lie = NULL, *run = NULL;

		assert_int_equal(verity_run_new(b, from, to - from, &lie, NULL), 0);
		assert_int_equal(verity_run_add_zero(lie, (to - from) / 2 + 1, NULL), 0);
		assert_int_equal(verity_run_new(b, from, to - from, &run, NULL), 0);
		feed(run, &t, from, to, step);
		assert_int_equal(verity_run_commit(run, NULL), 0);
	}
	assert_int_equal(verity_build_finish(b, t.root, NULL), 0);
	assert_memory_equal(t.root, want->root, 32);
	assert_memory_equal(t.tree, want->tree, want->geo.tree_len);
	verity_build_free(b);
	end(&t);
}

static void runs_of_any_length_give_the_tree_of_plain_adds(void **state)
{
	static const uint64_t run_lens[] = { 1, 2, 15, 16, 17, 31, 32, 100, 256, 257, 1336, 1337 };
	static const uint64_t steps[] = { 1, 16, 300, 2000 };
	struct built want;

	(void)state;
	build_plainly(&want, BLK_CNT);
	for (size_t i = 0; i < ARRAY_LEN(run_lens); i++)
		for (size_t k = 0; k < ARRAY_LEN(steps); k++)
			build_by_runs(BLK_CNT, run_lens[i], steps[k], &want);
	end(&want);
}

static void trees_of_every_small_size_are_equal(void **state)
{
	(void)state;
	for (uint64_t blk_cnt = 1; blk_cnt < 40; blk_cnt++) {
		struct built want;

		build_plainly(&want, blk_cnt);
		for (uint64_t run_len = 1; run_len <= blk_cnt; run_len++)
			build_by_runs(blk_cnt, run_len, 3, &want);
		end(&want);
	}
}

static void an_uncommitted_run_leaves_the_tree_incomplete(void **state)
{
	struct built t;
	struct verity_build *b = NULL;
	struct verity_run *run = NULL;

	(void)state;
	begin(&t, 100);
	assert_int_equal(verity_build_new(&t.p, keep, &t, &b, NULL), 0);
	assert_int_equal(verity_run_new(b, 0, 100, &run, NULL), 0);
	assert_int_equal(verity_run_add(run, 99, t.data, NULL), 0);
	assert_int_equal(verity_run_commit(run, NULL), -EINVAL);
	assert_int_equal(verity_run_add(run, 2, t.data, NULL), -EINVAL);
	assert_int_equal(verity_build_finish(b, t.root, NULL), -EINVAL);
	verity_run_free(run);
	verity_build_free(b);
	end(&t);
}

static void a_block_counts_once(void **state)
{
	struct built t;
	struct verity_build *b = NULL;
	struct verity_run *first = NULL, *second = NULL;

	(void)state;
	begin(&t, 100);
	assert_int_equal(verity_build_new(&t.p, keep, &t, &b, NULL), 0);
	assert_int_equal(verity_run_new(b, 10, 50, &first, NULL), 0);
	assert_int_equal(verity_run_new(b, 30, 60, &second, NULL), 0);
	assert_int_equal(verity_run_add(first, 50, t.data, NULL), 0);
	assert_int_equal(verity_run_add(second, 60, t.data, NULL), 0);
	assert_int_equal(verity_run_commit(first, NULL), 0);
	assert_int_equal(verity_run_commit(second, NULL), -EINVAL);
	assert_int_equal(verity_build_finish(b, t.root, NULL), -EINVAL);
	verity_run_free(first);
	verity_run_free(second);
	verity_build_free(b);
	end(&t);
}

static void a_failed_allocation_is_an_error_and_the_run_can_begin_anew(void **state)
{
	struct built want;
	bool done = false;

	(void)state;
	build_plainly(&want, BLK_CNT);
	for (unsigned long k = 1; !done; k++) {
		scoped(verity_build) struct verity_build *b = NULL;
		scoped(verity_run) struct verity_run *run = NULL;
		uint8_t root[32];
		int r;

		assert_int_equal(verity_build_new(&want.p, NULL, NULL, &b, NULL), 0);
		support_fail_allocation(k);
		r = verity_run_new(b, 5, BLK_CNT - 5, &run, NULL);
		if (!r)
			r = verity_run_add(run, BLK_CNT - 5, want.data + 5 * BLOCK_LEN, NULL);
		support_fail_allocation(0);
		done = r == 0;
		assert_true(done || r == -ENOMEM);
		if (done) {
			assert_int_equal(verity_run_commit(run, NULL), 0);
			assert_int_equal(verity_build_add(b, 0, 5, want.data, NULL), 0);
			assert_int_equal(verity_build_finish(b, root, NULL), 0);
			assert_memory_equal(root, want.root, 32);
		}
		assert_true(k < 1000);
	}
	end(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_of_any_length_give_the_tree_of_plain_adds),
		cmocka_unit_test(trees_of_every_small_size_are_equal),
		cmocka_unit_test(an_uncommitted_run_leaves_the_tree_incomplete),
		cmocka_unit_test(a_block_counts_once),
		cmocka_unit_test(a_failed_allocation_is_an_error_and_the_run_can_begin_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
