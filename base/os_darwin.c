/*
 * os_darwin.c: memory and processors on macOS, from sysctl and the Mach kernel.
 */
#include <libproc.h>
#include <mach/mach.h>
#include <sys/resource.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include "base/os.h"

static uint64_t number_of(const char *name)
{
    uint64_t v = 0; /* 32-bit values fill the low half of a little-endian machine */
    size_t size = sizeof v;
    return sysctlbyname(name, &v, &size, NULL, 0) == 0 ? v : 0;
}

uint64_t nx_os_memory_total(void)
{
    return number_of("hw.memsize");
}

/* Free pages and those that can be had at once: inactive, purgeable and read-ahead ones. */
uint64_t nx_os_memory_available(void)
{
    vm_statistics64_data_t vm;
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    mach_port_t host = mach_host_self();
    kern_return_t rc = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&vm, &n);
    mach_port_deallocate(mach_task_self(), host);
    if (rc != KERN_SUCCESS)
        return 0;
    /* speculative pages are counted among the free ones already */
    uint64_t pages = (uint64_t)vm.free_count + vm.inactive_count + vm.purgeable_count;
    return pages * (uint64_t)vm_kernel_page_size;
}

uint64_t nx_os_rss(void)
{
    struct mach_task_basic_info info;
    mach_msg_type_number_t n = MACH_TASK_BASIC_INFO_COUNT;
    if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &n) != KERN_SUCCESS)
        return 0;
    return info.resident_size;
}

uint64_t nx_os_rss_peak(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss : 0; /* bytes here */
}

static bool usage(struct rusage_info_v4 *r)
{
    return proc_pid_rusage(getpid(), RUSAGE_INFO_V4, (rusage_info_t *)r) == 0;
}

/* The "footprint" that the system itself judges a process by: no clean file pages in it. */
uint64_t nx_os_anon(void)
{
    struct rusage_info_v4 r;
    return usage(&r) ? r.ri_phys_footprint : 0;
}

uint64_t nx_os_anon_peak(void)
{
    struct rusage_info_v4 r;
    return usage(&r) ? r.ri_lifetime_max_phys_footprint : 0;
}

int nx_os_cpus(void)
{
    uint64_t n = number_of("hw.logicalcpu");
    return n < 1 ? 1 : (int)n;
}

int nx_os_cores_physical(void)
{
    return (int)number_of("hw.physicalcpu");
}
