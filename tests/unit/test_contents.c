/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "contents.h"
#include "hash.h"
#include "verity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_CNT 40

struct fixture {
	char *dir, *out_dir;
	char disk_path[512];
	struct source *source;
	struct tree *tree;
	struct erofs_plan *erofs;
	struct disk_plan *disk;
};

static uint64_t file_len(size_t i)
{
	/* one of more than two pieces, mostly a hole; the others around all borders */
	return i == 7 ? 200 * MIB + 77 : i % 5 == 0 ? i * 4096 : i * i * 1999;
}

static void file_path(const struct fixture *f, size_t i, char path[600])
{
	snprintf(path, 600, "%s/file-%02zu", f->dir, i);
}

/* data_len bytes, and a hole up to len. */
static void put_file(const struct fixture *f, size_t i, size_t data_len, uint64_t len)
{
	scoped_free uint8_t *bytes = malloc(data_len + 1);
	char path[600];
	int fd;

	file_path(f, i, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	support_fill(bytes, data_len, i);
	assert_int_equal(write(fd, bytes, data_len), (ssize_t)data_len);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
}

static struct fixture *make_dirs(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = support_make_dir();
	f->out_dir = support_make_dir();
	snprintf(f->disk_path, sizeof(f->disk_path), "%s/disk", f->out_dir);
	return f;
}

static void make_plans(struct fixture *f)
{
	static const struct compat compat;
	struct erofs_plan_options opt = { .compat = &compat };
	struct source_options source_opt = { 0 };
	static const struct uuid zero;

	assert_int_equal(source_open(f->dir, NULL, &source_opt, &f->source, NULL), 0);
	f->tree = source_tree(f->source);
	assert_int_equal(tree_finish(f->tree, NULL), 0);
	assert_int_equal(erofs_plan_new(f->tree, &opt, &f->erofs, NULL), 0);
	f->disk = calloc(1, sizeof(*f->disk));
	assert_int_equal(
	        disk_plan_flat(erofs_plan_image_len(f->erofs), "\1", 1, &zero, f->disk, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = make_dirs();

	for (size_t i = 0; i < FILE_CNT; i++)
		put_file(f, i, (size_t)MIN(file_len(i), 70000), file_len(i));
	make_plans(f);
	*state = f;
	return 0;
}

/* Files that are worth cloning: with a tail, with a whole last block, and one that is not. */
#define DENSE_CNT 3
static const size_t dense_len[DENSE_CNT] = { 9 * MIB + 100, 4 * MIB, 4 * MIB - 1 };

static int setup_dense(void **state)
{
	struct fixture *f = make_dirs();

	for (size_t i = 0; i < DENSE_CNT; i++)
		put_file(f, i, dense_len[i], dense_len[i]);
	make_plans(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	support_emulate_clones(NULL);
	free(f->disk);
	erofs_plan_free(f->erofs);
	source_close(f->source);
	support_remove_dir(f->dir);
	support_remove_dir(f->out_dir);
	free(f);
	return 0;
}

static int carry(struct fixture *f, const char *path, const struct contents_options *opt,
                 uint8_t root[32], struct diag *d)
{
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	int r = output_open(
	        path, &(struct output_options){ .disk_len = f->disk->disk_len, .force = true }, &o,
	        d);

	if (r == 0)
		r = stream_new(f->erofs, f->disk, o, NULL, &s, d);
	if (r == 0)
		r = contents_carry(f->source, f->tree, f->erofs, s, opt, d);
	if (r == 0)
		r = stream_finish(s, root, d);
	return r == 0 ? output_commit(o, d) : r;
}

static void number_of_threads_changes_nothing(void **state)
{
	static const unsigned jobs[] = { 1, 2, 3, 16, CONTENTS_MAX_JOBS };
	struct fixture *f = *state;
	uint8_t first[32], root[32];

	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		struct contents_options opt = { .jobs = jobs[i] };

		assert_int_equal(carry(f, NULL, &opt, i == 0 ? first : root, NULL), 0);
		if (i > 0)
			assert_memory_equal(root, first, 32);
	}
}

static void digests_are_those_of_the_files(void **state)
{
	struct fixture *f = *state;
	scoped(hash_stream) struct hash_stream *h = NULL;
	scoped_free uint8_t *bytes = malloc(MIB);
	uint8_t digest[FILE_CNT + 1][32], root[32], without[32], expected[32];
	struct contents_options opt = { .jobs = 3, .digest = digest };
	struct contents_options no_digest = { .jobs = 3 };

	assert_int_equal(carry(f, NULL, &opt, root, NULL), 0);
	assert_int_equal(carry(f, NULL, &no_digest, without, NULL), 0);
	assert_memory_equal(root, without, 32);
	assert_int_equal(hash_stream_new(HASH_SHA256, &h), 0);
	for (size_t i = 0; i < FILE_CNT; i++) {
		char path[600];
		ssize_t n;
		int fd;

		file_path(f, i, path);
		fd = open(path, O_RDONLY);
		while ((n = read(fd, bytes, MIB)) > 0)
			assert_int_equal(hash_stream_add(h, bytes, (size_t)n), 0);
		close(fd);
		assert_int_equal(hash_stream_finish(h, expected), 0);
		assert_memory_equal(digest[i + 1], expected, 32); /* 0 is the root directory */
	}
}

static void file_that_changed_stops_everything(void **state)
{
	static const size_t changed[] = { 1, 7, FILE_CNT - 1 };
	struct fixture *f = *state;
	char path[600], name[16];

	for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
		struct contents_options opt = { .jobs = 4 };
		struct diag d = DIAG_INIT;
		struct stat st;
		uint8_t root[32];
		struct timespec times[2] = { { 0, UTIME_OMIT }, { 12345, 0 } };

		file_path(f, changed[i], path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
		assert_int_equal(carry(f, f->disk_path, &opt, root, &d), -ESTALE);
		snprintf(name, sizeof(name), "file-%02zu", changed[i]);
		assert_non_null(strstr(d.text, name));
		times[1] = st.st_mtim;
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
		assert_true(access(f->disk_path, F_OK) < 0);
	}
}

/* Changes a byte of every file, without a trace in its times. */
static void change_secretly(void *ctx)
{
	const struct fixture *f = ctx;

	for (size_t i = 0; i < DENSE_CNT; i++) {
		char path[600];
		struct stat st;
		int fd;

		file_path(f, i, path);
		fd = open(path, O_RDWR);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(pwrite(fd, "changed", 7, 5000), 7);
		assert_int_equal(futimens(fd, (struct timespec[]){ st.st_atim, st.st_mtim }), 0);
		close(fd);
	}
}

static bool disk_holds(const struct fixture *f, size_t i, const uint8_t *bytes, size_t len)
{
	const struct erofs_place *p = erofs_plan_place(f->erofs, f->tree->node[i + 1]);
	scoped_free uint8_t *found = malloc(len);
	scoped_fd int fd = open(f->disk_path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, found, len, (off_t)(f->disk->image_off + p->data_off)),
	                 (ssize_t)len);
	return memcmp(found, bytes, len) == 0;
}

static void cloned_files_make_the_same_disk(void **state)
{
	static const struct support_clones clones = { 0 };
	struct fixture *f = *state;
	uint8_t digest[DENSE_CNT + 1][32], expected_digest[DENSE_CNT + 1][32];
	uint8_t root[32], expected[32];
	struct contents_options opt = { .jobs = 2, .digest = expected_digest };
	unsigned long before;

	assert_int_equal(carry(f, NULL, &opt, expected, NULL), 0);
	opt.digest = digest;
	support_emulate_clones(&clones);
	before = support_clone_count();
	assert_int_equal(carry(f, f->disk_path, &opt, root, NULL), 0);
	assert_int_equal(support_clone_count() - before, 2);
	assert_memory_equal(root, expected, sizeof(root));
	assert_memory_equal(digest + 1, expected_digest + 1, sizeof(digest) - 32);
	for (size_t i = 0; i < DENSE_CNT; i++) {
		scoped_free uint8_t *bytes = malloc(dense_len[i]);

		support_fill(bytes, dense_len[i], i);
		assert_true(disk_holds(f, i, bytes, round_down(dense_len[i], 4096)));
	}
}

/* The root hash of what lies on the disk now. */
static void hash_disk(const struct fixture *f, uint8_t root[32])
{
	scoped(verity_build) struct verity_build *b = NULL;
	scoped_free uint8_t *bytes = malloc(f->disk->covered_len);
	scoped_fd int fd = open(f->disk_path, O_RDONLY);

	assert_int_equal(pread(fd, bytes, f->disk->covered_len, (off_t)f->disk->image_off),
	                 (ssize_t)f->disk->covered_len);
	assert_int_equal(verity_build_new(&f->disk->verity, NULL, NULL, &b, NULL), 0);
	assert_int_equal(verity_build_add(b, 0, f->disk->verity.data_blk_cnt, bytes, NULL), 0);
	assert_int_equal(verity_build_finish(b, root, NULL), 0);
}

static void source_that_changes_behind_a_clone_leaves_the_tree_true(void **state)
{
	struct fixture *f = *state;
	const struct support_clones clones = { .after = change_secretly, .ctx = f };
	struct contents_options opt = { .jobs = 1 };
	uint8_t root[32], of_disk[32];

	support_emulate_clones(&clones);
	assert_int_equal(carry(f, f->disk_path, &opt, root, NULL), 0);
	hash_disk(f, of_disk);
	assert_memory_equal(root, of_disk, sizeof(root));
}

static void refused_clone_is_copied(void **state)
{
	static const int errors[] = { EINVAL, EOPNOTSUPP, EXDEV, ENOSPC, EIO };
	struct fixture *f = *state;
	struct contents_options opt = { .jobs = 2 };
	uint8_t root[32], expected[32];

	assert_int_equal(carry(f, NULL, &opt, expected, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		const struct support_clones clones = { .err = errors[i] };

		support_emulate_clones(&clones);
		assert_int_equal(carry(f, f->disk_path, &opt, root, NULL), 0);
		support_emulate_clones(NULL);
		assert_memory_equal(root, expected, sizeof(root));
	}
}

static void stop_is_obeyed(void **state)
{
	struct fixture *f = *state;
	atomic_bool stop = true;
	uint8_t root[32];

	for (unsigned jobs = 1; jobs < 5; jobs++) {
		struct contents_options opt = { .jobs = jobs, .stop = &stop };
		struct diag d = DIAG_INIT;

		assert_int_equal(carry(f, NULL, &opt, root, &d), -EINTR);
		assert_string_equal(d.text, "interrupted");
	}
}

static void first_failing_write_is_the_one_told(void **state)
{
	struct fixture *f = *state;

	for (unsigned long k = 3; k < 60; k += 7) {
		struct contents_options opt = { .jobs = 5 };
		struct diag d = DIAG_INIT;
		uint8_t root[32];

		support_fail_call(k, ENOSPC);
		assert_int_equal(carry(f, f->disk_path, &opt, root, &d), -ENOSPC);
		support_fail_call(0, 0);
		assert_non_null(strstr(d.text, "cannot write"));
	}
}

static void failed_allocation_is_told(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k += 3) {
		struct contents_options opt = { .jobs = 1 };
		struct diag d = DIAG_INIT;
		uint8_t root[32];

		support_fail_allocation(k);
		r = carry(f, NULL, &opt, root, &d);
		support_fail_allocation(0);
		if (r != 0) {
			assert_int_equal(r, -ENOMEM);
			assert_string_not_equal(d.text, "");
		}
		assert_true(k < 5000);
	}
}

int main(void)
{
#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_DENSE(name) cmocka_unit_test_setup_teardown(name, setup_dense, teardown)
	const struct CMUnitTest tests[] = {
		TEST(number_of_threads_changes_nothing),
		TEST(digests_are_those_of_the_files),
		TEST(file_that_changed_stops_everything),
		TEST(stop_is_obeyed),
		TEST(first_failing_write_is_the_one_told),
		TEST(failed_allocation_is_told),
		TEST_DENSE(cloned_files_make_the_same_disk),
		TEST_DENSE(source_that_changes_behind_a_clone_leaves_the_tree_true),
		TEST_DENSE(refused_clone_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
