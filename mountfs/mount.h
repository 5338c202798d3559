/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a FUSE mount is made and ended, as root, as a user through fusermount3, or over a descriptor
 * that somebody else has mounted; and above all why it could not be made. Start-up and end only,
 * one thread.
 */
#ifndef MODELDISK_MOUNT_H
#define MODELDISK_MOUNT_H

#include "ops.h"

struct mount_options {
	const char *disk;         /* shown as the source of the mount */
	const char *mountpoint;   /* a directory, or /dev/fd/N: an open, mounted /dev/fuse */
	const char *fuse_options; /* comma list for libfuse; NULL: none */
	bool allow_other, exec, debug;
	bool auto_unmount; /* also when the daemon dies; for mount_delegate_end() */
	struct ops *ops;   /* userdata of the session; borrowed */
};

/*
 * Mounts. No request is answered before the session's loop runs. Errors: -EINVAL the mount point or
 * an option is wrong; what the system said otherwise, with what to do about it. On failure nothing
 * is left mounted.
 */
struct mount;
/*
 * Can a disk be mounted there? *real: the absolute path without links, the caller's to free.
 * -EINVAL: no directory; -EBUSY: one is mounted there by FUSE; -ENOTCONN: by one that has died.
 */
int mount_check_place(const char *mountpoint, char **real, struct diag *d) MUST_CHECK;
int mount_new(const struct mount_options *o, struct mount **out, struct diag *d) MUST_CHECK;
struct fuse_session *mount_session(struct mount *m); /* lent */
/*
 * A sandboxed process cannot unmount: starts one that will when mount_end() says so, and only then.
 * Before there are threads, before sandbox_enter(). Over a descriptor nobody unmounts, and nothing
 * is started.
 */
int mount_delegate_end(struct mount *m, struct diag *d) MUST_CHECK;
/* The descriptors that serving and ending need, some of them perhaps -1; returns how many. */
#define MOUNT_FDS 3
size_t mount_fds(const struct mount *m, int out[MOUNT_FDS]);
/* Closes the connection and unmounts, lazily, if it is still mounted and ours. */
void mount_end(struct mount *m);
/* The same, and ends the session. NULL allowed. */
void mount_free(struct mount *m);
DEFINE_SCOPED(mount, struct mount *, mount_free)

/*
 * Unmounts what another process serves, also after that has died; users through fusermount3.
 * -EINVAL: no mount of ours is there; -EBUSY; -EPERM: somebody else's.
 */
int mount_remove(const char *mountpoint, struct diag *d) MUST_CHECK;

#endif
