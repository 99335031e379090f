/*
 * gguf_tmpl.c: GgufMatmul, GgufTake: matrices whose rows are GGUF blocks, as in the file or in our order
 * of tiles (gguf_blocks.h).
 */
#include "engine/cpu/amx.h"
#include "engine/cpu/gemm.h"
#include "engine/cpu/gguf_blocks.h"
#include "engine/cpu/gguf_rows.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/qmm.h"
#include "engine/cpu/simd.h"
#include "engine/cpu/types.h"
#include "engine/ops/params.h"

/* ---- products ----------------------------------------------------------------------------------- */

#define STORE(t, T, PUT)                                                                           \
    static void store_##t(const nx_qmm *q, int64_t batch, int64_t m0, int64_t m, int64_t n0,       \
                          int nb, const float *acc)                                                \
    {                                                                                              \
        T *out = (T *)(void *)q->out + (batch * q->m + m0) * q->n + n0;                                   \
        for (int64_t i = 0; i < m; i++)                                                            \
            for (int j = 0; j < nb; j++)                                                           \
                out[i * q->n + j] = PUT(acc[i * NX_TILE + j]);                                     \
    }
#define PUT_F16(x)  ((nx_f16){nx_half_from_float(x)})
#define PUT_BF16(x) ((nx_bf16){nx_bf16_from_float(x)})
STORE(f32, float, )
STORE(f16, nx_f16, PUT_F16)
STORE(bf16, nx_bf16, PUT_BF16)

static int64_t rows_of(const nx_view *x)
{
    return nx_shape_size(x->shape, x->ndim - 1);
}

/* With the i-th matrix. */
static nx_qmm quantized(const nx_call *c, int i)
{
    const nx_gguf_params *p = c->params;
    const nx_view *x = &c->in[0], *w = &c->in[1 + i], *out = &c->out[i];
    nx_gguf_info info = nx_gguf_info_of(nx_gguf_type_of(p, i));
    nx_qmm q = {.batches = 1, .m = rows_of(x), .n = w->shape[0], .k = p->columns,
                .group = info.group, .has_min = info.has_min, .w = w->data, .out = out->data,
                .out_bytes = (int64_t)nx_dtype_size(out->dtype), .w_row_bytes = w->shape[1],
                .type = nx_gguf_type_of(p, i)};
    NX_BELOW(nx_gguf_kernels)(&q);
#if NX_HAS_AMX
    NX_FN(nx_gguf_bytes)(&q);
#endif
    q.store = out->dtype == NX_FLOAT32 ? store_f32 : out->dtype == NX_FLOAT16 ? store_f16 : store_bf16;
    return q;
}

static void plain(const nx_call *c, int i)
{
    const nx_gguf_params *p = c->params;
    const nx_view *x = &c->in[0], *w = &c->in[1 + i];
    int n = w->shape[0], k = p->columns, type = nx_gguf_type_of(p, i);
    int shape_w[2] = {k, n};
    int64_t strides_w[2] = {1, k};
    nx_view in[2] = {*x, {w->data, type == NX_GGML_F32   ? NX_FLOAT32
                                   : type == NX_GGML_F16 ? NX_FLOAT16
                                                         : NX_BFLOAT16,
                          2, shape_w, strides_w}};
    NX_FN(nx_product)(&in[0], &in[1], &c->out[i], c->workspace);
}

_Static_assert((int)NX_GGUF_MATRICES <= (int)NX_QMM_PRODUCTS, "a product's matrices are products at once");

/* Values that share a scale of x; 0: x stays as it is. */
static int group_of(const nx_gguf_params *p, int i)
{
    return nx_gguf_info_of(nx_gguf_type_of(p, i)).group;
}

size_t NX_FN(gguf_matmul_workspace)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    size_t most = 0;
    for (int i = 0; i < c->n_out; i++) {
        int group = group_of(p, i);
        size_t size = group ? NX_FN(nx_qx_bytes)(rows_of(&c->in[0]), p->columns, group)
                            : NX_FN(nx_product_workspace)(&c->in[0], &c->out[i]);
        most = size > most ? size : most;
    }
    return most;
}

void NX_FN(gguf_matmul)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *x = &c->in[0];
    nx_gguf_books_ready();
    for (int i = 0; i < c->n_out;) {
        int group = group_of(p, i), n = 0;
        if (!group) {
            plain(c, i++);
            continue;
        }
        nx_qmm q[NX_GGUF_MATRICES];
        while (i < c->n_out && group_of(p, i) == group)
            q[n++] = quantized(c, i++);
        NX_FN(nx_qmm_run_rounding)(q, n, x->data, x->dtype, c->workspace);
    }
}

/* ---- rows as numbers ------------------------------------------------------------------------------ */

typedef struct {
    const nx_gguf_params *p;
    nx_gguf_info info;
    const uint8_t *w;
    int64_t n, row_bytes;
    nx_unpack_row *unpack;
    const void *index; /* int32 or int64; NULL: each row in turn */
    bool wide;
    char *out;
} take_job;

static void plain_row(int type, const uint8_t *from, float *to, int64_t n)
{
    if (type == NX_GGML_F32)
        memcpy(to, from, (size_t)n * 4);
    else if (type == NX_GGML_F16)
        nx_floats_of_f16((const uint16_t *)(const void *)from, to, n);
    else
        nx_floats_of_bf16((const uint16_t *)(const void *)from, to, n);
}

/* Values k.. of a row, one group of them (or up to 128 of a plain type). */
static int take_group(const take_job *j, int64_t row, int64_t k, float *to)
{
    int group = j->info.group;
    const uint8_t *at = j->w + row * j->row_bytes;
    if (!group) {
        int64_t n = j->p->columns - k < NX_GROUP_MAX ? j->p->columns - k : NX_GROUP_MAX;
        plain_row(j->p->type, at + k * nx_gguf_float_bytes(j->p->type), to, n);
        return (int)n;
    }
    int16_t code[NX_GROUP_MAX];
    float scale, min;
    int64_t tile = row / NX_TILE;
    if (j->p->type & NX_REPACKED && (tile + 1) * NX_TILE <= j->n)
        nx_tile_group(j->p->type, &j->info, j->w + tile * NX_TILE * j->row_bytes, k / group,
                      (int)(row % NX_TILE), code, &scale, &min);
    else
        j->unpack(j->p->type & ~NX_REPACKED, at, k / group, 1, code, &scale, &min);
    for (int i = 0; i < group; i++)
        to[i] = scale * (float)code[i] + min;
    return group;
}

static void take_piece(void *ctx, int64_t begin, int64_t end)
{
    const take_job *j = ctx;
    float v[NX_GROUP_MAX];
    int64_t k_all = j->p->columns;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = !j->index ? i
                      : j->wide ? ((const int64_t *)j->index)[i]
                                : ((const int32_t *)j->index)[i];
        bool there = row >= 0 && row < j->n;
        for (int64_t k = 0, n; k < k_all; k += n) {
            n = k_all - k < NX_GROUP_MAX ? k_all - k : NX_GROUP_MAX;
            if (there)
                n = take_group(j, row, k, v);
            else
                memset(v, 0, sizeof v);
            for (int64_t e = 0; e < n; e++) {
                int64_t at = i * k_all + k + e;
                if (j->p->dtype == NX_FLOAT32)
                    ((float *)(void *)j->out)[at] = v[e];
                else if (j->p->dtype == NX_FLOAT16)
                    ((uint16_t *)(void *)j->out)[at] = nx_half_from_float(v[e]);
                else
                    ((uint16_t *)(void *)j->out)[at] = nx_bf16_from_float(v[e]);
            }
        }
    }
}

void NX_FN(gguf_take)(const nx_call *c)
{
    const nx_gguf_params *p = c->params;
    const nx_view *w = &c->in[0];
    nx_gguf_books_ready();
    take_job j = {.p = p, .info = nx_gguf_info_of(p->type), .w = w->data, .n = w->shape[0],
                  .row_bytes = w->shape[1], .out = c->out[0].data,
                  .unpack = NX_BELOW(nx_unpack_row_of)(p->type & ~NX_REPACKED)};
    if (c->n_in > 1) {
        j.index = c->in[1].data;
        j.wide = c->in[1].dtype == NX_INT64;
    }
    nx_parallel(rows_of(&c->out[0]), nx_grain(p->columns * 4, NX_PIECE_BYTES), take_piece, &j);
}
