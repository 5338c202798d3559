/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which writes go past the page cache (O_DIRECT) and what is done for those that do not;
 * what is written where is the caller's.
 *
 * The two kinds meet in one file. That is safe because no page is written by both: what goes past
 * the page cache begins and ends on a multiple of the page size, and places are written once.
 */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* Less than this is cheaper in the page cache, where the kernel puts neighbours together. */
#define DIRECT_MIN_LEN (256 * KIB)
/* What is written of a large disk is dropped from the page cache in steps of this. */
#define DROP_CACHE_STEP (64 * MIB)

struct writer {
	int fd;
	int direct_fd;           /* the same file, opened with O_DIRECT; -1: cannot be */
	size_t page_len;         /* at least WRITER_ALIGN */
	atomic_bool use_direct;  /* until it is refused */
	atomic_bool claim_space; /* until it is refused */
	atomic_bool may_clone;   /* until it is refused */
	bool is_large;           /* for this machine: would fill much of the page cache */
	atomic_ullong written;
};

/* More than a quarter of the memory; what is less may stay, since it will be read soon. */
static bool is_large(uint64_t len)
{
	long page_cnt = sysconf(_SC_PHYS_PAGES), page_len = sysconf(_SC_PAGESIZE);

	return page_cnt > 0 && page_len > 0 &&
	       len / 4096 > (uint64_t)page_cnt / 4 * ((uint64_t)page_len / 4096);
}

/* Not every file system can, and not every one says so here: see write_direct(). */
static int open_direct(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

int writer_new(int fd, uint64_t len, struct writer **out)
{
	struct writer *w = calloc(1, sizeof(*w));
	long page_len = sysconf(_SC_PAGESIZE);
	struct stat st;

	if (!w)
		return -ENOMEM;
	w->fd = fd;
	w->page_len = MAX((size_t)MAX(page_len, 0), WRITER_ALIGN);
	w->is_large = is_large(len);
	w->direct_fd = open_direct(fd);
	atomic_store(&w->use_direct, w->direct_fd >= 0);
	atomic_store(&w->claim_space, fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
	atomic_store(&w->may_clone, true);
	*out = w;
	return 0;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	if (w->direct_fd >= 0)
		close(w->direct_fd);
	free(w);
}

/* *done: how many bytes were written, all of them unless the result says why not. */
static int write_to(int fd, uint64_t off, const uint8_t *buf, size_t len, size_t *done)
{
	for (*done = 0; *done < len;) {
		ssize_t n = pwrite(fd, buf + *done, len - *done, (off_t)(off + *done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		*done += (size_t)n;
	}
	return 0;
}

/*
 * A large disk must not push everything else out of the page cache; what is clean by now goes. Also
 * after direct writes: btrfs lets those of files with checksums go through the page cache.
 */
static void relieve_page_cache(struct writer *w, size_t len)
{
	unsigned long long before = atomic_fetch_add(&w->written, len);

	if (w->is_large && (before + len) / DROP_CACHE_STEP > before / DROP_CACHE_STEP)
		(void)posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int write_cached(struct writer *w, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t done;

	return write_to(w->fd, off, buf, len, &done);
}

/*
 * Some file systems (ext4) let only one thread at a time write into a hole, but many into space
 * that the file has. A failure means nothing here: what matters is told by the write.
 */
static void claim_space(struct writer *w, uint64_t off, size_t len)
{
	if (atomic_load(&w->claim_space) &&
	    fallocate(w->fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0 &&
	    errno == EOPNOTSUPP)
		atomic_store(&w->claim_space, false);
}

/* -EINVAL is the answer of a file system that cannot do it, or not for such places. */
static int write_direct(struct writer *w, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t done;
	int r;

	claim_space(w, off, len);
	r = write_to(w->direct_fd, off, buf, len, &done);
	if (r != -EINVAL)
		return r;
	if (done == 0)
		atomic_store(&w->use_direct, false);
	return write_cached(w, off + done, buf + done, len - done);
}

static int write_best(struct writer *w, uint64_t off, const uint8_t *p, size_t len)
{
	uint64_t begin = round_up(off, w->page_len), end = round_down(off + len, w->page_len);
	size_t head, body;
	int r;

	if (!atomic_load(&w->use_direct) || end < begin + DIRECT_MIN_LEN ||
	    (uintptr_t)(p + (begin - off)) % WRITER_ALIGN != 0)
		return write_cached(w, off, p, len);
	head = (size_t)(begin - off);
	body = (size_t)(end - begin);
	r = write_cached(w, off, p, head);
	if (r == 0)
		r = write_direct(w, begin, p + head, body);
	if (r < 0)
		return r;
	return write_cached(w, end, p + head + body, len - head - body);
}

int writer_write(struct writer *w, uint64_t off, const void *buf, size_t len)
{
	int r = write_best(w, off, buf, len);

	relieve_page_cache(w, len);
	return r;
}

int writer_clone(struct writer *w, uint64_t off, int from, uint64_t from_off, uint64_t len)
{
	struct file_clone_range range = {
		.src_fd = from, .src_offset = from_off, .src_length = len, .dest_offset = off
	};

	if (!atomic_load(&w->may_clone))
		return -EOPNOTSUPP;
	if (ioctl(w->fd, FICLONERANGE, &range) == 0)
		return 0;
	/* EINVAL, ENOSPC and others may be about this place alone */
	if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EXDEV)
		atomic_store(&w->may_clone, false);
	return -errno;
}
