/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_ulong alloc_cnt;
static atomic_ulong alloc_fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t cnt, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t cnt, size_t size);
void *__wrap_realloc(void *p, size_t size);

static bool allocation_must_fail(void)
{
	unsigned long n = atomic_fetch_add(&alloc_cnt, 1) + 1;
	unsigned long at = atomic_load(&alloc_fail_at);

	return at != 0 && n == at;
}

void *__wrap_malloc(size_t size)
{
	return allocation_must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t cnt, size_t size)
{
	return allocation_must_fail() ? NULL : __real_calloc(cnt, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return allocation_must_fail() ? NULL : __real_realloc(p, size);
}

void support_fail_allocation(unsigned long k)
{
	atomic_store(&alloc_fail_at, k ? atomic_load(&alloc_cnt) + k : 0);
}

unsigned long support_allocation_count(void)
{
	return atomic_load(&alloc_cnt);
}

static int fault_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct support_fault *f = ctx;

	if (++f->read_cnt == f->fail_at)
		return f->err;
	return blk_read(f->parent, off, buf, len, NULL);
}

int support_fault_blk(struct support_fault *f, struct blk **out)
{
	static const struct blk_ops ops = { .read = fault_read };

	return blk_new(&ops, f, blk_size(f->parent), "faulty", out);
}

char *support_make_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *path = NULL;

	assert_true(asprintf(&path, "%s/modeldisk-test-XXXXXX", base ? base : "/tmp") > 0);
	assert_non_null(mkdtemp(path));
	return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void support_remove_dir(char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
	free(path);
}

void support_fill(void *buf, size_t len, uint64_t seed)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			seed += UINT64_C(0x9E3779B97F4A7C15);
		uint64_t z = seed;

		z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
		z ^= z >> 31;
		p[i] = (uint8_t)(z >> (8 * (i % 8)));
	}
}
