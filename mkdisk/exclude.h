/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which paths stay off the disk. Two semantics:
 *
 *   EXCLUDE_GITIGNORE     gitignore(5) patterns, any depth, later patterns win, '!' negates; a
 *                         matching path is dropped
 *   EXCLUDE_PRIVATEMODE   the reference's two matchers bit for bit: git-lfs skips the content of
 * LFS files that match (their pointer text stays in the tree), and bash globs at the top level
 * remove paths
 *
 * In both a directory stays when only everything in it is dropped. Immutable after it is made;
 * matching is thread-safe.
 */
#ifndef MODELDISK_EXCLUDE_H
#define MODELDISK_EXCLUDE_H

#include "diag.h"

enum exclude_mode { EXCLUDE_GITIGNORE, EXCLUDE_PRIVATEMODE };

enum exclude_verdict {
	EXCLUDE_KEEP,
	EXCLUDE_DROP,         /* the path and all below it are not in the disk */
	EXCLUDE_KEEP_POINTER, /* PRIVATEMODE: if it is an LFS pointer, the pointer's text is what
	                         enters the disk */
};

struct exclude;
int exclude_new(enum exclude_mode mode, struct exclude **out) MUST_CHECK;
void exclude_free(struct exclude *x);
DEFINE_SCOPED(exclude, struct exclude *, exclude_free)
/*
 * One --exclude=PATTERN. -EINVAL for a pattern that can match nothing, is not understood, or makes
 * the reference fail; -EOPNOTSUPP for character classes in EXCLUDE_PRIVATEMODE. There a comma
 * separates in a pattern too.
 */
int exclude_add(struct exclude *x, const char *pattern, struct diag *d) MUST_CHECK;
/* EXCLUDE_GIT_FILES: separated by commas (and newlines) as the reference splits it; nothing between
 * two is nothing. What stands before an error has been added. */
int exclude_add_list(struct exclude *x, const char *list, struct diag *d) MUST_CHECK;
/*
 * path is relative, without leading '/'; parents of a dropped directory are the caller's to prune.
 * *pattern (may be NULL) is set to the text of the deciding pattern, borrowed from x, or NULL when
 * none matched.
 */
enum exclude_verdict exclude_match(const struct exclude *x, const char *path, bool is_dir,
                                   const char **pattern);

#endif
