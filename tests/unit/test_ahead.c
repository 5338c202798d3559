/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads with proving ahead, over a real tree in memory: always the file's bytes, never those of a
 * broken block, and a failure told to whom it concerns.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "ahead.h"
#include "failures.h"
#include "tiny_erofs.h"
#include "verity_disk.h"

#define BLOCK      4096
#define FILE_NID   60
#define DIR_BLK    1
#define FILE_BLK   2
#define FILE_LEN   (12 * MIB + 1234)
#define BLK_CNT    (FILE_BLK + FILE_LEN / BLOCK + 1)
#define READ_LEN   (128 * KIB)
#define THREAD_CNT 4

struct fixture {
	struct verity_disk disk;
	struct blk *data, *hash;
	struct vblk *vblk;
	struct erofs *fs;
	struct erofs_inode inode;
	struct ahead *ahead;
	const uint8_t *content; /* of the file, in disk.data */
	uint8_t *buf;
};

static struct fixture *open_fixture(unsigned thread_cnt)
{
	static const struct tiny_name names[] = { { ".", TINY_ROOT_NID, 2 },
		                                  { "..", TINY_ROOT_NID, 2 },
		                                  { "f", FILE_NID, 1 } };
	struct verity_params p = verity_disk_params(HASH_SHA256, 1, BLOCK, BLOCK, 32, BLK_CNT);
	const struct verity_options o = { .on_failure = failures_note };
	struct fixture *f = calloc(1, sizeof(*f));
	struct tiny_erofs t;

	assert_non_null(f);
	tiny_erofs_make(&t, 12, BLK_CNT);
	tiny_erofs_directory(&t, TINY_ROOT_NID, DIR_BLK, names, ARRAY_LEN(names));
	tiny_erofs_compact(&t, FILE_NID, EROFS_LAYOUT_PLAIN, S_IFREG | 0644, FILE_LEN, FILE_BLK);
	support_fill(t.bytes + FILE_BLK * BLOCK, FILE_LEN, 1);
	tiny_erofs_seal(t.bytes, t.len);
	verity_disk_make_over(&f->disk, &p, t.bytes);
	f->content = f->disk.data + FILE_BLK * BLOCK;
	assert_int_equal(blk_of_memory(f->disk.data, f->disk.data_len, "data", &f->data), 0);
	assert_int_equal(blk_of_memory(f->disk.area, f->disk.area_len, "hash", &f->hash), 0);
	assert_int_equal(verity_open(f->data, f->hash, NULL, f->disk.root, f->disk.root_len, &o,
	                             &f->vblk, NULL),
	                 0);
	assert_int_equal(erofs_open(f->vblk, &f->fs, NULL), 0);
	assert_int_equal(erofs_inode_get(f->fs, FILE_NID, &f->inode, NULL), 0);
	assert_int_equal(ahead_new(f->fs, thread_cnt, &f->ahead), 0);
	f->buf = malloc(AHEAD_MAX_LEN);
	assert_non_null(f->buf);
	return f;
}

static void close_fixture(struct fixture *f)
{
	ahead_free(f->ahead);
	erofs_close(f->fs);
	vblk_close(f->vblk);
	blk_close(f->data);
	blk_close(f->hash);
	verity_disk_free(&f->disk);
	free(f->buf);
	free(f);
}

/* As ops.c does it: reads, compares what would be sent, gives it back, works. */
static int read_and_check(struct fixture *f, uint64_t off, size_t len, uint8_t *buf)
{
	struct ahead_answer a;
	uint64_t at = off;
	int r;

	failures_begin();
	r = ahead_read(f->ahead, &f->inode, off, buf, len, &a, NULL);
	if (r < 0)
		return r;
	assert_int_equal(a.len, off < FILE_LEN ? MIN(len, FILE_LEN - off) : 0);
	for (unsigned i = 0; i < a.part_cnt; i++) {
		assert_memory_equal(a.part[i].iov_base, f->content + at, a.part[i].iov_len);
		at += a.part[i].iov_len;
	}
	assert_int_equal(at - off, a.len);
	ahead_release(f->ahead, &a);
	ahead_work(f->ahead);
	return 0;
}

static uint64_t proven(const struct fixture *f)
{
	struct vblk_stats s;

	vblk_get_stats(f->vblk, &s);
	return s.data_bytes;
}

static void every_read_gives_the_bytes_of_the_file(void **state)
{
	static const size_t lens[] = { 4096, 69632, READ_LEN, AHEAD_MAX_LEN };
	struct fixture *f = open_fixture(THREAD_CNT);
	uint64_t rnd = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		for (uint64_t off = 0; off < FILE_LEN + lens[i]; off += lens[i])
			assert_int_equal(read_and_check(f, off, lens[i], f->buf), 0);
		for (uint64_t end = FILE_LEN; end > lens[i]; end -= lens[i])
			assert_int_equal(read_and_check(f, end - lens[i], lens[i], f->buf), 0);
	}
	for (int i = 0; i < 3000; i++) {
		uint64_t off;

		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		off = (rnd >> 33) % FILE_LEN;
		if (i % 4) /* near the last one: streams split and meet */
			off = MIN(off % (3 * MIB), FILE_LEN);
		assert_int_equal(read_and_check(f, off, 1 + (rnd >> 20) % READ_LEN, f->buf), 0);
	}
	close_fixture(f);
}

static void a_reader_in_order_finds_nearly_all_of_it_proven_and_none_twice(void **state)
{
	struct fixture *f = open_fixture(THREAD_CNT);
	uint64_t before = proven(f), direct = 0;

	(void)state;
	for (uint64_t off = 0; off < FILE_LEN; off += READ_LEN) {
		struct ahead_answer a;
		uint64_t p = proven(f);

		assert_int_equal(ahead_read(f->ahead, &f->inode, off, f->buf, READ_LEN, &a, NULL),
		                 0);
		direct += proven(f) - p;
		ahead_release(f->ahead, &a);
		ahead_work(f->ahead);
	}
	assert_int_equal(proven(f) - before, FILE_LEN);
	assert_int_equal(direct, 2 * READ_LEN);
	close_fixture(f);
}

static void a_single_thread_never_works_ahead(void **state)
{
	struct fixture *f = open_fixture(1);
	uint64_t before = proven(f);

	(void)state;
	for (uint64_t off = 0; off < 3 * MIB; off += READ_LEN)
		assert_int_equal(read_and_check(f, off, READ_LEN, f->buf), 0);
	assert_int_equal(proven(f) - before, 3 * MIB);
	close_fixture(f);
}

/* What a broken block makes unreadable are the reads that touch it, whoever proved what ahead. */
static void a_broken_block_fails_the_reads_that_touch_it_and_no_other(void **state)
{
	const uint64_t broken = 3 * MIB + 5 * BLOCK;
	struct fixture *f = open_fixture(THREAD_CNT);

	(void)state;
	f->disk.data[FILE_BLK * BLOCK + broken + 17] ^= 1;
	for (int round = 0; round < 2; round++)
		for (uint64_t off = 0; off < FILE_LEN; off += READ_LEN) {
			bool touches = broken >= off && broken < off + READ_LEN;

			assert_int_equal(read_and_check(f, off, READ_LEN, f->buf),
			                 touches ? -EBADMSG : 0);
			/* told to the reader of the block, and not to its neighbours */
			assert_int_equal(failures_noted(), touches);
		}
	/* once the medium gives the right bytes again, so do reads */
	f->disk.data[FILE_BLK * BLOCK + broken + 17] ^= 1;
	assert_int_equal(read_and_check(f, broken, BLOCK, f->buf), 0);
	close_fixture(f);
}

struct reader {
	struct fixture *f;
	unsigned number;
	pthread_t thread;
};

static void *read_all(void *arg)
{
	const struct reader *r = arg;
	uint8_t *buf = malloc(READ_LEN);
	/* two of a kind at the same places, others elsewhere, up and down */
	uint64_t start = r->number / 2 * MIB;

	assert_non_null(buf);
	for (uint64_t i = 0; i < FILE_LEN / READ_LEN; i++) {
		uint64_t off = (start + i * READ_LEN) % (FILE_LEN / READ_LEN * READ_LEN);

		if (r->number % 3 == 2)
			off = FILE_LEN / READ_LEN * READ_LEN - READ_LEN - off;
		assert_int_equal(read_and_check(r->f, off, READ_LEN, buf), 0);
	}
	free(buf);
	return NULL;
}

static void threads_share_the_pool_without_disturbing_one_another(void **state)
{
	struct fixture *f = open_fixture(THREAD_CNT);
	struct reader readers[2 * THREAD_CNT];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){ .f = f, .number = i };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_all, &readers[i]),
		                 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(readers); i++)
		pthread_join(readers[i].thread, NULL);
	close_fixture(f);
}

/* Readers that go away leave pieces behind; that must not end looking ahead for those who stay. */
static void abandoned_pieces_make_room_in_time(void **state)
{
	struct fixture *f = open_fixture(THREAD_CNT);
	uint64_t before, direct = 0;

	(void)state;
	for (uint64_t i = 0; i < 40; i++)
		for (uint64_t j = 0; j < 3; j++)
			read_and_check(f, (i * 300 * KIB) % FILE_LEN + j * READ_LEN, READ_LEN,
			               f->buf);
	for (int round = 0; round < 30; round++)
		for (uint64_t off = 0; off < FILE_LEN; off += READ_LEN) {
			struct ahead_answer a;

			before = proven(f);
			assert_int_equal(
			        ahead_read(f->ahead, &f->inode, off, f->buf, READ_LEN, &a, NULL),
			        0);
			if (round == 29)
				direct += proven(f) - before;
			ahead_release(f->ahead, &a);
			ahead_work(f->ahead);
		}
	assert_true(direct < FILE_LEN / 4);
	close_fixture(f);
}

static void without_memory_there_is_nothing_left_behind(void **state)
{
	struct fixture *f = open_fixture(THREAD_CNT);
	struct ahead *a = NULL;

	(void)state;
	support_fail_allocation(1);
	assert_int_equal(ahead_new(f->fs, THREAD_CNT, &a), -ENOMEM);
	support_fail_allocation(0);
	assert_null(a);
	close_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_read_gives_the_bytes_of_the_file),
		cmocka_unit_test(a_reader_in_order_finds_nearly_all_of_it_proven_and_none_twice),
		cmocka_unit_test(a_single_thread_never_works_ahead),
		cmocka_unit_test(a_broken_block_fails_the_reads_that_touch_it_and_no_other),
		cmocka_unit_test(threads_share_the_pool_without_disturbing_one_another),
		cmocka_unit_test(abandoned_pieces_make_room_in_time),
		cmocka_unit_test(without_memory_there_is_nothing_left_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
