#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/str.h"

enum { BUFFER = 256 * 1024 };

struct nx_outfile {
    int fd; /* -1 once closed */
    bool failed;
    char *path, *temporary; /* temporary is NULL once renamed or removed */
    uint64_t size;
    size_t held; /* bytes waiting in buffer */
    char buffer[BUFFER];
};

static bool fail_errno(const nx_outfile *f, const char *what)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return nx_fail("[file] disk full: cannot %s %s (free some space and try again)", what,
                       f->path);
    return nx_fail("[file] cannot %s %s: %s", what, f->path, strerror(errno));
}

/* Closes and removes; the first failure's message stays. */
static bool give_up(nx_outfile *f)
{
    f->failed = true;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    f->temporary = NULL;
    return false;
}

/* Opens a file that was not there, beside path: what the umask says, or what the file to be
 * replaced has, are its permissions. */
static int open_temporary(const char *path, char **temporary)
{
    static _Atomic unsigned counter;
    int fd;
    do {
        nx_str name = {0};
        nx_str_printf(&name, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&counter, 1));
        free(*temporary);
        *temporary = nx_str_take(&name);
        fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd < 0 && errno == EEXIST); /* left by a process of the same number */
    struct stat st;
    if (fd >= 0 && stat(path, &st) == 0)
        (void)fchmod(fd, st.st_mode & 0777);
    return fd;
}

nx_outfile *nx_outfile_open(const char *path)
{
    nx_outfile *f = nx_malloc(sizeof *f);
    /* Where a link stands in place of the file, the file it leads to is replaced. */
    f->path = realpath(path, NULL);
    if (!f->path)
        f->path = nx_strdup(path);
    f->temporary = NULL;
    f->size = f->held = 0;
    f->failed = false;
    f->fd = open_temporary(f->path, &f->temporary);
    if (f->fd < 0) {
        fail_errno(f, "create");
        free(f->temporary);
        free(f->path);
        free(f);
        return NULL;
    }
    return f;
}

static bool write_all(nx_outfile *f, const char *p, size_t n)
{
    while (n) {
        ssize_t k = write(f->fd, p, n < (1u << 30) ? n : 1u << 30);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            fail_errno(f, "write");
            return give_up(f);
        }
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static bool flush(nx_outfile *f)
{
    size_t n = f->held;
    f->held = 0;
    return write_all(f, f->buffer, n);
}

static bool refuse_failed(const nx_outfile *f)
{
    return nx_fail("[file] %s was not written: an earlier write failed", f->path);
}

bool nx_outfile_write(nx_outfile *f, const void *bytes, size_t n)
{
    if (f->failed)
        return refuse_failed(f);
    f->size += n;
    if (n > BUFFER - f->held && !flush(f))
        return false;
    if (n >= BUFFER)
        return write_all(f, bytes, n);
    if (n)
        memcpy(f->buffer + f->held, bytes, n);
    f->held += n;
    return true;
}

bool nx_outfile_patch(nx_outfile *f, uint64_t offset, const void *bytes, size_t n)
{
    if (f->failed)
        return refuse_failed(f);
    NX_BUG_IF(offset > f->size || n > f->size - offset);
    if (!flush(f))
        return false;
    const char *p = bytes;
    while (n) {
        ssize_t k = pwrite(f->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            fail_errno(f, "write");
            return give_up(f);
        }
        p += k;
        offset += (uint64_t)k;
        n -= (size_t)k;
    }
    return true;
}

uint64_t nx_outfile_size(const nx_outfile *f)
{
    return f->size;
}

/* A rename is only sure to outlive a power cut once its folder is on the disk too. Best effort:
 * some file systems refuse to flush a folder. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? nx_strndup(path, (size_t)(slash - path) + 1) : nx_strdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

bool nx_outfile_commit(nx_outfile *f)
{
    if (f->failed)
        return refuse_failed(f);
    NX_BUG_IF(f->fd < 0); /* committed twice */
    if (!flush(f))
        return false;
    int fd = f->fd; /* a full disk may show only in these two, as on NFS */
    bool on_disk = fsync(fd) == 0;
    f->fd = -1;
    if (close(fd) != 0 || !on_disk) {
        fail_errno(f, "write");
        return give_up(f);
    }
    if (rename(f->temporary, f->path) != 0) {
        fail_errno(f, "put in place");
        return give_up(f);
    }
    free(f->temporary);
    f->temporary = NULL;
    sync_folder(f->path);
    return true;
}

void nx_outfile_free(nx_outfile *f)
{
    if (!f)
        return;
    give_up(f);
    free(f->path);
    free(f);
}
