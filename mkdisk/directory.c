/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a directory with a stack of its own: down by name, up by "..", each arrival compared with
 * the inode that was expected there. Decides what of a file enters the tree and which file is meant
 * when it is opened again; which paths stay out is exclude.c's, the order tree.c's.
 */
#include "directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "lfs_pointer.h"
#include "text.h"

#define OPEN_DIR (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct directory {
	int fd;
	struct walk_pointers pointers;
};

/* What a node was at the walk: kept in its oid until the file is opened again. */
struct stamp {
	uint64_t dev, ino;
	int64_t mtime_s;
	uint32_t mtime_ns;
};
_Static_assert(sizeof(struct stamp) <= sizeof(((struct tree_node *)NULL)->oid), "a stamp fits");

struct level {
	struct tree_node *dir;
	uint32_t next; /* child to look into next */
};

struct walk {
	const struct source_options *opt;
	const struct hub_cache *cache; /* NULL: links stay links */
	struct lfs_store *store;
	struct tree *tree;
	struct diag *d;
	int fd; /* the directory at the top of the stack */
	struct walk_pointers *pointers;
	struct level *level;
	size_t level_cnt, level_cap;
	struct walk_path path;
	/* first names of inodes with several: open addressing, at most half full */
	struct tree_node **first;
	size_t first_cnt, first_cap;
};

static void walk_release(struct walk *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->level);
	walk_path_release(&w->path);
	free(w->first);
}

static inline void scope_end_walk(struct walk *w)
{
	walk_release(w);
}

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the list of the source's files");
}

/* A system call failed on the entry being looked at. */
static int fail(const struct walk *w, int err, const char *what)
{
	const char *path = w->path.text && *w->path.text ? w->path.text : ".";
	char quoted[TREE_QUOTE_LEN];

	return diag_set_errno(w->d, err, "source file %s %s",
	                      text_quote(path, strlen(path), quoted, sizeof(quoted)), what);
}

static int refuse(const struct walk *w, const char *what)
{
	char quoted[TREE_QUOTE_LEN];

	return diag_set(w->d, -EUCLEAN, "source file %s %s",
	                text_quote(w->path.text, strlen(w->path.text), quoted, sizeof(quoted)),
	                what);
}

/* The entry being looked at is name. */
static int set_entry(struct walk *w, const char *name)
{
	int r = walk_path_set(&w->path, name, strlen(name));

	return r < 0 ? out_of_memory(w->d) : 0;
}

static struct stamp stamp_of(const struct stat *st)
{
	return (struct stamp){ .dev = st->st_dev,
		               .ino = st->st_ino,
		               .mtime_s = st->st_mtim.tv_sec,
		               .mtime_ns = (uint32_t)st->st_mtim.tv_nsec };
}

static struct stamp stamp_get(const struct tree_node *n)
{
	struct stamp s;

	memcpy(&s, n->oid, sizeof(s));
	return s;
}

static bool is_same_inode(struct stamp a, struct stamp b)
{
	return a.dev == b.dev && a.ino == b.ino;
}

static size_t first_slot(const struct walk *w, struct stamp s)
{
	uint64_t hash =
	        (s.ino * UINT64_C(0x9E3779B97F4A7C15)) ^ (s.dev * UINT64_C(0xC2B2AE3D27D4EB4F));
	size_t i = (hash ^ hash >> 32) & (w->first_cap - 1);

	while (w->first[i] && !is_same_inode(stamp_get(w->first[i]), s))
		i = (i + 1) & (w->first_cap - 1);
	return i;
}

static int first_reserve(struct walk *w)
{
	struct tree_node **old = w->first;
	size_t old_cap = w->first_cap;

	if (w->first_cnt < w->first_cap / 2)
		return 0;
	size_t cap = old_cap > 0 ? old_cap * 2 : 64;
	struct tree_node **first = calloc(cap, sizeof(struct tree_node *));
	if (!first)
		return out_of_memory(w->d);
	w->first = first;
	w->first_cap = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i])
			w->first[first_slot(w, stamp_get(old[i]))] = old[i];
	free(old);
	return 0;
}

/* n is a name of an inode that has several. Its first name is remembered, later ones link to it. */
static int find_first_name(struct walk *w, struct tree_node *n)
{
	int r = first_reserve(w);

	if (r < 0)
		return r;
	size_t i = first_slot(w, stamp_get(n));
	if (w->first[i]) {
		n->link = w->first[i];
	} else {
		w->first[i] = n;
		w->first_cnt++;
	}
	return 0;
}

static int read_target(struct walk *w, struct tree_node *n)
{
	char target[PATH_MAX + 1];
	ssize_t len = readlinkat(w->fd, n->name, target, sizeof(target));

	if (len < 0)
		return fail(w, -errno, "cannot be read");
	return tree_set_target(n, target, (size_t)len, w->d);
}

/* One attribute by its name. file is a path that does not follow the file itself. */
static int read_xattr(struct walk *w, struct tree_node *n, const char *file, const char *name)
{
	/* one byte more than the disk takes: as much as the kernel has */
	scoped_free uint8_t *value = malloc(TREE_MAX_XATTR_VALUE + 1);
	char quoted[TEXT_QUOTE_LEN], what[TEXT_QUOTE_LEN + 64];

	if (!value)
		return out_of_memory(w->d);
	ssize_t len = lgetxattr(file, name, value, TREE_MAX_XATTR_VALUE + 1);
	int r = len < 0 ? -errno : tree_add_xattr(n, name, value, (size_t)len);
	if (r == 0)
		return 0;
	snprintf(what, sizeof(what), "has the extended attribute %s, which cannot be taken over",
	         text_quote(name, strlen(name), quoted, sizeof(quoted)));
	return fail(w, r == -E2BIG ? -EOPNOTSUPP : r, what);
}

/*
 * As listxattr(2) gives them, in its order. By path, because a descriptor that could be asked
 * exists for few kinds of files; the path leads through our own descriptor, so it is short and the
 * directories above cannot be changed under it.
 */
static int read_xattrs(struct walk *w, struct tree_node *n)
{
	char file[64 + NAME_MAX], list[XATTR_LIST_MAX];

	/* the root is the current directory itself */
	snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", w->fd, n->parent ? n->name : ".");
	ssize_t len = llistxattr(file, list, sizeof(list));
	if (len < 0)
		return errno == EOPNOTSUPP
		               ? 0
		               : fail(w, -errno, "cannot be asked for extended attributes");
	for (ssize_t i = 0; i < len; i += (ssize_t)strlen(list + i) + 1) {
		int r = read_xattr(w, n, file, list + i);

		if (r < 0)
			return r;
	}
	return 0;
}

static void set_inode(const struct walk *w, struct tree_node *n, const struct stat *st)
{
	struct stamp s = stamp_of(st);

	n->mode = (uint16_t)(st->st_mode & (S_IFMT | 07777));
	if (w->cache) /* the umask of whoever downloaded it is no part of a model */
		n->mode = S_ISDIR(st->st_mode) ? S_IFDIR | 0755 : S_IFREG | 0644;
	if (w->opt->keep_owners) {
		n->uid = st->st_uid;
		n->gid = st->st_gid;
	}
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		n->rdev_major = major(st->st_rdev);
		n->rdev_minor = minor(st->st_rdev);
	}
	n->mtime_s = st->st_mtim.tv_sec;
	n->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	if (S_ISREG(st->st_mode)) {
		n->size = (uint64_t)st->st_size;
		n->content = n->size > 0 ? TREE_CONTENT_PATH : TREE_CONTENT_NONE;
	}
	memcpy(n->oid, &s, sizeof(s));
}

/* Small files are looked into now, so that a model that was never fetched is told in time; this
 * also tells what cannot be read. */
static int examine_file(struct walk *w, struct tree_node *n)
{
	char text[LFS_POINTER_MAX_LEN + 1];
	struct lfs_pointer p;

	if (n->size > LFS_POINTER_MAX_LEN || n->size == 0)
		return faccessat(w->fd, n->name, R_OK, AT_EACCESS) < 0
		               ? fail(w, -errno, "cannot be read")
		               : 0;
	scoped_fd int fd =
	        openat(w->fd, n->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return fail(w, -errno, "cannot be read");
	ssize_t len = pread(fd, text, sizeof(text), 0);
	if (len < 0)
		return fail(w, -errno, "cannot be read");
	if (lfs_pointer_parse(text, (size_t)len, &p))
		walk_note_pointer(w->pointers, n);
	return 0;
}

/* The blob name, for the file n: 1 if it is kept in Git LFS. */
static int set_object(struct walk *w, struct tree_node *n, const char *name)
{
	uint8_t oid[HASH_SHA256_LEN];

	if (n->size == 0 || !hub_cache_is_object(name, oid))
		return 0;
	int r = lfs_store_find(w->store, oid, n->size, name, w->d);
	if (r < 1)
		return r < 0 ? r : fail(w, -ESTALE, "was replaced while it was listed");
	n->content = TREE_CONTENT_LFS;
	memcpy(n->oid, oid, sizeof(oid));
	return 1;
}

/* What a link of a snapshot leads to, as if it were the file itself. */
static int add_blob(struct walk *w, const char *name)
{
	struct tree_node *dir = w->level[w->level_cnt - 1].dir, *n = NULL;
	char target[PATH_MAX + 1] = "";
	struct stat st;

	if (readlinkat(w->fd, name, target, sizeof(target) - 1) < 0)
		return fail(w, -errno, "cannot be read");
	const char *blob = hub_cache_blob(w->cache, w->fd, target);
	if (!blob)
		return refuse(w, "is a link that does not lead to a blob of its cache");
	if (fstatat(w->cache->blobs, blob, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    faccessat(w->cache->blobs, blob, R_OK, AT_EACCESS) < 0)
		return fail(w, -errno, "leads to a blob that cannot be read");
	if (!S_ISREG(st.st_mode))
		return refuse(w, "leads to a blob that is not a file");
	int r = tree_add(w->tree, dir, name, strlen(name), S_IFREG, &n, w->d);
	if (r < 0)
		return r;
	set_inode(w, n, &st);
	r = set_object(w, n, blob);
	if (r != 0)
		return MIN(r, 0);
	if (asprintf(&n->source_path, "../../blobs/%s", blob) >= 0)
		return 0;
	n->source_path = NULL;
	return out_of_memory(w->d);
}

static int add_entry(struct walk *w, const char *name, const struct stat *st)
{
	struct tree_node *dir = w->level[w->level_cnt - 1].dir, *n = NULL;
	int r = tree_add(w->tree, dir, name, strlen(name), (uint16_t)(st->st_mode & S_IFMT), &n,
	                 w->d);

	if (r < 0)
		return r;
	set_inode(w, n, st);
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1)
		r = find_first_name(w, n);
	if (r < 0 || n->link)
		return r;
	if (S_ISLNK(st->st_mode))
		r = read_target(w, n);
	else if (S_ISREG(st->st_mode))
		r = examine_file(w, n);
	if (r == 0 && w->opt->keep_xattrs)
		r = read_xattrs(w, n);
	return r;
}

static int visit_entry(struct walk *w, const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (w->level_cnt == 1 && strcmp(name, ".git") == 0)
		return 0;
	int r = set_entry(w, name);
	if (r < 0)
		return r;
	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(w, -errno, "cannot be examined");
	if (walk_verdict(&w->path, w->opt, S_ISDIR(st.st_mode)) == EXCLUDE_DROP)
		return 0;
	if (w->cache && S_ISLNK(st.st_mode))
		return add_blob(w, name);
	if (w->cache && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return refuse(w, "is not a file, directory or link");
	return add_entry(w, name, &st);
}

static void close_listing(DIR *listing)
{
	if (listing)
		closedir(listing);
}
DEFINE_SCOPED(listing, DIR *, close_listing)

/* Adds everything in the current directory. */
static int read_entries(struct walk *w)
{
	scoped_fd int fd = openat(w->fd, ".", OPEN_DIR);
	if (fd < 0)
		return fail(w, -errno, "cannot be read");
	scoped(listing) DIR *listing = fdopendir(fd);
	if (!listing)
		return fail(w, -errno, "cannot be read");
	take_fd(&fd);
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(listing);
		int r = entry ? visit_entry(w, entry->d_name) : -errno;

		if (!entry && r < 0) {
			w->path.text[w->path.dir_len] = '\0';
			return fail(w, r, "cannot be listed");
		}
		if (!entry || r < 0)
			return r;
	}
}

/* fd, where the walk has arrived, must be the inode that dir was. */
static int check_arrival(const struct walk *w, int fd, const struct tree_node *dir)
{
	char quoted[TREE_QUOTE_LEN];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(w, -errno, "cannot be examined");
	if (is_same_inode(stamp_of(&st), stamp_get(dir)))
		return 0;
	return diag_set(w->d, -ESTALE, "source directory %s was moved while the source was listed",
	                tree_quote_path(dir, quoted, sizeof(quoted)));
}

/* dir, at path, becomes the current directory. */
static int push_level(struct walk *w, struct tree_node *dir)
{
	if (w->level_cnt == w->level_cap) {
		size_t cap = w->level_cap > 0 ? w->level_cap * 2 : 64;
		struct level *level = realloc(w->level, cap * sizeof(*level));

		if (!level)
			return out_of_memory(w->d);
		w->level = level;
		w->level_cap = cap;
	}
	w->level[w->level_cnt++] = (struct level){ .dir = dir };
	return 0;
}

static int descend(struct walk *w, struct tree_node *dir)
{
	int r = set_entry(w, dir->name);

	if (r < 0)
		return r;
	scoped_fd int fd = openat(w->fd, dir->name, OPEN_DIR);
	if (fd < 0)
		return fail(w, -errno, "cannot be opened");
	r = check_arrival(w, fd, dir);
	if (r == 0)
		r = push_level(w, dir);
	if (r < 0)
		return r;
	close(w->fd);
	w->fd = take_fd(&fd);
	walk_path_enter(&w->path);
	return read_entries(w);
}

static int ascend(struct walk *w)
{
	if (--w->level_cnt == 0)
		return 0;
	walk_path_leave(&w->path);
	scoped_fd int fd = openat(w->fd, "..", OPEN_DIR);
	if (fd < 0)
		return fail(w, -errno, "cannot be opened again");
	int r = check_arrival(w, fd, w->level[w->level_cnt - 1].dir);
	if (r < 0)
		return r;
	close(w->fd);
	w->fd = take_fd(&fd);
	return 0;
}

static int start(struct walk *w, int root_fd)
{
	struct tree_node *root = w->tree->root;
	struct stat st;
	int r = set_entry(w, "");

	if (r < 0)
		return r;
	w->fd = openat(root_fd, ".", OPEN_DIR);
	if (w->fd < 0 || fstat(w->fd, &st) < 0)
		return fail(w, -errno, "cannot be opened");
	set_inode(w, root, &st);
	r = w->opt->keep_xattrs ? read_xattrs(w, root) : 0;
	if (r == 0)
		r = push_level(w, root);
	return r < 0 ? r : read_entries(w);
}

static int walk(struct directory *dir, const struct directory_options *opt, struct tree *t,
                struct diag *d)
{
	scoped(walk) struct walk w = { .opt = opt->source,
		                       .cache = opt->cache,
		                       .store = opt->store,
		                       .tree = t,
		                       .d = d,
		                       .fd = -1,
		                       .pointers = &dir->pointers };
	int r = start(&w, dir->fd);

	while (r == 0 && w.level_cnt > 0) {
		struct level *top = &w.level[w.level_cnt - 1];

		if (top->next == top->dir->child_cnt) {
			r = ascend(&w);
			continue;
		}
		struct tree_node *n = top->dir->child[top->next++];
		if (S_ISDIR(n->mode))
			r = descend(&w, n);
	}
	return r;
}

int directory_open(const struct directory_options *opt, struct tree *t, struct directory **out,
                   struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];
	scoped(directory) struct directory *dir = calloc(1, sizeof(*dir));

	if (!dir)
		return out_of_memory(d);
	dir->fd = open(opt->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return diag_set_errno(
		        d, -errno, "source directory %s",
		        text_quote(opt->path, strlen(opt->path), quoted, sizeof(quoted)));
	int r = walk(dir, opt, t, d);
	if (r < 0)
		return r;
	*out = take_ptr(dir);
	return 0;
}

const struct walk_pointers *directory_pointers(const struct directory *dir)
{
	return &dir->pointers;
}

void directory_close(struct directory *dir)
{
	if (!dir)
		return;
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir);
}

/* Where n was found, as bytes to be cut up; NULL without memory. */
static char *found_at(const struct tree_node *n)
{
	if (n->source_path)
		return strdup(n->source_path);
	size_t len = tree_path(n, NULL, 0);
	char *path = malloc(len + 1);
	if (path)
		tree_path(n, path, len + 1);
	return path;
}

int directory_file_check(const struct tree_node *n, int fd, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];
	struct stamp seen = stamp_get(n);
	const char *what = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return diag_set_errno(d, -errno, "source file %s",
		                      tree_quote_path(n, quoted, sizeof(quoted)));
	if (!S_ISREG(st.st_mode) || !is_same_inode(stamp_of(&st), seen))
		what = "is another file now than when the source was listed";
	else if ((uint64_t)st.st_size != n->size)
		what = "has another size now than when the source was listed";
	else if (st.st_mtim.tv_sec != seen.mtime_s || st.st_mtim.tv_nsec != seen.mtime_ns)
		what = "was changed since the source was listed";
	if (!what)
		return 0;
	return diag_set(d, -ESTALE, "source file %s %s", tree_quote_path(n, quoted, sizeof(quoted)),
	                what);
}

int directory_file_open(const struct directory *dir, const struct tree_node *n, int *fd,
                        struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];
	scoped_free char *path = found_at(n);

	if (!path)
		return diag_set(d, -ENOMEM, "out of memory to open %s",
		                tree_quote_path(n, quoted, sizeof(quoted)));
	int opened = walk_open_below(dir->fd, path);
	if (opened == -ENOENT || opened == -ELOOP || opened == -ENOTDIR || opened == -ENXIO)
		return diag_set(d, -ESTALE, "source file %s is gone since the source was listed",
		                tree_quote_path(n, quoted, sizeof(quoted)));
	if (opened < 0)
		return diag_set_errno(d, opened, "source file %s",
		                      tree_quote_path(n, quoted, sizeof(quoted)));
	scoped_fd int held = opened;
	int r = directory_file_check(n, held, d);
	if (r < 0)
		return r;
	*fd = take_fd(&held);
	return 0;
}
