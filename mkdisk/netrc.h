/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passwords of a .netrc file, as curl and git read it: words, "quoted words" with \n \r \t \"
 * \\, comments from # to the end of a line, macdef up to an empty line. A "default" entry is left
 * alone: a password that is bound to no host is given to none. Thread-safe.
 */
#ifndef MODELDISK_NETRC_H
#define MODELDISK_NETRC_H

#include "diag.h"

/*
 * 1 with *user and *password (both secret_free()'s) of the first entry for host that has a password
 * and, unless user is NULL, this login name; 0 if there is none, or no such file. host is in lower
 * case. -EINVAL for a file that is not understood, -E2BIG for one above 1 MiB, what the system says
 * for one that cannot be read.
 */
int netrc_find(const char *path, const char *host, const char *wanted_user, char **user,
               char **password, struct diag *d) MUST_CHECK;

#endif
