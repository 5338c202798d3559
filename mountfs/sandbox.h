/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process gives up everything but serving: what a disk might make mountfs do by a fault in it
 * ends here.
 */
#ifndef MODELDISK_SANDBOX_H
#define MODELDISK_SANDBOX_H

#include "diag.h"

/*
 * Can this build be put into a sandbox? Not with a sanitizer inside: it opens files, starts
 * programs and maps memory as it likes.
 */
bool sandbox_is_possible(void);

/*
 * From here on, until the process ends: no capability, no new rights, no look from outside into its
 * memory; no descriptor but the cnt of keep (-1 is passed over) and 0 to 2, of which 0 and 1 are
 * /dev/null unless kept; Landlock, where the kernel has it, against every file; and only the system
 * calls that sandbox.c lists: any other one kills the process. Nothing may have to be opened or
 * connected later.
 *
 * One thread; those that are started afterwards inherit it all. Errors: what the system said, with
 * --no-sandbox as the way out where the kernel cannot do it.
 */
int sandbox_enter(const int *keep, size_t cnt, struct diag *d) MUST_CHECK;

#endif
