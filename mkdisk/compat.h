/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which release of the reference tools to equal (--compat). The tools changed their bytes over
 * time; each change is one named switch here, so that code asks for the behaviour and not for a
 * version. docs/format.md "Versions" is the table.
 */
#ifndef MODELDISK_COMPAT_H
#define MODELDISK_COMPAT_H

#include "diag.h"

struct compat {
	/* systemd */
	bool validatefs;          /* 258+: user.validatefs.* attributes on the root inode */
	bool round_min_down;      /* 254.6 to 258.8, 259 to 259.6, 260 to 260.2, 261: SizeMin and
	                             PaddingMin are rounded down to 4096 and the Max keys up; before
	                             and after that the other way round */
	bool leftover_to_padding; /* 262: space nobody takes becomes padding after the last
	                             partition (JSON only) */
	bool small_read_only_min; /* 257.8+: one grain instead of 10 MiB for erofs and verity
	                             partitions */
	bool device_sector_is_fs_sector; /* 257.11+, 258.5+, 259.2+, 260+: a block device's logical
	                                    sector is the default of both verity block sizes */
	bool erofs_block_is_fs_sector;   /* 262: and of the EROFS block size, which we cannot follow
	                                    below 4096 */
	/* erofs-utils */
	bool lz4_0padding_flag;    /* 1.9.0: feature_incompat = 1 */
	bool xattrs_in_list_order; /* before 1.9.3: attributes as listxattr(2) gave them */
	const char *systemd_name;  /* "systemd-258+": for the record; "none" in the flat layout */
	const char *erofs_name;    /* "erofs-1.8.10+" */
};

enum compat_layout { COMPAT_REPART, COMPAT_FLAT };
/*
 * The defaults of a layout (systemd-258+ and erofs-1.8.10+; flat: erofs-1.9.0), then each
 * comma-separated name in spec (NULL: none). -EINVAL for an unknown name (the message lists the
 * known ones), for two names of one tool, and for a systemd in the flat layout.
 */
int compat_parse(const char *spec, enum compat_layout layout, struct compat *out, struct diag *d)
        MUST_CHECK;

/* The default of FileSystemSectorSize= and so of both verity block sizes: 4096 for regular files.
 */
uint32_t compat_fs_sector_len(const struct compat *c, bool is_block_device, uint32_t sector_len);

#endif
