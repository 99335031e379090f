/* device.c: the devices there are, and the backend of each. The only file that names backends. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "engine/core/stream.h"

extern const nx_backend nx_cpu_backend;
extern const nx_backend nx_pretend_backend; /* a GPU for tests, where NEXUS_PRETEND_GPU asks for it */

static _Atomic int preferred_type = NX_CPU;
static const nx_backend *gpu; /* NULL: there is none */
static pthread_once_t looked = PTHREAD_ONCE_INIT;

static void look(void)
{
    const char *pretend = getenv("NEXUS_PRETEND_GPU");
    if (pretend && *pretend && *pretend != '0')
        gpu = &nx_pretend_backend;
}

const nx_backend *nx_device_backend(nx_device d)
{
    if (d.index != 0)
        return NULL;
    if (d.type == NX_CPU)
        return &nx_cpu_backend;
    pthread_once(&looked, look);
    return gpu;
}

int nx_device_count(nx_device_type type)
{
    return nx_device_backend((nx_device){type, 0}) ? 1 : 0;
}

nx_device nx_device_of_memory(const nx_memory *memory)
{
    nx_device d = {NX_GPU, 0};
    NX_BUG_IF(!nx_device_backend(d) || nx_device_backend(d)->memory != memory);
    return d;
}

nx_device nx_device_default(void)
{
    return (nx_device){(nx_device_type)atomic_load(&preferred_type), 0};
}

bool nx_device_set_default(nx_device d)
{
    if (!nx_device_backend(d))
        return nx_fail("[set_default_device] there is no %s device %d here",
                       d.type == NX_GPU ? "gpu" : "cpu", d.index);
    atomic_store(&preferred_type, (int)d.type);
    return true;
}
