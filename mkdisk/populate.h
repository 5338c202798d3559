/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns a source's tree into the tree of the disk, as systemd-repart fills its temporary directory:
 * CopyFiles, ExcludeFiles, MakeDirectories, MakeSymlinks, and the user.validatefs.* attributes of
 * the root (docs/format.md "Populating"). Pure; one thread.
 *
 * The SOURCE argument stands for the source of the first CopyFiles line; further lines must name it
 * or something below it.
 */
#ifndef MODELDISK_POPULATE_H
#define MODELDISK_POPULATE_H

#include "definitions.h"
#include "disk_plan.h"
#include "tree.h"

/*
 * Rearranges t (not yet finished) in place according to the data definition. identity gives labels
 * and types for the validation attributes; they are set when compat->validatefs and the definition
 * does not say AddValidateFS=no.
 */
int populate_tree(struct tree *t, const struct definitions *defs,
                  const struct disk_identity *identity, const struct compat *compat, struct diag *d)
        MUST_CHECK;

#endif
