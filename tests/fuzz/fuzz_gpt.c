/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GUID partition tables: the first half of the input is the start of a disk, the second half its
 * end, with zeros in between. Byte 0 (boot code, which GPT does not use) chooses what is mended
 * first: the CRCs of tables for 512 or for 4096-byte sectors, or nothing.
 */
#include "fuzz.h"
#include "gpt.h"
#include "mend.h"

#include <errno.h>
#include <stdio.h>

#define DISK_LEN (160 * KIB) /* holds a table of ours for either sector size */

enum { LEAVE = 0x01, SECTORS_4096 = 0x02 };

/* What readers are promised about a table that was accepted. */
static void check_table(const struct gpt *t)
{
	FUZZ_MUST(t->sector_len == 512 || t->sector_len == 4096);
	FUZZ_MUST(t->lba_cnt <= DISK_LEN / t->sector_len);
	FUZZ_MUST(t->part_cnt <= GPT_MAX_PARTS);
	for (uint32_t i = 0; i < t->part_cnt; i++) {
		const struct gpt_part *p = &t->part[i];

		FUZZ_MUST(p->first_lba <= p->last_lba && p->last_lba < t->lba_cnt);
		FUZZ_MUST(p->first_lba >= t->first_usable_lba);
		FUZZ_MUST(p->last_lba <= t->last_usable_lba);
		FUZZ_MUST(memchr(p->name, '\0', sizeof(p->name)));
		FUZZ_MUST(i == 0 || p->number > t->part[i - 1].number);
		for (uint32_t k = 0; k < i; k++)
			FUZZ_MUST(p->last_lba < t->part[k].first_lba ||
			          p->first_lba > t->part[k].last_lba);
	}
}

/* What our writer makes of it, our reader reads as the same. */
static void write_and_read(const struct gpt *t)
{
	uint64_t len = t->lba_cnt * t->sector_len;
	uint64_t head_len = gpt_head_len(t->sector_len), tail_len = gpt_tail_len(t->sector_len);
	struct diag d = DIAG_INIT;
	struct blk *b = NULL;
	static struct gpt back;
	uint8_t *disk;

	if (len < head_len + tail_len)
		return;
	disk = calloc(1, len);
	FUZZ_MUST(disk);
	if (gpt_encode(t, disk, disk + len - tail_len, &d) == 0) {
		FUZZ_MUST(blk_of_memory(disk, len, "disk", &b) == 0);
		FUZZ_MUST(gpt_read(b, &back, &d) == 0);
		FUZZ_MUST(back.part_cnt == t->part_cnt && !back.from_backup);
		for (uint32_t i = 0; i < t->part_cnt; i++) {
			FUZZ_MUST(back.part[i].first_lba == t->part[i].first_lba);
			FUZZ_MUST(back.part[i].last_lba == t->part[i].last_lba);
			FUZZ_MUST(uuid_equal(&back.part[i].id, &t->part[i].id));
			FUZZ_MUST(strcmp(back.part[i].name, t->part[i].name) == 0);
		}
		blk_close(b);
	}
	free(disk);
}

static void lay_out(const uint8_t *data, size_t len, uint8_t *disk)
{
	size_t tail_len = MIN(len / 2, DISK_LEN / 2), head_len = MIN(len - len / 2, DISK_LEN / 2);
	size_t sector_len;

	if (len == 0)
		return;
	memcpy(disk, data, head_len);
	memcpy(disk + DISK_LEN - tail_len, data + len - tail_len, tail_len);
	if (disk[0] & LEAVE)
		return;
	sector_len = disk[0] & SECTORS_4096 ? 4096 : 512;
	mend_gpt(disk, DISK_LEN, sector_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *disk = calloc(1, DISK_LEN);
	struct diag d = DIAG_INIT;
	struct blk *b = NULL;
	static struct gpt t;
	int r;

	FUZZ_MUST(disk);
	lay_out(data, len, disk);
	FUZZ_MUST(blk_of_memory(disk, DISK_LEN, "disk", &b) == 0);
	r = gpt_read(b, &t, &d);
	FUZZ_MUST(r == 0 || r == -ENOENT || r == -EBADMSG || r == -EUCLEAN);
	FUZZ_MUST(!r || (d.err == r && d.text[0]));
	if (r == 0) {
		check_table(&t);
		write_and_read(&t);
	}
	blk_close(b);
	free(disk);
	return 0;
}
