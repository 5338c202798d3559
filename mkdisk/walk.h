/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the walks through a directory and through a commit share: the path of the entry being looked
 * at, the question whether it stays out, and how a file that was seen is opened again. For sources
 * only. One thread, except walk_open_below().
 */
#ifndef MODELDISK_WALK_H
#define MODELDISK_WALK_H

#include "source.h"

/* A path of any length from the source's root; starts all zero. */
struct walk_path {
	char *text;     /* of the entry, NUL-terminated; valid after the first walk_path_set() */
	size_t dir_len; /* of it, up to and with the '/' behind the current directory */
	size_t cap;
};
void walk_path_release(struct walk_path *p);
static inline void scope_end_walk_path(struct walk_path *p)
{
	walk_path_release(p);
}

/* The entry is name in the current directory; "" is the directory itself. -ENOMEM. */
int walk_path_set(struct walk_path *p, const char *name, size_t len) MUST_CHECK;
/* The entry becomes the current directory, and the directory above it becomes that again. */
void walk_path_enter(struct walk_path *p);
void walk_path_leave(struct walk_path *p);

/* What the exclusions say of the entry; a dropped one is reported to opt->on_excluded. */
enum exclude_verdict walk_verdict(const struct walk_path *p, const struct source_options *opt,
                                  bool is_dir);

/* Git LFS pointers that stand for themselves. */
struct walk_pointers {
	const struct tree_node *first; /* NULL: none */
	size_t cnt;
};
static inline void walk_note_pointer(struct walk_pointers *p, const struct tree_node *n)
{
	if (p->cnt++ == 0)
		p->first = n;
}

/* A descriptor for reading the file at path below dir_fd, no link being followed on the way; or a
 * negative errno. path is cut up. */
int walk_open_below(int dir_fd, char *path) MUST_CHECK;

#endif
