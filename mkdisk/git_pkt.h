/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git's pkt-lines (gitprotocol-common(5)): taken out of a stream that may be cut anywhere, and put
 * together. For git_protocol.c only. Pure functions, one thread for each struct.
 */
#ifndef MODELDISK_GIT_PKT_H
#define MODELDISK_GIT_PKT_H

#include "diag.h"

#define GIT_PKT_MAX_LEN 65516 /* of the data in one line */

enum git_pkt_kind { GIT_PKT_DATA, GIT_PKT_FLUSH, GIT_PKT_DELIMITER, GIT_PKT_RESPONSE_END };

/* A NUL stands behind the data. An error ends the feeding. */
typedef int (*git_pkt_take)(void *ctx, enum git_pkt_kind kind, const char *data, size_t len,
                            struct diag *d);

/* Starts all zero. */
struct git_pkt_reader {
	char bytes[4 + GIT_PKT_MAX_LEN + 1];
	size_t len;  /* of what has come of the line at hand */
	size_t want; /* its length, with the four digits; 0 until they are here */
};

/* -EUCLEAN: not the length of a line. Errors of take. */
int git_pkt_feed(struct git_pkt_reader *r, const void *buf, size_t len, git_pkt_take take,
                 void *ctx, struct diag *d) MUST_CHECK;
/* Did the stream end between two lines? */
static inline bool git_pkt_is_between(const struct git_pkt_reader *r)
{
	return r->len == 0;
}

/* Lines to be sent; text is malloc'ed and NUL-terminated; starts all zero. */
struct git_pkt_writer {
	char *text;
	size_t len, cap;
	bool is_out_of_memory; /* then text is worth nothing */
};
/* One data line, which git likes to end with a line feed. */
void git_pkt_write(struct git_pkt_writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void git_pkt_write_flush(struct git_pkt_writer *w);
void git_pkt_write_delimiter(struct git_pkt_writer *w);
void git_pkt_writer_release(struct git_pkt_writer *w);
static inline void scope_end_git_pkt_writer(struct git_pkt_writer *w)
{
	git_pkt_writer_release(w);
}

#endif
