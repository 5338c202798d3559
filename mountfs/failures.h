/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What could not be served, and why: collects the failures of one request on the thread that serves
 * it, and says each distinct one once, with the file and the tensor it hit; the others are counted.
 */
#ifndef MODELDISK_FAILURES_H
#define MODELDISK_FAILURES_H

#include "erofs.h"

struct failures;

int failures_new(struct failures **out) MUST_CHECK; /* -ENOMEM */
void failures_free(struct failures *f);             /* NULL allowed */
DEFINE_SCOPED(failures, struct failures *, failures_free)

/* For verity_options.on_failure: remembers what on this thread until failures_begin(). */
void failures_note(void *ctx, const struct verity_failure *what);

/* A request begins on this thread: nothing has failed yet. */
void failures_begin(void);
/* Has a block failed on this thread since failures_begin()? */
bool failures_noted(void);

/* The request that failed. inode NULL: unknown; len 0: it was not about bytes of a file. */
struct failed_request {
	const struct erofs *fs;
	uint64_t nid;
	const struct erofs_inode *inode;
	uint64_t off, len;
	int err;
	const char *text; /* the sentence of who failed; "" if it is told by the noted blocks */
};

/*
 * Reports what was noted on this thread, or the request's own sentence when no block failed.
 * Returns whether the disk is to blame: a failed proof or a format error, not its reading or our
 * memory. Thread-safe.
 */
bool failures_report(struct failures *f, const struct failed_request *q);

/*
 * Says how many were met, and how many of them were distinct; nothing if there were none. Done by
 * itself whenever they have become ten times more. Thread-safe.
 */
void failures_report_count(struct failures *f);

/* The two numbers of that. Thread-safe. */
void failures_count(struct failures *f, uint64_t *all, uint64_t *distinct);

#endif
