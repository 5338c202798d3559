/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkdisk: start, report, exit status. What is to be done is decided by options.c, how by build.c;
 * what is said to people is said here.
 */
#include "build.h"
#include "confine.h"
#include "options.h"
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

/* Set by a signal, read by the build: the one way a handler can talk to it. */
static atomic_bool stop_requested;

static void on_signal(int sig)
{
	(void)sig;
	atomic_store(&stop_requested, true);
}

/* The first one ends the build in order, the second one ends the process. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		sigaction(signals[i], &act, NULL);
	/* a reader of stdout that goes away, and RLIMIT_FSIZE, are errors like any other */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static void on_start(void *ctx, const char *what, uint64_t total)
{
	const struct options *o = ctx;

	report_progress_start(o->progress, what, total);
}

static void on_bytes(void *ctx, uint64_t bytes)
{
	(void)ctx;
	report_progress_add(bytes);
}

static void on_end(void *ctx)
{
	(void)ctx;
	report_progress_end();
}

static void on_warning(void *ctx, const char *sentence)
{
	(void)ctx;
	report_warning("%s", sentence);
}

static void on_note(void *ctx, const char *sentence)
{
	(void)ctx;
	report_note("%s", sentence);
}

static void on_file(void *ctx, const char *path, enum objects_event event, uint64_t done,
                    uint64_t size)
{
	static const enum report_file_state states[] = {
		[OBJECTS_BEGUN] = REPORT_FILE_BEGUN,
		[OBJECTS_COMPLETE] = REPORT_FILE_COMPLETE,
		[OBJECTS_GIVEN_UP] = REPORT_FILE_GIVEN_UP,
	};

	(void)ctx;
	report_progress_file(path, states[event], done, size);
}

static int run(struct options *o, char **result, struct diag *d)
{
	struct build_hooks hooks = { .start = on_start,
		                     .bytes = on_bytes,
		                     .end = on_end,
		                     .warn = on_warning,
		                     .note = on_note,
		                     .file = on_file,
		                     .ctx = o,
		                     .stop = &stop_requested };

	o->build.exclude_list = getenv("EXCLUDE_GIT_FILES");
	o->build.git_token = getenv("GIT_PAT");
	int r = 0;
	if (o->no_sandbox)
		report_warning("building WITHOUT A SANDBOX, as --no-sandbox demands");
	else
		r = confine(&o->build, d);
	if (r < 0)
		return r;
	if (o->action == OPTIONS_LIST)
		return build_list(&o->build, o->list, &hooks, result, d);
	return build_disk(&o->build, &hooks, result, d);
}

/* A result that nobody could be given is a failure, whatever became of the disk. */
static int print_result(const char *text, struct diag *d)
{
	if (fputs(text, stdout) < 0 || fflush(stdout) < 0)
		return diag_set_errno(d, -errno, "cannot write to stdout");
	return 0;
}

int main(int argc, char **argv)
{
	scoped_free char *result = NULL;
	struct options o = { .action = OPTIONS_HELP };
	struct diag d = DIAG_INIT;
	int r;

	report_start("mkdisk", REPORT_TEXT, REPORT_NOTE);
	r = options_parse(argc, argv, &o, &d);
	if (r < 0)
		return report_diag(&d);
	report_start("mkdisk", o.progress == REPORT_PROGRESS_JSON ? REPORT_JSON : REPORT_TEXT,
	             o.quiet ? REPORT_ERROR : REPORT_NOTE);
	catch_signals();
	if (o.action == OPTIONS_HELP) {
		options_print_help();
		r = print_result("", &d);
	} else if (o.action == OPTIONS_VERSION) {
		r = print_result("mkdisk " MODELDISK_VERSION "\n", &d);
	} else {
		r = run(&o, &result, &d);
		if (r == 0)
			r = print_result(result, &d);
	}
	options_release(&o);
	return r < 0 ? report_diag(&d) : 0;
}
