/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values as people write them: hex, UUIDs, sizes, and names made safe for a terminal.
 * Pure functions; thread-safe.
 */
#ifndef MODELDISK_TEXT_H
#define MODELDISK_TEXT_H

#include "base.h"

/* A UUID as 16 bytes in the order of its text (RFC 9562 "network order"). GPT's mixed-endian form
 * exists only in gpt.c. */
struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_LEN 37 /* with the NUL */

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN]); /* lower case */
/* 32 hex digits, with the usual four dashes or without any. -EINVAL otherwise. */
int uuid_parse(const char *text, struct uuid *out) MUST_CHECK;
bool uuid_is_null(const struct uuid *u);
bool uuid_equal(const struct uuid *a, const struct uuid *b);

/* out holds 2 * len + 1 characters; lower case. */
void hex_encode(const void *bytes, size_t len, char *out);
/* Exactly len * 2 hex digits (either case), nothing else. -EINVAL otherwise. */
int hex_decode(const char *text, void *bytes, size_t len) MUST_CHECK;

/*
 * One character of UTF-8 (RFC 3629: no overlong forms, no surrogates) at bytes, len > 0 of which
 * may be read. Returns how many it takes, with its code point in *out; 0 when it is not
 * well-formed.
 */
size_t utf8_decode(const void *bytes, size_t len, uint32_t *out);
/* The other way, for c up to 0x10ffff; returns how many bytes of out are used. */
size_t utf8_encode(uint32_t c, char out[4]);
bool utf8_is_valid(const char *text, size_t len);

/*
 * Sizes as systemd reads them (systemd.syntax; base 1024): "64M", "1.5G", "4096", "1M 512K";
 * suffixes B K M G T P E, upper case; terms in descending order of unit. -EINVAL for anything else,
 * -ERANGE beyond 2^64-1.
 */
int size_parse(const char *text, uint64_t *out) MUST_CHECK;
/* "64.0M", "1.5G", "512B": at most 8 characters. For people; never parse it back. */
#define SIZE_TEXT_LEN 16
void size_format(uint64_t bytes, char out[SIZE_TEXT_LEN]);

/*
 * A name from outside as one printable, unambiguous word in double quotes: printable ASCII and
 * valid UTF-8 letters stay, quote, backslash, control and stray bytes become \", \\, \n, \xNN. Cut
 * with "..." (behind the closing quote) so that out is never overrun; out_size is at least 6.
 * Characters that are invisible or rearrange text (no-break space, direction marks) count as
 * stray. Returns out, so it can stand in a printf argument list.
 */
#define TEXT_QUOTE_LEN 1100 /* a 255-byte name whatever its bytes */
const char *text_quote(const void *name, size_t len, char *out, size_t out_size);
/* The same for a whole sentence on one line: no quotes around it, and quote and backslash stay. */
const char *text_clean(const void *bytes, size_t len, char *out, size_t out_size);

#endif
