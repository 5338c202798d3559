/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of events: when each inode gets its place, when data blocks are taken, when a region
 * gets its address. Where there is room is erofs_alloc.c's decision, what attributes and directory
 * entries take is erofs_xattr.c's and erofs_dir.c's. Every step follows docs/format.md "EROFS
 * layout"; the order of the steps is part of the format.
 */
#include "erofs_plan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "erofs_alloc.h"
#include "erofs_dir.h"
#include "erofs_disk.h"

#define BLOCK_LEN EROFS_PLAN_BLOCK_LEN

struct erofs_plan {
	const struct tree *tree;
	bool keep_owners;
	struct erofs_plan_super super;
	struct erofs_xattrs *xattrs;
	struct erofs_place *place; /* by tree_node.index */
};

/* What is needed only while the plan is made. */
struct planner {
	struct erofs_plan *p;
	struct erofs_alloc *alloc;
	uint32_t *region; /* by tree_node.index; until the end inode_off counts from its start */
	struct diag *d;
};

static struct erofs_place *place_of(const struct planner *pl, const struct tree_node *n)
{
	return &pl->p->place[n->index];
}

static const struct tree_node *inode_of(const struct tree_node *n)
{
	return n->link ? n->link : n;
}

static bool has_own_data(const struct tree_node *n)
{
	return S_ISREG(n->mode) || S_ISLNK(n->mode);
}

/* r, told. */
static int explain(const struct planner *pl, int r, const struct tree_node *n)
{
	char where[TREE_QUOTE_LEN];

	tree_quote_path(n, where, sizeof(where));
	if (r == -EFBIG)
		return diag_set(pl->d, r,
		                "%s: no room left: an EROFS image has at most 4294967295 blocks",
		                where);
	return r < 0 ? diag_set(pl->d, r, "%s: out of memory planning the image", where) : 0;
}

static int take_blocks(const struct planner *pl, const struct tree_node *n, uint64_t cnt,
                       uint64_t *off)
{
	uint64_t first = 0;
	int r = explain(pl, erofs_alloc_blocks(pl->alloc, cnt, &first), n);

	if (r == 0)
		*off = first * BLOCK_LEN;
	return r;
}

static uint32_t dir_nlink(const struct tree_node *dir, bool extended)
{
	uint32_t nlink = 2;

	for (uint32_t i = 0; i < dir->child_cnt; i++)
		nlink += S_ISDIR(dir->child[i]->mode) ? 1 : 0;
	return nlink > UINT16_MAX && !extended ? 1 : nlink;
}

/* How long the inode, its attributes and its content are. Content is all in data_len at first. */
static int measure(const struct planner *pl, const struct tree_node *n, struct erofs_place *place)
{
	struct erofs_plan_stamp stamp;
	struct erofs_xattr_body body;
	char where[TREE_QUOTE_LEN];

	erofs_plan_get_stamp(pl->p, n, &stamp);
	bool extended = n->size > UINT32_MAX || stamp.uid > UINT16_MAX || stamp.gid > UINT16_MAX ||
	                stamp.mtime_s != pl->p->super.epoch;
	place->inode_len =
	        extended ? sizeof(struct erofs_extended_disk) : sizeof(struct erofs_compact_disk);
	place->nlink = S_ISDIR(n->mode) ? dir_nlink(n, extended) : 1;
	place->data_len = has_own_data(n) ? n->size : S_ISDIR(n->mode) ? erofs_dir_size(n) : 0;
	if (S_ISDIR(n->mode) && place->data_len > UINT32_MAX)
		return diag_set(pl->d, -EFBIG,
		                "directory %s: %" PRIu32 " entries take %" PRIu64
		                " bytes, EROFS has room for 4294967295",
		                tree_quote_path(n, where, sizeof(where)), n->child_cnt,
		                place->data_len);

	int r = erofs_xattrs_body(pl->p->xattrs, n, &body, pl->d);
	if (r < 0)
		return r;
	place->xattr_len = body.len;
	if (body.len > 0 && body.name_filter != 0)
		pl->p->super.feature_compat |= EROFS_COMPAT_XATTR_FILTER;
	free(body.bytes);
	return 0;
}

/*
 * A slot for the inode, with the tail behind it where that fits. Else the tail goes to one more
 * block: at once, to follow the data directly, where data was taken; later by the caller if not.
 */
static int place_inode(struct planner *pl, const struct tree_node *n, struct erofs_place *place,
                       bool after_data)
{
	uint16_t tail_len = (uint16_t)(place->data_len % BLOCK_LEN);
	struct erofs_item item = { .len = place->inode_len + place->xattr_len,
		                   .tail_len = tail_len,
		                   .after_data = after_data };
	uint32_t *region = &pl->region[n->index];
	uint64_t tail_off;
	int r = erofs_alloc_item(pl->alloc, &item, region, &place->inode_off);

	if (r == -ENOSPC) {
		r = after_data ? take_blocks(pl, n, 1, &tail_off) : 0;
		if (r < 0)
			return r;
		item.tail_len = 0;
		r = erofs_alloc_item(pl->alloc, &item, region, &place->inode_off);
	}
	place->tail_len = (uint16_t)item.tail_len;
	place->data_len -= item.tail_len;
	place->serial = ++pl->p->super.inode_cnt;
	return explain(pl, r, n);
}

/* The first time an inode is met. Directories get their data later, in place_dir_data(). */
static int visit(struct planner *pl, const struct tree_node *n)
{
	struct erofs_place *place = place_of(pl, n);
	int r = measure(pl, n, place);
	bool after_data = has_own_data(n) && place->data_len >= BLOCK_LEN;

	if (r == 0 && after_data)
		r = take_blocks(pl, n, place->data_len / BLOCK_LEN, &place->data_off);
	if (r == 0)
		r = place_inode(pl, n, place, after_data);
	if (r == 0 && has_own_data(n) && !after_data && place->data_len > 0)
		r = take_blocks(pl, n, 1, &place->data_off);
	return r;
}

static int visit_children(struct planner *pl, const struct tree_node *dir)
{
	for (uint32_t i = 0; i < dir->child_cnt; i++) {
		const struct tree_node *n = dir->child[i];

		if (n->link) {
			/* plan order: the carrier was visited */
			assert(place_of(pl, n->link)->inode_len > 0);
			place_of(pl, n->link)->nlink++;
			continue;
		}
		int r = visit(pl, n);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Directory entries name their inodes, so those must have addresses when the directory is written:
 * behind its whole blocks, before a last block that only it uses.
 */
static int place_dir_data(struct planner *pl, const struct tree_node *dir)
{
	struct erofs_place *place = place_of(pl, dir);
	uint64_t whole = place->data_len / BLOCK_LEN;
	bool last_block = place->data_len % BLOCK_LEN != 0;
	uint64_t last_off;

	if (whole > 0) {
		erofs_alloc_place_all(pl->alloc);
		int r = take_blocks(pl, dir, whole, &place->data_off);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < dir->child_cnt; i++)
		erofs_alloc_place(pl->alloc, pl->region[inode_of(dir->child[i])->index]);
	if (!last_block)
		return 0;
	if (whole > 0)
		return take_blocks(pl, dir, 1, &last_off);
	erofs_alloc_place_all(pl->alloc);
	return take_blocks(pl, dir, 1, &place->data_off);
}

static int place_shared_xattrs(struct planner *pl)
{
	uint64_t len, off;

	erofs_xattrs_shared(pl->p->xattrs, &len);
	if (len == 0)
		return 0;
	int r = explain(pl, erofs_alloc_shared(pl->alloc, len, &off), pl->p->tree->root);
	if (r < 0)
		return r;
	erofs_xattrs_place(pl->p->xattrs, off);
	pl->p->super.xattr_blk = (uint32_t)(off / BLOCK_LEN);
	return 0;
}

/*
 * The superblock has 16 bits for the root's number. A root beyond that (behind large shared
 * attributes) moves the origin of all numbers.
 */
static void place_root(struct planner *pl)
{
	const uint64_t reach = (uint64_t)UINT16_MAX * EROFS_SLOT_LEN;
	uint32_t region = pl->region[pl->p->tree->root->index];
	uint64_t origin = 0;

	erofs_alloc_place(pl->alloc, region);
	uint64_t off = erofs_alloc_region_off(pl->alloc, region) +
	               place_of(pl, pl->p->tree->root)->inode_off;
	if (off > reach)
		origin = round_up(off - reach, BLOCK_LEN);
	pl->p->super.meta_blk = (uint32_t)(origin / BLOCK_LEN);
	pl->p->super.root_nid = (uint16_t)((off - origin) / EROFS_SLOT_LEN);
}

static int finish(struct planner *pl)
{
	const struct tree *t = pl->p->tree;

	erofs_alloc_place_all(pl->alloc);
	if (erofs_alloc_end(pl->alloc) > UINT32_MAX)
		return explain(pl, -EFBIG, t->root);
	pl->p->super.block_cnt = (uint32_t)erofs_alloc_end(pl->alloc);
	for (uint32_t i = 0; i < t->node_cnt; i++)
		if (pl->p->place[i].inode_len > 0)
			pl->p->place[i].inode_off +=
			        erofs_alloc_region_off(pl->alloc, pl->region[i]);
	return 0;
}

/* Plan order: see struct tree. */
static int place_all(struct planner *pl)
{
	const struct tree *t = pl->p->tree;
	int r = place_shared_xattrs(pl);

	if (r == 0)
		r = visit(pl, t->root);
	if (r < 0)
		return r;
	place_root(pl);
	for (uint32_t i = 0; i < t->node_cnt; i++) {
		if (!S_ISDIR(t->node[i]->mode))
			continue;
		r = visit_children(pl, t->node[i]);
		if (r == 0)
			r = place_dir_data(pl, t->node[i]);
		if (r < 0)
			return r;
	}
	return finish(pl);
}

static int make_plan(struct erofs_plan *p, struct diag *d)
{
	scoped(erofs_alloc) struct erofs_alloc *alloc = NULL;
	scoped_free uint32_t *region = malloc(p->tree->node_cnt * sizeof(*region));

	p->place = calloc(p->tree->node_cnt, sizeof(*p->place));
	if (!p->place || !region ||
	    erofs_alloc_new(EROFS_SUPER_OFF + sizeof(struct erofs_super_disk), &alloc) < 0)
		return diag_set(d, -ENOMEM, "out of memory planning %" PRIu32 " files",
		                p->tree->node_cnt);
	return place_all(&(struct planner){ p, alloc, region, d });
}

int erofs_plan_new(const struct tree *tree, const struct erofs_plan_options *opt,
                   struct erofs_plan **out, struct diag *d)
{
	const struct erofs_xattrs_options xattrs = { opt->keep_xattrs,
		                                     opt->compat->xattrs_in_list_order };
	scoped(erofs_plan) struct erofs_plan *p = calloc(1, sizeof(*p));

	assert(tree->node);
	if (!p)
		return diag_set(d, -ENOMEM, "out of memory planning the image");
	p->tree = tree;
	p->keep_owners = opt->keep_owners;
	p->super = (struct erofs_plan_super){
		.uuid = opt->uuid,
		.epoch = opt->epoch,
		.feature_compat = EROFS_COMPAT_SB_CHKSUM | EROFS_COMPAT_MTIME,
		.feature_incompat =
		        opt->compat->lz4_0padding_flag ? EROFS_INCOMPAT_LZ4_0PADDING : 0,
	};
	int r = erofs_xattrs_new(tree, &xattrs, &p->xattrs, d);
	if (r == 0)
		r = make_plan(p, d);
	if (r < 0)
		return r;
	*out = take_ptr(p);
	return 0;
}

void erofs_plan_free(struct erofs_plan *p)
{
	if (!p)
		return;
	erofs_xattrs_free(p->xattrs);
	free(p->place);
	free(p);
}

uint64_t erofs_plan_image_len(const struct erofs_plan *p)
{
	return (uint64_t)p->super.block_cnt * BLOCK_LEN;
}

const struct erofs_place *erofs_plan_place(const struct erofs_plan *p, const struct tree_node *n)
{
	return &p->place[n->index];
}

uint64_t erofs_plan_dir_size(const struct erofs_plan *p, const struct tree_node *dir)
{
	return p->place[dir->index].data_len + p->place[dir->index].tail_len;
}

const struct erofs_plan_super *erofs_plan_super(const struct erofs_plan *p)
{
	return &p->super;
}

const struct tree *erofs_plan_tree(const struct erofs_plan *p)
{
	return p->tree;
}

const struct erofs_xattrs *erofs_plan_xattrs(const struct erofs_plan *p)
{
	return p->xattrs;
}

void erofs_plan_get_stamp(const struct erofs_plan *p, const struct tree_node *n,
                          struct erofs_plan_stamp *out)
{
	bool later = (uint64_t)n->mtime_s >= p->super.epoch;

	*out = (struct erofs_plan_stamp){
		.uid = p->keep_owners ? n->uid : 0,
		.gid = p->keep_owners ? n->gid : 0,
		.mtime_s = later ? p->super.epoch : (uint64_t)n->mtime_s,
		.mtime_ns = later ? 0 : n->mtime_ns,
	};
}

uint64_t erofs_plan_nid(const struct erofs_plan *p, const struct tree_node *n)
{
	/* in front of the origin numbers wrap around, as 64-bit byte offsets do */
	uint64_t origin = (uint64_t)p->super.meta_blk * BLOCK_LEN;

	return (p->place[n->index].inode_off - origin) / EROFS_SLOT_LEN;
}
