/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a whole disk is proven: threads take turns at long stretches, so that the disk sees
 * sequential reads, and read them through the proving reader like everybody else. Only a read that
 * fails is done again block by block.
 */
#include "scan.h"

#include "list.h"
#include "workers.h"

#include <pthread.h>

#define STRETCH_LEN (8 * MIB) /* what a thread takes at once */
#define READ_LEN    (1 * MIB)

struct job {
	const struct vblk *v;
	void (*on_bytes)(uint64_t bytes);
	_Atomic uint64_t next; /* first byte that nobody has taken yet */
	pthread_mutex_t lock;  /* guards found */
	struct scan found;
};

/* What the last failed read of this thread met. */
static _Thread_local struct verity_failure last_failure;

void scan_note_failure(void *ctx, const struct verity_failure *f)
{
	(void)ctx;
	last_failure = *f;
}

static int append(struct scan *s, const struct verity_failure *f)
{
	struct scan_bad *grown;

	if (s->bad_cnt == SCAN_MAX_BAD) {
		s->is_cut = true;
		return 0;
	}
	grown = list_grow(s->bad, s->bad_cnt, sizeof(*s->bad));
	if (!grown)
		return -ENOMEM;
	s->bad = grown;
	s->bad[s->bad_cnt++] = (struct scan_bad){ .kind = f->kind,
		                                  .level = f->level,
		                                  .blk = f->blk,
		                                  .data_off = f->data_off,
		                                  .data_len = f->data_len,
		                                  .disk_off = f->disk_off };
	return 0;
}

static int add_bad(struct job *j, const struct verity_failure *f, struct diag *d)
{
	int r;

	pthread_mutex_lock(&j->lock);
	r = append(&j->found, f);
	pthread_mutex_unlock(&j->lock);
	return r < 0 ? diag_set(d, r, "out of memory") : 0;
}

/* Block by block, where something in [off, end) is bad. */
static int find_bad(struct job *j, uint64_t off, uint64_t end, void *buf, struct diag *d)
{
	const struct verity_failure *f = &last_failure;
	uint32_t block_len = vblk_params(j->v)->data_block_len;
	int r = 0;

	for (; r == 0 && off < end; off += block_len) {
		last_failure.data_len = 0;
		r = vblk_read(j->v, off, buf, block_len, d);
		if (r == 0 || f->data_len == 0) /* proven, or not the fault of a block */
			continue;
		r = add_bad(j, f, d);
		/* a hash block takes more than one data block away */
		off = MAX(off, MIN(f->data_off + f->data_len, end) - block_len);
	}
	return r;
}

static int scan_stretch(struct job *j, uint64_t off, uint64_t end, void *buf, struct diag *d)
{
	int r = 0;

	for (uint64_t len; r == 0 && off < end; off += len) {
		len = MIN(READ_LEN, end - off);
		if (vblk_read(j->v, off, buf, len, NULL) < 0)
			r = find_bad(j, off, off + len, buf, d);
		if (j->on_bytes)
			j->on_bytes(len);
	}
	return r;
}

static int scan_until_done(void *ctx, const atomic_bool *stop, struct diag *d)
{
	struct job *j = ctx;
	uint64_t size = vblk_size(j->v);
	scoped_free void *buf = malloc(READ_LEN);
	int r = buf ? 0 : diag_set(d, -ENOMEM, "out of memory");

	while (r == 0 && !atomic_load(stop)) {
		uint64_t off = atomic_fetch_add(&j->next, STRETCH_LEN);

		if (off >= size)
			break;
		r = scan_stretch(j, off, MIN(size, off + STRETCH_LEN), buf, d);
	}
	return r;
}

/* Those that take more away come first. */
static int order_bad(const void *a, const void *b)
{
	const struct scan_bad *x = a, *y = b;

	if (x->data_off != y->data_off)
		return x->data_off < y->data_off ? -1 : 1;
	return y->level - x->level;
}

/*
 * Several stretches may have met the same hash block, and one of them something below it before it
 * went bad. What takes away nothing of its own is dropped, so that ranges neither repeat nor nest.
 */
static void sort_and_drop_repeats(struct scan *s)
{
	uint64_t covered = 0; /* by what is kept */
	size_t kept = 0;

	if (s->bad_cnt > 0)
		qsort(s->bad, s->bad_cnt, sizeof(*s->bad), order_bad);
	for (size_t i = 0; i < s->bad_cnt; i++) {
		uint64_t end = s->bad[i].data_off + s->bad[i].data_len;

		if (end <= covered)
			continue;
		covered = end;
		s->bad[kept++] = s->bad[i];
	}
	s->bad_cnt = kept;
}

int scan_image(const struct image *img, unsigned thread_cnt, void (*on_bytes)(uint64_t bytes),
               struct scan *out, struct diag *d)
{
	struct job j = { .v = image_vblk(img),
		         .on_bytes = on_bytes,
		         .lock = PTHREAD_MUTEX_INITIALIZER };
	int r = workers_run(thread_cnt, scan_until_done, &j, d);

	if (r < 0) {
		scan_release(&j.found);
		return r;
	}
	sort_and_drop_repeats(&j.found);
	*out = j.found;
	return 0;
}

void scan_release(struct scan *s)
{
	free(s->bad);
	*s = (struct scan){ .bad = NULL };
}
