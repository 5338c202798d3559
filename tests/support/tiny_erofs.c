/* SPDX-License-Identifier: Apache-2.0 */
/* Writes fields where it is told to. No cmocka: fuzz targets link this file without it. */
#include "tiny_erofs.h"

#include <assert.h>

void tiny_erofs_make(struct tiny_erofs *t, unsigned block_bits, size_t blk_cnt)
{
	struct erofs_super_disk sb = {
		.magic = le32_of(EROFS_SUPER_MAGIC),
		.feature_compat = le32_of(EROFS_COMPAT_SB_CHKSUM | EROFS_COMPAT_MTIME),
		.blkszbits = (uint8_t)block_bits,
		.root_nid = le16_of(TINY_ROOT_NID),
		.blocks = le32_of((uint32_t)blk_cnt),
	};

	t->block_len = UINT32_C(1) << block_bits;
	t->len = blk_cnt << block_bits;
	t->bytes = calloc(1, t->len);
	assert(t->bytes);
	tiny_erofs_put(t, EROFS_SUPER_OFF, &sb, sizeof(sb));
}

void tiny_erofs_free(struct tiny_erofs *t)
{
	free(t->bytes);
}

struct erofs_super_disk *tiny_erofs_super(struct tiny_erofs *t)
{
	return (struct erofs_super_disk *)(t->bytes + EROFS_SUPER_OFF);
}

void tiny_erofs_put(struct tiny_erofs *t, uint64_t off, const void *bytes, size_t len)
{
	assert(range_is_inside(off, len, t->len));
	memcpy(t->bytes + off, bytes, len);
}

void tiny_erofs_compact(struct tiny_erofs *t, uint64_t nid, enum erofs_layout layout, uint16_t mode,
                        uint32_t size, uint32_t u)
{
	struct erofs_compact_disk ino = {
		.format = le16_of((uint16_t)(layout << EROFS_FORMAT_LAYOUT_SHIFT)),
		.mode = le16_of(mode),
		.nlink = le16_of(1),
		.size = le32_of(size),
		.u = le32_of(u),
	};

	tiny_erofs_put(t, nid * EROFS_SLOT_LEN, &ino, sizeof(ino));
}

/* How many of the names fit into one block, and the bytes they take. */
static size_t fitting(const struct tiny_erofs *t, const struct tiny_name *names, size_t cnt,
                      size_t *used)
{
	size_t i = 0;

	for (*used = 0; i < cnt; i++) {
		size_t need = sizeof(struct erofs_dirent_disk) + strlen(names[i].name);

		if (*used + need > t->block_len)
			break;
		*used += need;
	}
	return i;
}

static void put_block(struct tiny_erofs *t, uint64_t off, const struct tiny_name *names, size_t cnt)
{
	size_t name_off = cnt * sizeof(struct erofs_dirent_disk);

	for (size_t i = 0; i < cnt; i++) {
		struct erofs_dirent_disk e = { .nid = le64_of(names[i].nid),
			                       .name_off = le16_of((uint16_t)name_off),
			                       .type = names[i].type };
		size_t len = strlen(names[i].name);

		tiny_erofs_put(t, off + i * sizeof(e), &e, sizeof(e));
		tiny_erofs_put(t, off + name_off, names[i].name, len);
		name_off += len;
	}
}

size_t tiny_erofs_directory(struct tiny_erofs *t, uint64_t nid, uint32_t first_blk,
                            const struct tiny_name *names, size_t cnt)
{
	size_t blk_cnt = 0, used = 0;

	for (size_t i = 0, n; i < cnt; i += n, blk_cnt++) {
		n = fitting(t, names + i, cnt - i, &used);
		assert(n > 0);
		put_block(t, (first_blk + blk_cnt) * (uint64_t)t->block_len, names + i, n);
	}
	tiny_erofs_compact(t, nid, EROFS_LAYOUT_PLAIN, 040755,
	                   (uint32_t)((blk_cnt - 1) * t->block_len + used), first_blk);
	return blk_cnt;
}

void tiny_erofs_seal(uint8_t *image, size_t len)
{
	struct erofs_super_disk *sb = (struct erofs_super_disk *)(image + EROFS_SUPER_OFF);
	size_t covered = 0;

	if (len >= EROFS_SUPER_OFF + sizeof(*sb) && sb->blkszbits >= 9 && sb->blkszbits <= 12)
		covered = (size_t)1 << sb->blkszbits;
	if (covered > EROFS_SUPER_OFF)
		covered -= EROFS_SUPER_OFF;
	if (covered == 0 || len < EROFS_SUPER_OFF + covered)
		return;
	sb->checksum = le32_of(0);
	sb->checksum = le32_of(erofs_crc32c(~UINT32_C(0), image + EROFS_SUPER_OFF, covered));
}
