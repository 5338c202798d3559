/* SPDX-License-Identifier: Apache-2.0 */
/* Values as people write them, and names from outside as people may read them: text.h. */
#include "fuzz.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

static void parse(const char *text)
{
	char again[UUID_TEXT_LEN];
	struct uuid u, v;
	uint8_t bytes[8];
	char hex[17];
	uint64_t size;
	int r = uuid_parse(text, &u);

	FUZZ_MUST(r == 0 || r == -EINVAL);
	if (r == 0) {
		uuid_format(&u, again);
		FUZZ_MUST(uuid_parse(again, &v) == 0 && uuid_equal(&u, &v));
	}
	r = size_parse(text, &size);
	FUZZ_MUST(r == 0 || r == -EINVAL || r == -ERANGE);
	r = hex_decode(text, bytes, sizeof(bytes));
	FUZZ_MUST(r == 0 || r == -EINVAL);
	if (r == 0) {
		hex_encode(bytes, sizeof(bytes), hex);
		FUZZ_MUST(strcasecmp(hex, text) == 0);
	}
}

static void decode(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0, n; i < len; i += n ? n : 1) {
		char again[4];
		uint32_t c;

		n = utf8_decode(bytes + i, len - i, &c);
		FUZZ_MUST(n <= MIN(len - i, 4));
		FUZZ_MUST(n == 0 || (utf8_encode(c, again) == n && !memcmp(again, bytes + i, n)));
	}
}

/* On one line of valid UTF-8, without what moves a terminal's cursor, and never too long. */
static void check_shown(const char *shown, size_t room)
{
	size_t len = strlen(shown);

	FUZZ_MUST(len < room && utf8_is_valid(shown, len));
	for (size_t i = 0; i < len; i++)
		FUZZ_MUST((uint8_t)shown[i] >= ' ' && shown[i] != '\x7F');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const size_t room[] = { 6, 7, 20, TEXT_QUOTE_LEN };
	scoped_free uint8_t *bytes = malloc(len ? len : 1);
	scoped_free char *text = calloc(1, len + 1);
	scoped_free char *out = NULL;

	FUZZ_MUST(bytes && text);
	if (len) {
		memcpy(bytes, data, len);
		memcpy(text, data, len);
	}
	parse(text);
	decode(bytes, len);
	for (size_t i = 0; i < ARRAY_LEN(room); i++) {
		free(out);
		out = malloc(room[i]);
		FUZZ_MUST(out);
		check_shown(text_quote(bytes, len, out, room[i]), room[i]);
		check_shown(text_clean(bytes, len, out, room[i]), room[i]);
	}
	return 0;
}
