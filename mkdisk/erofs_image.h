/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a planned EROFS image that are not whole data blocks of files: superblock, inodes,
 * attributes, directories, symlink targets, inline tails. Metadata blocks are made on demand,
 * filled as tails arrive in any order, handed out when complete and then forgotten, so memory is
 * bounded by the blocks that still wait for a tail.
 *
 * Thread rule: erofs_image_put_tail() and erofs_image_flush() may be called from any thread at the
 * same time.
 */
#ifndef MODELDISK_EROFS_IMAGE_H
#define MODELDISK_EROFS_IMAGE_H

#include "erofs_plan.h"

/*
 * A finished metadata block: 4096 bytes at off in the image. Called once per block, from the thread
 * that completed it, outside any lock. Block 0 (checksummed over its tails) comes like any other
 * when its last tail has come. carrier is what the call that completed it was given.
 */
typedef int (*erofs_image_sink)(void *ctx, void *carrier, uint64_t off,
                                const uint8_t block[EROFS_PLAN_BLOCK_LEN], struct diag *d);

struct erofs_image;
/* plan is borrowed and must outlive the image. */
int erofs_image_new(const struct erofs_plan *plan, erofs_image_sink sink, void *ctx,
                    struct erofs_image **out, struct diag *d) MUST_CHECK;
void erofs_image_free(struct erofs_image *img);
DEFINE_SCOPED(erofs_image, struct erofs_image *, erofs_image_free)

/*
 * The inline tail of a regular file: the last erofs_place.tail_len bytes of its content. Once per
 * file whose tail_len is not 0 (an empty file has none). Symlinks and directories need no call.
 */
int erofs_image_put_tail(struct erofs_image *img, const struct tree_node *n, const void *tail,
                         size_t len, void *carrier, struct diag *d) MUST_CHECK;
/*
 * Hands out every metadata block that waits for no tail (those without any: callable once, at any
 * time). After it and after the last tail the sink has seen every metadata block;
 * erofs_image_finish() checks that and fails with -EINVAL otherwise.
 */
int erofs_image_flush(struct erofs_image *img, void *carrier, struct diag *d) MUST_CHECK;
int erofs_image_finish(struct erofs_image *img, struct diag *d) MUST_CHECK;

/*
 * Is the 4096-byte block at off a metadata block? (All others are file data.) For the stream's
 * account of what is missing.
 */
bool erofs_image_is_meta(const struct erofs_image *img, uint64_t off);
/* Metadata blocks held open now and the most ever. Thread-safe. */
void erofs_image_usage(struct erofs_image *img, size_t *now, size_t *peak);

#endif
