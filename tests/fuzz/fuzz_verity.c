/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dm-verity. The input:
 *
 *   0     superblock (512 bytes)
 *   512   count of changes (one byte), then each: offset (3 bytes), bits to flip (1 byte)
 *   then  bytes
 *
 * They are read twice. First as found: superblock, tree and data as the bytes say, with the digest
 * of what lies in the place of the top block as root hash. Then, if the parameters fit the bytes as
 * data, with a true tree over them: changes are made to data and tree, and whatever is read must be
 * the data as it was, or fail.
 */
#include "fuzz.h"
#include "verity.h"

#include <errno.h>
#include <stdio.h>

#define MAX_DATA_LEN (128 * KIB)

struct input {
	uint8_t sb[VERITY_SUPERBLOCK_LEN];
	const uint8_t *changes;
	size_t change_cnt;
	const uint8_t *bytes;
	size_t len;
};

static bool split(const uint8_t *data, size_t len, struct input *in)
{
	size_t head_len = sizeof(in->sb) + 1;

	if (len < head_len)
		return false;
	memcpy(in->sb, data, sizeof(in->sb));
	in->change_cnt = data[sizeof(in->sb)];
	if ((len - head_len) / 4 < in->change_cnt)
		return false;
	in->changes = data + head_len;
	in->bytes = in->changes + 4 * in->change_cnt;
	in->len = len - head_len - 4 * in->change_cnt;
	return true;
}

static struct blk *memory(const void *bytes, size_t len)
{
	struct blk *b = NULL;

	FUZZ_MUST(blk_of_memory(bytes, len, "memory", &b) == 0);
	return b;
}

static bool is_refusal(int r)
{
	return r == -EBADMSG || r == -EUCLEAN || r == -EOPNOTSUPP || r == -ENOENT || r == -EINVAL;
}

/* Every block by itself, in an order of its own, and all at once. */
static void read_all(const struct vblk *v, const uint8_t *truth)
{
	uint32_t block_len = vblk_params(v)->data_block_len;
	uint64_t size = vblk_size(v);
	uint8_t *buf = malloc(size + 1);
	struct diag d = DIAG_INIT;

	FUZZ_MUST(buf);
	for (uint64_t k = 0; k < size / block_len; k++) {
		uint64_t off = k * 7 % (size / block_len) * block_len;
		int r = vblk_read(v, off, buf, block_len, &d);

		FUZZ_MUST(r == 0 || r == -EBADMSG);
		FUZZ_MUST(r || memcmp(buf, truth + off, block_len) == 0);
	}
	int r = vblk_read(v, 0, buf, size, &d);

	FUZZ_MUST(r == 0 || r == -EBADMSG);
	FUZZ_MUST(r || memcmp(buf, truth, size) == 0);
	FUZZ_MUST(vblk_read(v, size, buf, 1, &d) == -ERANGE);
	FUZZ_MUST(vblk_read(v, UINT64_MAX, buf, 2, &d) == -ERANGE);
	free(buf);
}

static void digest_of(const struct verity_params *p, const uint8_t *block, size_t len, uint8_t *out)
{
	struct hash_salted *h = NULL;

	FUZZ_MUST(hash_salted_new(p->alg, p->salt, p->salt_len, p->hash_type == 1, &h) == 0);
	FUZZ_MUST(hash_salted_blocks(h, block, len, 1, out, HASH_MAX_LEN) == 0);
	hash_salted_free(h);
}

static void read_as_found(const struct input *in)
{
	size_t area_len = sizeof(in->sb) + in->len;
	uint8_t *area = malloc(area_len), root[HASH_MAX_LEN] = { 0 };
	struct blk *data = memory(in->bytes, in->len), *hash;
	struct verity_params p;
	struct diag d = DIAG_INIT;
	struct vblk *v = NULL;
	int r;

	FUZZ_MUST(area);
	memcpy(area, in->sb, sizeof(in->sb));
	if (in->len)
		memcpy(area + sizeof(in->sb), in->bytes, in->len);
	hash = memory(area, area_len);
	r = verity_superblock_decode(in->sb, &p, &d);
	FUZZ_MUST(r == 0 || is_refusal(r));
	if (r == 0) {
		uint64_t top = verity_tree_off(&p);

		if (p.data_blk_cnt == 1 && in->len >= p.data_block_len)
			digest_of(&p, in->bytes, p.data_block_len, root);
		else if (range_is_inside(top, p.hash_block_len, area_len))
			digest_of(&p, area + top, p.hash_block_len, root);
		r = verity_open(data, hash, NULL, root, hash_len(p.alg), NULL, &v, &d);
		FUZZ_MUST(r == 0 || is_refusal(r));
		FUZZ_MUST(!r || (d.err == r && d.text[0]));
		if (r == 0)
			read_all(v, in->bytes);
	}
	vblk_close(v);
	blk_close(hash);
	blk_close(data);
	free(area);
}

struct area {
	uint8_t *bytes;
	size_t tree_off, len;
};

static int sink(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct area *a = ctx;

	(void)d;
	FUZZ_MUST(range_is_inside(off, len, a->len - a->tree_off));
	memcpy(a->bytes + a->tree_off + off, buf, len);
	return 0;
}

static void apply_changes(const struct input *in, uint8_t *data, size_t data_len,
                          const struct area *a)
{
	for (size_t i = 0; i < in->change_cnt; i++) {
		const uint8_t *c = in->changes + 4 * i;
		size_t off = (size_t)(c[0] | c[1] << 8 | c[2] << 16) % (data_len + a->len);

		*(off < data_len ? data + off : a->bytes + off - data_len) ^= c[3];
	}
}

static void read_changed(const struct input *in, const struct verity_params *p,
                         const struct verity_geometry *g)
{
	size_t data_len = p->data_blk_cnt * p->data_block_len;
	struct area a = { .tree_off = verity_tree_off(p), .len = verity_tree_off(p) + g->tree_len };
	uint8_t *truth = calloc(1, data_len), *changed = malloc(data_len), root[HASH_MAX_LEN];
	scoped(verity_build) struct verity_build *build = NULL;
	struct diag d = DIAG_INIT;
	struct blk *data, *hash;
	struct vblk *v = NULL;
	int r;

	a.bytes = calloc(1, a.len);
	FUZZ_MUST(truth && changed && a.bytes);
	if (in->len)
		memcpy(truth, in->bytes, MIN(in->len, data_len));
	FUZZ_MUST(verity_build_new(p, sink, &a, &build, &d) == 0);
	FUZZ_MUST(verity_build_add(build, 0, p->data_blk_cnt, truth, &d) == 0);
	FUZZ_MUST(verity_build_finish(build, root, &d) == 0);
	verity_superblock_encode(p, a.bytes);
	memcpy(changed, truth, data_len);
	apply_changes(in, changed, data_len, &a);
	data = memory(changed, data_len);
	hash = memory(a.bytes, a.len);
	r = verity_open(data, hash, NULL, root, hash_len(p->alg), NULL, &v, &d);
	FUZZ_MUST(r == 0 || is_refusal(r));
	FUZZ_MUST(r == 0 || in->change_cnt > 0);
	/* A changed superblock may say less than all of the data; never other data. */
	if (r == 0 && vblk_size(v) <= data_len)
		read_all(v, truth);
	FUZZ_MUST(r || vblk_size(v) <= data_len);
	vblk_close(v);
	blk_close(hash);
	blk_close(data);
	free(a.bytes);
	free(changed);
	free(truth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct verity_params p;
	struct verity_geometry g;
	struct input in;

	if (!split(data, len, &in))
		return 0;
	read_as_found(&in);
	if (verity_superblock_decode(in.sb, &p, NULL) || verity_geometry_init(&g, &p, NULL))
		return 0;
	if (p.data_blk_cnt > MAX_DATA_LEN / p.data_block_len || g.tree_len > MAX_DATA_LEN)
		return 0;
	read_changed(&in, &p, &g);
	return 0;
}
