/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Decides which options go together and what they default to; their spellings are
 * options_table.c's, and what they mean for a disk is decided where they are used.
 */
#include "http.h"
#include "options_table.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>

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
	struct option_value v = { .text = arg, .field = (char *)o + row->field };
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

#define ROW_VAL 256 /* what getopt_long returns for row i is i more than this */

static void make_getopt(struct option long_options[OPTION_CNT + 1],
                        char letters[2 * OPTION_CNT + 2])
{
	size_t n = 0;

	*letters++ = ':'; /* tell a missing argument from an unknown option */
	for (size_t i = 0; i < option_row_cnt; i++) {
		if (!option_rows[i].name)
			continue;
		long_options[n++] = (struct option){
			.name = option_rows[i].name,
			.has_arg = option_is_optional(&option_rows[i]) ? optional_argument
			           : option_rows[i].arg                ? required_argument
			                                               : no_argument,
			.val = ROW_VAL + (int)i,
		};
		if (option_rows[i].letter) {
			*letters++ = option_rows[i].letter;
			if (option_rows[i].arg)
				*letters++ = ':';
		}
	}
	long_options[n] = (struct option){ 0 };
	*letters = '\0';
}

static const struct option_row *find_row(int val)
{
	if (val >= ROW_VAL)
		return &option_rows[val - ROW_VAL];
	for (size_t i = 0; i < option_row_cnt; i++) {
		if (option_rows[i].letter && option_rows[i].letter == val)
			return &option_rows[i];
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

static int parse_options(int argc, char **argv, struct options *o, bool given[OPTION_CNT],
                         struct diag *d)
{
	struct option long_options[OPTION_CNT + 1];
	char letters[2 * OPTION_CNT + 2];
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
		assert(row); /* getopt knows the table's options only */
		given[row - option_rows] = true;
		r = apply(o, row, optarg, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_layout(const struct options *o, const bool given[OPTION_CNT], struct diag *d)
{
	enum option_layout other = o->build.layout == COMPAT_FLAT ? REPART_ONLY : FLAT_ONLY;

	for (size_t i = 0; i < option_row_cnt; i++) {
		if (given[i] && option_rows[i].layout == other)
			return diag_set(d, -EINVAL, "--%s belongs to --layout=%s",
			                option_rows[i].name,
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
	o->build.retries = HTTP_DEFAULT_RETRIES;
	o->build.timeout_s = HTTP_DEFAULT_STALL_S;
	if (uuid_parse(REFERENCE_UUID, &o->build.seed) < 0)
		abort(); /* our own constant */
	o->build.disk_id = o->build.seed;
}

int options_parse(int argc, char **argv, struct options *out, struct diag *d)
{
	bool given[OPTION_CNT] = { false };
	struct options o;
	int r;

	set_defaults(&o);
	r = parse_options(argc, argv, &o, given, d);
	if (r == 0 && (o.action == OPTIONS_BUILD || o.action == OPTIONS_LIST)) {
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
