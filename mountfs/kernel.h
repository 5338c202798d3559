/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same disk through the kernel: loop devices, dm-verity, EROFS, a mount. Needs root and Linux
 * 5.8 (LOOP_CONFIGURE), but no process once it is mounted. The disk has been opened as for FUSE
 * before, so that what the kernel is told about the hash tree is proven and nothing is read from
 * the disk's superblock a second time; dm-verity proves every block against the same root hash.
 *
 * Nothing has to be taken down in order, by anybody: the device-mapper device removes itself when
 * it is unmounted, and the loop devices detach themselves when it is gone. That holds as well after
 * a failure at any step, and when the program is killed between two of them.
 *
 * Start-up and end only, one thread.
 */
#ifndef MODELDISK_KERNEL_H
#define MODELDISK_KERNEL_H

#include "image.h"

struct kernel_options {
	const char *mountpoint; /* absolute, a directory, without links */
	const uint8_t *root;
	size_t root_len;
	/* Over the root hash, and checked: the kernel is offered it (PKCS#7), and asked without it
	 * if it cannot check it, or does not know the certificate. NULL: none. */
	const uint8_t *signature;
	size_t signature_len;
	bool exec;
	enum blk_direct direct; /* NO: loop devices read through the page cache */
};

/*
 * Could this process mount by way of this kernel? -EPERM: it may not; -ENOSYS: device-mapper or
 * EROFS is missing, which the sentence says.
 */
int kernel_check(struct diag *d) MUST_CHECK;

/*
 * Mounts read-only, nosuid, nodev, noatime and, unless exec is asked for, noexec. -ENOSYS: this
 * kernel cannot, dm-verity is missing for instance; else what it or libcryptsetup said. On failure
 * nothing is left behind.
 */
int kernel_mount(const struct image *img, const struct kernel_options *o, struct diag *d)
        MUST_CHECK;

/*
 * What is mounted at the absolute path: 1: a disk of ours, whose root hash, as the kernel has it,
 * is then in root (HASH_MAX_LEN bytes) and *root_len; 0: none of ours. No sentence is needed.
 */
int kernel_mounted(const char *mountpoint, uint8_t *root, size_t *root_len);

/*
 * Unmounts what kernel_mounted() found, and waits for a moment until its devices are gone. Lazily:
 * also while it is in use; its devices go when it no longer is. -EBUSY, -EPERM: as umount(2).
 */
int kernel_umount(const char *mountpoint, bool is_lazy, struct diag *d) MUST_CHECK;

#endif
