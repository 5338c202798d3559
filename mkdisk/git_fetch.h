/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One commit of a repository at a URL, brought into an empty repository on this machine. For git.c
 * only; libgit2 must be initialised. One thread.
 */
#ifndef MODELDISK_GIT_FETCH_H
#define MODELDISK_GIT_FETCH_H

#include "git_protocol.h"
#include "http.h"

struct git_repository; /* libgit2's */

/* A server's side of a repository; nothing is sent before something is wanted of it. */
struct git_fetch;
/* url is the repository's; borrowed. */
int git_fetch_new(const struct http_options *opt, struct git_fetch **out, struct diag *d)
        MUST_CHECK;
void git_fetch_free(struct git_fetch *f);
DEFINE_SCOPED(git_fetch, struct git_fetch *, git_fetch_free)

/* The commit that a branch or tag means at this moment. -ENOENT: there is none of this name. */
int git_fetch_resolve(struct git_fetch *f, const char *name, char id[GIT_ID_SIZE], struct diag *d)
        MUST_CHECK;
/*
 * Adds the commit, its trees and its blobs to repo, which holds nothing yet: by its id where the
 * server gives that, which also finds commits that only the reference of a pull request leads to,
 * and without its history where it gives that; otherwise everything that references lead to.
 * -ENOENT: the server has no such commit on any reference, or no such repository; -EACCES: it asks
 * for a token or does not accept the one given; -EUCLEAN: its answer is not git's; -EIO: network.
 */
int git_fetch_commit(struct git_fetch *f, const char *id, struct git_repository *repo,
                     struct diag *d) MUST_CHECK;

/* diag_set() with libgit2's last message, quoted, behind the sentence; code is what it returned.
 * Returns the errno that goes with that. */
int git_fail(struct diag *d, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
