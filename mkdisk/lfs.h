/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings Git LFS objects from a server (Batch API, "basic" transfers: git-lfs docs/api/batch.md and
 * basic-transfers.md). Hides HTTP, JSON, retries, expiring links, ranges, redirects and threads:
 * whoever wants an object gets its bytes in order and, once, the word that they were the right
 * ones.
 *
 *   batch request ──► links ──► transfers (several at once, one network thread)
 *                                   │ buffers, bounded; a full queue holds the server back
 *                                   ▼
 *                               workers: SHA-256, then the object's sink
 *
 * Thread rule: one lfs_fetch() at a time, which returns when all its threads have ended.
 */
#ifndef MODELDISK_LFS_H
#define MODELDISK_LFS_H

#include "hash.h"
#include "http.h"

/*
 * Takes one object's bytes. The calls for one object come one after the other, each after the
 * previous returned, but not always from the same thread; those of different objects at the same
 * time. An error, with its sentence, ends the whole fetch.
 *
 *   begin ──► data ... data ──► verified      the object counts
 *     ▲                └──────► abandon       its bytes were wrong, or the fetch ended: as if it
 *     └── anew ──────────────────┘            never was
 */
struct lfs_sink {
	/*
	 * The object begins. Whoever has its first bytes already (an earlier run left them) gives
	 * these bytes to digest and their number to *from, which is 0 before: only the rest is
	 * asked for. anew: what was here proved wrong, and everything must come from the server.
	 */
	int (*begin)(void *ctx, bool anew, struct hash_stream *digest, uint64_t *from,
	             struct diag *d);
	/* The next bytes, any number of them; buf begins on a multiple of 4096. Not proven yet. */
	int (*data)(void *ctx, const void *buf, size_t len, struct diag *d);
	/* That was all, and size and SHA-256 are right. */
	int (*verified)(void *ctx, struct diag *d);
	/* None of the bytes since begin count. Also after an error of begin, data or verified. */
	void (*abandon)(void *ctx);
	/* What people call the object, for sentences: a file's name, quoted. Any thread. */
	const char *(*name)(void *ctx, char *out, size_t out_len);
};

/* Each oid once; the objects are started in the order given. */
struct lfs_object {
	uint8_t oid[HASH_SHA256_LEN]; /* SHA-256 of the content */
	uint64_t size;                /* at least 1 */
	void *ctx;                    /* for the sink */
};

#define LFS_MAX_TRANSFERS 64

struct lfs_options {
	struct http_options server; /* url: ".../repository.git/info/lfs" */
	unsigned transfers; /* at once, at least 1. Memory is 4 MiB for each, up to 64 MiB */
	unsigned workers;   /* threads that hash and write, 1..LFS_MAX_TRANSFERS */
};
#define LFS_DEFAULT_TRANSFERS 8

/*
 * All objects, or the first error; after that all threads have ended. What could pass is tried
 * again with growing pauses; what could not is one sentence:
 *   -EACCES    the server wants a token, another one, or conditions to be accepted
 *   -ENOENT    no such repository or object, or it is private
 *   -EBADMSG   content that is not what its oid says, in size or digest, several times
 *   -EUCLEAN   an answer against the protocol; -EOPNOTSUPP: a transfer other than basic
 *   -EAGAIN    rate limited for longer than anybody waits; -EIO: network
 *   -EINTR     stop; and what the sink said
 */
int lfs_fetch(const struct lfs_options *opt, const struct lfs_object *object, size_t cnt,
              const struct lfs_sink *sink, struct diag *d) MUST_CHECK;

#endif
