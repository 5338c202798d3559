/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file beside a disk while it is made. Decides its names, who may use what lies there under
 * them, and when it goes. What is in it, and what a journal is, is decided by others.
 */
#include "part.h"
#include "hash.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>

/* Longer names of disks are cut, and told apart by their digest. */
#define NAME_KEPT 200
#define ROUNDS    8 /* how often another run may get in between before we give up */

struct part {
	int fd, dir_fd;
	int journal_fd;
	struct journal *journal;
	char *name;                     /* of the disk, in dir_fd */
	char *part_name, *journal_name; /* in dir_fd */
	bool has_name;                  /* fd is what part_name names */
	bool old_exists;                /* there is a disk to replace */
	bool is_continued, is_discarded;
	const char *started_over;
};

/* ---- names ---- */

static char *hidden_name(const char *name, const char *what)
{
	uint8_t digest[HASH_SHA256_LEN];
	char hex[17], *out = NULL;

	if (strlen(name) <= NAME_KEPT)
		return asprintf(&out, ".%s.mkdisk-%s", name, what) < 0 ? NULL : out;
	if (hash_sha256(name, strlen(name), digest) < 0)
		return NULL;
	hex_encode(digest, 8, hex);
	return asprintf(&out, ".%.*s-%s.mkdisk-%s", NAME_KEPT, name, hex, what) < 0 ? NULL : out;
}

/* For the moment between a name and the disk's name. */
static char *random_name(const char *name)
{
	char what[9];
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return NULL;
	snprintf(what, sizeof(what), "%08" PRIx32, random);
	return hidden_name(name, what);
}

static int make_names(struct part *p, const char *real_path, struct diag *d)
{
	scoped_free char *dir_part = strdup(real_path), *name_part = strdup(real_path);

	if (!dir_part || !name_part)
		return diag_set(d, -ENOMEM, "out of memory");
	p->name = strdup(basename(name_part));
	if (!p->name)
		return diag_set(d, -ENOMEM, "out of memory");
	p->part_name = hidden_name(p->name, "part");
	p->journal_name = hidden_name(p->name, "journal");
	if (!p->part_name || !p->journal_name)
		return diag_set(d, -ENOMEM, "out of memory");
	p->dir_fd = open(dirname(dir_part), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		return diag_set_errno(d, -errno, "cannot open its directory");
	return 0;
}

/* ---- what an earlier run left ---- */

/*
 * Whoever may write to a directory can put a file there under our names, or a link to one, and
 * change it behind our back: ours are regular files with one name that belong to us (or to the
 * owner of the disk that is replaced, whom we gave the part).
 */
static int check_is_ours(const char *name, int fd, const struct part_target *t, struct diag *d)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return diag_set_errno(d, -errno, "%s", name);
	if (S_ISREG(st.st_mode) && st.st_nlink <= 1 &&
	    (st.st_uid == geteuid() || (t->old && st.st_uid == t->old->st_uid)))
		return 0;
	return diag_set(d, -EEXIST,
	                "%s, which lies beside it, is not a file of ours: remove it first", name);
}

/* Is fd still what the name stands for? Whoever held the lock before may have taken it away. */
static bool is_named(const struct part *p, const char *name, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(p->dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock(int fd, struct diag *d)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno == EOPNOTSUPP || errno == ENOLCK)
		return 0; /* some network file systems know no locks */
	if (errno == EWOULDBLOCK)
		return diag_set(d, -EAGAIN, "another mkdisk is writing it");
	return diag_set_errno(d, -errno, "cannot lock it");
}

static int remove_left(struct part *p, const char *why, struct diag *d)
{
	if ((unlinkat(p->dir_fd, p->journal_name, 0) < 0 && errno != ENOENT) ||
	    (unlinkat(p->dir_fd, p->part_name, 0) < 0 && errno != ENOENT))
		return diag_set_errno(d, -errno, "cannot remove what an earlier run left");
	p->started_over = why;
	return 0;
}

/* Opens the journal that is there. *why: the reason not to believe it, NULL when it is ours. */
static int open_journal(struct part *p, const struct part_target *t, const char **why,
                        struct diag *d)
{
	static const char *const reasons[] = {
		[JOURNAL_CONTINUES] = NULL,
		[JOURNAL_DAMAGED] = "its journal is damaged",
		[JOURNAL_OF_ANOTHER_PLAN] = PART_OF_ANOTHER_PLAN,
	};
	enum journal_state state;
	struct stat st;
	int r;

	p->journal_fd = openat(p->dir_fd, p->journal_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (p->journal_fd < 0 && errno == ENOENT) {
		*why = "it has no journal";
		return 0;
	}
	if (p->journal_fd < 0)
		return diag_set_errno(d, -errno, "%s", p->journal_name);
	r = check_is_ours(p->journal_name, p->journal_fd, t, d);
	if (r < 0)
		return r;
	r = journal_read(&(struct journal_place){ .fd = p->journal_fd }, t->journal, &state,
	                 &p->journal, d);
	if (r < 0)
		return r;
	*why = reasons[state];
	if (!*why && (fstat(p->fd, &st) < 0 || (uint64_t)st.st_size != t->len))
		*why = "it is damaged";
	return 0;
}

static void forget_files(struct part *p)
{
	journal_free(take_ptr(p->journal));
	scope_close(&p->journal_fd);
	scope_close(&p->fd);
	p->journal_fd = p->fd = -1;
	p->has_name = false;
}

/* Takes over what lies there if it can, or removes it. 1: there is something to go on with. */
static int take_over(struct part *p, const struct part_target *t, struct diag *d)
{
	const char *why = "this build has no journal to go on with";
	int r;

	p->fd = openat(p->dir_fd, p->part_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (p->fd < 0 && errno == ENOENT) /* a journal without a part is of no use */
		return remove_left(p, NULL, d);
	if (p->fd < 0)
		return diag_set_errno(d, errno == ELOOP ? -EEXIST : -errno, "%s", p->part_name);
	r = check_is_ours(p->part_name, p->fd, t, d);
	if (r == 0)
		r = lock(p->fd, d);
	if (r < 0)
		return r;
	if (!is_named(p, p->part_name, p->fd)) {
		forget_files(p);
		return 0;
	}
	if (t->journal)
		r = open_journal(p, t, &why, d);
	if (r < 0)
		return r;
	p->has_name = p->is_continued = !why;
	if (!why)
		return 1;
	r = remove_left(p, why, d);
	forget_files(p);
	return r;
}

/* ---- a new part ---- */

/* A file that can take its name only at the end. */
static int make_nameless(struct part *p)
{
	/* linkat(2) from /proc is the unprivileged way to give it a name later: look before writing
	 */
	if (faccessat(AT_FDCWD, "/proc/self/fd", X_OK, 0) < 0)
		return -ENOENT;
	p->fd = openat(p->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
	return p->fd < 0 ? -errno : 0;
}

static int make_journal(struct part *p, const struct part_target *t, struct diag *d)
{
	p->journal_fd = openat(p->dir_fd, p->journal_name,
	                       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->journal_fd < 0)
		return diag_set_errno(d, -errno, "cannot create %s", p->journal_name);
	return journal_begin(&(struct journal_place){ .fd = p->journal_fd }, t->journal,
	                     &p->journal, d);
}

/* 1: somebody else was faster, and what is there now must be looked at again. */
static int make_named(struct part *p, const struct part_target *t, struct diag *d)
{
	int r;

	p->fd = openat(p->dir_fd, p->part_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	               0666);
	if (p->fd < 0 && errno == EEXIST)
		return 1;
	if (p->fd < 0)
		return diag_set_errno(d, -errno, "cannot create a file beside it");
	r = lock(p->fd, d);
	if (r < 0)
		return r;
	if (!is_named(p, p->part_name, p->fd)) {
		forget_files(p);
		return 1;
	}
	p->has_name = true;
	return t->journal ? make_journal(p, t, d) : 0;
}

static int copy_owner_and_mode(int fd, const struct stat *old)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != old->st_uid || st.st_gid != old->st_gid) &&
	    fchown(fd, old->st_uid, old->st_gid) < 0)
		return -errno;
	return fchmod(fd, old->st_mode & 07777) < 0 ? -errno : 0;
}

static int find_or_make(struct part *p, const struct part_target *t, struct diag *d)
{
	int r = 1;

	for (unsigned i = 0; i < ROUNDS && r == 1; i++) {
		r = take_over(p, t, d);
		if (r != 0)
			return MIN(r, 0);
		if (!t->journal && make_nameless(p) == 0)
			return 0;
		r = make_named(p, t, d);
	}
	return r == 1 ? diag_set(d, -EAGAIN, "other runs of mkdisk keep writing it") : r;
}

int part_open(const struct part_target *t, struct part **out, struct diag *d)
{
	scoped(part) struct part *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return diag_set(d, -ENOMEM, "out of memory");
	p->fd = p->dir_fd = p->journal_fd = -1;
	p->old_exists = t->old != NULL;
	r = make_names(p, t->real_path, d);
	if (r == 0)
		r = find_or_make(p, t, d);
	if (r < 0)
		return r;
	r = t->old ? copy_owner_and_mode(p->fd, t->old) : 0;
	if (r < 0)
		return diag_set_errno(d, r, "cannot give a new file its owner and mode");
	if (ftruncate(p->fd, (off_t)t->len) < 0)
		return diag_set_errno(d, -errno, "cannot make a file of %llu bytes",
		                      (unsigned long long)t->len);
	*out = take_ptr(p);
	return 0;
}

static bool is_kept(const struct part *p)
{
	return p->journal && !p->is_discarded && !journal_is_empty(p->journal);
}

void part_close(struct part *p)
{
	if (!p)
		return;
	if (p->has_name && !is_kept(p)) {
		if (p->journal_fd >= 0)
			unlinkat(p->dir_fd, p->journal_name, 0);
		unlinkat(p->dir_fd, p->part_name, 0);
	}
	forget_files(p);
	scope_close(&p->dir_fd);
	free(p->name);
	free(p->part_name);
	free(p->journal_name);
	free(p);
}

int part_fd(const struct part *p)
{
	return p->fd;
}

struct journal *part_journal(const struct part *p)
{
	return p->journal;
}

bool part_is_continued(const struct part *p)
{
	return p->is_continued;
}

const char *part_started_over(const struct part *p)
{
	return p->started_over;
}

const char *part_kept_name(const struct part *p)
{
	return is_kept(p) ? p->part_name : NULL;
}

void part_discard(struct part *p)
{
	p->is_discarded = true;
}

/* ---- the end ---- */

/* A nameless file takes the disk's name when that is free, else one to rename from. */
static int name_nameless(struct part *p)
{
	scoped_free char *temp = p->old_exists ? random_name(p->name) : NULL;
	char from[32];
	int r;

	if (p->old_exists && !temp)
		return -ENOMEM;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", p->fd);
	if (linkat(AT_FDCWD, from, p->dir_fd, temp ? temp : p->name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	if (!temp || renameat(p->dir_fd, temp, p->dir_fd, p->name) == 0)
		return 0;
	r = -errno;
	unlinkat(p->dir_fd, temp, 0);
	return r;
}

static int rename_named(struct part *p)
{
	if (renameat(p->dir_fd, p->part_name, p->dir_fd, p->name) < 0)
		return -errno;
	p->has_name = false;
	if (p->journal)
		unlinkat(p->dir_fd, p->journal_name, 0);
	return 0;
}

int part_commit(struct part *p, struct diag *d)
{
	int r = p->has_name ? rename_named(p) : name_nameless(p);

	if (r < 0)
		return diag_set_errno(d, r, "cannot give the finished disk its name");
	if (fsync(p->dir_fd) < 0)
		return diag_set_errno(d, -errno, "cannot flush its directory");
	return 0;
}
