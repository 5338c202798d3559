/* SPDX-License-Identifier: Apache-2.0 */
/* What the files become is what git checkout-index wrote; oracles/checkout.py asks it again. */
#include "support.h"

#include <errno.h>

#include "convert.h"

#define ID "ce013625030ba8dba906f756967f9e9ca394464a"

/* "text eol=crlf": as attributes.c would give it. */
static int init(struct conversion *c, const char *words, struct diag *d)
{
	static const char *const name[] = { [ATTRIBUTE_TEXT] = "text",
		                            [ATTRIBUTE_CRLF] = "crlf",
		                            [ATTRIBUTE_EOL] = "eol",
		                            [ATTRIBUTE_IDENT] = "ident",
		                            [ATTRIBUTE_ENCODING] = "encoding" };
	struct attribute_setting set[ATTRIBUTE_CNT] = { 0 };
	char copy[128];

	strcpy(copy, words);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');
		bool is_false = *word == '-';
		size_t i = 0;

		if (value)
			*value++ = '\0';
		while (strcmp(name[i], word + is_false) != 0)
			i++;
		set[i].state = value      ? ATTRIBUTE_VALUE
		               : is_false ? ATTRIBUTE_FALSE
		                          : ATTRIBUTE_TRUE;
		set[i].value = value;
	}
	return conversion_init(c, set, "\"f\"", d);
}

struct row {
	const char *words, *in, *out;
	size_t in_len, out_len;
};
#define ROW(words, in, out)                                                                        \
	{                                                                                          \
		words, in, out, sizeof(in) - 1, sizeof(out) - 1                                    \
	}
#define SAME(words, in)                                                                            \
	{                                                                                          \
		words, in, in, sizeof(in) - 1, sizeof(in) - 1                                      \
	}

static void check(const struct row *row)
{
	struct conversion c;
	scoped_free void *out = NULL;
	scoped_free char *in = malloc(row->in_len + 1);
	size_t len = 0;

	assert_non_null(in);
	memcpy(in, row->in, row->in_len);
	assert_int_equal(init(&c, row->words, NULL), 0);
	assert_int_equal(conversion_apply(&c, ID, in, row->in_len, &out, &len), 0);
	const void *found = out ? out : in;
	if (len != row->out_len || memcmp(found, row->out, len) != 0)
		fail_msg("%s: %s became %.*s", row->words, row->in, (int)len, (const char *)found);
}

#define CHECK_ALL(rows)                                                                            \
	for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++)                                            \
	check(&(rows)[i_])

static void line_ends_follow_the_attributes(void **state)
{
	static const struct row rows[] = {
		SAME("", "a\nb\n"),
		SAME("text", "a\nb\n"),
		SAME("text=auto", "a\nb\n"),
		SAME("eol=lf", "a\r\nb\n"),
		SAME("text eol=other", "a\n"),
		SAME("crlf", "a\n"),
		SAME("-text eol=crlf", "a\n"),
		SAME("-crlf eol=crlf", "a\n"),
		ROW("eol=crlf", "a\nb\r\n\n\r\r\n\rc", "a\r\nb\r\n\r\n\r\r\n\rc"),
		ROW("text eol=crlf", "\n", "\r\n"),
		ROW("text=input eol=crlf", "a\n", "a\r\n"),
		ROW("text=unknown -crlf", "a\n", "a\n"),
		ROW("text=unknown eol=crlf", "a\n", "a\r\n"),
		ROW("-crlf text eol=crlf", "a\n", "a\r\n"),
		ROW("text=auto eol=crlf", "a\nb\n", "a\r\nb\r\n"),
		ROW("crlf=auto eol=crlf", "a\nb\n", "a\r\nb\r\n"),
		SAME("text=auto eol=crlf", "a\r\nb\n"),
		SAME("text=auto eol=crlf", "a\rb\n"),
		SAME("text=auto eol=crlf", "a\0b\n"),
		SAME("text=auto eol=crlf", "\001\n"),
		ROW("eol=crlf", "\0\n", "\0\r\n"),
		ROW("text=auto eol=crlf", "\b\t\033\f\n", "\b\t\033\f\r\n"),
		ROW("text=auto eol=crlf", "a\n\032", "a\r\n\032"),
		SAME("text=auto eol=crlf", "a\n\032\032"),
	};
	(void)state;

	CHECK_ALL(rows);
}

/* 128 printable characters make up for a control character. */
static void few_control_characters_are_still_text(void **state)
{
	char in[130], out[131];
	struct row row = { "text=auto eol=crlf", in, out, 130, 131 };
	(void)state;

	memset(in, 'x', 128);
	memcpy(in + 128, "\001\n", 2);
	memcpy(out, in, 129);
	memcpy(out + 129, "\r\n", 2);
	check(&row);
	row.in = in + 1;
	row.out = in + 1;
	row.in_len = row.out_len = 129;
	check(&row);
}

static void ident_becomes_the_blobs_id(void **state)
{
	static const struct row rows[] = {
		SAME("ident=x", "$Id$"),
		SAME("-ident", "$Id$"),
		ROW("ident", "a $Id$ b", "a $Id: " ID " $ b"),
		ROW("ident", "$Id: old $", "$Id: " ID " $"),
		ROW("ident", "$Id:$", "$Id: " ID " $"),
		SAME("ident", "$Id: two words $"),
		SAME("ident", "$Id: no end"),
		SAME("ident", "$Id: next\nline $"),
		SAME("ident", "$I $ $Id $ Id$"),
		SAME("ident", "$id$ $ID$"),
		ROW("ident eol=crlf", "$Id$\n", "$Id: " ID " $\r\n"),
		/* the two implementations of git differ */
		SAME("ident", "$$Id$"),
		ROW("ident text=auto", "$$Id$", "$$Id: " ID " $"),
		ROW("ident", "$Idx$Id: y $", "$Id: " ID " $"),
		ROW("ident text=auto", "$Idx$Id: y $", "$Idx$Id: " ID " $"),
		SAME("ident text=auto", "$Id: two words $"),
		ROW("ident text=auto", "$Id:$ $Id: $", "$Id: " ID " $ $Id: " ID " $"),
		SAME("ident text=auto", "$Id: a\n$ $Id"),
		ROW("ident text=auto eol=lf", "$$Id$", "$$Id$"),
	};
	(void)state;

	CHECK_ALL(rows);
}

static void encodings_are_written_as_git_does(void **state)
{
	static const struct row rows[] = {
		SAME("encoding=UTF-8", "\xC3\xA9"),
		SAME("encoding=utf8", "\xC3\xA9"),
		SAME("encoding=", "a"),
		SAME("-encoding", "a"),
		SAME("encoding=UTF-16", ""),
		ROW("encoding=UTF-16", "a\xC3\xA9",
		    "\xFF\xFE"
		    "a\0\xE9\0"),
		ROW("encoding=utf16le", "a", "a\0"),
		ROW("encoding=UTF-16BE", "a", "\0a"),
		ROW("encoding=UTF-16LE-BOM", "a",
		    "\xFF\xFE"
		    "a\0"),
		ROW("encoding=utf-16be-bom", "a", "\xFE\xFF\0a"),
		ROW("encoding=UTF-32", "a", "\xFF\xFE\0\0a\0\0\0"),
		ROW("encoding=UTF-32LE", "a", "a\0\0\0"),
		ROW("encoding=UTF32BE", "a", "\0\0\0a"),
		ROW("encoding=UTF-16BE", "\xF0\x9F\x98\x80", "\xD8\x3D\xDE\x00"),
		ROW("encoding=UTF-16LE",
		    "\xEF\xBB\xBF"
		    "a",
		    "\xFF\xFE"
		    "a\0"),
		ROW("encoding=UTF-16LE eol=crlf", "\n", "\r\0\n\0"),
		/* what is not UTF-8 stays */
		SAME("encoding=UTF-16", "a\xFF"),
		SAME("encoding=UTF-16", "\xED\xA0\x80"),
		SAME("encoding=UTF-16", "ab\xC3"),
		SAME("encoding=UTF-16", "\xC0\x80"),
		ROW("encoding=UTF-16 eol=crlf", "\xFF\n", "\xFF\r\n"),
	};
	(void)state;

	CHECK_ALL(rows);
}

static void other_encodings_are_refused_by_name(void **state)
{
	struct conversion c;
	struct diag d = DIAG_INIT;
	(void)state;

	assert_int_equal(init(&c, "encoding=ISO-8859-1", &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "\"ISO-8859-1\""));
	assert_non_null(strstr(d.text, "\"f\""));
	assert_int_equal(init(&c, "encoding=UTF-7", &d), -EOPNOTSUPP);
	assert_int_equal(init(&c, "encoding=UTF", &d), -EOPNOTSUPP);
	assert_int_equal(init(&c, "encoding", &d), -EUCLEAN);
}

static void nothing_asked_for_is_nothing_done(void **state)
{
	struct conversion c;
	(void)state;

	assert_int_equal(init(&c, "text eol=lf encoding=UTF-8", NULL), 0);
	assert_true(conversion_is_none(&c));
	assert_int_equal(init(&c, "eol=crlf", NULL), 0);
	assert_false(conversion_is_none(&c));
}

static void failed_allocation_is_told(void **state)
{
	struct conversion c;
	(void)state;

	assert_int_equal(init(&c, "ident eol=crlf encoding=UTF-16", NULL), 0);
	for (unsigned long k = 1;; k++) {
		scoped_free void *out = NULL;
		size_t len = 0;

		support_fail_allocation(k);
		int r = conversion_apply(&c, ID, "$Id$\n", 5, &out, &len);
		support_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_null(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_ends_follow_the_attributes),
		cmocka_unit_test(few_control_characters_are_still_text),
		cmocka_unit_test(ident_becomes_the_blobs_id),
		cmocka_unit_test(encodings_are_written_as_git_does),
		cmocka_unit_test(other_encodings_are_refused_by_name),
		cmocka_unit_test(nothing_asked_for_is_nothing_done),
		cmocka_unit_test(failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
