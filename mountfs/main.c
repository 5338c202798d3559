/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountfs: from the command line to an action, and from its result to the exit status.
 */
#include "cmd.h"
#include "daemon.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>

static int run(struct options *o, struct diag *d)
{
	int r;

	if (o->help || o->version) {
		if (o->help)
			options_print_help();
		else
			printf("mountfs %s\n", MODELDISK_VERSION);
		r = 0;
	} else {
		report_start("mountfs", o->log_format, o->log_level);
		r = cmd_demand_signature(o, d);
		if (r == 0)
			r = o->run(o, d);
	}
	/* a result that nobody could be given is a failure */
	if ((fflush(stdout) != 0 || ferror(stdout)) && r == 0)
		r = diag_set_errno(d, -errno, "cannot write to stdout");
	return r;
}

int main(int argc, char **argv)
{
	scoped(options) struct options *o = NULL;
	struct diag d = DIAG_INIT;
	int r;

	daemon_open_std();
	report_start("mountfs", REPORT_TEXT, REPORT_NOTE);
	r = options_parse(argc, argv, &o, &d);
	if (r == 0)
		r = run(o, &d);
	return r < 0 ? report_diag(&d) : r;
}
