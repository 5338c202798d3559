/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole disks, as mountfs opens them. The input:
 *
 *   0     how the disk is made: enum below, lengths of the blocks, of the salt (8 bytes)
 *   8     count of changes (one byte), then each: offset (3 bytes), bits to flip (1 byte)
 *   then  an EROFS image
 *
 * The image is mended so far that the reader goes in, and a true disk is made of it: tree,
 * superblock, partition table. Then an attacker makes the changes and repairs what is not under
 * the root hash, the table's CRCs. What opens then with the true root hash is the true tree, or
 * reading it fails: in particular no superblock, table or image may shift what is taken for data.
 */
#include "erofs_consume.h"
#include "fuzz.h"
#include "gpt.h"
#include "image.h"
#include "mend.h"
#include "tiny_erofs.h"
#include "verity_disk.h"

#include <errno.h>
#include <stdio.h>

#include "test_vblk.h"

#define HEAD_LEN      9
#define MAX_IMAGE_LEN (64 * KIB)
#define DATA_LBA      64

enum {
	FLAT = 0x01,         /* no table */
	SECTORS_4096 = 0x02, /* of the table */
	GUIDS = 0x04,        /* the partitions have those of the root hash */
	HASH_OFFSET = 0x08,  /* flat: the hash area is told, not found */
	OTHER_DEVICE = 0x10, /* flat: the hash area is another device's */
	LEAVE_CRCS = 0x20,
	COVER_MORE = 0x40, /* the tree covers zeros behind the image */
};

struct input {
	uint8_t flags;
	struct verity_params params;
	const uint8_t *changes;
	size_t change_cnt;
	uint8_t *image; /* malloc'ed, whole blocks */
};

struct bytes {
	uint8_t *b;
	size_t len;
};

/* An image of whole blocks, whichever of the two block lengths is the longer. */
static uint8_t *pad_image(const uint8_t *bytes, size_t len, size_t padded_len)
{
	uint8_t *image = calloc(1, padded_len);

	FUZZ_MUST(image);
	memcpy(image, bytes, len);
	mend_erofs(image, padded_len);
	tiny_erofs_seal(image, padded_len);
	return image;
}

static bool split(const uint8_t *data, size_t len, struct input *in)
{
	uint32_t data_block_len, hash_block_len;
	size_t image_len, padded_len;

	if (len < HEAD_LEN || (len - HEAD_LEN) / 4 < data[8])
		return false;
	in->flags = data[0];
	in->change_cnt = data[8];
	in->changes = data + HEAD_LEN;
	image_len = MIN(len - HEAD_LEN - 4 * in->change_cnt, MAX_IMAGE_LEN);
	data_block_len = UINT32_C(512) << data[1] % 4;
	hash_block_len = UINT32_C(512) << data[2] % 4;
	padded_len = round_up(MAX(image_len, 4096), 4096);
	if (in->flags & COVER_MORE)
		padded_len += (size_t)(1 + data[4] % 8) * 4096;
	in->params = verity_disk_params(HASH_SHA256, 1, data_block_len, hash_block_len,
	                                (uint16_t)(data[3] % (HASH_MAX_SALT_LEN + 1)),
	                                padded_len / data_block_len);
	in->image = pad_image(in->changes + 4 * in->change_cnt, image_len, padded_len);
	return true;
}

static struct bytes make_flat(const struct verity_disk *v)
{
	struct bytes disk = { .len = v->data_len + v->area_len };

	disk.b = malloc(disk.len);
	FUZZ_MUST(disk.b);
	memcpy(disk.b, v->data, v->data_len);
	memcpy(disk.b + v->data_len, v->area, v->area_len);
	return disk;
}

static struct gpt_part make_part(uint32_t number, uint64_t first_lba, uint64_t len,
                                 uint32_t sector_len)
{
	struct gpt_part p = { .number = number,
		              .first_lba = first_lba,
		              .last_lba = first_lba + div_up(len, sector_len) - 1 };

	FUZZ_MUST(gpt_type_by_name("linux-generic", &p.type) == 0);
	p.id.b[15] = (uint8_t)(1 + number);
	return p;
}

static struct bytes make_gpt(const struct verity_disk *v, uint8_t flags)
{
	static struct gpt t;
	uint32_t sector_len = flags & SECTORS_4096 ? 4096 : 512;
	struct bytes disk;

	t = (struct gpt){ .sector_len = sector_len, .part_cnt = 2 };
	t.part[0] = make_part(0, DATA_LBA, v->data_len, sector_len);
	t.part[1] = make_part(1, t.part[0].last_lba + 1, v->area_len, sector_len);
	if (flags & GUIDS) {
		memcpy(t.part[0].id.b, v->root, sizeof(t.part[0].id.b));
		memcpy(t.part[1].id.b, v->root + v->root_len - 16, sizeof(t.part[1].id.b));
	}
	t.first_usable_lba = gpt_head_len(sector_len) / sector_len;
	t.last_usable_lba = t.part[1].last_lba;
	disk.len = (t.last_usable_lba + 1) * sector_len + gpt_tail_len(sector_len);
	t.lba_cnt = disk.len / sector_len;
	disk.b = calloc(1, disk.len);
	FUZZ_MUST(disk.b);
	FUZZ_MUST(gpt_encode(&t, disk.b, disk.b + disk.len - gpt_tail_len(sector_len), NULL) == 0);
	memcpy(disk.b + t.part[0].first_lba * sector_len, v->data, v->data_len);
	memcpy(disk.b + t.part[1].first_lba * sector_len, v->area, v->area_len);
	return disk;
}

static void attack(const struct input *in, struct bytes disk)
{
	for (size_t i = 0; i < in->change_cnt; i++) {
		const uint8_t *c = in->changes + 4 * i;

		disk.b[(size_t)(c[0] | c[1] << 8 | c[2] << 16) % disk.len] ^= c[3];
	}
	if (!(in->flags & (FLAT | LEAVE_CRCS)))
		mend_gpt(disk.b, disk.len, in->flags & SECTORS_4096 ? 4096 : 512);
}

static struct blk *memory(struct bytes m)
{
	struct blk *b = NULL;

	FUZZ_MUST(blk_of_memory(m.b, m.len, "memory", &b) == 0);
	return b;
}

static int open_disk(const struct input *in, const struct verity_disk *v, struct bytes disk,
                     struct image **out, struct diag *d)
{
	struct image_options o = { .root_len = v->root_len, .verity.cache_len = 16 * KIB };
	struct blk *b = memory(disk), *hash = NULL;
	int r;

	memcpy(o.root, v->root, v->root_len);
	if (in->flags & FLAT && in->flags & (HASH_OFFSET | OTHER_DEVICE)) {
		o.has_hash_off = true;
		o.hash_off = v->data_len;
	}
	if (in->flags & FLAT && in->flags & OTHER_DEVICE)
		hash = memory(disk);
	r = image_open_blk(b, hash, &o, out, d);
	if (r) {
		blk_close(b);
		blk_close(hash);
	}
	return r;
}

static bool is_refusal(int r)
{
	return r == -EBADMSG || r == -EUCLEAN || r == -EOPNOTSUPP || r == -EINVAL;
}

static void read_disk(const struct input *in, const struct verity_disk *v, struct bytes disk)
{
	struct vblk *truth = test_vblk_of_memory(v->data, v->data_len);
	struct erofs_consumed want, got;
	struct image *img = NULL;
	struct diag d = DIAG_INIT;
	int wanted = erofs_consume(truth, 0, &want, &d);
	int r = open_disk(in, v, disk, &img, &d);

	FUZZ_MUST(r == 0 || is_refusal(r));
	FUZZ_MUST(!r || (d.err == r && d.text[0]));
	if (r == 0) {
		const struct erofs_info *info = erofs_get_info(image_erofs(img));

		FUZZ_MUST(info->blk_cnt * info->block_len <= vblk_size(image_vblk(img)));
		r = erofs_consume(image_vblk(img), -EBADMSG, &got, &d);
		FUZZ_MUST(r == wanted || r == -EBADMSG);
		FUZZ_MUST(r || memcmp(&want, &got, sizeof(want)) == 0);
	}
	image_close(img);
	vblk_close(truth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct verity_disk v;
	struct bytes disk;
	struct input in;

	if (!split(data, len, &in))
		return 0;
	verity_disk_make_over(&v, &in.params, in.image);
	disk = in.flags & FLAT ? make_flat(&v) : make_gpt(&v, in.flags);
	attack(&in, disk);
	read_disk(&in, &v, disk);
	free(disk.b);
	verity_disk_free(&v);
	return 0;
}
