/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File trees for tests, a line an entry. Every function aborts the test when it fails. Linked into
 * tests only.
 */
#ifndef MODELDISK_TINY_TREE_H
#define MODELDISK_TINY_TREE_H

#include "tree.h"

struct tree *tiny_tree(void);
struct tree_node *tiny_add(struct tree *t, struct tree_node *dir, const char *name, uint16_t mode);
struct tree_node *tiny_dir(struct tree *t, struct tree_node *dir, const char *name);
/* A regular file that is found by its path. */
struct tree_node *tiny_file(struct tree *t, struct tree_node *dir, const char *name, uint64_t size);
struct tree_node *tiny_symlink(struct tree *t, struct tree_node *dir, const char *name,
                               const char *target);
struct tree_node *tiny_link(struct tree *t, struct tree_node *dir, const char *name,
                            struct tree_node *link);
void tiny_xattr(struct tree_node *n, const char *name, const char *value);
void tiny_finish(struct tree *t);

#endif
