/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads headers and statuses. Decides which statuses may pass and which are final, and says the
 * final ones so that a person knows what to do next.
 */
#include "http_answer.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "text.h"

/* ---- header ---- */

/* A decimal number at *s, which is moved behind it. */
static bool take_number(const char **s, uint64_t *out)
{
	const char *digit = *s;
	uint64_t v = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++) {
		if (!mul_u64(v, 10, &v) || !add_u64(v, (uint64_t)(*digit - '0'), &v))
			return false;
	}
	if (digit == *s)
		return false;
	*s = digit;
	*out = v;
	return true;
}

static void set_status(struct http_answer *a, const char *line)
{
	const char *s = strchr(line, ' ');
	uint64_t status = 0;

	*a = (struct http_answer){ 0 };
	if (!s)
		return;
	s++;
	if (take_number(&s, &status) && status <= 999)
		a->status = (unsigned)status;
}

static void set_length(struct http_answer *a, const char *value)
{
	a->has_len = take_number(&value, &a->len) && !*value;
}

/* "bytes 100-199/200" or "bytes 100-199/" and an asterisk (RFC 9110 14.4). */
static void set_range(struct http_answer *a, const char *value)
{
	if (strncasecmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	a->has_range = take_number(&value, &a->range_first) && *value++ == '-' &&
	               take_number(&value, &a->range_last) && *value == '/' &&
	               a->range_first <= a->range_last;
}

static void set_wait(struct http_answer *a, uint64_t seconds)
{
	a->wait_s = a->has_wait ? MAX(a->wait_s, seconds) : seconds;
	a->has_wait = true;
}

/* Seconds, or a date (RFC 9110 10.2.3). */
static void set_retry_after(struct http_answer *a, const char *value, int64_t now)
{
	const char *s = value;
	uint64_t seconds = 0;
	time_t when;

	if (take_number(&s, &seconds) && !*s) {
		set_wait(a, seconds);
		return;
	}
	when = curl_getdate(value, NULL);
	if (when >= 0)
		set_wait(a, when > now ? (uint64_t)(when - now) : 0);
}

/* "resolvers";r=0;t=120 (draft-ietf-httpapi-ratelimit-headers): nothing left for t seconds. */
static void set_rate_limit(struct http_answer *a, const char *value)
{
	const char *r = strstr(value, ";r="), *t = strstr(value, ";t=");
	uint64_t left = 0, seconds = 0;

	if (!r || !t)
		return;
	r += 3;
	t += 3;
	if (take_number(&r, &left) && take_number(&t, &seconds) && left == 0)
		set_wait(a, seconds);
}

void http_answer_line(struct http_answer *a, const char *line, size_t len, int64_t now)
{
	char text[512], *value;

	while (len > 0 && strchr("\r\n \t", line[len - 1]))
		len--;
	len = MIN(len, sizeof(text) - 1);
	memcpy(text, line, len);
	text[len] = '\0';
	if (strncasecmp(text, "HTTP/", 5) == 0) {
		set_status(a, text);
		return;
	}
	value = strchr(text, ':');
	if (!value)
		return;
	*value++ = '\0';
	value += strspn(value, " \t");
	if (strcasecmp(text, "Content-Length") == 0)
		set_length(a, value);
	else if (strcasecmp(text, "Content-Range") == 0)
		set_range(a, value);
	else if (strcasecmp(text, "Retry-After") == 0)
		set_retry_after(a, value, now);
	else if (strcasecmp(text, "RateLimit") == 0)
		set_rate_limit(a, value);
	else if (strcasecmp(text, "X-Error-Code") == 0)
		snprintf(a->error_code, sizeof(a->error_code), "%s", value);
	else if (strcasecmp(text, "X-Error-Message") == 0)
		snprintf(a->message, sizeof(a->message), "%s", value);
}

void http_answer_message(struct http_answer *a, const char *body, size_t len)
{
	json_t *json = json_loadb(body, len, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "message"));

	snprintf(a->message, sizeof(a->message), "%s", text ? text : "");
	json_decref(json);
}

/* ---- meaning ---- */

static enum http_meaning batch_meaning(unsigned status)
{
	switch (status) {
	case 200:
		return HTTP_MEANS_DONE;
	case 401:
		return HTTP_MEANS_LOGIN;
	case 413:
		return HTTP_MEANS_LESS;
	default:
		return HTTP_MEANS_NO;
	}
}

/* Storage says of an expired link what it likes: S3 400 or 403, others 401, 404 or 410. */
static enum http_meaning object_meaning(unsigned status)
{
	switch (status) {
	case 200:
	case 206:
		return HTTP_MEANS_DONE;
	case 401:
		return HTTP_MEANS_LOGIN;
	case 400:
	case 403:
	case 404:
	case 410:
		return HTTP_MEANS_LINK;
	case 416:
		return HTTP_MEANS_WHOLE;
	default:
		return HTTP_MEANS_NO;
	}
}

enum http_meaning http_answer_meaning(const struct http_answer *a, bool is_batch)
{
	switch (a->status) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return HTTP_MEANS_REDIRECT;
	case 0: /* the connection broke before an answer came */
	case 408:
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
		return HTTP_MEANS_AGAIN;
	default:
		return is_batch ? batch_meaning(a->status) : object_meaning(a->status);
	}
}

uint64_t http_pause_ms(unsigned n, const struct http_answer *a)
{
	uint64_t ms = n > 6 ? 10000 : MIN(UINT64_C(125) << n, 10000);

	return a->has_wait ? MAX(ms, MIN(a->wait_s, HTTP_MAX_WAIT_S + 1) * 1000) : ms;
}

/* ---- refusals ---- */

/* " (the server says: ...)", or nothing. */
static const char *server_words(const struct http_answer *a, char *out, size_t out_len)
{
	char quoted[TEXT_QUOTE_LEN];

	*out = '\0';
	if (*a->message)
		snprintf(out, out_len, "; the server says %s",
		         text_quote(a->message, strlen(a->message), quoted, sizeof(quoted)));
	return out;
}

static int refuse_login(const struct http_asked *asked, const char *words, struct diag *d)
{
	if (asked->is_away)
		return diag_set(d, -EACCES,
		                "%s: redirected to another server, which asks for a token; only "
		                "the first one is given it%s",
		                asked->what, words);
	if (asked->had_credentials)
		return diag_set(d, -EACCES,
		                "%s: the server does not accept the token: it is wrong, has "
		                "expired, or is one of another server%s",
		                asked->what, words);
	return diag_set(d, -EACCES,
	                "%s: private, gated, or not there: the server asks for a token; set "
	                "GIT_PAT to one that may read it%s",
	                asked->what, words);
}

static int refuse_gated(const struct http_asked *asked, const char *words, struct diag *d)
{
	return diag_set(d, -EACCES,
	                "%s: gated: accept the conditions at %s with the account whose token "
	                "is in GIT_PAT%s",
	                asked->what, asked->repository, words);
}

static int refuse_unknown(const struct http_asked *asked, const char *words, struct diag *d)
{
	return diag_set(d, -ENOENT, "%s: not found, or private and %s%s", asked->what,
	                asked->had_credentials ? "the token may not see it"
	                                       : "no token was given in GIT_PAT",
	                words);
}

static int refuse_forbidden(const struct http_asked *asked, const char *words, struct diag *d)
{
	if (asked->had_credentials)
		return diag_set(d, -EACCES,
		                "%s: the token may not read this: it lacks the scope, or the "
		                "repository is gated (see %s)%s",
		                asked->what, asked->repository, words);
	return diag_set(d, -EACCES, "%s: forbidden without a token: set GIT_PAT%s", asked->what,
	                words);
}

static int refuse_limited(const struct http_answer *a, const struct http_asked *asked, int64_t now,
                          const char *words, struct diag *d)
{
	const char *advice = asked->had_credentials ? ""
	                                            : "; with a token in GIT_PAT limits are "
	                                              "often higher";
	time_t until = (time_t)(now + (int64_t)MIN(a->wait_s, INT64_C(1) << 40));
	char text[64] = "an unknown time";
	struct tm tm;

	if (a->has_wait && gmtime_r(&until, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	return diag_set(d, -EAGAIN, "%s: rate limited by the server until %s%s%s", asked->what,
	                text, advice, words);
}

int http_answer_refuse(const struct http_answer *a, const struct http_asked *asked, int64_t now,
                       struct diag *d)
{
	char words[TEXT_QUOTE_LEN + 32];

	server_words(a, words, sizeof(words));
	if (strcmp(a->error_code, "GatedRepo") == 0)
		return refuse_gated(asked, words, d);
	if (strcmp(a->error_code, "RepoNotFound") == 0)
		return refuse_unknown(asked, words, d);
	switch (a->status) {
	case 401:
		return refuse_login(asked, words, d);
	case 403:
		return refuse_forbidden(asked, words, d);
	case 404:
		return refuse_unknown(asked, words, d);
	case 410:
		return diag_set(d, -ENOENT, "%s: removed by its owner%s", asked->what, words);
	case 422:
		return diag_set(d, -EIO, "%s: the server holds the request to be invalid%s",
		                asked->what, words);
	case 429:
		return refuse_limited(a, asked, now, words, d);
	case 501:
		return diag_set(d, -EOPNOTSUPP, "%s: the server has no Git LFS%s", asked->what,
		                words);
	case 507:
		return diag_set(d, -EIO, "%s: the server has no space left%s", asked->what, words);
	case 509:
		return diag_set(d, -EAGAIN, "%s: the server's bandwidth limit is used up%s",
		                asked->what, words);
	default:
		return diag_set(d, -EIO, "%s: HTTP status %u%s", asked->what, a->status, words);
	}
}
