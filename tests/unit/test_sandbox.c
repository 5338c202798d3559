/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escapes, tried from inside: each case is a process that enters the sandbox and then does what a
 * disk that has found a fault in mountfs would want to do. Refused means killed by SIGSYS, or,
 * where each layer is tried without the filter of system calls, its own error.
 */
#include "support.h"

#include "privileges.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

/* Beyond every number that a kernel of today has. */
#define END_OF_CALLS 1024
#define DEADLINE_S   20

typedef void (*act)(void);

/* How the child that does it ends, as waitpid(2) tells it. _exit(0): it could. */
static int end_of(act prepare, act deed)
{
	struct rlimit no_core = { 0, 0 };
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(DEADLINE_S);
		prepare();
		deed();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void enter(void)
{
	struct diag d = DIAG_INIT;

	if (sandbox_enter(NULL, 0, &d) < 0) {
		fprintf(stderr, "%s\n", d.text);
		_exit(99);
	}
}

static void need_sandbox(void)
{
	if (!sandbox_is_possible())
		skip();
}

static bool was_killed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void must_not(act deed)
{
	int status = end_of(enter, deed);

	if (!was_killed(status))
		fail_msg("it was not killed by SIGSYS: status %#x", (unsigned)status);
}

static void can(act deed)
{
	assert_int_equal(end_of(enter, deed), 0);
}

static void check(bool ok)
{
	if (!ok)
		_exit(1);
}

/* ---- escapes ---- */

static void do_open(void)
{
	(void)!open("/etc/passwd", O_RDONLY);
}

static void do_make_file(void)
{
	(void)!openat(AT_FDCWD, "/tmp/escaped", O_CREAT | O_WRONLY, 0600);
}

static void nothing_can_be_opened(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_open);
	must_not(do_make_file);
}

static void do_exec(void)
{
	execl("/bin/true", "true", (char *)NULL);
}

static void do_execveat(void)
{
	syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0);
}

static void no_program_can_be_executed(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_exec);
	must_not(do_execveat);
}

static void do_fork(void)
{
	(void)!fork();
}

static void do_clone_process(void)
{
	syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

/* A thread's flags and a new namespace in one. */
static void do_clone_namespace(void)
{
	syscall(SYS_clone,
	        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET,
	        NULL, NULL, NULL, NULL);
}

static void do_unshare(void)
{
	(void)!unshare(CLONE_NEWUSER);
}

static void do_setns(void)
{
	(void)!setns(0, 0);
}

static void there_are_threads_but_no_processes_and_no_namespaces(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_fork);
	must_not(do_clone_process);
	must_not(do_clone_namespace);
	must_not(do_unshare);
	must_not(do_setns);
}

static void do_socket(void)
{
	(void)!socket(AF_INET, SOCK_STREAM, 0);
}

static void do_connect(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "/run/docker.sock" };

	(void)!connect(0, (struct sockaddr *)&at, sizeof(at));
}

static void do_sendto(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };

	(void)!sendto(0, "x", 1, 0, (struct sockaddr *)&at, sizeof(at));
}

static void nobody_new_can_be_talked_to(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_socket);
	must_not(do_connect);
	must_not(do_sendto);
}

static void do_ptrace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void do_read_memory(void)
{
	syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0);
}

static void do_kill(void)
{
	kill(1, 0);
}

static void do_kill_thread_of_another(void)
{
	syscall(SYS_tgkill, 1, 1, 0);
}

static void no_other_process_can_be_touched(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_ptrace);
	must_not(do_read_memory);
	must_not(do_kill);
	must_not(do_kill_thread_of_another);
}

static void do_mount(void)
{
	(void)!mount("none", "/mnt", "tmpfs", 0, NULL);
}

static void do_umount(void)
{
	(void)!umount2("/mnt", MNT_DETACH);
}

static void do_ioctl(void)
{
	struct winsize w;

	(void)!ioctl(0, TIOCGWINSZ, &w);
}

static void do_prctl(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void the_system_cannot_be_changed(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_mount);
	must_not(do_umount);
	must_not(do_ioctl);
	must_not(do_prctl);
}

static void do_map_code(void)
{
	(void)!mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_make_code(void)
{
	static uint8_t page[8192];
	uintptr_t at = round_up((uintptr_t)page, 4096);

	(void)!mprotect((void *)at, 4096, PROT_READ | PROT_EXEC);
}

static void do_map_file(void)
{
	(void)!mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
}

static void memory_never_becomes_code_and_files_are_never_mapped(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_map_code);
	must_not(do_make_code);
	must_not(do_map_file);
}

#ifdef __x86_64__
/* The calls of other ABIs have other numbers: that must be no way round. */
static void do_x32_getpid(void)
{
	syscall(0x40000000 | SYS_getpid);
}

static void do_i386_open(void)
{
	long result;

	/* open(2) is 5 there, and fstat(2) here */
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(5), "b"(0), "c"(0), "d"(0) : "memory");
	(void)result;
}

static void other_abis_are_no_way_round(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_x32_getpid);
	must_not(do_i386_open);
}
#endif

/* ---- every system call there is ---- */

/* Those that sandbox.c allows, in the same order. Whoever adds one there says it here again. */
/* clang-format off */
static const long allowed[] = {
	SYS_read,
	SYS_writev,
	SYS_pread64,
	SYS_fadvise64,
	SYS_write,
	SYS_lseek,
	SYS_sendto,
	SYS_accept4,
	SYS_futex,
	SYS_ppoll,
#ifdef SYS_poll
	SYS_poll,
#endif
	SYS_nanosleep,
	SYS_clock_nanosleep,
	SYS_sched_yield,
	SYS_restart_syscall,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_brk,
	SYS_mmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_munmap,
	SYS_madvise,
	SYS_getrandom,
	SYS_clone,
	SYS_clone3,
	SYS_set_robust_list,
	SYS_rseq,
	SYS_prctl,
	SYS_exit,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_rt_sigaction,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	SYS_close,
#ifdef SYS_dup2
	SYS_dup2,
#endif
	SYS_dup3,
	SYS_exit_group,
};
/* clang-format on */

static bool is_allowed(long nr)
{
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (allowed[i] == nr)
			return true;
	return false;
}

/*
 * uretprobe(2) and uprobe(2): Linux passes them by every filter, and refuses them itself where no
 * probe was set.
 */
static bool is_probe(long nr)
{
#ifdef __x86_64__
	return nr == 335 || nr == 336;
#else
	(void)nr;
	return false;
#endif
}

static long number;

/* All arguments -1: no descriptor, no flags, no pointer that would work if the call was made. */
static void do_number(void)
{
	syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
}

static void every_system_call_that_is_not_listed_kills(void **state)
{
	unsigned killed = 0;

	(void)state;
	need_sandbox();
	for (number = 0; number < END_OF_CALLS; number++) {
		if (is_allowed(number) || is_probe(number))
			continue;
		if (!was_killed(end_of(enter, do_number)))
			fail_msg("system call %ld is let through", number);
		killed++;
	}
	assert_true(killed + ARRAY_LEN(allowed) + 2 >= END_OF_CALLS);
}

/* ---- what serving needs ---- */

static void do_clone3(void)
{
	check(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
}

/* All at once, so that malloc(3) wants more arenas than it makes without asking the system. */
static pthread_barrier_t all_there;

/* Enough for an arena to shrink again, if nothing large was freed before. */
static void fill_and_empty(void)
{
	void *p[2000];

	for (size_t i = 0; i < ARRAY_LEN(p); i++)
		p[i] = malloc(1000);
	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		check(p[i] != NULL);
		free(p[i]);
	}
}

static void *allocate(void *arg)
{
	fill_and_empty();
	for (size_t len = 1; len < 16 * MIB; len *= 3) {
		uint8_t *p = malloc(len);

		check(p != NULL);
		p[len - 1] = 1;
		if (len == 1)
			pthread_barrier_wait(&all_there);
		p = realloc(p, 2 * len);
		check(p != NULL && p[len - 1] == 1);
		free(p);
	}
	return arg;
}

static void *sleep_long(void *arg)
{
	pause();
	return arg;
}

static void run_threads(void)
{
	pthread_t t[64];

	pthread_barrier_init(&all_there, NULL, ARRAY_LEN(t));
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		check(pthread_create(&t[i], NULL, allocate, NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		check(pthread_join(t[i], NULL) == 0);
}

static void do_abort(void)
{
	abort();
}

static void memory_threads_and_abort_work(void **state)
{
	int status;

	(void)state;
	need_sandbox();
	can(do_clone3);
	can(run_threads);
	/* an assertion that fails is seen as what it is */
	status = end_of(enter, do_abort);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void *open_in_thread(void *arg)
{
	do_open();
	return arg;
}

static void do_open_in_thread(void)
{
	pthread_t t;

	check(pthread_create(&t, NULL, open_in_thread, NULL) == 0);
	pthread_join(t, NULL);
}

/* TSYNC: also a thread that was there before. */
static void enter_beside_a_thread(void)
{
	static pthread_t t;

	check(pthread_create(&t, NULL, sleep_long, NULL) == 0);
	enter();
	pthread_kill(t, 0);
}

static void threads_are_inside_too(void **state)
{
	(void)state;
	need_sandbox();
	must_not(do_open_in_thread);
	assert_true(was_killed(end_of(enter_beside_a_thread, do_open_in_thread)));
}

static int kept_fd = -1, closed_fd = -1;

static void enter_with_fd(void)
{
	struct diag d = DIAG_INIT;
	int keep[] = { -1, kept_fd, -1, kept_fd };

	check(sandbox_enter(keep, ARRAY_LEN(keep), &d) == 0);
}

static void use_fds(void)
{
	char byte;

	check(pread(kept_fd, &byte, 1, 0) == 1 && byte == 'k');
	check(pread(closed_fd, &byte, 1, 0) == -1 && errno == EBADF);
	check(write(STDERR_FILENO, "", 0) == 0);
	check(read(STDIN_FILENO, &byte, 1) == 0); /* /dev/null */
	for (int fd = STDERR_FILENO + 1; fd < 1000; fd++)
		check(fd == kept_fd || (close(fd) == -1 && errno == EBADF));
}

static void only_the_descriptors_that_are_kept_stay_open(void **state)
{
	FILE *kept = tmpfile(), *closed = tmpfile();

	(void)state;
	need_sandbox();
	fputs("k", kept);
	fflush(kept);
	/* far apart, with gaps around them */
	kept_fd = fcntl(fileno(kept), F_DUPFD, 200);
	closed_fd = fcntl(fileno(closed), F_DUPFD, 300);
	assert_int_equal(end_of(enter_with_fd, use_fds), 0);
	close(kept_fd);
	close(closed_fd);
	fclose(kept);
	fclose(closed);
}

/* ---- the layers behind the filter, each for itself ---- */

static uint64_t status_field(const char *name)
{
	char line[256];
	uint64_t value = UINT64_MAX;
	FILE *f = fopen("/proc/self/status", "re");

	check(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name) + 1, NULL, 16);
	fclose(f);
	return value;
}

static void nothing(void)
{
}

static void give_up_capabilities(void)
{
	check(privileges_keep(0, NULL) == 0);
	for (size_t i = 0; i < 4; i++) {
		static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };

		check(status_field(sets[i]) == 0);
	}
	/* an ordinary user cannot limit it, and gains nothing by it once no_new_privs is set */
	check(geteuid() != 0 || status_field("CapBnd") == 0);
	check(umount2("/", MNT_DETACH) == -1 && errno == EPERM);
}

static void keep_one_capability(void)
{
	uint64_t one = UINT64_C(1) << CAP_KILL, had = status_field("CapPrm");

	check(privileges_keep(one, NULL) == 0);
	check(status_field("CapEff") == (had & one) && status_field("CapPrm") == (had & one));
}

static void capabilities_are_given_up_in_every_set(void **state)
{
	(void)state;
	assert_int_equal(end_of(nothing, give_up_capabilities), 0);
	assert_int_equal(end_of(nothing, keep_one_capability), 0);
}

static void hide(void)
{
	check(privileges_gain_no_more(NULL) == 0 && privileges_hide_memory(NULL) == 0);
	check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void new_rights_and_looks_from_outside_are_refused(void **state)
{
	(void)state;
	assert_int_equal(end_of(nothing, hide), 0);
}

static bool kernel_has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static void leave_files(void)
{
	check(privileges_gain_no_more(NULL) == 0 && privileges_leave_files(NULL) == 1);
	check(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
	check(open("/", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
	check(open("/tmp", O_TMPFILE | O_WRONLY, 0600) == -1 && errno == EACCES);
	check(mkdir("/tmp/escaped", 0700) == -1 && errno == EACCES);
	execl("/bin/true", "true", (char *)NULL);
	check(errno == EACCES);
}

static void landlock_leaves_no_file_to_open(void **state)
{
	(void)state;
	if (!kernel_has_landlock())
		skip();
	assert_int_equal(end_of(nothing, leave_files), 0);
}

static char inside[] = "/tmp/test_sandbox_inside_XXXXXX",
            outside[] = "/tmp/test_sandbox_outside_XXXXXX";

static int create(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_CREAT | O_RDWR, 0600);
}

static void limit_writes(void)
{
	const char *const paths[] = { inside, "/no/such/path", "/dev/null" };
	char from[256], to[256];

	snprintf(from, sizeof(from), "%s/old", outside);
	snprintf(to, sizeof(to), "%s/new", inside);
	check(privileges_gain_no_more(NULL) == 0);
	check(privileges_limit_writes(paths, ARRAY_LEN(paths), NULL) >= 0);
	check(create(inside, "file") >= 0);
	check(open("/dev/null", O_WRONLY) >= 0);
	check(open(from, O_RDONLY) >= 0);
	check(open(from, O_WRONLY) == -1 && errno == EACCES);
	check(create(outside, "file") == -1 && errno == EACCES);
	check(unlink(from) == -1 && errno == EACCES);
	check(rename(from, to) == -1 && (errno == EACCES || errno == EXDEV));
	check(symlink("x", from) == -1 && errno != 0);
	check(mkdir(to, 0700) == 0 && rmdir(to) == 0);
}

static void writes_end_where_they_are_allowed(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		skip();
	assert_true(mkdtemp(inside) && mkdtemp(outside));
	assert_true(create(outside, "old") >= 0);
	assert_int_equal(end_of(nothing, limit_writes), 0);
}

static int remove_dirs(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s %s", inside, outside);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_can_be_opened),
		cmocka_unit_test(no_program_can_be_executed),
		cmocka_unit_test(there_are_threads_but_no_processes_and_no_namespaces),
		cmocka_unit_test(nobody_new_can_be_talked_to),
		cmocka_unit_test(no_other_process_can_be_touched),
		cmocka_unit_test(the_system_cannot_be_changed),
		cmocka_unit_test(memory_never_becomes_code_and_files_are_never_mapped),
#ifdef __x86_64__
		cmocka_unit_test(other_abis_are_no_way_round),
#endif
		cmocka_unit_test(every_system_call_that_is_not_listed_kills),
		cmocka_unit_test(memory_threads_and_abort_work),
		cmocka_unit_test(threads_are_inside_too),
		cmocka_unit_test(only_the_descriptors_that_are_kept_stay_open),
		cmocka_unit_test(capabilities_are_given_up_in_every_set),
		cmocka_unit_test(new_rights_and_looks_from_outside_are_refused),
		cmocka_unit_test(landlock_leaves_no_file_to_open),
		cmocka_unit_test_teardown(writes_end_where_they_are_allowed, remove_dirs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
