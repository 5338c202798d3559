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

/* Bits 0x2, 0x8 and 0x20 carry two meanings each. */
#define EROFS_INCOMPAT_LZ4_0PADDING   UINT32_C(0x1) /* mkfs.erofs 1.9 sets it always */
#define EROFS_INCOMPAT_COMPR_CFGS     UINT32_C(0x2)
#define EROFS_INCOMPAT_CHUNKED_FILE   UINT32_C(0x4)
#define EROFS_INCOMPAT_DEVICE_TABLE   UINT32_C(0x8)
#define EROFS_INCOMPAT_ZTAILPACKING   UINT32_C(0x10)
#define EROFS_INCOMPAT_FRAGMENTS      UINT32_C(0x20)
#define EROFS_INCOMPAT_XATTR_PREFIXES UINT32_C(0x40)
#define EROFS_INCOMPAT_48BIT          UINT32_C(0x80)
#define EROFS_INCOMPAT_METABOX        UINT32_C(0x100)

struct erofs_super_disk {
	le32 magic;
	le32 checksum; /* CRC-32C of the first block from offset 1024, this field zero, no final
	                  inversion */
	le32 feature_compat;
	uint8_t blkszbits;
	uint8_t sb_extslots;
	le16 root_nid; /* 48BIT: bits 32..47 of blocks */
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
	le64 root_nid_8b; /* 48BIT */
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
#define EROFS_FORMAT_BIT4         0x10 /* 48BIT: directory without "."; else compact, nlink is 1 */

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
	le16 nlink; /* 48BIT with BIT4: bits 32..47 of u */
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
	le16 reserved; /* bits 32..47 of u when that is a block */
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

/* u of a chunk-based inode; the table follows the xattrs at a multiple of its entry's size. */
#define EROFS_CHUNK_BLKBITS UINT32_C(0x1F) /* chunk length: 2 ^ (block bits + these) */
#define EROFS_CHUNK_INDEXES UINT32_C(0x20) /* 8-byte entries; else a le32 block number each */
#define EROFS_CHUNK_48BIT   UINT32_C(0x40)
#define EROFS_CHUNK_KNOWN   UINT32_C(0x7F)

struct erofs_chunk_disk {
	le16 blk_hi; /* 48BIT */
	le16 device;
	le32 blk; /* all ones, with blk_hi if that counts: a hole */
};
_Static_assert(sizeof(struct erofs_chunk_disk) == 8, "EROFS chunk index");

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

/* name_index with this bit: the other bits number a long prefix. */
#define EROFS_XATTR_LONG_PREFIX 0x80

/* xattr_prefix_count of these, the first at xattr_prefix_start * 4, each at a multiple of 4. */
struct erofs_long_prefix_disk {
	le16 len;           /* of what follows: base_index and the infix, which is not terminated */
	uint8_t base_index; /* name_index of the prefix before the infix */
};
_Static_assert(sizeof(struct erofs_long_prefix_disk) == 3, "EROFS long xattr prefix");

/* CRC-32C (reflected 0x82F63B78), start value crc, no final inversion: the superblock's checksum
 * starts with ~0. */
uint32_t erofs_crc32c(uint32_t crc, const void *buf, size_t len);

#endif
