/*
 * gather_tmpl.c: Gather and GatherAxis. Whole rows (an embedding's) are one memcpy each; single
 * elements go through a loop for each element size.
 */
#include <string.h>

#include "engine/cpu/indices.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/update.h"
#include "engine/ops/params.h"

typedef struct {
    const nx_view *from;
    nx_indices indices; /* at the first position; pieces seek in copies */
    const nx_gather_params *p;
    nx_walk walk;  /* of one slice: from, out */
    int64_t slice; /* elements in one */
    int64_t size;  /* bytes an element */
    nx_update_row row;
    char *out;
} gather_job;

/* Output elements begin..end-1, a run of a slice at a time. */
static void gather_piece(void *ctx, int64_t begin, int64_t end)
{
    const gather_job *j = ctx;
    const nx_walk *w = &j->walk;
    nx_indices x = j->indices;
    int last = w->ndim - 1;
    int64_t position = begin / j->slice, inside = begin % j->slice;
    nx_indices_seek(&x, position);
    int64_t base = nx_indices_offset(&x, j->from, &j->p->axes, j->p->slice_sizes.v);
    while (begin < end) {
        int64_t at[2] = {0, 0};
        if (inside)
            nx_walk_seek(w, inside, at);
        int64_t n = w->shape[last] - inside % w->shape[last];
        if (n > end - begin)
            n = end - begin;
        j->row(n, (const char *)j->from->data + (base + at[0]) * j->size, w->strides[0][last],
               j->out + begin * j->size, 1);
        begin += n;
        inside += n;
        if (inside == j->slice && begin < end) {
            inside = 0;
            nx_indices_next(&x);
            base = nx_indices_offset(&x, j->from, &j->p->axes, j->p->slice_sizes.v);
        }
    }
}

#define GATHER_ONES(T, bytes)                                                                      \
    static void gather_ones_##bytes(void *ctx, int64_t begin, int64_t end)                         \
    {                                                                                              \
        const gather_job *j = ctx;                                                                 \
        const T *from = j->from->data;                                                             \
        T *out = (T *)j->out;                                                                      \
        nx_indices x = j->indices;                                                                 \
        nx_indices_seek(&x, begin);                                                                \
        for (int64_t i = begin; i < end; i++) {                                                    \
            out[i] = from[nx_indices_offset(&x, j->from, &j->p->axes, j->p->slice_sizes.v)];       \
            nx_indices_next(&x);                                                                   \
        }                                                                                          \
    }
GATHER_ONES(uint8_t, 1)
GATHER_ONES(uint16_t, 2)
GATHER_ONES(uint32_t, 4)
GATHER_ONES(uint64_t, 8)

void NX_FN(gather)(const nx_call *c)
{
    static const nx_piece ones[9] = {
        [1] = gather_ones_1, [2] = gather_ones_2, [4] = gather_ones_4, [8] = gather_ones_8};
    const nx_gather_params *p = c->params;
    const nx_view *from = &c->in[0];
    gather_job j = {.from = from,
                    .p = p,
                    .size = (int64_t)nx_dtype_size(from->dtype),
                    .row = NX_FN(update_row)(NX_UPDATE_NONE, from->dtype),
                    .out = c->out[0].data};
    j.indices = (nx_indices){.n = c->n_in - 1, .views = c->in + 1};
    if (j.indices.n) {
        j.indices.ndim = c->in[1].ndim;
        j.indices.shape = c->in[1].shape;
    }
    int64_t dense[NX_MAX_NDIM];
    nx_strides_row(p->slice_sizes.v, p->slice_sizes.n, dense);
    nx_walk_init(&j.walk, p->slice_sizes.v, from->ndim,
                 (const int64_t *const[]){from->strides, dense}, 2);
    j.slice = j.walk.size;
    nx_parallel(nx_view_size(&c->out[0]), nx_grain(2 * j.size, NX_PIECE_BYTES),
                j.slice == 1 ? ones[j.size] : gather_piece, &j);
}

/* ---- GatherAxis ----------------------------------------------------------------------------- */

typedef struct {
    nx_walk walk; /* indices, from (standing still along the axis) */
    const nx_view *indices;
    const char *from;
    char *out;
    int64_t length, step; /* of the axis, in from */
    int64_t size;         /* bytes an element */
} gather_axis_job;

/* An element of n: indices of the usual types, dense, are read without asking for their type. */
#define TAKE_BY(T, I)                                                                              \
    {                                                                                              \
        const I *index = (const I *)j->indices->data + at[0];                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            int64_t k = (int64_t)index[i];                                                         \
            k = nx_clamp(k < 0 ? k + j->length : k, 0, j->length - 1);                             \
            out[i] = from[i * fs + j->step * k];                                                   \
        }                                                                                          \
        return;                                                                                    \
    }
#define TAKE(T, bytes)                                                                             \
    static void take_##bytes(const gather_axis_job *j, int64_t n, const int64_t *at,               \
                             int64_t begin)                                                        \
    {                                                                                              \
        const nx_walk *w = &j->walk;                                                               \
        int64_t is = w->strides[0][w->ndim - 1], fs = w->strides[1][w->ndim - 1];                  \
        const T *restrict from = (const T *)j->from + at[1];                                       \
        T *restrict out = (T *)j->out + begin;                                                     \
        if (is == 1 && j->indices->dtype == NX_INT32)                                              \
            TAKE_BY(T, int32_t)                                                                    \
        if (is == 1 && j->indices->dtype == NX_UINT32)                                             \
            TAKE_BY(T, uint32_t)                                                                   \
        if (is == 1 && j->indices->dtype == NX_INT64)                                              \
            TAKE_BY(T, int64_t)                                                                    \
        for (int64_t i = 0; i < n; i++)                                                            \
            out[i] =                                                                               \
                from[i * fs + j->step * nx_index_in(j->indices->data, j->indices->dtype,           \
                                                    at[0] + i * is, j->length, j->length - 1)];    \
    }
TAKE(uint8_t, 1)
TAKE(uint16_t, 2)
TAKE(uint32_t, 4)
TAKE(uint64_t, 8)

static void gather_axis_piece(void *ctx, int64_t begin, int64_t end)
{
    const gather_axis_job *j = ctx;
    const nx_walk *w = &j->walk;
    while (begin < end) {
        int64_t at[2];
        int64_t n = nx_walk_run(w, begin, end, at);
        switch (j->size) {
        case 1:
            take_1(j, n, at, begin);
            break;
        case 2:
            take_2(j, n, at, begin);
            break;
        case 4:
            take_4(j, n, at, begin);
            break;
        default:
            take_8(j, n, at, begin);
            break;
        }
        begin += n;
    }
}

void NX_FN(gather_axis)(const nx_call *c)
{
    int axis = ((const nx_axis_params *)c->params)->axis;
    const nx_view *from = &c->in[0], *indices = &c->in[1];
    int64_t still[NX_MAX_NDIM];
    memcpy(still, from->strides, (size_t)from->ndim * sizeof *still);
    still[axis] = 0;
    gather_axis_job j = {.indices = indices,
                         .from = from->data,
                         .out = c->out[0].data,
                         .length = from->shape[axis],
                         .step = from->strides[axis],
                         .size = (int64_t)nx_dtype_size(from->dtype)};
    nx_walk_init(&j.walk, indices->shape, indices->ndim,
                 (const int64_t *const[]){indices->strides, still}, 2);
    nx_parallel(j.walk.size, nx_grain(2 * j.size + 8, NX_PIECE_BYTES), gather_axis_piece, &j);
}
