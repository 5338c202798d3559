/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch requests: when, for which objects, and what becomes of their answers. One request is under
 * way at a time; the next one begins while the links of the last one are being used up.
 */
#include "lfs_links.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "http_retry.h"
#include "text.h"

#define MAX_LIFETIME_S 86400 /* a link that lives longer is not counted on */

enum link_state {
	LINK_NONE,  /* to be asked for */
	LINK_ASKED, /* in the request */
	LINK_THERE,
	LINK_DONE,
};

struct entry {
	struct lfs_link link;
	uint64_t until; /* LINK_THERE */
	enum link_state state;
	bool is_taken;
};

struct lfs_links {
	struct lfs_links_options opt;
	struct entry *entry;
	size_t first_left;          /* everything before was taken */
	size_t first_none;          /* nothing before is LINK_NONE */
	size_t none_cnt, ready_cnt; /* LINK_NONE; LINK_THERE and not taken */
	bool is_urgent;             /* something that was taken has no link */
	size_t max_asked;

	struct http *http;
	enum { IDLE, PAUSED, RUNNING } state;
	uint64_t at;    /* PAUSED: until then */
	unsigned tries; /* of this request */
	char *url, *text;
	bool with_credentials;
	const struct lfs_object *asked[LFS_BATCH_MAX_OBJECTS];
	struct entry *asked_entry[LFS_BATCH_MAX_OBJECTS];
	size_t asked_cnt;
	char *body;
	size_t body_len, body_cap;
	bool is_too_long;
};

/* ---- links ---- */

static enum http_taken take_body(void *ctx, const struct http_answer *a, const void *buf,
                                 size_t len)
{
	struct lfs_links *links = ctx;

	(void)a;
	if (len > LFS_BATCH_MAX_LEN - links->body_len) {
		links->is_too_long = true;
		return HTTP_TAKE_NO;
	}
	if (links->body_len + len > links->body_cap) {
		size_t cap = MAX(2 * links->body_cap, links->body_len + len);
		char *grown = realloc(links->body, cap);

		if (!grown)
			return HTTP_TAKE_NO;
		links->body = grown;
		links->body_cap = cap;
	}
	memcpy(links->body + links->body_len, buf, len);
	links->body_len += len;
	return HTTP_TAKEN;
}

int lfs_links_new(const struct lfs_links_options *opt, struct http_net *net, struct lfs_links **out,
                  struct diag *d)
{
	scoped(lfs_links) struct lfs_links *links = calloc(1, sizeof(*links));

	if (!links)
		return diag_set(d, -ENOMEM, "out of memory");
	links->opt = *opt;
	links->none_cnt = opt->cnt;
	links->max_asked = LFS_BATCH_MAX_OBJECTS;
	links->entry = calloc(opt->cnt, sizeof(*links->entry));
	if (asprintf(&links->url, "%s/objects/batch", opt->fetch->server.url) < 0)
		links->url = NULL;
	if (!links->entry || !links->url || http_new(net, take_body, links, &links->http) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	*out = take_ptr(links);
	return 0;
}

void lfs_links_free(struct lfs_links *links)
{
	if (!links)
		return;
	http_free(links->http);
	for (size_t i = 0; links->entry && i < links->opt.cnt; i++)
		lfs_link_release(&links->entry[i].link);
	free(links->entry);
	free(links->body);
	free(links->text);
	free(links->url);
	free(links);
}

static void forget_link(struct lfs_links *links, size_t i)
{
	struct entry *e = &links->entry[i];

	lfs_link_release(&e->link);
	e->state = LINK_NONE;
	links->none_cnt++;
	links->first_none = MIN(links->first_none, i);
}

bool lfs_links_take(struct lfs_links *links, uint64_t now, size_t *i)
{
	for (size_t at = links->first_left; at < links->opt.cnt && links->ready_cnt > 0; at++) {
		struct entry *e = &links->entry[at];

		if (!e->is_taken && e->state == LINK_THERE) {
			links->ready_cnt--;
			if (now < e->until) {
				e->is_taken = true;
				*i = at;
				return true;
			}
			forget_link(links, at);
		}
		if (e->is_taken && at == links->first_left)
			links->first_left++;
	}
	return false;
}

const struct lfs_link *lfs_links_get(struct lfs_links *links, size_t i, uint64_t now)
{
	struct entry *e = &links->entry[i];

	if (e->state == LINK_THERE && now >= e->until)
		forget_link(links, i);
	if (e->state == LINK_THERE)
		return &e->link;
	links->is_urgent = true;
	return NULL;
}

void lfs_links_drop(struct lfs_links *links, size_t i)
{
	if (links->entry[i].state == LINK_THERE)
		forget_link(links, i);
}

void lfs_links_done(struct lfs_links *links, size_t i)
{
	if (links->entry[i].state == LINK_NONE)
		links->none_cnt--;
	lfs_link_release(&links->entry[i].link);
	links->entry[i].state = LINK_DONE;
}

/* ---- requests ---- */

static void choose_objects(struct lfs_links *links)
{
	size_t i = links->first_none;

	links->asked_cnt = 0;
	for (; i < links->opt.cnt && links->asked_cnt < links->max_asked; i++) {
		struct entry *e = &links->entry[i];

		if (e->state != LINK_NONE)
			continue;
		e->state = LINK_ASKED;
		links->none_cnt--;
		links->asked[links->asked_cnt] = &links->opt.object[i];
		links->asked_entry[links->asked_cnt++] = e;
	}
	links->first_none = i;
}

/* What was asked for will be asked for another time. */
static void unchoose_objects(struct lfs_links *links)
{
	for (size_t i = 0; i < links->asked_cnt; i++) {
		struct entry *e = links->asked_entry[i];

		if (e->state == LINK_ASKED)
			forget_link(links, (size_t)(e - links->entry));
	}
	links->asked_cnt = 0;
	links->state = IDLE;
}

static int send_batch(struct lfs_links *links, struct diag *d)
{
	struct http_request request = { .url = links->url, .post = links->text };

	int r = links->with_credentials ? http_retry_show(&links->opt.fetch->server, &request, d)
	                                : 0;

	if (r < 0)
		return r;
	links->body_len = 0;
	links->is_too_long = false;
	links->state = RUNNING;
	return http_start(links->http, &request, d);
}

int lfs_links_run(struct lfs_links *links, uint64_t now, struct diag *d)
{
	if (links->state == PAUSED && now >= links->at) {
		links->state = IDLE;
		if (links->asked_cnt > 0)
			return send_batch(links, d);
	}
	if (links->state != IDLE || links->none_cnt == 0 ||
	    (!links->is_urgent && links->ready_cnt >= links->opt.fetch->transfers))
		return 0;
	links->is_urgent = false;
	choose_objects(links);
	free(take_ptr(links->text));
	if (lfs_batch_encode(links->asked, links->asked_cnt, &links->text) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	return send_batch(links, d);
}

uint64_t lfs_links_next_run(const struct lfs_links *links)
{
	return links->state == PAUSED ? links->at : UINT64_MAX;
}

/* ---- answers ---- */

static struct http_asked whole_repository(const struct lfs_links *links, const struct http_end *end)
{
	return (struct http_asked){ .what = links->opt.repository,
		                    .repository = links->opt.repository,
		                    .had_credentials = end->password,
		                    .is_away = end->is_away };
}

static int pause_batch(struct lfs_links *links, const struct http_end *end, uint64_t now,
                       struct diag *d)
{
	struct http_asked asked = whole_repository(links, end);
	uint64_t ms = 0;
	int r = http_retry_later(&links->opt.fetch->server, end, &asked, &links->tries, &ms, d);

	links->state = PAUSED;
	links->at = now + ms;
	return r;
}

/* 1: sent again, with credentials; 0: there are none, or none are left. */
static int log_in(struct lfs_links *links, const struct http_end *end, bool was_asked,
                  struct diag *d)
{
	int r = http_retry_login(&links->opt.fetch->server, end, links->url, was_asked, d);

	if (r <= 0)
		return r;
	links->with_credentials = true;
	r = send_batch(links, d);
	return r < 0 ? r : 1;
}

static int refuse_batch(struct lfs_links *links, const struct http_end *end, struct diag *d)
{
	struct http_asked asked = whole_repository(links, end);

	return http_retry_give_up(end, &asked, 1, d);
}

/* With a token limits are often higher, so it is shown although nobody asked for it. */
static int wait_or_log_in(struct lfs_links *links, const struct http_end *end, uint64_t now,
                          struct diag *d)
{
	int r = 0;

	if (end->answer.status == 429 && !links->with_credentials)
		r = log_in(links, end, false, d);
	return r == 0 ? pause_batch(links, end, now, d) : MIN(r, 0);
}

static int ask_for_less(struct lfs_links *links, const struct http_end *end, struct diag *d)
{
	if (links->asked_cnt <= 1)
		return refuse_batch(links, end, d);
	links->max_asked = links->asked_cnt / 2;
	unchoose_objects(links);
	return 0;
}

static int refuse_object(struct lfs_links *links, size_t i, const struct lfs_offer *offer,
                         const struct http_end *end, struct diag *d)
{
	struct http_asked asked = whole_repository(links, end);
	struct http_answer answer = { .status = offer->code };
	char name[TEXT_QUOTE_LEN];

	asked.what = links->opt.sink->name(links->asked[i]->ctx, name, sizeof(name));
	if (offer->code == 0)
		return diag_set(d, -EUCLEAN,
		                "%s: the server's answer has neither a link for it nor a reason",
		                asked.what);
	memcpy(answer.message, offer->message, sizeof(answer.message));
	return http_answer_refuse(&answer, &asked, (int64_t)time(NULL), d);
}

static void keep_link(struct lfs_links *links, struct entry *e, struct lfs_link *link, uint64_t now)
{
	e->until = now + MIN(link->lifetime_s, MAX_LIFETIME_S) * 900; /* ms: nine tenths of it */
	e->link = *link;
	*link = (struct lfs_link){ 0 };
	if (e->state == LINK_DONE) {
		lfs_link_release(&e->link);
		return;
	}
	e->state = LINK_THERE;
	links->ready_cnt += !e->is_taken;
}

/* Every object's offer; those that may do better later are asked for again, after a pause. */
static int take_offers(struct lfs_links *links, struct lfs_offer *offer, const struct http_end *end,
                       uint64_t now, struct diag *d)
{
	struct http_end later = *end;
	int r = 0;

	later.answer.status = 0;
	for (size_t i = 0; i < links->asked_cnt && r == 0; i++) {
		struct http_answer answer = { .status = offer[i].code };

		if (offer[i].link.href)
			keep_link(links, links->asked_entry[i], &offer[i].link, now);
		else if (http_answer_meaning(&answer, true) == HTTP_MEANS_AGAIN &&
		         offer[i].code > 0 && links->tries < links->opt.fetch->server.retries)
			later.answer.status = offer[i].code;
		else
			r = refuse_object(links, i, &offer[i], end, d);
	}
	unchoose_objects(links);
	if (r < 0 || later.answer.status == 0) {
		links->tries = 0;
		return r;
	}
	return pause_batch(links, &later, now, d);
}

static int take_answer(struct lfs_links *links, const struct http_end *end, uint64_t now,
                       struct diag *d)
{
	size_t cnt = links->asked_cnt;
	scoped_free struct lfs_offer *offer = calloc(cnt, sizeof(*offer));
	int r;

	if (!offer)
		return diag_set(d, -ENOMEM, "out of memory");
	r = lfs_batch_decode(links->body, links->body_len, (int64_t)time(NULL), links->asked, cnt,
	                     offer, d);
	if (r < 0)
		return diag_prefix(d, r, "%s: answer to a Git LFS batch request", links->url);
	if (end->password)
		credentials_accepted(links->opt.fetch->server.credentials, links->url);
	r = take_offers(links, offer, end, now, d);
	for (size_t i = 0; i < cnt; i++)
		lfs_link_release(&offer[i].link);
	return r;
}

static int take_end(struct lfs_links *links, const struct http_end *end, uint64_t now,
                    struct diag *d)
{
	int r;

	switch (http_answer_meaning(&end->answer, true)) {
	case HTTP_MEANS_DONE:
		return take_answer(links, end, now, d);
	case HTTP_MEANS_LOGIN:
		r = log_in(links, end, true, d);
		return r == 0 ? refuse_batch(links, end, d) : MIN(r, 0);
	case HTTP_MEANS_LESS:
		return ask_for_less(links, end, d);
	case HTTP_MEANS_AGAIN:
		return wait_or_log_in(links, end, now, d);
	default:
		return refuse_batch(links, end, d);
	}
}

int lfs_links_ended(struct lfs_links *links, const struct http_end *end, uint64_t now,
                    struct diag *d)
{
	switch (end->ending) {
	case HTTP_ENDED:
		return take_end(links, end, now, d);
	case HTTP_BROKEN:
		return pause_batch(links, end, now, d);
	case HTTP_STOPPED:
		if (links->is_too_long)
			return diag_set(d, -EUCLEAN,
			                "%s: answer to a Git LFS batch request of more than %d MiB",
			                links->url, (int)(LFS_BATCH_MAX_LEN / MIB));
		return diag_set(d, -ENOMEM, "out of memory");
	default:
		return d->err;
	}
}
