/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder and the reader on files, with every parameter within reach: for the oracle that
 * compares them with veritysetup, and for looking at a disk by hand. Not installed.
 *
 *   verity_tool format DATA HASH ALGORITHM TYPE DATA_BLOCK HASH_BLOCK COUNT SALT UUID
 *       writes superblock and tree to HASH, prints the root hash; UUID "none": no superblock
 *   verity_tool read DATA HASH HASH_OFFSET ROOT
 *       writes the proven bytes to stdout; the hash area with its superblock is at HASH_OFFSET
 *   verity_tool read DATA HASH HASH_OFFSET ROOT ALGORITHM TYPE DATA_BLOCK HASH_BLOCK COUNT SALT
 * none the same without a superblock
 *
 * SALT is in hex, "-" for none.
 */
#include "verity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define PARAM_ARG_CNT 7

/* ALGORITHM TYPE DATA_BLOCK HASH_BLOCK COUNT SALT UUID */
static int parse_params(char **arg, struct verity_params *p, struct diag *d)
{
	*p = (struct verity_params){
		.hash_type = (uint32_t)strtoul(arg[1], NULL, 10),
		.data_block_len = (uint32_t)strtoul(arg[2], NULL, 10),
		.hash_block_len = (uint32_t)strtoul(arg[3], NULL, 10),
		.data_blk_cnt = strtoull(arg[4], NULL, 10),
	};
	if (hash_by_name(arg[0], &p->alg))
		return diag_set(d, -EINVAL, "unknown algorithm %s", arg[0]);
	if (strcmp(arg[5], "-") != 0)
		p->salt_len = (uint16_t)(strlen(arg[5]) / 2);
	if (p->salt_len > sizeof(p->salt) ||
	    (p->salt_len && hex_decode(arg[5], p->salt, p->salt_len)))
		return diag_set(d, -EINVAL, "bad salt %s", arg[5]);
	if (strcmp(arg[6], "none") != 0 && uuid_parse(arg[6], &p->uuid))
		return diag_set(d, -EINVAL, "bad UUID %s", arg[6]);
	return 0;
}

struct target {
	int fd;
	uint64_t tree_off;
};

static int write_at(int fd, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)off);

	return n == (ssize_t)len ? 0 : diag_set(d, -EIO, "cannot write the hash area");
}

static int write_tree(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d)
{
	const struct target *t = ctx;

	return write_at(t->fd, t->tree_off + off, buf, len, d);
}

static int add_all(struct verity_build *b, const struct blk *data, const struct verity_params *p,
                   struct diag *d)
{
	size_t batch = MIB / p->data_block_len;
	scoped_free uint8_t *buf = malloc(MIB);
	int r = buf ? 0 : -ENOMEM;

	for (uint64_t blk = 0, n; !r && blk < p->data_blk_cnt; blk += n) {
		n = MIN(batch, p->data_blk_cnt - blk);
		r = blk_read(data, blk * p->data_block_len, buf, n * p->data_block_len, d);
		if (!r)
			r = verity_build_add(b, blk, n, buf, d);
	}
	return r;
}

/* The superblock, and zeros up to the tree. */
static int write_superblock(int fd, const struct verity_params *p, struct diag *d)
{
	scoped_free uint8_t *head = calloc(1, verity_tree_off(p));

	if (!head)
		return -ENOMEM;
	verity_superblock_encode(p, head);
	return write_at(fd, 0, head, verity_tree_off(p), d);
}

static int do_format(char **arg, struct diag *d)
{
	scoped(blk) struct blk *data = NULL;
	scoped(verity_build) struct verity_build *b = NULL;
	scoped_fd int fd = open(arg[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	struct target t = { .fd = fd };
	struct verity_params p;
	uint8_t root[HASH_MAX_LEN];
	char hex[2 * HASH_MAX_LEN + 1];
	int r = fd < 0 ? diag_set_errno(d, -errno, "%s", arg[1]) : parse_params(arg + 2, &p, d);

	if (!r)
		r = blk_open(arg[0], &data, d);
	if (!r && strcmp(arg[8], "none") != 0) {
		t.tree_off = verity_tree_off(&p);
		r = write_superblock(fd, &p, d);
	}
	if (!r)
		r = verity_build_new(&p, write_tree, &t, &b, d);
	if (!r)
		r = add_all(b, data, &p, d);
	if (!r)
		r = verity_build_finish(b, root, d);
	if (r)
		return r;
	hex_encode(root, hash_len(p.alg), hex);
	return puts(hex) < 0 ? -EIO : 0;
}

static int copy_out(const struct vblk *v, struct diag *d)
{
	scoped_free uint8_t *buf = malloc(MIB);
	int r = buf ? 0 : -ENOMEM;

	for (uint64_t off = 0, n; !r && off < vblk_size(v); off += n) {
		n = MIN(MIB, vblk_size(v) - off);
		r = vblk_read(v, off, buf, n, d);
		if (!r && fwrite(buf, 1, n, stdout) != n)
			r = diag_set(d, -EIO, "cannot write");
	}
	return r;
}

static int do_read(char **arg, bool bare, struct diag *d)
{
	scoped(blk) struct blk *data = NULL, *whole = NULL, *area = NULL;
	scoped(vblk) struct vblk *v = NULL;
	uint64_t hash_off = strtoull(arg[2], NULL, 10);
	size_t root_len = strlen(arg[3]) / 2;
	uint8_t root[HASH_MAX_LEN];
	struct verity_params p;
	int r = bare ? parse_params(arg + 4, &p, d) : 0;

	if (root_len > sizeof(root) || hex_decode(arg[3], root, root_len))
		return diag_set(d, -EINVAL, "bad root hash %s", arg[3]);
	if (!r)
		r = blk_open(arg[0], &data, d);
	if (!r)
		r = blk_open(arg[1], &whole, d);
	if (!r && hash_off > blk_size(whole))
		r = diag_set(d, -EINVAL, "%s ends before %s", arg[1], arg[2]);
	if (!r)
		r = blk_sub(whole, hash_off, blk_size(whole) - hash_off, "hash area", &area, d);
	if (!r)
		r = verity_open(data, area, bare ? &p : NULL, root, root_len, NULL, &v, d);
	return r ? r : copy_out(v, d);
}

int main(int argc, char **argv)
{
	struct diag d = DIAG_INIT;
	const char *verb = argc > 1 ? argv[1] : "";
	int r;

	if (argc == 4 + PARAM_ARG_CNT && strcmp(verb, "format") == 0) {
		r = do_format(argv + 2, &d);
	} else if ((argc == 6 || argc == 6 + PARAM_ARG_CNT) && strcmp(verb, "read") == 0) {
		r = do_read(argv + 2, argc > 6, &d);
	} else {
		fprintf(stderr, "usage: verity_tool format|read ...; its source says how\n");
		return 2;
	}
	if (r)
		fprintf(stderr, "verity_tool: %s\n", d.text);
	return diag_exit_status(r);
}
