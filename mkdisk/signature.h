/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Known by its magic: is there a file system, a partition table or the like on a disk that somebody
 * would miss? Thread-safe.
 */
#ifndef MODELDISK_SIGNATURE_H
#define MODELDISK_SIGNATURE_H

#include "blk.h"

/* *name: "GPT", "EROFS", "ext2/3/4", ... (static text), or NULL when nothing known is there. What
 * blk_read() says. */
int signature_find(const struct blk *b, const char **name, struct diag *d) MUST_CHECK;

#endif
