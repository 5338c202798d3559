/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Knows how git-lfs 3.3 to 3.7 and bash 5.2 cut a pattern into components; the components
 * themselves are glob.c's. Not copied: that bash would follow symbolic links in the repository's
 * top directory on its way to a match.
 */
#include "privatemode.h"

#include <errno.h>

#include "glob.h"
#include "lfs_pointer.h"
#include "text.h"

/* A component of a git-lfs pattern. */
struct part {
	struct glob *glob;
	bool is_deep; /* behind a "**": the last component that matches is meant */
};

struct lfs_pattern {
	struct part *part;
	size_t cnt;
	bool is_deep_end; /* a "**" last: something must be left */
};

/* A component of a word of rm's command line. */
struct component {
	struct glob *glob;
	char *literal; /* of a word without wildcards: no glob, backslashes as they are */
	bool takes_dot;
};

struct word {
	struct component *component;
	size_t cnt;
	bool is_dir_only;
	bool is_shielded; /* begins with "./": rm takes no expansion for an option */
};

struct privatemode {
	struct lfs_pattern lfs;
	struct word *word;
	size_t word_cnt;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the exclusion patterns");
}

/* r is what glob_new() said of the pattern. */
static int pattern_error(struct diag *d, int r, const char *pattern, const char *tool)
{
	char quoted[TEXT_QUOTE_LEN];
	const char *what = r == -EOPNOTSUPP
	                           ? "a set with [:class:], [.symbol.] or [=class=], which "
	                             "is not supported here, as read by"
	                   : r == -E2BIG ? "too long for"
	                                 : "a set or an escape without its end for";

	if (r == -ENOMEM)
		return out_of_memory(d);
	return diag_set(d, r == -E2BIG ? -EINVAL : r, "exclusion pattern %s: %s %s",
	                text_quote(pattern, strlen(pattern), quoted, sizeof(quoted)), what, tool);
}

/* ------------------------------------------------------------------------------------ git-lfs */

/*
 * As git-lfs prepares an element: white space around it and one slash or backslash at its end go; a
 * backslash that escapes nothing becomes a slash. Returns a copy.
 */
static char *lfs_prepare(const char *element)
{
	size_t len = strlen(element);

	lfs_trim(&element, &len);
	if (len > 0 && (element[len - 1] == '/' || element[len - 1] == '\\'))
		len--;
	char *copy = strndup(element, len);
	for (size_t i = 0; copy && i < len; i++)
		if (copy[i] == '\\') {
			if (i + 1 < len && strchr("\\[]*?#", copy[i + 1]))
				i++;
			else
				copy[i] = '/';
		}
	return copy;
}

static int lfs_add_part(struct lfs_pattern *l, const char *text, size_t len, bool is_deep)
{
	struct part *p = &l->part[l->cnt];
	int r = glob_new(GLOB_LFS, text, len, &p->glob);

	if (r < 0)
		return r;
	p->is_deep = is_deep;
	l->cnt++;
	return 0;
}

/*
 * A pattern of one component applies at any depth, one with slashes from the top. Empty components
 * do not count, except that after the slash at the end has gone an empty last one matches nothing.
 */
static int lfs_parse(struct lfs_pattern *l, const char *text)
{
	size_t len = strlen(text), at = 0;
	bool is_deep = false;

	if (len > 0 && text[len - 1] == '/')
		len--;
	is_deep = !memchr(text, '/', len);
	l->part = calloc(len + 1, sizeof(*l->part));
	if (!l->part)
		return -ENOMEM;
	for (;; at++) {
		const char *slash = memchr(text + at, '/', len - at);
		size_t end = slash ? (size_t)(slash - text) : len;

		if (end - at == 2 && memcmp(text + at, "**", 2) == 0) {
			is_deep = true;
			l->is_deep_end = !slash;
		} else if (end > at || !slash) {
			int r = lfs_add_part(l, text + at, end - at, is_deep);

			if (r < 0)
				return r;
			is_deep = false;
		}
		if (!slash)
			return 0;
		at = end;
	}
}

/* The component of path at off ends where? */
static size_t component_end(const char *path, size_t off)
{
	return off + strcspn(path + off, "/");
}

/*
 * Where path goes on behind the component at or (is_deep) behind off that p matches; SIZE_MAX if
 * none does. Behind the last component that is one past the NUL's place.
 */
static size_t lfs_match_part(const struct part *p, const char *path, size_t len, size_t off)
{
	size_t found = SIZE_MAX;

	while (off <= len) {
		size_t end = component_end(path, off);

		if (glob_match(p->glob, path + off, end - off))
			found = end + 1;
		if (!p->is_deep)
			break;
		off = end + 1;
	}
	return found;
}

bool privatemode_keeps_pointer(const struct privatemode *p, const char *path)
{
	size_t len = strlen(path), off = 0;

	for (size_t i = 0; i < p->lfs.cnt; i++) {
		off = lfs_match_part(&p->lfs.part[i], path, len, off);
		if (off == SIZE_MAX)
			return false;
	}
	return !p->lfs.is_deep_end || off <= len;
}

/* --------------------------------------------------------------------------------------- bash */

/* Is pathname expansion done on this word? Also for what looks like the beginning of an extended
 * pattern, though those are off in a script. */
static bool word_has_wildcards(const char *s, size_t len)
{
	bool is_open = false;

	for (size_t i = 0; i < len; i++) {
		char next = i + 1 < len ? s[i + 1] : '\0';

		if (s[i] == '?' || s[i] == '*' || (s[i] == ']' && is_open))
			return true;
		if (s[i] == '[')
			is_open = true;
		if (s[i] == '/')
			is_open = false;
		if (strchr("/+@!", s[i]) && next == '(')
			return true;
		if (s[i] == '\\')
			i++;
	}
	return false;
}

static int word_add_component(struct word *w, const char *text, size_t len, bool has_wildcards)
{
	struct component *c = &w->component[w->cnt];
	int r = 0;

	if (has_wildcards) {
		/* the backslash of "\/" is dropped with the slash */
		if (!word_has_wildcards(text, len) && len > 0 && text[len - 1] == '\\')
			len--;
		r = glob_new(GLOB_BASH, text, len, &c->glob);
	} else {
		c->literal = strndup(text, len);
		r = c->literal ? 0 : -ENOMEM;
	}
	if (r < 0)
		return r;
	c->takes_dot = text[text[0] == '\\' && len > 1] == '.';
	w->cnt++;
	return 0;
}

static int word_parse(struct word *w, const char *text, size_t len)
{
	bool has_wildcards = word_has_wildcards(text, len);

	w->component = calloc(len, sizeof(*w->component));
	if (!w->component)
		return -ENOMEM;
	w->is_shielded = len > 1 && memcmp(text, "./", 2) == 0;
	w->is_dir_only = text[len - 1] == '/';
	for (size_t at = 0, end = 0; at < len; at = end + 1) {
		const char *slash = memchr(text + at, '/', len - at);

		end = slash ? (size_t)(slash - text) : len;
		if (end == at || (end - at == 1 && text[at] == '.'))
			continue;
		int r = word_add_component(w, text + at, end - at, has_wildcards);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Does the word make rm fail, or point out of the repository? Then what? */
static const char *word_objection(const char *text, size_t len)
{
	size_t end = len;

	if (text[0] == '-' && len > 1 && !word_has_wildcards(text, len))
		return "rm takes it for an option";
	while (end > 0 && text[end - 1] == '/')
		end--;
	if (text[0] != '/' && (end == 1 || text[end - 2] == '/') && text[end - 1] == '.')
		return "rm refuses to remove \".\"";
	for (size_t at = 0; at + 1 < len; at++)
		if (text[at] == '.' && text[at + 1] == '.' && (at == 0 || text[at - 1] == '/') &&
		    (at + 2 == len || text[at + 2] == '/'))
			return "it leads upwards with \"..\"";
	return NULL;
}

static int add_word(struct privatemode *p, const char *element, const char *text, size_t len,
                    struct diag *d)
{
	const char *objection = word_objection(text, len);
	char quoted[TEXT_QUOTE_LEN];

	if (objection)
		return diag_set(d, -EINVAL, "exclusion pattern %s: %s",
		                text_quote(element, strlen(element), quoted, sizeof(quoted)),
		                objection);
	/* an absolute path is never one of the repository */
	if (text[0] == '/')
		return 0;
	int r = word_parse(&p->word[p->word_cnt++], text, len);
	return r < 0 ? pattern_error(d, r, element, "bash") : 0;
}

static int split_words(struct privatemode *p, const char *element, struct diag *d)
{
	static const char blanks[] = " \t\n";

	p->word = calloc(strlen(element) / 2 + 1, sizeof(*p->word));
	if (!p->word)
		return out_of_memory(d);
	for (const char *s = element + strspn(element, blanks); *s; s += strspn(s, blanks)) {
		size_t len = strcspn(s, blanks);
		int r = add_word(p, element, s, len, d);

		if (r < 0)
			return r;
		s += len;
	}
	return 0;
}

static bool component_matches(const struct component *c, const char *name, size_t len)
{
	if (c->literal)
		return strlen(c->literal) == len && memcmp(c->literal, name, len) == 0;
	return (name[0] != '.' || c->takes_dot) && glob_match(c->glob, name, len);
}

static bool word_matches(const struct word *w, const char *path, bool is_dir)
{
	size_t len = strlen(path), off = 0;

	if (w->is_dir_only && !is_dir)
		return false;
	if (path[0] == '-' && !w->is_shielded)
		return false;
	for (size_t i = 0; i < w->cnt; i++) {
		size_t end = off <= len ? component_end(path, off) : off;

		if (off > len || !component_matches(&w->component[i], path + off, end - off))
			return false;
		off = end + 1;
	}
	return off > len;
}

bool privatemode_removes(const struct privatemode *p, const char *path, bool is_dir)
{
	for (size_t i = 0; i < p->word_cnt; i++)
		if (word_matches(&p->word[i], path, is_dir))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------------------ */

int privatemode_new(const char *element, struct privatemode **out, struct diag *d)
{
	scoped(privatemode) struct privatemode *p = calloc(1, sizeof(*p));
	scoped_free char *prepared = lfs_prepare(element);

	if (!p || !prepared)
		return out_of_memory(d);
	int r = lfs_parse(&p->lfs, prepared);
	if (r < 0)
		return pattern_error(d, r, element, "git-lfs");
	r = split_words(p, element, d);
	if (r < 0)
		return r;
	*out = take_ptr(p);
	return 0;
}

void privatemode_free(struct privatemode *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->lfs.cnt; i++)
		glob_free(p->lfs.part[i].glob);
	free(p->lfs.part);
	for (size_t i = 0; i < p->word_cnt; i++) {
		for (size_t k = 0; k < p->word[i].cnt; k++) {
			free(p->word[i].component[k].literal);
			glob_free(p->word[i].component[k].glob);
		}
		free(p->word[i].component);
	}
	free(p->word);
	free(p);
}
