/*
 * os_cgroup.h: what a Linux control group allows this process: the limits of a container or a
 * systemd slice. Private to os_linux.c and its test, which gives a made-up root.
 */
#ifndef NX_BASE_OS_CGROUP_H
#define NX_BASE_OS_CGROUP_H

#include <stdint.h>

typedef struct {
    uint64_t memory_limit; /* bytes; UINT64_MAX: none */
    uint64_t memory_free;  /* bytes until the tightest limit, reclaimable file pages counted as
                              free; UINT64_MAX: no limit */
    double cpus;           /* processors' worth of time; 0: no limit */
} nx_os_cgroup;

/* root is "" on a real system: the files read are root/proc/self/cgroup and below
 * root/sys/fs/cgroup (versions 1 and 2; the limits of all groups above ours count). */
nx_os_cgroup nx_os_cgroup_read(const char *root);

#endif
