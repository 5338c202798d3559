/* SPDX-License-Identifier: Apache-2.0 */
/* CRCs as UEFI 2.10, 5.3.2 has them, written bit by bit: gpt.c is not asked about itself. */
#include "mend.h"

#include "erofs_disk.h"

static uint32_t crc32_of(const uint8_t *p, size_t len)
{
	uint32_t crc = ~UINT32_C(0);

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xEDB88320) : 0);
	}
	return ~crc;
}

static uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void mend_header(uint8_t *disk, size_t len, size_t off, size_t sector_len)
{
	uint8_t *h = disk + off;
	uint64_t entries_off, entries_len;

	if (!range_is_inside(off, sector_len, len))
		return;
	entries_len = (uint64_t)get32(h + 80) * get32(h + 84);
	if (mul_u64(get32(h + 72), sector_len, &entries_off) &&
	    range_is_inside(entries_off, entries_len, len))
		put32(h + 88, crc32_of(disk + entries_off, entries_len));
	if (get32(h + 12) < 92 || get32(h + 12) > sector_len)
		return;
	put32(h + 16, 0);
	put32(h + 16, crc32_of(h, get32(h + 12)));
}

void mend_gpt(uint8_t *disk, size_t len, size_t sector_len)
{
	mend_header(disk, len, sector_len, sector_len);
	mend_header(disk, len, len - sector_len, sector_len);
}

void mend_erofs(uint8_t *image, size_t len)
{
	struct erofs_super_disk sb;
	uint64_t blk_cnt;

	if (!range_is_inside(EROFS_SUPER_OFF, sizeof(sb), len))
		return;
	memcpy(&sb, image + EROFS_SUPER_OFF, sizeof(sb));
	sb.magic = le32_of(EROFS_SUPER_MAGIC);
	if (sb.blkszbits < 9 || sb.blkszbits > 12)
		sb.blkszbits = (uint8_t)(9 + sb.blkszbits % 4);
	blk_cnt = len >> sb.blkszbits;
	if (le32_get(sb.blocks) > blk_cnt)
		sb.blocks = le32_of((uint32_t)blk_cnt);
	memcpy(image + EROFS_SUPER_OFF, &sb, sizeof(sb));
}
