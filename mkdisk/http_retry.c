/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how often, after what pause, and with which credentials something is tried again.
 */
#include "http_retry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define NOTE_PAUSE_MS 2000

static void tell_pause(const struct http_options *opt, const struct http_end *end, const char *what,
                       uint64_t ms)
{
	char sentence[DIAG_TEXT_LEN], status[32];

	if (!opt->note || ms < NOTE_PAUSE_MS)
		return;
	snprintf(status, sizeof(status), "HTTP status %u", end->answer.status);
	snprintf(sentence, sizeof(sentence), "%s: %s; tried again in %" PRIu64 " s", what,
	         end->ending == HTTP_BROKEN ? end->why : status, div_up(ms, 1000));
	opt->note(opt->ctx, sentence);
}

int http_retry_give_up(const struct http_end *end, const struct http_asked *asked, unsigned tries,
                       struct diag *d)
{
	char sentence[DIAG_TEXT_LEN];
	int r = -EIO;

	if (end->ending == HTTP_BROKEN)
		(void)diag_set(d, r, "%s: %s", asked->what, end->why);
	else
		r = http_answer_refuse(&end->answer, asked, (int64_t)time(NULL), d);
	if (!d || tries <= 1)
		return r;
	memcpy(sentence, d->text, sizeof(sentence));
	return diag_set(d, r, "%s; tried %u times", sentence, tries);
}

int http_retry_later(const struct http_options *opt, const struct http_end *end,
                     const struct http_asked *asked, unsigned *tries, uint64_t *ms, struct diag *d)
{
	bool is_too_long = end->answer.has_wait && end->answer.wait_s > HTTP_MAX_WAIT_S;

	++*tries;
	if (*tries > opt->retries || is_too_long)
		return http_retry_give_up(end, asked, *tries, d);
	*ms = http_pause_ms(*tries, &end->answer);
	tell_pause(opt, end, asked->what, *ms);
	return 0;
}

/* Several requests may come back with what only one of them can have made known as refused. */
static int refuse(struct credentials *c, const struct http_end *end, const char *url,
                  struct diag *d)
{
	struct credential given;
	int r = credentials_find(c, url, true, &given, d);

	if (r > 0 && strcmp(given.password, end->password) == 0)
		credentials_refused(c, url);
	return r < 0 ? r : 0;
}

int http_retry_login(const struct http_options *opt, const struct http_end *end, const char *url,
                     bool asked, struct diag *d)
{
	struct credential given;
	int r = 0;

	if (!opt->credentials || end->is_away)
		return 0;
	if (asked && end->password)
		r = refuse(opt->credentials, end, url, d);
	return r < 0 ? r : credentials_find(opt->credentials, url, asked, &given, d);
}

int http_retry_show(const struct http_options *opt, struct http_request *request, struct diag *d)
{
	struct credential given;
	int r = 0;

	if (opt->credentials)
		r = credentials_find(opt->credentials, request->url, true, &given, d);
	if (r <= 0)
		return r;
	request->user = given.user;
	request->password = given.password;
	return 0;
}
