#include "engine/cpu/isa.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ops/prims.h"

extern const nx_kernel_entry nx_kernels_base[NX_PRIM_COUNT];
/* NULL where the build left it out (NEXUS_LEVELS). */
#define LEVEL(kernels) extern const nx_kernel_entry kernels[NX_PRIM_COUNT] __attribute__((weak))

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
LEVEL(nx_kernels_avx2);
LEVEL(nx_kernels_avx512);
LEVEL(nx_kernels_avx512_bf16);
LEVEL(nx_kernels_amx);

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static bool has_avx512_bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}

/* Intel's processors take two cycles for what AMD's do in one, and then lose to float32 (bench/SPEED.md). */
static bool bf16_pays(void)
{
    return __builtin_cpu_is("amd");
}

/* The tiles' eight kilobytes are saved at a switch of threads only for processes that asked Linux for them;
 * threads made later have the permission too. */
static bool has_amx(void)
{
#if defined(__linux__)
    enum { ASK = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
    unsigned a, b, c, d = 0;
    __get_cpuid_count(7, 0, &a, &b, &c, &d);
    const unsigned bf16 = 1u << 22, tiles = 1u << 24, int8 = 1u << 25;
    return has_avx512() && (d & bf16) && (d & tiles) && (d & int8) &&
           syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
#else
    return false;
#endif
}
#elif defined(__aarch64__)
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
LEVEL(nx_kernels_neon);

static bool has_neon(void)
{
#if defined(__linux__)
    unsigned long caps = getauxval(AT_HWCAP);
    return (caps & HWCAP_ASIMDDP) && (caps & HWCAP_FPHP);
#else
    return true; /* every Apple processor of this architecture has dot products and half floats */
#endif
}
#endif

/* Worst first. */
static const struct {
    const char *name;
    bool (*supported)(void);
    bool (*pays)(void); /* whether it is better than those before it, where it is there */
    const nx_kernel_entry *kernels;
} levels[] = {
    {"base", always, always, nx_kernels_base},
#if defined(__x86_64__)
    {"avx2", has_avx2, always, nx_kernels_avx2},
    {"avx512", has_avx512, always, nx_kernels_avx512},
    {"avx512_bf16", has_avx512_bf16, bf16_pays, nx_kernels_avx512_bf16},
    {"amx", has_amx, always, nx_kernels_amx},
#elif defined(__aarch64__)
    {"neon", has_neon, always, nx_kernels_neon},
#endif
};
enum { LEVELS = sizeof levels / sizeof *levels };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int usable[LEVELS], n_usable, chosen;

static void choose(void)
{
    for (int i = 0; i < LEVELS; i++)
        if (levels[i].kernels && levels[i].supported()) {
            usable[n_usable++] = i;
            chosen = levels[i].pays() ? i : chosen;
        }
    const char *want = getenv("NEXUS_ISA");
    if (!want || !*want)
        return;
    for (int i = 0; i < n_usable; i++)
        if (strcmp(levels[usable[i]].name, want) == 0) {
            chosen = usable[i];
            return;
        }
    fprintf(stderr, "nexus: NEXUS_ISA=%s is not available here, using %s\n", want,
            levels[chosen].name);
}

const nx_kernel_entry *nx_cpu_kernels(void)
{
    pthread_once(&once, choose);
    return levels[chosen].kernels;
}

const char *nx_cpu_isa_name(void)
{
    pthread_once(&once, choose);
    return levels[chosen].name;
}

int nx_cpu_isa_count(void)
{
    pthread_once(&once, choose);
    return n_usable;
}

const char *nx_cpu_isa_name_at(int i)
{
    return levels[usable[i]].name;
}

const nx_kernel_entry *nx_cpu_isa_kernels_at(int i)
{
    return levels[usable[i]].kernels;
}
