/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The on-disk structures of EROFS (kernel Documentation/filesystems/erofs.rst and docs/format.md),
 * for common/erofs.c, mkdisk/erofs_image.c and their tests only.
 */
#ifndef MODELDISK_EROFS_DISK_H
#define MODELDISK_EROFS_DISK_H

#include "base.h"

#define EROFS_SUPER_OFF   1024
#define EROFS_SUPER_MAGIC UINT32_C(0xE0F5E1E2)
#define EROFS_SLOT_LEN    32 /* a nid counts these */
#define EROFS_NULL_ADDR   UINT32_C(0xFFFFFFFF)

#define EROFS_COMPAT_SB_CHKSUM    UINT32_C(0x1)
#define EROFS_COMPAT_MTIME        UINT32_C(0x2)
#define EROFS_COMPAT_XATTR_FILTER UINT32_C(0x4)

#define EROFS_INCOMPAT_LZ4_0PADDING UINT32_C(0x1)
#define EROFS_INCOMPAT_CHUNKED_FILE UINT32_C(0x4)

struct erofs_super_disk {
	le32 magic;
	le32 checksum; /* CRC-32C of the first block from offset 1024, this field zero, no final
	                  inversion */
	le32 feature_compat;
	uint8_t blkszbits;
	uint8_t sb_extslots;
	le16 root_nid;
	le64 inos;
	le64 epoch;
	le32 fixed_nsec;
	le32 blocks;
	le32 meta_blkaddr;
	le32 xattr_blkaddr;
	uint8_t uuid[16];
	uint8_t volume_name[16];
	le32 feature_incompat;
	le16 compr_algs;
	le16 extra_devices;
	le16 devt_slotoff;
	uint8_t dirblkbits;
	uint8_t xattr_prefix_count;
	le32 xattr_prefix_start;
	le64 packed_nid;
	uint8_t xattr_filter_reserved;
	uint8_t reserved[3];
	le32 build_time;
	le64 root_nid_8b;
	uint8_t reserved2[8];
};
_Static_assert(sizeof(struct erofs_super_disk) == 128, "EROFS superblock");
_Static_assert(offsetof(struct erofs_super_disk, uuid) == 48, "EROFS superblock");
_Static_assert(offsetof(struct erofs_super_disk, feature_incompat) == 80, "EROFS superblock");
_Static_assert(offsetof(struct erofs_super_disk, packed_nid) == 96, "EROFS superblock");

/* i_format */
#define EROFS_FORMAT_EXTENDED     0x1
#define EROFS_FORMAT_LAYOUT_SHIFT 1
#define EROFS_FORMAT_LAYOUT_MASK  0x7
#define EROFS_FORMAT_KNOWN        0xF

enum erofs_layout {
	EROFS_LAYOUT_PLAIN = 0,
	EROFS_LAYOUT_COMPRESSED_FULL = 1,
	EROFS_LAYOUT_INLINE = 2,
	EROFS_LAYOUT_COMPRESSED_COMPACT = 3,
	EROFS_LAYOUT_CHUNK = 4,
};

struct erofs_compact_disk {
	le16 format;
	le16 xattr_units; /* 0, or (body - 12) / 4 + 1 */
	le16 mode;
	le16 nlink;
	le32 size;
	le32 mtime; /* minus epoch */
	le32 u;     /* first block, device number, or chunk format */
	le32 serial;
	le16 uid;
	le16 gid;
	le32 reserved;
};
_Static_assert(sizeof(struct erofs_compact_disk) == 32, "EROFS compact inode");

struct erofs_extended_disk {
	le16 format;
	le16 xattr_units;
	le16 mode;
	le16 reserved;
	le64 size;
	le32 u;
	le32 serial;
	le32 uid;
	le32 gid;
	le64 mtime;
	le32 mtime_nsec;
	le32 nlink;
	uint8_t reserved2[16];
};
_Static_assert(sizeof(struct erofs_extended_disk) == 64, "EROFS extended inode");

struct erofs_dirent_disk {
	le64 nid;
	le16 name_off; /* inside the directory block */
	uint8_t type;  /* 1 regular .. 7 symlink */
	uint8_t reserved;
};
_Static_assert(sizeof(struct erofs_dirent_disk) == 12, "EROFS directory entry");

struct erofs_xattr_header_disk {
	le32 name_filter;
	uint8_t shared_cnt;
	uint8_t reserved[7];
};
_Static_assert(sizeof(struct erofs_xattr_header_disk) == 12, "EROFS xattr header");

struct erofs_xattr_entry_disk {
	uint8_t name_len;   /* of the name behind the prefix */
	uint8_t name_index; /* prefix */
	le16 value_len;
};
_Static_assert(sizeof(struct erofs_xattr_entry_disk) == 4, "EROFS xattr entry");

/* CRC-32C (reflected 0x82F63B78), start value crc, no final inversion: the superblock's checksum
 * starts with ~0. */
uint32_t erofs_crc32c(uint32_t crc, const void *buf, size_t len);

#endif
