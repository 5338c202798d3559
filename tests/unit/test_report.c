/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people and machines read. Each case runs in a process of its own, because how to print is
 * decided once per process, with its stderr caught in a file or a pseudo-terminal.
 */
#include "support.h"

#include "report.h"
#include "text.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sys/socket.h>
#include <sys/un.h>

#define OUTPUT_LEN (1 << 20)

struct output {
	size_t len;
	char text[OUTPUT_LEN];
};

typedef void (*speaker)(void);

static void speak_and_exit(speaker speak, int fd)
{
	dup2(fd, STDERR_FILENO);
	speak();
	_exit(0);
}

/* What speak() writes to stderr. Static: cases follow each other. */
static const struct output *listen_to(speaker speak)
{
	static struct output out;
	FILE *file = tmpfile();
	pid_t child;
	int status = -1;

	assert_non_null(file);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		speak_and_exit(speak, fileno(file));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	rewind(file);
	out.len = fread(out.text, 1, sizeof(out.text) - 1, file);
	out.text[out.len] = '\0';
	fclose(file);
	return &out;
}

/* The same on a terminal of the given width. */
static const struct output *watch(speaker speak, unsigned short cols)
{
	static struct output out;
	struct winsize size = { .ws_row = 25, .ws_col = cols };
	int master, slave, status = -1;
	ssize_t n;
	pid_t child;

	setenv("TERM", "xterm", 1);
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		speak_and_exit(speak, slave);
	close(slave);
	out.len = 0;
	/* EIO: the last writer has gone */
	while ((n = read(master, out.text + out.len, sizeof(out.text) - 1 - out.len)) > 0)
		out.len += (size_t)n;
	out.text[out.len] = '\0';
	close(master);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	return &out;
}

/* Line number i of the output as a JSON object; NULL behind the last. */
static json_t *object_of_line(const struct output *out, size_t i)
{
	const char *line = out->text;
	json_t *object;

	for (; i > 0; i--) {
		line = strchr(line, '\n');
		assert_non_null(line);
		line++;
	}
	if (!*line)
		return NULL;
	assert_non_null(strchr(line, '\n'));
	object = json_loadb(line, (size_t)(strchr(line, '\n') - line), 0, NULL);
	assert_true(json_is_object(object));
	return object;
}

static const char *member(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* ---- lines ---- */

static void say_each_level(void)
{
	report_start("prog", REPORT_TEXT, REPORT_DEBUG);
	report_error("disk %d is broken", 1);
	report_warning("take care");
	report_note("done");
	report_debug("detail");
}

static void text_lines_name_the_program_and_mark_the_level(void **state)
{
	(void)state;
	assert_string_equal(listen_to(say_each_level)->text, "prog: disk 1 is broken\n"
	                                                     "prog: warning: take care\n"
	                                                     "prog: done\n"
	                                                     "prog: debug: detail\n");
}

static void say_with_few_levels(void)
{
	report_start("prog", REPORT_TEXT, REPORT_WARNING);
	report_note("not this");
	report_debug("nor this");
	report_event(REPORT_NOTE, "nor that", NULL);
	report_warning("but this");
}

static void levels_above_the_maximum_are_dropped(void **state)
{
	(void)state;
	assert_string_equal(listen_to(say_with_few_levels)->text, "prog: warning: but this\n");
}

static void say_event_in_json(void)
{
	static const char *const fields[] = {
		"file", "a \"quoted\" \\ name", "bytes", "12", "raw", "\xff\n", NULL
	};

	report_start("prog", REPORT_JSON, REPORT_NOTE);
	report_event(REPORT_WARNING, "caf\xc3\xa9 \"x\" \x1b[31m", fields);
	report_error("plain");
}

static void json_lines_are_objects_with_the_fields_as_members(void **state)
{
	const struct output *out = listen_to(say_event_in_json);
	json_t *event = object_of_line(out, 0), *plain = object_of_line(out, 1);

	(void)state;
	assert_int_equal(json_object_size(event), 6);
	assert_string_equal(member(event, "level"), "warning");
	assert_string_equal(member(event, "message"), "caf\xc3\xa9 \"x\" \\x1b[31m");
	assert_string_equal(member(event, "file"), "a \"quoted\" \\ name");
	assert_string_equal(member(event, "bytes"), "12");
	assert_string_equal(member(event, "raw"), "\\xff\\n");
	assert_int_equal(strlen(member(event, "time")), strlen("2024-01-01T00:00:00.000Z"));
	assert_int_equal(json_object_size(plain), 3);
	assert_string_equal(member(plain, "message"), "plain");
	assert_null(object_of_line(out, 2));
	json_decref(event);
	json_decref(plain);
}

static void say_random_bytes(void)
{
	char raw[400];

	for (uint64_t seed = 0; seed < 200; seed++) {
		const char *const fields[] = { "raw", raw, NULL };

		support_fill(raw, sizeof(raw), seed);
		raw[sizeof(raw) - 1] = '\0';
		report_start("prog", seed % 2 ? REPORT_JSON : REPORT_TEXT, REPORT_NOTE);
		report_event(REPORT_NOTE, raw, fields);
		report_error("%s", raw);
	}
}

static void no_control_byte_and_no_malformed_text_is_printed(void **state)
{
	const struct output *out = listen_to(say_random_bytes);
	size_t line_cnt = 0;

	(void)state;
	assert_true(utf8_is_valid(out->text, out->len));
	for (size_t i = 0; i < out->len; i++) {
		line_cnt += out->text[i] == '\n';
		assert_true(out->text[i] == '\n' || (uint8_t)out->text[i] >= ' ');
		assert_true(out->text[i] != 0x7f);
	}
	assert_int_equal(line_cnt, 400);
}

static void say_too_much(void)
{
	static char text[100000], fields_text[3000];
	const char *const fields[] = { "a", fields_text, "b", fields_text, "c",    fields_text,
		                       "d", fields_text, "e", fields_text, "f",    fields_text,
		                       "g", fields_text, "h", fields_text, "last", "x",
		                       NULL };

	memset(text, '"', sizeof(text) - 1);
	memset(fields_text, '\\', sizeof(fields_text) - 1);
	report_start("prog", REPORT_JSON, REPORT_NOTE);
	report_event(REPORT_NOTE, text, fields);
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_event(REPORT_NOTE, text, fields);
}

static void too_long_lines_are_cut_and_stay_whole_objects(void **state)
{
	const struct output *out = listen_to(say_too_much);
	json_t *object = object_of_line(out, 0);
	const char *message = member(object, "message");

	(void)state;
	assert_string_equal(message + strlen(message) - 4, "\"...");
	/* fields that do not fit are left out whole, later ones may fit again */
	assert_int_equal(strlen(member(object, "a")), 2999);
	assert_null(member(object, "h"));
	assert_string_equal(member(object, "last"), "x");
	assert_string_equal(out->text + out->len - 5, "\"...\n");
	json_decref(object);
}

static void say_diags(void)
{
	struct diag d = DIAG_INIT;

	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	if (report_diag(&d) != 0)
		_exit(1);
	diag_set(&d, -EBADMSG, "disk.img: block 17 does not match");
	if (report_diag(&d) != 3)
		_exit(1);
	d = (struct diag){ .err = -ENOENT };
	if (report_diag(&d) != 1)
		_exit(1);
	report_start("prog", REPORT_JSON, REPORT_NOTE);
	diag_set(&d, -EBADMSG, "disk.img: block 17 does not match");
	report_diag(&d);
}

static void diag_is_told_in_one_line_with_its_code_for_machines(void **state)
{
	const struct output *out = listen_to(say_diags);
	static const char text[] = "prog: disk.img: block 17 does not match\n"
	                           "prog: No such file or directory\n";
	json_t *object = object_of_line(out, 2);

	(void)state;
	assert_memory_equal(out->text, text, strlen(text));
	assert_string_equal(member(object, "errno"), "EBADMSG");
	assert_string_equal(member(object, "level"), "error");
	json_decref(object);
}

static void say_without_memory(void)
{
	unsigned long before = support_allocation_count();
	struct diag d = DIAG_INIT;

	report_start("prog", REPORT_JSON, REPORT_DEBUG);
	diag_set(&d, -ENOMEM, "out of memory");
	report_diag(&d);
	report_progress_start(REPORT_PROGRESS_JSON, "image", 100);
	report_progress_add(100);
	report_progress_end();
	if (support_allocation_count() != before)
		_exit(1);
}

static void reporting_allocates_nothing(void **state)
{
	(void)state;
	assert_non_null(strstr(listen_to(say_without_memory)->text, "out of memory"));
}

static void *say_many(void *arg)
{
	for (int i = 0; i < 200; i++) {
		report_note("thread %s line %d", (const char *)arg, i);
		report_progress_add(1);
	}
	return NULL;
}

static void say_from_threads(void)
{
	static char names[4][2] = { "a", "b", "c", "d" };
	pthread_t t[ARRAY_LEN(names)];

	report_start("prog", REPORT_JSON, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_JSON, "work", 800);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (pthread_create(&t[i], NULL, say_many, names[i]) != 0)
			_exit(1);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	report_progress_end();
}

static void lines_of_several_threads_stay_whole(void **state)
{
	const struct output *out = listen_to(say_from_threads);
	json_t *object;
	size_t line_cnt = 0;
	json_int_t done = 0;

	(void)state;
	for (size_t i = 0; (object = object_of_line(out, i)); i++) {
		const char *message = member(object, "message");

		line_cnt += message && strncmp(message, "thread ", 7) == 0;
		if (!message)
			done = json_integer_value(json_object_get(object, "done"));
		json_decref(object);
	}
	assert_int_equal(line_cnt, 800);
	assert_int_equal(done, 800);
}

/* ---- syslog ---- */

static char syslog_path[] = "/tmp/test_report_XXXXXX";

static void say_to_syslog(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_note("before");
	if (report_to_syslog(syslog_path) < 0)
		report_note("nobody listens");
	report_error("100%% \x1b broken");
	report_debug("dropped");
}

static void lines_go_to_syslog_as_well_once_asked(void **state)
{
	static const char *const said = "prog: before\nprog: 100% \\x1b broken\n";
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char got[256] = "", *text;

	(void)state;
	assert_true(mkstemp(syslog_path) >= 0 && unlink(syslog_path) == 0);
	strcpy(at.sun_path, syslog_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_string_equal(listen_to(say_to_syslog)->text, said);
	assert_true(recv(fd, got, sizeof(got) - 1, 0) > 0);
	/* LOG_DAEMON | LOG_ERR */
	assert_memory_equal(got, "<27>prog[", 9);
	text = strchr(got, ':');
	assert_non_null(text);
	assert_string_equal(text, ": 100% \\x1b broken");
	assert_true(recv(fd, got, sizeof(got), 0) < 0);
	close(fd);
	unlink(syslog_path);
}

static void a_log_daemon_that_is_not_there_is_no_failure(void **state)
{
	(void)state;
	assert_string_equal(listen_to(say_to_syslog)->text, "prog: before\n"
	                                                    "prog: nobody listens\n"
	                                                    "prog: 100% \\x1b broken\n");
}

/* ---- progress ---- */

static void progress_in_json(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_JSON, "an \"image\"\n", 1000);
	report_progress_add(400);
	report_progress_end();
	report_progress_start(REPORT_PROGRESS_JSON, "unknown", 0);
	report_progress_end();
}

static void json_progress_starts_at_zero_and_ends_with_what_was_done(void **state)
{
	const struct output *out = listen_to(progress_in_json);
	json_int_t first[2] = { -1, -1 }, last[2] = { -1, -1 };
	json_t *object;

	(void)state;
	for (size_t i = 0; (object = object_of_line(out, i)); i++) {
		bool unknown = strcmp(member(object, "label"), "unknown") == 0;
		json_int_t done = json_integer_value(json_object_get(object, "done"));
		json_int_t total = json_integer_value(json_object_get(object, "total"));

		assert_int_equal(json_object_size(object), 6);
		assert_string_equal(member(object, "event"), "progress");
		assert_string_equal(member(object, "label"),
		                    unknown ? "unknown" : "an \"image\"\\n");
		assert_int_equal(total, unknown ? 0 : 1000);
		assert_true(json_is_integer(json_object_get(object, "rate")));
		assert_true(json_is_null(json_object_get(object, "eta")) || done > 0);
		last[unknown] = done;
		if (first[unknown] < 0)
			first[unknown] = done;
		json_decref(object);
	}
	assert_true(first[false] == 0 && last[false] == 400);
	assert_true(first[true] == 0 && last[true] == 0);
}

static void files_in_flight(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_BAR, "work", 1000);
	report_progress_file("model-1", REPORT_FILE_BEGUN, 0, 500);
	report_progress_file("model-2", REPORT_FILE_BEGUN, 0, 500);
	report_progress_file("model-1", REPORT_FILE_COMPLETE, 500, 500);
	usleep(120000);
	report_progress_add(1);
	report_progress_file("model-3", REPORT_FILE_BEGUN, 0, 500);
	usleep(120000);
	report_progress_add(1);
	report_progress_end();
}

static void bar_names_the_file_that_takes_longest(void **state)
{
	const struct output *out = watch(files_in_flight, 120);

	(void)state;
	assert_null(strstr(out->text, "model-1"));
	assert_non_null(strstr(out->text, "left  model-2"));
	assert_non_null(strstr(out->text, "left  2 files: model-2"));
}

static void more_files_than_are_shown(void)
{
	char name[16];

	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_JSON, "work", 1000);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		report_progress_file(name, REPORT_FILE_BEGUN, (uint64_t)i, 500);
	}
	report_progress_file("never begun", REPORT_FILE_GIVEN_UP, 0, 1);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		report_progress_file(name, REPORT_FILE_COMPLETE, 500, 500);
	}
	report_progress_end();
	report_progress_file("after the end", REPORT_FILE_BEGUN, 0, 1);
}

static void every_file_is_an_event_for_machines(void **state)
{
	const struct output *out = listen_to(more_files_than_are_shown);
	size_t begun = 0, complete = 0, given_up = 0;
	json_t *object;

	(void)state;
	for (size_t i = 0; (object = object_of_line(out, i)); i++) {
		const char *word = member(object, "state");

		if (word && strcmp(word, "begun") == 0) {
			assert_int_equal(json_integer_value(json_object_get(object, "done")),
			                 begun);
			assert_int_equal(json_integer_value(json_object_get(object, "size")), 500);
			begun++;
		}
		complete += word && strcmp(word, "complete") == 0;
		given_up += word && strcmp(word, "given up") == 0;
		json_decref(object);
	}
	assert_int_equal(begun, 200);
	assert_int_equal(complete, 200);
	assert_int_equal(given_up, 1);
}

static void progress_with_json_lines(void)
{
	report_start("prog", REPORT_JSON, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_BAR, "image", 10);
	report_progress_add(10);
	report_progress_end();
}

static void bar_becomes_objects_where_lines_are_objects(void **state)
{
	const struct output *out = watch(progress_with_json_lines, 80);
	json_t *object = object_of_line(out, 1);

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(object, "done")), 10);
	json_decref(object);
}

static void progress_by_default(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_AUTO, "image", 2 * MIB);
	report_progress_add(MIB);
	report_note("in between");
	report_progress_add(MIB);
	report_progress_end();
	report_progress_add(MIB);
	report_progress_end();
}

static void log_gets_a_summary_and_no_bar(void **state)
{
	const struct output *out = listen_to(progress_by_default);
	static const char want[] = "prog: in between\nprog: image: 2.0M in ";

	(void)state;
	assert_memory_equal(out->text, want, strlen(want));
	assert_null(strchr(out->text, '\r'));
}

static void terminal_gets_a_bar_that_lines_wipe_away(void **state)
{
	const struct output *out = watch(progress_by_default, 80);
	static const char bar[] = "\rimage [", line[] = "\r\033[Kprog: in between\r\n",
	                  summary[] = "prog: image: 2.0M in ";

	(void)state;
	assert_memory_equal(out->text, bar, strlen(bar));
	assert_non_null(strstr(out->text, "  0%  0B/2.0M"));
	assert_non_null(strstr(out->text, line));
	assert_non_null(strstr(out->text, summary));
}

static void progress_quietly(void)
{
	report_start("prog", REPORT_TEXT, REPORT_WARNING);
	report_progress_start(REPORT_PROGRESS_AUTO, "image", 10);
	report_progress_add(10);
	report_progress_end();
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_OFF, "image", 10);
	report_progress_add(10);
	report_progress_end();
}

static void quiet_programs_show_no_progress(void **state)
{
	(void)state;
	assert_int_equal(watch(progress_quietly, 80)->len, 0);
}

static void progress_stopped_half_way(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_LINES, "image", 4 * GIB);
	report_progress_add(GIB);
	report_progress_end();
}

static void summary_says_what_is_missing(void **state)
{
	static const char want[] = "prog: image: 1.0G of 4.0G in ";

	(void)state;
	assert_memory_equal(listen_to(progress_stopped_half_way)->text, want, strlen(want));
}

static void progress_of_a_long_label(void)
{
	report_start("prog", REPORT_TEXT, REPORT_NOTE);
	report_progress_start(REPORT_PROGRESS_BAR,
	                      "gr\xc3\xbc\xc3\x9f"
	                      "e \x1b[31m from a label",
	                      MIB);
	_exit(0);
}

static void bar_never_leaves_its_line(void **state)
{
	(void)state;
	for (unsigned short cols = 1; cols < 130; cols++) {
		const struct output *out = watch(progress_of_a_long_label, cols);
		const char *end = strstr(out->text, "\033[K");
		size_t shown = 0;

		assert_non_null(end);
		for (const char *p = out->text + 1; p < end; p++) {
			shown += (*p & 0xc0) != 0x80;
			assert_true((uint8_t)*p >= ' ');
		}
		assert_true(shown < cols);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_lines_name_the_program_and_mark_the_level),
		cmocka_unit_test(levels_above_the_maximum_are_dropped),
		cmocka_unit_test(json_lines_are_objects_with_the_fields_as_members),
		cmocka_unit_test(no_control_byte_and_no_malformed_text_is_printed),
		cmocka_unit_test(too_long_lines_are_cut_and_stay_whole_objects),
		cmocka_unit_test(diag_is_told_in_one_line_with_its_code_for_machines),
		cmocka_unit_test(reporting_allocates_nothing),
		cmocka_unit_test(lines_of_several_threads_stay_whole),
		cmocka_unit_test(lines_go_to_syslog_as_well_once_asked),
		cmocka_unit_test(a_log_daemon_that_is_not_there_is_no_failure),
		cmocka_unit_test(json_progress_starts_at_zero_and_ends_with_what_was_done),
		cmocka_unit_test(bar_becomes_objects_where_lines_are_objects),
		cmocka_unit_test(log_gets_a_summary_and_no_bar),
		cmocka_unit_test(terminal_gets_a_bar_that_lines_wipe_away),
		cmocka_unit_test(quiet_programs_show_no_progress),
		cmocka_unit_test(bar_names_the_file_that_takes_longest),
		cmocka_unit_test(every_file_is_an_event_for_machines),
		cmocka_unit_test(summary_says_what_is_missing),
		cmocka_unit_test(bar_never_leaves_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
