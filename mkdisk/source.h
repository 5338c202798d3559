/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model repository as a tree of checked entries and the bytes behind them: a directory, or a git
 * repository at one commit. Hides how git is reached (git.c) and how names are checked; knows
 * nothing of disks.
 *
 * Thread rule: source_open() by one thread; afterwards files of one source may be read by several
 * threads at once, one source_file by one thread.
 */
#ifndef MODELDISK_SOURCE_H
#define MODELDISK_SOURCE_H

#include "exclude.h"
#include "tree.h"

#include <stdatomic.h>

struct source_options {
	const struct exclude *exclude; /* borrowed; may be NULL */
	bool keep_owners;              /* directory: uid, gid of the files; else 0:0 */
	bool keep_xattrs;              /* directory: extended attributes */
	bool follow_blobs; /* directory: that is a snapshot of a Hugging Face cache, its links */
	/* called for every path that is left out; may be NULL */
	void (*on_excluded)(void *ctx, const char *path, const char *pattern);
	void *ctx;

	/* a git repository; NULL: nothing, or the default */
	bool allow_ref;        /* commit may be a branch or tag; what it means is noted */
	const char *cache_dir; /* of git_cache.h; NULL: what is fetched goes with the source */
	bool needs_cache;      /* or, if cache_dir cannot be used, as without it */
	const char *git_token; /* GIT_PAT, for credentials.h */
	const char *lfs_url;   /* where LFS objects come from, instead of SOURCE's own server */
	const char *ca_file;   /* whom to trust, instead of the system's */
	unsigned retries; /* of one request; and seconds without a byte that are borne, 0: 30 */
	unsigned stall_s;
	const atomic_bool *stop; /* becomes true: -EINTR */
	/* Git LFS pointers that stand for themselves are kept, and warned of. Not refused, and
	 * .lfsconfig refused where the reference would make them: EXCLUDE_PRIVATEMODE */
	bool keep_pointers;
	bool has_patterns; /* exclude has any, which for the reference replace lfs.fetchexclude */
	/* What a person who waits should know; and what one should know who uses the disk. */
	void (*note)(void *ctx, const char *sentence);
	void (*warn)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct source;
/*
 * spec: a directory, a local git repository (bare, a working tree, its .git), or a URL (file, http,
 * https). commit: full hex id, NULL for a directory that is to be taken as it is. A working tree
 * with a commit is the repository in it at that commit, whatever lies in its files.
 *
 * A directory is taken without its top-level ".git" and only metadata is read, contents later. A
 * commit becomes what a fresh checkout of it on Linux, without any configuration, would write;
 * small files and those that a checkout converts are read at once, for their sizes.
 *
 * Files of a commit that are kept in Git LFS become TREE_CONTENT_LFS. Their content is looked for
 * on this machine, beside the repository's objects and in its working tree; who has the rest is
 * source_lfs_url()'s to say.
 *
 * A directory that is a snapshot of a Hugging Face cache (hub_cache.h) is taken with the files that
 * its links lead to, if follow_blobs says so; else it is refused if it has any.
 *
 * A file that is a Git LFS pointer, and not its content, is refused by its name.
 *
 * -EUCLEAN: what git allows and a file system must not (names), pointers, or damage; -EBADMSG: an
 * object that is not what its id says; -EINVAL: a commit that is not a full id or missing, a URL
 * that is not understood; -ENOENT: no such commit, or LFS objects that are nowhere to be had;
 * -EACCES, -EIO: network.
 */
int source_open(const char *spec, const char *commit, const struct source_options *opt,
                struct source **out, struct diag *d) MUST_CHECK;
void source_close(struct source *s);
DEFINE_SCOPED(source, struct source *, source_close)

/* The tree, not yet finished (populate may rearrange it). Owned by the source. Root mode: 0755 for
 * git, as is for a directory. */
struct tree *source_tree(struct source *s);
/* For the record: "git", "directory", or "huggingface" for a snapshot whose links were followed;
 * the URL without credentials or the path; the full commit id, of which a snapshot is only the
 * name, or NULL. */
const char *source_kind(const struct source *s);
const char *source_location(const struct source *s);
const char *source_commit(const struct source *s);

/*
 * TREE_CONTENT_LFS nodes: does the content lie on this machine, for source_file_open()? It is of
 * the right size, and no more is known of it: whoever reads it proves it against the oid.
 * Thread-safe.
 */
bool source_has_object(const struct source *s, const struct tree_node *n);
/* The server of the others, ".../info/lfs", without credentials; NULL: there are none. */
const char *source_lfs_url(const struct source *s);
/* Who may see what of it; lent; NULL for sources without a server. */
struct credentials *source_credentials(struct source *s);

/* The bytes of one regular file node of the tree. Opened without following links; -ESTALE when it
 * changed since source_open(). */
struct source_file;
int source_file_open(struct source *s, const struct tree_node *n, struct source_file **out,
                     struct diag *d) MUST_CHECK;
/* Exactly len bytes at off (pread semantics); short content is -ESTALE. Ranges in ascending order
 * are cheapest. */
int source_file_read(struct source_file *f, uint64_t off, void *buf, size_t len, struct diag *d)
        MUST_CHECK;
/* The next byte at or behind off that may be non-zero (SEEK_DATA); node size if there is none. For
 * holes. */
uint64_t source_file_next_data(struct source_file *f, uint64_t off);
/* A descriptor whose bytes may be cloned: of a file without holes in a directory. -1: none. Lent.
 */
int source_file_fd(const struct source_file *f);
/* For a file of which everything was read: has it still size and mtime as at source_open()? -ESTALE
 * otherwise. Not for LFS objects, whose digest says more. */
int source_file_close(struct source_file *f, struct diag *d) MUST_CHECK;

#endif
