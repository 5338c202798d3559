/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountfs as a process: in the background, ready, serving, ending. Start-up and end belong to the
 * main thread; the threads that serve are this module's own.
 */
#ifndef MODELDISK_DAEMON_H
#define MODELDISK_DAEMON_H

#include "mount.h"
#include "stats.h"

/*
 * Makes descriptors 0 to 2 exist, so that no disk becomes somebody's stderr. Before anything else.
 */
void daemon_open_std(void);

/*
 * Goes into the background: returns in the child only, with a descriptor that daemon_serve() takes.
 * The parent waits until the child is ready, or has ended, and exits with the same status.
 * Before there are threads.
 */
int daemon_fork(int *status_fd, struct diag *d) MUST_CHECK;

/* Tells the service manager, if there is one, that this process is ready: for a mount that the
 * kernel serves. */
void daemon_tell_manager(void);

struct daemon_options {
	unsigned thread_cnt; /* 0: as the machine is */
	int ready_fd;        /* gets "ready\n" and is closed; -1: none */
	int status_fd;       /* of daemon_fork(); -1: in the foreground */
	bool exit_on_corruption;
	int stats_fd;              /* listens: stats.h; -1: none */
	struct stats_source stats; /* besides what the daemon counts itself */
	bool no_sandbox, auto_unmount;
	int disk_fd[IMAGE_FDS]; /* all of the disk that a sandbox keeps */
};

struct daemon;
/* Reserves what serving needs; mount_new() comes after, daemon_hooks() goes into its ops. */
int daemon_new(const struct daemon_options *o, struct daemon **out, struct diag *d) MUST_CHECK;
void daemon_free(struct daemon *dm); /* NULL allowed */
DEFINE_SCOPED(daemon, struct daemon *, daemon_free)
struct ops_hooks daemon_hooks(struct daemon *dm);

/*
 * Serves the mount until it is unmounted (0), a signal asks to end (0), a proof fails with
 * exit_on_corruption (-EBADMSG), or the connection breaks. Then no thread serves any more; a thread
 * that a disk holds captive for too long is left behind after unmounting, and the process ends
 * here.
 */
int daemon_serve(struct daemon *dm, struct mount *m, struct diag *d) MUST_CHECK;

#endif
