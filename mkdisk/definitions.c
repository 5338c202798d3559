/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Definition files: which ones count, in which order, and whether they make one verity disk
 * together. What a line means is left to definitions_parse.c, what it costs to disk_plan.c.
 */
#include "definitions.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "definitions_embedded.h"
#include "definitions_parse.h"

#define SUFFIX ".conf"

static int definitions_new(struct definitions **out, struct diag *d)
{
	scoped(definitions) struct definitions *defs = calloc(1, sizeof(*defs));

	if (!defs)
		return diag_set(d, -ENOMEM, "out of memory for the definitions");
	defs->v = calloc(DEFINITIONS_MAX, sizeof(*defs->v));
	if (!defs->v)
		return diag_set(d, -ENOMEM, "out of memory for the definitions");
	*out = take_ptr(defs);
	return 0;
}

void definitions_free(struct definitions *defs)
{
	if (!defs)
		return;
	for (size_t i = 0; i < defs->cnt; i++)
		definition_release(&defs->v[i]);
	free(defs->v);
	free(defs);
}

/* ---- judging the definitions ---- */

static bool makes_files(const struct definition *def)
{
	return def->format_is_erofs || def->copy_cnt > 0 || def->make_dirs.cnt > 0 ||
	       def->make_link_cnt > 0 || def->add_validatefs > 0;
}

static int check_data(const struct definition *def, struct diag *d)
{
	if (!def->format_is_erofs)
		return diag_set(d, -EINVAL, "%s: Verity=data without Format=erofs", def->file);
	if (def->copy_cnt == 0)
		return diag_set(d, -EINVAL,
		                "%s: CopyFiles= is missing, which stands for the source",
		                def->file);
	if (def->verity_data_block_len || def->verity_hash_block_len)
		return diag_set(d, -EINVAL,
		                "%s: verity block sizes are read from the Verity=hash definition "
		                "only",
		                def->file);
	return 0;
}

static int check_hash(const struct definition *def, struct diag *d)
{
	if (makes_files(def))
		return diag_set(d, -EINVAL,
		                "%s: a partition with Verity=hash or signature has no files and no "
		                "Format=",
		                def->file);
	return 0;
}

static int check_signature(const struct definition *def, struct diag *d)
{
	if (def->size_min != DEFINITION_SIZE_UNSET || def->size_max != DEFINITION_SIZE_UNSET)
		return diag_set(d, -EINVAL, "%s: Verity=signature has a fixed size", def->file);
	if (def->minimize)
		return diag_set(d, -EINVAL, "%s: Minimize= needs Format= or Verity=hash",
		                def->file);
	return check_hash(def, d);
}

static int check_one(const struct definition *def, struct diag *d)
{
	if (!def->type_name)
		return diag_set(d, -EINVAL, "%s: Type= is missing", def->file);
	if (def->verity != DEFINITION_VERITY_OFF && !def->match_key)
		return diag_set(d, -EINVAL, "%s: VerityMatchKey= is missing", def->file);
	switch (def->verity) {
	case DEFINITION_VERITY_DATA:
		return check_data(def, d);
	case DEFINITION_VERITY_HASH:
		return check_hash(def, d);
	case DEFINITION_VERITY_SIGNATURE:
		return check_signature(def, d);
	case DEFINITION_VERITY_OFF:
		break;
	}
	return diag_set(d, -EOPNOTSUPP,
	                "%s: a partition without Verity=: only a verity disk is made (data, hash, "
	                "signature)",
	                def->file);
}

/* Takes the place of a role; each may be taken once. */
static int take_role(struct definitions *defs, size_t i, struct diag *d)
{
	static const char *const name[] = { "off", "data", "hash", "signature" };
	size_t *place[] = { NULL, &defs->data, &defs->hash, &defs->signature };
	enum definition_verity role = defs->v[i].verity;

	if (*place[role] != SIZE_MAX)
		return diag_set(d, -EOPNOTSUPP, "%s: a second Verity=%s after %s", defs->v[i].file,
		                name[role], defs->v[*place[role]].file);
	*place[role] = i;
	return 0;
}

static int check_siblings(const struct definitions *defs, struct diag *d)
{
	if (defs->data == SIZE_MAX || defs->hash == SIZE_MAX)
		return diag_set(d, -EINVAL, "%s: there is no definition with Verity=%s",
		                defs->v[0].file, defs->data == SIZE_MAX ? "data" : "hash");
	const struct definition *data = &defs->v[defs->data];

	for (size_t i = 0; i < defs->cnt; i++) {
		const struct definition *def = &defs->v[i];

		if (strcmp(def->match_key, data->match_key) != 0)
			return diag_set(d, -EINVAL, "%s: its VerityMatchKey= is not that of %s",
			                def->file, data->file);
		if (def->priority != data->priority)
			return diag_set(d, -EINVAL, "%s: its Priority= is not that of %s",
			                def->file, data->file);
	}
	if (defs->v[defs->hash].minimize && !data->minimize)
		return diag_set(d, -EINVAL, "%s: Minimize= needs Minimize= in %s too",
		                defs->v[defs->hash].file, data->file);
	return 0;
}

static int judge(struct definitions *defs, struct diag *d)
{
	defs->data = defs->hash = defs->signature = SIZE_MAX;
	for (size_t i = 0; i < defs->cnt; i++) {
		int r = check_one(&defs->v[i], d);

		if (r == 0)
			r = take_role(defs, i, d);
		if (r < 0)
			return r;
	}
	return check_siblings(defs, d);
}

/* ---- from memory ---- */

/* A new definition behind the others, from its main file. */
static int add_definition(struct definitions *defs, const struct conf_text *t, struct diag *d)
{
	if (defs->cnt == DEFINITIONS_MAX)
		return diag_set(d, -EOPNOTSUPP, "%s: more than %d definitions", t->file,
		                DEFINITIONS_MAX);
	struct definition *def = &defs->v[defs->cnt++];

	definition_init(def);
	def->file = strdup(t->file);
	if (!def->file)
		return diag_set(d, -ENOMEM, "%s: out of memory", t->file);
	return definition_parse(def, t, d);
}

int definitions_parse_text(const struct conf_text *file, size_t cnt, struct definitions **out,
                           struct diag *d)
{
	scoped(definitions) struct definitions *defs = NULL;
	int r = definitions_new(&defs, d);

	if (r == 0 && cnt == 0)
		r = diag_set(d, -EINVAL, "no definition files");
	for (size_t i = 0; i < cnt && r == 0; i++)
		r = add_definition(defs, &file[i], d);
	if (r == 0)
		r = judge(defs, d);
	if (r < 0)
		return r;
	*out = take_ptr(defs);
	return 0;
}

int definitions_default(struct definitions **out, struct diag *d)
{
	struct conf_text file[DEFINITIONS_MAX];
	size_t cnt = MIN((size_t)definitions_embedded_cnt, ARRAY_LEN(file));

	for (size_t i = 0; i < cnt; i++)
		file[i] = (struct conf_text){ definitions_embedded[i].file,
			                      definitions_embedded[i].text,
			                      strlen(definitions_embedded[i].text) };
	return definitions_parse_text(file, cnt, out, d);
}

/* ---- from directories ---- */

struct found {
	char *name, *path;
	bool is_mask; /* hides others of its name and is not read */
};
struct found_list {
	struct found *v;
	size_t cnt;
};

static void found_list_release(struct found_list list)
{
	for (size_t i = 0; i < list.cnt; i++) {
		free(list.v[i].name);
		free(list.v[i].path);
	}
	free(list.v);
}
DEFINE_SCOPED(found_list, struct found_list, found_list_release)

static bool is_conf_name(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > strlen(SUFFIX) &&
	       strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static bool is_listed(const struct found_list *list, const char *name)
{
	for (size_t i = 0; i < list->cnt; i++)
		if (strcmp(list->v[i].name, name) == 0)
			return true;
	return false;
}

/* Adds dir/name unless it is no file or hidden by one of its name. */
static int list_add(struct found_list *list, const char *dir, const char *name, struct diag *d)
{
	scoped_free char *path = NULL, *copy = NULL;
	struct stat st;

	if (!is_conf_name(name) || is_listed(list, name))
		return 0;
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return diag_set(d, -ENOMEM, "%s: out of memory", dir);
	}
	if (stat(path, &st) < 0)
		return diag_set_errno(d, -errno, "%s", path);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return 0;
	copy = strdup(name);
	struct found *v = realloc(list->v, (list->cnt + 1) * sizeof(*v));
	if (v)
		list->v = v;
	if (!v || !copy)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	v[list->cnt].is_mask = S_ISCHR(st.st_mode) || st.st_size == 0;
	v[list->cnt].path = take_ptr(path);
	v[list->cnt++].name = take_ptr(copy);
	return 0;
}

static void scope_end_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int list_dir(struct found_list *list, const char *path, bool must_exist, struct diag *d)
{
	scoped(dir) DIR *dir = opendir(path);
	int r = 0;

	if (!dir)
		return errno == ENOENT && !must_exist
		               ? 0
		               : diag_set_errno(d, -errno, "definitions in %s", path);
	while (r == 0) {
		errno = 0;
		const struct dirent *e = readdir(dir);

		if (!e)
			return errno ? diag_set_errno(d, -errno, "definitions in %s", path) : 0;
		r = list_add(list, path, e->d_name, d);
	}
	return r;
}

static int compare_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The files of all directories (of their sub-directory sub, if given) by name. */
static int list_all(char *const *dirs, size_t dir_cnt, const char *sub, struct found_list *list,
                    struct diag *d)
{
	int r = 0;

	for (size_t i = 0; i < dir_cnt && r == 0; i++) {
		scoped_free char *path = NULL;

		if (asprintf(&path, "%s%s%s", dirs[i], sub ? "/" : "", sub ? sub : "") < 0) {
			path = NULL;
			return diag_set(d, -ENOMEM, "%s: out of memory", dirs[i]);
		}
		r = list_dir(list, path, !sub, d);
	}
	if (r == 0 && list->cnt > 1)
		qsort(list->v, list->cnt, sizeof(*list->v), compare_found);
	return r;
}

static int read_file(const char *path, char **out, size_t *out_len, struct diag *d)
{
	scoped_free char *text = malloc(CONF_MAX_LEN + 1);
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = 0;

	if (!text)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	if (fd < 0)
		return diag_set_errno(d, -errno, "%s", path);
	/* one byte more than allowed, so that conf_parse() sees that it is too long */
	while (len <= CONF_MAX_LEN) {
		ssize_t n = read(fd, text + len, CONF_MAX_LEN + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return diag_set_errno(d, -errno, "%s", path);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*out = take_ptr(text);
	*out_len = len;
	return 0;
}

/* Applies the drop-ins of the definition whose file is called name. */
static int add_drop_ins(struct definition *def, char *const *dirs, size_t dir_cnt, const char *name,
                        struct diag *d)
{
	scoped(found_list) struct found_list list = { NULL, 0 };
	scoped_free char *sub = NULL;

	if (asprintf(&sub, "%s.d", name) < 0) {
		sub = NULL;
		return diag_set(d, -ENOMEM, "%s: out of memory", def->file);
	}
	int r = list_all(dirs, dir_cnt, sub, &list, d);

	for (size_t i = 0; i < list.cnt && r == 0; i++) {
		scoped_free char *text = NULL;
		struct conf_text t = { .file = list.v[i].path };

		if (list.v[i].is_mask)
			continue;
		r = read_file(t.file, &text, &t.len, d);
		t.text = text;
		if (r == 0)
			r = definition_parse(def, &t, d);
		if (r < 0)
			break;
		char **grown = realloc(def->drop_in, (def->drop_in_cnt + 1) * sizeof(*grown));
		if (!grown)
			return diag_set(d, -ENOMEM, "%s: out of memory", t.file);
		def->drop_in = grown;
		grown[def->drop_in_cnt++] = take_ptr(list.v[i].path);
	}
	return r;
}

static int load_all(struct definitions *defs, char *const *dirs, size_t dir_cnt, struct diag *d)
{
	scoped(found_list) struct found_list list = { NULL, 0 };
	int r = list_all(dirs, dir_cnt, NULL, &list, d);

	for (size_t i = 0; i < list.cnt && r == 0; i++) {
		scoped_free char *text = NULL;
		struct conf_text t = { .file = list.v[i].path };

		if (list.v[i].is_mask)
			continue;
		r = read_file(t.file, &text, &t.len, d);
		t.text = text;
		if (r == 0)
			r = add_definition(defs, &t, d);
		if (r == 0)
			r = add_drop_ins(&defs->v[defs->cnt - 1], dirs, dir_cnt, list.v[i].name, d);
	}
	if (r == 0 && defs->cnt == 0)
		r = diag_set(d, -EINVAL, "no definition files (*%s) in %s", SUFFIX, dirs[0]);
	return r == 0 ? judge(defs, d) : r;
}

int definitions_load(const char *const *dirs, size_t dir_cnt, struct definitions **out,
                     struct diag *d)
{
	scoped(definitions) struct definitions *defs = NULL;
	int r = definitions_new(&defs, d);
	/* systemd shows the files by their full paths */
	char **full = calloc(dir_cnt, sizeof(*full));

	assert(dir_cnt > 0);
	if (r == 0 && !full)
		r = diag_set(d, -ENOMEM, "out of memory for the definitions");
	for (size_t i = 0; i < dir_cnt && r == 0; i++) {
		full[i] = realpath(dirs[i], NULL);
		if (!full[i])
			r = diag_set_errno(d, -errno, "definitions in %s", dirs[i]);
	}
	if (r == 0)
		r = load_all(defs, full, dir_cnt, d);
	for (size_t i = 0; full && i < dir_cnt; i++)
		free(full[i]);
	free(full);
	if (r < 0)
		return r;
	*out = take_ptr(defs);
	return 0;
}
