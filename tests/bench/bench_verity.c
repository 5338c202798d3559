/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast trees are built and bytes are proven, beside hashing alone: what the tree and its cache
 * cost. Data lies in memory, so that no disk is measured. Times are wall-clock, best of five.
 *
 *   bench_verity [THREADS]
 */
#include "verity.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define BLOCK_LEN   4096
#define PIECE_LEN   MIB
#define PIECE_BLKS  (PIECE_LEN / BLOCK_LEN)
#define DATA_LEN    (256 * MIB)
#define ROUND_CNT   5
#define MAX_THREADS 64

struct bench {
	struct verity_params params;
	uint8_t *data, *tree;
	uint8_t root[HASH_MAX_LEN];
	struct hash_salted *hasher;
	struct verity_build *build;
	struct vblk *v;
	size_t read_len;
	unsigned thread_cnt;
	void (*work)(struct bench *b, uint64_t piece, uint8_t *buf);
};

struct worker {
	struct bench *b;
	unsigned index;
};

static void must(int r)
{
	if (r) {
		fprintf(stderr, "bench_verity: error %d\n", r);
		exit(1);
	}
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void hash_piece(struct bench *b, uint64_t piece, uint8_t *buf)
{
	must(hash_salted_blocks(b->hasher, b->data + piece * PIECE_LEN, BLOCK_LEN, PIECE_BLKS, buf,
	                        HASH_SHA256_LEN));
}

static void build_piece(struct bench *b, uint64_t piece, uint8_t *buf)
{
	(void)buf;
	must(verity_build_add(b->build, piece * PIECE_BLKS, PIECE_BLKS, b->data + piece * PIECE_LEN,
	                      NULL));
}

static void copy_piece(struct bench *b, uint64_t piece, uint8_t *buf)
{
	memcpy(buf, b->data + piece * PIECE_LEN, PIECE_LEN);
	hash_piece(b, piece, buf);
}

static void read_piece(struct bench *b, uint64_t piece, uint8_t *buf)
{
	for (uint64_t at = 0; at < PIECE_LEN; at += b->read_len)
		must(vblk_read(b->v, piece * PIECE_LEN + at, buf, b->read_len, NULL));
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint8_t *buf = malloc(PIECE_LEN);

	must(buf ? 0 : -1);
	for (uint64_t i = w->index; i < DATA_LEN / PIECE_LEN; i += w->b->thread_cnt)
		w->b->work(w->b, i, buf);
	free(buf);
	return NULL;
}

/* Seconds for all pieces, by all threads. */
static double run_threads(struct bench *b)
{
	struct worker worker[MAX_THREADS];
	pthread_t thread[MAX_THREADS];
	double start = now_s();

	for (unsigned i = 0; i < b->thread_cnt; i++) {
		worker[i] = (struct worker){ b, i };
		must(pthread_create(&thread[i], NULL, work, &worker[i]));
	}
	for (unsigned i = 0; i < b->thread_cnt; i++)
		pthread_join(thread[i], NULL);
	return now_s() - start;
}

static int sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct bench *b = ctx;

	(void)d;
	memcpy(b->tree + off, buf, len);
	return 0;
}

static double run_build(struct bench *b)
{
	double s;

	must(verity_build_new(&b->params, sink, b, &b->build, NULL));
	s = run_threads(b);
	must(verity_build_finish(b->build, b->root, NULL));
	verity_build_free(b->build);
	return s;
}

static void print_best(const char *what, struct bench *b, double (*run)(struct bench *b))
{
	double best = 1e9;

	for (unsigned i = 0; i < ROUND_CNT; i++) {
		double s = run(b);

		best = MIN(best, s);
	}
	printf("%-36s %8.0f MB/s\n", what, (double)DATA_LEN / best / 1e6);
}

/* Reads of read_len with a cache for the whole tree, or for none of it. */
static void bench_reads(struct bench *b, const struct verity_geometry *geo)
{
	static const struct {
		const char *what;
		size_t len;
		uint64_t cache_len;
	} kind[] = {
		{ "prove, 1 MiB reads", MIB, 0 },
		{ "prove, 1 MiB reads, no cache", MIB, 1 },
		{ "prove, 128 KiB reads", 128 * KIB, 0 },
		{ "prove, 4 KiB reads", 4 * KIB, 0 },
		{ "prove, 4 KiB reads, no cache", 4 * KIB, 1 },
	};
	struct blk *data = NULL, *tree = NULL;

	must(blk_of_memory(b->data, DATA_LEN, "data", &data));
	must(blk_of_memory(b->tree, geo->tree_len, "tree", &tree));
	b->work = read_piece;
	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		struct verity_options opt = { .cache_len = kind[i].cache_len };

		b->read_len = kind[i].len;
		must(verity_open(data, tree, &b->params, b->root, HASH_SHA256_LEN, &opt, &b->v,
		                 NULL));
		print_best(kind[i].what, b, run_threads);
		vblk_close(b->v);
	}
	blk_close(data);
	blk_close(tree);
}

int main(int argc, char **argv)
{
	static struct bench b = {
		.params = { .hash_type = 1,
		            .data_block_len = BLOCK_LEN,
		            .hash_block_len = BLOCK_LEN,
		            .data_blk_cnt = DATA_LEN / BLOCK_LEN,
		            .salt_len = 32 },
	};
	struct verity_geometry geo;

	b.thread_cnt = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
	must(b.thread_cnt >= 1 && b.thread_cnt <= MAX_THREADS ? 0 : -1);
	must(verity_geometry_init(&geo, &b.params, NULL));
	must(hash_salted_new(HASH_SHA256, b.params.salt, b.params.salt_len, true, &b.hasher));
	b.data = malloc(DATA_LEN);
	b.tree = malloc(geo.tree_len);
	must(b.data && b.tree ? 0 : -1);
	for (uint64_t i = 0; i < DATA_LEN; i++)
		b.data[i] = (uint8_t)(i * 2654435761U >> 13);
	printf("%s, %u thread%s\n", hash_engine_name(), b.thread_cnt, b.thread_cnt > 1 ? "s" : "");
	b.work = hash_piece;
	print_best("hash the leaves, nothing else", &b, run_threads);
	b.work = build_piece;
	print_best("build", &b, run_build);
	b.work = copy_piece;
	print_best("copy and hash the leaves", &b, run_threads);
	bench_reads(&b, &geo);
	hash_salted_free(b.hasher);
	free(b.data);
	free(b.tree);
	return 0;
}
