#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static _Atomic int current = -1; /* -1: the environment was not read yet */

static int level_from_env(void)
{
    const char *s = getenv("NEXUS_LOG");
    for (int i = 0; s && i < 4; i++)
        if (strcmp(s, names[i]) == 0)
            return i;
    return NX_LOG_WARN;
}

bool nx_log_on(nx_log_level level)
{
    int now = atomic_load_explicit(&current, memory_order_relaxed);
    if (now < 0)
        atomic_store(&current, now = level_from_env());
    return (int)level <= now;
}

void nx_log_set(nx_log_level level)
{
    atomic_store(&current, (int)level);
}

void nx_log(nx_log_level level, const char *fmt, ...)
{
    if (!nx_log_on(level))
        return;
    char line[1200]; /* one write a line, so that threads do not interleave */
    int head = snprintf(line, sizeof line, "nexus: %s: ", names[level]);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, ap);
    va_end(ap);
    size_t n = strlen(line);
    line[n] = '\n';
    fwrite(line, 1, n + 1, stderr);
}
