/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of a planned EROFS image are metadata, and their bytes (docs/format.md "EROFS
 * structures"). Two kinds: mixed blocks hold the superblock, shared attributes, inodes and inline
 * tails; pure blocks hold one directory's entries or one symlink's target. Everything else in the
 * image is file data.
 *
 * Pure; immutable after it is made; thread-safe on a shared const object. Memory: 4 bytes an inode
 * and 12 a mixed block.
 */
#ifndef MODELDISK_EROFS_META_H
#define MODELDISK_EROFS_META_H

#include "erofs_plan.h"

struct erofs_meta;
/* plan is borrowed and must outlive the result. -ENOMEM. */
int erofs_meta_new(const struct erofs_plan *plan, struct erofs_meta **out, struct diag *d)
        MUST_CHECK;
void erofs_meta_free(struct erofs_meta *m);
DEFINE_SCOPED(erofs_meta, struct erofs_meta *, erofs_meta_free)

/* The mixed blocks, ascending. */
uint32_t erofs_meta_mixed_cnt(const struct erofs_meta *m);
uint64_t erofs_meta_mixed_off(const struct erofs_meta *m, uint32_t i);
/* How many inline tails of regular files it holds. */
uint32_t erofs_meta_tail_cnt(const struct erofs_meta *m, uint32_t i);
/* The mixed block at or around byte off of the image; false: there is none. */
bool erofs_meta_find_mixed(const struct erofs_meta *m, uint64_t off, uint32_t *i) MUST_CHECK;
/*
 * Draws mixed block i over what is in block: tails of regular files are left as they are, unused
 * bytes too. Block 0 gets its checksum, so its tails must be there.
 */
int erofs_meta_draw(const struct erofs_meta *m, uint32_t i, uint8_t block[EROFS_PLAN_BLOCK_LEN],
                    struct diag *d) MUST_CHECK;

/* The pure blocks: how many, is there one at byte off, and all of them once, by ascending offset.
 */
uint64_t erofs_meta_pure_cnt(const struct erofs_meta *m);
bool erofs_meta_is_pure(const struct erofs_meta *m, uint64_t off);
typedef int (*erofs_meta_sink)(void *ctx, uint64_t off, const uint8_t block[EROFS_PLAN_BLOCK_LEN],
                               struct diag *d);
int erofs_meta_draw_pure(const struct erofs_meta *m, erofs_meta_sink sink, void *ctx,
                         struct diag *d) MUST_CHECK;

#endif
