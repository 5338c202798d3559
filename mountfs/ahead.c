/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of pieces that are proven ahead of the reader. Decides who proves a piece, who waits for
 * it and when it is forgotten; what is worth proving is the business of streams.c.
 *
 *     FREE ── planned ──► QUEUED ── a thread ──► PROVING ── proven ──► READY ── taken ──► FREE
 *                            └ a READ needs it now: proven at once       └ nobody came: reused
 */
#include "ahead.h"

#include "failures.h"
#include "streams.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#define PIECE_CNT 128 /* 32 MiB */

/*
 * What is wanted beyond a reader, at least and in READs. As little as keeps the reader from
 * waiting: what is proven early has left the processor's caches when it is sent.
 */
#define MIN_AHEAD   (1 * MIB)
#define AHEAD_READS 4

/*
 * Counted in READs of anybody. A piece that was not taken for that long belongs to a reader who
 * went elsewhere.
 */
#define FORGET_AFTER 1024

enum state { FREE, QUEUED, PROVING, READY };

struct ahead_piece {
	enum state state;
	struct erofs_inode inode;
	uint64_t off, len;
	uint64_t taken; /* bytes of it that were answered with */
	uint64_t tick;  /* when it was planned */
	unsigned refs;  /* answers under way that point into it */
	uint8_t *bytes; /* STREAMS_STEP of them; written while PROVING by its prover only */
};

struct ahead {
	const struct erofs *fs;
	unsigned max_working;
	uint8_t *pool;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a piece is no longer PROVING */
	/* under lock: */
	struct streams streams;
	struct ahead_piece piece[PIECE_CNT];
	unsigned queued_cnt;
	unsigned working; /* threads in ahead_work() */
};

int ahead_new(const struct erofs *fs, unsigned thread_cnt, struct ahead **out)
{
	scoped(ahead) struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	a->fs = fs;
	a->max_working = thread_cnt > 1 ? thread_cnt - 1 : 0;
	/* untouched memory costs nothing: a mount that is never read ahead has none */
	a->pool = aligned_alloc(STREAMS_STEP, PIECE_CNT * STREAMS_STEP);
	if (!a->pool)
		return -ENOMEM;
	for (size_t i = 0; i < PIECE_CNT; i++)
		a->piece[i].bytes = a->pool + i * STREAMS_STEP;
	*out = take_ptr(a);
	return 0;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	free(a->pool);
	free(a);
}

/* ---- pieces; all under the lock ---- */

static bool is_of(const struct ahead_piece *p, uint64_t nid)
{
	return p->state != FREE && p->inode.nid == nid;
}

/* The piece with byte off, or NULL and in *end where the next one begins, at most at limit. */
static struct ahead_piece *find_piece(struct ahead *a, uint64_t nid, uint64_t off, uint64_t limit,
                                      uint64_t *end)
{
	*end = limit;
	for (struct ahead_piece *p = a->piece; p < a->piece + PIECE_CNT; p++) {
		if (!is_of(p, nid))
			continue;
		if (off >= p->off && off - p->off < p->len)
			return p;
		if (p->off > off)
			*end = MIN(*end, p->off);
	}
	return NULL;
}

/* One that can be planned anew: a free one, or the oldest that nobody came for. */
static struct ahead_piece *find_room(struct ahead *a)
{
	struct ahead_piece *old = NULL;

	for (struct ahead_piece *p = a->piece; p < a->piece + PIECE_CNT; p++) {
		if (p->state == FREE)
			return p;
		if (p->state == READY && p->refs == 0 && a->streams.tick - p->tick > FORGET_AFTER &&
		    (!old || p->tick < old->tick))
			old = p;
	}
	return old;
}

static void queue_piece(struct ahead *a, const struct erofs_inode *inode, uint64_t off,
                        uint64_t len, struct ahead_piece *p)
{
	p->state = QUEUED;
	p->inode = *inode;
	p->off = off;
	p->len = len;
	p->taken = 0;
	p->tick = a->streams.tick;
	a->queued_cnt++;
}

/* Has somebody planned a part of this already? */
static bool is_planned(const struct ahead *a, uint64_t nid, uint64_t off, uint64_t end)
{
	for (const struct ahead_piece *p = a->piece; p < a->piece + PIECE_CNT; p++)
		if (is_of(p, nid) && p->off < end && off < p->off + p->len)
			return true;
	return false;
}

/* Queues what streams.c thinks worth it, as far as there is room, a step at a time. */
static void plan(struct ahead *a, const struct erofs_inode *inode, uint64_t off, uint64_t len)
{
	struct streams_read r = { .nid = inode->nid, .off = off, .len = len, .size = inode->size };
	struct streams_plan plan = streams_note(&a->streams, &r, MAX(MIN_AHEAD, AHEAD_READS * len));
	uint64_t begin = plan.off, end = plan.off + plan.len, from, to, done = 0;

	for (; a->max_working > 0 && begin < end; done += to - from) {
		struct ahead_piece *p = find_room(a);

		if (!p)
			break;
		from = plan.is_down ? MAX(begin, round_down(end - 1, STREAMS_STEP)) : begin;
		to = plan.is_down ? end : MIN(end, round_down(begin, STREAMS_STEP) + STREAMS_STEP);
		if (!is_planned(a, inode->nid, from, to))
			queue_piece(a, inode, from, to - from, p);
		if (plan.is_down)
			end = from;
		else
			begin = to;
	}
	streams_planned(&plan, done);
}

/* The queued piece that was planned first. */
static struct ahead_piece *next_queued(struct ahead *a)
{
	struct ahead_piece *first = NULL;

	for (struct ahead_piece *p = a->piece; a->queued_cnt > 0 && p < a->piece + PIECE_CNT; p++)
		if (p->state == QUEUED && (!first || p->tick < first->tick ||
		                           (p->tick == first->tick && p->off < first->off)))
			first = p;
	return first;
}

/* Gives up the lock while it works. Afterwards the piece is READY, or FREE because it failed. */
static void prove(struct ahead *a, struct ahead_piece *p)
{
	int64_t got;

	p->state = PROVING;
	a->queued_cnt--;
	pthread_mutex_unlock(&a->lock);
	got = erofs_read(a->fs, &p->inode, p->off, p->bytes, p->len, NULL);
	failures_begin(); /* the failure belongs to who reads it, if anybody does */
	pthread_mutex_lock(&a->lock);
	p->state = got == (int64_t)p->len ? READY : FREE;
	pthread_cond_broadcast(&a->changed);
}

/* ---- answers ---- */

static void add_part(struct ahead_answer *out, void *bytes, size_t len)
{
	assert(out->part_cnt < AHEAD_MAX_PARTS);
	out->part[out->part_cnt++] = (struct iovec){ .iov_base = bytes, .iov_len = len };
	out->len += len;
}

/*
 * Adds bytes from off on that are in the pool, or soon will be, and returns how many; 0: there are
 * none up to *end.
 */
static size_t take_piece(struct ahead *a, uint64_t nid, uint64_t off, uint64_t limit,
                         struct ahead_answer *out, uint64_t *end)
{
	struct ahead_piece *p;
	size_t len;

	while ((p = find_piece(a, nid, off, limit, end)) && p->state != READY)
		if (p->state == QUEUED)
			prove(a, p);
		else
			pthread_cond_wait(&a->changed, &a->lock);
	if (!p)
		return 0;
	len = (size_t)(MIN(p->off + p->len, limit) - off);
	p->refs++;
	p->taken += len;
	out->held[out->held_cnt++] = p;
	add_part(out, p->bytes + (off - p->off), len);
	return len;
}

static int read_parts(struct ahead *a, const struct erofs_inode *inode, uint64_t off, uint8_t *buf,
                      size_t len, struct ahead_answer *out, struct diag *d)
{
	uint64_t limit = off + len, end;

	pthread_mutex_lock(&a->lock);
	plan(a, inode, off, len);
	while (off < limit) {
		/* the last part is what is left, whether it is in the pool or not */
		bool is_last = out->part_cnt == AHEAD_MAX_PARTS - 1;
		size_t n = is_last ? 0 : take_piece(a, inode->nid, off, limit, out, &end);
		int64_t got;

		if (is_last)
			end = limit;
		if (n == 0) {
			n = (size_t)(end - off);
			pthread_mutex_unlock(&a->lock);
			got = erofs_read(a->fs, inode, off, buf, n, d);
			if (got < 0)
				return (int)got;
			assert(got == (int64_t)n);
			add_part(out, buf, n);
			pthread_mutex_lock(&a->lock);
		}
		buf += n;
		off += n;
	}
	pthread_mutex_unlock(&a->lock);
	return 0;
}

int ahead_read(struct ahead *a, const struct erofs_inode *inode, uint64_t off, void *buf,
               size_t len, struct ahead_answer *out, struct diag *d)
{
	int r;

	assert(len <= AHEAD_MAX_LEN);
	out->part_cnt = 0;
	out->held_cnt = 0;
	out->len = 0;
	if (off >= inode->size || len == 0)
		return 0;
	r = read_parts(a, inode, off, buf, (size_t)MIN(len, inode->size - off), out, d);
	if (r < 0)
		ahead_release(a, out);
	return r;
}

void ahead_release(struct ahead *a, struct ahead_answer *answer)
{
	if (answer->held_cnt == 0)
		return;
	pthread_mutex_lock(&a->lock);
	while (answer->held_cnt > 0) {
		struct ahead_piece *p = answer->held[--answer->held_cnt];

		if (--p->refs == 0 && p->taken >= p->len)
			p->state = FREE;
	}
	pthread_mutex_unlock(&a->lock);
}

void ahead_work(struct ahead *a)
{
	struct ahead_piece *p;

	pthread_mutex_lock(&a->lock);
	if (a->working < a->max_working) {
		a->working++;
		while ((p = next_queued(a)))
			prove(a, p);
		a->working--;
	}
	pthread_mutex_unlock(&a->lock);
}
