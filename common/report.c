/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that prints to people. Decides how a line looks in text, JSON and syslog, and
 * keeps lines whole; what is worth saying is decided by its callers. Needs no memory of
 * its own, so that "out of memory" can be reported too.
 *
 * Every text passes text_clean() before it is written: what follows may count on well-formed UTF-8
 * without control characters, for which JSON has to escape nothing but quote and backslash.
 */
#include "report_int.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>

struct report_setup report_setup = { .program = "modeldisk",
	                             .max_level = REPORT_NOTE,
	                             .syslog_fd = -1 };

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static bool bar_is_shown; /* output_lock */

static const struct {
	const char *name, *mark;
	int priority;
} levels[] = {
	[REPORT_ERROR] = { "error", "", LOG_ERR },
	[REPORT_WARNING] = { "warning", "warning: ", LOG_WARNING },
	[REPORT_NOTE] = { "note", "", LOG_NOTICE },
	[REPORT_DEBUG] = { "debug", "debug: ", LOG_DEBUG },
};

void report_start(const char *program, enum report_format format, enum report_level max_level)
{
	report_setup.program = program;
	report_setup.format = format;
	report_setup.max_level = max_level;
	tzset(); /* gmtime_r(3) would open the time zone's file, perhaps where none can be opened */
}

/*
 * Not syslog(3), which opens and connects when it likes. A log daemon that does not keep up holds
 * the program for a while, so that no burst is lost, but not for ever.
 */
int report_to_syslog(const char *path)
{
	scoped_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 1 };

	if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
		return -1;
	memcpy(at.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	report_setup.syslog_fd = take_fd(&fd);
	return report_setup.syslog_fd;
}

/* ---- lines ---- */

void report_line_add(struct report_line *l, const char *fmt, ...)
{
	size_t room = sizeof(l->text) - l->len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(l->text + l->len, room, fmt, args);
	va_end(args);
	l->len += n < 0 ? 0 : MIN((size_t)n, room - 1);
}

void report_line_add_member(struct report_line *l, const char *key, const char *value)
{
	char clean[REPORT_MESSAGE_LEN], escaped[2 * REPORT_MESSAGE_LEN];
	char *e = escaped;

	text_clean(value, strlen(value), clean, sizeof(clean));
	for (const char *c = clean; *c; c++) {
		if (*c == '"' || *c == '\\')
			*e++ = '\\';
		*e++ = *c;
	}
	*e = '\0';
	if (l->len + strlen(key) + strlen(escaped) + sizeof(",\"\":\"\"}\n") > sizeof(l->text))
		return;
	report_line_add(l, "%s\"%s\":\"%s\"", l->len > 1 ? "," : "", key, escaped);
}

void report_put(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody is left to tell */
		text += n;
		len -= (size_t)n;
	}
}

void report_put_bar(const struct report_line *l)
{
	report_put(l->text, l->len);
	bar_is_shown = true;
}

void report_lock(void)
{
	pthread_mutex_lock(&output_lock);
}

bool report_try_lock(void)
{
	return pthread_mutex_trylock(&output_lock) == 0;
}

void report_unlock(void)
{
	pthread_mutex_unlock(&output_lock);
}

static void put_line(const struct report_line *l)
{
	static const char wipe[] = "\r\033[K";

	pthread_mutex_lock(&output_lock);
	if (bar_is_shown)
		report_put(wipe, sizeof(wipe) - 1);
	bar_is_shown = false;
	report_put(l->text, l->len);
	pthread_mutex_unlock(&output_lock);
}

static void line_start_json(struct report_line *l, enum report_level level)
{
	char stamp[64];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ", now.tv_nsec / 1000000);
	report_line_add(l, "{");
	report_line_add_member(l, "time", stamp);
	report_line_add_member(l, "level", levels[level].name);
}

/* RFC 3164 as log daemons take it on their own machine: they know the time themselves. */
static void send_to_syslog(int priority, const char *clean)
{
	struct report_line l = { .len = 0 };

	report_line_add(&l, "<%d>%s[%ld]: %s", LOG_DAEMON | priority, report_setup.program,
	                (long)getpid(), clean);
	if (send(report_setup.syslog_fd, l.text, l.len, MSG_NOSIGNAL) < 0)
		return; /* nobody is left to tell */
}

void report_event(enum report_level level, const char *message, const char *const fields[])
{
	struct report_line line = { .len = 0 };
	char clean[REPORT_MESSAGE_LEN];

	if (level > report_setup.max_level)
		return;
	text_clean(message, strlen(message), clean, sizeof(clean));
	if (report_setup.syslog_fd >= 0)
		send_to_syslog(levels[level].priority, clean);
	if (report_setup.format == REPORT_JSON) {
		line_start_json(&line, level);
		report_line_add_member(&line, "message", message);
		for (size_t i = 0; fields && fields[i]; i += 2)
			report_line_add_member(&line, fields[i], fields[i + 1]);
		report_line_add(&line, "}\n");
	} else {
		report_line_add(&line, "%s: %s%s\n", report_setup.program, levels[level].mark,
		                clean);
	}
	put_line(&line);
}

void report(enum report_level level, const char *fmt, ...)
{
	char message[REPORT_MESSAGE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	report_event(level, message, NULL);
}

int report_diag(const struct diag *d)
{
	const char *code = d->err < 0 ? strerrorname_np(-d->err) : NULL;
	const char *const fields[] = { "errno", code, NULL };

	if (d->err != 0)
		report_event(REPORT_ERROR, d->text[0] ? d->text : strerror(-d->err),
		             code ? fields : NULL);
	return diag_exit_status(d->err);
}
