/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "text.h"
#include "tiny_tree.h"
#include "tree.h"

static const char *path_of(const struct tree_node *n)
{
	static char path[8192];

	assert_true(tree_path(n, path, sizeof(path)) < sizeof(path));
	return path;
}

static void names_are_sorted_by_unsigned_bytes_and_prefixes_come_first(void **state)
{
	static const char *const sorted[] = { "\x01", " ",  "!",     "-",     ".a",       "A",
		                              "a",    "aa", "a\x7f", "a\xc3", "\xc3\xa4", "\xff" };
	scoped(tree) struct tree *t = tiny_tree();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
		tiny_file(t, t->root, sorted[i * 5 % ARRAY_LEN(sorted)], 7);
	tiny_finish(t);
	assert_int_equal(t->root->child_cnt, ARRAY_LEN(sorted));
	for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
		assert_string_equal(t->root->child[i]->name, sorted[i]);
}

static void nodes_are_numbered_in_pre_order(void **state)
{
	static const char *const want[] = { "", "a", "a/y", "a/z", "b", "c", "c/d", "c/d/e", "f" };
	scoped(tree) struct tree *t = tiny_tree();

	(void)state;
	tiny_file(t, t->root, "f", 7);
	struct tree_node *c = tiny_dir(t, t->root, "c");
	tiny_file(t, tiny_dir(t, c, "d"), "e", 7);
	tiny_file(t, t->root, "b", 7);
	struct tree_node *a = tiny_dir(t, t->root, "a");
	tiny_file(t, a, "z", 7);
	tiny_file(t, a, "y", 7);
	tiny_finish(t);
	assert_int_equal(t->node_cnt, ARRAY_LEN(want));
	for (uint32_t i = 0; i < t->node_cnt; i++) {
		assert_int_equal(t->node[i]->index, i);
		assert_string_equal(path_of(t->node[i]), want[i]);
	}
}

static void illegal_names_are_refused_with_a_quoted_path(void **state)
{
	static const struct {
		const char *name;
		size_t len;
	} bad[] = { { "", 0 },    { ".", 1 },    { "..", 2 }, { "/", 1 },
		    { "a/b", 3 }, { "a\0b", 3 }, { "\0", 1 } };
	char longest[256];
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *dir = tiny_dir(t, t->root, "d\n"), *n = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct diag d = DIAG_INIT;

		assert_int_equal(tree_add(t, dir, bad[i].name, bad[i].len, S_IFREG | 0644, &n, &d),
		                 -EUCLEAN);
		assert_non_null(strstr(d.text, "\"d\\n\""));
	}
	memset(longest, 'x', sizeof(longest));
	struct diag d = DIAG_INIT;
	assert_int_equal(tree_add(t, dir, longest, 256, S_IFREG | 0644, &n, &d), -EUCLEAN);
	assert_int_equal(tree_add(t, dir, longest, 255, S_IFREG | 0644, &n, &d), 0);
	assert_int_equal(tree_add(t, dir, "...", 3, S_IFREG | 0644, &n, &d), 0);
	assert_int_equal(dir->child_cnt, 2);
}

static void two_entries_of_one_name_are_refused(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct diag d = DIAG_INIT;

	(void)state;
	struct tree_node *dir = tiny_dir(t, t->root, "dir");
	tiny_file(t, dir, "same", 7);
	tiny_file(t, dir, "other", 7);
	tiny_dir(t, dir, "same");
	assert_int_equal(tree_finish(t, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "\"dir/same\""));
}

static void deepest_tree_is_built_walked_and_freed_and_one_level_more_is_refused(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *n = t->root;
	struct diag d = DIAG_INIT;

	(void)state;
	for (int i = 0; i < TREE_MAX_DEPTH; i++)
		n = tiny_dir(t, n, "d");
	assert_int_equal(n->depth, TREE_MAX_DEPTH);
	struct tree_node *more = NULL;
	assert_int_equal(tree_add(t, n, "d", 1, S_IFREG | 0644, &more, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "16384"));
	tiny_finish(t);
	assert_int_equal(tree_path(n, NULL, 0), 2 * TREE_MAX_DEPTH - 1);
	assert_ptr_equal(t->node[TREE_MAX_DEPTH], n);
}

/* In pre-order "a/x" would come before "z"; in plan order it does not. */
static void first_name_in_plan_order_carries_the_inode(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *a = tiny_dir(t, t->root, "a");

	(void)state;
	struct tree_node *ax = tiny_file(t, a, "x", 7);
	ax->uid = 17;
	assert_int_equal(tree_add_xattr(ax, "user.n", "v", 1), 0);
	struct tree_node *z = tiny_link(t, t->root, "z", ax);
	struct tree_node *aa = tiny_link(t, a, "a", z);
	struct tree_node *deep = tiny_link(t, tiny_dir(t, a, "b"), "c", aa);
	tiny_finish(t);
	assert_null(z->link);
	assert_int_equal(z->uid, 17);
	assert_int_equal(z->size, 7);
	assert_int_equal(z->xattr_cnt, 1);
	assert_string_equal(z->source_path, "a/x");
	assert_ptr_equal(ax->link, z);
	assert_ptr_equal(aa->link, z);
	assert_ptr_equal(deep->link, z);
	assert_int_equal(ax->size, 0);
	assert_int_equal(ax->xattr_cnt, 0);
	assert_int_equal(ax->content, TREE_CONTENT_NONE);
	assert_int_equal(ax->mode, S_IFREG | 0644);
}

static void carrier_that_is_first_already_stays(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *b = tiny_file(t, t->root, "b", 7);
	struct tree_node *c = tiny_link(t, t->root, "c", b);

	(void)state;
	tiny_finish(t);
	assert_null(b->link);
	assert_null(b->source_path);
	assert_ptr_equal(c->link, b);
}

static void link_outlives_the_removed_name_it_was_made_from(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *gone = tiny_dir(t, t->root, "gone");
	struct tree_node *x = tiny_file(t, gone, "x", 7);

	(void)state;
	x->gid = 5;
	struct tree_node *y = tiny_link(t, t->root, "y", x);
	struct tree_node *z = tiny_link(t, t->root, "z", x);
	tree_remove(t, gone);
	tiny_finish(t);
	assert_int_equal(t->node_cnt, 3);
	assert_null(y->link);
	assert_int_equal(y->gid, 5);
	assert_string_equal(y->source_path, "gone/x");
	assert_ptr_equal(z->link, y);
}

static void hard_link_to_a_directory_is_refused(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct diag d = DIAG_INIT;

	(void)state;
	tiny_link(t, t->root, "b", tiny_dir(t, t->root, "a"));
	assert_int_equal(tree_finish(t, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "\"b\""));
}

static void hard_link_between_types_is_refused(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct diag d = DIAG_INIT;

	(void)state;
	tiny_link(t, t->root, "b", tiny_file(t, t->root, "a", 7))->mode = S_IFIFO | 0644;
	assert_int_equal(tree_finish(t, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "another type"));
}

/* 20 000 links, each made from the one before: following the chain anew for each would show. */
static void long_chain_of_links_leads_to_one_carrier(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *last = tiny_file(t, t->root, "99999", 7);

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%05d", 19999 - i);
		last = tiny_link(t, t->root, name, last);
	}
	tiny_finish(t);
	assert_null(t->node[1]->link);
	for (uint32_t i = 2; i < t->node_cnt; i++)
		assert_ptr_equal(t->node[i]->link, t->node[1]);
}

static void removed_children_are_gone_and_others_stay(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	char name[16];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%02d", i);
		tiny_file(t, t->root, name, 7);
	}
	for (int i = 0; i < 100; i += 3) {
		snprintf(name, sizeof(name), "%02d", i);
		tree_remove(t, tree_child(t->root, name, 2));
		assert_null(tree_child(t->root, name, 2));
	}
	tiny_file(t, t->root, "00", 7); /* the name is free again */
	tiny_finish(t);
	assert_int_equal(t->root->child_cnt, 67);
	assert_string_equal(t->root->child[0]->name, "00");
	for (uint32_t i = 1; i < 67; i++)
		assert_int_equal(atoi(t->root->child[i]->name), (i - 1) / 2 * 3 + (i - 1) % 2 + 1);
}

static void moved_directory_keeps_its_files_findable(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct diag d = DIAG_INIT;

	(void)state;
	struct tree_node *a = tiny_dir(t, t->root, "a");
	struct tree_node *removed = tiny_file(t, a, "removed", 7);
	struct tree_node *f = tiny_file(t, tiny_dir(t, a, "b"), "f", 7);
	struct tree_node *link = tiny_link(t, t->root, "link", removed);
	tree_remove(t, removed);
	struct tree_node *x = tiny_dir(t, tiny_dir(t, t->root, "x"), "y");
	assert_int_equal(tree_move(t, a, x, "new", 3, &d), 0);
	tiny_finish(t);
	assert_string_equal(path_of(f), "x/y/new/b/f");
	assert_string_equal(f->source_path, "a/b/f");
	assert_int_equal(f->depth, 5);
	assert_string_equal(link->source_path, "a/removed");
	assert_int_equal(t->root->child_cnt, 2);
}

static void refused_move_leaves_everything_in_place(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct diag d = DIAG_INIT;

	(void)state;
	struct tree_node *a = tiny_dir(t, t->root, "a"), *b = tiny_dir(t, a, "b");
	assert_int_equal(tree_move(t, a, b, "c", 1, &d), -EINVAL);
	assert_int_equal(tree_move(t, a, a, "c", 1, &d), -EINVAL);
	assert_int_equal(tree_move(t, b, t->root, "..", 2, &d), -EUCLEAN);
	struct tree_node *deep = t->root;
	for (int i = 0; i < TREE_MAX_DEPTH - 1; i++)
		deep = tiny_dir(t, deep, "d");
	assert_int_equal(tree_move(t, a, deep, "a", 1, &d), -EUCLEAN);
	assert_int_equal(tree_move(t, b, deep, "b", 1, &d), 0);
	assert_int_equal(a->depth, 1);
	assert_ptr_equal(tree_child(t->root, "a", 1), a);
	assert_int_equal(a->child_cnt, 0);
}

static void symlink_targets_are_one_to_4095_bytes_without_nul(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *n = tiny_add(t, t->root, "l", S_IFLNK | 0777);
	char target[4096];
	struct diag d = DIAG_INIT;

	(void)state;
	memset(target, 't', sizeof(target));
	assert_int_equal(tree_set_target(n, target, 0, &d), -EUCLEAN);
	assert_int_equal(tree_set_target(n, target, 4096, &d), -EUCLEAN);
	assert_int_equal(tree_set_target(n, "a\0b", 3, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "NUL"));
	assert_null(n->target);
	assert_int_equal(tree_set_target(n, target, 4095, &d), 0);
	assert_int_equal(n->size, 4095);
	assert_int_equal(tree_set_target(n, "short", 5, &d), 0);
	assert_int_equal(n->size, 5);
	assert_string_equal(n->target, "short");
}

static void attributes_keep_their_order_and_a_second_value_replaces_the_first(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	char name[257];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "user.%d", i * 7 % 20);
		assert_int_equal(tree_add_xattr(t->root, name, name, strlen(name)), 0);
	}
	assert_int_equal(tree_add_xattr(t->root, "user.7", NULL, 0), 0);
	assert_int_equal(t->root->xattr_cnt, 20);
	assert_string_equal(t->root->xattr[1].name, "user.7");
	assert_int_equal(t->root->xattr[1].value_len, 0);
	assert_string_equal(t->root->xattr[19].name, "user.13");
	assert_int_equal(t->root->xattr[19].value_len, 7);
	memset(name, 'u', sizeof(name));
	name[256] = '\0';
	assert_int_equal(tree_add_xattr(t->root, name, "", 0), -ERANGE);
	assert_int_equal(tree_add_xattr(t->root, "", "", 0), -ERANGE);
	assert_int_equal(tree_add_xattr(t->root, "user.big", name, 65536), -E2BIG);
}

static void paths_are_cut_as_snprintf_cuts(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *n =
	        tiny_file(t, tiny_dir(t, tiny_dir(t, t->root, "one"), "two"), "three", 7);
	const char *whole = "one/two/three";

	(void)state;
	for (size_t len = 0; len <= strlen(whole) + 2; len++) {
		char got[32], want[32];

		memset(got, '#', sizeof(got));
		memset(want, '#', sizeof(want));
		assert_int_equal(tree_path(n, got, len), strlen(whole));
		if (len > 0)
			snprintf(want, len, "%s", whole);
		assert_memory_equal(got, want, sizeof(got));
	}
	assert_int_equal(tree_path(t->root, NULL, 0), 0);
}

static void quoted_path_that_does_not_fit_is_cut(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *n = t->root;
	char name[256], out[TREE_QUOTE_LEN];

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	for (int i = 0; i < 6; i++)
		n = tiny_dir(t, n, name);
	tree_quote_path(n, out, sizeof(out));
	assert_true(strlen(out) < sizeof(out));
	assert_non_null(strstr(out, "..."));
	assert_string_equal(tree_quote_path(t->root, out, sizeof(out)), "\"\"");
}

static int build_sample(struct diag *d)
{
	struct tree_node *a, *f, *l, *s;
	scoped(tree) struct tree *t = NULL;
	int r = tree_new(&t);

	if (r == 0)
		r = tree_add(t, t->root, "a", 1, S_IFDIR | 0755, &a, d);
	if (r == 0)
		r = tree_add(t, a, "f", 1, S_IFREG | 0644, &f, d);
	if (r == 0) {
		f->content = TREE_CONTENT_PATH;
		r = tree_add_xattr(f, "user.x", "1", 1);
	}
	if (r == 0)
		r = tree_add(t, t->root, "l", 1, S_IFREG | 0644, &l, d);
	if (r == 0) {
		l->link = f;
		r = tree_add(t, a, "s", 1, S_IFLNK | 0777, &s, d);
	}
	if (r == 0)
		r = tree_set_target(s, "target", 6, d);
	if (r == 0)
		r = tree_move(t, a, t->root, "b", 1, d);
	if (r == 0)
		tree_remove(t, s);
	return r == 0 ? tree_finish(t, d) : r;
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
	int r = -1;

	(void)state;
	for (unsigned long k = 1; r != 0; k++) {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = build_sample(&d);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM);
		assert_true(k < 1000);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_sorted_by_unsigned_bytes_and_prefixes_come_first),
		cmocka_unit_test(nodes_are_numbered_in_pre_order),
		cmocka_unit_test(illegal_names_are_refused_with_a_quoted_path),
		cmocka_unit_test(two_entries_of_one_name_are_refused),
		cmocka_unit_test(
		        deepest_tree_is_built_walked_and_freed_and_one_level_more_is_refused),
		cmocka_unit_test(first_name_in_plan_order_carries_the_inode),
		cmocka_unit_test(carrier_that_is_first_already_stays),
		cmocka_unit_test(link_outlives_the_removed_name_it_was_made_from),
		cmocka_unit_test(hard_link_to_a_directory_is_refused),
		cmocka_unit_test(hard_link_between_types_is_refused),
		cmocka_unit_test(long_chain_of_links_leads_to_one_carrier),
		cmocka_unit_test(removed_children_are_gone_and_others_stay),
		cmocka_unit_test(moved_directory_keeps_its_files_findable),
		cmocka_unit_test(refused_move_leaves_everything_in_place),
		cmocka_unit_test(symlink_targets_are_one_to_4095_bytes_without_nul),
		cmocka_unit_test(attributes_keep_their_order_and_a_second_value_replaces_the_first),
		cmocka_unit_test(paths_are_cut_as_snprintf_cuts),
		cmocka_unit_test(quoted_path_that_does_not_fit_is_cut),
		cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
