/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensor that a byte belongs to, against tables by hand, and headers that were made to hurt.
 */
#include "support.h"

#include "tensors.h"

#include <errno.h>
#include <stdio.h>

#define MAX_LEN (256 * KIB)

/* A file in memory that grows, and how it is read. */
struct file {
	size_t len;
	uint64_t shown_len; /* bytes behind len read as '[', the cheapest nesting */
	unsigned long reads, fail_at;
	uint64_t read_bytes;
	uint8_t bytes[MAX_LEN];
};

static struct file file;

static int read_file(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct file *f = ctx;

	assert_true(range_is_inside(off, len, MAX(f->len, f->shown_len)));
	if (++f->reads == f->fail_at)
		return -EIO;
	f->read_bytes += len;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = off + i < f->len ? f->bytes[off + i] : '[';
	return 0;
}

static int find(uint64_t off, uint64_t len, struct tensors_place *out)
{
	const struct tensors_file f = { .read = read_file,
		                        .ctx = &file,
		                        .size = MAX(file.len, file.shown_len) };

	return tensors_find(&f, off, len, out);
}

/* ---- making files ---- */

static void start(void)
{
	file = (struct file){ .len = 0 };
}

static void put(const void *bytes, size_t len)
{
	assert_true(len <= sizeof(file.bytes) - file.len);
	memcpy(file.bytes + file.len, bytes, len);
	file.len += len;
}

static void put32(uint32_t v)
{
	le32 le = le32_of(v);

	put(&le, sizeof(le));
}

static void put64(uint64_t v)
{
	le64 le = le64_of(v);

	put(&le, sizeof(le));
}

static void put_zeros(size_t len)
{
	assert_true(len <= sizeof(file.bytes) - file.len);
	file.len += len;
}

/* Returns where the data begin. */
static uint64_t make_safetensors(const char *json, size_t data_len)
{
	start();
	put64(strlen(json));
	put(json, strlen(json));
	put_zeros(data_len);
	return file.len - data_len;
}

static void put_string(const char *text)
{
	put64(strlen(text));
	put(text, strlen(text));
}

static void start_gguf(uint64_t tensor_cnt, uint64_t meta_cnt)
{
	start();
	put("GGUF", 4);
	put32(3);
	put64(tensor_cnt);
	put64(meta_cnt);
}

static void put_gguf_tensor(const char *name, uint32_t dim_cnt, uint64_t off)
{
	put_string(name);
	put32(dim_cnt);
	for (uint32_t i = 0; i < dim_cnt; i++)
		put64(7);
	put32(1);
	put64(off);
}

static uint64_t end_gguf(size_t alignment, size_t data_len)
{
	put_zeros((alignment - file.len % alignment) % alignment);
	put_zeros(data_len);
	return file.len - data_len;
}

/* ---- where tensors lie ---- */

struct expected {
	const char *name;
	uint64_t begin, end; /* from the start of the data */
};

/* Every single byte, and every range of up to four, against the table. */
static void check_every_byte(const struct expected *table, size_t cnt, uint64_t data)
{
	for (uint64_t off = 0; off < file.len; off++)
		for (uint64_t len = 1; len <= 4; len++) {
			const struct expected *first = NULL;
			struct tensors_place p;
			uint64_t hits = 0, at, end;
			int r = find(off, len, &p);

			for (size_t i = 0; i < cnt; i++) {
				const struct expected *e = &table[i];

				if (data + e->begin >= off + len || data + e->end <= off ||
				    e->begin == e->end)
					continue;
				hits++;
				if (!first || e->begin < first->begin)
					first = e;
			}
			assert_int_equal(r, first ? 0 : -ENOENT);
			if (!first)
				continue;
			at = MAX(off, data + first->begin);
			end = MIN(off + len, data + first->end);
			assert_string_equal(p.name, first->name);
			assert_int_equal(p.off, at - (data + first->begin));
			assert_int_equal(p.len, end - at);
			assert_int_equal(p.cnt, hits);
		}
}

static void every_byte_of_a_safetensors_file_has_its_tensor(void **state)
{
	static const struct expected table[] = {
		{ "\"b.weight\"", 0, 7 },      { "\"a\"", 7, 8 },       { "\"empty\"", 8, 8 },
		{ "\"c \\\"x\\\"\"", 8, 300 }, { "\"far\"", 310, 320 },
	};
	uint64_t data = make_safetensors(
	        "{\"__metadata__\":{\"format\":\"pt\",\"a\":\"}{][,\\\"\"},\n"
	        " \"c \\\"x\\\"\" : {\"data_offsets\": [8 , 300], "
	        "\"dtype\":\"F16\",\"shape\":[1,[2],{}]},\n"
	        "\"a\":{\"dtype\":\"I8\",\"data_offsets\":[7,8],\"shape\":[]},"
	        "\"far\":{\"data_offsets\":[310,320]},"
	        "\"empty\":{\"data_offsets\":[8,8],\"x\":null,\"y\":-1.5e3},"
	        "\"b.weight\":{\"dtype\":\"BF16\",\"shape\":[7],\"data_offsets\":[0,7]}}  ",
	        330);

	(void)state;
	check_every_byte(table, ARRAY_LEN(table), data);
}

static void every_byte_of_a_gguf_file_has_its_tensor(void **state)
{
	/* padding belongs to the tensor before it: the header has no lengths */
	static const struct expected table[] = {
		{ "\"token_embd.weight\"", 0, 64 },
		{ "\"output.weight\"", 64, 96 },
		{ "\"blk.0.attn_q.weight\"", 96, 200 },
	};
	uint64_t data;

	(void)state;
	start_gguf(3, 7);
	put_string("general.architecture"), put32(8), put_string("llama");
	put_string("general.alignment"), put32(4), put32(64);
	put_string("a.bool"), put32(7), put("\1", 1);
	put_string("a.float64"), put32(12), put64(1);
	put_string("tokens"), put32(9), put32(8), put64(3), put_string("a"), put_string(""),
	        put_string("general.alignment");
	put_string("scores"), put32(9), put32(6), put64(5), put_zeros(20);
	put_string("none"), put32(9), put32(10), put64(0);
	put_gguf_tensor("blk.0.attn_q.weight", 2, 96);
	put_gguf_tensor("token_embd.weight", 4, 0);
	put_gguf_tensor("output.weight", 0, 64);
	data = end_gguf(64, 200);
	check_every_byte(table, ARRAY_LEN(table), data);
}

static void bytes_before_the_first_gguf_tensor_are_nobodys(void **state)
{
	struct tensors_place p;
	uint64_t data;

	(void)state;
	start_gguf(2, 0);
	put_gguf_tensor("first", 1, 32);
	put_gguf_tensor("second", 1, 64);
	data = end_gguf(32, 96);
	assert_int_equal(find(data, 32, &p), -ENOENT);
	assert_int_equal(find(data, 40, &p), 0);
	assert_string_equal(p.name, "\"first\"");
	assert_int_equal(p.off, 0);
	assert_int_equal(p.len, 8);
	assert_int_equal(p.cnt, 1);
	assert_int_equal(find(0, UINT64_MAX, &p), 0);
	assert_string_equal(p.name, "\"first\"");
	assert_int_equal(p.len, 32);
	assert_int_equal(p.cnt, 2);
}

static void headers_across_many_windows_are_read(void **state)
{
	struct tensors_place p;
	uint64_t data;

	(void)state;
	start_gguf(2001, 1);
	put_string("tokens"), put32(9), put32(8), put64(5000);
	for (int i = 0; i < 5000; i++)
		put_string("token");
	for (uint64_t i = 0; i < 2000; i++)
		put_gguf_tensor("other", 2, 32 * i);
	put_gguf_tensor("wanted", 2, UINT64_C(32) * 2000);
	data = end_gguf(32, UINT64_C(32) * 2001);
	assert_int_equal(find(data + UINT64_C(32) * 2000 + 5, 1, &p), 0);
	assert_string_equal(p.name, "\"wanted\"");
	assert_int_equal(p.off, 5);
}

/* ---- names ---- */

static void names_are_decoded_and_made_safe(void **state)
{
	static const struct {
		const char *json, *name;
	} cases[] = {
		{ "plain", "\"plain\"" },
		{ "\\u0041\\t\\/\\\\", "\"A\\t/\\\\\"" },
		{ "\\u00e9\xc3\xa9", "\"\xc3\xa9\xc3\xa9\"" },
		{ "\\ud83d\\ude00", "\"??\"" },
		{ "\x1b[31m", "\"\\x1b[31m\"" },
		{ "\\u001b\\n", "\"\\x1b\\n\"" },
		{ "", "\"\"" },
	};
	char json[256];
	struct tensors_place p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t data;

		snprintf(json, sizeof(json), "{\"%s\":{\"data_offsets\":[0,4]}}", cases[i].json);
		data = make_safetensors(json, 4);
		assert_int_equal(find(data, 1, &p), 0);
		assert_string_equal(p.name, cases[i].name);
	}
}

static void long_names_are_cut(void **state)
{
	char json[2048];
	struct tensors_place p;
	uint64_t data;

	(void)state;
	strcpy(json, "{\"");
	memset(json + 2, 'n', 1500);
	strcpy(json + 1502, "\":{\"data_offsets\":[0,4]}}");
	data = make_safetensors(json, 4);
	assert_int_equal(find(data, 1, &p), 0);
	assert_true(strlen(p.name) < sizeof(p.name) && strncmp(p.name, "\"nnnn", 5) == 0);

	start_gguf(1, 0);
	put64(1500), put_zeros(1500), put32(0), put32(0), put64(0);
	data = end_gguf(32, 32);
	assert_int_equal(find(data, 1, &p), 0);
	assert_true(strlen(p.name) < sizeof(p.name) && strncmp(p.name, "\"\\x00", 5) == 0);
}

/* ---- what is no model file, or a bad one ---- */

static void other_files_have_no_tensors(void **state)
{
	static const char *const texts[] = { "",
		                             "{",
		                             "GGUF",
		                             "PK\3\4xxxxxxxxxxxxx",
		                             "{\"a\": 1}\n",
		                             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" };
	struct tensors_place p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		start();
		put(texts[i], i == 5 ? 16 : strlen(texts[i]));
		assert_int_equal(find(0, 10, &p), -ENOENT);
		assert_int_equal(find(100, 10, &p), -ENOENT);
	}
	make_safetensors("{\"a\":{\"data_offsets\":[0,4]}}", 4);
	assert_int_equal(find(file.len, 1, &p), -ENOENT);
	assert_int_equal(find(UINT64_MAX, UINT64_MAX, &p), -ENOENT);
	make_safetensors("{}", 4);
	assert_int_equal(find(0, file.len, &p), -ENOENT);
}

static void malformed_json_is_refused(void **state)
{
	static const char *const cases[] = {
		"{",
		"{\"a",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":{",
		"{\"a\":{\"data_offsets\":[0,4]}",
		"{\"a\":{\"data_offsets\":[0,4]},}",
		"{\"a\":{\"data_offsets\":[0]}}",
		"{\"a\":{\"data_offsets\":[0,x]}}",
		"{\"a\":{\"data_offsets\":[-1,4]}}",
		"{\"a\":{\"data_offsets\":[4,0]}}",
		"{\"a\":{\"data_offsets\":[0,5]}}",
		"{\"a\":{\"data_offsets\":[0,18446744073709551615]}}",
		"{\"a\":{\"data_offsets\":[0,18446744073709551616]}}",
		"{\"a\":{\"data_offsets\":[18446744073709551600,18446744073709551615]}}",
		"{\"a\":[0,4]}",
		"{\"a\":{\"data_offsets\":[0,4]} \"b\":{}}",
		"{\"\\u00zz\":{\"data_offsets\":[0,4]}}",
		"{\"__metadata__\":[[[[",
		"{\"__metadata__\":\"\\",
	};
	struct tensors_place p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_safetensors(cases[i], 4);
		if (find(0, file.len, &p) != -EUCLEAN)
			fail_msg("accepted: %s", cases[i]);
	}
}

static void malformed_gguf_is_refused(void **state)
{
	struct tensors_place p;

	(void)state;
	start_gguf(UINT64_MAX, 0), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(0, UINT64_MAX), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(1, 0), put64(UINT64_MAX), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(1, 0), put_string("a"), put32(UINT32_MAX), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(1, 0), put_gguf_tensor("a", 1, UINT64_MAX), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(1, 0), put_gguf_tensor("a", 1, 4096), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(0, 1), put_string("a"), put32(13), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(0, 1), put_string("a"), put32(9), put32(10), put64(UINT64_MAX / 4);
	end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(0, 1), put_string("a"), put32(9), put32(8), put64(UINT64_MAX), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	start_gguf(0, 1), put_string("a"), put32(9), put32(9), put64(1), end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EOPNOTSUPP);
	for (uint32_t bad = 0; bad < 3; bad++) {
		static const uint32_t alignment[] = { 0, 48, 1U << 31 };

		start_gguf(0, 1), put_string("general.alignment"), put32(4), put32(alignment[bad]);
		end_gguf(32, 32);
		assert_int_equal(find(0, file.len, &p), -EUCLEAN);
	}
	start_gguf(0, 0);
	file.bytes[4] = 1; /* lengths of 32 bits */
	end_gguf(32, 32);
	assert_int_equal(find(0, file.len, &p), -EOPNOTSUPP);
}

/* What a header claims costs no more than the limit, and no stack. */
static void endless_headers_end(void **state)
{
	static const char *const starts[] = { "{\"__metadata__\":[", "{\"a\":{\"x\":[", "{\"",
		                              "{\"a\":{\"data_offsets\":" };
	struct tensors_place p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		start();
		put64(TENSORS_MAX_HEADER_LEN);
		put(starts[i], strlen(starts[i]));
		file.shown_len = TENSORS_MAX_HEADER_LEN + 8;
		assert_int_equal(find(0, 1, &p), -EUCLEAN);
		assert_true(file.read_bytes <= TENSORS_MAX_HEADER_LEN + 4096);
	}
	start();
	put64(TENSORS_MAX_HEADER_LEN + 1);
	file.shown_len = GIB;
	put("{", 1);
	assert_int_equal(find(0, 1, &p), -EOPNOTSUPP);
	assert_true(file.read_bytes < 4096);

	/* strings of 0x5b5b5b5b5b5b5b5b bytes, and one that ends with the limit */
	start_gguf(UINT64_MAX, 1);
	file.shown_len = GIB;
	assert_int_equal(find(0, 1, &p), -EUCLEAN);
	start_gguf(1, 0), put64(TENSORS_MAX_HEADER_LEN - 36);
	file.shown_len = GIB;
	assert_int_equal(find(0, 1, &p), -EUCLEAN);
	assert_true(file.read_bytes < 16384);
}

/* ---- sweeps ---- */

static uint64_t make_small(bool gguf)
{
	if (!gguf)
		return make_safetensors("{\"__metadata__\":{\"a\":\"b\"},"
		                        "\"x\":{\"dtype\":\"F16\",\"data_offsets\":[0,16]},"
		                        "\"y\":{\"data_offsets\":[16,32]}}",
		                        32);
	start_gguf(2, 2);
	put_string("general.alignment"), put32(4), put32(32);
	put_string("tokens"), put32(9), put32(8), put64(2), put_string("a"), put_string("b");
	put_gguf_tensor("x", 1, 0);
	put_gguf_tensor("y", 1, 32);
	return end_gguf(32, 64);
}

static bool is_answer(int r)
{
	return r == 0 || r == -ENOENT || r == -EUCLEAN || r == -EOPNOTSUPP;
}

static void every_flipped_bit_gives_an_answer(void **state)
{
	struct tensors_place p;

	(void)state;
	for (int gguf = 0; gguf < 2; gguf++) {
		uint64_t header_len = make_small(gguf), len = file.len;

		for (uint64_t bit = 0; bit < 8 * header_len; bit++) {
			file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_true(is_answer(find(0, len, &p)));
			assert_true(is_answer(find(header_len + 20, 1, &p)));
			file.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void every_cut_is_refused_or_names_what_is_left(void **state)
{
	struct tensors_place p;

	(void)state;
	for (int gguf = 0; gguf < 2; gguf++) {
		uint64_t header_len = make_small(gguf), len = file.len;

		for (file.len = 0; file.len < header_len; file.len++)
			assert_true(find(0, len, &p) < 0);
		for (; file.len < len; file.len++)
			assert_true(is_answer(find(0, len, &p)));
	}
}

static void a_header_that_cannot_be_read_is_no_answer(void **state)
{
	struct tensors_place p;

	(void)state;
	for (int gguf = 0; gguf < 2; gguf++) {
		uint64_t header_len = make_small(gguf);
		int r;

		for (unsigned long k = 1;; k++) {
			file.reads = 0;
			file.fail_at = k;
			r = find(header_len, 1, &p);
			if (r == 0)
				break;
			assert_int_equal(r, -EIO);
		}
		assert_true(file.fail_at > 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_of_a_safetensors_file_has_its_tensor),
		cmocka_unit_test(every_byte_of_a_gguf_file_has_its_tensor),
		cmocka_unit_test(bytes_before_the_first_gguf_tensor_are_nobodys),
		cmocka_unit_test(headers_across_many_windows_are_read),
		cmocka_unit_test(names_are_decoded_and_made_safe),
		cmocka_unit_test(long_names_are_cut),
		cmocka_unit_test(other_files_have_no_tensors),
		cmocka_unit_test(malformed_json_is_refused),
		cmocka_unit_test(malformed_gguf_is_refused),
		cmocka_unit_test(endless_headers_end),
		cmocka_unit_test(every_flipped_bit_gives_an_answer),
		cmocka_unit_test(every_cut_is_refused_or_names_what_is_left),
		cmocka_unit_test(a_header_that_cannot_be_read_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
