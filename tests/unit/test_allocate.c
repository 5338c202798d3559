/* SPDX-License-Identifier: Apache-2.0 */
/* The comparison with the reference model on random sets is tests/golden/check_allocate.py. */
#include "support.h"

#include <string.h>

#include "allocate.h"

static struct allocate_part part(uint64_t min, uint64_t max, uint32_t weight)
{
	return (struct allocate_part){ .len = { min, max, weight },
		                       .padding = { 0, ALLOCATE_NO_MAX, 0 } };
}

/* As the built-in definitions are on a disk of 512-byte sectors after the sgdisk step. */
static struct allocate_area area_of_disk(uint64_t disk_len)
{
	uint64_t lba_cnt = disk_len / 512;

	return (struct allocate_area){ .start = 20480,
		                       .end = round_down((lba_cnt - 33) * 512, 4096),
		                       .grain = 4096,
		                       .leftover_to_padding = true };
}

/* Measured with systemd-repart. */
static void built_in_definitions_get_what_repart_gives(void **state)
{
	(void)state;
	static const struct {
		uint64_t disk_len, data_len, hash_off, hash_len;
	} known[] = {
		{ 67153920, 4096, 24576, 67108864 },
		{ 69075456, 1929216, 1949696, 67108864 },
		{ 123456789, 56307712, 56328192, 67108864 },
		{ 268435456, 201285632, 201306112, 67108864 },
		{ 1000000512, 932851712, 932872192, 67108864 },
		{ 6777741824, 6710595584, 6710616064, 67108864 },
		{ 6817841152, 6750294016, 6750314496, 67506176 },
		{ 10737418240, 10631065600, 10631086080, 106311680 },
		{ 1099511627776, 1088625332224, 1088625352704, 10886254592 },
	};
	const struct allocate_part parts[] = { part(4096, ALLOCATE_NO_MAX, 1000),
		                               part(64 * MIB, ALLOCATE_NO_MAX, 10) };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct allocate_area area = area_of_disk(known[i].disk_len);
		struct allocate_outcome outcome;
		struct allocate_place place[2];

		assert_true(allocate(&area, parts, 2, place, &outcome));
		assert_int_equal(place[0].off, 20480);
		assert_int_equal(place[0].len, known[i].data_len);
		assert_int_equal(place[1].off, known[i].hash_off);
		assert_int_equal(place[1].len, known[i].hash_len);
		assert_int_equal(place[0].padding + place[1].padding, 0);
		assert_int_equal(place[1].off + place[1].len, area.end);
	}
}

static void what_does_not_fit_says_what_it_needs(void **state)
{
	(void)state;
	const struct allocate_part parts[] = { part(4096, ALLOCATE_NO_MAX, 1000),
		                               part(64 * MIB, ALLOCATE_NO_MAX, 10) };
	struct allocate_area area = { .start = 20480, .grain = 4096 };
	struct allocate_outcome outcome;
	struct allocate_place place[2];

	area.end = area.start + 64 * MIB;
	assert_false(allocate(&area, parts, 2, place, &outcome));
	assert_int_equal(outcome.need, 64 * MIB + 4096);
	area.end += 4096;
	assert_true(allocate(&area, parts, 2, place, &outcome));
	area.end = area.start - 4096;
	assert_false(allocate(&area, parts, 2, place, &outcome));
}

static void largest_minima_do_not_overflow(void **state)
{
	(void)state;
	struct allocate_part parts[ALLOCATE_MAX_PARTS];
	struct allocate_place place[ALLOCATE_MAX_PARTS];
	struct allocate_area area = { .start = 4096, .end = ALLOCATE_MAX_LEN, .grain = 4096 };
	struct allocate_outcome outcome;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		parts[i] = part(ALLOCATE_MAX_LEN, ALLOCATE_NO_MAX, 1000000);
		parts[i].padding.min = ALLOCATE_MAX_LEN;
	}
	assert_false(allocate(&area, parts, ARRAY_LEN(parts), place, &outcome));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = part(4096, ALLOCATE_NO_MAX, 1000000);
	assert_true(allocate(&area, parts, ARRAY_LEN(parts), place, &outcome));
	assert_int_equal(place[127].off + place[127].len, area.end);
}

static void space_nobody_may_take_becomes_padding_only_if_wanted(void **state)
{
	(void)state;
	const struct allocate_part parts[] = { part(4096, 8192, 1000), part(4096, 4096, 1000) };
	struct allocate_area area = { .start = 4096, .end = 4096 + MIB, .grain = 4096 };
	struct allocate_outcome outcome;
	struct allocate_place place[2];

	assert_true(allocate(&area, parts, 2, place, &outcome));
	assert_int_equal(place[1].padding, 0);
	area.leftover_to_padding = true;
	assert_true(allocate(&area, parts, 2, place, &outcome));
	assert_int_equal(place[0].len, 8192);
	assert_int_equal(place[1].padding, MIB - 12288);
}

/* ---- properties on random sets ---- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t below(uint64_t *state, uint64_t limit)
{
	return next_random(state) % limit;
}

static struct allocate_bounds random_bounds(uint64_t *state, uint64_t least, bool with_maxima)
{
	static const uint32_t weights[] = { 0, 1, 10, 333, 1000, 1000, 1000000 };
	struct allocate_bounds b = { .min = least + 4096 * below(state, 64),
		                     .max = ALLOCATE_NO_MAX,
		                     .weight = weights[below(state, ARRAY_LEN(weights))] };

	if (with_maxima && below(state, 3) == 0)
		b.max = b.min + 4096 * below(state, 256);
	return b;
}

static size_t random_parts(uint64_t *state, bool with_maxima, struct allocate_part part[4])
{
	size_t cnt = 1 + below(state, 4);

	for (size_t i = 0; i < cnt; i++) {
		part[i].len = random_bounds(state, 4096, with_maxima);
		part[i].padding = random_bounds(state, 0, with_maxima);
		if (below(state, 2))
			part[i].padding = (struct allocate_bounds){ 0, ALLOCATE_NO_MAX, 0 };
	}
	return cnt;
}

/* What the search for the smallest disk rests on (allocate.h, minima_cnt). */
static void longer_area_gives_nobody_less_while_the_minima_bind_the_same(void **state)
{
	(void)state;
	uint64_t seed = 42, compared = 0;

	for (unsigned round = 0; round < 3000; round++) {
		bool with_maxima = round % 2, has_before = false;
		struct allocate_place before[4], place[4];
		struct allocate_outcome was = { 0 }, is;
		struct allocate_area area = { .grain = 4096 };
		struct allocate_part parts[4];
		size_t cnt = random_parts(&seed, with_maxima, parts);
		/* where maxima take effect, what is left after rounding moves about */
		uint64_t slack = with_maxima ? 2 * 4096 : 0;

		for (uint64_t len = 0; len < 400; len++) {
			area.end = 4096 * len;
			if (!allocate(&area, parts, cnt, place, &is))
				continue;
			assert_true(!has_before || is.minima_cnt <= was.minima_cnt);
			for (size_t i = 0; has_before && is.minima_cnt == was.minima_cnt && i < cnt;
			     i++) {
				assert_true(place[i].len + slack >= before[i].len);
				assert_true(place[i].padding + slack >= before[i].padding);
				compared++;
			}
			memcpy(before, place, sizeof(before));
			was = is;
			has_before = true;
		}
	}
	assert_true(compared > 100000);
}

static void every_length_is_within_its_bounds_and_none_overlap(void **state)
{
	(void)state;
	uint64_t seed = 7;

	for (unsigned round = 0; round < 20000; round++) {
		struct allocate_area area = { .start = 4096, .grain = 4096 };
		struct allocate_part parts[4];
		struct allocate_place place[4];
		struct allocate_outcome outcome;
		size_t cnt = random_parts(&seed, true, parts);
		uint64_t end = area.start;

		area.end = area.start + 4096 * below(&seed, 2000);
		if (!allocate(&area, parts, cnt, place, &outcome))
			continue;
		for (size_t i = 0; i < cnt; i++) {
			assert_int_equal(place[i].off, end);
			assert_true(place[i].len >= parts[i].len.min);
			assert_true(place[i].len <= parts[i].len.max);
			assert_true(place[i].padding >= parts[i].padding.min);
			end += place[i].len + place[i].padding;
		}
		assert_true(end <= area.end);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in_definitions_get_what_repart_gives),
		cmocka_unit_test(what_does_not_fit_says_what_it_needs),
		cmocka_unit_test(largest_minima_do_not_overflow),
		cmocka_unit_test(space_nobody_may_take_becomes_padding_only_if_wanted),
		cmocka_unit_test(longer_area_gives_nobody_less_while_the_minima_bind_the_same),
		cmocka_unit_test(every_length_is_within_its_bounds_and_none_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
