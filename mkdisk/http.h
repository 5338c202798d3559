/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP for git and Git LFS: several requests at once, driven by one thread. The door to libcurl.
 * Decides what is trusted, how long a silent server is borne, and which redirects are followed with
 * what. For lfs*.c and git_http.c only.
 *
 * Thread rule: one thread, except http_net_wake().
 */
#ifndef MODELDISK_HTTP_H
#define MODELDISK_HTTP_H

#include "credentials.h"
#include "http_answer.h"

#include <stdatomic.h>

/* A server, and how it is talked to. Strings are borrowed as long as there are connections. */
struct http_options {
	const char *url;                 /* http or https, without credentials */
	struct credentials *credentials; /* asked by the thread of the connections; NULL: none */
	const char *ca_file;             /* whom to trust, instead of the system's; or NULL */
	unsigned retries;                /* of one request without getting on in between */
	unsigned stall_s; /* seconds without a byte after which a connection is given up */
	/* What a person who waits should know: the server makes us wait, something is begun anew.
	 * Called by the thread of the connections; may be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *ctx;
	const atomic_bool *stop; /* becomes true: -EINTR; may be NULL */
};
#define HTTP_DEFAULT_RETRIES 8
#define HTTP_DEFAULT_STALL_S 30

/* All connections of one piece of work. */
struct http_net;
int http_net_new(const struct http_options *opt, struct http_net **out, struct diag *d) MUST_CHECK;
/* After all its struct http. */
void http_net_free(struct http_net *net);
DEFINE_SCOPED(http_net, struct http_net *, http_net_free)
/* Moves bytes; returns when some were moved, a request ended, or after ms, or when woken. */
int http_net_wait(struct http_net *net, unsigned ms, struct diag *d) MUST_CHECK;
void http_net_wake(struct http_net *net); /* thread-safe */

struct http;
enum http_taken {
	HTTP_TAKEN,
	HTTP_TAKE_LATER, /* nothing was taken: the server is held back until http_go_on() */
	HTTP_TAKE_NO,    /* the request ends here */
};
/* The next bytes of a body with status 200 or 206. */
typedef enum http_taken (*http_take)(void *ctx, const struct http_answer *a, const void *buf,
                                     size_t len);

/* What is asked; borrowed until the request has ended, but for user and password. */
struct http_request {
	const char *url;
	const char *post;      /* a body to POST; NULL: GET */
	const char *post_type; /* its media type; NULL: the Batch API's */
	char *const *header;
	size_t header_cnt;
	uint64_t from, end;          /* GET: bytes from until before end; from 0: all */
	const char *user, *password; /* NULL: none */
};

enum http_ending {
	HTTP_ENDED,    /* the answer is complete */
	HTTP_BROKEN,   /* a connection or a name that may come back */
	HTTP_STOPPED,  /* HTTP_TAKE_NO */
	HTTP_HOPELESS, /* not trusted, or not to be followed: d of http_net_ended() says why */
};
struct http_end {
	enum http_ending ending;
	struct http_answer answer; /* of the last answer */
	char why[300];             /* BROKEN: for people */
	const char *password; /* what was shown at the last place, or NULL; until the next start */
	bool is_away;         /* a redirect led to another origin */
};

/* take's ctx is also what http_net_ended() gives. */
int http_new(struct http_net *net, http_take take, void *ctx, struct http **out) MUST_CHECK;
void http_free(struct http *h); /* also in the middle of a request */
DEFINE_SCOPED(http, struct http *, http_free)
int http_start(struct http *h, const struct http_request *request, struct diag *d) MUST_CHECK;
void http_go_on(struct http *h);
/* One request that has ended since the last call: its ctx; NULL when there is none. */
void *http_net_ended(struct http_net *net, struct http_end *end, struct diag *d);

/* "https://host:port" of a URL, for messages; without credentials, path and query. */
void http_origin(const char *url, char *out, size_t out_len);

#endif
