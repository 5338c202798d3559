/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Decides spellings, defaults and which options go together; what they mean for
 * a disk is decided where they are used.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#define HELP_WIDTH  80
#define HELP_INDENT 31

/* The reference's constant: seed of every identifier, and the disk's GUID. */
#define REFERENCE_UUID "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

/* The argument of one option. */
struct value {
	const char *text; /* NULL when there is none */
	int choice;       /* its index among the words the table allows */
};

/* ---- one function per option: 0, or -EINVAL for an argument that is not understood ---- */

static int set_layout(struct options *o, const struct value *v)
{
	o->build.layout = v->choice == 0 ? COMPAT_REPART : COMPAT_FLAT;
	return 0;
}

static int set_size(struct options *o, const struct value *v)
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

static int set_definitions(struct options *o, const struct value *v)
{
	return append(&o->build.definitions, &o->build.definition_cnt, v->text);
}

static int set_seed(struct options *o, const struct value *v)
{
	return uuid_parse(v->text, &o->build.seed);
}

static int set_disk_guid(struct options *o, const struct value *v)
{
	return uuid_parse(v->text, &o->build.disk_id);
}

static int set_empty(struct options *o, const struct value *v)
{
	(void)v;
	o->build.table_by_repart = true;
	return 0;
}

static int set_sector_size(struct options *o, const struct value *v)
{
	o->build.sector_len = v->choice == 0 ? 512 : 4096;
	return 0;
}

static int set_coverage(struct options *o, const struct value *v)
{
	o->build.coverage = v->choice == 0 ? DISK_COVER_PARTITION : DISK_COVER_FILESYSTEM;
	return 0;
}

static int set_offline(struct options *o, const struct value *v)
{
	/* yes: as repart works without loop devices */
	o->build.coverage = v->choice == 0 ? DISK_COVER_FILESYSTEM : DISK_COVER_PARTITION;
	return 0;
}

static int set_uuid(struct options *o, const struct value *v)
{
	return uuid_parse(v->text, &o->build.fs_uuid);
}

static int set_salt(struct options *o, const struct value *v)
{
	size_t len = strlen(v->text) / 2;

	if (len == 0 || len > sizeof(o->build.salt) || hex_decode(v->text, o->build.salt, len) < 0)
		return -EINVAL;
	o->build.salt_len = len;
	return 0;
}

static int set_verity_uuid(struct options *o, const struct value *v)
{
	return uuid_parse(v->text, &o->build.verity_uuid);
}

static int set_compat(struct options *o, const struct value *v)
{
	o->build.compat = v->text;
	return 0;
}

static int set_exclude(struct options *o, const struct value *v)
{
	return append(&o->build.exclude, &o->build.exclude_cnt, v->text);
}

static int set_exclude_mode(struct options *o, const struct value *v)
{
	o->build.exclude_mode = v->choice == 0 ? EXCLUDE_GITIGNORE : EXCLUDE_PRIVATEMODE;
	return 0;
}

static int set_list_excluded(struct options *o, const struct value *v)
{
	(void)v;
	o->action = OPTIONS_LIST_EXCLUDED;
	return 0;
}

static int set_owner(struct options *o, const struct value *v)
{
	o->build.keep_owners = v->choice == 1;
	return 0;
}

static int set_xattrs(struct options *o, const struct value *v)
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

static int set_epoch(struct options *o, const struct value *v)
{
	return parse_number(v->text, INT64_MAX, &o->build.epoch);
}

static int set_json(struct options *o, const struct value *v)
{
	static const enum record_json modes[] = { RECORD_JSON_PRETTY, RECORD_JSON_SHORT,
		                                  RECORD_JSON_OFF };

	o->build.json = modes[v->choice];
	return 0;
}

static int set_record(struct options *o, const struct value *v)
{
	o->build.record = v->text;
	return 0;
}

static int set_root_hash_only(struct options *o, const struct value *v)
{
	(void)v;
	o->build.root_hash_only = true;
	return 0;
}

static int set_dry_run(struct options *o, const struct value *v)
{
	o->build.root_hash_only = !v->text || v->choice == 0;
	return 0;
}

static int set_expect_root_hash(struct options *o, const struct value *v)
{
	o->build.root_is_expected = true;
	return hex_decode(v->text, o->build.expected_root, sizeof(o->build.expected_root));
}

static int set_jobs(struct options *o, const struct value *v)
{
	uint64_t jobs = 0;

	if (parse_number(v->text, BUILD_MAX_JOBS, &jobs) < 0 || jobs == 0)
		return -EINVAL;
	o->build.jobs = (unsigned)jobs;
	return 0;
}

static int set_progress(struct options *o, const struct value *v)
{
	static const enum report_progress_mode modes[] = {
		REPORT_PROGRESS_AUTO, REPORT_PROGRESS_BAR, REPORT_PROGRESS_LINES,
		REPORT_PROGRESS_JSON, REPORT_PROGRESS_OFF,
	};

	o->progress = modes[v->choice];
	return 0;
}

static int set_force(struct options *o, const struct value *v)
{
	(void)v;
	o->build.force = true;
	return 0;
}

static int set_quiet(struct options *o, const struct value *v)
{
	(void)v;
	o->quiet = true;
	o->progress = REPORT_PROGRESS_OFF;
	return 0;
}

static int set_help(struct options *o, const struct value *v)
{
	(void)v;
	o->action = OPTIONS_HELP;
	return 0;
}

static int set_version(struct options *o, const struct value *v)
{
	(void)v;
	o->action = OPTIONS_VERSION;
	return 0;
}

/* ---- the table ---- */

enum { ANY_LAYOUT, REPART_ONLY, FLAT_ONLY };

struct option_row {
	const char *name; /* NULL: help is a heading */
	char letter;      /* or 0 */
	const char *arg;  /* NULL: none; words joined by '|' are the only ones allowed; one in
	                     brackets may be left out */
	int layout;
	int (*set)(struct options *o, const struct value *v);
	const char *help;
};

static const struct option_row rows[] = {
	{ .help = "The disk" },
	{ "layout", 0, "repart|flat", ANY_LAYOUT, set_layout,
	  "repart (default): GPT with a data and a hash partition, as systemd-repart makes it. "
	  "flat: "
	  "file system and hash tree one behind the other, as mkfs.erofs and veritysetup make it" },
	{ "size", 0, "SIZE", REPART_ONLY, set_size,
	  "bytes, 512M, 1.5G, or auto: the smallest disk that holds it. Default: what DISK has, "
	  "auto "
	  "for a new file" },
	{ "definitions", 0, "DIR", REPART_ONLY, set_definitions,
	  "read repart.d(5) definition files from DIR; may be repeated. Default: two built-in "
	  "ones, "
	  "which the source tree has in repart/" },
	{ "seed", 0, "UUID", REPART_ONLY, set_seed,
	  "derive salt and UUIDs from it. Default: " REFERENCE_UUID },
	{ "disk-guid", 0, "UUID", REPART_ONLY, set_disk_guid,
	  "GUID of the disk. Default: " REFERENCE_UUID },
	{ "empty", 0, "force", REPART_ONLY, set_empty,
	  "make the table as repart makes it on a blank disk: first partition at 1 MiB, GUID of "
	  "the "
	  "disk from the seed" },
	{ "sector-size", 0, "512|4096", REPART_ONLY, set_sector_size,
	  "logical sector size. Default: that of the device, 512 for files" },
	{ "coverage", 0, "partition|filesystem", REPART_ONLY, set_coverage,
	  "how much the hash tree covers: all of the data partition (default), or the file system "
	  "alone" },
	{ "offline", 0, "yes|no|auto", REPART_ONLY, set_offline,
	  "repart's words for it: yes is --coverage=filesystem" },
	{ "uuid", 0, "UUID", FLAT_ONLY, set_uuid, "UUID of the file system. Default: zeros" },
	{ "salt", 0, "HEX", FLAT_ONLY, set_salt, "salt of the hash tree. Default: 00" },
	{ "verity-uuid", 0, "UUID", FLAT_ONLY, set_verity_uuid,
	  "UUID of the hash tree. Default: zeros" },
	{ "compat", 0, "NAME[,NAME]", ANY_LAYOUT, set_compat,
	  "equal these releases of the reference tools; a wrong name lists the known ones" },

	{ .help = "What goes in" },
	{ "exclude", 0, "PATTERN", ANY_LAYOUT, set_exclude,
	  "leave out what matches; may be repeated" },
	{ "exclude-mode", 0, "gitignore|privatemode", ANY_LAYOUT, set_exclude_mode,
	  "how patterns match: as in .gitignore (default), or as git-lfs and the shell match in "
	  "the "
	  "reference's script" },
	{ "list-excluded", 0, NULL, ANY_LAYOUT, set_list_excluded,
	  "only print what would be left out: pattern, tab, path" },
	{ "owner", 0, "root|keep", ANY_LAYOUT, set_owner,
	  "files belong to 0:0 (default), or to whom they belong in SOURCE" },
	{ "xattrs", 0, "keep|drop", ANY_LAYOUT, set_xattrs,
	  "extended attributes of files. Default: keep with --owner=keep in the repart layout, "
	  "drop "
	  "otherwise" },
	{ "source-date-epoch", 0, "SECONDS", ANY_LAYOUT, set_epoch,
	  "no time in the file system is later. Default: 0" },

	{ .help = "What comes out" },
	{ "json", 0, "pretty|short|off", ANY_LAYOUT, set_json,
	  "what stdout gets: repart's JSON in many lines (default) or in one, or the root hash "
	  "alone" },
	{ "record", 0, "FILE", ANY_LAYOUT, set_record,
	  "write a record of source, options, disk and the SHA-256 of every file" },
	{ "root-hash-only", 0, NULL, ANY_LAYOUT, set_root_hash_only,
	  "write no disk, only find out its root hash" },
	{ "dry-run", 0, "[yes|no]", ANY_LAYOUT, set_dry_run, "repart's word for --root-hash-only" },
	{ "expect-root-hash", 0, "HEX", ANY_LAYOUT, set_expect_root_hash,
	  "refuse, and leave nothing behind, if the root hash is another one" },
	{ "force", 0, NULL, ANY_LAYOUT, set_force,
	  "overwrite DISK although it holds a file system or partition table" },

	{ .help = "How" },
	{ "jobs", 'j', "N", ANY_LAYOUT, set_jobs, "threads. Default: one per processor" },
	{ "progress", 0, "auto|bar|lines|json|off", ANY_LAYOUT, set_progress,
	  "how to show it on stderr. Default: a bar on a terminal, lines elsewhere" },
	{ "quiet", 'q', NULL, ANY_LAYOUT, set_quiet, "errors only" },
	{ "help", 'h', NULL, ANY_LAYOUT, set_help, "this text" },
	{ "version", 'V', NULL, ANY_LAYOUT, set_version, "version of this program" },
};

static bool is_optional(const struct option_row *row)
{
	return row->arg && row->arg[0] == '[';
}

/* Index of arg among the words of "a|b|c" or "[a|b]", -1 if it is none of them. */
static int find_choice(const char *words, const char *arg)
{
	size_t len = strlen(arg);

	words += words[0] == '[';
	for (int i = 0;; i++) {
		size_t word_len = strcspn(words, "|]");

		if (word_len == len && memcmp(words, arg, len) == 0)
			return i;
		if (words[word_len] != '|')
			return -1;
		words += word_len + 1;
	}
}

/* Words in lower case or digits are choices, names in capitals stand for a value. */
static bool has_choices(const struct option_row *row)
{
	return row->arg && strpbrk(row->arg, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL;
}

static int apply(struct options *o, const struct option_row *row, const char *arg, struct diag *d)
{
	struct value v = { .text = arg };
	int r = 0;

	if (arg && has_choices(row)) {
		v.choice = find_choice(row->arg, arg);
		r = v.choice < 0 ? -EINVAL : 0;
	}
	if (r == 0)
		r = row->set(o, &v);
	if (r == -ENOMEM)
		return diag_set(d, r, "out of memory");
	if (r < 0)
		return diag_set(d, -EINVAL, "--%s=%s: expected %s", row->name, arg, row->arg);
	return 0;
}

#define ROW_CNT (sizeof(rows) / sizeof(rows[0]))
#define ROW_VAL 256 /* what getopt_long returns for row i is i more than this */

static void make_getopt(struct option long_options[ROW_CNT + 1], char letters[2 * ROW_CNT + 2])
{
	size_t n = 0;

	*letters++ = ':'; /* tell a missing argument from an unknown option */
	for (size_t i = 0; i < ROW_CNT; i++) {
		if (!rows[i].name)
			continue;
		long_options[n++] = (struct option){
			.name = rows[i].name,
			.has_arg = is_optional(&rows[i]) ? optional_argument
			           : rows[i].arg         ? required_argument
			                                 : no_argument,
			.val = ROW_VAL + (int)i,
		};
		if (rows[i].letter) {
			*letters++ = rows[i].letter;
			if (rows[i].arg)
				*letters++ = ':';
		}
	}
	long_options[n] = (struct option){ 0 };
	*letters = '\0';
}

static const struct option_row *find_row(int val)
{
	if (val >= ROW_VAL)
		return &rows[val - ROW_VAL];
	for (size_t i = 0; i < ROW_CNT; i++) {
		if (rows[i].letter && rows[i].letter == val)
			return &rows[i];
	}
	return NULL;
}

/* optopt is a letter, or 0 for a long option that is then the last word looked at. */
static int tell_getopt_failure(int val, char **argv, struct diag *d)
{
	const struct option_row *row = optopt ? find_row(optopt) : NULL;

	if (val == ':')
		return diag_set(d, -EINVAL, "%s needs an argument: %s", argv[optind - 1],
		                row ? row->arg : "see --help");
	if (row)
		return diag_set(d, -EINVAL, "--%s takes no argument", row->name);
	if (optopt)
		return diag_set(d, -EINVAL, "there is no option -%c; --help lists them", optopt);
	return diag_set(d, -EINVAL,
	                "there is no option %s, or it could be several; --help lists them",
	                argv[optind - 1]);
}

static int parse_options(int argc, char **argv, struct options *o, bool given[ROW_CNT],
                         struct diag *d)
{
	struct option long_options[ROW_CNT + 1];
	char letters[2 * ROW_CNT + 2];
	int val;

	make_getopt(long_options, letters);
	optind = 0; /* start anew, whoever parsed before */
	opterr = 0;
	while ((val = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
		const struct option_row *row;
		int r;

		if (val == '?' || val == ':')
			return tell_getopt_failure(val, argv, d);
		row = find_row(val);
		given[row - rows] = true;
		r = apply(o, row, optarg, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_layout(const struct options *o, const bool given[ROW_CNT], struct diag *d)
{
	int other = o->build.layout == COMPAT_FLAT ? REPART_ONLY : FLAT_ONLY;

	for (size_t i = 0; i < ROW_CNT; i++) {
		if (given[i] && rows[i].layout == other)
			return diag_set(d, -EINVAL, "--%s belongs to --layout=%s", rows[i].name,
			                other == FLAT_ONLY ? "flat" : "repart");
	}
	return 0;
}

static int take_arguments(int argc, char **argv, struct options *o, struct diag *d)
{
	int cnt = argc - optind;

	if (cnt < 2)
		return diag_set(d, -EINVAL, "expected DISK SOURCE [COMMIT]; --help explains them");
	if (cnt > 3)
		return diag_set(d, -EINVAL, "%s: one word too many; expected DISK SOURCE [COMMIT]",
		                argv[optind + 3]);
	o->build.disk = argv[optind];
	o->build.source = argv[optind + 1];
	o->build.commit = cnt == 3 ? argv[optind + 2] : NULL;
	return 0;
}

static void set_defaults(struct options *o)
{
	*o = (struct options){ .progress = REPORT_PROGRESS_AUTO };
	o->build.size = BUILD_SIZE_DEFAULT;
	o->build.salt_len = 1; /* one zero byte */
	if (uuid_parse(REFERENCE_UUID, &o->build.seed) < 0)
		abort(); /* our own constant */
	o->build.disk_id = o->build.seed;
}

int options_parse(int argc, char **argv, struct options *out, struct diag *d)
{
	bool given[ROW_CNT] = { false };
	struct options o;
	int r;

	set_defaults(&o);
	r = parse_options(argc, argv, &o, given, d);
	if (r == 0 && (o.action == OPTIONS_BUILD || o.action == OPTIONS_LIST_EXCLUDED)) {
		r = check_layout(&o, given, d);
		if (r == 0)
			r = take_arguments(argc, argv, &o, d);
	}
	if (r < 0) {
		options_release(&o);
		return r;
	}
	*out = o;
	return 0;
}

void options_release(struct options *o)
{
	free(take_ptr(o->build.definitions));
	free(take_ptr(o->build.exclude));
}

/* ---- help ---- */

/* Words of text from column HELP_INDENT on, broken before HELP_WIDTH; column is where we are. */
static void print_wrapped(const char *text, int column)
{
	while (*text) {
		int len = (int)strcspn(text, " ");

		if (column >= HELP_INDENT && column + 1 + len > HELP_WIDTH) {
			putchar('\n');
			column = 0;
		}
		if (column < HELP_INDENT)
			column += printf("%*s", HELP_INDENT - column, "");
		else
			column += printf(" ");
		column += printf("%.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_row(const struct option_row *row)
{
	int column;

	if (!row->name) {
		printf("\n%s:\n", row->help);
		return;
	}
	column = row->letter ? printf("  -%c, --%s", row->letter, row->name)
	                     : printf("      --%s", row->name);
	if (row->arg)
		column += is_optional(row) ? printf("[=%s", row->arg + 1) : printf("=%s", row->arg);
	if (column > HELP_INDENT - 2) {
		putchar('\n');
		column = 0;
	}
	print_wrapped(row->help, column);
}

void options_print_help(void)
{
	fputs("Usage: mkdisk [options] DISK SOURCE [COMMIT]\n"
	      "\n"
	      "Makes a disk from a model repository: GPT, EROFS and a dm-verity hash tree. The\n"
	      "root hash on stdout proves every byte of it. The same source gives the same\n"
	      "bytes, on any machine, whoever runs it. Needs no root and no other tool.\n"
	      "\n"
	      "  DISK    file or block device. One that exists fixes the size of the disk; a\n"
	      "          new file gets the smallest that will do. A file stands under its name\n"
	      "          only when it is complete.\n"
	      "  SOURCE  git repository (URL or path), or a directory that is taken as it is\n"
	      "  COMMIT  full id of the commit; needed for repositories, not for directories\n",
	      stdout);
	for (size_t i = 0; i < ROW_CNT; i++)
		print_row(&rows[i]);
	fputs("\n"
	      "Environment:\n"
	      "  EXCLUDE_GIT_FILES  more patterns to leave out, separated by commas\n"
	      "  GIT_PAT            access token for the repository\n"
	      "\n"
	      "Exit status: 0 done, 1 could not, 2 mistake in the command line, 3 refused.\n"
	      "\n"
	      "Examples:\n"
	      "  A disk of the smallest size, and its root hash:\n"
	      "    mkdisk opt.disk https://huggingface.co/facebook/opt-125m \\\n"
	      "        27dcfa74d334bc871f3234de431e71c6eeba5dd6 >repart.json\n"
	      "    jq -r '.[0].roothash' repart.json\n"
	      "  A disk of a given size, as the reference makes it:\n"
	      "    truncate -s 1G data.disk && mkdisk data.disk ./model\n"
	      "  Check a published root hash without writing a disk:\n"
	      "    mkdisk --layout=flat --root-hash-only --expect-root-hash=HEX \\\n"
	      "        none https://huggingface.co/facebook/opt-125m COMMIT\n",
	      stdout);
}
