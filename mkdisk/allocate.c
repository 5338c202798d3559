/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distribution in three phases. Every rounding, and the order in which the remaining span and
 * the remaining weights change during a walk, decide about bytes: they are systemd-repart's, not
 * what one would choose.
 */
#include "allocate.h"

#include <assert.h>

enum phase {
	PHASE_MINIMA,     /* whose minimum is above its share gets the minimum */
	PHASE_MAXIMA,     /* whose maximum is below its share gets the maximum */
	PHASE_DISTRIBUTE, /* the others get their shares */
};

/* A partition's length and its padding are items of their own, in this order. */
struct item {
	struct allocate_bounds bounds;
	uint64_t len;
	bool is_decided;
};

/* What is still to be distributed. */
struct rest {
	uint64_t span, weight;
	uint64_t grain;
};

/* span * weight / sum in 64 bits, as systemd-repart approximates it where the product is larger. */
static uint64_t share_of(uint64_t span, uint64_t weight, uint64_t sum)
{
	uint64_t product;

	for (;;) {
		if (weight == 0)
			return 0;
		if (weight == sum)
			return span;
		if (mul_u64(span, weight, &product))
			return product / sum;
		sum = div_up(sum, 2);
		weight /= 2;
	}
}

static void charge(struct rest *rest, uint64_t len)
{
	uint64_t rounded = round_up(len, rest->grain);

	rest->span -= MIN(rounded, rest->span);
}

static void decide(struct item *item, uint64_t len, struct rest *rest)
{
	item->len = len;
	item->is_decided = true;
	charge(rest, len);
	rest->weight -= item->bounds.weight;
}

/* One walk over all items; returns how many got a bound, which calls for another walk. */
static size_t walk(enum phase phase, struct item *item, size_t cnt, struct rest *rest)
{
	size_t bound_cnt = 0;

	for (size_t i = 0; i < cnt; i++) {
		const struct allocate_bounds *b = &item[i].bounds;

		if (item[i].is_decided)
			continue;
		uint64_t share = share_of(rest->span, b->weight, rest->weight);

		if (phase == PHASE_MINIMA && b->min > share) {
			decide(&item[i], b->min, rest);
			bound_cnt++;
		} else if (phase == PHASE_MAXIMA && b->max < share) {
			decide(&item[i], b->max, rest);
			bound_cnt++;
		} else if (phase == PHASE_DISTRIBUTE) {
			uint64_t len = round_down(share, rest->grain);

			decide(&item[i], MIN(MAX(len, b->min), b->max), rest);
		}
	}
	return bound_cnt;
}

/* What nobody's share was goes to the partitions in order. */
static void donate(struct item *item, struct rest *rest)
{
	uint64_t len = round_down(item->len + rest->span, rest->grain);

	len = MIN(MAX(len, item->len), item->bounds.max);
	charge(rest, len - item->len);
	item->len = len;
}

/* Saturates: a need beyond 64 bits fits nowhere either. */
static bool fits(const struct allocate_area *area, const struct allocate_part *part, size_t cnt,
                 uint64_t *need)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < cnt; i++) {
		assert(part[i].len.min <= ALLOCATE_MAX_LEN);
		assert(part[i].padding.min <= ALLOCATE_MAX_LEN);
		if (!add_u64(sum, round_up(part[i].len.min + part[i].padding.min, area->grain),
		             &sum))
			sum = UINT64_MAX;
		*need = sum;
		if (area->end <= area->start || sum > area->end - area->start)
			return false;
	}
	return true;
}

/* Returns how many items got their minimum because their share was smaller. */
static size_t distribute(const struct allocate_area *area, struct item *item, size_t cnt)
{
	struct rest rest = { .span = area->end - area->start, .grain = area->grain };
	size_t minima_cnt = 0, bound_cnt;

	for (size_t i = 0; i < cnt; i++)
		rest.weight += item[i].bounds.weight;
	do {
		bound_cnt = walk(PHASE_MINIMA, item, cnt, &rest);
		minima_cnt += bound_cnt;
	} while (bound_cnt > 0);
	while (walk(PHASE_MAXIMA, item, cnt, &rest) > 0)
		;
	walk(PHASE_DISTRIBUTE, item, cnt, &rest);
	for (size_t i = 0; i < cnt && rest.span > 0; i += 2)
		donate(&item[i], &rest);
	if (area->leftover_to_padding)
		item[cnt - 1].len += round_down(rest.span, rest.grain);
	return minima_cnt;
}

bool allocate(const struct allocate_area *area, const struct allocate_part *part, size_t cnt,
              struct allocate_place *out, struct allocate_outcome *outcome)
{
	struct item item[2 * ALLOCATE_MAX_PARTS];
	uint64_t off = area->start;

	assert(cnt > 0 && cnt <= ALLOCATE_MAX_PARTS && area->end <= ALLOCATE_MAX_LEN);
	if (!fits(area, part, cnt, &outcome->need))
		return false;
	for (size_t i = 0; i < cnt; i++) {
		item[2 * i] = (struct item){ .bounds = part[i].len };
		item[2 * i + 1] = (struct item){ .bounds = part[i].padding };
	}
	outcome->minima_cnt = distribute(area, item, 2 * cnt);
	for (size_t i = 0; i < cnt; i++) {
		out[i].off = off;
		out[i].len = item[2 * i].len;
		out[i].padding = item[2 * i + 1].len;
		/* behind a length or padding off the grain the next one starts on it again */
		off = round_up(off + out[i].len + out[i].padding, area->grain);
	}
	return true;
}
