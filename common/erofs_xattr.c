/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of EROFS: the inode's own, the shared ones it points to, and the table of
 * long prefixes. The name filter is advice of the writer and is not used: what counts is what the
 * entries say.
 */
#include "erofs_int.h"

#include <errno.h>
#include <inttypes.h>

#define MAX_XATTR_NAME_LEN 255 /* as Linux has it */

static const char *const short_prefixes[] = {
	[0] = "",
	[1] = "user.",
	[2] = "system.posix_acl_access",
	[3] = "system.posix_acl_default",
	[4] = "trusted.",
	[6] = "security.",
};

static const char *short_prefix(uint8_t index)
{
	return index < ARRAY_LEN(short_prefixes) ? short_prefixes[index] : NULL;
}

struct xattr {
	size_t name_len;
	char name[MAX_XATTR_NAME_LEN + 1]; /* in full, NUL-terminated */
	uint64_t value_off;
	size_t value_len;
};

/* 0: go on; 1: enough; negative: fail. */
typedef int (*xattr_fn)(void *ctx, const struct xattr *x, struct diag *d);

static bool append(struct xattr *x, const void *bytes, size_t len)
{
	if (len > MAX_XATTR_NAME_LEN - x->name_len)
		return false;
	memcpy(x->name + x->name_len, bytes, len);
	x->name_len += len;
	x->name[x->name_len] = '\0';
	return true;
}

static int build_name(const struct erofs *fs, uint8_t index, const uint8_t *suffix, size_t len,
                      struct xattr *x, struct diag *d)
{
	const struct erofs_long_prefix *longer = NULL;
	const char *prefix;

	if (index & EROFS_XATTR_LONG_PREFIX) {
		size_t i = index & ~EROFS_XATTR_LONG_PREFIX;

		if (i >= fs->prefix_cnt)
			return diag_set(d, -EUCLEAN, "e_name_index is long prefix %zu of %zu", i,
			                fs->prefix_cnt);
		longer = &fs->prefixes[i];
	}
	prefix = short_prefix(longer ? longer->base_index : index);
	if (!prefix)
		return diag_set(d, -EUCLEAN, "e_name_index is %u: no such prefix", index);
	x->name_len = 0;
	if (!append(x, prefix, strlen(prefix)) ||
	    (longer && !append(x, longer->infix, longer->infix_len)) || !append(x, suffix, len))
		return diag_set(d, -EUCLEAN, "the name is longer than %u bytes",
		                MAX_XATTR_NAME_LEN);
	if (x->name_len == 0 || strlen(x->name) != x->name_len)
		return diag_set(d, -EUCLEAN, "the name is empty or has a NUL");
	return 0;
}

/* The entry at *off, which must end at or before end; moves *off behind it and its padding. */
static int read_entry(const struct erofs *fs, struct erofs_window *w, uint64_t *off, uint64_t end,
                      struct xattr *x, struct diag *d)
{
	struct erofs_xattr_entry_disk e;
	const uint8_t *bytes;
	int r;

	r = erofs_window_get(fs, w, *off, sizeof(e), end, &bytes, d);
	if (r)
		return r;
	memcpy(&e, bytes, sizeof(e));
	x->value_off = *off + sizeof(e) + e.name_len;
	x->value_len = le16_get(e.value_len);
	if (x->value_off > end || x->value_len > end - x->value_off)
		return diag_set(d, -EUCLEAN,
		                "an entry at %" PRIu64
		                " of %zu + %u + %zu bytes ends behind %" PRIu64,
		                *off, sizeof(e), e.name_len, x->value_len, end);
	r = erofs_window_get(fs, w, *off, sizeof(e) + e.name_len, end, &bytes, d);
	if (r)
		return r;
	*off = round_up(x->value_off + x->value_len, 4);
	return build_name(fs, e.name_index, bytes + sizeof(e), e.name_len, x, d);
}

static int each_shared(const struct erofs *fs, const struct erofs_inode *ino, unsigned cnt,
                       struct erofs_window *body, xattr_fn fn, void *ctx, struct diag *d)
{
	uint64_t ids_off = ino->xattr_off + sizeof(struct erofs_xattr_header_disk);
	struct erofs_window w = { 0 };
	struct xattr x;

	for (unsigned i = 0; i < cnt; i++) {
		const uint8_t *bytes;
		uint64_t off;
		le32 id;
		int r = erofs_window_get(fs, body, ids_off + i * sizeof(id), sizeof(id),
		                         ino->tail_off, &bytes, d);

		if (r)
			return r;
		memcpy(&id, bytes, sizeof(id));
		off = fs->xattr_off + UINT64_C(4) * le32_get(id);
		r = read_entry(fs, &w, &off, fs->image_len, &x, d);
		if (r)
			return diag_prefix(d, r, "shared xattr %" PRIu32, le32_get(id));
		r = fn(ctx, &x, d);
		if (r)
			return r;
	}
	return 0;
}

static int each_inline(const struct erofs *fs, uint64_t off, uint64_t end,
                       struct erofs_window *body, xattr_fn fn, void *ctx, struct diag *d)
{
	struct xattr x;

	while (off < end) {
		int r = read_entry(fs, body, &off, end, &x, d);

		if (r)
			return r;
		r = fn(ctx, &x, d);
		if (r)
			return r;
	}
	return 0;
}

static int each(const struct erofs *fs, const struct erofs_inode *ino, xattr_fn fn, void *ctx,
                struct diag *d)
{
	uint64_t end = ino->xattr_off + ino->xattr_len;
	struct erofs_xattr_header_disk head;
	struct erofs_window body = { 0 };
	const uint8_t *bytes;
	uint64_t head_len;
	int r;

	if (ino->xattr_len == 0)
		return 0;
	r = erofs_window_get(fs, &body, ino->xattr_off, sizeof(head), end, &bytes, d);
	if (r)
		return r;
	memcpy(&head, bytes, sizeof(head));
	head_len = sizeof(head) + UINT64_C(4) * head.shared_cnt;
	if (head_len > ino->xattr_len)
		return diag_set(d, -EUCLEAN, "h_shared_count is %u in a body of %" PRIu32 " bytes",
		                head.shared_cnt, ino->xattr_len);
	r = each_shared(fs, ino, head.shared_cnt, &body, fn, ctx, d);
	if (r)
		return r;
	return each_inline(fs, ino->xattr_off + head_len, end, &body, fn, ctx, d);
}

static int inode_prefix(const struct erofs_inode *ino, int r, struct diag *d)
{
	return diag_prefix(d, r, "EROFS inode %" PRIu64 ": xattrs", ino->nid);
}

struct get_query {
	const struct erofs *fs;
	const char *name;
	void *buf;
	size_t len;
	int result;
};

static int get_one(void *ctx, const struct xattr *x, struct diag *d)
{
	struct get_query *q = ctx;

	if (strcmp(x->name, q->name) != 0)
		return 0;
	q->result = (int)x->value_len;
	if (!q->buf || q->len == 0)
		return 1;
	if (x->value_len > q->len) {
		q->result = diag_set(d, -ERANGE, "a value of %zu bytes does not fit into %zu",
		                     x->value_len, q->len);
		return 1;
	}
	int r = erofs_read_at(q->fs, x->value_off, q->buf, x->value_len, d);

	return r ? r : 1;
}

int erofs_getxattr(const struct erofs *fs, const struct erofs_inode *ino, const char *name,
                   void *buf, size_t len, struct diag *d)
{
	struct get_query q = { .fs = fs, .name = name, .buf = buf, .len = len };
	int r;

	q.result = diag_set(d, -ENODATA, "no such attribute");
	r = each(fs, ino, get_one, &q, d);
	if (r >= 0)
		r = q.result;
	return r < 0 ? inode_prefix(ino, r, d) : r;
}

struct list_query {
	char *buf;
	size_t len, used;
};

static int list_one(void *ctx, const struct xattr *x, struct diag *d)
{
	struct list_query *q = ctx;
	size_t need = x->name_len + 1;

	if (q->buf && q->len > 0) {
		if (need > q->len - q->used)
			return diag_set(d, -ERANGE, "the names do not fit into %zu bytes", q->len);
		memcpy(q->buf + q->used, x->name, need);
	}
	q->used += need;
	return 0;
}

int erofs_listxattr(const struct erofs *fs, const struct erofs_inode *ino, char *buf, size_t len,
                    struct diag *d)
{
	struct list_query q = { .buf = buf, .len = len };
	int r = each(fs, ino, list_one, &q, d);

	return r < 0 ? inode_prefix(ino, r, d) : (int)q.used;
}

static int load_prefix(const struct erofs *fs, struct erofs_window *w, uint64_t *off,
                       struct erofs_long_prefix *out, struct diag *d)
{
	struct erofs_long_prefix_disk head;
	const uint8_t *bytes;
	size_t len;
	int r = erofs_window_get(fs, w, *off, sizeof(head), fs->image_len, &bytes, d);

	if (r)
		return r;
	memcpy(&head, bytes, sizeof(head));
	len = le16_get(head.len);
	if (len < sizeof(head.base_index) || len - sizeof(head.base_index) > sizeof(out->infix))
		return diag_set(d, -EUCLEAN, "length is %zu, not 1 to %zu", len,
		                sizeof(out->infix) + 1);
	if (!short_prefix(head.base_index))
		return diag_set(d, -EUCLEAN, "base index is %u: no such prefix", head.base_index);
	r = erofs_window_get(fs, w, *off, sizeof(head.len) + len, fs->image_len, &bytes, d);
	if (r)
		return r;
	out->base_index = head.base_index;
	out->infix_len = (uint8_t)(len - sizeof(head.base_index));
	memcpy(out->infix, bytes + sizeof(head), out->infix_len);
	*off = round_up(*off + sizeof(head.len) + len, 4);
	return 0;
}

int erofs_prefixes_load(struct erofs *fs, uint64_t off, struct diag *d)
{
	struct erofs_window w = { 0 };

	if (fs->prefix_cnt == 0)
		return 0;
	fs->prefixes = calloc(fs->prefix_cnt, sizeof(*fs->prefixes));
	if (!fs->prefixes)
		return diag_set_errno(d, -ENOMEM, "cannot hold the long xattr prefixes");
	for (size_t i = 0; i < fs->prefix_cnt; i++) {
		int r = load_prefix(fs, &w, &off, &fs->prefixes[i], d);

		if (r)
			return diag_prefix(d, r, "EROFS long xattr prefix %zu", i);
	}
	return 0;
}
