/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of EROFS: a directory is a row of blocks, each with its own table of entries and
 * their names, sorted over the whole row. Every block that is met is checked completely before a
 * name in it is looked at; binary search then only has to check block against block. Where the
 * tree below leads is not seen here: erofs_walk.c.
 */
#include "erofs_int.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#define DIRENT_LEN sizeof(struct erofs_dirent_disk)

struct name {
	const uint8_t *bytes;
	size_t len;
};

/* A name that outlives its block. */
struct kept_name {
	struct name name;
	uint8_t bytes[EROFS_MAX_NAME_LEN];
};

static void name_keep(struct kept_name *to, struct name from)
{
	memcpy(to->bytes, from.bytes, from.len);
	to->name = (struct name){ to->bytes, from.len };
}

/* The order on the disk: unsigned bytes, a prefix before the longer name. */
static int name_compare(const struct name *a, const struct name *b)
{
	int c = memcmp(a->bytes, b->bytes, MIN(a->len, b->len));

	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static const struct name dot = { (const uint8_t *)".", 1 };
static const struct name dot_dot = { (const uint8_t *)"..", 2 };

struct dir_entry {
	struct name name;
	uint64_t nid;
	uint8_t type;
};

/* A checked block. */
struct dir_block {
	uint64_t idx;
	size_t len, cnt;
	uint8_t bytes[EROFS_MAX_BLOCK_LEN];
};

static struct erofs_dirent_disk dirent_at(const struct dir_block *b, size_t i)
{
	struct erofs_dirent_disk e;

	memcpy(&e, b->bytes + i * DIRENT_LEN, sizeof(e));
	return e;
}

/* The last name of a block ends at the first NUL or with the block. */
static size_t name_end(const struct dir_block *b, size_t i, size_t name_off)
{
	const uint8_t *nul;

	if (i + 1 < b->cnt)
		return le16_get(dirent_at(b, i + 1).name_off);
	nul = memchr(b->bytes + name_off, '\0', b->len - name_off);
	return nul ? (size_t)(nul - b->bytes) : b->len;
}

static struct dir_entry entry_at(const struct dir_block *b, size_t i)
{
	struct erofs_dirent_disk e = dirent_at(b, i);
	size_t off = le16_get(e.name_off);

	return (struct dir_entry){
		.name = { b->bytes + off, name_end(b, i, off) - off },
		.nid = le64_get(e.nid),
		.type = e.type,
	};
}

static uint64_t block_cnt(const struct erofs *fs, const struct erofs_inode *dir)
{
	return div_up(dir->size, fs->block_len);
}

static bool is_between(const struct name *a, const struct name *n, const struct name *b)
{
	return (!a || name_compare(a, n) < 0) && (!b || name_compare(n, b) < 0);
}

/*
 * Two names side by side; NULL stands for the end of the directory. Since names ascend, "." and
 * ".." are missing exactly if some pair has them in between.
 */
static int check_neighbours(const struct erofs_inode *dir, const struct name *a,
                            const struct name *b, struct diag *d)
{
	char qa[TEXT_QUOTE_LEN], qb[TEXT_QUOTE_LEN];

	if (a && b && name_compare(a, b) >= 0)
		return diag_set(d, -EUCLEAN, "name %s is followed by %s: not in order",
		                text_quote(a->bytes, a->len, qa, sizeof(qa)),
		                text_quote(b->bytes, b->len, qb, sizeof(qb)));
	if (is_between(a, &dot_dot, b))
		return diag_set(d, -EUCLEAN, "there is no entry \"..\"");
	if (!(dir->flags & EROFS_INODE_DOT_OMITTED) && is_between(a, &dot, b))
		return diag_set(d, -EUCLEAN, "there is no entry \".\"");
	return 0;
}

static int check_entry(const struct erofs *fs, const struct dir_block *b, size_t i, struct diag *d)
{
	size_t off = le16_get(dirent_at(b, i).name_off);
	size_t end = off < b->len ? name_end(b, i, off) : 0;
	struct dir_entry e;
	uint64_t at;

	if (off >= b->len || end <= off || end > b->len)
		return diag_set(d, -EUCLEAN,
		                "name of entry %zu reaches from %zu to %zu in %zu bytes", i, off,
		                end, b->len);
	e = entry_at(b, i);
	if (e.name.len > EROFS_MAX_NAME_LEN)
		return diag_set(d, -EUCLEAN, "name of entry %zu has %zu bytes, more than %u", i,
		                e.name.len, EROFS_MAX_NAME_LEN);
	if (memchr(e.name.bytes, '/', e.name.len) || memchr(e.name.bytes, '\0', e.name.len))
		return diag_set(d, -EUCLEAN, "name of entry %zu has a '/' or a NUL", i);
	if (e.type > 7)
		return diag_set(d, -EUCLEAN, "file type of entry %zu is %u, above 7", i, e.type);
	if (!erofs_nid_to_off(fs, e.nid, &at))
		return diag_set(d, -EUCLEAN, "nid of entry %zu is %" PRIu64 ", outside the image",
		                i, e.nid);
	return 0;
}

static int check_block(const struct erofs *fs, const struct erofs_inode *dir, struct dir_block *b,
                       struct diag *d)
{
	size_t first = b->len >= DIRENT_LEN ? le16_get(dirent_at(b, 0).name_off) : 0;
	struct dir_entry prev, e;
	int r;

	if (first < DIRENT_LEN || first % DIRENT_LEN != 0 || first >= b->len)
		return diag_set(d, -EUCLEAN, "first name is at %zu of %zu bytes", first, b->len);
	b->cnt = first / DIRENT_LEN;
	for (size_t i = 0; i < b->cnt; i++) {
		r = check_entry(fs, b, i, d);
		if (r)
			return r;
		e = entry_at(b, i);
		if (i > 0 || b->idx == 0) {
			r = check_neighbours(dir, i > 0 ? &prev.name : NULL, &e.name, d);
			if (r)
				return r;
		}
		prev = e;
	}
	if (b->idx + 1 == block_cnt(fs, dir))
		return check_neighbours(dir, &prev.name, NULL, d);
	return 0;
}

static int dir_prefix(const struct erofs_inode *dir, uint64_t blk, int r, struct diag *d)
{
	return diag_prefix(d, r, "EROFS directory %" PRIu64 ", block %" PRIu64, dir->nid, blk);
}

static int load(const struct erofs *fs, const struct erofs_inode *dir, uint64_t idx,
                struct dir_block *out, struct diag *d)
{
	uint64_t off = idx << fs->block_bits;
	int r;

	out->idx = idx;
	out->len = MIN(fs->block_len, dir->size - off);
	r = erofs_read_data(fs, dir, off, out->bytes, out->len, d);
	if (!r)
		r = check_block(fs, dir, out, d);
	return r ? dir_prefix(dir, idx, r, d) : 0;
}

static int find_in_block(const struct dir_block *b, const struct name *name, uint64_t *nid)
{
	for (size_t i = 0; i < b->cnt; i++) {
		struct dir_entry e = entry_at(b, i);

		if (name_compare(name, &e.name) == 0) {
			*nid = e.nid;
			return 0;
		}
	}
	return -ENOENT;
}

/*
 * Binary search for the block that spans the name. below and above are the nearest names known to
 * the left and to the right of the blocks still in question: a block that does not lie between
 * them is out of order.
 */
static int search(const struct erofs *fs, const struct erofs_inode *dir, const struct name *name,
                  uint64_t *nid, struct diag *d)
{
	uint64_t lo = 0, hi = block_cnt(fs, dir);
	struct kept_name below, above;
	bool has_below = false, has_above = false;
	struct dir_block b;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct name first, last;
		int r = load(fs, dir, mid, &b, d);

		if (r)
			return r;
		first = entry_at(&b, 0).name;
		last = entry_at(&b, b.cnt - 1).name;
		if ((has_below && name_compare(&below.name, &first) >= 0) ||
		    (has_above && name_compare(&last, &above.name) >= 0))
			return dir_prefix(dir, mid,
			                  diag_set(d, -EUCLEAN,
			                           "names are out of order with those of other "
			                           "blocks"),
			                  d);
		if (name_compare(name, &first) < 0) {
			hi = mid;
			name_keep(&above, first);
			has_above = true;
		} else if (name_compare(name, &last) > 0) {
			lo = mid + 1;
			name_keep(&below, last);
			has_below = true;
		} else {
			return find_in_block(&b, name, nid);
		}
	}
	return -ENOENT;
}

static int check_directory(const struct erofs_inode *dir, struct diag *d)
{
	if (S_ISDIR(dir->mode))
		return 0;
	return diag_set(d, -ENOTDIR, "EROFS inode %" PRIu64 " is not a directory", dir->nid);
}

int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name,
                 size_t name_len, uint64_t *nid, struct diag *d)
{
	struct name wanted = { (const uint8_t *)name, name_len };
	char quoted[TEXT_QUOTE_LEN];
	int r = check_directory(dir, d);

	if (r)
		return r;
	if (name_len > EROFS_MAX_NAME_LEN)
		return diag_set(d, -ENAMETOOLONG, "a name of %zu bytes is longer than %u", name_len,
		                EROFS_MAX_NAME_LEN);
	if (name_len == 0 || name_compare(&wanted, &dot) == 0 ||
	    name_compare(&wanted, &dot_dot) == 0 || memchr(name, '/', name_len) ||
	    memchr(name, '\0', name_len))
		return diag_set(d, -EINVAL, "%s is not the name of an entry",
		                text_quote(name, name_len, quoted, sizeof(quoted)));
	r = search(fs, dir, &wanted, nid, d);
	if (r == -ENOENT)
		return diag_set(d, r, "EROFS directory %" PRIu64 " has no entry %s", dir->nid,
		                text_quote(name, name_len, quoted, sizeof(quoted)));
	return r;
}

static uint8_t type_for_dirent(uint8_t type)
{
	static const uint8_t types[] = { DT_UNKNOWN, DT_REG,  DT_DIR,  DT_CHR,
		                         DT_BLK,     DT_FIFO, DT_SOCK, DT_LNK };

	return types[type];
}

/* 0: all of the block's entries from i on were taken; 1: fn wants no more. */
static int list_block(const struct erofs *fs, const struct dir_block *b, size_t i,
                      erofs_dirent_fn fn, void *ctx)
{
	for (; i < b->cnt; i++) {
		uint64_t next_blk = b->idx + (i + 1 == b->cnt);
		struct dir_entry e = entry_at(b, i);
		struct erofs_dirent out = {
			.name = (const char *)e.name.bytes,
			.name_len = e.name.len,
			.nid = e.nid,
			.type = type_for_dirent(e.type),
			.next = next_blk << fs->block_bits,
		};
		int r;

		if (next_blk == b->idx)
			out.next += (i + 1) * DIRENT_LEN;
		if (name_compare(&e.name, &dot) == 0 || name_compare(&e.name, &dot_dot) == 0)
			continue;
		r = fn(ctx, &out);
		if (r)
			return r;
	}
	return 0;
}

/* The block's first name against the last one of the block before, which is in prev. */
static int check_follows(const struct erofs_inode *dir, const struct kept_name *prev,
                         const struct dir_block *b, struct diag *d)
{
	struct name first = entry_at(b, 0).name;
	int r = check_neighbours(dir, &prev->name, &first, d);

	return r ? dir_prefix(dir, b->idx, r, d) : 0;
}

/*
 * A cookie is the position of an entry in the directory's data; the end is that of block_cnt. At
 * the start of a block the block before is read again: whoever gave that cookie may have dropped
 * the error that came with it.
 */
int erofs_list(const struct erofs *fs, const struct erofs_inode *dir, uint64_t cookie,
               erofs_dirent_fn fn, void *ctx, struct diag *d)
{
	uint64_t blk = cookie >> fs->block_bits, cnt = block_cnt(fs, dir);
	size_t in_block = cookie & (fs->block_len - 1);
	bool has_prev = in_block == 0 && blk > 0 && blk < cnt;
	struct kept_name prev;
	struct dir_block b;
	int r = check_directory(dir, d);

	if (r)
		return r;
	if (has_prev) {
		r = load(fs, dir, blk - 1, &b, d);
		if (r)
			return r;
		name_keep(&prev, entry_at(&b, b.cnt - 1).name);
	}
	for (; blk < cnt; blk++, in_block = 0) {
		r = load(fs, dir, blk, &b, d);
		if (!r && has_prev)
			r = check_follows(dir, &prev, &b, d);
		if (r)
			return r;
		if (in_block % DIRENT_LEN != 0 || in_block / DIRENT_LEN >= b.cnt)
			break;
		r = list_block(fs, &b, in_block / DIRENT_LEN, fn, ctx);
		if (r)
			return r < 0 ? r : 0;
		name_keep(&prev, entry_at(&b, b.cnt - 1).name);
		has_prev = true;
	}
	if (blk != cnt || in_block != 0)
		return diag_set(d, -EINVAL,
		                "EROFS directory %" PRIu64 ": no entry was ever at %" PRIu64,
		                dir->nid, cookie);
	return 0;
}
