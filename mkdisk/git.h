/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only door to libgit2 (with git_fetch.c): one commit of a repository as a tree, and the bytes
 * of its blobs as a checkout would write them. Which attributes apply and what they do is our own
 * (attributes.h, convert.h); libgit2 gives objects, checked against their ids, and nothing else: no
 * configuration has a say.
 *
 * LFS pointers are recognised by their content, as git-lfs does it, and become TREE_CONTENT_LFS
 * nodes with the size and SHA-256 of what they stand for.
 *
 * Thread rule: git_open() by one thread; git_blob_read() is thread-safe.
 */
#ifndef MODELDISK_GIT_H
#define MODELDISK_GIT_H

#include "source.h"
#include "walk.h"

struct git;
/* What is to be read, and how; borrowed during git_open(). */
struct git_options {
	const char *spec; /* a local path, whose objects are read where they are, or an http(s) URL,
	                     from which they are fetched */
	const char *commit;
	struct credentials *credentials; /* of a URL */
	const struct source_options *source;
};
/* As source_open() for repositories: adds the commit's entries to t's root; the errors are
 * source_open()'s. */
int git_open(const struct git_options *opt, struct tree *t, struct git **out, struct diag *d)
        MUST_CHECK;
void git_close(struct git *g);
DEFINE_SCOPED(git, struct git *, git_close)
/* Where it was read: spec without "user:password@". The commit's full id, lower case. */
const char *git_location(const struct git *g);
const char *git_full_id(const struct git *g);
/* The nodes that git_open() made TREE_CONTENT_LFS. */
struct tree_node *const *git_lfs_nodes(const struct git *g, size_t *cnt);
/* The pointers that the exclusions keep as text. */
const struct walk_pointers *git_pointers(const struct git *g);
/* The file name in the commit's top directory: 1 with its bytes, malloc'ed, NUL-terminated; 0:
 * there is none. -E2BIG: longer than max. */
int git_top_file(struct git *g, const char *name, size_t max, char **text, size_t *len,
                 struct diag *d) MUST_CHECK;
/* The directory that holds the repository's objects, also for linked working trees; the working
 * tree, NULL if there is none or the repository was fetched. Both end in '/'. */
const char *git_common_dir(const struct git *g);
const char *git_work_dir(const struct git *g);
/* The checked-out bytes of a blob node: malloc'ed *buf of n->size bytes, the caller frees it. */
int git_blob_read(struct git *g, const struct tree_node *n, void **buf, struct diag *d) MUST_CHECK;
/* Is path a git directory itself (a bare repository, or what is called .git)? One thread. */
bool git_is_bare(const char *path);

#endif
