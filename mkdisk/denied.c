/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the exclusions of a definition into inodes. Paths that lead nowhere exclude nothing: the
 * same definitions serve sources with and without a .git directory.
 */
#include "denied.h"

#include <errno.h>
#include <stdio.h>

#include "gpt.h"

/* What is known while a list is filled. */
struct filling {
	struct denied_list *list;
	const struct definitions *defs;
	const struct definition *def; /* the data partition */
	const struct definition_copy *line;
	const struct tree_lookup *source;
	struct diag *d;
};

static int compare_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct denied *)a)->inode;
	uintptr_t y = (uintptr_t)((const struct denied *)b)->inode;

	return (x > y) - (x < y);
}

const struct denied *denied_find(const struct denied_list *list, const struct tree_node *n)
{
	struct denied key = { .inode = inode_of(n) };

	if (list->cnt == 0)
		return NULL;
	return bsearch(&key, list->v, list->cnt, sizeof(key), compare_address);
}

void denied_list_release(struct denied_list *list)
{
	free(list->v);
	*list = (struct denied_list){ NULL, 0 };
}

/* The first word about an inode holds. */
static int deny_inode(struct filling *f, const struct tree_node *inode, bool contents_only)
{
	struct denied_list *list = f->list;

	for (size_t i = 0; i < list->cnt; i++)
		if (list->v[i].inode == inode)
			return 0;
	struct denied *grown = realloc(list->v, (list->cnt + 1) * sizeof(*grown));
	if (!grown)
		return diag_set(f->d, -ENOMEM, "out of memory for exclusions");
	list->v = grown;
	grown[list->cnt++] = (struct denied){ .inode = inode, .contents_only = contents_only };
	return 0;
}

/* Excludes what base/rest, a path in the source's tree, leads to. */
static int deny(struct filling *f, const char *base, const char *rest, bool contents_only)
{
	scoped_free char *path = NULL;
	struct tree_node *n;

	if (asprintf(&path, "%s/%s", base, rest) < 0) {
		path = NULL;
		return diag_set(f->d, -ENOMEM, "out of memory for exclusions");
	}
	int r = tree_lookup(f->source, path, &n);
	/* a link out of the source names nothing in it */
	if (r == -ENOENT || r == -ENOTDIR || r == -EXDEV)
		return 0;
	if (r < 0)
		return diag_set_errno(f->d, r, "%s: cannot follow the excluded path %s",
		                      f->def->file, path);
	return deny_inode(f, inode_of(n), contents_only);
}

static bool ends_with_slash(const char *path)
{
	return path[0] && path[strlen(path) - 1] == '/';
}

/* *is_off: the line's own source is excluded. */
static int deny_sources(struct filling *f, bool *is_off)
{
	const char *root = f->def->copy[0].source;

	for (size_t i = 0; i < f->def->exclude_source.cnt; i++) {
		const char *path = f->def->exclude_source.v[i];
		const char *rest = path_below(path, root);

		if (path_below(f->line->source, path)) {
			*is_off = true;
			return 0;
		}
		if (!rest)
			return diag_set(f->d, -EINVAL,
			                "%s: ExcludeFiles=%s is not below %s, which stands for the "
			                "source",
			                f->def->file, path, root);
		int r = deny(f, "", rest, ends_with_slash(path));
		if (r < 0)
			return r;
	}
	return 0;
}

/* base: where the line's source lies in the tree. */
static int deny_targets(struct filling *f, const char *base, bool *is_off)
{
	for (size_t i = 0; i < f->def->exclude_target.cnt; i++) {
		const char *path = f->def->exclude_target.v[i];
		const char *rest = path_below(path, f->line->target);

		if (path_below(f->line->target, path)) {
			*is_off = true;
			return 0;
		}
		int r = rest ? deny(f, base, rest, ends_with_slash(path)) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

/* In the root of a root partition the places where something else is mounted stay empty. */
static int deny_mount_points(struct filling *f, const char *base)
{
	static const char *const api[] = { "proc", "sys", "dev", "tmp", "run", "var/tmp" };
	int r = 0;

	if (gpt_type_role(&f->def->type) != GPT_ROLE_ROOT || strcmp(f->line->target, "/") != 0)
		return 0;
	for (size_t i = 0; i < f->defs->cnt && r == 0; i++) {
		enum gpt_role role = gpt_type_role(&f->defs->v[i].type);

		if (role == GPT_ROLE_ROOT)
			continue;
		for (const char *const *path = gpt_mount_points(role); *path && r == 0; path++)
			r = deny(f, base, *path, true);
	}
	for (size_t i = 0; i < ARRAY_LEN(api) && r == 0; i++)
		r = deny(f, base, api[i], true);
	return r;
}

int denied_list_set(struct denied_list *list, const struct definitions *defs,
                    const struct definition_copy *line, const struct tree_lookup *source,
                    bool *is_off, struct diag *d)
{
	struct filling f = { .list = list,
		             .defs = defs,
		             .def = &defs->v[defs->data],
		             .line = line,
		             .source = source,
		             .d = d };
	const char *base = path_below(line->source, f.def->copy[0].source);

	list->cnt = 0;
	*is_off = false;
	int r = deny_sources(&f, is_off);
	if (r == 0 && !*is_off)
		r = deny_targets(&f, base, is_off);
	if (r == 0 && !*is_off)
		r = deny_mount_points(&f, base);
	if (r == 0 && list->cnt > 0)
		qsort(list->v, list->cnt, sizeof(*list->v), compare_address);
	return r;
}
