/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "verity_disk.h"
#include "verity_golden.h"

#include <errno.h>

static void every_golden_disk_reads_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verity_golden); i++) {
		const struct verity_golden *g = &verity_golden[i];
		struct verity_params p =
		        verity_disk_params(g->alg, g->hash_type, g->data_block_len,
		                           g->hash_block_len, g->salt_len, g->data_blk_cnt);
		struct verity_disk disk;
		struct blk *data = NULL, *hash = NULL;
		struct vblk *v = NULL;
		struct diag d = DIAG_INIT;
		uint8_t *buf;

		verity_disk_make(&disk, &p);
		buf = malloc(disk.data_len);
		assert_int_equal(blk_of_memory(disk.data, disk.data_len, "data", &data), 0);
		assert_int_equal(blk_of_memory(disk.area, disk.area_len, "hash", &hash), 0);
		if (verity_open(data, hash, NULL, disk.root, disk.root_len, NULL, &v, &d))
			fail_msg("%s", d.text);
		assert_int_equal(vblk_size(v), disk.data_len);
		assert_int_equal(vblk_read(v, 0, buf, disk.data_len, &d), 0);
		assert_memory_equal(buf, disk.data, disk.data_len);
		free(buf);
		vblk_close(v);
		blk_close(data);
		blk_close(hash);
		verity_disk_free(&disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_golden_disk_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
