/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration syntax. Decides what a line, a word and a path are, exactly as systemd reads them;
 * what they mean is left to definitions_parse.c.
 */
#include "conf.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <strings.h>

#include "text.h"

static const char blanks[] = " \t\n\r";

/* ---- lines ---- */

struct parser {
	const struct conf_text *t;
	const char *section; /* the one that is wanted */
	conf_assign assign;
	void *ctx;
	bool is_in_section, is_skipping; /* neither: before the first header */
};

/* Takes the blanks off both ends, in place. */
static char *strip(char *s)
{
	s += strspn(s, blanks);
	size_t len = strlen(s);

	while (len > 0 && strchr(blanks, s[len - 1]))
		len--;
	s[len] = '\0';
	return s;
}

static int refuse_line(const struct parser *p, unsigned line, const char *what, const char *text,
                       struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, -EINVAL, "%s:%u: %s: %s", p->t->file, line, what,
	                text_quote(text, strlen(text), quoted, sizeof(quoted)));
}

static int parse_header(struct parser *p, char *s, unsigned line, struct diag *d)
{
	size_t len = strlen(s);

	if (s[len - 1] != ']')
		return refuse_line(p, line, "section header without ]", s, d);
	s[len - 1] = '\0';
	s++;
	p->is_in_section = strcmp(s, p->section) == 0;
	p->is_skipping = !p->is_in_section && strncmp(s, "X-", 2) == 0;
	if (!p->is_in_section && !p->is_skipping)
		return refuse_line(p, line, "unknown section", s, d);
	return 0;
}

/* s is one whole line, continuation lines joined; it is changed. */
static int parse_line(struct parser *p, char *s, unsigned line, struct diag *d)
{
	struct conf_assignment a = { .file = p->t->file, .line = line };

	s = strip(s);
	if (*s == '\0')
		return 0;
	if (!utf8_is_valid(s, strlen(s)))
		return refuse_line(p, line, "not UTF-8", s, d);
	if (*s == '[')
		return parse_header(p, s, line, d);
	if (p->is_skipping)
		return 0;
	if (!p->is_in_section)
		return refuse_line(p, line, "outside of a section", s, d);
	char *equals = strchr(s, '=');
	if (!equals || equals == s)
		return refuse_line(p, line, "not KEY=VALUE", s, d);
	*equals = '\0';
	a.key = strip(s);
	a.value = strip(equals + 1);
	return strncmp(a.key, "X-", 2) == 0 ? 0 : p->assign(p->ctx, &a, d);
}

/* A line that ends with an odd number of backslashes goes on in the next one. */
static bool is_continued(const char *s, size_t len)
{
	size_t cnt = 0;

	while (cnt < len && s[len - 1 - cnt] == '\\')
		cnt++;
	return cnt % 2 == 1;
}

static bool is_comment(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && strchr(blanks, s[i]))
		i++;
	return i < len && (s[i] == '#' || s[i] == ';');
}

/*
 * Joins the physical lines that make one, in joined (room for all of the text): comments between
 * them are left out, the backslash becomes a blank.
 */
static int parse_lines(struct parser *p, char *joined, struct diag *d)
{
	const char *s = p->t->text, *end = s + p->t->len;
	unsigned line = 0, first_line = 0;
	size_t used = 0;

	while (s < end) {
		const char *newline = memchr(s, '\n', (size_t)(end - s));
		size_t len = (size_t)((newline ? newline : end) - s);
		const char *this = s;

		s += len + (newline ? 1 : 0);
		line++;
		len -= len > 0 && this[len - 1] == '\r';
		if (memchr(this, '\r', len))
			return diag_set(d, -EINVAL, "%s:%u: a carriage return inside a line",
			                p->t->file, line);
		if (is_comment(this, len))
			continue;
		if (used == 0)
			first_line = line;
		memcpy(joined + used, this, len);
		used += len;
		if (is_continued(this, len)) {
			joined[used - 1] = ' ';
			continue;
		}
		joined[used] = '\0';
		used = 0;
		int r = parse_line(p, joined, first_line, d);
		if (r < 0)
			return r;
	}
	/* the last line ended with a backslash */
	joined[used] = '\0';
	return parse_line(p, joined, first_line, d);
}

int conf_parse(const struct conf_text *t, const char *section, conf_assign assign, void *ctx,
               struct diag *d)
{
	static const char mark[] = { '\xEF', '\xBB', '\xBF' };
	struct conf_text text = *t;
	struct parser p = { .t = &text, .section = section, .assign = assign, .ctx = ctx };

	if (t->len > CONF_MAX_LEN)
		return diag_set(d, -EINVAL, "%s: longer than %" PRIu64 " bytes", t->file,
		                CONF_MAX_LEN);
	if (t->len > 0 && memchr(t->text, '\0', t->len))
		return diag_set(d, -EINVAL, "%s: a NUL byte in a text file", t->file);
	if (t->len >= sizeof(mark) && memcmp(t->text, mark, sizeof(mark)) == 0) {
		text.text += sizeof(mark);
		text.len -= sizeof(mark);
	}
	scoped_free char *joined = malloc(text.len + 1);
	if (!joined)
		return diag_set(d, -ENOMEM, "%s: out of memory", t->file);
	return parse_lines(&p, joined, d);
}

/* ---- words ---- */

static int digits_value(const char *p, size_t cnt, unsigned base, uint32_t *out)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t v = 0;

	for (size_t i = 0; i < cnt; i++) {
		const char *at =
		        p[i] ? strchr(digits, p[i] | ('A' <= p[i] && p[i] <= 'F' ? 32 : 0)) : NULL;

		if (!at || (size_t)(at - digits) >= base)
			return -EINVAL;
		v = v * base + (uint32_t)(at - digits);
	}
	*out = v;
	return 0;
}

/*
 * The escape at p, behind the backslash, as bytes at *out, which moves on. Returns the characters
 * it takes. A NUL is no character of a value.
 */
static int unescape(const char *p, char **out)
{
	static const char plain[] = "abfnrtvs\\\"'", plain_is[] = "\a\b\f\n\r\t\v \\\"'";
	/* \xHH and \ooo are bytes, \uHHHH and \UHHHHHHHH characters */
	static const struct {
		char letter;
		uint8_t skip, cnt, base;
		bool is_character;
	} coded[] = { { 'x', 1, 2, 16, false }, { 'u', 1, 4, 16, true }, { 'U', 1, 8, 16, true } };
	const char *at = *p ? strchr(plain, *p) : NULL;
	uint32_t v;

	if (at) {
		*(*out)++ = plain_is[at - plain];
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(coded); i++) {
		if (*p != coded[i].letter)
			continue;
		if (digits_value(p + 1, coded[i].cnt, coded[i].base, &v) < 0 || v == 0)
			return -EINVAL;
		if (coded[i].is_character) {
			if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
				return -EINVAL;
			*out += utf8_encode(v, *out);
		} else {
			*(*out)++ = (char)v;
		}
		return 1 + coded[i].cnt;
	}
	if (digits_value(p, 3, 8, &v) < 0 || v == 0 || v > 255)
		return -EINVAL;
	*(*out)++ = (char)v;
	return 3;
}

static int refuse_word(const char *value, const char *what, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, -EINVAL, "%s in %s", what,
	                text_quote(value, strlen(value), quoted, sizeof(quoted)));
}

/* Copies one word to out until a separator or the end; *p stays there. */
static int copy_word(const char **p, const char *separators, unsigned flags, char *out,
                     struct diag *d)
{
	const char *start = *p;
	char quote = '\0';

	for (; **p && (quote || !strchr(separators, **p)); (*p)++) {
		if (**p == '\\') {
			int len = 1;

			(*p)++;
			if (flags & CONF_UNESCAPE)
				len = unescape(*p, &out);
			else if (**p)
				*out++ = **p;
			if (len < 0 || **p == '\0')
				return refuse_word(start, "unknown escape", d);
			*p += len - 1;
		} else if (quote && **p == quote) {
			quote = '\0';
		} else if (!quote && (flags & CONF_UNQUOTE) && strchr("'\"", **p)) {
			quote = **p;
		} else {
			*out++ = **p;
		}
	}
	*out = '\0';
	return quote ? refuse_word(start, "unfinished quote", d) : 0;
}

int conf_word(const char **p, const char *separators, unsigned flags, char **out, struct diag *d)
{
	if (!separators)
		separators = blanks;
	if (!*p)
		return 0;
	if (!(flags & CONF_KEEP_EMPTY)) {
		*p += strspn(*p, separators);
		if (**p == '\0') {
			*p = NULL;
			return 0;
		}
	}
	/* no escape is shorter than what it stands for */
	scoped_free char *word = malloc(strlen(*p) + 1);
	if (!word)
		return diag_set(d, -ENOMEM, "out of memory");
	int r = copy_word(p, separators, flags, word, d);
	if (r < 0)
		return r;
	*p = **p ? *p + 1 : NULL;
	*out = take_ptr(word);
	return 1;
}

/* ---- specifiers, paths, numbers ---- */

int conf_expand(const char *value, char **out, struct diag *d)
{
	scoped_free char *s = malloc(strlen(value) + 1);
	char *to = s;

	if (!s)
		return diag_set(d, -ENOMEM, "out of memory");
	for (; *value; value++) {
		char next = value[0] == '%' ? value[1] : '\0';

		if (('0' <= next && next <= '9') || ('a' <= next && next <= 'z') ||
		    ('A' <= next && next <= 'Z'))
			return diag_set(
			        d, -EINVAL,
			        "%%%c stands for something of the building host, which must not "
			        "reach the root hash; write it out, or %%%% for a percent sign",
			        next);
		*to++ = *value;
		if (next == '%')
			value++;
	}
	*to = '\0';
	*out = take_ptr(s);
	return 0;
}

/* Moves the components of path together; false when one of them may not be in it. */
static bool join_components(char *path, bool keep_trailing_slash)
{
	char *to = path;
	const char *from = path;
	bool ends_with_slash = path[strlen(path) - 1] == '/';

	while (*from) {
		from += strspn(from, "/");
		size_t len = strcspn(from, "/");

		if (len > NAME_MAX || (len == 2 && memcmp(from, "..", 2) == 0))
			return false;
		if (len > 0 && !(len == 1 && *from == '.')) {
			*to++ = '/';
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	if (to == path || (keep_trailing_slash && ends_with_slash))
		*to++ = '/';
	*to = '\0';
	return true;
}

int conf_simplify_path(char *path, bool keep_trailing_slash, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	size_t len = strlen(path);

	if (path[0] != '/' || len >= PATH_MAX || !utf8_is_valid(path, len) ||
	    !join_components(path, keep_trailing_slash))
		return diag_set(d, -EINVAL, "%s is not an absolute path without \"..\"",
		                text_quote(path, strlen(path), quoted, sizeof(quoted)));
	return 0;
}

int conf_bool(const char *value, bool *out)
{
	static const char *const names[2][6] = { { "0", "no", "n", "false", "f", "off" },
		                                 { "1", "yes", "y", "true", "t", "on" } };

	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < ARRAY_LEN(names[i]); k++)
			if (strcasecmp(value, names[i][k]) == 0) {
				*out = i == 1;
				return 0;
			}
	return -EINVAL;
}

/* 010 is refused: systemd would read it as octal, people as ten. */
int conf_number(const char *value, uint64_t max, uint64_t *out)
{
	bool is_hex = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
	const char *p = is_hex ? value + 2 : value;
	uint64_t v = 0, base = is_hex ? 16 : 10;

	if (*p == '\0' || (!is_hex && p[0] == '0' && p[1] != '\0'))
		return -EINVAL;
	for (; *p; p++) {
		uint32_t digit;

		if (digits_value(p, 1, (unsigned)base, &digit) < 0)
			return -EINVAL;
		if (!mul_u64(v, base, &v) || !add_u64(v, digit, &v))
			return -ERANGE;
	}
	if (v > max)
		return -ERANGE;
	*out = v;
	return 0;
}
