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
	bool round_min_down;      /* how SizeMin and PaddingMin are rounded to 4096: 257 and earlier
	                             down, now up */
	bool leftover_to_padding; /* 262: space nobody takes becomes padding after the last
	                             partition (JSON only) */
	bool small_read_only_min; /* 257.8+: one grain instead of 10 MiB for erofs and verity
	                             partitions */
	/* erofs-utils */
	bool lz4_0padding_flag;    /* 1.9.0: feature_incompat = 1 */
	bool xattrs_in_list_order; /* before 1.9.3: attributes as listxattr(2) gave them */
	const char *systemd_name;  /* "systemd-258+": for the record */
	const char *erofs_name;    /* "erofs-1.8.10+" */
};

enum compat_layout { COMPAT_REPART, COMPAT_FLAT };
/* The defaults of a layout, then each comma-separated name in spec (NULL: none). -EINVAL names the
 * known ones. */
int compat_parse(const char *spec, enum compat_layout layout, struct compat *out, struct diag *d)
        MUST_CHECK;

#endif
