/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers READs of the kernel, and proves what they will ask for next while they are on their way.
 *
 * Threads that serve requests lend themselves: each answers first and then proves ahead for a
 * while, so there are no threads of this module's own, and nothing happens when nobody reads. What
 * is proven ahead waits in a pool of fixed size until a READ takes it, and is forgotten if none
 * comes. A piece that fails is forgotten at once: whoever reads it meets the failure again, and is
 * told.
 *
 * Thread rule: everything is thread-safe; a struct ahead_answer belongs to one thread.
 */
#ifndef MODELDISK_AHEAD_H
#define MODELDISK_AHEAD_H

#include "erofs.h"

#include <sys/uio.h>

/* The longest READ that can be asked for. */
#define AHEAD_MAX_LEN (1 * MIB)

#define AHEAD_MAX_PARTS 16

/* The bytes of one READ, all proven, in one or more parts. */
struct ahead_answer {
	struct iovec part[AHEAD_MAX_PARTS];
	unsigned part_cnt;
	size_t len;
	struct ahead_piece *held[AHEAD_MAX_PARTS]; /* pieces of the pool that parts lie in */
	unsigned held_cnt;
};

struct ahead;
/* fs is borrowed. thread_cnt threads will serve; one of them is always kept free. -ENOMEM. */
int ahead_new(const struct erofs *fs, unsigned thread_cnt, struct ahead **out) MUST_CHECK;
void ahead_free(struct ahead *a); /* NULL allowed */
DEFINE_SCOPED(ahead, struct ahead *, ahead_free)

/*
 * Bytes [off, off + len) of a regular file, clipped at its size: 0, and out must be given back with
 * ahead_release() after it was sent; or what erofs_read() says, and nothing is to be given back.
 * buf has len bytes, for what is not in the pool. len is at most AHEAD_MAX_LEN.
 */
int ahead_read(struct ahead *a, const struct erofs_inode *inode, uint64_t off, void *buf,
               size_t len, struct ahead_answer *out, struct diag *d) MUST_CHECK;
void ahead_release(struct ahead *a, struct ahead_answer *answer);

/* Proves what is planned, if enough threads are left to answer. After the reply. */
void ahead_work(struct ahead *a);

#endif
