/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repositories are written with libgit2, object by object, so that trees may hold what git itself
 * would not make. Fetching needs git's http-backend and Python for tests/support/model_server.py;
 * oracles/checkout.py compares whole commits with git's checkout.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/odb_backend.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "git.h"
#include "hash.h"
#include "text.h"

/* libgit2 1.5 leaks PCRE2's memory when it reads a remote's configuration. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:libpcre2";
}

#define OID     "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define POINTER "version https://git-lfs.github.com/spec/v1\noid sha256:" OID "\nsize 12345\n"

struct repo {
	char *path;
	git_repository *git;
	git_odb *odb;
};

static struct repo new_repo(void)
{
	struct repo r = { .path = support_make_dir() };

	git_libgit2_init();
	assert_int_equal(git_repository_init(&r.git, r.path, 1), 0);
	assert_int_equal(git_repository_odb(&r.odb, r.git), 0);
	return r;
}

static void drop_repo(struct repo *r)
{
	git_odb_free(r->odb);
	git_repository_free(r->git);
	git_libgit2_shutdown();
	support_remove_dir(r->path);
}

static git_oid write_object(const struct repo *r, git_object_t type, const void *bytes, size_t len)
{
	git_oid id;

	assert_int_equal(git_odb_write(&id, r->odb, bytes, len, type), 0);
	return id;
}

static git_oid blob(const struct repo *r, const char *text)
{
	return write_object(r, GIT_OBJECT_BLOB, text, strlen(text));
}

/* A tree object's bytes. */
struct listing {
	char bytes[65536];
	size_t len;
};

static void list_raw(struct listing *l, const char *mode, const char *name, size_t name_len,
                     const git_oid *id)
{
	l->len += (size_t)sprintf(l->bytes + l->len, "%s ", mode);
	memcpy(l->bytes + l->len, name, name_len);
	l->len += name_len;
	l->bytes[l->len++] = '\0';
	memcpy(l->bytes + l->len, id->id, sizeof(id->id));
	l->len += sizeof(id->id);
	assert_true(l->len < sizeof(l->bytes) - 1024);
}

static void list(struct listing *l, const char *mode, const char *name, git_oid id)
{
	list_raw(l, mode, name, strlen(name), &id);
}

static void list_file(const struct repo *r, struct listing *l, const char *name, const char *text)
{
	list(l, "100644", name, blob(r, text));
}

static git_oid tree_of(const struct repo *r, const struct listing *l)
{
	return write_object(r, GIT_OBJECT_TREE, l->bytes, l->len);
}

static const char *hex_of(git_oid id)
{
	static char hex[GIT_OID_HEXSZ + 1];

	return git_oid_tostr(hex, sizeof(hex), &id);
}

static git_oid commit_of(const struct repo *r, git_oid tree)
{
	char text[512];

	snprintf(text, sizeof(text),
	         "tree %s\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n", hex_of(tree));
	return write_object(r, GIT_OBJECT_COMMIT, text, strlen(text));
}

static git_oid commit_listing(const struct repo *r, const struct listing *l)
{
	return commit_of(r, tree_of(r, l));
}

static int try_open(const char *spec, const char *commit, const struct source_options *opt,
                    struct source **out, struct diag *d)
{
	static const struct source_options plain = { 0 };

	*out = NULL;
	int r = source_open(spec, commit, opt ? opt : &plain, out, d);
	assert_int_equal(r < 0, *out == NULL);
	if (r == 0)
		r = tree_finish(source_tree(*out), d);
	return r;
}

static struct source *open_commit(const struct repo *r, git_oid id,
                                  const struct source_options *opt)
{
	struct source *s = NULL;
	struct diag d = DIAG_INIT;

	if (try_open(r->path, hex_of(id), opt, &s, &d) < 0)
		fail_msg("%s", d.text);
	return s;
}

static struct source *open_listing(const struct repo *r, const struct listing *l)
{
	return open_commit(r, commit_listing(r, l), NULL);
}

/* The commit is refused; the sentence is returned. */
static const char *refusal(const struct repo *r, const struct listing *l, int want)
{
	static struct diag d;
	struct source *s = NULL;

	d = (struct diag)DIAG_INIT;
	assert_int_equal(try_open(r->path, hex_of(commit_listing(r, l)), NULL, &s, &d), want);
	source_close(s);
	return d.text;
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

static void assert_content(struct source *s, const char *path, const char *bytes, size_t len)
{
	struct source_file *f = NULL;
	scoped_free char *buf = malloc(len + 1);
	struct diag d = DIAG_INIT;
	const struct tree_node *n = need(s, path);

	assert_non_null(buf);
	assert_int_equal(n->size, len);
	if (source_file_open(s, n, &f, &d) < 0)
		fail_msg("%s", d.text);
	assert_int_equal(source_file_read(f, 0, buf, len, &d), 0);
	assert_memory_equal(buf, bytes, len);
	assert_int_equal(source_file_next_data(f, 0), 0);
	assert_int_equal(source_file_close(f, &d), 0);
}

static void assert_text(struct source *s, const char *path, const char *text)
{
	assert_content(s, path, text, strlen(text));
}

static void commit_becomes_a_tree(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	(void)state;

	list_file(&r, &sub, "run.sh", "#!/bin/sh\n");
	list(&top, "100755", "exec", blob(&r, "x"));
	list(&top, "120000", "link", blob(&r, "/absolute/../target"));
	list(&top, "160000", "module", blob(&r, "never looked at"));
	list_file(&r, &top, "plain", "text\n");
	list(&top, "40000", "sub", tree_of(&r, &sub));
	list_file(&r, &top, "void", "");
	list_file(&r, &top, "\xff\xfe\n", "odd");
	git_oid id = commit_listing(&r, &top);
	{
		scoped(source) struct source *s = open_commit(&r, id, NULL);

		assert_int_equal(source_tree(s)->node_cnt, 9);
		assert_int_equal(source_tree(s)->root->mode, S_IFDIR | 0755);
		assert_int_equal(need(s, "exec")->mode, S_IFREG | 0755);
		assert_int_equal(need(s, "plain")->mode, S_IFREG | 0644);
		assert_int_equal(need(s, "sub")->mode, S_IFDIR | 0755);
		assert_int_equal(need(s, "module")->mode, S_IFDIR | 0755);
		assert_int_equal(need(s, "module")->child_cnt, 0);
		assert_string_equal(need(s, "link")->target, "/absolute/../target");
		assert_int_equal(need(s, "plain")->mtime_s, 0);
		assert_int_equal(need(s, "void")->content, TREE_CONTENT_NONE);
		assert_text(s, "plain", "text\n");
		assert_text(s, "sub/run.sh", "#!/bin/sh\n");
		assert_text(s, "\xff\xfe\n", "odd");
		assert_string_equal(source_kind(s), "git");
		assert_string_equal(source_location(s), r.path);
		assert_string_equal(source_commit(s), hex_of(id));
	}
	drop_repo(&r);
}

static void modes_become_what_a_checkout_gives(void **state)
{
	static const struct {
		const char *mode;
		unsigned want;
	} row[] = {
		{ "100644", S_IFREG | 0644 }, { "100664", S_IFREG | 0644 },
		{ "100600", S_IFREG | 0644 }, { "100000", S_IFREG | 0644 },
		{ "100755", S_IFREG | 0755 }, { "100100", S_IFREG | 0755 },
		{ "100645", S_IFREG | 0644 }, { "104755", S_IFREG | 0755 },
		{ "120777", S_IFLNK | 0777 }, { "010644", S_IFDIR | 0755 },
		{ "644", S_IFDIR | 0755 },    { "160755", S_IFDIR | 0755 },
	};
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	char name[8];
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		list(&l, row[i].mode, name, blob(&r, "x"));
	}
	{
		scoped(source) struct source *s = open_listing(&r, &l);

		for (size_t i = 0; i < ARRAY_LEN(row); i++) {
			snprintf(name, sizeof(name), "f%zu", i);
			assert_int_equal(need(s, name)->mode, row[i].want);
		}
	}
	drop_repo(&r);
}

static void hostile_names_are_refused(void **state)
{
	static const char *const name[] = { "..",        ".",
		                            "a/b",       "/",
		                            ".git",      ".GIT",
		                            ".giT",      "git~1",
		                            "GIT~1",     ".git ",
		                            ".git.",     ".git . .",
		                            ".git:x",    ".git::$INDEX_ALLOCATION",
		                            ".git\\x",   "a\\.git",
		                            "a\\git~1 ", "\\.git" };
	struct repo r = new_repo();
	char long_name[257], quoted[TEXT_QUOTE_LEN];
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(name); i++) {
		struct listing sub = { .len = 0 }, top = { .len = 0 };

		list_file(&r, &sub, name[i], "x");
		list(&top, "40000", "sub", tree_of(&r, &sub));
		const char *text = refusal(&r, &top, -EUCLEAN);
		text_quote(name[i], strlen(name[i]), quoted, sizeof(quoted));
		/* alone or at the end of the path */
		if (!strstr(text, quoted + 1) || !strstr(text, "sub"))
			fail_msg("%s: %s", name[i], text);
	}
	memset(long_name, 'n', 256);
	long_name[256] = '\0';
	struct listing l = { .len = 0 };
	list_file(&r, &l, long_name, "x");
	refusal(&r, &l, -EUCLEAN);
	l.len = 0;
	list_file(&r, &l, "", "x");
	refusal(&r, &l, -EUCLEAN);
	drop_repo(&r);
}

static void names_that_only_look_hostile_are_taken(void **state)
{
	static const char *const name[] = { "...",   ".gi",    ".gitx", ".git_",
		                            "git~2", "git~10", " .git", ".gitignore",
		                            "a\\b",  "a..b",   "\\",    "\\a\\\\" };
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(name); i++)
		list_file(&r, &l, name[i], name[i]);
	{
		scoped(source) struct source *s = open_listing(&r, &l);

		for (size_t i = 0; i < ARRAY_LEN(name); i++)
			assert_text(s, name[i], name[i]);
	}
	drop_repo(&r);
}

static void two_entries_of_one_name_are_refused(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	(void)state;

	list_file(&r, &sub, "same", "1");
	list_file(&r, &sub, "other", "2");
	list_file(&r, &sub, "same", "3");
	list(&top, "40000", "sub", tree_of(&r, &sub));
	assert_non_null(strstr(refusal(&r, &top, -EUCLEAN), "\"sub/same\""));
	drop_repo(&r);
}

static void damaged_trees_are_refused(void **state)
{
	static const char *const bytes[] = { "100644", "100644 name", "100644 name\0short", "x y",
		                             "999999 name\0abcdefghijklmnopqrst" };
	static const size_t len[] = { 6, 11, 17, 3, 32 };
	struct repo r = new_repo();
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
		struct listing l = { .len = len[i] };

		memcpy(l.bytes, bytes[i], len[i]);
		assert_string_not_equal(refusal(&r, &l, -EUCLEAN), "");
	}
	drop_repo(&r);
}

static void directories_without_files_leave_no_trace(void **state)
{
	struct repo r = new_repo();
	struct listing nothing = { .len = 0 }, nest = { .len = 0 }, kept = { .len = 0 },
	               top = { .len = 0 };
	scoped(exclude) struct exclude *x = NULL;
	struct source_options opt = { 0 };
	(void)state;

	list(&nest, "40000", "empty", tree_of(&r, &nothing));
	list_file(&r, &kept, "file", "x");
	list(&top, "40000", "kept", tree_of(&r, &kept));
	list(&top, "40000", "nest", tree_of(&r, &nest));
	git_oid id = commit_listing(&r, &top);
	assert_int_equal(exclude_new(EXCLUDE_GITIGNORE, &x), 0);
	assert_int_equal(exclude_add(x, "file", NULL), 0);
	opt.exclude = x;
	{
		scoped(source) struct source *s = open_commit(&r, id, NULL);
		scoped(source) struct source *some = open_commit(&r, id, &opt);

		assert_null(find(s, "nest"));
		need(s, "kept/file");
		/* what was left out leaves its directory */
		assert_int_equal(need(some, "kept")->child_cnt, 0);
	}
	drop_repo(&r);
}

static void deep_trees_need_no_stack(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	(void)state;

	list_file(&r, &l, "file", "x");
	git_oid id = tree_of(&r, &l);
	for (int i = 0; i < 3000; i++) {
		l.len = 0;
		list(&l, "40000", "directory", id);
		id = tree_of(&r, &l);
	}
	{
		scoped(source) struct source *s = open_commit(&r, commit_of(&r, id), NULL);

		assert_int_equal(source_tree(s)->node_cnt, 3002);
	}
	drop_repo(&r);
}

static void attributes_of_the_commit_convert(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	git_oid keyword = blob(&r, "$Id$\n");
	char expanded[64];
	(void)state;

	list_file(&r, &sub, ".gitattributes", "plain.txt -text\n/id ident\n");
	list(&sub, "100644", "id", keyword);
	list_file(&r, &sub, "other.txt", "a\n");
	list_file(&r, &sub, "plain.txt", "a\n");
	list_file(
	        &r, &top, ".gitattributes",
	        "*.txt text eol=crlf\n*.u16 working-tree-encoding=UTF-16\nsub/** export-ignore\n");
	list_file(&r, &top, "a.txt", "one\ntwo\n");
	list_file(&r, &top, "b.u16", "b");
	list(&top, "40000", "sub", tree_of(&r, &sub));
	snprintf(expanded, sizeof(expanded), "$Id: %s $\n", hex_of(keyword));
	{
		scoped(source) struct source *s = open_listing(&r, &top);

		assert_text(s, "a.txt", "one\r\ntwo\r\n");
		assert_content(s, "b.u16",
		               "\xff\xfe"
		               "b\0",
		               4);
		assert_text(s, "sub/other.txt", "a\r\n");
		assert_text(s, "sub/plain.txt", "a\n");
		assert_text(s, "sub/id", expanded);
	}
	drop_repo(&r);
}

static void unsupported_encoding_names_the_file(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	(void)state;

	list_file(&r, &l, ".gitattributes", "*.txt working-tree-encoding=latin1\n");
	list_file(&r, &l, "a.txt", "x");
	assert_non_null(strstr(refusal(&r, &l, -EOPNOTSUPP), "\"a.txt\""));
	drop_repo(&r);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	free(path);
}

static void no_configuration_has_a_say(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	char *home = support_make_dir();
	(void)state;

	list(&l, "100755", "exec", blob(&r, "a\n"));
	list(&l, "120000", "link", blob(&r, "exec"));
	list_file(&r, &l, "text", "a\n");
	git_oid id = commit_listing(&r, &l);
	write_file(r.path, "config",
	           "\n[core]\n\tautocrlf = true\n\teol = crlf\n\tfilemode = false\n"
	           "\tsymlinks = false\n\tattributesFile = /dev/stdin\n");
	write_file(r.path, "info/attributes", "* text eol=crlf\n");
	write_file(home, ".gitconfig", "[core]\n\tautocrlf = true\n");
	assert_int_equal(setenv("HOME", home, 1), 0);
	{
		scoped(source) struct source *s = open_commit(&r, id, NULL);

		assert_text(s, "text", "a\n");
		assert_int_equal(need(s, "exec")->mode, S_IFREG | 0755);
		assert_int_equal(need(s, "link")->mode, S_IFLNK | 0777);
	}
	support_remove_dir(home);
	drop_repo(&r);
}

static void content_that_is_nowhere_is_refused(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	(void)state;

	list_file(&r, &sub, "b.bin", POINTER);
	list_file(&r, &top, "a.bin", POINTER);
	list(&top, "120000", "link", blob(&r, POINTER));
	list_file(&r, &top, "no.bin", POINTER "\nx");
	list(&top, "40000", "sub", tree_of(&r, &sub));
	const char *text = refusal(&r, &top, -ENOENT);
	assert_non_null(strstr(text, "one of 2 files"));
	assert_non_null(strstr(text, "\"a.bin\""));
	drop_repo(&r);
}

/* The pointer to this content, and its oid. */
static const char *pointer_to(const char *content, char oid[65])
{
	static char text[256];
	uint8_t digest[32];

	assert_int_equal(hash_sha256(content, strlen(content), digest), 0);
	hex_encode(digest, sizeof(digest), oid);
	snprintf(text, sizeof(text),
	         "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %zu\n", oid,
	         strlen(content));
	return text;
}

/* Puts content where git-lfs keeps the object oid. */
static void keep_object(const struct repo *r, const char *oid, const char *content)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/lfs", r->path);
	(void)mkdir(dir, 0755);
	snprintf(dir, sizeof(dir), "%s/lfs/objects", r->path);
	(void)mkdir(dir, 0755);
	snprintf(dir, sizeof(dir), "%s/lfs/objects/%.2s", r->path, oid);
	(void)mkdir(dir, 0755);
	snprintf(dir, sizeof(dir), "%s/lfs/objects/%.2s/%.2s", r->path, oid, oid + 2);
	(void)mkdir(dir, 0755);
	write_file(dir, oid, content);
}

static void objects_on_this_machine_are_found(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	char oid[65];
	(void)state;

	list_file(&r, &l, "a", pointer_to("content", oid));
	list_file(&r, &l, "b", pointer_to("content", oid));
	keep_object(&r, oid, "content");
	{
		scoped(source) struct source *s = open_listing(&r, &l);

		assert_null(source_lfs_url(s));
		assert_int_equal(need(s, "a")->content, TREE_CONTENT_LFS);
		assert_true(source_has_object(s, need(s, "a")));
		assert_text(s, "a", "content");
		assert_text(s, "b", "content");
	}
	drop_repo(&r);
}

static void object_that_goes_away_is_missed(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	struct source_file *f = NULL;
	struct diag d = DIAG_INIT;
	char oid[65], path[PATH_MAX];
	(void)state;

	list_file(&r, &l, "a", pointer_to("content", oid));
	keep_object(&r, oid, "content");
	{
		scoped(source) struct source *s = open_listing(&r, &l);

		snprintf(path, sizeof(path), "%s/lfs/objects/%.2s/%.2s/%s", r.path, oid, oid + 2,
		         oid);
		assert_int_equal(truncate(path, 3), 0);
		assert_int_equal(source_file_open(s, need(s, "a"), &f, &d), -ESTALE);
		assert_non_null(strstr(d.text, "\"a\""));
	}
	drop_repo(&r);
}

static void object_of_another_size_is_none(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	char oid[65];
	(void)state;

	list_file(&r, &l, "a", pointer_to("content", oid));
	keep_object(&r, oid, "contents");
	assert_non_null(strstr(refusal(&r, &l, -ENOENT), "\"a\""));
	drop_repo(&r);
}

static void keep_sentence(void *ctx, const char *sentence)
{
	snprintf(ctx, 256, "%s", sentence);
}

static void excluded_pointers_stay_as_text(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	scoped(exclude) struct exclude *x = NULL;
	struct source_options opt = { 0 };
	char warning[256] = "";
	(void)state;

	list_file(&r, &sub, "b.bin", POINTER);
	list_file(&r, &top, "a.bin", POINTER);
	list(&top, "40000", "sub", tree_of(&r, &sub));
	git_oid id = commit_listing(&r, &top);
	assert_int_equal(exclude_new(EXCLUDE_PRIVATEMODE, &x), 0);
	assert_int_equal(exclude_add(x, "*.bin", NULL), 0);
	opt.exclude = x;
	opt.keep_pointers = true;
	opt.warn = keep_sentence;
	opt.note_ctx = warning;
	{
		scoped(source) struct source *s = open_commit(&r, id, &opt);

		assert_null(find(s, "a.bin"));
		assert_text(s, "sub/b.bin", POINTER);
	}
	assert_non_null(strstr(warning, "one of 1 files"));
	assert_non_null(strstr(warning, "\"sub/b.bin\""));
	drop_repo(&r);
}

static void lfsconfig_may_not_lead_to_another_host(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	struct source_options opt = { .lfs_url = "http://127.0.0.1:1/lfs" };
	char note[256] = "", oid[65];
	struct source *s = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	list_file(&r, &l, ".lfsconfig",
	          "[lfs]\n\turl = https://evil.example/\n\tfetchexclude = *.bin\n");
	list_file(&r, &l, "a.bin", pointer_to("content", oid));
	git_oid id = commit_listing(&r, &l);
	/* this repository has no host */
	assert_int_equal(try_open(r.path, hex_of(id), NULL, &s, &d), -ENOENT);
	opt.note = keep_sentence;
	opt.note_ctx = note;
	assert_int_equal(try_open(r.path, hex_of(id), &opt, &s, &d), 0);
	assert_string_equal(source_lfs_url(s), opt.lfs_url);
	assert_false(source_has_object(s, need(s, "a.bin")));
	assert_non_null(strstr(note, "fetchexclude"));
	source_close(s);
	/* the reference would leave a pointer */
	opt.keep_pointers = true;
	assert_int_equal(try_open(r.path, hex_of(id), &opt, &s, &d), -EOPNOTSUPP);
	/* unless it was given patterns of its own */
	opt.has_patterns = true;
	assert_int_equal(try_open(r.path, hex_of(id), &opt, &s, &d), 0);
	source_close(s);
	drop_repo(&r);
}

static void commit_has_no_owners_to_keep(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	struct source_options opt = { .keep_owners = true };
	struct source *s = NULL;
	struct diag d = DIAG_INIT;
	(void)state;

	list_file(&r, &l, "a", "x");
	assert_int_equal(try_open(r.path, hex_of(commit_listing(&r, &l)), &opt, &s, &d), -EINVAL);
	drop_repo(&r);
}

/* Through git.h, since source_open() looks for their content. */
static void pointer_nodes_carry_id_and_size(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	scoped(tree) struct tree *t = NULL;
	scoped(git) struct git *g = NULL;
	static const struct source_options plain = { 0 };
	struct git_options opt = { .spec = r.path, .source = &plain };
	uint8_t oid[32];
	(void)state;

	list_file(&r, &l, ".gitattributes", "b working-tree-encoding=UTF-16\nc text eol=crlf\n");
	list_file(&r, &l, "a", POINTER);
	list_file(&r, &l, "b", POINTER); /* no pointer any more in UTF-16 */
	list_file(&r, &l, "c", POINTER); /* still one with CR */
	list_file(&r, &l, "d",
	          "version https://git-lfs.github.com/spec/v1\noid sha256:" OID "\nsize 0\n");
	assert_int_equal(tree_new(&t), 0);
	opt.commit = hex_of(commit_listing(&r, &l));
	assert_int_equal(git_open(&opt, t, &g, NULL), 0);
	const struct tree_node *a = tree_child(t->root, "a", 1);
	assert_int_equal(a->content, TREE_CONTENT_LFS);
	assert_int_equal(a->size, 12345);
	assert_int_equal(hex_decode(OID, oid, sizeof(oid)), 0);
	assert_memory_equal(a->oid, oid, sizeof(oid));
	assert_int_equal(tree_child(t->root, "b", 1)->content, TREE_CONTENT_BLOB);
	assert_int_equal(tree_child(t->root, "b", 1)->size, 2 * strlen(POINTER) + 2);
	assert_int_equal(tree_child(t->root, "c", 1)->content, TREE_CONTENT_LFS);
	assert_int_equal(tree_child(t->root, "d", 1)->content, TREE_CONTENT_NONE);
	assert_int_equal(tree_child(t->root, "d", 1)->size, 0);
	drop_repo(&r);
}

static void pointer_with_extensions_is_refused(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	(void)state;

	list_file(&r, &l, "a",
	          "version https://git-lfs.github.com/spec/v1\next-0-x sha256:" OID
	          "\noid sha256:" OID "\nsize 5\n");
	assert_non_null(strstr(refusal(&r, &l, -EOPNOTSUPP), "extensions"));
	drop_repo(&r);
}

static void only_a_full_commit_id_is_a_commit(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	git_oid file = blob(&r, "x"), missing = file;
	char tag[512], upper[GIT_OID_HEXSZ + 1];
	struct diag d = DIAG_INIT;
	struct source *s = NULL;
	(void)state;

	list(&l, "100644", "file", file);
	git_oid tree = tree_of(&r, &l), commit = commit_of(&r, tree);
	snprintf(tag, sizeof(tag), "object %s\ntype commit\ntag v1\ntagger a <a> 1 +0000\n\nx\n",
	         hex_of(commit));
	git_oid tag_id = write_object(&r, GIT_OBJECT_TAG, tag, strlen(tag));
	missing.id[0] ^= 1;

	assert_int_equal(try_open(r.path, hex_of(tag_id), NULL, &s, &d), -EINVAL);
	assert_non_null(strstr(d.text, hex_of(commit)));
	assert_int_equal(try_open(r.path, hex_of(tree), NULL, &s, &d), -EINVAL);
	assert_non_null(strstr(d.text, "is a tree"));
	assert_int_equal(try_open(r.path, hex_of(file), NULL, &s, &d), -EINVAL);
	assert_int_equal(try_open(r.path, hex_of(missing), NULL, &s, &d), -ENOENT);
	assert_int_equal(try_open(r.path, "HEAD", NULL, &s, &d), -EINVAL);
	assert_int_equal(try_open(r.path, "0123456789abcdef", NULL, &s, &d), -EINVAL);
	assert_int_equal(try_open(r.path, OID, NULL, &s, &d), -EOPNOTSUPP);
	assert_int_equal(try_open(r.path, NULL, NULL, &s, &d), -EINVAL);
	assert_non_null(strstr(d.text, "give the full id"));
	strcpy(upper, hex_of(commit));
	for (char *c = upper; *c; c++)
		*c = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
	assert_int_equal(try_open(r.path, upper, NULL, &s, &d), 0);
	assert_string_equal(source_commit(s), hex_of(commit));
	source_close(s);
	drop_repo(&r);
}

static void working_tree_and_file_url_are_the_repository(void **state)
{
	char *work = support_make_dir();
	struct repo r = { .path = work };
	struct listing l = { .len = 0 };
	char spec[3][512], id[GIT_OID_HEXSZ + 1];
	(void)state;

	git_libgit2_init();
	assert_int_equal(git_repository_init(&r.git, work, 0), 0);
	assert_int_equal(git_repository_odb(&r.odb, r.git), 0);
	list_file(&r, &l, "file", "committed");
	strcpy(id, hex_of(commit_listing(&r, &l)));
	write_file(work, "file", "changed since");
	snprintf(spec[0], sizeof(spec[0]), "%s", work);
	snprintf(spec[1], sizeof(spec[1]), "%s/.git", work);
	snprintf(spec[2], sizeof(spec[2]), "file://%s", work);
	for (size_t i = 0; i < ARRAY_LEN(spec); i++) {
		struct source *s = NULL;

		assert_int_equal(try_open(spec[i], id, NULL, &s, NULL), 0);
		assert_text(s, "file", "committed");
		source_close(s);
	}
	/* and without a commit it is the directory */
	struct source *s = NULL;
	assert_int_equal(try_open(work, NULL, NULL, &s, NULL), 0);
	assert_text(s, "file", "changed since");
	assert_null(find(s, ".git"));
	source_close(s);
	drop_repo(&r);
}

static void object_path(const struct repo *r, git_oid id, char *out, size_t len)
{
	const char *hex = hex_of(id);

	snprintf(out, len, "%s/objects/%.2s/%s", r->path, hex, hex + 2);
}

/* What lies under b's id are a's bytes. */
static void swap_object(const struct repo *r, git_oid a, git_oid b)
{
	char from[512], to[512];

	object_path(r, a, from, sizeof(from));
	object_path(r, b, to, sizeof(to));
	assert_int_equal(unlink(to), 0);
	assert_int_equal(link(from, to), 0);
}

static void object_that_is_not_its_id_is_refused(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 }, other = { .len = 0 };
	char large[2000];
	struct diag d = DIAG_INIT;
	struct source *s = NULL;
	struct source_file *f = NULL;
	(void)state;

	memset(large, 'x', sizeof(large));
	git_oid small = blob(&r, "small"), forged = blob(&r, "SMALL");
	git_oid big = write_object(&r, GIT_OBJECT_BLOB, large, sizeof(large));
	large[7] = 'y';
	git_oid big_forged = write_object(&r, GIT_OBJECT_BLOB, large, sizeof(large));
	list(&l, "100644", "big", big);
	list(&l, "100644", "small", small);
	git_oid tree = tree_of(&r, &l), commit = commit_of(&r, tree);
	list(&other, "100644", "small", small);
	git_oid tree_forged = tree_of(&r, &other);

	swap_object(&r, big_forged, big);
	assert_int_equal(try_open(r.path, hex_of(commit), NULL, &s, &d), 0);
	assert_int_equal(source_file_open(s, need(s, "big"), &f, &d), -EBADMSG);
	assert_non_null(strstr(d.text, "\"big\""));
	source_close(s);
	swap_object(&r, forged, small);
	assert_int_equal(try_open(r.path, hex_of(commit), NULL, &s, &d), -EBADMSG);
	assert_non_null(strstr(d.text, "\"small\""));
	swap_object(&r, tree_forged, tree);
	assert_int_equal(try_open(r.path, hex_of(commit), NULL, &s, &d), -EBADMSG);
	drop_repo(&r);
}

static void missing_objects_are_named(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	git_oid gone = blob(&r, "gone");
	char path[512];
	(void)state;

	list(&l, "100644", "dir-or-file", gone);
	object_path(&r, gone, path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	const char *text = refusal(&r, &l, -ENOENT);
	assert_non_null(strstr(text, "\"dir-or-file\""));
	assert_non_null(strstr(text, hex_of(gone)));
	l.len = 0;
	list(&l, "40000", "sub", gone);
	assert_non_null(strstr(refusal(&r, &l, -ENOENT), "\"sub\""));
	drop_repo(&r);
}

static void objects_of_the_wrong_type_are_refused(void **state)
{
	struct repo r = new_repo();
	struct listing nothing = { .len = 0 }, l = { .len = 0 };
	git_oid tree = tree_of(&r, &nothing);
	(void)state;

	list(&l, "100644", "file", tree);
	assert_non_null(strstr(refusal(&r, &l, -EUCLEAN), "\"file\""));
	l.len = 0;
	list(&l, "120000", "link", tree);
	assert_non_null(strstr(refusal(&r, &l, -EUCLEAN), "\"link\""));
	l.len = 0;
	list(&l, "40000", "dir", blob(&r, "x"));
	assert_int_not_equal(refusal(&r, &l, -ENOENT)[0], '\0');
	drop_repo(&r);
}

static void links_a_file_system_cannot_hold_are_refused(void **state)
{
	struct repo r = new_repo();
	char target[5000];
	(void)state;

	memset(target, 't', sizeof(target));
	for (size_t len = 4095; len <= 4096; len++) {
		struct listing l = { .len = 0 };

		list(&l, "120000", "link", write_object(&r, GIT_OBJECT_BLOB, target, len));
		if (len == 4095) {
			source_close(open_listing(&r, &l));
			continue;
		}
		assert_non_null(strstr(refusal(&r, &l, -EUCLEAN), "\"link\""));
	}
	struct listing l = { .len = 0 };
	list(&l, "120000", "link", blob(&r, ""));
	refusal(&r, &l, -EUCLEAN);
	l.len = 0;
	list(&l, "120000", "link", write_object(&r, GIT_OBJECT_BLOB, "a\0b", 3));
	refusal(&r, &l, -EUCLEAN);
	drop_repo(&r);
}

#define READERS 4
#define FILES   32

static void *read_many(void *ctx)
{
	struct source *s = ctx;
	char name[16], text[64];

	for (int k = 0; k < 4; k++)
		for (int i = 0; i < FILES; i++) {
			struct source_file *f = NULL;
			char buf[64] = "";

			snprintf(name, sizeof(name), "f%d", i);
			snprintf(text, sizeof(text), "content %d\r\n", i);
			const struct tree_node *n = find(s, name);
			if (source_file_open(s, n, &f, NULL) < 0 ||
			    source_file_read(f, 0, buf, n->size, NULL) < 0 ||
			    source_file_close(f, NULL) < 0 || strcmp(buf, text) != 0)
				return ctx;
		}
	return NULL;
}

static void several_threads_read_at_once(void **state)
{
	struct repo r = new_repo();
	struct listing l = { .len = 0 };
	pthread_t thread[READERS];
	char name[16], text[64];
	(void)state;

	list_file(&r, &l, ".gitattributes", "f* eol=crlf\n");
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(text, sizeof(text), "content %d\n", i);
		list_file(&r, &l, name, text);
	}
	{
		scoped(source) struct source *s = open_listing(&r, &l);

		for (int i = 0; i < READERS; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, read_many, s), 0);
		for (int i = 0; i < READERS; i++) {
			void *failed = NULL;

			assert_int_equal(pthread_join(thread[i], &failed), 0);
			assert_null(failed);
		}
	}
	drop_repo(&r);
}

static void failed_allocation_is_told(void **state)
{
	struct repo r = new_repo();
	struct listing sub = { .len = 0 }, top = { .len = 0 };
	char id[GIT_OID_HEXSZ + 1];
	(void)state;

	list_file(&r, &sub, "file", "a\n");
	list_file(&r, &top, ".gitattributes", "* text eol=crlf ident\n");
	list(&top, "120000", "link", blob(&r, "t"));
	list(&top, "40000", "sub", tree_of(&r, &sub));
	strcpy(id, hex_of(commit_listing(&r, &top)));
	for (unsigned long k = 1;; k++) {
		struct source *s = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		int got = try_open(r.path, id, NULL, &s, &d);
		support_fail_allocation(0);
		source_close(s);
		if (got == 0)
			break;
		assert_int_equal(got, -ENOMEM);
		assert_string_not_equal(d.text, "");
	}
	drop_repo(&r);
}

/* ------------------------------------------------------------------------------------ fetching */

/* model_server.py over a directory of repositories. */
struct hub {
	char *root;
	struct repo repo; /* ROOT/tiny.git */
	pid_t pid;
	char url[64];
};

static bool has_server(void)
{
	return system("git http-backend -h >/dev/null 2>&1; [ $? != 127 ] && "
	              "python3 -c '' 2>/dev/null && git --version >/dev/null 2>&1") == 0;
}

static void start_server(struct hub *h, const char *option, const char *value)
{
	const char *tests = getenv("MODELDISK_TESTS");
	char script[512], python[] = "python3";
	int out[2];
	posix_spawn_file_actions_t actions;

	snprintf(script, sizeof(script), "%s/support/model_server.py", tests ? tests : "tests");
	char *argv[] = {
		python, script, h->root, (char *)(uintptr_t)option, (char *)(uintptr_t)value, NULL
	};
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawnp(&h->pid, python, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	/* it says where it listens as soon as it does */
	FILE *f = fdopen(out[0], "r");
	assert_non_null(fgets(h->url, sizeof(h->url), f));
	fclose(f);
	h->url[strcspn(h->url, "\n")] = '\0';
}

static void stop_server(struct hub *h)
{
	int status = 0;

	if (h->pid <= 0)
		return;
	kill(h->pid, SIGTERM);
	waitpid(h->pid, &status, 0);
	h->pid = 0;
}

static struct hub new_hub(void)
{
	struct hub h = { .root = support_make_dir() };

	git_libgit2_init();
	assert_true(asprintf(&h.repo.path, "%s/tiny.git", h.root) > 0);
	assert_int_equal(git_repository_init(&h.repo.git, h.repo.path, 1), 0);
	assert_int_equal(git_repository_odb(&h.repo.odb, h.repo.git), 0);
	return h;
}

static void drop_hub(struct hub *h)
{
	stop_server(h);
	git_odb_free(h->repo.odb);
	git_repository_free(h->repo.git);
	git_libgit2_shutdown();
	free(h->repo.path);
	support_remove_dir(h->root);
}

static git_oid hub_commit(struct hub *h, const char *text, const char *ref)
{
	struct listing l = { .len = 0 };
	git_reference *made = NULL;

	list_file(&h->repo, &l, "file", text);
	git_oid id = commit_listing(&h->repo, &l);
	if (ref) {
		assert_int_equal(git_reference_create(&made, h->repo.git, ref, &id, 1, NULL), 0);
		git_reference_free(made);
	}
	return id;
}

/* A commit whose parent is this one. */
static void hub_child(struct hub *h, git_oid parent, const char *ref)
{
	struct listing l = { .len = 0 };
	git_reference *made = NULL;
	char text[512], tree[GIT_OID_HEXSZ + 1];

	list_file(&h->repo, &l, "file", "child");
	strcpy(tree, hex_of(tree_of(&h->repo, &l)));
	snprintf(text, sizeof(text),
	         "tree %s\nparent %s\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nx\n", tree,
	         hex_of(parent));
	git_oid id = write_object(&h->repo, GIT_OBJECT_COMMIT, text, strlen(text));
	assert_int_equal(git_reference_create(&made, h->repo.git, ref, &id, 1, NULL), 0);
	git_reference_free(made);
}

/* An annotated tag. */
static void hub_tag(struct hub *h, git_oid commit, const char *ref)
{
	git_reference *made = NULL;
	char text[512];

	snprintf(text, sizeof(text), "object %s\ntype commit\ntag v1\ntagger a <a> 1 +0000\n\nx\n",
	         hex_of(commit));
	git_oid id = write_object(&h->repo, GIT_OBJECT_TAG, text, strlen(text));
	assert_int_equal(git_reference_create(&made, h->repo.git, ref, &id, 1, NULL), 0);
	git_reference_free(made);
}

static int fetch(const struct hub *h, const char *url_path, git_oid id,
                 const struct source_options *opt, const char *want, struct diag *d)
{
	char url[512], hex[GIT_OID_HEXSZ + 1];
	struct source *s = NULL;

	snprintf(url, sizeof(url), "%s/%s", h->url, url_path);
	strcpy(hex, hex_of(id));
	int r = try_open(url, hex, opt, &s, d);
	if (r == 0) {
		assert_text(s, "file", want);
		assert_string_equal(source_location(s), url);
	}
	source_close(s);
	return r;
}

static void commits_are_fetched_from_any_reference(void **state)
{
	struct hub h = new_hub();
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		print_message("needs git and python3\n");
		drop_hub(&h);
		skip();
	}
	git_oid main_id = hub_commit(&h, "main", "refs/heads/main");
	git_oid pr = hub_commit(&h, "pull request", "refs/pr/1");
	git_oid nowhere = hub_commit(&h, "no reference", NULL);
	start_server(&h, NULL, NULL);
	assert_int_equal(fetch(&h, "tiny", main_id, NULL, "main", &d), 0);
	assert_int_equal(fetch(&h, "tiny.git", pr, NULL, "pull request", &d), 0);
	assert_int_equal(fetch(&h, "tiny/", nowhere, NULL, "no reference", &d), 0);
	assert_int_equal(fetch(&h, "nothing-here", main_id, NULL, "", &d), -ENOENT);
	nowhere.id[0] ^= 1;
	assert_int_equal(fetch(&h, "tiny", nowhere, NULL, "", &d), -ENOENT);
	assert_non_null(strstr(d.text, hex_of(nowhere)));
	drop_hub(&h);
}

/* Version 0 of the protocol: only what a reference leads to, unless the server says otherwise. */
static void old_servers_give_what_references_lead_to(void **state)
{
	struct hub h = new_hub();
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid tip = hub_commit(&h, "main", "refs/heads/main");
	git_oid nowhere = hub_commit(&h, "no reference", NULL);
	git_oid parent = hub_commit(&h, "parent", NULL);
	hub_child(&h, parent, "refs/pr/7");
	start_server(&h, "--fault", "git:old:0");
	assert_int_equal(fetch(&h, "tiny", tip, NULL, "main", &d), 0);
	assert_int_equal(fetch(&h, "tiny", parent, NULL, "parent", &d), 0);
	assert_int_equal(fetch(&h, "tiny", nowhere, NULL, "", &d), -ENOENT);
	write_file(h.repo.path, "config", "[uploadpack]\n\tallowAnySHA1InWant = true\n");
	assert_int_equal(fetch(&h, "tiny", nowhere, NULL, "no reference", &d), 0);
	drop_hub(&h);
}

static void reference_is_taken_when_allowed_and_said(void **state)
{
	static const char *const names[] = { "main", "refs/heads/main", "heads/main", "v1",
		                             "pr/1" };
	struct hub h = new_hub();
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	char hex[GIT_OID_HEXSZ + 1];
	strcpy(hex, hex_of(id));
	hub_tag(&h, id, "refs/tags/v1");
	hub_tag(&h, id, "refs/pr/1");
	start_server(&h, NULL, NULL);
	for (size_t i = 0; i < 3 * ARRAY_LEN(names); i++) {
		const char *name = names[i / 3];
		char url[128], note[256] = "";
		struct source_options opt = { .allow_ref = true,
			                      .note = keep_sentence,
			                      .note_ctx = note };
		struct source *s = NULL;

		if (i == 3 * ARRAY_LEN(names) / 2) { /* the other half from an old server */
			stop_server(&h);
			start_server(&h, "--fault", "git:old:0");
		}
		snprintf(url, sizeof(url), "%s/tiny", h.url);
		const char *spec = i % 3 == 0 ? h.repo.path : url;
		if (try_open(spec, name, &opt, &s, &d) < 0)
			fail_msg("%s: %s", name, d.text);
		assert_text(s, "file", "main");
		assert_string_equal(source_commit(s), hex);
		assert_non_null(strstr(note, name));
		assert_non_null(strstr(note, hex));
		source_close(s);
		assert_int_equal(try_open(spec, "no-such", &opt, &s, &d), -ENOENT);
		assert_int_equal(try_open(spec, "a..b", &opt, &s, &d), -EINVAL);
		opt.allow_ref = false;
		assert_int_equal(try_open(spec, name, &opt, &s, &d), -EINVAL);
	}
	drop_hub(&h);
}

static void answers_against_the_protocol_are_refused(void **state)
{
	static const struct {
		const char *fault, *says;
		int want;
	} cases[] = {
		{ "git:html", "git's protocol", -EUCLEAN },
		{ "git:rubbish:0", "", -EIO },
		{ "git:status:0:404", "not found", -ENOENT },
		{ "git:status:0:403", "GIT_PAT", -EACCES },
		{ "git:status:1:204", "204", -EIO },
		{ "git:short:0", "middle", -EUCLEAN },
		{ "git:endless-header", "header", -EUCLEAN },
		{ "git:wrong-bytes:0", "", 0 },
	};
	struct hub h = new_hub();
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct diag d = DIAG_INIT;

		start_server(&h, "--fault", cases[i].fault);
		int r = fetch(&h, "tiny", id, NULL, "", &d);
		stop_server(&h);
		if (r >= 0 || (cases[i].want < 0 && r != cases[i].want) ||
		    !strstr(d.text, cases[i].says))
			fail_msg("%s: %d %s", cases[i].fault, r, d.text);
	}
	drop_hub(&h);
}

static void broken_answers_are_asked_for_again(void **state)
{
	static const char *const faults[] = { "git:cut:2", "git:status:2:503", "git:rubbish:1",
		                              "git:status:1:429,Retry-After=1" };
	struct source_options opt = { .retries = 3 };
	struct hub h = new_hub();
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		struct diag d = DIAG_INIT;

		start_server(&h, "--fault", faults[i]);
		if (fetch(&h, "tiny", id, &opt, "main", &d) < 0)
			fail_msg("%s: %s", faults[i], d.text);
		stop_server(&h);
	}
	drop_hub(&h);
}

static void cache_spares_the_network(void **state)
{
	struct hub h = new_hub();
	char *cache = support_make_dir();
	struct source_options opt = { .cache_dir = cache };
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		support_remove_dir(cache);
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	start_server(&h, NULL, NULL);
	assert_int_equal(fetch(&h, "tiny", id, &opt, "main", &d), 0);
	stop_server(&h);
	assert_int_equal(fetch(&h, "tiny", id, &opt, "main", &d), 0);
	git_oid other = hub_commit(&h, "other", "refs/heads/other");
	assert_int_equal(fetch(&h, "tiny", other, &opt, "", &d), -EIO);
	support_remove_dir(cache);
	drop_hub(&h);
}

static void nothing_stays_behind_without_a_cache(void **state)
{
	struct hub h = new_hub();
	char *tmp = support_make_dir();
	const char *was = getenv("TMPDIR");
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		support_remove_dir(tmp);
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	start_server(&h, NULL, NULL);
	scoped_free char *old = was ? strdup(was) : NULL;
	assert_int_equal(setenv("TMPDIR", tmp, 1), 0);
	assert_int_equal(fetch(&h, "tiny", id, NULL, "main", &d), 0);
	assert_int_equal(fetch(&h, "missing", id, NULL, "", &d), -ENOENT);
	assert_int_equal(rmdir(tmp), 0); /* so it is empty */
	assert_int_equal(old ? setenv("TMPDIR", old, 1) : unsetenv("TMPDIR"), 0);
	free(tmp);
	drop_hub(&h);
}

static void token_opens_what_is_private(void **state)
{
	struct hub h = new_hub();
	struct source_options good = { .git_token = "s3cret" }, user = { .git_token = "me:s3cret" },
	                      wrong = { .git_token = "wr0ng" };
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "private", "refs/heads/main");
	start_server(&h, "--token", "s3cret");
	assert_int_equal(fetch(&h, "tiny", id, NULL, "", &d), -EACCES);
	assert_non_null(strstr(d.text, "asks for a token"));
	assert_int_equal(fetch(&h, "tiny", id, &wrong, "", &d), -EACCES);
	assert_non_null(strstr(d.text, "does not accept"));
	assert_null(strstr(d.text, "wr0ng"));
	assert_int_equal(fetch(&h, "tiny", id, &good, "private", &d), 0);
	assert_int_equal(fetch(&h, "tiny", id, &user, "private", &d), 0);
	drop_hub(&h);
}

static void redirect_to_another_host_gets_no_token(void **state)
{
	struct hub h = new_hub(), front = { .root = h.root };
	struct source_options opt = { .git_token = "s3cret" };
	struct diag d = DIAG_INIT;
	(void)state;

	if (!has_server()) {
		drop_hub(&h);
		skip();
	}
	git_oid id = hub_commit(&h, "main", "refs/heads/main");
	start_server(&h, NULL, NULL);
	start_server(&front, "--redirect", h.url); /* another port is another origin */
	assert_int_equal(fetch(&front, "tiny", id, &opt, "main", &d), 0);
	stop_server(&h);
	stop_server(&front);
	start_server(&h, "--token", "s3cret");
	start_server(&front, "--redirect", h.url);
	assert_int_equal(fetch(&h, "tiny", id, &opt, "main", &d), 0);
	assert_int_equal(fetch(&front, "tiny", id, &opt, "main", &d), -EACCES);
	stop_server(&front);
	start_server(&front, "--redirect", "file:///etc");
	assert_int_equal(fetch(&front, "tiny", id, &opt, "main", &d), -EUCLEAN);
	assert_non_null(strstr(d.text, "redirect"));
	stop_server(&front);
	drop_hub(&h);
}

/* Also while a pack is on its way: nothing is left behind, and the next try gets it. */
static void failed_allocation_while_fetching_is_told(void **state)
{
	struct hub h = new_hub();
	char *cache = support_make_dir(), url[128], hex[GIT_OID_HEXSZ + 1];
	struct source_options opt = { .cache_dir = cache, .needs_cache = true, .allow_ref = true };
	int r = -1;
	(void)state;

	if (!has_server()) {
		support_remove_dir(cache);
		drop_hub(&h);
		skip();
	}
	strcpy(hex, hex_of(hub_commit(&h, "main", "refs/heads/main")));
	start_server(&h, NULL, NULL);
	snprintf(url, sizeof(url), "%s/tiny", h.url);
	for (unsigned long k = 1; r < 0; k++) {
		struct source *s = NULL;
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = source_open(url, "main", &opt, &s, &d);
		support_fail_allocation(0);
		if (r < 0)
			assert_string_not_equal(d.text, "");
		else
			assert_string_equal(source_commit(s), hex);
		source_close(s);
		assert_true(k < 500);
	}
	support_remove_dir(cache);
	drop_hub(&h);
}

static void password_in_a_url_is_not_repeated(void **state)
{
	struct diag d = DIAG_INIT;
	struct source *s = NULL;
	(void)state;

	int r = try_open("http://user:s3cret@127.0.0.1:1/x",
	                 "0123456789012345678901234567890123456789", NULL, &s, &d);
	assert_int_equal(r, -EIO);
	assert_null(strstr(d.text, "s3cret"));
	assert_non_null(strstr(d.text, "http://127.0.0.1:1/x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit_becomes_a_tree),
		cmocka_unit_test(modes_become_what_a_checkout_gives),
		cmocka_unit_test(hostile_names_are_refused),
		cmocka_unit_test(names_that_only_look_hostile_are_taken),
		cmocka_unit_test(two_entries_of_one_name_are_refused),
		cmocka_unit_test(damaged_trees_are_refused),
		cmocka_unit_test(directories_without_files_leave_no_trace),
		cmocka_unit_test(deep_trees_need_no_stack),
		cmocka_unit_test(attributes_of_the_commit_convert),
		cmocka_unit_test(unsupported_encoding_names_the_file),
		cmocka_unit_test(no_configuration_has_a_say),
		cmocka_unit_test(content_that_is_nowhere_is_refused),
		cmocka_unit_test(objects_on_this_machine_are_found),
		cmocka_unit_test(object_that_goes_away_is_missed),
		cmocka_unit_test(object_of_another_size_is_none),
		cmocka_unit_test(excluded_pointers_stay_as_text),
		cmocka_unit_test(lfsconfig_may_not_lead_to_another_host),
		cmocka_unit_test(commit_has_no_owners_to_keep),
		cmocka_unit_test(pointer_nodes_carry_id_and_size),
		cmocka_unit_test(pointer_with_extensions_is_refused),
		cmocka_unit_test(only_a_full_commit_id_is_a_commit),
		cmocka_unit_test(working_tree_and_file_url_are_the_repository),
		cmocka_unit_test(object_that_is_not_its_id_is_refused),
		cmocka_unit_test(missing_objects_are_named),
		cmocka_unit_test(objects_of_the_wrong_type_are_refused),
		cmocka_unit_test(links_a_file_system_cannot_hold_are_refused),
		cmocka_unit_test(several_threads_read_at_once),
		cmocka_unit_test(failed_allocation_is_told),
		cmocka_unit_test(commits_are_fetched_from_any_reference),
		cmocka_unit_test(old_servers_give_what_references_lead_to),
		cmocka_unit_test(reference_is_taken_when_allowed_and_said),
		cmocka_unit_test(answers_against_the_protocol_are_refused),
		cmocka_unit_test(broken_answers_are_asked_for_again),
		cmocka_unit_test(cache_spares_the_network),
		cmocka_unit_test(nothing_stays_behind_without_a_cache),
		cmocka_unit_test(token_opens_what_is_private),
		cmocka_unit_test(redirect_to_another_host_gets_no_token),
		cmocka_unit_test(failed_allocation_while_fetching_is_told),
		cmocka_unit_test(password_in_a_url_is_not_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
