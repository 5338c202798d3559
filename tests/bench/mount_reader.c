/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads from a mounted tree the way model loaders do, and prints what it took as one JSON object.
 * Decides the patterns only; who is mounted, what is cached and how often is the business of
 * mount_cases.py.
 *
 *   mount_reader seq FILE THREADS      each thread preads its share in 1 MiB pieces, in order
 *   mount_reader mmap FILE THREADS     threads copy "tensors" of 1 to 16 MiB out of one mapping
 *   mount_reader random FILE THREADS   each thread preads 4 KiB at 20 000 places
 *   mount_reader tree DIR              lists DIR and stats every entry
 */
#include "base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE_LEN     (1 * MIB)
#define MAX_SLICE_LEN (16 * MIB)
#define RANDOM_LEN    4096
#define RANDOM_CNT    20000
#define MAX_THREADS   64

struct job {
	const char *path;
	unsigned thread_cnt;
	uint64_t size;
	const uint8_t *map;
	atomic_uint_fast64_t next_slice;
};

struct thread {
	struct job *job;
	unsigned number;
	pthread_t id;
	uint8_t *buf;
	uint64_t bytes;
	double *latency; /* seconds of each random read */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	fprintf(stderr, "mount_reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

/* ---- patterns ---- */

static void *read_in_order(void *arg)
{
	struct thread *t = arg;
	uint64_t share = round_up(div_up(t->job->size, t->job->thread_cnt), PIECE_LEN);
	uint64_t off = t->number * share, end = MIN(off + share, t->job->size);
	int fd = open_file(t->job->path);

	for (ssize_t n; off < end; off += (uint64_t)n, t->bytes += (uint64_t)n) {
		n = pread(fd, t->buf, MIN(PIECE_LEN, end - off), (off_t)off);
		if (n <= 0)
			die(t->job->path);
	}
	close(fd);
	return NULL;
}

/* As large as tensors are, and different each: 1, 2, 4, 8, 16, 1, ... MiB. */
static uint64_t slice_len(uint64_t n)
{
	return PIECE_LEN << n % 5;
}

static void *copy_slices(void *arg)
{
	struct thread *t = arg;
	struct job *job = t->job;

	for (;;) {
		uint64_t n = atomic_fetch_add(&job->next_slice, 1), off, len;

		off = n / 5 * (31 * MIB) + (PIECE_LEN << n % 5) - PIECE_LEN;
		if (off >= job->size)
			return NULL;
		len = MIN(slice_len(n), job->size - off);
		memcpy(t->buf, job->map + off, len);
		t->bytes += len;
	}
}

static void *read_at_random(void *arg)
{
	struct thread *t = arg;
	uint64_t state = 88172645463325252u + t->number;
	int fd = open_file(t->job->path);

	for (size_t i = 0; i < RANDOM_CNT; i++) {
		double start;
		off_t off;

		state ^= state << 13; /* xorshift64 */
		state ^= state >> 7;
		state ^= state << 17;
		off = (off_t)(state % (t->job->size / RANDOM_LEN) * RANDOM_LEN);
		start = now();
		if (pread(fd, t->buf, RANDOM_LEN, off) != RANDOM_LEN)
			die(t->job->path);
		t->latency[i] = now() - start;
		t->bytes += RANDOM_LEN;
	}
	close(fd);
	return NULL;
}

/* ---- running one ---- */

static double run(struct job *job, struct thread *threads, void *(*pattern)(void *))
{
	double start = now();

	for (unsigned i = 0; i < job->thread_cnt; i++) {
		threads[i] = (struct thread){ .job = job, .number = i };
		threads[i].buf = malloc(MAX_SLICE_LEN);
		threads[i].latency = calloc(RANDOM_CNT, sizeof(double));
		if (!threads[i].buf || !threads[i].latency)
			die("memory");
		/* touched before the clock starts */
		memset(threads[i].buf, 1, MAX_SLICE_LEN);
	}
	start = now();
	for (unsigned i = 0; i < job->thread_cnt; i++)
		if (pthread_create(&threads[i].id, NULL, pattern, &threads[i]) != 0)
			die("threads");
	for (unsigned i = 0; i < job->thread_cnt; i++)
		pthread_join(threads[i].id, NULL);
	return now() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_latencies(const struct thread *threads, unsigned cnt)
{
	size_t all = (size_t)cnt * RANDOM_CNT;
	double *latency = calloc(all, sizeof(double));

	if (!latency)
		die("memory");
	for (unsigned i = 0; i < cnt; i++)
		memcpy(latency + (size_t)i * RANDOM_CNT, threads[i].latency,
		       RANDOM_CNT * sizeof(double));
	qsort(latency, all, sizeof(double), by_value);
	printf(", \"p50_us\": %.2f, \"p99_us\": %.2f", latency[all / 2] * 1e6,
	       latency[all * 99 / 100] * 1e6);
	free(latency);
}

static void read_file(const char *mode, const char *path, unsigned thread_cnt)
{
	static struct thread threads[MAX_THREADS];
	struct job job = { .path = path, .thread_cnt = thread_cnt };
	bool is_random = strcmp(mode, "random") == 0;
	bool is_mmap = strcmp(mode, "mmap") == 0;
	int fd = open_file(path);
	struct stat st;
	uint64_t bytes = 0;
	double seconds;

	if (fstat(fd, &st) < 0)
		die(path);
	job.size = (uint64_t)st.st_size;
	if (is_mmap) {
		job.map = mmap(NULL, job.size, PROT_READ, MAP_SHARED, fd, 0);
		if (job.map == MAP_FAILED)
			die(path);
	}
	seconds = run(&job, threads,
	              is_random ? read_at_random
	              : is_mmap ? copy_slices
	                        : read_in_order);
	for (unsigned i = 0; i < thread_cnt; i++)
		bytes += threads[i].bytes;
	printf("{\"bytes\": %llu, \"seconds\": %.6f", (unsigned long long)bytes, seconds);
	if (is_random)
		print_latencies(threads, thread_cnt);
	puts("}");
	close(fd);
}

static void read_tree(const char *path)
{
	double start = now(), listed;
	uint64_t entry_cnt = 0;
	DIR *dir = opendir(path);
	struct dirent *e;
	struct stat st;

	if (!dir)
		die(path);
	while ((e = readdir(dir)) != NULL) {
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			die(e->d_name);
		entry_cnt++;
	}
	listed = now() - start;
	closedir(dir);
	printf("{\"entries\": %llu, \"seconds\": %.6f}\n", (unsigned long long)entry_cnt, listed);
}

int main(int argc, char **argv)
{
	unsigned thread_cnt = argc > 3 ? (unsigned)atoi(argv[3]) : 1;

	if (argc == 3 && strcmp(argv[1], "tree") == 0) {
		read_tree(argv[2]);
		return 0;
	}
	if (argc < 3 || thread_cnt < 1 || thread_cnt > MAX_THREADS) {
		fprintf(stderr, "usage: mount_reader seq|mmap|random FILE [THREADS] | tree DIR\n");
		return 2;
	}
	read_file(argv[1], argv[2], thread_cnt);
	return 0;
}
