/* SPDX-License-Identifier: Apache-2.0 */
/* What a journal's bytes are taken for; builds that go on with one are test_objects.c's. */
#include "support.h"

#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define OBJECT_CNT 5
#define LEN        (JOURNAL_HEADER_LEN + OBJECT_CNT * 8)

static const uint64_t sizes[OBJECT_CNT] = { 1, 4096, 1, UINT64_C(5) << 40, 77 };

struct fixture {
	int fd;
	struct journal_plan plan;
	struct journal *journal;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fd = memfd_create("journal", 0);
	assert_true(f->fd >= 0);
	f->plan =
	        (struct journal_plan){ .id = { 1, 2, 3 }, .size = sizes, .object_cnt = OBJECT_CNT };
	assert_int_equal(
	        journal_begin(&(struct journal_place){ .fd = f->fd }, &f->plan, &f->journal, NULL),
	        0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	journal_free(f->journal);
	close(f->fd);
	free(f);
	return 0;
}

static enum journal_state read_again(struct fixture *f, uint64_t done[OBJECT_CNT])
{
	enum journal_state state;
	struct journal *j = NULL;

	assert_int_equal(
	        journal_read(&(struct journal_place){ .fd = f->fd }, &f->plan, &state, &j, NULL),
	        0);
	for (uint32_t i = 0; i < OBJECT_CNT; i++)
		done[i] = journal_done(j, i);
	assert_int_equal(journal_done(j, OBJECT_CNT), 0);
	journal_free(j);
	return state;
}

static void what_was_noted_is_read(void **state)
{
	struct fixture *f = *state;
	uint64_t done[OBJECT_CNT];

	assert_int_equal(read_again(f, done), JOURNAL_CONTINUES);
	for (uint32_t i = 0; i < OBJECT_CNT; i++)
		assert_int_equal(done[i], 0);
	assert_true(journal_is_empty(f->journal));
	journal_note(f->journal, 3, sizes[3] - 1);
	journal_note(f->journal, 3, sizes[3]);
	journal_note(f->journal, 1, 1);
	journal_note(f->journal, OBJECT_CNT, 1); /* there is none */
	assert_false(journal_is_empty(f->journal));
	assert_int_equal(read_again(f, done), JOURNAL_CONTINUES);
	assert_int_equal(done[0], 0);
	assert_int_equal(done[1], 1);
	assert_int_equal(done[3], sizes[3]);
	assert_int_equal(lseek(f->fd, 0, SEEK_END), LEN);
}

static void changed_bit_of_the_header_is_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t done[OBJECT_CNT];
	uint8_t bytes[LEN];

	assert_int_equal(pread(f->fd, bytes, LEN, 0), LEN);
	for (size_t bit = 0; bit < 8 * JOURNAL_HEADER_LEN; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(journal_parse(bytes, LEN, &f->plan, done), JOURNAL_DAMAGED);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(journal_parse(bytes, LEN, &f->plan, done), JOURNAL_CONTINUES);
}

static void journal_of_another_length_is_damaged(void **state)
{
	struct fixture *f = *state;
	uint64_t done[OBJECT_CNT];
	uint8_t bytes[LEN + 1] = { 0 };

	assert_int_equal(pread(f->fd, bytes, LEN, 0), LEN);
	for (size_t len = 0; len <= LEN + 1; len++)
		assert_int_equal(journal_parse(bytes, len, &f->plan, done),
		                 len == LEN ? JOURNAL_CONTINUES : JOURNAL_DAMAGED);
	assert_int_equal(ftruncate(f->fd, LEN + 1), 0);
	assert_int_equal(read_again(f, done), JOURNAL_DAMAGED);
}

static void more_than_the_object_is_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t done[OBJECT_CNT];

	for (uint32_t i = 0; i < OBJECT_CNT; i++) {
		journal_note(f->journal, i, sizes[i] + 1);
		assert_int_equal(read_again(f, done), JOURNAL_DAMAGED);
		journal_note(f->journal, i, UINT64_MAX);
		assert_int_equal(read_again(f, done), JOURNAL_DAMAGED);
		journal_note(f->journal, i, sizes[i]);
		assert_int_equal(read_again(f, done), JOURNAL_CONTINUES);
	}
}

static void other_plans_are_told_from_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t done[OBJECT_CNT];

	f->plan.id[31]++;
	assert_int_equal(read_again(f, done), JOURNAL_OF_ANOTHER_PLAN);
	f->plan.id[31]--;
	f->plan.object_cnt--;
	assert_int_equal(read_again(f, done), JOURNAL_OF_ANOTHER_PLAN);
	f->plan.object_cnt = 0;
	assert_int_equal(read_again(f, done), JOURNAL_OF_ANOTHER_PLAN);
}

static void failures_are_told(void **state)
{
	struct fixture *f = *state;
	struct journal_plan large = f->plan;
	struct journal *j = NULL;
	enum journal_state found;
	struct diag d = DIAG_INIT;

	large.object_cnt = JOURNAL_MAX_OBJECTS + 1;
	assert_int_equal(journal_begin(&(struct journal_place){ .fd = f->fd }, &large, &j, &d),
	                 -EFBIG);
	support_fail_call(1, EIO);
	assert_int_equal(journal_begin(&(struct journal_place){ .fd = f->fd }, &f->plan, &j, &d),
	                 -EIO);
	support_fail_call(2, ENOSPC);
	assert_int_equal(journal_begin(&(struct journal_place){ .fd = f->fd }, &f->plan, &j, &d),
	                 -ENOSPC);
	support_fail_call(0, 0);
	for (unsigned long k = 1; k <= 2; k++) {
		support_fail_allocation(k);
		assert_int_equal(
		        journal_begin(&(struct journal_place){ .fd = f->fd }, &f->plan, &j, &d),
		        -ENOMEM);
		support_fail_allocation(k);
		assert_int_equal(journal_read(&(struct journal_place){ .fd = f->fd }, &f->plan,
		                              &found, &j, &d),
		                 -ENOMEM);
	}
	support_fail_allocation(0);
	close(f->fd);
	f->fd = open("/", O_RDONLY | O_DIRECTORY);
	assert_int_equal(
	        journal_read(&(struct journal_place){ .fd = f->fd }, &f->plan, &found, &j, &d),
	        -EISDIR);
	assert_null(j);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_noted_is_read),
		TEST(changed_bit_of_the_header_is_damage),
		TEST(journal_of_another_length_is_damaged),
		TEST(more_than_the_object_is_damage),
		TEST(other_plans_are_told_from_damage),
		TEST(failures_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
