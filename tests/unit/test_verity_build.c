/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "verity_disk.h"
#include "verity_golden.h"

#include <errno.h>
#include <pthread.h>

/* What the tests of order and faults share: levels of 100, 7 and 1 blocks, the last ones short. */
static const uint64_t small_cnt = 100 * 16 - 3;

static struct verity_params small_params(void)
{
	return verity_disk_params(HASH_SHA256, 1, 512, 512, 32, small_cnt);
}

/* A copy of disk without its tree, for another build of it. */
static struct verity_disk without_tree(const struct verity_disk *disk)
{
	struct verity_disk copy = *disk;

	copy.area = malloc(disk->area_len);
	assert_non_null(copy.area);
	memset(copy.area, 0xEE, disk->area_len);
	memset(copy.root, 0xEE, sizeof(copy.root));
	return copy;
}

static struct verity_build *begin(struct verity_disk *to)
{
	struct verity_build *b = NULL;

	assert_int_equal(verity_build_new(&to->params, verity_disk_sink, to, &b, NULL), 0);
	return b;
}

static void add(struct verity_build *b, const struct verity_disk *disk, uint64_t first,
                uint64_t cnt)
{
	struct diag d = DIAG_INIT;

	if (verity_build_add(b, first, cnt, disk->data + first * disk->params.data_block_len, &d))
		fail_msg("blocks %lu + %lu: %s", (unsigned long)first, (unsigned long)cnt, d.text);
}

/* Ends b, whose sink wrote to got, and compares tree and root hash with want's. */
static void end_equal(struct verity_build *b, struct verity_disk *got,
                      const struct verity_disk *want)
{
	size_t now, peak;

	assert_int_equal(verity_build_finish(b, got->root, NULL), 0);
	assert_memory_equal(got->root, want->root, want->root_len);
	assert_memory_equal(got->area + got->tree_off, want->area + want->tree_off,
	                    want->geo.tree_len);
	verity_build_usage(b, &now, &peak);
	assert_int_equal(now, 0);
	verity_build_free(b);
	free(got->area);
}

/* A permutation of 0..cnt-1; malloc'ed. */
static uint64_t *shuffled(size_t cnt, uint64_t seed)
{
	uint64_t *v = calloc(cnt, sizeof(*v)), *rnd = calloc(cnt, sizeof(*rnd));

	assert_non_null(v);
	assert_non_null(rnd);
	support_fill(rnd, cnt * sizeof(*rnd), seed);
	for (size_t i = 0; i < cnt; i++) {
		size_t j = rnd[i] % (i + 1);

		v[i] = v[j];
		v[j] = i;
	}
	free(rnd);
	return v;
}

static void tree_equals_that_of_veritysetup(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verity_golden); i++) {
		const struct verity_golden *g = &verity_golden[i];
		struct verity_params p =
		        verity_disk_params(g->alg, g->hash_type, g->data_block_len,
		                           g->hash_block_len, g->salt_len, g->data_blk_cnt);
		struct verity_disk disk;
		char root[2 * HASH_MAX_LEN + 1], area[2 * HASH_SHA256_LEN + 1];
		uint8_t area_digest[HASH_SHA256_LEN];

		verity_disk_make(&disk, &p);
		hex_encode(disk.root, disk.root_len, root);
		assert_string_equal(root, g->root);
		assert_int_equal(hash_sha256(disk.area, disk.area_len, area_digest), 0);
		hex_encode(area_digest, sizeof(area_digest), area);
		assert_string_equal(area, g->area_sha256);
		verity_disk_free(&disk);
	}
}

static void any_order_gives_the_same_tree(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk, got;
	struct verity_build *b;

	(void)state;
	verity_disk_make(&disk, &p);

	got = without_tree(&disk);
	b = begin(&got);
	for (uint64_t i = small_cnt; i-- > 0;)
		add(b, &disk, i, 1);
	end_equal(b, &got, &disk);

	for (uint64_t seed = 1; seed <= 8; seed++) {
		uint64_t *order = shuffled(small_cnt, seed);

		got = without_tree(&disk);
		b = begin(&got);
		for (size_t i = 0; i < small_cnt; i++)
			add(b, &disk, order[i], 1);
		end_equal(b, &got, &disk);
		free(order);
	}
	verity_disk_free(&disk);
}

static void any_cut_into_runs_gives_the_same_tree(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk;

	(void)state;
	verity_disk_make(&disk, &p);
	for (uint64_t run = 1; run <= 600; run += run < 40 ? 1 : 53) {
		uint64_t runs = div_up(small_cnt, run);
		uint64_t *order = shuffled(runs, run);
		struct verity_disk got = without_tree(&disk);
		struct verity_build *b = begin(&got);

		for (uint64_t i = 0; i < runs; i++)
			add(b, &disk, order[i] * run, MIN(run, small_cnt - order[i] * run));
		end_equal(b, &got, &disk);
		free(order);
	}
	verity_disk_free(&disk);
}

struct adder {
	struct verity_build *b;
	const struct verity_disk *disk;
	uint64_t first, step;
	int err;
};

static void *add_every_step(void *arg)
{
	struct adder *a = arg;
	uint32_t block_len = a->disk->params.data_block_len;

	for (uint64_t i = a->first; !a->err && i < small_cnt; i += a->step)
		a->err = i % 5 == 3 ? verity_build_add_zero(a->b, i, 1, NULL)
		                    : verity_build_add(a->b, i, 1, a->disk->data + i * block_len,
		                                       NULL);
	return NULL;
}

static void threads_give_the_same_tree(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk, want;
	struct verity_build *b;

	(void)state;
	verity_disk_make(&disk, &p);
	for (uint64_t i = 3; i < small_cnt; i += 5)
		memset(disk.data + i * 512, 0, 512);
	want = without_tree(&disk);
	b = begin(&want);
	add(b, &disk, 0, small_cnt);
	assert_int_equal(verity_build_finish(b, want.root, NULL), 0);
	verity_build_free(b);

	for (unsigned round = 0; round < 4; round++) {
		struct verity_disk got = without_tree(&disk);
		struct adder adder[8];
		pthread_t thread[ARRAY_LEN(adder)];

		b = begin(&got);
		for (size_t i = 0; i < ARRAY_LEN(adder); i++) {
			adder[i] = (struct adder){ b, &disk, i, ARRAY_LEN(adder), 0 };
			assert_int_equal(
			        pthread_create(&thread[i], NULL, add_every_step, &adder[i]), 0);
		}
		for (size_t i = 0; i < ARRAY_LEN(adder); i++) {
			pthread_join(thread[i], NULL);
			assert_int_equal(adder[i].err, 0);
		}
		end_equal(b, &got, &want);
	}
	free(want.area);
	verity_disk_free(&disk);
}

/* Zero ranges of every kind of end, the rest added as found: equal to adding everything. */
static void zero_ranges_equal_zero_blocks(void **state)
{
	static const uint64_t cut[] = { 0,   1,   15,  16,  17,  255,  256,  257,
		                        300, 511, 512, 767, 768, 1024, 1280, 1596 };
	const struct verity_params p = small_params();
	struct verity_disk disk;

	(void)state;
	verity_disk_make(&disk, &p);
	for (size_t i = 0; i < ARRAY_LEN(cut); i++)
		for (size_t j = i; j <= ARRAY_LEN(cut); j++) {
			uint64_t from = cut[i], to = j < ARRAY_LEN(cut) ? cut[j] : small_cnt;
			struct verity_disk holed = disk, want, got;
			struct verity_build *b;

			holed.data = malloc(disk.data_len);
			assert_non_null(holed.data);
			memcpy(holed.data, disk.data, disk.data_len);
			memset(holed.data + from * 512, 0, (to - from) * 512);
			want = without_tree(&disk);
			b = begin(&want);
			add(b, &holed, 0, small_cnt);
			assert_int_equal(verity_build_finish(b, want.root, NULL), 0);
			verity_build_free(b);

			got = without_tree(&disk);
			b = begin(&got);
			if (i % 2)
				assert_int_equal(verity_build_add_zero(b, from, to - from, NULL),
				                 0);
			add(b, &holed, to, small_cnt - to);
			if (i % 2 == 0)
				assert_int_equal(verity_build_add_zero(b, from, to - from, NULL),
				                 0);
			add(b, &holed, 0, from);
			end_equal(b, &got, &want);
			free(want.area);
			free(holed.data);
		}
	verity_disk_free(&disk);
}

static void salted(const struct verity_params *p, const void *block, size_t len, uint8_t *out)
{
	struct hash_salted *h = NULL;

	assert_int_equal(hash_salted_new(p->alg, p->salt, p->salt_len, p->hash_type == 1, &h), 0);
	assert_int_equal(hash_salted_blocks(h, block, len, 1, out, HASH_MAX_LEN), 0);
	hash_salted_free(h);
}

/*
 * The root hash of an all-zero disk by other means: of each level all digests but the last are
 * equal.
 */
static void root_of_zeros(const struct verity_params *p, const struct verity_geometry *g,
                          uint8_t root[HASH_MAX_LEN])
{
	static uint8_t block[VERITY_MAX_BLOCK_LEN];
	uint8_t usual[HASH_MAX_LEN] = { 0 }, last[HASH_MAX_LEN];
	uint64_t cnt = p->data_blk_cnt;

	memset(block, 0, sizeof(block));
	salted(p, block, p->data_block_len, usual);
	memcpy(last, usual, sizeof(last));
	while (cnt > 1) {
		uint64_t in_last = (cnt - 1) % g->digests_per_block + 1;

		memset(block, 0, sizeof(block));
		for (uint64_t i = 0; i < in_last; i++)
			memcpy(block + i * g->digest_stride, i + 1 < in_last ? usual : last,
			       g->digest_stride);
		salted(p, block, p->hash_block_len, last);
		for (uint64_t i = 0; i < g->digests_per_block; i++)
			memcpy(block + i * g->digest_stride, usual, g->digest_stride);
		salted(p, block, p->hash_block_len, usual);
		cnt = div_up(cnt, g->digests_per_block);
	}
	memcpy(root, last, HASH_MAX_LEN);
}

static void terabytes_of_zeros_cost_nothing(void **state)
{
	const struct verity_params p =
	        verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 3000000000000 / 4096);
	uint8_t root[HASH_MAX_LEN], want[HASH_MAX_LEN];
	struct verity_geometry g;
	struct verity_build *b = NULL;
	size_t now, peak;

	(void)state;
	assert_int_equal(verity_geometry_init(&g, &p, NULL), 0);
	root_of_zeros(&p, &g, want);
	assert_int_equal(verity_build_new(&p, NULL, NULL, &b, NULL), 0);
	assert_int_equal(verity_build_add_zero(b, 0, p.data_blk_cnt, NULL), 0);
	assert_int_equal(verity_build_finish(b, root, NULL), 0);
	assert_memory_equal(root, want, hash_len(p.alg));
	verity_build_usage(b, &now, &peak);
	assert_true(peak <= g.level_cnt);
	verity_build_free(b);
}

struct tally {
	uint64_t calls, bytes, longest;
};

static int tally_sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct tally *t = ctx;

	(void)off;
	(void)buf;
	(void)d;
	t->calls++;
	t->bytes += len;
	t->longest = MAX(t->longest, len);
	return 0;
}

static void equal_tree_blocks_come_in_long_runs(void **state)
{
	const struct verity_params p =
	        verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 40 * GIB / 4096 + 5);
	uint8_t root[HASH_MAX_LEN];
	struct verity_geometry g;
	struct tally t = { 0 };
	struct verity_build *b = NULL;

	(void)state;
	assert_int_equal(verity_geometry_init(&g, &p, NULL), 0);
	assert_int_equal(verity_build_new(&p, tally_sink, &t, &b, NULL), 0);
	assert_int_equal(verity_build_add_zero(b, 0, p.data_blk_cnt, NULL), 0);
	assert_int_equal(verity_build_finish(b, root, NULL), 0);
	assert_int_equal(t.bytes, g.tree_len);
	assert_true(t.longest >= 128 * KIB);
	assert_true(t.calls <= g.tree_len / (128 * KIB) + 4 * g.level_cnt);
	verity_build_free(b);
}

/*
 * Eight streams through a disk of 600 GB: few open blocks. Zero ranges stand for what takes no
 * hashing; a few real blocks between them, at odd places, keep the streams' groups open.
 */
static void eight_streams_hold_few_blocks_open(void **state)
{
	const uint64_t stream_blk_cnt = 600000000000 / 4096 / 8, step_cnt = 200;
	const struct verity_params p =
	        verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 8 * stream_blk_cnt);
	const uint64_t step = stream_blk_cnt / step_cnt;
	uint8_t *real = verity_disk_data(3 * 4096), root[HASH_MAX_LEN];
	struct verity_geometry g;
	struct verity_build *b = NULL;
	size_t now, peak;

	(void)state;
	assert_int_equal(verity_geometry_init(&g, &p, NULL), 0);
	assert_int_equal(verity_build_new(&p, NULL, NULL, &b, NULL), 0);
	for (uint64_t i = 0; i < step_cnt; i++)
		for (uint64_t stream = 0; stream < 8; stream++) {
			uint64_t at = stream * stream_blk_cnt + i * step;
			uint64_t end = i + 1 < step_cnt ? at + step : (stream + 1) * stream_blk_cnt;

			assert_int_equal(verity_build_add(b, at, 3, real, NULL), 0);
			assert_int_equal(verity_build_add_zero(b, at + 3, end - at - 3, NULL), 0);
		}
	assert_int_equal(verity_build_finish(b, root, NULL), 0);
	verity_build_usage(b, &now, &peak);
	assert_int_equal(now, 0);
	/* a path for each stream, one for the place where it began, all sharing the top */
	assert_true(peak <= 2 * 8 * (g.level_cnt - 1) + 1);
	print_message("600 GB in 8 streams: %zu hash blocks open at most\n", peak);
	verity_build_free(b);
	free(real);
}

/* ------------------------------------------------------------------------------------------------
 * mistakes of the caller */

struct span {
	uint64_t first, cnt;
	bool zero;
};

static int add_span(struct verity_build *b, const struct verity_disk *disk, struct span s,
                    struct diag *d)
{
	return s.zero ? verity_build_add_zero(b, s.first, s.cnt, d)
	              : verity_build_add(b, s.first, s.cnt,
	                                 disk->data + MIN(s.first, small_cnt - 1) * 512, d);
}

static void a_block_given_twice_is_refused(void **state)
{
	static const struct span cases[][2] = {
		{ { 5, 1, false }, { 5, 1, false } },       /* in an open block */
		{ { 0, 16, false }, { 3, 1, false } },      /* below a complete one */
		{ { 0, 256, false }, { 77, 1, false } },    /* two levels below */
		{ { 0, 256, false }, { 255, 2, false } },   /* at its end */
		{ { 77, 1, false }, { 0, 256, true } },     /* zeros over an open path */
		{ { 0, 256, true }, { 77, 1, false } },     /* below zeros */
		{ { 0, 1024, true }, { 256, 256, true } },  /* zeros inside zeros */
		{ { 77, 1, true }, { 0, 1597, true } },     /* zeros over everything */
		{ { 0, 1597, false }, { 1596, 1, false } }, /* after the end */
		{ { 0, 1597, true }, { 0, 1597, true } },
		{ { 0, 1597, false }, { 0, 1597, false } },
	};
	const struct verity_params p = small_params();
	struct verity_disk disk;

	(void)state;
	verity_disk_make(&disk, &p);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_disk got = without_tree(&disk);
		struct verity_build *b = begin(&got);
		struct diag d = DIAG_INIT;

		assert_int_equal(add_span(b, &disk, cases[i][0], NULL), 0);
		assert_int_equal(add_span(b, &disk, cases[i][1], &d), -EINVAL);
		assert_non_null(strstr(d.text, "added twice"));
		assert_int_equal(verity_build_finish(b, got.root, &d), -EINVAL);
		verity_build_free(b);
		free(got.area);
	}
	verity_disk_free(&disk);
}

static void a_block_outside_is_refused(void **state)
{
	static const struct span cases[] = {
		{ 1597, 1, false },      { 1596, 2, true },       { 0, 1598, true },
		{ 1598, 0, false },      { 1, UINT64_MAX, true }, { UINT64_MAX, 2, true },
		{ 0, UINT64_MAX, true },
	};
	const struct verity_params p = small_params();
	struct verity_disk disk;

	(void)state;
	verity_disk_make(&disk, &p);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct verity_build *b = begin(&disk);
		struct diag d = DIAG_INIT;

		assert_int_equal(add_span(b, &disk, cases[i], &d), -EINVAL);
		assert_non_null(strstr(d.text, "a tree of 1597"));
		verity_build_free(b);
	}
	verity_disk_free(&disk);
}

static void a_missing_block_is_noticed(void **state)
{
	static const uint64_t missing[] = { 0, 15, 16, 800, 1595, 1596 };
	const struct verity_params p = small_params();
	struct verity_disk disk;

	(void)state;
	verity_disk_make(&disk, &p);
	for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
		struct verity_disk got = without_tree(&disk);
		struct verity_build *b = begin(&got);
		struct diag d = DIAG_INIT;

		add(b, &disk, 0, missing[i]);
		add(b, &disk, missing[i] + 1, small_cnt - missing[i] - 1);
		assert_int_equal(verity_build_finish(b, got.root, &d), -EINVAL);
		assert_string_equal(d.text, "the verity tree lacks 1 of 1597 data blocks");
		add(b, &disk, missing[i], 1);
		end_equal(b, &got, &disk);
	}
	verity_disk_free(&disk);
}

static void adding_nothing_changes_nothing(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk, got;
	struct verity_build *b;

	(void)state;
	verity_disk_make(&disk, &p);
	got = without_tree(&disk);
	b = begin(&got);
	assert_int_equal(verity_build_add(b, 5, 0, NULL, NULL), 0);
	assert_int_equal(verity_build_add_zero(b, small_cnt, 0, NULL), 0);
	add(b, &disk, 0, small_cnt);
	end_equal(b, &got, &disk);
	verity_disk_free(&disk);
}

/* ------------------------------------------------------------------------------------------------
 * faults */

struct failing_sink {
	unsigned long calls, fail_at;
};

static int failing_sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct failing_sink *s = ctx;

	(void)off;
	(void)buf;
	(void)len;
	return ++s->calls == s->fail_at ? diag_set(d, -ENOSPC, "the disk is full") : 0;
}

/* The small disk in four adds: runs, zeros, runs. */
static int build_in_parts(struct verity_build *b, const struct verity_disk *disk, struct diag *d)
{
	static const struct span parts[] = {
		{ 1000, 597, false },
		{ 300, 700, true },
		{ 0, 100, false },
		{ 100, 200, false },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_LEN(parts); i++)
		r = add_span(b, disk, parts[i], d);
	return r;
}

static void a_failing_sink_spoils_the_build(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk;
	uint8_t root[HASH_MAX_LEN];
	int r = -ENOSPC;

	(void)state;
	verity_disk_make(&disk, &p);
	for (unsigned long k = 1; r; k++) {
		struct failing_sink s = { .fail_at = k };
		struct verity_build *b = NULL;
		struct diag d = DIAG_INIT;

		assert_int_equal(verity_build_new(&p, failing_sink, &s, &b, NULL), 0);
		r = build_in_parts(b, &disk, &d);
		if (r) {
			assert_int_equal(r, -ENOSPC);
			assert_string_equal(d.text, "the disk is full");
		}
		assert_int_equal(verity_build_finish(b, root, &d), r);
		assert_true(r || k > 60);
		verity_build_free(b);
	}
	verity_disk_free(&disk);
}

static int whole_build(const struct verity_disk *disk, uint8_t *root, struct diag *d)
{
	static struct tally ignored;
	scoped(verity_build) struct verity_build *b = NULL;
	int r = verity_build_new(&disk->params, tally_sink, &ignored, &b, d);

	if (!r)
		r = build_in_parts(b, disk, d);
	return r ? r : verity_build_finish(b, root, d);
}

static void every_failed_allocation_is_told(void **state)
{
	const struct verity_params p = small_params();
	struct verity_disk disk;
	uint8_t root[HASH_MAX_LEN];
	unsigned long k = 1;
	int r;

	(void)state;
	verity_disk_make(&disk, &p);
	do {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k++);
		r = whole_build(&disk, root, &d);
		support_fail_allocation(0);
		assert_int_equal(d.err, r);
		assert_true(r == 0 || r == -ENOMEM || r == -EIO); /* EIO: inside OpenSSL */
		assert_true(r == 0 || d.text[0]);
	} while (r);
	assert_true(k > 10);
	verity_disk_free(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_equals_that_of_veritysetup),
		cmocka_unit_test(any_order_gives_the_same_tree),
		cmocka_unit_test(any_cut_into_runs_gives_the_same_tree),
		cmocka_unit_test(threads_give_the_same_tree),
		cmocka_unit_test(zero_ranges_equal_zero_blocks),
		cmocka_unit_test(terabytes_of_zeros_cost_nothing),
		cmocka_unit_test(equal_tree_blocks_come_in_long_runs),
		cmocka_unit_test(eight_streams_hold_few_blocks_open),
		cmocka_unit_test(a_block_given_twice_is_refused),
		cmocka_unit_test(a_block_outside_is_refused),
		cmocka_unit_test(a_missing_block_is_noticed),
		cmocka_unit_test(adding_nothing_changes_nothing),
		cmocka_unit_test(a_failing_sink_spoils_the_build),
		cmocka_unit_test(every_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
