/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an HTTP answer means to a fetch, apart from its body: is it what was asked for, may it be
 * asked again, when, and if not, why not. For lfs*.c only. Pure functions; thread-safe.
 */
#ifndef MODELDISK_HTTP_ANSWER_H
#define MODELDISK_HTTP_ANSWER_H

#include "diag.h"

#define HTTP_MAX_WAIT_S 300 /* nobody waits longer for a server */

/* What the header of an answer said. All zero: none came. */
struct http_answer {
	unsigned status;
	bool has_len, has_range, has_wait;
	uint64_t len;                     /* Content-Length */
	uint64_t range_first, range_last; /* Content-Range */
	uint64_t wait_s;                  /* Retry-After, RateLimit: seconds from now */
	char error_code[32];              /* X-Error-Code, Hugging Face's own */
	char message[256];                /* of the body, or X-Error-Message: bytes from outside */
};

/* Takes one line of a header, with or without its line end; a status line starts anew. now is
 * time(2). What is malformed counts as absent. */
void http_answer_line(struct http_answer *a, const char *line, size_t len, int64_t now);

/* Takes the "message" of a JSON body that came with a refusal. */
void http_answer_message(struct http_answer *a, const char *body, size_t len);

enum http_meaning {
	HTTP_MEANS_DONE,     /* 200, 206 */
	HTTP_MEANS_REDIRECT, /* to another URL */
	HTTP_MEANS_LOGIN,    /* 401: with credentials perhaps */
	HTTP_MEANS_LINK,     /* of an object: the link is no longer, or never was, good */
	HTTP_MEANS_WHOLE,    /* of an object: not from there; from its first byte perhaps */
	HTTP_MEANS_LESS,     /* of a batch: for fewer objects perhaps */
	HTTP_MEANS_AGAIN,    /* later perhaps */
	HTTP_MEANS_NO,
};
enum http_meaning http_answer_meaning(const struct http_answer *a, bool is_batch);

/* The pause before repetition n (from 1): 250 ms, doubled up to 10 s; what the server says if it
 * says more. */
uint64_t http_pause_ms(unsigned n, const struct http_answer *a);

/* Whom a request was for, in the words of a refusal. */
struct http_asked {
	const char *what;       /* for people: a file's name, or the URL of the repository */
	const char *repository; /* URL of its page */
	bool had_credentials;
	bool is_away; /* a redirect led to another server, which gets no credentials */
};
/* The sentence, and its code, for an answer that is final. now is time(2). */
int http_answer_refuse(const struct http_answer *a, const struct http_asked *asked, int64_t now,
                       struct diag *d);

#endif
