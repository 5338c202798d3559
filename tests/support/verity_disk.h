/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small disk under a hash tree, in memory: pseudo-random data blocks, superblock and tree as one
 * hash area, and the root hash. Made with the builder, which has golden hashes of its own. Aborts
 * the test when something fails.
 */
#ifndef MODELDISK_VERITY_DISK_H
#define MODELDISK_VERITY_DISK_H

#include "verity.h"

struct verity_disk {
	struct verity_params params;
	struct verity_geometry geo;
	uint8_t *data, *area; /* area: superblock, padding, tree */
	size_t data_len, area_len, tree_off;
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;
};

/* Parameters as the tests use them: fixed UUID, salt of salt_len pseudo-random bytes. */
struct verity_params verity_disk_params(enum hash_alg alg, uint32_t hash_type,
                                        uint32_t data_block_len, uint32_t hash_block_len,
                                        uint16_t salt_len, uint64_t data_blk_cnt);
/* The bytes of every test disk, up to its length; malloc'ed. */
uint8_t *verity_disk_data(size_t len);
void verity_disk_make(struct verity_disk *disk, const struct verity_params *p);
/* The same over the caller's data, malloc'ed, which the disk takes. */
void verity_disk_make_over(struct verity_disk *disk, const struct verity_params *p, uint8_t *data);
/* A sink that writes to disk->area, of a disk whose area is allocated. */
int verity_disk_sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d);
void verity_disk_free(struct verity_disk *disk);

#endif
