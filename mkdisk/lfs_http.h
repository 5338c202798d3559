/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP for git and Git LFS: several requests at once, driven by one thread. The door to libcurl.
 * Decides what is trusted, how long a silent server is borne, and which redirects are followed with
 * what. For lfs*.c and git_http.c only.
 *
 * Thread rule: one thread, except lfs_net_wake().
 */
#ifndef MODELDISK_LFS_HTTP_H
#define MODELDISK_LFS_HTTP_H

#include "lfs_answer.h"

/* All connections of a fetch. */
struct lfs_net;
struct lfs_net_options {
	const char *ca_file; /* NULL: the system's */
	unsigned stall_s;    /* without a byte, or connecting */
};
int lfs_net_new(const struct lfs_net_options *opt, struct lfs_net **out, struct diag *d) MUST_CHECK;
/* After all its struct lfs_http. */
void lfs_net_free(struct lfs_net *net);
DEFINE_SCOPED(lfs_net, struct lfs_net *, lfs_net_free)
/* Moves bytes; returns when some were moved, a request ended, or after ms, or when woken. */
int lfs_net_wait(struct lfs_net *net, unsigned ms, struct diag *d) MUST_CHECK;
void lfs_net_wake(struct lfs_net *net); /* thread-safe */

struct lfs_http;
enum lfs_taken {
	LFS_TAKEN,
	LFS_TAKE_LATER, /* nothing was taken: the server is held back until lfs_http_go_on() */
	LFS_TAKE_NO,    /* the request ends here */
};
/* The next bytes of a body with status 200 or 206. */
typedef enum lfs_taken (*lfs_take)(void *ctx, const struct lfs_answer *a, const void *buf,
                                   size_t len);

/* What is asked; borrowed until the request has ended, but for user and password. */
struct lfs_request {
	const char *url;
	const char *post;      /* a body to POST; NULL: GET */
	const char *post_type; /* its media type; NULL: the Batch API's */
	char *const *header;
	size_t header_cnt;
	uint64_t from, end;          /* GET: bytes from until before end; from 0: all */
	const char *user, *password; /* NULL: none */
};

enum lfs_ending {
	LFS_ENDED,    /* the answer is complete */
	LFS_BROKEN,   /* a connection or a name that may come back */
	LFS_STOPPED,  /* LFS_TAKE_NO */
	LFS_HOPELESS, /* not trusted, or not to be followed: d of lfs_net_ended() says why */
};
struct lfs_end {
	enum lfs_ending ending;
	struct lfs_answer answer; /* of the last answer */
	char why[300];            /* BROKEN: for people */
	const char *password; /* what was shown at the last place, or NULL; until the next start */
	bool is_away;         /* a redirect led to another origin */
};

/* take's ctx is also what lfs_net_ended() gives. */
int lfs_http_new(struct lfs_net *net, lfs_take take, void *ctx, struct lfs_http **out) MUST_CHECK;
void lfs_http_free(struct lfs_http *h); /* also in the middle of a request */
DEFINE_SCOPED(lfs_http, struct lfs_http *, lfs_http_free)
int lfs_http_start(struct lfs_http *h, const struct lfs_request *request, struct diag *d)
        MUST_CHECK;
void lfs_http_go_on(struct lfs_http *h);
/* One request that has ended since the last call: its ctx; NULL when there is none. */
void *lfs_net_ended(struct lfs_net *net, struct lfs_end *end, struct diag *d);

/* "https://host:port" of a URL, for messages; without credentials, path and query. */
void lfs_origin(const char *url, char *out, size_t out_len);

#endif
