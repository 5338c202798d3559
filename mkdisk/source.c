/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what the user meant by SOURCE and COMMIT and hands the work to directory.c or git.c;
 * afterwards gives out the bytes of files whichever of the two has them.
 */
#include "source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "credentials.h"
#include "directory.h"
#include "git.h"
#include "lfs_config.h"
#include "lfs_endpoint.h"
#include "lfs_store.h"
#include "text.h"
#include "url.h"

struct source {
	struct tree *tree;
	struct directory *dir; /* one of the two */
	struct git *git;
	char *location;
	struct lfs_store *store;         /* LFS objects that are here; NULL: none */
	char *lfs_url;                   /* who has the others; or NULL */
	char *commit;                    /* of a snapshot: its name; or NULL */
	struct credentials *credentials; /* of a source with a server */
};

struct source_file {
	const struct tree_node *n; /* that carries the inode */
	int fd;                    /* of a directory's file, or an LFS object's */
	bool may_have_holes;
	void *bytes; /* of a blob */
};

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory while opening the source");
}

enum spec_kind { SPEC_PATH, SPEC_FILE_URL, SPEC_HTTP_URL, SPEC_UNKNOWN_URL };

static enum spec_kind classify(const char *spec)
{
	const char *end = strstr(spec, "://");

	if (!end || end == spec)
		return SPEC_PATH;
	for (const char *s = spec; s < end; s++)
		if (!isalnum((unsigned char)*s) && !strchr("+-.", *s))
			return SPEC_PATH;
	if (strncasecmp(spec, "file://", 7) == 0)
		return SPEC_FILE_URL;
	if (url_is_http(spec))
		return SPEC_HTTP_URL;
	return SPEC_UNKNOWN_URL;
}

/* The path in file:///path or file://localhost/path. */
static int path_of_url(const char *url, char **out, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	const char *path = url + strlen("file://");

	if (strncasecmp(path, "localhost/", 10) == 0)
		path += strlen("localhost");
	scoped_free char *copy = strdup(path);
	if (!copy)
		return out_of_memory(d);
	if (*path != '/' || !url_percent_decode(copy))
		return diag_set(d, -EINVAL,
		                "source %s: a file URL is file:// and an absolute path, with %%XX "
		                "for odd characters",
		                text_quote(url, strlen(url), quoted, sizeof(quoted)));
	*out = take_ptr(copy);
	return 0;
}

static int unknown_url(const char *spec, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, -EINVAL, "source %s: neither a directory nor a file, http or https URL",
	                text_quote(spec, strlen(spec), quoted, sizeof(quoted)));
}

static int commit_is_missing(const char *spec, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, -EINVAL,
	                "source %s is a git repository: give the full id of the commit to take",
	                text_quote(spec, strlen(spec), quoted, sizeof(quoted)));
}

/* "user@host:path", which git takes for ssh. */
static bool looks_like_scp(const char *spec)
{
	const char *colon = strchr(spec, ':');

	return colon && !memchr(spec, '/', (size_t)(colon - spec)) && access(spec, F_OK) < 0;
}

/* Links into a cache lead nowhere on a disk. */
static int refuse_links(const struct source *s, struct diag *d)
{
	const struct tree_node *root = s->tree->root;

	for (uint32_t i = 0; i < root->child_cnt; i++)
		if (S_ISLNK(root->child[i]->mode))
			return diag_set(
			        d, -EINVAL,
			        "the source is a snapshot of a Hugging Face cache, of which the "
			        "files are links: --dereference takes what they lead to");
	return 0;
}

static int open_directory(struct source *s, const char *path, const struct source_options *opt,
                          struct diag *d)
{
	scoped(hub_cache) struct hub_cache cache = HUB_CACHE_INIT;
	struct directory_options dir = { .path = path, .source = opt };

	if (git_is_bare(path))
		return commit_is_missing(path, d);
	int r = hub_cache_open(path, &cache);
	if (r < 0)
		return out_of_memory(d);
	bool is_snapshot = r > 0;
	if (!is_snapshot && opt->follow_blobs)
		return diag_set(
		        d, -EINVAL,
		        "--dereference: the source is not a snapshot of a Hugging Face cache "
		        "(.../snapshots/COMMIT, with .../blobs beside it)");
	if (is_snapshot && opt->follow_blobs) {
		if (lfs_store_new(&s->store) < 0)
			return out_of_memory(d);
		r = lfs_store_set_files(s->store, cache.blobs, d);
		if (r < 0)
			return r;
		dir.cache = &cache;
		dir.store = s->store;
		s->commit = take_ptr(cache.commit);
	}
	r = directory_open(&dir, s->tree, &s->dir, d);
	return r == 0 && is_snapshot && !dir.cache ? refuse_links(s, d) : r;
}

/* ---- Git LFS ---- */

static int join(const char *dir, const char *name, char **out, struct diag *d)
{
	if (asprintf(out, "%s%s", dir, name) >= 0)
		return 0;
	*out = NULL;
	return out_of_memory(d);
}

/* Where git-lfs looks, too: beside the repository's objects. And its working tree. */
static int open_store(struct source *s, struct diag *d)
{
	const char *work_dir = git_work_dir(s->git);
	scoped_free char *objects = NULL;

	if (lfs_store_new(&s->store) < 0)
		return out_of_memory(d);
	int r = join(git_common_dir(s->git), "lfs/objects", &objects, d);
	if (r == 0)
		r = lfs_store_add_objects(s->store, objects, d);
	if (r < 0 || !work_dir)
		return r;
	scoped_fd int fd = open(work_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? 0 : lfs_store_set_files(s->store, fd, d);
}

/* Is n's object here? 1, 0, or an error. */
static int find_object(struct source *s, const struct tree_node *n, struct diag *d)
{
	size_t len = tree_path(n, NULL, 0);
	scoped_free char *path = malloc(len + 1);

	if (!path)
		return out_of_memory(d);
	tree_path(n, path, len + 1);
	return lfs_store_find(s->store, n->oid, n->size, path, d);
}

static int refuse_missing(const struct tree_node *first, size_t cnt, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	tree_quote_path(first, quoted, sizeof(quoted));
	return diag_set(
	        d, -ENOENT,
	        "the content of %s (one of %zu files) is in Git LFS and not on this machine, "
	        "neither beside the repository's objects nor in its working tree: get it with "
	        "git lfs fetch, or name a server with --lfs-url",
	        quoted, cnt);
}

/* How many objects of the tree are not here, and the first file of them. */
static int find_objects(struct source *s, const struct tree_node **first, size_t *missing_cnt,
                        struct diag *d)
{
	size_t cnt = 0;
	struct tree_node *const *node = git_lfs_nodes(s->git, &cnt);
	int r = cnt > 0 ? open_store(s, d) : 0;

	*missing_cnt = 0;
	for (size_t i = 0; r >= 0 && i < cnt; i++) {
		r = find_object(s, node[i], d);
		if (r == 0 && (*missing_cnt)++ == 0)
			*first = node[i];
	}
	return MIN(r, 0);
}

/* What the repository would leave out of every clone is no business of those who make a disk. */
static int check_config(const struct lfs_config *config, const struct source_options *opt,
                        struct diag *d)
{
	const char *list = config->fetch_include ? config->fetch_include : config->fetch_exclude;
	const char *key = config->fetch_include ? "lfs.fetchinclude" : "lfs.fetchexclude";
	char quoted[TEXT_QUOTE_LEN], sentence[TEXT_QUOTE_LEN + 100];

	if (!list || (opt->keep_pointers && opt->has_patterns && !config->fetch_include))
		return 0;
	text_quote(list, strlen(list), quoted, sizeof(quoted));
	if (opt->keep_pointers)
		return diag_set(d, -EOPNOTSUPP,
		                LFS_CONFIG_NAME
		                ": %s = %s, with which the reference leaves pointers, "
		                "is not supported with --exclude-mode=privatemode",
		                key, quoted);
	snprintf(sentence, sizeof(sentence), LFS_CONFIG_NAME ": %s = %s is not heeded", key,
	         quoted);
	if (opt->note)
		opt->note(opt->note_ctx, sentence);
	return 0;
}

static int read_config(struct source *s, struct lfs_config *out, struct diag *d)
{
	scoped_free char *text = NULL;
	size_t len = 0;
	int r = git_top_file(s->git, LFS_CONFIG_NAME, LFS_CONFIG_MAX_LEN, &text, &len, d);

	return r > 0 ? lfs_config_parse(text, len, out, d) : r;
}

/* Who has what is not here. */
static int find_lfs(struct source *s, const char *spec, const struct source_options *opt,
                    struct diag *d)
{
	scoped(lfs_config) struct lfs_config config = { 0 };
	const struct tree_node *first = NULL;
	size_t missing_cnt = 0;
	int r = find_objects(s, &first, &missing_cnt, d);

	if (r == 0)
		r = read_config(s, &config, d);
	if (r == 0)
		r = check_config(&config, opt, d);
	if (r < 0 || missing_cnt == 0)
		return r;
	struct lfs_endpoint_options where = { .source_url = url_is_http(spec) ? spec : NULL,
		                              .lfs_url = opt->lfs_url,
		                              .configured = config.url };
	r = lfs_endpoint(&where, &s->lfs_url, d);
	if (r == 0 && !s->lfs_url)
		return refuse_missing(first, missing_cnt, d);
	return r;
}

static int open_credentials(struct source *s, const char *spec, const struct source_options *opt,
                            struct diag *d)
{
	struct credentials_options servers = { .source_url = url_is_http(spec) ? spec : NULL,
		                               .lfs_url = opt->lfs_url,
		                               .token = opt->git_token };

	if (!servers.source_url && !servers.lfs_url)
		return 0;
	return credentials_new(&servers, &s->credentials, d);
}

static int open_commit(struct source *s, const char *spec, const char *commit,
                       const struct source_options *opt, struct diag *d)
{
	struct git_options git = { .spec = spec, .commit = commit, .source = opt };

	if (opt->keep_owners)
		return diag_set(d, -EINVAL,
		                "--owner=keep: a commit does not say whom its files belong to");
	int r = open_credentials(s, spec, opt, d);
	git.credentials = s->credentials;
	if (r == 0)
		r = git_open(&git, s->tree, &s->git, d);
	return r < 0 ? r : find_lfs(s, spec, opt, d);
}

/* What nobody who loads a model expects in the place of its weights. */
static int check_pointers(const struct source *s, const struct source_options *opt, struct diag *d)
{
	const struct walk_pointers *p = s->git ? git_pointers(s->git) : directory_pointers(s->dir);
	char quoted[TREE_QUOTE_LEN], sentence[TREE_QUOTE_LEN + 200];

	if (p->cnt == 0)
		return 0;
	tree_quote_path(p->first, quoted, sizeof(quoted));
	if (!opt->keep_pointers)
		return diag_set(d, -EUCLEAN,
		                "%s (one of %zu files) is a Git LFS pointer, not the content that "
		                "belongs there: fetch that with git lfs pull, leave it out with "
		                "--exclude, or keep the pointer as the reference does with "
		                "--exclude-mode=privatemode",
		                quoted, p->cnt);
	snprintf(sentence, sizeof(sentence),
	         "%s (one of %zu files) enters the disk as a Git LFS pointer, without its content",
	         quoted, p->cnt);
	if (opt->warn)
		opt->warn(opt->note_ctx, sentence);
	return 0;
}

int source_open(const char *spec, const char *commit, const struct source_options *opt,
                struct source **out, struct diag *d)
{
	enum spec_kind kind = classify(spec);
	scoped(source) struct source *s = calloc(1, sizeof(*s));
	scoped_free char *path = NULL;
	int r = 0;

	if (!s)
		return out_of_memory(d);
	if (kind == SPEC_UNKNOWN_URL || (kind == SPEC_PATH && looks_like_scp(spec)))
		return unknown_url(spec, d);
	if (kind == SPEC_HTTP_URL && !commit)
		return commit_is_missing(spec, d);
	if (kind == SPEC_FILE_URL)
		r = path_of_url(spec, &path, d);
	if (r < 0)
		return r;
	s->location = strdup(spec);
	if (!s->location || tree_new(&s->tree) < 0)
		return out_of_memory(d);
	if (path)
		spec = path;
	r = commit ? open_commit(s, spec, commit, opt, d) : open_directory(s, spec, opt, d);
	if (r == 0)
		r = check_pointers(s, opt, d);
	if (r < 0)
		return r;
	*out = take_ptr(s);
	return 0;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	directory_close(s->dir);
	git_close(s->git);
	lfs_store_free(s->store);
	credentials_free(s->credentials);
	tree_free(s->tree);
	free(s->lfs_url);
	free(s->commit);
	free(s->location);
	free(s);
}

struct tree *source_tree(struct source *s)
{
	return s->tree;
}

const char *source_kind(const struct source *s)
{
	if (s->git)
		return "git";
	return s->store ? "huggingface" : "directory";
}

const char *source_location(const struct source *s)
{
	return s->git ? git_location(s->git) : s->location;
}

const char *source_commit(const struct source *s)
{
	return s->git ? git_full_id(s->git) : s->commit;
}

bool source_has_object(const struct source *s, const struct tree_node *n)
{
	return s->store && lfs_store_has(s->store, n->oid);
}

const char *source_lfs_url(const struct source *s)
{
	return s->lfs_url;
}

struct credentials *source_credentials(struct source *s)
{
	return s->credentials;
}

static void file_free(struct source_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->bytes);
	free(f);
}
DEFINE_SCOPED(file, struct source_file *, file_free)

static int open_path(struct source *s, struct source_file *f, struct diag *d)
{
	struct stat st;
	int r = directory_file_open(s->dir, f->n, &f->fd, d);

	if (r < 0)
		return r;
	/* Only where holes show in the block count is the file system asked for them: some have
	 * reported holes that were none. */
	f->may_have_holes =
	        fstat(f->fd, &st) == 0 && (uint64_t)st.st_blocks < div_up(f->n->size, 512);
	(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
}

static int open_object(struct source *s, struct source_file *f, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	tree_quote_path(f->n, quoted, sizeof(quoted));
	if (!source_has_object(s, f->n))
		return diag_set(d, -ENOENT, "%s: its LFS object is not on this machine", quoted);
	int r = lfs_store_open(s->store, f->n->oid, f->n->size, quoted, &f->fd, d);
	if (r == 0)
		(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return r;
}

int source_file_open(struct source *s, const struct tree_node *n, struct source_file **out,
                     struct diag *d)
{
	scoped(file) struct source_file *f = malloc(sizeof(*f));

	if (!f)
		return out_of_memory(d);
	while (n->link)
		n = n->link;
	*f = (struct source_file){ .n = n, .fd = -1 };
	int r = 0;
	if (n->content == TREE_CONTENT_PATH)
		r = open_path(s, f, d);
	else if (n->content == TREE_CONTENT_BLOB)
		r = git_blob_read(s->git, n, &f->bytes, d);
	else if (n->content == TREE_CONTENT_LFS)
		r = open_object(s, f, d);
	if (r < 0)
		return r;
	*out = take_ptr(f);
	return 0;
}

static int read_path(struct source_file *f, uint64_t off, uint8_t *buf, size_t len, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	while (len > 0) {
		ssize_t got = pread(f->fd, buf, len, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return diag_set_errno(d, -errno, "source file %s, offset %" PRIu64,
			                      tree_quote_path(f->n, quoted, sizeof(quoted)), off);
		if (got == 0)
			return diag_set(d, -ESTALE,
			                "source file %s ends at %" PRIu64 ", not at %" PRIu64
			                " as when the source was listed",
			                tree_quote_path(f->n, quoted, sizeof(quoted)), off,
			                f->n->size);
		buf += got;
		off += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

int source_file_read(struct source_file *f, uint64_t off, void *buf, size_t len, struct diag *d)
{
	char quoted[TREE_QUOTE_LEN];

	if (!range_is_inside(off, len, f->n->size))
		return diag_set(d, -EINVAL,
		                "source file %s: %zu bytes at %" PRIu64 " wanted, it has %" PRIu64,
		                tree_quote_path(f->n, quoted, sizeof(quoted)), len, off,
		                f->n->size);
	if (!f->bytes)
		return read_path(f, off, buf, len, d);
	memcpy(buf, (const uint8_t *)f->bytes + off, len);
	return 0;
}

uint64_t source_file_next_data(struct source_file *f, uint64_t off)
{
	uint64_t size = f->n->size;

	if (off >= size)
		return size;
	if (!f->may_have_holes)
		return off;
	off_t data = lseek(f->fd, (off_t)off, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? size : off;
	return MIN((uint64_t)data, size);
}

int source_file_fd(const struct source_file *f)
{
	return f->may_have_holes ? -1 : f->fd;
}

int source_file_close(struct source_file *f, struct diag *d)
{
	int r = 0;

	if (f && f->fd >= 0 && f->n->content == TREE_CONTENT_PATH)
		r = directory_file_check(f->n, f->fd, d);
	file_free(f);
	return r;
}
