/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks through EROFS trees: in order, complete, told to skip and to go on, and at an end on every
 * image however its directories are knit together. The set of nids is tested through what a walk
 * refuses.
 */
#include "support.h"

#include "erofs.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_NID UINT64_C(64)

struct walked {
	struct vblk *v;
	struct erofs *fs;
	struct erofs_inode root;
	struct diag d;
	/* what the visitor noted, one word per event */
	char log[4096];
	const char *prune, *fail_at;
	bool go_on;
	size_t visits, max_depth;
};

static void note(struct walked *w, const char *what, const struct erofs_walk_entry *e)
{
	size_t used = strlen(w->log);

	assert_int_equal(strlen(e->path), e->path_len);
	assert_string_equal(e->name, strrchr(e->path, '/') ? strrchr(e->path, '/') + 1 : e->path);
	if (used + e->path_len + 8 < sizeof(w->log))
		snprintf(w->log + used, sizeof(w->log) - used, "%s%s%s", used ? " " : "", what,
		         e->path);
}

static size_t slashes(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

static int on_visit(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct walked *w = ctx;

	note(w, "", e);
	assert_non_null(e->inode);
	assert_int_equal(e->depth, e->path_len ? slashes(e->path) + 1 : 0);
	w->visits++;
	w->max_depth = MAX(w->max_depth, e->depth);
	if (w->fail_at && strcmp(w->fail_at, e->path) == 0)
		return diag_set(d, -EXDEV, "enough");
	return w->prune && strcmp(w->prune, e->path) == 0 ? EROFS_WALK_PRUNE : 0;
}

static int on_leave(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	(void)d;
	assert_true(S_ISDIR(e->inode->mode));
	note(ctx, "<", e);
	return 0;
}

static int on_broken(void *ctx, const struct erofs_walk_entry *e, int err, struct diag *d)
{
	struct walked *w = ctx;

	assert_int_equal(d->err, err);
	note(w, "?", e);
	return w->go_on ? 0 : err;
}

static int walk(struct walked *w)
{
	static const struct erofs_visitor visitor = { on_visit, on_leave, on_broken };

	w->log[0] = '\0';
	w->visits = w->max_depth = 0;
	return erofs_walk(w->fs, &w->root, &visitor, w, &w->d);
}

static void open_tree(struct walked *w, struct tiny_erofs *t)
{
	tiny_erofs_seal(t->bytes, t->len);
	*w = (struct walked){ .v = test_vblk_of_memory(t->bytes, t->len) };
	if (erofs_open(w->v, &w->fs, &w->d))
		fail_msg("%s", w->d.text);
	assert_int_equal(erofs_inode_get(w->fs, TINY_ROOT_NID, &w->root, &w->d), 0);
}

static void close_tree(struct walked *w, struct tiny_erofs *t)
{
	erofs_close(w->fs);
	vblk_close(w->v);
	tiny_erofs_free(t);
}

#define DOTS(nid)                                                                                  \
	{ ".", nid, 2 },                                                                           \
	{                                                                                          \
		"..", nid, 2                                                                       \
	}

/* root: !f a/ (x y/ (z) zz) b c/ () */
enum { NID_A = 70, NID_Y = 72, NID_C = 74, NID_LINK = 76 };

static void make_tree(struct tiny_erofs *t)
{
	static const struct tiny_name root[] = { { "!f", FILE_NID, 1 },
		                                 DOTS(TINY_ROOT_NID),
		                                 { "a", NID_A, 2 },
		                                 { "b", FILE_NID, 1 },
		                                 { "c", NID_C, 2 } };
	static const struct tiny_name a[] = {
		DOTS(NID_A), { "x", FILE_NID, 1 }, { "y", NID_Y, 2 }, { "zz", NID_LINK, 7 }
	};
	static const struct tiny_name y[] = { DOTS(NID_Y), { "z", FILE_NID, 0 } };
	static const struct tiny_name c[] = { DOTS(NID_C) };

	tiny_erofs_make(t, 9, 20);
	tiny_erofs_compact(t, FILE_NID, EROFS_LAYOUT_PLAIN, 0100644, 0, 0);
	tiny_erofs_compact(t, NID_LINK, EROFS_LAYOUT_INLINE, 0120777, 1, 0);
	tiny_erofs_put(t, NID_LINK * 32 + 32, "x", 1);
	tiny_erofs_directory(t, TINY_ROOT_NID, 10, root, ARRAY_LEN(root));
	tiny_erofs_directory(t, NID_A, 11, a, ARRAY_LEN(a));
	tiny_erofs_directory(t, NID_Y, 12, y, ARRAY_LEN(y));
	tiny_erofs_directory(t, NID_C, 13, c, ARRAY_LEN(c));
}

static void a_walk_visits_all_in_order(void **state)
{
	static const struct erofs_visitor only_visit = { .visit = on_visit };
	struct tiny_erofs t;
	struct walked w;
	struct erofs_inode link;

	(void)state;
	make_tree(&t);
	open_tree(&w, &t);
	assert_int_equal(walk(&w), 0);
	assert_string_equal(w.log, "!f a a/x a/y a/y/z <a/y a/zz <a b c <c <");
	w.log[0] = '\0';
	assert_int_equal(erofs_walk(w.fs, &w.root, &only_visit, &w, &w.d), 0);
	assert_string_equal(w.log, "!f a a/x a/y a/y/z a/zz b c");
	assert_int_equal(erofs_inode_get(w.fs, NID_LINK, &link, &w.d), 0);
	w.visits = 0;
	assert_int_equal(erofs_walk(w.fs, &link, &only_visit, &w, &w.d), 0);
	assert_int_equal(w.visits, 1);
	close_tree(&w, &t);
}

static void a_visitor_prunes_and_ends(void **state)
{
	struct tiny_erofs t;
	struct walked w;

	(void)state;
	make_tree(&t);
	open_tree(&w, &t);
	w.prune = "a/y";
	assert_int_equal(walk(&w), 0);
	assert_string_equal(w.log, "!f a a/x a/y a/zz <a b c <c <");
	w.prune = "";
	assert_int_equal(walk(&w), 0);
	assert_int_equal(w.visits, 1);
	w.prune = "b"; /* not a directory: nothing to leave out */
	assert_int_equal(walk(&w), 0);
	assert_string_equal(w.log, "!f a a/x a/y a/y/z <a/y a/zz <a b c <c <");
	w.fail_at = "a/y/z";
	assert_int_equal(walk(&w), -EXDEV);
	assert_string_equal(w.d.text, "enough");
	assert_string_equal(w.log, "!f a a/x a/y a/y/z");
	close_tree(&w, &t);
}

static void what_is_broken_is_told_and_passed_by(void **state)
{
	struct tiny_erofs t;
	struct walked w;

	(void)state;
	make_tree(&t);
	memset(t.bytes + NID_LINK * 32, 0xFF, 2); /* inode of a/zz */
	t.bytes[12 * 512 + 8] = 1;                /* first name of a/y */
	open_tree(&w, &t);
	assert_int_equal(walk(&w), -EUCLEAN);
	assert_string_equal(w.d.text,
	                    "\"a/y\": EROFS directory 72, block 0: first name is at 1 of 40 bytes");
	w.go_on = true;
	assert_int_equal(walk(&w), 0);
	assert_string_equal(w.log, "!f a a/x a/y ?a/y <a/y ?a/zz <a b c <c <");
	close_tree(&w, &t);
}

static void a_directory_met_twice_is_refused(void **state)
{
	static const struct {
		uint64_t nid;
		const char *log;
	} cases[] = {
		{ TINY_ROOT_NID, "!f a ?a/x a/y a/y/z <a/y a/zz <a b c <c <" },
		{ NID_A, "!f a ?a/x a/y a/y/z <a/y a/zz <a b c <c <" },
		{ NID_Y, "!f a a/x a/x/z <a/x ?a/y a/zz <a b c <c <" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct tiny_erofs t;
		struct walked w;
		le64 nid = le64_of(cases[i].nid);

		make_tree(&t);
		tiny_erofs_put(&t, 11 * 512 + 24, &nid, sizeof(nid)); /* a/x */
		t.bytes[11 * 512 + 24 + 10] = 2;
		open_tree(&w, &t);
		assert_int_equal(walk(&w), -EUCLEAN);
		assert_non_null(strstr(w.d.text, "was met before at another path"));
		w.go_on = true;
		assert_int_equal(walk(&w), 0);
		/* the walk itself starts at "" */
		assert_string_equal(w.log, cases[i].log);
		close_tree(&w, &t);
	}
}

/* Directories side by side, every second one of which comes again: the set must know each. */
static void ten_thousand_directories_are_told_apart(void **state)
{
	enum { CNT = 10000, FIRST = 70, BLK = 700 };
	static char text[2 * CNT][8];
	static struct tiny_name names[2 * CNT + 2] = { DOTS(TINY_ROOT_NID) };
	struct tiny_erofs t;
	struct walked w;

	(void)state;
	tiny_erofs_make(&t, 9, 2000);
	for (size_t i = 0; i < CNT; i++) {
		struct tiny_name self[] = { DOTS(TINY_ROOT_NID) };

		/* they all have the same data: allowed, since their names lead nowhere */
		tiny_erofs_directory(&t, FIRST + i, 699, self, 2);
	}
	for (size_t i = 0; i < CNT; i++) {
		snprintf(text[i], sizeof(text[i]), "a%05zu", i);
		snprintf(text[CNT + i], sizeof(text[i]), "b%05zu", i);
		names[2 + i] = (struct tiny_name){ text[i], FIRST + i * 7919 % CNT, 2 };
		names[2 + CNT + i] = (struct tiny_name){ text[CNT + i], FIRST + i, 2 };
	}
	tiny_erofs_directory(&t, TINY_ROOT_NID, BLK, names, 2 + CNT);
	open_tree(&w, &t);
	assert_int_equal(walk(&w), 0);
	assert_int_equal(w.visits, 1 + CNT);
	erofs_close(w.fs);
	vblk_close(w.v);

	tiny_erofs_directory(&t, TINY_ROOT_NID, BLK, names, 2 + 2 * CNT);
	open_tree(&w, &t);
	w.go_on = true;
	assert_int_equal(walk(&w), 0);
	assert_int_equal(w.visits, 1 + CNT);
	close_tree(&w, &t);
}

/* 66 names in each of 12 directories for the next one: 66^12 paths in 20 KiB. */
static void a_directory_bomb_goes_off_once(void **state)
{
	enum { LEVELS = 12, WIDTH = 66 };
	struct tiny_erofs t;
	struct walked w;

	(void)state;
	tiny_erofs_make(&t, 12, 20);
	tiny_erofs_compact(&t, FILE_NID, EROFS_LAYOUT_PLAIN, 0100644, 0, 0);
	for (unsigned level = 0; level < LEVELS; level++) {
		uint64_t nid = level ? 80 + level : TINY_ROOT_NID;
		struct tiny_name names[WIDTH + 2] = { DOTS(nid) };
		char text[WIDTH][4];

		for (unsigned i = 0; i < WIDTH; i++) {
			snprintf(text[i], sizeof(text[i]), "n%02u", i);
			names[2 + i] = (struct tiny_name){ text[i], 80 + level + 1, 2 };
			if (level == LEVELS - 1)
				names[2 + i] = (struct tiny_name){ text[i], FILE_NID, 1 };
		}
		tiny_erofs_directory(&t, nid, 4 + level, names, WIDTH + 2);
	}
	open_tree(&w, &t);
	assert_int_equal(walk(&w), -EUCLEAN);
	assert_string_equal(w.d.text, "\"n00/n00/n00/n00/n00/n00/n00/n00/n00/n00/n01\": EROFS "
	                              "directory 91 was met before at another path");
	w.go_on = true;
	assert_int_equal(walk(&w), 0);
	assert_int_equal(w.visits, LEVELS + WIDTH);
	close_tree(&w, &t);
}

/* 2000 directories share one block of 26 names of a file: more entries than bytes allow. */
static void more_entries_than_fit_are_refused(void **state)
{
	enum { CNT = 2000, WIDTH = 26 };
	static char text[CNT][8];
	static struct tiny_name names[CNT + 2] = { DOTS(TINY_ROOT_NID) };
	struct tiny_name shared[WIDTH + 2] = { DOTS(TINY_ROOT_NID) };
	char letters[WIDTH][2];
	struct tiny_erofs t;
	struct walked w;

	(void)state;
	tiny_erofs_make(&t, 9, 300);
	tiny_erofs_compact(&t, FILE_NID, EROFS_LAYOUT_PLAIN, 0100644, 0, 0);
	for (unsigned i = 0; i < WIDTH; i++) {
		letters[i][0] = (char)('a' + i);
		letters[i][1] = '\0';
		shared[2 + i] = (struct tiny_name){ letters[i], FILE_NID, 1 };
	}
	for (size_t i = 0; i < CNT; i++) {
		snprintf(text[i], sizeof(text[i]), "%06zu", i);
		names[2 + i] = (struct tiny_name){ text[i], 70 + i, 2 };
		tiny_erofs_directory(&t, 70 + i, 180, shared, WIDTH + 2);
	}
	tiny_erofs_directory(&t, TINY_ROOT_NID, 190, names, CNT + 2);
	open_tree(&w, &t);
	w.go_on = true; /* this limit is not passed by */
	assert_int_equal(walk(&w), -EUCLEAN);
	assert_non_null(strstr(w.d.text, "more entries than an image of 153600 bytes can hold"));
	assert_true(w.visits <= 153600 / 12 + 1);
	close_tree(&w, &t);
}

/* A chain of directories as deep as allowed, and one deeper. */
static void depth_is_bounded(void **state)
{
	struct tiny_erofs t;

	(void)state;
	for (unsigned extra = 0; extra < 2; extra++) {
		unsigned levels = EROFS_WALK_MAX_DEPTH + extra;
		uint32_t first_blk = 1100;
		struct walked w;

		tiny_erofs_make(&t, 9, first_blk + levels);
		for (unsigned i = 0; i < levels; i++) {
			uint64_t nid = i ? 70 + i : TINY_ROOT_NID;
			struct tiny_name names[] = { DOTS(nid), { "d", 70 + i + 1, 2 } };

			tiny_erofs_directory(&t, nid, first_blk + i, names, i + 1 < levels ? 3 : 2);
		}
		open_tree(&w, &t);
		assert_int_equal(walk(&w), extra ? -EOPNOTSUPP : 0);
		assert_int_equal(w.max_depth, levels - 1);
		if (extra)
			assert_non_null(strstr(w.d.text, "nested deeper than 16384"));
		close_tree(&w, &t);
	}
}

static void any_failed_allocation_ends_the_walk(void **state)
{
	struct tiny_erofs t;
	struct walked w;
	unsigned long k;
	int r = -1;

	(void)state;
	make_tree(&t);
	open_tree(&w, &t);
	w.go_on = true;
	for (k = 1; r; k++) {
		support_fail_allocation(k);
		r = walk(&w);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM);
		assert_true(!r || w.d.err == -ENOMEM);
	}
	assert_true(k > 4);
	close_tree(&w, &t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_walk_visits_all_in_order),
		cmocka_unit_test(a_visitor_prunes_and_ends),
		cmocka_unit_test(what_is_broken_is_told_and_passed_by),
		cmocka_unit_test(a_directory_met_twice_is_refused),
		cmocka_unit_test(ten_thousand_directories_are_told_apart),
		cmocka_unit_test(a_directory_bomb_goes_off_once),
		cmocka_unit_test(more_entries_than_fit_are_refused),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(any_failed_allocation_ends_the_walk),
	};

	return cmocka_run_group_tests_name("erofs_walk", tests, NULL, NULL);
}
