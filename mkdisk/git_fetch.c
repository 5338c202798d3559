/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what a server is asked for, and puts its packs among a repository's objects. The protocol
 * is git_protocol.c's, requests are git_http.c's.
 */
#include "git_fetch.h"

#include <errno.h>
#include <git2.h>
#include <git2/sys/odb_backend.h>
#include <stdarg.h>
#include <stdio.h>

#include "git_http.h"
#include "text.h"

static int errno_of(int code)
{
	const git_error *e = git_error_last();

	if (e && e->klass == GIT_ERROR_NOMEMORY)
		return -ENOMEM;
	if (e && code == GIT_ERROR && (e->klass == GIT_ERROR_TREE || e->klass == GIT_ERROR_OBJECT))
		return -EUCLEAN;
	switch (code) {
	case GIT_ENOTFOUND:
		return -ENOENT;
	case GIT_EAUTH:
	case GIT_ECERTIFICATE:
		return -EACCES;
	case GIT_EMISMATCH: /* an object's bytes and its id */
		return -EBADMSG;
	default:
		return -EIO;
	}
}

int git_fail(struct diag *d, int code, const char *fmt, ...)
{
	const git_error *e = git_error_last();
	const char *said = e && e->message ? e->message : "no reason given";
	char sentence[DIAG_TEXT_LEN], quoted[TEXT_QUOTE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, args);
	va_end(args);
	return diag_set(d, errno_of(code), "%s: libgit2 says %s", sentence,
	                text_quote(said, strlen(said), quoted, sizeof(quoted)));
}

/* ---- a server ---- */

struct git_fetch {
	const struct http_options *opt;
	struct git_http *http;
	struct git_server server;
	bool is_known; /* the server has introduced itself */
	bool has_refs; /* and all its references are here */
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the repository");
}

int git_fetch_new(const struct http_options *opt, struct git_fetch **out, struct diag *d)
{
	scoped(git_fetch) struct git_fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return out_of_memory(d);
	f->opt = opt;
	int r = git_http_new(opt, &f->http, d);
	if (r < 0)
		return r;
	*out = take_ptr(f);
	return 0;
}

void git_fetch_free(struct git_fetch *f)
{
	if (!f)
		return;
	git_server_release(&f->server);
	git_http_free(f->http);
	free(f);
}

/* An answer that was not taken is told with the server's name, as everything else is already. */
static int tell_whose(const struct git_fetch *f, int r, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_prefix(d, r, "%s",
	                   text_quote(f->opt->url, strlen(f->opt->url), quoted, sizeof(quoted)));
}

static int begin_server(void *ctx, struct diag *d)
{
	struct git_fetch *f = ctx;

	(void)d;
	git_server_release(&f->server);
	f->server = (struct git_server){ 0 };
	return 0;
}

static int take_server(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct git_fetch *f = ctx;

	return tell_whose(f, git_server_take(&f->server, buf, len, d), d);
}

static int meet_server(struct git_fetch *f, struct diag *d)
{
	struct git_http_request rq = { .path = "/info/refs?service=git-upload-pack",
		                       .is_v2 = true,
		                       .begin = begin_server,
		                       .take = take_server,
		                       .ctx = f };

	if (f->is_known)
		return 0;
	int r = git_http_ask(f->http, &rq, d);
	if (r == 0)
		r = tell_whose(f, git_server_check(&f->server, d), d);
	f->is_known = r == 0;
	f->has_refs = f->server.version != 2;
	return r;
}

/* ---- references ---- */

static int begin_refs(void *ctx, struct diag *d)
{
	struct git_fetch *f = ctx;

	(void)d;
	git_server_release(&f->server);
	f->server.name_len = 0;
	f->server.reader = (struct git_pkt_reader){ 0 };
	return 0;
}

static int take_refs(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct git_fetch *f = ctx;

	return tell_whose(f, git_server_take_refs(&f->server, buf, len, d), d);
}

/* All, or those that name may stand for. */
static int list_refs(struct git_fetch *f, const char *name, struct diag *d)
{
	scoped(git_pkt_writer) struct git_pkt_writer w = { 0 };
	struct git_http_request rq = { .path = "/git-upload-pack",
		                       .is_v2 = true,
		                       .begin = begin_refs,
		                       .take = take_refs,
		                       .ctx = f };

	if (f->has_refs)
		return 0;
	git_request_refs(&f->server, name, &w);
	if (w.is_out_of_memory)
		return out_of_memory(d);
	rq.post = w.text;
	int r = git_http_ask(f->http, &rq, d);
	f->has_refs = r == 0 && !name;
	return r;
}

int git_fetch_resolve(struct git_fetch *f, const char *name, char id[GIT_ID_SIZE], struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	int r = meet_server(f, d);

	if (r == 0)
		r = list_refs(f, name, d);
	if (r < 0)
		return r;
	const char *found = git_server_find_ref(&f->server, name);
	if (!found)
		return tell_whose(f,
		                  diag_set(d, -ENOENT, "there is no branch or tag %s",
		                           text_quote(name, strlen(name), quoted, sizeof(quoted))),
		                  d);
	memcpy(id, found, GIT_ID_SIZE);
	return 0;
}

/* ---- packs ---- */

/* A pack on its way into a repository. */
struct intake {
	struct git_fetch *f;
	git_odb *odb;
	git_odb_writepack *writer;
	git_indexer_progress progress;
	struct git_pack pack;
};

static void drop_writer(struct intake *in)
{
	if (in->writer)
		in->writer->free(in->writer);
	in->writer = NULL;
}

static int take_pack(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct intake *in = ctx;
	int code = in->writer->append(in->writer, buf, len, &in->progress);

	return code < 0 ? git_fail(d, code, "the pack cannot be taken") : 0;
}

static int begin_pack(void *ctx, struct diag *d)
{
	struct intake *in = ctx;

	drop_writer(in);
	in->pack = (struct git_pack){ .server = &in->f->server, .take = take_pack, .ctx = in };
	int code = git_odb_write_pack(&in->writer, in->odb, NULL, NULL);
	return code < 0 ? git_fail(d, code, "cannot write objects") : 0;
}

static int take_answer(void *ctx, const void *buf, size_t len, struct diag *d)
{
	struct intake *in = ctx;

	return tell_whose(in->f, git_pack_take(&in->pack, buf, len, d), d);
}

/* Every object of the pack is hashed here; one that is not what others say it is, is missing. */
static int finish_pack(struct intake *in, struct diag *d)
{
	int r = git_pack_check(&in->pack, d);
	int code = r == 0 ? in->writer->commit(in->writer, &in->progress) : 0;

	if (code < 0)
		r = git_fail(d, code, "the pack is not whole");
	return tell_whose(in->f, r, d);
}

static int fetch_pack(struct intake *in, const struct git_pkt_writer *w, struct diag *d)
{
	struct git_http_request rq = { .path = "/git-upload-pack",
		                       .post = w->text,
		                       .is_v2 = in->f->server.version == 2,
		                       .begin = begin_pack,
		                       .take = take_answer,
		                       .ctx = in };

	if (w->is_out_of_memory)
		return out_of_memory(d);
	int r = git_http_ask(in->f->http, &rq, d);
	if (r == 0)
		r = finish_pack(in, d);
	drop_writer(in);
	return r;
}

static bool has_commit(const struct intake *in, const char *id)
{
	git_oid oid;

	return git_oid_fromstr(&oid, id) == 0 && git_odb_refresh(in->odb) == 0 &&
	       git_odb_exists(in->odb, &oid);
}

static int no_such_commit(const struct git_fetch *f, const char *id, struct diag *d)
{
	return tell_whose(
	        f,
	        diag_set(d, -ENOENT,
	                 "there is no commit %s, neither by its id nor on any branch, tag "
	                 "or pull request",
	                 id),
	        d);
}

static int fetch_all(struct intake *in, const char *id, struct diag *d)
{
	scoped(git_pkt_writer) struct git_pkt_writer w = { 0 };
	int r = list_refs(in->f, NULL, d);

	if (r < 0)
		return r;
	if (in->f->server.ref_cnt == 0)
		return no_such_commit(in->f, id, d);
	git_request_all(&in->f->server, &w);
	r = fetch_pack(in, &w, d);
	return r == 0 && !has_commit(in, id) ? no_such_commit(in->f, id, d) : r;
}

/* 1: it came; 0: the server does not give it by its id. */
static int fetch_by_id(struct intake *in, const char *id, struct diag *d)
{
	scoped(git_pkt_writer) struct git_pkt_writer w = { 0 };
	const struct git_server *s = &in->f->server;

	if (!s->gives_any && !git_server_has_tip(s, id))
		return 0;
	git_request_commit(s, id, &w);
	int r = fetch_pack(in, &w, d);
	if (r < 0)
		return in->pack.is_refused ? 0 : r;
	return has_commit(in, id);
}

int git_fetch_commit(struct git_fetch *f, const char *id, struct git_repository *repo,
                     struct diag *d)
{
	scoped_free struct intake *in = calloc(1, sizeof(*in));
	int r = meet_server(f, d);

	if (!in)
		return out_of_memory(d);
	if (r < 0)
		return r;
	in->f = f;
	int code = git_repository_odb(&in->odb, repo);
	if (code < 0)
		return git_fail(d, code, "cannot write objects");
	r = fetch_by_id(in, id, d);
	if (r == 0)
		r = fetch_all(in, id, d);
	git_odb_free(in->odb);
	return MIN(r, 0);
}
