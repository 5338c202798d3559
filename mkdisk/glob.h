/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wildcard patterns in the three dialects whose verdicts decide what is on a disk. Each is exact to
 * its tool, oddities included, because another verdict is another root hash.
 *
 * A pattern is compiled to a list of tokens, and matching carries the set of reachable tokens along
 * the text. So it takes time (pattern length * text length), never more, and does not recurse:
 * patterns come from repositories too (.gitattributes).
 *
 * Immutable after glob_new(); matching is thread-safe.
 */
#ifndef MODELDISK_GLOB_H
#define MODELDISK_GLOB_H

#include "base.h"

#define GLOB_MAX_LEN 4096 /* bytes of a pattern */

enum glob_dialect {
	/*
	 * A path in git (gitignore(5)): '*', '?' and sets do not match '/'; "**" between slashes or
	 * ends matches across them, and with the slash behind it also nothing.
	 */
	GLOB_GIT,
	/* One component of a path in git-lfs's lfs.fetchexclude (its wildmatch 2.0.1): '?' is one
	 * byte, a set is one UTF-8 character. */
	GLOB_LFS,
	/* One component of a path in bash in the C locale, as the result of an unquoted expansion.
	 * That '*' skips names with a leading dot is the caller's. */
	GLOB_BASH,
};

struct glob;

/*
 * -EINVAL: malformed; for GLOB_GIT and GLOB_LFS such a pattern matches nothing or makes the tool
 * fail, for GLOB_BASH there is none. -EOPNOTSUPP: a character class of GLOB_LFS, a collating symbol
 * of GLOB_BASH. -E2BIG: longer than GLOB_MAX_LEN. pattern holds no NUL.
 */
int glob_new(enum glob_dialect dialect, const char *pattern, size_t len, struct glob **out)
        MUST_CHECK;
void glob_free(struct glob *g);
DEFINE_SCOPED(glob, struct glob *, glob_free)

/* Does g match all of text? */
bool glob_match(const struct glob *g, const char *text, size_t len);

#endif
