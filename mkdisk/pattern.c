/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits a pattern into what can be compared and what must be globbed. The split is git's own and
 * not only for speed: "**" at the start of the globbed part counts as if a slash preceded it, so
 * "a**" followed by "/b" matches "ab".
 */
#include "pattern.h"

#include <errno.h>

#include "glob.h"

struct pattern {
	bool is_name; /* compared with the last component only */
	bool is_dir_only;
	bool is_suffix; /* '*' and then only literal */
	char *literal;  /* before the glob; all of it if there is none; the suffix */
	size_t literal_len;
	struct glob *glob;
};

static size_t literal_length(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && !strchr("*?[\\", text[n]))
		n++;
	return n;
}

int pattern_new(const char *text, size_t len, struct pattern **out)
{
	scoped(pattern) struct pattern *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->is_dir_only = len > 0 && text[len - 1] == '/';
	len -= p->is_dir_only;
	if (len == 0)
		return -EINVAL;
	p->is_name = !memchr(text, '/', len);
	if (text[0] == '/') {
		text++;
		len--;
	}
	size_t literal = literal_length(text, len);
	if (p->is_name && literal < len) {
		/* a name is globbed as a whole */
		p->is_suffix = text[0] == '*' && literal_length(text + 1, len - 1) == len - 1;
		literal = 0;
	}
	if (p->is_suffix) {
		text++;
		literal = --len;
	}
	p->literal = strndup(text, literal);
	p->literal_len = literal;
	if (!p->literal)
		return -ENOMEM;
	int r = literal < len ? glob_new(GLOB_GIT, text + literal, len - literal, &p->glob) : 0;
	if (r < 0)
		return r;
	*out = take_ptr(p);
	return 0;
}

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	free(p->literal);
	glob_free(p->glob);
	free(p);
}

bool pattern_match(const struct pattern *p, const char *path, size_t len, bool is_dir)
{
	if (p->is_dir_only && !is_dir)
		return false;
	const char *slash = p->is_name ? memrchr(path, '/', len) : NULL;
	if (slash) {
		len -= (size_t)(slash + 1 - path);
		path = slash + 1;
	}
	if (len < p->literal_len)
		return false;
	if (p->is_suffix)
		return memcmp(path + len - p->literal_len, p->literal, p->literal_len) == 0;
	if (memcmp(path, p->literal, p->literal_len) != 0)
		return false;
	if (!p->glob)
		return len == p->literal_len;
	return glob_match(p->glob, path + p->literal_len, len - p->literal_len);
}
