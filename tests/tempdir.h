/*
 * tempdir.h: a folder for one test's files, gone afterwards. temp_path gives one of a few static
 * buffers, so a handful of paths may be held at once.
 */
#ifndef NX_TESTS_TEMPDIR_H
#define NX_TESTS_TEMPDIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_dir[256];

static inline int temp_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(temp_dir, sizeof temp_dir, "%s/nexus-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(temp_dir) ? 0 : -1;
}

static inline const char *temp_path(const char *name)
{
    static char paths[8][512];
    static int next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", temp_dir, name);
    return p;
}

/* Files directly in the folder: what a writer that gave up must not leave. */
static inline int temp_count(void)
{
    int n = 0;
    DIR *d = opendir(temp_dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static inline void temp_remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char inner[1024];
        if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'))
            continue;
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= sizeof inner)
            continue;
        struct stat st;
        if (lstat(inner, &st) == 0 && S_ISDIR(st.st_mode))
            temp_remove_tree(inner);
        else
            unlink(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static inline int temp_drop(void **state)
{
    (void)state;
    temp_remove_tree(temp_dir);
    return 0;
}

#endif
