/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a plan. Decides what belongs to it; that a release of mkdisk goes on only with what
 * the same release began is part of that.
 */
#include "plan_id.h"

static int add_text(struct hash_stream *h, const char *text)
{
	return hash_stream_add(h, text, strlen(text) + 1);
}

static int add_numbers(struct hash_stream *h, const uint64_t *number, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		le64 v = le64_of(number[i]);
		int r = hash_stream_add(h, &v, sizeof(v));

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_disk(struct hash_stream *h, const struct disk_plan *p)
{
	const struct verity_params *v = &p->verity;
	const uint64_t numbers[] = {
		p->disk_len,       p->image_off,      p->image_len, p->covered_len,
		p->hash_off,       p->tree_off,       v->alg,       v->hash_type,
		v->data_block_len, v->hash_block_len, v->salt_len,
	};
	int r = add_numbers(h, numbers, ARRAY_LEN(numbers));

	return r < 0 ? r : hash_stream_add(h, v->salt, v->salt_len);
}

static int add_node(struct hash_stream *h, const struct tree_node *n, const struct erofs_place *p)
{
	const uint64_t numbers[] = { n->mode,     n->depth,    n->size,      n->content,
		                     p->data_off, p->data_len, p->inode_off, p->tail_len };
	int r = add_text(h, n->name);

	if (r == 0)
		r = add_numbers(h, numbers, ARRAY_LEN(numbers));
	return r < 0 ? r : hash_stream_add(h, n->oid, sizeof(n->oid));
}

int plan_id(const char *commit, const struct erofs_plan *erofs, const struct disk_plan *disk,
            uint8_t out[32])
{
	const struct tree *t = erofs_plan_tree(erofs);
	scoped(hash_stream) struct hash_stream *h = NULL;
	int r = hash_stream_new(HASH_SHA256, &h);

	if (r == 0)
		r = add_text(h, "mkdisk " MODELDISK_VERSION);
	if (r == 0)
		r = add_text(h, commit ? commit : "");
	if (r == 0)
		r = add_disk(h, disk);
	for (uint32_t i = 0; i < t->node_cnt && r == 0; i++)
		r = add_node(h, t->node[i], erofs_plan_place(erofs, t->node[i]));
	return r < 0 ? r : hash_stream_finish(h, out);
}
