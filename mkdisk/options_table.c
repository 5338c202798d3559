/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options: names, what their arguments are, what they set, and their line of the help.
 */
#include "options_table.h"

#include <errno.h>

/* ---- setters that any row can use; the table says with which field ---- */

static int set_flag(struct options *o, const struct option_value *v)
{
	(void)o;
	*(bool *)v->field = true;
	return 0;
}

static int set_text(struct options *o, const struct option_value *v)
{
	(void)o;
	*(const char **)v->field = v->text;
	return 0;
}

static int set_uuid(struct options *o, const struct option_value *v)
{
	(void)o;
	return uuid_parse(v->text, v->field);
}

/* ---- setters of one option each ---- */

static int set_layout(struct options *o, const struct option_value *v)
{
	o->build.layout = v->choice == 0 ? COMPAT_REPART : COMPAT_FLAT;
	return 0;
}

static int set_size(struct options *o, const struct option_value *v)
{
	if (strcmp(v->text, "auto") == 0) {
		o->build.size = BUILD_SIZE_AUTO;
		return 0;
	}
	if (size_parse(v->text, &o->build.size) < 0 || o->build.size > INT64_MAX)
		return -EINVAL;
	return 0;
}

static int append(const char ***list, size_t *cnt, const char *arg)
{
	const char **grown = realloc(*list, (*cnt + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[(*cnt)++] = arg;
	*list = grown;
	return 0;
}

static int set_definitions(struct options *o, const struct option_value *v)
{
	return append(&o->build.definitions, &o->build.definition_cnt, v->text);
}

static int set_exclude(struct options *o, const struct option_value *v)
{
	return append(&o->build.exclude, &o->build.exclude_cnt, v->text);
}

static int set_sector_size(struct options *o, const struct option_value *v)
{
	o->build.sector_len = v->choice == 0 ? 512 : 4096;
	return 0;
}

static int set_coverage(struct options *o, const struct option_value *v)
{
	o->build.coverage = v->choice == 0 ? DISK_COVER_PARTITION : DISK_COVER_FILESYSTEM;
	return 0;
}

static int set_offline(struct options *o, const struct option_value *v)
{
	/* yes: as repart works without loop devices */
	o->build.coverage = v->choice == 0 ? DISK_COVER_FILESYSTEM : DISK_COVER_PARTITION;
	return 0;
}

static int set_salt(struct options *o, const struct option_value *v)
{
	size_t len = strlen(v->text) / 2;

	if (len == 0 || len > sizeof(o->build.salt) || hex_decode(v->text, o->build.salt, len) < 0)
		return -EINVAL;
	o->build.salt_len = len;
	return 0;
}

static int set_exclude_mode(struct options *o, const struct option_value *v)
{
	o->build.exclude_mode = v->choice == 0 ? EXCLUDE_GITIGNORE : EXCLUDE_PRIVATEMODE;
	return 0;
}

static int set_list(struct options *o, const struct option_value *v)
{
	o->action = OPTIONS_LIST;
	o->list = v->text && v->choice == 1 ? BUILD_LIST_JSON : BUILD_LIST_TEXT;
	return 0;
}

static int set_list_excluded(struct options *o, const struct option_value *v)
{
	(void)v;
	o->action = OPTIONS_LIST;
	o->list = BUILD_LIST_EXCLUDED;
	return 0;
}

static int set_owner(struct options *o, const struct option_value *v)
{
	o->build.keep_owners = v->choice == 1;
	return 0;
}

static int set_xattrs(struct options *o, const struct option_value *v)
{
	o->build.xattrs = v->choice == 0 ? BUILD_XATTRS_KEEP : BUILD_XATTRS_DROP;
	return 0;
}

static int parse_number(const char *arg, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (!*arg)
		return -EINVAL;
	for (; *arg; arg++) {
		if (*arg < '0' || *arg > '9' || !mul_u64(v, 10, &v) ||
		    !add_u64(v, (uint64_t)(*arg - '0'), &v) || v > max)
			return -EINVAL;
	}
	*out = v;
	return 0;
}

static int set_epoch(struct options *o, const struct option_value *v)
{
	return parse_number(v->text, INT64_MAX, &o->build.epoch);
}

static int set_json(struct options *o, const struct option_value *v)
{
	static const enum record_json modes[] = { RECORD_JSON_PRETTY, RECORD_JSON_SHORT,
		                                  RECORD_JSON_OFF };

	o->build.json = modes[v->choice];
	return 0;
}

static int set_dry_run(struct options *o, const struct option_value *v)
{
	o->build.root_hash_only = !v->text || v->choice == 0;
	return 0;
}

static int set_image_digest(struct options *o, const struct option_value *v)
{
	o->build.no_image_digest = v->choice == 1;
	return 0;
}

static int set_expect_root_hash(struct options *o, const struct option_value *v)
{
	o->build.root_is_expected = true;
	return hex_decode(v->text, o->build.expected_root, sizeof(o->build.expected_root));
}

static int set_jobs(struct options *o, const struct option_value *v)
{
	uint64_t jobs = 0;

	if (parse_number(v->text, BUILD_MAX_JOBS, &jobs) < 0 || jobs == 0)
		return -EINVAL;
	o->build.jobs = (unsigned)jobs;
	return 0;
}

#define MAX_RETRIES   1000
#define MAX_TIMEOUT_S 86400

static int set_retries(struct options *o, const struct option_value *v)
{
	uint64_t retries = 0;

	if (parse_number(v->text, MAX_RETRIES, &retries) < 0)
		return -EINVAL;
	o->build.retries = (unsigned)retries;
	return 0;
}

static int set_timeout(struct options *o, const struct option_value *v)
{
	uint64_t seconds = 0;

	if (parse_number(v->text, MAX_TIMEOUT_S, &seconds) < 0 || seconds == 0)
		return -EINVAL;
	o->build.timeout_s = (unsigned)seconds;
	return 0;
}

static int set_progress(struct options *o, const struct option_value *v)
{
	static const enum report_progress_mode modes[] = {
		REPORT_PROGRESS_AUTO, REPORT_PROGRESS_BAR, REPORT_PROGRESS_LINES,
		REPORT_PROGRESS_JSON, REPORT_PROGRESS_OFF,
	};

	o->progress = modes[v->choice];
	return 0;
}

static int set_quiet(struct options *o, const struct option_value *v)
{
	(void)v;
	o->quiet = true;
	o->progress = REPORT_PROGRESS_OFF;
	return 0;
}

static int set_help(struct options *o, const struct option_value *v)
{
	(void)v;
	o->action = OPTIONS_HELP;
	return 0;
}

static int set_version(struct options *o, const struct option_value *v)
{
	(void)v;
	o->action = OPTIONS_VERSION;
	return 0;
}

/* ---- the table ---- */

/* Setter and field of a row; a member of another type does not compile. */
#define FIELD(type, member)                                                                        \
	offsetof(struct options, member) +                                                         \
	        0 * sizeof((type *)NULL == &((struct options *)NULL)->member)
#define FLAG(member) set_flag, FIELD(bool, member)
#define TEXT(member) set_text, FIELD(const char *, member)
#define UUID(member) set_uuid, FIELD(struct uuid, member)
#define BY(setter)   setter, 0

const struct option_row option_rows[] = {
	{ .help = "The disk" },
	{ "layout", 0, "repart|flat", ANY_LAYOUT, BY(set_layout),
	  "repart (default): GPT with a data and a hash partition, as systemd-repart makes "
	  "it. flat: file system and hash tree one behind the other, as mkfs.erofs and "
	  "veritysetup make it" },
	{ "size", 0, "SIZE", REPART_ONLY, BY(set_size),
	  "bytes, 512M, 1.5G, or auto: the smallest disk that holds it. Default: what DISK "
	  "has, auto for a new file" },
	{ "definitions", 0, "DIR", REPART_ONLY, BY(set_definitions),
	  "read repart.d(5) definition files from DIR; may be repeated. Default: two built-in"
	  " ones, which the source tree has in repart/" },
	{ "seed", 0, "UUID", REPART_ONLY, UUID(build.seed),
	  "derive salt and UUIDs from it. Default: " REFERENCE_UUID },
	{ "disk-guid", 0, "UUID", REPART_ONLY, UUID(build.disk_id),
	  "GUID of the disk. Default: " REFERENCE_UUID },
	{ "empty", 0, "force", REPART_ONLY, FLAG(build.table_by_repart),
	  "make the table as repart makes it on a blank disk: first partition at 1 MiB, GUID "
	  "of the disk from the seed" },
	{ "sector-size", 0, "512|4096", REPART_ONLY, BY(set_sector_size),
	  "logical sector size. Default: that of the device, 512 for files" },
	{ "coverage", 0, "partition|filesystem", REPART_ONLY, BY(set_coverage),
	  "how much the hash tree covers: all of the data partition (default), or the file "
	  "system alone" },
	{ "offline", 0, "yes|no|auto", REPART_ONLY, BY(set_offline),
	  "repart's words for it: yes is --coverage=filesystem" },
	{ "uuid", 0, "UUID", FLAT_ONLY, UUID(build.fs_uuid),
	  "UUID of the file system. Default: zeros" },
	{ "salt", 0, "HEX", FLAT_ONLY, BY(set_salt), "salt of the hash tree. Default: 00" },
	{ "verity-uuid", 0, "UUID", FLAT_ONLY, UUID(build.verity_uuid),
	  "UUID of the hash tree. Default: zeros" },
	{ "compat", 0, "NAME[,NAME]", ANY_LAYOUT, TEXT(build.compat),
	  "equal these releases of the reference tools; a wrong name lists the known ones" },

	{ .help = "What goes in" },
	{ "exclude", 0, "PATTERN", ANY_LAYOUT, BY(set_exclude),
	  "leave out what matches; may be repeated" },
	{ "exclude-mode", 0, "gitignore|privatemode", ANY_LAYOUT, BY(set_exclude_mode),
	  "how patterns match: as in .gitignore (default), or as git-lfs and the shell match "
	  "in the reference's script" },
	{ "list", 0, "[text|json]", ANY_LAYOUT, BY(set_list),
	  "only say what would go in, with sizes, what would be left out and why, and how "
	  "large the disk would be; fetches no Git LFS objects" },
	{ "list-excluded", 0, NULL, ANY_LAYOUT, BY(set_list_excluded),
	  "only print what would be left out: pattern, tab, path" },
	{ "allow-ref", 0, NULL, ANY_LAYOUT, FLAG(build.allow_ref),
	  "COMMIT may be a branch or tag; says which commit that is now" },
	{ "dereference", 0, NULL, ANY_LAYOUT, FLAG(build.follow_blobs),
	  "SOURCE is a snapshot of a Hugging Face cache: take what its links lead to" },
	{ "lfs-url", 0, "URL", ANY_LAYOUT, TEXT(build.lfs_url),
	  "where Git LFS objects come from. Default: the server of SOURCE" },
	{ "owner", 0, "root|keep", ANY_LAYOUT, BY(set_owner),
	  "files belong to 0:0 (default), or to whom they belong in SOURCE" },
	{ "xattrs", 0, "keep|drop", ANY_LAYOUT, BY(set_xattrs),
	  "extended attributes of files. Default: keep with --owner=keep in the repart "
	  "layout, drop otherwise" },
	{ "source-date-epoch", 0, "SECONDS", ANY_LAYOUT, BY(set_epoch),
	  "no time in the file system is later. Default: 0" },

	{ .help = "What comes out" },
	{ "json", 0, "pretty|short|off", ANY_LAYOUT, BY(set_json),
	  "what stdout gets: repart's JSON in many lines (default) or in one, or the root "
	  "hash alone" },
	{ "record", 0, "FILE", ANY_LAYOUT, TEXT(build.record),
	  "write a record of source, options, disk and the SHA-256 of every file" },
	{ "private-key", 0, "FILE", ANY_LAYOUT, TEXT(build.private_key),
	  "sign the root hash with this RSA key (PEM), for a partition with Verity=signature or "
	  "for --root-hash-sig" },
	{ "certificate", 0, "FILE", ANY_LAYOUT, TEXT(build.certificate),
	  "certificate of the private key (PEM)" },
	{ "root-hash-sig", 0, "FILE", ANY_LAYOUT, TEXT(build.root_hash_sig),
	  "write the signature, as veritysetup and the kernel take it" },
	{ "image-digest", 0, "yes|no", ANY_LAYOUT, BY(set_image_digest),
	  "SHA-256 of the whole disk in the record, for which it is read again (default), or "
	  "not" },
	{ "root-hash-only", 0, NULL, ANY_LAYOUT, FLAG(build.root_hash_only),
	  "write no disk, only find out its root hash" },
	{ "dry-run", 0, "[yes|no]", ANY_LAYOUT, BY(set_dry_run),
	  "repart's word for --root-hash-only" },
	{ "expect-root-hash", 0, "HEX", ANY_LAYOUT, BY(set_expect_root_hash),
	  "refuse, and leave nothing behind, if the root hash is another one" },
	{ "force", 0, NULL, ANY_LAYOUT, FLAG(build.force),
	  "overwrite DISK although it holds a file system or partition table" },

	{ .help = "How" },
	{ "jobs", 'j', "N", ANY_LAYOUT, BY(set_jobs),
	  "threads, and transfers at once from a Git LFS server. Default: two threads per "
	  "processor, 8 transfers" },
	{ "cache-dir", 0, "DIR", ANY_LAYOUT, TEXT(build.cache_dir),
	  "keep fetched commits in DIR. Default: $XDG_CACHE_HOME/modeldisk" },
	{ "no-cache", 0, NULL, ANY_LAYOUT, FLAG(build.no_cache),
	  "keep nothing that was fetched for another time" },
	{ "ca-file", 0, "FILE", ANY_LAYOUT, TEXT(build.ca_file),
	  "trust servers whose certificate is signed by one in FILE (PEM), and no others" },
	{ "retries", 0, "N", ANY_LAYOUT, BY(set_retries),
	  "how often in a row a transfer may fail before the build does. Default: 8" },
	{ "timeout", 0, "SECONDS", ANY_LAYOUT, BY(set_timeout),
	  "try a transfer again that brings nothing for so long. Default: 30" },
	{ "progress", 0, "auto|bar|lines|json|off", ANY_LAYOUT, BY(set_progress),
	  "how to show it on stderr. Default: a bar on a terminal, lines elsewhere" },
	{ "quiet", 'q', NULL, ANY_LAYOUT, BY(set_quiet), "errors only" },
	{ "no-sandbox", 0, NULL, ANY_LAYOUT, FLAG(no_sandbox),
	  "keep all rights: for debugging, and for credential helpers that need more" },
	{ "help", 'h', NULL, ANY_LAYOUT, BY(set_help), "this text" },
	{ "version", 'V', NULL, ANY_LAYOUT, BY(set_version), "version of this program" },
};

const size_t option_row_cnt = ARRAY_LEN(option_rows);
_Static_assert(ARRAY_LEN(option_rows) <= OPTION_CNT, "the parser has room for all rows");
