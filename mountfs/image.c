/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a disk. Decides whether the geometry that the (unhashed) verity superblock claims is that
 * of the file system inside; where the areas are said to lie is found by layout.c.
 */
#include "image.h"

#include "layout.h"

#include <errno.h>
#include <inttypes.h>

struct image {
	struct blk *disk, *hash_disk; /* hash_disk: NULL when it is the disk */
	struct blk *data, *hash;      /* ranges of the two above */
	struct vblk *vblk;
	struct erofs *erofs;
	struct layout layout;
	bool has_superblock;
};

/* ---- what the proof has to cover ---- */

/*
 * The root hash does not fix the tree's height (docs/security.md "Geometry"): a smaller block count
 * in the superblock makes a level of digests pass for data. So the covered bytes must be exactly
 * the data area (a tree over the partition) or exactly the image (a tree over the file), and the
 * image, whose length is proven now, must lie inside them.
 */
static int check_geometry(const struct image *img, struct diag *d)
{
	const struct verity_params *p = vblk_params(img->vblk);
	const struct erofs_info *info = erofs_get_info(img->erofs);
	const char *name = blk_name(img->disk);
	uint64_t area_len = img->layout.data.len, covered = vblk_size(img->vblk), image_len;

	if (!mul_u64(info->blk_cnt, info->block_len, &image_len) || image_len > covered)
		return diag_set(d, -EUCLEAN,
		                "%s: the hash tree covers %" PRIu64
		                " bytes, less than the EROFS image of %" PRIu64 " blocks",
		                name, covered, info->blk_cnt);
	if (img->layout.len_is_hint && image_len != area_len)
		return diag_set(d, -EUCLEAN,
		                "%s: the hash area was found at %" PRIu64
		                ", but the proven EROFS image ends at %" PRIu64,
		                name, area_len, image_len);
	if (covered != round_down(area_len, p->data_block_len) &&
	    covered - image_len >= p->data_block_len)
		return diag_set(d, -EUCLEAN,
		                "%s: the hash tree covers %" PRIu64
		                " bytes, expected the EROFS image (%" PRIu64
		                ") or the whole data area (%" PRIu64 ")",
		                name, covered, image_len, area_len);
	return 0;
}

/* ---- opening ---- */

/* params as verity_open() wants them: NULL when the superblock has them. */
static const struct verity_params *given_params(const struct image_options *o, uint64_t data_len,
                                                struct verity_params *buf)
{
	if (!o->no_superblock)
		return NULL;
	*buf = o->params;
	if (o->data_blk_cnt != 0)
		buf->data_blk_cnt = o->data_blk_cnt;
	else if (buf->data_blk_cnt == 0 && buf->data_block_len != 0)
		buf->data_blk_cnt = data_len / buf->data_block_len;
	return buf;
}

static int prove(struct image *img, const struct image_options *o, struct diag *d)
{
	const struct layout *l = &img->layout;
	const struct blk *hash_disk = img->hash_disk ? img->hash_disk : img->disk;
	struct verity_params buf;
	int r = blk_sub(img->disk, l->data.off, l->data.len, l->data.label, &img->data, d);

	if (r == 0)
		r = blk_sub(hash_disk, l->hash.off, l->hash.len, l->hash.label, &img->hash, d);
	if (r == 0)
		r = verity_open(img->data, img->hash, given_params(o, l->data.len, &buf), o->root,
		                o->root_len, &o->verity, &img->vblk, d);
	if (r ==
	    -ENOENT) /* of a file: "not found"; of a superblock that has to be there: refused */
		r = diag_set(d, -EUCLEAN, "%s: no verity superblock at offset %" PRIu64,
		             blk_name(hash_disk), l->hash.off);
	if (r < 0)
		return r;
	if (o->data_blk_cnt != 0 && vblk_params(img->vblk)->data_blk_cnt != o->data_blk_cnt)
		return diag_set(
		        d, -EUCLEAN,
		        "%s: the hash tree covers %" PRIu64 " data blocks, expected %" PRIu64,
		        blk_name(img->disk), vblk_params(img->vblk)->data_blk_cnt, o->data_blk_cnt);
	return 0;
}

int image_open_blk(struct blk *disk, struct blk *hash_disk, const struct image_options *o,
                   struct image **out, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	struct layout layout;
	int r = layout_find(disk, hash_disk, o, &layout, d);

	if (r < 0)
		return r;
	img = calloc(1, sizeof(*img));
	if (!img)
		return diag_set(d, -ENOMEM, "%s: out of memory", blk_name(disk));
	img->layout = layout;
	img->has_superblock = !o->no_superblock;
	img->disk = disk;
	img->hash_disk = hash_disk;
	r = prove(img, o, d);
	if (r == 0 && !o->proof_only)
		r = erofs_open(img->vblk, &img->erofs, d);
	if (r == 0 && !o->proof_only)
		r = check_geometry(img, d);
	if (r < 0) {
		/* the stores stay the caller's */
		img->disk = NULL;
		img->hash_disk = NULL;
		return r;
	}
	*out = take_ptr(img);
	return 0;
}

int image_open(const char *path, const struct image_options *o, struct image **out, struct diag *d)
{
	scoped(blk) struct blk *disk = NULL;
	scoped(blk) struct blk *hash_disk = NULL;
	int r = blk_open(path, &disk, d);

	if (r == 0 && o->hash_device)
		r = blk_open(o->hash_device, &hash_disk, d);
	if (r == 0) {
		blk_set_direct(disk, o->direct);
		r = image_open_blk(disk, hash_disk, o, out, d);
	}
	if (r < 0)
		return r;
	take_ptr(disk);
	take_ptr(hash_disk);
	return 0;
}

void image_close(struct image *img)
{
	if (!img)
		return;
	erofs_close(img->erofs);
	vblk_close(img->vblk);
	blk_close(img->hash);
	blk_close(img->data);
	blk_close(img->hash_disk);
	blk_close(img->disk);
	free(img);
}

const struct erofs *image_erofs(const struct image *img)
{
	return img->erofs;
}

const struct vblk *image_vblk(const struct image *img)
{
	return img->vblk;
}

const char *image_layout(const struct image *img)
{
	return img->layout.text;
}

void image_fds(const struct image *img, int out[IMAGE_FDS])
{
	out[0] = blk_fd(img->disk);
	out[1] = blk_direct_fd(img->disk);
	out[2] = img->hash_disk ? blk_fd(img->hash_disk) : -1;
	out[3] = img->hash_disk ? blk_direct_fd(img->hash_disk) : -1;
}

void image_get_areas(const struct image *img, struct image_areas *out)
{
	const struct layout *l = &img->layout;
	const struct verity_params *p = vblk_params(img->vblk);

	*out = (struct image_areas){
		.data_fd = blk_fd(img->disk),
		.hash_fd = blk_fd(img->hash_disk ? img->hash_disk : img->disk),
		.data_off = l->data.off,
		.data_len = l->data.len,
		.hash_off = l->hash.off,
		.hash_len = l->hash.len,
		.tree_off = l->hash.off + (img->has_superblock ? verity_tree_off(p) : 0),
		.is_whole = l->data.off == 0,
		.is_shared = l->data.off == 0 && !img->hash_disk,
		.params = p,
	};
}

bool image_used_backup_table(const struct image *img)
{
	return img->layout.from_backup;
}
