/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What report.c and report_progress.c share: lines, and the lock that keeps them whole. For these
 * two only.
 */
#ifndef MODELDISK_REPORT_INT_H
#define MODELDISK_REPORT_INT_H

#include "report.h"

#define REPORT_MESSAGE_LEN 4096
/* Room for a message with every character escaped, and as much again for fields. */
#define REPORT_LINE_LEN (4 * REPORT_MESSAGE_LEN)

/* Written by report_start() and report_to_syslog() before there are threads. */
struct report_setup {
	const char *program;
	enum report_format format;
	enum report_level max_level;
	int syslog_fd;
};
extern struct report_setup report_setup;

struct report_line {
	size_t len;
	char text[REPORT_LINE_LEN];
};
void report_line_add(struct report_line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "key":"value", whole or not at all, so that a long line stays one JSON object. */
void report_line_add_member(struct report_line *l, const char *key, const char *value);

/* Held while something is written: keeps lines whole and the bar out of them. */
void report_lock(void);
bool report_try_lock(void);
void report_unlock(void);
/* Under the lock. All of it in one write(2), so that lines of several processes do not mix. */
void report_put(const char *text, size_t len);
/* The same, for a line that the next one has to wipe away. */
void report_put_bar(const struct report_line *l);

#endif
