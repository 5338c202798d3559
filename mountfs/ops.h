/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FUSE request, one reply: what the kernel asks, translated to the tree of erofs.h.
 *
 * No state beside open files: an inode number is computed from the EROFS nid, so there is nothing
 * to look up, to count or to forget. Nothing in a mounted image ever changes, and every reply says
 * so: names, attributes and pages may stay in the kernel's caches for as long as it likes.
 */
#ifndef MODELDISK_OPS_H
#define MODELDISK_OPS_H

#include "failures.h"
#include "image.h"

/* All libfuse headers of mountfs come through here, so that all mean the same version. */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

/* The longest READ that the kernel is told to send. */
#define OPS_MAX_READ_LEN (1 * MIB)

/* Called from the threads that serve requests; must be quick and thread-safe. */
struct ops_hooks {
	void (*on_ready)(void *ctx);      /* the kernel has opened the connection */
	void (*on_corruption)(void *ctx); /* a proof or a format check has failed */
	void *ctx;
	unsigned thread_cnt; /* how many will serve */
};

/*
 * What requests are answered from; the userdata of the FUSE session. img and failures are borrowed
 * and must outlive it. -ENOMEM.
 */
struct ops;
int ops_new(const struct image *img, struct failures *failures, const struct ops_hooks *hooks,
            struct ops **out) MUST_CHECK;
/* After the last request; closes what the kernel has left open. NULL allowed. */
void ops_free(struct ops *ops);
DEFINE_SCOPED(ops, struct ops *, ops_free)

const struct fuse_lowlevel_ops *ops_table(void);

/*
 * Every thread that serves requests has its own buffer, so that a READ allocates nothing: made
 * before the thread starts, and given to it at its begin.
 */
struct ops_thread;
int ops_thread_new(struct ops_thread **out) MUST_CHECK; /* -ENOMEM */
void ops_thread_free(struct ops_thread *t);             /* NULL allowed */
void ops_thread_begin(struct ops_thread *t);            /* on the thread itself */

/*
 * What the kernel is told for a negative errno of ours, as a positive errno: EIO for everything
 * that is not an answer about the proven tree.
 */
int ops_errno(int err);

#endif
