/* SPDX-License-Identifier: Apache-2.0 */
/* Small disks with a hash tree, for the tests of builder and reader. */
#include "support.h"

#include "verity_disk.h"

#include <errno.h>

#define DATA_SEED 7
#define SALT_SEED 9

struct verity_params verity_disk_params(enum hash_alg alg, uint32_t hash_type,
                                        uint32_t data_block_len, uint32_t hash_block_len,
                                        uint16_t salt_len, uint64_t data_blk_cnt)
{
	struct verity_params p = {
		.alg = alg,
		.hash_type = hash_type,
		.data_block_len = data_block_len,
		.hash_block_len = hash_block_len,
		.salt_len = salt_len,
		.data_blk_cnt = data_blk_cnt,
	};

	support_fill(p.salt, salt_len, SALT_SEED);
	assert_int_equal(uuid_parse("11111111-2222-3333-4444-555555555555", &p.uuid), 0);
	return p;
}

uint8_t *verity_disk_data(size_t len)
{
	uint8_t *data = malloc(len);

	assert_non_null(data);
	support_fill(data, len, DATA_SEED);
	return data;
}

int verity_disk_sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct verity_disk *disk = ctx;

	(void)d;
	if (!range_is_inside(off, len, disk->geo.tree_len))
		return -ERANGE;
	memcpy(disk->area + disk->tree_off + off, buf, len);
	return 0;
}

void verity_disk_make(struct verity_disk *disk, const struct verity_params *p)
{
	verity_disk_make_over(disk, p, verity_disk_data(p->data_blk_cnt * p->data_block_len));
}

void verity_disk_make_over(struct verity_disk *disk, const struct verity_params *p, uint8_t *data)
{
	struct verity_build *b = NULL;
	struct diag d = DIAG_INIT;

	*disk = (struct verity_disk){ .params = *p, .data = data };
	assert_int_equal(verity_geometry_init(&disk->geo, p, &d), 0);
	disk->data_len = p->data_blk_cnt * p->data_block_len;
	disk->tree_off = verity_tree_off(p);
	disk->area_len = disk->tree_off + disk->geo.tree_len;
	disk->area = calloc(1, disk->area_len);
	assert_non_null(disk->area);
	verity_superblock_encode(p, disk->area);
	disk->root_len = hash_len(p->alg);

	assert_int_equal(verity_build_new(p, verity_disk_sink, disk, &b, &d), 0);
	assert_int_equal(verity_build_add(b, 0, p->data_blk_cnt, disk->data, &d), 0);
	assert_int_equal(verity_build_finish(b, disk->root, &d), 0);
	verity_build_free(b);
}

void verity_disk_free(struct verity_disk *disk)
{
	free(disk->data);
	free(disk->area);
}
