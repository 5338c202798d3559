/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd's configuration syntax (systemd.syntax(7)): a file as assignments, a value as words,
 * specifiers, paths and booleans. What systemd warns about and ignores is refused here: an ignored
 * line would change the disk without a word. Knows no key. Pure; thread-safe.
 */
#ifndef MODELDISK_CONF_H
#define MODELDISK_CONF_H

#include "diag.h"

#define CONF_MAX_LEN (1 * MIB) /* bytes of one file; longer ones are refused before reading */

struct conf_text {
	const char *file; /* name for messages */
	const char *text; /* need not end with NUL */
	size_t len;
};

/* One KEY=VALUE, both without the blanks around them. The strings live during the call. */
struct conf_assignment {
	const char *file;
	unsigned line; /* where it starts, from 1 */
	const char *key, *value;
};
typedef int (*conf_assign)(void *ctx, const struct conf_assignment *a, struct diag *d);

/*
 * Calls assign for every assignment in [section] in order, until one fails. Sections and keys that
 * start with "X-" are skipped, as they are meant to be. -EINVAL with "FILE:LINE: ..." for other
 * sections, lines that are no assignment, bytes that are not UTF-8, files beyond CONF_MAX_LEN.
 */
int conf_parse(const struct conf_text *t, const char *section, conf_assign assign, void *ctx,
               struct diag *d) MUST_CHECK;

enum conf_word_flags {
	CONF_UNQUOTE = 1,  /* ' and " around a word or a part of it are taken away */
	CONF_UNESCAPE = 2, /* \n, \x20, \u00e9 and so on; else a backslash protects one character */
	CONF_KEEP_EMPTY = 4, /* two separators in a row are an empty word */
};
/*
 * The next word of *p in *out (malloc'ed) and 1; 0 at the end. *p moves on and becomes NULL after
 * the last one. separators NULL: blanks. -EINVAL: an unfinished quote or escape, -ENOMEM.
 */
int conf_word(const char **p, const char *separators, unsigned flags, char **out, struct diag *d)
        MUST_CHECK;

/* %% becomes %. Other specifiers stand for something of the building host and are refused. */
int conf_expand(const char *value, char **out, struct diag *d) MUST_CHECK;

/* Is an absolute path without ".."; "//" and "/./" are taken out of it, and a '/' at its end too
 * unless that has a meaning. In place. */
int conf_simplify_path(char *path, bool keep_trailing_slash, struct diag *d) MUST_CHECK;

int conf_bool(const char *value, bool *out) MUST_CHECK; /* yes/no, true/false, on/off, 1/0 ... */
/* Decimal, or hexadecimal after 0x. -EINVAL, -ERANGE above max. */
int conf_number(const char *value, uint64_t max, uint64_t *out) MUST_CHECK;

#endif
