/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who gets which secret, and in which order places are looked in. What those look like is
 * netrc.c's and credential_helper.c's.
 */
#include "credentials.h"

#include <errno.h>
#include <stdio.h>

#include "credential_helper.h"
#include "netrc.h"
#include "secret.h"

/* Where a server's secret comes from; looked in from the first to the last. */
enum place { PLACE_URL, PLACE_TOKEN, PLACE_NETRC, PLACE_HELPER, PLACE_NONE };

struct server {
	struct url url;
	char *token; /* may go to it; or NULL */
	enum place place;
	char *user, *password; /* from place; NULL as long as it was not looked in */
	bool was_told;         /* the helper knows that they were accepted */
};

struct credentials {
	struct server server[2]; /* SOURCE, --lfs-url */
	size_t server_cnt;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for credentials");
}

static void forget(struct server *s)
{
	secret_free(take_ptr(s->user));
	secret_free(take_ptr(s->password));
	s->was_told = false;
}

static int add_server(struct credentials *c, const char *url, struct diag *d)
{
	struct server *s = &c->server[c->server_cnt];
	int r = url_parse(url, &s->url, d);

	if (r == 0)
		c->server_cnt++;
	return r;
}

/* A token read from a file often brings the end of its line along. */
static int set_token(struct server *s, const char *token, struct diag *d)
{
	size_t len = token ? strlen(token) : 0;

	while (len > 0 && strchr(" \t\r\n", token[len - 1]))
		len--;
	if (len == 0)
		return 0;
	s->token = strndup(token, len);
	return s->token ? 0 : out_of_memory(d);
}

int credentials_new(const struct credentials_options *opt, struct credentials **out, struct diag *d)
{
	scoped(credentials) struct credentials *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return out_of_memory(d);
	if (opt->source_url) {
		r = add_server(c, opt->source_url, d);
		if (r == 0)
			r = set_token(&c->server[0], opt->token, d);
	}
	if (r == 0 && opt->lfs_url)
		r = add_server(c, opt->lfs_url, d);
	if (r < 0)
		return r;
	*out = take_ptr(c);
	return 0;
}

void credentials_free(struct credentials *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < ARRAY_LEN(c->server); i++) {
		forget(&c->server[i]);
		secret_free(c->server[i].token);
		url_release(&c->server[i].url);
	}
	free(c);
}

/* NULL: the user has not named it. */
static struct server *find_server(struct credentials *c, const struct url *u)
{
	for (size_t i = 0; i < c->server_cnt; i++)
		if (url_is_same_origin(&c->server[i].url, u))
			return &c->server[i];
	return NULL;
}

/* ---- places: 1 found, 0 not, or an error ---- */

static int give(struct server *s, const char *user, const char *password, struct diag *d)
{
	s->user = strdup(user);
	s->password = strdup(password);
	if (s->user && s->password)
		return 1;
	forget(s);
	return out_of_memory(d);
}

static int look_in_url(struct server *s, struct diag *d)
{
	if (!s->url.password)
		return 0;
	return give(s, s->url.user ? s->url.user : "", s->url.password, d);
}

static int look_in_token(struct server *s, struct diag *d)
{
	const char *colon = s->token ? strchr(s->token, ':') : NULL;

	if (!s->token)
		return 0;
	if (!colon) /* the name that such servers ignore, as the reference gives it */
		return give(s, s->url.user ? s->url.user : "api", s->token, d);
	scoped(secret) char *user = strndup(s->token, (size_t)(colon - s->token));
	return user ? give(s, user, colon + 1, d) : out_of_memory(d);
}

static int look_in_netrc(struct server *s, struct diag *d)
{
	const char *named = getenv("NETRC"), *home = getenv("HOME");
	scoped_free char *path = NULL;

	if (!named && !(home && *home))
		return 0;
	int len = named ? asprintf(&path, "%s", named) : asprintf(&path, "%s/.netrc", home);
	if (len < 0) {
		path = NULL;
		return out_of_memory(d);
	}
	return netrc_find(path, s->url.host, s->url.user, &s->user, &s->password, d);
}

static int look_in_helper(struct server *s, struct diag *d)
{
	int r = credential_helper_fill(&s->url, &s->user, &s->password);

	return r < 0 ? out_of_memory(d) : r;
}

static int look_in(struct server *s, struct diag *d)
{
	switch (s->place) {
	case PLACE_URL:
		return look_in_url(s, d);
	case PLACE_TOKEN:
		return look_in_token(s, d);
	case PLACE_NETRC:
		return look_in_netrc(s, d);
	case PLACE_HELPER:
		return look_in_helper(s, d);
	case PLACE_NONE:
		break;
	}
	return 0;
}

static const char *const place_names[] = { "the URL", "GIT_PAT", "~/.netrc",
	                                   "git's credential helper" };

static int find(struct server *s, bool did_ask, struct credential *out, struct diag *d)
{
	enum place last = did_ask ? PLACE_HELPER : PLACE_NETRC;

	for (; !s->password && s->place <= last; s->place += !s->password) {
		int r = look_in(s, d);

		if (r < 0)
			return r;
	}
	if (!s->password)
		return 0;
	*out = (struct credential){ s->user, s->password, place_names[s->place] };
	return 1;
}

int credentials_find(struct credentials *c, const char *url, bool did_ask, struct credential *out,
                     struct diag *d)
{
	scoped(url) struct url u = { 0 };
	int r = url_parse(url, &u, d);

	if (r < 0)
		return r;
	struct server *s = find_server(c, &u);
	return s ? find(s, did_ask, out, d) : 0;
}

/* The server of url, if it was given something. */
static struct server *find_given(struct credentials *c, const char *url)
{
	scoped(url) struct url u = { 0 };
	struct server *s = url_parse(url, &u, NULL) == 0 ? find_server(c, &u) : NULL;

	return s && s->password ? s : NULL;
}

void credentials_accepted(struct credentials *c, const char *url)
{
	struct server *s = find_given(c, url);

	if (!s || s->place != PLACE_HELPER || s->was_told)
		return;
	credential_helper_tell(&s->url, s->user, s->password, true);
	s->was_told = true;
}

void credentials_refused(struct credentials *c, const char *url)
{
	struct server *s = find_given(c, url);

	if (!s)
		return;
	if (s->place == PLACE_HELPER)
		credential_helper_tell(&s->url, s->user, s->password, false);
	s->place = s->place == PLACE_NETRC ? PLACE_HELPER : PLACE_NONE;
	forget(s);
}
