/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of the Git LFS Batch API (git-lfs docs/api/batch.md): what is asked, and what of an
 * answer can be believed. For lfs*.c only. Pure functions; thread-safe.
 */
#ifndef MODELDISK_LFS_BATCH_H
#define MODELDISK_LFS_BATCH_H

#include "lfs.h"

#define LFS_BATCH_MAX_OBJECTS 100
#define LFS_BATCH_MAX_LEN     (2 * MIB) /* of an answer; parsed it may take fifty times that */

/* Where an object can be had for a while. */
struct lfs_link {
	char *href;    /* http or https; NULL: there is none */
	char **header; /* "Name: value", or "Name;" without a value, for curl */
	size_t header_cnt;
	uint64_t lifetime_s; /* from now on; UINT64_MAX: not said */
};
void lfs_link_release(struct lfs_link *link); /* leaves it zeroed */

/* What the server says of one object: a link, or why there is none. */
struct lfs_offer {
	struct lfs_link link;
	unsigned code;     /* as an HTTP status; 0: with a link, or when no reason is given */
	char message[256]; /* the server's own words: bytes from outside */
};

/* The request for cnt objects, malloc'ed. -ENOMEM. */
int lfs_batch_encode(const struct lfs_object *const *object, size_t cnt, char **text) MUST_CHECK;

/*
 * The answer to that request: one offer for each object, in the same order, the caller's to
 * release. now is time(2), for expires_at. -EUCLEAN: against the specification; -EBADMSG: sizes
 * that are not those of the pointers; -EOPNOTSUPP: a transfer other than basic, a hash other than
 * SHA-256.
 */
int lfs_batch_decode(const char *text, size_t len, int64_t now,
                     const struct lfs_object *const *object, size_t cnt, struct lfs_offer *offer,
                     struct diag *d) MUST_CHECK;

#endif
