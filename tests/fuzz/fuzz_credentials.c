/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs and .netrc files: the input is a URL and a .netrc with a form feed between them. A URL that
 * is taken has one meaning only, and no sentence shows a password.
 */
#include "fuzz.h"
#include "netrc.h"
#include "secret.h"
#include "url.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#define SEPARATOR '\f'

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.:[]", c);
}

static void check_url(const char *text, const struct url *u)
{
	scoped_free char *shown = url_without_credentials(text);
	scoped(url) struct url again = { 0 };
	struct diag d = DIAG_INIT;

	FUZZ_MUST(url_is_http(text) && u->host && u->host[0] && u->path && u->path[0] == '/');
	for (const char *c = u->host; *c; c++)
		FUZZ_MUST(is_host_char(*c));
	for (const char *c = u->path; *c; c++)
		FUZZ_MUST((uint8_t)*c > ' ' && *c != '\\' && *c != '\x7F');
	FUZZ_MUST(shown && url_parse(shown, &again, &d) == 0);
	FUZZ_MUST(!again.user && !again.password);
	FUZZ_MUST(url_is_same_origin(u, &again) && strcmp(u->path, again.path) == 0);
}

static void find(const char *host, const char *user, const uint8_t *bytes, size_t len)
{
	scoped_fd int fd = memfd_create("netrc", MFD_CLOEXEC);
	char *found_user = NULL, *password = NULL, path[64];
	struct diag d = DIAG_INIT;
	int r;

	FUZZ_MUST(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = netrc_find(path, host, user, &found_user, &password, &d);
	FUZZ_MUST(r == 0 || r == 1 || (r == -EINVAL && d.err == r && d.text[0]));
	FUZZ_MUST((r == 1) == (password != NULL));
	FUZZ_MUST(r != 1 || !user || (found_user && strcmp(found_user, user) == 0));
	secret_free(found_user);
	secret_free(password);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *stop = len ? memchr(data, SEPARATOR, len) : NULL;
	size_t url_len = stop ? (size_t)(stop - data) : len;
	scoped_free char *text = calloc(1, url_len + 1);
	scoped(url) struct url u = { 0 };
	struct diag d = DIAG_INIT;
	int r;

	FUZZ_MUST(text);
	if (len)
		memcpy(text, data, url_len);
	r = url_parse(text, &u, &d);
	FUZZ_MUST(r == 0 || (r == -EINVAL && d.err == r && d.text[0]));
	if (r == 0)
		check_url(text, &u);
	if (stop) {
		find(r == 0 ? u.host : "host", NULL, stop + 1, len - url_len - 1);
		find(r == 0 ? u.host : "host", r == 0 ? u.user : "user", stop + 1,
		     len - url_len - 1);
	}
	return 0;
}
