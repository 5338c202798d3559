/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens repositories and reads blobs. Decides what a commit argument may be and where a fetched
 * repository lies; what its trees mean is git_tree.c's, how it is fetched git_fetch.c's.
 */
#include "git.h"

#include <errno.h>
#include <ftw.h>
#include <git2.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "git_fetch.h"
#include "git_tree.h"
#include "text.h"
#include "url.h"

_Static_assert(GIT_TREE_ID_LEN == GIT_OID_RAWSZ, "libgit2 speaks of SHA-1");

struct git {
	git_repository *repo;
	git_odb *odb;         /* lock */
	pthread_mutex_t lock; /* libgit2 promises little about objects shared by threads */
	char id[GIT_OID_HEXSZ + 1];
	char *location; /* without credentials */
	char *scratch;  /* our own repository, removed with the object; or NULL */
	struct git_tree_lfs lfs;
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the repository");
}

static int parse_commit(struct git *g, const char *commit, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	uint8_t raw[2 * GIT_OID_RAWSZ];
	size_t len = strlen(commit);

	if (len == 64 && hex_decode(commit, raw, 32) == 0)
		return diag_set(d, -EOPNOTSUPP,
		                "commit %s: repositories with SHA-256 ids are not supported",
		                commit);
	if (len != GIT_OID_HEXSZ || hex_decode(commit, raw, GIT_OID_RAWSZ) < 0)
		return diag_set(
		        d, -EINVAL,
		        "commit %s: give its full id, %d hexadecimal digits; branches, tags "
		        "and short ids may mean another commit tomorrow",
		        text_quote(commit, len, quoted, sizeof(quoted)), GIT_OID_HEXSZ);
	hex_encode(raw, GIT_OID_RAWSZ, g->id);
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

static int find_root(struct git *g, git_oid *root, struct diag *d)
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
		git_oid_cpy(root, git_commit_tree_id((const git_commit *)object));
	else
		r = not_a_commit(g, object, quoted, d);
	git_object_free(object);
	return r;
}

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

static int fetch(struct git *g, const char *url, const struct source_options *opt, struct diag *d)
{
	struct git_fetch f = { .url = url,
		               .shown = g->location,
		               .id = g->id,
		               .dir = opt->cache_dir,
		               .token = opt->git_token };

	if (!f.dir) {
		int r = make_scratch(g, d);

		if (r < 0)
			return r;
		f.dir = g->scratch;
		f.is_private = true;
	}
	return git_fetch(&f, &g->repo, d);
}

static int open_repository(struct git *g, const char *spec, const struct source_options *opt,
                           struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	if (url_is_http(spec))
		return fetch(g, spec, opt, d);
	text_quote(spec, strlen(spec), quoted, sizeof(quoted));
	int code = git_repository_open_ext(&g->repo, spec, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
	if (code == GIT_ENOTFOUND)
		return diag_set(d, -EINVAL, "%s is not a git repository, but a commit was given",
		                quoted);
	return code < 0 ? git_fail(d, code, "cannot open the repository %s", quoted) : 0;
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

int git_open(const char *spec, const char *commit, const struct source_options *opt, struct tree *t,
             struct git **out, struct diag *d)
{
	scoped(git) struct git *g = NULL;
	git_oid root;
	int r = git_new(&g, d);

	if (!g)
		return r;
	g->location = url_without_credentials(spec);
	if (!g->location)
		return out_of_memory(d);
	r = parse_commit(g, commit, d);
	if (r == 0)
		r = open_repository(g, spec, opt, d);
	if (r < 0)
		return r;
	int code = git_repository_odb(&g->odb, g->repo);
	if (code < 0)
		return git_fail(d, code, "cannot read the repository's objects");
	r = find_root(g, &root, d);
	if (r < 0)
		return r;
	struct git_tree_source from = { .repo = g->repo, .odb = g->odb };
	memcpy(from.root, root.id, sizeof(from.root));
	r = git_tree_read(&from, opt, t, &g->lfs, d);
	if (r < 0)
		return r;
	*out = take_ptr(g);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

void git_close(struct git *g)
{
	if (!g)
		return;
	git_odb_free(g->odb);
	git_repository_free(g->repo);
	git_libgit2_shutdown();
	if (g->scratch)
		nftw(g->scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
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
