/*
 * bench_ceilings.c: what the machine itself can do, as JSON: read and copy bandwidth of memory, peak
 * of fused multiply-adds in float32, of AVX-512's bfloat16 dot products (0: it has none), and what a
 * parallel region of the pool costs. NEXUS_THREADS
 * applies. Runs take milliseconds, so that some are not interrupted by other programs; the third
 * best counts. One thread is measured in its processor time.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/os.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/pool.h"

enum { MEGABYTES = 768, PART = 24, RUNS = 64, FMA_ROUNDS = 360000, REGIONS = 200 };

static char *memory, *copy;
static int64_t part; /* of the memory that a run works on: the caches hold others by then */
static volatile uint64_t sink;

static void read_piece(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx;
    const uint64_t *x = (const uint64_t *)(memory + ((part + begin) << 20));
    uint64_t s[8] = {0};
    for (int64_t i = 0; i < (end - begin) << 17; i += 8)
        for (int j = 0; j < 8; j++)
            s[j] += x[i + j];
    sink = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static void copy_piece(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx;
    memcpy(copy + ((part + begin) << 20), memory + ((part + begin) << 20), (size_t)(end - begin) << 20);
}

/* Twelve chains of multiply-adds keep two units of four cycles busy. */
#define FMA(level, bytes, ...)                                                                  \
    typedef float vec_##level __attribute__((vector_size(bytes)));                              \
    __VA_ARGS__ static void fma_##level(void *ctx, int64_t begin, int64_t end)                  \
    {                                                                                           \
        (void)ctx;                                                                              \
        for (int64_t p = begin; p < end; p++) {                                                 \
            vec_##level a[12] = {{0}}, x = a[0] + 0.999f, y = a[0] + 0.001f;                    \
            for (int k = 0; k < 12; k++) /* or the compiler sees that they are all the same */  \
                __asm__ volatile("" : "+x"(a[k]));                                              \
            for (int i = 0; i < FMA_ROUNDS / 12; i++) {                                         \
                for (int k = 0; k < 12; k++)                                                    \
                    a[k] = a[k] * x + y;                                                        \
            }                                                                                   \
            for (int k = 1; k < 12; k++)                                                        \
                a[0] += a[k];                                                                   \
            sink = (uint64_t)a[0][0];                                                           \
        }                                                                                       \
    }
#if defined(__x86_64__)
FMA(base, 16, )
FMA(avx2, 32, __attribute__((target("avx2,fma"))))
FMA(avx512, 64, __attribute__((target("avx512f,fma"))))

/* The same with vdpbf16ps: 16 sums of two products an instruction. */
#define DOT(n) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #n "\n\t"
__attribute__((target("avx512f"))) static void dot_bf16(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx;
    for (int64_t i = begin * (FMA_ROUNDS / 12); i < end * (FMA_ROUNDS / 12); i++)
        __asm__ volatile(DOT(16) DOT(17) DOT(18) DOT(19) DOT(20) DOT(21) DOT(22) DOT(23) DOT(24) DOT(25)
                             DOT(26) DOT(27)::
                             : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
                               "xmm24", "xmm25", "xmm26", "xmm27");
}
#endif

static uint64_t now(void)
{
    struct timespec t;
    if (nx_pool_threads() > 1)
        return nx_os_monotonic_ns();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double best_of(nx_piece fn, int64_t pieces, int64_t grain)
{
    double seconds[RUNS];
    for (int r = 0; r < RUNS; r++) {
        part = r * PART % MEGABYTES;
        uint64_t t = now();
        nx_parallel(pieces, grain, fn, NULL);
        seconds[r] = (double)(now() - t) * 1e-9;
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[2];
}

#if defined(__x86_64__)
/* Levels of vectors of 64 bytes. */
static bool wide(const char *level)
{
    return strncmp(level, "avx512", 6) == 0 || strcmp(level, "amx") == 0;
}
#endif

static double fma_peak(void)
{
    int threads = nx_pool_threads(), lanes = 4;
    nx_piece fn = NULL;
#if defined(__x86_64__)
    const char *level = nx_cpu_isa_name();
    fn = fma_base;
    if (wide(level))
        fn = fma_avx512, lanes = 16;
    else if (strcmp(level, "avx2") == 0)
        fn = fma_avx2, lanes = 8;
#endif
    if (!fn)
        return 0;
    return 2.0 * lanes * (FMA_ROUNDS / 12 * 12) * threads / best_of(fn, threads, 1) * 1e-9;
}

static double bf16_peak(void)
{
#if defined(__x86_64__)
    if (wide(nx_cpu_isa_name()) && __builtin_cpu_supports("avx512bf16")) {
        int threads = nx_pool_threads();
        return 2.0 * 32 * (FMA_ROUNDS / 12 * 12) * threads / best_of(dot_bf16, threads, 1) * 1e-9;
    }
#endif
    return 0;
}

enum { WORK_NS = 5000 };

static void some_work(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx, (void)begin, (void)end;
    uint64_t until = nx_os_monotonic_ns() + WORK_NS;
    while (nx_os_monotonic_ns() < until)
        ;
}

/* Regions of as many pieces as threads, of 5 us each: what one takes longer than a piece. */
static double region_us(void)
{
    double seconds[RUNS];
    for (int r = 0; r < RUNS; r++) {
        uint64_t t = nx_os_monotonic_ns();
        for (int i = 0; i < REGIONS; i++)
            nx_parallel(nx_pool_threads(), 1, some_work, NULL);
        seconds[r] = (double)(nx_os_monotonic_ns() - t) * 1e-9 / REGIONS;
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[2] * 1e6 - WORK_NS * 1e-3;
}

int main(void)
{
    memory = aligned_alloc(64, (size_t)MEGABYTES << 20);
    copy = aligned_alloc(64, (size_t)MEGABYTES << 20);
    if (!memory || !copy)
        nx_die_nomem((size_t)MEGABYTES << 21);
    memset(memory, 1, (size_t)MEGABYTES << 20);
    memset(copy, 1, (size_t)MEGABYTES << 20);
    double bytes = (double)PART * 0x1p20 * 1e-9;
    printf("{\"threads\": %d, \"read_gbps\": %.2f, \"copy_gbps\": %.2f, \"fma_gflops\": %.1f, "
           "\"fma_level\": \"%s\", \"bf16_dot_gflops\": %.1f, \"region_us\": %.3f}\n",
           nx_pool_threads(), bytes / best_of(read_piece, PART, 1),
           2 * bytes / best_of(copy_piece, PART, 1), fma_peak(), nx_cpu_isa_name(), bf16_peak(),
           region_us());
    free(memory);
    free(copy);
    return 0;
}
