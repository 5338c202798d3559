/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --list: the path of everything on the disk, one a line.
 */
#include "cmd.h"

#include <stdio.h>
#include <sys/stat.h>

static int print_entry(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	(void)ctx;
	(void)d;
	if (e->depth == 0)
		return 0;
	cmd_print_path(e->path, CMD_PATH_LINE);
	fputs(S_ISDIR(e->inode->mode) ? "/\n" : "\n", stdout);
	return 0;
}

int cmd_list(const struct options *o, struct diag *d)
{
	static const struct erofs_visitor visitor = { .visit = print_entry };
	scoped(image) struct image *img = NULL;
	struct erofs_inode root;
	int r = cmd_open_image(o, &o->image, &img, d);

	if (r == 0)
		r = erofs_inode_get(image_erofs(img), erofs_get_info(image_erofs(img))->root_nid,
		                    &root, d);
	if (r == 0)
		r = erofs_walk(image_erofs(img), &root, &visitor, NULL, d);
	return r;
}
