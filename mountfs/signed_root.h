/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root hash that a disk itself claims, with a signature over it: its signature partition
 * (repart.d(5), Verity=signature). Nothing of it is proven before root_trust_check(). Thread-safe.
 */
#ifndef MODELDISK_SIGNED_ROOT_H
#define MODELDISK_SIGNED_ROOT_H

#include "gpt.h"
#include "image.h"
#include "root_signature.h"

struct signed_root {
	uint8_t root[HASH_MAX_LEN];
	size_t root_len;
	uint8_t der[ROOT_SIGNATURE_MAX_LEN];
	size_t der_len;
};

/* The one that was named, or by its type. */
bool signed_root_is_part(const struct gpt_part *p, const struct image_options *o);

/*
 * From the disk's signature partition. -EUCLEAN: there is none, or more than one, or it holds
 * something else; -EBADMSG: a damaged partition table; what blk_read() gave.
 */
int signed_root_read(const struct blk *disk, const struct image_options *o, struct signed_root *out,
                     struct diag *d) MUST_CHECK;
/* The same from the partition's bytes: a JSON object and NULs behind it. */
int signed_root_parse(const char *bytes, size_t len, struct signed_root *out, struct diag *d)
        MUST_CHECK;

#endif
