/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs `git credential`: how a process is started that can do no harm (own group, no terminal, no
 * prompt, a deadline), and the protocol's lines.
 */
#include "credential_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "secret.h"

/* Requests and answers: a few lines. Also what a pipe takes without anybody reading. */
#define MAX_LEN 16384

/* ---- the environment ---- */

/* Theirs; without what names a repository, prompts, writes logs, or is a secret of ours. */
static const char *const kept_out[] = {
	"GIT_PAT=",        "GIT_DIR=",         "GIT_WORK_TREE=",
	"GIT_COMMON_DIR=", "GIT_INDEX_FILE=",  "GIT_ASKPASS=",
	"GIT_TRACE",       "GCM_TRACE",        "GIT_TERMINAL_PROMPT=",
	"SSH_ASKPASS=",    "GCM_INTERACTIVE=",
};
static char *const added[] = {
	(char[]){ "GIT_TERMINAL_PROMPT=0" },
	(char[]){ "GIT_ASKPASS=" }, /* set and empty: not SSH_ASKPASS and not core.askPass either */
	(char[]){ "GCM_INTERACTIVE=never" },
};

static bool is_kept_out(const char *variable)
{
	for (size_t i = 0; i < ARRAY_LEN(kept_out); i++)
		if (strncmp(variable, kept_out[i], strlen(kept_out[i])) == 0)
			return true;
	return false;
}

/* The strings are borrowed. */
static char **make_environment(void)
{
	size_t cnt = 0, out = 0;

	while (environ[cnt])
		cnt++;
	char **env = calloc(cnt + ARRAY_LEN(added) + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < cnt; i++)
		if (!is_kept_out(environ[i]))
			env[out++] = environ[i];
	for (size_t i = 0; i < ARRAY_LEN(added); i++)
		env[out++] = added[i];
	return env;
}

/* ---- the process ---- */

/* Of both ends of a pipe. */
struct pipe_ends {
	int read, write;
};

static inline void scope_end_pipe(struct pipe_ends *p)
{
	scope_close(&p->read);
	scope_close(&p->write);
}

static bool open_pipe(struct pipe_ends *p)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return false;
	*p = (struct pipe_ends){ fd[0], fd[1] };
	return true;
}

/* `git credential VERB` in a process group of its own, with these as its stdin and stdout; -1: not
 * to be had. Out of every repository, because one may name programs as helpers. */
static pid_t start(const char *verb, int in, int out)
{
	char copy[16];
	char *const argv[] = { (char[]){ "git" },
		               (char[]){ "-C" },
		               (char[]){ "/" },
		               (char[]){ "credential" },
		               copy,
		               NULL };
	scoped_free char **env = make_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	pid_t pid = -1;

	snprintf(copy, sizeof(copy), "%s", verb);
	if (!env || posix_spawn_file_actions_init(&actions) != 0)
		return -1;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -1;
	}
	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawnattr_setpgroup(&attr, 0) != 0 ||
	    posix_spawnattr_setsigmask(&attr, &none) != 0 ||
	    posix_spawnattr_setsigdefault(&attr, &all) != 0 ||
	    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
	                                            POSIX_SPAWN_SETSIGDEF) != 0 ||
	    posix_spawn_file_actions_adddup2(&actions, in, 0) != 0 ||
	    posix_spawn_file_actions_adddup2(&actions, out, 1) != 0 ||
	    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) != 0 ||
	    posix_spawnp(&pid, "git", &actions, &attr, argv, env) != 0)
		pid = -1;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Everything up to the end of the stream; false: too much, or too late. */
static bool read_until_end(int fd, int64_t deadline, char *buf, size_t cap, size_t *len)
{
	struct pollfd waiting = { .fd = fd, .events = POLLIN };

	for (*len = 0; *len < cap;) {
		int64_t left = deadline - now_ms();

		if (left <= 0)
			return false;
		if (poll(&waiting, 1, (int)left) < 1)
			continue;
		ssize_t got = read(fd, buf + *len, cap - *len);
		if (got < 0 && errno != EINTR)
			return false;
		if (got == 0)
			return true;
		*len += got > 0 ? (size_t)got : 0;
	}
	return false;
}

/* Did it end well? One that has not ended at the deadline is ended, with what it started. */
static bool wait_for(pid_t pid, int64_t deadline)
{
	int status = 0;
	pid_t r;

	while ((r = waitpid(pid, &status, WNOHANG)) == 0 && now_ms() < deadline)
		poll(NULL, 0, 10);
	if (r == 0) {
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		return false;
	}
	return r == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * The answer, NUL-terminated, to be overwritten by the caller also when this is false. answer may
 * be NULL.
 */
static bool ask(const char *verb, const char *request, char *answer, size_t cap)
{
	scoped(pipe) struct pipe_ends in = { -1, -1 }, out = { -1, -1 };
	int64_t deadline = now_ms() + CREDENTIAL_HELPER_TIMEOUT_S * INT64_C(1000);
	size_t len = strlen(request), answer_len = 0;

	/* all of the request before anybody reads: it fits, and nobody can hang up on us */
	if (!open_pipe(&in) || !open_pipe(&out) || write(in.write, request, len) != (ssize_t)len)
		return false;
	close(take_fd(&in.write));
	pid_t pid = start(verb, in.read, out.write);
	close(take_fd(&out.write));
	if (pid < 0)
		return false;
	bool is_whole = !answer || read_until_end(out.read, deadline, answer, cap - 1, &answer_len);
	if (answer)
		answer[answer_len] = '\0';
	return wait_for(pid, is_whole ? deadline : 0) && is_whole;
}

/* ---- the protocol ---- */

struct request {
	char text[MAX_LEN / 4];
	size_t len;
	bool is_bad; /* too long, or with a line break in a value */
};

static void add_line(struct request *q, const char *key, const char *value)
{
	if (!value)
		return;
	int len = snprintf(q->text + q->len, sizeof(q->text) - q->len, "%s=%s\n", key, value);
	if (len < 0 || (size_t)len >= sizeof(q->text) - q->len || strpbrk(value, "\n\r")) {
		q->is_bad = true;
		return;
	}
	q->len += (size_t)len;
}

static void describe(struct request *q, const struct url *u, const char *user)
{
	char host[512], path[1024];

	if (u->port == (u->is_https ? 443 : 80))
		snprintf(host, sizeof(host), "%s", u->host);
	else
		snprintf(host, sizeof(host), "%s:%u", u->host, u->port);
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(u->path + 1, "?"), u->path + 1);
	if (strlen(u->host) > 500 || strlen(u->path) >= sizeof(path) || !url_percent_decode(path))
		q->is_bad = true;
	add_line(q, "protocol", u->is_https ? "https" : "http");
	add_line(q, "host", host);
	add_line(q, "path", path);
	add_line(q, "username", user);
}

/* The value of the last line "key=value", as git takes it; NULL without one or memory. */
static char *find_line(const char *answer, const char *key)
{
	size_t key_len = strlen(key);
	char *found = NULL;

	for (const char *line = answer; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
			continue;
		secret_free(found);
		line += key_len + 1;
		found = strndup(line, strcspn(line, "\n"));
	}
	return found;
}

int credential_helper_fill(const struct url *u, char **user, char **password)
{
	struct request q = { .len = 0 };
	int r = 0;

	describe(&q, u, u->user);
	char *answer = q.is_bad ? NULL : calloc(1, MAX_LEN);
	if (!answer)
		return q.is_bad ? 0 : -ENOMEM;
	if (ask("fill", q.text, answer, MAX_LEN)) {
		scoped(secret) char *found_user = find_line(answer, "username");
		scoped(secret) char *found = find_line(answer, "password");

		if (found_user && found) {
			*user = take_ptr(found_user);
			*password = take_ptr(found);
			r = 1;
		}
	}
	explicit_bzero(answer, MAX_LEN);
	free(answer);
	return r;
}

void credential_helper_tell(const struct url *u, const char *user, const char *password,
                            bool was_accepted)
{
	struct request q = { .len = 0 };

	describe(&q, u, user);
	add_line(&q, "password", password);
	if (!q.is_bad)
		(void)ask(was_accepted ? "approve" : "reject", q.text, NULL, 0);
	explicit_bzero(&q, sizeof(q));
}
