/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up, for good, what a program does not need any more: rights of root, rights that files
 * give when they are executed, descriptors, and the file system. What is given up here nobody gets
 * back, neither this process nor the programs that it starts.
 *
 * Linux keeps all of this for each thread: start-up only, before there are threads.
 */
#ifndef MODELDISK_PRIVILEGES_H
#define MODELDISK_PRIVILEGES_H

#include "diag.h"

/*
 * Keeps those capabilities (bits, 1 << CAP_...; capabilities(7)) of keep that the process has, and
 * no other, in no set. A process without CAP_SETPCAP cannot limit its bounding set, which then only
 * says what an executed file might give.
 */
int privileges_keep(uint64_t keep, struct diag *d) MUST_CHECK;

/* Executing a setuid program, or one with file capabilities, gives nothing from here on. */
int privileges_gain_no_more(struct diag *d) MUST_CHECK;

/* No core dump, and no look into the memory by other processes of the same user. */
int privileges_hide_memory(struct diag *d) MUST_CHECK;

/* Closes every descriptor but 0 to 2 and the cnt of keep, where -1 is passed over. -ENOMEM. */
int privileges_keep_descriptors(const int *keep, size_t cnt, struct diag *d) MUST_CHECK;

/*
 * Landlock (landlock(7)), after privileges_gain_no_more(). 1: it holds; 0: this kernel has none.
 * Descriptors that are open already keep their rights.
 *
 * privileges_leave_files(): no file, directory or device can be opened, made or removed any more;
 * no TCP port bound or connected, no abstract socket connected and no signal sent to others, as far
 * as the kernel's Landlock knows of these.
 *
 * privileges_limit_writes(): files can be changed, made and removed only at and below the cnt
 * paths. Reading is not limited. A path that does not exist is passed over.
 */
int privileges_leave_files(struct diag *d) MUST_CHECK;
int privileges_limit_writes(const char *const *path, size_t cnt, struct diag *d) MUST_CHECK;

#endif
