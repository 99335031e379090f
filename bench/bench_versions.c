/*
 * bench_versions.c: two builds of libmlxc by turns in one process, so that both meet the same machine: on a shared one,
 * programs run one after the other differ by more than most changes gain.
 *
 *     cmake --build build --target bench_versions
 *     build/bench/bench_versions OLD/libmlxc.so NEW/libmlxc.so [TYPE:MxNxK[t] ...]      NEXUS_ISA and NEXUS_THREADS apply
 *
 * A work is a product of M x K by K x N, t: of the second turned; TYPE is float32, bfloat16, float16, or a number of
 * bits: a quantized product of bfloat16, whose weights are always turned. Each line: medians of both in milliseconds, the
 * new one's GFLOP/s, and the median of old over new of each turn (above 1: the new one is faster). One thread: time of the process.
 */
#include <mlx/c/mlx.h>

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURNS_MOST = 120, SECONDS = 3 };

#define FUNCTIONS(X)                                                                                                   \
    X(mlx_default_cpu_stream_new) X(mlx_array_new) X(mlx_array_free) X(mlx_array_eval) X(mlx_random_normal)            \
    X(mlx_transpose) X(mlx_matmul) X(mlx_quantize) X(mlx_quantized_matmul) X(mlx_vector_array_new)                     \
    X(mlx_vector_array_get) X(mlx_vector_array_free)

typedef struct {
#define FIELD(f) __typeof__(f) *f;
    FUNCTIONS(FIELD)
#undef FIELD
    mlx_stream stream;
} library;

typedef struct {
    mlx_dtype type; /* of x where it is a quantized product */
    int bits, m, n, k;
    bool turned;
} work;

typedef struct {
    mlx_array a, b, scales, biases;
} operands;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_versions: %s: %s\n", what, why);
    exit(1);
}

static library library_open(const char *path)
{
    library l;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        die(path, dlerror());
#define LOAD(f)                                                                                                        \
    if (!(*(void **)&l.f = dlsym(handle, #f)))                                                                         \
        die(path, "it has no " #f);
    FUNCTIONS(LOAD)
#undef LOAD
    l.stream = l.mlx_default_cpu_stream_new();
    return l;
}

static work work_of(const char *text)
{
    static const struct {
        const char *name;
        mlx_dtype type;
    } types[] = {{"float32", MLX_FLOAT32}, {"float16", MLX_FLOAT16}, {"bfloat16", MLX_BFLOAT16}};
    work w = {.type = MLX_BFLOAT16};
    char type[16], turned = 0, more = 0;
    int got = sscanf(text, "%15[^:]:%dx%dx%d%c%c", type, &w.m, &w.n, &w.k, &turned, &more);
    bool known = false;
    for (size_t i = 0; i < sizeof types / sizeof *types && got >= 1; i++)
        if (!strcmp(type, types[i].name))
            known = true, w.type = types[i].type;
    w.bits = got < 1 || known ? 0 : atoi(type);
    w.turned = turned == 't' || w.bits;
    if (got < 4 || (got == 5 && turned != 't') || got > 5 || w.m < 1 || w.n < 1 || w.k < 1 || (!known && w.bits < 2))
        die(text, "not TYPE:MxNxK, as in float16:512x512x512 or 4:1x4096x4096");
    return w;
}

static mlx_array normal(const library *l, int rows, int columns, mlx_dtype type)
{
    mlx_array x = l->mlx_array_new();
    if (l->mlx_random_normal(&x, (int[]){rows, columns}, 2, type, 0, 1, (mlx_array){0}, l->stream) || l->mlx_array_eval(x))
        exit(1);
    return x;
}

static operands operands_new(const library *l, const work *w)
{
    operands o = {normal(l, w->m, w->k, w->type), normal(l, w->turned ? w->n : w->k, w->turned ? w->k : w->n, w->type),
                  l->mlx_array_new(), l->mlx_array_new()};
    if (w->bits) {
        mlx_vector_array parts = l->mlx_vector_array_new();
        if (l->mlx_quantize(&parts, o.b, (mlx_optional_int){64, true}, (mlx_optional_int){w->bits, true}, "affine",
                            (mlx_array){0}, l->stream))
            exit(1);
        l->mlx_vector_array_get(&o.b, parts, 0);
        l->mlx_vector_array_get(&o.scales, parts, 1);
        l->mlx_vector_array_get(&o.biases, parts, 2);
        l->mlx_vector_array_free(parts);
        if (l->mlx_array_eval(o.b) || l->mlx_array_eval(o.scales) || l->mlx_array_eval(o.biases))
            exit(1);
    } else if (w->turned && l->mlx_transpose(&o.b, o.b, l->stream)) {
        exit(1);
    }
    return o;
}

static void operands_free(const library *l, operands *o)
{
    l->mlx_array_free(o->a);
    l->mlx_array_free(o->b);
    l->mlx_array_free(o->scales);
    l->mlx_array_free(o->biases);
}

static double now(bool alone)
{
    struct timespec t;
    clock_gettime(alone ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of `times` products. */
static double turn(const library *l, const work *w, const operands *o, int times, bool alone)
{
    double start = now(alone);
    for (int i = 0; i < times; i++) {
        mlx_array y = l->mlx_array_new();
        int bad = w->bits ? l->mlx_quantized_matmul(&y, o->a, o->b, o->scales, o->biases, true, (mlx_optional_int){64, true},
                                                    (mlx_optional_int){w->bits, true}, "affine", l->stream)
                          : l->mlx_matmul(&y, o->a, o->b, l->stream);
        if (bad || l->mlx_array_eval(y))
            exit(1);
        l->mlx_array_free(y);
    }
    return now(alone) - start;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    return x[n / 2];
}

static void compare(const library l[2], const char *text, bool alone)
{
    work w = work_of(text);
    operands o[2] = {operands_new(&l[0], &w), operands_new(&l[1], &w)};
    double seconds[2][TURNS_MOST], ratio[TURNS_MOST];
    int times = 1, turns = 0;
    turn(&l[0], &w, &o[0], 1, alone);
    turn(&l[1], &w, &o[1], 1, alone);
    for (double once; (once = turn(&l[0], &w, &o[0], times, alone)) < 0.004;)
        times = once < 0.0004 ? times * 8 : (int)(times * 0.006 / once) + 1;
    for (double start = now(false); turns < TURNS_MOST && (turns < 7 || now(false) - start < SECONDS); turns++) {
        for (int i = 0; i < 2; i++) {
            int which = (i + turns) % 2;
            turn(&l[which], &w, &o[which], 1, alone); /* its threads wake, its operands come back to the caches */
            seconds[which][turns] = turn(&l[which], &w, &o[which], times, alone) / times;
        }
        ratio[turns] = seconds[0][turns] / seconds[1][turns];
    }
    double old = median(seconds[0], turns), new = median(seconds[1], turns);
    printf("%-28s %10.4f %10.4f ms %8.1f GFLOP/s %7.3fx\n", text, old * 1e3, new * 1e3, 2e-9 * w.m * w.n * w.k / new,
           median(ratio, turns));
    fflush(stdout);
    operands_free(&l[0], &o[0]);
    operands_free(&l[1], &o[1]);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"float32:256x256x256",     "float32:1024x1024x1024",   "bfloat16:256x256x256",
                                        "bfloat16:1024x1024x1024", "float16:256x256x256",      "float16:1024x1024x1024",
                                        "4:1x4096x4096",           "4:512x2048x2048"};
    if (argc < 3) {
        fprintf(stderr, "use: bench_versions OLD/libmlxc.so NEW/libmlxc.so [TYPE:MxNxK[t] ...]\n");
        return 2;
    }
    const char *threads = getenv("NEXUS_THREADS");
    library l[2] = {library_open(argv[1]), library_open(argv[2])};
    int given = argc - 3, n = given ? given : (int)(sizeof usual / sizeof *usual);
    for (int i = 0; i < n; i++)
        compare(l, given ? argv[3 + i] : usual[i], threads && atoi(threads) == 1);
    return 0;
}
