/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would enter a disk. Decides how it is laid out for people and as JSON; what enters was
 * decided by source and plans.
 */
#include "listing.h"
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct excluded {
	char *path, *pattern;
};

struct listing {
	struct excluded *excluded;
	size_t cnt, cap;
	bool failed; /* out of memory; told by the texts */
};

int listing_new(struct listing **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->cnt; i++) {
		free(l->excluded[i].path);
		free(l->excluded[i].pattern);
	}
	free(l->excluded);
	free(l);
}

static bool reserve_one(struct listing *l)
{
	size_t cap = MAX(2 * l->cap, 64);
	struct excluded *grown;

	if (l->cnt < l->cap)
		return true;
	grown = realloc(l->excluded, cap * sizeof(*grown));
	if (!grown)
		return false;
	l->excluded = grown;
	l->cap = cap;
	return true;
}

void listing_exclude(void *ctx, const char *path, const char *pattern)
{
	struct listing *l = ctx;
	struct excluded *e;

	if (!reserve_one(l)) {
		l->failed = true;
		return;
	}
	e = &l->excluded[l->cnt++];
	*e = (struct excluded){ .path = strdup(path), .pattern = strdup(pattern) };
	l->failed = l->failed || !e->path || !e->pattern;
}

/* ---- what there is ---- */

/* LFS content counts as such wherever it comes from. */
static bool is_lfs(const struct tree_node *n)
{
	return n->content == TREE_CONTENT_LFS;
}

static bool is_entry(const struct tree_node *n)
{
	return !n->link && (S_ISREG(n->mode) || S_ISLNK(n->mode));
}

struct totals {
	uint64_t files, bytes, lfs_files, lfs_bytes;
};

static struct totals add_up(const struct tree *t)
{
	struct totals sum = { 0 }; /* bytes fit: the plan has placed them */

	for (uint32_t i = 0; i < t->node_cnt; i++) {
		const struct tree_node *n = t->node[i];

		if (!S_ISREG(n->mode) || n->link)
			continue;
		sum.files++;
		sum.bytes += n->size;
		sum.lfs_files += is_lfs(n);
		sum.lfs_bytes += is_lfs(n) ? n->size : 0;
	}
	return sum;
}

static const char *kind_of(const struct tree_node *n)
{
	if (S_ISLNK(n->mode))
		return "link";
	if (is_lfs(n))
		return "lfs";
	return n->content == TREE_CONTENT_BLOB ? "git" : "file";
}

/* ---- text ---- */

/* Text that grows; a failed allocation is told at the end. */
struct text {
	char *bytes;
	size_t len, cap;
	bool failed;
};

static bool reserve(struct text *t, size_t len)
{
	size_t cap = MAX(2 * t->cap, t->len + len + 1);
	char *grown;

	if (t->failed || t->cap - t->len > len)
		return !t->failed;
	grown = realloc(t->bytes, cap);
	t->failed = !grown;
	if (!grown)
		return false;
	t->bytes = grown;
	t->cap = cap;
	return true;
}

static void add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0 || !reserve(t, (size_t)len))
		return;
	va_start(args, fmt);
	t->len += (size_t)vsnprintf(t->bytes + t->len, t->cap - t->len, fmt, args);
	va_end(args);
}

static int end_text(const struct listing *l, struct text *t, char **out, struct diag *d)
{
	add(t, "%s", ""); /* an empty text is one, too */
	if (l->failed || t->failed) {
		free(t->bytes);
		return diag_set(d, -ENOMEM, "out of memory");
	}
	*out = t->bytes;
	return 0;
}

int listing_excluded_text(const struct listing *l, char **out, struct diag *d)
{
	struct text t = { 0 };
	char quoted[TEXT_QUOTE_LEN];

	for (size_t i = 0; !l->failed && i < l->cnt; i++) {
		const struct excluded *e = &l->excluded[i];

		add(&t, "%s\t%s\n", e->pattern,
		    text_quote(e->path, strlen(e->path), quoted, sizeof(quoted)));
	}
	return end_text(l, &t, out, d);
}

static void add_entry(struct text *t, const struct tree_node *n)
{
	char path[TREE_QUOTE_LEN], target[TEXT_QUOTE_LEN];

	add(t, "%15" PRIu64 "  %-4s  %s", n->size, kind_of(n),
	    tree_quote_path(n, path, sizeof(path)));
	if (n->target)
		add(t, " -> %s", text_quote(n->target, strlen(n->target), target, sizeof(target)));
	add(t, "\n");
}

static void add_excluded(struct text *t, const struct excluded *e)
{
	char path[TEXT_QUOTE_LEN], pattern[TEXT_QUOTE_LEN];

	add(t, "%15s  out   %s by %s\n", "-",
	    text_quote(e->path, strlen(e->path), path, sizeof(path)),
	    text_quote(e->pattern, strlen(e->pattern), pattern, sizeof(pattern)));
}

static void add_totals(struct text *t, const struct tree *tree, const struct disk_plan *disk)
{
	struct totals sum = add_up(tree);
	char size[SIZE_TEXT_LEN];

	add(t, "%15" PRIu64 "  in %" PRIu64 " files", sum.bytes, sum.files);
	size_format(sum.bytes, size);
	add(t, ", %s; %" PRIu64 " of them in Git LFS", size, sum.lfs_files);
	size_format(sum.lfs_bytes, size);
	add(t, ", %s\n", size);
	size_format(disk->disk_len, size);
	add(t, "%15" PRIu64 "  is what the disk needs, %s\n", disk->disk_len, size);
}

int listing_text(const struct listing *l, const struct tree *tree, const struct disk_plan *disk,
                 char **out, struct diag *d)
{
	struct text t = { 0 };

	for (uint32_t i = 0; i < tree->node_cnt; i++) {
		if (is_entry(tree->node[i]))
			add_entry(&t, tree->node[i]);
	}
	for (size_t i = 0; !l->failed && i < l->cnt; i++)
		add_excluded(&t, &l->excluded[i]);
	add_totals(&t, tree, disk);
	return end_text(l, &t, out, d);
}

/* ---- JSON ---- */

static void json_entry(struct json *j, const struct tree_node *n)
{
	size_t len = tree_path(n, NULL, 0);
	scoped_free char *path = malloc(len + 1);

	if (!path) {
		j->failed = true;
		return;
	}
	tree_path(n, path, len + 1);
	json_open(j, NULL, "{");
	json_name(j, "path", path);
	json_string(j, "kind", kind_of(n));
	if (n->target)
		json_name(j, "target", n->target);
	else
		json_u64(j, "size", n->size);
	if (is_lfs(n))
		json_hex(j, "lfs_oid", n->oid, sizeof(n->oid));
	json_close(j, "}");
}

static void json_totals(struct json *j, const struct tree *tree, const struct disk_plan *disk)
{
	struct totals sum = add_up(tree);

	json_u64(j, "file_count", sum.files);
	json_u64(j, "size", sum.bytes);
	json_u64(j, "lfs_count", sum.lfs_files);
	json_u64(j, "lfs_size", sum.lfs_bytes);
	json_u64(j, "filesystem_size", disk->image_len);
	json_u64(j, "tree_size", disk->geometry.tree_len);
	json_u64(j, "disk_size", disk->disk_len);
}

int listing_json(const struct listing *l, const struct tree *tree, const struct disk_plan *disk,
                 char **out, struct diag *d)
{
	struct json j = { .pretty = true, .failed = l->failed };

	json_open(&j, NULL, "{");
	json_open(&j, "files", "[");
	for (uint32_t i = 0; i < tree->node_cnt; i++) {
		if (is_entry(tree->node[i]))
			json_entry(&j, tree->node[i]);
	}
	json_close(&j, "]");
	json_open(&j, "excluded", "[");
	for (size_t i = 0; !l->failed && i < l->cnt; i++) {
		json_open(&j, NULL, "{");
		json_name(&j, "path", l->excluded[i].path);
		json_name(&j, "pattern", l->excluded[i].pattern);
		json_close(&j, "}");
	}
	json_close(&j, "]");
	json_totals(&j, tree, disk);
	json_close(&j, "}");
	return json_finish(&j, out, d);
}
