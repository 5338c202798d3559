/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds objects by name and size. Directories are tried in the order they were added, files of a
 * working tree last: git-lfs writes the former and nobody touches them.
 */
#include "lfs_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "text.h"
#include "walk.h"

#define MAX_DIRS 8

/* An object that was found. */
struct entry {
	bool is_used;
	uint8_t oid[HASH_SHA256_LEN];
	char *path; /* of the file that it lies in; NULL: in one of the directories */
};

struct lfs_store {
	int dir[MAX_DIRS];
	size_t dir_cnt;
	int files;           /* where the entries' paths start; -1 */
	struct entry *entry; /* open addressing by oid, at most half full */
	size_t entry_cnt, entry_cap;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the list of LFS objects");
}

int lfs_store_new(struct lfs_store **out)
{
	struct lfs_store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->files = -1;
	*out = s;
	return 0;
}

void lfs_store_free(struct lfs_store *s)
{
	if (!s)
		return;
	while (s->dir_cnt > 0)
		close(s->dir[--s->dir_cnt]);
	if (s->files >= 0)
		close(s->files);
	for (size_t i = 0; i < s->entry_cap; i++)
		free(s->entry[i].path);
	free(s->entry);
	free(s);
}

int lfs_store_add_objects(struct lfs_store *s, const char *dir, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	text_quote(dir, strlen(dir), quoted, sizeof(quoted));
	if (s->dir_cnt == MAX_DIRS)
		return diag_set(d, -E2BIG, "%s: more than %d directories of LFS objects", quoted,
		                MAX_DIRS);
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return diag_set_errno(d, -errno, "LFS objects in %s", quoted);
	s->dir[s->dir_cnt++] = fd;
	return 0;
}

int lfs_store_set_files(struct lfs_store *s, int dir_fd, struct diag *d)
{
	s->files = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	return s->files < 0 ? diag_set_errno(d, -errno, "cannot keep a directory open") : 0;
}

/* ---- what was found ---- */

/* The id is a digest: any part of it is as good as a hash. */
static struct entry *find_slot(const struct lfs_store *s, const uint8_t *oid)
{
	uint64_t hash;

	memcpy(&hash, oid, sizeof(hash));
	size_t i = (size_t)hash & (s->entry_cap - 1);
	while (s->entry[i].is_used && memcmp(s->entry[i].oid, oid, HASH_SHA256_LEN) != 0)
		i = (i + 1) & (s->entry_cap - 1);
	return &s->entry[i];
}

static int reserve(struct lfs_store *s)
{
	if (s->entry_cnt < s->entry_cap / 2)
		return 0;
	struct lfs_store larger = { .entry_cap = MAX(2 * s->entry_cap, 64) };
	larger.entry = calloc(larger.entry_cap, sizeof(*larger.entry));
	if (!larger.entry)
		return -ENOMEM;
	for (size_t i = 0; i < s->entry_cap; i++)
		if (s->entry[i].is_used)
			*find_slot(&larger, s->entry[i].oid) = s->entry[i];
	free(s->entry);
	s->entry = larger.entry;
	s->entry_cap = larger.entry_cap;
	return 0;
}

/* path may be NULL. */
static int add_entry(struct lfs_store *s, const uint8_t *oid, const char *path, struct diag *d)
{
	scoped_free char *copy = path ? strdup(path) : NULL;

	if (reserve(s) < 0 || (path && !copy))
		return out_of_memory(d);
	struct entry *e = find_slot(s, oid);
	if (e->is_used)
		return 0;
	e->is_used = true;
	memcpy(e->oid, oid, HASH_SHA256_LEN);
	e->path = take_ptr(copy);
	s->entry_cnt++;
	return 0;
}

static const struct entry *find_entry(const struct lfs_store *s, const uint8_t *oid)
{
	const struct entry *e = s->entry_cap > 0 ? find_slot(s, oid) : NULL;

	return e && e->is_used ? e : NULL;
}

bool lfs_store_has(const struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN])
{
	return find_entry(s, oid) != NULL;
}

/* ---- files ---- */

static int open_object(int dir, const uint8_t *oid)
{
	char hex[2 * HASH_SHA256_LEN + 1], path[sizeof(hex) + 6];

	hex_encode(oid, HASH_SHA256_LEN, hex);
	snprintf(path, sizeof(path), "%.2s/%.2s/%s", hex, hex + 2, hex);
	int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool has_size(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

/* A descriptor of an object in one of the directories; -ENOENT: there is none of this size. */
static int open_in_dirs(const struct lfs_store *s, const uint8_t *oid, uint64_t size)
{
	int err = -ENOENT;

	for (size_t i = 0; i < s->dir_cnt; i++) {
		scoped_fd int fd = open_object(s->dir[i], oid);

		if (fd >= 0 && has_size(fd, size))
			return take_fd(&fd);
		if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			err = fd;
	}
	return err;
}

/* The same for the file at path. */
static int open_in_files(const struct lfs_store *s, const char *path, uint64_t size)
{
	scoped_free char *copy = strdup(path); /* to be cut up */
	scoped_fd int fd = copy ? walk_open_below(s->files, copy) : -ENOMEM;

	if (fd >= 0 && has_size(fd, size))
		return take_fd(&fd);
	return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd >= 0 ? -ENOENT : fd;
}

int lfs_store_find(struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN], uint64_t size,
                   const char *path, struct diag *d)
{
	int r;

	if (lfs_store_has(s, oid))
		return 1;
	scoped_fd int in_dirs = open_in_dirs(s, oid, size);
	if (in_dirs >= 0) {
		r = add_entry(s, oid, NULL, d);
		return r < 0 ? r : 1;
	}
	if (!path || s->files < 0)
		return 0;
	scoped_fd int in_files = open_in_files(s, path, size);
	if (in_files == -ENOMEM)
		return out_of_memory(d);
	if (in_files < 0)
		return 0;
	r = add_entry(s, oid, path, d);
	return r < 0 ? r : 1;
}

int lfs_store_open(const struct lfs_store *s, const uint8_t oid[HASH_SHA256_LEN], uint64_t size,
                   const char *what, int *fd, struct diag *d)
{
	const struct entry *e = find_entry(s, oid);
	int found = -ENOENT;

	if (e)
		found = e->path ? open_in_files(s, e->path, size) : open_in_dirs(s, oid, size);
	if (found == -ENOENT)
		return diag_set(d, -ESTALE,
		                "%s: its LFS object, of %" PRIu64
		                " bytes when the source was listed, is gone or has changed",
		                what, size);
	if (found < 0)
		return diag_set_errno(d, found, "%s: its LFS object", what);
	*fd = found;
	return 0;
}
