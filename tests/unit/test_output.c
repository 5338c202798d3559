/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_LEN (UINT64_C(200) * 1024)
#define PART_OFF (UINT64_C(40) * 1024)

struct fixture {
	char *dir;
	char path[512]; /* dir/disk */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	support_refuse_tmpfile(false);
	chmod(f->dir, 0700);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static void put_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static uint8_t *get_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	uint8_t *bytes = calloc(1, 1 << 20);

	assert_true(fd >= 0);
	*len = (size_t)read(fd, bytes, 1 << 20);
	close(fd);
	return bytes;
}

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned cnt = 0;

	assert_non_null(d);
	while (readdir(d))
		cnt++;
	closedir(d);
	return cnt - 2; /* "." and ".." */
}

/* The disk all of these tests write: pattern at 0 and at PART_OFF, zeros elsewhere. */
static int write_disk(const char *path, bool force, struct diag *d)
{
	scoped(output) struct output *o = NULL;
	uint8_t part[5000], head[600];
	int r = output_open(path,
	                    &(struct output_options){
	                            .disk_len = DISK_LEN, .need_len = DISK_LEN, .force = force },
	                    &o, d);

	if (r < 0)
		return r;
	support_fill(head, sizeof(head), 1);
	support_fill(part, sizeof(part), 2);
	r = output_write(o, PART_OFF, part, sizeof(part), d);
	if (r == 0)
		r = output_zero(o, PART_OFF + sizeof(part), 9000, d);
	if (r == 0)
		r = output_write(o, 0, head, sizeof(head), d);
	if (r == 0)
		r = output_commit(o, d);
	return r;
}

static bool is_the_disk(const char *path)
{
	uint8_t expected[DISK_LEN] = { 0 };
	scoped_free uint8_t *found = NULL;
	size_t len;

	support_fill(expected, 600, 1);
	support_fill(expected + PART_OFF, 5000, 2);
	found = get_file(path, &len);
	return len == DISK_LEN && memcmp(found, expected, len) == 0;
}

static void new_disk_appears_only_when_complete(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	struct stat st;
	mode_t mask = umask(027);

	assert_int_equal(
	        output_open(f->path, &(struct output_options){ .disk_len = DISK_LEN }, &o, NULL),
	        0);
	assert_int_equal(output_write(o, 0, "x", 1, NULL), 0);
	assert_true(stat(f->path, &st) < 0);
	assert_int_equal(output_commit(o, NULL), 0);
	umask(mask);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_size, DISK_LEN);
	assert_int_equal(count_entries(f->dir), 1);
	assert_int_equal(output_written(o), 1);
}

static void disk_given_up_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct output *o = NULL;

	assert_int_equal(
	        output_open(f->path, &(struct output_options){ .disk_len = DISK_LEN }, &o, NULL),
	        0);
	assert_int_equal(output_write(o, 0, "x", 1, NULL), 0);
	output_close(o);
	assert_int_equal(count_entries(f->dir), 0);
}

static void replaced_file_keeps_mode_and_owner(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	put_file(f->path, "old", 3);
	assert_int_equal(chmod(f->path, 0604), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(f->path, 7, 8), 0);
	assert_int_equal(write_disk(f->path, false, NULL), 0);
	assert_true(is_the_disk(f->path));
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	if (geteuid() == 0) {
		assert_int_equal(st.st_uid, 7);
		assert_int_equal(st.st_gid, 8);
	}
	assert_int_equal(count_entries(f->dir), 1);
}

static void symbolic_link_is_followed_and_stays(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;
	struct stat st;
	char link[600];

	snprintf(link, sizeof(link), "%s/link", f->dir);
	assert_int_equal(symlink("disk", link), 0);
	assert_int_equal(write_disk(link, false, &d), -EINVAL); /* leads nowhere */
	put_file(f->path, "old", 3);
	assert_int_equal(write_disk(link, false, NULL), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_true(is_the_disk(f->path));
}

static void what_is_not_a_disk_is_refused(void **state)
{
	struct fixture *f = *state;
	struct output_target t;
	struct diag d = DIAG_INIT;
	char path[600];

	assert_int_equal(output_probe(f->dir, &t, &d), -EINVAL);
	assert_non_null(strstr(d.text, "directory"));
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(output_probe(f->path, &t, &d), -EINVAL);
	snprintf(path, sizeof(path), "%s/new/", f->dir);
	assert_int_equal(output_probe(path, &t, &d), -EINVAL);
	assert_int_equal(output_probe("", &t, &d), -EINVAL);
	snprintf(path, sizeof(path), "%s/none/disk", f->dir);
	assert_int_equal(write_disk(path, false, &d), -ENOENT);
	assert_non_null(strstr(d.text, path));
}

static void known_signature_needs_force(void **state)
{
	static const struct {
		size_t off, len;
		const char *magic, *name;
	} known[] = {
		{ 512, 8, "EFI PART", "GPT" },           { 100000 - 512, 8, "EFI PART", "GPT" },
		{ 100000 - 4096, 8, "EFI PART", "GPT" }, { 510, 2, "\x55\xaa", "MBR" },
		{ 0, 8, "verity\0\0", "dm-verity" },     { 1024, 4, "\xe2\xe1\xf5\xe0", "EROFS" },
		{ 1080, 2, "\x53\xef", "ext" },          { 0, 4, "XFSB", "XFS" },
		{ 65600, 8, "_BHRfS_M", "btrfs" },       { 0, 4, "hsqs", "squashfs" },
		{ 82, 8, "FAT32   ", "VFAT" },           { 0, 6, "LUKS\xba\xbe", "LUKS" },
		{ 4086, 10, "SWAPSPACE2", "swap" },      { 512, 8, "LABELONE", "LVM2" },
	};
	struct fixture *f = *state;
	uint8_t *bytes = calloc(1, 100000);

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct diag d = DIAG_INIT;
		scoped_free uint8_t *kept = NULL;
		size_t len;

		support_fill(bytes, 100000, i); /* nothing known: may be overwritten */
		put_file(f->path, bytes, 100000);
		assert_int_equal(write_disk(f->path, false, NULL), 0);
		memcpy(bytes + known[i].off, known[i].magic, known[i].len);
		put_file(f->path, bytes, 100000);
		assert_int_equal(write_disk(f->path, false, &d), -EEXIST);
		assert_non_null(strstr(d.text, known[i].name));
		assert_non_null(strstr(d.text, "--force"));
		kept = get_file(f->path, &len);
		assert_memory_equal(kept, bytes, 100000);
		assert_int_equal(write_disk(f->path, true, NULL), 0);
		assert_true(is_the_disk(f->path));
	}
	free(bytes);
}

static void missing_space_is_told_before_anything_is_written(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	struct diag d = DIAG_INIT;

	assert_int_equal(
	        output_open(f->path,
	                    &(struct output_options){ .disk_len = DISK_LEN, .need_len = INT64_MAX },
	                    &o, &d),
	        -ENOSPC);
	assert_non_null(strstr(d.text, "9223372036854775807 bytes"));
	assert_int_equal(count_entries(f->dir), 0);
}

static void writes_outside_the_disk_are_refused(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	char c;

	assert_int_equal(
	        output_open(f->path, &(struct output_options){ .disk_len = DISK_LEN }, &o, NULL),
	        0);
	assert_int_equal(output_write(o, DISK_LEN, "x", 1, NULL), -ERANGE);
	assert_int_equal(output_write(o, UINT64_MAX, "xy", 2, NULL), -ERANGE);
	assert_int_equal(output_zero(o, 1, DISK_LEN, NULL), -ERANGE);
	assert_int_equal(output_read(o, DISK_LEN, &c, 1, NULL), -ERANGE);
}

static void nowhere_takes_everything_and_gives_nothing(void **state)
{
	scoped(output) struct output *o = NULL;
	char c;

	(void)state;
	assert_int_equal(output_open(NULL,
	                             &(struct output_options){ .disk_len = DISK_LEN,
	                                                       .need_len = UINT64_MAX },
	                             &o, NULL),
	                 0);
	assert_true(output_is_nowhere(o));
	assert_int_equal(output_write(o, 5, "x", 1, NULL), 0);
	assert_int_equal(output_zero(o, 5, 10, NULL), 0);
	assert_int_equal(output_read(o, 5, &c, 1, NULL), -EINVAL);
	assert_int_equal(output_commit(o, NULL), 0);
	assert_int_equal(output_written(o), 0);
}

static void what_was_written_is_read_back(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	uint8_t buf[64] = { 1 };

	assert_int_equal(
	        output_open(f->path, &(struct output_options){ .disk_len = DISK_LEN }, &o, NULL),
	        0);
	assert_int_equal(output_write(o, 100000, "abc", 3, NULL), 0);
	assert_int_equal(output_read(o, 99999, buf, 5, NULL), 0);
	assert_memory_equal(buf, "\0abc\0", 5);
	/* up to a page early, as the file system likes; never late */
	assert_true(output_next_data(o, 0) <= 100000);
	assert_int_equal(output_next_data(o, 100001), 100001);
	assert_true(output_next_data(o, DISK_LEN - 1) <= DISK_LEN);
}

/* ---- whatever fails, and whenever ---- */

static void check_old_or_new(const struct fixture *f, const char *old, int r, const struct diag *d)
{
	struct stat st;

	if (r == 0) {
		assert_true(is_the_disk(f->path));
		return;
	}
	assert_int_equal(d->err, r);
	assert_true(d->text[0] != '\0');
	if (!old) {
		/* only the very last flush can fail behind the rename */
		assert_true(stat(f->path, &st) < 0 || is_the_disk(f->path));
		return;
	}
	if (!is_the_disk(f->path)) {
		size_t len;
		scoped_free uint8_t *kept = get_file(f->path, &len);

		assert_int_equal(len, strlen(old));
		assert_memory_equal(kept, old, len);
	}
	assert_int_equal(count_entries(f->dir), 1);
}

static bool has_the_disk(const struct fixture *f)
{
	return access(f->path, F_OK) == 0 && is_the_disk(f->path);
}

static void fail_every_call(struct fixture *f)
{
	static const char *const olds[] = { NULL, "the old file" };
	static const int errs[] = { ENOSPC, EIO };
	unsigned flushed = 0, dir_flushed = 0;

	for (size_t i = 0; i < ARRAY_LEN(olds) * ARRAY_LEN(errs); i++) {
		const char *old = olds[i % 2];
		int r = -1;

		for (unsigned long k = 1; r != 0; k++) {
			struct diag d = DIAG_INIT;

			unlink(f->path);
			if (old)
				put_file(f->path, old, strlen(old));
			support_fail_call(k, errs[i / 2]);
			r = write_disk(f->path, false, &d);
			support_fail_call(0, 0);
			check_old_or_new(f, old, r, &d);
			if (r != 0)
				assert_int_equal(r, -errs[i / 2]);
			assert_true(k < 50);
			if (strstr(d.text, "cannot flush it:")) { /* before it takes the name */
				flushed++;
				assert_false(has_the_disk(f));
			}
			if (strstr(d.text, "cannot flush its directory")) { /* behind it */
				dir_flushed++;
				assert_true(has_the_disk(f));
			}
		}
	}
	assert_int_equal(flushed, ARRAY_LEN(olds) * ARRAY_LEN(errs));
	assert_int_equal(dir_flushed, ARRAY_LEN(olds) * ARRAY_LEN(errs));
}

static void any_failing_call_leaves_the_old_file_or_none(void **state)
{
	fail_every_call(*state);
}

static void file_system_without_nameless_files_will_do(void **state)
{
	struct fixture *f = *state;
	struct output *o = NULL;

	support_refuse_tmpfile(true);
	assert_int_equal(
	        output_open(f->path, &(struct output_options){ .disk_len = DISK_LEN }, &o, NULL),
	        0);
	assert_int_equal(count_entries(f->dir), 1); /* a temporary name */
	output_close(o);
	assert_int_equal(count_entries(f->dir), 0);
	fail_every_call(f);
	assert_int_equal(count_entries(f->dir), 1);
}

static void failed_allocation_leaves_the_old_file(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k++) {
		struct diag d = DIAG_INIT;

		put_file(f->path, "old", 3);
		support_fail_allocation(k);
		r = write_disk(f->path, false, &d);
		support_fail_allocation(0);
		if (r != 0)
			assert_int_equal(r, -ENOMEM);
		check_old_or_new(f, "old", r, &d);
		assert_true(k < 50);
	}
}

static void killed_at_any_call_leaves_the_old_file_or_the_new_one(void **state)
{
	struct fixture *f = *state;
	bool finished = false;

	for (unsigned long k = 1; !finished; k++) {
		size_t len;
		scoped_free uint8_t *kept = NULL;
		pid_t pid;
		int status;

		put_file(f->path, "old", 3);
		pid = fork();
		if (pid == 0) {
			support_kill_at_call(k);
			_exit(write_disk(f->path, false, NULL) == 0 ? 0 : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		finished = WIFEXITED(status);
		if (finished)
			assert_int_equal(WEXITSTATUS(status), 0);
		kept = get_file(f->path, &len);
		assert_true(is_the_disk(f->path) || (len == 3 && memcmp(kept, "old", 3) == 0));
		assert_true(k < 50);
	}
}

/* ---- in place ---- */

/* A directory that this process cannot write to, and a file in it that it can. */
static void lock_directory(struct fixture *f)
{
	if (geteuid() == 0) {
		assert_int_equal(chown(f->path, 65534, 65534), 0);
		assert_int_equal(chown(f->dir, 65534, 65534), 0);
		assert_int_equal(seteuid(65534), 0);
	}
	assert_int_equal(chmod(f->dir, 0500), 0);
}

static void unlock_directory(struct fixture *f)
{
	assert_int_equal(chmod(f->dir, 0700), 0);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
}

static void file_in_a_locked_directory_is_written_in_place(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	struct diag d = DIAG_INIT;
	uint8_t old[3000];
	int r;

	memset(old, 'o', sizeof(old));
	put_file(f->path, old, sizeof(old));
	assert_int_equal(stat(f->path, &before), 0);
	lock_directory(f);
	r = write_disk(f->path, false, &d);
	unlock_directory(f);
	assert_string_equal(d.text, "");
	assert_int_equal(r, 0);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_true(is_the_disk(f->path));
}

static void half_written_disk_has_no_head(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k++) {
		uint8_t zeros[300] = { 0 }, part[5000], *bytes;
		struct diag d = DIAG_INIT;
		size_t len;

		put_file(f->path, "old", 3);
		lock_directory(f);
		support_fail_call(k, EIO);
		r = write_disk(f->path, false, &d);
		support_fail_call(0, 0);
		unlock_directory(f);
		bytes = get_file(f->path, &len);
		support_fill(part, sizeof(part), 2);
		if (r != 0 && len == DISK_LEN && memcmp(bytes, zeros, sizeof(zeros)) != 0)
			assert_memory_equal(bytes + PART_OFF, part, sizeof(part));
		free(bytes);
		assert_true(k < 50);
	}
	assert_true(is_the_disk(f->path));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_disk_appears_only_when_complete),
		TEST(disk_given_up_leaves_nothing),
		TEST(replaced_file_keeps_mode_and_owner),
		TEST(symbolic_link_is_followed_and_stays),
		TEST(what_is_not_a_disk_is_refused),
		TEST(known_signature_needs_force),
		TEST(missing_space_is_told_before_anything_is_written),
		TEST(writes_outside_the_disk_are_refused),
		TEST(nowhere_takes_everything_and_gives_nothing),
		TEST(what_was_written_is_read_back),
		TEST(any_failing_call_leaves_the_old_file_or_none),
		TEST(file_system_without_nameless_files_will_do),
		TEST(failed_allocation_leaves_the_old_file),
		TEST(killed_at_any_call_leaves_the_old_file_or_the_new_one),
		TEST(file_in_a_locked_directory_is_written_in_place),
		TEST(half_written_disk_has_no_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
