/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verity_*.c files share and nobody else needs: the shape of a vblk, positions inside a
 * tree, and the cache of proven hash blocks. White-box tests include it too; tests/support makes
 * its own vblk with it, for tests of parsers that need proven bytes without a tree.
 */
#ifndef MODELDISK_VERITY_INT_H
#define MODELDISK_VERITY_INT_H

#include "verity.h"

#include <stdatomic.h>

/*
 * How a vblk does its work. read has a range that vblk_read() has checked, fills all of it with
 * proven bytes or fails; the buffer is zeroed by vblk_read() then. stats and close may be NULL.
 */
struct vblk_ops {
	int (*read)(const struct vblk *v, uint64_t off, void *buf, size_t len, struct diag *d);
	void (*stats)(const struct vblk *v, struct vblk_stats *out);
	void (*close)(struct vblk *v);
};

/* The first member of whatever the maker allocates. */
struct vblk {
	const struct vblk_ops *ops;
	uint64_t size;
	const struct verity_params *params; /* NULL: bytes without a tree */
};

/* The hasher that p asks for. p has passed verity_geometry_init(). */
int verity_hasher_new(const struct verity_params *p, struct hash_salted **out, struct diag *d)
        MUST_CHECK;

static inline bool verity_is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

/* log2 of digests_per_block: the step from an item's index to that of the block above it. */
static inline unsigned verity_fanout_bits(const struct verity_geometry *g)
{
	return (unsigned)__builtin_ctz(g->digests_per_block);
}

/*
 * How many digests level holds: those of the data blocks for level 0, of the level below for the
 * others. level may be level_cnt: the one root hash.
 */
static inline uint64_t verity_digest_cnt(const struct verity_params *p,
                                         const struct verity_geometry *g, unsigned level)
{
	return level == 0 ? p->data_blk_cnt : g->level_blk_cnt[level - 1];
}

/* How many digests lie in block blk of level: all that fit, or fewer in the level's last block. */
static inline uint32_t verity_digests_in_block(const struct verity_params *p,
                                               const struct verity_geometry *g, unsigned level,
                                               uint64_t blk)
{
	uint64_t left = verity_digest_cnt(p, g, level) - (blk << verity_fanout_bits(g));

	return (uint32_t)MIN(left, g->digests_per_block);
}

/* ------------------------------------------------------------------------------------------------
 * cache of proven hash blocks (verity_cache.c) */

/*
 * One proven hash block. Immutable once it is shared; lives until the last reference is gone, so
 * eviction never pulls it from under a reader.
 */
struct verity_block {
	uint64_t tree_blk; /* its place in the tree, in hash blocks: the cache's key */
	atomic_uint refs;
	bool recently_used;              /* under its shard's lock */
	struct verity_block *chain_next; /* under its shard's lock */
	uint8_t bytes[];
};

int verity_block_new(uint64_t tree_blk, size_t len, struct verity_block **out) MUST_CHECK;
void verity_block_unref(struct verity_block *b); /* NULL allowed */

/*
 * Holds at most max_cnt blocks (0: none), forgets those not used lately. Thread-safe; locks are
 * held for a look-up or an exchange of pointers only. Callers insert proven blocks only.
 */
struct verity_cache;
int verity_cache_new(uint64_t max_cnt, struct verity_cache **out) MUST_CHECK;
void verity_cache_free(struct verity_cache *c);
DEFINE_SCOPED(verity_cache, struct verity_cache *, verity_cache_free)
/* A reference to the block, or NULL. */
struct verity_block *verity_cache_get(struct verity_cache *c, uint64_t tree_blk);
/* Takes a reference of its own; does nothing when the place is cached already. */
void verity_cache_insert(struct verity_cache *c, struct verity_block *b);

#endif
