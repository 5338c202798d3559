/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures over root hashes, as systemd-repart makes them and veritysetup --root-hash-signature,
 * the kernel and systemd-dissect check them: a detached PKCS#7 (RFC 2315) in DER without signed
 * attributes, over the root hash in lower-case hexadecimal digits, without a newline. A disk may
 * carry one in a partition of its own (repart.d(5): Verity=signature), as JSON.
 *
 * Thread rule: signers and trusts are read-only once made; every function is thread-safe.
 */
#ifndef MODELDISK_ROOT_SIGNATURE_H
#define MODELDISK_ROOT_SIGNATURE_H

#include "hash.h"

#include "diag.h"

#define ROOT_SIGNATURE_MAX_LEN 8192  /* DER; what is longer is refused unread */
#define ROOT_SIGNATURE_PART    16384 /* bytes of a signature partition that are looked at */

/* ---- making ---- */

struct root_signer;
/*
 * A private key and its certificate, both files in PEM. RSA only: signatures of other keys are
 * different each time, and a disk is a function of its source. -EINVAL: no key, no certificate, or
 * one that is not of the other; -EOPNOTSUPP: no RSA; what open(2) said.
 */
int root_signer_open(const char *key_path, const char *certificate_path, struct root_signer **out,
                     struct diag *d) MUST_CHECK;
void root_signer_free(struct root_signer *s); /* NULL allowed */
DEFINE_SCOPED(root_signer, struct root_signer *, root_signer_free)

/* A signature over a root hash, in DER: of at most ROOT_SIGNATURE_MAX_LEN bytes, malloc'ed. */
int root_signer_sign(const struct root_signer *s, const uint8_t *root, size_t root_len,
                     uint8_t **out, size_t *out_len, struct diag *d) MUST_CHECK;
/* The same as the text of a signature partition, malloc'ed: at most ROOT_SIGNATURE_PART bytes,
 * which NULs follow on the disk. */
int root_signer_partition_text(const struct root_signer *s, const uint8_t *root, size_t root_len,
                               char **out, struct diag *d) MUST_CHECK;

/* ---- checking ---- */

struct root_trust;
/*
 * Whose signatures count: the certificates themselves, not what they have signed, as with
 * /etc/verity.d. When they begin and end to be valid is not asked: a disk is not to become
 * unreadable by the clock. certificate: a file in PEM, or NULL; dir: a directory of which every
 * *.crt is one, or NULL. -EINVAL: nobody is left, or a file holds no certificate; -ENOMEM; what
 * open(2) said.
 */
int root_trust_open(const char *certificate, const char *dir, struct root_trust **out,
                    struct diag *d) MUST_CHECK;
void root_trust_free(struct root_trust *t); /* NULL allowed */
DEFINE_SCOPED(root_trust, struct root_trust *, root_trust_free)

/*
 * Did one of them sign this root hash? -EBADMSG: no, or nobody we trust; -EUCLEAN: it is no such
 * signature; -EOPNOTSUPP: a digest below SHA-256.
 */
int root_trust_check(const struct root_trust *t, const uint8_t *root, size_t root_len,
                     const void *der, size_t der_len, struct diag *d) MUST_CHECK;

/* Base64 as it stands in JSON: no white space, padded. out has room for len / 4 * 3 bytes. Returns
 * how many there are, or -EINVAL. */
ssize_t root_signature_decode(const char *text, size_t len, uint8_t *out) MUST_CHECK;

#endif
