/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GUID partition tables as bytes. The writer gives the bytes libfdisk gives; the reader takes what
 * an attacker may have written and hands out a table only when every field of one copy is proven
 * consistent. Which partition means what is left to the callers.
 */
#include "gpt.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SIGNATURE      "EFI PART"
#define REVISION       0x00010000 /* UEFI 5.3.2: 1.0 */
#define ENTRIES_LEN    16384      /* what we write: 128 entries of 128 bytes */
#define MAX_ENTRY_LEN  4096       /* bound on what a table may claim before we read it */
#define MBR_RECORD_OFF 446
#define MBR_MAGIC_OFF  510
#define MBR_TYPE_GPT   0xEE
#define REPLACEMENT    0xFFFD

struct header_disk {
	uint8_t signature[8];
	le32 revision;
	le32 header_len;
	le32 header_crc; /* over header_len bytes with this field zero */
	le32 reserved;
	le64 my_lba;
	le64 other_lba;
	le64 first_usable_lba;
	le64 last_usable_lba;
	uint8_t disk_id[16];
	le64 entries_lba;
	le32 entry_cnt;
	le32 entry_len;
	le32 entries_crc;
};
_Static_assert(sizeof(struct header_disk) == 92, "UEFI 5.3.2");
_Static_assert(offsetof(struct header_disk, entries_crc) == 88, "UEFI 5.3.2");

struct entry_disk {
	uint8_t type[16];
	uint8_t id[16];
	le64 first_lba;
	le64 last_lba;
	le64 flags;
	le16 name[GPT_NAME_UNITS];
};
_Static_assert(sizeof(struct entry_disk) == 128, "UEFI 5.3.3");
_Static_assert(GPT_MAX_PARTS * sizeof(struct entry_disk) == ENTRIES_LEN, "as libfdisk writes it");

/* CRC-32 of ISO 3309, four bits at a time: tables are read once. */
static uint32_t crc32_of(uint32_t crc, const void *bytes, size_t len)
{
	static const uint32_t nibble[16] = {
		0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
		0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
		0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
	};
	const uint8_t *p = bytes;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}

/* UEFI appendix A: the first three groups of a GUID's text are little-endian numbers. Its own
 * inverse. */
static void swap_guid(const uint8_t in[16], uint8_t out[16])
{
	static const uint8_t from[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (size_t i = 0; i < 16; i++)
		out[i] = in[from[i]];
}

uint64_t gpt_head_len(uint32_t sector_len)
{
	return 2 * (uint64_t)sector_len + ENTRIES_LEN;
}

uint64_t gpt_tail_len(uint32_t sector_len)
{
	return sector_len + (uint64_t)ENTRIES_LEN;
}

/* ---- names ---- */

static int encode_name(const char *name, le16 out[GPT_NAME_UNITS])
{
	size_t at = 0, len = strlen(name), n;

	for (uint32_t c; len > 0; name += n, len -= n) {
		n = utf8_decode(name, len, &c);
		if (n == 0)
			return -EINVAL;
		if (at + (c > 0xFFFF ? 2 : 1) > GPT_NAME_UNITS)
			return -EINVAL;
		if (c > 0xFFFF) {
			out[at++] = le16_of((uint16_t)(0xD800 + ((c - 0x10000) >> 10)));
			c = 0xDC00 + ((c - 0x10000) & 0x3FF);
		}
		out[at++] = le16_of((uint16_t)c);
	}
	return 0;
}

/* A unit gives at most 3 bytes, a pair 4: GPT_NAME_LEN is enough. */
static void decode_name(const le16 in[GPT_NAME_UNITS], char out[GPT_NAME_LEN])
{
	for (size_t i = 0; i < GPT_NAME_UNITS && le16_get(in[i]) != 0; i++) {
		uint32_t c = le16_get(in[i]);
		uint32_t low = i + 1 < GPT_NAME_UNITS ? le16_get(in[i + 1]) : 0;

		if (c >= 0xD800 && c < 0xDC00 && low >= 0xDC00 && low < 0xE000) {
			c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
			i++;
		} else if (c >= 0xD800 && c < 0xE000) {
			c = REPLACEMENT;
		}
		out += utf8_encode(c, out);
	}
	*out = '\0';
}

/* ---- rules that hold for what we write and for what we read ---- */

static int compare_first(const void *a, const void *b)
{
	const struct gpt_part *x = *(const struct gpt_part *const *)a;
	const struct gpt_part *y = *(const struct gpt_part *const *)b;

	return (x->first_lba > y->first_lba) - (x->first_lba < y->first_lba);
}

/* Every partition in the usable range, none over another. err: whose mistake it is. */
static int check_parts(const struct gpt *t, const char *where, int err, struct diag *d)
{
	const struct gpt_part *part[GPT_MAX_PARTS];

	for (uint32_t i = 0; i < t->part_cnt; i++) {
		const struct gpt_part *p = part[i] = &t->part[i];

		if (p->first_lba > p->last_lba || p->first_lba < t->first_usable_lba ||
		    p->last_lba > t->last_usable_lba)
			return diag_set(d, err,
			                "%s: partition %" PRIu32 " has LBA %" PRIu64 " to %" PRIu64
			                ", not within the usable %" PRIu64 " to %" PRIu64,
			                where, p->number, p->first_lba, p->last_lba,
			                t->first_usable_lba, t->last_usable_lba);
	}
	qsort(part, t->part_cnt, sizeof(part[0]), compare_first);
	for (uint32_t i = 1; i < t->part_cnt; i++)
		if (part[i]->first_lba <= part[i - 1]->last_lba)
			return diag_set(d, err,
			                "%s: partition %" PRIu32 " starts at LBA %" PRIu64
			                ", inside partition %" PRIu32 " that ends at %" PRIu64,
			                where, part[i]->number, part[i]->first_lba,
			                part[i - 1]->number, part[i - 1]->last_lba);
	return 0;
}

/* ---- writer ---- */

static int check_geometry(const struct gpt *t, struct diag *d)
{
	if (t->sector_len != 512 && t->sector_len != 4096)
		return diag_set(d, -EINVAL,
		                "partition table: sectors of %" PRIu32 " bytes, not 512 or 4096",
		                t->sector_len);
	uint64_t entries = ENTRIES_LEN / t->sector_len;
	if (t->lba_cnt < 2 * entries + 4 || t->first_usable_lba < entries + 2 ||
	    t->last_usable_lba > t->lba_cnt - entries - 2 ||
	    t->last_usable_lba < t->first_usable_lba)
		return diag_set(d, -EINVAL,
		                "partition table: usable LBA %" PRIu64 " to %" PRIu64
		                " leave no room for the table on a disk of %" PRIu64 " sectors",
		                t->first_usable_lba, t->last_usable_lba, t->lba_cnt);
	if (t->part_cnt > GPT_MAX_PARTS)
		return diag_set(d, -EINVAL,
		                "partition table: %" PRIu32 " partitions, at most %d fit",
		                t->part_cnt, GPT_MAX_PARTS);
	for (uint32_t i = 0; i < t->part_cnt; i++)
		if (t->part[i].number >= GPT_MAX_PARTS ||
		    (i > 0 && t->part[i].number <= t->part[i - 1].number))
			return diag_set(d, -EINVAL,
			                "partition table: entry number %" PRIu32 " out of order",
			                t->part[i].number);
	return 0;
}

static int encode_entries(const struct gpt *t, uint8_t out[ENTRIES_LEN], struct diag *d)
{
	memset(out, 0, ENTRIES_LEN);
	for (uint32_t i = 0; i < t->part_cnt; i++) {
		const struct gpt_part *p = &t->part[i];
		struct entry_disk e = { .first_lba = le64_of(p->first_lba),
			                .last_lba = le64_of(p->last_lba),
			                .flags = le64_of(p->flags) };
		char quoted[TEXT_QUOTE_LEN];

		swap_guid(p->type.b, e.type);
		swap_guid(p->id.b, e.id);
		if (encode_name(p->name, e.name) < 0)
			return diag_set(
			        d, -EINVAL,
			        "partition %" PRIu32
			        ": name %s is not UTF-8 of at most %d UTF-16 units",
			        p->number,
			        text_quote(p->name, strlen(p->name), quoted, sizeof(quoted)),
			        GPT_NAME_UNITS);
		memcpy(out + p->number * sizeof(e), &e, sizeof(e));
	}
	return 0;
}

/* UEFI 5.2.3, with the end in CHS as libfdisk has it: FF FF FF whatever the size. */
static void encode_mbr(const struct gpt *t, uint8_t *sector)
{
	static const uint8_t record[8] = { 0, 0, 2, 0, MBR_TYPE_GPT, 0xFF, 0xFF, 0xFF };
	le32 first = le32_of(1);
	le32 cnt = le32_of((uint32_t)MIN(t->lba_cnt - 1, UINT32_MAX));

	memset(sector, 0, t->sector_len);
	memcpy(sector + MBR_RECORD_OFF, record, sizeof(record));
	memcpy(sector + MBR_RECORD_OFF + 8, &first, sizeof(first));
	memcpy(sector + MBR_RECORD_OFF + 12, &cnt, sizeof(cnt));
	sector[MBR_MAGIC_OFF] = 0x55;
	sector[MBR_MAGIC_OFF + 1] = 0xAA;
}

static void encode_header(const struct gpt *t, uint64_t my_lba, uint64_t entries_lba,
                          uint32_t entries_crc, uint8_t *sector)
{
	struct header_disk h = {
		.revision = le32_of(REVISION),
		.header_len = le32_of(sizeof(h)),
		.my_lba = le64_of(my_lba),
		.other_lba = le64_of(my_lba == 1 ? t->lba_cnt - 1 : 1),
		.first_usable_lba = le64_of(t->first_usable_lba),
		.last_usable_lba = le64_of(t->last_usable_lba),
		.entries_lba = le64_of(entries_lba),
		.entry_cnt = le32_of(GPT_MAX_PARTS),
		.entry_len = le32_of(sizeof(struct entry_disk)),
		.entries_crc = le32_of(entries_crc),
	};

	memcpy(h.signature, SIGNATURE, sizeof(h.signature));
	swap_guid(t->disk_id.b, h.disk_id);
	h.header_crc = le32_of(crc32_of(0, &h, sizeof(h)));
	memset(sector, 0, t->sector_len);
	memcpy(sector, &h, sizeof(h));
}

int gpt_encode(const struct gpt *t, void *head, void *tail, struct diag *d)
{
	uint8_t *front = head, *back = tail;
	int r = check_geometry(t, d);

	if (r < 0)
		return r;
	r = check_parts(t, "partition table", -EINVAL, d);
	if (r < 0)
		return r;
	r = encode_entries(t, back, d);
	if (r < 0)
		return r;
	uint32_t crc = crc32_of(0, back, ENTRIES_LEN);

	encode_mbr(t, front);
	encode_header(t, 1, 2, crc, front + t->sector_len);
	memcpy(front + 2 * (size_t)t->sector_len, back, ENTRIES_LEN);
	encode_header(t, t->lba_cnt - 1, t->lba_cnt - 1 - ENTRIES_LEN / t->sector_len, crc,
	              back + ENTRIES_LEN);
	return 0;
}

/* ---- reader ---- */

/* One of the two copies of the table, under one assumption about the sector length. */
struct copy {
	const struct blk *disk;
	char where[80]; /* start of every sentence */
	uint32_t sector_len;
	uint64_t lba_cnt, my_lba;
	struct header_disk header;
};

static bool is_entry_size(uint32_t len)
{
	return len >= sizeof(struct entry_disk) && len <= MAX_ENTRY_LEN && is_power_of_two(len);
}

/* -ENOENT when there is no header at all. Fills in c->header, checked by its CRC only. */
static int read_header(struct copy *c, struct diag *d)
{
	uint8_t sector[4096];
	int r = blk_read(c->disk, c->my_lba * c->sector_len, sector, c->sector_len, NULL);

	if (r < 0)
		return diag_set_errno(d, r, "%s: cannot read the header at LBA %" PRIu64, c->where,
		                      c->my_lba);
	memcpy(&c->header, sector, sizeof(c->header));
	if (memcmp(c->header.signature, SIGNATURE, sizeof(c->header.signature)) != 0)
		return -ENOENT;
	uint32_t len = le32_get(c->header.header_len), stored = le32_get(c->header.header_crc);
	if (len < sizeof(c->header) || len > c->sector_len)
		return diag_set(d, -EUCLEAN, "%s: header of %" PRIu32 " bytes, not %zu to %" PRIu32,
		                c->where, len, sizeof(c->header), c->sector_len);
	memset(sector + offsetof(struct header_disk, header_crc), 0, sizeof(le32));
	uint32_t crc = crc32_of(0, sector, len);
	if (crc != stored)
		return diag_set(d, -EBADMSG,
		                "%s: header has CRC %08" PRIx32 ", but says %08" PRIx32, c->where,
		                crc, stored);
	return 0;
}

static int check_header(const struct copy *c, struct diag *d)
{
	const struct header_disk *h = &c->header;
	uint64_t first = le64_get(h->first_usable_lba), last = le64_get(h->last_usable_lba);

	if (le32_get(h->revision) != REVISION || le32_get(h->reserved) != 0)
		return diag_set(d, -EUCLEAN,
		                "%s: revision %08" PRIx32 " and reserved field %08" PRIx32
		                ", expected %08x and 0",
		                c->where, le32_get(h->revision), le32_get(h->reserved), REVISION);
	if (le64_get(h->my_lba) != c->my_lba)
		return diag_set(d, -EUCLEAN, "%s: found at LBA %" PRIu64 ", but says LBA %" PRIu64,
		                c->where, c->my_lba, le64_get(h->my_lba));
	if (first > last || last >= c->lba_cnt)
		return diag_set(d, -EUCLEAN,
		                "%s: usable LBA %" PRIu64 " to %" PRIu64 " on a disk of %" PRIu64
		                " sectors",
		                c->where, first, last, c->lba_cnt);
	if (first <= c->my_lba && c->my_lba <= last)
		return diag_set(d, -EUCLEAN,
		                "%s: usable LBA %" PRIu64 " to %" PRIu64
		                " include the header's %" PRIu64,
		                c->where, first, last, c->my_lba);
	if (!is_entry_size(le32_get(h->entry_len)) || le32_get(h->entry_cnt) == 0 ||
	    le32_get(h->entry_cnt) > GPT_MAX_ENTRY_CNT)
		return diag_set(d, -EUCLEAN,
		                "%s: %" PRIu32 " entries of %" PRIu32
		                " bytes, not 1 to %d of 128 to %d (a power of two)",
		                c->where, le32_get(h->entry_cnt), le32_get(h->entry_len),
		                GPT_MAX_ENTRY_CNT, MAX_ENTRY_LEN);
	return 0;
}

/* The entries lie beside the usable range, behind LBA 1 and not over the header. */
static int check_entries_place(const struct copy *c, struct diag *d)
{
	const struct header_disk *h = &c->header;
	uint64_t lba = le64_get(h->entries_lba);
	uint64_t len = (uint64_t)le32_get(h->entry_cnt) * le32_get(h->entry_len);
	uint64_t cnt = div_up(len, c->sector_len);
	bool is_inside = range_is_inside(lba, cnt, c->lba_cnt);
	/* in front of the usable range or behind it; then also in front of the last sector */
	bool is_free = is_inside && (lba + cnt <= le64_get(h->first_usable_lba) ||
	                             lba > le64_get(h->last_usable_lba));

	if (lba < 2 || !is_free || (lba <= c->my_lba && c->my_lba < lba + cnt))
		return diag_set(d, -EUCLEAN,
		                "%s: %" PRIu64 " sectors of entries at LBA %" PRIu64
		                " do not lie beside the usable LBA %" PRIu64 " to %" PRIu64
		                " of %" PRIu64 " sectors",
		                c->where, cnt, lba, le64_get(h->first_usable_lba),
		                le64_get(h->last_usable_lba), c->lba_cnt);
	return 0;
}

static int read_entries(const struct copy *c, uint8_t **out, struct diag *d)
{
	/* both bounded by check_header(): at most 4 MiB */
	size_t len = (size_t)le32_get(c->header.entry_cnt) * le32_get(c->header.entry_len);
	scoped_free uint8_t *entries = malloc(len);

	if (!entries)
		return diag_set(d, -ENOMEM, "%s: no memory for %zu bytes of entries", c->where,
		                len);
	int r = blk_read(c->disk, le64_get(c->header.entries_lba) * c->sector_len, entries, len,
	                 NULL);
	if (r < 0)
		return diag_set_errno(d, r, "%s: cannot read the entries at LBA %" PRIu64, c->where,
		                      le64_get(c->header.entries_lba));
	uint32_t crc = crc32_of(0, entries, len), stored = le32_get(c->header.entries_crc);
	if (crc != stored)
		return diag_set(d, -EBADMSG,
		                "%s: entries have CRC %08" PRIx32
		                ", but the header says %08" PRIx32,
		                c->where, crc, stored);
	*out = take_ptr(entries);
	return 0;
}

static int decode_entries(const struct copy *c, const uint8_t *entries, struct gpt *out,
                          struct diag *d)
{
	static const uint8_t unused[16];
	size_t stride = le32_get(c->header.entry_len);

	for (uint32_t i = 0; i < le32_get(c->header.entry_cnt); i++) {
		struct entry_disk e;

		memcpy(&e, entries + i * stride, sizeof(e));
		if (memcmp(e.type, unused, sizeof(unused)) == 0)
			continue;
		if (out->part_cnt == GPT_MAX_PARTS)
			return diag_set(d, -EOPNOTSUPP, "%s: more than %d partitions", c->where,
			                GPT_MAX_PARTS);
		struct gpt_part *p = &out->part[out->part_cnt++];
		p->number = i;
		p->first_lba = le64_get(e.first_lba);
		p->last_lba = le64_get(e.last_lba);
		p->flags = le64_get(e.flags);
		swap_guid(e.type, p->type.b);
		swap_guid(e.id, p->id.b);
		decode_name(e.name, p->name);
	}
	return check_parts(out, c->where, -EUCLEAN, d);
}

static int read_copy(struct copy *c, struct gpt *out, struct diag *d)
{
	scoped_free uint8_t *entries = NULL;
	int r = read_header(c, d);

	if (r == 0)
		r = check_header(c, d);
	if (r == 0)
		r = check_entries_place(c, d);
	if (r == 0)
		r = read_entries(c, &entries, d);
	if (r < 0)
		return r;
	memset(out, 0, sizeof(*out));
	out->sector_len = c->sector_len;
	out->lba_cnt = c->lba_cnt;
	out->first_usable_lba = le64_get(c->header.first_usable_lba);
	out->last_usable_lba = le64_get(c->header.last_usable_lba);
	out->from_backup = c->my_lba != 1;
	swap_guid(c->header.disk_id, out->disk_id.b);
	return decode_entries(c, entries, out, d);
}

static int try_copy(const struct blk *disk, uint32_t sector_len, bool is_backup, struct gpt *out,
                    struct diag *d)
{
	struct copy c = { .disk = disk,
		          .sector_len = sector_len,
		          .lba_cnt = blk_size(disk) / sector_len };

	c.my_lba = is_backup ? c.lba_cnt - 1 : 1;
	if (c.lba_cnt < 3)
		return -ENOENT;
	snprintf(c.where, sizeof(c.where), "%s partition table (%" PRIu32 "-byte sectors)",
	         is_backup ? "backup" : "primary", sector_len);
	return read_copy(&c, out, d);
}

/*
 * All places where a header may be, most trusted first. The first failure is the one to tell: a
 * backup that is absent too says nothing about what is wrong with the primary.
 */
int gpt_read(const struct blk *disk, struct gpt *out, struct diag *d)
{
	bool is_4096 = blk_sector_len(disk) == 4096;
	uint32_t sector_len[2] = { is_4096 ? 4096 : 512, is_4096 ? 512 : 4096 };
	struct diag first = DIAG_INIT;
	scoped_free struct gpt *t = malloc(sizeof(*t));

	if (!t)
		return diag_set(d, -ENOMEM, "%s: no memory for a partition table", blk_name(disk));
	for (unsigned i = 0; i < 4; i++) {
		struct diag this = DIAG_INIT;
		int r = try_copy(disk, sector_len[i % 2], i >= 2, t, &this);

		if (r == 0) {
			*out = *t;
			return 0;
		}
		if (r == -ENOMEM || (r != -ENOENT && first.err == 0))
			first = this;
		if (r == -ENOMEM)
			break;
	}
	if (first.err == 0)
		return diag_set(d, -ENOENT, "%s: no GUID partition table", blk_name(disk));
	return diag_set(d, first.err, "%s: %s", blk_name(disk), first.text);
}
