/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a target that is written where it is: zeros and a journal first, the disk's last. */
#include "support.h"

#include "head.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#define LEN        (UINT64_C(100) * 1024)
#define OBJECT_CNT 3
#define MOST       ((HEAD_LEN - HEAD_JOURNAL_OFF - JOURNAL_HEADER_LEN) / 8)

static const uint64_t sizes[MOST + 1] = { 10, 20, 30 };

struct fixture {
	int fd;
	struct journal_plan plan;
	uint8_t found[LEN];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fd = memfd_create("target", 0);
	assert_true(f->fd >= 0);
	f->plan = (struct journal_plan){ .id = { 7 }, .size = sizes, .object_cnt = OBJECT_CNT };
	memset(f->found, 0xee, LEN); /* what the last owner had */
	assert_int_equal(pwrite(f->fd, f->found, LEN, 0), LEN);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	close(f->fd);
	free(f);
	return 0;
}

static struct head *open_head(struct fixture *f, const struct journal_plan *plan)
{
	struct head *h = NULL;

	assert_int_equal(head_open(f->fd, LEN, plan, &h, NULL), 0);
	assert_int_equal(head_begin(h, NULL), 0);
	return h;
}

static void look(struct fixture *f)
{
	assert_int_equal(pread(f->fd, f->found, LEN, 0), LEN);
}

static bool is_filled(const uint8_t *p, size_t len, uint8_t byte)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

static void both_ends_are_zero_until_the_commit(void **state)
{
	struct fixture *f = *state;
	struct head *h = open_head(f, NULL);

	assert_null(head_journal(h));
	head_put(h, 100, "head", 4);
	look(f);
	assert_true(is_filled(f->found, HEAD_LEN, 0));
	assert_true(is_filled(f->found + HEAD_LEN, LEN - 2 * HEAD_LEN, 0xee));
	assert_true(is_filled(f->found + LEN - HEAD_LEN, HEAD_LEN, 0));
	assert_int_equal(head_commit(h, NULL), 0);
	head_close(h);
	look(f);
	assert_memory_equal(f->found + 100, "head", 4);
}

static void what_is_held_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct head *h = open_head(f, NULL);
	char got[4];

	head_put(h, HEAD_LEN - 4, "last", 4);
	head_get(h, HEAD_LEN - 4, got, 4);
	assert_memory_equal(got, "last", 4);
	assert_int_equal(head_held(0, 10), 10);
	assert_int_equal(head_held(HEAD_LEN - 1, 10), 1);
	assert_int_equal(head_held(HEAD_LEN, 10), 0);
	assert_int_equal(head_held(0, UINT64_MAX), HEAD_LEN);
	head_close(h);
}

static void journal_lies_in_it_until_the_commit(void **state)
{
	struct fixture *f = *state;
	struct head *h = open_head(f, &f->plan);

	assert_false(head_is_continued(h));
	assert_false(head_is_kept(h));
	journal_note(head_journal(h), 2, 29);
	assert_true(head_is_kept(h));
	head_close(h);
	h = open_head(f, &f->plan);
	assert_true(head_is_continued(h));
	assert_int_equal(journal_done(head_journal(h), 2), 29);
	look(f); /* nothing there but it */
	assert_true(is_filled(f->found, HEAD_JOURNAL_OFF, 0));
	assert_memory_equal(f->found + HEAD_JOURNAL_OFF, "mkdisk journal 1", 16);
	assert_int_equal(head_commit(h, NULL), 0);
	assert_false(head_is_kept(h));
	head_close(h);
	look(f);
	assert_true(is_filled(f->found, HEAD_LEN, 0)); /* of a disk that begins with zeros */
}

static void another_plan_is_told_and_begins_anew(void **state)
{
	struct fixture *f = *state;
	struct head *h = open_head(f, &f->plan);

	assert_false(head_was_of_another_plan(h)); /* 0xee is no journal at all */
	journal_note(head_journal(h), 0, 1);
	head_close(h);
	f->plan.id[0]++;
	h = open_head(f, &f->plan);
	assert_true(head_was_of_another_plan(h));
	assert_false(head_is_continued(h));
	assert_int_equal(journal_done(head_journal(h), 0), 0);
	head_close(h);
}

static void nothing_is_left_of_a_journal_that_nobody_needs(void **state)
{
	struct fixture *f = *state;

	for (int discard = 0; discard < 2; discard++) {
		struct head *h = open_head(f, &f->plan);

		if (discard) {
			journal_note(head_journal(h), 0, 1);
			head_discard(h);
		}
		head_close(h);
		look(f);
		assert_true(is_filled(f->found, HEAD_LEN, 0));
	}
}

static void as_many_objects_as_documented_have_room(void **state)
{
	struct fixture *f = *state;
	struct head *h;

	assert_int_equal(MOST, 2037);
	f->plan.object_cnt = MOST;
	h = open_head(f, &f->plan);
	assert_non_null(head_journal(h));
	head_close(h);
	f->plan.object_cnt = MOST + 1;
	h = open_head(f, &f->plan);
	assert_null(head_journal(h));
	head_close(h);
}

static void failures_are_told(void **state)
{
	struct fixture *f = *state;
	unsigned long calls = 0;

	for (unsigned long k = 1; calls == 0; k++) {
		struct diag d = DIAG_INIT;
		struct head *h = NULL;
		int r;

		support_fail_allocation(k);
		r = head_open(f->fd, LEN, &f->plan, &h, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || (r == -ENOMEM && d.text[0]));
		support_fail_call(k, EIO);
		if (r == 0)
			r = head_begin(h, &d);
		if (r == 0)
			r = head_commit(h, &d);
		support_fail_call(0, 0);
		assert_true(r == 0 || d.text[0]);
		head_close(h);
		calls = r == 0 ? k : 0;
		assert_true(k < 50);
	}
	assert_true(calls > 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_ends_are_zero_until_the_commit),
		TEST(what_is_held_is_given_back),
		TEST(journal_lies_in_it_until_the_commit),
		TEST(another_plan_is_told_and_begins_anew),
		TEST(nothing_is_left_of_a_journal_that_nobody_needs),
		TEST(as_many_objects_as_documented_have_room),
		TEST(failures_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
