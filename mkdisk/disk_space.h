/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much room the partitions of a disk need and get, before anything of it has a name: for
 * disk_plan.c only. The questions are asked for many disk lengths while the smallest one is sought,
 * so what does not depend on the disk's length is worked out once.
 */
#ifndef MODELDISK_DISK_SPACE_H
#define MODELDISK_DISK_SPACE_H

#include "allocate.h"
#include "disk_plan.h"

#define DISK_SPACE_STEP    4096 /* disks are sought in steps of this */
#define DISK_SPACE_MAX_LEN (ALLOCATE_MAX_LEN - 4096)

struct disk_space {
	const struct definitions *defs;      /* borrowed */
	const struct disk_plan_options *opt; /* borrowed */
	uint64_t image_len;
	uint64_t tree_covers; /* bytes, whatever the partition's length; 0: the whole partition */
	struct allocate_part part[DEFINITIONS_MAX];
	struct verity_params verity; /* block sizes and algorithm */
};

/* One way to lay out a disk of disk_len bytes. */
struct disk_layout {
	uint64_t lba_cnt, first_usable_lba, last_usable_lba;
	struct allocate_place place[DEFINITIONS_MAX];
	size_t minima_cnt;           /* allocate.h */
	struct verity_params verity; /* with data_blk_cnt */
	struct verity_geometry geometry;
};

enum disk_space_verdict {
	DISK_SPACE_FITS,
	DISK_SPACE_NO_PARTITIONS, /* their minima are larger than the free area */
	DISK_SPACE_NO_IMAGE,      /* the data partition is smaller than the image */
	DISK_SPACE_NO_TREE,       /* the hash partition is smaller than the tree */
};

/* -EINVAL: bounds that contradict each other; -EOPNOTSUPP: block sizes we do not make. */
int disk_space_init(struct disk_space *s, const struct definitions *defs,
                    const struct disk_plan_options *opt, uint64_t image_len, struct diag *d)
        MUST_CHECK;
/* disk_len at most DISK_SPACE_MAX_LEN. out is complete when it fits; without a tree's room
 * everything but that holds. */
enum disk_space_verdict disk_space_lay_out(const struct disk_space *s, uint64_t disk_len,
                                           struct disk_layout *out);
/* The smallest multiple of DISK_SPACE_STEP that fits; where definitions set maxima, one that is
 * close to it. -ENOSPC: no disk does; -EOPNOTSUPP: the search was given up. */
int disk_space_min_len(const struct disk_space *s, uint64_t *out, struct diag *d) MUST_CHECK;

#endif
