/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places for secrets in a directory of their own: HOME with a .netrc, and a configuration of git
 * with a helper that notes what it is told. Needs git.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "credentials.h"
#include "netrc.h"
#include "secret.h"
#include "url.h"

#define SOURCE_URL "https://hub.example/org/model"

static char *home;

static char *path_of(const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", home, name) > 0);
	return path;
}

static void write_file(const char *name, const char *text)
{
	scoped_free char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* What the helper noted; "" if it was not asked. */
static const char *notes(void)
{
	static char text[4096];
	scoped_free char *path = path_of("notes");
	FILE *f = fopen(path, "r");

	text[0] = '\0';
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

/* A helper that runs these commands of the shell; $1 is what it is to do. */
static void set_helper(const char *commands)
{
	char text[4096];

	snprintf(text, sizeof(text), "[credential]\n\thelper = \"!f() { %s; }; f\"\n", commands);
	write_file("gitconfig", text);
}

#define HELPER(answer) "(echo do=$1; cat) >>$HOME/notes; test $1 != get || printf '" answer "'"

static int set_up(void **state)
{
	(void)state;
	home = support_make_dir();
	scoped_free char *config = path_of("gitconfig");
	setenv("HOME", home, 1);
	setenv("GIT_CONFIG_GLOBAL", config, 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	unsetenv("NETRC");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	support_remove_dir(take_ptr(home));
	return 0;
}

static struct credentials *open_all(const char *source, const char *lfs, const char *token)
{
	struct credentials_options opt = { .source_url = source, .lfs_url = lfs, .token = token };
	struct credentials *c = NULL;
	struct diag d = DIAG_INIT;

	if (credentials_new(&opt, &c, &d) < 0)
		fail_msg("%s", d.text);
	return c;
}

/* The secret for url is "user:password from"; NULL: there is none. */
static void assert_found(struct credentials *c, const char *url, bool did_ask, const char *want)
{
	struct credential found = { 0 };
	struct diag d = DIAG_INIT;
	char text[256] = "";
	int r = credentials_find(c, url, did_ask, &found, &d);

	if (r < 0)
		fail_msg("%s", d.text);
	assert_int_equal(r, want ? 1 : 0);
	if (r == 1)
		snprintf(text, sizeof(text), "%s:%s %s", found.user, found.password, found.from);
	assert_string_equal(text, want ? want : "");
}

/* ---- places ---- */

static void token_goes_with_the_user_that_servers_ignore(void **state)
{
	static const char *const cases[][3] = {
		{ SOURCE_URL, "hf_token", "api:hf_token GIT_PAT" },
		{ SOURCE_URL, "me:to:ken", "me:to:ken GIT_PAT" },
		{ SOURCE_URL, "token\r\n", "api:token GIT_PAT" },
		{ SOURCE_URL, "", NULL },
		{ SOURCE_URL, " \n", NULL },
		{ "https://me@hub.example/org/model", "token", "me:token GIT_PAT" },
		{ "https://me:mine@hub.example/org/model", "token", "me:mine the URL" },
		{ "https://:mine@hub.example/org/model", NULL, ":mine the URL" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		scoped(credentials) struct credentials *c =
		        open_all(cases[i][0], NULL, cases[i][1]);

		assert_found(c, SOURCE_URL ".git/info/lfs/objects/batch", false, cases[i][2]);
	}
}

static void token_goes_to_the_sources_origin_only(void **state)
{
	static const char *const others[] = {
		"http://hub.example/org/model", "https://hub.example:8443/org/model",
		"https://cdn.hub.example/x",    "https://hub.example.evil/x",
		"https://evil/hub.example",     "https://evil/?https://hub.example/",
		"https://hub.example@evil/x",   "https://lfs.example/x",
	};
	scoped(credentials) struct credentials *c =
	        open_all(SOURCE_URL, "https://lfs.example/store", "token");
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_found(c, others[i], true, NULL);
	assert_found(c, "https://HUB.example:443/other/model", false, "api:token GIT_PAT");
}

static void places_are_looked_in_one_after_the_other(void **state)
{
	(void)state;
	write_file(".netrc", "machine hub.example login me password mine\n");
	set_helper(HELPER("username=you\\\\npassword=yours\\\\n"));
	scoped(credentials) struct credentials *with = open_all(SOURCE_URL, NULL, "token");
	scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);

	assert_found(with, SOURCE_URL, true, "api:token GIT_PAT");
	assert_found(c, SOURCE_URL, true, "me:mine ~/.netrc");
	assert_string_equal(notes(), "");
	credentials_refused(c, SOURCE_URL);
	assert_found(c, SOURCE_URL, true, "you:yours git's credential helper");
	assert_found(c, SOURCE_URL, false, "you:yours git's credential helper");
	credentials_refused(c, SOURCE_URL);
	assert_found(c, SOURCE_URL, true, NULL);
	/* who gives a token wants that one */
	credentials_refused(with, SOURCE_URL);
	assert_found(with, SOURCE_URL, true, NULL);
}

static void server_of_the_lfs_url_has_secrets_of_its_own(void **state)
{
	(void)state;
	write_file(".netrc", "machine lfs.example login l password ls\n"
	                     "machine third.example login t password ts\n");
	scoped(credentials) struct credentials *c =
	        open_all(SOURCE_URL, "http://lfs.example:8080/store", "token");

	assert_found(c, "http://lfs.example:8080/store/objects/batch", false, "l:ls ~/.netrc");
	assert_found(c, "http://third.example/", true, NULL);
	assert_found(c, "https://lfs.example/", true, NULL);
}

/* ---- helpers ---- */

static void helper_is_asked_only_if_the_server_did(void **state)
{
	(void)state;
	set_helper(HELPER("username=you\\\\npassword=yours\\\\n"));
	scoped(credentials) struct credentials *c =
	        open_all("https://you@hub.example:8443/org/model", NULL, NULL);

	assert_found(c, "https://hub.example:8443/", false, NULL);
	assert_string_equal(notes(), "");
	assert_found(c, "https://hub.example:8443/", true, "you:yours git's credential helper");
	assert_string_equal(notes(), "do=get\nprotocol=https\nhost=hub.example:8443\n"
	                             "username=you\n");
}

static void helper_hears_what_became_of_it(void **state)
{
	(void)state;
	set_helper(HELPER("username=you\\\\npassword=yours\\\\n"));
	scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);

	credentials_accepted(c, SOURCE_URL); /* nothing was given yet */
	assert_found(c, SOURCE_URL, true, "you:yours git's credential helper");
	credentials_accepted(c, SOURCE_URL);
	credentials_accepted(c, SOURCE_URL);
	credentials_refused(c, SOURCE_URL);
	assert_string_equal(notes(), "do=get\nprotocol=https\nhost=hub.example\n"
	                             "do=store\nprotocol=https\nhost=hub.example\n"
	                             "username=you\npassword=yours\n"
	                             "do=erase\nprotocol=https\nhost=hub.example\n"
	                             "username=you\npassword=yours\n");
}

static void helper_sees_no_token_and_no_repository(void **state)
{
	(void)state;
	set_helper("env >>$HOME/notes; pwd >>$HOME/notes");
	setenv("GIT_PAT", "secret-token", 1);
	setenv("GIT_DIR", "/nowhere", 1);
	scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);

	assert_found(c, SOURCE_URL, true, NULL);
	unsetenv("GIT_PAT");
	unsetenv("GIT_DIR");
	assert_non_null(strstr(notes(), "GIT_TERMINAL_PROMPT=0"));
	assert_null(strstr(notes(), "secret-token"));
	assert_null(strstr(notes(), "/nowhere"));
	assert_non_null(strstr(notes(), "\n/\n"));
}

static void helper_that_fails_or_babbles_is_none(void **state)
{
	static const char *const commands[] = {
		"false",
		"echo username=you",
		"head -c 100000 /dev/zero",
		"exec kill -9 $$",
		"echo quit=1",
		"echo username=you; echo password=yours; kill -9 $PPID",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		set_helper(commands[i]);
		scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);

		assert_found(c, SOURCE_URL, true, NULL);
	}
}

static void without_git_there_is_no_helper(void **state)
{
	scoped_free char *path = strdup(getenv("PATH"));
	scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);
	(void)state;

	set_helper(HELPER("username=you\\\\npassword=yours\\\\n"));
	setenv("PATH", home, 1);
	assert_found(c, SOURCE_URL, true, NULL);
	setenv("PATH", path, 1);
	assert_string_equal(notes(), "");
}

/* ---- .netrc ---- */

static void assert_netrc(const char *text, const char *user, const char *want)
{
	scoped_free char *path = path_of("netrc");
	scoped(secret) char *found_user = NULL, *password = NULL;
	char got[256] = "nothing";
	struct diag d = DIAG_INIT;

	write_file("netrc", text);
	int r = netrc_find(path, "hub.example", user, &found_user, &password, &d);
	if (r < 0)
		snprintf(got, sizeof(got), "%s", "refused");
	else if (r > 0)
		snprintf(got, sizeof(got), "%s:%s", found_user, password);
	if (strcmp(got, want) != 0)
		fail_msg("%s gives %s, not %s", text, got, want);
	assert_int_equal(r < 0, d.err < 0);
}

static void netrc_is_read_as_curl_reads_it(void **state)
{
	(void)state;
	assert_netrc("machine hub.example login a password b", NULL, "a:b");
	assert_netrc("machine HUB.example\n\tlogin a\r\n\tpassword b\r\n", NULL, "a:b");
	assert_netrc("machine x login c password d\nmachine hub.example password b login a", NULL,
	             "a:b");
	assert_netrc("machine hub.example login a password \"b \\\"c\\\\\\n\"", NULL,
	             "a:b \"c\\\n");
	assert_netrc("# machine hub.example login c password d\n"
	             "machine hub.example login a password #b",
	             NULL, "a:#b");
	assert_netrc("macdef init\nmachine hub.example login c password d\n\n"
	             "machine hub.example login a password b",
	             NULL, "a:b");
	assert_netrc("machine hub.example login a account x password b", NULL, "a:b");
	assert_netrc("machine hub.example password b", NULL, ":b");
	assert_netrc("machine hub.example login a machine hub.example login c password d", NULL,
	             "c:d");
	assert_netrc(
	        "machine hub.example login a password b\nmachine hub.example login c password d",
	        "c", "c:d");
	assert_netrc("machine hub.example login a password b", "c", "nothing");
	assert_netrc("machine hub.example.evil login a password b", NULL, "nothing");
	assert_netrc("machine evil login a password b machine", NULL, "refused");
	assert_netrc("machine hub.example login \"a", NULL, "refused");
	assert_netrc("", NULL, "nothing");
}

static void password_for_every_host_is_given_to_none(void **state)
{
	(void)state;
	assert_netrc("default login a password b", NULL, "nothing");
	assert_netrc("machine hub.example login a default login c password d", NULL, "nothing");
}

static void netrc_cut_anywhere_gives_no_part_of_a_password(void **state)
{
	static const char whole[] = "machine hub.example login a password \"b c\" # end\n"
	                            "machine other login x password y\n";
	scoped_free char *path = path_of("netrc");
	(void)state;

	for (size_t len = 0; len < strlen(whole); len++) {
		scoped(secret) char *user = NULL, *password = NULL;
		char cut[sizeof(whole)] = "";

		memcpy(cut, whole, len);
		write_file("netrc", cut);
		int r = netrc_find(path, "hub.example", NULL, &user, &password, NULL);
		assert_true(r == 1 || r == 0 || r == -EINVAL);
		assert_int_equal(r == 1, password != NULL);
		if (r == 1)
			assert_string_equal(password, "b c");
	}
}

static void netrc_that_cannot_be_used_is_an_error(void **state)
{
	scoped_free char *path = path_of("netrc");
	struct diag d = DIAG_INIT;
	char *user = NULL, *password = NULL;
	(void)state;

	assert_int_equal(netrc_find("/nowhere/netrc", "h", NULL, &user, &password, &d), 0);
	assert_int_equal(netrc_find(home, "h", NULL, &user, &password, &d), -EISDIR);
	write_file("netrc", "");
	assert_int_equal(truncate(path, MIB + 1), 0);
	assert_int_equal(netrc_find(path, "h", NULL, &user, &password, &d), -E2BIG);
	assert_int_equal(truncate(path, 10), 0);
	assert_int_equal(netrc_find(path, "h", NULL, &user, &password, &d), -EINVAL);
	setenv("NETRC", path, 1);
	scoped(credentials) struct credentials *c = open_all(SOURCE_URL, NULL, NULL);
	struct credential found;
	assert_int_equal(credentials_find(c, SOURCE_URL, false, &found, &d), -EINVAL);
}

static void failed_allocation_is_an_error_and_no_leak(void **state)
{
	struct credentials_options opt = { "https://me@hub.example/", "https://lfs.example/",
		                           "token" };
	(void)state;

	write_file(".netrc", "machine lfs.example login me password mine\n");
	for (unsigned long k = 1;; k++) {
		struct credential a = { 0 }, b = { 0 };
		struct credentials *c = NULL;

		support_fail_allocation(k);
		int r = credentials_new(&opt, &c, NULL);
		if (r == 0)
			r = credentials_find(c, SOURCE_URL, false, &a, NULL);
		if (r == 1)
			r = credentials_find(c, opt.lfs_url, false, &b, NULL);
		support_fail_allocation(0);
		if (r == 1)
			assert_string_equal(b.password, "mine");
		credentials_free(c);
		if (r == 1)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(k < 50);
	}
}

int main(void)
{
#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_HOME(token_goes_with_the_user_that_servers_ignore),
		WITH_HOME(token_goes_to_the_sources_origin_only),
		WITH_HOME(places_are_looked_in_one_after_the_other),
		WITH_HOME(server_of_the_lfs_url_has_secrets_of_its_own),
		WITH_HOME(helper_is_asked_only_if_the_server_did),
		WITH_HOME(helper_hears_what_became_of_it),
		WITH_HOME(helper_sees_no_token_and_no_repository),
		WITH_HOME(helper_that_fails_or_babbles_is_none),
		WITH_HOME(without_git_there_is_no_helper),
		WITH_HOME(netrc_is_read_as_curl_reads_it),
		WITH_HOME(password_for_every_host_is_given_to_none),
		WITH_HOME(netrc_cut_anywhere_gives_no_part_of_a_password),
		WITH_HOME(netrc_that_cannot_be_used_is_an_error),
		WITH_HOME(failed_allocation_is_an_error_and_no_leak),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
