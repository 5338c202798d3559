/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "root_signature.h"
#include "signed_root.h"
#include "signer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

struct fixture {
	char *dir;
	char key[300], certificate[300], other[300], ec[300], certs[300];
	struct root_signer *signer;
	struct root_trust *trust;
	uint8_t root[HASH_SHA256_LEN];
	char *text;
	struct signed_root s;
};

static void put(const struct fixture *f, const char *name, const char *text, char path[300])
{
	snprintf(path, 300, "%s/%s", f->dir, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, false);
	fclose(file);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = support_make_dir();
	put(f, "key", SIGNER_KEY, f->key);
	put(f, "certificate", SIGNER_CERTIFICATE, f->certificate);
	put(f, "other", SIGNER_OTHER_CERTIFICATE, f->other);
	put(f, "ec", SIGNER_EC_KEY, f->ec);
	snprintf(f->certs, sizeof(f->certs), "%s/certs", f->dir);
	assert_int_equal(mkdir(f->certs, 0755), 0);
	support_fill(f->root, sizeof(f->root), 1);
	assert_int_equal(root_signer_open(f->key, f->certificate, &f->signer, NULL), 0);
	assert_int_equal(root_trust_open(f->certificate, NULL, &f->trust, NULL), 0);
	assert_int_equal(
	        root_signer_partition_text(f->signer, f->root, sizeof(f->root), &f->text, NULL), 0);
	assert_int_equal(signed_root_parse(f->text, strlen(f->text), &f->s, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	support_fail_allocation(0);
	root_signer_free(f->signer);
	root_trust_free(f->trust);
	free(f->text);
	support_remove_dir(f->dir);
	free(f);
	return 0;
}

/* Does the trust accept exactly these bytes for this root hash? */
static int check(const struct fixture *f, const uint8_t *root, const void *der, size_t len)
{
	scoped_free uint8_t *exact = malloc(len ? len : 1);
	struct diag d = DIAG_INIT;
	int r;

	assert_non_null(exact);
	memcpy(exact, der, len);
	r = root_trust_check(f->trust, root, HASH_SHA256_LEN, exact, len, &d);
	assert_int_equal(d.err, r);
	assert_int_equal(d.text[0] == '\0', r == 0);
	return r;
}

/* ---- making ---- */

static void what_is_signed_is_accepted(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->s.root_len, sizeof(f->root));
	assert_memory_equal(f->s.root, f->root, sizeof(f->root));
	assert_int_equal(check(f, f->root, f->s.der, f->s.der_len), 0);
}

static void same_key_and_root_hash_give_the_same_text(void **state)
{
	struct fixture *f = *state;
	scoped_free char *again = NULL;

	assert_int_equal(
	        root_signer_partition_text(f->signer, f->root, sizeof(f->root), &again, NULL), 0);
	assert_string_equal(again, f->text);
}

static void text_is_as_systemd_writes_it(void **state)
{
	struct fixture *f = *state;
	char hex[2 * HASH_SHA256_LEN + 1], head[200];

	hex_encode(f->root, sizeof(f->root), hex);
	snprintf(head, sizeof(head), "{\"rootHash\":\"%s\",\"certificateFingerprint\":\"", hex);
	assert_int_equal(strncmp(f->text, head, strlen(head)), 0);
	assert_int_equal(strncmp(f->text + strlen(head) + 64, "\",\"signature\":\"", 15), 0);
	assert_string_equal(f->text + strlen(f->text) - 2, "\"}");
	assert_null(strpbrk(f->text, " \t\n"));
}

static void unfit_keys_are_refused(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *key, *certificate;
		int r;
		const char *why;
	} cases[] = {
		{ f->ec, f->certificate, -EOPNOTSUPP, "is no RSA key" },
		{ f->key, f->other, -EINVAL, "is not the key's certificate" },
		{ f->certificate, f->certificate, -EINVAL, "no private key" },
		{ f->key, f->key, -EINVAL, "no certificate" },
		{ f->certs, f->certificate, -EISDIR, f->certs },
		{ "/nowhere", f->certificate, -ENOENT, "/nowhere" },
		{ "/dev/zero", f->certificate, -EINVAL, "is longer than" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct root_signer *s = NULL;
		struct diag d = DIAG_INIT;

		assert_int_equal(root_signer_open(cases[i].key, cases[i].certificate, &s, &d),
		                 cases[i].r);
		assert_non_null(strstr(d.text, cases[i].why));
		assert_null(s);
	}
}

/* ---- checking ---- */

static void another_root_hash_is_never_accepted(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(f->root); i++) {
		uint8_t root[sizeof(f->root)];

		memcpy(root, f->root, sizeof(root));
		root[i] ^= 1;
		assert_int_equal(check(f, root, f->s.der, f->s.der_len), -EBADMSG);
	}
	/* nor the first half of it */
	assert_int_equal(root_trust_check(f->trust, f->root, 16, f->s.der, f->s.der_len, NULL),
	                 -EBADMSG);
}

/*
 * The certificate inside is not used, so some flips change nothing that counts; of those that are
 * still accepted, none is for another root hash.
 */
static void flipped_bytes_never_sign_another_root_hash(void **state)
{
	struct fixture *f = *state;
	uint8_t root[sizeof(f->root)];
	size_t refused = 0;

	memcpy(root, f->root, sizeof(root));
	root[0] ^= 1;
	for (size_t i = 0; i < f->s.der_len; i++) {
		f->s.der[i] ^= 0x55;
		assert_int_not_equal(check(f, root, f->s.der, f->s.der_len), 0);
		refused += check(f, f->root, f->s.der, f->s.der_len) < 0;
		f->s.der[i] ^= 0x55;
	}
	/* at least the 256 bytes of the RSA signature */
	assert_in_range(refused, 256, f->s.der_len);
	for (size_t i = f->s.der_len - 256; i < f->s.der_len; i++) {
		f->s.der[i] ^= 1;
		assert_int_equal(check(f, f->root, f->s.der, f->s.der_len), -EBADMSG);
		f->s.der[i] ^= 1;
	}
}

static void cut_and_lengthened_signatures_are_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t len = 0; len < f->s.der_len; len++)
		assert_int_equal(check(f, f->root, f->s.der, len), -EUCLEAN);
	f->s.der[f->s.der_len] = 0;
	assert_int_equal(check(f, f->root, f->s.der, f->s.der_len + 1), -EUCLEAN);
	memset(f->s.der, 0x30, sizeof(f->s.der));
	assert_int_equal(check(f, f->root, f->s.der, sizeof(f->s.der)), -EUCLEAN);
}

static void strangers_of_the_same_name_are_not_trusted(void **state)
{
	struct fixture *f = *state;
	char path[300];

	root_trust_free(f->trust);
	assert_int_equal(root_trust_open(f->other, NULL, &f->trust, NULL), 0);
	assert_int_equal(check(f, f->root, f->s.der, f->s.der_len), -EBADMSG);
	put(f, "certs/key.crt", SIGNER_KEY, path);
	root_trust_free(f->trust);
	f->trust = NULL;
	assert_int_equal(root_trust_open(NULL, f->certs, &f->trust, NULL), -EINVAL);
}

static void directories_are_read_for_certificates_only(void **state)
{
	struct fixture *f = *state;
	struct diag d = DIAG_INIT;
	char path[300];

	root_trust_free(f->trust);
	f->trust = NULL;
	put(f, "certs/README", "no certificate", path);
	put(f, "certs/.crt", "no certificate", path);
	assert_int_equal(root_trust_open(NULL, f->certs, &f->trust, &d), -EINVAL);
	assert_non_null(strstr(d.text, "no file is called *.crt"));
	put(f, "certs/a.crt", SIGNER_CERTIFICATE, path);
	assert_int_equal(root_trust_open(NULL, f->certs, &f->trust, NULL), 0);
	assert_int_equal(check(f, f->root, f->s.der, f->s.der_len), 0);
}

static void failing_allocations_are_told(void **state)
{
	struct fixture *f = *state;
	int r = -1;

	for (unsigned long k = 1; r != 0; k++) {
		struct root_signer *s = NULL;
		char *text = NULL;
		struct diag d = DIAG_INIT;

		assert_true(k < 100);
		support_fail_allocation(k);
		r = root_signer_open(f->key, f->certificate, &s, &d);
		if (r == 0)
			r = root_signer_partition_text(s, f->root, sizeof(f->root), &text, &d);
		support_fail_allocation(0);
		if (r < 0)
			assert_int_equal(d.err, r);
		root_signer_free(s);
		free(text);
	}
}

/* ---- the text ---- */

#define HEX32 "00112233445566778899aabbccddeeff"
#define HEX64 HEX32 HEX32

static void hostile_texts_are_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"\"rootHash\"",
		"{}",
		"{\"rootHash\":\"" HEX64 "\"}",
		"{\"signature\":\"AAAA\"}",
		"{\"rootHash\":1,\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"abc\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"zz\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"" HEX64 HEX64 "00\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"" HEX64 "\\u0000\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"" HEX64 "\",\"rootHash\":\"" HEX64 "\",\"signature\":\"AAAA\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":null}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AAA\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AAAA\\n\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AAA \"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\" AAA\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"A===\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AA=A\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"====\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AAA\\u0000\"}",
		"{\"rootHash\":\"" HEX64 "\",\"signature\":\"AAAA\"} x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct signed_root s = { .der_len = 0 };
		struct diag d = DIAG_INIT;

		assert_int_equal(signed_root_parse(texts[i], strlen(texts[i]), &s, &d), -EUCLEAN);
		assert_int_equal(d.err, -EUCLEAN);
	}
}

static void only_zeros_may_follow_the_text(void **state)
{
	struct fixture *f = *state;
	size_t len = strlen(f->text);
	scoped_free char *part = calloc(1, ROOT_SIGNATURE_PART);

	memcpy(part, f->text, len);
	assert_int_equal(signed_root_parse(part, ROOT_SIGNATURE_PART, &f->s, NULL), 0);
	part[ROOT_SIGNATURE_PART - 1] = 1;
	assert_int_equal(signed_root_parse(part, ROOT_SIGNATURE_PART, &f->s, NULL), -EUCLEAN);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(signed_root_parse(f->text, cut, &f->s, NULL), -EUCLEAN);
}

static void longest_signature_fits_and_no_longer_one(void **state)
{
	static char text[ROOT_SIGNATURE_PART];
	struct signed_root s = { .der_len = 0 };
	const size_t most = ROOT_SIGNATURE_MAX_LEN / 3 * 4; /* Base64 of two bytes less */

	(void)state;
	for (size_t len = most; len <= most + 4; len += 4) {
		int head = snprintf(text, sizeof(text),
		                    "{\"rootHash\":\"" HEX64 "\",\"signature\":\"");

		memset(text + head, 'A', len);
		memcpy(text + head + len, "\"}", 3);
		assert_int_equal(signed_root_parse(text, sizeof(text), &s, NULL),
		                 len == most ? 0 : -EUCLEAN);
	}
	assert_int_equal(s.der_len, most / 4 * 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_signed_is_accepted),
		TEST(same_key_and_root_hash_give_the_same_text),
		TEST(text_is_as_systemd_writes_it),
		TEST(unfit_keys_are_refused),
		TEST(another_root_hash_is_never_accepted),
		TEST(flipped_bytes_never_sign_another_root_hash),
		TEST(cut_and_lengthened_signatures_are_refused),
		TEST(strangers_of_the_same_name_are_not_trusted),
		TEST(directories_are_read_for_certificates_only),
		TEST(failing_allocations_are_told),
		TEST(hostile_texts_are_refused),
		TEST(only_zeros_may_follow_the_text),
		TEST(longest_signature_fits_and_no_longer_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
