/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises snapshots by their place, and blobs by the inode of the directory that they are in,
 * however a link puts it.
 */
#include "hub_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "text.h"

/* Cuts the last component off path and returns it; NULL: there is none. */
static char *cut_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return NULL;
	*slash = '\0';
	return slash + 1;
}

static bool is_commit(const char *name)
{
	uint8_t id[20];

	return strlen(name) == 2 * sizeof(id) && hex_decode(name, id, sizeof(id)) == 0;
}

int hub_cache_open(const char *path, struct hub_cache *out)
{
	scoped(hub_cache) struct hub_cache c = HUB_CACHE_INIT;
	scoped_free char *real = realpath(path, NULL), *blobs = NULL;

	if (!real)
		return errno == ENOMEM ? -ENOMEM : 0;
	const char *commit = cut_last(real);
	const char *snapshots = cut_last(real);
	if (!commit || !snapshots || strcmp(snapshots, "snapshots") != 0)
		return 0;
	if (asprintf(&blobs, "%s/blobs", real) < 0) {
		blobs = NULL;
		return -ENOMEM;
	}
	c.blobs = open(blobs, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c.blobs < 0)
		return 0;
	if (is_commit(commit)) {
		c.commit = strdup(commit);
		if (!c.commit)
			return -ENOMEM;
	}
	*out = c;
	c = (struct hub_cache)HUB_CACHE_INIT;
	return 1;
}

void hub_cache_close(struct hub_cache *c)
{
	if (c->blobs >= 0)
		close(take_fd(&c->blobs));
	free(take_ptr(c->commit));
}

const char *hub_cache_blob(const struct hub_cache *c, int at, const char *target)
{
	const char *slash = strrchr(target, '/');
	struct stat blobs, there;
	char dir[PATH_MAX];

	if (!slash || slash == target || slash[1] == '\0' || strcmp(slash + 1, "..") == 0 ||
	    strcmp(slash + 1, ".") == 0 || (size_t)(slash - target) >= sizeof(dir))
		return NULL;
	memcpy(dir, target, (size_t)(slash - target));
	dir[slash - target] = '\0';
	if (fstatat(at, dir, &there, 0) < 0 || fstat(c->blobs, &blobs) < 0 ||
	    there.st_dev != blobs.st_dev || there.st_ino != blobs.st_ino)
		return NULL;
	return slash + 1;
}

bool hub_cache_is_object(const char *name, uint8_t oid[HASH_SHA256_LEN])
{
	return strlen(name) == 2 * (size_t)HASH_SHA256_LEN &&
	       hex_decode(name, oid, HASH_SHA256_LEN) == 0;
}
