/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk from one source. Decides the order of the steps and what is checked between them, so
 * that whatever can be refused is refused before the first byte is written; the steps themselves
 * are build_plan.c's, build_write.c's and the other modules'.
 */
#include "build_int.h"
#include "git_cache.h"
#include "listing.h"
#include "precautions.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void build_free(struct build *b)
{
	if (!b)
		return;
	free(b->file_digest);
	objects_free(b->objects);
	free(b->disk);
	erofs_plan_free(b->erofs);
	root_signer_free(b->signer);
	free(b->identity);
	definitions_free(b->defs);
	source_close(b->source);
	free(b->patterns);
	exclude_free(b->exclude);
	free(b);
}
DEFINE_SCOPED(build, struct build *, build_free)

static void warn(const struct build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void warn(const struct build *b, const char *fmt, ...)
{
	char sentence[DIAG_TEXT_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	if (b->hooks->warn)
		b->hooks->warn(b->hooks->ctx, sentence);
}

void build_note(const struct build *b, const char *fmt, ...)
{
	char sentence[DIAG_TEXT_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	if (b->hooks->note)
		b->hooks->note(b->hooks->ctx, sentence);
}

/* ---- the source ---- */

static int make_exclude(struct build *b, struct diag *d)
{
	const struct build_options *opt = b->opt;
	int r = exclude_new(opt->exclude_mode, &b->exclude);

	if (r < 0)
		return diag_set(d, r, "out of memory");
	b->patterns = calloc(opt->exclude_cnt + 2, sizeof(*b->patterns));
	if (!b->patterns)
		return diag_set(d, -ENOMEM, "out of memory");
	for (size_t i = 0; i < opt->exclude_cnt; i++) {
		r = exclude_add(b->exclude, opt->exclude[i], d);
		if (r < 0)
			return r;
		b->patterns[i] = opt->exclude[i];
	}
	if (!opt->exclude_list || !*opt->exclude_list)
		return 0;
	b->patterns[opt->exclude_cnt] = opt->exclude_list;
	r = exclude_add_list(b->exclude, opt->exclude_list, d);
	return diag_prefix(d, r, "EXCLUDE_GIT_FILES");
}

void build_tell_note(void *ctx, const char *sentence)
{
	build_note(ctx, "%s", sentence);
}

static void tell_warning(void *ctx, const char *sentence)
{
	warn(ctx, "%s", sentence);
}

/* A cache that cannot be had is done without, unless it was asked for. NULL: none. */
static char *find_cache(const struct build_options *opt)
{
	if (opt->no_cache)
		return NULL;
	return opt->cache_dir ? strdup(opt->cache_dir) : git_cache_default_base();
}

bool build_keeps_xattrs(const struct build_options *opt)
{
	if (opt->xattrs != BUILD_XATTRS_DEFAULT)
		return opt->xattrs == BUILD_XATTRS_KEEP;
	return opt->layout != COMPAT_FLAT && opt->keep_owners;
}

static int open_source(struct build *b, void (*on_excluded)(void *, const char *, const char *),
                       void *ctx, struct diag *d)
{
	struct source_options opt = {
		.keep_owners = b->opt->keep_owners,
		.keep_xattrs = build_keeps_xattrs(b->opt),
		.follow_blobs = b->opt->follow_blobs,
		.on_excluded = on_excluded,
		.ctx = ctx,
		.allow_ref = b->opt->allow_ref,
		.git_token = b->opt->git_token,
		.lfs_url = b->opt->lfs_url,
		.ca_file = b->opt->ca_file,
		.retries = b->opt->retries,
		.stall_s = b->opt->timeout_s,
		.stop = b->hooks->stop,
		.keep_pointers = b->opt->exclude_mode == EXCLUDE_PRIVATEMODE,
		.note = build_tell_note,
		.warn = tell_warning,
		.note_ctx = b,
	};
	scoped_free char *cache = find_cache(b->opt);
	int r = make_exclude(b, d);

	if (r < 0)
		return r;
	opt.exclude = b->exclude;
	opt.has_patterns = b->patterns[0] != NULL;
	opt.cache_dir = cache;
	opt.needs_cache = b->opt->cache_dir;
	r = source_open(b->opt->source, b->opt->commit, &opt, &b->source, d);
	if (r < 0)
		return r;
	b->tree = source_tree(b->source);
	return 0;
}

/* What is written among the files that go in would change what goes in the next time. */
static int check_is_outside(const struct build *b, const char *path, struct diag *d)
{
	if (strcmp(source_kind(b->source), "git") == 0 ||
	    !precaution_is_inside(path, b->opt->source))
		return 0;
	return diag_set(d, -EINVAL,
	                "%s: lies inside the source directory %s and would become part of it", path,
	                b->opt->source);
}

/* Of a file that is written besides the disk, if path asks for one; what says which. */
static int check_file(const struct build *b, const char *path, const char *what, struct diag *d)
{
	int r = path ? record_check_path(path, d) : 0;

	if (r < 0 || !path)
		return r;
	if (precaution_is_same(path, b->opt->disk))
		return diag_set(d, -EINVAL, "%s: is given for the disk and for its %s", path, what);
	return check_is_outside(b, path, d);
}

/* Can everything be written where it is wanted? */
static int check_places(const struct build *b, struct diag *d)
{
	const char *record = b->opt->record, *signature = b->opt->root_hash_sig;
	int r = b->opt->root_hash_only ? 0 : check_is_outside(b, b->opt->disk, d);

	if (r == 0)
		r = check_file(b, record, "record", d);
	if (r == 0)
		r = check_file(b, signature, "signature", d);
	if (r == 0 && record && signature && precaution_is_same(record, signature))
		r = diag_set(d, -EINVAL, "%s: is given for the record and for the signature",
		             record);
	return r;
}

/* ---- who signs ---- */

/* Keys without a place for a signature, and the other way round, are a mistake. */
static int open_signer(struct build *b, struct diag *d)
{
	const struct build_options *opt = b->opt;
	const char *part = b->defs && b->defs->signature != SIZE_MAX
	                           ? b->defs->v[b->defs->signature].file
	                           : NULL;

	if ((opt->private_key == NULL) != (opt->certificate == NULL))
		return diag_set(d, -EINVAL, "--private-key and --certificate go together");
	if (opt->private_key && !part && !opt->root_hash_sig)
		return diag_set(d, -EINVAL,
		                "--private-key: there is no place for a signature: neither a "
		                "definition with Verity=signature nor --root-hash-sig");
	if (!opt->private_key && (part || opt->root_hash_sig))
		return diag_set(d, -EINVAL, "%s%s needs --private-key and --certificate",
		                part ? part : "--root-hash-sig", part ? ": Verity=signature" : "");
	if (!opt->private_key)
		return 0;
	return root_signer_open(opt->private_key, opt->certificate, &b->signer, d);
}

/* Links are kept as they are; whoever mounts the disk should know where they lead. */
static void warn_about_links(const struct build *b)
{
	const struct tree_node *first = NULL;
	char name[TREE_QUOTE_LEN], target[TEXT_QUOTE_LEN];
	unsigned cnt = 0;

	for (uint32_t i = 0; i < b->tree->node_cnt; i++) {
		const struct tree_node *n = b->tree->node[i];

		if (!n->target || !precaution_leads_out(n))
			continue;
		first = first ? first : n;
		cnt++;
	}
	if (cnt == 0)
		return;
	tree_quote_path(first, name, sizeof(name));
	text_quote(first->target, strlen(first->target), target, sizeof(target));
	if (cnt == 1)
		warn(b, "the symbolic link %s leads out of the disk, to %s", name, target);
	else
		warn(b, "%u symbolic links lead out of the disk: %s to %s, and others", cnt, name,
		     target);
}

/* ---- what is said about it ---- */

static void describe(const struct build *b, struct record *rec)
{
	*rec = (struct record){
		.disk_path = b->opt->disk,
		.layout = build_is_flat(b) ? "flat" : "repart",
		.defs = b->defs,
		.plan = b->disk,
		.compat = &b->compat,
		.source = b->source,
		.tree = b->tree,
		.exclude = b->patterns,
		.exclude_mode =
		        b->opt->exclude_mode == EXCLUDE_GITIGNORE ? "gitignore" : "privatemode",
		.file_digest = b->file_digest,
		.seed = b->opt->seed,
		.fs_uuid = b->fs_uuid,
		.epoch = b->opt->epoch,
		.keep_owners = b->opt->keep_owners,
		.keep_xattrs = build_keeps_xattrs(b->opt),
	};
	memcpy(rec->root, b->root, sizeof(rec->root));
}

static int make_record(struct build *b, struct output *out, struct record *rec, char **text,
                       struct diag *d)
{
	int r;

	if (!b->opt->record)
		return 0;
	if (!output_is_nowhere(out) && !b->opt->no_image_digest) {
		build_tell_start(b, "hashing the image", b->disk->disk_len);
		r = build_digest_image(b, out, d);
		build_tell_end(b);
		if (r < 0)
			return r;
		rec->image_digest = b->image_digest;
	}
	return record_text(rec, text, d);
}

/* What belongs to a disk that has its name by now. */
static int write_file(const void *bytes, size_t len, const char *path, const char *what,
                      struct diag *d)
{
	int r = bytes ? record_write(bytes, len, path, d) : 0;

	return diag_prefix(d, r, "the disk is complete, but not its %s", what);
}

/* All is made before the disk takes its name: after that only writing the small files can fail. */
static int finish_build(struct build *b, struct output *out, char **result, struct diag *d)
{
	scoped_free char *text = NULL, *record = NULL;
	scoped_free uint8_t *signature = NULL;
	size_t signature_len = 0;
	struct record rec;
	int r = 0;

	describe(b, &rec);
	if (b->opt->root_hash_sig)
		r = root_signer_sign(b->signer, b->root, sizeof(b->root), &signature,
		                     &signature_len, d);
	if (r == 0)
		r = make_record(b, out, &rec, &record, d);
	if (r < 0)
		return r;
	r = record_result_text(&rec, b->opt->json, &text, d);
	if (r < 0)
		return r;
	r = output_commit(out, d);
	if (r < 0)
		return r;
	r = write_file(record, record ? strlen(record) : 0, b->opt->record, "record", d);
	if (r == 0)
		r = write_file(signature, signature_len, b->opt->root_hash_sig, "signature", d);
	if (r < 0)
		return r;
	*result = take_ptr(text);
	return 0;
}

static int build_new(const struct build_options *opt, const struct build_hooks *hooks,
                     struct build **out, struct diag *d)
{
	scoped(build) struct build *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return diag_set(d, -ENOMEM, "out of memory");
	b->opt = opt;
	b->hooks = hooks;
	r = compat_parse(opt->compat, opt->layout, &b->compat, d);
	if (r < 0)
		return r;
	*out = take_ptr(b);
	return 0;
}

int build_disk(const struct build_options *opt, const struct build_hooks *hooks, char **result,
               struct diag *d)
{
	scoped(build) struct build *b = NULL;
	scoped(output) struct output *out = NULL;
	int r = build_new(opt, hooks, &b, d);

	if (r < 0)
		return r;
	r = output_probe(opt->disk, &b->target, d);
	if (r < 0)
		return r;
	r = open_source(b, NULL, NULL, d);
	if (r < 0)
		return r;
	r = check_places(b, d);
	if (r < 0)
		return r;
	r = build_make_plans(b, d);
	if (r == 0)
		r = open_signer(b, d);
	if (r < 0)
		return r;
	r = build_open_output(b, &out, d);
	if (r < 0)
		return r;
	warn_about_links(b);
	r = build_write_disk(b, out, d);
	if (r == 0)
		r = finish_build(b, out, result, d);
	if (r < 0 && output_kept_name(out))
		build_note(b,
		           "%s: what is there of it stays in %s; the same command goes on with it",
		           b->opt->disk, output_kept_name(out));
	return r;
}

/* ---- what would go in ---- */

/* The smallest disk, whatever stands at DISK now; a device is as large as it is. */
static int plan_listed(struct build *b, struct diag *d)
{
	int r = output_probe(b->opt->disk, &b->target, d);

	if (r < 0)
		return r;
	if (!b->target.is_block_device)
		b->target = (struct output_target){ .sector_len = b->target.sector_len };
	return build_make_plans(b, d);
}

int build_list(const struct build_options *opt, enum build_list list,
               const struct build_hooks *hooks, char **result, struct diag *d)
{
	scoped(listing) struct listing *l = NULL;
	scoped(build) struct build *b = NULL;
	int r = build_new(opt, hooks, &b, d);

	if (r < 0)
		return r;
	if (listing_new(&l) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	r = open_source(b, listing_exclude, l, d);
	if (r < 0)
		return r;
	if (list == BUILD_LIST_EXCLUDED)
		return listing_excluded_text(l, result, d);
	r = plan_listed(b, d);
	if (r < 0)
		return r;
	if (list == BUILD_LIST_JSON)
		return listing_json(l, b->tree, b->disk, result, d);
	return listing_text(l, b->tree, b->disk, result, d);
}
