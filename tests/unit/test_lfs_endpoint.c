/* SPDX-License-Identifier: Apache-2.0 */
/* .lfsconfig, and how much of a say it has. */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "lfs_config.h"
#include "lfs_endpoint.h"

static void assert_url(const char *text, const char *want)
{
	scoped(lfs_config) struct lfs_config c = { 0 };
	struct diag d = DIAG_INIT;

	if (lfs_config_parse(text, strlen(text), &c, &d) < 0)
		fail_msg("%s: %s", text, d.text);
	if (want)
		assert_string_equal(c.url ? c.url : "nothing", want);
	else
		assert_null(c.url);
}

static void settings_are_read_as_git_reads_them(void **state)
{
	(void)state;
	assert_url("[lfs]\nurl = https://h/x\n", "https://h/x");
	assert_url("[LFS] URL=https://h/x", "https://h/x");
	assert_url("\xef\xbb\xbf[lfs]\r\n\turl = https://h/x \t\r\n", "https://h/x");
	assert_url("[lfs]\nurl = https://h/x # why\n", "https://h/x");
	assert_url("[lfs]\nurl = \"https://h/#x;\" ; why\n", "https://h/#x;");
	assert_url("[lfs]\nurl = https://\\\nh/x\n", "https://h/x");
	assert_url("[lfs]\nurl = a\\\\b\\\"c\\tn\n", "a\\b\"c\tn");
	assert_url("[lfs]\nurl = https://h/1\nurl = https://h/2\n", "https://h/2");
	assert_url("[lfs]\nurl = https://h/1\n[lfs]\nurl =\n", NULL);
	assert_url("[lfs \"https://h\"]\nurl = x\n[lfs]\naccess\n", NULL);
	assert_url("[remote \"origin\"]\nlfsurl = https://h/r\n", "https://h/r");
	assert_url("[remote.origin]\nlfsurl = https://h/r\n", "https://h/r");
	assert_url("[remote \"other\"]\nlfsurl = https://h/r\n", NULL);
	assert_url("[remote \"origin\"]\nlfsurl = r\n[lfs]\nurl = l\n", "l");
	assert_url("[include]\npath = /etc/passwd\n[core]\nx\n", NULL);
	assert_url("; nothing\n\n# at all", NULL);
	assert_url("", NULL);
}

static void what_a_clone_would_skip_is_read(void **state)
{
	static const char text[] = "[lfs]\n\tfetchExclude = *.bin,original\n\tfetchinclude = a\n";
	scoped(lfs_config) struct lfs_config c = { 0 };
	(void)state;

	assert_int_equal(lfs_config_parse(text, strlen(text), &c, NULL), 0);
	assert_string_equal(c.fetch_exclude, "*.bin,original");
	assert_string_equal(c.fetch_include, "a");
}

static void lines_that_git_does_not_read_are_refused(void **state)
{
	static const char *const bad[] = {
		"url = x\n",         "[lfs\nurl = x\n",    "[lfs \"a\nb\"]\n",   "[]\n",
		"[lfs]\n1url = x\n", "[lfs]\nurl = \"x\n", "[lfs]\nurl = \\x\n", "[lfs]\nurl x\n",
		"[lfs]\n= x\n",      "[lfs \"x]",          "[lfs \"x\"",         "[lfs]\nurl = x\\",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct lfs_config c = { 0 };
		struct diag d = DIAG_INIT;

		if (lfs_config_parse(bad[i], strlen(bad[i]), &c, &d) != -EUCLEAN)
			fail_msg("%s was accepted", bad[i]);
		assert_non_null(strstr(d.text, "line "));
		assert_null(c.url);
	}
	struct lfs_config c = { 0 };
	assert_int_equal(lfs_config_parse("[lfs]\nurl=\0x", 12, &c, NULL), -EUCLEAN);
}

static void configuration_cut_anywhere_is_read_or_refused(void **state)
{
	static const char whole[] = "[lfs \"a\\\"b\"] ; c\n\turl = \"x\\\ny\" # d\r\n[remote "
	                            "\"origin\"]\nlfsurl\n";
	(void)state;

	for (size_t len = 0; len < sizeof(whole); len++) {
		scoped(lfs_config) struct lfs_config c = { 0 };
		char *exact = malloc(len + 1);

		/* so that a sanitizer sees what is read behind the end */
		assert_non_null(exact);
		memcpy(exact, whole, len);
		char *cut = realloc(exact, len ? len : 1);
		int r = lfs_config_parse(cut, len, &c, NULL);
		free(cut);
		assert_true(r == 0 || r == -EUCLEAN);
	}
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	static const char text[] =
	        "[remote \"origin\"]\nlfsurl = https://h/x\n[lfs]\nfetchinclude=a\n";
	struct lfs_endpoint_options opt = { "https://h/m", NULL, "https://h/x" };
	(void)state;

	for (unsigned long k = 1;; k++) {
		scoped(lfs_config) struct lfs_config c = { 0 };
		scoped_free char *url = NULL;

		support_fail_allocation(k);
		int r = lfs_config_parse(text, strlen(text), &c, NULL);
		if (r == 0)
			r = lfs_endpoint(&opt, &url, NULL);
		support_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(k < 100);
	}
}

/* ---- whose word counts ---- */

static void assert_endpoint(const char *source, const char *option, const char *configured,
                            const char *want)
{
	struct lfs_endpoint_options opt = { source, option, configured };
	scoped_free char *url = NULL;
	struct diag d = DIAG_INIT;

	if (lfs_endpoint(&opt, &url, &d) < 0)
		fail_msg("%s", d.text);
	assert_string_equal(url ? url : "nothing", want);
}

static void server_follows_from_the_source(void **state)
{
	(void)state;
	assert_endpoint("https://h/o/m", NULL, NULL, "https://h/o/m.git/info/lfs");
	assert_endpoint("https://h/o/m.git", NULL, NULL, "https://h/o/m.git/info/lfs");
	assert_endpoint("https://h/o/m.git//", NULL, NULL, "https://h/o/m.git/info/lfs");
	assert_endpoint("https://u:p@h:1/o/m?x", NULL, NULL, "https://h:1/o/m.git/info/lfs");
	assert_endpoint(NULL, NULL, NULL, "nothing");
}

static void user_s_word_is_above_the_repository_s(void **state)
{
	(void)state;
	assert_endpoint("https://h/m", "http://u:p@other/lfs/", "https://evil/",
	                "http://other/lfs");
	assert_endpoint(NULL, "http://other/lfs", "https://evil/", "http://other/lfs");
}

static void repository_may_name_a_place_on_its_own_host(void **state)
{
	(void)state;
	assert_endpoint("https://h/m", NULL, "https://h:8443/lfs/m", "https://h:8443/lfs/m");
	assert_endpoint("http://h/m", NULL, "https://H/lfs", "https://H/lfs");
	assert_endpoint("https://h/m", NULL, "https://u:p@h/lfs", "https://h/lfs");
	assert_endpoint(NULL, NULL, "https://evil/", "nothing");
}

static void repository_that_names_another_host_is_refused(void **state)
{
	static const char *const bad[] = {
		"https://evil/m",        "https://h.evil/m",  "http://h/m",
		"file:///etc",           "ssh://h/m",         "git@h:m",
		"https://h@evil/",       "https://evil\\@h/", "x",
		"https://p:secret@evil/"
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct lfs_endpoint_options opt = { "https://h/m", NULL, bad[i] };
		struct diag d = DIAG_INIT;
		char *url = NULL;

		if (lfs_endpoint(&opt, &url, &d) != -EACCES)
			fail_msg("%s was accepted", bad[i]);
		assert_null(url);
		assert_non_null(strstr(d.text, "--lfs-url"));
		assert_null(strstr(d.text, "secret"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_read_as_git_reads_them),
		cmocka_unit_test(what_a_clone_would_skip_is_read),
		cmocka_unit_test(lines_that_git_does_not_read_are_refused),
		cmocka_unit_test(configuration_cut_anywhere_is_read_or_refused),
		cmocka_unit_test(failed_allocation_is_an_error_and_no_leak),
		cmocka_unit_test(server_follows_from_the_source),
		cmocka_unit_test(user_s_word_is_above_the_repository_s),
		cmocka_unit_test(repository_may_name_a_place_on_its_own_host),
		cmocka_unit_test(repository_that_names_another_host_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
