/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses an EROFS image as a careless program would: everything it holds is asked for once. For
 * images whose defect may sit anywhere, and for fuzzing. Linked into tests only.
 */
#ifndef MODELDISK_EROFS_CONSUME_H
#define MODELDISK_EROFS_CONSUME_H

#include "erofs.h"

/* What there was, up to the first error. */
struct erofs_consumed {
	uint64_t inodes, data_bytes, xattrs;
	uint64_t digest; /* FNV-1a of every path, byte, target and attribute, in order */
};

/*
 * Opens, walks, lists, looks up every name and some that are absent, maps and reads every file (the
 * start and the end of large ones), reads every target and attribute. Returns the first error with
 * its sentence. Aborts when the reader contradicts itself or gives a code that it does not
 * document; read_err is one more code that the vblk may give (0: none).
 */
int erofs_consume(const struct vblk *v, int read_err, struct erofs_consumed *out, struct diag *d);

#endif
