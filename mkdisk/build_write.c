/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a planned disk: to their places, and back for the digest of the whole. Decides who
 * brings which contents in which order, and what of an unfinished disk is worth keeping.
 */
#include "build_int.h"
#include "contents.h"
#include "lfs.h"
#include "plan_id.h"
#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>

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

void build_tell_start(const struct build *b, const char *what, uint64_t total)
{
	if (b->hooks->start)
		b->hooks->start(b->hooks->ctx, what, total);
}

void build_tell_end(const struct build *b)
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
	build_tell_start(b, "reading back", len);
	r = objects_recall(b->objects, job_cnt(b->opt), d);
	build_tell_end(b);
	return r;
}

/* Git LFS objects: what is on this machine, the rest from their server. */
static int bring_objects(struct build *b, struct diag *d)
{
	struct lfs_options opt = {
		.server = { .url = source_lfs_url(b->source),
		            .credentials = source_credentials(b->source),
		            .ca_file = b->opt->ca_file,
		            .retries = b->opt->retries,
		            .stall_s = b->opt->timeout_s,
		            .note = build_tell_note,
		            .ctx = b,
		            .stop = b->hooks->stop },
		.transfers = b->opt->jobs > 0 ? b->opt->jobs : LFS_DEFAULT_TRANSFERS,
		.workers = job_cnt(b->opt),
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
	build_tell_start(b, "writing", content_len(b->tree) - objects_on_disk_len(b->objects));
	r = contents_carry(b->source, b->tree, b->erofs, s, &opt, d);
	if (r == 0)
		r = bring_objects(b, d);
	build_tell_end(b);
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

/* JSON at the start of its partition; the rest of that is zero. */
static int write_signature(const struct build *b, struct output *out, struct diag *d)
{
	scoped_free char *text = NULL;
	int r;

	if (!b->defs || b->defs->signature == SIZE_MAX)
		return 0;
	r = root_signer_partition_text(b->signer, b->root, sizeof(b->root), &text, d);
	if (r == 0 && strlen(text) > b->disk->part[b->defs->signature].len)
		r = diag_set(d, -ENOSPC,
		             "the signature partition has %" PRIu64 " bytes for a signature of %zu",
		             b->disk->part[b->defs->signature].len, strlen(text));
	if (r == 0)
		r = output_write(out, b->disk->signature_off, text, strlen(text), d);
	return diag_prefix(d, r, "%s", b->opt->disk);
}

int build_write_disk(struct build *b, struct output *out, struct diag *d)
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
	r = write_signature(b, out, d);
	if (r < 0)
		return r;
	disk_plan_set_root(b->disk, b->root);
	return stream_write_table(s, b->disk, d);
}

int build_digest_image(struct build *b, struct output *out, struct diag *d)
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
		build_note(b, "%s: an earlier run left a part of it, which was removed: %s",
		           b->opt->disk, why);
	else if (output_is_continued(out))
		build_note(b, "%s: going on with what an earlier run left", b->opt->disk);
}

int build_open_output(const struct build *b, struct output **out, struct diag *d)
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
