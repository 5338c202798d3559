/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EROFS images with one defect each. Every case is base.erofs with a few bytes changed and the
 * superblock's checksum repaired, so that the defect is reached; it states the code and the words
 * that must tell it. A case without an error must be read to its end.
 *
 * base.erofs (5 blocks of 4096 bytes, made by mkfs.erofs 1.9.3):
 *
 *   400 superblock            660 /b    nid 51, 5000 bytes: block 1 and a tail
 *   480 /     nid 36          a20 /c    nid 81, plain, blocks 2 and 3
 *   4a0   its 9 entries       a40 /d    nid 82
 *   50c   their names         a60   entries . .. e x    a90 their names
 *   520 /a    nid 41, inline  ac0 /ln   nid 86, symlink, its target d/x at ae0
 *   5c0 /attr nid 46          b00 /d/e  nid 88
 *   5e0   its xattrs: header, then entries at 5ec
 */
#include "support.h"

#include "erofs_consume.h"
#include "test_vblk.h"
#include "tiny_erofs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define BASE_LEN 20480
#define MAX_LEN  (20 * 4096)

/* A sixth block, with /c in it as a new inode at 5000, nid 640. */
#define BLOCK_5 "424:06 4dc:8002 "
/* /c as a chunk-based file of 8192 bytes: chunk format at 5010, table at 5020. */
#define CHUNKS BLOCK_5 "450:04 5000:08 5004:a48101 5009:20 5014:4d "
/* /c as an extended inode of 8192 bytes at block 2. */
#define EXTENDED BLOCK_5 "5000:01000000a481 5008:0020 5010:02 502c:01 "

struct defect {
	const char *name;
	const char
	        *patch; /* OFFSET:BYTES in hex, blank in between; bytes past the end lengthen it */
	int err;
	const char *text; /* part of the sentence */
	size_t len;       /* cut to this; 0: as long as it is */
};

static const struct defect defects[] = {
	{ "base", "" },

	{ "sb_magic", "400:00", -EUCLEAN, "magic is 0xe0f5e100, not 0xe0f5e1e2" },
	{ "sb_checksum", "404:00", -EUCLEAN, "checksum is 0xfb6ae900, the bytes give 0xfb6ae976" },
	{ "sb_without_checksum", "404:00 408:02" },
	{ "sb_blkszbits_0", "40c:00", -EUCLEAN, "blkszbits is 0, not 9 to 16" },
	{ "sb_blkszbits_8", "40c:08", -EUCLEAN, "blkszbits is 8, not 9 to 16" },
	{ "sb_blkszbits_13", "40c:0d", -EOPNOTSUPP, "blocks of 2^13 bytes" },
	{ "sb_blkszbits_17", "40c:11", -EUCLEAN, "blkszbits is 17" },
	{ "sb_blkszbits_31", "40c:1f", -EUCLEAN, "blkszbits is 31" },
	{ "sb_blkszbits_64", "40c:40", -EUCLEAN, "blkszbits is 64" },
	{ "sb_blkszbits_255", "40c:ff", -EUCLEAN, "blkszbits is 255" },
	{ "sb_extslots", "40d:ff", -EUCLEAN, "sb_extslots is 255" },
	{ "sb_root_nid_0", "40e:00", -EUCLEAN, "root directory: EROFS inode 0 at byte 0: mode" },
	{ "sb_root_nid_65535", "40e:ffff", -EUCLEAN,
	  "root directory: EROFS inode 65535 lies outside" },
	{ "sb_root_is_a_file", "40e:29", -EUCLEAN, "mode is 0100644, not a directory" },
	{ "sb_epoch_overflows", "418:ffffffffffffff7f 48c:01", -EUCLEAN, "mtime is 1 behind" },
	{ "sb_fixed_nsec", "420:00ca9a3b", -EUCLEAN, "fixed_nsec is 1000000000" },
	{ "sb_blocks_0", "424:00", -EUCLEAN, "blocks is 0, and there are 20480 bytes" },
	{ "sb_blocks_6", "424:06", -EUCLEAN, "blocks is 6, and there are 20480 bytes" },
	{ "sb_blocks_max", "424:ffffffff", -EUCLEAN, "blocks is 4294967295" },
	{ "sb_meta_blkaddr", "428:ffffffff", -EUCLEAN, "meta_blkaddr is 4294967295" },
	{ "sb_xattr_blkaddr", "42c:ffffffff", -EUCLEAN, "xattr_blkaddr is 4294967295" },
	{ "sb_dirblkbits", "45a:07", -EUCLEAN, "dirblkbits is 7, not 0" },
	{ "sb_incompat_bit_9", "451:02", -EOPNOTSUPP, "unknown (0x200)" },
	{ "sb_incompat_bit_23", "452:80", -EOPNOTSUPP, "unknown (0x800000)" },
	{ "sb_incompat_bit_30", "453:40", -EOPNOTSUPP, "unknown (0x40000000)" },
	{ "sb_extra_devices", "450:08 456:ffffffff", -EOPNOTSUPP, "(0x8; extra devices: 65535)" },
	{ "sb_compression", "450:02 454:ffff", -EOPNOTSUPP, "(0x2; lz4; lzma; deflate; zstd)" },
	{ "sb_inline_tails", "450:10", -EOPNOTSUPP, "compressed inline tails (0x10)" },
	{ "sb_fragments", "450:20 467:40", -EOPNOTSUPP, "fragments or deduplicated" },
	{ "sb_metabox", "40d:01 450:8001 480:24 484:00000080", -EOPNOTSUPP, "metabox (0x100)" },
	{ "sb_prefixes_outside", "450:40 45b:01 45c:ffffffff", -EUCLEAN,
	  "xattr prefix 0: 3 bytes" },
	{ "sb_prefix_empty", "450:40 45b:01 45c:0008 2000:0000", -EUCLEAN, "length is 0, not 1" },
	{ "sb_prefix_too_long", "450:40 45b:01 45c:0008 2000:010101", -EUCLEAN, "length is 257" },
	{ "sb_prefix_base", "450:40 45b:01 45c:0008 2000:010005", -EUCLEAN, "base index is 5" },

	{ "cut_in_superblock", "", -EUCLEAN, "128 bytes at 1024 reach past", 1088 },
	{ "cut_in_half", "", -EUCLEAN, "blocks is 5, and there are 10240 bytes", 10240 },

	{ "ino_layout_6", "520:0c", -EUCLEAN, "inode 41 at byte 1312: layout 6 is not defined" },
	{ "ino_layout_7", "520:0e", -EUCLEAN, "layout 7 is not defined" },
	{ "ino_root_layout_7", "480:0e", -EUCLEAN, "root directory: EROFS inode 36" },
	{ "ino_format_bit_5", "520:24", -EUCLEAN, "i_format is 0x0024" },
	{ "ino_format_bit_4", "520:14", -EUCLEAN, "i_format is 0x0014" },
	{ "ino_lz4_full", "520:02", -EOPNOTSUPP, "compressed with lz4 (layout 1)" },
	{ "ino_lz4_compact", "520:06", -EOPNOTSUPP, "compressed with lz4 (layout 3)" },
	{ "ino_lz4_directory", "a40:06", -EOPNOTSUPP, "\"d\": EROFS inode 82 at byte 2624: compr" },
	{ "ino_type_0", "525:01", -EUCLEAN, "mode is 0644: no such file type" },
	{ "ino_type_9", "525:91", -EUCLEAN, "mode is 0110644" },
	{ "ino_type_f", "525:f1", -EUCLEAN, "mode is 0170644" },
	{ "ino_file_is_directory", "664:ed41", -EUCLEAN, "\"b\": the entry's file type 8 is not" },
	{ "ino_tail_leaves_block", "528:ff0f", -EUCLEAN, "inline tail of 4095 bytes at 1344" },
	{ "ino_first_block", "a30:ffffff7f", -EUCLEAN, "first block is 2147483647 with 2 to come" },
	{ "ino_no_block", "a30:ffffffff" },
	{ "ino_inline_without_block", "670:ffffffff", -EUCLEAN, "first block is 4294967295" },
	{ "ino_data_is_metadata", "a30:00" },
	{ "ino_nlink_0", "526:00" },
	{ "ino_size_7_eib", "a20:01 a26:0000ffffffffffffff7f a34:63", -EUCLEAN,
	  "2251799813685248 to come" },
	{ "ino_xattrs_leave_image", "522:ffff", -EUCLEAN, "262148 bytes of xattrs leave" },
	{ "ino_extended", EXTENDED },
	{ "ino_extended_cut", "4dc:7f02 4fe0:01000000a481", -EUCLEAN,
	  "an extended inode leaves the image" },
	{ "ino_extended_size", EXTENDED "500f:80", -EUCLEAN, "above 2^63 - 1" },
	{ "ino_extended_nsec", EXTENDED "5028:00ca9a3b", -EUCLEAN, "mtime_nsec is 1000000000" },
	{ "ino_extended_hi", EXTENDED "5006:01", -EUCLEAN, "first block is 4294967298" },
	{ "ino_extended_bit_4", EXTENDED "450:80 40e:0000 470:24 5000:11", -EUCLEAN,
	  "bit 4 has no" },

	{ "dir_size_huge", "a48:ffffffff", -EUCLEAN,
	  "\"d\": EROFS inode 82 at byte 2624: size is" },
	{ "dir_size_5", "a48:05", -EUCLEAN, "a directory's size is 5" },
	{ "dir_size_0", "a48:00", -EUCLEAN, "a directory's size is 0" },
	{ "dir_without_blocks", "a40:00 a50:ffffffff", -EUCLEAN, "first block is 4294967295" },
	{ "dir_chunks", "a40:08", -EUCLEAN, "only regular files have chunks" },

	{ "de_first_name_0", "a68:00", -EUCLEAN,
	  "directory 82, block 0: first name is at 0 of 53" },
	{ "de_first_name_odd", "a68:31", -EUCLEAN, "first name is at 49 of 53 bytes" },
	{ "de_first_name_at_end", "a68:35", -EUCLEAN, "first name is at 53 of 53 bytes" },
	{ "de_name_backwards", "a80:30", -EUCLEAN, "entry 1 reaches from 49 to 48 in 53" },
	{ "de_last_name_outside", "a8c:3f", -EUCLEAN, "entry 2 reaches from 51 to 63 in 53" },
	{ "de_name_slash", "a94:2f", -EUCLEAN, "name of entry 3 has a '/' or a NUL" },
	{ "de_name_nul", "a93:00", -EUCLEAN, "name of entry 2 has a '/' or a NUL" },
	{ "de_last_name_empty", "a94:00", -EUCLEAN, "entry 3 reaches from 52 to 52 in 53" },
	{ "de_dot_dot_again", "51c:2e2e", -EUCLEAN, "name \"empty\" is followed by \"..\"" },
	{ "de_same_name_twice", "a93:7878", -EUCLEAN, "name \"x\" is followed by \"x\"" },
	{ "de_unsorted", "50f:7a", -EUCLEAN, "name \"z\" is followed by \"attr\": not in order" },
	{ "de_no_dot", "a90:2d", -EUCLEAN, "there is no entry \".\"" },
	{ "de_no_dot_dot", "a92:61", -EUCLEAN, "there is no entry \"..\"" },
	{ "de_nid_0", "a84:00", -EUCLEAN, "\"d/x\": EROFS inode 0 at byte 0: mode is 00" },
	{ "de_nid_max", "a84:ffffffffffffffff", -EUCLEAN,
	  "nid of entry 3 is 18446744073709551615" },
	{ "de_nid_bit_63", "a84:24 a8b:80", -EUCLEAN, "nid of entry 3 is 9223372036854775844" },
	{ "de_nid_no_inode", "a84:7f02", -EUCLEAN, "EROFS inode 639 at byte 20448: i_format" },
	{ "de_type_other", "a8e:02", -EUCLEAN, "\"d/x\": the entry's file type 4 is not that of" },
	{ "de_type_255", "a8e:ff", -EUCLEAN, "file type of entry 3 is 255, above 7" },
	{ "de_type_unknown", "a8e:00" },
	{ "de_dot_dot_elsewhere", "a6c:52" },
	{ "loop_itself", "a78:52", -EUCLEAN, "\"d/e\": EROFS directory 82 was met before" },
	{ "loop_two_names", "500:52 50a:02", -EUCLEAN,
	  "\"ln\": EROFS directory 82 was met before" },

	{ "link_size_0", "ac8:00", -EUCLEAN, "a symlink's size is 0, not 1 to 4095" },
	{ "link_size_huge", "ac8:ffffff7f", -EUCLEAN, "a symlink's size is 2147483647" },
	{ "link_nul", "ae1:00", -EUCLEAN, "EROFS inode 86: the symlink's target has a NUL" },
	{ "link_chunks", "ac0:08", -EUCLEAN, "only regular files have chunks" },

	{ "xattr_shared_count", "5e4:ff", -EUCLEAN, "h_shared_count is 255 in a body of 68 bytes" },
	{ "xattr_shared_outside", "5e4:01 5ec:ffffffff", -EUCLEAN, "shared xattr 4294967295" },
	{ "xattr_name_too_long", "5ec:ff", -EUCLEAN, "an entry at 1516 of 4 + 255 + 1 bytes" },
	{ "xattr_value_too_long", "5ee:ffff", -EUCLEAN, "of 4 + 1 + 65535 bytes ends behind 1572" },
	{ "xattr_no_name", "5ec:0000", -EUCLEAN, "the name is empty or has a NUL" },
	{ "xattr_nul", "5f0:00", -EUCLEAN, "the name is empty or has a NUL" },
	{ "xattr_index_77", "5ed:4d", -EUCLEAN, "e_name_index is 77: no such prefix" },
	{ "xattr_index_5", "5ed:05", -EUCLEAN, "e_name_index is 5: no such prefix" },
	{ "xattr_long_prefix", "5ed:85", -EUCLEAN, "e_name_index is long prefix 5 of 0" },
	{ "xattr_body_cut", "5c2:02", -EUCLEAN, "ends behind 1520" },

	{ "chunk_map", CHUNKS "5020:0100000001" },
	{ "chunk_map_hole", CHUNKS "5020:ffffffff01" },
	{ "chunk_indexes", CHUNKS "5010:20 5024:01 5028:ffff0000ffffffff" },
	{ "chunk_format_reserved", CHUNKS "5010:80ff", -EUCLEAN, "chunk format is 0xff80" },
	{ "chunk_48bit", CHUNKS "5010:60 5020:ffff000001", -EUCLEAN, "chunk format is 0x60" },
	{ "chunk_block", CHUNKS "5020:ffffff7f01", -EUCLEAN,
	  "EROFS inode 640: chunk 0: block is 2147483647, and the image has 6" },
	{ "chunk_index_block", CHUNKS "5010:20 5024:01 502c:06", -EUCLEAN, "chunk 1: block is 6" },
	{ "chunk_device", CHUNKS "5010:20 5024:01 502a:01", -EUCLEAN, "chunk 1: device is 1" },
	{ "chunk_reserved", CHUNKS "5010:20 5020:01 5024:01", -EUCLEAN,
	  "reserved bytes are 0x0001" },
	{ "chunk_table_outside", CHUNKS "5008:ffffffff", -EUCLEAN, "the table at 20512 leaves" },
	{ "chunk_table_huge", CHUNKS "5000:09000000a481000000f0ffffffffff7f 5010:20", -EUCLEAN,
	  "size is 9223372036854771712 in chunks of 2^12 bytes: the table" },
};

static void read_base(uint8_t *image)
{
	char *path = NULL;
	int fd;

	assert_true(asprintf(&path, "%s/hostile/base.erofs", getenv("MODELDISK_TESTS")) > 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, image, BASE_LEN), BASE_LEN);
	close(fd);
	free(path);
}

static size_t apply(const char *patch, uint8_t *image, size_t len)
{
	while (*patch) {
		char *p;
		size_t off = strtoul(patch, &p, 16);

		assert_true(*p == ':');
		for (p++; *p && *p != ' '; p += 2) {
			char digits[3] = { p[0], p[1], '\0' };

			assert_true(off < MAX_LEN);
			image[off++] = (uint8_t)strtoul(digits, NULL, 16);
		}
		len = MAX(len, round_up(off, 4096));
		patch = *p ? p + 1 : p;
	}
	return len;
}

static void expect(const uint8_t *image, size_t len, int err, const char *text)
{
	/* exactly as long as the image: a byte too far is seen by the sanitizer */
	uint8_t *exact = malloc(len);
	struct diag d = DIAG_INIT;
	struct erofs_consumed got;
	struct vblk *v;
	int r;

	assert_non_null(exact);
	memcpy(exact, image, len);
	v = test_vblk_of_memory(exact, len);
	r = erofs_consume(v, 0, &got, &d);
	if (r)
		print_message("%s\n", d.text);
	assert_int_equal(r, err);
	if (err)
		assert_non_null(strstr(d.text, text));
	else
		assert_int_equal(got.inodes, 11);
	vblk_close(v);
	free(exact);
}

static void defect_is_named(void **state)
{
	const struct defect *t = *state;
	uint8_t *image = calloc(1, MAX_LEN);
	size_t len;

	assert_non_null(image);
	read_base(image);
	len = apply(t->patch, image, BASE_LEN);
	if (!strstr(t->patch, "404:"))
		tiny_erofs_seal(image, len);
	expect(image, t->len ? t->len : len, t->err, t->text);
	free(image);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_LEN(defects)];

	for (size_t i = 0; i < ARRAY_LEN(defects); i++)
		tests[i] = (struct CMUnitTest){ .name = defects[i].name,
			                        .test_func = defect_is_named,
			                        .initial_state = (void *)(uintptr_t)&defects[i] };
	return cmocka_run_group_tests_name("hostile_erofs", tests, NULL, NULL);
}
