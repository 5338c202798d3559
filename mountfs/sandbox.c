/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what the process may still do once it serves. The system calls below are all that
 * serving, waiting, logging and ending make, found by tracing the tests and by reading what the C
 * library does for malloc(3), pthread_create(3) and abort(3); each has its reason. What a new piece
 * of code needs beyond them belongs before sandbox_enter(), or, if it cannot be there, into the
 * table together with its reason and into tests/unit/test_sandbox.c.
 *
 * Two things that serving needs are not in the table on purpose: nothing opens (descriptors are
 * made before), and nobody unmounts (mount_delegate_end() starts a process for that).
 */
#include "sandbox.h"

#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "the numbers of system calls have been looked at for x86-64 and arm64 only"
#endif

bool sandbox_is_possible(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
        __has_feature(memory_sanitizer)
	return false;
#else
	return true;
#endif
#else
	return true;
#endif
}

/* ---- system calls ---- */

/*
 * An argument's lower half, masked, must have a value: the kernel takes all arguments that are
 * looked at here as 32 bits, or as flags of which those that matter are in the lower half.
 */
struct condition {
	uint32_t mask, value; /* mask 0: none */
	unsigned arg;
};

struct rule {
	int nr;
	struct condition must[2];
	uint32_t refusal; /* 0: allowed; else this errno rather than death */
};

/* Stands for the number of this process, which is no constant. */
#define OWN_PID UINT32_MAX

#define EXACTLY(n, v)                                                                              \
	{                                                                                          \
		.mask = UINT32_MAX, .value = (v), .arg = (n)                                       \
	}
#define WITHOUT(n, bits)                                                                           \
	{                                                                                          \
		.mask = (bits), .value = 0, .arg = (n)                                             \
	}
#define WITH(n, bits)                                                                              \
	{                                                                                          \
		.mask = (bits), .value = (bits), .arg = (n)                                        \
	}

/* As pthread_create(3) calls clone(2): glibc's flags, and the one that musl adds. */
#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |        \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

static const struct rule rules[] = {
	/* requests, replies, the disk, events, readiness, the log */
	{ __NR_read },
	{ __NR_writev },
	{ __NR_pread64 },
	{ __NR_fadvise64 }, /* keeps the disk from being in memory twice */
	{ __NR_write },
	{ __NR_lseek },                     /* how long a disk is that ends early */
	{ __NR_sendto, { EXACTLY(4, 0) } }, /* on connected sockets: syslog, service manager */
	{ __NR_accept4 }, /* on the socket of --stats, the only one that listens */
	/* the thread's own locks, and waiting */
	{ __NR_futex },
	{ __NR_ppoll },
#ifdef __NR_poll
	{ __NR_poll },
#endif
	{ __NR_nanosleep },
	{ __NR_clock_nanosleep },
	{ __NR_sched_yield },
	{ __NR_restart_syscall }, /* goes on with a wait after SIGCONT */
	{ __NR_clock_gettime },   /* where the clock is not one of the vDSO */
	{ __NR_gettimeofday },
	/* memory: never executable, never a file's */
	{ __NR_brk },
	{ __NR_mmap, { WITHOUT(2, PROT_EXEC), WITH(3, MAP_ANONYMOUS) } },
	{ __NR_mprotect, { WITHOUT(2, PROT_EXEC) } },
	{ __NR_mremap },
	{ __NR_munmap },
	{ __NR_madvise },
	{ __NR_getrandom }, /* malloc, where hardened */
	/* threads of this process, no process */
	{ __NR_clone,
	  { { .mask = ~(uint32_t)THREAD_FLAGS | CLONE_THREAD | CLONE_VM,
	      .value = CLONE_THREAD | CLONE_VM } } },
	{ __NR_clone3, .refusal = ENOSYS }, /* its flags are out of sight: back to clone */
	{ __NR_set_robust_list },
	{ __NR_rseq },
	{ __NR_prctl, { EXACTLY(0, PR_SET_NAME) } },
	{ __NR_exit },
	/* signals: handlers of its own, sent to its own threads */
	{ __NR_rt_sigreturn },
	{ __NR_rt_sigprocmask },
	{ __NR_rt_sigaction },
	{ __NR_getpid },
	{ __NR_gettid },
	{ __NR_tgkill, { EXACTLY(0, OWN_PID) } },
	/* descriptors that are there: closed, or replaced by another one of them */
	{ __NR_close },
#ifdef __NR_dup2
	{ __NR_dup2 },
#endif
	{ __NR_dup3 },
	/* the end */
	{ __NR_exit_group },
};

/* The longest rule: a comparison, two conditions of three, its answer, and the number again. */
#define MAX_RULE_LEN 9
#define MAX_LEN      (5 + ARRAY_LEN(rules) * MAX_RULE_LEN)

struct program {
	unsigned short len;
	struct sock_filter code[MAX_LEN];
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t jump_true, uint8_t jump_false)
{
	p->code[p->len++] = (struct sock_filter){ code, jump_true, jump_false, k };
}

static void add_load(struct program *p, size_t off)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)off, 0, 0);
}

/* The number is in the accumulator before a rule, and after one that does not apply. */
static void add_rule(struct program *p, const struct rule *rule)
{
	unsigned cnt = (rule->must[0].mask != 0) + (rule->must[1].mask != 0);

	add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rule->nr, 0,
	    (uint8_t)(3 * cnt + 1 + (cnt > 0)));
	for (unsigned i = 0; i < cnt; i++) {
		const struct condition *c = &rule->must[i];
		uint32_t value = c->value == OWN_PID ? (uint32_t)getpid() : c->value;

		/* both architectures are little-endian: the lower half comes first */
		add_load(p, offsetof(struct seccomp_data, args[0]) + 8 * c->arg);
		add(p, BPF_ALU | BPF_AND | BPF_K, c->mask, 0, 0);
		add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, (uint8_t)(3 * (cnt - 1 - i) + 1));
	}
	add(p, BPF_RET | BPF_K,
	    rule->refusal ? SECCOMP_RET_ERRNO | rule->refusal : SECCOMP_RET_ALLOW, 0, 0);
	if (cnt > 0)
		add_load(p, offsetof(struct seccomp_data, nr));
}

/* A number of the 32-bit or x32 calls matches none of the rules. */
static void write_program(struct program *p)
{
	add_load(p, offsetof(struct seccomp_data, arch));
	add(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add_load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		add_rule(p, &rules[i]);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
}

static int filter_system_calls(struct diag *d)
{
	struct program p = { .len = 0 };
	struct sock_fprog prog = { .filter = p.code };
	long r;

	write_program(&p);
	prog.len = p.len;
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
	if (r != 0)
		return diag_set_errno(d, r < 0 ? -errno : -EBUSY,
		                      "cannot filter system calls, which the sandbox needs "
		                      "(--no-sandbox serves without it)");
	return 0;
}

/* ---- descriptors ---- */

static bool is_among(int fd, const int *fds, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (fds[i] == fd)
			return true;
	return false;
}

static int close_all_but(const int *keep, size_t cnt, struct diag *d)
{
	scoped_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return diag_set_errno(d, -errno, "/dev/null: cannot open");
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		if (!is_among(fd, keep, cnt))
			dup2(null, fd);
	close(take_fd(&null));
	return privileges_keep_descriptors(keep, cnt, d);
}

/* ---- the C library ---- */

/*
 * With more than one arena glibc opens files at times, and would die of it: in /sys for the number
 * of processors when threads want a ninth, and in /proc for the system's rule of overcommitting
 * when one shrinks. One is enough: serving allocates little, and from what each thread keeps for
 * itself.
 */
static void settle_malloc(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
#endif
}

/* ---- all of it ---- */

int sandbox_enter(const int *keep, size_t cnt, struct diag *d)
{
	int r = close_all_but(keep, cnt, d);

	settle_malloc();
	if (r == 0)
		r = privileges_gain_no_more(d);
	if (r == 0)
		r = privileges_keep(0, d);
	if (r == 0)
		r = privileges_hide_memory(d);
	if (r == 0)
		r = privileges_leave_files(d);
	return r < 0 ? r : filter_system_calls(d);
}
