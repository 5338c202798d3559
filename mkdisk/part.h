/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file beside a disk while it is made, and how it takes the disk's name at the end. Hides what
 * it is called, how two runs keep off each other, and what a run that was killed has left.
 *
 *   without a journal   a file without a name, where the file system has such; nothing is left
 *                       whatever happens
 *   with a journal      .NAME.mkdisk-part and .NAME.mkdisk-journal, which stay when the run ends
 *                       before its time, and with which the next run goes on if its plan is the
 *                       same
 *
 * The named part is locked (flock) by who writes it. What is left of a run that nobody goes on with
 * is removed. One thread.
 */
#ifndef MODELDISK_PART_H
#define MODELDISK_PART_H

#include "journal.h"

#include <sys/stat.h>

struct part_target {
	const char *real_path;              /* the disk's, links resolved; it need not exist */
	const struct stat *old;             /* what stands there; NULL: nothing */
	uint64_t len;                       /* bytes the part gets */
	const struct journal_plan *journal; /* NULL: none */
};

/* Why, for people. */
#define PART_OF_ANOTHER_PLAN "it was of another command or source"

struct part;
/*
 * Mode and owner are those of old. -EAGAIN: another run writes this disk; -EEXIST: files of the
 * names above that cannot be ours; else what the system said. Nothing of t is kept but what the
 * journal borrows.
 */
int part_open(const struct part_target *t, struct part **out, struct diag *d) MUST_CHECK;
/* Unless it was committed: a part in whose journal something was noted stays, with its journal. */
void part_close(struct part *p);
DEFINE_SCOPED(part, struct part *, part_close)

int part_fd(const struct part *p);
struct journal *part_journal(const struct part *p); /* NULL: none */
/* Does it hold what an earlier run wrote? */
bool part_is_continued(const struct part *p);
/* Why what an earlier run left was removed, for people; NULL: there was nothing. */
const char *part_started_over(const struct part *p);
/* Would closing it now leave something for the next run? Its name, else NULL. */
const char *part_kept_name(const struct part *p);
/* From now on closing leaves nothing. */
void part_discard(struct part *p);
/* Takes the disk's name; the journal goes. The bytes are durable already. */
int part_commit(struct part *p, struct diag *d) MUST_CHECK;

#endif
