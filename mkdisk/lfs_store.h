/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git LFS objects that lie on this machine already: where git-lfs keeps them (lfs/objects/aa/bb/OID
 * below a repository), in files of a working tree, as blobs of a Hugging Face cache. What is found
 * here is only a file of the right size; whoever reads it proves the bytes against the oid.
 *
 * Thread rule: filled by one thread; lfs_store_has() and lfs_store_open() are thread-safe then.
 */
#ifndef MODELDISK_LFS_STORE_H
#define MODELDISK_LFS_STORE_H

#include "hash.h"

struct lfs_store;
int lfs_store_new(struct lfs_store **out) MUST_CHECK;
void lfs_store_free(struct lfs_store *s);
DEFINE_SCOPED(lfs_store, struct lfs_store *, lfs_store_free)

/* A directory with objects as git-lfs keeps them; one that is not there holds none. */
int lfs_store_add_objects(struct lfs_store *s, const char *dir, struct diag *d) MUST_CHECK;
/* The directory that paths of lfs_store_add_file() start in; dir_fd is duplicated. Once. */
int lfs_store_set_files(struct lfs_store *s, int dir_fd, struct diag *d) MUST_CHECK;

/*
 * 1: an object of this id and size lies in one of the directories, or in the file at path (below
 * lfs_store_set_files(); NULL: there is none), and can be opened from now on; 0: it does not.
 */
int lfs_store_find(struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN], uint64_t size,
                   const char *path, struct diag *d) MUST_CHECK;

bool lfs_store_has(const struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN]);

/* A descriptor of what lfs_store_find() found, positioned nowhere in particular. what names it in
 * sentences. -ESTALE when it is gone or has another size now. */
int lfs_store_open(const struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN], uint64_t size,
                   const char *what, int *fd, struct diag *d) MUST_CHECK;

#endif
