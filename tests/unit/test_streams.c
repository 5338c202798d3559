/* SPDX-License-Identifier: Apache-2.0 */
/* Which reads are streams, and what is looked ahead at: rules by hand, then any reads at all. */
#include "support.h"

#include "streams.h"

#define SIZE      (100 * MIB + 12345)
#define MAX_AHEAD (4 * MIB)
#define READ_LEN  (128 * KIB)

static struct streams_plan note_of(struct streams *s, uint64_t nid, uint64_t off, uint64_t len)
{
	struct streams_read r = { .nid = nid, .off = off, .len = len, .size = SIZE };
	struct streams_plan plan = streams_note(s, &r, MAX_AHEAD);

	streams_planned(&plan, plan.len);
	return plan;
}

static struct streams_plan note(struct streams *s, uint64_t off, uint64_t len)
{
	return note_of(s, 1, off, len);
}

static void one_read_says_nothing_about_the_next(void **state)
{
	struct streams s = { .tick = 0 };

	(void)state;
	assert_int_equal(note(&s, 0, READ_LEN).len, 0);
	assert_int_equal(note(&s, 50 * MIB, READ_LEN).len, 0);
	/* nor do two that do not touch, or are of different files */
	assert_int_equal(note(&s, 50 * MIB + 2 * READ_LEN, READ_LEN).len, 0);
	assert_int_equal(note_of(&s, 2, READ_LEN, READ_LEN).len, 0);
}

static void two_reads_that_touch_make_a_stream(void **state)
{
	struct streams s = { .tick = 0 };
	struct streams_plan plan;

	(void)state;
	note(&s, 10 * MIB, READ_LEN);
	plan = note(&s, 10 * MIB + READ_LEN, READ_LEN);
	assert_false(plan.is_down);
	assert_int_equal(plan.off, 10 * MIB + 2 * READ_LEN);
	/* as much as was read, up to the end of a step */
	assert_int_equal(plan.off + plan.len, 10 * MIB + 2 * STREAMS_STEP);
}

static void a_stream_may_go_down(void **state)
{
	struct streams s = { .tick = 0 };
	struct streams_plan plan;

	(void)state;
	note(&s, 10 * MIB, READ_LEN);
	plan = note(&s, 10 * MIB - READ_LEN, READ_LEN);
	assert_true(plan.is_down);
	assert_int_equal(plan.off + plan.len, 10 * MIB - READ_LEN);
	assert_true(plan.off % STREAMS_STEP == 0 && plan.len >= 2 * READ_LEN);
	/* down to the very first byte, and not beyond */
	for (uint64_t off = 10 * MIB - READ_LEN; off > 0; off -= READ_LEN) {
		plan = note(&s, off - READ_LEN, READ_LEN);
		assert_true(plan.len == 0 || plan.off + plan.len <= off - READ_LEN);
	}
	assert_int_equal(note(&s, 0, READ_LEN).len, 0);
}

/* Reads all of the file in order; every byte behind the first two reads was planned before, once.
 */
static void read_through(uint64_t read_len, bool down)
{
	struct streams s = { .tick = 0 };
	uint64_t planned = 0, at = 0;

	for (uint64_t done = 0, len; done < SIZE; done += len) {
		struct streams_plan plan;

		len = MIN(read_len, SIZE - done);
		at = down ? SIZE - done - len : done;
		plan = note(&s, at, len);
		if (done + len < 64 * KIB)
			assert_int_equal(plan.len, 0);
		else
			assert_true(planned >= done || planned == 0);
		if (plan.len == 0)
			continue;
		if (planned == 0)
			planned = done + len;
		assert_int_equal(down ? SIZE - (plan.off + plan.len) : plan.off, planned);
		planned += plan.len;
		assert_true(planned <= done + len + MAX_AHEAD + STREAMS_STEP);
		assert_true(planned <= SIZE);
	}
	assert_int_equal(planned, SIZE);
}

static void whoever_reads_in_order_finds_everything_planned_once(void **state)
{
	static const uint64_t lens[] = { 4096, 64 * KIB, 69632, 128 * KIB, MIB };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		read_through(lens[i], false);
		read_through(lens[i], true);
	}
}

static void reads_served_out_of_order_are_one_stream(void **state)
{
	struct streams s = { .tick = 0 };
	uint64_t planned = 0;

	(void)state;
	note(&s, 0, READ_LEN);
	note(&s, READ_LEN, READ_LEN);
	for (uint64_t off = 2 * READ_LEN; off + 4 * READ_LEN <= SIZE; off += 4 * READ_LEN) {
		static const unsigned order[] = { 2, 0, 3, 1 };

		for (size_t i = 0; i < ARRAY_LEN(order); i++)
			planned += note(&s, off + order[i] * READ_LEN, READ_LEN).len;
	}
	/* no read began a stream of its own, whose plan would count twice */
	assert_true(planned <= SIZE);
	assert_true(planned > SIZE - 2 * MIB);
}

static void readers_of_neighbouring_pieces_do_not_run_into_one_another(void **state)
{
	struct streams s = { .tick = 0 };
	const uint64_t piece = 8 * MIB;
	uint64_t planned[2] = { 0 };

	(void)state;
	/* the second reader starts where the first one's plan will get to */
	for (uint64_t off = 0; off < piece; off += READ_LEN)
		for (uint64_t reader = 0; reader < 2; reader++) {
			struct streams_plan plan = note(&s, reader * piece + off, READ_LEN);

			planned[reader] += plan.len;
			if (reader == 0 && plan.len)
				assert_true(plan.off + plan.len <= piece);
		}
	assert_true(planned[0] >= piece - 2 * READ_LEN - STREAMS_STEP && planned[0] <= piece);
	assert_true(planned[1] >= piece - 2 * READ_LEN);
}

static void who_jumps_into_a_plan_takes_over_the_rest_of_it(void **state)
{
	struct streams s = { .tick = 0 };
	struct streams_plan plan;
	uint64_t off;

	(void)state;
	for (off = 0; off < 16 * MIB; off += READ_LEN)
		plan = note(&s, off, READ_LEN);
	/* planned up to 20 MiB; one jumps to 19 MiB */
	plan = note(&s, 19 * MIB, READ_LEN);
	assert_int_equal(plan.len, 0);
	plan = note(&s, 19 * MIB + READ_LEN, READ_LEN);
	assert_int_equal(plan.len, 0);
	for (off = 19 * MIB + 2 * READ_LEN; plan.len == 0; off += READ_LEN)
		plan = note(&s, off, READ_LEN);
	assert_true(plan.off >= 20 * MIB);
}

static void what_could_not_be_carried_out_is_planned_again(void **state)
{
	struct streams s = { .tick = 0 };
	struct streams_read r = { .nid = 1, .len = READ_LEN, .size = SIZE };
	struct streams_plan plan;
	uint64_t at;

	(void)state;
	(void)streams_note(&s, &r, MAX_AHEAD);
	r.off = READ_LEN;
	plan = streams_note(&s, &r, MAX_AHEAD);
	assert_true(plan.len > 0);
	at = plan.off;
	plan = streams_note(&s, &r, MAX_AHEAD);
	assert_int_equal(plan.off, at);
	streams_planned(&plan, 4096);
	assert_int_equal(streams_note(&s, &r, MAX_AHEAD).off, at + 4096);
}

static void random_reads_are_not_streams(void **state)
{
	struct streams s = { .tick = 0 };
	uint64_t planned = 0, rnd = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		planned += note(&s, (rnd >> 33) % (SIZE / 4096) * 4096, 4096).len;
	}
	/* chance makes some reads touch */
	assert_true(planned < (uint64_t)20000 * 4096 / 10);
}

static void as_many_streams_as_there_is_room_for_are_followed(void **state)
{
	struct streams s = { .tick = 0 };
	uint64_t planned = 0;

	(void)state;
	for (uint64_t round = 0; round < 16; round++)
		for (uint64_t nid = 0; nid < STREAMS_MAX; nid++)
			planned += note_of(&s, nid, round * READ_LEN, READ_LEN).len;
	assert_true(planned >= STREAMS_MAX * 16 * READ_LEN);
}

/* Whatever is read, plans stay inside the file, and ahead of nothing that was just read. */
static void any_reads_at_all_keep_plans_inside_the_file(void **state)
{
	static const uint64_t sizes[] = { 1,       4095, 4096,     STREAMS_STEP, STREAMS_STEP + 1,
		                          3 * MIB, SIZE, INT64_MAX };
	uint64_t rnd = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct streams s = { .tick = 0 };
		uint64_t off = 0;

		for (int n = 0; n < 3000; n++) {
			struct streams_read r = { .nid = n % 3, .size = sizes[i] };
			struct streams_plan plan;

			rnd = rnd * 6364136223846793005u + 1442695040888963407u;
			/* mostly near the last one, sometimes anywhere */
			if ((rnd >> 60) == 0)
				off = (rnd >> 1) % r.size;
			else
				off += (rnd >> 34) % (4 * READ_LEN) - 2 * READ_LEN;
			r.off = off % r.size;
			r.len = MIN(1 + (rnd >> 40) % MIB, r.size - r.off);
			plan = streams_note(&s, &r, MAX_AHEAD);
			assert_true(plan.off <= r.size && plan.len <= r.size - plan.off);
			assert_true(plan.len <= MAX_AHEAD + STREAMS_STEP);
			streams_planned(&plan, (rnd >> 50) % 3 ? plan.len : plan.len / 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_read_says_nothing_about_the_next),
		cmocka_unit_test(two_reads_that_touch_make_a_stream),
		cmocka_unit_test(a_stream_may_go_down),
		cmocka_unit_test(whoever_reads_in_order_finds_everything_planned_once),
		cmocka_unit_test(reads_served_out_of_order_are_one_stream),
		cmocka_unit_test(readers_of_neighbouring_pieces_do_not_run_into_one_another),
		cmocka_unit_test(who_jumps_into_a_plan_takes_over_the_rest_of_it),
		cmocka_unit_test(what_could_not_be_carried_out_is_planned_again),
		cmocka_unit_test(random_reads_are_not_streams),
		cmocka_unit_test(as_many_streams_as_there_is_room_for_are_followed),
		cmocka_unit_test(any_reads_at_all_keep_plans_inside_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
