/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature partitions: the input is what stands at their start; one that begins with DER's byte
 * for a sequence is a signature by itself, as --root-hash-sig reads it.
 */
#include "fuzz.h"
#include "signed_root.h"
#include "signer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the key that made the corpus. */
static struct root_trust *trust_signer(void)
{
	static struct root_trust *trust;
	char path[64];
	int fd;

	if (trust)
		return trust;
	fd = memfd_create("certificate", MFD_CLOEXEC);
	FUZZ_MUST(fd >= 0);
	FUZZ_MUST(write(fd, SIGNER_CERTIFICATE, strlen(SIGNER_CERTIFICATE)) > 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	FUZZ_MUST(root_trust_open(path, NULL, &trust, NULL) == 0);
	close(fd);
	return trust;
}

/* The corpus signs zeros: any other root hash has no signature that a mutation could find. */
static void check(const uint8_t *root, size_t root_len, const void *der, size_t len)
{
	uint8_t other[HASH_MAX_LEN] = { 1 };
	struct diag d = DIAG_INIT;
	int r = root_trust_check(trust_signer(), root, root_len, der, len, &d);

	FUZZ_MUST(r == 0 || r == -EBADMSG || r == -EUCLEAN || r == -EOPNOTSUPP);
	FUZZ_MUST(!r || (d.err == r && d.text[0]));
	for (size_t i = 0; r == 0 && i < root_len; i++)
		FUZZ_MUST(root[i] == 0);
	FUZZ_MUST(root_trust_check(trust_signer(), other, HASH_SHA256_LEN, der, len, NULL) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t zeros[HASH_SHA256_LEN];
	/* exactly as long as the input, also when that is nothing */
	char *bytes = calloc(1, len ? len : 1);
	struct signed_root *s = calloc(1, sizeof(*s));
	struct diag d = DIAG_INIT;
	int r;

	FUZZ_MUST(bytes && s);
	if (len)
		memcpy(bytes, data, len);
	if (bytes[0] == 0x30) {
		check(zeros, sizeof(zeros), bytes, len);
	} else {
		r = signed_root_parse(bytes, len, s, &d);
		FUZZ_MUST(r == 0 || (r == -EUCLEAN && d.err == r && d.text[0]));
		FUZZ_MUST(r < 0 || (s->root_len <= HASH_MAX_LEN && s->der_len > 0 &&
		                    s->der_len <= ROOT_SIGNATURE_MAX_LEN));
		if (r == 0)
			check(s->root, s->root_len, s->der, s->der_len);
	}
	free(s);
	free(bytes);
	return 0;
}
