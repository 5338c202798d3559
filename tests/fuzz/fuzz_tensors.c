/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of safetensors and GGUF files: the input is a model file. */
#include "fuzz.h"
#include "tensors.h"

#include <errno.h>
#include <stdio.h>

struct input {
	const uint8_t *bytes;
	size_t len;
	uint64_t read_bytes;
};

static int read_input(void *ctx, uint64_t off, void *buf, size_t len)
{
	struct input *in = ctx;

	FUZZ_MUST(len > 0 && range_is_inside(off, len, in->len));
	in->read_bytes += len;
	memcpy(buf, in->bytes + off, len);
	return 0;
}

static void find(struct input *in, uint64_t off, uint64_t len)
{
	const struct tensors_file f = { .read = read_input, .ctx = in, .size = in->len };
	struct tensors_place p;
	int r;

	in->read_bytes = 0;
	r = tensors_find(&f, off, len, &p);
	/* three passes at most over the header of a GGUF file */
	FUZZ_MUST(in->read_bytes <= 3 * (uint64_t)in->len + 2 * 4096);
	FUZZ_MUST(r == 0 || r == -ENOENT || r == -EUCLEAN || r == -EOPNOTSUPP);
	if (r < 0)
		return;
	FUZZ_MUST(off < in->len && p.cnt >= 1 && p.len >= 1 && p.len <= len);
	FUZZ_MUST(p.off < in->len && p.len <= in->len - p.off);
	FUZZ_MUST(p.name[0] == '"' && strlen(p.name) < sizeof(p.name));
	FUZZ_MUST(utf8_is_valid(p.name, strlen(p.name)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct input in = { .bytes = data, .len = len };

	find(&in, 0, UINT64_MAX);
	find(&in, len / 2, 1);
	find(&in, len ? len - 1 : 0, 2);
	return 0;
}
