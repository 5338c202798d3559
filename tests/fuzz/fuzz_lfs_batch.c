/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Git LFS server says: the input is the header of an HTTP answer, line by line, an empty
 * line, and a body, which is read as the answer to a batch request for three objects and as an
 * error. The word OID0 to OID2 in the body stands for an object's id, which no fuzzer would guess.
 */
#include "fuzz.h"
#include "lfs_batch.h"
#include "http.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define OBJECTS 3
#define NOW     1795000000

static struct lfs_object object[OBJECTS] = { { { 1 }, 5, NULL },
	                                     { { 2 }, UINT64_C(1) << 40, NULL },
	                                     { { 3 }, INT64_MAX, NULL } };

/* The id for its stand-in. */
static char *make_body(const uint8_t *data, size_t len, size_t *out_len)
{
	char *text = malloc(len * 16 + 1);
	size_t n = 0;

	FUZZ_MUST(text);
	for (size_t i = 0; i < len;) {
		if (len - i >= 4 && memcmp(data + i, "OID", 3) == 0 && data[i + 3] >= '0' &&
		    data[i + 3] < '0' + OBJECTS) {
			hex_encode(object[data[i + 3] - '0'].oid, sizeof(object->oid), text + n);
			n += 2 * sizeof(object->oid);
			i += 4;
		} else {
			text[n++] = (char)data[i++];
		}
	}
	*out_len = n;
	return text;
}

static void check_link(const struct lfs_link *link)
{
	if (!link->href)
		return;
	FUZZ_MUST(strncasecmp(link->href, "http://", 7) == 0 ||
	          strncasecmp(link->href, "https://", 8) == 0);
	for (const char *c = link->href; *c; c++)
		FUZZ_MUST((uint8_t)*c > ' ' && *c != '\x7F');
	for (size_t i = 0; i < link->header_cnt; i++) {
		const char *h = link->header[i];

		FUZZ_MUST(h[0] && !strchr(h, '\r') && !strchr(h, '\n'));
		FUZZ_MUST(strchr(h, ':') || strchr(h, ';'));
	}
}

static void read_body(const char *body, size_t len)
{
	const struct lfs_object *asked[OBJECTS] = { &object[0], &object[1], &object[2] };
	struct lfs_offer offer[OBJECTS] = { 0 };
	struct diag d = DIAG_INIT;
	char origin[100];
	int r = lfs_batch_decode(body, len, NOW, asked, OBJECTS, offer, &d);

	FUZZ_MUST(r == 0 || r == -EUCLEAN || r == -EBADMSG || r == -EOPNOTSUPP || r == -ENOMEM);
	FUZZ_MUST(!r || (d.err == r && d.text[0]));
	for (size_t i = 0; i < OBJECTS; i++) {
		FUZZ_MUST(memchr(offer[i].message, '\0', sizeof(offer[i].message)));
		check_link(&offer[i].link);
		if (offer[i].link.href)
			http_origin(offer[i].link.href, origin, sizeof(origin));
		lfs_link_release(&offer[i].link);
	}
}

static void judge(const struct http_answer *a)
{
	const struct http_asked asked = { .what = "\"file\"", .repository = "https://h/r" };
	struct diag d = DIAG_INIT;
	int r;

	for (int is_batch = 0; is_batch < 2; is_batch++) {
		enum http_meaning m = http_answer_meaning(a, is_batch);

		FUZZ_MUST(m >= HTTP_MEANS_DONE && m <= HTTP_MEANS_NO);
	}
	FUZZ_MUST(http_pause_ms(1, a) > 0);
	r = http_answer_refuse(a, &asked, NOW, &d);
	FUZZ_MUST(r < 0 && d.err == r && utf8_is_valid(d.text, strlen(d.text)));
	for (const char *c = d.text; *c; c++)
		FUZZ_MUST((uint8_t)*c >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http_answer a = { 0 };
	scoped_free char *body = NULL;
	size_t body_len;

	while (len > 0) {
		const uint8_t *stop = memchr(data, '\n', len);
		size_t n = stop ? (size_t)(stop - data) + 1 : len;
		scoped_free char *line = malloc(n);
		bool is_end = n == 1 && stop;

		FUZZ_MUST(line);
		memcpy(line, data, n);
		http_answer_line(&a, line, n, NOW);
		data += n;
		len -= n;
		if (is_end)
			break;
	}
	body = make_body(data, len, &body_len);
	read_body(body, body_len);
	http_answer_message(&a, body, body_len);
	FUZZ_MUST(memchr(a.message, '\0', sizeof(a.message)));
	judge(&a);
	return 0;
}
