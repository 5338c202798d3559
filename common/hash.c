/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides which engine hashes a run of salted blocks and how salt, block and padding fall into the
 * chunks that engines compress; holds the only door to OpenSSL's hashes. How an instruction set is
 * put to work is the business of hash_*.c.
 */
#include "hash_int.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

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

/* ---- engines ---- */

_Alignas(64) const uint32_t hash_sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static bool always(void)
{
	return true;
}

/* Without kernels: what no kernel takes goes to openssl_blocks(). */
static const struct hash_engine hash_openssl = { .name = "openssl", .is_usable = always };

static const struct hash_engine *const known[] = {
#if defined(__x86_64__)
	&hash_avx512,
	&hash_shani,
	&hash_avx2,
#elif defined(__aarch64__)
	&hash_armv8,
#endif
	&hash_openssl,
};

/* Those this machine can run, fastest first; written once. */
static struct {
	pthread_once_t once;
	const struct hash_engine *v[ARRAY_LEN(known)];
	const char *names[ARRAY_LEN(known) + 1];
	size_t cnt, chosen;
} engines = { .once = PTHREAD_ONCE_INIT };

static size_t find_engine(const char *name)
{
	size_t i = 0;

	while (i < engines.cnt && strcmp(engines.names[i], name) != 0)
		i++;
	return i;
}

static void choose_engine(void)
{
	const char *wanted = getenv("MODELDISK_HASH");

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i]->is_usable()) {
			engines.names[engines.cnt] = known[i]->name;
			engines.v[engines.cnt++] = known[i];
		}
	if (wanted && find_engine(wanted) < engines.cnt)
		engines.chosen = find_engine(wanted);
}

const char *const *hash_engine_list(void)
{
	pthread_once(&engines.once, choose_engine);
	return engines.names;
}

const char *hash_engine_name(void)
{
	return hash_engine_list()[engines.chosen];
}

/* The best kernel for cnt blocks among the engine's and those of slower ones; NULL: OpenSSL. */
static const struct hash_kernel *find_kernel(size_t engine, size_t cnt)
{
	for (; engine < engines.cnt; engine++)
		for (const struct hash_kernel *k = engines.v[engine]->kernels; k->lanes > 0; k++)
			if (cnt >= k->min_cnt)
				return k;
	return NULL;
}

/* ---- salted blocks ---- */

struct hash_salted {
	enum hash_alg alg;
	bool salt_first;
	size_t salt_len;
	uint8_t salt[HASH_MAX_SALT_LEN];
	EVP_MD *md;        /* fetched once: a look-up for each block would take a lock */
	uint32_t start[8]; /* SHA-256's state behind the salt's whole chunks, for kernels */
};

static const uint32_t sha256_initial[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static void start_lanes(uint32_t *state, size_t lanes, const uint32_t start[8])
{
	for (size_t w = 0; w < 8; w++)
		for (size_t l = 0; l < lanes; l++)
			state[w * lanes + l] = start[w];
}

/* Compresses the whole chunks of a leading salt once for all blocks. */
static void compute_start(struct hash_salted *h)
{
	const struct hash_kernel *k = find_kernel(0, HASH_MAX_LANES);
	uint32_t state[8 * HASH_MAX_LANES];
	const uint8_t *in[HASH_MAX_LANES];

	memcpy(h->start, sha256_initial, sizeof(h->start));
	if (!k || !h->salt_first || h->salt_len < HASH_CHUNK_LEN)
		return;
	start_lanes(state, k->lanes, sha256_initial);
	for (size_t l = 0; l < k->lanes; l++)
		in[l] = h->salt;
	k->compress(state, in, h->salt_len / HASH_CHUNK_LEN);
	for (size_t w = 0; w < 8; w++)
		h->start[w] = state[w * k->lanes];
}

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
	pthread_once(&engines.once, choose_engine);
	compute_start(h);
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

/* A run of blocks and where their digests go. */
struct run {
	const uint8_t *blocks;
	size_t block_len, cnt;
	uint8_t *out;
	size_t out_stride;
};

static bool openssl_block(EVP_MD_CTX *ctx, const struct hash_salted *h, const uint8_t *block,
                          size_t block_len, uint8_t *out)
{
	return EVP_DigestInit_ex2(ctx, h->md, NULL) == 1 &&
	       (!h->salt_first || EVP_DigestUpdate(ctx, h->salt, h->salt_len) == 1) &&
	       EVP_DigestUpdate(ctx, block, block_len) == 1 &&
	       (h->salt_first || EVP_DigestUpdate(ctx, h->salt, h->salt_len) == 1) &&
	       EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

static int openssl_blocks(const struct hash_salted *h, const struct run *r)
{
	scoped(md_ctx) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx)
		return -EIO;
	for (size_t i = 0; i < r->cnt; i++)
		if (!openssl_block(ctx, h, r->blocks + i * r->block_len, r->block_len,
		                   r->out + i * r->out_stride))
			return -EIO;
	return 0;
}

/*
 * How one message falls into chunks, the same for every block of a run. Most of a block is
 * compressed where it lies; only what shares a chunk with salt or padding is copied.
 *
 *   salt ... | salt  block | block ... block | block  80 00 .. length       salt_first
 *     start    head          body              tail
 *
 *   block ... block | salt ... salt  80 00 .. length                        otherwise
 *     body            tail
 */
struct layout {
	size_t head_salt_len; /* salt bytes in the head chunk; 0: no head */
	size_t body_off, body_cnt;
	size_t tail_block_len; /* bytes of the block in the tail; 0: one tail serves all blocks */
	size_t tail_cnt;
	uint8_t tail[HASH_MAX_SALT_LEN + HASH_CHUNK_LEN]; /* from behind tail_block_len on */
};

/* The chunks that hold a part of a block and so are filled per lane. */
#define MAX_OWN_TAIL (2 * HASH_CHUNK_LEN)

static void layout_init(struct layout *l, const struct hash_salted *h, size_t block_len)
{
	uint64_t bits = (uint64_t)(h->salt_len + block_len) * 8;
	size_t at;

	memset(l, 0, sizeof(*l));
	l->head_salt_len = h->salt_first ? h->salt_len % HASH_CHUNK_LEN : 0;
	l->body_off = l->head_salt_len ? HASH_CHUNK_LEN - l->head_salt_len : 0;
	l->body_cnt = (block_len - l->body_off) / HASH_CHUNK_LEN;
	l->tail_block_len = l->head_salt_len;

	at = l->tail_block_len;
	if (!h->salt_first) {
		memcpy(l->tail, h->salt, h->salt_len);
		at = h->salt_len;
	}
	l->tail[at++] = 0x80;
	l->tail_cnt = div_up(at + sizeof(bits), HASH_CHUNK_LEN);
	for (size_t i = 1; i <= sizeof(bits); i++, bits >>= 8)
		l->tail[l->tail_cnt * HASH_CHUNK_LEN - i] = (uint8_t)bits;
}

static void put_digest(uint8_t *out, const uint32_t *state, size_t lanes)
{
	for (size_t w = 0; w < 8; w++) {
		uint32_t v = state[w * lanes];

		*out++ = (uint8_t)(v >> 24);
		*out++ = (uint8_t)(v >> 16);
		*out++ = (uint8_t)(v >> 8);
		*out++ = (uint8_t)v;
	}
}

/* At most k->lanes blocks at once. Idle lanes do the last block again. */
static void kernel_blocks(const struct hash_kernel *k, const struct hash_salted *h,
                          const struct layout *lay, const struct run *r)
{
	uint32_t state[8 * HASH_MAX_LANES];
	uint8_t head[HASH_MAX_LANES][HASH_CHUNK_LEN], tail[HASH_MAX_LANES][MAX_OWN_TAIL];
	const uint8_t *heads[HASH_MAX_LANES], *bodies[HASH_MAX_LANES], *tails[HASH_MAX_LANES];
	size_t salt_len = lay->head_salt_len, own_len = lay->tail_block_len;
	const uint8_t *salt_rest = h->salt + h->salt_len - salt_len;

	for (size_t l = 0; l < k->lanes; l++) {
		const uint8_t *block = r->blocks + MIN(l, r->cnt - 1) * r->block_len;

		heads[l] = head[l];
		bodies[l] = block + lay->body_off;
		tails[l] = lay->tail;
		if (salt_len == 0)
			continue;
		memcpy(head[l], salt_rest, salt_len);
		memcpy(head[l] + salt_len, block, HASH_CHUNK_LEN - salt_len);
		memcpy(tail[l], lay->tail, lay->tail_cnt * HASH_CHUNK_LEN);
		memcpy(tail[l], block + r->block_len - own_len, own_len);
		tails[l] = tail[l];
	}

	start_lanes(state, k->lanes, h->start);
	if (salt_len > 0)
		k->compress(state, heads, 1);
	k->compress(state, bodies, lay->body_cnt);
	k->compress(state, tails, lay->tail_cnt);
	for (size_t l = 0; l < MIN(r->cnt, k->lanes); l++)
		put_digest(r->out + l * r->out_stride, state + l, k->lanes);
}

static int run_by(size_t engine, const struct hash_salted *h, struct run r)
{
	struct layout lay;

	assert(r.block_len >= 512 && r.block_len <= 64 * KIB && is_power_of_two(r.block_len));
	if (h->alg != HASH_SHA256)
		return openssl_blocks(h, &r);
	layout_init(&lay, h, r.block_len);
	while (r.cnt > 0) {
		const struct hash_kernel *k = find_kernel(engine, r.cnt);
		size_t n;

		if (!k)
			return openssl_blocks(h, &r);
		kernel_blocks(k, h, &lay, &r);
		n = MIN(r.cnt, k->lanes);
		r.blocks += n * r.block_len;
		r.out += n * r.out_stride;
		r.cnt -= n;
	}
	return 0;
}

int hash_salted_blocks(const struct hash_salted *h, const void *blocks, size_t block_len,
                       size_t cnt, void *out, size_t out_stride)
{
	return run_by(engines.chosen, h, (struct run){ blocks, block_len, cnt, out, out_stride });
}

int hash_salted_blocks_by(const char *engine, const struct hash_salted *h, const void *blocks,
                          size_t block_len, size_t cnt, void *out, size_t out_stride)
{
	size_t i = find_engine(engine);

	assert(i < engines.cnt);
	return run_by(i, h, (struct run){ blocks, block_len, cnt, out, out_stride });
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
