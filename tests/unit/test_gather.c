/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "gather.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_LEN 4096
#define BLOCK_CNT 64
#define IMAGE_OFF (2 * BLOCK_LEN)
#define CAP       (8 * BLOCK_LEN)

struct fixture {
	char *dir;
	char path[512];
	struct output *out;
	struct verity_build *verity;
	struct gather *g;
	uint8_t *image; /* what shall lie there */
};

static struct verity_params params(void)
{
	return (struct verity_params){ .hash_type = 1,
		                       .data_block_len = BLOCK_LEN,
		                       .hash_block_len = BLOCK_LEN,
		                       .data_blk_cnt = BLOCK_CNT };
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct output_options opt = { .disk_len = IMAGE_OFF + BLOCK_CNT * BLOCK_LEN };
	struct verity_params p = params();
	struct gather_target to = { .image_off = IMAGE_OFF, .leaf_len = BLOCK_LEN };

	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk", f->dir);
	f->image = malloc(BLOCK_CNT * BLOCK_LEN);
	support_fill(f->image, BLOCK_CNT * BLOCK_LEN, 1);
	assert_int_equal(output_open(f->path, &opt, &f->out, NULL), 0);
	assert_int_equal(verity_build_new(&p, NULL, NULL, &f->verity, NULL), 0);
	to.verity = f->verity;
	to.out = f->out;
	assert_int_equal(gather_new(&to, CAP, &f->g), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	gather_free(f->g);
	verity_build_free(f->verity);
	output_close(f->out);
	free(f->image);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static int bring(struct fixture *f, uint64_t blk, size_t cnt, struct diag *d)
{
	uint8_t *room = NULL;
	int r = gather_room(f->g, blk * BLOCK_LEN, cnt * BLOCK_LEN, &room, d);

	if (r < 0)
		return r;
	memcpy(room, f->image + blk * BLOCK_LEN, cnt * BLOCK_LEN);
	gather_advance(f->g, cnt * BLOCK_LEN);
	return 0;
}

/* Is everything where it belongs, and in the tree? */
static void check_all(struct fixture *f)
{
	scoped(verity_build) struct verity_build *whole = NULL;
	scoped_free uint8_t *found = malloc(BLOCK_CNT * BLOCK_LEN);
	struct verity_params p = params();
	uint8_t root[32], expected[32];

	assert_int_equal(verity_build_finish(f->verity, root, NULL), 0);
	assert_int_equal(verity_build_new(&p, NULL, NULL, &whole, NULL), 0);
	assert_int_equal(verity_build_add(whole, 0, BLOCK_CNT, f->image, NULL), 0);
	assert_int_equal(verity_build_finish(whole, expected, NULL), 0);
	assert_memory_equal(root, expected, sizeof(root));
	assert_int_equal(output_read(f->out, IMAGE_OFF, found, BLOCK_CNT * BLOCK_LEN, NULL), 0);
	assert_memory_equal(found, f->image, BLOCK_CNT * BLOCK_LEN);
}

static void neighbours_are_written_together(void **state)
{
	struct fixture *f = *state;
	unsigned long before = support_call_count();

	for (uint64_t i = 0; i < BLOCK_CNT; i++)
		assert_int_equal(gather_block(f->g, i * BLOCK_LEN, f->image + i * BLOCK_LEN, NULL),
		                 0);
	assert_int_equal(gather_flush(f->g, NULL), 0);
	assert_int_equal(support_call_count() - before, BLOCK_CNT * BLOCK_LEN / CAP);
	check_all(f);
}

static void any_order_and_any_sizes_make_the_same_disk(void **state)
{
	static const struct {
		uint64_t blk;
		size_t cnt;
	} piece[] = { { 60, 4 }, { 0, 8 },  { 8, 5 },  { 13, 8 }, { 21, 1 }, { 22, 1 }, { 59, 1 },
		      { 24, 7 }, { 31, 8 }, { 39, 8 }, { 23, 1 }, { 47, 6 }, { 53, 6 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(piece); i++)
		assert_int_equal(bring(f, piece[i].blk, piece[i].cnt, NULL), 0);
	assert_int_equal(gather_flush(f->g, NULL), 0);
	assert_int_equal(gather_flush(f->g, NULL), 0); /* nothing is left */
	check_all(f);
}

/* As when the source file that was to fill it cannot be read. */
static void room_that_is_not_used_leaves_no_trace(void **state)
{
	struct fixture *f = *state;
	uint8_t *room = NULL;

	for (uint64_t i = 0; i < BLOCK_CNT; i += 2) {
		assert_int_equal(bring(f, i, 1, NULL), 0);
		assert_int_equal(gather_room(f->g, (i + 1) * BLOCK_LEN, BLOCK_LEN, &room, NULL), 0);
		memset(room, 0xee, BLOCK_LEN);
		assert_int_equal(bring(f, i + 1, 1, NULL), 0);
	}
	assert_int_equal(gather_room(f->g, 0, BLOCK_LEN, &room, NULL), 0);
	memset(room, 0xee, BLOCK_LEN);
	assert_int_equal(gather_flush(f->g, NULL), 0);
	check_all(f);
}

static void failure_is_told_by_the_call_that_wrote(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;

	assert_int_equal(bring(f, 0, 4, &d), 0);
	support_fail_call(1, ENOSPC);
	assert_int_equal(bring(f, 10, 1, &d), -ENOSPC);
	assert_non_null(strstr(d.text, "cannot write"));
}

static void block_that_comes_twice_is_refused(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;

	assert_int_equal(bring(f, 0, 4, &d), 0);
	assert_int_equal(bring(f, 3, 1, &d), 0);
	assert_int_equal(gather_flush(f->g, &d), -EINVAL);
}

static void no_memory_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct gather_target to = { f->verity, f->out, IMAGE_OFF, BLOCK_LEN };
	struct gather *g = NULL;

	support_fail_allocation(1);
	assert_int_equal(gather_new(&to, CAP, &g), -ENOMEM);
	assert_null(g);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(neighbours_are_written_together),
		TEST(any_order_and_any_sizes_make_the_same_disk),
		TEST(room_that_is_not_used_leaves_no_trace),
		TEST(failure_is_told_by_the_call_that_wrote),
		TEST(block_that_comes_twice_is_refused),
		TEST(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
