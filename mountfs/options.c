/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table says which options there are, what they take, what they do and how the help explains
 * them. The long options are mount options too (-o root_hash=..., dashes or underscores), so that
 * mount(8) and fstab can say everything; other mount options are left to libfuse.
 */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#define DEFAULT_BLOCK_LEN 4096
#define ROOT_TEXT_LEN     (2 * HASH_MAX_LEN)

/* ---- values ---- */

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

/* A number of at most 32 bits, at least min. */
static int parse_count(const char *what, const char *text, uint64_t min, uint64_t max,
                       uint64_t *out, struct diag *d)
{
	if (parse_u64(text, out) < 0 || *out < min || *out > max)
		return diag_set(d, -EINVAL,
		                "%s is \"%s\", expected a number from %" PRIu64 " to %" PRIu64,
		                what, text, min, max);
	return 0;
}

static int parse_root(struct options *o, const char *text, struct diag *d)
{
	size_t len = strlen(text);

	if (len == 0 || len % 2 != 0 || len > ROOT_TEXT_LEN)
		return diag_set(d, -EINVAL,
		                "the root hash has %zu characters, expected 64 for SHA-256", len);
	if (hex_decode(text, o->image.root, len / 2) < 0)
		return diag_set(d, -EINVAL, "the root hash is not hexadecimal");
	o->image.root_len = len / 2;
	return 0;
}

static int set_root_hash(struct options *o, const char *value, struct diag *d)
{
	return parse_root(o, value, d);
}

static int set_root_hash_file(struct options *o, const char *value, struct diag *d)
{
	scoped_fd int fd = open(value, O_RDONLY | O_CLOEXEC);
	char text[ROOT_TEXT_LEN + 16]; /* some room for white space */
	ssize_t len;

	if (fd < 0)
		return diag_set_errno(d, -errno, "%s: cannot open the root hash file", value);
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		return diag_set_errno(d, -errno, "%s: cannot read the root hash file", value);
	text[len] = '\0';
	text[strcspn(text, " \t\r\n")] = '\0';
	return diag_prefix(d, parse_root(o, text, d), "%s", value);
}

static int set_data_partition(struct options *o, const char *value, struct diag *d)
{
	uint64_t v = 0;
	int r = parse_count("--data-partition", value, 1, UINT32_MAX, &v, d);

	o->image.data_part = (uint32_t)v;
	return r;
}

static int set_hash_partition(struct options *o, const char *value, struct diag *d)
{
	uint64_t v = 0;
	int r = parse_count("--hash-partition", value, 1, UINT32_MAX, &v, d);

	o->image.hash_part = (uint32_t)v;
	return r;
}

static int set_hash_device(struct options *o, const char *value, struct diag *d)
{
	free(o->hash_device);
	o->hash_device = strdup(value);
	o->image.hash_device = o->hash_device;
	return o->hash_device ? 0 : diag_set(d, -ENOMEM, "out of memory");
}

static int set_hash_offset(struct options *o, const char *value, struct diag *d)
{
	if (size_parse(value, &o->image.hash_off) < 0)
		return diag_set(d, -EINVAL, "--hash-offset is \"%s\", expected a number of bytes",
		                value);
	o->image.has_hash_off = true;
	return 0;
}

static int set_data_blocks(struct options *o, const char *value, struct diag *d)
{
	return parse_count("--data-blocks", value, 1, UINT64_MAX, &o->image.data_blk_cnt, d);
}

static int set_no_superblock(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->image.no_superblock = true;
	return 0;
}

static int parse_block_len(struct options *o, const char *what, const char *value, uint32_t *out,
                           struct diag *d)
{
	uint64_t v = 0;

	if (size_parse(value, &v) < 0 || v < VERITY_MIN_BLOCK_LEN || v > VERITY_MAX_BLOCK_LEN ||
	    !is_power_of_two(v))
		return diag_set(d, -EINVAL, "%s is \"%s\", expected a power of two from %d to %d",
		                what, value, VERITY_MIN_BLOCK_LEN, VERITY_MAX_BLOCK_LEN);
	o->has_params = true;
	*out = (uint32_t)v;
	return 0;
}

static int set_data_block_size(struct options *o, const char *value, struct diag *d)
{
	return parse_block_len(o, "--data-block-size", value, &o->image.params.data_block_len, d);
}

static int set_hash_block_size(struct options *o, const char *value, struct diag *d)
{
	return parse_block_len(o, "--hash-block-size", value, &o->image.params.hash_block_len, d);
}

static int set_hash(struct options *o, const char *value, struct diag *d)
{
	o->has_params = true;
	if (hash_by_name(value, &o->image.params.alg) < 0)
		return diag_set(d, -EINVAL,
		                "--hash is \"%s\", expected sha256, sha1, sha384 or sha512", value);
	return 0;
}

static int set_salt(struct options *o, const char *value, struct diag *d)
{
	struct verity_params *p = &o->image.params;
	const char *hex = strcmp(value, "-") == 0 ? "" : value;
	size_t len = strlen(hex);

	o->has_params = true;
	if (len % 2 != 0 || len / 2 > sizeof(p->salt) || hex_decode(hex, p->salt, len / 2) < 0)
		return diag_set(d, -EINVAL,
		                "--salt is \"%s\", expected up to %zu bytes as hexadecimal digits, "
		                "or - for none",
		                value, sizeof(p->salt));
	p->salt_len = (uint16_t)(len / 2);
	return 0;
}

static int set_hash_type(struct options *o, const char *value, struct diag *d)
{
	uint64_t v = 0;
	int r = parse_count("--format", value, 0, 1, &v, d);

	o->has_params = true;
	o->image.params.hash_type = (uint32_t)v;
	return r;
}

static int set_cache_size(struct options *o, const char *value, struct diag *d)
{
	if (size_parse(value, &o->image.verity.cache_len) < 0 || o->image.verity.cache_len == 0)
		return diag_set(d, -EINVAL, "--cache-size is \"%s\", expected a size such as 64M",
		                value);
	return 0;
}

static int set_threads(struct options *o, const char *value, struct diag *d)
{
	uint64_t v = 0;
	int r = parse_count("--threads", value, 1, OPTIONS_MAX_THREADS, &v, d);

	o->thread_cnt = (unsigned)v;
	return r;
}

static int set_on_corruption(struct options *o, const char *value, struct diag *d)
{
	o->exit_on_corruption = strcmp(value, "exit") == 0;
	if (!o->exit_on_corruption && strcmp(value, "eio") != 0)
		return diag_set(d, -EINVAL, "--on-corruption is \"%s\", expected eio or exit",
		                value);
	return 0;
}

static int set_allow_other(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->allow_other = true;
	return 0;
}

static int set_ready_fd(struct options *o, const char *value, struct diag *d)
{
	uint64_t v = 0;
	int r = parse_count("--ready-fd", value, 0, INT32_MAX, &v, d);

	if (r == 0 && fcntl((int)v, F_GETFD) < 0)
		return diag_set(d, -EINVAL, "--ready-fd is %s, which is not an open descriptor",
		                value);
	o->ready_fd = (int)v;
	return r;
}

static int set_foreground(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->foreground = true;
	return 0;
}

static int set_debug(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->debug = true;
	o->foreground = true;
	o->log_level = REPORT_DEBUG;
	return 0;
}

static int set_log_format(struct options *o, const char *value, struct diag *d)
{
	o->log_format = strcmp(value, "json") == 0 ? REPORT_JSON : REPORT_TEXT;
	if (o->log_format != REPORT_JSON && strcmp(value, "text") != 0)
		return diag_set(d, -EINVAL, "--log-format is \"%s\", expected text or json", value);
	return 0;
}

static int set_log_level(struct options *o, const char *value, struct diag *d)
{
	static const char *const names[] = { [REPORT_ERROR] = "error",
		                             [REPORT_WARNING] = "warning",
		                             [REPORT_NOTE] = "note",
		                             [REPORT_DEBUG] = "debug" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(value, names[i]) == 0) {
			o->log_level = (enum report_level)i;
			return 0;
		}
	return diag_set(d, -EINVAL, "--log-level is \"%s\", expected error, warning, note or debug",
	                value);
}

static int set_help(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->help = true;
	return 0;
}

static int set_version(struct options *o, const char *value, struct diag *d)
{
	(void)value;
	(void)d;
	o->version = true;
	return 0;
}

static int set_mount_options(struct options *o, const char *list, struct diag *d);

/* ---- the table ---- */

struct option_spec {
	const char *name;  /* long name, or NULL */
	char letter;       /* short name, or 0 */
	const char *value; /* what the help calls its value; NULL: it takes none */
	int (*set)(struct options *o, const char *value, struct diag *d);
	const char *help; /* lines of at most 49 characters; NULL: another name of the one above */
};

/* A row without set is a heading. */
static const struct option_spec specs[] = {
	{ .help = "What is proven" },
	{ "root-hash", 0, "HEX", set_root_hash, "root hash of the disk; the only trust anchor" },
	{ "root-hash-file", 0, "FILE", set_root_hash_file, "read the root hash from FILE" },
	{ "data-blocks", 0, "N", set_data_blocks, "demand that exactly N data blocks are covered" },
	{ "on-corruption", 0, "eio|exit", set_on_corruption,
	  "eio: reads that cannot be proven fail with EIO\n"
	  "(default); exit: also unmount, and end with\n"
	  "status 3" },
	{ .help = "Where the hash tree is, if it is not found by itself" },
	{ "data-partition", 0, "N", set_data_partition,
	  "number of the partition with the EROFS image" },
	{ "hash-partition", 0, "N", set_hash_partition,
	  "number of the partition with the hash tree" },
	{ "hash-device", 0, "PATH", set_hash_device, "the hash tree is in this file or device" },
	{ "hash-offset", 0, "BYTES", set_hash_offset, "the hash area starts at this byte" },
	{ "no-superblock", 0, NULL, set_no_superblock,
	  "the hash area has no verity superblock; then\n"
	  "these say what it would, as in veritysetup:" },
	{ "hash", 0, "NAME", set_hash, "digest (default sha256)" },
	{ "salt", 0, "HEX", set_salt, "salt, - for none (default none)" },
	{ "data-block-size", 0, "BYTES", set_data_block_size, "default 4096" },
	{ "hash-block-size", 0, "BYTES", set_hash_block_size, "default 4096" },
	{ "format", 0, "0|1", set_hash_type, "1: salt first (default); 0: original Chrome OS" },
	{ "hash-type", 0, "0|1", set_hash_type, NULL },
	{ .help = "The mount" },
	{ NULL, 'o', "OPTION[,...]", set_mount_options,
	  "mount options: those of this program without\n"
	  "dashes (root_hash=HEX), exec, those of libfuse" },
	{ "allow-other", 0, NULL, set_allow_other, "let other users read the mount" },
	{ "threads", 0, "N", set_threads, "threads that serve requests (default: 2 per CPU)" },
	{ "cache-size", 0, "SIZE", set_cache_size, "memory for proven hash blocks (default 64M)" },
	{ .help = "The process" },
	{ "foreground", 'f', NULL, set_foreground, "stay in the foreground" },
	{ "debug", 'd', NULL, set_debug, "foreground, and log every request" },
	{ "ready-fd", 0, "N", set_ready_fd, "write \"ready\" to descriptor N once mounted" },
	{ "log-format", 0, "text|json", set_log_format, "how messages look (default text)" },
	{ "log-level", 0, "LEVEL", set_log_level, "error, warning, note (default) or debug" },
	{ "help", 'h', NULL, set_help, "show this help" },
	{ "version", 'V', NULL, set_version, "show the version" },
};

static const char help_head[] =
        "Usage: mountfs [options] DISK MOUNTPOINT --root-hash=HEX\n"
        "\n"
        "Mounts a model disk read-only and proves every byte against the root hash\n"
        "before a reader sees it. DISK is a file or a block device: a GPT with an EROFS\n"
        "and a dm-verity hash partition, as mkdisk and systemd-repart make it, or an\n"
        "EROFS image with the hash tree behind it, as veritysetup makes it. No root\n"
        "rights are needed. There is no way to mount without proof.\n";

static const char help_tail[] =
        "\n"
        "Exit status: 0 done, 1 could not (I/O, memory, mount), 2 wrong usage,\n"
        "3 refused (the disk is not what the root hash says).\n"
        "\n"
        "Examples:\n"
        "  mountfs model.disk /mnt/model --root-hash=ba5e...\n"
        "  mountfs -f model.disk /mnt/model --root-hash-file=model.roothash\n"
        "  mountfs data.erofs /mnt/model --hash-device=data.tree --root-hash=ba5e...\n"
        "  mount -t fuse.mountfs model.disk /mnt/model -o root_hash=ba5e...\n"
        "  fusermount3 -u /mnt/model                                  (unmounts)\n";

#define HELP_COL 31

static void print_option(const struct option_spec *s)
{
	const char letter[] = { '-', s->letter, s->name ? ',' : '\0', '\0' };
	const char *line = s->help;
	int len = printf("  %-3s %s%s%s%s", s->letter ? letter : "", s->name ? "--" : "",
	                 s->name ? s->name : "", s->name && s->value ? "=" : "",
	                 s->value ? s->value : "");

	while (line) {
		int line_len = (int)strcspn(line, "\n");

		printf("%*s%.*s\n", MAX(1, HELP_COL - len), "", line_len, line);
		len = 0;
		line = line[line_len] ? line + line_len + 1 : NULL;
	}
}

void options_print_help(void)
{
	fputs(help_head, stdout);
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		if (!specs[i].set)
			printf("\n%s:\n", specs[i].help);
		else if (specs[i].help)
			print_option(&specs[i]);
	fputs(help_tail, stdout);
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

static const struct option_spec *spec_by_name(const char *text, size_t len, bool is_mount_option)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		if (specs[i].name && is_name(specs[i].name, text, len, is_mount_option))
			return &specs[i];
	return NULL;
}

static const struct option_spec *spec_by_letter(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		if (specs[i].letter == letter)
			return &specs[i];
	return NULL;
}

static int set_option(struct options *o, const struct option_spec *s, const char *value,
                      struct diag *d)
{
	char name[3] = { '-', s->letter, '\0' };

	if (s->value && !value)
		return diag_set(d, -EINVAL, "%s%s needs a value: %s", s->name ? "--" : name,
		                s->name ? s->name : "", s->value);
	if (!s->value && value)
		return diag_set(d, -EINVAL, "--%s takes no value", s->name);
	return s->set(o, value, d);
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

static int set_mount_options(struct options *o, const char *list, struct diag *d)
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
	if (s->value && !value && *i + 1 < argc)
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

static int parse_argument(struct options *o, const char *text, struct diag *d)
{
	if (!o->disk)
		o->disk = text;
	else if (!o->mountpoint)
		o->mountpoint = text;
	else
		return diag_set(d, -EINVAL,
		                "\"%s\" is one argument too many, expected DISK and MOUNTPOINT",
		                text);
	return 0;
}

static int check_complete(const struct options *o, struct diag *d)
{
	if (!o->disk || !o->mountpoint)
		return diag_set(d, -EINVAL, "%s is missing (see mountfs --help)",
		                o->disk ? "MOUNTPOINT" : "DISK");
	if (o->image.root_len == 0)
		return diag_set(d, -EINVAL,
		                "no root hash was given: --root-hash=HEX says what DISK must be");
	if (o->has_params && !o->image.no_superblock)
		return diag_set(d, -EINVAL,
		                "--hash, --salt, --format and the block sizes need "
		                "--no-superblock; otherwise the superblock says them");
	return 0;
}

int options_parse(int argc, char **argv, struct options **out, struct diag *d)
{
	scoped(options) struct options *o = calloc(1, sizeof(*o));
	bool only_arguments = false;
	int r = o ? 0 : diag_set(d, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	o->ready_fd = -1;
	o->log_level = REPORT_NOTE;
	o->image.params = (struct verity_params){ .alg = HASH_SHA256,
		                                  .hash_type = 1,
		                                  .data_block_len = DEFAULT_BLOCK_LEN,
		                                  .hash_block_len = DEFAULT_BLOCK_LEN };
	for (int i = 1; r == 0 && i < argc && !o->help && !o->version; i++) {
		if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0')
			r = parse_argument(o, argv[i], d);
		else if (strcmp(argv[i], "--") == 0)
			only_arguments = true;
		else if (argv[i][1] == '-')
			r = parse_long(o, argc, argv, &i, d);
		else
			r = parse_letters(o, argc, argv, &i, d);
	}
	if (r == 0 && !o->help && !o->version)
		r = check_complete(o, d);
	if (r < 0)
		return r;
	*out = take_ptr(o);
	return 0;
}

void options_free(struct options *o)
{
	if (!o)
		return;
	free(o->hash_device);
	free(o->fuse_options);
	free(o);
}
