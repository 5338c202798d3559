/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dm-verity (kernel Documentation/admin-guide/device-mapper/verity.rst; superblock as cryptsetup
 * writes it): the geometry of a hash tree, a builder that takes data blocks in any order, and the
 * reader that turns bytes as found (struct blk) into bytes proven (struct vblk).
 *
 * Where things lie, relative to the start of the hash area:
 *
 *   with a superblock       0                superblock (512 bytes), zeros up to one hash block
 *                           1 hash block     top level (one block) | next level | ... | level 0
 *   without                 0                top level | ... | level 0
 *
 * Level 0 holds the digests of data blocks, level i + 1 those of level-i blocks. The root hash is
 * the digest of the single top block; with one data block there is no level and the root hash is
 * that block's digest. Unused slots and gaps of a hash block are zero.
 *
 * The hash area must begin on a multiple of the hash block size, counted from the start of the
 * device that veritysetup was given (--hash-offset): that tool puts the tree on such a multiple
 * whatever the offset is. It rounds (offset + 512) up when there is a superblock, and without one
 * it rounds the offset down, into the data if need be.
 */
#ifndef MODELDISK_VERITY_H
#define MODELDISK_VERITY_H

#include "blk.h"
#include "hash.h"
#include "text.h"

#define VERITY_SUPERBLOCK_LEN 512
#define VERITY_MIN_BLOCK_LEN  512
#define VERITY_MAX_BLOCK_LEN  65536
#define VERITY_MAX_LEVELS     63 /* as the kernel's DM_VERITY_MAX_LEVELS */

/* Everything besides the root hash that fixes what is proven. */
struct verity_params {
	enum hash_alg alg;
	uint32_t hash_type; /* 1: salt first, digests padded to a power of two; 0 (Chrome OS): salt
	                       last, packed */
	uint32_t data_block_len; /* bytes, power of two, 512..64 KiB */
	uint32_t hash_block_len; /* the same; may differ */
	uint64_t data_blk_cnt;   /* data blocks covered */
	uint16_t salt_len;       /* 0..256 */
	uint8_t salt[HASH_MAX_SALT_LEN];
	struct uuid uuid; /* of the superblock; no meaning for the proof */
};

/* Computed from params alone; every product checked. */
struct verity_geometry {
	uint32_t digest_stride;     /* bytes from one digest to the next in a hash block */
	uint32_t digests_per_block; /* a power of two */
	uint32_t level_cnt;         /* 0 for a single data block */
	uint64_t level_blk_cnt[VERITY_MAX_LEVELS]; /* hash blocks of level i; level 0 is the widest
	                                            */
	uint64_t level_blk[VERITY_MAX_LEVELS];     /* first hash block of level i, counted from the
	                                              start of the tree */
	uint64_t tree_blk_cnt;                     /* hash blocks of all levels */
	uint64_t tree_len;                         /* bytes of all levels, without the superblock */
};

/* -EINVAL: a parameter out of its range; -EUCLEAN: sizes that overflow. */
int verity_geometry_init(struct verity_geometry *g, const struct verity_params *p, struct diag *d)
        MUST_CHECK;

/* Where the tree starts behind a superblock, from the start of the hash area: one hash block. */
uint64_t verity_tree_off(const struct verity_params *p);

/* p as accepted by verity_geometry_init(). */
void verity_superblock_encode(const struct verity_params *p, uint8_t out[VERITY_SUPERBLOCK_LEN]);
/*
 * Hostile input. -ENOENT: no "verity" signature; -EUCLEAN: a field out of range, or a reserved byte
 * that is not zero; -EOPNOTSUPP: version or algorithm. Sizes may still overflow: that is
 * verity_geometry_init()'s to say.
 */
int verity_superblock_decode(const uint8_t in[VERITY_SUPERBLOCK_LEN], struct verity_params *out,
                             struct diag *d) MUST_CHECK;

/* ----------------------------------------------------------------------------------------------------------
 * builder */

/*
 * Where finished hash blocks go: len bytes at off, counted from the start of the tree (level
 * positions as in the geometry). len is one hash block, or many where zero ranges make equal ones.
 * Called from the thread that completed the block, possibly from several threads at once, in no
 * order, and never twice for one place (but see struct verity_run). Its error (with its sentence)
 * becomes that of the add. NULL: only the root hash is wanted.
 */
typedef int (*verity_sink)(void *ctx, uint64_t off, const void *buf, size_t len, struct diag *d);

/*
 * Takes every data block exactly once, in any order, from any thread, and holds only hash blocks
 * that are neither untouched nor complete: one per level for each place where blocks arrive in
 * order. A failed add spoils the builder: it can only be freed, and finish gives the same error.
 */
struct verity_build;
int verity_build_new(const struct verity_params *p, verity_sink sink, void *ctx,
                     struct verity_build **out, struct diag *d) MUST_CHECK;
void verity_build_free(struct verity_build *b);
DEFINE_SCOPED(verity_build, struct verity_build *, verity_build_free)
/*
 * cnt whole blocks at data, the first being block first_blk. Thread-safe; hashing happens outside
 * any lock, up to 256 blocks per call of the hash engine. -EINVAL: a block outside the tree, or one
 * that was added before; -ENOMEM; -EIO (OpenSSL); what the sink said.
 */
int verity_build_add(struct verity_build *b, uint64_t first_blk, uint64_t cnt, const void *data,
                     struct diag *d) MUST_CHECK;
/*
 * The same for all-zero blocks, without hashing any: O(levels) work and memory for any cnt, plus
 * the calls of the sink. Thread-safe.
 */
int verity_build_add_zero(struct verity_build *b, uint64_t first_blk, uint64_t cnt, struct diag *d)
        MUST_CHECK;
/*
 * Consecutive data blocks that may still be taken back: bytes from a network are hashed as they
 * arrive, and count only when their own digest turns out right. Blocks come in ascending order;
 * nothing of the run enters the tree before verity_run_commit(). Hash blocks that the run covers
 * completely go to the sink at once, and again if the run is begun anew. Memory: one digest per
 * 2^n data blocks (a hash block's worth), and two hash blocks.
 *
 * Thread rule: a run belongs to one thread at a time; different runs, and the adds above, may go on
 * side by side. Errors as for verity_build_add().
 */
struct verity_run;
int verity_run_new(struct verity_build *b, uint64_t first_blk, uint64_t cnt,
                   struct verity_run **out, struct diag *d) MUST_CHECK;
int verity_run_add(struct verity_run *run, uint64_t cnt, const void *data, struct diag *d)
        MUST_CHECK;
int verity_run_add_zero(struct verity_run *run, uint64_t cnt, struct diag *d) MUST_CHECK;
/* -EINVAL when blocks are missing. The run stays the caller's to free. */
int verity_run_commit(struct verity_run *run, struct diag *d) MUST_CHECK;
/* Uncommitted: as if it never was. NULL allowed. Before verity_build_free(). */
void verity_run_free(struct verity_run *run);
DEFINE_SCOPED(verity_run, struct verity_run *, verity_run_free)
/*
 * After the last add has returned: the root hash (hash_len bytes). -EINVAL when blocks are missing
 * (a mistake of the caller). The sink has then been called for every tree byte. One thread.
 */
int verity_build_finish(struct verity_build *b, uint8_t *root, struct diag *d) MUST_CHECK;
/* Hash blocks held open now, and the most ever. Not while another thread adds. */
void verity_build_usage(const struct verity_build *b, size_t *now, size_t *peak);

/* -----------------------------------------------------------------------------------------------------------
 * reader */

/* Bytes proven against a root hash. Made by verity_open() only (and by tests/support for parser
 * tests). */
struct vblk;

enum verity_failure_kind {
	VERITY_FAILURE_PROOF, /* digest differs: the medium lies */
	VERITY_FAILURE_MEDIA, /* the medium did not give the bytes */
};

/*
 * What failed, told to verity_options.on_failure before the read returns: the first block that does
 * not match, or the blocks that one read of the medium was to bring. A read stops at its first
 * failure.
 */
struct verity_failure {
	enum verity_failure_kind kind;
	int err;      /* what the read returns: -EBADMSG or the I/O error */
	int level;    /* -1: a data block; else the tree level */
	uint64_t blk; /* (first) index of the data block, or of the hash block in its level */
	uint64_t data_off, data_len; /* the proven bytes that are missing because of it */
	uint64_t area_off; /* where the block lies in the blk that verity_open() was given for its
	                      kind */
	uint64_t disk_off; /* the same on the outermost blk */
	size_t digest_len; /* PROOF only: */
	uint8_t expected[HASH_MAX_LEN], found[HASH_MAX_LEN];
};

struct verity_options {
	/* Bound on cached proven hash blocks, bytes; 0: VERITY_DEFAULT_CACHE_LEN. The top block is
	 * held beside it. Less than one block: none is cached. */
	uint64_t cache_len;
	void (*on_failure)(void *ctx,
	                   const struct verity_failure *f); /* thread-safe; may be NULL */
	void *ctx;
};
#define VERITY_DEFAULT_CACHE_LEN (64 * MIB)

/*
 * Makes the proven view of data. hash holds the hash area; params come from the superblock at its
 * byte 0 when params is NULL, else the tree starts at byte 0 of hash and there is no superblock.
 * data and hash are borrowed, may be the same, and must outlive the vblk. opt may be NULL.
 *
 * The root hash alone does not fix the block count (docs/security.md "Geometry"). data_blk_cnt may
 * be at most what data and hash can hold, and the tree must end where it says: the last digest of
 * each level is there and only zeros follow. What that cannot see is a count that takes a level of
 * the tree for the data, so callers must compare vblk_params() with what they expect.
 *
 * Reads and proves the top hash block and the last one of each level (or the only data block), so
 * that a wrong root hash fails here. -EBADMSG: proof; -EUCLEAN: superblock or sizes; -ENOENT: no
 * superblock; -EOPNOTSUPP: version or algorithm; -EINVAL: params out of range, or root_len is not
 * the algorithm's; what blk_read() gave.
 */
int verity_open(const struct blk *data, const struct blk *hash, const struct verity_params *params,
                const uint8_t *root, size_t root_len, const struct verity_options *opt,
                struct vblk **out, struct diag *d) MUST_CHECK;
void vblk_close(struct vblk *v);
DEFINE_SCOPED(vblk, struct vblk *, vblk_close)

/*
 * Reads exactly len bytes at off; every byte in buf has been hashed, in the buffer it is returned
 * in (or the private one it is copied from), and proven up to the root. No block is read twice for
 * one call. Whole blocks are cheapest: they are read straight into buf, up to 256 at once.
 * -EBADMSG: proof failed; I/O errors of the medium; -ERANGE outside; -ENOMEM. On failure buf is
 * zeroed. d may be NULL. Thread-safe.
 */
int vblk_read(const struct vblk *v, uint64_t off, void *buf, size_t len, struct diag *d) MUST_CHECK;
uint64_t vblk_size(const struct vblk *v); /* data_blk_cnt * data_block_len */
const struct verity_params *
vblk_params(const struct vblk *v); /* NULL for a test's vblk without a tree */

struct vblk_stats {
	uint64_t data_bytes;           /* proven and returned */
	uint64_t data_blks, hash_blks; /* hashed */
	uint64_t cache_hits, cache_misses;
	uint64_t proof_failures, media_failures;
	uint64_t hash_ns; /* that threads have spent on digests, together */
};
void vblk_get_stats(const struct vblk *v, struct vblk_stats *out);

#endif
