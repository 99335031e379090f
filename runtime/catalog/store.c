/* store.c: the store of models: taking in what lies elsewhere, giving away, other names. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "base/outfile.h"
#include "base/vec.h"
#include "nexus/nexus.h"
#include "runtime/catalog/facts.h"
#include "runtime/catalog/names.h"

static bool store_path(nx_str *out)
{
    return nx_os_path(out, NX_OS_DATA, "models") && nx_os_mkdir_p(nx_str_cstr(out), 0700);
}

/* ---- removing ---- */

static bool remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return nx_fail("[%s] %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return unlink(path) == 0 || nx_fail("[%s] cannot be removed: %s", path, strerror(errno));
    DIR *d = opendir(path);
    bool ok = d != NULL;
    for (struct dirent *e; ok && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        nx_str below = {0};
        nx_str_printf(&below, "%s/%s", path, e->d_name);
        ok = remove_tree(nx_str_cstr(&below));
        nx_str_clear(&below);
    }
    if (d)
        closedir(d);
    return (ok && rmdir(path) == 0) || (ok && nx_fail("[%s] cannot be removed: %s", path, strerror(errno)));
}

/* The entry of the store that is called so, in any case; NULL if there is none. */
static char *find_entry(const char *store, const char *name)
{
    DIR *d = opendir(store);
    char *found = NULL;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        size_t n = strlen(e->d_name), w = strlen(name);
        bool gguf = n > 5 && strcasecmp(e->d_name + n - 5, ".gguf") == 0;
        if (e->d_name[0] != '.' && (strcasecmp(e->d_name, name) == 0 ||
                                    (gguf && n - 5 == w && strncasecmp(e->d_name, name, w) == 0)))
            found = nx_strdup(e->d_name);
    }
    if (d)
        closedir(d);
    return found;
}

static nexus_status rename_away(const char *store, const char *entry, char **path)
{
    nx_str from = {0}, away = {0};
    nexus_status status = NEXUS_OK;
    nx_str_printf(&from, "%s/%s", store, entry);
    nx_str_printf(&away, "%s/.removed-%ld-%s", store, (long)getpid(), entry);
    /* First it stops being a model, then it is taken apart. */
    if (rename(nx_str_cstr(&from), nx_str_cstr(&away)) != 0) {
        nx_fail("[%s] cannot be removed: %s", nx_str_cstr(&from), strerror(errno));
        status = NEXUS_ERROR;
    } else if (!remove_tree(nx_str_cstr(&away))) {
        status = NEXUS_ERROR;
    } else {
        *path = nx_str_take(&from);
    }
    nx_str_clear(&from);
    nx_str_clear(&away);
    return status;
}

nexus_status nexus_store_remove(const char *name, char **path)
{
    nx_str store = {0};
    nexus_status status = NEXUS_ERROR;
    if (strchr(name, '/') || !*name) {
        nx_fail("[%s] only stored models are removed, by their names: what lies elsewhere is not ours",
                name);
        status = NEXUS_ERROR_ARGUMENT;
    } else if (store_path(&store)) {
        char *entry = find_entry(nx_str_cstr(&store), name);
        char *alias = entry ? NULL : names_alias(name);
        if (entry)
            status = rename_away(nx_str_cstr(&store), entry, path);
        else if (alias)
            nx_fail("'%s' is an alias of %s: 'nexus alias --remove %s' forgets it", name, alias, name);
        else
            nx_fail("[%s] there is no stored model of this name ('nexus models' lists them)", name);
        if (!entry)
            status = NEXUS_ERROR_NOT_FOUND;
        free(entry);
        free(alias);
    }
    nx_str_clear(&store);
    return status;
}

/* ---- taking in ---- */

typedef struct {
    nexus_import_mode mode;
    bool (*progress)(double, void *);
    void *user;
    uint64_t total, done;
} import_job;

static nexus_status copy_file(import_job *j, const char *from, const char *to)
{
    enum { PIECE = 1 << 20 };
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    nx_outfile *out = fd >= 0 ? nx_outfile_open(to) : NULL;
    nexus_status status = out ? NEXUS_OK : NEXUS_ERROR;
    char *piece = nx_malloc(PIECE);
    if (fd < 0)
        nx_fail("[%s] cannot be read: %s", from, strerror(errno));
    while (!status) {
        ssize_t n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            nx_fail("[%s] cannot be read: %s", from, strerror(errno));
            status = NEXUS_ERROR;
        } else if (n == 0) {
            break;
        } else if (!nx_outfile_write(out, piece, (size_t)n)) {
            status = NEXUS_ERROR;
        }
        j->done += n > 0 ? (uint64_t)n : 0;
        if (!status && j->progress && !j->progress(j->total ? (double)j->done / (double)j->total : 1, j->user)) {
            nx_fail("stopped: nothing was stored");
            status = NEXUS_ERROR_CANCELLED;
        }
    }
    if (!status && !nx_outfile_commit(out))
        status = NEXUS_ERROR;
    nx_outfile_free(out);
    if (fd >= 0)
        close(fd);
    free(piece);
    return status;
}

static nexus_status place_file(import_job *j, const char *from, const char *to)
{
    char *whole = realpath(from, NULL);
    int failed = 0;
    if (!whole) {
        nx_fail("[%s] %s", from, strerror(errno));
        return NEXUS_ERROR_NOT_FOUND;
    }
    if (j->mode == NEXUS_IMPORT_COPY) {
        nexus_status status = copy_file(j, whole, to);
        free(whole);
        return status;
    }
    failed = j->mode == NEXUS_IMPORT_HARD_LINK ? link(whole, to) : symlink(whole, to);
    if (failed)
        nx_fail("[%s] cannot be linked to %s: %s%s", from, to, strerror(errno),
                errno == EXDEV ? " (on another disk: use --copy or --link)" : "");
    free(whole);
    return failed ? NEXUS_ERROR : NEXUS_OK;
}

/* All regular files of a model's folder; folders in it stay behind, models have none. */
static nexus_status place_folder(import_job *j, const char *from, const char *to)
{
    if (j->mode == NEXUS_IMPORT_LINK)
        return place_file(j, from, to);
    nx_str staging = {0};
    const char *slash = strrchr(to, '/');
    nx_str_printf(&staging, "%.*s/.import-%ld-%s", (int)(slash - to), to, (long)getpid(), slash + 1);
    nexus_status status = nx_os_mkdir_p(nx_str_cstr(&staging), 0777) ? NEXUS_OK : NEXUS_ERROR;
    DIR *d = opendir(from);
    for (struct dirent *e; !status && d && (e = readdir(d));) {
        nx_str a = {0}, b = {0};
        nx_str_printf(&a, "%s/%s", from, e->d_name);
        nx_str_printf(&b, "%s/%s", nx_str_cstr(&staging), e->d_name);
        if (e->d_name[0] != '.' && nx_os_is_file(nx_str_cstr(&a)))
            status = place_file(j, nx_str_cstr(&a), nx_str_cstr(&b));
        nx_str_clear(&a);
        nx_str_clear(&b);
    }
    if (d)
        closedir(d);
    if (!status && rename(nx_str_cstr(&staging), to) != 0) {
        nx_fail("%s cannot be put in place: %s", to, strerror(errno));
        status = NEXUS_ERROR;
    }
    if (status && nx_os_is_dir(nx_str_cstr(&staging))) {
        char *message = nx_strdup(nx_error_message());
        remove_tree(nx_str_cstr(&staging));
        nx_fail("%s", message);
        free(message);
    }
    nx_str_clear(&staging);
    return status;
}

/* The files of a split GGUF go into a folder of their own. */
static nexus_status place_split(import_job *j, const char *path, const char *to, int count)
{
    nx_str part = {0};
    nexus_status status = nx_os_mkdir_p(to, 0777) ? NEXUS_OK : NEXUS_ERROR;
    for (int i = 1; i <= count && !status; i++) {
        nx_str target = {0};
        nx_str_truncate(&part, 0);
        nx_str_printf(&part, "%.*s-%05d-of-%05d.gguf", (int)(strlen(path) - 20), path, i, count);
        const char *slash = strrchr(nx_str_cstr(&part), '/');
        nx_str_printf(&target, "%s/%s", to, slash ? slash + 1 : nx_str_cstr(&part));
        status = place_file(j, nx_str_cstr(&part), nx_str_cstr(&target));
        nx_str_clear(&target);
    }
    if (status) {
        char *message = nx_strdup(nx_error_message());
        remove_tree(to);
        nx_fail("%s", message);
        free(message);
    }
    nx_str_clear(&part);
    return status;
}

static bool target_path(nx_str *out, const nexus_model_info *info, const char *name, bool folder,
                        bool split)
{
    const char *last = strrchr(info->path, '/');
    last = last ? last + 1 : info->path;
    size_t n = strlen(last);
    if (!store_path(out))
        return false;
    nx_str_putc(out, '/');
    if (name)
        nx_str_printf(out, "%s%s", name, folder || split ? "" : ".gguf");
    else
        nx_str_add(out, last, split ? n - 20 : n);
    if (!name && !folder && !split && (n < 5 || strcasecmp(last + n - 5, ".gguf") != 0))
        nx_str_puts(out, ".gguf");
    return access(nx_str_cstr(out), F_OK) != 0 ||
           nx_fail("%s is there already: remove it first (nexus rm), or choose another name (--name)",
                   nx_str_cstr(out));
}

nexus_status nexus_store_import(const char *path, const nexus_import_options *options, char **stored)
{
    nexus_import_options o = options ? *options : (nexus_import_options){0};
    nexus_model_info info;
    if (o.name && (strchr(o.name, '/') || o.name[0] == '.' || !*o.name)) {
        nx_fail("'%s' cannot be a stored model's name", o.name);
        return NEXUS_ERROR_ARGUMENT;
    }
    nexus_status status = nexus_inspect(path, 0, &info);
    if (status == NEXUS_ERROR_UNSUPPORTED) { /* a good model all the same */
        info = (nexus_model_info){0};
        snprintf(info.path, sizeof info.path, "%s", path);
        status = NEXUS_OK;
    }
    if (status)
        return status;
    size_t n = strlen(info.path);
    while (n > 1 && info.path[n - 1] == '/')
        info.path[--n] = '\0';
    import_job j = {.mode = o.mode, .progress = o.progress, .user = o.user, .total = info.bytes};
    int no, stem, count = facts_split_name(info.path, &no, &stem);
    bool folder = nx_os_is_dir(info.path), split = !folder && count > 1;
    nx_str to = {0};
    if (!target_path(&to, &info, o.name, folder, split))
        status = NEXUS_ERROR;
    else if (folder)
        status = place_folder(&j, info.path, nx_str_cstr(&to));
    else if (split)
        status = place_split(&j, info.path, nx_str_cstr(&to), count);
    else
        status = place_file(&j, info.path, nx_str_cstr(&to));
    if (!status)
        *stored = nx_str_take(&to);
    nx_str_clear(&to);
    return status;
}

nexus_status nexus_alias_set(const char *alias, const char *target)
{
    return names_set_alias(alias, target) ? NEXUS_OK : NEXUS_ERROR_ARGUMENT;
}

nexus_status nexus_alias_list(char **json)
{
    json_t *all = names_aliases();
    *json = json_dumps(all, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(all);
    return NEXUS_OK;
}
