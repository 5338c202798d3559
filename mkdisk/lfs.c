/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetch: lanes, each carrying one object at a time from its link to its verdict. Decides what
 * follows from each way a transfer can end. Links are lfs_links.c's, connections http.c's,
 * hashing and the sink lfs_intake.c's.
 *
 *   FREE ──► BEGINNING ──► WAITING ──► RUNNING ──► ENDING ──► right: FREE
 *                 ▲          ▲  (link,    │            │
 *                 │          │   pause)   │            │
 *                 │          └── broken ──┘            │
 *                 └────────────────────────── wrong ───┘
 */
#include "lfs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "http.h"
#include "lfs_intake.h"
#include "lfs_links.h"
#include "http_retry.h"
#include "text.h"

#define MAX_WRONG    3          /* times that an object may prove wrong */
#define MAX_REFUSED  3          /* fresh links in a row that were refused */
#define PROGRESS_LEN (64 * KIB) /* a transfer that brought less has not got on */
#define MAX_WAIT_MS  1000

enum phase { FREE, BEGINNING, WAITING, RUNNING, ENDING };

enum stop {
	STOP_NONE,
	STOP_SIZE,  /* the answer's length is not the object's */
	STOP_RANGE, /* it begins elsewhere than asked */
};

struct lane {
	struct fetch *f;
	unsigned index; /* in the intake */
	enum phase phase;
	struct http *http;
	size_t object;
	uint64_t at; /* WAITING: not before */
	/* of the object */
	unsigned tries, refused, wrong;
	bool no_range; /* the server cannot begin in the middle */
	uint64_t got;  /* bytes that went into the intake, with those it had */
	/* of the transfer */
	bool is_checked, is_held;
	uint64_t skip; /* bytes of the answer that are in the intake already */
	uint64_t got_before;
	uint64_t found_size; /* STOP_SIZE */
	enum stop stop;
};

struct fetch {
	const struct lfs_options *opt;
	const struct lfs_object *object;
	size_t cnt, done_cnt;
	const struct lfs_sink *sink;
	char *repository;
	struct http_net *net;
	struct lfs_links *links;
	struct lfs_intake *intake;
	bool with_credentials; /* links to the LFS server itself want them */
	struct lane lane[LFS_MAX_TRANSFERS];
	unsigned lane_cnt;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static const struct lfs_object *object_of(const struct lane *l)
{
	return &l->f->object[l->object];
}

static const char *name_of(const struct lane *l, char *out, size_t out_len)
{
	return l->f->sink->name(object_of(l)->ctx, out, out_len);
}

/* ---- receiving ---- */

/* Does the answer hold what is missing? Sets what of it to skip. */
static bool check_answer(struct lane *l, const struct http_answer *a)
{
	uint64_t size = object_of(l)->size, first = 0;

	if (a->status == 206) {
		if (!a->has_range || a->range_first > l->got) {
			l->stop = STOP_RANGE;
			return false;
		}
		first = a->range_first;
	}
	l->skip = l->got - first; /* the range was not heeded: what is there counts */
	l->is_checked = true;
	if (a->has_len && a->len != size - first) {
		l->stop = STOP_SIZE;
		if (!add_u64(first, a->len, &l->found_size))
			l->found_size = UINT64_MAX;
		return false;
	}
	return true;
}

static enum http_taken take_content(void *ctx, const struct http_answer *a, const void *buf,
                                    size_t len)
{
	struct lane *l = ctx;
	const uint8_t *p = buf;

	if (!l->is_checked && !check_answer(l, a))
		return HTTP_TAKE_NO;
	size_t skip = (size_t)MIN(l->skip, len);
	if (len - skip > object_of(l)->size - l->got) {
		l->stop = STOP_SIZE;
		l->found_size = l->got + (len - skip);
		return HTTP_TAKE_NO;
	}
	if (!lfs_intake_put(l->f->intake, l->index, p + skip, len - skip)) {
		l->is_held = true;
		return HTTP_TAKE_LATER;
	}
	l->skip -= skip;
	l->got += len - skip;
	return HTTP_TAKEN;
}

/* ---- starting ---- */

/* Only the LFS server itself gets credentials, and only if the link does not bring some. */
static bool lacks_credentials(const struct lfs_link *link)
{
	for (size_t i = 0; i < link->header_cnt; i++) {
		if (strncasecmp(link->header[i], "Authorization:", 14) == 0)
			return false;
	}
	return true;
}

static int start_transfer(struct lane *l, const struct lfs_link *link, struct diag *d)
{
	struct fetch *f = l->f;
	struct http_request request = { .url = link->href,
		                        .header = link->header,
		                        .header_cnt = link->header_cnt,
		                        .from = l->no_range ? 0 : l->got,
		                        .end = object_of(l)->size };

	int r = 0;

	if (f->with_credentials && lacks_credentials(link))
		r = http_retry_show(&f->opt->server, &request, d);
	if (r < 0)
		return r;
	l->is_checked = l->is_held = false;
	l->stop = STOP_NONE;
	l->skip = 0;
	l->got_before = l->got;
	l->phase = RUNNING;
	return http_start(l->http, &request, d);
}

static void begin(struct lane *l, bool anew)
{
	l->phase = BEGINNING;
	l->no_range = false;
	lfs_intake_begin(l->f->intake, l->index, object_of(l), anew);
}

/* All bytes are in. */
static void finish_transfer(struct lane *l)
{
	l->phase = ENDING;
	lfs_intake_end(l->f->intake, l->index);
}

/* ---- ends ---- */

static struct http_asked asked_for(const struct lane *l, const struct http_end *end, char *name,
                                   size_t name_len)
{
	return (struct http_asked){ .what = name_of(l, name, name_len),
		                    .repository = l->f->repository,
		                    .had_credentials = end->password,
		                    .is_away = end->is_away };
}

static void wait_until(struct lane *l, uint64_t at)
{
	l->phase = WAITING;
	l->at = at;
}

static bool has_got_on(const struct lane *l)
{
	return l->got - l->got_before >= PROGRESS_LEN;
}

/* A pause, and on from where it was; unless that was tried often enough. */
static int try_again(struct lane *l, const struct http_end *end, struct diag *d)
{
	char name[TEXT_QUOTE_LEN];
	struct http_asked asked = asked_for(l, end, name, sizeof(name));
	uint64_t ms = 0;
	int r;

	if (has_got_on(l))
		l->tries = 0;
	r = http_retry_later(&l->f->opt->server, end, &asked, &l->tries, &ms, d);
	wait_until(l, now_ms() + ms);
	return r;
}

static int ask_for_link(struct lane *l, const struct http_end *end, struct diag *d)
{
	char name[TEXT_QUOTE_LEN];
	struct http_asked asked = asked_for(l, end, name, sizeof(name));

	l->refused = has_got_on(l) ? 1 : l->refused + 1;
	if (l->refused > MAX_REFUSED)
		return http_retry_give_up(end, &asked, l->refused, d);
	lfs_links_drop(l->f->links, l->object);
	wait_until(l, l->refused > 1 ? now_ms() + http_pause_ms(l->refused - 1, &end->answer) : 0);
	return 0;
}

/* 401: the LFS server may store objects itself and want to know who asks. */
static int log_in(struct lane *l, const struct http_end *end, struct diag *d)
{
	const struct lfs_link *link = lfs_links_get(l->f->links, l->object, now_ms());
	int r = 0;

	if (link && lacks_credentials(link))
		r = http_retry_login(&l->f->opt->server, end, link->href, true, d);
	if (r <= 0)
		return r < 0 ? r : ask_for_link(l, end, d);
	l->f->with_credentials = true;
	wait_until(l, 0);
	return 0;
}

static int from_first_byte(struct lane *l, const struct http_end *end, struct diag *d)
{
	if (l->no_range || l->got == 0)
		return try_again(l, end, d);
	l->no_range = true;
	wait_until(l, 0);
	return 0;
}

/* The server has an object of another size; or it had trouble once. */
static int wrong_size(struct lane *l, const struct http_end *end, struct diag *d)
{
	char name[TEXT_QUOTE_LEN];

	if (++l->wrong >= MAX_WRONG)
		return diag_set(d, -EBADMSG,
		                "%s: the server sends %s%" PRIu64
		                " bytes, the pointer says %" PRIu64,
		                name_of(l, name, sizeof(name)),
		                l->found_size > object_of(l)->size ? "at least " : "",
		                l->found_size, object_of(l)->size);
	l->no_range = true;
	wait_until(l, now_ms() + http_pause_ms(l->wrong, &end->answer));
	return 0;
}

/* A body whose length was not told may have ended because the connection did. */
static int take_answer(struct lane *l, const struct http_end *end, struct diag *d)
{
	const struct lfs_link *link = lfs_links_get(l->f->links, l->object, now_ms());
	struct http_end broken = *end;

	if (end->password && link)
		credentials_accepted(l->f->opt->server.credentials, link->href);
	if (l->got == object_of(l)->size) {
		finish_transfer(l);
		return 0;
	}
	l->found_size = l->got;
	if (!has_got_on(l))
		return wrong_size(l, end, d);
	broken.ending = HTTP_BROKEN;
	snprintf(broken.why, sizeof(broken.why), "the answer ended after %" PRIu64 " bytes",
	         l->got);
	return try_again(l, &broken, d);
}

static int transfer_ended(struct lane *l, const struct http_end *end, struct diag *d)
{
	char name[TEXT_QUOTE_LEN];
	struct http_asked asked = asked_for(l, end, name, sizeof(name));

	if (end->ending == HTTP_BROKEN)
		return try_again(l, end, d);
	if (end->ending == HTTP_HOPELESS)
		return diag_prefix(d, d->err, "%s", asked.what);
	if (end->ending == HTTP_STOPPED)
		return l->stop == STOP_RANGE ? from_first_byte(l, end, d) : wrong_size(l, end, d);
	switch (http_answer_meaning(&end->answer, false)) {
	case HTTP_MEANS_DONE:
		return take_answer(l, end, d);
	case HTTP_MEANS_LOGIN:
		return log_in(l, end, d);
	case HTTP_MEANS_LINK:
		return ask_for_link(l, end, d);
	case HTTP_MEANS_WHOLE:
		return from_first_byte(l, end, d);
	case HTTP_MEANS_AGAIN:
		return try_again(l, end, d);
	default:
		return http_retry_give_up(end, &asked, 1, d);
	}
}

static int object_is_wrong(struct lane *l, struct diag *d)
{
	char name[TEXT_QUOTE_LEN], sentence[TEXT_QUOTE_LEN + 100];
	char hex[2 * HASH_SHA256_LEN + 1];

	name_of(l, name, sizeof(name));
	hex_encode(object_of(l)->oid, sizeof(object_of(l)->oid), hex);
	if (++l->wrong >= MAX_WRONG)
		return diag_set(d, -EBADMSG,
		                "%s: what the server sends is not the object %s: SHA-256 differs",
		                name, hex);
	if (l->f->opt->server.note) {
		snprintf(sentence, sizeof(sentence),
		         "%s: what came has not the SHA-256 of its pointer; fetched anew", name);
		l->f->opt->server.note(l->f->opt->server.ctx, sentence);
	}
	lfs_links_drop(l->f->links, l->object);
	begin(l, true);
	return 0;
}

/* ---- one look at one lane ---- */

static void take_object(struct lane *l, uint64_t now)
{
	if (!lfs_links_take(l->f->links, now, &l->object))
		return;
	l->tries = l->refused = l->wrong = 0;
	begin(l, false);
}

static int look_at_intake(struct lane *l, struct diag *d)
{
	uint64_t from = 0;

	switch (lfs_intake_state(l->f->intake, l->index, &from)) {
	case LFS_LANE_OPEN:
		l->got = from;
		wait_until(l, 0);
		if (from == object_of(l)->size)
			finish_transfer(l);
		return 0;
	case LFS_LANE_RIGHT:
		lfs_links_done(l->f->links, l->object);
		l->f->done_cnt++;
		l->phase = FREE;
		return 0;
	case LFS_LANE_WRONG:
		return object_is_wrong(l, d);
	default:
		return 0;
	}
}

static int look_at_lane(struct lane *l, uint64_t now, struct diag *d)
{
	const struct lfs_link *link;
	int r;

	if (l->phase == BEGINNING || l->phase == ENDING) {
		r = look_at_intake(l, d);
		if (r < 0)
			return r;
	}
	if (l->phase == FREE)
		take_object(l, now);
	if (l->phase == RUNNING && l->is_held && lfs_intake_has_room(l->f->intake, l->index)) {
		l->is_held = false;
		http_go_on(l->http);
	}
	if (l->phase != WAITING || now < l->at)
		return 0;
	link = lfs_links_get(l->f->links, l->object, now);
	return link ? start_transfer(l, link, d) : 0;
}

/* ---- the fetch ---- */

static int take_ends(struct fetch *f, struct diag *d)
{
	struct http_end end;
	void *who;

	while ((who = http_net_ended(f->net, &end, d))) {
		int r = who == f->links ? lfs_links_ended(f->links, &end, now_ms(), d)
		                        : transfer_ended(who, &end, d);

		if (r < 0)
			return r;
	}
	return 0;
}

static unsigned longest_wait(const struct fetch *f, uint64_t now)
{
	uint64_t until = MIN(now + MAX_WAIT_MS, lfs_links_next_run(f->links));

	for (unsigned i = 0; i < f->lane_cnt; i++) {
		if (f->lane[i].phase == WAITING && f->lane[i].at > now)
			until = MIN(until, f->lane[i].at);
	}
	return (unsigned)(until > now ? until - now : 0);
}

static int run_once(struct fetch *f, struct diag *d)
{
	uint64_t now = now_ms();
	int r = lfs_intake_error(f->intake, d);

	for (unsigned i = 0; i < f->lane_cnt && r == 0; i++)
		r = look_at_lane(&f->lane[i], now, d);
	if (r == 0)
		r = lfs_links_run(f->links, now, d);
	if (r == 0 && f->done_cnt < f->cnt)
		r = http_net_wait(f->net, longest_wait(f, now), d);
	return r < 0 ? r : take_ends(f, d);
}

static int run(struct fetch *f, struct diag *d)
{
	while (f->done_cnt < f->cnt) {
		int r;

		if (f->opt->server.stop && atomic_load(f->opt->server.stop))
			return diag_set(d, -EINTR, "interrupted");
		r = run_once(f, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static void wake(void *ctx)
{
	struct fetch *f = ctx;

	http_net_wake(f->net);
}

/* ".../repository.git/info/lfs" is about what people see at ".../repository". */
static char *page_of(const char *url)
{
	size_t len = strlen(url);

	if (len > 9 && strcmp(url + len - 9, "/info/lfs") == 0)
		len -= 9;
	if (len > 4 && memcmp(url + len - 4, ".git", 4) == 0)
		len -= 4;
	return strndup(url, len);
}

static int make_lanes(struct fetch *f)
{
	f->lane_cnt = (unsigned)MIN(MIN(f->opt->transfers, LFS_MAX_TRANSFERS), f->cnt);
	for (unsigned i = 0; i < f->lane_cnt; i++) {
		struct lane *l = &f->lane[i];

		*l = (struct lane){ .f = f, .index = i };
		if (http_new(f->net, take_content, l, &l->http) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int make_fetch(struct fetch *f, struct diag *d)
{
	int r;

	f->repository = page_of(f->opt->server.url);
	if (!f->repository)
		return diag_set(d, -ENOMEM, "out of memory");
	r = http_net_new(&f->opt->server, &f->net, d);
	if (r < 0)
		return r;
	struct lfs_links_options links = { .fetch = f->opt,
		                           .object = f->object,
		                           .cnt = f->cnt,
		                           .sink = f->sink,
		                           .repository = f->repository };
	r = lfs_links_new(&links, f->net, &f->links, d);
	if (r < 0)
		return r;
	if (make_lanes(f) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	struct lfs_intake_options intake = { .lanes = f->lane_cnt,
		                             .workers = f->opt->workers,
		                             .sink = f->sink,
		                             .wake = wake,
		                             .ctx = f };
	return lfs_intake_new(&intake, &f->intake, d);
}

/* The workers first: they wake the network. */
static void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	lfs_intake_free(f->intake);
	for (unsigned i = 0; i < f->lane_cnt; i++)
		http_free(f->lane[i].http);
	lfs_links_free(f->links);
	http_net_free(f->net);
	free(f->repository);
	free(f);
}
DEFINE_SCOPED(fetch, struct fetch *, fetch_free)

int lfs_fetch(const struct lfs_options *opt, const struct lfs_object *object, size_t cnt,
              const struct lfs_sink *sink, struct diag *d)
{
	scoped(fetch) struct fetch *f = calloc(1, sizeof(*f));
	struct diag why = DIAG_INIT;
	int r;

	if (!f)
		return diag_set(d, -ENOMEM, "out of memory");
	f->opt = opt;
	f->object = object;
	f->cnt = cnt;
	f->sink = sink;
	if (cnt == 0)
		return 0;
	r = make_fetch(f, &why);
	if (r == 0)
		r = run(f, &why);
	if (r < 0 && d)
		*d = why;
	return r;
}
