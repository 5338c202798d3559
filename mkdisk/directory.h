/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source directory as a tree, and its files opened again later. The walk follows no symbolic
 * link, holds two descriptors however deep it goes, and takes paths of any length. For source.c
 * only.
 *
 * Taken over: regular files, directories, symbolic links, and as systemd-repart does it FIFOs,
 * sockets and devices; permission bits with set-id and sticky; times; hard links. Mount points are
 * crossed. The top-level entry ".git" is left out, whatever it is: the definitions exclude it, the
 * reference removes it in the flat layout, and history is never what a model's disk is for.
 *
 * Thread rule: directory_open() by one thread; the rest is thread-safe.
 */
#ifndef MODELDISK_DIRECTORY_H
#define MODELDISK_DIRECTORY_H

#include "hub_cache.h"
#include "lfs_store.h"
#include "source.h"
#include "walk.h"

struct directory;

/* What is to be read, and how; borrowed during directory_open(). */
struct directory_options {
	const char *path; /* may lead through links */
	const struct source_options *source;
	/* A snapshot, whose links are to be followed: what they lead to enters the tree, with the
	 * modes that a checkout gives and not those of whoever downloaded it; blobs that are kept
	 * in Git LFS as such, and their files in the store. Both NULL: links stay links. */
	const struct hub_cache *cache;
	struct lfs_store *store;
};
/*
 * Fills t, whose root becomes the directory itself. -EACCES names the file that could not be read;
 * -ESTALE one that was replaced during the walk; -EOPNOTSUPP an attribute too long for the disk;
 * -EUCLEAN a link of a snapshot that leads elsewhere than to a blob.
 */
int directory_open(const struct directory_options *opt, struct tree *t, struct directory **out,
                   struct diag *d) MUST_CHECK;
void directory_close(struct directory *dir);
DEFINE_SCOPED(directory, struct directory *, directory_close)

/* Files that are Git LFS pointers: their content was never fetched. */
const struct walk_pointers *directory_pointers(const struct directory *dir);

/*
 * A descriptor of the regular file n; the caller closes it. -ESTALE unless it is the file that the
 * walk saw: same device, inode, size and modification time.
 */
int directory_file_open(const struct directory *dir, const struct tree_node *n, int *fd,
                        struct diag *d) MUST_CHECK;
/* Is it still that file? For a file of which everything was read. */
int directory_file_check(const struct tree_node *n, int fd, struct diag *d) MUST_CHECK;

#endif
