/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch requests and answers as git-lfs docs/api/batch.md and its JSON schemas describe them, and
 * answers that nobody should believe.
 */
#include "support.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "lfs_batch.h"
#include "text.h"

#define NOW INT64_C(1700000000) /* 2023-11-14T22:13:20Z */

static const struct lfs_object objects[2] = {
	{ .oid = { 0x11 }, .size = 123 },
	{ .oid = { 0x22 }, .size = 456 },
};
static const struct lfs_object *const asked[2] = { &objects[0], &objects[1] };
#define OID_1 "1100000000000000000000000000000000000000000000000000000000000000"
#define OID_2 "2200000000000000000000000000000000000000000000000000000000000000"
#define LINK  "\"actions\":{\"download\":{\"href\":\"https://cdn.example/1\"}}"

static struct lfs_offer offer[2];
static struct diag why;

static int decode_text(const char *text, size_t len)
{
	/* exactly as long as it is, so that a sanitizer sees a byte too far */
	scoped_free char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	why = (struct diag)DIAG_INIT;
	return lfs_batch_decode(copy, len, NOW, asked, 2, offer, &why);
}

static int decode(const char *text)
{
	return decode_text(text, strlen(text));
}

/* An answer in which the first object has these members, and the second a link. */
static int decode_first(const char *members)
{
	char text[8192];

	snprintf(text, sizeof(text),
	         "{\"objects\":[{\"oid\":\"" OID_1 "\",%s},{\"oid\":\"" OID_2 "\"," LINK "}]}",
	         members);
	return decode(text);
}

static void release(void)
{
	for (size_t i = 0; i < ARRAY_LEN(offer); i++)
		lfs_link_release(&offer[i].link);
}

/* Refused, with these words, and nothing is left to release. */
static void assert_refused(int r, int code, const char *words)
{
	assert_int_equal(r, code);
	assert_int_equal(why.err, code);
	if (!strstr(why.text, words))
		fail_msg("no \"%s\" in \"%s\"", words, why.text);
	for (size_t i = 0; i < ARRAY_LEN(offer); i++)
		assert_null(offer[i].link.href);
}

static void request_is_what_the_schema_wants(void **state)
{
	scoped_free char *text = NULL;
	const char *operation, *transfer, *hash, *oid;
	json_int_t size;
	json_t *list;
	(void)state;

	assert_int_equal(lfs_batch_encode(asked, 2, &text), 0);
	json_t *request = json_loads(text, 0, NULL);
	assert_non_null(request);
	assert_int_equal(json_unpack_ex(request, NULL, JSON_STRICT, "{s:s, s:[s!], s:o, s:s}",
	                                "operation", &operation, "transfers", &transfer, "objects",
	                                &list, "hash_algo", &hash),
	                 0);
	assert_string_equal(operation, "download");
	assert_string_equal(transfer, "basic");
	assert_string_equal(hash, "sha256");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_unpack_ex(json_array_get(list, 1), NULL, JSON_STRICT, "{s:s, s:I}",
	                                "oid", &oid, "size", &size),
	                 0);
	assert_string_equal(oid, OID_2);
	assert_int_equal(size, 456);
	json_decref(request);
}

static void links_come_in_the_order_that_was_asked(void **state)
{
	(void)state;
	assert_int_equal(decode("{\"transfer\":\"basic\",\"hash_algo\":\"sha256\",\"objects\":["
	                        "{\"oid\":\"" OID_2
	                        "\",\"size\":456,\"authenticated\":true,\"actions\":{"
	                        "\"download\":{\"href\":\"https://cdn.example/2\"}}},"
	                        "{\"oid\":\"" OID_1 "\",\"size\":123,\"actions\":{\"download\":{"
	                        "\"href\":\"http://cdn.example/1\",\"header\":{\"X-A\":\"b "
	                        "c\",\"X-E\":\"\"},"
	                        "\"expires_in\":60,\"expires_at\":\"2000-01-01T00:00:00Z\"}}}]}"),
	                 0);
	assert_string_equal(offer[0].link.href, "http://cdn.example/1");
	assert_int_equal(offer[0].link.header_cnt, 2);
	assert_string_equal(offer[0].link.header[0], "X-A: b c");
	assert_string_equal(offer[0].link.header[1], "X-E;");
	assert_int_equal(offer[0].link.lifetime_s, 60);
	assert_string_equal(offer[1].link.href, "https://cdn.example/2");
	assert_int_equal(offer[1].link.header_cnt, 0);
	assert_true(offer[1].link.lifetime_s == UINT64_MAX);
	release();
}

static uint64_t lifetime_of(const char *members)
{
	char text[256];

	snprintf(text, sizeof(text),
	         "\"actions\":{\"download\":{\"href\":\"https://cdn.example/1\",%s}}", members);
	assert_int_equal(decode_first(text), 0);
	uint64_t seconds = offer[0].link.lifetime_s;
	release();
	return seconds;
}

static void times_are_read_as_rfc_3339_says(void **state)
{
	(void)state;
	assert_int_equal(lifetime_of("\"expires_at\":\"2023-11-14T22:14:20Z\""), 60);
	assert_int_equal(lifetime_of("\"expires_at\":\"2023-11-14T22:14:20.123456Z\""), 60);
	assert_int_equal(lifetime_of("\"expires_at\":\"2023-11-14T23:14:20+01:00\""), 60);
	assert_int_equal(lifetime_of("\"expires_at\":\"2023-11-14T20:44:20-01:30\""), 60);
	/* the past shows that a clock is wrong, not that the link is useless */
	assert_true(lifetime_of("\"expires_at\":\"1999-01-01T00:00:00Z\"") == UINT64_MAX);
	assert_true(lifetime_of("\"expires_at\":\"\"") == UINT64_MAX);
	assert_true(lifetime_of("\"expires_in\":0") == UINT64_MAX);
	assert_true(lifetime_of("\"expires_in\":-5") == UINT64_MAX);
}

static void times_that_are_none_are_refused(void **state)
{
	static const char *const times[] = { "tomorrow", "2023-11-14", "2023-11-14T22:14:20",
		                             "2023-11-14T22:14:20+1", "2023-11-14T22:14:20Zulu" };
	char text[256];
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		snprintf(text, sizeof(text),
		         "\"actions\":{\"download\":{\"href\":\"https://cdn.example/1\","
		         "\"expires_at\":\"%s\"}}",
		         times[i]);
		assert_refused(decode_first(text), -EUCLEAN, "expires_at");
	}
}

static void errors_of_objects_are_offers_without_a_link(void **state)
{
	(void)state;
	assert_int_equal(decode_first("\"error\":{\"code\":410,\"message\":\"gone\"}"), 0);
	assert_null(offer[0].link.href);
	assert_int_equal(offer[0].code, 410);
	assert_string_equal(offer[0].message, "gone");
	assert_non_null(offer[1].link.href);
	release();
	/* codes that HTTP has not */
	assert_int_equal(decode_first("\"error\":{\"code\":-3}"), 0);
	assert_int_equal(offer[0].code, 0);
	release();
	assert_int_equal(decode_first("\"error\":{\"code\":4294967700}"), 0);
	assert_int_equal(offer[0].code, 0);
	release();
}

static void objects_without_anything_have_no_offer(void **state)
{
	(void)state;
	assert_int_equal(decode_first("\"actions\":{}"), 0);
	assert_null(offer[0].link.href);
	assert_int_equal(offer[0].code, 0);
	release();
	assert_int_equal(decode("{\"objects\":[]}"), 0);
	assert_null(offer[0].link.href);
	assert_null(offer[1].link.href);
}

static void what_is_against_the_specification_is_refused(void **state)
{
	(void)state;
	assert_refused(decode(""), -EUCLEAN, "not JSON");
	assert_refused(decode("<html>"), -EUCLEAN, "\"<html>\"");
	assert_refused(decode("[]"), -EUCLEAN, "not a JSON object");
	assert_refused(decode("{}"), -EUCLEAN, "objects");
	assert_refused(decode("{\"objects\":{}}"), -EUCLEAN, "objects");
	assert_refused(decode("{\"objects\":[],\"objects\":[]}"), -EUCLEAN, "not JSON");
	assert_refused(decode("{\"objects\":[\"a\\u0000\"]}"), -EUCLEAN, "not JSON");
	assert_refused(decode("{\"objects\":[7]}"), -EUCLEAN, "was not asked for");
	assert_refused(decode("{\"objects\":[{\"oid\":\"" OID_1 "00\"," LINK "}]}"), -EUCLEAN,
	               "was not asked for");
	assert_refused(decode("{\"objects\":[{\"oid\":\"33" OID_1 "\"," LINK "}]}"), -EUCLEAN,
	               "was not asked for");
	assert_refused(decode("{\"objects\":[{\"oid\":\"" OID_1 "\"," LINK "},{\"oid\":\"" OID_1
	                      "\"," LINK "}]}"),
	               -EUCLEAN, "comes twice");
	assert_refused(decode_first("\"size\":124," LINK), -EBADMSG, "124");
	assert_refused(decode_first("\"size\":-1," LINK), -EBADMSG, "-1");
	assert_refused(decode("{\"transfer\":\"xet\",\"objects\":[]}"), -EOPNOTSUPP, "\"xet\"");
	assert_refused(decode("{\"hash_algo\":\"md5\",\"objects\":[]}"), -EOPNOTSUPP, "\"md5\"");
}

/* Nesting that would need a deep stack. */
static void deep_json_is_refused(void **state)
{
	size_t len = 1 << 20;
	scoped_free char *text = malloc(len);
	(void)state;

	assert_non_null(text);
	memset(text, '[', len);
	assert_refused(decode_text(text, len), -EUCLEAN, "not JSON");
}

static void links_that_are_none_are_refused(void **state)
{
	static const char *const hrefs[] = {
		"7",
		"\"\"",
		"\"file:///etc/passwd\"",
		"\"/relative\"",
		"\"ftp://cdn.example/1\"",
		"\"https://\"",
		"\"https://cdn.example/1\\r\\nX-Smuggled: 1\"",
		"\"https://a@b@cdn.example/\"",
	};
	char text[512];
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(hrefs); i++) {
		snprintf(text, sizeof(text), "\"actions\":{\"download\":{\"href\":%s}}", hrefs[i]);
		assert_refused(decode_first(text), -EUCLEAN, "href");
	}
}

static int decode_header(const char *header)
{
	char text[512];

	snprintf(text, sizeof(text),
	         "\"actions\":{\"download\":{\"href\":\"https://cdn.example/1\",\"header\":%s}}",
	         header);
	return decode_first(text);
}

static void headers_that_would_split_a_request_are_refused(void **state)
{
	static const char *const headers[] = {
		"{\"X\":\"a\\r\\nY: b\"}",
		"{\"X\":\"a\\nY: b\"}",
		"{\"X: a\\r\\nY\":\"b\"}",
		"{\"\":\"b\"}",
		"{\"X Y\":\"b\"}",
		"{\"X:\":\"b\"}",
		"{\"X\":7}",
		"[\"X: a\"]",
		"{\"X\":\"a\\u007fb\"}",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		assert_refused(decode_header(headers[i]), -EUCLEAN, "header");
}

/* They would change what is asked for, or whom. */
static void headers_that_frame_a_request_are_left_out(void **state)
{
	(void)state;
	assert_int_equal(decode_header("{\"Range\":\"bytes=0-1\",\"host\":\"evil.example\","
	                               "\"Transfer-Encoding\":\"chunked\",\"X-Kept\":\"1\","
	                               "\"ACCEPT-ENCODING\":\"gzip\",\"content-length\":\"5\"}"),
	                 0);
	assert_int_equal(offer[0].link.header_cnt, 1);
	assert_string_equal(offer[0].link.header[0], "X-Kept: 1");
	release();
}

static void too_many_headers_are_refused(void **state)
{
	char text[2048] = "{";
	(void)state;

	for (int i = 0; i < 65; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\"X-%d\":\"\"",
		         i ? "," : "", i);
	strcat(text, "}");
	char *all = NULL;
	assert_true(asprintf(&all,
	                     "{\"objects\":[{\"oid\":\"" OID_1 "\",\"actions\":{\"download\":{"
	                     "\"href\":\"https://cdn.example/1\",\"header\":%s}}}]}",
	                     text) > 0);
	assert_refused(decode(all), -EUCLEAN, "at most 64");
	free(all);
}

static const char good[] =
        "{\"transfer\":\"basic\",\"objects\":[{\"oid\":\"" OID_1 "\",\"size\":123,\"actions\":{"
        "\"download\":{\"href\":\"https://cdn.example/1\",\"header\":{\"X-A\":\"b\"},"
        "\"expires_in\":60}}},{\"oid\":\"" OID_2 "\",\"size\":456,\"error\":{\"code\":404,"
        "\"message\":\"none\"}}]}";

static void answer_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(good) - 1; len++) {
		assert_int_equal(decode_text(good, len), -EUCLEAN);
		assert_null(offer[0].link.href);
	}
}

/* Whatever the byte, what comes out is within bounds, and refusals have a sentence. */
static void changed_byte_is_refused_or_harmless(void **state)
{
	char text[sizeof(good)];
	(void)state;

	for (size_t at = 0; at < sizeof(good) - 1; at++) {
		for (unsigned byte = 0; byte < 256; byte += 5) {
			memcpy(text, good, sizeof(good));
			text[at] = (char)byte;
			int r = decode_text(text, sizeof(good) - 1);

			if (r < 0)
				assert_true(why.err == r && why.text[0]);
			else
				release();
		}
	}
}

static void every_failed_allocation_is_told(void **state)
{
	int r = -ENOMEM;
	(void)state;

	for (unsigned long k = 1; r < 0; k++) {
		support_fail_allocation(k);
		r = lfs_batch_decode(good, sizeof(good) - 1, NOW, asked, 2, offer, &why);
		support_fail_allocation(0);
		/* jansson has its own words when memory ends while it parses */
		assert_true(r == 0 || r == -ENOMEM || r == -EUCLEAN);
	}
	release();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_what_the_schema_wants),
		cmocka_unit_test(links_come_in_the_order_that_was_asked),
		cmocka_unit_test(times_are_read_as_rfc_3339_says),
		cmocka_unit_test(times_that_are_none_are_refused),
		cmocka_unit_test(errors_of_objects_are_offers_without_a_link),
		cmocka_unit_test(objects_without_anything_have_no_offer),
		cmocka_unit_test(what_is_against_the_specification_is_refused),
		cmocka_unit_test(deep_json_is_refused),
		cmocka_unit_test(links_that_are_none_are_refused),
		cmocka_unit_test(headers_that_would_split_a_request_are_refused),
		cmocka_unit_test(headers_that_frame_a_request_are_left_out),
		cmocka_unit_test(too_many_headers_are_refused),
		cmocka_unit_test(answer_cut_anywhere_is_refused),
		cmocka_unit_test(changed_byte_is_refused_or_harmless),
		cmocka_unit_test(every_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
