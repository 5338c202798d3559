/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's memory, its legal names, its order, and which of several hard links is the inode. What
 * the nodes mean is left to those who fill them in. Nothing here recurses: a tree may be as deep as
 * TREE_MAX_DEPTH.
 */
#include "tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "text.h"

#define TREE_MAX_NAME       255
#define TREE_MAX_TARGET     4095
#define TREE_MAX_XATTR_NAME 255
#define NOT_NUMBERED        UINT32_MAX

static bool is_dir(const struct tree_node *n)
{
	return S_ISDIR(n->mode);
}

/* The first len bytes as a string of its own. */
static char *copy_text(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

static struct tree_node *node_new(const char *name, size_t name_len, uint16_t mode)
{
	scoped_free struct tree_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->name = copy_text(name, name_len);
	if (!n->name)
		return NULL;
	n->name_len = (uint16_t)name_len;
	n->mode = mode;
	n->index = NOT_NUMBERED;
	return take_ptr(n);
}

/* Back to no inode: nothing but the name, the place and the type are left. */
static void clear_inode(struct tree_node *n)
{
	for (uint32_t i = 0; i < n->xattr_cnt; i++) {
		free(n->xattr[i].name);
		free(n->xattr[i].value);
	}
	free(n->xattr);
	free(n->target);
	free(n->source_path);
	n->xattr = NULL;
	n->xattr_cnt = 0;
	n->target = NULL;
	n->source_path = NULL;
	n->uid = n->gid = n->rdev_major = n->rdev_minor = n->mtime_ns = 0;
	n->mtime_s = 0;
	n->size = 0;
	n->content = TREE_CONTENT_NONE;
	memset(n->oid, 0, sizeof(n->oid));
}

static void node_free(struct tree_node *n)
{
	clear_inode(n);
	free(n->child);
	free(n->name);
	free(n);
}

int tree_new(struct tree **out)
{
	scoped(tree) struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->root = node_new("", 0, S_IFDIR | 0755);
	if (!t->root)
		return -ENOMEM;
	t->node_cnt = 1;
	*out = take_ptr(t);
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (struct tree_node *n = t->root; n;) {
		uint32_t left = n->child_cnt + n->removed_cnt;

		if (left > 0) {
			/* down; the parent forgets the child before it is freed */
			if (n->removed_cnt > 0)
				n->removed_cnt--;
			else
				n->child_cnt--;
			n = n->child[left - 1];
		} else {
			struct tree_node *up = n->parent;

			node_free(n);
			n = up;
		}
	}
	free(t->node);
	free(t);
}

/* One more slot in dir's array. Behind the living children lie the removed ones, so that removing
 * never needs memory. */
static int children_reserve(struct tree_node *dir)
{
	uint32_t used = dir->child_cnt + dir->removed_cnt;
	uint32_t cap = dir->child_cap > 0 ? dir->child_cap * 2 : 4;

	if (used < dir->child_cap)
		return 0;
	/* TREE_MAX_NODES bounds cap far below 2^32 */
	struct tree_node **child = realloc(dir->child, cap * sizeof(struct tree_node *));
	if (!child)
		return -ENOMEM;
	dir->child = child;
	dir->child_cap = cap;
	return 0;
}

/* Needs a slot from children_reserve(). */
static void children_append(struct tree_node *dir, struct tree_node *n)
{
	dir->child[dir->child_cnt + dir->removed_cnt] = dir->child[dir->child_cnt];
	dir->child[dir->child_cnt++] = n;
	n->parent = dir;
	n->depth = (uint16_t)(dir->depth + 1);
}

/* Moves n to the last of the living slots and gives that up: child[child_cnt] is n afterwards. */
static void children_set_aside(struct tree_node *dir, struct tree_node *n)
{
	uint32_t i = dir->child_cnt;

	/* from the end: the usual loop that removes runs backwards */
	while (i > 0 && dir->child[i - 1] != n)
		i--;
	assert(i > 0);
	dir->child[i - 1] = dir->child[--dir->child_cnt];
	dir->child[dir->child_cnt] = n;
}

static bool name_is_legal(const char *name, size_t len)
{
	if (len == 0 || len > TREE_MAX_NAME)
		return false;
	if (memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

/* Could a node called name hang in dir? */
static int check_place(const struct tree_node *dir, const char *name, size_t name_len,
                       uint32_t depth, struct diag *d)
{
	char where[TREE_QUOTE_LEN], what[TEXT_QUOTE_LEN];

	assert(is_dir(dir) && !dir->link);
	if (!name_is_legal(name, name_len))
		return diag_set(d, -EUCLEAN, "directory %s: %s (%zu bytes) is no legal file name",
		                tree_quote_path(dir, where, sizeof(where)),
		                text_quote(name, name_len, what, sizeof(what)), name_len);
	if (depth > TREE_MAX_DEPTH)
		return diag_set(d, -EUCLEAN, "directory %s: nested deeper than %d levels",
		                tree_quote_path(dir, where, sizeof(where)), TREE_MAX_DEPTH);
	return 0;
}

int tree_add(struct tree *t, struct tree_node *dir, const char *name, size_t name_len,
             uint16_t mode, struct tree_node **out, struct diag *d)
{
	int r = check_place(dir, name, name_len, dir->depth + 1U, d);

	assert(!t->node);
	if (r < 0)
		return r;
	if (t->node_cnt >= TREE_MAX_NODES)
		return diag_set(d, -EUCLEAN, "more than %" PRIu32 " files and directories",
		                TREE_MAX_NODES);
	struct tree_node *n = NULL;
	r = children_reserve(dir);
	if (r == 0) {
		n = node_new(name, name_len, mode);
		r = n ? 0 : -ENOMEM;
	}
	if (r < 0)
		return diag_set(d, r, "out of memory for the file tree after %" PRIu32 " entries",
		                t->node_cnt);
	children_append(dir, n);
	t->node_cnt++;
	*out = n;
	return 0;
}

int tree_set_target(struct tree_node *n, const char *target, size_t len, struct diag *d)
{
	char where[TREE_QUOTE_LEN];

	assert(S_ISLNK(n->mode));
	if (len == 0 || len > TREE_MAX_TARGET || memchr(target, '\0', len))
		return diag_set(
		        d, -EUCLEAN,
		        "symbolic link %s: a target of %zu bytes%s, not 1 to %d without NUL",
		        tree_quote_path(n, where, sizeof(where)), len,
		        memchr(target, '\0', len) ? " with a NUL byte" : "", TREE_MAX_TARGET);
	char *copy = copy_text(target, len);
	if (!copy)
		return diag_set(d, -ENOMEM, "symbolic link %s: out of memory",
		                tree_quote_path(n, where, sizeof(where)));
	free(n->target);
	n->target = copy;
	n->size = len;
	return 0;
}

static struct tree_xattr *find_xattr(const struct tree_node *n, const char *name)
{
	for (uint32_t i = 0; i < n->xattr_cnt; i++)
		if (strcmp(n->xattr[i].name, name) == 0)
			return &n->xattr[i];
	return NULL;
}

int tree_add_xattr(struct tree_node *n, const char *name, const void *value, size_t value_len)
{
	size_t name_len = strnlen(name, TREE_MAX_XATTR_NAME + 1);

	if (name_len == 0 || name_len > TREE_MAX_XATTR_NAME)
		return -ERANGE;
	if (value_len > TREE_MAX_XATTR_VALUE)
		return -E2BIG;
	scoped_free uint8_t *value_copy = malloc(MAX(value_len, (size_t)1));
	scoped_free char *name_copy = copy_text(name, name_len);
	if (!value_copy || !name_copy)
		return -ENOMEM;
	if (value_len > 0)
		memcpy(value_copy, value, value_len);

	struct tree_xattr *x = find_xattr(n, name);
	if (x) {
		free(x->value);
	} else {
		if (is_power_of_two(n->xattr_cnt) || n->xattr_cnt == 0) {
			size_t cap = n->xattr_cnt > 0 ? n->xattr_cnt * (size_t)2 : 1;
			struct tree_xattr *grown = realloc(n->xattr, cap * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			n->xattr = grown;
		}
		x = &n->xattr[n->xattr_cnt++];
		x->name = take_ptr(name_copy);
	}
	x->value = take_ptr(value_copy);
	x->value_len = value_len;
	return 0;
}

struct tree_node *tree_child(const struct tree_node *dir, const char *name, size_t name_len)
{
	for (uint32_t i = 0; i < dir->child_cnt; i++) {
		struct tree_node *n = dir->child[i];

		if (n->name_len == name_len && memcmp(n->name, name, name_len) == 0)
			return n;
	}
	return NULL;
}

void tree_remove(struct tree *t, struct tree_node *n)
{
	assert(!t->node && n != t->root);
	children_set_aside(n->parent, n);
	n->parent->removed_cnt++;
}

/*
 * The node after n in a walk over top and everything below it, removed nodes too, parents first;
 * NULL at the end. Keeps its place in index, which has no other use before tree_finish(); so a walk
 * must not be left early.
 */
static struct tree_node *walk_next(const struct tree_node *top, struct tree_node *n)
{
	n->index = 0;
	while (n->index == n->child_cnt + n->removed_cnt) {
		n->index = NOT_NUMBERED;
		if (n == top)
			return NULL;
		n = n->parent;
	}
	return n->child[n->index++];
}

/* Makes n findable wherever it hangs. */
static int keep_source_path(struct tree_node *n)
{
	if (n->content != TREE_CONTENT_PATH || n->source_path)
		return 0;
	size_t len = tree_path(n, NULL, 0);
	n->source_path = malloc(len + 1);
	if (!n->source_path)
		return -ENOMEM;
	tree_path(n, n->source_path, len + 1);
	return 0;
}

static bool is_at_or_below(const struct tree_node *n, const struct tree_node *top)
{
	while (n && n != top)
		n = n->parent;
	return n != NULL;
}

int tree_move(struct tree *t, struct tree_node *n, struct tree_node *dir, const char *name,
              size_t name_len, struct diag *d)
{
	char where[TREE_QUOTE_LEN];
	uint32_t deepest = n->depth;
	int r = 0;

	assert(!t->node && n != t->root);
	if (is_at_or_below(dir, n))
		return diag_set(d, -EINVAL, "cannot move %s into itself",
		                tree_quote_path(n, where, sizeof(where)));
	for (struct tree_node *i = n; i; i = walk_next(n, i)) {
		deepest = MAX(deepest, (uint32_t)i->depth);
		if (r == 0)
			r = keep_source_path(i);
	}
	if (r == 0)
		r = check_place(dir, name, name_len, dir->depth + 1U + (deepest - n->depth), d);
	if (r == -EUCLEAN)
		return r;
	if (r == 0)
		r = children_reserve(dir);
	scoped_free char *copy = r == 0 ? copy_text(name, name_len) : NULL;
	if (!copy)
		return diag_set(d, -ENOMEM, "out of memory moving %s",
		                tree_quote_path(n, where, sizeof(where)));

	struct tree_node *from = n->parent;
	children_set_aside(from, n);
	/* the last removed child closes the gap */
	from->child[from->child_cnt] = from->child[from->child_cnt + from->removed_cnt];
	free(n->name);
	n->name = take_ptr(copy);
	n->name_len = (uint16_t)name_len;
	children_append(dir, n);
	for (struct tree_node *i = n; i; i = walk_next(n, i))
		i->depth = (uint16_t)(i->parent->depth + 1);
	return 0;
}

int tree_compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, MIN(a_len, b_len));

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_nodes(const void *a, const void *b)
{
	const struct tree_node *x = *(struct tree_node *const *)a;
	const struct tree_node *y = *(struct tree_node *const *)b;

	return tree_compare_names(x->name, x->name_len, y->name, y->name_len);
}

static int sort_children(struct tree_node *dir, struct diag *d)
{
	if (dir->child_cnt == 0)
		return 0;
	qsort(dir->child, dir->child_cnt, sizeof(struct tree_node *), compare_nodes);
	for (uint32_t i = 1; i < dir->child_cnt; i++) {
		char where[TREE_QUOTE_LEN];

		if (compare_nodes(&dir->child[i - 1], &dir->child[i]) == 0)
			return diag_set(d, -EUCLEAN, "two entries called %s",
			                tree_quote_path(dir->child[i], where, sizeof(where)));
	}
	return 0;
}

/*
 * Fills node[] in pre-order from the front. The nodes still to be visited are a stack that grows
 * down from the back of the same array: there are never more of both than nodes.
 */
static int number_nodes(struct tree *t, struct tree_node **node, struct diag *d)
{
	uint32_t cnt = 0, top = t->node_cnt;

	node[--top] = t->root;
	while (top < t->node_cnt) {
		struct tree_node *n = node[top++];
		int r = sort_children(n, d);

		if (r < 0)
			return r;
		n->index = cnt;
		node[cnt++] = n;
		for (uint32_t i = n->child_cnt; i > 0; i--)
			node[--top] = n->child[i - 1];
	}
	t->node_cnt = cnt;
	return 0;
}

/* Is a the same name as b or before it in plan order? Both numbered, none the root. */
static bool is_not_after(const struct tree_node *a, const struct tree_node *b)
{
	if (a->parent != b->parent)
		return a->parent->index < b->parent->index;
	return a->index <= b->index;
}

/* The end of n's chain of links; every link on the way then leads there directly. */
static struct tree_node *find_carrier(struct tree_node *n)
{
	struct tree_node *end = n;

	while (end->link)
		end = end->link;
	while (n != end) {
		struct tree_node *next = n->link;

		n->link = end;
		n = next;
	}
	return end;
}

/* to becomes the inode that from was, from a link to it. Names stay. */
static int move_inode(struct tree_node *from, struct tree_node *to)
{
	int r = keep_source_path(from);

	if (r < 0)
		return r;
	clear_inode(to);
	to->target = take_ptr(from->target);
	to->source_path = take_ptr(from->source_path);
	to->xattr = take_ptr(from->xattr);
	to->xattr_cnt = from->xattr_cnt;
	from->xattr_cnt = 0;
	to->uid = from->uid;
	to->gid = from->gid;
	to->rdev_major = from->rdev_major;
	to->rdev_minor = from->rdev_minor;
	to->mtime_ns = from->mtime_ns;
	to->mtime_s = from->mtime_s;
	to->size = from->size;
	to->mode = from->mode;
	to->content = from->content;
	memcpy(to->oid, from->oid, sizeof(to->oid));
	to->link = NULL;
	from->link = to;
	clear_inode(from);
	return 0;
}

static int resolve_link(struct tree_node *n, struct diag *d)
{
	char where[TREE_QUOTE_LEN];
	struct tree_node *carrier = find_carrier(n);

	if (is_dir(carrier) || (n->mode & S_IFMT) != (carrier->mode & S_IFMT))
		return diag_set(d, -EUCLEAN, "%s is a hard link to %s",
		                tree_quote_path(n, where, sizeof(where)),
		                is_dir(carrier) ? "a directory" : "a file of another type");
	if (carrier->index != NOT_NUMBERED && is_not_after(carrier, n)) {
		clear_inode(n);
		return 0;
	}
	if (move_inode(carrier, n) < 0)
		return diag_set(d, -ENOMEM, "out of memory for the file tree's hard links");
	return 0;
}

/* Visiting in plan order makes the first living name of each group its carrier. */
static int resolve_links(struct tree *t, struct tree_node *const *node, struct diag *d)
{
	for (uint32_t i = 0; i < t->node_cnt; i++)
		for (uint32_t k = 0; k < node[i]->child_cnt; k++) {
			int r = node[i]->child[k]->link ? resolve_link(node[i]->child[k], d) : 0;

			if (r < 0)
				return r;
		}
	return 0;
}

int tree_finish(struct tree *t, struct diag *d)
{
	assert(!t->node);
	scoped_free struct tree_node **node = malloc(t->node_cnt * sizeof(struct tree_node *));
	if (!node)
		return diag_set(d, -ENOMEM, "out of memory for a file tree of %" PRIu32 " entries",
		                t->node_cnt);
	int r = number_nodes(t, node, d);
	if (r == 0)
		r = resolve_links(t, node, d);
	if (r < 0)
		return r;
	t->node = take_ptr(node);
	return 0;
}

size_t tree_path(const struct tree_node *n, char *out, size_t out_len)
{
	size_t len = 0;

	for (const struct tree_node *i = n; i->parent; i = i->parent)
		len += i->name_len + (size_t)(i->parent->parent != NULL);
	if (out_len == 0)
		return len;
	/* from the back; what lies behind the end of out is dropped */
	size_t room = out_len - 1, end = len;
	for (const struct tree_node *i = n; i->parent; i = i->parent) {
		end -= i->name_len;
		if (end < room)
			memcpy(out + end, i->name, MIN((size_t)i->name_len, room - end));
		if (i->parent->parent && --end < room)
			out[end] = '/';
	}
	out[MIN(len, room)] = '\0';
	return len;
}

const char *tree_quote_path(const struct tree_node *n, char *out, size_t out_len)
{
	/* A path longer than this is longer than out, so text_quote() sees enough to cut it. */
	char path[TREE_QUOTE_LEN];
	size_t len = tree_path(n, path, sizeof(path));

	return text_quote(path, MIN(len, sizeof(path) - 1), out, MIN(out_len, sizeof(path)));
}
