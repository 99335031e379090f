#include "base/os_cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

/* Reads a small file. These files vanish and appear, so that one is missing is no error, and no
 * error message is touched. */
static bool slurp(nx_str *out, const char *root, const char *dir, const char *group,
                  const char *file)
{
    nx_str path = {0};
    char piece[4096];
    size_t n;
    nx_str_printf(&path, "%s%s%s%s%s", root, dir, group, *file ? "/" : "", file);
    FILE *f = fopen(path.data, "re");
    nx_str_clear(&path);
    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        nx_str_add(out, piece, n);
    fclose(f);
    return true;
}

/* A file of one number; "max" and what version 1 says for no limit (about 2^63) are no limit. */
static uint64_t read_limit(const char *root, const char *dir, const char *group, const char *file)
{
    nx_str text = {0};
    uint64_t v = UINT64_MAX;
    if (slurp(&text, root, dir, group, file) && text.len && text.data[0] >= '0' &&
        text.data[0] <= '9')
        v = strtoull(text.data, NULL, 10);
    nx_str_clear(&text);
    return v >= UINT64_MAX / 4 ? UINT64_MAX : v;
}

/* The number behind a name in a file of lines "name number". */
static uint64_t read_stat(const char *root, const char *dir, const char *group, const char *name)
{
    nx_str text = {0};
    uint64_t v = 0;
    size_t n = strlen(name);
    if (slurp(&text, root, dir, group, "memory.stat"))
        for (const char *p = text.data; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
            if (strncmp(p, name, n) == 0 && p[n] == ' ')
                v = strtoull(p + n, NULL, 10);
    nx_str_clear(&text);
    return v;
}

/* What differs between the versions: where groups lie and how their files are named. */
typedef struct {
    const char *memory_dir, *cpu_dir;
    const char *limit, *usage, *inactive;
} layout;

static const layout v2 = {"/sys/fs/cgroup", "/sys/fs/cgroup", "memory.max", "memory.current",
                          "inactive_file"};
static const layout v1 = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "memory.limit_in_bytes",
                          "memory.usage_in_bytes", "total_inactive_file"};

static void memory_of(nx_os_cgroup *c, const char *root, const layout *l, const char *group)
{
    uint64_t limit = read_limit(root, l->memory_dir, group, l->limit);
    if (limit == UINT64_MAX)
        return;
    uint64_t used = read_limit(root, l->memory_dir, group, l->usage);
    uint64_t file = read_stat(root, l->memory_dir, group, l->inactive);
    used = used == UINT64_MAX ? 0 : used;
    used = used > file ? used - file : 0;
    uint64_t room = limit > used ? limit - used : 0;
    if (limit < c->memory_limit)
        c->memory_limit = limit;
    if (room < c->memory_free)
        c->memory_free = room;
}

static void cpus_of(nx_os_cgroup *c, const char *root, const layout *l, const char *group)
{
    uint64_t quota, period;
    if (l == &v2) { /* "max 100000" or "50000 100000" */
        nx_str text = {0};
        unsigned long long q = 0, p = 0;
        if (slurp(&text, root, l->cpu_dir, group, "cpu.max"))
            (void)sscanf(text.data ? text.data : "", "%llu %llu", &q, &p);
        nx_str_clear(&text);
        quota = q;
        period = p;
    } else { /* -1 for no limit, which reads as none */
        quota = read_limit(root, l->cpu_dir, group, "cpu.cfs_quota_us");
        period = read_limit(root, l->cpu_dir, group, "cpu.cfs_period_us");
        if (quota == UINT64_MAX || period == UINT64_MAX)
            return;
    }
    if (!quota || !period)
        return;
    double cpus = (double)quota / (double)period;
    if (c->cpus == 0 || cpus < c->cpus)
        c->cpus = cpus;
}

/* Our group and all above it, to the root of the mount: inside a container the path may name a
 * place that only the host sees, and then the mount's root is what holds us. */
static void walk_up(nx_os_cgroup *c, const char *root, const layout *l, const char *group,
                    bool memory, bool cpu)
{
    char *g = nx_strdup(group);
    for (size_t n = strlen(g); n && g[n - 1] == '/';)
        g[--n] = '\0';
    for (;;) {
        if (memory)
            memory_of(c, root, l, g);
        if (cpu)
            cpus_of(c, root, l, g);
        char *slash = strrchr(g, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
    free(g);
}

static bool has_controller(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    return false;
}

/* One line of /proc/self/cgroup: "0::/group" is version 2, "4:memory:/group" version 1. */
static void read_line(nx_os_cgroup *c, const char *root, char *line)
{
    char *list = strchr(line, ':');
    char *group = list ? strchr(list + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = '\0';
    list++;
    if (*list == '\0')
        walk_up(c, root, &v2, group, true, true);
    else
        walk_up(c, root, &v1, group, has_controller(list, "memory"), has_controller(list, "cpu"));
}

nx_os_cgroup nx_os_cgroup_read(const char *root)
{
    nx_os_cgroup c = {UINT64_MAX, UINT64_MAX, 0};
    nx_str text = {0};
    if (slurp(&text, root, "/proc/self/cgroup", "", "") && text.len) {
        char *rest = text.data, *line;
        while ((line = strsep(&rest, "\n")))
            read_line(&c, root, line);
    }
    nx_str_clear(&text);
    return c;
}
