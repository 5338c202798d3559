/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "precautions.h"

#include <stdio.h>
#include <sys/stat.h>

static void links_are_judged_by_their_text(void **state)
{
	static const struct {
		const char *target;
		bool from_root, from_sub; /* leads out of a link in the root, in a/b/ */
	} cases[] = {
		{ "file", false, false },        { "a/b/c", false, false },
		{ "/etc/passwd", true, true },   { "..", true, false },
		{ "../x", true, false },         { "../..", true, false },
		{ "../../..", true, true },      { "../../../x", true, true },
		{ "a/../..", true, false },      { "./..", true, false },
		{ ".//./x", false, false },      { "...", false, false },
		{ "..x/..", false, false },      { "a/../../b/../..", true, false },
		{ "x/../../../..", true, true },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(tree) struct tree *t = NULL;
		struct tree_node *a, *b, *top, *sub;
		const char *target = cases[i].target;

		assert_int_equal(tree_new(&t), 0);
		assert_int_equal(tree_add(t, t->root, "a", 1, S_IFDIR | 0755, &a, NULL), 0);
		assert_int_equal(tree_add(t, a, "b", 1, S_IFDIR | 0755, &b, NULL), 0);
		assert_int_equal(tree_add(t, t->root, "l", 1, S_IFLNK | 0777, &top, NULL), 0);
		assert_int_equal(tree_add(t, b, "l", 1, S_IFLNK | 0777, &sub, NULL), 0);
		assert_int_equal(tree_set_target(top, target, strlen(target), NULL), 0);
		assert_int_equal(tree_set_target(sub, target, strlen(target), NULL), 0);
		if (precaution_leads_out(top) != cases[i].from_root ||
		    precaution_leads_out(sub) != cases[i].from_sub)
			fail_msg("link to %s", target);
	}
}

static void paths_inside_are_found_through_links(void **state)
{
	char *dir = support_make_dir(), path[600], model[600], link[600];
	static const struct {
		const char *path;
		bool inside;
	} cases[] = {
		{ "model/disk", true },
		{ "model/sub/disk", true },
		{ "model/sub/../disk", true },
		{ "model/../disk", false },
		{ "disk", false },
		{ "model-2", false },
		{ "alias/disk", true },
		{ "model/sub/out/disk", false },
		{ "model", false },
		{ "none/disk", false },
	};

	(void)state;
	snprintf(model, sizeof(model), "%s/model", dir);
	assert_int_equal(mkdir(model, 0755), 0);
	snprintf(path, sizeof(path), "%s/model/sub", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(link, sizeof(link), "%s/alias", dir);
	assert_int_equal(symlink("model/sub", link), 0);
	snprintf(link, sizeof(link), "%s/model/sub/out", dir);
	assert_int_equal(symlink(dir, link), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, cases[i].path);
		if (precaution_is_inside(path, model) != cases[i].inside)
			fail_msg("%s", cases[i].path);
	}
	assert_true(precaution_is_inside("/no-such-file", "/"));
	assert_int_equal(chdir(model), 0);
	assert_true(precaution_is_inside("disk", "."));
	assert_true(precaution_is_same("disk", "./disk"));
	assert_false(precaution_is_same("disk", "../disk"));
	assert_false(precaution_is_same("/no-such/disk", "/no-such/disk"));
	assert_false(precaution_is_inside("../disk", "."));
	assert_int_equal(chdir("/"), 0);
	support_remove_dir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_are_judged_by_their_text),
		cmocka_unit_test(paths_inside_are_found_through_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
