/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a directory's entries into blocks and encodes them. "." and ".." are entries like others and
 * sorted among them; only here they exist at all. Where the blocks lie is erofs_plan.c's business.
 */
#include "erofs_dir.h"

#include <assert.h>

#include "erofs_disk.h"

struct entry {
	const char *name;
	uint32_t name_len;
	const struct tree_node *inode;
};

void erofs_dir_start(struct erofs_dir_cursor *c, const struct tree_node *dir)
{
	*c = (struct erofs_dir_cursor){ .dir = dir };
}

static const struct tree_node *inode_of(const struct tree_node *n)
{
	return n->link ? n->link : n;
}

/* The next entry, without passing it. */
static bool peek(const struct erofs_dir_cursor *c, struct entry *e)
{
	const struct tree_node *dir = c->dir;
	const struct tree_node *child = c->child < dir->child_cnt ? dir->child[c->child] : NULL;
	uint32_t dots_len = c->dots + 1U;

	if (c->dots < 2 &&
	    (!child || tree_compare_names("..", dots_len, child->name, child->name_len) < 0)) {
		const struct tree_node *up = dir->parent ? dir->parent : dir;

		*e = (struct entry){ "..", dots_len, c->dots == 0 ? dir : up };
		return true;
	}
	if (!child)
		return false;
	*e = (struct entry){ child->name, child->name_len, inode_of(child) };
	return true;
}

static void pass(struct erofs_dir_cursor *c, const struct entry *e)
{
	if (c->child < c->dir->child_cnt && e->name == c->dir->child[c->child]->name)
		c->child++;
	else
		c->dots++;
}

static uint32_t entry_len(const struct entry *e)
{
	return (uint32_t)sizeof(struct erofs_dirent_disk) + e->name_len;
}

/* Passes the entries that fit into one block. */
static uint32_t next_block(struct erofs_dir_cursor *c, uint32_t *entry_cnt)
{
	struct entry e;
	uint32_t len = 0;

	*entry_cnt = 0;
	while (peek(c, &e) && len + entry_len(&e) <= EROFS_DIR_BLOCK_LEN) {
		len += entry_len(&e);
		++*entry_cnt;
		pass(c, &e);
	}
	return len;
}

uint32_t erofs_dir_skip(struct erofs_dir_cursor *c)
{
	uint32_t entry_cnt;

	return next_block(c, &entry_cnt);
}

static uint8_t type_of(const struct tree_node *n)
{
	switch (n->mode & S_IFMT) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFSOCK:
		return 6;
	default:
		assert(S_ISLNK(n->mode));
		return 7;
	}
}

uint32_t erofs_dir_write(struct erofs_dir_cursor *c, erofs_dir_nid nid, const void *ctx,
                         uint8_t out[EROFS_DIR_BLOCK_LEN])
{
	struct erofs_dir_cursor first = *c;
	uint32_t entry_cnt, len = next_block(c, &entry_cnt);
	uint32_t name_off = entry_cnt * (uint32_t)sizeof(struct erofs_dirent_disk);
	struct entry e;

	memset(out, 0, EROFS_DIR_BLOCK_LEN);
	for (uint32_t i = 0; i < entry_cnt && peek(&first, &e); i++) {
		struct erofs_dirent_disk disk = { 0 };

		disk.nid = le64_of(nid(ctx, e.inode));
		disk.name_off = le16_of((uint16_t)name_off);
		disk.type = type_of(e.inode);
		memcpy(out + i * sizeof(disk), &disk, sizeof(disk));
		memcpy(out + name_off, e.name, e.name_len);
		name_off += e.name_len;
		pass(&first, &e);
	}
	return len;
}

uint64_t erofs_dir_size(const struct tree_node *dir)
{
	struct erofs_dir_cursor c;
	uint64_t blocks = 0;
	uint32_t len, last = 0;

	erofs_dir_start(&c, dir);
	while ((len = erofs_dir_skip(&c)) > 0) {
		last = len;
		blocks++;
	}
	/* "." and ".." are always there, so there is a last block */
	return (blocks - 1) * EROFS_DIR_BLOCK_LEN + last;
}
