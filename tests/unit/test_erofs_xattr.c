/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of EROFS: every prefix, inline and shared, sizes asked for and buffers too
 * small. Defects one by one: tests/hostile/hostile_erofs.c.
 */
#include "support.h"

#include "erofs.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <errno.h>

#define NID         UINT64_C(64) /* byte 2048 */
#define SHARED_BLK  6
#define PREFIX_OFF  UINT64_C(3800)
#define VALUE(text) (text), sizeof(text) - 1

struct attributes {
	struct tiny_erofs t;
	uint64_t body_off, shared_off;
	struct vblk *v;
	struct erofs *fs;
	struct erofs_inode ino;
	struct diag d;
};

static uint64_t put_entry(struct tiny_erofs *t, uint64_t off, uint8_t index, const char *name,
                          const void *value, size_t len)
{
	struct erofs_xattr_entry_disk e = { .name_len = (uint8_t)strlen(name),
		                            .name_index = index,
		                            .value_len = le16_of((uint16_t)len) };

	tiny_erofs_put(t, off, &e, sizeof(e));
	tiny_erofs_put(t, off + sizeof(e), name, strlen(name));
	tiny_erofs_put(t, off + sizeof(e) + strlen(name), value, len);
	return round_up(off + sizeof(e) + strlen(name) + len, 4);
}

static void put_prefix(struct tiny_erofs *t, uint64_t *off, uint8_t base, const char *infix)
{
	struct erofs_long_prefix_disk head = { .len = le16_of((uint16_t)(1 + strlen(infix))),
		                               .base_index = base };

	tiny_erofs_put(t, *off, &head, sizeof(head));
	tiny_erofs_put(t, *off + sizeof(head), infix, strlen(infix));
	*off = round_up(*off + sizeof(head) + strlen(infix), 4);
}

/* An inode with shared_cnt ids; entries are appended by the test. */
static void begin(struct attributes *a, uint8_t shared_cnt)
{
	static const struct tiny_name names[] = { { ".", TINY_ROOT_NID, 2 },
		                                  { "..", TINY_ROOT_NID, 2 } };
	struct erofs_xattr_header_disk head = { .shared_cnt = shared_cnt };

	*a = (struct attributes){ .body_off = NID * 32 + 32, .shared_off = SHARED_BLK * 512 };
	tiny_erofs_make(&a->t, 9, 300);
	tiny_erofs_directory(&a->t, TINY_ROOT_NID, 8, names, 2);
	tiny_erofs_compact(&a->t, NID, EROFS_LAYOUT_PLAIN, 0100644, 0, 0);
	tiny_erofs_super(&a->t)->xattr_blkaddr = le32_of(SHARED_BLK);
	tiny_erofs_put(&a->t, a->body_off, &head, sizeof(head));
	a->body_off += sizeof(head) + 4 * shared_cnt;
}

static void add_inline(struct attributes *a, uint8_t index, const char *name, const void *value,
                       size_t len)
{
	a->body_off = put_entry(&a->t, a->body_off, index, name, value, len);
}

static void add_shared(struct attributes *a, unsigned i, uint8_t index, const char *name,
                       const void *value, size_t len)
{
	le32 id = le32_of((uint32_t)(a->shared_off - SHARED_BLK * 512) / 4);

	tiny_erofs_put(&a->t, NID * 32 + 32 + 12 + 4 * i, &id, sizeof(id));
	a->shared_off = put_entry(&a->t, a->shared_off, index, name, value, len);
}

static void end(struct attributes *a)
{
	struct erofs_compact_disk ino;

	memcpy(&ino, a->t.bytes + NID * 32, sizeof(ino));
	ino.xattr_units = le16_of((uint16_t)((a->body_off - (NID * 32 + 32) - 12) / 4 + 1));
	tiny_erofs_put(&a->t, NID * 32, &ino, sizeof(ino));
	tiny_erofs_seal(a->t.bytes, a->t.len);
	a->v = test_vblk_of_memory(a->t.bytes, a->t.len);
	if (erofs_open(a->v, &a->fs, &a->d) || erofs_inode_get(a->fs, NID, &a->ino, &a->d))
		fail_msg("%s", a->d.text);
}

static void close_attributes(struct attributes *a)
{
	erofs_close(a->fs);
	vblk_close(a->v);
	tiny_erofs_free(&a->t);
}

static void has_value(struct attributes *a, const char *name, const void *value, size_t len)
{
	uint8_t buf[70000];

	assert_int_equal(erofs_getxattr(a->fs, &a->ino, name, NULL, 0, &a->d), len);
	assert_int_equal(erofs_getxattr(a->fs, &a->ino, name, buf, sizeof(buf), &a->d), len);
	assert_memory_equal(buf, value, len);
}

static void every_prefix_gives_the_full_name(void **state)
{
	static const char names[] = "user.u\0system.posix_acl_access\0system.posix_acl_default\0"
	                            "trusted.t\0security.s\0btrfs.compression";
	char buf[sizeof(names) + 10];
	struct attributes a;

	(void)state;
	begin(&a, 2);
	add_shared(&a, 0, 1, "u", VALUE("1"));
	add_shared(&a, 1, 2, "", VALUE("22"));
	add_inline(&a, 3, "", VALUE("333"));
	add_inline(&a, 4, "t", VALUE(""));
	add_inline(&a, 6, "s", VALUE("a\0b"));
	add_inline(&a, 0, "btrfs.compression", VALUE("zstd"));
	end(&a);
	assert_int_equal(erofs_listxattr(a.fs, &a.ino, NULL, 0, &a.d), sizeof(names));
	assert_int_equal(erofs_listxattr(a.fs, &a.ino, buf, sizeof(buf), &a.d), sizeof(names));
	assert_memory_equal(buf, names, sizeof(names));
	has_value(&a, "user.u", VALUE("1"));
	has_value(&a, "system.posix_acl_access", VALUE("22"));
	has_value(&a, "system.posix_acl_default", VALUE("333"));
	has_value(&a, "trusted.t", VALUE(""));
	has_value(&a, "security.s", VALUE("a\0b"));
	has_value(&a, "btrfs.compression", VALUE("zstd"));
	assert_int_equal(erofs_getxattr(a.fs, &a.ino, "user.v", buf, 1, &a.d), -ENODATA);
	assert_int_equal(erofs_getxattr(a.fs, &a.ino, "user.", buf, 1, &a.d), -ENODATA);
	assert_int_equal(erofs_getxattr(a.fs, &a.ino, "", buf, 1, &a.d), -ENODATA);
	close_attributes(&a);
}

static void long_prefixes_are_put_together(void **state)
{
	struct attributes a;
	uint64_t off = PREFIX_OFF;
	char infix[256];

	(void)state;
	memset(infix, 'i', sizeof(infix));
	infix[255] = '\0';
	begin(&a, 1);
	put_prefix(&a.t, &off, 4, "overlay.");
	put_prefix(&a.t, &off, 1, "");
	put_prefix(&a.t, &off, 0, infix);
	tiny_erofs_super(&a.t)->feature_incompat = le32_of(EROFS_INCOMPAT_XATTR_PREFIXES);
	tiny_erofs_super(&a.t)->xattr_prefix_count = 3;
	tiny_erofs_super(&a.t)->xattr_prefix_start = le32_of(PREFIX_OFF / 4);
	add_shared(&a, 0, 0x80, "opaque", VALUE("y"));
	add_inline(&a, 0x81, "x", VALUE("z"));
	add_inline(&a, 0x82, "", VALUE("long"));
	end(&a);
	has_value(&a, "trusted.overlay.opaque", VALUE("y"));
	has_value(&a, "user.x", VALUE("z"));
	has_value(&a, infix, VALUE("long"));
	close_attributes(&a);
}

static void a_name_longer_than_linux_allows_is_refused(void **state)
{
	struct attributes a;
	char name[252];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[250] = '\0';
	begin(&a, 0);
	add_inline(&a, 1, name, VALUE("255 bytes"));
	name[250] = 'n';
	name[251] = '\0';
	add_inline(&a, 1, name, VALUE("256 bytes"));
	end(&a);
	assert_int_equal(erofs_listxattr(a.fs, &a.ino, NULL, 0, &a.d), -EUCLEAN);
	assert_string_equal(a.d.text, "EROFS inode 64: xattrs: the name is longer than 255 bytes");
	close_attributes(&a);
}

static void small_buffers_are_refused(void **state)
{
	struct attributes a;
	char buf[16];

	(void)state;
	begin(&a, 0);
	add_inline(&a, 1, "a", VALUE("0123456789"));
	add_inline(&a, 1, "b", VALUE("x"));
	end(&a);
	for (size_t len = 1; len < sizeof(buf); len++) {
		memset(buf, 0x5A, sizeof(buf));
		assert_int_equal(erofs_getxattr(a.fs, &a.ino, "user.a", buf, len, &a.d),
		                 len < 10 ? -ERANGE : 10);
		assert_int_equal(buf[len], 0x5A);
		memset(buf, 0x5A, sizeof(buf));
		assert_int_equal(erofs_listxattr(a.fs, &a.ino, buf, len, &a.d),
		                 len < 14 ? -ERANGE : 14);
		assert_int_equal(buf[len], 0x5A);
	}
	close_attributes(&a);
}

static void an_inode_without_attributes_has_none(void **state)
{
	struct attributes a;
	struct erofs_inode root;
	char c;

	(void)state;
	begin(&a, 0);
	end(&a);
	assert_int_equal(erofs_listxattr(a.fs, &a.ino, &c, 1, &a.d), 0);
	assert_int_equal(erofs_inode_get(a.fs, TINY_ROOT_NID, &root, &a.d), 0);
	assert_int_equal(erofs_listxattr(a.fs, &root, &c, 1, &a.d), 0);
	assert_int_equal(erofs_getxattr(a.fs, &root, "user.a", &c, 1, &a.d), -ENODATA);
	close_attributes(&a);
}

/* Longer than a window of the reader, with names that lie across its border and that of a block. */
static void large_bodies_are_read_in_pieces(void **state)
{
	struct attributes a;
	uint8_t value[65535];
	char buf[8192];

	(void)state;
	support_fill(value, sizeof(value), 1);
	begin(&a, 0);
	for (char c = 'A'; c <= 'Z'; c++) {
		char name[100];

		memset(name, c, sizeof(name));
		name[97] = '\0';
		add_inline(&a, 1, name, value, 23);
	}
	add_inline(&a, 1, "big", value, sizeof(value));
	add_inline(&a, 1, "last", value + 7, 100);
	end(&a);
	assert_int_equal(erofs_listxattr(a.fs, &a.ino, buf, sizeof(buf), &a.d), 26 * 103 + 9 + 10);
	has_value(&a, "user.big", value, sizeof(value));
	has_value(&a, "user.last", value + 7, 100);
	for (const char *n = buf; n < buf + 26 * 103; n += 103)
		has_value(&a, n, value, 23);
	close_attributes(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_prefix_gives_the_full_name),
		cmocka_unit_test(long_prefixes_are_put_together),
		cmocka_unit_test(a_name_longer_than_linux_allows_is_refused),
		cmocka_unit_test(small_buffers_are_refused),
		cmocka_unit_test(an_inode_without_attributes_has_none),
		cmocka_unit_test(large_bodies_are_read_in_pieces),
	};

	return cmocka_run_group_tests_name("erofs_xattr", tests, NULL, NULL);
}
