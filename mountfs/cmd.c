/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the actions share: how a disk is opened, how paths and JSON are printed.
 */
#include "cmd.h"

#include "path.h"
#include "signed_root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#define WAIT_STEP_MS  50
#define PATH_TEXT_LEN 1024 /* of a quoted path in a sentence; longer ones are cut */

/* Not yet: it does not exist, or it is a device without its medium. */
static bool is_there(const char *path)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return errno != ENOENT && errno != ENXIO && errno != ENODEV && errno != ENOMEDIUM;
	return lseek(fd, 0, SEEK_END) != 0;
}

/* Whatever is wrong when the time is over is said by who opens it. */
static void wait_for(const char *path, uint32_t seconds)
{
	for (uint64_t ms = 0; ms < seconds * UINT64_C(1000) && !is_there(path); ms += WAIT_STEP_MS)
		poll(NULL, 0, WAIT_STEP_MS);
}

/* ---- signatures ---- */

static int read_signature_file(const char *path, struct signed_root *out, struct diag *d)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 1;

	if (fd < 0)
		return diag_set_errno(d, -errno, "%s: cannot open the signature", path);
	while (out->der_len < sizeof(out->der) && n != 0) {
		n = read(fd, out->der + out->der_len, sizeof(out->der) - out->der_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return diag_set_errno(d, -errno, "%s: cannot read the signature", path);
		out->der_len += (size_t)n;
	}
	if (n != 0)
		return diag_set(d, -EUCLEAN, "%s: is no signature: %zu bytes or more", path,
		                sizeof(out->der));
	return 0;
}

/* From where the options say: a root hash, and what is to be a signature over it. */
static int find_signed_root(const struct options *o, struct signed_root *out, struct diag *d)
{
	scoped(blk) struct blk *disk = NULL;
	int r;

	if (o->root_hash_sig) {
		memcpy(out->root, o->image.root, o->image.root_len);
		out->root_len = o->image.root_len;
		return read_signature_file(o->root_hash_sig, out, d);
	}
	wait_for(o->arg[0], o->wait_s);
	r = blk_open(o->arg[0], &disk, d);
	return r < 0 ? r : signed_root_read(disk, &o->image, out, d);
}

/* The root hash that was given, if one was, has to be the signed one. */
static int demand_root(struct options *o, const struct signed_root *s, struct diag *d)
{
	struct image_options *io = &o->image;
	char signed_hex[2 * HASH_MAX_LEN + 1], expected[2 * HASH_MAX_LEN + 1];

	hex_encode(s->root, s->root_len, signed_hex);
	hex_encode(io->root, io->root_len, expected);
	if (io->root_len != 0 && strcmp(signed_hex, expected) != 0)
		return diag_set(d, -EBADMSG, "%s: the signed root hash is %s, expected %s",
		                o->arg[0], signed_hex, expected);
	memcpy(io->root, s->root, s->root_len);
	io->root_len = s->root_len;
	return 0;
}

int cmd_demand_signature(struct options *o, struct diag *d)
{
	scoped(root_trust) struct root_trust *trust = NULL;
	scoped_free struct signed_root *s = NULL;
	int r;

	if (!options_demand_signature(o))
		return 0;
	r = root_trust_open(o->certificate, o->trust_dir, &trust, d);
	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	o->signature = malloc(sizeof(s->der));
	if (!s || !o->signature)
		return diag_set(d, -ENOMEM, "out of memory for the signature");
	r = find_signed_root(o, s, d);
	if (r < 0)
		return r;
	r = root_trust_check(trust, s->root, s->root_len, s->der, s->der_len, d);
	if (r < 0)
		return diag_prefix(d, r, "%s", o->root_hash_sig ? o->root_hash_sig : o->arg[0]);
	memcpy(o->signature, s->der, s->der_len);
	o->signature_len = s->der_len;
	return demand_root(o, s, d);
}

/* ---- disks ---- */

int cmd_open_image(const struct options *o, const struct image_options *io, struct image **out,
                   struct diag *d)
{
	const char *disk = o->arg[0];
	int r;

	wait_for(disk, o->wait_s);
	if (o->hash_device)
		wait_for(o->hash_device, o->wait_s);
	r = image_open(disk, io, out, d);

	if (r < 0)
		return r;
	if (image_used_backup_table(*out))
		report_warning("%s: the primary partition table is damaged, using the backup",
		               disk);
	report_debug("%s: %s, %" PRIu64 " bytes are covered by the proof", disk, image_layout(*out),
	             vblk_size(image_vblk(*out)));
	return 0;
}

int cmd_open_entries(const struct options *o, const char *path, struct image **out,
                     struct entries *list, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	struct erofs_inode start;
	int r = cmd_open_image(o, &o->image, &img, d);

	if (r == 0)
		r = path_resolve(image_erofs(img), path ? path : "", &start, d);
	if (r == 0)
		r = entries_read(image_erofs(img), &start, list, d);
	if (r == 0)
		*out = take_ptr(img);
	return r;
}

int cmd_prefix_path(struct diag *d, int err, const char *path)
{
	char quoted[PATH_TEXT_LEN];

	if (err == 0)
		return 0;
	return diag_prefix(d, err, "%s", text_quote(path, strlen(path), quoted, sizeof(quoted)));
}

/* Does the character of len bytes mean itself, and do no harm? */
static bool is_plain(const char *c, size_t len, enum cmd_path_style style)
{
	char cleaned[TEXT_QUOTE_LEN];

	if (*c == '\\')
		return false;
	if (style == CMD_PATH_WORD)
		return *c > ' ' && *c <= '~' && !strchr("#*?[", *c);
	text_clean(c, len, cleaned, sizeof(cleaned));
	return strncmp(cleaned, c, len) == 0 && cleaned[len] == '\0';
}

void cmd_print_path(const char *path, enum cmd_path_style style)
{
	size_t left = strlen(path), len;

	for (; left > 0; path += len, left -= len) {
		uint32_t ignored;

		len = MAX(utf8_decode(path, left, &ignored), 1);
		if (is_plain(path, len, style))
			fwrite(path, 1, len, stdout);
		else
			for (size_t i = 0; i < len; i++)
				printf("\\%03o", (unsigned char)path[i]);
	}
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
