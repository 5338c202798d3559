/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build says about itself. Decides the members, their order and their spelling; the numbers
 * come from the plans.
 */
#include "record.h"
#include "hash.h"
#include "json.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- the result ---- */

/* systemd names a partition's node like the kernel: with a 'p' where a digit would touch one. */
static void json_node(struct json *j, const char *disk, size_t number)
{
	size_t len = strlen(disk);
	bool digit = len > 0 && disk[len - 1] >= '0' && disk[len - 1] <= '9';
	char suffix[24];

	snprintf(suffix, sizeof(suffix), "%s%zu", digit ? "p" : "", number);
	json_start(j, "node");
	json_put(j, "\"");
	json_put_escaped(j, disk, len);
	json_put(j, suffix);
	json_put(j, "\"");
}

static void json_drop_ins(struct json *j, const struct definition *def)
{
	if (def->drop_in_cnt == 0) {
		json_raw(j, "drop-in_files", "null");
		return;
	}
	json_open(j, "drop-in_files", "[");
	for (size_t i = 0; i < def->drop_in_cnt; i++)
		json_string(j, NULL, def->drop_in[i]);
	json_close(j, "]");
}

static bool any_drop_in(const struct definitions *defs)
{
	for (size_t i = 0; i < defs->cnt; i++) {
		if (defs->v[i].drop_in_cnt > 0)
			return true;
	}
	return false;
}

static void json_partition(struct json *j, const struct record *r, size_t i)
{
	const struct definition *def = &r->defs->v[i];
	const struct gpt_part *part = &r->plan->table.part[i];

	json_open(j, NULL, "{");
	json_string(j, "type", def->type_name);
	json_string(j, "label", part->name[0] ? part->name : "-");
	json_uuid(j, "uuid", &part->id);
	json_u64(j, "partno", part->number);
	json_string(j, "file", def->file);
	json_node(j, r->disk_path, part->number + 1);
	json_u64(j, "offset", r->plan->part[i].off);
	json_u64(j, "old_size", 0);
	json_u64(j, "raw_size", r->plan->part[i].len);
	json_u64(j, "old_padding", 0);
	json_u64(j, "raw_padding", r->plan->part[i].padding);
	json_string(j, "activity", "create");
	if (def->verity == DEFINITION_VERITY_OFF)
		json_raw(j, "roothash", "null");
	else
		json_hex(j, "roothash", r->root, sizeof(r->root));
	if (any_drop_in(r->defs))
		json_drop_ins(j, def);
	json_close(j, "}");
}

static void json_verity(struct json *j, const struct verity_params *v)
{
	json_string(j, "algorithm", hash_name(v->alg));
	json_u64(j, "hash_type", v->hash_type);
	json_u64(j, "data_block_size", v->data_block_len);
	json_u64(j, "hash_block_size", v->hash_block_len);
	json_u64(j, "data_blocks", v->data_blk_cnt);
	json_hex(j, "salt", v->salt, v->salt_len);
	json_uuid(j, "uuid", &v->uuid);
}

static void json_flat(struct json *j, const struct record *r)
{
	json_open(j, NULL, "{");
	json_string(j, "layout", "flat");
	json_string(j, "node", r->disk_path);
	json_u64(j, "size", r->plan->disk_len);
	json_u64(j, "hash_offset", r->plan->hash_off);
	json_verity(j, &r->plan->verity);
	json_hex(j, "roothash", r->root, sizeof(r->root));
	json_close(j, "}");
}

int record_result_text(const struct record *r, enum record_json mode, char **out, struct diag *d)
{
	struct json j = { .pretty = mode == RECORD_JSON_PRETTY };
	char root[2 * sizeof(r->root) + 1];

	if (mode == RECORD_JSON_OFF) {
		hex_encode(r->root, sizeof(r->root), root);
		json_put(&j, root);
		return json_finish(&j, out, d);
	}
	json_open(&j, NULL, "[");
	if (!r->plan->has_table)
		json_flat(&j, r);
	for (size_t i = 0; r->plan->has_table && i < r->plan->part_cnt; i++)
		json_partition(&j, r, i);
	json_close(&j, "]");
	return json_finish(&j, out, d);
}

/* ---- the record ---- */

/* The members of the reference's sidecar file, in its order and with its types. */
static void json_sidecar(struct json *j, const struct record *r)
{
	char hash_off[24], tool[64];
	const char *commit = source_commit(r->source);

	json_name(j, "model_source", source_location(r->source));
	json_string(j, "commit_hash", commit ? commit : "");
	json_start(j, "excluded_files");
	json_put(j, "\"");
	for (size_t i = 0; r->exclude[i]; i++) {
		json_put(j, i > 0 ? "," : "");
		json_put_escaped(j, r->exclude[i], strlen(r->exclude[i]));
	}
	json_put(j, "\"");
	json_hex(j, "root_hash", r->root, sizeof(r->root));
	snprintf(hash_off, sizeof(hash_off), "%" PRIu64, r->plan->hash_off);
	json_string(j, "hash_offset", hash_off);
	json_string(j, "erofs_version", r->compat->erofs_name);
	snprintf(tool, sizeof(tool), "mkdisk %s", MODELDISK_VERSION);
	json_string(j, "veritysetup_version", tool);
	if (r->image_digest)
		json_hex(j, "file_hash_sha256", r->image_digest, HASH_SHA256_LEN);
	else
		json_raw(j, "file_hash_sha256", "null");
}

static void json_how(struct json *j, const struct record *r)
{
	const struct disk_plan *p = r->plan;

	json_string(j, "layout", r->layout);
	json_string(j, "source_kind", source_kind(r->source));
	json_string(j, "exclude_mode", r->exclude_mode);
	json_open(j, "compat", "{");
	json_string_or_null(j, "systemd", p->has_table ? r->compat->systemd_name : NULL);
	json_string(j, "erofs", r->compat->erofs_name);
	json_close(j, "}");
	if (p->has_table) {
		json_uuid(j, "seed", &r->seed);
		json_uuid(j, "disk_guid", &p->table.disk_id);
	}
	json_u64(j, "source_date_epoch", r->epoch);
	json_string(j, "owner", r->keep_owners ? "keep" : "root");
	json_string(j, "xattrs", r->keep_xattrs ? "keep" : "drop");
	json_string(j, "coverage", p->covered_len == p->image_len ? "filesystem" : "partition");
}

static void json_disk(struct json *j, const struct record *r)
{
	const struct disk_plan *p = r->plan;

	json_u64(j, "disk_size", p->disk_len);
	json_open(j, "filesystem", "{");
	json_u64(j, "offset", p->image_off);
	json_u64(j, "size", p->image_len);
	json_uuid(j, "uuid", &r->fs_uuid);
	json_close(j, "}");
	json_open(j, "verity", "{");
	json_u64(j, "superblock_offset", p->hash_off);
	json_u64(j, "tree_offset", p->tree_off);
	json_u64(j, "tree_size", p->geometry.tree_len);
	json_verity(j, &p->verity);
	json_close(j, "}");
	if (!p->has_table)
		return;
	json_open(j, "partitions", "[");
	for (size_t i = 0; i < p->part_cnt; i++) {
		json_open(j, NULL, "{");
		json_u64(j, "number", p->table.part[i].number);
		json_uuid(j, "type", &p->table.part[i].type);
		json_uuid(j, "uuid", &p->table.part[i].id);
		json_string(j, "label", p->table.part[i].name);
		json_u64(j, "offset", p->part[i].off);
		json_u64(j, "size", p->part[i].len);
		json_close(j, "}");
	}
	json_close(j, "]");
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "symlink";
	case S_IFCHR:
		return "character device";
	case S_IFBLK:
		return "block device";
	case S_IFIFO:
		return "fifo";
	default:
		return "socket";
	}
}

static void json_path(struct json *j, const char *key, const struct tree_node *n)
{
	size_t len = tree_path(n, NULL, 0) + 1;
	scoped_free char *path = malloc(len);

	if (!path) {
		j->failed = true;
		return;
	}
	tree_path(n, path, len);
	json_name(j, key, path);
}

static void json_file(struct json *j, const struct record *r, const struct tree_node *n)
{
	const struct tree_node *inode = n->link ? n->link : n;
	char mode[8];

	json_open(j, NULL, "{");
	json_path(j, "path", n);
	json_string(j, "type", type_name(inode->mode));
	snprintf(mode, sizeof(mode), "%04o", inode->mode & 07777U);
	json_string(j, "mode", mode);
	if (n->link)
		json_path(j, "same_as", inode);
	if (inode->target)
		json_name(j, "target", inode->target);
	if (S_ISREG(inode->mode)) {
		json_u64(j, "size", inode->size);
		if (r->file_digest)
			json_hex(j, "sha256", r->file_digest[inode->index], HASH_SHA256_LEN);
		if (inode->content == TREE_CONTENT_LFS)
			json_hex(j, "lfs_oid", inode->oid, sizeof(inode->oid));
	}
	json_close(j, "}");
}

int record_text(const struct record *r, char **out, struct diag *d)
{
	struct json j = { .pretty = true };

	json_open(&j, NULL, "{");
	json_sidecar(&j, r);
	json_u64(&j, "record_version", 1);
	json_how(&j, r);
	json_disk(&j, r);
	json_open(&j, "files", "[");
	for (uint32_t i = 1; i < r->tree->node_cnt; i++) /* 0 is the root */
		json_file(&j, r, r->tree->node[i]);
	json_close(&j, "]");
	json_close(&j, "}");
	return json_finish(&j, out, d);
}

/* May path be replaced, or, where it exists, at least be written? */
static int check_access(const char *path, bool exists, struct diag *d)
{
	scoped_free char *copy = strdup(path);

	if (!copy)
		return diag_set(d, -ENOMEM, "out of memory");
	if (faccessat(AT_FDCWD, dirname(copy), W_OK | X_OK, AT_EACCESS) == 0)
		return 0;
	if (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0)
		return 0;
	return diag_set_errno(d, -errno, "%s: cannot be written", path);
}

int record_check_path(const char *path, struct diag *d)
{
	struct output_target target;
	int r;

	if (strcmp(path, "-") == 0)
		return diag_set(d, -EINVAL, "-: a file is needed, stdout belongs to the result");
	r = output_probe(path, &target, d);
	if (r < 0)
		return r;
	if (target.is_block_device)
		return diag_set(d, -EINVAL, "%s: is a block device, expected a file", path);
	return check_access(path, target.exists, d);
}

int record_write(const void *bytes, size_t len, const char *path, struct diag *d)
{
	scoped(output) struct output *o = NULL;
	int r = record_check_path(path, d);

	if (r < 0)
		return r;
	r = output_open(path,
	                &(struct output_options){ .disk_len = len, .need_len = len, .force = true },
	                &o, d);
	if (r < 0)
		return r;
	r = output_write(o, 0, bytes, len, d);
	if (r < 0)
		return r;
	return output_commit(o, d);
}
