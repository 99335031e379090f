#include "runtime/convert/place.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"
#include "base/vec.h"

static const char mark[] = ".partial-";

/* A folder and what is in it, links not followed. */
static void remove_tree(const char *path)
{
    nx_str below = {0};
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        nx_str_truncate(&below, 0);
        nx_str_printf(&below, "%s/%s", path, e->d_name);
        if (lstat(nx_str_cstr(&below), &st) == 0 && S_ISDIR(st.st_mode))
            remove_tree(nx_str_cstr(&below));
        else
            unlink(nx_str_cstr(&below));
    }
    if (d)
        closedir(d);
    rmdir(path);
    nx_str_clear(&below);
}

/* Left by a process that is no more. */
static void remove_stale(const place *p)
{
    DIR *d = opendir(p->parent);
    size_t n = strlen(p->name);
    nx_str path = {0};
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *at = e->d_name;
        if (at[0] != '.' || strncmp(at + 1, p->name, n) != 0 ||
            strncmp(at + 1 + n, mark, sizeof mark - 1) != 0)
            continue;
        long pid = strtol(at + n + sizeof mark, NULL, 10);
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/%s", p->parent, at);
        remove_tree(nx_str_cstr(&path));
    }
    if (d)
        closedir(d);
    nx_str_clear(&path);
}

static bool check_disk(const place *p, uint64_t bytes)
{
    struct statvfs v;
    if (statvfs(p->parent, &v) != 0)
        return nx_fail("[%s] cannot be written to: %s", p->parent, strerror(errno));
    uint64_t room = (uint64_t)v.f_bavail * v.f_frsize, need = bytes + bytes / 100 + (16 << 20);
    return room >= need || nx_fail("[%s] %.2f GB are needed and %.2f GB are free on this disk", p->parent,
                                   (double)need / 1e9, (double)room / 1e9);
}

static bool make_folder(place *p)
{
    nx_str path = {0};
    nx_str_printf(&path, "%s/.%s%s%ld", p->parent, p->name, mark, (long)getpid());
    p->folder = nx_str_take(&path);
    remove_tree(p->folder);
    if (mkdir(p->folder, 0777) == 0)
        return true;
    nx_fail("[%s] the folder cannot be made: %s", p->folder, strerror(errno));
    free(p->folder);
    p->folder = NULL;
    return false;
}

bool place_open(place *p, const char *target, uint64_t bytes, bool replace)
{
    *p = (place){.target = nx_strdup(target), .replace = replace};
    size_t n = strlen(target);
    while (n > 1 && p->target[n - 1] == '/')
        p->target[--n] = '\0';
    char *slash = strrchr(p->target, '/');
    p->name = nx_strdup(slash ? slash + 1 : p->target);
    p->parent = slash == p->target ? nx_strdup("/")
                : slash ? nx_strndup(p->target, (size_t)(slash - p->target)) : nx_strdup(".");
    struct stat st;
    if (!*p->name || strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0)
        return nx_fail("'%s' is no name for a new model", target);
    if (!nx_os_is_dir(p->parent))
        return nx_fail("[%s] is no folder: make it first", p->parent);
    if (lstat(p->target, &st) == 0 && !replace)
        return nx_fail("[%s] is there already: name another target, or replace it by --force", p->target);
    remove_stale(p);
    return check_disk(p, bytes) && make_folder(p);
}

static bool rename_or_say(const char *from, const char *to)
{
    return rename(from, to) == 0 || nx_fail("[%s] cannot be put in its place: %s", to, strerror(errno));
}

bool place_commit_folder(place *p)
{
    struct stat st;
    nx_str old = {0};
    bool there = lstat(p->target, &st) == 0, ok = true;
    nx_str_printf(&old, "%s/.%s%s%ld-old", p->parent, p->name, mark, (long)getpid());
    if (there)
        ok = rename_or_say(p->target, nx_str_cstr(&old));
    ok = ok && rename_or_say(p->folder, p->target);
    if (!ok && there)
        (void)rename(nx_str_cstr(&old), p->target);
    if (ok && there && S_ISDIR(st.st_mode))
        remove_tree(nx_str_cstr(&old));
    else if (ok && there)
        unlink(nx_str_cstr(&old));
    nx_str_clear(&old);
    if (ok) {
        free(p->folder);
        p->folder = NULL;
    }
    return ok;
}

static int backwards(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

bool place_commit_files(place *p)
{
    NX_VEC(char *) names = {0};
    nx_str from = {0}, to = {0};
    DIR *d = opendir(p->folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            nx_vec_push(&names, nx_strdup(e->d_name));
    if (d)
        closedir(d);
    bool ok = names.n > 0;
    if (ok)
        nx_vec_sort(&names, backwards);
    for (size_t i = 0; i < names.n; i++) {
        nx_str_truncate(&from, 0);
        nx_str_truncate(&to, 0);
        nx_str_printf(&from, "%s/%s", p->folder, names.at[i]);
        nx_str_printf(&to, "%s/%s", p->parent, names.at[i]);
        ok = ok && rename_or_say(nx_str_cstr(&from), nx_str_cstr(&to));
        free(names.at[i]);
    }
    nx_vec_clear(&names);
    nx_str_clear(&from);
    nx_str_clear(&to);
    return ok;
}

void place_clear(place *p)
{
    if (p->folder)
        remove_tree(p->folder);
    free(p->folder);
    free(p->target);
    free(p->parent);
    free(p->name);
    *p = (place){0};
}
