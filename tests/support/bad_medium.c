/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A medium that fails on demand: bad_medium BACKING MOUNTPOINT [FUSE OPTIONS] serves BACKING as the
 * file "disk", past the page cache, and a file "fault" that takes one line:
 *
 *   none            all is well
 *   ERRNO OFF LEN   reads that touch these bytes fail with this number: 5 is EIO
 *   cut OFF         the file ends there for reads, though its size stays
 *   halves          reads give half of what is asked for, as nobody does
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct medium {
	int fd;
	pthread_mutex_t lock; /* guards all below */
	int err;
	uint64_t off, len, end;
	int halves;
};

static struct medium *medium(void)
{
	return fuse_get_context()->private_data;
}

static int medium_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	struct stat backing;

	(void)fi;
	*st = (struct stat){ .st_nlink = 1 };
	if (fstat(medium()->fd, &backing) < 0)
		return -errno;
	if (strcmp(path, "/") == 0)
		st->st_mode = S_IFDIR | 0755;
	else if (strcmp(path, "/disk") == 0)
		st->st_mode = S_IFREG | 0644, st->st_size = backing.st_size;
	else if (strcmp(path, "/fault") == 0)
		st->st_mode = S_IFREG | 0600;
	else
		return -ENOENT;
	return 0;
}

static int medium_open(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	fi->direct_io = 1;
	return 0;
}

static int medium_read(const char *path, char *buf, size_t len, off_t off,
                       struct fuse_file_info *fi)
{
	struct medium *m = medium();
	uint64_t at = (uint64_t)off;
	int err = 0;
	ssize_t got;

	(void)fi;
	if (strcmp(path, "/disk") != 0)
		return -EBADF;
	pthread_mutex_lock(&m->lock);
	if (m->err && at < m->off + m->len && m->off < at + len)
		err = -m->err;
	if (m->halves && len > 1)
		len /= 2;
	if (at >= m->end)
		len = 0;
	else if (len > m->end - at)
		len = m->end - at;
	pthread_mutex_unlock(&m->lock);
	if (err)
		return err;
	got = pread(m->fd, buf, len, off);
	return got < 0 ? -errno : (int)got;
}

static int medium_write(const char *path, const char *buf, size_t len, off_t off,
                        struct fuse_file_info *fi)
{
	struct medium *m = medium();
	unsigned long long first = 0, cnt = 0;
	char line[100];
	int err = 0;

	(void)off;
	(void)fi;
	if (strcmp(path, "/fault") != 0 || len >= sizeof(line))
		return -EINVAL;
	memcpy(line, buf, len);
	line[len] = '\0';
	pthread_mutex_lock(&m->lock);
	m->err = m->halves = 0;
	m->end = UINT64_MAX;
	if (sscanf(line, "cut %llu", &first) == 1)
		m->end = first;
	else if (strncmp(line, "halves", 6) == 0)
		m->halves = 1;
	else if (sscanf(line, "%d %llu %llu", &err, &first, &cnt) == 3)
		m->err = err, m->off = first, m->len = cnt;
	pthread_mutex_unlock(&m->lock);
	return (int)len;
}

static int medium_truncate(const char *path, off_t len, struct fuse_file_info *fi)
{
	(void)path;
	(void)len;
	(void)fi;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct fuse_operations ops = { .getattr = medium_getattr,
		                                    .open = medium_open,
		                                    .read = medium_read,
		                                    .write = medium_write,
		                                    .truncate = medium_truncate };
	struct medium m = { .fd = argc > 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1,
		            .lock = PTHREAD_MUTEX_INITIALIZER,
		            .end = UINT64_MAX };

	if (m.fd < 0) {
		fprintf(stderr, "usage: bad_medium BACKING MOUNTPOINT [OPTIONS]\n");
		return 2;
	}
	argv[1] = argv[0];
	return fuse_main(argc - 1, argv + 1, &ops, &m);
}
