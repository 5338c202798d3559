/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides where the data and the hash area are said to lie. Everything read here is a hint from an
 * attacker: a wrong one costs the mount, never the proof.
 */
#include "layout.h"

#include "signed_root.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SUPER_OFF 1024 /* of the EROFS superblock */
#define SUPER_LEN 128

static int area_of_part(const struct gpt *t, const struct gpt_part *p, struct layout_area *out)
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
	struct layout_area a;
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

/* Who signed is asked before (signed_root.h); here these partitions would only be in the way. */
static void leave_out_signatures(struct gpt *t, const struct image_options *o)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->part_cnt; i++)
		if (!signed_root_is_part(&t->part[i], o))
			t->part[kept++] = t->part[i];
	t->part_cnt = kept;
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
	out->data = (struct layout_area){ .len = hash_disk ? blk_size(disk) : o->hash_off,
		                          .label = "data area" };
	out->hash = (struct layout_area){ .off = o->hash_off,
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
	out->data = (struct layout_area){ .len = image_len, .label = "EROFS image" };
	out->hash = (struct layout_area){ .off = image_len,
		                          .len = size - image_len,
		                          .label = "hash area" };
	out->len_is_hint = true;
	snprintf(out->text, sizeof(out->text), "flat");
	return 0;
}

/*
 * A table wins over a flat image, except the backup of a table: a flat image written onto a device
 * that once was partitioned leaves that one at the end.
 */
static int find_in_disk(const struct blk *disk, const struct gpt *t, int has_table,
                        const struct image_options *o, struct layout *out, struct diag *d)
{
	uint64_t image_len = 0;
	int is_flat;

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

int layout_find(const struct blk *disk, const struct blk *hash_disk, const struct image_options *o,
                struct layout *out, struct diag *d)
{
	scoped_free struct gpt *t = NULL;
	struct layout found = { .text = "" };
	int r = check_options(o, d);

	if (r < 0)
		return r;
	if (hash_disk || o->has_hash_off) {
		r = use_given_areas(disk, hash_disk, o, &found, d);
	} else {
		t = calloc(1, sizeof(*t));
		if (!t)
			return diag_set(d, -ENOMEM, "%s: out of memory", blk_name(disk));
		r = gpt_read(disk, t, d);
		if (r == 0)
			leave_out_signatures(t, o);
		r = find_in_disk(disk, t, r, o, &found, d);
	}
	if (r == 0)
		*out = found;
	return r;
}
