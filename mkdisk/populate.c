/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the disk's tree beside the source's, line by line as systemd-repart copies files: what
 * replaces what, whose owner and time a directory gets, which hard links stay. How a path is
 * followed is tree_lookup.c's, what stays out denied.c's.
 */
#include "populate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "denied.h"

/* An inode with several names, and its copy among the files of the current CopyFiles line. */
struct shared {
	const struct tree_node *inode;
	struct tree_node *copy;
};

/* A directory whose children are still to be copied. */
struct pending {
	const struct tree_node *from;
	struct tree_node *to;
	bool is_merge; /* to was there before and may have children of the same names */
};

struct populate {
	const struct tree *from;
	struct tree *to;
	const struct definitions *defs;
	const struct definition *def;       /* the data partition */
	struct tree_lookup source, target;  /* how paths are followed in the two */
	const struct definition_copy *line; /* the current one */
	struct denied_list denied;          /* by it */
	struct shared *shared;
	size_t shared_cnt;
	struct pending *pending;
	size_t pending_cnt, pending_cap;
	struct diag *d;
};

static void populate_release(struct populate p)
{
	tree_free(p.to);
	denied_list_release(&p.denied);
	free(p.shared);
	free(p.pending);
}
DEFINE_SCOPED(populate, struct populate, populate_release)

static int no_memory(const struct populate *p)
{
	return diag_set(p->d, -ENOMEM, "out of memory for the disk's file tree");
}

/* ---- hard links ---- */

static int compare_shared(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct shared *)a)->inode;
	uintptr_t y = (uintptr_t)((const struct shared *)b)->inode;

	return (x > y) - (x < y);
}

static int push(struct populate *p, const struct tree_node *from, struct tree_node *to,
                bool is_merge)
{
	if (p->pending_cnt == p->pending_cap) {
		size_t cap = p->pending_cap ? 2 * p->pending_cap : 64;
		struct pending *grown = realloc(p->pending, cap * sizeof(*grown));

		if (!grown)
			return no_memory(p);
		p->pending = grown;
		p->pending_cap = cap;
	}
	p->pending[p->pending_cnt++] =
	        (struct pending){ .from = from, .to = to, .is_merge = is_merge };
	return 0;
}

static int add_shared(struct populate *p, const struct tree_node *inode)
{
	/* doubled whenever the count is a power of two */
	if (p->shared_cnt == 0 || is_power_of_two(p->shared_cnt)) {
		size_t cap = p->shared_cnt ? 2 * p->shared_cnt : 1;
		struct shared *grown = realloc(p->shared, cap * sizeof(*grown));

		if (!grown)
			return no_memory(p);
		p->shared = grown;
	}
	p->shared[p->shared_cnt++] = (struct shared){ .inode = inode };
	return 0;
}

/* Lists every inode of the source that has more than one name. */
static int find_shared(struct populate *p)
{
	int r = push(p, p->from->root, NULL, false);

	while (r == 0 && p->pending_cnt > 0) {
		const struct tree_node *dir = p->pending[--p->pending_cnt].from;

		for (uint32_t i = 0; i < dir->child_cnt && r == 0; i++) {
			const struct tree_node *n = dir->child[i];

			if (S_ISDIR(n->mode))
				r = push(p, n, NULL, false);
			else if (n->link)
				r = add_shared(p, inode_of(n));
		}
	}
	if (r < 0 || p->shared_cnt == 0)
		return r;
	qsort(p->shared, p->shared_cnt, sizeof(*p->shared), compare_shared);
	size_t cnt = 1;
	for (size_t i = 1; i < p->shared_cnt; i++)
		if (p->shared[i].inode != p->shared[cnt - 1].inode)
			p->shared[cnt++] = p->shared[i];
	p->shared_cnt = cnt;
	return 0;
}

/* NULL for an inode of one name. Symbolic links are copied name by name. */
static struct shared *find_copies(const struct populate *p, const struct tree_node *inode)
{
	struct shared key = { .inode = inode };

	if (p->shared_cnt == 0 || S_ISLNK(inode->mode))
		return NULL;
	return bsearch(&key, p->shared, p->shared_cnt, sizeof(key), compare_shared);
}

/* ---- copying ---- */

static bool is_denied(const struct populate *p, const struct tree_node *n)
{
	const struct denied *denied = denied_find(&p->denied, n);

	return denied && !denied->contents_only;
}

static int refuse(const struct populate *p, const struct tree_node *n, const char *what)
{
	char where[TREE_QUOTE_LEN];

	return diag_set(p->d, -EINVAL, "%s: CopyFiles=%s:%s: %s %s", p->def->file, p->line->source,
	                p->line->target, tree_quote_path(n, where, sizeof(where)), what);
}

static int copy_xattrs(const struct populate *p, const struct tree_node *from, struct tree_node *to)
{
	for (uint32_t i = 0; i < from->xattr_cnt; i++)
		if (tree_add_xattr(to, from->xattr[i].name, from->xattr[i].value,
		                   from->xattr[i].value_len) < 0)
			return no_memory(p);
	return 0;
}

/* Permissions, times and attributes: what a copy has in common with its source in every case. */
static int copy_access(const struct populate *p, const struct tree_node *from, struct tree_node *to)
{
	to->mode = (uint16_t)((to->mode & S_IFMT) | (from->mode & 07777));
	to->mtime_s = from->mtime_s;
	to->mtime_ns = from->mtime_ns;
	return copy_xattrs(p, from, to);
}

static int copy_content(const struct populate *p, const struct tree_node *from,
                        struct tree_node *to)
{
	to->rdev_major = from->rdev_major;
	to->rdev_minor = from->rdev_minor;
	to->size = from->size;
	to->content = from->content;
	memcpy(to->oid, from->oid, sizeof(to->oid));
	if (from->target)
		return tree_set_target(to, from->target, strlen(from->target), p->d);
	if (from->content != TREE_CONTENT_PATH)
		return 0;
	/* where the source has the bytes, whatever the file is called on the disk */
	size_t len = from->source_path ? strlen(from->source_path) : tree_path(from, NULL, 0);
	to->source_path = malloc(len + 1);
	if (!to->source_path)
		return no_memory(p);
	if (from->source_path)
		memcpy(to->source_path, from->source_path, len + 1);
	else
		tree_path(from, to->source_path, len + 1);
	return 0;
}

/* A new entry of dir that is what from is. */
static int add_copy(const struct populate *p, struct tree_node *dir, const char *name,
                    const struct tree_node *from, struct tree_node **out)
{
	int r = tree_add(p->to, dir, name, strlen(name), from->mode, out, p->d);

	if (r < 0)
		return r;
	(*out)->uid = from->uid;
	(*out)->gid = from->gid;
	r = copy_access(p, from, *out);
	return r < 0 ? r : copy_content(p, from, *out);
}

/* Into a directory that may have an entry of this name already, which gives way. */
static int copy_leaf(struct populate *p, const struct tree_node *n, const struct pending *in)
{
	const struct tree_node *inode = inode_of(n);
	struct shared *shared = find_copies(p, inode);
	struct tree_node *copy,
	        *old = in->is_merge ? tree_child(in->to, n->name, n->name_len) : NULL;

	if (old && S_ISDIR(old->mode))
		return refuse(p, n, "would replace a directory");
	if (old)
		tree_remove(p->to, old);
	if (!shared || !shared->copy) {
		int r = add_copy(p, in->to, n->name, inode, &copy);

		if (r == 0 && shared)
			shared->copy = copy;
		return r;
	}
	int r = tree_add(p->to, in->to, n->name, n->name_len, inode->mode, &copy, p->d);
	if (r == 0)
		copy->link = shared->copy;
	return r;
}

/* A directory that is there already keeps its mode, owner, time and attributes. */
static int copy_dir(struct populate *p, const struct tree_node *n, const struct pending *in)
{
	struct tree_node *copy = in->is_merge ? tree_child(in->to, n->name, n->name_len) : NULL;
	bool is_merge = copy != NULL;
	int r = 0;

	if (copy && !S_ISDIR(copy->mode))
		return refuse(p, n, "is a directory where the disk has something else");
	if (!copy)
		r = add_copy(p, in->to, n->name, n, &copy);
	return r < 0 || denied_find(&p->denied, n) ? r : push(p, n, copy, is_merge);
}

/* Everything below from into to. */
static int copy_children(struct populate *p, const struct tree_node *from, struct tree_node *to,
                         bool is_merge)
{
	const struct denied *denied = denied_find(&p->denied, from);
	int r = denied && denied->contents_only ? 0 : push(p, from, to, is_merge);

	while (r == 0 && p->pending_cnt > 0) {
		struct pending in = p->pending[--p->pending_cnt];

		for (uint32_t i = 0; i < in.from->child_cnt && r == 0; i++) {
			const struct tree_node *n = in.from->child[i];

			if (is_denied(p, n))
				continue;
			r = S_ISDIR(n->mode) ? copy_dir(p, n, &in) : copy_leaf(p, n, &in);
		}
	}
	return r;
}

/* ---- making ---- */

static void touch(struct tree_node *dir)
{
	dir->mtime_s = POPULATE_TIME_NOW;
	dir->mtime_ns = 0;
}

/* A new entry of dir, of owner 0:0. */
static int make(const struct populate *p, struct tree_node *dir, const char *name, uint16_t mode,
                struct tree_node **out)
{
	int r = tree_add(p->to, dir, name, strlen(name), mode, out, p->d);

	if (r < 0)
		return r;
	touch(*out);
	touch(dir);
	return 0;
}

/*
 * The directory at path on the disk, made with its parents where it is missing. what is the key
 * that wants it.
 */
static int make_path(const struct populate *p, const char *what, const char *path,
                     struct tree_node **out)
{
	struct tree_node *dir = p->to->root;
	size_t len = 0;

	while (path[len]) {
		scoped_free char *prefix = NULL;
		struct tree_node *next;

		len += strspn(path + len, "/");
		size_t name_len = strcspn(path + len, "/");
		if (name_len == 0)
			break;
		len += name_len;
		prefix = strndup(path, len);
		if (!prefix)
			return no_memory(p);
		int r = tree_lookup(&p->target, prefix, &next);
		if (r == -ENOENT && !tree_child(dir, prefix + len - name_len, name_len))
			r = make(p, dir, prefix + len - name_len, S_IFDIR | 0755, &next);
		if (r == 0 && !S_ISDIR(next->mode))
			r = -ENOTDIR;
		if (r < 0)
			return diag_set_errno(p->d, r, "%s: %s=%s: %s", p->def->file, what, path,
			                      prefix);
		dir = next;
	}
	*out = dir;
	return 0;
}

/* The parent directory of an absolute path, made where it is missing, and the name in it. */
static int make_parent(const struct populate *p, const char *what, const char *path,
                       struct tree_node **dir, const char **name)
{
	const char *slash = strrchr(path, '/');
	scoped_free char *parent = strndup(path, (size_t)(slash - path));

	if (!parent)
		return no_memory(p);
	*name = slash + 1;
	return make_path(p, what, parent, dir);
}

/* ---- CopyFiles= ---- */

static int copy_tree(struct populate *p, const struct tree_node *from)
{
	struct tree_node *to, *parent;
	const char *name;
	int r = tree_lookup(&p->target, p->line->target, &to);

	if (r == 0 && S_ISDIR(to->mode))
		return copy_children(p, from, to, true);
	if (r != -ENOENT)
		return refuse(p, from, "has a target that is no directory");
	r = make_parent(p, "CopyFiles", p->line->target, &parent, &name);
	if (r < 0)
		return r;
	if (tree_child(parent, name, strlen(name)))
		return refuse(p, from, "has a target that is a link to nowhere");
	r = add_copy(p, parent, name, from, &to);
	if (r < 0)
		return r;
	touch(parent);
	return copy_children(p, from, to, false);
}

/* A file named by itself: it belongs to the builder, and must be new. */
static int copy_file(struct populate *p, const struct tree_node *inode)
{
	struct tree_node *parent, *copy;
	const char *name;

	if (!S_ISREG(inode->mode))
		return refuse(p, inode, "is neither a directory nor a regular file");
	if (strcmp(p->line->target, "/") == 0)
		return refuse(p, inode, "is a file, and its target a directory");
	int r = make_parent(p, "CopyFiles", p->line->target, &parent, &name);
	if (r < 0)
		return r;
	if (tree_child(parent, name, strlen(name)))
		return refuse(p, inode, "has a target that is there already");
	r = add_copy(p, parent, name, inode, &copy);
	if (r < 0)
		return r;
	copy->uid = copy->gid = 0;
	touch(parent);
	return 0;
}

/* Is one of n's parents excluded in any way? For files named by themselves. */
static bool is_below_denied(const struct populate *p, const struct tree_node *n)
{
	for (n = n->parent; n; n = n->parent)
		if (denied_find(&p->denied, n))
			return true;
	return false;
}

/* The node that the current line copies. */
static int find_source(const struct populate *p, struct tree_node **out)
{
	const char *root = p->def->copy[0].source;
	const char *path = path_below(p->line->source, root);

	if (!path)
		return diag_set(p->d, -EINVAL,
		                "%s: CopyFiles=%s is not below %s, which stands for the source",
		                p->def->file, p->line->source, root);
	int r = tree_lookup(&p->source, path, out);
	if (r < 0)
		return diag_set_errno(p->d, r, "%s: CopyFiles=%s", p->def->file, p->line->source);
	return 0;
}

/* The root of the disk has mode, time and attributes of the first directory copied there; its
 * owner is the builder. */
static int set_root(const struct populate *p, bool *is_set, const struct tree_node *from)
{
	if (*is_set || strcmp(p->line->target, "/") != 0 || !S_ISDIR(from->mode))
		return 0;
	*is_set = true;
	return copy_access(p, from, p->to->root);
}

static int copy_line(struct populate *p)
{
	struct tree_node *n;
	bool is_off;
	int r = find_source(p, &n);

	if (r == 0)
		r = denied_list_set(&p->denied, p->defs, p->line, &p->source, &is_off, p->d);
	if (r < 0 || is_off)
		return r;
	for (size_t i = 0; i < p->shared_cnt; i++)
		p->shared[i].copy = NULL;
	if (S_ISDIR(n->mode))
		return copy_tree(p, n);
	return is_denied(p, n) || is_below_denied(p, n) ? 0 : copy_file(p, inode_of(n));
}

static int copy_lines(struct populate *p)
{
	bool root_is_set = false;
	int r = 0;

	for (size_t i = 0; i < p->def->copy_cnt && r == 0; i++) {
		struct tree_node *n;

		p->line = &p->def->copy[i];
		r = find_source(p, &n);
		if (r == 0)
			r = set_root(p, &root_is_set, n);
	}
	for (size_t i = 0; i < p->def->copy_cnt && r == 0; i++) {
		p->line = &p->def->copy[i];
		r = copy_line(p);
	}
	return r;
}

/* ---- the rest ---- */

static int make_dirs(const struct populate *p)
{
	struct tree_node *dir;
	int r = 0;

	for (size_t i = 0; i < p->def->make_dirs.cnt && r == 0; i++)
		r = make_path(p, "MakeDirectories", p->def->make_dirs.v[i], &dir);
	return r;
}

static int make_link(const struct populate *p, const struct definition_link *link)
{
	const char *slash = strrchr(link->path, '/');
	scoped_free char *parent = strndup(link->path, (size_t)(slash - link->path));
	struct tree_node *dir, *n;

	if (!parent)
		return no_memory(p);
	int r = tree_lookup(&p->target, parent, &dir);
	if (r == 0 && !S_ISDIR(dir->mode))
		r = -ENOTDIR;
	if (r == 0 && (slash[1] == '\0' || tree_child(dir, slash + 1, strlen(slash + 1))))
		r = -EEXIST;
	if (r < 0)
		return diag_set_errno(p->d, r, "%s: MakeSymlinks=%s:%s", p->def->file, link->path,
		                      link->target);
	r = make(p, dir, slash + 1, S_IFLNK | 0777, &n);
	return r < 0 ? r : tree_set_target(n, link->target, strlen(link->target), p->d);
}

static int make_links(const struct populate *p)
{
	int r = 0;

	for (size_t i = 0; i < p->def->make_link_cnt && r == 0; i++)
		r = make_link(p, &p->def->make_link[i]);
	return r;
}

/* Sets an attribute of the root to strings that each end with NUL; none: not set. */
static int set_strings(const struct populate *p, const char *name, const char *const *v, size_t cnt)
{
	scoped_free char *value = NULL;
	size_t len = 0;

	for (size_t i = 0; i < cnt; i++) {
		size_t this = strlen(v[i]) + 1;
		char *grown = realloc(value, len + this);

		if (!grown)
			return no_memory(p);
		value = grown;
		memcpy(value + len, v[i], this);
		len += this;
	}
	if (cnt == 0)
		return 0;
	int r = tree_add_xattr(p->to->root, name, value, len);
	return r < 0 ? diag_set_errno(p->d, r, "%s: attribute %s of the root", p->def->file, name)
	             : 0;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts, and drops repetitions; returns how many are left. */
static size_t sort_unique(const char **v, size_t cnt)
{
	size_t left = 0;

	qsort(v, cnt, sizeof(*v), compare_strings);
	for (size_t i = 0; i < cnt; i++)
		if (left == 0 || strcmp(v[i], v[left - 1]) != 0)
			v[left++] = v[i];
	return left;
}

/* All definitions are the data partition and its verity siblings (definitions.c sees to that). */
static int set_validation(const struct populate *p, const struct disk_identity *identity)
{
	const char *label[DEFINITIONS_MAX], *type[DEFINITIONS_MAX];
	char text[DEFINITIONS_MAX][UUID_TEXT_LEN];
	size_t cnt = p->defs->cnt;

	for (size_t i = 0; i < cnt; i++) {
		label[i] = identity->label[i];
		uuid_format(&p->defs->v[i].type, text[i]);
		type[i] = text[i];
	}
	int r = set_strings(p, "user.validatefs.gpt_label", label, sort_unique(label, cnt));
	if (r == 0)
		r = set_strings(p, "user.validatefs.gpt_type_uuid", type, sort_unique(type, cnt));
	if (r < 0)
		return r;

	const struct definition_strings *given = &p->def->mount_points;
	const char *const *path = gpt_mount_points(gpt_type_role(&p->def->type));
	size_t path_cnt = 0;
	if (given->cnt > 0)
		return set_strings(p, "user.validatefs.mount_point", (const char *const *)given->v,
		                   given->cnt);
	while (path[path_cnt])
		path_cnt++;
	return set_strings(p, "user.validatefs.mount_point", path, path_cnt);
}

int populate_tree(struct tree *t, const struct definitions *defs,
                  const struct disk_identity *identity, const struct compat *compat, struct diag *d)
{
	scoped(populate) struct populate p = {
		.from = t, .defs = defs, .def = &defs->v[defs->data], .d = d
	};

	assert(!t->node && p.def->copy_cnt > 0);
	if (tree_new(&p.to) < 0)
		return no_memory(&p);
	touch(p.to->root);
	p.source = (struct tree_lookup){ .root = t->root, .prefix = p.def->copy[0].source };
	p.target = (struct tree_lookup){ .root = p.to->root, .prefix = "/" };
	int r = find_shared(&p);
	if (r == 0)
		r = copy_lines(&p);
	if (r == 0)
		r = make_dirs(&p);
	if (r == 0)
		r = make_links(&p);
	if (r == 0 && compat->validatefs && p.def->add_validatefs != 0)
		r = set_validation(&p, identity);
	if (r < 0)
		return r;
	/* what was the source's goes away with p */
	struct tree made = *p.to;
	*p.to = *t;
	*t = made;
	return 0;
}
