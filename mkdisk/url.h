/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The http and https URLs of repositories and servers, taken apart in one place and strictly: what
 * two libraries might read as two different hosts is refused here, before either sees it. Pure
 * functions; thread-safe.
 */
#ifndef MODELDISK_URL_H
#define MODELDISK_URL_H

#include "diag.h"

struct url {
	bool is_https;
	char *host;    /* lower case; IPv6 addresses in their brackets */
	uint16_t port; /* the scheme's own where none is given */
	char *path;    /* "/" to the end, with the query, as written */
	char *user;    /* percent-decoded; NULL if there is none */
	char *password;
};

/*
 * -EINVAL: not http or https; white space, control characters, backslashes, stray "@" or ":" in the
 * authority, a host of other than letters, digits, "-", "_", "." (or an address in brackets), a
 * fragment. The sentence never shows what may be a password. -ENOMEM.
 */
int url_parse(const char *text, struct url *out, struct diag *d) MUST_CHECK;
/* Releases what is inside, overwriting the password; a zeroed struct is allowed. */
void url_release(struct url *u);
static inline void scope_end_url(struct url *u)
{
	url_release(u);
}

/* Does it begin as an http or https URL? */
bool url_is_http(const char *text);
/* Same scheme, host and port: what may see the same credentials. */
bool url_is_same_origin(const struct url *a, const struct url *b);
/* text without "user:password@", for people and the record; malloc'ed, NULL without memory. */
char *url_without_credentials(const char *text);
/* Takes %XX for what they stand for. False: an incomplete one, or a NUL. */
bool url_percent_decode(char *text) MUST_CHECK;

#endif
