/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads files through the mount, several pieces at a time, and throws the bytes away. What is
 * proven and kept is the business of the daemon and of the kernel, to whom this is a reader like
 * any other.
 */
#include "preload.h"

#include "entries.h"
#include "privileges.h"
#include "workers.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_READERS 4
#define PIECE_LEN   (64 * MIB) /* what a thread takes; neighbours take the next ones */
#define READ_LEN    (1 * MIB)

struct job {
	const struct preload_options *o;
	struct entries all;
	int dir_fd; /* of the mount, whatever is mounted there later */
	/* the next piece: */
	pthread_mutex_t lock; /* guards the two */
	size_t at;            /* index in all */
	uint64_t off;
	atomic_uint_fast64_t read_len, failed_cnt;
};

static bool is_wanted(const struct job *j, const struct entry *e)
{
	return S_ISREG(e->inode.mode) && e->inode.size > 0 &&
	       fnmatch(j->o->pattern, e->path, 0) == 0;
}

static uint64_t wanted_bytes(const struct job *j)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < j->all.cnt; i++)
		if (is_wanted(j, &j->all.entry[i]) &&
		    !add_u64(sum, j->all.entry[i].inode.size, &sum))
			return UINT64_MAX;
	return sum;
}

/* ---- reading ---- */

/* The next piece of a wanted file; NULL: there is none. */
static const struct entry *take_piece(struct job *j, uint64_t *off)
{
	const struct entry *e = NULL;

	pthread_mutex_lock(&j->lock);
	while (j->at < j->all.cnt && !is_wanted(j, &j->all.entry[j->at]))
		j->at++;
	if (j->at < j->all.cnt) {
		e = &j->all.entry[j->at];
		*off = j->off;
		j->off += PIECE_LEN;
		if (j->off >= e->inode.size) {
			j->at++;
			j->off = 0;
		}
	}
	pthread_mutex_unlock(&j->lock);
	return e;
}

/* 0 or a negative errno. A block that cannot be proven is passed over: the daemon tells of it. */
static int read_piece(struct job *j, const struct entry *e, uint64_t off, uint8_t *buf)
{
	uint64_t end = MIN(off + PIECE_LEN, e->inode.size);
	scoped_fd int fd = openat(j->dir_fd, e->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	while (off < end) {
		size_t len = (size_t)MIN(end - off, READ_LEN);
		ssize_t n = pread(fd, buf, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EIO)
			return -errno;
		if (n <= 0) {
			atomic_fetch_add(&j->failed_cnt, 1);
			n = (ssize_t)len;
		} else {
			atomic_fetch_add(&j->read_len, (uint64_t)n);
		}
		off += (uint64_t)n;
		report_progress_add((uint64_t)n);
	}
	return 0;
}

static int read_pieces(void *ctx, const atomic_bool *stop, struct diag *d)
{
	scoped_free uint8_t *buf = malloc(READ_LEN);
	const struct entry *e;
	struct job *j = ctx;
	uint64_t off = 0;

	if (!buf)
		return diag_set(d, -ENOMEM, "out of memory");
	while (!atomic_load(stop) && (e = take_piece(j, &off))) {
		int r = read_piece(j, e, off, buf);

		/* the mount has ended, and so does this */
		if (r == -ENOTCONN || r == -ECONNABORTED)
			return r;
		if (r < 0) {
			char name[TEXT_QUOTE_LEN * 64];

			report_warning("preload: %s: %s",
			               text_quote(e->path, strlen(e->path), name, sizeof(name)),
			               strerror(-r));
		}
	}
	return 0;
}

/* ---- the process ---- */

static void leave_daemon(const struct preload_options *o)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_NAME, "mountfs-preload");
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (fd != STDERR_FILENO || !o->has_stderr)
			dup2(null, fd);
	/* also the connection: were it held here, readers would hang behind a daemon that died */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	if (!o->has_stderr) {
		setsid();
		report_to_syslog(REPORT_SYSLOG);
	}
}

/* It reads, and never more than files whose modes forbid it: nothing else of root's is needed. */
static int give_up_rights(struct diag *d)
{
	int r = geteuid() == 0 ? privileges_keep(UINT64_C(1) << CAP_DAC_READ_SEARCH, d) : 0;

	return r == 0 ? privileges_gain_no_more(d) : r;
}

__attribute__((noreturn)) static void run(struct job *j)
{
	uint64_t wanted = wanted_bytes(j), read_len;
	struct diag d = DIAG_INIT;
	int r;

	leave_daemon(j->o);
	r = give_up_rights(&d);
	j->dir_fd = open(j->o->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && j->dir_fd < 0)
		r = diag_set_errno(&d, -errno, "preload: %s", j->o->mountpoint);
	if (r < 0)
		_exit(report_diag(&d));
	report_progress_start(j->o->progress, "preloading", wanted);
	r = workers_run((unsigned)MIN(sysconf(_SC_NPROCESSORS_ONLN), MAX_READERS), read_pieces, j,
	                &d);
	report_progress_end();
	read_len = atomic_load(&j->read_len);
	if (r == 0)
		report_note("preloaded %" PRIu64 " bytes%s", read_len,
		            atomic_load(&j->failed_cnt) ? "; some could not be proven or read"
		                                        : "");
	_exit(r < 0);
}

int preload_start(const struct image *img, const struct preload_options *o, struct diag *d)
{
	struct job j = { .o = o, .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct erofs *fs = image_erofs(img);
	struct erofs_inode root;
	int r = erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &root, d);
	pid_t pid;

	if (r == 0)
		r = entries_read(fs, &root, &j.all, d);
	if (r == 0 && wanted_bytes(&j) == 0)
		r = diag_set(d, -EINVAL, "--preload: no file on the disk is called \"%s\"",
		             o->pattern);
	pid = r == 0 ? fork() : -1;
	if (r == 0 && pid < 0)
		r = diag_set_errno(d, -errno, "--preload: cannot start a process");
	/* the one in between ends at once, so that nobody has to wait for the other */
	if (pid == 0 && fork() == 0)
		run(&j);
	if (pid == 0)
		_exit(0);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	entries_release(&j.all);
	return r;
}
