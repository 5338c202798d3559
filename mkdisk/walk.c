/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grows the path of a walk and asks exclude.c about it; opens what a walk has seen. How a walk goes
 * on is the walker's.
 */
#include "walk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

void walk_path_release(struct walk_path *p)
{
	free(p->text);
}

int walk_path_set(struct walk_path *p, const char *name, size_t len)
{
	/* with the '/' of walk_path_enter(); TREE_MAX_DEPTH names are far from overflow */
	size_t need = p->dir_len + len + 2;

	if (need > p->cap) {
		char *text = realloc(p->text, need * 2);

		if (!text)
			return -ENOMEM;
		p->text = text;
		p->cap = need * 2;
	}
	memcpy(p->text + p->dir_len, name, len);
	p->text[p->dir_len + len] = '\0';
	return 0;
}

void walk_path_enter(struct walk_path *p)
{
	p->dir_len += strlen(p->text + p->dir_len);
	p->text[p->dir_len++] = '/';
	p->text[p->dir_len] = '\0';
}

void walk_path_leave(struct walk_path *p)
{
	assert(p->dir_len > 0);
	const char *slash = memrchr(p->text, '/', p->dir_len - 1);

	p->dir_len = slash ? (size_t)(slash + 1 - p->text) : 0;
	p->text[p->dir_len] = '\0';
}

enum exclude_verdict walk_verdict(const struct walk_path *p, const struct source_options *opt,
                                  bool is_dir)
{
	const char *pattern = NULL;

	if (!opt->exclude)
		return EXCLUDE_KEEP;
	enum exclude_verdict verdict = exclude_match(opt->exclude, p->text, is_dir, &pattern);
	if (verdict == EXCLUDE_DROP && opt->on_excluded)
		opt->on_excluded(opt->ctx, p->text, pattern);
	return verdict;
}

/*
 * Name by name, because a path may be longer than the kernel takes at once and no link may be
 * followed on the way. O_NONBLOCK for the case that a FIFO has taken the file's place.
 */
int walk_open_below(int dir_fd, char *path)
{
	scoped_fd int held = -1;
	int at = dir_fd;

	for (char *slash = strchr(path, '/'); slash; slash = strchr(path, '/')) {
		*slash = '\0';
		int next = openat(at, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		if (held >= 0)
			close(held);
		at = held = next;
		path = slash + 1;
	}
	int fd = openat(at, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
