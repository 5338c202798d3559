/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of repart.d(5) as a table: how each value is read, and which keys we refuse because we
 * do not make what they ask for. Whether keys fit together is definitions.c's to say.
 */
#include "definitions_parse.h"

#include <errno.h>
#include <inttypes.h>

#include "gpt.h"

#define MAX_WEIGHT    1000000
#define MAX_LABEL_LEN 36 /* bytes: systemd's limit, below what 36 UTF-16 units could hold */
#define MIN_BLOCK_LEN 512
#define MAX_BLOCK_LEN 4096

struct key {
	const char *name;
	int (*set)(struct definition *def, const struct key *k, const char *value, struct diag *d);
	size_t off;      /* the field, for setters that serve several keys */
	const char *why; /* the key is refused, with this reason */
};

void definition_init(struct definition *def)
{
	*def = (struct definition){
		.weight = 1000,
		.size_min = DEFINITION_SIZE_UNSET,
		.size_max = DEFINITION_SIZE_UNSET,
		.padding_min = DEFINITION_SIZE_UNSET,
		.padding_max = DEFINITION_SIZE_UNSET,
		.read_only = -1,
		.no_auto = -1,
		.grow_fs = -1,
		.add_validatefs = -1,
	};
}

static void strings_clear(struct definition_strings *s)
{
	for (size_t i = 0; i < s->cnt; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct definition_strings){ 0 };
}

void definition_release(struct definition *def)
{
	for (size_t i = 0; i < def->copy_cnt; i++) {
		free(def->copy[i].source);
		free(def->copy[i].target);
	}
	for (size_t i = 0; i < def->make_link_cnt; i++) {
		free(def->make_link[i].path);
		free(def->make_link[i].target);
	}
	strings_clear(&def->exclude_source);
	strings_clear(&def->exclude_target);
	strings_clear(&def->make_dirs);
	strings_clear(&def->mount_points);
	for (size_t i = 0; i < def->drop_in_cnt; i++)
		free(def->drop_in[i]);
	free(def->drop_in);
	free(def->copy);
	free(def->make_link);
	free(def->file);
	free(def->type_name);
	free(def->label);
	free(def->match_key);
}

/* ---- help for the setters ---- */

static void *field(struct definition *def, const struct key *k)
{
	return (char *)def + k->off;
}

static int refuse_value(const char *value, const char *expected, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, -EINVAL, "%s is not %s",
	                text_quote(value, strlen(value), quoted, sizeof(quoted)), expected);
}

static int no_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory");
}

/* Room for one more element of an array of cnt; the definitions' lists are short. */
static void *grow(void *array, size_t cnt, size_t element_len)
{
	return realloc(array, (cnt + 1) * element_len);
}

/* Takes *s. */
static int strings_add(struct definition_strings *list, char **s, struct diag *d)
{
	char **v = grow(list->v, list->cnt, sizeof(*v));

	if (!v)
		return no_memory(d);
	list->v = v;
	v[list->cnt++] = take_ptr(*s);
	return 0;
}

static int replace_string(char **s, const char *value, struct diag *d)
{
	char *copy = strdup(value);

	if (!copy)
		return no_memory(d);
	free(*s);
	*s = copy;
	return 0;
}

/* A word that is a path: specifiers first, as systemd does it. */
static int expand_path(const char *word, bool keep_trailing_slash, char **out, struct diag *d)
{
	scoped_free char *path = NULL;
	int r = conf_expand(word, &path, d);

	if (r < 0)
		return r;
	r = conf_simplify_path(path, keep_trailing_slash, d);
	if (r < 0)
		return r;
	*out = take_ptr(path);
	return 0;
}

/* ---- setters ---- */

static int set_type(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	char id[UUID_TEXT_LEN];
	struct uuid type;

	(void)k;
	if (gpt_type_by_name(value, &type) < 0 && uuid_parse(value, &type) < 0)
		return refuse_value(value,
		                    "a partition type; one with an architecture names it, as "
		                    "root-x86-64 does, since \"root\" is another type on every "
		                    "machine",
		                    d);
	if (uuid_is_null(&type))
		return refuse_value(value, "a partition type", d);
	uuid_format(&type, id);
	def->type = type;
	return replace_string(&def->type_name, gpt_type_name(&type) ?: id, d);
}

/* An empty name is a name. */
static int set_label(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	scoped_free char *label = NULL;
	int r = conf_expand(value, &label, d);

	(void)k;
	if (r < 0)
		return r;
	if (strlen(label) > MAX_LABEL_LEN)
		return refuse_value(label, "a partition name of at most 36 bytes", d);
	free(def->label);
	def->label = take_ptr(label);
	return 0;
}

static int set_uuid(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	struct uuid id = { 0 };

	(void)k;
	if (*value && strcmp(value, "null") != 0 && uuid_parse(value, &id) < 0)
		return refuse_value(value, "a UUID or \"null\"", d);
	def->id = id;
	def->id_is_set = *value != '\0';
	return 0;
}

static int set_priority(struct definition *def, const struct key *k, const char *value,
                        struct diag *d)
{
	bool is_negative = value[0] == '-';
	uint64_t v;

	(void)k;
	if (conf_number(value + is_negative, (uint64_t)INT32_MAX + is_negative, &v) < 0)
		return refuse_value(value, "a number from -2147483648 to 2147483647", d);
	def->priority = (int32_t)(is_negative ? -(int64_t)v : (int64_t)v);
	return 0;
}

static int set_weight(struct definition *def, const struct key *k, const char *value,
                      struct diag *d)
{
	uint32_t *weight = field(def, k);
	uint64_t v;

	if (conf_number(value, MAX_WEIGHT, &v) < 0)
		return refuse_value(value, "a weight from 0 to 1000000", d);
	*weight = (uint32_t)v;
	return 0;
}

static int set_size(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	uint64_t *size = field(def, k), v;

	if (size_parse(value, &v) < 0 || v > DEFINITION_SIZE_MAX)
		return refuse_value(value, "a size as 64M, 1.5G or 4096", d);
	*size = v;
	return 0;
}

static int set_block_len(struct definition *def, const struct key *k, const char *value,
                         struct diag *d)
{
	uint64_t *len = field(def, k), v;

	if (size_parse(value, &v) < 0 || v < MIN_BLOCK_LEN || v > MAX_BLOCK_LEN ||
	    !is_power_of_two(v))
		return refuse_value(value, "a block size: a power of two from 512 to 4096", d);
	*len = v;
	return 0;
}

static int set_fs_sector_len(struct definition *def, const struct key *k, const char *value,
                             struct diag *d)
{
	if (*value)
		return set_block_len(def, k, value, d);
	def->fs_sector_len = 0;
	return 0;
}

static int set_format(struct definition *def, const struct key *k, const char *value,
                      struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	(void)k;
	if (strcmp(value, "erofs") != 0)
		return diag_set(d, -EOPNOTSUPP, "only erofs is made, not %s",
		                text_quote(value, strlen(value), quoted, sizeof(quoted)));
	def->format_is_erofs = true;
	return 0;
}

/* SOURCE[:TARGET[:fsverity=off]] */
static int set_copy(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	const unsigned flags = CONF_UNESCAPE | CONF_KEEP_EMPTY;
	scoped_free char *source = NULL, *target = NULL, *options = NULL;
	struct definition_copy copy = { NULL, NULL };
	const char *p = value;

	(void)k;
	int r = conf_word(&p, ":", flags, &source, d);
	if (r >= 0)
		r = conf_word(&p, ":", flags, &target, d);
	if (r >= 0)
		r = conf_word(&p, ":", flags, &options, d);
	if (r < 0)
		return r;
	if (p || (options && *options && strcmp(options, "fsverity=off") != 0))
		return refuse_value(value,
		                    "SOURCE:TARGET (of the options only fsverity=off is known)", d);
	struct definition_copy *grown = grow(def->copy, def->copy_cnt, sizeof(*grown));
	if (!grown)
		return no_memory(d);
	def->copy = grown;
	r = expand_path(source, false, &copy.source, d);
	if (r == 0)
		r = expand_path(target ? target : source, false, &copy.target, d);
	if (r < 0) {
		free(copy.source);
		return r;
	}
	def->copy[def->copy_cnt++] = copy;
	return 0;
}

/* Words that are paths, added to a list. */
static int add_paths(struct definition_strings *list, const char *value, bool keep_trailing_slash,
                     struct diag *d)
{
	const char *p = value;

	for (;;) {
		scoped_free char *word = NULL, *path = NULL;
		int r = conf_word(&p, NULL, CONF_UNQUOTE, &word, d);

		if (r <= 0)
			return r;
		r = expand_path(word, keep_trailing_slash, &path, d);
		if (r == 0)
			r = strings_add(list, &path, d);
		if (r < 0)
			return r;
	}
}

static int set_exclude(struct definition *def, const struct key *k, const char *value,
                       struct diag *d)
{
	struct definition_strings *list = field(def, k);

	if (*value)
		return add_paths(list, value, true, d);
	strings_clear(list);
	return 0;
}

static int set_make_dirs(struct definition *def, const struct key *k, const char *value,
                         struct diag *d)
{
	(void)k;
	/* systemd lets an empty value be, where people expect it to empty the list */
	if (*value == '\0')
		return refuse_value(value, "a list of directories", d);
	return add_paths(&def->make_dirs, value, false, d);
}

/* One PATH:TARGET of MakeSymlinks=. */
static int add_link(struct definition *def, const char *word, struct diag *d)
{
	const unsigned flags = CONF_UNQUOTE | CONF_KEEP_EMPTY;
	scoped_free char *path = NULL, *target = NULL, *expanded = NULL;
	const char *p = word;
	int r = conf_word(&p, ":", flags, &path, d);

	if (r >= 0)
		r = conf_word(&p, ":", flags, &target, d);
	if (r < 0)
		return r;
	if (!target || *target == '\0' || p)
		return refuse_value(word, "PATH:TARGET", d);
	r = expand_path(path, false, &expanded, d);
	if (r < 0)
		return r;
	struct definition_link *grown = grow(def->make_link, def->make_link_cnt, sizeof(*grown));
	if (!grown)
		return no_memory(d);
	def->make_link = grown;
	grown[def->make_link_cnt++] =
	        (struct definition_link){ .path = take_ptr(expanded), .target = take_ptr(target) };
	return 0;
}

static int set_make_links(struct definition *def, const struct key *k, const char *value,
                          struct diag *d)
{
	const char *p = value;

	(void)k;
	if (*value == '\0')
		return refuse_value(value, "a list of PATH:TARGET", d);
	for (;;) {
		scoped_free char *word = NULL;
		int r = conf_word(&p, NULL, CONF_UNQUOTE, &word, d);

		if (r <= 0)
			return r;
		r = add_link(def, word, d);
		if (r < 0)
			return r;
	}
}

static int set_mount_point(struct definition *def, const struct key *k, const char *value,
                           struct diag *d)
{
	const unsigned flags = CONF_UNQUOTE | CONF_UNESCAPE | CONF_KEEP_EMPTY;
	scoped_free char *where = NULL, *options = NULL;
	const char *p = value;

	(void)k;
	if (*value == '\0') {
		strings_clear(&def->mount_points);
		return 0;
	}
	int r = conf_word(&p, ":", flags, &where, d);
	/* mount options stay out of the disk */
	if (r >= 0)
		r = conf_word(&p, ":", flags, &options, d);
	if (r < 0)
		return r;
	if (p)
		return refuse_value(value, "PATH:OPTIONS", d);
	r = conf_simplify_path(where, false, d);
	return r < 0 ? r : strings_add(&def->mount_points, &where, d);
}

static int set_verity(struct definition *def, const struct key *k, const char *value,
                      struct diag *d)
{
	static const char *const modes[] = {
		[DEFINITION_VERITY_OFF] = "off",
		[DEFINITION_VERITY_DATA] = "data",
		[DEFINITION_VERITY_HASH] = "hash",
		[DEFINITION_VERITY_SIGNATURE] = "signature",
	};

	(void)k;
	if (*value == '\0')
		value = "off";
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (strcmp(value, modes[i]) == 0) {
			def->verity = (enum definition_verity)i;
			return 0;
		}
	return refuse_value(value, "off, data, hash or signature", d);
}

static int set_match_key(struct definition *def, const struct key *k, const char *value,
                         struct diag *d)
{
	(void)k;
	if (*value)
		return replace_string(&def->match_key, value, d);
	free(take_ptr(def->match_key));
	return 0;
}

static int set_flags(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	(void)k;
	if (conf_number(value, UINT64_MAX, &def->flags) < 0)
		return refuse_value(value, "a number of 64 bits, decimal or after 0x", d);
	return 0;
}

static int set_tristate(struct definition *def, const struct key *k, const char *value,
                        struct diag *d)
{
	int8_t *state = field(def, k);
	bool v;

	if (*value && conf_bool(value, &v) < 0)
		return refuse_value(value, "yes or no", d);
	*state = (int8_t)(*value ? v : -1);
	return 0;
}

/* Both ways of minimizing are one for a file system that cannot grow. */
static int set_minimize(struct definition *def, const struct key *k, const char *value,
                        struct diag *d)
{
	(void)k;
	if (*value == '\0' || strcmp(value, "best") == 0 || strcmp(value, "guess") == 0)
		def->minimize = *value != '\0';
	else if (conf_bool(value, &def->minimize) < 0)
		return refuse_value(value, "off, best or guess", d);
	return 0;
}

/* Keys that would have us make something we do not make, unless they say that it is off. */
static int set_off(struct definition *def, const struct key *k, const char *value, struct diag *d)
{
	bool v;

	(void)def;
	(void)k;
	if (*value == '\0' || (conf_bool(value, &v) == 0 && !v))
		return 0;
	return diag_set(d, -EOPNOTSUPP, "not supported, only \"off\"");
}

/* Only names the files of --split=yes. */
static int set_nothing(struct definition *def, const struct key *k, const char *value,
                       struct diag *d)
{
	(void)def;
	(void)k;
	(void)value;
	(void)d;
	return 0;
}

#define FIELD(name) offsetof(struct definition, name)

static const char no_encryption[] = "the disk is not encrypted";
static const char no_compression[] = "the file system is not compressed";
static const char no_btrfs[] = "erofs has no subvolumes";

/* clang-format off */
static const struct key keys[] = {
	{ "Type", set_type, 0, NULL },
	{ "Label", set_label, 0, NULL },
	{ "UUID", set_uuid, 0, NULL },
	{ "Priority", set_priority, 0, NULL },
	{ "Weight", set_weight, FIELD(weight), NULL },
	{ "PaddingWeight", set_weight, FIELD(padding_weight), NULL },
	{ "SizeMinBytes", set_size, FIELD(size_min), NULL },
	{ "SizeMaxBytes", set_size, FIELD(size_max), NULL },
	{ "PaddingMinBytes", set_size, FIELD(padding_min), NULL },
	{ "PaddingMaxBytes", set_size, FIELD(padding_max), NULL },
	{ "Format", set_format, 0, NULL },
	{ "CopyFiles", set_copy, 0, NULL },
	{ "ExcludeFiles", set_exclude, FIELD(exclude_source), NULL },
	{ "ExcludeFilesTarget", set_exclude, FIELD(exclude_target), NULL },
	{ "MakeDirectories", set_make_dirs, 0, NULL },
	{ "MakeSymlinks", set_make_links, 0, NULL },
	{ "MountPoint", set_mount_point, 0, NULL },
	{ "Verity", set_verity, 0, NULL },
	{ "VerityMatchKey", set_match_key, 0, NULL },
	{ "VerityDataBlockSizeBytes", set_block_len, FIELD(verity_data_block_len), NULL },
	{ "VerityHashBlockSizeBytes", set_block_len, FIELD(verity_hash_block_len), NULL },
	{ "FileSystemSectorSize", set_fs_sector_len, FIELD(fs_sector_len), NULL },
	{ "Minimize", set_minimize, 0, NULL },
	{ "Flags", set_flags, 0, NULL },
	{ "ReadOnly", set_tristate, FIELD(read_only), NULL },
	{ "NoAuto", set_tristate, FIELD(no_auto), NULL },
	{ "GrowFileSystem", set_tristate, FIELD(grow_fs), NULL },
	{ "AddValidateFS", set_tristate, FIELD(add_validatefs), NULL },
	{ "SplitName", set_nothing, 0, NULL },
	{ "Encrypt", set_off, 0, NULL },
	{ "Integrity", set_off, 0, NULL },
	{ "FactoryReset", set_off, 0, NULL },
	{ "VolumeLabel", NULL, 0, no_encryption },
	{ "EncryptedVolume", NULL, 0, no_encryption },
	{ "EncryptKDF", NULL, 0, no_encryption },
	{ "KeyFile", NULL, 0, no_encryption },
	{ "TPM2PCRs", NULL, 0, no_encryption },
	{ "IntegrityAlgorithm", NULL, 0, no_encryption },
	{ "Discard", NULL, 0, no_encryption },
	{ "Compression", NULL, 0, no_compression },
	{ "CompressionLevel", NULL, 0, no_compression },
	{ "Subvolumes", NULL, 0, no_btrfs },
	{ "DefaultSubvolume", NULL, 0, no_btrfs },
	{ "CopyBlocks", NULL, 0, "the file system is made from files" },
	{ "SupplementFor", NULL, 0, "there is nothing to supplement" },
};
/* clang-format on */

static int assign(void *ctx, const struct conf_assignment *a, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].name, a->key) != 0)
			continue;
		if (keys[i].why)
			return diag_set(d, -EOPNOTSUPP, "%s:%u: %s= is not supported: %s", a->file,
			                a->line, a->key, keys[i].why);
		int r = keys[i].set(ctx, &keys[i], a->value, d);
		return diag_prefix(d, r, "%s:%u: %s", a->file, a->line, a->key);
	}
	return diag_set(d, -EINVAL, "%s:%u: unknown key %s", a->file, a->line,
	                text_quote(a->key, strlen(a->key), quoted, sizeof(quoted)));
}

int definition_parse(struct definition *def, const struct conf_text *t, struct diag *d)
{
	return conf_parse(t, "Partition", assign, def, d);
}
