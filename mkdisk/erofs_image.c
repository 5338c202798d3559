/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which metadata blocks wait for which tails, and the hand-over between threads: whoever brings a
 * block's last tail draws the block and hands it out. What the bytes are is erofs_meta.c's.
 */
#include "erofs_image.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "erofs_meta.h"

#define BLOCK_LEN EROFS_PLAN_BLOCK_LEN

/* A mixed block. */
struct slot {
	uint8_t *bytes; /* while some of its tails are here */
	uint32_t wait;  /* for so many tails */
};

struct erofs_image {
	const struct erofs_plan *plan;
	struct erofs_meta *meta;
	erofs_image_sink sink;
	void *ctx;
	pthread_mutex_t lock; /* guards everything below */
	struct slot *slot;    /* by number of the mixed block */
	uint64_t *has_tail;   /* a bit by tree_node.index */
	uint64_t left;        /* blocks not yet handed out */
	size_t open_now, open_peak;
	bool flushed;
};

static int make_slots(struct erofs_image *img)
{
	uint32_t cnt = erofs_meta_mixed_cnt(img->meta);
	size_t words = div_up(erofs_plan_tree(img->plan)->node_cnt, 64);

	img->slot = calloc(cnt, sizeof(*img->slot));
	img->has_tail = calloc(words, sizeof(*img->has_tail));
	if (!img->slot || !img->has_tail)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt; i++)
		img->slot[i].wait = erofs_meta_tail_cnt(img->meta, i);
	img->left = cnt + erofs_meta_pure_cnt(img->meta);
	return 0;
}

int erofs_image_new(const struct erofs_plan *plan, erofs_image_sink sink, void *ctx,
                    struct erofs_image **out, struct diag *d)
{
	scoped(erofs_image) struct erofs_image *img = calloc(1, sizeof(*img));

	if (!img)
		return diag_set(d, -ENOMEM, "out of memory for metadata blocks");
	pthread_mutex_init(&img->lock, NULL);
	img->plan = plan;
	img->sink = sink;
	img->ctx = ctx;
	int r = erofs_meta_new(plan, &img->meta, d);
	if (r < 0)
		return r;
	r = make_slots(img);
	if (r < 0)
		return diag_set(d, r, "out of memory for %" PRIu32 " metadata blocks",
		                erofs_meta_mixed_cnt(img->meta));
	*out = take_ptr(img);
	return 0;
}

void erofs_image_free(struct erofs_image *img)
{
	if (!img)
		return;
	for (uint32_t i = 0; img->slot && i < erofs_meta_mixed_cnt(img->meta); i++)
		free(img->slot[i].bytes);
	free(img->slot);
	free(img->has_tail);
	erofs_meta_free(img->meta);
	pthread_mutex_destroy(&img->lock);
	free(img);
}

/* Outside the lock: the sink may take its time. */
static int hand_out(struct erofs_image *img, void *carrier, uint64_t off,
                    const uint8_t block[BLOCK_LEN], struct diag *d)
{
	int r = img->sink(img->ctx, carrier, off, block, d);

	if (r < 0)
		return r;
	pthread_mutex_lock(&img->lock);
	img->left--;
	pthread_mutex_unlock(&img->lock);
	return 0;
}

static int draw_and_hand_out(struct erofs_image *img, void *carrier, uint32_t i,
                             uint8_t block[BLOCK_LEN], struct diag *d)
{
	int r = erofs_meta_draw(img->meta, i, block, d);

	return r < 0 ? r : hand_out(img, carrier, erofs_meta_mixed_off(img->meta, i), block, d);
}

static bool has_tail(const struct erofs_image *img, uint32_t index)
{
	return img->has_tail[index / 64] >> index % 64 & 1;
}

/* With the lock held. Gives the block away in *complete when this was its last tail. */
static int keep_tail(struct erofs_image *img, const struct tree_node *n, uint32_t i,
                     const void *tail, uint8_t **complete)
{
	const struct erofs_place *place = erofs_plan_place(img->plan, n);
	uint64_t off = erofs_place_tail_off(place);
	struct slot *s = &img->slot[i];

	if (has_tail(img, n->index))
		return -EINVAL;
	if (!s->bytes) {
		s->bytes = calloc(1, BLOCK_LEN);
		if (!s->bytes)
			return -ENOMEM;
		img->open_now++;
		img->open_peak = MAX(img->open_peak, img->open_now);
	}
	memcpy(s->bytes + off % BLOCK_LEN, tail, place->tail_len);
	img->has_tail[n->index / 64] |= UINT64_C(1) << n->index % 64;
	if (--s->wait > 0)
		return 0;
	*complete = take_ptr(s->bytes);
	img->open_now--;
	return 0;
}

int erofs_image_put_tail(struct erofs_image *img, const struct tree_node *n, const void *tail,
                         size_t len, void *carrier, struct diag *d)
{
	const struct erofs_place *place = erofs_plan_place(img->plan, n);
	uint64_t off = erofs_place_tail_off(place);
	scoped_free uint8_t *complete = NULL;
	char where[TREE_QUOTE_LEN];
	uint32_t i;

	if (!S_ISREG(n->mode) || place->tail_len == 0 || len != place->tail_len ||
	    !erofs_meta_find_mixed(img->meta, off, &i))
		return diag_set(d, -EINVAL, "%s: a tail of %zu bytes where %u belong",
		                tree_quote_path(n, where, sizeof(where)), len, place->tail_len);
	pthread_mutex_lock(&img->lock);
	int r = keep_tail(img, n, i, tail, &complete);
	pthread_mutex_unlock(&img->lock);
	if (r < 0)
		return diag_set(d, r,
		                r == -EINVAL ? "%s: its tail came twice"
		                             : "%s: out of memory for a metadata block",
		                tree_quote_path(n, where, sizeof(where)));
	return complete ? draw_and_hand_out(img, carrier, i, complete, d) : 0;
}

struct flush {
	struct erofs_image *img;
	void *carrier;
};

static int put_pure(void *ctx, uint64_t off, const uint8_t block[BLOCK_LEN], struct diag *d)
{
	const struct flush *f = ctx;

	return hand_out(f->img, f->carrier, off, block, d);
}

int erofs_image_flush(struct erofs_image *img, void *carrier, struct diag *d)
{
	struct flush pure = { img, carrier };

	pthread_mutex_lock(&img->lock);
	bool flushed = img->flushed;
	img->flushed = true;
	pthread_mutex_unlock(&img->lock);
	if (flushed)
		return diag_set(d, -EINVAL, "metadata without tails was handed out before");
	/* No other thread touches the blocks that never waited. */
	for (uint32_t i = 0; i < erofs_meta_mixed_cnt(img->meta); i++) {
		uint8_t block[BLOCK_LEN] = { 0 };

		if (erofs_meta_tail_cnt(img->meta, i) > 0)
			continue;
		int r = draw_and_hand_out(img, carrier, i, block, d);
		if (r < 0)
			return r;
	}
	return erofs_meta_draw_pure(img->meta, put_pure, &pure, d);
}

int erofs_image_finish(struct erofs_image *img, struct diag *d)
{
	const struct tree *t = erofs_plan_tree(img->plan);
	char where[TREE_QUOTE_LEN];

	if (img->left == 0)
		return 0;
	for (uint32_t i = 0; i < t->node_cnt; i++) {
		const struct tree_node *n = t->node[i];

		if (S_ISREG(n->mode) && erofs_plan_place(img->plan, n)->tail_len > 0 &&
		    !has_tail(img, i))
			return diag_set(d, -EINVAL, "the tail of %s is missing",
			                tree_quote_path(n, where, sizeof(where)));
	}
	return diag_set(d, -EINVAL, "%" PRIu64 " metadata blocks were not handed out", img->left);
}

bool erofs_image_is_meta(const struct erofs_image *img, uint64_t off)
{
	uint32_t i;

	return erofs_meta_find_mixed(img->meta, off, &i) || erofs_meta_is_pure(img->meta, off);
}

void erofs_image_usage(struct erofs_image *img, size_t *now, size_t *peak)
{
	pthread_mutex_lock(&img->lock);
	*now = img->open_now;
	*peak = img->open_peak;
	pthread_mutex_unlock(&img->lock);
}
