/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What build.c, build_plan.c and build_write.c share. For these three only.
 */
#ifndef MODELDISK_BUILD_INT_H
#define MODELDISK_BUILD_INT_H

#include "build.h"
#include "output.h"
#include "root_signature.h"

/* Everything a build makes on its way, in order of making. */
struct build {
	const struct build_options *opt;
	const struct build_hooks *hooks;
	struct compat compat;
	struct output_target target;
	struct exclude *exclude;
	const char **patterns; /* all of them, for the record; NULL-terminated */
	struct source *source;
	struct tree *tree;              /* the source's */
	struct definitions *defs;       /* repart */
	struct disk_identity *identity; /* repart */
	struct root_signer *signer;     /* NULL: nothing is signed */
	struct uuid fs_uuid;
	struct erofs_plan *erofs;
	struct disk_plan *disk;
	struct objects *objects;
	uint8_t (*file_digest)[32];
	uint8_t image_digest[32];
	uint8_t root[32];
};

static inline bool build_is_flat(const struct build *b)
{
	return b->opt->layout == COMPAT_FLAT;
}

void build_note(const struct build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void build_tell_note(void *ctx, const char *sentence); /* ctx: the build */

/* ---- build_plan.c ---- */

/* From b->tree to b->disk and b->objects. */
int build_make_plans(struct build *b, struct diag *d) MUST_CHECK;

/* ---- build_write.c ---- */

void build_tell_start(const struct build *b, const char *what, uint64_t total);
void build_tell_end(const struct build *b);
int build_open_output(const struct build *b, struct output **out, struct diag *d) MUST_CHECK;
/* All but the name: contents, metadata, tree, and, when the root hash is right, the table. */
int build_write_disk(struct build *b, struct output *out, struct diag *d) MUST_CHECK;
/* b->image_digest, by reading everything back. */
int build_digest_image(struct build *b, struct output *out, struct diag *d) MUST_CHECK;

#endif
