/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verity_*.c files share and nobody else needs: the shape of a vblk, positions inside a
 * tree, and the cache of proven hash blocks. White-box tests include it too; tests/support makes
 * its own vblk with it, for tests of parsers that need proven bytes without a tree.
 */
#ifndef MODELDISK_VERITY_INT_H
#define MODELDISK_VERITY_INT_H

#include "verity.h"

#include <pthread.h>
#include <stdatomic.h>

/* Data blocks hashed per call: 1 MiB of 4 KiB blocks, and 16 KiB of stack for their digests. */
#define VERITY_BATCH_BLK_CNT 256

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
 * builder (verity_build.c), as runs of blocks see it (verity_run.c) */

struct verity_build {
	struct verity_params params;
	struct verity_geometry geo;
	unsigned fanout_bits;
	struct hash_salted *hasher;
	verity_sink sink;
	void *sink_ctx;
	/* digest of an all-zero data block, of a level-0 block full of those, and so on */
	uint8_t zero_digest[VERITY_MAX_LEVELS + 1][HASH_MAX_LEN];
	struct verity_node *anchor; /* of level level_cnt: the root hash is its only digest */

	pthread_mutex_t lock;
	/* under lock, as is what changes in the nodes: */
	uint64_t given_cnt;             /* data blocks */
	size_t open_cnt, peak_open_cnt; /* nodes, without the anchor */
	int err;                        /* of the first add that failed */
};

/* A slot is a digest's index in its level: the block it lies in, and its place there. */
static inline uint64_t verity_slot_blk(const struct verity_build *b, uint64_t slot)
{
	return slot >> b->fanout_bits;
}

static inline uint32_t verity_slot_in_blk(const struct verity_build *b, uint64_t slot)
{
	return (uint32_t)slot & (b->geo.digests_per_block - 1);
}

/* Digests for the slots from first on of one level. */
struct verity_digests {
	unsigned level;
	uint64_t first, cnt;
	const uint8_t *bytes; /* as they lie in a hash block, digest_stride apart, gaps zero */
	bool all_equal;       /* then there is only one at bytes */
};

/* Are these data blocks inside the tree? -EINVAL. */
int verity_build_check(const struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                       struct diag *d) MUST_CHECK;
/*
 * The digests of at most VERITY_BATCH_BLK_CNT data blocks, as they lie in a hash block. The gaps
 * between them are left as they are.
 */
int verity_build_hash(const struct verity_build *b, uint64_t first_blk, size_t cnt,
                      const uint8_t *data, uint8_t *digests, struct diag *d) MUST_CHECK;
/* Puts digests in the tree and goes on with what becomes complete by that. Thread-safe. */
int verity_build_put(struct verity_build *b, struct verity_digests put, struct diag *d) MUST_CHECK;
/* Hands len bytes of level, from block blk on, to the sink, if there is one. */
int verity_build_give(const struct verity_build *b, unsigned level, uint64_t blk, const void *buf,
                      size_t len, struct diag *d) MUST_CHECK;
/* The same for cnt blocks that are full of what level has over zeros. */
int verity_build_give_zero(const struct verity_build *b, unsigned level, uint64_t first,
                           uint64_t cnt, struct diag *d) MUST_CHECK;
/*
 * Counts cnt data blocks as given, or (err) remembers why they were not: the tree cannot be
 * finished then. Returns err.
 */
int verity_build_note(struct verity_build *b, uint64_t cnt, int err) MUST_CHECK;

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

/* A thread's word that it is about to read and prove the block at a place. */
struct verity_claim {
	uint64_t tree_blk;
	bool is_held;
	struct verity_claim *next; /* under its shard's lock */
};
/*
 * A reference to the block; or NULL, and the place is the caller's to fill: others who want it wait
 * until verity_cache_release(). Who holds claims may only ask for blocks of higher levels, so that
 * nobody waits in a circle. A cache that holds nothing keeps nobody waiting.
 */
struct verity_block *verity_cache_get(struct verity_cache *c, uint64_t tree_blk,
                                      struct verity_claim *claim);
/* Takes a reference of its own; does nothing when the place is cached already. */
void verity_cache_insert(struct verity_cache *c, struct verity_block *b);
/* The place is filled, or will not be: those who waited look again. Nothing if it is not held. */
void verity_cache_release(struct verity_cache *c, struct verity_claim *claim);

#endif
