/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path patterns as git reads them in .gitignore and .gitattributes (gitignore(5), git 2.39's
 * verdicts): a pattern without a slash in it matches a name at any depth, one with a slash is
 * anchored; a slash at the end restricts it to directories. What introduces a line ('!', '#',
 * blanks) is the caller's.
 *
 * Immutable after pattern_new(); matching is thread-safe.
 */
#ifndef MODELDISK_PATTERN_H
#define MODELDISK_PATTERN_H

#include "base.h"

struct pattern;

/* -EINVAL: matches nothing, whatever the path (a set without its end, a lone backslash, no name at
 * all); -E2BIG: longer than GLOB_MAX_LEN. */
int pattern_new(const char *text, size_t len, struct pattern **out) MUST_CHECK;
void pattern_free(struct pattern *p);
DEFINE_SCOPED(pattern, struct pattern *, pattern_free)

/* path: len bytes, relative to the directory the pattern is for, no slash at either end. */
bool pattern_match(const struct pattern *p, const char *path, size_t len, bool is_dir);

#endif
