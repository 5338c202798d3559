/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actions of mountfs, a file each (cmd_NAME.c), and what they share. One thread.
 */
#ifndef MODELDISK_CMD_H
#define MODELDISK_CMD_H

#include "entries.h"
#include "options.h"

#include <jansson.h>

/*
 * What the options demand of signatures, before the action is run: o->image has the signed root
 * hash afterwards, o->signature what signs it. -EBADMSG: nobody trusted has signed it, or another
 * root hash is expected; else errors as root_trust_open(), root_trust_check(), signed_root_read().
 */
int cmd_demand_signature(struct options *o, struct diag *d) MUST_CHECK;

/*
 * Opens the disk that the first argument names, and warns of what has to be known about it. io is
 * o->image with what the action adds. Errors as image_open().
 */
int cmd_open_image(const struct options *o, const struct image_options *io, struct image **out,
                   struct diag *d) MUST_CHECK;

/* The same, and what lies at path (NULL: everything) as a list, which is the caller's to release.
 */
int cmd_open_entries(const struct options *o, const char *path, struct image **out,
                     struct entries *list, struct diag *d) MUST_CHECK;

/* Puts the path in quotes before the sentence; nothing when err is 0. Returns err. */
int cmd_prefix_path(struct diag *d, int err, const char *path);

/*
 * A path to stdout, unambiguous and harmless to a terminal: bytes that cannot stay become \ooo in
 * octal, as vis(3) has it.
 */
enum cmd_path_style {
	CMD_PATH_LINE, /* printable UTF-8 stays, besides backslashes */
	CMD_PATH_WORD, /* mtree(5): only ASCII without blanks, # and what patterns are made of */
};
void cmd_print_path(const char *path, enum cmd_path_style style);

/*
 * JSON results. A path stands under key as text, or under key_hex when it is no UTF-8, as in
 * mkdisk's record. Printing takes the value; NULL (no memory was left to make it) is -ENOMEM.
 */
void cmd_json_set_path(json_t *object, const char *key, const char *path);
int cmd_print_json(json_t *value, struct diag *d) MUST_CHECK;

/*
 * --backend=kernel and auto. 1: FUSE is to be used, and it has been said why; else as an action.
 */
int cmd_mount_kernel(const struct options *o, struct diag *d) MUST_CHECK;

/* The actions: see options_action. */
int cmd_mount(const struct options *o, struct diag *d);
int cmd_cat(const struct options *o, struct diag *d);
int cmd_copy_from(const struct options *o, struct diag *d);
int cmd_inspect(const struct options *o, struct diag *d);
int cmd_list(const struct options *o, struct diag *d);
int cmd_mtree(const struct options *o, struct diag *d);
int cmd_umount(const struct options *o, struct diag *d);
int cmd_verify(const struct options *o, struct diag *d);
int cmd_with(const struct options *o, struct diag *d);

#endif
