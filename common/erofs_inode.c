/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of EROFS. Decides everything that one inode and its type promise about places: when
 * erofs_inode_get() has said yes, the xattr body, the inline tail, the chunk table and every block
 * of a flat inode are known to lie inside the image. What the chunk table itself says is checked
 * where it is read, in erofs_data.c.
 */
#include "erofs_int.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#define NSEC_PER_SEC UINT32_C(1000000000)
#define NID_LIMIT    (UINT64_C(1) << 59) /* times 32 is 64 bits; bit 63 marks the metabox */
#define NULL_ADDR_48 ((UINT64_C(1) << 48) - 1)

/* Fields of both forms that are needed only until the inode is placed. */
struct raw_inode {
	uint16_t format, xattr_units;
	uint32_t u;
	uint16_t u_hi;     /* bits 32..47 of u */
	uint64_t null_blk; /* what u says when there are no blocks */
	uint64_t end_off;  /* first byte behind the inode proper */
};

bool erofs_nid_to_off(const struct erofs *fs, uint64_t nid, uint64_t *off)
{
	uint64_t at;

	if (nid >= NID_LIMIT)
		return false;
	/* Modulo 2^64 on purpose: slots in front of meta_off have nids that wrap around. */
	at = fs->meta_off + nid * EROFS_SLOT_LEN;
	if (!range_is_inside(at, EROFS_SLOT_LEN, fs->image_len))
		return false;
	*off = at;
	return true;
}

static int decode_compact(const struct erofs *fs, const uint8_t *bytes, struct raw_inode *raw,
                          struct erofs_inode *out, struct diag *d)
{
	struct erofs_compact_disk ino;

	memcpy(&ino, bytes, sizeof(ino));
	out->mode = le16_get(ino.mode);
	out->nlink = le16_get(ino.nlink);
	out->uid = le16_get(ino.uid);
	out->gid = le16_get(ino.gid);
	out->size = le32_get(ino.size);
	out->mtime_ns = fs->fixed_nsec;
	if (__builtin_add_overflow(fs->epoch, (int64_t)le32_get(ino.mtime), &out->mtime_s))
		return diag_set(d, -EUCLEAN, "mtime is %" PRIu32 " behind an epoch of %" PRId64,
		                le32_get(ino.mtime), fs->epoch);
	raw->u = le32_get(ino.u);
	raw->null_blk = EROFS_NULL_ADDR;
	if (!S_ISDIR(out->mode) && (raw->format & EROFS_FORMAT_BIT4)) {
		out->nlink = 1;
		raw->u_hi = le16_get(ino.nlink);
		raw->null_blk = NULL_ADDR_48;
	}
	return 0;
}

static int decode_extended(const uint8_t *bytes, struct raw_inode *raw, struct erofs_inode *out,
                           struct diag *d)
{
	struct erofs_extended_disk ino;

	memcpy(&ino, bytes, sizeof(ino));
	out->mode = le16_get(ino.mode);
	out->nlink = le32_get(ino.nlink);
	out->uid = le32_get(ino.uid);
	out->gid = le32_get(ino.gid);
	out->size = le64_get(ino.size);
	out->mtime_s = (int64_t)le64_get(ino.mtime);
	out->mtime_ns = le32_get(ino.mtime_nsec);
	if (out->mtime_ns >= NSEC_PER_SEC)
		return diag_set(d, -EUCLEAN, "mtime_nsec is %" PRIu32, out->mtime_ns);
	if (out->size > INT64_MAX)
		return diag_set(d, -EUCLEAN, "size is %" PRIu64 ", above 2^63 - 1", out->size);
	/* Used whether or not the image is 48BIT, as the kernel does; check_blocks() sees to it. */
	raw->u = le32_get(ino.u);
	raw->u_hi = le16_get(ino.reserved);
	raw->null_blk = NULL_ADDR_48;
	return 0;
}

/* The bits that decide how everything else is read. */
static int check_format(const struct erofs *fs, uint16_t format, struct erofs_inode *out,
                        struct diag *d)
{
	unsigned known = EROFS_FORMAT_KNOWN | (fs->has_48bit ? EROFS_FORMAT_BIT4 : 0);

	if (format & ~known)
		return diag_set(d, -EUCLEAN, "i_format is 0x%04x, with unknown bits", format);
	out->layout = format >> EROFS_FORMAT_LAYOUT_SHIFT & EROFS_FORMAT_LAYOUT_MASK;
	if (out->layout > EROFS_LAYOUT_CHUNK)
		return diag_set(d, -EUCLEAN, "layout %u is not defined", out->layout);
	/* Another algorithm needs a feature bit that erofs_open() has refused. */
	if (out->layout == EROFS_LAYOUT_COMPRESSED_FULL ||
	    out->layout == EROFS_LAYOUT_COMPRESSED_COMPACT)
		return diag_set(d, -EOPNOTSUPP, "compressed with lz4 (layout %u): not supported",
		                out->layout);
	return 0;
}

/* Which layouts and sizes the type allows. */
static int check_type(const struct erofs_inode *ino, struct diag *d)
{
	switch (ino->mode & S_IFMT) {
	case S_IFREG:
		return 0;
	case S_IFLNK:
		if (ino->size < 1 || ino->size > EROFS_MAX_SYMLINK_LEN)
			return diag_set(d, -EUCLEAN, "a symlink's size is %" PRIu64 ", not 1 to %u",
			                ino->size, EROFS_MAX_SYMLINK_LEN);
		break;
	case S_IFDIR:
		if (ino->size <= sizeof(struct erofs_dirent_disk))
			return diag_set(d, -EUCLEAN,
			                "a directory's size is %" PRIu64 ": no entry fits",
			                ino->size);
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return diag_set(d, -EUCLEAN, "mode is 0%o: no such file type", ino->mode);
	}
	if (ino->layout == EROFS_LAYOUT_CHUNK)
		return diag_set(d, -EUCLEAN, "mode is 0%o, and only regular files have chunks",
		                ino->mode);
	return 0;
}

static int check_blocks(const struct erofs *fs, uint64_t first, uint64_t cnt, struct diag *d)
{
	if (range_is_inside(first, cnt, fs->info.blk_cnt))
		return 0;
	return diag_set(d, -EUCLEAN,
	                "first block is %" PRIu64 " with %" PRIu64
	                " to come, and the image has %" PRIu64,
	                first, cnt, fs->info.blk_cnt);
}

static int place_plain(const struct erofs *fs, const struct raw_inode *raw, struct erofs_inode *out,
                       struct diag *d)
{
	out->start_blk = (uint64_t)raw->u_hi << 32 | raw->u;
	if (out->size == 0)
		return 0;
	if (out->start_blk == raw->null_blk && S_ISREG(out->mode)) {
		out->flags |= EROFS_INODE_HOLE;
		return 0;
	}
	return check_blocks(fs, out->start_blk, div_up(out->size, fs->block_len), d);
}

/*
 * Inline: all but the last block at start_blk, the last one (whole or not) behind the xattrs, in
 * the block where it starts.
 */
static int place_inline(const struct erofs *fs, const struct raw_inode *raw,
                        struct erofs_inode *out, struct diag *d)
{
	uint64_t full_cnt, tail_len;

	out->start_blk = (uint64_t)raw->u_hi << 32 | raw->u;
	if (out->size == 0)
		return 0;
	full_cnt = (out->size - 1) / fs->block_len;
	tail_len = out->size - full_cnt * fs->block_len;
	if (out->tail_off % fs->block_len + tail_len > fs->block_len ||
	    !range_is_inside(out->tail_off, tail_len, fs->image_len))
		return diag_set(d, -EUCLEAN,
		                "size is %" PRIu64 ": the inline tail of %" PRIu64
		                " bytes at %" PRIu64 " leaves its block",
		                out->size, tail_len, out->tail_off);
	return full_cnt ? check_blocks(fs, out->start_blk, full_cnt, d) : 0;
}

static int place_chunks(const struct erofs *fs, const struct raw_inode *raw,
                        struct erofs_inode *out, struct diag *d)
{
	unsigned unit = raw->u & EROFS_CHUNK_INDEXES ? 8 : 4;
	uint64_t table_len;

	if ((raw->u & ~EROFS_CHUNK_KNOWN) ||
	    ((raw->u & EROFS_CHUNK_48BIT) && !(fs->has_48bit && (raw->u & EROFS_CHUNK_INDEXES))))
		return diag_set(d, -EUCLEAN, "chunk format is 0x%" PRIx32, raw->u);
	if (raw->u & EROFS_CHUNK_INDEXES)
		out->flags |= EROFS_INODE_CHUNK_INDEXES;
	if (raw->u & EROFS_CHUNK_48BIT)
		out->flags |= EROFS_INODE_CHUNK_48BIT;
	out->chunk_bits = (uint8_t)(fs->block_bits + (raw->u & EROFS_CHUNK_BLKBITS));
	out->tail_off = round_up(out->tail_off, unit);
	if (!mul_u64(div_up(out->size, UINT64_C(1) << out->chunk_bits), unit, &table_len) ||
	    !range_is_inside(out->tail_off, table_len, fs->image_len))
		return diag_set(d, -EUCLEAN,
		                "size is %" PRIu64 " in chunks of 2^%u bytes: the table at %" PRIu64
		                " leaves the image",
		                out->size, out->chunk_bits, out->tail_off);
	return 0;
}

static void decode_device(uint32_t dev, struct erofs_inode *out)
{
	out->rdev_major = dev >> 8 & 0xFFF;
	out->rdev_minor = (dev & 0xFF) | (dev >> 12 & 0xFFF00);
}

static int place(const struct erofs *fs, const struct raw_inode *raw, struct erofs_inode *out,
                 struct diag *d)
{
	out->xattr_off = raw->end_off;
	if (raw->xattr_units)
		out->xattr_len = sizeof(struct erofs_xattr_header_disk) +
		                 4 * (uint32_t)(raw->xattr_units - 1);
	if (!range_is_inside(out->xattr_off, out->xattr_len, fs->image_len))
		return diag_set(d, -EUCLEAN, "%" PRIu32 " bytes of xattrs leave the image",
		                out->xattr_len);
	out->tail_off = out->xattr_off + out->xattr_len;
	if (S_ISCHR(out->mode) || S_ISBLK(out->mode))
		decode_device(raw->u, out);
	if (!S_ISREG(out->mode) && !S_ISDIR(out->mode) && !S_ISLNK(out->mode))
		return 0;
	if (out->layout == EROFS_LAYOUT_PLAIN)
		return place_plain(fs, raw, out, d);
	if (out->layout == EROFS_LAYOUT_INLINE)
		return place_inline(fs, raw, out, d);
	return place_chunks(fs, raw, out, d);
}

/* len bytes at off: 64, or 32 when the image ends there. */
static int decode(const struct erofs *fs, const uint8_t *bytes, size_t len, uint64_t off,
                  struct erofs_inode *out, struct diag *d)
{
	struct raw_inode raw = { 0 };
	struct erofs_compact_disk head;
	size_t isize = sizeof(head);
	int r;

	memcpy(&head, bytes, sizeof(head));
	raw.format = le16_get(head.format);
	raw.xattr_units = le16_get(head.xattr_units);
	r = check_format(fs, raw.format, out, d);
	if (r)
		return r;
	if (raw.format & EROFS_FORMAT_EXTENDED) {
		isize = sizeof(struct erofs_extended_disk);
		if (len < isize)
			return diag_set(d, -EUCLEAN, "an extended inode leaves the image");
		r = decode_extended(bytes, &raw, out, d);
	} else {
		r = decode_compact(fs, bytes, &raw, out, d);
	}
	if (r)
		return r;
	r = check_type(out, d);
	if (r)
		return r;
	if (raw.format & EROFS_FORMAT_BIT4) {
		if (S_ISDIR(out->mode))
			out->flags |= EROFS_INODE_DOT_OMITTED;
		else if (raw.format & EROFS_FORMAT_EXTENDED)
			return diag_set(d, -EUCLEAN,
			                "i_format is 0x%04x: bit 4 has no meaning here",
			                raw.format);
	}
	raw.end_off = off + isize;
	return place(fs, &raw, out, d);
}

int erofs_inode_get(const struct erofs *fs, uint64_t nid, struct erofs_inode *out, struct diag *d)
{
	struct erofs_inode ino = { .nid = nid };
	uint8_t bytes[sizeof(struct erofs_extended_disk)];
	uint64_t off;
	size_t len;
	int r;

	if (!erofs_nid_to_off(fs, nid, &off))
		return diag_set(d, -EUCLEAN,
		                "EROFS inode %" PRIu64 " lies outside the image of %" PRIu64
		                " bytes",
		                nid, fs->image_len);
	len = MIN(sizeof(bytes), fs->image_len - off);
	r = erofs_read_at(fs, off, bytes, len, d);
	if (!r)
		r = decode(fs, bytes, len, off, &ino, d);
	if (r)
		return diag_prefix(d, r, "EROFS inode %" PRIu64 " at byte %" PRIu64, nid, off);
	*out = ino;
	return 0;
}
