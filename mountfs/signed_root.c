/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the signature partition and reads its JSON, which anybody may have written. Decides which
 * partition it is and what the text has to be; whether the signature is good is
 * root_signature.c's.
 */
#include "signed_root.h"

#include <errno.h>
#include <inttypes.h>

#include <jansson.h>

DEFINE_SCOPED(json, json_t *, json_decref)

bool signed_root_is_part(const struct gpt_part *p, const struct image_options *o)
{
	enum gpt_role role = gpt_type_role(&p->type);

	if (o->signature_part != 0)
		return p->number + 1 == o->signature_part;
	return role == GPT_ROLE_ROOT_VERITY_SIG || role == GPT_ROLE_USR_VERITY_SIG;
}

/* ---- the text ---- */

static int parse_root(const json_t *value, struct signed_root *out, struct diag *d)
{
	const char *hex = json_string_value(value);
	size_t len = json_string_length(value);

	if (!hex || len == 0 || len % 2 != 0 || len > 2 * sizeof(out->root) ||
	    hex_decode(hex, out->root, len / 2) < 0)
		return diag_set(d, -EUCLEAN, "\"rootHash\" is no root hash in hexadecimal digits");
	out->root_len = len / 2;
	return 0;
}

static int parse_signature(const json_t *value, struct signed_root *out, struct diag *d)
{
	uint8_t der[ROOT_SIGNATURE_PART];
	const char *text = json_string_value(value);
	ssize_t len = text ? root_signature_decode(text, json_string_length(value), der) : -EINVAL;

	if (len < 0)
		return diag_set(d, -EUCLEAN, "\"signature\" is no Base64");
	if ((size_t)len > sizeof(out->der))
		return diag_set(d, -EUCLEAN, "\"signature\" has %zd bytes, at most %zu are read",
		                len, sizeof(out->der));
	memcpy(out->der, der, (size_t)len);
	out->der_len = (size_t)len;
	return 0;
}

/* "certificateFingerprint" only helps to find a certificate; PKCS#7 names its own. */
int signed_root_parse(const char *bytes, size_t len, struct signed_root *out, struct diag *d)
{
	size_t text_len = strnlen(bytes, len);
	scoped(json) json_t *json = NULL;
	int r;

	for (size_t i = text_len; i < len; i++)
		if (bytes[i] != '\0')
			return diag_set(d, -EUCLEAN, "something follows its text at byte %zu", i);
	json = json_loadb(bytes, text_len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json))
		return diag_set(d, -EUCLEAN, "holds no JSON object");
	r = parse_root(json_object_get(json, "rootHash"), out, d);
	return r < 0 ? r : parse_signature(json_object_get(json, "signature"), out, d);
}

/* ---- the partition ---- */

static int find_part(const struct blk *disk, const struct image_options *o, const struct gpt *t,
                     struct gpt_part *out, struct diag *d)
{
	const struct gpt_part *found = NULL;

	for (uint32_t i = 0; i < t->part_cnt; i++) {
		if (!signed_root_is_part(&t->part[i], o))
			continue;
		if (found)
			return diag_set(d, -EUCLEAN,
			                "%s: partitions %" PRIu32 " and %" PRIu32
			                " are both signature partitions: choose one with "
			                "--signature-partition",
			                blk_name(disk), found->number + 1, t->part[i].number + 1);
		found = &t->part[i];
	}
	if (!found && o->signature_part != 0)
		return diag_set(d, -EINVAL, "%s: has no partition %" PRIu32, blk_name(disk),
		                o->signature_part);
	if (!found)
		return diag_set(
		        d, -EUCLEAN,
		        "%s: has no signature partition; a signature in a file needs "
		        "--root-hash-sig, a partition of another type --signature-partition",
		        blk_name(disk));
	*out = *found;
	return 0;
}

int signed_root_read(const struct blk *disk, const struct image_options *o, struct signed_root *out,
                     struct diag *d)
{
	scoped_free struct gpt *t = calloc(1, sizeof(*t));
	scoped_free char *bytes = malloc(ROOT_SIGNATURE_PART);
	struct gpt_part part = { 0 };
	uint64_t len;
	int r;

	if (!t || !bytes)
		return diag_set(d, -ENOMEM, "%s: out of memory", blk_name(disk));
	r = gpt_read(disk, t, d);
	if (r == -ENOENT) /* of a file: "not found" */
		r = diag_set(d, -EUCLEAN, "%s: has no partition table and so no signature",
		             blk_name(disk));
	if (r == 0)
		r = find_part(disk, o, t, &part, d);
	if (r < 0)
		return r;
	/* gpt_read() has held the sectors against the disk: no sum overflows */
	len = MIN((part.last_lba - part.first_lba + 1) * t->sector_len, ROOT_SIGNATURE_PART);
	r = blk_read(disk, part.first_lba * t->sector_len, bytes, (size_t)len, d);
	if (r < 0)
		return r;
	r = signed_root_parse(bytes, (size_t)len, out, d);
	return diag_prefix(d, r, "%s: signature partition %" PRIu32, blk_name(disk),
	                   part.number + 1);
}
