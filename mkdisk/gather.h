/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of the image that one thread brings one after the other and that lie next to each other:
 * hashed and written together, because both are several times cheaper by the hundred than one by
 * one.
 *
 * Thread rule: a gather belongs to one thread; different ones may share a target.
 */
#ifndef MODELDISK_GATHER_H
#define MODELDISK_GATHER_H

#include "output.h"
#include "verity.h"

/* Where gathered blocks go; borrowed. */
struct gather_target {
	struct verity_build *verity;
	struct output *out;
	uint64_t image_off; /* of the image on the disk */
	uint32_t leaf_len;  /* bytes of a data block of the tree */
};

struct gather;
/* cap: bytes gathered at most, a multiple of WRITER_ALIGN. -ENOMEM. */
int gather_new(const struct gather_target *to, size_t cap, struct gather **out) MUST_CHECK;
void gather_free(struct gather *g); /* what was not flushed is gone */
DEFINE_SCOPED(gather, struct gather *, gather_free)

/*
 * Room for len bytes (at most cap) that belong at off of the image: behind what was gathered if
 * they belong there too, else that goes first. Lent until the next call.
 */
int gather_room(struct gather *g, uint64_t off, size_t len, uint8_t **room, struct diag *d)
        MUST_CHECK;
/* The first len bytes of the room, whole blocks, are there and count. */
void gather_advance(struct gather *g, size_t len);
/* Room, a block in it, and advance. */
#define GATHER_BLOCK_LEN 4096
int gather_block(struct gather *g, uint64_t off, const uint8_t *block, struct diag *d) MUST_CHECK;
/* Hashes and writes what was gathered. */
int gather_flush(struct gather *g, struct diag *d) MUST_CHECK;

#endif
