/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees made and bytes proven by several threads, without a file system around them. Rounds, turns
 * and ratios are the business of tests/bench/run.py.
 *
 *   bench_verity hash THREADS               leaves alone, from memory: bytes per second
 *   bench_verity build THREADS              the whole tree, from and to memory: bytes per second
 *   bench_verity prove THREADS READ_LEN     bytes read through the tree: bytes per second
 *   bench_verity tree THREADS DATA HASH     writes superblock and tree of a file, prints the root
 *   bench_verity check THREADS DATA HASH ROOT   reads all of DATA and proves it
 */
#include "verity.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define BLOCK_LEN   4096
#define PIECE_LEN   MIB
#define PIECE_BLKS  (PIECE_LEN / BLOCK_LEN)
#define MEMORY_LEN  (256 * MIB)
#define MAX_THREADS 64

/* Threads take the next piece of the data until there is none. */
struct bench {
	void (*work)(struct bench *b, uint64_t off, size_t len, uint8_t *buf);
	unsigned thread_cnt;
	uint64_t data_len;
	atomic_ullong next;

	struct verity_params params;
	uint8_t *memory, *tree; /* data and its tree, where no files are named */
	uint8_t root[HASH_MAX_LEN];
	struct blk *data, *hash;
	int hash_fd;
	size_t read_len;
	struct hash_salted *hasher;
	struct verity_build *build;
	struct vblk *v;
};

static void must(int r, const struct diag *d)
{
	if (r) {
		fprintf(stderr, "bench_verity: %s\n", d && d->text[0] ? d->text : strerror(-r));
		exit(1);
	}
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- pieces of work ---- */

static void hash_piece(struct bench *b, uint64_t off, size_t len, uint8_t *buf)
{
	must(hash_salted_blocks(b->hasher, b->memory + off, BLOCK_LEN, len / BLOCK_LEN, buf,
	                        HASH_SHA256_LEN),
	     NULL);
}

static void build_piece(struct bench *b, uint64_t off, size_t len, uint8_t *buf)
{
	struct diag d = DIAG_INIT;
	const uint8_t *from = b->memory ? b->memory + off : buf;

	if (!b->memory)
		must(blk_read(b->data, off, buf, len, &d), &d);
	must(verity_build_add(b->build, off / BLOCK_LEN, len / BLOCK_LEN, from, &d), &d);
}

static void prove_piece(struct bench *b, uint64_t off, size_t len, uint8_t *buf)
{
	struct diag d = DIAG_INIT;

	for (size_t at = 0; at < len; at += b->read_len)
		must(vblk_read(b->v, off + at, buf, MIN(b->read_len, len - at), &d), &d);
}

static void *thread_main(void *arg)
{
	struct bench *b = arg;
	uint8_t *buf = malloc(PIECE_LEN);

	must(buf ? 0 : -ENOMEM, NULL);
	for (uint64_t off; (off = atomic_fetch_add(&b->next, PIECE_LEN)) < b->data_len;)
		b->work(b, off, (size_t)MIN(PIECE_LEN, b->data_len - off), buf);
	free(buf);
	return NULL;
}

/* Seconds for all pieces, by all threads. */
static double run_threads(struct bench *b)
{
	pthread_t thread[MAX_THREADS];
	double start = now_s();

	atomic_store(&b->next, 0);
	for (unsigned i = 0; i < b->thread_cnt; i++)
		must(-pthread_create(&thread[i], NULL, thread_main, b), NULL);
	for (unsigned i = 0; i < b->thread_cnt; i++)
		pthread_join(thread[i], NULL);
	return now_s() - start;
}

/* ---- where the tree goes ---- */

static int to_memory(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct bench *b = ctx;

	(void)d;
	memcpy(b->tree + off, buf, len);
	return 0;
}

static int to_file(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct bench *b = ctx;
	ssize_t n = pwrite(b->hash_fd, buf, len, (off_t)(verity_tree_off(&b->params) + off));

	return n == (ssize_t)len ? 0 : diag_set(d, -EIO, "cannot write the hash area");
}

static double build_tree(struct bench *b, verity_sink sink)
{
	struct diag d = DIAG_INIT;
	double s;

	b->params.data_blk_cnt = b->data_len / BLOCK_LEN;
	must(verity_build_new(&b->params, sink, b, &b->build, &d), &d);
	b->work = build_piece;
	s = run_threads(b);
	must(verity_build_finish(b->build, b->root, &d), &d);
	verity_build_free(b->build);
	return s;
}

/* ---- what is measured ---- */

static void make_memory(struct bench *b)
{
	struct verity_geometry geo;

	b->data_len = MEMORY_LEN;
	b->params.data_blk_cnt = b->data_len / BLOCK_LEN;
	must(verity_geometry_init(&geo, &b->params, NULL), NULL);
	b->memory = malloc(MEMORY_LEN);
	b->tree = malloc(geo.tree_len);
	must(b->memory && b->tree ? 0 : -ENOMEM, NULL);
	for (uint64_t i = 0; i < MEMORY_LEN; i++)
		b->memory[i] = (uint8_t)(i * 2654435761U >> 13);
	must(hash_salted_new(HASH_SHA256, b->params.salt, b->params.salt_len, true, &b->hasher),
	     NULL);
	must(blk_of_memory(b->memory, MEMORY_LEN, "data", &b->data), NULL);
	must(blk_of_memory(b->tree, geo.tree_len, "tree", &b->hash), NULL);
}

static double bench_memory(struct bench *b, const char *what, const char *read_len)
{
	double s;

	make_memory(b);
	if (strcmp(what, "hash") == 0) {
		b->work = hash_piece;
		return run_threads(b);
	}
	s = build_tree(b, to_memory);
	if (!read_len)
		return s;
	b->read_len = strtoul(read_len, NULL, 10);
	must(b->read_len > 0 && b->read_len <= PIECE_LEN ? 0 : -EINVAL, NULL);
	must(verity_open(b->data, b->hash, &b->params, b->root, HASH_SHA256_LEN, NULL, &b->v, NULL),
	     NULL);
	b->work = prove_piece;
	return run_threads(b);
}

static void make_tree_of_file(struct bench *b, const char *data, const char *hash)
{
	uint8_t superblock[VERITY_SUPERBLOCK_LEN];
	char hex[2 * HASH_SHA256_LEN + 1];
	struct diag d = DIAG_INIT;

	must(blk_open(data, &b->data, &d), &d);
	b->data_len = round_down(blk_size(b->data), BLOCK_LEN);
	b->hash_fd = open(hash, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	must(b->hash_fd < 0 ? -errno : 0, NULL);
	build_tree(b, to_file);
	verity_superblock_encode(&b->params, superblock);
	must(pwrite(b->hash_fd, superblock, sizeof(superblock), 0) < 0 ? -errno : 0, NULL);
	hex_encode(b->root, HASH_SHA256_LEN, hex);
	puts(hex);
}

static void check_file(struct bench *b, const char *data, const char *hash, const char *root)
{
	struct diag d = DIAG_INIT;

	must(hex_decode(root, b->root, HASH_SHA256_LEN), NULL);
	must(blk_open(data, &b->data, &d), &d);
	must(blk_open(hash, &b->hash, &d), &d);
	must(verity_open(b->data, b->hash, NULL, b->root, HASH_SHA256_LEN, NULL, &b->v, &d), &d);
	b->data_len = vblk_size(b->v);
	b->read_len = PIECE_LEN;
	b->work = prove_piece;
	run_threads(b);
}

int main(int argc, char **argv)
{
	static struct bench b = {
		.params = { .hash_type = 1,
		            .data_block_len = BLOCK_LEN,
		            .hash_block_len = BLOCK_LEN,
		            .salt_len = 32 },
	};
	const char *what = argc > 2 ? argv[1] : "";

	b.thread_cnt = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	if (b.thread_cnt < 1 || b.thread_cnt > MAX_THREADS)
		return 2;
	if (strcmp(what, "tree") == 0 && argc == 5)
		make_tree_of_file(&b, argv[3], argv[4]);
	else if (strcmp(what, "check") == 0 && argc == 6)
		check_file(&b, argv[3], argv[4], argv[5]);
	else if (((strcmp(what, "hash") == 0 || strcmp(what, "build") == 0) && argc == 3) ||
	         (strcmp(what, "prove") == 0 && argc == 4))
		printf("%.0f\n", (double)MEMORY_LEN / bench_memory(&b, what, argv[3]));
	else
		return 2;
	return 0;
}
