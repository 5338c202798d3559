/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a tree into memory. Paths are kept whole, so their sum is bounded: deep trees with long
 * names would otherwise need memory by the square.
 */
#include "entries.h"

#include "list.h"

#include <sys/stat.h>

static int add_entry(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct entries *l = ctx;
	struct entry *grown = list_grow(l->entry, l->cnt, sizeof(*l->entry));

	if (!grown)
		return diag_set(d, -ENOMEM, "out of memory");
	l->entry = grown;
	l->paths_len += e->path_len + 1;
	if (l->paths_len > ENTRIES_MAX_PATHS_LEN)
		return diag_set(d, -EOPNOTSUPP,
		                "the paths of all files are longer than %d MiB together",
		                (int)(ENTRIES_MAX_PATHS_LEN / MIB));
	grown[l->cnt] = (struct entry){ .path = strdup(e->path), .inode = *e->inode };
	if (!grown[l->cnt++].path)
		return diag_set(d, -ENOMEM, "out of memory");
	if (S_ISREG(e->inode->mode) && !add_u64(l->file_bytes, e->inode->size, &l->file_bytes))
		l->file_bytes = UINT64_MAX;
	return 0;
}

int entries_read(const struct erofs *fs, const struct erofs_inode *start, struct entries *out,
                 struct diag *d)
{
	static const struct erofs_visitor visitor = { .visit = add_entry };
	struct entries l = { .cnt = 0 };
	int r = erofs_walk(fs, start, &visitor, &l, d);

	if (r < 0)
		entries_release(&l);
	else
		*out = l;
	return r;
}

void entries_release(struct entries *l)
{
	for (size_t i = 0; i < l->cnt; i++)
		free(l->entry[i].path);
	free(l->entry);
	*l = (struct entries){ .cnt = 0 };
}
