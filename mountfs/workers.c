/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for an action. The caller's own is one of them, so there always is one.
 */
#include "workers.h"

#include <errno.h>
#include <pthread.h>

#define MAX_WORKERS 256

struct work {
	workers_fn fn;
	void *ctx;
	atomic_bool stop;
	pthread_mutex_t lock; /* guards err and diag */
	int err;
	struct diag diag;
};

static void *run(void *arg)
{
	struct work *w = arg;
	struct diag d = DIAG_INIT;
	int r = w->fn(w->ctx, &w->stop, &d);

	if (r < 0) {
		atomic_store(&w->stop, true);
		pthread_mutex_lock(&w->lock);
		if (w->err == 0) {
			w->err = r;
			w->diag = d;
		}
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

int workers_run(unsigned cnt, workers_fn fn, void *ctx, struct diag *d)
{
	struct work w = { .fn = fn, .ctx = ctx, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread[MAX_WORKERS];
	unsigned started = 0;

	if (cnt == 0)
		cnt = (unsigned)MAX(2 * sysconf(_SC_NPROCESSORS_ONLN), 1);
	cnt = MIN(cnt, MAX_WORKERS);
	while (started + 1 < cnt && pthread_create(&thread[started], NULL, run, &w) == 0)
		started++;
	run(&w);
	while (started > 0)
		pthread_join(thread[--started], NULL);
	if (w.err < 0)
		return diag_set(d, w.err, "%s", w.diag.text);
	return 0;
}
