/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns a source's tree into the tree of the disk, as systemd-repart fills its temporary directory:
 * CopyFiles, ExcludeFiles, MakeDirectories, MakeSymlinks, and the user.validatefs.* attributes of
 * the root (docs/format.md "Populating"). Pure; one thread.
 *
 * The SOURCE argument stands for the source of the first CopyFiles line; further lines must name it
 * or something below it, and so must ExcludeFiles.
 */
#ifndef MODELDISK_POPULATE_H
#define MODELDISK_POPULATE_H

#include "definitions.h"
#include "disk_plan.h"
#include "tree.h"

/*
 * Modification time of what is made here and of directories that get something made in them: later
 * than any SOURCE_DATE_EPOCH, so that it becomes the epoch.
 */
#define POPULATE_TIME_NOW INT64_MAX

/*
 * Rearranges t (not yet finished) in place according to the data definition. identity gives labels
 * and types for the validation attributes; they are set when compat->validatefs and the definition
 * does not say AddValidateFS=no. -EINVAL for what systemd-repart would fail at or silently leave
 * out; t is then unchanged.
 */
int populate_tree(struct tree *t, const struct definitions *defs,
                  const struct disk_identity *identity, const struct compat *compat, struct diag *d)
        MUST_CHECK;

#endif
