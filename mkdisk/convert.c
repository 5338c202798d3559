/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversions themselves. git has two implementations of "ident": most files stream through a
 * state machine, while those with text=auto or an encoding are converted in memory; the two differ
 * on odd input, and both are here.
 */
#include "convert.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "text.h"

enum convert_eol {
	EOL_KEEP,
	EOL_CRLF,      /* every LF that has no CR yet */
	EOL_AUTO_CRLF, /* if it looks like text and has no CR at all */
};

enum convert_ident { IDENT_OFF, IDENT_STREAMED, IDENT_WHOLE };

/* Growing output. */
struct buffer {
	uint8_t *p;
	size_t len, cap;
};

static inline void scope_end_buffer(struct buffer *b)
{
	free(b->p);
}

static int buffer_add(struct buffer *b, const void *bytes, size_t len)
{
	if (len > b->cap - b->len) {
		size_t cap = b->cap * 2 + len + 64;
		uint8_t *p = realloc(b->p, cap);

		if (!p)
			return -ENOMEM;
		b->p = p;
		b->cap = cap;
	}
	if (len > 0)
		memcpy(b->p + b->len, bytes, len);
	b->len += len;
	return 0;
}

static int buffer_add_byte(struct buffer *b, uint8_t c)
{
	return buffer_add(b, &c, 1);
}

/* ---------------------------------------------------------------------------------- attributes */

struct encoding {
	const char *name; /* behind "UTF" and an optional '-' */
	uint8_t width;
	bool is_big_endian, has_mark;
};

/* conversion.encoding is an index in this. */
static const struct encoding encodings[] = {
	{ "8", 0, false, false },   { "16", 2, false, true },       { "16LE", 2, false, false },
	{ "16BE", 2, true, false }, { "16LE-BOM", 2, false, true }, { "16BE-BOM", 2, true, true },
	{ "32", 4, false, true },   { "32LE", 4, false, false },    { "32BE", 4, true, false },
};

static bool value_is(const struct attribute_setting *s, const char *value)
{
	return s->state == ATTRIBUTE_VALUE && strcmp(s->value, value) == 0;
}

static int encoding_init(struct conversion *c, const struct attribute_setting *s,
                         const char *quoted, struct diag *d)
{
	char name[TEXT_QUOTE_LEN];
	const char *utf = NULL;

	if (s->state == ATTRIBUTE_UNSPECIFIED || s->state == ATTRIBUTE_FALSE || value_is(s, ""))
		return 0;
	if (s->state == ATTRIBUTE_TRUE)
		return diag_set(d, -EUCLEAN,
		                "file %s: its attribute working-tree-encoding names no encoding",
		                quoted);
	if (strncasecmp(s->value, "UTF", 3) == 0)
		utf = s->value[3] == '-' ? s->value + 4 : s->value + 3;
	for (size_t i = 0; utf && i < ARRAY_LEN(encodings); i++)
		if (strcasecmp(utf, encodings[i].name) == 0) {
			c->encoding = (uint8_t)i;
			return 0;
		}
	return diag_set(d, -EOPNOTSUPP,
	                "file %s: its attribute working-tree-encoding names %s; supported are "
	                "UTF-8, UTF-16 and UTF-32",
	                quoted, text_quote(s->value, strlen(s->value), name, sizeof(name)));
}

int conversion_init(struct conversion *c, const struct attribute_setting set[ATTRIBUTE_CNT],
                    const char *quoted, struct diag *d)
{
	const struct attribute_setting *text = &set[ATTRIBUTE_TEXT], *eol = &set[ATTRIBUTE_EOL];

	*c = (struct conversion){ 0 };
	int r = encoding_init(c, &set[ATTRIBUTE_ENCODING], quoted, d);
	if (r < 0)
		return r;
	/* a value of "text" that git does not know counts as none */
	if (text->state == ATTRIBUTE_UNSPECIFIED ||
	    (text->state == ATTRIBUTE_VALUE && !value_is(text, "auto") && !value_is(text, "input")))
		text = &set[ATTRIBUTE_CRLF];
	bool is_auto = value_is(text, "auto");
	if (text->state != ATTRIBUTE_FALSE && value_is(eol, "crlf"))
		c->eol = is_auto ? EOL_AUTO_CRLF : EOL_CRLF;
	if (set[ATTRIBUTE_IDENT].state == ATTRIBUTE_TRUE) {
		bool is_whole = c->encoding || (is_auto && !value_is(eol, "lf"));

		c->ident = is_whole ? IDENT_WHOLE : IDENT_STREAMED;
	}
	return 0;
}

bool conversion_is_none(const struct conversion *c)
{
	return c->eol == EOL_KEEP && c->ident == IDENT_OFF && c->encoding == 0;
}

/* --------------------------------------------------------------------------------------- ident */

/* git's idea of white space */
static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Is what lies between two '$' the keyword of another system, with several words in it? Looked at
 * up to the first NUL.
 */
static bool is_foreign(const uint8_t *s, size_t len)
{
	static const char head[] = "$Id: ";
	size_t at = strlen(head);

	if (len < at || memcmp(s, head, at) != 0)
		return false;
	for (; at < len && s[at]; at++)
		if (is_space(s[at]) && (at + 1 == len || s[at + 1] != '$'))
			return true;
	return false;
}

/*
 * The state machine: bytes that may belong to a keyword gather in held, from its '$' on, and are
 * given out when that is decided.
 */
struct ident {
	struct buffer held, *out;
	size_t matched;   /* bytes of "$Id" seen */
	bool is_skipping; /* behind "$Id:", on the way to '$' or the end of the line */
	const char *id;
};

static int ident_give_out(struct ident *m)
{
	int r = buffer_add(m->out, m->held.p, m->held.len);

	m->held.len = 0;
	m->matched = 0;
	m->is_skipping = false;
	return r;
}

static int ident_expand(struct ident *m)
{
	char text[80];
	int len = snprintf(text, sizeof(text), ": %s $", m->id);

	return buffer_add(&m->held, text, (size_t)len);
}

/* A byte behind "$Id:". What was held before the keyword is lost when that is replaced. */
static int ident_skip(struct ident *m, uint8_t c)
{
	int r = buffer_add_byte(&m->held, c);

	if (r < 0 || (c != '\n' && c != '$'))
		return r;
	if (c == '$' && !is_foreign(m->held.p, m->held.len)) {
		m->held.len = strlen("$Id");
		r = ident_expand(m);
	}
	return r < 0 ? r : ident_give_out(m);
}

static int ident_step(struct ident *m, uint8_t c)
{
	static const char head[] = "$Id";

	if (m->is_skipping)
		return ident_skip(m, c);
	if (m->matched < strlen(head) && head[m->matched] == (char)c) {
		m->matched++;
		return 0;
	}
	int r = buffer_add(&m->held, head, m->matched);
	if (r == 0 && m->matched == strlen(head) && c == '$') {
		r = ident_expand(m);
		return r < 0 ? r : ident_give_out(m);
	}
	if (r == 0)
		r = buffer_add_byte(&m->held, c);
	if (r < 0 || m->matched < strlen(head))
		return r < 0 ? r : ident_give_out(m);
	/* behind "$Id" with anything else git goes on without giving out what is held */
	m->is_skipping = c == ':';
	m->matched = 0;
	return 0;
}

static int ident_streamed(const uint8_t *in, size_t len, const char *id, struct buffer *out)
{
	struct ident m = { .out = out, .id = id };
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++)
		r = ident_step(&m, in[i]);
	if (r == 0)
		r = buffer_add(&m.held, "$Id", m.matched);
	if (r == 0)
		r = ident_give_out(&m);
	free(m.held.p);
	return r;
}

/*
 * Where the keyword at s ends, which begins with "$Id" and must be closed by '$' in its line; NULL
 * if it is none. A space that is not the last character before that '$' is another system's.
 */
static const uint8_t *keyword_end(const uint8_t *s, const uint8_t *end)
{
	if (end - s < 4 || memcmp(s, "$Id", 3) != 0)
		return NULL;
	if (s[3] == '$')
		return s + 4;
	const uint8_t *dollar = s[3] == ':' ? memchr(s + 4, '$', (size_t)(end - s - 4)) : NULL;
	if (!dollar || memchr(s + 4, '\n', (size_t)(dollar - s - 4)))
		return NULL;
	size_t len = dollar > s + 5 ? (size_t)(dollar - s - 5) : 0;
	const uint8_t *space = memchr(s + 5, ' ', len);
	return space && space < dollar - 1 ? NULL : dollar + 1;
}

static int ident_whole(const uint8_t *in, size_t len, const char *id, struct buffer *out)
{
	const uint8_t *end = in + len;
	char text[80];
	int text_len = snprintf(text, sizeof(text), "$Id: %s $", id);

	while (in < end) {
		const uint8_t *dollar = memchr(in, '$', (size_t)(end - in));
		const uint8_t *next = dollar ? keyword_end(dollar, end) : NULL;
		const uint8_t *kept = !dollar ? end : next ? dollar : dollar + 1;
		int r = buffer_add(out, in, (size_t)(kept - in));

		if (r == 0 && next)
			r = buffer_add(out, text, (size_t)text_len);
		if (r < 0)
			return r;
		in = next ? next : kept;
	}
	return 0;
}

/* -------------------------------------------------------------------------------- line endings */

/* git's guess: no lone CR, no NUL, at most one control character to 128 others. */
static bool looks_like_text(const uint8_t *in, size_t len)
{
	size_t control = 0, printable = 0;

	for (size_t i = 0; i < len; i++) {
		if (in[i] == 0 || (in[i] == '\r' && (i + 1 == len || in[i + 1] != '\n')))
			return false;
		if (in[i] == '\r' || in[i] == '\n')
			continue;
		if (in[i] == 127 || (in[i] < ' ' && !strchr("\b\t\033\f", in[i])))
			control++;
		else
			printable++;
	}
	if (len > 0 && in[len - 1] == 032) /* the end-of-file character of old */
		control--;
	return printable >> 7 >= control;
}

static int lf_to_crlf(const uint8_t *in, size_t len, struct buffer *out)
{
	size_t done = 0;

	for (size_t i = 0; i < len; i++) {
		if (in[i] != '\n' || (i > 0 && in[i - 1] == '\r'))
			continue;
		int r = buffer_add(out, in + done, i - done);

		if (r == 0)
			r = buffer_add_byte(out, '\r');
		if (r < 0)
			return r;
		done = i;
	}
	return buffer_add(out, in + done, len - done);
}

static bool eol_applies(const struct conversion *c, const uint8_t *in, size_t len)
{
	if (c->eol == EOL_AUTO_CRLF)
		return !memchr(in, '\r', len) && looks_like_text(in, len);
	return c->eol == EOL_CRLF;
}

/* ------------------------------------------------------------------------------------ encoding */

static int put_unit(struct buffer *out, const struct encoding *e, uint32_t unit)
{
	uint8_t bytes[4];

	for (size_t i = 0; i < e->width; i++)
		bytes[e->is_big_endian ? e->width - 1U - i : i] = (uint8_t)(unit >> 8 * i);
	return buffer_add(out, bytes, e->width);
}

static int put_character(struct buffer *out, const struct encoding *e, uint32_t c)
{
	if (e->width == 4 || c < 0x10000)
		return put_unit(out, e, c);
	c -= 0x10000;
	int r = put_unit(out, e, 0xD800 | c >> 10);
	return r < 0 ? r : put_unit(out, e, 0xDC00 | (c & 0x3FF));
}

/* The caller knows that in is UTF-8. */
static int encode(const struct encoding *e, const uint8_t *in, size_t len, struct buffer *out)
{
	int r = e->has_mark ? put_unit(out, e, 0xFEFF) : 0;

	while (r == 0 && len > 0) {
		uint32_t c = 0;
		size_t n = utf8_decode(in, len, &c);

		r = put_character(out, e, c);
		in += n;
		len -= n;
	}
	return r;
}

/* ------------------------------------------------------------------------------------------- */

/* One step's output becomes the next one's input. */
struct stage {
	struct buffer out;
	const uint8_t *in;
	size_t len;
};

static void stage_next(struct stage *s, struct buffer *made)
{
	free(s->out.p);
	s->out = *made;
	*made = (struct buffer){ 0 };
	s->in = s->out.p;
	s->len = s->out.len;
}

static int run_stages(const struct conversion *c, const char *id, struct stage *s)
{
	scoped(buffer) struct buffer made = { 0 };
	int r = 0;

	if (c->ident != IDENT_OFF) {
		r = c->ident == IDENT_WHOLE ? ident_whole(s->in, s->len, id, &made)
		                            : ident_streamed(s->in, s->len, id, &made);
		if (r < 0)
			return r;
		stage_next(s, &made);
	}
	if (eol_applies(c, s->in, s->len)) {
		r = lf_to_crlf(s->in, s->len, &made);
		if (r < 0)
			return r;
		stage_next(s, &made);
	}
	/* what cannot be encoded git leaves as it is */
	if (c->encoding && utf8_is_valid((const char *)s->in, s->len)) {
		r = encode(&encodings[c->encoding], s->in, s->len, &made);
		if (r < 0)
			return r;
		stage_next(s, &made);
	}
	return 0;
}

int conversion_apply(const struct conversion *c, const char *id, const void *in, size_t len,
                     void **out, size_t *out_len)
{
	struct stage s = { .in = in, .len = len };

	*out = NULL;
	*out_len = len;
	if (len == 0)
		return 0;
	int r = run_stages(c, id, &s);
	if (r < 0) {
		free(s.out.p);
		return r;
	}
	*out = s.out.p;
	*out_len = s.len;
	return 0;
}
