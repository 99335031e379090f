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

/* The answer's object, or its error on stderr. */
static json_t *read_answer(const nx_str *text, long status)
{
    json_t *o = json_loadb(nx_str_cstr(text), text->len, 0, NULL);
    if (o && status < 400)
        return o;
    const char *said = nx_json_get_str(o, "error.message", NULL);
    fprintf(stderr, "nexus: the server said %ld: %s\n", status, said ? said : "nothing that could be read");
    json_decref(o);
    return NULL;
}

json_t *client_call(const client_options *o, const char *path, const json_t *body)
{
    CURL *c = curl_easy_init();
    nx_str text = {0};
    char *sent = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = headers_of(o);
    long status = 0;
    set_address(c, o, path);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_PROXY, ""); /* a server of one's own is never behind one */
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, ANSWER_SECONDS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &text);
    if (sent)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, sent);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    json_t *answer = code == CURLE_OK ? read_answer(&text, status) : NULL;
    if (code != CURLE_OK)
        fprintf(stderr, "nexus: no server answers at %s (%s): start one with 'nexus serve', or name it with "
                        "--server\n", o->server, curl_easy_strerror(code));
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    free(sent);
    nx_str_clear(&text);
    return answer;
}
