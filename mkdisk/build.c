/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One disk from one source. Decides the order of the steps and what is checked between them, so
 * that whatever can be refused is refused before the first byte is written; the steps themselves
 * are the other modules'.
 */
#include "build.h"
#include "contents.h"
#include "git_cache.h"
#include "listing.h"
#include "output.h"
#include "plan_id.h"
#include "populate.h"
#include "precautions.h"
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>

/* Everything a build makes on its way, in order of making. */
struct build {
	const struct build_options *opt;
	const struct build_hooks *hooks;
	struct compat compat;
	struct output_target target;
	struct exclude *exclude;
	const char **patterns; /* all of them, for the record; NULL-terminated */
	struct source *source;
	struct tree *tree;              /* the source's */
	struct definitions *defs;       /* repart */
	struct disk_identity *identity; /* repart */
	struct uuid fs_uuid;
	struct erofs_plan *erofs;
	struct disk_plan *disk;
	struct objects *objects;
	uint8_t (*file_digest)[32];
	uint8_t image_digest[32];
	uint8_t root[32];
};

static void build_free(struct build *b)
{
	if (!b)
		return;
	free(b->file_digest);
	objects_free(b->objects);
	free(b->disk);
	erofs_plan_free(b->erofs);
	free(b->identity);
	definitions_free(b->defs);
	source_close(b->source);
	free(b->patterns);
	exclude_free(b->exclude);
	free(b);
}
DEFINE_SCOPED(build, struct build *, build_free)

static bool is_flat(const struct build *b)
{
	return b->opt->layout == COMPAT_FLAT;
}

/* Attributes of the source: mkfs.erofs gets -x-1 in the flat layout, repart copies them. */
static bool keeps_xattrs(const struct build *b)
{
	if (b->opt->xattrs != BUILD_XATTRS_DEFAULT)
		return b->opt->xattrs == BUILD_XATTRS_KEEP;
	return !is_flat(b) && b->opt->keep_owners;
}

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

static void note(const struct build *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void note(const struct build *b, const char *fmt, ...)
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

static void tell_note(void *ctx, const char *sentence)
{
	note(ctx, "%s", sentence);
}

/* A cache that cannot be had is done without, unless it was asked for. NULL: none. */
static char *find_cache(const struct build_options *opt)
{
	if (opt->no_cache)
		return NULL;
	return opt->cache_dir ? strdup(opt->cache_dir) : git_cache_default_base();
}

static int open_source(struct build *b, void (*on_excluded)(void *, const char *, const char *),
                       void *ctx, struct diag *d)
{
	struct source_options opt = {
		.keep_owners = b->opt->keep_owners,
		.keep_xattrs = keeps_xattrs(b),
		.on_excluded = on_excluded,
		.ctx = ctx,
		.allow_ref = b->opt->allow_ref,
		.git_token = b->opt->git_token,
		.lfs_url = b->opt->lfs_url,
		.ca_file = b->opt->ca_file,
		.retries = b->opt->retries,
		.stall_s = b->opt->timeout_s,
		.stop = b->hooks->stop,
		.note = tell_note,
		.note_ctx = b,
	};
	scoped_free char *cache = find_cache(b->opt);
	int r = make_exclude(b, d);

	if (r < 0)
		return r;
	opt.exclude = b->exclude;
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
	if (strcmp(source_kind(b->source), "directory") != 0 ||
	    !precaution_is_inside(path, b->opt->source))
		return 0;
	return diag_set(d, -EINVAL,
	                "%s: lies inside the source directory %s and would become part of it", path,
	                b->opt->source);
}

static int check_record(const struct build *b, struct diag *d)
{
	int r = record_check_path(b->opt->record, d);

	if (r < 0)
		return r;
	if (precaution_is_same(b->opt->record, b->opt->disk))
		return diag_set(d, -EINVAL, "%s: is given for the disk and for its record",
		                b->opt->record);
	return check_is_outside(b, b->opt->record, d);
}

/* Can everything be written where it is wanted? */
static int check_places(const struct build *b, struct diag *d)
{
	int r = b->opt->root_hash_only ? 0 : check_is_outside(b, b->opt->disk, d);

	return r == 0 && b->opt->record ? check_record(b, d) : r;
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

/* ---- the plans ---- */

/* Its partition is planned, but who would sign the root hash is not known yet. */
static int refuse_signature(const struct definitions *defs, struct diag *d)
{
	if (defs->signature == SIZE_MAX)
		return 0;
	return diag_set(d, -EOPNOTSUPP,
	                "%s: Verity=signature: mkdisk does not write signatures, leave this "
	                "partition out",
	                defs->v[defs->signature].file);
}

static int make_definitions(struct build *b, struct diag *d)
{
	int r;

	if (is_flat(b))
		return 0;
	if (b->opt->definition_cnt == 0)
		r = definitions_default(&b->defs, d);
	else
		r = definitions_load(b->opt->definitions, b->opt->definition_cnt, &b->defs, d);
	if (r == 0)
		r = refuse_signature(b->defs, d);
	if (r < 0)
		return r;
	b->identity = calloc(1, sizeof(*b->identity));
	if (!b->identity)
		return diag_set(d, -ENOMEM, "out of memory");
	return disk_identity_init(b->identity, b->defs, &b->opt->seed, d);
}

static int make_tree(struct build *b, struct diag *d)
{
	int r = 0;

	if (!is_flat(b))
		r = populate_tree(b->tree, b->defs, b->identity, &b->compat, d);
	if (r < 0)
		return r;
	return tree_finish(b->tree, d);
}

static int plan_erofs(struct build *b, struct diag *d)
{
	struct erofs_plan_options opt = {
		.uuid = is_flat(b) ? b->opt->fs_uuid : b->identity->fs_uuid,
		.keep_owners = b->opt->keep_owners,
		/* repart's own attributes stay even where the source's were left out */
		.keep_xattrs = !is_flat(b) || keeps_xattrs(b),
		.epoch = b->opt->epoch,
		.compat = &b->compat,
	};

	b->fs_uuid = opt.uuid;
	return erofs_plan_new(b->tree, &opt, &b->erofs, d);
}

static int find_sector_len(const struct build *b, uint32_t *out, struct diag *d)
{
	uint32_t device = b->target.sector_len, wanted = b->opt->sector_len;

	if (b->target.is_block_device && wanted != 0 && wanted != device)
		return diag_set(d, -EINVAL,
		                "%s: has sectors of %" PRIu32 " bytes, --sector-size=%" PRIu32
		                " would hide the table from the kernel",
		                b->opt->disk, device, wanted);
	*out = b->target.is_block_device ? device : wanted ? wanted : 512;
	if (*out != 512 && *out != 4096)
		return diag_set(d, -EOPNOTSUPP,
		                "%s: sectors of %" PRIu32
		                " bytes are not supported, 512 and 4096 are",
		                b->opt->disk, *out);
	return 0;
}

static int find_disk_len(const struct build *b, const struct disk_plan_options *opt, uint64_t *out,
                         struct diag *d)
{
	uint64_t image_len = erofs_plan_image_len(b->erofs), wanted = b->opt->size;

	if (b->target.is_block_device && wanted != BUILD_SIZE_DEFAULT && wanted != b->target.len)
		return diag_set(d, -EINVAL,
		                "%s: is a device of %" PRIu64 " bytes; --size is for files",
		                b->opt->disk, b->target.len);
	if (wanted == BUILD_SIZE_DEFAULT)
		wanted = b->target.exists ? b->target.len : BUILD_SIZE_AUTO;
	if (wanted == BUILD_SIZE_AUTO)
		return disk_plan_min_len(b->defs, b->identity, opt, image_len, out, d);
	*out = wanted;
	return 0;
}

static int plan_repart(struct build *b, struct diag *d)
{
	struct disk_plan_options opt = {
		.table_by_repart = b->opt->table_by_repart,
		.disk_id = b->opt->disk_id,
		.coverage = b->opt->coverage,
		.compat = &b->compat,
	};
	uint64_t disk_len = 0;
	int r = find_sector_len(b, &opt.sector_len, d);

	if (r < 0)
		return r;
	opt.fs_sector_len =
	        compat_fs_sector_len(&b->compat, b->target.is_block_device, opt.sector_len);
	r = find_disk_len(b, &opt, &disk_len, d);
	if (r < 0)
		return r;
	r = disk_plan_repart(b->defs, b->identity, &opt, disk_len, erofs_plan_image_len(b->erofs),
	                     b->disk, d);
	return diag_prefix(d, r, "%s", b->opt->disk);
}

static int plan_disk(struct build *b, struct diag *d)
{
	b->disk = calloc(1, sizeof(*b->disk));
	if (!b->disk)
		return diag_set(d, -ENOMEM, "out of memory");
	if (is_flat(b))
		return disk_plan_flat(erofs_plan_image_len(b->erofs), b->opt->salt,
		                      b->opt->salt_len, &b->opt->verity_uuid, b->disk, d);
	return plan_repart(b, d);
}

static int make_plans(struct build *b, struct diag *d)
{
	int r = make_definitions(b, d);

	if (r < 0)
		return r;
	r = make_tree(b, d);
	if (r < 0)
		return r;
	r = plan_erofs(b, d);
	if (r < 0)
		return r;
	r = objects_new(b->tree, b->erofs, &b->objects, d);
	if (r < 0)
		return r;
	return plan_disk(b, d);
}

/* ---- the bytes ---- */

static void tell_bytes(void *ctx, uint64_t bytes)
{
	const struct build *b = ctx;

	if (b->hooks->bytes)
		b->hooks->bytes(b->hooks->ctx, bytes);
}

static void tell_file(void *ctx, const struct tree_node *n, enum objects_event event, uint64_t done)
{
	const struct build *b = ctx;
	size_t len = tree_path(n, NULL, 0);
	scoped_free char *path = b->hooks->file ? malloc(len + 1) : NULL;

	if (!path)
		return; /* nobody to tell, or no memory to do it with */
	tree_path(n, path, len + 1);
	b->hooks->file(b->hooks->ctx, path, event, done, n->size);
}

static void tell_start(const struct build *b, const char *what, uint64_t total)
{
	if (b->hooks->start)
		b->hooks->start(b->hooks->ctx, what, total);
}

static void tell_end(const struct build *b)
{
	if (b->hooks->end)
		b->hooks->end(b->hooks->ctx);
}

/* Two for each processor: one computes while the other waits for the disk. */
static unsigned job_cnt(const struct build_options *opt)
{
	cpu_set_t cpus;

	if (opt->jobs != 0)
		return opt->jobs;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return 2;
	return (unsigned)MIN(2 * CPU_COUNT(&cpus), BUILD_MAX_JOBS);
}

static uint64_t content_len(const struct tree *t)
{
	uint64_t sum = 0; /* at most the image's length, which the plan has bounded */

	for (uint32_t i = 0; i < t->node_cnt; i++) {
		if (S_ISREG(t->node[i]->mode) && !t->node[i]->link)
			sum += t->node[i]->size;
	}
	return sum;
}

/* At the speed of a disk, not of a network: a piece of work of its own, for whoever waits. */
static int recall_objects(struct build *b, struct diag *d)
{
	uint64_t len = objects_left_len(b->objects);
	int r;

	if (len == 0)
		return 0;
	tell_start(b, "reading back", len);
	r = objects_recall(b->objects, job_cnt(b->opt), d);
	tell_end(b);
	return r;
}

/* Git LFS objects: what is on this machine, the rest from their server. */
static int bring_objects(struct build *b, struct diag *d)
{
	struct lfs_options opt = {
		.url = source_lfs_url(b->source),
		.credentials = source_credentials(b->source),
		.ca_file = b->opt->ca_file,
		.transfers = b->opt->jobs > 0 ? b->opt->jobs : LFS_DEFAULT_TRANSFERS,
		.workers = job_cnt(b->opt),
		.retries = b->opt->retries,
		.stall_s = b->opt->timeout_s,
		.note = tell_note,
		.ctx = b,
		.stop = b->hooks->stop,
	};
	const struct lfs_object *missing;
	size_t cnt = 0;
	int r = objects_copy(b->objects, b->source, opt.workers, d);

	if (r < 0)
		return r;
	missing = objects_missing(b->objects, &cnt);
	return cnt > 0 ? lfs_fetch(&opt, missing, cnt, objects_sink(), d) : 0;
}

static int carry_contents(struct build *b, struct stream *s, struct output *out, struct diag *d)
{
	struct contents_options opt = { .jobs = job_cnt(b->opt), .stop = b->hooks->stop };
	int r;

	if (b->opt->record) {
		b->file_digest = calloc(b->tree->node_cnt, sizeof(*b->file_digest));
		if (!b->file_digest)
			return diag_set(d, -ENOMEM, "out of memory");
		opt.digest = b->file_digest;
	}
	objects_watch(b->objects, tell_file, b);
	objects_start(b->objects, s, out, b->disk, b->hooks->stop);
	r = recall_objects(b, d);
	if (r < 0)
		return r;
	tell_start(b, "writing", content_len(b->tree) - objects_on_disk_len(b->objects));
	r = contents_carry(b->source, b->tree, b->erofs, s, &opt, d);
	if (r == 0)
		r = bring_objects(b, d);
	tell_end(b);
	return r;
}

static int check_root(const struct build *b, struct diag *d)
{
	char found[65], expected[65];

	if (!b->opt->root_is_expected ||
	    memcmp(b->root, b->opt->expected_root, sizeof(b->root)) == 0)
		return 0;
	hex_encode(b->root, sizeof(b->root), found);
	hex_encode(b->opt->expected_root, sizeof(b->root), expected);
	return diag_set(d, -EBADMSG, "%s: the root hash is %s, expected %s", b->opt->disk, found,
	                expected);
}

static int write_disk(struct build *b, struct output *out, struct diag *d)
{
	struct stream_options opt = { .on_progress = tell_bytes,
		                      .tails_at_once = output_journal(out) != NULL,
		                      .ctx = b };
	scoped(stream) struct stream *s = NULL;
	int r = stream_new(b->erofs, b->disk, out, &opt, &s, d);

	if (r < 0)
		return r;
	r = carry_contents(b, s, out, d);
	if (r < 0)
		return r;
	r = stream_finish(s, b->root, d);
	if (r < 0)
		return r;
	r = check_root(b, d);
	if (r < 0) {
		output_discard(out); /* the same command would come to the same root hash */
		return r;
	}
	disk_plan_set_root(b->disk, b->root);
	return stream_write_table(s, b->disk, d);
}

static int digest_image(struct build *b, struct output *out, struct diag *d)
{
	scoped(hash_stream) struct hash_stream *digest = NULL;
	scoped_free uint8_t *buf = calloc(1, MIB), *zeros = calloc(1, MIB);
	uint64_t data = 0, len = b->disk->disk_len;

	if (!buf || !zeros || hash_stream_new(HASH_SHA256, &digest) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	for (uint64_t off = 0; off < len;) {
		size_t n = (size_t)MIN(MIB, len - off);
		int r = 0;

		if (b->hooks->stop && atomic_load(b->hooks->stop))
			return diag_set(d, -EINTR, "interrupted");
		if (data <= off)
			data = output_next_data(out, off);
		if (data > off)
			n = (size_t)MIN(n, data - off);
		else
			r = output_read(out, off, buf, n, d);
		if (r < 0)
			return r;
		if (hash_stream_add(digest, data > off ? zeros : buf, n) < 0)
			return diag_set(d, -EIO, "SHA-256 failed");
		tell_bytes(b, n);
		off += n;
	}
	if (hash_stream_finish(digest, b->image_digest) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	return 0;
}

/* Only objects with a digest of their own can be proven when they are read back. */
static int plan_journal(const struct build *b, struct journal_plan *p, struct diag *d)
{
	p->size = objects_sizes(b->objects, &p->object_cnt);
	if (plan_id(source_commit(b->source), b->erofs, b->disk, p->id) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	return 0;
}

static void tell_what_was_left(const struct build *b, const struct output *out)
{
	const char *why = output_started_over(out);

	if (why)
		note(b, "%s: an earlier run left a part of it, which was removed: %s", b->opt->disk,
		     why);
	else if (output_is_continued(out))
		note(b, "%s: going on with what an earlier run left", b->opt->disk);
}

static int open_output(const struct build *b, struct output **out, struct diag *d)
{
	const struct disk_plan *p = b->disk;
	struct journal_plan journal;
	struct output_options opt = {
		.disk_len = p->disk_len,
		.force = b->opt->force,
		.dense = { { p->image_off, p->image_len }, { p->tree_off, p->geometry.tree_len } },
	};
	int r = plan_journal(b, &journal, d);

	if (r < 0 || b->opt->root_hash_only)
		return r < 0 ? r : output_open(NULL, &opt, out, d);
	/* image and tree, and a little for table and superblock; holes of the source are not known
	 */
	if (!add_u64(p->image_len, p->geometry.tree_len, &opt.need_len) ||
	    !add_u64(opt.need_len, 64 * KIB, &opt.need_len))
		opt.need_len = UINT64_MAX;
	opt.need_len = MIN(opt.need_len, p->disk_len);
	opt.journal = journal.object_cnt > 0 ? &journal : NULL;
	r = output_open(b->opt->disk, &opt, out, d);
	if (r == 0)
		tell_what_was_left(b, *out);
	return r;
}

/* ---- what is said about it ---- */

static void describe(const struct build *b, struct record *rec)
{
	*rec = (struct record){
		.disk_path = b->opt->disk,
		.layout = is_flat(b) ? "flat" : "repart",
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
		.keep_xattrs = keeps_xattrs(b),
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
		tell_start(b, "hashing the image", b->disk->disk_len);
		r = digest_image(b, out, d);
		tell_end(b);
		if (r < 0)
			return r;
		rec->image_digest = b->image_digest;
	}
	return record_text(rec, text, d);
}

/* The texts are made before the disk takes its name: after that only the record can fail. */
static int finish_build(struct build *b, struct output *out, char **result, struct diag *d)
{
	scoped_free char *text = NULL, *record = NULL;
	struct record rec;
	int r;

	describe(b, &rec);
	r = make_record(b, out, &rec, &record, d);
	if (r < 0)
		return r;
	r = record_result_text(&rec, b->opt->json, &text, d);
	if (r < 0)
		return r;
	r = output_commit(out, d);
	if (r < 0)
		return r;
	if (record) {
		r = record_write(record, b->opt->record, d);
		if (r < 0)
			return diag_prefix(d, r, "the disk is complete, but not its record");
	}
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
	r = make_plans(b, d);
	if (r < 0)
		return r;
	r = open_output(b, &out, d);
	if (r < 0)
		return r;
	warn_about_links(b);
	r = write_disk(b, out, d);
	if (r == 0)
		r = finish_build(b, out, result, d);
	if (r < 0 && output_kept_name(out))
		note(b, "%s: what is there of it stays in %s; the same command goes on with it",
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
	return make_plans(b, d);
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
