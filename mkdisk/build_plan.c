/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the source's tree to where everything lies on the disk. Decides what the options mean for
 * the plans, and which of them contradict the target.
 */
#include "build_int.h"
#include "populate.h"

#include <errno.h>
#include <inttypes.h>

static int make_definitions(struct build *b, struct diag *d)
{
	int r;

	if (build_is_flat(b))
		return 0;
	if (b->opt->definition_cnt == 0)
		r = definitions_default(&b->defs, d);
	else
		r = definitions_load(b->opt->definitions, b->opt->definition_cnt, &b->defs, d);
	if (r < 0)
		return r;
	b->identity = calloc(1, sizeof(*b->identity));
	if (!b->identity)
		return diag_set(d, -ENOMEM, "out of memory");
	return disk_identity_init(b->identity, b->defs, &b->opt->seed, d);
}

static int make_tree(struct build *b, struct diag *d)
{
	int r = 0;

	if (!build_is_flat(b))
		r = populate_tree(b->tree, b->defs, b->identity, &b->compat, d);
	if (r < 0)
		return r;
	return tree_finish(b->tree, d);
}

static int plan_erofs(struct build *b, struct diag *d)
{
	struct erofs_plan_options opt = {
		.uuid = build_is_flat(b) ? b->opt->fs_uuid : b->identity->fs_uuid,
		.keep_owners = b->opt->keep_owners,
		/* repart's own attributes stay even where the source's were left out */
		.keep_xattrs = !build_is_flat(b) || build_keeps_xattrs(b->opt),
		.epoch = b->opt->epoch,
		.compat = &b->compat,
	};

	b->fs_uuid = opt.uuid;
	return erofs_plan_new(b->tree, &opt, &b->erofs, d);
}

static int find_sector_len(const struct build *b, uint32_t *out, struct diag *d)
{
	uint32_t device = b->target.sector_len, wanted = b->opt->sector_len;

	if (b->target.is_block_device && wanted != 0 && wanted != device)
		return diag_set(d, -EINVAL,
		                "%s: has sectors of %" PRIu32 " bytes, --sector-size=%" PRIu32
		                " would hide the table from the kernel",
		                b->opt->disk, device, wanted);
	*out = b->target.is_block_device ? device : wanted ? wanted : 512;
	if (*out != 512 && *out != 4096)
		return diag_set(d, -EOPNOTSUPP,
		                "%s: sectors of %" PRIu32
		                " bytes are not supported, 512 and 4096 are",
		                b->opt->disk, *out);
	return 0;
}

static int find_disk_len(const struct build *b, const struct disk_plan_options *opt, uint64_t *out,
                         struct diag *d)
{
	uint64_t image_len = erofs_plan_image_len(b->erofs), wanted = b->opt->size;

	if (b->target.is_block_device && wanted != BUILD_SIZE_DEFAULT && wanted != b->target.len)
		return diag_set(d, -EINVAL,
		                "%s: is a device of %" PRIu64 " bytes; --size is for files",
		                b->opt->disk, b->target.len);
	if (wanted == BUILD_SIZE_DEFAULT)
		wanted = b->target.exists ? b->target.len : BUILD_SIZE_AUTO;
	if (wanted == BUILD_SIZE_AUTO)
		return disk_plan_min_len(b->defs, b->identity, opt, image_len, out, d);
	*out = wanted;
	return 0;
}

static int plan_repart(struct build *b, struct diag *d)
{
	struct disk_plan_options opt = {
		.table_by_repart = b->opt->table_by_repart,
		.disk_id = b->opt->disk_id,
		.coverage = b->opt->coverage,
		.compat = &b->compat,
	};
	uint64_t disk_len = 0;
	int r = find_sector_len(b, &opt.sector_len, d);

	if (r < 0)
		return r;
	opt.fs_sector_len =
	        compat_fs_sector_len(&b->compat, b->target.is_block_device, opt.sector_len);
	r = find_disk_len(b, &opt, &disk_len, d);
	if (r < 0)
		return r;
	r = disk_plan_repart(b->defs, b->identity, &opt, disk_len, erofs_plan_image_len(b->erofs),
	                     b->disk, d);
	return diag_prefix(d, r, "%s", b->opt->disk);
}

static int plan_disk(struct build *b, struct diag *d)
{
	b->disk = calloc(1, sizeof(*b->disk));
	if (!b->disk)
		return diag_set(d, -ENOMEM, "out of memory");
	if (build_is_flat(b))
		return disk_plan_flat(erofs_plan_image_len(b->erofs), b->opt->salt,
		                      b->opt->salt_len, &b->opt->verity_uuid, b->disk, d);
	return plan_repart(b, d);
}

int build_make_plans(struct build *b, struct diag *d)
{
	int r = make_definitions(b, d);

	if (r < 0)
		return r;
	r = make_tree(b, d);
	if (r < 0)
		return r;
	r = plan_erofs(b, d);
	if (r < 0)
		return r;
	r = objects_new(b->tree, b->erofs, &b->objects, d);
	if (r < 0)
		return r;
	return plan_disk(b, d);
}
