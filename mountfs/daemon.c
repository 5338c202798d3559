/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the process. The main thread waits for events (a signal, readiness, a broken proof,
 * threads that end) and decides; the threads of the loop below only serve.
 *
 *   daemon_fork ─ mount_new ─ daemon_serve ─┬─ N threads: receive, process, receive ...
 *                                           └─ main: ready ─ wait ─ stop threads ─ (unmount)
 *
 * Ending comes from the inside out: threads finish the request in their hands and are joined, then
 * the caller unmounts lazily and closes the connection, so whatever still waits gets ENOTCONN at
 * once instead of hanging.
 */
#include "daemon.h"

#include "report.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MIN_THREADS 4
#define MAX_THREADS 64

/* Unmounting takes the rest of the second that an end may last. */
#define STOP_TIMEOUT_MS 700
#define STOP_STEP_MS    5

/* Interrupts a thread's wait for a request, nothing else. */
#define WAKE_SIGNAL SIGUSR1

struct worker {
	struct daemon *dm;
	pthread_t thread;
	struct ops_thread *ops;
};

struct daemon {
	struct daemon_options o;
	unsigned worker_cnt, started_cnt;
	struct worker *worker;
	struct fuse_session *session;
	int event_fd, signal_fd;
	int manager_fd; /* to the service manager; -1: none waits */
	int null_fd;    /* in the background: for 0 to 2 once ready; else -1 */
	/* written by any thread, told through event_fd */
	atomic_bool is_ready, is_corrupt, has_ended;
	atomic_int loop_err;
	atomic_uint running_cnt;
	_Atomic uint64_t request_cnt;
};

/* ---- background ---- */

void daemon_open_std(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* The parent's half of daemon_fork(): a byte says ready, the end of file that the child has ended.
 */
__attribute__((noreturn)) static void wait_for_child(pid_t child, int fd)
{
	char byte;
	int status = 0;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	report_error("the background process was killed by signal %d before the mount was ready",
	             WTERMSIG(status));
	_exit(1);
}

int daemon_fork(int *status_fd, struct diag *d)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return diag_set_errno(d, -errno, "cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		int err = errno;

		close(fds[0]);
		close(fds[1]);
		return diag_set_errno(d, -err, "cannot go into the background");
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(pid, fds[0]);
	}
	close(fds[0]);
	*status_fd = fds[1];
	return 0;
}

/* The half of leaving that cannot wait until the sandbox is closed. */
static int leave_session(struct daemon *dm, struct diag *d)
{
	setsid();
	if (chdir("/") < 0)
		report_debug("cannot change to /, the working directory stays in use");
	dm->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return dm->null_fd < 0 ? diag_set_errno(d, -errno, "/dev/null: cannot open") : 0;
}

static void leave_terminal(struct daemon *dm)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(dm->null_fd, fd);
	scope_close(&dm->null_fd);
}

/* ---- telling who waits ---- */

/* sd_notify(3), connected while that is still possible. Nobody there: nothing to do. */
static int connect_manager(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	scoped_fd int fd = -1;

	if (len == 0 || len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr,
	                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		report_warning("cannot reach the service manager at %s: %s", path, strerror(errno));
	else
		return take_fd(&fd);
	return -1;
}

static void notify_manager(int fd, const char *state)
{
	if (fd >= 0 && send(fd, state, strlen(state), MSG_NOSIGNAL) < 0)
		report_warning("cannot notify the service manager: %s", strerror(errno));
}

static void tell_manager_ready(int fd)
{
	char state[64];

	snprintf(state, sizeof(state), "READY=1\nMAINPID=%ld", (long)getpid());
	notify_manager(fd, state);
}

void daemon_tell_manager(void)
{
	scoped_fd int fd = connect_manager();

	tell_manager_ready(fd);
}

static void write_and_close(int *fd, const char *text)
{
	if (*fd < 0)
		return;
	if (write(*fd, text, strlen(text)) < 0)
		report_warning("cannot tell readiness: %s", strerror(errno));
	close(*fd);
	*fd = -1;
}

static void tell_ready(struct daemon *dm)
{
	tell_manager_ready(dm->manager_fd);
	write_and_close(&dm->o.ready_fd, "ready\n");
	if (dm->o.status_fd < 0)
		return;
	leave_terminal(dm);
	write_and_close(&dm->o.status_fd, "r");
}

/* ---- events ---- */

static void wake_main(struct daemon *dm)
{
	uint64_t one = 1;
	ssize_t ignored = write(dm->event_fd, &one, sizeof(one));

	(void)ignored; /* a full counter has woken main already */
}

static void on_ready(void *ctx)
{
	struct daemon *dm = ctx;

	atomic_store(&dm->is_ready, true);
	wake_main(dm);
}

static void on_corruption(void *ctx)
{
	struct daemon *dm = ctx;

	atomic_store(&dm->is_corrupt, true);
	if (dm->o.exit_on_corruption)
		wake_main(dm);
}

struct ops_hooks daemon_hooks(struct daemon *dm)
{
	return (struct ops_hooks){ .on_ready = on_ready,
		                   .on_corruption = on_corruption,
		                   .ctx = dm,
		                   .thread_cnt = dm->worker_cnt };
}

/* ---- threads that serve ---- */

static void *serve(void *arg)
{
	struct worker *w = arg;
	struct daemon *dm = w->dm;
	struct fuse_buf request = { .mem = NULL };

	ops_thread_begin(w->ops);
	while (!fuse_session_exited(dm->session)) {
		int r = fuse_session_receive_buf(dm->session, &request);

		if (r == -EINTR)
			continue;
		if (r <= 0) { /* 0: unmounted */
			if (r < 0)
				atomic_store(&dm->loop_err, r);
			break;
		}
		atomic_fetch_add_explicit(&dm->request_cnt, 1, memory_order_relaxed);
		fuse_session_process_buf(dm->session, &request);
	}
	free(request.mem);
	atomic_store(&dm->has_ended, true);
	atomic_fetch_sub(&dm->running_cnt, 1);
	wake_main(dm);
	return NULL;
}

static int start_workers(struct daemon *dm, struct diag *d)
{
	for (unsigned i = 0; i < dm->worker_cnt; i++) {
		struct worker *w = &dm->worker[i];
		int err;

		atomic_fetch_add(&dm->running_cnt, 1);
		err = pthread_create(&w->thread, NULL, serve, w);
		if (err != 0) {
			atomic_fetch_sub(&dm->running_cnt, 1);
			return diag_set_errno(d, -err, "cannot start thread %u of %u", i + 1,
			                      dm->worker_cnt);
		}
		dm->started_cnt++;
	}
	return 0;
}

/*
 * False if a thread is still busy after the timeout. The signal is repeated, because it does
 * nothing to a thread that is between looking at the exit flag and waiting for a request.
 */
static bool stop_workers(struct daemon *dm)
{
	fuse_session_exit(dm->session);
	for (int ms = 0; atomic_load(&dm->running_cnt) > 0; ms += STOP_STEP_MS) {
		if (ms >= STOP_TIMEOUT_MS)
			return false;
		for (unsigned i = 0; i < dm->started_cnt; i++)
			pthread_kill(dm->worker[i].thread, WAKE_SIGNAL);
		poll(NULL, 0, STOP_STEP_MS);
	}
	for (unsigned i = 0; i < dm->started_cnt; i++)
		pthread_join(dm->worker[i].thread, NULL);
	dm->started_cnt = 0;
	return true;
}

/* ---- main ---- */

static unsigned default_thread_cnt(void)
{
	long cpu_cnt = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)MIN(MAX(2 * cpu_cnt, MIN_THREADS), MAX_THREADS);
}

static int new_workers(struct daemon *dm)
{
	dm->worker = calloc(dm->worker_cnt, sizeof(*dm->worker));
	for (unsigned i = 0; dm->worker && i < dm->worker_cnt; i++) {
		dm->worker[i].dm = dm;
		if (ops_thread_new(&dm->worker[i].ops) < 0)
			return -ENOMEM;
	}
	return dm->worker ? 0 : -ENOMEM;
}

int daemon_new(const struct daemon_options *o, struct daemon **out, struct diag *d)
{
	scoped(daemon) struct daemon *dm = calloc(1, sizeof(*dm));

	if (!dm)
		return diag_set(d, -ENOMEM, "out of memory");
	dm->o = *o;
	dm->signal_fd = dm->manager_fd = dm->null_fd = -1;
	dm->worker_cnt = o->thread_cnt ? o->thread_cnt : default_thread_cnt();
	dm->o.stats.request_cnt = &dm->request_cnt;
	dm->o.stats.thread_cnt = dm->worker_cnt;
	dm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dm->event_fd < 0)
		return diag_set_errno(d, -errno, "cannot make an event descriptor");
	if (new_workers(dm) < 0)
		return diag_set(d, -ENOMEM, "out of memory for %u threads", dm->worker_cnt);
	if (o->ready_fd >= 0)
		fcntl(o->ready_fd, F_SETFD, FD_CLOEXEC); /* not for fusermount3 */
	*out = take_ptr(dm);
	return 0;
}

void daemon_free(struct daemon *dm)
{
	if (!dm)
		return;
	for (unsigned i = 0; dm->worker && i < dm->worker_cnt; i++)
		ops_thread_free(dm->worker[i].ops);
	free(dm->worker);
	scope_close(&dm->event_fd);
	scope_close(&dm->signal_fd);
	scope_close(&dm->manager_fd);
	scope_close(&dm->null_fd);
	scope_close(&dm->o.stats_fd);
	scope_close(&dm->o.ready_fd);
	scope_close(&dm->o.status_fd);
	free(dm);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/* Signals that ask to end become readable; threads made later never see them. */
static int take_signals(struct daemon *dm, struct diag *d)
{
	struct sigaction wake = { .sa_handler = ignore_signal }; /* no SA_RESTART: it interrupts */
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigaction(WAKE_SIGNAL, &wake, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	dm->signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	if (dm->signal_fd < 0)
		return diag_set_errno(d, -errno, "cannot receive signals");
	return 0;
}

/* Waits for the next event; true: it is time to end. */
static bool wait_for_end(struct daemon *dm, bool *told_ready)
{
	struct pollfd fds[] = { { .fd = dm->event_fd, .events = POLLIN },
		                { .fd = dm->signal_fd, .events = POLLIN },
		                { .fd = dm->o.stats_fd, .events = POLLIN } };
	struct signalfd_siginfo info;
	uint64_t ignored;

	if (poll(fds, ARRAY_LEN(fds), -1) < 0)
		return errno != EINTR;
	if (read(dm->event_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		return true;
	if (read(dm->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		report_debug("ending on signal %u", info.ssi_signo);
		return true;
	}
	if (fds[2].revents != 0)
		stats_answer(dm->o.stats_fd, &dm->o.stats);
	if (atomic_load(&dm->is_ready) && !*told_ready) {
		*told_ready = true;
		tell_ready(dm);
	}
	return atomic_load(&dm->has_ended) ||
	       (atomic_load(&dm->is_corrupt) && dm->o.exit_on_corruption);
}

PRINTF_LIKE(2, 0)
static void log_of_libfuse(enum fuse_log_level level, const char *fmt, va_list args)
{
	char text[1024];

	if (vsnprintf(text, sizeof(text), fmt, args) <= 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (text[0] != '\0')
		report(level <= FUSE_LOG_WARNING ? REPORT_WARNING : REPORT_DEBUG, "%s", text);
}

/* Why it ended, as a result. */
static int outcome(struct daemon *dm, bool was_ready, struct diag *d)
{
	int err = atomic_load(&dm->loop_err);

	if (atomic_load(&dm->is_corrupt) && dm->o.exit_on_corruption)
		return diag_set(d, -EBADMSG,
		                "the disk is not what the root hash says: unmounting, as "
		                "--on-corruption=exit demands");
	if (err < 0)
		return diag_set_errno(d, err, "the FUSE connection broke");
	if (!was_ready && atomic_load(&dm->has_ended))
		return diag_set(d, -EIO, "the kernel ended the FUSE connection at once");
	return 0;
}

/* After this only descriptors that exist are used, and nothing is opened, connected or executed. */
static int close_sandbox(struct daemon *dm, struct mount *m, int syslog_fd, struct diag *d)
{
	int keep[MOUNT_FDS + IMAGE_FDS + 8];
	size_t cnt;
	int r = mount_delegate_end(m, d);

	if (r < 0)
		return r;
	cnt = mount_fds(m, keep);
	for (size_t i = 0; i < IMAGE_FDS; i++)
		keep[cnt++] = dm->o.disk_fd[i];
	keep[cnt++] = dm->event_fd;
	keep[cnt++] = dm->signal_fd;
	keep[cnt++] = dm->manager_fd;
	keep[cnt++] = dm->null_fd;
	keep[cnt++] = dm->o.stats_fd;
	keep[cnt++] = dm->o.ready_fd;
	keep[cnt++] = dm->o.status_fd;
	keep[cnt++] = syslog_fd;
	return sandbox_enter(keep, cnt, d);
}

/* What serving needs is opened, the rest is given up. */
static int prepare(struct daemon *dm, struct mount *m, struct diag *d)
{
	int r = take_signals(dm, d), syslog_fd = -1;

	dm->manager_fd = connect_manager();
	if (r == 0 && dm->o.status_fd >= 0) {
		syslog_fd = report_to_syslog(REPORT_SYSLOG);
		r = leave_session(dm, d);
	}
	if (r == 0 && !dm->o.no_sandbox && sandbox_is_possible())
		return close_sandbox(dm, m, syslog_fd, d);
	if (r == 0)
		report_warning("serving WITHOUT A SANDBOX, %s: a fault in mountfs that a disk "
		               "makes use of is a way into this account",
		               dm->o.no_sandbox ? "as --no-sandbox demands"
		                                : "because it was built with a sanitizer");
	return r == 0 && dm->o.auto_unmount ? mount_delegate_end(m, d) : r;
}

int daemon_serve(struct daemon *dm, struct mount *m, struct diag *d)
{
	bool told_ready = false;
	int r;

	dm->session = mount_session(m);
	fuse_set_log_func(log_of_libfuse);
	r = prepare(dm, m, d);
	if (r == 0)
		r = start_workers(dm, d);
	while (r == 0 && !wait_for_end(dm, &told_ready))
		;
	if (told_ready)
		notify_manager(dm->manager_fd, "STOPPING=1");
	if (r == 0)
		r = outcome(dm, told_ready, d);
	if (!stop_workers(dm)) {
		report_warning("a request still waits for the disk after %d ms: leaving it behind",
		               STOP_TIMEOUT_MS);
		mount_end(m);
		_exit(r < 0 ? report_diag(d) : 0);
	}
	return r;
}
