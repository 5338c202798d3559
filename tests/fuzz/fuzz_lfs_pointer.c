/* SPDX-License-Identifier: Apache-2.0 */
/* Git LFS pointers: the input is a file of a repository. */
#include "fuzz.h"
#include "lfs_pointer.h"
#include "text.h"

#include <inttypes.h>
#include <stdio.h>

/* What it says, written as the specification asks, says the same. */
static void check_canonical(const struct lfs_pointer *p)
{
	char oid[2 * sizeof(p->oid) + 1], text[256];
	struct lfs_pointer again;

	hex_encode(p->oid, sizeof(p->oid), oid);
	snprintf(text, sizeof(text),
	         "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %" PRIu64 "\n",
	         oid, p->size);
	FUZZ_MUST(lfs_pointer_parse(text, strlen(text), &again));
	FUZZ_MUST(memcmp(again.oid, p->oid, sizeof(p->oid)) == 0);
	FUZZ_MUST(again.size == p->size && !again.is_extended);
}

static void check_trim(const char *text, size_t len)
{
	const char *once = text, *twice;
	size_t once_len = len, twice_len;

	lfs_trim(&once, &once_len);
	FUZZ_MUST(once >= text && range_is_inside((size_t)(once - text), once_len, len));
	twice = once;
	twice_len = once_len;
	lfs_trim(&twice, &twice_len);
	FUZZ_MUST(twice_len == once_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* exactly as long as the input, also when that is nothing */
	char *text = calloc(1, len ? len : 1);
	struct lfs_pointer p;

	FUZZ_MUST(text);
	if (len)
		memcpy(text, data, len);
	if (lfs_pointer_parse(text, len, &p)) {
		FUZZ_MUST(len <= LFS_POINTER_MAX_LEN && p.size <= INT64_MAX);
		if (len > 0)
			check_canonical(&p);
	}
	check_trim(text, len);
	free(text);
	return 0;
}
