/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns bytes as found into bytes proven. Decides in which order blocks are read and hashed, and
 * that nothing leaves a buffer that was not hashed in that buffer. Which proven hash blocks are
 * remembered is verity_cache.c's business.
 *
 * A read climbs from the level-0 block it needs to the nearest proven block at hand (the top block
 * always is) and comes down again, proving each block by the one above:
 *
 *     root hash ─► top ─► level 1 ─► level 0 ─► VERITY_BATCH_BLK_CNT data blocks at once
 *                  kept     ? ──────── ?  in the walk or in the cache, else read and proven
 */
#include "verity_int.h"

#include <errno.h>
#include <time.h>
#include <inttypes.h>
#include <stdio.h>

struct counters {
	atomic_uint_fast64_t data_bytes, data_blks, hash_blks;
	atomic_uint_fast64_t cache_hits, cache_misses;
	atomic_uint_fast64_t proof_failures, media_failures;
	atomic_uint_fast64_t hash_ns;
};

struct reader {
	struct vblk v; /* first: what the world holds */
	struct verity_params params;
	struct verity_geometry geo;
	const struct blk *data, *hash;
	uint64_t tree_off; /* of the tree in hash */
	size_t digest_len;
	uint8_t root[HASH_MAX_LEN];
	struct verity_options opt;
	struct hash_salted *hasher;
	struct verity_block *top; /* NULL: a single data block, no tree */
	struct verity_cache *cache;
	struct counters *counters; /* changes under a const reader */
};

/*
 * One request's way through the tree. It goes from lower to higher data blocks and keeps the last
 * block of each level, so that nothing is read twice for it however small the cache is.
 */
struct walk {
	const struct reader *r;
	struct diag *d;
	struct verity_block *at[VERITY_MAX_LEVELS];
	struct verity_claim claim[VERITY_MAX_LEVELS]; /* blocks that this request is to load */
};

static void walk_end(struct walk *w)
{
	for (unsigned level = 0; level < w->r->geo.level_cnt; level++)
		verity_block_unref(w->at[level]);
}

#define scoped_walk __attribute__((cleanup(walk_end)))

static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* hash_salted_blocks(), with an eye on the clock: proving is what a mount costs. */
static int digest_blocks(const struct reader *r, const void *blocks, size_t block_len, size_t cnt,
                         void *out, size_t out_stride)
{
	uint64_t from = now_ns();
	int err = hash_salted_blocks(r->hasher, blocks, block_len, cnt, out, out_stride);

	count(&r->counters->hash_ns, now_ns() - from);
	return err;
}

/* ------------------------------------------------------------------------------------------------
 * failures */

/* A run of blocks of one level; level -1: data blocks. */
struct place {
	int level;
	uint64_t blk, cnt;
};

static struct verity_failure failure_at(const struct reader *r, struct place at, int err)
{
	struct verity_failure f = { .err = err, .level = at.level, .blk = at.blk };
	uint64_t block_len = r->params.data_block_len;
	/* at most 60: verity_geometry_init() bounds the levels by the size of a disk */
	unsigned shift = (unsigned)(at.level + 1) * verity_fanout_bits(&r->geo);
	uint64_t first = at.blk << shift;
	uint64_t end = MIN((at.blk + at.cnt) << shift, r->params.data_blk_cnt);

	f.data_off = first * block_len;
	f.data_len = (end - first) * block_len;
	if (at.level < 0)
		f.area_off = at.blk * block_len;
	else
		f.area_off = r->tree_off +
		             (r->geo.level_blk[at.level] + at.blk) * r->params.hash_block_len;
	f.disk_off = blk_base_off(at.level < 0 ? r->data : r->hash) + f.area_off;
	return f;
}

static void tell(const struct reader *r, const struct verity_failure *f)
{
	count(f->kind == VERITY_FAILURE_PROOF ? &r->counters->proof_failures
	                                      : &r->counters->media_failures,
	      1);
	if (r->opt.on_failure)
		r->opt.on_failure(r->opt.ctx, f);
}

/* The medium did not give the bytes; its sentence is in the diag already. */
static int fail_media(const struct walk *w, struct place at, int err)
{
	struct verity_failure f = failure_at(w->r, at, err);

	f.kind = VERITY_FAILURE_MEDIA;
	tell(w->r, &f);
	return err;
}

static int fail_proof(const struct walk *w, struct place at, const uint8_t *expected,
                      const uint8_t *found)
{
	const struct reader *r = w->r;
	const struct blk *blk = at.level < 0 ? r->data : r->hash;
	struct verity_failure f = failure_at(r, at, -EBADMSG);
	char expected_hex[2 * HASH_MAX_LEN + 1], found_hex[2 * HASH_MAX_LEN + 1], what[64];

	f.kind = VERITY_FAILURE_PROOF;
	f.digest_len = r->digest_len;
	memcpy(f.expected, expected, r->digest_len);
	memcpy(f.found, found, r->digest_len);
	tell(r, &f);
	hex_encode(expected, r->digest_len, expected_hex);
	hex_encode(found, r->digest_len, found_hex);
	if (at.level < 0)
		snprintf(what, sizeof(what), "data block %" PRIu64, at.blk);
	else
		snprintf(what, sizeof(what), "hash block %" PRIu64 " of level %d", at.blk,
		         at.level);
	return diag_set(w->d, -EBADMSG,
	                "%s: %s (offset %" PRIu64
	                ") does not match the root hash: its digest is %s, expected %s",
	                blk_name(blk), what, f.area_off, found_hex, expected_hex);
}

static int fail_hashing(const struct walk *w, int err)
{
	return diag_set_errno(w->d, err, "%s: cannot hash", blk_name(w->r->data));
}

/* ------------------------------------------------------------------------------------------------
 * hash blocks */

/* Reads a hash block and proves it. It becomes the walk's block of its level. */
static int load_block(struct walk *w, unsigned level, uint64_t idx, const uint8_t *expected)
{
	const struct reader *r = w->r;
	const struct place at = { .level = (int)level, .blk = idx, .cnt = 1 };
	uint64_t tree_blk = r->geo.level_blk[level] + idx;
	size_t len = r->params.hash_block_len;
	uint8_t found[HASH_MAX_LEN];
	struct verity_block *b = NULL;
	int err = verity_block_new(tree_blk, len, &b);

	if (err)
		return diag_set_errno(w->d, err, "%s: cannot hold a hash block", blk_name(r->hash));
	verity_block_unref(w->at[level]);
	w->at[level] = NULL;
	err = blk_read(r->hash, r->tree_off + tree_blk * len, b->bytes, len, w->d);
	if (err)
		err = fail_media(w, at, err);
	else if (digest_blocks(r, b->bytes, len, 1, found, sizeof(found)))
		err = fail_hashing(w, -EIO);
	else if (memcmp(found, expected, r->digest_len) != 0)
		err = fail_proof(w, at, expected, found);
	count(&r->counters->hash_blks, 1);
	if (err) {
		verity_block_unref(b);
		return err;
	}
	if (level + 1 < r->geo.level_cnt)
		verity_cache_insert(r->cache, b);
	w->at[level] = b;
	return 0;
}

/*
 * The bytes of a block that needs no proof: the top, the walk's last one, or one in the cache.
 * NULL: the walk has to load it, and who else needs it waits meanwhile.
 */
static const uint8_t *block_at_hand(struct walk *w, unsigned level, uint64_t idx)
{
	const struct reader *r = w->r;
	uint64_t tree_blk = r->geo.level_blk[level] + idx;
	struct verity_block *b = w->at[level];

	if (level + 1 == r->geo.level_cnt)
		return r->top->bytes;
	if (b && b->tree_blk == tree_blk)
		return b->bytes;
	b = verity_cache_get(r->cache, tree_blk, &w->claim[level]);
	count(b ? &r->counters->cache_hits : &r->counters->cache_misses, 1);
	if (!b)
		return NULL;
	verity_block_unref(w->at[level]);
	w->at[level] = b;
	return b->bytes;
}

/*
 * The proven bytes of block idx of level. They stay for as long as the walk stays with them. After
 * a failure, those below have lost their claims as well, and whoever waited for one finds out.
 */
static int find_block(struct walk *w, unsigned level, uint64_t idx, const uint8_t **out)
{
	const struct verity_geometry *g = &w->r->geo;
	unsigned bits = verity_fanout_bits(g), up = 0;
	const uint8_t *bytes;
	int r = 0;

	while (!(bytes = block_at_hand(w, level + up, idx >> up * bits)))
		up++;
	while (up-- > 0) {
		uint64_t blk = idx >> up * bits;
		size_t slot = blk & (g->digests_per_block - 1);

		if (r == 0)
			r = load_block(w, level + up, blk, bytes + slot * g->digest_stride);
		if (r == 0)
			bytes = w->at[level + up]->bytes;
		verity_cache_release(w->r->cache, &w->claim[level + up]);
	}
	if (r == 0)
		*out = bytes;
	return r;
}

/* ------------------------------------------------------------------------------------------------
 * data blocks */

/* Compares digests (digest_len apart) of the data blocks from first on with those of the tree. */
static int check_leaves(struct walk *w, uint64_t first, size_t cnt, const uint8_t *digests)
{
	const struct reader *r = w->r;
	const struct verity_geometry *g = &r->geo;
	const uint8_t *bytes = NULL, *expected = r->root;

	for (size_t i = 0; i < cnt; i++, digests += r->digest_len) {
		uint64_t blk = first + i;
		size_t slot = blk & (g->digests_per_block - 1);

		if (g->level_cnt && (i == 0 || slot == 0)) {
			int err = find_block(w, 0, blk >> verity_fanout_bits(g), &bytes);

			if (err)
				return err;
		}
		if (bytes)
			expected = bytes + slot * g->digest_stride;
		if (memcmp(digests, expected, r->digest_len) != 0)
			return fail_proof(w, (struct place){ .level = -1, .blk = blk, .cnt = 1 },
			                  expected, digests);
	}
	return 0;
}

/* Whole blocks, straight into buf. */
static int read_blocks(struct walk *w, uint64_t blk, uint64_t cnt, uint8_t *buf)
{
	const struct reader *r = w->r;
	size_t block_len = r->params.data_block_len;
	uint8_t digests[VERITY_BATCH_BLK_CNT * HASH_MAX_LEN];
	int err = 0;

	for (size_t n; !err && cnt; cnt -= n, blk += n, buf += n * block_len) {
		n = (size_t)MIN(cnt, VERITY_BATCH_BLK_CNT);
		err = blk_read(r->data, blk * block_len, buf, n * block_len, w->d);
		if (err)
			return fail_media(w, (struct place){ .level = -1, .blk = blk, .cnt = n },
			                  err);
		err = digest_blocks(r, buf, block_len, n, digests, r->digest_len);
		if (err)
			return fail_hashing(w, err);
		count(&r->counters->data_blks, n);
		err = check_leaves(w, blk, n, digests);
	}
	return err;
}

/* len bytes from skip on of one block, by way of *bounce, which is made when first needed. */
static int read_part(struct walk *w, uint64_t blk, size_t skip, uint8_t *buf, size_t len,
                     uint8_t **bounce)
{
	int err;

	if (!*bounce)
		*bounce = malloc(w->r->params.data_block_len);
	if (!*bounce)
		return diag_set_errno(w->d, -ENOMEM, "%s: cannot hold a data block",
		                      blk_name(w->r->data));
	err = read_blocks(w, blk, 1, *bounce);
	if (!err)
		memcpy(buf, *bounce + skip, len);
	return err;
}

static int reader_read(const struct vblk *v, uint64_t off, void *buf, size_t len, struct diag *d)
{
	const struct reader *r = (const struct reader *)v;
	size_t block_len = r->params.data_block_len, n;
	scoped_walk struct walk w = { .r = r, .d = d };
	scoped_free uint8_t *bounce = NULL;
	uint8_t *p = buf, *end = p + len;
	int err = 0;

	for (; !err && p < end; p += n, off += n) {
		uint64_t blk = off / block_len;
		size_t skip = off % block_len, left = (size_t)(end - p);

		if (skip || left < block_len) {
			n = MIN(block_len - skip, left);
			err = read_part(&w, blk, skip, p, n, &bounce);
		} else {
			n = round_down(left, block_len);
			err = read_blocks(&w, blk, n / block_len, p);
		}
	}
	if (!err)
		count(&r->counters->data_bytes, len);
	return err;
}

/* ------------------------------------------------------------------------------------------------
 * opening and closing */

static void reader_stats(const struct vblk *v, struct vblk_stats *out)
{
	const struct counters *c = ((const struct reader *)v)->counters;

	*out = (struct vblk_stats){
		.data_bytes = atomic_load(&c->data_bytes),
		.data_blks = atomic_load(&c->data_blks),
		.hash_blks = atomic_load(&c->hash_blks),
		.cache_hits = atomic_load(&c->cache_hits),
		.cache_misses = atomic_load(&c->cache_misses),
		.proof_failures = atomic_load(&c->proof_failures),
		.media_failures = atomic_load(&c->media_failures),
		.hash_ns = atomic_load(&c->hash_ns),
	};
}

static void reader_close(struct vblk *v)
{
	struct reader *r = (struct reader *)v;

	verity_block_unref(r->top);
	verity_cache_free(r->cache);
	hash_salted_free(r->hasher);
	free(r->counters);
	free(r);
}

/* Parameters and the tree's place, from the superblock or from the caller. */
static int find_params(struct reader *r, const struct verity_params *params, struct diag *d)
{
	uint8_t sb[VERITY_SUPERBLOCK_LEN];
	int err;

	if (params) {
		r->params = *params;
		return verity_geometry_init(&r->geo, &r->params, d);
	}
	if (blk_size(r->hash) < sizeof(sb))
		return diag_set(d, -EUCLEAN,
		                "%s: %" PRIu64 " bytes are too few for a verity superblock",
		                blk_name(r->hash), blk_size(r->hash));
	err = blk_read(r->hash, 0, sb, sizeof(sb), d);
	if (err)
		return err;
	err = verity_superblock_decode(sb, &r->params, d);
	if (!err)
		err = verity_geometry_init(&r->geo, &r->params, d);
	if (err)
		return diag_prefix(d, err, "%s", blk_name(r->hash));
	r->tree_off = verity_tree_off(&r->params);
	return 0;
}

static int check_sizes(const struct reader *r, struct diag *d)
{
	/* the product fits: verity_geometry_init() */
	uint64_t data_len = r->params.data_blk_cnt * r->params.data_block_len;

	if (data_len > blk_size(r->data))
		return diag_set(d, -EUCLEAN,
		                "%s: %" PRIu64 " data blocks of %" PRIu32
		                " bytes are claimed, but it has only %" PRIu64 " bytes",
		                blk_name(r->data), r->params.data_blk_cnt, r->params.data_block_len,
		                blk_size(r->data));
	/* nobody pads the superblock of a single data block up to a tree that is not there */
	if (r->geo.tree_len && !range_is_inside(r->tree_off, r->geo.tree_len, blk_size(r->hash)))
		return diag_set(d, -EUCLEAN,
		                "%s: the tree of %" PRIu64 " data blocks has %" PRIu64
		                " bytes at offset %" PRIu64 ", but it has only %" PRIu64 " bytes",
		                blk_name(r->hash), r->params.data_blk_cnt, r->geo.tree_len,
		                r->tree_off, blk_size(r->hash));
	return 0;
}

/*
 * Where the tree ends, its last hash blocks end too: the last digest is there (no digest is all
 * zero), and only zeros are behind it. So a block count that cuts the data short, or makes it
 * longer, is found here although the root hash is right. What is left is a count that mistakes a
 * level of the tree for the data; that only the caller can know.
 */
static int check_edge(struct walk *w)
{
	const struct reader *r = w->r;
	size_t len = r->params.hash_block_len, stride = r->geo.digest_stride;

	for (unsigned level = r->geo.level_cnt; level-- > 0;) {
		uint64_t last = r->geo.level_blk_cnt[level] - 1;
		size_t used = stride * verity_digests_in_block(&r->params, &r->geo, level, last);
		const uint8_t *bytes;
		int err = find_block(w, level, last, &bytes);

		if (err)
			return err;
		if (verity_is_zero(bytes + used - stride, stride) ||
		    !verity_is_zero(bytes + used, len - used))
			return diag_set(w->d, -EUCLEAN,
			                "%s: the tree is not that of %" PRIu64
			                " data blocks: hash block %" PRIu64
			                " of level %u does not end with digest %zu",
			                blk_name(r->hash), r->params.data_blk_cnt, last, level,
			                used / stride);
	}
	return 0;
}

/* Proves the top block and the edge of the tree; or the only data block. */
static int prove_first(struct reader *r, struct diag *d)
{
	scoped_walk struct walk w = { .r = r, .d = d };
	scoped_free uint8_t *block = NULL;
	int err;

	if (r->geo.level_cnt == 0) {
		uint8_t nothing;

		return read_part(&w, 0, 0, &nothing, 0, &block);
	}
	err = load_block(&w, r->geo.level_cnt - 1, 0, r->root);
	if (err)
		return err;
	r->top = take_ptr(w.at[r->geo.level_cnt - 1]);
	return check_edge(&w);
}

static int make_parts(struct reader *r, struct diag *d)
{
	uint64_t cache_len = r->opt.cache_len ? r->opt.cache_len : VERITY_DEFAULT_CACHE_LEN;
	uint64_t max_cnt = MIN(cache_len / r->params.hash_block_len, r->geo.tree_blk_cnt);
	int err = verity_hasher_new(&r->params, &r->hasher, d);

	if (err)
		return err;
	r->counters = calloc(1, sizeof(*r->counters));
	err = r->counters ? verity_cache_new(max_cnt, &r->cache) : -ENOMEM;
	return err ? diag_set_errno(d, err, "%s: cannot set up proving", blk_name(r->data)) : 0;
}

int verity_open(const struct blk *data, const struct blk *hash, const struct verity_params *params,
                const uint8_t *root, size_t root_len, const struct verity_options *opt,
                struct vblk **out, struct diag *d)
{
	static const struct vblk_ops ops = {
		.read = reader_read,
		.stats = reader_stats,
		.close = reader_close,
	};
	struct reader *r = calloc(1, sizeof(*r));
	scoped(vblk) struct vblk *v = NULL;
	int err;

	if (!r)
		return diag_set_errno(d, -ENOMEM, "%s: cannot set up proving", blk_name(data));
	v = &r->v;
	v->ops = &ops;
	v->params = &r->params;
	r->data = data;
	r->hash = hash;
	r->opt = opt ? *opt : (struct verity_options){ 0 };
	err = find_params(r, params, d);
	if (!err)
		err = check_sizes(r, d);
	if (err)
		return err;
	v->size = r->params.data_blk_cnt * r->params.data_block_len;
	r->digest_len = hash_len(r->params.alg);
	if (root_len != r->digest_len)
		return diag_set(d, -EINVAL, "the root hash has %zu bytes, that of %s has %zu",
		                root_len, hash_name(r->params.alg), r->digest_len);
	memcpy(r->root, root, root_len);
	err = make_parts(r, d);
	if (!err)
		err = prove_first(r, d);
	if (err)
		return err;
	*out = take_ptr(v);
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * any vblk */

void vblk_close(struct vblk *v)
{
	if (v && v->ops->close)
		v->ops->close(v);
}

int vblk_read(const struct vblk *v, uint64_t off, void *buf, size_t len, struct diag *d)
{
	int r;

	if (range_is_inside(off, len, v->size))
		r = v->ops->read(v, off, buf, len, d);
	else
		r = diag_set(d, -ERANGE,
		             "%zu bytes at offset %" PRIu64 " are not inside the %" PRIu64
		             " proven bytes",
		             len, off, v->size);
	if (r)
		memset(buf, 0, len);
	return r;
}

uint64_t vblk_size(const struct vblk *v)
{
	return v->size;
}

const struct verity_params *vblk_params(const struct vblk *v)
{
	return v->params;
}

void vblk_get_stats(const struct vblk *v, struct vblk_stats *out)
{
	*out = (struct vblk_stats){ 0 };
	if (v->ops->stats)
		v->ops->stats(v, out);
}
