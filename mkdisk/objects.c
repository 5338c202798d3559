/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git LFS objects on their way to the disk. Decides their order, what of an earlier run is worth
 * reading back, and when progress is noted. Where they come from and whether they are the right
 * ones is decided by who calls the sink.
 */
#include "objects.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#define RECALL_LEN MIB
#define COPY_LEN   MIB

/* One of the files that have an object. */
struct user {
	const struct tree_node *node;
	uint64_t at;              /* its place in the image */
	struct stream_file *file; /* while the object is on its way */
};

struct object {
	struct objects *all;
	uint32_t index;    /* in all->object, and in the journal */
	struct user *user; /* in all->user, by place */
	uint32_t user_cnt;
	uint64_t size;
	uint64_t at;    /* in the image: its first place */
	uint64_t noted; /* in the journal, and not found to be wrong */
	bool is_on_disk;
};

struct objects {
	const struct erofs_plan *erofs;
	struct object *object; /* by place */
	uint32_t object_cnt;
	struct user *user; /* by oid and place */
	uint32_t user_cnt;
	uint64_t *size; /* by object */
	struct lfs_object *missing;
	/* objects_start() */
	struct stream *stream;
	struct output *out;
	const struct disk_plan *disk;
	struct journal *journal; /* NULL: none */
	const atomic_bool *stop; /* NULL: never */
	objects_watcher watcher; /* NULL: nobody */
	void *watcher_ctx;
};

/* ---- which there are ---- */

static const uint8_t *oid_of(const struct object *obj)
{
	return obj->user[0].node->oid;
}

static bool is_object(const struct tree_node *n)
{
	return S_ISREG(n->mode) && !n->link && n->content == TREE_CONTENT_LFS && n->size > 0;
}

static uint64_t place_of(const struct erofs_plan *plan, const struct tree_node *n)
{
	const struct erofs_place *p = erofs_plan_place(plan, n);

	return p->data_len > 0 ? p->data_off : p->inode_off;
}

static int compare_users(const void *a, const void *b)
{
	const struct user *ua = a, *ub = b;
	int by_oid = memcmp(ua->node->oid, ub->node->oid, sizeof(ua->node->oid));

	return by_oid ? by_oid : (ua->at > ub->at) - (ua->at < ub->at);
}

static int compare_objects(const void *a, const void *b)
{
	const struct object *oa = a, *ob = b;

	return (oa->at > ob->at) - (oa->at < ob->at);
}

static int wrong_pointer(const struct tree_node *n, const char *what, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN], oid[65];

	hex_encode(n->oid, sizeof(n->oid), oid);
	return diag_set(d, -EBADMSG, "%s: its Git LFS pointer says %" PRIu64 " bytes for %s, %s",
	                tree_quote_path(n, quoted, sizeof(quoted)), n->size, oid, what);
}

static int check_empty(const struct tree_node *n, struct diag *d)
{
	uint8_t digest[HASH_SHA256_LEN];

	if (!S_ISREG(n->mode) || n->link || n->content != TREE_CONTENT_LFS || n->size > 0)
		return 0;
	if (hash_sha256("", 0, digest) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	if (memcmp(digest, n->oid, sizeof(digest)) == 0)
		return 0;
	return wrong_pointer(n, "which is not the digest of nothing", d);
}

static int find_users(struct objects *o, const struct tree *tree, struct diag *d)
{
	o->user = calloc(tree->node_cnt + 1, sizeof(*o->user));
	if (!o->user)
		return diag_set(d, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < tree->node_cnt; i++) {
		const struct tree_node *n = tree->node[i];
		int r = check_empty(n, d);

		if (r < 0)
			return r;
		if (is_object(n))
			o->user[o->user_cnt++] =
			        (struct user){ .node = n, .at = place_of(o->erofs, n) };
	}
	if (o->user_cnt > 0)
		qsort(o->user, o->user_cnt, sizeof(*o->user), compare_users);
	return 0;
}

static int group_users(struct objects *o, struct diag *d)
{
	struct object *last = NULL;

	for (uint32_t i = 0; i < o->user_cnt; i++) {
		struct user *u = &o->user[i];

		if (!last || memcmp(oid_of(last), u->node->oid, sizeof(u->node->oid)) != 0) {
			last = &o->object[o->object_cnt++];
			*last = (struct object){
				.all = o, .user = u, .size = u->node->size, .at = u->at
			};
		}
		if (u->node->size != last->size)
			return wrong_pointer(u->node, "another file's says otherwise", d);
		last->user_cnt++;
	}
	return 0;
}

static int make_objects(struct objects *o, struct diag *d)
{
	int r;

	o->object = calloc(o->user_cnt + 1, sizeof(*o->object));
	o->size = calloc(o->user_cnt + 1, sizeof(*o->size));
	o->missing = calloc(o->user_cnt + 1, sizeof(*o->missing));
	if (!o->object || !o->size || !o->missing)
		return diag_set(d, -ENOMEM, "out of memory");
	r = group_users(o, d);
	if (r < 0)
		return r;
	qsort(o->object, o->object_cnt, sizeof(*o->object), compare_objects);
	for (uint32_t i = 0; i < o->object_cnt; i++) {
		o->object[i].index = i;
		o->size[i] = o->object[i].size;
	}
	return 0;
}

int objects_new(const struct tree *tree, const struct erofs_plan *plan, struct objects **out,
                struct diag *d)
{
	scoped(objects) struct objects *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return diag_set(d, -ENOMEM, "out of memory");
	o->erofs = plan;
	r = find_users(o, tree, d);
	if (r == 0)
		r = make_objects(o, d);
	if (r < 0)
		return r;
	*out = take_ptr(o);
	return 0;
}

static void abandon_files(struct object *obj)
{
	for (uint32_t i = 0; i < obj->user_cnt; i++)
		stream_file_abandon(take_ptr(obj->user[i].file));
}

void objects_free(struct objects *o)
{
	if (!o)
		return;
	free(o->object);
	free(o->user);
	free(o->size);
	free(o->missing);
	free(o);
}

const uint64_t *objects_sizes(const struct objects *o, uint32_t *cnt)
{
	*cnt = o->object_cnt;
	return o->size;
}

void objects_start(struct objects *o, struct stream *stream, struct output *out,
                   const struct disk_plan *disk, const atomic_bool *stop)
{
	o->stop = stop;
	o->stream = stream;
	o->out = out;
	o->disk = disk;
	o->journal = output_journal(out);
	for (uint32_t i = 0; o->journal && i < o->object_cnt; i++)
		o->object[i].noted = journal_done(o->journal, i);
}

void objects_watch(struct objects *o, objects_watcher watcher, void *ctx)
{
	o->watcher = watcher;
	o->watcher_ctx = ctx;
}

static void tell(const struct object *obj, enum objects_event event, uint64_t done)
{
	if (obj->all->watcher)
		obj->all->watcher(obj->all->watcher_ctx, obj->user[0].node, event, done);
}

/* ---- what an earlier run left ---- */

/* How many bytes from the object's first one on may be on the disk: whole blocks, or all. */
static uint64_t left_of(const struct object *obj)
{
	const struct objects *o = obj->all;
	uint64_t done = 0;

	if (output_is_continued(o->out))
		done = obj->noted;
	if (done == obj->size)
		return done;
	return MIN(round_down(done, EROFS_PLAN_BLOCK_LEN),
	           round_down(obj->size, EROFS_PLAN_BLOCK_LEN));
}

uint64_t objects_left_len(const struct objects *o)
{
	uint64_t sum = 0; /* at most the image's length, which the plan has bounded */

	for (uint32_t i = 0; i < o->object_cnt; i++) {
		if (left_of(&o->object[i]) == o->object[i].size)
			sum += o->object[i].size * o->object[i].user_cnt;
	}
	return sum;
}

uint64_t objects_on_disk_len(const struct objects *o)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < o->object_cnt; i++) {
		if (o->object[i].is_on_disk)
			sum += o->object[i].size * o->object[i].user_cnt;
	}
	return sum;
}

/* len bytes of the object's first file, from where they lie; none of it crosses into the tail. */
static int read_left(const struct object *obj, uint64_t off, void *buf, size_t len, struct diag *d)
{
	const struct erofs_place *p = erofs_plan_place(obj->all->erofs, obj->user[0].node);
	uint64_t at = off < p->data_len ? p->data_off + off
	                                : erofs_place_tail_off(p) + (off - p->data_len);

	return output_read(obj->all->out, obj->all->disk->image_off + at, buf, len, d);
}

/* The first file keeps what lies there; the others get it written, as nothing proves theirs. */
static int take_left(struct object *obj, const void *buf, size_t len, bool is_tail, struct diag *d)
{
	for (uint32_t i = 0; i < obj->user_cnt; i++) {
		int r = i == 0 && !is_tail ? stream_file_keep(obj->user[i].file, buf, len, d)
		                           : stream_file_write(obj->user[i].file, buf, len, d);

		if (r < 0)
			return r;
	}
	return 0;
}

static int recall(struct object *obj, uint64_t left, struct hash_stream *digest, struct diag *d)
{
	uint64_t in_blocks =
	        MIN(left, erofs_plan_place(obj->all->erofs, obj->user[0].node)->data_len);
	scoped_free uint8_t *buf = malloc(RECALL_LEN);
	size_t len;

	if (!buf)
		return diag_set(d, -ENOMEM, "out of memory");
	for (uint64_t off = 0; off < left; off += len) {
		uint64_t end = off < in_blocks ? in_blocks : left;
		int r;

		if (obj->all->stop && atomic_load(obj->all->stop))
			return diag_set(d, -EINTR, "interrupted");
		len = (size_t)MIN(RECALL_LEN, end - off);
		r = read_left(obj, off, buf, len, d);
		if (r == 0 && hash_stream_add(digest, buf, len) < 0)
			r = diag_set(d, -EIO, "SHA-256 failed");
		if (r == 0)
			r = take_left(obj, buf, len, off >= in_blocks, d);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the sink ---- */

/* How much of it can be found on the disk by the next run: not what is held back until the end. */
static uint64_t lasting_len(const struct object *obj)
{
	const struct objects *o = obj->all;
	const struct erofs_place *p = erofs_plan_place(o->erofs, obj->user[0].node);

	if (p->data_len > 0 && output_is_held_back(o->out, o->disk->image_off + p->data_off))
		return 0;
	if (p->tail_len > 0 &&
	    output_is_held_back(o->out, o->disk->image_off + erofs_place_tail_off(p)))
		return p->data_len;
	return obj->size;
}

static void note(struct object *obj, uint64_t done)
{
	done = MIN(done, lasting_len(obj));
	if (obj->all->journal && done != obj->noted)
		journal_note(obj->all->journal, obj->index, done);
	obj->noted = done;
}

static int open_files(struct object *obj, struct diag *d)
{
	for (uint32_t i = 0; i < obj->user_cnt; i++) {
		int r = stream_file_new(obj->all->stream, obj->user[i].node, 0, obj->size,
		                        &obj->user[i].file, d);

		if (r < 0)
			return r;
	}
	return 0;
}

static int sink_begin(void *ctx, bool anew, struct hash_stream *digest, uint64_t *from,
                      struct diag *d)
{
	struct object *obj = ctx;
	uint64_t left = anew ? 0 : left_of(obj);
	int r = open_files(obj, d);

	tell(obj, OBJECTS_BEGUN, left);
	if (r == 0 && left > 0)
		r = recall(obj, left, digest, d);
	if (r < 0)
		return r;
	note(obj, left);
	*from = left;
	return 0;
}

static int sink_data(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct object *obj = ctx;
	uint64_t written = obj->size;

	for (uint32_t i = 0; i < obj->user_cnt; i++) {
		int r = stream_file_write(obj->user[i].file, buf, len, d);

		if (r < 0)
			return r;
		written = MIN(written, stream_file_written(obj->user[i].file));
	}
	note(obj, written);
	return 0;
}

static int sink_verified(void *ctx, struct diag *d)
{
	struct object *obj = ctx;

	for (uint32_t i = 0; i < obj->user_cnt; i++) {
		int r = stream_file_finish(take_ptr(obj->user[i].file), d);

		if (r < 0)
			return r;
	}
	obj->is_on_disk = true;
	note(obj, obj->size);
	tell(obj, OBJECTS_COMPLETE, obj->size);
	return 0;
}

static void sink_abandon(void *ctx)
{
	struct object *obj = ctx;

	abandon_files(obj);
	tell(obj, OBJECTS_GIVEN_UP, obj->noted);
}

static const char *sink_name(void *ctx, char *out, size_t out_len)
{
	return tree_quote_path(objects_node(ctx), out, out_len);
}

const struct lfs_sink *objects_sink(void)
{
	static const struct lfs_sink sink = {
		.begin = sink_begin,
		.data = sink_data,
		.verified = sink_verified,
		.abandon = sink_abandon,
		.name = sink_name,
	};

	return &sink;
}

const struct lfs_object *objects_missing(struct objects *o, size_t *cnt)
{
	*cnt = 0;
	for (uint32_t i = 0; i < o->object_cnt; i++) {
		struct object *obj = &o->object[i];
		struct lfs_object *m = &o->missing[*cnt];

		if (obj->is_on_disk)
			continue;
		memcpy(m->oid, oid_of(obj), sizeof(m->oid));
		m->size = obj->size;
		m->ctx = obj;
		(*cnt)++;
	}
	return o->missing;
}

const struct tree_node *objects_node(const void *ctx)
{
	return ((const struct object *)ctx)->user[0].node;
}

/* ---- without a network, by several threads ---- */

struct work {
	struct objects *o;
	struct source *src; /* NULL: only what lies on the disk already */
	atomic_uint next;
	atomic_bool failed;
	pthread_mutex_t lock;
	int err;        /* lock: the first error */
	struct diag *d; /* lock: its sentence */
};

static int copy_bytes(const struct work *w, struct object *obj, struct source_file *from,
                      uint64_t off, struct hash_stream *digest, struct diag *d)
{
	scoped_free uint8_t *buf = malloc(COPY_LEN);
	size_t len;

	if (!buf)
		return diag_set(d, -ENOMEM, "out of memory");
	for (; off < obj->size; off += len) {
		int r;

		if (w->o->stop && atomic_load(w->o->stop))
			return diag_set(d, -EINTR, "interrupted");
		len = (size_t)MIN(COPY_LEN - off % COPY_LEN, obj->size - off);
		r = source_file_read(from, off, buf, len, d);
		if (r == 0 && hash_stream_add(digest, buf, len) < 0)
			r = diag_set(d, -EIO, "SHA-256 failed");
		if (r == 0)
			r = sink_data(obj, buf, len, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_rest(const struct work *w, struct object *obj, uint64_t off,
                     struct hash_stream *digest, struct diag *d)
{
	struct source_file *from = NULL;
	int r = source_file_open(w->src, obj->user[0].node, &from, d), closed;

	if (r < 0)
		return r;
	r = copy_bytes(w, obj, from, off, digest, d);
	closed = source_file_close(from, r < 0 ? NULL : d);
	return r < 0 ? r : closed;
}

/* 0 with *right: it counts. What an earlier run left may have been at fault for a wrong one. */
static int try_object(const struct work *w, struct object *obj, bool anew,
                      struct hash_stream *digest, bool *right, uint64_t *from, struct diag *d)
{
	uint8_t found[HASH_SHA256_LEN];
	int r = sink_begin(obj, anew, digest, from, d);

	if (r == 0 && *from < obj->size)
		r = copy_rest(w, obj, *from, digest, d);
	if (r == 0 && hash_stream_finish(digest, found) < 0)
		r = diag_set(d, -EIO, "SHA-256 failed");
	if (r < 0)
		return r;
	*right = memcmp(found, oid_of(obj), sizeof(found)) == 0;
	return *right ? sink_verified(obj, d) : 0;
}

static int carry_object(const struct work *w, struct object *obj, struct hash_stream *digest,
                        struct diag *d)
{
	bool right = false;
	uint64_t from = 0;
	int r = try_object(w, obj, false, digest, &right, &from, d);

	if (r == 0 && !right) {
		note(obj, 0);
		sink_abandon(obj);
	}
	if (r == 0 && !right && from > 0 && w->src)
		r = try_object(w, obj, true, digest, &right, &from, d);
	abandon_files(obj);
	if (r == 0 && !right && w->src)
		r = wrong_pointer(obj->user[0].node, "but the content has another digest", d);
	return r;
}

/* With a source: what it has and the disk has not. Without: what an earlier run left whole. */
static bool is_wanted(const struct work *w, const struct object *obj)
{
	if (!w->src)
		return left_of(obj) == obj->size;
	return !obj->is_on_disk && source_has_object(w->src, obj->user[0].node);
}

static int carry_some(struct work *w, struct diag *d)
{
	scoped(hash_stream) struct hash_stream *digest = NULL;

	if (hash_stream_new(HASH_SHA256, &digest) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	while (!atomic_load(&w->failed)) {
		uint32_t i = atomic_fetch_add(&w->next, 1);
		int r;

		if (i >= w->o->object_cnt)
			return 0;
		if (!is_wanted(w, &w->o->object[i]))
			continue;
		r = carry_object(w, &w->o->object[i], digest, d);
		if (r < 0)
			return r;
	}
	return 0;
}

static void *thread_main(void *ctx)
{
	struct work *w = ctx;
	struct diag d = DIAG_INIT;
	int r = carry_some(w, &d);

	if (r == 0)
		return NULL;
	pthread_mutex_lock(&w->lock);
	if (w->err == 0) {
		w->err = r;
		if (w->d)
			*w->d = d;
	}
	atomic_store(&w->failed, true);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int run_threads(struct work *w, unsigned jobs)
{
	pthread_t thread[LFS_MAX_TRANSFERS];
	unsigned cnt = 0;

	while (cnt + 1 < MIN(MIN(jobs, LFS_MAX_TRANSFERS), w->o->object_cnt) &&
	       pthread_create(&thread[cnt], NULL, thread_main, w) == 0)
		cnt++;
	thread_main(w);
	while (cnt > 0)
		pthread_join(thread[--cnt], NULL);
	return w->err;
}

int objects_recall(struct objects *o, unsigned jobs, struct diag *d)
{
	struct work w = { .o = o, .lock = PTHREAD_MUTEX_INITIALIZER, .d = d };

	return output_is_continued(o->out) ? run_threads(&w, jobs) : 0;
}

int objects_copy(struct objects *o, struct source *src, unsigned jobs, struct diag *d)
{
	struct work w = { .o = o, .src = src, .lock = PTHREAD_MUTEX_INITIALIZER, .d = d };

	return run_threads(&w, jobs);
}
