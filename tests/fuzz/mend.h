/* SPDX-License-Identifier: Apache-2.0 */
/* What an attacker repairs after a change, so that the change is looked at and not its checksum. */
#ifndef MODELDISK_FUZZ_MEND_H
#define MODELDISK_FUZZ_MEND_H

#include "base.h"

/* Both CRCs of both headers of a partition table for this sector length, where they are on the
 * disk. */
void mend_gpt(uint8_t *disk, size_t len, size_t sector_len);

/* An EROFS superblock's magic, block length and block count are made possible ones. Its checksum is
 * tiny_erofs_seal()'s. */
void mend_erofs(uint8_t *image, size_t len);

#endif
