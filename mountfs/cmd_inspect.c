/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --inspect: what a disk says about itself, and which of it is proven. Without a root hash nothing
 * is, and the file system is not looked into at all: only its claimed length is told.
 *
 * One JSON value is made, and the text for people is made from it, so that they cannot differ.
 */
#include "cmd.h"
#include "layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SUPER_OFF 1024 /* of the EROFS superblock */
#define SUPER_LEN 128

struct inspection {
	const struct options *o;
	struct blk *disk, *hash_disk; /* hash_disk: NULL when it is the disk */
	struct layout layout;
	struct image *img; /* NULL: nothing is proven */
	json_t *out;
};

static void inspection_release(struct inspection *s)
{
	image_close(s->img);
	blk_close(s->hash_disk);
	blk_close(s->disk);
	json_decref(s->out);
}

static void set_number(json_t *object, const char *key, uint64_t v)
{
	json_object_set_new(object, key, json_integer((json_int_t)v));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, json_string(text));
}

static void set_uuid(json_t *object, const char *key, const struct uuid *id)
{
	char text[UUID_TEXT_LEN];

	uuid_format(id, text);
	set_text(object, key, text);
}

/* A part of the answer; everything in it is as much proven as it says. */
static json_t *new_part(const struct inspection *s, const char *key, bool is_proven)
{
	json_t *part = json_object();

	json_object_set_new(part, "proven", json_boolean(is_proven));
	json_object_set(s->out, key, part);
	return part;
}

/* ---- the partition table ---- */

static json_t *describe_partition(const struct inspection *s, const struct gpt *t,
                                  const struct gpt_part *p)
{
	const struct layout *l = &s->layout;
	const char *type = gpt_type_name(&p->type);
	uint64_t off = p->first_lba * t->sector_len;
	json_t *o = json_object();
	char name[TEXT_QUOTE_LEN];

	set_number(o, "number", p->number + 1);
	if (type)
		set_text(o, "type", type);
	else
		set_uuid(o, "type", &p->type);
	set_uuid(o, "uuid", &p->id);
	set_text(o, "label", text_clean(p->name, strlen(p->name), name, sizeof(name)));
	set_number(o, "offset", off);
	set_number(o, "size", (p->last_lba - p->first_lba + 1) * t->sector_len);
	if (l->data.len > 0 && off == l->data.off)
		set_text(o, "holds", "data");
	else if (l->hash.len > 0 && off == l->hash.off)
		set_text(o, "holds", "hash tree");
	return o;
}

static int describe_table(struct inspection *s, struct diag *d)
{
	scoped_free struct gpt *t = calloc(1, sizeof(*t));
	json_t *part, *list;
	int r;

	if (!t)
		return diag_set(d, -ENOMEM, "out of memory");
	r = gpt_read(s->disk, t, d);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	part = new_part(s, "partition_table", false);
	json_object_set_new(part, "from_backup", json_boolean(t->from_backup));
	set_uuid(part, "disk_guid", &t->disk_id);
	set_number(part, "sector_size", t->sector_len);
	list = json_array();
	for (uint32_t i = 0; i < t->part_cnt; i++)
		json_array_append_new(list, describe_partition(s, t, &t->part[i]));
	json_object_set_new(part, "partitions", list);
	json_decref(part);
	return 0;
}

/* ---- the hash tree ---- */

/* As the disk claims, or as the command line says. */
static int claimed_params(const struct inspection *s, struct verity_params *out, struct diag *d)
{
	const struct image_options *io = &s->o->image;
	uint8_t super[VERITY_SUPERBLOCK_LEN];
	int r;

	if (io->no_superblock) {
		*out = io->params;
		out->data_blk_cnt = io->data_blk_cnt ? io->data_blk_cnt
		                                     : s->layout.data.len / out->data_block_len;
		return 0;
	}
	r = s->layout.hash.len < sizeof(super)
	            ? -ENOENT
	            : blk_read(s->hash_disk ? s->hash_disk : s->disk, s->layout.hash.off, super,
	                       sizeof(super), d);
	if (r == 0)
		r = verity_superblock_decode(super, out, d);
	if (r == -ENOENT)
		r = diag_set(d, -EUCLEAN, "%s: no verity superblock at offset %" PRIu64,
		             blk_name(s->disk), s->layout.hash.off);
	return r;
}

static void describe_levels(json_t *part, const struct verity_params *p,
                            const struct verity_geometry *g, uint64_t tree_off)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < g->level_cnt; i++) {
		json_t *level = json_object();

		set_number(level, "level", i);
		set_number(level, "offset", tree_off + g->level_blk[i] * p->hash_block_len);
		set_number(level, "blocks", g->level_blk_cnt[i]);
		json_array_append_new(list, level);
	}
	json_object_set_new(part, "levels", list);
}

static int describe_tree(struct inspection *s, struct diag *d)
{
	bool has_super = !s->o->image.no_superblock;
	uint64_t tree_off = s->layout.hash.off;
	struct verity_geometry g;
	struct verity_params p;
	char hex[2 * HASH_MAX_SALT_LEN + 1];
	json_t *part;
	int r = 0;

	if (s->img)
		p = *vblk_params(image_vblk(s->img));
	else
		r = claimed_params(s, &p, d);
	if (r == 0)
		r = verity_geometry_init(&g, &p, d);
	if (r < 0)
		return r;
	part = new_part(s, "hash_tree", s->img != NULL);
	if (s->img) {
		hex_encode(s->o->image.root, s->o->image.root_len, hex);
		set_text(part, "root_hash", hex);
	}
	if (s->hash_disk)
		set_text(part, "device", blk_name(s->hash_disk));
	if (has_super) {
		set_number(part, "superblock_offset", tree_off);
		set_uuid(part, "unproven_uuid", &p.uuid);
		tree_off += verity_tree_off(&p);
	}
	set_number(part, "tree_offset", tree_off);
	set_number(part, "tree_size", g.tree_len);
	set_text(part, "algorithm", hash_name(p.alg));
	set_number(part, "hash_type", p.hash_type);
	set_number(part, "data_block_size", p.data_block_len);
	set_number(part, "hash_block_size", p.hash_block_len);
	set_number(part, "data_blocks", p.data_blk_cnt);
	hex_encode(p.salt, p.salt_len, hex);
	set_text(part, "salt", hex);
	describe_levels(part, &p, &g, tree_off);
	json_decref(part);
	return 0;
}

/* ---- the file system ---- */

static json_t *describe_features(uint32_t set, const char *const *names, size_t name_cnt)
{
	json_t *list = json_array();

	for (unsigned bit = 0; bit < 32; bit++) {
		char number[16];

		if (!(set >> bit & 1))
			continue;
		snprintf(number, sizeof(number), "0x%" PRIx32, UINT32_C(1) << bit);
		json_array_append_new(
		        list, json_string(bit < name_cnt && names[bit] ? names[bit] : number));
	}
	return list;
}

static void describe_proven_files(const struct inspection *s, json_t *part)
{
	/* as the kernel's erofs_fs.h calls them; what the reader refuses cannot occur */
	static const char *const compat[] = { "sb_chksum", "mtime", "xattr_filter" };
	static const char *const incompat[] = {
		[0] = "zero_padding", [2] = "chunked_file", [6] = "xattr_prefixes", [7] = "48bit"
	};
	const struct erofs_info *info = erofs_get_info(image_erofs(s->img));
	char volume[TEXT_QUOTE_LEN];

	set_number(part, "size", info->blk_cnt * info->block_len);
	set_number(part, "block_size", info->block_len);
	set_number(part, "blocks", info->blk_cnt);
	set_number(part, "inodes", info->inode_cnt);
	set_number(part, "root_inode", info->root_nid);
	set_uuid(part, "uuid", &info->uuid);
	set_text(part, "volume",
	         text_clean(info->volume, strlen(info->volume), volume, sizeof(volume)));
	set_number(part, "epoch", info->epoch);
	json_object_set_new(part, "compatible_features",
	                    describe_features(info->feature_compat, compat, ARRAY_LEN(compat)));
	json_object_set_new(
	        part, "incompatible_features",
	        describe_features(info->feature_incompat, incompat, ARRAY_LEN(incompat)));
}

static int describe_files(struct inspection *s, struct diag *d)
{
	uint8_t super[SUPER_LEN];
	json_t *part;
	uint64_t len = 0;
	int r;

	if (!s->img) {
		if (s->layout.data.len < SUPER_OFF + SUPER_LEN)
			return 0;
		r = blk_read(s->disk, s->layout.data.off + SUPER_OFF, super, sizeof(super), d);
		if (r < 0)
			return r;
		if (erofs_hint_image_len(super, &len) < 0)
			return 0;
	}
	part = new_part(s, "file_system", s->img != NULL);
	set_number(part, "offset", s->layout.data.off);
	if (s->img)
		describe_proven_files(s, part);
	else
		set_number(part, "size", len);
	json_decref(part);
	return 0;
}

/* ---- text ---- */

/* With blanks for underscores. */
static void print_key(const char *key)
{
	for (; *key != '\0'; key++)
		putchar(*key == '_' ? ' ' : *key);
}

static void print_scalar(json_t *v)
{
	if (json_is_integer(v))
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_boolean(v))
		fputs(json_is_true(v) ? "yes" : "no", stdout);
	else
		fputs(json_string_value(v), stdout);
}

/* One element of a list: a word, or an object on a line of its own. */
static void print_element(json_t *v, bool is_first)
{
	if (!json_is_object(v)) {
		fputs(is_first ? " " : ", ", stdout);
		print_scalar(v);
		return;
	}
	fputs("\n   ", stdout);
	for (void *at = json_object_iter(v); at; at = json_object_iter_next(v, at)) {
		putchar(' ');
		print_key(json_object_iter_key(at));
		putchar(' ');
		print_scalar(json_object_iter_value(at));
	}
}

static void print_member(const char *key, json_t *v)
{
	fputs("  ", stdout);
	print_key(key);
	putchar(':');
	for (size_t i = 0; i < json_array_size(v); i++)
		print_element(json_array_get(v, i), i == 0);
	if (!json_is_array(v)) {
		putchar(' ');
		print_scalar(v);
	}
	putchar('\n');
}

static void print_part(const char *name, json_t *part)
{
	print_key(name);
	puts(json_is_true(json_object_get(part, "proven")) ? " (proven)" : " (NOT proven)");
	for (void *at = json_object_iter(part); at; at = json_object_iter_next(part, at))
		if (strcmp(json_object_iter_key(at), "proven") != 0)
			print_member(json_object_iter_key(at), json_object_iter_value(at));
}

static void print_text(json_t *out)
{
	for (void *at = json_object_iter(out); at; at = json_object_iter_next(out, at)) {
		json_t *v = json_object_iter_value(at);

		if (json_is_object(v)) {
			print_part(json_object_iter_key(at), v);
			continue;
		}
		print_key(json_object_iter_key(at));
		fputs(": ", stdout);
		print_scalar(v);
		putchar('\n');
	}
}

/* ---- all of it ---- */

static int open_stores(struct inspection *s, struct diag *d)
{
	int r = blk_open(s->o->arg[0], &s->disk, d);

	if (r == 0 && s->o->image.hash_device)
		r = blk_open(s->o->image.hash_device, &s->hash_disk, d);
	return r;
}

static void describe_disk(struct inspection *s)
{
	char name[TEXT_QUOTE_LEN];
	const char *disk = blk_name(s->disk);

	set_text(s->out, "disk", text_clean(disk, strlen(disk), name, sizeof(name)));
	set_number(s->out, "size", blk_size(s->disk));
	if (s->layout.text[0] != '\0')
		set_text(s->out, "layout", s->layout.text);
}

static int prove(struct inspection *s, struct diag *d)
{
	if (s->o->image.root_len == 0)
		return 0;
	return cmd_open_image(s->o, &s->o->image, &s->img, d);
}

/* Takes one more step: the first one that failed is the result. */
static int also(int (*step)(struct inspection *s, struct diag *d), struct inspection *s, int so_far,
                struct diag *d)
{
	struct diag other = DIAG_INIT;
	int r = step(s, so_far < 0 ? &other : d);

	return so_far < 0 ? so_far : r;
}

/* What can be described is, also when something is in the way. */
static int describe(struct inspection *s, struct diag *d)
{
	int r = layout_find(s->disk, s->hash_disk, &s->o->image, &s->layout, d);
	bool is_found = r == 0;

	describe_disk(s);
	r = also(describe_table, s, r, d);
	if (is_found) {
		r = also(prove, s, r, d);
		r = also(describe_tree, s, r, d);
		r = also(describe_files, s, r, d);
	}
	return r;
}

int cmd_inspect(const struct options *o, struct diag *d)
{
	struct inspection s = { .o = o, .out = json_object() };
	struct diag said = DIAG_INIT;
	int r = s.out ? open_stores(&s, d) : diag_set(d, -ENOMEM, "out of memory");
	int why_not;

	if (r == 0) {
		why_not = describe(&s, &said);
		if (o->json)
			r = cmd_print_json(json_incref(s.out), d);
		else
			print_text(s.out);
		if (r == 0 && why_not < 0)
			r = diag_set(d, why_not, "%s", said.text);
	}
	inspection_release(&s);
	return r;
}
