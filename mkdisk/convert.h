/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a checkout by git 2.39 to 2.50 does to a blob's bytes: "ident", line endings,
 * working-tree-encoding, in this order. As on a Linux machine without any configuration. Pure;
 * thread-safe.
 *
 * Encodings are written without iconv(3), because which ones it has, and whether a conversion
 * fails, differs from machine to machine. So only the UTF-16 and UTF-32 families are supported;
 * glibc's plain "UTF-16" and "UTF-32" are taken to be those of a little-endian machine.
 */
#ifndef MODELDISK_CONVERT_H
#define MODELDISK_CONVERT_H

#include "attributes.h"
#include "diag.h"

/* The conversions of one file; all zero: none. Small enough to be kept with each. */
struct conversion {
	uint8_t eol;      /* enum convert_eol in convert.c */
	uint8_t ident;    /* enum convert_ident */
	uint8_t encoding; /* index of the encoding, 0: UTF-8 stays */
};

/*
 * What the attributes of a file ask for. quoted is its path for messages. -EOPNOTSUPP: an encoding
 * that is not supported; -EUCLEAN: an encoding that is set but has no name, with which git fails.
 */
int conversion_init(struct conversion *c, const struct attribute_setting set[ATTRIBUTE_CNT],
                    const char *quoted, struct diag *d) MUST_CHECK;
bool conversion_is_none(const struct conversion *c);

/*
 * Converts the len bytes at in. id is the blob's id in hex. *out is malloc'ed, or NULL when the
 * bytes stay as they are. -ENOMEM.
 */
int conversion_apply(const struct conversion *c, const char *id, const void *in, size_t len,
                     void **out, size_t *out_len) MUST_CHECK;

#endif
