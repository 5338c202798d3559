/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers as RFC 9110 and Hugging Face write them, statuses, pauses, and the sentences for people.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "http_answer.h"

#define NOW INT64_C(1700000000) /* 2023-11-14T22:13:20Z, a Tuesday */

static struct http_answer a;

static void line(const char *text)
{
	char copy[1024];
	int len = snprintf(copy, sizeof(copy), "%s\r\n", text);

	http_answer_line(&a, copy, (size_t)len, NOW);
}

static void begin(const char *status)
{
	a = (struct http_answer){ .status = 999, .has_len = true };
	line(status);
}

static void status_line_starts_anew(void **state)
{
	(void)state;
	begin("HTTP/1.1 206 Partial Content");
	assert_int_equal(a.status, 206);
	assert_false(a.has_len);
	begin("HTTP/2 404");
	assert_int_equal(a.status, 404);
	begin("HTTP/1.1");
	assert_int_equal(a.status, 0);
	begin("HTTP/1.1 99999999999999999999999");
	assert_int_equal(a.status, 0);
}

static void lengths_and_ranges_are_read(void **state)
{
	(void)state;
	begin("HTTP/1.1 206 Partial Content");
	line("content-length:  100  ");
	line("Content-Range: bytes 100-199/200");
	assert_true(a.has_len && a.len == 100);
	assert_true(a.has_range && a.range_first == 100 && a.range_last == 199);
	line("Content-Range: bytes 5-5/*");
	assert_true(a.has_range && a.range_first == 5 && a.range_last == 5);
}

static void malformed_numbers_are_absent(void **state)
{
	static const char *const lines[] = {
		"Content-Length: ",
		"Content-Length: -5",
		"Content-Length: 5x",
		"Content-Length: 18446744073709551616",
		"Content-Range: 1-2/3",
		"Content-Range: bytes */200",
		"Content-Range: bytes 9-5/10",
		"Content-Range: bytes 5-/10",
		"Content-Range: bytes -5/10",
		"Content-Range: bytes 1-18446744073709551616/*",
		"Content-Range",
		"Retry-After: soon",
		"Retry-After: -1",
		"RateLimit: \"api\";r=5;t=100",
		"RateLimit: \"api\";r=0",
		"RateLimit: ;r=;t=",
		": 7",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		begin("HTTP/1.1 200 OK");
		line(lines[i]);
		if (a.has_len || a.has_range || a.has_wait)
			fail_msg("\"%s\" was understood", lines[i]);
	}
}

static void waits_are_read_and_the_longest_counts(void **state)
{
	(void)state;
	begin("HTTP/1.1 429 Too Many Requests");
	line("Retry-After: 7");
	assert_true(a.has_wait && a.wait_s == 7);
	line("RateLimit: \"resolvers\";r=0;t=120");
	assert_int_equal(a.wait_s, 120);
	line("RateLimit: \"api\";r=0;t=5");
	assert_int_equal(a.wait_s, 120);
	begin("HTTP/1.1 503 Service Unavailable");
	line("Retry-After: Tue, 14 Nov 2023 22:14:20 GMT");
	assert_true(a.has_wait && a.wait_s == 60);
	begin("HTTP/1.1 503 Service Unavailable");
	line("Retry-After: Tue, 14 Nov 2000 22:14:20 GMT");
	assert_true(a.has_wait && a.wait_s == 0);
}

static void long_lines_are_cut(void **state)
{
	char text[1000];
	(void)state;

	begin("HTTP/1.1 403 Forbidden");
	memset(text, 'x', sizeof(text));
	memcpy(text, "X-Error-Message: ", 17);
	text[sizeof(text) - 1] = '\0';
	line(text);
	assert_int_equal(strlen(a.message), sizeof(a.message) - 1);
	memcpy(text, "X-Error-Code:    ", 17);
	line(text);
	assert_int_equal(strlen(a.error_code), sizeof(a.error_code) - 1);
}

static void message_of_a_refusal_is_found(void **state)
{
	char text[400];
	(void)state;

	a = (struct http_answer){ 0 };
	http_answer_message(&a, "{\"message\":\"no\"}", 16);
	assert_string_equal(a.message, "no");
	http_answer_message(&a, "{\"message\":7}", 13);
	assert_string_equal(a.message, "");
	http_answer_message(&a, "<html>", 6);
	assert_string_equal(a.message, "");
	int len = snprintf(text, sizeof(text), "{\"message\":\"%0300d\"}", 0);
	http_answer_message(&a, text, (size_t)len);
	assert_int_equal(strlen(a.message), sizeof(a.message) - 1);
}

static void pauses_double_up_to_ten_seconds(void **state)
{
	static const unsigned expected[] = { 250, 500, 1000, 2000, 4000, 8000, 10000, 10000 };
	(void)state;

	a = (struct http_answer){ 0 };
	for (unsigned n = 1; n <= ARRAY_LEN(expected); n++)
		assert_int_equal(http_pause_ms(n, &a), expected[n - 1]);
	assert_int_equal(http_pause_ms(UINT32_MAX, &a), 10000);
	a = (struct http_answer){ .has_wait = true, .wait_s = 60 };
	assert_int_equal(http_pause_ms(1, &a), 60000);
	a.wait_s = 0;
	assert_int_equal(http_pause_ms(3, &a), 1000);
	a.wait_s = UINT64_MAX;
	assert_int_equal(http_pause_ms(1, &a), (HTTP_MAX_WAIT_S + 1) * 1000);
}

static enum http_meaning meaning(unsigned status, bool is_batch)
{
	a = (struct http_answer){ .status = status };
	return http_answer_meaning(&a, is_batch);
}

static void statuses_mean_what_git_lfs_takes_them_for(void **state)
{
	static const unsigned again[] = { 0, 408, 429, 500, 502, 503, 504 };
	static const unsigned redirect[] = { 301, 302, 303, 307, 308 };
	static const unsigned no[] = { 100, 204, 300, 304, 402, 405, 409, 422, 501, 505, 507, 509 };
	(void)state;

	for (int is_batch = 0; is_batch < 2; is_batch++) {
		assert_int_equal(meaning(200, is_batch), HTTP_MEANS_DONE);
		assert_int_equal(meaning(401, is_batch), HTTP_MEANS_LOGIN);
		for (size_t i = 0; i < ARRAY_LEN(again); i++)
			assert_int_equal(meaning(again[i], is_batch), HTTP_MEANS_AGAIN);
		for (size_t i = 0; i < ARRAY_LEN(redirect); i++)
			assert_int_equal(meaning(redirect[i], is_batch), HTTP_MEANS_REDIRECT);
		for (size_t i = 0; i < ARRAY_LEN(no); i++)
			assert_int_equal(meaning(no[i], is_batch), HTTP_MEANS_NO);
	}
	assert_int_equal(meaning(206, true), HTTP_MEANS_NO);
	assert_int_equal(meaning(206, false), HTTP_MEANS_DONE);
	assert_int_equal(meaning(413, true), HTTP_MEANS_LESS);
	assert_int_equal(meaning(416, false), HTTP_MEANS_WHOLE);
	assert_int_equal(meaning(403, true), HTTP_MEANS_NO);
	assert_int_equal(meaning(403, false), HTTP_MEANS_LINK);
	assert_int_equal(meaning(404, true), HTTP_MEANS_NO);
	assert_int_equal(meaning(404, false), HTTP_MEANS_LINK);
}

static struct diag why;

static int refuse(unsigned status, const char *code, bool had_credentials)
{
	struct http_asked asked = { .what = "WHAT",
		                    .repository = "https://hub.example/a/b",
		                    .had_credentials = had_credentials };

	a.status = status;
	snprintf(a.error_code, sizeof(a.error_code), "%s", code);
	why = (struct diag)DIAG_INIT;
	return http_answer_refuse(&a, &asked, NOW, &why);
}

static void assert_says(const char *words)
{
	assert_memory_equal(why.text, "WHAT: ", 6);
	if (!strstr(why.text, words))
		fail_msg("no \"%s\" in \"%s\"", words, why.text);
}

static void refusals_name_what_to_do(void **state)
{
	(void)state;
	a = (struct http_answer){ 0 };
	assert_int_equal(refuse(403, "GatedRepo", true), -EACCES);
	assert_says("gated: accept the conditions at https://hub.example/a/b");
	assert_int_equal(refuse(401, "RepoNotFound", true), -ENOENT);
	assert_says("the token may not see it");
	assert_int_equal(refuse(401, "", true), -EACCES);
	assert_says("does not accept the token");
	assert_int_equal(refuse(401, "", false), -EACCES);
	assert_says("set GIT_PAT");
	assert_int_equal(refuse(403, "", true), -EACCES);
	assert_says("lacks the scope");
	assert_int_equal(refuse(404, "", false), -ENOENT);
	assert_says("no token was given in GIT_PAT");
	assert_int_equal(refuse(410, "", false), -ENOENT);
	assert_says("removed by its owner");
	assert_int_equal(refuse(501, "", false), -EOPNOTSUPP);
	assert_int_equal(refuse(418, "", false), -EIO);
	assert_says("HTTP status 418");
}

static void rate_limit_says_until_when(void **state)
{
	(void)state;
	a = (struct http_answer){ .has_wait = true, .wait_s = 600 };
	assert_int_equal(refuse(429, "", true), -EAGAIN);
	assert_says("until 2023-11-14 22:23:20 UTC");
	assert_null(strstr(why.text, "GIT_PAT"));
	assert_int_equal(refuse(429, "", false), -EAGAIN);
	assert_says("with a token in GIT_PAT limits are often higher");
	a = (struct http_answer){ .has_wait = true, .wait_s = UINT64_MAX };
	assert_int_equal(refuse(429, "", true), -EAGAIN);
	a = (struct http_answer){ 0 };
	assert_int_equal(refuse(429, "", true), -EAGAIN);
	assert_says("until an unknown time");
}

static void server_s_words_are_quoted(void **state)
{
	(void)state;
	a = (struct http_answer){ .message = "line\n\x1b[31mred" };
	assert_int_equal(refuse(422, "", true), -EIO);
	assert_says("the server says \"line\\n\\x1b[31mred\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_line_starts_anew),
		cmocka_unit_test(lengths_and_ranges_are_read),
		cmocka_unit_test(malformed_numbers_are_absent),
		cmocka_unit_test(waits_are_read_and_the_longest_counts),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(message_of_a_refusal_is_found),
		cmocka_unit_test(pauses_double_up_to_ten_seconds),
		cmocka_unit_test(statuses_mean_what_git_lfs_takes_them_for),
		cmocka_unit_test(refusals_name_what_to_do),
		cmocka_unit_test(rate_limit_says_until_when),
		cmocka_unit_test(server_s_words_are_quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
