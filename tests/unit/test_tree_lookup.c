/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tree_lookup.h"

static struct tree_node *add(struct tree *t, struct tree_node *dir, const char *name, uint16_t type)
{
	struct tree_node *n = NULL;

	assert_int_equal(tree_add(t, dir, name, strlen(name), type | 0755, &n, NULL), 0);
	return n;
}

static void add_link(struct tree *t, struct tree_node *dir, const char *name, const char *target)
{
	struct tree_node *n = add(t, dir, name, S_IFLNK);

	assert_int_equal(tree_set_target(n, target, strlen(target), NULL), 0);
}

/* a/b/f, and links of all kinds */
static struct tree *sample(void)
{
	struct tree *t = NULL;

	assert_int_equal(tree_new(&t), 0);
	struct tree_node *a = add(t, t->root, "a", S_IFDIR);
	struct tree_node *b = add(t, a, "b", S_IFDIR);

	add(t, b, "f", S_IFREG);
	add_link(t, t->root, "rel", "a/./b/");
	add_link(t, b, "up", "../..");
	add_link(t, t->root, "abs", "/src/a/b");
	add_link(t, t->root, "root", "/src");
	add_link(t, t->root, "out", "/etc/f");
	add_link(t, b, "far", "../../../x");
	add_link(t, t->root, "loop", "loop");
	add_link(t, t->root, "none", "nothing");
	for (unsigned i = 0; i < 40; i++) {
		char name[8], target[8];

		snprintf(name, sizeof(name), "l%u", i);
		snprintf(target, sizeof(target), i == 0 ? "a" : "l%u", i - 1);
		add_link(t, t->root, name, target);
	}
	return t;
}

static void assert_leads(const struct tree_lookup *l, const char *path, const char *expected)
{
	struct tree_node *n = NULL;
	char found[256];
	int r = tree_lookup(l, path, &n);

	if (r < 0)
		fail_msg("%s: %d", path, r);
	tree_path(n, found, sizeof(found));
	assert_string_equal(found, expected);
}

static void assert_error(const struct tree_lookup *l, const char *path, int err)
{
	struct tree_node *n = NULL;

	assert_int_equal(tree_lookup(l, path, &n), err);
	assert_null(n);
}

static void paths_are_followed_through_links(void **state)
{
	(void)state;
	scoped(tree) struct tree *t = sample();
	struct tree_lookup l = { .root = t->root, .prefix = "/src" };

	assert_leads(&l, "", "");
	assert_leads(&l, "/", "");
	assert_leads(&l, "a/b/f", "a/b/f");
	assert_leads(&l, "//a//b/./f", "a/b/f");
	assert_leads(&l, "a/b/..", "a");
	assert_leads(&l, "rel/f", "a/b/f");
	assert_leads(&l, "abs/f", "a/b/f");
	assert_leads(&l, "root/a", "a");
	assert_leads(&l, "a/b/up/a/b/up/rel", "a/b");
	assert_leads(&l, "l31", "a");
}

static void what_leads_nowhere_says_why(void **state)
{
	(void)state;
	scoped(tree) struct tree *t = sample();
	struct tree_lookup l = { .root = t->root, .prefix = "/src" };

	assert_error(&l, "x", -ENOENT);
	assert_error(&l, "none", -ENOENT);
	assert_error(&l, "a/b/f/x", -ENOTDIR);
	assert_error(&l, "a/b/f/..", -ENOTDIR);
	assert_error(&l, "loop", -ELOOP);
	assert_error(&l, "l32", -ELOOP);
	assert_error(&l, "out", -EXDEV);
	assert_error(&l, "a/b/far", -EXDEV);
	assert_error(&l, "..", -EXDEV);
}

static void nothing_leads_out_of_a_whole_file_system(void **state)
{
	(void)state;
	scoped(tree) struct tree *t = sample();
	struct tree_lookup l = { .root = t->root, .prefix = "/" };

	assert_leads(&l, "../../a", "a");
	assert_error(&l, "out", -ENOENT);
	assert_error(&l, "a/b/far", -ENOENT);
}

static void hard_links_are_followed_as_what_they_are(void **state)
{
	(void)state;
	scoped(tree) struct tree *t = sample();
	struct tree_lookup l = { .root = t->root, .prefix = "/" };
	struct tree_node *other = add(t, t->root, "other", S_IFLNK);

	other->link = tree_child(t->root, "rel", 3);
	assert_leads(&l, "other/f", "a/b/f");
}

static void path_below_is_by_whole_components(void **state)
{
	(void)state;
	static const struct {
		const char *path, *dir, *rest;
	} cases[] = { { "/src/a", "/src", "a" },  { "/src", "/src", "" },
		      { "/src/", "/src", "" },    { "/src/a/", "/src", "a/" },
		      { "/srcs", "/src", NULL },  { "/sr", "/src", NULL },
		      { "/src/a", "/", "src/a" }, { "/", "/", "" },
		      { "/src/a", "/src/", "a" }, { "/", "/src", NULL },
		      { "/src//a", "/src", "a" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *rest = path_below(cases[i].path, cases[i].dir);

		if (!cases[i].rest)
			assert_null(rest);
		else
			assert_string_equal(rest, cases[i].rest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_followed_through_links),
		cmocka_unit_test(what_leads_nowhere_says_why),
		cmocka_unit_test(nothing_leads_out_of_a_whole_file_system),
		cmocka_unit_test(hard_links_are_followed_as_what_they_are),
		cmocka_unit_test(path_below_is_by_whole_components),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
