/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --backend=kernel and auto: decides whether the kernel is to be used, says so, and in the
 * foreground stays until the mount ends. Both ways open the disk by the same code and demand the
 * same root hash, so falling back never costs proof.
 */
#include "cmd.h"
#include "daemon.h"
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#define USE_FUSE 1

/* What only a process that serves can do; NULL: nothing of that was asked for. */
static const char *fuse_only(const struct options *o)
{
	const struct {
		bool is_given;
		const char *name;
	} given[] = {
		{ o->exit_on_corruption, "--on-corruption=exit" },
		{ o->thread_cnt != 0, "--threads" },
		{ o->image.verity.cache_len != 0, "--cache-size" },
		{ o->preload, "--preload" },
		{ o->stats, "--stats" },
		{ o->debug, "--debug" },
		{ o->no_sandbox, "--no-sandbox" },
		{ o->auto_unmount, "-o auto_unmount" },
		{ o->fuse_options, "-o with an option of libfuse" },
		{ strncmp(o->arg[1], "/dev/fd/", strlen("/dev/fd/")) == 0,
		  "a mount point /dev/fd/N" },
	};

	for (size_t i = 0; i < ARRAY_LEN(given); i++)
		if (given[i].is_given)
			return given[i].name;
	return NULL;
}

/* Before the disk is looked at. */
static int check(const struct options *o, struct diag *d)
{
	const char *name = fuse_only(o);

	if (name)
		return diag_set(d, -EINVAL, "%s is for FUSE only, the kernel has no such thing",
		                name);
	return kernel_check(d);
}

/* With auto, what cannot be had from the kernel is no error. */
static int fall_back(const struct options *o, int r, struct diag *d)
{
	if (o->backend != BACKEND_AUTO)
		return r;
	report_note("taking FUSE: %s", d->text);
	*d = (struct diag)DIAG_INIT;
	return USE_FUSE;
}

static int tell_ready(const struct options *o, struct diag *d)
{
	daemon_tell_manager();
	if (o->ready_fd < 0)
		return 0;
	if (write(o->ready_fd, "ready\n", strlen("ready\n")) < 0)
		return diag_set_errno(d, -errno, "cannot tell readiness");
	close(o->ready_fd);
	return 0;
}

/* ---- staying in the foreground ---- */

static int take_signals(int *fd, struct diag *d)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	*fd = signalfd(-1, &ends, SFD_CLOEXEC);
	return *fd < 0 ? diag_set_errno(d, -errno, "cannot receive signals") : 0;
}

/* Until a signal asks to end, which unmounts, or somebody else has unmounted. */
static int stay(const char *mountpoint, int signal_fd, struct diag *d)
{
	scoped_fd int table = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pollfd fds[] = { { .fd = signal_fd, .events = POLLIN },
		                { .fd = table, .events = POLLPRI } };
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;

	while (kernel_mounted(mountpoint, root, &root_len)) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return diag_set_errno(d, -errno, "cannot wait");
		if (fds[0].revents)
			return kernel_umount(mountpoint, true, d);
	}
	return 0;
}

/* ---- mounting ---- */

static int mount_image(const struct options *o, const char *mountpoint, struct diag *d)
{
	const struct kernel_options ko = { .mountpoint = mountpoint,
		                           .root = o->image.root,
		                           .root_len = o->image.root_len,
		                           .signature = o->signature,
		                           .signature_len = o->signature_len,
		                           .exec = o->exec,
		                           .direct = o->image.direct };
	struct image_options io = o->image;
	scoped(image) struct image *img = NULL;
	int r;

	/* what is proven here is read once; the kernel reads it again for itself */
	io.direct = BLK_DIRECT_NO;
	r = cmd_open_image(o, &io, &img, d);
	if (r < 0)
		return r;
	r = kernel_mount(img, &ko, d);
	if (r == -ENOSYS)
		return fall_back(o, r, d);
	if (r == 0)
		report_note("%s is mounted by the kernel (dm-verity)", mountpoint);
	return r;
}

/* 0: nothing is there yet; 1: the same disk is. */
static int is_mounted(const struct options *o, const char *mountpoint, struct diag *d)
{
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;

	if (!kernel_mounted(mountpoint, root, &root_len))
		return 0;
	if (root_len == o->image.root_len && memcmp(root, o->image.root, root_len) == 0)
		return 1;
	return diag_set(d, -EBUSY, "%s: another model disk is mounted there already", mountpoint);
}

int cmd_mount_kernel(const struct options *o, struct diag *d)
{
	scoped_free char *mountpoint = NULL;
	scoped_fd int signal_fd = -1;
	int r = check(o, d), mounted;

	if (r < 0)
		return fall_back(o, r, d);
	r = mount_check_place(o->arg[1], &mountpoint, d);
	if (r == 0 && o->foreground)
		r = take_signals(&signal_fd, d);
	if (r < 0)
		return r;
	mounted = is_mounted(o, mountpoint, d);
	if (mounted == 1)
		report_note("%s: this disk is mounted there already", mountpoint);
	r = mounted == 0 ? mount_image(o, mountpoint, d) : MIN(mounted, 0);
	if (r == 0)
		r = tell_ready(o, d);
	if (r == 0 && o->foreground)
		r = stay(mountpoint, signal_fd, d);
	return r;
}
