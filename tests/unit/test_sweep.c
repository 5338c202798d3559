/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiny disks made by mkdisk's own code, then damaged: every byte changed in turn, cut at every
 * sector. What image.c and the reader below it give must be the bytes that were packed, or an error
 * with a sentence.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build.h"
#include "gpt.h"
#include "image.h"
#include "options.h"
#include "text.h"

#define PAGE    4096
#define MAX_LEN (2 * MIB) /* of a disk of this test */

/* One entry as it was packed. */
struct entry {
	char path[16];
	uint16_t mode;
	uint64_t size;
	uint8_t *bytes; /* content or target; NULL for a directory */
};

struct disk {
	uint8_t *b;
	size_t len;
	struct image_options opt;
	struct entry entry[8];
	size_t entry_cnt;
	size_t data_off, data_len, tree_off, tree_len;
};

/* ---- making disks ---- */

static void write_file(const char *dir, const char *name, const void *bytes, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void make_source(const char *dir, size_t weights_len)
{
	static const char data[] = "[Partition]\nType=linux-generic\nUUID=null\nWeight=1000\n"
	                           "CopyFiles=/src:/\nFormat=erofs\nVerity=data\n"
	                           "VerityMatchKey=model\n";
	static const char hash[] = "[Partition]\nType=linux-generic\nUUID=null\nWeight=10\n"
	                           "SizeMinBytes=16K\nVerity=hash\nVerityMatchKey=model\n";
	scoped_free uint8_t *weights = malloc(weights_len);
	char path[512];

	assert_non_null(weights);
	support_fill(weights, weights_len, 1);
	static const char *const dirs[] = { "src", "src/sub", "repart.d" };
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	write_file(dir, "repart.d/00.conf", data, strlen(data));
	write_file(dir, "repart.d/01.conf", hash, strlen(hash));
	write_file(dir, "src/weights", weights, weights_len);
	write_file(dir, "src/empty", "", 0);
	write_file(dir, "src/sub/inline", "a few bytes", 11);
	snprintf(path, sizeof(path), "%s/src/link", dir);
	assert_int_equal(symlink("sub/inline", path), 0);
}

/* mkdisk with these arguments, as far as main() does not print; the root hash goes into opt. */
static void run_mkdisk(char **argv, int argc, struct image_options *opt)
{
	const struct build_hooks hooks = { .ctx = NULL };
	scoped_free char *result = NULL;
	struct options o;
	struct diag d = DIAG_INIT;

	memset(&o, 0, sizeof(o));
	if (options_parse(argc, argv, &o, &d) < 0 || build_disk(&o.build, &hooks, &result, &d) < 0)
		fail_msg("%s", d.text);
	options_release(&o);
	result[strcspn(result, "\n")] = '\0';
	opt->root_len = 32;
	assert_int_equal(hex_decode(result, opt->root, opt->root_len), 0);
}

static void load(const char *path, struct disk *out)
{
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	out->b = malloc(MAX_LEN);
	assert_non_null(out->b);
	out->len = fread(out->b, 1, MAX_LEN, f);
	assert_true(out->len > 0 && out->len < MAX_LEN);
	fclose(f);
}

/* ---- reading them ---- */

static int open_disk(const struct disk *k, size_t len, struct image **out, struct diag *d)
{
	scoped(blk) struct blk *b = NULL;
	int r;

	assert_int_equal(blk_of_memory(k->b, len, "disk", &b), 0);
	r = image_open_blk(b, NULL, &k->opt, out, d);
	if (r == 0)
		take_ptr(b);
	return r;
}

struct memory {
	struct disk *k;
	const struct erofs *fs;
};

/* The tree as it is found on the undamaged disk becomes what later walks are held against. */
static int remember(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct memory *w = ctx;
	struct entry *n = &w->k->entry[w->k->entry_cnt++];

	assert_true(w->k->entry_cnt <= ARRAY_LEN(w->k->entry));
	assert_true(e->path_len < sizeof(n->path));
	memcpy(n->path, e->path, e->path_len + 1);
	n->mode = e->inode->mode;
	n->size = e->inode->size;
	if (S_ISDIR(n->mode))
		return 0;
	n->bytes = malloc(n->size + 1);
	assert_non_null(n->bytes);
	if (S_ISLNK(n->mode))
		return erofs_readlink(w->fs, e->inode, (char *)n->bytes, n->size + 1, d) < 0 ? -EIO
		                                                                             : 0;
	assert_int_equal(erofs_read(w->fs, e->inode, 0, n->bytes, n->size, d), n->size);
	return 0;
}

struct check {
	const struct disk *k;
	const struct erofs *fs;
	size_t seen, failed;
};

static void note_failure(struct check *c, int64_t err, struct diag *d)
{
	assert_true(err == -EBADMSG || err == -EUCLEAN || err == -EIO);
	assert_true(d->text[0] != '\0');
	c->failed++;
	*d = (struct diag)DIAG_INIT;
}

static void check_content(struct check *c, const struct entry *n, const struct erofs_inode *ino,
                          struct diag *d)
{
	uint8_t page[PAGE];

	for (uint64_t off = 0; off < n->size; off += PAGE) {
		int64_t expected = (int64_t)(n->size - off < PAGE ? n->size - off : PAGE);
		int64_t r = erofs_read(c->fs, ino, off, page, sizeof(page), d);

		if (r < 0) {
			note_failure(c, r, d);
			continue;
		}
		assert_int_equal(r, expected);
		assert_memory_equal(page, n->bytes + off, expected);
	}
}

static const struct entry *find_entry(const struct disk *k, const char *path)
{
	for (size_t i = 0; i < k->entry_cnt; i++)
		if (strcmp(k->entry[i].path, path) == 0)
			return &k->entry[i];
	fail_msg("\"%s\" was never packed", path);
	abort(); /* fail_msg() does not return, but is not declared so */
}

static int check_entry(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct check *c = ctx;
	const struct entry *n = find_entry(c->k, e->path);
	char target[EROFS_MAX_SYMLINK_LEN + 1];

	assert_int_equal(e->inode->mode, n->mode);
	assert_int_equal(e->inode->size, n->size);
	c->seen++;
	if (S_ISREG(n->mode)) {
		check_content(c, n, e->inode, d);
	} else if (S_ISLNK(n->mode)) {
		int r = erofs_readlink(c->fs, e->inode, target, sizeof(target), d);

		if (r < 0)
			note_failure(c, r, d);
		else
			assert_memory_equal(target, n->bytes, n->size);
	}
	return 0;
}

static int on_broken(void *ctx, const struct erofs_walk_entry *e, int err, struct diag *d)
{
	(void)e;
	note_failure(ctx, err, d);
	return 0;
}

static int walk(const struct image *img,
                int (*visit)(void *, const struct erofs_walk_entry *, struct diag *), void *ctx,
                struct diag *d)
{
	const struct erofs *fs = image_erofs(img);
	const struct erofs_visitor v = { .visit = visit, .broken = on_broken };
	struct erofs_inode top;
	int r = erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &top, d);

	return r < 0 ? r : erofs_walk(fs, &top, &v, ctx, d);
}

/* What comes of reading all of the disk, when only its first len bytes are there. */
enum outcome { REFUSED, READ_IN_PART, READ_WHOLE, OUTCOME_CNT };

static enum outcome read_all(const struct disk *k, size_t len)
{
	scoped(image) struct image *img = NULL;
	struct check c = { .k = k };
	struct diag d = DIAG_INIT;
	int r = open_disk(k, len, &img, &d);

	if (r < 0) {
		assert_true(r == -EBADMSG || r == -EUCLEAN || r == -EOPNOTSUPP || r == -EINVAL ||
		            r == -EIO);
		assert_int_equal(d.err, r);
		assert_true(d.text[0] != '\0');
		return REFUSED;
	}
	c.fs = image_erofs(img);
	r = walk(img, check_entry, &c, &d);
	if (r < 0)
		note_failure(&c, r, &d);
	if (c.failed > 0)
		return READ_IN_PART;
	assert_int_equal(c.seen, k->entry_cnt); /* nothing is missing without an error */
	return READ_WHOLE;
}

/* ---- the disks of the sweeps ---- */

static void find_areas(struct disk *k, const struct image *img)
{
	const struct verity_params *p = vblk_params(image_vblk(img));
	scoped_free struct gpt *t = calloc(1, sizeof(*t));
	scoped(blk) struct blk *b = NULL;
	struct verity_geometry g;
	size_t hash_off;

	assert_non_null(t);
	assert_int_equal(blk_of_memory(k->b, k->len, "disk", &b), 0);
	assert_int_equal(verity_geometry_init(&g, p, NULL), 0);
	k->data_len = vblk_size(image_vblk(img));
	hash_off = k->data_len;
	if (strcmp(image_layout(img), "flat") != 0) {
		assert_int_equal(gpt_read(b, t, NULL), 0);
		k->data_off = t->part[0].first_lba * t->sector_len;
		hash_off = t->part[1].first_lba * t->sector_len;
	}
	k->tree_off = hash_off + verity_tree_off(p);
	k->tree_len = g.tree_len;
}

static void make_disk(struct disk *out, const char *layout, size_t weights_len)
{
	char source[512], disk[512], definitions[512], *dir = support_make_dir();
	char mkdisk[] = "mkdisk", quiet[] = "-q", json[] = "--json=off", layout_option[64];
	char *argv[] = { mkdisk, quiet, json, layout_option, disk, source, definitions, NULL };
	bool is_flat = strcmp(layout, "flat") == 0;
	scoped(image) struct image *img = NULL;
	struct diag d = DIAG_INIT;

	memset(out, 0, sizeof(*out));
	make_source(dir, weights_len);
	snprintf(source, sizeof(source), "%s/src", dir);
	snprintf(disk, sizeof(disk), "%s/disk", dir);
	snprintf(definitions, sizeof(definitions), "--definitions=%s/repart.d", dir);
	snprintf(layout_option, sizeof(layout_option), "--layout=%s", layout);
	run_mkdisk(argv, (int)ARRAY_LEN(argv) - 1 - is_flat, &out->opt);
	load(disk, out);
	support_remove_dir(dir);

	if (open_disk(out, out->len, &img, &d) < 0)
		fail_msg("%s", d.text);
	struct memory w = { out, image_erofs(img) };
	assert_int_equal(walk(img, remember, &w, &d), 0);
	assert_int_equal(out->entry_cnt, 6);
	find_areas(out, img);
	assert_int_equal(read_all(out, out->len), READ_WHOLE);
}

static void free_disk(struct disk *k)
{
	for (size_t i = 0; i < k->entry_cnt; i++)
		free(k->entry[i].bytes);
	free(k->b);
}

static bool is_proven(const struct disk *k, size_t at)
{
	return (at >= k->data_off && at - k->data_off < k->data_len) ||
	       (at >= k->tree_off && at - k->tree_off < k->tree_len);
}

/* Every step-th byte is changed in turn: noticed for certain where the proof reaches. */
static void flip_bytes(struct disk *k, size_t step)
{
	size_t cnt[OUTCOME_CNT] = { 0 };

	for (size_t at = 0; at < k->len; at += step) {
		enum outcome o;

		/* zeros between the structures: now and then is enough */
		if (k->b[at] == 0 && !is_proven(k, at) && at % 7 != 0)
			continue;
		k->b[at] ^= (uint8_t)(1 << at % 8);
		o = read_all(k, k->len);
		if (o == READ_WHOLE && is_proven(k, at))
			fail_msg("nobody noticed that byte %zu was changed", at);
		cnt[o]++;
		k->b[at] ^= (uint8_t)(1 << at % 8);
	}
	assert_true(cnt[REFUSED] > 0 && cnt[READ_IN_PART] > 0 && cnt[READ_WHOLE] > 0);
}

/* ---- claims ---- */

static void every_flipped_byte_of_a_flat_disk_is_noticed(void **state)
{
	struct disk k;

	(void)state;
	make_disk(&k, "flat", 2 * PAGE + 100);
	flip_bytes(&k, 1);
	free_disk(&k);
}

static void every_flipped_byte_of_a_partitioned_disk_is_noticed(void **state)
{
	struct disk k;

	(void)state;
	make_disk(&k, "repart", 2 * PAGE + 100);
	flip_bytes(&k, 1);
	free_disk(&k);
}

static void flipped_bytes_below_two_levels_of_hashes_are_noticed(void **state)
{
	struct disk k;

	(void)state;
	make_disk(&k, "flat", 140 * PAGE);
	assert_int_equal(k.tree_len, 3 * PAGE);
	flip_bytes(&k, 1021);
	free_disk(&k);
}

static void disk_cut_at_any_sector_is_refused_or_true(void **state)
{
	static const char *const layouts[] = { "flat", "repart" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
		struct disk k;

		make_disk(&k, layouts[i], 2 * PAGE + 100);
		for (size_t len = 0; len < k.len; len += 512)
			if (read_all(&k, len) == READ_WHOLE)
				assert_true(len >= k.tree_off + k.tree_len);
		free_disk(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flipped_byte_of_a_flat_disk_is_noticed),
		cmocka_unit_test(every_flipped_byte_of_a_partitioned_disk_is_noticed),
		cmocka_unit_test(flipped_bytes_below_two_levels_of_hashes_are_noticed),
		cmocka_unit_test(disk_cut_at_any_sector_is_refused_or_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
