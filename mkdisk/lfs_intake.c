/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes, buffers and workers. Decides how much may wait (memory) and whose turn it is; what a
 * digest means for the fetch is lfs.c's to say.
 */
#include "lfs_intake.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#define BUF_CNT     4
#define BUF_ALIGN   4096
#define MAX_BUF_LEN MIB
#define MIN_BUF_LEN (2 * LFS_INTAKE_MAX_PUT)
#define TOTAL_LEN   (64 * MIB) /* of all buffers */

/*
 * The buffers are a ring: full_cnt of them from first on are the workers', the next one is being
 * filled, the rest are empty. Fields without a note belong to whoever the state says: the network's
 * thread, or the worker while is_busy.
 */
struct lane {
	enum lfs_lane_state state; /* lock */
	bool is_busy;              /* lock: a worker is at it */
	bool is_starved;           /* lock: put found no room */
	unsigned first, full_cnt;  /* lock */
	uint8_t *buf[BUF_CNT];
	size_t len[BUF_CNT];
	size_t fill_len; /* the network thread's: bytes in the buffer being filled */
	const struct lfs_object *object;
	struct hash_stream *digest;
	uint64_t from;
	uint64_t pos; /* bytes in digest */
	bool is_anew;
	bool is_begun; /* the sink must be told how it ended */
};

struct lfs_intake {
	struct lfs_intake_options opt;
	size_t buf_len;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a lane may have work, or quit */
	bool quit;           /* lock */
	int err;             /* lock: the first error */
	struct diag why;     /* lock */
	unsigned turn;       /* lock: the lane to be looked at first */
	pthread_t thread[LFS_MAX_TRANSFERS];
	unsigned thread_cnt;
	struct lane lane[LFS_MAX_TRANSFERS];
};

/* ---- one step of a worker at a lane ---- */

static int begin_object(struct lfs_intake *in, struct lane *l, struct diag *d)
{
	hash_stream_free(take_ptr(l->digest));
	if (hash_stream_new(HASH_SHA256, &l->digest) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < BUF_CNT; i++) {
		l->buf[i] = l->buf[i] ? l->buf[i] : aligned_alloc(BUF_ALIGN, in->buf_len);
		if (!l->buf[i])
			return diag_set(d, -ENOMEM, "out of memory");
	}
	l->is_begun = true;
	l->from = 0;
	int r = in->opt.sink->begin(l->object->ctx, l->is_anew, l->digest, &l->from, d);
	if (r == 0 && l->from > l->object->size)
		return diag_set(d, -EINVAL, "%" PRIu64 " bytes at hand of an object of %" PRIu64,
		                l->from, l->object->size);
	l->pos = l->from;
	return r;
}

static int take_buffer(struct lfs_intake *in, struct lane *l, struct diag *d)
{
	size_t len = l->len[l->first];

	if (hash_stream_add(l->digest, l->buf[l->first], len) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	l->pos += len;
	return in->opt.sink->data(l->object->ctx, l->buf[l->first], len, d);
}

/* Right or wrong? */
static int judge_object(struct lfs_intake *in, struct lane *l, bool *is_right, struct diag *d)
{
	uint8_t oid[HASH_SHA256_LEN];

	if (hash_stream_finish(l->digest, oid) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	*is_right = l->pos == l->object->size && memcmp(oid, l->object->oid, sizeof(oid)) == 0;
	if (!*is_right) {
		l->is_begun = false;
		in->opt.sink->abandon(l->object->ctx);
		return 0;
	}
	int r = in->opt.sink->verified(l->object->ctx, d);
	l->is_begun = r < 0;
	return r;
}

/* ---- workers ---- */

static bool has_work(const struct lane *l)
{
	return !l->is_busy &&
	       (l->state == LFS_LANE_BEGINNING || l->full_cnt > 0 || l->state == LFS_LANE_ENDING);
}

static struct lane *find_work(struct lfs_intake *in)
{
	for (unsigned i = 0; i < in->opt.lanes; i++) {
		unsigned at = (in->turn + i) % in->opt.lanes;

		if (has_work(&in->lane[at])) {
			in->turn = at + 1;
			return &in->lane[at];
		}
	}
	return NULL;
}

/* Does what is next at the lane, without the lock; tells whether the network must know. */
static bool do_step(struct lfs_intake *in, struct lane *l)
{
	enum lfs_lane_state state = l->state;
	bool has_buffer = l->full_cnt > 0, is_right = false, wake;
	struct diag d = DIAG_INIT;
	int r;

	l->is_busy = true;
	pthread_mutex_unlock(&in->lock);
	if (state == LFS_LANE_BEGINNING)
		r = begin_object(in, l, &d);
	else if (has_buffer)
		r = take_buffer(in, l, &d);
	else
		r = judge_object(in, l, &is_right, &d);
	pthread_mutex_lock(&in->lock);
	l->is_busy = false;
	if (r < 0) {
		in->quit = true;
		in->why = in->err < 0 ? in->why : d;
		in->err = in->err < 0 ? in->err : r;
		return true;
	}
	wake = !has_buffer || l->is_starved;
	if (state == LFS_LANE_BEGINNING) {
		l->state = LFS_LANE_OPEN;
	} else if (has_buffer) {
		l->first = (l->first + 1) % BUF_CNT;
		l->full_cnt--;
		l->is_starved = false;
	} else {
		l->state = is_right ? LFS_LANE_RIGHT : LFS_LANE_WRONG;
	}
	return wake;
}

static void *worker_main(void *ctx)
{
	struct lfs_intake *in = ctx;

	pthread_mutex_lock(&in->lock);
	while (!in->quit) {
		struct lane *l = find_work(in);

		if (!l) {
			pthread_cond_wait(&in->work, &in->lock);
		} else if (do_step(in, l)) {
			pthread_mutex_unlock(&in->lock);
			in->opt.wake(in->opt.ctx);
			pthread_mutex_lock(&in->lock);
		}
	}
	pthread_cond_broadcast(&in->work);
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

int lfs_intake_new(const struct lfs_intake_options *opt, struct lfs_intake **out, struct diag *d)
{
	struct lfs_intake *in = calloc(1, sizeof(*in));

	if (!in)
		return diag_set(d, -ENOMEM, "out of memory");
	in->opt = *opt;
	in->buf_len = (size_t)round_down(TOTAL_LEN / (opt->lanes * BUF_CNT), BUF_ALIGN);
	in->buf_len = MAX(MIN(in->buf_len, MAX_BUF_LEN), MIN_BUF_LEN);
	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->work, NULL);
	while (in->thread_cnt < opt->workers &&
	       pthread_create(&in->thread[in->thread_cnt], NULL, worker_main, in) == 0)
		in->thread_cnt++;
	if (in->thread_cnt == 0) {
		lfs_intake_free(in);
		return diag_set(d, -EAGAIN, "cannot start a thread");
	}
	*out = in;
	return 0;
}

static void free_lane(struct lfs_intake *in, struct lane *l)
{
	if (l->is_begun)
		in->opt.sink->abandon(l->object->ctx);
	hash_stream_free(l->digest);
	for (unsigned i = 0; i < BUF_CNT; i++)
		free(l->buf[i]);
}

void lfs_intake_free(struct lfs_intake *in)
{
	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	in->quit = true;
	pthread_cond_broadcast(&in->work);
	pthread_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < in->thread_cnt; i++)
		pthread_join(in->thread[i], NULL);
	for (unsigned i = 0; i < in->opt.lanes; i++)
		free_lane(in, &in->lane[i]);
	pthread_cond_destroy(&in->work);
	pthread_mutex_destroy(&in->lock);
	free(in);
}

/* ---- the network's side ---- */

enum lfs_lane_state lfs_intake_state(struct lfs_intake *in, unsigned lane, uint64_t *from)
{
	struct lane *l = &in->lane[lane];

	pthread_mutex_lock(&in->lock);
	enum lfs_lane_state state = l->state;
	*from = state == LFS_LANE_OPEN ? l->from : 0;
	pthread_mutex_unlock(&in->lock);
	return state;
}

static void set_state(struct lfs_intake *in, struct lane *l, enum lfs_lane_state state)
{
	pthread_mutex_lock(&in->lock);
	l->state = state;
	pthread_cond_signal(&in->work);
	pthread_mutex_unlock(&in->lock);
}

void lfs_intake_begin(struct lfs_intake *in, unsigned lane, const struct lfs_object *object,
                      bool anew)
{
	struct lane *l = &in->lane[lane];

	l->object = object;
	l->is_anew = anew;
	l->fill_len = 0;
	set_state(in, l, LFS_LANE_BEGINNING);
}

/* Room in bytes behind what is filled; *at is the buffer being filled. */
static size_t find_room(struct lfs_intake *in, struct lane *l, size_t want, unsigned *at)
{
	size_t room;

	pthread_mutex_lock(&in->lock);
	room = (BUF_CNT - l->full_cnt) * in->buf_len - l->fill_len;
	*at = (l->first + l->full_cnt) % BUF_CNT;
	l->is_starved = l->is_starved || room < want;
	pthread_mutex_unlock(&in->lock);
	return room;
}

bool lfs_intake_has_room(struct lfs_intake *in, unsigned lane)
{
	unsigned at;

	return find_room(in, &in->lane[lane], 0, &at) >= LFS_INTAKE_MAX_PUT;
}

/* The buffer being filled is the workers' now. */
static void hand_over(struct lfs_intake *in, struct lane *l, unsigned at)
{
	l->len[at] = l->fill_len;
	l->fill_len = 0;
	pthread_mutex_lock(&in->lock);
	l->full_cnt++;
	pthread_cond_signal(&in->work);
	pthread_mutex_unlock(&in->lock);
}

bool lfs_intake_put(struct lfs_intake *in, unsigned lane, const void *buf, size_t len)
{
	struct lane *l = &in->lane[lane];
	const uint8_t *p = buf;
	unsigned at = 0;

	if (find_room(in, l, len, &at) < len)
		return false;
	while (len > 0) {
		size_t n = MIN(len, in->buf_len - l->fill_len);

		memcpy(l->buf[at] + l->fill_len, p, n);
		l->fill_len += n;
		p += n;
		len -= n;
		if (l->fill_len < in->buf_len)
			break;
		hand_over(in, l, at);
		at = (at + 1) % BUF_CNT;
	}
	return true;
}

void lfs_intake_end(struct lfs_intake *in, unsigned lane)
{
	struct lane *l = &in->lane[lane];
	unsigned at = 0;

	if (l->fill_len > 0) {
		(void)find_room(in, l, 0, &at);
		hand_over(in, l, at);
	}
	set_state(in, l, LFS_LANE_ENDING);
}

int lfs_intake_error(struct lfs_intake *in, struct diag *d)
{
	pthread_mutex_lock(&in->lock);
	int r = in->err;
	if (r < 0 && d)
		*d = in->why;
	pthread_mutex_unlock(&in->lock);
	return r;
}
