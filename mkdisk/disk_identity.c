/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, GUIDs and the salt: everything about a disk that follows from its definitions and the seed
 * alone. HMAC inputs are docs/format.md "Identifiers"; where partitions lie is disk_plan.c's.
 */
#include "disk_plan.h"

#include <errno.h>
#include <stdio.h>

#include "hash.h"

/* The first 16 bytes of an HMAC as a UUID that calls itself random (RFC 9562, version 4). */
static struct uuid uuid_of_hmac(const uint8_t hmac[HASH_SHA256_LEN])
{
	struct uuid u;

	memcpy(u.b, hmac, sizeof(u.b));
	u.b[6] = (u.b[6] & 0x0F) | 0x40;
	u.b[8] = (u.b[8] & 0x3F) | 0x80;
	return u;
}

static int derive(const struct uuid *key, const void *msg, size_t len, struct uuid *out)
{
	uint8_t hmac[HASH_SHA256_LEN];
	int r = hash_hmac_sha256(key->b, sizeof(key->b), msg, len, hmac);

	if (r < 0)
		return r;
	*out = uuid_of_hmac(hmac);
	return 0;
}

static int derive_from_word(const struct uuid *key, const char *word, struct uuid *out)
{
	return derive(key, word, strlen(word), out);
}

/* The GUID of the definition at i if none were given: its type, counted from the second on. */
static int derive_part_id(const struct definitions *defs, size_t i, const struct uuid *seed,
                          struct uuid *out)
{
	struct {
		struct uuid type;
		le64 cnt;
	} msg = { .type = defs->v[i].type };
	uint64_t cnt = 0;

	for (size_t k = 0; k < i; k++)
		cnt += uuid_equal(&defs->v[k].type, &defs->v[i].type);
	msg.cnt = le64_of(cnt);
	return derive(seed, &msg, cnt > 0 ? sizeof(msg) : sizeof(msg.type), out);
}

/* systemd-repart would take a random one then. */
static int refuse_given_twice(const struct definitions *defs, size_t i, const struct uuid *id,
                              struct diag *d)
{
	char text[UUID_TEXT_LEN];

	for (size_t k = 0; k < defs->cnt; k++)
		if (defs->v[k].id_is_set && uuid_equal(&defs->v[k].id, id)) {
			uuid_format(id, text);
			return diag_set(d, -EINVAL,
			                "%s: UUID=%s is what the seed gives the partition of %s",
			                defs->v[k].file, text, defs->v[i].file);
		}
	return 0;
}

static int set_part_id(struct disk_identity *out, const struct definitions *defs, size_t i,
                       const struct uuid *seed, struct diag *d)
{
	const struct definition *def = &defs->v[i];

	out->id_from_root[i] = -1;
	out->part_id[i] = def->id;
	if (def->id_is_set)
		return 0;
	int r = derive_part_id(defs, i, seed, &out->part_id[i]);
	if (r < 0)
		return diag_set(d, r, "%s: HMAC failed", def->file);
	if (def->verity == DEFINITION_VERITY_DATA)
		out->id_from_root[i] = 0;
	else if (def->verity == DEFINITION_VERITY_HASH)
		out->id_from_root[i] = 1;
	return refuse_given_twice(defs, i, &out->part_id[i], d);
}

static bool is_label_taken(const struct disk_identity *id, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(id->label[k], id->label[i]) == 0)
			return true;
	return false;
}

/* The given name, or the type's with the first number that no earlier partition has. */
static void set_label(struct disk_identity *out, const struct definitions *defs, size_t i)
{
	const struct definition *def = &defs->v[i];
	const char *type = gpt_type_name(&def->type) ?: "linux";

	if (def->label) {
		snprintf(out->label[i], sizeof(out->label[i]), "%s", def->label);
		return;
	}
	snprintf(out->label[i], sizeof(out->label[i]), "%s", type);
	for (unsigned k = 2; is_label_taken(out, i); k++)
		snprintf(out->label[i], sizeof(out->label[i]), "%s-%u", type, k);
}

int disk_identity_init(struct disk_identity *out, const struct definitions *defs,
                       const struct uuid *seed, struct diag *d)
{
	static const char salt[] = "verity-salt";
	int r = 0;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < defs->cnt && r == 0; i++) {
		set_label(out, defs, i);
		r = set_part_id(out, defs, i, seed, d);
	}
	if (r < 0)
		return r;
	/* never from the root hash, which is not known before the file system is made */
	r = derive_from_word(&out->part_id[defs->data], "file-system-uuid", &out->fs_uuid);
	if (r == 0)
		r = derive_from_word(seed, "disk-uuid", &out->disk_id);
	if (r == 0)
		r = derive_from_word(seed, "verity-uuid", &out->verity_uuid);
	if (r == 0)
		r = hash_hmac_sha256(seed->b, sizeof(seed->b), salt, strlen(salt), out->salt);
	return r < 0 ? diag_set(d, r, "HMAC failed") : 0;
}
