/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read-only EROFS tree over proven bytes. Proven is not well-formed: whoever chose the root hash
 * may have hashed a malformed image, so every offset, length and count is bounded here before use.
 *
 * Supported: block sizes 512 to 4096, flat plain and inline, chunk-based (block map and indexes,
 * holes, no extra devices), compact and extended inodes, all directory shapes, symlinks, hard
 * links, special files, inline and shared xattrs, long xattr prefixes, the 48-bit layout. Refused
 * by name with -EOPNOTSUPP: compression, unknown incompatible features, extra devices, fragments,
 * metabox.
 *
 * Errors: -EUCLEAN is the image's fault, and the sentence names the inode and the field. A wrong
 * superblock checksum is -EUCLEAN as well, since these bytes are proven already: -EBADMSG out of
 * this module is always vblk_read()'s.
 *
 * What the reader does not decide, because no single inode shows it: several names may lead to one
 * directory, and a directory may lie inside itself. No function here recurses, so a loop is only a
 * path without an end. Who walks must stop it: erofs_walk() refuses a directory met twice; a file
 * system server must give every directory its nid as the one inode number, and the kernel then
 * refuses a directory below itself (ELOOP). Likewise the data of a file may be that of another or a
 * piece of the metadata, and a small image may hold files of 2^63 - 1 bytes: reading them is
 * harmless, copying them out needs the caller's own bound.
 *
 * Thread rule: after erofs_open() the object is immutable; every function is thread-safe. No
 * function allocates memory in proportion to a number on the disk.
 */
#ifndef MODELDISK_EROFS_H
#define MODELDISK_EROFS_H

#include "verity.h"

struct erofs;

#define EROFS_MAX_NAME_LEN    255
#define EROFS_MAX_SYMLINK_LEN 4095

/* The superblock, decoded, for inspection and for the geometry check. */
struct erofs_info {
	uint32_t block_len;
	uint64_t blk_cnt;   /* the image ends at blk_cnt * block_len */
	uint64_t inode_cnt; /* as claimed; advice only */
	uint64_t root_nid;
	uint32_t feature_compat, feature_incompat;
	uint64_t epoch;
	struct uuid uuid;
	char volume[17]; /* as found: quote it before it is shown */
};

/*
 * Checks the superblock and the root directory's inode. v is borrowed and must outlive the result.
 * -EUCLEAN with the field, -EOPNOTSUPP with the feature's name, or what vblk_read gave.
 */
int erofs_open(const struct vblk *v, struct erofs **out, struct diag *d) MUST_CHECK;
void erofs_close(struct erofs *fs);
DEFINE_SCOPED(erofs, struct erofs *, erofs_close)
const struct erofs_info *erofs_get_info(const struct erofs *fs);
/*
 * The image's length in bytes from a superblock that nobody has proven yet (HINT ONLY: to find the
 * tree of a flat disk). sb points to the 128 bytes at offset 1024. -ENOENT: not EROFS; -EUCLEAN:
 * fields out of range.
 */
int erofs_hint_image_len(const uint8_t sb[128], uint64_t *out) MUST_CHECK;

/* One inode, decoded and checked. A plain value: copy it, keep it; it holds no resource. */
struct erofs_inode {
	uint64_t nid;
	uint16_t mode; /* type and permission bits */
	uint32_t nlink, uid, gid;
	uint64_t size; /* at most INT64_MAX */
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t rdev_major, rdev_minor; /* character and block devices */
	/* how its bytes are found; private to common/erofs*.c */
	uint8_t layout;
	uint8_t chunk_bits;
	uint8_t flags;
	uint32_t xattr_len; /* bytes of the xattr body behind the inode, 0 if none */
	uint64_t xattr_off; /* first byte behind the inode proper */
	uint64_t tail_off;  /* inline: the bytes behind the last full block; chunks: their table */
	uint64_t start_blk;
};

/* nid from erofs_info.root_nid, erofs_lookup, erofs_list, or a guess: -EUCLEAN if nothing sane lies
 * there. */
int erofs_inode_get(const struct erofs *fs, uint64_t nid, struct erofs_inode *out, struct diag *d)
        MUST_CHECK;

/*
 * Finds name in dir. 0 and *nid; -ENOTDIR; -ENAMETOOLONG; -EINVAL for what no entry can be called:
 * an empty name, "." and ".." (the parent comes from the path, never from the disk), a name with
 * '/' or NUL.
 *
 * -ENOENT means absent, and proven: either one intact block spans the name and lacks it, or two
 * neighbouring intact blocks have it between them. The cost is one block read per halving, 9 for
 * 100 000 entries. Every block met is checked as a whole and against the bounds found so far:
 * -EUCLEAN for one that is malformed or out of order. The proof rests on the order that the format
 * demands; blocks that the search does not meet could break it, and only erofs_list() sees them
 * (it refuses such a directory, so no listing that ends well shows a name that a look-up denies).
 */
int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name,
                 size_t name_len, uint64_t *nid, struct diag *d) MUST_CHECK;

struct erofs_dirent {
	const char *name; /* name_len bytes, NOT NUL-terminated, valid during the call */
	size_t name_len;  /* 1..255; no '/', no NUL; never "." or ".." */
	uint64_t nid;
	uint8_t type;  /* DT_* of dirent.h; DT_UNKNOWN when the disk does not say */
	uint64_t next; /* cookie of the following entry; below INT64_MAX */
};
/* Return 0 to go on, 1 to stop before this entry (it will come again), negative errno to fail. */
typedef int (*erofs_dirent_fn)(void *ctx, const struct erofs_dirent *e);
/*
 * Calls fn for each entry from cookie on (0: from the start) in disk order, "." and ".." left out.
 * Names are checked to be strictly ascending, hence unique, and "." and ".." to be there; a listing
 * in pieces is checked as one in one go is. Cookies stay valid for ever: they are positions on the
 * disk. -ENOTDIR, -EUCLEAN, -EINVAL for a cookie that was never given.
 */
int erofs_list(const struct erofs *fs, const struct erofs_inode *dir, uint64_t cookie,
               erofs_dirent_fn fn, void *ctx, struct diag *d) MUST_CHECK;

/*
 * Bytes [off, off + len) of a regular file, clipped at its size. Returns the count (less than len
 * only at the end of the file, 0 beyond it) or a negative errno and then no byte is valid. Holes
 * are zeros. -EISDIR, -EINVAL for other types.
 */
int64_t erofs_read(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off, void *buf,
                   size_t len, struct diag *d) MUST_CHECK;

/*
 * Where byte off of a file, directory or symlink lies in the vblk, and how many bytes from there
 * lie there without a break. hole: zeros, and at is meaningless. For read-ahead and for messages
 * that name a place. Chunks that lie side by side come as one extent as far as one look at the
 * table shows. -EINVAL: off is not below the size, or an inode without data.
 */
struct erofs_extent {
	uint64_t at, len;
	bool hole;
};
int erofs_map(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off,
              struct erofs_extent *out, struct diag *d) MUST_CHECK;

/* The target, NUL-terminated; buf holds EROFS_MAX_SYMLINK_LEN + 1 bytes. Returns its length.
 * -ERANGE (buf too small), -EINVAL for other types. */
int erofs_readlink(const struct erofs *fs, const struct erofs_inode *ino, char *buf, size_t buf_len,
                   struct diag *d) MUST_CHECK;

/*
 * One attribute by its full name ("user.x"). Returns the value's length; buf NULL or len 0 asks for
 * it only. -ENODATA, -ERANGE (buf too small), -EUCLEAN.
 */
int erofs_getxattr(const struct erofs *fs, const struct erofs_inode *ino, const char *name,
                   void *buf, size_t len, struct diag *d) MUST_CHECK;
/* All names, each with its NUL, as listxattr(2) gives them. Returns the total length; buf as above.
 */
int erofs_listxattr(const struct erofs *fs, const struct erofs_inode *ino, char *buf, size_t len,
                    struct diag *d) MUST_CHECK;

/*
 * Everything below a directory, each directory once. The walk goes down in disk order without
 * recursion and keeps in memory: one frame per level, the path, and the nid of every directory met.
 *
 * Its own limits make it end on every image: a directory met twice is refused (-EUCLEAN), no more
 * entries are taken than an image of this length can hold (one per 12 bytes; -EUCLEAN), and beyond
 * the two numbers below it gives up (-EOPNOTSUPP).
 */
#define EROFS_WALK_MAX_DEPTH 16384               /* directories inside one another */
#define EROFS_WALK_MAX_DIRS  (UINT32_C(1) << 22) /* directories in all; 64 MiB of nids */

struct erofs_walk_entry {
	const char *path; /* from the start of the walk: "" for itself, then "a", "a/b";
	                     NUL-terminated */
	size_t path_len;
	const char *name; /* last component of path; "" for the start */
	size_t depth;     /* 0 for the start */
	const struct erofs_inode
	        *inode; /* NULL only in broken(), when the inode is what is broken */
};

/* All pointers are valid during the call only. A negative result ends the walk with it. */
struct erofs_visitor {
	/* Each inode, a directory before what is in it. 0, or EROFS_WALK_PRUNE: do not go in. */
	int (*visit)(void *ctx, const struct erofs_walk_entry *e, struct diag *d);
	/* A directory that was gone into, after all that is in it. May be NULL. */
	int (*leave)(void *ctx, const struct erofs_walk_entry *e, struct diag *d);
	/*
	 * An entry whose inode cannot be had, or a directory whose list breaks off (then leave()
	 * follows): err and the sentence in d say why. 0: go on without it. NULL: the walk ends.
	 */
	int (*broken)(void *ctx, const struct erofs_walk_entry *e, int err, struct diag *d);
};
#define EROFS_WALK_PRUNE 1

/*
 * start may be of any type; other than a directory it is all that is visited. Errors: -ENOMEM, the
 * limits above, what the reader found (the sentence starts with the path), what a visitor gave.
 */
int erofs_walk(const struct erofs *fs, const struct erofs_inode *start,
               const struct erofs_visitor *v, void *ctx, struct diag *d) MUST_CHECK;

#endif
