/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images by mkfs.erofs, in every shape it offers for uncompressed files, are read to the tree they
 * were made of: types, modes, owners, sizes, links, devices, bytes, targets and attributes. Exit
 * status 77 without mkfs.erofs.
 */
#include "support.h"

#include "erofs.h"
#include "test_vblk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static char *dir; /* holds "tree" and "image" */

static char *path_of(const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static void put_file(const char *name, size_t len)
{
	scoped_free char *path = path_of(name);
	scoped_free uint8_t *bytes = malloc(len + 1);
	scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

	assert_non_null(bytes);
	support_fill(bytes, len, len + strlen(name));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
}

static void put_directory(const char *name)
{
	scoped_free char *path = path_of(name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static void put_attribute(const char *name, const char *attribute, const char *value)
{
	scoped_free char *path = path_of(name);

	/* a file system without attributes makes a smaller test, not a failed one */
	if (lsetxattr(path, attribute, value, strlen(value), 0) < 0)
		assert_true(errno == ENOTSUP || errno == EPERM);
}

static void put_special_files(void)
{
	scoped_free char *symbolic = path_of("tree/link"), *fifo = path_of("tree/fifo");
	scoped_free char *from = path_of("tree/f4097"), *to = path_of("tree/hard");
	scoped_free char *node = path_of("tree/dev");

	assert_int_equal(symlink("d/x/../\xC3\xA4", symbolic), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(link(from, to), 0);
	if (mknod(node, S_IFBLK | 0660, makedev(259, 65537)) < 0)
		assert_true(errno == EPERM);
}

static void put_tree(void)
{
	static const size_t sizes[] = { 0, 1, 100, 4000, 4095, 4096, 4097, 8192, 100000 };
	char name[64];

	put_directory("tree");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		snprintf(name, sizeof(name), "tree/f%zu", sizes[i]);
		put_file(name, sizes[i]);
	}
	put_directory("tree/many");
	for (unsigned i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "tree/many/entry number %u", i * 7919 % 100000);
		put_file(name, i % 3);
	}
	put_directory("tree/deep");
	put_directory("tree/deep/!");
	put_directory("tree/deep/!/-");
	put_file("tree/deep/!/-/+", 5000);
	put_special_files();
	put_attribute("tree/f1", "user.one", "1");
	put_attribute("tree/f100", "user.one", "1");
	put_attribute("tree/f4000", "user.one", "1");
	put_attribute("tree/f4096", "user.one", "1");
	put_attribute("tree/deep", "user.own", "a value of its own");
	put_attribute("tree/deep", "trusted.t", "trusted");
	put_attribute("tree", "user.root", "r");
}

static int setup(void **state)
{
	(void)state;
	dir = support_make_dir();
	put_tree();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	support_remove_dir(dir);
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * one image against the tree */

struct compared {
	const struct erofs *fs;
	size_t cnt;
};

static void compare_stat(const struct erofs_inode *ino, const struct stat *st)
{
	assert_int_equal(ino->mode, st->st_mode);
	assert_int_equal(ino->uid, st->st_uid);
	assert_int_equal(ino->gid, st->st_gid);
	assert_int_equal(ino->mtime_s, 0); /* -T0 */
	if (!S_ISDIR(st->st_mode)) {
		assert_int_equal(ino->nlink, st->st_nlink);
		assert_int_equal(ino->size, st->st_size);
	}
	if (S_ISBLK(st->st_mode)) {
		assert_int_equal(ino->rdev_major, major(st->st_rdev));
		assert_int_equal(ino->rdev_minor, minor(st->st_rdev));
	}
}

static void compare_bytes(const struct compared *c, const struct erofs_inode *ino, const char *path)
{
	scoped_free uint8_t *want = malloc(ino->size + 1), *got = malloc(ino->size + 1);
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct diag d = DIAG_INIT;

	assert_true(want && got && fd >= 0);
	assert_int_equal(read(fd, want, ino->size + 1), ino->size);
	assert_int_equal(erofs_read(c->fs, ino, 0, got, ino->size + 1, &d), ino->size);
	assert_memory_equal(got, want, ino->size);
	for (uint64_t off = 0; off < ino->size; off += 997) {
		size_t len = MIN(1500, ino->size - off);

		assert_int_equal(erofs_read(c->fs, ino, off, got, 1500, &d), len);
		assert_memory_equal(got, want + off, len);
	}
}

static void compare_target(const struct compared *c, const struct erofs_inode *ino,
                           const char *path)
{
	char want[EROFS_MAX_SYMLINK_LEN + 1] = "", got[EROFS_MAX_SYMLINK_LEN + 1];
	struct diag d = DIAG_INIT;

	assert_true(readlink(path, want, sizeof(want) - 1) > 0);
	assert_int_equal(erofs_readlink(c->fs, ino, got, sizeof(got), &d), strlen(want));
	assert_string_equal(got, want);
}

static void compare_attributes(const struct compared *c, const struct erofs_inode *ino,
                               const char *path)
{
	char names[1024], value[1024], got[1024];
	ssize_t len = llistxattr(path, names, sizeof(names));
	struct diag d = DIAG_INIT;

	assert_true(len >= 0);
	assert_int_equal(erofs_listxattr(c->fs, ino, NULL, 0, &d), len);
	for (const char *n = names; n < names + len; n += strlen(n) + 1) {
		ssize_t value_len = lgetxattr(path, n, value, sizeof(value));

		assert_true(value_len >= 0);
		assert_int_equal(erofs_getxattr(c->fs, ino, n, got, sizeof(got), &d), value_len);
		assert_memory_equal(got, value, (size_t)value_len);
	}
}

static int compare_entry(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct compared *c = ctx;
	scoped_free char *path = NULL;
	struct stat st;

	(void)d;
	assert_true(asprintf(&path, "%s/tree/%s", dir, e->path) > 0);
	if (e->path_len == 0)
		path[strlen(path) - 1] = '\0';
	assert_int_equal(lstat(path, &st), 0);
	compare_stat(e->inode, &st);
	if (S_ISREG(st.st_mode))
		compare_bytes(c, e->inode, path);
	if (S_ISLNK(st.st_mode))
		compare_target(c, e->inode, path);
	compare_attributes(c, e->inode, path);
	c->cnt++;
	return 0;
}

static void make_image(const char *options, const char *image, const char *tree)
{
	scoped_free char *command = NULL;

	assert_true(asprintf(&command, "mkfs.erofs --quiet -T0 %s '%s' '%s'", options, image,
	                     tree) > 0);
	assert_int_equal(system(command), 0);
}

static void image_is_the_tree(void **state)
{
	static const struct erofs_visitor visitor = { .visit = compare_entry };
	scoped_free char *image = path_of("image"), *tree = path_of("tree");
	scoped(blk) struct blk *b = NULL;
	scoped(erofs) struct erofs *fs = NULL;
	struct diag d = DIAG_INIT;
	struct erofs_inode root;
	struct compared c;

	unlink(image);
	make_image(*state, image, tree);
	assert_int_equal(blk_open(image, &b, &d), 0);
	scoped(vblk) struct vblk *v = test_vblk_of_blk(b);

	if (erofs_open(v, &fs, &d) || erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &root, &d))
		fail_msg("%s", d.text);
	c = (struct compared){ .fs = fs };
	if (erofs_walk(fs, &root, &visitor, &c, &d))
		fail_msg("%s", d.text);
	assert_in_range(c.cnt, 718, 719); /* with or without the device */
}

static bool has_mkfs(void)
{
	return system("command -v mkfs.erofs >/dev/null") == 0;
}

int main(void)
{
	static const char *const options[] = {
		"-x2", /* the default */
		"-x1",
		"-Enoinline_data",
		"-Eforce-inode-extended",
		"--chunksize=4096",
		"--chunksize=16384",
		"--chunksize=4096 -Eforce-chunk-indexes",
	};
	struct CMUnitTest tests[ARRAY_LEN(options)];

	if (!has_mkfs()) {
		printf("mkfs.erofs is missing\n");
		return 77;
	}
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		tests[i] = (struct CMUnitTest){ .name = options[i],
			                        .test_func = image_is_the_tree,
			                        .initial_state = (void *)(uintptr_t)options[i] };
	return cmocka_run_group_tests_name("erofs_reader", tests, setup, teardown);
}
