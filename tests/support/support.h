/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several tests need: stores that fail or lie, allocations that fail on demand, throw-away
 * directories. Linked into tests only.
 */
#ifndef MODELDISK_SUPPORT_H
#define MODELDISK_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blk.h"

/*
 * Fails the k-th allocation (1 = the next one) of the whole process with NULL; 0: none. Allocations
 * are counted whether or not one fails. Test binaries are linked with --wrap for malloc, calloc and
 * realloc.
 */
void support_fail_allocation(unsigned long k);
unsigned long support_allocation_count(void);

/*
 * The same for the system calls that make a file: pwrite (which writes half first), ftruncate,
 * fsync, linkat, renameat. The k-th from now fails with err (ENOSPC, EIO), or kills the process
 * before it is made.
 */
void support_fail_call(unsigned long k, int err);
void support_kill_at_call(unsigned long k);
unsigned long support_call_count(void);
/* openat() with O_TMPFILE fails with EOPNOTSUPP, as on file systems that have no nameless files. */
void support_refuse_tmpfile(bool refuse);

/* Every other pread() is interrupted by a signal, the others give at most seven bytes. */
void support_make_reads_halting(bool halting);

/*
 * ioctl(FICLONERANGE) does what a file system with clones would (by copying) and calls after, or
 * fails with err. Calls are counted either way.
 */
struct support_clones {
	int err;
	void (*after)(void *ctx); /* may be NULL */
	void *ctx;
};
void support_emulate_clones(const struct support_clones *c); /* NULL: no longer */
unsigned long support_clone_count(void);

/* A blk over parent's bytes whose k-th read (1 = the next one) fails with err; 0: none. */
struct support_fault {
	const struct blk *parent;
	unsigned long fail_at, read_cnt;
	int err;
};
int support_fault_blk(struct support_fault *f, struct blk **out);

/* A fresh directory under $TMPDIR, removed with everything in it by support_remove_dir(). Returns a
 * malloc'ed path. */
char *support_make_dir(void);
void support_remove_dir(char *path); /* frees path */

/* Deterministic pseudo-random bytes (splitmix64). */
void support_fill(void *buf, size_t len, uint64_t seed);

#endif
