/* SPDX-License-Identifier: Apache-2.0 */
/* White-box: the cache has no public header. */
#include "support.h"

#include "verity_int.h"

#include <errno.h>
#include <pthread.h>

#define BLOCK_LEN 16

/* A block that says where it belongs. */
static struct verity_block *block_of(uint64_t tree_blk)
{
	struct verity_block *b = NULL;

	assert_int_equal(verity_block_new(tree_blk, BLOCK_LEN, &b), 0);
	support_fill(b->bytes, BLOCK_LEN, tree_blk);
	return b;
}

static void insert(struct verity_cache *c, uint64_t tree_blk)
{
	struct verity_block *b = block_of(tree_blk);

	verity_cache_insert(c, b);
	verity_block_unref(b);
}

/* Is the block held, and then the right one? */
static bool is_held(struct verity_cache *c, uint64_t tree_blk)
{
	struct verity_claim claim;
	struct verity_block *b = verity_cache_get(c, tree_blk, &claim);
	uint8_t want[BLOCK_LEN];

	verity_cache_release(c, &claim);
	if (!b)
		return false;
	support_fill(want, sizeof(want), tree_blk);
	assert_int_equal(b->tree_blk, tree_blk);
	assert_memory_equal(b->bytes, want, sizeof(want));
	verity_block_unref(b);
	return true;
}

static uint64_t held_cnt(struct verity_cache *c, uint64_t end)
{
	uint64_t cnt = 0;

	for (uint64_t i = 0; i < end; i++)
		cnt += is_held(c, i);
	return cnt;
}

static void the_bound_is_kept_and_reached(void **state)
{
	(void)state;
	for (uint64_t max_cnt = 0; max_cnt < 70; max_cnt++) {
		struct verity_cache *c = NULL;

		assert_int_equal(verity_cache_new(max_cnt, &c), 0);
		for (uint64_t i = 0; i < 1000; i++) {
			insert(c, i);
			assert_true(max_cnt == 0 || is_held(c, i));
		}
		assert_int_equal(held_cnt(c, 1000), max_cnt);
		verity_cache_free(c);
	}
}

static void what_is_used_stays(void **state)
{
	struct verity_cache *c = NULL;

	(void)state;
	assert_int_equal(verity_cache_new(64, &c), 0);
	for (uint64_t i = 0; i < 5000; i++) {
		insert(c, 100 + i);
		if (i == 0)
			insert(c, 7);
		assert_true(is_held(c, 7));
	}
	verity_cache_free(c);
}

static void a_block_in_use_outlives_its_eviction(void **state)
{
	struct verity_claim claim;
	struct verity_cache *c = NULL;
	struct verity_block *mine;
	uint8_t want[BLOCK_LEN];

	(void)state;
	assert_int_equal(verity_cache_new(1, &c), 0);
	insert(c, 5);
	mine = verity_cache_get(c, 5, &claim);
	insert(c, 6);
	insert(c, 7);
	assert_false(is_held(c, 5));
	support_fill(want, sizeof(want), 5);
	assert_memory_equal(mine->bytes, want, sizeof(want));
	verity_cache_free(c);
	assert_memory_equal(mine->bytes, want, sizeof(want));
	verity_block_unref(mine);
}

static void the_first_of_two_equal_blocks_stays(void **state)
{
	struct verity_claim claim;
	struct verity_cache *c = NULL;
	struct verity_block *first = block_of(3), *second = block_of(3), *got;

	(void)state;
	assert_int_equal(verity_cache_new(4, &c), 0);
	verity_cache_insert(c, first);
	verity_cache_insert(c, second);
	got = verity_cache_get(c, 3, &claim);
	assert_ptr_equal(got, first);
	verity_block_unref(got);
	verity_block_unref(first);
	verity_block_unref(second);
	verity_cache_free(c);
}

static void an_absurd_bound_is_refused(void **state)
{
	struct verity_cache *c = NULL;

	(void)state;
	assert_int_equal(verity_cache_new(UINT64_MAX, &c), -ENOMEM);
	assert_null(c);
}

static void every_failed_allocation_is_told(void **state)
{
	unsigned long k = 0;
	int r;

	(void)state;
	do {
		struct verity_cache *c = NULL;

		support_fail_allocation(++k);
		r = verity_cache_new(100, &c);
		support_fail_allocation(0);
		assert_true(r == (c ? 0 : -ENOMEM));
		verity_cache_free(c);
	} while (r);
	assert_true(k > 16);
}

static void *churn(void *arg)
{
	struct verity_cache *c = arg;

	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t tree_blk = i * 7919 % 61;

		if (!is_held(c, tree_blk))
			insert(c, tree_blk);
	}
	return NULL;
}

static void threads_get_the_blocks_they_asked_for(void **state)
{
	struct verity_cache *c = NULL;
	pthread_t thread[8];

	(void)state;
	assert_int_equal(verity_cache_new(20, &c), 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn, c), 0);
	for (size_t i = 0; i < ARRAY_LEN(thread); i++)
		pthread_join(thread[i], NULL);
	assert_true(held_cnt(c, 61) <= 20);
	verity_cache_free(c);
}

struct asker {
	struct verity_cache *c;
	pthread_t thread;
	bool has_claimed;
};

/* Fills a place that it finds empty, and says that it had to. */
static void *ask(void *arg)
{
	struct asker *a = arg;
	struct verity_claim claim;
	struct verity_block *b = verity_cache_get(a->c, 7, &claim);

	a->has_claimed = claim.is_held;
	if (!b)
		insert(a->c, 7);
	verity_cache_release(a->c, &claim);
	verity_block_unref(b);
	return NULL;
}

static void start_askers(struct asker *a, size_t cnt, struct verity_cache *c)
{
	for (size_t i = 0; i < cnt; i++) {
		a[i].c = c;
		assert_int_equal(pthread_create(&a[i].thread, NULL, ask, &a[i]), 0);
	}
}

static size_t claims_of(struct asker *a, size_t cnt)
{
	size_t claims = 0;

	for (size_t i = 0; i < cnt; i++) {
		pthread_join(a[i].thread, NULL);
		claims += a[i].has_claimed;
	}
	return claims;
}

static void a_block_that_somebody_loads_is_waited_for(void **state)
{
	struct asker a[4] = { 0 };
	struct verity_claim claim;
	struct verity_cache *c = NULL;

	(void)state;
	assert_int_equal(verity_cache_new(20, &c), 0);
	assert_null(verity_cache_get(c, 7, &claim));
	assert_true(claim.is_held);
	start_askers(a, ARRAY_LEN(a), c);
	insert(c, 7);
	verity_cache_release(c, &claim);
	assert_int_equal(claims_of(a, ARRAY_LEN(a)), 0);
	verity_cache_free(c);
}

static void a_claim_that_came_to_nothing_passes_to_one_who_waited(void **state)
{
	struct asker a[4] = { 0 };
	struct verity_claim claim;
	struct verity_cache *c = NULL;

	(void)state;
	assert_int_equal(verity_cache_new(20, &c), 0);
	assert_null(verity_cache_get(c, 7, &claim));
	start_askers(a, ARRAY_LEN(a), c);
	verity_cache_release(c, &claim);
	assert_int_equal(claims_of(a, ARRAY_LEN(a)), 1);
	assert_true(is_held(c, 7));
	verity_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bound_is_kept_and_reached),
		cmocka_unit_test(what_is_used_stays),
		cmocka_unit_test(a_block_in_use_outlives_its_eviction),
		cmocka_unit_test(the_first_of_two_equal_blocks_stays),
		cmocka_unit_test(an_absurd_bound_is_refused),
		cmocka_unit_test(every_failed_allocation_is_told),
		cmocka_unit_test(threads_get_the_blocks_they_asked_for),
		cmocka_unit_test(a_block_that_somebody_loads_is_waited_for),
		cmocka_unit_test(a_claim_that_came_to_nothing_passes_to_one_who_waited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
