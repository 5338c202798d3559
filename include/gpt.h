/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GUID partition tables (UEFI 2.10, chapter 5): one writer, one reader.
 * Pure codec over memory plus a reader over struct blk; thread-safe.
 */
#ifndef MODELDISK_GPT_H
#define MODELDISK_GPT_H

#include "blk.h"
#include "text.h"

#define GPT_MAX_PARTS     128  /* entries we write; readers accept 1..GPT_MAX_ENTRY_CNT */
#define GPT_MAX_ENTRY_CNT 1024 /* bound on what a table may claim before we read it */
/* Attribute bits of well-known types (Discoverable Partitions Specification) */
#define GPT_FLAG_GROW_FS   (UINT64_C(1) << 59)
#define GPT_FLAG_READ_ONLY (UINT64_C(1) << 60)
#define GPT_FLAG_NO_AUTO   (UINT64_C(1) << 63)
#define GPT_NAME_UNITS     36                       /* UTF-16 code units (5.3.3) */
#define GPT_NAME_LEN       (GPT_NAME_UNITS * 3 + 1) /* as UTF-8 with NUL */

struct gpt_part {
	uint32_t number; /* index of the entry, from 0 */
	struct uuid type;
	struct uuid id; /* unique partition GUID; all-zero is kept (Privatemode's UUID=null) */
	uint64_t first_lba;
	uint64_t last_lba;       /* inclusive */
	uint64_t flags;          /* attribute bits (5.3.3, table 5.8) */
	char name[GPT_NAME_LEN]; /* UTF-8; unpaired surrogates become U+FFFD */
};

struct gpt {
	uint32_t sector_len; /* 512 or 4096 */
	uint64_t lba_cnt;    /* whole sectors of the disk */
	uint64_t first_usable_lba;
	uint64_t last_usable_lba; /* inclusive */
	struct uuid disk_id;
	uint32_t part_cnt; /* used entries, in order of their number */
	struct gpt_part part[GPT_MAX_PARTS];
	bool from_backup; /* reader: the primary copy was bad or absent */
};

/* Bytes of protective MBR + header + entries at the start, and of entries + header at the end. */
uint64_t gpt_head_len(uint32_t sector_len); /* (2 + 16384 / sector_len) sectors */
uint64_t gpt_tail_len(uint32_t sector_len); /* (1 + 16384 / sector_len) sectors */

/*
 * The bytes that belong at offset 0 and at (lba_cnt * sector_len - gpt_tail_len), as libfdisk
 * writes them (docs/format.md section "GPT"): protective MBR with CHS FF FF FF, 128 entries of 128
 * bytes, both CRCs. head and tail have the two lengths above and are written completely. -EINVAL: a
 * name that is not UTF-8 or longer than 36 UTF-16 units, a partition outside the usable range or
 * overlapping another, a bad sector_len.
 */
int gpt_encode(const struct gpt *t, void *head, void *tail, struct diag *d) MUST_CHECK;

/*
 * Reads and checks a table that an attacker may have written: primary first, then the backup at the
 * disk's last sector, for 512 and 4096-byte sectors. Signature, revision, sizes, both CRCs, own
 * LBA, entry bounds, overlaps, order. Output is set on success only. -ENOENT when there is no GPT
 * at all (nothing that says "EFI PART"), -EBADMSG (CRC), -EUCLEAN (a field against the format), I/O
 * errors.
 */
int gpt_read(const struct blk *disk, struct gpt *out, struct diag *d) MUST_CHECK;

/* Well-known types by systemd's identifier ("root-x86-64-verity", "linux-generic"), and back. NULL
 * / -ENOENT if unknown. "root" and "usr" alone are unknown: they mean another type on every
 * architecture. */
int gpt_type_by_name(const char *name, struct uuid *out) MUST_CHECK;
const char *gpt_type_name(const struct uuid *type);

/* What a type is for, whatever the architecture (Discoverable Partitions Specification). */
enum gpt_role {
	GPT_ROLE_OTHER, /* no well-known type */
	GPT_ROLE_GENERIC,
	GPT_ROLE_ESP,
	GPT_ROLE_XBOOTLDR,
	GPT_ROLE_SWAP,
	GPT_ROLE_HOME,
	GPT_ROLE_SRV,
	GPT_ROLE_VAR,
	GPT_ROLE_TMP,
	GPT_ROLE_USER_HOME,
	GPT_ROLE_ROOT,
	GPT_ROLE_ROOT_VERITY,
	GPT_ROLE_ROOT_VERITY_SIG,
	GPT_ROLE_USR,
	GPT_ROLE_USR_VERITY,
	GPT_ROLE_USR_VERITY_SIG,
};
enum gpt_role gpt_type_role(const struct uuid *type);
/* Where systemd mounts a partition of that role, NULL-terminated; most roles have no place. */
const char *const *gpt_mount_points(enum gpt_role role);

#endif
