/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "erofs.h"
#include "stream.h"
#include "test_vblk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#define IMAGE_OFF UINT64_C(20480)
#define BEHIND    UINT64_C(81920) /* covered by the tree behind the image */

/* Around every border there is: block, batch, inline tail; and a last block that is padded. */
static const uint64_t sizes[] = { 0,       1,           4095,       4096, 4097,
	                          8160,    65536 + 3,   MIB - 1,    MIB,  MIB + 4096,
	                          MIB + 5, 2 * MIB + 7, 3 * MIB / 2 };
#define FILE_CNT ARRAY_LEN(sizes)

struct fixture {
	char *dir;
	char path[512];
	struct tree *tree;
	const struct tree_node *file[FILE_CNT];
	uint8_t *content[FILE_CNT];
	struct erofs_plan *erofs;
	struct disk_plan *disk;
};

/* A disk without a table: gap, image, zeros under the tree, superblock, tree, zeros. */
static void plan_disk(struct fixture *f, uint32_t data_block_len, uint32_t hash_block_len)
{
	struct disk_plan *p = f->disk;
	size_t n = 0;

	*p = (struct disk_plan){ .image_off = IMAGE_OFF };
	p->image_len = erofs_plan_image_len(f->erofs);
	p->covered_len = p->image_len + BEHIND;
	p->verity = (struct verity_params){ .alg = HASH_SHA256,
		                            .hash_type = 1,
		                            .data_block_len = data_block_len,
		                            .hash_block_len = hash_block_len,
		                            .data_blk_cnt = p->covered_len / data_block_len,
		                            .salt_len = 3,
		                            .salt = { 1, 2, 3 } };
	assert_int_equal(verity_geometry_init(&p->geometry, &p->verity, NULL), 0);
	p->hash_off = p->image_off + p->covered_len;
	p->tree_off = p->hash_off + verity_tree_off(&p->verity);
	p->disk_len = p->tree_off + p->geometry.tree_len + 10000;
	p->region[n++] = (struct disk_region){ 0, IMAGE_OFF, DISK_REGION_ZERO, "gap" };
	p->region[n++] =
	        (struct disk_region){ p->image_off, p->image_len, DISK_REGION_IMAGE, "image" };
	p->region[n++] = (struct disk_region){ p->image_off + p->image_len, BEHIND,
		                               DISK_REGION_ZERO, "covered" };
	p->region[n++] = (struct disk_region){ p->hash_off, p->tree_off - p->hash_off,
		                               DISK_REGION_SUPERBLOCK, "superblock" };
	p->region[n++] =
	        (struct disk_region){ p->tree_off, p->geometry.tree_len, DISK_REGION_TREE, "tree" };
	p->region[n++] = (struct disk_region){ p->tree_off + p->geometry.tree_len, 10000,
		                               DISK_REGION_ZERO, "rest" };
	p->region_cnt = n;
}

static void make_tree(struct fixture *f)
{
	struct tree_node *n;
	char name[32];

	assert_int_equal(tree_new(&f->tree), 0);
	for (size_t i = 0; i < FILE_CNT; i++) {
		snprintf(name, sizeof(name), "f%02zu", i);
		assert_int_equal(tree_add(f->tree, f->tree->root, name, strlen(name),
		                          S_IFREG | 0644, &n, NULL),
		                 0);
		n->size = sizes[i];
		f->file[i] = n;
		f->content[i] = malloc(sizes[i] + 1);
		support_fill(f->content[i], sizes[i], i);
		/* a hole in the middle of all that have room for one, off every border */
		if (sizes[i] > 60000)
			memset(f->content[i] + 7000, 0, 40000);
	}
	assert_int_equal(tree_finish(f->tree, NULL), 0);
}

static int setup(void **state)
{
	static const struct compat compat;
	struct erofs_plan_options opt = { .compat = &compat };
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk", f->dir);
	make_tree(f);
	assert_int_equal(erofs_plan_new(f->tree, &opt, &f->erofs, NULL), 0);
	f->disk = calloc(1, sizeof(*f->disk));
	plan_disk(f, 4096, 4096);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_call(0, 0);
	support_fail_allocation(0);
	free(f->disk);
	erofs_plan_free(f->erofs);
	tree_free(f->tree);
	for (size_t i = 0; i < FILE_CNT; i++)
		free(f->content[i]);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

/* How contents are brought: piece bytes at a time (0: all at once), holes as holes or as bytes. */
struct manner {
	size_t piece;
	bool holes;
	bool in_runs;   /* every file in runs of 64 KiB, the last run first */
	bool backwards; /* last file first */
	bool batched;   /* small files in one batch */
};

static int bring_run(struct stream *s, const struct fixture *f, size_t i, uint64_t off,
                     uint64_t len, const struct manner *m, struct diag *d)
{
	struct stream_file *to = NULL;
	int r = stream_file_new(s, f->file[i], off, len, &to, d);
	uint64_t pos = off;

	while (r == 0 && pos < off + len) {
		uint64_t n = MIN(m->piece ? m->piece : len, off + len - pos);
		bool hole = m->holes && sizes[i] > 60000 && pos >= 7000 && pos < 47000;

		if (m->holes && sizes[i] > 60000 && pos < 7000)
			n = MIN(n, 7000 - pos);
		if (hole)
			n = MIN(47000, off + len) - pos;
		r = hole ? stream_file_zero(to, n, d)
		         : stream_file_write(to, f->content[i] + pos, n, d);
		pos += n;
	}
	if (r < 0) {
		stream_file_abandon(to);
		return r;
	}
	return stream_file_finish(to, d);
}

static int bring_file(struct stream *s, const struct fixture *f, size_t i, const struct manner *m,
                      struct diag *d)
{
	uint64_t step = m->in_runs ? 65536 : MAX(sizes[i], 1);
	int r = 0;

	for (uint64_t end = sizes[i]; end > 0 && r == 0;) {
		uint64_t off = (end - 1) / step * step;

		r = bring_run(s, f, i, off, end - off, m, d);
		end = off;
	}
	return r;
}

static int bring_small(struct stream_batch *b, const struct fixture *f, size_t i, struct diag *d)
{
	uint8_t *room = NULL;
	int r = stream_batch_room(b, f->file[i], &room, d);

	if (r < 0)
		return r;
	memcpy(room, f->content[i], sizes[i]);
	return stream_batch_take(b, f->file[i], room, d);
}

static int bring_all(struct stream *s, const struct fixture *f, const struct manner *m,
                     struct diag *d)
{
	scoped(stream_batch) struct stream_batch *b = NULL;
	int r = m->batched ? stream_batch_new(s, &b, d) : 0;

	for (size_t k = 0; k < FILE_CNT && r == 0; k++) {
		size_t i = m->backwards ? FILE_CNT - 1 - k : k;

		if (b && sizes[i] > 0 && sizes[i] <= STREAM_BATCH_MAX_FILE)
			r = bring_small(b, f, i, d);
		else
			r = bring_file(s, f, i, m, d);
	}
	return r == 0 && b ? stream_batch_flush(b, d) : r;
}

static int make_disk(struct fixture *f, const char *path, const struct manner *m, uint8_t root[32],
                     struct diag *d)
{
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	int r = output_open(
	        path, &(struct output_options){ .disk_len = f->disk->disk_len, .force = true }, &o,
	        d);

	if (r == 0)
		r = stream_new(f->erofs, f->disk, o, NULL, &s, d);
	if (r == 0)
		r = bring_all(s, f, m, d);
	if (r == 0)
		r = stream_finish(s, root, d);
	if (r == 0)
		r = output_commit(o, d);
	return r;
}

static uint8_t *get_disk(const struct fixture *f)
{
	scoped(blk) struct blk *b = NULL;
	uint8_t *bytes = malloc(f->disk->disk_len);

	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	assert_int_equal(blk_size(b), f->disk->disk_len);
	assert_int_equal(blk_read(b, 0, bytes, f->disk->disk_len, NULL), 0);
	return bytes;
}

/* The tree over what lies on the disk, computed again in one go. */
static void check_tree(const struct fixture *f, const uint8_t *bytes, const uint8_t root[32])
{
	const struct disk_plan *p = f->disk;
	scoped(blk) struct blk *data = NULL, *hash = NULL;
	struct vblk *v = NULL;
	scoped_free uint8_t *proven = malloc(p->covered_len);

	assert_int_equal(blk_of_memory(bytes + p->image_off, p->covered_len, "data", &data), 0);
	assert_int_equal(
	        blk_of_memory(bytes + p->hash_off, p->disk_len - p->hash_off, "hash", &hash), 0);
	assert_int_equal(verity_open(data, hash, NULL, root, 32, NULL, &v, NULL), 0);
	assert_int_equal(vblk_params(v)->data_blk_cnt, p->verity.data_blk_cnt);
	assert_int_equal(vblk_read(v, 0, proven, p->covered_len, NULL), 0);
	vblk_close(v);
}

static void check_contents(const struct fixture *f, const uint8_t *bytes)
{
	struct vblk *v = test_vblk_of_memory(bytes + f->disk->image_off, f->disk->image_len);
	struct erofs *fs = NULL;
	struct erofs_inode dir, ino;
	struct diag d = DIAG_INIT;

	assert_int_equal(erofs_open(v, &fs, &d), 0);
	assert_int_equal(erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &dir, &d), 0);
	for (size_t i = 0; i < FILE_CNT; i++) {
		scoped_free uint8_t *found = malloc(sizes[i] + 1);
		uint64_t nid = 0;

		assert_int_equal(erofs_lookup(fs, &dir, f->file[i]->name, 3, &nid, &d), 0);
		assert_int_equal(erofs_inode_get(fs, nid, &ino, &d), 0);
		assert_int_equal(ino.size, sizes[i]);
		assert_int_equal(erofs_read(fs, &ino, 0, found, sizes[i] + 1, &d), sizes[i]);
		assert_memory_equal(found, f->content[i], sizes[i]);
	}
	erofs_close(fs);
	vblk_close(v);
}

static void disk_holds_every_file_and_is_proven_by_its_root(void **state)
{
	static const struct manner whole = { 0 };
	struct fixture *f = *state;
	scoped_free uint8_t *bytes = NULL;
	uint8_t root[32], zeros[IMAGE_OFF] = { 0 };

	assert_int_equal(make_disk(f, f->path, &whole, root, NULL), 0);
	bytes = get_disk(f);
	check_contents(f, bytes);
	check_tree(f, bytes, root);
	assert_memory_equal(bytes, zeros, IMAGE_OFF);
	assert_memory_equal(bytes + f->disk->disk_len - 10000, zeros, 10000);
}

static void manner_of_bringing_changes_nothing(void **state)
{
	static const struct manner manners[] = {
		{ .piece = 0, .backwards = true },
		{ .piece = 1000 },
		{ .piece = 4096, .holes = true },
		{ .piece = 4097, .backwards = true },
		{ .piece = 65536, .in_runs = true },
		{ .piece = 9999, .in_runs = true, .holes = true },
		{ .piece = MIB },
		{ .piece = MIB + 1, .holes = true },
		{ .batched = true },
		{ .batched = true, .backwards = true },
	};
	static const uint32_t block_lens[][2] = {
		{ 4096, 4096 }, { 512, 512 }, { 512, 4096 }, { 1024, 2048 }, { 4096, 512 }
	};
	struct fixture *f = *state;

	for (size_t b = 0; b < ARRAY_LEN(block_lens); b++) {
		static const struct manner whole = { 0 };
		scoped_free uint8_t *reference = NULL;
		uint8_t root[32], other[32];

		plan_disk(f, block_lens[b][0], block_lens[b][1]);
		assert_int_equal(make_disk(f, f->path, &whole, root, NULL), 0);
		reference = get_disk(f);
		check_tree(f, reference, root);
		for (size_t i = 0; i < ARRAY_LEN(manners); i++) {
			scoped_free uint8_t *bytes = NULL;

			if (b > 0 && i % 3 != 2) /* some are enough there */
				continue;
			assert_int_equal(make_disk(f, f->path, &manners[i], other, NULL), 0);
			assert_memory_equal(other, root, 32);
			bytes = get_disk(f);
			assert_memory_equal(bytes, reference, f->disk->disk_len);
			assert_int_equal(make_disk(f, NULL, &manners[i], other, NULL), 0);
			assert_memory_equal(other, root, 32);
		}
	}
}

struct job {
	const struct fixture *f;
	struct stream *s;
	size_t first;
};

static void *bring_every_third(void *ctx)
{
	static const struct manner m = { .piece = 30000, .in_runs = true, .holes = true };
	const struct job *j = ctx;

	for (size_t i = j->first; i < FILE_CNT; i += 3)
		assert_int_equal(bring_file(j->s, j->f, i, &m, NULL), 0);
	return NULL;
}

static void threads_change_nothing(void **state)
{
	static const struct manner whole = { 0 };
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	scoped_free uint8_t *reference = NULL, *bytes = NULL;
	uint8_t root[32], other[32];
	pthread_t thread[3];
	struct job job[3];

	assert_int_equal(make_disk(f, f->path, &whole, root, NULL), 0);
	reference = get_disk(f);
	assert_int_equal(output_open(f->path,
	                             &(struct output_options){ .disk_len = f->disk->disk_len,
	                                                       .force = true },
	                             &o, NULL),
	                 0);
	assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		job[i] = (struct job){ f, s, i };
		assert_int_equal(pthread_create(&thread[i], NULL, bring_every_third, &job[i]), 0);
	}
	for (size_t i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(stream_finish(s, other, NULL), 0);
	assert_int_equal(output_commit(o, NULL), 0);
	assert_memory_equal(other, root, 32);
	bytes = get_disk(f);
	assert_memory_equal(bytes, reference, f->disk->disk_len);
}

static void holes_are_not_written(void **state)
{
	static const struct manner as_bytes = { .piece = 65536 };
	static const struct manner as_holes = { .piece = 65536, .holes = true };
	const struct manner *manners[] = { &as_bytes, &as_holes };
	struct fixture *f = *state;
	uint64_t written[2];
	uint8_t root[32];

	for (size_t i = 0; i < 2; i++) {
		scoped(output) struct output *o = NULL;
		scoped(stream) struct stream *s = NULL;

		assert_int_equal(output_open(f->path,
		                             &(struct output_options){
		                                     .disk_len = f->disk->disk_len, .force = true },
		                             &o, NULL),
		                 0);
		assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, NULL), 0);
		assert_int_equal(bring_all(s, f, manners[i], NULL), 0);
		assert_int_equal(stream_finish(s, root, NULL), 0);
		written[i] = output_written(o);
	}
	/* in each of the files with a hole, the blocks that lie in it: 8192 to 45056 */
	assert_int_equal(written[0] - written[1], 7 * 36864);
}

static void add_progress(void *ctx, uint64_t bytes)
{
	*(uint64_t *)ctx += bytes;
}

static void progress_adds_up_to_the_contents(void **state)
{
	static const struct manner m = { .piece = 5000, .holes = true };
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	uint64_t sum = 0, expected = 0;
	struct stream_options opt = { .on_progress = add_progress, .ctx = &sum };

	for (size_t i = 0; i < FILE_CNT; i++)
		expected += sizes[i];
	assert_int_equal(output_open(NULL,
	                             &(struct output_options){ .disk_len = f->disk->disk_len,
	                                                       .force = true },
	                             &o, NULL),
	                 0);
	assert_int_equal(stream_new(f->erofs, f->disk, o, &opt, &s, NULL), 0);
	assert_int_equal(bring_all(s, f, &m, NULL), 0);
	assert_int_equal(sum, expected);
}

static void content_of_another_length_is_refused(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	struct stream_file *to;
	struct diag d = DIAG_INIT;

	assert_int_equal(output_open(NULL,
	                             &(struct output_options){ .disk_len = f->disk->disk_len,
	                                                       .force = true },
	                             &o, NULL),
	                 0);
	assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, NULL), 0);
	for (size_t i = 1; i < FILE_CNT; i++) {
		assert_int_equal(stream_file_new(s, f->file[i], 0, sizes[i], &to, &d), 0);
		assert_int_equal(stream_file_write(to, f->content[i], sizes[i] - 1, &d), 0);
		assert_int_equal(stream_file_write(to, "xy", 2, &d), -EINVAL);
		assert_int_equal(stream_file_zero(to, 2, &d), -EINVAL);
		assert_int_equal(stream_file_finish(to, &d), -EINVAL);
		assert_non_null(strstr(d.text, "1 bytes are missing"));
	}
	assert_int_equal(stream_file_new(s, f->file[11], 100, 4096, &to, &d), -EINVAL);
	assert_int_equal(stream_file_new(s, f->file[11], 4096, 100, &to, &d), -EINVAL);
	assert_int_equal(stream_file_new(s, f->file[11], 0, sizes[11] + 1, &to, &d), -EINVAL);
}

static void disk_without_one_file_has_no_root(void **state)
{
	static const struct manner whole = { 0 };
	struct fixture *f = *state;

	for (size_t left_out = 1; left_out < FILE_CNT; left_out++) {
		scoped(output) struct output *o = NULL;
		scoped(stream) struct stream *s = NULL;
		uint8_t root[32];

		assert_int_equal(output_open(NULL,
		                             &(struct output_options){
		                                     .disk_len = f->disk->disk_len, .force = true },
		                             &o, NULL),
		                 0);
		assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, NULL), 0);
		for (size_t i = 1; i < FILE_CNT; i++) {
			if (i != left_out)
				assert_int_equal(bring_file(s, f, i, &whole, NULL), 0);
		}
		assert_int_equal(stream_finish(s, root, NULL), -EINVAL);
	}
}

static void abandoned_run_may_come_anew(void **state)
{
	static const struct manner whole = { 0 }, pieces = { .piece = 4096, .holes = true };
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	scoped_free uint8_t *reference = NULL, *bytes = NULL, *garbage = malloc(3 * MIB);
	uint8_t root[32], other[32];

	memset(garbage, 0xaa, 3 * MIB);
	assert_int_equal(make_disk(f, f->path, &whole, root, NULL), 0);
	reference = get_disk(f);
	assert_int_equal(output_open(f->path,
	                             &(struct output_options){ .disk_len = f->disk->disk_len,
	                                                       .force = true },
	                             &o, NULL),
	                 0);
	assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, NULL), 0);
	for (size_t i = 1; i < FILE_CNT; i++) {
		struct stream_file *to = NULL;

		assert_int_equal(stream_file_new(s, f->file[i], 0, sizes[i], &to, NULL), 0);
		assert_int_equal(stream_file_write(to, garbage, sizes[i] - i % 2, NULL), 0);
		stream_file_abandon(to);
		assert_int_equal(bring_file(s, f, i, &pieces, NULL), 0);
	}
	assert_int_equal(stream_finish(s, other, NULL), 0);
	assert_int_equal(output_commit(o, NULL), 0);
	assert_memory_equal(other, root, 32);
	bytes = get_disk(f);
	assert_memory_equal(bytes, reference, f->disk->disk_len);
}

static void any_failing_write_is_told_and_leaves_no_disk(void **state)
{
	static const struct manner m = { .piece = 300000, .batched = true };
	static const int errs[] = { ENOSPC, EIO };
	struct fixture *f = *state;
	unsigned long cnt;
	uint8_t root[32];

	cnt = support_call_count();
	assert_int_equal(make_disk(f, f->path, &m, root, NULL), 0);
	cnt = support_call_count() - cnt;
	unlink(f->path);
	/* the last three are the flush, the name and the directory's flush: test_output's */
	for (unsigned long k = 1; k + 3 <= cnt; k++) {
		struct diag d = DIAG_INIT;
		struct stat st;

		support_fail_call(k, errs[k % 2]);
		assert_int_equal(make_disk(f, f->path, &m, root, &d), -errs[k % 2]);
		support_fail_call(0, 0);
		assert_int_equal(d.err, -errs[k % 2]);
		assert_true(stat(f->path, &st) < 0);
	}
}

static void failed_allocation_is_told(void **state)
{
	static const struct manner m = { .piece = 300000, .holes = true, .batched = true };
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k++) {
		struct diag d = DIAG_INIT;
		uint8_t root[32];

		support_fail_allocation(k);
		r = make_disk(f, NULL, &m, root, &d);
		support_fail_allocation(0);
		if (r != 0) {
			assert_int_equal(r, -ENOMEM);
			assert_string_not_equal(d.text, "");
		}
		assert_true(k < 5000);
	}
}

static void data_blocks_larger_than_those_of_the_file_system_are_refused(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	struct stream *s = NULL;
	struct diag d = DIAG_INIT;

	f->disk->verity.data_block_len = 8192;
	assert_int_equal(output_open(NULL,
	                             &(struct output_options){ .disk_len = f->disk->disk_len,
	                                                       .force = true },
	                             &o, NULL),
	                 0);
	assert_int_equal(stream_new(f->erofs, f->disk, o, NULL, &s, &d), -EOPNOTSUPP);
	assert_non_null(strstr(d.text, "8192"));
}

/* A table of one partition: both copies are found again by the reader. */
static void table_is_written_at_both_ends(void **state)
{
	struct fixture *f = *state;
	scoped(output) struct output *o = NULL;
	scoped(stream) struct stream *s = NULL;
	scoped(blk) struct blk *b = NULL;
	struct disk_plan *p = f->disk;
	struct gpt *found = calloc(1, sizeof(*found));
	static const uint8_t zeros[512];
	struct stat st;

	p->has_table = true;
	p->table.sector_len = 512;
	p->table.lba_cnt = p->disk_len / 512;
	p->table.first_usable_lba = 34;
	p->table.last_usable_lba = p->table.lba_cnt - 34;
	p->table.part_cnt = 1;
	p->table.part[0].type.b[0] = 1;
	p->table.part[0].first_lba = IMAGE_OFF / 512;
	p->table.part[0].last_lba = IMAGE_OFF / 512 + 7;
	assert_int_equal(
	        output_open(f->path,
	                    &(struct output_options){ .disk_len = p->disk_len, .force = true }, &o,
	                    NULL),
	        0);
	assert_int_equal(stream_new(f->erofs, p, o, NULL, &s, NULL), 0);
	assert_int_equal(stream_write_table(s, p, NULL), 0);
	assert_int_equal(output_commit(o, NULL), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	assert_int_equal(gpt_read(b, found, NULL), 0);
	assert_false(found->from_backup);
	blk_close(take_ptr(b));
	/* without the first copy */
	{
		FILE *file = fopen(f->path, "r+");

		assert_int_equal(fseek(file, 512, SEEK_SET), 0);
		assert_int_equal(fwrite(zeros, 1, 512, file), 512);
		fclose(file);
	}
	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	assert_int_equal(gpt_read(b, found, NULL), 0);
	assert_true(found->from_backup);
	assert_int_equal(found->part[0].first_lba, IMAGE_OFF / 512);
	free(found);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(disk_holds_every_file_and_is_proven_by_its_root),
		TEST(manner_of_bringing_changes_nothing),
		TEST(threads_change_nothing),
		TEST(holes_are_not_written),
		TEST(progress_adds_up_to_the_contents),
		TEST(content_of_another_length_is_refused),
		TEST(disk_without_one_file_has_no_root),
		TEST(abandoned_run_may_come_anew),
		TEST(any_failing_write_is_told_and_leaves_no_disk),
		TEST(failed_allocation_is_told),
		TEST(data_blocks_larger_than_those_of_the_file_system_are_refused),
		TEST(table_is_written_at_both_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
