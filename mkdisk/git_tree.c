/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a commit's trees with a stack of its own and turns entries into nodes as git's checkout
 * would: which modes count, which names are refused, which directories exist, which files are
 * pointers. Everything that comes from the repository is hostile.
 */
#include "git_tree.h"

#include <errno.h>
#include <git2.h>
#include <limits.h>
#include <strings.h>

#include "attributes.h"
#include "git_fetch.h"
#include "lfs_pointer.h"
#include "text.h"
#include "walk.h"

#define ATTRIBUTES_NAME ".gitattributes"
/* Trees that meet again in trees unfold: TREE_MAX_NODES bounds their number, this the bytes of
 * their names and of what links lead to. */
#define MAX_TEXT_LEN GIB

struct level {
	git_tree *tree;
	struct tree_node *dir;
	size_t next;         /* entry to look at next */
	bool has_attributes; /* pushed for this directory */
	bool has_entries;    /* so a checkout makes the directory */
};

struct walk {
	const struct git_tree_source *from;
	const struct source_options *opt;
	struct tree *tree;
	struct git_tree_lfs *lfs;
	struct attributes *attributes;
	struct walk_path path;
	struct level *level;
	size_t level_cnt, level_cap;
	uint64_t text_len;           /* of all entries so far */
	char quoted[TREE_QUOTE_LEN]; /* path of the entry at hand */
	struct diag *d;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the repository's files");
}

static void walk_release(struct walk *w)
{
	while (w->level_cnt > 0)
		git_tree_free(w->level[--w->level_cnt].tree);
	free(w->level);
	walk_path_release(&w->path);
	attributes_free(w->attributes);
}

static inline void scope_end_walk(struct walk *w)
{
	walk_release(w);
}

static inline void scope_end_object(git_odb_object **o)
{
	git_odb_object_free(*o);
}

/* ------------------------------------------------------------------------------------- objects */

static int object_error(const struct walk *w, int code, const git_oid *id, const char *what)
{
	char hex[GIT_OID_HEXSZ + 1];

	git_oid_tostr(hex, sizeof(hex), id);
	if (code == GIT_ENOTFOUND)
		return diag_set(w->d, -ENOENT,
		                "%s: the repository lacks its %s %s; is it a partial or shallow "
		                "clone?",
		                w->quoted, what, hex);
	return git_fail(w->d, code, "%s: cannot read its %s %s", w->quoted, what, hex);
}

static int read_blob(const struct walk *w, const git_oid *id, git_odb_object **out)
{
	git_odb_object *o = NULL;
	int code = git_odb_read(&o, w->from->odb, id);

	if (code < 0)
		return object_error(w, code, id, "blob");
	*out = o;
	return 0;
}

/* The size of a blob without reading it. */
static int blob_size(const struct walk *w, const git_oid *id, size_t *size)
{
	git_object_t type = GIT_OBJECT_INVALID;
	int code = git_odb_read_header(size, &type, w->from->odb, id);

	if (code < 0)
		return object_error(w, code, id, "blob");
	if (type == GIT_OBJECT_BLOB)
		return 0;
	return diag_set(w->d, -EUCLEAN, "%s: what should be its blob is a %s", w->quoted,
	                git_object_type2string(type));
}

/* --------------------------------------------------------------------------------------- names */

/*
 * A name that is ".git" to some file system, which git refuses to check out: in any case, as NTFS's
 * short name, with spaces, dots or a stream behind it.
 */
static bool is_dot_git(const char *name)
{
	size_t len = strncasecmp(name, ".git", 4) == 0    ? 4
	             : strncasecmp(name, "git~1", 5) == 0 ? 5
	                                                  : 0;

	if (len == 0)
		return false;
	len += strspn(name + len, " .");
	return name[len] == '\0' || name[len] == ':' || name[len] == '\\';
}

static int check_name(const struct walk *w, const char *name)
{
	/* behind a backslash too: a directory separator elsewhere */
	for (const char *part = name, *end; part; part = end ? end + 1 : NULL) {
		end = strchr(part, '\\');
		if (is_dot_git(part))
			return diag_set(w->d, -EUCLEAN,
			                "%s: a name that git keeps for itself; it would not check "
			                "this out either",
			                w->quoted);
	}
	return 0;
}

/* The type and permissions that a checkout gives an entry; what git does not know is a submodule to
 * it, and that an empty directory here. */
static uint16_t mode_of(const git_tree_entry *entry)
{
	unsigned mode = git_tree_entry_filemode_raw(entry);

	if (S_ISREG(mode))
		return S_IFREG | (mode & 0100 ? 0755 : 0644);
	if (S_ISLNK(mode))
		return S_IFLNK | 0777;
	return S_IFDIR | 0755;
}

static bool is_tree(const git_tree_entry *entry)
{
	return S_ISDIR((unsigned)git_tree_entry_filemode_raw(entry));
}

/* --------------------------------------------------------------------------------------- files */

/*
 * Is the file a pointer that git-lfs would replace? It looks at the blob, and once more at the file
 * in the working tree, which a conversion may have made something else.
 */
static bool is_pointer(const void *blob, size_t blob_len, const void *file, size_t file_len,
                       struct lfs_pointer *p)
{
	struct lfs_pointer seen;

	return lfs_pointer_parse(blob, blob_len, p) && lfs_pointer_parse(file, file_len, &seen) &&
	       memcmp(p->oid, seen.oid, sizeof(seen.oid)) == 0;
}

static int note_lfs_node(struct walk *w, struct tree_node *n)
{
	struct git_tree_lfs *lfs = w->lfs;

	if (lfs->cnt == lfs->cap) {
		size_t cap = MAX(2 * lfs->cap, 64);
		struct tree_node **grown = realloc(lfs->node, cap * sizeof(*grown));

		if (!grown)
			return out_of_memory(w->d);
		lfs->node = grown;
		lfs->cap = cap;
	}
	lfs->node[lfs->cnt++] = n;
	return 0;
}

static int set_pointer(struct walk *w, struct tree_node *n, const struct lfs_pointer *p)
{
	if (p->is_extended)
		return diag_set(w->d, -EOPNOTSUPP,
		                "%s: a Git LFS pointer with extensions, which are programs that "
		                "change the content",
		                w->quoted);
	memset(n->oid, 0, sizeof(n->oid));
	memcpy(n->oid, p->oid, sizeof(p->oid));
	n->size = p->size;
	if (p->size == 0) {
		n->content = TREE_CONTENT_NONE;
		return 0;
	}
	n->content = TREE_CONTENT_LFS;
	return note_lfs_node(w, n);
}

/* A file whose size, or nature, only its bytes tell. */
static int examine_file(struct walk *w, struct tree_node *n, const git_oid *id,
                        const struct conversion *c, enum exclude_verdict verdict)
{
	scoped(object) git_odb_object *blob = NULL;
	scoped_free void *converted = NULL;
	char hex[GIT_OID_HEXSZ + 1];
	struct lfs_pointer p;
	size_t size = 0;
	int r = read_blob(w, id, &blob);

	if (r < 0)
		return r;
	const void *raw = git_odb_object_data(blob);
	size_t raw_size = git_odb_object_size(blob);
	git_oid_tostr(hex, sizeof(hex), id);
	r = conversion_apply(c, hex, raw, raw_size, &converted, &size);
	if (r < 0)
		return out_of_memory(w->d);
	n->size = size;
	if (!is_pointer(raw, raw_size, converted ? converted : raw, size, &p))
		return 0;
	if (verdict != EXCLUDE_KEEP_POINTER)
		return set_pointer(w, n, &p);
	walk_note_pointer(&w->lfs->kept, n);
	return 0;
}

static int set_file(struct walk *w, struct tree_node *n, const git_oid *id,
                    enum exclude_verdict verdict)
{
	struct attribute_setting set[ATTRIBUTE_CNT];
	struct git_tree_blob ref = { 0 };
	size_t size = 0;
	int r = blob_size(w, id, &size);

	if (r < 0 || size == 0)
		return r;
	attributes_lookup(w->attributes, w->path.text, set);
	r = conversion_init(&ref.conversion, set, w->quoted, w->d);
	if (r < 0)
		return r;
	memcpy(ref.id, id->id, sizeof(ref.id));
	memcpy(n->oid, &ref, sizeof(ref));
	n->size = size;
	n->content = TREE_CONTENT_BLOB;
	if (size <= LFS_POINTER_MAX_LEN || !conversion_is_none(&ref.conversion))
		r = examine_file(w, n, id, &ref.conversion, verdict);
	return r;
}

static int count_text(struct walk *w, size_t len)
{
	w->text_len += len;
	if (w->text_len <= MAX_TEXT_LEN)
		return 0;
	return diag_set(w->d, -EUCLEAN,
	                "%s: the names and symbolic links before it unfold to more than a "
	                "gigabyte",
	                w->quoted);
}

static int set_link(struct walk *w, struct tree_node *n, const git_oid *id)
{
	scoped(object) git_odb_object *blob = NULL;
	size_t size = 0;
	int r = blob_size(w, id, &size);

	if (r < 0)
		return r;
	if (size >= PATH_MAX)
		return diag_set(w->d, -EUCLEAN, "%s: a symbolic link of %zu bytes, more than %d",
		                w->quoted, size, PATH_MAX - 1);
	r = count_text(w, size);
	if (r == 0)
		r = read_blob(w, id, &blob);
	if (r < 0)
		return r;
	return tree_set_target(n, git_odb_object_data(blob), git_odb_object_size(blob), w->d);
}

/* -------------------------------------------------------------------------------------- walk */

static int push_attributes(struct walk *w, struct level *l, const void *text, size_t len)
{
	int r = attributes_push(w->attributes, w->path.dir_len, text, len);

	l->has_attributes = r == 0;
	if (r == -E2BIG)
		return diag_set(w->d, -EOPNOTSUPP,
		                "%s" ATTRIBUTES_NAME ": %zu bytes of attributes are too many",
		                w->quoted, len);
	return r < 0 ? out_of_memory(w->d) : 0;
}

/* The directory's own attributes, before its other entries. Also a symbolic link's target is read
 * as attributes: git does so when they come from the index. */
static int read_attributes(struct walk *w, struct level *l)
{
	scoped(object) git_odb_object *blob = NULL;
	const git_tree_entry *found = NULL;

	for (size_t i = 0; !found && i < git_tree_entrycount(l->tree); i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(l->tree, i);

		if (strcmp(git_tree_entry_name(entry), ATTRIBUTES_NAME) == 0)
			found = entry;
	}
	if (!found || S_ISDIR(mode_of(found)))
		return w->level_cnt == 1 ? push_attributes(w, l, "", 0) : 0;
	size_t size = 0;
	int r = blob_size(w, git_tree_entry_id(found), &size);
	if (r == 0 && size <= ATTRIBUTES_MAX_LEN)
		r = read_blob(w, git_tree_entry_id(found), &blob);
	if (r < 0)
		return r;
	return push_attributes(w, l, blob ? git_odb_object_data(blob) : "", size);
}

/* dir, the entry at hand, becomes the current directory. */
static int push_level(struct walk *w, struct tree_node *dir, const git_oid *id)
{
	git_tree *tree = NULL;

	if (w->level_cnt == w->level_cap) {
		size_t cap = w->level_cap > 0 ? w->level_cap * 2 : 32;
		struct level *level = realloc(w->level, cap * sizeof(*level));

		if (!level)
			return out_of_memory(w->d);
		w->level = level;
		w->level_cap = cap;
	}
	int code = git_tree_lookup(&tree, w->from->repo, id);
	if (code < 0)
		return object_error(w, code, id, "tree");
	struct level *l = &w->level[w->level_cnt++];
	*l = (struct level){ .tree = tree, .dir = dir };
	if (w->level_cnt > 1)
		walk_path_enter(&w->path);
	return read_attributes(w, l);
}

/* git keeps no directories, only files in them: a tree without any leaves no trace. */
static void pop_level(struct walk *w)
{
	struct level *l = &w->level[--w->level_cnt];

	git_tree_free(l->tree);
	if (l->has_attributes)
		attributes_pop(w->attributes);
	if (w->level_cnt == 0)
		return;
	walk_path_leave(&w->path);
	if (l->has_entries)
		w->level[w->level_cnt - 1].has_entries = true;
	else
		tree_remove(w->tree, l->dir);
}

static int add_entry(struct walk *w, struct level *l, const git_tree_entry *entry,
                     enum exclude_verdict verdict)
{
	const char *name = git_tree_entry_name(entry);
	const git_oid *id = git_tree_entry_id(entry);
	uint16_t mode = mode_of(entry);
	struct tree_node *n = NULL;
	int r = tree_add(w->tree, l->dir, name, strlen(name), mode, &n, w->d);

	if (r < 0)
		return r;
	if (is_tree(entry))
		return push_level(w, n, id);
	l->has_entries = true;
	if (S_ISREG(mode))
		return set_file(w, n, id, verdict);
	return S_ISLNK(mode) ? set_link(w, n, id) : 0;
}

static int visit_entry(struct walk *w, struct level *l, const git_tree_entry *entry)
{
	const char *name = git_tree_entry_name(entry);
	int r = walk_path_set(&w->path, name, strlen(name));

	if (r < 0)
		return out_of_memory(w->d);
	text_quote(w->path.text, strlen(w->path.text), w->quoted, sizeof(w->quoted));
	r = check_name(w, name);
	if (r == 0)
		r = count_text(w, strlen(name));
	if (r < 0)
		return r;
	enum exclude_verdict verdict = walk_verdict(&w->path, w->opt, S_ISDIR(mode_of(entry)));
	if (verdict == EXCLUDE_DROP) {
		l->has_entries = true;
		return 0;
	}
	return add_entry(w, l, entry, verdict);
}

int git_tree_read(const struct git_tree_source *from, const struct source_options *opt,
                  struct tree *t, struct git_tree_lfs *lfs, struct diag *d)
{
	scoped(walk) struct walk w = { .from = from, .opt = opt, .tree = t, .lfs = lfs, .d = d };
	git_oid root;

	if (attributes_new(&w.attributes) < 0 || walk_path_set(&w.path, "", 0) < 0)
		return out_of_memory(d);
	memcpy(root.id, from->root, sizeof(root.id));
	text_quote(".", 1, w.quoted, sizeof(w.quoted));
	int r = push_level(&w, t->root, &root);
	while (r == 0 && w.level_cnt > 0) {
		struct level *l = &w.level[w.level_cnt - 1];

		if (l->next < git_tree_entrycount(l->tree))
			r = visit_entry(&w, l, git_tree_entry_byindex(l->tree, l->next++));
		else
			pop_level(&w);
	}
	return r;
}
