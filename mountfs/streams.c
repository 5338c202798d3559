/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises streams. Two reads that touch make one; from then on a read belongs to it when it lies
 * around the place that was reached:
 *
 *        start              next      next + GAP          ahead
 *     ─────┼──────── read ────┼───────────┼───── planned ───┼─────
 *                   ├─ GAP ───┼───────────┤                 │
 *                   └ it goes on with these ┘└ another one begins here, and what
 *                                              was planned beyond goes over to it
 *
 * So threads that copy neighbouring pieces of one file get a stream each, and none of them runs
 * into what another one has read already. A stream that goes down is the same picture in a mirror:
 * its offsets are distances from the file's end, rounded up to a whole step so that steps stay
 * where they are.
 */
#include "streams.h"

/* What has been read before it is worth looking ahead: random reads touch by chance, but are short.
 */
#define MIN_READ (64 * KIB)

struct span {
	uint64_t begin, end;
};

static uint64_t mirror_of(const struct streams_read *r)
{
	return round_up(r->size, STREAMS_STEP);
}

/* From the file's offsets to the stream's, and back. */
static struct span turn(bool is_down, struct span s, uint64_t mirror)
{
	return is_down ? (struct span){ mirror - s.end, mirror - s.begin } : s;
}

static struct span read_along(const struct stream *s, const struct streams_read *r)
{
	return turn(s->is_down, (struct span){ r->off, r->off + r->len }, mirror_of(r));
}

/* A stream of one read goes on at either end of it, and has a direction from then on. */
static bool becomes_known(struct stream *s, const struct streams_read *r)
{
	struct span first = { s->start, s->next };

	if (r->off == first.end) {
		s->is_known = true;
	} else if (r->off + r->len == first.begin) {
		s->is_known = s->is_down = true;
		first = turn(true, first, mirror_of(r));
		s->start = first.begin;
		s->next = s->ahead = first.end;
	}
	return s->is_known;
}

/* The longer a stream is, the farther off may be what belongs to it: chance makes short ones. */
static bool goes_on(const struct stream *s, const struct streams_read *r)
{
	uint64_t begin = read_along(s, r).begin, gap = MIN(s->next - s->start, STREAMS_GAP);

	return begin + gap >= s->next && begin <= s->next + gap;
}

static struct stream *find(struct streams *s, const struct streams_read *r)
{
	struct stream *best = NULL;

	for (struct stream *i = s->all; i < s->all + STREAMS_MAX; i++)
		if (i->tick && i->nid == r->nid && i->is_known && goes_on(i, r) &&
		    (!best || i->tick > best->tick))
			best = i;
	for (struct stream *i = s->all; !best && i < s->all + STREAMS_MAX; i++)
		if (i->tick && i->nid == r->nid && !i->is_known && becomes_known(i, r))
			best = i;
	return best;
}

/* One whose plan has the read's place in it. */
static struct stream *find_planned(struct streams *s, const struct streams_read *r)
{
	for (struct stream *i = s->all; i < s->all + STREAMS_MAX; i++)
		if (i->tick && i->nid == r->nid && i->is_known) {
			uint64_t begin = read_along(i, r).begin;

			if (begin > i->next && begin < i->ahead)
				return i;
		}
	return NULL;
}

static struct stream *longest_unused(struct streams *s)
{
	struct stream *old = &s->all[0];

	for (struct stream *i = s->all; i < s->all + STREAMS_MAX; i++)
		if (i->tick < old->tick)
			old = i;
	return old;
}

static struct stream *begin(struct streams *s, const struct streams_read *r)
{
	struct stream *planned = find_planned(s, r), *out;
	struct stream new = { .nid = r->nid };
	struct span span;

	if (planned)
		new.is_down = planned->is_down;
	span = read_along(&new, r);
	new.start = span.begin;
	new.next = new.ahead = span.end;
	if (planned) {
		new.is_known = true;
		new.ahead = MAX(new.ahead, planned->ahead);
		planned->ahead = span.begin;
	}
	out = longest_unused(s);
	*out = new;
	return out;
}

/* Where the plan of s must stop: at the file's edge, or where another stream has read already. */
static uint64_t limit_of(const struct streams *s, const struct stream *of,
                         const struct streams_read *r)
{
	uint64_t mirror = mirror_of(r), limit = of->is_down ? mirror : r->size;

	for (const struct stream *i = s->all; i < s->all + STREAMS_MAX; i++) {
		struct span span;

		if (!i->tick || i == of || i->nid != of->nid)
			continue;
		span = turn(i->is_down, (struct span){ i->start, i->next }, mirror);
		span = turn(of->is_down, span, mirror);
		if (span.begin >= of->next)
			limit = MIN(limit, span.begin);
	}
	return limit;
}

struct streams_plan streams_note(struct streams *s, const struct streams_read *r,
                                 uint64_t max_ahead)
{
	struct stream *of = find(s, r);
	struct streams_plan plan = { .len = 0 };
	struct span span;

	if (!of)
		of = begin(s, r);
	of->tick = ++s->tick;
	of->next = MAX(of->next, read_along(of, r).end);
	of->ahead = MAX(of->ahead, of->next);
	plan.stream = of;
	plan.is_down = of->is_down;
	if (!of->is_known || of->next - of->start < MIN_READ)
		return plan;
	span.begin = of->ahead;
	span.end = round_up(of->next + MIN(of->next - of->start, max_ahead), STREAMS_STEP);
	span.end = MIN(span.end, limit_of(s, of, r));
	if (span.end <= span.begin)
		return plan;
	span = turn(of->is_down, span, mirror_of(r));
	plan.off = span.begin;
	plan.len = span.end - span.begin;
	return plan;
}

void streams_planned(const struct streams_plan *plan, uint64_t len)
{
	plan->stream->ahead += len;
}
