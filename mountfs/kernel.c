/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks loop devices, dm-verity and EROFS, each with what has been proven and nothing read anew.
 * libcryptsetup's one door: it speaks to device-mapper, and its words are caught and told. Whether
 * the kernel is to be used at all is decided by cmd_mount_kernel.c.
 *
 *   file ── loop (offset: a partition) ──┐
 *   block device, or its partition ──────┴─ dm-verity ── EROFS ── mount
 *
 * Each layer is held by the one above it and goes when that goes: loop devices are made autoclear,
 * the dm device is marked for removal as soon as a descriptor holds it.
 */
#include "kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libcryptsetup.h>
#include <linux/loop.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CONTROL    "/dev/mapper/control"
#define DM_DIR     "/dev/mapper/"
#define DM_PREFIX  "mountfs-"
#define SECTOR_LEN 512

#define NAME_LEN     128 /* device-mapper's own limit */
#define NAME_BYTES   16  /* of the root hash in a name */
#define PATH_LEN     320
#define COMPLAIN_LEN 512
#define MAX_NAMES    256 /* mounts of one disk at a time */
#define LOOP_TRIES   64  /* others take free loop devices too */

#define GONE_TIMEOUT_MS 2000
#define GONE_STEP_MS    10

/* ---- is it possible here? ---- */

static bool file_has_word(const char *path, const char *word)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool has = false;

	while (f && !has && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		char *last = strrchr(line, ' ');
		char *tab = strrchr(line, '\t');

		last = tab > last ? tab : last;
		has = strcmp(last ? last + 1 : line, word) == 0;
	}
	if (f)
		fclose(f);
	return has;
}

/* Opening the node loads the module, where the node exists without it. */
static int check_device_mapper(struct diag *d)
{
	scoped_fd int fd = open(CONTROL, O_RDWR | O_CLOEXEC);

	if (fd >= 0 || file_has_word("/proc/misc", "device-mapper"))
		return 0;
	if (errno == EPERM || errno == EACCES)
		return diag_set_errno(d, -EPERM, CONTROL ": may not be opened");
	return diag_set(d, -ENOSYS,
	                "this kernel has no device-mapper (" CONTROL
	                " is missing; modprobe dm-verity loads it where it is built as a module)");
}

/* Asking for the file system loads its module too. */
static int check_erofs(struct diag *d)
{
	scoped_fd int fd = fsopen("erofs", FSOPEN_CLOEXEC);

	if (fd >= 0 || file_has_word("/proc/filesystems", "erofs"))
		return 0;
	if (errno == EPERM)
		return diag_set(d, -EPERM,
		                "mounting by way of the kernel needs CAP_SYS_ADMIN, which this "
		                "process has not");
	return diag_set(d, -ENOSYS, "this kernel has no EROFS (modprobe erofs)");
}

int kernel_check(struct diag *d)
{
	int r = 0;

	if (geteuid() != 0)
		r = diag_set(d, -EPERM, "mounting by way of the kernel needs root (FUSE does not)");
	if (r == 0)
		r = check_device_mapper(d);
	if (r == 0)
		r = check_erofs(d);
	return r;
}

/* ---- block devices ---- */

/* What a layer below holds open until the one above does. */
struct device {
	int fd; /* of a loop device; -1: a device that was there before */
	char path[PATH_LEN];
};

static void device_release(struct device d)
{
	scope_close(&d.fd);
}
DEFINE_SCOPED(device, struct device, device_release)

/* The value of a "KEY=value" line, or of a file of one line when key is NULL. */
static int read_sys(const char *path, const char *key, char *out, size_t out_len)
{
	FILE *f = fopen(path, "re");
	char line[PATH_LEN];
	size_t key_len = key ? strlen(key) : 0;
	int r = -ENOENT;

	while (f && r < 0 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (key && (strncmp(line, key, key_len) != 0 || line[key_len] != '='))
			continue;
		r = snprintf(out, out_len, "%s", line + (key ? key_len + 1 : 0)) < (int)out_len
		            ? 0
		            : -ENAMETOOLONG;
	}
	if (f)
		fclose(f);
	return r;
}

static int read_sys_u64(const char *dir, const char *name, uint64_t *out)
{
	char path[PATH_LEN], text[32], *end;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    read_sys(path, NULL, text, sizeof(text)) < 0)
		return -ENOENT;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' ? 0 : -ENOENT;
}

/* The node below /dev of the device that /sys describes in dir. */
static int node_of_sys(const char *dir, char out[PATH_LEN])
{
	char path[PATH_LEN], text[32], name[PATH_LEN - 8];
	unsigned major, minor;
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/uevent", dir) >= (int)sizeof(path) ||
	    read_sys(path, "DEVNAME", name, sizeof(name)) < 0 ||
	    snprintf(path, sizeof(path), "%s/dev", dir) >= (int)sizeof(path) ||
	    read_sys(path, NULL, text, sizeof(text)) < 0 ||
	    sscanf(text, "%u:%u", &major, &minor) != 2)
		return -ENOENT;
	snprintf(out, PATH_LEN, "/dev/%s", name);
	if (stat(out, &st) < 0 || !S_ISBLK(st.st_mode) || st.st_rdev != makedev(major, minor))
		return -ENOENT;
	return 0;
}

/* The kernel's own device for exactly this partition. -ENOENT: it has none. */
static int node_of_partition(const char *disk_dir, uint64_t off, uint64_t len, char out[PATH_LEN])
{
	DIR *dir = opendir(disk_dir);
	struct dirent *e;
	int r = -ENOENT;

	while (dir && r < 0 && (e = readdir(dir))) {
		char path[PATH_LEN];
		uint64_t start, cnt;

		if (e->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", disk_dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (read_sys_u64(path, "partition", &start) == 0 &&
		    read_sys_u64(path, "start", &start) == 0 &&
		    read_sys_u64(path, "size", &cnt) == 0 && start == off / SECTOR_LEN &&
		    cnt == len / SECTOR_LEN)
			r = node_of_sys(path, out);
	}
	if (dir)
		closedir(dir);
	return r;
}

static int configure_loop(const struct loop_config *config, struct device *out)
{
	scoped_fd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int r = control < 0 ? -errno : -EBUSY;

	for (int i = 0; r == -EBUSY && i < LOOP_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		scoped_fd int fd = -1;

		if (number < 0)
			return -errno;
		snprintf(out->path, sizeof(out->path), "/dev/loop%d", number);
		fd = open(out->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = ioctl(fd, LOOP_CONFIGURE, config) < 0 ? -errno : 0;
		if (r == 0)
			out->fd = take_fd(&fd);
	}
	return r;
}

/* len 0: up to the end. The kernel reads past the page cache where the file system can. */
static int attach_loop(int store, uint64_t off, uint64_t len, bool is_direct, struct device *out,
                       struct diag *d)
{
	const struct loop_config config = {
		.fd = (uint32_t)store,
		.info = { .lo_offset = off,
		          .lo_sizelimit = len,
		          .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR |
		                      (is_direct ? LO_FLAGS_DIRECT_IO : 0) },
	};
	int r = configure_loop(&config, out);

	if (r < 0)
		return diag_set_errno(d, r, "cannot attach a loop device (%s)",
		                      out->path[0] ? out->path : "/dev/loop-control");
	return 0;
}

/* Mounted or mapped by somebody; then only a loop device over it is free. */
static bool is_taken(const char *path)
{
	scoped_fd int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);

	return fd < 0 && errno == EBUSY;
}

/* A block device for [off, off + len) of the open disk; len 0: all of it. */
static int device_for(int store, uint64_t off, uint64_t len, bool is_direct, struct device *out,
                      struct diag *d)
{
	struct stat st;
	char dir[64];
	int r = -ENOENT;

	if (fstat(store, &st) < 0)
		return diag_set_errno(d, -errno, "cannot look at the disk");
	if (S_ISBLK(st.st_mode)) {
		snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(st.st_rdev),
		         minor(st.st_rdev));
		r = len == 0 ? node_of_sys(dir, out->path)
		             : node_of_partition(dir, off, len, out->path);
	}
	if (r == 0 && !is_taken(out->path))
		return 0;
	return attach_loop(store, off, len, is_direct, out, d);
}

/* ---- dm-verity ---- */

/* What libcryptsetup complained about last; it numbers its errors coarsely. */
struct verity_device {
	struct crypt_device *cd;
	char name[NAME_LEN];
	char complaint[COMPLAIN_LEN];
	int fd; /* holds it; -1: it is not active */
};

static void verity_device_release(struct verity_device v)
{
	scope_close(&v.fd);
	crypt_free(v.cd);
}
DEFINE_SCOPED(verity_device, struct verity_device, verity_device_release)

static void on_log(int level, const char *message, void *ctx)
{
	char *complaint = ctx;

	if (level != CRYPT_LOG_ERROR)
		return;
	snprintf(complaint, COMPLAIN_LEN, "%s", message);
	complaint[strcspn(complaint, "\n")] = '\0';
}

/*
 * Its codes for what a kernel cannot do are not always the same, and none of them means here what
 * it means of a disk: that is proven already.
 */
static int explain(const struct verity_device *v, int err, const char *what, struct diag *d)
{
	if (err == -ENODEV || err == -ENOTBLK || err == -ENOTSUP)
		err = -ENOSYS;
	else if (err == -EINVAL)
		err = -EIO;
	return diag_set(d, err, "%s: %s", what, v->complaint[0] ? v->complaint : strerror(-err));
}

/* What dm-verity cannot do and mountfs can. */
static int check_limits(const struct verity_params *p, uint64_t tree_off, struct diag *d)
{
	if (tree_off % p->hash_block_len != 0)
		return diag_set(d, -ENOSYS,
		                "the hash tree starts at byte %" PRIu64
		                ", which is no multiple of its block size %" PRIu32
		                ", as the kernel needs it",
		                tree_off, p->hash_block_len);
	if (p->data_block_len > (uint64_t)sysconf(_SC_PAGESIZE))
		return diag_set(d, -ENOSYS,
		                "the kernel cannot prove blocks of %" PRIu32
		                " bytes, which are larger than its pages",
		                p->data_block_len);
	return 0;
}

/* The parameters as proven; no byte of a superblock is read. */
static int describe(struct verity_device *v, const struct image_areas *a, const char *data,
                    const char *hash, struct diag *d)
{
	const struct verity_params *p = a->params;
	struct crypt_params_verity params = {
		.hash_name = hash_name(p->alg),
		.data_device = data,
		.salt = (const char *)p->salt,
		.salt_size = p->salt_len,
		.hash_type = p->hash_type,
		.data_block_size = p->data_block_len,
		.hash_block_size = p->hash_block_len,
		.data_size = p->data_blk_cnt,
		.hash_area_offset = a->is_shared ? a->tree_off : a->tree_off - a->hash_off,
		.flags = CRYPT_VERITY_NO_HEADER,
	};
	int r = check_limits(p, params.hash_area_offset, d);

	if (r < 0)
		return r;
	r = crypt_init(&v->cd, hash);
	if (r == 0) {
		crypt_set_log_callback(v->cd, on_log, v->complaint);
		r = crypt_format(v->cd, CRYPT_VERITY, NULL, NULL, NULL, NULL, 0, &params);
	}
	return r < 0 ? explain(v, r, "the hash tree cannot be described to the kernel", d) : 0;
}

/* A kernel that demands signatures refuses the second attempt too. */
static int activate_as(struct verity_device *v, const struct kernel_options *o)
{
	const char *root = (const char *)o->root;
	int r = -ENOKEY;

	if (o->signature)
		r = crypt_activate_by_signed_key(v->cd, v->name, root, o->root_len,
		                                 (const char *)o->signature, o->signature_len,
		                                 CRYPT_ACTIVATE_READONLY);
	if (r == 0 || r == -EEXIST)
		return r;
	v->complaint[0] = '\0';
	return crypt_activate_by_volume_key(v->cd, v->name, root, o->root_len,
	                                    CRYPT_ACTIVATE_READONLY);
}

/* A name that tells the disk; the number, which mount of it. */
static int activate_as_free_name(struct verity_device *v, const struct kernel_options *o)
{
	char hex[2 * NAME_BYTES + 1];
	int r = -EEXIST;

	hex_encode(o->root, MIN(o->root_len, NAME_BYTES), hex);
	for (int i = 0; r == -EEXIST && i < MAX_NAMES; i++) {
		snprintf(v->name, sizeof(v->name), DM_PREFIX "%s-%d", hex, i);
		if (crypt_status(NULL, v->name) != CRYPT_INACTIVE)
			continue;
		r = activate_as(v, o);
	}
	return r;
}

/* Active, and about to go away when nothing holds it any more. */
static int activate_for_now(struct verity_device *v, const struct kernel_options *o, struct diag *d)
{
	char path[PATH_LEN];
	int r = activate_as_free_name(v, o);

	if (r < 0)
		return explain(v, r, "dm-verity cannot be activated", d);
	snprintf(path, sizeof(path), DM_DIR "%s", v->name);
	v->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (v->fd < 0)
		r = diag_set_errno(d, -errno, "%s: cannot open", path);
	else if (crypt_deactivate_by_name(v->cd, v->name, CRYPT_DEACTIVATE_DEFERRED) < 0)
		r = explain(v, -EIO, "the device cannot be marked for removal", d);
	if (r < 0) {
		scope_close(&v->fd);
		v->fd = -1;
		if (crypt_deactivate(v->cd, v->name) < 0)
			diag_prefix(d, r, "%s stays behind", path);
	}
	return r;
}

/* No signal may end the program where the device would stay behind. */
static int activate(struct verity_device *v, const struct kernel_options *o, struct diag *d)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	r = activate_for_now(v, o, d);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* ---- mounting ---- */

/* Where there is no udev, the marked device has lost its node already. */
static int node_of_active(const struct verity_device *v, char out[PATH_LEN])
{
	char dir[64];
	struct stat st;

	snprintf(out, PATH_LEN, DM_DIR "%s", v->name);
	if (access(out, F_OK) == 0)
		return 0;
	if (fstat(v->fd, &st) < 0)
		return -errno;
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return node_of_sys(dir, out);
}

static int mount_active(const struct verity_device *v, const struct kernel_options *o,
                        struct diag *d)
{
	unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME;
	char path[PATH_LEN];
	int r = node_of_active(v, path);

	if (r < 0)
		return diag_set(d, r, DM_DIR "%s: has no device node", v->name);
	if (!o->exec)
		flags |= MS_NOEXEC;
	if (mount(path, o->mountpoint, "erofs", flags, NULL) == 0)
		return 0;
	if (errno == ENODEV)
		return diag_set(d, -ENOSYS, "this kernel has no EROFS (modprobe erofs)");
	if (errno == EINVAL)
		return diag_set(d, -ENOSYS,
		                "%s: this kernel's EROFS refuses the image (dmesg says why)",
		                o->mountpoint);
	return diag_set_errno(d, -errno, "%s: cannot mount %s", o->mountpoint, path);
}

int kernel_mount(const struct image *img, const struct kernel_options *o, struct diag *d)
{
	bool is_direct = o->direct != BLK_DIRECT_NO;
	scoped(device) struct device data = { .fd = -1 };
	scoped(device) struct device hash = { .fd = -1 };
	scoped(verity_device) struct verity_device v = { .fd = -1 };
	struct image_areas a;
	int r;

	image_get_areas(img, &a);
	r = device_for(a.data_fd, a.data_off, a.is_whole ? 0 : a.data_len, is_direct, &data, d);
	if (r == 0 && !a.is_shared)
		r = device_for(a.hash_fd, a.hash_off, a.hash_len, is_direct, &hash, d);
	if (r == 0)
		r = describe(&v, &a, data.path, a.is_shared ? data.path : hash.path, d);
	if (r == 0)
		r = activate(&v, o, d);
	if (r == 0)
		r = mount_active(&v, o, d);
	return r;
}

/* ---- what is mounted ---- */

/* The device-mapper name below the topmost mount at the path. -ENOENT: none of ours. */
static int name_of_mount(const char *mountpoint, char out[NAME_LEN], dev_t *dev)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	struct stat st;
	char path[64];
	bool is_erofs = false;

	while (table && (m = getmntent(table)))
		if (strcmp(m->mnt_dir, mountpoint) == 0)
			is_erofs = strcmp(m->mnt_type, "erofs") == 0;
	if (table)
		endmntent(table);
	if (!is_erofs || stat(mountpoint, &st) < 0)
		return -ENOENT;
	*dev = st.st_dev;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(st.st_dev),
	         minor(st.st_dev));
	if (read_sys(path, NULL, out, NAME_LEN) < 0 ||
	    strncmp(out, DM_PREFIX, strlen(DM_PREFIX)) != 0)
		return -ENOENT;
	return 0;
}

int kernel_mounted(const char *mountpoint, uint8_t *root, size_t *root_len)
{
	scoped(verity_device) struct verity_device v = { .fd = -1 };
	size_t len = HASH_MAX_LEN;
	dev_t dev;

	if (name_of_mount(mountpoint, v.name, &dev) < 0)
		return 0;
	crypt_set_log_callback(NULL, on_log, v.complaint);
	if (crypt_init_by_name(&v.cd, v.name) < 0 ||
	    crypt_volume_key_get(v.cd, CRYPT_ANY_SLOT, (char *)root, &len, NULL, 0) < 0)
		len = 0; /* ours, and unlike every root hash */
	crypt_set_log_callback(NULL, NULL, NULL);
	*root_len = len;
	return 1;
}

int kernel_umount(const char *mountpoint, bool is_lazy, struct diag *d)
{
	char name[NAME_LEN], path[64];
	dev_t dev;

	if (name_of_mount(mountpoint, name, &dev) < 0)
		return diag_set(d, -EINVAL, "%s: no model disk is mounted there", mountpoint);
	if (umount2(mountpoint, UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0)) < 0) {
		if (errno == EBUSY)
			return diag_set(d, -EBUSY, "%s: is in use (fuser -vm %s tells by whom)",
			                mountpoint, mountpoint);
		return diag_set_errno(d, -errno, "%s: cannot be unmounted", mountpoint);
	}
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major(dev), minor(dev));
	for (int ms = 0; ms < GONE_TIMEOUT_MS && access(path, F_OK) == 0; ms += GONE_STEP_MS)
		poll(NULL, 0, GONE_STEP_MS);
	return 0;
}
