/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the list of patterns and decides which of them has the last word. How a pattern matches is
 * pattern.c's (gitignore) and privatemode.c's.
 */
#include "exclude.h"

#include <errno.h>

#include "pattern.h"
#include "privatemode.h"
#include "text.h"

/* One pattern, as its mode reads it. */
struct rule {
	char *text;
	struct pattern *pattern;         /* EXCLUDE_GITIGNORE */
	bool is_negated;                 /* of that */
	struct privatemode *privatemode; /* EXCLUDE_PRIVATEMODE */
};

struct exclude {
	enum exclude_mode mode;
	struct rule *rule;
	size_t cnt;
};

int exclude_new(enum exclude_mode mode, struct exclude **out)
{
	struct exclude *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->mode = mode;
	*out = x;
	return 0;
}

static void rule_release(struct rule *rule)
{
	free(rule->text);
	pattern_free(rule->pattern);
	privatemode_free(rule->privatemode);
}

static inline void scope_end_rule(struct rule *rule)
{
	rule_release(rule);
}

void exclude_free(struct exclude *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->cnt; i++)
		rule_release(&x->rule[i]);
	free(x->rule);
	free(x);
}

/* The length without blanks at the end, unless the first of them is escaped. */
static size_t trimmed_length(const char *s)
{
	size_t len = 0;

	for (size_t i = 0; s[i]; i++) {
		if (s[i] == '\\' && s[i + 1])
			len = ++i + 1;
		else if (s[i] != ' ')
			len = i + 1;
	}
	return len;
}

/*
 * No path has an empty component, "." or ".."; git takes such patterns and never matches them. One
 * slash at the beginning and one at the end mean something else. Components with wildcards, or
 * behind them, are not judged: "a**" followed by "//b" does match something.
 */
static bool has_impossible_component(const char *s, size_t len)
{
	size_t at = len > 0 && s[0] == '/';
	size_t cnt = len > 0 && s[len - 1] == '/' ? len - 1 : len;
	size_t literal = strcspn(s, "*?[\\");

	while (at <= cnt) {
		const char *slash = at < cnt ? memchr(s + at, '/', cnt - at) : NULL;
		size_t n = slash ? (size_t)(slash - (s + at)) : cnt - at;

		if (at + n > literal || (at + n == literal && literal < cnt))
			return false;
		if (n == 0 || (s[at] == '.' && (n == 1 || (n == 2 && s[at + 1] == '.'))))
			return true;
		at += n + 1;
	}
	return false;
}

static int parse_gitignore(struct rule *rule, struct diag *d)
{
	const char *s = rule->text;
	size_t len = trimmed_length(s);
	char quoted[TEXT_QUOTE_LEN];
	int r = -EINVAL;

	text_quote(s, strlen(s), quoted, sizeof(quoted));
	if (s[0] == '#')
		return diag_set(d, r, "exclusion pattern %s: a comment in gitignore, write \\#",
		                quoted);
	rule->is_negated = s[0] == '!';
	s += rule->is_negated;
	len -= rule->is_negated;
	if (!has_impossible_component(s, len))
		r = pattern_new(s, len, &rule->pattern);
	if (r == -EINVAL)
		return diag_set(d, r, "exclusion pattern %s: can match nothing", quoted);
	if (r == -E2BIG)
		return diag_set(d, -EINVAL, "exclusion pattern %s: too long", quoted);
	return r;
}

static int add_rule(struct exclude *x, const char *text, size_t len, struct diag *d)
{
	scoped(rule) struct rule rule = { .text = strndup(text, len) };
	struct rule *grown = realloc(x->rule, (x->cnt + 1) * sizeof(*grown));

	if (grown)
		x->rule = grown;
	int r = rule.text && grown ? 0 : -ENOMEM;
	if (r == 0)
		r = x->mode == EXCLUDE_GITIGNORE ? parse_gitignore(&rule, d)
		                                 : privatemode_new(rule.text, &rule.privatemode, d);
	if (r == -ENOMEM)
		return diag_set(d, r, "out of memory for the exclusion patterns");
	if (r < 0)
		return r;
	x->rule[x->cnt++] = rule;
	rule = (struct rule){ 0 };
	return 0;
}

int exclude_add(struct exclude *x, const char *pattern, struct diag *d)
{
	if (x->mode == EXCLUDE_PRIVATEMODE)
		return exclude_add_list(x, pattern, d);
	return add_rule(x, pattern, strlen(pattern), d);
}

int exclude_add_list(struct exclude *x, const char *list, struct diag *d)
{
	static const char separators[] = ",\n";

	for (const char *s = list;;) {
		size_t len = strcspn(s, separators);
		int r = len > 0 ? add_rule(x, s, len, d) : 0;

		if (r < 0 || !s[len])
			return r;
		s += len + 1;
	}
}

/* The last pattern that matches decides. */
static enum exclude_verdict match_gitignore(const struct exclude *x, const char *path, bool is_dir,
                                            const char **pattern)
{
	size_t len = strlen(path);

	for (size_t i = x->cnt; i > 0; i--) {
		const struct rule *rule = &x->rule[i - 1];

		if (!pattern_match(rule->pattern, path, len, is_dir))
			continue;
		*pattern = rule->text;
		return rule->is_negated ? EXCLUDE_KEEP : EXCLUDE_DROP;
	}
	return EXCLUDE_KEEP;
}

/* rm comes after git-lfs, so what one of the patterns removes is gone. */
static enum exclude_verdict match_privatemode(const struct exclude *x, const char *path,
                                              bool is_dir, const char **pattern)
{
	enum exclude_verdict verdict = EXCLUDE_KEEP;

	for (size_t i = 0; i < x->cnt; i++) {
		const struct rule *rule = &x->rule[i];

		if (privatemode_removes(rule->privatemode, path, is_dir)) {
			*pattern = rule->text;
			return EXCLUDE_DROP;
		}
		if (!is_dir && verdict == EXCLUDE_KEEP &&
		    privatemode_keeps_pointer(rule->privatemode, path)) {
			*pattern = rule->text;
			verdict = EXCLUDE_KEEP_POINTER;
		}
	}
	return verdict;
}

enum exclude_verdict exclude_match(const struct exclude *x, const char *path, bool is_dir,
                                   const char **pattern)
{
	const char *unused = NULL, **decided = pattern ? pattern : &unused;

	*decided = NULL;
	return x->mode == EXCLUDE_GITIGNORE ? match_gitignore(x, path, is_dir, decided)
	                                    : match_privatemode(x, path, is_dir, decided);
}
