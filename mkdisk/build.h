/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk from one source, from the first look at the repository to the rename of the finished
 * file: source, definitions, populate, plans, output, contents, tree, table, record, in this order.
 * One thread; starts the workers of contents.h itself.
 */
#ifndef MODELDISK_BUILD_H
#define MODELDISK_BUILD_H

#include "compat.h"
#include "contents.h"
#include "disk_plan.h"
#include "exclude.h"
#include "objects.h"
#include "record.h"

#include <stdatomic.h>

/* What the user asked for; all strings are borrowed. options_parse() fills in the defaults. */
#define BUILD_MAX_JOBS CONTENTS_MAX_JOBS
struct build_options {
	const char *disk, *source;
	const char *commit; /* NULL for a directory */
	enum compat_layout layout;
	const char *compat; /* names, or NULL */

	/* the disk */
	uint64_t size;                      /* bytes, or one of the two below */
#define BUILD_SIZE_DEFAULT UINT64_MAX       /* as DISK has, auto when there is none */
#define BUILD_SIZE_AUTO    (UINT64_MAX - 1) /* the smallest */
	uint32_t sector_len;                /* 0: as the device has, 512 for files */
	enum disk_coverage coverage;
	const char **definitions; /* directories; none: the built-in definitions */
	size_t definition_cnt;
	struct uuid seed, disk_id; /* repart */
	bool table_by_repart;
	struct uuid fs_uuid, verity_uuid; /* flat */
	uint8_t salt[HASH_MAX_SALT_LEN];  /* flat */
	size_t salt_len;

	/* what goes in */
	const char **exclude; /* patterns */
	size_t exclude_cnt;
	const char *exclude_list; /* EXCLUDE_GIT_FILES, or NULL */
	bool follow_blobs;        /* SOURCE is a snapshot of a Hugging Face cache */
	bool allow_ref;           /* commit may be a branch or tag */
	const char *cache_dir;    /* for fetched commits; NULL: the user's cache directory */
	bool no_cache;
	const char *git_token; /* GIT_PAT, or NULL */
	const char *lfs_url;   /* where LFS objects come from; NULL: from SOURCE's server */
	const char *ca_file;   /* whom to trust; NULL: the system's */
	enum exclude_mode exclude_mode;
	bool keep_owners;
	enum build_xattrs { BUILD_XATTRS_DEFAULT, BUILD_XATTRS_KEEP, BUILD_XATTRS_DROP } xattrs;
	uint64_t epoch;

	/* what comes out */
	enum record_json json;
	const char *record; /* file, or NULL */
	/* who signs the root hash, PEM files, both or none: for Verity=signature, and for a file */
	const char *private_key, *certificate;
	const char *root_hash_sig; /* file, or NULL */
	bool no_image_digest;      /* in the record: the finished disk is not read again */
	bool root_hash_only;
	bool root_is_expected;
	uint8_t expected_root[32];
	bool force;

	unsigned jobs;      /* 0: two for each processor */
	unsigned retries;   /* of an HTTP request, and */
	unsigned timeout_s; /* seconds without a byte: for Git LFS objects */
};

/*
 * Are the attributes of a source directory kept? By default mkfs.erofs gets -x-1 in the flat
 * layout, and repart copies them.
 */
bool build_keeps_xattrs(const struct build_options *opt);

/* Whom a build tells what it does; any may be NULL. bytes may come from several threads. */
struct build_hooks {
	void (*start)(void *ctx, const char *what, uint64_t total_bytes);
	void (*bytes)(void *ctx, uint64_t bytes);
	void (*end)(void *ctx);
	void (*warn)(void *ctx, const char *sentence);
	void (*note)(void *ctx, const char *sentence);
	/* A Git LFS object by its first file; done: bytes of it that are on the disk. From several
	 * threads. */
	void (*file)(void *ctx, const char *path, enum objects_event event, uint64_t done,
	             uint64_t size);
	void *ctx;
	const atomic_bool *stop; /* set by a signal: give up with -EINTR */
};

/*
 * Makes the disk and gives the text for stdout, malloc'ed. -EINVAL, -EUCLEAN, -EBADMSG (another
 * root hash than expected, and then nothing is left behind), -EOPNOTSUPP, -ENOSPC with the size
 * needed, -EEXIST without force, and what the system said.
 */
int build_disk(const struct build_options *opt, const struct build_hooks *hooks, char **result,
               struct diag *d) MUST_CHECK;
/*
 * Makes no disk, only says what would be on it (listing.h) and how large the smallest one would be.
 * Git LFS objects are not fetched, a commit is.
 */
enum build_list {
	BUILD_LIST_EXCLUDED, /* only what would be left out */
	BUILD_LIST_TEXT,
	BUILD_LIST_JSON,
};
int build_list(const struct build_options *opt, enum build_list list,
               const struct build_hooks *hooks, char **result, struct diag *d) MUST_CHECK;

#endif
