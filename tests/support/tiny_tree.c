/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "tiny_tree.h"

struct tree *tiny_tree(void)
{
	struct tree *t = NULL;

	assert_int_equal(tree_new(&t), 0);
	return t;
}

struct tree_node *tiny_add(struct tree *t, struct tree_node *dir, const char *name, uint16_t mode)
{
	struct tree_node *n = NULL;

	assert_int_equal(tree_add(t, dir, name, strlen(name), mode, &n, NULL), 0);
	return n;
}

struct tree_node *tiny_dir(struct tree *t, struct tree_node *dir, const char *name)
{
	return tiny_add(t, dir, name, S_IFDIR | 0755);
}

struct tree_node *tiny_file(struct tree *t, struct tree_node *dir, const char *name, uint64_t size)
{
	struct tree_node *n = tiny_add(t, dir, name, S_IFREG | 0644);

	n->size = size;
	n->content = size > 0 ? TREE_CONTENT_PATH : TREE_CONTENT_NONE;
	return n;
}

struct tree_node *tiny_symlink(struct tree *t, struct tree_node *dir, const char *name,
                               const char *target)
{
	struct tree_node *n = tiny_add(t, dir, name, S_IFLNK | 0777);

	assert_int_equal(tree_set_target(n, target, strlen(target), NULL), 0);
	return n;
}

struct tree_node *tiny_link(struct tree *t, struct tree_node *dir, const char *name,
                            struct tree_node *link)
{
	struct tree_node *n = tiny_add(t, dir, name, link->mode);

	n->link = link;
	return n;
}

void tiny_xattr(struct tree_node *n, const char *name, const char *value)
{
	assert_int_equal(tree_add_xattr(n, name, value, strlen(value)), 0);
}

void tiny_finish(struct tree *t)
{
	assert_int_equal(tree_finish(t, NULL), 0);
}
