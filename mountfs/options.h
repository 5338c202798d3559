/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of mountfs, as a value. Start-up only, one thread.
 */
#ifndef MODELDISK_OPTIONS_H
#define MODELDISK_OPTIONS_H

#include "image.h"
#include "report.h"

#define OPTIONS_MAX_THREADS 256

struct options {
	const char *disk, *mountpoint; /* borrowed from argv */
	struct image_options image;    /* without the failure hook */
	char *hash_device;             /* owned; image.hash_device is the same */
	char *fuse_options;            /* owned: comma list for libfuse; NULL: none */
	unsigned thread_cnt;           /* 1..OPTIONS_MAX_THREADS; 0: as the machine is */
	int ready_fd;                  /* -1: none */
	enum report_format log_format;
	enum report_level log_level;
	bool help, version; /* asked for: nothing else is filled in */
	bool foreground, debug, allow_other, exec, exit_on_corruption;
	bool has_params; /* an option was given that only has a meaning without a superblock */
};

/*
 * Reads argv. -EINVAL with a sentence that names the argument; what open(2) and read(2) said about
 * --root-hash-file.
 */
int options_parse(int argc, char **argv, struct options **out, struct diag *d) MUST_CHECK;
void options_free(struct options *o); /* NULL allowed */
DEFINE_SCOPED(options, struct options *, options_free)

/* Prints the help to stdout, at most 80 columns wide. */
void options_print_help(void);

#endif
