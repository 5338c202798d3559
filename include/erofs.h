/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read-only EROFS tree over proven bytes. Proven is not well-formed: whoever chose the root hash
 * may have hashed a malformed image, so every offset, length and count is bounded here before use.
 *
 * Supported: flat plain and inline, chunk-based (block map and indexes, holes, no extra devices),
 * compact and extended inodes, all directory shapes, symlinks, hard links, special files, inline
 * and shared xattrs, long xattr prefixes. Refused by name with -EOPNOTSUPP: compressed inodes,
 * unknown incompatible features, extra devices, fragments, metabox.
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
	char volume[17];
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
	/* how its bytes are found; private to erofs.c */
	uint8_t layout;
	uint8_t chunk_bits;
	uint8_t flags;
	uint32_t xattr_len; /* bytes of the xattr body behind the inode, 0 if none */
	uint64_t body_off;  /* first byte behind the inode proper */
	uint64_t start_blk;
};

/* nid from erofs_info.root_nid, erofs_lookup or erofs_list. */
int erofs_inode_get(const struct erofs *fs, uint64_t nid, struct erofs_inode *out, struct diag *d)
        MUST_CHECK;

/*
 * Finds name in dir. 0 and *nid; -ENOENT means proven absent; -ENOTDIR; -EUCLEAN. "." and ".." are
 * not looked up here: the parent comes from the path, never from the disk.
 */
int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name,
                 size_t name_len, uint64_t *nid, struct diag *d) MUST_CHECK;

struct erofs_dirent {
	const char *name; /* name_len bytes, NOT NUL-terminated, valid during the call */
	size_t name_len;  /* 1..255; no '/', no NUL; never "." or ".." */
	uint64_t nid;
	uint8_t type;  /* DT_* of dirent.h; DT_UNKNOWN when the disk does not say */
	uint64_t next; /* cookie of the following entry */
};
/* Return 0 to go on, 1 to stop before this entry (it will come again), negative errno to fail. */
typedef int (*erofs_dirent_fn)(void *ctx, const struct erofs_dirent *e);
/*
 * Calls fn for each entry from cookie on (0: from the start) in disk order, "." and ".." left out.
 * Names are checked to be strictly ascending, hence unique. -ENOTDIR, -EUCLEAN, -EINVAL for a
 * cookie that was never given.
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
 * Where byte off of a file lies in the vblk, and how many bytes from there lie there without a
 * break. hole: zeros, and at is meaningless. For read-ahead and for messages that name a place.
 */
struct erofs_extent {
	uint64_t at, len;
	bool hole;
};
int erofs_map(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off,
              struct erofs_extent *out, struct diag *d) MUST_CHECK;

/* The target, NUL-terminated; buf holds EROFS_MAX_SYMLINK_LEN + 1. Returns its length. -EINVAL for
 * other types. */
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

#endif
