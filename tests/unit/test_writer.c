/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_LEN  (8 * MIB)
#define LARGE_LEN MIB

struct fixture {
	char *dir;
	int fd;
	struct writer *w;
	uint8_t *bytes; /* FILE_LEN, aligned: what the file shall hold */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[512];

	f->dir = support_make_dir();
	snprintf(path, sizeof(path), "%s/file", f->dir);
	f->fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, FILE_LEN), 0);
	f->bytes = aligned_alloc(WRITER_ALIGN, FILE_LEN);
	support_fill(f->bytes, FILE_LEN, 1);
	assert_int_equal(writer_new(f->fd, FILE_LEN, &f->w), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	writer_free(f->w);
	close(f->fd);
	free(f->bytes);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static bool file_holds(const struct fixture *f, uint64_t off, const uint8_t *bytes, size_t len)
{
	scoped_free uint8_t *found = malloc(len);

	assert_int_equal(pread(f->fd, found, len, (off_t)off), (ssize_t)len);
	return memcmp(found, bytes, len) == 0;
}

/* Does the file system of $TMPDIR write past the page cache at all? */
static bool has_direct_io(const struct fixture *f)
{
	char path[32];
	scoped_fd int fd = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path, O_WRONLY | O_DIRECT);
	return fd >= 0 && pwrite(fd, f->bytes, 4096, 0) == 4096;
}

static bool is_cached(int fd, uint64_t off)
{
	char byte;
	struct iovec one = { &byte, 1 };

	return preadv2(fd, &one, 1, (off_t)off, RWF_NOWAIT) == 1;
}

/* Neighbours of every kind of place: whole pages, their ends, less than one. */
static void bytes_arrive_whatever_their_place_and_buffer(void **state)
{
	static const size_t cut[] = { 0, 1, 511, 4095, 4096, 4097, 8192, 65536 };
	struct fixture *f = *state;
	scoped_free uint8_t *moved = malloc(FILE_LEN);

	for (size_t i = 0; i < ARRAY_LEN(cut); i++)
		for (size_t j = 0; j < ARRAY_LEN(cut); j++) {
			uint64_t begin = 3 * 4096 + cut[i], end = begin + LARGE_LEN + cut[j];

			support_fill(f->bytes, FILE_LEN, i * 16 + j);
			memcpy(moved, f->bytes, FILE_LEN);
			assert_int_equal(writer_write(f->w, 0, f->bytes, begin), 0);
			assert_int_equal(writer_write(f->w, begin, f->bytes + begin, end - begin),
			                 0);
			assert_int_equal(writer_write(f->w, end, moved + end, FILE_LEN - end), 0);
			assert_true(file_holds(f, 0, f->bytes, FILE_LEN));
		}
}

static void large_write_stays_out_of_the_page_cache(void **state)
{
	struct fixture *f = *state;

	if (!has_direct_io(f))
		skip();
	assert_int_equal(writer_write(f->w, MIB, f->bytes, LARGE_LEN), 0);
	assert_int_equal(writer_write(f->w, 4 * MIB, f->bytes, 4096), 0);
	assert_false(is_cached(f->fd, MIB + 8192));
	/* and the question is the right one */
	assert_true(is_cached(f->fd, 4 * MIB));
	assert_true(file_holds(f, MIB, f->bytes, LARGE_LEN));
}

/* As on file systems that say so only then, not when the file is opened. */
static void refused_direct_write_goes_through_the_page_cache(void **state)
{
	struct fixture *f = *state;

	for (uint64_t off = 0; off < FILE_LEN; off += LARGE_LEN) {
		support_fail_call(1, EINVAL);
		if (writer_write(f->w, off, f->bytes + off, LARGE_LEN) < 0)
			assert_false(has_direct_io(f)); /* then it was the only attempt */
		support_fail_call(0, 0);
		assert_int_equal(writer_write(f->w, off, f->bytes + off, LARGE_LEN), 0);
		assert_true(file_holds(f, off, f->bytes + off, LARGE_LEN));
		writer_free(f->w);
		assert_int_equal(writer_new(f->fd, FILE_LEN, &f->w), 0);
	}
}

static void failure_is_what_the_system_said(void **state)
{
	static const int errors[] = { ENOSPC, EIO };
	struct fixture *f = *state;

	/* head, body and tail of a write that is not aligned */
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		for (unsigned long k = 1; k <= 3; k++) {
			unsigned long before = support_call_count();
			int r;

			support_fail_call(k, errors[i]);
			r = writer_write(f->w, 4095, f->bytes + 4095, LARGE_LEN + 2);
			if (support_call_count() - before < k)
				break; /* all in one, where there is no direct I/O */
			assert_int_equal(r, -errors[i]);
		}
}

static void file_without_memory_for_a_writer_is_refused(void **state)
{
	struct fixture *f = *state;
	struct writer *w = NULL;

	support_fail_allocation(1);
	assert_int_equal(writer_new(f->fd, FILE_LEN, &w), -ENOMEM);
}

static void clone_brings_the_bytes(void **state)
{
	static const struct support_clones clones = { 0 };
	struct fixture *f = *state;

	assert_int_equal(writer_write(f->w, 0, f->bytes, LARGE_LEN), 0);
	support_emulate_clones(&clones);
	assert_int_equal(writer_clone(f->w, 4 * MIB, f->fd, 4096, LARGE_LEN - 4096), 0);
	support_emulate_clones(NULL);
	assert_true(file_holds(f, 4 * MIB, f->bytes + 4096, LARGE_LEN - 4096));
}

/* What a file system says of one place is no word about others; what it says of itself is. */
static void refused_clone_is_tried_again_only_where_it_may_help(void **state)
{
	static const struct {
		int err;
		unsigned calls;
	} refusal[] = {
		{ EINVAL, 3 },     { ENOSPC, 3 }, { EIO, 3 },
		{ EOPNOTSUPP, 1 }, { EXDEV, 1 },  { ENOTTY, 1 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(refusal); i++) {
		struct support_clones clones = { .err = refusal[i].err };
		unsigned long before = support_clone_count();

		support_emulate_clones(&clones);
		for (unsigned k = 0; k < 3; k++)
			assert_true(writer_clone(f->w, 0, f->fd, MIB, MIB) < 0);
		support_emulate_clones(NULL);
		assert_int_equal(support_clone_count() - before, refusal[i].calls);
		writer_free(f->w);
		assert_int_equal(writer_new(f->fd, FILE_LEN, &f->w), 0);
	}
}

static void *write_every_fourth(void *arg)
{
	static atomic_uint next;
	struct fixture *f = arg;
	uint64_t first = atomic_fetch_add(&next, 1) % 4;

	for (uint64_t off = first * LARGE_LEN / 2; off < FILE_LEN; off += 2 * LARGE_LEN)
		assert_int_equal(writer_write(f->w, off, f->bytes + off, LARGE_LEN / 2), 0);
	return NULL;
}

static void threads_write_side_by_side(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_every_fourth, f), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	assert_true(file_holds(f, 0, f->bytes, FILE_LEN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_arrive_whatever_their_place_and_buffer, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(large_write_stays_out_of_the_page_cache, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(refused_direct_write_goes_through_the_page_cache,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(failure_is_what_the_system_said, setup, teardown),
		cmocka_unit_test_setup_teardown(file_without_memory_for_a_writer_is_refused, setup,
		                                teardown),
		cmocka_unit_test_setup_teardown(clone_brings_the_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_clone_is_tried_again_only_where_it_may_help,
		                                setup, teardown),
		cmocka_unit_test_setup_teardown(threads_write_side_by_side, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
