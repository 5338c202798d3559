/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build says about itself, as JSON: the repart-compatible result on stdout, and the
 * provenance record (docs/record.md). One thread.
 */
#ifndef MODELDISK_RECORD_H
#define MODELDISK_RECORD_H

#include "disk_plan.h"
#include "source.h"

enum record_json { RECORD_JSON_PRETTY, RECORD_JSON_SHORT, RECORD_JSON_OFF };

/* One finished build. All borrowed. */
struct record {
	const char *disk_path;          /* as given */
	const char *layout;             /* "repart" or "flat" */
	const struct definitions *defs; /* repart only */
	const struct disk_plan *plan;
	const struct compat *compat;
	const struct source *source;
	const struct tree *tree;
	const char *const *exclude; /* patterns, NULL-terminated */
	const char *exclude_mode;
	const uint8_t (*file_digest)[32]; /* SHA-256 by tree_node.index; NULL when not computed */
	const uint8_t *image_digest;      /* SHA-256 of the whole disk, NULL when not computed */
	uint8_t root[32];
};

/* systemd-repart's JSON, byte for byte as sd-json prints it (docs/format.md "JSON"); flat: one
 * object with our fields. */
int record_result_text(const struct record *r, enum record_json mode, char **out, struct diag *d)
        MUST_CHECK;
/* Writes the provenance record: temporary file, fsync, rename. path "-" is refused (stdout belongs
 * to the result). */
int record_write(const struct record *r, const char *path, struct diag *d) MUST_CHECK;

#endif
