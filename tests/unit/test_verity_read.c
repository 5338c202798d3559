/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "test_vblk.h"
#include "verity_disk.h"
#include "verity_golden.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * A medium in the test's hands: counts what is read of each 512 bytes, fails on demand, and changes
 * its mind. Without any of that it gives the bytes.
 */
struct medium {
	const uint8_t *bytes;
	size_t len;
	size_t flip_at;        /* SIZE_MAX: nowhere; one bit is wrong there */
	size_t cut_at;         /* reads beyond fail with -EIO */
	unsigned long fail_at; /* this read (1 = the first) fails with -EIO; 0: none */
	bool fickle;           /* one bit of every other read is wrong, each time another one */
	atomic_ulong read_cnt;
	unsigned read_of[4096]; /* by 512 bytes; when counting */
	bool counting;
};

static uint64_t mix(uint64_t n)
{
	uint64_t z;

	support_fill(&z, sizeof(z), n);
	return z;
}

static int medium_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct medium *m = ctx;
	unsigned long n = atomic_fetch_add(&m->read_cnt, 1) + 1;
	uint8_t *p = buf;

	if (n == m->fail_at || off + len > m->cut_at)
		return -EIO;
	memcpy(p, m->bytes + off, len);
	if (m->flip_at >= off && m->flip_at < off + len)
		p[m->flip_at - off] ^= (uint8_t)(1 << m->flip_at % 8);
	if (m->fickle && mix(n) % 2)
		p[mix(n + 1) % len] ^= (uint8_t)(1 << mix(n + 2) % 8);
	for (uint64_t i = off / 512; m->counting && i < (off + len) / 512; i++)
		m->read_of[i]++;
	return 0;
}

/* A small disk on two media, and its proven view once it is open. */
struct bench {
	struct verity_disk disk;
	struct medium data_medium, hash_medium;
	struct blk *data, *hash;
	struct vblk *v;
	struct verity_options opt;
	struct verity_failure failure; /* the last one */
	atomic_uint failure_cnt;
	uint8_t *buf; /* as long as the data */
	struct diag d;
};

static void note_failure(void *ctx, const struct verity_failure *f)
{
	struct bench *b = ctx;

	if (atomic_fetch_add(&b->failure_cnt, 1) == 0)
		b->failure = *f;
}

static void medium_init(struct medium *m, const uint8_t *bytes, size_t len, const char *name,
                        struct blk **out)
{
	static const struct blk_ops ops = { .read = medium_read };

	*m = (struct medium){ .bytes = bytes, .len = len, .flip_at = SIZE_MAX, .cut_at = len };
	assert_int_equal(blk_new(&ops, m, len, name, out), 0);
}

static void bench_make(struct bench *b, const struct verity_params *p, uint64_t cache_len)
{
	memset(b, 0, sizeof(*b));
	verity_disk_make(&b->disk, p);
	medium_init(&b->data_medium, b->disk.data, b->disk.data_len, "data", &b->data);
	medium_init(&b->hash_medium, b->disk.area, b->disk.area_len, "hash", &b->hash);
	b->opt = (struct verity_options){ .cache_len = cache_len,
		                          .on_failure = note_failure,
		                          .ctx = b };
	b->buf = malloc(b->disk.data_len);
	assert_non_null(b->buf);
}

static int bench_open(struct bench *b)
{
	return verity_open(b->data, b->hash, NULL, b->disk.root, b->disk.root_len, &b->opt, &b->v,
	                   &b->d);
}

static void bench_must_open(struct bench *b)
{
	if (bench_open(b))
		fail_msg("%s", b->d.text);
}

static void bench_close(struct bench *b)
{
	vblk_close(b->v);
	b->v = NULL;
}

static void bench_end(struct bench *b)
{
	bench_close(b);
	blk_close(b->data);
	blk_close(b->hash);
	verity_disk_free(&b->disk);
	free(b->buf);
}

/* 0 and the true bytes, or an error and zeros; anything else fails the test. */
static int read_checked(struct bench *b, uint64_t off, size_t len)
{
	int r;

	memset(b->buf, 0xEE, len);
	r = vblk_read(b->v, off, b->buf, len, &b->d);
	if (r == 0)
		assert_memory_equal(b->buf, b->disk.data + off, len);
	for (size_t i = 0; r && i < len; i++)
		assert_int_equal(b->buf[i], 0);
	return r;
}

/* Three levels in few bytes: 300 data blocks, 19 + 2 + 1 hash blocks, all of 512 bytes. */
static struct verity_params small_params(void)
{
	return verity_disk_params(HASH_SHA256, 1, 512, 512, 32, 300);
}

/* ------------------------------------------------------------------------------------------------
 * true bytes */

static void every_golden_disk_reads_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verity_golden); i++) {
		const struct verity_golden *g = &verity_golden[i];
		struct verity_params p =
		        verity_disk_params(g->alg, g->hash_type, g->data_block_len,
		                           g->hash_block_len, g->salt_len, g->data_blk_cnt);
		struct bench b;

		bench_make(&b, &p, 0);
		bench_must_open(&b);
		assert_int_equal(vblk_size(b.v), b.disk.data_len);
		assert_int_equal(read_checked(&b, 0, b.disk.data_len), 0);
		assert_int_equal(vblk_params(b.v)->data_blk_cnt, g->data_blk_cnt);
		bench_end(&b);
	}
}

static void tree_without_superblock_reads_back(void **state)
{
	const struct verity_params p = small_params();
	struct blk *tree = NULL;
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	assert_int_equal(blk_sub(b.hash, b.disk.tree_off, b.disk.geo.tree_len, "tree", &tree, NULL),
	                 0);
	assert_int_equal(
	        verity_open(b.data, tree, &p, b.disk.root, b.disk.root_len, NULL, &b.v, &b.d), 0);
	assert_int_equal(read_checked(&b, 0, b.disk.data_len), 0);
	bench_close(&b);
	blk_close(tree);
	bench_end(&b);
}

static void a_single_block_needs_no_more_than_a_superblock(void **state)
{
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 4096, 65536, 32, 1);
	struct blk *area = NULL;
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	assert_int_equal(blk_sub(b.hash, 0, VERITY_SUPERBLOCK_LEN, "short", &area, NULL), 0);
	assert_int_equal(
	        verity_open(b.data, area, NULL, b.disk.root, b.disk.root_len, NULL, &b.v, &b.d), 0);
	assert_int_equal(read_checked(&b, 0, 4096), 0);
	bench_close(&b);
	blk_close(area);
	bench_end(&b);
}

static void any_range_reads_true(void **state)
{
	static const size_t len[] = { 0,    1,    7,    511,  512,  513,  1023,  1024,   1025,
		                      1536, 4096, 5000, 8191, 8192, 8193, 70001, 131072, 140000 };
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 1024, 512, 0, 150);
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	for (size_t i = 0; i < ARRAY_LEN(len); i++)
		for (uint64_t off = 0; off + len[i] <= b.disk.data_len;
		     off += off < 3000 ? 61 : 4093)
			assert_int_equal(read_checked(&b, off, len[i]), 0);
	for (size_t tail = 0; tail < 3000; tail += 17)
		assert_int_equal(read_checked(&b, b.disk.data_len - tail, tail), 0);
	bench_end(&b);
}

static void a_range_outside_is_refused(void **state)
{
	const struct verity_params p = small_params();
	const uint64_t end = 300 * 512;
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	assert_int_equal(read_checked(&b, end, 1), -ERANGE);
	assert_int_equal(read_checked(&b, end - 1, 2), -ERANGE);
	assert_int_equal(read_checked(&b, UINT64_MAX, 2), -ERANGE);
	assert_int_equal(read_checked(&b, end, 0), 0);
	bench_end(&b);
}

/* ------------------------------------------------------------------------------------------------
 * a medium that lies */

/* Reads everything in pieces of len; returns how many of them failed, each with -EBADMSG. */
static unsigned failed_reads(struct bench *b, size_t len)
{
	unsigned cnt = 0;

	for (uint64_t off = 0; off < b->disk.data_len; off += len) {
		int r = read_checked(b, off, MIN(len, b->disk.data_len - off));

		assert_true(r == 0 || r == -EBADMSG);
		cnt += r != 0;
	}
	return cnt;
}

static void a_flipped_data_bit_never_reaches_a_reader(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	for (size_t at = 0; at < b.disk.data_len; at++) {
		uint64_t blk_off = round_down(at, 512);

		b.data_medium.flip_at = at;
		b.failure_cnt = 0;
		assert_int_equal(read_checked(&b, blk_off, 512), -EBADMSG);
		assert_int_equal(b.failure_cnt, 1);
		assert_int_equal(b.failure.blk, at / 512);
		if (at % 4099 == 0)
			assert_int_equal(failed_reads(&b, 512), 1);
		if (at % 4099 == 1) /* a block lies in one piece of 700 bytes, or in two */
			assert_int_equal(failed_reads(&b, 700),
			                 blk_off / 700 == (blk_off + 511) / 700 ? 1 : 2);
	}
	b.data_medium.flip_at = SIZE_MAX;
	assert_int_equal(failed_reads(&b, 700), 0);
	bench_end(&b);
}

static void a_flipped_tree_bit_never_reaches_a_reader(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	for (size_t at = b.disk.tree_off; at < b.disk.area_len; at++) {
		int r;

		b.hash_medium.flip_at = at;
		r = bench_open(&b);
		assert_true(r == 0 || r == -EBADMSG);
		assert_true(r || failed_reads(&b, 512) > 0);
		bench_close(&b);
	}
	bench_end(&b);
}

static void a_flipped_superblock_bit_is_refused_or_harmless(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	for (size_t at = 0; at < VERITY_SUPERBLOCK_LEN; at++) {
		int r;

		b.hash_medium.flip_at = at;
		r = bench_open(&b);
		if (at >= 16 && at < 32) { /* the UUID, which proves nothing */
			assert_int_equal(r, 0);
			assert_int_equal(failed_reads(&b, 4096), 0);
		} else {
			assert_true(r == -EBADMSG || r == -EUCLEAN || r == -EOPNOTSUPP ||
			            r == -ENOENT);
		}
		bench_close(&b);
	}
	bench_end(&b);
}

static void a_cut_medium_never_gives_wrong_bytes(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;
	struct blk *cut = NULL;

	(void)state;
	bench_make(&b, &p, 0);
	/* shorter from the start: refused */
	for (size_t len = 0; len < b.disk.data_len; len += len % 512 ? 511 : 1) {
		assert_int_equal(blk_sub(b.data, 0, len, "cut", &cut, NULL), 0);
		assert_int_equal(verity_open(cut, b.hash, NULL, b.disk.root, b.disk.root_len, NULL,
		                             &b.v, &b.d),
		                 -EUCLEAN);
		blk_close(cut);
	}
	for (size_t len = 0; len < b.disk.area_len; len += len % 512 ? 511 : 1) {
		assert_int_equal(blk_sub(b.hash, 0, len, "cut", &cut, NULL), 0);
		assert_int_equal(verity_open(b.data, cut, NULL, b.disk.root, b.disk.root_len, NULL,
		                             &b.v, &b.d),
		                 -EUCLEAN);
		blk_close(cut);
	}
	/* shrunk behind our back: an error for what is gone, the rest stays */
	b.opt.cache_len = 1;
	bench_must_open(&b);
	for (size_t len = 0; len <= b.disk.data_len; len += 512) {
		b.data_medium.cut_at = len;
		for (uint64_t off = 0; off < b.disk.data_len; off += 512)
			assert_int_equal(read_checked(&b, off, 512), off < len ? 0 : -EIO);
	}
	for (size_t len = 0; len <= b.disk.area_len; len += 512) {
		b.hash_medium.cut_at = len;
		for (uint64_t off = 0; off < b.disk.data_len; off += 2048) {
			int r = read_checked(&b, off, 2048);

			assert_true(r == -EIO || (r == 0 && len > b.disk.tree_off));
		}
	}
	bench_end(&b);
}

static void a_failed_read_is_told_and_forgotten(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	for (int on_hash = 0; on_hash < 2; on_hash++) {
		struct medium *m = on_hash ? &b.hash_medium : &b.data_medium;
		bool ended = false;

		for (unsigned long k = 1; !ended; k++) {
			int r;

			m->read_cnt = 0;
			m->fail_at = k;
			b.failure_cnt = 0;
			r = bench_open(&b);
			if (!r)
				r = read_checked(&b, 300, 100000);
			ended = m->read_cnt < k;
			assert_int_equal(r, ended ? 0 : -EIO);
			if (r && k > 1) { /* the first one is the superblock's */
				assert_int_equal(b.failure_cnt, 1);
				assert_int_equal(b.failure.kind, VERITY_FAILURE_MEDIA);
				assert_int_equal(b.failure.err, -EIO);
			}
			if (r)
				assert_non_null(strstr(b.d.text, on_hash ? "hash" : "data"));
			m->fail_at = 0;
			if (b.v)
				assert_int_equal(read_checked(&b, 300, 100000), 0);
			bench_close(&b);
		}
	}
	bench_end(&b);
}

static void every_failed_allocation_is_told(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;
	unsigned long k = 0;
	int r;

	(void)state;
	bench_make(&b, &p, 4096);
	do {
		support_fail_allocation(++k);
		b.d = (struct diag)DIAG_INIT;
		r = bench_open(&b);
		if (!r)
			r = read_checked(&b, 300, 100000);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM || r == -EIO); /* EIO: inside OpenSSL */
		assert_int_equal(b.d.err, r);
		bench_close(&b);
	} while (r);
	assert_true(k > 10);
	bench_end(&b);
}

static void a_changing_medium_gives_true_bytes_or_none(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;
	unsigned good = 0, bad = 0;

	(void)state;
	bench_make(&b, &p, 1024);
	bench_must_open(&b);
	b.data_medium.fickle = true;
	b.hash_medium.fickle = true;
	for (unsigned i = 0; i < 4000; i++) {
		uint64_t off = mix(2 * i) % b.disk.data_len;
		int r = read_checked(&b, off, mix(2 * i + 1) % MIN(3000, b.disk.data_len - off));

		assert_true(r == 0 || r == -EBADMSG);
		good += r == 0;
		bad += r != 0;
	}
	assert_true(good > 100 && bad > 100);
	b.data_medium.fickle = false;
	b.hash_medium.fickle = false;
	assert_int_equal(failed_reads(&b, 512), 0);
	bench_end(&b);
}

/* ------------------------------------------------------------------------------------------------
 * what is told */

static void a_wrong_root_hash_is_told_in_full(void **state)
{
	static const uint64_t cnt[] = { 1, 2, 300 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cnt); i++) {
		const struct verity_params p =
		        verity_disk_params(HASH_SHA256, 1, 512, 512, 32, cnt[i]);
		char found[65], expected[65];
		struct bench b;

		bench_make(&b, &p, 0);
		hex_encode(b.disk.root, 32, found);
		b.disk.root[31] ^= 1;
		hex_encode(b.disk.root, 32, expected);
		assert_int_equal(bench_open(&b), -EBADMSG);
		assert_non_null(strstr(b.d.text, found));
		assert_non_null(strstr(b.d.text, expected));
		assert_non_null(strstr(b.d.text, "does not match the root hash"));
		assert_null(b.v);
		assert_int_equal(b.failure_cnt, 1);
		assert_int_equal(b.failure.level, cnt[i] == 1 ? -1 : cnt[i] == 2 ? 0 : 2);
		assert_int_equal(b.failure.data_len, cnt[i] * 512);
		bench_end(&b);
	}
}

static void a_root_hash_of_another_length_is_refused(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	b.disk.root_len = 20;
	assert_int_equal(bench_open(&b), -EINVAL);
	assert_string_equal(b.d.text, "the root hash has 20 bytes, that of sha256 has 32");
	bench_end(&b);
}

/* The failing block's level, index, and the data that hangs on it. */
static void a_failure_names_its_place(void **state)
{
	static const struct {
		int level;
		uint64_t blk, first, cnt;
	} cases[] = {
		{ -1, 0, 0, 1 },  { -1, 17, 17, 1 },  { -1, 299, 299, 1 },
		{ 0, 0, 0, 16 },  { 0, 17, 272, 16 }, { 0, 18, 288, 12 },
		{ 1, 0, 0, 256 }, { 1, 1, 256, 44 },  { 2, 0, 0, 300 },
	};
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t at = cases[i].blk * 512 + 5;
		bool lies_in_data = cases[i].level < 0;
		uint8_t digest[HASH_MAX_LEN];

		if (!lies_in_data)
			at += b.disk.tree_off + b.disk.geo.level_blk[cases[i].level] * 512;
		b.data_medium.flip_at = lies_in_data ? at : SIZE_MAX;
		b.hash_medium.flip_at = lies_in_data ? SIZE_MAX : at;
		b.failure_cnt = 0;
		if (bench_open(&b) == 0)
			assert_int_equal(read_checked(&b, cases[i].first * 512, 512), -EBADMSG);
		assert_int_equal(b.failure_cnt, 1);
		assert_int_equal(b.failure.kind, VERITY_FAILURE_PROOF);
		assert_int_equal(b.failure.err, -EBADMSG);
		assert_int_equal(b.failure.level, cases[i].level);
		assert_int_equal(b.failure.blk, cases[i].blk);
		assert_int_equal(b.failure.data_off, cases[i].first * 512);
		assert_int_equal(b.failure.data_len, cases[i].cnt * 512);
		assert_int_equal(b.failure.disk_off, round_down(at, 512));
		assert_int_equal(b.failure.digest_len, 32);
		memcpy(digest, b.failure.expected, 32);
		assert_memory_not_equal(digest, b.failure.found, 32);
		bench_close(&b);
	}
	bench_end(&b);
}

static void a_failure_in_a_partition_names_the_disk_offset(void **state)
{
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 512, 512, 32, 40);
	const size_t data_at = 3 * 512, hash_at = 100 * 512, len = 200 * 512;
	struct blk *whole = NULL, *data = NULL, *hash = NULL;
	uint8_t *image = calloc(1, len);
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	memcpy(image + data_at, b.disk.data, b.disk.data_len);
	memcpy(image + hash_at, b.disk.area, b.disk.area_len);
	image[data_at + 17 * 512 + 99] ^= 4;
	assert_int_equal(blk_of_memory(image, len, "disk.img", &whole), 0);
	assert_int_equal(blk_sub(whole, data_at, b.disk.data_len, "partition 1", &data, NULL), 0);
	assert_int_equal(blk_sub(whole, hash_at, b.disk.area_len, "partition 2", &hash, NULL), 0);
	assert_int_equal(verity_open(data, hash, NULL, b.disk.root, 32, &b.opt, &b.v, &b.d), 0);
	assert_int_equal(vblk_read(b.v, 0, b.buf, b.disk.data_len, &b.d), -EBADMSG);
	assert_int_equal(b.failure.disk_off, data_at + 17 * 512);
	assert_int_equal(b.failure.area_off, 17 * 512);
	assert_int_equal(b.failure.data_off, 17 * 512);
	assert_non_null(strstr(b.d.text, "partition 1"));
	assert_non_null(strstr(b.d.text, "data block 17 (offset 8704) does not match"));
	bench_close(&b);
	blk_close(data);
	blk_close(hash);
	blk_close(whole);
	free(image);
	bench_end(&b);
}

static void a_failed_run_is_told_as_a_run(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	b.data_medium.cut_at = 0;
	assert_int_equal(read_checked(&b, 512 * 10, 512 * 20), -EIO);
	assert_int_equal(b.failure.kind, VERITY_FAILURE_MEDIA);
	assert_int_equal(b.failure.level, -1);
	assert_int_equal(b.failure.blk, 10);
	assert_int_equal(b.failure.data_off, 512 * 10);
	assert_int_equal(b.failure.data_len, 512 * 20);
	assert_int_equal(b.failure.digest_len, 0);
	bench_end(&b);
}

static void statistics_count_the_work(void **state)
{
	const struct verity_params p = small_params();
	struct vblk_stats s;
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	assert_int_equal(read_checked(&b, 0, b.disk.data_len), 0);
	vblk_get_stats(b.v, &s);
	assert_int_equal(s.data_bytes, b.disk.data_len);
	assert_int_equal(s.data_blks, 300);
	assert_int_equal(s.hash_blks, b.disk.geo.tree_blk_cnt);
	assert_int_equal(read_checked(&b, 0, b.disk.data_len), 0);
	b.data_medium.flip_at = 7;
	assert_int_equal(read_checked(&b, 0, 1), -EBADMSG);
	b.data_medium.cut_at = 0;
	assert_int_equal(read_checked(&b, 0, 1), -EIO);
	vblk_get_stats(b.v, &s);
	assert_int_equal(s.hash_blks, b.disk.geo.tree_blk_cnt);
	assert_int_equal(s.data_bytes, 2 * b.disk.data_len);
	assert_int_equal(s.proof_failures, 1);
	assert_int_equal(s.media_failures, 1);
	assert_true(s.cache_hits >= 19);
	bench_end(&b);
}

/* ------------------------------------------------------------------------------------------------
 * reads of the medium */

static void no_block_is_read_twice_for_one_request(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
	} range[] = { { 0, 4000 * 512 }, { 100, 3999 * 512 }, { 77 * 512, 300 * 512 },
		      { 513, 2 },        { 511, 2 },          { 600, 1500 } };
	/* 4000 data blocks: more than one round of 256; no hash block is cached */
	const struct verity_params p = verity_disk_params(HASH_SHA512, 1, 512, 512, 0, 4000);
	struct bench b;

	(void)state;
	bench_make(&b, &p, 1);
	bench_must_open(&b);
	b.data_medium.counting = true;
	b.hash_medium.counting = true;
	for (size_t i = 0; i < ARRAY_LEN(range); i++) {
		memset(b.data_medium.read_of, 0, sizeof(b.data_medium.read_of));
		memset(b.hash_medium.read_of, 0, sizeof(b.hash_medium.read_of));
		assert_int_equal(read_checked(&b, range[i].off, range[i].len), 0);
		for (size_t j = 0; j < 4000; j++) {
			bool wanted = j >= range[i].off / 512 &&
			              j <= (range[i].off + range[i].len - 1) / 512;

			assert_int_equal(b.data_medium.read_of[j], wanted);
			assert_true(b.hash_medium.read_of[j] <= 1);
		}
	}
	bench_end(&b);
}

static void whole_blocks_are_read_in_one_go(void **state)
{
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	bench_must_open(&b);
	b.data_medium.read_cnt = 0;
	assert_int_equal(read_checked(&b, 512, 256 * 512), 0);
	assert_int_equal(b.data_medium.read_cnt, 1);
	bench_end(&b);
}

static void proven_hash_blocks_are_remembered_up_to_the_bound(void **state)
{
	const struct verity_params p = small_params();
	struct vblk_stats s;
	struct bench b;

	(void)state;
	for (uint64_t cache_blks = 0; cache_blks <= 24; cache_blks++) {
		bench_make(&b, &p, cache_blks ? cache_blks * 512 : 1);
		bench_must_open(&b);
		for (unsigned round = 0; round < 3; round++)
			assert_int_equal(failed_reads(&b, 512), 0);
		vblk_get_stats(b.v, &s);
		if (cache_blks >= 22) /* the whole tree fits */
			assert_int_equal(s.hash_blks, 22);
		if (cache_blks == 0)
			assert_int_equal(s.hash_blks, 3 + 3 * 300 * 2);
		bench_end(&b);
	}
}

/* ------------------------------------------------------------------------------------------------
 * geometry */

/* The area with another block count in its superblock, and room behind the tree. */
static struct blk *area_with_count(const struct bench *b, uint64_t cnt, uint8_t *area, size_t len)
{
	struct verity_params p = b->disk.params;
	struct blk *blk = NULL;

	memset(area, 0, len);
	memcpy(area, b->disk.area, b->disk.area_len);
	p.data_blk_cnt = cnt;
	verity_superblock_encode(&p, area);
	assert_int_equal(blk_of_memory(area, len, "hash", &blk), 0);
	return blk;
}

/* Opens a disk of true_cnt data blocks with every count in its superblock. */
static void try_counts(uint64_t true_cnt)
{
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 512, 512, 32, true_cnt);
	static uint8_t area[512 * 200], data[512 * 1000];
	struct blk *big = NULL;
	struct bench b;

	bench_make(&b, &p, 0);
	assert_int_equal(blk_of_memory(data, sizeof(data), "data", &big), 0);
	for (uint64_t cnt = 1; cnt <= 1000; cnt++) {
		struct blk *hash = area_with_count(&b, cnt, area, sizeof(area));
		int r = verity_open(big, hash, NULL, b.disk.root, 32, NULL, &b.v, &b.d);

		/* 16 takes level 0 for the data, 1 the top block; both are proven, neither is
		 * what was meant, and only the caller can know */
		if (cnt == true_cnt || cnt == 16)
			assert_int_equal(r, 0);
		else if (cnt == 1) /* its only data block is read at once */
			assert_int_equal(r, -EBADMSG);
		else
			assert_true(r == -EUCLEAN || r == -EBADMSG);
		if (r == 0)
			assert_int_equal(vblk_params(b.v)->data_blk_cnt, cnt);
		bench_close(&b);
		blk_close(hash);
	}
	blk_close(big);
	bench_end(&b);
}

static void a_count_that_cuts_or_extends_the_tree_is_refused(void **state)
{
	(void)state;
	try_counts(256);
	try_counts(250);
}

static void a_level_taken_for_data_shows_in_the_parameters_only(void **state)
{
	const struct verity_params p = verity_disk_params(HASH_SHA256, 1, 4096, 4096, 32, 256);
	static uint8_t area[4096 * 8];
	struct blk *hash, *data = NULL;
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	/* the two level-0 blocks, behind superblock and top block, as the data */
	assert_int_equal(blk_of_memory(b.disk.area + 2 * 4096, 2 * 4096, "data", &data), 0);
	hash = area_with_count(&b, 2, area, sizeof(area));
	assert_int_equal(verity_open(data, hash, NULL, b.disk.root, 32, NULL, &b.v, &b.d), 0);
	assert_int_equal(vblk_read(b.v, 0, b.buf, 2 * 4096, &b.d), 0);
	assert_memory_equal(b.buf, b.disk.area + 2 * 4096, 2 * 4096);
	assert_int_equal(vblk_params(b.v)->data_blk_cnt, 2);
	bench_close(&b);
	blk_close(hash);
	blk_close(data);
	bench_end(&b);
}

static void sizes_that_overflow_are_refused(void **state)
{
	static const uint64_t cnt[] = { UINT64_MAX,      UINT64_MAX / 512,  INT64_MAX / 512 + 1,
		                        INT64_MAX / 512, UINT64_C(1) << 40, 301 };
	const struct verity_params p = small_params();
	static uint8_t area[512 * 30];
	struct bench b;

	(void)state;
	bench_make(&b, &p, 0);
	for (size_t i = 0; i < ARRAY_LEN(cnt); i++) {
		struct blk *hash = area_with_count(&b, cnt[i], area, sizeof(area));

		assert_int_equal(verity_open(b.data, hash, NULL, b.disk.root, 32, NULL, &b.v, &b.d),
		                 -EUCLEAN);
		blk_close(hash);
	}
	bench_end(&b);
}

/* ------------------------------------------------------------------------------------------------
 * threads */

struct racer {
	struct bench *b;
	unsigned seed, good, bad;
};

static void *read_at_random(void *arg)
{
	struct racer *r = arg;
	static const size_t max_len = 9000;
	uint8_t *buf = malloc(max_len);

	for (unsigned i = 0; buf && i < 600; i++) {
		uint64_t off = mix(r->seed + 2 * i) % (r->b->disk.data_len - max_len);
		size_t len = mix(r->seed + 2 * i + 1) % max_len;
		int err = vblk_read(r->b->v, off, buf, len, NULL);

		if (err == 0 && memcmp(buf, r->b->disk.data + off, len) == 0)
			r->good++;
		else if (err == -EBADMSG)
			r->bad++;
	}
	free(buf);
	return NULL;
}

static void race(struct bench *b, bool fickle)
{
	struct racer racer[8];
	pthread_t thread[ARRAY_LEN(racer)];
	unsigned good = 0, bad = 0;

	b->data_medium.fickle = fickle;
	b->hash_medium.fickle = fickle;
	for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
		racer[i] = (struct racer){ .b = b, .seed = (unsigned)i * 10000 };
		assert_int_equal(pthread_create(&thread[i], NULL, read_at_random, &racer[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
		pthread_join(thread[i], NULL);
		good += racer[i].good;
		bad += racer[i].bad;
	}
	assert_int_equal(good + bad, 600 * ARRAY_LEN(racer));
	assert_true(fickle ? good > 0 && bad > 0 : bad == 0);
}

static void eight_readers_share_two_cached_blocks(void **state)
{
	static const uint64_t cache_len[] = { 1, 512, 2 * 512, 4096, 0 };
	const struct verity_params p = small_params();
	struct bench b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cache_len); i++) {
		bench_make(&b, &p, cache_len[i]);
		bench_must_open(&b);
		race(&b, false);
		race(&b, true);
		race(&b, false);
		bench_end(&b);
	}
}

static void *read_all_of_it(void *arg)
{
	struct racer *r = arg;
	size_t len = r->b->disk.data_len;
	uint8_t *buf = malloc(len);

	if (buf && vblk_read(r->b->v, 0, buf, len, NULL) == 0)
		r->good = memcmp(buf, r->b->disk.data, len) == 0;
	free(buf);
	return NULL;
}

static void no_hash_block_is_read_twice_however_many_need_it_at_once(void **state)
{
	const struct verity_params p = small_params();
	struct racer racer[8];
	pthread_t thread[ARRAY_LEN(racer)];
	struct vblk_stats before, after;
	struct bench b;

	(void)state;
	for (int round = 0; round < 20; round++) {
		bench_make(&b, &p, 0);
		bench_must_open(&b);
		vblk_get_stats(b.v, &before);
		for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
			racer[i] = (struct racer){ .b = &b };
			assert_int_equal(
			        pthread_create(&thread[i], NULL, read_all_of_it, &racer[i]), 0);
		}
		for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
			pthread_join(thread[i], NULL);
			assert_int_equal(racer[i].good, 1);
		}
		vblk_get_stats(b.v, &after);
		assert_int_equal(after.hash_blks, b.disk.geo.tree_blk_cnt);
		assert_true(before.hash_blks < after.hash_blks);
		bench_end(&b);
	}
}

static void a_tests_vblk_has_no_tree(void **state)
{
	struct vblk *v = test_vblk_of_memory("proven?", 7);
	struct vblk_stats s;
	char buf[8] = "";

	(void)state;
	assert_int_equal(vblk_size(v), 7);
	assert_null(vblk_params(v));
	assert_int_equal(vblk_read(v, 2, buf, 3, NULL), 0);
	assert_string_equal(buf, "ove");
	assert_int_equal(vblk_read(v, 5, buf, 3, NULL), -ERANGE);
	vblk_get_stats(v, &s);
	assert_int_equal(s.data_blks, 0);
	vblk_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_golden_disk_reads_back),
		cmocka_unit_test(tree_without_superblock_reads_back),
		cmocka_unit_test(a_single_block_needs_no_more_than_a_superblock),
		cmocka_unit_test(any_range_reads_true),
		cmocka_unit_test(a_range_outside_is_refused),
		cmocka_unit_test(a_flipped_data_bit_never_reaches_a_reader),
		cmocka_unit_test(a_flipped_tree_bit_never_reaches_a_reader),
		cmocka_unit_test(a_flipped_superblock_bit_is_refused_or_harmless),
		cmocka_unit_test(a_cut_medium_never_gives_wrong_bytes),
		cmocka_unit_test(a_failed_read_is_told_and_forgotten),
		cmocka_unit_test(every_failed_allocation_is_told),
		cmocka_unit_test(a_changing_medium_gives_true_bytes_or_none),
		cmocka_unit_test(a_wrong_root_hash_is_told_in_full),
		cmocka_unit_test(a_root_hash_of_another_length_is_refused),
		cmocka_unit_test(a_failure_names_its_place),
		cmocka_unit_test(a_failure_in_a_partition_names_the_disk_offset),
		cmocka_unit_test(a_failed_run_is_told_as_a_run),
		cmocka_unit_test(statistics_count_the_work),
		cmocka_unit_test(no_block_is_read_twice_for_one_request),
		cmocka_unit_test(whole_blocks_are_read_in_one_go),
		cmocka_unit_test(proven_hash_blocks_are_remembered_up_to_the_bound),
		cmocka_unit_test(a_count_that_cuts_or_extends_the_tree_is_refused),
		cmocka_unit_test(a_level_taken_for_data_shows_in_the_parameters_only),
		cmocka_unit_test(sizes_that_overflow_are_refused),
		cmocka_unit_test(eight_readers_share_two_cached_blocks),
		cmocka_unit_test(no_hash_block_is_read_twice_however_many_need_it_at_once),
		cmocka_unit_test(a_tests_vblk_has_no_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
