/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "url.h"

static struct url parse(const char *text)
{
	struct diag d = DIAG_INIT;
	struct url u = { 0 };

	if (url_parse(text, &u, &d) < 0)
		fail_msg("%s", d.text);
	return u;
}

static void parts_are_told_apart(void **state)
{
	scoped(url) struct url u = parse("HTTPS://me%40here:a%3Ab@Hub.Example:8443/org/model?x=1");
	(void)state;

	assert_true(u.is_https);
	assert_string_equal(u.host, "hub.example");
	assert_int_equal(u.port, 8443);
	assert_string_equal(u.path, "/org/model?x=1");
	assert_string_equal(u.user, "me@here");
	assert_string_equal(u.password, "a:b");
}

static void what_is_missing_has_a_default(void **state)
{
	scoped(url) struct url plain = parse("http://h"), secure = parse("https://[::1]?q");
	(void)state;

	assert_int_equal(plain.port, 80);
	assert_string_equal(plain.path, "/");
	assert_null(plain.user);
	assert_null(plain.password);
	assert_int_equal(secure.port, 443);
	assert_string_equal(secure.host, "[::1]");
	assert_string_equal(secure.path, "/?q");
}

static void what_could_be_read_as_two_hosts_is_refused(void **state)
{
	static const char *const bad[] = {
		"ftp://h/",        "file:///x",       "h/path",          "http:///x",
		"http://",         "http://a@b@c/",   "http://a\\@b/",   "http://a b/",
		"http://h\n/",     "http://h:/",      "http://h:0/",     "http://h:65536/",
		"http://h:8a/",    "http://h:80:80/", "http://[::1/",    "http://[::1]x/",
		"http://h%2ex/",   "http://h/#@evil", "http://h#@evil/", "http://\xc3\xa9.example/",
		"http://u%zz@h/",  "http://u%00@h/",  "http://[x]/",     "http://h:99999999999/",
		"http://user:@:/", "http://h/\x7f",   "http://h\t",      "http://h;x/",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diag d = DIAG_INIT;
		struct url u = { 0 };

		if (url_parse(bad[i], &u, &d) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
		assert_null(u.host);
		assert_true(strlen(d.text) > 0);
	}
}

static void sentence_about_a_url_holds_no_password(void **state)
{
	static const char *const bad[] = { "http://me:secret@h:port/", "http://me:sec/secret@h/ ",
		                           "ssh://me:secret@h/", "http://secret@x@h/" };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diag d = DIAG_INIT;
		struct url u = { 0 };

		assert_int_equal(url_parse(bad[i], &u, &d), -EINVAL);
		assert_null(strstr(d.text, "secret"));
	}
}

static void origin_is_scheme_host_and_port(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} pairs[] = {
		{ "http://h/a", "HTTP://H:80/b", true },
		{ "https://h/", "https://x@h:443/", true },
		{ "http://h/", "https://h/", false },
		{ "http://h:443/", "https://h/", false },
		{ "https://h/", "https://h:8443/", false },
		{ "https://h/", "https://h.example/", false },
		{ "https://h/", "https://a.h/", false },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		scoped(url) struct url a = parse(pairs[i].a), b = parse(pairs[i].b);

		assert_int_equal(url_is_same_origin(&a, &b), pairs[i].is_same);
	}
}

static void shown_url_is_without_credentials(void **state)
{
	static const char *const pairs[][2] = {
		{ "https://me:secret@h/p@q", "https://h/p@q" },
		{ "https://h/p@q", "https://h/p@q" },
		{ "http://a@b@h", "http://h" },
		{ "/path/with@at", "/path/with@at" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		scoped_free char *shown = url_without_credentials(pairs[i][0]);

		assert_non_null(shown);
		assert_string_equal(shown, pairs[i][1]);
	}
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		struct url u = { 0 };

		support_fail_allocation(k);
		int r = url_parse("https://u:p@h:1/x", &u, NULL);
		support_fail_allocation(0);
		url_release(&u);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(k < 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_told_apart),
		cmocka_unit_test(what_is_missing_has_a_default),
		cmocka_unit_test(what_could_be_read_as_two_hosts_is_refused),
		cmocka_unit_test(sentence_about_a_url_holds_no_password),
		cmocka_unit_test(origin_is_scheme_host_and_port),
		cmocka_unit_test(shown_url_is_without_credentials),
		cmocka_unit_test(failed_allocation_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
