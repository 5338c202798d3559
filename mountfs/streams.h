/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which reads follow one another, and what will therefore be read next. A stream is a region of a
 * file that is read upwards or downwards, by whom does not matter: several readers of one place are
 * one stream, one reader may leave many behind. Pure: no clock, no lock, no I/O.
 *
 * Downwards is not a whim: memcpy(3) copies large pieces from their end when that suits the caches,
 * and with them goes whoever loads tensors from a mapping.
 */
#ifndef MODELDISK_STREAMS_H
#define MODELDISK_STREAMS_H

#include "base.h"

#define STREAMS_MAX 128

/* What is looked ahead comes in pieces that do not cross multiples of this. */
#define STREAMS_STEP (256 * KIB)

/*
 * Reads that far apart may still be one stream: the kernel sends several at a time, and they are
 * served in any order.
 */
#define STREAMS_GAP (2 * MIB)

/* Offsets of a downward stream are counted from behind the end of the file: see streams.c. */
struct stream {
	uint64_t nid;
	uint64_t start, next; /* [start, next) has been read, more or less */
	uint64_t ahead;       /* up to here it has been planned; at least next */
	uint64_t tick;        /* of its last read; 0: not in use */
	bool is_known;        /* a second read has followed the first */
	bool is_down;
};

/* All zero is the beginning. */
struct streams {
	struct stream all[STREAMS_MAX];
	uint64_t tick; /* reads noted so far */
};

struct streams_read {
	uint64_t nid, off, len; /* inside the file, len > 0 */
	uint64_t size;          /* of the file */
};

/* What is worth having now; len 0: nothing. */
struct streams_plan {
	struct stream *stream;
	uint64_t off, len;
	bool is_down; /* the end of it will be read first */
};

/*
 * Takes note of a read and says what to look ahead at: as much as has been read of the stream, but
 * at most max_ahead bytes beyond it and what is left of a step. How much of the plan is carried
 * out, from where it will be read first, is told with streams_planned() before the next call; the
 * rest is planned again.
 */
struct streams_plan streams_note(struct streams *s, const struct streams_read *r,
                                 uint64_t max_ahead);
void streams_planned(const struct streams_plan *plan, uint64_t len);

#endif
