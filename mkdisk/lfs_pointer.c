/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads pointer files line by line. Hostile input: every small file of a repository comes here.
 */
#include "lfs_pointer.h"

#include "text.h"

#define MAX_EXTENSIONS 10 /* one digit of priority */

/* A part of the text. */
struct span {
	const char *s;
	size_t len;
};

/* The keys that must come, in this order; extensions may stand between them. */
enum key { KEY_VERSION, KEY_OID, KEY_SIZE, KEY_CNT };

struct fields {
	struct span value[KEY_CNT];
	size_t cnt; /* of them seen */
	/* lines of extensions; the later of two with one key counts */
	struct span ext_key[LFS_POINTER_MAX_LEN / 9], ext_value[LFS_POINTER_MAX_LEN / 9];
	size_t ext_cnt;
};

/* The length of the white space at s, 0: none. */
static size_t space_at(const char *s, size_t len)
{
	static const char *const wide[] = {
		"\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
		"\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
		"\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
		"\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"
	};

	if (len > 0 && (*s == ' ' || (*s >= '\t' && *s <= '\r')))
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(wide); i++)
		if (len >= strlen(wide[i]) && memcmp(s, wide[i], strlen(wide[i])) == 0)
			return strlen(wide[i]);
	return 0;
}

static size_t space_before(const char *end, size_t len)
{
	for (size_t width = 1; width <= MIN(len, (size_t)3); width++)
		if (space_at(end - width, width) == width)
			return width;
	return 0;
}

void lfs_trim(const char **text, size_t *len)
{
	size_t n = 0;

	while ((n = space_at(*text, *len)) > 0) {
		*text += n;
		*len -= n;
	}
	while ((n = space_before(*text + *len, *len)) > 0)
		*len -= n;
}

static bool span_is(struct span a, const char *text)
{
	return a.len == strlen(text) && memcmp(a.s, text, a.len) == 0;
}

/* Cuts *rest behind the first c and returns what was before it; all of it when there is none. */
static struct span cut(struct span *rest, char c)
{
	const char *at = memchr(rest->s, c, rest->len);
	struct span first = { rest->s, at ? (size_t)(at - rest->s) : rest->len };
	size_t taken = first.len + (at != NULL);

	rest->s += taken;
	rest->len -= taken;
	return first;
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_';
}

/* "ext-N-name" */
static bool is_extension(struct span key)
{
	return key.len > 6 && memcmp(key.s, "ext-", 4) == 0 && key.s[4] >= '0' && key.s[4] <= '9' &&
	       key.s[5] == '-' && is_word(key.s[6]);
}

static void add_extension(struct fields *f, struct span key, struct span value)
{
	size_t i = 0;

	while (i < f->ext_cnt &&
	       !(f->ext_key[i].len == key.len && memcmp(f->ext_key[i].s, key.s, key.len) == 0))
		i++;
	f->ext_key[i] = key;
	f->ext_value[i] = value;
	f->ext_cnt = MAX(f->ext_cnt, i + 1);
}

static bool read_line(struct fields *f, struct span line)
{
	static const char *const key_name[] = { "version", "oid", "size" };

	if (line.len > 0 && line.s[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0)
		return true;
	struct span key = cut(&line, ' ');
	/* nothing behind the size, not even an extension, and a value with every key */
	if (f->cnt == KEY_CNT || line.s == key.s + key.len)
		return false;
	if (span_is(key, key_name[f->cnt]))
		f->value[f->cnt++] = line;
	else if (is_extension(key))
		add_extension(f, key, line);
	else
		return false;
	return true;
}

static bool read_version(struct span v)
{
	return span_is(v, "https://git-lfs.github.com/spec/v1") ||
	       span_is(v, "https://hawser.github.com/spec/v1") ||
	       span_is(v, "http://git-media.io/v/2");
}

static bool read_oid(struct span v, uint8_t oid[32])
{
	char text[65];

	if (!span_is(cut(&v, ':'), "sha256") || v.len != 64)
		return false;
	for (size_t i = 0; i < 64; i++)
		if (v.s[i] >= 'A' && v.s[i] <= 'F')
			return false;
	memcpy(text, v.s, 64);
	text[64] = '\0';
	return hex_decode(text, oid, 32) == 0;
}

/* A decimal int64 that is not negative; a sign is allowed. */
static bool read_size(struct span v, uint64_t *size)
{
	bool is_negative = v.len > 0 && v.s[0] == '-';
	uint64_t n = 0;

	if (v.len > 0 && (v.s[0] == '-' || v.s[0] == '+'))
		cut(&v, v.s[0]);
	if (v.len == 0)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		if (v.s[i] < '0' || v.s[i] > '9')
			return false;
		if (!mul_u64(n, 10, &n) || !add_u64(n, (uint64_t)(v.s[i] - '0'), &n) ||
		    n > INT64_MAX)
			return false;
	}
	*size = n;
	return !is_negative || n == 0;
}

/* Each with an id, no two of one priority. */
static bool read_extensions(const struct fields *f)
{
	bool is_taken[MAX_EXTENSIONS] = { false };
	uint8_t oid[32];

	for (size_t i = 0; i < f->ext_cnt; i++) {
		size_t priority = (size_t)(f->ext_key[i].s[4] - '0');

		if (!read_oid(f->ext_value[i], oid) || is_taken[priority])
			return false;
		is_taken[priority] = true;
	}
	return true;
}

/* git-lfs looks for its name before anything else. */
static bool has_name(struct span text)
{
	return memmem(text.s, text.len, "git-lfs", 7) || memmem(text.s, text.len, "hawser", 6) ||
	       memmem(text.s, text.len, "git-media", 9);
}

bool lfs_pointer_parse(const void *text, size_t len, struct lfs_pointer *out)
{
	static const char nothing[] =
	        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	struct fields f = { .cnt = 0 };
	struct lfs_pointer p = { .size = 0 };
	struct span rest = { text, len };

	if (len > LFS_POINTER_MAX_LEN)
		return false;
	if (len == 0) {
		*out = p;
		return hex_decode(nothing, out->oid, sizeof(out->oid)) == 0;
	}
	lfs_trim(&rest.s, &rest.len);
	if (!has_name(rest))
		return false;
	while (rest.len > 0)
		if (!read_line(&f, cut(&rest, '\n')))
			return false;
	if (f.cnt < KEY_CNT || !read_version(f.value[KEY_VERSION]) ||
	    !read_oid(f.value[KEY_OID], p.oid) || !read_size(f.value[KEY_SIZE], &p.size) ||
	    !read_extensions(&f))
		return false;
	p.is_extended = f.ext_cnt > 0;
	*out = p;
	return true;
}
