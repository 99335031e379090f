/*
 * pull.c: nexus_pull: a model from a hub into the store. It is put together in a folder whose name
 * begins with a dot (which no one takes for a model) and appears under its name whole and checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "base/sha256.h"
#include "nexus/nexus.h"
#include "runtime/catalog/facts.h"
#include "runtime/catalog/fetch.h"
#include "runtime/catalog/hub.h"

enum { DEFAULT_CONNECTIONS = 4 };
static const uint64_t SPARE = 64 << 20; /* of the disk, left to others */

typedef struct {
    hub_repo hub;
    const nexus_pull_options *options;
    nx_str store, staging, target;
    int lock;
    bool single; /* one GGUF file, not a folder */
    uint64_t total, before; /* bytes of all files; of the files done before the current one */
    uint64_t at_start;      /* there when it began */
    double started;
    size_t file_no, files;
    const char *file;
} pull;

static const char *file_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- names ---- */

/* Where it is to appear: a GGUF file under its own name, parts of one in a folder of their stem's,
 * anything else in a folder of the repository's. */
static bool name_places(pull *p, const char *file)
{
    const hub_file *first = NULL;
    for (size_t i = 0; i < p->hub.files.n; i++) {
        const hub_file *f = &p->hub.files.at[i];
        if (!f->wanted)
            continue;
        first = first ? first : f;
        p->files++;
        p->total += f->bytes;
    }
    const char *name = file_part(first->path);
    size_t n = strlen(name);
    int no, stem;
    bool gguf = n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
    p->single = gguf && p->files == 1;
    if (!nx_os_path(&p->store, NX_OS_DATA, "models") || !nx_os_mkdir_p(nx_str_cstr(&p->store), 0700))
        return false;
    const char *wanted = p->options->name;
    nx_str_printf(&p->target, "%s/", nx_str_cstr(&p->store));
    if (wanted)
        nx_str_printf(&p->target, "%s%s", wanted, p->single ? ".gguf" : "");
    else if (p->single)
        nx_str_puts(&p->target, name);
    else if (gguf && facts_split_name(name, &no, &stem) > 0)
        nx_str_add(&p->target, name, (size_t)stem);
    else
        nx_str_puts(&p->target, file_part(p->hub.repo));
    nx_str_printf(&p->staging, "%s/.pull-", nx_str_cstr(&p->store));
    for (const char *c = p->hub.repo; *c; c++)
        nx_str_putc(&p->staging, *c == '/' ? '+' : *c);
    for (const char *c = file ? file : ""; *c; c++)
        nx_str_putc(&p->staging, c == file ? '+' : *c == '/' ? '+' : *c);
    return true;
}

static void path_in(nx_str *out, const nx_str *folder, const hub_file *f)
{
    nx_str_truncate(out, 0);
    nx_str_printf(out, "%s/%s", nx_str_cstr(folder), file_part(f->path));
}

/* ---- before anything is fetched ---- */

/* The same model, there already: sizes agree, and of a single file the SHA-256 too. */
static bool is_there(pull *p)
{
    nx_str path = {0};
    char hex[65];
    bool same = true;
    for (size_t i = 0; i < p->hub.files.n && same; i++) {
        const hub_file *f = &p->hub.files.at[i];
        struct stat st;
        if (!f->wanted)
            continue;
        path_in(&path, &p->target, f);
        const char *at = p->single ? nx_str_cstr(&p->target) : nx_str_cstr(&path);
        same = stat(at, &st) == 0 && (uint64_t)st.st_size == f->bytes &&
               (!*f->sha256 || (nx_sha256_file(at, hex) && strcmp(hex, f->sha256) == 0));
    }
    nx_str_clear(&path);
    return same;
}

static nexus_status check_space(pull *p)
{
    struct statvfs v;
    nx_str path = {0};
    for (size_t i = 0; i < p->hub.files.n; i++) {
        const hub_file *f = &p->hub.files.at[i];
        if (!f->wanted)
            continue;
        path_in(&path, &p->staging, f);
        p->at_start += fetch_there(f, nx_str_cstr(&path));
    }
    nx_str_clear(&path);
    if (statvfs(nx_str_cstr(&p->store), &v) != 0)
        return NEXUS_OK;
    uint64_t room = (uint64_t)v.f_bavail * v.f_frsize, need = p->total - p->at_start;
    if (need <= room && room - need >= SPARE)
        return NEXUS_OK;
    nx_fail("[%s] needs %.2f GB, and %.2f GB of the disk of %s are free: make room, or set "
            "XDG_DATA_HOME to another disk", p->hub.repo, (double)need / 1e9, (double)room / 1e9,
            nx_str_cstr(&p->store));
    return NEXUS_ERROR;
}

static nexus_status take_lock(pull *p)
{
    nx_str path = {0};
    if (!nx_os_mkdir_p(nx_str_cstr(&p->staging), 0700))
        return NEXUS_ERROR;
    nx_str_printf(&path, "%s/.lock", nx_str_cstr(&p->staging));
    p->lock = open(nx_str_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    nx_str_clear(&path);
    if (p->lock < 0) {
        nx_fail("%s cannot be written: %s", nx_str_cstr(&p->staging), strerror(errno));
        return NEXUS_ERROR;
    }
    if (flock(p->lock, LOCK_EX | LOCK_NB) != 0) {
        nx_fail("[%s] another pull of it is running", p->hub.repo);
        return NEXUS_ERROR;
    }
    return NEXUS_OK;
}

/* ---- fetching ---- */

static bool tell(uint64_t there, void *user)
{
    pull *p = user;
    double seconds = nx_os_seconds() - p->started;
    uint64_t done = p->before + there;
    uint64_t fetched = done > p->at_start ? done - p->at_start : 0;
    nexus_pull_progress g = {.file = p->file, .file_no = p->file_no, .files = p->files, .done = done,
                             .total = p->total};
    g.rate = seconds > 0 ? (double)fetched / seconds : 0;
    g.seconds_left = g.rate > 0 ? (double)(p->total - done) / g.rate : -1;
    return !p->options->progress || p->options->progress(&g, p->options->user);
}

static nexus_status fetch_all(pull *p)
{
    nx_str path = {0};
    nexus_status status = NEXUS_OK;
    p->started = nx_os_seconds();
    for (size_t i = 0; i < p->hub.files.n && !status; i++) {
        const hub_file *f = &p->hub.files.at[i];
        if (!f->wanted)
            continue;
        p->file = f->path;
        p->file_no++;
        path_in(&path, &p->staging, f);
        fetch_request r = {.hub = &p->hub, .file = f, .path = nx_str_cstr(&path), .progress = tell,
                           .user = p};
        r.connections = p->options->connections > 0 ? p->options->connections : DEFAULT_CONNECTIONS;
        status = fetch_file(&r);
        p->before += f->bytes;
    }
    nx_str_clear(&path);
    return status;
}

static bool remove_entry(const nx_str *folder, const char *name)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/%s", nx_str_cstr(folder), name);
    bool ok = unlink(nx_str_cstr(&path)) == 0;
    nx_str_clear(&path);
    return ok;
}

/* The last step: from here on it is a model. */
static nexus_status put_in_place(pull *p)
{
    nx_str from = {0};
    for (size_t i = 0; i < p->hub.files.n && p->single; i++)
        if (p->hub.files.at[i].wanted)
            path_in(&from, &p->staging, &p->hub.files.at[i]);
    if (!p->single)
        remove_entry(&p->staging, ".lock");
    const char *source = p->single ? nx_str_cstr(&from) : nx_str_cstr(&p->staging);
    bool ok = rename(source, nx_str_cstr(&p->target)) == 0;
    if (!ok)
        nx_fail("%s cannot be put in place: %s", nx_str_cstr(&p->target), strerror(errno));
    if (ok && p->single) {
        remove_entry(&p->staging, ".lock");
        rmdir(nx_str_cstr(&p->staging));
    }
    nx_str_clear(&from);
    return ok ? NEXUS_OK : NEXUS_ERROR;
}

static nexus_status run(pull *p, const char *file, nexus_pull_result *out)
{
    nexus_status status = hub_choose(&p->hub, file);
    if (status)
        return status;
    if (!name_places(p, file))
        return NEXUS_ERROR;
    bool exists = access(nx_str_cstr(&p->target), F_OK) == 0;
    if (exists && !is_there(p)) {
        nx_fail("%s is there already, with other content: remove it first (nexus rm), or choose another "
                "name (--name)", nx_str_cstr(&p->target));
        return NEXUS_ERROR;
    }
    if (!exists) {
        status = check_space(p);
        if (!status)
            status = take_lock(p);
        if (!status)
            status = fetch_all(p);
        if (!status)
            status = put_in_place(p);
    }
    if (!status)
        *out = (nexus_pull_result){.path = nx_str_take(&p->target), .bytes = p->total,
                                   .files = p->files, .was_there = exists,
                                   .fetched = exists ? 0 : p->total - p->at_start};
    return status;
}

/* "org/name:file" in two. */
static char *split_repo(const char *what, const char **file)
{
    const char *colon = strchr(what, ':');
    *file = colon && colon[1] ? colon + 1 : NULL;
    return nx_strndup(what, colon ? (size_t)(colon - what) : strlen(what));
}

nexus_status nexus_pull(const char *what, const nexus_pull_options *options, nexus_pull_result *out)
{
    nexus_pull_options none = {0};
    pull p = {.options = options ? options : &none, .lock = -1};
    const char *file;
    if (p.options->name && (strchr(p.options->name, '/') || *p.options->name == '.' || !*p.options->name)) {
        nx_fail("'%s' cannot be a stored model's name", p.options->name);
        return NEXUS_ERROR_ARGUMENT;
    }
    char *repo = split_repo(what, &file);
    nexus_status status = hub_open(&p.hub, repo, p.options->revision);
    if (!status)
        status = run(&p, file, out);
    if (p.lock >= 0)
        close(p.lock);
    hub_clear(&p.hub);
    nx_str_clear(&p.store);
    nx_str_clear(&p.staging);
    nx_str_clear(&p.target);
    free(repo);
    return status;
}

nexus_status nexus_pull_list(const char *what, const char *revision, nexus_pull_file **files,
                             size_t *count)
{
    hub_repo hub;
    const char *file;
    char *repo = split_repo(what, &file);
    nexus_status status = hub_open(&hub, repo, revision);
    if (!status)
        status = hub_choose(&hub, file);
    if (!status) {
        *files = nx_calloc(hub.files.n, sizeof **files);
        *count = hub.files.n;
        for (size_t i = 0; i < hub.files.n; i++) {
            (*files)[i] = (nexus_pull_file){.bytes = hub.files.at[i].bytes,
                                            .wanted = hub.files.at[i].wanted};
            snprintf((*files)[i].path, sizeof (*files)[i].path, "%s", hub.files.at[i].path);
        }
    }
    hub_clear(&hub);
    free(repo);
    return status;
}
