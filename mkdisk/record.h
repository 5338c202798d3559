/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build says about itself, as JSON: the repart-compatible result on stdout, and the
 * provenance record (docs/record.md). One thread.
 */
#ifndef MODELDISK_RECORD_H
#define MODELDISK_RECORD_H

#include "disk_plan.h"
#include "source.h"

enum record_json {
	RECORD_JSON_PRETTY,
	RECORD_JSON_SHORT,
	RECORD_JSON_OFF, /* no JSON: the root hash alone, in hex */
};

/* One finished build. All borrowed. */
struct record {
	const char *disk_path;          /* as given */
	const char *layout;             /* "repart" or "flat" */
	const struct definitions *defs; /* repart only */
	const struct disk_plan *plan;   /* after disk_plan_set_root() */
	const struct compat *compat;
	struct source *source;
	const struct tree *tree;
	const char *const *exclude; /* patterns, NULL-terminated */
	const char *exclude_mode;
	const uint8_t (*file_digest)[32]; /* SHA-256 by tree_node.index; NULL when not computed */
	const uint8_t *image_digest;      /* SHA-256 of the whole disk, NULL when not computed */
	struct uuid seed;                 /* repart only */
	struct uuid fs_uuid;
	uint64_t epoch; /* SOURCE_DATE_EPOCH */
	bool keep_owners, keep_xattrs;
	uint8_t root[32];
};

/*
 * systemd-repart's JSON, byte for byte as sd-json prints it (docs/format.md "JSON"); flat: an array
 * of one object with our fields, so that `jq -r '.[0].roothash'` works for both. A malloc'ed text
 * that ends with a newline.
 */
int record_result_text(const struct record *r, enum record_json mode, char **out, struct diag *d)
        MUST_CHECK;
/* The provenance record as text, malloc'ed: a function of source, options and disk; no clock, no
 * host name. */
int record_text(const struct record *r, char **out, struct diag *d) MUST_CHECK;
/* Can a record, or another file beside the disk, be written there? To be asked before the work:
 * -EINVAL for "-" (stdout belongs to the result) and for anything but a regular file. */
int record_check_path(const char *path, struct diag *d) MUST_CHECK;
/* Writes it: temporary file, fsync, rename. */
int record_write(const void *bytes, size_t len, const char *path, struct diag *d) MUST_CHECK;

#endif
