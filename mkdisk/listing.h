/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would enter a disk, what would not and why, and how large the disk would be; for people or
 * as JSON (docs/record.md "Listing"). Needs no content. One thread.
 */
#ifndef MODELDISK_LISTING_H
#define MODELDISK_LISTING_H

#include "disk_plan.h"
#include "tree.h"

struct listing;
int listing_new(struct listing **out) MUST_CHECK; /* -ENOMEM */
void listing_free(struct listing *l);
DEFINE_SCOPED(listing, struct listing *, listing_free)
/* path is left out because of pattern; ctx is the listing. As source_options.on_excluded. */
void listing_exclude(void *ctx, const char *path, const char *pattern);

/* Malloc'ed texts. The first has what is left out only: pattern, tab, path in quotes, a line each.
 */
int listing_excluded_text(const struct listing *l, char **out, struct diag *d) MUST_CHECK;
int listing_text(const struct listing *l, const struct tree *tree, const struct disk_plan *disk,
                 char **out, struct diag *d) MUST_CHECK;
int listing_json(const struct listing *l, const struct tree *tree, const struct disk_plan *disk,
                 char **out, struct diag *d) MUST_CHECK;

#endif
