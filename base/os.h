/*
 * os.h: what is asked of the operating system: memory, processors, clocks, folders, small files.
 *
 * base/os.c is POSIX alone; base/os_linux.c and base/os_darwin.c answer what each system has of its
 * own. Figures that cannot be had are 0.
 */
#ifndef NX_BASE_OS_H
#define NX_BASE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/str.h"

/* ---- memory, in bytes ---- */

uint64_t nx_os_memory_total(void);     /* of the machine, or the container's limit if lower */
uint64_t nx_os_memory_available(void); /* can be taken now without swapping, limits considered */
uint64_t nx_os_rss(void);              /* resident now, mapped files included */
uint64_t nx_os_rss_peak(void);         /* the most since the start, mapped files included */
uint64_t nx_os_anon(void);             /* resident now that no file backs */
/* The most of it: on Linux the highest that any call of nx_os_anon or this one has seen, since the
 * system keeps no such mark; on macOS the system's own. */
uint64_t nx_os_anon_peak(void);

/* ---- processors ---- */

int nx_os_cpus(void); /* usable by this process: affinity and container quota; at least 1 */
int nx_os_cores_physical(void); /* physical cores among the allowed ones; 0 if unknown */

/* ---- clocks ---- */

uint64_t nx_os_monotonic_ns(void); /* for durations */
double nx_os_seconds(void);        /* the same in seconds */
int64_t nx_os_wall_ms(void);       /* since 1970, UTC */
/* With the lock held: until the condition is signalled, or for so long; may wake for nothing. */
void nx_os_wait(pthread_cond_t *condition, pthread_mutex_t *lock, double seconds);

/* ---- limits ---- */

/* Raises the number of files and sockets this process may have open at once to `most`, or to what
 * the system lets it have if that is less: shells begin with 1,024, or 256 on macOS. */
void nx_os_allow_files(unsigned most);

/* ---- folders ---- */

typedef enum {
    NX_OS_DATA,   /* ${XDG_DATA_HOME:-~/.local/share}/nexus: models, conversations */
    NX_OS_CACHE,  /* ${XDG_CACHE_HOME:-~/.cache}/nexus */
    NX_OS_CONFIG, /* ${XDG_CONFIG_HOME:-~/.config}/nexus: config.json */
} nx_os_dir;

/* Appends the folder's path, and "/below" when below is not NULL. Creates nothing. False with an
 * error when no home folder can be told. A relative XDG value is ignored, as its standard says. */
bool nx_os_path(nx_str *out, nx_os_dir dir, const char *below);
/* Makes a folder and those above it (new ones with this mode, 0700 for a person's own). */
bool nx_os_mkdir_p(const char *path, unsigned mode);
bool nx_os_is_dir(const char *path);
bool nx_os_is_file(const char *path); /* a regular file */

/* ---- small files ---- */

/* Appends the whole file. False with an error, also when it holds more than max bytes. */
bool nx_os_read_file(const char *path, nx_str *out, size_t max);
/* Replaces the file whole or not at all (see outfile.h). */
bool nx_os_write_file(const char *path, const void *bytes, size_t n);

#endif
