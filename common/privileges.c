/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capabilities, no_new_privs and Landlock by their system calls: what is asked for is small, and
 * the headers of the oldest system that we build on know less of Landlock than the kernel may. When
 * a program gives up what, is its own decision.
 */
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- capabilities ---- */

static void limit_bounding_set(uint64_t keep)
{
	/* ends at the first number that the kernel does not know, or is not allowed to us */
	for (unsigned cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return;
}

int privileges_keep(uint64_t keep, struct diag *d)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	limit_bounding_set(keep);
	/* kernels without ambient capabilities have none to clear */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, sets) < 0)
		return diag_set_errno(d, -errno, "cannot ask for the capabilities");
	for (unsigned i = 0; i < ARRAY_LEN(sets); i++) {
		sets[i].permitted &= (uint32_t)(keep >> 32 * i);
		sets[i].effective = sets[i].permitted;
		sets[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, sets) < 0)
		return diag_set_errno(d, -errno, "cannot give up capabilities");
	return 0;
}

int privileges_gain_no_more(struct diag *d)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return diag_set_errno(d, -errno, "cannot set no_new_privs");
	return 0;
}

int privileges_hide_memory(struct diag *d)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return diag_set_errno(d, -errno, "cannot hide the memory of the process");
	return 0;
}

/* ---- descriptors ---- */

static int compare_fds(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void close_between(unsigned first, unsigned last)
{
	unsigned limit = (unsigned)sysconf(_SC_OPEN_MAX);

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	/* before Linux 5.9 */
	for (unsigned fd = first; fd <= MIN(last, limit); fd++)
		close((int)fd);
}

int privileges_keep_descriptors(const int *keep, size_t cnt, struct diag *d)
{
	scoped_free int *fds = calloc(cnt + 1, sizeof(*fds));
	unsigned next = STDERR_FILENO + 1;

	if (!fds)
		return diag_set(d, -ENOMEM, "out of memory");
	memcpy(fds, keep, cnt * sizeof(*fds));
	qsort(fds, cnt, sizeof(*fds), compare_fds);
	for (size_t i = 0; i < cnt; i++) {
		if (fds[i] < (int)next)
			continue;
		close_between(next, (unsigned)fds[i] - 1);
		next = (unsigned)fds[i] + 1;
	}
	close_between(next, INT_MAX);
	return 0;
}

/* ---- Landlock ---- */

/* As the kernel's struct landlock_ruleset_attr is since ABI 6; a zero is no news to an older one.
 */
struct ruleset {
	uint64_t files, net, scoped;
};

/* Rights that came behind those of the oldest headers. */
#define FILES_REFER                            (UINT64_C(1) << 13) /* ABI 2 */
#define FILES_TRUNCATE                         (UINT64_C(1) << 14) /* ABI 3 */
#define FILES_IOCTL_DEV                        (UINT64_C(1) << 15) /* ABI 5 */
#define NET_BIND_CONNECT                       UINT64_C(3)         /* ABI 4 */
#define SCOPED_ABSTRACT_UNIX_SOCKET_AND_SIGNAL UINT64_C(3)         /* ABI 6 */

/* Those of ABI 1 that change something, for directories and what is in them ... */
#define WRITES_FIRST                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                               \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                             \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define READS_FIRST                                                                                \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* ... and of all ABIs those that have a meaning for a file itself. */
#define WRITES_OF_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | FILES_TRUNCATE)

/* 0: there is none, or a container does not let us have it. */
static int landlock_abi(void)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return r < 0 ? 0 : (int)r;
}

static uint64_t writes_known_to(int abi)
{
	return WRITES_FIRST | (abi >= 2 ? FILES_REFER : 0) | (abi >= 3 ? FILES_TRUNCATE : 0);
}

static int new_ruleset(const struct ruleset *rules, struct diag *d)
{
	long fd = syscall(SYS_landlock_create_ruleset, rules, sizeof(*rules), 0);

	if (fd < 0)
		return diag_set_errno(d, -errno, "cannot make a Landlock ruleset");
	return (int)fd;
}

static int enforce(int ruleset_fd, struct diag *d)
{
	if (syscall(SYS_landlock_restrict_self, ruleset_fd, 0) < 0)
		return diag_set_errno(d, -errno, "cannot enforce Landlock");
	return 1;
}

int privileges_leave_files(struct diag *d)
{
	int abi = landlock_abi();
	const struct ruleset all = {
		.files = READS_FIRST | writes_known_to(abi) | (abi >= 5 ? FILES_IOCTL_DEV : 0),
		.net = abi >= 4 ? NET_BIND_CONNECT : 0,
		.scoped = abi >= 6 ? SCOPED_ABSTRACT_UNIX_SOCKET_AND_SIGNAL : 0,
	};
	scoped_fd int fd = -1;

	if (abi == 0)
		return 0;
	fd = new_ruleset(&all, d);
	return fd < 0 ? fd : enforce(fd, d);
}

/* rights at and below path, as far as they have a meaning there */
static int allow(int ruleset_fd, const char *path, uint64_t rights, struct diag *d)
{
	scoped_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = { .allowed_access = rights, .parent_fd = fd };
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
		return 0; /* what cannot be reached cannot be written either */
	if (fd < 0 || fstat(fd, &st) < 0)
		return diag_set_errno(d, -errno, "%s: cannot allow writing there", path);
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= WRITES_OF_FILE;
	if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return diag_set_errno(d, -errno, "%s: cannot allow writing there", path);
	return 0;
}

int privileges_limit_writes(const char *const *path, size_t cnt, struct diag *d)
{
	int abi = landlock_abi(), r = 0;
	const struct ruleset writes = { .files = writes_known_to(abi) };
	scoped_fd int fd = -1;

	/* the first ABI forbids every link and rename between directories */
	if (abi < 2)
		return 0;
	fd = new_ruleset(&writes, d);
	if (fd < 0)
		return fd;
	for (size_t i = 0; r == 0 && i < cnt; i++)
		r = allow(fd, path[i], writes.files, d);
	return r < 0 ? r : enforce(fd, d);
}
