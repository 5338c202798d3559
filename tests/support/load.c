/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers that believe nothing: load MOUNTPOINT TRUTH SECONDS READERS SEED
 *
 * TRUTH is a directory with the files as they were packed. Each reader picks a file and a way to
 * look at it (pread, O_DIRECT, a shared mapping, stat, a listing) again and again, and compares.
 * What is refused with EIO (SIGBUS in a mapping) is counted; bytes, sizes, names or errors that
 * are anything else end the program with status 1 and a sentence. At the end stdout gets the
 * counts as a line of JSON.
 */
#include "base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_FILES 8192
#define MAX_READ  (1 * MIB)
#define PAGE      4096

struct file {
	char *name; /* below the directories */
	uint64_t size;
	mode_t mode;
	uint64_t entries; /* directories */
};

enum way { WAY_READ, WAY_DIRECT, WAY_MAPPED, WAY_STAT, WAY_LIST, WAY_CNT };
static const char *const way_name[] = { "read", "direct", "mapped", "stat", "list" };

struct counts {
	atomic_uint_fast64_t good[WAY_CNT], refused[WAY_CNT], bytes;
};

/* Written before the readers start; nftw(3) takes no context. */
static struct file file[MAX_FILES];
static size_t file_cnt, truth_len;

struct load {
	int mount_fd, truth_fd;
	struct timespec end;
	struct counts *counts;
};

struct reader {
	const struct load *load;
	uint64_t state; /* of its random numbers */
	uint8_t *seen, *want;
};

static _Thread_local sigjmp_buf *on_sigbus;

static _Noreturn void wrong(const struct file *f, const char *what, uint64_t off, int err)
{
	fprintf(stderr, "load: %s: %s at %" PRIu64 "%s%s\n", f->name, what, off, err ? ": " : "",
	        err ? strerror(err) : "");
	_exit(1);
}

static void jump_out(int number)
{
	if (!on_sigbus)
		_exit(128 + number);
	siglongjmp(*on_sigbus, 1);
}

static uint64_t next(struct reader *r, uint64_t limit)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return limit ? r->state % limit : 0;
}

/* ---- one look each: false when it was refused ---- */

static int open_file(const struct reader *r, const struct file *f, int flags)
{
	int fd = openat(r->load->mount_fd, f->name, flags | O_CLOEXEC);

	if (fd < 0 && errno != EIO)
		wrong(f, "cannot be opened", 0, errno);
	return fd;
}

static void read_truth(const struct reader *r, const struct file *f, uint64_t off, size_t len)
{
	scoped_fd int fd = openat(r->load->truth_fd, f->name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, r->want, len, (off_t)off) != (ssize_t)len)
		wrong(f, "the truth cannot be read", off, errno);
}

static void compare(const struct reader *r, const struct file *f, uint64_t off, size_t len)
{
	read_truth(r, f, off, len);
	if (memcmp(r->seen, r->want, len) != 0)
		wrong(f, "WRONG BYTES", off, 0);
	atomic_fetch_add(&r->load->counts->bytes, len);
}

static bool look_by_read(struct reader *r, const struct file *f, bool direct)
{
	scoped_fd int fd = open_file(r, f, O_RDONLY | (direct ? O_DIRECT : 0));
	uint64_t off = next(r, f->size + 1);
	size_t len = 1 + (size_t)next(r, next(r, 2) ? MAX_READ : PAGE);
	ssize_t got;

	if (fd < 0)
		return false;
	if (direct) {
		off = round_down(off, PAGE);
		len = round_up(len, PAGE);
	} else if (next(r, 4)) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* or the kernel answers */
	}
	got = pread(fd, r->seen, len, (off_t)off);
	if (got < 0 && errno != EIO)
		wrong(f, "an error other than EIO", off, errno);
	if (got < 0)
		return false;
	/* what comes before a refused page may be given; an early end may not */
	if ((uint64_t)got > f->size - off || (got == 0 && off < f->size))
		wrong(f, "a wrong length", off, 0);
	compare(r, f, off, (size_t)got);
	return true;
}

static bool look_by_mapping(struct reader *r, const struct file *f)
{
	scoped_fd int fd = open_file(r, f, O_RDONLY);
	uint64_t off = round_down(next(r, f->size), PAGE);
	uint64_t wanted = 1 + next(r, 16 * PAGE);
	size_t len = (size_t)MIN(wanted, f->size - off);
	sigjmp_buf back;
	uint8_t *at;

	if (fd < 0 || f->size == 0)
		return fd >= 0;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	at = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)off);
	if (at == MAP_FAILED)
		wrong(f, "cannot be mapped", off, errno);
	on_sigbus = &back;
	bool is_refused = sigsetjmp(back, 1) != 0;
	if (!is_refused)
		memcpy(r->seen, at, len);
	on_sigbus = NULL;
	munmap(at, len);
	if (!is_refused)
		compare(r, f, off, len);
	return !is_refused;
}

static bool look_by_stat(struct reader *r, const struct file *f)
{
	struct stat st;

	if (fstatat(r->load->mount_fd, f->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != EIO)
			wrong(f, "is not there", 0, errno);
		return false;
	}
	if (st.st_mode != f->mode || (!S_ISDIR(f->mode) && (uint64_t)st.st_size != f->size))
		wrong(f, "another mode or size", (uint64_t)st.st_size, 0);
	return true;
}

static bool look_by_listing(struct reader *r, const struct file *f)
{
	int fd = open_file(r, f, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *e;
	uint64_t cnt = 0;
	int err;

	if (!dir)
		return false;
	for (errno = 0; (e = readdir(dir)); errno = 0)
		cnt++;
	err = errno;
	closedir(dir);
	if (err && err != EIO)
		wrong(f, "an error other than EIO in its listing", 0, err);
	if (!err && cnt != f->entries)
		wrong(f, "another number of entries", cnt, 0);
	return !err;
}

static bool look(struct reader *r, const struct file *f, enum way way)
{
	switch (way) {
	case WAY_READ:
		return look_by_read(r, f, false);
	case WAY_DIRECT:
		return look_by_read(r, f, true);
	case WAY_MAPPED:
		return look_by_mapping(r, f);
	case WAY_LIST:
		return look_by_listing(r, f);
	default:
		return look_by_stat(r, f);
	}
}

/* Large files as often as small ones are many. */
static const struct file *pick(struct reader *r)
{
	uint64_t byte = next(r, truth_len);

	if (next(r, 2))
		return &file[next(r, file_cnt)];
	for (size_t i = 0; i < file_cnt; i++) {
		if (byte < file[i].size && S_ISREG(file[i].mode))
			return &file[i];
		byte -= MIN(byte, S_ISREG(file[i].mode) ? file[i].size : 0);
	}
	return &file[0];
}

static bool is_over(const struct load *l)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > l->end.tv_sec ||
	       (now.tv_sec == l->end.tv_sec && now.tv_nsec >= l->end.tv_nsec);
}

static void *read_on(void *ctx)
{
	struct reader *r = ctx;

	while (!is_over(r->load)) {
		const struct file *f = pick(r);
		enum way way = S_ISREG(f->mode)   ? (enum way)next(r, WAY_STAT + 1)
		               : S_ISDIR(f->mode) ? (next(r, 2) ? WAY_LIST : WAY_STAT)
		                                  : WAY_STAT;
		struct counts *c = r->load->counts;

		atomic_fetch_add(look(r, f, way) ? &c->good[way] : &c->refused[way], 1);
	}
	return NULL;
}

/* ---- start ---- */

static size_t root_len; /* of TRUTH's path, for nftw() */

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	struct file *f = &file[file_cnt];

	(void)at;
	if (file_cnt == MAX_FILES || type == FTW_NS || type == FTW_DNR)
		return -1;
	*f = (struct file){ .name = strdup(path[root_len] ? path + root_len + 1 : "."),
		            .size = (uint64_t)st->st_size,
		            .mode = st->st_mode };
	if (S_ISREG(st->st_mode))
		truth_len += f->size;
	if (S_ISDIR(st->st_mode)) {
		DIR *dir = opendir(path);

		while (dir && readdir(dir))
			f->entries++;
		if (dir)
			closedir(dir);
	}
	file_cnt++;
	return f->name ? 0 : -1;
}

static void print(const struct counts *c)
{
	printf("{\"bytes\":%" PRIu64, (uint64_t)c->bytes);
	for (int i = 0; i < WAY_CNT; i++)
		printf(",\"%s\":[%" PRIu64 ",%" PRIu64 "]", way_name[i], (uint64_t)c->good[i],
		       (uint64_t)c->refused[i]);
	printf("}\n");
}

static int run(struct load *l, unsigned reader_cnt, uint64_t seed)
{
	pthread_t *thread = calloc(reader_cnt, sizeof(*thread));
	struct reader *reader = calloc(reader_cnt, sizeof(*reader));
	int r = 0;

	for (unsigned i = 0; r == 0 && i < reader_cnt; i++) {
		reader[i] = (struct reader){ .load = l,
			                     .state = (seed + i + 1) * UINT64_C(0x9E3779B97F4A7C15),
			                     .seen = aligned_alloc(PAGE, 2 * MAX_READ),
			                     .want = aligned_alloc(PAGE, 2 * MAX_READ) };
		r = pthread_create(&thread[i], NULL, read_on, &reader[i]);
	}
	for (unsigned i = 0; r == 0 && i < reader_cnt; i++)
		r = pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < reader_cnt; i++) {
		free(reader[i].seen);
		free(reader[i].want);
	}
	free(reader);
	free(thread);
	return r;
}

int main(int argc, char **argv)
{
	struct sigaction bus = { .sa_handler = jump_out };
	struct counts counts = { 0 };
	struct load l = { .counts = &counts };

	if (argc != 6) {
		fprintf(stderr, "usage: load MOUNTPOINT TRUTH SECONDS READERS SEED\n");
		return 2;
	}
	root_len = strlen(argv[2]);
	l.mount_fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	l.truth_fd = open(argv[2], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l.mount_fd < 0 || l.truth_fd < 0 || nftw(argv[2], add_file, 16, FTW_PHYS) != 0) {
		fprintf(stderr, "load: cannot list the files: %s\n", strerror(errno));
		return 2;
	}
	sigaction(SIGBUS, &bus, NULL);
	clock_gettime(CLOCK_MONOTONIC, &l.end);
	l.end.tv_sec += atoi(argv[3]);
	if (run(&l, (unsigned)atoi(argv[4]), strtoull(argv[5], NULL, 0)) != 0) {
		fprintf(stderr, "load: cannot start the readers\n");
		return 2;
	}
	print(&counts);
	return 0;
}
