/*
 * elementwise_tmpl.c: walks the arrays of an elementwise call and hands tiles to the functions of
 * tile_tmpl.c. An operand that lies dense under a tile is read where it is; any other is gathered
 * into scratch first (a scalar once). Half types pass through float scratch.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/half_tile.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/operand.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/tile.h"
#include "engine/ops/params.h"

enum { MAX_IN = 3 };

typedef struct {
    nx_walk walk; /* [0] the output, then the inputs */
    nx_tile_fn tile;
    int n_in;
    bool rows;   /* a tile stays inside one row of the innermost dimension */
    bool direct; /* no scratch at all: tiles may have any length */
    operand out, in[MAX_IN];
} job;

typedef struct {
    const char *from; /* what `values` was filled with, if it was one element repeated */
    _Alignas(64) char values[NX_TILE * 8];
} scratch;

/* ---- one operand of one tile -------------------------------------------------------------------- */

static const void *widened(const operand *o, int64_t n, const char *from, scratch *s)
{
    widen_tile(o->widen, n, from, s->values);
    return s->values;
}

static const void *repeated(const operand *o, const char *from, scratch *s)
{
    if (s->from == from)
        return s->values;
    s->from = from;
    if (!o->widen) {
        row_gather(NX_TILE, from, 0, s->values, o->size);
        return s->values;
    }
    char copies[NX_TILE * 2];
    row_gather(NX_TILE, from, 0, copies, 2);
    return widened(o, NX_TILE, copies, s);
}

static const void *input_tile(const job *j, int i, int64_t begin, int64_t n, int64_t at, scratch *s)
{
    const operand *o = &j->in[i];
    const char *from = o->data + at * o->size;
    int64_t step = j->walk.strides[i + 1][j->walk.ndim - 1];
    if (o->dense || (j->rows && step == 1))
        return o->widen ? widened(o, n, from, s) : from;
    if (o->scalar || (j->rows && step == 0))
        return repeated(o, from, s);
    s->from = NULL;
    if (!o->widen) {
        runs(&j->walk, i + 1, begin, n, o, s->values, true);
        return s->values;
    }
    char narrow[NX_TILE * 2];
    runs(&j->walk, i + 1, begin, n, o, narrow, true);
    return widened(o, n, narrow, s);
}

/* Computes a tile into scratch where the output cannot take it as it is. */
static void output_tile(const job *j, int64_t begin, int64_t n, int64_t at, const void *const *in)
{
    const operand *o = &j->out;
    char *to = o->data + at * o->size;
    bool here = o->dense || (j->rows && j->walk.strides[0][j->walk.ndim - 1] == 1);
    if (here && !o->widen) {
        j->tile(n, in, to);
        return;
    }
    _Alignas(64) char values[NX_TILE * 8], narrow[NX_TILE * 2];
    const char *made = values;
    j->tile(n, in, values);
    if (o->widen) {
        narrow_tile(o->widen, n, values, here ? to : narrow);
        made = narrow;
    }
    if (!here)
        runs(&j->walk, 0, begin, n, o, (char *)made, false);
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    const nx_walk *w = &j->walk;
    int64_t row = w->shape[w->ndim - 1];
    scratch s[MAX_IN];
    for (int i = 0; i < j->n_in; i++)
        s[i].from = NULL;
    while (begin < end) {
        int64_t at[NX_WALK_MAX], n = end - begin;
        const void *in[MAX_IN];
        if (j->rows && n > row - begin % row)
            n = row - begin % row;
        if (!j->direct && n > NX_TILE)
            n = NX_TILE;
        nx_walk_seek(w, begin, at);
        for (int i = 0; i < j->n_in; i++)
            in[i] = input_tile(j, i, begin, n, at[i + 1], &s[i]);
        output_tile(j, begin, n, at[0], in);
        begin += n;
    }
}

/* ---- one call --------------------------------------------------------------------------------- */

static void walk_of(nx_walk *w, const nx_view *out, const nx_view *in, int n_in)
{
    int order[NX_MAX_NDIM], shape[NX_MAX_NDIM];
    int64_t strides[MAX_IN + 1][NX_MAX_NDIM];
    const int64_t *list[MAX_IN + 1];
    order_dimensions(out, order);
    for (int v = 0; v <= n_in; v++) {
        list[v] = strides[v];
        for (int d = 0; d < out->ndim; d++)
            strides[v][d] = v ? in[v - 1].strides[order[d]] : out->strides[order[d]];
    }
    for (int d = 0; d < out->ndim; d++)
        shape[d] = out->shape[order[d]];
    nx_walk_init(w, shape, out->ndim, list, n_in + 1);
}

/* bits: half types are moved, not computed with. */
static void run(nx_tile_id id, bool bits, const nx_view *out, const nx_view *in, int n_in)
{
    job j = {.n_in = n_in, .tile = NX_FN(tile_function)(id, in[n_in - 1].dtype)};
    walk_of(&j.walk, out, in, n_in);
    int last = j.walk.ndim - 1;
    j.rows = j.walk.shape[last] >= ROW;
    j.out = operand_of(&j.walk, 0, out, bits);
    int64_t bytes = j.out.size;
    j.direct = !j.out.widen && (j.out.dense || (j.rows && j.walk.strides[0][last] == 1));
    for (int i = 0; i < n_in; i++) {
        operand *o = &j.in[i];
        *o = operand_of(&j.walk, i + 1, &in[i], bits);
        j.direct &= !o->widen && (o->dense || (j.rows && j.walk.strides[i + 1][last] == 1));
        bytes += o->size;
    }
    if (j.walk.size)
        nx_parallel(j.walk.size, nx_grain(bytes, NX_PIECE_BYTES), piece, &j);
}

static void run_call(nx_tile_id id, const nx_call *c)
{
    run(id, false, &c->out[0], c->in, c->n_in);
}

#define NX_ELEM1(name, ...)                             \
    void NX_FN(elementwise_##name)(const nx_call *c)    \
    {                                                   \
        run_call(NX_TILE_##name, c);                    \
    }
#define NX_ELEM2(name, ...)                            \
    void NX_FN(elementwise_##name)(const nx_call *c)    \
    {                                                   \
        run_call(NX_TILE_##name, c);                    \
    }
#include "engine/ops/elementwise.def"

void NX_FN(log)(const nx_call *c)
{
    static const nx_tile_id tiles[] = {
        [NX_LOG_2] = NX_TILE_Log2, [NX_LOG_10] = NX_TILE_Log10, [NX_LOG_E] = NX_TILE_Log};
    run_call(tiles[((const nx_log_params *)c->params)->base], c);
}

void NX_FN(equal)(const nx_call *c)
{
    const nx_equal_params *p = c->params;
    run_call(p->equal_nan ? NX_TILE_NaNEqual : NX_TILE_Equal, c);
}

void NX_FN(bitwise)(const nx_call *c)
{
    static const nx_tile_id tiles[] = {
        [NX_BITWISE_AND] = NX_TILE_BitwiseAnd,          [NX_BITWISE_OR] = NX_TILE_BitwiseOr,
        [NX_BITWISE_XOR] = NX_TILE_BitwiseXor,          [NX_BITWISE_LEFT_SHIFT] = NX_TILE_LeftShift,
        [NX_BITWISE_RIGHT_SHIFT] = NX_TILE_RightShift,
    };
    run_call(tiles[((const nx_bitwise_params *)c->params)->op], c);
}

void NX_FN(to_fp8)(const nx_call *c)
{
    run_call(NX_TILE_ToFP8, c);
}

void NX_FN(from_fp8)(const nx_call *c)
{
    run_call(NX_TILE_FromFP8, c);
}

void NX_FN(divmod)(const nx_call *c)
{
    run(NX_TILE_Quotient, false, &c->out[0], c->in, 2);
    run(NX_TILE_Rest, false, &c->out[1], c->in, 2);
}

void NX_FN(select)(const nx_call *c)
{
    run(NX_TILE_Select, true, &c->out[0], c->in, 3);
}
