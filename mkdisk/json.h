/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text, written member by member and laid out as systemd's sd-json does it. A failed
 * allocation is remembered and told by json_finish() only. One thread.
 */
#ifndef MODELDISK_JSON_H
#define MODELDISK_JSON_H

#include "diag.h"
#include "hash.h"
#include "text.h"

/* All zero (or with pretty set) to begin with. */
struct json {
	char *text;
	size_t len, cap;
	bool failed; /* out of memory: everything after it is ignored */
	bool pretty;
	bool empty; /* nothing in the innermost object or array yet */
	unsigned depth;
};

/* key is NULL in an array and at the top. bracket: "{" or "[". */
void json_open(struct json *j, const char *key, const char *bracket);
void json_close(struct json *j, const char *bracket);
void json_string(struct json *j, const char *key, const char *value); /* UTF-8 */
void json_string_or_null(struct json *j, const char *key, const char *value);
void json_raw(struct json *j, const char *key, const char *value); /* a number, null, true */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_hex(struct json *j, const char *key, const void *bytes, size_t len); /* up to 256 */
void json_uuid(struct json *j, const char *key, const struct uuid *u);
/* Names are bytes, JSON strings are not: what is not UTF-8 goes out as hex under KEY_hex. */
void json_name(struct json *j, const char *key, const char *name);

/* For values put together: what stands before one (comma, line, key), then text as it is, or as it
 * stands inside quotes. */
void json_start(struct json *j, const char *key);
void json_put(struct json *j, const char *s);
void json_put_escaped(struct json *j, const char *s, size_t len);

/* Ends the text with a newline; malloc'ed. -ENOMEM. */
int json_finish(struct json *j, char **out, struct diag *d) MUST_CHECK;

#endif
