/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast one SHA-256 engine hashes salted blocks on one core. Rounds, turns and ratios are the
 * business of tests/bench/run.py. White-box (hash_int.h).
 *
 *   bench_hash --list                                             the engines of this machine
 *   bench_hash ENGINE BLOCK_LEN SALT_LEN BLOCKS_PER_CALL          bytes per second
 */
#include "hash_int.h"

#include <stdio.h>
#include <time.h>

#define WORKING_SET   (4 * MIB) /* as after a read: in a cache, not in the first one */
#define MIN_TIME_NS   INT64_C(200000000)
#define MAX_BLOCK_CNT (WORKING_SET / 512)

struct setup {
	const char *engine;
	size_t block_len, salt_len, call_cnt;
};

/* Of this thread: what others take from the core is not counted. */
static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double measure(const struct setup *s, const struct hash_salted *h, const uint8_t *bytes)
{
	static uint8_t digests[MAX_BLOCK_CNT * HASH_SHA256_LEN];
	size_t call_len = s->call_cnt * s->block_len;
	int64_t start = now_ns(), spent;
	uint64_t done = 0;

	do {
		for (size_t off = 0; off + call_len <= WORKING_SET; off += call_len) {
			if (hash_salted_blocks_by(s->engine, h, bytes + off, s->block_len,
			                          s->call_cnt, digests, HASH_SHA256_LEN) < 0)
				abort();
			done += call_len;
		}
		spent = now_ns() - start;
	} while (spent < MIN_TIME_NS);
	return (double)done * 1e9 / (double)spent;
}

static int run(const struct setup *s)
{
	uint8_t salt[HASH_MAX_SALT_LEN];
	scoped(hash_salted) struct hash_salted *h = NULL;
	scoped_free uint8_t *bytes = aligned_alloc(4096, WORKING_SET);

	if (!bytes)
		return 1;
	for (size_t i = 0; i < WORKING_SET; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 11);
	memcpy(salt, bytes, sizeof(salt));
	if (hash_salted_new(HASH_SHA256, salt, s->salt_len, true, &h) < 0)
		return 1;
	printf("%.0f\n", measure(s, h, bytes));
	return 0;
}

static bool is_valid(const struct setup *s)
{
	const char *const *names = hash_engine_list();

	while (*names && strcmp(*names, s->engine) != 0)
		names++;
	return *names && is_power_of_two(s->block_len) && s->block_len >= 512 &&
	       s->block_len <= 65536 && s->salt_len <= HASH_MAX_SALT_LEN && s->call_cnt > 0 &&
	       s->call_cnt <= WORKING_SET / s->block_len;
}

int main(int argc, char **argv)
{
	struct setup s;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (const char *const *name = hash_engine_list(); *name; name++)
			printf("%s%s", *name, name[1] ? " " : "\n");
		return 0;
	}
	if (argc != 5)
		return 2;
	s = (struct setup){ argv[1], strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10),
		            strtoul(argv[4], NULL, 10) };
	return is_valid(&s) ? run(&s) : 2;
}
