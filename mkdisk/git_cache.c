/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, locks and removes directories of the cache. What is in them is git.c's.
 */
#include "git_cache.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "hash.h"
#include "text.h"

#define NAME_LEN   32 /* of the part for people */
#define DIGEST_LEN 16 /* bytes */

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the cache");
}

char *git_cache_default_base(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char *base = NULL;
	int len = -1;

	/* relative ones do not count (XDG Base Directory Specification) */
	if (cache && *cache == '/')
		len = asprintf(&base, "%s/modeldisk", cache);
	else if (home && *home == '/')
		len = asprintf(&base, "%s/.cache/modeldisk", home);
	return len < 0 ? NULL : base;
}

/* The end of the URL's path, as far as it is plain, for people who look into the cache. */
static void name_for_people(const char *url, char out[NAME_LEN + 1])
{
	size_t end = strlen(url), len = 0;

	while (end > 0 && url[end - 1] == '/')
		end--;
	size_t start = end;
	while (start > 0 && url[start - 1] != '/')
		start--;
	for (size_t i = start; i < end && len < NAME_LEN; i++)
		if (isalnum((unsigned char)url[i]) || strchr("-_", url[i]))
			out[len++] = url[i];
	out[len] = '\0';
}

static int dir_of(const char *base, const char *url, char **out, struct diag *d)
{
	char name[NAME_LEN + 1], hex[2 * DIGEST_LEN + 1];
	uint8_t digest[HASH_SHA256_LEN];

	if (hash_sha256(url, strlen(url), digest) < 0)
		return diag_set(d, -EIO, "SHA-256 failed");
	hex_encode(digest, DIGEST_LEN, hex);
	name_for_people(url, name);
	if (asprintf(out, "%s/git/%s-%s", base, name, hex) >= 0)
		return 0;
	*out = NULL;
	return out_of_memory(d);
}

/* path and what is missing above it; what is there already may lie where nothing can be made. */
static int make_dirs(char *path)
{
	int err = 0;

	for (char *slash = strchr(path + 1, '/'); err == 0 && slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) < 0 && access(path, F_OK) < 0)
			err = -errno;
		*slash = '/';
	}
	if (err == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		err = -errno;
	return err;
}

int git_cache_make_base(const char *base)
{
	scoped_free char *copy = strdup(base);

	return copy ? make_dirs(copy) : -ENOMEM;
}

static int lock(struct git_cache *c, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	scoped_free char *path = NULL;

	text_quote(c->dir, strlen(c->dir), quoted, sizeof(quoted));
	if (asprintf(&path, "%s/lock", c->dir) < 0) {
		path = NULL;
		return out_of_memory(d);
	}
	c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lock < 0)
		return diag_set_errno(d, -errno, "cannot use the cache %s", quoted);
	if (flock(c->lock, LOCK_EX) == 0)
		return 0;
	if (errno == EINTR)
		return diag_set(d, -EINTR, "interrupted while another process fetches into %s",
		                quoted);
	return diag_set_errno(d, -errno, "cannot lock the cache %s", quoted);
}

int git_cache_open(const char *base, const char *url, struct git_cache *out, struct diag *d)
{
	scoped(git_cache) struct git_cache c = GIT_CACHE_INIT;
	char quoted[TEXT_QUOTE_LEN];
	int r = dir_of(base, url, &c.dir, d);

	if (r < 0)
		return r;
	r = make_dirs(c.dir);
	if (r < 0)
		return diag_set_errno(d, r, "cannot make the cache %s",
		                      text_quote(c.dir, strlen(c.dir), quoted, sizeof(quoted)));
	r = lock(&c, d);
	if (r < 0)
		return r;
	*out = c;
	c = (struct git_cache)GIT_CACHE_INIT;
	return 0;
}

void git_cache_close(struct git_cache *c)
{
	if (c->lock >= 0)
		close(take_fd(&c->lock));
	free(take_ptr(c->dir));
}

char *git_cache_path(const struct git_cache *c, const char *id, bool is_part)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s%s", c->dir, id, is_part ? ".part" : "") < 0 ? NULL : path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int git_cache_remove(const char *path)
{
	return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT ? -errno : 0;
}

int git_cache_complete(const struct git_cache *c, const char *id, struct diag *d)
{
	scoped_free char *part = git_cache_path(c, id, true);
	scoped_free char *whole = git_cache_path(c, id, false);

	if (!part || !whole)
		return out_of_memory(d);
	if (rename(part, whole) < 0)
		return diag_set_errno(d, -errno, "cannot keep the fetched commit %s in the cache",
		                      id);
	return 0;
}
