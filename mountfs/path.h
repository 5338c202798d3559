/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a path that a person gives means inside an image. Thread-safe.
 */
#ifndef MODELDISK_PATH_H
#define MODELDISK_PATH_H

#include "erofs.h"

#define PATH_MAX_LINKS 40 /* as the kernel */

/*
 * Follows path from the image's root, whether it begins with a slash or not. Symlinks are followed,
 * also the last one, and never lead out: an absolute one starts at the image's root, and ".." of
 * the root is the root. -ENOENT; -ENOTDIR; -ELOOP: more than PATH_MAX_LINKS links; -ENAMETOOLONG;
 * -ENOMEM; what the reader found.
 */
int path_resolve(const struct erofs *fs, const char *path, struct erofs_inode *out, struct diag *d)
        MUST_CHECK;

#endif
