#include "cli/client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "base/str.h"

enum { ANSWER_MOST = 64 << 20 };
static const long CONNECT_SECONDS = 5, ANSWER_SECONDS = 600; /* loading a large model takes a while */

client_options client_defaults(void)
{
    return (client_options){.server = "http://127.0.0.1:8642"};
}

static size_t take(char *bytes, size_t size, size_t n, void *user)
{
    nx_str *out = user;
    if (out->len + size * n > ANSWER_MOST)
        return 0;
    nx_str_add(out, bytes, size * n);
    return size * n;
}

static struct curl_slist *headers_of(const client_options *o)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    nx_str key = {0}, header = {0};
    if (o->key_file && nx_os_read_file(o->key_file, &key, 4096)) {
        nx_str_truncate(&key, strcspn(nx_str_cstr(&key), "\r\n"));
        nx_str_printf(&header, "Authorization: Bearer %s", nx_str_cstr(&key));
        list = curl_slist_append(list, nx_str_cstr(&header));
    }
    nx_str_clear(&key);
    nx_str_clear(&header);
    return list;
}

static void set_address(CURL *c, const client_options *o, const char *path)
{
    nx_str url = {0};
    bool socket = strncmp(o->server, "unix:", 5) == 0;
    size_t n = strlen(o->server);
    while (n > 0 && o->server[n - 1] == '/')
        n--;
    if (socket)
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, o->server + 5);
    nx_str_add(&url, socket ? "http://localhost" : o->server, socket ? 16 : n);
    nx_str_puts(&url, path);
    curl_easy_setopt(c, CURLOPT_URL, nx_str_cstr(&url));
    nx_str_clear(&url);
}

static json_t *refused(const nx_str *text, long status)
{
    json_t *o = json_loadb(nx_str_cstr(text), text->len, 0, NULL);
    const char *said = nx_json_get_str(o, "error.message", NULL);
    nx_fail("the server said %ld: %s", status, said ? said : "nothing that could be read");
    json_decref(o);
    return NULL;
}

static CURL *request(const client_options *o, const char *path, struct curl_slist *headers,
                     const char *sent)
{
    CURL *c = curl_easy_init();
    set_address(c, o, path);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* a server of one's own is never behind one */
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    if (sent)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, sent);
    return c;
}

static bool lost(const client_options *o, CURLcode code)
{
    return nx_fail("no server answers at %s (%s): start one with 'nexus serve', or name it with --server",
                   o->server, curl_easy_strerror(code));
}

json_t *client_ask(const client_options *o, const char *path, const json_t *body)
{
    nx_str text = {0};
    char *sent = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = headers_of(o);
    CURL *c = request(o, path, headers, sent);
    long status = 0;
    json_t *answer = NULL;
    curl_easy_setopt(c, CURLOPT_TIMEOUT, ANSWER_SECONDS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &text);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        lost(o, code);
    else if (status >= 400 || !(answer = json_loadb(nx_str_cstr(&text), text.len, 0, NULL)))
        refused(&text, status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    free(sent);
    nx_str_clear(&text);
    return answer;
}

json_t *client_call(const client_options *o, const char *path, const json_t *body)
{
    json_t *answer = client_ask(o, path, body);
    if (!answer)
        fprintf(stderr, "nexus: %s\n", nx_error_message());
    return answer;
}

/* ---- streams ---- */

typedef struct {
    CURL *c;
    nx_str text; /* not yet a whole event; or of a refusal all of it */
    bool (*event)(const json_t *data, void *user);
    void *user;
    bool (*stop)(void);
    bool stopped;
} stream;

/* The events that are whole. */
static bool take_events(stream *s)
{
    char *at = s->text.data, *end;
    bool go_on = true;
    while (go_on && (end = strstr(at, "\n\n"))) {
        json_t *data = strncmp(at, "data: ", 6) == 0 ? json_loadb(at + 6, (size_t)(end - at) - 6, 0, NULL)
                                                     : NULL; /* a comment, or [DONE] */
        go_on = !data || s->event(data, s->user);
        json_decref(data);
        at = end + 2;
    }
    size_t left = s->text.len - (size_t)(at - s->text.data);
    memmove(s->text.data, at, left);
    nx_str_truncate(&s->text, left);
    return go_on;
}

static size_t take_stream(char *bytes, size_t size, size_t n, void *user)
{
    stream *s = user;
    long status = 0;
    curl_easy_getinfo(s->c, CURLINFO_RESPONSE_CODE, &status);
    if (take(bytes, size, n, &s->text) != size * n)
        return 0;
    nx_str_cstr(&s->text);
    s->stopped |= (s->stop && s->stop()) || (status < 400 && !take_events(s));
    return s->stopped ? 0 : size * n;
}

static int watch(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    stream *s = user;
    s->stopped |= s->stop && s->stop();
    return s->stopped;
}

bool client_stream(const client_options *o, const char *path, const json_t *body,
                   bool (*event)(const json_t *data, void *user), void *user, bool (*stop)(void))
{
    char *sent = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(9));
    struct curl_slist *headers = headers_of(o);
    stream s = {.c = request(o, path, headers, sent), .event = event, .user = user, .stop = stop};
    long status = 0;
    curl_easy_setopt(s.c, CURLOPT_WRITEFUNCTION, take_stream);
    curl_easy_setopt(s.c, CURLOPT_WRITEDATA, &s);
    curl_easy_setopt(s.c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s.c, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(s.c, CURLOPT_XFERINFODATA, &s);
    CURLcode code = curl_easy_perform(s.c);
    curl_easy_getinfo(s.c, CURLINFO_RESPONSE_CODE, &status);
    bool ok = code == CURLE_OK || s.stopped;
    if (!ok)
        lost(o, code);
    else if (status >= 400 && !s.stopped)
        ok = refused(&s.text, status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(s.c);
    free(sent);
    nx_str_clear(&s.text);
    return ok;
}
