/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths are followed here and not by the kernel, so "..", links and loops are ours to bound. The
 * way down is kept as a stack: the parent of a directory is where we came from, whatever the disk
 * says.
 */
#include "path.h"

#include "list.h"

#include <stdio.h>
#include <sys/stat.h>

#define MAX_REST_LEN 65536 /* of what is still to follow, links expanded */

struct way {
	const struct erofs *fs;
	struct erofs_inode *at; /* from the root on; the last one is where we are */
	size_t depth;
	char *rest; /* owned: what is still to follow */
	unsigned link_cnt;
};

static void way_release(struct way *w)
{
	free(w->at);
	free(w->rest);
}

static int push(struct way *w, uint64_t nid, struct diag *d)
{
	struct erofs_inode *grown = list_grow(w->at, w->depth, sizeof(*w->at));
	int r;

	if (!grown)
		return diag_set(d, -ENOMEM, "out of memory");
	w->at = grown;
	r = erofs_inode_get(w->fs, nid, &w->at[w->depth], d);
	if (r == 0)
		w->depth++;
	return r;
}

/* The link on top of the stack is replaced by what it says. */
static int follow_link(struct way *w, const char *behind, struct diag *d)
{
	char target[EROFS_MAX_SYMLINK_LEN + 1];
	char *rest = NULL;
	int r = erofs_readlink(w->fs, &w->at[w->depth - 1], target, sizeof(target), d);

	if (r < 0)
		return r;
	if (++w->link_cnt > PATH_MAX_LINKS)
		return diag_set(d, -ELOOP, "more than %d symlinks", PATH_MAX_LINKS);
	if (strlen(target) + strlen(behind) >= MAX_REST_LEN)
		return diag_set(d, -ENAMETOOLONG, "its symlinks make too long a path");
	if (asprintf(&rest, "%s/%s", target, behind) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	free(w->rest);
	w->rest = rest;
	w->depth = target[0] == '/' ? 1 : w->depth - 1;
	return 0;
}

static int step(struct way *w, const char *name, size_t len, struct diag *d)
{
	const struct erofs_inode *dir = &w->at[w->depth - 1];
	char quoted[TEXT_QUOTE_LEN];
	uint64_t nid;
	int r;

	text_quote(name, len, quoted, sizeof(quoted));
	if (!S_ISDIR(dir->mode))
		return diag_set(d, -ENOTDIR, "%s is looked for in what is no directory", quoted);
	r = erofs_lookup(w->fs, dir, name, len, &nid, d);
	if (r == -ENOENT || r == -ENAMETOOLONG)
		return diag_set(d, -ENOENT, "the disk has no %s there", quoted);
	return r < 0 ? r : push(w, nid, d);
}

static int follow(struct way *w, struct diag *d)
{
	int r = push(w, erofs_get_info(w->fs)->root_nid, d);
	size_t at = 0;

	while (r == 0) {
		const char *name = w->rest + at + strspn(w->rest + at, "/");
		size_t len = strcspn(name, "/");

		at = (size_t)(name - w->rest) + len;
		if (len == 0)
			break;
		if (len == 1 && name[0] == '.')
			continue;
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			w->depth = MAX(w->depth, 2) - 1;
			continue;
		}
		r = step(w, name, len, d);
		if (r == 0 && S_ISLNK(w->at[w->depth - 1].mode)) {
			r = follow_link(w, w->rest + at, d);
			at = 0;
		}
	}
	return r;
}

int path_resolve(const struct erofs *fs, const char *path, struct erofs_inode *out, struct diag *d)
{
	struct way w = { .fs = fs, .rest = strdup(path) };
	char quoted[TEXT_QUOTE_LEN];
	int r = w.rest ? follow(&w, d) : diag_set(d, -ENOMEM, "out of memory");

	if (r == 0)
		*out = w.at[w.depth - 1];
	way_release(&w);
	return diag_prefix(d, r, "%s", text_quote(path, strlen(path), quoted, sizeof(quoted)));
}
