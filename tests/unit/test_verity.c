/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "verity_disk.h"

#include <errno.h>

static struct verity_geometry geometry_of(enum hash_alg alg, uint32_t type, uint32_t hash_block_len,
                                          uint64_t cnt)
{
	struct verity_params p = verity_disk_params(alg, type, 4096, hash_block_len, 32, cnt);
	struct verity_geometry g;

	assert_int_equal(verity_geometry_init(&g, &p, NULL), 0);
	return g;
}

static void levels_lie_top_first(void **state)
{
	(void)state;
	/* 256 MiB disk of docs/format.md: 384 + 3 + 1 hash blocks */
	struct verity_geometry g = geometry_of(HASH_SHA256, 1, 4096, 49142);

	assert_int_equal(g.digest_stride, 32);
	assert_int_equal(g.digests_per_block, 128);
	assert_int_equal(g.level_cnt, 3);
	assert_int_equal(g.level_blk_cnt[0], 384);
	assert_int_equal(g.level_blk_cnt[1], 3);
	assert_int_equal(g.level_blk_cnt[2], 1);
	assert_int_equal(g.level_blk[2], 0);
	assert_int_equal(g.level_blk[1], 1);
	assert_int_equal(g.level_blk[0], 4);
	assert_int_equal(g.tree_blk_cnt, 388);
	assert_int_equal(g.tree_len, 388 * 4096);
}

static void a_level_is_added_when_the_one_below_is_full(void **state)
{
	static const struct {
		uint64_t cnt, tree_blk_cnt;
		uint32_t level_cnt;
	} cases[] = {
		{ 1, 0, 0 },
		{ 2, 1, 1 },
		{ 127, 1, 1 },
		{ 128, 1, 1 },
		{ 129, 3, 2 },
		{ 16384, 129, 2 },
		{ 16385, 129 + 1 + 2, 3 },
		{ 2097152, 16384 + 128 + 1, 3 },
		{ 2097153, 16385 + 129 + 2 + 1, 4 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_geometry g = geometry_of(HASH_SHA256, 1, 4096, cases[i].cnt);

		assert_int_equal(g.level_cnt, cases[i].level_cnt);
		assert_int_equal(g.tree_blk_cnt, cases[i].tree_blk_cnt);
	}
}

static void digests_are_packed_in_type_0_and_padded_in_type_1(void **state)
{
	static const struct {
		enum hash_alg alg;
		uint32_t type, hash_block_len, stride, per_block;
	} cases[] = {
		{ HASH_SHA1, 0, 4096, 20, 128 },     { HASH_SHA1, 1, 4096, 32, 128 },
		{ HASH_SHA1, 0, 512, 20, 16 },       { HASH_SHA256, 0, 4096, 32, 128 },
		{ HASH_SHA256, 1, 512, 32, 16 },     { HASH_SHA384, 0, 4096, 48, 64 },
		{ HASH_SHA384, 1, 4096, 64, 64 },    { HASH_SHA512, 0, 512, 64, 8 },
		{ HASH_SHA512, 1, 65536, 64, 1024 }, { HASH_SHA1, 1, 65536, 32, 2048 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_geometry g =
		        geometry_of(cases[i].alg, cases[i].type, cases[i].hash_block_len, 5);

		assert_int_equal(g.digest_stride, cases[i].stride);
		assert_int_equal(g.digests_per_block, cases[i].per_block);
	}
}

static void parameters_out_of_range_are_refused(void **state)
{
	static const uint32_t bad_len[] = { 0, 1, 256, 511, 513, 4095, 12288, 131072, UINT32_MAX };
	const struct verity_params good = verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 5);
	struct verity_geometry g;
	struct verity_params p;
	struct diag d = DIAG_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_len); i++) {
		p = good;
		p.data_block_len = bad_len[i];
		assert_int_equal(verity_geometry_init(&g, &p, &d), -EINVAL);
		assert_non_null(strstr(d.text, "data block size"));
		p = good;
		p.hash_block_len = bad_len[i];
		assert_int_equal(verity_geometry_init(&g, &p, &d), -EINVAL);
		assert_non_null(strstr(d.text, "hash block size"));
	}
	p = good;
	p.hash_type = 2;
	assert_int_equal(verity_geometry_init(&g, &p, &d), -EINVAL);
	p = good;
	p.data_blk_cnt = 0;
	assert_int_equal(verity_geometry_init(&g, &p, &d), -EINVAL);
	p = good;
	p.salt_len = HASH_MAX_SALT_LEN + 1;
	assert_int_equal(verity_geometry_init(&g, &p, &d), -EINVAL);
	assert_string_equal(d.text, "verity salt has 257 bytes, expected at most 256");
}

static void sizes_beyond_any_disk_are_refused(void **state)
{
	static const uint32_t len[] = { 512, 4096, 65536 };
	struct verity_geometry g;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(len); i++)
		for (size_t j = 0; j < ARRAY_LEN(len); j++) {
			struct verity_params p =
			        verity_disk_params(HASH_SHA512, 1, len[i], len[j], 0, 1);

			p.data_blk_cnt = UINT64_MAX;
			assert_int_equal(verity_geometry_init(&g, &p, NULL), -EUCLEAN);
			p.data_blk_cnt = (UINT64_C(1) << 63) / len[i];
			assert_int_equal(verity_geometry_init(&g, &p, NULL), -EUCLEAN);
			p.data_blk_cnt--;
			assert_int_equal(verity_geometry_init(&g, &p, NULL), 0);
			assert_true(g.tree_len <= INT64_MAX);
		}
}

static void superblock_says_what_it_was_told(void **state)
{
	static const enum hash_alg alg[] = { HASH_SHA256, HASH_SHA1, HASH_SHA384, HASH_SHA512 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(alg); i++)
		for (uint32_t type = 0; type < 2; type++)
			for (uint16_t salt_len = 0; salt_len <= HASH_MAX_SALT_LEN; salt_len += 64) {
				struct verity_params in =
				        verity_disk_params(alg[i], type, 512 << i, 65536 >> i,
				                           salt_len, UINT64_C(0x123456789ab));
				struct verity_params out;
				uint8_t sb[VERITY_SUPERBLOCK_LEN];

				verity_superblock_encode(&in, sb);
				assert_int_equal(verity_superblock_decode(sb, &out, NULL), 0);
				assert_int_equal(out.alg, in.alg);
				assert_int_equal(out.hash_type, in.hash_type);
				assert_int_equal(out.data_block_len, in.data_block_len);
				assert_int_equal(out.hash_block_len, in.hash_block_len);
				assert_int_equal(out.data_blk_cnt, in.data_blk_cnt);
				assert_int_equal(out.salt_len, in.salt_len);
				assert_memory_equal(out.salt, in.salt, HASH_MAX_SALT_LEN);
				assert_true(uuid_equal(&out.uuid, &in.uuid));
			}
}

static void broken_superblock_is_refused_by_name(void **state)
{
	static const struct {
		size_t off;
		const char *bytes;
		size_t len;
		int err;
		const char *sentence;
	} cases[] = {
		{ 0, "Verity", 6, -ENOENT, "no verity superblock" },
		{ 7, "x", 1, -ENOENT, "no verity superblock" },
		{ 8, "\2", 1, -EOPNOTSUPP, "verity superblock: version 2, expected 1" },
		{ 12, "\2", 1, -EUCLEAN, "verity hash type is 2, expected 0 or 1" },
		{ 32, "md5\0\0\0", 6, -EOPNOTSUPP,
		  "verity superblock: hash algorithm \"md5\" is not supported" },
		{ 32, "\0\0\0\0\0\0", 6, -EOPNOTSUPP,
		  "verity superblock: hash algorithm \"\" is not supported" },
		{ 32, "\033[2J\0\0", 6, -EOPNOTSUPP,
		  "verity superblock: hash algorithm \"\\x1b[2J\" is not supported" },
		{ 32, "01234567890123456789012345678901", 32, -EOPNOTSUPP,
		  "verity superblock: hash algorithm \"01234567890123456789012345678901\" is not "
		  "supported" },
		{ 63, "x", 1, -EUCLEAN, "verity superblock: bytes behind the algorithm's name" },
		{ 64, "\0\2\1\0", 4, -EUCLEAN,
		  "verity data block size is 66048, expected a power of two from 512 to 65536" },
		{ 68, "\0\1\0\0", 4, -EUCLEAN,
		  "verity hash block size is 256, expected a power of two from 512 to 65536" },
		{ 72, "\0\0\0\0\0\0\0\0", 8, -EUCLEAN,
		  "verity data block count is 0, expected at least 1" },
		{ 80, "\1\1", 2, -EUCLEAN, "verity salt has 257 bytes, expected at most 256" },
		{ 80, "\37", 1, -EUCLEAN, "verity superblock: reserved bytes are not zero" },
		{ 82, "\1", 1, -EUCLEAN, "verity superblock: reserved bytes are not zero" },
		{ 511, "\1", 1, -EUCLEAN, "verity superblock: reserved bytes are not zero" },
	};
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 5);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_params out = { .salt_len = 77 };
		uint8_t sb[VERITY_SUPERBLOCK_LEN];
		struct diag d = DIAG_INIT;

		verity_superblock_encode(&p, sb);
		memcpy(sb + cases[i].off, cases[i].bytes, cases[i].len);
		assert_int_equal(verity_superblock_decode(sb, &out, &d), cases[i].err);
		assert_string_equal(d.text, cases[i].sentence);
		assert_int_equal(out.salt_len, 77);
	}
}

static void no_bit_of_the_superblock_is_ignored(void **state)
{
	const struct verity_params p = verity_disk_params(HASH_SHA1, 0, 512, 1024, 32, 5);
	uint8_t sb[VERITY_SUPERBLOCK_LEN];

	(void)state;
	verity_superblock_encode(&p, sb);
	for (size_t bit = 0; bit < 8 * sizeof(sb); bit++) {
		struct verity_params out;
		uint8_t again[VERITY_SUPERBLOCK_LEN];

		sb[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (verity_superblock_decode(sb, &out, NULL) == 0) {
			verity_superblock_encode(&out, again);
			assert_memory_equal(again, sb, sizeof(sb));
		}
		sb[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_lie_top_first),
		cmocka_unit_test(a_level_is_added_when_the_one_below_is_full),
		cmocka_unit_test(digests_are_packed_in_type_0_and_padded_in_type_1),
		cmocka_unit_test(parameters_out_of_range_are_refused),
		cmocka_unit_test(sizes_beyond_any_disk_are_refused),
		cmocka_unit_test(superblock_says_what_it_was_told),
		cmocka_unit_test(broken_superblock_is_refused_by_name),
		cmocka_unit_test(no_bit_of_the_superblock_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
