/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers against systemd-repart are tests/golden/test_repart_plan.c's. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "disk_plan.h"

#define DATA_OF(type)                                                                              \
	"[Partition]\nType=" type "\nCopyFiles=/src:/\nFormat=erofs\nVerity=data\n"                \
	"VerityMatchKey=m\n"
#define HASH_OF(type) "[Partition]\nType=" type "\nVerity=hash\nVerityMatchKey=m\n"
#define DATA          DATA_OF("linux-generic")
#define HASH          HASH_OF("linux-generic")

static struct compat compat; /* the default one, set by main() */
static const struct uuid seed = { { 0xAA, 0xAA, 0xAA, 0xAA, 0xBB, 0xBB, 0xCC, 0xCC, 0xDD, 0xDD,
	                            0xEE, 0xEE, 0xEE, 0xEE, 0xEE, 0xEE } };

static struct definitions *parse(const char *first, const char *second, const char *third)
{
	struct conf_text file[] = { { "10.conf", first, strlen(first) },
		                    { "20.conf", second, strlen(second) },
		                    { "30.conf", third, third ? strlen(third) : 0 } };
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;

	if (definitions_parse_text(file, third ? 3 : 2, &defs, &d) < 0)
		fail_msg("%s", d.text);
	return defs;
}

static struct disk_plan_options options(void)
{
	return (struct disk_plan_options){
		.sector_len = 512, .fs_sector_len = 4096, .disk_id = seed, .compat = &compat
	};
}

/* A plan on the heap, or a failed test. */
static struct disk_plan *plan(const struct definitions *defs, const struct disk_plan_options *opt,
                              uint64_t disk_len, uint64_t image_len)
{
	struct disk_plan *p = calloc(1, sizeof(*p));
	struct disk_identity id;
	struct diag d = DIAG_INIT;

	assert_non_null(p);
	assert_int_equal(disk_identity_init(&id, defs, &seed, NULL), 0);
	if (disk_plan_repart(defs, &id, opt, disk_len, image_len, p, &d) < 0)
		fail_msg("%s", d.text);
	return p;
}

static int try_plan(const struct definitions *defs, const struct disk_plan_options *opt,
                    uint64_t disk_len, uint64_t image_len, struct diag *d)
{
	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));
	struct disk_identity id;

	assert_non_null(p);
	assert_int_equal(disk_identity_init(&id, defs, &seed, NULL), 0);
	return disk_plan_repart(defs, &id, opt, disk_len, image_len, p, d);
}

/* ---- identity ---- */

static void assert_id(const struct uuid *id, const char *expected)
{
	char text[UUID_TEXT_LEN];

	uuid_format(id, text);
	assert_string_equal(text, expected);
}

/* Measured with systemd-repart and this seed. */
static void identifiers_follow_from_the_seed(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *built_in = NULL, *unset = parse(DATA, HASH, NULL);
	struct disk_identity id;
	char salt[65];

	assert_int_equal(definitions_default(&built_in, NULL), 0);
	assert_int_equal(disk_identity_init(&id, built_in, &seed, NULL), 0);
	assert_id(&id.disk_id, "571e8bbb-594a-44c3-97a2-cf6a2667c9f8");
	assert_id(&id.fs_uuid, "3faed36c-01a6-4ccd-9b78-a1f4cbce9b1d");
	assert_id(&id.verity_uuid, "924dda53-40a3-45c0-af7e-3a30babf0c5a");
	hex_encode(id.salt, sizeof(id.salt), salt);
	assert_string_equal(salt,
	                    "901650a468b52a947c2c28bf8a61624eba3abc3342046de7de8ce2d6eef9e24b");
	assert_true(uuid_is_null(&id.part_id[0]) && uuid_is_null(&id.part_id[1]));
	assert_int_equal(id.id_from_root[0], -1);

	assert_int_equal(disk_identity_init(&id, unset, &seed, NULL), 0);
	assert_id(&id.part_id[0], "a2b991b9-fe7b-4c57-a4e6-22b075754ef7");
	assert_id(&id.part_id[1], "017c565f-62fb-4ac2-ac46-0a6a74efc94b");
	assert_id(&id.fs_uuid, "30f4a4e4-d407-4b91-bc66-0a7d55919ffc");
	assert_int_equal(id.id_from_root[0], 0);
	assert_int_equal(id.id_from_root[1], 1);
}

static void labels_are_numbered_only_when_an_earlier_one_has_the_name(void **state)
{
	(void)state;
	static const struct {
		const char *first, *second, *labels[2];
	} cases[] = {
		{ DATA, HASH, { "linux-generic", "linux-generic-2" } },
		{ DATA "Label=x\n", HASH, { "x", "linux-generic" } },
		{ DATA "Label=linux-generic\n", HASH, { "linux-generic", "linux-generic-2" } },
		{ DATA, HASH "Label=\n", { "linux-generic", "" } },
		{ DATA, HASH "Label=linux-generic\n", { "linux-generic", "linux-generic" } },
		{ DATA_OF("11111111-1111-1111-1111-111111111111"),
		  HASH_OF("22222222222222222222222222222222"),
		  { "linux", "linux-2" } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(definitions) struct definitions *defs =
		        parse(cases[i].first, cases[i].second, NULL);
		struct disk_identity id;

		assert_int_equal(disk_identity_init(&id, defs, &seed, NULL), 0);
		assert_string_equal(id.label[0], cases[i].labels[0]);
		assert_string_equal(id.label[1], cases[i].labels[1]);
	}
}

static void guid_that_the_seed_gives_to_another_is_refused(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA, HASH "UUID=a2b991b9-fe7b-4c57-a4e6-22b075754ef7\n", NULL);
	struct diag d = DIAG_INIT;
	struct disk_identity id;

	assert_int_equal(disk_identity_init(&id, defs, &seed, &d), -EINVAL);
	assert_non_null(strstr(d.text, "20.conf: UUID=a2b991b9"));
}

/* ---- table ---- */

static uint64_t flags_of(const char *first, const char *second, size_t i)
{
	scoped(definitions) struct definitions *defs = parse(first, second, NULL);
	struct disk_plan_options opt = options();
	scoped_free struct disk_plan *p = plan(defs, &opt, 64 * MIB, 4096);

	return p->table.part[i].flags;
}

static void flags_are_set_for_types_that_know_them(void **state)
{
	(void)state;
	const uint64_t ro = GPT_FLAG_READ_ONLY, grow = GPT_FLAG_GROW_FS, no_auto = GPT_FLAG_NO_AUTO;
#define ROOT      DATA_OF("root-x86-64")
#define ROOT_HASH HASH_OF("root-x86-64-verity")
	assert_int_equal(flags_of(DATA, HASH, 0), 0);
	assert_int_equal(flags_of(DATA "ReadOnly=yes\nNoAuto=yes\nGrowFileSystem=yes\n", HASH, 0),
	                 0);
	assert_int_equal(flags_of(DATA "Flags=0x8000000000000005\n", HASH, 0), no_auto | 5);
	assert_int_equal(flags_of(ROOT, ROOT_HASH, 0), ro);
	assert_int_equal(flags_of(ROOT, ROOT_HASH, 1), ro);
	assert_int_equal(flags_of(ROOT "ReadOnly=no\n", ROOT_HASH, 0), grow);
	assert_int_equal(flags_of(ROOT "GrowFileSystem=yes\n", ROOT_HASH, 0), ro | grow);
	assert_int_equal(flags_of(ROOT "NoAuto=yes\n", ROOT_HASH, 0), ro | no_auto);
	assert_int_equal(flags_of(ROOT "Flags=0x8800000000000000\nNoAuto=no\nGrowFileSystem=no\n",
	                          ROOT_HASH, 0),
	                 ro);
	assert_int_equal(flags_of(ROOT, ROOT_HASH "ReadOnly=no\nGrowFileSystem=yes\n", 1), 0);
	/* a hash partition of a file system's type is not read-only by itself */
	assert_int_equal(flags_of(ROOT, HASH_OF("usr-arm64"), 1), grow);
}

static void key_that_repart_would_override_is_refused(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(ROOT "ReadOnly=no\nGrowFileSystem=no\n", ROOT_HASH, NULL);
	struct disk_plan_options opt = options();
	struct diag d = DIAG_INIT;

	assert_int_equal(try_plan(defs, &opt, 64 * MIB, 4096, &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "10.conf: GrowFileSystem=no"));
}

static void root_hash_halves_become_the_two_guids(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *unset = parse(ROOT, ROOT_HASH, NULL);
	scoped(definitions) struct definitions *given =
	        parse(HASH "UUID=null\n", DATA "UUID=12345678-1234-1234-1234-123456789abc\n", NULL);
	struct disk_plan_options opt = options();
	scoped_free struct disk_plan *p = plan(unset, &opt, 64 * MIB, 4096);
	scoped_free struct disk_plan *q = plan(given, &opt, 64 * MIB, 4096);
	uint8_t root[32];

	support_fill(root, sizeof(root), 1);
	disk_plan_set_root(p, root);
	disk_plan_set_root(q, root);
	assert_memory_equal(p->table.part[0].id.b, root, 16);
	assert_memory_equal(p->table.part[1].id.b, root + 16, 16);
	assert_true(uuid_is_null(&q->table.part[0].id));
	assert_id(&q->table.part[1].id, "12345678-1234-1234-1234-123456789abc");
}

static void order_of_the_files_is_the_order_on_the_disk(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = parse(HASH, DATA, NULL);
	struct disk_plan_options opt = options();
	scoped_free struct disk_plan *p = plan(defs, &opt, 64 * MIB, 40960);

	assert_int_equal(p->hash_off, 20480);
	assert_true(p->image_off > p->hash_off);
	assert_int_equal(p->part[0].off, p->hash_off);
	assert_int_equal(p->part[1].off, p->image_off);
}

/* ---- regions and coverage ---- */

static void assert_covered(const struct disk_plan *p)
{
	uint64_t end = 0;

	for (size_t i = 0; i < p->region_cnt; i++) {
		assert_int_equal(p->region[i].off, end);
		assert_true(p->region[i].len > 0);
		end += p->region[i].len;
	}
	assert_int_equal(end, p->disk_len);
}

static void assert_region(const struct disk_plan *p, enum disk_region_kind kind, uint64_t off,
                          uint64_t len)
{
	for (size_t i = 0; i < p->region_cnt; i++)
		if (p->region[i].kind == kind) {
			assert_int_equal(p->region[i].off, off);
			assert_int_equal(p->region[i].len, len);
			return;
		}
	fail_msg("no region of kind %d", kind);
}

static void regions_cover_disks_of_every_length(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs =
	        parse(DATA "PaddingMinBytes=8K\n", HASH,
	              "[Partition]\nType=linux-generic\nVerity=signature\nVerityMatchKey=m\n");

	for (uint64_t disk_len = MIB; disk_len < MIB + 9000; disk_len += 97) {
		for (uint32_t sector_len = 512; sector_len <= 4096; sector_len *= 8) {
			struct disk_plan_options opt = options();

			opt.sector_len = sector_len;
			opt.coverage = disk_len % 2 ? DISK_COVER_PARTITION : DISK_COVER_FILESYSTEM;
			scoped_free struct disk_plan *p = plan(defs, &opt, disk_len, 40960);

			assert_covered(p);
			assert_region(p, DISK_REGION_IMAGE, p->image_off, 40960);
			assert_region(p, DISK_REGION_SUPERBLOCK, p->hash_off, 4096);
			assert_region(p, DISK_REGION_TREE, p->tree_off, p->geometry.tree_len);
			assert_int_equal(p->signature_off, p->part[2].off);
			assert_int_equal(p->covered_len, disk_len % 2 ? p->part[0].len : 40960);
		}
	}
}

static void table_of_repart_starts_at_1_mib(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = parse(DATA, HASH, NULL);
	struct disk_plan_options opt = options();

	opt.table_by_repart = true;
	for (opt.sector_len = 512; opt.sector_len <= 4096; opt.sector_len *= 8) {
		scoped_free struct disk_plan *p = plan(defs, &opt, 64 * MIB, 4096);

		assert_int_equal(p->image_off, MIB);
		assert_id(&p->table.disk_id, "571e8bbb-594a-44c3-97a2-cf6a2667c9f8");
	}
	/* libfdisk leaves small disks alone */
	opt.sector_len = 512;
	scoped_free struct disk_plan *p = plan(defs, &opt, 4 * MIB, 4096);
	assert_int_equal(p->image_off, 20480);
}

static void verity_blocks_follow_the_hash_definition(void **state)
{
	(void)state;
	static const struct {
		const char *hash;
		uint32_t data_block_len, hash_block_len;
	} cases[] = {
		{ HASH, 4096, 4096 },
		{ HASH "FileSystemSectorSize=512\n", 512, 512 },
		{ HASH "FileSystemSectorSize=512\nVerityHashBlockSizeBytes=1024\n", 512, 1024 },
		{ HASH "VerityDataBlockSizeBytes=2048\n", 2048, 4096 },
	};
	struct disk_plan_options opt = options();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(definitions) struct definitions *defs = parse(DATA, cases[i].hash, NULL);
		scoped_free struct disk_plan *p = plan(defs, &opt, 64 * MIB, 40960);

		assert_int_equal(p->verity.data_block_len, cases[i].data_block_len);
		assert_int_equal(p->verity.hash_block_len, cases[i].hash_block_len);
		assert_int_equal(p->tree_off - p->hash_off, cases[i].hash_block_len);
		assert_covered(p);
	}
}

/* ---- refusals ---- */

static void too_small_disks_are_told_what_is_enough(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = NULL;
	struct disk_plan_options opt = options();
	struct diag d = DIAG_INIT;

	assert_int_equal(definitions_default(&defs, NULL), 0);
	assert_int_equal(try_plan(defs, &opt, 69074944, 1929216, &d), -ENOSPC);
	assert_non_null(strstr(d.text, "data partition of 1925120 for an image of 1929216"));
	assert_non_null(strstr(d.text, "69079040 bytes are enough"));
	assert_int_equal(try_plan(defs, &opt, 67108864, 1929216, &d), -ENOSPC);
	assert_non_null(strstr(d.text, "69079040 bytes are enough"));
	for (uint64_t len = 0; len < 65536; len += 511)
		assert_int_equal(try_plan(defs, &opt, len, 4096, &d), -ENOSPC);
	/* 512-byte verity blocks need 6.7 % */
	scoped(definitions) struct definitions *small = parse(
	        DATA "UUID=null\nWeight=1000\n",
	        HASH "UUID=null\nWeight=10\nSizeMinBytes=64M\nFileSystemSectorSize=512\n", NULL);
	assert_int_equal(try_plan(small, &opt, GIB, 4096, &d), 0);
	assert_int_equal(try_plan(small, &opt, 2 * GIB, 4096, &d), -ENOSPC);
	assert_non_null(strstr(d.text, "hash partition of"));
}

static void device_sectors_that_erofs_would_follow_are_refused_with_the_way_out(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = parse(DATA, HASH, NULL);
	scoped(definitions) struct definitions *fixed =
	        parse(DATA "FileSystemSectorSize=4096\n", HASH "FileSystemSectorSize=4096\n", NULL);
	struct disk_plan_options opt = options();
	struct diag d = DIAG_INIT;
	struct compat before;

	opt.fs_sector_len = 512;
	assert_int_equal(try_plan(defs, &opt, 64 * MIB, 40960, &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "FileSystemSectorSize=4096"));
	assert_non_null(strstr(d.text, "--compat=systemd-258.0"));
	assert_non_null(strstr(d.text, "copied to the device"));
	scoped_free struct disk_plan *p = plan(fixed, &opt, 64 * MIB, 40960);
	assert_int_equal(p->verity.data_block_len, 4096);

	assert_int_equal(compat_parse("systemd-258..261", COMPAT_REPART, &before, NULL), 0);
	opt.compat = &before;
	scoped_free struct disk_plan *q = plan(defs, &opt, 64 * MIB, 40960);
	assert_int_equal(q->verity.data_block_len, 512);
}

static void absurd_lengths_are_refused(void **state)
{
	(void)state;
	scoped(definitions) struct definitions *defs = parse(DATA, HASH, NULL);
	struct disk_plan_options opt = options();
	uint64_t len;

	assert_int_equal(try_plan(defs, &opt, 64 * MIB, 0, NULL), -EINVAL);
	assert_int_equal(try_plan(defs, &opt, 64 * MIB, 4097, NULL), -EINVAL);
	assert_int_equal(try_plan(defs, &opt, 64 * MIB, UINT64_MAX - 4095, NULL), -EINVAL);
	assert_int_equal(try_plan(defs, &opt, UINT64_MAX, 4096, NULL), -EINVAL);
	assert_int_equal(try_plan(defs, &opt, UINT64_C(1) << 62, 4096, NULL), -EINVAL);
	scoped_free struct disk_plan *p = plan(defs, &opt, (UINT64_C(1) << 62) - 4096, 4096);
	assert_covered(p);
	assert_int_equal(disk_plan_min_len(defs, NULL, &opt, UINT64_MAX / 4096 * 4096, &len, NULL),
	                 -EINVAL);
}

/* ---- flat ---- */

static void flat_layout_is_image_superblock_tree(void **state)
{
	(void)state;
	static const uint8_t salt[1];
	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));
	const struct uuid null = { { 0 } };

	assert_non_null(p);
	/* the published disk of opt-125m */
	assert_int_equal(disk_plan_flat(753115136, salt, sizeof(salt), &null, p, NULL), 0);
	assert_int_equal(p->disk_len, 759058432);
	assert_int_equal(p->geometry.tree_blk_cnt, 1450);
	assert_false(p->has_table);
	assert_int_equal(p->hash_off, 753115136);
	assert_int_equal(p->region_cnt, 3);
	assert_covered(p);
	/* a single block has no tree */
	assert_int_equal(disk_plan_flat(4096, salt, sizeof(salt), &null, p, NULL), 0);
	assert_int_equal(p->disk_len, 8192);
	assert_int_equal(p->region_cnt, 2);
	assert_covered(p);
	assert_int_equal(disk_plan_flat(4096, salt, 0, &null, p, NULL), -EINVAL);
	assert_int_equal(disk_plan_flat(4096, salt, 257, &null, p, NULL), -EINVAL);
	assert_int_equal(disk_plan_flat(4095, salt, 1, &null, p, NULL), -EINVAL);
	assert_int_equal(disk_plan_flat(UINT64_MAX / 4096 * 4096, salt, 1, &null, p, NULL),
	                 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_follow_from_the_seed),
		cmocka_unit_test(labels_are_numbered_only_when_an_earlier_one_has_the_name),
		cmocka_unit_test(guid_that_the_seed_gives_to_another_is_refused),
		cmocka_unit_test(flags_are_set_for_types_that_know_them),
		cmocka_unit_test(key_that_repart_would_override_is_refused),
		cmocka_unit_test(root_hash_halves_become_the_two_guids),
		cmocka_unit_test(order_of_the_files_is_the_order_on_the_disk),
		cmocka_unit_test(regions_cover_disks_of_every_length),
		cmocka_unit_test(table_of_repart_starts_at_1_mib),
		cmocka_unit_test(verity_blocks_follow_the_hash_definition),
		cmocka_unit_test(too_small_disks_are_told_what_is_enough),
		cmocka_unit_test(
		        device_sectors_that_erofs_would_follow_are_refused_with_the_way_out),
		cmocka_unit_test(absurd_lengths_are_refused),
		cmocka_unit_test(flat_layout_is_image_superblock_tree),
	};

	if (compat_parse(NULL, COMPAT_REPART, &compat, NULL) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
