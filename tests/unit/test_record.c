/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

struct fixture {
	char *dir;
	struct definition def[3];
	struct definitions defs;
	struct disk_plan *plan;
	struct compat compat;
	struct source *source;
	struct tree *tree;
	const char *exclude[3];
	uint8_t (*digest)[32];
	struct record rec;
};

static void put_file(const char *dir, const char *name, const char *text)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* The numbers of a disk that systemd-repart 262 made: 256 MiB, a tree of three small files. */
static void make_plan(struct fixture *f)
{
	struct disk_plan *p = calloc(1, sizeof(*p));

	p->disk_len = 268435456;
	p->has_table = true;
	p->table.sector_len = 512;
	p->table.part_cnt = p->part_cnt = 2;
	strcpy(p->table.part[0].name, "linux-generic");
	strcpy(p->table.part[1].name, "linux-generic-2");
	p->table.part[1].number = 1;
	p->part[0] = (struct disk_part){ 20480, 201285632, 0 };
	p->part[1] = (struct disk_part){ 201306112, 67108864, 0 };
	p->image_off = 20480;
	p->image_len = 16384;
	p->covered_len = 201285632;
	p->hash_off = 201306112;
	p->tree_off = p->hash_off + 4096;
	p->verity = (struct verity_params){ .alg = HASH_SHA256,
		                            .hash_type = 1,
		                            .data_block_len = 4096,
		                            .hash_block_len = 4096,
		                            .data_blk_cnt = 49142,
		                            .salt_len = 2,
		                            .salt = { 0x90, 0x16 } };
	p->geometry.tree_len = 1589248;
	f->plan = p;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static char file0[] = "/repart/00-repart.conf", file1[] = "/repart/01-repart.conf";
	static char generic[] = "linux-generic";
	struct source_options opt = { 0 };

	f->dir = support_make_dir();
	put_file(f->dir, "config.json", "{}\n");
	put_file(f->dir, "quote\"\n\x01", "");
	put_file(f->dir, "raw\xff", "abc");
	assert_int_equal(source_open(f->dir, NULL, &opt, &f->source, NULL), 0);
	f->tree = source_tree(f->source);
	assert_int_equal(tree_finish(f->tree, NULL), 0);
	f->def[0] = (struct definition){ .file = file0,
		                         .type_name = generic,
		                         .verity = DEFINITION_VERITY_DATA };
	f->def[1] = (struct definition){ .file = file1,
		                         .type_name = generic,
		                         .verity = DEFINITION_VERITY_HASH };
	f->def[2] = f->def[1];
	f->def[2].verity = DEFINITION_VERITY_OFF;
	f->defs = (struct definitions){ .v = f->def, .cnt = 2 };
	make_plan(f);
	f->compat =
	        (struct compat){ .systemd_name = "systemd-258+", .erofs_name = "erofs-1.8.10+" };
	f->exclude[0] = "*.bin";
	f->exclude[1] = "a,b\"";
	f->digest = calloc(f->tree->node_cnt, sizeof(*f->digest));
	f->rec = (struct record){ .disk_path = "/data.disk",
		                  .layout = "repart",
		                  .defs = &f->defs,
		                  .plan = f->plan,
		                  .compat = &f->compat,
		                  .source = f->source,
		                  .tree = f->tree,
		                  .exclude = f->exclude,
		                  .exclude_mode = "gitignore" };
	for (size_t i = 0; i < sizeof(f->rec.root); i++)
		f->rec.root[i] = (uint8_t)(0xa0 + i);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_allocation(0);
	source_close(f->source);
	free(f->plan);
	free(f->digest);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

#define ROOT      "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
#define NULL_UUID "00000000-0000-0000-0000-000000000000"

static void result_is_the_text_of_systemd_repart(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL;

	assert_int_equal(record_result_text(&f->rec, RECORD_JSON_PRETTY, &text, NULL), 0);
	assert_string_equal(text, "[\n"
	                          "\t{\n"
	                          "\t\t\"type\" : \"linux-generic\",\n"
	                          "\t\t\"label\" : \"linux-generic\",\n"
	                          "\t\t\"uuid\" : \"" NULL_UUID "\",\n"
	                          "\t\t\"partno\" : 0,\n"
	                          "\t\t\"file\" : \"/repart/00-repart.conf\",\n"
	                          "\t\t\"node\" : \"/data.disk1\",\n"
	                          "\t\t\"offset\" : 20480,\n"
	                          "\t\t\"old_size\" : 0,\n"
	                          "\t\t\"raw_size\" : 201285632,\n"
	                          "\t\t\"old_padding\" : 0,\n"
	                          "\t\t\"raw_padding\" : 0,\n"
	                          "\t\t\"activity\" : \"create\",\n"
	                          "\t\t\"roothash\" : \"" ROOT "\"\n"
	                          "\t},\n"
	                          "\t{\n"
	                          "\t\t\"type\" : \"linux-generic\",\n"
	                          "\t\t\"label\" : \"linux-generic-2\",\n"
	                          "\t\t\"uuid\" : \"" NULL_UUID "\",\n"
	                          "\t\t\"partno\" : 1,\n"
	                          "\t\t\"file\" : \"/repart/01-repart.conf\",\n"
	                          "\t\t\"node\" : \"/data.disk2\",\n"
	                          "\t\t\"offset\" : 201306112,\n"
	                          "\t\t\"old_size\" : 0,\n"
	                          "\t\t\"raw_size\" : 67108864,\n"
	                          "\t\t\"old_padding\" : 0,\n"
	                          "\t\t\"raw_padding\" : 0,\n"
	                          "\t\t\"activity\" : \"create\",\n"
	                          "\t\t\"roothash\" : \"" ROOT "\"\n"
	                          "\t}\n"
	                          "]\n");
}

static void short_result_is_one_line_without_blanks(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL;

	f->plan->part_cnt = 1;
	assert_int_equal(record_result_text(&f->rec, RECORD_JSON_SHORT, &text, NULL), 0);
	assert_string_equal(
	        text,
	        "[{\"type\":\"linux-generic\",\"label\":\"linux-generic\",\"uuid\":\"" NULL_UUID
	        "\",\"partno\":0,\"file\":\"/repart/00-repart.conf\",\"node\":\"/data.disk1\","
	        "\"offset\":20480,\"old_size\":0,\"raw_size\":201285632,\"old_padding\":0,"
	        "\"raw_padding\":0,\"activity\":\"create\",\"roothash\":\"" ROOT "\"}]\n");
}

static void result_without_json_is_the_root_hash(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL;

	assert_int_equal(record_result_text(&f->rec, RECORD_JSON_OFF, &text, NULL), 0);
	assert_string_equal(text, ROOT "\n");
}

static json_t *parse(const struct fixture *f)
{
	scoped_free char *text = NULL;
	json_t *j;

	assert_int_equal(record_result_text(&f->rec, RECORD_JSON_PRETTY, &text, NULL), 0);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	return j;
}

static const char *string_at(json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "(none)";
}

static void node_of_a_device_gets_a_p(void **state)
{
	struct fixture *f = *state;
	json_t *j;

	f->rec.disk_path = "/dev/loop0";
	j = parse(f);
	assert_string_equal(string_at(json_array_get(j, 1), "node"), "/dev/loop0p2");
	json_decref(j);
	f->rec.disk_path = "/dev/sd\"a";
	j = parse(f);
	assert_string_equal(string_at(json_array_get(j, 0), "node"), "/dev/sd\"a1");
	json_decref(j);
}

static void partition_without_verity_has_no_root_hash(void **state)
{
	struct fixture *f = *state;
	static char drop_in[] = "/repart/01.conf.d/x.conf", *drop_ins[] = { drop_in };
	json_t *j;

	f->defs.cnt = f->plan->part_cnt = 3;
	f->def[1].drop_in = drop_ins;
	f->def[1].drop_in_cnt = 1;
	j = parse(f);
	assert_string_equal(string_at(json_array_get(j, 1), "roothash"), ROOT);
	assert_true(json_is_null(json_object_get(json_array_get(j, 2), "roothash")));
	assert_string_equal(string_at(json_array_get(j, 2), "label"), "-");
	assert_true(json_is_null(json_object_get(json_array_get(j, 0), "drop-in_files")));
	assert_string_equal(json_string_value(json_array_get(
	                            json_object_get(json_array_get(j, 1), "drop-in_files"), 0)),
	                    drop_in);
	json_decref(j);
}

static void flat_result_answers_the_same_question(void **state)
{
	struct fixture *f = *state;
	json_t *j, *disk;

	f->plan->has_table = false;
	f->rec.layout = "flat";
	j = parse(f);
	assert_int_equal(json_array_size(j), 1);
	disk = json_array_get(j, 0);
	assert_string_equal(string_at(disk, "roothash"), ROOT);
	assert_string_equal(string_at(disk, "salt"), "9016");
	assert_int_equal(json_integer_value(json_object_get(disk, "hash_offset")), 201306112);
	assert_int_equal(json_integer_value(json_object_get(disk, "data_blocks")), 49142);
	json_decref(j);
}

static json_t *find_file(json_t *record, const char *key, const char *path)
{
	json_t *files = json_object_get(record, "files"), *file;
	size_t i;

	json_array_foreach (files, i, file) {
		if (strcmp(string_at(file, key), path) == 0)
			return file;
	}
	fail_msg("no file with %s %s", key, path);
	return NULL;
}

static void record_says_what_is_on_the_disk(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL;
	uint8_t image[32] = { 0xee };
	json_t *j, *file;

	for (uint32_t i = 0; i < f->tree->node_cnt; i++)
		f->digest[i][0] = (uint8_t)i;
	f->rec.file_digest = (const uint8_t(*)[32])f->digest;
	f->rec.image_digest = image;
	assert_int_equal(record_text(&f->rec, &text, NULL), 0);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_string_equal(string_at(j, "model_source"), f->dir);
	assert_string_equal(string_at(j, "commit_hash"), "");
	assert_string_equal(string_at(j, "excluded_files"), "*.bin,a,b\"");
	assert_string_equal(string_at(j, "root_hash"), ROOT);
	assert_string_equal(string_at(j, "hash_offset"), "201306112");
	assert_string_equal(string_at(j, "erofs_version"), "erofs-1.8.10+");
	assert_int_equal(strlen(string_at(j, "file_hash_sha256")), 64);
	assert_string_equal(string_at(j, "coverage"), "partition");
	assert_int_equal(json_array_size(json_object_get(j, "partitions")), 2);
	assert_int_equal(json_array_size(json_object_get(j, "files")), 3);

	file = find_file(j, "path", "config.json");
	assert_int_equal(json_integer_value(json_object_get(file, "size")), 3);
	assert_string_equal(string_at(file, "mode"), "0640");
	assert_string_equal(string_at(file, "type"), "file");
	assert_int_equal(strncmp(string_at(file, "sha256"), "01", 2), 0);
	find_file(j, "path", "quote\"\n\x01");
	file = find_file(j, "path_hex", "726177ff");
	assert_null(json_object_get(file, "path"));
	json_decref(j);
}

static void record_without_digests_leaves_them_out(void **state)
{
	struct fixture *f = *state;
	scoped_free char *text = NULL;
	json_t *j;

	assert_int_equal(record_text(&f->rec, &text, NULL), 0);
	j = json_loads(text, 0, NULL);
	assert_true(json_is_null(json_object_get(j, "file_hash_sha256")));
	assert_null(json_object_get(find_file(j, "path", "config.json"), "sha256"));
	json_decref(j);
}

static void record_goes_to_files_only(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;
	char path[600];
	struct stat st;

	assert_int_equal(record_check_path("-", &d), -EINVAL);
	assert_int_equal(record_check_path(f->dir, &d), -EINVAL);
	assert_int_equal(record_check_path("/nonexistent/record", &d), -ENOENT);
	snprintf(path, sizeof(path), "%s/record.json", f->dir);
	assert_int_equal(record_check_path(path, &d), 0);
	assert_int_equal(record_write("first, and longer\n", 18, path, &d), 0);
	assert_int_equal(record_write("second\n", 7, path, &d), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 7);
}

static void failed_allocation_is_told(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k++) {
		struct diag d = DIAG_INIT;
		char *text = NULL;

		support_fail_allocation(k);
		r = record_text(&f->rec, &text, &d);
		support_fail_allocation(0);
		if (r != 0)
			assert_int_equal(r, -ENOMEM);
		free(text);
		assert_true(k < 100);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(result_is_the_text_of_systemd_repart),
		TEST(short_result_is_one_line_without_blanks),
		TEST(result_without_json_is_the_root_hash),
		TEST(node_of_a_device_gets_a_p),
		TEST(partition_without_verity_has_no_root_hash),
		TEST(flat_result_answers_the_same_question),
		TEST(record_says_what_is_on_the_disk),
		TEST(record_without_digests_leaves_them_out),
		TEST(record_goes_to_files_only),
		TEST(failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
