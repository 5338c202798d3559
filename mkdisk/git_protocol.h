/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git's smart HTTP protocol, as much of it as a fetch without a past needs (gitprotocol-http(5),
 * gitprotocol-v2(5), gitprotocol-pack(5)): what a server can do and has, requests, and the pack in
 * the answer. Everything from the server is hostile: bounded, and never shown raw. For git_fetch.c
 * only.
 *
 * Pure: bytes in, bytes out. One thread for each struct.
 */
#ifndef MODELDISK_GIT_PROTOCOL_H
#define MODELDISK_GIT_PROTOCOL_H

#include "git_pkt.h"

#define GIT_ID_LEN  40 /* SHA-1, in hexadecimal */
#define GIT_ID_SIZE (GIT_ID_LEN + 1)

struct git_ref {
	char *name;
	char id[GIT_ID_SIZE];
	char commit[GIT_ID_SIZE]; /* what a tag stands for; "" if it stands for itself */
};

/* A server; git_server_init(), then its advertisement and, in version 2, its references. */
struct git_server {
	struct git_pkt_reader reader;
	unsigned version; /* 0 to 2 */
	bool has_begun;   /* something of the advertisement came */
	bool gives_any;   /* commits may be asked for by any id, not only those of references */
	bool gives_depth; /* without their history */
	bool has_bands;   /* the pack comes among messages; without it nothing is fetched */
	bool has_fetch;   /* version 2 */
	bool takes_agent, takes_format;
	bool is_sha256;
	struct git_ref *ref;
	size_t ref_cnt, ref_cap;
	size_t name_len; /* of all references, which is bounded */
};
void git_server_release(struct git_server *s);
static inline void scope_end_git_server(struct git_server *s)
{
	git_server_release(s);
}

/* The next bytes of GET URL/info/refs?service=git-upload-pack. -EUCLEAN: no git server. -E2BIG:
 * more references than are borne. -EIO: the server's own words. */
int git_server_take(struct git_server *s, const void *buf, size_t len, struct diag *d) MUST_CHECK;
/* After all of it: is it whole, and can anything be fetched? -EUCLEAN, -EOPNOTSUPP. */
int git_server_check(const struct git_server *s, struct diag *d) MUST_CHECK;
/* The next bytes of the answer to git_request_refs(). */
int git_server_take_refs(struct git_server *s, const void *buf, size_t len, struct diag *d)
        MUST_CHECK;

/* Has a reference this id? */
bool git_server_has_tip(const struct git_server *s, const char *id);
/* The commit that name stands for, as git looks names up: itself, then as a tag, then as a branch;
 * NULL: none. */
const char *git_server_find_ref(const struct git_server *s, const char *name);

/* Requests for POST URL/git-upload-pack. Version 2 only: all references, or those that name may
 * stand for. */
void git_request_refs(const struct git_server *s, const char *name, struct git_pkt_writer *w);
/* One commit by its id, if possible without its history; */
void git_request_commit(const struct git_server *s, const char *id, struct git_pkt_writer *w);
/* or all that references lead to. */
void git_request_all(const struct git_server *s, struct git_pkt_writer *w);

/* The answer to one of the last two. Starts all zero, but for the three. */
struct git_pack {
	const struct git_server *server;
	/* The next bytes of the pack. */
	int (*take)(void *ctx, const void *buf, size_t len, struct diag *d);
	void *ctx;
	struct git_pkt_reader reader;
	enum git_pack_state { GIT_PACK_BEFORE, GIT_PACK_INSIDE, GIT_PACK_OVER } state;
	bool is_refused; /* the server's own words were the error, -ENOENT */
};
int git_pack_take(struct git_pack *p, const void *buf, size_t len, struct diag *d) MUST_CHECK;
/* After all of it: -EUCLEAN unless there was a pack and it ended. */
int git_pack_check(const struct git_pack *p, struct diag *d) MUST_CHECK;

#endif
