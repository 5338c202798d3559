/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads advertisements and answers, writes requests. Decides what of the protocol is used: version
 * 2 where the server speaks it, else 0 or 1; no negotiation, since there is nothing to negotiate
 * with.
 */
#include "git_protocol.h"

#include <errno.h>
#include <stdio.h>

#include "text.h"

#define MAX_REFS     1000000
#define MAX_NAME_LEN 4096
#define MAX_NAMES    (64 * MIB) /* of all references */

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the server's references");
}

void git_server_release(struct git_server *s)
{
	for (size_t i = 0; i < s->ref_cnt; i++)
		free(s->ref[i].name);
	free(s->ref);
	s->ref = NULL;
	s->ref_cnt = s->ref_cap = 0;
}

/* ---- words ---- */

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Lines end with a line feed, or do not. */
static size_t line_len(const char *data, size_t len)
{
	return len > 0 && data[len - 1] == '\n' ? len - 1 : len;
}

static int unexpected(const char *data, size_t len, const char *where, struct diag *d)
{
	char quoted[200];

	return diag_set(d, -EUCLEAN, "%s: %s is not git's protocol", where,
	                text_quote(data, len, quoted, sizeof(quoted)));
}

static int server_says(const char *words, int err, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];

	return diag_set(d, err, "the server says %s",
	                text_quote(words, line_len(words, strlen(words)), quoted, sizeof(quoted)));
}

/* An id and what separates it from the rest; the rest, or NULL. */
static const char *take_id(const char *line, char id[GIT_ID_SIZE])
{
	uint8_t raw[GIT_ID_LEN / 2];
	char text[GIT_ID_SIZE] = "";

	memcpy(text, line, strnlen(line, GIT_ID_LEN));
	if (hex_decode(text, raw, sizeof(raw)) < 0)
		return NULL;
	hex_encode(raw, sizeof(raw), id);
	return line + GIT_ID_LEN;
}

/* ---- references ---- */

static int add_ref(struct git_server *s, const char *id, const char *name, size_t name_len,
                   struct diag *d)
{
	if (name_len == 0 || name_len > MAX_NAME_LEN || s->ref_cnt >= MAX_REFS ||
	    name_len > MAX_NAMES - s->name_len)
		return diag_set(d, -E2BIG,
		                "the server has more references, or longer names of them, than "
		                "are borne");
	if (s->ref_cnt == s->ref_cap) {
		size_t cap = MAX(2 * s->ref_cap, 64);
		struct git_ref *grown = realloc(s->ref, cap * sizeof(*grown));

		if (!grown)
			return out_of_memory(d);
		s->ref = grown;
		s->ref_cap = cap;
	}
	struct git_ref *ref = &s->ref[s->ref_cnt];
	*ref = (struct git_ref){ .name = strndup(name, name_len) };
	if (!ref->name)
		return out_of_memory(d);
	memcpy(ref->id, id, GIT_ID_SIZE);
	s->name_len += name_len;
	s->ref_cnt++;
	return 0;
}

/* "ID NAME", and in version 0 "ID NAME^{}" behind a tag for what it stands for. */
static int take_old_ref(struct git_server *s, const char *data, size_t len, struct diag *d)
{
	char id[GIT_ID_SIZE];
	const char *name = take_id(data, id);
	static const char peeled[] = "^{}";

	if (!name || *name++ != ' ')
		return unexpected(data, len, "reference", d);
	size_t name_len = (size_t)(data + len - name);
	if (name_len > 3 && memcmp(name + name_len - 3, peeled, 3) == 0) {
		struct git_ref *tag = s->ref_cnt > 0 ? &s->ref[s->ref_cnt - 1] : NULL;

		if (tag && strlen(tag->name) == name_len - 3 &&
		    memcmp(tag->name, name, name_len - 3) == 0)
			memcpy(tag->commit, id, GIT_ID_SIZE);
		return 0;
	}
	return add_ref(s, id, name, name_len, d);
}

/* "ID NAME[ symref-target:X][ peeled:ID]" */
static int take_new_ref(struct git_server *s, const char *data, size_t len, struct diag *d)
{
	char id[GIT_ID_SIZE];
	const char *name = take_id(data, id);

	if (!name || *name++ != ' ')
		return unexpected(data, len, "reference", d);
	size_t name_len = strcspn(name, " \n");
	int r = add_ref(s, id, name, name_len, d);
	const char *peeled = strstr(name + name_len, " peeled:");
	if (r == 0 && peeled &&
	    !take_id(peeled + strlen(" peeled:"), s->ref[s->ref_cnt - 1].commit))
		return unexpected(data, len, "reference", d);
	return r;
}

bool git_server_has_tip(const struct git_server *s, const char *id)
{
	for (size_t i = 0; i < s->ref_cnt; i++)
		if (strcmp(s->ref[i].id, id) == 0)
			return true;
	return false;
}

const char *git_server_find_ref(const struct git_server *s, const char *name)
{
	static const char *const below[] = { "", "refs/", "refs/tags/", "refs/heads/" };
	char full[MAX_NAME_LEN + 1];

	for (size_t rule = 0; rule < ARRAY_LEN(below); rule++) {
		snprintf(full, sizeof(full), "%s%s", below[rule], name);
		for (size_t i = 0; i < s->ref_cnt; i++)
			if (strcmp(s->ref[i].name, full) == 0)
				return *s->ref[i].commit ? s->ref[i].commit : s->ref[i].id;
	}
	return NULL;
}

/* ---- what a server can do ---- */

/* Is word among the words of list, which blanks separate? Its value behind '=' may follow. */
static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ' ') && (at[len] == '\0' || strchr(" =\n", at[len])))
			return true;
	return false;
}

/* Behind the NUL of the first reference. */
static void take_old_capabilities(struct git_server *s, const char *list)
{
	s->gives_any = has_word(list, "allow-reachable-sha1-in-want") ||
	               has_word(list, "allow-any-sha1-in-want");
	s->gives_depth = has_word(list, "shallow");
	s->has_bands = has_word(list, "side-band-64k");
	s->takes_agent = has_word(list, "agent");
	s->is_sha256 = strstr(list, "object-format=sha256") != NULL;
}

static void take_new_capability(struct git_server *s, const char *line)
{
	if (starts_with(line, "fetch")) {
		s->has_fetch = s->has_bands = s->gives_any = true;
		s->gives_depth = line[5] == '=' && has_word(line + 6, "shallow");
	} else if (starts_with(line, "agent")) {
		s->takes_agent = true;
	} else if (starts_with(line, "object-format")) {
		s->takes_format = true;
		s->is_sha256 = strstr(line, "=sha256") != NULL;
	}
}

static bool is_no_ref(const char *data)
{
	return strstr(data, " capabilities^{}") != NULL;
}

static int take_first_ref(struct git_server *s, const char *data, size_t len, struct diag *d)
{
	size_t ref_len = strlen(data);

	if (ref_len < len)
		take_old_capabilities(s, data + ref_len + 1);
	if (s->is_sha256 || is_no_ref(data))
		return 0;
	return take_old_ref(s, data, line_len(data, ref_len), d);
}

static int take_advertised(void *ctx, enum git_pkt_kind kind, const char *data, size_t len,
                           struct diag *d)
{
	struct git_server *s = ctx;

	if (kind != GIT_PKT_DATA)
		return 0;
	if (starts_with(data, "ERR "))
		return server_says(data + 4, -EIO, d);
	if (!s->has_begun && starts_with(data, "# service="))
		return 0;
	if (!s->has_begun && starts_with(data, "version ")) {
		if (data[8] != '1' && data[8] != '2')
			return unexpected(data, len, "version", d);
		s->version = (unsigned)(data[8] - '0');
		s->has_begun = s->version == 2;
		return 0;
	}
	if (s->version == 2) {
		take_new_capability(s, data);
		return 0;
	}
	if (!s->has_begun) {
		s->has_begun = true;
		return take_first_ref(s, data, len, d);
	}
	if (s->is_sha256 || starts_with(data, "shallow "))
		return 0;
	return take_old_ref(s, data, line_len(data, len), d);
}

int git_server_take(struct git_server *s, const void *buf, size_t len, struct diag *d)
{
	return git_pkt_feed(&s->reader, buf, len, take_advertised, s, d);
}

int git_server_check(const struct git_server *s, struct diag *d)
{
	if (!git_pkt_is_between(&s->reader))
		return diag_set(d, -EUCLEAN, "the list of references ends in the middle");
	if (!s->has_begun)
		return diag_set(d, -EUCLEAN, "there is no git repository");
	if (s->is_sha256)
		return diag_set(d, -EOPNOTSUPP, "repositories with SHA-256 ids are not supported");
	if (s->version == 2 ? !s->has_fetch : s->ref_cnt > 0 && !s->has_bands)
		return diag_set(d, -EOPNOTSUPP, "the server lacks %s, which a fetch needs",
		                s->version == 2 ? "\"fetch\"" : "\"side-band-64k\"");
	return 0;
}

static int take_listed(void *ctx, enum git_pkt_kind kind, const char *data, size_t len,
                       struct diag *d)
{
	if (kind != GIT_PKT_DATA)
		return 0;
	if (starts_with(data, "ERR "))
		return server_says(data + 4, -EIO, d);
	return starts_with(data, "unborn ") ? 0 : take_new_ref(ctx, data, len, d);
}

int git_server_take_refs(struct git_server *s, const void *buf, size_t len, struct diag *d)
{
	return git_pkt_feed(&s->reader, buf, len, take_listed, s, d);
}

/* ---- requests ---- */

static void begin_command(const struct git_server *s, const char *command, struct git_pkt_writer *w)
{
	git_pkt_write(w, "command=%s\n", command);
	if (s->takes_agent)
		git_pkt_write(w, "agent=mkdisk/%s\n", MODELDISK_VERSION);
	if (s->takes_format)
		git_pkt_write(w, "object-format=sha1\n");
	git_pkt_write_delimiter(w);
}

void git_request_refs(const struct git_server *s, const char *name, struct git_pkt_writer *w)
{
	begin_command(s, "ls-refs", w);
	git_pkt_write(w, "peel\n");
	if (name) {
		git_pkt_write(w, "ref-prefix %s\n", name);
		git_pkt_write(w, "ref-prefix refs/%s\n", name);
		git_pkt_write(w, "ref-prefix refs/tags/%s\n", name);
		git_pkt_write(w, "ref-prefix refs/heads/%s\n", name);
	}
	git_pkt_write_flush(w);
}

static void write_want(const struct git_server *s, const char *id, bool is_first,
                       struct git_pkt_writer *w)
{
	if (s->version == 2 || !is_first)
		git_pkt_write(w, "want %s\n", id);
	else
		git_pkt_write(w, "want %s side-band-64k ofs-delta no-progress%s\n", id,
		              s->takes_agent ? " agent=mkdisk/" MODELDISK_VERSION : "");
}

static void begin_fetch(const struct git_server *s, struct git_pkt_writer *w)
{
	if (s->version != 2)
		return;
	begin_command(s, "fetch", w);
	git_pkt_write(w, "no-progress\n");
	git_pkt_write(w, "ofs-delta\n");
}

static void end_fetch(const struct git_server *s, struct git_pkt_writer *w)
{
	if (s->version != 2)
		git_pkt_write_flush(w);
	git_pkt_write(w, "done\n");
	if (s->version == 2)
		git_pkt_write_flush(w);
}

void git_request_commit(const struct git_server *s, const char *id, struct git_pkt_writer *w)
{
	begin_fetch(s, w);
	write_want(s, id, true, w);
	if (s->gives_depth)
		git_pkt_write(w, "deepen 1\n");
	end_fetch(s, w);
}

/* Several references with one id are asked for several times, which costs nothing but the line. */
void git_request_all(const struct git_server *s, struct git_pkt_writer *w)
{
	begin_fetch(s, w);
	for (size_t i = 0; i < s->ref_cnt; i++)
		write_want(s, s->ref[i].id, i == 0, w);
	end_fetch(s, w);
}

/* ---- packs ---- */

/* "upload-pack: not our ref ID" and the like; each server has words of its own for it. */
static int take_refusal(struct git_pack *p, const char *words, struct diag *d)
{
	p->is_refused = true;
	return server_says(words, -ENOENT, d);
}

/* The byte before the data says for whom it is. */
static int take_band(struct git_pack *p, const char *data, size_t len, struct diag *d)
{
	switch (len > 0 ? data[0] : 0) {
	case 1:
		return p->take(p->ctx, data + 1, len - 1, d);
	case 2: /* for people who watch */
		return 0;
	case 3:
		return take_refusal(p, data + 1, d);
	default:
		return unexpected(data, len, "pack", d);
	}
}

/* Version 2 has a section of its own for the pack; before, what is not a word is a band. */
static int take_before(struct git_pack *p, const char *data, size_t len, struct diag *d)
{
	if (p->server->version == 2) {
		if (starts_with(data, "packfile"))
			p->state = GIT_PACK_INSIDE;
		return 0;
	}
	if (starts_with(data, "shallow ") || starts_with(data, "unshallow ") ||
	    starts_with(data, "ACK "))
		return 0;
	if (!starts_with(data, "NAK"))
		return unexpected(data, len, "answer", d);
	p->state = GIT_PACK_INSIDE;
	return 0;
}

static int take_answer(void *ctx, enum git_pkt_kind kind, const char *data, size_t len,
                       struct diag *d)
{
	struct git_pack *p = ctx;

	if (kind != GIT_PKT_DATA) {
		if (p->state == GIT_PACK_INSIDE)
			p->state = GIT_PACK_OVER;
		return 0;
	}
	if (p->state != GIT_PACK_INSIDE && starts_with(data, "ERR "))
		return take_refusal(p, data + 4, d);
	if (p->state == GIT_PACK_BEFORE)
		return take_before(p, data, len, d);
	if (p->state == GIT_PACK_INSIDE)
		return take_band(p, data, len, d);
	return unexpected(data, len, "behind the pack", d);
}

int git_pack_take(struct git_pack *p, const void *buf, size_t len, struct diag *d)
{
	return git_pkt_feed(&p->reader, buf, len, take_answer, p, d);
}

int git_pack_check(const struct git_pack *p, struct diag *d)
{
	if (p->state == GIT_PACK_OVER && git_pkt_is_between(&p->reader))
		return 0;
	return diag_set(d, -EUCLEAN, "the answer %s",
	                p->state == GIT_PACK_BEFORE ? "holds no pack" : "ends in the middle");
}
