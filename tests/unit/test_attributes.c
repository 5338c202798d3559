/* SPDX-License-Identifier: Apache-2.0 */
/* The answers are git check-attr's; oracles/checkout.py asks it again. */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "attributes.h"

/* "text eol=crlf", in the order of enum attribute; what is unspecified is not there. */
static const char *ask(struct attributes *a, const char *path)
{
	static const char *const name[] = { "text", "crlf", "eol", "ident", "encoding" };
	static char out[512];
	struct attribute_setting set[ATTRIBUTE_CNT];
	size_t len = 0;

	attributes_lookup(a, path, set);
	out[0] = '\0';
	for (size_t i = 0; i < ATTRIBUTE_CNT; i++) {
		const char *space = len > 0 ? " " : "";

		if (set[i].state == ATTRIBUTE_UNSPECIFIED)
			continue;
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s%s", space,
		                        set[i].state == ATTRIBUTE_FALSE ? "-" : "", name[i]);
		if (set[i].state == ATTRIBUTE_VALUE)
			len += (size_t)snprintf(out + len, sizeof(out) - len, "=%s", set[i].value);
	}
	return out;
}

static struct attributes *with(const char *text)
{
	struct attributes *a = NULL;

	assert_int_equal(attributes_new(&a), 0);
	assert_int_equal(attributes_push(a, 0, text, strlen(text)), 0);
	return a;
}

static void check(const char *text, const char *path, const char *want)
{
	scoped(attributes) struct attributes *a = with(text);
	const char *found = ask(a, path);

	if (strcmp(found, want) != 0)
		fail_msg("%s: %s: %s, not %s", text, path, found, want);
}

static void words_set_unset_and_forget(void **state)
{
	(void)state;
	check("* text -crlf eol=lf ident\n", "a", "text -crlf eol=lf ident");
	check("* text\n* !text\n", "a", "");
	check("* text=a=b\n", "a", "text=a=b");
	check("* -text=x\n", "a", "-text");
	check("* working-tree-encoding=UTF-16", "a", "encoding=UTF-16");
	check("* eol=\n", "a", "eol=");
}

static void later_lines_and_words_win(void **state)
{
	(void)state;
	check("*.a text\n*.a -text\n", "x.a", "-text");
	check("* -text text\n", "a", "text");
	check("a text\n* eol=lf\n", "a", "text eol=lf");
}

static void patterns_mean_files_not_directories(void **state)
{
	(void)state;
	check("dir/ text\n", "dir/a", "");
	check("dir text\n", "dir/a", "");
	check("dir/** text\n", "dir/a", "text");
	check("/a text\n", "dir/a", "");
	check("dir/a text\n", "x/dir/a", "");
	check("\\!a text\n", "!a", "text");
	check("!a text\n", "a", "");
}

static void quoted_patterns_are_taken_apart(void **state)
{
	(void)state;
	check("\"a b\" text\n", "a b", "text");
	check("\"\\141\\t\\\"\" text\n", "a\t\"", "text");
	check("\"a b\"text\n", "a b", "text");
	check("\"a text\n", "\"a", "text");
	check("\"\\q\" text\n", "q", "");
	check("\"a\\000b\" text\n", "a", "text");
}

static void macros_expand_in_place(void **state)
{
	(void)state;
	check("* binary\n", "a", "-text");
	check("[attr]m text eol=crlf\n* m\n", "a", "text eol=crlf");
	check("[attr]m text eol=crlf\n* m -text\n", "a", "-text eol=crlf");
	check("[attr]m text eol=crlf\n* -text m\n", "a", "text eol=crlf");
	check("[attr]m text\n* -m\n", "a", "");
	check("[attr]m text\n* m=x\n", "a", "");
	check("* m\n[attr]m text\n", "a", "text");
	check("[attr]m text\n[attr]m ident\n* m\n", "a", "ident");
	check("[attr]binary text\n* binary\n", "a", "text");
	check("[attr]a b\n[attr]b a text\n* a\n", "x", "text");
	check("[attr]a b text\n[attr]b -text\n* a\n", "x", "text");
	check("[attr]-m text\n* text -m\n", "a", "text");
	check("[attr] m text\n", "a", "text");
	check("\"[attr]m\" text\n* m\n", "a", "text");
}

static void line_with_an_illegal_word_is_void(void **state)
{
	(void)state;
	check("* text =x\n", "a", "");
	check("* text -\n", "a", "");
	check("* text a/b\n", "a", "");
	check("* text --ident\n", "a", "");
	check("* text .x_1-y\n", "a", "text");
}

static void blanks_comments_and_ends_do_not_matter(void **state)
{
	(void)state;
	check("# * text\n\n   \t\n\r\n", "a", "");
	check(" \t*\ttext\r", "a", "text");
	check("* text", "a", "text");
}

static void nearer_directories_win(void **state)
{
	scoped(attributes) struct attributes *a = with("* text\n*.b ident\n[attr]m eol=lf\n");
	(void)state;

	assert_int_equal(attributes_push(a, 4, "/x -text\n[attr]n text\n* m n\n", 28), 0);
	assert_string_equal(ask(a, "dir/x"), "-text eol=lf");
	assert_string_equal(ask(a, "dir/y/x"), "text eol=lf");
	assert_string_equal(ask(a, "dir/c.b"), "text eol=lf ident");
	attributes_pop(a);
	assert_string_equal(ask(a, "dir/x"), "text");
}

static void long_lines_are_ignored_as_git_does(void **state)
{
	char text[2100];
	(void)state;

	for (size_t len = 2046; len <= 2048; len++) {
		memset(text, 'x', sizeof(text));
		memcpy(text, "* text ", 7);
		text[len] = '\0';
		check(text, "a", len < 2048 ? "text" : "");
	}
}

static void file_ends_at_a_nul(void **state)
{
	scoped(attributes) struct attributes *a = NULL;
	(void)state;

	assert_int_equal(attributes_new(&a), 0);
	assert_int_equal(attributes_push(a, 0, "* text\n\0* -text\n", 16), 0);
	assert_string_equal(ask(a, "a"), "text");
}

static void too_large_file_is_refused(void **state)
{
	scoped(attributes) struct attributes *a = NULL;
	scoped_free char *text = calloc(1, ATTRIBUTES_MAX_LEN + 1);
	(void)state;

	assert_non_null(text);
	assert_int_equal(attributes_new(&a), 0);
	assert_int_equal(attributes_push(a, 0, text, ATTRIBUTES_MAX_LEN + 1), -E2BIG);
	assert_int_equal(attributes_push(a, 0, text, ATTRIBUTES_MAX_LEN), 0);
	for (size_t len = ATTRIBUTES_MAX_LEN; len < ATTRIBUTES_MAX_ALL_LEN;
	     len += ATTRIBUTES_MAX_LEN)
		assert_int_equal(attributes_push(a, 2, text, ATTRIBUTES_MAX_LEN), 0);
	assert_int_equal(attributes_push(a, 2, text, 1), -E2BIG);
	attributes_pop(a);
	assert_int_equal(attributes_push(a, 2, text, ATTRIBUTES_MAX_LEN), 0);
}

static void failed_allocation_is_told(void **state)
{
	static const char text[] = "[attr]m text eol=crlf\n*.x m ident\n\"a b\" -text\n";
	(void)state;

	for (unsigned long k = 1;; k++) {
		scoped(attributes) struct attributes *a = NULL;

		support_fail_allocation(k);
		int r = attributes_new(&a);
		if (r == 0)
			r = attributes_push(a, 0, text, strlen(text));
		support_fail_allocation(0);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_set_unset_and_forget),
		cmocka_unit_test(later_lines_and_words_win),
		cmocka_unit_test(patterns_mean_files_not_directories),
		cmocka_unit_test(quoted_patterns_are_taken_apart),
		cmocka_unit_test(macros_expand_in_place),
		cmocka_unit_test(line_with_an_illegal_word_is_void),
		cmocka_unit_test(blanks_comments_and_ends_do_not_matter),
		cmocka_unit_test(nearer_directories_win),
		cmocka_unit_test(long_lines_are_ignored_as_git_does),
		cmocka_unit_test(file_ends_at_a_nul),
		cmocka_unit_test(too_large_file_is_refused),
		cmocka_unit_test(failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
