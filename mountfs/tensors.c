/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the headers of safetensors and GGUF files as streams, front to back, through one window:
 * neither the JSON of the one nor the strings of the other are ever held as a whole. What matters
 * is where tensors lie; values, types and shapes are passed over without being understood, so a
 * header may be odd in many ways and still name its tensors.
 *
 * Every step consumes at least one byte of a header of bounded length, which bounds the time, and
 * what is nested is counted, which bounds the stack.
 */
#include "tensors.h"

#include <errno.h>

#define WINDOW_LEN   4096
#define RAW_NAME_LEN 256 /* of a longer name this much is told */

#define SAFETENSORS_LEN_LEN 8 /* the length of the JSON, in front of it */

#define GGUF_DEFAULT_ALIGNMENT 32
#define GGUF_MAX_ALIGNMENT     (1 * MIB)
#define GGUF_MAX_DIMS          8 /* ggml has 4 */

/* ---- a header as a stream ---- */

struct stream {
	const struct tensors_file *f;
	uint64_t pos, end;               /* of the next byte, and of the header, in the file */
	uint64_t window_off, window_len; /* what of the file is in window */
	int err;                         /* the first failure; everything reads as zero after it */
	uint8_t window[WINDOW_LEN];
};

static void fail(struct stream *s, int err)
{
	if (s->err == 0)
		s->err = err;
}

/*
 * Up to the next multiple of the window's length only: what follows the header may be the very
 * block that cannot be read.
 */
static bool fill(struct stream *s)
{
	uint64_t len = MIN(s->end - s->pos, WINDOW_LEN - s->pos % WINDOW_LEN);
	int r = s->f->read(s->f->ctx, s->pos, s->window, len);

	if (r < 0)
		fail(s, r);
	s->window_off = s->pos;
	s->window_len = r < 0 ? 0 : len;
	return r >= 0;
}

/* The next byte, which stays the next one; 0 at the end of the header, which is a failure. */
static uint8_t peek(struct stream *s)
{
	if (s->err == 0 && s->pos >= s->end)
		fail(s, -EUCLEAN);
	if (s->err != 0)
		return 0;
	if (s->pos < s->window_off || s->pos - s->window_off >= s->window_len)
		if (!fill(s))
			return 0;
	return s->window[s->pos - s->window_off];
}

static uint8_t take(struct stream *s)
{
	uint8_t c = peek(s);

	s->pos += s->err == 0;
	return c;
}

static void skip(struct stream *s, uint64_t len)
{
	if (s->err == 0 && len > s->end - s->pos)
		fail(s, -EUCLEAN);
	if (s->err == 0)
		s->pos += len;
}

/* ---- what is looked for ---- */

struct search {
	uint64_t off, end; /* the bytes in question */
	uint64_t first;    /* where the tensor in out starts */
	struct tensors_place *out;
};

static void name_place(struct search *q, const char *name, size_t len)
{
	text_quote(name, len, q->out->name, sizeof(q->out->name));
}

/* ---- safetensors: JSON ---- */

static void skip_space(struct stream *s)
{
	for (uint8_t c = peek(s); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = peek(s))
		take(s);
}

static void expect(struct stream *s, char wanted)
{
	skip_space(s);
	if (take(s) != (uint8_t)wanted)
		fail(s, -EUCLEAN);
}

/* Is it the next character that is not white space? Then it is taken. */
static bool accept(struct stream *s, char wanted)
{
	skip_space(s);
	if (peek(s) != (uint8_t)wanted || s->err != 0)
		return false;
	take(s);
	return true;
}

struct name {
	size_t len;
	char text[RAW_NAME_LEN];
};

static void name_add(struct name *n, const char *bytes, size_t len)
{
	if (len <= sizeof(n->text) - n->len) {
		memcpy(n->text + n->len, bytes, len);
		n->len += len;
	}
}

static bool name_is(const struct name *n, const char *text)
{
	return n->len == strlen(text) && memcmp(n->text, text, n->len) == 0;
}

/* The four digits of an escape. Half a pair is no character by itself: two question marks for one.
 */
static uint32_t take_hex(struct stream *s)
{
	uint32_t c = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t digit = take(s);

		if (digit >= '0' && digit <= '9')
			c = c << 4 | (uint32_t)(digit - '0');
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			c = c << 4 | (uint32_t)((digit | 0x20) - 'a' + 10);
		else
			fail(s, -EUCLEAN);
	}
	return c >= 0xd800 && c < 0xe000 ? '?' : c;
}

static void take_escape(struct stream *s, struct name *out)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	char c = (char)take(s), utf8[4];
	const char *known = c ? strchr(from, c) : NULL;

	if (c == 'u')
		name_add(out, utf8, utf8_encode(take_hex(s), utf8));
	else
		name_add(out, known ? &to[known - from] : &c, 1);
}

/* Behind the opening quote. */
static void take_string(struct stream *s, struct name *out)
{
	out->len = 0;
	while (s->err == 0) {
		char c = (char)take(s);

		if (c == '"')
			return;
		if (c == '\\')
			take_escape(s, out);
		else
			name_add(out, &c, 1);
	}
}

/* Any value. What is nested is only counted. */
static void skip_value(struct stream *s)
{
	struct name ignored;
	uint64_t depth = 0;

	skip_space(s);
	while (s->err == 0) {
		uint8_t c = peek(s);

		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return; /* behind a number or a word */
		take(s);
		if (c == '"')
			take_string(s, &ignored);
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		if (depth == 0 && (c == '"' || c == '}' || c == ']'))
			return;
	}
}

static uint64_t take_number(struct stream *s)
{
	uint64_t v = 0;

	skip_space(s);
	if (peek(s) < '0' || peek(s) > '9')
		fail(s, -EUCLEAN);
	while (s->err == 0 && peek(s) >= '0' && peek(s) <= '9')
		if (!mul_u64(v, 10, &v) || !add_u64(v, (uint64_t)(take(s) - '0'), &v))
			fail(s, -EUCLEAN);
	return v;
}

/* {"dtype":"BF16","shape":[4,2],"data_offsets":[0,16]}; *end 0: it has no data_offsets. */
static void take_tensor(struct stream *s, uint64_t *begin, uint64_t *end)
{
	struct name key;

	*begin = *end = 0;
	expect(s, '{');
	if (accept(s, '}'))
		return;
	do {
		expect(s, '"');
		take_string(s, &key);
		expect(s, ':');
		if (name_is(&key, "data_offsets")) {
			expect(s, '[');
			*begin = take_number(s);
			expect(s, ',');
			*end = take_number(s);
			expect(s, ']');
		} else {
			skip_value(s);
		}
	} while (accept(s, ','));
	expect(s, '}');
}

/* A tensor at [begin, end) of the file. */
static void note_tensor(struct search *q, const struct name *name, uint64_t begin, uint64_t end)
{
	uint64_t hit = MAX(begin, q->off), hit_end = MIN(end, q->end);

	if (hit >= hit_end)
		return;
	q->out->cnt++;
	if (q->out->cnt > 1 && begin >= q->first)
		return;
	q->first = begin;
	q->out->off = hit - begin;
	q->out->len = hit_end - hit;
	name_place(q, name->text, name->len);
}

static void search_safetensors(struct stream *s, struct search *q)
{
	uint64_t data = s->end, begin, end;
	struct name key;

	expect(s, '{');
	if (accept(s, '}'))
		return;
	do {
		expect(s, '"');
		take_string(s, &key);
		expect(s, ':');
		if (name_is(&key, "__metadata__")) {
			skip_value(s);
			continue;
		}
		take_tensor(s, &begin, &end);
		if (!add_u64(begin, data, &begin) || !add_u64(end, data, &end) || begin > end ||
		    end > s->f->size)
			fail(s, -EUCLEAN);
		if (s->err == 0)
			note_tensor(q, &key, begin, end);
	} while (s->err == 0 && accept(s, ','));
	expect(s, '}');
}

/* ---- GGUF ---- */

static uint64_t take_le(struct stream *s, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v |= (uint64_t)take(s) << 8 * i;
	return v;
}

static uint32_t take_le32(struct stream *s)
{
	return (uint32_t)take_le(s, 4);
}

static uint64_t take_le64(struct stream *s)
{
	return take_le(s, 8);
}

static void take_gguf_string(struct stream *s, struct name *out)
{
	uint64_t len = take_le64(s);
	size_t kept = (size_t)MIN(len, sizeof(out->text));

	out->len = 0;
	for (size_t i = 0; s->err == 0 && i < kept; i++) {
		char c = (char)take(s);

		name_add(out, &c, 1);
	}
	skip(s, len - kept);
}

enum gguf_type { GGUF_U32 = 4, GGUF_STRING = 8, GGUF_ARRAY = 9 };

/* Bytes of a value of a type by its number; 0: it is none, or has no fixed length. */
static unsigned gguf_value_len(uint32_t type)
{
	static const uint8_t lens[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };

	return type < ARRAY_LEN(lens) ? lens[type] : 0;
}

/* Arrays of arrays are in the format and in no file. */
static void skip_gguf_array(struct stream *s)
{
	uint32_t type = take_le32(s);
	uint64_t cnt = take_le64(s), len;

	if (type == GGUF_STRING) {
		for (uint64_t i = 0; s->err == 0 && i < cnt; i++)
			skip(s, take_le64(s));
		return;
	}
	if (gguf_value_len(type) == 0)
		fail(s, type == GGUF_ARRAY ? -EOPNOTSUPP : -EUCLEAN);
	else if (!mul_u64(cnt, gguf_value_len(type), &len))
		fail(s, -EUCLEAN);
	else
		skip(s, len);
}

static void skip_gguf_value(struct stream *s, uint32_t type)
{
	if (type == GGUF_STRING)
		skip(s, take_le64(s));
	else if (type == GGUF_ARRAY)
		skip_gguf_array(s);
	else if (gguf_value_len(type) == 0)
		fail(s, -EUCLEAN);
	else
		skip(s, gguf_value_len(type));
}

/* Passes over the metadata; returns what of it matters here. */
static uint64_t take_gguf_alignment(struct stream *s, uint64_t cnt)
{
	uint64_t alignment = GGUF_DEFAULT_ALIGNMENT;
	struct name key;

	for (uint64_t i = 0; s->err == 0 && i < cnt; i++) {
		uint32_t type;

		take_gguf_string(s, &key);
		type = take_le32(s);
		if (type == GGUF_U32 && name_is(&key, "general.alignment"))
			alignment = take_le32(s);
		else
			skip_gguf_value(s, type);
	}
	if (!is_power_of_two(alignment) || alignment > GGUF_MAX_ALIGNMENT)
		fail(s, -EUCLEAN);
	return s->err == 0 ? alignment : GGUF_DEFAULT_ALIGNMENT;
}

/* Where one tensor's data lie, counted from the first one's. */
static uint64_t take_gguf_tensor(struct stream *s, struct name *name)
{
	uint32_t dim_cnt;

	take_gguf_string(s, name);
	dim_cnt = take_le32(s);
	if (dim_cnt > GGUF_MAX_DIMS)
		fail(s, -EUCLEAN);
	skip(s, s->err == 0 ? UINT64_C(8) * dim_cnt + 4 : 0); /* its shape and type */
	return take_le64(s);
}

/*
 * Of cnt tensors whose descriptions begin at pos, with data from byte data of the file on: the one
 * that byte q->off lies in. *above: where the first one behind that byte begins. A tensor ends
 * where the next one begins, in whatever order they are described.
 */
static bool search_gguf_tensors(struct stream *s, struct search *q, uint64_t pos, uint64_t cnt,
                                uint64_t data, uint64_t *above)
{
	struct name name;
	bool found = false;

	*above = s->f->size;
	q->out->cnt = 0;
	s->pos = pos;
	for (uint64_t i = 0; s->err == 0 && i < cnt; i++) {
		uint64_t begin = take_gguf_tensor(s, &name);

		if (!add_u64(begin, data, &begin) || begin > s->f->size)
			fail(s, -EUCLEAN);
		if (s->err != 0)
			return false;
		if (begin > q->off) {
			*above = MIN(*above, begin);
			q->out->cnt += begin < q->end;
		} else if (!found || begin >= q->first) {
			found = true;
			q->first = begin;
			name_place(q, name.text, name.len);
		}
	}
	return found && s->err == 0;
}

static void search_gguf(struct stream *s, struct search *q)
{
	uint64_t cnt, meta_cnt, alignment, pos, data, above = 0;
	struct name ignored;
	bool found;

	skip(s, sizeof("GGUF") - 1 + sizeof(le32)); /* tensors_find() has seen them */
	cnt = take_le64(s);
	meta_cnt = take_le64(s);
	alignment = take_gguf_alignment(s, meta_cnt);
	pos = s->pos;
	for (uint64_t i = 0; s->err == 0 && i < cnt; i++)
		take_gguf_tensor(s, &ignored);
	data = round_up(s->pos, alignment);
	q->off = MAX(q->off, data);
	if (s->err != 0 || q->off >= q->end)
		return;
	found = search_gguf_tensors(s, q, pos, cnt, data, &above);
	if (!found && s->err == 0 && above < q->end) {
		q->off = above;
		found = search_gguf_tensors(s, q, pos, cnt, data, &above);
	}
	if (!found)
		return;
	q->out->cnt++;
	q->out->off = q->off - q->first;
	q->out->len = MIN(q->end, above) - q->off;
}

/* ---- which of the two ---- */

enum { START_LEN = 9 };

static int search(struct stream *s, struct search *q, const uint8_t start[START_LEN])
{
	le32 version;
	le64 json_len;
	uint64_t len;

	memcpy(&version, start + 4, sizeof(version));
	memcpy(&json_len, start, sizeof(json_len));
	len = le64_get(json_len);
	if (memcmp(start, "GGUF", 4) == 0) {
		if (le32_get(version) != 2 && le32_get(version) != 3)
			return -EOPNOTSUPP;
		s->end = MIN(s->f->size, TENSORS_MAX_HEADER_LEN);
		search_gguf(s, q);
	} else if (start[8] == '{' && len <= s->f->size - SAFETENSORS_LEN_LEN) {
		if (len > TENSORS_MAX_HEADER_LEN)
			return -EOPNOTSUPP;
		s->pos = SAFETENSORS_LEN_LEN;
		s->end = SAFETENSORS_LEN_LEN + len;
		search_safetensors(s, q);
	}
	if (s->err != 0)
		return s->err;
	return q->out->cnt > 0 ? 0 : -ENOENT;
}

int tensors_find(const struct tensors_file *f, uint64_t off, uint64_t len,
                 struct tensors_place *out)
{
	struct stream s = { .f = f };
	struct tensors_place place = { .cnt = 0 };
	struct search q = { .off = off, .out = &place };
	uint8_t start[START_LEN];
	int r;

	if (f->size < sizeof(start) || off >= f->size)
		return -ENOENT;
	q.end = off + MIN(len, f->size - off);
	r = f->read(f->ctx, 0, start, sizeof(start));
	if (r < 0)
		return r;
	r = search(&s, &q, start);
	if (r == 0)
		*out = place;
	return r;
}

/* ---- in an image ---- */

struct file_in_image {
	const struct erofs *fs;
	const struct erofs_inode *inode;
};

static int read_file(void *ctx, uint64_t off, void *buf, size_t len)
{
	const struct file_in_image *f = ctx;
	int64_t got = erofs_read(f->fs, f->inode, off, buf, len, NULL);

	if (got < 0)
		return (int)got;
	return (uint64_t)got == len ? 0 : -EIO;
}

int tensors_find_in_inode(const struct erofs *fs, const struct erofs_inode *inode, uint64_t off,
                          uint64_t len, struct tensors_place *out)
{
	struct file_in_image file = { .fs = fs, .inode = inode };
	const struct tensors_file f = { .read = read_file, .ctx = &file, .size = inode->size };

	return tensors_find(&f, off, len, out);
}
