/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree as a list, for work that needs it more than once or from several threads.
 */
#ifndef MODELDISK_ENTRIES_H
#define MODELDISK_ENTRIES_H

#include "erofs.h"

#define ENTRIES_MAX_PATHS_LEN (512 * MIB) /* of all paths together */

struct entry {
	char *path; /* from the start: "" for itself, then "a", "a/b" */
	struct erofs_inode inode;
};

struct entries {
	struct entry *entry; /* in order of the walk: a directory before what is in it */
	size_t cnt;
	uint64_t paths_len;
	uint64_t file_bytes; /* of regular files; UINT64_MAX if that is too little */
};

/* Everything from start on. Errors as erofs_walk(), -EOPNOTSUPP beyond the limit. */
int entries_read(const struct erofs *fs, const struct erofs_inode *start, struct entries *out,
                 struct diag *d) MUST_CHECK;
void entries_release(struct entries *l); /* a zeroed struct is allowed */

#endif
