/* backend.c: the CPU as a backend. */
#include "engine/cpu/isa.h"
#include "engine/cpu/pool.h"

extern const nx_backend nx_cpu_backend;

const nx_backend nx_cpu_backend = {
    .name = "cpu",
    .kernels = nx_cpu_kernels,
    .level = nx_cpu_isa_name,
    .threads = nx_pool_threads,
    .set_threads = nx_pool_set_threads,
};
