/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the disk's bytes go. Decides how a target is recognised, when it is replaced and when it is
 * written in place, and in which order things become durable. Which bytes go where is the caller's.
 */
#include "output.h"
#include "blk.h"
#include "head.h"
#include "part.h"
#include "signature.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define ZERO_LEN (64 * KIB)

enum output_kind {
	OUTPUT_NOWHERE,
	OUTPUT_REPLACE, /* a part that takes the name at commit */
	OUTPUT_IN_PLACE,
	OUTPUT_DEVICE,
};

struct output {
	enum output_kind kind;
	int fd;            /* of the part, or our own */
	struct part *part; /* REPLACE */
	struct head *head; /* IN_PLACE, DEVICE */
	char *path;        /* as given: for messages */
	uint64_t len;
	struct writer *writer; /* NULL: NOWHERE */
	atomic_ullong written;
};

/* ---- what stands there ---- */

int output_probe(const char *path, struct output_target *out, struct diag *d)
{
	struct output_target t = { .sector_len = 512 };
	scoped(blk) struct blk *b = NULL;
	struct stat st;
	int r;

	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return diag_set_errno(d, -errno, "%s", path);
		if (!path[0] || path[strlen(path) - 1] == '/')
			return diag_set(d, -EINVAL, "\"%s\": is not the name of a file", path);
		if (lstat(path, &st) == 0)
			return diag_set(d, -EINVAL, "%s: is a symbolic link that leads nowhere",
			                path);
		*out = t;
		return 0;
	}
	r = blk_open(path, &b, d);
	if (r < 0)
		return r;
	t.exists = true;
	t.is_block_device = S_ISBLK(st.st_mode);
	t.len = blk_size(b);
	t.sector_len = blk_sector_len(b);
	r = signature_find(b, &t.signature, d);
	if (r < 0)
		return r;
	*out = t;
	return 0;
}

/* ---- opening ---- */

static int check_space(int fd, uint64_t need_len, uint64_t freed_len, struct diag *d)
{
	char need[SIZE_TEXT_LEN], have[SIZE_TEXT_LEN];
	struct statvfs fs;
	uint64_t free_len;

	if (fstatvfs(fd, &fs) < 0)
		return diag_set_errno(d, -errno, "cannot ask for free space");
	if (!mul_u64(geteuid() == 0 ? fs.f_bfree : fs.f_bavail, fs.f_frsize, &free_len) ||
	    !add_u64(free_len, freed_len, &free_len))
		free_len = UINT64_MAX;
	if (free_len >= need_len)
		return 0;
	size_format(need_len, need);
	size_format(free_len, have);
	return diag_set(d, -ENOSPC,
	                "the disk needs %" PRIu64
	                " bytes (%s), but its file system has only %" PRIu64 " (%s) free",
	                need_len, need, free_len, have);
}

/* Does this failure to replace a file leave the hope that it can be written to where it is? */
static bool may_write_in_place(int err)
{
	return err == -EACCES || err == -EPERM || err == -EROFS || err == -EBUSY;
}

static int make_empty(struct output *o, const struct stat *st, uint64_t need_len, struct diag *d)
{
	int r = check_space(o->fd, need_len, (uint64_t)st->st_blocks * 512, d);

	if (r < 0)
		return r;
	/* to nothing and back: all of it is a hole now, whatever it held */
	if (ftruncate(o->fd, 0) < 0 || ftruncate(o->fd, (off_t)o->len) < 0)
		return diag_set_errno(d, -errno, "cannot give it %" PRIu64 " bytes", o->len);
	return 0;
}

static int open_in_place(struct output *o, const char *real_path, const struct stat *st,
                         const struct output_options *opt, struct diag *d)
{
	bool has_len = (uint64_t)st->st_size == o->len;
	int r;

	o->fd = open(real_path, O_RDWR | O_CLOEXEC);
	if (o->fd < 0)
		return diag_set_errno(d, -errno, "cannot replace it nor write to it");
	if (flock(o->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return diag_set(d, -EAGAIN, "another mkdisk is writing it");
	o->kind = OUTPUT_IN_PLACE;
	r = head_open(o->fd, o->len, has_len ? opt->journal : NULL, &o->head, d);
	if (r == 0 && !head_is_continued(o->head))
		r = make_empty(o, st, opt->need_len, d);
	return r;
}

static int open_device(struct output *o, const char *real_path, const struct output_target *t,
                       const struct output_options *opt, struct diag *d)
{
	if (t->len < o->len)
		return diag_set(d, -ENOSPC,
		                "the device has %" PRIu64 " bytes, the disk needs %" PRIu64, t->len,
		                o->len);
	o->fd = open(real_path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (o->fd < 0)
		return diag_set_errno(d, -errno, "cannot open the device for itself alone");
	o->kind = OUTPUT_DEVICE;
	return head_open(o->fd, t->len, opt->journal, &o->head, d);
}

/* Is path the root of a mount, as a file is that docker run -v brings into a container? */
static bool is_mount_point(const char *path)
{
	struct statx stx;

	return statx(AT_FDCWD, path, 0, 0, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/*
 * Finds out now whether there is room, not hours later, and keeps it. Where the file system cannot
 * promise it, check_space() was all that can be asked. Only for contents that are known to be
 * without holes.
 */
static int reserve(const struct output *o, const struct output_options *opt, struct diag *d)
{
	struct statfs fs;

	/* tmpfs promises by filling pages with zeros; there, check_space() has to do */
	if (fstatfs(o->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		return 0;
	for (unsigned i = 0; opt->journal && i < ARRAY_LEN(opt->dense); i++) {
		const struct output_range *range = &opt->dense[i];

		if (range->len > 0 &&
		    fallocate(o->fd, FALLOC_FL_KEEP_SIZE, (off_t)range->off, (off_t)range->len) <
		            0 &&
		    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
			return diag_set_errno(d, -errno,
			                      "cannot reserve the %" PRIu64
			                      " bytes that the disk needs",
			                      opt->need_len);
	}
	return 0;
}

static int open_part(struct output *o, const char *real_path, const struct stat *old,
                     const struct output_options *opt, struct diag *d)
{
	struct part_target t = {
		.real_path = real_path, .old = old, .len = o->len, .journal = opt->journal
	};
	struct stat st;
	int r;

	if (old && is_mount_point(real_path))
		return diag_set(d, -EBUSY, "is a mount point");
	r = part_open(&t, &o->part, d);
	if (r < 0)
		return r;
	o->fd = part_fd(o->part);
	o->kind = OUTPUT_REPLACE;
	if (fstat(o->fd, &st) < 0)
		return diag_set_errno(d, -errno, "its part");
	r = check_space(o->fd, opt->need_len, (uint64_t)st.st_blocks * 512, d);
	return r < 0 ? r : reserve(o, opt, d);
}

static int open_file(struct output *o, const char *real_path, const struct output_options *opt,
                     struct diag *d)
{
	struct diag failure = DIAG_INIT; /* which may be of no interest */
	struct stat st;
	bool exists = stat(real_path, &st) == 0;
	int r = open_part(o, real_path, exists ? &st : NULL, opt, &failure);

	if (r == 0)
		return 0;
	if (exists && !o->part && may_write_in_place(r))
		return open_in_place(o, real_path, &st, opt, d);
	return diag_set(d, r, "%s", failure.text);
}

static int output_alloc(const char *path, uint64_t disk_len, struct output **out, struct diag *d)
{
	scoped(output) struct output *o = calloc(1, sizeof(*o));

	if (!o)
		return diag_set(d, -ENOMEM, "out of memory");
	o->fd = -1;
	o->len = disk_len;
	o->path = strdup(path ? path : "nowhere");
	if (!o->path)
		return diag_set(d, -ENOMEM, "out of memory");
	*out = take_ptr(o);
	return 0;
}

int output_open(const char *path, const struct output_options *opt, struct output **out,
                struct diag *d)
{
	scoped(output) struct output *o = NULL;
	scoped_free char *real_path = NULL;
	struct output_target t;
	int r = output_alloc(path, opt->disk_len, &o, d);

	if (r < 0)
		return r;
	if (!path) {
		*out = take_ptr(o);
		return 0;
	}
	if (opt->disk_len > INT64_MAX)
		return diag_set(d, -EFBIG, "%s: no file has %" PRIu64 " bytes", path,
		                opt->disk_len);
	r = output_probe(path, &t, d);
	if (r < 0)
		return r;
	if (t.signature && !opt->force)
		return diag_set(d, -EEXIST, "%s: holds a %s signature; --force overwrites it", path,
		                t.signature);
	real_path = t.exists ? realpath(path, NULL) : strdup(path);
	if (!real_path)
		return diag_set_errno(d, -errno, "%s", path);
	r = t.is_block_device ? open_device(o, real_path, &t, opt, d)
	                      : open_file(o, real_path, opt, d);
	if (r == 0 && o->head)
		r = head_begin(o->head, d);
	if (r < 0)
		return diag_prefix(d, r, "%s", path);
	if (writer_new(o->fd, opt->need_len, &o->writer) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	*out = take_ptr(o);
	return 0;
}

void output_close(struct output *o)
{
	if (!o)
		return;
	writer_free(o->writer);
	head_close(o->head);
	if (!o->part)
		scope_close(&o->fd);
	part_close(o->part);
	free(o->path);
	free(o);
}

/* ---- writing ---- */

static int write_all(struct output *o, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	int r = writer_write(o->writer, off, buf, len);

	return r < 0 ? diag_set_errno(d, r, "%s: cannot write %zu bytes at offset %" PRIu64,
	                              o->path, len, off)
	             : 0;
}

static int zero_by_writing(struct output *o, uint64_t off, uint64_t len, struct diag *d)
{
	static const uint8_t zeros[ZERO_LEN];

	while (len > 0) {
		size_t n = (size_t)MIN(len, ZERO_LEN);
		int r = write_all(o, off, zeros, n, d);

		if (r < 0)
			return r;
		off += n;
		len -= n;
	}
	return 0;
}

/* How many of the len bytes at off are held back. */
static size_t held_back(const struct output *o, uint64_t off, uint64_t len)
{
	return o->head ? head_held(off, len) : 0;
}

static int check_range(const struct output *o, uint64_t off, uint64_t len, struct diag *d)
{
	if (range_is_inside(off, len, o->len))
		return 0;
	return diag_set(d, -ERANGE,
	                "%s: %" PRIu64 " bytes at offset %" PRIu64
	                " are not inside the disk of %" PRIu64 " bytes",
	                o->path, len, off, o->len);
}

int output_write(struct output *o, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	size_t held = held_back(o, off, len);
	int r = check_range(o, off, len, d);

	if (r < 0 || o->kind == OUTPUT_NOWHERE)
		return r;
	if (held > 0)
		head_put(o->head, off, buf, held);
	r = write_all(o, off + held, (const uint8_t *)buf + held, len - held, d);
	if (r < 0)
		return r;
	atomic_fetch_add(&o->written, len);
	return 0;
}

int output_clone(struct output *o, uint64_t off, int from, uint64_t from_off, uint64_t len)
{
	if (o->kind == OUTPUT_NOWHERE || o->kind == OUTPUT_DEVICE || held_back(o, off, len) > 0 ||
	    !range_is_inside(off, len, o->len))
		return -EOPNOTSUPP;
	return writer_clone(o->writer, off, from, from_off, len);
}

/* The kernel can often tell the device; where it cannot, zeros are written. */
static int zero_device(struct output *o, uint64_t off, uint64_t len, struct diag *d)
{
	while (len > 0) {
		uint64_t range[2] = { off, MIN(len, GIB) };
		int r = 0;

		if (ioctl(o->fd, BLKZEROOUT, range) < 0)
			r = zero_by_writing(o, range[0], range[1], d);
		if (r < 0)
			return r;
		off += range[1];
		len -= range[1];
	}
	return 0;
}

int output_zero(struct output *o, uint64_t off, uint64_t len, struct diag *d)
{
	size_t held = held_back(o, off, len); /* and zero since it was allocated */
	int r = check_range(o, off, len, d);

	if (r < 0)
		return r;
	off += held;
	len -= held;
	if (o->kind == OUTPUT_DEVICE)
		return zero_device(o, off, len, d);
	if (!output_is_continued(o) || len == 0)
		return 0; /* sparse */
	if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) ==
	    0)
		return 0;
	return zero_by_writing(o, off, len, d);
}

int output_read(struct output *o, uint64_t off, void *buf, size_t len, struct diag *d)
{
	size_t held = held_back(o, off, len);
	int r = check_range(o, off, len, d);
	uint8_t *p = buf;

	if (r < 0)
		return r;
	if (o->kind == OUTPUT_NOWHERE)
		return diag_set(d, -EINVAL, "there is no disk to read back");
	if (held > 0)
		head_get(o->head, off, p, held);
	for (size_t done = held; done < len;) {
		ssize_t n = pread(o->fd, p + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return diag_set_errno(d, n < 0 ? -errno : -EIO,
			                      "%s: cannot read back %zu bytes at offset %" PRIu64,
			                      o->path, len - done, off + done);
		done += (size_t)n;
	}
	return 0;
}

uint64_t output_next_data(struct output *o, uint64_t off)
{
	off_t data;

	if (held_back(o, off, 1) > 0 || o->kind == OUTPUT_NOWHERE || o->kind == OUTPUT_DEVICE)
		return MIN(off, o->len);
	data = lseek(o->fd, (off_t)off, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? o->len : MIN(off, o->len);
	return MIN((uint64_t)data, o->len);
}

/* ---- the end ---- */

int output_commit(struct output *o, struct diag *d)
{
	int r;

	if (o->kind == OUTPUT_NOWHERE)
		return 0;
	if (fsync(o->fd) < 0)
		return diag_set_errno(d, -errno, "%s: cannot flush it", o->path);
	r = o->part ? part_commit(o->part, d) : head_commit(o->head, d);
	return diag_prefix(d, r, "%s", o->path);
}

struct journal *output_journal(const struct output *o)
{
	return o->part ? part_journal(o->part) : o->head ? head_journal(o->head) : NULL;
}

bool output_is_continued(const struct output *o)
{
	return (o->part && part_is_continued(o->part)) || (o->head && head_is_continued(o->head));
}

bool output_is_held_back(const struct output *o, uint64_t off)
{
	return held_back(o, off, 1) > 0;
}

const char *output_started_over(const struct output *o)
{
	if (o->head && head_was_of_another_plan(o->head))
		return PART_OF_ANOTHER_PLAN;
	return o->part ? part_started_over(o->part) : NULL;
}

const char *output_kept_name(const struct output *o)
{
	if (o->head)
		return head_is_kept(o->head) ? o->path : NULL;
	return o->part ? part_kept_name(o->part) : NULL;
}

void output_discard(struct output *o)
{
	if (o->part)
		part_discard(o->part);
	if (o->head)
		head_discard(o->head);
}

bool output_is_nowhere(const struct output *o)
{
	return o->kind == OUTPUT_NOWHERE;
}

uint64_t output_written(const struct output *o)
{
	return atomic_load(&o->written);
}
