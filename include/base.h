/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words every other file is written in: checked arithmetic for sizes that come from a disk or
 * a network, little-endian fields that cannot be read without conversion, and scope-bound release.
 * Inline only; no .c file, no allocation, no printing. Everything here is thread-safe.
 */
#ifndef MODELDISK_BASE_H
#define MODELDISK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a)           (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)              ((a) < (b) ? (a) : (b))
#define MAX(a, b)              ((a) > (b) ? (a) : (b))

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define GIB (UINT64_C(1024) * MIB)

/*
 * Arithmetic on values from outside. True when the result fits; *out is written only then.
 */
static inline MUST_CHECK bool add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

static inline MUST_CHECK bool mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

/* Is [off, off + len) inside [0, limit)? Never overflows; an empty range at limit is inside. */
static inline bool range_is_inside(uint64_t off, uint64_t len, uint64_t limit)
{
	return off <= limit && len <= limit - off;
}

static inline bool is_power_of_two(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

/* For values already bounded by us; step > 0, and the result must fit (asserted by the callers'
 * limits). */
static inline uint64_t round_down(uint64_t v, uint64_t step)
{
	return v - v % step;
}

static inline uint64_t round_up(uint64_t v, uint64_t step)
{
	return round_down(v + (step - 1), step);
}

static inline uint64_t div_up(uint64_t v, uint64_t step)
{
	return v / step + (v % step != 0);
}

/*
 * On-disk integers. Byte arrays: alignment 1, no padding, and a missing conversion does not
 * compile.
 */
typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

static inline uint16_t le16_get(le16 v)
{
	return (uint16_t)(v.b[0] | v.b[1] << 8);
}

static inline uint32_t le32_get(le32 v)
{
	return (uint32_t)v.b[0] | (uint32_t)v.b[1] << 8 | (uint32_t)v.b[2] << 16 |
	       (uint32_t)v.b[3] << 24;
}

static inline uint64_t le64_get(le64 v)
{
	return (uint64_t)v.b[0] | (uint64_t)v.b[1] << 8 | (uint64_t)v.b[2] << 16 |
	       (uint64_t)v.b[3] << 24 | (uint64_t)v.b[4] << 32 | (uint64_t)v.b[5] << 40 |
	       (uint64_t)v.b[6] << 48 | (uint64_t)v.b[7] << 56;
}

static inline le16 le16_of(uint16_t v)
{
	return (le16){ { (uint8_t)v, (uint8_t)(v >> 8) } };
}

static inline le32 le32_of(uint32_t v)
{
	return (le32){ { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) } };
}

static inline le64 le64_of(uint64_t v)
{
	return (le64){ { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24),
		         (uint8_t)(v >> 32), (uint8_t)(v >> 40), (uint8_t)(v >> 48),
		         (uint8_t)(v >> 56) } };
}

/*
 * Scope-bound release. `scoped_free char *p = NULL;` is freed when the scope ends, `return
 * take_ptr(p);` hands it out instead. For a module's own object, the module's header has a line
 * `DEFINE_SCOPED(blk, struct blk *, blk_close)` and users write `scoped(blk) struct blk *b =
 * NULL;`.
 */
static inline void scope_free(void *p)
{
	free(*(void **)p);
}

static inline void scope_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define scoped_free  __attribute__((cleanup(scope_free)))
#define scoped_fd    __attribute__((cleanup(scope_close)))
#define scoped(name) __attribute__((cleanup(scope_end_##name)))
#define DEFINE_SCOPED(name, type, release)                                                         \
	static inline void scope_end_##name(type *p)                                               \
	{                                                                                          \
		release(*p);                                                                       \
	}

#define take_ptr(p)                                                                                \
	__extension__({                                                                            \
		__typeof__(p) taken_ = (p);                                                        \
		(p) = NULL;                                                                        \
		taken_;                                                                            \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
