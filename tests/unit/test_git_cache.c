/* SPDX-License-Identifier: Apache-2.0 */
/* The cache as directories; e2e/git_fetch.py fetches into it, damages it and kills who fills it. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "git_cache.h"

#define URL "https://hub.example/org/opt-125m.git/"
#define ID  "0123456789abcdef0123456789abcdef01234567"

static struct git_cache open_cache(const char *base, const char *url)
{
	struct git_cache c = GIT_CACHE_INIT;
	struct diag d = DIAG_INIT;

	if (git_cache_open(base, url, &c, &d) < 0)
		fail_msg("%s", d.text);
	return c;
}

static void url_has_a_directory_of_its_own(void **state)
{
	char *base = support_make_dir();
	scoped_free char *deep = NULL, *dir = NULL;
	struct stat st;
	(void)state;

	assert_true(asprintf(&deep, "%s/a/b", base) > 0);
	struct git_cache one = open_cache(deep, URL);
	struct git_cache two = open_cache(deep, "https://hub.example/other/opt-125m.git/");
	assert_non_null(strstr(one.dir, "/a/b/git/opt-125mgit-"));
	assert_string_not_equal(one.dir, two.dir);
	assert_int_equal(stat(one.dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	dir = strdup(one.dir);
	git_cache_close(&one);
	git_cache_close(&two);
	struct git_cache again = open_cache(deep, URL);
	assert_string_equal(again.dir, dir);
	git_cache_close(&again);
	support_remove_dir(base);
}

static void hostile_names_stay_inside(void **state)
{
	static const char *const urls[] = { "https://h/..",         "https://h/",
		                            "https://h/a/../../..", "/",
		                            "https://h/%2e%2e%2f",  "" };
	char *base = support_make_dir();
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct git_cache c = open_cache(base, urls[i]);
		const char *name = c.dir + strlen(base) + strlen("/git/");

		assert_int_equal(strncmp(c.dir, base, strlen(base)), 0);
		assert_null(strchr(name, '/'));
		assert_null(strchr(name, '.'));
		git_cache_close(&c);
	}
	support_remove_dir(base);
}

static void commit_is_complete_or_not_there(void **state)
{
	char *base = support_make_dir();
	struct git_cache c = open_cache(base, URL);
	scoped_free char *part = git_cache_path(&c, ID, true),
	                 *whole = git_cache_path(&c, ID, false);
	scoped_free char *file = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	assert_int_equal(git_cache_complete(&c, ID, &d), -ENOENT);
	assert_int_equal(mkdir(part, 0700), 0);
	assert_true(asprintf(&file, "%s/file", whole) > 0);
	assert_int_equal(git_cache_complete(&c, ID, &d), 0);
	assert_int_equal(access(part, F_OK), -1);
	int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0400);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(git_cache_remove(whole), 0);
	assert_int_equal(access(whole, F_OK), -1);
	assert_int_equal(git_cache_remove(whole), 0);
	git_cache_close(&c);
	support_remove_dir(base);
}

static void second_process_waits_for_the_first(void **state)
{
	char *base = support_make_dir();
	struct git_cache c = open_cache(base, URL);
	int status = 0, ready[2];
	char byte;
	(void)state;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct git_cache other = GIT_CACHE_INIT;

		close(take_fd(&c.lock));
		(void)!write(ready[1], "x", 1);
		_exit(git_cache_open(base, URL, &other, NULL) == 0 ? 7 : 8);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	git_cache_close(&c);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	close(ready[0]);
	close(ready[1]);
	support_remove_dir(base);
}

static void default_follows_the_environment(void **state)
{
	static const char *const cases[][3] = {
		{ "/c", "/h", "/c/modeldisk" },
		{ NULL, "/h", "/h/.cache/modeldisk" },
		{ "relative", "/h", "/h/.cache/modeldisk" },
		{ "", "/h", "/h/.cache/modeldisk" },
		{ NULL, NULL, NULL },
		{ NULL, "", NULL },
	};
	scoped_free char *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)(cases[i][0] ? setenv("XDG_CACHE_HOME", cases[i][0], 1)
		                   : unsetenv("XDG_CACHE_HOME"));
		(void)(cases[i][1] ? setenv("HOME", cases[i][1], 1) : unsetenv("HOME"));
		scoped_free char *base = git_cache_default_base();
		assert_string_equal(base ? base : "none", cases[i][2] ? cases[i][2] : "none");
	}
	unsetenv("XDG_CACHE_HOME");
	if (home)
		setenv("HOME", home, 1);
}

static void cache_that_cannot_be_made_is_named(void **state)
{
	char *base = support_make_dir();
	struct git_cache c = GIT_CACHE_INIT;
	scoped_free char *file = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	assert_true(asprintf(&file, "%s/file", base) > 0);
	int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(git_cache_open(file, URL, &c, &d), -ENOTDIR);
	assert_non_null(strstr(d.text, file));
	assert_null(c.dir);
	assert_int_equal(c.lock, -1);
	support_remove_dir(base);
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	char *base = support_make_dir();
	(void)state;

	for (unsigned long k = 1;; k++) {
		struct git_cache c = GIT_CACHE_INIT;

		support_fail_allocation(k);
		int r = git_cache_open(base, URL, &c, NULL);
		support_fail_allocation(0);
		git_cache_close(&c);
		if (r == 0)
			break;
		assert_true(r == -ENOMEM || r == -EIO); /* EIO: inside OpenSSL */
		assert_true(k < 100);
	}
	support_remove_dir(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(url_has_a_directory_of_its_own),
		cmocka_unit_test(hostile_names_stay_inside),
		cmocka_unit_test(commit_is_complete_or_not_there),
		cmocka_unit_test(second_process_waits_for_the_first),
		cmocka_unit_test(default_follows_the_environment),
		cmocka_unit_test(cache_that_cannot_be_made_is_named),
		cmocka_unit_test(failed_allocation_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
