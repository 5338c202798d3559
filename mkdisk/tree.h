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

/*
 * Hard links: all names of one inode are nodes of their own; all but one have link set. While the
 * tree is built, link may name any other node of the group, also a removed one, as long as there is
 * no cycle. tree_finish() makes the first name in plan order the carrier. From then on a link node
 * has only parent, name, depth, index and the type in mode; everything else is link's.
 */
struct tree_node {
	struct tree_node *parent; /* NULL for the root */
	struct tree_node *link;   /* hard link: the node that carries the inode (after tree_finish()
	                             itself not a link); else NULL */
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
	uint32_t index;       /* position in tree->node[] after tree_finish() */
	uint32_t removed_cnt; /* tree.c's own: removed children, kept behind the living ones */
	int64_t mtime_s;
	uint64_t size;     /* regular files: content length; symlinks: strlen(target); else 0 */
	uint16_t mode;     /* type and permission bits */
	uint16_t name_len; /* 0..255 */
	uint16_t depth;    /* 0 for the root */
	uint8_t content;   /* enum tree_content */
	uint8_t oid[32];   /* per content kind */
};

/*
 * Plan order, in which EROFS inodes are laid out and a hard link's first name is found: the root;
 * then for each directory of node[], in that order, its children in name order. So all children of
 * a directory come before anything below them.
 */
struct tree {
	struct tree_node *root;
	struct tree_node **node; /* after tree_finish(): all nodes, pre-order, children in name
	                            order; root first */
	uint32_t node_cnt;       /* before tree_finish(): with the removed ones */
};

#define TREE_MAX_NODES       UINT32_C(16777216)
#define TREE_MAX_DEPTH       16384
#define TREE_MAX_XATTR_VALUE 65535

/* A tree with a root directory of mode 0755, owner 0:0, time 0. */
int tree_new(struct tree **out) MUST_CHECK;
void tree_free(struct tree *t);
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
/* As setxattr(2): a name that is there already keeps its place and gets the new value. name
 * is 1..255 bytes (-ERANGE), value at most TREE_MAX_XATTR_VALUE (-E2BIG). */
int tree_add_xattr(struct tree_node *n, const char *name, const void *value, size_t value_len)
        MUST_CHECK;
/* The order of names everywhere: unsigned bytes, a prefix first. As memcmp(). */
int tree_compare_names(const char *a, size_t a_len, const char *b, size_t b_len);
/* Linear search; for building merged trees (definitions). NULL when absent. */
struct tree_node *tree_child(const struct tree_node *dir, const char *name, size_t name_len);
/*
 * Takes n and everything below it out of the tree; the memory stays until tree_free(), so that
 * links to what was removed keep their inode. Not the root, not after tree_finish().
 */
void tree_remove(struct tree *t, struct tree_node *n);
/*
 * Hangs n, with everything below it, into dir under a new name. Files whose bytes are at their
 * tree_path() get a source_path, so they are still found. -EUCLEAN as tree_add(); -EINVAL when dir
 * is n or below it. After a failure n is where it was.
 */
int tree_move(struct tree *t, struct tree_node *n, struct tree_node *dir, const char *name,
              size_t name_len, struct diag *d) MUST_CHECK;

/*
 * Sorts, numbers, resolves hard links to their first name in plan order. Once; the tree is
 * immutable afterwards. -EUCLEAN: two entries of one name, a hard link to a directory or between
 * types.
 */
int tree_finish(struct tree *t, struct diag *d) MUST_CHECK;

/* "a/b/c" relative to the root ("" for the root). Returns the length needed without NUL, as
 * snprintf. */
size_t tree_path(const struct tree_node *n, char *out, size_t out_len);
/* The path, quoted for a message; out_len of TREE_QUOTE_LEN is always enough to be useful (cut with
 * "..."). */
#define TREE_QUOTE_LEN 1200
const char *tree_quote_path(const struct tree_node *n, char *out, size_t out_len);

#endif
