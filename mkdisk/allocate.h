/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd-repart's distribution of one free area among new partitions (docs/format.md "Space"):
 * which offset, length and padding each one gets from its bounds and weights. Arithmetic only; all
 * numbers are bytes. Thread-safe.
 */
#ifndef MODELDISK_ALLOCATE_H
#define MODELDISK_ALLOCATE_H

#include "base.h"

#define ALLOCATE_MAX_PARTS 128
#define ALLOCATE_MAX_LEN   (UINT64_C(1) << 62) /* bound on every minimum and on the area */
#define ALLOCATE_NO_MAX    UINT64_MAX

/* What may become one item: a partition's length, or the padding behind it. */
struct allocate_bounds {
	uint64_t min; /* at most ALLOCATE_MAX_LEN */
	uint64_t max; /* at least min, or ALLOCATE_NO_MAX */
	uint32_t weight;
};

struct allocate_part {
	struct allocate_bounds len, padding;
};

struct allocate_area {
	uint64_t start, end; /* multiples of grain; end at most ALLOCATE_MAX_LEN */
	uint64_t grain;      /* a power of two */
	bool leftover_to_padding;
};

struct allocate_place {
	uint64_t off, len, padding;
};

struct allocate_outcome {
	uint64_t need;     /* what the minima take together (up to the first that does not fit) */
	size_t minima_cnt; /* items that got their minimum because their share was smaller. The
	                      longer the area, the fewer; while it is the same and nobody has a
	                      maximum, no length and no padding shrinks when the area grows.
	                      (With maxima what rounding leaves over can go to another.) */
};

/*
 * Places cnt (1 to ALLOCATE_MAX_PARTS) partitions in order. False when their minima do not fit;
 * then only outcome->need is set.
 */
bool allocate(const struct allocate_area *area, const struct allocate_part *part, size_t cnt,
              struct allocate_place *out, struct allocate_outcome *outcome) MUST_CHECK;

#endif
