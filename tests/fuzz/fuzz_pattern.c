/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wildcards: the input is a pattern and a path with a form feed between them. The pattern goes
 * through every dialect, as a path pattern, as --exclude and as EXCLUDE_GIT_FILES. The verdicts
 * themselves are judged by the tools (tests/oracles/exclude.py); here they must be possible ones.
 */
#include "exclude.h"
#include "fuzz.h"
#include "glob.h"
#include "pattern.h"

#include <errno.h>
#include <stdio.h>

#define SEPARATOR '\f'
#define MAX_PATH  2000

static bool is_literal(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr("*?[]\\!{}()", text[i]))
			return false;
	return true;
}

static void try_globs(const char *pattern, size_t len, const char *path, size_t path_len)
{
	static const enum glob_dialect dialect[] = { GLOB_GIT, GLOB_LFS, GLOB_BASH };

	for (size_t i = 0; i < ARRAY_LEN(dialect); i++) {
		scoped(glob) struct glob *g = NULL;
		int r = glob_new(dialect[i], pattern, len, &g);

		FUZZ_MUST(r == 0 || r == -EINVAL || r == -E2BIG || r == -EOPNOTSUPP);
		FUZZ_MUST(r != -EOPNOTSUPP || dialect[i] != GLOB_GIT);
		FUZZ_MUST((r == -E2BIG) == (len > GLOB_MAX_LEN));
		if (r)
			continue;
		bool matches = glob_match(g, path, path_len);
		FUZZ_MUST(!is_literal(pattern, len) ||
		          matches == (len == path_len && memcmp(pattern, path, len) == 0));
	}
}

static void try_pattern(const char *text, size_t len, const char *path, size_t path_len)
{
	scoped(pattern) struct pattern *p = NULL;
	int r = pattern_new(text, len, &p);

	FUZZ_MUST(r == 0 || r == -EINVAL || r == -E2BIG);
	/* as a directory it matches whatever matches it as a file */
	if (r == 0 && path_len > 0)
		FUZZ_MUST(!pattern_match(p, path, path_len, false) ||
		          pattern_match(p, path, path_len, true));
}

static void try_exclude(enum exclude_mode mode, bool is_list, const char *text, const char *path)
{
	scoped(exclude) struct exclude *x = NULL;
	const char *because = NULL;
	struct diag d = DIAG_INIT;
	int r;

	FUZZ_MUST(exclude_new(mode, &x) == 0);
	r = is_list ? exclude_add_list(x, text, &d) : exclude_add(x, text, &d);
	FUZZ_MUST(r == 0 || ((r == -EINVAL || r == -EOPNOTSUPP) && d.err == r && d.text[0]));
	if (!*path)
		return;
	for (int is_dir = 0; is_dir < 2; is_dir++) {
		enum exclude_verdict v = exclude_match(x, path, is_dir, &because);

		FUZZ_MUST(v == EXCLUDE_KEEP || because);
		FUZZ_MUST(v != EXCLUDE_KEEP_POINTER || mode == EXCLUDE_PRIVATEMODE);
	}
}

/* A string without NUL, as the callers promise, and without what no path has. */
static char *string_of(const uint8_t *bytes, size_t len, bool is_path)
{
	char *s = calloc(1, len + 1);
	size_t n = 0;

	FUZZ_MUST(s);
	for (size_t i = 0; i < len && (!is_path || n < MAX_PATH); i++)
		if (bytes[i] && !(is_path && bytes[i] == '/' && (n == 0 || s[n - 1] == '/')))
			s[n++] = (char)bytes[i];
	while (is_path && n > 0 && s[n - 1] == '/')
		s[--n] = '\0';
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *stop = len ? memchr(data, SEPARATOR, len) : NULL;
	size_t pattern_len = stop ? (size_t)(stop - data) : len;
	scoped_free char *text = string_of(data, pattern_len, false);
	scoped_free char *path =
	        string_of(stop ? stop + 1 : data, stop ? len - pattern_len - 1 : 0, true);

	try_globs(text, strlen(text), path, strlen(path));
	try_pattern(text, strlen(text), path, strlen(path));
	for (int is_list = 0; is_list < 2; is_list++) {
		try_exclude(EXCLUDE_GITIGNORE, is_list, text, path);
		try_exclude(EXCLUDE_PRIVATEMODE, is_list, text, path);
	}
	return 0;
}
