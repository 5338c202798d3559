/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small file system for tests of what reads trees, opened over bytes that nobody proved:
 *
 *   /a/f      a file of MODEL_FS_LEN bytes, of which the second block is zeros
 *   /a/l      -> f
 *   /a/sub/   mode 0555, with an empty file e of mode 06755
 *   /abs      -> /a                 /loop -> loop
 *   /l        -> a/../a/l           /out  -> ../../a/f
 *   /s/p      a fifo
 */
#ifndef MODELDISK_MODEL_FS_H
#define MODELDISK_MODEL_FS_H

#include "erofs.h"
#include "tiny_erofs.h"

#define MODEL_FS_LEN  (3 * 4096 + 100)
#define MODEL_FS_FILE 64 /* nid of /a/f */
#define MODEL_FS_DIR  56 /* of /a */

struct model_fs {
	struct tiny_erofs t;
	struct vblk *v;
	struct erofs *fs;
};

/* Abort the test when they fail. */
void model_fs_make(struct model_fs *m);
void model_fs_free(struct model_fs *m);
/* The bytes of /a/f. */
void model_fs_content(uint8_t out[MODEL_FS_LEN]);

#endif
