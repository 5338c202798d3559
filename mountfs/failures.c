/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of what could not be served. A broken block under a busy file fails thousands of reads;
 * one line with everything a person needs is worth more than thousands. Which failures have been
 * told is remembered in a table of fixed size: an attacker who breaks every block gets counted.
 */
#include "failures.h"

#include "report.h"
#include "tensors.h"

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
/* Repeats are summed up when there are this many failures, and each time they are ten times more.
 */
#define FIRST_COUNT 10

/* What makes two failures the same one. */
struct key {
	int what; /* enum verity_failure_kind, or a negative errno */
	int level;
	uint64_t number; /* of the block, or the inode */
};

struct failures {
	pthread_mutex_t lock; /* guards all below */
	uint64_t all, distinct;
	uint64_t next_count; /* of all, at which both are told */
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
	f->next_count = FIRST_COUNT;
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

enum novelty { KNOWN, NEW, LAST_NEW };

static size_t key_slot(const struct key *k)
{
	uint64_t h = (k->number * 31 + (uint64_t)k->level) * 31 + (uint64_t)k->what;

	return (size_t)((h * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % MAX_DISTINCT;
}

/* Under the lock. */
static enum novelty remember(struct failures *f, const struct key *k)
{
	size_t i = key_slot(k);

	if (f->distinct == MAX_DISTINCT)
		return KNOWN;
	while (f->used[i] && (f->told[i].what != k->what || f->told[i].level != k->level ||
	                      f->told[i].number != k->number))
		i = (i + 1) % MAX_DISTINCT;
	if (f->used[i])
		return KNOWN;
	f->used[i] = true;
	f->told[i] = *k;
	return ++f->distinct == MAX_DISTINCT ? LAST_NEW : NEW;
}

struct tally {
	uint64_t all, distinct;
};

/* sum: what is to be told now; all 0: nothing. */
static enum novelty count_one(struct failures *f, const struct key *k, struct tally *sum)
{
	enum novelty answer;

	*sum = (struct tally){ .all = 0 };
	pthread_mutex_lock(&f->lock);
	answer = remember(f, k);
	f->all++;
	if (f->all == f->next_count) {
		f->next_count *= 10;
		*sum = (struct tally){ .all = f->all, .distinct = f->distinct };
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

/*
 * The bytes of the file that the request cannot have, because [data_off, data_off + data_len) are
 * missing, up to where they lie elsewhere.
 */
static bool find_in_file(const struct failed_request *q, uint64_t data_off, uint64_t data_len,
                         uint64_t *file_off, uint64_t *len)
{
	uint64_t end = q->off + MIN(q->len, UINT64_MAX - q->off);

	if (!q->inode)
		return false;
	for (uint64_t at = q->off; at < MIN(end, q->inode->size);) {
		struct erofs_extent e;
		uint64_t skipped;

		if (erofs_map(q->fs, q->inode, at, &e, NULL) < 0 || e.len == 0)
			return false;
		if (!e.hole && e.at < data_off + data_len && data_off < e.at + e.len) {
			skipped = data_off > e.at ? data_off - e.at : 0;
			*file_off = at + skipped;
			*len = MIN(e.len - skipped, data_off + data_len - (e.at + skipped));
			return true;
		}
		if (!add_u64(at, e.len, &at))
			return false;
	}
	return false;
}

/* Empty texts are what is not known. */
struct message {
	char file[NAME_LEN], text[TEXT_LEN];
	char file_off[NUMBER_LEN], len[NUMBER_LEN];
	struct tensors_place tensor; /* cnt 0: none */
	char tensor_off[NUMBER_LEN], tensor_len[NUMBER_LEN], tensor_cnt[NUMBER_LEN];
	char blk[NUMBER_LEN], level[NUMBER_LEN], area_off[NUMBER_LEN], disk_off[NUMBER_LEN];
	char expected[2 * HASH_MAX_LEN + 1], found[2 * HASH_MAX_LEN + 1];
};

static void put_number(char out[NUMBER_LEN], uint64_t v)
{
	snprintf(out, NUMBER_LEN, "%" PRIu64, v);
}

/* Where it hurts: file, offset, tensor. */
static void fill_place(struct message *m, const struct failed_request *q,
                       const struct verity_failure *v)
{
	uint64_t off, len;

	name_file(q, m->file);
	if (!find_in_file(q, v->data_off, v->data_len, &off, &len))
		return;
	len = MIN(len, q->inode->size - off);
	put_number(m->file_off, off);
	put_number(m->len, len);
	if (tensors_find_in_inode(q->fs, q->inode, off, len, &m->tensor) < 0)
		return;
	put_number(m->tensor_off, m->tensor.off);
	put_number(m->tensor_len, m->tensor.len);
	put_number(m->tensor_cnt, m->tensor.cnt);
}

/* " at offset 69632 (tensor "wte.weight", bytes 0 to 4095, and 2 more)" */
static void describe_place(const struct message *m, char *out, size_t out_len)
{
	size_t n;

	out[0] = '\0';
	if (m->file_off[0] == '\0')
		return;
	n = (size_t)snprintf(out, out_len, " at offset %s", m->file_off);
	if (m->tensor.cnt == 0)
		return;
	n += (size_t)snprintf(out + n, out_len - n, " (tensor %s, bytes %" PRIu64 " to %" PRIu64,
	                      m->tensor.name, m->tensor.off, m->tensor.off + m->tensor.len - 1);
	if (m->tensor.cnt > 1)
		n += (size_t)snprintf(out + n, out_len - n, ", and %" PRIu64 " more",
		                      m->tensor.cnt - 1);
	snprintf(out + n, out_len - n, ")");
}

static void fill_message(struct message *m, const struct failed_request *q,
                         const struct verity_failure *v)
{
	bool is_proof = v->kind == VERITY_FAILURE_PROOF;
	char place[TENSORS_NAME_LEN + 160], what[96], why[2 * sizeof(m->expected) + 128];

	fill_place(m, q, v);
	describe_place(m, place, sizeof(place));
	put_number(m->blk, v->blk);
	snprintf(m->level, sizeof(m->level), "%d", v->level);
	put_number(m->area_off, v->area_off);
	put_number(m->disk_off, v->disk_off);
	hex_encode(v->expected, is_proof ? v->digest_len : 0, m->expected);
	hex_encode(v->found, is_proof ? v->digest_len : 0, m->found);

	if (v->level < 0)
		snprintf(what, sizeof(what), "data block %s", m->blk);
	else
		snprintf(what, sizeof(what), "hash block %s of level %s", m->blk, m->level);
	if (is_proof)
		snprintf(why, sizeof(why), "does not match the root hash, expected %s, found %s",
		         m->expected, m->found);
	else
		snprintf(why, sizeof(why), "cannot be read: %s", strerror(-v->err));
	snprintf(m->text, sizeof(m->text), "%s%s: %s (disk offset %s, partition offset %s) %s",
	         m->file, place, what, m->disk_off, m->area_off, why);
}

/* Fields as report_event() takes them; those without a value are left out. */
struct fields {
	size_t cnt;
	const char *text[2 * 16 + 1];
};

static void add_field(struct fields *f, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	f->text[f->cnt++] = name;
	f->text[f->cnt++] = value;
}

static void report_block(const struct failed_request *q, const struct verity_failure *v)
{
	scoped_free struct message *m = calloc(1, sizeof(*m));
	struct fields f = { .cnt = 0 };

	if (!m) {
		report_error("inode %" PRIu64 ": block %" PRIu64 " failed, and there is no memory "
		             "to say more",
		             q->nid, v->blk);
		return;
	}
	fill_message(m, q, v);
	add_field(&f, "event", v->kind == VERITY_FAILURE_PROOF ? "proof-failure" : "media-failure");
	add_field(&f, "file", m->file);
	add_field(&f, "file_offset", m->file_off);
	add_field(&f, "length", m->len);
	add_field(&f, "tensor", m->tensor.name);
	add_field(&f, "tensor_offset", m->tensor_off);
	add_field(&f, "tensor_length", m->tensor_len);
	add_field(&f, "tensors", m->tensor_cnt);
	add_field(&f, "tree_level", m->level);
	add_field(&f, "block", m->blk);
	add_field(&f, "partition_offset", m->area_off);
	add_field(&f, "disk_offset", m->disk_off);
	add_field(&f, "expected", m->expected);
	add_field(&f, "found", m->found);
	report_event(REPORT_ERROR, m->text, f.text);
}

static void report_sentence(const struct failed_request *q)
{
	scoped_free char *name = malloc(NAME_LEN);
	scoped_free char *text = malloc(TEXT_LEN);

	if (!name || !text) {
		report_error("a file: %s", strerror(-q->err));
		return;
	}
	name_file(q, name);
	snprintf(text, TEXT_LEN, "%s: %s", name, q->text[0] ? q->text : strerror(-q->err));
	const char *const fields[] = { "event",
		                       q->err == -EUCLEAN ? "format-failure" : "read-failure",
		                       "file", name, NULL };

	report_event(REPORT_ERROR, text, fields);
}

void failures_count(struct failures *f, uint64_t *all, uint64_t *distinct)
{
	pthread_mutex_lock(&f->lock);
	*all = f->all;
	*distinct = f->distinct;
	pthread_mutex_unlock(&f->lock);
}

static void report_sum(const struct tally *sum)
{
	char text[128], all[NUMBER_LEN], distinct[NUMBER_LEN];
	const char *const fields[] = { "event",    "failure-count", "failures", all,
		                       "distinct", distinct,        NULL };

	put_number(all, sum->all);
	put_number(distinct, sum->distinct);
	snprintf(text, sizeof(text), "%s reads failed, for %s distinct reasons", all, distinct);
	if (sum->all > 0)
		report_event(REPORT_WARNING, text, fields);
}

void failures_report_count(struct failures *f)
{
	struct tally sum;

	failures_count(f, &sum.all, &sum.distinct);
	report_sum(&sum);
}

static void tell(struct failures *f, const struct key *k, const struct failed_request *q,
                 const struct verity_failure *v)
{
	struct tally sum;
	enum novelty n = count_one(f, k, &sum);

	if (n != KNOWN && v)
		report_block(q, v);
	else if (n != KNOWN)
		report_sentence(q);
	if (n == LAST_NEW)
		report_warning("%d distinct failures were told; further ones are only counted",
		               MAX_DISTINCT);
	report_sum(&sum);
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
