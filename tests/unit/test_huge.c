/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk of 600 GB that nobody could store here: all zeros but for two blocks, and a hash tree of
 * which only the different blocks are kept. What it takes to open it and to read a byte is counted,
 * not timed.
 */
#include "support.h"

#include <errno.h>
#include <sys/stat.h>

#include "image.h"
#include "tiny_erofs.h"

#define BLOCK    4096
#define BLK_CNT  UINT64_C(146484375) /* 600 GB */
#define FILE_NID 60
#define DIR_BLK  1
#define FILE_BLK 2
#define FILE_LEN ((BLK_CNT - FILE_BLK) * BLOCK)
#define MAX_RUNS 16384

/* Equal hash blocks one behind the other. */
struct run {
	uint64_t off, len; /* in the tree */
	uint8_t block[BLOCK];
};

struct huge_disk {
	struct tiny_erofs head; /* its first blocks */
	struct verity_params params;
	struct verity_geometry geo;
	uint8_t super[VERITY_SUPERBLOCK_LEN];
	uint8_t root[HASH_MAX_LEN];
	struct run *run;
	size_t run_cnt;
	uint64_t read_cnt, read_len;
};

static int keep_run(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct huge_disk *h = ctx;
	struct run *last = h->run_cnt ? &h->run[h->run_cnt - 1] : NULL;

	(void)d;
	if (last && off == last->off + last->len && memcmp(last->block, buf, BLOCK) == 0) {
		last->len += len;
		return 0;
	}
	assert_true(h->run_cnt < MAX_RUNS);
	h->run[h->run_cnt] = (struct run){ .off = off, .len = len };
	memcpy(h->run[h->run_cnt++].block, buf, BLOCK);
	return 0;
}

static uint8_t tree_byte(const struct huge_disk *h, uint64_t off)
{
	size_t i = 0;

	while (i < h->run_cnt && !(off >= h->run[i].off && off - h->run[i].off < h->run[i].len))
		i++;
	assert_true(i < h->run_cnt);
	return h->run[i].block[off % BLOCK];
}

static uint8_t byte_at(const struct huge_disk *h, uint64_t off)
{
	if (off < h->head.len)
		return h->head.bytes[off];
	if (off < BLK_CNT * BLOCK)
		return 0;
	off -= BLK_CNT * BLOCK;
	if (off < BLOCK)
		return off < sizeof(h->super) ? h->super[off] : 0;
	return tree_byte(h, off - BLOCK);
}

static int read_huge(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct huge_disk *h = ctx;
	uint8_t *to = buf;

	h->read_cnt++;
	h->read_len += len;
	for (size_t i = 0; i < len; i++)
		to[i] = byte_at(h, off + i);
	return 0;
}

static void make_image(struct tiny_erofs *t)
{
	static const struct tiny_name names[] = { { ".", TINY_ROOT_NID, 2 },
		                                  { "..", TINY_ROOT_NID, 2 },
		                                  { "f", FILE_NID, 1 } };
	const struct erofs_extended_disk file = {
		.format = le16_of(EROFS_LAYOUT_PLAIN << EROFS_FORMAT_LAYOUT_SHIFT | 1),
		.mode = le16_of(S_IFREG | 0644),
		.size = le64_of(FILE_LEN),
		.u = le32_of(FILE_BLK),
		.nlink = le32_of(1),
	};

	tiny_erofs_make(t, 12, FILE_BLK);
	tiny_erofs_super(t)->blocks = le32_of((uint32_t)BLK_CNT);
	tiny_erofs_directory(t, TINY_ROOT_NID, DIR_BLK, names, ARRAY_LEN(names));
	tiny_erofs_put(t, FILE_NID * EROFS_SLOT_LEN, &file, sizeof(file));
	tiny_erofs_seal(t->bytes, t->len);
}

static struct huge_disk *make_disk(void)
{
	struct huge_disk *h = calloc(1, sizeof(*h));
	struct verity_build *b = NULL;

	assert_non_null(h);
	h->run = calloc(MAX_RUNS, sizeof(*h->run));
	assert_non_null(h->run);
	make_image(&h->head);
	h->params = (struct verity_params){ .alg = HASH_SHA256,
		                            .hash_type = 1,
		                            .data_block_len = BLOCK,
		                            .hash_block_len = BLOCK,
		                            .data_blk_cnt = BLK_CNT };
	assert_int_equal(verity_geometry_init(&h->geo, &h->params, NULL), 0);
	verity_superblock_encode(&h->params, h->super);
	assert_int_equal(verity_build_new(&h->params, keep_run, h, &b, NULL), 0);
	assert_int_equal(verity_build_add(b, 0, FILE_BLK, h->head.bytes, NULL), 0);
	assert_int_equal(verity_build_add_zero(b, FILE_BLK, BLK_CNT - FILE_BLK, NULL), 0);
	assert_int_equal(verity_build_finish(b, h->root, NULL), 0);
	verity_build_free(b);
	return h;
}

static void free_disk(struct huge_disk *h)
{
	tiny_erofs_free(&h->head);
	free(h->run);
	free(h);
}

static void a_disk_of_600_gb_takes_as_little_to_open_as_a_small_one(void **state)
{
	static const struct blk_ops ops = { .read = read_huge };
	struct huge_disk *h = make_disk();
	struct image_options o = { .root_len = HASH_SHA256_LEN };
	uint64_t size = BLK_CNT * BLOCK + BLOCK + h->geo.tree_len, nid = 0, opened;
	scoped(blk) struct blk *b = NULL;
	scoped(image) struct image *img = NULL;
	struct erofs_inode ino;
	uint8_t byte = 1;

	(void)state;
	memcpy(o.root, h->root, o.root_len);
	assert_int_equal(blk_new(&ops, h, size, "huge", &b), 0);
	assert_int_equal(image_open_blk(b, NULL, &o, &img, NULL), 0);
	take_ptr(b);
	/* table, superblocks, and one block of each level at both ends of the tree */
	assert_true(h->read_cnt < 32 && h->read_len < 256 * KIB);
	opened = h->read_cnt;
	assert_int_equal(erofs_inode_get(image_erofs(img), TINY_ROOT_NID, &ino, NULL), 0);
	assert_int_equal(erofs_lookup(image_erofs(img), &ino, "f", 1, &nid, NULL), 0);
	assert_int_equal(erofs_inode_get(image_erofs(img), nid, &ino, NULL), 0);
	/* anywhere in it, the path to the root is all that is read beside the byte's own block */
	for (uint64_t off = 0; off < FILE_LEN; off += FILE_LEN / 7) {
		uint64_t before = h->read_cnt;

		byte = 1;
		assert_int_equal(erofs_read(image_erofs(img), &ino, off, &byte, 1, NULL), 1);
		assert_int_equal(byte, 0);
		assert_true(h->read_cnt - before <= h->geo.level_cnt);
	}
	assert_true(h->read_cnt - opened < 64);
	image_close(take_ptr(img));
	free_disk(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_of_600_gb_takes_as_little_to_open_as_a_small_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
