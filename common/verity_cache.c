/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remembers proven hash blocks. Decides which are forgotten (CLOCK: the hand passes over what was
 * used since it last came by) and how threads share the cache (shards by place in the tree, one
 * mutex each, held for pointer work only; who finds nothing loads, and others who want the same
 * block wait for it). That blocks are proven is the inserter's promise.
 */
#include "verity_int.h"

#include <errno.h>
#include <pthread.h>

#define MAX_SHARD_CNT 16

struct shard {
	pthread_mutex_t lock;
	/* under lock: */
	struct verity_block **chain; /* heads of singly linked lists, by place in the tree */
	struct verity_block **ring;  /* the cnt blocks held; the hand goes round in it */
	size_t cnt, hand;
	struct verity_claim *claims; /* places that somebody is filling; a handful */
	pthread_cond_t released;     /* one of them less */
	/* fixed: */
	size_t max_cnt;
	size_t chain_cnt; /* a power of two */
};

struct verity_cache {
	size_t shard_cnt; /* a power of two; 0: nothing is held */
	struct shard shard[];
};

int verity_block_new(uint64_t tree_blk, size_t len, struct verity_block **out)
{
	struct verity_block *b = malloc(sizeof(*b) + len);

	if (!b)
		return -ENOMEM;
	*b = (struct verity_block){ .tree_blk = tree_blk };
	atomic_init(&b->refs, 1);
	*out = b;
	return 0;
}

void verity_block_unref(struct verity_block *b)
{
	/* release: our last look at the bytes comes before whoever frees them; acquire: it does */
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

static struct verity_block *block_ref(struct verity_block *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

static int shard_init(struct shard *s, size_t max_cnt)
{
	s->max_cnt = max_cnt;
	s->chain_cnt = 1;
	while (s->chain_cnt < max_cnt)
		s->chain_cnt *= 2;
	s->chain = calloc(s->chain_cnt, sizeof(struct verity_block *));
	s->ring = calloc(max_cnt, sizeof(struct verity_block *));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->released, NULL);
	return s->chain && s->ring ? 0 : -ENOMEM;
}

int verity_cache_new(uint64_t max_cnt, struct verity_cache **out)
{
	scoped(verity_cache) struct verity_cache *c = NULL;
	size_t shard_cnt = MAX_SHARD_CNT;

	if (max_cnt > SIZE_MAX / sizeof(void *) / 2)
		return -ENOMEM;
	while (shard_cnt > max_cnt)
		shard_cnt /= 2;
	c = calloc(1, sizeof(*c) + shard_cnt * sizeof(struct shard));
	if (!c)
		return -ENOMEM;
	for (size_t i = 0; i < shard_cnt; i++) {
		uint64_t share = max_cnt / shard_cnt + (i < max_cnt % shard_cnt);

		c->shard_cnt++;
		if (shard_init(&c->shard[i], (size_t)share))
			return -ENOMEM;
	}
	*out = take_ptr(c);
	return 0;
}

void verity_cache_free(struct verity_cache *c)
{
	for (size_t i = 0; c && i < c->shard_cnt; i++) {
		struct shard *s = &c->shard[i];

		for (size_t j = 0; j < s->cnt; j++)
			verity_block_unref(s->ring[j]);
		free(s->chain);
		free(s->ring);
		pthread_cond_destroy(&s->released);
		pthread_mutex_destroy(&s->lock);
	}
	free(c);
}

/* Neighbours go to different shards, and stay apart in the chains of one. */
static struct shard *shard_of(struct verity_cache *c, uint64_t tree_blk)
{
	return &c->shard[tree_blk & (c->shard_cnt - 1)];
}

static struct verity_block **chain_of(const struct shard *s, uint64_t tree_blk)
{
	return &s->chain[tree_blk / MAX_SHARD_CNT & (s->chain_cnt - 1)];
}

static struct verity_block *find(const struct shard *s, uint64_t tree_blk)
{
	struct verity_block *b = *chain_of(s, tree_blk);

	while (b && b->tree_blk != tree_blk)
		b = b->chain_next;
	return b;
}

static void unchain(const struct shard *s, const struct verity_block *b)
{
	struct verity_block **link = chain_of(s, b->tree_blk);

	while (*link != b)
		link = &(*link)->chain_next;
	*link = b->chain_next;
}

/* The place in the ring for one more block; *old is what had to leave it, if anything. */
static size_t make_room(struct shard *s, struct verity_block **old)
{
	if (s->cnt < s->max_cnt)
		return s->cnt++;
	for (;;) {
		size_t at = s->hand;

		s->hand = (s->hand + 1) % s->max_cnt;
		if (!s->ring[at]->recently_used) {
			*old = s->ring[at];
			unchain(s, *old);
			return at;
		}
		s->ring[at]->recently_used = false;
	}
}

static bool is_claimed(const struct shard *s, uint64_t tree_blk)
{
	const struct verity_claim *i = s->claims;

	while (i && i->tree_blk != tree_blk)
		i = i->next;
	return i;
}

struct verity_block *verity_cache_get(struct verity_cache *c, uint64_t tree_blk,
                                      struct verity_claim *claim)
{
	struct verity_block *b;
	struct shard *s;

	claim->is_held = false;
	if (c->shard_cnt == 0)
		return NULL;
	s = shard_of(c, tree_blk);
	pthread_mutex_lock(&s->lock);
	while (!(b = find(s, tree_blk)) && is_claimed(s, tree_blk))
		pthread_cond_wait(&s->released, &s->lock);
	if (b) {
		b->recently_used = true;
		block_ref(b);
	} else {
		*claim = (struct verity_claim){ tree_blk, true, s->claims };
		s->claims = claim;
	}
	pthread_mutex_unlock(&s->lock);
	return b;
}

void verity_cache_release(struct verity_cache *c, struct verity_claim *claim)
{
	struct verity_claim **link;
	struct shard *s;

	if (!claim->is_held)
		return;
	s = shard_of(c, claim->tree_blk);
	pthread_mutex_lock(&s->lock);
	for (link = &s->claims; *link != claim; link = &(*link)->next)
		;
	*link = claim->next;
	pthread_cond_broadcast(&s->released);
	pthread_mutex_unlock(&s->lock);
	claim->is_held = false;
}

void verity_cache_insert(struct verity_cache *c, struct verity_block *b)
{
	struct verity_block *old = NULL;
	struct shard *s;

	if (c->shard_cnt == 0)
		return;
	s = shard_of(c, b->tree_blk);
	pthread_mutex_lock(&s->lock);
	if (!find(s, b->tree_blk)) {
		struct verity_block **chain = chain_of(s, b->tree_blk);

		s->ring[make_room(s, &old)] = block_ref(b);
		b->chain_next = *chain;
		*chain = b;
	}
	pthread_mutex_unlock(&s->lock);
	verity_block_unref(old);
}
