/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Git LFS objects of a tree on their way to the disk, whoever brings them: each once, in the
 * order of their places, written to every file that has it, noted in the journal as it grows. What
 * an earlier run left of one is read back and hashed like the rest of it; it counts only when the
 * whole object's SHA-256 is its oid.
 *
 *   tree, plan ─► objects_new ─► journal plan ─► output_open ─► objects_start
 *                                                                    │
 *   from a server:      what lies there whole ◄─── objects_recall ◄──┤
 *        the rest ◄─── lfs_fetch(objects_missing, objects_sink) ◄────┤
 *   from this machine:         objects_copy ◄────────────────────────┘
 *
 * Thread rule: the sink's as lfs.h says; the rest by one.
 */
#ifndef MODELDISK_OBJECTS_H
#define MODELDISK_OBJECTS_H

#include "journal.h"
#include "lfs.h"
#include "source.h"
#include "stream.h"

struct objects;
/* tree is finished; both are borrowed. -EBADMSG: pointers that contradict each other or
 * themselves. */
int objects_new(const struct tree *tree, const struct erofs_plan *plan, struct objects **out,
                struct diag *d) MUST_CHECK;
void objects_free(struct objects *o);
DEFINE_SCOPED(objects, struct objects *, objects_free)

/* The size of each object, for a journal; lives as long as o. */
const uint64_t *objects_sizes(const struct objects *o, uint32_t *cnt);

/* Where they go; out's journal, if it has one, is kept from now on. *stop becomes true: -EINTR; may
 * be NULL. All borrowed. */
void objects_start(struct objects *o, struct stream *stream, struct output *out,
                   const struct disk_plan *disk, const atomic_bool *stop);
/* Tells of each object as it comes and goes, by its first file: how many bytes of it are on the
 * disk. Thread-safe. To be set before anything is brought. */
enum objects_event { OBJECTS_BEGUN, OBJECTS_COMPLETE, OBJECTS_GIVEN_UP };
typedef void (*objects_watcher)(void *ctx, const struct tree_node *n, enum objects_event event,
                                uint64_t done);
void objects_watch(struct objects *o, objects_watcher watcher, void *ctx);
/*
 * Takes what an earlier run left complete. What proves to be wrong is missing like what never came.
 * Errors are output's and stream's.
 */
int objects_recall(struct objects *o, unsigned jobs, struct diag *d) MUST_CHECK;
/* Bytes of all files whose object an earlier run left whole, as far as the journal says; and of
 * those whose object is on the disk. */
uint64_t objects_left_len(const struct objects *o);
uint64_t objects_on_disk_len(const struct objects *o);
/* Those that are not on the disk yet and that the source has. -EBADMSG: one that is not what its
 * oid says. */
int objects_copy(struct objects *o, struct source *src, unsigned jobs, struct diag *d) MUST_CHECK;
/* Those that are not on the disk yet, in the order of their places; what the sink takes. */
const struct lfs_object *objects_missing(struct objects *o, size_t *cnt);
const struct lfs_sink *objects_sink(void);
/* The first file that has the object, for messages: ctx is lfs_object.ctx. */
const struct tree_node *objects_node(const void *ctx);

#endif
