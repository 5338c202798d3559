/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzz target offers, to libFuzzer or to replay.c. A target returns 0, and aborts when
 * the code under test breaks a promise of its header.
 */
#ifndef MODELDISK_FUZZ_H
#define MODELDISK_FUZZ_H

#include "base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Not assert(): it must stay on and say which promise it was. */
#define FUZZ_MUST(cond)                                                                            \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
