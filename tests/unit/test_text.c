/* SPDX-License-Identifier: Apache-2.0 */
/* Text in and out of values: round trips, the limits of each format, names made safe to show. */
#include "support.h"

#include "text.h"

#include <errno.h>
#include <stdio.h>

static void hex_goes_there_and_back_for_every_byte(void **state)
{
	uint8_t bytes[256], back[256];
	char text[2 * sizeof(bytes) + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	hex_encode(bytes, sizeof(bytes), text);
	assert_int_equal(strspn(text, "0123456789abcdef"), 2 * sizeof(bytes));
	assert_int_equal(hex_decode(text, back, sizeof(back)), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
	hex_encode(bytes, 0, text);
	assert_string_equal(text, "");
}

static void hex_takes_exactly_the_wanted_digits(void **state)
{
	uint8_t out[2] = { 1, 2 };
	static const char *const bad[] = { "",     "a",    "abc",   "abcde",  "abcg", " abc",
		                           "0xab", "ab-c", "abc\n", "abcdef", "ab d" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(hex_decode(bad[i], out, 2), -EINVAL);
	assert_true(out[0] == 1 && out[1] == 2);
	assert_int_equal(hex_decode("aBCd", out, 2), 0);
	assert_true(out[0] == 0xab && out[1] == 0xcd);
}

static void uuid_is_read_with_all_dashes_or_none(void **state)
{
	static const char text[] = "0fc63daf-8483-4772-8e79-3d69d8477de4";
	static const char *const bad[] = { "",
		                           "0fc63daf-8483-4772-8e79-3d69d8477de",
		                           "0fc63daf-8483-4772-8e79-3d69d8477de45",
		                           "0fc63daf84-83-4772-8e79-3d69d8477de4",
		                           "0fc63daf-8483-4772-8e793d69d8477de4",
		                           "{0fc63daf8483-4772-8e793d69d8477de4}",
		                           "0fc63daf-8483-4772-8e79-3d69d8477dg4",
		                           "0fc63daf-8483-4772--8e7-3d69d8477de4",
		                           "0fc63daf848347728e793d69d8477de" };
	struct uuid a, b;
	char back[UUID_TEXT_LEN];

	(void)state;
	assert_int_equal(uuid_parse(text, &a), 0);
	assert_true(a.b[0] == 0x0f && a.b[15] == 0xe4);
	uuid_format(&a, back);
	assert_string_equal(back, text);
	assert_int_equal(uuid_parse("0FC63DAF848347728E793D69D8477DE4", &b), 0);
	assert_true(uuid_equal(&a, &b));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(uuid_parse(bad[i], &b), -EINVAL);
	assert_false(uuid_is_null(&a));
	b.b[7] ^= 1;
	assert_false(uuid_equal(&a, &b));
	assert_int_equal(uuid_parse("00000000-0000-0000-0000-000000000000", &b), 0);
	assert_true(uuid_is_null(&b));
}

static void sizes_are_read_as_systemd_reads_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} v[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4096B", 4096 },
		{ "64M", 64 * MIB },
		{ "64 M", 64 * MIB },
		{ "  64M", 64 * MIB },
		{ "1.5G", GIB + GIB / 2 },
		{ "10.M", 10 * MIB },
		{ "1.9", 1 },
		{ "0.1G", 107374182 },
		{ "1M 512K", MIB + 512 * KIB },
		{ "1M512K", MIB + 512 * KIB },
		{ "1G 1M 1K 1", GIB + MIB + KIB + 1 },
		{ "2T", 2048 * GIB },
		{ "15E", UINT64_C(15) << 60 },
		{ "007K", 7 * KIB },
		{ "1B 1", 2 },
		{ "18446744073709551615", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		uint64_t got = 0;

		assert_int_equal(size_parse(v[i].text, &got), 0);
		assert_true(got == v[i].want);
	}
}

static void sizes_that_mean_nothing_are_refused(void **state)
{
	static const char *const bad[] = { "",     " ",    "M",     "x",    "-1",    "+1",    "1m",
		                           "1KB",  "1KiB", "1K 1M", "1K1K", "1 1",   "1M ",   "1x",
		                           "0x10", ".5G",  "1..5",  "1,5G", "1 K M", "1.5.5G" };
	static const char *const large[] = { "18446744073709551616", "16E", "15E 1024P",
		                             "99999999999999999999999999" };
	uint64_t out = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(size_parse(bad[i], &out), -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(large); i++)
		assert_int_equal(size_parse(large[i], &out), -ERANGE);
	assert_true(out == 7);
}

static void sizes_are_shown_in_eight_characters_at_most(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} v[] = {
		{ 0, "0B" },
		{ 512, "512B" },
		{ 1023, "1023B" },
		{ 1024, "1.0K" },
		{ 1536, "1.5K" },
		{ 64 * MIB, "64.0M" },
		{ GIB + GIB / 2, "1.5G" },
		{ GIB - 1, "1023.9M" },
		{ UINT64_MAX, "15.9E" },
	};
	char text[SIZE_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		size_format(v[i].bytes, text);
		assert_string_equal(text, v[i].want);
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		size_format((UINT64_C(1) << bit) - 1, text);
		assert_true(strlen(text) <= 8);
		size_format(UINT64_C(1) << bit, text);
		assert_true(strlen(text) <= 8);
	}
}

/* Every Unicode scalar value, and with each of its bytes spoilt. */
static void utf8_goes_there_and_back_for_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		char text[4];
		uint32_t back = UINT32_MAX;
		size_t n = utf8_encode(c, text);
		bool surrogate = c >= 0xd800 && c <= 0xdfff;

		assert_int_equal(utf8_decode(text, n, &back), surrogate ? 0 : n);
		assert_true(surrogate || back == c);
		assert_int_equal(utf8_decode(text, n - 1 + (n == 1), &back), n == 1 ? 1 : 0);
	}
}

static void malformed_utf8_is_not_decoded(void **state)
{
	static const char *const bad[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xff",
		"\xfe",
		"\xc3",
		"\xc3(",
		"\xe2\x82",
		"\xe2(\xac",
		"\xf0\x9f\x98",
	};
	uint32_t c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(utf8_decode(bad[i], strlen(bad[i]), &c), 0);
		assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
	}
	assert_true(utf8_is_valid("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", 12));
	assert_true(utf8_is_valid("", 0));
}

static void names_are_quoted_unambiguously(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		const char *want;
	} v[] = {
		{ "", 0, "\"\"" },
		{ "plain name.txt", 14, "\"plain name.txt\"" },
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "\n\r\t\0\x1b\x7f", 6, "\"\\n\\r\\t\\x00\\x1b\\x7f\"" },
		{ "\xff\xc3", 2, "\"\\xff\\xc3\"" },
		{ "caf\xc3\xa9", 5, "\"caf\xc3\xa9\"" },
		{ "\xc2\x9b"
		  "31m",
		  5, "\"\\xc2\\x9b31m\"" }, /* C1 control sequence */
		{ "a\xe2\x80\xae"
		  "b",
		  5,
		  "\"a\\xe2\\x80\\xae"
		  "b\"" }, /* direction override */
		{ "a\xc2\xa0"
		  "b",
		  4,
		  "\"a\\xc2\\xa0"
		  "b\"" },                                    /* no-break space */
		{ "\xed\xa0\x80", 3, "\"\\xed\\xa0\\x80\"" }, /* surrogate */
	};
	char out[TEXT_QUOTE_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_ptr_equal(text_quote(v[i].name, v[i].len, out, sizeof(out)), out);
		assert_string_equal(out, v[i].want);
	}
}

static void no_byte_sequence_leaves_a_control_byte_or_malformed_text(void **state)
{
	uint8_t raw[255];
	char out[TEXT_QUOTE_LEN];

	(void)state;
	for (uint64_t seed = 0; seed < 500; seed++) {
		support_fill(raw, sizeof(raw), seed);
		for (int clean = 0; clean < 2; clean++) {
			if (clean)
				text_clean(raw, sizeof(raw), out, sizeof(out));
			else
				text_quote(raw, sizeof(raw), out, sizeof(out));
			assert_true(utf8_is_valid(out, strlen(out)));
			assert_null(strstr(out, "..."));
			for (const char *p = out; *p; p++)
				assert_true((uint8_t)*p >= ' ' && *p != 0x7f);
		}
	}
}

static void what_does_not_fit_is_cut_and_marked(void **state)
{
	static const char name[] = "ab\ncd\xc3\xa9"
	                           "fgh";
	char out[64];

	(void)state;
	for (size_t size = 6; size <= sizeof(out); size++) {
		memset(out, 'X', sizeof(out));
		text_quote(name, sizeof(name) - 1, out, size);
		assert_true(strlen(out) < size);
		assert_true(size == sizeof(out) || out[size] == 'X');
		assert_true(utf8_is_valid(out, strlen(out)));
		if (strcmp(out, "\"ab\\ncd\xc3\xa9"
		                "fgh\"") != 0)
			assert_string_equal(out + strlen(out) - 4, "\"...");
		else
			assert_true(size >= 14);
	}
	text_quote(name, sizeof(name) - 1, out, 6);
	assert_string_equal(out, "\"\"...");
	text_quote("abc", 3, out, 6);
	assert_string_equal(out, "\"abc\"");
	text_clean("abcdefgh", 8, out, 8);
	assert_string_equal(out, "abcd...");
	text_clean("a \"b\" \\", 7, out, sizeof(out));
	assert_string_equal(out, "a \"b\" \\");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex_goes_there_and_back_for_every_byte),
		cmocka_unit_test(hex_takes_exactly_the_wanted_digits),
		cmocka_unit_test(uuid_is_read_with_all_dashes_or_none),
		cmocka_unit_test(sizes_are_read_as_systemd_reads_them),
		cmocka_unit_test(sizes_that_mean_nothing_are_refused),
		cmocka_unit_test(sizes_are_shown_in_eight_characters_at_most),
		cmocka_unit_test(utf8_goes_there_and_back_for_every_code_point),
		cmocka_unit_test(malformed_utf8_is_not_decoded),
		cmocka_unit_test(names_are_quoted_unambiguously),
		cmocka_unit_test(no_byte_sequence_leaves_a_control_byte_or_malformed_text),
		cmocka_unit_test(what_does_not_fit_is_cut_and_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
