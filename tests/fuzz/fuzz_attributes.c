/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .gitattributes files and what they make of a file. The input has up to five pieces with a form
 * feed between them: the attributes of the root, of "d" and of "d/e", a path below these, and the
 * file's bytes, which are converted as the attributes say.
 */
#include "attributes.h"
#include "convert.h"
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>

#define PIECES     5
#define SEPARATOR  '\f'
#define PARENT     "d/e/"
#define PARENT_LEN (sizeof(PARENT) - 1)

struct piece {
	char *text; /* malloc'ed, exactly as long as the piece */
	size_t len;
};

static void split(const uint8_t *data, size_t len, struct piece piece[PIECES])
{
	for (size_t i = 0; i < PIECES; i++) {
		const uint8_t *stop = len && i + 1 < PIECES ? memchr(data, SEPARATOR, len) : NULL;
		size_t n = stop ? (size_t)(stop - data) : len;

		piece[i] = (struct piece){ .text = malloc(n ? n : 1), .len = n };
		FUZZ_MUST(piece[i].text);
		if (n)
			memcpy(piece[i].text, data, n);
		data += n + (stop != NULL);
		len -= n + (stop != NULL);
	}
}

/* A path is not empty, has no NUL, and no '/' at either end or twice in a row. */
static char *path_of(const struct piece *p)
{
	char *path = calloc(1, PARENT_LEN + p->len + 2);
	size_t len = PARENT_LEN;

	FUZZ_MUST(path);
	memcpy(path, PARENT, len);
	for (size_t i = 0; i < p->len; i++)
		if (p->text[i] && (p->text[i] != '/' || path[len - 1] != '/'))
			path[len++] = p->text[i];
	if (path[len - 1] == '/')
		path[len++] = 'x';
	return path;
}

static void convert(const struct attribute_setting *set, const struct piece *content)
{
	static const char id[] = "0123456789012345678901234567890123456789";
	scoped_free void *out = NULL, *again = NULL;
	size_t out_len = 0, again_len = 0;
	struct diag d = DIAG_INIT;
	struct conversion c;
	int r = conversion_init(&c, set, "\"file\"", &d);

	FUZZ_MUST(r == 0 || ((r == -EOPNOTSUPP || r == -EUCLEAN) && d.err == r && d.text[0]));
	if (r)
		return;
	FUZZ_MUST(conversion_apply(&c, id, content->text, content->len, &out, &out_len) == 0);
	FUZZ_MUST(out || out_len == content->len);
	FUZZ_MUST(!out || !conversion_is_none(&c));
	/* memory in proportion to the file: four bytes a character, an id for every "$Id$" */
	FUZZ_MUST(out_len <= 4 * (12 * content->len + 4));
	FUZZ_MUST(conversion_apply(&c, id, content->text, content->len, &again, &again_len) == 0);
	FUZZ_MUST(out_len == again_len && !out == !again);
	FUZZ_MUST(!out || memcmp(out, again, out_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const size_t dir_len[] = { 0, 2, PARENT_LEN };
	struct attribute_setting set[ATTRIBUTE_CNT], last[ATTRIBUTE_CNT];
	scoped(attributes) struct attributes *a = NULL;
	scoped_free char *path = NULL;
	struct piece piece[PIECES];

	split(data, len, piece);
	path = path_of(&piece[3]);
	FUZZ_MUST(attributes_new(&a) == 0);
	for (size_t i = 0; i < ARRAY_LEN(dir_len); i++) {
		FUZZ_MUST(attributes_push(a, dir_len[i], piece[i].text, piece[i].len) == 0);
		attributes_lookup(a, path, set);
		convert(set, &piece[4]);
	}
	/* what is popped leaves no trace */
	attributes_pop(a);
	attributes_lookup(a, path, last);
	FUZZ_MUST(attributes_push(a, PARENT_LEN, "", 0) == 0);
	attributes_lookup(a, path, set);
	for (size_t i = 0; i < ATTRIBUTE_CNT; i++)
		FUZZ_MUST(set[i].state == last[i].state);
	for (size_t i = 0; i < PIECES; i++)
		free(piece[i].text);
	return 0;
}
