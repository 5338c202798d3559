/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a disk. Decides where the data and the hash area are said to lie and whether the geometry
 * that the (unhashed) verity superblock claims is that of the file system inside. Everything read
 * before verity_open() is a hint from an attacker: a wrong hint costs the mount, never the proof.
 */
#include "image.h"

#include "gpt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SUPER_OFF 1024 /* of the EROFS superblock */
#define SUPER_LEN 128
#define LABEL_LEN 48

struct area {
	uint64_t off, len;
	char label[LABEL_LEN];
};

struct layout {
	struct area data, hash;
	/* the data area's length is what an unproven superblock said, and must come true */
	bool len_is_hint;
	bool from_backup;
	char text[LABEL_LEN];
};

struct image {
	struct blk *disk, *hash_disk; /* hash_disk: NULL when it is the disk */
	struct blk *data, *hash;      /* ranges of the two above */
	struct vblk *vblk;
	struct erofs *erofs;
	struct layout layout;
};

/* ---- where the areas are ---- */

static int area_of_part(const struct gpt *t, const struct gpt_part *p, struct area *out)
{
	uint64_t lba_cnt;

	if (p->last_lba < p->first_lba || !add_u64(p->last_lba - p->first_lba, 1, &lba_cnt) ||
	    !mul_u64(p->first_lba, t->sector_len, &out->off) ||
	    !mul_u64(lba_cnt, t->sector_len, &out->len))
		return -EUCLEAN;
	snprintf(out->label, sizeof(out->label), "partition %" PRIu32, p->number + 1);
	return 0;
}

static int use_parts(const struct blk *disk, const struct gpt *t, const struct gpt_part *data,
                     const struct gpt_part *hash, struct layout *out, struct diag *d)
{
	int r = area_of_part(t, data, &out->data);

	if (r == 0)
		r = area_of_part(t, hash, &out->hash);
	if (r < 0)
		return diag_set(d, r, "%s: a partition's range is out of bounds", blk_name(disk));
	out->from_backup = t->from_backup;
	snprintf(out->text, sizeof(out->text), "partitions %" PRIu32 " and %" PRIu32,
	         data->number + 1, hash->number + 1);
	return 0;
}

static const struct gpt_part *part_by_number(const struct gpt *t, uint32_t number)
{
	for (uint32_t i = 0; i < t->part_cnt; i++)
		if (t->part[i].number + 1 == number)
			return &t->part[i];
	return NULL;
}

static const struct gpt_part *part_by_id(const struct gpt *t, const uint8_t id[16])
{
	for (uint32_t i = 0; i < t->part_cnt; i++)
		if (memcmp(t->part[i].id.b, id, sizeof(t->part[i].id.b)) == 0)
			return &t->part[i];
	return NULL;
}

static int use_named_parts(const struct blk *disk, const struct gpt *t,
                           const struct image_options *o, struct layout *out, struct diag *d)
{
	const struct gpt_part *data = part_by_number(t, o->data_part);
	const struct gpt_part *hash = part_by_number(t, o->hash_part);

	if (!data || !hash)
		return diag_set(d, -EINVAL,
		                "%s: there is no partition %" PRIu32 " (the table has %" PRIu32
		                " partitions)",
		                blk_name(disk), data ? o->hash_part : o->data_part, t->part_cnt);
	return use_parts(disk, t, data, hash, out, d);
}

/* 1: yes, 0: no. A superblock with bad fields counts: verity_open() will say what is wrong. */
static int part_has_verity(const struct blk *disk, const struct gpt *t, const struct gpt_part *p,
                           struct diag *d)
{
	uint8_t super[VERITY_SUPERBLOCK_LEN];
	struct verity_params ignored;
	struct area a;
	int r = area_of_part(t, p, &a);

	if (r < 0 || a.len < sizeof(super))
		return 0;
	r = blk_read(disk, a.off, super, sizeof(super), d);
	if (r < 0)
		return r;
	return verity_superblock_decode(super, &ignored, NULL) != -ENOENT;
}

/* Data first and hash second is the rule; a disk made the other way round shows it by itself. */
static int use_two_parts(const struct blk *disk, const struct gpt *t, const struct image_options *o,
                         struct layout *out, struct diag *d)
{
	const struct gpt_part *data = &t->part[0], *hash = &t->part[1];

	if (!o->no_superblock) {
		int second = part_has_verity(disk, t, hash, d);
		int first = second == 0 ? part_has_verity(disk, t, data, d) : 0;

		if (second < 0 || first < 0)
			return second < 0 ? second : first;
		if (!second && !first)
			return diag_set(d, -EUCLEAN,
			                "%s: none of the two partitions carries a verity "
			                "superblock",
			                blk_name(disk));
		if (first)
			return use_parts(disk, t, hash, data, out, d);
	}
	return use_parts(disk, t, data, hash, out, d);
}

static int use_table(const struct blk *disk, const struct gpt *t, const struct image_options *o,
                     struct layout *out, struct diag *d)
{
	if (o->data_part != 0)
		return use_named_parts(disk, t, o, out, d);
	if (o->root_len >= 32) {
		const struct gpt_part *data = part_by_id(t, o->root);
		const struct gpt_part *hash = part_by_id(t, o->root + o->root_len - 16);

		if (data && hash)
			return use_parts(disk, t, data, hash, out, d);
	}
	if (t->part_cnt == 2)
		return use_two_parts(disk, t, o, out, d);
	return diag_set(d, -EUCLEAN,
	                "%s: its %" PRIu32
	                " partitions are not the two of a model disk, and none carries the GUIDs "
	                "of this root hash: name them with --data-partition and --hash-partition",
	                blk_name(disk), t->part_cnt);
}

/* Everything before hash_off is data when both lie on one disk; else the whole disk is. */
static int use_given_areas(const struct blk *disk, const struct blk *hash_disk,
                           const struct image_options *o, struct layout *out, struct diag *d)
{
	uint64_t hash_size = blk_size(hash_disk ? hash_disk : disk);

	if (o->hash_off > hash_size)
		return diag_set(d, -EINVAL,
		                "%s: the hash offset %" PRIu64 " lies behind the end at %" PRIu64,
		                blk_name(hash_disk ? hash_disk : disk), o->hash_off, hash_size);
	out->data = (struct area){ .len = hash_disk ? blk_size(disk) : o->hash_off,
		                   .label = "data area" };
	out->hash = (struct area){ .off = o->hash_off,
		                   .len = hash_size - o->hash_off,
		                   .label = "hash area" };
	snprintf(out->text, sizeof(out->text), hash_disk ? "separate hash device" : "flat");
	return 0;
}

/* 0 and the length that the bytes at SUPER_OFF claim, or -ENOENT when they are no EROFS. */
static int hint_image_len(const struct blk *disk, uint64_t *out, struct diag *d)
{
	uint8_t super[SUPER_LEN];
	int r;

	if (blk_size(disk) < SUPER_OFF + sizeof(super))
		return -ENOENT;
	r = blk_read(disk, SUPER_OFF, super, sizeof(super), d);
	if (r < 0)
		return r;
	r = erofs_hint_image_len(super, out);
	if (r < 0 && r != -ENOENT)
		return diag_set(d, r, "%s: the EROFS superblock's length makes no sense",
		                blk_name(disk));
	return r;
}

static int use_flat(const struct blk *disk, uint64_t image_len, struct layout *out, struct diag *d)
{
	uint64_t size = blk_size(disk);

	if (image_len >= size)
		return diag_set(d, -EUCLEAN,
		                "%s: the EROFS image claims %" PRIu64
		                " bytes and leaves no room for a hash area on a disk of %" PRIu64,
		                blk_name(disk), image_len, size);
	out->data = (struct area){ .len = image_len, .label = "EROFS image" };
	out->hash =
	        (struct area){ .off = image_len, .len = size - image_len, .label = "hash area" };
	out->len_is_hint = true;
	snprintf(out->text, sizeof(out->text), "flat");
	return 0;
}

/*
 * A table wins over a flat image, except the backup of a table: a flat image written onto a device
 * that once was partitioned leaves that one at the end.
 */
static int find_layout(const struct blk *disk, const struct blk *hash_disk,
                       const struct image_options *o, struct layout *out, struct diag *d)
{
	scoped_free struct gpt *t = NULL;
	uint64_t image_len = 0;
	int has_table, is_flat;

	if (hash_disk || o->has_hash_off)
		return use_given_areas(disk, hash_disk, o, out, d);

	t = calloc(1, sizeof(*t));
	if (!t)
		return diag_set(d, -ENOMEM, "%s: out of memory", blk_name(disk));
	has_table = gpt_read(disk, t, d);
	if (has_table == 0 && !t->from_backup)
		return use_table(disk, t, o, out, d);
	if (has_table < 0 && has_table != -ENOENT)
		return has_table;

	is_flat = o->data_part != 0 ? -ENOENT : hint_image_len(disk, &image_len, d);
	if (is_flat == 0)
		return use_flat(disk, image_len, out, d);
	if (is_flat != -ENOENT)
		return is_flat;
	if (has_table == 0)
		return use_table(disk, t, o, out, d);
	return diag_set(d, -EUCLEAN,
	                "%s: is no model disk: neither a partition table nor an EROFS image was "
	                "found",
	                blk_name(disk));
}

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

static int check_options(const struct image_options *o, struct diag *d)
{
	if ((o->data_part == 0) != (o->hash_part == 0))
		return diag_set(d, -EINVAL,
		                "--data-partition and --hash-partition must be given together");
	if (o->data_part != 0 && (o->hash_device || o->has_hash_off))
		return diag_set(d, -EINVAL,
		                "partitions cannot be given together with --hash-device or "
		                "--hash-offset");
	return 0;
}

int image_open_blk(struct blk *disk, struct blk *hash_disk, const struct image_options *o,
                   struct image **out, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	struct layout layout = { .text = "" };
	int r = check_options(o, d);

	if (r == 0)
		r = find_layout(disk, hash_disk, o, &layout, d);
	if (r < 0)
		return r;
	img = calloc(1, sizeof(*img));
	if (!img)
		return diag_set(d, -ENOMEM, "%s: out of memory", blk_name(disk));
	img->layout = layout;
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
	if (r == 0)
		r = image_open_blk(disk, hash_disk, o, out, d);
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

void image_fds(const struct image *img, int out[2])
{
	out[0] = blk_fd(img->disk);
	out[1] = img->hash_disk ? blk_fd(img->hash_disk) : -1;
}

bool image_used_backup_table(const struct image *img)
{
	return img->layout.from_backup;
}
