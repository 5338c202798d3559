/* SPDX-License-Identifier: Apache-2.0 */
/* That the images are systemd-repart's byte for byte is the golden tests' to show. */
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "populate.h"
#include "tree_lookup.h"

#define DATA_OF(type) "[Partition]\nType=" type "\nFormat=erofs\nVerity=data\nVerityMatchKey=m\n"
#define DATA          DATA_OF("linux-generic")
#define HASH          "[Partition]\nType=linux-generic\nVerity=hash\nVerityMatchKey=m\n"

/* ---- trees as text ---- */

/*
 * One entry: a path and what it is. "d" a directory, "f" a file of that many bytes, "l" a link to
 * target, "h" another name of target, "p" a fifo.
 */
struct entry {
	const char *path;
	char kind;
	uint16_t perm;
	const char *target;
};

static struct tree_node *node_at(struct tree *t, const char *path)
{
	struct tree_lookup l = { .root = t->root, .prefix = "/" };
	struct tree_node *n = NULL;

	if (tree_lookup(&l, path, &n) < 0)
		fail_msg("no %s in the tree", path);
	return n;
}

static void add_entry(struct tree *t, const struct entry *e)
{
	const char *slash = strrchr(e->path, '/');
	const char *name = slash ? slash + 1 : e->path;
	scoped_free char *parent = strndup(e->path, (size_t)(name - e->path));
	struct tree_node *dir = node_at(t, parent), *n = NULL, *other;
	uint16_t type = e->kind == 'd' ? S_IFDIR : e->kind == 'l' ? S_IFLNK : S_IFREG;

	if (e->kind == 'p')
		type = S_IFIFO;
	assert_int_equal(tree_add(t, dir, name, strlen(name), (uint16_t)(type | e->perm), &n, NULL),
	                 0);
	n->uid = 1000;
	n->gid = 100;
	n->mtime_s = 7;
	if (e->kind == 'f') {
		n->size = strlen(name);
		n->content = TREE_CONTENT_PATH;
	} else if (e->kind == 'l') {
		assert_int_equal(tree_set_target(n, e->target, strlen(e->target), NULL), 0);
	} else if (e->kind == 'h') {
		other = tree_child(node_at(t, ""), e->target, strlen(e->target));
		n->link = other ? other : node_at(t, e->target);
	}
}

static struct tree *make_tree(const struct entry *e, size_t cnt)
{
	struct tree *t = NULL;

	assert_int_equal(tree_new(&t), 0);
	t->root->mode = S_IFDIR | 0700;
	t->root->uid = 42;
	t->root->mtime_s = 5;
	for (size_t i = 0; i < cnt; i++)
		add_entry(t, &e[i]);
	return t;
}

static void print_node(const struct tree_node *n, char *out, size_t room)
{
	char path[256], first[256];
	size_t len;

	tree_path(n, path, sizeof(path));
	if (n->link) {
		tree_path(n->link, first, sizeof(first));
		snprintf(out, room, "%s = %s\n", path, first);
		return;
	}
	snprintf(out, room, "%s %o %u:%u", n->parent ? path : "/", n->mode, n->uid, n->gid);
	len = strlen(out);
	if (n->mtime_s == POPULATE_TIME_NOW)
		snprintf(out + len, room - len, " now");
	else
		snprintf(out + len, room - len, " @%" PRIi64, n->mtime_s);
	len = strlen(out);
	if (n->target)
		snprintf(out + len, room - len, " -> %s", n->target);
	else if (n->content == TREE_CONTENT_PATH && n->source_path &&
	         strcmp(n->source_path, path) != 0)
		snprintf(out + len, room - len, " from %s", n->source_path);
	len = strlen(out);
	snprintf(out + len, room - len, "\n");
}

/* The finished tree, a line per node in plan order. */
static void assert_tree(struct tree *t, const char *expected)
{
	static char text[65536];
	struct diag d = DIAG_INIT;
	size_t len = 0;

	if (tree_finish(t, &d) < 0)
		fail_msg("%s", d.text);
	for (uint32_t i = 0; i < t->node_cnt; i++) {
		print_node(t->node[i], text + len, sizeof(text) - len);
		len += strlen(text + len);
	}
	assert_string_equal(text, expected);
}

/* ---- running it ---- */

static int populate_with(struct tree *t, const char *data, const char *compat_name, struct diag *d)
{
	struct conf_text file[] = { { "10.conf", data, strlen(data) },
		                    { "20.conf", HASH, strlen(HASH) } };
	scoped(definitions) struct definitions *defs = NULL;
	struct disk_identity identity;
	struct compat compat;
	struct uuid seed = { { 1 } };

	if (definitions_parse_text(file, 2, &defs, d) < 0)
		fail_msg("%s", d ? d->text : "definitions");
	assert_int_equal(compat_parse(compat_name, COMPAT_REPART, &compat, NULL), 0);
	assert_int_equal(disk_identity_init(&identity, defs, &seed, NULL), 0);
	return populate_tree(t, defs, &identity, &compat, d);
}

static void assert_populated(const struct entry *e, size_t cnt, const char *data,
                             const char *expected)
{
	scoped(tree) struct tree *t = make_tree(e, cnt);
	struct diag d = DIAG_INIT;

	if (populate_with(t, data, "systemd-255..257", &d) < 0)
		fail_msg("%s", d.text);
	assert_tree(t, expected);
}

static void assert_refused(const struct entry *e, size_t cnt, const char *data,
                           const char *expected)
{
	scoped(tree) struct tree *t = make_tree(e, cnt);
	scoped(tree) struct tree *same = make_tree(e, cnt);
	struct diag d = DIAG_INIT;
	int r = populate_with(t, data, NULL, &d);

	if (r == 0 || !strstr(d.text, expected))
		fail_msg("expected \"%s\", got %d \"%s\"", expected, r, d.text);
	assert_int_equal(t->root->child_cnt, same->root->child_cnt);
	assert_int_equal(t->root->mode, same->root->mode);
}

static const struct entry repo[] = {
	{ ".git", 'd', 0755, NULL }, { ".git/HEAD", 'f', 0644, NULL }, { "a", 'd', 02755, NULL },
	{ "a/x", 'f', 04755, NULL }, { "a/y", 'f', 0600, NULL },       { "b", 'f', 0644, NULL },
	{ "l", 'l', 0777, "a" },
};
#define REPO repo, ARRAY_LEN(repo)

/* ---- what goes where ---- */

static void source_becomes_the_root_without_what_is_excluded(void **state)
{
	(void)state;
	assert_populated(REPO, DATA "CopyFiles=/src:/\nExcludeFiles=/src/.git\n",
	                 "/ 40700 0:0 @5\n"
	                 "a 42755 1000:100 @7\n"
	                 "a/x 104755 1000:100 @7\n"
	                 "a/y 100600 1000:100 @7\n"
	                 "b 100644 1000:100 @7\n"
	                 "l 120777 1000:100 @7 -> a\n");
}

static void target_below_the_root_gets_parents_of_the_builder(void **state)
{
	(void)state;
	assert_populated(REPO,
	                 DATA "CopyFiles=/src:/models/m1\nExcludeFiles=/src/.git\n"
	                      "MakeDirectories=/models/empty /x/y\n"
	                      "MakeSymlinks=/models/current:m1\n",
	                 "/ 40755 0:0 now\n"
	                 "models 40755 0:0 now\n"
	                 "models/current 120777 0:0 now -> m1\n"
	                 "models/empty 40755 0:0 now\n"
	                 "models/m1 40700 42:0 @5\n"
	                 "models/m1/a 42755 1000:100 @7\n"
	                 "models/m1/a/x 104755 1000:100 @7 from a/x\n"
	                 "models/m1/a/y 100600 1000:100 @7 from a/y\n"
	                 "models/m1/b 100644 1000:100 @7 from b\n"
	                 "models/m1/l 120777 1000:100 @7 -> a\n"
	                 "x 40755 0:0 now\n"
	                 "x/y 40755 0:0 now\n");
}

static void later_lines_merge_and_replace(void **state)
{
	(void)state;
	static const struct entry e[] = {
		{ "one", 'd', 0711, NULL },     { "one/d", 'd', 0750, NULL },
		{ "one/d/k", 'f', 0600, NULL }, { "one/f", 'f', 0600, NULL },
		{ "two", 'd', 0755, NULL },     { "two/d", 'd', 0777, NULL },
		{ "two/d/n", 'f', 0644, NULL }, { "two/f", 'l', 0777, "d" },
	};

	assert_populated(e, ARRAY_LEN(e),
	                 DATA "CopyFiles=/src:/all\nCopyFiles=/src/one:/\n"
	                      "CopyFiles=/src/two:/\n"
	                      "ExcludeFilesTarget=/all/one /all/two/d/n\n",
	                 "/ 40711 0:0 now\n"
	                 "all 40700 42:0 @5\n"
	                 "all/two 40755 1000:100 @7\n"
	                 "all/two/d 40777 1000:100 @7\n"
	                 "all/two/f 120777 1000:100 @7 -> d\n"
	                 "d 40750 1000:100 @7\n"
	                 "d/k 100600 1000:100 @7 from one/d/k\n"
	                 "d/n 100644 1000:100 @7 from two/d/n\n"
	                 "f 120777 1000:100 @7 -> d\n");
}

static void file_named_by_itself_belongs_to_the_builder(void **state)
{
	(void)state;
	assert_populated(REPO,
	                 DATA "CopyFiles=/src:/s\nExcludeFilesTarget=/s/\n"
	                      "CopyFiles=/src/a/x:/bin/tool\nCopyFiles=/src/l/y:/y\n",
	                 "/ 40755 0:0 now\n"
	                 "bin 40755 0:0 now\n"
	                 "bin/tool 104755 0:0 @7 from a/x\n"
	                 "y 100600 0:0 @7 from a/y\n");
}

static void targets_are_followed_through_links_on_the_disk(void **state)
{
	(void)state;
	static const struct entry e[] = {
		{ "real", 'd', 0755, NULL },
		{ "up", 'l', 0777, "/../real" },
		{ "new", 'd', 0755, NULL },
		{ "new/f", 'f', 0644, NULL },
	};

	assert_populated(e, ARRAY_LEN(e),
	                 DATA "CopyFiles=/src:/\nCopyFiles=/src/new:/up\n"
	                      "MakeDirectories=/up/made\nMakeSymlinks=/up/s:t\n",
	                 "/ 40700 0:0 @5\n"
	                 "new 40755 1000:100 @7\n"
	                 "new/f 100644 1000:100 @7\n"
	                 "real 40755 1000:100 now\n"
	                 "real/f 100644 1000:100 @7 from new/f\n"
	                 "real/made 40755 0:0 now\n"
	                 "real/s 120777 0:0 now -> t\n"
	                 "up 120777 1000:100 @7 -> /../real\n");
}

/* ---- hard links ---- */

static const struct entry linked[] = {
	{ "d", 'd', 0755, NULL },        { "d/one", 'f', 0644, NULL },    { "e", 'd', 0755, NULL },
	{ "e/two", 'h', 0644, "d/one" }, { "three", 'h', 0644, "d/one" }, { "x", 'f', 0600, NULL },
};

static void hard_links_stay_hard_links_within_a_line(void **state)
{
	(void)state;
	assert_populated(linked, ARRAY_LEN(linked), DATA "CopyFiles=/src:/\nCopyFiles=/src/d:/f\n",
	                 "/ 40700 0:0 now\n"
	                 "d 40755 1000:100 @7\n"
	                 "d/one = three\n"
	                 "e 40755 1000:100 @7\n"
	                 "e/two = three\n"
	                 "f 40755 1000:100 @7\n"
	                 "f/one 100644 1000:100 @7 from d/one\n"
	                 "three 100644 1000:100 @7 from d/one\n"
	                 "x 100600 1000:100 @7\n");
}

static void excluding_one_name_excludes_the_inode(void **state)
{
	(void)state;
	assert_populated(linked, ARRAY_LEN(linked),
	                 DATA "CopyFiles=/src:/\nExcludeFiles=/src/three\n",
	                 "/ 40700 0:0 @5\n"
	                 "d 40755 1000:100 @7\n"
	                 "e 40755 1000:100 @7\n"
	                 "x 100600 1000:100 @7\n");
}

static void link_to_a_file_in_an_excluded_directory_stays(void **state)
{
	(void)state;
	assert_populated(linked, ARRAY_LEN(linked), DATA "CopyFiles=/src:/\nExcludeFiles=/src/d\n",
	                 "/ 40700 0:0 @5\n"
	                 "e 40755 1000:100 @7\n"
	                 "e/two = three\n"
	                 "three 100644 1000:100 @7 from d/one\n"
	                 "x 100600 1000:100 @7\n");
}

static void replaced_file_leaves_its_other_names_alone(void **state)
{
	(void)state;
	static const struct entry e[] = {
		{ "a", 'd', 0755, NULL }, { "a/f", 'f', 0644, NULL }, { "a/g", 'h', 0644, "a/f" },
		{ "b", 'd', 0755, NULL }, { "b/f", 'f', 0600, NULL },
	};

	assert_populated(e, ARRAY_LEN(e),
	                 DATA "CopyFiles=/src:/s\nExcludeFilesTarget=/s\n"
	                      "CopyFiles=/src/a:/\nCopyFiles=/src/b:/\n",
	                 "/ 40755 0:0 @7\n"
	                 "f 100600 1000:100 @7 from b/f\n"
	                 "g 100644 1000:100 @7 from a/f\n");
}

/* ---- exclusions ---- */

static void exclusions_are_inodes(void **state)
{
	(void)state;
	/* the link stays, what it leads to goes */
	assert_populated(REPO, DATA "CopyFiles=/src:/\nExcludeFiles=/src/l /src/.git/\n",
	                 "/ 40700 0:0 @5\n"
	                 ".git 40755 1000:100 @7\n"
	                 "b 100644 1000:100 @7\n"
	                 "l 120777 1000:100 @7 -> a\n");
	/* the first word about an inode holds; what is not there is not excluded */
	assert_populated(REPO,
	                 DATA "CopyFiles=/src:/\nExcludeFiles=/src/a/ /src/a /src/l/x\n"
	                      "ExcludeFiles=/src/nothing /src/b/x /src/.git\n",
	                 "/ 40700 0:0 @5\n"
	                 "a 42755 1000:100 @7\n"
	                 "b 100644 1000:100 @7\n"
	                 "l 120777 1000:100 @7 -> a\n");
}

static void line_whose_source_is_excluded_copies_nothing(void **state)
{
	(void)state;
	assert_populated(REPO,
	                 DATA "CopyFiles=/src:/\nCopyFiles=/src/a:/twice\n"
	                      "ExcludeFiles=/src/a /src/.git\n",
	                 "/ 40700 0:0 @5\n"
	                 "b 100644 1000:100 @7\n"
	                 "l 120777 1000:100 @7 -> a\n");
	/* also for a file in an excluded directory, and one whose directory is only emptied */
	assert_populated(REPO,
	                 DATA "CopyFiles=/src:/\nCopyFiles=/src/l/x:/x\n"
	                      "ExcludeFiles=/src/a/ /src/.git\n",
	                 "/ 40700 0:0 @5\n"
	                 "a 42755 1000:100 @7\n"
	                 "b 100644 1000:100 @7\n"
	                 "l 120777 1000:100 @7 -> a\n");
}

static void links_out_of_the_source_exclude_nothing(void **state)
{
	(void)state;
	static const struct entry e[] = {
		{ "abs", 'l', 0777, "/src/f" }, { "f", 'f', 0644, NULL },
		{ "g", 'f', 0644, NULL },       { "out", 'l', 0777, "../g" },
		{ "root", 'l', 0777, "/g" },
	};

	assert_populated(e, ARRAY_LEN(e),
	                 DATA "CopyFiles=/src:/\n"
	                      "ExcludeFiles=/src/abs /src/out /src/root\n",
	                 "/ 40700 0:0 @5\n"
	                 "abs 120777 1000:100 @7 -> /src/f\n"
	                 "g 100644 1000:100 @7\n"
	                 "out 120777 1000:100 @7 -> ../g\n"
	                 "root 120777 1000:100 @7 -> /g\n");
}

static void root_partitions_leave_mount_points_empty(void **state)
{
	(void)state;
	static const struct entry e[] = {
		{ "dev", 'd', 0755, NULL },       { "dev/x", 'f', 0644, NULL },
		{ "sub", 'd', 0755, NULL },       { "sub/tmp", 'd', 0755, NULL },
		{ "sub/tmp/x", 'f', 0644, NULL }, { "tmp", 'f', 0644, NULL },
		{ "var", 'd', 0755, NULL },       { "var/tmp", 'd', 01777, NULL },
		{ "var/tmp/x", 'f', 0644, NULL },
	};
	static const char *const expected = "/ 40700 0:0 @5\n"
	                                    "dev 40755 1000:100 @7\n"
	                                    "sub 40755 1000:100 @7\n"
	                                    "sub/tmp 40755 1000:100 @7\n"
	                                    "sub/tmp/x 100644 1000:100 @7\n"
	                                    "tmp 100644 1000:100 @7\n"
	                                    "var 40755 1000:100 @7\n"
	                                    "var/tmp 41777 1000:100 @7\n";

	assert_populated(e, ARRAY_LEN(e), DATA_OF("root-x86-64") "CopyFiles=/src:/\n", expected);
	/* below another target, and in other types, everything stays */
	scoped(tree) struct tree *t = make_tree(e, ARRAY_LEN(e));
	assert_int_equal(populate_with(t, DATA_OF("usr-x86-64") "CopyFiles=/src:/\n", NULL, NULL),
	                 0);
	assert_non_null(node_at(t, "dev/x"));
	scoped(tree) struct tree *u = make_tree(e, ARRAY_LEN(e));
	assert_int_equal(populate_with(u, DATA_OF("root-x86-64") "CopyFiles=/src:/d\n", NULL, NULL),
	                 0);
	assert_non_null(node_at(u, "d/dev/x"));
}

/* ---- attributes ---- */

static void assert_xattr(const struct tree_node *n, uint32_t i, const char *name, const void *value,
                         size_t len)
{
	assert_true(i < n->xattr_cnt);
	assert_string_equal(n->xattr[i].name, name);
	assert_int_equal(n->xattr[i].value_len, len);
	assert_memory_equal(n->xattr[i].value, value, len);
}

static void validation_attributes_name_labels_types_and_mount_points(void **state)
{
	(void)state;
	static const char labels[] = "linux-generic\0linux-generic-2";
	static const char type[] = "0fc63daf-8483-4772-8e79-3d69d8477de4";
	static const char mounts[] = "/models\0/opt/x";
	scoped(tree) struct tree *t = make_tree(REPO);

	assert_int_equal(tree_add_xattr(t->root, "user.own", "v", 1), 0);
	assert_int_equal(populate_with(t,
	                               DATA "CopyFiles=/src:/\nMountPoint=/models\n"
	                                    "MountPoint=/opt/x:ro\n",
	                               NULL, NULL),
	                 0);
	assert_int_equal(t->root->xattr_cnt, 4);
	assert_xattr(t->root, 0, "user.own", "v", 1);
	assert_xattr(t->root, 1, "user.validatefs.gpt_label", labels, sizeof(labels));
	assert_xattr(t->root, 2, "user.validatefs.gpt_type_uuid", type, sizeof(type));
	assert_xattr(t->root, 3, "user.validatefs.mount_point", mounts, sizeof(mounts));
}

static void validation_attributes_are_sorted_and_unique(void **state)
{
	(void)state;
	static const char labels[] = "a\0z";
	static const char types[] = "0fc63daf-8483-4772-8e79-3d69d8477de4\0"
	                            "8484680c-9521-48c6-9c11-b0720656f69e";
	scoped(tree) struct tree *t = make_tree(REPO);
	const char *const data = DATA_OF("usr-x86-64") "CopyFiles=/src:/\nLabel=z\n";
	const char *const hash = HASH "Label=a\n";
	const char *const sig = "[Partition]\nType=linux-generic\nVerity=signature\n"
	                        "VerityMatchKey=m\nLabel=z\n";
	struct conf_text file[] = { { "1", data, strlen(data) },
		                    { "2", hash, strlen(hash) },
		                    { "3", sig, strlen(sig) } };
	scoped(definitions) struct definitions *defs = NULL;
	struct disk_identity identity;
	struct compat compat;
	struct uuid seed = { { 1 } };

	assert_int_equal(definitions_parse_text(file, 3, &defs, NULL), 0);
	assert_int_equal(compat_parse(NULL, COMPAT_REPART, &compat, NULL), 0);
	assert_int_equal(disk_identity_init(&identity, defs, &seed, NULL), 0);
	assert_int_equal(populate_tree(t, defs, &identity, &compat, NULL), 0);
	assert_int_equal(t->root->xattr_cnt, 3);
	assert_xattr(t->root, 0, "user.validatefs.gpt_label", labels, sizeof(labels));
	assert_xattr(t->root, 1, "user.validatefs.gpt_type_uuid", types, sizeof(types));
	assert_xattr(t->root, 2, "user.validatefs.mount_point", "/usr", 5);
}

static void validation_attributes_are_left_out_where_they_are_unwanted(void **state)
{
	(void)state;
	static const struct {
		const char *data, *compat;
		uint32_t cnt;
	} cases[] = {
		{ DATA "CopyFiles=/src:/\n", NULL, 2 },
		{ DATA "CopyFiles=/src:/\nAddValidateFS=no\n", NULL, 0 },
		{ DATA "CopyFiles=/src:/\nAddValidateFS=yes\n", NULL, 2 },
		{ DATA "CopyFiles=/src:/\nAddValidateFS=yes\n", "systemd-255..257", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(tree) struct tree *t = make_tree(REPO);

		assert_int_equal(populate_with(t, cases[i].data, cases[i].compat, NULL), 0);
		assert_int_equal(t->root->xattr_cnt, cases[i].cnt);
	}
}

/* ---- refusals ---- */

static void what_repart_fails_at_or_leaves_out_is_refused(void **state)
{
	(void)state;
	static const struct entry odd[] = {
		{ "d", 'd', 0755, NULL },       { "d/f", 'd', 0755, NULL },
		{ "f", 'f', 0644, NULL },       { "loop", 'l', 0777, "loop" },
		{ "nowhere", 'l', 0777, "no" }, { "p", 'p', 0644, NULL },
		{ "s", 'd', 0755, NULL },       { "s/f", 'f', 0644, NULL },
		{ "out", 'l', 0777, "/etc" },
	};
	static const struct {
		const char *lines, *expected;
	} bad[] = {
		{ "CopyFiles=/src:/\nCopyFiles=/other:/x\n", "CopyFiles=/other is not below /src" },
		{ "CopyFiles=/src:/\nCopyFiles=/srcs:/x\n", "is not below /src" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/none:/x\n", "10.conf: CopyFiles=/src/none" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/out:/x\n", "10.conf: CopyFiles=/src/out" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/loop:/x\n", "10.conf: CopyFiles=/src/loop" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/p:/x\n",
		  "neither a directory nor a regular file" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/f:/\n", "a file, and its target a directory" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/f:/f\n", "a target that is there already" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/s:/d\n", "\"s/f\" would replace a directory" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/d:/s\n", "\"d/f\" is a directory where" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/d:/f\n", "a target that is no directory" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/d:/nowhere\n", "a link to nowhere" },
		{ "CopyFiles=/src:/\nCopyFiles=/src/d:/f/x\n", "a target that is no directory" },
		{ "CopyFiles=/src:/\nExcludeFiles=/other/x\n",
		  "ExcludeFiles=/other/x is not below" },
		{ "CopyFiles=/src:/\nExcludeFiles=/src/loop\n", "cannot follow the excluded path" },
		{ "CopyFiles=/src:/\nMakeDirectories=/f\n", "MakeDirectories=/f" },
		{ "CopyFiles=/src:/\nMakeDirectories=/nowhere/x\n", "MakeDirectories=/nowhere/x" },
		{ "CopyFiles=/src:/\nMakeSymlinks=/f:t\n", "MakeSymlinks=/f:t" },
		{ "CopyFiles=/src:/\nMakeSymlinks=/none/l:t\n", "MakeSymlinks=/none/l:t" },
		{ "CopyFiles=/src:/\nMakeSymlinks=/f/l:t\n", "MakeSymlinks=/f/l:t" },
		{ "CopyFiles=/src:/\nMakeSymlinks=/:t\n", "MakeSymlinks=/:t" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char data[1024];

		snprintf(data, sizeof(data), "%s%s", DATA, bad[i].lines);
		assert_refused(odd, ARRAY_LEN(odd), data, bad[i].expected);
	}
}

static void failed_allocation_leaves_the_source_tree_alone(void **state)
{
	(void)state;
	unsigned long k = 1;
	int r;

	do {
		scoped(tree) struct tree *t = make_tree(linked, ARRAY_LEN(linked));
		struct conf_text file[] = {
			{ "1", DATA "CopyFiles=/src:/m\nExcludeFiles=/src/x\nMakeDirectories=/q\n",
			  0 },
			{ "2", HASH, strlen(HASH) }
		};
		scoped(definitions) struct definitions *defs = NULL;
		struct disk_identity identity;
		struct compat compat;
		struct uuid seed = { { 1 } };
		struct diag d = DIAG_INIT;

		file[0].len = strlen(file[0].text);
		assert_int_equal(definitions_parse_text(file, 2, &defs, NULL), 0);
		assert_int_equal(compat_parse(NULL, COMPAT_REPART, &compat, NULL), 0);
		assert_int_equal(disk_identity_init(&identity, defs, &seed, NULL), 0);
		assert_int_equal(tree_add_xattr(node_at(t, "d/one"), "user.x", "v", 1), 0);
		support_fail_allocation(k++);
		r = populate_tree(t, defs, &identity, &compat, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || (r == -ENOMEM && d.text[0]));
		if (r < 0)
			assert_int_equal(t->root->child_cnt, 4);
	} while (r != 0);
	assert_true(k > 20);
}

static void very_deep_trees_are_copied(void **state)
{
	(void)state;
	scoped(tree) struct tree *t = NULL;
	struct tree_node *n;
	uint32_t depth = 0;

	assert_int_equal(tree_new(&t), 0);
	n = t->root;
	for (unsigned i = 0; i < TREE_MAX_DEPTH; i++)
		assert_int_equal(tree_add(t, n, "d", 1, S_IFDIR | 0755, &n, NULL), 0);
	assert_int_equal(populate_with(t, DATA "CopyFiles=/src:/\n", NULL, NULL), 0);
	for (n = t->root; n->child_cnt > 0; n = n->child[0])
		depth++;
	assert_int_equal(depth, TREE_MAX_DEPTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_becomes_the_root_without_what_is_excluded),
		cmocka_unit_test(target_below_the_root_gets_parents_of_the_builder),
		cmocka_unit_test(later_lines_merge_and_replace),
		cmocka_unit_test(file_named_by_itself_belongs_to_the_builder),
		cmocka_unit_test(targets_are_followed_through_links_on_the_disk),
		cmocka_unit_test(hard_links_stay_hard_links_within_a_line),
		cmocka_unit_test(excluding_one_name_excludes_the_inode),
		cmocka_unit_test(link_to_a_file_in_an_excluded_directory_stays),
		cmocka_unit_test(replaced_file_leaves_its_other_names_alone),
		cmocka_unit_test(exclusions_are_inodes),
		cmocka_unit_test(line_whose_source_is_excluded_copies_nothing),
		cmocka_unit_test(links_out_of_the_source_exclude_nothing),
		cmocka_unit_test(root_partitions_leave_mount_points_empty),
		cmocka_unit_test(validation_attributes_name_labels_types_and_mount_points),
		cmocka_unit_test(validation_attributes_are_sorted_and_unique),
		cmocka_unit_test(validation_attributes_are_left_out_where_they_are_unwanted),
		cmocka_unit_test(what_repart_fails_at_or_leaves_out_is_refused),
		cmocka_unit_test(failed_allocation_leaves_the_source_tree_alone),
		cmocka_unit_test(very_deep_trees_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
