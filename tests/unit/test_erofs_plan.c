/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the layout one by one, with numbers worked out by hand from docs/format.md. That
 * they add up to the reference's images is the golden test's claim.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "erofs_plan.h"
#include "tiny_tree.h"

#define BLOCK_LEN UINT64_C(4096)
#define BIG_UID   70000U /* makes the inode extended */

static const struct compat current = { 0 };
static const struct erofs_plan_options keep_all = { .keep_owners = true,
	                                            .keep_xattrs = true,
	                                            .compat = &current };
static const struct erofs_plan_options keep_nothing = { .compat = &current };

static struct erofs_plan *plan_of(struct tree *t, const struct erofs_plan_options *opt)
{
	struct erofs_plan *p = NULL;
	struct diag d = DIAG_INIT;

	if (!t->node)
		tiny_finish(t);
	assert_int_equal(erofs_plan_new(t, opt, &p, &d), 0);
	return p;
}

static void assert_place(const struct erofs_plan *p, const struct tree_node *n, uint64_t inode_off,
                         uint64_t data_len, uint16_t tail_len)
{
	const struct erofs_place *place = erofs_plan_place(p, n);

	assert_int_equal(place->inode_off, inode_off);
	assert_int_equal(place->data_len, data_len);
	assert_int_equal(place->tail_len, tail_len);
}

static void empty_tree_is_one_block(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);
	const struct erofs_plan_super *s = erofs_plan_super(p);

	(void)state;
	assert_int_equal(erofs_plan_image_len(p), BLOCK_LEN);
	assert_place(p, t->root, 1152, 0, 27);
	assert_int_equal(erofs_plan_dir_size(p, t->root), 27);
	assert_int_equal(erofs_plan_place(p, t->root)->nlink, 2);
	assert_int_equal(erofs_plan_place(p, t->root)->serial, 1);
	assert_int_equal(s->root_nid, 36);
	assert_int_equal(s->inode_cnt, 1);
	assert_int_equal(s->feature_compat, 3);
	assert_int_equal(s->meta_blk, 0);
}

static void model_repository_lies_where_the_reference_put_it(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *sub = tiny_dir(t, t->root, "sub");
	struct tree_node *b = tiny_file(t, sub, "b.txt", 10);
	struct tree_node *one =
	        tiny_file(t, t->root, "model-00001-of-00002.safetensors", 4999999999);
	struct tree_node *two =
	        tiny_file(t, t->root, "model-00002-of-00002.safetensors", 1234567890);
	struct tree_node *config = tiny_file(t, t->root, "config.json", 700);
	struct tree_node *git = tiny_file(t, t->root, ".gitattributes", 1519);
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);

	(void)state;
	assert_place(p, t->root, 1152, 0, 179);
	assert_place(p, git, 1376, 0, 1519);
	assert_place(p, config, 2944, 0, 700);
	assert_place(p, sub, 3680, 0, 44);
	assert_place(p, b, 3776, 0, 10);
	assert_place(p, one, UINT64_C(6234570752), UINT64_C(4999999488), 511);
	assert_place(p, two, UINT64_C(6234571328), UINT64_C(1234567168), 722);
	assert_int_equal(erofs_plan_place(p, one)->data_off, 4096);
	assert_int_equal(erofs_plan_place(p, two)->data_off, UINT64_C(5000003584));
	assert_int_equal(erofs_plan_place(p, one)->inode_len, 64);
	assert_int_equal(erofs_plan_place(p, two)->inode_len, 32);
	assert_int_equal(erofs_plan_place(p, one)->serial, 4);
	assert_int_equal(erofs_plan_place(p, b)->serial, 7);
	assert_int_equal(erofs_plan_image_len(p), UINT64_C(6234574848));
}

static void tail_is_inline_as_long_as_inode_and_tail_fill_a_block(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t uid;
		uint64_t data_len;
		uint16_t tail_len;
		uint64_t block_cnt;
	} want[] = {
		{ 0, 0, 0, 0, 1 },
		{ 1, 0, 0, 1, 1 },
		{ 4064, 0, 0, 4064, 2 },
		{ 4065, 0, 4065, 0, 2 },
		{ 4095, 0, 4095, 0, 2 },
		{ 4096, 0, 4096, 0, 2 },
		{ 4097, 0, 4096, 1, 2 },
		{ 8160, 0, 4096, 4064, 3 },
		{ 8161, 0, 8161, 0, 3 },
		{ 4032, BIG_UID, 0, 4032, 2 },
		{ 4033, BIG_UID, 4033, 0, 2 },
		{ 8128, BIG_UID, 4096, 4032, 3 },
		{ 8129, BIG_UID, 8129, 0, 3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		scoped(tree) struct tree *t = tiny_tree();
		struct tree_node *n = tiny_file(t, t->root, "f", want[i].size);

		n->uid = want[i].uid;
		scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_all);
		const struct erofs_place *place = erofs_plan_place(p, n);
		assert_int_equal(place->data_len, want[i].data_len);
		assert_int_equal(place->tail_len, want[i].tail_len);
		assert_int_equal(erofs_plan_image_len(p), want[i].block_cnt * BLOCK_LEN);
	}
}

/* A pending region that ends 32 bytes before a block's end takes what an empty one could not. */
static void extended_inode_crosses_a_block_for_a_longer_tail(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *a = tiny_file(t, t->root, "a", 4096 + 4032);
	struct tree_node *b = tiny_file(t, t->root, "b", 4033);

	(void)state;
	b->uid = BIG_UID;
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_all);
	assert_place(p, a, 2 * BLOCK_LEN, 4096, 4032);
	assert_place(p, b, 2 * BLOCK_LEN + 4064, 0, 4033);
	assert_int_equal(erofs_plan_place(p, b)->inode_len, 64);
	assert_int_equal(erofs_plan_image_len(p), 4 * BLOCK_LEN);
}

static void tail_that_is_not_inline_follows_the_data(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *a = tiny_file(t, t->root, "a", 2 * 4096 + 4090);
	struct tree_node *b = tiny_file(t, t->root, "b", 4096);
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);

	(void)state;
	assert_int_equal(erofs_plan_place(p, a)->data_off, BLOCK_LEN);
	assert_int_equal(erofs_plan_place(p, b)->data_off, 4 * BLOCK_LEN);
}

/* Files of 255-byte names; with last_len one more of that many. "." and ".." take 27 bytes, a name
 * 12 more than its length. */
static struct tree *tree_of_long_names(int cnt, int last_len)
{
	struct tree *t = tiny_tree();
	char name[256];

	for (int i = 0; i < cnt + (last_len > 0); i++) {
		memset(name, 'n', 255);
		snprintf(name, sizeof(name), "%04d", i);
		name[4] = 'n';
		name[i < cnt ? 255 : last_len] = '\0';
		tiny_file(t, t->root, name, 0);
	}
	return t;
}

static void directory_fills_its_blocks_greedily_and_keeps_a_tail_of_4064_inline(void **state)
{
	static const struct {
		int names, last_len;
		uint64_t size, data_len;
	} want[] = {
		{ 10, 203, 2912, 0 },   /* with the root's inode ends at the end of block 0 */
		{ 10, 204, 2913, 0 },   /* does not, so the root lies elsewhere */
		{ 15, 20, 4064, 0 },    /* inline: inode and tail are a whole block */
		{ 15, 21, 4065, 4065 }, /* a block of its own */
		{ 15, 52, 4096, 4096 }, /* no tail at all */
		{ 15, 53, 4161, 4096 }, /* the last entry starts a new block */
		{ 16, 0, 4363, 4096 },  /* so does one of 267 bytes where 64 are left */
		{ 31, 0, 8459, 8192 },  /* blocks after the first have room for 15 of 267 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		scoped(tree) struct tree *t = tree_of_long_names(want[i].names, want[i].last_len);
		scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);
		const struct erofs_place *root = erofs_plan_place(p, t->root);

		assert_int_equal(erofs_plan_dir_size(p, t->root), want[i].size);
		assert_int_equal(root->data_len, want[i].data_len);
		assert_int_equal(root->inode_off == 1152, i == 0 || want[i].data_len > 0);
	}
}

static void links_of_a_directory_are_counted_up_to_65535(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *compact = tiny_dir(t, t->root, "compact");
	struct tree_node *extended = tiny_dir(t, t->root, "extended");
	struct tree_node *just = tiny_dir(t, t->root, "just");
	char name[16];

	(void)state;
	extended->uid = BIG_UID;
	for (int i = 0; i < 65534; i++) {
		snprintf(name, sizeof(name), "%d", i);
		tiny_dir(t, compact, name);
		tiny_dir(t, extended, name);
		if (i > 0)
			tiny_dir(t, just, name);
	}
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_all);
	assert_int_equal(erofs_plan_place(p, compact)->nlink, 1);
	assert_int_equal(erofs_plan_place(p, extended)->nlink, 65536);
	assert_int_equal(erofs_plan_place(p, just)->nlink, 65535);
	assert_int_equal(erofs_plan_place(p, t->root)->nlink, 5);
}

static void hard_links_share_the_inode_of_the_first_name(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *dir = tiny_dir(t, t->root, "a");
	struct tree_node *deep = tiny_file(t, dir, "f", 100);
	struct tree_node *first = tiny_link(t, t->root, "b", deep);
	struct tree_node *last = tiny_link(t, t->root, "c", deep);
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);

	(void)state;
	assert_int_equal(erofs_plan_place(p, first)->nlink, 3);
	assert_int_equal(erofs_plan_place(p, first)->inode_len, 32);
	assert_int_equal(erofs_plan_place(p, deep)->inode_len, 0);
	assert_int_equal(erofs_plan_place(p, last)->inode_len, 0);
	assert_int_equal(erofs_plan_super(p)->inode_cnt, 3);
}

static void inode_is_extended_only_for_size_owner_or_time(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t uid, gid;
		int64_t mtime;
		uint8_t inode_len;
		uint64_t stored;
	} want[] = {
		{ 1, 0, 0, 1000, 32, 1000 },
		{ 1, 0, 0, 5000, 32, 1000 },
		{ 1, 0, 0, -1, 32, 1000 }, /* unsigned: later than any epoch */
		{ 1, 0, 0, 999, 64, 999 },
		{ 1, 0, 0, 0, 64, 0 },
		{ 1, 65535, 65535, 1000, 32, 1000 },
		{ 1, 65536, 0, 1000, 64, 1000 },
		{ 1, 0, 65536, 1000, 64, 1000 },
		{ UINT64_C(0xFFFFFFFF), 0, 0, 1000, 32, 1000 },
		{ UINT64_C(0x100000000), 0, 0, 1000, 64, 1000 },
	};
	struct erofs_plan_options opt = keep_all;

	(void)state;
	opt.epoch = 1000;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		scoped(tree) struct tree *t = tiny_tree();
		struct tree_node *n = tiny_file(t, t->root, "f", want[i].size);
		struct erofs_plan_stamp stamp;

		n->uid = want[i].uid;
		n->gid = want[i].gid;
		n->mtime_s = want[i].mtime;
		n->mtime_ns = 5;
		scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &opt);
		erofs_plan_get_stamp(p, n, &stamp);
		assert_int_equal(erofs_plan_place(p, n)->inode_len, want[i].inode_len);
		assert_int_equal(stamp.mtime_s, want[i].stored);
		assert_int_equal(stamp.mtime_ns, want[i].stored == 1000 ? 0 : 5);
	}
}

static void owners_and_attributes_are_dropped_unless_kept(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *n = tiny_file(t, t->root, "f", 1);
	struct erofs_plan_stamp stamp;

	(void)state;
	n->uid = n->gid = BIG_UID;
	tiny_xattr(n, "user.x", "1");
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);
	erofs_plan_get_stamp(p, n, &stamp);
	assert_int_equal(stamp.uid, 0);
	assert_int_equal(stamp.gid, 0);
	assert_int_equal(erofs_plan_place(p, n)->inode_len, 32);
	assert_int_equal(erofs_plan_place(p, n)->xattr_len, 0);
	assert_int_equal(erofs_plan_super(p)->feature_compat, 3);
}

static void image_beyond_16_tib_is_refused_with_the_file(void **state)
{
	static const struct {
		uint64_t size;
		int r;
	} want[] = {
		{ UINT64_C(0xFFFFFFFE) * 4096, 0 },
		{ UINT64_C(0xFFFFFFFF) * 4096, -EFBIG },
		{ UINT64_MAX, -EFBIG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		scoped(tree) struct tree *t = tiny_tree();
		scoped(erofs_plan) struct erofs_plan *p = NULL;
		struct diag d = DIAG_INIT;

		tiny_file(t, t->root, "huge", want[i].size);
		tiny_finish(t);
		assert_int_equal(erofs_plan_new(t, &keep_nothing, &p, &d), want[i].r);
		if (want[i].r < 0)
			assert_non_null(strstr(d.text, "\"huge\""));
		else
			assert_int_equal(erofs_plan_super(p)->block_cnt, 0xFFFFFFFF);
	}
}

/* The last blocks may be metadata: they are only known to be too many at the end. */
static void image_that_its_metadata_makes_too_long_is_refused(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	scoped(erofs_plan) struct erofs_plan *p = NULL;
	struct diag d = DIAG_INIT;

	(void)state;
	tiny_file(t, t->root, "huge", UINT64_C(0xFFFFFFFE) * 4096);
	tiny_file(t, t->root, "tail", 4064);
	tiny_finish(t);
	assert_int_equal(erofs_plan_new(t, &keep_nothing, &p, &d), -EFBIG);
}

static void pair_on_three_paths_below_the_root_is_shared(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *two = tiny_file(t, t->root, "two", 0);
	struct tree_node *three = tiny_file(t, t->root, "three", 0);
	struct tree_node *linked = tiny_file(t, t->root, "linked", 0);
	struct tree_node *other = tiny_file(t, t->root, "other", 0);
	uint64_t len;

	(void)state;
	/* the root does not count, another value neither */
	tiny_xattr(t->root, "user.two", "v");
	tiny_xattr(two, "user.two", "v");
	tiny_xattr(three, "user.two", "v");
	tiny_xattr(other, "user.two", "w");
	/* a hard link counts as often as it has names */
	tiny_xattr(linked, "user.three", "v");
	tiny_xattr(three, "user.three", "v");
	tiny_link(t, t->root, "name", linked);
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_all);
	erofs_xattrs_shared(erofs_plan_xattrs(p), &len);
	assert_int_equal(len, 12); /* 4 + "three" + "v", padded */
	assert_int_equal(erofs_xattrs_off(erofs_plan_xattrs(p)), 1152);
	assert_int_equal(erofs_plan_place(p, linked)->xattr_len, 12 + 4);
	assert_int_equal(erofs_plan_place(p, two)->xattr_len, 12 + 8);
	assert_int_equal(erofs_plan_place(p, three)->xattr_len, 12 + 4 + 8);
	assert_int_equal(erofs_plan_place(p, t->root)->xattr_len, 12 + 8);
	assert_int_equal(erofs_plan_super(p)->feature_compat, 7);
	assert_int_equal(erofs_plan_place(p, t->root)->inode_off, 1184);
}

static void directory_with_a_whiteout_gets_an_origin_even_without_attributes(void **state)
{
	scoped(tree) struct tree *t = tiny_tree();
	struct tree_node *white = tiny_dir(t, t->root, "white");
	struct tree_node *black = tiny_dir(t, t->root, "black");

	(void)state;
	tiny_add(t, white, "gone", S_IFCHR);
	tiny_add(t, black, "null", S_IFCHR)->rdev_minor = 3;
	tiny_add(t, black, "block", S_IFBLK);
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_nothing);
	/* 4 + "overlay.origin", padded */
	assert_int_equal(erofs_plan_place(p, white)->xattr_len, 12 + 20);
	assert_int_equal(erofs_plan_place(p, black)->xattr_len, 0);
	assert_int_equal(erofs_plan_place(p, t->root)->xattr_len, 0);
}

static void more_attributes_than_an_inode_can_say_are_refused(void **state)
{
	scoped_free char *value = calloc(1, TREE_MAX_XATTR_VALUE);

	(void)state;
	assert_non_null(value);
	/* three entries of 4 + 1 + 65535 bytes and a fourth of 4 + 1 + 65511 behind the header of
	 * 12 are as much as can be said */
	for (size_t more = 0; more <= 4; more += 4) {
		scoped(tree) struct tree *t = tiny_tree();
		struct tree_node *n = tiny_file(t, t->root, "f", 0);
		scoped(erofs_plan) struct erofs_plan *p = NULL;
		struct diag d = DIAG_INIT;
		char name[] = "user.0";

		for (size_t i = 0; i < 4; i++, name[5]++)
			assert_int_equal(
			        tree_add_xattr(n, name, value, i < 3 ? 65535 : 65511 + more), 0);
		tiny_finish(t);
		int r = erofs_plan_new(t, &keep_all, &p, &d);
		if (more == 0) {
			assert_int_equal(r, 0);
			assert_int_equal(erofs_plan_place(p, n)->xattr_len, EROFS_XATTR_MAX_BODY);
		} else {
			assert_int_equal(r, -EOPNOTSUPP);
			assert_non_null(strstr(d.text, "\"f\""));
		}
	}
}

/* More than 2 MiB of shared attributes push a root that does not fit into block 0 out of reach. */
static void numbers_start_later_when_the_root_lies_too_far_behind(void **state)
{
	scoped(tree) struct tree *t = tree_of_long_names(12, 0);
	struct tree_node *in_front = tiny_file(t, t->root, "zzz", 1);
	scoped_free uint8_t *value = calloc(1, 65000);
	char name[16];

	(void)state;
	assert_non_null(value);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "user.%02d", i);
		for (uint32_t k = 0; k < 3; k++)
			assert_int_equal(tree_add_xattr(t->root->child[k], name, value, 65000), 0);
	}
	scoped(erofs_plan) struct erofs_plan *p = plan_of(t, &keep_all);
	const struct erofs_plan_super *s = erofs_plan_super(p);
	uint64_t root_off = erofs_plan_place(p, t->root)->inode_off;
	uint64_t origin = (uint64_t)s->meta_blk * BLOCK_LEN;
	assert_true(root_off > 65535 * 32);
	assert_int_equal(origin, round_up(root_off - 65535 * 32, BLOCK_LEN));
	assert_int_equal(s->root_nid, (root_off - origin) / 32);
	assert_int_equal(erofs_plan_nid(p, t->root), s->root_nid);
	/* numbers in front of the origin wrap around */
	uint64_t off = erofs_plan_place(p, in_front)->inode_off;
	assert_true(off < origin);
	assert_int_equal(erofs_plan_nid(p, in_front), (off - origin) >> 5);
	assert_int_equal(s->xattr_blk, 1);
}

static struct tree *sample(void)
{
	struct tree *t = tree_of_long_names(20, 0);
	struct tree_node *dir = tiny_dir(t, t->root, "dir");

	for (int i = 0; i < 4; i++)
		tiny_xattr(t->root->child[i], "user.shared", "value");
	tiny_xattr(dir, "security.own", "value");
	tiny_file(t, dir, "big", 100000);
	tiny_symlink(t, dir, "link", "target");
	tiny_finish(t);
	return t;
}

static void every_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
	scoped(tree) struct tree *t = sample();
	int r = -1;

	(void)state;
	for (unsigned long k = 1; r != 0; k++) {
		scoped(erofs_plan) struct erofs_plan *p = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = erofs_plan_new(t, &keep_all, &p, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || (r == -ENOMEM && d.text[0] != '\0' && !p));
		assert_true(k < 1000);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_tree_is_one_block),
		cmocka_unit_test(model_repository_lies_where_the_reference_put_it),
		cmocka_unit_test(tail_is_inline_as_long_as_inode_and_tail_fill_a_block),
		cmocka_unit_test(extended_inode_crosses_a_block_for_a_longer_tail),
		cmocka_unit_test(tail_that_is_not_inline_follows_the_data),
		cmocka_unit_test(
		        directory_fills_its_blocks_greedily_and_keeps_a_tail_of_4064_inline),
		cmocka_unit_test(links_of_a_directory_are_counted_up_to_65535),
		cmocka_unit_test(hard_links_share_the_inode_of_the_first_name),
		cmocka_unit_test(inode_is_extended_only_for_size_owner_or_time),
		cmocka_unit_test(owners_and_attributes_are_dropped_unless_kept),
		cmocka_unit_test(image_beyond_16_tib_is_refused_with_the_file),
		cmocka_unit_test(image_that_its_metadata_makes_too_long_is_refused),
		cmocka_unit_test(pair_on_three_paths_below_the_root_is_shared),
		cmocka_unit_test(directory_with_a_whiteout_gets_an_origin_even_without_attributes),
		cmocka_unit_test(more_attributes_than_an_inode_can_say_are_refused),
		cmocka_unit_test(numbers_start_later_when_the_root_lies_too_far_behind),
		cmocka_unit_test(every_failed_allocation_is_reported_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
