/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two indexes sorted by offset, made once, so that what lies in a block is found without a search
 * through the tree; and the encoding of superblock, inodes, attributes, symlinks and directory
 * tails. When a block is drawn, and what waits for it, is erofs_image.c's business.
 */
#include "erofs_meta.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "erofs_dir.h"
#include "erofs_disk.h"

#define BLOCK_LEN EROFS_PLAN_BLOCK_LEN

struct mixed {
	uint32_t blk;
	uint32_t first; /* in inode[]: the first that reaches into the block or beyond */
	uint32_t tail_cnt;
};

struct erofs_meta {
	const struct erofs_plan *plan;
	uint32_t *inode; /* node indexes by inode_off */
	uint32_t inode_cnt;
	uint32_t *run; /* node indexes, by data_off, of directories and symlinks with data blocks */
	uint32_t run_cnt;
	struct mixed *mixed;
	uint32_t mixed_cnt;
};

static const struct tree_node *node_at(const struct erofs_meta *m, uint32_t index)
{
	return erofs_plan_tree(m->plan)->node[index];
}

static const struct erofs_place *place_at(const struct erofs_meta *m, uint32_t index)
{
	return erofs_plan_place(m->plan, node_at(m, index));
}

static bool has_run(const struct tree_node *n, const struct erofs_place *place)
{
	return (S_ISDIR(n->mode) || S_ISLNK(n->mode)) && place->data_len > 0;
}

/* ---- indexes ---- */

static int compare_inodes(const void *a, const void *b, void *ctx)
{
	uint64_t x = place_at(ctx, *(const uint32_t *)a)->inode_off;
	uint64_t y = place_at(ctx, *(const uint32_t *)b)->inode_off;

	return (x > y) - (x < y);
}

static int compare_runs(const void *a, const void *b, void *ctx)
{
	uint64_t x = place_at(ctx, *(const uint32_t *)a)->data_off;
	uint64_t y = place_at(ctx, *(const uint32_t *)b)->data_off;

	return (x > y) - (x < y);
}

static int index_nodes(struct erofs_meta *m)
{
	const struct tree *t = erofs_plan_tree(m->plan);
	uint32_t inode_cnt = 0, run_cnt = 0;

	for (uint32_t i = 0; i < t->node_cnt; i++) {
		inode_cnt += place_at(m, i)->inode_len > 0;
		run_cnt += has_run(t->node[i], place_at(m, i));
	}
	m->inode = malloc(inode_cnt * sizeof(*m->inode));
	m->run = malloc(MAX(run_cnt, 1U) * sizeof(*m->run));
	if (!m->inode || !m->run)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->node_cnt; i++) {
		if (place_at(m, i)->inode_len > 0)
			m->inode[m->inode_cnt++] = i;
		if (has_run(t->node[i], place_at(m, i)))
			m->run[m->run_cnt++] = i;
	}
	qsort_r(m->inode, m->inode_cnt, sizeof(*m->inode), compare_inodes, m);
	qsort_r(m->run, m->run_cnt, sizeof(*m->run), compare_runs, m);
	return 0;
}

/*
 * Takes note of those blocks of [off, off + len) that are behind *last, the last block noted. Calls
 * come by ascending offset; inode is the next of inode[]. Without m->mixed blocks are only counted.
 */
static void cover(struct erofs_meta *m, uint64_t off, uint64_t len, uint32_t inode, int64_t *last)
{
	int64_t blk = (int64_t)(off / BLOCK_LEN), end = (int64_t)((off + len - 1) / BLOCK_LEN);

	for (blk = MAX(blk, *last + 1); blk <= end; blk++) {
		if (m->mixed)
			m->mixed[m->mixed_cnt] =
			        (struct mixed){ .blk = (uint32_t)blk, .first = inode };
		m->mixed_cnt++;
	}
	*last = end;
}

static void cover_everything(struct erofs_meta *m)
{
	uint64_t shared_len, shared_off = erofs_xattrs_off(erofs_plan_xattrs(m->plan));
	int64_t last = -1;

	erofs_xattrs_shared(erofs_plan_xattrs(m->plan), &shared_len);
	m->mixed_cnt = 0;
	cover(m, EROFS_SUPER_OFF, sizeof(struct erofs_super_disk), 0, &last);
	for (uint32_t i = 0; i < m->inode_cnt; i++) {
		const struct erofs_place *place = place_at(m, m->inode[i]);

		if (shared_len > 0 && place->inode_off > shared_off) {
			cover(m, shared_off, shared_len, i, &last);
			shared_len = 0;
		}
		cover(m, place->inode_off,
		      erofs_place_tail_off(place) + place->tail_len - place->inode_off, i, &last);
		if (m->mixed && place->tail_len > 0 && S_ISREG(node_at(m, m->inode[i])->mode))
			m->mixed[m->mixed_cnt - 1].tail_cnt++;
	}
	if (shared_len > 0)
		cover(m, shared_off, shared_len, m->inode_cnt, &last);
}

int erofs_meta_new(const struct erofs_plan *plan, struct erofs_meta **out, struct diag *d)
{
	scoped(erofs_meta) struct erofs_meta *m = calloc(1, sizeof(*m));
	int r = m ? 0 : -ENOMEM;

	if (r == 0) {
		m->plan = plan;
		r = index_nodes(m);
	}
	if (r == 0) {
		cover_everything(m);
		m->mixed = malloc(m->mixed_cnt * sizeof(*m->mixed));
		r = m->mixed ? 0 : -ENOMEM;
	}
	if (r < 0)
		return diag_set(d, r, "out of memory indexing the metadata of %" PRIu32 " files",
		                erofs_plan_tree(plan)->node_cnt);
	cover_everything(m);
	*out = take_ptr(m);
	return 0;
}

void erofs_meta_free(struct erofs_meta *m)
{
	if (!m)
		return;
	free(m->inode);
	free(m->run);
	free(m->mixed);
	free(m);
}

uint32_t erofs_meta_mixed_cnt(const struct erofs_meta *m)
{
	return m->mixed_cnt;
}

uint64_t erofs_meta_mixed_off(const struct erofs_meta *m, uint32_t i)
{
	return (uint64_t)m->mixed[i].blk * BLOCK_LEN;
}

uint32_t erofs_meta_tail_cnt(const struct erofs_meta *m, uint32_t i)
{
	return m->mixed[i].tail_cnt;
}

bool erofs_meta_find_mixed(const struct erofs_meta *m, uint64_t off, uint32_t *i)
{
	uint64_t blk = off / BLOCK_LEN;
	uint32_t low = 0, high = m->mixed_cnt;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->mixed[mid].blk < blk)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == m->mixed_cnt || m->mixed[low].blk != blk)
		return false;
	*i = low;
	return true;
}

bool erofs_meta_is_pure(const struct erofs_meta *m, uint64_t off)
{
	uint32_t low = 0, high = m->run_cnt;

	/* the last run that begins at or before off */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (place_at(m, m->run[mid])->data_off <= off)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return false;
	const struct erofs_place *place = place_at(m, m->run[low - 1]);
	return off - place->data_off < round_up(place->data_len, BLOCK_LEN);
}

/* ---- bytes ---- */

/* The block being drawn. */
struct window {
	uint64_t off;
	uint8_t *bytes;
};

/* What of [off, off + len) falls into the window. */
static void put(const struct window *w, uint64_t off, const void *src, uint64_t len)
{
	uint64_t from = MAX(off, w->off), to = MIN(off + len, w->off + BLOCK_LEN);

	if (from < to)
		memcpy(w->bytes + (from - w->off), (const uint8_t *)src + (from - off), to - from);
}

static void put_super(const struct erofs_meta *m, uint8_t block[BLOCK_LEN])
{
	const struct erofs_plan_super *s = erofs_plan_super(m->plan);
	struct erofs_super_disk disk = {
		.magic = le32_of(EROFS_SUPER_MAGIC),
		.feature_compat = le32_of(s->feature_compat),
		.blkszbits = 12,
		.root_nid = le16_of(s->root_nid),
		.inos = le64_of(s->inode_cnt),
		.epoch = le64_of(s->epoch),
		.blocks = le32_of(s->block_cnt),
		.meta_blkaddr = le32_of(s->meta_blk),
		.xattr_blkaddr = le32_of(s->xattr_blk),
		.feature_incompat = le32_of(s->feature_incompat),
	};

	memcpy(disk.uuid, s->uuid.b, sizeof(disk.uuid));
	memcpy(block + EROFS_SUPER_OFF, &disk, sizeof(disk));
	disk.checksum = le32_of(
	        erofs_crc32c(UINT32_MAX, block + EROFS_SUPER_OFF, BLOCK_LEN - EROFS_SUPER_OFF));
	memcpy(block + EROFS_SUPER_OFF, &disk, sizeof(disk));
}

/* The field that is a block number, a device number or nothing. */
static uint32_t encode_u(const struct tree_node *n, const struct erofs_place *place)
{
	if (S_ISCHR(n->mode) || S_ISBLK(n->mode))
		return (n->rdev_minor & 0xFF) | n->rdev_major << 8 | (n->rdev_minor & ~0xFFU) << 12;
	if (place->data_len > 0)
		return (uint32_t)(place->data_off / BLOCK_LEN);
	return place->tail_len > 0 ? EROFS_NULL_ADDR : 0;
}

static void put_inode(const struct erofs_meta *m, const struct tree_node *n,
                      const struct erofs_place *place, const struct window *w)
{
	struct erofs_plan_stamp stamp;
	uint64_t size = place->data_len + place->tail_len;
	uint32_t units = 0;
	int format = (place->tail_len > 0 ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN)
	             << EROFS_FORMAT_LAYOUT_SHIFT;

	erofs_plan_get_stamp(m->plan, n, &stamp);
	if (place->xattr_len > 0)
		units = (place->xattr_len - (uint32_t)sizeof(struct erofs_xattr_header_disk)) / 4 +
		        1;
	if (place->inode_len == sizeof(struct erofs_compact_disk)) {
		const struct erofs_compact_disk disk = {
			.format = le16_of((uint16_t)format),
			.xattr_units = le16_of((uint16_t)units),
			.mode = le16_of(n->mode),
			.nlink = le16_of((uint16_t)place->nlink),
			.size = le32_of((uint32_t)size),
			.u = le32_of(encode_u(n, place)),
			.serial = le32_of(place->serial),
			.uid = le16_of((uint16_t)stamp.uid),
			.gid = le16_of((uint16_t)stamp.gid),
		};
		put(w, place->inode_off, &disk, sizeof(disk));
	} else {
		const struct erofs_extended_disk disk = {
			.format = le16_of((uint16_t)(format | EROFS_FORMAT_EXTENDED)),
			.xattr_units = le16_of((uint16_t)units),
			.mode = le16_of(n->mode),
			.size = le64_of(size),
			.u = le32_of(encode_u(n, place)),
			.serial = le32_of(place->serial),
			.uid = le32_of(stamp.uid),
			.gid = le32_of(stamp.gid),
			.mtime = le64_of(stamp.mtime_s),
			.mtime_nsec = le32_of(stamp.mtime_ns),
			.nlink = le32_of(place->nlink),
		};
		put(w, place->inode_off, &disk, sizeof(disk));
	}
}

static int put_xattrs(const struct erofs_meta *m, const struct tree_node *n,
                      const struct erofs_place *place, const struct window *w, struct diag *d)
{
	struct erofs_xattr_body body;

	if (place->xattr_len == 0)
		return 0;
	int r = erofs_xattrs_body(erofs_plan_xattrs(m->plan), n, &body, d);
	if (r < 0)
		return r;
	assert(body.len == place->xattr_len);
	put(w, place->inode_off + place->inode_len, body.bytes, body.len);
	free(body.bytes);
	return 0;
}

static uint64_t nid_of(const void *plan, const struct tree_node *n)
{
	return erofs_plan_nid(plan, n);
}

/* The tails that are metadata themselves: symlink targets, the last entries of directories. */
static void put_own_tail(const struct erofs_meta *m, const struct tree_node *n,
                         const struct erofs_place *place, const struct window *w)
{
	uint8_t block[BLOCK_LEN];
	struct erofs_dir_cursor c;

	if (erofs_place_tail_off(place) / BLOCK_LEN != w->off / BLOCK_LEN)
		return;
	if (S_ISLNK(n->mode))
		put(w, erofs_place_tail_off(place), n->target + place->data_len, place->tail_len);
	if (!S_ISDIR(n->mode))
		return;
	erofs_dir_start(&c, n);
	for (uint64_t i = 0; i < place->data_len / BLOCK_LEN; i++)
		erofs_dir_skip(&c);
	uint32_t len = erofs_dir_write(&c, nid_of, m->plan, block);
	assert(len == place->tail_len);
	put(w, erofs_place_tail_off(place), block, len);
}

int erofs_meta_draw(const struct erofs_meta *m, uint32_t i, uint8_t block[BLOCK_LEN],
                    struct diag *d)
{
	const struct window w = { erofs_meta_mixed_off(m, i), block };
	const struct erofs_xattrs *xattrs = erofs_plan_xattrs(m->plan);
	uint64_t shared_len;
	const uint8_t *shared = erofs_xattrs_shared(xattrs, &shared_len);

	put(&w, erofs_xattrs_off(xattrs), shared, shared_len);
	for (uint32_t k = m->mixed[i].first; k < m->inode_cnt; k++) {
		const struct tree_node *n = node_at(m, m->inode[k]);
		const struct erofs_place *place = erofs_plan_place(m->plan, n);

		if (place->inode_off >= w.off + BLOCK_LEN)
			break;
		put_inode(m, n, place, &w);
		int r = put_xattrs(m, n, place, &w, d);
		if (r < 0)
			return r;
		if (place->tail_len > 0)
			put_own_tail(m, n, place, &w);
	}
	if (w.off == 0)
		put_super(m, block);
	return 0;
}

uint64_t erofs_meta_pure_cnt(const struct erofs_meta *m)
{
	uint64_t cnt = 0;

	for (uint32_t i = 0; i < m->run_cnt; i++)
		cnt += div_up(place_at(m, m->run[i])->data_len, BLOCK_LEN);
	return cnt;
}

int erofs_meta_draw_pure(const struct erofs_meta *m, erofs_meta_sink sink, void *ctx,
                         struct diag *d)
{
	for (uint32_t i = 0; i < m->run_cnt; i++) {
		const struct tree_node *n = node_at(m, m->run[i]);
		const struct erofs_place *place = erofs_plan_place(m->plan, n);
		struct erofs_dir_cursor c;

		erofs_dir_start(&c, n);
		for (uint64_t off = 0; off < place->data_len; off += BLOCK_LEN) {
			uint8_t block[BLOCK_LEN] = { 0 };

			if (S_ISDIR(n->mode))
				erofs_dir_write(&c, nid_of, m->plan, block);
			else
				memcpy(block, n->target + off,
				       MIN(place->data_len - off, (uint64_t)BLOCK_LEN));
			int r = sink(ctx, place->data_off + off, block, d);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
