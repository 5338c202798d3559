/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses attribute lines and resolves macros. Lines that can set none of the five attributes, not
 * even through a macro, are not kept: with few exceptions nothing is left of a model repository's
 * file but "-text".
 */
#include "attributes.h"

#include <assert.h>
#include <errno.h>

#include "pattern.h"

#define MAX_LINE_LEN 2047 /* longer lines are ignored by git */

/* What one word of a line sets. */
struct set {
	size_t name; /* index in names */
	enum attribute_state state;
	char *value;
};

struct sets {
	struct set *v;
	size_t cnt;
};

struct line {
	struct pattern *pattern;
	struct sets sets;
};

/* One file. */
struct frame {
	size_t dir_len;
	size_t len; /* of the text */
	struct line *line;
	size_t cnt, cap;
};

/* An attribute that counts: one of enum attribute (which come first), or a macro; perhaps both. */
struct name {
	char *text;
	bool is_macro;
	struct sets sets; /* of the macro */
	/* during a lookup: */
	bool is_known;
	struct attribute_setting setting;
};

struct attributes {
	struct frame *frame;
	size_t frame_cnt, frame_cap;
	size_t all_len; /* of the frames' texts */
	struct name *name;
	size_t name_cnt, name_cap;
	/* scratch of a lookup: settings still to be applied, last first */
	const struct set **todo;
	size_t todo_cap;
	size_t longest_line; /* in settings */
};

/* A part of a line. */
struct word {
	const char *s;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word of *rest; empty at the end. */
static struct word next_word(struct word *rest)
{
	struct word w = { 0 };

	while (rest->len > 0 && is_blank(*rest->s)) {
		rest->s++;
		rest->len--;
	}
	w.s = rest->s;
	while (w.len < rest->len && !is_blank(w.s[w.len]))
		w.len++;
	rest->s += w.len;
	rest->len -= w.len;
	return w;
}

static bool is_legal_name(struct word w)
{
	if (w.len == 0 || *w.s == '-')
		return false;
	for (size_t i = 0; i < w.len; i++)
		if (!((w.s[i] >= 'a' && w.s[i] <= 'z') || (w.s[i] >= 'A' && w.s[i] <= 'Z') ||
		      (w.s[i] >= '0' && w.s[i] <= '9') || strchr("-._", w.s[i])))
			return false;
	return true;
}

/* "name", "-name", "!name", "name=value", taken apart. A value behind '-' or '!' counts for
 * nothing. */
static struct word split_setting(struct word w, enum attribute_state *state, struct word *value)
{
	const char *equals = memchr(w.s, '=', w.len);

	*value = (struct word){ 0 };
	*state = equals ? ATTRIBUTE_VALUE : ATTRIBUTE_TRUE;
	if (equals) {
		*value = (struct word){ equals + 1, w.len - (size_t)(equals + 1 - w.s) };
		w.len = (size_t)(equals - w.s);
	}
	if (w.len > 0 && (*w.s == '-' || *w.s == '!')) {
		*state = *w.s == '-' ? ATTRIBUTE_FALSE : ATTRIBUTE_UNSPECIFIED;
		w.s++;
		w.len--;
	}
	return w;
}

/* ------------------------------------------------------------------------------------- names */

static int compare_name(const struct name *n, struct word w)
{
	size_t len = strlen(n->text);
	int order = memcmp(n->text, w.s, MIN(len, w.len));

	return order != 0 ? order : (len > w.len) - (len < w.len);
}

/* Where w is in the names, or SIZE_MAX. The macros are sorted; the five before them are few. */
static size_t find_name(const struct attributes *a, struct word w)
{
	size_t lo = ATTRIBUTE_CNT, hi = a->name_cnt;

	for (size_t i = 0; i < MIN(lo, hi); i++)
		if (compare_name(&a->name[i], w) == 0)
			return i;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int order = compare_name(&a->name[mid], w);

		if (order == 0)
			return mid;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return SIZE_MAX;
}

static int add_name(struct attributes *a, struct word w)
{
	if (a->name_cnt == a->name_cap) {
		size_t cap = a->name_cap > 0 ? a->name_cap * 2 : 16;
		struct name *grown = realloc(a->name, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		a->name = grown;
		a->name_cap = cap;
	}
	char *text = strndup(w.s, w.len);
	if (!text)
		return -ENOMEM;
	a->name[a->name_cnt++] = (struct name){ .text = text };
	return 0;
}

static int order_names(const void *x, const void *y)
{
	const struct name *a = x, *b = y;

	return strcmp(a->text, b->text);
}

/* Makes the macros' names findable, each once. None of them has been used yet. */
static void sort_names(struct attributes *a)
{
	size_t cnt = ATTRIBUTE_CNT;

	qsort(a->name + cnt, a->name_cnt - cnt, sizeof(*a->name), order_names);
	for (size_t i = cnt; i < a->name_cnt; i++) {
		if (cnt > ATTRIBUTE_CNT && strcmp(a->name[i].text, a->name[cnt - 1].text) == 0)
			free(a->name[i].text);
		else
			a->name[cnt++] = a->name[i];
	}
	a->name_cnt = cnt;
}

/* -------------------------------------------------------------------------------------- lines */

static void sets_release(struct sets *s)
{
	for (size_t i = 0; i < s->cnt; i++)
		free(s->v[i].value);
	free(s->v);
	*s = (struct sets){ 0 };
}

static inline void scope_end_sets(struct sets *s)
{
	sets_release(s);
}

/* The settings of a line that count. *is_legal: git accepts all of them; else the line is void. */
static int parse_sets(const struct attributes *a, struct word rest, struct sets *out,
                      bool *is_legal)
{
	scoped(sets) struct sets sets = { 0 };

	for (struct word w = next_word(&rest); w.len > 0; w = next_word(&rest)) {
		enum attribute_state state = ATTRIBUTE_UNSPECIFIED;
		struct word value, name = split_setting(w, &state, &value);

		*is_legal = is_legal_name(name);
		if (!*is_legal)
			return 0;
		size_t i = find_name(a, name);
		if (i == SIZE_MAX)
			continue;
		struct set *grown = realloc(sets.v, (sets.cnt + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		sets.v = grown;
		struct set *s = &sets.v[sets.cnt];
		*s = (struct set){ .name = i, .state = state };
		if (state == ATTRIBUTE_VALUE) {
			s->value = strndup(value.s, value.len);
			if (!s->value)
				return -ENOMEM;
		}
		sets.cnt++;
	}
	*is_legal = true;
	*out = sets;
	sets = (struct sets){ 0 };
	return 0;
}

/* What a backslash and the character c stand for in a quoted pattern; 0: not that way. */
static char unescape(char c)
{
	static const char from[] = "abfnrtv\\\"", to[] = "\a\b\f\n\r\t\v\\\"";
	const char *at = c ? strchr(from, c) : NULL;

	return at ? to[at - from] : '\0';
}

static bool is_octal(char c, char most)
{
	return c >= '0' && c <= most;
}

/*
 * A pattern in double quotes as in C, into out (as long as the line); *rest goes on behind it.
 * False if it is none, when the quote is a part of the pattern.
 */
static bool unquote(struct word *rest, char *out, size_t *out_len)
{
	const char *s = rest->s, *end = s + rest->len;
	size_t n = 0;

	if (s == end || *s++ != '"')
		return false;
	while (s < end && *s != '"') {
		char c = *s++;

		if (c == '\\') {
			if (s == end)
				return false;
			c = unescape(*s);
			if (c) {
				s++;
			} else if (end - s >= 3 && is_octal(s[0], '3') && is_octal(s[1], '7') &&
			           is_octal(s[2], '7')) {
				c = (char)((s[0] - '0') * 64 + (s[1] - '0') * 8 + (s[2] - '0'));
				s += 3;
			} else {
				return false;
			}
		}
		out[n++] = c;
	}
	if (s == end)
		return false;
	rest->len = (size_t)(end - (s + 1));
	rest->s = s + 1;
	*out_len = strnlen(out, n);
	return true;
}

/* A line taken apart: what stands first, and the settings. */
struct parsed {
	char unquoted[MAX_LINE_LEN];
	struct word pattern, settings;
	bool is_macro; /* pattern is its name */
};

/* False for a line that says nothing. */
static bool parse_line(struct word line, struct parsed *p)
{
	static const char macro[] = "[attr]";
	struct word peek = line, first = next_word(&peek);
	size_t len = 0;

	if (line.len > MAX_LINE_LEN || first.len == 0 || *first.s == '#')
		return false;
	p->settings = (struct word){ first.s, (size_t)(line.s + line.len - first.s) };
	if (unquote(&p->settings, p->unquoted, &len))
		first = (struct word){ p->unquoted, len };
	else
		p->settings = peek;
	p->is_macro = first.len > strlen(macro) && memcmp(first.s, macro, strlen(macro)) == 0;
	if (p->is_macro) {
		first.s += strlen(macro);
		first.len -= strlen(macro);
		first = next_word(&first);
	}
	p->pattern = first;
	return p->is_macro ? is_legal_name(first) : first.len > 0 && *first.s != '!';
}

static int define_macro(struct attributes *a, const struct parsed *p)
{
	struct sets sets = { 0 };
	bool is_legal = true;
	int r = parse_sets(a, p->settings, &sets, &is_legal);

	if (r < 0 || !is_legal)
		return r;
	struct name *n = &a->name[find_name(a, p->pattern)];
	sets_release(&n->sets);
	n->sets = sets;
	n->is_macro = true;
	return 0;
}

static int add_line(struct attributes *a, struct frame *f, const struct parsed *p)
{
	scoped(sets) struct sets sets = { 0 };
	scoped(pattern) struct pattern *pattern = NULL;
	bool is_legal = true;
	int r = parse_sets(a, p->settings, &sets, &is_legal);

	if (r < 0 || !is_legal || sets.cnt == 0)
		return r;
	r = pattern_new(p->pattern.s, p->pattern.len, &pattern);
	if (r < 0)
		return r == -ENOMEM ? r : 0; /* matches nothing */
	if (f->cnt == f->cap) {
		size_t cap = f->cap > 0 ? f->cap * 2 : 16;
		struct line *grown = realloc(f->line, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		f->line = grown;
		f->cap = cap;
	}
	a->longest_line = MAX(a->longest_line, sets.cnt);
	f->line[f->cnt++] = (struct line){ .pattern = take_ptr(pattern), .sets = sets };
	sets = (struct sets){ 0 };
	return 0;
}

/* Cuts the next line off *rest, without its end. */
static struct word next_line(struct word *rest)
{
	const char *end = memchr(rest->s, '\n', rest->len);
	struct word line = { rest->s, end ? (size_t)(end - rest->s) : rest->len };
	size_t taken = line.len + (end != NULL);

	rest->s += taken;
	rest->len -= taken;
	return line;
}

/* Only the root's file may define macros. Their names must be known before lines are read. */
static int collect_macros(struct attributes *a, struct word text)
{
	int r = 0;

	while (r == 0 && text.len > 0) {
		struct parsed p;

		if (parse_line(next_line(&text), &p) && p.is_macro)
			r = add_name(a, p.pattern);
	}
	sort_names(a);
	return r;
}

static int read_lines(struct attributes *a, struct frame *f, struct word text)
{
	int r = 0;

	while (r == 0 && text.len > 0) {
		struct parsed p;

		if (!parse_line(next_line(&text), &p))
			continue;
		if (!p.is_macro)
			r = add_line(a, f, &p);
		else if (f->dir_len == 0)
			r = define_macro(a, &p);
	}
	return r;
}

/* ---------------------------------------------------------------------------------- the object */

static void frame_release(struct frame *f)
{
	for (size_t i = 0; i < f->cnt; i++) {
		pattern_free(f->line[i].pattern);
		sets_release(&f->line[i].sets);
	}
	free(f->line);
}

int attributes_new(struct attributes **out)
{
	static const char *const known[] = {
		[ATTRIBUTE_TEXT] = "text",
		[ATTRIBUTE_CRLF] = "crlf",
		[ATTRIBUTE_EOL] = "eol",
		[ATTRIBUTE_IDENT] = "ident",
		[ATTRIBUTE_ENCODING] = "working-tree-encoding",
	};
	scoped(attributes) struct attributes *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		int r = add_name(a, (struct word){ known[i], strlen(known[i]) });

		if (r < 0)
			return r;
	}
	*out = take_ptr(a);
	return 0;
}

void attributes_free(struct attributes *a)
{
	if (!a)
		return;
	while (a->frame_cnt > 0)
		attributes_pop(a);
	for (size_t i = 0; i < a->name_cnt; i++) {
		free(a->name[i].text);
		sets_release(&a->name[i].sets);
	}
	free(a->name);
	free(a->frame);
	free(a->todo);
	free(a);
}

/* Every macro is expanded at most once in a lookup. */
static int reserve_todo(struct attributes *a)
{
	size_t need = a->longest_line;

	for (size_t i = 0; i < a->name_cnt; i++)
		need += a->name[i].sets.cnt;
	if (need <= a->todo_cap)
		return 0;
	const struct set **todo = realloc(a->todo, need * sizeof(const struct set *));
	if (!todo)
		return -ENOMEM;
	a->todo = todo;
	a->todo_cap = need;
	return 0;
}

int attributes_push(struct attributes *a, size_t dir_len, const char *text, size_t len)
{
	static const char builtin[] = "[attr]binary -diff -merge -text\n";
	struct frame f = { .dir_len = dir_len, .len = len };
	int r = 0;

	assert((a->frame_cnt == 0) == (dir_len == 0));
	if (len > ATTRIBUTES_MAX_LEN || len > ATTRIBUTES_MAX_ALL_LEN - a->all_len)
		return -E2BIG;
	len = strnlen(text, len); /* git stops at a NUL */
	if (a->frame_cnt == a->frame_cap) {
		size_t cap = a->frame_cap > 0 ? a->frame_cap * 2 : 8;
		struct frame *grown = realloc(a->frame, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		a->frame = grown;
		a->frame_cap = cap;
	}
	if (dir_len == 0) {
		struct word own = { builtin, strlen(builtin) };

		r = add_name(a, (struct word){ "binary", 6 });
		if (r == 0)
			r = collect_macros(a, (struct word){ text, len });
		if (r == 0)
			r = read_lines(a, &f, own);
	}
	if (r == 0)
		r = read_lines(a, &f, (struct word){ text, len });
	if (r == 0)
		r = reserve_todo(a);
	if (r < 0) {
		frame_release(&f);
		return r;
	}
	a->frame[a->frame_cnt++] = f;
	a->all_len += f.len;
	return 0;
}

void attributes_pop(struct attributes *a)
{
	assert(a->frame_cnt > 0);
	a->frame_cnt--;
	a->all_len -= a->frame[a->frame_cnt].len;
	frame_release(&a->frame[a->frame_cnt]);
}

/*
 * What is set first stays. The last setting of a line comes first, and a macro's settings come
 * before those that stand to its left.
 */
static void apply(struct attributes *a, const struct sets *sets)
{
	size_t cnt = 0;

	for (const struct sets *more = sets; more;) {
		for (size_t i = 0; i < more->cnt; i++)
			a->todo[cnt++] = &more->v[i];
		for (more = NULL; cnt > 0 && !more;) {
			const struct set *s = a->todo[--cnt];
			struct name *n = &a->name[s->name];

			if (n->is_known)
				continue;
			n->is_known = true;
			n->setting = (struct attribute_setting){ s->state, s->value };
			if (n->is_macro && s->state == ATTRIBUTE_TRUE)
				more = &n->sets;
		}
	}
}

void attributes_lookup(struct attributes *a, const char *path,
                       struct attribute_setting out[ATTRIBUTE_CNT])
{
	size_t len = strlen(path);

	for (size_t i = 0; i < a->name_cnt; i++) {
		a->name[i].is_known = false;
		a->name[i].setting = (struct attribute_setting){ 0 };
	}
	for (size_t i = a->frame_cnt; i > 0; i--) {
		const struct frame *f = &a->frame[i - 1];

		for (size_t k = f->cnt; k > 0; k--)
			if (pattern_match(f->line[k - 1].pattern, path + f->dir_len,
			                  len - f->dir_len, false))
				apply(a, &f->line[k - 1].sets);
	}
	for (size_t i = 0; i < ATTRIBUTE_CNT; i++)
		out[i] = a->name[i].setting;
}
