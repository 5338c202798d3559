/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strings that are overwritten before their memory is given back: passwords, tokens, and buffers
 * they went through. Inline only. Thread-safe.
 */
#ifndef MODELDISK_SECRET_H
#define MODELDISK_SECRET_H

#include "base.h"

/* NULL allowed; what lies behind the NUL is not overwritten. */
static inline void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}
DEFINE_SCOPED(secret, char *, secret_free)

#endif
