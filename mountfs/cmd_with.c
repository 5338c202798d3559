/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --with: a mount for as long as a command runs in it.
 *
 *   parent ─ fork ─ server: cmd_mount() in the foreground ─ ready ──┐          ┌─ SIGTERM ─ ends
 *          └─ waits for ready ──────────────── fork ─ COMMAND ─ ends ┴ reaped ──┘
 *
 * The server is no part of the terminal's foreground group: Ctrl-C is for the command, and the
 * mount has to outlive it. If the parent dies, the kernel ends the server.
 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CANNOT_RUN 126 /* as the shell has it */
#define NOT_FOUND  127
#define KILLED     128 /* and the number of the signal */
#define MOUNT_ENV  "MOUNTFS_MOUNTPOINT"

/* Whom signals are passed on to; 0: nobody. */
static volatile sig_atomic_t command_pid;

static void pass_on(int signal)
{
	if (command_pid > 0)
		kill((pid_t)command_pid, signal);
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED + WTERMSIG(status);
}

/* ---- the server ---- */

__attribute__((noreturn)) static void serve(const struct options *o, const char *dir, int ready_fd,
                                            pid_t parent)
{
	struct options mine = *o;
	char *arg[] = { o->arg[0], (char *)(uintptr_t)dir, NULL };
	struct diag d = DIAG_INIT;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	/* pipes of the command are not ours to keep open */
	if (null >= 0 && (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0))
		report_debug("the standard streams stay open");
	unsetenv("NOTIFY_SOCKET");
	mine.arg = arg;
	mine.arg_cnt = 2;
	mine.foreground = true;
	mine.ready_fd = ready_fd;
	_exit(cmd_mount(&mine, &d) < 0 ? report_diag(&d) : 0);
}

/* Returns when the mount can be used: 0 and the server, or the exit status of one that has said
 * what is wrong. */
static int start_server(const struct options *o, const char *dir, pid_t *server, struct diag *d)
{
	pid_t parent = getpid();
	int fds[2], status = 0;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return diag_set_errno(d, -errno, "cannot make a pipe");
	*server = fork();
	if (*server < 0)
		status = diag_set_errno(d, -errno, "cannot start a process");
	if (*server == 0) {
		close(fds[0]);
		serve(o, dir, fds[1], parent);
	}
	close(fds[1]);
	if (*server > 0 && read(fds[0], &byte, 1) != 1)
		status = wait_for(*server);
	close(fds[0]);
	return status;
}

static int stop_server(pid_t server)
{
	kill(server, SIGTERM);
	return wait_for(server);
}

/* ---- the command ---- */

__attribute__((noreturn)) static void run(char **command, const char *dir)
{
	int err;

	if (chdir(dir) < 0 || setenv(MOUNT_ENV, dir, 1) < 0) {
		report_error("%s: %s", dir, strerror(errno));
		_exit(CANNOT_RUN);
	}
	execvp(command[0], command);
	err = errno;
	report_error("%s: cannot be run: %s", command[0], strerror(err));
	_exit(err == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* The exit status of the command, as a shell would tell it. */
static int run_and_wait(char **command, const char *dir, struct diag *d)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct sigaction pass = { .sa_handler = pass_on };
	pid_t pid = fork();

	if (pid < 0)
		return diag_set_errno(d, -errno, "cannot start a process");
	if (pid == 0)
		run(command, dir);
	command_pid = pid;
	sigaction(SIGINT, &ignore, NULL); /* the terminal tells the command itself */
	sigaction(SIGQUIT, &ignore, NULL);
	sigaction(SIGTERM, &pass, NULL);
	sigaction(SIGHUP, &pass, NULL);
	return wait_for(pid);
}

int cmd_with(const struct options *o, struct diag *d)
{
	const char *tmp = getenv("TMPDIR");
	scoped_free char *dir = NULL;
	pid_t server = -1;
	int r, served;

	if (asprintf(&dir, "%s/mountfs-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp") < 0) {
		dir = NULL;
		return diag_set(d, -ENOMEM, "out of memory");
	}
	if (!mkdtemp(dir))
		return diag_set_errno(d, -errno, "%s: cannot make a directory to mount on", dir);
	r = start_server(o, dir, &server, d);
	if (r == 0) {
		r = run_and_wait(o->arg + 1, dir, d);
		served = stop_server(server);
		/* a command that saw no error on a disk that had one is no success */
		r = r == 0 ? served : r;
	}
	if (rmdir(dir) < 0)
		report_warning("%s: cannot remove the directory: %s", dir, strerror(errno));
	return r;
}
