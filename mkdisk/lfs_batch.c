/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch requests and answers. Decides which answers are refused; everything in them is hostile:
 * numbers are bounded, strings checked before they become part of a request.
 */
#include "lfs_batch.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "text.h"
#include "url.h"

#define MAX_HREF_LEN   (64 * KIB)
#define MAX_HEADER_CNT 64
#define MAX_HEADER_LEN (64 * KIB)

static inline void release_json(json_t **j)
{
	json_decref(*j);
}
#define scoped_json __attribute__((cleanup(release_json)))

void lfs_link_release(struct lfs_link *link)
{
	for (size_t i = 0; i < link->header_cnt; i++)
		free(link->header[i]);
	free(link->header);
	free(link->href);
	*link = (struct lfs_link){ 0 };
}

/* ---- the request ---- */

int lfs_batch_encode(const struct lfs_object *const *object, size_t cnt, char **text)
{
	scoped_json json_t *list = json_array(), *request = NULL;

	for (size_t i = 0; i < cnt; i++) {
		char hex[2 * HASH_SHA256_LEN + 1];

		hex_encode(object[i]->oid, sizeof(object[i]->oid), hex);
		if (json_array_append_new(list, json_pack("{s:s, s:I}", "oid", hex, "size",
		                                          (json_int_t)object[i]->size)) < 0)
			return -ENOMEM;
	}
	request = json_pack("{s:s, s:[s], s:O, s:s}", "operation", "download", "transfers", "basic",
	                    "objects", list, "hash_algo", "sha256");
	*text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	return *text ? 0 : -ENOMEM;
}

/* ---- links ---- */

/* What HTTP allows in names and values of fields (RFC 9110 5.1, 5.5). */
static bool is_field_name(const char *s)
{
	return *s && s[strspn(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static bool is_field_value(const char *s)
{
	for (; *s; s++) {
		if ((uint8_t)*s < 0x20 && *s != '\t')
			return false;
		if (*s == 0x7f)
			return false;
	}
	return true;
}

/* Fields that say where a message begins and ends, or which part is wanted, are ours to send. */
static bool is_ours(const char *name)
{
	static const char *const ours[] = {
		"Accept-Encoding",
		"Connection",
		"Content-Length",
		"Expect",
		"Host",
		"Keep-Alive",
		"Range",
		"TE",
		"Trailer",
		"Transfer-Encoding",
		"Upgrade",
	};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	}
	return false;
}

static int add_header(struct lfs_link *link, const char *name, const json_t *value, struct diag *d)
{
	const char *text = json_string_value(value);
	char *line = NULL;

	if (!text || json_string_length(value) > MAX_HEADER_LEN || strlen(name) > MAX_HEADER_LEN ||
	    strlen(text) != json_string_length(value) || !is_field_name(name) ||
	    !is_field_value(text))
		return diag_set(d, -EUCLEAN, "a header that no HTTP request can have");
	if (is_ours(name))
		return 0;
	int len = *text ? asprintf(&line, "%s: %s", name, text) : asprintf(&line, "%s;", name);
	if (len < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	link->header[link->header_cnt++] = line;
	return 0;
}

static int set_headers(struct lfs_link *link, json_t *headers, struct diag *d)
{
	const char *name;
	json_t *value;
	int r = 0;

	if (!headers || json_is_null(headers))
		return 0;
	if (!json_is_object(headers) || json_object_size(headers) > MAX_HEADER_CNT)
		return diag_set(d, -EUCLEAN, "\"header\" is not an object of at most %d strings",
		                MAX_HEADER_CNT);
	link->header = calloc(json_object_size(headers) + 1, sizeof(*link->header));
	if (!link->header)
		return diag_set(d, -ENOMEM, "out of memory");
	json_object_foreach (headers, name, value) {
		r = add_header(link, name, value, d);
		if (r < 0)
			break;
	}
	return r;
}

static int set_href(struct lfs_link *link, const json_t *href, struct diag *d)
{
	const char *text = json_string_value(href);
	scoped(url) struct url parsed = { 0 };

	if (!text)
		return diag_set(d, -EUCLEAN, "no \"href\" in \"download\"");
	if (json_string_length(href) > MAX_HREF_LEN || strlen(text) != json_string_length(href) ||
	    url_parse(text, &parsed, d) < 0)
		return diag_set(d, -EUCLEAN, "an \"href\" that is no http or https URL");
	link->href = strdup(text);
	return link->href ? 0 : diag_set(d, -ENOMEM, "out of memory");
}

/* "2016-11-10T15:29:07Z", with a fraction of a second or an offset from UTC (RFC 3339). */
static bool parse_time(const char *text, int64_t *out)
{
	int hours = 0, minutes = 0, used = 0;
	struct tm tm = { 0 };
	char sign = 'Z';

	text = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!text)
		return false;
	if (*text == '.')
		text += 1 + strspn(text + 1, "0123456789");
	if (strcmp(text, "Z") != 0 && strcmp(text, "z") != 0) {
		if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 ||
		    text[used] || (sign != '+' && sign != '-'))
			return false;
	}
	int64_t offset = (int64_t)hours * 3600 + (int64_t)minutes * 60;
	*out = (int64_t)timegm(&tm) - (sign == '-' ? -offset : offset);
	return true;
}

/*
 * expires_in is preferred: it needs no clock of ours. A link that is over before it was sent shows
 * a wrong clock, here or there, and says nothing.
 */
static int set_lifetime(struct lfs_link *link, const json_t *download, int64_t now, struct diag *d)
{
	const json_t *in = json_object_get(download, "expires_in");
	const json_t *at = json_object_get(download, "expires_at");
	int64_t until = 0;

	link->lifetime_s = UINT64_MAX;
	if (json_is_integer(in)) {
		if (json_integer_value(in) > 0)
			link->lifetime_s = (uint64_t)json_integer_value(in);
		return 0;
	}
	if (!json_is_string(at) || !*json_string_value(at))
		return 0;
	if (!parse_time(json_string_value(at), &until))
		return diag_set(d, -EUCLEAN, "an \"expires_at\" that is no time");
	if (until > now)
		link->lifetime_s = (uint64_t)(until - now);
	return 0;
}

static int decode_link(const json_t *download, int64_t now, struct lfs_link *link, struct diag *d)
{
	int r = set_href(link, json_object_get(download, "href"), d);

	if (r == 0)
		r = set_headers(link, json_object_get(download, "header"), d);
	if (r == 0)
		r = set_lifetime(link, download, now, d);
	return r;
}

/* ---- the answer ---- */

static void copy_message(const json_t *message, char *out, size_t out_len)
{
	const char *text = json_string_value(message);

	snprintf(out, out_len, "%s", text ? text : "");
}

/* Codes outside of HTTP's range are as good as none. */
static void decode_error(const json_t *error, struct lfs_offer *offer)
{
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	offer->code = code >= 400 && code <= 599 ? (unsigned)code : 0;
	copy_message(json_object_get(error, "message"), offer->message, sizeof(offer->message));
}

static int decode_object(const json_t *entry, int64_t now, const struct lfs_object *object,
                         struct lfs_offer *offer, struct diag *d)
{
	const json_t *size = json_object_get(entry, "size");
	const json_t *error = json_object_get(entry, "error");
	const json_t *download = json_object_get(json_object_get(entry, "actions"), "download");

	if (json_is_object(error)) {
		decode_error(error, offer);
		return 0;
	}
	if (json_is_integer(size) && (uint64_t)json_integer_value(size) != object->size)
		return diag_set(d, -EBADMSG,
		                "the server has %" JSON_INTEGER_FORMAT
		                " bytes, its pointer says %" PRIu64,
		                json_integer_value(size), object->size);
	return json_is_object(download) ? decode_link(download, now, &offer->link, d) : 0;
}

static size_t find_object(const char *hex, const struct lfs_object *const *object, size_t cnt)
{
	uint8_t oid[HASH_SHA256_LEN];
	size_t i = 0;

	if (!hex || strlen(hex) != 2 * sizeof(oid) || hex_decode(hex, oid, sizeof(oid)) < 0)
		return cnt;
	while (i < cnt && memcmp(object[i]->oid, oid, sizeof(oid)) != 0)
		i++;
	return i;
}

static int decode_objects(const json_t *list, int64_t now, const struct lfs_object *const *object,
                          size_t cnt, struct lfs_offer *offer, struct diag *d)
{
	bool seen[LFS_BATCH_MAX_OBJECTS] = { false };
	const json_t *entry;
	size_t at;

	if (!json_is_array(list))
		return diag_set(d, -EUCLEAN, "no list of \"objects\"");
	json_array_foreach (list, at, entry) {
		const char *hex = json_string_value(json_object_get(entry, "oid"));
		size_t i = find_object(hex, object, cnt);
		int r;

		if (i == cnt || seen[i])
			return diag_set(d, -EUCLEAN, "an object that %s",
			                i == cnt ? "was not asked for" : "comes twice");
		seen[i] = true;
		r = decode_object(entry, now, object[i], &offer[i], d);
		if (r < 0)
			return diag_prefix(d, r, "object %s", hex);
	}
	return 0;
}

static int check_words(const json_t *answer, struct diag *d)
{
	const char *transfer = json_string_value(json_object_get(answer, "transfer"));
	const char *hash = json_string_value(json_object_get(answer, "hash_algo"));
	char quoted[TEXT_QUOTE_LEN];

	if (transfer && strcmp(transfer, "basic") != 0)
		return diag_set(d, -EOPNOTSUPP,
		                "the server wants to transfer by %s; only basic was offered to it",
		                text_quote(transfer, strlen(transfer), quoted, sizeof(quoted)));
	if (hash && strcmp(hash, "sha256") != 0)
		return diag_set(d, -EOPNOTSUPP, "the server names objects by %s, not by sha256",
		                text_quote(hash, strlen(hash), quoted, sizeof(quoted)));
	return 0;
}

int lfs_batch_decode(const char *text, size_t len, int64_t now,
                     const struct lfs_object *const *object, size_t cnt, struct lfs_offer *offer,
                     struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	json_error_t where;
	scoped_json json_t *answer = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);

	memset(offer, 0, cnt * sizeof(*offer));
	if (!answer)
		return diag_set(d, -EUCLEAN, "not JSON at byte %d: %s", where.position,
		                text_quote(text, MIN(len, 60), quoted, sizeof(quoted)));
	if (!json_is_object(answer))
		return diag_set(d, -EUCLEAN, "not a JSON object");
	int r = check_words(answer, d);
	if (r == 0)
		r = decode_objects(json_object_get(answer, "objects"), now, object, cnt, offer, d);
	for (size_t i = 0; r < 0 && i < cnt; i++)
		lfs_link_release(&offer[i].link);
	return r;
}
