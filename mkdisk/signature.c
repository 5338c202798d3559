/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others may have put on a disk. Decides which formats are known and what a disk with several
 * is called; what to do about it is the caller's.
 */
#include "signature.h"

struct signature {
	uint64_t off; /* from the end when from_end */
	bool from_end;
	uint8_t len;
	char magic[12];
	const char *name;
};

/*
 * From libblkid's list, the ones worth asking about. The order decides what a disk with several is
 * called: an EROFS image behind a table is a GPT disk, FAT's boot sector is no MBR.
 */
static const struct signature signatures[] = {
	{ 512, false, 8, "EFI PART", "GPT" },
	{ 4096, false, 8, "EFI PART", "GPT" },
	{ 512, true, 8, "EFI PART", "GPT" },
	{ 4096, true, 8, "EFI PART", "GPT" },
	{ 0, false, 8, "verity\0\0", "dm-verity" },
	{ 1024, false, 4, "\xe2\xe1\xf5\xe0", "EROFS" },
	{ 0, false, 6, "LUKS\xba\xbe", "LUKS" },
	{ 0, false, 4, "XFSB", "XFS" },
	{ 0, false, 4, "hsqs", "squashfs" },
	{ 0x10040, false, 8, "_BHRfS_M", "btrfs" },
	{ 1024 + 56, false, 2, "\x53\xef", "ext2/3/4" },
	{ 1024, false, 4, "\x10\x20\xf5\xf2", "F2FS" },
	{ 4096 + 24, false, 8, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "bcachefs" },
	{ 512, false, 8, "LABELONE", "LVM2" },
	{ 4096, false, 4, "\xfc\x4e\x2b\xa9", "MD RAID" },
	{ 4096 - 10, false, 10, "SWAPSPACE2", "swap" },
	{ 16384 - 10, false, 10, "SWAPSPACE2", "swap" },
	{ 65536 - 10, false, 10, "SWAPSPACE2", "swap" },
	{ 0x8001, false, 5, "CD001", "ISO 9660" },
	{ 82, false, 8, "FAT32   ", "VFAT" },
	{ 54, false, 8, "FAT16   ", "VFAT" },
	{ 54, false, 8, "FAT12   ", "VFAT" },
	{ 3, false, 8, "EXFAT   ", "exFAT" },
	{ 3, false, 8, "NTFS    ", "NTFS" },
	{ 510, false, 2, "\x55\xaa", "MBR" },
};

int signature_find(const struct blk *b, const char **name, struct diag *d)
{
	char found[sizeof(signatures[0].magic)];

	for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
		const struct signature *s = &signatures[i];
		int r;

		if (!range_is_inside(s->from_end ? 0 : s->off, s->from_end ? s->off : s->len,
		                     blk_size(b)))
			continue;
		r = blk_read(b, s->from_end ? blk_size(b) - s->off : s->off, found, s->len, d);
		if (r < 0)
			return r;
		if (memcmp(found, s->magic, s->len) == 0) {
			*name = s->name;
			return 0;
		}
	}
	*name = NULL;
	return 0;
}
