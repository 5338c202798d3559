/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a command line by the table of options_table.c. The long options are mount options too
 * (-o root_hash=..., dashes or underscores), so that mount(8) and fstab can say everything; other
 * mount options are left to libfuse.
 */
#include "options_table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define DEFAULT_BLOCK_LEN 4096

/* ---- help ---- */

#define HELP_COL 31

/* The part before the explanation; returns its width. */
static int print_names(const struct option_spec *s)
{
	const char letter[] = { '-', s->letter, s->name ? ',' : '\0', '\0' };
	const char *what = s->kind == OPTION_ACTION ? s->args : s->value;

	return printf("  %-3s %s%s%s%s%s", s->letter ? letter : "", s->name ? "--" : "",
	              s->name ? s->name : "",
	              !s->name || !what          ? ""
	              : s->kind == OPTION_ACTION ? " "
	              : s->unsaid                ? "[="
	                                         : "=",
	              what ? what : "", s->unsaid ? "]" : "");
}

static void print_option(const struct option_spec *s)
{
	const char *line = s->help;
	int len = print_names(s);

	if (len >= HELP_COL) {
		putchar('\n');
		len = 0;
	}
	while (line) {
		int line_len = (int)strcspn(line, "\n");

		printf("%*s%.*s\n", HELP_COL - len, "", line_len, line);
		len = 0;
		line = line[line_len] ? line + line_len + 1 : NULL;
	}
}

void options_print_help(void)
{
	fputs(option_help_head, stdout);
	for (const struct option_spec *s = option_specs; s < option_specs + option_spec_cnt; s++)
		if (s->kind == OPTION_HEADING)
			printf("\n%s:\n", s->help);
		else if (s->help)
			print_option(s);
	fputs(option_help_tail, stdout);
}

/* ---- one option ---- */

static int parse_u64(const char *text, uint64_t *out)
{
	uint64_t v = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++)
		if (*text < '0' || *text > '9' || !mul_u64(v, 10, &v) ||
		    !add_u64(v, (uint64_t)(*text - '0'), &v))
			return -EINVAL;
	*out = v;
	return 0;
}

static void store(struct options *o, const struct option_spec *s, uint64_t v)
{
	void *member = (char *)o + s->at;

	switch (s->width) {
	case sizeof(bool):
		*(bool *)member = v != 0;
		break;
	case sizeof(uint32_t): /* enums too */
		*(uint32_t *)member = (uint32_t)v;
		break;
	default:
		assert(s->width == sizeof(uint64_t));
		*(uint64_t *)member = v;
	}
}

static int set_number(struct options *o, const struct option_spec *s, const char *value,
                      struct diag *d)
{
	bool is_size = s->kind == OPTION_SIZE;
	uint64_t v = 0;

	assert(value); /* set_option() has seen to it */
	int r = is_size ? size_parse(value, &v) : parse_u64(value, &v);

	if (r < 0 || v < s->min || v > s->max)
		return diag_set(d, -EINVAL,
		                "--%s is \"%s\", expected a %s from %" PRIu64 " to %" PRIu64,
		                s->name, value, is_size ? "size" : "number", s->min, s->max);
	store(o, s, v);
	return 0;
}

static int set_choice(struct options *o, const struct option_spec *s, const char *value,
                      struct diag *d)
{
	const char *choices = s->choices ? s->choices : s->value, *at = choices;

	assert(value); /* set_option() has seen to it */
	size_t len = strlen(value);

	for (uint64_t i = 0; *at != '\0'; i++) {
		size_t word_len = strcspn(at, "|");

		if (word_len == len && memcmp(at, value, len) == 0) {
			store(o, s, i);
			return 0;
		}
		at += word_len + (at[word_len] != '\0');
	}
	return diag_set(d, -EINVAL, "--%s is \"%s\", expected %s", s->name, value, choices);
}

static char **text_member(struct options *o, const struct option_spec *s)
{
	return (char **)((char *)o + s->at);
}

static int set_text(struct options *o, const struct option_spec *s, const char *value,
                    struct diag *d)
{
	char **text = text_member(o, s);

	free(*text);
	*text = strdup(value);
	return *text ? 0 : diag_set(d, -ENOMEM, "out of memory");
}

static int set_action(struct options *o, const struct option_spec *s, struct diag *d)
{
	if (o->action && o->action != s)
		return diag_set(d, -EINVAL, "--%s and --%s exclude one another", o->action->name,
		                s->name);
	o->action = s;
	return 0;
}

static int set_option(struct options *o, const struct option_spec *s, const char *value,
                      struct diag *d)
{
	const char letter[] = { '-', s->letter, '\0' };

	if (!value)
		value = s->unsaid;
	if (s->value && !value)
		return diag_set(d, -EINVAL, "%s%s needs a value: %s", s->name ? "--" : letter,
		                s->name ? s->name : "", s->value);
	if (!s->value && value)
		return diag_set(d, -EINVAL, "--%s takes no value", s->name);
	if (s->has_mark)
		*(bool *)((char *)o + s->mark) = true;
	switch (s->kind) {
	case OPTION_FLAG:
		store(o, s, true);
		return 0;
	case OPTION_NUMBER:
	case OPTION_SIZE:
		return set_number(o, s, value, d);
	case OPTION_CHOICE:
		return set_choice(o, s, value, d);
	case OPTION_TEXT:
		return set_text(o, s, value, d);
	case OPTION_ACTION:
		return set_action(o, s, d);
	case OPTION_HEADING: /* has no name to be found by */
	case OPTION_CUSTOM:
		break;
	}
	return s->set(o, value, d);
}

/* ---- parsing ---- */

/* Is the len bytes long text this name? A mount option may have underscores for dashes. */
static bool is_name(const char *name, const char *text, size_t len, bool is_mount_option)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != text[i] && !(is_mount_option && name[i] == '-' && text[i] == '_'))
			return false;
	return true;
}

/* An action is no mount option: what mount(8) asks for is a mount. */
static const struct option_spec *spec_by_name(const char *text, size_t len, bool is_mount_option)
{
	for (const struct option_spec *s = option_specs; s < option_specs + option_spec_cnt; s++)
		if (s->name && !(is_mount_option && s->kind == OPTION_ACTION) &&
		    is_name(s->name, text, len, is_mount_option))
			return s;
	return NULL;
}

static const struct option_spec *spec_by_letter(char letter)
{
	for (const struct option_spec *s = option_specs; s < option_specs + option_spec_cnt; s++)
		if (s->letter == letter)
			return s;
	return NULL;
}

static int pass_to_libfuse(struct options *o, const char *option, struct diag *d)
{
	char *list = NULL;

	if (asprintf(&list, "%s%s%s", o->fuse_options ? o->fuse_options : "",
	             o->fuse_options ? "," : "", option) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	free(o->fuse_options);
	o->fuse_options = list;
	return 0;
}

/*
 * What mount(8), mount.fuse3 and fstab add without being asked, and what always holds here. "rw",
 * "suid" and "dev" come from them even for file systems that cannot.
 */
static bool is_ignored(const char *option)
{
	static const char *const names[] = { "ro",     "rw",       "suid",   "nosuid",   "dev",
		                             "nodev",  "noatime",  "noexec", "defaults", "auto",
		                             "noauto", "_netdev",  "nofail", "user",     "nouser",
		                             "users",  "relatime", "sync",   "async" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(option, names[i]) == 0)
			return true;
	return strncmp(option, "x-", 2) == 0;
}

static int set_mount_option(struct options *o, char *option, struct diag *d)
{
	size_t name_len = strcspn(option, "=");
	const struct option_spec *s = spec_by_name(option, name_len, true);
	char *to = option + name_len;
	const char *from;

	if (*option == '\0')
		return 0;
	if (strcmp(option, "exec") == 0) {
		o->exec = true;
		return 0;
	}
	/* libfuse's own way needs a descriptor for longer than a sandbox keeps it */
	if (strcmp(option, "auto_unmount") == 0) {
		o->auto_unmount = true;
		return 0;
	}
	if (!s)
		return is_ignored(option) ? 0 : pass_to_libfuse(o, option, d);
	if (*to == '\0')
		return set_option(o, s, NULL, d);
	/* a backslash keeps a comma in a value; libfuse does the same */
	for (from = to; *from != '\0'; from++) {
		if (*from == '\\' && from[1] != '\0')
			from++;
		*to++ = *from;
	}
	*to = '\0';
	return set_option(o, s, option + name_len + 1, d);
}

int options_set_mount_options(struct options *o, const char *list, struct diag *d)
{
	scoped_free char *copy = strdup(list);
	char *at = copy;
	int r = copy ? 0 : diag_set(d, -ENOMEM, "out of memory");

	while (r == 0 && at) {
		char *end = at;

		while (*end != '\0' && *end != ',')
			end += end[0] == '\\' && end[1] != '\0' ? 2 : 1;
		char *next = *end == ',' ? end + 1 : NULL;

		*end = '\0';
		r = set_mount_option(o, at, d);
		at = next;
	}
	return r;
}

/* argv[*i] starts with "--"; a value may be the next argument. */
static int parse_long(struct options *o, int argc, char **argv, int *i, struct diag *d)
{
	const char *text = argv[*i] + 2;
	size_t len = strcspn(text, "=");
	const struct option_spec *s = spec_by_name(text, len, false);
	const char *value = text[len] == '=' ? text + len + 1 : NULL;

	if (!s)
		return diag_set(d, -EINVAL, "unknown option --%.*s (see mountfs --help)", (int)len,
		                text);
	if (s->value && !s->unsaid && !value && *i + 1 < argc)
		value = argv[++*i];
	return set_option(o, s, value, d);
}

/* argv[*i] starts with "-": letters, of which one that takes a value is the last. */
static int parse_letters(struct options *o, int argc, char **argv, int *i, struct diag *d)
{
	int r = 0;

	for (const char *p = argv[*i] + 1; r == 0 && *p != '\0'; p++) {
		const struct option_spec *s = spec_by_letter(*p);
		const char *value = NULL;

		if (!s)
			return diag_set(d, -EINVAL, "unknown option -%c (see mountfs --help)", *p);
		if (s->value && p[1] != '\0')
			value = p + 1;
		else if (s->value && *i + 1 < argc)
			value = argv[++*i];
		r = set_option(o, s, value, d);
		if (s->value)
			break;
	}
	return r;
}

/* ---- arguments ---- */

/* Word i of the action's arguments, as "DISK" or "COMMAND..."; "" behind the last one. */
static const char *argument_name(const struct option_spec *action, unsigned i, size_t *len)
{
	const char *name = action->args;

	while (i-- > 0) {
		name += strcspn(name, " ");
		name += *name == ' ';
	}
	*len = strcspn(name, " ");
	return name;
}

static bool takes_the_rest(const char *name, size_t len)
{
	return len > 3 && memcmp(name + len - 3, "...", 3) == 0;
}

/* From the argument with the dots on, everything belongs to somebody else's command line. */
static void parse_argument(struct options *o, char *text, bool *only_arguments)
{
	size_t len;
	const char *name;

	o->arg[o->arg_cnt] = text;
	if (o->action) {
		name = argument_name(o->action, o->arg_cnt, &len);
		*only_arguments = *only_arguments || takes_the_rest(name, len);
	}
	o->arg_cnt++;
}

static int check_arguments(const struct options *o, struct diag *d)
{
	bool any_more = false;
	unsigned cnt = 0;
	size_t len;
	const char *name;

	while (name = argument_name(o->action, cnt, &len), len > 0) {
		any_more = takes_the_rest(name, len);
		if (cnt == o->arg_cnt)
			return diag_set(d, -EINVAL, "%.*s is missing (see mountfs --help)",
			                (int)len, name);
		cnt++;
	}
	if (!any_more && o->arg_cnt > cnt)
		return diag_set(d, -EINVAL, "\"%s\" is one argument too many, expected %s",
		                o->arg[cnt], o->action->args);
	return 0;
}

/* ---- everything ---- */

/* Is there something that says what DISK must be: a root hash, or whose signature it has? */
static int check_trust(const struct options *o, struct diag *d)
{
	bool has_root = o->image.root_len != 0, has_signer = options_demand_signature(o);

	if (o->root_hash_sig && !has_root)
		return diag_set(d, -EINVAL,
		                "--root-hash-sig needs the root hash that is signed: --root-hash");
	if (o->root_hash_sig && !has_signer)
		return diag_set(d, -EINVAL,
		                "--root-hash-sig needs to know whose signature is trusted: "
		                "--certificate or --trust-dir");
	if (!has_root && !has_signer && o->action->root == ROOT_NEEDED)
		return diag_set(d, -EINVAL,
		                "no root hash was given: --root-hash=HEX says what DISK must be, "
		                "or --certificate=FILE who must have signed it");
	return 0;
}

static int check_complete(const struct options *o, struct diag *d)
{
	int r = check_arguments(o, d);

	if (r == 0)
		r = check_trust(o, d);
	if (r < 0)
		return r;
	if (o->has_params && !o->image.no_superblock)
		return diag_set(d, -EINVAL,
		                "--hash, --salt, --format and the block sizes need "
		                "--no-superblock; otherwise the superblock says them");
	if (o->daemon && o->foreground)
		return diag_set(d, -EINVAL, "--daemon and --%s exclude one another",
		                o->debug ? "debug" : "foreground");
	if (o->ready_fd >= 0 && fcntl(o->ready_fd, F_GETFD) < 0)
		return diag_set(d, -EINVAL, "--ready-fd is %d, which is not an open descriptor",
		                o->ready_fd);
	return 0;
}

static struct options *new_options(int argc)
{
	struct options *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->ready_fd = -1;
	o->log_level = REPORT_NOTE;
	o->image.params = (struct verity_params){ .alg = HASH_SHA256,
		                                  .hash_type = 1,
		                                  .data_block_len = DEFAULT_BLOCK_LEN,
		                                  .hash_block_len = DEFAULT_BLOCK_LEN };
	o->arg = calloc((size_t)argc + 1, sizeof(*o->arg));
	if (!o->arg) {
		free(o);
		return NULL;
	}
	return o;
}

/* What options imply, once all are known. */
static void conclude(struct options *o)
{
	if (!o->action)
		o->action = option_default_action;
	o->run = o->action->run;
	o->image.hash_device = o->hash_device;
	if (o->debug) {
		o->foreground = true;
		o->log_level = REPORT_DEBUG;
	}
}

int options_parse(int argc, char **argv, struct options **out, struct diag *d)
{
	scoped(options) struct options *o = new_options(argc);
	bool only_arguments = false;
	int r = o ? 0 : diag_set(d, -ENOMEM, "out of memory");

	for (int i = 1; r == 0 && i < argc && !o->help && !o->version; i++) {
		if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0')
			parse_argument(o, argv[i], &only_arguments);
		else if (strcmp(argv[i], "--") == 0)
			only_arguments = true;
		else if (argv[i][1] == '-')
			r = parse_long(o, argc, argv, &i, d);
		else
			r = parse_letters(o, argc, argv, &i, d);
	}
	if (r == 0 && !o->help && !o->version) {
		conclude(o);
		r = check_complete(o, d);
	}
	if (r < 0)
		return r;
	*out = take_ptr(o);
	return 0;
}

void options_free(struct options *o)
{
	if (!o)
		return;
	for (const struct option_spec *s = option_specs; s < option_specs + option_spec_cnt; s++)
		if (s->kind == OPTION_TEXT)
			free(*text_member(o, s));
	free(o->fuse_options);
	free(o->signature);
	free(o->arg);
	free(o);
}
