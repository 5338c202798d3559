/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of EROFS inodes: where bytes lie and reading them. Flat inodes were placed and checked
 * in erofs_inode.c; each entry of a chunk table is checked here, when it is met. Data goes from
 * vblk_read() straight into the caller's buffer, one call per run of bytes that lie together.
 */
#include "erofs_int.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

static bool has_data(const struct erofs_inode *ino)
{
	return S_ISREG(ino->mode) || S_ISDIR(ino->mode) || S_ISLNK(ino->mode);
}

/* One entry of a chunk table, checked. */
struct chunk {
	bool hole;
	uint64_t blk;
};

static int chunk_decode(const struct erofs *fs, const struct erofs_inode *ino, uint64_t idx,
                        const uint8_t *bytes, struct chunk *out, struct diag *d)
{
	struct erofs_chunk_disk entry = { 0 };
	uint64_t len = MIN(UINT64_C(1) << ino->chunk_bits, ino->size - (idx << ino->chunk_bits));
	bool wide = ino->flags & EROFS_INODE_CHUNK_48BIT;

	if (ino->flags & EROFS_INODE_CHUNK_INDEXES)
		memcpy(&entry, bytes, sizeof(entry));
	else
		memcpy(&entry.blk, bytes, sizeof(entry.blk));
	out->blk = le32_get(entry.blk);
	out->hole = out->blk == EROFS_NULL_ADDR && (!wide || le16_get(entry.blk_hi) == UINT16_MAX);
	if (out->hole)
		return 0;
	if (wide)
		out->blk |= (uint64_t)le16_get(entry.blk_hi) << 32;
	else if (le16_get(entry.blk_hi) != 0)
		return diag_set(d, -EUCLEAN, "chunk %" PRIu64 ": reserved bytes are 0x%04x, not 0",
		                idx, le16_get(entry.blk_hi));
	if (le16_get(entry.device) != 0)
		return diag_set(d, -EUCLEAN,
		                "chunk %" PRIu64 ": device is %u, and the image has no others", idx,
		                le16_get(entry.device));
	if (!range_is_inside(out->blk, div_up(len, fs->block_len), fs->info.blk_cnt))
		return diag_set(d, -EUCLEAN,
		                "chunk %" PRIu64 ": block is %" PRIu64
		                ", and the image has %" PRIu64,
		                idx, out->blk, fs->info.blk_cnt);
	return 0;
}

/*
 * The chunk with byte off, and those behind it that continue it and are in the window already. off
 * is below the size.
 */
static int map_chunks(const struct erofs *fs, const struct erofs_inode *ino, struct erofs_window *w,
                      uint64_t off, struct erofs_extent *out, struct diag *d)
{
	unsigned unit = ino->flags & EROFS_INODE_CHUNK_INDEXES ? 8 : 4;
	uint64_t chunk_len = UINT64_C(1) << ino->chunk_bits;
	uint64_t cnt = div_up(ino->size, chunk_len);
	uint64_t idx = off >> ino->chunk_bits;
	uint64_t skip = off & (chunk_len - 1);
	uint64_t end = idx << ino->chunk_bits;
	struct chunk first, next;
	const uint8_t *bytes;
	int r;

	r = erofs_window_get(fs, w, ino->tail_off + idx * unit, unit, ino->tail_off + cnt * unit,
	                     &bytes, d);
	if (r)
		return r;
	r = chunk_decode(fs, ino, idx, bytes, &first, d);
	if (r)
		return r;
	for (uint64_t i = 1;; i++) {
		if (idx + i == cnt) {
			end = ino->size;
			break;
		}
		end += chunk_len;
		bytes = erofs_window_peek(w, ino->tail_off + (idx + i) * unit, unit);
		if (!bytes)
			break;
		r = chunk_decode(fs, ino, idx + i, bytes, &next, d);
		if (r)
			return r;
		if (next.hole != first.hole ||
		    (!first.hole && next.blk != first.blk + i * (chunk_len >> fs->block_bits)))
			break;
	}
	out->hole = first.hole;
	out->at = first.hole ? 0 : (first.blk << fs->block_bits) + skip;
	out->len = end - off;
	return 0;
}

static void map_flat(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off,
                     struct erofs_extent *out)
{
	uint64_t full_len = ino->size;

	if (ino->layout == EROFS_LAYOUT_INLINE)
		full_len = round_down(ino->size - 1, fs->block_len);
	out->hole = ino->flags & EROFS_INODE_HOLE;
	if (off < full_len) {
		out->at = out->hole ? 0 : (ino->start_blk << fs->block_bits) + off;
		out->len = full_len - off;
	} else {
		out->at = ino->tail_off + (off - full_len);
		out->len = ino->size - off;
	}
}

/* off is below the size. */
static int map(const struct erofs *fs, const struct erofs_inode *ino, struct erofs_window *w,
               uint64_t off, struct erofs_extent *out, struct diag *d)
{
	if (ino->layout == EROFS_LAYOUT_CHUNK)
		return map_chunks(fs, ino, w, off, out, d);
	map_flat(fs, ino, off, out);
	return 0;
}

int erofs_map(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off,
              struct erofs_extent *out, struct diag *d)
{
	struct erofs_window w = { 0 };
	int r;

	if (!has_data(ino) || off >= ino->size)
		return diag_set(d, -EINVAL, "EROFS inode %" PRIu64 " has no byte %" PRIu64,
		                ino->nid, off);
	r = map(fs, ino, &w, off, out, d);
	return r ? diag_prefix(d, r, "EROFS inode %" PRIu64, ino->nid) : 0;
}

int erofs_read_data(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off, void *buf,
                    size_t len, struct diag *d)
{
	struct erofs_window w = { 0 };
	uint8_t *to = buf;

	while (len > 0) {
		struct erofs_extent e = { 0 };
		size_t n;
		int r = map(fs, ino, &w, off, &e, d);

		if (r)
			return r;
		n = MIN(len, e.len);
		if (e.hole)
			memset(to, 0, n);
		else
			r = erofs_read_at(fs, e.at, to, n, d);
		if (r)
			return r;
		to += n;
		off += n;
		len -= n;
	}
	return 0;
}

int64_t erofs_read(const struct erofs *fs, const struct erofs_inode *ino, uint64_t off, void *buf,
                   size_t len, struct diag *d)
{
	int r;

	if (!S_ISREG(ino->mode))
		return diag_set(d, S_ISDIR(ino->mode) ? -EISDIR : -EINVAL,
		                "EROFS inode %" PRIu64 " is not a regular file", ino->nid);
	if (off >= ino->size)
		return 0;
	len = MIN(len, ino->size - off);
	r = erofs_read_data(fs, ino, off, buf, len, d);
	if (r)
		return diag_prefix(d, r, "EROFS inode %" PRIu64, ino->nid);
	return (int64_t)len;
}

int erofs_readlink(const struct erofs *fs, const struct erofs_inode *ino, char *buf, size_t buf_len,
                   struct diag *d)
{
	int r;

	if (!S_ISLNK(ino->mode))
		return diag_set(d, -EINVAL, "EROFS inode %" PRIu64 " is not a symlink", ino->nid);
	if (buf_len <= ino->size)
		return diag_set(d, -ERANGE,
		                "EROFS inode %" PRIu64 ": a target of %" PRIu64
		                " bytes does not fit into %zu",
		                ino->nid, ino->size, buf_len);
	r = erofs_read_data(fs, ino, 0, buf, ino->size, d);
	if (!r && memchr(buf, '\0', ino->size))
		r = diag_set(d, -EUCLEAN, "the symlink's target has a NUL");
	if (r)
		return diag_prefix(d, r, "EROFS inode %" PRIu64, ino->nid);
	buf[ino->size] = '\0';
	return (int)ino->size;
}
