/* SPDX-License-Identifier: Apache-2.0 */
/* Names, locks and leftovers of the file beside a disk; what is in it is test_objects.c's. */
#include "support.h"

#include "part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#define LEN 50000

static const uint64_t sizes[] = { 1000, 2000 };

struct fixture {
	char *dir;
	char path[800];
	struct journal_plan plan;
	struct part_target target;
	struct stat old; /* what stands there, when target.old is set */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk", f->dir);
	f->plan = (struct journal_plan){ .size = sizes, .object_cnt = ARRAY_LEN(sizes) };
	f->target = (struct part_target){ .real_path = f->path, .len = LEN, .journal = &f->plan };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	support_refuse_tmpfile(false);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

/* How many files there are, and whether NAME is among them. */
static unsigned list(const struct fixture *f, const char *name, bool *found)
{
	DIR *d = opendir(f->dir);
	unsigned cnt = 0;
	struct dirent *e;

	assert_non_null(d);
	*found = false;
	while ((e = readdir(d))) {
		cnt++;
		*found = *found || strcmp(e->d_name, name) == 0;
	}
	closedir(d);
	return cnt - 2; /* "." and ".." */
}

static void assert_files(const struct fixture *f, unsigned cnt, const char *one)
{
	bool found;

	assert_int_equal(list(f, one ? one : "", &found), cnt);
	assert_int_equal(found, one != NULL);
}

/* A part in which something is done, as a killed run leaves it. */
static void leave_part(struct fixture *f)
{
	struct part *p = NULL;

	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	journal_note(part_journal(p), 1, 7);
	part_close(p);
	assert_files(f, 2, ".disk.mkdisk-part");
}

static void part_with_a_journal_stays_once_something_is_noted(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;

	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	assert_null(part_kept_name(p));
	part_close(p);
	assert_files(f, 0, NULL);
	leave_part(f);
	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	assert_true(part_is_continued(p));
	assert_int_equal(journal_done(part_journal(p), 1), 7);
	assert_int_equal(lseek(part_fd(p), 0, SEEK_END), LEN);
	assert_string_equal(part_kept_name(p), ".disk.mkdisk-part");
	assert_int_equal(part_commit(p, NULL), 0);
	part_close(p);
	assert_files(f, 1, "disk");
}

static void part_without_a_journal_never_stays(void **state)
{
	struct fixture *f = *state;

	f->target.journal = NULL;
	for (int refuse = 0; refuse < 2; refuse++) {
		struct part *p = NULL;

		support_refuse_tmpfile(refuse);
		assert_int_equal(part_open(&f->target, &p, NULL), 0);
		assert_null(part_kept_name(p));
		assert_files(f, (unsigned)refuse, refuse ? ".disk.mkdisk-part" : NULL);
		part_close(p);
		assert_files(f, 0, NULL);
	}
}

static void build_without_a_journal_removes_what_is_left(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;

	leave_part(f);
	f->target.journal = NULL;
	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	assert_non_null(strstr(part_started_over(p), "no journal to go on with"));
	assert_false(part_is_continued(p));
	part_close(p);
	assert_files(f, 0, NULL);
}

static void named_part_of_a_killed_run_is_removed(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;
	char left[900];
	int fd;

	snprintf(left, sizeof(left), "%s/.disk.mkdisk-part", f->dir);
	fd = open(left, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	/* while its owner lives, it is his */
	assert_int_equal(flock(fd, LOCK_EX), 0);
	f->target.journal = NULL;
	assert_int_equal(part_open(&f->target, &p, NULL), -EAGAIN);
	assert_files(f, 1, ".disk.mkdisk-part");
	close(fd);
	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	assert_int_equal(part_commit(p, NULL), 0);
	part_close(p);
	assert_files(f, 1, "disk");
}

static void longest_name_has_room_for_ours(void **state)
{
	struct fixture *f = *state;
	char name[256], other[900];
	struct part *p = NULL, *q = NULL;
	struct part_target t = f->target;

	memset(name, 'n', 255);
	name[255] = '\0';
	snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
	name[254] = 'm'; /* what differs is cut off */
	snprintf(other, sizeof(other), "%s/%s", f->dir, name);
	t.real_path = other;
	assert_int_equal(part_open(&f->target, &p, NULL), 0);
	assert_int_equal(part_open(&t, &q, NULL), 0);
	assert_files(f, 4, NULL);
	assert_int_equal(part_commit(p, NULL), 0);
	part_close(p);
	part_close(q);
	assert_files(f, 1, strrchr(f->path, '/') + 1);
}

static void continued_part_gets_mode_and_owner_of_what_it_replaces(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;
	struct stat st;
	int fd;

	fd = open(f->path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0604), 0);
	if (geteuid() == 0)
		assert_int_equal(fchown(fd, 12345, 54321), 0);
	assert_int_equal(fstat(fd, &f->old), 0);
	close(fd);
	f->target.old = &f->old;
	for (int run = 0; run < 2; run++) {
		assert_int_equal(part_open(&f->target, &p, NULL), 0);
		assert_int_equal(part_is_continued(p), run);
		assert_int_equal(fstat(part_fd(p), &st), 0);
		assert_int_equal(st.st_mode, f->old.st_mode);
		assert_int_equal(st.st_uid, f->old.st_uid);
		journal_note(part_journal(p), 0, 1);
		part_close(p);
	}
}

static void failed_rename_keeps_part_and_old_file(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;

	close(open(f->path, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(stat(f->path, &f->old), 0);
	f->target.old = &f->old;
	for (int with_journal = 0; with_journal < 2; with_journal++) {
		struct diag d = DIAG_INIT;

		f->target.journal = with_journal ? &f->plan : NULL;
		assert_int_equal(part_open(&f->target, &p, NULL), 0);
		if (with_journal)
			journal_note(part_journal(p), 0, 1);
		support_fail_call(with_journal ? 1 : 2, EIO); /* behind linkat */
		assert_int_equal(part_commit(p, &d), -EIO);
		support_fail_call(0, 0);
		part_close(p);
		assert_files(f, with_journal ? 3 : 1, "disk");
	}
}

static void directory_that_is_not_there_is_told(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;
	struct diag d = DIAG_INIT;

	snprintf(f->path, sizeof(f->path), "%s/none/disk", f->dir);
	assert_int_equal(part_open(&f->target, &p, &d), -ENOENT);
	assert_non_null(strstr(d.text, "directory"));
}

static void failed_allocation_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct part *p = NULL;

	for (unsigned long k = 1; !p; k++) {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		if (part_open(&f->target, &p, &d) < 0) {
			assert_int_equal(d.err, -ENOMEM);
			assert_files(f, 0, NULL);
		}
		support_fail_allocation(0);
	}
	part_close(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(part_with_a_journal_stays_once_something_is_noted),
		TEST(part_without_a_journal_never_stays),
		TEST(build_without_a_journal_removes_what_is_left),
		TEST(named_part_of_a_killed_run_is_removed),
		TEST(longest_name_has_room_for_ours),
		TEST(continued_part_gets_mode_and_owner_of_what_it_replaces),
		TEST(failed_rename_keeps_part_and_old_file),
		TEST(directory_that_is_not_there_is_told),
		TEST(failed_allocation_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
