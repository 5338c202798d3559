/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpt.h"
#include "hash.h"

#define DISK_LEN (1 * MIB)

/* Offsets in a header (UEFI 5.3.2) and an entry (5.3.3). */
enum {
	HEADER_REVISION = 8,
	HEADER_LEN = 12,
	HEADER_CRC = 16,
	HEADER_RESERVED = 20,
	HEADER_MY_LBA = 24,
	HEADER_FIRST_USABLE = 40,
	HEADER_LAST_USABLE = 48,
	HEADER_ENTRIES_LBA = 72,
	HEADER_ENTRY_CNT = 80,
	HEADER_ENTRY_LEN = 84,
	HEADER_ENTRIES_CRC = 88,
	ENTRY_FIRST = 32,
	ENTRY_LAST = 40,
	ENTRY_NAME = 56,
};

/* ---- a disk in memory ---- */

struct disk {
	uint8_t *bytes;
	size_t len;
	uint32_t sector_len;
};

static struct gpt sample(uint32_t sector_len, uint64_t disk_len)
{
	uint64_t entries = 16384 / sector_len;
	struct gpt t = { .sector_len = sector_len,
		         .lba_cnt = disk_len / sector_len,
		         .first_usable_lba = entries + 2,
		         .last_usable_lba = disk_len / sector_len - entries - 2,
		         .part_cnt = 2 };

	assert_int_equal(uuid_parse("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", &t.disk_id), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(gpt_type_by_name("linux-generic", &t.part[i].type), 0);
		t.part[i].number = i;
		t.part[i].first_lba = 48 + 16 * i;
		t.part[i].last_lba = t.part[i].first_lba + 15;
	}
	strcpy(t.part[0].name, "linux-generic");
	strcpy(t.part[1].name, "linux-generic-2");
	return t;
}

static struct disk make_disk(const struct gpt *t)
{
	size_t head_len = (size_t)gpt_head_len(t->sector_len);
	size_t tail_len = (size_t)gpt_tail_len(t->sector_len);
	struct disk disk = { .len = DISK_LEN, .sector_len = t->sector_len };

	disk.bytes = calloc(1, disk.len);
	assert_non_null(disk.bytes);
	assert_true(head_len + tail_len <= disk.len);
	assert_int_equal(gpt_encode(t, disk.bytes, disk.bytes + disk.len - tail_len, NULL), 0);
	return disk;
}

static int read_disk(const struct disk *disk, struct gpt *out, struct diag *d)
{
	scoped(blk) struct blk *b = NULL;

	assert_int_equal(blk_of_memory(disk->bytes, disk->len, "test", &b), 0);
	return gpt_read(b, out, d);
}

static void put(uint8_t *at, uint64_t v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *at, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)at[i] << (8 * i);
	return v;
}

/* Written apart from the one in gpt.c. */
static uint32_t crc32_slow(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xFFFFFFFF;

	for (size_t i = 0; i < 8 * len; i++) {
		uint32_t bit = (crc ^ p[i / 8] >> (i % 8)) & 1;

		crc = crc >> 1 ^ (bit ? 0xEDB88320 : 0);
	}
	return ~crc;
}

static uint8_t *header_of(const struct disk *disk, bool is_backup)
{
	return disk->bytes + (is_backup ? disk->len - disk->sector_len : disk->sector_len);
}

static uint8_t *entries_of(const struct disk *disk, bool is_backup)
{
	return disk->bytes +
	       (is_backup ? disk->len - disk->sector_len - 16384 : 2 * (size_t)disk->sector_len);
}

/* Makes both CRCs of a copy right again, so that a crafted field is reached. */
static void repair(const struct disk *disk, bool is_backup)
{
	uint8_t *h = header_of(disk, is_backup);
	uint64_t off = get(h + HEADER_ENTRIES_LBA, 8) * disk->sector_len;
	uint64_t len = get(h + HEADER_ENTRY_CNT, 4) * get(h + HEADER_ENTRY_LEN, 4);

	if (range_is_inside(off, len, disk->len))
		put(h + HEADER_ENTRIES_CRC, crc32_slow(disk->bytes + off, (size_t)len), 4);
	put(h + HEADER_CRC, 0, 4);
	put(h + HEADER_CRC, crc32_slow(h, (size_t)get(h + HEADER_LEN, 4)), 4);
}

static void assert_same_table(const struct gpt *a, const struct gpt *b)
{
	assert_int_equal(a->sector_len, b->sector_len);
	assert_int_equal(a->lba_cnt, b->lba_cnt);
	assert_int_equal(a->first_usable_lba, b->first_usable_lba);
	assert_int_equal(a->last_usable_lba, b->last_usable_lba);
	assert_true(uuid_equal(&a->disk_id, &b->disk_id));
	assert_int_equal(a->part_cnt, b->part_cnt);
	for (uint32_t i = 0; i < a->part_cnt; i++) {
		const struct gpt_part *x = &a->part[i], *y = &b->part[i];

		assert_int_equal(x->number, y->number);
		assert_true(uuid_equal(&x->type, &y->type) && uuid_equal(&x->id, &y->id));
		assert_int_equal(x->first_lba, y->first_lba);
		assert_int_equal(x->last_lba, y->last_lba);
		assert_int_equal(x->flags, y->flags);
		assert_string_equal(x->name, y->name);
	}
}

/* ---- writer ---- */

static void assert_sha256(const void *bytes, size_t len, const char *expected)
{
	uint8_t digest[HASH_SHA256_LEN];
	char hex[2 * HASH_SHA256_LEN + 1];

	assert_int_equal(hash_sha256(bytes, len, digest), 0);
	hex_encode(digest, sizeof(digest), hex);
	assert_string_equal(hex, expected);
}

/* Measured: systemd-repart 262.1 on a 256 MiB file with the built-in definitions. */
static void encoded_bytes_are_those_of_libfdisk(void **state)
{
	(void)state;
	struct gpt t = sample(512, 256 * MIB);
	uint8_t edge[20480] = { 0 }, tail[16896];

	t.part[0].first_lba = 40;
	t.part[0].last_lba = 393175;
	t.part[1].first_lba = 393176;
	t.part[1].last_lba = 524247;
	assert_int_equal(gpt_encode(&t, edge, tail, NULL), 0);
	assert_sha256(edge, sizeof(edge),
	              "b05152437a1b6229c0b32587691e6856361e7e12ecb1e27a058d6c7e25876edf");
	memset(edge, 0, sizeof(edge));
	memcpy(edge + sizeof(edge) - sizeof(tail), tail, sizeof(tail));
	assert_sha256(edge, sizeof(edge),
	              "fd0b6417ece1ef1074915346693b60546c4d344361c3b00058052543ab78a692");
}

static void protective_mbr_is_capped_at_32_bits(void **state)
{
	(void)state;
	struct gpt t = sample(512, UINT64_C(3) << 40);
	uint8_t head[17408], tail[16896];

	assert_int_equal(gpt_encode(&t, head, tail, NULL), 0);
	assert_int_equal(get(head + 446 + 12, 4), UINT32_MAX);
	t = sample(512, 256 * MIB);
	assert_int_equal(gpt_encode(&t, head, tail, NULL), 0);
	assert_int_equal(get(head + 446 + 12, 4), 256 * MIB / 512 - 1);
}

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	for (uint32_t sector_len = 512; sector_len <= 4096; sector_len *= 8) {
		struct gpt t = sample(sector_len, DISK_LEN), back;

		t.part[1].number = 127;
		t.part[1].flags = UINT64_C(1) << 60 | 5;
		support_fill(&t.part[1].id, sizeof(t.part[1].id), 1);
		strcpy(t.part[0].name, "data part \xC3\xA9 \xF0\x9F\xA4\x97");
		struct disk disk = make_disk(&t);

		assert_int_equal(read_disk(&disk, &back, NULL), 0);
		assert_false(back.from_backup);
		assert_same_table(&t, &back);
		free(disk.bytes);
	}
}

static void names_hold_36_utf16_units_and_no_more(void **state)
{
	(void)state;
	static const struct {
		const char *unit;
		size_t cnt;
		bool fits;
	} cases[] = { { "x", 36, true },
		      { "x", 37, false },
		      { "\xE6\x97\xA5", 36, true },
		      { "\xF0\x9F\xA4\x97", 18, true },
		      { "\xF0\x9F\xA4\x97", 19, false } };
	uint8_t head[17408], tail[16896];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct gpt t = sample(512, DISK_LEN);

		t.part[0].name[0] = '\0';
		for (size_t k = 0; k < cases[i].cnt; k++)
			strcat(t.part[0].name, cases[i].unit);
		assert_int_equal(gpt_encode(&t, head, tail, NULL), cases[i].fits ? 0 : -EINVAL);
	}
}

static void names_that_are_not_utf8_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "\x80",
		                           "\xC3",
		                           "\xC0\x80",
		                           "\xC1\xBF",
		                           "\xE0\x80\x80",
		                           "\xED\xA0\x80",
		                           "\xF0\x80\x80\x80",
		                           "\xF4\x90\x80\x80",
		                           "\xF8\x88\x80\x80\x80",
		                           "\xFF",
		                           "\xE6\x97" };
	uint8_t head[17408], tail[16896];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct gpt t = sample(512, DISK_LEN);

		strcpy(t.part[0].name, bad[i]);
		assert_int_equal(gpt_encode(&t, head, tail, NULL), -EINVAL);
	}
}

static void partitions_outside_the_table_are_not_written(void **state)
{
	(void)state;
	uint8_t head[17408], tail[16896];
	struct gpt good = sample(512, DISK_LEN), t;

	assert_int_equal(gpt_encode(&good, head, tail, NULL), 0);
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		t = good;                                                                          \
		change;                                                                            \
		assert_int_equal(gpt_encode(&t, head, tail, NULL), -EINVAL);                       \
	} while (0)
	REFUSED(t.sector_len = 1024);
	REFUSED(t.lba_cnt = 60);
	REFUSED(t.first_usable_lba = 33);
	REFUSED(t.last_usable_lba++);
	REFUSED(t.last_usable_lba = UINT64_MAX);
	REFUSED(t.part_cnt = GPT_MAX_PARTS + 1);
	REFUSED(t.part[0].number = 1);
	REFUSED(t.part[1].number = 128);
	REFUSED(t.part[0].first_lba = 33);
	REFUSED(t.part[1].last_lba = t.last_usable_lba + 1);
	REFUSED(t.part[1].first_lba = t.part[1].last_lba + 1);
	REFUSED(t.part[1].first_lba = t.part[0].last_lba);
#undef REFUSED
}

/* ---- reader ---- */

/* Every byte of both copies, one at a time: never another table, and never a refusal as long as
 * one copy is whole. */
static void flipped_byte_never_gives_another_table(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	size_t head_len = (size_t)gpt_head_len(512), tail_len = (size_t)gpt_tail_len(512);

	for (size_t i = 0; i < head_len + tail_len; i++) {
		uint8_t *byte = i < head_len ? &disk.bytes[i]
		                             : &disk.bytes[disk.len - tail_len + i - head_len];
		bool is_primary_table = i >= 512 && (i < 512 + 92 || i >= 1024) && i < head_len;

		*byte ^= (uint8_t)(1 + i % 255);
		assert_int_equal(read_disk(&disk, &back, NULL), 0);
		assert_int_equal(back.from_backup, is_primary_table);
		assert_same_table(&t, &back);
		*byte ^= (uint8_t)(1 + i % 255);
	}
	free(disk.bytes);
}

static void damage_in_both_copies_is_refused_as_the_primary_s(void **state)
{
	(void)state;
	for (uint32_t sector_len = 512; sector_len <= 4096; sector_len *= 8) {
		struct gpt t = sample(sector_len, DISK_LEN), back;
		struct disk disk = make_disk(&t);
		struct diag d = DIAG_INIT;

		entries_of(&disk, false)[5] ^= 1;
		header_of(&disk, true)[60] ^= 1;
		assert_int_equal(read_disk(&disk, &back, &d), -EBADMSG);
		assert_non_null(strstr(d.text, "test: primary partition table"));
		assert_non_null(strstr(d.text, "entries have CRC"));
		free(disk.bytes);
	}
}

static void cut_disk_is_refused_or_has_no_table(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);

	for (size_t len = 0; len < DISK_LEN; len += len < 40960 ? 256 : 65536) {
		struct diag d = DIAG_INIT;

		disk.len = len;
		int r = read_disk(&disk, &back, &d);
		assert_int_equal(r, len < 3 * 512 ? -ENOENT : -EUCLEAN);
		assert_true(d.text[0] != '\0');
	}
	free(disk.bytes);
}

static void disk_without_table_says_so(void **state)
{
	(void)state;
	struct disk disk = { .bytes = calloc(1, DISK_LEN), .len = DISK_LEN, .sector_len = 512 };
	struct diag d = DIAG_INIT;
	struct gpt back;

	assert_int_equal(read_disk(&disk, &back, &d), -ENOENT);
	assert_string_equal(d.text, "test: no GUID partition table");
	free(disk.bytes);
}

static void backup_alone_is_enough(void **state)
{
	(void)state;
	for (uint32_t sector_len = 512; sector_len <= 4096; sector_len *= 8) {
		struct gpt t = sample(sector_len, DISK_LEN), back;
		struct disk disk = make_disk(&t);

		memset(disk.bytes, 0, (size_t)gpt_head_len(sector_len));
		assert_int_equal(read_disk(&disk, &back, NULL), 0);
		assert_true(back.from_backup);
		assert_same_table(&t, &back);
		free(disk.bytes);
	}
}

/* A field of the primary with right CRCs, the backup gone: what an attacker writes. */
struct crafted {
	size_t off, len;
	uint64_t value;
	int err;
};

static void assert_crafted(const struct crafted *c, bool in_entry)
{
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	struct diag d = DIAG_INIT;

	memset(header_of(&disk, true), 0, 512);
	put((in_entry ? entries_of(&disk, false) : header_of(&disk, false)) + c->off, c->value,
	    c->len);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, &d), c->err);
	assert_int_equal(d.text[0] != '\0', c->err != 0);
	free(disk.bytes);
}

static void crafted_header_is_refused(void **state)
{
	(void)state;
	static const struct crafted headers[] = {
		{ HEADER_REVISION, 4, 0x00010000, 0 }, /* the method itself passes */
		{ HEADER_REVISION, 4, 0x00020000, -EUCLEAN },
		{ HEADER_RESERVED, 4, 1, -EUCLEAN },
		{ HEADER_MY_LBA, 8, 2, -EUCLEAN },
		{ HEADER_MY_LBA, 8, UINT64_MAX, -EUCLEAN },
		{ HEADER_FIRST_USABLE, 8, 0, -EUCLEAN },
		{ HEADER_FIRST_USABLE, 8, 20, -EUCLEAN },
		{ HEADER_FIRST_USABLE, 8, 49, -EUCLEAN }, /* behind the first partition's start */
		{ HEADER_FIRST_USABLE, 8, UINT64_MAX, -EUCLEAN },
		{ HEADER_LAST_USABLE, 8, 2048, -EUCLEAN },
		{ HEADER_LAST_USABLE, 8, UINT64_MAX, -EUCLEAN },
		{ HEADER_LAST_USABLE, 8, 70, -EUCLEAN }, /* inside the second partition */
		{ HEADER_ENTRIES_LBA, 8, 0, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, 1, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, 3, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, 40, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, 2047, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, 2048, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, UINT64_MAX, -EUCLEAN },
		{ HEADER_ENTRIES_LBA, 8, UINT64_MAX / 512, -EUCLEAN },
		{ HEADER_ENTRY_CNT, 4, 0, -EUCLEAN },
		{ HEADER_ENTRY_CNT, 4, 2, 0 },
		{ HEADER_ENTRY_CNT, 4, 129, -EUCLEAN },
		{ HEADER_ENTRY_CNT, 4, 1025, -EUCLEAN },
		{ HEADER_ENTRY_CNT, 4, UINT32_MAX, -EUCLEAN },
		{ HEADER_ENTRY_LEN, 4, 0, -EUCLEAN },
		{ HEADER_ENTRY_LEN, 4, 64, -EUCLEAN },
		{ HEADER_ENTRY_LEN, 4, 129, -EUCLEAN },
		{ HEADER_ENTRY_LEN, 4, 256, -EUCLEAN }, /* 128 of them reach into partition 0 */
		{ HEADER_ENTRY_LEN, 4, 8192, -EUCLEAN },
		{ HEADER_ENTRY_LEN, 4, UINT32_MAX, -EUCLEAN },
	};

	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		assert_crafted(&headers[i], false);
}

static void crafted_header_length_is_refused(void **state)
{
	(void)state;
	static const uint32_t len[] = { 0, 16, 91, 513, 4096, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_LEN(len); i++) {
		struct gpt t = sample(512, DISK_LEN), back;
		struct disk disk = make_disk(&t);

		memset(header_of(&disk, true), 0, 512);
		put(header_of(&disk, false) + HEADER_LEN, len[i], 4);
		assert_int_equal(read_disk(&disk, &back, NULL), -EUCLEAN);
		free(disk.bytes);
	}
}

static void crafted_entry_is_refused(void **state)
{
	(void)state;
	static const struct crafted entries[] = {
		{ ENTRY_FIRST, 8, 48, 0 },
		{ ENTRY_FIRST, 8, 0, -EUCLEAN },
		{ ENTRY_FIRST, 8, 33, -EUCLEAN },
		{ ENTRY_FIRST, 8, 64, -EUCLEAN },
		{ ENTRY_FIRST, 8, UINT64_MAX, -EUCLEAN },
		{ ENTRY_LAST, 8, 47, -EUCLEAN },
		{ ENTRY_LAST, 8, 64, -EUCLEAN },   /* the first sector of partition 1 */
		{ ENTRY_LAST, 8, 2047, -EUCLEAN }, /* around partition 1, beyond the usable range */
		{ ENTRY_LAST, 8, UINT64_MAX, -EUCLEAN },
		{ 128 + ENTRY_FIRST, 8, 50, -EUCLEAN },
		{ 128 + ENTRY_LAST, 8, 2015, -EUCLEAN },
		{ 128 + ENTRY_LAST, 8, 2014, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		assert_crafted(&entries[i], true);
}

static void larger_entries_and_fewer_of_them_are_read(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	uint8_t *e = entries_of(&disk, false);

	memmove(e + 256, e + 128, 128);
	memset(e + 128, 0xEE, 128);
	put(header_of(&disk, false) + HEADER_ENTRY_LEN, 256, 4);
	put(header_of(&disk, false) + HEADER_ENTRY_CNT, 4, 4);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, NULL), 0);
	assert_false(back.from_backup);
	assert_same_table(&t, &back);
	free(disk.bytes);
}

/* 1024 entries, all used: more than we hold, so no partial table. */
static void more_partitions_than_we_hold_are_refused(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;

	t.first_usable_lba = 1024;
	t.part_cnt = 0;
	struct disk disk = make_disk(&t);
	uint8_t *h = header_of(&disk, false);

	memset(header_of(&disk, true), 0, 512);
	for (size_t i = 0; i < GPT_MAX_PARTS + 1; i++) {
		uint8_t *e = entries_of(&disk, false) + 128 * i;

		e[0] = 1;
		put(e + ENTRY_FIRST, 1024 + i, 8);
		put(e + ENTRY_LAST, 1024 + i, 8);
	}
	put(h + HEADER_ENTRY_CNT, 1024, 4);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, NULL), -EOPNOTSUPP);
	put(h + HEADER_ENTRY_CNT, GPT_MAX_PARTS, 4);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, NULL), 0);
	assert_int_equal(back.part_cnt, GPT_MAX_PARTS);
	free(disk.bytes);
}

static void unpaired_surrogates_become_replacement_characters(void **state)
{
	(void)state;
	static const uint16_t units[] = {
		'a', 0xD83E, 'b', 0xDD17, 0xD83E, 0xDD17, 0xDC00, 0xD800
	};
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	uint8_t *name = entries_of(&disk, false) + ENTRY_NAME;

	memset(name, 0, 72);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		put(name + 2 * i, units[i], 2);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, NULL), 0);
	assert_string_equal(back.part[0].name,
	                    "a\xEF\xBF\xBD"
	                    "b\xEF\xBF\xBD\xF0\x9F\xA4\x97\xEF\xBF\xBD\xEF\xBF\xBD");
	free(disk.bytes);
}

static void longest_name_fits(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);

	memset(entries_of(&disk, false) + ENTRY_NAME, 0xFF, 72);
	repair(&disk, false);
	assert_int_equal(read_disk(&disk, &back, NULL), 0);
	assert_int_equal(strlen(back.part[0].name), GPT_NAME_LEN - 1);
	free(disk.bytes);
}

static void failing_medium_is_told_unless_the_backup_is_readable(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	scoped(blk) struct blk *b = NULL;

	assert_int_equal(blk_of_memory(disk.bytes, disk.len, "test", &b), 0);
	/* reads: primary header, primary entries */
	for (unsigned long k = 1; k <= 3; k++) {
		struct support_fault f = { .parent = b, .fail_at = k, .err = -EIO };
		scoped(blk) struct blk *faulty = NULL;

		assert_int_equal(support_fault_blk(&f, &faulty), 0);
		assert_int_equal(gpt_read(faulty, &back, NULL), 0);
		assert_int_equal(back.from_backup, k <= 2);
		assert_same_table(&t, &back);
	}
	memset(header_of(&disk, true), 0, 512);
	for (unsigned long k = 1; k <= 2; k++) {
		struct support_fault f = { .parent = b, .fail_at = k, .err = -EIO };
		scoped(blk) struct blk *faulty = NULL;
		struct diag d = DIAG_INIT;

		assert_int_equal(support_fault_blk(&f, &faulty), 0);
		assert_int_equal(gpt_read(faulty, &back, &d), -EIO);
		assert_non_null(strstr(d.text, "cannot read the"));
	}
	free(disk.bytes);
}

static void failed_allocation_is_told(void **state)
{
	(void)state;
	struct gpt t = sample(512, DISK_LEN), back;
	struct disk disk = make_disk(&t);
	scoped(blk) struct blk *b = NULL;
	unsigned long k = 1;
	int r;

	assert_int_equal(blk_of_memory(disk.bytes, disk.len, "test", &b), 0);
	do {
		struct diag d = DIAG_INIT;

		support_fail_allocation(k++);
		r = gpt_read(b, &back, &d);
		support_fail_allocation(0);
		assert_true(r == 0 || (r == -ENOMEM && d.text[0] != '\0'));
	} while (r != 0);
	assert_true(k > 2);
	free(disk.bytes);
}

/* ---- types ---- */

static void types_have_names_and_roles(void **state)
{
	(void)state;
	static const struct {
		const char *name, *id;
		enum gpt_role role;
	} known[] = {
		{ "linux-generic", "0fc63daf-8483-4772-8e79-3d69d8477de4", GPT_ROLE_GENERIC },
		{ "root-x86-64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", GPT_ROLE_ROOT },
		{ "root-x86-64-verity", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
		  GPT_ROLE_ROOT_VERITY },
		{ "root-x86-64-verity-sig", "41092b05-9fc8-4523-994f-2def0408b176",
		  GPT_ROLE_ROOT_VERITY_SIG },
		{ "usr-arm64", "b0e01050-ee5f-4390-949a-9101b17104e9", GPT_ROLE_USR },
		{ "usr-arm64-verity", "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e", GPT_ROLE_USR_VERITY },
		{ "usr-arm64-verity-sig", "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
		  GPT_ROLE_USR_VERITY_SIG },
		{ "esp", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", GPT_ROLE_ESP },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct uuid type;
		char id[UUID_TEXT_LEN];

		assert_int_equal(gpt_type_by_name(known[i].name, &type), 0);
		uuid_format(&type, id);
		assert_string_equal(id, known[i].id);
		assert_string_equal(gpt_type_name(&type), known[i].name);
		assert_int_equal(gpt_type_role(&type), known[i].role);
	}
}

static void types_that_depend_on_the_host_are_unknown(void **state)
{
	(void)state;
	static const char *const names[] = { "root",           "root-verity",    "usr",
		                             "usr-verity-sig", "root-secondary", "",
		                             "linux",          "ROOT-X86-64" };
	struct uuid type;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(gpt_type_by_name(names[i], &type), -ENOENT);
	memset(&type, 0x11, sizeof(type));
	assert_null(gpt_type_name(&type));
	assert_int_equal(gpt_type_role(&type), GPT_ROLE_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoded_bytes_are_those_of_libfdisk),
		cmocka_unit_test(protective_mbr_is_capped_at_32_bits),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(names_hold_36_utf16_units_and_no_more),
		cmocka_unit_test(names_that_are_not_utf8_are_refused),
		cmocka_unit_test(partitions_outside_the_table_are_not_written),
		cmocka_unit_test(flipped_byte_never_gives_another_table),
		cmocka_unit_test(damage_in_both_copies_is_refused_as_the_primary_s),
		cmocka_unit_test(cut_disk_is_refused_or_has_no_table),
		cmocka_unit_test(disk_without_table_says_so),
		cmocka_unit_test(backup_alone_is_enough),
		cmocka_unit_test(crafted_header_is_refused),
		cmocka_unit_test(crafted_header_length_is_refused),
		cmocka_unit_test(crafted_entry_is_refused),
		cmocka_unit_test(larger_entries_and_fewer_of_them_are_read),
		cmocka_unit_test(more_partitions_than_we_hold_are_refused),
		cmocka_unit_test(unpaired_surrogates_become_replacement_characters),
		cmocka_unit_test(longest_name_fits),
		cmocka_unit_test(failing_medium_is_told_unless_the_backup_is_readable),
		cmocka_unit_test(failed_allocation_is_told),
		cmocka_unit_test(types_have_names_and_roles),
		cmocka_unit_test(types_that_depend_on_the_host_are_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
