/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees of a repository: the input is a list of objects, each
 *
 *   0     type (one byte; odd: a tree, even: a blob)
 *   1     length (two bytes, little-endian)
 *   then  its bytes
 *
 * and the last one is the commit's tree. What stands in a tree for an id becomes that of an object
 * before it, since nobody guesses one; so trees meet again in trees, and a small repository may
 * stand for a large one. The tree that comes out is planned as a disk's.
 */
#include "erofs_plan.h"
#include "fuzz.h"
#include "git_tree.h"

#include <errno.h>
#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <git2/sys/repository.h>
#include <stdio.h>
#include <strings.h>

#define MAX_OBJECTS 64
#define MAX_ENTRIES UINT64_C(4000) /* of the whole tree; TREE_MAX_NODES has a test of its own */

struct object {
	git_oid id;
	uint64_t entries; /* with all that it stands for */
};

struct repo {
	git_odb *odb;
	git_repository *git;
	struct object object[MAX_OBJECTS];
	size_t cnt;
};

static void open_repo(struct repo *r)
{
	git_odb_backend *backend = NULL;

	git_libgit2_init();
	git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
	FUZZ_MUST(git_odb_new(&r->odb) == 0);
	FUZZ_MUST(git_mempack_new(&backend) == 0);
	FUZZ_MUST(git_odb_add_backend(r->odb, backend, 1) == 0);
	FUZZ_MUST(git_repository_wrap_odb(&r->git, r->odb) == 0);
}

static void close_repo(struct repo *r)
{
	git_repository_free(r->git);
	git_odb_free(r->odb);
}

/* Puts ids of earlier objects behind the names, and counts what they stand for. */
static uint64_t mend_tree(const struct repo *r, uint8_t *bytes, size_t len)
{
	uint64_t entries = 1;

	for (size_t at = 0; at < len;) {
		const uint8_t *nul = memchr(bytes + at, '\0', len - at);
		const struct object *o;

		if (!nul || len - (size_t)(nul + 1 - bytes) < GIT_OID_RAWSZ)
			break;
		at = (size_t)(nul + 1 - bytes);
		if (r->cnt > 0) {
			o = &r->object[bytes[at] % r->cnt];
			memcpy(bytes + at, o->id.id, GIT_OID_RAWSZ);
			entries = MIN(entries + o->entries, MAX_ENTRIES + 1);
		}
		at += GIT_OID_RAWSZ;
	}
	return entries;
}

static void write_objects(struct repo *r, const uint8_t *data, size_t len)
{
	while (len >= 3 && r->cnt < MAX_OBJECTS) {
		size_t n = MIN((size_t)(data[1] | data[2] << 8), len - 3);
		scoped_free uint8_t *bytes = malloc(n ? n : 1);
		bool is_tree = data[0] % 2;
		struct object *o = &r->object[r->cnt];

		FUZZ_MUST(bytes);
		if (n)
			memcpy(bytes, data + 3, n);
		o->entries = is_tree ? mend_tree(r, bytes, n) : 1;
		FUZZ_MUST(git_odb_write(&o->id, r->odb, bytes, n,
		                        is_tree ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB) == 0);
		r->cnt++;
		data += 3 + n;
		len -= 3 + n;
	}
}

static void check_node(const struct tree_node *n)
{
	FUZZ_MUST(n->name_len >= 1 && n->name_len <= 255 && strlen(n->name) == n->name_len);
	FUZZ_MUST(!strchr(n->name, '/') && strcmp(n->name, ".") != 0 && strcmp(n->name, "..") != 0);
	FUZZ_MUST(strcasecmp(n->name, ".git") != 0 && strcasecmp(n->name, "git~1") != 0);
	FUZZ_MUST(S_ISREG(n->mode) || S_ISDIR(n->mode) || S_ISLNK(n->mode));
	FUZZ_MUST(!S_ISLNK(n->mode) || (n->target && strlen(n->target) == n->size));
	FUZZ_MUST((n->content == TREE_CONTENT_NONE) == (!S_ISREG(n->mode) || n->size == 0));
	FUZZ_MUST(n->size <= INT64_MAX);
}

static void plan(struct tree *t)
{
	scoped(erofs_plan) struct erofs_plan *p = NULL;
	struct erofs_plan_options opt = { .keep_xattrs = true };
	struct diag d = DIAG_INIT;
	struct compat compat;
	int r = tree_finish(t, &d);

	FUZZ_MUST(r == 0 || (r == -EUCLEAN && d.err == r && d.text[0]));
	if (r)
		return;
	for (uint32_t i = 1; i < t->node_cnt; i++)
		check_node(t->node[i]);
	FUZZ_MUST(compat_parse(NULL, COMPAT_REPART, &compat, NULL) == 0);
	opt.compat = &compat;
	r = erofs_plan_new(t, &opt, &p, &d);
	FUZZ_MUST(r == 0 || ((r == -EFBIG || r == -EOPNOTSUPP) && d.err == r && d.text[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct repo r;
	struct git_tree_source from;
	struct source_options opt = { 0 };
	scoped(tree) struct tree *t = NULL;
	struct git_tree_lfs lfs = { 0 };
	struct diag d = DIAG_INIT;

	r = (struct repo){ 0 };
	open_repo(&r);
	write_objects(&r, data, len);
	if (r.cnt > 0 && r.object[r.cnt - 1].entries <= MAX_ENTRIES) {
		from = (struct git_tree_source){ .repo = r.git, .odb = r.odb };
		memcpy(from.root, r.object[r.cnt - 1].id.id, sizeof(from.root));
		FUZZ_MUST(tree_new(&t) == 0);
		int err = git_tree_read(&from, &opt, t, &lfs, &d);

		FUZZ_MUST(err <= 0 && err != -ENOMEM);
		FUZZ_MUST(!err || (d.err == err && d.text[0]));
		if (err == 0)
			plan(t);
		free(lfs.node);
	}
	close_repo(&r);
	return 0;
}
