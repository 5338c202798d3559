/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User and password for a server, from where people keep them: the URL itself, GIT_PAT, ~/.netrc,
 * git's credential helpers, in this order. Only servers that the user has named get any: each
 * secret is bound to scheme, host and port of SOURCE or of --lfs-url, and GIT_PAT to SOURCE's
 * alone. Redirects, download links and URLs that a repository names get none, whatever they ask.
 *
 * Secrets are overwritten when they are let go, and appear in no sentence.
 *
 * Thread rule: one thread at a time.
 */
#ifndef MODELDISK_CREDENTIALS_H
#define MODELDISK_CREDENTIALS_H

#include "diag.h"

struct credentials_options {
	const char *source_url; /* http or https; may hold a user and a password; NULL: local */
	const char *lfs_url;    /* --lfs-url, likewise; NULL if there is none */
	const char *token;      /* GIT_PAT: "token" (of the user "api") or "user:token"; or NULL */
};

/* Everything is lent until the next call for the same server or credentials_free(). */
struct credential {
	const char *user, *password;
	const char *from; /* "GIT_PAT" and the like, for sentences */
};

struct credentials;
/* -EINVAL for a URL that url_parse() does not take, -ENOMEM. */
int credentials_new(const struct credentials_options *opt, struct credentials **out, struct diag *d)
        MUST_CHECK;
void credentials_free(struct credentials *c);
DEFINE_SCOPED(credentials, struct credentials *, credentials_free)

/*
 * 1 and *out: what url's server is to be given; 0: nothing (is left). The same again until it is
 * refused. Git's helpers, which are programs and may change something, are asked only if the server
 * did ask (401). Errors: url is none (-EINVAL), ~/.netrc is there and cannot be used
 * (netrc_find()), -ENOMEM.
 *
 * NETRC in the environment names another file than ~/.netrc.
 */
int credentials_find(struct credentials *c, const char *url, bool did_ask, struct credential *out,
                     struct diag *d) MUST_CHECK;

/*
 * What credentials_find() gave last for url's server was taken (helpers hear of it, once), or was
 * not: then the next place is looked in. Behind GIT_PAT and a password in the URL there is none,
 * since who gives those wants those. Neither does anything if nothing was given.
 */
void credentials_accepted(struct credentials *c, const char *url);
void credentials_refused(struct credentials *c, const char *url);

#endif
