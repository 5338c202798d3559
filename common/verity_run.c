/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of data blocks that can still be taken back. Decides what is kept of them until then: the
 * groups (hash blocks of level 0) that a run covers completely are hashed and forgotten as it goes
 * on, the digests in those it shares with others wait for the commit. What the tree makes of them
 * is verity_build.c's business.
 *
 *      first                                             end
 *   ...|──head──|═══ group ═══|═══ group ═══|═══ group ═══|──open──|...
 *               └──────── one digest each, in groups ─────┘
 */
#include "verity_int.h"

#include <errno.h>
#include <inttypes.h>

struct verity_run {
	struct verity_build *b;
	uint64_t first, next, end; /* data blocks */
	uint8_t *head;             /* digests of the first group, if shared; NULL: none */
	uint8_t *open;             /* digests of the group that next is in */
	uint8_t *groups;           /* digests of complete groups, digest_stride apart */
	uint64_t group_cnt, group_cap;
};

static uint64_t group_begin(const struct verity_run *run, uint64_t blk)
{
	return round_down(blk, run->b->geo.digests_per_block);
}

/* One behind the last data block of blk's group, which may be the tree's last and short. */
static uint64_t group_end(const struct verity_run *run, uint64_t blk)
{
	return MIN(group_begin(run, blk) + run->b->geo.digests_per_block,
	           run->b->params.data_blk_cnt);
}

/* Is blk's group the run's alone? Never when the tree has no level: its one digest is the root. */
static bool owns_group(const struct verity_run *run, uint64_t blk)
{
	return run->b->geo.level_cnt > 0 && run->first <= group_begin(run, blk) &&
	       group_end(run, blk) <= run->end;
}

int verity_run_new(struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                   struct verity_run **out, struct diag *d)
{
	scoped(verity_run) struct verity_run *run = NULL;
	int r = verity_build_check(b, first_blk, cnt, d);

	if (r)
		return r;
	run = calloc(1, sizeof(*run));
	if (run)
		run->open = calloc(1, b->params.hash_block_len);
	if (!run || !run->open)
		return diag_set_errno(d, -ENOMEM, "cannot begin a run of data blocks");
	run->b = b;
	run->first = run->next = first_blk;
	run->end = first_blk + cnt;
	*out = take_ptr(run);
	/* cppcheck-suppress memleak ; it does not see that take_ptr() moved run to *out */
	return 0;
}

void verity_run_free(struct verity_run *run)
{
	if (!run)
		return;
	free(run->head);
	free(run->open);
	free(run->groups);
	free(run);
}

static int reserve_groups(struct verity_run *run, uint64_t cnt)
{
	uint64_t need = run->group_cnt + cnt, cap = MAX(need, 2 * run->group_cap);
	uint8_t *grown;

	if (need <= run->group_cap)
		return 0;
	grown = realloc(run->groups, (size_t)cap * run->b->geo.digest_stride);
	if (!grown)
		return -ENOMEM;
	run->groups = grown;
	run->group_cap = cap;
	return 0;
}

/* The group that ends before next is full: its block goes to the sink, its digest is kept. */
static int end_own_group(struct verity_run *run, struct diag *d)
{
	struct verity_build *b = run->b;
	uint64_t group = verity_slot_blk(b, run->next - 1);
	uint8_t *digest;
	int r = reserve_groups(run, 1);

	if (r)
		return diag_set_errno(d, r, "cannot hold the digests of a run");
	r = verity_build_give(b, 0, group, run->open, b->params.hash_block_len, d);
	if (r)
		return r;
	digest = run->groups + run->group_cnt * b->geo.digest_stride;
	memset(digest, 0, b->geo.digest_stride);
	r = hash_salted_blocks(b->hasher, run->open, b->params.hash_block_len, 1, digest,
	                       b->geo.digest_stride);
	if (r)
		return diag_set_errno(d, r, "cannot hash block %" PRIu64 " of level 0", group);
	run->group_cnt++;
	memset(run->open, 0, b->params.hash_block_len);
	return 0;
}

/* After next moved to the end of a group. */
static int end_group(struct verity_run *run, struct diag *d)
{
	if (owns_group(run, run->next - 1))
		return end_own_group(run, d);
	if (run->next == run->end) /* shared with what follows: open stays until the commit */
		return 0;
	run->head = run->open;
	run->open = calloc(1, run->b->params.hash_block_len);
	return run->open ? 0 : diag_set_errno(d, -ENOMEM, "cannot hold the digests of a run");
}

/* cnt digests for the blocks from next on; one for all of them when all_equal. */
static int run_put(struct verity_run *run, const uint8_t *digests, uint64_t cnt, bool all_equal,
                   struct diag *d)
{
	size_t stride = run->b->geo.digest_stride;

	while (cnt) {
		uint64_t n = MIN(cnt, group_end(run, run->next) - run->next);
		uint8_t *at = run->open + verity_slot_in_blk(run->b, run->next) * stride;
		int r = 0;

		for (uint64_t i = 0; all_equal && i < n; i++)
			memcpy(at + i * stride, digests, stride);
		if (!all_equal) {
			memcpy(at, digests, n * stride);
			digests += n * stride;
		}
		run->next += n;
		cnt -= n;
		if (run->next == group_end(run, run->next - 1))
			r = end_group(run, d);
		if (r)
			return r;
	}
	return 0;
}

static int check_run(const struct verity_run *run, uint64_t cnt, struct diag *d)
{
	if (cnt > run->end - run->next)
		return diag_set(d, -EINVAL,
		                "%" PRIu64
		                " data blocks too many for the run that ends before %" PRIu64,
		                cnt - (run->end - run->next), run->end);
	return 0;
}

int verity_run_add(struct verity_run *run, uint64_t cnt, const void *data, struct diag *d)
{
	uint8_t digests[VERITY_BATCH_BLK_CNT * HASH_MAX_LEN] = { 0 };
	const uint8_t *p = data;
	int r = check_run(run, cnt, d);

	for (uint64_t n; !r && cnt; cnt -= n) {
		n = MIN(cnt, VERITY_BATCH_BLK_CNT);
		r = verity_build_hash(run->b, run->next, (size_t)n, p, digests, d);
		if (!r)
			r = run_put(run, digests, n, false, d);
		p += n * run->b->params.data_block_len;
	}
	return r;
}

/* cnt groups that are all zero and the run's own, from next on (which begins one). */
static int add_zero_groups(struct verity_run *run, uint64_t cnt, struct diag *d)
{
	struct verity_build *b = run->b;
	size_t stride = b->geo.digest_stride;
	int r = reserve_groups(run, cnt);

	if (r)
		return diag_set_errno(d, r, "cannot hold the digests of a run");
	r = verity_build_give_zero(b, 0, verity_slot_blk(b, run->next), cnt, d);
	if (r)
		return r;
	for (uint64_t i = 0; i < cnt; i++)
		memcpy(run->groups + (run->group_cnt + i) * stride, b->zero_digest[1], stride);
	run->group_cnt += cnt;
	run->next += cnt * b->geo.digests_per_block;
	return 0;
}

int verity_run_add_zero(struct verity_run *run, uint64_t cnt, struct diag *d)
{
	uint64_t fanout = run->b->geo.digests_per_block;
	int r = check_run(run, cnt, d);

	while (!r && cnt) {
		uint64_t n = MIN(cnt, group_end(run, run->next) - run->next);

		if (n == fanout && run->b->geo.level_cnt > 0) {
			n = round_down(cnt, fanout);
			r = add_zero_groups(run, n / fanout, d);
		} else {
			r = run_put(run, run->b->zero_digest[0], n, true, d);
		}
		cnt -= n;
	}
	return r;
}

static int commit(struct verity_run *run, struct diag *d)
{
	struct verity_build *b = run->b;
	uint64_t head_end = MIN(group_end(run, run->first), run->end);
	struct verity_digests head = { .first = run->first, .cnt = head_end - run->first };
	struct verity_digests groups = { .level = 1, .cnt = run->group_cnt, .bytes = run->groups };
	struct verity_digests rest = { .first = MAX(group_begin(run, run->end - 1), run->first) };
	int r = 0;

	if (run->head) {
		head.bytes = run->head + verity_slot_in_blk(b, head.first) * b->geo.digest_stride;
		r = verity_build_put(b, head, d);
	}
	groups.first = verity_slot_blk(b, round_up(run->first, b->geo.digests_per_block));
	if (!r)
		r = verity_build_put(b, groups, d);
	if (r || owns_group(run, run->end - 1))
		return r;
	rest.cnt = run->end - rest.first;
	rest.bytes = run->open + verity_slot_in_blk(b, rest.first) * b->geo.digest_stride;
	return verity_build_put(b, rest, d);
}

int verity_run_commit(struct verity_run *run, struct diag *d)
{
	if (run->next != run->end)
		return diag_set(d, -EINVAL,
		                "a run lacks %" PRIu64 " of its %" PRIu64 " data blocks",
		                run->end - run->next, run->end - run->first);
	if (run->first == run->end)
		return 0;
	return verity_build_note(run->b, run->end - run->first, commit(run, d));
}
