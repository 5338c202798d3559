/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The action that serves a mount, from the background to the last count of failures.
 */
#include "cmd.h"
#include "daemon.h"
#include "preload.h"

#include <errno.h>
#include <time.h>

static int serve(const struct options *o, const struct image *img, struct failures *failures,
                 struct daemon *dm, struct diag *d)
{
	const struct ops_hooks hooks = daemon_hooks(dm);
	scoped(ops) struct ops *ops = NULL;
	scoped(mount) struct mount *m = NULL;
	struct mount_options mo = { .disk = o->arg[0],
		                    .mountpoint = o->arg[1],
		                    .fuse_options = o->fuse_options,
		                    .allow_other = o->allow_other,
		                    .exec = o->exec,
		                    .auto_unmount = o->auto_unmount,
		                    .debug = o->debug };
	const struct preload_options po = { .mountpoint = o->arg[1],
		                            .pattern = o->preload,
		                            .progress = o->progress,
		                            .has_stderr = o->foreground };
	int r = ops_new(img, failures, &hooks, &ops);

	if (r < 0)
		return diag_set(d, r, "out of memory");
	mo.ops = ops;
	r = mount_new(&mo, &m, d);
	if (r == 0 && o->preload)
		r = preload_start(img, &po, d);
	if (r == 0)
		r = daemon_serve(dm, m, d);
	return r;
}

static int open_and_serve(const struct options *o, int status_fd, struct diag *d)
{
	struct daemon_options dmo = { .thread_cnt = o->thread_cnt,
		                      .ready_fd = o->ready_fd,
		                      .status_fd = status_fd,
		                      .stats_fd = -1,
		                      .exit_on_corruption = o->exit_on_corruption,
		                      .no_sandbox = o->no_sandbox,
		                      .auto_unmount = o->auto_unmount };
	struct image_options io = o->image;
	struct timespec now;
	scoped(failures) struct failures *failures = NULL;
	scoped(image) struct image *img = NULL;
	scoped(daemon) struct daemon *dm = NULL;
	int r = failures_new(&failures);

	if (r < 0)
		return diag_set(d, r, "out of memory");
	io.verity.on_failure = failures_note;
	r = cmd_open_image(o, &io, &img, d);
	if (r == 0 && o->stats)
		r = stats_listen(o->stats, &dmo.stats_fd, d);
	if (r == 0) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		dmo.stats = (struct stats_source){
			.v = image_vblk(img),
			.failures = failures,
			.start_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec,
		};
		image_fds(img, dmo.disk_fd);
		r = daemon_new(&dmo, &dm, d);
	}
	if (r < 0)
		return r;
	r = serve(o, img, failures, dm, d);
	failures_report_count(failures);
	return r;
}

int cmd_mount(const struct options *o, struct diag *d)
{
	int status_fd = -1;
	int r = o->backend == BACKEND_FUSE ? 1 : cmd_mount_kernel(o, d);

	if (r <= 0)
		return r;
	r = o->foreground ? 0 : daemon_fork(&status_fd, d);
	return r < 0 ? r : open_and_serve(o, status_fd, d);
}
