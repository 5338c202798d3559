/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repart.d definitions: the input is up to eight files with a form feed between them. Definitions
 * that are accepted are planned too, on disks of several lengths, since their sizes come from
 * outside as much as their syntax.
 */
#include "disk_plan.h"
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>

#define MAX_FILES 8
#define SEPARATOR '\f'

static size_t split(const char *text, size_t len, struct conf_text *file)
{
	size_t cnt = 0;

	for (const char *end = text + len; cnt < MAX_FILES; cnt++) {
		const char *stop = memchr(text, SEPARATOR, (size_t)(end - text));

		file[cnt] = (struct conf_text){ .file = "fuzz.conf",
			                        .text = text,
			                        .len = (size_t)((stop ? stop : end) - text) };
		if (!stop)
			return cnt + 1;
		text = stop + 1;
	}
	return cnt;
}

static void check_definitions(const struct definitions *defs)
{
	FUZZ_MUST(defs->cnt >= 2 && defs->cnt <= MAX_FILES);
	FUZZ_MUST(defs->data < defs->cnt && defs->hash < defs->cnt && defs->data != defs->hash);
	FUZZ_MUST(defs->signature == SIZE_MAX || defs->signature < defs->cnt);
	for (size_t i = 0; i < defs->cnt; i++) {
		const struct definition *def = &defs->v[i];

		FUZZ_MUST(def->type_name && !uuid_is_null(&def->type));
		FUZZ_MUST(def->size_min <= DEFINITION_SIZE_MAX ||
		          def->size_min == DEFINITION_SIZE_UNSET);
		FUZZ_MUST(def->size_max <= DEFINITION_SIZE_MAX ||
		          def->size_max == DEFINITION_SIZE_UNSET);
		for (size_t k = 0; k < def->copy_cnt; k++) {
			FUZZ_MUST(def->copy[k].source[0] == '/' && def->copy[k].target[0] == '/');
			FUZZ_MUST(!strstr(def->copy[k].target, "/../"));
		}
	}
}

/* What disk_plan.h promises of every plan. */
static void check_plan(const struct disk_plan *p, uint64_t image_len)
{
	uint64_t end = 0;

	FUZZ_MUST(p->region_cnt > 0 && p->region_cnt <= DISK_MAX_REGIONS);
	for (size_t i = 0; i < p->region_cnt; i++) {
		const struct disk_region *r = &p->region[i];

		FUZZ_MUST(r->off == end && r->len > 0);
		FUZZ_MUST(add_u64(r->off, r->len, &end));
		FUZZ_MUST(r->kind != DISK_REGION_IMAGE || r->len == image_len);
		FUZZ_MUST(r->kind != DISK_REGION_TREE || r->len == p->geometry.tree_len);
	}
	FUZZ_MUST(end == p->disk_len);
	FUZZ_MUST(p->covered_len >= image_len);
	for (size_t i = 0; i < p->part_cnt; i++)
		FUZZ_MUST(range_is_inside(p->part[i].off, p->part[i].len, p->disk_len));
}

static bool is_refusal(int r)
{
	return r == -EINVAL || r == -EOPNOTSUPP || r == -ENOSPC;
}

static void plan(const struct definitions *defs, const struct disk_plan_options *opt,
                 uint64_t image_len)
{
	static const struct uuid seed = { { 1, 2, 3 } };
	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));
	scoped_free struct disk_identity *id = calloc(1, sizeof(*id));
	struct diag d = DIAG_INIT;
	uint64_t disk_len = 0;
	int r;

	FUZZ_MUST(p && id);
	r = disk_identity_init(id, defs, &seed, &d);
	FUZZ_MUST(r == 0 || is_refusal(r));
	if (r)
		return;
	r = disk_plan_min_len(defs, id, opt, image_len, &disk_len, &d);
	FUZZ_MUST(r == 0 || (is_refusal(r) && d.err == r && d.text[0]));
	if (r)
		return;
	FUZZ_MUST(disk_plan_repart(defs, id, opt, disk_len, image_len, p, &d) == 0);
	check_plan(p, image_len);
	for (unsigned shift = 0; shift < 63; shift += 9) {
		r = disk_plan_repart(defs, id, opt, UINT64_C(1) << shift, image_len, p, &d);
		FUZZ_MUST(r == 0 || (is_refusal(r) && d.err == r && d.text[0]));
		if (r == 0)
			check_plan(p, image_len);
	}
}

static void plan_all(const struct definitions *defs)
{
	static const uint64_t image_len[] = { 4096, 300 * 4096, UINT64_C(1) << 40 };
	struct compat compat;

	FUZZ_MUST(compat_parse(NULL, COMPAT_REPART, &compat, NULL) == 0);
	for (unsigned i = 0; i < 2 * ARRAY_LEN(image_len); i++) {
		struct disk_plan_options opt = { .sector_len = i % 2 ? 4096 : 512,
			                         .fs_sector_len = 4096,
			                         .table_by_repart = i % 3 == 0,
			                         .disk_id = { { 7 } },
			                         .compat = &compat };

		plan(defs, &opt, image_len[i / 2]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* exactly as long as the input, also when that is nothing */
	scoped_free char *text = malloc(len ? len : 1);
	scoped(definitions) struct definitions *defs = NULL;
	struct conf_text file[MAX_FILES];
	struct diag d = DIAG_INIT;
	int r;

	FUZZ_MUST(text);
	if (len)
		memcpy(text, data, len);
	r = definitions_parse_text(file, split(text, len, file), &defs, &d);
	FUZZ_MUST(r == 0 || ((r == -EINVAL || r == -EOPNOTSUPP) && d.err == r && d.text[0]));
	FUZZ_MUST((r == 0) == (defs != NULL));
	if (r == 0) {
		check_definitions(defs);
		plan_all(defs);
	}
	return 0;
}
