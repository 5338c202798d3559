/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repart.d definition files (repart.d(5)) of a verity disk: found, ordered and parsed as
 * systemd-repart does it, but with every unknown key, section or value refused by file, line and
 * name, because a silently ignored key would change the root hash. Sizes are rounded later
 * (disk_plan.h), since the direction depends on the release. One thread.
 */
#ifndef MODELDISK_DEFINITIONS_H
#define MODELDISK_DEFINITIONS_H

#include "conf.h"
#include "text.h"

#define DEFINITIONS_MAX       128 /* as many as a table has entries */
#define DEFINITION_SIZE_UNSET UINT64_MAX
#define DEFINITION_SIZE_MAX   (UINT64_C(1) << 62) /* more is refused: sums cannot overflow */

enum definition_verity {
	DEFINITION_VERITY_OFF,
	DEFINITION_VERITY_DATA,
	DEFINITION_VERITY_HASH,
	DEFINITION_VERITY_SIGNATURE
};

struct definition_copy {
	char *source, *target; /* both absolute */
};
struct definition_link {
	char *path, *target; /* path absolute */
};
struct definition_strings {
	char **v;
	size_t cnt;
};

struct definition {
	char *file; /* path as found (DIR joined): for JSON and messages */
	struct uuid type;
	char *type_name; /* systemd's identifier, or the UUID's text */
	char *label;     /* NULL: unset (derive it); "" is a real empty name */
	struct uuid id;
	bool id_is_set; /* UUID= given; all-zero for "null" */
	int32_t priority;
	uint32_t weight, padding_weight;
	uint64_t size_min, size_max, padding_min,
	        padding_max;  /* as written; DEFINITION_SIZE_UNSET */
	bool format_is_erofs; /* Format=erofs */
	struct definition_copy *copy;
	size_t copy_cnt;
	struct definition_strings exclude_source, exclude_target, make_dirs,
	        mount_points; /* absolute paths, trailing '/' kept */
	struct definition_link *make_link;
	size_t make_link_cnt;
	enum definition_verity verity;
	char *match_key;
	uint64_t verity_data_block_len, verity_hash_block_len; /* 0: unset */
	uint64_t fs_sector_len;                                /* FileSystemSectorSize=, 0: unset */
	bool minimize;
	uint64_t flags;                     /* Flags= */
	int8_t read_only, no_auto, grow_fs; /* -1 unset; for types that do not know them they have
	                                       no effect, as in systemd */
	int8_t add_validatefs;              /* -1 unset */
	char **drop_in;                     /* drop-in files applied, for JSON */
	size_t drop_in_cnt;
};

struct definitions {
	struct definition *v; /* in definition order: by file name, byte-wise */
	size_t cnt;
	size_t data, hash; /* indexes of the one Verity=data and the one Verity=hash definition */
	size_t signature;  /* or SIZE_MAX */
};

/* The two files of repart/ that are built into the program (Privatemode's). */
int definitions_default(struct definitions **out, struct diag *d) MUST_CHECK;
/*
 * All *.conf of the given directories with their drop-ins (NAME.conf.d), merged and sorted by file
 * name; a file hides one of the same name in a later directory, and an empty one or a link to
 * /dev/null is nothing but that. -EINVAL with "FILE:LINE: ..." for anything wrong, -EOPNOTSUPP for
 * what repart can make and we do not: what we make is one erofs data partition with one hash
 * partition and at most one signature partition; more is refused.
 */
int definitions_load(const char *const *dirs, size_t dir_cnt, struct definitions **out,
                     struct diag *d) MUST_CHECK;
/* The same from memory: files in definition order, without drop-ins. */
int definitions_parse_text(const struct conf_text *file, size_t cnt, struct definitions **out,
                           struct diag *d) MUST_CHECK;
void definitions_free(struct definitions *defs);
DEFINE_SCOPED(definitions, struct definitions *, definitions_free)

#endif
