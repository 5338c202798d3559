/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work of carrying contents, shared out among threads. Decides the pieces and their order;
 * reading is source.c's, hashing and writing stream.c's.
 */
#include "contents.h"
#include "hash.h"

#include <errno.h>
#include <pthread.h>

/* One read; also the alignment of reads in a file, so that batches need no copy. */
#define READ_LEN MIB
/* Shorter runs are cheaper to read and write than to clone and read from the disk. */
#define CLONE_MIN_LEN (4 * MIB)
/* A thread takes neighbouring files together, up to so many bytes or files. */
#define GROUP_LEN MIB
#define GROUP_CNT 256
/* A file longer than two of these is carried by several threads at once. */
#define PIECE_LEN (64 * MIB)

struct piece {
	const struct tree_node *node;
	uint64_t off, len; /* in the file */
	uint64_t at;       /* in the image: pieces are started in this order */
};

struct work {
	struct source *src;
	struct stream *stream;
	const struct contents_options *opt;
	struct piece *piece;
	size_t piece_cnt, piece_cap;
	atomic_size_t next;
	atomic_bool failed; /* an error is in d, or will be in a moment */
	pthread_mutex_t lock;
	int err;        /* lock: the first error */
	struct diag *d; /* lock: its sentence */
};

/* ---- pieces ---- */

static int add_piece(struct work *w, const struct piece *p)
{
	if (w->piece_cnt == w->piece_cap) {
		size_t cap = MAX(2 * w->piece_cap, 64);
		struct piece *grown = realloc(w->piece, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->piece = grown;
		w->piece_cap = cap;
	}
	w->piece[w->piece_cnt++] = *p;
	return 0;
}

/*
 * A digest needs the file in order, and a git blob comes as a whole; other large files are cut.
 */
static bool may_be_cut(const struct work *w, const struct tree_node *n)
{
	return !w->opt->digest && n->content == TREE_CONTENT_PATH && n->size > 2 * PIECE_LEN;
}

static int add_file(struct work *w, const struct tree_node *n, const struct erofs_place *place)
{
	uint64_t step = may_be_cut(w, n) ? PIECE_LEN : n->size;
	uint64_t start = place->data_len > 0 ? place->data_off : place->inode_off;

	for (uint64_t off = 0; off < n->size; off += step) {
		struct piece p = { n, off, MIN(step, n->size - off), start + off };
		int r = add_piece(w, &p);

		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_pieces(const void *a, const void *b)
{
	const struct piece *pa = a, *pb = b;

	return (pa->at > pb->at) - (pa->at < pb->at);
}

static int make_pieces(struct work *w, const struct tree *tree, const struct erofs_plan *plan,
                       struct diag *d)
{
	for (uint32_t i = 0; i < tree->node_cnt; i++) {
		const struct tree_node *n = tree->node[i];

		if (!S_ISREG(n->mode) || n->link)
			continue;
		if (n->content == TREE_CONTENT_LFS) {
			if (w->opt->digest)
				memcpy(w->opt->digest[i], n->oid, sizeof(n->oid));
			continue;
		}
		if (n->size == 0 && w->opt->digest && hash_sha256("", 0, w->opt->digest[i]) < 0)
			return diag_set(d, -EIO, "SHA-256 failed");
		if (add_file(w, n, erofs_plan_place(plan, n)) < 0)
			return diag_set(d, -ENOMEM, "out of memory");
	}
	if (w->piece_cnt > 0)
		qsort(w->piece, w->piece_cnt, sizeof(*w->piece), compare_pieces);
	return 0;
}

/* ---- one piece ---- */

/* What one thread has in its hands. */
struct worker {
	struct work *w;
	uint8_t *buf;               /* READ_LEN */
	struct hash_stream *digest; /* NULL: not wanted */
	struct source_file *from;   /* of the piece at hand */
	struct stream_file *to;
	struct stream_batch *batch; /* for small files */
	uint64_t cloned_end;        /* before it, the file's bytes lie on the disk already */
};

static bool must_stop(const struct work *w)
{
	return atomic_load(&w->failed) || (w->opt->stop && atomic_load(w->opt->stop));
}

static int add_digest(struct worker *k, const void *buf, size_t len, struct diag *d)
{
	if (!k->digest || hash_stream_add(k->digest, buf, len) == 0)
		return 0;
	return diag_set(d, -EIO, "SHA-256 failed");
}

static int carry_hole(struct worker *k, uint64_t len, struct diag *d)
{
	static const uint8_t zeros[64 * KIB];

	for (uint64_t done = 0; k->digest && done < len; done += sizeof(zeros)) {
		int r = add_digest(k, zeros, (size_t)MIN(len - done, sizeof(zeros)), d);

		if (r < 0)
			return r;
	}
	return stream_file_zero(k->to, len, d);
}

/*
 * What was cloned is read from the disk, not from the source: a source that changes meanwhile must
 * not make the tree prove other bytes than the disk has.
 */
static int carry_data(struct worker *k, uint64_t off, size_t len, struct diag *d)
{
	bool is_cloned = off < k->cloned_end;
	int r = is_cloned ? stream_file_read_back(k->to, off, k->buf, len, d)
	                  : source_file_read(k->from, off, k->buf, len, d);

	if (r < 0)
		return r;
	r = add_digest(k, k->buf, len, d);
	if (r < 0)
		return r;
	return is_cloned ? stream_file_keep(k->to, k->buf, len, d)
	                 : stream_file_write(k->to, k->buf, len, d);
}

static void clone_run(struct worker *k, const struct piece *p)
{
	int from = source_file_fd(k->from);

	k->cloned_end = p->off;
	if (from >= 0 && p->len >= CLONE_MIN_LEN)
		k->cloned_end = stream_file_clone(k->to, from);
}

static int carry_run(struct worker *k, const struct piece *p, struct diag *d)
{
	uint64_t pos = p->off, end = p->off + p->len;

	clone_run(k, p);
	while (pos < end) {
		bool is_cloned = pos < k->cloned_end; /* which has no holes */
		uint64_t data = is_cloned ? pos : MIN(source_file_next_data(k->from, pos), end);
		uint64_t limit = is_cloned ? k->cloned_end : end;
		uint64_t len = MIN(READ_LEN - pos % READ_LEN, limit - pos);
		int r;

		if (must_stop(k->w))
			return diag_set(d, -EINTR, "interrupted");
		if (data > pos) {
			len = data - pos;
			r = carry_hole(k, len, d);
		} else {
			r = carry_data(k, pos, (size_t)len, d);
		}
		if (r < 0)
			return r;
		pos += len;
	}
	return 0;
}

/* The source is asked last whether it is still what it was: only then the piece counts. */
static int carry_and_close(struct worker *k, const struct piece *p, struct diag *d)
{
	int r = stream_file_new(k->w->stream, p->node, p->off, p->len, &k->to, d), closed;

	if (r == 0)
		r = carry_run(k, p, d);
	closed = source_file_close(take_ptr(k->from), r < 0 ? NULL : d);
	return r < 0 ? r : closed;
}

static int carry_large(struct worker *k, const struct piece *p, struct diag *d)
{
	int r = carry_and_close(k, p, d);

	if (r < 0) {
		stream_file_abandon(take_ptr(k->to));
		return r;
	}
	return stream_file_finish(take_ptr(k->to), d);
}

/* Holes are read like anything else here. */
static int carry_small(struct worker *k, const struct piece *p, struct diag *d)
{
	uint8_t *room = NULL;
	int r = stream_batch_room(k->batch, p->node, &room, d), closed;

	if (r == 0)
		r = source_file_read(k->from, 0, room, (size_t)p->len, d);
	if (r == 0)
		r = add_digest(k, room, (size_t)p->len, d);
	closed = source_file_close(take_ptr(k->from), r < 0 ? NULL : d);
	if (r < 0 || closed < 0)
		return r < 0 ? r : closed;
	return stream_batch_take(k->batch, p->node, room, d);
}

static int carry_piece(struct worker *k, const struct piece *p, struct diag *d)
{
	int r = source_file_open(k->w->src, p->node, &k->from, d);

	if (r < 0)
		return r;
	r = p->node->size <= STREAM_BATCH_MAX_FILE ? carry_small(k, p, d) : carry_large(k, p, d);
	if (r < 0 || !k->digest)
		return r;
	if (hash_stream_finish(k->digest, k->w->opt->digest[p->node->index]) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	return 0;
}

/* ---- threads ---- */

static void tell_failure(struct work *w, const struct diag *d)
{
	pthread_mutex_lock(&w->lock);
	if (w->err == 0) {
		w->err = d->err;
		if (w->d)
			*w->d = *d;
	}
	atomic_store(&w->failed, true);
	pthread_mutex_unlock(&w->lock);
}

/* The next pieces that nobody has; false: there are none. */
static bool take_group(struct work *w, size_t *begin, size_t *end)
{
	size_t i = atomic_load(&w->next), j;

	do {
		uint64_t len = 0;

		for (j = i; j < w->piece_cnt && j - i < GROUP_CNT; j++) {
			len += w->piece[j].len;
			if (len > GROUP_LEN && j > i)
				break;
		}
	} while (j > i && !atomic_compare_exchange_weak(&w->next, &i, j));
	*begin = i;
	*end = j;
	return j > i;
}

static int carry_pieces(struct work *w, struct diag *d)
{
	scoped(hash_stream) struct hash_stream *digest = NULL;
	scoped(stream_batch) struct stream_batch *batch = NULL;
	scoped_free uint8_t *buf = aligned_alloc(WRITER_ALIGN, READ_LEN);
	struct worker k = { .w = w, .buf = buf };
	size_t i, end;
	int r;

	if (!buf)
		return diag_set(d, -ENOMEM, "out of memory");
	if (w->opt->digest && hash_stream_new(HASH_SHA256, &digest) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	r = stream_batch_new(w->stream, &batch, d);
	if (r < 0)
		return r;
	k.digest = digest;
	k.batch = batch;
	while (take_group(w, &i, &end)) {
		for (; r == 0 && i < end; i++)
			r = must_stop(w) ? diag_set(d, -EINTR, "interrupted")
			                 : carry_piece(&k, &w->piece[i], d);
		if (r < 0)
			return r;
	}
	return stream_batch_flush(batch, d);
}

static void *thread_main(void *ctx)
{
	struct diag d = DIAG_INIT;

	if (carry_pieces(ctx, &d) < 0)
		tell_failure(ctx, &d);
	return NULL;
}

/* Threads that cannot be had are done without: the calling one can do everything alone. */
static void run_threads(struct work *w)
{
	pthread_t thread[CONTENTS_MAX_JOBS];
	unsigned cnt = 0;

	while (cnt + 1 < w->opt->jobs && cnt + 1 < w->piece_cnt &&
	       pthread_create(&thread[cnt], NULL, thread_main, w) == 0)
		cnt++;
	thread_main(w);
	while (cnt > 0)
		pthread_join(thread[--cnt], NULL);
}

int contents_carry(struct source *src, const struct tree *tree, const struct erofs_plan *plan,
                   struct stream *stream, const struct contents_options *opt, struct diag *d)
{
	struct work w = {
		.src = src, .stream = stream, .opt = opt, .lock = PTHREAD_MUTEX_INITIALIZER, .d = d
	};
	int r;

	r = make_pieces(&w, tree, plan, d);
	if (r == 0) {
		run_threads(&w);
		r = w.err;
	}
	free(w.piece);
	return r;
}
