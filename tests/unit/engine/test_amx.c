/*
 * test_amx.c: what the levels amx and avx512_bf16 have of their own. Products of quantized matrices give
 * the bits of the level below; products of 16-bit floats are near the exact ones. Tried with the
 * instructions where this machine has them, and with their emulation in plain C (engine/cpu/amx.h and
 * tile_bf16.h), over the baseline, everywhere; and the instructions' floats are the emulation's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ggml_types.h"
#include "engine/core/half.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

extern const nx_kernel_entry nx_kernels_emulated[NX_PRIM_COUNT], nx_kernels_emulated_bf16[NX_PRIM_COUNT],
    nx_kernels_base[NX_PRIM_COUNT];

static const nx_kernel_entry *amx, *below_amx; /* NULL: not this machine */

/* What multiplies pairs of bfloat16, and whether float16 too, as two of them each. */
static struct {
    const nx_kernel_entry *emulated, *level; /* NULL: not this machine */
    bool float16;
} pairs[] = {{nx_kernels_emulated, NULL, true}, {nx_kernels_emulated_bf16, NULL, false}};
enum { PAIRS = sizeof pairs / sizeof *pairs };

typedef struct {
    nx_view v;
    int shape[4];
    int64_t strides[4];
} tensor;

static uint32_t seed = 12345;
static uint32_t any(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}
static float any_float(void)
{
    return (float)((int)(any() & 0xFFFF) - 0x8000) * 0x1p-15f;
}

static tensor tensor_new(nx_dtype dtype, int ndim, const int *shape)
{
    tensor t = {.v = {.dtype = dtype, .ndim = ndim}};
    memcpy(t.shape, shape, (size_t)ndim * sizeof *shape);
    nx_strides_row(shape, ndim, t.strides);
    size_t n = (size_t)nx_shape_size(shape, ndim);
    t.v.data = malloc(n * nx_dtype_size(dtype) + 1);
    assert_non_null(t.v.data);
    for (size_t i = 0; i < n; i++)
        switch (dtype) {
        case NX_FLOAT32:
            ((float *)t.v.data)[i] = any_float();
            break;
        case NX_FLOAT16:
            ((uint16_t *)t.v.data)[i] = nx_half_from_float(any_float());
            break;
        case NX_BFLOAT16:
            ((uint16_t *)t.v.data)[i] = nx_bf16_from_float(any_float());
            break;
        case NX_UINT32:
            ((uint32_t *)t.v.data)[i] = any() ^ any() << 16;
            break;
        default:
            ((uint8_t *)t.v.data)[i] = (uint8_t)any();
        }
    return t;
}

/* tensor is passed about by value: its view points into it when it is used. */
static nx_view view(tensor *t)
{
    t->v.shape = t->shape;
    t->v.strides = t->strides;
    return t->v;
}

static void run_outputs(const nx_kernel_entry *table, nx_prim_id prim, const void *params, int n_in,
                        const nx_view *in, int n_out, nx_view *out)
{
    nx_call c = {.params = params, .n_in = n_in, .n_out = n_out, .in = in, .out = out};
    size_t need = table[prim].workspace ? table[prim].workspace(&c) : 0;
    c.workspace = malloc(need + 1);
    assert_non_null(c.workspace);
    table[prim].run(&c);
    free(c.workspace);
}

static void run(const nx_kernel_entry *table, nx_prim_id prim, const void *params, int n_in,
                const nx_view *in, nx_view *out)
{
    run_outputs(table, prim, params, n_in, in, 1, out);
}

static float number(const nx_view *v, int64_t i)
{
    return v->dtype == NX_FLOAT32   ? ((const float *)v->data)[i]
           : v->dtype == NX_FLOAT16 ? nx_half_to_float(((const uint16_t *)v->data)[i])
                                    : nx_bf16_to_float(((const uint16_t *)v->data)[i]);
}

static void assert_same(tensor *a, tensor *b, const char *what)
{
    nx_view x = view(a), y = view(b);
    for (int64_t i = 0; i < nx_view_size(&x); i++) {
        float p = number(&x, i), q = number(&y, i);
        if (nx_bits_of_float(p) != nx_bits_of_float(q) && (p == p || q == q))
            fail_msg("%s: result %lld is %.9g, not %.9g", what, (long long)i, (double)p, (double)q);
    }
}

/* The same by two levels, bit by bit. */
static void compare(nx_prim_id prim, const void *params, int n_in, const nx_view *in,
                    nx_dtype dtype, int ndim, const int *shape, const char *what)
{
    tensor ours = tensor_new(dtype, ndim, shape), theirs = tensor_new(dtype, ndim, shape);
    nx_view a = view(&ours), b = view(&theirs);
    run(nx_kernels_emulated, prim, params, n_in, in, &a);
    run(nx_kernels_base, prim, params, n_in, in, &b);
    assert_same(&ours, &theirs, what);
    if (amx) {
        run(amx, prim, params, n_in, in, &a);
        run(below_amx, prim, params, n_in, in, &b);
        assert_same(&ours, &theirs, what);
    }
    free(a.data);
    free(b.data);
}

/* ---- quantized ----------------------------------------------------------------------------------
 */

static void gguf_types_are_the_same(void **state)
{
    static const int types[] = {
        NX_GGML_Q4_0, NX_GGML_Q4_1, NX_GGML_Q5_0, NX_GGML_Q5_1, NX_GGML_Q8_0, NX_GGML_Q2_K,
        NX_GGML_Q3_K, NX_GGML_Q4_K, NX_GGML_Q5_K, NX_GGML_Q6_K, NX_GGML_IQ1_S, NX_GGML_IQ1_M,
        NX_GGML_IQ2_XXS, NX_GGML_IQ2_XS, NX_GGML_IQ2_S, NX_GGML_IQ3_XXS, NX_GGML_IQ3_S,
        NX_GGML_IQ4_NL, NX_GGML_IQ4_XS, NX_GGML_TQ1_0, NX_GGML_TQ2_0, NX_GGML_MXFP4, NX_GGML_NVFP4,
        NX_GGML_Q1_0, NX_GGML_Q2_0,
        /* affine: bits, group of 32, 64 or 128, scales of a type */
        0x20002, 0x20013, 0x20124, 0x20025, 0x20116, 0x20018, 0x20028};
    enum { REPACKED = 0x10000 };
    static const int rows[] = {1, 32, 47, 131}, columns[] = {16, 33}, depths[] = {256, 768};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int i = 0; i < 16; i++) {
            int m = rows[i & 3], n = columns[i >> 2 & 1], k = depths[i >> 3], type = types[t];
            const nx_ggml_type *g = type & 0x20000 ? NULL : nx_ggml_type_find((uint32_t)type);
            int group = 32 << (type >> 4 & 3), bits = type & 15;
            int row = g ? k / (int)g->block_elements * (int)g->block_bytes
                        : k / group * (group * bits / 8 + 4);
            if ((g && k % (int)g->block_elements) || (!g && k % group))
                continue;
            tensor x = tensor_new(NX_FLOAT32, 2, (int[]){m, k}),
                   w = tensor_new(NX_UINT8, 2, (int[]){n, row});
            ((float *)x.v.data)[m / 2 * k + 3] = m > 32 ? NAN : 0;
            /* Random bytes make scales of any size, infinities too; some shall be plain. */
            for (int64_t b = 0; g && b + (int)g->block_bytes <= (int64_t)n * row;
                 b += (int)g->block_bytes)
                memcpy((char *)w.v.data + b, (uint16_t[]){0x1C00, 0x9C00}, 4);
            nx_view in[2] = {view(&x), view(&w)};
            char what[64];
            snprintf(what, sizeof what, "type %#x, %d x %d x %d", (unsigned)type, m, n, k);
            for (int repacked = 0; repacked < 2; repacked++) {
                if (repacked && ((g && type > NX_GGML_Q6_K) || type == NX_GGML_MXFP4))
                    continue;
                nx_gguf_params p = {
                    .type = type | (repacked ? REPACKED : 0), .columns = k, .dtype = NX_FLOAT32};
                compare(NX_PRIM_GgufMatmul, &p, 2, in, NX_FLOAT32, 2, (int[]){m, n}, what);
            }
            free(x.v.data);
            free(w.v.data);
        }
}

/* Products of several matrices at once: each has the bits it has alone, whatever is around it. */
static void together_as_alone(const nx_kernel_entry *table, int m)
{
    enum { K = 512, N = 4, REPACKED = 0x10000 };
    static const struct {
        int type, rows, row_bytes;
    } all[N] = {{NX_GGML_Q4_0 | REPACKED, 35, K / 32 * 18}, {NX_GGML_Q8_0 | REPACKED, 16, K / 32 * 34},
                {NX_GGML_Q6_K | REPACKED, 100, K / 256 * 210}, {NX_GGML_BF16, 20, K * 2}};
    nx_gguf_params p = {.type = all[0].type, .columns = K, .dtype = NX_FLOAT32,
                        .further = {all[1].type, all[2].type, all[3].type}};
    tensor x = tensor_new(NX_FLOAT32, 2, (int[]){m, K}), w[N], together[N];
    nx_view in[1 + N] = {view(&x)}, out[N];
    for (int i = 0; i < N; i++) {
        w[i] = tensor_new(NX_UINT8, 2, (int[]){all[i].rows, all[i].row_bytes});
        together[i] = tensor_new(NX_FLOAT32, 2, (int[]){m, all[i].rows});
        in[1 + i] = view(&w[i]);
        out[i] = view(&together[i]);
    }
    run_outputs(table, NX_PRIM_GgufMatmul, &p, 1 + N, in, N, out);
    for (int i = 0; i < N; i++) {
        nx_gguf_params one = {.type = all[i].type, .columns = K, .dtype = NX_FLOAT32};
        tensor alone = tensor_new(NX_FLOAT32, 2, (int[]){m, all[i].rows});
        nx_view to = view(&alone);
        run(table, NX_PRIM_GgufMatmul, &one, 2, (nx_view[]){in[0], in[1 + i]}, &to);
        assert_same(&together[i], &alone, "a product among others");
        free(alone.v.data), free(together[i].v.data), free(w[i].v.data);
    }
    free(x.v.data);
}

static void products_together_are_those_alone(void **state)
{
    static const int rows[] = {1, 2, 16, 17, 47, 131};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        together_as_alone(nx_kernels_base, rows[i]);
        together_as_alone(nx_kernels_emulated, rows[i]);
        if (amx)
            together_as_alone(amx, rows[i]);
    }
}

static void mlx_types_are_the_same(void **state)
{
    static const struct {
        nx_quant_mode mode;
        int bits, group;
    } kinds[] = {{NX_QUANT_AFFINE, 2, 32},  {NX_QUANT_AFFINE, 3, 64}, {NX_QUANT_AFFINE, 4, 64},
                 {NX_QUANT_AFFINE, 5, 128}, {NX_QUANT_AFFINE, 6, 32}, {NX_QUANT_AFFINE, 8, 32},
                 {NX_QUANT_AFFINE, 8, 128}, {NX_QUANT_MXFP4, 4, 32},  {NX_QUANT_NVFP4, 4, 16}};
    static const nx_dtype types[] = {NX_FLOAT32, NX_FLOAT16, NX_BFLOAT16};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int t = 0; t < 3; t++) {
            enum { B = 3, M = 37, N = 37, K = 384, E = 2 };
            bool affine = kinds[i].mode == NX_QUANT_AFFINE;
            nx_qmm_params p = {.group_size = kinds[i].group,
                               .bits = kinds[i].bits,
                               .mode = kinds[i].mode,
                               .transpose = true};
            int codes = K * p.bits / 32, groups = K / p.group_size;
            tensor x = tensor_new(types[t], 3, (int[]){B, M, K});
            tensor w = tensor_new(NX_UINT32, 3, (int[]){E, N, codes});
            tensor scales = tensor_new(affine ? types[t] : NX_UINT8, 3, (int[]){E, N, groups});
            tensor biases = tensor_new(types[t], 3, (int[]){E, N, groups});
            for (int s = 0; !affine && s < E * N * groups; s++)
                ((uint8_t *)scales.v.data)[s] = (uint8_t)(100 + s % 20);
            tensor left = tensor_new(NX_UINT32, 1, (int[]){B}),
                   right = tensor_new(NX_UINT32, 1, (int[]){B});
            memcpy(left.v.data, (uint32_t[]){2, 0, 1}, 12);
            memcpy(right.v.data, (uint32_t[]){1, 0, 1}, 12);
            nx_view in[6] = {view(&x), view(&w), view(&scales)};
            int n = 3;
            if (affine)
                in[n++] = view(&biases);
            in[n] = view(&left);
            in[n + 1] = view(&right);
            char what[64];
            snprintf(what, sizeof what, "mode %d, %d bits, groups of %d", (int)p.mode, p.bits,
                     p.group_size);
            compare(NX_PRIM_GatherQMM, &p, n + 2, in, types[t], 3, (int[]){B, M, N}, what);
            int one[3] = {1, N, codes}, one_scale[3] = {1, N, groups};
            in[1].shape = one;
            for (int s = 2; s < n; s++)
                in[s].shape = one_scale;
            compare(NX_PRIM_QuantizedMatmul, &p, n, in, types[t], 3, (int[]){B, M, N}, what);
            tensor *all[] = {&x, &w, &scales, &biases, &left, &right};
            for (int a = 0; a < 6; a++)
                free(all[a]->v.data);
        }
}

/* ---- 16-bit floats ------------------------------------------------------------------------------
 */

typedef struct {
    int batch, m, n, k;
    bool a_turned, b_turned, add;
} shape;

/* The last two dimensions exchanged in memory. */
static tensor matrix(nx_dtype dtype, int batch, int rows, int columns, bool turned)
{
    tensor t =
        tensor_new(dtype, 3, (int[]){batch, turned ? columns : rows, turned ? rows : columns});
    if (turned) {
        t.shape[1] = rows;
        t.shape[2] = columns;
        t.strides[1] = 1;
        t.strides[2] = rows;
    }
    return t;
}

static int64_t place(const nx_view *v, int b, int i, int j)
{
    return (v->shape[0] == 1 ? 0 : b) * v->strides[0] + i * v->strides[1] + j * v->strides[2];
}

static void assert_near(const nx_view *in, const shape *s, const nx_addmm_params *p,
                        const nx_view *out)
{
    double unit = out->dtype == NX_FLOAT16 ? 0x1p-11 : 0x1p-8;
    for (int b = 0; b < s->batch; b++)
        for (int i = 0; i < s->m; i++)
            for (int j = 0; j < s->n; j++) {
                double sum = 0, size = 0;
                for (int k = 0; k < s->k; k++) {
                    double term = (double)number(&in[0], place(&in[0], b, i, k)) *
                                  (double)number(&in[1], place(&in[1], b, k, j));
                    sum += term;
                    size += fabs(term);
                }
                if (s->add)
                    sum = (double)p->alpha * sum +
                          (double)p->beta * (double)number(&in[2], place(&in[2], b, i, j));
                float got = number(out, ((int64_t)b * s->m + i) * s->n + j);
                if (!(fabs((double)got - sum) <= fabs(sum) * unit + size * 0x1p-17 + 1e-7))
                    fail_msg("%s, %d of %d x %d x %d%s%s, at %d %d: %.9g, not %.9g",
                             nx_dtype_name(out->dtype), b, s->m, s->n, s->k,
                             s->a_turned ? ", a turned" : "", s->b_turned ? ", b turned" : "", i, j,
                             (double)got, sum);
            }
}

static void halves_are_near(void **state)
{
    static const shape shapes[] = {
        {1, 17, 32, 32, false, false, false},    {1, 65, 96, 64, false, true, false},
        {2, 1, 70, 33, false, true, false},      {5, 3, 1, 1, false, false, true},
        {1, 20, 40, 300, false, true, true},     {2, 8, 80, 70, true, true, false},
        {1, 65, 257, 97, true, false, true},     {2, 33, 40, 600, true, true, false},
        {3, 70, 300, 40, false, false, true},    {1, 130, 36, 1100, false, true, true},
        {2, 128, 512, 512, false, false, false}, /* several parts of both */
        {1, 395, 1800, 40, false, true, false},  /* pieces of many rows */
    };
    static const nx_dtype types[] = {NX_BFLOAT16, NX_FLOAT16};
    nx_addmm_params p = {.alpha = 0.5f, .beta = -2};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 2; t++) {
            const shape *s = &shapes[i];
            tensor a = matrix(types[t], s->batch, s->m, s->k, s->a_turned),
                   c = matrix(types[t], s->batch, s->m, s->n, s->a_turned);
            tensor b = matrix(types[t], i % 2 ? 1 : s->batch, s->k, s->n, s->b_turned);
            b.strides[0] = i % 2 ? 0 : b.strides[0];
            b.shape[0] = s->batch;
            tensor out = tensor_new(types[t], 3, (int[]){s->batch, s->m, s->n});
            tensor other = tensor_new(types[t], 3, (int[]){s->batch, s->m, s->n});
            nx_view in[3] = {view(&a), view(&b), view(&c)}, to = view(&out), also = view(&other);
            nx_prim_id prim = s->add ? NX_PRIM_AddMM : NX_PRIM_Matmul;
            for (int l = 0; l < PAIRS; l++) {
                run(pairs[l].emulated, prim, &p, s->add ? 3 : 2, in, &to);
                assert_near(in, s, &p, &to);
                nx_pool_set_threads(1); /* packs in other parts */
                run(pairs[l].emulated, prim, &p, s->add ? 3 : 2, in, &also);
                nx_pool_set_threads(0);
                assert_same(&out, &other, "one thread");
                if (!pairs[l].level)
                    continue;
                run(pairs[l].level, prim, &p, s->add ? 3 : 2, in, &also);
                assert_near(in, s, &p, &also);
                if (types[t] == NX_BFLOAT16 || pairs[l].float16)
                    assert_same(&out, &other, "the instructions");
            }
            free(a.v.data), free(b.v.data), free(c.v.data), free(out.v.data), free(other.v.data);
        }
}

/* A row has the bits it has alone, in a product that packs its operands once and in one that does
 * not. */
static void rows_alone(const nx_kernel_entry *table, nx_dtype type, bool b_turned)
{
    enum { M = 130, N = 101, K = 200 };
    tensor a = matrix(type, 1, M, K, false), b = matrix(type, 1, K, N, b_turned);
    tensor all = matrix(type, 1, M, N, false), some = matrix(type, 1, 3, N, false);
    nx_view in[2] = {view(&a), view(&b)}, to = view(&all), alone = view(&some);
    run(table, NX_PRIM_Matmul, NULL, 2, in, &to);
    for (int rows = 1; rows <= 3; rows += 2)
        for (int i = 0; i + rows <= M; i += 43) {
            int part[3] = {1, rows, K}, result[3] = {1, rows, N};
            in[0].shape = part;
            alone.shape = result;
            in[0].data = (uint16_t *)a.v.data + i * K;
            run(table, NX_PRIM_Matmul, NULL, 2, in, &alone);
            assert_memory_equal(some.v.data, (uint16_t *)all.v.data + i * N, (size_t)(rows * N * 2));
        }
    free(a.v.data), free(b.v.data), free(all.v.data), free(some.v.data);
}

static void rows_are_the_same_alone(void **state)
{
    static const nx_dtype types[] = {NX_BFLOAT16, NX_FLOAT16};
    for (int l = 0; l < PAIRS; l++)
        for (int t = 0; t < 4; t++) {
            rows_alone(pairs[l].emulated, types[t / 2], t % 2);
            if (pairs[l].level)
                rows_alone(pairs[l].level, types[t / 2], t % 2);
        }
}

/* Infinity times a number is infinity, also where a float16 is two numbers; NaN stays in its row.
 */
static void infinities_stay(void **state)
{
    enum { M = 40, N = 48, K = 64 };
    static const nx_dtype types[] = {NX_BFLOAT16, NX_FLOAT16};
    for (int t = 0; t < 2; t++) {
        tensor a = tensor_new(types[t], 2, (int[]){M, K}),
               b = tensor_new(types[t], 2, (int[]){K, N});
        for (int i = 0; i < K * N; i++)
            ((uint16_t *)b.v.data)[i] &= 0x7FFF;
        ((uint16_t *)a.v.data)[5 * K + 7] = types[t] == NX_FLOAT16 ? 0x7C00 : 0x7F80;
        ((uint16_t *)a.v.data)[9 * K + 60] = types[t] == NX_FLOAT16 ? 0x7E00 : 0x7FC0;
        ((uint16_t *)a.v.data)[33 * K + 60] = types[t] == NX_FLOAT16 ? 0x7C01 : 0x7F81; /* its lowest bit alone says so */
        ((uint16_t *)b.v.data)[7 * N + 3] = ((uint16_t *)b.v.data)[60 * N + 3] =
            types[t] == NX_FLOAT16 ? 0x3C00 : 0x3F80;
        ((uint16_t *)b.v.data)[7 * N + 4] = ((uint16_t *)a.v.data)[5 * K + 7];
        tensor out = tensor_new(types[t], 2, (int[]){M, N});
        nx_view in[2] = {view(&a), view(&b)}, to = view(&out);
        for (int l = 0; l < 2 * PAIRS; l++) {
            const nx_kernel_entry *table = l % 2 ? pairs[l / 2].level : pairs[l / 2].emulated;
            if (!table)
                continue;
            run(table, NX_PRIM_Matmul, NULL, 2, in, &to);
            assert_true(number(&to, 5 * N + 3) == INFINITY);
            assert_true(number(&to, 5 * N + 4) == INFINITY); /* infinity times infinity */
            for (int i = 0; i < M; i++)
                assert_int_equal(isnan(number(&to, i * N + 3)), i == 9 || i == 33);
        }
        free(a.v.data), free(b.v.data), free(out.v.data);
    }
}

int main(void)
{
    for (int i = 1; i < nx_cpu_isa_count(); i++) {
        if (strcmp(nx_cpu_isa_name_at(i), "amx") == 0) {
            pairs[0].level = amx = nx_cpu_isa_kernels_at(i);
            below_amx = nx_cpu_isa_kernels_at(i - 1);
        }
        if (strcmp(nx_cpu_isa_name_at(i), "avx512_bf16") == 0)
            pairs[1].level = nx_cpu_isa_kernels_at(i);
    }
    printf("the instructions of amx are %s, those of avx512_bf16 %s\n",
           pairs[0].level ? "tried too" : "not there: emulated alone", pairs[1].level ? "tried too" : "not there");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_types_are_the_same),
        cmocka_unit_test(products_together_are_those_alone), cmocka_unit_test(mlx_types_are_the_same),
        cmocka_unit_test(halves_are_near),         cmocka_unit_test(rows_are_the_same_alone),
        cmocka_unit_test(infinities_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
