/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contradictions that abort here are what a fuzzer can find besides memory errors. No cmocka:
 * fuzz targets link this file without it.
 */
#include "erofs_consume.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAX_INODES     20000
#define MAX_FILE_LEN   (256 * KIB) /* read from the start */
#define MAX_DATA_LEN   (8 * MIB)   /* of all files */
#define MAX_LOOKUPS    400         /* in one directory */
#define MAX_XATTR_LIST (64 * KIB)

#define MUST(cond) must(cond, #cond, __LINE__)

static void must(bool ok, const char *what, int line)
{
	if (ok)
		return;
	fprintf(stderr, "erofs_consume.c:%d: the reader contradicts itself: %s is false\n", line,
	        what);
	abort();
}

struct consumer {
	const struct erofs *fs;
	struct erofs_consumed *out;
	struct diag *d;
	uint8_t buf[16 * KIB];
};

static void digest(struct consumer *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < len; i++)
		c->out->digest = (c->out->digest ^ p[i]) * UINT64_C(0x100000001B3);
}

static int read_range(struct consumer *c, const struct erofs_inode *ino, uint64_t off, uint64_t end)
{
	while (off < end && c->out->data_bytes < MAX_DATA_LEN) {
		size_t want = MIN(sizeof(c->buf), end - off);
		struct erofs_extent e;
		int64_t got;
		int r = erofs_map(c->fs, ino, off, &e, c->d);

		if (r)
			return r;
		MUST(e.len > 0 && e.len <= ino->size - off);
		MUST(e.hole || range_is_inside(e.at, e.len,
		                               erofs_get_info(c->fs)->blk_cnt *
		                                       erofs_get_info(c->fs)->block_len));
		got = erofs_read(c->fs, ino, off, c->buf, want, c->d);
		if (got < 0)
			return (int)got;
		MUST((uint64_t)got == want);
		digest(c, c->buf, want);
		c->out->data_bytes += want;
		off += want;
	}
	return 0;
}

static int consume_file(struct consumer *c, const struct erofs_inode *ino)
{
	uint64_t head = MIN(ino->size, MAX_FILE_LEN);
	int r = read_range(c, ino, 0, head);

	if (r)
		return r;
	r = read_range(c, ino, MAX(head, ino->size - MIN(ino->size, sizeof(c->buf))), ino->size);
	if (r)
		return r;
	MUST(erofs_read(c->fs, ino, ino->size, c->buf, 1, c->d) == 0);
	MUST(erofs_read(c->fs, ino, UINT64_MAX, c->buf, 1, c->d) == 0);
	return 0;
}

static int consume_symlink(struct consumer *c, const struct erofs_inode *ino)
{
	char target[EROFS_MAX_SYMLINK_LEN + 1];
	int r = erofs_readlink(c->fs, ino, target, sizeof(target), c->d);

	if (r < 0)
		return r;
	MUST((uint64_t)r == ino->size && strlen(target) == ino->size);
	digest(c, target, (size_t)r);
	return 0;
}

static int consume_xattr(struct consumer *c, const struct erofs_inode *ino, const char *name)
{
	uint8_t value[UINT16_MAX];
	int len = erofs_getxattr(c->fs, ino, name, NULL, 0, c->d);
	int r = len < 0 ? len : erofs_getxattr(c->fs, ino, name, value, sizeof(value), c->d);

	if (r < 0)
		return r;
	MUST(r == len);
	digest(c, name, strlen(name));
	digest(c, value, (size_t)len);
	c->out->xattrs++;
	return 0;
}

static int consume_xattrs(struct consumer *c, const struct erofs_inode *ino)
{
	int len = erofs_listxattr(c->fs, ino, NULL, 0, c->d);
	char *names;
	int r;

	if (len <= 0 || len > (int)MAX_XATTR_LIST)
		return len < 0 ? len : 0;
	names = malloc((size_t)len);
	if (!names)
		return diag_set_errno(c->d, -ENOMEM, "names of xattrs");
	r = erofs_listxattr(c->fs, ino, names, (size_t)len, c->d);
	MUST(r < 0 || r == len);
	for (const char *n = names; r >= 0 && n < names + len; n += strlen(n) + 1)
		r = consume_xattr(c, ino, n);
	free(names);
	return r < 0 ? r : 0;
}

struct lister {
	struct consumer *c;
	const struct erofs_inode *dir;
	struct diag *d;
	bool is_intact; /* a whole listing has found nothing wrong */
	unsigned cnt;
	uint64_t cookie;
	char last[EROFS_MAX_NAME_LEN + 1];
	size_t last_len;
};

static int check_entry(void *ctx, const struct erofs_dirent *e)
{
	struct lister *l = ctx;
	char name[EROFS_MAX_NAME_LEN + 1];

	MUST(e->name_len >= 1 && e->name_len <= EROFS_MAX_NAME_LEN);
	MUST(!memchr(e->name, '/', e->name_len) && !memchr(e->name, '\0', e->name_len));
	MUST(e->next > l->cookie && e->next <= INT64_MAX);
	memcpy(name, e->name, e->name_len);
	name[e->name_len] = '\0';
	MUST(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	MUST(strcmp(l->last, name) < 0);
	memcpy(l->last, name, e->name_len + 1);
	l->last_len = e->name_len;
	l->cookie = e->next;
	return 0;
}

static int look_up_entry(void *ctx, const struct erofs_dirent *e)
{
	struct lister *l = ctx;
	uint64_t nid = 0;
	int r;

	if (++l->cnt > MAX_LOOKUPS)
		return 1;
	r = erofs_lookup(l->c->fs, l->dir, e->name, e->name_len, &nid, l->d);
	MUST(!l->is_intact || (r != -ENOENT && r != -EUCLEAN));
	MUST(!l->is_intact || r || nid == e->nid);
	return r == -ENOENT ? 0 : r;
}

/* 0: no such entry; 1: there is one. */
static int is_there(struct lister *l, const char *name, size_t len)
{
	uint64_t nid;
	int r = erofs_lookup(l->c->fs, l->dir, name, len, &nid, l->d);

	return r == -ENOENT ? 0 : r == 0 ? 1 : r;
}

static int look_up_absent(struct lister *l)
{
	int r = is_there(l, "\x01", 1);

	if (r >= 0)
		r = is_there(l, "\xFF\xFF", 2);
	if (r < 0 || l->last_len == EROFS_MAX_NAME_LEN)
		return r < 0 ? r : 0;
	l->last[l->last_len] = '\x01';
	r = is_there(l, l->last, l->last_len + 1);
	MUST(!l->is_intact || r <= 0);
	return r < 0 ? r : 0;
}

/*
 * A look-up sees only a few blocks and may miss a name of a directory that is out of order, or find
 * it: so what it must give depends on a whole listing before.
 */
static int consume_directory(struct consumer *c, const struct erofs_inode *dir)
{
	struct diag ignored = DIAG_INIT;
	struct lister l = { .c = c, .dir = dir, .d = c->d };
	int r = erofs_list(c->fs, dir, 0, check_entry, &l, c->d), r2;

	if (r)
		l.d = &ignored;
	else
		l.is_intact = true;
	r2 = erofs_list(c->fs, dir, 0, look_up_entry, &l, l.d);
	if (!r2)
		r2 = look_up_absent(&l);
	return r ? r : r2;
}

static int visit(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct consumer *c = ctx;
	int r = 0;

	(void)d;
	digest(c, e->path, e->path_len + 1);
	MUST(strlen(e->path) == e->path_len && e->name >= e->path);
	if (S_ISREG(e->inode->mode))
		r = consume_file(c, e->inode);
	else if (S_ISLNK(e->inode->mode))
		r = consume_symlink(c, e->inode);
	else if (S_ISDIR(e->inode->mode))
		r = consume_directory(c, e->inode);
	if (!r)
		r = consume_xattrs(c, e->inode);
	if (!r && ++c->out->inodes == MAX_INODES)
		r = -ECANCELED;
	return r;
}

static int consume(const struct vblk *v, struct erofs_consumed *out, struct diag *d)
{
	static const struct erofs_visitor visitor = { .visit = visit };
	scoped(erofs) struct erofs *fs = NULL;
	struct consumer c = { .out = out, .d = d };
	struct erofs_inode root;
	int r = erofs_open(v, &fs, d);

	if (r)
		return r;
	c.fs = fs;
	r = erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &root, d);
	if (r)
		return r;
	r = erofs_walk(fs, &root, &visitor, &c, d);
	return r == -ECANCELED ? 0 : r;
}

int erofs_consume(const struct vblk *v, int read_err, struct erofs_consumed *out, struct diag *d)
{
	int r;

	*out = (struct erofs_consumed){ .digest = UINT64_C(0xCBF29CE484222325) };
	r = consume(v, out, d);
	MUST(r == 0 || r == -EUCLEAN || r == -EOPNOTSUPP || r == -ENOMEM || r == read_err);
	MUST(!r || (d->err == r && d->text[0]));
	return r;
}
