/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings one commit of a repository at a URL onto this machine, into a bare repository. For git.c
 * only; libgit2 must be initialised. One thread.
 */
#ifndef MODELDISK_GIT_FETCH_H
#define MODELDISK_GIT_FETCH_H

#include "diag.h"

struct git_repository; /* libgit2's */

/* What to bring from where to where. */
struct git_fetch {
	const char *url;   /* http or https */
	const char *shown; /* the URL without credentials, for messages */
	const char *id;    /* the full commit id, lower case */
	const char *dir;   /* the bare repository, made if it is not there; URLs may share one */
	bool is_private;   /* nothing else uses dir: the commit's history is not needed */
	const char *token; /* password for the server, or "user:token"; may be NULL */
};

/*
 * What dir has already is not asked for again. Redirects to other hosts are refused; the
 * environment's https_proxy is honoured (libgit2 has none for plain http). -ENOENT: the server has
 * no such commit on any reference; -EACCES: it asks for a token or does not accept the one given;
 * -EIO: network and protocol.
 */
int git_fetch(const struct git_fetch *f, struct git_repository **out, struct diag *d) MUST_CHECK;

/* diag_set() with libgit2's last message, quoted, behind the sentence; code is what it returned.
 * Returns the errno that goes with that. */
int git_fail(struct diag *d, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
