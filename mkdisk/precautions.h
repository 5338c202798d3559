/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes that would give a correct disk which somebody regrets. Thread-safe.
 */
#ifndef MODELDISK_PRECAUTIONS_H
#define MODELDISK_PRECAUTIONS_H

#include "tree.h"

/* Does path, which need not exist, lie in the directory dir or below? Links are followed. */
bool precaution_is_inside(const char *path, const char *dir);
/* Are these two paths, which need not exist, one file? Links are followed. */
bool precaution_is_same(const char *a, const char *b);
/* By its text alone: does the target of the symbolic link n lie outside the tree? */
bool precaution_leads_out(const struct tree_node *n);

#endif
