/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests: known answers, and every engine of this machine against OpenSSL. White-box where an
 * engine is asked for by name (hash_int.h). Under MODELDISK_HASH=NAME the engine chosen by default
 * is another; the claims are the same.
 */
#include "support.h"

#include "hash_int.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#define MAX_CNT 40

static const size_t salt_lens[] = { 0, 1, 8, 31, 32, 55, 56, 63, 64, 65, 127, 128, 200, 255, 256 };

static void assert_hex(const uint8_t *bytes, size_t len, const char *want)
{
	char got[2 * HASH_MAX_LEN + 1];

	hex_encode(bytes, len, got);
	assert_string_equal(got, want);
}

static void one_shot_and_stream_give_known_digests(void **state)
{
	static const struct {
		enum hash_alg alg;
		const char *want; /* of "abc": FIPS 180-4 examples */
	} v[] = {
		{ HASH_SHA256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ HASH_SHA1, "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ HASH_SHA384, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		               "8086072ba1e7cc2358baeca134c825a7" },
		{ HASH_SHA512, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		               "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
	};
	uint8_t digest[HASH_MAX_LEN];

	(void)state;
	assert_int_equal(hash_sha256("abc", 3, digest), 0);
	assert_hex(digest, 32, v[0].want);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		scoped(hash_stream) struct hash_stream *s = NULL;

		assert_int_equal(hash_stream_new(v[i].alg, &s), 0);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(hash_stream_add(s, "a", 1), 0);
			assert_int_equal(hash_stream_add(s, "bc", 2), 0);
			assert_int_equal(hash_stream_finish(s, digest), 0);
			assert_hex(digest, hash_len(v[i].alg), v[i].want);
		}
	}
}

static void hmac_gives_the_digests_of_rfc_4231(void **state)
{
	uint8_t key[131], digest[32];
	static const char *const long_key =
	        "Test Using Larger Than Block-Size Key - Hash Key First";

	(void)state;
	assert_int_equal(hash_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest),
	                 0);
	assert_hex(digest, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	assert_int_equal(hash_hmac_sha256(key, sizeof(key), long_key, strlen(long_key), digest), 0);
	assert_hex(digest, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	assert_int_equal(hash_hmac_sha256(NULL, 0, "", 0, digest), 0);
	assert_hex(digest, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void algorithms_are_found_by_the_superblocks_names(void **state)
{
	static const char *const names[] = { "sha256", "sha1", "sha384", "sha512" };
	enum hash_alg alg;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(hash_by_name(names[i], &alg), 0);
		assert_string_equal(hash_name(alg), names[i]);
	}
	assert_int_equal(hash_by_name("md5", &alg), -EOPNOTSUPP);
	assert_int_equal(hash_by_name("SHA256", &alg), -EOPNOTSUPP);
	assert_int_equal(hash_by_name("", &alg), -EOPNOTSUPP);
}

/* The digest of one block as the definition says it, without any engine. */
static void reference(enum hash_alg alg, const uint8_t *salt, size_t salt_len, bool salt_first,
                      const uint8_t *block, size_t block_len, uint8_t *out)
{
	scoped(hash_stream) struct hash_stream *s = NULL;

	assert_int_equal(hash_stream_new(alg, &s), 0);
	if (salt_first)
		assert_int_equal(hash_stream_add(s, salt, salt_len), 0);
	assert_int_equal(hash_stream_add(s, block, block_len), 0);
	if (!salt_first)
		assert_int_equal(hash_stream_add(s, salt, salt_len), 0);
	assert_int_equal(hash_stream_finish(s, out), 0);
}

/* All counts up to max_cnt, each engine, digests 40 bytes apart; the gap must stay as it was. */
static void check_engines(enum hash_alg alg, size_t salt_len, bool salt_first, size_t block_len,
                          size_t max_cnt)
{
	const size_t stride = HASH_MAX_LEN + 8;
	uint8_t want[MAX_CNT * (HASH_MAX_LEN + 8)], got[MAX_CNT * (HASH_MAX_LEN + 8)];
	uint8_t salt[HASH_MAX_SALT_LEN];
	scoped(hash_salted) struct hash_salted *h = NULL;
	scoped_free uint8_t *buf = malloc(max_cnt * block_len + 1);
	uint8_t *blocks = buf + 1; /* never aligned */

	assert_non_null(buf);
	support_fill(blocks, max_cnt * block_len, salt_len * 65536 + block_len);
	support_fill(salt, sizeof(salt), block_len);
	memset(want, 0xee, sizeof(want));
	for (size_t i = 0; i < max_cnt; i++)
		reference(alg, salt, salt_len, salt_first, blocks + i * block_len, block_len,
		          want + i * stride);

	assert_int_equal(hash_salted_new(alg, salt, salt_len, salt_first, &h), 0);
	for (const char *const *e = hash_engine_list(); *e; e++)
		for (size_t cnt = 0; cnt <= max_cnt; cnt++) {
			memset(got, 0xee, sizeof(got));
			assert_int_equal(
			        hash_salted_blocks_by(*e, h, blocks, block_len, cnt, got, stride),
			        0);
			assert_memory_equal(got, want, cnt * stride);
			assert_true(cnt == max_cnt || got[cnt * stride] == 0xee);
		}
	memset(got, 0xee, sizeof(got));
	assert_int_equal(hash_salted_blocks(h, blocks, block_len, max_cnt, got, stride), 0);
	assert_memory_equal(got, want, max_cnt * stride);
}

static void every_engine_equals_openssl_at_every_count(void **state)
{
	(void)state;
	check_engines(HASH_SHA256, 32, true, 4096, MAX_CNT);
	check_engines(HASH_SHA256, 32, false, 4096, MAX_CNT);
	check_engines(HASH_SHA256, 0, true, 512, MAX_CNT);
	check_engines(HASH_SHA256, 256, false, 512, MAX_CNT);
}

static void every_engine_equals_openssl_at_every_salt_length(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(salt_lens); i++) {
		check_engines(HASH_SHA256, salt_lens[i], true, 512, 19);
		check_engines(HASH_SHA256, salt_lens[i], false, 512, 19);
	}
	for (size_t len = 0; len <= HASH_MAX_SALT_LEN; len++) {
		check_engines(HASH_SHA256, len, true, 512, 1);
		check_engines(HASH_SHA256, len, false, 512, 1);
	}
}

static void every_engine_equals_openssl_at_every_block_size(void **state)
{
	(void)state;
	for (size_t len = 512; len <= 65536; len *= 2) {
		check_engines(HASH_SHA256, 20, true, len, 17);
		check_engines(HASH_SHA256, 20, false, len, 17);
		check_engines(HASH_SHA256, 64, true, len, 17);
	}
}

static void other_algorithms_are_salted_the_same_way(void **state)
{
	static const enum hash_alg algs[] = { HASH_SHA1, HASH_SHA384, HASH_SHA512 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		check_engines(algs[i], 32, true, 1024, 3);
		check_engines(algs[i], 32, false, 1024, 3);
	}
}

static void each_kernel_gives_each_lane_its_own_digest(void **state)
{
	/* an empty message: one chunk that holds padding only, and "abc" in one lane */
	static const uint8_t empty[64] = { 0x80 }, abc[64] = { 'a', 'b', 'c', 0x80, [63] = 24 };
	static const uint32_t initial[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	static const struct hash_engine *const all[] = {
#if defined(__x86_64__)
		&hash_avx512,
		&hash_shani,
		&hash_avx2,
#elif defined(__aarch64__)
		&hash_armv8,
#endif
		NULL,
	};

	(void)state;
	for (size_t e = 0; all[e]; e++)
		for (const struct hash_kernel *k = all[e]->kernels; k->lanes; k++)
			for (size_t odd = 0; all[e]->is_usable() && odd < k->lanes; odd++) {
				uint32_t s[8 * HASH_MAX_LANES];
				const uint8_t *in[HASH_MAX_LANES];

				for (size_t l = 0; l < k->lanes; l++)
					in[l] = l == odd ? abc : empty;
				for (size_t i = 0; i < 8 * k->lanes; i++)
					s[i] = initial[i / k->lanes];
				k->compress(s, in, 1);
				for (size_t l = 0; l < k->lanes; l++)
					assert_int_equal(s[l], l == odd ? 0xba7816bf : 0xe3b0c442);
			}
}

/* In a process of its own, since the choice is made once. */
static int engine_is_chosen_by(const char *wanted, const char *expected)
{
	pid_t child = fork();
	int status = -1;

	assert_true(child >= 0);
	if (child == 0) {
		setenv("MODELDISK_HASH", wanted, 1);
		_exit(strcmp(hash_engine_name(), expected) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* Runs before anything in this process has chosen an engine. */
static void environment_chooses_the_engine_and_unknown_names_change_nothing(void **state)
{
	const char *fastest;
	static const char *const names[] = { "avx512", "shani", "avx2", "armv8", "openssl" };

	(void)state;
	assert_int_equal(engine_is_chosen_by("openssl", "openssl"), 0);
	/* a child may ask for what this machine lacks: then it gets what an unknown name gets */
	fastest = NULL;
	for (size_t i = 0; i < ARRAY_LEN(names) && !fastest; i++)
		if (engine_is_chosen_by("no such engine", names[i]) == 0)
			fastest = names[i];
	assert_non_null(fastest);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(engine_is_chosen_by(names[i], names[i]) == 0 ||
		            engine_is_chosen_by(names[i], fastest) == 0);
}

static void openssl_is_always_in_the_list(void **state)
{
	const char *const *list = hash_engine_list();

	(void)state;
	while (*list && strcmp(*list, "openssl") != 0)
		list++;
	assert_non_null(*list);
	assert_null(list[1]);
}

static void too_long_salt_is_refused(void **state)
{
	uint8_t salt[HASH_MAX_SALT_LEN + 1] = { 0 };
	struct hash_salted *h = NULL;

	(void)state;
	assert_int_equal(hash_salted_new(HASH_SHA256, salt, sizeof(salt), true, &h), -EINVAL);
	assert_null(h);
}

static void failed_allocation_gives_enomem(void **state)
{
	struct hash_salted *h = NULL;
	struct hash_stream *s = NULL;

	(void)state;
	support_fail_allocation(1);
	assert_int_equal(hash_salted_new(HASH_SHA256, "", 0, true, &h), -ENOMEM);
	support_fail_allocation(1);
	assert_int_equal(hash_stream_new(HASH_SHA256, &s), -ENOMEM);
	support_fail_allocation(0);
	assert_null(h);
	assert_null(s);
	hash_salted_free(NULL);
	hash_stream_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(environment_chooses_the_engine_and_unknown_names_change_nothing),
		cmocka_unit_test(one_shot_and_stream_give_known_digests),
		cmocka_unit_test(hmac_gives_the_digests_of_rfc_4231),
		cmocka_unit_test(algorithms_are_found_by_the_superblocks_names),
		cmocka_unit_test(each_kernel_gives_each_lane_its_own_digest),
		cmocka_unit_test(every_engine_equals_openssl_at_every_count),
		cmocka_unit_test(every_engine_equals_openssl_at_every_salt_length),
		cmocka_unit_test(every_engine_equals_openssl_at_every_block_size),
		cmocka_unit_test(other_algorithms_are_salted_the_same_way),
		cmocka_unit_test(openssl_is_always_in_the_list),
		cmocka_unit_test(too_long_salt_is_refused),
		cmocka_unit_test(failed_allocation_gives_enomem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
