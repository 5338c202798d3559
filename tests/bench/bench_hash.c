/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast each SHA-256 engine hashes salted blocks on one core, beside OpenSSL. Engines take turns
 * within a round, so that a change of clock or a busy neighbour hits all of them; the ratio is the
 * median of the rounds' own ratios. White-box (hash_int.h).
 *
 *   bench_hash [--json] [BLOCK_LEN [SALT_LEN [ROUNDS [BLOCKS_PER_CALL]]]]
 */
#include "hash_int.h"

#include <stdio.h>
#include <time.h>

#define WORKING_SET   (4 * MIB) /* as after a read: in a cache, not in the first one */
#define MIN_TIME_NS   INT64_C(50000000)
#define MAX_ROUNDS    99
#define MAX_ENGINES   8
#define MAX_BLOCK_CNT (WORKING_SET / 512)

struct setup {
	bool json;
	size_t block_len, salt_len, round_cnt, call_cnt;
};

struct result {
	double rate[MAX_ROUNDS], ratio[MAX_ROUNDS]; /* bytes per second; to OpenSSL's */
};

/* Of this thread: what others take from the core is not counted. */
static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double measure(const char *engine, const struct hash_salted *h, const uint8_t *bytes,
                      const struct setup *s)
{
	static uint8_t digests[MAX_BLOCK_CNT * HASH_SHA256_LEN];
	int64_t start = now_ns(), spent;
	uint64_t done = 0;

	do {
		size_t call_len = s->call_cnt * s->block_len;

		for (size_t off = 0; off + call_len <= WORKING_SET; off += call_len) {
			if (hash_salted_blocks_by(engine, h, bytes + off, s->block_len, s->call_cnt,
			                          digests, HASH_SHA256_LEN) < 0)
				abort();
			done += call_len;
		}
		spent = now_ns() - start;
	} while (spent < MIN_TIME_NS);
	return (double)done * 1e9 / (double)spent;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t cnt)
{
	qsort(v, cnt, sizeof(*v), compare);
	return cnt % 2 ? v[cnt / 2] : (v[cnt / 2 - 1] + v[cnt / 2]) / 2;
}

static void print_results(const struct setup *s, struct result *results)
{
	const char *const *names = hash_engine_list();

	if (s->json)
		printf("{\"block_len\":%zu,\"salt_len\":%zu,\"rounds\":%zu,\"blocks_per_call\":%zu,"
		       "\"compiler\":\"%s\",\"engines\":[",
		       s->block_len, s->salt_len, s->round_cnt, s->call_cnt, __VERSION__);
	else
		printf("%zu-byte blocks, %zu-byte salt, %zu blocks per call, median of %zu rounds, "
		       "%s\n",
		       s->block_len, s->salt_len, s->call_cnt, s->round_cnt, __VERSION__);
	for (size_t i = 0; names[i]; i++) {
		double rate = median(results[i].rate, s->round_cnt) / 1e9;
		double ratio = median(results[i].ratio, s->round_cnt);

		if (s->json)
			printf("%s{\"name\":\"%s\",\"gb_per_s\":%.3f,\"ratio\":%.3f}", i ? "," : "",
			       names[i], rate, ratio);
		else
			printf("  %-8s %7.3f GB/s  %5.2f x openssl\n", names[i], rate, ratio);
	}
	if (s->json)
		printf("]}\n");
}

static int run(const struct setup *s)
{
	static struct result results[MAX_ENGINES];
	uint8_t salt[HASH_MAX_SALT_LEN];
	const char *const *names = hash_engine_list();
	scoped(hash_salted) struct hash_salted *h = NULL;
	scoped_free uint8_t *bytes = aligned_alloc(4096, WORKING_SET);
	size_t engine_cnt = 0;

	if (!bytes)
		return 1;
	for (size_t i = 0; i < WORKING_SET; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 11);
	memcpy(salt, bytes, sizeof(salt));
	if (hash_salted_new(HASH_SHA256, salt, s->salt_len, true, &h) < 0)
		return 1;
	while (names[engine_cnt])
		engine_cnt++;

	for (size_t round = 0; round < s->round_cnt; round++) {
		for (size_t i = 0; i < engine_cnt; i++)
			results[i].rate[round] = measure(names[i], h, bytes, s);
		/* OpenSSL is always the last of the list */
		for (size_t i = 0; i < engine_cnt; i++)
			results[i].ratio[round] =
			        results[i].rate[round] / results[engine_cnt - 1].rate[round];
	}
	print_results(s, results);
	return 0;
}

int main(int argc, char **argv)
{
	struct setup s = { .block_len = 4096, .salt_len = 32, .round_cnt = 9, .call_cnt = 32 };
	size_t *numbers[] = { &s.block_len, &s.salt_len, &s.round_cnt, &s.call_cnt };
	size_t at = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			s.json = true;
		else if (at < ARRAY_LEN(numbers))
			*numbers[at++] = strtoul(argv[i], NULL, 10);
		else
			return 2;
	}
	if (!is_power_of_two(s.block_len) || s.block_len < 512 || s.block_len > 65536 ||
	    s.salt_len > HASH_MAX_SALT_LEN || s.round_cnt == 0 || s.round_cnt > MAX_ROUNDS ||
	    s.call_cnt == 0 || s.call_cnt > WORKING_SET / s.block_len)
		return 2;
	return run(&s);
}
