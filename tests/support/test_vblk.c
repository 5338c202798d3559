/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a blk's word for its bytes: the hole in the wall that only tests may use. */
#include "support.h"

#include "test_vblk.h"
#include "verity_int.h"

struct unproven {
	struct vblk v; /* first */
	const struct blk *blk;
	struct blk *own; /* the same, when it is ours to close */
};

static int unproven_read(const struct vblk *v, uint64_t off, void *buf, size_t len, struct diag *d)
{
	return blk_read(((const struct unproven *)v)->blk, off, buf, len, d);
}

static void unproven_close(struct vblk *v)
{
	blk_close(((struct unproven *)v)->own);
	free(v);
}

struct vblk *test_vblk_of_blk(const struct blk *b)
{
	static const struct vblk_ops ops = { .read = unproven_read, .close = unproven_close };
	struct unproven *u = calloc(1, sizeof(*u));

	assert_non_null(u);
	u->v = (struct vblk){ .ops = &ops, .size = blk_size(b) };
	u->blk = b;
	return &u->v;
}

struct vblk *test_vblk_of_memory(const void *bytes, size_t len)
{
	struct blk *own = NULL;
	struct vblk *v;

	assert_int_equal(blk_of_memory(bytes, len, "memory", &own), 0);
	v = test_vblk_of_blk(own);
	((struct unproven *)v)->own = own;
	return v;
}
