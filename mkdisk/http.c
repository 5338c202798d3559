/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests through libcurl's multi interface. Redirects are followed here and not by libcurl: what
 * a link's header holds was meant for one place, and libcurl drops only what it knows to be secret
 * when it goes to another. HTTP/1.1 on purpose: each transfer then has a connection, and a flow
 * control, of its own, so that one that is held back holds nobody else.
 */
#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "secret.h"
#include "text.h"
#include "url.h"

#define MAX_REDIRECTS    10
#define MAX_HEADER_LEN   (256 * KIB) /* of an answer, all lines */
#define MAX_WORDS_LEN    (16 * KIB)  /* of a body that says why not */
#define SLOW_BYTES_PER_S 128L        /* slower than that is silent */

struct http_net {
	CURLM *multi;
	struct http_options opt;
	bool is_here; /* the server that was named, or the proxy to it, is on this machine */
};

struct http {
	struct http_net *net;
	CURL *easy;
	http_take take;
	void *ctx;
	struct http_request request;
	struct curl_slist *header; /* of the request */
	struct http_answer answer;
	char *user, *password;
	char *url;    /* where the request is now */
	bool is_away; /* a redirect led to another origin: nothing secret is sent */
	bool is_running;
	bool was_stopped;
	bool is_named;   /* it goes to the server that was named, not to where that one leads */
	bool was_led_in; /* it would have gone to this machine, and did not */
	unsigned redirect_cnt;
	size_t header_len;
	char *words; /* body of a refusal */
	size_t words_len;
	char error[CURL_ERROR_SIZE];
};

/* ---- URLs ---- */

void http_origin(const char *url, char *out, size_t out_len)
{
	scoped(url) struct url u = { 0 };

	if (url_parse(url, &u, NULL) < 0)
		snprintf(out, out_len, "?");
	else if (u.port == (u.is_https ? 443 : 80))
		snprintf(out, out_len, "http%s://%s", u.is_https ? "s" : "", u.host);
	else
		snprintf(out, out_len, "http%s://%s:%u", u.is_https ? "s" : "", u.host, u.port);
}

/* ---- the connections ---- */

int http_net_new(const struct http_options *opt, struct http_net **out, struct diag *d)
{
	struct http_net *net;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return diag_set(d, -EIO, "cannot start libcurl");
	net = calloc(1, sizeof(*net));
	if (net)
		net->multi = curl_multi_init();
	if (!net || !net->multi) {
		free(net);
		curl_global_cleanup();
		return diag_set(d, -ENOMEM, "out of memory");
	}
	net->opt = *opt;
	*out = net;
	return 0;
}

void http_net_free(struct http_net *net)
{
	if (!net)
		return;
	curl_multi_cleanup(net->multi);
	curl_global_cleanup();
	free(net);
}

int http_net_wait(struct http_net *net, unsigned ms, struct diag *d)
{
	int running = 0;
	CURLMcode code = curl_multi_poll(net->multi, NULL, 0, (int)ms, NULL);

	if (code == CURLM_OK)
		code = curl_multi_perform(net->multi, &running);
	if (code == CURLM_OK)
		return 0;
	return diag_set(d, code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EIO, "libcurl says %s",
	                curl_multi_strerror(code));
}

void http_net_wake(struct http_net *net)
{
	(void)curl_multi_wakeup(net->multi);
}

/* ---- what libcurl calls ---- */

static size_t on_header(char *line, size_t size, size_t len, void *ctx)
{
	struct http *h = ctx;

	len *= size;
	h->header_len += len;
	if (h->header_len > MAX_HEADER_LEN)
		return 0;
	http_answer_line(&h->answer, line, len, (int64_t)time(NULL));
	return len;
}

static void keep_words(struct http *h, const char *buf, size_t len)
{
	if (!h->words)
		h->words = malloc(MAX_WORDS_LEN);
	if (!h->words)
		return;
	len = MIN(len, MAX_WORDS_LEN - h->words_len);
	memcpy(h->words + h->words_len, buf, len);
	h->words_len += len;
}

static size_t on_body(char *buf, size_t size, size_t len, void *ctx)
{
	struct http *h = ctx;

	len *= size;
	if (h->answer.status != 200 && h->answer.status != 206) {
		keep_words(h, buf, len);
		return len;
	}
	switch (h->take(h->ctx, &h->answer, buf, len)) {
	case HTTP_TAKEN:
		return len;
	case HTTP_TAKE_LATER:
		return CURL_WRITEFUNC_PAUSE;
	default:
		h->was_stopped = true;
		return 0;
	}
}

/* ---- a request ---- */

int http_new(struct http_net *net, http_take take, void *ctx, struct http **out)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->easy = curl_easy_init();
	if (!h->easy) {
		free(h);
		return -ENOMEM;
	}
	h->net = net;
	h->take = take;
	h->ctx = ctx;
	*out = h;
	return 0;
}

static void leave_multi(struct http *h)
{
	if (h->is_running)
		curl_multi_remove_handle(h->net->multi, h->easy);
	h->is_running = false;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	leave_multi(h);
	curl_easy_cleanup(h->easy);
	curl_slist_free_all(h->header);
	free(h->words);
	secret_free(h->user);
	secret_free(h->password);
	free(h->url);
	free(h);
}

static bool add_line(struct http *h, const char *line)
{
	struct curl_slist *longer = curl_slist_append(h->header, line);

	if (longer)
		h->header = longer;
	return longer != NULL;
}

static bool add_field(struct http *h, const char *name, const char *value)
{
	char line[200];

	snprintf(line, sizeof(line), "%s: %s", name, value);
	return add_line(h, line);
}

static bool make_header(struct http *h)
{
	const struct http_request *rq = &h->request;
	bool ok = true;

	curl_slist_free_all(take_ptr(h->header));
	if (rq->post && rq->post_type)
		ok = add_field(h, "Content-Type", rq->post_type) && add_line(h, "Expect:");
	else if (rq->post)
		ok = add_line(h, "Accept: application/vnd.git-lfs+json") &&
		     add_line(h, "Content-Type: application/vnd.git-lfs+json") &&
		     add_line(h, "Expect:");
	/* compressed answers would have other ranges, and some caches then ignore these */
	ok = ok && add_line(h, "Accept-Encoding: identity");
	for (size_t i = 0; ok && !h->is_away && i < rq->header_cnt; i++)
		ok = add_line(h, rq->header[i]);
	return ok;
}

/* Loopback, link-local (where clouds keep their secrets), or no address at all. */
static bool is_here_v4(uint32_t a)
{
	return a >> 24 == 127 || a >> 24 == 0 || a >> 16 == 0xA9FE;
}

static bool is_here(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET)
		return is_here_v4(ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr));
	if (addr->sa_family != AF_INET6)
		return true;
	const struct in6_addr *a = &((const struct sockaddr_in6 *)addr)->sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(a))
		return is_here_v4((uint32_t)a->s6_addr[12] << 24 | a->s6_addr[13] << 16 |
		                  a->s6_addr[14] << 8 | a->s6_addr[15]);
	return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LINKLOCAL(a);
}

/*
 * A server elsewhere could lead us, by a redirect or a link, to services that trust whoever is on
 * this machine. Decided by the address, since names may stand for any; a proxy decides for itself.
 */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http *h = ctx;

	(void)purpose;
	if (is_here(&a->addr) && h->is_named)
		h->net->is_here = true;
	h->was_led_in = is_here(&a->addr) && !h->net->is_here;
	if (h->was_led_in)
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Does url have the origin that was named? */
static bool is_named(const struct http *h, const char *text)
{
	scoped(url) struct url url = { 0 }, named = { 0 };

	return url_parse(text, &url, NULL) == 0 && url_parse(h->net->opt.url, &named, NULL) == 0 &&
	       url_is_same_origin(&url, &named);
}

/* What holds for every request. */
static void set_common(struct http *h)
{
	const struct http_options *opt = &h->net->opt;

	curl_easy_reset(h->easy);
	curl_easy_setopt(h->easy, CURLOPT_PRIVATE, h);
	curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(h->easy, CURLOPT_NOSIGNAL, 1L);
	/* who ends the build does not wait for a name that nobody answers for */
	curl_easy_setopt(h->easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(h->easy, CURLOPT_USERAGENT, "mkdisk/" MODELDISK_VERSION);
	curl_easy_setopt(h->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h->easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(h->easy, CURLOPT_BUFFERSIZE, 512L * 1024);
	curl_easy_setopt(h->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT, (long)opt->stall_s);
	curl_easy_setopt(h->easy, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_PER_S);
	curl_easy_setopt(h->easy, CURLOPT_LOW_SPEED_TIME, (long)opt->stall_s);
	curl_easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h->easy, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(h->easy, CURLOPT_OPENSOCKETDATA, h);
	if (opt->ca_file)
		curl_easy_setopt(h->easy, CURLOPT_CAINFO, opt->ca_file);
}

/* Sends the request to h->url. */
static int send_request(struct http *h)
{
	const struct http_request *rq = &h->request;
	char range[64];

	if (!make_header(h))
		return -ENOMEM;
	set_common(h);
	h->answer = (struct http_answer){ 0 };
	h->header_len = h->words_len = 0;
	h->was_stopped = h->was_led_in = false;
	h->is_named = is_named(h, h->url);
	h->error[0] = '\0';
	CURLcode code = curl_easy_setopt(h->easy, CURLOPT_URL, h->url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, h->header);
	if (code == CURLE_OK && rq->post)
		code = curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, rq->post);
	if (code == CURLE_OK && rq->from > 0) {
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)rq->from,
		         (unsigned long long)rq->end - 1);
		code = curl_easy_setopt(h->easy, CURLOPT_RANGE, range);
	}
	if (code == CURLE_OK && h->password && !h->is_away) {
		curl_easy_setopt(h->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		code = curl_easy_setopt(h->easy, CURLOPT_USERNAME, h->user);
		if (code == CURLE_OK)
			code = curl_easy_setopt(h->easy, CURLOPT_PASSWORD, h->password);
	}
	if (code != CURLE_OK || curl_multi_add_handle(h->net->multi, h->easy) != CURLM_OK)
		return -ENOMEM;
	h->is_running = true;
	return 0;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

int http_start(struct http *h, const struct http_request *request, struct diag *d)
{
	h->request = *request;
	h->is_away = false;
	h->redirect_cnt = 0;
	free(h->url);
	secret_free(h->user);
	secret_free(h->password);
	h->url = copy(request->url);
	h->user = copy(request->user);
	h->password = copy(request->password);
	if (!h->url || !h->user != !request->user || !h->password != !request->password ||
	    send_request(h) < 0)
		return diag_set(d, -ENOMEM, "out of memory");
	return 0;
}

void http_go_on(struct http *h)
{
	if (h->is_running)
		curl_easy_pause(h->easy, CURLPAUSE_CONT);
}

/* ---- its end ---- */

/* Decides whether to go there, and what may come along. */
static int check_redirect(struct http *h, const char *location, struct diag *d)
{
	scoped(url) struct url here = { 0 }, there = { 0 };
	char from[200], to[200];

	http_origin(h->url, from, sizeof(from));
	if (!location)
		return diag_set(d, -EUCLEAN, "%s: a redirect (status %u) that leads nowhere", from,
		                h->answer.status);
	if (url_parse(h->url, &here, d) < 0 || url_parse(location, &there, d) < 0)
		return diag_set(d, -EUCLEAN,
		                "%s: a redirect to something that is no http or https "
		                "URL",
		                from);
	http_origin(location, to, sizeof(to));
	if (here.is_https && !there.is_https)
		return diag_set(d, -EUCLEAN, "%s: a redirect to %s, where others can read along",
		                from, to);
	if (++h->redirect_cnt > MAX_REDIRECTS)
		return diag_set(d, -EUCLEAN, "%s: more than %d redirects", from, MAX_REDIRECTS);
	h->is_away = h->is_away || !url_is_same_origin(&here, &there);
	return 0;
}

/* Asks at the new place. 0: sent; else why not. */
static int follow(struct http *h, struct diag *d)
{
	char *location = NULL;

	curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &location);
	int r = check_redirect(h, location, d);
	if (r < 0)
		return r;
	char *url = strdup(location);
	if (!url)
		return diag_set(d, -ENOMEM, "out of memory");
	free(h->url);
	h->url = url;
	return send_request(h) < 0 ? diag_set(d, -ENOMEM, "out of memory") : 0;
}

static bool may_pass(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, HTTP/7: rubbish on the line */
		return true;
	default:
		return false;
	}
}

static void tell_break(const struct http *h, CURLcode code, struct http_end *end)
{
	char origin[200], words[CURL_ERROR_SIZE];
	const char *said = *h->error ? h->error : curl_easy_strerror(code);

	http_origin(h->url, origin, sizeof(origin));
	snprintf(end->why, sizeof(end->why), "%s: %.80s", origin,
	         text_clean(said, strlen(said), words, sizeof(words)));
}

static int tell_hopeless(const struct http *h, CURLcode code, struct diag *d)
{
	char origin[200], words[CURL_ERROR_SIZE];
	const char *said = *h->error ? h->error : curl_easy_strerror(code);

	http_origin(h->url, origin, sizeof(origin));
	text_clean(said, strlen(said), words, sizeof(words));
	if (h->was_led_in)
		return diag_set(d, -EUCLEAN,
		                "%s is an address of this machine's own, to which a server "
		                "elsewhere led; that is not followed",
		                origin);
	if (h->header_len > MAX_HEADER_LEN)
		return diag_set(d, -EUCLEAN, "%s: an answer with a header of more than %d KiB",
		                origin, (int)(MAX_HEADER_LEN / KIB));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return diag_set(d, -EACCES,
		                "%s: its certificate is not trusted: %s; --ca-file names who else "
		                "may have signed it",
		                origin, words);
	return diag_set(d, code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EIO, "%s: %s", origin, words);
}

/* True: over; false: it goes on at another place. */
static bool end_request(struct http *h, CURLcode code, struct http_end *end, struct diag *d)
{
	bool is_redirect =
	        code == CURLE_OK && http_answer_meaning(&h->answer, true) == HTTP_MEANS_REDIRECT;

	leave_multi(h);
	*end = (struct http_end){ .ending = HTTP_ENDED };
	end->is_away = h->is_away;
	end->password = h->is_away ? NULL : h->password;
	if (is_redirect) {
		if (follow(h, d) == 0)
			return false;
		end->ending = HTTP_HOPELESS;
	} else if (h->was_stopped) {
		end->ending = HTTP_STOPPED;
	} else if (code != CURLE_OK && may_pass(code) && !h->was_led_in) {
		end->ending = HTTP_BROKEN;
		tell_break(h, code, end);
	} else if (code != CURLE_OK) {
		end->ending = HTTP_HOPELESS;
		tell_hopeless(h, code, d);
	}
	if (h->words_len > 0 && !*h->answer.message)
		http_answer_message(&h->answer, h->words, h->words_len);
	end->answer = h->answer;
	return true;
}

void *http_net_ended(struct http_net *net, struct http_end *end, struct diag *d)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(net->multi, &left))) {
		struct http *h = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		CURLcode code = msg->data.result;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&h);
		if (end_request(h, code, end, d))
			return h->ctx;
	}
	return NULL;
}
