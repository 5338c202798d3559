/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a git server, one after the other: credentials when it asks for them, pauses and new
 * tries when it has trouble, sentences when it refuses. HTTP itself is http.h's. For
 * git_fetch.c only. One thread.
 */
#ifndef MODELDISK_GIT_HTTP_H
#define MODELDISK_GIT_HTTP_H

#include "http.h"

struct git_http;
/* url is the repository's. Borrowed. */
int git_http_new(const struct http_options *opt, struct git_http **out, struct diag *d) MUST_CHECK;
void git_http_free(struct git_http *h);
DEFINE_SCOPED(git_http, struct git_http *, git_http_free)

struct git_http_request {
	const char *path; /* behind the repository's URL */
	const char *post; /* for git-upload-pack; NULL: GET */
	bool is_v2;       /* speaks version 2 of the protocol, or would like to */
	/* An answer begins; again if the one before broke. */
	int (*begin)(void *ctx, struct diag *d);
	/* The next bytes of it. An error ends the request. */
	int (*take)(void *ctx, const void *buf, size_t len, struct diag *d);
	void *ctx;
};
/* 0 when all of an answer was taken. Otherwise take's error; or as lfs_fetch() (lfs.h). */
int git_http_ask(struct git_http *h, const struct git_http_request *rq, struct diag *d) MUST_CHECK;

#endif
