/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vblk over bytes that nobody proved, for tests of what reads proven bytes. Linked into tests
 * only: in the programs verity_open() is the only maker.
 */
#ifndef MODELDISK_TEST_VBLK_H
#define MODELDISK_TEST_VBLK_H

#include "verity.h"

/* b is borrowed and must outlive the vblk. vblk_params() is NULL. Aborts the test when it fails. */
struct vblk *test_vblk_of_blk(const struct blk *b);
/* The same over memory that the caller keeps alive and unchanged. */
struct vblk *test_vblk_of_memory(const void *bytes, size_t len);

#endif
