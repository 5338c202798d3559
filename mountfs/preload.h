/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files read through the mount before anybody asks for them: each of their blocks is proven, and
 * lies in the page cache as far as memory allows.
 */
#ifndef MODELDISK_PRELOAD_H
#define MODELDISK_PRELOAD_H

#include "image.h"
#include "report.h"

struct preload_options {
	const char *mountpoint;
	const char *pattern; /* fnmatch(3) on paths below the mount point; * matches / too */
	enum report_progress_mode progress;
	bool has_stderr; /* in the foreground; else messages go to syslog */
};

/*
 * Starts the process that reads, and returns; reads wait until the mount is served. It is a process
 * because whoever serves a mount must not wait for it: killed in the middle of a read of its own
 * mount, mountfs could not end. It ends with the mount at the latest. After mount_new(), before
 * there are threads. Errors are those of looking for the files, and -EINVAL: none matches.
 */
int preload_start(const struct image *img, const struct preload_options *o, struct diag *d)
        MUST_CHECK;

#endif
