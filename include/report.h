/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only way anything is printed to people. Included by main.c, cmd_*.c, ops.c and daemon.c only:
 * modules return sentences (diag.h) and leave it to the program to say them.
 *
 * Everything goes to stderr (stdout belongs to results), one line each, "program: ..." or, with
 * --log-format=json, one JSON object {"time","level","message",...}. No control byte and no
 * malformed UTF-8 is ever printed: text_clean(). Thread-safe after report_start().
 */
#ifndef MODELDISK_REPORT_H
#define MODELDISK_REPORT_H

#include "diag.h"

enum report_format { REPORT_TEXT, REPORT_JSON };
enum report_level { REPORT_ERROR, REPORT_WARNING, REPORT_NOTE, REPORT_DEBUG };

/* Start-up only. program is borrowed for the life of the process. Lines above max_level are
 * dropped. */
void report_start(const char *program, enum report_format format, enum report_level max_level);
/*
 * From now on, lines go to the log daemon that listens at path as well (REPORT_SYSLOG for the
 * system's): for a daemon without a terminal. Start-up only. Returns the descriptor, which stays
 * this module's, or -1 when nobody listens there. Lines are lost when the log daemon starts anew at
 * that path without its old socket.
 */
#define REPORT_SYSLOG "/dev/log"
int report_to_syslog(const char *path);

void report(enum report_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define report_error(...)   report(REPORT_ERROR, __VA_ARGS__)
#define report_warning(...) report(REPORT_WARNING, __VA_ARGS__)
#define report_note(...)    report(REPORT_NOTE, __VA_ARGS__)
#define report_debug(...)   report(REPORT_DEBUG, __VA_ARGS__)

/*
 * The error line of a diag (in JSON with the member "errno":"EBADMSG"; nothing when err is 0);
 * returns the exit status it calls for.
 */
int report_diag(const struct diag *d);

/*
 * An event with fields for machines: key, value pairs of strings, ended by NULL. In text only
 * message is printed, in JSON the fields are members beside it.
 */
void report_event(enum report_level level, const char *message, const char *const fields[]);

/*
 * Progress of one long piece of work. A bar on a terminal (redrawn at most ten times a second), a
 * line every ten seconds in a log, a JSON object a second with REPORT_PROGRESS_JSON or REPORT_JSON
 * (docs/progress.md), nothing with OFF. One at a time.
 */
enum report_progress_mode {
	REPORT_PROGRESS_AUTO, /* bar on a terminal, lines elsewhere; nothing when notes are dropped
	                       */
	REPORT_PROGRESS_BAR,
	REPORT_PROGRESS_LINES,
	REPORT_PROGRESS_JSON,
	REPORT_PROGRESS_OFF,
};
/* label is copied (and cut if very long). */
void report_progress_start(enum report_progress_mode mode, const char *label, uint64_t total_bytes);
void report_progress_add(uint64_t bytes); /* thread-safe, cheap */
void report_progress_end(void);
/* A file of the work: the bar names the oldest that is under way, JSON has each as an event. done:
 * bytes of it that were there when it began, or are there now. Thread-safe. */
enum report_file_state { REPORT_FILE_BEGUN, REPORT_FILE_COMPLETE, REPORT_FILE_GIVEN_UP };
void report_progress_file(const char *path, enum report_file_state state, uint64_t done,
                          uint64_t size);

#endif
