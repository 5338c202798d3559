/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals of builds: the input is one as it lies on a disk, and then what follows a right header,
 * which no search would come to.
 */
#include "fuzz.h"
#include "journal.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint64_t sizes[] = { 1, 4096, 5000, UINT64_C(1) << 40 };
static const struct journal_plan plan = { .size = sizes, .object_cnt = ARRAY_LEN(sizes) };
#define LEN (JOURNAL_HEADER_LEN + 8 * ARRAY_LEN(sizes))

/* A journal of the plan in which nothing is done. */
static void make_header(uint8_t header[JOURNAL_HEADER_LEN])
{
	int fd = memfd_create("journal", MFD_CLOEXEC);
	struct journal *j = NULL;

	FUZZ_MUST(fd >= 0 &&
	          journal_begin(&(struct journal_place){ .fd = fd }, &plan, &j, NULL) == 0);
	FUZZ_MUST(pread(fd, header, JOURNAL_HEADER_LEN, 0) == JOURNAL_HEADER_LEN);
	journal_free(j);
	close(fd);
}

static void check(const uint8_t *bytes, size_t len)
{
	uint64_t done[ARRAY_LEN(sizes)];

	if (journal_parse(bytes, len, &plan, done) != JOURNAL_CONTINUES)
		return;
	FUZZ_MUST(len == LEN);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		FUZZ_MUST(done[i] <= sizes[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t header[JOURNAL_HEADER_LEN];
	uint8_t *bytes = calloc(1, JOURNAL_HEADER_LEN + len);

	FUZZ_MUST(bytes);
	if (header[0] == 0)
		make_header(header);
	if (len > 0)
		memcpy(bytes + JOURNAL_HEADER_LEN, data, len);
	check(bytes + JOURNAL_HEADER_LEN, len);
	memcpy(bytes, header, JOURNAL_HEADER_LEN);
	check(bytes, JOURNAL_HEADER_LEN + len);
	free(bytes);
	return 0;
}
