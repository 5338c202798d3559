/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as found: a file or block device, memory, a sub-range of either, or (in tests) something
 * that fails or lies. Nothing read through a blk is proven; struct vblk (verity.h) is its proven
 * sister.
 *
 * A blk is immutable after it is made: every function on `const struct blk *` is thread-safe.
 */
#ifndef MODELDISK_BLK_H
#define MODELDISK_BLK_H

#include "diag.h"

struct blk;

/*
 * What a backing store must do. read fills all len bytes or fails with a negative errno; the caller
 * has already checked the range against size. close may be NULL. ctx is the store's own.
 */
struct blk_ops {
	int (*read)(void *ctx, uint64_t off, void *buf, size_t len);
	void (*close)(void *ctx);
};

/*
 * Opens a regular file or block device read-only (O_CLOEXEC). The size is taken once; a file that
 * shrinks later gives -EIO for what is gone, never a signal and never zeros. Errors: what
 * open(2)/fstat(2)/BLKGETSIZE64 said; -EINVAL for a directory, socket, fifo or character device.
 */
int blk_open(const char *path, struct blk **out, struct diag *d) MUST_CHECK;
/* The same over a descriptor that blk takes over on success. name is copied. */
int blk_open_fd(int fd, const char *name, struct blk **out, struct diag *d) MUST_CHECK;

/*
 * How the page cache is kept from holding what readers of a mount have in theirs already.
 *
 * AUTO   long reads go through it, and what they brought is dropped again; unless most of the file
 *        is in it from the start, which then stays
 * YES    long reads go past it (O_DIRECT), where file system and alignment allow it. Quicker, but a
 *        thread that waits for a disk that does not answer cannot be killed, while one that waits
 *        for the page cache can
 * NO     nothing is done
 *
 * Short reads always stay in the cache: what is small is read again, or has neighbours that are.
 */
enum blk_direct { BLK_DIRECT_AUTO, BLK_DIRECT_YES, BLK_DIRECT_NO };
/* Start-up only; holds for sub-ranges too. Until then NO. Without effect on other stores. */
void blk_set_direct(struct blk *b, enum blk_direct how);
/* Over any store. Takes ctx on success (blk_close calls ops->close). ops is borrowed, name is
 * copied. */
int blk_new(const struct blk_ops *ops, void *ctx, uint64_t size, const char *name, struct blk **out)
        MUST_CHECK;
/* Over memory that the caller keeps alive and unchanged. */
int blk_of_memory(const void *bytes, size_t len, const char *name, struct blk **out) MUST_CHECK;
/*
 * [off, off + len) of parent, as a blk of its own. The parent is borrowed and must outlive it.
 * label ("partition 1") goes into its name. -EUCLEAN when the range is not inside the parent.
 */
int blk_sub(const struct blk *parent, uint64_t off, uint64_t len, const char *label,
            struct blk **out, struct diag *d) MUST_CHECK;
void blk_close(struct blk *b); /* NULL allowed */
DEFINE_SCOPED(blk, struct blk *, blk_close)

/*
 * Reads exactly len bytes at off. -EIO (or what pread(2) said) when the store cannot give them;
 * -ERANGE when the range is not inside the blk. On failure buf holds garbage. d may be NULL on hot
 * paths.
 */
int blk_read(const struct blk *b, uint64_t off, void *buf, size_t len, struct diag *d) MUST_CHECK;

uint64_t blk_size(const struct blk *b);
const char *blk_name(const struct blk *b);
/* Logical sector size: that of the block device, 512 for everything else. */
uint32_t blk_sector_len(const struct blk *b);
/* The offset of byte 0 of b in the outermost blk, for messages that name places on the disk. */
uint64_t blk_base_off(const struct blk *b);
/* The descriptor under a file or device, or -1. Borrowed. */
int blk_fd(const struct blk *b);
/* The same, for the reads that go past the page cache; -1 as long as there are none. */
int blk_direct_fd(const struct blk *b);

#endif
