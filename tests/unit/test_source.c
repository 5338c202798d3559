/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "source.h"

/* A source directory that is being made: paths are relative to it. */
struct place {
	char *path;
	int fd;
};

static struct place new_place(void)
{
	struct place p = { .path = support_make_dir() };

	p.fd = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p.fd >= 0);
	assert_int_equal(fchmod(p.fd, 0755), 0);
	return p;
}

static void drop_place(struct place *p)
{
	close(p->fd);
	support_remove_dir(p->path);
}

static void put(const struct place *p, const char *path, const void *bytes, size_t len)
{
	int fd = openat(p->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void put_text(const struct place *p, const char *path, const char *text)
{
	put(p, path, text, strlen(text));
}

static void make_dir(const struct place *p, const char *path)
{
	assert_int_equal(mkdirat(p->fd, path, 0755), 0);
}

static struct source *open_with(const struct place *p, const struct source_options *opt)
{
	struct source *s = NULL;
	struct diag d = DIAG_INIT;

	if (source_open(p->path, NULL, opt, &s, &d) < 0)
		fail_msg("%s", d.text);
	assert_int_equal(tree_finish(source_tree(s), &d), 0);
	return s;
}

static struct source *open_place(const struct place *p)
{
	static const struct source_options opt = { 0 };

	return open_with(p, &opt);
}

static struct tree_node *find(struct source *s, const char *path)
{
	struct tree_node *n = source_tree(s)->root;

	while (n && *path) {
		size_t len = strcspn(path, "/");

		n = tree_child(n, path, len);
		path += len + (path[len] == '/');
	}
	return n;
}

static struct tree_node *need(struct source *s, const char *path)
{
	struct tree_node *n = find(s, path);

	if (!n)
		fail_msg("%s is not in the tree", path);
	return n;
}

static int read_all(struct source *s, const struct tree_node *n, void *buf, struct diag *d)
{
	struct source_file *f = NULL;
	int r = source_file_open(s, n, &f, d);

	if (r < 0)
		return r;
	while (n->link)
		n = n->link;
	r = source_file_read(f, 0, buf, n->size, d);
	int closed = source_file_close(f, r < 0 ? NULL : d);
	return r < 0 ? r : closed;
}

static void assert_content(struct source *s, const char *path, const void *bytes, size_t len)
{
	const struct tree_node *n = need(s, path);
	scoped_free uint8_t *buf = malloc(len + 1);
	struct diag d = DIAG_INIT;

	assert_non_null(buf);
	assert_int_equal(n->link ? n->link->size : n->size, len);
	if (read_all(s, n, buf, &d) < 0)
		fail_msg("%s", d.text);
	assert_memory_equal(buf, bytes, len);
}

static void tree_has_what_the_directory_has(void **state)
{
	struct place p = new_place();
	struct timespec when[2] = { { 1700000000, 5 }, { 1700000000, 123456789 } };
	(void)state;

	make_dir(&p, "sub");
	make_dir(&p, "empty");
	put_text(&p, "config.json", "{}\n");
	put_text(&p, "sub/run.sh", "#!/bin/sh\n");
	put_text(&p, "nothing", "");
	put_text(&p, "\xff\xfe odd\n", "odd");
	assert_int_equal(fchmodat(p.fd, "sub/run.sh", 04755, 0), 0);
	assert_int_equal(symlinkat("/absolute/../target", p.fd, "link"), 0);
	assert_int_equal(mkfifoat(p.fd, "fifo", 0600), 0);
	assert_int_equal(utimensat(p.fd, "config.json", when, 0), 0);
	assert_int_equal(fchmodat(p.fd, "sub", 01777, 0), 0);
	assert_int_equal(fchmod(p.fd, 0750), 0);
	{
		scoped(source) struct source *s = open_place(&p);

		assert_int_equal(source_tree(s)->node_cnt, 9);
		assert_int_equal(source_tree(s)->root->mode, S_IFDIR | 0750);
		assert_int_equal(need(s, "sub")->mode, S_IFDIR | 01777);
		assert_int_equal(need(s, "sub/run.sh")->mode, S_IFREG | 04755);
		assert_int_equal(need(s, "empty")->child_cnt, 0);
		assert_string_equal(need(s, "link")->target, "/absolute/../target");
		assert_int_equal(need(s, "fifo")->mode, S_IFIFO | 0600);
		assert_int_equal(need(s, "config.json")->mtime_s, 1700000000);
		assert_int_equal(need(s, "config.json")->mtime_ns, 123456789);
		assert_int_equal(need(s, "config.json")->uid, 0);
		assert_int_equal(need(s, "nothing")->content, TREE_CONTENT_NONE);
		assert_content(s, "config.json", "{}\n", 3);
		assert_content(s, "nothing", "", 0);
		assert_content(s, "\xff\xfe odd\n", "odd", 3);
		assert_string_equal(source_kind(s), "directory");
		assert_string_equal(source_location(s), p.path);
		assert_null(source_commit(s));
	}
	drop_place(&p);
}

static void only_the_top_level_git_is_left_out(void **state)
{
	struct place p = new_place();
	(void)state;

	make_dir(&p, ".git");
	put_text(&p, ".git/HEAD", "ref");
	make_dir(&p, "sub");
	put_text(&p, "sub/.git", "gitdir: elsewhere");
	put_text(&p, ".gitattributes", "");
	{
		scoped(source) struct source *s = open_place(&p);

		assert_null(find(s, ".git"));
		need(s, "sub/.git");
		need(s, ".gitattributes");
	}
	drop_place(&p);
}

struct report {
	char text[256];
};

static void on_excluded(void *ctx, const char *path, const char *pattern)
{
	struct report *r = ctx;
	size_t len = strlen(r->text);

	snprintf(r->text + len, sizeof(r->text) - len, "%s by %s;", path, pattern);
}

static void excluded_paths_are_pruned_and_reported(void **state)
{
	struct place p = new_place();
	struct report report = { "" };
	scoped(exclude) struct exclude *x = NULL;
	struct source_options opt = { .on_excluded = on_excluded, .ctx = &report };
	(void)state;

	assert_int_equal(exclude_new(EXCLUDE_GITIGNORE, &x), 0);
	assert_int_equal(exclude_add(x, "original/", NULL), 0);
	opt.exclude = x;
	make_dir(&p, "sub");
	make_dir(&p, "sub/original");
	put_text(&p, "sub/original/big", "x");
	put_text(&p, "original", "a file");
	/* what is left out need not be readable */
	assert_int_equal(fchmodat(p.fd, "sub/original", 0, 0), 0);
	{
		scoped(source) struct source *s = open_with(&p, &opt);

		assert_null(find(s, "sub/original"));
		need(s, "original");
		assert_string_equal(report.text, "sub/original by original/;");
	}
	assert_int_equal(fchmodat(p.fd, "sub/original", 0755, 0), 0);
	drop_place(&p);
}

static void names_of_one_inode_are_links(void **state)
{
	struct place p = new_place();
	char name[16];
	(void)state;

	make_dir(&p, "z");
	put_text(&p, "z/file", "linked");
	assert_int_equal(linkat(p.fd, "z/file", p.fd, "a", 0), 0);
	assert_int_equal(linkat(p.fd, "z/file", p.fd, "z/b", 0), 0);
	/* enough other inodes with several names that the table grows */
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put_text(&p, name, name);
		char other[16];
		snprintf(other, sizeof(other), "g%d", i);
		assert_int_equal(linkat(p.fd, name, p.fd, other, 0), 0);
	}
	{
		scoped(source) struct source *s = open_place(&p);

		assert_null(need(s, "a")->link);
		assert_ptr_equal(need(s, "z/b")->link, need(s, "a"));
		assert_ptr_equal(need(s, "z/file")->link, need(s, "a"));
		assert_content(s, "z/file", "linked", 6);
		assert_content(s, "a", "linked", 6);
		assert_ptr_equal(need(s, "g299")->link, need(s, "f299"));
		assert_content(s, "g299", "f299", 4);
	}
	drop_place(&p);
}

#define DEEP     1300
#define DEEP_DIR "0123456789"

/* A path of 14 kB, more than the kernel takes at once. */
static void make_deep(const struct place *p)
{
	int fd = dup(p->fd);

	for (int i = 0; i < DEEP; i++) {
		assert_int_equal(mkdirat(fd, DEEP_DIR, 0755), 0);
		int next = openat(fd, DEEP_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	struct place bottom = { .fd = fd };
	put_text(&bottom, "treasure", "found");
	close(fd);
}

static void remove_deep(const struct place *p)
{
	char *command = NULL;

	/* nftw() of the test's own tidying gives up on such paths */
	assert_true(asprintf(&command, "rm -rf '%s/" DEEP_DIR "'", p->path) > 0);
	assert_int_equal(system(command), 0);
	free(command);
}

static void deep_directories_need_few_descriptors(void **state)
{
	struct place p = new_place();
	struct rlimit limit, few;
	(void)state;

	make_deep(&p);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	int next = dup(p.fd);
	close(next);
	few = limit;
	few.rlim_cur = (rlim_t)next + 6;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	{
		scoped(source) struct source *s = open_place(&p);
		struct tree *t = source_tree(s);

		assert_int_equal(t->node_cnt, DEEP + 2);
		const struct tree_node *n = t->node[DEEP + 1];
		char buf[5];
		assert_string_equal(n->name, "treasure");
		assert_int_equal(read_all(s, n, buf, NULL), 0);
		assert_memory_equal(buf, "found", 5);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	remove_deep(&p);
	drop_place(&p);
}

static void change_nothing(const struct place *p)
{
	(void)p;
}

static void change_size(const struct place *p)
{
	put_text(p, "dir/file", "longer than before");
}

static void change_bytes(const struct place *p)
{
	struct timespec later[2] = { { 2000000000, 0 }, { 2000000000, 0 } };

	put_text(p, "dir/file", "CONTENT");
	assert_int_equal(utimensat(p->fd, "dir/file", later, 0), 0);
}

static void change_file(const struct place *p)
{
	struct stat st;

	assert_int_equal(fstatat(p->fd, "dir/file", &st, 0), 0);
	struct timespec times[2] = { st.st_atim, st.st_mtim };
	put_text(p, "other", "content");
	assert_int_equal(utimensat(p->fd, "other", times, 0), 0);
	assert_int_equal(renameat(p->fd, "other", p->fd, "dir/file"), 0);
}

static void change_to_link(const struct place *p)
{
	assert_int_equal(renameat(p->fd, "dir/file", p->fd, "moved"), 0);
	assert_int_equal(symlinkat("../moved", p->fd, "dir/file"), 0);
}

static void change_to_fifo(const struct place *p)
{
	assert_int_equal(unlinkat(p->fd, "dir/file", 0), 0);
	assert_int_equal(mkfifoat(p->fd, "dir/file", 0600), 0);
}

static void change_parent_to_link(const struct place *p)
{
	assert_int_equal(renameat(p->fd, "dir", p->fd, "moved"), 0);
	assert_int_equal(symlinkat("moved", p->fd, "dir"), 0);
}

static void change_to_nothing(const struct place *p)
{
	assert_int_equal(unlinkat(p->fd, "dir/file", 0), 0);
}

static void file_changed_after_the_listing_is_refused(void **state)
{
	static const struct {
		void (*change)(const struct place *p);
		int want;
	} kind[] = {
		{ change_nothing, 0 },          { change_size, -ESTALE },
		{ change_bytes, -ESTALE },      { change_file, -ESTALE },
		{ change_to_link, -ESTALE },    { change_to_fifo, -ESTALE },
		{ change_to_nothing, -ESTALE }, { change_parent_to_link, -ESTALE },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		struct place p = new_place();
		struct diag d = DIAG_INIT;
		char buf[7];

		make_dir(&p, "dir");
		put_text(&p, "dir/file", "content");
		scoped(source) struct source *s = open_place(&p);
		kind[i].change(&p);
		assert_int_equal(read_all(s, need(s, "dir/file"), buf, &d), kind[i].want);
		if (kind[i].want < 0)
			assert_non_null(strstr(d.text, "\"dir/file\""));
		drop_place(&p);
	}
}

static void file_changed_while_it_is_read_is_refused(void **state)
{
	struct place p = new_place();
	struct source_file *f = NULL;
	struct diag d = DIAG_INIT;
	char buf[7];
	(void)state;

	make_dir(&p, "dir");
	put_text(&p, "dir/file", "content");
	{
		scoped(source) struct source *s = open_place(&p);

		assert_int_equal(source_file_open(s, need(s, "dir/file"), &f, &d), 0);
		assert_int_equal(source_file_read(f, 0, buf, sizeof(buf), &d), 0);
		change_bytes(&p);
		assert_int_equal(source_file_close(f, &d), -ESTALE);
		assert_non_null(strstr(d.text, "\"dir/file\""));

		scoped(source) struct source *again = open_place(&p);
		assert_int_equal(source_file_open(again, need(again, "dir/file"), &f, &d), 0);
		put_text(&p, "dir/file", "cut");
		assert_int_equal(source_file_read(f, 0, buf, sizeof(buf), &d), -ESTALE);
		assert_int_equal(source_file_close(f, NULL), -ESTALE);
	}
	drop_place(&p);
}

/* As a user whom nothing of root's is readable for; root itself reads everything. */
static int open_as_user(const struct place *p, struct diag *d)
{
	static const struct source_options opt = { 0 };
	struct source *s = NULL;
	bool is_root = geteuid() == 0;

	if (is_root)
		assert_int_equal(seteuid(65534), 0);
	int r = source_open(p->path, NULL, &opt, &s, d);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	source_close(s);
	return r;
}

static void unreadable_file_is_named_at_once(void **state)
{
	struct place p = new_place();
	struct diag d = DIAG_INIT;
	(void)state;

	make_dir(&p, "sub");
	put_text(&p, "sub/secret", "x");
	assert_int_equal(fchmodat(p.fd, "sub/secret", 0, 0), 0);
	assert_int_equal(open_as_user(&p, &d), -EACCES);
	assert_non_null(strstr(d.text, "\"sub/secret\""));
	assert_int_equal(fchmodat(p.fd, "sub/secret", 0644, 0), 0);
	assert_int_equal(open_as_user(&p, &d), 0);
	assert_int_equal(fchmodat(p.fd, "sub", 0, 0), 0);
	assert_int_equal(open_as_user(&p, &d), -EACCES);
	assert_non_null(strstr(d.text, "\"sub\""));
	assert_int_equal(fchmodat(p.fd, "sub", 0755, 0), 0);
	drop_place(&p);
}

static void owners_are_kept_when_asked_for(void **state)
{
	struct place p = new_place();
	struct source_options opt = { .keep_owners = true };
	struct stat st;
	(void)state;

	put_text(&p, "file", "x");
	if (geteuid() == 0)
		assert_int_equal(fchownat(p.fd, "file", 70000, 1234, 0), 0);
	assert_int_equal(fstatat(p.fd, "file", &st, 0), 0);
	{
		scoped(source) struct source *kept = open_with(&p, &opt);
		scoped(source) struct source *plain = open_place(&p);

		assert_int_equal(need(kept, "file")->uid, st.st_uid);
		assert_int_equal(need(kept, "file")->gid, st.st_gid);
		assert_int_equal(need(plain, "file")->uid, 0);
		assert_int_equal(need(plain, "file")->gid, 0);
	}
	drop_place(&p);
}

static void assert_xattr(const struct tree_node *n, const char *name, const char *value)
{
	for (uint32_t i = 0; i < n->xattr_cnt; i++)
		if (strcmp(n->xattr[i].name, name) == 0) {
			assert_int_equal(n->xattr[i].value_len, strlen(value));
			assert_memory_equal(n->xattr[i].value, value, strlen(value));
			return;
		}
	fail_msg("%s has no %s", n->name, name);
}

static void set_xattr(const struct place *p, const char *path, const char *name, const char *value)
{
	int fd = openat(p->fd, path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	if (fsetxattr(fd, name, value, strlen(value), 0) < 0) {
		print_message("no extended attributes here: %s\n", strerror(errno));
		skip();
	}
	close(fd);
}

static void attributes_are_kept_when_asked_for(void **state)
{
	struct place p = new_place();
	struct source_options opt = { .keep_xattrs = true };
	(void)state;

	make_dir(&p, "dir");
	put_text(&p, "dir/file", "x");
	assert_int_equal(symlinkat("file", p.fd, "dir/link"), 0);
	set_xattr(&p, "dir/file", "user.one", "1");
	set_xattr(&p, "dir/file", "user.empty", "");
	set_xattr(&p, "dir", "user.dir", "d");
	set_xattr(&p, ".", "user.root", "r");
	{
		scoped(source) struct source *kept = open_with(&p, &opt);
		scoped(source) struct source *plain = open_place(&p);

		assert_xattr(need(kept, "dir/file"), "user.one", "1");
		assert_xattr(need(kept, "dir/file"), "user.empty", "");
		assert_xattr(need(kept, "dir"), "user.dir", "d");
		assert_xattr(source_tree(kept)->root, "user.root", "r");
		assert_int_equal(need(kept, "dir/link")->xattr_cnt, 0);
		assert_int_equal(need(plain, "dir/file")->xattr_cnt, 0);
		assert_int_equal(source_tree(plain)->root->xattr_cnt, 0);
	}
	drop_place(&p);
}

/* Whatever the file system says of holes, what is skipped must read as zeros. */
static void only_zeros_are_skipped(void **state)
{
	struct place p = new_place();
	static char buf[3 * MIB + 5];
	(void)state;

	int fd = openat(p.fd, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(buf)), 0);
	assert_int_equal(pwrite(fd, "x", 1, MIB + 4097), 1);
	close(fd);
	put(&p, "dense", buf, sizeof(buf));
	for (int dense = 0; dense < 2; dense++) {
		scoped(source) struct source *s = open_place(&p);
		struct source_file *f = NULL;
		uint64_t off = 0;

		assert_int_equal(source_file_open(s, need(s, dense ? "dense" : "sparse"), &f, NULL),
		                 0);
		assert_int_equal(source_file_read(f, 0, buf, sizeof(buf), NULL), 0);
		while (off < sizeof(buf)) {
			uint64_t data = source_file_next_data(f, off);

			assert_true(data >= off && data <= sizeof(buf));
			for (uint64_t i = off; i < data; i++)
				assert_int_equal(buf[i], 0);
			off = data + 4096;
		}
		assert_int_equal(source_file_next_data(f, sizeof(buf)), sizeof(buf));
		assert_int_equal(source_file_close(f, NULL), 0);
	}
	drop_place(&p);
}

static void short_and_interrupted_reads_are_continued(void **state)
{
	struct place p = new_place();
	char bytes[100];
	(void)state;

	support_fill(bytes, sizeof(bytes), 7);
	put(&p, "file", bytes, sizeof(bytes));
	{
		scoped(source) struct source *s = open_place(&p);

		support_make_reads_halting(true);
		assert_content(s, "file", bytes, sizeof(bytes));
		support_make_reads_halting(false);
	}
	drop_place(&p);
}

static void reading_outside_a_file_is_the_callers_mistake(void **state)
{
	struct place p = new_place();
	struct source_file *f = NULL;
	char buf[8];
	(void)state;

	put_text(&p, "file", "1234");
	{
		scoped(source) struct source *s = open_place(&p);

		assert_int_equal(source_file_open(s, need(s, "file"), &f, NULL), 0);
		assert_int_equal(source_file_read(f, 1, buf, 4, NULL), -EINVAL);
		assert_int_equal(source_file_read(f, UINT64_MAX, buf, 2, NULL), -EINVAL);
		assert_int_equal(source_file_read(f, 4, buf, 0, NULL), 0);
		assert_int_equal(source_file_close(f, NULL), 0);
	}
	drop_place(&p);
}

static void mistaken_source_gets_one_clear_sentence(void **state)
{
	static const char *const id = "0123456789012345678901234567890123456789";
	const struct {
		const char *spec, *commit;
		int want;
		const char *says;
	} row[] = {
		{ "/nonexistent", NULL, -ENOENT, "source directory \"/nonexistent\"" },
		{ "/dev/null", NULL, -ENOTDIR, "\"/dev/null\"" },
		{ "/nonexistent", id, -EINVAL, "is not a git repository" },
		{ "/", id, -EINVAL, "is not a git repository" },
		{ "/", "main", -EINVAL, "give its full id" },
		{ "/", "0123456", -EINVAL, "give its full id" },
		{ "/", "", -EINVAL, "give its full id" },
		{ "ssh://host/x", NULL, -EINVAL, "http or https" },
		{ "git@host:x", id, -EINVAL, "http or https" },
		{ "http://host/x", NULL, -EINVAL, "give the full id of the commit" },
		{ "HTTPS://host/x", NULL, -EINVAL, "give the full id of the commit" },
		{ "file:relative", NULL, -EINVAL, "http or https" },
		{ "file://relative", NULL, -EINVAL, "absolute path" },
		{ "file:///a%0", NULL, -EINVAL, "absolute path" },
		{ "file:///a%00b", NULL, -EINVAL, "absolute path" },
		{ "file:///non%65xistent", NULL, -ENOENT, "\"/nonexistent\"" },
		{ "file://localhost/nonexistent", NULL, -ENOENT, "\"/nonexistent\"" },
	};
	static const struct source_options opt = { 0 };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct source *s = NULL;
		struct diag d = DIAG_INIT;

		int r = source_open(row[i].spec, row[i].commit, &opt, &s, &d);
		if (r != row[i].want || !strstr(d.text, row[i].says))
			fail_msg("%s: %d: %s", row[i].spec, r, d.text);
		assert_null(s);
	}
}

static void file_url_is_the_directory(void **state)
{
	struct place p = new_place();
	char url[512];
	static const struct source_options opt = { 0 };
	struct source *s = NULL;
	(void)state;

	put_text(&p, "file", "x");
	snprintf(url, sizeof(url), "file://%s", p.path);
	assert_int_equal(source_open(url, NULL, &opt, &s, NULL), 0);
	assert_string_equal(source_location(s), url);
	assert_string_equal(source_kind(s), "directory");
	source_close(s);
	drop_place(&p);
}

#define OID "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" /* of "foo" */
#define REV "0123456789abcdef0123456789abcdef01234567"

static void pointer_is_refused_or_kept_with_a_warning(void **state)
{
	static const char pointer[] =
	        "version https://git-lfs.github.com/spec/v1\noid sha256:" OID "\nsize 3\n";
	struct place p = new_place();
	struct source_options opt = { 0 };
	struct source *s = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	make_dir(&p, "dir");
	put_text(&p, "dir/weights", pointer);
	put_text(&p, "empty", "");
	assert_int_equal(source_open(p.path, NULL, &opt, &s, &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "\"dir/weights\""));
	opt.keep_pointers = true;
	s = open_with(&p, &opt);
	assert_content(s, "dir/weights", pointer, strlen(pointer));
	source_close(s);
	drop_place(&p);
}

/* REV in p, with two files: one that is kept in LFS and one that is not. */
static void put_snapshot(struct place *p, char **path)
{
	make_dir(p, "blobs");
	make_dir(p, "snapshots");
	make_dir(p, "snapshots/" REV);
	make_dir(p, "snapshots/" REV "/sub");
	put_text(p, "blobs/" OID, "foo");
	put_text(p, "blobs/1234", "small");
	assert_int_equal(fchmodat(p->fd, "blobs/1234", 0600, 0), 0);
	assert_int_equal(symlinkat("../../blobs/" OID, p->fd, "snapshots/" REV "/a"), 0);
	assert_int_equal(symlinkat("../../../blobs/1234", p->fd, "snapshots/" REV "/sub/b"), 0);
	assert_true(asprintf(path, "%s/snapshots/" REV, p->path) > 0);
}

static void snapshot_becomes_the_files_its_links_lead_to(void **state)
{
	struct place p = new_place();
	struct source_options opt = { .follow_blobs = true };
	scoped_free char *path = NULL;
	struct source *s = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	put_snapshot(&p, &path);
	if (source_open(path, NULL, &opt, &s, &d) < 0 || tree_finish(source_tree(s), &d) < 0)
		fail_msg("%s", d.text);
	assert_string_equal(source_kind(s), "huggingface");
	assert_string_equal(source_commit(s), REV);
	assert_int_equal(need(s, "a")->content, TREE_CONTENT_LFS);
	assert_true(source_has_object(s, need(s, "a")));
	assert_int_equal(need(s, "sub/b")->mode, S_IFREG | 0644);
	assert_content(s, "a", "foo", 3);
	assert_content(s, "sub/b", "small", 5);
	source_close(s);
	opt.follow_blobs = false;
	assert_int_equal(source_open(path, NULL, &opt, &s, &d), -EINVAL);
	assert_non_null(strstr(d.text, "--dereference"));
	opt.follow_blobs = true;
	assert_int_equal(source_open(p.path, NULL, &opt, &s, &d), -EINVAL);
	drop_place(&p);
}

static void failed_allocation_in_a_snapshot_is_told(void **state)
{
	struct place p = new_place();
	struct source_options opt = { .follow_blobs = true };
	scoped_free char *path = NULL;
	(void)state;

	put_snapshot(&p, &path);
	for (unsigned long k = 1;; k++) {
		struct source *s = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		int r = source_open(path, NULL, &opt, &s, &d);
		support_fail_allocation(0);
		source_close(s);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_string_not_equal(d.text, "");
	}
	drop_place(&p);
}

static void failed_allocation_is_told(void **state)
{
	struct place p = new_place();
	scoped(exclude) struct exclude *x = NULL;
	struct source_options opt = { .keep_xattrs = true };
	(void)state;

	make_dir(&p, "dir");
	put_text(&p, "dir/file", "x");
	assert_int_equal(linkat(p.fd, "dir/file", p.fd, "link", 0), 0);
	assert_int_equal(symlinkat("t", p.fd, "dir/s"), 0);
	assert_int_equal(exclude_new(EXCLUDE_GITIGNORE, &x), 0);
	opt.exclude = x;
	for (unsigned long k = 1;; k++) {
		struct source *s = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		int r = source_open(p.path, NULL, &opt, &s, &d);
		support_fail_allocation(0);
		source_close(s);
		if (r == 0)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_string_not_equal(d.text, "");
	}
	drop_place(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tree_has_what_the_directory_has),
		cmocka_unit_test(only_the_top_level_git_is_left_out),
		cmocka_unit_test(excluded_paths_are_pruned_and_reported),
		cmocka_unit_test(names_of_one_inode_are_links),
		cmocka_unit_test(deep_directories_need_few_descriptors),
		cmocka_unit_test(file_changed_after_the_listing_is_refused),
		cmocka_unit_test(file_changed_while_it_is_read_is_refused),
		cmocka_unit_test(unreadable_file_is_named_at_once),
		cmocka_unit_test(owners_are_kept_when_asked_for),
		cmocka_unit_test(attributes_are_kept_when_asked_for),
		cmocka_unit_test(only_zeros_are_skipped),
		cmocka_unit_test(short_and_interrupted_reads_are_continued),
		cmocka_unit_test(reading_outside_a_file_is_the_callers_mistake),
		cmocka_unit_test(mistaken_source_gets_one_clear_sentence),
		cmocka_unit_test(file_url_is_the_directory),
		cmocka_unit_test(pointer_is_refused_or_kept_with_a_warning),
		cmocka_unit_test(snapshot_becomes_the_files_its_links_lead_to),
		cmocka_unit_test(failed_allocation_in_a_snapshot_is_told),
		cmocka_unit_test(failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
