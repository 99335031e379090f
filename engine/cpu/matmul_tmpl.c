/*
 * matmul_tmpl.c: Matmul, AddMM, GatherMM, SegmentedMM: products of strided, batched matrices of
 * floats (through gemm.h) and of complex numbers (here). Halves are computed in float, or by tiles
 * where the level has them (tile_product.h).
 */
#include <string.h>

#include "engine/cpu/amx.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/half_tile.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

/* A product of the matrices in the last two dimensions of a and b. */
typedef struct {
    nx_gemm g;
    const nx_view *a, *b, *c, *out; /* c: NULL, or added times beta; same shape as out */
    const uint32_t *a_index, *b_index; /* which matrix of a and b; NULL: number `batch` */
    int64_t a_matrices, b_matrices;
    bool folded; /* a's batches are rows of one matrix, b is one matrix */
    bool a_copied; /* a is row-major in g.a */
    bool chained; /* never by tiles, whose order of sums is another */
    int64_t b_row, b_col, c_row, c_col;
    float alpha, beta;
} product;

static int64_t matrices(const nx_view *v)
{
    return nx_shape_size(v->shape, v->ndim - 2);
}

/* Where matrix number `index` begins, in elements. */
static int64_t matrix_offset(const nx_view *v, int64_t index)
{
    int64_t at = 0;
    for (int i = v->ndim - 3; i >= 0; i--) {
        at += index % v->shape[i] * v->strides[i];
        index /= v->shape[i];
    }
    return at;
}

static int64_t pick(const uint32_t *index, int64_t batch, int64_t count)
{
    int64_t i = index ? index[batch] : batch;
    return i < count ? i : count - 1; /* an index out of range must not read elsewhere */
}

static int64_t a_offset(const nx_gemm *g, int64_t batch)
{
    const product *p = g->user;
    if (p->folded)
        return 0;
    int64_t i = pick(p->a_index, batch, p->a_matrices);
    return p->a_copied ? i * g->m * g->k : matrix_offset(p->a, i);
}

static const char *b_start(const product *p, int64_t batch)
{
    int64_t at = p->folded ? 0 : matrix_offset(p->b, pick(p->b_index, batch, p->b_matrices));
    return (const char *)p->b->data + at * (int64_t)nx_dtype_size(p->b->dtype);
}

/* Rows of a 2-D block of any strides as floats: panel[k * nb_max + j]. */
NX_INLINE float f16_value(const void *p, int64_t i)
{
    return nx_half_to_float(((const uint16_t *)p)[i]);
}
NX_INLINE float bf16_value(const void *p, int64_t i)
{
    return nx_bf16_to_float(((const uint16_t *)p)[i]);
}
NX_INLINE float f32_value(const void *p, int64_t i)
{
    return ((const float *)p)[i];
}
NX_INLINE double f64_value(const void *p, int64_t i)
{
    return ((const double *)p)[i];
}
/* Vectors in a loop: rows are short, a call of memcpy for each is felt. */
NX_INLINE void f32_row(const void *p, int64_t at, float *to, int n)
{
    const float *x = (const float *)p + at;
    int i = 0;
    for (; i + VF_N <= n; i += VF_N)
        vf_store(to + i, vf_load(x + i));
    for (; i < n; i++)
        to[i] = x[i];
}
static void f64_row(const void *p, int64_t at, double *to, int n)
{
    memcpy(to, (const double *)p + at, (size_t)n * sizeof *to);
}
static void f16_row(const void *p, int64_t at, float *to, int n)
{
    nx_floats_of_f16((const uint16_t *)p + at, to, n);
}
static void bf16_row(const void *p, int64_t at, float *to, int n)
{
    nx_floats_of_bf16((const uint16_t *)p + at, to, n);
}

/* n numbers as the product has them: in `room`, or where they are. */
static const float *f32_at(const void *p, int64_t at, float *room, int n)
{
    return (void)room, (void)n, (const float *)p + at;
}
static const double *f64_at(const void *p, int64_t at, double *room, int n)
{
    return (void)room, (void)n, (const double *)p + at;
}
static const float *f16_at(const void *p, int64_t at, float *room, int n)
{
    return f16_row(p, at, room, n), room;
}
static const float *bf16_at(const void *p, int64_t at, float *room, int n)
{
    return bf16_row(p, at, room, n), room;
}

/* to[x * to_row + l] for `lines` lines of n numbers each that begin `step` apart: four at a time, the last four
 * also where they overlap those before. */
#define TURNED(t)                                                                                  \
    static void t##_turned(const void *p, int64_t at, int64_t step, int64_t lines, int64_t n,      \
                           float *to, int64_t to_row)                                              \
    {                                                                                              \
        enum { RUN = 48 };                                                                         \
        float wide[4][RUN];                                                                        \
        for (int64_t i = 0; i < lines && lines >= 4; i += 4) {                                     \
            int64_t l = i < lines - 4 ? i : lines - 4;                                             \
            for (int64_t x = 0; x < n; x += RUN) {                                                 \
                int run = (int)(n - x < RUN ? n - x : RUN);                                        \
                for (int r = 0; r < 4; r++)                                                        \
                    t##_row(p, at + (l + r) * step + x, wide[r], run);                             \
                nx_turn_four((const float *[4]){wide[0], wide[1], wide[2], wide[3]}, run,          \
                             to + x * to_row + l, to_row);                                         \
            }                                                                                      \
        }                                                                                          \
        for (int64_t l = 0; l < lines && lines < 4; l++)                                           \
            for (int64_t x = 0; x < n; x++)                                                        \
                to[x * to_row + l] = t##_value(p, at + l * step + x);                              \
    }
TURNED(f16)
TURNED(bf16)

static void f32_turned(const void *p, int64_t at, int64_t step, int64_t lines, int64_t n,
                       float *to, int64_t to_row)
{
    const float *x = (const float *)p + at;
    for (int64_t i = 0; i < lines && lines >= 4; i += 4) {
        int64_t l = i < lines - 4 ? i : lines - 4;
        const float *four[4] = {x + l * step, x + (l + 1) * step, x + (l + 2) * step, x + (l + 3) * step};
        nx_turn_four(four, n, to + l, to_row);
    }
    for (int64_t l = 0; l < lines && lines < 4; l++)
        for (int64_t i = 0; i < n; i++)
            to[i * to_row + l] = x[l * step + i];
}
static void f64_turned(const void *p, int64_t at, int64_t step, int64_t lines, int64_t n,
                       double *to, int64_t to_row)
{
    const double *x = (const double *)p + at;
    for (int64_t i = 0; i < n; i++)
        for (int64_t l = 0; l < lines; l++)
            to[i * to_row + l] = x[l * step + i];
}

#define LOADER(t, T)                                                                               \
    /* One part, of columns that do not lie side by side. */                                       \
    static void load_part_##t(const product *p, const char *b, int64_t k0, int64_t kc, int64_t n0, \
                              int nb, int part, T *to)                                             \
    {                                                                                              \
        if (nb < part)                                                                             \
            memset(to, 0, (size_t)(kc * part) * sizeof *to);                                       \
        if (p->b_row == 1) {                                                                       \
            t##_turned(b, k0 + n0 * p->b_col, p->b_col, nb, kc, to, part);                         \
            return;                                                                                \
        }                                                                                          \
        for (int j = 0; j < nb; j++) {                                                             \
            int64_t at = k0 * p->b_row + (n0 + j) * p->b_col;                                      \
            for (int64_t k = 0; k < kc; k++)                                                       \
                to[k * part + j] = t##_value(b, at + k * p->b_row);                                \
        }                                                                                          \
    }                                                                                              \
    static void load_##t(const nx_gemm *g, int64_t batch, int64_t k0, int64_t kc, int64_t n0,      \
                         int nb, int part, void *panel)                                            \
    {                                                                                              \
        const product *p = g->user;                                                                \
        const char *b = b_start(p, batch);                                                         \
        T *to = panel;                                                                             \
        if (p->b_col != 1) {                                                                       \
            for (int j = 0; j < nb; j += part)                                                     \
                load_part_##t(p, b, k0, kc, n0 + j, nb - j < part ? nb - j : part, part,           \
                              to + j * kc);                                                        \
            return;                                                                                \
        }                                                                                          \
        for (int64_t k = 0; k < kc; k++, to += part)                                               \
            for (int j = 0; j < nb; j += part) {                                                   \
                int n = nb - j < part ? nb - j : part;                                             \
                t##_row(b, (k0 + k) * p->b_row + n0 + j, to + j * kc, n);                          \
                for (int x = n; x < part; x++)                                                     \
                    to[j * kc + x] = 0;                                                            \
            }                                                                                      \
    }                                                                                              \
    /* Of an a whose columns lie in one piece each: some at a time. */                             \
    static void pack_columns_##t(const nx_gemm *g, int64_t at, int64_t rows, int64_t kc, T *to)    \
    {                                                                                              \
        enum { MR = NX_GEMM_MR, SOME = 16 };                                                       \
        T room[SOME][NX_GEMM_ROWS];                                                                \
        for (int64_t k0 = 0; k0 < kc; k0 += SOME) {                                                \
            int some = (int)(kc - k0 < SOME ? kc - k0 : SOME);                                     \
            const T *column[SOME];                                                                 \
            for (int k = 0; k < some; k++)                                                         \
                column[k] = t##_at(g->a, at + (k0 + k) * g->a_col, room[k], (int)rows);            \
            for (int64_t i = 0; i < rows; i += MR)                                                 \
                for (int k = 0; k < some; k++) {                                                   \
                    T *x = to + i * kc + (k0 + k) * MR;                                            \
                    if (i + MR <= rows)                                                            \
                        memcpy(x, column[k] + i, MR * sizeof *x);                                  \
                    else                                                                           \
                        memcpy(x, column[k] + i, (size_t)(rows - i) * sizeof *x);                  \
                }                                                                                  \
        }                                                                                          \
    }                                                                                              \
    static void pack_##t(const nx_gemm *g, int64_t batch, int64_t m0, int64_t rows, int64_t k0,    \
                         int64_t kc, void *packed)                                                 \
    {                                                                                              \
        enum { MR = NX_GEMM_MR };                                                                  \
        int64_t at = a_offset(g, batch) + m0 * g->a_row + k0 * g->a_col;                           \
        T *to = packed;                                                                            \
        if (g->a_col != 1 && g->a_row == 1) {                                                      \
            pack_columns_##t(g, at, rows, kc, to);                                                 \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < rows; i += MR, at += MR * g->a_row, to += MR * kc) {               \
            int n = (int)(rows - i < MR ? rows - i : MR);                                          \
            if (g->a_col == 1) {                                                                   \
                t##_turned(g->a, at, g->a_row, n, kc, to, MR);                                     \
                continue;                                                                          \
            }                                                                                      \
            for (int64_t k = 0; k < kc; k++)                                                       \
                for (int r = 0; r < n; r++)                                                        \
                    to[k * MR + r] = t##_value(g->a, at + r * g->a_row + k * g->a_col);            \
        }                                                                                          \
    }
LOADER(f32, float)
LOADER(f16, float)
LOADER(bf16, float)
LOADER(f64, double)

#include "engine/cpu/few_rows.h"

/* A row-major b of the product's own type is read in place where too few rows would share a copy. */
static const void *direct_f32(const nx_gemm *g, int64_t batch, int64_t k0, int64_t n0, int64_t *row)
{
    const product *p = g->user;
    *row = p->b_row;
    return (const float *)b_start(p, batch) + k0 * p->b_row + n0;
}
static const void *direct_f64(const nx_gemm *g, int64_t batch, int64_t k0, int64_t n0, int64_t *row)
{
    const product *p = g->user;
    *row = p->b_row;
    return (const double *)b_start(p, batch) + k0 * p->b_row + n0;
}

/* A result of the product's own type needs no store. */
static void *direct_out_f32(const nx_gemm *g, int64_t batch, int64_t m0, int64_t n0, int64_t *row)
{
    const product *p = g->user;
    *row = g->n;
    return (float *)p->out->data + (batch * g->m + m0) * g->n + n0;
}
static void *direct_out_f64(const nx_gemm *g, int64_t batch, int64_t m0, int64_t n0, int64_t *row)
{
    const product *p = g->user;
    *row = g->n;
    return (double *)p->out->data + (batch * g->m + m0) * g->n + n0;
}

static void put_row_f32(int64_t n, const float *x, float *out)
{
    memcpy(out, x, (size_t)n * sizeof *x);
}
static void put_row_f64(int64_t n, const double *x, double *out)
{
    memcpy(out, x, (size_t)n * sizeof *x);
}
#define put_row_f16  nx_tile_to_f16
#define put_row_bf16 nx_tile_to_bf16

#define PUT_f32(x)  (x)
#define PUT_f64(x)  (x)
#define PUT_f16(x)  ((nx_f16){nx_half_from_float(x)})
#define PUT_bf16(x) ((nx_bf16){nx_bf16_from_float(x)})
/* put: nb results of a row, from n0 on. */
#define STORE(t, T, A, NB)                                                                         \
    static void put_##t(const product *p, int64_t batch, int64_t row, int64_t n0, int nb,          \
                        const A *x)                                                                \
    {                                                                                              \
        T *out = (T *)p->out->data + (batch * p->g.m + row) * p->g.n + n0;                         \
        if (!p->c) {                                                                               \
            put_row_##t(nb, x, out);                                                               \
            return;                                                                                \
        }                                                                                          \
        const T *c = (const T *)p->c->data + matrix_offset(p->c, batch) + row * p->c_row +         \
                     n0 * p->c_col;                                                                \
        A alpha = p->alpha, beta = p->beta;                                                        \
        for (int j = 0; j < nb; j++)                                                               \
            out[j] = PUT_##t(alpha * x[j] + beta * t##_value(c, j * p->c_col));                    \
    }                                                                                              \
    static void store_##t(const nx_gemm *g, int64_t batch, int64_t m0, int64_t m, int64_t n0,      \
                          int nb, const void *acc)                                                 \
    {                                                                                              \
        for (int64_t i = 0; i < m; i++)                                                            \
            put_##t(g->user, batch, m0 + i, n0, nb, (const A *)acc + i * NB);                      \
    }
STORE(f32, float, float, NX_GEMM_NB)
STORE(f16, nx_f16, float, NX_GEMM_NB)
STORE(bf16, nx_bf16, float, NX_GEMM_NB)
STORE(f64, double, double, NX_GEMM_NB_F64)

/* ---- complex -------------------------------------------------------------------------------- */

enum { C64_COLUMNS = 64 };

/* One row of the result, up to C64_COLUMNS columns. */
static void c64_row(const product *p, const nx_c64 *a, const nx_c64 *b, int64_t nb, nx_c64 *out)
{
    float re[C64_COLUMNS] = {0}, im[C64_COLUMNS] = {0};
    for (int64_t k = 0; k < p->g.k; k++) {
        nx_c64 x = a[k * p->g.a_col];
        float xr = crealf(x), xi = cimagf(x);
        const nx_c64 *row = b + k * p->b_row;
        for (int64_t j = 0; j < nb; j++) {
            nx_c64 y = row[j * p->b_col];
            re[j] += xr * crealf(y) - xi * cimagf(y);
            im[j] += xr * cimagf(y) + xi * crealf(y);
        }
    }
    for (int64_t j = 0; j < nb; j++) {
        __real__ out[j] = re[j];
        __imag__ out[j] = im[j];
    }
}

static void c64_piece(void *ctx, int64_t begin, int64_t end)
{
    const product *p = ctx;
    const nx_gemm *g = &p->g;
    int64_t blocks = (g->n + C64_COLUMNS - 1) / C64_COLUMNS;
    for (int64_t i = begin; i < end; i++) {
        int64_t n0 = i % blocks * C64_COLUMNS, row = i / blocks, batch = row / g->m;
        int64_t nb = g->n - n0 < C64_COLUMNS ? g->n - n0 : C64_COLUMNS;
        const nx_c64 *a = (const nx_c64 *)g->a + a_offset(g, batch) + row % g->m * g->a_row;
        const nx_c64 *b = (const nx_c64 *)(const void *)b_start(p, batch) + n0 * p->b_col;
        nx_c64 *out = (nx_c64 *)p->out->data + row * g->n + n0;
        c64_row(p, a, b, nb, out);
        if (!p->c)
            continue;
        const nx_c64 *c = (const nx_c64 *)p->c->data + matrix_offset(p->c, batch) +
                          row % g->m * p->c_row + n0 * p->c_col;
        for (int64_t j = 0; j < nb; j++)
            out[j] = p->alpha * out[j] + p->beta * c[j * p->c_col];
    }
}

static void c64_run(product *p)
{
    const nx_gemm *g = &p->g;
    int64_t blocks = (g->n + C64_COLUMNS - 1) / C64_COLUMNS;
    nx_parallel(g->batches * g->m * blocks, nx_grain(g->k * C64_COLUMNS * 4, 1 << 18), c64_piece, p);
}

#if NX_HAS_AMX || defined(NX_ISA_avx512_bf16) || defined(NX_ISA_emulated_bf16)
#define NX_HAS_TILES 1
#include "engine/cpu/tile_product.h"
#endif

/* ---- setting up ----------------------------------------------------------------------------- */

/* Where all rows of all batches of a are one step apart, that step. */
static bool even_rows(const nx_view *a, int64_t *step)
{
    int64_t rows = 1;
    for (int i = a->ndim - 2; i >= 0; i--) {
        if (a->shape[i] == 1)
            continue;
        if (rows == 1)
            *step = a->strides[i];
        else if (a->strides[i] != *step * rows)
            return false;
        rows *= a->shape[i];
    }
    return true;
}

/* If the batches of a lie one after the other as rows, and b is one matrix for all, then this is
 * one product of many rows. */
static void fold(product *p)
{
    const nx_view *b = p->b;
    nx_gemm *g = &p->g;
    if (p->a_index || p->b_index || p->c)
        return;
    for (int i = 0; i < b->ndim - 2; i++)
        if (b->shape[i] != 1 && b->strides[i] != 0)
            return;
    if (!p->a_copied && !even_rows(p->a, &g->a_row))
        return;
    g->m *= g->batches;
    g->batches = 1;
    p->folded = true;
}

static bool is_half(nx_dtype t)
{
    return nx_dtype_in(t, NX_HALVES);
}

/* a of 16-bit type, as floats in the workspace. */
static void copy_a(product *p, void *workspace)
{
    int64_t strides[NX_MAX_NDIM];
    nx_strides_row(p->a->shape, p->a->ndim, strides);
    nx_view to = *p->a;
    to.data = workspace;
    to.dtype = NX_FLOAT32;
    to.strides = strides;
    NX_BELOW(copy)(&(nx_call){.n_in = 1, .n_out = 1, .in = p->a, .out = &to});
    p->g.a = workspace;
    p->g.a_row = p->g.k;
    p->g.a_col = 1;
    p->a_copied = true;
}

/* The loaders and stores for the types of the product. */
static void set_functions(product *p)
{
    nx_gemm *g = &p->g;
    /* A small b is read where it lies; so is any b that few rows would share a copy of. */
    bool direct = p->b_col == 1 && (g->m <= 16 || g->k * g->n <= 8192);
    bool turned = p->b_row == 1;
    switch (p->b->dtype) {
    case NX_FLOAT16: g->load_b = load_f16, g->few = turned ? few_f16 : NULL; break;
    case NX_BFLOAT16: g->load_b = load_bf16, g->few = turned ? few_bf16 : NULL; break;
    case NX_FLOAT64: g->load_b = load_f64, g->direct_b = direct ? direct_f64 : NULL; break;
    default: g->load_b = load_f32, g->few = turned ? few_f32 : NULL, g->direct_b = direct ? direct_f32 : NULL;
    }
    switch (p->out->dtype) {
    case NX_FLOAT16: g->store = store_f16; break;
    case NX_BFLOAT16: g->store = store_bf16; break;
    case NX_FLOAT64: g->store = store_f64, g->direct_out = p->c ? NULL : direct_out_f64; break;
    default: g->store = store_f32, g->direct_out = p->c ? NULL : direct_out_f32;
    }
    switch (p->a_copied ? NX_FLOAT32 : p->a->dtype) {
    case NX_FLOAT16: g->load_a = pack_f16; break;
    case NX_BFLOAT16: g->load_a = pack_bf16; break;
    case NX_FLOAT64: g->load_a = pack_f64; break;
    default: g->load_a = pack_f32;
    }
}

/* Fills in what follows from the views, and runs. roomy: the workspace is that of this product, else it has room
 * for a 16-bit a in floats alone. */
static void product_run(product *p, void *workspace, bool roomy)
{
    const nx_view *a = p->a, *b = p->b, *out = p->out;
    nx_gemm *g = &p->g;
    bool doubles = out->dtype == NX_FLOAT64;
    g->user = p;
    g->a_offset = a_offset;
    g->a = a->data;
    g->m = out->shape[out->ndim - 2];
    g->n = out->shape[out->ndim - 1];
    g->batches = matrices(out);
    g->a_row = a->strides[a->ndim - 2];
    g->a_col = a->strides[a->ndim - 1];
    p->b_row = b->strides[b->ndim - 2];
    p->b_col = b->strides[b->ndim - 1];
    p->a_matrices = matrices(a);
    p->b_matrices = matrices(b);
    if (p->c) {
        p->c_row = p->c->strides[p->c->ndim - 2];
        p->c_col = p->c->strides[p->c->ndim - 1];
    }
    fold(p);
#if NX_HAS_TILES
    if (roomy && by_tiles(p)) {
        tile_run(p, workspace);
        return;
    }
#endif
    if (roomy && NX_BELOW(nx_gemm_workspace)(doubles, g->m, g->n, g->k)) {
        g->workspace = workspace;
        /* Packing a costs more than it gains where few panels read it, unless its rows lie a
         * multiple of 4 KB apart: they would push each other out of the first cache. (From about 450
         * columns on it gains on a Zen 3, from 1,500 on an Intel Xeon with AMX.) */
        g->a_in_place = !is_half(a->dtype) && g->a_col == 1 && g->n < 1024 &&
                        g->a_row * (int64_t)nx_dtype_size(a->dtype) % 4096 != 0;
    } else if (is_half(a->dtype)) {
        copy_a(p, workspace);
        if (!p->folded)
            fold(p);
    }
    set_functions(p);
    if (out->dtype == NX_COMPLEX64)
        c64_run(p);
    else if (doubles)
        NX_BELOW(nx_gemm_f64)(g);
    else
        NX_BELOW(nx_gemm_f32)(g);
}

/* Enough for a product in the one order of sums of as many rows as the result has, or fewer; a_size: elements of a,
 * which is copied if it is of 16 bits and not packed. */
static size_t chained_workspace(const nx_view *a, const nx_view *out, int64_t a_size, bool may_copy)
{
    size_t copy = is_half(a->dtype) ? (size_t)a_size * sizeof(float) : 0;
    int64_t n = out->shape[out->ndim - 1], k = a->shape[a->ndim - 1];
    int64_t rows = n ? nx_view_size(out) / n : 0;
    size_t packed = out->dtype == NX_COMPLEX64
                        ? 0
                        : NX_BELOW(nx_gemm_workspace)(out->dtype == NX_FLOAT64, rows, n, k);
    return packed > copy || (packed && !may_copy) ? packed : copy;
}

/* The same, or by tiles. */
static size_t product_workspace(const nx_call *c, int64_t a_size, bool may_copy)
{
    const nx_view *a = &c->in[0], *out = &c->out[0];
    size_t size = chained_workspace(a, out, a_size, may_copy);
#if NX_HAS_TILES
    if (tile_types(a->dtype, c->in[1].dtype, out->dtype)) {
        int64_t n = out->shape[out->ndim - 1], rows = n ? nx_view_size(out) / n : 0;
        size_t tiles = tile_workspace(out->dtype, rows, n, a->shape[a->ndim - 1]);
        size = tiles > size ? tiles : size;
    }
#endif
    return size;
}

void NX_FN(nx_product)(const nx_view *a, const nx_view *b, const nx_view *out, void *workspace)
{
    product p = {.a = a, .b = b, .out = out, .chained = true};
    p.g.k = a->shape[a->ndim - 1];
    product_run(&p, workspace, true);
}

size_t NX_FN(nx_product_workspace)(const nx_view *a, const nx_view *out)
{
    return chained_workspace(a, out, nx_view_size(a), true);
}

/* However the batches lie: as one of all rows, or one by one. One matrix that is packed is not copied. */
size_t NX_FN(matmul_workspace)(const nx_call *c)
{
    return product_workspace(c, nx_view_size(&c->in[0]), c->out[0].ndim > 2);
}

size_t NX_FN(segmented_mm_workspace)(const nx_call *c)
{
    return is_half(c->in[0].dtype) ? (size_t)nx_view_size(&c->in[0]) * sizeof(float) : 0;
}

void NX_FN(matmul)(const nx_call *c)
{
    product p = {.a = &c->in[0], .b = &c->in[1], .out = &c->out[0]};
    p.g.k = p.a->shape[p.a->ndim - 1];
    product_run(&p, c->workspace, true);
}

void NX_FN(addmm)(const nx_call *c)
{
    const nx_addmm_params *q = c->params;
    product p = {.a = &c->in[0], .b = &c->in[1], .c = &c->in[2], .out = &c->out[0],
                 .alpha = q->alpha, .beta = q->beta};
    p.g.k = p.a->shape[p.a->ndim - 1];
    product_run(&p, c->workspace, true);
}

/* ---- gathered ---------------------------------------------------------------------------------- */

/* What single rows by matrices of their choice need: the rows, sorted by matrix, and their results. */
typedef struct {
    int64_t rows, row_bytes, out_bytes; /* bytes of a row of a, and of out */
    size_t order, a, out;               /* bytes of the parts */
} sorted_rows;

static sorted_rows sorted_rows_of(const nx_call *c)
{
    const nx_view *a = &c->in[0], *b = &c->in[1], *out = &c->out[0];
    sorted_rows r = {.rows = matrices(out)};
    r.row_bytes = a->shape[a->ndim - 1] * (int64_t)nx_dtype_size(a->dtype);
    r.out_bytes = out->shape[out->ndim - 1] * (int64_t)nx_dtype_size(out->dtype);
    r.order = (size_t)nx_whole_lines((r.rows + matrices(b) + 1) * (int64_t)sizeof(int64_t));
    r.a = (size_t)nx_whole_lines(r.rows * r.row_bytes);
    r.out = (size_t)nx_whole_lines(r.rows * r.out_bytes);
    return r;
}

static bool is_single_rows(const nx_call *c)
{
    const nx_view *out = &c->out[0];
    return out->shape[out->ndim - 2] == 1 && matrices(&c->in[1]) > 0;
}

size_t NX_FN(gather_mm_workspace)(const nx_call *c)
{
    if (!is_single_rows(c))
        return NX_FN(matmul_workspace)(c);
    sorted_rows r = sorted_rows_of(c);
    return r.order + r.a + r.out + product_workspace(c, r.rows * c->in[0].shape[c->in[0].ndim - 1], true);
}

/* order[ends[i - 1]] .. order[ends[i] - 1] are the rows that matrix i is for; ends[-1] is 0. */
static void sort_rows(const product *p, int64_t rows, int64_t *order, int64_t *ends)
{
    memset(ends, 0, (size_t)(p->b_matrices + 1) * sizeof *ends);
    for (int64_t i = 0; i < rows; i++)
        ends[pick(p->b_index, i, p->b_matrices) + 1]++;
    for (int64_t i = 0; i < p->b_matrices; i++)
        ends[i + 1] += ends[i];
    for (int64_t i = 0; i < rows; i++)
        order[ends[pick(p->b_index, i, p->b_matrices)]++] = i;
}

/* A row of a to where it lies without gaps. */
static void take_row(const nx_view *a, int64_t index, int64_t bytes, char *to)
{
    int64_t size = (int64_t)nx_dtype_size(a->dtype), step = a->strides[a->ndim - 1] * size;
    const char *from = (const char *)a->data + matrix_offset(a, index) * size;
    if (step == size)
        memcpy(to, from, (size_t)bytes);
    else
        for (int64_t k = 0; k < bytes; k += size, from += step)
            memcpy(to + k, from, (size_t)size);
}

/* Experts: each matrix is read once, for all the rows that chose it. */
static void gather_rows(const nx_call *c)
{
    const nx_view *a = &c->in[0], *b = &c->in[1], *out = &c->out[0];
    sorted_rows r = sorted_rows_of(c);
    product all = {.a_index = c->in[2].data, .b_index = c->in[3].data, .b_matrices = matrices(b)};
    int64_t a_matrices = matrices(a), *order = c->workspace, *ends = order + r.rows, first = 0;
    char *rows = (char *)c->workspace + r.order, *results = rows + r.a, *workspace = results + r.out;
    sort_rows(&all, r.rows, order, ends);
    for (int64_t i = 0; i < all.b_matrices && first < r.rows; first = ends[i++]) {
        int count = (int)(ends[i] - first), n = out->shape[out->ndim - 1], k = a->shape[a->ndim - 1];
        if (!count)
            continue;
        for (int j = 0; j < count; j++)
            take_row(a, pick(all.a_index, order[first + j], a_matrices), r.row_bytes, rows + j * r.row_bytes);
        nx_view one_b = *b;
        one_b.data = (char *)b->data + matrix_offset(b, i) * (int64_t)nx_dtype_size(b->dtype);
        one_b.ndim = 2, one_b.shape += b->ndim - 2, one_b.strides += b->ndim - 2;
        nx_view one_a = {rows, a->dtype, 2, (int[]){count, k}, (int64_t[]){k, 1}};
        nx_view one = {results, out->dtype, 2, (int[]){count, n}, (int64_t[]){n, 1}};
        product p = {.a = &one_a, .b = &one_b, .out = &one};
        p.g.k = k;
        product_run(&p, workspace, true);
        for (int j = 0; j < count; j++)
            memcpy((char *)out->data + order[first + j] * r.out_bytes, results + j * r.out_bytes, (size_t)r.out_bytes);
    }
}

void NX_FN(gather_mm)(const nx_call *c)
{
    if (is_single_rows(c)) {
        gather_rows(c);
        return;
    }
    product p = {.a = &c->in[0], .b = &c->in[1], .out = &c->out[0],
                 .a_index = c->in[2].data, .b_index = c->in[3].data};
    p.g.k = p.a->shape[p.a->ndim - 1];
    product_run(&p, c->workspace, true);
}

/* Each segment is a product over its own part of the inner dimension. */
void NX_FN(segmented_mm)(const nx_call *c)
{
    const nx_view *segments = &c->in[2], *out = &c->out[0]; /* [..., 2] uint32, row-major */
    const uint32_t *bounds = segments->data;
    int64_t count = nx_view_size(segments) / 2;
    int64_t k = c->in[0].shape[1], bytes = (int64_t)nx_dtype_size(out->dtype);
    int64_t matrix = (int64_t)out->shape[out->ndim - 2] * out->shape[out->ndim - 1];
    for (int64_t s = 0; s < count; s++) {
        int64_t end = bounds[2 * s + 1] < k ? bounds[2 * s + 1] : k;
        int64_t begin = bounds[2 * s] < end ? bounds[2 * s] : end;
        nx_view a = c->in[0], b = c->in[1], one = *out;
        int a_shape[2] = {a.shape[0], (int)(end - begin)}, b_shape[2] = {(int)(end - begin), b.shape[1]};
        a.data = (char *)a.data + begin * a.strides[1] * bytes;
        b.data = (char *)b.data + begin * b.strides[0] * bytes;
        a.shape = a_shape;
        b.shape = b_shape;
        one.data = (char *)out->data + s * matrix * bytes;
        one.ndim = 2;
        one.shape = out->shape + out->ndim - 2;
        one.strides = out->strides + out->ndim - 2;
        product p = {.a = &a, .b = &b, .out = &one};
        p.g.k = a.shape[1];
        product_run(&p, c->workspace, false); /* less of k may take more room than all of it */
    }
}
