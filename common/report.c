/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that prints to people. Decides how a line looks in text, JSON and syslog, and when
 * progress is worth a redraw; what is worth saying is decided by its callers. Needs no memory of
 * its own, so that "out of memory" can be reported too.
 *
 * Every text passes text_clean() before it is written: what follows may count on well-formed UTF-8
 * without control characters, for which JSON has to escape nothing but quote and backslash.
 */
#include "report.h"

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

#define MESSAGE_LEN 4096
/* Room for a message with every character escaped, and as much again for fields. */
#define LINE_LEN (4 * MESSAGE_LEN)

#define NS_PER_S           INT64_C(1000000000)
#define BAR_INTERVAL_NS    (NS_PER_S / 10)
#define JSON_INTERVAL_NS   NS_PER_S
#define LINES_INTERVAL_NS  (10 * NS_PER_S)
#define RATE_MEMORY_S      5.0 /* a change of speed shows in the rate after about this long */
#define BAR_DEFAULT_COLS   80
#define BAR_MIN_CELLS      10
#define BAR_MAX_CELLS      40
#define BAR_FIGURES_COLS   44 /* kept free, so that the bar does not change its length */
#define PROGRESS_LABEL_LEN 128

enum progress_style { STYLE_OFF, STYLE_BAR, STYLE_LINES, STYLE_JSON };

/* Written by report_start() and report_to_syslog() before there are threads. */
static struct {
	const char *program;
	enum report_format format;
	enum report_level max_level;
	int syslog_fd;
} setup = { .program = "modeldisk", .max_level = REPORT_NOTE, .syslog_fd = -1 };

/* Held while something is written: keeps lines whole and the bar out of them. */
static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	_Atomic(enum progress_style) style;
	_Atomic uint64_t done;
	_Atomic int64_t next_ns; /* monotonic time of the next redraw */
	/* under output_lock */
	char label[PROGRESS_LABEL_LEN];
	uint64_t total;
	int64_t start_ns, last_ns;
	uint64_t last_done;
	double rate; /* bytes per second, smoothed; 0: not known yet */
	bool bar_is_shown;
} progress;

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
	setup.program = program;
	setup.format = format;
	setup.max_level = max_level;
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
	setup.syslog_fd = take_fd(&fd);
	return setup.syslog_fd;
}

/* ---- lines ---- */

struct line {
	size_t len;
	char text[LINE_LEN];
};

static void PRINTF_LIKE(2, 3) line_add(struct line *l, const char *fmt, ...)
{
	size_t room = sizeof(l->text) - l->len;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(l->text + l->len, room, fmt, args);
	va_end(args);
	l->len += n < 0 ? 0 : MIN((size_t)n, room - 1);
}

/* "key":"value", whole or not at all, so that a long line stays one JSON object. */
static void line_add_member(struct line *l, const char *key, const char *value)
{
	char clean[MESSAGE_LEN], escaped[2 * MESSAGE_LEN];
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
	line_add(l, "%s\"%s\":\"%s\"", l->len > 1 ? "," : "", key, escaped);
}

/* All of the line in one write(2), so that lines of several processes do not mix. */
static void put(const char *text, size_t len)
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

static void put_line(const struct line *l)
{
	static const char wipe[] = "\r\033[K";

	pthread_mutex_lock(&output_lock);
	if (progress.bar_is_shown)
		put(wipe, sizeof(wipe) - 1);
	progress.bar_is_shown = false;
	put(l->text, l->len);
	pthread_mutex_unlock(&output_lock);
}

static void line_start_json(struct line *l, enum report_level level)
{
	char stamp[64];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + n, sizeof(stamp) - n, ".%03ldZ", now.tv_nsec / 1000000);
	line_add(l, "{");
	line_add_member(l, "time", stamp);
	line_add_member(l, "level", levels[level].name);
}

/* RFC 3164 as log daemons take it on their own machine: they know the time themselves. */
static void send_to_syslog(int priority, const char *clean)
{
	struct line l = { .len = 0 };

	line_add(&l, "<%d>%s[%ld]: %s", LOG_DAEMON | priority, setup.program, (long)getpid(),
	         clean);
	if (send(setup.syslog_fd, l.text, l.len, MSG_NOSIGNAL) < 0)
		return; /* nobody is left to tell */
}

void report_event(enum report_level level, const char *message, const char *const fields[])
{
	struct line line = { .len = 0 };
	char clean[MESSAGE_LEN];

	if (level > setup.max_level)
		return;
	text_clean(message, strlen(message), clean, sizeof(clean));
	if (setup.syslog_fd >= 0)
		send_to_syslog(levels[level].priority, clean);
	if (setup.format == REPORT_JSON) {
		line_start_json(&line, level);
		line_add_member(&line, "message", message);
		for (size_t i = 0; fields && fields[i]; i += 2)
			line_add_member(&line, fields[i], fields[i + 1]);
		line_add(&line, "}\n");
	} else {
		line_add(&line, "%s: %s%s\n", setup.program, levels[level].mark, clean);
	}
	put_line(&line);
}

void report(enum report_level level, const char *fmt, ...)
{
	char message[MESSAGE_LEN];
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

/* ---- progress ---- */

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static bool stderr_is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static size_t terminal_cols(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
		return BAR_DEFAULT_COLS;
	return w.ws_col;
}

static enum progress_style choose_style(enum report_progress_mode mode)
{
	if (mode == REPORT_PROGRESS_OFF)
		return STYLE_OFF;
	if (mode == REPORT_PROGRESS_AUTO && setup.max_level < REPORT_NOTE)
		return STYLE_OFF;
	/* anything else would break a log that is read as one JSON object a line */
	if (mode == REPORT_PROGRESS_JSON || setup.format == REPORT_JSON)
		return STYLE_JSON;
	if (mode == REPORT_PROGRESS_AUTO)
		return stderr_is_terminal() ? STYLE_BAR : STYLE_LINES;
	return mode == REPORT_PROGRESS_BAR ? STYLE_BAR : STYLE_LINES;
}

static int64_t interval_ns(enum progress_style style)
{
	switch (style) {
	case STYLE_BAR:
		return BAR_INTERVAL_NS;
	case STYLE_JSON:
		return JSON_INTERVAL_NS;
	default:
		return LINES_INTERVAL_NS;
	}
}

/* What a person wants to know at one moment. Under output_lock. */
struct snapshot {
	uint64_t done, total, rate;
	int64_t elapsed_s, eta_s; /* eta_s -1: cannot be told */
};

static struct snapshot take_snapshot(int64_t now)
{
	struct snapshot s = { .done = progress.done, .total = progress.total, .eta_s = -1 };
	double step_s = (double)(now - progress.last_ns) / (double)NS_PER_S;

	if (step_s > 0) {
		double rate = (double)(s.done - progress.last_done) / step_s;
		double weight = progress.rate > 0 ? step_s / (step_s + RATE_MEMORY_S) : 1;

		progress.rate += weight * (rate - progress.rate);
		progress.last_ns = now;
		progress.last_done = s.done;
	}
	s.rate = (uint64_t)progress.rate;
	s.elapsed_s = (now - progress.start_ns) / NS_PER_S;
	if (s.total > 0 && s.done >= s.total)
		s.eta_s = 0;
	else if (s.total > 0 && s.rate > 0)
		s.eta_s = (int64_t)((s.total - s.done) / s.rate);
	return s;
}

static const char *format_duration(int64_t s, char out[32])
{
	if (s < 0)
		snprintf(out, 32, "-:--");
	else if (s < 3600)
		snprintf(out, 32, "%" PRId64 ":%02d", s / 60, (int)(s % 60));
	else
		snprintf(out, 32, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60),
		         (int)(s % 60));
	return out;
}

static unsigned percent(const struct snapshot *s)
{
	if (s->total == 0)
		return 0;
	return (unsigned)(100 * ((double)MIN(s->done, s->total) / (double)s->total));
}

/* " 43%  1.2G/2.9G  350.1M/s  0:05 left" */
static void add_figures(struct line *l, const struct snapshot *s)
{
	char done[SIZE_TEXT_LEN], total[SIZE_TEXT_LEN], rate[SIZE_TEXT_LEN], eta[32];

	size_format(s->done, done);
	size_format(s->total, total);
	size_format(s->rate, rate);
	if (s->total == 0)
		line_add(l, "%s  %s/s", done, rate);
	else
		line_add(l, "%3u%%  %s/%s  %s/s  %s left", percent(s), done, total, rate,
		         format_duration(s->eta_s, eta));
}

static size_t count_columns(const char *utf8)
{
	size_t n = 0;

	for (; *utf8; utf8++)
		n += (*utf8 & 0xc0) != 0x80;
	return n;
}

static void cut_columns(char *utf8, size_t cols)
{
	size_t n = 0;

	for (; *utf8; utf8++) {
		n += (*utf8 & 0xc0) != 0x80;
		if (n > cols) {
			*utf8 = '\0';
			return;
		}
	}
}

/*
 * "label [####......]  43% ..." on one line: where there is no room, the bar goes first, and what
 * still does not fit is cut. The last column stays free, since terminals differ in what it does.
 */
static void draw_bar(const struct snapshot *s)
{
	struct line line = { .len = 0 }, figures = { .len = 0 };
	size_t cols = terminal_cols() - 1, used, cells;

	add_figures(&figures, s);
	used = count_columns(progress.label) + MAX(figures.len, BAR_FIGURES_COLS) + sizeof(" [] ");
	cells = cols > used && s->total > 0 ? MIN(cols - used, BAR_MAX_CELLS) : 0;
	line_add(&line, "\r%s ", progress.label);
	if (cells >= BAR_MIN_CELLS) {
		size_t filled = percent(s) * cells / 100;

		line_add(&line, "[");
		for (size_t i = 0; i < cells; i++)
			line_add(&line, "%c", i < filled ? '#' : '.');
		line_add(&line, "] ");
	}
	line_add(&line, "%s", figures.text);
	cut_columns(line.text + 1, cols);
	line.len = strlen(line.text);
	line_add(&line, "\033[K"); /* erases what an older, longer bar left */
	put(line.text, line.len);
	progress.bar_is_shown = true;
}

static void put_progress_line(const struct snapshot *s)
{
	struct line line = { .len = 0 };

	line_add(&line, "%s: %s: ", setup.program, progress.label);
	add_figures(&line, s);
	line_add(&line, "\n");
	put(line.text, line.len);
}

static void put_progress_object(const struct snapshot *s)
{
	struct line line = { .len = 0 };

	line_add(&line, "{");
	line_add_member(&line, "event", "progress");
	line_add_member(&line, "label", progress.label);
	line_add(&line, ",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"rate\":%" PRIu64, s->done,
	         s->total, s->rate);
	if (s->eta_s >= 0)
		line_add(&line, ",\"eta\":%" PRId64 "}\n", s->eta_s);
	else
		line_add(&line, ",\"eta\":null}\n");
	put(line.text, line.len);
}

/* Under output_lock. */
static void show_progress(enum progress_style style, int64_t now)
{
	struct snapshot s = take_snapshot(now);

	progress.next_ns = now + interval_ns(style);
	if (style == STYLE_BAR)
		draw_bar(&s);
	else if (style == STYLE_JSON)
		put_progress_object(&s);
	else
		put_progress_line(&s);
}

void report_progress_start(enum report_progress_mode mode, const char *label, uint64_t total_bytes)
{
	enum progress_style style = choose_style(mode);
	int64_t now = monotonic_ns();

	pthread_mutex_lock(&output_lock);
	text_clean(label, strlen(label), progress.label, sizeof(progress.label));
	progress.done = 0;
	progress.last_done = 0;
	progress.total = total_bytes;
	progress.start_ns = now;
	progress.last_ns = now;
	progress.rate = 0;
	progress.next_ns = now + interval_ns(style);
	if (style == STYLE_BAR || style == STYLE_JSON)
		show_progress(style, now);
	progress.style = style;
	pthread_mutex_unlock(&output_lock);
}

void report_progress_add(uint64_t bytes)
{
	enum progress_style style = progress.style;
	int64_t now;

	if (style == STYLE_OFF)
		return;
	progress.done += bytes;
	now = monotonic_ns();
	/* whoever holds the lock is writing: this redraw can wait for the next call */
	if (now < progress.next_ns || pthread_mutex_trylock(&output_lock) != 0)
		return;
	if (now >= progress.next_ns)
		show_progress(style, now);
	pthread_mutex_unlock(&output_lock);
}

/* "label: 1.2G of 2.9G in 0:12, 100.0M/s" */
static void report_summary(const struct snapshot *s)
{
	char done[SIZE_TEXT_LEN], total[SIZE_TEXT_LEN], rate[SIZE_TEXT_LEN], elapsed[32];
	bool partly = s->done < s->total;

	size_format(s->done, done);
	size_format(s->total, total);
	size_format(s->rate, rate);
	report_note("%s: %s%s%s in %s, %s/s", progress.label, done, partly ? " of " : "",
	            partly ? total : "", format_duration(s->elapsed_s, elapsed), rate);
}

void report_progress_end(void)
{
	enum progress_style style = progress.style;
	int64_t now = monotonic_ns();
	struct snapshot s;

	if (style == STYLE_OFF)
		return;
	pthread_mutex_lock(&output_lock);
	progress.style = STYLE_OFF;
	/* the last word on speed is the average over the whole */
	progress.last_ns = progress.start_ns;
	progress.last_done = 0;
	progress.rate = 0;
	s = take_snapshot(now);
	if (style == STYLE_JSON)
		put_progress_object(&s);
	pthread_mutex_unlock(&output_lock);
	if (style != STYLE_JSON)
		report_summary(&s);
}
