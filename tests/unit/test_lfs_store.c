/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of a directory of their own, and snapshots beside blobs: lfs_store.h, hub_cache.h. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "hub_cache.h"
#include "lfs_store.h"
#include "text.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static const uint8_t oid[32] = { 0xab, 0xcd, 1, 2, 3 };

static char *path_of(const char *dir, const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static void make_dir(const char *dir, const char *name)
{
	scoped_free char *path = path_of(dir, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	scoped_free char *path = path_of(dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* ab/cd/OID */
static void keep_object(const char *dir, const char *text)
{
	char hex[65], name[80];

	hex_encode(oid, sizeof(oid), hex);
	make_dir(dir, "ab");
	make_dir(dir, "ab/cd");
	snprintf(name, sizeof(name), "ab/cd/%s", hex);
	write_file(dir, name, text);
}

static struct lfs_store *new_store(const char *objects, const char *files)
{
	struct lfs_store *s = NULL;

	assert_int_equal(lfs_store_new(&s), 0);
	if (objects)
		assert_int_equal(lfs_store_add_objects(s, objects, NULL), 0);
	if (files) {
		scoped_fd int fd = open(files, O_PATH | O_DIRECTORY | O_CLOEXEC);

		assert_int_equal(lfs_store_set_files(s, fd, NULL), 0);
	}
	return s;
}

static void assert_gives(const struct lfs_store *s, const char *text)
{
	scoped_fd int fd = -1;
	struct diag d = DIAG_INIT;
	char buf[16] = "";

	if (lfs_store_open(s, oid, strlen(text), "x", &fd, &d) < 0)
		fail_msg("%s", d.text);
	assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(text));
	assert_string_equal(buf, text);
}

static void objects_come_before_files(void **state)
{
	char *objects = support_make_dir(), *files = support_make_dir();
	(void)state;

	keep_object(objects, "object");
	write_file(files, "a", "file!!");
	{
		scoped(lfs_store) struct lfs_store *s = new_store(objects, files);

		assert_false(lfs_store_has(s, oid));
		assert_int_equal(lfs_store_find(s, oid, 6, "a", NULL), 1);
		assert_true(lfs_store_has(s, oid));
		assert_gives(s, "object");
	}
	scoped(lfs_store) struct lfs_store *s = new_store(NULL, files);
	assert_int_equal(lfs_store_find(s, oid, 6, "a", NULL), 1);
	assert_gives(s, "file!!");
	support_remove_dir(objects);
	support_remove_dir(files);
}

static void only_plain_files_of_the_right_size_are_found(void **state)
{
	char *objects = support_make_dir(), *files = support_make_dir();
	(void)state;

	keep_object(objects, "long object");
	write_file(files, "long", "longer");
	write_file(files, "good", "four");
	make_dir(files, "dir");
	scoped_free char *link = path_of(files, "link"), *fifo = path_of(files, "fifo");
	scoped_free char *way = path_of(files, "way");
	assert_int_equal(symlink("good", link), 0);
	assert_int_equal(symlink(".", way), 0);
	assert_int_equal(mkfifo(fifo, 0644), 0);
	scoped(lfs_store) struct lfs_store *s = new_store(objects, files);
	static const char *const none[] = { "long", "dir", "link", "way/good", "fifo", "none" };
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		assert_int_equal(lfs_store_find(s, oid, 4, none[i], NULL), 0);
	assert_int_equal(lfs_store_find(s, oid, 4, NULL, NULL), 0);
	assert_int_equal(lfs_store_find(s, oid, 4, "good", NULL), 1);
	support_remove_dir(objects);
	support_remove_dir(files);
}

static void what_is_gone_or_changed_is_told(void **state)
{
	char *files = support_make_dir();
	scoped_free char *path = path_of(files, "a");
	struct diag d = DIAG_INIT;
	int fd = -1;
	(void)state;

	write_file(files, "a", "four");
	scoped(lfs_store) struct lfs_store *s = new_store("/nowhere/at/all", files);
	assert_int_equal(lfs_store_open(s, oid, 4, "x", &fd, &d), -ESTALE);
	assert_int_equal(lfs_store_find(s, oid, 4, "a", NULL), 1);
	assert_int_equal(truncate(path, 5), 0);
	assert_int_equal(lfs_store_open(s, oid, 4, "\"some/file\"", &fd, &d), -ESTALE);
	assert_non_null(strstr(d.text, "\"some/file\""));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(lfs_store_open(s, oid, 4, "x", &fd, &d), -ESTALE);
	assert_int_equal(fd, -1);
	support_remove_dir(files);
}

static void many_objects_are_told_apart(void **state)
{
	char *files = support_make_dir();
	(void)state;

	write_file(files, "a", "four");
	scoped(lfs_store) struct lfs_store *s = new_store(NULL, files);
	for (unsigned i = 0; i < 1000; i++) {
		uint8_t id[32] = { (uint8_t)i, (uint8_t)(i >> 8) };

		assert_false(lfs_store_has(s, id));
		assert_int_equal(lfs_store_find(s, id, 4, "a", NULL), 1);
		assert_true(lfs_store_has(s, id));
	}
	support_remove_dir(files);
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	char *files = support_make_dir();
	scoped_fd int dir = open(files, O_PATH | O_DIRECTORY | O_CLOEXEC);
	(void)state;

	write_file(files, "a", "four");
	for (unsigned long k = 1;; k++) {
		scoped(lfs_store) struct lfs_store *s = NULL;

		support_fail_allocation(k);
		int r = lfs_store_new(&s);
		if (r == 0)
			r = lfs_store_set_files(s, dir, NULL);
		if (r == 0)
			r = lfs_store_find(s, oid, 4, "a", NULL);
		support_fail_allocation(0);
		if (r == 1)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(k < 20);
	}
	support_remove_dir(files);
}

/* ---- snapshots ---- */

/* REPO with blobs, and a snapshot in it. */
static char *make_repo(const char *snapshot)
{
	char *repo = support_make_dir();
	char name[100];

	make_dir(repo, "blobs");
	make_dir(repo, "snapshots");
	snprintf(name, sizeof(name), "snapshots/%s", snapshot);
	make_dir(repo, name);
	return repo;
}

static void snapshots_are_known_by_their_place(void **state)
{
	char *repo = make_repo(COMMIT), *other = make_repo("main");
	scoped_free char *path = path_of(repo, "snapshots/" COMMIT);
	scoped_free char *by_name = path_of(other, "snapshots/main"),
	                 *blobs = path_of(other, "blobs");
	(void)state;

	{
		scoped(hub_cache) struct hub_cache a = HUB_CACHE_INIT, b = HUB_CACHE_INIT;

		assert_int_equal(hub_cache_open(path, &a), 1);
		assert_string_equal(a.commit, COMMIT);
		assert_int_equal(hub_cache_open(by_name, &b), 1);
		assert_null(b.commit);
	}
	struct hub_cache none = HUB_CACHE_INIT;
	assert_int_equal(hub_cache_open(repo, &none), 0);
	assert_int_equal(hub_cache_open("/", &none), 0);
	assert_int_equal(hub_cache_open("/nowhere/snapshots/x", &none), 0);
	assert_int_equal(rmdir(blobs), 0);
	assert_int_equal(hub_cache_open(by_name, &none), 0);
	assert_int_equal(symlink("/", blobs), 0);
	assert_int_equal(hub_cache_open(by_name, &none), 0);
	support_remove_dir(repo);
	support_remove_dir(other);
}

static void links_lead_to_blobs_or_nowhere(void **state)
{
	static const char *const elsewhere[] = { "../../blobs",
		                                 "../../blobs/",
		                                 "../../blobs/..",
		                                 "../../blobs/.",
		                                 "../../blob/x",
		                                 "x",
		                                 "/x",
		                                 "",
		                                 "../../snapshots/x",
		                                 "../../blobs/../x",
		                                 "/etc/passwd" };
	char *repo = make_repo(COMMIT);
	scoped_free char *path = path_of(repo, "snapshots/" COMMIT),
	                 *absolute = path_of(repo, "blobs/y");
	scoped(hub_cache) struct hub_cache c = HUB_CACHE_INIT;
	(void)state;

	assert_int_equal(hub_cache_open(path, &c), 1);
	scoped_fd int at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_string_equal(hub_cache_blob(&c, at, "../../blobs/x"), "x");
	assert_string_equal(hub_cache_blob(&c, at, "../../blobs/./x"), "x");
	assert_string_equal(hub_cache_blob(&c, at, absolute), "y");
	for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
		if (hub_cache_blob(&c, at, elsewhere[i]))
			fail_msg("%s was taken for a blob", elsewhere[i]);
	support_remove_dir(repo);
}

static void only_sha256_names_are_lfs_objects(void **state)
{
	char hex[65];
	uint8_t id[32];
	(void)state;

	hex_encode(oid, sizeof(oid), hex);
	assert_true(hub_cache_is_object(hex, id));
	assert_memory_equal(id, oid, sizeof(id));
	assert_false(hub_cache_is_object(COMMIT, id));
	hex[5] = 'g';
	assert_false(hub_cache_is_object(hex, id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_come_before_files),
		cmocka_unit_test(only_plain_files_of_the_right_size_are_found),
		cmocka_unit_test(what_is_gone_or_changed_is_told),
		cmocka_unit_test(many_objects_are_told_apart),
		cmocka_unit_test(failed_allocation_is_an_error_and_no_leak),
		cmocka_unit_test(snapshots_are_known_by_their_place),
		cmocka_unit_test(links_lead_to_blobs_or_nowhere),
		cmocka_unit_test(only_sha256_names_are_lfs_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
