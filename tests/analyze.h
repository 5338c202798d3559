/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For analyzers only (tests/analyze.sh), put in front of every file: what they cannot see from
 * there, that the code given to these functions comes back, so "r = p ? 0 : diag_set(d, -ENOMEM,
 * ...)" leaves no NULL behind.
 */
#include "diag.h"

#define diag_set(d, err, ...)       ((void)diag_set(d, err, __VA_ARGS__), (err))
#define diag_set_errno(d, err, ...) ((void)diag_set_errno(d, err, __VA_ARGS__), (err))
#define diag_prefix(d, err, ...)    ((void)diag_prefix(d, err, __VA_ARGS__), (err))
