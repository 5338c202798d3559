/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes from the network's side, with a sink that keeps what it gets, can be slow, and can fail.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "lfs_intake.h"

#define LANES   5
#define MAX_LEN (9 * MIB + 77)

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned cnt;
};

/* One object's side of the sink. */
struct got {
	uint8_t *bytes; /* what was put in; compared with what comes out */
	uint64_t len, has, pos;
	unsigned begun, anew, verified, abandoned;
	atomic_int inside; /* calls for one object must not overlap */
	int fail_begin, fail_data, fail_verified;
	pthread_mutex_t *gate; /* data waits for it */
};

static struct waiting waiting = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

static void wake(void *ctx)
{
	struct waiting *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->cnt++;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void wait_for_wake(void)
{
	pthread_mutex_lock(&waiting.lock);
	while (waiting.cnt == 0)
		pthread_cond_wait(&waiting.cond, &waiting.lock);
	waiting.cnt = 0;
	pthread_mutex_unlock(&waiting.lock);
}

static void enter(struct got *g)
{
	assert_int_equal(atomic_fetch_add(&g->inside, 1), 0);
}

static int leave(struct got *g, int r, struct diag *d)
{
	atomic_fetch_sub(&g->inside, 1);
	return r < 0 ? diag_set(d, r, "the sink failed") : 0;
}

static int on_begin(void *ctx, bool anew, struct hash_stream *digest, uint64_t *from,
                    struct diag *d)
{
	struct got *g = ctx;

	enter(g);
	g->begun++;
	g->anew += anew;
	g->pos = *from = anew ? 0 : g->has;
	assert_int_equal(hash_stream_add(digest, g->bytes, g->pos), 0);
	return leave(g, g->fail_begin, d);
}

static int on_data(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct got *g = ctx;

	enter(g);
	if (g->gate) {
		pthread_mutex_lock(g->gate);
		pthread_mutex_unlock(g->gate);
	}
	assert_true(len <= g->len - g->pos);
	assert_memory_equal(buf, g->bytes + g->pos, len);
	g->pos += len;
	return leave(g, g->fail_data, d);
}

static int on_verified(void *ctx, struct diag *d)
{
	struct got *g = ctx;

	enter(g);
	assert_true(g->pos == g->len);
	g->verified++;
	return leave(g, g->fail_verified, d);
}

static void on_abandon(void *ctx)
{
	struct got *g = ctx;

	enter(g);
	g->abandoned++;
	(void)leave(g, 0, NULL);
}

static const struct lfs_sink sink = {
	.begin = on_begin, .data = on_data, .verified = on_verified, .abandon = on_abandon
};

static struct lfs_intake *new_intake(unsigned lanes, unsigned workers)
{
	struct lfs_intake_options opt = {
		.lanes = lanes, .workers = workers, .sink = &sink, .wake = wake, .ctx = &waiting
	};
	struct lfs_intake *in = NULL;

	waiting.cnt = 0;
	assert_int_equal(lfs_intake_new(&opt, &in, NULL), 0);
	return in;
}

static void make(struct got *g, struct lfs_object *o, uint64_t len, uint64_t seed)
{
	*g = (struct got){ .bytes = malloc(len), .len = len };
	assert_non_null(g->bytes);
	support_fill(g->bytes, len, seed);
	*o = (struct lfs_object){ .size = len, .ctx = g };
	assert_int_equal(hash_sha256(g->bytes, len, o->oid), 0);
}

static enum lfs_lane_state wait_while(struct lfs_intake *in, unsigned lane,
                                      enum lfs_lane_state state, uint64_t *from)
{
	while (lfs_intake_state(in, lane, from) == state && lfs_intake_error(in, NULL) == 0)
		wait_for_wake();
	return lfs_intake_state(in, lane, from);
}

static uint64_t begin(struct lfs_intake *in, unsigned lane, const struct lfs_object *o, bool anew)
{
	uint64_t from = 0;

	lfs_intake_begin(in, lane, o, anew);
	assert_int_equal(wait_while(in, lane, LFS_LANE_BEGINNING, &from), LFS_LANE_OPEN);
	return from;
}

static void put_all(struct lfs_intake *in, unsigned lane, const uint8_t *bytes, uint64_t len)
{
	for (uint64_t off = 0; off < len;) {
		size_t n = (size_t)MIN(len - off, 1 + (off * 7919) % LFS_INTAKE_MAX_PUT);

		if (lfs_intake_put(in, lane, bytes + off, n))
			off += n;
		else
			wait_for_wake();
	}
}

static enum lfs_lane_state end(struct lfs_intake *in, unsigned lane)
{
	uint64_t from;

	lfs_intake_end(in, lane);
	return wait_while(in, lane, LFS_LANE_ENDING, &from);
}

static void objects_of_any_length_arrive_in_order(void **state)
{
	static const uint64_t lens[] = { 1,       4095,        MIB - 1,     MIB,    MIB + 1,
		                         4 * MIB, 4 * MIB + 1, 5 * MIB - 1, MAX_LEN };
	struct lfs_intake *in = new_intake(1, 2);
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		struct got g;
		struct lfs_object o;

		make(&g, &o, lens[i], i);
		assert_int_equal(begin(in, 0, &o, false), 0);
		put_all(in, 0, g.bytes, g.len);
		assert_int_equal(end(in, 0), LFS_LANE_RIGHT);
		assert_true(g.begun == 1 && g.verified == 1 && g.abandoned == 0);
		free(g.bytes);
	}
	lfs_intake_free(in);
}

static void lanes_go_on_side_by_side(void **state)
{
	struct lfs_intake *in = new_intake(LANES, 3);
	struct got g[LANES];
	struct lfs_object o[LANES];
	uint64_t off[LANES] = { 0 };
	bool all = false;
	(void)state;

	for (unsigned i = 0; i < LANES; i++) {
		make(&g[i], &o[i], MAX_LEN - i * MIB - i, i);
		begin(in, i, &o[i], false);
	}
	while (!all) {
		all = true;
		for (unsigned i = 0; i < LANES; i++) {
			size_t n = (size_t)MIN(g[i].len - off[i], LFS_INTAKE_MAX_PUT - i);

			if (n > 0 && lfs_intake_put(in, i, g[i].bytes + off[i], n))
				off[i] += n;
			all = all && off[i] == g[i].len;
		}
	}
	for (unsigned i = 0; i < LANES; i++)
		assert_int_equal(end(in, i), LFS_LANE_RIGHT);
	lfs_intake_free(in);
	for (unsigned i = 0; i < LANES; i++) {
		assert_int_equal(g[i].verified, 1);
		free(g[i].bytes);
	}
}

static void slow_sink_holds_the_network_back(void **state)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct lfs_intake *in = new_intake(1, 1);
	struct got g;
	struct lfs_object o;
	uint64_t off = 0;
	(void)state;

	make(&g, &o, MAX_LEN, 1);
	g.gate = &gate;
	pthread_mutex_lock(&gate);
	begin(in, 0, &o, false);
	while (lfs_intake_put(in, 0, g.bytes + off, KIB))
		off += KIB;
	assert_true(off >= MIB && off <= 8 * MIB);
	assert_false(lfs_intake_has_room(in, 0));
	pthread_mutex_unlock(&gate);
	put_all(in, 0, g.bytes + off, g.len - off);
	assert_int_equal(end(in, 0), LFS_LANE_RIGHT);
	lfs_intake_free(in);
	free(g.bytes);
}

static void what_is_there_already_is_not_wanted(void **state)
{
	struct lfs_intake *in = new_intake(1, 1);
	struct got g;
	struct lfs_object o;
	(void)state;

	make(&g, &o, MAX_LEN, 1);
	for (g.has = 0; g.has <= g.len; g.has += MAX_LEN / 3) {
		assert_true(begin(in, 0, &o, false) == g.has);
		put_all(in, 0, g.bytes + g.has, g.len - g.has);
		assert_int_equal(end(in, 0), LFS_LANE_RIGHT);
	}
	lfs_intake_free(in);
	free(g.bytes);
}

static void wrong_bytes_are_abandoned_and_may_come_anew(void **state)
{
	struct lfs_intake *in = new_intake(1, 1);
	struct got g;
	struct lfs_object o;
	(void)state;

	make(&g, &o, 100000, 1);
	g.bytes[5] ^= 1;
	begin(in, 0, &o, false);
	put_all(in, 0, g.bytes, g.len);
	assert_int_equal(end(in, 0), LFS_LANE_WRONG);
	assert_true(g.abandoned == 1 && g.verified == 0);
	g.bytes[5] ^= 1;
	g.has = 10;
	assert_true(begin(in, 0, &o, true) == 0);
	put_all(in, 0, g.bytes, g.len);
	assert_int_equal(end(in, 0), LFS_LANE_RIGHT);
	assert_true(g.abandoned == 1 && g.verified == 1 && g.anew == 1);
	lfs_intake_free(in);
	free(g.bytes);
}

static void missing_bytes_are_wrong(void **state)
{
	struct lfs_intake *in = new_intake(1, 1);
	struct got g;
	struct lfs_object o;
	(void)state;

	make(&g, &o, 100000, 1);
	begin(in, 0, &o, false);
	put_all(in, 0, g.bytes, g.len - 1);
	assert_int_equal(end(in, 0), LFS_LANE_WRONG);
	lfs_intake_free(in);
	free(g.bytes);
}

/* A pointer may give a size that its digest contradicts, and it is the size that places are made
 * for. */
static void right_bytes_of_another_length_are_wrong(void **state)
{
	struct lfs_intake *in = new_intake(1, 1);
	struct got g;
	struct lfs_object o;
	(void)state;

	make(&g, &o, 100000, 1);
	o.size = g.len + 1;
	begin(in, 0, &o, false);
	put_all(in, 0, g.bytes, g.len);
	assert_int_equal(end(in, 0), LFS_LANE_WRONG);
	assert_true(g.abandoned == 1 && g.verified == 0);
	lfs_intake_free(in);
	free(g.bytes);
}

/* Wherever a sink fails: its sentence is told, and each object hears how it ended, once. */
static void failing_sink_is_told_and_everything_abandoned(void **state)
{
	(void)state;
	for (int where = 0; where < 3; where++) {
		struct lfs_intake *in = new_intake(2, 2);
		struct got g[2];
		struct lfs_object o[2];
		struct diag d = DIAG_INIT;
		uint64_t from;

		make(&g[0], &o[0], 2 * MIB, 1);
		make(&g[1], &o[1], 2 * MIB, 2);
		g[0].fail_begin = where == 0 ? -ENOSPC : 0;
		g[0].fail_data = where == 1 ? -ENOSPC : 0;
		g[0].fail_verified = where == 2 ? -ENOSPC : 0;
		begin(in, 1, &o[1], false);
		lfs_intake_begin(in, 0, &o[0], false);
		if (wait_while(in, 0, LFS_LANE_BEGINNING, &from) == LFS_LANE_OPEN) {
			put_all(in, 0, g[0].bytes, g[0].len);
			lfs_intake_end(in, 0);
		}
		while (lfs_intake_error(in, &d) == 0)
			wait_for_wake();
		assert_int_equal(d.err, -ENOSPC);
		assert_string_equal(d.text, "the sink failed");
		lfs_intake_free(in);
		assert_true(g[0].abandoned == 1 && g[1].abandoned == 1 && g[1].verified == 0);
		free(g[0].bytes);
		free(g[1].bytes);
	}
}

static void ending_early_abandons_what_is_open(void **state)
{
	struct lfs_intake *in = new_intake(2, 2);
	struct got g;
	struct lfs_object o;
	(void)state;

	make(&g, &o, 3 * MIB, 1);
	begin(in, 1, &o, false);
	put_all(in, 1, g.bytes, 2 * MIB + 5);
	lfs_intake_free(in);
	assert_true(g.abandoned == 1 && g.verified == 0);
	free(g.bytes);
}

static void every_failed_allocation_is_told(void **state)
{
	struct lfs_intake_options opt = {
		.lanes = 1, .workers = 1, .sink = &sink, .wake = wake, .ctx = &waiting
	};
	int r = -ENOMEM;
	(void)state;

	for (unsigned long k = 1; r < 0; k++) {
		struct lfs_intake *in = NULL;
		struct diag d = DIAG_INIT;
		struct lfs_object o;
		struct got g;
		uint64_t from;

		make(&g, &o, 10, k);
		waiting.cnt = 0;
		support_fail_allocation(k);
		r = lfs_intake_new(&opt, &in, &d);
		if (r == 0) {
			lfs_intake_begin(in, 0, &o, false);
			wait_while(in, 0, LFS_LANE_BEGINNING, &from);
			r = lfs_intake_error(in, &d);
		}
		support_fail_allocation(0);
		lfs_intake_free(in);
		assert_true(r == 0 || r == -ENOMEM || r == -EAGAIN);
		assert_int_equal(d.err, r);
		assert_int_equal(g.abandoned, g.begun);
		free(g.bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_of_any_length_arrive_in_order),
		cmocka_unit_test(lanes_go_on_side_by_side),
		cmocka_unit_test(slow_sink_holds_the_network_back),
		cmocka_unit_test(what_is_there_already_is_not_wanted),
		cmocka_unit_test(wrong_bytes_are_abandoned_and_may_come_anew),
		cmocka_unit_test(missing_bytes_are_wrong),
		cmocka_unit_test(right_bytes_of_another_length_are_wrong),
		cmocka_unit_test(failing_sink_is_told_and_everything_abandoned),
		cmocka_unit_test(ending_early_abandons_what_is_open),
		cmocka_unit_test(every_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
