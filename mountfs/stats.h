/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mount has done so far, as one JSON object for whoever connects to a Unix socket.
 */
#ifndef MODELDISK_STATS_H
#define MODELDISK_STATS_H

#include "failures.h"
#include "verity.h"

#include <stdatomic.h>

/*
 * Makes the socket, which only its owner may connect to; one that nobody listens on any more is
 * replaced. Start-up only. -EADDRINUSE: somebody listens there; what the system said.
 */
int stats_listen(const char *path, int *out, struct diag *d) MUST_CHECK;

/* Borrowed; the numbers may change meanwhile. */
struct stats_source {
	const struct vblk *v;
	struct failures *failures;
	const _Atomic uint64_t *request_cnt;
	unsigned thread_cnt;
	int64_t start_ns; /* CLOCK_MONOTONIC */
};

/*
 * Answers those who wait on the socket: one object each, then the connection ends. Needs no memory
 * and opens nothing but the connections; never waits for a reader.
 */
void stats_answer(int listen_fd, const struct stats_source *s);

#endif
