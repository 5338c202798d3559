/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All contents of a tree but Git LFS objects (objects.h), carried from the source to the stream by
 * several threads: which piece goes next, when to stop, which error is told. Where a piece goes was
 * fixed by the plans, so the number of threads changes nothing but the time it takes.
 *
 * Thread rule: contents_carry() is called by one thread, which works too.
 */
#ifndef MODELDISK_CONTENTS_H
#define MODELDISK_CONTENTS_H

#include "erofs_plan.h"
#include "source.h"
#include "stream.h"

#include <stdatomic.h>

#define CONTENTS_MAX_JOBS 64

struct contents_options {
	unsigned jobs;           /* 1..CONTENTS_MAX_JOBS; memory is about 3 MiB for each */
	uint8_t (*digest)[32];   /* SHA-256 of each file by tree_node.index; NULL: not wanted */
	const atomic_bool *stop; /* becomes true: -EINTR; may be NULL */
};

/* A Git LFS object's digest is its oid, which objects.h proves. The first error of any thread,
 * after all of them have ended: what source and stream say. */
int contents_carry(struct source *src, const struct tree *tree, const struct erofs_plan *plan,
                   struct stream *stream, const struct contents_options *opt, struct diag *d)
        MUST_CHECK;

#endif
