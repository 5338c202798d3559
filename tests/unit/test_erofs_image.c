/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer makes, our reader reads back; every block comes once, whatever the order and
 * whoever brings the tails. Equality with mkfs.erofs is the golden test's claim.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "erofs.h"
#include "erofs_disk.h"
#include "erofs_image.h"
#include "test_vblk.h"
#include "tiny_tree.h"

#define BLOCK_LEN EROFS_PLAN_BLOCK_LEN

static const struct compat current = { 0 };
static const struct erofs_plan_options keep_all = {
	.keep_owners = true,
	.keep_xattrs = true,
	.epoch = 1000000,
	.uuid = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
	.compat = &current,
};

/* One image in memory, and how often each of its blocks was handed out. */
struct made {
	struct tree *tree;
	struct erofs_plan *plan;
	struct erofs_image *image;
	uint8_t *bytes;
	uint32_t *times;
	size_t block_cnt;
	pthread_mutex_t lock;
	size_t fail_at; /* the k-th block is refused; 0: none */
	size_t sink_cnt;
};

static int sink(void *ctx, void *carrier, uint64_t off, const uint8_t block[BLOCK_LEN],
                struct diag *d)
{
	struct made *m = ctx;

	(void)carrier;
	pthread_mutex_lock(&m->lock);
	bool fail = ++m->sink_cnt == m->fail_at;
	if (off % BLOCK_LEN == 0 && off / BLOCK_LEN < m->block_cnt)
		m->times[off / BLOCK_LEN]++;
	pthread_mutex_unlock(&m->lock);
	if (fail)
		return diag_set(d, -ENOSPC, "no space for the block at %llu",
		                (unsigned long long)off);
	memcpy(m->bytes + off, block, BLOCK_LEN);
	return 0;
}

static void make(struct made *m, struct tree *t)
{
	*m = (struct made){ .tree = t };
	pthread_mutex_init(&m->lock, NULL);
	assert_int_equal(erofs_plan_new(t, &keep_all, &m->plan, NULL), 0);
	m->block_cnt = erofs_plan_image_len(m->plan) / BLOCK_LEN;
	m->bytes = calloc(m->block_cnt, BLOCK_LEN);
	m->times = calloc(m->block_cnt, sizeof(*m->times));
	assert_non_null(m->bytes);
	assert_non_null(m->times);
	assert_int_equal(erofs_image_new(m->plan, sink, m, &m->image, NULL), 0);
}

static void made_free(struct made *m)
{
	erofs_image_free(m->image);
	erofs_plan_free(m->plan);
	tree_free(m->tree);
	free(m->bytes);
	free(m->times);
	pthread_mutex_destroy(&m->lock);
}

static void fill_content(const struct tree_node *n, uint8_t *out)
{
	support_fill(out, n->size, n->index);
}

static bool has_content(const struct tree_node *n)
{
	return S_ISREG(n->mode) && !n->link && n->size > 0;
}

static int put_file(struct made *m, const struct tree_node *n, struct diag *d)
{
	const struct erofs_place *place = erofs_plan_place(m->plan, n);
	scoped_free uint8_t *content = malloc(n->size);

	if (!content)
		return -ENOMEM;
	fill_content(n, content);
	memcpy(m->bytes + place->data_off, content, place->data_len);
	return place->tail_len == 0 ? 0
	                            : erofs_image_put_tail(m->image, n, content + place->data_len,
	                                                   place->tail_len, NULL, d);
}

static void put_files(struct made *m, bool backwards)
{
	for (uint32_t i = 0; i < m->tree->node_cnt; i++) {
		const struct tree_node *n =
		        m->tree->node[backwards ? m->tree->node_cnt - 1 - i : i];

		if (has_content(n))
			assert_int_equal(put_file(m, n, NULL), 0);
	}
}

/* Every kind of node, tails of many lengths, a directory of several blocks, attributes. */
static struct tree *sample(void)
{
	struct tree *t = tiny_tree();
	struct tree_node *many = tiny_dir(t, t->root, "many"),
	                 *other = tiny_dir(t, t->root, "other");
	char name[256], target[4096];

	for (int i = 0; i < 600; i++) {
		memset(name, 'm', sizeof(name));
		snprintf(name, sizeof(name), "%03d", i);
		name[3] = 'm';
		name[20 + i % 200] = '\0';
		struct tree_node *n =
		        tiny_file(t, many, name, (uint64_t)(i % 7 == 0 ? 0 : i * 37 % 9000));
		n->uid = i % 50 == 0 ? 100000 : 5;
		n->mtime_s = i % 90 == 0 ? 999 : 2000000;
		n->mtime_ns = 77;
		if (i % 3 == 0)
			tiny_xattr(n, "user.third", "shared");
		if (i % 40 == 0)
			tiny_xattr(n, "security.own", name);
	}
	memset(target, 't', sizeof(target));
	for (size_t len = 1; len < sizeof(target); len += 409) {
		target[sizeof(target) - 1] = '\0';
		snprintf(name, sizeof(name), "link%zu", len);
		tiny_symlink(t, other, name, target + sizeof(target) - 1 - len);
	}
	tiny_symlink(t, other, "longest", target);
	tiny_add(t, other, "fifo", S_IFIFO | 0600);
	tiny_add(t, other, "sock", S_IFSOCK | 0700);
	struct tree_node *device = tiny_add(t, other, "dev", S_IFBLK | 0660);
	device->rdev_major = 259;
	device->rdev_minor = 1048000;
	tiny_add(t, other, "whiteout", S_IFCHR);
	tiny_link(t, other, "again", many->child[5]);
	tiny_link(t, t->root, "first", many->child[5]);
	tiny_dir(t, tiny_dir(t, other, "in"), "empty");
	tiny_finish(t);
	return t;
}

static void make_whole(struct made *m, bool backwards)
{
	struct diag d = DIAG_INIT;

	make(m, sample());
	put_files(m, backwards);
	assert_int_equal(erofs_image_flush(m->image, NULL, &d), 0);
	assert_int_equal(erofs_image_finish(m->image, &d), 0);
}

static void every_block_is_metadata_once_or_data(void **state)
{
	struct made m;
	size_t now, peak;

	(void)state;
	make_whole(&m, false);
	for (size_t i = 0; i < m.block_cnt; i++)
		assert_int_equal(m.times[i], erofs_image_is_meta(m.image, i * BLOCK_LEN));
	for (uint32_t i = 0; i < m.tree->node_cnt; i++) {
		const struct erofs_place *place = erofs_plan_place(m.plan, m.tree->node[i]);

		if (!has_content(m.tree->node[i]))
			continue;
		for (uint64_t off = 0; off < place->data_len; off += BLOCK_LEN) {
			assert_int_equal(m.times[(place->data_off + off) / BLOCK_LEN], 0);
			m.times[(place->data_off + off) / BLOCK_LEN] = 1;
		}
	}
	for (size_t i = 0; i < m.block_cnt; i++)
		assert_int_equal(m.times[i], 1);
	assert_false(erofs_image_is_meta(m.image, m.block_cnt * BLOCK_LEN));
	erofs_image_usage(m.image, &now, &peak);
	assert_int_equal(now, 0);
	assert_in_range(peak, 1, m.block_cnt);
	made_free(&m);
}

/* What the visitor compares with: the tree's nodes in pre-order, which is the walk's order. */
struct reading {
	const struct made *m;
	struct erofs *fs;
	uint32_t index;
	uint64_t nid[1024]; /* by tree_node.index */
};

static void compare_content(const struct reading *r, const struct tree_node *n,
                            const struct erofs_inode *ino)
{
	scoped_free uint8_t *want = malloc(n->size + 1), *got = malloc(n->size + 1);
	char target[EROFS_MAX_SYMLINK_LEN + 1];

	assert_non_null(want);
	assert_non_null(got);
	if (S_ISLNK(n->mode)) {
		assert_int_equal(erofs_readlink(r->fs, ino, target, sizeof(target), NULL), n->size);
		assert_string_equal(target, n->target);
	}
	if (!S_ISREG(n->mode))
		return;
	fill_content(n, want);
	assert_int_equal(erofs_read(r->fs, ino, 0, got, n->size + 1, NULL), n->size);
	assert_memory_equal(got, want, n->size);
}

static void compare_xattrs(const struct reading *r, const struct tree_node *n,
                           const struct erofs_inode *ino)
{
	char value[256];

	for (uint32_t i = 0; i < n->xattr_cnt; i++) {
		const struct tree_xattr *x = &n->xattr[i];

		assert_int_equal(erofs_getxattr(r->fs, ino, x->name, value, sizeof(value), NULL),
		                 x->value_len);
		assert_memory_equal(value, x->value, x->value_len);
	}
	bool origin = strcmp(n->name, "other") == 0;
	assert_int_equal(erofs_getxattr(r->fs, ino, "trusted.overlay.origin", NULL, 0, NULL),
	                 origin ? 0 : -ENODATA);
}

static int compare_entry(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct reading *r = ctx;
	const struct tree_node *name = r->m->tree->node[r->index];
	const struct tree_node *n = name->link ? name->link : name;
	const struct erofs_inode *ino = e->inode;
	bool old = n->mtime_s >= 0 && (uint64_t)n->mtime_s < keep_all.epoch;
	char path[1024];

	(void)d;
	assert_true(tree_path(name, path, sizeof(path)) < sizeof(path));
	assert_string_equal(e->path, path);
	r->nid[name->index] = ino->nid;
	if (name->link)
		assert_int_equal(ino->nlink, 3);
	assert_int_equal(ino->mode, n->mode);
	assert_int_equal(ino->uid, n->uid);
	assert_int_equal(ino->mtime_s, old ? (uint64_t)n->mtime_s : keep_all.epoch);
	assert_int_equal(ino->mtime_ns, old ? n->mtime_ns : 0);
	assert_int_equal(ino->rdev_major, n->rdev_major);
	assert_int_equal(ino->rdev_minor, n->rdev_minor);
	if (S_ISDIR(n->mode))
		assert_int_equal(ino->size, erofs_plan_dir_size(r->m->plan, n));
	else
		assert_int_equal(ino->size, n->size);
	compare_content(r, n, ino);
	compare_xattrs(r, n, ino);
	r->index++;
	return 0;
}

static void reader_finds_the_tree_that_was_planned(void **state)
{
	static const struct erofs_visitor visitor = { .visit = compare_entry };
	struct erofs_inode root;
	struct made m;

	(void)state;
	make_whole(&m, false);
	struct vblk *v = test_vblk_of_memory(m.bytes, m.block_cnt * BLOCK_LEN);
	struct reading r = { .m = &m };
	assert_true(m.tree->node_cnt <= ARRAY_LEN(r.nid));
	assert_int_equal(erofs_open(v, &r.fs, NULL), 0);
	const struct erofs_info *info = erofs_get_info(r.fs);
	assert_int_equal(info->blk_cnt, m.block_cnt);
	assert_int_equal(info->epoch, keep_all.epoch);
	assert_memory_equal(&info->uuid, &keep_all.uuid, sizeof(info->uuid));
	assert_int_equal(erofs_inode_get(r.fs, info->root_nid, &root, NULL), 0);
	assert_int_equal(erofs_walk(r.fs, &root, &visitor, &r, NULL), 0);
	assert_int_equal(r.index, m.tree->node_cnt);
	for (uint32_t i = 0; i < m.tree->node_cnt; i++)
		if (m.tree->node[i]->link)
			assert_int_equal(r.nid[i], r.nid[m.tree->node[i]->link->index]);
	erofs_close(r.fs);
	vblk_close(v);
	made_free(&m);
}

static void order_of_tails_does_not_matter(void **state)
{
	struct made forwards, backwards;

	(void)state;
	make_whole(&forwards, false);
	make_whole(&backwards, true);
	assert_memory_equal(forwards.bytes, backwards.bytes, forwards.block_cnt * BLOCK_LEN);
	made_free(&forwards);
	made_free(&backwards);
}

struct worker {
	struct made *m;
	uint32_t first;
	int r;
};

#define WORKERS 4

static void *work(void *ctx)
{
	struct worker *w = ctx;

	for (uint32_t i = w->first; i < w->m->tree->node_cnt; i += WORKERS)
		if (w->r == 0 && has_content(w->m->tree->node[i]))
			w->r = put_file(w->m, w->m->tree->node[i], NULL);
	return NULL;
}

static void threads_make_the_same_image(void **state)
{
	struct made one, many;
	struct worker worker[WORKERS];
	pthread_t thread[WORKERS];

	(void)state;
	make_whole(&one, false);
	make(&many, sample());
	for (uint32_t i = 0; i < WORKERS; i++) {
		worker[i] = (struct worker){ &many, i, 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
	}
	assert_int_equal(erofs_image_flush(many.image, NULL, NULL), 0);
	for (uint32_t i = 0; i < WORKERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(worker[i].r, 0);
	}
	assert_int_equal(erofs_image_finish(many.image, NULL), 0);
	assert_memory_equal(one.bytes, many.bytes, one.block_cnt * BLOCK_LEN);
	made_free(&one);
	made_free(&many);
}

static const struct tree_node *first_with_tail(const struct made *m)
{
	for (uint32_t i = 0; i < m->tree->node_cnt; i++)
		if (has_content(m->tree->node[i]) &&
		    erofs_plan_place(m->plan, m->tree->node[i])->tail_len > 0)
			return m->tree->node[i];
	fail();
	return NULL;
}

static void wrong_tails_are_refused_by_name(void **state)
{
	struct made m;
	uint8_t tail[BLOCK_LEN] = { 0 };
	struct diag d = DIAG_INIT;
	char where[TREE_QUOTE_LEN];

	(void)state;
	make(&m, sample());
	const struct tree_node *n = first_with_tail(&m);
	size_t len = erofs_plan_place(m.plan, n)->tail_len;
	tree_quote_path(n, where, sizeof(where));
	assert_int_equal(erofs_image_put_tail(m.image, n, tail, len - 1, NULL, &d), -EINVAL);
	assert_non_null(strstr(d.text, where));
	assert_int_equal(erofs_image_put_tail(m.image, n, tail, len + 1, NULL, &d), -EINVAL);
	assert_int_equal(erofs_image_put_tail(m.image, m.tree->root, tail, 27, NULL, &d), -EINVAL);
	assert_int_equal(erofs_image_put_tail(m.image, n, tail, len, NULL, &d), 0);
	assert_int_equal(erofs_image_put_tail(m.image, n, tail, len, NULL, &d), -EINVAL);
	assert_non_null(strstr(d.text, "twice"));
	made_free(&m);
}

static void image_without_a_tail_or_a_flush_is_not_finished(void **state)
{
	struct made m;
	struct diag d = DIAG_INIT;
	char where[TREE_QUOTE_LEN];

	(void)state;
	make(&m, sample());
	const struct tree_node *missing = first_with_tail(&m);
	for (uint32_t i = 0; i < m.tree->node_cnt; i++)
		if (has_content(m.tree->node[i]) && m.tree->node[i] != missing)
			assert_int_equal(put_file(&m, m.tree->node[i], &d), 0);
	assert_int_equal(erofs_image_finish(m.image, &d), -EINVAL);
	assert_non_null(strstr(d.text, tree_quote_path(missing, where, sizeof(where))));
	assert_int_equal(put_file(&m, missing, &d), 0);
	assert_int_equal(erofs_image_finish(m.image, &d), -EINVAL);
	assert_non_null(strstr(d.text, "not handed out"));
	assert_int_equal(erofs_image_flush(m.image, NULL, &d), 0);
	assert_int_equal(erofs_image_finish(m.image, &d), 0);
	assert_int_equal(erofs_image_flush(m.image, NULL, &d), -EINVAL);
	made_free(&m);
}

static void refusal_of_any_block_is_passed_on_and_the_image_never_finished(void **state)
{
	struct made whole;

	(void)state;
	make_whole(&whole, false);
	for (size_t k = 1; k <= whole.sink_cnt; k += 5) {
		struct made m;
		int r = 0;
		struct diag d = DIAG_INIT;

		make(&m, sample());
		m.fail_at = k;
		for (uint32_t i = 0; i < m.tree->node_cnt && r == 0; i++)
			if (has_content(m.tree->node[i]))
				r = put_file(&m, m.tree->node[i], &d);
		if (r == 0)
			r = erofs_image_flush(m.image, NULL, &d);
		assert_int_equal(r, -ENOSPC);
		assert_non_null(strstr(d.text, "no space"));
		assert_int_equal(erofs_image_finish(m.image, &d), -EINVAL);
		made_free(&m);
	}
	made_free(&whole);
}

/* Plan to finish, in m, whose bytes and times are there. */
static int make_small(struct made *m, struct diag *d)
{
	int r = erofs_plan_new(m->tree, &keep_all, &m->plan, d);

	if (r == 0)
		r = erofs_image_new(m->plan, sink, m, &m->image, d);
	for (uint32_t i = 0; i < m->tree->node_cnt && r == 0; i++)
		if (has_content(m->tree->node[i]))
			r = put_file(m, m->tree->node[i], d);
	if (r == 0)
		r = erofs_image_flush(m->image, NULL, d);
	return r == 0 ? erofs_image_finish(m->image, d) : r;
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
	static uint8_t bytes[16 * BLOCK_LEN];
	static uint32_t times[16];
	scoped(tree) struct tree *t = tiny_tree();
	int r = -1;

	(void)state;
	tiny_xattr(tiny_file(t, t->root, "a", 5000), "user.x", "1");
	tiny_file(t, t->root, "b", 10);
	tiny_xattr(tiny_symlink(t, tiny_dir(t, t->root, "d"), "l", "x"), "trusted.x", "1");
	tiny_finish(t);
	for (unsigned long k = 1; r != 0; k++) {
		struct made m = { .tree = t,
			          .bytes = bytes,
			          .times = times,
			          .block_cnt = ARRAY_LEN(times),
			          .lock = PTHREAD_MUTEX_INITIALIZER };
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = make_small(&m, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM);
		if (r == 0)
			assert_true(erofs_plan_image_len(m.plan) <= sizeof(bytes));
		erofs_image_free(m.image);
		erofs_plan_free(m.plan);
		assert_true(k < 1000);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_block_is_metadata_once_or_data),
		cmocka_unit_test(reader_finds_the_tree_that_was_planned),
		cmocka_unit_test(order_of_tails_does_not_matter),
		cmocka_unit_test(threads_make_the_same_image),
		cmocka_unit_test(wrong_tails_are_refused_by_name),
		cmocka_unit_test(image_without_a_tail_or_a_flush_is_not_finished),
		cmocka_unit_test(refusal_of_any_block_is_passed_on_and_the_image_never_finished),
		cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
