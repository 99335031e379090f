/*
 * os.c: the part of os.h that POSIX answers alike everywhere.
 */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/outfile.h"

/* ---- clocks ---- */

uint64_t nx_os_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double nx_os_seconds(void)
{
    return (double)nx_os_monotonic_ns() * 1e-9;
}

int64_t nx_os_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void nx_os_wait(pthread_cond_t *condition, pthread_mutex_t *lock, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(condition, lock, &until);
}

/* ---- limits ---- */

void nx_os_allow_files(unsigned most)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= most)
        return;
    r.rlim_cur = r.rlim_max < most ? r.rlim_max : most;
    setrlimit(RLIMIT_NOFILE, &r);
}

/* ---- folders ---- */

/* Appends the home folder: HOME, or without it what the user database says. */
static bool put_home(nx_str *out)
{
    const char *home = getenv("HOME");
    if (home && home[0] == '/') {
        nx_str_puts(out, home);
        return true;
    }
    char space[4096];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(getuid(), &entry, space, sizeof space, &found) == 0 && found && found->pw_dir &&
        found->pw_dir[0] == '/') {
        nx_str_puts(out, found->pw_dir);
        return true;
    }
    return nx_fail("[paths] no home folder: set HOME to an absolute path");
}

bool nx_os_path(nx_str *out, nx_os_dir dir, const char *below)
{
    static const struct {
        const char *variable, *under_home;
    } places[] = {
        [NX_OS_DATA] = {"XDG_DATA_HOME", "/.local/share"},
        [NX_OS_CACHE] = {"XDG_CACHE_HOME", "/.cache"},
        [NX_OS_CONFIG] = {"XDG_CONFIG_HOME", "/.config"},
    };
    const char *chosen = getenv(places[dir].variable);
    if (chosen && chosen[0] == '/') {
        nx_str_puts(out, chosen);
    } else {
        if (!put_home(out))
            return false;
        nx_str_puts(out, places[dir].under_home);
    }
    nx_str_puts(out, "/nexus");
    if (below) {
        nx_str_putc(out, '/');
        nx_str_puts(out, below);
    }
    return true;
}

bool nx_os_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool nx_os_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool make_one(const char *path, unsigned mode)
{
    if (mkdir(path, (mode_t)mode) == 0)
        return true;
    int why = errno; /* another process may have been first, or it is there but not ours to make */
    if (nx_os_is_dir(path))
        return true;
    if (why == EEXIST)
        return nx_fail("[paths] cannot make the folder %s: a file of that name is there", path);
    return nx_fail("[paths] cannot make the folder %s: %s", path, strerror(why));
}

bool nx_os_mkdir_p(const char *path, unsigned mode)
{
    char *part = nx_strdup(path);
    bool ok = true;
    for (char *p = part; *p && ok; p++) {
        if (*p != '/' || p == part)
            continue;
        *p = '\0';
        ok = make_one(part, mode);
        *p = '/';
    }
    ok = ok && make_one(part, mode);
    free(part);
    return ok;
}

/* ---- small files ---- */

static bool read_descriptor(int fd, const char *path, nx_str *out, size_t max)
{
    size_t got = 0;
    char piece[16384];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nx_fail("[file] cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return true;
        got += (size_t)n;
        if (got > max)
            return nx_fail("[file] %s is larger than the %zu bytes allowed here", path, max);
        nx_str_add(out, piece, (size_t)n);
    }
}

bool nx_os_read_file(const char *path, nx_str *out, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return nx_fail("[file] %s does not exist", path);
    if (fd < 0)
        return nx_fail("[file] cannot open %s: %s", path, strerror(errno));
    size_t before = out->len;
    bool ok = read_descriptor(fd, path, out, max);
    if (!ok)
        nx_str_truncate(out, before);
    close(fd);
    return ok;
}

bool nx_os_write_file(const char *path, const void *bytes, size_t n)
{
    nx_outfile *f = nx_outfile_open(path);
    bool ok = f && nx_outfile_write(f, bytes, n) && nx_outfile_commit(f);
    nx_outfile_free(f);
    return ok;
}
