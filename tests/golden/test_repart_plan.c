/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk plans against what systemd-repart did: tests/golden/repart.json holds definitions, disk
 * length, EROFS length and root hash of each case, and every number, name, GUID and table byte that
 * must follow from them.
 */
#include "support.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "disk_plan.h"
#include "hash.h"

#define EDGE_LEN                                                                                   \
	20480 /* the golden table digests are over the first and last bytes of the disk            \
	       */

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	if (!s)
		fail_msg("golden case without %s", key);
	return s;
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

static struct uuid uuid_of(const char *text)
{
	struct uuid u;

	assert_int_equal(uuid_parse(text, &u), 0);
	return u;
}

/* ---- the case's input ---- */

static struct definitions *definitions_of(const json_t *c)
{
	json_t *files = json_object_get(c, "definitions");
	struct conf_text text[DEFINITIONS_MAX];
	char name[DEFINITIONS_MAX][64];
	struct definitions *defs = NULL;
	struct diag d = DIAG_INIT;
	const char *key;
	size_t cnt = 0;
	json_t *value;

	if (json_is_string(files)) {
		assert_int_equal(definitions_default(&defs, &d), 0);
		return defs;
	}
	/* in the order of their names, as they are written in the file */
	json_object_foreach (files, key, value) {
		snprintf(name[cnt], sizeof(name[cnt]), "/repart/%s", key);
		text[cnt] = (struct conf_text){ name[cnt], json_string_value(value),
			                        json_string_length(value) };
		cnt++;
	}
	if (definitions_parse_text(text, cnt, &defs, &d) < 0)
		fail_msg("%s", d.text);
	return defs;
}

static struct compat compat_of(const json_t *c)
{
	static const struct {
		const char *systemd, *name;
	} names[] = { { "262.1", "systemd-258+" },
		      { "259.8", "systemd-258..261" },
		      { "258", "systemd-258.0" },
		      { "257.13", "systemd-255..257" },
		      { "255.22", "systemd-255..257.7" } };
	struct compat compat = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i].systemd, text_of(c, "systemd")) == 0) {
			assert_int_equal(compat_parse(names[i].name, COMPAT_REPART, &compat, NULL),
			                 0);
			return compat;
		}
	fail_msg("no compat for systemd %s", text_of(c, "systemd"));
	return compat;
}

static struct disk_plan_options options_of(const json_t *c, const struct uuid *seed,
                                           const struct compat *compat)
{
	const char *target = text_of(c, "target");
	bool is_block = strcmp(target, "file") != 0;
	const json_t *prepare = json_object_get(c, "prepare");
	struct disk_plan_options opt = {
		.sector_len = strcmp(target, "block4096") == 0 ? 4096 : 512,
		/* the sgdisk step gives the disk the seed as its GUID */
		.disk_id = *seed,
		.table_by_repart = prepare && strcmp(json_string_value(prepare), "none") == 0,
		.compat = compat,
	};
	size_t i;
	json_t *option;

	json_array_foreach (json_object_get(c, "options"), i, option)
		if (strcmp(json_string_value(option), "--offline=yes") == 0)
			opt.coverage = DISK_COVER_FILESYSTEM;
	opt.fs_sector_len = compat_fs_sector_len(compat, is_block, opt.sector_len);
	return opt;
}

/* ---- the case's output ---- */

static void assert_digest(const void *bytes, size_t len, const char *expected)
{
	uint8_t digest[HASH_SHA256_LEN];
	char hex[2 * HASH_SHA256_LEN + 1];

	assert_int_equal(hash_sha256(bytes, len, digest), 0);
	hex_encode(digest, sizeof(digest), hex);
	assert_string_equal(hex, expected);
}

static void assert_table(const json_t *c, const struct disk_plan *p)
{
	static uint8_t edge[EDGE_LEN], head[24576], tail[24576];
	uint64_t tail_off =
	        p->table.lba_cnt * p->table.sector_len - gpt_tail_len(p->table.sector_len);
	uint64_t edge_off = p->disk_len - EDGE_LEN;
	struct diag d = DIAG_INIT;

	if (gpt_encode(&p->table, head, tail, &d) < 0)
		fail_msg("%s", d.text);
	memset(edge, 0, sizeof(edge));
	memcpy(edge, head, MIN((uint64_t)EDGE_LEN, gpt_head_len(p->table.sector_len)));
	assert_digest(edge, sizeof(edge), text_of(c, "gpt_head_sha256"));
	memset(edge, 0, sizeof(edge));
	/* entries of a disk with large sectors start before the edge */
	uint64_t skip = tail_off < edge_off ? edge_off - tail_off : 0;
	memcpy(edge + (tail_off + skip - edge_off), tail + skip,
	       (size_t)(gpt_tail_len(p->table.sector_len) - skip));
	assert_digest(edge, sizeof(edge), text_of(c, "gpt_tail_sha256"));
}

static void assert_row(const json_t *row, const struct definitions *defs, const struct disk_plan *p,
                       size_t i)
{
	const char *name = p->table.part[i].name, *file = text_of(row, "file");
	char id[UUID_TEXT_LEN];

	uuid_format(&p->table.part[i].id, id);
	assert_string_equal(text_of(row, "type"), defs->v[i].type_name);
	assert_string_equal(text_of(row, "label"), name[0] ? name : "-");
	assert_string_equal(text_of(row, "uuid"), id);
	/* "/repart/x.conf"; the built-in ones are "repart/x.conf" */
	assert_string_equal(strrchr(file, '/'), strrchr(defs->v[i].file, '/'));
	assert_int_equal(number_of(row, "partno"), p->table.part[i].number);
	assert_int_equal(number_of(row, "offset"), p->part[i].off);
	assert_int_equal(number_of(row, "raw_size"), p->part[i].len);
	assert_int_equal(number_of(row, "raw_padding"), p->part[i].padding);
	assert_int_equal(p->table.part[i].first_lba * p->table.sector_len, p->part[i].off);
	assert_int_equal((p->table.part[i].last_lba + 1) * p->table.sector_len,
	                 p->part[i].off + p->part[i].len);
}

static void assert_verity(const json_t *verity, const struct disk_plan *p)
{
	char salt[65], id[UUID_TEXT_LEN];
	struct uuid expected = uuid_of(text_of(verity, "uuid"));

	hex_encode(p->verity.salt, p->verity.salt_len, salt);
	assert_string_equal(salt, text_of(verity, "salt"));
	uuid_format(&p->verity.uuid, id);
	assert_true(uuid_equal(&p->verity.uuid, &expected));
	assert_int_equal(p->verity.data_blk_cnt, number_of(verity, "data_blocks"));
	assert_int_equal(p->verity.data_block_len, number_of(verity, "data_block_size"));
	assert_int_equal(p->verity.hash_block_len, number_of(verity, "hash_block_size"));
	assert_int_equal(p->tree_off - p->hash_off + p->geometry.tree_len,
	                 number_of(verity, "area_bytes"));
	assert_int_equal(p->covered_len, p->verity.data_blk_cnt * p->verity.data_block_len);
}

/* Regions touch and cover the disk. */
static void assert_regions(const struct disk_plan *p)
{
	uint64_t end = 0;

	for (size_t i = 0; i < p->region_cnt; i++) {
		assert_int_equal(p->region[i].off, end);
		assert_true(p->region[i].len > 0 && p->region[i].what);
		end += p->region[i].len;
	}
	assert_int_equal(end, p->disk_len);
}

static void check_case(const json_t *c, const struct uuid *seed)
{
	scoped(definitions) struct definitions *defs = definitions_of(c);
	struct compat compat = compat_of(c);
	struct disk_plan_options opt = options_of(c, seed, &compat);
	const json_t *erofs = json_object_get(c, "erofs");
	scoped_free struct disk_identity *id = calloc(1, sizeof(*id));
	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));
	struct diag d = DIAG_INIT;
	uint8_t root[32];
	json_t *row;
	size_t i;

	assert_true(id && p);
	assert_int_equal(disk_identity_init(id, defs, seed, NULL), 0);
	if (json_is_true(json_object_get(c, "expect_failure"))) {
		/* the two trees that are too large are "tiny" and "llm" */
		uint64_t image_len = strcmp(text_of(c, "tree"), "tiny") == 0 ? 16384 : 1929216;

		assert_int_equal(disk_plan_repart(defs, id, &opt, number_of(c, "disk_bytes"),
		                                  image_len, p, &d),
		                 -ENOSPC);
		return;
	}
	struct uuid fs_uuid = uuid_of(text_of(erofs, "uuid"));
	assert_true(uuid_equal(&id->fs_uuid, &fs_uuid));
	int r = disk_plan_repart(defs, id, &opt, number_of(c, "disk_bytes"),
	                         number_of(erofs, "bytes"), p, &d);
	if (compat.erofs_block_is_fs_sector && opt.fs_sector_len < 4096) {
		assert_int_equal(r, -EOPNOTSUPP);
		assert_non_null(strstr(d.text, "FileSystemSectorSize=4096"));
		return;
	}
	if (r < 0)
		fail_msg("%s", d.text);
	assert_int_equal(p->image_off, number_of(erofs, "offset"));
	assert_int_equal(hex_decode(text_of(c, "roothash"), root, sizeof(root)), 0);
	disk_plan_set_root(p, root);

	json_t *rows = json_loads(text_of(c, "repart_json_text"), 0, NULL);
	assert_int_equal(json_array_size(rows), p->part_cnt);
	json_array_foreach (rows, i, row)
		assert_row(row, defs, p, i);
	json_decref(rows);
	assert_verity(json_object_get(c, "verity"), p);
	assert_regions(p);
	assert_table(c, p);
}

static void plans_are_those_of_systemd_repart(void **state)
{
	(void)state;
	char path[4096];
	json_error_t error;
	size_t i;
	json_t *c;

	snprintf(path, sizeof(path), "%s/golden/repart.json", getenv("MODELDISK_TESTS"));
	json_t *golden = json_load_file(path, 0, &error);
	if (!golden)
		fail_msg("%s: %s", path, error.text);
	struct uuid seed = uuid_of(text_of(golden, "seed_uuid"));

	json_array_foreach (json_object_get(golden, "cases"), i, c) {
		print_message("%s\n", text_of(c, "id"));
		check_case(c, &seed);
	}
	assert_true(i > 100);
	json_decref(golden);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_those_of_systemd_repart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
