/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c: what arrives is right, and whatever fails leaves files whole or absent.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "copy.h"
#include "model_fs.h"
#include "path.h"

static struct model_fs m;
static atomic_bool stop;
static _Atomic uint64_t told;

static int make(void **state)
{
	(void)state;
	model_fs_make(&m);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	model_fs_free(&m);
	return 0;
}

static void count_bytes(uint64_t bytes)
{
	told += bytes;
}

static int copy(const char *path, const char *dir, unsigned thread_cnt, struct diag *d)
{
	struct entries l = { .cnt = 0 };
	struct erofs_inode start;
	scoped_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = path_resolve(m.fs, path, &start, d);

	assert_true(fd >= 0);
	if (r == 0)
		r = entries_read(m.fs, &start, &l, d);
	if (r == 0)
		r = copy_out(&(struct copy_options){ .fs = m.fs,
		                                     .list = &l,
		                                     .dir_fd = fd,
		                                     .single_name =
		                                             S_ISDIR(start.mode) ? NULL : "single",
		                                     .thread_cnt = thread_cnt,
		                                     .stop = &stop,
		                                     .on_bytes = count_bytes },
		             d);
	entries_release(&l);
	return r;
}

static bool has_content(const char *dir, const char *name)
{
	uint8_t expected[MODEL_FS_LEN], found[MODEL_FS_LEN + 1];
	char path[4096];
	ssize_t len;

	model_fs_content(expected);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	len = read(fd, found, sizeof(found));
	assert_int_equal(len, MODEL_FS_LEN);
	assert_memory_equal(found, expected, MODEL_FS_LEN);
	return true;
}

/* Nothing with a temporary name; returns how many entries there are. */
static unsigned count_entries(const char *dir)
{
	DIR *list = opendir(dir);
	struct dirent *e;
	unsigned cnt = 0;

	assert_non_null(list);
	while ((e = readdir(list))) {
		assert_null(strstr(e->d_name, ".mountfs"));
		cnt += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	}
	closedir(list);
	return cnt;
}

static mode_t mode_of(const char *dir, const char *name)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mtime, 0);
	return st.st_mode;
}

static void a_tree_arrives_as_it_is(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads <= 4; threads += 3) {
		char *dir = support_make_dir(), target[16] = "", path[4096];

		told = 0;
		assert_int_equal(copy("a", dir, threads, NULL), 0);
		assert_true(has_content(dir, "f"));
		assert_int_equal(count_entries(dir), 3);
		assert_int_equal(mode_of(dir, "f"), S_IFREG | 0640);
		assert_int_equal(mode_of(dir, "sub"), S_IFDIR | 0555);
		assert_int_equal(mode_of(dir, "sub/e"), S_IFREG | 0755);
		assert_int_equal(mode_of(dir, "l") & S_IFMT, S_IFLNK);
		snprintf(path, sizeof(path), "%s/l", dir);
		assert_int_equal(readlink(path, target, sizeof(target)), 1);
		assert_string_equal(target, "f");
		assert_int_equal(told, MODEL_FS_LEN);
		support_remove_dir(dir);
	}
}

static void a_file_gets_the_name_it_is_given(void **state)
{
	char *dir = support_make_dir();

	(void)state;
	assert_int_equal(copy("a/l", dir, 2, NULL), 0);
	assert_true(has_content(dir, "single"));
	assert_int_equal(count_entries(dir), 1);
	support_remove_dir(dir);
}

static void zeros_become_holes(void **state)
{
	char *dir = support_make_dir(), path[4096];

	(void)state;
	assert_int_equal(copy("a/f", dir, 1, NULL), 0);
	snprintf(path, sizeof(path), "%s/single", dir);
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t hole = lseek(fd, 0, SEEK_HOLE);

	/* a file system that knows no holes says that one is at the end */
	assert_true(hole == 4096 || hole == MODEL_FS_LEN);
	support_remove_dir(dir);
}

static void a_special_file_is_refused_before_anything_is_written(void **state)
{
	char *dir = support_make_dir();
	struct diag d = DIAG_INIT;

	(void)state;
	assert_int_equal(copy("", dir, 1, &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "s/p"));
	assert_int_equal(count_entries(dir), 0);
	support_remove_dir(dir);
}

static void what_is_in_the_way_is_replaced_or_named(void **state)
{
	char *dir = support_make_dir(), path[4096];
	struct diag d = DIAG_INIT;

	(void)state;
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(copy("a", dir, 1, NULL), 0);
	assert_int_equal(mode_of(dir, "f"), S_IFREG | 0640);

	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(copy("a", dir, 1, &d), -EISDIR);
	assert_non_null(strstr(d.text, "\"f\""));
	count_entries(dir);
	assert_int_equal(rmdir(path), 0);

	snprintf(path, sizeof(path), "%s/sub/e", dir);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/sub", dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink(".", path), 0);
	assert_true(copy("a", dir, 1, &d) < 0);
	assert_non_null(strstr(d.text, "\"sub\""));
	support_remove_dir(dir);
}

static void stopping_leaves_whole_files_only(void **state)
{
	char *dir = support_make_dir();

	(void)state;
	atomic_store(&stop, true);
	assert_int_equal(copy("a", dir, 1, NULL), -EINTR);
	atomic_store(&stop, false);
	count_entries(dir);
	has_content(dir, "f");
	support_remove_dir(dir);
}

/* The old file stays until the new one is whole, whichever call fails. */
static void no_failing_call_tears_a_file(void **state)
{
	static const uint8_t old[MODEL_FS_LEN];
	unsigned failed = 0;

	(void)state;
	for (unsigned long k = 1;; k++) {
		char *dir = support_make_dir(), path[4096];
		uint8_t found[MODEL_FS_LEN];
		int r;

		snprintf(path, sizeof(path), "%s/f", dir);
		scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(write(fd, old, sizeof(old)), sizeof(old));
		support_fail_call(k, ENOSPC);
		r = copy("a", dir, 1, NULL);
		support_fail_call(0, 0);
		count_entries(dir);
		scoped_fd int again = open(path, O_RDONLY | O_CLOEXEC);

		assert_int_equal(read(again, found, sizeof(found)), sizeof(found));
		if (memcmp(found, old, sizeof(old)) != 0)
			assert_true(has_content(dir, "f"));
		support_remove_dir(dir);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOSPC);
		failed++;
	}
	assert_true(failed >= 5);
}

static void without_memory_a_copy_fails_cleanly(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		char *dir = support_make_dir();
		int r;

		support_fail_allocation(k);
		r = copy("a", dir, 1, NULL);
		support_fail_allocation(0);
		count_entries(dir);
		if (r == 0)
			assert_true(has_content(dir, "f"));
		support_remove_dir(dir);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_arrives_as_it_is),
		cmocka_unit_test(a_file_gets_the_name_it_is_given),
		cmocka_unit_test(zeros_become_holes),
		cmocka_unit_test(a_special_file_is_refused_before_anything_is_written),
		cmocka_unit_test(what_is_in_the_way_is_replaced_or_named),
		cmocka_unit_test(stopping_leaves_whole_files_only),
		cmocka_unit_test(no_failing_call_tears_a_file),
		cmocka_unit_test(without_memory_a_copy_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
