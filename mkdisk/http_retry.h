/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What batch requests and transfers have in common when they fail: a pause and another try, other
 * credentials, or the end. For lfs*.c only. One thread, the network's.
 */
#ifndef MODELDISK_HTTP_RETRY_H
#define MODELDISK_HTTP_RETRY_H

#include "http.h"

/*
 * The request ended as end says and may be sent again after *ms. *tries counts, and decides when it
 * was often enough; pauses that a person may notice are told.
 */
int http_retry_later(const struct http_options *opt, const struct http_end *end,
                     const struct http_asked *asked, unsigned *tries, uint64_t *ms, struct diag *d)
        MUST_CHECK;
/*
 * 1: there are credentials for url that were not refused yet; 0: there are none (left). asked: the
 * server wants them, and does not accept those it may have been sent.
 */
int http_retry_login(const struct http_options *opt, const struct http_end *end, const char *url,
                     bool asked, struct diag *d) MUST_CHECK;
/* Puts the credentials for url into the request, if there are any. */
int http_retry_show(const struct http_options *opt, struct http_request *request, struct diag *d)
        MUST_CHECK;
/* end, as a sentence about what was asked. */
int http_retry_give_up(const struct http_end *end, const struct http_asked *asked, unsigned tries,
                       struct diag *d) MUST_CHECK;

#endif
