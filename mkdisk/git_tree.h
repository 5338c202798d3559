/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit's trees as a tree. For git.c only, which opens the repository. One thread.
 */
#ifndef MODELDISK_GIT_TREE_H
#define MODELDISK_GIT_TREE_H

#include "convert.h"
#include "source.h"
#include "walk.h"

#define GIT_TREE_ID_LEN 20 /* SHA-1 */

struct git_odb; /* libgit2's */
struct git_repository;

/* What is to be read. */
struct git_tree_source {
	struct git_repository *repo;
	struct git_odb *odb;
	uint8_t root[GIT_TREE_ID_LEN]; /* id of the commit's tree */
};

/* What a TREE_CONTENT_BLOB node's oid holds. */
struct git_tree_blob {
	uint8_t id[GIT_TREE_ID_LEN];
	struct conversion conversion;
};
_Static_assert(sizeof(struct git_tree_blob) <= sizeof(((struct tree_node *)NULL)->oid),
               "a blob fits");

/* The nodes that became TREE_CONTENT_LFS, in the order of the walk (node is malloc'ed, also after
 * an error), and the pointers that stay text. */
struct git_tree_lfs {
	struct tree_node **node;
	size_t cnt, cap;
	struct walk_pointers kept;
};

/* Adds the entries to t's root. Errors as git_open(). */
int git_tree_read(const struct git_tree_source *from, const struct source_options *opt,
                  struct tree *t, struct git_tree_lfs *lfs, struct diag *d) MUST_CHECK;

#endif
