/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk, opened: finds the data and the hash area, proves them against the root hash, opens the
 * EROFS image inside and holds its geometry against the proof. Owns blk, vblk and erofs.
 *
 * Thread rule: image_open() belongs to one thread at start-up; the image is immutable afterwards
 * and every function on `const struct image *` is thread-safe.
 */
#ifndef MODELDISK_IMAGE_H
#define MODELDISK_IMAGE_H

#include "erofs.h"

struct image;

/*
 * How to find the two areas. By default (all zero besides the root hash):
 *   - a GPT, primary or backup: the two partitions whose GUIDs are the first and the last 16 bytes
 *     of the root hash (Discoverable Partitions Specification), else the only two partitions
 *     besides signature partitions, of which the second, or else the first, carries a verity
 *     superblock;
 *   - no GPT: an EROFS image at byte 0 and the hash area right behind it.
 */
struct image_options {
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;

	uint32_t data_part, hash_part; /* as sgdisk numbers them, from 1; 0: not given */
	uint32_t signature_part;       /* the same; 0: known by its type */
	const char *hash_device;       /* NULL: on the disk itself */
	bool has_hash_off;             /* hash_off is given: no GPT is looked for */
	uint64_t hash_off;             /* bytes, on hash_device or the disk */

	bool no_superblock; /* then params says it all; params.data_blk_cnt 0: as many as fit */
	struct verity_params params;
	uint64_t data_blk_cnt; /* demanded; 0: what the geometry check proves */

	/*
	 * Stop at the hash tree: nothing in the image is looked at, image_erofs() is NULL, and that
	 * the geometry is the true one is NOT known. For looking at disks that are known to be bad.
	 */
	bool proof_only;

	enum blk_direct direct;       /* of the disk; the hash device is read through the cache */
	struct verity_options verity; /* cache and failure hook */
};

/*
 * Opens the disk at path. Errors: -EBADMSG the root hash is not this disk's, or its table is
 * damaged; -EUCLEAN no layout we know, or a geometry that does not fit the image inside;
 * -EOPNOTSUPP; -EINVAL options that do not go together; what open(2) and pread(2) said.
 */
int image_open(const char *path, const struct image_options *o, struct image **out, struct diag *d)
        MUST_CHECK;
/* The same over stores, which the image takes over on success. hash_disk NULL: on the disk itself.
 */
int image_open_blk(struct blk *disk, struct blk *hash_disk, const struct image_options *o,
                   struct image **out, struct diag *d) MUST_CHECK;
void image_close(struct image *img); /* NULL allowed */
DEFINE_SCOPED(image, struct image *, image_close)

/* Lent until image_close(). */
const struct erofs *image_erofs(const struct image *img); /* NULL: proof_only */
const struct vblk *image_vblk(const struct image *img);
/* Where the areas were found, in words: "partitions 1 and 2", "flat". */
const char *image_layout(const struct image *img);
/* The descriptors that reading needs, of the disk and of the hash device; some may be -1. */
#define IMAGE_FDS 4
void image_fds(const struct image *img, int out[IMAGE_FDS]);
/*
 * Where the proof's two halves lie, for who lets somebody else prove: offsets and lengths in bytes,
 * within the file or device that the descriptor is open on. Lent like everything here.
 */
struct image_areas {
	int data_fd, hash_fd;
	uint64_t data_off, data_len;
	uint64_t hash_off, hash_len; /* with the superblock, if there is one */
	uint64_t tree_off;           /* of the tree's first block */
	bool is_whole;               /* the data start at byte 0 of what data_fd is open on */
	bool is_shared; /* is_whole, and the hash area lies behind them in the same place */
	const struct verity_params *params;
};
void image_get_areas(const struct image *img, struct image_areas *out);
/* The primary partition table was bad or absent, and the backup was used. */
bool image_used_backup_table(const struct image *img);

#endif
