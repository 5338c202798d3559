/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of servers, written line by line as git's documentation of the protocol has them, and fed
 * in pieces of every length. e2e/git_fetch.py and test_git.c talk to git itself.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "git_protocol.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* An answer, put together. */
struct answer {
	char bytes[70000];
	size_t len;
};

static void add_raw(struct answer *a, const void *bytes, size_t len)
{
	assert_true(a->len + len <= sizeof(a->bytes));
	memcpy(a->bytes + a->len, bytes, len);
	a->len += len;
}

static void add_bytes(struct answer *a, const void *bytes, size_t len)
{
	char digits[16];

	snprintf(digits, sizeof(digits), "%04x", (unsigned)len + 4);
	add_raw(a, digits, 4);
	add_raw(a, bytes, len);
}

static void add(struct answer *a, const char *line)
{
	add_bytes(a, line, strlen(line));
}

static void end(struct answer *a)
{
	add_raw(a, "0000", 4);
}

typedef int (*feeder)(void *ctx, const void *buf, size_t len, struct diag *d);

static int feed_server(void *ctx, const void *buf, size_t len, struct diag *d)
{
	return git_server_take(ctx, buf, len, d);
}

static int feed_refs(void *ctx, const void *buf, size_t len, struct diag *d)
{
	return git_server_take_refs(ctx, buf, len, d);
}

static int feed_pack(void *ctx, const void *buf, size_t len, struct diag *d)
{
	return git_pack_take(ctx, buf, len, d);
}

static int feed(const struct answer *a, size_t step, feeder give, void *ctx, struct diag *d)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < a->len; at += step)
		r = give(ctx, a->bytes + at, MIN(step, a->len - at), d);
	return r;
}

static void meet(struct git_server *s, const struct answer *a, size_t step)
{
	struct diag d = DIAG_INIT;

	*s = (struct git_server){ 0 };
	if (feed(a, step, feed_server, s, &d) < 0 || git_server_check(s, &d) < 0)
		fail_msg("pieces of %zu: %s", step, d.text);
}

static void add_new_server(struct answer *a)
{
	add(a, "# service=git-upload-pack\n");
	end(a);
	add(a, "version 2\n");
	add(a, "agent=git/2.39\n");
	add(a, "ls-refs=unborn\n");
	add(a, "fetch=wait-for-done shallow filter\n");
	add(a, "object-format=sha1\n");
	end(a);
}

static void add_old_server(struct answer *a, const char *capabilities)
{
	char line[512];

	add(a, "# service=git-upload-pack\n");
	end(a);
	int len = snprintf(line, sizeof(line), A " HEAD%c%s\n", '\0', capabilities);
	add_bytes(a, line, (size_t)len);
	add(a, A " refs/heads/main\n");
	add(a, B " refs/tags/v1\n");
	add(a, A " refs/tags/v1^{}\n");
	end(a);
}

static void introduction_is_understood_however_it_is_cut(void **state)
{
	static struct git_server s;
	static struct answer new = { .len = 0 }, old = { .len = 0 };
	(void)state;

	add_new_server(&new);
	add_old_server(&old,
	               "multi_ack side-band-64k shallow allow-reachable-sha1-in-want agent=x");
	for (size_t step = 1; step < 200; step++) {
		meet(&s, &new, step);
		assert_int_equal(s.version, 2);
		assert_true(s.gives_any && s.gives_depth && s.takes_agent && s.takes_format);
		git_server_release(&s);
		meet(&s, &old, step);
		assert_int_equal(s.version, 0);
		assert_true(s.gives_any && s.gives_depth && s.takes_agent);
		assert_int_equal(s.ref_cnt, 3);
		assert_true(git_server_has_tip(&s, A) && git_server_has_tip(&s, B));
		git_server_release(&s);
	}
}

static void capabilities_are_words_and_not_parts_of_words(void **state)
{
	static struct git_server s;
	static struct answer a = { .len = 0 };
	(void)state;

	add_old_server(&a, "side-band-64k no-shallow shallow-not xallow-any-sha1-in-want");
	meet(&s, &a, 7);
	assert_false(s.gives_any || s.gives_depth || s.takes_agent);
	git_server_release(&s);
}

static void names_are_looked_up_as_git_does(void **state)
{
	static struct git_server s;
	static struct answer a = { .len = 0 };
	(void)state;

	add_old_server(&a, "side-band-64k");
	meet(&s, &a, 1000);
	assert_string_equal(git_server_find_ref(&s, "main"), A);
	assert_string_equal(git_server_find_ref(&s, "refs/heads/main"), A);
	assert_string_equal(git_server_find_ref(&s, "heads/main"), A);
	assert_string_equal(git_server_find_ref(&s, "v1"), A); /* what the tag stands for */
	assert_null(git_server_find_ref(&s, "mai"));
	assert_null(git_server_find_ref(&s, ""));
	git_server_release(&s);
}

static void listed_references_bring_what_tags_stand_for(void **state)
{
	static struct git_server s;
	static struct answer intro = { .len = 0 }, refs = { .len = 0 };
	struct diag d = DIAG_INIT;
	(void)state;

	add_new_server(&intro);
	add(&refs, "unborn HEAD symref-target:refs/heads/x\n");
	add(&refs, B " refs/tags/v1 peeled:" A "\n");
	add(&refs, A " refs/heads/main symref-target:refs/heads/x\n");
	end(&refs);
	meet(&s, &intro, 50);
	s.reader = (struct git_pkt_reader){ 0 };
	assert_int_equal(feed(&refs, 3, feed_refs, &s, &d), 0);
	assert_string_equal(git_server_find_ref(&s, "v1"), A);
	assert_string_equal(git_server_find_ref(&s, "main"), A);
	assert_false(git_server_has_tip(&s, "x"));
	git_server_release(&s);
}

static void requests_are_as_documented(void **state)
{
	static struct git_server s;
	static struct answer new = { .len = 0 }, old = { .len = 0 };
	scoped(git_pkt_writer) struct git_pkt_writer one = { 0 }, two = { 0 }, all = { 0 };
	(void)state;

	add_new_server(&new);
	meet(&s, &new, 100);
	git_request_commit(&s, A, &two);
	assert_string_equal(two.text, "0012command=fetch\n"
	                              "0017agent=mkdisk/" MODELDISK_VERSION "\n"
	                              "0017object-format=sha1\n"
	                              "0001"
	                              "0010no-progress\n"
	                              "000eofs-delta\n"
	                              "0032want " A "\n"
	                              "000ddeepen 1\n"
	                              "0009done\n"
	                              "0000");
	git_server_release(&s);
	add_old_server(&old, "side-band-64k ofs-delta");
	meet(&s, &old, 100);
	git_request_commit(&s, B, &one);
	assert_string_equal(one.text, "0056want " B " side-band-64k ofs-delta no-progress\n"
	                              "0000"
	                              "0009done\n");
	git_request_all(&s, &all);
	assert_non_null(strstr(all.text, "0032want " B "\n"));
	git_server_release(&s);
}

static void introductions_against_the_protocol_are_refused(void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "<html>", -EUCLEAN },
		{ "", -EUCLEAN },
		{ "0000", -EUCLEAN },
		{ "0003", -EUCLEAN },
		{ "00zz", -EUCLEAN },
		{ "fff1", -EUCLEAN },
		{ "ffff", -EUCLEAN },
		{ "0020ERR go away, u\n", -EUCLEAN }, /* cut */
		{ "0011ERR go away\n\n", -EIO },
		{ "000eversion 3\n", -EUCLEAN },
		{ "000eversion 2\n0000", -EOPNOTSUPP },
		{ "003d" A " refs/heads/main\n0000", -EOPNOTSUPP }, /* no bands */
		{ "0032zzzzaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HEAD\n0000", -EUCLEAN },
		{ "002d" A "0000", -EUCLEAN },
		{ "002d" A "\n0000", -EUCLEAN },
		{ "002d" A " 0000", -E2BIG }, /* a name of no length */
		{ "000eversion 2\n001fobject-format=sha256 fetch\n0000", -EOPNOTSUPP },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		static struct git_server s;
		struct diag d = DIAG_INIT;

		s = (struct git_server){ 0 };
		int r = git_server_take(&s, cases[i].text, strlen(cases[i].text), &d);
		if (r == 0)
			r = git_server_check(&s, &d);
		git_server_release(&s);
		if (r != cases[i].want)
			fail_msg("%s: %d %s", cases[i].text, r, d.text);
		assert_true(strlen(d.text) > 0);
	}
}

/* ---- packs ---- */

struct taken {
	char bytes[64];
	size_t len;
};

static int take_bytes(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct taken *t = ctx;
	(void)d;

	assert_true(t->len + len < sizeof(t->bytes));
	memcpy(t->bytes + t->len, buf, len);
	t->len += len;
	return 0;
}

static void add_new_pack(struct answer *a)
{
	add(a, "shallow-info\n");
	add(a, "shallow " A "\n");
	add_raw(a, "0001", 4);
	add(a, "packfile\n");
	add(a, "\2Counting\n");
	add_bytes(a, "\1PACK\0", 6);
	add(a, "\1more");
	end(a);
}

static void add_old_pack(struct answer *a)
{
	add(a, "shallow " A "\n");
	end(a);
	add(a, "NAK\n");
	add_bytes(a, "\1PACK\0", 6);
	add(a, "\2...");
	add(a, "\1more");
	end(a);
}

/* Gives what came of it; *t is what was taken. */
static int take_pack(const struct answer *a, unsigned version, size_t step, struct taken *t,
                     bool *is_refused, struct diag *d)
{
	static struct git_server s;
	static struct git_pack p;

	s = (struct git_server){ .version = version };
	p = (struct git_pack){ .server = &s, .take = take_bytes, .ctx = t };
	t->len = 0;
	int r = feed(a, step, feed_pack, &p, d);
	if (r == 0)
		r = git_pack_check(&p, d);
	*is_refused = p.is_refused;
	return r;
}

static void pack_is_taken_however_it_is_cut(void **state)
{
	static struct answer new = { .len = 0 }, old = { .len = 0 };
	struct diag d = DIAG_INIT;
	bool is_refused;
	struct taken t;
	(void)state;

	add_new_pack(&new);
	add_old_pack(&old);
	for (size_t step = 1; step < 100; step++) {
		assert_int_equal(take_pack(&new, 2, step, &t, &is_refused, &d), 0);
		assert_memory_equal(t.bytes, "PACK\0more", 9);
		assert_int_equal(t.len, 9);
		assert_int_equal(take_pack(&old, 0, step, &t, &is_refused, &d), 0);
		assert_int_equal(t.len, 9);
	}
}

static void pack_cut_anywhere_is_not_whole(void **state)
{
	static struct answer new = { .len = 0 }, old = { .len = 0 };
	bool is_refused;
	struct taken t;
	(void)state;

	add_new_pack(&new);
	add_old_pack(&old);
	for (size_t len = 0; len < MAX(new.len, old.len); len++) {
		static struct answer cut;
		struct diag d = DIAG_INIT;

		cut = new;
		cut.len = MIN(len, new.len - 1);
		assert_int_equal(take_pack(&cut, 2, 1000, &t, &is_refused, &d), -EUCLEAN);
		cut = old;
		cut.len = MIN(len, old.len - 1);
		assert_int_equal(take_pack(&cut, 0, 1000, &t, &is_refused, &d), -EUCLEAN);
	}
}

static void server_s_own_words_are_told_safely(void **state)
{
	static const char *const lines[] = { "ERR upload-pack: not our ref \033[2J" A "\n",
		                             "\3not our ref \033[2J" };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		static struct answer a;
		struct diag d = DIAG_INIT;
		bool is_refused = false;
		struct taken t;

		a.len = 0;
		if (i == 1)
			add(&a, "packfile\n");
		add(&a, lines[i]);
		end(&a);
		assert_int_equal(take_pack(&a, 2, 5, &t, &is_refused, &d), -ENOENT);
		assert_true(is_refused);
		assert_non_null(strstr(d.text, "not our ref"));
		assert_null(strchr(d.text, '\033'));
	}
}

static void what_is_no_pack_is_refused(void **state)
{
	static const char *const lines[] = { "\4band", "", "x" };
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		static struct answer a;
		struct diag d = DIAG_INIT;
		bool is_refused;
		struct taken t;

		a.len = 0;
		add(&a, "packfile\n");
		add(&a, lines[i]);
		end(&a);
		assert_int_equal(take_pack(&a, 2, 5, &t, &is_refused, &d), -EUCLEAN);
		a.len = 0;
		add(&a, "whatever\n");
		assert_int_equal(take_pack(&a, 0, 5, &t, &is_refused, &d), -EUCLEAN);
	}
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	static struct answer a = { .len = 0 };
	(void)state;

	add_old_server(&a, "side-band-64k");
	for (unsigned long k = 1;; k++) {
		static struct git_server s;
		scoped(git_pkt_writer) struct git_pkt_writer w = { 0 };

		s = (struct git_server){ 0 };
		support_fail_allocation(k);
		int r = feed(&a, 100, feed_server, &s, NULL);
		if (r == 0)
			git_request_all(&s, &w);
		support_fail_allocation(0);
		git_server_release(&s);
		if (r == 0 && !w.is_out_of_memory)
			break;
		assert_true(r == -ENOMEM || w.is_out_of_memory);
		assert_true(k < 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(introduction_is_understood_however_it_is_cut),
		cmocka_unit_test(capabilities_are_words_and_not_parts_of_words),
		cmocka_unit_test(names_are_looked_up_as_git_does),
		cmocka_unit_test(listed_references_bring_what_tags_stand_for),
		cmocka_unit_test(requests_are_as_documented),
		cmocka_unit_test(introductions_against_the_protocol_are_refused),
		cmocka_unit_test(pack_is_taken_however_it_is_cut),
		cmocka_unit_test(pack_cut_anywhere_is_not_whole),
		cmocka_unit_test(server_s_own_words_are_told_safely),
		cmocka_unit_test(what_is_no_pack_is_refused),
		cmocka_unit_test(failed_allocation_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
