/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdicts are those of `git lfs pointer --check` (3.3.0); oracles/checkout.py asks it again.
 */
#include "support.h"

#include "lfs_pointer.h"
#include "text.h"

#define OID     "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define VERSION "version https://git-lfs.github.com/spec/v1\n"
#define GOOD    VERSION "oid sha256:" OID "\nsize 12345\n"

static bool parse(const char *text, size_t len, struct lfs_pointer *p)
{
	/* exactly as long as it is, so that a sanitizer sees a byte too far */
	scoped_free char *copy = malloc(len > 0 ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	return lfs_pointer_parse(copy, len, p);
}

static bool is_pointer(const char *text)
{
	struct lfs_pointer p;

	return parse(text, strlen(text), &p);
}

static void pointer_gives_id_and_size(void **state)
{
	struct lfs_pointer p;
	char hex[65];
	(void)state;

	assert_true(parse(GOOD, strlen(GOOD), &p));
	hex_encode(p.oid, sizeof(p.oid), hex);
	assert_string_equal(hex, OID);
	assert_int_equal(p.size, 12345);
	assert_false(p.is_extended);
	assert_true(parse("", 0, &p));
	hex_encode(p.oid, sizeof(p.oid), hex);
	assert_string_equal(hex,
	                    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(p.size, 0);
}

static void what_git_lfs_takes_is_a_pointer(void **state)
{
	static const char *const text[] = {
		GOOD,
		"version https://hawser.github.com/spec/v1\noid sha256:" OID "\nsize 1\n",
		"version http://git-media.io/v/2\noid sha256:" OID "\nsize 1\n",
		VERSION "oid sha256:" OID "\nsize 0\n",
		VERSION "oid sha256:" OID "\nsize 9223372036854775807\n",
		/* not as it would write them: --strict refuses these */
		VERSION "oid sha256:" OID "\nsize 12345",
		VERSION "oid sha256:" OID "\nsize +5\n",
		VERSION "oid sha256:" OID "\nsize -0\n",
		VERSION "oid sha256:" OID "\nsize 007\n",
		"\n\t " GOOD "\v\f\r\n",
		"\xC2\xA0" GOOD "\xE3\x80\x80\xC2\x85",
		"version https://git-lfs.github.com/spec/v1\r\noid sha256:" OID "\r\nsize 5\r\n",
		VERSION "\n\noid sha256:" OID "\n\r\nsize 5\n",
		VERSION "ext-0-foo sha256:" OID "\noid sha256:" OID "\nsize 5\n",
		"ext-0-foo sha256:" OID "\n" GOOD,
		VERSION "oid sha256:" OID "\next-9-a sha256:" OID "\next-0-b-!? sha256:" OID
		        "\nsize 5\n",
		VERSION "ext-0-a junk\next-0-a sha256:" OID "\noid sha256:" OID "\nsize 5\n",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		if (!is_pointer(text[i]))
			fail_msg("refused: %s", text[i]);
}

static void everything_else_is_a_file(void **state)
{
	static const char *const text[] = {
		"\n",
		"version",
		"git-lfs",
		VERSION,
		VERSION "oid sha256:" OID "\n",
		VERSION "size 5\noid sha256:" OID "\n",
		"oid sha256:" OID "\n" VERSION "size 5\n",
		"version https://git-lfs.github.com/spec/v2\noid sha256:" OID "\nsize 5\n",
		"version https://git-lfs.github.com/spec/v1 \noid sha256:" OID "\nsize 5\n",
		"version  https://git-lfs.github.com/spec/v1\noid sha256:" OID "\nsize 5\n",
		VERSION "oid sha1:" OID "\nsize 5\n",
		VERSION "oid " OID "\nsize 5\n",
		VERSION "oid sha256:" OID "0\nsize 5\n",
		VERSION
		"oid sha256:4D7A214614AB2935C943F9E0FF69D22EADBB8F32B1258DAAA5E2CA24D17E2393"
		"\nsize 5\n",
		VERSION "oid sha256:" OID "\nsize 9223372036854775808\n",
		VERSION "oid sha256:" OID "\nsize 18446744073709551617\n",
		VERSION "oid sha256:" OID "\nsize -1\n",
		VERSION "oid sha256:" OID "\nsize 1_0\n",
		VERSION "oid sha256:" OID "\nsize 0x5\n",
		VERSION "oid sha256:" OID "\nsize  5\n",
		VERSION "oid sha256:" OID "\nsize 5 \nx",
		VERSION "oid sha256:" OID "\nsize \n",
		VERSION "oid sha256:" OID "\nsize +\n",
		VERSION "oid sha256:" OID "\nsize\n",
		GOOD "size 12345\n",
		GOOD "ext-0-foo sha256:" OID "\n",
		GOOD "key value\n",
		VERSION "key value\noid sha256:" OID "\nsize 5\n",
		VERSION "ext-10-foo sha256:" OID "\noid sha256:" OID "\nsize 5\n",
		VERSION "ext-0- sha256:" OID "\noid sha256:" OID "\nsize 5\n",
		VERSION "ext-0-foo sha256:12\noid sha256:" OID "\nsize 5\n",
		VERSION "ext-0-foo sha256:" OID "\next-0-bar sha256:" OID "\noid sha256:" OID
		        "\nsize 5\n",
		"\xEF\xBB\xBF" GOOD,
		"\xE2\x80\x8B" GOOD,
		"version https://git-lfs.github.com/spec/v1\roid sha256:" OID "\rsize 5\r",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		if (is_pointer(text[i]))
			fail_msg("taken: %s", text[i]);
}

static void file_of_1024_bytes_is_no_pointer(void **state)
{
	char text[1024];
	struct lfs_pointer p;
	(void)state;

	memset(text, '\n', sizeof(text));
	memcpy(text, GOOD, strlen(GOOD));
	assert_true(parse(text, 1023, &p));
	assert_false(parse(text, 1024, &p));
}

static void extensions_are_told(void **state)
{
	static const char text[] = VERSION "ext-0-foo sha256:" OID "\noid sha256:" OID "\nsize 5\n";
	struct lfs_pointer p;
	(void)state;

	assert_true(parse(text, strlen(text), &p));
	assert_true(p.is_extended);
}

/* No cut and no changed byte may lead outside the text, and hardly any leaves a pointer. */
static void damaged_pointer_is_read_safely(void **state)
{
	char text[] = GOOD;
	size_t len = strlen(text);
	struct lfs_pointer p;
	(void)state;

	for (size_t i = 1; i + 6 < len; i++)
		assert_false(parse(text, i, &p));
	for (size_t i = 0; i < len; i++)
		for (int c = 0; c < 256; c++) {
			char was = text[i];

			text[i] = (char)c;
			parse(text, len, &p);
			text[i] = was;
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointer_gives_id_and_size),
		cmocka_unit_test(what_git_lfs_takes_is_a_pointer),
		cmocka_unit_test(everything_else_is_a_file),
		cmocka_unit_test(file_of_1024_bytes_is_no_pointer),
		cmocka_unit_test(extensions_are_told),
		cmocka_unit_test(damaged_pointer_is_read_safely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
