/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as sd-json prints it, because scripts compare repart's output as text; jansson spaces
 * differently. Decides the layout; what is said is the callers'.
 */
#include "json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void put_bytes(struct json *j, const char *bytes, size_t len)
{
	if (j->failed)
		return;
	if (j->len + len + 1 > j->cap) {
		size_t cap = MAX(2 * j->cap, j->len + len + 1);
		char *grown = realloc(j->text, cap);

		if (!grown) {
			j->failed = true;
			return;
		}
		j->text = grown;
		j->cap = cap;
	}
	memcpy(j->text + j->len, bytes, len);
	j->len += len;
	j->text[j->len] = '\0';
}

void json_put(struct json *j, const char *s)
{
	put_bytes(j, s, strlen(s));
}

static void put_line_start(struct json *j)
{
	if (!j->pretty)
		return;
	json_put(j, "\n");
	for (unsigned i = 0; i < j->depth; i++)
		json_put(j, "\t");
}

void json_put_escaped(struct json *j, const char *s, size_t len)
{
	static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: byte, letter */

	for (size_t i = 0; i < len; i++) {
		const char *pair = letters;
		char code[8];

		while (*pair && *pair != s[i])
			pair += 2;
		if (*pair && s[i]) {
			json_put(j, "\\");
			put_bytes(j, pair + 1, 1);
		} else if ((unsigned char)s[i] < ' ') {
			snprintf(code, sizeof(code), "\\u%04x", (unsigned char)s[i]);
			json_put(j, code);
		} else {
			put_bytes(j, s + i, 1);
		}
	}
}

static void put_quoted(struct json *j, const char *s)
{
	json_put(j, "\"");
	json_put_escaped(j, s, strlen(s));
	json_put(j, "\"");
}

void json_start(struct json *j, const char *key)
{
	if (j->depth > 0) {
		if (!j->empty)
			json_put(j, ",");
		put_line_start(j);
	}
	j->empty = false;
	if (!key)
		return;
	put_quoted(j, key);
	json_put(j, j->pretty ? " : " : ":");
}

void json_open(struct json *j, const char *key, const char *bracket)
{
	json_start(j, key);
	json_put(j, bracket);
	j->depth++;
	j->empty = true;
}

void json_close(struct json *j, const char *bracket)
{
	j->depth--;
	if (!j->empty)
		put_line_start(j);
	json_put(j, bracket);
	j->empty = false;
}

void json_string(struct json *j, const char *key, const char *value)
{
	json_start(j, key);
	put_quoted(j, value);
}

void json_raw(struct json *j, const char *key, const char *value)
{
	json_start(j, key);
	json_put(j, value);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	json_raw(j, key, text);
}

void json_hex(struct json *j, const char *key, const void *bytes, size_t len)
{
	char text[2 * HASH_MAX_SALT_LEN + 1];

	hex_encode(bytes, len, text);
	json_string(j, key, text);
}

void json_uuid(struct json *j, const char *key, const struct uuid *u)
{
	char text[UUID_TEXT_LEN];

	uuid_format(u, text);
	json_string(j, key, text);
}

void json_string_or_null(struct json *j, const char *key, const char *value)
{
	if (value)
		json_string(j, key, value);
	else
		json_raw(j, key, "null");
}

void json_name(struct json *j, const char *key, const char *name)
{
	char hex_key[32], hex[3];

	if (utf8_is_valid(name, strlen(name))) {
		json_string(j, key, name);
		return;
	}
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	json_raw(j, hex_key, "\"");
	for (; *name; name++) {
		hex_encode(name, 1, hex);
		json_put(j, hex);
	}
	json_put(j, "\"");
}

int json_finish(struct json *j, char **out, struct diag *d)
{
	json_put(j, "\n");
	if (j->failed) {
		free(j->text);
		return diag_set(d, -ENOMEM, "out of memory");
	}
	*out = j->text;
	return 0;
}
