/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What git servers answer, and .lfsconfig, which comes from a commit. The first byte says how the
 * rest is to be taken; answers come in pieces, and must not mean something else then.
 */
#include "fuzz.h"
#include "git_protocol.h"
#include "lfs_config.h"

#include <stdio.h>

static int count_bytes(void *ctx, const void *buf, size_t len, struct diag *d)
{
	size_t *sum = ctx;

	(void)d;
	for (size_t i = 0; i < len; i++)
		*sum = *sum * 31 + ((const uint8_t *)buf)[i] + 1;
	return 0;
}

/* All of it, in pieces of this length. */
static int take_server(struct git_server *s, const uint8_t *data, size_t len, size_t step)
{
	int r = 0;

	memset(s, 0, sizeof(*s));
	for (size_t at = 0; r == 0 && at < len; at += step)
		r = git_server_take(s, data + at, MIN(step, len - at), NULL);
	return r == 0 ? git_server_check(s, NULL) : r;
}

static void try_server(const uint8_t *data, size_t len)
{
	static struct git_server whole, cut;
	struct git_pkt_writer w = { 0 };
	int r = take_server(&whole, data, len, len ? len : 1);

	FUZZ_MUST(take_server(&cut, data, len, 3) == r);
	FUZZ_MUST(cut.ref_cnt == whole.ref_cnt && cut.version == whole.version);
	if (r == 0) {
		git_request_all(&whole, &w);
		git_request_commit(&whole, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &w);
		(void)git_server_find_ref(&whole, "main");
		git_pkt_writer_release(&w);
	}
	whole.reader.len = whole.reader.want = 0;
	(void)!git_server_take_refs(&whole, data, len, NULL);
	git_server_release(&whole);
	git_server_release(&cut);
}

static int take_pack(unsigned version, const uint8_t *data, size_t len, size_t step, size_t *sum)
{
	static struct git_server s;
	static struct git_pack p;
	int r = 0;

	s.version = version;
	memset(&p, 0, sizeof(p));
	p.server = &s;
	p.take = count_bytes;
	p.ctx = sum;
	for (size_t at = 0; r == 0 && at < len; at += step)
		r = git_pack_take(&p, data + at, MIN(step, len - at), NULL);
	return r == 0 ? git_pack_check(&p, NULL) : r;
}

static void try_pack(unsigned version, const uint8_t *data, size_t len)
{
	size_t whole = 0, cut = 0;
	int r = take_pack(version, data, len, len ? len : 1, &whole);

	FUZZ_MUST(take_pack(version, data, len, 2, &cut) == r);
	FUZZ_MUST(r < 0 || whole == cut);
}

static void try_config(const uint8_t *data, size_t len)
{
	struct lfs_config c = { 0 };
	char *exact = malloc(len ? len : 1);

	FUZZ_MUST(exact);
	if (len)
		memcpy(exact, data, len);
	if (lfs_config_parse(exact, len, &c, NULL) == 0)
		FUZZ_MUST(!c.url || *c.url);
	lfs_config_release(&c);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	switch (data[0]) {
	case 's':
		try_server(data + 1, len - 1);
		break;
	case '0':
	case '2':
		try_pack((unsigned)(data[0] - '0'), data + 1, len - 1);
		break;
	default:
		try_config(data + 1, len - 1);
	}
	return 0;
}
