/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a dm-verity tree and its superblock as bytes. Decides what parameters are
 * acceptable, wherever they come from; building is verity_build.c's business, proving is
 * verity_read.c's.
 */
#include "verity_int.h"

#include <errno.h>
#include <inttypes.h>

struct superblock_disk {
	uint8_t signature[8];
	le32 version;
	le32 hash_type;
	uint8_t uuid[16];
	uint8_t algorithm[32]; /* NUL-padded */
	le32 data_block_len;
	le32 hash_block_len;
	le64 data_blk_cnt;
	le16 salt_len;
	uint8_t reserved1[6];
	uint8_t salt[HASH_MAX_SALT_LEN];
	uint8_t reserved2[168];
};

_Static_assert(sizeof(struct superblock_disk) == VERITY_SUPERBLOCK_LEN, "superblock size");
_Static_assert(offsetof(struct superblock_disk, algorithm) == 32, "superblock layout");
_Static_assert(offsetof(struct superblock_disk, data_blk_cnt) == 72, "superblock layout");
_Static_assert(offsetof(struct superblock_disk, salt) == 88, "superblock layout");

static const uint8_t signature[8] = "verity\0";

static bool block_len_is_valid(uint32_t len)
{
	return is_power_of_two(len) && len >= VERITY_MIN_BLOCK_LEN && len <= VERITY_MAX_BLOCK_LEN;
}

/* err tells whose mistake it is: -EINVAL the caller's, -EUCLEAN the disk's. */
static int check_params(const struct verity_params *p, int err, struct diag *d)
{
	if (p->hash_type > 1)
		return diag_set(d, err, "verity hash type is %" PRIu32 ", expected 0 or 1",
		                p->hash_type);
	if (!block_len_is_valid(p->data_block_len))
		return diag_set(d, err,
		                "verity data block size is %" PRIu32
		                ", expected a power of two from %d to %d",
		                p->data_block_len, VERITY_MIN_BLOCK_LEN, VERITY_MAX_BLOCK_LEN);
	if (!block_len_is_valid(p->hash_block_len))
		return diag_set(d, err,
		                "verity hash block size is %" PRIu32
		                ", expected a power of two from %d to %d",
		                p->hash_block_len, VERITY_MIN_BLOCK_LEN, VERITY_MAX_BLOCK_LEN);
	if (p->data_blk_cnt == 0)
		return diag_set(d, err, "verity data block count is 0, expected at least 1");
	if (p->salt_len > HASH_MAX_SALT_LEN)
		return diag_set(d, err, "verity salt has %u bytes, expected at most %d",
		                p->salt_len, HASH_MAX_SALT_LEN);
	return 0;
}

static uint32_t floor_power_of_two(uint32_t v)
{
	return UINT32_C(1) << (31 - __builtin_clz(v));
}

/* The least power of two that is at least v. */
static uint32_t ceil_power_of_two(uint32_t v)
{
	return is_power_of_two(v) ? v : floor_power_of_two(v) << 1;
}

/*
 * Fills in the levels from the widest (0) up to the one of a single block. Each level is at least
 * eight times smaller than the one below (512-byte blocks of 64-byte digests), so that they are at
 * most 22 and their sum cannot overflow.
 */
static void count_levels(struct verity_geometry *g, uint64_t data_blk_cnt)
{
	uint64_t next = 0;

	for (uint64_t cnt = data_blk_cnt; cnt > 1; g->level_cnt++) {
		cnt = div_up(cnt, g->digests_per_block);
		g->level_blk_cnt[g->level_cnt] = cnt;
	}
	for (unsigned level = g->level_cnt; level-- > 0;) {
		g->level_blk[level] = next;
		next += g->level_blk_cnt[level];
	}
	g->tree_blk_cnt = next;
}

int verity_geometry_init(struct verity_geometry *out, const struct verity_params *p, struct diag *d)
{
	struct verity_geometry g = { 0 };
	uint32_t digest_len = (uint32_t)hash_len(p->alg);
	uint64_t data_len;
	int r = check_params(p, -EINVAL, d);

	if (r)
		return r;
	g.digest_stride = p->hash_type == 1 ? ceil_power_of_two(digest_len) : digest_len;
	g.digests_per_block = floor_power_of_two(p->hash_block_len / digest_len);
	count_levels(&g, p->data_blk_cnt);
	if (!mul_u64(p->data_blk_cnt, p->data_block_len, &data_len) || data_len > INT64_MAX ||
	    !mul_u64(g.tree_blk_cnt, p->hash_block_len, &g.tree_len) || g.tree_len > INT64_MAX)
		return diag_set(d, -EUCLEAN,
		                "verity tree of %" PRIu64 " data blocks of %" PRIu32
		                " bytes is larger than any disk",
		                p->data_blk_cnt, p->data_block_len);
	*out = g;
	return 0;
}

uint64_t verity_tree_off(const struct verity_params *p)
{
	return round_up(VERITY_SUPERBLOCK_LEN, p->hash_block_len);
}

int verity_hasher_new(const struct verity_params *p, struct hash_salted **out, struct diag *d)
{
	int r = hash_salted_new(p->alg, p->salt, p->salt_len, p->hash_type == 1, out);

	return r ? diag_set_errno(d, r, "cannot set up %s", hash_name(p->alg)) : 0;
}

void verity_superblock_encode(const struct verity_params *p, uint8_t out[VERITY_SUPERBLOCK_LEN])
{
	struct superblock_disk sb = {
		.version = le32_of(1),
		.hash_type = le32_of(p->hash_type),
		.data_block_len = le32_of(p->data_block_len),
		.hash_block_len = le32_of(p->hash_block_len),
		.data_blk_cnt = le64_of(p->data_blk_cnt),
		.salt_len = le16_of(p->salt_len),
	};

	memcpy(sb.signature, signature, sizeof(signature));
	memcpy(sb.uuid, p->uuid.b, sizeof(sb.uuid));
	memcpy(sb.algorithm, hash_name(p->alg), strlen(hash_name(p->alg)));
	memcpy(sb.salt, p->salt, p->salt_len);
	memcpy(out, &sb, sizeof(sb));
}

static int decode_algorithm(const struct superblock_disk *sb, enum hash_alg *out, struct diag *d)
{
	size_t len = strnlen((const char *)sb->algorithm, sizeof(sb->algorithm));
	char name[sizeof(sb->algorithm) + 1] = "", quoted[TEXT_QUOTE_LEN];

	memcpy(name, sb->algorithm, len);
	if (!verity_is_zero(sb->algorithm + len, sizeof(sb->algorithm) - len))
		return diag_set(d, -EUCLEAN,
		                "verity superblock: bytes behind the algorithm's name");
	if (hash_by_name(name, out))
		return diag_set(d, -EOPNOTSUPP,
		                "verity superblock: hash algorithm %s is not supported",
		                text_quote(name, len, quoted, sizeof(quoted)));
	return 0;
}

/*
 * Bytes without a meaning must be zero, as everyone writes them: what a later version may say
 * there is not ignored.
 */
static int check_reserved(const struct superblock_disk *sb, uint16_t salt_len, struct diag *d)
{
	if (!verity_is_zero(sb->reserved1, sizeof(sb->reserved1)) ||
	    !verity_is_zero(sb->salt + salt_len, sizeof(sb->salt) - salt_len) ||
	    !verity_is_zero(sb->reserved2, sizeof(sb->reserved2)))
		return diag_set(d, -EUCLEAN, "verity superblock: reserved bytes are not zero");
	return 0;
}

int verity_superblock_decode(const uint8_t in[VERITY_SUPERBLOCK_LEN], struct verity_params *out,
                             struct diag *d)
{
	struct superblock_disk sb;
	struct verity_params p = { 0 };
	int r;

	memcpy(&sb, in, sizeof(sb));
	if (memcmp(sb.signature, signature, sizeof(signature)) != 0)
		return diag_set(d, -ENOENT, "no verity superblock");
	if (le32_get(sb.version) != 1)
		return diag_set(d, -EOPNOTSUPP,
		                "verity superblock: version %" PRIu32 ", expected 1",
		                le32_get(sb.version));
	r = decode_algorithm(&sb, &p.alg, d);
	if (r)
		return r;
	p.hash_type = le32_get(sb.hash_type);
	p.data_block_len = le32_get(sb.data_block_len);
	p.hash_block_len = le32_get(sb.hash_block_len);
	p.data_blk_cnt = le64_get(sb.data_blk_cnt);
	p.salt_len = le16_get(sb.salt_len);
	memcpy(p.uuid.b, sb.uuid, sizeof(p.uuid.b));
	r = check_params(&p, -EUCLEAN, d);
	if (!r)
		r = check_reserved(&sb, p.salt_len, d);
	if (r)
		return r;
	memcpy(p.salt, sb.salt, p.salt_len);
	*out = p;
	return 0;
}
