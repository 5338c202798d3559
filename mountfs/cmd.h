/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions of mountfs, a file each (cmd_NAME.c), and what they share. One thread.
 */
#ifndef MODELDISK_CMD_H
#define MODELDISK_CMD_H

#include "options.h"

typedef void (*cmd_failure_fn)(void *ctx, const struct verity_failure *f);

/*
 * Opens the disk that the first argument names, as the options say, and warns of what has to be
 * known about it. on_failure as in struct verity_options; NULL: none. Errors as image_open().
 */
int cmd_open_image(const struct options *o, cmd_failure_fn on_failure, void *ctx,
                   struct image **out, struct diag *d) MUST_CHECK;

/* The actions: see options_action. */
int cmd_mount(const struct options *o, struct diag *d);

#endif
