/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts (name, value) pairs over the whole tree, shares those that occur often, and encodes. Pairs
 * are counted by sorting references to them, so no input makes it slow. Where the shared entries
 * lie is erofs_plan.c's decision.
 */
#include "erofs_xattr.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "erofs_disk.h"

#define BLOCK_LEN       4096U
#define SHARE_FROM_CNT  3 /* paths with the same pair: mkfs.erofs' inline tolerance of 2 */
#define MAX_SHARED_IDS  255
#define FILTER_SEED     UINT32_C(0x25BBE08F)
#define WHITEOUT_PARENT "trusted.overlay.origin"
#define NOT_SHARED      SIZE_MAX

struct shared_pair {
	const struct tree_xattr *xattr;
	uint64_t off; /* in the shared entries */
};

struct erofs_xattrs {
	struct erofs_xattrs_options opt;
	struct shared_pair *pair; /* sorted */
	size_t pair_cnt;
	uint8_t *shared;
	uint64_t shared_len, shared_off;
};

static const struct {
	const char *prefix;
	uint8_t index;
} prefixes[] = {
	{ "user.", 1 },
	{ "system.posix_acl_access", 2 },
	{ "system.posix_acl_default", 3 },
	{ "trusted.", 4 },
	{ "security.", 6 },
};

/* What an entry says instead of the full name. */
static const char *split_name(const char *name, uint8_t *index)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t len = strlen(prefixes[i].prefix);

		if (strncmp(name, prefixes[i].prefix, len) == 0) {
			*index = prefixes[i].index;
			return name + len;
		}
	}
	*index = 0;
	return name;
}

/* By name, then by value, a shorter one before its continuation. */
static int compare_pairs(const struct tree_xattr *a, const struct tree_xattr *b)
{
	int order = strcmp(a->name, b->name);

	if (order == 0)
		order = memcmp(a->value, b->value, MIN(a->value_len, b->value_len));
	return order != 0 ? order : (a->value_len > b->value_len) - (a->value_len < b->value_len);
}

static int compare_refs(const void *a, const void *b)
{
	return compare_pairs(*(const struct tree_xattr *const *)a,
	                     *(const struct tree_xattr *const *)b);
}

static uint32_t entry_len(const struct tree_xattr *a)
{
	uint8_t index;
	const char *rest = split_name(a->name, &index);

	return (uint32_t)round_up(
	        sizeof(struct erofs_xattr_entry_disk) + strlen(rest) + a->value_len, 4);
}

/* out has entry_len() bytes and is zero. */
static void write_entry(const struct tree_xattr *a, uint8_t *out)
{
	struct erofs_xattr_entry_disk disk;
	const char *rest = split_name(a->name, &disk.name_index);
	size_t rest_len = strlen(rest);

	disk.name_len = (uint8_t)rest_len;
	disk.value_len = le16_of((uint16_t)a->value_len);
	memcpy(out, &disk, sizeof(disk));
	memcpy(out + sizeof(disk), rest, rest_len);
	if (a->value_len > 0)
		memcpy(out + sizeof(disk) + rest_len, a->value, a->value_len);
}

static const struct tree_node *inode_of(const struct tree_node *n)
{
	return n->link ? n->link : n;
}

/* References to the attributes of all paths below the root: a hard link counts again. */
static int collect(const struct tree *t, const struct tree_xattr ***out, size_t *out_cnt)
{
	size_t cnt = 0, i = 0;

	for (uint32_t k = 1; k < t->node_cnt; k++)
		cnt += inode_of(t->node[k])->xattr_cnt;
	*out_cnt = cnt;
	*out = NULL;
	if (cnt == 0)
		return 0;
	*out = malloc(cnt * sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (uint32_t k = 1; k < t->node_cnt; k++) {
		const struct tree_node *n = inode_of(t->node[k]);

		for (uint32_t a = 0; a < n->xattr_cnt; a++)
			(*out)[i++] = &n->xattr[a];
	}
	return 0;
}

/* Moves one of each pair that is to be shared to the front; their number. ref is sorted. */
static size_t keep_frequent(const struct tree_xattr **ref, size_t cnt)
{
	size_t kept = 0, same;

	for (size_t i = 0; i < cnt; i += same) {
		for (same = 1; i + same < cnt; same++)
			if (compare_pairs(ref[i], ref[i + same]) != 0)
				break;
		if (same >= SHARE_FROM_CNT)
			ref[kept++] = ref[i];
	}
	return kept;
}

static int make_shared(struct erofs_xattrs *x, const struct tree_xattr *const *ref, size_t cnt)
{
	x->pair = calloc(cnt, sizeof(*x->pair));
	if (!x->pair)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		x->pair[i] = (struct shared_pair){ ref[i], x->shared_len };
		x->shared_len += entry_len(ref[i]);
	}
	x->pair_cnt = cnt;
	x->shared = calloc(1, x->shared_len);
	if (!x->shared)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++)
		write_entry(x->pair[i].xattr, x->shared + x->pair[i].off);
	return 0;
}

static int find_shared(struct erofs_xattrs *x, const struct tree *t)
{
	scoped_free const struct tree_xattr **ref = NULL;
	size_t cnt;
	int r = collect(t, &ref, &cnt);

	if (r < 0 || cnt == 0)
		return r;
	qsort(ref, cnt, sizeof(*ref), compare_refs);
	cnt = keep_frequent(ref, cnt);
	return cnt > 0 ? make_shared(x, ref, cnt) : 0;
}

int erofs_xattrs_new(const struct tree *t, const struct erofs_xattrs_options *opt,
                     struct erofs_xattrs **out, struct diag *d)
{
	scoped(erofs_xattrs) struct erofs_xattrs *x = calloc(1, sizeof(*x));

	if (x)
		x->opt = *opt;
	if (!x || (opt->keep && find_shared(x, t) < 0))
		return diag_set(d, -ENOMEM, "out of memory for shared extended attributes");
	*out = take_ptr(x);
	return 0;
}

void erofs_xattrs_free(struct erofs_xattrs *x)
{
	if (!x)
		return;
	free(x->pair);
	free(x->shared);
	free(x);
}

const uint8_t *erofs_xattrs_shared(const struct erofs_xattrs *x, uint64_t *len)
{
	*len = x->shared_len;
	return x->shared;
}

void erofs_xattrs_place(struct erofs_xattrs *x, uint64_t off)
{
	assert(off % 4 == 0);
	x->shared_off = off;
}

uint64_t erofs_xattrs_off(const struct erofs_xattrs *x)
{
	return x->shared_off;
}

static size_t find_pair(const struct erofs_xattrs *x, const struct tree_xattr *a)
{
	size_t low = 0, high = x->pair_cnt;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare_pairs(a, x->pair[mid].xattr);

		if (order == 0)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NOT_SHARED;
}

/* overlayfs marks a deleted file by a character device 0:0, and looks for it only in directories
 * with an origin. */
static bool holds_whiteout(const struct tree_node *dir)
{
	for (uint32_t i = 0; i < dir->child_cnt; i++) {
		const struct tree_node *n = inode_of(dir->child[i]);

		if (S_ISCHR(n->mode) && n->rdev_major == 0 && n->rdev_minor == 0)
			return true;
	}
	return false;
}

/* The attributes of one inode, and for each its shared pair. */
struct list {
	const struct tree_xattr **xattr;
	size_t *pair;
	size_t cnt;
};

static void list_free(struct list l)
{
	free(l.xattr);
	free(l.pair);
}
DEFINE_SCOPED(list, struct list, list_free)

static const struct tree_xattr whiteout_parent = { .name = (char[]){ WHITEOUT_PARENT },
	                                           .value = (uint8_t[]){ 0 } };

/* Shared entries by id: at most MAX_SHARED_IDS, the others become the inode's own. */
static void limit_ids(struct list *l, bool from_the_end)
{
	size_t ids = 0;

	for (size_t k = 0; k < l->cnt; k++) {
		size_t i = from_the_end ? l->cnt - 1 - k : k;

		if (l->pair[i] != NOT_SHARED && ++ids > MAX_SHARED_IDS)
			l->pair[i] = NOT_SHARED;
	}
}

static int make_list(const struct erofs_xattrs *x, const struct tree_node *n, struct list *l)
{
	bool whiteout = S_ISDIR(n->mode) && holds_whiteout(n);
	size_t own_cnt = x->opt.keep ? n->xattr_cnt : 0, cnt = own_cnt + whiteout;

	if (cnt == 0)
		return 0;
	l->xattr = malloc(cnt * sizeof(*l->xattr));
	l->pair = malloc(cnt * sizeof(*l->pair));
	if (!l->xattr || !l->pair)
		return -ENOMEM;
	for (size_t i = 0; i < own_cnt; i++)
		l->xattr[i] = &n->xattr[i];
	if (whiteout)
		l->xattr[own_cnt] = &whiteout_parent;
	l->cnt = cnt;
	if (!x->opt.list_order)
		qsort(l->xattr, cnt, sizeof(*l->xattr), compare_refs);
	for (size_t i = 0; i < cnt; i++)
		l->pair[i] = find_pair(x, l->xattr[i]);
	limit_ids(l, x->opt.list_order);
	return 0;
}

static uint32_t rotate_left(uint32_t v, unsigned int by)
{
	return v << by | v >> (32 - by);
}

/* xxHash, 32 bits (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md). */
static uint32_t xxh32(const char *name, size_t len, uint32_t seed)
{
	static const uint32_t prime[] = { 0,           2654435761U, 2246822519U,
		                          3266489917U, 668265263U,  374761393U };
	const uint8_t *p = (const uint8_t *)name, *end = p + len;
	uint32_t h = seed + prime[5];

	if (len >= 16) {
		uint32_t lane[4] = { seed + prime[1] + prime[2], seed + prime[2], seed,
			             seed - prime[1] };

		for (; end - p >= 16; p += 16)
			for (size_t i = 0; i < 4; i++) {
				le32 word;

				memcpy(&word, p + 4 * i, sizeof(word));
				lane[i] += le32_get(word) * prime[2];
				lane[i] = rotate_left(lane[i], 13) * prime[1];
			}
		h = rotate_left(lane[0], 1) + rotate_left(lane[1], 7) + rotate_left(lane[2], 12) +
		    rotate_left(lane[3], 18);
	}
	h += (uint32_t)len;
	for (; end - p >= 4; p += 4) {
		le32 word;

		memcpy(&word, p, sizeof(word));
		h = rotate_left(h + le32_get(word) * prime[3], 17) * prime[4];
	}
	for (; p < end; p++)
		h = rotate_left(h + *p * prime[5], 11) * prime[1];
	h = (h ^ h >> 15) * prime[2];
	h = (h ^ h >> 13) * prime[3];
	return h ^ h >> 16;
}

/* A bit that is clear for every attribute of the inode lets a reader skip names that are not. */
static uint32_t name_filter(const struct list *l)
{
	uint32_t filter = UINT32_MAX;

	for (size_t i = 0; i < l->cnt; i++) {
		uint8_t index;
		const char *rest = split_name(l->xattr[i]->name, &index);

		filter &= ~(UINT32_C(1) << (xxh32(rest, strlen(rest), FILTER_SEED + index) & 31));
	}
	return filter;
}

static uint64_t body_len(const struct list *l, uint32_t *id_cnt)
{
	uint64_t len = sizeof(struct erofs_xattr_header_disk);

	*id_cnt = 0;
	for (size_t i = 0; i < l->cnt; i++) {
		bool shared = l->pair[i] != NOT_SHARED;

		*id_cnt += shared;
		len += shared ? sizeof(le32) : entry_len(l->xattr[i]);
	}
	return len;
}

static void write_body(const struct erofs_xattrs *x, const struct list *l, uint32_t id_cnt,
                       struct erofs_xattr_body *body)
{
	struct erofs_xattr_header_disk head = { .name_filter = le32_of(body->name_filter),
		                                .shared_cnt = (uint8_t)id_cnt };
	uint8_t *id_at = body->bytes + sizeof(head);
	uint8_t *entry_at = id_at + id_cnt * sizeof(le32);

	memcpy(body->bytes, &head, sizeof(head));
	for (size_t i = 0; i < l->cnt; i++) {
		if (l->pair[i] == NOT_SHARED) {
			write_entry(l->xattr[i], entry_at);
			entry_at += entry_len(l->xattr[i]);
		}
		/* in list order the ids stand the other way round */
		size_t k = x->opt.list_order ? l->cnt - 1 - i : i;
		if (l->pair[k] != NOT_SHARED) {
			uint64_t off = x->shared_off % BLOCK_LEN + x->pair[l->pair[k]].off;
			le32 id = le32_of((uint32_t)(off / 4));

			memcpy(id_at, &id, sizeof(id));
			id_at += sizeof(id);
		}
	}
}

int erofs_xattrs_body(const struct erofs_xattrs *x, const struct tree_node *n,
                      struct erofs_xattr_body *out, struct diag *d)
{
	scoped(list) struct list l = { 0 };
	struct erofs_xattr_body body = { 0 };
	char where[TREE_QUOTE_LEN];
	uint32_t id_cnt;
	int r = make_list(x, n, &l);

	assert(!n->link);
	if (r == 0 && l.cnt > 0) {
		uint64_t len = body_len(&l, &id_cnt);

		if (len > EROFS_XATTR_MAX_BODY)
			return diag_set(d, -EOPNOTSUPP,
			                "%s: %" PRIu64
			                " bytes of extended attributes, EROFS has room for %d",
			                tree_quote_path(n, where, sizeof(where)), len,
			                EROFS_XATTR_MAX_BODY);
		body.len = (uint32_t)len;
		body.name_filter = name_filter(&l);
		body.bytes = calloc(1, len);
		if (body.bytes)
			write_body(x, &l, id_cnt, &body);
		else
			r = -ENOMEM;
	}
	if (r < 0)
		return diag_set(d, r, "%s: out of memory for extended attributes",
		                tree_quote_path(n, where, sizeof(where)));
	*out = body;
	return 0;
}
