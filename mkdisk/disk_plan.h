/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything lies on the disk: systemd-repart's space allocation, GPT identifiers, dm-verity
 * parameters; or the flat layout. Pure: definitions, disk size and the EROFS image's length go in,
 * offsets come out. No I/O, no clock, no randomness. Formats and derivations: docs/format.md. One
 * thread; results are plain values.
 */
#ifndef MODELDISK_DISK_PLAN_H
#define MODELDISK_DISK_PLAN_H

#include "compat.h"
#include "definitions.h"
#include "gpt.h"
#include "verity.h"

/* Everything that follows from definitions and seed alone, before the tree is known. */
struct disk_identity {
	char label[DEFINITIONS_MAX][GPT_NAME_LEN]; /* definition order */
	struct uuid part_id[DEFINITIONS_MAX];      /* given or derived; see id_from_root */
	int8_t id_from_root[DEFINITIONS_MAX];      /* -1 no; 0: first 16 bytes of the root hash; 1:
	                                              bytes 16..31 */
	struct uuid disk_id; /* of a table repart makes itself; the sgdisk step has its own */
	struct uuid fs_uuid;
	struct uuid verity_uuid;
	uint8_t salt[32];
};
int disk_identity_init(struct disk_identity *out, const struct definitions *defs,
                       const struct uuid *seed, struct diag *d) MUST_CHECK;

enum disk_coverage { DISK_COVER_PARTITION, DISK_COVER_FILESYSTEM };

struct disk_plan_options {
	uint32_t sector_len;    /* 512 or 4096 */
	uint32_t fs_sector_len; /* default of both verity block sizes: 4096 for files */
	bool table_by_repart;   /* --empty=force: repart makes the table (first usable LBA 2048,
	                           derived disk GUID) */
	struct uuid disk_id;    /* else: what sgdisk was told */
	enum disk_coverage coverage;
	const struct compat *compat;
};

struct disk_part {
	uint64_t off, len, padding; /* bytes */
};

/*
 * A region of the disk; regions touch, never overlap, and cover the disk from 0 to disk_len in
 * order.
 */
enum disk_region_kind {
	DISK_REGION_TABLE,      /* GPT head or tail; bytes known when the root hash is */
	DISK_REGION_IMAGE,      /* the EROFS image */
	DISK_REGION_SUPERBLOCK, /* verity superblock, zero-padded to the tree's start */
	DISK_REGION_TREE,
	DISK_REGION_ZERO,
};
struct disk_region {
	uint64_t off, len;
	enum disk_region_kind kind;
	const char *what; /* "primary GPT", "unused", ...: static text */
};
#define DISK_MAX_REGIONS (2 * DEFINITIONS_MAX + 16)

struct disk_plan {
	uint64_t disk_len; /* bytes of the disk; the part of it behind the last whole sector belongs
	                      to no one */
	bool has_table;
	struct gpt table; /* part[].id of root-derived GUIDs is filled in by disk_plan_set_root() */
	int8_t id_from_root[GPT_MAX_PARTS];
	struct disk_part part[DEFINITIONS_MAX];
	size_t part_cnt;
	uint64_t image_off, image_len; /* EROFS */
	uint64_t covered_len;          /* bytes from image_off under the tree: verity.data_blk_cnt *
	                                  data_block_len */
	uint64_t hash_off;             /* verity superblock */
	uint64_t tree_off;             /* first tree byte on the disk */
	uint64_t signature_off;        /* signature partition, 0: none */
	struct verity_params verity;
	struct verity_geometry geometry;
	struct disk_region region[DISK_MAX_REGIONS];
	size_t region_cnt;
};

/*
 * The smallest disk (bytes, a multiple of 4096) that holds an image of image_len: --size=auto. With
 * definitions that set maximum sizes some blocks less may do too. -ENOSPC: no disk is large enough;
 * errors of disk_plan_repart() that do not depend on the disk's length.
 */
int disk_plan_min_len(const struct definitions *defs, const struct disk_identity *id,
                      const struct disk_plan_options *opt, uint64_t image_len, uint64_t *out,
                      struct diag *d) MUST_CHECK;
/*
 * -ENOSPC with the size needed when the disk is too small for the definitions or the image, or the
 * tree for its partition.
 */
int disk_plan_repart(const struct definitions *defs, const struct disk_identity *id,
                     const struct disk_plan_options *opt, uint64_t disk_len, uint64_t image_len,
                     struct disk_plan *out, struct diag *d) MUST_CHECK;
/* The flat layout: image, superblock, tree, end. disk_len in the result is exact. salt of 1..256
 * bytes. */
int disk_plan_flat(uint64_t image_len, const void *salt, size_t salt_len,
                   const struct uuid *verity_uuid, struct disk_plan *out, struct diag *d)
        MUST_CHECK;
/* Fills in what comes from the root hash (32 bytes). */
void disk_plan_set_root(struct disk_plan *p, const uint8_t root[32]);

#endif
