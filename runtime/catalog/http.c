#include "runtime/catalog/http.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

/* ---- the library ---- */

static struct {
    bool loaded;
    CURLcode (*global_init)(long);
    CURL *(*init)(void);
    CURLcode (*setopt)(CURL *, CURLoption, ...);
    CURLcode (*perform)(CURL *);
    CURLcode (*getinfo)(CURL *, CURLINFO, ...);
    void (*cleanup)(CURL *);
    const char *(*text)(CURLcode);
} curl;

static void *symbol(void *library, const char *name)
{
    void *s = dlsym(library, name);
    curl.loaded &= s != NULL;
    return s;
}

static void load(void)
{
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib",
                                        "libcurl.dylib"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    curl.loaded = true;
    curl.global_init = (CURLcode(*)(long))symbol(library, "curl_global_init");
    curl.init = (CURL * (*)(void)) symbol(library, "curl_easy_init");
    curl.setopt = (CURLcode(*)(CURL *, CURLoption, ...))symbol(library, "curl_easy_setopt");
    curl.perform = (CURLcode(*)(CURL *))symbol(library, "curl_easy_perform");
    curl.getinfo = (CURLcode(*)(CURL *, CURLINFO, ...))symbol(library, "curl_easy_getinfo");
    curl.cleanup = (void (*)(CURL *))symbol(library, "curl_easy_cleanup");
    curl.text = (const char *(*)(CURLcode))symbol(library, "curl_easy_strerror");
    if (curl.loaded)
        curl.global_init(CURL_GLOBAL_DEFAULT);
}

static bool ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return curl.loaded || nx_fail("libcurl is not installed: nothing can be fetched (the package is "
                                  "called libcurl4)");
}

/* ---- a request ---- */

typedef struct {
    const http_request *request;
    http_head *head;
    bool stopped;
} transfer;

static void begin_head(http_head *h, long status)
{
    *h = (http_head){.status = status, .length = -1, .range_begin = -1, .range_end = -1,
                     .range_total = -1, .retry_after = -1};
}

static bool is_header(const char *line, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    *value = line + n + 1 + strspn(line + n + 1, " \t");
    return true;
}

static void take_range(http_head *h, const char *value)
{
    long long begin, end, total;
    if (sscanf(value, "bytes %lld-%lld/%lld", &begin, &end, &total) == 3) {
        h->range_begin = begin;
        h->range_end = end;
        h->range_total = total;
    }
}

static void take_header(http_head *h, const char *line)
{
    const char *value;
    int status;
    if (sscanf(line, "HTTP/%*s %d", &status) == 1)
        begin_head(h, status);
    else if (is_header(line, "content-length", &value))
        h->length = strtoll(value, NULL, 10);
    else if (is_header(line, "content-range", &value))
        take_range(h, value);
    else if (is_header(line, "retry-after", &value) && *value >= '0' && *value <= '9')
        h->retry_after = strtod(value, NULL);
    else if (is_header(line, "x-error-code", &value))
        snprintf(h->error_code, sizeof h->error_code, "%s", value);
    else if (is_header(line, "x-error-message", &value))
        snprintf(h->error_message, sizeof h->error_message, "%s", value);
}

static size_t on_header(char *bytes, size_t one, size_t n, void *user)
{
    transfer *t = user;
    char line[1024];
    size_t len = n < sizeof line - 1 ? n : sizeof line - 1;
    memcpy(line, bytes, len);
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    line[len] = '\0';
    take_header(t->head, line);
    return one * n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *user)
{
    transfer *t = user;
    if (t->head->status < 200 || t->head->status > 299)
        return one * n; /* an error's page */
    if (t->request->sink && !t->request->sink(t->head, bytes, n, t->request->user)) {
        t->stopped = true;
        return 0;
    }
    return one * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    transfer *t = user;
    if (!t->request->go_on || t->request->go_on(t->request->user))
        return 0;
    t->stopped = true;
    return 1;
}

static void set_up(CURL *c, transfer *t)
{
    const http_request *r = t->request;
    curl.setopt(c, CURLOPT_URL, r->url);
    curl.setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl.setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl.setopt(c, CURLOPT_MAXREDIRS, 8L);
    /* A redirection from https stays with it. */
    const char *kinds = strncasecmp(r->url, "https:", 6) == 0 ? "https" : "http,https";
    curl.setopt(c, CURLOPT_PROTOCOLS_STR, kinds);
    curl.setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, kinds);
    curl.setopt(c, CURLOPT_USERAGENT, "nexus/" NEXUS_VERSION);
    curl.setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->patience * 1000));
    curl.setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl.setopt(c, CURLOPT_LOW_SPEED_TIME, (long)(r->patience < 1 ? 1 : r->patience));
    curl.setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl.setopt(c, CURLOPT_HEADERDATA, t);
    curl.setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl.setopt(c, CURLOPT_WRITEDATA, t);
    curl.setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.setopt(c, CURLOPT_XFERINFODATA, t);
    curl.setopt(c, CURLOPT_NOPROGRESS, 0L);
    if (r->bearer && *r->bearer) {
        curl.setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl.setopt(c, CURLOPT_XOAUTH2_BEARER, r->bearer);
    }
}

bool http_get(const http_request *r, http_head *head, bool *stopped)
{
    begin_head(head, 0);
    *stopped = false;
    if (!ready())
        return false;
    CURL *c = curl.init();
    if (!c)
        return nx_fail("libcurl could not be started");
    transfer t = {.request = r, .head = head};
    char range[64];
    set_up(c, &t);
    if (r->ranged) {
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)r->from,
                 (unsigned long long)r->to);
        curl.setopt(c, CURLOPT_RANGE, range);
    }
    CURLcode code = curl.perform(c);
    curl.cleanup(c);
    *stopped = t.stopped;
    if (code != CURLE_OK && !t.stopped)
        return nx_fail("[%s] %s", r->url, curl.text(code));
    return code == CURLE_OK;
}

typedef struct {
    nx_str *out;
    size_t most;
} text_sink;

static bool add_text(const http_head *head, const char *bytes, size_t n, void *user)
{
    text_sink *t = user;
    if (t->out->len + n > t->most)
        return false;
    nx_str_add(t->out, bytes, n);
    return true;
}

bool http_text(const char *url, const char *bearer, double patience, size_t most, nx_str *out,
               http_head *head)
{
    text_sink t = {out, most};
    http_request r = {.url = url, .bearer = bearer, .patience = patience, .sink = add_text, .user = &t};
    bool stopped;
    if (!http_get(&r, head, &stopped))
        return stopped ? nx_fail("[%s] the answer is longer than %zu bytes", url, most) : false;
    return (head->status >= 200 && head->status < 300) ||
           nx_fail("[%s] the server answered with status %ld", url, head->status);
}

void http_put_path(nx_str *out, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~/", *p);
        if (plain) {
            nx_str_putc(out, (char)*p);
        } else {
            nx_str_putc(out, '%');
            nx_str_putc(out, hex[*p >> 4]);
            nx_str_putc(out, hex[*p & 15]);
        }
    }
}
