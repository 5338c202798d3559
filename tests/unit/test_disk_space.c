/* SPDX-License-Identifier: Apache-2.0 */
/* White-box: disk_space.h is disk_plan.c's own. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk_space.h"

#define DATA                                                                                       \
	"[Partition]\nType=linux-generic\nUUID=null\nCopyFiles=/src:/\nFormat=erofs\n"             \
	"Verity=data\nVerityMatchKey=m\n"
#define HASH      "[Partition]\nType=linux-generic\nUUID=null\nVerity=hash\nVerityMatchKey=m\n"
#define SIGNATURE "[Partition]\nType=root-x86-64-verity-sig\nVerity=signature\nVerityMatchKey=m\n"

static struct definitions *parse(const char *data, const char *hash, const char *signature)
{
	struct conf_text file[] = { { "data.conf", data, strlen(data) },
		                    { "hash.conf", hash, strlen(hash) },
		                    { "sig.conf", signature, signature ? strlen(signature) : 0 } };
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	if (definitions_parse_text(file, signature ? 3 : 2, &defs, &d) < 0)
		fail_msg("%s", d.text);
	return defs;
}

static struct compat compat_named(const char *name)
{
	struct compat c;

	assert_int_equal(compat_parse(name, COMPAT_REPART, &c, NULL), 0);
	return c;
}

static uint64_t min_len(const struct disk_space *s)
{
	uint64_t len = 0;
	struct diag d = DIAG_INIT;

	if (disk_space_min_len(s, &len, &d) < 0)
		fail_msg("%s", d.text);
	return len;
}

static bool fits(const struct disk_space *s, uint64_t disk_len)
{
	struct disk_layout l;

	return disk_space_lay_out(s, disk_len, &l) == DISK_SPACE_FITS;
}

/* Measured: 69075456 works and 69074944 does not, for an image of 1929216. */
static void built_in_definitions_need_what_was_measured(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = NULL;
	struct compat compat = compat_named(NULL);
	struct disk_plan_options opt = { .sector_len = 512,
		                         .fs_sector_len = 4096,
		                         .compat = &compat };
	struct disk_space s;

	assert_int_equal(definitions_default(&defs, NULL), 0);
	assert_int_equal(disk_space_init(&s, defs, &opt, 1929216, NULL), 0);
	assert_true(fits(&s, 69075456));
	assert_false(fits(&s, 69074944));
	assert_int_equal(min_len(&s), 69079040); /* the next multiple of 4096 */
	for (uint64_t image_len = 4096; image_len <= 6710886400;
	     image_len = image_len * 3 / 4096 * 4096 + 4096) {
		assert_int_equal(disk_space_init(&s, defs, &opt, image_len, NULL), 0);
		assert_int_equal(min_len(&s), round_up(image_len + 67146240, 4096));
	}
	/* beyond, weights decide: 600 GB */
	assert_int_equal(disk_space_init(&s, defs, &opt, 600 * GIB, NULL), 0);
	uint64_t len = min_len(&s);
	assert_true(fits(&s, len) && !fits(&s, len - 4096));
	assert_int_equal(len, round_up(600 * GIB / 1000 * 1010, 4096) + 40960);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void smallest_disk_is_the_first_that_fits(void **state)
{
	(void)state;
	static const char *const compats[] = { NULL, "systemd-258..261", "systemd-255..257" };
	static const unsigned weights[] = { 0, 1, 3, 5, 10, 100, 1000, 1000, 100000 };
	uint64_t seed = 4711;
	unsigned found = 0;

	for (unsigned round = 0; round < 400; round++) {
		char data[1024], hash[1024];
		uint64_t r = next_random(&seed), image_len = 4096 * (1 + r % 700);
		bool minimize = r >> 12 & 1;

		snprintf(data, sizeof(data), "%sWeight=%u\nPaddingWeight=%u\n%s%s", DATA,
		         weights[(r >> 16) % ARRAY_LEN(weights)],
		         r >> 20 & 1 ? weights[(r >> 24) % ARRAY_LEN(weights)] : 0,
		         minimize ? "Minimize=best\n" : "",
		         r >> 28 & 1 ? "SizeMinBytes=1000001\n" : "");
		snprintf(hash, sizeof(hash), "%sWeight=%u\n%s%s%s", HASH,
		         weights[(r >> 32) % ARRAY_LEN(weights)],
		         minimize && r >> 36 & 1 ? "Minimize=best\n" : "",
		         r >> 37 & 1 ? "SizeMinBytes=40K\n" : "",
		         r >> 38 & 1 ? "VerityHashBlockSizeBytes=512\n" : "");
		scoped(definitions) struct definitions *defs =
		        parse(data, hash, r >> 39 & 1 ? SIGNATURE : NULL);
		struct compat compat = compat_named(compats[round % ARRAY_LEN(compats)]);
		struct disk_plan_options opt = {
			.sector_len = r >> 40 & 1 ? 512 : 4096,
			.fs_sector_len = 4096,
			.table_by_repart = r >> 41 & 1,
			.coverage = r >> 42 & 1 ? DISK_COVER_FILESYSTEM : DISK_COVER_PARTITION,
			.compat = &compat,
		};
		uint64_t len, limit = 64 * MIB, first = 4096;
		struct disk_space s;

		assert_int_equal(disk_space_init(&s, defs, &opt, image_len, NULL), 0);
		while (first < limit && !fits(&s, first))
			first += 4096;
		int r2 = disk_space_min_len(&s, &len, NULL);
		/* a signature partition has a maximum: what fits may be a little longer */
		uint64_t slack = defs->cnt == 3 ? 3 * 4096 : 0;

		if (first == limit) {
			assert_true(r2 < 0 || len >= limit);
			continue;
		}
		assert_int_equal(r2, 0);
		assert_in_range(len, first, first + slack);
		assert_true(fits(&s, len));
		found++;
	}
	assert_true(found > 200);
}

static void definitions_that_never_fit_are_refused_with_the_reason(void **state)
{
	(void)state;
	static const struct {
		const char *data, *hash, *why;
	} cases[] = {
		{ DATA "SizeMaxBytes=8K\n", HASH, "never holds the image" },
		{ DATA, HASH "SizeMaxBytes=8K\n", "never holds the hash tree" },
		{ DATA, HASH "Weight=0\n", "never holds the hash tree" },
	};
	struct compat compat = compat_named(NULL);
	struct disk_plan_options opt = { .sector_len = 512,
		                         .fs_sector_len = 4096,
		                         .compat = &compat };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(definitions) struct definitions *defs =
		        parse(cases[i].data, cases[i].hash, NULL);
		struct diag d = DIAG_INIT;
		struct disk_space s;
		uint64_t len;

		assert_int_equal(disk_space_init(&s, defs, &opt, 4 * MIB, NULL), 0);
		assert_int_equal(disk_space_min_len(&s, &len, &d), -ENOSPC);
		if (!strstr(d.text, cases[i].why))
			fail_msg("%s", d.text);
	}
}

static uint64_t hash_min(const char *data, const char *hash, const char *compat_name)
{
	scoped(definitions) struct definitions *defs = parse(data, hash, NULL);
	struct compat compat = compat_named(compat_name);
	struct disk_plan_options opt = { .sector_len = 512,
		                         .fs_sector_len = 4096,
		                         .compat = &compat };
	struct diag d = DIAG_INIT;
	struct disk_space s;

	if (disk_space_init(&s, defs, &opt, 40960, &d) < 0)
		fail_msg("%s", d.text);
	assert_int_equal(s.part[0].len.weight, 1000);
	return s.part[1].len.min;
}

static void minimum_of_a_partition_follows_the_release(void **state)
{
	(void)state;
	assert_int_equal(hash_min(DATA, HASH, NULL), 4096);
	assert_int_equal(hash_min(DATA, HASH, "systemd-255..257"), 4096);
	assert_int_equal(hash_min(DATA, HASH, "systemd-255..257.7"), 10 * MIB);
	/* rounded up now, down before */
	assert_int_equal(hash_min(DATA, HASH "SizeMinBytes=1000001\n", NULL), 1003520);
	assert_int_equal(hash_min(DATA, HASH "SizeMinBytes=1000001\n", "systemd-255..257"), 999424);
	assert_int_equal(hash_min(DATA, HASH "SizeMinBytes=0\n", NULL), 4096);
	/* a tree over the largest data partition: 9 MiB are 2304 blocks, 18 + 1 + superblock */
	assert_int_equal(hash_min(DATA "SizeMaxBytes=9M\n", HASH, NULL), 20 * 4096);
	assert_int_equal(hash_min(DATA "SizeMaxBytes=9M\n", HASH "SizeMaxBytes=76K\n", NULL), 4096);
	assert_int_equal(hash_min(DATA "SizeMaxBytes=9M\n", HASH "SizeMinBytes=8K\n", NULL), 8192);
	/* 10 GiB: the number of systemd's own test */
	assert_int_equal(hash_min(DATA "SizeMaxBytes=10G\n", HASH, NULL), 84557824);
	/* superblock and one tree block over ten data blocks */
	assert_int_equal(hash_min(DATA "Minimize=yes\n", HASH "Minimize=yes\n", NULL), 8192);
	assert_int_equal(hash_min(DATA "Minimize=yes\n",
	                          HASH "Minimize=yes\nVerityHashBlockSizeBytes=512\n", NULL),
	                 4096);
}

static void contradicting_sizes_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		HASH "SizeMinBytes=8K\nSizeMaxBytes=4K\n",
		HASH "PaddingMinBytes=8K\nPaddingMaxBytes=4K\n",
		/* up and down: 8 KiB to 4 KiB */
		HASH "SizeMinBytes=5000\nSizeMaxBytes=6000\n",
	};
	struct compat compat = compat_named(NULL);
	struct disk_plan_options opt = { .sector_len = 512,
		                         .fs_sector_len = 4096,
		                         .compat = &compat };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		scoped(definitions) struct definitions *defs = parse(DATA, bad[i], NULL);
		struct diag d = DIAG_INIT;
		struct disk_space s;

		assert_int_equal(disk_space_init(&s, defs, &opt, 4096, &d), -EINVAL);
		assert_non_null(strstr(d.text, "hash.conf: "));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in_definitions_need_what_was_measured),
		cmocka_unit_test(smallest_disk_is_the_first_that_fits),
		cmocka_unit_test(definitions_that_never_fit_are_refused_with_the_reason),
		cmocka_unit_test(minimum_of_a_partition_follows_the_release),
		cmocka_unit_test(contradicting_sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
