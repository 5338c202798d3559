/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PKCS#7 through OpenSSL. Decides what counts as a signature over a root hash, and by whom; where
 * signatures are kept is the callers'. Everything OpenSSL is given from a disk is bounded first.
 */
#include "root_signature.h"

#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#define PEM_MAX_LEN   65536 /* of a key's or a certificate's file */
#define TRUST_MAX_CNT 1024  /* certificates */

DEFINE_SCOPED(bio, BIO *, BIO_free_all)
DEFINE_SCOPED(pkcs7, PKCS7 *, PKCS7_free)
DEFINE_SCOPED(x509, X509 *, X509_free)

struct root_signer {
	EVP_PKEY *key;
	X509 *certificate;
};

struct root_trust {
	STACK_OF(X509) * certificates;
};

/* What OpenSSL has queued in this thread is not left to whoever calls it next. */
static int refuse(struct diag *d, int err, const char *sentence)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	err = reason ? diag_set(d, err, "%s (%s)", sentence, reason)
	             : diag_set(d, err, "%s", sentence);
	ERR_clear_error();
	return err;
}

/* ---- keys and certificates ---- */

/* A small file as a whole: OpenSSL would read a large or endless one to its end. */
static int read_pem(const char *path, BIO **out, struct diag *d)
{
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	scoped(bio) BIO *b = NULL;
	char buf[4096];
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return diag_set_errno(d, -errno, "%s", path);
	b = BIO_new(BIO_s_mem());
	if (!b)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return diag_set_errno(d, -errno, "%s", path);
		len += (size_t)n;
		if (len > PEM_MAX_LEN)
			return diag_set(d, -EINVAL, "%s: is longer than %d bytes", path,
			                PEM_MAX_LEN);
		if (BIO_write(b, buf, (int)n) != n)
			return diag_set(d, -ENOMEM, "%s: out of memory", path);
	}
	*out = take_ptr(b);
	return 0;
}

static int read_certificate(const char *path, X509 **out, struct diag *d)
{
	scoped(bio) BIO *b = NULL;
	int r = read_pem(path, &b, d);

	if (r < 0)
		return r;
	*out = PEM_read_bio_X509(b, NULL, NULL, NULL);
	if (!*out)
		return diag_prefix(d, refuse(d, -EINVAL, "holds no certificate in PEM"), "%s",
		                   path);
	return 0;
}

/* Nobody is asked for a passphrase: a build runs without a terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *ctx)
{
	(void)buf, (void)size, (void)is_writing, (void)ctx;
	return -1;
}

static int read_key(const char *path, EVP_PKEY **out, struct diag *d)
{
	scoped(bio) BIO *b = NULL;
	int r = read_pem(path, &b, d);

	if (r < 0)
		return r;
	*out = PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL);
	if (!*out)
		return diag_prefix(
		        d, refuse(d, -EINVAL, "holds no private key in PEM without a passphrase"),
		        "%s", path);
	return 0;
}

/* ---- making ---- */

int root_signer_open(const char *key_path, const char *certificate_path, struct root_signer **out,
                     struct diag *d)
{
	scoped(root_signer) struct root_signer *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return diag_set(d, -ENOMEM, "out of memory");
	r = read_key(key_path, &s->key, d);
	if (r == 0)
		r = read_certificate(certificate_path, &s->certificate, d);
	if (r < 0)
		return r;
	if (EVP_PKEY_get_base_id(s->key) != EVP_PKEY_RSA)
		return diag_set(d, -EOPNOTSUPP,
		                "%s: is no RSA key; signatures of other keys are different each "
		                "time, and so would the disks be",
		                key_path);
	if (X509_check_private_key(s->certificate, s->key) != 1)
		return diag_prefix(d, refuse(d, -EINVAL, "is not the key's certificate"), "%s",
		                   certificate_path);
	*out = take_ptr(s);
	return 0;
}

void root_signer_free(struct root_signer *s)
{
	if (!s)
		return;
	EVP_PKEY_free(s->key);
	X509_free(s->certificate);
	free(s);
}

/* What is signed: the digits, as the kernel composes them. */
static BIO *statement(const uint8_t *root, size_t root_len)
{
	char hex[2 * HASH_MAX_LEN + 1];
	BIO *b = BIO_new(BIO_s_mem());

	hex_encode(root, root_len, hex);
	if (b && BIO_write(b, hex, (int)(2 * root_len)) != (int)(2 * root_len)) {
		BIO_free(b);
		return NULL;
	}
	return b;
}

static char *base64_of(const uint8_t *der, size_t len)
{
	char *text = malloc((len + 2) / 3 * 4 + 1);

	if (text)
		EVP_EncodeBlock((unsigned char *)text, der, (int)len);
	return text;
}

/* Keys in systemd's order, no white space. */
static int make_text(const struct root_signer *s, const uint8_t *root, size_t root_len,
                     const char *signature, char **out)
{
	char hex[2 * HASH_MAX_LEN + 1], fingerprint[2 * HASH_SHA256_LEN + 1];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;

	if (X509_digest(s->certificate, EVP_sha256(), digest, &digest_len) != 1)
		return -ENOMEM;
	hex_encode(root, root_len, hex);
	hex_encode(digest, digest_len, fingerprint);
	if (asprintf(out,
	             "{\"rootHash\":\"%s\",\"certificateFingerprint\":\"%s\",\"signature\":\"%s\"}",
	             hex, fingerprint, signature) < 0) {
		*out = NULL;
		return -ENOMEM;
	}
	return 0;
}

int root_signer_sign(const struct root_signer *s, const uint8_t *root, size_t root_len,
                     uint8_t **out, size_t *out_len, struct diag *d)
{
	scoped(bio) BIO *content = statement(root, root_len);
	scoped(pkcs7) PKCS7 *p7 = NULL;
	scoped_free uint8_t *der = NULL;
	unsigned char *at;
	int len;

	if (!content)
		return diag_set(d, -ENOMEM, "out of memory for the signature");
	p7 = PKCS7_sign(s->certificate, s->key, NULL, content,
	                PKCS7_DETACHED | PKCS7_NOATTR | PKCS7_BINARY);
	len = p7 ? i2d_PKCS7(p7, NULL) : -1;
	if (len <= 0)
		return refuse(d, -EIO, "the root hash cannot be signed");
	if (len > ROOT_SIGNATURE_MAX_LEN)
		return diag_set(d, -EOPNOTSUPP, "a signature of %d bytes, more than %d", len,
		                ROOT_SIGNATURE_MAX_LEN);
	der = at = malloc((size_t)len);
	if (!der || i2d_PKCS7(p7, &at) != len)
		return diag_set(d, -ENOMEM, "out of memory for the signature");
	*out = take_ptr(der);
	*out_len = (size_t)len;
	return 0;
}

int root_signer_partition_text(const struct root_signer *s, const uint8_t *root, size_t root_len,
                               char **out, struct diag *d)
{
	scoped_free uint8_t *der = NULL;
	scoped_free char *base64 = NULL;
	size_t len = 0;
	int r = root_signer_sign(s, root, root_len, &der, &len, d);

	if (r < 0)
		return r;
	base64 = base64_of(der, len);
	if (!base64 || make_text(s, root, root_len, base64, out) < 0)
		return diag_set(d, -ENOMEM, "out of memory for the signature");
	return 0;
}

/* ---- whom to trust ---- */

static int trust_file(struct root_trust *t, const char *path, struct diag *d)
{
	scoped(x509) X509 *certificate = NULL;
	int r = read_certificate(path, &certificate, d);

	if (r < 0)
		return r;
	if (sk_X509_num(t->certificates) >= TRUST_MAX_CNT)
		return diag_set(d, -EINVAL, "%s: more than %d certificates", path, TRUST_MAX_CNT);
	if (sk_X509_push(t->certificates, certificate) <= 0)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	take_ptr(certificate);
	return 0;
}

static bool is_certificate_name(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > 4 && strcmp(name + len - 4, ".crt") == 0;
}

static void scope_end_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int trust_dir(struct root_trust *t, const char *path, struct diag *d)
{
	scoped(dir) DIR *dir = opendir(path);
	int r = 0;

	if (!dir)
		return diag_set_errno(d, -errno, "%s", path);
	while (r == 0) {
		scoped_free char *file = NULL;

		errno = 0;
		const struct dirent *e = readdir(dir);
		if (!e)
			return errno ? diag_set_errno(d, -errno, "%s", path) : 0;
		if (!is_certificate_name(e->d_name))
			continue;
		if (asprintf(&file, "%s/%s", path, e->d_name) < 0) {
			file = NULL;
			return diag_set(d, -ENOMEM, "%s: out of memory", path);
		}
		r = trust_file(t, file, d);
	}
	return r;
}

int root_trust_open(const char *certificate, const char *dir, struct root_trust **out,
                    struct diag *d)
{
	scoped(root_trust) struct root_trust *t = calloc(1, sizeof(*t));
	int r = 0;

	if (t)
		t->certificates = sk_X509_new_null();
	if (!t || !t->certificates)
		return diag_set(d, -ENOMEM, "out of memory");
	if (certificate)
		r = trust_file(t, certificate, d);
	if (r == 0 && dir)
		r = trust_dir(t, dir, d);
	if (r < 0)
		return r;
	if (sk_X509_num(t->certificates) == 0)
		return diag_set(d, -EINVAL, "%s: holds no certificate: no file is called *.crt",
		                dir ? dir : "no file");
	*out = take_ptr(t);
	return 0;
}

void root_trust_free(struct root_trust *t)
{
	if (!t)
		return;
	sk_X509_pop_free(t->certificates, X509_free);
	free(t);
}

/* ---- checking ---- */

static bool is_strong(const X509_ALGOR *digest)
{
	const ASN1_OBJECT *name = NULL;
	int nid;

	X509_ALGOR_get0(&name, NULL, NULL, digest);
	nid = OBJ_obj2nid(name);
	return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

/*
 * The signer's digest, and the list of digests to be computed beforehand: that must not be longer
 * than one signer needs, and OpenSSL leaks memory where it holds one that is not known.
 */
static bool has_one_strong_digest(const PKCS7 *p7, const PKCS7_SIGNER_INFO *signer)
{
	const STACK_OF(X509_ALGOR) *digests = p7->d.sign->md_algs;

	return sk_X509_ALGOR_num(digests) == 1 && is_strong(sk_X509_ALGOR_value(digests, 0)) &&
	       is_strong(signer->digest_alg);
}

/* One detached signature by one signer, and nothing behind it. */
static int parse(const void *der, size_t der_len, PKCS7 **out, struct diag *d)
{
	const unsigned char *at = der;
	scoped(pkcs7) PKCS7 *p7 = NULL;
	STACK_OF(PKCS7_SIGNER_INFO) * signers;

	if (der_len == 0 || der_len > ROOT_SIGNATURE_MAX_LEN)
		return diag_set(d, -EUCLEAN,
		                "a signature of %zu bytes, expected at least 1 and at most %d",
		                der_len, ROOT_SIGNATURE_MAX_LEN);
	p7 = d2i_PKCS7(NULL, &at, (long)der_len);
	if (!p7)
		return refuse(d, -EUCLEAN, "the signature is no PKCS#7 in DER");
	if (at != (const unsigned char *)der + der_len)
		return diag_set(d, -EUCLEAN, "bytes follow the signature");
	if (!PKCS7_type_is_signed(p7) || !p7->d.sign || !PKCS7_get_detached(p7))
		return diag_set(d, -EUCLEAN,
		                "the signature is no detached PKCS#7 signature (signedData "
		                "without its content)");
	signers = PKCS7_get_signer_info(p7);
	if (sk_PKCS7_SIGNER_INFO_num(signers) != 1)
		return diag_set(d, -EUCLEAN, "the signature has %d signers, expected one",
		                MAX(sk_PKCS7_SIGNER_INFO_num(signers), 0));
	if (!has_one_strong_digest(p7, sk_PKCS7_SIGNER_INFO_value(signers, 0)))
		return diag_set(d, -EOPNOTSUPP,
		                "the signature's digest is not SHA-256, SHA-384 or SHA-512 alone");
	*out = take_ptr(p7);
	return 0;
}

/*
 * Certificates inside the signature are not used: NOINTERN. Chains and dates are not asked for:
 * NOVERIFY; the trusted certificates themselves sign.
 */
int root_trust_check(const struct root_trust *t, const uint8_t *root, size_t root_len,
                     const void *der, size_t der_len, struct diag *d)
{
	scoped(pkcs7) PKCS7 *p7 = NULL;
	scoped(bio) BIO *content = NULL;
	int r = parse(der, der_len, &p7, d);

	if (r < 0)
		return r;
	content = statement(root, root_len);
	if (!content)
		return diag_set(d, -ENOMEM, "out of memory for the signature");
	if (PKCS7_verify(p7, t->certificates, NULL, content, NULL,
	                 PKCS7_NOINTERN | PKCS7_NOVERIFY | PKCS7_BINARY) != 1)
		return refuse(d, -EBADMSG, "no trusted certificate has signed this root hash");
	return 0;
}

ssize_t root_signature_decode(const char *text, size_t len, uint8_t *out)
{
	size_t padding = 0;

	if (len == 0 || len % 4 != 0 || len > ROOT_SIGNATURE_PART)
		return -EINVAL;
	/* EVP_DecodeBlock() forgives white space, and gives zeros for padding */
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '=' && i + 2 >= len)
			padding++;
		else if (padding > 0 ||
		         !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
		                 "yz0123456789+/",
		                 text[i]) ||
		         text[i] == '\0')
			return -EINVAL;
	}
	if (EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) < 0) {
		ERR_clear_error();
		return -EINVAL;
	}
	return (ssize_t)(len / 4 * 3 - padding);
}
