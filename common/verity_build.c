/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds a hash tree from data blocks in any order. Decides what is kept in memory: the hash blocks
 * that have some of their digests but not all ("open" nodes), hung below each other as in the
 * finished tree, so that the path from the root says of every block whether it was given before.
 * A node whose last digest arrives goes to the sink, its digest goes to its parent, and it is gone.
 *
 *                 anchor          one slot: the root hash
 *                   |
 *                 top block       [ done | open | - | done ]
 *                           _______________/
 *                          |
 *                     open node   [ done | done | - | - ]      "-": not begun
 *
 * The lock is held to find a node and to copy digests into it. Hashing and the sink run outside of
 * it: a complete node belongs to the thread that completed it.
 */
#include "verity_int.h"

#include <errno.h>
#include <inttypes.h>

/* Equal hash blocks go to the sink in runs of this many bytes. */
#define RUN_LEN ((size_t)(256 * KIB))

/* An open hash block. What changes is guarded by verity_build.lock until the node is complete. */
struct verity_node {
	struct verity_node *parent; /* NULL: the anchor */
	unsigned level;
	uint64_t blk;        /* its index in its level */
	uint32_t want, have; /* digests that belong here, that are here */
	struct verity_node *
	        *child;  /* the open node below each slot, or NULL; no array in level 0 */
	uint8_t *block;  /* hash_block_len bytes */
	uint8_t *filled; /* 1 for each slot that has its digest */
};

/* ------------------------------------------------------------------------------------------------
 * nodes */

static struct verity_node *node_new(const struct verity_build *b, struct verity_node *parent,
                                    unsigned level, uint64_t blk)
{
	size_t slot_cnt = b->geo.digests_per_block;
	size_t children_len = level == 0 ? 0 : slot_cnt * sizeof(struct verity_node *);
	struct verity_node *n =
	        calloc(1, sizeof(*n) + children_len + b->params.hash_block_len + slot_cnt);

	if (!n)
		return NULL;
	n->parent = parent;
	n->level = level;
	n->blk = blk;
	n->want = verity_digests_in_block(&b->params, &b->geo, level, blk);
	n->child = children_len ? (struct verity_node **)(n + 1) : NULL;
	n->block = (uint8_t *)(n + 1) + children_len;
	n->filled = n->block + b->params.hash_block_len;
	return n;
}

/* Under lock. The open node of block blk in n's slot; made when the slot was not begun. */
static int open_child(struct verity_build *b, struct verity_node *n, uint64_t blk,
                      struct verity_node **out)
{
	uint32_t slot = verity_slot_in_blk(b, blk);

	if (n->filled[slot])
		return -EEXIST;
	if (!n->child[slot]) {
		n->child[slot] = node_new(b, n, n->level - 1, blk);
		if (!n->child[slot])
			return -ENOMEM;
		b->open_cnt++;
		b->peak_open_cnt = MAX(b->peak_open_cnt, b->open_cnt);
	}
	*out = n->child[slot];
	return 0;
}

/* Under lock. Frees an open node that has no open children. */
static void close_node(struct verity_build *b, struct verity_node *n)
{
	n->parent->child[verity_slot_in_blk(b, n->blk)] = NULL;
	b->open_cnt--;
	free(n);
}

/* Under lock. The open node of block blk in level; what is missing above it is made. */
static int find_node(struct verity_build *b, unsigned level, uint64_t blk, struct verity_node **out)
{
	struct verity_node *n = b->anchor;

	while (n->level > level) {
		unsigned down = n->level - 1 - level;
		int r = open_child(b, n, blk >> down * b->fanout_bits, &n);

		if (r)
			return r;
	}
	*out = n;
	return 0;
}

/* Under lock. Has none of the slots a digest or an open node below it? */
static bool slots_are_free(const struct verity_node *n, uint32_t slot, uint32_t cnt)
{
	if (memchr(n->filled + slot, 1, cnt))
		return false;
	for (uint32_t i = slot; n->child && i < slot + cnt; i++)
		if (n->child[i])
			return false;
	return true;
}

/* Under lock. True when the node is now complete, and then the caller's to propagate. */
static bool fill_slots(const struct verity_build *b, struct verity_node *n, uint32_t slot,
                       uint32_t cnt, const struct verity_digests *from)
{
	size_t stride = b->geo.digest_stride;
	uint8_t *at = n->block + slot * stride;

	if (!from->all_equal)
		memcpy(at, from->bytes, cnt * stride);
	else
		for (uint32_t i = 0; i < cnt; i++)
			memcpy(at + i * stride, from->bytes, stride);
	memset(n->filled + slot, 1, cnt);
	n->have += cnt;
	return n->have == n->want;
}

int verity_build_give(const struct verity_build *b, unsigned level, uint64_t blk, const void *buf,
                      size_t len, struct diag *d)
{
	uint64_t at = b->geo.level_blk[level] + blk;

	return b->sink ? b->sink(b->sink_ctx, at * b->params.hash_block_len, buf, len, d) : 0;
}

/*
 * Gives a complete node away, its digest to the parent, and goes on with the parent if that made
 * it complete. The node stays in its place until its digest takes over, so that a second digest for
 * one of its slots is always noticed.
 */
static int propagate(struct verity_build *b, struct verity_node *n, struct diag *d)
{
	while (n && n != b->anchor) {
		struct verity_node *parent = n->parent;
		uint32_t slot = verity_slot_in_blk(b, n->blk);
		uint8_t digest[HASH_MAX_LEN] = { 0 };
		struct verity_digests one = { .bytes = digest };
		int r = verity_build_give(b, n->level, n->blk, n->block, b->params.hash_block_len,
		                          d);

		if (r)
			return r;
		r = hash_salted_blocks(b->hasher, n->block, b->params.hash_block_len, 1, digest,
		                       sizeof(digest));
		if (r)
			return diag_set_errno(d, r, "cannot hash block %" PRIu64 " of level %u",
			                      n->blk, n->level);
		pthread_mutex_lock(&b->lock);
		close_node(b, n);
		n = fill_slots(b, parent, slot, 1, &one) ? parent : NULL;
		pthread_mutex_unlock(&b->lock);
	}
	return 0;
}

static int explain_put(const struct verity_build *b, const struct verity_digests *put, int err,
                       struct diag *d)
{
	unsigned shift = put->level * b->fanout_bits;

	if (err == -ENOMEM)
		return diag_set_errno(d, err, "cannot hold a block of the verity tree");
	return diag_set(d, -EINVAL, "data blocks %" PRIu64 " and following are added twice",
	                put->first << shift);
}

int verity_build_put(struct verity_build *b, struct verity_digests put, struct diag *d)
{
	while (put.cnt) {
		uint32_t slot = verity_slot_in_blk(b, put.first);
		uint32_t cnt = (uint32_t)MIN(put.cnt, b->geo.digests_per_block - slot);
		struct verity_node *n = NULL;
		bool complete = false;
		int r;

		pthread_mutex_lock(&b->lock);
		r = find_node(b, put.level, verity_slot_blk(b, put.first), &n);
		if (!r && !slots_are_free(n, slot, cnt))
			r = -EEXIST;
		if (!r)
			complete = fill_slots(b, n, slot, cnt, &put);
		pthread_mutex_unlock(&b->lock);
		if (r)
			return explain_put(b, &put, r, d);
		if (complete)
			r = propagate(b, n, d);
		if (r)
			return r;
		put.first += cnt;
		put.cnt -= cnt;
		put.bytes += put.all_equal ? 0 : cnt * b->geo.digest_stride;
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * making and unmaking */

static void fill_equal(const struct verity_build *b, uint8_t *block, const uint8_t *digest)
{
	for (size_t i = 0; i < b->geo.digests_per_block; i++)
		memcpy(block + i * b->geo.digest_stride, digest, b->geo.digest_stride);
}

static int init_zero_digests(struct verity_build *b)
{
	const struct verity_params *p = &b->params;
	scoped_free uint8_t *block = calloc(1, MAX(p->data_block_len, p->hash_block_len));
	int r;

	if (!block)
		return -ENOMEM;
	r = hash_salted_blocks(b->hasher, block, p->data_block_len, 1, b->zero_digest[0],
	                       HASH_MAX_LEN);
	for (unsigned level = 0; !r && level < b->geo.level_cnt; level++) {
		fill_equal(b, block, b->zero_digest[level]);
		r = hash_salted_blocks(b->hasher, block, p->hash_block_len, 1,
		                       b->zero_digest[level + 1], HASH_MAX_LEN);
	}
	return r;
}

int verity_build_new(const struct verity_params *p, verity_sink sink, void *ctx,
                     struct verity_build **out, struct diag *d)
{
	scoped(verity_build) struct verity_build *b = NULL;
	struct verity_geometry geo;
	int r = verity_geometry_init(&geo, p, d);

	if (r)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return diag_set_errno(d, -ENOMEM, "cannot begin a verity tree");
	pthread_mutex_init(&b->lock, NULL);
	b->params = *p;
	b->geo = geo;
	b->fanout_bits = verity_fanout_bits(&geo);
	b->sink = sink;
	b->sink_ctx = ctx;
	r = verity_hasher_new(p, &b->hasher, d);
	if (r)
		return r;
	b->anchor = node_new(b, NULL, geo.level_cnt, 0);
	r = b->anchor ? init_zero_digests(b) : -ENOMEM;
	if (r)
		return diag_set_errno(d, r, "cannot begin a verity tree");
	*out = take_ptr(b);
	return 0;
}

/* An open node below n, or NULL. */
static struct verity_node *any_child(const struct verity_build *b, const struct verity_node *n)
{
	for (uint32_t i = 0; n->child && i < b->geo.digests_per_block; i++)
		if (n->child[i])
			return n->child[i];
	return NULL;
}

void verity_build_free(struct verity_build *b)
{
	struct verity_node *n = b ? b->anchor : NULL;

	if (!b)
		return;
	while (n) {
		struct verity_node *below = any_child(b, n), *parent = n->parent;

		if (!below && parent)
			close_node(b, n);
		n = below ? below : parent;
	}
	free(b->anchor);
	hash_salted_free(b->hasher);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* ------------------------------------------------------------------------------------------------
 * adding */

int verity_build_check(const struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                       struct diag *d)
{
	if (!range_is_inside(first_blk, cnt, b->params.data_blk_cnt))
		return diag_set(d, -EINVAL,
		                "%" PRIu64 " data blocks from %" PRIu64
		                " on are added to a tree of %" PRIu64,
		                cnt, first_blk, b->params.data_blk_cnt);
	return 0;
}

int verity_build_note(struct verity_build *b, uint64_t cnt, int err)
{
	pthread_mutex_lock(&b->lock);
	if (!err)
		b->given_cnt += cnt;
	else if (!b->err)
		b->err = err;
	pthread_mutex_unlock(&b->lock);
	return err;
}

int verity_build_hash(const struct verity_build *b, uint64_t first_blk, size_t cnt,
                      const uint8_t *data, uint8_t *digests, struct diag *d)
{
	int r = hash_salted_blocks(b->hasher, data, b->params.data_block_len, cnt, digests,
	                           b->geo.digest_stride);

	return r ? diag_set_errno(d, r, "cannot hash data block %" PRIu64, first_blk) : 0;
}

static int add_blocks(struct verity_build *b, uint64_t first_blk, uint64_t cnt, const uint8_t *data,
                      struct diag *d)
{
	uint8_t bytes[VERITY_BATCH_BLK_CNT * HASH_MAX_LEN] = { 0 };
	struct verity_digests batch = { .first = first_blk, .bytes = bytes };
	int r = verity_build_check(b, first_blk, cnt, d);

	for (; !r && cnt; cnt -= batch.cnt, batch.first += batch.cnt) {
		batch.cnt = MIN(cnt, VERITY_BATCH_BLK_CNT);
		r = verity_build_hash(b, batch.first, (size_t)batch.cnt, data, bytes, d);
		if (!r)
			r = verity_build_put(b, batch, d);
		data += batch.cnt * b->params.data_block_len;
	}
	return r;
}

int verity_build_add(struct verity_build *b, uint64_t first_blk, uint64_t cnt, const void *data,
                     struct diag *d)
{
	return verity_build_note(b, cnt, add_blocks(b, first_blk, cnt, data, d));
}

int verity_build_give_zero(const struct verity_build *b, unsigned level, uint64_t first,
                           uint64_t cnt, struct diag *d)
{
	size_t block_len = b->params.hash_block_len;
	uint64_t run_cnt = MIN(cnt, MAX(RUN_LEN / block_len, 1));
	scoped_free uint8_t *run = NULL;
	int r = 0;

	if (!b->sink || cnt == 0)
		return 0;
	run = calloc((size_t)run_cnt, block_len);
	if (!run)
		return diag_set_errno(d, -ENOMEM, "cannot hold a run of the verity tree");
	for (uint64_t i = 0; i < run_cnt; i++)
		fill_equal(b, run + i * block_len, b->zero_digest[level]);
	for (uint64_t n; !r && cnt; cnt -= n, first += n) {
		n = MIN(cnt, run_cnt);
		r = verity_build_give(b, level, first, run, (size_t)n * block_len, d);
	}
	return r;
}

/* Puts the zero digest of level into its slots [from, to). */
static int put_zero(struct verity_build *b, unsigned level, uint64_t from, uint64_t to,
                    struct diag *d)
{
	struct verity_digests put = {
		.level = level,
		.first = from,
		.cnt = to - from,
		.bytes = b->zero_digest[level],
		.all_equal = true,
	};

	return verity_build_put(b, put, d);
}

/*
 * The slots [from, to) of level all get its zero digest. Blocks that are full of it are handed out
 * without ever being open; what is left at either end goes to open nodes. *from and *to become the
 * range of the full blocks, which are the slots to fill in the level above.
 */
static int put_zero_level(struct verity_build *b, unsigned level, uint64_t *from, uint64_t *to,
                          struct diag *d)
{
	uint64_t fanout = b->geo.digests_per_block, begin = *from, end = *to;
	int r;

	*from = div_up(begin, fanout);
	*to = end / fanout;
	if (level == b->geo.level_cnt || *from >= *to) {
		*from = *to;
		return put_zero(b, level, begin, end, d);
	}
	r = put_zero(b, level, begin, *from * fanout, d);
	if (!r)
		r = put_zero(b, level, *to * fanout, end, d);
	return r ? r : verity_build_give_zero(b, level, *from, *to - *from, d);
}

static int add_zero_blocks(struct verity_build *b, uint64_t first_blk, uint64_t cnt, struct diag *d)
{
	int r = verity_build_check(b, first_blk, cnt, d);
	uint64_t from = first_blk, to = first_blk + cnt;

	for (unsigned level = 0; !r && from < to; level++)
		r = put_zero_level(b, level, &from, &to, d);
	return r;
}

int verity_build_add_zero(struct verity_build *b, uint64_t first_blk, uint64_t cnt, struct diag *d)
{
	return verity_build_note(b, cnt, add_zero_blocks(b, first_blk, cnt, d));
}

int verity_build_finish(struct verity_build *b, uint8_t *root, struct diag *d)
{
	if (b->err)
		return diag_set(d, b->err, "the verity tree is incomplete after a failed add");
	if (b->anchor->have != b->anchor->want)
		return diag_set(d, -EINVAL,
		                "the verity tree lacks %" PRIu64 " of %" PRIu64 " data blocks",
		                b->params.data_blk_cnt - b->given_cnt, b->params.data_blk_cnt);
	memcpy(root, b->anchor->block, hash_len(b->params.alg));
	return 0;
}

void verity_build_usage(const struct verity_build *b, size_t *now, size_t *peak)
{
	*now = b->open_cnt;
	*peak = b->peak_open_cnt;
}
