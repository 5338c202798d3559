/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which inodes of the source one CopyFiles= line leaves out: ExcludeFiles=, ExcludeFilesTarget=,
 * and the mount points of a root partition. Exclusion is by inode, as systemd-repart has it: an
 * excluded link excludes what it leads to, and all names of an excluded file go. For populate.c.
 */
#ifndef MODELDISK_DENIED_H
#define MODELDISK_DENIED_H

#include "definitions.h"
#include "tree_lookup.h"

struct denied {
	const struct tree_node *inode;
	bool contents_only; /* a directory that stays, empty */
};
struct denied_list {
	struct denied *v; /* sorted by address */
	size_t cnt;
};

/* The node that holds what n is, n being perhaps a hard link. */
static inline const struct tree_node *inode_of(const struct tree_node *n)
{
	while (n->link)
		n = n->link;
	return n;
}

/*
 * Fills the list anew for a line of the data definition. source is how paths are followed in the
 * source's tree. *is_off: the whole line is excluded. -EINVAL: an exclusion outside of the source.
 */
int denied_list_set(struct denied_list *list, const struct definitions *defs,
                    const struct definition_copy *line, const struct tree_lookup *source,
                    bool *is_off, struct diag *d) MUST_CHECK;
/* What the list says about n; NULL: nothing. */
const struct denied *denied_find(const struct denied_list *list, const struct tree_node *n);
void denied_list_release(struct denied_list *list);

#endif
