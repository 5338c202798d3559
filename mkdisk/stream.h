/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries contents to their places, once: each byte is written at its final offset and hashed for
 * its leaf (and its file's digest) while it is hot. Contents may come in any order and from several
 * threads, since the plans fixed every place before the first byte. Tails go to erofs_image, leaves
 * to verity_build.
 *
 *   source, lfs ──bytes──► stream_file ──whole blocks──► output + verity_build
 *                                └──tail──► erofs_image ──metadata block──► output + verity_build
 * ──tree block──► output
 *
 * Thread rule: different stream_files may be used by different threads at once; stream_finish()
 * comes after all of them.
 */
#ifndef MODELDISK_STREAM_H
#define MODELDISK_STREAM_H

#include "disk_plan.h"
#include "erofs_image.h"
#include "output.h"

struct stream;
struct stream_options {
	void (*on_progress)(void *ctx, uint64_t content_bytes); /* thread-safe; may be NULL */
	/* The block of a tail may wait for others' tails for hours, and what waits is lost with
	 * the process: tails go to their places on their own, and again with their block. */
	bool tails_at_once;
	void *ctx;
};
/* Everything is borrowed and must outlive the stream. opt may be NULL. */
int stream_new(const struct erofs_plan *erofs, const struct disk_plan *disk, struct output *out,
               const struct stream_options *opt, struct stream **result, struct diag *d) MUST_CHECK;
void stream_free(struct stream *s);
DEFINE_SCOPED(stream, struct stream *, stream_free)

/*
 * A run of one regular file's content, from byte off (a multiple of 4096) to off + len: the whole
 * file, or one of several runs that different threads carry. The run that ends at the file's size
 * brings the tail.
 */
struct stream_file;
int stream_file_new(struct stream *s, const struct tree_node *n, uint64_t off, uint64_t len,
                    struct stream_file **out, struct diag *d) MUST_CHECK;
/*
 * The next bytes of the run. More than the run's length: -EINVAL. Cheapest are 1 MiB or more that
 * begin on a multiple of WRITER_ALIGN, in memory and in the file; others are copied.
 */
int stream_file_write(struct stream_file *f, const void *buf, size_t len, struct diag *d)
        MUST_CHECK;
/*
 * The same for bytes that lie where they belong already: hashed, not written again.
 * From a block's beginning (of 4096 bytes) to one, or to the end of the run.
 */
int stream_file_keep(struct stream_file *f, const void *buf, size_t len, struct diag *d) MUST_CHECK;
/*
 * Brings whole blocks from the next byte of the run on to the disk without copying them, as the
 * bytes at the same offsets of the file from. Returns behind which byte of the file that ended, the
 * next byte if it cannot be. They count when they are read from where they lie now and given to
 * stream_file_keep(), since the file may have changed meanwhile.
 */
uint64_t stream_file_clone(struct stream_file *f, int from);
int stream_file_read_back(struct stream_file *f, uint64_t off, void *buf, size_t len,
                          struct diag *d) MUST_CHECK;
/* Up to which byte of the file the run was carried: what is behind it waits in memory. */
uint64_t stream_file_written(const struct stream_file *f);
/* The next len bytes are zero (a hole): not read, not written, hashed once. */
int stream_file_zero(struct stream_file *f, uint64_t len, struct diag *d) MUST_CHECK;
/* The run counts from now on. -EINVAL when bytes are missing. Frees f in every case. */
int stream_file_finish(struct stream_file *f, struct diag *d) MUST_CHECK;
/*
 * As if the run never was: its content may come anew, through another stream_file. What was written
 * is then written again. NULL allowed.
 */
void stream_file_abandon(struct stream_file *f);

/*
 * Whole small files that one thread brings one after the other. Neighbours on the disk are hashed
 * and written together; between them there may be files of other threads.
 */
struct stream_batch;
#define STREAM_BATCH_MAX_FILE (256 * KIB)
int stream_batch_new(struct stream *s, struct stream_batch **out, struct diag *d) MUST_CHECK;
void stream_batch_free(struct stream_batch *b);
DEFINE_SCOPED(stream_batch, struct stream_batch *, stream_batch_free)
/* Where n's content (at most STREAM_BATCH_MAX_FILE) is to be put. Lent until the next call. */
int stream_batch_room(struct stream_batch *b, const struct tree_node *n, uint8_t **room,
                      struct diag *d) MUST_CHECK;
/* All of it is there, and counts. */
int stream_batch_take(struct stream_batch *b, const struct tree_node *n, uint8_t *room,
                      struct diag *d) MUST_CHECK;
/* After the last file of the thread. */
int stream_batch_flush(struct stream_batch *b, struct diag *d) MUST_CHECK;

/*
 * After the last file: remaining metadata, zero regions, superblock, tree. Gives the root hash. The
 * partition table is stream_write_table()'s, last of all, because its GUIDs may come from the root
 * hash.
 */
int stream_finish(struct stream *s, uint8_t root[32], struct diag *d) MUST_CHECK;
/* disk is the plan after disk_plan_set_root(). Nothing to do in the flat layout. */
int stream_write_table(struct stream *s, const struct disk_plan *disk, struct diag *d) MUST_CHECK;

#endif
