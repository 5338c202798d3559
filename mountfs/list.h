/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for one more element at the end of an array that doubles when it is full.
 */
#ifndef MODELDISK_LIST_H
#define MODELDISK_LIST_H

#include "base.h"

#include <errno.h>

/* elements holds cnt and was grown by this function from NULL. Returns it or its successor; NULL:
 * out of memory, and elements stays as it is. */
static inline void *list_grow(void *elements, size_t cnt, size_t element_len)
{
	uint64_t len;

	if ((cnt & (cnt - 1)) != 0) /* no power of two: there is room */
		return elements;
	if (!mul_u64(cnt ? 2 * (uint64_t)cnt : 1, element_len, &len) || len > SIZE_MAX)
		return NULL;
	return realloc(elements, (size_t)len);
}

#endif
