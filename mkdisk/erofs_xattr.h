/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extended attributes of a tree in EROFS form: which (name, value) pairs are shared, which
 * attributes an inode has and in what order, and the bytes of both (docs/format.md "EROFS
 * structures").
 *
 * Thread rule: made and placed by one thread; then immutable and shared.
 */
#ifndef MODELDISK_EROFS_XATTR_H
#define MODELDISK_EROFS_XATTR_H

#include "tree.h"

struct erofs_xattrs;
struct erofs_xattrs_options {
	bool keep; /* the tree's attributes; else only what overlayfs needs beside whiteouts */
	bool list_order; /* in an inode: as the tree lists them (before 1.9.3); else sorted by name
	                  */
};
/* t is finished, borrowed, and must outlive the result. -ENOMEM. */
int erofs_xattrs_new(const struct tree *t, const struct erofs_xattrs_options *opt,
                     struct erofs_xattrs **out, struct diag *d) MUST_CHECK;
void erofs_xattrs_free(struct erofs_xattrs *x);
DEFINE_SCOPED(erofs_xattrs, struct erofs_xattrs *, erofs_xattrs_free)

/* The shared entries, one behind the other; 0 bytes if there are none. Lives as long as x. */
const uint8_t *erofs_xattrs_shared(const struct erofs_xattrs *x, uint64_t *len);
/* Says where in the image they are (a multiple of 4), before any body is made. */
void erofs_xattrs_place(struct erofs_xattrs *x, uint64_t off);
uint64_t erofs_xattrs_off(const struct erofs_xattrs *x);

/* What stands behind the inode of n (not a hard link): header, ids of shared entries, own entries.
 */
#define EROFS_XATTR_MAX_BODY 262148 /* so that the inode's 16-bit count of units can say it */
struct erofs_xattr_body {
	uint8_t *bytes; /* NULL when the inode has no attributes; the caller frees it */
	uint32_t len;   /* a multiple of 4 */
	uint32_t name_filter;
};
/* -EOPNOTSUPP: more than EROFS_XATTR_MAX_BODY; -ENOMEM. */
int erofs_xattrs_body(const struct erofs_xattrs *x, const struct tree_node *n,
                      struct erofs_xattr_body *out, struct diag *d) MUST_CHECK;

#endif
