/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to OpenSSL's hashes: algorithms by name, salted blocks, streams, HMAC.
 */
#include "hash.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static const struct {
	const char *name;
	size_t len;
	const EVP_MD *(*md)(void);
} algs[] = {
	[HASH_SHA256] = { "sha256", 32, EVP_sha256 },
	[HASH_SHA1] = { "sha1", 20, EVP_sha1 },
	[HASH_SHA384] = { "sha384", 48, EVP_sha384 },
	[HASH_SHA512] = { "sha512", 64, EVP_sha512 },
};

size_t hash_len(enum hash_alg alg)
{
	return algs[alg].len;
}

const char *hash_name(enum hash_alg alg)
{
	return algs[alg].name;
}

int hash_by_name(const char *name, enum hash_alg *out)
{
	for (size_t i = 0; i < ARRAY_LEN(algs); i++)
		if (strcmp(name, algs[i].name) == 0) {
			*out = (enum hash_alg)i;
			return 0;
		}
	return -EOPNOTSUPP;
}

DEFINE_SCOPED(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free)

/* ---- salted blocks ---- */

struct hash_salted {
	enum hash_alg alg;
	bool salt_first;
	size_t salt_len;
	uint8_t salt[HASH_MAX_SALT_LEN];
	EVP_MD *md; /* fetched once: looking it up by EVP_sha256() for each block costs a lock */
};

int hash_salted_new(enum hash_alg alg, const void *salt, size_t salt_len, bool salt_first,
                    struct hash_salted **out)
{
	scoped(hash_salted) struct hash_salted *h = NULL;

	if (salt_len > HASH_MAX_SALT_LEN)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->alg = alg;
	h->salt_first = salt_first;
	h->salt_len = salt_len;
	if (salt_len > 0)
		memcpy(h->salt, salt, salt_len);
	h->md = EVP_MD_fetch(NULL, algs[alg].name, NULL);
	if (!h->md)
		return -EIO;
	*out = take_ptr(h);
	return 0;
}

void hash_salted_free(struct hash_salted *h)
{
	if (!h)
		return;
	EVP_MD_free(h->md);
	free(h);
}

static bool openssl_block(EVP_MD_CTX *ctx, const struct hash_salted *h, const void *block,
                          size_t block_len, uint8_t *out)
{
	return EVP_DigestInit_ex2(ctx, h->md, NULL) == 1 &&
	       (!h->salt_first || EVP_DigestUpdate(ctx, h->salt, h->salt_len) == 1) &&
	       EVP_DigestUpdate(ctx, block, block_len) == 1 &&
	       (h->salt_first || EVP_DigestUpdate(ctx, h->salt, h->salt_len) == 1) &&
	       EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

int hash_salted_blocks(const struct hash_salted *h, const void *blocks, size_t block_len,
                       size_t cnt, void *out, size_t out_stride)
{
	scoped(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const uint8_t *in = blocks;
	uint8_t *digest = out;

	if (!ctx)
		return -EIO;
	for (size_t i = 0; i < cnt; i++)
		if (!openssl_block(ctx, h, in + i * block_len, block_len, digest + i * out_stride))
			return -EIO;
	return 0;
}

const char *hash_engine_name(void)
{
	return hash_engine_list()[0];
}

const char *const *hash_engine_list(void)
{
	static const char *const list[] = { "openssl", NULL };

	return list;
}

/* ---- streams ---- */

struct hash_stream {
	enum hash_alg alg;
	EVP_MD_CTX *ctx;
};

static int stream_start(struct hash_stream *s)
{
	return EVP_DigestInit_ex2(s->ctx, algs[s->alg].md(), NULL) == 1 ? 0 : -EIO;
}

int hash_stream_new(enum hash_alg alg, struct hash_stream **out)
{
	scoped(hash_stream) struct hash_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->alg = alg;
	s->ctx = EVP_MD_CTX_new();
	if (!s->ctx)
		return -ENOMEM;
	r = stream_start(s);
	if (r < 0)
		return r;
	*out = take_ptr(s);
	return 0;
}

int hash_stream_add(struct hash_stream *s, const void *buf, size_t len)
{
	return EVP_DigestUpdate(s->ctx, buf, len) == 1 ? 0 : -EIO;
}

int hash_stream_finish(struct hash_stream *s, void *out)
{
	if (EVP_DigestFinal_ex(s->ctx, out, NULL) != 1)
		return -EIO;
	return stream_start(s);
}

void hash_stream_free(struct hash_stream *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->ctx);
	free(s);
}

/* ---- one shot ---- */

int hash_sha256(const void *buf, size_t len, uint8_t out[HASH_SHA256_LEN])
{
	return EVP_Digest(buf, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int hash_hmac_sha256(const void *key, size_t key_len, const void *msg, size_t msg_len,
                     uint8_t out[HASH_SHA256_LEN])
{
	assert(key_len <= INT_MAX);
	/* a NULL key would mean "the key of the last call" */
	return HMAC(EVP_sha256(), key_len ? key : "", (int)key_len, msg, msg_len, out, NULL) ? 0
	                                                                                     : -EIO;
}
