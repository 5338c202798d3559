/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depth-first search for an inode's name. The image decides the shape of the tree, so the walk
 * keeps its own stack and counts what it looks at: a directory that contains itself ends at the
 * depth limit, and a tree of a billion names at the entry limit.
 */
#include "path.h"

#include <dirent.h>
#include <errno.h>

#define MAX_DEPTH     4096
#define MAX_ENTRY_CNT 4000000

struct level {
	uint64_t nid;
	uint64_t cookie;   /* where to go on in this directory */
	uint32_t path_len; /* of the path to this directory, without a slash at the end */
};

struct walk {
	const struct erofs *fs;
	uint64_t wanted;
	uint64_t entry_cnt;
	char *path;
	size_t path_size;
	bool found, too_long;
	uint32_t depth;
	struct level level[MAX_DEPTH];
};

/* Writes "/name" behind the current directory's path. */
static bool append_name(struct walk *w, const struct erofs_dirent *e, uint32_t *path_len)
{
	uint32_t at = w->level[w->depth - 1].path_len;

	if (w->path_size - at < e->name_len + 2)
		return false;
	w->path[at] = '/';
	memcpy(w->path + at + 1, e->name, e->name_len);
	w->path[at + 1 + e->name_len] = '\0';
	*path_len = at + 1 + (uint32_t)e->name_len;
	return true;
}

/* Stops at the wanted entry, or at a directory to go down into. */
static int visit(void *ctx, const struct erofs_dirent *e)
{
	struct walk *w = ctx;
	uint32_t path_len;

	if (++w->entry_cnt > MAX_ENTRY_CNT)
		return -ENOENT;
	w->level[w->depth - 1].cookie = e->next;
	if (e->nid != w->wanted && e->type != DT_DIR)
		return 0;
	if (!append_name(w, e, &path_len)) {
		w->too_long = true;
		return 0;
	}
	if (e->nid == w->wanted) {
		w->found = true;
		return 1;
	}
	if (w->depth == MAX_DEPTH)
		return 0;
	w->level[w->depth++] = (struct level){ .nid = e->nid, .path_len = path_len };
	return 1;
}

static int walk_tree(struct walk *w)
{
	while (w->depth > 0) {
		uint32_t depth = w->depth;
		struct level *l = &w->level[depth - 1];
		struct erofs_inode dir;
		int r = erofs_inode_get(w->fs, l->nid, &dir, NULL);

		if (r == 0)
			r = erofs_list(w->fs, &dir, l->cookie, visit, w, NULL);
		if (w->found)
			return 0;
		if (w->entry_cnt > MAX_ENTRY_CNT)
			return -ENOENT;
		/* a directory that cannot be read hides what is in it, not its neighbours */
		if (r < 0 || w->depth == depth)
			w->depth = depth - 1;
	}
	return w->too_long ? -ENAMETOOLONG : -ENOENT;
}

int path_find(const struct erofs *fs, uint64_t nid, char *buf, size_t len)
{
	uint64_t root_nid = erofs_get_info(fs)->root_nid;
	scoped_free struct walk *w = NULL;

	if (len < 2)
		return -ENAMETOOLONG;
	if (nid == root_nid) {
		memcpy(buf, "/", 2);
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->fs = fs;
	w->wanted = nid;
	w->path = buf;
	w->path_size = len;
	w->level[0].nid = root_nid;
	w->depth = 1;
	return walk_tree(w);
}
