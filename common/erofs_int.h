/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the erofs*.c files share and nobody else needs: the opened image, the one door to its bytes,
 * and a small window for structures that lie side by side.
 */
#ifndef MODELDISK_EROFS_INT_H
#define MODELDISK_EROFS_INT_H

#include "erofs.h"
#include "erofs_disk.h"

#define EROFS_MIN_BLOCK_BITS 9
#define EROFS_MAX_BLOCK_BITS 12
#define EROFS_MAX_BLOCK_LEN  (1 << EROFS_MAX_BLOCK_BITS)

/* Flags of struct erofs_inode. */
#define EROFS_INODE_HOLE          0x1 /* plain without blocks: all zeros */
#define EROFS_INODE_CHUNK_INDEXES 0x2 /* 8-byte table entries */
#define EROFS_INODE_CHUNK_48BIT   0x4
#define EROFS_INODE_DOT_OMITTED   0x8 /* a directory without "." */

/* A long xattr prefix: the prefix of base_index, then the infix. */
struct erofs_long_prefix {
	uint8_t base_index, infix_len;
	char infix[EROFS_MAX_NAME_LEN];
};

/* Positions have passed the checks of erofs_open(): they lie inside the image. */
struct erofs {
	const struct vblk *v;
	uint64_t image_len; /* no byte from here on is ever read */
	uint64_t meta_off;  /* where nid 0 would lie */
	uint64_t xattr_off; /* where shared xattr 0 lies */
	uint32_t block_len;
	uint8_t block_bits;
	bool has_48bit;
	int64_t epoch;
	uint32_t fixed_nsec;
	struct erofs_info info;
	size_t prefix_cnt;
	struct erofs_long_prefix *prefixes;
};

/* Every read of the image: -EUCLEAN unless the range lies inside it, then vblk_read(). */
int erofs_read_at(const struct erofs *fs, uint64_t off, void *buf, size_t len, struct diag *d)
        MUST_CHECK;

/* The byte offset of an inode slot. False when nid lies outside the image. */
bool erofs_nid_to_off(const struct erofs *fs, uint64_t nid, uint64_t *off) MUST_CHECK;

/*
 * Bytes [off, off + len) of a file, directory or symlink, which must be below its size: one
 * vblk_read() per extent.
 */
int erofs_read_data(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off, void *buf,
                    size_t len, struct diag *d) MUST_CHECK;

/*
 * A piece of the image, so that small structures side by side cost one read (and one hash of a data
 * block) and not one each. Starts as { 0 }.
 */
#define EROFS_WINDOW_LEN 1024
struct erofs_window {
	uint64_t off;
	size_t len;
	uint8_t bytes[EROFS_WINDOW_LEN];
};

/* The bytes at off if all len of them are in the window already, else NULL. */
const uint8_t *erofs_window_peek(const struct erofs_window *w, uint64_t off, size_t len);

/*
 * The len bytes at off (at most EROFS_WINDOW_LEN), valid until the next call. Reads ahead up to
 * end, where the caller knows the structure to end at the latest. -EUCLEAN when they reach past end
 * or the image.
 */
int erofs_window_get(const struct erofs *fs, struct erofs_window *w, uint64_t off, size_t len,
                     uint64_t end, const uint8_t **out, struct diag *d) MUST_CHECK;

/* The prefix table, at start-up. fs->prefix_cnt is what the superblock claims. */
int erofs_prefixes_load(struct erofs *fs, uint64_t off, struct diag *d) MUST_CHECK;

#endif
