/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translation between FUSE and EROFS. Decides inode numbers, what the kernel may cache, and which
 * error it sees; finding, checking and proving bytes is the business of the layers below, and
 * telling people about failures that of failures.c.
 *
 * A READ is answered in full or with EIO, never short: the kernel would take a short answer for the
 * end of the file and cut it for every reader.
 */
#include "ops.h"

#include "ahead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* Seconds; the kernel counts in jiffies, for which this is far enough away and no overflow. */
#define FOREVER 1e9

/* Any alignment would do for the kernel; a page lets the store below read without bouncing. */
#define BUF_ALIGN 4096

/* An open file or directory keeps its inode, so that READ need not decode it again. */
struct handle {
	struct erofs_inode inode;
	struct handle *prev, *next; /* in ops.handles */
};

struct ops {
	const struct image *img;
	struct failures *failures;
	struct ops_hooks hooks;
	struct ahead *ahead;
	pthread_mutex_t lock;   /* guards handles */
	struct handle *handles; /* open ones: when a mount ends, the kernel does not release them */
};

struct ops_thread {
	struct diag diag;
	uint8_t *buf; /* OPS_MAX_READ_LEN */
};

/* The thread's own; the FUSE interface has no other way to carry it into a handler. */
static _Thread_local struct ops_thread *self;

int ops_new(const struct image *img, struct failures *failures, const struct ops_hooks *hooks,
            struct ops **out)
{
	scoped(ops) struct ops *ops = calloc(1, sizeof(*ops));

	if (!ops)
		return -ENOMEM;
	ops->img = img;
	ops->failures = failures;
	ops->hooks = *hooks;
	pthread_mutex_init(&ops->lock, NULL);
	if (ahead_new(image_erofs(img), hooks->thread_cnt, &ops->ahead) < 0)
		return -ENOMEM;
	*out = take_ptr(ops);
	return 0;
}

static void add_handle(struct ops *ops, struct handle *h)
{
	pthread_mutex_lock(&ops->lock);
	h->next = ops->handles;
	if (h->next)
		h->next->prev = h;
	ops->handles = h;
	pthread_mutex_unlock(&ops->lock);
}

static void free_handle(struct ops *ops, struct handle *h)
{
	pthread_mutex_lock(&ops->lock);
	if (h->prev)
		h->prev->next = h->next;
	else
		ops->handles = h->next;
	if (h->next)
		h->next->prev = h->prev;
	pthread_mutex_unlock(&ops->lock);
	free(h);
}

void ops_free(struct ops *ops)
{
	if (!ops)
		return;
	while (ops->handles)
		free_handle(ops, ops->handles);
	pthread_mutex_destroy(&ops->lock);
	ahead_free(ops->ahead);
	free(ops);
}

int ops_thread_new(struct ops_thread **out)
{
	scoped_free struct ops_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->buf = aligned_alloc(BUF_ALIGN, OPS_MAX_READ_LEN);
	if (!t->buf)
		return -ENOMEM;
	*out = take_ptr(t);
	return 0;
}

void ops_thread_free(struct ops_thread *t)
{
	if (!t)
		return;
	free(t->buf);
	free(t);
}

void ops_thread_begin(struct ops_thread *t)
{
	self = t;
}

/* ---- numbers ---- */

/*
 * FUSE reserves 0 and gives 1 to the root; nids start at 0 and the root has any. Two up, and the
 * root down to 1, is free of clashes and needs no table. It does not overflow: a nid counts 32-byte
 * slots of an image shorter than 2^63 bytes.
 */
static fuse_ino_t ino_of_nid(const struct erofs_info *info, uint64_t nid)
{
	return nid == info->root_nid ? FUSE_ROOT_ID : (fuse_ino_t)(nid + 2);
}

static uint64_t nid_of_ino(const struct erofs_info *info, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? info->root_nid : ino - 2;
}

/*
 * What stat(2) shows: the nid, as the kernel's EROFS does, so that both mounts of a disk look
 * alike. But 0 means "deleted" to readdir(3).
 */
static ino_t shown_ino(uint64_t nid)
{
	return nid != 0 ? (ino_t)nid : UINT64_MAX;
}

static void fill_stat(const struct erofs_info *info, const struct erofs_inode *ino, struct stat *st)
{
	*st = (struct stat){
		.st_ino = shown_ino(ino->nid),
		.st_mode = ino->mode,
		.st_nlink = ino->nlink,
		.st_uid = ino->uid,
		.st_gid = ino->gid,
		.st_rdev = makedev(ino->rdev_major, ino->rdev_minor),
		.st_size = (off_t)ino->size,
		.st_blksize = (blksize_t)info->block_len,
		.st_blocks = (blkcnt_t)(round_up(ino->size, info->block_len) / 512),
	};
	st->st_mtim.tv_sec = ino->mtime_s;
	st->st_mtim.tv_nsec = ino->mtime_ns;
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
}

static void fill_entry(const struct erofs_info *info, const struct erofs_inode *ino,
                       struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){
		.ino = ino_of_nid(info, ino->nid),
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
	fill_stat(info, ino, &e->attr);
}

/* ---- one request ---- */

/* What every handler begins with. */
struct request {
	fuse_req_t req;
	struct ops *ops;
	const struct erofs *fs;
	const struct erofs_info *info;
	struct diag *diag;
	uint64_t nid;
	/* for naming the place when it fails */
	const struct erofs_inode *inode;
	uint64_t off, len;
};

static struct request begin(fuse_req_t req, fuse_ino_t ino)
{
	struct ops *ops = fuse_req_userdata(req);
	const struct erofs *fs = image_erofs(ops->img);
	const struct erofs_info *info = erofs_get_info(fs);

	failures_begin();
	self->diag.err = 0;
	self->diag.text[0] = '\0';
	return (struct request){ .req = req,
		                 .ops = ops,
		                 .fs = fs,
		                 .info = info,
		                 .diag = &self->diag,
		                 .nid = nid_of_ino(info, ino) };
}

/* Is err an answer about the proven tree, such as "no such attribute", and no failure? */
static bool is_answer(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENODATA:
	case -ERANGE:
	case -ENOTDIR:
	case -EISDIR:
	case -EINVAL:
	case -ENAMETOOLONG:
		return true;
	default:
		return false;
	}
}

int ops_errno(int err)
{
	return is_answer(err) || err == -ENOMEM || err == -EOPNOTSUPP ? -err : EIO;
}

/*
 * Tells people, not yet the kernel, and returns what the kernel is to be told. A store may fail
 * with any errno, also with one that would be an answer: once a block has failed, nothing is
 * "proven absent".
 */
static int tell_failure(const struct request *q, int err)
{
	struct failed_request failed = { .fs = q->fs,
		                         .nid = q->nid,
		                         .inode = q->inode,
		                         .off = q->off,
		                         .len = q->len,
		                         .err = err,
		                         .text = q->diag->text };
	bool block_failed = failures_noted();

	if (!block_failed && is_answer(err))
		return -err;
	if (failures_report(q->ops->failures, &failed) && q->ops->hooks.on_corruption)
		q->ops->hooks.on_corruption(q->ops->hooks.ctx);
	return block_failed ? EIO : ops_errno(err);
}

static void reply_failure(const struct request *q, int err)
{
	fuse_reply_err(q->req, tell_failure(q, err));
}

/* ---- names and attributes ---- */

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct ops *ops = userdata;
	const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_READDIRPLUS |
	                        FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
	                        FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_POSIX_ACL;

	/*
	 * Nothing else: no splice (the reply must come from the proven buffer), no revalidation of
	 * what cannot change.
	 */
	conn->want = conn->capable & wanted;
	conn->max_write = OPS_MAX_READ_LEN;     /* bounds READ too, through the pages per request */
	conn->max_readahead = OPS_MAX_READ_LEN; /* the kernel takes the least of this and its own */
	conn->max_background = 16 * ops->hooks.thread_cnt;
	conn->congestion_threshold = conn->max_background / 4 * 3;
	if (ops->hooks.on_ready)
		ops->hooks.on_ready(ops->hooks.ctx);
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request q = begin(req, parent);
	struct fuse_entry_param entry = { .entry_timeout = FOREVER }; /* absent, for good */
	struct erofs_inode ino;
	uint64_t nid = 0;
	int r = erofs_inode_get(q.fs, q.nid, &ino, q.diag);

	if (r == 0)
		r = erofs_lookup(q.fs, &ino, name, strlen(name), &nid, q.diag);
	if (r == -ENOENT && !failures_noted()) {
		fuse_reply_entry(req, &entry);
		return;
	}
	if (r == 0) {
		q.nid = nid;
		r = erofs_inode_get(q.fs, nid, &ino, q.diag);
	}
	if (r < 0) {
		reply_failure(&q, r);
		return;
	}
	fill_entry(q.info, &ino, &entry);
	fuse_reply_entry(req, &entry);
}

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request q = begin(req, ino);
	struct erofs_inode inode;
	struct stat st;
	int r = erofs_inode_get(q.fs, q.nid, &inode, q.diag);

	(void)fi;
	if (r < 0) {
		reply_failure(&q, r);
		return;
	}
	fill_stat(q.info, &inode, &st);
	fuse_reply_attr(req, &st, FOREVER);
}

static void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct request q = begin(req, ino);
	struct erofs_inode inode;
	char target[EROFS_MAX_SYMLINK_LEN + 1];
	int r = erofs_inode_get(q.fs, q.nid, &inode, q.diag);

	if (r == 0)
		r = erofs_readlink(q.fs, &inode, target, sizeof(target), q.diag);
	if (r < 0)
		reply_failure(&q, r);
	else
		fuse_reply_readlink(req, target);
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct request q = begin(req, ino);
	struct statvfs st = { .f_bsize = q.info->block_len,
		              .f_frsize = q.info->block_len,
		              .f_blocks = q.info->blk_cnt,
		              .f_files = q.info->inode_cnt,
		              .f_namemax = EROFS_MAX_NAME_LEN };

	fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

/* r: a length or a negative errno; size 0 asked for the length only. */
static void reply_xattr(const struct request *q, int r, size_t size)
{
	if (r < 0)
		reply_failure(q, r);
	else if (size == 0)
		fuse_reply_xattr(q->req, (size_t)r);
	else
		fuse_reply_buf(q->req, (const char *)self->buf, (size_t)r);
}

static void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct request q = begin(req, ino);
	struct erofs_inode inode;
	int r = erofs_inode_get(q.fs, q.nid, &inode, q.diag);

	size = MIN(size, OPS_MAX_READ_LEN);
	if (r == 0)
		r = erofs_getxattr(q.fs, &inode, name, size ? self->buf : NULL, size, q.diag);
	reply_xattr(&q, r, size);
}

static void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request q = begin(req, ino);
	struct erofs_inode inode;
	int r = erofs_inode_get(q.fs, q.nid, &inode, q.diag);

	size = MIN(size, OPS_MAX_READ_LEN);
	if (r == 0)
		r = erofs_listxattr(q.fs, &inode, size ? (char *)self->buf : NULL, size, q.diag);
	reply_xattr(&q, r, size);
}

/* ---- open files and directories ---- */

static struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* Opens the inode of q and answers. */
static void reply_open(const struct request *q, struct fuse_file_info *fi)
{
	struct handle *h = calloc(1, sizeof(*h));
	int r = h ? erofs_inode_get(q->fs, q->nid, &h->inode, q->diag) : -ENOMEM;

	if (r < 0) {
		free(h);
		reply_failure(q, r);
		return;
	}
	add_handle(q->ops, h);
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1;
	if (fuse_reply_open(q->req, fi) < 0)
		free_handle(q->ops, h); /* the opener is gone, so no release will come */
}

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request q = begin(req, ino);

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	fi->noflush = 1;
	reply_open(&q, fi);
}

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request q = begin(req, ino);

	fi->cache_readdir = 1;
	reply_open(&q, fi);
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	free_handle(fuse_req_userdata(req), handle_of(fi));
	fuse_reply_err(req, 0);
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
	struct request q = begin(req, ino);
	struct ahead_answer answer;
	int r;

	q.inode = &handle_of(fi)->inode;
	q.off = (uint64_t)off;
	q.len = size;
	if (size > OPS_MAX_READ_LEN || off < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = ahead_read(q.ops->ahead, q.inode, q.off, self->buf, size, &answer, q.diag);
	if (r < 0) {
		reply_failure(&q, r);
		return;
	}
	fuse_reply_iov(req, answer.part, (int)answer.part_cnt);
	ahead_release(q.ops->ahead, &answer);
	ahead_work(q.ops->ahead);
}

/* ---- listing ---- */

/*
 * Cookies of a listing: 0 is before ".", 1 before "..", and the image's own follow from 2. The
 * image has no "." and ".." for us: where a directory hangs is the path's knowledge, not the
 * disk's.
 */
#define FIRST_COOKIE 2

/* As the kernel's FUSE calls an inode whose number it was not told. */
#define UNKNOWN_INO UINT32_MAX

struct entries {
	struct request *q;
	bool plus;
	size_t size, used; /* of self->buf */
};

/* False when there is no room left. */
static bool add_entry(struct entries *l, const char *name, const struct fuse_entry_param *e,
                      uint64_t next)
{
	char *at = (char *)self->buf + l->used;
	size_t room = l->size - l->used, need;

	if (l->plus)
		need = fuse_add_direntry_plus(l->q->req, at, room, name, e, (off_t)next);
	else
		need = fuse_add_direntry(l->q->req, at, room, name, &e->attr, (off_t)next);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static int list_one(void *ctx, const struct erofs_dirent *d)
{
	struct entries *l = ctx;
	struct request *q = l->q;
	struct fuse_entry_param e = { .attr = { .st_ino = shown_ino(d->nid),
		                                .st_mode = (mode_t)d->type << 12 } };
	char name[EROFS_MAX_NAME_LEN + 1];
	struct erofs_inode inode;

	memcpy(name, d->name, d->name_len);
	name[d->name_len] = '\0';
	/*
	 * An inode that cannot be had leaves its name in the listing, without attributes: the
	 * failure belongs to who asks for that inode, not to all its neighbours.
	 */
	if (l->plus) {
		if (erofs_inode_get(q->fs, d->nid, &inode, NULL) == 0)
			fill_entry(q->info, &inode, &e);
		else
			failures_begin();
	}
	return add_entry(l, name, &e, d->next + FIRST_COOKIE) ? 0 : 1;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
                 bool plus)
{
	struct request q = begin(req, ino);
	struct entries l = { .q = &q, .plus = plus, .size = MIN(size, OPS_MAX_READ_LEN) };
	const struct erofs_inode *dir = &handle_of(fi)->inode;
	struct fuse_entry_param dot = { .attr = { .st_ino = shown_ino(q.nid),
		                                  .st_mode = S_IFDIR } };
	struct fuse_entry_param dotdot = dot;
	uint64_t cookie = off >= FIRST_COOKIE ? (uint64_t)off - FIRST_COOKIE : 0;
	int r = 0;

	q.inode = dir;
	if (ino != FUSE_ROOT_ID)
		dotdot.attr.st_ino = UNKNOWN_INO;
	if ((off > 0 || add_entry(&l, ".", &dot, 1)) &&
	    (off > 1 || add_entry(&l, "..", &dotdot, FIRST_COOKIE)))
		r = erofs_list(q.fs, dir, cookie, list_one, &l, q.diag);
	/* what came before a failure is proven; the next call meets the failure again */
	if (r < 0 && l.used == 0)
		reply_failure(&q, r);
	else
		fuse_reply_buf(req, (const char *)self->buf, l.used);
}

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, false);
}

static void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                            struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, true);
}

const struct fuse_lowlevel_ops *ops_table(void)
{
	static const struct fuse_lowlevel_ops table = {
		.init = ops_init,
		.lookup = ops_lookup,
		.getattr = ops_getattr,
		.readlink = ops_readlink,
		.open = ops_open,
		.read = ops_read,
		.release = ops_release,
		.opendir = ops_opendir,
		.readdir = ops_readdir,
		.readdirplus = ops_readdirplus,
		.releasedir = ops_release,
		.statfs = ops_statfs,
		.getxattr = ops_getxattr,
		.listxattr = ops_listxattr,
	};

	return &table;
}
