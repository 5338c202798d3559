/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "model_fs.h"

#include <sys/stat.h>

#include "test_vblk.h"

#define BLOCK 4096
enum {
	SUB = 60,
	LINK = 68,
	EMPTY = 72,
	ABS = 76,
	LOOP = 80,
	OUT = 84,
	TOP_LINK = 88,
	S = 92,
	FIFO = 96
};

void model_fs_content(uint8_t out[MODEL_FS_LEN])
{
	support_fill(out, MODEL_FS_LEN, 3);
	memset(out + BLOCK, 0, BLOCK);
}

static uint32_t put_data(struct tiny_erofs *t, uint32_t blk, const void *bytes, size_t len)
{
	tiny_erofs_put(t, (uint64_t)blk * BLOCK, bytes, len);
	return blk + (uint32_t)((len + BLOCK - 1) / BLOCK);
}

static uint32_t put_link(struct tiny_erofs *t, uint64_t nid, uint32_t blk, const char *target)
{
	size_t len = strlen(target);

	tiny_erofs_compact(t, nid, EROFS_LAYOUT_PLAIN, S_IFLNK | 0777, (uint32_t)len, blk);
	return put_data(t, blk, target, len);
}

static uint32_t put_dir(struct tiny_erofs *t, uint64_t nid, uint32_t blk, uint16_t mode,
                        const struct tiny_name *names, size_t cnt)
{
	uint32_t next = blk + (uint32_t)tiny_erofs_directory(t, nid, blk, names, cnt);
	struct erofs_compact_disk *inode = (void *)(t->bytes + nid * EROFS_SLOT_LEN);

	inode->mode = le16_of((uint16_t)(S_IFDIR | mode));
	return next;
}

void model_fs_make(struct model_fs *m)
{
	static const struct tiny_name root[] = {
		{ ".", TINY_ROOT_NID, 2 }, { "..", TINY_ROOT_NID, 2 },
		{ "a", MODEL_FS_DIR, 2 },  { "abs", ABS, 7 },
		{ "l", TOP_LINK, 7 },      { "loop", LOOP, 7 },
		{ "out", OUT, 7 },         { "s", S, 2 },
	};
	static const struct tiny_name a[] = { { ".", MODEL_FS_DIR, 2 },
		                              { "..", TINY_ROOT_NID, 2 },
		                              { "f", MODEL_FS_FILE, 1 },
		                              { "l", LINK, 7 },
		                              { "sub", SUB, 2 } };
	static const struct tiny_name sub[] = { { ".", SUB, 2 },
		                                { "..", MODEL_FS_DIR, 2 },
		                                { "e", EMPTY, 1 } };
	static const struct tiny_name s[] = { { ".", S, 2 },
		                              { "..", TINY_ROOT_NID, 2 },
		                              { "p", FIFO, 5 } };
	struct tiny_erofs *t = &m->t;
	uint8_t content[MODEL_FS_LEN];
	uint32_t blk = 1;

	model_fs_content(content);
	tiny_erofs_make(t, 12, 20);
	blk = put_dir(t, TINY_ROOT_NID, blk, 0755, root, ARRAY_LEN(root));
	blk = put_dir(t, MODEL_FS_DIR, blk, 0755, a, ARRAY_LEN(a));
	blk = put_dir(t, SUB, blk, 0555, sub, ARRAY_LEN(sub));
	blk = put_dir(t, S, blk, 0755, s, ARRAY_LEN(s));
	tiny_erofs_compact(t, MODEL_FS_FILE, EROFS_LAYOUT_PLAIN, S_IFREG | 0640, MODEL_FS_LEN, blk);
	blk = put_data(t, blk, content, sizeof(content));
	tiny_erofs_compact(t, EMPTY, EROFS_LAYOUT_PLAIN, S_IFREG | 06755, 0, 0);
	tiny_erofs_compact(t, FIFO, EROFS_LAYOUT_PLAIN, S_IFIFO | 0644, 0, 0);
	blk = put_link(t, LINK, blk, "f");
	blk = put_link(t, ABS, blk, "/a");
	blk = put_link(t, LOOP, blk, "loop");
	blk = put_link(t, OUT, blk, "../../a/f");
	blk = put_link(t, TOP_LINK, blk, "a/../a/l");
	assert_true(blk <= 20);
	tiny_erofs_seal(t->bytes, t->len);
	m->v = test_vblk_of_memory(t->bytes, t->len);
	assert_int_equal(erofs_open(m->v, &m->fs, NULL), 0);
}

void model_fs_free(struct model_fs *m)
{
	erofs_close(m->fs);
	vblk_close(m->v);
	tiny_erofs_free(&m->t);
}
