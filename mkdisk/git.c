/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens repositories and reads blobs. Decides what a commit argument may be and where a fetched
 * repository lies; what its trees mean is git_tree.c's, how it is fetched git_fetch.c's.
 */
#include "git.h"

#include <errno.h>
#include <git2.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "git_cache.h"
#include "git_fetch.h"
#include "git_tree.h"
#include "text.h"
#include "url.h"

#define MAX_CHECKED_LEN (64 * MIB) /* of an object in the cache */

_Static_assert(GIT_TREE_ID_LEN == GIT_OID_RAWSZ, "libgit2 speaks of SHA-1");

struct git {
	git_repository *repo;
	git_odb *odb;         /* lock */
	pthread_mutex_t lock; /* libgit2 promises little about objects shared by threads */
	char id[GIT_OID_HEXSZ + 1];
	char *location; /* without credentials */
	char *scratch;  /* our own repository, removed with the object; or NULL */
	struct git_tree_lfs lfs;
	git_oid root; /* of the commit */
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the repository");
}

/* A name that may be a branch's or a tag's; it goes into a request. */
static bool is_ref_name(const char *name)
{
	char full[300];
	int is_valid = 0;

	snprintf(full, sizeof(full), "refs/heads/%s", name);
	return strlen(name) < 256 && git_reference_name_is_valid(&is_valid, full) == 0 && is_valid;
}

/* Leaves id empty for the name of a reference. */
static int parse_commit(struct git *g, const char *commit, bool allow_ref, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	uint8_t raw[2 * GIT_OID_RAWSZ];
	size_t len = strlen(commit);

	if (len == 64 && hex_decode(commit, raw, 32) == 0)
		return diag_set(d, -EOPNOTSUPP,
		                "commit %s: repositories with SHA-256 ids are not supported",
		                commit);
	if (len == GIT_OID_HEXSZ && hex_decode(commit, raw, GIT_OID_RAWSZ) == 0) {
		hex_encode(raw, GIT_OID_RAWSZ, g->id);
		return 0;
	}
	text_quote(commit, len, quoted, sizeof(quoted));
	if (!allow_ref)
		return diag_set(
		        d, -EINVAL,
		        "commit %s: give its full id, %d hexadecimal digits; branches, tags "
		        "and short ids may mean another commit tomorrow (--allow-ref takes "
		        "branches and tags)",
		        quoted, GIT_OID_HEXSZ);
	if (!is_ref_name(commit))
		return diag_set(d, -EINVAL,
		                "commit %s: neither a full id nor the name of a branch or tag",
		                quoted);
	return 0;
}

/* The id of a tag, tree or blob was given. */
static int not_a_commit(const struct git *g, git_object *object, const char *quoted, struct diag *d)
{
	const char *type = git_object_type2string(git_object_type(object));
	char hex[GIT_OID_HEXSZ + 1];
	git_object *peeled = NULL;

	if (git_object_peel(&peeled, object, GIT_OBJECT_COMMIT) < 0)
		return diag_set(d, -EINVAL, "%s: %s is a %s, not a commit", quoted, g->id, type);
	git_oid_tostr(hex, sizeof(hex), git_object_id(peeled));
	git_object_free(peeled);
	return diag_set(d, -EINVAL, "%s: %s is a %s; the commit it stands for is %s", quoted, g->id,
	                type, hex);
}

static int find_root(struct git *g, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	git_object *object = NULL;
	git_oid id;
	int r = 0;

	text_quote(g->location, strlen(g->location), quoted, sizeof(quoted));
	int code = git_oid_fromstr(&id, g->id);
	if (code == 0)
		code = git_object_lookup(&object, g->repo, &id, GIT_OBJECT_ANY);
	if (code == GIT_ENOTFOUND)
		return diag_set(d, -ENOENT, "%s has no commit %s", quoted, g->id);
	if (code < 0)
		return git_fail(d, code, "%s: cannot read the commit %s", quoted, g->id);
	if (git_object_type(object) == GIT_OBJECT_COMMIT)
		git_oid_cpy(&g->root, git_commit_tree_id((const git_commit *)object));
	else
		r = not_a_commit(g, object, quoted, d);
	git_object_free(object);
	return r;
}

/* ------------------------------------------------------------------------------ fetching */

static int make_scratch(struct git *g, struct diag *d)
{
	const char *base = getenv("TMPDIR");

	if (asprintf(&g->scratch, "%s/mkdisk-git-XXXXXX", base && *base ? base : "/tmp") < 0) {
		g->scratch = NULL;
		return out_of_memory(d);
	}
	if (!mkdtemp(g->scratch)) {
		int r = diag_set_errno(d, -errno, "cannot make the temporary directory %s",
		                       g->scratch);

		free(take_ptr(g->scratch));
		return r;
	}
	return 0;
}

static int fetch_into(struct git *g, const char *dir, struct git_fetch *from, struct diag *d)
{
	int code = git_repository_init(&g->repo, dir, 1);

	if (code < 0)
		return git_fail(d, code, "cannot make a repository in %s", dir);
	return git_fetch_commit(from, g->id, g->repo, d);
}

static int fetch_into_scratch(struct git *g, struct git_fetch *from, struct diag *d)
{
	int r = make_scratch(g, d);

	return r < 0 ? r : fetch_into(g, g->scratch, from, d);
}

/* Reading compares an object with its id. What is too large to be held for that is read, and
 * compared, when its turn comes. */
static int check_object(const git_oid *id, void *ctx)
{
	git_odb_object *object = NULL;
	git_object_t type = GIT_OBJECT_INVALID;
	size_t size = 0;
	int code = git_odb_read_header(&size, &type, ctx, id);

	if (code == 0 && size <= MAX_CHECKED_LEN)
		code = git_odb_read(&object, ctx, id);
	git_odb_object_free(object);
	return code;
}

/* Opens what is in the cache if it is whole; nothing was proven since it was written. */
static bool open_cached(struct git *g, const char *path)
{
	git_repository *repo = NULL;
	git_odb *odb = NULL;
	git_oid id;
	bool is_whole = git_repository_open_bare(&repo, path) == 0 &&
	                git_repository_odb(&odb, repo) == 0 && git_oid_fromstr(&id, g->id) == 0 &&
	                git_odb_exists(odb, &id) && git_odb_foreach(odb, check_object, odb) == 0;

	git_odb_free(odb);
	if (is_whole)
		g->repo = repo;
	else
		git_repository_free(repo);
	return is_whole;
}

static int renew_cached(struct git *g, const struct git_cache *cache, const char *path,
                        struct git_fetch *from, struct diag *d)
{
	scoped_free char *part = git_cache_path(cache, g->id, true);
	char quoted[TEXT_QUOTE_LEN];

	if (!part)
		return out_of_memory(d);
	int r = git_cache_remove(path);
	if (r == 0)
		r = git_cache_remove(part);
	if (r < 0)
		return diag_set_errno(d, r, "cannot renew %s in the cache",
		                      text_quote(path, strlen(path), quoted, sizeof(quoted)));
	r = fetch_into(g, part, from, d);
	git_repository_free(take_ptr(g->repo));
	if (r < 0) {
		git_cache_remove(part);
		return r;
	}
	r = git_cache_complete(cache, g->id, d);
	if (r < 0)
		return r;
	int code = git_repository_open_bare(&g->repo, path);
	return code < 0 ? git_fail(d, code, "cannot open %s", path) : 0;
}

/* A cache that could not be made (a home that is read-only, or full) is done without. */
static int fetch_into_cache(struct git *g, const struct source_options *opt, struct git_fetch *from,
                            struct diag *d)
{
	scoped(git_cache) struct git_cache cache = GIT_CACHE_INIT;
	int r = git_cache_open(opt->cache_dir, g->location, &cache, d);

	if (r < 0 && r != -ENOMEM && r != -EINTR && !opt->needs_cache)
		return fetch_into_scratch(g, from, d);
	if (r < 0)
		return r;
	scoped_free char *path = git_cache_path(&cache, g->id, false);
	if (!path)
		return out_of_memory(d);
	return open_cached(g, path) ? 0 : renew_cached(g, &cache, path, from, d);
}

/* Today's commit of a branch or tag; whoever wants the same disk tomorrow needs its id. */
static void tell_resolved(const struct git *g, const struct git_options *opt)
{
	char sentence[TEXT_QUOTE_LEN + 100], quoted[TEXT_QUOTE_LEN];
	const char *name = opt->commit;

	if (!opt->source->note)
		return;
	snprintf(sentence, sizeof(sentence), "%s is the commit %s now",
	         text_quote(name, strlen(name), quoted, sizeof(quoted)), g->id);
	opt->source->note(opt->source->note_ctx, sentence);
}

static int fetch(struct git *g, const struct git_options *opt, struct diag *d)
{
	const struct source_options *source = opt->source;
	struct http_options net = {
		.url = g->location,
		.credentials = opt->credentials,
		.ca_file = source->ca_file,
		.retries = source->retries,
		.stall_s = source->stall_s > 0 ? source->stall_s : HTTP_DEFAULT_STALL_S,
		.note = source->note,
		.ctx = source->note_ctx,
		.stop = source->stop,
	};
	scoped(git_fetch) struct git_fetch *from = NULL;
	int r = git_fetch_new(&net, &from, d);

	if (r == 0 && !*g->id) {
		r = git_fetch_resolve(from, opt->commit, g->id, d);
		if (r == 0)
			tell_resolved(g, opt);
	}
	if (r < 0)
		return r;
	return source->cache_dir ? fetch_into_cache(g, source, from, d)
	                         : fetch_into_scratch(g, from, d);
}

/* -------------------------------------------------------------------------------- opening */

/* What a branch or tag of a repository on this machine means. */
static int resolve(struct git *g, const struct git_options *opt, struct diag *d)
{
	const char *name = opt->commit;
	char quoted[TEXT_QUOTE_LEN];
	git_reference *ref = NULL;
	git_object *object = NULL;
	int code = git_reference_dwim(&ref, g->repo, name);

	if (code == 0)
		code = git_reference_peel(&object, ref, GIT_OBJECT_COMMIT);
	if (code == 0)
		git_oid_tostr(g->id, sizeof(g->id), git_object_id(object));
	git_object_free(object);
	git_reference_free(ref);
	text_quote(name, strlen(name), quoted, sizeof(quoted));
	if (code == GIT_ENOTFOUND)
		return diag_set(d, -ENOENT, "%s: there is no branch or tag %s", g->location,
		                quoted);
	if (code < 0)
		return git_fail(d, code, "cannot find the commit of %s", quoted);
	tell_resolved(g, opt);
	return 0;
}

static int open_repository(struct git *g, const struct git_options *opt, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	if (url_is_http(opt->spec))
		return fetch(g, opt, d);
	text_quote(opt->spec, strlen(opt->spec), quoted, sizeof(quoted));
	int code =
	        git_repository_open_ext(&g->repo, opt->spec, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	if (code == GIT_ENOTFOUND)
		return diag_set(d, -EINVAL, "%s is not a git repository, but a commit was given",
		                quoted);
	if (code < 0)
		return git_fail(d, code, "cannot open the repository %s", quoted);
	return *g->id ? 0 : resolve(g, opt, d);
}

/*
 * Nothing but the repository's own format comes from configuration. That a repository belongs to
 * someone else matters to git because of what its configuration may run; nothing is run here.
 */
static void isolate(void)
{
	static const int levels[] = { GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
		                      GIT_CONFIG_LEVEL_GLOBAL, GIT_CONFIG_LEVEL_PROGRAMDATA };

	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "");
	git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
}

static int git_new(struct git **out, struct diag *d)
{
	struct git *g = calloc(1, sizeof(*g));

	if (!g)
		return out_of_memory(d);
	int code = git_libgit2_init();
	if (code < 0) {
		free(g);
		return git_fail(d, code, "cannot start libgit2");
	}
	isolate();
	pthread_mutex_init(&g->lock, NULL);
	*out = g;
	return 0;
}

int git_open(const struct git_options *opt, struct tree *t, struct git **out, struct diag *d)
{
	scoped(git) struct git *g = NULL;
	int r = git_new(&g, d);

	if (!g)
		return r;
	g->location = url_without_credentials(opt->spec);
	if (!g->location)
		return out_of_memory(d);
	r = parse_commit(g, opt->commit, opt->source->allow_ref, d);
	if (r == 0)
		r = open_repository(g, opt, d);
	if (r < 0)
		return r;
	int code = git_repository_odb(&g->odb, g->repo);
	if (code < 0)
		return git_fail(d, code, "cannot read the repository's objects");
	r = find_root(g, d);
	if (r < 0)
		return r;
	struct git_tree_source from = { .repo = g->repo, .odb = g->odb };
	memcpy(from.root, g->root.id, sizeof(from.root));
	r = git_tree_read(&from, opt->source, t, &g->lfs, d);
	if (r < 0)
		return r;
	*out = take_ptr(g);
	return 0;
}

void git_close(struct git *g)
{
	if (!g)
		return;
	git_odb_free(g->odb);
	git_repository_free(g->repo);
	git_libgit2_shutdown();
	if (g->scratch)
		git_cache_remove(g->scratch);
	pthread_mutex_destroy(&g->lock);
	free(g->lfs.node);
	free(g->scratch);
	free(g->location);
	free(g);
}

const char *git_location(const struct git *g)
{
	return g->location;
}

const char *git_full_id(const struct git *g)
{
	return g->id;
}

struct tree_node *const *git_lfs_nodes(const struct git *g, size_t *cnt)
{
	*cnt = g->lfs.cnt;
	return g->lfs.node;
}

const struct walk_pointers *git_pointers(const struct git *g)
{
	return &g->lfs.kept;
}

const char *git_common_dir(const struct git *g)
{
	return git_repository_commondir(g->repo);
}

const char *git_work_dir(const struct git *g)
{
	return git_repository_workdir(g->repo);
}

bool git_is_bare(const char *path)
{
	git_repository *repo = NULL;
	bool is_bare = false;

	if (git_libgit2_init() < 0)
		return false;
	isolate();
	is_bare = git_repository_open_bare(&repo, path) == 0;
	git_repository_free(repo);
	git_libgit2_shutdown();
	return is_bare;
}

/* ------------------------------------------------------------------------------------- reading */

/* A copy of the raw blob is avoided where a conversion makes one anyway. */
static int convert_blob(const struct git_tree_blob *ref, git_odb_object *blob, void **buf,
                        size_t *len)
{
	char hex[GIT_OID_HEXSZ + 1];

	hex_encode(ref->id, sizeof(ref->id), hex);
	int r = conversion_apply(&ref->conversion, hex, git_odb_object_data(blob),
	                         git_odb_object_size(blob), buf, len);
	if (r < 0 || *buf)
		return r;
	*buf = malloc(*len);
	if (!*buf)
		return -ENOMEM;
	memcpy(*buf, git_odb_object_data(blob), *len);
	return 0;
}

int git_blob_read(struct git *g, const struct tree_node *n, void **buf, struct diag *d)
{
	git_odb_object *blob = NULL;
	scoped_free void *bytes = NULL;
	char quoted[TREE_QUOTE_LEN];
	struct git_tree_blob ref;
	size_t len = 0;
	git_oid id;

	tree_quote_path(n, quoted, sizeof(quoted));
	memcpy(&ref, n->oid, sizeof(ref));
	memcpy(id.id, ref.id, sizeof(ref.id));
	pthread_mutex_lock(&g->lock);
	int code = git_odb_read(&blob, g->odb, &id);
	pthread_mutex_unlock(&g->lock);
	if (code < 0)
		return git_fail(d, code, "source file %s", quoted);
	int r = convert_blob(&ref, blob, &bytes, &len);
	git_odb_object_free(blob);
	if (r < 0)
		return diag_set(d, r, "out of memory for the %" PRIu64 " bytes of source file %s",
		                n->size, quoted);
	if (len != n->size)
		return diag_set(d, -EUCLEAN,
		                "source file %s has %zu bytes, not %" PRIu64 " as it had at first",
		                quoted, len, n->size);
	*buf = take_ptr(bytes);
	return 0;
}

static int copy_blob(git_odb_object *blob, size_t max, char **text, size_t *len)
{
	size_t size = git_odb_object_size(blob);
	char *copy = size <= max ? malloc(size + 1) : NULL;

	if (!copy)
		return size <= max ? -ENOMEM : -E2BIG;
	memcpy(copy, git_odb_object_data(blob), size);
	copy[size] = '\0';
	*text = copy;
	*len = size;
	return 1;
}

int git_top_file(struct git *g, const char *name, size_t max, char **text, size_t *len,
                 struct diag *d)
{
	git_odb_object *blob = NULL;
	git_tree *tree = NULL;
	int r = 0, code = git_tree_lookup(&tree, g->repo, &g->root);
	const git_tree_entry *entry = code == 0 ? git_tree_entry_byname(tree, name) : NULL;

	if (entry && git_tree_entry_type(entry) == GIT_OBJECT_BLOB) {
		code = git_odb_read(&blob, g->odb, git_tree_entry_id(entry));
		r = code == 0 ? copy_blob(blob, max, text, len) : 0;
	}
	git_odb_object_free(blob);
	git_tree_free(tree);
	if (code < 0)
		return git_fail(d, code, "cannot read %s", name);
	if (r < 0)
		return diag_set(d, r,
		                r == -E2BIG ? "%s: longer than %zu bytes" : "%s: out of memory",
		                name, max);
	return r;
}
