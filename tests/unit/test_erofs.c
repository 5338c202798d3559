/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EROFS reader's superblock, inodes and data, on images made by hand: every shape is read as
 * meant, and no fault of a medium, of memory or of the image leads to anything but a code. Defects
 * one by one, with their words: tests/hostile/hostile_erofs.c.
 */
#include "support.h"

#include "erofs_consume.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/* An image under the reader, with a store below that counts and fails. */
struct opened {
	struct support_fault fault;
	struct blk *memory, *faulty;
	struct vblk *v;
	struct erofs *fs;
	struct diag d;
};

static int try_open(struct opened *o, const void *image, size_t len)
{
	*o = (struct opened){ .fault = { .err = -EIO } };
	assert_int_equal(blk_of_memory(image, len, "image", &o->memory), 0);
	o->fault.parent = o->memory;
	assert_int_equal(support_fault_blk(&o->fault, &o->faulty), 0);
	o->v = test_vblk_of_blk(o->faulty);
	return erofs_open(o->v, &o->fs, &o->d);
}

static void close_image(struct opened *o)
{
	erofs_close(o->fs);
	vblk_close(o->v);
	blk_close(o->faulty);
	blk_close(o->memory);
}

static void open_tiny(struct opened *o, struct tiny_erofs *t)
{
	tiny_erofs_seal(t->bytes, t->len);
	if (try_open(o, t->bytes, t->len))
		fail_msg("%s", o->d.text);
}

static struct erofs_inode get_inode(struct opened *o, uint64_t nid)
{
	struct erofs_inode ino;

	if (erofs_inode_get(o->fs, nid, &ino, &o->d))
		fail_msg("%s", o->d.text);
	return ino;
}

/* ------------------------------------------------------------------------------------------------
 * a small image with every shape */

#define FILE_MODE (S_IFREG | 0644)
#define LINK_MODE (S_IFLNK | 0777)

enum {
	NID_EMPTY = 64, /* byte 2048 */
	NID_PLAIN = 66,
	NID_INLINE = 68,
	NID_CHUNKS = 80, /* byte 2560 */
	NID_INDEXES = 84,
	NID_HOLE = 90,
	NID_LINK = 92,
	NID_LONG_LINK = 94,
	NID_CHAR = 96, /* byte 3072 */
	NID_BLOCK = 98,
	NID_FIFO = 100,
	NID_SOCKET = 102,
	NID_EXTENDED = 104,
	NID_SUB = 110,
	NID_XATTRS = 112, /* byte 3584 */
};
#define BLOCK(n) ((n) * (uint64_t)512)

static void put_pattern(struct tiny_erofs *t, uint64_t off, size_t len, uint64_t seed)
{
	support_fill(t->bytes + off, len, seed);
}

static void put_chunks(struct tiny_erofs *t)
{
	/* blocks 12 to 15 hold four chunks of one block; the last one has 100 bytes */
	static const uint32_t map[] = { 12, 13, EROFS_NULL_ADDR, 14, 15 };
	struct erofs_chunk_disk indexes[3] = {
		{ .blk = le32_of(14) }, /* chunks of two blocks */
		{ .blk_hi = le16_of(0xFFFF), .blk = le32_of(EROFS_NULL_ADDR) },
		{ .blk = le32_of(12) },
	};

	tiny_erofs_compact(t, NID_CHUNKS, EROFS_LAYOUT_CHUNK, FILE_MODE, 4 * 512 + 100, 0);
	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		le32 blk = le32_of(map[i]);

		tiny_erofs_put(t, NID_CHUNKS * 32 + 32 + i * 4, &blk, sizeof(blk));
	}
	tiny_erofs_compact(t, NID_INDEXES, EROFS_LAYOUT_CHUNK, FILE_MODE, 5 * 512,
	                   EROFS_CHUNK_INDEXES | 1);
	tiny_erofs_put(t, NID_INDEXES * 32 + 32, indexes, sizeof(indexes));
}

static void put_extended(struct tiny_erofs *t)
{
	struct erofs_extended_disk ino = {
		.format = le16_of(EROFS_FORMAT_EXTENDED),
		.mode = le16_of(S_IFREG | 04755),
		.size = le64_of(1000),
		.u = le32_of(12),
		.uid = le32_of(100000),
		.gid = le32_of(200000),
		.mtime = le64_of(UINT64_MAX), /* one second before 1970 */
		.mtime_nsec = le32_of(999999999),
		.nlink = le32_of(70000),
	};

	tiny_erofs_put(t, NID_EXTENDED * 32, &ino, sizeof(ino));
}

static void put_xattrs(struct tiny_erofs *t)
{
	static const uint8_t body[] = {
		0, 0, 0, 0, 1,   0,   0,   0,   0,   0, 0, 0, /* header, one shared */
		0, 0, 0, 0,                                   /* shared 0 */
		2, 1, 3, 0, 'm', 'e', 'o', 'n', 'e', 0, 0, 0, /* user.me = one */
	};
	static const uint8_t shared[] = { 1, 4, 4, 0, 't', 'r', 'u', 'e', 's' };
	struct erofs_compact_disk ino = {
		.xattr_units = le16_of((sizeof(body) - 12) / 4 + 1),
		.mode = le16_of(FILE_MODE),
	};

	tiny_erofs_put(t, NID_XATTRS * 32, &ino, sizeof(ino));
	tiny_erofs_put(t, NID_XATTRS * 32 + 32, body, sizeof(body));
	tiny_erofs_super(t)->xattr_blkaddr = le32_of(9);
	tiny_erofs_put(t, BLOCK(9), shared, sizeof(shared));
}

static void make_zoo(struct tiny_erofs *t)
{
	static const struct tiny_name names[] = {
		{ "!empty", NID_EMPTY, 1 },  { ".", TINY_ROOT_NID, 2 },
		{ "..", TINY_ROOT_NID, 2 },  { "block", NID_BLOCK, 4 },
		{ "char", NID_CHAR, 3 },     { "chunks", NID_CHUNKS, 1 },
		{ "dir", NID_SUB, 2 },       { "ext", NID_EXTENDED, 1 },
		{ "fifo", NID_FIFO, 5 },     { "hole", NID_HOLE, 1 },
		{ "idx", NID_INDEXES, 1 },   { "inline", NID_INLINE, 1 },
		{ "link", NID_LINK, 7 },     { "long", NID_LONG_LINK, 7 },
		{ "plain", NID_PLAIN, 1 },   { "sock", NID_SOCKET, 6 },
		{ "xattrs", NID_XATTRS, 1 },
	};
	static const struct tiny_name sub[] = { { ".", NID_SUB, 2 },
		                                { "..", TINY_ROOT_NID, 2 },
		                                { "a", NID_PLAIN, 1 } };

	tiny_erofs_make(t, 9, 24);
	tiny_erofs_directory(t, TINY_ROOT_NID, 10, names, ARRAY_LEN(names));
	tiny_erofs_directory(t, NID_SUB, 8, sub, ARRAY_LEN(sub));
	tiny_erofs_compact(t, NID_EMPTY, EROFS_LAYOUT_PLAIN, FILE_MODE, 0, 0);
	tiny_erofs_compact(t, NID_PLAIN, EROFS_LAYOUT_PLAIN, FILE_MODE, 8 * 512, 16);
	tiny_erofs_compact(t, NID_INLINE, EROFS_LAYOUT_INLINE, FILE_MODE, 512 + 77, 12);
	put_pattern(t, NID_INLINE * 32 + 32, 77, 1);
	tiny_erofs_compact(t, NID_HOLE, EROFS_LAYOUT_PLAIN, FILE_MODE, 100000, EROFS_NULL_ADDR);
	tiny_erofs_compact(t, NID_LINK, EROFS_LAYOUT_INLINE, LINK_MODE, 5, EROFS_NULL_ADDR);
	tiny_erofs_put(t, NID_LINK * 32 + 32, "../up", 5);
	tiny_erofs_compact(t, NID_LONG_LINK, EROFS_LAYOUT_PLAIN, LINK_MODE, 4095, 16);
	tiny_erofs_compact(t, NID_CHAR, EROFS_LAYOUT_PLAIN, S_IFCHR | 0600, 0, 0x12345678);
	tiny_erofs_compact(t, NID_BLOCK, EROFS_LAYOUT_PLAIN, S_IFBLK | 0600, 0, 0x00000801);
	tiny_erofs_compact(t, NID_FIFO, EROFS_LAYOUT_PLAIN, S_IFIFO | 0600, 0, 0);
	tiny_erofs_compact(t, NID_SOCKET, EROFS_LAYOUT_PLAIN, S_IFSOCK | 0600, 0, 0);
	put_chunks(t);
	put_extended(t);
	put_xattrs(t);
	put_pattern(t, BLOCK(12), 4 * 512, 12);
	put_pattern(t, BLOCK(16), 8 * 512, 16);
	for (uint8_t *p = t->bytes + BLOCK(16); p < t->bytes + BLOCK(24); p++)
		*p |= 1; /* as a target it has no NUL */
	tiny_erofs_seal(t->bytes, t->len);
}

static void expect_bytes(struct opened *o, uint64_t nid, uint64_t off, size_t len,
                         const uint8_t *want, size_t want_len)
{
	struct erofs_inode ino = get_inode(o, nid);
	uint8_t *buf = malloc(len + 1);

	assert_non_null(buf);
	memset(buf, 0xA5, len + 1);
	assert_int_equal(erofs_read(o->fs, &ino, off, buf, len, &o->d), want_len);
	assert_memory_equal(buf, want, want_len);
	assert_int_equal(buf[len], 0xA5);
	free(buf);
}

/* ------------------------------------------------------------------------------------------------
 * superblock */

static void superblock_is_decoded(void **state)
{
	struct tiny_erofs t;
	struct opened o;
	const struct erofs_info *info;

	(void)state;
	make_zoo(&t);
	tiny_erofs_super(&t)->inos = le64_of(17);
	tiny_erofs_super(&t)->epoch = le64_of(1234);
	memset(tiny_erofs_super(&t)->volume_name, 'v', 16);
	memset(tiny_erofs_super(&t)->uuid, 0xAB, 16);
	tiny_erofs_super(&t)->feature_incompat = le32_of(EROFS_INCOMPAT_LZ4_0PADDING);
	tiny_erofs_super(&t)->feature_compat = le32_of(0x40000000 | EROFS_COMPAT_SB_CHKSUM);
	open_tiny(&o, &t);
	info = erofs_get_info(o.fs);
	assert_int_equal(info->block_len, 512);
	assert_int_equal(info->blk_cnt, 24);
	assert_int_equal(info->inode_cnt, 17);
	assert_int_equal(info->root_nid, TINY_ROOT_NID);
	assert_int_equal(info->epoch, 1234);
	assert_int_equal(info->feature_incompat, 1);
	assert_int_equal(info->uuid.b[15], 0xAB);
	assert_string_equal(info->volume, "vvvvvvvvvvvvvvvv");
	close_image(&o);
	tiny_erofs_free(&t);
}

static void checksum_is_that_of_crc32c(void **state)
{
	(void)state;
	/* RFC 3720 B.4, where the result is inverted */
	assert_int_equal(erofs_crc32c(~UINT32_C(0), "123456789", 9), ~UINT32_C(0xE3069283));
}

static void every_block_size_from_512_to_4096_is_read(void **state)
{
	(void)state;
	for (unsigned bits = 9; bits <= 12; bits++) {
		static const struct tiny_name names[] = { { ".", TINY_ROOT_NID, 2 },
			                                  { "..", TINY_ROOT_NID, 2 },
			                                  { "f", 64, 1 } };
		struct tiny_erofs t;
		struct opened o;
		uint64_t nid;

		tiny_erofs_make(&t, bits, 16);
		tiny_erofs_directory(&t, TINY_ROOT_NID, 8, names, ARRAY_LEN(names));
		tiny_erofs_compact(&t, 64, EROFS_LAYOUT_PLAIN, FILE_MODE, 2 * t.block_len, 10);
		put_pattern(&t, 10 * t.block_len, 2 * t.block_len, bits);
		open_tiny(&o, &t);
		struct erofs_inode root = get_inode(&o, TINY_ROOT_NID);

		assert_int_equal(erofs_lookup(o.fs, &root, "f", 1, &nid, &o.d), 0);
		expect_bytes(&o, nid, 0, 3 * t.block_len, t.bytes + 10 * t.block_len,
		             2 * t.block_len);
		close_image(&o);
		tiny_erofs_free(&t);
	}
}

static void hint_gives_length_or_refuses(void **state)
{
	uint8_t sb[128];
	struct tiny_erofs t;
	uint64_t len = 7;

	(void)state;
	make_zoo(&t);
	memcpy(sb, t.bytes + EROFS_SUPER_OFF, sizeof(sb));
	assert_int_equal(erofs_hint_image_len(sb, &len), 0);
	assert_int_equal(len, t.len);
	sb[12] = 13;
	assert_int_equal(erofs_hint_image_len(sb, &len), -EUCLEAN);
	sb[12] = 8;
	assert_int_equal(erofs_hint_image_len(sb, &len), -EUCLEAN);
	sb[12] = 12;
	memset(sb + 36, 0xFF, 4);
	assert_int_equal(erofs_hint_image_len(sb, &len), 0);
	assert_int_equal(len, UINT64_C(0xFFFFFFFF) << 12);
	memset(sb + 36, 0, 4);
	assert_int_equal(erofs_hint_image_len(sb, &len), -EUCLEAN);
	sb[0] ^= 1;
	assert_int_equal(erofs_hint_image_len(sb, &len), -ENOENT);
	tiny_erofs_free(&t);
}

/* ------------------------------------------------------------------------------------------------
 * inodes and data */

static void attributes_are_decoded(void **state)
{
	struct tiny_erofs t;
	struct opened o;
	struct erofs_inode ino;

	(void)state;
	make_zoo(&t);
	tiny_erofs_super(&t)->epoch = le64_of(1000);
	tiny_erofs_super(&t)->fixed_nsec = le32_of(5);
	open_tiny(&o, &t);
	ino = get_inode(&o, NID_PLAIN);
	assert_int_equal(ino.nid, NID_PLAIN);
	assert_int_equal(ino.mode, FILE_MODE);
	assert_int_equal(ino.nlink, 1);
	assert_int_equal(ino.size, 4096);
	assert_int_equal(ino.mtime_s, 1000);
	assert_int_equal(ino.mtime_ns, 5);
	ino = get_inode(&o, NID_EXTENDED);
	assert_int_equal(ino.mode, S_IFREG | 04755);
	assert_int_equal(ino.uid, 100000);
	assert_int_equal(ino.gid, 200000);
	assert_int_equal(ino.nlink, 70000);
	assert_true(ino.mtime_s == -1);
	assert_int_equal(ino.mtime_ns, 999999999);
	ino = get_inode(&o, NID_CHAR);
	assert_int_equal(ino.rdev_major, 0x456);
	assert_int_equal(ino.rdev_minor, 0x12378);
	ino = get_inode(&o, NID_BLOCK);
	assert_int_equal(ino.rdev_major, 8);
	assert_int_equal(ino.rdev_minor, 1);
	close_image(&o);
	tiny_erofs_free(&t);
}

static void every_layout_gives_its_bytes(void **state)
{
	static const uint8_t zeros[100000];
	uint8_t want[5 * 512] = { 0 };
	struct tiny_erofs t;
	struct opened o;

	(void)state;
	make_zoo(&t);
	open_tiny(&o, &t);
	expect_bytes(&o, NID_EMPTY, 0, 10, want, 0);
	expect_bytes(&o, NID_PLAIN, 0, 4096, t.bytes + BLOCK(16), 4096);
	expect_bytes(&o, NID_PLAIN, 4000, 4096, t.bytes + BLOCK(16) + 4000, 96);
	expect_bytes(&o, NID_PLAIN, 4096, 1, want, 0);
	expect_bytes(&o, NID_HOLE, 0, 200000, zeros, 100000);

	memcpy(want, t.bytes + BLOCK(12), 512);
	memcpy(want + 512, t.bytes + NID_INLINE * 32 + 32, 77);
	expect_bytes(&o, NID_INLINE, 0, 1000, want, 589);
	expect_bytes(&o, NID_INLINE, 511, 2, want + 511, 2);

	memcpy(want, t.bytes + BLOCK(12), 1024);
	memset(want + 1024, 0, 512);
	memcpy(want + 1536, t.bytes + BLOCK(14), 612);
	expect_bytes(&o, NID_CHUNKS, 0, 4096, want, 2148);
	expect_bytes(&o, NID_CHUNKS, 1500, 100, want + 1500, 100);

	memcpy(want, t.bytes + BLOCK(14), 1024);
	memset(want + 1024, 0, 1024);
	memcpy(want + 2048, t.bytes + BLOCK(12), 512);
	expect_bytes(&o, NID_INDEXES, 0, 4096, want, 2560);
	close_image(&o);
	tiny_erofs_free(&t);
}

static void targets_are_read_and_terminated(void **state)
{
	char buf[EROFS_MAX_SYMLINK_LEN + 1];
	struct tiny_erofs t;
	struct erofs_inode ino;
	struct opened o;

	(void)state;
	make_zoo(&t);
	open_tiny(&o, &t);
	ino = get_inode(&o, NID_LINK);
	assert_int_equal(erofs_readlink(o.fs, &ino, buf, sizeof(buf), &o.d), 5);
	assert_string_equal(buf, "../up");
	assert_int_equal(erofs_readlink(o.fs, &ino, buf, 5, &o.d), -ERANGE);
	ino = get_inode(&o, NID_LONG_LINK);
	assert_int_equal(erofs_readlink(o.fs, &ino, buf, sizeof(buf), &o.d), 4095);
	assert_int_equal(strlen(buf), 4095);
	ino = get_inode(&o, NID_PLAIN);
	assert_int_equal(erofs_readlink(o.fs, &ino, buf, sizeof(buf), &o.d), -EINVAL);
	close_image(&o);
	tiny_erofs_free(&t);
}

static void wrong_types_are_refused_to_callers(void **state)
{
	struct tiny_erofs t;
	struct erofs_extent e;
	struct erofs_inode ino;
	struct opened o;
	char c;

	(void)state;
	make_zoo(&t);
	open_tiny(&o, &t);
	ino = get_inode(&o, TINY_ROOT_NID);
	assert_int_equal(erofs_read(o.fs, &ino, 0, &c, 1, &o.d), -EISDIR);
	ino = get_inode(&o, NID_LINK);
	assert_int_equal(erofs_read(o.fs, &ino, 0, &c, 1, &o.d), -EINVAL);
	ino = get_inode(&o, NID_FIFO);
	assert_int_equal(erofs_read(o.fs, &ino, 0, &c, 1, &o.d), -EINVAL);
	assert_int_equal(erofs_map(o.fs, &ino, 0, &e, &o.d), -EINVAL);
	ino = get_inode(&o, NID_PLAIN);
	assert_int_equal(erofs_map(o.fs, &ino, 4096, &e, &o.d), -EINVAL);
	close_image(&o);
	tiny_erofs_free(&t);
}

/* What is told to lie together is read with one call, straight into the caller's buffer. */
static void one_read_per_extent(void **state)
{
	static const struct {
		uint64_t nid;
		unsigned long reads;
	} cases[] = {
		{ NID_EMPTY, 0 },   { NID_HOLE, 0 },   { NID_PLAIN, 1 },
		{ NID_INLINE, 2 },  { NID_CHUNKS, 3 }, /* table, chunks 0 and 1, chunks 3 and 4 */
		{ NID_INDEXES, 3 },
	};
	static uint8_t buf[100000];
	struct tiny_erofs t;
	struct opened o;

	(void)state;
	make_zoo(&t);
	open_tiny(&o, &t);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct erofs_inode ino = get_inode(&o, cases[i].nid);

		o.fault.read_cnt = 0;
		assert_true(erofs_read(o.fs, &ino, 0, buf, sizeof(buf), &o.d) >= 0);
		assert_int_equal(o.fault.read_cnt, cases[i].reads);
	}
	close_image(&o);
	tiny_erofs_free(&t);
}

static void map_tells_where_bytes_lie(void **state)
{
	static const struct {
		uint64_t nid, off, at, len;
		bool hole;
	} cases[] = {
		{ NID_PLAIN, 0, BLOCK(16), 4096, false },
		{ NID_PLAIN, 4095, BLOCK(24) - 1, 1, false },
		{ NID_INLINE, 500, BLOCK(12) + 500, 12, false },
		{ NID_INLINE, 512, NID_INLINE * 32 + 32, 77, false },
		{ NID_HOLE, 1, 0, 99999, true },
		{ NID_CHUNKS, 10, BLOCK(12) + 10, 1014, false },
		{ NID_CHUNKS, 1030, 0, 506, true },
		{ NID_CHUNKS, 1536, BLOCK(14), 612, false },
		{ NID_INDEXES, 1023, BLOCK(16) - 1, 1, false },
		{ NID_INDEXES, 1024, 0, 1024, true },
		{ NID_INDEXES, 2048, BLOCK(12), 512, false },
		{ NID_LINK, 2, NID_LINK * 32 + 34, 3, false },
		{ NID_SUB, 0, BLOCK(8), 40, false },
	};
	struct tiny_erofs t;
	struct opened o;

	(void)state;
	make_zoo(&t);
	open_tiny(&o, &t);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct erofs_inode ino = get_inode(&o, cases[i].nid);
		struct erofs_extent e;

		assert_int_equal(erofs_map(o.fs, &ino, cases[i].off, &e, &o.d), 0);
		assert_int_equal(e.hole, cases[i].hole);
		assert_int_equal(e.len, cases[i].len);
		if (!e.hole)
			assert_int_equal(e.at, cases[i].at);
	}
	close_image(&o);
	tiny_erofs_free(&t);
}

/* 4000 chunks in reverse order: no two lie together, and the table is read in windows. */
static void scattered_chunks_cost_one_window_for_many(void **state)
{
	enum { CNT = 4000, FIRST = 100 };
	static const struct tiny_name names[] = { { ".", TINY_ROOT_NID, 2 },
		                                  { "..", TINY_ROOT_NID, 2 } };
	uint8_t *buf = malloc(CNT * 512);
	struct tiny_erofs t;
	struct opened o;

	(void)state;
	assert_non_null(buf);
	tiny_erofs_make(&t, 9, FIRST + CNT);
	tiny_erofs_directory(&t, TINY_ROOT_NID, 8, names, ARRAY_LEN(names));
	tiny_erofs_compact(&t, 64, EROFS_LAYOUT_CHUNK, FILE_MODE, CNT * 512, 0);
	for (size_t i = 0; i < CNT; i++) {
		le32 blk = le32_of((uint32_t)(FIRST + CNT - 1 - i));

		tiny_erofs_put(&t, 65 * 32 + i * 4, &blk, sizeof(blk));
	}
	put_pattern(&t, BLOCK(FIRST), CNT * 512, 3);
	open_tiny(&o, &t);
	struct erofs_inode ino = get_inode(&o, 64);

	o.fault.read_cnt = 0;
	assert_int_equal(erofs_read(o.fs, &ino, 0, buf, CNT * 512, &o.d), CNT * 512);
	assert_true(o.fault.read_cnt <= CNT + CNT / 256 + 1);
	for (size_t i = 0; i < CNT; i++)
		assert_memory_equal(buf + i * 512, t.bytes + BLOCK(FIRST + CNT - 1 - i), 512);
	close_image(&o);
	tiny_erofs_free(&t);
	free(buf);
}

/* mkfs.erofs numbers inodes in front of meta_blkaddr so, modulo 2^64. */
static void nids_in_front_of_the_metadata_wrap_around(void **state)
{
	struct tiny_erofs t;
	struct opened o;
	uint64_t base = BLOCK(7), nid = (NID_PLAIN * 32 - base) >> 5;
	struct erofs_inode ino;

	(void)state;
	make_zoo(&t);
	tiny_erofs_super(&t)->meta_blkaddr = le32_of(7);
	tiny_erofs_super(&t)->root_nid = le16_of((uint16_t)(NID_SUB - base / 32));
	tiny_erofs_compact(&t, NID_SUB, EROFS_LAYOUT_PLAIN, 040755, 27, 8);
	static const struct tiny_name names[] = { { ".", 0, 2 }, { "..", 0, 2 } };

	/* NID_SUB lies at byte 3520, before block 7: move the root behind it */
	tiny_erofs_directory(&t, NID_XATTRS + 8, 8, names, ARRAY_LEN(names));
	tiny_erofs_super(&t)->root_nid = le16_of((uint16_t)(NID_XATTRS + 8 - base / 32));
	open_tiny(&o, &t);
	assert_true(nid > UINT64_C(1) << 58);
	ino = get_inode(&o, nid);
	assert_int_equal(ino.size, 4096);
	assert_int_equal(erofs_inode_get(o.fs, nid | UINT64_C(1) << 59, &ino, &o.d), -EUCLEAN);
	close_image(&o);
	tiny_erofs_free(&t);
}

/* Checked against Linux 6.18, which reads the same image to the same bytes. */
static void the_48_bit_layout_is_read(void **state)
{
	struct erofs_chunk_disk indexes[2] = {
		{ .blk = le32_of(EROFS_NULL_ADDR), .blk_hi = le16_of(0xFFFF) },
		{ .blk = le32_of(12) },
	};
	struct erofs_compact_disk high = { .format = le16_of(EROFS_FORMAT_BIT4),
		                           .mode = le16_of(FILE_MODE),
		                           .size = le32_of(512),
		                           .nlink = le16_of(1),
		                           .u = le32_of(12) };
	static const struct tiny_name names[] = { { "..", TINY_ROOT_NID, 2 }, { "c", 80, 1 } };
	uint8_t want[1024] = { 0 };
	struct erofs_inode ino;
	struct tiny_erofs t;
	struct opened o;

	(void)state;
	make_zoo(&t);
	tiny_erofs_super(&t)->feature_incompat = le32_of(EROFS_INCOMPAT_48BIT);
	tiny_erofs_super(&t)->root_nid = le16_of(0);
	tiny_erofs_super(&t)->root_nid_8b = le64_of(TINY_ROOT_NID);
	tiny_erofs_directory(&t, TINY_ROOT_NID, 10, names, ARRAY_LEN(names));
	t.bytes[TINY_ROOT_NID * 32] |= EROFS_FORMAT_BIT4; /* no "." */
	tiny_erofs_compact(&t, 80, EROFS_LAYOUT_CHUNK, FILE_MODE, 1024,
	                   EROFS_CHUNK_INDEXES | EROFS_CHUNK_48BIT);
	tiny_erofs_put(&t, 80 * 32 + 32, indexes, sizeof(indexes));
	open_tiny(&o, &t);
	memcpy(want + 512, t.bytes + BLOCK(12), 512);
	expect_bytes(&o, 80, 0, 2000, want, 1024);
	close_image(&o);

	/* block 12 + 2^32 is far outside */
	tiny_erofs_put(&t, NID_PLAIN * 32, &high, sizeof(high));
	open_tiny(&o, &t);
	assert_int_equal(erofs_inode_get(o.fs, NID_PLAIN, &ino, &o.d), -EUCLEAN);
	assert_non_null(strstr(o.d.text, "first block is 4294967308"));
	close_image(&o);
	high.nlink = le16_of(0);
	tiny_erofs_put(&t, NID_PLAIN * 32, &high, sizeof(high));
	open_tiny(&o, &t);
	expect_bytes(&o, NID_PLAIN, 0, 512, t.bytes + BLOCK(12), 512);
	assert_int_equal(get_inode(&o, NID_PLAIN).nlink, 1);
	close_image(&o);

	/* 2^32 blocks more than there are */
	tiny_erofs_super(&t)->root_nid = le16_of(1);
	tiny_erofs_seal(t.bytes, t.len);
	assert_int_equal(try_open(&o, t.bytes, t.len), -EUCLEAN);
	assert_non_null(strstr(o.d.text, "blocks is 4294967320"));
	close_image(&o);
	tiny_erofs_free(&t);
}

/* ------------------------------------------------------------------------------------------------
 * sweeps */

static int consume_image(const void *image, size_t len, struct erofs_consumed *got, struct diag *d)
{
	uint8_t *exact =
	        malloc(len ? len : 1); /* no byte to spare: the sanitizer sees one too far */
	struct vblk *v;
	int r;

	assert_non_null(exact);
	memcpy(exact, image, len);
	v = test_vblk_of_memory(exact, len);
	*d = (struct diag)DIAG_INIT;
	r = erofs_consume(v, 0, got, d);
	vblk_close(v);
	free(exact);
	return r;
}

static void the_whole_zoo_is_consumed(void **state)
{
	struct erofs_consumed got;
	struct tiny_erofs t;
	struct diag d;

	(void)state;
	make_zoo(&t);
	if (consume_image(t.bytes, t.len, &got, &d))
		fail_msg("%s", d.text);
	assert_int_equal(got.inodes, 17);
	assert_int_equal(got.xattrs, 2);
	tiny_erofs_free(&t);
}

/* erofs_consume() aborts on a wrong code or a contradiction, the sanitizer on a wrong access. */
static void any_changed_byte_is_harmless(void **state)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xFF };
	struct tiny_erofs t;
	unsigned refused = 0;

	(void)state;
	make_zoo(&t);
	for (size_t i = EROFS_SUPER_OFF; i < BLOCK(12); i++) {
		for (size_t k = 0; k < ARRAY_LEN(flips); k++) {
			struct erofs_consumed got;
			struct diag d;

			t.bytes[i] ^= flips[k];
			tiny_erofs_seal(t.bytes, t.len);
			refused += consume_image(t.bytes, t.len, &got, &d) != 0;
			t.bytes[i] ^= flips[k];
		}
	}
	assert_true(refused > 1000);
	tiny_erofs_free(&t);
}

static void any_changed_byte_under_the_checksum_is_found(void **state)
{
	struct erofs_consumed got;
	struct tiny_erofs t;
	struct diag d;

	(void)state;
	make_zoo(&t);
	for (size_t i = EROFS_SUPER_OFF; i < EROFS_SUPER_OFF + 512; i++) {
		t.bytes[i] ^= 0x10;
		/* 0x10 leaves the checksum feature bit as it is */
		assert_true(consume_image(t.bytes, t.len, &got, &d) < 0);
		t.bytes[i] ^= 0x10;
	}
	tiny_erofs_free(&t);
}

static void any_shorter_image_is_refused(void **state)
{
	struct erofs_consumed got;
	struct tiny_erofs t;
	struct diag d;

	(void)state;
	make_zoo(&t);
	for (size_t len = 0; len < t.len; len += 32)
		assert_int_equal(consume_image(t.bytes, len, &got, &d), -EUCLEAN);
	tiny_erofs_free(&t);
}

/* The same with a superblock that agrees to be shorter. */
static void fewer_blocks_are_harmless(void **state)
{
	struct erofs_consumed got;
	struct tiny_erofs t;
	struct diag d;

	(void)state;
	make_zoo(&t);
	for (uint32_t blk_cnt = 0; blk_cnt < 24; blk_cnt++) {
		tiny_erofs_super(&t)->blocks = le32_of(blk_cnt);
		tiny_erofs_seal(t.bytes, t.len);
		assert_int_equal(consume_image(t.bytes, MAX(BLOCK(blk_cnt), BLOCK(3)), &got, &d),
		                 -EUCLEAN);
	}
	tiny_erofs_free(&t);
}

static void any_failed_read_comes_through(void **state)
{
	struct erofs_consumed got;
	struct support_fault fault = { .err = -EBADMSG };
	struct blk *memory, *faulty;
	struct tiny_erofs t;
	struct vblk *v;
	int r = -1;

	(void)state;
	make_zoo(&t);
	assert_int_equal(blk_of_memory(t.bytes, t.len, "image", &memory), 0);
	fault.parent = memory;
	assert_int_equal(support_fault_blk(&fault, &faulty), 0);
	v = test_vblk_of_blk(faulty);
	for (unsigned long k = 1; r; k++) {
		struct diag d = DIAG_INIT;

		fault.fail_at = k;
		fault.read_cnt = 0;
		r = erofs_consume(v, -EBADMSG, &got, &d);
		assert_true(r == (fault.read_cnt >= k ? -EBADMSG : 0));
	}
	assert_true(fault.read_cnt > 50);
	vblk_close(v);
	blk_close(faulty);
	blk_close(memory);
	tiny_erofs_free(&t);
}

static void any_failed_allocation_is_told(void **state)
{
	struct erofs_consumed got;
	struct tiny_erofs t;
	struct vblk *v;
	unsigned long k;
	int r = -1;

	(void)state;
	make_zoo(&t);
	v = test_vblk_of_memory(t.bytes, t.len);
	for (k = 1; r; k++) {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k);
		r = erofs_consume(v, 0, &got, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || r == -ENOMEM);
	}
	assert_true(k > 5);
	vblk_close(v);
	tiny_erofs_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(superblock_is_decoded),
		cmocka_unit_test(checksum_is_that_of_crc32c),
		cmocka_unit_test(every_block_size_from_512_to_4096_is_read),
		cmocka_unit_test(hint_gives_length_or_refuses),
		cmocka_unit_test(attributes_are_decoded),
		cmocka_unit_test(every_layout_gives_its_bytes),
		cmocka_unit_test(targets_are_read_and_terminated),
		cmocka_unit_test(wrong_types_are_refused_to_callers),
		cmocka_unit_test(one_read_per_extent),
		cmocka_unit_test(map_tells_where_bytes_lie),
		cmocka_unit_test(scattered_chunks_cost_one_window_for_many),
		cmocka_unit_test(nids_in_front_of_the_metadata_wrap_around),
		cmocka_unit_test(the_48_bit_layout_is_read),
		cmocka_unit_test(the_whole_zoo_is_consumed),
		cmocka_unit_test(any_changed_byte_is_harmless),
		cmocka_unit_test(any_changed_byte_under_the_checksum_is_found),
		cmocka_unit_test(any_shorter_image_is_refused),
		cmocka_unit_test(fewer_blocks_are_harmless),
		cmocka_unit_test(any_failed_read_comes_through),
		cmocka_unit_test(any_failed_allocation_is_told),
	};

	return cmocka_run_group_tests_name("erofs", tests, NULL, NULL);
}
