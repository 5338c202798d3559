/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the areas of a disk are said to lie, before anything is proven. Thread-safe.
 */
#ifndef MODELDISK_LAYOUT_H
#define MODELDISK_LAYOUT_H

#include "gpt.h"
#include "image.h"

#define LAYOUT_LABEL_LEN 48

struct layout_area {
	uint64_t off, len;
	char label[LAYOUT_LABEL_LEN]; /* "partition 1" */
};

struct layout {
	struct layout_area data, hash;
	/* the data area's length is what an unproven superblock said, and must come true */
	bool len_is_hint;
	bool from_backup;            /* of the partition table */
	char text[LAYOUT_LABEL_LEN]; /* "partitions 1 and 2", "flat" */
};

/*
 * As struct image_options says; hash_disk NULL: the hash area lies on the disk. -EINVAL: options
 * that do not go together, or that name what is not there; -EUCLEAN: no layout we know; -EBADMSG: a
 * damaged table; what blk_read() gave.
 */
int layout_find(const struct blk *disk, const struct blk *hash_disk, const struct image_options *o,
                struct layout *out, struct diag *d) MUST_CHECK;

#endif
