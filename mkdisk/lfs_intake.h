/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the network's thread to the workers: bytes of several objects at once, each on a lane of its
 * own. A lane has a few buffers; workers take full ones, add them to the object's SHA-256 and give
 * them to its sink, one worker at a lane at a time. For lfs.c only.
 *
 *   network thread    put ──► │▒▒▒▒│████│████│────► worker: digest, sink
 *                     filling ─┘      full, in order
 *
 * Thread rule: everything is called by one thread, the network's.
 */
#ifndef MODELDISK_LFS_INTAKE_H
#define MODELDISK_LFS_INTAKE_H

#include "lfs.h"

struct lfs_intake_options {
	unsigned lanes, workers;
	const struct lfs_sink *sink;
	void (*wake)(void *ctx); /* called by workers: a lane's state or room has changed */
	void *ctx;
};

struct lfs_intake;
int lfs_intake_new(const struct lfs_intake_options *opt, struct lfs_intake **out, struct diag *d)
        MUST_CHECK;
/* Ends the workers and abandons what is not verified. */
void lfs_intake_free(struct lfs_intake *in);
DEFINE_SCOPED(lfs_intake, struct lfs_intake *, lfs_intake_free)

enum lfs_lane_state {
	LFS_LANE_FREE,
	LFS_LANE_BEGINNING, /* the sink's begin is on its way */
	LFS_LANE_OPEN,      /* takes bytes */
	LFS_LANE_ENDING,    /* all bytes are in */
	LFS_LANE_RIGHT,     /* verified; the next object may begin */
	LFS_LANE_WRONG,     /* abandoned; the object may begin anew */
};
/* from: how many bytes the object has already, once it is open. */
enum lfs_lane_state lfs_intake_state(struct lfs_intake *in, unsigned lane, uint64_t *from);
/* The lane is free, right or wrong. */
void lfs_intake_begin(struct lfs_intake *in, unsigned lane, const struct lfs_object *object,
                      bool anew);
/* The next bytes, at most LFS_INTAKE_MAX_PUT. False: no room, nothing was taken, wake will come. */
#define LFS_INTAKE_MAX_PUT (128 * KIB)
bool lfs_intake_put(struct lfs_intake *in, unsigned lane, const void *buf, size_t len);
bool lfs_intake_has_room(struct lfs_intake *in, unsigned lane);
/* All bytes are in. */
void lfs_intake_end(struct lfs_intake *in, unsigned lane);
/* The first error of a sink, or 0. */
int lfs_intake_error(struct lfs_intake *in, struct diag *d) MUST_CHECK;

#endif
