/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole fetches from a server in this process, which answers as it should: what tests/e2e/lfs_*.py
 * cannot reach. Every allocation fails once, the sink fails everywhere, the fetch is stopped.
 */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lfs.h"
#include "text.h"

#define OBJECTS 5

/* ---- objects, and what came of them ---- */

struct item {
	uint8_t *bytes;
	size_t len, pos;
	unsigned begun, verified, abandoned;
};

static struct item items[OBJECTS];
static struct lfs_object objects[OBJECTS];
static int fail_begin, fail_data, fail_verified; /* what the third object's calls return */
static atomic_bool stop;
static unsigned stop_at; /* the fetch is stopped when so many were verified */
static atomic_uint verified_cnt;
static atomic_int refused = -1; /* the object that the server does not have */

static int fails(const struct item *it, int r, struct diag *d)
{
	return it == &items[2] && r < 0 ? diag_set(d, r, "the sink failed") : 0;
}

static int on_begin(void *ctx, bool anew, struct hash_stream *digest, uint64_t *from,
                    struct diag *d)
{
	struct item *it = ctx;
	(void)anew;
	(void)digest;
	(void)from;

	it->begun++;
	it->pos = 0;
	return fails(it, fail_begin, d);
}

static int on_data(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct item *it = ctx;

	assert_true(len <= it->len - it->pos);
	assert_memory_equal(buf, it->bytes + it->pos, len);
	it->pos += len;
	return fails(it, fail_data, d);
}

static int on_verified(void *ctx, struct diag *d)
{
	struct item *it = ctx;

	if (fails(it, fail_verified, d) < 0)
		return fail_verified;
	it->verified++;
	if (atomic_fetch_add(&verified_cnt, 1) + 1 == stop_at)
		atomic_store(&stop, true);
	return 0;
}

static void on_abandon(void *ctx)
{
	struct item *it = ctx;

	it->abandoned++;
}

static const char *on_name(void *ctx, char *out, size_t out_len)
{
	snprintf(out, out_len, "object %td", (struct item *)ctx - items);
	return out;
}

static const struct lfs_sink sink = { .begin = on_begin,
	                              .data = on_data,
	                              .verified = on_verified,
	                              .abandon = on_abandon,
	                              .name = on_name };

static int make_objects(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OBJECTS; i++) {
		struct item *it = &items[i];

		it->len = i == 0 ? 1 : i * 700001;
		it->bytes = malloc(it->len);
		assert_non_null(it->bytes);
		support_fill(it->bytes, it->len, i);
		objects[i].size = it->len;
		objects[i].ctx = it;
		assert_int_equal(hash_sha256(it->bytes, it->len, objects[i].oid), 0);
	}
	return 0;
}

static int free_objects(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OBJECTS; i++)
		free(items[i].bytes);
	return 0;
}

/* ---- the server: one request a connection, one connection after the other. It allocates nothing,
 * so that only what is tested runs out of memory. ---- */

struct server {
	int fd;
	unsigned port;
	pthread_t thread;
};

static void send_all(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* clients that go away are part of the tests */
		p += n;
		len -= (size_t)n;
	}
}

static void send_answer(int fd, const void *body, size_t len)
{
	char head[200];
	int n = snprintf(head, sizeof(head),
	                 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
	                 len);

	send_all(fd, head, (size_t)n);
	send_all(fd, body, len);
}

static void answer_batch(const struct server *s, int fd)
{
	static char text[OBJECTS * 300];
	size_t len = (size_t)sprintf(text, "{\"objects\":[");

	for (unsigned i = 0; i < OBJECTS; i++) {
		char hex[65];

		hex_encode(objects[i].oid, sizeof(objects[i].oid), hex);
		if ((int)i == atomic_load(&refused)) {
			len += (size_t)sprintf(text + len,
			                       ",{\"oid\":\"%s\",\"error\":{\"code\":410}}", hex);
			continue;
		}
		len += (size_t)sprintf(text + len,
		                       "%s{\"oid\":\"%s\",\"actions\":{\"download\":{\"href\":"
		                       "\"http://127.0.0.1:%u/%u\"}}}",
		                       i ? "," : "", hex, s->port, i);
	}
	len += (size_t)sprintf(text + len, "]}");
	send_answer(fd, text, len);
}

/* Reads up to the end of a request without or with a short body, which comes with the header or is
 * waited for. */
static void answer(const struct server *s, int fd)
{
	char request[16384];
	size_t len = 0;
	const char *end = NULL;

	while (len < sizeof(request) - 1) {
		ssize_t n = recv(fd, request + len, sizeof(request) - 1 - len, 0);

		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (end && (request[0] == 'G' || strstr(end, "\"hash_algo\":\"sha256\"}")))
			break;
	}
	if (request[0] == 'P')
		answer_batch(s, fd);
	else if (strncmp(request, "GET /", 5) == 0 && request[5] >= '0' &&
	         request[5] < '0' + OBJECTS)
		send_answer(fd, items[request[5] - '0'].bytes, items[request[5] - '0'].len);
}

static void *server_main(void *ctx)
{
	struct server *s = ctx;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		answer(s, fd);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return NULL;
}

static void start_server(struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 64), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void stop_server(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

/* ---- the tests ---- */

static int fetch(const struct server *s, unsigned transfers, struct diag *d)
{
	char url[64];
	struct lfs_options opt = { .server = { .url = url, .stall_s = 20, .stop = &stop },
		                   .transfers = transfers,
		                   .workers = 2 };

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/a/b.git/info/lfs", s->port);
	for (unsigned i = 0; i < OBJECTS; i++)
		items[i].begun = items[i].verified = items[i].abandoned = 0;
	atomic_store(&stop, false);
	atomic_store(&verified_cnt, 0);
	return lfs_fetch(&opt, objects, OBJECTS, &sink, d);
}

/* Whatever happened, each object that began was either verified or abandoned. */
static void assert_ended(void)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		assert_int_equal(items[i].begun, items[i].verified + items[i].abandoned);
}

static void every_object_comes_once(void **state)
{
	struct server s;
	(void)state;

	start_server(&s);
	for (unsigned transfers = 1; transfers <= LFS_MAX_TRANSFERS; transfers *= 4) {
		assert_int_equal(fetch(&s, transfers, NULL), 0);
		for (unsigned i = 0; i < OBJECTS; i++)
			assert_true(items[i].begun == 1 && items[i].verified == 1);
	}
	stop_server(&s);
}

static void object_that_is_refused_ends_the_fetch(void **state)
{
	struct diag d = DIAG_INIT;
	struct server s;
	(void)state;

	start_server(&s);
	atomic_store(&refused, 3);
	assert_int_equal(fetch(&s, 2, &d), -ENOENT);
	assert_string_equal(d.text, "object 3: removed by its owner");
	assert_ended();
	atomic_store(&refused, -1);
	stop_server(&s);
}

static void nothing_is_asked_for_nothing(void **state)
{
	struct lfs_options opt = { .server.url = "http://127.0.0.1:1/",
		                   .transfers = 1,
		                   .workers = 1 };
	(void)state;

	assert_int_equal(lfs_fetch(&opt, NULL, 0, &sink, NULL), 0);
}

static void every_failed_allocation_is_told(void **state)
{
	struct server s;
	int r = -ENOMEM;
	(void)state;

	start_server(&s);
	for (unsigned long k = 1; r < 0; k++) {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = fetch(&s, 2, &d);
		support_fail_allocation(0);
		/* in jansson it looks like an answer that is no JSON; no thread: -EAGAIN */
		assert_true(r == 0 || r == -ENOMEM || r == -EUCLEAN || r == -EAGAIN);
		assert_int_equal(d.err, r);
		assert_true(r == 0 || d.text[0]);
		assert_ended();
	}
	stop_server(&s);
}

static void failing_sink_ends_the_fetch(void **state)
{
	struct server s;
	(void)state;

	start_server(&s);
	for (int where = 0; where < 3; where++) {
		struct diag d = DIAG_INIT;

		fail_begin = where == 0 ? -ENOSPC : 0;
		fail_data = where == 1 ? -ENOSPC : 0;
		fail_verified = where == 2 ? -ENOSPC : 0;
		assert_int_equal(fetch(&s, 2, &d), -ENOSPC);
		assert_string_equal(d.text, "the sink failed");
		assert_ended();
		assert_int_equal(items[2].verified, 0);
	}
	fail_begin = fail_data = fail_verified = 0;
	stop_server(&s);
}

static void stop_ends_the_fetch(void **state)
{
	struct server s;
	(void)state;

	start_server(&s);
	for (stop_at = 1; stop_at < OBJECTS; stop_at++) {
		assert_int_equal(fetch(&s, 1, NULL), -EINTR);
		assert_ended();
	}
	stop_at = 0;
	stop_server(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_object_comes_once),
		cmocka_unit_test(object_that_is_refused_ends_the_fetch),
		cmocka_unit_test(nothing_is_asked_for_nothing),
		cmocka_unit_test(every_failed_allocation_is_told),
		cmocka_unit_test(failing_sink_ends_the_fetch),
		cmocka_unit_test(stop_ends_the_fetch),
	};

	return cmocka_run_group_tests(tests, make_objects, free_objects);
}
