/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden_erofs LISTING CONTENT IMAGE: the EROFS image of a tree that exists only as a listing, made
 * by the modules that mkdisk uses. Files are carried by several threads, in an order that a seed
 * decides, so that tails reach the metadata blocks in any order. run_erofs.py writes the input and
 * judges the output.
 *
 * LISTING is JSON: {"compat", "uuid", "keep_owners", "keep_xattrs", "epoch", "threads", "seed",
 * "entries"}; an entry has "mode" with the type, and the others where they mean something:
 * "parent" (number of an entry above; none for the root), "name" (hex), "link" (number of an
 * entry), "size", "content" (offset of its bytes in CONTENT), "target" (hex), "rdev", "uid", "gid",
 * "mtime", "xattrs" ([[name, value in hex], ...]).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "erofs_image.h"
#include "text.h"

#define BLOCK_LEN    EROFS_PLAN_BLOCK_LEN
#define MAX_THREADS  16
#define MAX_HEX_TEXT 65536

struct job {
	const json_t *listing;
	int content_fd, image_fd;
	struct tree *tree;
	struct tree_node **node; /* by entry number */
	uint64_t *content_off;   /* by entry number */
	size_t entry_cnt;
	size_t *order; /* of carrying */
	atomic_size_t next;
	atomic_uint_fast64_t meta_cnt;
	struct erofs_plan *plan;
	struct erofs_image *image;
};

__attribute__((noreturn)) static void die(const char *what, const struct diag *d)
{
	fprintf(stderr, "golden_erofs: %s: %s\n", what, d ? d->text : strerror(errno));
	exit(1);
}

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* A value in hex; its bytes are in static memory until the next call. */
static const uint8_t *bytes(const json_t *hex, size_t *len)
{
	static uint8_t out[MAX_HEX_TEXT];
	const char *text = json_string_value(hex);

	*len = text ? strlen(text) / 2 : 0;
	if (!text || *len > sizeof(out) || hex_decode(text, out, *len) < 0)
		die("not hex", NULL);
	return out;
}

static void set_inode(struct tree_node *n, const json_t *e, struct diag *d)
{
	const json_t *rdev = json_object_get(e, "rdev"), *xattr;
	size_t i, len;

	n->mode = (uint16_t)number(e, "mode");
	n->uid = (uint32_t)number(e, "uid");
	n->gid = (uint32_t)number(e, "gid");
	n->mtime_s = number(e, "mtime");
	n->size = (uint64_t)number(e, "size");
	n->rdev_major = (uint32_t)json_integer_value(json_array_get(rdev, 0));
	n->rdev_minor = (uint32_t)json_integer_value(json_array_get(rdev, 1));
	if (S_ISLNK(n->mode)) {
		const uint8_t *target = bytes(json_object_get(e, "target"), &len);

		if (tree_set_target(n, (const char *)target, len, d) < 0)
			die("target", d);
	}
	json_array_foreach (json_object_get(e, "xattrs"), i, xattr) {
		const uint8_t *value = bytes(json_array_get(xattr, 1), &len);

		if (tree_add_xattr(n, json_string_value(json_array_get(xattr, 0)), value, len) < 0)
			die("xattr", NULL);
	}
}

static void build_tree(struct job *j)
{
	const json_t *entries = json_object_get(j->listing, "entries"), *e;
	struct diag d = DIAG_INIT;
	size_t i, len;

	j->entry_cnt = json_array_size(entries);
	j->node = calloc(j->entry_cnt, sizeof(*j->node));
	j->content_off = calloc(j->entry_cnt, sizeof(*j->content_off));
	if (!j->node || !j->content_off || tree_new(&j->tree) < 0)
		die("memory", NULL);
	json_array_foreach (entries, i, e) {
		const json_t *link = json_object_get(e, "link");

		j->node[i] = j->tree->root;
		if (i > 0) {
			const uint8_t *name = bytes(json_object_get(e, "name"), &len);

			if (tree_add(j->tree, j->node[number(e, "parent")], (const char *)name, len,
			             (uint16_t)number(e, "mode"), &j->node[i], &d) < 0)
				die("tree", &d);
		}
		if (link)
			j->node[i]->link = j->node[json_integer_value(link)];
		else
			set_inode(j->node[i], e, &d);
		j->content_off[i] = (uint64_t)number(e, "content");
	}
	if (tree_finish(j->tree, &d) < 0)
		die("tree", &d);
}

static void make_plan(struct job *j)
{
	struct compat compat;
	struct diag d = DIAG_INIT;
	struct erofs_plan_options opt = {
		.keep_owners = json_is_true(json_object_get(j->listing, "keep_owners")),
		.keep_xattrs = json_is_true(json_object_get(j->listing, "keep_xattrs")),
		.epoch = (uint64_t)number(j->listing, "epoch"),
		.compat = &compat,
	};

	if (compat_parse(json_string_value(json_object_get(j->listing, "compat")), COMPAT_REPART,
	                 &compat, &d) < 0)
		die("compat", &d);
	if (uuid_parse(json_string_value(json_object_get(j->listing, "uuid")), &opt.uuid) < 0)
		die("uuid", NULL);
	if (erofs_plan_new(j->tree, &opt, &j->plan, &d) < 0)
		die("plan", &d);
}

static void write_at(int fd, const void *buf, size_t len, uint64_t off)
{
	if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
		die("write", NULL);
}

static int put_meta(void *ctx, void *carrier, uint64_t off, const uint8_t block[BLOCK_LEN],
                    struct diag *d)
{
	struct job *j = ctx;

	(void)carrier;
	(void)d;
	if (off % BLOCK_LEN != 0 || !erofs_image_is_meta(j->image, off))
		die("metadata out of place", NULL);
	write_at(j->image_fd, block, BLOCK_LEN, off);
	atomic_fetch_add(&j->meta_cnt, 1);
	return 0;
}

/* Content of a file from byte off to end, to image_off. Holes stay holes. */
static void carry(struct job *j, uint64_t content_off, uint64_t len, uint64_t image_off)
{
	static _Thread_local uint8_t buf[1 << 20];

	for (uint64_t pos = 0; pos < len;) {
		off_t data = lseek(j->content_fd, (off_t)(content_off + pos), SEEK_DATA);
		uint64_t skip = data < 0 ? len : (uint64_t)data - content_off;

		if (skip > pos) {
			pos = MIN(skip, len);
			continue;
		}
		size_t part = MIN(len - pos, sizeof(buf));
		ssize_t got = pread(j->content_fd, buf, part, (off_t)(content_off + pos));
		if (got <= 0)
			die("content", NULL);
		write_at(j->image_fd, buf, (size_t)got, image_off + pos);
		pos += (uint64_t)got;
	}
}

static void carry_file(struct job *j, const struct tree_node *n, uint64_t content_off)
{
	const struct erofs_place *place = erofs_plan_place(j->plan, n);
	uint8_t tail[BLOCK_LEN];
	struct diag d = DIAG_INIT;

	if (place->data_len > 0 && erofs_image_is_meta(j->image, place->data_off))
		die("file data in metadata", NULL);
	carry(j, content_off, place->data_len, place->data_off);
	if (place->tail_len == 0)
		return;
	if (pread(j->content_fd, tail, place->tail_len, (off_t)(content_off + place->data_len)) !=
	    place->tail_len)
		die("tail", NULL);
	if (erofs_image_put_tail(j->image, n, tail, place->tail_len, NULL, &d) < 0)
		die("tail", &d);
}

static void *carry_files(void *ctx)
{
	struct job *j = ctx;
	size_t i;

	while ((i = atomic_fetch_add(&j->next, 1)) < j->entry_cnt) {
		const json_t *e =
		        json_array_get(json_object_get(j->listing, "entries"), j->order[i]);
		const struct tree_node *n = j->node[j->order[i]];

		/* the entry with the content, whichever name carries the inode */
		if (json_object_get(e, "content"))
			carry_file(j, n->link ? n->link : n, j->content_off[j->order[i]]);
	}
	return NULL;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

static void shuffle(struct job *j)
{
	uint64_t state = (uint64_t)number(j->listing, "seed");

	j->order = calloc(j->entry_cnt, sizeof(*j->order));
	if (!j->order)
		die("memory", NULL);
	for (size_t i = 0; i < j->entry_cnt; i++) {
		size_t k = next_random(&state) % (i + 1);

		j->order[i] = j->order[k];
		j->order[k] = i;
	}
}

static void make_image(struct job *j)
{
	size_t thread_cnt = MIN((size_t)number(j->listing, "threads"), (size_t)MAX_THREADS);
	pthread_t thread[MAX_THREADS];
	struct diag d = DIAG_INIT;

	shuffle(j);
	if (ftruncate(j->image_fd, (off_t)erofs_plan_image_len(j->plan)) < 0)
		die("image", NULL);
	if (erofs_image_new(j->plan, put_meta, j, &j->image, &d) < 0)
		die("image", &d);
	for (size_t i = 0; i < thread_cnt; i++)
		if (pthread_create(&thread[i], NULL, carry_files, j) != 0)
			die("thread", NULL);
	if (erofs_image_flush(j->image, NULL, &d) < 0)
		die("flush", &d);
	for (size_t i = 0; i < thread_cnt; i++)
		pthread_join(thread[i], NULL);
	if (erofs_image_finish(j->image, &d) < 0)
		die("finish", &d);
}

int main(int argc, char **argv)
{
	struct job j = { 0 };
	json_error_t error;
	size_t now, peak;

	if (argc != 4)
		return 2;
	json_t *listing = json_load_file(argv[1], 0, &error);
	j.listing = listing;
	j.content_fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	j.image_fd = open(argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (!listing || j.content_fd < 0 || j.image_fd < 0)
		die("open", NULL);
	build_tree(&j);
	make_plan(&j);
	make_image(&j);
	erofs_image_usage(j.image, &now, &peak);
	printf("{\"blocks\": %" PRIu64 ", \"metadata\": %" PRIuFAST64
	       ", \"open\": %zu, \"peak\": %zu}\n",
	       erofs_plan_image_len(j.plan) / BLOCK_LEN, atomic_load(&j.meta_cnt), now, peak);
	erofs_image_free(j.image);
	erofs_plan_free(j.plan);
	tree_free(j.tree);
	free(j.node);
	free(j.content_off);
	free(j.order);
	json_decref(listing);
	close(j.content_fd);
	return close(j.image_fd) < 0;
}
