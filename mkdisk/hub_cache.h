/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot in the cache of Hugging Face's hub library: REPO/snapshots/COMMIT, whose files are
 * symbolic links to REPO/blobs/NAME. NAME is the SHA-256 of what is kept in Git LFS, and the git id
 * of what is not. For source.c and directory.c only. One thread.
 */
#ifndef MODELDISK_HUB_CACHE_H
#define MODELDISK_HUB_CACHE_H

#include "hash.h"

struct hub_cache {
	char *commit; /* the directory's name, as far as it is the id of one; or NULL */
	int blobs;    /* REPO/blobs */
};
#define HUB_CACHE_INIT                                                                             \
	{                                                                                          \
		.blobs = -1                                                                        \
	}
/* 1: the directory at path is such a snapshot; 0: it is not. -ENOMEM. */
int hub_cache_open(const char *path, struct hub_cache *out) MUST_CHECK;
void hub_cache_close(struct hub_cache *c);
static inline void scope_end_hub_cache(struct hub_cache *c)
{
	hub_cache_close(c);
}

/* Does a link to target, in the directory at, lead to a file right in blobs? Its name, a part of
 * target; NULL: it leads elsewhere. */
const char *hub_cache_blob(const struct hub_cache *c, int at, const char *target);
/* Is the blob kept in Git LFS? Then its name is the oid. */
bool hub_cache_is_object(const char *name, uint8_t oid[HASH_SHA256_LEN]);

#endif
