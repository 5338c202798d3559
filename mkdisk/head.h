/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first 24 KiB of a target that is written where it is: a device, or a file that cannot be
 * replaced. Every signature a disk of ours is known by lies in them, so they are zeroed first, held
 * back here and written last: a half-written disk is not taken for one. In the meantime they have
 * the journal, if there is one and it has room.
 *
 *      0              8 KiB                       24 KiB
 *      ├──── zeros ─────┼──── journal ──── zeros ───┤
 *
 * One thread, but for head_put().
 */
#ifndef MODELDISK_HEAD_H
#define MODELDISK_HEAD_H

#include "journal.h"

#define HEAD_LEN         (24 * KIB)
#define HEAD_JOURNAL_OFF (8 * KIB)

struct head;
/*
 * fd, borrowed, has len bytes. plan is NULL where nothing is to be continued. Nothing is written
 * yet.
 */
int head_open(int fd, uint64_t len, const struct journal_plan *plan, struct head **out,
              struct diag *d) MUST_CHECK;
/* Does fd hold what an earlier run of the same plan wrote? */
bool head_is_continued(const struct head *h);
/* Was there an earlier run of another plan? */
bool head_was_of_another_plan(const struct head *h);
/* Unless it is continued: zeroes both ends of fd (a GPT of its last owner has a copy at the back)
 * and begins the journal. */
int head_begin(struct head *h, struct diag *d) MUST_CHECK;
struct journal *head_journal(const struct head *h); /* NULL: none */
/* Is there something in the journal for the next run? */
bool head_is_kept(const struct head *h);
/* From now on closing leaves no journal. */
void head_discard(struct head *h);
void head_close(struct head *h);
DEFINE_SCOPED(head, struct head *, head_close)

/* How many of len bytes at off are held back, from the first one on. */
size_t head_held(uint64_t off, uint64_t len);
/* Takes and gives what is held back; inside HEAD_LEN. */
void head_put(struct head *h, uint64_t off, const void *buf, size_t len);
void head_get(const struct head *h, uint64_t off, void *buf, size_t len);
/* Writes it, and durably, when all the rest is durable. */
int head_commit(struct head *h, struct diag *d) MUST_CHECK;

#endif
