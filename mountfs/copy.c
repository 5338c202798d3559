/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and symlinks are made first, by one thread. Then threads take turns at pieces of
 * files: who takes the first piece of a file makes it, who finishes its last one names it. So a
 * single large file is copied as fast as many. Modes and times of directories come last, because
 * they would be in the way of what is made inside.
 */
#include "copy.h"

#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#define PIECE_LEN     (8 * MIB)
#define READ_LEN      (1 * MIB)
#define HOLE_LEN      4096 /* zeros of this length, aligned, are not written */
#define TEMP_NAME_LEN 32

/* A regular file on its way. */
struct file {
	const struct entry *entry;
	uint64_t first_piece, piece_cnt; /* at least one, also when it is empty */
	pthread_mutex_t lock;            /* guards all below */
	uint64_t left;                   /* pieces that are not done */
	int fd, dir_fd;                  /* -1: not made yet, or named already */
	char temp_name[TEMP_NAME_LEN];   /* in dir_fd */
};

struct copy {
	const struct copy_options *o;
	struct file *file;
	size_t file_cnt;
	uint64_t piece_cnt;
	_Atomic uint64_t next; /* piece that nobody has taken yet */
};

/* ---- names ---- */

static const char *path_of(const struct copy *c, const struct entry *e)
{
	return c->o->single_name && e == c->o->list->entry ? c->o->single_name : e->path;
}

/* The directory that the last component of path lies in, never through a symlink; *name is that
 * component. */
static int open_parent(const struct copy *c, const char *path, const char **name, int *out)
{
	scoped_fd int fd = fcntl(c->o->dir_fd, F_DUPFD_CLOEXEC, 3);

	for (const char *slash; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		char component[EROFS_MAX_NAME_LEN + 1];
		size_t len = MIN((size_t)(slash - path), EROFS_MAX_NAME_LEN);
		int below;

		memcpy(component, path, len);
		component[len] = '\0';
		below = openat(fd, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below < 0)
			return -errno;
		close(fd);
		fd = below;
	}
	if (fd < 0)
		return -errno;
	*name = path;
	*out = take_fd(&fd);
	return 0;
}

static int new_temp_name(char out[TEMP_NAME_LEN])
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	snprintf(out, TEMP_NAME_LEN, ".mountfs-%016" PRIx64, random);
	return 0;
}

/* name NULL: of fd itself. A file system that cannot hold the time holds the bytes all the same. */
static void set_times(int fd, const char *name, const struct erofs_inode *ino)
{
	const struct timespec t[] = { { .tv_sec = ino->mtime_s, .tv_nsec = ino->mtime_ns },
		                      { .tv_sec = ino->mtime_s, .tv_nsec = ino->mtime_ns } };
	int r = name ? utimensat(fd, name, t, AT_SYMLINK_NOFOLLOW) : futimens(fd, t);

	(void)r;
}

static int fail(const struct copy *c, const struct entry *e, int err, const char *what,
                struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	const char *path = path_of(c, e);

	return diag_set_errno(d, err, "%s: %s",
	                      text_quote(path, strlen(path), quoted, sizeof(quoted)), what);
}

/* The reader has said why; it does not know the path. */
static int fail_reading(const struct copy *c, const struct entry *e, int err, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	const char *path = path_of(c, e);

	return diag_prefix(d, err, "%s", text_quote(path, strlen(path), quoted, sizeof(quoted)));
}

/* ---- directories and symlinks ---- */

static int make_dir(const struct copy *c, const struct entry *e, struct diag *d)
{
	scoped_fd int parent = -1;
	scoped_fd int fd = -1;
	const char *name;
	int r = open_parent(c, path_of(c, e), &name, &parent);

	if (r < 0)
		return fail(c, e, r, "cannot reach its directory", d);
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return fail(c, e, -errno, "cannot make the directory", d);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? fail(c, e, -errno, "cannot use the directory", d) : 0;
}

static int make_link(const struct copy *c, const struct entry *e, struct diag *d)
{
	char target[EROFS_MAX_SYMLINK_LEN + 1], temp[TEMP_NAME_LEN];
	scoped_fd int parent = -1;
	const char *name;
	int r = erofs_readlink(c->o->fs, &e->inode, target, sizeof(target), d);

	if (r < 0)
		return fail_reading(c, e, r, d);
	r = open_parent(c, path_of(c, e), &name, &parent);
	if (r == 0)
		r = new_temp_name(temp);
	if (r == 0 && symlinkat(target, parent, temp) < 0)
		r = -errno;
	if (r < 0)
		return fail(c, e, r, "cannot make the symlink", d);
	set_times(parent, temp, &e->inode);
	if (renameat(parent, temp, parent, name) < 0) {
		r = fail(c, e, -errno, "cannot put the symlink in its place", d);
		unlinkat(parent, temp, 0);
	}
	return r;
}

static int make_dirs_and_links(const struct copy *c, struct diag *d)
{
	const struct entries *l = c->o->list;
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->cnt; i++) {
		const struct entry *e = &l->entry[i];

		if (S_ISDIR(e->inode.mode) && e->path[0] != '\0')
			r = make_dir(c, e, d);
		else if (S_ISLNK(e->inode.mode))
			r = make_link(c, e, d);
	}
	return r;
}

/* From the inside out, so that none is closed before what lies in it is done. */
static int finish_dirs(const struct copy *c, struct diag *d)
{
	const struct copy_options *o = c->o;
	const struct entries *l = o->list;

	for (size_t i = l->cnt; i-- > 0;) {
		const struct entry *e = &l->entry[i];
		scoped_fd int parent = -1;
		scoped_fd int fd = -1;
		const char *name = ".";
		int r;

		if (!S_ISDIR(e->inode.mode) || (i == 0 && o->is_dir_foreign))
			continue;
		r = open_parent(c, e->path, &name, &parent);
		if (r == 0)
			fd = openat(parent, name[0] ? name : ".",
			            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fchmod(fd, e->inode.mode & 0777) < 0)
			return fail(c, e, r < 0 ? r : -errno, "cannot set the mode", d);
		set_times(fd, NULL, &e->inode);
	}
	return 0;
}

/* ---- files ---- */

/* Under the file's lock. */
static int make_file(const struct copy *c, struct file *f, struct diag *d)
{
	const char *name;
	int r = open_parent(c, path_of(c, f->entry), &name, &f->dir_fd);

	if (r == 0)
		r = new_temp_name(f->temp_name);
	if (r < 0)
		return fail(c, f->entry, r, "cannot reach its directory", d);
	f->fd = openat(f->dir_fd, f->temp_name,
	               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0)
		return fail(c, f->entry, -errno, "cannot make the file", d);
	if (ftruncate(f->fd, (off_t)f->entry->inode.size) < 0)
		return fail(c, f->entry, -errno, "cannot make the file as long as it is", d);
	return 0;
}

/* Under the file's lock: the file is whole. */
static int name_file(const struct copy *c, struct file *f, struct diag *d)
{
	const char *path = path_of(c, f->entry);
	const char *slash = strrchr(path, '/');

	if (fchmod(f->fd, f->entry->inode.mode & 0777) < 0)
		return fail(c, f->entry, -errno, "cannot set the mode", d);
	set_times(f->fd, NULL, &f->entry->inode);
	/* some file systems tell only now that there was no room */
	if (close(take_fd(&f->fd)) < 0)
		return fail(c, f->entry, -errno, "cannot write the file", d);
	if (renameat(f->dir_fd, f->temp_name, f->dir_fd, slash ? slash + 1 : path) < 0)
		return fail(c, f->entry, -errno, "cannot put the file in its place", d);
	close(take_fd(&f->dir_fd));
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t len, uint64_t off)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

/* The file is as long as it will be and all holes: only what is not zero is written. */
static int write_sparse(int fd, const uint8_t *bytes, size_t len, uint64_t off)
{
	size_t from = 0; /* bytes [from, at) are to be written */
	int r = 0;

	for (size_t at = 0; r == 0 && at <= len; at += HOLE_LEN) {
		if (at < len && !is_zero(bytes + at, MIN(HOLE_LEN, len - at)))
			continue;
		if (from < at)
			r = write_all(fd, bytes + from, MIN(at, len) - from, off + from);
		from = at + HOLE_LEN;
	}
	if (r == 0 && from < len)
		r = write_all(fd, bytes + from, len - from, off + from);
	return r;
}

/* The next bytes of a piece, none where the disk says that it has a hole; returns how many. */
static int64_t copy_some(const struct copy *c, const struct file *f, uint64_t off, uint64_t len,
                         uint8_t *buf, struct diag *d)
{
	const struct erofs_inode *ino = &f->entry->inode;
	struct erofs_extent x;
	int64_t n;
	int r = erofs_map(c->o->fs, ino, off, &x, d);

	if (r == 0 && x.hole)
		return (int64_t)MIN(x.len, len);
	n = r < 0 ? r : erofs_read(c->o->fs, ino, off, buf, MIN(READ_LEN, len), d);
	if (n < 0)
		return fail_reading(c, f->entry, (int)n, d);
	r = write_sparse(f->fd, buf, (size_t)n, off);
	return r < 0 ? fail(c, f->entry, r, "cannot write the file", d) : n;
}

static int copy_piece(const struct copy *c, const struct file *f, uint64_t piece, uint8_t *buf,
                      struct diag *d)
{
	uint64_t off = piece * PIECE_LEN, end = MIN(f->entry->inode.size, off + PIECE_LEN);

	while (off < end) {
		int64_t n = copy_some(c, f, off, end - off, buf, d);

		if (n < 0)
			return (int)n;
		off += (uint64_t)n;
		c->o->on_bytes((uint64_t)n);
	}
	return 0;
}

static int do_piece(const struct copy *c, struct file *f, uint64_t piece, uint8_t *buf,
                    struct diag *d)
{
	int r = 0;

	pthread_mutex_lock(&f->lock);
	if (f->fd < 0)
		r = make_file(c, f, d);
	pthread_mutex_unlock(&f->lock);
	if (r == 0)
		r = copy_piece(c, f, piece, buf, d);
	if (r < 0)
		return r;
	pthread_mutex_lock(&f->lock);
	if (--f->left == 0)
		r = name_file(c, f, d);
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* Files are in order of their first piece. */
static struct file *file_of_piece(struct copy *c, uint64_t piece)
{
	size_t low = 0, high = c->file_cnt;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (c->file[mid].first_piece <= piece)
			low = mid;
		else
			high = mid;
	}
	return &c->file[low];
}

static int copy_until_done(void *ctx, const atomic_bool *stop, struct diag *d)
{
	struct copy *c = ctx;
	scoped_free uint8_t *buf = malloc(READ_LEN);
	int r = buf ? 0 : diag_set(d, -ENOMEM, "out of memory");

	while (r == 0 && !atomic_load(stop)) {
		uint64_t piece = atomic_fetch_add(&c->next, 1);
		struct file *f;

		if (piece >= c->piece_cnt)
			break;
		if (atomic_load(c->o->stop))
			return diag_set(d, -EINTR, "interrupted");
		f = file_of_piece(c, piece);
		r = do_piece(c, f, piece - f->first_piece, buf, d);
	}
	return r;
}

/* ---- all of it ---- */

static int plan_files(struct copy *c, struct diag *d)
{
	const struct entries *l = c->o->list;

	c->file = calloc(MAX(l->cnt, 1), sizeof(*c->file));
	if (!c->file)
		return diag_set(d, -ENOMEM, "out of memory");
	for (size_t i = 0; i < l->cnt; i++) {
		const struct entry *e = &l->entry[i];
		struct file *f = &c->file[c->file_cnt];

		if (S_ISDIR(e->inode.mode) || S_ISLNK(e->inode.mode))
			continue;
		if (!S_ISREG(e->inode.mode))
			return fail(c, e, -EOPNOTSUPP, "is a device, fifo or socket", d);
		f->entry = e;
		f->first_piece = c->piece_cnt;
		f->piece_cnt = MAX(div_up(e->inode.size, PIECE_LEN), 1);
		f->left = f->piece_cnt;
		f->fd = -1;
		f->dir_fd = -1;
		pthread_mutex_init(&f->lock, NULL);
		c->file_cnt++;
		if (!add_u64(c->piece_cnt, f->piece_cnt, &c->piece_cnt))
			return fail(c, e, -EFBIG, "the files are too long together", d);
	}
	return 0;
}

static void copy_release(struct copy *c)
{
	for (size_t i = 0; i < c->file_cnt; i++) {
		struct file *f = &c->file[i];

		if (f->dir_fd >= 0)
			unlinkat(f->dir_fd, f->temp_name, 0);
		scope_close(&f->fd);
		scope_close(&f->dir_fd);
		pthread_mutex_destroy(&f->lock);
	}
	free(c->file);
}

int copy_out(const struct copy_options *o, struct diag *d)
{
	struct copy c = { .o = o };
	int r = plan_files(&c, d);

	if (r == 0)
		r = make_dirs_and_links(&c, d);
	if (r == 0)
		r = workers_run(o->thread_cnt, copy_until_done, &c, d);
	if (r == 0)
		r = finish_dirs(&c, d);
	copy_release(&c);
	return r;
}
