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
#include <pthread.h>

/* Leaves hashed per call: 1 MiB of 4 KiB blocks, and 16 KiB of stack for their digests. */
#define BATCH_BLK_CNT 256
/* Equal hash blocks go to the sink in runs of this many bytes. */
#define RUN_LEN ((size_t)(256 * KIB))

/* An open hash block. What changes is guarded by verity_build.lock until the node is complete. */
struct node {
	struct node *parent; /* NULL: the anchor */
	unsigned level;
	uint64_t blk;        /* its index in its level */
	uint32_t want, have; /* digests that belong here, that are here */
	struct node **child; /* the open node below each slot, or NULL; no array in level 0 */
	uint8_t *block;      /* hash_block_len bytes */
	uint8_t *filled;     /* 1 for each slot that has its digest */
};

struct verity_build {
	struct verity_params params;
	struct verity_geometry geo;
	unsigned fanout_bits;
	struct hash_salted *hasher;
	verity_sink sink;
	void *sink_ctx;
	/* digest of an all-zero data block, of a level-0 block full of those, and so on */
	uint8_t zero_digest[VERITY_MAX_LEVELS + 1][HASH_MAX_LEN];
	struct node *anchor; /* of level level_cnt: the root hash is its only digest */

	pthread_mutex_t lock;
	/* under lock: */
	uint64_t given_cnt;             /* data blocks */
	size_t open_cnt, peak_open_cnt; /* nodes, without the anchor */
	int err;                        /* of the first add that failed */
};

/* Digests for the slots from first on of one level. */
struct digests {
	unsigned level;
	uint64_t first, cnt;
	const uint8_t *bytes; /* as they lie in a hash block, digest_stride apart */
	bool all_equal;       /* then there is only one at bytes */
};

static uint64_t slot_blk(const struct verity_build *b, uint64_t slot)
{
	return slot >> b->fanout_bits;
}

static uint32_t slot_in_blk(const struct verity_build *b, uint64_t slot)
{
	return (uint32_t)slot & (b->geo.digests_per_block - 1);
}

/* ------------------------------------------------------------------------------------------------
 * nodes */

static struct node *node_new(const struct verity_build *b, struct node *parent, unsigned level,
                             uint64_t blk)
{
	size_t slot_cnt = b->geo.digests_per_block;
	size_t children_len = level == 0 ? 0 : slot_cnt * sizeof(struct node *);
	struct node *n = calloc(1, sizeof(*n) + children_len + b->params.hash_block_len + slot_cnt);

	if (!n)
		return NULL;
	n->parent = parent;
	n->level = level;
	n->blk = blk;
	n->want = verity_digests_in_block(&b->params, &b->geo, level, blk);
	n->child = children_len ? (struct node **)(n + 1) : NULL;
	n->block = (uint8_t *)(n + 1) + children_len;
	n->filled = n->block + b->params.hash_block_len;
	return n;
}

/* Under lock. The open node of block blk in n's slot; made when the slot was not begun. */
static int open_child(struct verity_build *b, struct node *n, uint64_t blk, struct node **out)
{
	uint32_t slot = slot_in_blk(b, blk);

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
static void close_node(struct verity_build *b, struct node *n)
{
	n->parent->child[slot_in_blk(b, n->blk)] = NULL;
	b->open_cnt--;
	free(n);
}

/* Under lock. The open node of block blk in level; what is missing above it is made. */
static int find_node(struct verity_build *b, unsigned level, uint64_t blk, struct node **out)
{
	struct node *n = b->anchor;

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
static bool slots_are_free(const struct node *n, uint32_t slot, uint32_t cnt)
{
	if (memchr(n->filled + slot, 1, cnt))
		return false;
	for (uint32_t i = slot; n->child && i < slot + cnt; i++)
		if (n->child[i])
			return false;
	return true;
}

/* Under lock. True when the node is now complete, and then the caller's to propagate. */
static bool fill_slots(const struct verity_build *b, struct node *n, uint32_t slot, uint32_t cnt,
                       const struct digests *from)
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

static int give_sink(const struct verity_build *b, unsigned level, uint64_t blk, const void *buf,
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
static int propagate(struct verity_build *b, struct node *n, struct diag *d)
{
	while (n && n != b->anchor) {
		struct node *parent = n->parent;
		uint32_t slot = slot_in_blk(b, n->blk);
		uint8_t digest[HASH_MAX_LEN] = { 0 };
		struct digests one = { .bytes = digest };
		int r = give_sink(b, n->level, n->blk, n->block, b->params.hash_block_len, d);

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

static int explain_put(const struct verity_build *b, const struct digests *run, int err,
                       struct diag *d)
{
	unsigned shift = run->level * b->fanout_bits;

	if (err == -ENOMEM)
		return diag_set_errno(d, err, "cannot hold a block of the verity tree");
	return diag_set(d, -EINVAL, "data blocks %" PRIu64 " and following are added twice",
	                run->first << shift);
}

/* Puts digests in their nodes and propagates what becomes complete. */
static int put_digests(struct verity_build *b, struct digests run, struct diag *d)
{
	while (run.cnt) {
		uint32_t slot = slot_in_blk(b, run.first);
		uint32_t cnt = (uint32_t)MIN(run.cnt, b->geo.digests_per_block - slot);
		struct node *n = NULL;
		bool complete = false;
		int r;

		pthread_mutex_lock(&b->lock);
		r = find_node(b, run.level, slot_blk(b, run.first), &n);
		if (!r && !slots_are_free(n, slot, cnt))
			r = -EEXIST;
		if (!r)
			complete = fill_slots(b, n, slot, cnt, &run);
		pthread_mutex_unlock(&b->lock);
		if (r)
			return explain_put(b, &run, r, d);
		if (complete)
			r = propagate(b, n, d);
		if (r)
			return r;
		run.first += cnt;
		run.cnt -= cnt;
		run.bytes += run.all_equal ? 0 : cnt * b->geo.digest_stride;
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
static struct node *any_child(const struct verity_build *b, const struct node *n)
{
	for (uint32_t i = 0; n->child && i < b->geo.digests_per_block; i++)
		if (n->child[i])
			return n->child[i];
	return NULL;
}

void verity_build_free(struct verity_build *b)
{
	struct node *n = b ? b->anchor : NULL;

	if (!b)
		return;
	while (n) {
		struct node *below = any_child(b, n), *parent = n->parent;

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

static int check_range(const struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                       struct diag *d)
{
	if (!range_is_inside(first_blk, cnt, b->params.data_blk_cnt))
		return diag_set(d, -EINVAL,
		                "%" PRIu64 " data blocks from %" PRIu64
		                " on are added to a tree of %" PRIu64,
		                cnt, first_blk, b->params.data_blk_cnt);
	return 0;
}

/* Counts what was given, or remembers why it was not: the tree cannot be finished then. */
static int note_add(struct verity_build *b, uint64_t cnt, int err)
{
	pthread_mutex_lock(&b->lock);
	if (!err)
		b->given_cnt += cnt;
	else if (!b->err)
		b->err = err;
	pthread_mutex_unlock(&b->lock);
	return err;
}

static int add_blocks(struct verity_build *b, uint64_t first_blk, uint64_t cnt, const uint8_t *data,
                      struct diag *d)
{
	uint8_t bytes[BATCH_BLK_CNT * HASH_MAX_LEN] = { 0 }; /* gaps between digests stay zero */
	struct digests batch = { .first = first_blk, .bytes = bytes };
	int r = check_range(b, first_blk, cnt, d);

	for (; !r && cnt; cnt -= batch.cnt, batch.first += batch.cnt) {
		batch.cnt = MIN(cnt, BATCH_BLK_CNT);
		r = hash_salted_blocks(b->hasher, data, b->params.data_block_len, batch.cnt, bytes,
		                       b->geo.digest_stride);
		if (r)
			return diag_set_errno(d, r, "cannot hash data block %" PRIu64, batch.first);
		r = put_digests(b, batch, d);
		data += batch.cnt * b->params.data_block_len;
	}
	return r;
}

int verity_build_add(struct verity_build *b, uint64_t first_blk, uint64_t cnt, const void *data,
                     struct diag *d)
{
	return note_add(b, cnt, add_blocks(b, first_blk, cnt, data, d));
}

/* Hands cnt equal blocks of level to the sink: full of the digest of what is all zero below. */
static int give_equal_blocks(const struct verity_build *b, unsigned level, uint64_t first,
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
		r = give_sink(b, level, first, run, (size_t)n * block_len, d);
	}
	return r;
}

/* Puts the zero digest of level into its slots [from, to). */
static int put_zero(struct verity_build *b, unsigned level, uint64_t from, uint64_t to,
                    struct diag *d)
{
	struct digests run = {
		.level = level,
		.first = from,
		.cnt = to - from,
		.bytes = b->zero_digest[level],
		.all_equal = true,
	};

	return put_digests(b, run, d);
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
	return r ? r : give_equal_blocks(b, level, *from, *to - *from, d);
}

static int add_zero_blocks(struct verity_build *b, uint64_t first_blk, uint64_t cnt, struct diag *d)
{
	int r = check_range(b, first_blk, cnt, d);
	uint64_t from = first_blk, to = first_blk + cnt;

	for (unsigned level = 0; !r && from < to; level++)
		r = put_zero_level(b, level, &from, &to, d);
	return r;
}

int verity_build_add_zero(struct verity_build *b, uint64_t first_blk, uint64_t cnt, struct diag *d)
{
	return note_add(b, cnt, add_zero_blocks(b, first_blk, cnt, d));
}

/* ------------------------------------------------------------------------------------------------
 * runs */

/*
 * The groups (hash blocks of level 0) that a run covers completely are hashed and forgotten as it
 * goes on; the digests in those it shares with others are kept until it is committed.
 *
 *      first                                             end
 *   ...|──head──|═══ group ═══|═══ group ═══|═══ group ═══|──open──|...
 *               └──────── one digest each, in groups ─────┘
 */
struct verity_run {
	struct verity_build *b;
	uint64_t first, next, end; /* data blocks */
	uint8_t *head;             /* digests of the first group, if shared; NULL: none */
	uint8_t *open;             /* digests of the group that next is in */
	uint8_t *groups;           /* digests of complete groups, digest_stride apart */
	uint64_t group_cnt, group_cap;
};

static uint64_t group_begin(const struct verity_run *run, uint64_t blk)
{
	return round_down(blk, run->b->geo.digests_per_block);
}

/* One behind the last data block of blk's group, which may be the tree's last and short. */
static uint64_t group_end(const struct verity_run *run, uint64_t blk)
{
	return MIN(group_begin(run, blk) + run->b->geo.digests_per_block,
	           run->b->params.data_blk_cnt);
}

/* Is blk's group the run's alone? Never when the tree has no level: its one digest is the root. */
static bool owns_group(const struct verity_run *run, uint64_t blk)
{
	return run->b->geo.level_cnt > 0 && run->first <= group_begin(run, blk) &&
	       group_end(run, blk) <= run->end;
}

int verity_run_new(struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                   struct verity_run **out, struct diag *d)
{
	scoped(verity_run) struct verity_run *run = NULL;
	int r = check_range(b, first_blk, cnt, d);

	if (r)
		return r;
	run = calloc(1, sizeof(*run));
	if (run)
		run->open = calloc(1, b->params.hash_block_len);
	if (!run || !run->open)
		return diag_set_errno(d, -ENOMEM, "cannot begin a run of data blocks");
	run->b = b;
	run->first = run->next = first_blk;
	run->end = first_blk + cnt;
	*out = take_ptr(run);
	return 0;
}

void verity_run_free(struct verity_run *run)
{
	if (!run)
		return;
	free(run->head);
	free(run->open);
	free(run->groups);
	free(run);
}

static int reserve_groups(struct verity_run *run, uint64_t cnt)
{
	uint64_t need = run->group_cnt + cnt, cap = MAX(need, 2 * run->group_cap);
	uint8_t *grown;

	if (need <= run->group_cap)
		return 0;
	grown = realloc(run->groups, (size_t)cap * run->b->geo.digest_stride);
	if (!grown)
		return -ENOMEM;
	run->groups = grown;
	run->group_cap = cap;
	return 0;
}

/* The group that ends before next is full: its block goes to the sink, its digest is kept. */
static int end_own_group(struct verity_run *run, struct diag *d)
{
	struct verity_build *b = run->b;
	uint64_t group = slot_blk(b, run->next - 1);
	uint8_t *digest;
	int r = reserve_groups(run, 1);

	if (r)
		return diag_set_errno(d, r, "cannot hold the digests of a run");
	r = give_sink(b, 0, group, run->open, b->params.hash_block_len, d);
	if (r)
		return r;
	digest = run->groups + run->group_cnt * b->geo.digest_stride;
	memset(digest, 0, b->geo.digest_stride);
	r = hash_salted_blocks(b->hasher, run->open, b->params.hash_block_len, 1, digest,
	                       b->geo.digest_stride);
	if (r)
		return diag_set_errno(d, r, "cannot hash block %" PRIu64 " of level 0", group);
	run->group_cnt++;
	memset(run->open, 0, b->params.hash_block_len);
	return 0;
}

/* After next moved to the end of a group. */
static int end_group(struct verity_run *run, struct diag *d)
{
	if (owns_group(run, run->next - 1))
		return end_own_group(run, d);
	if (run->next == run->end) /* shared with what follows: open stays until the commit */
		return 0;
	run->head = run->open;
	run->open = calloc(1, run->b->params.hash_block_len);
	return run->open ? 0 : diag_set_errno(d, -ENOMEM, "cannot hold the digests of a run");
}

/* cnt digests for the blocks from next on; one for all of them when all_equal. */
static int run_put(struct verity_run *run, const uint8_t *digests, uint64_t cnt, bool all_equal,
                   struct diag *d)
{
	size_t stride = run->b->geo.digest_stride;

	while (cnt) {
		uint64_t n = MIN(cnt, group_end(run, run->next) - run->next);
		uint8_t *at = run->open + slot_in_blk(run->b, run->next) * stride;
		int r = 0;

		for (uint64_t i = 0; all_equal && i < n; i++)
			memcpy(at + i * stride, digests, stride);
		if (!all_equal) {
			memcpy(at, digests, n * stride);
			digests += n * stride;
		}
		run->next += n;
		cnt -= n;
		if (run->next == group_end(run, run->next - 1))
			r = end_group(run, d);
		if (r)
			return r;
	}
	return 0;
}

static int check_run(const struct verity_run *run, uint64_t cnt, struct diag *d)
{
	if (cnt > run->end - run->next)
		return diag_set(d, -EINVAL,
		                "%" PRIu64
		                " data blocks too many for the run that ends before %" PRIu64,
		                cnt - (run->end - run->next), run->end);
	return 0;
}

int verity_run_add(struct verity_run *run, uint64_t cnt, const void *data, struct diag *d)
{
	uint8_t digests[BATCH_BLK_CNT * HASH_MAX_LEN] = { 0 }; /* gaps between digests stay zero */
	const struct verity_build *b = run->b;
	const uint8_t *p = data;
	int r = check_run(run, cnt, d);

	for (uint64_t n; !r && cnt; cnt -= n) {
		n = MIN(cnt, BATCH_BLK_CNT);
		r = hash_salted_blocks(b->hasher, p, b->params.data_block_len, (size_t)n, digests,
		                       b->geo.digest_stride);
		if (r)
			return diag_set_errno(d, r, "cannot hash data block %" PRIu64, run->next);
		r = run_put(run, digests, n, false, d);
		p += n * b->params.data_block_len;
	}
	return r;
}

/* cnt groups that are all zero and the run's own, from next on (which begins one). */
static int add_zero_groups(struct verity_run *run, uint64_t cnt, struct diag *d)
{
	struct verity_build *b = run->b;
	size_t stride = b->geo.digest_stride;
	int r = reserve_groups(run, cnt);

	if (r)
		return diag_set_errno(d, r, "cannot hold the digests of a run");
	r = give_equal_blocks(b, 0, slot_blk(b, run->next), cnt, d);
	if (r)
		return r;
	for (uint64_t i = 0; i < cnt; i++)
		memcpy(run->groups + (run->group_cnt + i) * stride, b->zero_digest[1], stride);
	run->group_cnt += cnt;
	run->next += cnt * b->geo.digests_per_block;
	return 0;
}

int verity_run_add_zero(struct verity_run *run, uint64_t cnt, struct diag *d)
{
	uint64_t fanout = run->b->geo.digests_per_block;
	int r = check_run(run, cnt, d);

	while (!r && cnt) {
		uint64_t n = MIN(cnt, group_end(run, run->next) - run->next);

		if (n == fanout && run->b->geo.level_cnt > 0) {
			n = round_down(cnt, fanout);
			r = add_zero_groups(run, n / fanout, d);
		} else {
			r = run_put(run, run->b->zero_digest[0], n, true, d);
		}
		cnt -= n;
	}
	return r;
}

static int commit(struct verity_run *run, struct diag *d)
{
	struct verity_build *b = run->b;
	uint64_t head_end = MIN(group_end(run, run->first), run->end);
	struct digests head = { .first = run->first, .cnt = head_end - run->first };
	struct digests groups = { .level = 1, .cnt = run->group_cnt, .bytes = run->groups };
	struct digests rest = { .first = MAX(group_begin(run, run->end - 1), run->first) };
	int r = 0;

	if (run->head) {
		head.bytes = run->head + slot_in_blk(b, head.first) * b->geo.digest_stride;
		r = put_digests(b, head, d);
	}
	groups.first = slot_blk(b, round_up(run->first, b->geo.digests_per_block));
	if (!r)
		r = put_digests(b, groups, d);
	if (r || owns_group(run, run->end - 1))
		return r;
	rest.cnt = run->end - rest.first;
	rest.bytes = run->open + slot_in_blk(b, rest.first) * b->geo.digest_stride;
	return put_digests(b, rest, d);
}

int verity_run_commit(struct verity_run *run, struct diag *d)
{
	if (run->next != run->end)
		return diag_set(d, -EINVAL,
		                "a run lacks %" PRIu64 " of its %" PRIu64 " data blocks",
		                run->end - run->next, run->end - run->first);
	if (run->first == run->end)
		return 0;
	return note_add(run->b, run->end - run->first, commit(run, d));
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
