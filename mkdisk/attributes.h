/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What .gitattributes files say of a path (gitattributes(5), git 2.39 to 2.50), as far as it
 * decides the bytes of a checkout. Read from the commit's tree only: no file of the user, the
 * system or the repository's own directory has a say, since the disk must not depend on them.
 *
 * Why not libgit2's: its verdicts changed between releases, and the disk must not depend on those
 * either.
 *
 * One thread: a lookup uses scratch memory in the object.
 */
#ifndef MODELDISK_ATTRIBUTES_H
#define MODELDISK_ATTRIBUTES_H

#include "base.h"

#define ATTRIBUTES_MAX_LEN     (4 * MIB)  /* of one file */
#define ATTRIBUTES_MAX_ALL_LEN (16 * MIB) /* of all that are pushed; memory is a multiple */

enum attribute {
	ATTRIBUTE_TEXT,
	ATTRIBUTE_CRLF, /* what "text" was called once */
	ATTRIBUTE_EOL,
	ATTRIBUTE_IDENT,
	ATTRIBUTE_ENCODING, /* working-tree-encoding */
	ATTRIBUTE_CNT
};

enum attribute_state { ATTRIBUTE_UNSPECIFIED, ATTRIBUTE_TRUE, ATTRIBUTE_FALSE, ATTRIBUTE_VALUE };

struct attribute_setting {
	enum attribute_state state;
	const char *value; /* of ATTRIBUTE_VALUE; borrowed until the file is popped */
};

struct attributes;

int attributes_new(struct attributes **out) MUST_CHECK;
void attributes_free(struct attributes *a);
DEFINE_SCOPED(attributes, struct attributes *, attributes_free)

/*
 * The .gitattributes file (len bytes, copied) of a directory whose path with a '/' behind it is
 * dir_len bytes long: 0 for the root, which must be the first. Outweighs those pushed before. Lines
 * git would not accept are passed over, as git does. -ENOMEM, -E2BIG: longer than
 * ATTRIBUTES_MAX_LEN, or with those pushed before longer than ATTRIBUTES_MAX_ALL_LEN.
 */
int attributes_push(struct attributes *a, size_t dir_len, const char *text, size_t len) MUST_CHECK;
/* Forgets the file pushed last. */
void attributes_pop(struct attributes *a);

/* What is set for a file. path is below every directory whose file is pushed. */
void attributes_lookup(struct attributes *a, const char *path,
                       struct attribute_setting out[ATTRIBUTE_CNT]);

#endif
