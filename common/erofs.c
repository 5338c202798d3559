/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EROFS superblock: decides whether an image is one that this reader understands completely,
 * and fixes the limits that every later read is held to. Inodes are decoded in erofs_inode.c,
 * contents in erofs_data.c, names in erofs_dir.c and erofs_xattr.c.
 */
#include "erofs_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#define NSEC_PER_SEC UINT32_C(1000000000)

#define SUPPORTED_INCOMPAT                                                                         \
	(EROFS_INCOMPAT_LZ4_0PADDING | EROFS_INCOMPAT_CHUNKED_FILE |                               \
	 EROFS_INCOMPAT_XATTR_PREFIXES | EROFS_INCOMPAT_48BIT)

uint32_t erofs_crc32c(uint32_t crc, const void *buf, size_t len)
{
	/* the CRC of each half byte: superblocks are short, a full table is not worth its bytes */
	static const uint32_t table[16] = {
		0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3,
		0x61C69362, 0x7198540D, 0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9,
		0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
	};
	const uint8_t *p = buf;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

int erofs_read_at(const struct erofs *fs, uint64_t off, void *buf, size_t len, struct diag *d)
{
	if (!range_is_inside(off, len, fs->image_len))
		return diag_set(d, -EUCLEAN,
		                "%zu bytes at %" PRIu64 " reach past the image's end at %" PRIu64,
		                len, off, fs->image_len);
	return vblk_read(fs->v, off, buf, len, d);
}

const uint8_t *erofs_window_peek(const struct erofs_window *w, uint64_t off, size_t len)
{
	if (off < w->off || !range_is_inside(off - w->off, len, w->len))
		return NULL;
	return w->bytes + (off - w->off);
}

int erofs_window_get(const struct erofs *fs, struct erofs_window *w, uint64_t off, size_t len,
                     uint64_t end, const uint8_t **out, struct diag *d)
{
	uint64_t limit = MIN(end, fs->image_len);
	size_t want;
	int r;

	*out = erofs_window_peek(w, off, len);
	if (*out)
		return 0;
	if (!range_is_inside(off, len, limit))
		return diag_set(d, -EUCLEAN,
		                "%zu bytes at %" PRIu64 " reach past their end at %" PRIu64, len,
		                off, limit);
	want = MIN(sizeof(w->bytes), limit - off);
	w->len = 0;
	r = erofs_read_at(fs, off, w->bytes, want, d);
	if (r)
		return r;
	w->off = off;
	w->len = want;
	*out = w->bytes;
	return 0;
}

/* The bytes that the checksum covers: from the superblock to the end of the block that holds it. */
static uint32_t checksum_len(uint32_t block_len)
{
	return block_len > EROFS_SUPER_OFF ? block_len - EROFS_SUPER_OFF : block_len;
}

static bool is_48bit(const struct erofs_super_disk *sb)
{
	/* a 64-bit root nid of 0 leaves the old meaning of the shared field, as the kernel has it
	 */
	return (le32_get(sb->feature_incompat) & EROFS_INCOMPAT_48BIT) &&
	       le64_get(sb->root_nid_8b) != 0;
}

static uint64_t block_count(const struct erofs_super_disk *sb)
{
	uint64_t cnt = le32_get(sb->blocks);

	if (is_48bit(sb))
		cnt |= (uint64_t)le16_get(sb->root_nid) << 32;
	return cnt;
}

static bool is_magic(const struct erofs_super_disk *sb)
{
	return le32_get(sb->magic) == EROFS_SUPER_MAGIC;
}

static bool is_block_bits(uint8_t bits)
{
	return bits >= EROFS_MIN_BLOCK_BITS && bits <= EROFS_MAX_BLOCK_BITS;
}

int erofs_hint_image_len(const uint8_t bytes[128], uint64_t *out)
{
	struct erofs_super_disk sb;

	memcpy(&sb, bytes, sizeof(sb));
	if (!is_magic(&sb))
		return -ENOENT;
	if (!is_block_bits(sb.blkszbits) || block_count(&sb) == 0)
		return -EUCLEAN;
	*out = block_count(&sb) << sb.blkszbits;
	return 0;
}

static int check_block_bits(uint8_t bits, struct diag *d)
{
	if (is_block_bits(bits))
		return 0;
	if (bits > EROFS_MAX_BLOCK_BITS && bits <= 16)
		return diag_set(d, -EOPNOTSUPP, "blocks of 2^%u bytes are not supported (%u to %u)",
		                bits, EROFS_MIN_BLOCK_BITS, EROFS_MAX_BLOCK_BITS);
	return diag_set(d, -EUCLEAN, "blkszbits is %u, not %u to 16", bits, EROFS_MIN_BLOCK_BITS);
}

static int check_checksum(const struct erofs *fs, const struct erofs_super_disk *sb, struct diag *d)
{
	size_t len = checksum_len(fs->block_len);
	struct erofs_super_disk blank = *sb;
	uint8_t bytes[EROFS_MAX_BLOCK_LEN];
	uint32_t found;
	int r;

	if (!(le32_get(sb->feature_compat) & EROFS_COMPAT_SB_CHKSUM))
		return 0;
	r = erofs_read_at(fs, EROFS_SUPER_OFF, bytes, len, d);
	if (r)
		return r;
	blank.checksum = le32_of(0);
	memcpy(bytes, &blank, sizeof(blank));
	found = erofs_crc32c(~UINT32_C(0), bytes, len);
	if (found == le32_get(sb->checksum))
		return 0;
	return diag_set(d, -EUCLEAN, "checksum is 0x%08" PRIx32 ", the bytes give 0x%08" PRIx32,
	                le32_get(sb->checksum), found);
}

struct sentence {
	size_t used;
	char text[1024];
};

static void PRINTF_LIKE(2, 3) say(struct sentence *s, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(s->text + s->used, sizeof(s->text) - s->used, fmt, args);
	va_end(args);
	s->used = MIN(s->used + (size_t)MAX(n, 0), sizeof(s->text) - 1);
}

/* What the superblock adds to the name of a feature. */
static void say_detail(struct sentence *s, const struct erofs_super_disk *sb, uint32_t feature)
{
	static const char *const algorithms[] = { "lz4", "lzma", "deflate", "zstd" };

	if (feature == EROFS_INCOMPAT_DEVICE_TABLE)
		say(s, "; extra devices: %u", le16_get(sb->extra_devices));
	if (feature != EROFS_INCOMPAT_COMPR_CFGS)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(algorithms); i++)
		if (le16_get(sb->compr_algs) >> i & 1)
			say(s, "; %s", algorithms[i]);
}

static void say_features(struct sentence *s, const struct erofs_super_disk *sb, uint32_t set)
{
	static const char *const names[] = {
		[1] = "compression configurations or big physical clusters",
		[3] = "device table or second compression algorithm",
		[4] = "compressed inline tails",
		[5] = "fragments or deduplicated compressed data",
		[8] = "metabox",
	};

	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t feature = UINT32_C(1) << bit;

		if (!(set & feature))
			continue;
		say(s, "%s%s (0x%" PRIx32, s->used ? ", " : "",
		    bit < ARRAY_LEN(names) && names[bit] ? names[bit] : "unknown", feature);
		say_detail(s, sb, feature);
		say(s, ")");
	}
}

static int check_features(const struct erofs_super_disk *sb, struct diag *d)
{
	uint32_t refused = le32_get(sb->feature_incompat) & ~SUPPORTED_INCOMPAT;
	struct sentence s = { .used = 0 };

	if (refused == 0)
		return 0;
	say_features(&s, sb, refused);
	return diag_set(d, -EOPNOTSUPP, "feature_incompat has what is not supported: %s", s.text);
}

/* Every field that shifts, scales or places something; afterwards they are safe to use. */
static int check_geometry(const struct erofs_super_disk *sb, uint64_t available, struct diag *d)
{
	uint64_t blk_cnt = block_count(sb);
	uint64_t head_len = sizeof(*sb) + UINT64_C(16) * sb->sb_extslots;

	if (head_len > checksum_len(UINT32_C(1) << sb->blkszbits))
		return diag_set(d, -EUCLEAN, "sb_extslots is %u: the superblock leaves its block",
		                sb->sb_extslots);
	if (sb->dirblkbits != 0)
		return diag_set(d, -EUCLEAN, "dirblkbits is %u, not 0", sb->dirblkbits);
	if (blk_cnt > available >> sb->blkszbits ||
	    blk_cnt << sb->blkszbits < EROFS_SUPER_OFF + head_len)
		return diag_set(d, -EUCLEAN,
		                "blocks is %" PRIu64 ", and there are %" PRIu64 " bytes", blk_cnt,
		                available);
	if (le32_get(sb->meta_blkaddr) >= blk_cnt)
		return diag_set(d, -EUCLEAN, "meta_blkaddr is %" PRIu32 ", and blocks is %" PRIu64,
		                le32_get(sb->meta_blkaddr), blk_cnt);
	if (le32_get(sb->xattr_blkaddr) >= blk_cnt)
		return diag_set(d, -EUCLEAN, "xattr_blkaddr is %" PRIu32 ", and blocks is %" PRIu64,
		                le32_get(sb->xattr_blkaddr), blk_cnt);
	if (le32_get(sb->fixed_nsec) >= NSEC_PER_SEC)
		return diag_set(d, -EUCLEAN, "fixed_nsec is %" PRIu32, le32_get(sb->fixed_nsec));
	return 0;
}

static void fill_info(const struct erofs_super_disk *sb, struct erofs_info *info)
{
	info->block_len = UINT32_C(1) << sb->blkszbits;
	info->blk_cnt = block_count(sb);
	info->inode_cnt = le64_get(sb->inos);
	info->root_nid = is_48bit(sb) ? le64_get(sb->root_nid_8b) : le16_get(sb->root_nid);
	info->feature_compat = le32_get(sb->feature_compat);
	info->feature_incompat = le32_get(sb->feature_incompat);
	info->epoch = le64_get(sb->epoch);
	memcpy(info->uuid.b, sb->uuid, sizeof(info->uuid.b));
	memcpy(info->volume, sb->volume_name, sizeof(sb->volume_name));
	info->volume[sizeof(sb->volume_name)] = '\0';
}

static int load_super(struct erofs *fs, struct erofs_super_disk *sb, struct diag *d)
{
	int r;

	fs->image_len = vblk_size(fs->v);
	r = erofs_read_at(fs, EROFS_SUPER_OFF, sb, sizeof(*sb), d);
	if (r)
		return r;
	if (!is_magic(sb))
		return diag_set(d, -EUCLEAN, "magic is 0x%08" PRIx32 ", not 0x%08" PRIx32,
		                le32_get(sb->magic), EROFS_SUPER_MAGIC);
	r = check_block_bits(sb->blkszbits, d);
	if (r)
		return r;
	fs->block_bits = sb->blkszbits;
	fs->block_len = UINT32_C(1) << sb->blkszbits;
	r = check_checksum(fs, sb, d);
	if (r)
		return r;
	r = check_features(sb, d);
	if (r)
		return r;
	r = check_geometry(sb, fs->image_len, d);
	if (r)
		return r;
	fill_info(sb, &fs->info);
	fs->image_len = fs->info.blk_cnt << fs->block_bits;
	fs->meta_off = (uint64_t)le32_get(sb->meta_blkaddr) << fs->block_bits;
	fs->xattr_off = (uint64_t)le32_get(sb->xattr_blkaddr) << fs->block_bits;
	fs->has_48bit = fs->info.feature_incompat & EROFS_INCOMPAT_48BIT;
	fs->epoch = (int64_t)fs->info.epoch;
	fs->fixed_nsec = le32_get(sb->fixed_nsec);
	return 0;
}

static int check_root(const struct erofs *fs, struct diag *d)
{
	struct erofs_inode root;
	int r = erofs_inode_get(fs, fs->info.root_nid, &root, d);

	if (r)
		return diag_prefix(d, r, "root directory");
	if (!S_ISDIR(root.mode))
		return diag_set(d, -EUCLEAN,
		                "root directory: EROFS inode %" PRIu64
		                ": mode is 0%o, not a directory",
		                root.nid, root.mode);
	return 0;
}

int erofs_open(const struct vblk *v, struct erofs **out, struct diag *d)
{
	scoped(erofs) struct erofs *fs = calloc(1, sizeof(*fs));
	struct erofs_super_disk sb;
	int r;

	if (!fs)
		return diag_set_errno(d, -ENOMEM, "cannot open the EROFS image");
	fs->v = v;
	r = load_super(fs, &sb, d);
	if (r)
		return diag_prefix(d, r, "EROFS superblock");
	if (fs->info.feature_incompat & EROFS_INCOMPAT_XATTR_PREFIXES) {
		fs->prefix_cnt = sb.xattr_prefix_count;
		r = erofs_prefixes_load(fs, (uint64_t)le32_get(sb.xattr_prefix_start) * 4, d);
		if (r)
			return r;
	}
	r = check_root(fs, d);
	if (r)
		return r;
	*out = take_ptr(fs);
	return 0;
}

void erofs_close(struct erofs *fs)
{
	if (fs)
		free(fs->prefixes);
	free(fs);
}

const struct erofs_info *erofs_get_info(const struct erofs *fs)
{
	return &fs->info;
}
