/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of the partitions (systemd-repart's rules for minima and maxima), whether a disk of a
 * given length holds image and tree, and the smallest disk that does.
 */
#include "disk_space.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#define GRAIN             4096
#define DEFAULT_MIN_LEN   (10 * MIB) /* without SizeMinBytes, where no small one is allowed */
#define SIGNATURE_LEN     16384      /* of a partition whose type says that it is a signature */
#define EROFS_BLOCK_LEN   4096
#define MAX_SEARCH_ROUNDS 100000

/* ---- bounds ---- */

/* The four size keys are rounded when they are read; the direction depends on the release. */
static uint64_t round_key(uint64_t len, bool down)
{
	return down ? round_down(len, GRAIN) : round_up(len, GRAIN);
}

struct key_sizes {
	uint64_t min, max, padding_min, padding_max; /* DEFINITION_SIZE_UNSET where not given */
};

static int round_keys(const struct definition *def, const struct compat *compat,
                      struct key_sizes *out, struct diag *d)
{
	bool down = compat->round_min_down;
	const uint64_t unset = DEFINITION_SIZE_UNSET;
	struct key_sizes k = {
		.min = def->size_min == unset ? unset : round_key(def->size_min, down),
		.max = def->size_max == unset ? unset : round_key(def->size_max, !down),
		.padding_min =
		        def->padding_min == unset ? unset : round_key(def->padding_min, down),
		.padding_max =
		        def->padding_max == unset ? unset : round_key(def->padding_max, !down),
	};

	if (k.min != unset && k.max != unset && k.min > k.max)
		return diag_set(d, -EINVAL,
		                "%s: SizeMinBytes= is larger than SizeMaxBytes=", def->file);
	if (k.padding_min != unset && k.padding_max != unset && k.padding_min > k.padding_max)
		return diag_set(d, -EINVAL,
		                "%s: PaddingMinBytes= is larger than PaddingMaxBytes=", def->file);
	*out = k;
	return 0;
}

static bool is_signature_type(const struct definition *def)
{
	enum gpt_role role = gpt_type_role(&def->type);

	return role == GPT_ROLE_ROOT_VERITY_SIG || role == GPT_ROLE_USR_VERITY_SIG;
}

/*
 * content_len is the length of what is copied into a partition with Minimize=, 0 for others.
 */
static void set_bounds(struct allocate_part *part, const struct definition *def,
                       const struct key_sizes *k, uint64_t content_len, const struct compat *compat)
{
	const uint64_t unset = DEFINITION_SIZE_UNSET;
	uint64_t min = k->min;

	if (min == unset)
		min = compat->small_read_only_min ? GRAIN : DEFAULT_MIN_LEN;
	min = MAX(MAX(min, (uint64_t)GRAIN), round_up(content_len, GRAIN));
	min = round_up(min, GRAIN);
	part->len = (struct allocate_bounds){
		.min = min,
		.max = k->max == unset ? ALLOCATE_NO_MAX : MAX(k->max, min),
		.weight = def->weight,
	};
	if (is_signature_type(def))
		part->len.min = part->len.max = SIGNATURE_LEN;
	part->padding = (struct allocate_bounds){
		.min = k->padding_min == unset ? 0 : k->padding_min,
		.max = k->padding_max == unset ? ALLOCATE_NO_MAX : k->padding_max,
		.weight = def->padding_weight,
	};
}

/* Bytes of superblock and tree over data_len bytes. */
static int area_len(const struct verity_params *verity, uint64_t data_len, uint64_t *out,
                    struct diag *d)
{
	struct verity_params p = *verity;
	struct verity_geometry g;

	p.data_blk_cnt = div_up(data_len, p.data_block_len);
	int r = verity_geometry_init(&g, &p, d);
	if (r < 0)
		return r;
	*out = verity_tree_off(&p) + g.tree_len;
	return 0;
}

/*
 * A hash partition without a minimum of its own is made large enough for the largest data partition
 * (256.8+), if its own maximum allows that. repart counts a tree block even over a single data
 * block.
 */
static int set_hash_min(const struct disk_space *s, struct key_sizes *hash, struct diag *d)
{
	struct key_sizes data;
	uint64_t len;
	int r = round_keys(&s->defs->v[s->defs->data], s->opt->compat, &data, d);

	if (r < 0 || hash->min != DEFINITION_SIZE_UNSET || data.max == DEFINITION_SIZE_UNSET)
		return r;
	r = area_len(&s->verity, MAX(data.max, s->verity.data_block_len + 1), &len, d);
	if (r == 0 && len <= hash->max)
		hash->min = len;
	return r;
}

static int set_part_bounds(struct disk_space *s, size_t i, struct diag *d)
{
	const struct definition *def = &s->defs->v[i];
	uint64_t content_len = 0;
	struct key_sizes k;
	int r = round_keys(def, s->opt->compat, &k, d);

	if (r == 0 && i == s->defs->hash)
		r = set_hash_min(s, &k, d);
	if (r == 0 && def->minimize && i == s->defs->data)
		content_len = s->image_len;
	if (r == 0 && def->minimize && i == s->defs->hash)
		r = area_len(&s->verity, s->image_len, &content_len, d);
	if (r < 0)
		return r;
	set_bounds(&s->part[i], def, &k, content_len, s->opt->compat);
	if (s->part[i].len.min > ALLOCATE_MAX_LEN)
		return diag_set(d, -EINVAL, "%s: a partition of %" PRIu64 " bytes", def->file,
		                s->part[i].len.min);
	return 0;
}

/* ---- block sizes ---- */

/* What systemd-repart calls the file system sector size of a partition. */
static uint64_t fs_sector_len(const struct disk_space *s, size_t i)
{
	uint64_t len = s->defs->v[i].fs_sector_len;

	return MAX(len ? len : s->opt->fs_sector_len, (uint64_t)s->opt->sector_len);
}

static int set_block_sizes(struct disk_space *s, struct diag *d)
{
	const struct definition *data = &s->defs->v[s->defs->data];
	const struct definition *hash = &s->defs->v[s->defs->hash];
	uint64_t sector_len = fs_sector_len(s, s->defs->hash);

	if (s->opt->compat->erofs_block_is_fs_sector &&
	    fs_sector_len(s, s->defs->data) < EROFS_BLOCK_LEN)
		return diag_set(
		        d, -EOPNOTSUPP,
		        "%s: %s makes an EROFS of %" PRIu64
		        "-byte blocks here, mkdisk makes %d; --compat=systemd-258.0, a file "
		        "that is then copied to the device, or FileSystemSectorSize=4096 in "
		        "the definitions are the ways out",
		        data->file, s->opt->compat->systemd_name, fs_sector_len(s, s->defs->data),
		        EROFS_BLOCK_LEN);
	s->verity = (struct verity_params){
		.alg = HASH_SHA256,
		.hash_type = 1,
		.data_block_len =
		        (uint32_t)(hash->verity_data_block_len ? hash->verity_data_block_len
		                                               : sector_len),
		.hash_block_len =
		        (uint32_t)(hash->verity_hash_block_len ? hash->verity_hash_block_len
		                                               : sector_len),
	};
	return 0;
}

int disk_space_init(struct disk_space *s, const struct definitions *defs,
                    const struct disk_plan_options *opt, uint64_t image_len, struct diag *d)
{
	*s = (struct disk_space){ .defs = defs, .opt = opt, .image_len = image_len };
	int r = set_block_sizes(s, d);
	if (r < 0)
		return r;
	if (image_len == 0 || image_len % EROFS_BLOCK_LEN != 0 || image_len > DISK_SPACE_MAX_LEN)
		return diag_set(d, -EINVAL,
		                "an image of %" PRIu64 " bytes is not a whole number of blocks",
		                image_len);
	if (opt->coverage == DISK_COVER_FILESYSTEM || defs->v[defs->data].minimize)
		s->tree_covers = image_len;
	for (size_t i = 0; i < defs->cnt && r == 0; i++)
		r = set_part_bounds(s, i, d);
	return r;
}

/* ---- one disk ---- */

/* What sgdisk or libfdisk writes into the header, and the free area between. */
static void set_usable(const struct disk_space *s, uint64_t disk_len, struct disk_layout *out)
{
	uint32_t sector_len = s->opt->sector_len;
	/* libfdisk aligns to 1 MiB where the disk is larger than four times that */
	uint64_t aligned = MIB / sector_len;

	out->lba_cnt = disk_len / sector_len;
	out->first_usable_lba = gpt_head_len(sector_len) / sector_len;
	out->last_usable_lba = out->lba_cnt - gpt_tail_len(sector_len) / sector_len - 1;
	if (s->opt->table_by_repart && out->lba_cnt > 4 * aligned)
		out->first_usable_lba = aligned;
}

enum disk_space_verdict disk_space_lay_out(const struct disk_space *s, uint64_t disk_len,
                                           struct disk_layout *out)
{
	uint32_t sector_len = s->opt->sector_len;
	struct allocate_outcome outcome;
	const struct allocate_place *data = &out->place[s->defs->data];

	assert(disk_len <= DISK_SPACE_MAX_LEN);
	if (disk_len < gpt_head_len(sector_len) + gpt_tail_len(sector_len) + GRAIN)
		return DISK_SPACE_NO_PARTITIONS;
	set_usable(s, disk_len, out);
	struct allocate_area area = {
		.start = round_up(out->first_usable_lba * sector_len, GRAIN),
		.end = round_down((out->last_usable_lba + 1) * sector_len, GRAIN),
		.grain = GRAIN,
		.leftover_to_padding = s->opt->compat->leftover_to_padding,
	};
	if (!allocate(&area, s->part, s->defs->cnt, out->place, &outcome))
		return DISK_SPACE_NO_PARTITIONS;
	out->minima_cnt = outcome.minima_cnt;
	if (data->len < s->image_len)
		return DISK_SPACE_NO_IMAGE;
	out->verity = s->verity;
	out->verity.data_blk_cnt =
	        (s->tree_covers ? s->tree_covers : data->len) / s->verity.data_block_len;
	if (verity_geometry_init(&out->geometry, &out->verity, NULL) < 0 ||
	    verity_tree_off(&out->verity) + out->geometry.tree_len > out->place[s->defs->hash].len)
		return DISK_SPACE_NO_TREE;
	return DISK_SPACE_FITS;
}

/* ---- the smallest disk ---- */

/*
 * Lengths count steps here. In a range of disks whose minima bind the same partitions
 * (allocate.h), a longer disk gives no partition less, so that halving finds the first disk with
 * given lengths. There are few such ranges, one behind the other.
 */
struct range {
	const struct disk_space *s;
	uint64_t first, end; /* end is not in it */
};

#define MAX_STEP (DISK_SPACE_MAX_LEN / DISK_SPACE_STEP)

/* What a disk must give; a question that longer disks of the same range answer yes if it does. */
struct wanted {
	uint64_t data_len, hash_len; /* at least */
	size_t minima_cnt;           /* at most */
};

static bool gives(const struct disk_space *s, uint64_t step, const struct wanted *w)
{
	struct disk_layout l;

	return disk_space_lay_out(s, step * DISK_SPACE_STEP, &l) != DISK_SPACE_NO_PARTITIONS &&
	       l.place[s->defs->data].len >= w->data_len &&
	       l.place[s->defs->hash].len >= w->hash_len && l.minima_cnt <= w->minima_cnt;
}

/* The first disk of the range that gives what is wanted; range->end when none does. */
static uint64_t find_first(const struct range *range, const struct wanted *w)
{
	uint64_t low = range->first, high = range->end;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;

		if (gives(range->s, mid, w))
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/*
 * The first disk of the range that fits, or its end. A longer disk may need a longer tree: from the
 * first that holds the image, to the first that holds the tree over that one's data partition, and
 * so on until nothing is missing. No disk in between fits, since none holds the tree that it needs
 * at least.
 */
static int find_fitting(struct range range, uint64_t *out, struct diag *d)
{
	struct wanted w = { .data_len = range.s->image_len, .minima_cnt = SIZE_MAX };
	struct disk_layout l;

	for (unsigned round = 0; round < MAX_SEARCH_ROUNDS; round++) {
		range.first = find_first(&range, &w);
		*out = range.first;
		if (range.first == range.end ||
		    disk_space_lay_out(range.s, range.first * DISK_SPACE_STEP, &l) ==
		            DISK_SPACE_FITS)
			return 0;
		w.hash_len = verity_tree_off(&l.verity) + l.geometry.tree_len;
	}
	return diag_set(d, -EOPNOTSUPP, "the smallest disk was not found; give its size");
}

static int refuse_all_sizes(const struct disk_space *s, struct diag *d)
{
	static const char *const why[] = {
		[DISK_SPACE_FITS] = "",
		[DISK_SPACE_NO_PARTITIONS] = "the minimum sizes are too large",
		[DISK_SPACE_NO_IMAGE] = "the data partition never holds the image",
		[DISK_SPACE_NO_TREE] = "the hash partition never holds the hash tree",
	};
	struct disk_layout l;

	return diag_set(d, -ENOSPC,
	                "no disk is large enough for an image of %" PRIu64
	                " bytes with these definitions: %s",
	                s->image_len, why[disk_space_lay_out(s, DISK_SPACE_MAX_LEN, &l)]);
}

int disk_space_min_len(const struct disk_space *s, uint64_t *out, struct diag *d)
{
	const struct range all = { .s = s, .first = 1, .end = MAX_STEP + 1 };
	const struct wanted any = { .minima_cnt = SIZE_MAX };
	struct range range = { .s = s, .first = find_first(&all, &any) };

	while (range.first < all.end) {
		struct range behind = { .s = s, .first = range.first, .end = all.end };
		struct disk_layout l;
		uint64_t step;

		disk_space_lay_out(s, range.first * DISK_SPACE_STEP, &l);
		struct wanted fewer = { .minima_cnt = l.minima_cnt - 1 };
		range.end = l.minima_cnt > 0 ? find_first(&behind, &fewer) : all.end;
		int r = find_fitting(range, &step, d);
		if (r < 0)
			return r;
		if (step < range.end) {
			*out = step * DISK_SPACE_STEP;
			return 0;
		}
		range.first = range.end;
	}
	return refuse_all_sizes(s, d);
}
