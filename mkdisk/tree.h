/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file tree that becomes a disk: names, modes, sizes, links and attributes, without contents.
 * Everything that fixes an address on the disk is in here; sources (directory, git) make one, the
 * EROFS plan reads it.
 *
 * Thread rule: built by one thread; immutable and shared after tree_finish().
 */
#ifndef MODELDISK_TREE_H
#define MODELDISK_TREE_H

#include "diag.h"

#include <sys/stat.h>

struct tree_xattr {
	char *name; /* full name, "user.x" */
	uint8_t *value;
	size_t value_len; /* at most 65535 */
};

/* Where a regular file's bytes come from; the owner of the tree (struct source) knows how to read
 * them. */
enum tree_content {
	TREE_CONTENT_NONE, /* not a regular file, or empty */
	TREE_CONTENT_PATH, /* a file of a source directory */
	TREE_CONTENT_BLOB, /* a git blob: oid is its SHA-1 (or SHA-256) id */
	TREE_CONTENT_LFS,  /* a Git LFS object: oid is the SHA-256 of its content */
};

struct tree_node {
	struct tree_node *parent; /* NULL for the root */
	struct tree_node *link;   /* hard link: the node that carries the inode (itself not a link);
	                             else NULL */
	struct tree_node **child; /* directories: sorted by unsigned bytes of their names after
	                             tree_finish() */
	uint32_t child_cnt, child_cap;
	char *name;        /* NUL-terminated, no '/'; "" for the root */
	char *target;      /* symlinks: NUL-terminated, 1..4095 bytes */
	char *source_path; /* TREE_CONTENT_PATH: path inside the source directory, NULL when it is
	                      tree_path() */
	struct tree_xattr *xattr; /* in the order the source listed them */
	uint32_t xattr_cnt;
	uint32_t uid, gid;
	uint32_t rdev_major, rdev_minor;
	uint32_t mtime_ns;
	uint32_t index; /* position in tree->node[] after tree_finish() */
	int64_t mtime_s;
	uint64_t size;     /* regular files: content length; symlinks: strlen(target); else 0 */
	uint16_t mode;     /* type and permission bits */
	uint16_t name_len; /* 0..255 */
	uint8_t content;   /* enum tree_content */
	uint8_t oid[32];   /* per content kind */
};

struct tree {
	struct tree_node *root;
	struct tree_node **node; /* after tree_finish(): all nodes, pre-order, children in name
	                            order; root first */
	uint32_t node_cnt;
};

#define TREE_MAX_NODES       UINT32_C(16777216)
#define TREE_MAX_DEPTH       16384
#define TREE_MAX_XATTR_VALUE 65535

/* A tree with a root directory of mode 0755, owner 0:0, time 0. */
int tree_new(struct tree **out) MUST_CHECK;
void tree_free(struct tree *t); /* not recursive: depth is bounded by TREE_MAX_DEPTH, the stack is
                                   not used for it */
DEFINE_SCOPED(tree, struct tree *, tree_free)

/*
 * A new child of dir with the type in mode; uid, gid, times 0, size 0. name is copied and must be a
 * legal name: 1..255 bytes, no '/', no NUL, not "." or "..": -EUCLEAN with the quoted path
 * otherwise, also for too many nodes, for too great depth. A second child of one name is found by
 * tree_finish().
 */
int tree_add(struct tree *t, struct tree_node *dir, const char *name, size_t name_len,
             uint16_t mode, struct tree_node **out, struct diag *d) MUST_CHECK;
int tree_set_target(struct tree_node *n, const char *target, size_t len, struct diag *d)
        MUST_CHECK; /* 1..4095, no NUL */
int tree_add_xattr(struct tree_node *n, const char *name, const void *value, size_t value_len)
        MUST_CHECK;
/* Linear search; for building merged trees (definitions). NULL when absent. */
struct tree_node *tree_child(const struct tree_node *dir, const char *name, size_t name_len);
/* Unhooks n (and everything below) from its parent and frees it. Not after tree_finish(). */
void tree_remove(struct tree *t, struct tree_node *n);

/* Sorts, numbers, resolves hard links to their first name in plan order. -EUCLEAN: two entries of
 * one name. */
int tree_finish(struct tree *t, struct diag *d) MUST_CHECK;

/* "a/b/c" relative to the root ("" for the root). Returns the length needed without NUL, as
 * snprintf. */
size_t tree_path(const struct tree_node *n, char *out, size_t out_len);
/* The path, quoted for a message; out_len of TREE_QUOTE_LEN is always enough to be useful (cut with
 * "..."). */
#define TREE_QUOTE_LEN 1200
const char *tree_quote_path(const struct tree_node *n, char *out, size_t out_len);

#endif
