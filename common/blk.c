/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as found. Decides how files and devices are opened, measured and read, and keeps every
 * read inside its range; what the bytes mean is the business of the layers above. A sub-range is
 * not a layer: it holds the outermost store and a start, so a read costs the same at any depth.
 */
#include "blk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The same on all architectures; headers older than Linux 6.5 do not have it. */
#define NR_CACHESTAT 451
#define SAMPLE_CNT   64

struct blk {
	const struct blk_ops *ops;
	void *ctx;
	uint64_t base_off, size;
	uint32_t sector_len;
	bool owns_ctx; /* false for a sub-range, whose store belongs to the outermost blk */
	char name[];
};

static int blk_alloc(const char *name, const char *label, struct blk **out)
{
	size_t len = strlen(name) + (label ? strlen(label) + 2 : 0) + 1;
	struct blk *b = calloc(1, sizeof(*b) + len);

	if (!b)
		return -ENOMEM;
	snprintf(b->name, len, "%s%s%s", name, label ? ": " : "", label ? label : "");
	b->sector_len = 512;
	*out = b;
	return 0;
}

int blk_new(const struct blk_ops *ops, void *ctx, uint64_t size, const char *name, struct blk **out)
{
	struct blk *b;
	int r = blk_alloc(name, NULL, &b);

	if (r < 0)
		return r;
	b->ops = ops;
	b->ctx = ctx;
	b->size = size;
	b->owns_ctx = true;
	*out = b;
	return 0;
}

int blk_sub(const struct blk *parent, uint64_t off, uint64_t len, const char *label,
            struct blk **out, struct diag *d)
{
	struct blk *b;
	int r;

	if (!range_is_inside(off, len, parent->size))
		return diag_set(d, -EUCLEAN,
		                "%s: %s of %" PRIu64 " bytes at offset %" PRIu64
		                " is not inside its %" PRIu64 " bytes",
		                parent->name, label, len, off, parent->size);
	r = blk_alloc(parent->name, label, &b);
	if (r < 0)
		return diag_set(d, r, "%s: out of memory", parent->name);
	b->ops = parent->ops;
	b->ctx = parent->ctx;
	b->base_off = parent->base_off + off;
	b->size = len;
	b->sector_len = parent->sector_len;
	*out = b;
	return 0;
}

void blk_close(struct blk *b)
{
	if (!b)
		return;
	if (b->owns_ctx && b->ops->close)
		b->ops->close(b->ctx);
	free(b);
}

/* ---- memory ---- */

static int memory_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	memcpy(buf, (const uint8_t *)ctx + off, len);
	return 0;
}

int blk_of_memory(const void *bytes, size_t len, const char *name, struct blk **out)
{
	static const struct blk_ops ops = { .read = memory_read };

	return blk_new(&ops, (void *)(uintptr_t)bytes, len, name, out);
}

/* ---- files and block devices ---- */

/* From this length on reads may be kept out of the page cache. */
#define MIN_DIRECT_LEN (64 * KIB)
/* What O_DIRECT wants of offset, length and memory: at most this, on all devices there are. */
#define DIRECT_ALIGN 4096
/* Of the page cache, on all architectures with pages of 4 KiB. */
#define MAX_FOLIO_LEN (2 * MIB)

struct file {
	int fd, direct_fd; /* direct_fd: with O_DIRECT; -1: never */
	bool drops;        /* what long reads bring into the page cache */
};

static bool goes_direct(const struct file *f, uint64_t off, const void *buf, size_t len)
{
	return f->direct_fd >= 0 && len >= MIN_DIRECT_LEN &&
	       (off | len | (uintptr_t)buf) % DIRECT_ALIGN == 0;
}

/*
 * pread(2) rather than a mapping: a file cut short behind our back must give an error, not SIGBUS,
 * and bytes must not change between being hashed and being returned.
 */
static int read_all(int fd, uint64_t off, uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		buf += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/*
 * From the page cache. Its folios may be larger than a read, and are dropped only when they lie
 * inside the range: so it reaches back to where the largest one could begin. What is ahead has been
 * brought by the kernel for the next read, and stays.
 */
static void drop(int fd, uint64_t off, size_t len)
{
	uint64_t from = round_down(off, MAX_FOLIO_LEN);

	posix_fadvise(fd, (off_t)from, (off_t)(off + len - from), POSIX_FADV_DONTNEED);
}

static int file_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	const struct file *f = ctx;
	int r = -EINVAL;

	if (goes_direct(f, off, buf, len))
		r = read_all(f->direct_fd, off, buf, len);
	/* EINVAL: a device that wants more of the alignment, or an end inside a sector */
	if (r == -EINVAL)
		r = read_all(f->fd, off, buf, len);
	if (f->drops && len >= MIN_DIRECT_LEN)
		drop(f->fd, off, len);
	return r;
}

static void file_close(void *ctx)
{
	struct file *f = ctx;

	close(f->fd);
	if (f->direct_fd >= 0)
		close(f->direct_fd);
	free(f);
}

static const struct blk_ops file_ops = { .read = file_read, .close = file_close };

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a fifo";
	case S_IFSOCK:
		return "a socket";
	default:
		return "of unknown type";
	}
}

static int measure(int fd, const char *name, uint64_t *size, uint32_t *sector_len, struct diag *d)
{
	struct stat st;
	int sector = 0;

	if (fstat(fd, &st) < 0)
		return diag_set_errno(d, -errno, "%s: cannot ask for its size", name);
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		*sector_len = 512;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return diag_set(d, -EINVAL, "%s: is %s, expected a file or a block device", name,
		                type_name(st.st_mode));
	if (ioctl(fd, BLKGETSIZE64, size) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return diag_set_errno(d, -errno, "%s: cannot ask for the device's size", name);
	if (sector <= 0 || !is_power_of_two((uint64_t)sector))
		return diag_set(d, -EIO, "%s: the device claims sectors of %d bytes", name, sector);
	*sector_len = (uint32_t)sector;
	return 0;
}

int blk_open_fd(int fd, const char *name, struct blk **out, struct diag *d)
{
	scoped_free struct file *f = calloc(1, sizeof(*f));
	uint64_t size = 0;
	uint32_t sector_len = 0;
	int r = measure(fd, name, &size, &sector_len, d);

	if (r < 0)
		return r;
	r = f ? blk_new(&file_ops, f, size, name, out) : -ENOMEM;
	if (r < 0)
		return diag_set(d, r, "%s: out of memory", name);
	*take_ptr(f) = (struct file){ .fd = fd, .direct_fd = -1 };
	(*out)->sector_len = sector_len;
	return 0;
}

int blk_open(const char *path, struct blk **out, struct diag *d)
{
	/* O_NONBLOCK: the open of a fifo must not wait for a writer before measure() refuses it */
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return diag_set_errno(d, -errno, "%s: cannot open", path);
	r = blk_open_fd(fd, path, out, d);
	if (r < 0)
		return r;
	take_fd(&fd);
	return 0;
}

/*
 * Is most of the file in the page cache? Judged by samples, so that it takes as long for every
 * size. cachestat(2), Linux 6.5; not told before, and not to users who may not write to the file.
 */
static bool is_mostly_cached(int fd, uint64_t size)
{
	struct {
		uint64_t off, len;
	} range = { .len = MIN(size / SAMPLE_CNT, MIN_DIRECT_LEN) };
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
	} found;
	unsigned cached_cnt = 0;

	for (unsigned i = 0; i < SAMPLE_CNT; i++) {
		range.off = size / SAMPLE_CNT * i;
		if (syscall(NR_CACHESTAT, fd, &range, &found, 0) < 0)
			return false;
		cached_cnt += found.cached > 0;
	}
	return cached_cnt > SAMPLE_CNT / 2;
}

void blk_set_direct(struct blk *b, enum blk_direct how)
{
	struct file *f = b->ctx;
	char path[32];

	if (b->ops != &file_ops)
		return;
	scope_close(&f->direct_fd);
	f->direct_fd = -1;
	f->drops = how == BLK_DIRECT_AUTO && !is_mostly_cached(f->fd, b->size);
	if (how != BLK_DIRECT_YES)
		return;
	/* O_DIRECT belongs to the open file, and this one must be the same file whatever its name
	 */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	f->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
}

int blk_fd(const struct blk *b)
{
	return b->ops == &file_ops ? ((const struct file *)b->ctx)->fd : -1;
}

int blk_direct_fd(const struct blk *b)
{
	return b->ops == &file_ops ? ((const struct file *)b->ctx)->direct_fd : -1;
}

/* ---- reading ---- */

/*
 * The sentence for a failed read: a file that ends early is the likeliest cause, so look. With
 * lseek(2), since fstat(3) is a call by path on some systems, which a sandbox does not allow.
 */
static int tell_failure(const struct blk *b, uint64_t off, size_t len, int err, struct diag *d)
{
	uint64_t disk_off = b->base_off + off;
	int fd = blk_fd(b);
	off_t end = err == -EIO && fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	if (end >= 0 && (uint64_t)end < disk_off + len)
		return diag_set(d, err,
		                "%s: cannot read %zu bytes at offset %" PRIu64
		                ": it has shrunk to %" PRIu64 " bytes",
		                b->name, len, disk_off, (uint64_t)end);
	return diag_set_errno(d, err, "%s: cannot read %zu bytes at offset %" PRIu64, b->name, len,
	                      off);
}

int blk_read(const struct blk *b, uint64_t off, void *buf, size_t len, struct diag *d)
{
	int r;

	if (!range_is_inside(off, len, b->size))
		return diag_set(d, -ERANGE,
		                "%s: %zu bytes at offset %" PRIu64 " are not inside its %" PRIu64
		                " bytes",
		                b->name, len, off, b->size);
	if (len == 0)
		return 0;
	r = b->ops->read(b->ctx, b->base_off + off, buf, len);
	if (r < 0 && d)
		return tell_failure(b, off, len, r, d);
	return r;
}

uint64_t blk_size(const struct blk *b)
{
	return b->size;
}

const char *blk_name(const struct blk *b)
{
	return b->name;
}

uint32_t blk_sector_len(const struct blk *b)
{
	return b->sector_len;
}

uint64_t blk_base_off(const struct blk *b)
{
	return b->base_off;
}
