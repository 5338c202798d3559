/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what follows from the end of a request to a git server. As with Git LFS nothing secret is
 * sent before the server asks for it, or limits those who send none.
 */
#include "git_http.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "http.h"
#include "http_retry.h"

#define WAIT_MS 200 /* until stop is looked at again */

struct git_http {
	const struct http_options *opt;
	struct http_net *net;
	struct http *http;
	bool with_credentials;
	/* of the request at hand */
	const struct git_http_request *rq;
	char *url;
	unsigned tries;
	int taken; /* what take said */
	struct diag *d;
};

static enum http_taken take_body(void *ctx, const struct http_answer *a, const void *buf,
                                 size_t len)
{
	struct git_http *h = ctx;

	(void)a;
	h->taken = h->rq->take(h->rq->ctx, buf, len, h->d);
	return h->taken < 0 ? HTTP_TAKE_NO : HTTP_TAKEN;
}

int git_http_new(const struct http_options *opt, struct git_http **out, struct diag *d)
{
	scoped(git_http) struct git_http *h = calloc(1, sizeof(*h));

	if (!h)
		return diag_set(d, -ENOMEM, "out of memory");
	h->opt = opt;
	int r = http_net_new(opt, &h->net, d);
	if (r < 0)
		return r;
	if (http_new(h->net, take_body, h, &h->http) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	*out = take_ptr(h);
	return 0;
}

void git_http_free(struct git_http *h)
{
	if (!h)
		return;
	http_free(h->http);
	http_net_free(h->net);
	free(h->url);
	free(h);
}

static bool must_stop(const struct git_http *h)
{
	return h->opt->stop && atomic_load(h->opt->stop);
}

/* Everything up to the end of one request. */
static int run_request(struct git_http *h, struct http_end *end, struct diag *d)
{
	/* some servers show repositories to those only who begin like git */
	static char agent[] = "User-Agent: git/2.0 (mkdisk/" MODELDISK_VERSION ")";
	static char v2[] = "Git-Protocol: version=2";
	char *header[] = { agent, v2 };
	struct http_request request = { .url = h->url,
		                        .post = h->rq->post,
		                        .post_type = "application/x-git-upload-pack-request",
		                        .header = header,
		                        .header_cnt = h->rq->is_v2 ? 2 : 1 };
	int r = h->rq->begin(h->rq->ctx, d);

	h->taken = 0;
	if (r == 0 && h->with_credentials)
		r = http_retry_show(h->opt, &request, d);
	if (r == 0)
		r = http_start(h->http, &request, d);
	while (r == 0) {
		if (http_net_ended(h->net, end, d))
			return 0;
		if (must_stop(h))
			return diag_set(d, -EINTR, "interrupted");
		r = http_net_wait(h->net, WAIT_MS, d);
	}
	return r;
}

static int pause_request(struct git_http *h, uint64_t ms, struct diag *d)
{
	for (uint64_t slept = 0; slept < ms; slept += WAIT_MS) {
		struct timespec t = { .tv_nsec = (long)MIN(ms - slept, WAIT_MS) * 1000000 };

		if (must_stop(h))
			return diag_set(d, -EINTR, "interrupted");
		nanosleep(&t, NULL);
	}
	return 0;
}

/* 1: ask again with credentials; 0: there are none. */
static int log_in(struct git_http *h, const struct http_end *end, bool was_asked, struct diag *d)
{
	int r = http_retry_login(h->opt, end, h->url, was_asked, d);

	h->with_credentials = h->with_credentials || r > 0;
	return r;
}

static int try_again(struct git_http *h, const struct http_end *end, const struct http_asked *asked,
                     struct diag *d)
{
	uint64_t ms = 0;
	int r = 0;

	if (end->answer.status == 429 && !h->with_credentials)
		r = log_in(h, end, false, d);
	if (r != 0)
		return r;
	r = http_retry_later(h->opt, end, asked, &h->tries, &ms, d);
	if (r == 0)
		r = pause_request(h, ms, d);
	return r < 0 ? r : 1;
}

/* 1: ask again; 0: done; else the end. */
static int judge(struct git_http *h, const struct http_end *end, struct diag *d)
{
	struct http_asked asked = { .what = h->opt->url,
		                    .repository = h->opt->url,
		                    .had_credentials = end->password,
		                    .is_away = end->is_away };
	int r;

	if (end->ending == HTTP_STOPPED)
		return h->taken;
	if (end->ending == HTTP_HOPELESS)
		return diag_prefix(d, d->err, "%s", asked.what);
	if (end->ending == HTTP_BROKEN)
		return try_again(h, end, &asked, d);
	switch (http_answer_meaning(&end->answer, true)) {
	case HTTP_MEANS_DONE:
		if (end->password)
			credentials_accepted(h->opt->credentials, h->url);
		return 0;
	case HTTP_MEANS_LOGIN:
		r = log_in(h, end, true, d);
		return r != 0 ? r : http_retry_give_up(end, &asked, 1, d);
	case HTTP_MEANS_AGAIN:
		return try_again(h, end, &asked, d);
	default:
		return http_retry_give_up(end, &asked, 1, d);
	}
}

int git_http_ask(struct git_http *h, const struct git_http_request *rq, struct diag *d)
{
	struct diag unheard = DIAG_INIT;
	size_t len = strlen(h->opt->url);
	int r = 1;

	d = d ? d : &unheard; /* how a request ended is read from it */
	while (len > 0 && h->opt->url[len - 1] == '/')
		len--;
	free(take_ptr(h->url));
	if (asprintf(&h->url, "%.*s%s", (int)len, h->opt->url, rq->path) < 0) {
		h->url = NULL;
		return diag_set(d, -ENOMEM, "out of memory");
	}
	h->rq = rq;
	h->d = d;
	h->tries = 0;
	while (r > 0) {
		struct http_end end;

		r = run_request(h, &end, d);
		if (r == 0)
			r = judge(h, &end, d);
	}
	return r;
}
