/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EROFS directory's data: which entries it has, in what order, which block each falls into, and
 * the bytes of a block (docs/format.md "EROFS structures"). One thread per cursor.
 *
 *   block   ┌─ 12 bytes an entry ─┬ names, no gaps, no terminators ┬ zeros, but not in the last ─┐
 */
#ifndef MODELDISK_EROFS_DIR_H
#define MODELDISK_EROFS_DIR_H

#include "tree.h"

#define EROFS_DIR_BLOCK_LEN 4096

/* Runs once over the blocks of a directory of a finished tree. */
struct erofs_dir_cursor {
	const struct tree_node *dir;
	uint32_t child; /* the next one */
	uint8_t dots;   /* of "." and "..", how many were passed */
};
void erofs_dir_start(struct erofs_dir_cursor *c, const struct tree_node *dir);
/* Passes the entries of the next block; the bytes they take, 0 behind the last block. */
uint32_t erofs_dir_skip(struct erofs_dir_cursor *c);

/* The nid of an entry's inode. n is never a hard link. */
typedef uint64_t (*erofs_dir_nid)(const void *ctx, const struct tree_node *n);
/* As erofs_dir_skip(), and makes the block. */
uint32_t erofs_dir_write(struct erofs_dir_cursor *c, erofs_dir_nid nid, const void *ctx,
                         uint8_t out[EROFS_DIR_BLOCK_LEN]);

/* All blocks whole but the last. */
uint64_t erofs_dir_size(const struct tree_node *dir);

#endif
