/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --mtree: what is on the disk as a BSD mtree specification, with the SHA-256 of every file: what a
 * hub calls the oid of a Git LFS object. Nothing is printed unless all of it is proven.
 */
#include "cmd.h"
#include "entries.h"
#include "workers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define READ_LEN (1 * MIB)

struct job {
	const struct erofs *fs;
	struct entries list;
	size_t *turn; /* indices of files, the largest first, so that no thread ends long after the
	                 others */
	size_t file_cnt;
	_Atomic size_t next;                /* in turn */
	uint8_t (*digest)[HASH_SHA256_LEN]; /* of entry i */
};

static void job_release(struct job *j)
{
	entries_release(&j->list);
	free(j->turn);
	free(j->digest);
}

static int order_by_size(const void *a, const void *b, void *ctx)
{
	const struct entry *entry = ctx;
	uint64_t x = entry[*(const size_t *)a].inode.size;
	uint64_t y = entry[*(const size_t *)b].inode.size;

	return x == y ? 0 : x < y ? 1 : -1;
}

static int prepare(struct job *j, struct diag *d)
{
	j->turn = calloc(j->list.cnt, sizeof(*j->turn));
	j->digest = calloc(j->list.cnt, sizeof(*j->digest));
	if (!j->turn || !j->digest)
		return diag_set(d, -ENOMEM, "out of memory");
	for (size_t i = 0; i < j->list.cnt; i++)
		if (S_ISREG(j->list.entry[i].inode.mode))
			j->turn[j->file_cnt++] = i;
	qsort_r(j->turn, j->file_cnt, sizeof(*j->turn), order_by_size, j->list.entry);
	return 0;
}

static int hash_file(struct job *j, size_t i, void *buf, const atomic_bool *stop, struct diag *d)
{
	const struct erofs_inode *ino = &j->list.entry[i].inode;
	scoped(hash_stream) struct hash_stream *h = NULL;
	int r = hash_stream_new(HASH_SHA256, &h);

	for (uint64_t off = 0; r == 0 && off < ino->size && !atomic_load(stop);) {
		int64_t len = erofs_read(j->fs, ino, off, buf, READ_LEN, d);

		if (len < 0)
			return (int)len;
		r = hash_stream_add(h, buf, (size_t)len);
		off += (uint64_t)len;
		report_progress_add((uint64_t)len);
	}
	if (r == 0)
		r = hash_stream_finish(h, j->digest[i]);
	return r < 0 ? diag_set(d, r, "its SHA-256 cannot be computed") : 0;
}

static int hash_until_done(void *ctx, const atomic_bool *stop, struct diag *d)
{
	struct job *j = ctx;
	scoped_free void *buf = malloc(READ_LEN);
	int r = buf ? 0 : diag_set(d, -ENOMEM, "out of memory");

	while (r == 0 && !atomic_load(stop)) {
		size_t turn = atomic_fetch_add(&j->next, 1);

		if (turn >= j->file_cnt)
			break;
		r = hash_file(j, j->turn[turn], buf, stop, d);
		r = cmd_prefix_path(d, r, j->list.entry[j->turn[turn]].path);
	}
	return r;
}

static const char *type_name(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "link";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	default:
		return "file";
	}
}

static int print_entry(const struct job *j, size_t i, struct diag *d)
{
	const struct entry *e = &j->list.entry[i];
	const struct erofs_inode *ino = &e->inode;
	char target[EROFS_MAX_SYMLINK_LEN + 1], digest[2 * HASH_SHA256_LEN + 1];

	fputs(e->path[0] ? "./" : ".", stdout);
	cmd_print_path(e->path, CMD_PATH_WORD);
	printf(" type=%s uid=%" PRIu32 " gid=%" PRIu32 " mode=%04o time=%" PRId64 ".%09" PRIu32,
	       type_name(ino->mode), ino->uid, ino->gid, ino->mode & 07777U, ino->mtime_s,
	       ino->mtime_ns);
	if (S_ISREG(ino->mode)) {
		hex_encode(j->digest[i], HASH_SHA256_LEN, digest);
		printf(" size=%" PRIu64 " sha256digest=%s", ino->size, digest);
	} else if (S_ISLNK(ino->mode)) {
		int r = erofs_readlink(j->fs, ino, target, sizeof(target), d);

		if (r < 0)
			return cmd_prefix_path(d, r, e->path);
		fputs(" link=", stdout);
		cmd_print_path(target, CMD_PATH_WORD);
	} else if (S_ISCHR(ino->mode) || S_ISBLK(ino->mode)) {
		printf(" device=linux,%" PRIu32 ",%" PRIu32, ino->rdev_major, ino->rdev_minor);
	}
	putchar('\n');
	return 0;
}

int cmd_mtree(const struct options *o, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	struct job j = { .file_cnt = 0 };
	int r = cmd_open_entries(o, NULL, &img, &j.list, d);

	if (r < 0)
		return r;
	j.fs = image_erofs(img);
	r = prepare(&j, d);
	if (r == 0) {
		report_progress_start(o->progress, "hashing", j.list.file_bytes);
		r = workers_run(o->thread_cnt, hash_until_done, &j, d);
		report_progress_end();
	}
	if (r == 0)
		puts("#mtree");
	for (size_t i = 0; r == 0 && i < j.list.cnt; i++)
		r = print_entry(&j, i, d);
	job_release(&j);
	return r;
}
