/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c on disks made in memory: every way of finding the areas, and what an attacker may do to
 * what is not proven. The EROFS image is made by hand, small enough to be read here.
 */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "erofs_disk.h"
#include "gpt.h"
#include "image.h"
#include "verity_disk.h"

#define BLOCK    4096
#define ROOT_NID 36 /* the slot behind the superblock */
#define FILE_NID 40
#define DATA_LBA 64
#define CONTENT  UINT64_C(77) /* seed of the file's bytes */

/* ---- making disks ---- */

static void put_dirent(uint8_t *dir, unsigned i, uint64_t nid, size_t name_off, uint8_t type)
{
	struct erofs_dirent_disk e = { .nid = le64_of(nid),
		                       .name_off = le16_of((uint16_t)name_off),
		                       .type = type };

	memcpy(dir + i * sizeof(e), &e, sizeof(e));
}

/* image_blk_cnt blocks of EROFS with one file "f" in all but the first, zeros up to data_blk_cnt.
 */
static uint8_t *make_image(uint32_t image_blk_cnt, uint32_t data_blk_cnt)
{
	uint8_t *img = calloc(data_blk_cnt, BLOCK);
	uint8_t *dir = img + (ROOT_NID + 1) * EROFS_SLOT_LEN;
	const struct erofs_super_disk super = { .magic = le32_of(EROFS_SUPER_MAGIC),
		                                .blkszbits = 12,
		                                .root_nid = le16_of(ROOT_NID),
		                                .inos = le64_of(2),
		                                .blocks = le32_of(image_blk_cnt) };
	const struct erofs_compact_disk root = { .format = le16_of(EROFS_LAYOUT_INLINE << 1),
		                                 .mode = le16_of(S_IFDIR | 0755),
		                                 .nlink = le16_of(2),
		                                 .size = le32_of(3 * 12 + 4) };
	const struct erofs_compact_disk file = { .format = le16_of(EROFS_LAYOUT_PLAIN << 1),
		                                 .mode = le16_of(S_IFREG | 0644),
		                                 .nlink = le16_of(1),
		                                 .size = le32_of((image_blk_cnt - 1) * BLOCK),
		                                 .u = le32_of(1) };

	assert_non_null(img);
	memcpy(img + EROFS_SUPER_OFF, &super, sizeof(super));
	memcpy(img + ROOT_NID * EROFS_SLOT_LEN, &root, sizeof(root));
	put_dirent(dir, 0, ROOT_NID, 36, 2);
	put_dirent(dir, 1, ROOT_NID, 37, 2);
	put_dirent(dir, 2, FILE_NID, 39, 1);
	memcpy(dir + 36, "...f", 4);
	memcpy(img + FILE_NID * EROFS_SLOT_LEN, &file, sizeof(file));
	support_fill(img + BLOCK, (size_t)(image_blk_cnt - 1) * BLOCK, CONTENT);
	return img;
}

/* A tree over data_blk_cnt blocks that begin with an image of image_blk_cnt. */
static void make_parts(struct verity_disk *out, uint32_t image_blk_cnt, uint32_t data_blk_cnt)
{
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, BLOCK, 32, data_blk_cnt);

	verity_disk_make_over(out, &p, make_image(image_blk_cnt, data_blk_cnt));
}

struct bytes {
	uint8_t *b;
	size_t len;
};

static struct bytes make_flat(const struct verity_disk *v)
{
	struct bytes disk = { .len = v->data_len + v->area_len };

	disk.b = malloc(disk.len);
	assert_non_null(disk.b);
	memcpy(disk.b, v->data, v->data_len);
	memcpy(disk.b + v->data_len, v->area, v->area_len);
	return disk;
}

/* What lies in a partition; longer ones end in zeros. */
struct content {
	const uint8_t *b;
	size_t len, part_len;
};

static struct content data_of(const struct verity_disk *v)
{
	return (struct content){ v->data, v->data_len, v->data_len };
}

static struct content hash_of(const struct verity_disk *v)
{
	return (struct content){ v->area, v->area_len, v->area_len + 8 * BLOCK };
}

/* A table and cnt partitions one behind the other; ids: as many GUIDs, or NULL for none. */
static struct bytes make_gpt(uint32_t sector_len, const struct content *c, uint32_t cnt,
                             const struct uuid *ids)
{
	struct gpt *t = calloc(1, sizeof(*t));
	uint64_t off = (uint64_t)DATA_LBA * sector_len;
	struct bytes disk = { .len = 0 };

	assert_non_null(t);
	t->sector_len = sector_len;
	t->part_cnt = cnt;
	for (uint32_t i = 0; i < cnt; i++) {
		assert_int_equal(gpt_type_by_name("linux-generic", &t->part[i].type), 0);
		if (ids)
			t->part[i].id = ids[i];
		t->part[i].number = i;
		t->part[i].first_lba = off / sector_len;
		off += c[i].part_len;
		t->part[i].last_lba = off / sector_len - 1;
	}
	t->first_usable_lba = gpt_head_len(sector_len) / sector_len;
	t->last_usable_lba = off / sector_len;
	disk.len = off + sector_len + gpt_tail_len(sector_len);
	t->lba_cnt = disk.len / sector_len;
	disk.b = calloc(1, disk.len);
	assert_non_null(disk.b);
	assert_int_equal(gpt_encode(t, disk.b, disk.b + disk.len - gpt_tail_len(sector_len), NULL),
	                 0);
	for (uint32_t i = 0; i < cnt; i++)
		memcpy(disk.b + t->part[i].first_lba * sector_len, c[i].b, c[i].len);
	free(t);
	return disk;
}

static struct bytes make_two(const struct verity_disk *v)
{
	const struct content c[] = { data_of(v), hash_of(v) };

	return make_gpt(512, c, 2, NULL);
}

/* ---- opening them ---- */

static struct image_options options_for(const struct verity_disk *v)
{
	struct image_options o = { .root_len = v->root_len };

	memcpy(o.root, v->root, v->root_len);
	return o;
}

static int open_disk(struct bytes disk, const struct bytes *hash, const struct image_options *o,
                     struct image **out, struct diag *d)
{
	scoped(blk) struct blk *b = NULL;
	scoped(blk) struct blk *h = NULL;
	int r = blk_of_memory(disk.b, disk.len, "disk", &b);

	if (r == 0 && hash)
		r = blk_of_memory(hash->b, hash->len, "hashes", &h);
	if (r < 0)
		return diag_set(d, r, "out of memory");
	r = image_open_blk(b, h, o, out, d);
	if (r < 0)
		return r;
	take_ptr(b);
	take_ptr(h);
	return 0;
}

/* Does the file read as it was packed? Its first bytes that differ are a failure of the test. */
static bool file_reads(const struct image *img)
{
	const struct erofs *fs = image_erofs(img);
	size_t len = (size_t)(erofs_get_info(fs)->blk_cnt - 1) * BLOCK;
	scoped_free uint8_t *got = malloc(len);
	scoped_free uint8_t *expected = malloc(len);
	struct erofs_inode ino;
	uint64_t nid;

	assert_non_null(got);
	assert_non_null(expected);
	support_fill(expected, len, CONTENT);
	if (erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &ino, NULL) < 0 ||
	    erofs_lookup(fs, &ino, "f", 1, &nid, NULL) < 0 ||
	    erofs_inode_get(fs, nid, &ino, NULL) < 0 ||
	    erofs_read(fs, &ino, 0, got, len, NULL) != (int64_t)len)
		return false;
	assert_memory_equal(got, expected, len);
	return true;
}

static void assert_opens(struct bytes disk, const struct bytes *hash, const struct image_options *o,
                         const char *layout)
{
	scoped(image) struct image *img = NULL;
	struct diag d = DIAG_INIT;

	if (open_disk(disk, hash, o, &img, &d) < 0)
		fail_msg("%s", d.text);
	assert_string_equal(image_layout(img), layout);
	assert_true(file_reads(img));
}

static void assert_refused(struct bytes disk, const struct image_options *o, int err,
                           const char *words)
{
	struct image *img = NULL;
	struct diag d = DIAG_INIT;

	assert_int_equal(open_disk(disk, NULL, o, &img, &d), err);
	assert_null(img);
	assert_int_equal(d.err, err);
	if (!strstr(d.text, words))
		fail_msg("\"%s\" does not say \"%s\"", d.text, words);
}

/* ---- finding ---- */

static void flat_disk_is_found(void **state)
{
	struct verity_disk v;
	struct image_options o;

	(void)state;
	make_parts(&v, 20, 20);
	o = options_for(&v);
	struct bytes disk = make_flat(&v);
	assert_opens(disk, NULL, &o, "flat");
	o.has_hash_off = true;
	o.hash_off = v.data_len;
	assert_opens(disk, NULL, &o, "flat");
	free(disk.b);
	verity_disk_free(&v);
}

static void two_partitions_are_found_with_both_sector_sizes(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 30);
	struct image_options o = options_for(&v);
	const struct content c[] = { data_of(&v), hash_of(&v) };

	for (uint32_t sector_len = 512; sector_len <= 4096; sector_len *= 8) {
		struct bytes disk = make_gpt(sector_len, c, 2, NULL);

		assert_opens(disk, NULL, &o, "partitions 1 and 2");
		free(disk.b);
	}
	verity_disk_free(&v);
}

static void swapped_partitions_show_their_roles(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	const struct content c[] = { hash_of(&v), data_of(&v) };
	struct bytes disk = make_gpt(512, c, 2, NULL);

	assert_opens(disk, NULL, &o, "partitions 2 and 1");
	/* who names them the wrong way round is not corrected */
	o.data_part = 1;
	o.hash_part = 2;
	assert_refused(disk, &o, -EUCLEAN, "no verity superblock");
	free(disk.b);
	verity_disk_free(&v);
}

static void partitions_are_found_by_the_root_hash_among_others(void **state)
{
	struct verity_disk v, other;
	struct uuid ids[4] = { { { 1 } }, { { 2 } }, { { 3 } }, { { 4 } } };

	(void)state;
	make_parts(&v, 20, 20);
	make_parts(&other, 10, 10);
	struct image_options o = options_for(&v);
	const struct content c[] = { data_of(&other), hash_of(&other), hash_of(&v), data_of(&v) };

	struct bytes nameless = make_gpt(512, c, 4, ids);
	assert_refused(nameless, &o, -EUCLEAN, "--data-partition and --hash-partition");
	o.data_part = 4;
	o.hash_part = 3;
	assert_opens(nameless, NULL, &o, "partitions 4 and 3");
	o.hash_part = 2;
	assert_refused(nameless, &o, -EBADMSG, "root hash");
	o.hash_part = 9;
	assert_refused(nameless, &o, -EINVAL, "no partition 9");
	o.hash_part = 0;
	assert_refused(nameless, &o, -EINVAL, "together");
	o.data_part = 0;

	memcpy(ids[3].b, v.root, 16);
	memcpy(ids[2].b, v.root + v.root_len - 16, 16);
	struct bytes named = make_gpt(512, c, 4, ids);
	assert_opens(named, NULL, &o, "partitions 4 and 3");
	free(named.b);
	free(nameless.b);
	verity_disk_free(&other);
	verity_disk_free(&v);
}

static void damaged_primary_table_gives_way_to_the_backup(void **state)
{
	struct verity_disk v;
	struct diag d = DIAG_INIT;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_two(&v);
	struct image *img = NULL;

	assert_int_equal(open_disk(disk, NULL, &o, &img, &d), 0);
	assert_false(image_used_backup_table(img));
	image_close(img);
	disk.b[512 + 40] ^= 1;
	assert_int_equal(open_disk(disk, NULL, &o, &img, &d), 0);
	assert_true(image_used_backup_table(img));
	assert_true(file_reads(img));
	image_close(img);
	disk.b[disk.len - 512 + 40] ^= 1;
	assert_refused(disk, &o, -EBADMSG, "CRC");
	free(disk.b);
	verity_disk_free(&v);
}

static void old_backup_table_behind_a_flat_disk_is_no_matter(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes old = make_two(&v), flat = make_flat(&v);

	assert_true(flat.len < old.len - gpt_tail_len(512));
	memset(old.b, 0, old.len - gpt_tail_len(512));
	memcpy(old.b, flat.b, flat.len);
	assert_opens(old, NULL, &o, "flat");
	free(old.b);
	free(flat.b);
	verity_disk_free(&v);
}

static void separate_hash_device_is_used(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 25);
	struct image_options o = options_for(&v);
	struct bytes data = { v.data, v.data_len }, hash = { v.area, v.area_len };

	assert_opens(data, &hash, &o, "separate hash device");

	/* and without a superblock, where the options say what it would */
	o.no_superblock = true;
	o.params = v.params;
	o.params.data_blk_cnt = 0;
	hash.b += v.tree_off;
	hash.len -= v.tree_off;
	assert_opens(data, &hash, &o, "separate hash device");
	o.data_blk_cnt = 25;
	assert_opens(data, &hash, &o, "separate hash device");
	o.has_hash_off = true;
	o.hash_off = v.tree_off;
	hash = (struct bytes){ v.area, v.area_len };
	assert_opens(data, &hash, &o, "separate hash device");
	verity_disk_free(&v);
}

static void what_is_no_model_disk_is_refused(void **state)
{
	struct verity_disk v;
	uint8_t zeros[8 * BLOCK] = { 0 };

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_flat(&v);

	for (size_t len = 0; len <= sizeof(zeros); len += 512)
		assert_refused((struct bytes){ zeros, len }, &o, -EUCLEAN, "no model disk");
	assert_refused((struct bytes){ disk.b, v.data_len }, &o, -EUCLEAN, "no room");
	memset(disk.b + v.data_len, 0, BLOCK);
	assert_refused(disk, &o, -EUCLEAN, "no verity superblock");
	o.has_hash_off = true;
	o.hash_off = disk.len + 1;
	assert_refused(disk, &o, -EINVAL, "behind the end");
	o.hash_off = v.data_len;
	o.data_part = o.hash_part = 1;
	assert_refused(disk, &o, -EINVAL, "--hash-offset");
	free(disk.b);
	verity_disk_free(&v);
}

static void partitions_without_a_tree_are_refused(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	const struct content c[] = { data_of(&v), data_of(&v) };
	struct bytes disk = make_gpt(512, c, 2, NULL);

	assert_refused(disk, &o, -EUCLEAN, "none of the two");
	free(disk.b);
	verity_disk_free(&v);
}

/* ---- proving ---- */

static void wrong_root_hash_is_refused(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 20);
	struct bytes flat = make_flat(&v), two = make_two(&v);

	for (size_t i = 0; i < v.root_len; i++) {
		struct image_options o = options_for(&v);

		o.root[i] ^= 0x10;
		assert_refused(flat, &o, -EBADMSG, "root hash");
		assert_refused(two, &o, -EBADMSG, "root hash");
	}
	struct image_options o = options_for(&v);
	o.root_len = 20;
	assert_refused(flat, &o, -EINVAL, "");
	free(two.b);
	free(flat.b);
	verity_disk_free(&v);
}

/*
 * The second preimage: 256 data blocks have two level-0 blocks under the top; a superblock that
 * says 2 data blocks makes those two the data, under the same root hash.
 */
static void shifted_geometry_is_refused(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 256, 256);
	struct image_options o = options_for(&v);
	size_t level_0 = v.tree_off + BLOCK;
	struct verity_params shifted = v.params;
	scoped_free uint8_t *area = calloc(1, v.tree_off + BLOCK);

	assert_non_null(area);
	assert_int_equal(v.geo.level_cnt, 2);
	assert_int_equal(v.geo.level_blk_cnt[0], 2);
	shifted.data_blk_cnt = 2;
	verity_superblock_encode(&shifted, area);
	memcpy(area + v.tree_off, v.area + v.tree_off, BLOCK);

	/* the proof alone is content with it: this is what the check is for */
	struct blk *data = NULL, *hash = NULL;
	struct vblk *proven = NULL;
	uint8_t digests[2 * BLOCK];
	assert_int_equal(blk_of_memory(v.area + level_0, 2 * BLOCK, "data", &data), 0);
	assert_int_equal(blk_of_memory(area, v.tree_off + BLOCK, "hash", &hash), 0);
	assert_int_equal(verity_open(data, hash, NULL, o.root, o.root_len, NULL, &proven, NULL), 0);
	assert_int_equal(vblk_read(proven, 0, digests, sizeof(digests), NULL), 0);
	assert_memory_equal(digests, v.area + level_0, sizeof(digests));
	vblk_close(proven);
	blk_close(hash);
	blk_close(data);

	const struct content c[] = { { v.area + level_0, 2 * BLOCK, 2 * BLOCK },
		                     { area, v.tree_off + BLOCK, v.tree_off + BLOCK } };
	struct bytes disk = make_gpt(512, c, 2, NULL);
	assert_refused(disk, &o, -EUCLEAN, "");
	free(disk.b);

	/* with the image left where it was, the proof fails at once */
	const struct content left[] = { { v.data, v.data_len, v.data_len }, c[1] };
	disk = make_gpt(512, left, 2, NULL);
	assert_refused(disk, &o, -EBADMSG, "root hash");
	free(disk.b);
	verity_disk_free(&v);
}

/*
 * The other way round: a superblock that says one level more makes the data blocks level 0, and
 * whoever chose what is in a file has chosen what they prove. Here the file's blocks are digests of
 * an attacker's own: 2 true blocks become 256, of which the upper 128 are proven and false.
 */
static void deeper_geometry_is_refused(void **state)
{
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, BLOCK, 32, 2);
	uint8_t *img = make_image(2, 2), *evil = verity_disk_data(128 * BLOCK);
	uint8_t *deep = calloc(256, BLOCK), got[BLOCK];
	scoped_free uint8_t *area = NULL;
	scoped(hash_salted) struct hash_salted *h = NULL;
	struct verity_disk v;
	struct blk *data = NULL, *hash = NULL;
	struct vblk *proven = NULL;

	(void)state;
	assert_non_null(deep);
	assert_int_equal(hash_salted_new(p.alg, p.salt, p.salt_len, true, &h), 0);
	assert_int_equal(hash_salted_blocks(h, evil, BLOCK, 128, img + BLOCK, HASH_SHA256_LEN), 0);
	verity_disk_make_over(&v, &p, img);
	struct image_options o = options_for(&v);

	/* superblock, the true top block, the true data as level 0; behind them the attacker's */
	p.data_blk_cnt = 256;
	area = calloc(4, BLOCK);
	assert_non_null(area);
	verity_superblock_encode(&p, area);
	memcpy(area + BLOCK, v.area + v.tree_off, BLOCK);
	memcpy(area + 2 * BLOCK, v.data, 2 * BLOCK);
	memcpy(deep, v.data, 2 * BLOCK); /* a superblock for who asks without proof */
	memcpy(deep + 128 * BLOCK, evil, 128 * BLOCK);

	/* the proof alone is content with it */
	assert_int_equal(blk_of_memory(deep, 256 * BLOCK, "data", &data), 0);
	assert_int_equal(blk_of_memory(area, 4 * BLOCK, "hash", &hash), 0);
	assert_int_equal(verity_open(data, hash, NULL, o.root, o.root_len, NULL, &proven, NULL), 0);
	assert_int_equal(vblk_read(proven, 200 * BLOCK, got, sizeof(got), NULL), 0);
	assert_memory_equal(got, evil + 72 * BLOCK, sizeof(got));
	vblk_close(proven);
	blk_close(hash);
	blk_close(data);

	/* but what lies before the true superblock is zeros: digests of nothing that can be found
	 */
	const struct content c[] = { { deep, 256 * BLOCK, 256 * BLOCK },
		                     { area, 4 * BLOCK, 4 * BLOCK } };
	struct bytes disk = make_gpt(512, c, 2, NULL);
	assert_refused(disk, &o, -EBADMSG, "data block 0");
	free(disk.b);
	free(deep);
	free(evil);
	verity_disk_free(&v);
}

static void tree_may_cover_the_image_or_the_partition_and_nothing_else(void **state)
{
	static const struct {
		uint32_t image, covered, part;
		bool ok;
	} cases[] = {
		{ 20, 20, 20, true },  { 20, 20, 40, true },  { 20, 40, 40, true },
		{ 20, 21, 40, false }, { 20, 39, 40, false }, { 20, 41, 40, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_disk v;

		make_parts(&v, cases[i].image, cases[i].covered);
		struct image_options o = options_for(&v);
		size_t part_len = (size_t)cases[i].part * BLOCK;
		const struct content c[] = { { v.data, MIN(v.data_len, part_len), part_len },
			                     hash_of(&v) };
		struct bytes disk = make_gpt(512, c, 2, NULL);

		if (cases[i].ok)
			assert_opens(disk, NULL, &o, "partitions 1 and 2");
		else
			assert_refused(disk, &o, -EUCLEAN, "");
		free(disk.b);
		verity_disk_free(&v);
	}
}

static void image_longer_than_the_proof_is_refused(void **state)
{
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, BLOCK, 32, 20);
	struct verity_disk v;
	uint8_t *img = make_image(21, 21);

	(void)state;
	verity_disk_make_over(&v, &p, img);
	struct image_options o = options_for(&v);
	struct bytes data = { v.data, (size_t)21 * BLOCK }, hash = { v.area, v.area_len };
	struct image *opened = NULL;

	assert_int_equal(open_disk(data, &hash, &o, &opened, NULL), -EUCLEAN);
	verity_disk_free(&v);
}

static void demanded_block_count_is_held(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_flat(&v);

	o.data_blk_cnt = 20;
	assert_opens(disk, NULL, &o, "flat");
	o.data_blk_cnt = 19;
	assert_refused(disk, &o, -EUCLEAN, "expected 19");
	free(disk.b);
	verity_disk_free(&v);
}

/* A store that shows another EROFS length to the first look at the superblock. */
struct liar {
	struct bytes disk;
	uint8_t first_super[128];
	bool has_lied;
};

static int liar_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct liar *l = ctx;

	memcpy(buf, l->disk.b + off, len);
	if (off == EROFS_SUPER_OFF && len == sizeof(l->first_super) && !l->has_lied) {
		memcpy(buf, l->first_super, len);
		l->has_lied = true;
	}
	return 0;
}

static void hint_has_to_come_true(void **state)
{
	static const struct blk_ops ops = { .read = liar_read };
	struct verity_disk v;

	(void)state;
	make_parts(&v, 20, 30); /* the tree covers 30, and lies behind 30 */
	struct image_options o = options_for(&v);
	struct liar l = { .disk = make_flat(&v) };
	struct blk *b = NULL;
	struct image *img = NULL;
	struct diag d = DIAG_INIT;
	struct erofs_super_disk super;

	memcpy(&super, l.disk.b + EROFS_SUPER_OFF, sizeof(super));
	super.blocks = le32_of(30);
	memcpy(l.first_super, &super, sizeof(super));
	assert_int_equal(blk_new(&ops, &l, l.disk.len, "liar", &b), 0);
	assert_int_equal(image_open_blk(b, NULL, &o, &img, &d), -EUCLEAN);
	assert_true(l.has_lied);
	assert_non_null(strstr(d.text, "proven EROFS image ends at 81920"));
	blk_close(b);
	free(l.disk.b);
	verity_disk_free(&v);
}

/*
 * The flat layout believes the image's own length until it is proven. A disk of two level-0 blocks
 * and a top block, and a first look that shows it a superblock of two blocks:
 */
static void shifted_geometry_of_a_flat_disk_is_refused(void **state)
{
	static const struct blk_ops ops = { .read = liar_read };
	struct verity_disk v;
	struct image *img = NULL;
	struct blk *b = NULL;
	struct diag d = DIAG_INIT;

	(void)state;
	make_parts(&v, 256, 256);
	struct image_options o = options_for(&v);
	struct liar l = { .disk = { .b = calloc(4, BLOCK), .len = 4 * BLOCK } };
	struct verity_params shifted = v.params;
	struct erofs_super_disk super;

	assert_non_null(l.disk.b);
	shifted.data_blk_cnt = 2;
	memcpy(l.disk.b, v.area + v.tree_off + BLOCK, 2 * BLOCK);
	verity_superblock_encode(&shifted, l.disk.b + 2 * BLOCK);
	memcpy(l.disk.b + 3 * BLOCK, v.area + v.tree_off, BLOCK);
	memcpy(&super, v.data + EROFS_SUPER_OFF, sizeof(super));
	super.blocks = le32_of(2);
	memcpy(l.first_super, &super, sizeof(super));

	/* honest to the first look, it is no disk at all */
	l.has_lied = true;
	assert_int_equal(blk_new(&ops, &l, l.disk.len, "liar", &b), 0);
	assert_int_equal(image_open_blk(b, NULL, &o, &img, &d), -EUCLEAN);
	/* lying, it passes the proof, and fails as an image */
	l.has_lied = false;
	assert_int_equal(image_open_blk(b, NULL, &o, &img, &d), -EUCLEAN);
	assert_true(l.has_lied);
	assert_null(strstr(d.text, "neither a partition table nor"));
	/* likewise where the areas are told by hand */
	o.has_hash_off = true;
	o.hash_off = 2 * BLOCK;
	assert_int_equal(image_open_blk(b, NULL, &o, &img, &d), -EUCLEAN);
	blk_close(b);
	free(l.disk.b);
	verity_disk_free(&v);
}

/* ---- sweeps ---- */

/*
 * Whatever byte is changed, the disk is refused with a sentence, or it opens and the file reads as
 * packed, or not at all; assert in file_reads() if other bytes come out.
 */
static void flipped_byte_never_reaches_a_reader(void **state)
{
	struct verity_disk v;
	unsigned refused = 0, unreadable = 0, harmless = 0;

	(void)state;
	make_parts(&v, 3, 3);
	struct image_options o = options_for(&v);
	struct bytes disks[] = { make_flat(&v), make_two(&v) };

	for (size_t i = 0; i < ARRAY_LEN(disks); i++)
		for (size_t at = 0; at < disks[i].len; at++) {
			struct image *img = NULL;
			struct diag d = DIAG_INIT;

			/* zeros between the structures: now and then is enough */
			if (disks[i].b[at] == 0 && at % 61 != 0)
				continue;
			disks[i].b[at] ^= 0x41;
			if (open_disk(disks[i], NULL, &o, &img, &d) < 0) {
				assert_true(d.err == -EBADMSG || d.err == -EUCLEAN ||
				            d.err == -EOPNOTSUPP || d.err == -EINVAL);
				assert_true(d.text[0] != '\0');
				refused++;
			} else if (file_reads(img)) {
				harmless++;
			} else {
				unreadable++;
			}
			image_close(img);
			disks[i].b[at] ^= 0x41;
		}
	assert_true(refused > 0 && unreadable > 0 && harmless > 0);
	free(disks[0].b);
	free(disks[1].b);
	verity_disk_free(&v);
}

static void disk_cut_anywhere_is_refused_or_whole(void **state)
{
	struct verity_disk v;

	(void)state;
	make_parts(&v, 3, 3);
	struct image_options o = options_for(&v);
	struct bytes disks[] = { make_flat(&v), make_two(&v) };

	for (size_t i = 0; i < ARRAY_LEN(disks); i++)
		for (size_t len = 0; len < disks[i].len; len += 256) {
			struct image *img = NULL;
			struct diag d = DIAG_INIT;

			if (open_disk((struct bytes){ disks[i].b, len }, NULL, &o, &img, &d) == 0)
				assert_true(file_reads(img));
			else
				assert_true(d.text[0] != '\0' && d.err != -ENOMEM);
			image_close(img);
		}
	free(disks[0].b);
	free(disks[1].b);
	verity_disk_free(&v);
}

static void every_failed_allocation_is_told(void **state)
{
	struct verity_disk v;
	struct diag d = DIAG_INIT;
	int r = -ENOMEM;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_two(&v);

	for (unsigned long k = 1; r < 0; k++) {
		struct image *img = NULL;

		assert_true(k < 1000);
		support_fail_allocation(k);
		r = open_disk(disk, NULL, &o, &img, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM || r == -EIO); /* -EIO: OpenSSL's */
		assert_true(r == 0 || (d.err == r && d.text[0] != '\0'));
		image_close(img);
	}
	free(disk.b);
	verity_disk_free(&v);
}

static void every_failed_read_is_told(void **state)
{
	struct verity_disk v;
	int r = -EIO;

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_two(&v);
	scoped(blk) struct blk *whole = NULL;

	assert_int_equal(blk_of_memory(disk.b, disk.len, "disk", &whole), 0);
	for (unsigned long k = 1; r < 0; k++) {
		struct support_fault fault = { .parent = whole, .fail_at = k, .err = -ENXIO };
		struct blk *faulty = NULL;
		struct image *img = NULL;
		struct diag d = DIAG_INIT;

		assert_true(k < 100);
		assert_int_equal(support_fault_blk(&fault, &faulty), 0);
		r = image_open_blk(faulty, NULL, &o, &img, &d);
		if (r < 0) {
			assert_int_equal(r, -ENXIO);
			assert_true(d.err == r && d.text[0] != '\0');
			blk_close(faulty);
		}
		image_close(img);
	}
	free(disk.b);
	verity_disk_free(&v);
}

static void files_are_opened_by_their_path(void **state)
{
	struct verity_disk v;
	struct diag d = DIAG_INIT;
	struct image *img = NULL;
	char *dir = support_make_dir(), path[512];

	(void)state;
	make_parts(&v, 20, 20);
	struct image_options o = options_for(&v);
	struct bytes disk = make_two(&v);

	snprintf(path, sizeof(path), "%s/disk", dir);
	assert_int_equal(image_open(path, &o, &img, &d), -ENOENT);
	assert_non_null(strstr(d.text, path));
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(disk.b, 1, disk.len, f), disk.len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(image_open(path, &o, &img, &d), 0);
	assert_true(file_reads(img));
	image_close(img);
	o.hash_device = "/dev/null";
	assert_int_equal(image_open(path, &o, &img, &d), -EINVAL);
	support_remove_dir(dir);
	free(disk.b);
	verity_disk_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flat_disk_is_found),
		cmocka_unit_test(two_partitions_are_found_with_both_sector_sizes),
		cmocka_unit_test(swapped_partitions_show_their_roles),
		cmocka_unit_test(partitions_are_found_by_the_root_hash_among_others),
		cmocka_unit_test(damaged_primary_table_gives_way_to_the_backup),
		cmocka_unit_test(old_backup_table_behind_a_flat_disk_is_no_matter),
		cmocka_unit_test(separate_hash_device_is_used),
		cmocka_unit_test(what_is_no_model_disk_is_refused),
		cmocka_unit_test(partitions_without_a_tree_are_refused),
		cmocka_unit_test(wrong_root_hash_is_refused),
		cmocka_unit_test(shifted_geometry_is_refused),
		cmocka_unit_test(deeper_geometry_is_refused),
		cmocka_unit_test(tree_may_cover_the_image_or_the_partition_and_nothing_else),
		cmocka_unit_test(image_longer_than_the_proof_is_refused),
		cmocka_unit_test(demanded_block_count_is_held),
		cmocka_unit_test(hint_has_to_come_true),
		cmocka_unit_test(shifted_geometry_of_a_flat_disk_is_refused),
		cmocka_unit_test(flipped_byte_never_reaches_a_reader),
		cmocka_unit_test(disk_cut_anywhere_is_refused_or_whole),
		cmocka_unit_test(every_failed_allocation_is_told),
		cmocka_unit_test(every_failed_read_is_told),
		cmocka_unit_test(files_are_opened_by_their_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
