/*
 * scatter_tmpl.c: Scatter, ScatterAxis, MaskedScatter. Updates are applied in the order of their
 * indices, so that of two to one place the later wins and sums are the same for any number of
 * threads: pieces share out places, never the indices of one place.
 */
#include <string.h>

#include "engine/cpu/indices.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/update.h"
#include "engine/ops/params.h"

typedef struct {
    const nx_view *out, *updates;
    nx_indices indices;
    const nx_dims *axes;
    const int *slice; /* [out.ndim], and as many elements: */
    int64_t slice_size, positions;
    nx_walk walk; /* of one slice: updates, out */
    int64_t size; /* bytes an element */
    nx_update_row row;
} scatter_job;

/* Elements begin..end-1 of every slice. */
static void scatter_piece(void *ctx, int64_t begin, int64_t end)
{
    const scatter_job *j = ctx;
    const nx_walk *w = &j->walk;
    int last = w->ndim - 1;
    nx_indices x = j->indices; /* the updates are the last of them: their leading dimensions */
    nx_indices_seek(&x, 0);
    for (int64_t p = 0; p < j->positions; p++) {
        int64_t from = x.offsets[x.n - 1];
        int64_t to = nx_indices_offset(&x, j->out, j->axes, j->slice);
        for (int64_t i = begin; i < end;) {
            int64_t at[2];
            nx_walk_seek(w, i, at);
            int64_t n = w->shape[last] - i % w->shape[last];
            if (n > end - i)
                n = end - i;
            j->row(n, (const char *)j->updates->data + (from + at[0]) * j->size,
                   w->strides[0][last], (char *)j->out->data + (to + at[1]) * j->size,
                   w->strides[1][last]);
            i += n;
        }
        nx_indices_next(&x);
    }
}

/* Slices of more than one element along an indexed axis may overlap: then nothing is shared out. */
static bool slices_overlap(const scatter_job *j)
{
    for (int k = 0; k < j->axes->n; k++)
        if (j->slice[j->axes->v[k]] > 1)
            return true;
    return false;
}

enum { SCATTER_GRAIN = 256 }; /* elements of a slice for which walking all indices is worth it */

void NX_FN(scatter)(const nx_call *c)
{
    const nx_scatter_params *p = c->params;
    const nx_view *out = &c->out[0], *updates = &c->in[c->n_in - 1];
    int lead = updates->ndim - out->ndim;
    scatter_job j = {.out = out,
                     .updates = updates,
                     .axes = &p->axes,
                     .slice = updates->shape + lead,
                     .size = (int64_t)nx_dtype_size(out->dtype),
                     .row = NX_FN(update_row)((nx_reduce_mode)p->mode, out->dtype)};
    j.indices =
        (nx_indices){.n = c->n_in - 1, .views = c->in + 1, .ndim = lead, .shape = updates->shape};
    j.positions = nx_shape_size(updates->shape, lead);
    nx_walk_init(&j.walk, j.slice, out->ndim,
                 (const int64_t *const[]){updates->strides + lead, out->strides}, 2);
    j.slice_size = j.walk.size;
    int64_t grain = nx_grain(2 * j.size * j.positions, NX_PIECE_BYTES);
    if (grain < SCATTER_GRAIN)
        grain = SCATTER_GRAIN;
    if (j.positions == 0 || j.slice_size == 0)
        return;
    if (slices_overlap(&j))
        scatter_piece(&j, 0, j.slice_size);
    else
        nx_parallel(j.slice_size, grain, scatter_piece, &j);
}

/* ---- ScatterAxis ---------------------------------------------------------------------------- */

typedef struct {
    nx_walk lines; /* all dimensions but the axis: indices, updates, out */
    const nx_view *indices;
    const char *updates;
    char *out;
    int64_t n, index_step, update_step; /* indices a line */
    int64_t length, step;               /* of the axis, in out */
    int64_t size;                       /* bytes an element */
    nx_update_row row;
} scatter_axis_job;

enum { LINES_AT_ONCE = 64 };

/* n neighbouring lines, which begin at the offsets `at`. */
static void scatter_lines(const scatter_axis_job *j, int64_t n, const int64_t *at)
{
    const nx_walk *w = &j->lines;
    int64_t is = w->strides[0][w->ndim - 1], us = w->strides[1][w->ndim - 1];
    int64_t os = w->strides[2][w->ndim - 1];
    for (int64_t k = 0; k < j->n; k++)
        for (int64_t i = 0; i < n; i++) {
            int64_t to = nx_index_in(j->indices->data, j->indices->dtype,
                                     at[0] + k * j->index_step + i * is, j->length, j->length - 1);
            j->row(1, j->updates + (at[1] + k * j->update_step + i * us) * j->size, 1,
                   j->out + (at[2] + to * j->step + i * os) * j->size, 1);
        }
}

static void scatter_axis_piece(void *ctx, int64_t begin, int64_t end)
{
    const scatter_axis_job *j = ctx;
    const nx_walk *w = &j->lines;
    while (begin < end) {
        int64_t at[3];
        int64_t stop = end - begin < LINES_AT_ONCE ? end : begin + LINES_AT_ONCE;
        int64_t n = nx_walk_run(w, begin, stop, at);
        scatter_lines(j, n, at);
        begin += n;
    }
}

void NX_FN(scatter_axis)(const nx_call *c)
{
    const nx_scatter_axis_params *p = c->params;
    const nx_view *indices = &c->in[1], *updates = &c->in[2], *out = &c->out[0];
    int axis = p->axis, shape[NX_MAX_NDIM];
    memcpy(shape, indices->shape, (size_t)indices->ndim * sizeof *shape);
    shape[axis] = 1;
    scatter_axis_job j = {
        .indices = indices,
        .updates = updates->data,
        .out = out->data,
        .n = indices->shape[axis],
        .index_step = indices->strides[axis],
        .update_step = updates->strides[axis],
        .length = out->shape[axis],
        .step = out->strides[axis],
        .size = (int64_t)nx_dtype_size(out->dtype),
        .row = NX_FN(update_row)(p->mode == NX_SCATTER_ADD ? NX_UPDATE_ADD : NX_UPDATE_NONE,
                                 out->dtype)};
    nx_walk_init(&j.lines, shape, out->ndim,
                 (const int64_t *const[]){indices->strides, updates->strides, out->strides}, 3);
    if (j.lines.size && j.n)
        nx_parallel(j.lines.size, nx_grain(3 * j.size * j.n, NX_PIECE_BYTES), scatter_axis_piece,
                    &j);
}

/* ---- MaskedScatter -------------------------------------------------------------------------- */

/* One after the other: where a value goes depends on all of the mask before it. */
#define MASKED(T, bytes)                                                                           \
    static void masked_##bytes(const nx_walk *w, const bool *mask, const T *values, int64_t n,     \
                               T *out)                                                             \
    {                                                                                              \
        int64_t used = 0, run = w->shape[w->ndim - 1], step = w->strides[0][w->ndim - 1];          \
        for (int64_t i = 0; i < w->size && used < n; i += run) {                                   \
            int64_t at;                                                                            \
            nx_walk_seek(w, i, &at);                                                               \
            for (int64_t k = 0; k < run && used < n; k++)                                          \
                if (mask[at + k * step])                                                           \
                    out[i + k] = values[used++];                                                   \
        }                                                                                          \
    }
MASKED(uint8_t, 1)
MASKED(uint16_t, 2)
MASKED(uint32_t, 4)
MASKED(uint64_t, 8)

void NX_FN(masked_scatter)(const nx_call *c)
{
    const nx_view *mask = &c->in[1], *out = &c->out[0];
    const void *values = c->in[2].data;
    int64_t n = nx_view_size(&c->in[2]);
    nx_walk w;
    nx_walk_init(&w, mask->shape, mask->ndim, (const int64_t *const[]){mask->strides}, 1);
    switch (nx_dtype_size(out->dtype)) {
    case 1:
        masked_1(&w, mask->data, values, n, out->data);
        break;
    case 2:
        masked_2(&w, mask->data, values, n, out->data);
        break;
    case 4:
        masked_4(&w, mask->data, values, n, out->data);
        break;
    default:
        masked_8(&w, mask->data, values, n, out->data);
        break;
    }
}
