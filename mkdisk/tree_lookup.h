/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths in a tree, with its symbolic links followed as a file system would. Pure; thread-safe on
 * trees that do not change.
 */
#ifndef MODELDISK_TREE_LOOKUP_H
#define MODELDISK_TREE_LOOKUP_H

#include "tree.h"

struct tree_lookup {
	struct tree_node *root;
	const char *prefix; /* the absolute path that the root has: what absolute links start with.
	                       "/": nothing leads out of the tree */
};

/*
 * The node at path, counted from the root whether or not path starts with '/'. The last component
 * is followed too. A hard link gives the link's node. -ENOENT, -ENOTDIR, -ELOOP (more than 32
 * links), -EXDEV when a link leaves the tree, -ENOMEM.
 */
int tree_lookup(const struct tree_lookup *l, const char *path, struct tree_node **out) MUST_CHECK;

/*
 * What is left of path behind dir, without the '/' between ("" when they are the same); NULL when
 * path is not dir or below it. Both absolute and simplified; a '/' at the end of dir means nothing.
 */
const char *path_below(const char *path, const char *dir);

#endif
