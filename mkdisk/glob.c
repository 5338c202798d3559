/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Knows how git 2.39, git-lfs 3.3 (wildmatch 2.0.1) and bash 5.2 read wildcards and sets, and turns
 * all three into one list of tokens. What a pattern applies to is left to pattern.c and exclude.c.
 */
#include "glob.h"

#include <errno.h>

#include "text.h"

enum token_kind {
	TOKEN_BYTE,
	TOKEN_ONE,  /* any byte but '/' */
	TOKEN_SET,  /* one character of a set */
	TOKEN_STAR, /* any bytes but '/' */
	TOKEN_DEEP, /* any bytes */
	/* an optional directory: goes on here or behind the TOKEN_DEEP and '/' that follow */
	TOKEN_MAYBE_DIRS,
};
#define MAYBE_DIRS_LEN 3

struct token {
	uint8_t kind;
	uint8_t byte;
	uint16_t set;
};

/* Characters up to U+00FF. Only git-lfs has any behind it: those that are no UTF-8. */
struct set {
	uint8_t in[32], out[32];
	bool has_in; /* else everything not out is in */
	bool in_bad, out_bad;
	bool is_utf8; /* of characters, not bytes */
};

struct glob {
	struct token *token;
	struct set *set;
	size_t token_cnt, set_cnt;
};

/* The pattern being compiled. */
struct parse {
	const uint8_t *p;
	size_t len, at;
	struct glob *g;
};

static void bits_add(uint8_t bits[32], unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		bits[c / 8] |= (uint8_t)(1U << c % 8);
}

static bool bits_has(const uint8_t bits[32], unsigned c)
{
	return bits[c / 8] >> c % 8 & 1;
}

/* Byte at, 0 behind the end. */
static uint8_t byte_at(const struct parse *ps, size_t at)
{
	return at < ps->len ? ps->p[at] : 0;
}

/* Where text lies at or behind from; len if nowhere. */
static size_t find(const struct parse *ps, size_t from, const char *text)
{
	const uint8_t *hit =
	        from < ps->len ? memmem(ps->p + from, ps->len - from, text, strlen(text)) : NULL;

	return hit ? (size_t)(hit - ps->p) : ps->len;
}

static void emit(struct parse *ps, enum token_kind kind, uint8_t byte)
{
	ps->g->token[ps->g->token_cnt++] = (struct token){ .kind = (uint8_t)kind, .byte = byte };
}

static int emit_set(struct parse *ps, const struct set *s)
{
	struct glob *g = ps->g;
	struct set *grown = realloc(g->set, (g->set_cnt + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	g->set = grown;
	g->set[g->set_cnt] = *s;
	emit(ps, TOKEN_SET, 0);
	g->token[g->token_cnt - 1].set = (uint16_t)g->set_cnt++;
	return 0;
}

/*
 * ASCII by number: the program's locale has no say. Where git's own table differs from C's (VT and
 * FF are no space in it), bash's is C's.
 */
static bool class_has(enum glob_dialect dialect, const char *name, size_t len, int c)
{
	bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';
	bool is_digit = c >= '0' && c <= '9', is_print = c >= ' ' && c <= '~';
	bool is_alnum = is_upper || is_lower || is_digit;
	const struct {
		const char *name;
		bool has;
	} class[] = {
		{ "alnum", is_alnum },
		{ "alpha", is_upper || is_lower },
		{ "blank", c == ' ' || c == '\t' },
		{ "cntrl", c < ' ' || c == 127 },
		{ "digit", is_digit },
		{ "graph", is_print && c != ' ' },
		{ "lower", is_lower },
		{ "print", is_print },
		{ "punct", is_print && c != ' ' && !is_alnum },
		{ "space", c == ' ' || c == '\t' || c == '\n' || c == '\r' ||
		                   (dialect == GLOB_BASH && (c == '\v' || c == '\f')) },
		{ "upper", is_upper },
		{ "xdigit", is_digit || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f') },
		/* bash only */
		{ "ascii", dialect == GLOB_BASH },
		{ "word", dialect == GLOB_BASH && (is_alnum || c == '_') },
	};

	for (size_t i = 0; i < ARRAY_LEN(class); i++)
		if (strlen(class[i].name) == len && memcmp(class[i].name, name, len) == 0)
			return class[i].has;
	return false;
}

/* Adds a named class; false if there is none of that name. */
static bool set_add_class(struct set *s, enum glob_dialect dialect, const uint8_t *name, size_t len)
{
	bool known = false;

	for (unsigned c = 0; c < 128; c++)
		if (class_has(dialect, (const char *)name, len, (int)c)) {
			bits_add(s->in, c, c);
			known = true;
		}
	return known;
}

/* A set of bytes is complete. No set matches a '/'. */
static void set_finish_bytes(struct set *s, bool negated)
{
	s->has_in = true;
	for (size_t i = 0; negated && i < sizeof(s->in); i++)
		s->in[i] = (uint8_t)~s->in[i];
	s->in['/' / 8] &= (uint8_t) ~(1U << '/' % 8);
}

/* -------------------------------------------------------------------------------------- git */

/* "[:name:]" at ps->at, or a '[' that only looks like it. Returns the character that may begin a
 * range, 0: none. */
static int git_class(struct parse *ps, struct set *s)
{
	size_t name = ps->at + 2, end = find(ps, name, "]");

	if (end == ps->len)
		return -EINVAL;
	if (end == name || ps->p[end - 1] != ':') {
		bits_add(s->in, '[', '[');
		return '[';
	}
	ps->at = end;
	return set_add_class(s, GLOB_GIT, ps->p + name, end - 1 - name) ? 0 : -EINVAL;
}

/* One member of a set. prev: what a '-' here would be a range from, 0: nothing. Returns the next
 * prev. */
static int git_set_member(struct parse *ps, struct set *s, int prev)
{
	uint8_t c = ps->p[ps->at], next = byte_at(ps, ps->at + 1);
	bool is_range = c == '-' && prev > 0 && next && next != ']';

	if (c == '[' && next == ':')
		return git_class(ps, s);
	if (is_range)
		c = ps->p[++ps->at];
	if (c == '\\')
		c = byte_at(ps, ++ps->at);
	if (!c)
		return -EINVAL;
	if (is_range)
		bits_add(s->in, (unsigned)prev, c);
	else
		bits_add(s->in, c, c);
	return is_range ? 0 : c;
}

static int git_set(struct parse *ps)
{
	bool negated = byte_at(ps, ps->at + 1) == '!' || byte_at(ps, ps->at + 1) == '^';
	struct set s = { .has_in = true };
	size_t first = ps->at + (negated ? 2 : 1);
	int prev = 0;

	for (ps->at = first; byte_at(ps, ps->at) != ']' || ps->at == first; ps->at++) {
		if (ps->at >= ps->len)
			return -EINVAL;
		prev = git_set_member(ps, &s, prev);
		if (prev < 0)
			return prev;
	}
	ps->at++;
	set_finish_bytes(&s, negated);
	return emit_set(ps, &s);
}

static void git_stars(struct parse *ps)
{
	size_t from = ps->at, to = from;

	while (byte_at(ps, to) == '*')
		to++;
	bool is_deep = to - from > 1 && (from == 0 || ps->p[from - 1] == '/') &&
	               (to == ps->len || ps->p[to] == '/' ||
	                (ps->p[to] == '\\' && byte_at(ps, to + 1) == '/'));
	if (is_deep && byte_at(ps, to) == '/') {
		emit(ps, TOKEN_MAYBE_DIRS, 0);
		emit(ps, TOKEN_DEEP, 0);
		emit(ps, TOKEN_BYTE, '/');
		to++;
	} else {
		emit(ps, is_deep ? TOKEN_DEEP : TOKEN_STAR, 0);
	}
	ps->at = to;
}

static int git_token(struct parse *ps)
{
	uint8_t c = ps->p[ps->at];

	if (c == '*') {
		git_stars(ps);
		return 0;
	}
	if (c == '[')
		return git_set(ps);
	if (c == '\\') {
		c = byte_at(ps, ++ps->at);
		if (!c)
			return -EINVAL;
		emit(ps, TOKEN_BYTE, c);
	} else {
		emit(ps, c == '?' ? TOKEN_ONE : TOKEN_BYTE, c);
	}
	ps->at++;
	return 0;
}

/* ---------------------------------------------------------------------------------- git-lfs */

/*
 * Go reads the bytes of a set one by one as Latin-1, collects them as UTF-8, and takes the last
 * byte of that as the beginning of a range. Hence characters may be torn.
 */
struct lfs_set {
	struct set s;
	uint8_t run[2 * GLOB_MAX_LEN];
	size_t run_len;
	bool negated;
};

static void lfs_run_add(struct lfs_set *ls, uint8_t c)
{
	if (c >= 0x80)
		ls->run[ls->run_len++] = (uint8_t)(0xC0 | c >> 6);
	ls->run[ls->run_len++] = c < 0x80 ? c : (uint8_t)(0x80 | (c & 0x3F));
}

static void lfs_add(struct lfs_set *ls, unsigned from, unsigned to)
{
	ls->s.has_in |= !ls->negated;
	bits_add(ls->negated ? ls->s.out : ls->s.in, from, to);
}

/* The characters collected so far become members. */
static void lfs_flush(struct lfs_set *ls)
{
	for (size_t i = 0; i < ls->run_len; i++) {
		uint8_t c = ls->run[i], next = i + 1 < ls->run_len ? ls->run[i + 1] : 0;

		if (c < 0x80) {
			lfs_add(ls, c, c);
		} else if ((next & 0xC0) == 0x80) {
			unsigned rune = (c & 0x03U) << 6 | (next & 0x3FU);

			lfs_add(ls, rune, rune);
			i++;
		} else {
			ls->s.has_in |= !ls->negated;
			*(ls->negated ? &ls->s.out_bad : &ls->s.in_bad) = true;
		}
	}
	ls->run_len = 0;
}

static int lfs_range(struct parse *ps, struct lfs_set *ls)
{
	if (ps->at + 1 >= ps->len)
		return -EINVAL;
	uint8_t from = ls->run_len > 0 ? ls->run[--ls->run_len] : 0, to = ps->p[ps->at + 1];
	lfs_flush(ls);
	lfs_add(ls, MIN(from, to), MAX(from, to));
	ps->at += 2;
	return 0;
}

/*
 * Named classes are refused: git-lfs has them over all of Unicode, which would need its tables.
 * "[:]" is none.
 */
static int lfs_class(struct parse *ps, struct lfs_set *ls)
{
	if (byte_at(ps, ps->at + 2) != ']')
		return find(ps, ps->at, ":]") == ps->len ? -EINVAL : -EOPNOTSUPP;
	lfs_run_add(ls, '[');
	lfs_run_add(ls, ':');
	lfs_run_add(ls, ']');
	ps->at += 2;
	return 0;
}

static int lfs_set_member(struct parse *ps, struct lfs_set *ls)
{
	uint8_t c = ps->p[ps->at];

	if (c == '[' && byte_at(ps, ps->at + 1) == ':')
		return lfs_class(ps, ls);
	if (c == '-')
		return lfs_range(ps, ls);
	if (c == '^' || c == '!') {
		ls->negated = !ls->negated;
	} else {
		if (c == '\\')
			c = byte_at(ps, ++ps->at);
		if (!c)
			return -EINVAL;
		lfs_run_add(ls, c);
	}
	ps->at++;
	return 0;
}

/* Closed by ']' or by the end. */
static int lfs_set(struct parse *ps)
{
	scoped_free struct lfs_set *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return -ENOMEM;
	ls->s.is_utf8 = true;
	for (ps->at++; ps->at < ps->len && ps->p[ps->at] != ']';) {
		int r = lfs_set_member(ps, ls);

		if (r < 0)
			return r;
	}
	ps->at = MIN(ps->at + 1, ps->len);
	lfs_flush(ls);
	return emit_set(ps, &ls->s);
}

static int lfs_token(struct parse *ps)
{
	uint8_t c = ps->p[ps->at];

	if (c == '[')
		return lfs_set(ps);
	if (c == '\\') {
		c = byte_at(ps, ++ps->at);
		if (!c)
			return -EINVAL;
		emit(ps, TOKEN_BYTE, c);
	} else {
		emit(ps, c == '*' ? TOKEN_STAR : c == '?' ? TOKEN_ONE : TOKEN_BYTE, c);
	}
	ps->at++;
	return 0;
}

/* ------------------------------------------------------------------------------------- bash */

/* "[:name:]": an unknown name has no members, and without its end the '[' is none either. */
static void bash_class(struct parse *ps, struct set *s)
{
	size_t name = ps->at + 2, end = find(ps, name, ":]");

	if (end == ps->len) {
		ps->at++;
		return;
	}
	set_add_class(s, GLOB_BASH, ps->p + name, end - name);
	ps->at = end + 2;
}

/* One character of a set, with its escape; 0 at the end. */
static uint8_t bash_set_char(struct parse *ps)
{
	if (byte_at(ps, ps->at) == '\\')
		ps->at++;
	return byte_at(ps, ps->at++);
}

/*
 * One member, which may be a range. -ENOENT: the set as a whole never matches. Collating symbols
 * and equivalence classes are refused.
 */
static int bash_set_member(struct parse *ps, struct set *s)
{
	uint8_t next = byte_at(ps, ps->at + 1);
	bool is_bracket = ps->p[ps->at] == '[';

	if (is_bracket && (next == '.' || next == '='))
		return -EOPNOTSUPP;
	if (is_bracket && next == ':') {
		bash_class(ps, s);
		return 0;
	}
	uint8_t from = bash_set_char(ps), to = from;
	if (byte_at(ps, ps->at) == '-' && byte_at(ps, ps->at + 1) != ']') {
		ps->at++;
		to = bash_set_char(ps);
	}
	bits_add(s->in, from, to); /* a range that runs backwards has no members */
	return from && to ? 0 : -ENOENT;
}

/* Without its end the '[' stands for itself. */
static int bash_set(struct parse *ps)
{
	size_t open = ps->at;
	bool negated = byte_at(ps, open + 1) == '!' || byte_at(ps, open + 1) == '^';
	struct set s = { .has_in = true };
	int r = 0;

	ps->at += negated ? 2 : 1;
	do {
		r = ps->at < ps->len ? bash_set_member(ps, &s) : 0;
		if (r == -EOPNOTSUPP)
			return r;
	} while (r == 0 && ps->at < ps->len && ps->p[ps->at] != ']');
	if (r == 0 && ps->at >= ps->len) {
		ps->at = open + 1;
		emit(ps, TOKEN_BYTE, '[');
		return 0;
	}
	ps->at = MIN(ps->at + 1, ps->len);
	if (r == 0)
		set_finish_bytes(&s, negated);
	else
		s = (struct set){ .has_in = true };
	return emit_set(ps, &s);
}

static int bash_token(struct parse *ps)
{
	uint8_t c = ps->p[ps->at];

	if (c == '[')
		return bash_set(ps);
	if (c == '\\' && ps->at + 1 < ps->len)
		emit(ps, TOKEN_BYTE, ps->p[++ps->at]);
	else
		emit(ps, c == '*' ? TOKEN_STAR : c == '?' ? TOKEN_ONE : TOKEN_BYTE, c);
	ps->at++;
	return 0;
}

/* ----------------------------------------------------------------------------------- glob */

int glob_new(enum glob_dialect dialect, const char *pattern, size_t len, struct glob **out)
{
	static int (*const parse_token[])(struct parse * ps) = {
		[GLOB_GIT] = git_token, [GLOB_LFS] = lfs_token, [GLOB_BASH] = bash_token
	};
	scoped(glob) struct glob *g = NULL;

	if (len > GLOB_MAX_LEN)
		return -E2BIG;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	/* a token takes at least a byte of pattern; "**" and its slash take as many */
	g->token = malloc((len + 1) * sizeof(*g->token));
	if (!g->token)
		return -ENOMEM;
	for (struct parse ps = { .p = (const uint8_t *)pattern, .len = len, .g = g };
	     ps.at < len;) {
		int r = parse_token[dialect](&ps);

		if (r < 0)
			return r;
	}
	*out = take_ptr(g);
	return 0;
}

void glob_free(struct glob *g)
{
	if (!g)
		return;
	free(g->token);
	free(g->set);
	free(g);
}

/*
 * The UTF-8 character at text (len > 0) and how many bytes it has; what is none counts as U+FFFD of
 * one byte, as in Go.
 */
static unsigned decode(const uint8_t *text, size_t len, unsigned *width)
{
	uint32_t c = 0;
	size_t n = utf8_decode(text, len, &c);

	*width = n > 0 ? (unsigned)n : 1;
	return n > 0 ? c : 0xFFFD;
}

/* How many bytes of text the set takes, 0: none. */
static unsigned set_takes(const struct set *s, const uint8_t *text, size_t len)
{
	unsigned width = 1, c = s->is_utf8 ? decode(text, len, &width) : text[0];
	bool is_in = c < 256 ? bits_has(s->in, c) : c == 0xFFFD && s->in_bad;
	bool is_out = c < 256 ? bits_has(s->out, c) : c == 0xFFFD && s->out_bad;

	return (is_in || !s->has_in) && !is_out ? width : 0;
}

/* How many bytes of text a token that stands for one character takes, 0: none. */
static unsigned token_takes(const struct glob *g, const struct token *t, const uint8_t *text,
                            size_t len)
{
	if (len == 0)
		return 0;
	switch (t->kind) {
	case TOKEN_BYTE:
		return text[0] == t->byte;
	case TOKEN_ONE:
		return text[0] != '/';
	default:
		return set_takes(&g->set[t->set], text, len);
	}
}

/*
 * The tokens that may come next at a place of the text. A character takes up to 4 bytes, so the
 * states of 4 places ahead are kept, in a ring.
 */
#define AHEAD 4
#define WORDS (GLOB_MAX_LEN / 64 + 1)
struct states {
	uint64_t bits[AHEAD + 1][WORDS];
	size_t word_cnt;
};

static void states_add(struct states *s, size_t place, size_t token)
{
	s->bits[place % (AHEAD + 1)][token / 64] |= UINT64_C(1) << token % 64;
}

/* Token i may come at place at: adds where that leads, here or further on. */
static void step(const struct glob *g, struct states *s, size_t i, const uint8_t *text, size_t len,
                 size_t at)
{
	const struct token *t = &g->token[i];
	unsigned took = 0;

	switch (t->kind) {
	case TOKEN_MAYBE_DIRS:
		states_add(s, at, i + MAYBE_DIRS_LEN);
		states_add(s, at, i + 1);
		break;
	case TOKEN_STAR:
	case TOKEN_DEEP:
		states_add(s, at, i + 1);
		if (at < len && (t->kind == TOKEN_DEEP || text[at] != '/'))
			states_add(s, at + 1, i);
		break;
	default:
		took = token_takes(g, t, text + at, len - at);
		if (took > 0)
			states_add(s, at + took, i + 1);
	}
}

/* All tokens that may come at place at, in their order, so that those added on the way are seen. */
static bool step_all(const struct glob *g, struct states *s, const uint8_t *text, size_t len,
                     size_t at)
{
	uint64_t *bits = s->bits[at % (AHEAD + 1)];
	bool matches = false;

	for (size_t w = 0; w < s->word_cnt; w++) {
		while (bits[w]) {
			size_t i = w * 64 + (size_t)__builtin_ctzll(bits[w]);

			bits[w] &= bits[w] - 1;
			if (i == g->token_cnt)
				matches = true;
			else
				step(g, s, i, text, len, at);
		}
	}
	return matches;
}

bool glob_match(const struct glob *g, const char *text, size_t len)
{
	struct states s;
	bool matches = false;

	s.word_cnt = g->token_cnt / 64 + 1;
	for (size_t i = 0; i <= AHEAD; i++)
		memset(s.bits[i], 0, s.word_cnt * sizeof(uint64_t));
	states_add(&s, 0, 0);
	for (size_t at = 0; at <= len; at++)
		matches = step_all(g, &s, (const uint8_t *)text, len, at);
	return matches;
}
