/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One piece of work on several threads: how they are started, which error wins, how the others
 * learn of it. What each of them takes is up to the work.
 */
#ifndef MODELDISK_WORKERS_H
#define MODELDISK_WORKERS_H

#include "diag.h"

#include <stdatomic.h>

/* Runs until nothing is left to take or *stop becomes true; 0 or a negative errno. */
typedef int (*workers_fn)(void *ctx, const atomic_bool *stop, struct diag *d);

/*
 * Calls fn on cnt threads (0: two for each CPU, so that hashing goes on while others wait for the
 * disk) and returns when all have returned. The first error stops the others and is returned with
 * its sentence; threads that cannot be started are done without.
 */
int workers_run(unsigned cnt, workers_fn fn, void *ctx, struct diag *d) MUST_CHECK;

#endif
