/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repository's .lfsconfig, which has git's syntax for configuration (git-config(1)): the few keys
 * of it that say where objects come from and which. Everything in it is hostile, so no includes are
 * followed and no other key has an effect. Pure functions; thread-safe.
 */
#ifndef MODELDISK_LFS_CONFIG_H
#define MODELDISK_LFS_CONFIG_H

#include "diag.h"

#define LFS_CONFIG_NAME    ".lfsconfig"
#define LFS_CONFIG_MAX_LEN (64 * KIB)

/* malloc'ed; NULL: not set. The last one counts, as for git. */
struct lfs_config {
	char *url; /* lfs.url, or else remote.origin.lfsurl: "origin" is where a clone comes from */
	char *fetch_include, *fetch_exclude;
};

/* -EUCLEAN with the line's number for what git would not read either, -ENOMEM. */
int lfs_config_parse(const char *text, size_t len, struct lfs_config *out, struct diag *d)
        MUST_CHECK;
void lfs_config_release(struct lfs_config *c);
static inline void scope_end_lfs_config(struct lfs_config *c)
{
	lfs_config_release(c);
}

#endif
