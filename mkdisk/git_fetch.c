/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides how a commit is asked for: by its id where the server allows that, which also finds
 * commits that only a pull request's reference leads to; else with all references there are.
 */
#include "git_fetch.h"

#include <errno.h>
#include <git2.h>
#include <stdarg.h>
#include <stdio.h>

#include "text.h"

#define LIBGIT2_IS(major, minor)                                                                   \
	(LIBGIT2_VER_MAJOR > (major) ||                                                            \
	 (LIBGIT2_VER_MAJOR == (major) && LIBGIT2_VER_MINOR >= (minor)))

/* Where a commit that is here with everything it needs is marked. */
#define COMPLETE_REF "refs/mkdisk/"
#define ID_LEN       64

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

struct session {
	const struct git_fetch *what;
	git_repository *repo;
	git_remote *remote;
	bool was_sent; /* the token went out, so asking again means that it was refused */
	struct diag *d;
};

/* user:token, or a token alone, which goes with the user name that such servers ignore. */
static int make_credential(git_credential **out, const char *token)
{
	const char *colon = strchr(token, ':');
	scoped_free char *user = colon ? strndup(token, (size_t)(colon - token)) : strdup("api");

	if (!user)
		return GIT_ERROR;
	return git_credential_userpass_plaintext_new(out, user, colon ? colon + 1 : token);
}

static int on_credentials(git_credential **out, const char *url, const char *user, unsigned allowed,
                          void *ctx)
{
	struct session *s = ctx;

	(void)url;
	(void)user;
	if (!s->what->token || s->was_sent || !(allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT))
		return GIT_PASSTHROUGH;
	s->was_sent = true;
	return make_credential(out, s->what->token);
}

static int fetch_refspec(struct session *s, char *refspec, bool is_shallow)
{
	git_fetch_options opts = GIT_FETCH_OPTIONS_INIT;
	git_strarray refspecs = { &refspec, 1 };

	opts.callbacks.credentials = on_credentials;
	opts.callbacks.payload = s;
	opts.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
	opts.update_fetchhead = 0;
	opts.prune = GIT_FETCH_NO_PRUNE;
	opts.proxy_opts.type = GIT_PROXY_AUTO;
	opts.follow_redirects = GIT_REMOTE_REDIRECT_NONE; /* to other hosts */
#if LIBGIT2_IS(1, 7)
	opts.depth = is_shallow ? 1 : GIT_FETCH_DEPTH_FULL;
#else
	(void)is_shallow;
#endif
	s->was_sent = false;
	return git_remote_fetch(s->remote, &refspecs, &opts, NULL);
}

static int connect_to_server(struct session *s)
{
	git_remote_callbacks callbacks = GIT_REMOTE_CALLBACKS_INIT;
	git_proxy_options proxy = GIT_PROXY_OPTIONS_INIT;
	git_remote_connect_options opts = GIT_REMOTE_CONNECT_OPTIONS_INIT;

	callbacks.credentials = on_credentials;
	callbacks.payload = s;
	proxy.type = GIT_PROXY_AUTO;
	opts.callbacks = callbacks;
	opts.proxy_opts = proxy;
	opts.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
	return git_remote_connect_ext(s->remote, GIT_DIRECTION_FETCH, &opts);
}

static bool has_commit(const struct session *s)
{
	git_oid oid;
	git_commit *commit = NULL;
	bool found = git_oid_fromstr(&oid, s->what->id) == 0 &&
	             git_commit_lookup(&commit, s->repo, &oid) == 0;

	git_commit_free(commit);
	return found;
}

/* By id. Servers may not allow it, or only for some commits; so its failure means nothing yet. */
static bool fetch_by_id(struct session *s)
{
	char refspec[2 * ID_LEN + sizeof(COMPLETE_REF) + 2];

	snprintf(refspec, sizeof(refspec), "%s:" COMPLETE_REF "%s", s->what->id, s->what->id);
	return fetch_refspec(s, refspec, s->what->is_private) == 0 && has_commit(s);
}

static int mark_complete(const struct session *s)
{
	char name[ID_LEN + sizeof(COMPLETE_REF)];
	git_reference *ref = NULL;
	git_oid oid;

	snprintf(name, sizeof(name), COMPLETE_REF "%s", s->what->id);
	int code = git_oid_fromstr(&oid, s->what->id);
	if (code == 0)
		code = git_reference_create(&ref, s->repo, name, &oid, 1, NULL);
	git_reference_free(ref);
	return code;
}

static bool is_complete(const struct session *s)
{
	char name[ID_LEN + sizeof(COMPLETE_REF)];
	git_oid oid;

	snprintf(name, sizeof(name), COMPLETE_REF "%s", s->what->id);
	return git_reference_name_to_id(&oid, s->repo, name) == 0;
}

static int fetch_all(struct session *s, const char *quoted)
{
	char refspec[] = "+refs/*:refs/remotes/mkdisk/*";
	int code = fetch_refspec(s, refspec, false);

	if (code < 0)
		return git_fail(s->d, code, "cannot fetch from %s", quoted);
	if (!has_commit(s))
		return diag_set(
		        s->d, -ENOENT,
		        "%s has no commit %s, neither by its id nor on any branch, tag or pull "
		        "request",
		        quoted, s->what->id);
	code = mark_complete(s);
	return code < 0 ? git_fail(s->d, code, "cannot note the fetched commit %s", s->what->id)
	                : 0;
}

static int run(struct session *s)
{
	char quoted[TEXT_QUOTE_LEN];

	text_quote(s->what->shown, strlen(s->what->shown), quoted, sizeof(quoted));
	if (is_complete(s) && has_commit(s))
		return 0;
	int code = git_remote_create_anonymous(&s->remote, s->repo, s->what->url);
	/* once on its own, so that a server that is not there is not asked twice */
	if (code == 0)
		code = connect_to_server(s);
	if (code == GIT_EAUTH || (code < 0 && s->was_sent))
		return git_fail(s->d, GIT_EAUTH, "%s %s", quoted,
		                s->what->token ? "does not accept the access token"
		                               : "asks for an access token");
	if (code < 0)
		return git_fail(s->d, code, "cannot reach the repository %s", quoted);
	return fetch_by_id(s) ? 0 : fetch_all(s, quoted);
}

static int open_bare(const char *dir, git_repository **out)
{
	int code = git_repository_open_bare(out, dir);

	return code == GIT_ENOTFOUND ? git_repository_init(out, dir, 1) : code;
}

int git_fetch(const struct git_fetch *what, struct git_repository **out, struct diag *d)
{
	struct session s = { .what = what, .d = d };
	char quoted[TEXT_QUOTE_LEN];

#if LIBGIT2_IS(1, 7)
	git_libgit2_opts(GIT_OPT_SET_SERVER_CONNECT_TIMEOUT, 30000);
	git_libgit2_opts(GIT_OPT_SET_SERVER_TIMEOUT, 60000);
#endif
	int r = open_bare(what->dir, &s.repo);
	if (r < 0)
		return git_fail(d, r, "cannot use the cache %s",
		                text_quote(what->dir, strlen(what->dir), quoted, sizeof(quoted)));
	r = run(&s);
	git_remote_free(s.remote);
	if (r < 0) {
		git_repository_free(s.repo);
		return r;
	}
	*out = s.repo;
	return 0;
}
