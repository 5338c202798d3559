/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads .netrc files. The whole file goes through one buffer, in which words are made in place and
 * which is overwritten at the end; what is found is copied out.
 */
#include "netrc.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>

#include "secret.h"
#include "text.h"

#define MAX_LEN MIB

struct reader {
	char *next;
	char *end; /* of the text: a NUL */
};

struct entry {
	bool is_wanted; /* this machine */
	const char *login, *password;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_line(struct reader *r)
{
	while (r->next < r->end && *r->next != '\n')
		r->next++;
}

/* A macro's lines, up to one that is empty. */
static void skip_macro(struct reader *r)
{
	bool is_empty = false;

	for (skip_line(r); r->next < r->end && !is_empty; skip_line(r)) {
		r->next++;
		is_empty = r->next == r->end || *r->next == '\n' || *r->next == '\r';
	}
}

static char unescape(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return c;
	}
}

/* Behind the opening quote. NULL: no closing one. */
static char *quoted_word(struct reader *r)
{
	char *word = r->next, *out = word;

	for (; r->next < r->end && *r->next != '"'; r->next++) {
		if (*r->next == '\\' && r->next + 1 < r->end)
			*out++ = unescape(*++r->next);
		else
			*out++ = *r->next;
	}
	if (r->next == r->end)
		return NULL;
	r->next++;
	*out = '\0';
	return word;
}

static void skip_blanks(struct reader *r)
{
	while (r->next < r->end && is_blank(*r->next))
		r->next++;
}

/* 1 with the next word, 0 at the end, -EINVAL for a quote that does not close. */
static int next_word(struct reader *r, const char **word)
{
	skip_blanks(r);
	if (r->next == r->end)
		return 0;
	if (*r->next == '"') {
		r->next++;
		*word = quoted_word(r);
		return *word ? 1 : -EINVAL;
	}
	*word = r->next;
	while (r->next < r->end && !is_blank(*r->next))
		r->next++;
	if (r->next < r->end)
		*r->next++ = '\0';
	return 1;
}

/* Comments stand where a key could, so that a password may begin with '#'. */
static int next_key(struct reader *r, const char **key)
{
	for (skip_blanks(r); r->next < r->end && *r->next == '#'; skip_blanks(r))
		skip_line(r);
	return next_word(r, key);
}

static bool is_match(const struct entry *e, const char *wanted_user)
{
	if (!e->is_wanted || !e->password)
		return false;
	return !wanted_user || (e->login && strcmp(e->login, wanted_user) == 0);
}

static int take_value(struct reader *r, struct entry *e, const char *key, const char *host)
{
	const char *value = NULL;

	if (next_word(r, &value) < 1)
		return -EINVAL;
	if (strcmp(key, "machine") == 0)
		*e = (struct entry){ .is_wanted = strcasecmp(value, host) == 0 };
	else if (strcmp(key, "login") == 0)
		e->login = value;
	else
		e->password = value;
	return 0;
}

/* 1: *e is the entry. Words that are no keys are passed over, as curl does. */
static int search(struct reader *r, const char *host, const char *wanted_user, struct entry *e)
{
	const char *key = NULL;
	int got;

	while ((got = next_key(r, &key)) == 1) {
		bool is_machine = strcmp(key, "machine") == 0,
		     is_default = strcmp(key, "default") == 0;

		if ((is_machine || is_default) && is_match(e, wanted_user))
			return 1;
		if (is_default)
			*e = (struct entry){ .is_wanted = false };
		else if (strcmp(key, "macdef") == 0)
			skip_macro(r);
		else if (is_machine || strcmp(key, "login") == 0 || strcmp(key, "password") == 0)
			got = take_value(r, e, key, host);
		if (got < 0)
			return got;
	}
	return got < 0 ? got : is_match(e, wanted_user);
}

static int read_all(int fd, char *buf, size_t len, size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = read(fd, buf + *got, len - *got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

static int find_in(char *text, size_t len, const char *host, const char *wanted_user, char **user,
                   char **password)
{
	struct reader r = { .next = text, .end = text + len };
	struct entry e = { .is_wanted = false };
	scoped(secret) char *login = NULL;
	int found;

	*r.end = '\0';
	found = memchr(text, '\0', len) ? -EINVAL : search(&r, host, wanted_user, &e);
	if (found < 1)
		return found;
	login = strdup(e.login ? e.login : "");
	*password = strdup(e.password);
	if (!login || !*password) {
		secret_free(take_ptr(*password));
		return -ENOMEM;
	}
	*user = take_ptr(login);
	return 1;
}

int netrc_find(const char *path, const char *host, const char *wanted_user, char **user,
               char **password, struct diag *d)
{
	char quoted[TEXT_QUOTE_LEN];
	size_t len = 0;

	text_quote(path, strlen(path), quoted, sizeof(quoted));
	scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return diag_set_errno(d, -errno, "%s", quoted);
	char *text = malloc(MAX_LEN + 1);
	if (!text)
		return diag_set(d, -ENOMEM, "out of memory to read %s", quoted);
	int r = read_all(fd, text, MAX_LEN + 1, &len);
	if (r < 0)
		diag_set_errno(d, r, "%s", quoted);
	else if (len > MAX_LEN)
		r = diag_set(d, -E2BIG, "%s is longer than 1 MiB", quoted);
	else
		r = find_in(text, len, host, wanted_user, user, password);
	if (r == -EINVAL)
		diag_set(d, r,
		         "%s is not understood: machine HOST login USER password WORD, a word "
		         "with a blank in it in double quotes",
		         quoted);
	else if (r == -ENOMEM)
		diag_set(d, r, "out of memory to read %s", quoted);
	explicit_bzero(text, MAX_LEN + 1);
	free(text);
	return r;
}
