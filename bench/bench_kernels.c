/*
 * bench_kernels.c: times kernels alone, without graph or program around them.
 *
 *     bench_kernels [gguf|types|float|attention|decode|memory|pool ...]      NEXUS_ISA and NEXUS_THREADS apply
 *
 * gguf: the products of SmolLM2-135M and TinyLlama-1.1B, prefill of 512 and decode; types: all quantized types;
 * float: square matrices, float32, bfloat16 and float16 by turns; attention, decode: SmolLM2's, of 512 queries and
 * of one; memory: the machine's read bandwidth; pool: cost of a parallel region.
 * Each figure is the best of several runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/error.h"
#include "base/ggml_types.h"
#include "base/os.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

enum { REPACKED = 0x10000 };

typedef struct {
    nx_view v;
    int shape[4];
    int64_t strides[4];
} tensor;

static uint32_t seed = 1;

/* In large pages where it is much, as the engine has its arrays. */
static void *memory(size_t bytes)
{
    size_t page = bytes < 4 << 20 ? 64 : 2 << 20;
    char *p = aligned_alloc(page, (bytes + 64 + page - 1) & ~(page - 1));
    if (!p)
        nx_die_nomem(bytes);
#ifdef MADV_HUGEPAGE
    if (page > 64)
        madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

static void tensor_new(tensor *t, nx_dtype dtype, int ndim, const int *shape)
{
    for (int i = 0; i < ndim; i++)
        t->shape[i] = shape[i];
    nx_strides_row(shape, ndim, t->strides);
    size_t n = (size_t)nx_shape_size(shape, ndim);
    t->v = (nx_view){memory(n * nx_dtype_size(dtype)), dtype, ndim, t->shape, t->strides};
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        if (dtype == NX_FLOAT32)
            ((float *)t->v.data)[i] = (float)(int32_t)seed * 0x1p-31f;
        else if (dtype == NX_UINT8)
            ((uint8_t *)t->v.data)[i] = seed >> 24;
        else
            ((uint16_t *)t->v.data)[i] = (uint16_t)((dtype == NX_FLOAT16 ? 0x3000 : 0x3E00) | (seed >> 16 & 0x81FF));
    }
}

/* Time of the process where one thread works: other programs then do not disturb much. */
static uint64_t now(void)
{
    struct timespec t;
    if (nx_pool_threads() > 1)
        return nx_os_monotonic_ns();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *workspace;
static size_t workspace_size;

static void run(int prim, nx_call *c)
{
    const nx_kernel_entry *k = &nx_cpu_kernels()[prim];
    size_t need = k->workspace ? k->workspace(c) : 0;
    if (need > workspace_size) {
        free(workspace);
        workspace = memory(workspace_size = need);
    }
    c->workspace = workspace;
    k->run(c);
}

/* A GGUF matrix with small scales, repacked where asked. */
static void gguf_new(tensor *w, int type, int n, int k, bool repack)
{
    const nx_ggml_type *t = nx_ggml_type_find((uint32_t)type);
    int row = k / (int)t->block_elements * (int)t->block_bytes;
    tensor_new(w, NX_UINT8, 2, (int[]){n, row});
    for (int64_t i = 0; i < (int64_t)n * row; i += t->block_bytes)
        memcpy((char *)w->v.data + i, (uint16_t[2]){0x1C00, 0x9C00}, type == NX_GGML_Q8_0 ? 2 : 4);
    if (!repack)
        return;
    tensor to;
    tensor_new(&to, NX_UINT8, 2, w->shape);
    nx_gguf_params p = {.type = type, .columns = k};
    nx_call c = {.params = &p, .n_in = 1, .n_out = 1, .in = &w->v, .out = &to.v};
    run(NX_PRIM_GgufRepack, &c);
    free(w->v.data);
    w->v.data = to.v.data;
}

static double seconds_of(int prim, nx_call *c, int runs)
{
    double best = 1e9;
    for (int r = 0; r < runs; r++) {
        uint64_t t = now();
        run(prim, c);
        double s = (double)(now() - t) * 1e-9;
        best = s < best ? s : best;
    }
    return best;
}

typedef struct {
    const char *name;
    int n, k, type, count; /* in the model */
} matrix;

/* Seconds of a product of m rows; of several matrices by turns, as in the model, where each has other weights. */
static double matrix_seconds(const matrix *a, int m)
{
    int count = m > 16 && a->count > 4 ? 4 : a->count;
    tensor x, out, *w = calloc((size_t)count, sizeof *w);
    tensor_new(&x, NX_FLOAT32, 2, (int[]){m, a->k});
    tensor_new(&out, NX_FLOAT32, 2, (int[]){m, a->n});
    nx_gguf_params p = {.type = a->type | REPACKED, .columns = a->k};
    for (int j = 0; j < count; j++)
        gguf_new(&w[j], a->type, a->n, a->k, true);
    double best = 1e9;
    for (int r = 0; r < 7; r++) {
        uint64_t t = now();
        for (int j = 0; j < count; j++) {
            nx_view in[2] = {x.v, w[j].v};
            nx_call c = {.params = &p, .n_in = 2, .n_out = 1, .in = in, .out = &out.v};
            run(NX_PRIM_GgufMatmul, &c);
        }
        double s = (double)(now() - t) * 1e-9 / count;
        best = s < best ? s : best;
    }
    for (int j = 0; j < count; j++)
        free(w[j].v.data);
    free(w), free(x.v.data), free(out.v.data);
    return best;
}

/* The last matrix is the head, of which a prompt wants one row. */
static void bench_model(const char *name, const matrix *a, int n)
{
    for (int m = 1; m <= 512; m *= m < 16 ? 2 : m == 16 ? 4 : 8) {
        double total = 0, flop = 0, bytes = 0;
        printf("%s, m %3d:", name, m);
        for (int i = 0; i < (m > 16 ? n - 1 : n); i++) {
            double s = matrix_seconds(&a[i], m), work = 2.0 * a[i].n * a[i].k * m;
            const nx_ggml_type *t = nx_ggml_type_find((uint32_t)a[i].type);
            printf(" %s %.1f us", a[i].name, s * 1e6);
            if (m > 16)
                printf(" (%.0f)", work / s * 1e-9);
            total += s * a[i].count;
            flop += work * a[i].count;
            bytes += (double)a[i].n * a[i].k / t->block_elements * t->block_bytes * a[i].count;
        }
        printf("\n       model: %.2f ms, %.0f tokens/s, %.0f GFLOP/s, %.1f GB/s\n", total * 1e3,
               m / total, flop / total * 1e-9, bytes / total * 1e-9);
    }
}

static void bench_gguf(void)
{
    static const matrix smollm2[] = {
        {"q", 576, 576, NX_GGML_Q4_1, 30},        {"k", 192, 576, NX_GGML_Q4_1, 30},
        {"v", 192, 576, NX_GGML_Q4_1, 30},        {"o", 576, 576, NX_GGML_Q4_1, 30},
        {"gate", 1536, 576, NX_GGML_Q4_1, 30},    {"up", 1536, 576, NX_GGML_Q4_1, 30},
        {"down", 576, 1536, NX_GGML_Q4_1, 30},    {"head", 49152, 576, NX_GGML_Q8_0, 1},
    }, tinyllama[] = {
        {"q", 2048, 2048, NX_GGML_Q4_0, 22},      {"k", 256, 2048, NX_GGML_Q4_0, 22},
        {"v", 256, 2048, NX_GGML_Q4_0, 22},       {"o", 2048, 2048, NX_GGML_Q4_0, 22},
        {"gate", 5632, 2048, NX_GGML_Q4_0, 22},   {"up", 5632, 2048, NX_GGML_Q4_0, 22},
        {"down", 2048, 5632, NX_GGML_Q4_0, 22},   {"head", 32000, 2048, NX_GGML_Q4_0, 1},
    };
    bench_model("SmolLM2", smollm2, 8);
    bench_model("TinyLlama", tinyllama, 8);
}

/* Each type at 4096 x 4096, of 1, 8 and 64 rows, in our order of tiles where it has one. */
static void bench_types(void)
{
    static const int types[] = {NX_GGML_Q4_0, NX_GGML_Q4_1, NX_GGML_Q5_0, NX_GGML_Q5_1, NX_GGML_Q8_0,
                                NX_GGML_Q2_K, NX_GGML_Q3_K, NX_GGML_Q4_K, NX_GGML_Q5_K, NX_GGML_Q6_K,
                                NX_GGML_IQ1_S, NX_GGML_IQ2_XXS, NX_GGML_IQ2_S, NX_GGML_IQ3_S, NX_GGML_IQ4_NL,
                                NX_GGML_IQ4_XS, NX_GGML_TQ1_0, NX_GGML_MXFP4,
                                0x20012, 0x20013, 0x20014, 0x20015, 0x20016, 0x20018}; /* affine, groups of 64 */
    enum { N = 4096 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const nx_ggml_type *t = nx_ggml_type_find((uint32_t)types[i]);
        int row = t ? N / (int)t->block_elements * (int)t->block_bytes : N / 64 * (4 + 8 * (types[i] & 15));
        tensor w, x, out;
        tensor_new(&w, NX_UINT8, 2, (int[]){N, row});
        memset(w.v.data, 0x11, (size_t)N * (size_t)row); /* small numbers, whatever the type */
        printf("%-8s", t ? t->name : "affine");
        if (!t)
            printf(" %d bits", types[i] & 15);
        for (int m = 1; m <= 64; m *= 8) {
            tensor_new(&x, NX_FLOAT32, 2, (int[]){m, N});
            tensor_new(&out, NX_FLOAT32, 2, (int[]){m, N});
            bool as_it_is = types[i] > NX_GGML_Q6_K && t;
            nx_gguf_params p = {.type = types[i] | (as_it_is ? 0 : REPACKED), .columns = N};
            nx_view in[2] = {x.v, w.v};
            nx_call c = {.params = &p, .n_in = 2, .n_out = 1, .in = in, .out = &out.v};
            double s = seconds_of(NX_PRIM_GgufMatmul, &c, m == 1 ? 30 : 10);
            printf("  m %2d: %6.2f ms, %5.1f GB/s, %4.0f GFLOP/s", m, s * 1e3, 1e-9 * N * row / s,
                   2e-9 * m * N * N / s);
            free(x.v.data), free(out.v.data);
        }
        tensor to;
        tensor_new(&to, NX_UINT8, 2, w.shape);
        nx_gguf_params p = {.type = types[i], .columns = N};
        nx_call c = {.params = &p, .n_in = 1, .n_out = 1, .in = &w.v, .out = &to.v};
        if (t && types[i] <= NX_GGML_Q6_K)
            printf("  repack: %5.1f GB/s", 1e-9 * N * row / seconds_of(NX_PRIM_GgufRepack, &c, 5));
        printf("\n");
        free(to.v.data);
        free(w.v.data);
    }
}

typedef struct {
    tensor a, b, out;
    double seconds[100];
} float_product;

static void float_product_new(float_product *p, nx_dtype type, int m, int n, bool turned)
{
    tensor_new(&p->a, type, 2, (int[]){m, n});
    tensor_new(&p->b, type, 2, (int[]){n, n});
    tensor_new(&p->out, type, 2, (int[]){m, n});
    p->b.strides[turned] = n;
    p->b.strides[!turned] = 1;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The types by turns, three runs each: on a machine that others use too, each meets the same minutes. */
static void float_at(int m, int n, bool turned)
{
    static const nx_dtype types[] = {NX_FLOAT32, NX_BFLOAT16, NX_FLOAT16};
    float_product p[3];
    double best = 0, median = 0;
    for (int t = 0; t < 3; t++)
        float_product_new(&p[t], types[t], m, n, turned);
    int runs = m == 1 ? 100 : n <= 512 ? 40 : n <= 1024 ? 20 : n <= 2048 ? 7 : 3;
    for (int r = 0; r < runs; r++)
        for (int t = 0; t < 3; t++) {
            nx_view in[2] = {p[t].a.v, p[t].b.v};
            nx_call c = {.n_in = 2, .n_out = 1, .in = in, .out = &p[t].out.v};
            p[t].seconds[r] = seconds_of(NX_PRIM_Matmul, &c, 3);
        }
    printf("%4d x %4d x %4d%s:", m, n, n, turned ? " turned" : "       ");
    for (int t = 0; t < 3; t++) {
        double work = 2e-9 * m * n * n;
        qsort(p[t].seconds, (size_t)runs, sizeof(double), by_size);
        double top = work / p[t].seconds[0], middle = work / p[t].seconds[runs / 2];
        if (t == 0)
            best = top, median = middle;
        printf("  %s %.1f (median %.1f)", nx_dtype_name(types[t]), top, middle);
        if (t > 0)
            printf(" %.2fx (%.2fx)", top / best, middle / median);
        free(p[t].a.v.data), free(p[t].b.v.data), free(p[t].out.v.data);
    }
    printf("\n");
}

static void bench_float(void)
{
    printf("GFLOP/s of the best run, of the median, and times those of float32\n");
    for (int n = 256; n <= 4096; n *= 2)
        for (int turned = 0; turned < 2; turned++) {
            float_at(n, n, turned);
            float_at(1, n, turned);
        }
}

/* SmolLM2's heads: l queries, the last of s keys. */
static void attention_at(int l, int s)
{
    tensor q, k, v, out;
    tensor_new(&q, NX_FLOAT32, 4, (int[]){1, 9, l, 64});
    tensor_new(&k, NX_FLOAT16, 4, (int[]){1, 3, s, 64});
    tensor_new(&v, NX_FLOAT16, 4, (int[]){1, 3, s, 64});
    tensor_new(&out, NX_FLOAT32, 4, (int[]){1, 9, l, 64});
    nx_attention_params p = {.scale = 0.125f, .causal = true};
    nx_view in[3] = {q.v, k.v, v.v};
    nx_call c = {.params = &p, .n_in = 3, .n_out = 1, .in = in, .out = &out.v};
    double t = seconds_of(NX_PRIM_ScaledDotProductAttention, &c, l == 1 ? 50 : 5);
    printf("attention %d queries, %d keys: %.3f ms a layer, %.1f ms in 30; cache %.1f GB/s\n", l,
           s, t * 1e3, t * 30e3, 2.0 * 3 * s * 64 * 2 / t * 1e-9);
    free(q.v.data), free(k.v.data), free(v.v.data), free(out.v.data);
}

static void bench_attention(void)
{
    attention_at(512, 512);
    attention_at(512, 4096);
}

/* One query over a packed cache of s keys, as SmolLM2's layer has it. */
static void packed_at(int s, int bits)
{
    int heads = 9, kv = 3, d = 64, row = d / 32 * (bits == 8 ? 34 : 20);
    tensor q, k, v, out;
    tensor_new(&q, NX_FLOAT32, 4, (int[]){1, heads, 1, d});
    tensor_new(&k, NX_UINT8, 4, (int[]){1, kv, s, row});
    tensor_new(&v, NX_UINT8, 4, (int[]){1, kv, s, row});
    tensor_new(&out, NX_FLOAT32, 4, (int[]){1, heads, 1, d});
    memset(k.v.data, 0x11, (size_t)(kv * s * row));
    memset(v.v.data, 0x11, (size_t)(kv * s * row));
    nx_attention_params p = {.scale = 0.125f, .causal = true, .packed = bits, .v_dim = d};
    nx_view in[3] = {q.v, k.v, v.v};
    nx_call c = {.params = &p, .n_in = 3, .n_out = 1, .in = in, .out = &out.v};
    double t = seconds_of(NX_PRIM_ScaledDotProductAttention, &c, 30);
    printf("1 query, %d keys of %d bits: %.3f ms, %.1f GB/s\n", s, bits, t * 1e3, 2e-9 * kv * s * row / t);
    free(q.v.data), free(k.v.data), free(v.v.data), free(out.v.data);
}

static void bench_decode(void)
{
    for (int s = 128; s <= 8192; s *= 8) {
        attention_at(1, s);
        packed_at(s, 8);
        packed_at(s, 4);
    }
}

static uint64_t *big;
static _Atomic uint64_t sink;

static void read_piece(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx;
    uint64_t s[8] = {0};
    for (int64_t i = begin * 8; i < end * 8; i += 8)
        for (int j = 0; j < 8; j++)
            s[j] += big[i + j];
    sink += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static void bench_memory(void)
{
    for (int mb = 1; mb <= 1024; mb *= 4) {
        int64_t lines = (int64_t)mb << 14;
        big = memory((size_t)lines * 64);
        memset(big, 1, (size_t)lines * 64);
        double best = 1e9;
        for (int r = 0; r < 10; r++) {
            uint64_t t = now();
            nx_parallel(lines, 4096, read_piece, NULL);
            double s = (double)(now() - t) * 1e-9;
            best = s < best ? s : best;
        }
        printf("read %d MB: %.1f GB/s\n", mb, (double)lines * 64e-9 / best);
        free(big);
    }
}

static void nothing(void *ctx, int64_t begin, int64_t end)
{
    (void)ctx, (void)begin, (void)end;
}

static void bench_pool(void)
{
    double best = 1e9;
    for (int r = 0; r < 20; r++) {
        uint64_t t = now();
        for (int i = 0; i < 1000; i++)
            nx_parallel(2, 1, nothing, NULL);
        double us = (double)(now() - t) * 1e-6;
        best = us < best ? us : best;
    }
    printf("a parallel region: %.2f us\n", best);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"gguf", bench_gguf}, {"types", bench_types}, {"float", bench_float}, {"attention", bench_attention}, {"decode", bench_decode},
               {"memory", bench_memory}, {"pool", bench_pool}};
    printf("%s, %d threads\n", nx_cpu_isa_name(), nx_pool_threads());
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool wanted = argc == 1;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], all[i].name) == 0;
        if (wanted)
            all[i].run();
    }
    return 0;
}
