/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"

/* ---- files ---- */

/* All assignments as "line:key=value|", so that one string says what was read. */
static int note(void *ctx, const struct conf_assignment *a, struct diag *d)
{
	char *out = ctx;

	(void)d;
	assert_string_equal(a->file, "f");
	sprintf(out + strlen(out), "%u:%s=%s|", a->line, a->key, a->value);
	return 0;
}

static void assert_read(const char *text, const char *expected)
{
	struct conf_text t = { "f", text, strlen(text) };
	struct diag d = DIAG_INIT;
	char out[4096] = "";

	if (conf_parse(&t, "S", note, out, &d) < 0)
		fail_msg("%s", d.text);
	assert_string_equal(out, expected);
}

static void assert_refused(const char *text, size_t len, const char *expected)
{
	struct conf_text t = { "f", text, len };
	struct diag d = DIAG_INIT;
	char out[4096] = "";

	assert_int_equal(conf_parse(&t, "S", note, out, &d), -EINVAL);
	if (!strstr(d.text, expected))
		fail_msg("%s", d.text);
}

static void assignments_are_stripped_and_numbered(void **state)
{
	(void)state;
	assert_read("", "");
	assert_read("[S]\nA=1\n  B \t=  x y  \nC=\nD=a=b\n", "2:A=1|3:B=x y|4:C=|5:D=a=b|");
	assert_read("[S]\nA=1", "2:A=1|");
	assert_read("\n# c\n ; c\n[S]\n\n#A=0\nA=1 # no comment\n", "7:A=1 # no comment|");
	assert_read("\xEF\xBB\xBF[S]\r\nA=1\r\n", "2:A=1|");
	assert_read("[S]\nA=1\n[S]\nB=2\n", "2:A=1|4:B=2|");
}

static void lines_are_continued_after_an_odd_number_of_backslashes(void **state)
{
	(void)state;
	assert_read("[S]\nA=x\\\n y\nB=2\n", "2:A=x  y|4:B=2|");
	assert_read("[S]\nA=x\\\\\nB=2\n", "2:A=x\\\\|3:B=2|");
	assert_read("[S]\nA=x\\\n# in between\n;too\ny\n", "2:A=x y|");
	assert_read("[S]\nA=x\\\n\nB=2\n", "2:A=x|4:B=2|");
	assert_read("[S]\nA=x\\", "2:A=x|");
	assert_read("[S]\nA=\\\n\\\n\\\nx\n", "2:A=x|");
}

static void extensions_are_skipped(void **state)
{
	(void)state;
	assert_read("[X-Mine]\nA=1\nnonsense\n[S]\nX-B=2\nC=3\n", "6:C=3|");
}

static void what_systemd_warns_about_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *expected;
	} bad[] = {
		{ "A=1\n", "f:1: outside of a section: \"A=1\"" },
		{ "[S]\n\nA\n", "f:3: not KEY=VALUE: \"A\"" },
		{ "[S]\n=1\n", "f:2: not KEY=VALUE" },
		{ "[T]\nA=1\n", "f:1: unknown section: \"T\"" },
		{ "[S\nA=1\n", "f:1: section header without ]" },
		{ "[S]\nA=\xFF\n", "f:2: not UTF-8: \"A=\\xff\"" },
		{ "[S]\nA=1\rB=2\n", "f:2: a carriage return" },
		{ "[S]\nA=x\\\nB=\xC0\n", "f:2: not UTF-8" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(bad[i].text, strlen(bad[i].text), bad[i].expected);
	assert_refused("[S]\nA=\0\n", 8, "NUL");
	scoped_free char *large = malloc(CONF_MAX_LEN + 1);
	memset(large, '#', CONF_MAX_LEN + 1);
	assert_refused(large, CONF_MAX_LEN + 1, "longer than");
}

static int refuse_second(void *ctx, const struct conf_assignment *a, struct diag *d)
{
	(void)a;
	return ++*(int *)ctx == 2 ? diag_set(d, -EPERM, "no") : 0;
}

static void first_failure_ends_the_reading(void **state)
{
	(void)state;
	struct conf_text t = { "f", "[S]\nA=1\nB=2\nC=3\n", 16 };
	struct diag d = DIAG_INIT;
	int calls = 0;

	assert_int_equal(conf_parse(&t, "S", refuse_second, &calls, &d), -EPERM);
	assert_int_equal(calls, 2);
	assert_string_equal(d.text, "no");
}

static void text_need_not_end_with_nul(void **state)
{
	(void)state;
	/* exactly as long as the text, so that a sanitizer sees a byte too many */
	static const char text[] = "[S]\nA=\\";

	for (size_t len = 0; len < sizeof(text); len++) {
		scoped_free char *copy = malloc(MAX(len, (size_t)1));
		struct conf_text t = { "f", copy, len };
		char out[256] = "";

		memcpy(copy, text, len);
		int r = conf_parse(&t, "S", note, out, NULL);
		assert_true(r == 0 || r == -EINVAL);
	}
}

/* ---- words ---- */

/* All words, each followed by '|'; or what was said about them. */
static const char *words(const char *value, const char *separators, unsigned flags, char *out)
{
	struct diag d = DIAG_INIT;
	const char *p = value;
	int r;

	out[0] = '\0';
	do {
		scoped_free char *word = NULL;

		r = conf_word(&p, separators, flags, &word, &d);
		if (r > 0)
			sprintf(out + strlen(out), "%s|", word);
	} while (r > 0);
	if (r < 0)
		sprintf(out, "%s", d.text);
	return out;
}

static void words_are_split_at_blanks_and_unquoted(void **state)
{
	(void)state;
	char out[512];

	assert_string_equal(words("", NULL, CONF_UNQUOTE, out), "");
	assert_string_equal(words("  ", NULL, CONF_UNQUOTE, out), "");
	assert_string_equal(words(" a\tb  c ", NULL, CONF_UNQUOTE, out), "a|b|c|");
	assert_string_equal(words("'a b' \"c'd\" e'f g'h ''", NULL, CONF_UNQUOTE, out),
	                    "a b|c'd|ef gh||");
	assert_string_equal(words("a\\ b \\'c \"d\\\"e\"", NULL, CONF_UNQUOTE, out),
	                    "a b|'c|d\"e|");
	assert_string_equal(words("a'b", NULL, 0, out), "a'b|");
	assert_non_null(strstr(words("a 'b", NULL, CONF_UNQUOTE, out), "unfinished quote"));
	assert_non_null(strstr(words("a\\", NULL, CONF_UNQUOTE, out), "unknown escape"));
}

static void words_between_colons_may_be_empty(void **state)
{
	(void)state;
	char out[512];

	assert_string_equal(words("a:b", ":", CONF_KEEP_EMPTY, out), "a|b|");
	assert_string_equal(words("a::b:", ":", CONF_KEEP_EMPTY, out), "a||b||");
	assert_string_equal(words("", ":", CONF_KEEP_EMPTY, out), "|");
}

static void escapes_stand_for_bytes_and_characters(void **state)
{
	(void)state;
	char out[512];
	static const char *const bad[] = { "\\q",   "\\x",     "\\x0",    "\\x00",       "\\xg0",
		                           "\\u00", "\\u0000", "\\ud800", "\\U00110000", "\\08",
		                           "\\400", "\\000",   "\\",      "\\x2:" };

	assert_string_equal(words("\\a\\b\\f\\n\\r\\t\\v\\s\\\\\\\"\\'", ":", CONF_UNESCAPE, out),
	                    "\a\b\f\n\r\t\v \\\"'|");
	assert_string_equal(words("\\x41\\101\\u00e9\\U0001F917\\x3a:b", ":", CONF_UNESCAPE, out),
	                    "AA\xC3\xA9\xF0\x9F\xA4\x97:|b|");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(strstr(words(bad[i], ":", CONF_UNESCAPE, out), "unknown escape"));
}

/* ---- specifiers, paths, numbers ---- */

static void specifiers_of_the_host_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *value, *expanded;
	} good[] = { { "", "" },       { "100%%", "100%" }, { "%%m", "%m" }, { "50%", "50%" },
		     { "%%%%", "%%" }, { "a%-b", "a%-b" },  { "%%%", "%%" } };
	static const char all[] = "aAbBHlmMoqvwWTVxyz019";

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		scoped_free char *out = NULL;

		assert_int_equal(conf_expand(good[i].value, &out, NULL), 0);
		assert_string_equal(out, good[i].expanded);
	}
	for (const char *c = all; *c; c++) {
		char value[] = { 'x', '%', *c, '\0' }, *out;
		struct diag d = DIAG_INIT;

		assert_int_equal(conf_expand(value, &out, &d), -EINVAL);
		assert_non_null(strstr(d.text, "building host"));
	}
}

static void paths_are_simplified(void **state)
{
	(void)state;
	static const struct {
		const char *path, *plain, *kept;
	} good[] = { { "/", "/", "/" },
		     { "//", "/", "/" },
		     { "/a/", "/a", "/a/" },
		     { "/a//b///", "/a/b", "/a/b/" },
		     { "/./a/./b/.", "/a/b", "/a/b" },
		     { "/a/./", "/a", "/a/" },
		     { "/..a/b..", "/..a/b..", "/..a/b.." } };
	static const char *const bad[] = { "", "a", "./a", "/..", "/a/../b", "/a/..", "/\xFF" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char path[64];

		strcpy(path, good[i].path);
		assert_int_equal(conf_simplify_path(path, false, NULL), 0);
		assert_string_equal(path, good[i].plain);
		strcpy(path, good[i].path);
		assert_int_equal(conf_simplify_path(path, true, NULL), 0);
		assert_string_equal(path, good[i].kept);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char path[64];

		strcpy(path, bad[i]);
		assert_int_equal(conf_simplify_path(path, false, NULL), -EINVAL);
	}
	scoped_free char *name = calloc(1, 258), *path = calloc(1, 4097);
	memset(name, 'x', 256);
	name[0] = '/';
	assert_int_equal(conf_simplify_path(name, false, NULL), 0);
	name[256] = 'x';
	assert_int_equal(conf_simplify_path(name, false, NULL), -EINVAL);
	for (size_t i = 0; i < 4096; i++)
		path[i] = i % 2 ? 'x' : '/';
	assert_int_equal(conf_simplify_path(path, false, NULL), -EINVAL);
	path[4095] = '\0';
	assert_int_equal(conf_simplify_path(path, false, NULL), 0);
}

static void booleans_are_those_of_systemd(void **state)
{
	(void)state;
	static const char *const yes[] = { "1", "yes", "Y", "true", "T", "ON" };
	static const char *const no[] = { "0", "No", "n", "FALSE", "f", "off" };
	static const char *const bad[] = { "", "2", "yess", "ja", "enabled", " yes" };
	bool v;

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		assert_int_equal(conf_bool(yes[i], &v), 0);
		assert_true(v);
		assert_int_equal(conf_bool(no[i], &v), 0);
		assert_false(v);
		assert_int_equal(conf_bool(bad[i], &v), -EINVAL);
	}
}

static void numbers_are_decimal_or_hexadecimal(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t v;
	} good[] = { { "0", 0 },
		     { "1000", 1000 },
		     { "0x1f", 31 },
		     { "0XFF", 255 },
		     { "0x00ff", 255 },
		     { "18446744073709551615", UINT64_MAX },
		     { "0xffffffffffffffff", UINT64_MAX } };
	static const char *const bad[] = { "",   "x",  "-1",  "+1", "1 ",  " 1", "010",
		                           "00", "0x", "0b1", "1k", "1.0", "0xg" };
	uint64_t v;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(conf_number(good[i].text, UINT64_MAX, &v), 0);
		assert_int_equal(v, good[i].v);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(conf_number(bad[i], UINT64_MAX, &v), -EINVAL);
	assert_int_equal(conf_number("18446744073709551616", UINT64_MAX, &v), -ERANGE);
	assert_int_equal(conf_number("0x10000000000000000", UINT64_MAX, &v), -ERANGE);
	assert_int_equal(conf_number("1001", 1000, &v), -ERANGE);
	assert_int_equal(conf_number("1000", 1000, &v), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assignments_are_stripped_and_numbered),
		cmocka_unit_test(lines_are_continued_after_an_odd_number_of_backslashes),
		cmocka_unit_test(extensions_are_skipped),
		cmocka_unit_test(what_systemd_warns_about_is_refused),
		cmocka_unit_test(first_failure_ends_the_reading),
		cmocka_unit_test(text_need_not_end_with_nul),
		cmocka_unit_test(words_are_split_at_blanks_and_unquoted),
		cmocka_unit_test(words_between_colons_may_be_empty),
		cmocka_unit_test(escapes_stand_for_bytes_and_characters),
		cmocka_unit_test(specifiers_of_the_host_are_refused),
		cmocka_unit_test(paths_are_simplified),
		cmocka_unit_test(booleans_are_those_of_systemd),
		cmocka_unit_test(numbers_are_decimal_or_hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
