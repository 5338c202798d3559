/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following paths. The part of the path that is still to be walked is a string; a symbolic link
 * puts its target in front of it. Nothing recurses.
 */
#include "tree_lookup.h"

#include <errno.h>
#include <stdio.h>

#define MAX_LINKS 32 /* systemd's limit; Linux has 40 */

struct walk {
	const struct tree_lookup *l;
	struct tree_node *at;
	char *rest; /* what is still to be walked */
	unsigned link_cnt;
};

const char *path_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 0 && dir[len - 1] == '/')
		len--;
	if (strncmp(path, dir, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len + strspn(path + len, "/");
}

/* The symbolic link n lies in w->at; the rest is what comes behind it. */
static int follow(struct walk *w, const struct tree_node *n, const char *rest)
{
	const char *target = n->target;
	char *joined;

	if (++w->link_cnt > MAX_LINKS)
		return -ELOOP;
	if (target[0] == '/') {
		target = path_below(target, w->l->prefix);
		if (!target)
			return -EXDEV;
		w->at = w->l->root;
	}
	if (asprintf(&joined, "%s/%s", target, rest) < 0)
		return -ENOMEM;
	free(w->rest);
	w->rest = joined;
	return 0;
}

/* One component. */
static int step(struct walk *w, const char *name, size_t len, const char *rest)
{
	if (!S_ISDIR(w->at->mode))
		return -ENOTDIR;
	if (len == 1 && name[0] == '.')
		return 0;
	if (len == 2 && memcmp(name, "..", 2) == 0) {
		bool is_closed = strcmp(w->l->prefix, "/") == 0;

		if (!w->at->parent)
			return is_closed ? 0 : -EXDEV;
		w->at = w->at->parent;
		return 0;
	}
	struct tree_node *n = tree_child(w->at, name, len);
	if (!n)
		return -ENOENT;
	const struct tree_node *inode = n;
	while (inode->link)
		inode = inode->link;
	if (S_ISLNK(inode->mode))
		return follow(w, inode, rest);
	w->at = n;
	return 0;
}

int tree_lookup(const struct tree_lookup *l, const char *path, struct tree_node **out)
{
	struct walk w = { .l = l, .at = l->root, .rest = strdup(path) };
	int r = w.rest ? 0 : -ENOMEM;
	size_t off = 0;

	while (r == 0) {
		unsigned link_cnt = w.link_cnt;

		off += strspn(w.rest + off, "/");
		size_t len = strcspn(w.rest + off, "/");
		if (len == 0)
			break;
		r = step(&w, w.rest + off, len, w.rest + off + len);
		/* a link has put something new there */
		off = w.link_cnt == link_cnt ? off + len : 0;
	}
	free(w.rest);
	if (r == 0)
		*out = w.at;
	return r;
}
