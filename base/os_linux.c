/*
 * os_linux.c: memory and processors on Linux, from /proc, /sys and the control groups.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "base/os_cgroup.h"

/* The bytes that a line "Name:   123 kB" of a /proc file states; 0 if there is none. */
static uint64_t kilobytes(const char *file, const char *name)
{
    FILE *f = fopen(file, "re");
    char line[256];
    unsigned long long kb = 0;
    size_t n = strlen(name);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%llu", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kb * 1024;
}

uint64_t nx_os_memory_total(void)
{
    uint64_t total = kilobytes("/proc/meminfo", "MemTotal");
    nx_os_cgroup c = nx_os_cgroup_read("");
    return c.memory_limit < total ? c.memory_limit : total;
}

uint64_t nx_os_memory_available(void)
{
    uint64_t available = kilobytes("/proc/meminfo", "MemAvailable");
    if (!available) /* kernels before 3.14, and some sandboxes */
        available = kilobytes("/proc/meminfo", "MemFree") + kilobytes("/proc/meminfo", "Cached");
    nx_os_cgroup c = nx_os_cgroup_read("");
    return c.memory_free < available ? c.memory_free : available;
}

uint64_t nx_os_rss(void)
{
    return kilobytes("/proc/self/status", "VmRSS");
}

uint64_t nx_os_rss_peak(void)
{
    return kilobytes("/proc/self/status", "VmHWM");
}

static _Atomic uint64_t anon_seen; /* the highest so far */

uint64_t nx_os_anon(void)
{
    uint64_t now = kilobytes("/proc/self/status", "RssAnon");
    uint64_t before = atomic_load(&anon_seen);
    while (now > before && !atomic_compare_exchange_weak(&anon_seen, &before, now))
        ;
    return now;
}

uint64_t nx_os_anon_peak(void)
{
    nx_os_anon();
    return atomic_load(&anon_seen);
}

/* ---- processors ---- */

/* The processors this process may run on. Kernels built for very many refuse a small set, so it
 * grows until it fits. Freed with CPU_FREE; NULL if it cannot be had. */
static cpu_set_t *allowed(int *n)
{
    for (*n = 1024; *n <= 1 << 20; *n *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)*n);
        if (!set)
            nx_die_nomem(CPU_ALLOC_SIZE((size_t)*n));
        if (sched_getaffinity(0, CPU_ALLOC_SIZE((size_t)*n), set) == 0)
            return set;
        CPU_FREE(set);
    }
    return NULL;
}

int nx_os_cpus(void)
{
    int n;
    cpu_set_t *set = allowed(&n);
    long count = set ? CPU_COUNT_S(CPU_ALLOC_SIZE((size_t)n), set) : sysconf(_SC_NPROCESSORS_ONLN);
    if (set)
        CPU_FREE(set);
    double quota = nx_os_cgroup_read("").cpus;
    if (quota > 0 && quota < (double)count)
        count = (long)quota + (quota > (double)(long)quota); /* 1.5 processors: two threads */
    return count < 1 ? 1 : (int)count;
}

static int read_topology(int cpu, const char *file)
{
    char path[128];
    int v = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    if (fscanf(f, "%d", &v) != 1)
        v = -1;
    fclose(f);
    return v;
}

/* A core is told by its package and its number there; -1 if the system does not say. */
static int64_t core_of(int cpu)
{
    int core = read_topology(cpu, "core_id");
    int package = read_topology(cpu, "physical_package_id");
    return core < 0 ? -1 : (int64_t)(package < 0 ? 0 : package) << 32 | core;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int nx_os_cores_physical(void)
{
    int n, found = 0, distinct = 0;
    cpu_set_t *set = allowed(&n);
    if (!set)
        return 0;
    size_t size = CPU_ALLOC_SIZE((size_t)n);
    int64_t *cores = nx_malloc((size_t)CPU_COUNT_S(size, set) * sizeof *cores);
    bool known = true;
    for (int cpu = 0; cpu < n && known; cpu++) {
        if (!CPU_ISSET_S((size_t)cpu, size, set))
            continue;
        cores[found] = core_of(cpu);
        known = cores[found++] >= 0;
    }
    qsort(cores, (size_t)found, sizeof *cores, compare);
    for (int i = 0; i < found; i++)
        distinct += i == 0 || cores[i] != cores[i - 1];
    free(cores);
    CPU_FREE(set);
    return known ? distinct : 0;
}
