/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proven files into a directory of the host, several threads at once.
 *
 * Nothing below the directory is reached through a symlink, so nobody who may write in it can lead
 * a copy out of it; names were checked by the reader. Each file is made under a temporary name and
 * takes its own only when all of it is proven and written: whoever opens it sees the old one or the
 * whole new one.
 */
#ifndef MODELDISK_COPY_H
#define MODELDISK_COPY_H

#include "entries.h"

#include <stdatomic.h>

struct copy_options {
	const struct erofs *fs;
	const struct entries *list; /* what is copied, to the same paths below dir_fd */
	int dir_fd;
	bool is_dir_foreign; /* its own mode and times stay */
	/* the first entry is no directory and is called so in dir_fd; NULL: it is dir_fd itself */
	const char *single_name;
	unsigned thread_cnt;              /* 0: as the machine is */
	const atomic_bool *stop;          /* somebody wants it to end: -EINTR */
	void (*on_bytes)(uint64_t bytes); /* done, from any thread */
};

/*
 * Bytes, holes (also where the disk has zeros), permission bits without setuid and setgid, times,
 * directories, symlinks. Not: owners, extended attributes, hard links (they become files of their
 * own). Directories that exist are filled, files and symlinks replaced. -EOPNOTSUPP before anything
 * is written: a device, fifo or socket; what the reader and the system said. On failure no
 * temporary name stays, and what was completed does.
 */
int copy_out(const struct copy_options *o, struct diag *d) MUST_CHECK;

#endif
