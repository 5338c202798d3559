/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a target that is written where it is. Decides when they are what.
 */
#include "head.h"

#include <errno.h>

/* Zeroed at the end as well: the backup GPT of the last owner. */
#define TAIL_LEN (24 * KIB)

struct head {
	int fd;
	uint64_t len;
	struct journal *journal;
	struct journal_plan plan; /* for head_begin() */
	bool wants_journal, is_continued, was_of_another_plan;
	bool is_discarded, is_committed;
	uint8_t bytes[HEAD_LEN];
};

static struct journal_place journal_place(const struct head *h)
{
	return (struct journal_place){ .fd = h->fd,
		                       .off = HEAD_JOURNAL_OFF,
		                       .room = HEAD_LEN - HEAD_JOURNAL_OFF };
}

static int write_all(int fd, uint64_t off, const uint8_t *buf, size_t len, struct diag *d)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return diag_set_errno(d, n < 0 ? -errno : -EIO,
			                      "cannot write %zu bytes at offset %llu", len,
			                      (unsigned long long)off);
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_journal(struct head *h, struct diag *d)
{
	struct journal_place at = journal_place(h);
	enum journal_state state;
	int r;

	if (!journal_has_room(&at, &h->plan) || h->len < HEAD_LEN)
		return 0;
	h->wants_journal = true;
	r = journal_read(&at, &h->plan, &state, &h->journal, d);
	if (r < 0)
		return r;
	/* what is damaged was most likely never a journal */
	h->is_continued = state == JOURNAL_CONTINUES;
	h->was_of_another_plan = state == JOURNAL_OF_ANOTHER_PLAN;
	if (!h->is_continued)
		journal_free(take_ptr(h->journal));
	return 0;
}

int head_open(int fd, uint64_t len, const struct journal_plan *plan, struct head **out,
              struct diag *d)
{
	scoped(head) struct head *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return diag_set(d, -ENOMEM, "out of memory");
	h->fd = fd;
	h->len = len;
	if (plan) {
		h->plan = *plan;
		r = read_journal(h, d);
	}
	if (r < 0)
		return r;
	*out = take_ptr(h);
	return 0;
}

bool head_is_continued(const struct head *h)
{
	return h->is_continued;
}

bool head_was_of_another_plan(const struct head *h)
{
	return h->was_of_another_plan;
}

int head_begin(struct head *h, struct diag *d)
{
	uint64_t tail_off = h->len > TAIL_LEN ? h->len - TAIL_LEN : 0;
	struct journal_place at = journal_place(h);
	int r;

	if (h->is_continued)
		return 0;
	r = write_all(h->fd, 0, h->bytes, (size_t)MIN(HEAD_LEN, h->len), d);
	if (r == 0) /* all of h->bytes is zero so far */
		r = write_all(h->fd, tail_off, h->bytes, (size_t)(h->len - tail_off), d);
	if (r < 0 || !h->wants_journal)
		return r;
	return journal_begin(&at, &h->plan, &h->journal, d);
}

struct journal *head_journal(const struct head *h)
{
	return h->journal;
}

bool head_is_kept(const struct head *h)
{
	return h->journal && !h->is_discarded && !h->is_committed && !journal_is_empty(h->journal);
}

void head_discard(struct head *h)
{
	h->is_discarded = true;
}

void head_close(struct head *h)
{
	static const uint8_t zeros[HEAD_LEN - HEAD_JOURNAL_OFF];

	if (!h)
		return;
	if (h->journal && !h->is_committed && !head_is_kept(h))
		(void)write_all(h->fd, HEAD_JOURNAL_OFF, zeros, sizeof(zeros), NULL);
	journal_free(h->journal);
	free(h);
}

size_t head_held(uint64_t off, uint64_t len)
{
	return off >= HEAD_LEN ? 0 : (size_t)MIN(len, HEAD_LEN - off);
}

void head_put(struct head *h, uint64_t off, const void *buf, size_t len)
{
	memcpy(h->bytes + off, buf, len);
}

void head_get(const struct head *h, uint64_t off, void *buf, size_t len)
{
	memcpy(buf, h->bytes + off, len);
}

int head_commit(struct head *h, struct diag *d)
{
	int r = write_all(h->fd, 0, h->bytes, (size_t)MIN(HEAD_LEN, h->len), d);

	if (r < 0)
		return r;
	h->is_committed = true;
	if (fsync(h->fd) < 0)
		return diag_set_errno(d, -errno, "cannot flush it");
	return 0;
}
