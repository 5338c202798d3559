/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to libgit2: one commit of a repository as a tree, and the filtered bytes of its
 * blobs as a checkout would write them (text/eol, ident, working-tree-encoding refused or applied;
 * LFS pointers recognised, not smudged).
 *
 * Thread rule: git_open() by one thread; git_blob_read() is thread-safe.
 */
#ifndef MODELDISK_GIT_H
#define MODELDISK_GIT_H

#include "source.h"

struct git;
/* As source_open() for repositories. Adds the commit's entries to t's root. */
int git_open(const char *spec, const char *commit, const struct source_options *opt, struct tree *t,
             struct git **out, struct diag *d) MUST_CHECK;
void git_close(struct git *g);
DEFINE_SCOPED(git, struct git *, git_close)
/* The checked-out bytes of a blob node: malloc'ed *buf of n->size bytes, the caller frees it. */
int git_blob_read(struct git *g, const struct tree_node *n, void **buf, struct diag *d) MUST_CHECK;
/* Is spec a repository (URL, bare or not, worktree), or merely a directory? Used when no commit was
 * given. */
bool git_is_repository(const char *spec);

#endif
