/* device.c: the devices there are, and the backend of each. The only file that names backends. */
#include <stdatomic.h>

#include "base/error.h"
#include "engine/core/stream.h"

extern const nx_backend nx_cpu_backend;

static _Atomic int preferred_type = NX_CPU;

const nx_backend *nx_device_backend(nx_device d)
{
    return d.type == NX_CPU && d.index == 0 ? &nx_cpu_backend : NULL;
}

int nx_device_count(nx_device_type type)
{
    return type == NX_CPU ? 1 : 0;
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
