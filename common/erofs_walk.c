/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks an EROFS tree without recursion and ends on every image, however its directories are knit
 * together. Decides what belongs to a tree; what is done with it is up to the visitor.
 */
#include "erofs_int.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

/*
 * A set of nids: sorted runs, one for each bit of cnt, the longest first. Adding one merges equal
 * runs as a binary counter carries, so that n members cost n log n whatever an image makes them to
 * be; a hash table would have to keep a secret from it.
 */
struct nid_set {
	uint64_t *nids;
	uint64_t *spare; /* as large; for merging */
	size_t cnt, cap;
};

static void nid_set_free(struct nid_set *s)
{
	free(s->nids);
	free(s->spare);
}

static bool run_has(const uint64_t *run, size_t len, uint64_t nid)
{
	size_t lo = 0;

	while (len > 0) {
		size_t half = len / 2;

		if (run[lo + half] == nid)
			return true;
		if (run[lo + half] < nid) {
			lo += half + 1;
			len -= half + 1;
		} else {
			len = half;
		}
	}
	return false;
}

static bool nid_set_has(const struct nid_set *s, uint64_t nid)
{
	size_t at = 0;

	for (size_t left = s->cnt; left > 0;) {
		size_t run = (size_t)1 << (63 - __builtin_clzll(left));

		if (run_has(s->nids + at, run, nid))
			return true;
		at += run;
		left -= run;
	}
	return false;
}

/* Merges the two sorted runs of len at run. */
static void merge(uint64_t *run, size_t len, uint64_t *spare)
{
	const uint64_t *a = spare, *a_end = spare + len;
	const uint64_t *b = run + len, *b_end = run + 2 * len;

	memcpy(spare, run, len * sizeof(*run));
	while (a < a_end)
		*run++ = b == b_end || *a < *b ? *a++ : *b++;
}

static int grow(struct nid_set *s)
{
	size_t cap = s->cap ? 2 * s->cap : 64;
	uint64_t *p = realloc(s->nids, cap * sizeof(*p));

	if (!p)
		return -ENOMEM;
	s->nids = p;
	p = realloc(s->spare, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->spare = p;
	s->cap = cap;
	return 0;
}

/* nid is not a member yet. */
static int nid_set_add(struct nid_set *s, uint64_t nid)
{
	if (s->cnt == s->cap && grow(s))
		return -ENOMEM;
	s->nids[s->cnt++] = nid;
	for (size_t run = 1; !(s->cnt & run); run *= 2)
		merge(s->nids + s->cnt - 2 * run, run, s->spare);
	return 0;
}

/* A directory that is being listed. */
struct frame {
	struct erofs_inode dir;
	uint64_t cookie;
	size_t path_len;
};

struct walk {
	const struct erofs *fs;
	const struct erofs_visitor *visitor;
	void *ctx;
	struct diag *d;
	struct frame *frames;
	size_t depth, frame_cap;
	char *path;
	size_t path_len, name_at, path_cap;
	struct nid_set dirs;
	uint64_t entries_left;
	/* what the list's callback leaves for the loop: a directory to go into, or the end */
	bool has_child, is_over;
	struct erofs_inode child;
};

static void walk_end(struct walk *w)
{
	free(w->frames);
	free(w->path);
	nid_set_free(&w->dirs);
}

static struct erofs_walk_entry entry_here(const struct walk *w, const struct erofs_inode *ino,
                                          size_t depth)
{
	return (struct erofs_walk_entry){
		.path = w->path,
		.path_len = w->path_len,
		.name = w->path + w->name_at,
		.depth = depth,
		.inode = ino,
	};
}

static void path_cut(struct walk *w, size_t len)
{
	const char *slash;

	w->path_len = len;
	w->path[len] = '\0';
	slash = memrchr(w->path, '/', len);
	w->name_at = slash ? (size_t)(slash - w->path) + 1 : 0;
}

static int path_append(struct walk *w, const char *name, size_t len)
{
	size_t need = w->path_len + 1 + len + 1;

	if (need > w->path_cap) {
		size_t cap = MAX(need, 2 * w->path_cap);
		char *p = realloc(w->path, cap);

		if (!p)
			return diag_set_errno(w->d, -ENOMEM, "cannot hold a path");
		w->path = p;
		w->path_cap = cap;
	}
	if (w->path_len > 0)
		w->path[w->path_len++] = '/';
	w->name_at = w->path_len;
	memcpy(w->path + w->path_len, name, len);
	w->path_len += len;
	w->path[w->path_len] = '\0';
	return 0;
}

/* Puts the path before the sentence. */
static int path_prefix(struct walk *w, int r)
{
	char quoted[TEXT_QUOTE_LEN];

	if (w->path_len == 0)
		return r;
	return diag_prefix(w->d, r, "%s", text_quote(w->path, w->path_len, quoted, sizeof(quoted)));
}

/* The image is broken here: the visitor may go on without what is missing. */
static int report(struct walk *w, const struct erofs_inode *ino, size_t depth, int err)
{
	struct erofs_walk_entry e = entry_here(w, ino, depth);

	path_prefix(w, err);
	return w->visitor->broken ? w->visitor->broken(w->ctx, &e, err, w->d) : err;
}

/* Notes a directory as met. *again: it was met before, and d says so. */
static int meet_directory(struct walk *w, uint64_t nid, bool *again)
{
	*again = nid_set_has(&w->dirs, nid);
	if (*again)
		return diag_set(w->d, -EUCLEAN,
		                "EROFS directory %" PRIu64 " was met before at another path", nid);
	if (w->dirs.cnt == EROFS_WALK_MAX_DIRS)
		return diag_set(w->d, -EOPNOTSUPP, "more than %" PRIu32 " directories",
		                EROFS_WALK_MAX_DIRS);
	if (nid_set_add(&w->dirs, nid))
		return diag_set_errno(w->d, -ENOMEM, "cannot remember the directories");
	return 0;
}

/* Visits one inode, whose path is set. *enter: it is a directory to go into. */
static int visit(struct walk *w, const struct erofs_inode *ino, size_t depth, bool *enter)
{
	struct erofs_walk_entry e = entry_here(w, ino, depth);
	int r;

	*enter = false;
	if (S_ISDIR(ino->mode)) {
		bool again;

		r = meet_directory(w, ino->nid, &again);
		if (r)
			return again ? report(w, ino, depth, r) : r;
	}
	r = w->visitor->visit(w->ctx, &e, w->d);
	if (r < 0)
		return r;
	*enter = S_ISDIR(ino->mode) && r != EROFS_WALK_PRUNE;
	return 0;
}

static int check_dirent_type(const struct erofs_dirent *de, const struct erofs_inode *ino,
                             struct diag *d)
{
	if (de->type == DT_UNKNOWN || de->type == IFTODT(ino->mode))
		return 0;
	return diag_set(d, -EUCLEAN,
	                "the entry's file type %u is not that of EROFS inode %" PRIu64
	                " with mode 0%o",
	                de->type, ino->nid, ino->mode);
}

static int take_entry(struct walk *w, const struct erofs_dirent *de)
{
	bool enter = false;
	int r;

	if (w->entries_left == 0)
		return diag_set(w->d, -EUCLEAN,
		                "more entries than an image of %" PRIu64 " bytes can hold",
		                w->fs->image_len);
	w->entries_left--;
	r = path_append(w, de->name, de->name_len);
	if (r)
		return r;
	r = erofs_inode_get(w->fs, de->nid, &w->child, w->d);
	if (r)
		return report(w, NULL, w->depth, r);
	r = check_dirent_type(de, &w->child, w->d);
	if (r)
		return report(w, &w->child, w->depth, r);
	r = visit(w, &w->child, w->depth, &enter);
	if (r)
		return r;
	w->has_child = enter;
	return 0;
}

static int on_dirent(void *ctx, const struct erofs_dirent *de)
{
	struct walk *w = ctx;
	struct frame *f = &w->frames[w->depth - 1];
	int r = take_entry(w, de);

	if (r) {
		w->is_over = true;
		return r;
	}
	if (w->has_child) {
		f->cookie = de->next;
		return 1;
	}
	path_cut(w, f->path_len);
	return 0;
}

/* Goes into dir, whose path is set. */
static int push(struct walk *w, const struct erofs_inode *dir)
{
	if (w->depth == EROFS_WALK_MAX_DEPTH)
		return path_prefix(w, diag_set(w->d, -EOPNOTSUPP, "nested deeper than %u",
		                               EROFS_WALK_MAX_DEPTH));
	if (w->depth == w->frame_cap) {
		size_t cap = w->frame_cap ? 2 * w->frame_cap : 16;
		struct frame *p = realloc(w->frames, cap * sizeof(*p));

		if (!p)
			return diag_set_errno(w->d, -ENOMEM, "cannot walk deeper");
		w->frames = p;
		w->frame_cap = cap;
	}
	w->frames[w->depth++] = (struct frame){ .dir = *dir, .path_len = w->path_len };
	return 0;
}

/* Leaves the innermost directory. */
static int pop(struct walk *w)
{
	struct frame *f = &w->frames[w->depth - 1];
	int r = 0;

	path_cut(w, f->path_len);
	if (w->visitor->leave) {
		struct erofs_walk_entry e = entry_here(w, &f->dir, w->depth - 1);

		r = w->visitor->leave(w->ctx, &e, w->d);
	}
	w->depth--;
	if (w->depth > 0)
		path_cut(w, w->frames[w->depth - 1].path_len);
	return r < 0 ? r : 0;
}

/* Goes on in the innermost directory, up to the next directory in it or to its end. */
static int step(struct walk *w)
{
	const struct frame *f = &w->frames[w->depth - 1];
	int r;

	w->has_child = false;
	r = erofs_list(w->fs, &f->dir, f->cookie, on_dirent, w, w->d);
	if (r < 0) {
		if (!w->is_over) {
			path_cut(w, f->path_len);
			r = report(w, &f->dir, w->depth - 1, r);
		}
		return r < 0 ? r : pop(w);
	}
	if (w->has_child)
		return push(w, &w->child);
	return pop(w);
}

static int run(struct walk *w, const struct erofs_inode *start)
{
	bool enter = false;
	int r = path_append(w, "", 0);

	if (!r)
		r = visit(w, start, 0, &enter);
	if (r || !enter)
		return r;
	r = push(w, start);
	while (!r && w->depth > 0)
		r = step(w);
	return r;
}

int erofs_walk(const struct erofs *fs, const struct erofs_inode *start,
               const struct erofs_visitor *v, void *ctx, struct diag *d)
{
	struct walk w = {
		.fs = fs,
		.visitor = v,
		.ctx = ctx,
		.d = d,
		.entries_left = fs->image_len / sizeof(struct erofs_dirent_disk),
	};
	int r = run(&w, start);

	walk_end(&w);
	return r;
}
