#include "base/mmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

struct nx_mapping {
    _Atomic size_t refs;
    const unsigned char *data;
    size_t size;
    bool is_file; /* data is ours to unmap */
    char path[];
};

static nx_mapping *mapping_new(const void *data, size_t size, bool is_file, const char *path)
{
    size_t n = strlen(path) + 1;
    nx_mapping *m = nx_malloc(sizeof *m + n);
    atomic_init(&m->refs, 1);
    m->data = data;
    m->size = size;
    m->is_file = is_file;
    memcpy(m->path, path, n);
    return m;
}

/* What may not be mapped, told before mmap's own errors, which do not say it. */
static bool check_kind(const char *path, const struct stat *st)
{
    if (S_ISDIR(st->st_mode))
        return nx_fail("[file] %s is a directory, not a file", path);
    if (!S_ISREG(st->st_mode))
        return nx_fail("[file] %s is not a regular file", path);
    if (st->st_size == 0)
        return nx_fail("[file] %s is empty", path);
    if ((uintmax_t)st->st_size > SIZE_MAX)
        return nx_fail("[file] %s is too large for this machine to map", path);
    return true;
}

static nx_mapping *map_descriptor(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return nx_fail_null("[file] cannot examine %s: %s", path, strerror(errno));
    if (!check_kind(path, &st))
        return NULL;
    size_t size = (size_t)st.st_size;
    void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return nx_fail_null("[file] cannot map %s: %s", path, strerror(errno));
    return mapping_new(p, size, true, path);
}

nx_mapping *nx_mapping_open(const char *path)
{
    /* Without O_NONBLOCK a named pipe would keep us waiting for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return nx_fail_null("[file] %s does not exist", path);
    if (fd < 0)
        return nx_fail_null("[file] cannot open %s: %s", path, strerror(errno));
    nx_mapping *m = map_descriptor(fd, path);
    close(fd);
    return m;
}

nx_mapping *nx_mapping_of_memory(const void *data, size_t size, const char *name)
{
    return mapping_new(data, size, false, name);
}

nx_mapping *nx_mapping_ref(nx_mapping *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void nx_mapping_unref(nx_mapping **pm)
{
    nx_mapping *m = *pm;
    *pm = NULL;
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (m->is_file)
        munmap((void *)m->data, m->size);
    free(m);
}

void nx_mapping_drop(void *payload)
{
    nx_mapping *m = payload;
    nx_mapping_unref(&m);
}

const unsigned char *nx_mapping_data(const nx_mapping *m)
{
    return m->data;
}

size_t nx_mapping_size(const nx_mapping *m)
{
    return m->size;
}

const char *nx_mapping_path(const nx_mapping *m)
{
    return m->path;
}

bool nx_mapping_is_lfs_pointer(const nx_mapping *m)
{
    static const char head[] = "version https://git-lfs";
    return m->size >= sizeof head - 1 && memcmp(m->data, head, sizeof head - 1) == 0;
}

/* Cuts the range to the file, and to whole pages: those inside it, or those it touches. */
static bool page_range(const nx_mapping *m, size_t *offset, size_t *length, bool inside)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!m->is_file || *offset >= m->size)
        return false;
    size_t end = *length > m->size - *offset ? m->size : *offset + *length;
    size_t begin = inside ? (*offset + page - 1) / page * page : *offset / page * page;
    if (inside && end != m->size) /* the file's last page holds nothing after the end */
        end = end / page * page;
    if (begin >= end)
        return false;
    *offset = begin;
    *length = end - begin;
    return true;
}

void nx_mapping_release_range(const nx_mapping *m, size_t offset, size_t length)
{
    if (page_range(m, &offset, &length, true))
        madvise((void *)(m->data + offset), length, MADV_DONTNEED);
}

void nx_mapping_prefetch(const nx_mapping *m, size_t offset, size_t length)
{
    if (page_range(m, &offset, &length, false))
        madvise((void *)(m->data + offset), length, MADV_WILLNEED);
}
