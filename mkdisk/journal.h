/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a disk has come, in a few bytes beside it, so that the next run need not begin from
 * nothing. It holds hints only: what it says was written is read back and proven by whoever relies
 * on it, so that a lie costs time and nothing else.
 *
 *     0  16  "mkdisk journal 1", without NUL
 *    16  32  plan: what the disk is made of and how
 *    48   8  number of objects
 *    56  32  SHA-256 of the bytes before
 *    88   8  object 0: bytes of it that were written, from its first one on
 *    96   8  object 1 ...                                     (all numbers little-endian)
 *
 * Its length is fixed when it is made. A note changes eight bytes in place and is not flushed:
 * after a crash of the machine the journal may say too much or too little.
 *
 * Thread rule: journal_note() may be called from several threads for different objects; the rest by
 * one.
 */
#ifndef MODELDISK_JOURNAL_H
#define MODELDISK_JOURNAL_H

#include "diag.h"

#define JOURNAL_HEADER_LEN  88
#define JOURNAL_MAX_OBJECTS UINT32_C(16777216)

/* What a journal is about. size is borrowed for the journal's life. */
struct journal_plan {
	uint8_t id[32];       /* of everything that decides which bytes go where */
	const uint64_t *size; /* of each object, bytes */
	uint32_t object_cnt;
};

enum journal_state {
	JOURNAL_CONTINUES, /* of this plan */
	JOURNAL_DAMAGED,
	JOURNAL_OF_ANOTHER_PLAN,
};
/*
 * Hostile input: the bytes of a journal, of which done gets object_cnt numbers if it is of this
 * plan (each at most the object's size). Pure.
 */
enum journal_state journal_parse(const void *bytes, size_t len, const struct journal_plan *plan,
                                 uint64_t *done);

/* Where a journal lies: a file of its own (room is 0), or room bytes at off of something else. */
struct journal_place {
	int fd; /* borrowed for the journal's life */
	uint64_t off, room;
};
bool journal_has_room(const struct journal_place *at, const struct journal_plan *plan);

struct journal;
/* Reads the journal that is there, if it is one. */
int journal_read(const struct journal_place *at, const struct journal_plan *plan,
                 enum journal_state *state, struct journal **out, struct diag *d) MUST_CHECK;
/* Puts a journal there in which nothing is done. It has room. */
int journal_begin(const struct journal_place *at, const struct journal_plan *plan,
                  struct journal **out, struct diag *d) MUST_CHECK;
void journal_free(struct journal *j);
DEFINE_SCOPED(journal, struct journal *, journal_free)

/* What was done of an object when the journal was read. */
uint64_t journal_done(const struct journal *j, uint32_t object);
/* Was nothing done by then, and nothing noted since? */
bool journal_is_empty(const struct journal *j);
/* done bytes of the object are written now. That it cannot be noted is no failure of the disk. */
void journal_note(struct journal *j, uint32_t object, uint64_t done);

#endif
