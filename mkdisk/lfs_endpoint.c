/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule of git-lfs (docs/api/server-discovery.md), and how far a repository may change it.
 */
#include "lfs_endpoint.h"

#include <errno.h>
#include <stdio.h>

#include "text.h"
#include "url.h"

static int out_of_memory(struct diag *d)
{
	return diag_set(d, -ENOMEM, "out of memory for the LFS server's URL");
}

/* Without credentials and slashes at the end. */
static int plain_url(const char *url, char **out, struct diag *d)
{
	scoped(url) struct url parsed = { 0 };
	int r = url_parse(url, &parsed, d);

	if (r < 0)
		return r;
	char *plain = url_without_credentials(url);
	if (!plain)
		return out_of_memory(d);
	size_t len = strcspn(plain, "?");
	while (len > 0 && plain[len - 1] == '/')
		len--;
	plain[len] = '\0';
	*out = plain;
	return 0;
}

/* "URL.git/info/lfs" */
static int derive(const char *source_url, char **out, struct diag *d)
{
	scoped_free char *plain = NULL;
	int r = plain_url(source_url, &plain, d);

	if (r < 0)
		return r;
	size_t len = strlen(plain);
	bool has_suffix = len > 4 && strcmp(plain + len - 4, ".git") == 0;
	if (asprintf(out, "%s%s", plain, has_suffix ? "/info/lfs" : ".git/info/lfs") >= 0)
		return 0;
	*out = NULL;
	return out_of_memory(d);
}

static int refuse(const char *configured, const char *why, struct diag *d)
{
	scoped_free char *shown = url_without_credentials(configured);
	char quoted[TEXT_QUOTE_LEN];

	if (!shown)
		return out_of_memory(d);
	return diag_set(
	        d, -EACCES,
	        "the repository's .lfsconfig sends Git LFS to %s, %s: name the server to use "
	        "with --lfs-url",
	        text_quote(shown, strlen(shown), quoted, sizeof(quoted)), why);
}

static int check_configured(const char *configured, const char *source_url, struct diag *d)
{
	scoped(url) struct url here = { 0 }, there = { 0 };
	int r = url_parse(source_url, &here, d);

	if (r < 0)
		return r;
	if (url_parse(configured, &there, NULL) < 0)
		return refuse(configured, "which is not an http or https URL", d);
	if (strcmp(here.host, there.host) != 0)
		return refuse(configured, "which is another host", d);
	if (here.is_https && !there.is_https)
		return refuse(configured, "where others can read along", d);
	return 0;
}

int lfs_endpoint(const struct lfs_endpoint_options *opt, char **out, struct diag *d)
{
	*out = NULL;
	if (opt->lfs_url)
		return plain_url(opt->lfs_url, out, d);
	if (!opt->source_url)
		return 0;
	if (!opt->configured)
		return derive(opt->source_url, out, d);
	int r = check_configured(opt->configured, opt->source_url, d);
	return r < 0 ? r : plain_url(opt->configured, out, d);
}
