/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of an inode, for messages. Nothing remembers names while all is well: a path is searched
 * only when something failed.
 */
#ifndef MODELDISK_PATH_H
#define MODELDISK_PATH_H

#include "erofs.h"

/*
 * Finds a path to nid by walking the tree from the root ("/dir/file", "/" for the root), and writes
 * it with its NUL; a hard link has any one of its names. The walk is bounded in depth and entries,
 * whatever the image holds. -ENOENT when it was not found within the bounds, -ENAMETOOLONG when it
 * does not fit. Directories that cannot be read are passed over. Thread-safe.
 */
int path_find(const struct erofs *fs, uint64_t nid, char *buf, size_t len) MUST_CHECK;

#endif
