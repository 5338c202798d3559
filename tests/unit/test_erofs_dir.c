/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in EROFS directories: every entry is found, nothing else is, in few reads, and no disorder
 * goes by unseen.
 */
#include "support.h"

#include "erofs.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define FILE_NID UINT64_C(64)

/* An image whose only directory is its root. */
struct directory {
	struct tiny_erofs t;
	struct support_fault fault;
	struct blk *memory, *counted;
	struct vblk *v;
	struct erofs *fs;
	struct erofs_inode root;
	struct diag d;
	size_t blk_cnt; /* of the directory */
};

#define DIR_BLK 8

static void open_directory(struct directory *dir, unsigned block_bits,
                           const struct tiny_name *names, size_t cnt)
{
	size_t room = DIR_BLK + 2 + cnt * 40 / ((size_t)1 << block_bits) * 2;

	*dir = (struct directory){ .blk_cnt = 0 };
	tiny_erofs_make(&dir->t, block_bits, room);
	tiny_erofs_compact(&dir->t, FILE_NID, EROFS_LAYOUT_PLAIN, 0100644, 0, 0);
	dir->blk_cnt = tiny_erofs_directory(&dir->t, TINY_ROOT_NID, DIR_BLK, names, cnt);
	tiny_erofs_seal(dir->t.bytes, dir->t.len);
	assert_int_equal(blk_of_memory(dir->t.bytes, dir->t.len, "image", &dir->memory), 0);
	dir->fault.parent = dir->memory;
	assert_int_equal(support_fault_blk(&dir->fault, &dir->counted), 0);
	dir->v = test_vblk_of_blk(dir->counted);
	if (erofs_open(dir->v, &dir->fs, &dir->d))
		fail_msg("%s", dir->d.text);
	assert_int_equal(erofs_inode_get(dir->fs, TINY_ROOT_NID, &dir->root, &dir->d), 0);
}

static void close_directory(struct directory *dir)
{
	erofs_close(dir->fs);
	vblk_close(dir->v);
	blk_close(dir->counted);
	blk_close(dir->memory);
	tiny_erofs_free(&dir->t);
}

static int look_up(struct directory *dir, const char *name, uint64_t *nid)
{
	return erofs_lookup(dir->fs, &dir->root, name, strlen(name), nid, &dir->d);
}

/* names: ".", "..", then "f000000" and so on, all for different nids */
#define NAME_LEN 16
struct many {
	size_t cnt;
	struct tiny_name *names;
	char (*text)[NAME_LEN];
};

static void many_make(struct many *m, size_t cnt)
{
	m->cnt = cnt + 2;
	m->names = calloc(m->cnt, sizeof(*m->names));
	m->text = calloc(m->cnt, sizeof(*m->text));
	assert_non_null(m->names);
	assert_non_null(m->text);
	m->names[0] = (struct tiny_name){ ".", TINY_ROOT_NID, 2 };
	m->names[1] = (struct tiny_name){ "..", TINY_ROOT_NID, 2 };
	for (size_t i = 0; i < cnt; i++) {
		snprintf(m->text[i], NAME_LEN, "f%06zu", i);
		m->names[i + 2] = (struct tiny_name){ m->text[i], FILE_NID + i % 50, 1 };
	}
}

static void many_free(struct many *m)
{
	free(m->names);
	free(m->text);
}

static void a_hundred_thousand_names_are_found_in_ten_reads(void **state)
{
	struct directory dir;
	struct many m;
	uint64_t nid;

	(void)state;
	many_make(&m, 100000);
	open_directory(&dir, 12, m.names, m.cnt);
	assert_int_equal(dir.blk_cnt, 466);
	for (size_t i = 0; i < 100000; i += 7) {
		char near[NAME_LEN];

		dir.fault.read_cnt = 0;
		assert_int_equal(look_up(&dir, m.text[i], &nid), 0);
		assert_int_equal(nid, FILE_NID + i % 50);
		assert_true(dir.fault.read_cnt <= 9);
		snprintf(near, sizeof(near), "%s-", m.text[i]);
		dir.fault.read_cnt = 0;
		assert_int_equal(look_up(&dir, near, &nid), -ENOENT);
		assert_true(dir.fault.read_cnt <= 9);
	}
	close_directory(&dir);
	many_free(&m);
}

static void absent_names_are_absent(void **state)
{
	static const char *const absent[] = { "a",        "e",         "f",        "f00000",
		                              "f0000000", "f0000000a", "f001999x", "f002000",
		                              "g",        "\xFF" };
	struct directory dir;
	struct many m;
	uint64_t nid = 99;

	(void)state;
	many_make(&m, 2000);
	open_directory(&dir, 9, m.names, m.cnt);
	for (size_t i = 0; i < ARRAY_LEN(absent); i++) {
		assert_int_equal(look_up(&dir, absent[i], &nid), -ENOENT);
		assert_int_equal(nid, 99);
	}
	assert_string_equal(dir.d.text, "EROFS directory 48 has no entry \"\\xff\"");
	close_directory(&dir);
	many_free(&m);
}

/* Bytes below '.' come before "." on the disk. */
static void order_is_that_of_unsigned_bytes(void **state)
{
	static const struct tiny_name names[] = {
		{ " a", 64, 1 },       { "!", 65, 1 },  { "#", 66, 1 },    { "+x", 67, 1 },
		{ "-", 68, 1 },        { ".", 48, 2 },  { "..", 48, 2 },   { "...", 69, 1 },
		{ "..a", 70, 1 },      { ".a", 71, 1 }, { "A", 72, 1 },    { "a", 73, 1 },
		{ "ab", 74, 1 },       { "b", 75, 1 },  { "\x7F", 76, 1 }, { "\x80", 77, 1 },
		{ "\xC3\xA4", 78, 1 },
	};
	struct directory dir;
	uint64_t nid;

	(void)state;
	open_directory(&dir, 9, names, ARRAY_LEN(names));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i].name, ".") == 0 || strcmp(names[i].name, "..") == 0)
			continue;
		assert_int_equal(look_up(&dir, names[i].name, &nid), 0);
		assert_int_equal(nid, names[i].nid);
	}
	close_directory(&dir);
}

static void names_have_1_to_255_bytes(void **state)
{
	char longest[256], longer[257];
	struct tiny_name names[] = { { ".", 48, 2 }, { "..", 48, 2 }, { longest, 64, 1 } };
	struct directory dir;
	uint64_t nid;

	(void)state;
	memset(longest, 'n', sizeof(longest));
	longest[255] = '\0';
	memset(longer, 'n', sizeof(longer));
	longer[256] = '\0';
	open_directory(&dir, 9, names, 3);
	assert_int_equal(look_up(&dir, longest, &nid), 0);
	assert_int_equal(look_up(&dir, longer, &nid), -ENAMETOOLONG);
	assert_int_equal(look_up(&dir, "", &nid), -EINVAL);
	close_directory(&dir);
	names[2].name = longer;
	open_directory(&dir, 9, names, 3);
	assert_int_equal(look_up(&dir, longest, &nid), -EUCLEAN);
	assert_non_null(strstr(dir.d.text, "name of entry 2 has 256 bytes, more than 255"));
	close_directory(&dir);
}

static void no_entry_is_called_so(void **state)
{
	static const struct tiny_name names[] = { { ".", 48, 2 }, { "..", 48, 2 }, { "a", 64, 1 } };
	struct directory dir;
	struct erofs_inode file;
	uint64_t nid;

	(void)state;
	open_directory(&dir, 12, names, 3);
	assert_int_equal(look_up(&dir, ".", &nid), -EINVAL);
	assert_int_equal(look_up(&dir, "..", &nid), -EINVAL);
	assert_int_equal(look_up(&dir, "a/b", &nid), -EINVAL);
	assert_int_equal(erofs_lookup(dir.fs, &dir.root, "a\0b", 3, &nid, &dir.d), -EINVAL);
	assert_int_equal(erofs_inode_get(dir.fs, FILE_NID, &file, &dir.d), 0);
	assert_int_equal(erofs_lookup(dir.fs, &file, "a", 1, &nid, &dir.d), -ENOTDIR);
	assert_int_equal(erofs_list(dir.fs, &file, 0, NULL, NULL, &dir.d), -ENOTDIR);
	close_directory(&dir);
}

/* ------------------------------------------------------------------------------------------------
 * listing */

struct collected {
	size_t cnt, stop_at; /* stops before entry stop_at */
	uint64_t next[4096];
	char names[4096][NAME_LEN];
};

static int collect(void *ctx, const struct erofs_dirent *e)
{
	struct collected *c = ctx;

	if (c->cnt == c->stop_at)
		return 1;
	assert_true(e->name_len < NAME_LEN);
	memcpy(c->names[c->cnt], e->name, e->name_len);
	c->names[c->cnt][e->name_len] = '\0';
	c->next[c->cnt++] = e->next;
	return 0;
}

static void a_list_in_pieces_is_the_whole_list(void **state)
{
	struct collected *whole = calloc(1, sizeof(*whole)), *piece = calloc(1, sizeof(*piece));
	struct directory dir;
	struct many m;

	(void)state;
	assert_non_null(whole);
	assert_non_null(piece);
	many_make(&m, 500);
	open_directory(&dir, 9, m.names, m.cnt);
	whole->stop_at = SIZE_MAX;
	assert_int_equal(erofs_list(dir.fs, &dir.root, 0, collect, whole, &dir.d), 0);
	assert_int_equal(whole->cnt, 500);
	for (size_t i = 0; i < 500; i++)
		assert_string_equal(whole->names[i], m.text[i]);
	for (size_t i = 0; i < 500; i++) {
		*piece = (struct collected){ .stop_at = 3 };
		assert_int_equal(
		        erofs_list(dir.fs, &dir.root, whole->next[i], collect, piece, &dir.d), 0);
		assert_int_equal(piece->cnt, MIN(3, 499 - i));
		for (size_t k = 0; k < piece->cnt; k++)
			assert_string_equal(piece->names[k], m.text[i + 1 + k]);
	}
	close_directory(&dir);
	many_free(&m);
	free(whole);
	free(piece);
}

static void a_cookie_never_given_is_refused(void **state)
{
	struct collected *got = calloc(1, sizeof(*got));
	struct directory dir;
	struct many m;
	uint64_t end;

	(void)state;
	assert_non_null(got);
	got->stop_at = SIZE_MAX;
	many_make(&m, 100);
	open_directory(&dir, 9, m.names, m.cnt);
	end = dir.blk_cnt * 512;
	for (uint64_t cookie = 0; cookie < end + 100; cookie++) {
		int r;

		got->cnt = 0;
		r = erofs_list(dir.fs, &dir.root, cookie, collect, got, &dir.d);
		if (cookie % 512 % 12 != 0 || cookie > end)
			assert_int_equal(r, -EINVAL);
		else
			assert_true(r == 0 || r == -EINVAL);
		assert_true(r == 0 || got->cnt == 0);
	}
	assert_int_equal(erofs_list(dir.fs, &dir.root, end, collect, got, &dir.d), 0);
	assert_int_equal(erofs_list(dir.fs, &dir.root, UINT64_MAX, collect, got, &dir.d), -EINVAL);
	close_directory(&dir);
	many_free(&m);
	free(got);
}

static int give_up(void *ctx, const struct erofs_dirent *e)
{
	(void)ctx;
	(void)e;
	return -EOVERFLOW;
}

static int expect_type(void *ctx, const struct erofs_dirent *e)
{
	static const uint8_t types[] = { DT_UNKNOWN, DT_REG,  DT_DIR,  DT_CHR,
		                         DT_BLK,     DT_FIFO, DT_SOCK, DT_LNK };
	unsigned *cnt = ctx;

	assert_int_equal(e->type, types[e->name[0] - 'a']);
	(*cnt)++;
	return 0;
}

static void a_list_gives_types_and_the_callers_error(void **state)
{
	static const struct tiny_name names[] = {
		{ ".", 48, 2 }, { "..", 48, 2 }, { "a", 64, 0 }, { "b", 64, 1 }, { "c", 64, 2 },
		{ "d", 64, 3 }, { "e", 64, 4 },  { "f", 64, 5 }, { "g", 64, 6 }, { "h", 64, 7 },
	};
	struct directory dir;
	unsigned cnt = 0;

	(void)state;
	open_directory(&dir, 12, names, ARRAY_LEN(names));
	assert_int_equal(erofs_list(dir.fs, &dir.root, 0, expect_type, &cnt, &dir.d), 0);
	assert_int_equal(cnt, 8);
	assert_int_equal(erofs_list(dir.fs, &dir.root, 0, give_up, NULL, &dir.d), -EOVERFLOW);
	close_directory(&dir);
}

/* ------------------------------------------------------------------------------------------------
 * disorder */

static int count(void *ctx, const struct erofs_dirent *e)
{
	(void)e;
	(*(size_t *)ctx)++;
	return 0;
}

static size_t first_of_block(const struct directory *dir, const struct many *m, size_t blk)
{
	size_t first = 0;

	for (size_t b = 0; b < blk; b++) {
		size_t used = 0;

		while (first < m->cnt) {
			used += 12 + strlen(m->names[first].name);
			if (used > dir->t.block_len)
				break;
			first++;
		}
	}
	return first;
}

/*
 * Two names on both sides of a block's border are exchanged: each block is in order. A listing
 * finds it from the start and from the cookie at the border, and so does every look-up that meets
 * both blocks; none gives a wrong nid.
 */
static void disorder_between_blocks_is_found(void **state)
{
	struct directory dir;
	struct many m;
	unsigned found = 0;

	(void)state;
	many_make(&m, 300);
	open_directory(&dir, 9, m.names, m.cnt);
	close_directory(&dir);
	for (size_t blk = 1; blk < dir.blk_cnt; blk++) {
		size_t at = first_of_block(&dir, &m, blk);
		struct tiny_name kept = m.names[at];
		size_t cnt = 0;
		uint64_t nid;

		m.names[at] = m.names[at - 1];
		m.names[at - 1] = kept;
		open_directory(&dir, 9, m.names, m.cnt);
		assert_int_equal(erofs_list(dir.fs, &dir.root, 0, count, &cnt, &dir.d), -EUCLEAN);
		assert_non_null(strstr(dir.d.text, "not in order"));
		assert_int_equal(cnt, at - 2);
		assert_int_equal(erofs_list(dir.fs, &dir.root, blk * 512, count, &cnt, &dir.d),
		                 -EUCLEAN);
		for (size_t i = 2; i < m.cnt; i++) {
			int r = look_up(&dir, m.names[i].name, &nid);

			assert_true(r == 0 || r == -EUCLEAN ||
			            (r == -ENOENT && (i == at || i == at - 1)));
			if (r == 0)
				assert_int_equal(nid, m.names[i].nid);
			found += r == -EUCLEAN;
		}
		close_directory(&dir);
		kept = m.names[at];
		m.names[at] = m.names[at - 1];
		m.names[at - 1] = kept;
	}
	assert_true(found > 100);
	many_free(&m);
}

/* A block far away that does not fit into the search's bounds. */
static void a_block_out_of_bounds_stops_the_search(void **state)
{
	struct directory dir;
	struct many m;
	uint64_t nid;
	size_t at;

	(void)state;
	many_make(&m, 300);
	open_directory(&dir, 9, m.names, m.cnt);
	at = first_of_block(&dir, &m, dir.blk_cnt * 3 / 4);
	assert_true(dir.blk_cnt > 8);
	close_directory(&dir);
	for (size_t i = 0; i < 26; i++)
		m.text[at - 2 + i][0] = 'a';
	open_directory(&dir, 9, m.names, m.cnt);
	assert_int_equal(look_up(&dir, "f000299", &nid), -EUCLEAN);
	assert_non_null(strstr(dir.d.text, "out of order with those of other blocks"));
	close_directory(&dir);
	many_free(&m);
}

static void missing_dots_are_found_wherever_they_belong(void **state)
{
	static const struct tiny_name low[] = { { "!", 64, 1 }, { "#", 64, 1 } };
	static const struct tiny_name high[] = { { "a", 64, 1 }, { "b", 64, 1 } };
	static const struct tiny_name one[] = { { "!", 64, 1 }, { ".", 48, 2 }, { "a", 64, 1 } };
	static const struct tiny_name other[] = { { "!", 64, 1 }, { "..", 48, 2 }, { "a", 64, 1 } };
	static const struct {
		const struct tiny_name *names;
		size_t cnt;
	} cases[] = { { low, 2 }, { high, 2 }, { one, 3 }, { other, 3 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct directory dir;
		uint64_t nid;
		size_t cnt;

		open_directory(&dir, 9, cases[i].names, cases[i].cnt);
		assert_int_equal(erofs_list(dir.fs, &dir.root, 0, count, &cnt, &dir.d), -EUCLEAN);
		assert_non_null(strstr(dir.d.text, "there is no entry \"."));
		assert_int_equal(look_up(&dir, "x", &nid), -EUCLEAN);
		close_directory(&dir);
	}
}

/* 20 names of 11 bytes per block of 512: the border lies where "." and ".." should be. */
static void dots_missing_at_a_border_are_found(void **state)
{
	struct many m;
	struct directory dir;
	size_t cnt = 0;

	(void)state;
	many_make(&m, 60);
	open_directory(&dir, 9, m.names, m.cnt);
	cnt = first_of_block(&dir, &m, 1);
	close_directory(&dir);
	m.names += 2;
	m.cnt -= 2;
	cnt = first_of_block(&dir, &m, 1);
	for (size_t i = 0; i < cnt; i++)
		m.text[i][0] = '!';
	open_directory(&dir, 9, m.names, m.cnt);
	cnt = 0;
	assert_int_equal(erofs_list(dir.fs, &dir.root, 0, count, &cnt, &dir.d), -EUCLEAN);
	assert_string_equal(dir.d.text, "EROFS directory 48, block 1: there is no entry \"..\"");
	assert_int_equal(cnt, first_of_block(&dir, &m, 1));
	close_directory(&dir);
	m.names -= 2;
	many_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_thousand_names_are_found_in_ten_reads),
		cmocka_unit_test(absent_names_are_absent),
		cmocka_unit_test(order_is_that_of_unsigned_bytes),
		cmocka_unit_test(names_have_1_to_255_bytes),
		cmocka_unit_test(no_entry_is_called_so),
		cmocka_unit_test(a_list_in_pieces_is_the_whole_list),
		cmocka_unit_test(a_cookie_never_given_is_refused),
		cmocka_unit_test(a_list_gives_types_and_the_callers_error),
		cmocka_unit_test(disorder_between_blocks_is_found),
		cmocka_unit_test(a_block_out_of_bounds_stops_the_search),
		cmocka_unit_test(missing_dots_are_found_wherever_they_belong),
		cmocka_unit_test(dots_missing_at_a_border_are_found),
	};

	return cmocka_run_group_tests_name("erofs_dir", tests, NULL, NULL);
}
