/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests. The one door to OpenSSL's hashes, and the fast lanes beside it: many equal salted blocks
 * per call.
 *
 * The engine for SHA-256 blocks is chosen once, at first use, from the CPU; MODELDISK_HASH=NAME in
 * the environment overrides it (for tests and measurements; hash_engine_list() names them, any
 * other name changes nothing). Counts too small for an engine go to the next narrower one. All
 * engines give equal digests.
 *
 * Thread rule: everything is thread-safe; a struct hash_stream belongs to one thread at a time.
 */
#ifndef MODELDISK_HASH_H
#define MODELDISK_HASH_H

#include "diag.h"

enum hash_alg { HASH_SHA256, HASH_SHA1, HASH_SHA384, HASH_SHA512 };
#define HASH_MAX_LEN      64
#define HASH_SHA256_LEN   32
#define HASH_MAX_SALT_LEN 256 /* dm-verity superblock */

size_t hash_len(enum hash_alg alg);       /* digest length in bytes */
const char *hash_name(enum hash_alg alg); /* "sha256": as in the dm-verity superblock */
int hash_by_name(const char *name, enum hash_alg *out) MUST_CHECK; /* -EOPNOTSUPP if unknown */

/*
 * A salted block hash as dm-verity uses it: digest(salt || block) when salt_first (hash type 1),
 * digest(block || salt) otherwise (type 0). Immutable after it is made; holds the salt's midstate
 * where that saves work.
 */
struct hash_salted;
int hash_salted_new(enum hash_alg alg, const void *salt, size_t salt_len, bool salt_first,
                    struct hash_salted **out)
        MUST_CHECK; /* -ENOMEM, -EINVAL (salt_len), -EIO (OpenSSL) */
void hash_salted_free(struct hash_salted *h);
DEFINE_SCOPED(hash_salted, struct hash_salted *, hash_salted_free)
/*
 * The digests of cnt blocks of block_len bytes each, lying one behind the other at blocks; digest i
 * is written at out + i * out_stride (out_stride >= hash_len). block_len is 512 to 64 KiB, a power
 * of two. Fails only when OpenSSL does (-EIO) and then leaves out undefined.
 */
int hash_salted_blocks(const struct hash_salted *h, const void *blocks, size_t block_len,
                       size_t cnt, void *out, size_t out_stride) MUST_CHECK;

const char *hash_engine_name(void);
/* Names of the engines that this machine can run, fastest first, NULL-terminated. "openssl" is
 * always there. */
const char *const *hash_engine_list(void);

/* Running digest of one stream (LFS object, file record, whole image). */
struct hash_stream;
int hash_stream_new(enum hash_alg alg, struct hash_stream **out) MUST_CHECK; /* -ENOMEM, -EIO */
int hash_stream_add(struct hash_stream *s, const void *buf, size_t len) MUST_CHECK;
/* Writes hash_len(alg) bytes; the stream then starts anew. */
int hash_stream_finish(struct hash_stream *s, void *out) MUST_CHECK;
void hash_stream_free(struct hash_stream *s);
DEFINE_SCOPED(hash_stream, struct hash_stream *, hash_stream_free)

/* One-shot SHA-256 and HMAC-SHA-256 (RFC 2104), for identifiers. */
int hash_sha256(const void *buf, size_t len, uint8_t out[HASH_SHA256_LEN]) MUST_CHECK;
int hash_hmac_sha256(const void *key, size_t key_len, const void *msg, size_t msg_len,
                     uint8_t out[HASH_SHA256_LEN]) MUST_CHECK;

#endif
