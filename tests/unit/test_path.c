/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c and entries.c: what a path means, and that no disk leads one astray.
 */
#include "support.h"

#include <errno.h>
#include <sys/stat.h>

#include "entries.h"
#include "model_fs.h"
#include "path.h"

static struct model_fs m;

static int make(void **state)
{
	(void)state;
	model_fs_make(&m);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	model_fs_free(&m);
	return 0;
}

static void paths_lead_where_they_say(void **state)
{
	static const struct {
		const char *path;
		uint64_t nid;
	} cases[] = {
		{ "", TINY_ROOT_NID },           { "/", TINY_ROOT_NID },
		{ "//.//", TINY_ROOT_NID },      { "..", TINY_ROOT_NID },
		{ "a/../..", TINY_ROOT_NID },    { "a", MODEL_FS_DIR },
		{ "abs", MODEL_FS_DIR },         { "a/sub/..", MODEL_FS_DIR },
		{ "abs/sub/../", MODEL_FS_DIR }, { "/a/f", MODEL_FS_FILE },
		{ "a/l", MODEL_FS_FILE },        { "l", MODEL_FS_FILE },
		{ "out", MODEL_FS_FILE },        { "abs/../out", MODEL_FS_FILE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct erofs_inode ino = { .nid = 0 };

		assert_int_equal(path_resolve(m.fs, cases[i].path, &ino, NULL), 0);
		assert_int_equal(ino.nid, cases[i].nid);
	}
}

static void paths_that_lead_nowhere_say_why(void **state)
{
	static const struct {
		const char *path;
		int err;
		const char *words;
	} cases[] = {
		{ "b", -ENOENT, "has no \"b\"" },
		{ "a/f/g", -ENOTDIR, "no directory" },
		{ "a/f/..", 0, NULL }, /* lexically the directory: ".." asks nobody */
		{ "a/f/", 0, NULL },
		{ "loop", -ELOOP, "symlinks" },
		{ "loop/x", -ELOOP, "symlinks" },
		{ "a/x\n", -ENOENT, "\\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct erofs_inode ino;
		struct diag d = DIAG_INIT;

		assert_int_equal(path_resolve(m.fs, cases[i].path, &ino, &d), cases[i].err);
		if (cases[i].words)
			assert_non_null(strstr(d.text, cases[i].words));
	}
}

static void a_path_may_be_long_but_not_endless(void **state)
{
	char *path = malloc(3 * 100000 + 1);
	struct erofs_inode ino;

	(void)state;
	assert_non_null(path);
	path[0] = '\0';
	for (size_t i = 0; i < 100000; i++)
		memcpy(path + 3 * i, "a/.", 3);
	path[3 * 100000] = '\0';
	assert_int_equal(path_resolve(m.fs, path, &ino, NULL), -ENOENT); /* "a/.a" */
	for (size_t i = 0; i < 100000; i++)
		memcpy(path + 3 * i, "../", 3);
	assert_int_equal(path_resolve(m.fs, path, &ino, NULL), 0);
	memcpy(path, "l/", 2); /* a link before too much that is still to follow */
	assert_int_equal(path_resolve(m.fs, path, &ino, NULL), -ENAMETOOLONG);
	free(path);
}

static void without_memory_a_path_fails_cleanly(void **state)
{
	(void)state;
	for (unsigned long k = 1;; k++) {
		struct erofs_inode ino;
		int r;

		support_fail_allocation(k);
		r = path_resolve(m.fs, "abs/sub/../../out", &ino, NULL);
		support_fail_allocation(0);
		if (r == 0) {
			assert_true(k >= 3);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
}

static void a_listing_has_everything_once(void **state)
{
	static const char *const paths[] = { "",    "a", "a/f",  "a/l", "a/sub", "a/sub/e",
		                             "abs", "l", "loop", "out", "s",     "s/p" };
	struct entries l;
	struct erofs_inode root;

	(void)state;
	assert_int_equal(path_resolve(m.fs, "", &root, NULL), 0);
	assert_int_equal(entries_read(m.fs, &root, &l, NULL), 0);
	assert_int_equal(l.cnt, ARRAY_LEN(paths));
	for (size_t i = 0; i < l.cnt; i++)
		assert_string_equal(l.entry[i].path, paths[i]);
	assert_int_equal(l.file_bytes, MODEL_FS_LEN);
	entries_release(&l);
	assert_int_equal(l.cnt, 0);
}

static void without_memory_a_listing_fails_cleanly(void **state)
{
	struct erofs_inode root;

	(void)state;
	assert_int_equal(path_resolve(m.fs, "", &root, NULL), 0);
	for (unsigned long k = 1;; k++) {
		struct entries l;
		int r;

		support_fail_allocation(k);
		r = entries_read(m.fs, &root, &l, NULL);
		support_fail_allocation(0);
		if (r == 0) {
			entries_release(&l);
			assert_true(k >= 6);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_lead_where_they_say),
		cmocka_unit_test(paths_that_lead_nowhere_say_why),
		cmocka_unit_test(a_path_may_be_long_but_not_endless),
		cmocka_unit_test(without_memory_a_path_fails_cleanly),
		cmocka_unit_test(a_listing_has_everything_once),
		cmocka_unit_test(without_memory_a_listing_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
