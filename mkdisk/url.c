/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a URL may look like. What is fetched from it is decided elsewhere.
 */
#include "url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "secret.h"
#include "text.h"

/* Where the authority begins; NULL for what is no such URL. */
static const char *authority_of(const char *text)
{
	if (strncasecmp(text, "http://", 7) == 0)
		return text + 7;
	return strncasecmp(text, "https://", 8) == 0 ? text + 8 : NULL;
}

/* The '@' behind credentials: the last one in the authority, so that all that may be secret stands
 * before it. */
static const char *find_at(const char *authority)
{
	return memrchr(authority, '@', strcspn(authority, "/?#"));
}

bool url_is_http(const char *text)
{
	return authority_of(text) != NULL;
}

char *url_without_credentials(const char *text)
{
	const char *authority = authority_of(text);
	const char *at = authority ? find_at(authority) : NULL;
	char *out = NULL;

	if (!at)
		return strdup(text);
	return asprintf(&out, "%.*s%s", (int)(authority - text), text, at + 1) < 0 ? NULL : out;
}

bool url_percent_decode(char *text)
{
	char *out = text;

	for (; *text; text++) {
		uint8_t byte = (uint8_t)*text;

		if (*text == '%') {
			char hex[3] = { text[1], text[1] ? text[2] : '\0', '\0' };

			if (hex_decode(hex, &byte, 1) < 0 || byte == 0)
				return false;
			text += 2;
		}
		*out++ = (char)byte;
	}
	*out = '\0';
	return true;
}

/* ---- parts: 0, -EINVAL, -ENOMEM ---- */

static int copy_part(const char *from, size_t len, char **out)
{
	*out = strndup(from, len);
	return *out ? 0 : -ENOMEM;
}

static int decode_part(const char *from, size_t len, char **out)
{
	int r = copy_part(from, len, out);

	return r == 0 && !url_percent_decode(*out) ? -EINVAL : r;
}

static int take_credentials(struct url *u, const char *from, size_t len)
{
	const char *colon = memchr(from, ':', len);
	size_t user_len = colon ? (size_t)(colon - from) : len;
	int r = memchr(from, '@', len) ? -EINVAL : 0;

	if (r == 0 && user_len > 0)
		r = decode_part(from, user_len, &u->user);
	if (r == 0 && colon)
		r = decode_part(colon + 1, len - user_len - 1, &u->password);
	return r;
}

static int take_port(struct url *u, const char *from, size_t len)
{
	unsigned port = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)from[i]))
			return -EINVAL;
		port = port * 10 + (unsigned)(from[i] - '0');
	}
	if (port == 0 || port > UINT16_MAX)
		return -EINVAL;
	u->port = (uint16_t)port;
	return 0;
}

/* Up to the colon of a port, or all of it. */
static size_t host_len(const char *from, size_t len)
{
	const char *end = from[0] == '[' ? memchr(from, ']', len) : memchr(from, ':', len);

	if (!end)
		return len;
	return (size_t)(end - from) + (*end == ']');
}

static bool is_host(const char *host, size_t len)
{
	bool is_address = len > 2 && host[0] == '[' && host[len - 1] == ']';

	if (len == 0)
		return false;
	for (size_t i = is_address; i < len - is_address; i++) {
		unsigned char c = (unsigned char)host[i];

		if (is_address ? !isxdigit(c) && c != ':' && c != '.'
		               : !isalnum(c) && c != '-' && c != '_' && c != '.')
			return false;
	}
	return true;
}

static int take_host(struct url *u, const char *from, size_t len)
{
	size_t part = host_len(from, len);
	int r = is_host(from, part) ? copy_part(from, part, &u->host) : -EINVAL;

	if (r < 0)
		return r;
	for (char *s = u->host; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	if (part == len)
		return 0;
	return from[part] == ':' ? take_port(u, from + part + 1, len - part - 1) : -EINVAL;
}

static bool has_odd_bytes(const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= ' ' || c >= 0x7f || c == '\\' || c == '#')
			return true;
	}
	return false;
}

static int take_apart(const char *text, struct url *u)
{
	const char *authority = authority_of(text);

	if (!authority || has_odd_bytes(text))
		return -EINVAL;
	u->is_https = authority - text == 8;
	u->port = u->is_https ? 443 : 80;
	size_t len = strcspn(authority, "/?");
	const char *at = find_at(authority);
	const char *host = at ? at + 1 : authority;
	int r = at ? take_credentials(u, authority, (size_t)(at - authority)) : 0;
	if (r == 0)
		r = take_host(u, host, len - (size_t)(host - authority));
	if (r < 0)
		return r;
	const char *rest = authority + len;
	if (asprintf(&u->path, "%s%s", *rest == '/' ? "" : "/", rest) < 0) {
		u->path = NULL;
		return -ENOMEM;
	}
	return 0;
}

int url_parse(const char *text, struct url *out, struct diag *d)
{
	scoped(url) struct url u = { 0 };
	char quoted[TEXT_QUOTE_LEN];
	int r = take_apart(text, &u);

	if (r == -ENOMEM)
		return diag_set(d, r, "out of memory for a URL");
	if (r < 0) {
		/* a secret may stand before any '@', also where none belongs */
		const char *at = strrchr(text, '@');
		const char *shown = at ? at + 1 : text;

		return diag_set(d, r,
		                "%s%s is not a URL that is understood: http or https, a host of "
		                "ASCII letters and digits, perhaps a port, a path with %%XX for "
		                "odd characters",
		                at ? "what ends in " : "",
		                text_quote(shown, strlen(shown), quoted, sizeof(quoted)));
	}
	*out = u;
	u = (struct url){ 0 };
	return 0;
}

void url_release(struct url *u)
{
	secret_free(u->password);
	secret_free(u->user);
	free(u->host);
	free(u->path);
	*u = (struct url){ 0 };
}

bool url_is_same_origin(const struct url *a, const struct url *b)
{
	return a->is_https == b->is_https && a->port == b->port && strcmp(a->host, b->host) == 0;
}
