/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of one long piece of work. Decides when it is worth a redraw, how fast it goes and how
 * long it will take; lines and the lock are report.c's.
 */
#include "report_int.h"
#include "text.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#define NS_PER_S           INT64_C(1000000000)
#define BAR_INTERVAL_NS    (NS_PER_S / 10)
#define JSON_INTERVAL_NS   NS_PER_S
#define LINES_INTERVAL_NS  (10 * NS_PER_S)
#define RATE_MEMORY_S      5.0 /* a change of speed shows in the rate after about this long */
#define BAR_DEFAULT_COLS   80
#define BAR_MIN_CELLS      10
#define BAR_MAX_CELLS      40
#define BAR_FIGURES_COLS   44 /* kept free, so that the bar does not change its length */
#define BAR_FILES_COLS     28 /* kept free while there are files: names say more than a bar */
#define PROGRESS_LABEL_LEN 128
#define FILE_MAX           64

enum progress_style { STYLE_OFF, STYLE_BAR, STYLE_LINES, STYLE_JSON };

/* One that is on its way. */
struct file {
	char name[PROGRESS_LABEL_LEN];
};

static struct {
	_Atomic(enum progress_style) style;
	_Atomic uint64_t done;
	_Atomic int64_t next_ns; /* monotonic time of the next redraw */
	/* under report_lock() */
	char label[PROGRESS_LABEL_LEN];
	uint64_t total;
	int64_t start_ns, last_ns;
	uint64_t last_done;
	double rate;                /* bytes per second, smoothed; 0: not known yet */
	struct file file[FILE_MAX]; /* in the order of their beginning, without gaps */
	unsigned file_cnt;
} progress;

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
	if (mode == REPORT_PROGRESS_AUTO && report_setup.max_level < REPORT_NOTE)
		return STYLE_OFF;
	/* anything else would break a log that is read as one JSON object a line */
	if (mode == REPORT_PROGRESS_JSON || report_setup.format == REPORT_JSON)
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

/* What a person wants to know at one moment. Under the lock. */
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
static void add_figures(struct report_line *l, const struct snapshot *s)
{
	char done[SIZE_TEXT_LEN], total[SIZE_TEXT_LEN], rate[SIZE_TEXT_LEN], eta[32];

	size_format(s->done, done);
	size_format(s->total, total);
	size_format(s->rate, rate);
	if (s->total == 0)
		report_line_add(l, "%s  %s/s", done, rate);
	else
		report_line_add(l, "%3u%%  %s/%s  %s/s  %s left", percent(s), done, total, rate,
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

/* The one that takes longest, and how many others; whatever room is left for them. */
static void add_files(struct report_line *l)
{
	if (progress.file_cnt > 1)
		report_line_add(l, "  %u files: %s", progress.file_cnt, progress.file[0].name);
	else if (progress.file_cnt == 1)
		report_line_add(l, "  %s", progress.file[0].name);
}

/*
 * "label [####......]  43% ..." on one line: where there is no room, the bar goes first, and what
 * still does not fit is cut. The last column stays free, since terminals differ in what it does.
 */
static void draw_bar(const struct snapshot *s)
{
	struct report_line line = { .len = 0 }, figures = { .len = 0 };
	size_t cols = terminal_cols() - 1, used, cells;

	add_figures(&figures, s);
	used = count_columns(progress.label) + MAX(figures.len, BAR_FIGURES_COLS) + sizeof(" [] ");
	used += progress.file_cnt > 0 ? BAR_FILES_COLS : 0;
	cells = cols > used && s->total > 0 ? MIN(cols - used, BAR_MAX_CELLS) : 0;
	report_line_add(&line, "\r%s ", progress.label);
	if (cells >= BAR_MIN_CELLS) {
		size_t filled = percent(s) * cells / 100;

		report_line_add(&line, "[");
		for (size_t i = 0; i < cells; i++)
			report_line_add(&line, "%c", i < filled ? '#' : '.');
		report_line_add(&line, "] ");
	}
	report_line_add(&line, "%s", figures.text);
	add_files(&line);
	cut_columns(line.text + 1, cols);
	line.len = strlen(line.text);
	report_line_add(&line, "\033[K"); /* erases what an older, longer bar left */
	report_put_bar(&line);
}

static void put_progress_line(const struct snapshot *s)
{
	struct report_line line = { .len = 0 };

	report_line_add(&line, "%s: %s: ", report_setup.program, progress.label);
	add_figures(&line, s);
	report_line_add(&line, "\n");
	report_put(line.text, line.len);
}

static void put_progress_object(const struct snapshot *s)
{
	struct report_line line = { .len = 0 };

	report_line_add(&line, "{");
	report_line_add_member(&line, "event", "progress");
	report_line_add_member(&line, "label", progress.label);
	report_line_add(&line, ",\"done\":%" PRIu64 ",\"total\":%" PRIu64 ",\"rate\":%" PRIu64,
	                s->done, s->total, s->rate);
	if (s->eta_s >= 0)
		report_line_add(&line, ",\"eta\":%" PRId64 "}\n", s->eta_s);
	else
		report_line_add(&line, ",\"eta\":null}\n");
	report_put(line.text, line.len);
}

/* Under the lock. */
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

	report_lock();
	text_clean(label, strlen(label), progress.label, sizeof(progress.label));
	progress.done = 0;
	progress.last_done = 0;
	progress.total = total_bytes;
	progress.start_ns = now;
	progress.last_ns = now;
	progress.rate = 0;
	progress.next_ns = now + interval_ns(style);
	progress.file_cnt = 0;
	if (style == STYLE_BAR || style == STYLE_JSON)
		show_progress(style, now);
	progress.style = style;
	report_unlock();
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
	if (now < progress.next_ns || !report_try_lock())
		return;
	if (now >= progress.next_ns)
		show_progress(style, now);
	report_unlock();
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
	report_lock();
	progress.style = STYLE_OFF;
	/* the last word on speed is the average over the whole */
	progress.last_ns = progress.start_ns;
	progress.last_done = 0;
	progress.rate = 0;
	s = take_snapshot(now);
	if (style == STYLE_JSON)
		put_progress_object(&s);
	report_unlock();
	if (style != STYLE_JSON)
		report_summary(&s);
}

/* ---- files in flight ---- */

/* Under the lock. Files that find no room are not shown. */
static void remember_file(const char *name)
{
	if (progress.file_cnt < FILE_MAX)
		memcpy(progress.file[progress.file_cnt++].name, name, PROGRESS_LABEL_LEN);
}

static void forget_file(const char *name)
{
	for (unsigned i = 0; i < progress.file_cnt; i++) {
		if (strcmp(progress.file[i].name, name) != 0)
			continue;
		progress.file_cnt--;
		memmove(&progress.file[i], &progress.file[i + 1],
		        (progress.file_cnt - i) * sizeof(progress.file[0]));
		return;
	}
}

static void put_file_object(const char *path, const char *state, uint64_t done, uint64_t size)
{
	struct report_line line = { .len = 0 };

	report_line_add(&line, "{");
	report_line_add_member(&line, "event", "file");
	report_line_add_member(&line, "path", path);
	report_line_add_member(&line, "state", state);
	report_line_add(&line, ",\"done\":%" PRIu64 ",\"size\":%" PRIu64 "}\n", done, size);
	report_put(line.text, line.len);
}

void report_progress_file(const char *path, enum report_file_state state, uint64_t done,
                          uint64_t size)
{
	static const char *const words[] = {
		[REPORT_FILE_BEGUN] = "begun",
		[REPORT_FILE_COMPLETE] = "complete",
		[REPORT_FILE_GIVEN_UP] = "given up",
	};
	char name[PROGRESS_LABEL_LEN];

	if (progress.style == STYLE_OFF)
		return;
	text_clean(path, strlen(path), name, sizeof(name));
	report_lock();
	if (state == REPORT_FILE_BEGUN)
		remember_file(name);
	else
		forget_file(name);
	if (progress.style == STYLE_JSON)
		put_file_object(path, words[state], done, size);
	report_unlock();
}
