/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which server has a repository's Git LFS objects. A repository may name one in its .lfsconfig, and
 * whoever writes that must not send the user's credentials, or the user's machine, to where the
 * user did not mean: another host is refused unless the user names it. Pure; thread-safe.
 */
#ifndef MODELDISK_LFS_ENDPOINT_H
#define MODELDISK_LFS_ENDPOINT_H

#include "diag.h"

struct lfs_endpoint_options {
	const char *source_url; /* http or https; NULL: the repository is on this machine */
	const char *lfs_url;    /* --lfs-url: above everything else; NULL: not given */
	const char *configured; /* lfs.url of the repository's .lfsconfig; NULL: it has none */
};
/*
 * ".../info/lfs", without credentials, malloc'ed; NULL in *out: there is none. Without the first
 * two .lfsconfig has no say. -EINVAL: lfs_url is no http or https URL; -EACCES: .lfsconfig names
 * another host than the source's, or http where that has https; -ENOMEM.
 */
int lfs_endpoint(const struct lfs_endpoint_options *opt, char **out, struct diag *d) MUST_CHECK;

#endif
