/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where fetched commits lie: BASE/git/NAME-DIGEST/COMMIT is a bare repository with that commit and
 * nothing that it does not need, complete or not there at all. For git.c only, but for the default.
 *
 *   a second mkdisk that wants a commit of the same URL waits for the first;
 *   what a killed one leaves is COMMIT.part, which the next one begins anew.
 *
 * One thread for each struct.
 */
#ifndef MODELDISK_GIT_CACHE_H
#define MODELDISK_GIT_CACHE_H

#include "diag.h"

/* The commits of one URL; no other process adds or removes any while it is open. */
struct git_cache {
	char *dir;
	int lock; /* -1: none */
};
#define GIT_CACHE_INIT                                                                             \
	{                                                                                          \
		.lock = -1                                                                         \
	}
/* $XDG_CACHE_HOME/modeldisk or ~/.cache/modeldisk, malloc'ed; NULL: neither is known. */
char *git_cache_default_base(void);
/* Makes base, and what is missing above it, for its owner only. */
int git_cache_make_base(const char *base) MUST_CHECK;
/* url has no credentials. Directories are made, for their owner only. -EINTR: a signal came while
 * another process had it. */
int git_cache_open(const char *base, const char *url, struct git_cache *out, struct diag *d)
        MUST_CHECK;
void git_cache_close(struct git_cache *c);
static inline void scope_end_git_cache(struct git_cache *c)
{
	git_cache_close(c);
}

/* Path of the repository with commit id, malloc'ed; NULL without memory. */
char *git_cache_path(const struct git_cache *c, const char *id, bool is_part);
/* The directory at path and everything in it; one that is not there is removed already. */
int git_cache_remove(const char *path);
/* COMMIT.part becomes COMMIT. */
int git_cache_complete(const struct git_cache *c, const char *id, struct diag *d) MUST_CHECK;

#endif
