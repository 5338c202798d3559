/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds of Git LFS objects that end before their time, and the runs that go on with them. The
 * server is an array in memory; what it serves is counted across processes.
 */
#include "support.h"

#include "objects.h"
#include "plan_id.h"
#include "tiny_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CHUNK (100 * KIB) /* of one call of the sink: on no border of anything */

/* Tails inline and not, whole blocks, batches, two files of one object, an empty one. */
static const struct {
	uint64_t size;
	unsigned content;
} files[] = {
	{ 700, 1 },         { 4096, 2 },      { 5000, 3 },
	{ MIB + 300, 4 },   { MIB + 300, 4 }, { MIB + 16 * 4096, 5 },
	{ 8190, 6 },        { 0, 7 },         { 700, 1 },
	{ 2 * MIB + 5, 8 },
};
#define FILE_CNT   ARRAY_LEN(files)
#define OBJECT_CNT 7
#define TOTAL      (700 + 4096 + 5000 + MIB + 300 + MIB + 65536 + 8190 + 2 * MIB + 5)

/* Seen by all processes of a test. */
struct shared {
	uint64_t served;
	unsigned lies; /* objects that are served wrong, once each */
};

struct fixture {
	char *dir;
	char path[512], part[512], journal[512];
	struct tree *tree;
	uint8_t *content[FILE_CNT];
	struct erofs_plan *erofs;
	struct disk_plan *disk;
	struct shared *shared;
	uint8_t *right; /* the disk of an undisturbed build */
	uint8_t root[32];
	const char *commit;
	atomic_bool stop;
	uint64_t stop_after; /* bytes served by this process */
	const char *started_over;
	bool was_continued;
};

static int build(struct fixture *f, uint8_t root[32], struct diag *d);
static uint8_t *read_file(const char *path, size_t *len);

static void make_tree(struct fixture *f)
{
	char name[32];

	f->tree = tiny_tree();
	for (size_t i = 0; i < FILE_CNT; i++) {
		struct tree_node *n;

		snprintf(name, sizeof(name), "f%02zu", i);
		n = tiny_file(f->tree, f->tree->root, name, files[i].size);
		n->content = TREE_CONTENT_LFS;
		f->content[i] = malloc(files[i].size + 1);
		support_fill(f->content[i], files[i].size, files[i].content);
		assert_int_equal(hash_sha256(f->content[i], files[i].size, n->oid), 0);
	}
	tiny_finish(f->tree);
}

static int setup(void **state)
{
	static const struct compat compat;
	struct erofs_plan_options opt = { .compat = &compat };
	static const struct uuid zero;
	struct fixture *f = calloc(1, sizeof(*f));
	size_t len;

	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk", f->dir);
	snprintf(f->part, sizeof(f->part), "%s/.disk.mkdisk-part", f->dir);
	snprintf(f->journal, sizeof(f->journal), "%s/.disk.mkdisk-journal", f->dir);
	f->commit = "0123";
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
	                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	make_tree(f);
	assert_int_equal(erofs_plan_new(f->tree, &opt, &f->erofs, NULL), 0);
	f->disk = calloc(1, sizeof(*f->disk));
	assert_int_equal(
	        disk_plan_flat(erofs_plan_image_len(f->erofs), "\1", 1, &zero, f->disk, NULL), 0);
	assert_int_equal(build(f, f->root, NULL), 0);
	assert_int_equal(f->shared->served, TOTAL);
	f->right = read_file(f->path, &len);
	assert_int_equal(len, f->disk->disk_len);
	unlink(f->path);
	f->shared->served = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	munmap(f->shared, sizeof(*f->shared));
	free(f->right);
	free(f->disk);
	erofs_plan_free(f->erofs);
	tree_free(f->tree);
	for (size_t i = 0; i < FILE_CNT; i++)
		free(f->content[i]);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static uint8_t *read_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	uint8_t *bytes;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size + 1);
	*len = (size_t)st.st_size;
	assert_int_equal(read(fd, bytes, *len), st.st_size);
	close(fd);
	return bytes;
}

static void write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static unsigned entry_cnt(const struct fixture *f)
{
	DIR *d = opendir(f->dir);
	unsigned cnt = 0;

	assert_non_null(d);
	while (readdir(d))
		cnt++;
	closedir(d);
	return cnt - 2; /* "." and ".." */
}

/* ---- a build ---- */

static const uint8_t *content_of(const struct fixture *f, const struct lfs_object *obj)
{
	const struct tree_node *n = objects_node(obj->ctx);

	return f->content[strtoul(n->name + 1, NULL, 10)];
}

/* As lfs_fetch() does with one object; wrong: a byte of it is. 1: it was. */
static int serve(struct fixture *f, const struct lfs_object *obj, bool anew, bool wrong,
                 struct diag *d)
{
	const struct lfs_sink *sink = objects_sink();
	scoped(hash_stream) struct hash_stream *digest = NULL;
	const uint8_t *content = content_of(f, obj);
	uint8_t found[32], wrong_byte;
	uint64_t from = 0;
	int r;

	if (hash_stream_new(HASH_SHA256, &digest) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	r = sink->begin(obj->ctx, anew, digest, &from, d);
	for (size_t n; r == 0 && from < obj->size; from += n) {
		n = (size_t)MIN(CHUNK, obj->size - from);
		if (f->stop_after && f->shared->served >= f->stop_after)
			return diag_set(d, -EINTR, "interrupted");
		if (wrong && from + n == obj->size)
			n--;
		assert_int_equal(hash_stream_add(digest, content + from, n), 0);
		r = sink->data(obj->ctx, content + from, n, d);
		f->shared->served += n;
		if (r == 0 && wrong && from + n + 1 == obj->size) {
			wrong_byte = (uint8_t)~content[obj->size - 1];
			assert_int_equal(hash_stream_add(digest, &wrong_byte, 1), 0);
			r = sink->data(obj->ctx, &wrong_byte, 1, d);
			n++;
		}
	}
	if (r < 0)
		return r;
	assert_int_equal(hash_stream_finish(digest, found), 0);
	if (memcmp(found, obj->oid, sizeof(found)) != 0)
		return 1;
	return sink->verified(obj->ctx, d);
}

static int fetch(struct fixture *f, struct objects *o, struct diag *d)
{
	size_t cnt;
	const struct lfs_object *obj = objects_missing(o, &cnt);
	int r = 0;

	for (size_t i = 0; i < cnt && r == 0; i++) {
		bool wrong = f->shared->lies > 0;

		f->shared->lies -= wrong;
		r = serve(f, &obj[i], false, wrong, d);
		if (r != 0)
			objects_sink()->abandon(obj[i].ctx);
		if (r == 1) {
			r = serve(f, &obj[i], true, false, d);
			if (r != 0)
				objects_sink()->abandon(obj[i].ctx);
			assert_true(r <= 0);
		}
	}
	return r;
}

static int open_output(struct fixture *f, struct objects *o, struct output **out, struct diag *d)
{
	struct journal_plan plan;
	struct output_options opt = { .disk_len = f->disk->disk_len,
		                      .need_len = f->disk->disk_len,
		                      .journal = &plan };

	plan.size = objects_sizes(o, &plan.object_cnt);
	assert_int_equal(plan.object_cnt, OBJECT_CNT);
	if (plan_id(f->commit, f->erofs, f->disk, plan.id) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	return output_open(f->path, &opt, out, d);
}

static int write_disk(struct fixture *f, struct objects *o, struct output *out, uint8_t root[32],
                      struct diag *d)
{
	struct stream_options opt = { .tails_at_once = true };
	scoped(stream) struct stream *s = NULL;
	int r = stream_new(f->erofs, f->disk, out, &opt, &s, d);

	if (r < 0)
		return r;
	objects_start(o, s, out, f->disk, &f->stop);
	r = objects_recall(o, 3, d);
	if (r == 0)
		r = fetch(f, o, d);
	return r < 0 ? r : stream_finish(s, root, d);
}

static int build(struct fixture *f, uint8_t root[32], struct diag *d)
{
	scoped(objects) struct objects *o = NULL;
	scoped(output) struct output *out = NULL;
	int r = objects_new(f->tree, f->erofs, &o, d);

	if (r < 0)
		return r;
	r = open_output(f, o, &out, d);
	if (r < 0)
		return r;
	f->started_over = output_started_over(out);
	f->was_continued = output_is_continued(out);
	r = write_disk(f, o, out, root, d);
	return r < 0 ? r : output_commit(out, d);
}

/* In a process of its own that is killed before its k-th call; true: it came to its end. */
static bool build_killed_at(struct fixture *f, unsigned long k)
{
	pid_t pid = fork();
	uint8_t root[32];
	int status;

	if (pid == 0) {
		support_kill_at_call(k);
		_exit(build(f, root, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFEXITED(status);
}

static void assert_disk_is_right(const struct fixture *f)
{
	size_t len;
	scoped_free uint8_t *found = read_file(f->path, &len);

	assert_int_equal(len, f->disk->disk_len);
	assert_memory_equal(found, f->right, len);
	assert_int_equal(entry_cnt(f), 1);
}

static void finish_build(struct fixture *f)
{
	uint8_t root[32];
	struct diag d = DIAG_INIT;
	int r = build(f, root, &d);

	assert_string_equal(d.text, "");
	assert_int_equal(r, 0);
	assert_memory_equal(root, f->root, 32);
	assert_disk_is_right(f);
	unlink(f->path);
}

/* Leaves what a run wrote that was interrupted after so many bytes. */
static void interrupt_build(struct fixture *f, uint64_t after)
{
	uint8_t root[32];

	f->shared->served = 0;
	f->stop_after = after;
	assert_int_equal(build(f, root, NULL), -EINTR);
	f->stop_after = 0;
	f->shared->served = 0;
}

/* ---- going on ---- */

static void build_killed_at_any_call_goes_on(void **state)
{
	struct fixture *f = *state;
	bool finished = false;

	for (unsigned long k = 1; !finished; k++) {
		uint64_t before;

		f->shared->served = 0;
		finished = build_killed_at(f, k);
		before = f->shared->served;
		f->shared->served = 0;
		if (access(f->path, F_OK) == 0) { /* killed while cleaning up, or not at all */
			unlink(f->journal);
			assert_disk_is_right(f);
			unlink(f->path);
			continue;
		}
		finish_build(f);
		/* what waited in a batch is served again, and not more */
		if (f->was_continued)
			assert_true(f->shared->served + before <= TOTAL + MIB + CHUNK);
		assert_true(k < 500);
	}
}

static void build_killed_again_and_again_ends(void **state)
{
	struct fixture *f = *state;
	unsigned runs = 1;

	while (!build_killed_at(f, 30))
		assert_true(runs++ < 100);
	assert_true(runs > 2);
	assert_disk_is_right(f);
}

static void interrupted_build_serves_nothing_twice(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL - 2 * CHUNK);
	finish_build(f);
	assert_true(f->was_continued);
	assert_true(f->shared->served <= MIB + 3 * CHUNK);
}

static void complete_objects_need_no_server(void **state)
{
	struct fixture *f = *state;

	/* fsync is among the last calls: all is there but the name */
	for (unsigned long k = 1; entry_cnt(f) == 0 || f->shared->served < TOTAL; k++) {
		unlink(f->part);
		unlink(f->journal);
		f->shared->served = 0;
		assert_false(build_killed_at(f, k));
	}
	f->shared->served = 0;
	assert_true(build_killed_at(f, 1000));
	assert_true(f->shared->served <= CHUNK);
	assert_disk_is_right(f);
}

/* ---- what was left is not believed ---- */

static void flipped_byte_in_the_part_never_reaches_the_disk(void **state)
{
	struct fixture *f = *state;
	size_t len;
	scoped_free uint8_t *part = NULL;
	scoped_free uint8_t *journal = NULL;
	size_t journal_len;

	interrupt_build(f, TOTAL - 300000);
	part = read_file(f->part, &len);
	journal = read_file(f->journal, &journal_len);
	for (size_t off = 11; off < len; off += 131071) {
		write_file(f->journal, journal, journal_len);
		part[off] ^= 0x10;
		write_file(f->part, part, len);
		part[off] ^= 0x10;
		finish_build(f);
		assert_true(f->was_continued);
	}
}

static void part_of_zeros_is_written_anew(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL - 300000);
	assert_int_equal(truncate(f->part, 0), 0);
	assert_int_equal(truncate(f->part, (off_t)f->disk->disk_len), 0);
	finish_build(f);
	assert_true(f->was_continued);
	assert_true(f->shared->served >= TOTAL); /* and what followed what was not there */
}

static void stale_bytes_between_contents_are_zeroed(void **state)
{
	struct fixture *f = *state;
	size_t len;
	scoped_free uint8_t *part = NULL;

	interrupt_build(f, TOTAL / 2);
	part = read_file(f->part, &len);
	for (size_t i = 0; i < len; i += 4096) {
		static const uint8_t zeros[4096];

		if (memcmp(part + i, zeros, MIN(4096, len - i)) == 0)
			memset(part + i, 0xaa, MIN(4096, len - i));
	}
	write_file(f->part, part, len);
	finish_build(f);
	assert_true(f->was_continued);
}

static void any_changed_byte_of_the_journal_does_no_harm(void **state)
{
	struct fixture *f = *state;
	size_t len, part_len;
	scoped_free uint8_t *part = NULL, *journal = NULL;

	interrupt_build(f, TOTAL - 300000);
	part = read_file(f->part, &part_len);
	journal = read_file(f->journal, &len);
	assert_int_equal(len, JOURNAL_HEADER_LEN + OBJECT_CNT * 8);
	for (size_t i = 0; i < len; i += i < JOURNAL_HEADER_LEN ? 5 : 1) {
		write_file(f->part, part, part_len);
		journal[i] ^= 0x21;
		write_file(f->journal, journal, len);
		journal[i] ^= 0x21;
		finish_build(f);
		if (i < JOURNAL_HEADER_LEN)
			assert_string_equal(f->started_over, "its journal is damaged");
	}
}

static void cut_journal_is_damaged(void **state)
{
	struct fixture *f = *state;
	size_t len, part_len;
	scoped_free uint8_t *part = NULL, *journal = NULL;

	interrupt_build(f, TOTAL - 300000);
	part = read_file(f->part, &part_len);
	journal = read_file(f->journal, &len);
	for (size_t i = 0; i < len; i += 13) {
		write_file(f->part, part, part_len);
		write_file(f->journal, journal, i);
		finish_build(f);
		assert_string_equal(f->started_over, "its journal is damaged");
		assert_false(f->was_continued);
	}
}

static void wrong_bytes_from_the_server_come_again(void **state)
{
	struct fixture *f = *state;

	f->shared->lies = OBJECT_CNT;
	finish_build(f);
	/* the same with what an earlier run left */
	interrupt_build(f, TOTAL - MIB);
	f->shared->lies = OBJECT_CNT;
	finish_build(f);
}

/* ---- when there is nothing to go on with ---- */

static void another_plan_starts_over(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL / 2);
	f->commit = "4567";
	finish_build(f);
	assert_string_equal(f->started_over, "it was of another command or source");
	assert_int_equal(f->shared->served, TOTAL);
}

static void part_of_another_length_starts_over(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL / 2);
	assert_int_equal(truncate(f->part, (off_t)f->disk->disk_len - 1), 0);
	finish_build(f);
	assert_string_equal(f->started_over, "it is damaged");
}

static void journal_without_a_part_goes(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL / 2);
	unlink(f->part);
	finish_build(f);
	assert_null(f->started_over);
}

static void part_without_a_journal_goes(void **state)
{
	struct fixture *f = *state;

	interrupt_build(f, TOTAL / 2);
	unlink(f->journal);
	finish_build(f);
	assert_string_equal(f->started_over, "it has no journal");
}

static void build_without_progress_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t root[32];

	f->shared->served = 1;
	f->stop_after = 1;
	assert_int_equal(build(f, root, NULL), -EINTR);
	assert_int_equal(entry_cnt(f), 0);
}

static void discarded_part_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct objects *o = NULL;
	struct output *out = NULL;

	interrupt_build(f, TOTAL / 2);
	assert_int_equal(entry_cnt(f), 2);
	assert_int_equal(objects_new(f->tree, f->erofs, &o, NULL), 0);
	assert_int_equal(open_output(f, o, &out, NULL), 0);
	assert_string_equal(output_kept_name(out), ".disk.mkdisk-part");
	output_discard(out);
	assert_null(output_kept_name(out));
	output_close(out);
	objects_free(o);
	assert_int_equal(entry_cnt(f), 0);
}

static void second_run_for_the_same_disk_is_refused(void **state)
{
	struct fixture *f = *state;
	struct objects *o = NULL;
	struct output *out = NULL;
	struct diag d = DIAG_INIT;
	uint8_t root[32];

	assert_int_equal(objects_new(f->tree, f->erofs, &o, NULL), 0);
	assert_int_equal(open_output(f, o, &out, NULL), 0);
	assert_int_equal(build(f, root, &d), -EAGAIN);
	assert_non_null(strstr(d.text, "another mkdisk is writing it"));
	output_close(out);
	objects_free(o);
	finish_build(f);
}

/* A file of somebody who waits for us to fill it. */
static void foreign_files_are_not_used(void **state)
{
	struct fixture *f = *state;
	char victim[600];
	struct diag d = DIAG_INIT;
	uint8_t root[32];

	snprintf(victim, sizeof(victim), "%s/victim", f->dir);
	write_file(victim, "precious", 8);
	assert_int_equal(symlink("victim", f->part), 0);
	assert_int_equal(build(f, root, &d), -EEXIST);
	unlink(f->part);
	assert_int_equal(link(victim, f->part), 0);
	assert_int_equal(build(f, root, &d), -EEXIST);
	assert_non_null(strstr(d.text, "remove it first"));
	unlink(f->part);
	interrupt_build(f, TOTAL / 2);
	unlink(f->journal);
	assert_int_equal(link(victim, f->journal), 0);
	assert_int_equal(build(f, root, &d), -EEXIST);
	unlink(f->journal);
	unlink(victim);
	finish_build(f);
}

static void failed_allocation_keeps_what_was_left(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r < 0; k++) {
		uint8_t root[32];
		struct diag d = DIAG_INIT;

		interrupt_build(f, TOTAL / 2);
		support_fail_allocation(k);
		r = build(f, root, &d);
		support_fail_allocation(0);
		if (r < 0) {
			assert_true(d.text[0] != 0);
			assert_int_equal(entry_cnt(f), 2);
			finish_build(f);
			assert_true(f->was_continued);
		}
		k += k / 8; /* the first ones each, then samples */
		assert_true(k < 5000);
	}
	assert_disk_is_right(f);
}

/* ---- pointers ---- */

static void pointers_that_contradict_are_refused(void **state)
{
	struct fixture *f = *state;
	struct tree_node *n = f->tree->node[1], *empty = f->tree->node[8];
	struct objects *o = NULL;
	struct diag d = DIAG_INIT;

	assert_int_equal(empty->size, 0);
	empty->oid[0] ^= 1;
	assert_int_equal(objects_new(f->tree, f->erofs, &o, &d), -EBADMSG);
	assert_non_null(strstr(d.text, "f07"));
	empty->oid[0] ^= 1;
	n->size--;
	assert_int_equal(objects_new(f->tree, f->erofs, &o, &d), -EBADMSG);
	n->size++;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(build_killed_at_any_call_goes_on),
		TEST(build_killed_again_and_again_ends),
		TEST(interrupted_build_serves_nothing_twice),
		TEST(complete_objects_need_no_server),
		TEST(flipped_byte_in_the_part_never_reaches_the_disk),
		TEST(part_of_zeros_is_written_anew),
		TEST(stale_bytes_between_contents_are_zeroed),
		TEST(any_changed_byte_of_the_journal_does_no_harm),
		TEST(cut_journal_is_damaged),
		TEST(wrong_bytes_from_the_server_come_again),
		TEST(another_plan_starts_over),
		TEST(part_of_another_length_starts_over),
		TEST(journal_without_a_part_goes),
		TEST(part_without_a_journal_goes),
		TEST(build_without_progress_leaves_nothing),
		TEST(discarded_part_leaves_nothing),
		TEST(second_run_for_the_same_disk_is_refused),
		TEST(foreign_files_are_not_used),
		TEST(failed_allocation_keeps_what_was_left),
		TEST(pointers_that_contradict_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
