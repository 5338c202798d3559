/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places everything of a tree in an EROFS image exactly as mkfs.erofs 1.8.10 to 1.9.4 does
 * (docs/format.md "EROFS layout"). Pure: names, types, modes, owners, times, sizes, attributes and
 * link identity go in, addresses come out. No content, no I/O, no clock. One thread builds it;
 * immutable and shared afterwards.
 */
#ifndef MODELDISK_EROFS_PLAN_H
#define MODELDISK_EROFS_PLAN_H

#include "compat.h"
#include "erofs_xattr.h"
#include "text.h"
#include "tree.h"

#define EROFS_PLAN_BLOCK_LEN 4096

struct erofs_plan_options {
	struct uuid uuid;
	bool keep_owners; /* uid and gid as in the tree; else 0:0 */
	bool keep_xattrs; /* else none (mkfs.erofs -x-1) */
	uint64_t epoch;   /* SOURCE_DATE_EPOCH: times are min(mtime, epoch), and times before 1970
	                     count as later than any epoch. With 0 all times are 0, as with -T0. */
	const struct compat *compat; /* borrowed during the call */
};

/*
 * Where one node's inode and bytes lie; indexed by tree_node.index. Hard links have inode_len 0:
 * ask for node->link. For files, symlinks and directories data_len + tail_len is the size.
 */
struct erofs_place {
	uint64_t inode_off; /* byte offset of the inode in the image */
	uint64_t data_off;  /* first data block as a byte offset; meaningless when data_len is 0 */
	uint64_t data_len;  /* bytes of content from data_off on: size rounded down to 4096, or all
	                       of it when the tail is not inline (the last block is then
	                       zero-padded) */
	uint32_t serial;    /* inode number, 1 for the root */
	uint32_t nlink;
	uint32_t xattr_len; /* bytes of the xattr body behind the inode */
	uint16_t tail_len;  /* inline tail at inode_off + inode_len + xattr_len; 0 when none is
	                       inline */
	uint8_t inode_len;  /* 32 or 64; 0 for a hard link */
};

/* Where the inline tail lies, as a byte offset in the image. */
static inline uint64_t erofs_place_tail_off(const struct erofs_place *p)
{
	return p->inode_off + p->inode_len + p->xattr_len;
}

struct erofs_plan;
/*
 * tree must be finished; both are borrowed and must outlive the plan. -EFBIG: more than 2^32 - 1
 * blocks, or a directory of 4 GiB; -EOPNOTSUPP: more attributes on an inode than EROFS can hold.
 */
int erofs_plan_new(const struct tree *tree, const struct erofs_plan_options *opt,
                   struct erofs_plan **out, struct diag *d) MUST_CHECK;
void erofs_plan_free(struct erofs_plan *p);
DEFINE_SCOPED(erofs_plan, struct erofs_plan *, erofs_plan_free)

uint64_t erofs_plan_image_len(const struct erofs_plan *p); /* a multiple of 4096 */
const struct erofs_place *erofs_plan_place(const struct erofs_plan *p, const struct tree_node *n);
uint64_t erofs_plan_dir_size(const struct erofs_plan *p, const struct tree_node *dir);

/*
 * What erofs_image.c makes bytes of, besides the places.
 */
struct erofs_plan_super {
	struct uuid uuid;
	uint64_t epoch;
	uint32_t inode_cnt, block_cnt;
	uint32_t meta_blk, xattr_blk;
	uint16_t root_nid;
	uint32_t feature_compat, feature_incompat;
};
const struct erofs_plan_super *erofs_plan_super(const struct erofs_plan *p);
const struct tree *erofs_plan_tree(const struct erofs_plan *p);
const struct erofs_xattrs *erofs_plan_xattrs(const struct erofs_plan *p);
/* Owner and time as the image says them. */
struct erofs_plan_stamp {
	uint32_t uid, gid;
	uint64_t mtime_s;
	uint32_t mtime_ns;
};
void erofs_plan_get_stamp(const struct erofs_plan *p, const struct tree_node *n,
                          struct erofs_plan_stamp *out);
/* The number that directory entries have for the inode; n is not a hard link. */
uint64_t erofs_plan_nid(const struct erofs_plan *p, const struct tree_node *n);

#endif
