/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads git's configuration syntax, as far as values that are text go. Which of them has a say is
 * source.c's.
 */
#include "lfs_config.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

struct reader {
	const char *next, *end;
	unsigned line;
	char *section; /* "lfs", "remote.origin": the first word in lower case */
	char *key;     /* in lower case */
	char *value;
	char *remote_url; /* remote.origin.lfsurl */
	struct lfs_config found;
};

static void reader_release(struct reader *r)
{
	free(r->section);
	free(r->key);
	free(r->value);
	free(r->remote_url);
	lfs_config_release(&r->found);
}
static inline void scope_end_reader(struct reader *r)
{
	reader_release(r);
}

void lfs_config_release(struct lfs_config *c)
{
	free(c->url);
	free(c->fetch_include);
	free(c->fetch_exclude);
	*c = (struct lfs_config){ 0 };
}

/* ---- characters ---- */

/* 0 at the end; a carriage return before a line feed is none. */
static char peek(const struct reader *r)
{
	if (r->next == r->end)
		return '\0';
	if (*r->next == '\r' && r->next + 1 < r->end && r->next[1] == '\n')
		return '\n';
	return *r->next;
}

static char take(struct reader *r)
{
	char c = peek(r);

	if (r->next == r->end)
		return c;
	r->next += c == '\n' && *r->next == '\r' ? 2 : 1;
	r->line += c == '\n';
	return c;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_blanks(struct reader *r)
{
	while (is_blank(peek(r)))
		take(r);
}

static void skip_line(struct reader *r)
{
	while (r->next < r->end && take(r) != '\n')
		;
}

/* ---- parts: 0, -EUCLEAN, -ENOMEM ---- */

/* Letters, digits and what else there is in also, in lower case, at the end of *out. */
static void take_word(struct reader *r, const char *also, char *out, size_t *len)
{
	for (char c = peek(r); c && (isalnum((unsigned char)c) || strchr(also, c)); c = peek(r))
		out[(*len)++] = (char)tolower((unsigned char)take(r));
	out[*len] = '\0';
}

/* What is left, and a NUL: enough room for any part. */
static char *make_room(const struct reader *r)
{
	return malloc((size_t)(r->end - r->next) + 2);
}

/* [section "name"], behind the bracket */
static int take_section(struct reader *r)
{
	char *out = make_room(r), c;
	size_t len = 0;

	if (!out)
		return -ENOMEM;
	free(r->section);
	r->section = out;
	take_word(r, "-.", out, &len);
	skip_blanks(r);
	if (len > 0 && peek(r) == '"') {
		take(r);
		out[len++] = '.';
		while ((c = take(r)) != '"') {
			if (c == '\\')
				c = take(r);
			if (c == '\0' || c == '\n')
				return -EUCLEAN;
			out[len++] = c;
		}
		out[len] = '\0';
	}
	return len > 0 && take(r) == ']' ? 0 : -EUCLEAN;
}

/* One character behind a backslash; 0: a line that goes on, -EUCLEAN: none that git knows. */
static int take_escaped(struct reader *r)
{
	char c = take(r);

	switch (c) {
	case '\n':
		return 0;
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case '\\':
	case '"':
		return c;
	default:
		return -EUCLEAN;
	}
}

/* Up to the end of the line or a comment, without blanks at both ends but for those in quotes. */
static int take_value(struct reader *r)
{
	char *out = make_room(r), c;
	size_t len = 0, kept = 0;
	bool in_quotes = false;

	if (!out)
		return -ENOMEM;
	free(r->value);
	r->value = out;
	skip_blanks(r);
	while ((c = peek(r)) != '\0' && c != '\n' && (in_quotes || (c != '#' && c != ';'))) {
		bool is_escaped = c == '\\';
		int got = (unsigned char)take(r);

		if (c == '"') {
			in_quotes = !in_quotes;
			kept = len;
			continue;
		}
		if (is_escaped)
			got = take_escaped(r);
		if (got < 0)
			return -EUCLEAN;
		if (got == 0)
			continue;
		out[len++] = (char)got;
		if (in_quotes || is_escaped || !is_blank(c))
			kept = len;
	}
	out[kept] = '\0';
	skip_line(r);
	return in_quotes ? -EUCLEAN : 0;
}

/* The fields that keys stand for. */
static char **field_of(struct reader *r)
{
	if (strcmp(r->section, "lfs") == 0) {
		if (strcmp(r->key, "url") == 0)
			return &r->found.url;
		if (strcmp(r->key, "fetchinclude") == 0)
			return &r->found.fetch_include;
		if (strcmp(r->key, "fetchexclude") == 0)
			return &r->found.fetch_exclude;
	}
	if (strcmp(r->section, "remote.origin") == 0 && strcmp(r->key, "lfsurl") == 0)
		return &r->remote_url;
	return NULL;
}

/* An empty value is as good as none. */
static void set_field(char **field, char *value)
{
	free(*field);
	*field = value;
	if (!*value) {
		free(value);
		*field = NULL;
	}
}

static int take_setting(struct reader *r)
{
	size_t len = 0;

	if (!r->section || !isalpha((unsigned char)peek(r)))
		return -EUCLEAN;
	free(r->key);
	r->key = make_room(r);
	if (!r->key)
		return -ENOMEM;
	take_word(r, "-", r->key, &len);
	skip_blanks(r);
	if (peek(r) != '=') { /* a key alone is "true", which no key of ours can be */
		char c = peek(r);

		if (c != '\0' && c != '\n' && c != '#' && c != ';')
			return -EUCLEAN;
		skip_line(r);
		return 0;
	}
	take(r);
	int err = take_value(r);
	char **field = field_of(r);
	if (err == 0 && field)
		set_field(field, take_ptr(r->value));
	return err;
}

static int take_line(struct reader *r)
{
	switch (peek(r)) {
	case '\n':
	case ' ':
	case '\t':
		take(r);
		return 0;
	case '#':
	case ';':
		skip_line(r);
		return 0;
	case '[':
		take(r);
		return take_section(r);
	default:
		return take_setting(r);
	}
}

int lfs_config_parse(const char *text, size_t len, struct lfs_config *out, struct diag *d)
{
	scoped(reader) struct reader r = { .next = text, .end = text + len, .line = 1 };
	int err = memchr(text, '\0', len) ? -EUCLEAN : 0;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		r.next += 3;
	while (err == 0 && r.next < r.end)
		err = take_line(&r);
	if (err == -ENOMEM)
		return diag_set(d, err, "out of memory for " LFS_CONFIG_NAME);
	if (err < 0)
		return diag_set(d, err, LFS_CONFIG_NAME ": line %u is not understood", r.line);
	if (!r.found.url)
		r.found.url = take_ptr(r.remote_url);
	*out = r.found;
	r.found = (struct lfs_config){ 0 };
	return 0;
}
