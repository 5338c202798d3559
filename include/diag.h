/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure, told once: a negative errno and one sentence, in the caller's memory.
 *
 * Convention of the whole project: 0 (or a count) on success, negative errno on failure. Four codes
 * have a fixed meaning, the rest are what the system call said:
 *   -EBADMSG     a proof failed (Merkle hash, CRC, LFS digest)
 *   -EUCLEAN     bytes intact or even proven, but against their format
 *   -EOPNOTSUPP  valid, and not supported
 *   -EINVAL      a mistake of the caller or the user
 * The function that knows the numbers writes the sentence; callers may put a prefix before it once.
 * Sentences are complete without the errno's text, name what, where, expected and found, end
 * without a full stop, and hold no raw byte from outside (text.h: text_quote).
 *
 * Thread rule: a diag belongs to one thread at a time.
 */
#ifndef MODELDISK_DIAG_H
#define MODELDISK_DIAG_H

#include "base.h"

#define DIAG_TEXT_LEN 2048

struct diag {
	int err;                  /* 0 or a negative errno */
	char text[DIAG_TEXT_LEN]; /* "" while err is 0; cut with "..." if too long */
};

#define DIAG_INIT                                                                                  \
	{                                                                                          \
		.err = 0, .text = ""                                                               \
	}

/*
 * Records err (negative) and the sentence, replacing what was there. d may be NULL.
 * Returns err, so that `return diag_set(d, -EUCLEAN, "...")` reads as one thought.
 */
int diag_set(struct diag *d, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* As diag_set with ": " and the errno's own text appended: for failed system calls. */
int diag_set_errno(struct diag *d, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the sentence. Keeps and returns err; does nothing when err is 0. */
int diag_prefix(struct diag *d, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The exit status a program owes its user for this code: 0 done, 1 could not, 2 usage, 3 refused.
 */
int diag_exit_status(int err);

#endif
