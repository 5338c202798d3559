/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define OLD "what was there before"

struct fixture {
	char *dir;
	char model[512], out[512], disk[540], record[540];
	struct build_options opt;
	char warnings[1000];
};

static void put_file(const char *dir, const char *name, size_t len)
{
	scoped_free uint8_t *bytes = malloc(len + 1);
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	support_fill(bytes, len, len);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void put_old(const struct fixture *f)
{
	int fd = open(f->disk, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, OLD, sizeof(OLD)), sizeof(OLD));
	close(fd);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char sub[540];

	f->dir = support_make_dir();
	snprintf(f->model, sizeof(f->model), "%s/model", f->dir);
	snprintf(f->out, sizeof(f->out), "%s/out", f->dir);
	snprintf(f->disk, sizeof(f->disk), "%s/disk", f->out);
	snprintf(f->record, sizeof(f->record), "%s/record", f->out);
	snprintf(sub, sizeof(sub), "%s/sub", f->model);
	assert_int_equal(mkdir(f->model, 0755), 0);
	assert_int_equal(mkdir(f->out, 0755), 0);
	assert_int_equal(mkdir(sub, 0755), 0);
	put_file(f->model, "config.json", 300);
	put_file(f->model, "sub/weights", 50000);
	put_file(f->model, "sub/empty", 0);
	f->opt = (struct build_options){ .disk = f->disk,
		                         .source = f->model,
		                         .size = BUILD_SIZE_AUTO,
		                         .salt_len = 1,
		                         .jobs = 1 };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static void take_warning(void *ctx, const char *sentence)
{
	struct fixture *f = ctx;

	strncat(f->warnings, sentence, sizeof(f->warnings) - strlen(f->warnings) - 1);
}

static int build(struct fixture *f, struct diag *d)
{
	struct build_hooks hooks = { .warn = take_warning, .ctx = f };
	scoped_free char *text = NULL;
	int r = build_disk(&f->opt, &hooks, &text, d);

	if (r == 0)
		assert_non_null(strstr(text, "roothash"));
	else
		assert_null(text);
	return r;
}

static bool is_old(const struct fixture *f)
{
	char found[sizeof(OLD) + 1] = "";
	int fd = open(f->disk, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, found, sizeof(found));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)sizeof(OLD) && memcmp(found, OLD, sizeof(OLD)) == 0;
}

/* Besides the disk: a record, or something that was forgotten. */
static unsigned count_others(const struct fixture *f)
{
	DIR *d = opendir(f->out);
	unsigned cnt = 0;

	assert_non_null(d);
	while (readdir(d))
		cnt++;
	closedir(d);
	return cnt - 3; /* ".", ".." and the disk */
}

static void every_failing_allocation_is_told_and_harms_nothing(void **state)
{
	struct fixture *f = *state;

	for (int flat = 0; flat < 2; flat++) {
		int r = -1;

		f->opt.layout = flat ? COMPAT_FLAT : COMPAT_REPART;
		for (unsigned long k = 1; r != 0; k++) {
			struct diag d = DIAG_INIT;

			put_old(f);
			support_fail_allocation(k);
			r = build(f, &d);
			support_fail_allocation(0);
			assert_true(k < 5000);
			if (r == 0)
				break;
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(d.err, -ENOMEM);
			assert_string_not_equal(d.text, "");
			assert_true(is_old(f));
			assert_int_equal(count_others(f), 0);
		}
	}
}

static void every_failing_call_is_told_and_leaves_old_or_new(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	f->opt.record = f->record;
	for (unsigned long k = 1; r != 0; k++) {
		struct diag d = DIAG_INIT;

		unlink(f->record);
		put_old(f);
		support_fail_call(k, EIO);
		r = build(f, &d);
		support_fail_call(0, 0);
		assert_true(k < 5000);
		if (r == 0)
			break;
		assert_int_equal(r, -EIO);
		assert_string_not_equal(d.text, "");
		if (!is_old(f))
			assert_true(strstr(d.text, "directory") || strstr(d.text, "record"));
	}
	assert_false(is_old(f));
	assert_int_equal(count_others(f), 1);
}

static void warnings_do_not_stop_a_build(void **state)
{
	struct fixture *f = *state;
	char link[600];

	snprintf(link, sizeof(link), "%s/link", f->model);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(build(f, NULL), 0);
	assert_non_null(strstr(f->warnings, "/etc/passwd"));
}

static void root_that_is_expected_decides(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;

	put_old(f);
	f->opt.root_is_expected = true;
	assert_int_equal(build(f, &d), -EBADMSG);
	assert_non_null(strstr(d.text, "expected 0000000000"));
	assert_true(is_old(f));
	assert_int_equal(count_others(f), 0);
}

/* A listing of the model without weights and *.json. */
static char *list(struct fixture *f, enum build_list what, struct diag *d)
{
	static const struct build_hooks hooks;
	static const char *patterns[] = { "weights", "*.json" };
	char *text = NULL;

	f->opt.exclude = patterns;
	f->opt.exclude_cnt = ARRAY_LEN(patterns);
	return build_list(&f->opt, what, &hooks, &text, d) == 0 ? text : NULL;
}

static void what_is_excluded_is_listed(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = list(f, BUILD_LIST_EXCLUDED, NULL);

	assert_non_null(strstr(text, "weights\t\"sub/weights\"\n"));
	assert_non_null(strstr(text, "*.json\t\"config.json\"\n"));
}

static void what_goes_in_is_listed_with_the_disk_it_needs(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL, *json = NULL, *result = NULL;
	static const struct build_hooks hooks;
	char line[100];
	struct stat st;

	put_file(f->model, "kept \"x\"", 12345);
	put_old(f); /* whose size is not that of the smallest disk */
	text = list(f, BUILD_LIST_TEXT, NULL);
	json = list(f, BUILD_LIST_JSON, NULL);
	assert_non_null(strstr(text, "          12345  file  \"kept \\\"x\\\"\"\n"));
	assert_non_null(strstr(text, "              -  out   \"sub/weights\" by \"weights\"\n"));
	assert_non_null(strstr(json, "\"path\" : \"kept \\\"x\\\"\""));
	assert_non_null(strstr(json, "\"pattern\" : \"weights\""));
	assert_true(is_old(f));
	unlink(f->disk);
	assert_int_equal(build_disk(&f->opt, &hooks, &result, NULL), 0);
	assert_int_equal(stat(f->disk, &st), 0);
	snprintf(line, sizeof(line), "%15lld  is what the disk needs", (long long)st.st_size);
	assert_non_null(strstr(text, line));
	snprintf(line, sizeof(line), "\"disk_size\" : %lld", (long long)st.st_size);
	assert_non_null(strstr(json, line));
}

static void listing_without_memory_is_told(void **state)
{
	static const enum build_list what[] = { BUILD_LIST_EXCLUDED, BUILD_LIST_TEXT,
		                                BUILD_LIST_JSON };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(what); i++) {
		char *text = NULL;

		for (unsigned long k = 1; !text; k++) {
			struct diag d = DIAG_INIT;

			support_fail_allocation(k);
			text = list(f, what[i], &d);
			support_fail_allocation(0);
			assert_true(text || d.text[0]);
		}
		free(text);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_failing_allocation_is_told_and_harms_nothing),
		TEST(every_failing_call_is_told_and_leaves_old_or_new),
		TEST(warnings_do_not_stop_a_build),
		TEST(root_that_is_expected_decides),
		TEST(what_is_excluded_is_listed),
		TEST(what_goes_in_is_listed_with_the_disk_it_needs),
		TEST(listing_without_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
