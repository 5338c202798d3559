/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries contents to their places. Decides how bytes are batched, so that a batch is hashed and
 * written while it is in the cache, and what of a file goes where: whole blocks, a padded last
 * block, or a tail inside the metadata. Where that is was decided by the plans; how it becomes
 * durable is output.c's.
 */
#include "stream.h"
#include "gather.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#define BLOCK_LEN EROFS_PLAN_BLOCK_LEN
/* Large enough for the hash engines' lanes and for cheap writes, small enough for many threads. */
#define BATCH_LEN MIB
/* Metadata blocks gathered by one thread: enough for the lanes, and to go past the page cache. */
#define META_LEN (256 * KIB)

static const uint8_t zero_block[BLOCK_LEN];

struct stream {
	const struct erofs_plan *erofs;
	const struct disk_plan *disk;
	struct output *out;
	struct stream_options opt;
	struct erofs_image *image;
	struct verity_build *verity;
	atomic_bool begun_anew; /* a run was abandoned: where it wrote, there are no zeros */
};

/*
 * Bytes of a run arrive in order. Those of whole blocks are carried at once; what does not fill a
 * block waits in batch (allocated when first needed), and the tail in tail.
 *
 *   off                          blocks_end          end
 *   ├──────── whole blocks ──────┼─────── tail ──────┤      tail inline
 *   ├──────── whole blocks ───────────────────┤pad┤         last block padded
 */
struct stream_file {
	struct stream *s;
	const struct tree_node *node;
	const struct erofs_place *place;
	struct verity_run *run; /* NULL when the run has no data blocks */
	bool lies_there;        /* what is carried now was written by an earlier run */
	uint64_t pos;           /* in the file: next byte to come */
	uint64_t blocks_end; /* in the file: where the content in data blocks ends for this run */
	uint64_t end;        /* in the file: end of the run */
	uint8_t *batch;      /* content before pos that is not carried yet */
	size_t batch_len, batch_cap;
	uint8_t tail[BLOCK_LEN];
};

/* Files of one thread, and the metadata blocks that it completes. */
struct stream_batch {
	struct stream *s;
	struct gather *data, *meta;
	uint8_t tail[BLOCK_LEN]; /* of a file that is nothing else */
};

/* ---- places on the disk ---- */

/* Data blocks of the tree in len bytes of the image: one or more per EROFS block. */
static uint64_t leaves(const struct stream *s, uint64_t len)
{
	return len / s->disk->verity.data_block_len;
}

/* carrier: NULL or the batch whose thread completed the block. */
static int put_meta(void *ctx, void *carrier, uint64_t off,
                    const uint8_t block[EROFS_PLAN_BLOCK_LEN], struct diag *d)
{
	struct stream_batch *b = carrier;
	struct stream *s = ctx;
	int r;

	if (b)
		return gather_block(b->meta, off, block, d);
	r = verity_build_add(s->verity, leaves(s, off), leaves(s, BLOCK_LEN), block, d);

	if (r < 0)
		return r;
	return output_write(s->out, s->disk->image_off + off, block, BLOCK_LEN, d);
}

static int put_tree(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	struct stream *s = ctx;

	return output_write(s->out, s->disk->tree_off + off, buf, len, d);
}

int stream_new(const struct erofs_plan *erofs, const struct disk_plan *disk, struct output *out,
               const struct stream_options *opt, struct stream **result, struct diag *d)
{
	scoped(stream) struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return diag_set(d, -ENOMEM, "out of memory");
	if (BLOCK_LEN % disk->verity.data_block_len != 0)
		return diag_set(d, -EOPNOTSUPP,
		                "data blocks of %" PRIu32
		                " bytes: blocks of the file system (%d) are not a multiple",
		                disk->verity.data_block_len, BLOCK_LEN);
	s->erofs = erofs;
	s->disk = disk;
	s->out = out;
	if (opt)
		s->opt = *opt;
	r = erofs_image_new(erofs, put_meta, s, &s->image, d);
	if (r < 0)
		return r;
	r = verity_build_new(&disk->verity, output_is_nowhere(out) ? NULL : put_tree, s, &s->verity,
	                     d);
	if (r < 0)
		return r;
	*result = take_ptr(s);
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	verity_build_free(s->verity);
	erofs_image_free(s->image);
	free(s);
}

/* ---- one run of one file ---- */

int stream_file_new(struct stream *s, const struct tree_node *n, uint64_t off, uint64_t len,
                    struct stream_file **out, struct diag *d)
{
	struct stream_file *f;
	int r = 0;

	if (!range_is_inside(off, len, n->size) || off % BLOCK_LEN != 0 ||
	    (len % BLOCK_LEN != 0 && off + len != n->size))
		return diag_set(d, -EINVAL,
		                "%" PRIu64 " bytes at offset %" PRIu64
		                " are no run of whole blocks of a file of %" PRIu64 " bytes",
		                len, off, n->size);
	f = calloc(1, sizeof(*f));
	if (!f)
		return diag_set(d, -ENOMEM, "out of memory");
	f->s = s;
	f->node = n;
	f->place = erofs_plan_place(s->erofs, n);
	f->pos = off;
	f->end = off + len;
	f->blocks_end = MIN(f->end, n->size - f->place->tail_len);
	if (f->blocks_end > off)
		r = verity_run_new(s->verity, leaves(s, f->place->data_off + off),
		                   leaves(s, round_up(f->blocks_end - off, BLOCK_LEN)), &f->run, d);
	if (r < 0) {
		free(f);
		return r;
	}
	*out = f;
	return 0;
}

static void free_file(struct stream_file *f)
{
	verity_run_free(f->run);
	free(f->batch);
	free(f);
}

void stream_file_abandon(struct stream_file *f)
{
	if (!f)
		return;
	atomic_store(&f->s->begun_anew, true);
	free_file(f);
}

/* Whole blocks, the first holding byte file_off: leaves and output. */
static int carry(struct stream_file *f, uint64_t file_off, const void *buf, size_t len,
                 struct diag *d)
{
	struct stream *s = f->s;
	int r = verity_run_add(f->run, leaves(s, len), buf, d);

	if (r < 0 || f->lies_there)
		return r;
	return output_write(s->out, s->disk->image_off + f->place->data_off + file_off, buf, len,
	                    d);
}

static int carry_zeros(struct stream_file *f, uint64_t file_off, uint64_t len, struct diag *d)
{
	struct stream *s = f->s;
	uint64_t off = s->disk->image_off + f->place->data_off + file_off;
	int r = verity_run_add_zero(f->run, leaves(s, len), d);

	if (r < 0 || !atomic_load(&s->begun_anew))
		return r < 0 ? r : output_zero(s->out, off, len, d);
	for (uint64_t done = 0; done < len && r == 0; done += BLOCK_LEN)
		r = output_write(s->out, off + done, zero_block, BLOCK_LEN, d);
	return r;
}

static int flush_batch(struct stream_file *f, struct diag *d)
{
	uint64_t off = f->pos - f->batch_len;
	size_t len = (size_t)round_up(f->batch_len, BLOCK_LEN);

	if (f->batch_len == 0)
		return 0;
	memset(f->batch + f->batch_len, 0, len - f->batch_len);
	f->batch_len = 0;
	return carry(f, off, f->batch, len, d);
}

static int make_batch(struct stream_file *f, struct diag *d)
{
	uint64_t left = round_up(f->blocks_end - f->pos, BLOCK_LEN);

	if (f->batch)
		return 0;
	f->batch_cap = (size_t)MIN(left, BATCH_LEN);
	f->batch = aligned_alloc(WRITER_ALIGN, f->batch_cap);
	return f->batch ? 0 : diag_set(d, -ENOMEM, "out of memory");
}

/* Content that lies in data blocks; len does not reach beyond blocks_end. */
static int take_blocks(struct stream_file *f, const uint8_t *p, size_t len, struct diag *d)
{
	while (len > 0) {
		size_t n;
		int r;

		if (f->batch_len == 0 && len >= BATCH_LEN) { /* no need to copy */
			n = round_down(len, BLOCK_LEN);
			r = carry(f, f->pos, p, n, d);
			f->pos += n;
		} else {
			r = make_batch(f, d);
			if (r < 0)
				return r;
			n = MIN(len, f->batch_cap - f->batch_len);
			memcpy(f->batch + f->batch_len, p, n);
			f->batch_len += n;
			f->pos += n;
			if (f->batch_len == f->batch_cap || f->pos == f->blocks_end)
				r = flush_batch(f, d);
		}
		if (r < 0)
			return r;
		p += n;
		len -= n;
	}
	return 0;
}

static void take_tail(struct stream_file *f, const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	memcpy(f->tail + (f->pos - f->blocks_end), p, len);
	f->pos += len;
}

/* How many of the next len bytes lie in data blocks, or an error if they go beyond the run. */
static int split(const struct stream_file *f, uint64_t len, uint64_t *in_blocks, struct diag *d)
{
	if (len > f->end - f->pos)
		return diag_set(d, -EINVAL,
		                "%" PRIu64
		                " bytes too many for the run that ends at offset %" PRIu64,
		                len - (f->end - f->pos), f->end);
	*in_blocks = f->pos < f->blocks_end ? MIN(len, f->blocks_end - f->pos) : 0;
	return 0;
}

static void tell_progress(const struct stream *s, uint64_t len)
{
	if (s->opt.on_progress)
		s->opt.on_progress(s->opt.ctx, len);
}

int stream_file_write(struct stream_file *f, const void *buf, size_t len, struct diag *d)
{
	uint64_t in_blocks = 0;
	int r = split(f, len, &in_blocks, d);

	if (r < 0)
		return r;
	r = take_blocks(f, buf, (size_t)in_blocks, d);
	if (r < 0)
		return r;
	take_tail(f, (const uint8_t *)buf + in_blocks, len - (size_t)in_blocks);
	tell_progress(f->s, len);
	return 0;
}

int stream_file_keep(struct stream_file *f, const void *buf, size_t len, struct diag *d)
{
	int r;

	if (f->batch_len > 0)
		return diag_set(d, -EINVAL,
		                "kept content begins at offset %" PRIu64
		                ", inside a block that is not",
		                f->pos);
	f->lies_there = true;
	r = stream_file_write(f, buf, len, d);
	if (r == 0)
		r = flush_batch(f, d);
	f->lies_there = false;
	return r;
}

static uint64_t disk_off(const struct stream_file *f, uint64_t file_off)
{
	return f->s->disk->image_off + f->place->data_off + file_off;
}

uint64_t stream_file_clone(struct stream_file *f, int from)
{
	uint64_t len = f->blocks_end > f->pos ? round_down(f->blocks_end - f->pos, BLOCK_LEN) : 0;

	if (len == 0 || f->pos % BLOCK_LEN != 0 ||
	    output_clone(f->s->out, disk_off(f, f->pos), from, f->pos, len) < 0)
		return f->pos;
	return f->pos + len;
}

int stream_file_read_back(struct stream_file *f, uint64_t off, void *buf, size_t len,
                          struct diag *d)
{
	return output_read(f->s->out, disk_off(f, off), buf, len, d);
}

uint64_t stream_file_written(const struct stream_file *f)
{
	return MIN(f->pos, f->blocks_end) - f->batch_len;
}

/*
 * Zeros up to the next block boundary complete what waits in the batch; whole blocks are hashed
 * once for all; the rest waits for what follows.
 */
static int take_zero_blocks(struct stream_file *f, uint64_t len, struct diag *d)
{
	size_t head = (size_t)MIN(len, round_up(f->pos, BLOCK_LEN) - f->pos);
	uint64_t whole = round_down(len - head, BLOCK_LEN);
	int r = take_blocks(f, zero_block, head, d);

	if (r < 0 || whole == 0)
		return r < 0 ? r : take_blocks(f, zero_block, (size_t)(len - head), d);
	r = flush_batch(f, d);
	if (r < 0)
		return r;
	r = carry_zeros(f, f->pos, whole, d);
	if (r < 0)
		return r;
	f->pos += whole;
	return take_blocks(f, zero_block, (size_t)(len - head - whole), d);
}

int stream_file_zero(struct stream_file *f, uint64_t len, struct diag *d)
{
	uint64_t in_blocks = 0;
	int r = split(f, len, &in_blocks, d);

	if (r < 0)
		return r;
	r = take_zero_blocks(f, in_blocks, d);
	if (r < 0)
		return r;
	take_tail(f, zero_block, (size_t)(len - in_blocks));
	tell_progress(f->s, len);
	return 0;
}

static int put_tail(struct stream_file *f, size_t len, struct diag *d)
{
	struct stream *s = f->s;
	uint64_t off = s->disk->image_off + erofs_place_tail_off(f->place);
	int r = s->opt.tails_at_once ? output_write(s->out, off, f->tail, len, d) : 0;

	return r < 0 ? r : erofs_image_put_tail(s->image, f->node, f->tail, len, NULL, d);
}

static int finish_run(struct stream_file *f, struct diag *d)
{
	int r = 0;

	if (f->pos != f->end)
		return diag_set(d, -EINVAL,
		                "%" PRIu64 " bytes are missing before offset %" PRIu64
		                " of a file of %" PRIu64 " bytes",
		                f->end - f->pos, f->end, f->node->size);
	if (f->run)
		r = verity_run_commit(f->run, d);
	if (r == 0 && f->end > f->blocks_end)
		r = put_tail(f, (size_t)(f->end - f->blocks_end), d);
	return r;
}

int stream_file_finish(struct stream_file *f, struct diag *d)
{
	int r = finish_run(f, d);

	if (r < 0)
		stream_file_abandon(f);
	else
		free_file(f);
	return r;
}

/* ---- small files ---- */

int stream_batch_new(struct stream *s, struct stream_batch **out, struct diag *d)
{
	scoped(stream_batch) struct stream_batch *b = calloc(1, sizeof(*b));
	struct gather_target to = { s->verity, s->out, s->disk->image_off,
		                    s->disk->verity.data_block_len };

	if (!b || gather_new(&to, BATCH_LEN, &b->data) < 0 ||
	    gather_new(&to, META_LEN, &b->meta) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	b->s = s;
	*out = take_ptr(b);
	return 0;
}

void stream_batch_free(struct stream_batch *b)
{
	if (!b)
		return;
	gather_free(b->data);
	gather_free(b->meta);
	free(b);
}

int stream_batch_room(struct stream_batch *b, const struct tree_node *n, uint8_t **room,
                      struct diag *d)
{
	const struct erofs_place *place = erofs_plan_place(b->s->erofs, n);

	if (n->size > STREAM_BATCH_MAX_FILE)
		return diag_set(d, -EINVAL, "a file of %" PRIu64 " bytes is too large for a batch",
		                n->size);
	if (n->size > place->tail_len)
		return gather_room(b->data, place->data_off, (size_t)round_up(n->size, BLOCK_LEN),
		                   room, d);
	*room = b->tail;
	return 0;
}

int stream_batch_take(struct stream_batch *b, const struct tree_node *n, uint8_t *room,
                      struct diag *d)
{
	const struct erofs_place *place = erofs_plan_place(b->s->erofs, n);
	size_t data_len = (size_t)(n->size - place->tail_len);
	size_t padded_len = (size_t)round_up(data_len, BLOCK_LEN);
	int r = 0;

	if (place->tail_len > 0)
		r = erofs_image_put_tail(b->s->image, n, room + data_len, place->tail_len, b, d);
	if (r < 0)
		return r;
	memset(room + data_len, 0, padded_len - data_len);
	gather_advance(b->data, padded_len);
	tell_progress(b->s, n->size);
	return 0;
}

int stream_batch_flush(struct stream_batch *b, struct diag *d)
{
	int r = gather_flush(b->data, d);

	return r < 0 ? r : gather_flush(b->meta, d);
}

/* ---- the rest of the disk ---- */

static int put_superblock(struct stream *s, const struct disk_region *region, struct diag *d)
{
	scoped_free uint8_t *buf = calloc(1, (size_t)region->len);

	if (!buf)
		return diag_set(d, -ENOMEM, "out of memory");
	verity_superblock_encode(&s->disk->verity, buf);
	return output_write(s->out, region->off, buf, (size_t)region->len, d);
}

static int put_regions(struct stream *s, struct diag *d)
{
	for (size_t i = 0; i < s->disk->region_cnt; i++) {
		const struct disk_region *region = &s->disk->region[i];
		int r = 0;

		if (region->kind == DISK_REGION_SUPERBLOCK)
			r = put_superblock(s, region, d);
		else if (region->kind == DISK_REGION_ZERO)
			r = output_zero(s->out, region->off, region->len, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_metadata(struct stream *s, struct diag *d)
{
	scoped(stream_batch) struct stream_batch *b = NULL;
	int r = stream_batch_new(s, &b, d);

	if (r == 0)
		r = erofs_image_flush(s->image, b, d);
	return r < 0 ? r : stream_batch_flush(b, d);
}

int stream_finish(struct stream *s, uint8_t root[32], struct diag *d)
{
	const struct disk_plan *disk = s->disk;
	int r = put_metadata(s, d);

	if (r < 0)
		return r;
	r = erofs_image_finish(s->image, d);
	if (r < 0)
		return r;
	/* what the tree covers behind the image; the region there is zeroed like any other */
	r = verity_build_add_zero(s->verity, leaves(s, disk->image_len),
	                          leaves(s, disk->covered_len - disk->image_len), d);
	if (r < 0)
		return r;
	r = put_regions(s, d);
	if (r < 0)
		return r;
	return verity_build_finish(s->verity, root, d);
}

int stream_write_table(struct stream *s, const struct disk_plan *disk, struct diag *d)
{
	scoped_free uint8_t *head = NULL, *tail = NULL;
	uint32_t sector_len = disk->table.sector_len;
	uint64_t end = disk->table.lba_cnt * sector_len;
	size_t head_len, tail_len;
	int r;

	if (!disk->has_table)
		return 0;
	head_len = (size_t)gpt_head_len(sector_len);
	tail_len = (size_t)gpt_tail_len(sector_len);
	head = malloc(head_len);
	tail = malloc(tail_len);
	if (!head || !tail)
		return diag_set(d, -ENOMEM, "out of memory");
	r = gpt_encode(&disk->table, head, tail, d);
	if (r < 0)
		return r;
	r = output_write(s->out, end - tail_len, tail, tail_len, d);
	if (r < 0)
		return r;
	return output_write(s->out, 0, head, head_len, d);
}
