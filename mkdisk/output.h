/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the disk's bytes go: a regular file that appears under its name only when complete, a block
 * device, or nowhere (--root-hash-only). Hides temporary files, fsync, rename, signature checks and
 * sparse files.
 *
 *   a new path, or a file that can be replaced    written beside it, renamed over it by
 *                                                 output_commit(): the old file or the new one,
 *                                                 never half of one
 *   a block device, or a file in a directory      written in place. The first 24 KiB, which hold
 *   that cannot be written or that is a mount     every signature a disk of ours is known by, are
 *   point of its own (docker run -v)              zeroed first and written last, so that a
 *                                                 half-written disk is not taken for one
 *
 * Thread rule: output_write() and output_zero() may be called from several threads; the rest by
 * one.
 */
#ifndef MODELDISK_OUTPUT_H
#define MODELDISK_OUTPUT_H

#include "diag.h"

struct output;

/* What stands at path now; asked before the plan is made, because an existing file's or device's
 * size is the disk's. */
struct output_target {
	bool exists, is_block_device;
	uint64_t len;          /* 0 when it does not exist */
	uint32_t sector_len;   /* logical sector of a device; 512 for a file */
	const char *signature; /* NULL or what is on it: "GPT", "EROFS", "ext2/3/4", ... (static) */
};
/* -EINVAL: directory, or another kind of file. */
int output_probe(const char *path, struct output_target *out, struct diag *d) MUST_CHECK;

/*
 * Regular files get disk_len bytes, sparse, and the mode and owner of what they replace (0666 &
 * ~umask if new). Free space for need_len bytes is checked first: -ENOSPC. Block devices are opened
 * O_EXCL and must have at least disk_len bytes. path NULL: nowhere. Without force, a target holding
 * a known signature is refused with -EEXIST.
 */
int output_open(const char *path, uint64_t disk_len, uint64_t need_len, bool force,
                struct output **out, struct diag *d) MUST_CHECK;
/* Removes the temporary file unless output_commit() succeeded. */
void output_close(struct output *o);
DEFINE_SCOPED(output, struct output *, output_close)

/* len bytes at off; every place is written at most once. */
int output_write(struct output *o, uint64_t off, const void *buf, size_t len, struct diag *d)
        MUST_CHECK;
/* Makes [off, off + len) zero: nothing on a fresh sparse file, BLKZEROOUT or writes on a device. */
int output_zero(struct output *o, uint64_t off, uint64_t len, struct diag *d) MUST_CHECK;
/* Reads back what was written (image digest for the record). -EINVAL when it went nowhere. */
int output_read(struct output *o, uint64_t off, void *buf, size_t len, struct diag *d) MUST_CHECK;
/*
 * The next byte at or behind off that may be non-zero, at most the disk's length: what lies between
 * need not be read.
 */
uint64_t output_next_data(struct output *o, uint64_t off);
/* fsync, rename over path, fsync of the directory. After it the disk stands under its name. */
int output_commit(struct output *o, struct diag *d) MUST_CHECK;
bool output_is_nowhere(const struct output *o);
uint64_t output_written(const struct output *o); /* bytes handed to the system */

#endif
