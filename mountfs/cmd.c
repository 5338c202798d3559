/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all actions on a disk begin with.
 */
#include "cmd.h"

#include <inttypes.h>

int cmd_open_image(const struct options *o, cmd_failure_fn on_failure, void *ctx,
                   struct image **out, struct diag *d)
{
	struct image_options io = o->image;
	const char *disk = o->arg[0];
	int r;

	io.verity.on_failure = on_failure;
	io.verity.ctx = ctx;
	r = image_open(disk, &io, out, d);
	if (r < 0)
		return r;
	if (image_used_backup_table(*out))
		report_warning("%s: the primary partition table is damaged, using the backup",
		               disk);
	report_debug("%s: %s, %" PRIu64 " bytes are covered by the proof", disk, image_layout(*out),
	             vblk_size(image_vblk(*out)));
	return 0;
}
