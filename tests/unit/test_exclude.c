/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables in golden/ hold what git, git-lfs and bash answered; oracles/exclude.py prints them.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "exclude.h"

static struct exclude *new_exclude(enum exclude_mode mode)
{
	struct exclude *x = NULL;

	assert_int_equal(exclude_new(mode, &x), 0);
	return x;
}

static struct exclude *with(enum exclude_mode mode, const char *pattern)
{
	struct exclude *x = new_exclude(mode);
	struct diag d = DIAG_INIT;

	if (exclude_add(x, pattern, &d) < 0)
		fail_msg("%s", d.text);
	return x;
}

static void add(struct exclude *x, const char *pattern)
{
	assert_int_equal(exclude_add(x, pattern, NULL), 0);
}

static enum exclude_verdict verdict(const struct exclude *x, const char *path)
{
	size_t len = strlen(path);
	char copy[256];

	/* "dir/" asks for a directory */
	assert_true(len < sizeof(copy));
	strcpy(copy, path);
	bool is_dir = len > 0 && path[len - 1] == '/';
	copy[len - is_dir] = '\0';
	return exclude_match(x, copy, is_dir, NULL);
}

static int add_error(enum exclude_mode mode, const char *pattern)
{
	scoped(exclude) struct exclude *x = new_exclude(mode);
	struct diag d = DIAG_INIT;
	int r = exclude_add(x, pattern, &d);

	assert_int_equal(r, d.err);
	assert_true(r == 0 || d.text[0] != '\0');
	return r;
}

/* One line of a table: pattern, path, 1 for a directory, K, D or P. */
static void check_line(enum exclude_mode mode, char *line)
{
	const char *pattern = strsep(&line, "\t"), *path = strsep(&line, "\t");
	const char *is_dir = strsep(&line, "\t"), *want = strsep(&line, "\n");

	assert_non_null(want);
	scoped(exclude) struct exclude *x = new_exclude(mode);
	int r = exclude_add(x, pattern, NULL);
	/* refused because it matches nothing */
	assert_true(r == 0 || (r == -EINVAL && *want == 'K'));
	enum exclude_verdict v =
	        r < 0 ? EXCLUDE_KEEP : exclude_match(x, path, *is_dir == '1', NULL);
	if ("KDP"[v] != *want)
		fail_msg("%s: %s: %c, not %c", pattern, path, "KDP"[v], *want);
}

static void check_table(enum exclude_mode mode, const char *name)
{
	const char *tests = getenv("MODELDISK_TESTS");
	scoped_free char *path = NULL, *line = NULL;
	size_t cap = 0, cnt = 0;

	assert_true(asprintf(&path, "%s/golden/%s", tests ? tests : "tests", name) > 0);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	for (; getline(&line, &cap, f) > 0; cnt++)
		check_line(mode, line);
	fclose(f);
	assert_true(cnt > 200);
}

static void gitignore_patterns_mean_what_git_says(void **state)
{
	(void)state;
	check_table(EXCLUDE_GITIGNORE, "exclude_gitignore.tsv");
}

static void privatemode_patterns_mean_what_the_reference_does(void **state)
{
	(void)state;
	check_table(EXCLUDE_PRIVATEMODE, "exclude_privatemode.tsv");
}

static void last_matching_pattern_decides(void **state)
{
	(void)state;
	scoped(exclude) struct exclude *x = with(EXCLUDE_GITIGNORE, "*.bin");
	const char *pattern = "unset";

	add(x, "!keep.bin");
	add(x, "/sub/keep.bin");
	assert_int_equal(verdict(x, "a.bin"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "keep.bin"), EXCLUDE_KEEP);
	assert_int_equal(verdict(x, "other/keep.bin"), EXCLUDE_KEEP);
	assert_int_equal(verdict(x, "sub/keep.bin"), EXCLUDE_DROP);
	exclude_match(x, "keep.bin", false, &pattern);
	assert_string_equal(pattern, "!keep.bin");
	exclude_match(x, "a.txt", false, &pattern);
	assert_null(pattern);
}

static void slash_at_the_end_means_directories(void **state)
{
	(void)state;
	scoped(exclude) struct exclude *x = with(EXCLUDE_GITIGNORE, "original/");

	assert_int_equal(verdict(x, "original/"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "a/original/"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "original"), EXCLUDE_KEEP);
}

static void blanks_at_the_end_count_only_when_escaped(void **state)
{
	(void)state;
	scoped(exclude) struct exclude *x = with(EXCLUDE_GITIGNORE, "a  ");
	scoped(exclude) struct exclude *y = with(EXCLUDE_GITIGNORE, "a\\  ");

	assert_int_equal(verdict(x, "a"), EXCLUDE_DROP);
	assert_int_equal(verdict(y, "a"), EXCLUDE_KEEP);
	assert_int_equal(verdict(y, "a "), EXCLUDE_DROP);
}

/* Odd but git's: "**" behind literal text counts as if a slash stood before it. */
static void deep_wildcard_behind_a_name_is_gits(void **state)
{
	(void)state;
	scoped(exclude) struct exclude *x = with(EXCLUDE_GITIGNORE, "foo**/bar");

	assert_int_equal(verdict(x, "foobar"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "foox/y/bar"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "a/foo/bar"), EXCLUDE_KEEP);
}

static void pattern_that_can_match_nothing_is_refused(void **state)
{
	static const char *const bad[] = { "",   "/",   "//",  "!",       "a//b", "./a", "a/../b",
		                           "[a", "a\\", "[a-", "[[:x:]]", "# a",  " ",   "!./a" };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (add_error(EXCLUDE_GITIGNORE, bad[i]) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
	assert_int_equal(add_error(EXCLUDE_GITIGNORE, "\\#a"), 0);
	assert_int_equal(add_error(EXCLUDE_GITIGNORE, "[]a]"), 0);
}

static void pattern_the_reference_fails_with_is_refused(void **state)
{
	static const char *const bad[] = { "-rf",  ".",    "./",   "a/.", "..",
		                           "../a", "a/..", "a -x", "[a-" };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (add_error(EXCLUDE_PRIVATEMODE, bad[i]) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
	assert_int_equal(add_error(EXCLUDE_PRIVATEMODE, "[[:alpha:]]"), -EOPNOTSUPP);
	assert_int_equal(add_error(EXCLUDE_PRIVATEMODE, "..a,-,a..b"), 0);
}

/* The rows that people meet: what the reference's script does with common patterns. */
static void privatemode_pointers_stay_where_the_shell_does_not_reach(void **state)
{
	static const struct {
		const char *list, *path;
		enum exclude_verdict want;
	} row[] = {
		{ "flax_model.msgpack,pytorch_model.*", "pytorch_model.bin", EXCLUDE_DROP },
		{ "flax_model.msgpack,pytorch_model.*", "pytorch_model.index.json", EXCLUDE_DROP },
		{ "flax_model.msgpack,pytorch_model.*", "sub/pytorch_model.bin",
		  EXCLUDE_KEEP_POINTER },
		{ "flax_model.msgpack,pytorch_model.*", "model.safetensors", EXCLUDE_KEEP },
		{ "original,metal", "original/", EXCLUDE_DROP },
		{ "original,metal", "sub/original/", EXCLUDE_KEEP },
		{ "original,metal", "sub/original/y.bin", EXCLUDE_KEEP_POINTER },
		{ "*.bin", "a.bin", EXCLUDE_DROP },
		{ "*.bin", ".hidden.bin", EXCLUDE_KEEP_POINTER },
		{ "*.bin", "sub/a.bin", EXCLUDE_KEEP_POINTER },
		{ "/original", "original/", EXCLUDE_KEEP },
		{ "/original", "original/a.bin", EXCLUDE_KEEP_POINTER },
		{ "/original", "sub/original/a.bin", EXCLUDE_KEEP },
		{ "original/", "original/", EXCLUDE_DROP },
		{ "original/", "sub/original/a.bin", EXCLUDE_KEEP_POINTER },
		{ "**/*.bin", "a.bin", EXCLUDE_KEEP_POINTER },
		{ "**/*.bin", "sub/a.bin", EXCLUDE_DROP },
		{ "**/*.bin", "sub/sub/a.bin", EXCLUDE_KEEP_POINTER },
		{ "original/**", "original/", EXCLUDE_KEEP },
		{ "original/**", "original/a", EXCLUDE_DROP },
		{ "original/**", "original/.a", EXCLUDE_KEEP_POINTER },
		{ "sp ace.bin", "sp ace.bin", EXCLUDE_KEEP_POINTER },
		{ "sp ace.bin", "sp", EXCLUDE_DROP },
		{ "pytorch_model.{bin,h5}", "pytorch_model.bin", EXCLUDE_KEEP },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		scoped(exclude) struct exclude *x = new_exclude(EXCLUDE_PRIVATEMODE);

		assert_int_equal(exclude_add_list(x, row[i].list, NULL), 0);
		if (verdict(x, row[i].path) != row[i].want)
			fail_msg("%s: %s", row[i].list, row[i].path);
	}
}

static void list_is_split_at_commas_and_newlines(void **state)
{
	(void)state;
	scoped(exclude) struct exclude *x = new_exclude(EXCLUDE_GITIGNORE);

	assert_int_equal(exclude_add_list(x, "a,,b\nc,", NULL), 0);
	assert_int_equal(verdict(x, "a"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "b"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "c"), EXCLUDE_DROP);
	assert_int_equal(verdict(x, "d"), EXCLUDE_KEEP);
	assert_int_equal(exclude_add_list(x, "", NULL), 0);
}

/* Backtracking would take longer than the world exists. */
static void hostile_pattern_ends(void **state)
{
	static const enum exclude_mode modes[] = { EXCLUDE_GITIGNORE, EXCLUDE_PRIVATEMODE };
	char pattern[1024], name[256];
	(void)state;

	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "a*", 2);
	memcpy(pattern + sizeof(pattern) - 2, "b", 2);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		scoped(exclude) struct exclude *x = with(modes[i], pattern);

		assert_int_equal(exclude_match(x, name, false, NULL), EXCLUDE_KEEP);
	}
	for (size_t i = 0; i + 4 < sizeof(pattern); i += 3)
		memcpy(pattern + i, "**/b", 5);
	scoped(exclude) struct exclude *x = with(EXCLUDE_GITIGNORE, pattern);
	for (size_t i = 1; i < sizeof(name) - 1; i += 2)
		name[i] = '/';
	assert_int_equal(exclude_match(x, name, false, NULL), EXCLUDE_KEEP);
}

static void too_long_pattern_is_refused(void **state)
{
	scoped_free char *pattern = malloc(8193);
	(void)state;

	assert_non_null(pattern);
	memset(pattern, '*', 8192);
	pattern[8192] = '\0';
	pattern[0] = 'a';
	pattern[1] = '?';
	assert_int_equal(add_error(EXCLUDE_GITIGNORE, pattern), -EINVAL);
	assert_int_equal(add_error(EXCLUDE_PRIVATEMODE, pattern), -EINVAL);
}

static void failed_allocation_is_told_and_leaves_the_list_whole(void **state)
{
	static const struct {
		enum exclude_mode mode;
		const char *list;
	} kind[] = { { EXCLUDE_GITIGNORE, "a*b,[a-c]/**/d,!x/" },
		     { EXCLUDE_PRIVATEMODE, "a*b c[d-e],x/**/y z,[!a]" } };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(kind); i++)
		for (unsigned long k = 1;; k++) {
			scoped(exclude) struct exclude *x = new_exclude(kind[i].mode);
			struct diag d = DIAG_INIT;

			add(x, "first");
			support_fail_allocation(k);
			int r = exclude_add_list(x, kind[i].list, &d);
			support_fail_allocation(0);
			assert_int_equal(verdict(x, "first"), EXCLUDE_DROP);
			if (r == 0)
				break;
			assert_int_equal(r, -ENOMEM);
			assert_string_not_equal(d.text, "");
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gitignore_patterns_mean_what_git_says),
		cmocka_unit_test(privatemode_patterns_mean_what_the_reference_does),
		cmocka_unit_test(last_matching_pattern_decides),
		cmocka_unit_test(slash_at_the_end_means_directories),
		cmocka_unit_test(blanks_at_the_end_count_only_when_escaped),
		cmocka_unit_test(deep_wildcard_behind_a_name_is_gits),
		cmocka_unit_test(pattern_that_can_match_nothing_is_refused),
		cmocka_unit_test(pattern_the_reference_fails_with_is_refused),
		cmocka_unit_test(privatemode_pointers_stay_where_the_shell_does_not_reach),
		cmocka_unit_test(list_is_split_at_commas_and_newlines),
		cmocka_unit_test(hostile_pattern_ends),
		cmocka_unit_test(too_long_pattern_is_refused),
		cmocka_unit_test(failed_allocation_is_told_and_leaves_the_list_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
