/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: mkdisk [OPTION]... DISK SOURCE [COMMIT]. One table makes the parser and the
 * help, so that they cannot differ; docs/mkdisk.1.md is the manual. One thread, at start.
 */
#ifndef MODELDISK_OPTIONS_H
#define MODELDISK_OPTIONS_H

#include "build.h"
#include "report.h"

enum options_action { OPTIONS_BUILD, OPTIONS_LIST, OPTIONS_HELP, OPTIONS_VERSION };

struct options {
	enum options_action action;
	enum build_list list; /* OPTIONS_LIST */
	struct build_options build;
	enum report_progress_mode progress;
	bool quiet, no_sandbox;
};

/*
 * Strings in the result are argv's; lists belong to the result. -EINVAL with a sentence for
 * anything that is not understood, also for options of the other layout.
 */
int options_parse(int argc, char **argv, struct options *out, struct diag *d) MUST_CHECK;
/* Releases what is inside; a zeroed struct is allowed. */
void options_release(struct options *o);
/* The help, to stdout: at most 80 columns. */
void options_print_help(void);

#endif
