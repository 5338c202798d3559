/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.c: every bad block is found, each once, whatever the number of threads; nothing else is.
 */
#include "support.h"

#include <errno.h>

#include "scan.h"
#include "verity_disk.h"

#define BLOCK    1024
#define HASH_BLK 512 /* sixteen digests: four levels over so few blocks */
#define BLK_CNT  5000

static struct verity_disk v;
static uint8_t *flat;
static size_t flat_len;
static _Atomic uint64_t told;

static int make(void **state)
{
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, HASH_BLK, 16, BLK_CNT);

	(void)state;
	verity_disk_make(&v, &p);
	flat_len = v.data_len + v.area_len;
	flat = malloc(flat_len);
	assert_non_null(flat);
	memcpy(flat, v.data, v.data_len);
	memcpy(flat + v.data_len, v.area, v.area_len);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	free(flat);
	verity_disk_free(&v);
	return 0;
}

static struct image_options options(void)
{
	struct image_options o = { .root_len = v.root_len,
		                   .has_hash_off = true,
		                   .hash_off = v.data_len,
		                   .proof_only = true,
		                   .verity.on_failure = scan_note_failure };

	memcpy(o.root, v.root, v.root_len);
	return o;
}

static void count_bytes(uint64_t bytes)
{
	told += bytes;
}

/* Scans the flat disk, of which the k-th read fails; 0: none. */
static int scan(unsigned thread_cnt, unsigned long k, struct scan *out)
{
	struct image_options o = options();
	struct support_fault fault = { .err = -EIO };
	struct image *img = NULL;
	struct blk *memory, *disk;
	int r;

	assert_int_equal(blk_of_memory(flat, flat_len, "disk", &memory), 0);
	fault.parent = memory;
	assert_int_equal(support_fault_blk(&fault, &disk), 0);
	assert_int_equal(image_open_blk(disk, NULL, &o, &img, NULL), 0);
	fault.fail_at = k ? fault.read_cnt + k : 0;
	told = 0;
	r = scan_image(img, thread_cnt, count_bytes, out, NULL);
	image_close(img);
	blk_close(memory);
	return r;
}

static void an_intact_disk_has_no_bad_block(void **state)
{
	(void)state;
	for (unsigned threads = 0; threads < 5; threads++) {
		struct scan s;

		assert_int_equal(scan(threads, 0, &s), 0);
		assert_int_equal(s.bad_cnt, 0);
		assert_false(s.is_cut);
		assert_int_equal(told, v.data_len);
		scan_release(&s);
	}
}

static void expect_one(int level, uint64_t blk)
{
	uint64_t per_blk = BLOCK, off, len;
	struct scan s;

	for (int i = 0; i <= level; i++)
		per_blk *= v.geo.digests_per_block;
	off = blk * per_blk;
	len = MIN(per_blk, v.data_len - off);
	assert_int_equal(scan(3, 0, &s), 0);
	assert_int_equal(s.bad_cnt, 1);
	assert_int_equal(s.bad[0].kind, VERITY_FAILURE_PROOF);
	assert_int_equal(s.bad[0].level, level);
	assert_int_equal(s.bad[0].blk, blk);
	assert_int_equal(s.bad[0].data_off, off);
	assert_int_equal(s.bad[0].data_len, len);
	assert_int_equal(told, v.data_len);
	scan_release(&s);
}

static void a_flipped_bit_in_any_data_block_is_found(void **state)
{
	(void)state;
	for (uint64_t blk = 0; blk < BLK_CNT - 1; blk += blk < 20 ? 1 : 397) {
		flat[blk * BLOCK + blk % BLOCK] ^= 0x10;
		expect_one(-1, blk);
		flat[blk * BLOCK + blk % BLOCK] ^= 0x10;
	}
}

/* The last block of each level is proven when the disk is opened, and so is the top. */
static void a_flipped_bit_in_any_hash_block_is_found(void **state)
{
	(void)state;
	assert_true(v.geo.level_cnt >= 3);
	for (uint32_t level = 0; level + 1 < v.geo.level_cnt; level++)
		for (uint64_t blk = 0; blk + 1 < v.geo.level_blk_cnt[level];
		     blk += level > 0 ? 1 : 61) {
			uint8_t *at = flat + v.data_len + v.tree_off +
			              (v.geo.level_blk[level] + blk) * HASH_BLK + 5;

			*at ^= 1;
			expect_one((int)level, blk);
			*at ^= 1;
		}
}

static void many_bad_blocks_are_listed_in_order(void **state)
{
	(void)state;
	for (unsigned threads = 1; threads < 5; threads += 3) {
		struct scan s;

		for (uint64_t blk = 0; blk < BLK_CNT - 1; blk += 3)
			flat[blk * BLOCK] ^= 1;
		assert_int_equal(scan(threads, 0, &s), 0);
		assert_int_equal(s.bad_cnt, (BLK_CNT - 1 + 2) / 3);
		for (size_t i = 0; i < s.bad_cnt; i++)
			assert_int_equal(s.bad[i].blk, 3 * i);
		scan_release(&s);
		for (uint64_t blk = 0; blk < BLK_CNT - 1; blk += 3)
			flat[blk * BLOCK] ^= 1;
	}
}

/* Read once more, block by block: a read that fails once leaves nothing behind. */
static void a_read_that_fails_once_is_no_bad_block(void **state)
{
	(void)state;
	for (unsigned long k = 1; k < 200; k += 7) {
		struct scan s;

		assert_int_equal(scan(1, k, &s), 0);
		assert_int_equal(s.bad_cnt, 0);
		assert_int_equal(told, v.data_len);
		scan_release(&s);
	}
}

static void without_memory_a_scan_fails_cleanly(void **state)
{
	struct image_options o = options();

	(void)state;
	flat[7 * BLOCK] ^= 1;
	for (unsigned long k = 1; k < 400; k += k < 20 ? 1 : 37) {
		struct scan s = { .bad = NULL };
		struct image *img;
		struct blk *disk;
		int r;

		assert_int_equal(blk_of_memory(flat, flat_len, "disk", &disk), 0);
		assert_int_equal(image_open_blk(disk, NULL, &o, &img, NULL), 0);
		support_fail_allocation(k);
		r = scan_image(img, 1, NULL, &s, NULL);
		support_fail_allocation(0);
		if (r == 0) {
			assert_true(s.bad_cnt >= 1);
			assert_int_equal(s.bad[0].blk, 7);
			scan_release(&s);
		} else {
			assert_int_equal(r, -ENOMEM);
		}
		image_close(img);
	}
	flat[7 * BLOCK] ^= 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_intact_disk_has_no_bad_block),
		cmocka_unit_test(a_flipped_bit_in_any_data_block_is_found),
		cmocka_unit_test(a_flipped_bit_in_any_hash_block_is_found),
		cmocka_unit_test(many_bad_blocks_are_listed_in_order),
		cmocka_unit_test(a_read_that_fails_once_is_no_bad_block),
		cmocka_unit_test(without_memory_a_scan_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
