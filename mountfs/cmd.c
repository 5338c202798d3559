/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the actions share: how a disk is opened, how JSON is printed.
 */
#include "cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int cmd_open_image(const struct options *o, const struct image_options *io, struct image **out,
                   struct diag *d)
{
	const char *disk = o->arg[0];
	int r = image_open(disk, io, out, d);

	if (r < 0)
		return r;
	if (image_used_backup_table(*out))
		report_warning("%s: the primary partition table is damaged, using the backup",
		               disk);
	report_debug("%s: %s, %" PRIu64 " bytes are covered by the proof", disk, image_layout(*out),
	             vblk_size(image_vblk(*out)));
	return 0;
}

void cmd_json_set_path(json_t *object, const char *key, const char *path)
{
	size_t len = strlen(path);
	char hex_key[32];
	scoped_free char *hex = NULL;

	if (utf8_is_valid(path, len)) {
		json_object_set_new(object, key, json_stringn(path, len));
		return;
	}
	hex = malloc(2 * len + 1);
	if (!hex)
		return;
	hex_encode(path, len, hex);
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	json_object_set_new(object, hex_key, json_string(hex));
}

int cmd_print_json(json_t *value, struct diag *d)
{
	int r = json_dumpf(value, stdout, JSON_INDENT(2));

	json_decref(value);
	if (r < 0)
		return diag_set(d, value ? -EIO : -ENOMEM,
		                value ? "cannot write to stdout" : "out of memory");
	putchar('\n');
	return 0;
}
