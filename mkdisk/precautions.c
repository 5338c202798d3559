/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes that would give a correct disk which somebody regrets. Decides how they are recognised;
 * whether to refuse or to warn is build.c's.
 */
#include "precautions.h"

#include <limits.h>
#include <stdio.h>

/* The real path of a file that may not exist yet; NULL when even its directory does not. */
static char *real_path_of(const char *path)
{
	scoped_free char *copy = strdup(path), *dir = NULL, *joined = NULL;
	char *name = copy ? strrchr(copy, '/') : NULL, *whole = realpath(path, NULL);

	if (whole || !copy)
		return whole;
	if (name)
		*name = '\0';
	dir = realpath(!name ? "." : name == copy ? "/" : copy, NULL);
	if (!dir || asprintf(&joined, "%s/%s", dir, name ? name + 1 : copy) < 0)
		return NULL;
	return take_ptr(joined);
}

bool precaution_is_inside(const char *path, const char *dir)
{
	scoped_free char *real_dir = realpath(dir, NULL), *real_path = real_path_of(path);
	size_t len = real_dir ? strlen(real_dir) : 0;

	return real_dir && real_path && strncmp(real_path, real_dir, len) == 0 &&
	       (real_path[len] == '/' || strcmp(real_dir, "/") == 0);
}

bool precaution_is_same(const char *a, const char *b)
{
	scoped_free char *real_a = real_path_of(a), *real_b = real_path_of(b);

	return real_a && real_b && strcmp(real_a, real_b) == 0;
}

bool precaution_leads_out(const struct tree_node *n)
{
	const char *p = n->target;
	int depth = -1; /* of the directory the link lies in; the root's is 0 */

	for (const struct tree_node *up = n; up->parent; up = up->parent)
		depth++;
	if (*p == '/')
		return true;
	while (*p && depth >= 0) {
		size_t len = strcspn(p, "/");

		if (len == 2 && memcmp(p, "..", 2) == 0)
			depth--;
		else if (len > 0 && !(len == 1 && *p == '.'))
			depth++;
		p += len;
		p += strspn(p, "/");
	}
	return depth < 0;
}
