/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as found: files, devices, memory, sub-ranges; what cannot be read and what is told of it.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_LEN 10000

struct fixture {
	char *dir, path[512];
	uint8_t bytes[FILE_LEN];
};

static int make_file(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	FILE *file;

	assert_non_null(f);
	f->dir = support_make_dir();
	snprintf(f->path, sizeof(f->path), "%s/disk.img", f->dir);
	support_fill(f->bytes, sizeof(f->bytes), 1);
	file = fopen(f->path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(f->bytes, 1, sizeof(f->bytes), file), sizeof(f->bytes));
	assert_int_equal(fclose(file), 0);
	*state = f;
	return 0;
}

static int remove_file(void **state)
{
	struct fixture *f = *state;

	support_remove_dir(f->dir);
	free(f);
	return 0;
}

static void file_gives_its_bytes_size_and_name(void **state)
{
	const struct fixture *f = *state;
	scoped(blk) struct blk *b = NULL;
	uint8_t buf[FILE_LEN];
	struct diag d = DIAG_INIT;

	assert_int_equal(blk_open(f->path, &b, &d), 0);
	assert_int_equal(blk_size(b), FILE_LEN);
	assert_string_equal(blk_name(b), f->path);
	assert_int_equal(blk_sector_len(b), 512);
	assert_int_equal(blk_base_off(b), 0);
	assert_int_equal(fcntl(blk_fd(b), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(blk_fd(b), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(blk_read(b, 0, buf, FILE_LEN, &d), 0);
	assert_memory_equal(buf, f->bytes, FILE_LEN);
	assert_int_equal(blk_read(b, 4321, buf, 1234, &d), 0);
	assert_memory_equal(buf, f->bytes + 4321, 1234);
}

/* ---- past the page cache ---- */

#define LONG_LEN (256 * KIB)

/* A file of LONG_LEN bytes and one, none of it in the page cache any more. */
static int make_cold_file(const struct fixture *f, char path[600], uint8_t *bytes)
{
	int fd;

	snprintf(path, 600, "%s/cold.img", f->dir);
	support_fill(bytes, LONG_LEN + 1, 2);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, LONG_LEN + 1), LONG_LEN + 1);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	return fd;
}

#define NR_CACHESTAT 451

/* Pages of the first LONG_LEN bytes in the page cache, or -1 where nobody tells. */
static int64_t cached_pages(int fd)
{
	uint64_t range[2] = { 0, LONG_LEN }, found[5];

	return syscall(NR_CACHESTAT, fd, range, found, 0) < 0 ? -1 : (int64_t)found[0];
}

/* The pages in the cache after a whole read by b. */
static int64_t read_all(const struct blk *b, int fd, const uint8_t *bytes, uint8_t *buf)
{
	memset(buf, 0, LONG_LEN);
	assert_int_equal(blk_read(b, 0, buf, LONG_LEN, NULL), 0);
	assert_memory_equal(buf, bytes, LONG_LEN);
	return cached_pages(fd);
}

static void long_reads_leave_in_the_page_cache_what_was_there_before(void **state)
{
	uint8_t *bytes = malloc(LONG_LEN + 1), *buf = aligned_alloc(4096, LONG_LEN);
	int64_t all = (int64_t)LONG_LEN / sysconf(_SC_PAGESIZE), cached;
	char path[600];
	scoped_fd int fd = make_cold_file(*state, path, bytes);

	/* first none of it, then, with NO, all */
	for (int i = 0; i < 6; i++) {
		enum blk_direct how = (enum blk_direct)(i % 3);
		scoped(blk) struct blk *b = NULL;

		assert_int_equal(blk_open(path, &b, NULL), 0);
		blk_set_direct(b, how);
		assert_int_equal(blk_direct_fd(b) >= 0, how == BLK_DIRECT_YES);
		cached = read_all(b, fd, bytes, buf);
		if (cached >= 0)
			assert_int_equal(cached, i < 2 ? 0 : all);
	}
	free(bytes);
	free(buf);
}

static void what_direct_reads_cannot_do_goes_through_the_cache(void **state)
{
	uint8_t *bytes = malloc(LONG_LEN + 1), *buf = aligned_alloc(4096, LONG_LEN + 4096);
	scoped(blk) struct blk *b = NULL;
	scoped(blk) struct blk *sub = NULL;
	char path[600];
	scoped_fd int fd = make_cold_file(*state, path, bytes);
	(void)fd;

	assert_int_equal(blk_open(path, &b, NULL), 0);
	blk_set_direct(b, BLK_DIRECT_YES);
	/* offset, length and memory that O_DIRECT would refuse */
	assert_int_equal(blk_read(b, 1, buf, LONG_LEN, NULL), 0);
	assert_memory_equal(buf, bytes + 1, LONG_LEN);
	assert_int_equal(blk_read(b, 0, buf, LONG_LEN - 7, NULL), 0);
	assert_memory_equal(buf, bytes, LONG_LEN - 7);
	assert_int_equal(blk_read(b, 0, buf + 3, LONG_LEN, NULL), 0);
	assert_memory_equal(buf + 3, bytes, LONG_LEN);
	/* a range that is aligned in itself, but not on the disk */
	assert_int_equal(blk_sub(b, 513, LONG_LEN - 513, "part", &sub, NULL), 0);
	assert_int_equal(blk_read(sub, 0, buf, 128 * KIB, NULL), 0);
	assert_memory_equal(buf, bytes + 513, 128 * KIB);
	assert_int_equal(blk_direct_fd(sub), blk_direct_fd(b));
	free(bytes);
	free(buf);
}

static void a_file_that_shrinks_under_direct_reads_is_an_error(void **state)
{
	uint8_t *bytes = malloc(LONG_LEN + 1), *buf = aligned_alloc(4096, LONG_LEN);
	scoped(blk) struct blk *b = NULL;
	struct diag d = DIAG_INIT;
	char path[600];
	scoped_fd int fd = make_cold_file(*state, path, bytes);

	assert_int_equal(blk_open(path, &b, NULL), 0);
	blk_set_direct(b, BLK_DIRECT_YES);
	for (off_t len = LONG_LEN - 1; len > 0; len /= 3) {
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(blk_read(b, 0, buf, LONG_LEN, &d), -EIO);
		assert_non_null(strstr(d.text, "shrunk"));
	}
	free(bytes);
	free(buf);
}

static void only_files_can_be_read_directly(void **state)
{
	scoped(blk) struct blk *b = NULL;

	(void)state;
	assert_int_equal(blk_of_memory("x", 1, "memory", &b), 0);
	blk_set_direct(b, BLK_DIRECT_YES);
	assert_int_equal(blk_direct_fd(b), -1);
}

static void interrupted_and_short_reads_are_continued(void **state)
{
	const struct fixture *f = *state;
	scoped(blk) struct blk *b = NULL;
	uint8_t buf[1000];
	int r;

	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	support_make_reads_halting(true);
	r = blk_read(b, 500, buf, sizeof(buf), NULL);
	support_make_reads_halting(false);
	assert_int_equal(r, 0);
	assert_memory_equal(buf, f->bytes + 500, sizeof(buf));
}

static void nothing_outside_the_range_is_ever_read(void **state)
{
	const struct fixture *f = *state;
	static const struct {
		uint64_t off;
		size_t len;
	} v[] = { { 0, FILE_LEN + 1 }, { 1, FILE_LEN },   { FILE_LEN, 1 }, { FILE_LEN + 1, 0 },
		  { UINT64_MAX, 1 },   { UINT64_MAX, 0 }, { 1, SIZE_MAX } };
	scoped(blk) struct blk *b = NULL;
	uint8_t buf[1];

	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct diag d = DIAG_INIT;

		assert_int_equal(blk_read(b, v[i].off, buf, v[i].len, &d), -ERANGE);
		assert_int_equal(d.err, -ERANGE);
		assert_non_null(strstr(d.text, "10000 bytes"));
	}
	assert_int_equal(blk_read(b, FILE_LEN, buf, 0, NULL), 0);
}

static void file_that_shrinks_gives_eio_and_says_so(void **state)
{
	const struct fixture *f = *state;
	scoped(blk) struct blk *b = NULL, *sub = NULL;
	struct diag d = DIAG_INIT;
	uint8_t buf[1000];

	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	assert_int_equal(blk_sub(b, 4000, 4000, "partition 1", &sub, NULL), 0);
	assert_int_equal(truncate(f->path, 5000), 0);
	assert_int_equal(blk_read(b, 4000, buf, 1000, &d), 0);
	assert_int_equal(blk_read(b, 4001, buf, 1000, &d), -EIO);
	assert_non_null(strstr(d.text, "disk.img: cannot read 1000 bytes at offset 4001"));
	assert_non_null(strstr(d.text, "shrunk to 5000 bytes"));
	assert_int_equal(blk_read(sub, 500, buf, 1000, &d), -EIO);
	assert_non_null(strstr(d.text, "partition 1"));
	assert_non_null(strstr(d.text, "shrunk to 5000 bytes"));
	assert_int_equal(blk_read(sub, 500, buf, 1000, NULL), -EIO);
	assert_int_equal(blk_size(b), FILE_LEN);
}

static void what_is_neither_file_nor_block_device_is_refused(void **state)
{
	const struct fixture *f = *state;
	char fifo[600];
	struct blk *b = NULL;
	struct diag d = DIAG_INIT;

	assert_int_equal(blk_open(f->dir, &b, &d), -EINVAL);
	assert_non_null(strstr(d.text, "is a directory"));
	assert_int_equal(blk_open("/dev/null", &b, &d), -EINVAL);
	assert_non_null(strstr(d.text, "is a character device"));
	snprintf(fifo, sizeof(fifo), "%s/fifo", f->dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(blk_open(fifo, &b, &d), -EINVAL); /* and does not wait for a writer */
	assert_non_null(strstr(d.text, "is a fifo"));
	assert_int_equal(blk_open("/nowhere/disk.img", &b, &d), -ENOENT);
	assert_string_equal(d.text, "/nowhere/disk.img: cannot open: No such file or directory");
	assert_null(b);
}

static void descriptor_is_taken_on_success_only(void **state)
{
	const struct fixture *f = *state;
	int dir = open(f->dir, O_RDONLY | O_DIRECTORY), fd = open(f->path, O_RDONLY);
	struct blk *b = NULL;
	struct diag d = DIAG_INIT;

	assert_true(dir >= 0 && fd >= 0);
	assert_int_equal(blk_open_fd(dir, "dir", &b, &d), -EINVAL);
	assert_int_equal(fcntl(dir, F_GETFD), 0);
	close(dir);
	assert_int_equal(blk_open_fd(fd, "named", &b, &d), 0);
	assert_string_equal(blk_name(b), "named");
	assert_int_equal(blk_fd(b), fd);
	blk_close(b);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void sub_ranges_are_flat_and_named(void **state)
{
	const struct fixture *f = *state;
	scoped(blk) struct blk *b = NULL, *part = NULL, *tree = NULL;
	uint8_t buf[100];
	struct diag d = DIAG_INIT;

	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	assert_int_equal(blk_sub(b, 1000, 5000, "partition 2", &part, &d), 0);
	assert_int_equal(blk_sub(part, 100, 200, "tree", &tree, &d), 0);
	assert_int_equal(blk_size(tree), 200);
	assert_int_equal(blk_base_off(part), 1000);
	assert_int_equal(blk_base_off(tree), 1100);
	assert_int_equal(blk_fd(tree), blk_fd(b));
	assert_string_equal(blk_name(tree) + strlen(f->path), ": partition 2: tree");
	assert_int_equal(blk_read(tree, 50, buf, sizeof(buf), &d), 0);
	assert_memory_equal(buf, f->bytes + 1150, sizeof(buf));
	assert_int_equal(blk_read(tree, 101, buf, 100, &d), -ERANGE);

	/* no chain: the middle may go, the outermost may not */
	blk_close(take_ptr(part));
	assert_int_equal(blk_read(tree, 0, buf, sizeof(buf), &d), 0);
}

static void sub_range_outside_its_parent_is_refused(void **state)
{
	static const uint8_t bytes[100];
	static const uint64_t bad[][2] = { { 0, 101 },        { 101, 0 },        { 100, 1 },
		                           { UINT64_MAX, 1 }, { 1, UINT64_MAX }, { 50, 51 } };
	scoped(blk) struct blk *b = NULL;
	struct blk *sub = NULL;
	struct diag d = DIAG_INIT;

	(void)state;
	assert_int_equal(blk_of_memory(bytes, sizeof(bytes), "memory", &b), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(blk_sub(b, bad[i][0], bad[i][1], "partition 1", &sub, &d),
		                 -EUCLEAN);
	assert_string_equal(d.text,
	                    "memory: partition 1 of 51 bytes at offset 50 is not inside its "
	                    "100 bytes");
	assert_null(sub);
	assert_int_equal(blk_sub(b, 100, 0, "empty", &sub, &d), 0);
	assert_int_equal(blk_size(sub), 0);
	blk_close(sub);
}

static void memory_has_no_descriptor(void **state)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4 };
	scoped(blk) struct blk *b = NULL;
	uint8_t buf[2];

	(void)state;
	assert_int_equal(blk_of_memory(bytes, sizeof(bytes), "memory", &b), 0);
	assert_int_equal(blk_fd(b), -1);
	assert_int_equal(blk_sector_len(b), 512);
	assert_int_equal(blk_read(b, 1, buf, 2, NULL), 0);
	assert_true(buf[0] == 2 && buf[1] == 3);
}

struct counting {
	unsigned reads, closes;
};

static int counting_read(void *ctx, uint64_t off, void *buf, size_t len)
{
	(void)off;
	((struct counting *)ctx)->reads++;
	memset(buf, 0, len);
	return 0;
}

static void counting_close(void *ctx)
{
	((struct counting *)ctx)->closes++;
}

static void store_is_closed_once_by_its_outermost_blk(void **state)
{
	static const struct blk_ops ops = { .read = counting_read, .close = counting_close };
	struct counting c = { 0 };
	struct blk *b = NULL, *sub = NULL;
	uint8_t buf[8];

	(void)state;
	assert_int_equal(blk_new(&ops, &c, UINT64_MAX, "store", &b), 0);
	assert_int_equal(blk_sub(b, UINT64_MAX - 8, 8, "end", &sub, NULL), 0);
	assert_int_equal(blk_read(sub, 0, buf, 8, NULL), 0);
	assert_int_equal(blk_read(sub, 0, buf, 0, NULL), 0);
	assert_int_equal(c.reads, 1);
	blk_close(sub);
	assert_int_equal(c.closes, 0);
	blk_close(b);
	assert_int_equal(c.closes, 1);
	blk_close(NULL);
}

static void failure_of_the_store_is_passed_on_and_told(void **state)
{
	static const uint8_t bytes[64];
	scoped(blk) struct blk *b = NULL, *faulty = NULL;
	struct support_fault fault = { .fail_at = 2, .err = -ENXIO };
	struct diag d = DIAG_INIT;
	uint8_t buf[8];

	(void)state;
	assert_int_equal(blk_of_memory(bytes, sizeof(bytes), "memory", &b), 0);
	fault.parent = b;
	assert_int_equal(support_fault_blk(&fault, &faulty), 0);
	assert_int_equal(blk_read(faulty, 0, buf, 8, &d), 0);
	assert_int_equal(d.err, 0);
	assert_int_equal(blk_read(faulty, 8, buf, 8, &d), -ENXIO);
	assert_string_equal(d.text, "faulty: cannot read 8 bytes at offset 8: No such device or "
	                            "address");
}

static void failed_allocation_leaves_nothing_behind(void **state)
{
	const struct fixture *f = *state;
	scoped(blk) struct blk *b = NULL;
	struct blk *none = NULL;
	struct diag d = DIAG_INIT;
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

	close(before);
	support_fail_allocation(1);
	assert_int_equal(blk_open(f->path, &none, &d), -ENOMEM);
	assert_non_null(strstr(d.text, "out of memory"));
	after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(before, after); /* the descriptor was closed again */
	close(after);
	support_fail_allocation(0);
	assert_int_equal(blk_open(f->path, &b, NULL), 0);
	support_fail_allocation(1);
	assert_int_equal(blk_sub(b, 0, 1, "part", &none, &d), -ENOMEM);
	support_fail_allocation(0);
	assert_null(none);
}

/* A loop device with 4096-byte sectors over fd; its name in path. False: not possible here. */
static bool attach_loop(int fd, char path[64])
{
	struct loop_config config = { .fd = (uint32_t)fd,
		                      .block_size = 4096,
		                      .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY };
	scoped_fd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control >= 0 ? ioctl(control, LOOP_CTL_GET_FREE) : -1;
	int dev;

	if (number < 0)
		return false;
	snprintf(path, 64, "/dev/loop%d", number);
	dev = open(path, O_RDONLY | O_CLOEXEC);
	/* dev stays open: the kernel detaches the device when its last user is gone */
	return dev >= 0 && ioctl(dev, LOOP_CONFIGURE, &config) == 0;
}

static void block_device_gives_its_size_and_sector_length(void **state)
{
	const struct fixture *f = *state;
	scoped_fd int fd = open(f->path, O_RDWR | O_CLOEXEC);
	scoped(blk) struct blk *b = NULL, *sub = NULL;
	uint8_t buf[5000];
	char path[64];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	if (!attach_loop(fd, path)) {
		print_message("no loop device can be made here\n");
		skip();
	}
	assert_int_equal(blk_open(path, &b, NULL), 0);
	assert_int_equal(blk_size(b), 8192);
	assert_int_equal(blk_sector_len(b), 4096);
	assert_int_equal(blk_sub(b, 1, 5000, "part", &sub, NULL), 0);
	assert_int_equal(blk_sector_len(sub), 4096);
	assert_int_equal(blk_read(sub, 0, buf, 5000, NULL), 0);
	assert_memory_equal(buf, f->bytes + 1, 5000);
}

#define ON_FILE(test) cmocka_unit_test_setup_teardown(test, make_file, remove_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_FILE(file_gives_its_bytes_size_and_name),
		ON_FILE(long_reads_leave_in_the_page_cache_what_was_there_before),
		ON_FILE(what_direct_reads_cannot_do_goes_through_the_cache),
		ON_FILE(a_file_that_shrinks_under_direct_reads_is_an_error),
		cmocka_unit_test(only_files_can_be_read_directly),
		ON_FILE(interrupted_and_short_reads_are_continued),
		ON_FILE(nothing_outside_the_range_is_ever_read),
		ON_FILE(file_that_shrinks_gives_eio_and_says_so),
		ON_FILE(what_is_neither_file_nor_block_device_is_refused),
		ON_FILE(descriptor_is_taken_on_success_only),
		ON_FILE(sub_ranges_are_flat_and_named),
		ON_FILE(failed_allocation_leaves_nothing_behind),
		ON_FILE(block_device_gives_its_size_and_sector_length),
		cmocka_unit_test(sub_range_outside_its_parent_is_refused),
		cmocka_unit_test(memory_has_no_descriptor),
		cmocka_unit_test(store_is_closed_once_by_its_outermost_blk),
		cmocka_unit_test(failure_of_the_store_is_passed_on_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
