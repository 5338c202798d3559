/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --umount: ends a mount of ours, as who made it may.
 */
#include "cmd.h"
#include "mount.h"

int cmd_umount(const struct options *o, struct diag *d)
{
	return mount_remove(o->arg[0], d);
}
