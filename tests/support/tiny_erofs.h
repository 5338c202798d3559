/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EROFS images put together by hand, field by field, for shapes that no tool writes or that a tool
 * would write too large. Positions are the test's own business: nothing is checked here. Linked
 * into tests only.
 */
#ifndef MODELDISK_TINY_EROFS_H
#define MODELDISK_TINY_EROFS_H

#include "erofs_disk.h"

struct tiny_erofs {
	uint8_t *bytes;
	size_t len;
	uint32_t block_len;
};

/* Zeros and a superblock with root nid 48 (byte 1536). */
#define TINY_ROOT_NID 48
void tiny_erofs_make(struct tiny_erofs *t, unsigned block_bits, size_t blk_cnt);
void tiny_erofs_free(struct tiny_erofs *t);

struct erofs_super_disk *tiny_erofs_super(struct tiny_erofs *t);
void tiny_erofs_put(struct tiny_erofs *t, uint64_t off, const void *bytes, size_t len);
void tiny_erofs_compact(struct tiny_erofs *t, uint64_t nid, enum erofs_layout layout, uint16_t mode,
                        uint32_t size, uint32_t u);

struct tiny_name {
	const char *name;
	uint64_t nid;
	uint8_t type; /* 1 regular, 2 directory, ... */
};
/*
 * A plain directory inode at nid, with its blocks from first_blk on. names are written in the given
 * order, "." and ".." among them where the test wants them. Returns how many blocks it took.
 */
size_t tiny_erofs_directory(struct tiny_erofs *t, uint64_t nid, uint32_t first_blk,
                            const struct tiny_name *names, size_t cnt);

/* Sets the checksum right for an image of any origin, if its superblock is whole. */
void tiny_erofs_seal(uint8_t *image, size_t len);

#endif
