/*
 * fused_tmpl.c: a list of elementwise operations on one tile after the other, so that what is between
 * them stays in the first cache. Each operation is the loop of tile_tmpl.c that it is alone, or one of
 * several simple ones that pass their results in registers (chain.h); half types are rounded after each:
 * results have the bits they would have one by one.
 */
#include "engine/cpu/chain.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/operand.h"
#include "engine/cpu/pool.h"
#include "engine/cpu/tile.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

/* A tile has as many elements as let the registers in use lie in the first cache together. The gap
 * keeps equal places of two registers from having equal low address bits. */
enum { MOST = 1024, LEAST = 128, REGISTER_BYTES = 48 * 1024, GAP = 128 };

typedef struct {
    nx_walk walk; /* the outputs, then the inputs that are no scalars */
    const nx_compiled_params *program;
    bool rows; /* a tile stays inside one row of the innermost dimension */
    int64_t tile_size;  /* elements */
    int64_t tile_bytes; /* of a register, gap included */
    operand out[NX_WALK_MAX], in[NX_FUSED_IN];
    int view[NX_FUSED_IN];            /* of the walk; -1: a scalar */
    const char *scalar[NX_FUSED_IN];  /* a tile of it */
    nx_tile_fn tile[NX_FUSED_OPS];
    nx_convert_fn convert[NX_FUSED_OPS]; /* instead of tile */
    int chain[NX_FUSED_OPS]; /* so many from this one on pass their results in registers; 0: it is alone */
    int other[NX_FUSED_OPS]; /* of such an operation: the operand that is not passed; -1: none */
    bool keep[NX_FUSED_OPS]; /* its result is an output, or an operand of another than the next */
    chain_fn step[NX_FUSED_OPS];
} job;

/* What one thread works with on its tile. */
typedef struct {
    const void *at[NX_FUSED_IN + NX_FUSED_OPS]; /* operands; NULL: not loaded yet */
    int64_t offset[NX_WALK_MAX];
    int64_t begin, n;
    _Alignas(64) char registers[REGISTER_BYTES];
    _Alignas(64) char narrow[MOST * 2];
} desk;

/* ---- which loop ------------------------------------------------------------------------------- */

/* The type an element has in a register. */
static nx_dtype held(nx_dtype t)
{
    return nx_dtype_in(t, NX_HALVES) ? NX_FLOAT32 : t;
}

static nx_tile_id tile_of(const nx_fused_op *op)
{
    static const nx_tile_id plain[NX_PRIM_COUNT] = {
#define NX_ELEM1(name, ...) [NX_PRIM_##name] = NX_TILE_##name,
#define NX_ELEM2(name, ...) [NX_PRIM_##name] = NX_TILE_##name,
#include "engine/ops/elementwise.def"
        [NX_PRIM_Select] = NX_TILE_Select,
    };
    static const nx_tile_id logs[] = {
        [NX_LOG_2] = NX_TILE_Log2, [NX_LOG_10] = NX_TILE_Log10, [NX_LOG_E] = NX_TILE_Log};
    static const nx_tile_id bits[] = {
        [NX_BITWISE_AND] = NX_TILE_BitwiseAnd,          [NX_BITWISE_OR] = NX_TILE_BitwiseOr,
        [NX_BITWISE_XOR] = NX_TILE_BitwiseXor,          [NX_BITWISE_LEFT_SHIFT] = NX_TILE_LeftShift,
        [NX_BITWISE_RIGHT_SHIFT] = NX_TILE_RightShift,
    };
    switch (op->prim) {
    case NX_PRIM_Log: return logs[op->variant];
    case NX_PRIM_Equal: return op->variant ? NX_TILE_NaNEqual : NX_TILE_Equal;
    case NX_PRIM_BitwiseBinary: return bits[op->variant];
    default: return plain[op->prim];
    }
}

static void choose_loops(job *j)
{
    for (int i = 0; i < j->program->n_ops; i++) {
        const nx_fused_op *op = &j->program->op[i];
        nx_dtype from = held((nx_dtype)op->from);
        if (op->prim == NX_PRIM_AsType)
            j->convert[i] = NX_FN(convert_function)(from, held((nx_dtype)op->to));
        else
            j->tile[i] = NX_FN(tile_function)(tile_of(op), from);
    }
}

/* ---- one tile --------------------------------------------------------------------------------- */

/* Do its elements follow each other under this tile? */
static bool lies_dense(const job *j, const operand *o, int view)
{
    return o->dense || (j->rows && j->walk.strides[view][j->walk.ndim - 1] == 1);
}

static char *reg_of(const job *j, desk *d, int number)
{
    return d->registers + number * j->tile_bytes;
}

static const void *load(const job *j, desk *d, int k)
{
    const operand *o = &j->in[k];
    int view = j->view[k];
    char *reg = reg_of(j, d, j->program->load[k]);
    const char *from = o->data + d->offset[view] * o->size;
    if (!lies_dense(j, o, view)) {
        from = o->widen ? d->narrow : reg;
        runs(&j->walk, view, d->begin, d->n, o, (char *)from, true);
    }
    if (!o->widen)
        return from;
    widen_tile(o->widen, d->n, from, reg);
    return reg;
}

/* A result of a half type is rounded; one that is an output goes there. `made` holds it, as floats. */
static void store(const job *j, desk *d, const nx_fused_op *op, char *made)
{
    nx_dtype t = (nx_dtype)op->to;
    bool half = nx_dtype_in(t, NX_HALVES);
    const operand *o = op->out >= 0 ? &j->out[op->out] : NULL;
    bool here = o && lies_dense(j, o, op->out);
    char *to = here ? o->data + d->offset[op->out] * o->size : half ? d->narrow : made;
    if (half) {
        narrow_tile(t, d->n, made, to);
        widen_tile(t, d->n, to, made);
    }
    if (o && !here)
        runs(&j->walk, op->out, d->begin, d->n, o, to, false);
}

static const void *operand_at(const job *j, desk *d, int k)
{
    if (k < j->program->n_in && !d->at[k])
        d->at[k] = load(j, d, k);
    return d->at[k];
}

static void operate(const job *j, desk *d, int i)
{
    const nx_compiled_params *p = j->program;
    const nx_fused_op *op = &p->op[i];
    const void *in[3];
    for (int k = 0; k < op->n_in; k++)
        in[k] = operand_at(j, d, op->in[k]);
    char *made = reg_of(j, d, op->reg);
    bool half = nx_dtype_in((nx_dtype)op->to, NX_HALVES);
    const operand *o = op->out >= 0 ? &j->out[op->out] : NULL;
    if (o && !half && lies_dense(j, o, op->out))
        made = o->data + d->offset[op->out] * o->size;
    if (j->convert[i])
        j->convert[i](d->n, in[0], 1, made, 1);
    else
        j->tile[i](d->n, in, made);
    if (half || o)
        store(j, d, op, made);
    d->at[p->n_in + i] = made;
}

/* ---- chains ----------------------------------------------------------------------------------- */

/* Where the result of operation i of a chain goes if it is kept. */
static char *kept(const job *j, desk *d, int i)
{
    const nx_fused_op *op = &j->program->op[i];
    const operand *o = op->out >= 0 ? &j->out[op->out] : NULL;
    return o ? o->data + d->offset[op->out] * o->size : reg_of(j, d, op->reg);
}

static bool is_number(const job *j, int k)
{
    return k < j->program->n_in && j->view[k] < 0;
}

/* What a step meets: a tile, or a number. */
static void meet(const job *j, desk *d, int k, chain_step *s)
{
    s->tile = (float *)operand_at(j, d, k);
    s->number = is_number(j, k) ? *s->tile : 0;
}

/* Operations i and the ones after it that belong to its chain. */
static void operate_chain(const job *j, desk *d, int i)
{
    const nx_compiled_params *p = j->program;
    chain_step steps[2 * NX_FUSED_OPS + 2];
    int n = 1, end = i + j->chain[i];
    int first = p->op[i].in[0];
    steps[0].run = is_number(j, first) ? chain_load_number : chain_load_tile;
    meet(j, d, first, &steps[0]);
    for (int k = i; k < end; k++) {
        steps[n].run = j->step[k];
        if (j->other[k] >= 0)
            meet(j, d, j->other[k], &steps[n]);
        n++;
        d->at[p->n_in + k] = kept(j, d, k);
        if (j->keep[k])
            steps[n++] = (chain_step){.run = chain_keep, .tile = (float *)kept(j, d, k)};
    }
    steps[n].run = chain_end;
    int64_t done = chain_run(steps, d->n);
    for (int k = i; k < end && done < d->n; k++) {
        const void *in[2];
        for (int x = 0; x < p->op[k].n_in; x++)
            in[x] = (const float *)d->at[p->op[k].in[x]] + done;
        j->tile[k](d->n - done, in, (float *)kept(j, d, k) + done);
    }
}

/* Can a step of operation i meet operand k? A result must lie in memory, and an input too before the chain
 * begins: to load it early could overwrite a register that is still in use. */
static bool may_meet(const job *j, int first, int i, int k)
{
    const nx_compiled_params *p = j->program;
    if (k >= p->n_in)
        return k - p->n_in < first || j->keep[k - p->n_in];
    return i == first || is_number(j, k) || (!j->in[k].widen && lies_dense(j, &j->in[k], j->view[k]));
}

/* Can operation i take its operand number `passed` in registers? Then says how. */
static bool joins(job *j, int first, int i, int passed)
{
    const nx_compiled_params *p = j->program;
    const nx_fused_op *op = &p->op[i];
    if (op->from != NX_FLOAT32 || op->to != NX_FLOAT32 || op->n_in > 2 || !chain_find(op->prim, 0) ||
        (op->out >= 0 && !lies_dense(j, &j->out[op->out], op->out)))
        return false;
    int other = op->n_in == 2 ? op->in[!passed] : -1;
    chain_side side = 0;
    if (other >= 0) {
        if (!may_meet(j, first, i, other))
            return false;
        side = passed ? CHAIN_LEFT_TILE : CHAIN_RIGHT_TILE;
        side += is_number(j, other);
    }
    j->other[i] = other;
    j->step[i] = chain_find(op->prim, side);
    return true;
}

/* last[i]: the last operation that reads the result of i; i: none does. */
static void last_readers(const nx_compiled_params *p, int *last)
{
    for (int i = 0; i < p->n_ops; i++) {
        last[i] = i;
        for (int x = 0; x < p->op[i].n_in; x++)
            if (p->op[i].in[x] >= p->n_in)
                last[p->op[i].in[x] - p->n_in] = i;
    }
}

/* Operation i and those after it, each of which takes the result of the one before in registers. */
static int chain_from(job *j, const int *last, int i)
{
    const nx_compiled_params *p = j->program;
    int n = 0;
    for (; i + n < p->n_ops; n++) {
        const nx_fused_op *op = &p->op[i + n];
        int before = p->n_in + i + n - 1;
        int passed = n && op->n_in == 2 && op->in[1] == before;
        if ((n && (op->in[passed] != before || (op->n_in == 2 && op->in[!passed] == before))) ||
            !joins(j, i, i + n, passed))
            break;
        j->keep[i + n] = op->out >= 0 || last[i + n] > i + n + 1;
    }
    if (n) /* whoever comes next reads it in memory */
        j->keep[i + n - 1] |= last[i + n - 1] > i + n - 1;
    return n;
}

static void find_chains(job *j)
{
    int last[NX_FUSED_OPS];
    last_readers(j->program, last);
    for (int i = 0; i < j->program->n_ops; i += j->chain[i] ? j->chain[i] : 1) {
        int n = chain_from(j, last, i);
        j->chain[i] = n > 1 ? n : 0;
    }
}

static void seek(const nx_walk *w, int64_t begin, int64_t *offset)
{
    if (w->ndim > 1) {
        nx_walk_seek(w, begin, offset);
        return;
    }
    for (int v = 0; v < w->n_views; v++)
        offset[v] = begin * w->strides[v][0];
}

static void piece(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    const nx_compiled_params *p = j->program;
    int64_t row = j->walk.shape[j->walk.ndim - 1];
    desk d;
    for (; begin < end; begin += d.n) {
        d.begin = begin;
        d.n = end - begin < j->tile_size ? end - begin : j->tile_size;
        if (j->rows && d.n > row - begin % row)
            d.n = row - begin % row;
        seek(&j->walk, begin, d.offset);
        for (int k = 0; k < p->n_in; k++)
            d.at[k] = j->scalar[k];
        for (int i = 0; i < p->n_ops; i += j->chain[i] ? j->chain[i] : 1)
            if (j->chain[i])
                operate_chain(j, &d, i);
            else
                operate(j, &d, i);
    }
}

/* ---- one call --------------------------------------------------------------------------------- */

static bool is_scalar(const nx_view *v)
{
    for (int d = 0; d < v->ndim; d++)
        if (v->shape[d] != 1 && v->strides[d] != 0)
            return false;
    return true;
}

static void repeat_scalar(const job *j, const nx_view *v, char *tile)
{
    float wide;
    bool half = nx_dtype_in(v->dtype, NX_HALVES);
    if (half)
        widen_tile(v->dtype, 1, v->data, &wide);
    row_gather(j->tile_size, half ? (const char *)&wide : v->data, 0, tile,
               (int64_t)nx_dtype_size(held(v->dtype)));
}

/* A register has room for the largest type there is. */
static void plan_tiles(job *j, const nx_call *c)
{
    const nx_compiled_params *p = j->program;
    size_t largest = 4;
    for (int k = 0; k < c->n_in; k++)
        if (nx_dtype_size(c->in[k].dtype) > largest)
            largest = nx_dtype_size(c->in[k].dtype);
    for (int i = 0; i < p->n_ops; i++)
        if (nx_dtype_size((nx_dtype)p->op[i].to) > largest)
            largest = nx_dtype_size((nx_dtype)p->op[i].to);
    int64_t each = REGISTER_BYTES / (p->n_registers > 3 ? p->n_registers : 3);
    j->tile_size = (each - GAP) / (int64_t)largest / LEAST * LEAST;
    if (j->tile_size > MOST)
        j->tile_size = MOST;
    j->tile_bytes = j->tile_size * (int64_t)largest + GAP;
}

/* The walk goes along the first output's memory. */
static void plan_walk(job *j, const nx_call *c, int n_views, const nx_view *const *views)
{
    const nx_view *out = &c->out[0];
    int order[NX_MAX_NDIM], shape[NX_MAX_NDIM];
    int64_t strides[NX_WALK_MAX][NX_MAX_NDIM];
    const int64_t *list[NX_WALK_MAX];
    order_dimensions(out, order);
    for (int v = 0; v < n_views; v++) {
        list[v] = strides[v];
        for (int d = 0; d < out->ndim; d++)
            strides[v][d] = views[v]->strides[order[d]];
    }
    for (int d = 0; d < out->ndim; d++)
        shape[d] = out->shape[order[d]];
    nx_walk_init(&j->walk, shape, out->ndim, list, n_views);
    j->rows = j->walk.shape[j->walk.ndim - 1] >= ROW;
}

size_t NX_FN(fused_workspace)(const nx_call *c)
{
    return (size_t)c->n_in * MOST * 8; /* for scalars */
}

void NX_FN(fused)(const nx_call *c)
{
    job j = {.program = c->params};
    const nx_view *views[NX_WALK_MAX];
    int n_views = 0;
    int64_t bytes = 0;
    for (int i = 0; i < c->n_out; i++)
        views[n_views++] = &c->out[i];
    for (int k = 0; k < c->n_in; k++) {
        j.view[k] = is_scalar(&c->in[k]) ? -1 : n_views;
        if (j.view[k] >= 0)
            views[n_views++] = &c->in[k];
    }
    plan_walk(&j, c, n_views, views);
    plan_tiles(&j, c);
    for (int i = 0; i < c->n_out; i++)
        j.out[i] = operand_of(&j.walk, i, &c->out[i], false);
    for (int k = 0; k < c->n_in; k++) {
        if (j.view[k] >= 0) {
            j.in[k] = operand_of(&j.walk, j.view[k], &c->in[k], false);
            continue;
        }
        j.scalar[k] = (char *)c->workspace + (size_t)k * MOST * 8;
        repeat_scalar(&j, &c->in[k], (char *)c->workspace + (size_t)k * MOST * 8);
    }
    for (int v = 0; v < n_views; v++)
        bytes += (int64_t)nx_dtype_size(views[v]->dtype);
    choose_loops(&j);
    find_chains(&j);
    if (j.walk.size)
        nx_parallel(j.walk.size, nx_grain(bytes, NX_PIECE_BYTES), piece, &j);
}
