/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git LFS pointer files, recognised exactly when git-lfs 3.3 to 3.7 would replace them: what counts
 * is its parser, which is laxer than its specification (docs/spec.md: white space around, either of
 * two old version URLs, a carriage return at the ends of lines). Pure functions; thread-safe.
 */
#ifndef MODELDISK_LFS_POINTER_H
#define MODELDISK_LFS_POINTER_H

#include "base.h"

#define LFS_POINTER_MAX_LEN 1023 /* longer files are none */

struct lfs_pointer {
	uint8_t oid[32];  /* SHA-256 of the content */
	uint64_t size;    /* of the content, at most 2^63 - 1 */
	bool is_extended; /* content passed through extensions: oid is not that of the file */
};

/* Is this file, all of it, a pointer? An empty file is one, to itself; *out is set if true. */
bool lfs_pointer_parse(const void *text, size_t len, struct lfs_pointer *out);

/* Takes white space away at both ends as git-lfs does: all that Unicode calls so, in UTF-8. */
void lfs_trim(const char **text, size_t *len);

#endif
