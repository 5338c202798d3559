/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a disk in the making. Decides its bytes and which of them are believed to be a
 * journal at all; where it lies, when it goes and what a hint is worth is decided by others.
 */
#include "journal.h"
#include "hash.h"

#include <errno.h>
#include <stdatomic.h>

#define MAGIC     "mkdisk journal 1"
#define MAGIC_LEN 16

struct header {
	char magic[MAGIC_LEN];
	uint8_t plan_id[32];
	le64 object_cnt;
	uint8_t digest[HASH_SHA256_LEN]; /* of what is before it */
};
_Static_assert(sizeof(struct header) == JOURNAL_HEADER_LEN, "as documented");

struct journal {
	struct journal_place at;
	atomic_bool has_notes;
	uint32_t object_cnt;
	uint64_t done[]; /* as read */
};

static bool make_header(const struct journal_plan *plan, struct header *out)
{
	memcpy(out->magic, MAGIC, MAGIC_LEN);
	memcpy(out->plan_id, plan->id, sizeof(out->plan_id));
	out->object_cnt = le64_of(plan->object_cnt);
	return hash_sha256(out, offsetof(struct header, digest), out->digest) == 0;
}

static size_t journal_len(const struct journal_plan *plan)
{
	return sizeof(struct header) + (size_t)plan->object_cnt * sizeof(le64);
}

static bool is_intact(const struct header *h)
{
	uint8_t digest[HASH_SHA256_LEN];

	return memcmp(h->magic, MAGIC, MAGIC_LEN) == 0 &&
	       hash_sha256(h, offsetof(struct header, digest), digest) == 0 &&
	       memcmp(h->digest, digest, sizeof(digest)) == 0;
}

enum journal_state journal_parse(const void *bytes, size_t len, const struct journal_plan *plan,
                                 uint64_t *done)
{
	const uint8_t *p = bytes;
	struct header h;

	if (len < sizeof(h))
		return JOURNAL_DAMAGED;
	memcpy(&h, p, sizeof(h));
	if (!is_intact(&h))
		return JOURNAL_DAMAGED;
	if (memcmp(h.plan_id, plan->id, sizeof(h.plan_id)) != 0 ||
	    le64_get(h.object_cnt) != plan->object_cnt)
		return JOURNAL_OF_ANOTHER_PLAN;
	if (len != journal_len(plan))
		return JOURNAL_DAMAGED;
	for (uint32_t i = 0; i < plan->object_cnt; i++) {
		le64 v;

		memcpy(&v, p + sizeof(h) + i * sizeof(v), sizeof(v));
		done[i] = le64_get(v);
		if (done[i] > plan->size[i])
			return JOURNAL_DAMAGED;
	}
	return JOURNAL_CONTINUES;
}

bool journal_has_room(const struct journal_place *at, const struct journal_plan *plan)
{
	return at->room == 0 || journal_len(plan) <= at->room;
}

static int journal_alloc(const struct journal_place *at, const struct journal_plan *plan,
                         struct journal **out, struct diag *d)
{
	struct journal *j;

	if (plan->object_cnt > JOURNAL_MAX_OBJECTS)
		return diag_set(d, -EFBIG, "%u objects are too many for a journal",
		                plan->object_cnt);
	j = calloc(1, sizeof(*j) + plan->object_cnt * sizeof(j->done[0]));
	if (!j)
		return diag_set(d, -ENOMEM, "out of memory");
	j->at = *at;
	j->object_cnt = plan->object_cnt;
	*out = j;
	return 0;
}

/* Up to len bytes; how many, or a negative errno. */
static ssize_t read_up_to(const struct journal_place *at, uint8_t *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(at->fd, buf + done, len - done, (off_t)(at->off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* off counts from the journal's beginning. */
static int write_all(const struct journal_place *at, const uint8_t *buf, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(at->fd, buf, len, (off_t)(at->off + off));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int journal_read(const struct journal_place *at, const struct journal_plan *plan,
                 enum journal_state *state, struct journal **out, struct diag *d)
{
	scoped(journal) struct journal *j = NULL;
	size_t len = journal_len(plan) + (at->room == 0); /* a longer file is damaged */
	scoped_free uint8_t *bytes = NULL;
	ssize_t n;
	int r = journal_alloc(at, plan, &j, d);

	if (r < 0)
		return r;
	bytes = malloc(len);
	if (!bytes)
		return diag_set(d, -ENOMEM, "out of memory");
	n = read_up_to(at, bytes, len);
	if (n < 0)
		return diag_set_errno(d, (int)n, "cannot read the journal of an earlier run");
	*state = journal_parse(bytes, (size_t)n, plan, j->done);
	*out = take_ptr(j);
	return 0;
}

int journal_begin(const struct journal_place *at, const struct journal_plan *plan,
                  struct journal **out, struct diag *d)
{
	scoped(journal) struct journal *j = NULL;
	size_t len = journal_len(plan);
	scoped_free uint8_t *bytes = NULL;
	struct header h;
	int r = journal_alloc(at, plan, &j, d);

	if (r < 0)
		return r;
	bytes = calloc(1, len);
	if (!bytes)
		return diag_set(d, -ENOMEM, "out of memory");
	if (!make_header(plan, &h))
		return diag_set(d, -EIO, "SHA-256 failed");
	memcpy(bytes, &h, sizeof(h));
	r = at->room == 0 && ftruncate(at->fd, 0) < 0 ? -errno : write_all(at, bytes, len, 0);
	if (r < 0)
		return diag_set_errno(d, r, "cannot write its journal");
	*out = take_ptr(j);
	return 0;
}

void journal_free(struct journal *j)
{
	free(j);
}

uint64_t journal_done(const struct journal *j, uint32_t object)
{
	return object < j->object_cnt ? j->done[object] : 0;
}

bool journal_is_empty(const struct journal *j)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < j->object_cnt; i++)
		sum |= j->done[i];
	return sum == 0 && !atomic_load(&j->has_notes);
}

void journal_note(struct journal *j, uint32_t object, uint64_t done)
{
	le64 v = le64_of(done);

	if (object >= j->object_cnt)
		return;
	atomic_store(&j->has_notes, true);
	(void)write_all(&j->at, (const uint8_t *)&v, sizeof(v),
	                sizeof(struct header) + object * sizeof(v));
}
