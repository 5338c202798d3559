/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of failures, and how often, when many threads meet them at once. The disk is in
 * memory: one file of 63 blocks, some of them broken.
 */
#include "support.h"

#include "erofs_disk.h"
#include "failures.h"
#include "image.h"
#include "report.h"
#include "verity_disk.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#define BLOCK      4096
#define BLK_CNT    64
#define ROOT_NID   36
#define FILE_NID   40
#define THREAD_CNT 8

static struct verity_disk disk;
static struct blk *blk;
static struct image *img;
static struct failures *failures;
static struct erofs_inode file;
static FILE *log_file;
static int saved_stderr;

static void put_dirent(uint8_t *dir, unsigned i, uint64_t nid, size_t name_off, uint8_t type)
{
	const struct erofs_dirent_disk e = { .nid = le64_of(nid),
		                             .name_off = le16_of((uint16_t)name_off),
		                             .type = type };

	memcpy(dir + i * sizeof(e), &e, sizeof(e));
}

/* "/f" is a safetensors file in blocks 1 to 63: one tensor of the upper 31, one of the rest. */
static uint8_t *make_image(void)
{
	static const char header[] = "{\"low\":{\"data_offsets\":[0,126896]},"
	                             "\"high\":{\"data_offsets\":[126896,253872]}}";
	const struct erofs_super_disk super = { .magic = le32_of(EROFS_SUPER_MAGIC),
		                                .blkszbits = 12,
		                                .root_nid = le16_of(ROOT_NID),
		                                .inos = le64_of(2),
		                                .blocks = le32_of(BLK_CNT) };
	const struct erofs_compact_disk root = { .format = le16_of(EROFS_LAYOUT_INLINE << 1),
		                                 .mode = le16_of(S_IFDIR | 0755),
		                                 .nlink = le16_of(2),
		                                 .size = le32_of(3 * 12 + 4) };
	const struct erofs_compact_disk inode = { .format = le16_of(EROFS_LAYOUT_PLAIN << 1),
		                                  .mode = le16_of(S_IFREG | 0644),
		                                  .nlink = le16_of(1),
		                                  .size = le32_of((BLK_CNT - 1) * BLOCK),
		                                  .u = le32_of(1) };
	const le64 header_len = le64_of(sizeof(header) - 1);
	uint8_t *bytes = calloc(BLK_CNT, BLOCK), *dir = bytes + (ROOT_NID + 1) * EROFS_SLOT_LEN;

	assert_non_null(bytes);
	memcpy(bytes + EROFS_SUPER_OFF, &super, sizeof(super));
	memcpy(bytes + ROOT_NID * EROFS_SLOT_LEN, &root, sizeof(root));
	put_dirent(dir, 0, ROOT_NID, 36, 2);
	put_dirent(dir, 1, ROOT_NID, 37, 2);
	put_dirent(dir, 2, FILE_NID, 39, 1);
	memcpy(dir + 36, "...f", 4);
	memcpy(bytes + FILE_NID * EROFS_SLOT_LEN, &inode, sizeof(inode));
	memcpy(bytes + BLOCK, &header_len, sizeof(header_len));
	memcpy(bytes + BLOCK + sizeof(header_len), header, sizeof(header) - 1);
	return bytes;
}

static bool is_broken(uint64_t data_blk)
{
	return data_blk >= 8 && data_blk % 8 == 0;
}

static int open_disk(void **state)
{
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, BLOCK, 32, BLK_CNT);
	struct image_options o = { .root_len = 32 };
	static uint8_t *bytes;

	(void)state;
	verity_disk_make_over(&disk, &p, make_image());
	bytes = malloc(disk.data_len + disk.area_len);
	assert_non_null(bytes);
	memcpy(bytes, disk.data, disk.data_len);
	memcpy(bytes + disk.data_len, disk.area, disk.area_len);
	for (uint64_t i = 0; i < BLK_CNT; i++)
		if (is_broken(i))
			bytes[i * BLOCK + 77] ^= 1;
	memcpy(o.root, disk.root, 32);
	o.verity.on_failure = failures_note;
	assert_int_equal(blk_of_memory(bytes, disk.data_len + disk.area_len, "d", &blk), 0);
	assert_int_equal(image_open_blk(blk, NULL, &o, &img, NULL), 0);
	assert_int_equal(erofs_inode_get(image_erofs(img), FILE_NID, &file, NULL), 0);
	assert_int_equal(failures_new(&failures), 0);
	log_file = tmpfile();
	assert_non_null(log_file);
	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fileno(log_file), STDERR_FILENO);
	report_start("test", REPORT_JSON, REPORT_NOTE);
	*state = bytes;
	return 0;
}

static int close_disk(void **state)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	fclose(log_file);
	failures_free(failures);
	image_close(img);
	verity_disk_free(&disk);
	free(*state);
	return 0;
}

/* As ops.c reads: a request, its failure told. Returns whether the disk was to blame. */
static bool read_block(uint64_t file_blk)
{
	uint8_t buf[BLOCK];
	struct diag d = DIAG_INIT;
	struct failed_request q = { .fs = image_erofs(img),
		                    .nid = FILE_NID,
		                    .inode = &file,
		                    .off = file_blk * BLOCK,
		                    .len = BLOCK };
	int64_t got;

	failures_begin();
	got = erofs_read(q.fs, &file, q.off, buf, BLOCK, &d);
	if (got >= 0)
		return false;
	q.err = (int)got;
	q.text = d.text;
	return failures_report(failures, &q);
}

static void *read_all(void *arg)
{
	for (unsigned round = 0; round < 4; round++)
		for (uint64_t i = 0; i < BLK_CNT - 1; i++)
			assert_int_equal(read_block(i), is_broken(i + 1));
	return arg;
}

/* How many lines of an event there are; each line is one whole object. */
static size_t count_events(const char *event, json_t **last)
{
	char line[16384];
	size_t cnt = 0;

	rewind(log_file);
	while (fgets(line, sizeof(line), log_file)) {
		json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
		const char *is = json_string_value(json_object_get(o, "event"));

		assert_non_null(o);
		if (is && strcmp(is, event) == 0) {
			cnt++;
			json_decref(*last);
			*last = json_incref(o);
		}
		json_decref(o);
	}
	return cnt;
}

static const char *member(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static void threads_tell_each_failure_once_and_count_all(void **state)
{
	pthread_t t[THREAD_CNT];
	json_t *last = NULL;

	(void)state;
	for (size_t i = 0; i < THREAD_CNT; i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_all, NULL), 0);
	for (size_t i = 0; i < THREAD_CNT; i++)
		pthread_join(t[i], NULL);
	failures_report_count(failures);
	assert_int_equal(count_events("proof-failure", &last), 7);
	/* at 10, at 100, and now */
	assert_int_equal(count_events("failure-count", &last), 3);
	assert_string_equal(member(last, "failures"), "224");
	assert_string_equal(member(last, "distinct"), "7");
	json_decref(last);
}

static void the_record_says_file_tensor_block_and_digests(void **state)
{
	json_t *last = NULL;

	(void)state;
	assert_true(read_block(39));
	assert_int_equal(count_events("proof-failure", &last), 1);
	assert_string_equal(member(last, "file"), "\"f\"");
	assert_string_equal(member(last, "file_offset"), "159744");
	assert_string_equal(member(last, "length"), "4096");
	assert_string_equal(member(last, "tensor"), "\"high\"");
	assert_string_equal(member(last, "tensor_length"), "4096");
	assert_string_equal(member(last, "tensors"), "1");
	assert_string_equal(member(last, "tree_level"), "-1");
	assert_string_equal(member(last, "block"), "40");
	assert_string_equal(member(last, "partition_offset"), "163840");
	assert_string_equal(member(last, "level"), "error");
	assert_int_equal(strlen(member(last, "expected")), 64);
	assert_string_not_equal(member(last, "expected"), member(last, "found"));
	json_decref(last);
}

static void a_format_error_is_told_as_one(void **state)
{
	struct failed_request q = {
		.fs = image_erofs(img), .nid = FILE_NID, .err = -EUCLEAN, .text = "the inode is odd"
	};
	json_t *last = NULL;

	(void)state;
	failures_begin();
	assert_true(failures_report(failures, &q));
	assert_true(failures_report(failures, &q));
	assert_int_equal(count_events("format-failure", &last), 1);
	assert_string_equal(member(last, "message"), "\"f\": the inode is odd");
	q.err = -ENOMEM;
	assert_false(failures_report(failures, &q));
	assert_int_equal(count_events("read-failure", &last), 1);
	json_decref(last);
}

static void failed_allocation_still_tells(void **state)
{
	json_t *last = NULL;

	(void)state;
	for (unsigned long k = 1; k < 20; k++) {
		support_fail_allocation(k);
		read_block(7 + 8 * (k % 7));
		support_fail_allocation(0);
	}
	failures_report_count(failures);
	assert_int_equal(count_events("failure-count", &last), 2);
	assert_string_equal(member(last, "failures"), "19");
	json_decref(last);
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, open_disk, close_disk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(threads_tell_each_failure_once_and_count_all),
		DISK_TEST(the_record_says_file_tensor_block_and_digests),
		DISK_TEST(a_format_error_is_told_as_one),
		DISK_TEST(failed_allocation_still_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
