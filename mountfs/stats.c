/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket and the text of --stats. Nobody is asked who it is, because nothing is told that is
 * secret and the socket's directory and mode say who may come; nobody is listened to, because a
 * daemon that reads nothing cannot be fooled.
 */
#include "stats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#define BACKLOG  16
#define TEXT_LEN 2048 /* fits any socket's buffer, so that writing never waits */
#define NS_PER_S 1e9

/* A plain file refuses connections as well: it has to be a socket. */
static bool is_deserted(const struct sockaddr_un *addr)
{
	scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd >= 0 && lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_to(int fd, const struct sockaddr_un *addr)
{
	mode_t before = umask(0177);
	int r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

	umask(before);
	return r;
}

int stats_listen(const char *path, int *out, struct diag *d)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (len == 0 || len >= sizeof(addr.sun_path))
		return diag_set(d, -EINVAL, "%s: the path of a socket has at most %zu bytes", path,
		                sizeof(addr.sun_path) - 1);
	if (fd < 0)
		return diag_set_errno(d, -errno, "cannot make a socket");
	memcpy(addr.sun_path, path, len);
	r = bind_to(fd, &addr);
	if (r == -EADDRINUSE && is_deserted(&addr) && unlink(path) == 0)
		r = bind_to(fd, &addr);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return diag_set_errno(d, r, "%s: cannot make the socket", path);
	*out = take_fd(&fd);
	return 0;
}

static double seconds_since(int64_t start_ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + ((double)t.tv_nsec - (double)start_ns) / NS_PER_S;
}

static size_t write_text(const struct stats_source *s, char out[TEXT_LEN])
{
	struct vblk_stats v;
	uint64_t failed, distinct, asked;
	int len;

	vblk_get_stats(s->v, &v);
	failures_count(s->failures, &failed, &distinct);
	asked = v.cache_hits + v.cache_misses;
	len = snprintf(out, TEXT_LEN,
	               "{\"version\": \"%s\", \"pid\": %ld, \"uptime_seconds\": %.3f, "
	               "\"threads\": %u, \"requests\": %" PRIu64 ", "
	               "\"failed_requests\": %" PRIu64 ", \"distinct_failures\": %" PRIu64 ", "
	               "\"proof_failures\": %" PRIu64 ", \"media_failures\": %" PRIu64 ", "
	               "\"proven_bytes\": %" PRIu64 ", \"data_blocks_hashed\": %" PRIu64 ", "
	               "\"hash_blocks_hashed\": %" PRIu64 ", \"hashing_seconds\": %.6f, "
	               "\"cache_hits\": %" PRIu64 ", \"cache_misses\": %" PRIu64 ", "
	               "\"cache_hit_rate\": %.4f}\n",
	               MODELDISK_VERSION, (long)getpid(), seconds_since(s->start_ns), s->thread_cnt,
	               atomic_load(s->request_cnt), failed, distinct, v.proof_failures,
	               v.media_failures, v.data_bytes, v.data_blks, v.hash_blks,
	               (double)v.hash_ns / NS_PER_S, v.cache_hits, v.cache_misses,
	               asked ? (double)v.cache_hits / (double)asked : 1);
	return MIN((size_t)MAX(len, 0), TEXT_LEN - 1);
}

void stats_answer(int listen_fd, const struct stats_source *s)
{
	char text[TEXT_LEN];

	for (unsigned i = 0; i < BACKLOG; i++) {
		scoped_fd int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		size_t len;

		if (fd < 0)
			return;
		len = write_text(s, text);
		if (write(fd, text, len) < 0)
			continue; /* gone again */
	}
}
