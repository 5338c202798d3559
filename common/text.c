/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in and out of values. Decides which characters are safe to show a person; knows nothing of
 * where the text comes from or goes to.
 */
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

void hex_encode(const void *bytes, size_t len, char *out)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++) {
		*out++ = hex_digits[b[i] >> 4];
		*out++ = hex_digits[b[i] & 15];
	}
	*out = '\0';
}

int hex_decode(const char *text, void *bytes, size_t len)
{
	uint8_t *out = bytes;

	if (strlen(text) / 2 != len || strlen(text) % 2 != 0)
		return -EINVAL;
	for (size_t i = 0; i < 2 * len; i++)
		if (hex_value(text[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
	return 0;
}

/* In the dashed form of a UUID, is there a dash before byte i? */
static bool uuid_has_dash_before(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN])
{
	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (uuid_has_dash_before(i))
			*out++ = '-';
		*out++ = hex_digits[u->b[i] >> 4];
		*out++ = hex_digits[u->b[i] & 15];
	}
	*out = '\0';
}

int uuid_parse(const char *text, struct uuid *out)
{
	char hex[2 * sizeof(out->b) + 1];
	size_t len = strlen(text), at = 0;

	if (len == 2 * sizeof(out->b))
		return hex_decode(text, out->b, sizeof(out->b));
	if (len != UUID_TEXT_LEN - 1)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(out->b); i++) {
		if (uuid_has_dash_before(i) && *text++ != '-')
			return -EINVAL;
		hex[at++] = *text++;
		hex[at++] = *text++;
	}
	hex[at] = '\0';
	return hex_decode(hex, out->b, sizeof(out->b));
}

bool uuid_is_null(const struct uuid *u)
{
	static const struct uuid null;

	return uuid_equal(u, &null);
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* ---- UTF-8 ---- */

size_t utf8_decode(const void *bytes, size_t len, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = bytes;
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);

	if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 || len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*out = c;
	return n;
}

size_t utf8_encode(uint32_t c, char out[4])
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	assert(c <= 0x10ffff);
	for (size_t i = n; i > 1; i--, c >>= 6)
		out[i - 1] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
	return n;
}

bool utf8_is_valid(const char *text, size_t len)
{
	uint32_t c;

	for (size_t n; len > 0; text += n, len -= n) {
		n = utf8_decode(text, len, &c);
		if (n == 0)
			return false;
	}
	return true;
}

/* ---- sizes ---- */

static const struct {
	char suffix;
	uint8_t shift;
} size_units[] = { { 'E', 60 }, { 'P', 50 }, { 'T', 40 }, { 'G', 30 },
	           { 'M', 20 }, { 'K', 10 }, { 'B', 0 } };

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t\n\r");
}

/* The decimal digits at *p, which moves behind them. -EINVAL when there are none. */
static int take_digits(const char **p, uint64_t *out)
{
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return -EINVAL;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (!mul_u64(v, 10, &v) || !add_u64(v, (uint64_t)(**p - '0'), &v))
			return -ERANGE;
	*out = v;
	return 0;
}

/*
 * The digits behind a point as a fraction; none is allowed ("10.M"). Deliberately in floating
 * point with one division per digit, as systemd does it: "0.1G" must mean the same byte there and
 * here, because a partition's size reaches the root hash.
 */
static int take_fraction(const char **p, double *out)
{
	const char *start;
	uint64_t digits;
	double v;
	int r;

	*out = 0;
	if (**p != '.')
		return 0;
	start = ++*p;
	if (**p < '0' || **p > '9')
		return 0;
	r = take_digits(p, &digits);
	if (r < 0)
		return r;
	v = (double)digits;
	for (; start < *p; start++)
		v /= 10;
	*out = v;
	return 0;
}

/* Index of the unit at *p among those from first on, with *p moved behind it; -EINVAL if none. */
static int take_unit(const char **p, size_t first)
{
	for (size_t i = first; i < ARRAY_LEN(size_units); i++)
		if (**p == size_units[i].suffix) {
			(*p)++;
			return (int)i;
		}
	/* a number without a unit counts bytes and can only be the last term */
	return **p == '\0' ? (int)ARRAY_LEN(size_units) - 1 : -EINVAL;
}

int size_parse(const char *text, uint64_t *out)
{
	const char *p = text;
	uint64_t sum = 0;
	size_t unit_from = 0;

	do {
		uint64_t whole = 0, term, factor;
		double fraction;
		int r;

		p = skip_blanks(p);
		r = take_digits(&p, &whole);
		if (r < 0)
			return r;
		r = take_fraction(&p, &fraction);
		if (r < 0)
			return r;
		p = skip_blanks(p);
		r = take_unit(&p, unit_from);
		if (r < 0)
			return r;
		unit_from = (size_t)r + 1;

		factor = UINT64_C(1) << size_units[r].shift;
		if (!mul_u64(whole, factor, &term) ||
		    !add_u64(term, (uint64_t)(fraction * (double)factor), &term) ||
		    !add_u64(sum, term, &sum))
			return -ERANGE;
	} while (*p != '\0');
	*out = sum;
	return 0;
}

void size_format(uint64_t bytes, char out[SIZE_TEXT_LEN])
{
	size_t i = 0;

	while (bytes >> size_units[i].shift == 0 && size_units[i].shift != 0)
		i++;
	if (size_units[i].shift == 0) {
		snprintf(out, SIZE_TEXT_LEN, "%uB", (unsigned)bytes);
		return;
	}
	/* tenths, rounded down: drop the bits below 1/1024 of the unit so that times ten fits */
	bytes >>= size_units[i].shift - 10;
	snprintf(out, SIZE_TEXT_LEN, "%u.%u%c", (unsigned)(bytes >> 10),
	         (unsigned)((bytes & 1023) * 10 >> 10), size_units[i].suffix);
}

/* ---- names from outside ---- */

/*
 * Code points beyond ASCII that have no shape of their own, look like a plain space, or change how
 * their neighbours are shown: two different names must not look alike because of them. Ascending.
 */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{ 0x80, 0xa0 },       /* C1 controls, no-break space */
	{ 0xad, 0xad },       /* soft hyphen */
	{ 0x34f, 0x34f },     /* combining grapheme joiner */
	{ 0x61c, 0x61c },     /* Arabic letter mark */
	{ 0x115f, 0x1160 },   /* Hangul fillers */
	{ 0x1680, 0x1680 },   /* Ogham space */
	{ 0x17b4, 0x17b5 },   /* Khmer inherent vowels */
	{ 0x180b, 0x180f },   /* Mongolian selectors and vowel separator */
	{ 0x2000, 0x200f },   /* spaces, zero-width joiners, direction marks */
	{ 0x2028, 0x202f },   /* line and paragraph separator, direction overrides */
	{ 0x205f, 0x206f },   /* mathematical space, word joiner, isolates */
	{ 0x2800, 0x2800 },   /* empty braille pattern */
	{ 0x3000, 0x3000 },   /* ideographic space */
	{ 0x3164, 0x3164 },   /* Hangul filler */
	{ 0xe000, 0xf8ff },   /* private use */
	{ 0xfdd0, 0xfdef },   /* noncharacters */
	{ 0xfe00, 0xfe0f },   /* variation selectors */
	{ 0xfeff, 0xfeff },   /* byte order mark */
	{ 0xffa0, 0xffa0 },   /* Hangul filler */
	{ 0xfff0, 0xffff },   /* specials */
	{ 0xe0000, 0x10ffff } /* tags, selectors, private use */
};

static bool is_hidden(uint32_t c)
{
	for (size_t i = 0; i < ARRAY_LEN(hidden) && hidden[i].first <= c; i++)
		if (c <= hidden[i].last)
			return true;
	return false;
}

/* Bytes of the sequence of two or more bytes at p that may be shown as it is, or 0. */
static size_t shown_sequence_len(const uint8_t *p, size_t len)
{
	uint32_t c;
	size_t n = utf8_decode(p, len, &c);

	return n > 0 && !is_hidden(c) ? n : 0;
}

/* One character of p as it is shown: consumed bytes are returned, the text is in piece. */
static size_t show_character(const uint8_t *p, size_t len, const char *also_escaped, char piece[5])
{
	static const char named[] = "\n\r\t", letters[] = "nrt";
	size_t n = p[0] < 0x80 ? 1 : shown_sequence_len(p, len);
	const char *at;

	if (n > 1 || (n == 1 && p[0] >= ' ' && p[0] != 0x7f)) {
		memcpy(piece, p, n);
		piece[n] = '\0';
		if (n == 1 && strchr(also_escaped, p[0]))
			snprintf(piece, 5, "\\%c", p[0]);
		return n;
	}
	at = p[0] ? strchr(named, p[0]) : NULL;
	if (at)
		snprintf(piece, 5, "\\%c", letters[at - named]);
	else
		snprintf(piece, 5, "\\x%02x", p[0]);
	return 1;
}

/* Shows bytes in out, at most room characters of them; true when all fitted. *used: characters. */
static bool show_bytes(const uint8_t *p, size_t len, const char *also_escaped, char *out,
                       size_t room, size_t *used)
{
	size_t at = 0;

	while (len > 0) {
		char piece[5];
		size_t n = show_character(p, len, also_escaped, piece), piece_len = strlen(piece);

		if (piece_len > room - at)
			break;
		memcpy(out + at, piece, piece_len);
		at += piece_len;
		p += n;
		len -= n;
	}
	*used = at;
	return len == 0;
}

static const char dots[] = "...";

const char *text_quote(const void *name, size_t len, char *out, size_t out_size)
{
	size_t frame = 2 + sizeof(dots), used;
	bool whole;

	assert(out_size >= frame);
	out[0] = '"';
	whole = show_bytes(name, len, "\"\\", out + 1, out_size - 3, &used);
	if (!whole)
		show_bytes(name, len, "\"\\", out + 1, out_size - frame, &used);
	out[used + 1] = '"';
	/* behind the quote, where no name can put them */
	strcpy(out + used + 2, whole ? "" : dots);
	return out;
}

const char *text_clean(const void *bytes, size_t len, char *out, size_t out_size)
{
	size_t used;
	bool whole;

	assert(out_size >= sizeof(dots));
	whole = show_bytes(bytes, len, "", out, out_size - 1, &used);
	if (!whole)
		show_bytes(bytes, len, "", out, out_size - sizeof(dots), &used);
	strcpy(out + used, whole ? "" : dots);
	return out;
}
