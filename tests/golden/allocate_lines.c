/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocate() for tests/golden/check_allocate.py. Each line of stdin is an area and its partitions:
 * START END LEFTOVER_TO_PADDING (MIN MAX WEIGHT PADDING_MIN PADDING_MAX PADDING_WEIGHT)...
 * The answer is a line of OFFSET,LENGTH,PADDING for each, or "-" when they do not fit.
 */
#include <inttypes.h>
#include <stdio.h>

#include "allocate.h"

static bool take(char **p, uint64_t *out)
{
	char *end;

	*out = strtoull(*p, &end, 10);
	if (end == *p)
		return false;
	*p = end;
	return true;
}

static bool take_bounds(char **p, struct allocate_bounds *b)
{
	uint64_t weight;

	if (!take(p, &b->min) || !take(p, &b->max) || !take(p, &weight))
		return false;
	b->weight = (uint32_t)weight;
	return true;
}

int main(void)
{
	static char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		struct allocate_part part[ALLOCATE_MAX_PARTS];
		struct allocate_place place[ALLOCATE_MAX_PARTS];
		struct allocate_area area = { .grain = 4096 };
		struct allocate_outcome outcome;
		uint64_t leftover;
		size_t cnt = 0;
		char *p = line;

		if (!take(&p, &area.start) || !take(&p, &area.end) || !take(&p, &leftover))
			return 2;
		area.leftover_to_padding = leftover != 0;
		while (cnt < ALLOCATE_MAX_PARTS && take_bounds(&p, &part[cnt].len)) {
			if (!take_bounds(&p, &part[cnt].padding))
				return 2;
			cnt++;
		}
		if (cnt == 0)
			return 2;
		if (!allocate(&area, part, cnt, place, &outcome))
			cnt = 0;
		for (size_t i = 0; i < cnt; i++)
			printf("%s%" PRIu64 ",%" PRIu64 ",%" PRIu64, i > 0 ? " " : "", place[i].off,
			       place[i].len, place[i].padding);
		puts(cnt > 0 ? "" : "-");
	}
	return 0;
}
