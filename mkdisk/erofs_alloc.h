/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The space of an EROFS image: where the next inode goes, where the next data blocks go. Hides the
 * best-fit rule (docs/format.md "EROFS layout") and makes every choice in constant time.
 *
 *   0        region 0         data          region 1      region 2
 *   ├────────────────────┤├──────────┤├─────────────────┤├────────┤   ┄┄ pending regions ┄┄
 *   superblock, inodes   │ file data   inodes and tails           │   no address yet
 *                                                                 └ end: grows with every run
 *
 * A region is a run of blocks that fills from its start with items: an inode, its attributes and
 * its inline tail. It is pending, without address and free to grow, until it is placed at the end
 * of the image. Regions are numbered and placed in the order of their creation.
 *
 * Thread rule: one thread.
 */
#ifndef MODELDISK_EROFS_ALLOC_H
#define MODELDISK_EROFS_ALLOC_H

#include "base.h"

struct erofs_alloc;
/* A new image whose first region is placed and has head_len bytes (superblock) in use. -ENOMEM. */
int erofs_alloc_new(uint32_t head_len, struct erofs_alloc **out) MUST_CHECK;
void erofs_alloc_free(struct erofs_alloc *a);
DEFINE_SCOPED(erofs_alloc, struct erofs_alloc *, erofs_alloc_free)

/* cnt blocks of data at the end of the image; *first is the block number. -EFBIG: the image would
 * have more than 2^32 - 1 blocks. */
int erofs_alloc_blocks(struct erofs_alloc *a, uint64_t cnt, uint64_t *first) MUST_CHECK;

struct erofs_item {
	uint32_t len;      /* bytes of inode and attributes, more than 0 */
	uint32_t tail_len; /* bytes glued behind that may not cross a block's end: 0..4095 */
	bool after_data;   /* the item's own data blocks were taken just now */
};
/*
 * Appends the item to a region, a new one if none takes it. *off is its place inside the region.
 * -ENOSPC: a tail that fits nowhere, not even into an empty region (which then exists and stays
 * empty, as the reference tool leaves it); the item is to be tried again without. -ENOMEM.
 */
int erofs_alloc_item(struct erofs_alloc *a, const struct erofs_item *item, uint32_t *region,
                     uint64_t *off) MUST_CHECK;
/*
 * len bytes, before any inode: into the first region where they fit as an item aligned to 4 would,
 * else into blocks of their own that nothing else shares. *off is a byte offset in the image.
 */
int erofs_alloc_shared(struct erofs_alloc *a, uint64_t len, uint64_t *off) MUST_CHECK;

/* Places all pending regions up to this one; nothing to do if it is placed. */
void erofs_alloc_place(struct erofs_alloc *a, uint32_t region);
void erofs_alloc_place_all(struct erofs_alloc *a);
/* Byte offset of a placed region in the image. */
uint64_t erofs_alloc_region_off(const struct erofs_alloc *a, uint32_t region);
/* The image's end in blocks as far as it is known; may exceed 2^32 - 1, for the caller to refuse.
 */
uint64_t erofs_alloc_end(const struct erofs_alloc *a);

#endif
