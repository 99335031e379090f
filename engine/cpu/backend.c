/* backend.c: the CPU as a backend. */
#include "engine/cpu/isa.h"

extern const nx_backend nx_cpu_backend;

const nx_backend nx_cpu_backend = {.name = "cpu", .kernels = nx_cpu_kernels};
