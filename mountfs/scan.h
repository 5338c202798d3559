/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves all of a disk and lists what fails. One thread calls; the work is done by several.
 */
#ifndef MODELDISK_SCAN_H
#define MODELDISK_SCAN_H

#include "image.h"

#define SCAN_MAX_BAD (1 << 20) /* bad blocks that are listed */

struct scan_bad {
	enum verity_failure_kind kind;
	int level;                   /* -1: a data block */
	uint64_t blk;                /* of the data, or in its level */
	uint64_t data_off, data_len; /* the proven bytes that are missing because of it */
	uint64_t disk_off;
};

struct scan {
	struct scan_bad *bad; /* in order of data_off; none lies inside another */
	size_t bad_cnt;
	bool is_cut; /* there are more than SCAN_MAX_BAD */
};

/* The hook that the image must have been opened with. */
void scan_note_failure(void *ctx, const struct verity_failure *f);

/*
 * Reads every data block once, and with them every hash block. on_bytes is told what was dealt
 * with, from any thread; may be NULL. thread_cnt 0: as the machine is. Bad blocks are a result, not
 * an error; -ENOMEM and what else no block is to blame for.
 */
int scan_image(const struct image *img, unsigned thread_cnt, void (*on_bytes)(uint64_t bytes),
               struct scan *out, struct diag *d) MUST_CHECK;
void scan_release(struct scan *s); /* a zeroed struct is allowed */

#endif
