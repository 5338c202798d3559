/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which of its rights a build needs. Reading is not limited: a repository, git's
 * configuration, certificates and name services may lie anywhere, and so may what credential
 * helpers read. What a fault in a parser could still do is in docs/security.md.
 */
#include "confine.h"

#include "git_cache.h"
#include "privileges.h"
#include "url.h"

#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/stat.h>

/* Files of any owner can be read, and a disk or record written, given its old owner, and linked. */
static const uint64_t needed_of_root = UINT64_C(1) << CAP_DAC_OVERRIDE |
                                       UINT64_C(1) << CAP_DAC_READ_SEARCH |
                                       UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_FOWNER;

/*
 * Without CAP_SYS_ADMIN the kernel hides trusted.* attributes: the disk of a directory that has
 * some would silently be another one. A repository has none.
 */
static uint64_t needed_for(const struct build_options *o)
{
	bool sees_trusted = !o->commit && build_keeps_xattrs(o);

	return needed_of_root | (sees_trusted ? UINT64_C(1) << CAP_SYS_ADMIN : 0);
}

/* The disk's, the record's, the signature's, the cache's, temporary files, /dev/null. */
#define MAX_PLACES 6

struct places {
	size_t cnt;
	const char *path[MAX_PLACES];
	char disk[PATH_MAX], record[PATH_MAX], signature[PATH_MAX], cache[PATH_MAX];
};

/* The directory that path, whose last component may be a link or missing, really lies in. */
static const char *directory_of(const char *path, char out[PATH_MAX])
{
	scoped_free char *real = realpath(path, NULL);
	scoped_free char *copy = strdup(real ? real : path);

	return copy && realpath(dirname(copy), out) ? out : NULL;
}

static void add_place(struct places *p, const char *path)
{
	if (path)
		p->path[p->cnt++] = path;
}

/* A device is written itself, and its directory holds others; a file is made anew beside itself. */
static void add_disk(struct places *p, const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
		add_place(p, realpath(path, p->disk));
	else
		add_place(p, directory_of(path, p->disk));
}

/* What is not there cannot be allowed, so it is made; but only for who fetches. */
static void add_cache(struct places *p, const struct build_options *o)
{
	scoped_free char *base = o->cache_dir ? strdup(o->cache_dir) : git_cache_default_base();

	/* where it cannot be made, who needs it says so */
	if (base && !o->no_cache && url_is_http(o->source) && git_cache_make_base(base) == 0)
		add_place(p, realpath(base, p->cache));
}

static void find_places(const struct build_options *o, struct places *p)
{
	const char *tmp = getenv("TMPDIR");

	if (o->disk && !o->root_hash_only)
		add_disk(p, o->disk);
	if (o->record)
		add_place(p, directory_of(o->record, p->record));
	if (o->root_hash_sig)
		add_place(p, directory_of(o->root_hash_sig, p->signature));
	add_cache(p, o);
	add_place(p, tmp && *tmp ? tmp : "/tmp");
	add_place(p, "/dev/null");
}

int confine(const struct build_options *o, struct diag *d)
{
	struct places p = { .cnt = 0 };
	int r = privileges_gain_no_more(d);

	find_places(o, &p);
	if (r == 0)
		r = privileges_keep(needed_for(o), d);
	if (r == 0)
		r = privileges_hide_memory(d);
	if (r == 0)
		r = privileges_limit_writes(p.path, p.cnt, d);
	return r < 0 ? r : 0;
}
