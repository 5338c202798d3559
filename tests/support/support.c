/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>

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

/* ---- system calls of a writer ---- */

static atomic_ulong call_cnt;
static atomic_ulong call_fail_at;
static atomic_int call_err;
static atomic_bool call_kills;

ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off_t off);
int __real_ftruncate64(int fd, off_t len);
int __real_fsync(int fd);
int __real_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t off);
int __wrap_ftruncate64(int fd, off_t len);
int __wrap_fsync(int fd);
int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);

static atomic_bool tmpfile_refused;

int __wrap_openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if ((flags & O_TMPFILE) == O_TMPFILE && atomic_load(&tmpfile_refused)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	va_start(args, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(args, mode_t);
	va_end(args);
	return __real_openat64(dir, path, flags, mode);
}

void support_refuse_tmpfile(bool refuse)
{
	atomic_store(&tmpfile_refused, refuse);
}

/* ---- reads that stop half-way ---- */

ssize_t __real_pread64(int fd, void *buf, size_t len, off_t off);
ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t off);

static atomic_bool reads_are_halting;
static atomic_ulong halting_read_cnt;

ssize_t __wrap_pread64(int fd, void *buf, size_t len, off_t off)
{
	if (!atomic_load(&reads_are_halting))
		return __real_pread64(fd, buf, len, off);
	if (atomic_fetch_add(&halting_read_cnt, 1) % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	return __real_pread64(fd, buf, MIN(len, 7), off);
}

void support_make_reads_halting(bool halting)
{
	atomic_store(&reads_are_halting, halting);
}

/* ---- clones ---- */

static const struct support_clones *_Atomic clones;
static atomic_ulong clone_cnt;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static int copy_range(int to, const struct file_clone_range *range)
{
	uint8_t block[4096];

	for (uint64_t done = 0; done < range->src_length; done += sizeof(block)) {
		size_t n = MIN(sizeof(block), range->src_length - done);

		if (__real_pread64((int)range->src_fd, block, n,
		                   (off_t)(range->src_offset + done)) != (ssize_t)n ||
		    __real_pwrite64(to, block, n, (off_t)(range->dest_offset + done)) !=
		            (ssize_t)n) {
			errno = EINVAL;
			return -1;
		}
	}
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	const struct support_clones *c = atomic_load(&clones);
	va_list args;
	void *arg;
	int r;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != FICLONERANGE)
		return __real_ioctl(fd, request, arg);
	atomic_fetch_add(&clone_cnt, 1);
	if (!c)
		return __real_ioctl(fd, request, arg);
	errno = c->err;
	r = c->err ? -1 : copy_range(fd, arg);
	if (r == 0 && c->after)
		c->after(c->ctx);
	return r;
}

void support_emulate_clones(const struct support_clones *c)
{
	atomic_store(&clones, c);
}

unsigned long support_clone_count(void)
{
	return atomic_load(&clone_cnt);
}

static bool call_must_fail(void)
{
	unsigned long n = atomic_fetch_add(&call_cnt, 1) + 1;
	unsigned long at = atomic_load(&call_fail_at);

	if (at == 0 || n != at)
		return false;
	if (atomic_load(&call_kills))
		raise(SIGKILL);
	errno = atomic_load(&call_err);
	return true;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	/* half of it is written before the disk is full: the worst case */
	if (call_must_fail()) {
		int err = errno;

		(void)!__real_pwrite64(fd, buf, len / 2, off);
		errno = err;
		return -1;
	}
	return __real_pwrite64(fd, buf, len, off);
}

int __wrap_ftruncate64(int fd, off_t len)
{
	return call_must_fail() ? -1 : __real_ftruncate64(fd, len);
}

int __wrap_fsync(int fd)
{
	return call_must_fail() ? -1 : __real_fsync(fd);
}

int __wrap_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return call_must_fail() ? -1 : __real_linkat(from_dir, from, to_dir, to, flags);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return call_must_fail() ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

void support_fail_call(unsigned long k, int err)
{
	atomic_store(&call_kills, false);
	atomic_store(&call_err, err);
	atomic_store(&call_fail_at, k ? atomic_load(&call_cnt) + k : 0);
}

void support_kill_at_call(unsigned long k)
{
	support_fail_call(k, 0);
	atomic_store(&call_kills, true);
}

unsigned long support_call_count(void)
{
	return atomic_load(&call_cnt);
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
