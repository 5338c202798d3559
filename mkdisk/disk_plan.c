/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts together where everything lies: the partition table from identity and space, the regions
 * that cover the disk, and the flat layout. How much room a partition gets is disk_space.c's, names
 * and GUIDs are disk_identity.c's.
 */
#include "disk_plan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "disk_space.h"

/* ---- partition table ---- */

static bool is_of_file_system(enum gpt_role role)
{
	return role == GPT_ROLE_ROOT || role == GPT_ROLE_USR || role == GPT_ROLE_HOME ||
	       role == GPT_ROLE_SRV || role == GPT_ROLE_VAR || role == GPT_ROLE_TMP ||
	       role == GPT_ROLE_XBOOTLDR;
}

static bool is_of_hash(enum gpt_role role)
{
	return role == GPT_ROLE_ROOT_VERITY || role == GPT_ROLE_USR_VERITY;
}

static bool is_of_signature(enum gpt_role role)
{
	return role == GPT_ROLE_ROOT_VERITY_SIG || role == GPT_ROLE_USR_VERITY_SIG;
}

static void set_flag(uint64_t *flags, uint64_t bit, bool on)
{
	*flags = on ? *flags | bit : *flags & ~bit;
}

/*
 * Flags=, and the three keys for types that know them: a type that does not ignores the key, as
 * systemd does. Verity partitions are read-only unless the definition says otherwise.
 */
static int part_flags(const struct definition *def, uint64_t *out, struct diag *d)
{
	enum gpt_role role = gpt_type_role(&def->type);
	bool knows_read_only = is_of_file_system(role) || is_of_hash(role) || is_of_signature(role);
	bool knows_no_auto = is_of_file_system(role) || is_of_hash(role) || role == GPT_ROLE_SWAP;
	bool is_verity = is_of_hash(role) || is_of_signature(role) ||
	                 def->verity == DEFINITION_VERITY_DATA ||
	                 def->verity == DEFINITION_VERITY_SIGNATURE;
	int read_only = def->read_only < 0 && is_verity ? 1 : def->read_only;
	uint64_t flags = def->flags;

	/* systemd-repart sets the flag in spite of the key */
	if (is_of_file_system(role) && read_only <= 0 && def->grow_fs == 0)
		return diag_set(d, -EOPNOTSUPP,
		                "%s: GrowFileSystem=no has no effect on a writable %s partition",
		                def->file, def->type_name);
	if (knows_no_auto && def->no_auto >= 0)
		set_flag(&flags, GPT_FLAG_NO_AUTO, def->no_auto);
	if (knows_read_only && read_only >= 0)
		set_flag(&flags, GPT_FLAG_READ_ONLY, read_only);
	if (is_of_file_system(role) && (read_only <= 0 || def->grow_fs >= 0))
		set_flag(&flags, GPT_FLAG_GROW_FS, read_only <= 0 || def->grow_fs);
	*out = flags;
	return 0;
}

static int set_table(struct disk_plan *p, const struct disk_space *s, const struct disk_layout *l,
                     const struct disk_identity *id, struct diag *d)
{
	struct gpt *t = &p->table;

	t->sector_len = s->opt->sector_len;
	t->lba_cnt = l->lba_cnt;
	t->first_usable_lba = l->first_usable_lba;
	t->last_usable_lba = l->last_usable_lba;
	t->disk_id = s->opt->table_by_repart ? id->disk_id : s->opt->disk_id;
	t->part_cnt = (uint32_t)p->part_cnt;
	for (size_t i = 0; i < p->part_cnt; i++) {
		struct gpt_part *part = &t->part[i];
		int r = part_flags(&s->defs->v[i], &part->flags, d);

		if (r < 0)
			return r;
		part->number = (uint32_t)i;
		part->type = s->defs->v[i].type;
		part->id = id->part_id[i];
		part->first_lba = p->part[i].off / t->sector_len;
		part->last_lba = (p->part[i].off + p->part[i].len) / t->sector_len - 1;
		memcpy(part->name, id->label[i], sizeof(part->name));
		p->id_from_root[i] = id->id_from_root[i];
	}
	return 0;
}

/* ---- regions ---- */

/* Each region starts where the one before ended; empty ones are left out. */
static void add_region(struct disk_plan *p, uint64_t end, enum disk_region_kind kind,
                       const char *what)
{
	uint64_t off = 0;

	if (p->region_cnt > 0) {
		const struct disk_region *last = &p->region[p->region_cnt - 1];

		off = last->off + last->len;
	}
	assert(off <= end && p->region_cnt < DISK_MAX_REGIONS);
	if (end > off)
		p->region[p->region_cnt++] = (struct disk_region){
			.off = off, .len = end - off, .kind = kind, .what = what
		};
}

static void add_verity_regions(struct disk_plan *p)
{
	add_region(p, p->tree_off, DISK_REGION_SUPERBLOCK, "verity superblock");
	add_region(p, p->tree_off + p->geometry.tree_len, DISK_REGION_TREE, "hash tree");
}

static void add_regions(struct disk_plan *p, const struct definitions *defs)
{
	uint64_t sectors_end = p->table.lba_cnt * p->table.sector_len;

	add_region(p, gpt_head_len(p->table.sector_len), DISK_REGION_TABLE, "primary GPT");
	for (size_t i = 0; i < p->part_cnt; i++) {
		uint64_t end = p->part[i].off + p->part[i].len;

		add_region(p, p->part[i].off, DISK_REGION_ZERO, "unused");
		if (i == defs->data) {
			add_region(p, p->image_off + p->image_len, DISK_REGION_IMAGE,
			           "EROFS image");
			add_region(p, end, DISK_REGION_ZERO, "rest of the data partition");
		} else if (i == defs->hash) {
			add_verity_regions(p);
			add_region(p, end, DISK_REGION_ZERO, "rest of the hash partition");
		} else {
			add_region(p, end, DISK_REGION_ZERO, "signature partition");
		}
	}
	add_region(p, sectors_end - gpt_tail_len(p->table.sector_len), DISK_REGION_ZERO, "unused");
	add_region(p, sectors_end, DISK_REGION_TABLE, "backup GPT");
	add_region(p, p->disk_len, DISK_REGION_ZERO, "behind the last sector");
}

/* ---- plans ---- */

static int refuse_disk(const struct disk_space *s, uint64_t disk_len,
                       enum disk_space_verdict verdict, const struct disk_layout *l, struct diag *d)
{
	uint64_t enough;
	int r = disk_space_min_len(s, &enough, d);

	if (r < 0)
		return diag_prefix(d, r, "a disk of %" PRIu64 " bytes is not enough", disk_len);
	if (verdict == DISK_SPACE_NO_IMAGE)
		return diag_set(d, -ENOSPC,
		                "a disk of %" PRIu64 " bytes has a data partition of %" PRIu64
		                " for an image of %" PRIu64 "; %" PRIu64 " bytes are enough",
		                disk_len, l->place[s->defs->data].len, s->image_len, enough);
	if (verdict == DISK_SPACE_NO_TREE)
		return diag_set(d, -ENOSPC,
		                "a disk of %" PRIu64 " bytes has a hash partition of %" PRIu64
		                " for superblock and tree of %" PRIu64 "; a disk of %" PRIu64
		                " bytes fits",
		                disk_len, l->place[s->defs->hash].len,
		                verity_tree_off(&l->verity) + l->geometry.tree_len, enough);
	return diag_set(d, -ENOSPC,
	                "a disk of %" PRIu64
	                " bytes is smaller than its partitions together; %" PRIu64
	                " bytes are enough",
	                disk_len, enough);
}

int disk_plan_min_len(const struct definitions *defs, const struct disk_identity *id,
                      const struct disk_plan_options *opt, uint64_t image_len, uint64_t *out,
                      struct diag *d)
{
	struct disk_space s;
	int r = disk_space_init(&s, defs, opt, image_len, d);

	(void)id; /* names cost nothing */
	return r < 0 ? r : disk_space_min_len(&s, out, d);
}

static void set_verity(struct disk_plan *p, const struct disk_layout *l,
                       const struct disk_identity *id)
{
	p->verity = l->verity;
	p->verity.salt_len = sizeof(id->salt);
	memcpy(p->verity.salt, id->salt, sizeof(id->salt));
	p->verity.uuid = id->verity_uuid;
	p->geometry = l->geometry;
	p->covered_len = p->verity.data_blk_cnt * p->verity.data_block_len;
}

int disk_plan_repart(const struct definitions *defs, const struct disk_identity *id,
                     const struct disk_plan_options *opt, uint64_t disk_len, uint64_t image_len,
                     struct disk_plan *out, struct diag *d)
{
	struct disk_space s;
	struct disk_layout l = { 0 };
	int r = disk_space_init(&s, defs, opt, image_len, d);

	if (r < 0)
		return r;
	if (disk_len > DISK_SPACE_MAX_LEN)
		return diag_set(d, -EINVAL, "a disk of %" PRIu64 " bytes is larger than any",
		                disk_len);
	enum disk_space_verdict verdict = disk_space_lay_out(&s, disk_len, &l);
	if (verdict != DISK_SPACE_FITS)
		return refuse_disk(&s, disk_len, verdict, &l, d);

	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));
	if (!p)
		return diag_set(d, -ENOMEM, "out of memory for the disk's plan");
	p->disk_len = disk_len;
	p->has_table = true;
	p->part_cnt = defs->cnt;
	for (size_t i = 0; i < p->part_cnt; i++)
		p->part[i] =
		        (struct disk_part){ l.place[i].off, l.place[i].len, l.place[i].padding };
	r = set_table(p, &s, &l, id, d);
	if (r < 0)
		return r;
	set_verity(p, &l, id);
	p->image_off = p->part[defs->data].off;
	p->image_len = image_len;
	p->hash_off = p->part[defs->hash].off;
	p->tree_off = p->hash_off + verity_tree_off(&p->verity);
	if (defs->signature != SIZE_MAX)
		p->signature_off = p->part[defs->signature].off;
	add_regions(p, defs);
	*out = *p;
	return 0;
}

int disk_plan_flat(uint64_t image_len, const void *salt, size_t salt_len,
                   const struct uuid *verity_uuid, struct disk_plan *out, struct diag *d)
{
	scoped_free struct disk_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return diag_set(d, -ENOMEM, "out of memory for the disk's plan");
	if (image_len == 0 || image_len % 4096 != 0 || image_len > DISK_SPACE_MAX_LEN)
		return diag_set(d, -EINVAL,
		                "an image of %" PRIu64 " bytes is not a whole number of blocks",
		                image_len);
	if (salt_len == 0 || salt_len > HASH_MAX_SALT_LEN)
		return diag_set(d, -EINVAL, "a salt of %zu bytes, not 1 to %d", salt_len,
		                HASH_MAX_SALT_LEN);
	p->verity = (struct verity_params){ .alg = HASH_SHA256,
		                            .hash_type = 1,
		                            .data_block_len = 4096,
		                            .hash_block_len = 4096,
		                            .data_blk_cnt = image_len / 4096,
		                            .salt_len = (uint16_t)salt_len,
		                            .uuid = *verity_uuid };
	memcpy(p->verity.salt, salt, salt_len);
	int r = verity_geometry_init(&p->geometry, &p->verity, d);
	if (r < 0)
		return r;
	p->image_len = p->covered_len = p->hash_off = image_len;
	p->tree_off = p->hash_off + verity_tree_off(&p->verity);
	p->disk_len = p->tree_off + p->geometry.tree_len;
	add_region(p, p->image_len, DISK_REGION_IMAGE, "EROFS image");
	add_verity_regions(p);
	*out = *p;
	return 0;
}

void disk_plan_set_root(struct disk_plan *p, const uint8_t root[32])
{
	for (size_t i = 0; i < p->part_cnt; i++)
		if (p->id_from_root[i] >= 0)
			memcpy(p->table.part[i].id.b, root + 16 * p->id_from_root[i],
			       sizeof(p->table.part[i].id.b));
}
