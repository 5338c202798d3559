/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "verity_disk.h"
#include "verity_golden.h"

#include <errno.h>

static void tree_equals_that_of_veritysetup(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verity_golden); i++) {
		const struct verity_golden *g = &verity_golden[i];
		struct verity_params p =
		        verity_disk_params(g->alg, g->hash_type, g->data_block_len,
		                           g->hash_block_len, g->salt_len, g->data_blk_cnt);
		struct verity_disk disk;
		char root[2 * HASH_MAX_LEN + 1], area[2 * HASH_SHA256_LEN + 1];
		uint8_t area_digest[HASH_SHA256_LEN];

		verity_disk_make(&disk, &p);
		hex_encode(disk.root, disk.root_len, root);
		assert_string_equal(root, g->root);
		assert_int_equal(hash_sha256(disk.area, disk.area_len, area_digest), 0);
		hex_encode(area_digest, sizeof(area_digest), area);
		assert_string_equal(area, g->area_sha256);
		verity_disk_free(&disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_equals_that_of_veritysetup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
