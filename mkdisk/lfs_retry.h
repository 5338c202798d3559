/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What batch requests and transfers have in common when they fail: a pause and another try, other
 * credentials, or the end. For lfs*.c only. One thread, the network's.
 */
#ifndef MODELDISK_LFS_RETRY_H
#define MODELDISK_LFS_RETRY_H

#include "lfs.h"
#include "lfs_http.h"

/*
 * The request ended as end says and may be sent again after *ms. *tries counts, and decides when it
 * was often enough; pauses that a person may notice are told.
 */
int lfs_retry_later(const struct lfs_options *opt, const struct lfs_end *end,
                    const struct lfs_asked *asked, unsigned *tries, uint64_t *ms, struct diag *d)
        MUST_CHECK;
/*
 * 1: there are credentials for url that were not refused yet; 0: there are none (left). asked: the
 * server wants them, and does not accept those it may have been sent.
 */
int lfs_retry_login(const struct lfs_options *opt, const struct lfs_end *end, const char *url,
                    bool asked, struct diag *d) MUST_CHECK;
/* Puts the credentials for url into the request, if there are any. */
int lfs_retry_show(const struct lfs_options *opt, struct lfs_request *request, struct diag *d)
        MUST_CHECK;
/* end, as a sentence about what was asked. */
int lfs_retry_give_up(const struct lfs_end *end, const struct lfs_asked *asked, unsigned tries,
                      struct diag *d) MUST_CHECK;

#endif
