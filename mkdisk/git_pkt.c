/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lengths in front of lines. What the lines mean is git_protocol.c's.
 */
#include "git_pkt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "text.h"

#define DIGITS 4

/* ---- reading ---- */

/* The four digits are here. Special lines are over with them. */
static int take_length(struct git_pkt_reader *r, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	uint8_t raw[2];

	r->bytes[DIGITS] = '\0';
	if (hex_decode(r->bytes, raw, sizeof(raw)) < 0)
		return diag_set(d, -EUCLEAN,
		                "a line of git's protocol begins with %s, not its length",
		                text_quote(r->bytes, DIGITS, quoted, sizeof(quoted)));
	r->want = (size_t)(raw[0] << 8 | raw[1]);
	if (r->want == 3 || r->want > DIGITS + GIT_PKT_MAX_LEN)
		return diag_set(d, -EUCLEAN, "a line of git's protocol has a length of %zu",
		                r->want);
	r->want = MAX(r->want, DIGITS);
	return 0;
}

static int give_line(struct git_pkt_reader *r, git_pkt_take take, void *ctx, struct diag *d)
{
	static const enum git_pkt_kind special[] = { GIT_PKT_FLUSH, GIT_PKT_DELIMITER,
		                                     GIT_PKT_RESPONSE_END };
	enum git_pkt_kind kind = GIT_PKT_DATA;
	size_t len = r->len - DIGITS;

	if (len == 0 && r->bytes[3] < '3')
		kind = special[r->bytes[3] - '0'];
	r->bytes[r->len] = '\0';
	r->len = r->want = 0;
	return take(ctx, kind, r->bytes + DIGITS, len, d);
}

int git_pkt_feed(struct git_pkt_reader *r, const void *buf, size_t len, git_pkt_take take,
                 void *ctx, struct diag *d)
{
	const char *from = buf;
	int err = 0;

	while (len > 0 && err == 0) {
		size_t want = r->want > 0 ? r->want : DIGITS;
		size_t n = MIN(want - r->len, len);

		memcpy(r->bytes + r->len, from, n);
		r->len += n;
		from += n;
		len -= n;
		if (r->want == 0 && r->len == DIGITS)
			err = take_length(r, d);
		if (err == 0 && r->len == r->want)
			err = give_line(r, take, ctx, d);
	}
	return err;
}

/* ---- writing ---- */

static char *make_room(struct git_pkt_writer *w, size_t len)
{
	size_t need = w->len + len + 1; /* a NUL */

	if (w->is_out_of_memory)
		return NULL;
	if (need > w->cap) {
		size_t cap = MAX(2 * w->cap, need);
		char *grown = realloc(w->text, cap);

		if (!grown) {
			w->is_out_of_memory = true;
			return NULL;
		}
		w->text = grown;
		w->cap = cap;
	}
	return w->text + w->len;
}

static void write_special(struct git_pkt_writer *w, const char *digits)
{
	char *at = make_room(w, DIGITS);

	if (!at)
		return;
	memcpy(at, digits, DIGITS + 1);
	w->len += DIGITS;
}

void git_pkt_write_flush(struct git_pkt_writer *w)
{
	write_special(w, "0000");
}

void git_pkt_write_delimiter(struct git_pkt_writer *w)
{
	write_special(w, "0001");
}

void git_pkt_write(struct git_pkt_writer *w, const char *fmt, ...)
{
	char line[1024], digits[16];
	va_list args;

	va_start(args, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(line)) {
		w->is_out_of_memory = true; /* our lines are ids and names of bounded length */
		return;
	}
	char *at = make_room(w, DIGITS + (size_t)len);
	if (!at)
		return;
	snprintf(digits, sizeof(digits), "%04x", (unsigned)len + DIGITS);
	memcpy(at, digits, DIGITS);
	memcpy(at + DIGITS, line, (size_t)len + 1);
	w->len += DIGITS + (size_t)len;
}

void git_pkt_writer_release(struct git_pkt_writer *w)
{
	free(w->text);
	*w = (struct git_pkt_writer){ 0 };
}
