/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the disk's bytes go: a regular file that appears under its name only when complete, a block
 * device, or nowhere (--root-hash-only). Hides temporary files, fsync, rename, signature checks and
 * sparse files.
 *
 *   a new path, or a file that can be replaced    written beside it (part.h), renamed over it by
 *                                                 output_commit(): the old file or the new one,
 *                                                 never half of one
 *   a block device, or a file in a directory      written in place, its first 24 KiB last (head.h),
 *   that cannot be written or that is a mount     so that a half-written disk is not taken for one
 *   point of its own (docker run -v)
 *
 * Thread rule: output_write(), output_clone(), output_zero() and output_read() may be called from
 * several threads; the rest by one.
 */
#ifndef MODELDISK_OUTPUT_H
#define MODELDISK_OUTPUT_H

#include "journal.h"
#include "writer.h"

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

struct output_range {
	uint64_t off, len;
};
struct output_options {
	uint64_t disk_len;
	uint64_t need_len; /* bytes of it that will be written */
	bool force;        /* overwrite a known signature */
	/* A disk with a journal outlasts this run: what a run of the same plan left is continued
	 * (part.h, head.h). NULL: none. */
	const struct journal_plan *journal;
	struct output_range dense[2]; /* with a journal: without holes, so reserved beforehand */
};

/*
 * Regular files get disk_len bytes, sparse, and the mode and owner of what they replace (0666 &
 * ~umask if new). Free space for need_len bytes is checked first: -ENOSPC. Block devices are opened
 * O_EXCL and must have at least disk_len bytes. path NULL: nowhere. Without force, a target holding
 * a known signature is refused with -EEXIST. -EAGAIN: another run writes it.
 */
int output_open(const char *path, const struct output_options *opt, struct output **out,
                struct diag *d) MUST_CHECK;
/* Without output_commit(), leaves only what the next run can go on with. */
void output_close(struct output *o);
DEFINE_SCOPED(output, struct output *, output_close)

/*
 * len bytes at off; a place is written again only when its content begins anew. Large ones whose
 * buffer begins on a multiple of WRITER_ALIGN do not go through the page cache.
 */
int output_write(struct output *o, uint64_t off, const void *buf, size_t len, struct diag *d)
        MUST_CHECK;
/*
 * The same for len bytes at from_off of the file from, without copying them (writer_clone()). Any
 * failure: nothing is told and nothing was done.
 */
int output_clone(struct output *o, uint64_t off, int from, uint64_t from_off, uint64_t len)
        MUST_CHECK;
/* Makes [off, off + len) zero: nothing on a fresh sparse file, a hole in a continued one,
 * BLKZEROOUT or writes on a device. */
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

/* What is written, for the next run; NULL: nothing outlasts this one. */
struct journal *output_journal(const struct output *o);
/* Does it hold what an earlier run wrote, where we have not written yet? */
bool output_is_continued(const struct output *o);
/* Is the byte at off held back until output_commit()? Nothing of it outlasts this run. */
bool output_is_held_back(const struct output *o, uint64_t off);
/* Why what an earlier run left was removed, for people; NULL: there was nothing. */
const char *output_started_over(const struct output *o);
/* The name of what closing would leave for the next run; NULL: nothing. */
const char *output_kept_name(const struct output *o);
/* From now on closing leaves nothing. */
void output_discard(struct output *o);

bool output_is_nowhere(const struct output *o);
uint64_t output_written(const struct output *o); /* bytes handed to the system */

#endif
