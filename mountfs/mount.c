/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a mount with libfuse, and finding out why it failed. libfuse and fusermount3 speak to
 * stderr in their own words and say little through their results, so their words are caught, and
 * turned into one sentence that says what to do.
 */
#include "mount.h"

#include "kernel.h"
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEV_FUSE     "/dev/fuse"
#define SUBTYPE      "mountfs"
#define COMPLAIN_LEN 1024

/* For fusermount3 on a busy machine; then the mount is left to whoever finds it. */
#define UNMOUNT_TIMEOUT_MS 10000

/* How long a process that is killed may take to close its descriptors. */
#define DYING_TIMEOUT_MS 5000
#define DYING_STEP_MS    20

struct mount {
	struct fuse_session *session;
	bool is_mounted, is_fd; /* is_fd: somebody else has mounted, and unmounts */
	bool auto_unmount;
	char *mountpoint; /* absolute; NULL with is_fd */
	int unmounter_fd; /* to the process that unmounts; -1: it is done here */
	int null_fd;      /* takes the place of the connection at its end; -1 as above */
};

/* ---- what libfuse and fusermount3 complain about ---- */

/* Goes to stderr, wherever that leads now: also from the child that runs fusermount3. */
PRINTF_LIKE(2, 0)
static void log_to_stderr(enum fuse_log_level level, const char *fmt, va_list args)
{
	(void)level;
	vdprintf(STDERR_FILENO, fmt, args);
}

struct capture {
	int file, saved_stderr;
};

/* From here to capture_end() stderr is a file in memory. Without memory for it, words get through.
 */
static struct capture capture_begin(void)
{
	struct capture c = { .file = memfd_create("stderr", MFD_CLOEXEC), .saved_stderr = -1 };

	if (c.file >= 0)
		c.saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (c.saved_stderr >= 0)
		dup2(c.file, STDERR_FILENO);
	return c;
}

/* The last line that was said, without its end; "" if none. */
static void capture_end(struct capture *c, char out[COMPLAIN_LEN])
{
	ssize_t len = -1;
	char *last;

	if (c->saved_stderr >= 0) {
		dup2(c->saved_stderr, STDERR_FILENO);
		close(c->saved_stderr);
	}
	if (c->file >= 0) {
		len = pread(c->file, out, COMPLAIN_LEN - 1, 0);
		close(c->file);
	}
	out[MAX(len, 0)] = '\0';
	for (size_t end = strlen(out); end > 0 && out[end - 1] == '\n';)
		out[--end] = '\0';
	last = strrchr(out, '\n');
	if (last)
		memmove(out, last + 1, strlen(last));
}

/* ---- what has to be true before ---- */

static int check_dev_fuse(struct diag *d)
{
	scoped_fd int fd = open(DEV_FUSE, O_RDWR | O_CLOEXEC);
	int err = errno;

	if (fd >= 0)
		return 0;
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return diag_set(d, -err,
		                DEV_FUSE " is missing: load the kernel module (modprobe fuse), or "
		                         "give the container the device (--device " DEV_FUSE ")");
	case EACCES:
		return diag_set(d, -err,
		                DEV_FUSE " may not be opened by this user: it is usually open to "
		                         "all (chmod 0666 " DEV_FUSE
		                         "), or mount as root or over /dev/fd/N");
	case EPERM:
		return diag_set(d, -err,
		                DEV_FUSE " is forbidden here: a container needs the device in its "
		                         "device rules (--device " DEV_FUSE
		                         "), or mount over /dev/fd/N");
	default:
		return diag_set_errno(d, -err, DEV_FUSE ": cannot open");
	}
}

/* Is the topmost mount on the directory a model disk? */
static bool is_our_mount(const char *real)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool is_ours = false;

	while (table && (m = getmntent(table)))
		if (strcmp(m->mnt_dir, real) == 0)
			is_ours = strcmp(m->mnt_type, "fuse." SUBTYPE) == 0;
	if (table)
		endmntent(table);
	return is_ours;
}

/* Mounting twice would hide the first mount behind the second, and one unmount would show it. */
static int check_not_mounted(const char *real, const char *mountpoint, struct diag *d)
{
	if (!is_our_mount(real))
		return 0;
	return diag_set(d, -EBUSY,
	                "%s: a model disk is mounted there already (fusermount3 -u %s "
	                "unmounts it)",
	                mountpoint, mountpoint);
}

/* The mount point's absolute path in *real: the program changes its directory later. */
int mount_check_place(const char *mountpoint, char **real, struct diag *d)
{
	struct stat st;

	if (stat(mountpoint, &st) < 0 && errno == ENOTCONN)
		return diag_set(d, -ENOTCONN,
		                "%s: a dead FUSE mount is still there: end it with fusermount3 -u "
		                "%s (umount as root) and try again",
		                mountpoint, mountpoint);
	*real = realpath(mountpoint, NULL);
	if (!*real && errno == ENOENT)
		return diag_set(d, -EINVAL, "%s: the mount point does not exist", mountpoint);
	if (!*real || stat(*real, &st) < 0)
		return diag_set_errno(d, -errno, "%s: cannot use the mount point", mountpoint);
	if (!S_ISDIR(st.st_mode))
		return diag_set(d, -EINVAL, "%s: the mount point is not a directory", mountpoint);
	return check_not_mounted(*real, mountpoint, d);
}

static bool is_fuse_fd(const char *mountpoint)
{
	const char *number = mountpoint + strlen("/dev/fd/");

	return strncmp(mountpoint, "/dev/fd/", strlen("/dev/fd/")) == 0 && *number != '\0' &&
	       number[strspn(number, "0123456789")] == '\0';
}

/* ---- why it failed ---- */

static const struct {
	const char *words; /* of libfuse or fusermount3 */
	int err;
	const char *advice;
} reasons[] = {
	{ "user_allow_other", -EPERM,
	  "--allow-other is allowed to users only if /etc/fuse.conf has the line user_allow_other: "
	  "add it, or leave the option out" },
	{ "mount failed: Permission denied", -EACCES,
	  "a security module forbids this mount point: the AppArmor profile of fusermount3 (Ubuntu "
	  "24.10 and later) allows users only places below their home directory, /mnt, /media, "
	  "/tmp "
	  "and $XDG_RUNTIME_DIR: use one of them, or add a rule to "
	  "/etc/apparmor.d/local/fusermount3" },
	{ "failed to exec fusermount3", -ENOENT,
	  "fusermount3 is missing, which users need to mount: install the package fuse3" },
	{ "mount failed: Operation not permitted", -EPERM,
	  "mounting is not permitted here: fusermount3 must be setuid root, and a container needs "
	  "CAP_SYS_ADMIN; or let somebody else mount and give /dev/fd/N as mount point" },
	{ "Operation not permitted", -EPERM,
	  "mounting is not permitted here: a container needs CAP_SYS_ADMIN; or let somebody else "
	  "mount and give /dev/fd/N as mount point" },
	{ "no write access to mountpoint", -EACCES,
	  "a user may mount only on a directory that the user can write to" },
	{ "too many FUSE filesystems", -ENOSPC,
	  "unmount others, or raise mount_max in /etc/fuse.conf" },
	{ "Device or resource busy", -EBUSY, "something else is mounted or in use there" },
};

/* Could a user namespace help where mounting is not permitted? What switches it off, or NULL. */
static const char *userns_obstacle(void)
{
	static const struct {
		const char *path;
		char off;
		const char *name;
	} switches[] = {
		{ "/proc/sys/user/max_user_namespaces", '0', "user.max_user_namespaces=0" },
		{ "/proc/sys/kernel/unprivileged_userns_clone", '0',
		  "kernel.unprivileged_userns_clone=0" },
		{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1',
		  "kernel.apparmor_restrict_unprivileged_userns=1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
		scoped_fd int fd = open(switches[i].path, O_RDONLY | O_CLOEXEC);
		char value;

		if (fd >= 0 && read(fd, &value, 1) == 1 && value == switches[i].off)
			return switches[i].name;
	}
	return NULL;
}

static int explain_not_permitted(const char *mountpoint, const char *advice, const char *complaint,
                                 struct diag *d)
{
	const char *obstacle = userns_obstacle();

	if (obstacle)
		return diag_set(d, -EPERM, "%s: %s; user namespaces are no way out here (%s) (%s)",
		                mountpoint, advice, obstacle, complaint);
	return diag_set(d, -EPERM, "%s: %s; or mount in a user namespace (unshare -rm) (%s)",
	                mountpoint, advice, complaint);
}

static int explain(const char *mountpoint, const char *complaint, struct diag *d)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		if (!strstr(complaint, reasons[i].words))
			continue;
		if (reasons[i].err == -EPERM && strstr(complaint, "not permitted"))
			return explain_not_permitted(mountpoint, reasons[i].advice, complaint, d);
		return diag_set(d, reasons[i].err, "%s: %s (%s)", mountpoint, reasons[i].advice,
		                complaint);
	}
	return diag_set(d, -EIO, "%s: cannot mount (%s)", mountpoint,
	                complaint[0] ? complaint : "libfuse does not say why");
}

/* ---- mounting ---- */

/* Adds "-o option" with value, in which commas do not separate. */
static int add_option(struct fuse_args *args, const char *name, const char *value)
{
	scoped_free char *option = NULL;
	scoped_free char *list = NULL;

	if (asprintf(&option, "%s=%s", name, value) < 0) {
		option = NULL;
		return -ENOMEM;
	}
	if (fuse_opt_add_opt_escaped(&list, option) < 0 || fuse_opt_add_arg(args, "-o") < 0 ||
	    fuse_opt_add_arg(args, list) < 0)
		return -ENOMEM;
	return 0;
}

static int build_args(const struct mount_options *o, struct fuse_args *args)
{
	scoped_free char *real_disk = realpath(o->disk, NULL);
	int r = fuse_opt_add_arg(args, "mountfs");

	/* the user's first: where they differ, ours decide */
	if (r == 0 && o->fuse_options)
		r = fuse_opt_add_arg(args, "-o") + fuse_opt_add_arg(args, o->fuse_options);
	if (r == 0)
		r = fuse_opt_add_arg(args, "-oro,nosuid,nodev,noatime,default_permissions,"
		                           "subtype=" SUBTYPE);
	if (r == 0 && !o->exec)
		r = fuse_opt_add_arg(args, "-onoexec");
	if (r == 0 && o->allow_other)
		r = fuse_opt_add_arg(args, "-oallow_other");
	if (r == 0 && o->debug)
		r = fuse_opt_add_arg(args, "-odebug");
	if (r == 0)
		r = add_option(args, "fsname", real_disk ? real_disk : o->disk);
	return r < 0 ? -ENOMEM : 0;
}

static int new_session(const struct mount_options *o, struct fuse_session **out, struct diag *d)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char complaint[COMPLAIN_LEN];
	struct capture c;
	int r = build_args(o, &args);

	if (r < 0) {
		fuse_opt_free_args(&args);
		return diag_set(d, r, "out of memory");
	}
	c = capture_begin();
	*out = fuse_session_new(&args, ops_table(), sizeof(*ops_table()), o->ops);
	capture_end(&c, complaint);
	fuse_opt_free_args(&args);
	if (!*out)
		return diag_set(d, -EINVAL, "a mount option is not known (%s)", complaint);
	return 0;
}

/*
 * The kernel sends READs of 128 KiB unless somebody raises this, which only root may. Without it
 * everything works, so nothing is said when it cannot be done. The mount's device is asked for
 * without asking the file system, which does not answer yet.
 */
static void raise_request_len(const char *mountpoint)
{
	struct statx st;
	char path[64];
	scoped_fd int fd = -1;
	int ignored;

	if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, 0, &st) < 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", st.stx_dev_major,
	         st.stx_dev_minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ignored = fd >= 0 ? dprintf(fd, "%d", (int)(OPS_MAX_READ_LEN / KIB)) : -1;
	(void)ignored;
}

int mount_new(const struct mount_options *o, struct mount **out, struct diag *d)
{
	bool is_fd = is_fuse_fd(o->mountpoint);
	scoped(mount) struct mount *m = calloc(1, sizeof(*m));
	scoped_free char *real = NULL;
	char complaint[COMPLAIN_LEN];
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;
	struct capture c;
	int r = m ? 0 : diag_set(d, -ENOMEM, "out of memory");

	if (m)
		*m = (struct mount){ .is_fd = is_fd,
			             .auto_unmount = o->auto_unmount,
			             .unmounter_fd = -1,
			             .null_fd = -1 };
	if (r == 0 && !is_fd)
		r = mount_check_place(o->mountpoint, &real, d);
	if (r == 0 && !is_fd && kernel_mounted(real, root, &root_len))
		r = diag_set(d, -EBUSY,
		             "%s: the kernel has mounted a model disk there already (mountfs "
		             "--umount %s unmounts it)",
		             o->mountpoint, o->mountpoint);
	if (r == 0 && !is_fd)
		r = check_dev_fuse(d);
	fuse_set_log_func(log_to_stderr);
	if (r == 0)
		r = new_session(o, &m->session, d);
	if (r < 0)
		return r;
	c = capture_begin();
	r = fuse_session_mount(m->session, is_fd ? o->mountpoint : real);
	capture_end(&c, complaint);
	if (r < 0)
		return explain(o->mountpoint, complaint, d);
	m->is_mounted = true;
	if (!is_fd)
		raise_request_len(real);
	m->mountpoint = take_ptr(real);
	*out = take_ptr(m);
	return 0;
}

struct fuse_session *mount_session(struct mount *m)
{
	return m->session;
}

/* ---- ending ---- */

/*
 * Without a daemon, and not unmounted, or even mounted anew, by somebody else. A process that is
 * killed closes its descriptors one after the other, ours perhaps before the connection's.
 */
static bool is_dead(const char *mountpoint)
{
	struct stat st;

	for (int ms = 0; ms < DYING_TIMEOUT_MS; ms += DYING_STEP_MS) {
		if (stat(mountpoint, &st) < 0 && errno == ENOTCONN)
			return true;
		poll(NULL, 0, DYING_STEP_MS);
	}
	return false;
}

/*
 * The life of the process that unmounts: nothing but waiting for the word. It must outlast signals
 * to the whole group, and must hold neither the connection (readers would hang behind a dead
 * daemon) nor anybody's terminal or pipe. If the daemon dies without the word, the dead mount
 * stays: its readers get ENOTCONN, where an empty directory would look like an answer. Who would
 * rather have that asks for auto_unmount.
 */
__attribute__((noreturn)) static void wait_and_unmount(struct mount *m, int fd)
{
	const uint64_t root_needs = UINT64_C(1) << CAP_SYS_ADMIN | UINT64_C(1)
	                                                                   << CAP_DAC_READ_SEARCH;
	char word = 'r';
	int r = chdir("/");

	for (int s = 1; s < SIGRTMIN; s++)
		if (s != SIGCHLD)
			signal(s, SIG_IGN);
	prctl(PR_SET_NAME, "mountfs-umount");
	setsid();
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(m->null_fd, i);
	if (r == 0)
		r = privileges_keep_descriptors(&fd, 1, NULL);
	/* what a user needs comes from fusermount3, which is setuid; libfuse runs it */
	if (r == 0 && geteuid() == 0)
		r = privileges_keep(root_needs, NULL);
	if (r == 0 && geteuid() == 0)
		r = privileges_gain_no_more(NULL);
	if (r < 0 || write(fd, &word, 1) != 1)
		_exit(1);
	if (read(fd, &word, 1) != 1 && !(m->auto_unmount && is_dead(m->mountpoint)))
		_exit(0);
	fuse_session_unmount(m->session);
	_exit(write(fd, &word, 1) != 1);
}

static int start_unmounter(struct mount *m, struct diag *d)
{
	int pair[2];
	char word;
	pid_t pid;

	m->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (m->null_fd < 0)
		return diag_set_errno(d, -errno, "/dev/null: cannot open");
	if (m->is_fd)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return diag_set_errno(d, -errno, "cannot make a socket");
	m->unmounter_fd = pair[0];
	pid = fork();
	if (pid == 0)
		wait_and_unmount(m, pair[1]);
	close(pair[1]);
	if (pid < 0)
		return diag_set_errno(d, -errno, "cannot start the process that unmounts");
	/* from its word on it holds nothing of ours */
	if (read(m->unmounter_fd, &word, 1) != 1)
		return diag_set(d, -EIO, "the process that unmounts ended at once");
	return 0;
}

int mount_delegate_end(struct mount *m, struct diag *d)
{
	int r = start_unmounter(m, d);

	if (r < 0) { /* mount_end() does it itself */
		scope_close(&m->unmounter_fd);
		scope_close(&m->null_fd);
		m->unmounter_fd = m->null_fd = -1;
	}
	return r;
}

size_t mount_fds(const struct mount *m, int out[MOUNT_FDS])
{
	out[0] = fuse_session_fd(m->session);
	out[1] = m->unmounter_fd;
	out[2] = m->null_fd;
	return MOUNT_FDS;
}

/* As libfuse asks it: has the kernel ended the connection by itself? */
static bool is_unmounted(struct mount *m)
{
	struct pollfd fd = { .fd = fuse_session_fd(m->session) };

	return poll(&fd, 1, 0) == 1 && (fd.revents & POLLERR);
}

static void ask_unmounter(struct mount *m)
{
	struct pollfd fd = { .fd = m->unmounter_fd, .events = POLLIN };
	char word = 'u';

	if (write(m->unmounter_fd, &word, 1) == 1)
		poll(&fd, 1, UNMOUNT_TIMEOUT_MS);
}

void mount_end(struct mount *m)
{
	bool was_mounted = m->is_mounted;

	m->is_mounted = false;
	if (!was_mounted)
		return;
	if (m->null_fd < 0) {
		fuse_session_unmount(m->session);
		return;
	}
	was_mounted = !is_unmounted(m);
	/* the connection ends first: unmounting must not wait for answers of ours */
	dup2(m->null_fd, fuse_session_fd(m->session));
	if (was_mounted && m->unmounter_fd >= 0)
		ask_unmounter(m);
}

void mount_free(struct mount *m)
{
	if (!m)
		return;
	mount_end(m);
	if (m->session)
		fuse_session_destroy(m->session);
	scope_close(&m->unmounter_fd);
	scope_close(&m->null_fd);
	free(m->mountpoint);
	free(m);
}

/* ---- unmounting what others serve ---- */

/* The absolute path of a directory that itself cannot be looked at when its server is dead. */
static char *real_mountpoint(const char *mountpoint)
{
	scoped_free char *copy = strdup(mountpoint);
	scoped_free char *dir = NULL;
	char *real = NULL, *slash;

	if (!copy)
		return NULL;
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/';)
		copy[--len] = '\0';
	real = realpath(copy, NULL);
	if (real || errno != ENOTCONN)
		return real;
	slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	dir = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!dir || asprintf(&real, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
	                     slash ? slash + 1 : copy) < 0)
		return NULL;
	return real;
}

static int run_fusermount(const char *real, char complaint[COMPLAIN_LEN])
{
	struct capture c = capture_begin();
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", "--", real, NULL);
		dprintf(STDERR_FILENO, "fusermount3 cannot be run: %s\n", strerror(errno));
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	capture_end(&c, complaint);
	return status == 0 ? 0 : -EPERM;
}

int mount_remove(const char *mountpoint, struct diag *d)
{
	scoped_free char *real = real_mountpoint(mountpoint);
	char complaint[COMPLAIN_LEN] = "";
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;

	if (!real && errno != ENOENT)
		return diag_set_errno(d, -errno, "%s: cannot look at the mount point", mountpoint);
	if (real && kernel_mounted(real, root, &root_len))
		return kernel_umount(real, false, d);
	if (!real || !is_our_mount(real))
		return diag_set(d, -EINVAL, "%s: no model disk is mounted there", mountpoint);
	if (umount2(real, UMOUNT_NOFOLLOW) == 0 ||
	    (errno == EPERM && run_fusermount(real, complaint) == 0))
		return 0;
	if (errno == EBUSY || strstr(complaint, "busy"))
		return diag_set(d, -EBUSY, "%s: is in use (fuser -vm %s tells by whom)", mountpoint,
		                mountpoint);
	return diag_set(d, -EPERM, "%s: cannot be unmounted (%s)", mountpoint,
	                complaint[0] ? complaint : strerror(errno));
}
