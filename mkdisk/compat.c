/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of releases. Where point releases of one name differ, the name stands for the last one
 * that was measured; what is equal is written beside it. What a switch does is decided where it is
 * asked.
 */
#include "compat.h"

#include <assert.h>
#include <errno.h>

#include "text.h"

enum tool { TOOL_SYSTEMD, TOOL_EROFS, TOOL_CNT };

static const struct release {
	const char *name;
	enum tool tool;
	struct compat is; /* the switches of that tool */
} releases[] = {
	/* 262.1. On regular files without SizeMin or PaddingMin off the grain: 258 to 262. */
	{ "systemd-258+",
	  TOOL_SYSTEMD,
	  { .validatefs = true,
	    .leftover_to_padding = true,
	    .small_read_only_min = true,
	    .device_sector_is_fs_sector = true,
	    .erofs_block_is_fs_sector = true } },
	/* 258.10, 259.8, 260.4, 261.2 */
	{ "systemd-258..261",
	  TOOL_SYSTEMD,
	  { .validatefs = true, .small_read_only_min = true, .device_sector_is_fs_sector = true } },
	/* 258 to 258.4, 259, 259.1; on regular files also up to 258.8, 259.6, 260.2 and 261 */
	{ "systemd-258.0",
	  TOOL_SYSTEMD,
	  { .validatefs = true, .round_min_down = true, .small_read_only_min = true } },
	/* 257.13. On regular files 257.8 and later, and 255 to 257.7 when both partitions are
	 * larger than 10 MiB. */
	{ "systemd-255..257",
	  TOOL_SYSTEMD,
	  { .round_min_down = true,
	    .small_read_only_min = true,
	    .device_sector_is_fs_sector = true } },
	/* 255.22, 256.17, 257 to 257.7 */
	{ "systemd-255..257.7", TOOL_SYSTEMD, { .round_min_down = true } },
	/* 1.9.3, 1.9.4; and 1.8.10, 1.9.1, 1.9.2 where attributes were listed in order */
	{ "erofs-1.8.10+", TOOL_EROFS, { 0 } },
	{ "erofs-1.9.0", TOOL_EROFS, { .lz4_0padding_flag = true, .xattrs_in_list_order = true } },
};

static const struct release *find_release(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(releases); i++)
		if (strlen(releases[i].name) == len && memcmp(releases[i].name, name, len) == 0)
			return &releases[i];
	return NULL;
}

static void apply_release(struct compat *c, const struct release *r)
{
	struct compat was = *c;

	if (r->tool == TOOL_EROFS) {
		c->lz4_0padding_flag = r->is.lz4_0padding_flag;
		c->xattrs_in_list_order = r->is.xattrs_in_list_order;
		c->erofs_name = r->name;
		return;
	}
	*c = r->is;
	c->lz4_0padding_flag = was.lz4_0padding_flag;
	c->xattrs_in_list_order = was.xattrs_in_list_order;
	c->erofs_name = was.erofs_name;
	c->systemd_name = r->name;
}

static void apply_default(struct compat *c, const char *name)
{
	const struct release *r = find_release(name, strlen(name));

	assert(r);
	apply_release(c, r);
}

static int refuse_unknown(const char *name, size_t len, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN], known[512] = "";

	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		strcat(known, i > 0 ? ", " : "");
		strcat(known, releases[i].name);
	}
	return diag_set(d, -EINVAL, "compat: %s is not one of %s",
	                text_quote(name, len, quoted, sizeof(quoted)), known);
}

int compat_parse(const char *spec, enum compat_layout layout, struct compat *out, struct diag *d)
{
	struct compat c = { .systemd_name = "none", .erofs_name = "none" };
	const char *given[TOOL_CNT] = { NULL };

	apply_default(&c, layout == COMPAT_FLAT ? "erofs-1.9.0" : "erofs-1.8.10+");
	if (layout == COMPAT_REPART)
		apply_default(&c, "systemd-258+");
	while (spec) {
		size_t len = strcspn(spec, ",");
		const struct release *r = find_release(spec, len);

		if (!r)
			return refuse_unknown(spec, len, d);
		if (layout == COMPAT_FLAT && r->tool == TOOL_SYSTEMD)
			return diag_set(d, -EINVAL, "compat: %s has no part in the flat layout",
			                r->name);
		if (given[r->tool])
			return diag_set(d, -EINVAL, "compat: %s and %s are releases of one tool",
			                given[r->tool], r->name);
		given[r->tool] = r->name;
		apply_release(&c, r);
		spec = spec[len] == ',' ? spec + len + 1 : NULL;
	}
	*out = c;
	return 0;
}

uint32_t compat_fs_sector_len(const struct compat *c, bool is_block_device, uint32_t sector_len)
{
	return is_block_device && c->device_sector_is_fs_sector ? sector_len : 4096;
}
