/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of all objects of a fetch: asked for in batches a little ahead, renewed when they
 * expire or are refused. For lfs.c only. One thread, the network's. Times are milliseconds of a
 * clock that only runs forward.
 */
#ifndef MODELDISK_LFS_LINKS_H
#define MODELDISK_LFS_LINKS_H

#include "lfs_batch.h"
#include "http.h"

struct lfs_links_options {
	const struct lfs_options *fetch;
	const struct lfs_object *object;
	size_t cnt;
	const struct lfs_sink *sink; /* names of objects */
	const char *repository;      /* URL of its page, for sentences */
};

struct lfs_links;
/* Everything in opt is borrowed, and so is net. */
int lfs_links_new(const struct lfs_links_options *opt, struct http_net *net, struct lfs_links **out,
                  struct diag *d) MUST_CHECK;
void lfs_links_free(struct lfs_links *links);
DEFINE_SCOPED(lfs_links, struct lfs_links *, lfs_links_free)

/* Takes the first object in order that was not taken and has a link. */
bool lfs_links_take(struct lfs_links *links, uint64_t now, size_t *i);
/* The link of an object that was taken; NULL: another one is on its way. */
const struct lfs_link *lfs_links_get(struct lfs_links *links, size_t i, uint64_t now);
/* It is not good (any more). */
void lfs_links_drop(struct lfs_links *links, size_t i);
/* No link is needed any more. */
void lfs_links_done(struct lfs_links *links, size_t i);

/* Asks for links if it is time to. */
int lfs_links_run(struct lfs_links *links, uint64_t now, struct diag *d) MUST_CHECK;
/* Until when nothing is to be run; UINT64_MAX: until something ends. */
uint64_t lfs_links_next_run(const struct lfs_links *links);
/* http_net_ended() gave links: with what end. d is what it was given, and may hold the reason. */
int lfs_links_ended(struct lfs_links *links, const struct http_end *end, uint64_t now,
                    struct diag *d) MUST_CHECK;

#endif
