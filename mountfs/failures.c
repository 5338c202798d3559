/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of what could not be served. A broken block under a busy file fails thousands of reads;
 * one line with everything a person needs is worth more than thousands. Which failures have been
 * told is remembered in a table of fixed size: an attacker who breaks every block gets counted.
 */
#include "failures.h"

#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define MAX_NOTED    4    /* per request: the first ones say it all */
#define MAX_DISTINCT 1024 /* told one by one */
/* Nothing remembers names while all is well, so a name is searched. About a second's worth: */
#define MAX_SEARCHED 100000
#define NAME_LEN     4096
#define TEXT_LEN     (NAME_LEN + 1024)
#define NUMBER_LEN   24

/* What makes two failures the same one. */
struct key {
	int what; /* enum verity_failure_kind, or a negative errno */
	int level;
	uint64_t number; /* of the block, or the inode */
};

struct failures {
	pthread_mutex_t lock; /* guards all below */
	uint64_t all, distinct;
	bool used[MAX_DISTINCT];
	struct key told[MAX_DISTINCT]; /* open addressing */
};

/* The only state of this file outside a struct: what the current request of each thread met. */
static _Thread_local struct {
	unsigned cnt;
	struct verity_failure what[MAX_NOTED];
} noted;

int failures_new(struct failures **out)
{
	struct failures *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return 0;
}

void failures_free(struct failures *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void failures_note(void *ctx, const struct verity_failure *what)
{
	(void)ctx;
	if (noted.cnt < MAX_NOTED)
		noted.what[noted.cnt++] = *what;
}

void failures_begin(void)
{
	noted.cnt = 0;
}

bool failures_noted(void)
{
	return noted.cnt > 0;
}

void failures_count(struct failures *f, uint64_t *all, uint64_t *distinct)
{
	pthread_mutex_lock(&f->lock);
	*all = f->all;
	*distinct = f->distinct;
	pthread_mutex_unlock(&f->lock);
}

enum novelty { KNOWN, NEW, LAST_NEW };

static size_t key_slot(const struct key *k)
{
	uint64_t h = (k->number * 31 + (uint64_t)k->level) * 31 + (uint64_t)k->what;

	return (size_t)((h * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % MAX_DISTINCT;
}

static enum novelty count_one(struct failures *f, const struct key *k)
{
	enum novelty answer = KNOWN;
	size_t i = key_slot(k);

	pthread_mutex_lock(&f->lock);
	f->all++;
	if (f->distinct < MAX_DISTINCT) {
		while (f->used[i] && (f->told[i].what != k->what || f->told[i].level != k->level ||
		                      f->told[i].number != k->number))
			i = (i + 1) % MAX_DISTINCT;
		if (!f->used[i]) {
			f->used[i] = true;
			f->told[i] = *k;
			answer = ++f->distinct == MAX_DISTINCT ? LAST_NEW : NEW;
		}
	}
	pthread_mutex_unlock(&f->lock);
	return answer;
}

/* ---- sentences ---- */

struct search {
	uint64_t nid;
	unsigned searched;
	char *out; /* NAME_LEN */
	bool found;
};

static int visit(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct search *s = ctx;

	(void)d;
	if (++s->searched > MAX_SEARCHED)
		return -ENOENT;
	if (e->inode->nid != s->nid)
		return 0;
	text_quote(e->path, e->path_len, s->out, NAME_LEN);
	s->found = true;
	return -ECANCELED;
}

/* What cannot be read hides what is in it, not its neighbours. */
static int pass_over(void *ctx, const struct erofs_walk_entry *e, int err, struct diag *d)
{
	struct search *s = ctx;

	(void)e;
	(void)err;
	(void)d;
	return ++s->searched > MAX_SEARCHED ? -ENOENT : 0;
}

/* "dir/file" in quotes, one of its names if it has several, or the number of its inode. */
static void name_file(const struct failed_request *q, char out[NAME_LEN])
{
	static const struct erofs_visitor visitor = { .visit = visit, .broken = pass_over };
	struct search s = { .nid = q->nid, .out = out };
	struct erofs_inode root;
	int r = erofs_inode_get(q->fs, erofs_get_info(q->fs)->root_nid, &root, NULL);

	if (r == 0)
		r = erofs_walk(q->fs, &root, &visitor, &s, NULL);
	if (r == 0 || !s.found)
		snprintf(out, NAME_LEN, "inode %" PRIu64, q->nid);
	else if (strcmp(out, "\"\"") == 0)
		snprintf(out, NAME_LEN, "the root directory");
}

/* The first byte of the request that needs one of the missing bytes [data_off, data_off + len). */
static bool find_file_off(const struct failed_request *q, uint64_t data_off, uint64_t data_len,
                          uint64_t *out)
{
	uint64_t end = q->off + MIN(q->len, UINT64_MAX - q->off);

	if (!q->inode)
		return false;
	for (uint64_t at = q->off; at < MIN(end, q->inode->size);) {
		struct erofs_extent e;

		if (erofs_map(q->fs, q->inode, at, &e, NULL) < 0 || e.len == 0)
			return false;
		if (!e.hole && e.at < data_off + data_len && data_off < e.at + e.len) {
			*out = at + (data_off > e.at ? data_off - e.at : 0);
			return true;
		}
		if (!add_u64(at, e.len, &at))
			return false;
	}
	return false;
}

struct message {
	char file[NAME_LEN], text[TEXT_LEN];
	char file_off[NUMBER_LEN], blk[NUMBER_LEN], level[NUMBER_LEN], disk_off[NUMBER_LEN];
	char expected[2 * HASH_MAX_LEN + 1], found[2 * HASH_MAX_LEN + 1];
};

static void fill_message(struct message *m, const struct failed_request *q,
                         const struct verity_failure *v)
{
	bool is_proof = v->kind == VERITY_FAILURE_PROOF;
	char where[96], why[2 * sizeof(m->expected) + 128];
	uint64_t file_off;

	name_file(q, m->file);
	m->file_off[0] = '\0';
	if (find_file_off(q, v->data_off, v->data_len, &file_off))
		snprintf(m->file_off, sizeof(m->file_off), "%" PRIu64, file_off);
	snprintf(m->blk, sizeof(m->blk), "%" PRIu64, v->blk);
	snprintf(m->level, sizeof(m->level), "%d", v->level);
	snprintf(m->disk_off, sizeof(m->disk_off), "%" PRIu64, v->disk_off);
	hex_encode(v->expected, is_proof ? v->digest_len : 0, m->expected);
	hex_encode(v->found, is_proof ? v->digest_len : 0, m->found);

	if (v->level < 0)
		snprintf(where, sizeof(where), "data block %s", m->blk);
	else
		snprintf(where, sizeof(where), "hash block %s of level %s", m->blk, m->level);
	if (is_proof)
		snprintf(why, sizeof(why), "does not match the root hash, expected %s, found %s",
		         m->expected, m->found);
	else
		snprintf(why, sizeof(why), "cannot be read: %s", strerror(-v->err));
	snprintf(m->text, sizeof(m->text), "%s%s%s: %s (disk offset %s) %s", m->file,
	         m->file_off[0] ? " at offset " : "", m->file_off, where, m->disk_off, why);
}

static void report_block(const struct failed_request *q, const struct verity_failure *v)
{
	scoped_free struct message *m = malloc(sizeof(*m));
	bool is_proof = v->kind == VERITY_FAILURE_PROOF;

	if (!m) {
		report_error("inode %" PRIu64 ": block %" PRIu64 " failed, and there is no memory "
		             "to say more",
		             q->nid, v->blk);
		return;
	}
	fill_message(m, q, v);
	const char *fields[] = {
		"event",       is_proof ? "proof-failure" : "media-failure",
		"file",        m->file,
		"file_offset", m->file_off,
		"level",       m->level,
		"block",       m->blk,
		"disk_offset", m->disk_off,
		"expected",    m->expected,
		"found",       m->found,
		NULL,
	};
	report_event(REPORT_ERROR, m->text, fields);
}

static void report_sentence(const struct failed_request *q)
{
	scoped_free char *name = malloc(NAME_LEN);

	if (name)
		name_file(q, name);
	const char *text = q->text[0] ? q->text : strerror(-q->err);

	report_error("%s: %s", name ? name : "a file", text);
}

static void tell(struct failures *f, const struct key *k, const struct failed_request *q,
                 const struct verity_failure *v)
{
	enum novelty n = count_one(f, k);

	if (n == KNOWN)
		return;
	if (v)
		report_block(q, v);
	else
		report_sentence(q);
	if (n == LAST_NEW)
		report_warning("%d distinct failures were told; further ones are only counted",
		               MAX_DISTINCT);
}

bool failures_report(struct failures *f, const struct failed_request *q)
{
	/* naming the file reads the disk and may note more: tell what was noted before */
	struct verity_failure what[MAX_NOTED];
	unsigned cnt = noted.cnt;
	bool blame = q->err == -EBADMSG || q->err == -EUCLEAN;

	memcpy(what, noted.what, sizeof(what[0]) * cnt);
	for (unsigned i = 0; i < cnt; i++) {
		struct key k = { .what = (int)what[i].kind,
			         .level = what[i].level,
			         .number = what[i].blk };

		blame |= what[i].kind == VERITY_FAILURE_PROOF;
		tell(f, &k, q, &what[i]);
	}
	if (cnt == 0)
		tell(f, &(struct key){ .what = q->err, .number = q->nid }, q, NULL);
	failures_begin();
	return blame;
}
