/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mkdisk gives up before it looks at anything that a repository, a network or a file says.
 */
#ifndef MODELDISK_CONFINE_H
#define MODELDISK_CONFINE_H

#include "build.h"

/*
 * For the rest of the process, and for git's credential helpers that it starts: no new rights by
 * executing files; of root's capabilities only those over files
 * (and CAP_SYS_ADMIN where a directory's attributes are kept, to see all of them); no look into the
 * memory, which holds tokens; and, where the kernel has Landlock, no write but where this build has
 * to write: the disk and what lies beside it, the record's and the signature's directories, and the
 * directory for temporary files. Start-up only, one thread.
 */
int confine(const struct build_options *o, struct diag *d) MUST_CHECK;

#endif
