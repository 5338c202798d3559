/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --verify: proves the whole disk, and names what is bad in the words of those who miss it: blocks,
 * places on the disk, and files. The tree is only walked for names when something is bad.
 */
#include "cmd.h"
#include "list.h"
#include "scan.h"
#include "tensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAX_HITS  (1 << 20)
#define PATH_ROOM 4400 /* of a quoted path; longer ones are cut */
/* Each means reading a header, which may be megabytes long. */
#define MAX_TENSORS 4096

/* A piece of a file that a bad block takes away. */
struct hit {
	size_t bad; /* index of the block */
	char *path; /* owned, as found */
	uint64_t off, len;
	struct tensors_place *tensor; /* owned; NULL: none, or not known */
};

struct verdict {
	const struct image *img;
	struct scan scan;
	struct hit *hit; /* in order of bad */
	size_t hit_cnt;
	size_t tensor_cnt;   /* hits whose tensor was looked for */
	uint64_t hidden_cnt; /* directories and inodes that could not be read */
};

static void verdict_release(struct verdict *v)
{
	for (size_t i = 0; i < v->hit_cnt; i++) {
		free(v->hit[i].path);
		free(v->hit[i].tensor);
	}
	free(v->hit);
	scan_release(&v->scan);
}

/* ---- which files ---- */

static int add_hit(struct verdict *v, size_t bad, const char *path, uint64_t off, uint64_t len)
{
	struct hit *grown;
	char *copy;

	if (v->hit_cnt == MAX_HITS)
		return 0;
	grown = list_grow(v->hit, v->hit_cnt, sizeof(*v->hit));
	if (!grown)
		return -ENOMEM;
	v->hit = grown;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	v->hit[v->hit_cnt++] = (struct hit){ .bad = bad, .path = copy, .off = off, .len = len };
	return 0;
}

/* The first bad block that takes away something behind at. */
static size_t first_bad_behind(const struct scan *s, uint64_t at)
{
	size_t low = 0, high = s->bad_cnt;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->bad[mid].data_off + s->bad[mid].data_len <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Bytes [file_off, file_off + x->len) of a file lie at x->at. */
static int match_extent(struct verdict *v, const char *path, uint64_t file_off,
                        const struct erofs_extent *x)
{
	int r = 0;

	for (size_t i = first_bad_behind(&v->scan, x->at); r == 0 && i < v->scan.bad_cnt; i++) {
		const struct scan_bad *b = &v->scan.bad[i];
		uint64_t from = MAX(b->data_off, x->at);
		uint64_t to = MIN(b->data_off + b->data_len, x->at + x->len);

		if (from >= to)
			break;
		r = add_hit(v, i, path, file_off + (from - x->at), to - from);
	}
	return r;
}

/* Also where there is none: what cannot be told is left out. */
static void name_tensor(struct verdict *v, struct hit *h, const struct erofs_inode *inode)
{
	struct tensors_place place;

	if (v->tensor_cnt++ >= MAX_TENSORS ||
	    tensors_find_in_inode(image_erofs(v->img), inode, h->off, h->len, &place) < 0)
		return;
	h->tensor = malloc(sizeof(place));
	if (h->tensor)
		*h->tensor = place;
}

static int match_inode(void *ctx, const struct erofs_walk_entry *e, struct diag *d)
{
	struct verdict *v = ctx;
	size_t first = v->hit_cnt;
	struct erofs_extent x;

	if (!S_ISREG(e->inode->mode) && !S_ISDIR(e->inode->mode) && !S_ISLNK(e->inode->mode))
		return 0;
	for (uint64_t off = 0; off < e->inode->size && v->hit_cnt < MAX_HITS; off += x.len) {
		if (erofs_map(image_erofs(v->img), e->inode, off, &x, NULL) < 0) {
			v->hidden_cnt++;
			return 0;
		}
		if (!x.hole && match_extent(v, e->path, off, &x) < 0)
			return diag_set(d, -ENOMEM, "out of memory");
	}
	for (size_t i = first; S_ISREG(e->inode->mode) && i < v->hit_cnt; i++)
		name_tensor(v, &v->hit[i], e->inode);
	return 0;
}

/* What cannot be read hides what is in it, not its neighbours. */
static int count_hidden(void *ctx, const struct erofs_walk_entry *e, int err, struct diag *d)
{
	struct verdict *v = ctx;

	(void)e;
	(void)err;
	(void)d;
	v->hidden_cnt++;
	return 0;
}

static int order_hits(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->bad != y->bad)
		return x->bad < y->bad ? -1 : 1;
	return strcmp(x->path, y->path);
}

static int name_files(struct verdict *v, struct diag *d)
{
	static const struct erofs_visitor visitor = { .visit = match_inode,
		                                      .broken = count_hidden };
	const struct erofs *fs = image_erofs(v->img);
	struct erofs_inode root;
	int r;

	if (!fs)
		return 0;
	r = erofs_inode_get(fs, erofs_get_info(fs)->root_nid, &root, NULL);
	if (r == 0)
		r = erofs_walk(fs, &root, &visitor, v, d);
	if (r == -ENOMEM)
		return r;
	v->hidden_cnt += r < 0;
	if (v->hit_cnt > 0)
		qsort(v->hit, v->hit_cnt, sizeof(*v->hit), order_hits);
	return 0;
}

/* ---- telling ---- */

static void print_tensor(const struct tensors_place *t)
{
	if (!t)
		return;
	printf(" (tensor %s bytes %" PRIu64 "-%" PRIu64, t->name, t->off, t->off + t->len - 1);
	if (t->cnt > 1)
		printf(" and %" PRIu64 " more", t->cnt - 1);
	putchar(')');
}

static void print_text(const struct verdict *v)
{
	char path[PATH_ROOM];
	size_t h = 0;

	for (size_t i = 0; i < v->scan.bad_cnt; i++) {
		const struct scan_bad *b = &v->scan.bad[i];

		if (b->level < 0)
			printf("data block %" PRIu64, b->blk);
		else
			printf("hash block %" PRIu64 " of level %d", b->blk, b->level);
		printf(" (disk offset %" PRIu64 ") %s:", b->disk_off,
		       b->kind == VERITY_FAILURE_PROOF ? "does not match" : "cannot be read");
		if (h == v->hit_cnt || v->hit[h].bad != i)
			printf(image_erofs(v->img) ? " no file's data" : " files unknown");
		for (const char *sep = ""; h < v->hit_cnt && v->hit[h].bad == i; h++, sep = ",") {
			printf("%s %s bytes %" PRIu64 "-%" PRIu64, sep,
			       text_quote(v->hit[h].path, strlen(v->hit[h].path), path,
			                  sizeof(path)),
			       v->hit[h].off, v->hit[h].off + v->hit[h].len - 1);
			print_tensor(v->hit[h].tensor);
		}
		putchar('\n');
	}
}

static json_t *json_of_hit(const struct hit *h)
{
	json_t *o = json_pack("{sIsI}", "offset", (json_int_t)h->off, "length", (json_int_t)h->len);

	cmd_json_set_path(o, "path", h->path);
	if (h->tensor) {
		json_object_set_new(o, "tensor", json_string(h->tensor->name));
		json_object_set_new(o, "tensor_offset", json_integer((json_int_t)h->tensor->off));
		json_object_set_new(o, "tensor_length", json_integer((json_int_t)h->tensor->len));
		json_object_set_new(o, "tensors", json_integer((json_int_t)h->tensor->cnt));
	}
	return o;
}

static json_t *json_of_bad(const struct scan_bad *b)
{
	return json_pack("{sssisIsIsIsIso}", "kind",
	                 b->kind == VERITY_FAILURE_PROOF ? "proof" : "media", "level", b->level,
	                 "block", (json_int_t)b->blk, "disk_offset", (json_int_t)b->disk_off,
	                 "data_offset", (json_int_t)b->data_off, "data_length",
	                 (json_int_t)b->data_len, "files", json_array());
}

static int print_json(const struct verdict *v, struct diag *d)
{
	json_t *list = json_array();
	size_t h = 0;

	for (size_t i = 0; i < v->scan.bad_cnt; i++) {
		json_t *o = json_of_bad(&v->scan.bad[i]);

		for (; h < v->hit_cnt && v->hit[h].bad == i; h++)
			json_array_append_new(json_object_get(o, "files"), json_of_hit(&v->hit[h]));
		json_array_append_new(list, o);
	}
	return cmd_print_json(json_pack("{sIsbso}", "bytes",
	                                (json_int_t)vblk_size(image_vblk(v->img)), "complete",
	                                !v->scan.is_cut, "bad_blocks", list),
	                      d);
}

/* What the exit status says: a lie outranks a silence. */
static int judge(const struct verdict *v, const char *disk, struct diag *d)
{
	size_t lies = 0, cnt = v->scan.bad_cnt;
	char size[SIZE_TEXT_LEN];

	for (size_t i = 0; i < cnt; i++)
		lies += v->scan.bad[i].kind == VERITY_FAILURE_PROOF;
	if (v->scan.is_cut)
		report_warning("only the first %d bad blocks are listed", SCAN_MAX_BAD);
	if (v->hit_cnt == MAX_HITS)
		report_warning("only the first %d pieces of files are named", MAX_HITS);
	if (v->hidden_cnt > 0)
		report_warning("%" PRIu64 " files or directories could not be looked into, because "
		               "the blocks that describe them are bad",
		               v->hidden_cnt);
	if (lies > 0)
		return diag_set(d, -EBADMSG, "%s: %zu blocks do not match the root hash", disk,
		                lies);
	if (cnt > 0)
		return diag_set(d, -EIO, "%s: %zu places could not be read", disk, cnt);
	size_format(vblk_size(image_vblk(v->img)), size);
	report_note("%s: every block matches the root hash (%s)", disk, size);
	return 0;
}

/* What scan_image() found becomes a result. */
static int conclude(struct verdict *v, const struct options *o, struct diag *d)
{
	int r = v->scan.bad_cnt > 0 ? name_files(v, d) : 0;

	if (r == 0 && o->json)
		r = print_json(v, d);
	else if (r == 0)
		print_text(v);
	return r < 0 ? r : judge(v, o->arg[0], d);
}

/*
 * A disk whose superblock is bad has no files, but still blocks. What cannot be opened is refused
 * whatever its blocks are like.
 */
static int open_for_scan(const struct options *o, struct image **out, int *why_not, struct diag *d)
{
	struct image_options io = o->image;

	io.verity.on_failure = scan_note_failure;
	*why_not = cmd_open_image(o, &io, out, d);
	if (*why_not != -EBADMSG && *why_not != -EIO)
		return *why_not;
	io.proof_only = true;
	return image_open(o->arg[0], &io, out, NULL) == 0 ? 0 : *why_not;
}

int cmd_verify(const struct options *o, struct diag *d)
{
	scoped(image) struct image *img = NULL;
	struct verdict v = { .hit = NULL };
	struct diag found = DIAG_INIT;
	int why_not, r = open_for_scan(o, &img, &why_not, d);

	if (r < 0)
		return r;
	v.img = img;
	report_progress_start(o->progress, "verifying", vblk_size(image_vblk(img)));
	r = scan_image(img, o->thread_cnt, report_progress_add, &v.scan, &found);
	report_progress_end();
	if (r == 0)
		r = conclude(&v, o, &found);
	verdict_release(&v);
	if (r < 0)
		return diag_set(d, r, "%s", found.text);
	return why_not;
}
