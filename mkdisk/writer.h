/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes get into a file or device: large ones past the page cache where the file system can,
 * because copying them there, and having them written from there, costs more than hashing them; the
 * others through it, without pushing out what everybody else has in it.
 *
 * Thread rule: writer_write() may be called from several threads, for places that do not overlap.
 */
#ifndef MODELDISK_WRITER_H
#define MODELDISK_WRITER_H

#include "base.h"

/* A buffer that starts on a multiple of this can go past the page cache. */
#define WRITER_ALIGN 4096

struct writer;
/*
 * fd: open for reading and writing, borrowed, must outlive the writer. len: about how many bytes
 * will be written, all in all. -ENOMEM.
 */
int writer_new(int fd, uint64_t len, struct writer **out) MUST_CHECK;
void writer_free(struct writer *w);
DEFINE_SCOPED(writer, struct writer *, writer_free)

/*
 * All of buf, at off; what the system said otherwise. Durable after fsync() of fd, and readable
 * from it at once.
 */
int writer_write(struct writer *w, uint64_t off, const void *buf, size_t len) MUST_CHECK;

/*
 * Makes len bytes at off the same as those at from_off of the file from, by sharing their place on
 * the medium until one of the two is written to (btrfs, xfs and others). Any failure: not done, the
 * bytes must be written.
 */
int writer_clone(struct writer *w, uint64_t off, int from, uint64_t from_off, uint64_t len)
        MUST_CHECK;

#endif
