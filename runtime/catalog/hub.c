#include "runtime/catalog/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "runtime/catalog/facts.h"

enum { MOST_LISTING = 64 << 20, TRIES = 5 };

/* ---- the hub ---- */

static const char *endpoint(void)
{
    const char *e = getenv("HF_ENDPOINT");
    return e && *e ? e : "https://huggingface.co";
}

/* "org/name" of letters, digits and - _ . alone: it becomes part of an address and of a path. */
static bool is_repo(const char *repo)
{
    size_t slashes = 0;
    for (const char *p = repo; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-_.", *p);
        slashes += *p == '/';
        if (!plain && *p != '/')
            return false;
    }
    return *repo && slashes <= 1 && repo[0] != '.' && repo[0] != '/' && !strstr(repo, "..") &&
           repo[strlen(repo) - 1] != '/' && !strstr(repo, "/.");
}

nexus_status hub_explain(const hub_repo *h, const http_head *head, const char *what)
{
    bool absent = strcmp(head->error_code, "RepoNotFound") == 0 || head->status == 404;
    if (strcmp(head->error_code, "GatedRepo") == 0 || (head->status == 403 && !absent)) {
        nx_fail("[%s] is gated: accept its conditions at %s/%s, make a token there, and set HF_TOKEN to "
                "it%s", h->repo, h->endpoint, h->repo,
                h->token ? " (the one that is set has no access)" : "");
        return NEXUS_ERROR;
    }
    if (strcmp(head->error_code, "EntryNotFound") == 0) {
        nx_fail("[%s] has no file %s", h->repo, what);
        return NEXUS_ERROR_NOT_FOUND;
    }
    if (strcmp(head->error_code, "RevisionNotFound") == 0) {
        nx_fail("[%s] has no such revision", h->repo);
        return NEXUS_ERROR_NOT_FOUND;
    }
    if (absent || head->status == 401) {
        nx_fail("[%s] there is no such repository at %s, or it is private%s", h->repo, h->endpoint,
                h->token ? " and HF_TOKEN has no access" : ": then set HF_TOKEN");
        return NEXUS_ERROR_NOT_FOUND;
    }
    if (head->status == 429)
        nx_fail("[%s] the hub asks for fewer requests (429): try again later", h->repo);
    else
        nx_fail("[%s] the hub answered with status %ld for %s%s%s", h->repo, head->status, what,
                *head->error_message ? ": " : "", head->error_message);
    return NEXUS_ERROR;
}

/* ---- the listing ---- */

/* A name that may become one of ours: no way out of the folder, nothing hidden. */
static bool is_safe(const char *path)
{
    if (!*path || *path == '/' || strlen(path) > 240)
        return false;
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == '\\' || *p == 0x7F)
            return false;
    return path[0] != '.' && !strstr(path, "/.") && !strstr(path, "//");
}

static void add_file(hub_repo *h, const json_t *item)
{
    const char *path = nx_json_get_str(item, "rfilename", ""), *sha;
    int64_t bytes = nx_json_get_int(item, "lfs.size", nx_json_get_int(item, "size", -1));
    if (!is_safe(path) || bytes < 0)
        return;
    hub_file f = {.path = nx_strdup(path), .bytes = (uint64_t)bytes};
    sha = nx_json_get_str(item, "lfs.sha256", nx_json_get_str(item, "lfs.oid", ""));
    if (strlen(sha) == 64 && strspn(sha, "0123456789abcdef") == 64)
        memcpy(f.sha256, sha, 65);
    nx_vec_push(&h->files, f);
}

/* Status 429 and the servers' own faults pass: they are waited for. */
static bool passes(const http_head *head)
{
    return head->status == 429 || head->status >= 500;
}

static nexus_status ask(hub_repo *h, const char *url, nx_str *text)
{
    http_head head;
    double wait = 0.5;
    for (int i = 0; i < TRIES; i++, wait *= 2) {
        nx_str_truncate(text, 0);
        if (http_text(url, h->token, 30, MOST_LISTING, text, &head))
            return NEXUS_OK;
        if (head.status && !passes(&head))
            return hub_explain(h, &head, "its listing");
        if (!head.status && i >= 2)
            break;
        if (i + 1 < TRIES)
            usleep((useconds_t)((head.retry_after >= 0 && head.retry_after < 60 ? head.retry_after : wait) *
                                1e6));
    }
    return head.status ? hub_explain(h, &head, "its listing") : NEXUS_ERROR;
}

nexus_status hub_open(hub_repo *h, const char *repo, const char *revision)
{
    const char *token = getenv("HF_TOKEN");
    *h = (hub_repo){.endpoint = endpoint(), .token = token && *token ? token : NULL,
                    .repo = nx_strdup(repo)};
    if (!is_repo(repo)) {
        nx_fail("'%s' is no repository: it is named like org/name", repo);
        return NEXUS_ERROR_ARGUMENT;
    }
    nx_str url = {0}, text = {0};
    nx_str_printf(&url, "%s/api/models/%s/revision/", h->endpoint, repo);
    http_put_path(&url, revision ? revision : "main");
    nx_str_puts(&url, "?blobs=true");
    nexus_status status = ask(h, nx_str_cstr(&url), &text);
    json_t *j = NULL;
    if (!status && !(j = nx_json_parse(nx_str_cstr(&text), text.len, nx_str_cstr(&url))))
        status = NEXUS_ERROR_FORMAT;
    const json_t *files = json_object_get(j, "siblings");
    for (size_t i = 0; i < json_array_size(files); i++)
        add_file(h, json_array_get(files, i));
    const char *sha = nx_json_get_str(j, "sha", revision ? revision : "main");
    snprintf(h->revision, sizeof h->revision, "%.64s", sha);
    if (!status && !h->files.n) {
        nx_fail("[%s] the repository holds no files", repo);
        status = NEXUS_ERROR_NOT_FOUND;
    }
    json_decref(j);
    nx_str_clear(&url);
    nx_str_clear(&text);
    return status;
}

void hub_clear(hub_repo *h)
{
    for (size_t i = 0; i < h->files.n; i++)
        free(h->files.at[i].path);
    nx_vec_clear(&h->files);
    free(h->repo);
    *h = (hub_repo){0};
}

void hub_url(const hub_repo *h, const hub_file *f, nx_str *out)
{
    nx_str_printf(out, "%s/%s/resolve/", h->endpoint, h->repo);
    http_put_path(out, h->revision);
    nx_str_putc(out, '/');
    http_put_path(out, f->path);
}

/* ---- which files make a model ---- */

static const char *file_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_gguf(const hub_file *f)
{
    return nx_ends_with(f->path, ".gguf") && strncasecmp(file_part(f->path), "mmproj", 6) != 0 &&
           !strcasestr(f->path, "imatrix");
}

/* Wants a file and, of a split model, its other parts. */
static void want(hub_repo *h, const hub_file *f)
{
    int no, stem, other_stem, count = facts_split_name(f->path, &no, &stem);
    for (size_t i = 0; i < h->files.n; i++) {
        hub_file *g = &h->files.at[i];
        g->wanted |= g == f || (count > 1 && facts_split_name(g->path, &no, &other_stem) == count &&
                                other_stem == stem && memcmp(g->path, f->path, (size_t)stem) == 0);
    }
}

/* "Q4_K" shall not find "Q4_K_M" where there is a "Q4_K": the quantization stands between other
 * characters than its own. */
static bool has_word(const char *path, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = path; (p = strcasestr(p, word)); p++) {
        char before = p == path ? '-' : p[-1], after = p[n];
        if (strchr("-._/", before) && (!after || strchr("-./", after)))
            return true;
    }
    return false;
}

static const hub_file *find_gguf(const hub_repo *h, const char *word)
{
    const hub_file *found = NULL;
    for (size_t i = 0; i < h->files.n; i++) {
        const hub_file *f = &h->files.at[i];
        if (is_gguf(f) && (!word || has_word(f->path, word)) &&
            (!found || strcmp(f->path, found->path) < 0))
            found = f;
    }
    return found;
}

static nexus_status fail_choices(const hub_repo *h, const char *file)
{
    nx_str names = {0};
    size_t n = 0;
    for (size_t i = 0; i < h->files.n; i++)
        if (is_gguf(&h->files.at[i]) && n++ < 30)
            nx_str_printf(&names, "%s%s", names.len ? ", " : "", h->files.at[i].path);
    nx_fail("[%s] has no file or quantization '%s'%s%s", h->repo, file,
            names.len ? "; there are " : "", nx_str_cstr(&names));
    nx_str_clear(&names);
    return NEXUS_ERROR_NOT_FOUND;
}

static nexus_status choose_named(hub_repo *h, const char *file)
{
    for (size_t i = 0; i < h->files.n; i++)
        if (strcmp(h->files.at[i].path, file) == 0 || strcmp(file_part(h->files.at[i].path), file) == 0) {
            want(h, &h->files.at[i]);
            return NEXUS_OK;
        }
    const hub_file *f = find_gguf(h, file);
    if (!f)
        return fail_choices(h, file);
    want(h, f);
    return NEXUS_OK;
}

/* Folders of safetensors: settings, tokenizer and weights of the top level. */
static bool choose_folder(hub_repo *h)
{
    static const char *const kinds[] = {".safetensors", ".json", ".jinja", ".model", ".txt"};
    bool weights = false, settings = false;
    for (size_t i = 0; i < h->files.n; i++) {
        hub_file *f = &h->files.at[i];
        if (strchr(f->path, '/'))
            continue;
        settings |= strcmp(f->path, "config.json") == 0 || strcmp(f->path, "adapter_config.json") == 0;
        weights |= nx_ends_with(f->path, ".safetensors");
    }
    for (size_t i = 0; weights && settings && i < h->files.n; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            h->files.at[i].wanted |= !strchr(h->files.at[i].path, '/') &&
                                     nx_ends_with(h->files.at[i].path, kinds[k]);
    return weights && settings;
}

nexus_status hub_choose(hub_repo *h, const char *file)
{
    static const char *const best[] = {"Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q4_1", "Q6_K", "Q8_0",
                                       "Q5_K_S", "Q3_K_M", "F16", "BF16"};
    if (file && *file)
        return choose_named(h, file);
    if (choose_folder(h))
        return NEXUS_OK;
    const hub_file *f = NULL;
    for (size_t i = 0; i < sizeof best / sizeof *best && !f; i++)
        f = find_gguf(h, best[i]);
    f = f ? f : find_gguf(h, NULL);
    if (f) {
        want(h, f);
        return NEXUS_OK;
    }
    nx_fail("[%s] holds no model that can be used: there are neither safetensors with a config.json nor "
            "GGUF files", h->repo);
    return NEXUS_ERROR_UNSUPPORTED;
}
