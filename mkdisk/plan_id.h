/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One digest of everything that decides which bytes go where on a disk, for a journal: two builds
 * with the same one write the same contents to the same places. Metadata is made anew by every run
 * and may differ.
 */
#ifndef MODELDISK_PLAN_ID_H
#define MODELDISK_PLAN_ID_H

#include "disk_plan.h"
#include "erofs_plan.h"

/* commit: full id, or NULL. -ENOMEM, -EIO (OpenSSL). */
int plan_id(const char *commit, const struct erofs_plan *erofs, const struct disk_plan *disk,
            uint8_t out[32]) MUST_CHECK;

#endif
