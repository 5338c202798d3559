/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one element of EXCLUDE_GIT_FILES does in Privatemode's verity.sh, which gives it to two
 * programs that read it differently:
 *
 *   git config lfs.fetchexclude ELEMENT,...   git-lfs leaves matching pointers as they are, at any
 *                                             depth; its own reading of gitignore patterns
 *   rm -rf ELEMENT ...                        bash splits it at blanks and expands wildcards in the
 *                                             top directory: no dotfiles, "**" is '*', what matches
 *                                             nothing vanishes (nullglob); C locale
 *
 * For exclude.c only. Immutable after privatemode_new(); matching is thread-safe.
 */
#ifndef MODELDISK_PRIVATEMODE_H
#define MODELDISK_PRIVATEMODE_H

#include "diag.h"

struct privatemode;

/*
 * element: between two commas. -EINVAL: the script would fail with it, or touch files outside the
 * repository; -EOPNOTSUPP: character classes, collating symbols.
 */
int privatemode_new(const char *element, struct privatemode **out, struct diag *d) MUST_CHECK;
void privatemode_free(struct privatemode *p);
DEFINE_SCOPED(privatemode, struct privatemode *, privatemode_free)

/* Would rm remove path? For a directory with everything below it. */
bool privatemode_removes(const struct privatemode *p, const char *path, bool is_dir);
/* Would git-lfs leave the pointer at path alone? */
bool privatemode_keeps_pointer(const struct privatemode *p, const char *path);

#endif
