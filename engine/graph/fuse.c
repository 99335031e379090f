/*
 * fuse.c: Compiled: elementwise operations of a trace as one, which the CPU runs tile by tile
 * (cpu/fused_tmpl.c); and how a tape's steps are put together to such.
 *
 * Steps have levels: an operation that cannot be fused is one above what it reads; one that can be is
 * on the level of what it reads, together with those it reads from there. So no way leads out of a
 * group and back into it: it would have come back on a higher level.
 */
#include <string.h>

#include "base/error.h"
#include "engine/core/scope.h"
#include "engine/graph/file_form.h"
#include "engine/graph/grad.h"
#include "engine/graph/tape.h"
#include "engine/ops/creation.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"

/* ---- the primitive ----------------------------------------------------------------------------- */

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_compiled_params *p = params;
    for (int i = 0; i < p->n_ops; i++)
        if (p->op[i].out >= 0)
            nx_spec_like(&out[p->op[i].out], in[0], (nx_dtype)p->op[i].to);
    return true;
}

/* The parameter of an operation of a program, as its primitive has it. */
static const void *params_of(const nx_fused_op *op, void *room)
{
    switch (op->prim) {
    case NX_PRIM_AsType: *(nx_astype_params *)room = (nx_astype_params){(nx_dtype)op->to}; return room;
    case NX_PRIM_Log: *(nx_log_params *)room = (nx_log_params){op->variant}; return room;
    case NX_PRIM_Equal: *(nx_equal_params *)room = (nx_equal_params){op->variant}; return room;
    case NX_PRIM_BitwiseBinary: *(nx_bitwise_params *)room = (nx_bitwise_params){op->variant}; return room;
    default: return NULL;
    }
}

static int variant_of(const nx_node *n)
{
    switch (n->prim->id) {
    case NX_PRIM_Log: return ((const nx_log_params *)n->params)->base;
    case NX_PRIM_Equal: return ((const nx_equal_params *)n->params)->equal_nan;
    case NX_PRIM_BitwiseBinary: return ((const nx_bitwise_params *)n->params)->op;
    default: return 0;
    }
}

/* The operations one by one on in[n_in]; out[n_out]. */
static bool run_apart(const nx_compiled_params *p, nx_array *const *in, nx_stream *s, nx_array **out)
{
    nx_array *made[NX_FUSED_IN + NX_FUSED_OPS];
    memcpy(made, in, (size_t)p->n_in * sizeof *made);
    for (int i = 0; i < p->n_ops; i++) {
        const nx_fused_op *op = &p->op[i];
        nx_array *args[3];
        int64_t room[2];
        for (int k = 0; k < op->n_in; k++)
            args[k] = made[op->in[k]];
        nx_array *a = nx_op(nx_prim_of(op->prim), params_of(op, room), args, op->n_in, s);
        if (!a)
            return false;
        made[p->n_in + i] = a;
        if (op->out >= 0)
            out[op->out] = a;
    }
    return true;
}

static bool decompose(nx_node *n, nx_array **out)
{
    return run_apart(n->params, n->in, n->stream, out);
}

static bool vjp(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *tracers[NX_FUSED_IN], *made[NX_WALK_MAX], *given[NX_WALK_MAX], *grads[NX_FUSED_IN];
    bool ok = true;
    nx_tracing++;
    for (int i = 0; ok && i < n->n_in; i++)
        ok = (tracers[i] = nx_tracer(n->in[i])) != NULL;
    for (int i = 0; i < n->n_out; i++)
        given[i] = nx_array_is_none(g[i]) ? NULL : g[i];
    ok = ok && run_apart(n->params, tracers, n->stream, made) &&
         nx_pull_back(tracers, (size_t)n->n_in, made, given, n->n_out, NULL, grads);
    nx_tracing--;
    for (int i = 0; ok && i < n->n_in; i++)
        if (wanted[i])
            out[i] = grads[i];
    return ok;
}

/* Element by element it does not matter how many there are. */
static bool vmap(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    int size = nx_batch_size(in, axes, n->n_in);
    nx_array *all[NX_FUSED_IN];
    for (int i = 0; i < n->n_in; i++) {
        all[i] = nx_batch_all(in[i], axes[i], size, n->stream);
        if (!all[i])
            return false;
    }
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = 0;
    return nx_op_like(n, all, n->stream, true, out);
}

static const nx_field fields[] = {
    {"inputs", NX_FIELD_INT, offsetof(nx_compiled_params, n_in)},
    {"operations", NX_FIELD_INT, offsetof(nx_compiled_params, n_ops)},
    {"outputs", NX_FIELD_INT, offsetof(nx_compiled_params, n_out)},
};

const nx_prim nx_prim_Compiled = {
    .name = "Compiled",
    .id = NX_PRIM_Compiled,
    .flags = NX_PRIM_ELEMENTWISE,
    .params_size = sizeof(nx_compiled_params),
    .fields = fields,
    .n_fields = 3,
    .infer = infer,
    .decompose = decompose,
    .vjp = vjp,
    .vmap = vmap,
};

/* ---- groups ------------------------------------------------------------------------------------ */

typedef NX_VEC(size_t) index_vec;

typedef struct {
    nx_tape *t;
    const nx_tape_step *steps; /* as they were */
    size_t n_steps;
    size_t *level;    /* by slot */
    size_t *producer; /* by slot: the step, SIZE_MAX: an input of the tape */
    size_t *moved;    /* by slot: the slot it has now */
    size_t *uses;     /* by slot: how often it is read, results included */
    size_t *group;    /* by step: another of its group, itself at last; SIZE_MAX: cannot be fused */
    size_t *step_level;
} fusion;

static bool can_fuse(const nx_node *n)
{
    const nx_prim *p = n->prim;
    if (n->n_out != 1 || n->n_in < 1 || n->n_in > 3 || !(p->flags & NX_PRIM_ELEMENTWISE))
        return false;
    return p->dtypes || p == &nx_prim_Select || p == &nx_prim_AsType;
}

static size_t find(const fusion *f, size_t step)
{
    while (f->group[step] != step) {
        f->group[step] = f->group[f->group[step]];
        step = f->group[step];
    }
    return step;
}

static const nx_tape_value *input(const fusion *f, size_t step, int i)
{
    return &f->t->inputs.at[f->steps[step].first_input + (size_t)i];
}

/* The step's input i comes from a fusable step of the level. */
static bool is_beside(const fusion *f, size_t step, int i, size_t level)
{
    size_t slot = input(f, step, i)->slot;
    size_t from = slot == SIZE_MAX ? SIZE_MAX : f->producer[slot];
    return from != SIZE_MAX && f->group[from] != SIZE_MAX && f->step_level[from] == level;
}

static void place(fusion *f, size_t step)
{
    const nx_node *n = f->steps[step].node;
    size_t level = 0;
    for (int i = 0; i < n->n_in; i++) {
        size_t slot = input(f, step, i)->slot;
        if (slot != SIZE_MAX && f->level[slot] > level)
            level = f->level[slot];
    }
    bool fits = can_fuse(n);
    for (int i = 0; fits && i < n->n_in; i++) /* another stream's work is waited for */
        fits = !is_beside(f, step, i, level) ||
               f->steps[f->producer[input(f, step, i)->slot]].node->stream == n->stream;
    f->group[step] = fits ? step : SIZE_MAX;
    for (int i = 0; fits && i < n->n_in; i++)
        if (is_beside(f, step, i, level))
            f->group[find(f, f->producer[input(f, step, i)->slot])] = find(f, step);
    f->step_level[step] = level + !fits;
    for (int k = 0; k < n->n_out; k++) {
        f->level[f->steps[step].first + (size_t)k] = f->step_level[step];
        f->producer[f->steps[step].first + (size_t)k] = step;
    }
}

/* ---- a program --------------------------------------------------------------------------------- */

typedef struct {
    nx_compiled_params p;
    nx_tape_value in[NX_FUSED_IN];
    size_t out[NX_WALK_MAX]; /* slots */
    int n_views;
} program;

/* One number for all elements, whatever sizes come. */
static bool is_number(const nx_tape_value *v, bool any_shape)
{
    const nx_node *n = v->array->node;
    if (!any_shape && v->array->size == 1)
        return true;
    return n->prim == &nx_prim_Broadcast && n->in[0]->size == 1 && (!any_shape || !n->in[0]->ndim);
}

/* The operand that stands for a value; -1: there are too many. */
static int operand_of(const fusion *f, program *g, const index_vec *steps, size_t n, const nx_tape_value *v)
{
    for (size_t i = 0; v->slot != SIZE_MAX && i < n; i++)
        if (f->steps[steps->at[i]].first == v->slot)
            return -2 - (int)i; /* an operation: numbered when all inputs are known */
    for (int i = 0; i < g->p.n_in; i++)
        if (g->in[i].slot == v->slot && (v->slot != SIZE_MAX || g->in[i].array == v->array))
            return i;
    if (g->p.n_in == NX_FUSED_IN)
        return -1;
    g->n_views += !is_number(v, f->t->any_shape);
    g->in[g->p.n_in] = *v;
    return g->p.n_in++;
}

static bool gather_operands(const fusion *f, program *g, const index_vec *steps)
{
    int operands[NX_FUSED_OPS][3];
    for (size_t i = 0; i < steps->n; i++) {
        const nx_node *n = f->steps[steps->at[i]].node;
        for (int k = 0; k < n->n_in; k++)
            if ((operands[i][k] = operand_of(f, g, steps, i, input(f, steps->at[i], k))) == -1)
                return false;
    }
    for (size_t i = 0; i < steps->n; i++) {
        const nx_node *n = f->steps[steps->at[i]].node;
        nx_fused_op *op = &g->p.op[i];
        *op = (nx_fused_op){.prim = (int16_t)n->prim->id, .variant = (int8_t)variant_of(n), .out = -1,
                            .n_in = (uint8_t)n->n_in, .to = n->out[0].dtype,
                            .from = n->in[n->n_in - 1]->dtype};
        for (int k = 0; k < n->n_in; k++)
            op->in[k] = (uint8_t)(operands[i][k] >= 0 ? operands[i][k] : g->p.n_in - 2 - operands[i][k]);
    }
    g->p.n_ops = (int)steps->n;
    return true;
}

/* What is read elsewhere too is an output. */
static bool find_outputs(const fusion *f, program *g, const index_vec *steps)
{
    for (int i = 0; i < g->p.n_ops; i++) {
        size_t slot = f->steps[steps->at[i]].first, inside = 0;
        for (int j = i + 1; j < g->p.n_ops; j++)
            for (int k = 0; k < g->p.op[j].n_in; k++)
                inside += g->p.op[j].in[k] == g->p.n_in + i;
        if (f->uses[slot] == inside)
            continue;
        if (g->p.n_out + g->n_views >= NX_WALK_MAX)
            return false;
        g->out[g->p.n_out] = slot;
        g->p.op[i].out = (int8_t)g->p.n_out++;
    }
    return g->p.n_out + g->n_views <= NX_WALK_MAX;
}

/* Registers by last use. A result has its own before those of its inputs are free again: loops take a
 * result in their input's place only where elements are of one size. */
static bool assign_registers(program *g)
{
    int last[NX_FUSED_IN + NX_FUSED_OPS] = {0}, owner[NX_FUSED_REGISTERS];
    nx_compiled_params *p = &g->p;
    for (int r = 0; r < NX_FUSED_REGISTERS; r++)
        owner[r] = -1;
    for (int i = 0; i < p->n_ops; i++)
        for (int k = 0; k < p->op[i].n_in; k++)
            last[p->op[i].in[k]] = i;
    bool loaded[NX_FUSED_IN] = {0};
    for (int i = 0; i < p->n_ops; i++) {
        int wanted[4], n = 0;
        for (int k = 0; k < p->op[i].n_in; k++) {
            int x = p->op[i].in[k];
            if (x < p->n_in && !loaded[x]) {
                loaded[x] = true;
                wanted[n++] = x;
            }
        }
        wanted[n++] = p->n_in + i;
        for (int w = 0, r = 0; w < n; w++, r++) {
            while (r < NX_FUSED_REGISTERS && owner[r] >= 0)
                r++;
            if (r == NX_FUSED_REGISTERS)
                return false;
            owner[r] = wanted[w];
            if (r >= p->n_registers)
                p->n_registers = r + 1;
            *(wanted[w] < p->n_in ? &p->load[wanted[w]] : &p->op[i].reg) = (uint8_t)r;
        }
        for (int r = 0; r < NX_FUSED_REGISTERS; r++)
            if (owner[r] >= 0 && last[owner[r]] <= i)
                owner[r] = -1;
    }
    return true;
}

static bool program_make(const fusion *f, program *g, const index_vec *steps)
{
    if (steps->n < 2 || steps->n > NX_FUSED_OPS)
        return false;
    memset(g, 0, sizeof *g);
    return gather_operands(f, g, steps) && find_outputs(f, g, steps) && assign_registers(g);
}

/* ---- the new tape ------------------------------------------------------------------------------ */

static nx_tape_value moved(const fusion *f, nx_tape_value v)
{
    return (nx_tape_value){v.slot == SIZE_MAX ? v.slot : f->moved[v.slot], v.array};
}

static void keep_step(fusion *f, size_t step)
{
    nx_tape_step s = f->steps[step];
    for (int i = 0; i < s.node->n_in; i++) {
        nx_tape_value *v = &f->t->inputs.at[s.first_input + (size_t)i];
        *v = moved(f, *v);
    }
    nx_vec_push(&f->t->steps, s);
}

/* A node like which the replays are made. */
static bool fuse_steps(fusion *f, const program *g, nx_stream *s)
{
    nx_tape *t = f->t;
    nx_array *in[NX_FUSED_IN], *out[NX_WALK_MAX];
    nx_tape_step step = {.first = t->n_slots, .first_input = t->inputs.n};
    for (int i = 0; i < g->p.n_in; i++)
        in[i] = g->in[i].array;
    if (!nx_op_n(&nx_prim_Compiled, &g->p, in, g->p.n_in, s, out, g->p.n_out))
        return false;
    nx_vec_push(&t->held, nx_array_ref(out[0]));
    step.node = out[0]->node;
    for (int i = 0; i < g->p.n_in; i++)
        nx_vec_push(&t->inputs, moved(f, g->in[i]));
    for (int i = 0; i < g->p.n_out; i++)
        f->moved[g->out[i]] = t->n_slots++;
    nx_vec_push(&t->steps, step);
    return true;
}

/* The steps of a group, in order: as one if they fit into one, else in halves. */
static void emit(fusion *f, const index_vec *steps)
{
    program g;
    if (program_make(f, &g, steps) && fuse_steps(f, &g, f->steps[steps->at[0]].node->stream))
        return;
    if (steps->n == 1) {
        keep_step(f, steps->at[0]);
        return;
    }
    size_t half = steps->n / 2;
    emit(f, &(index_vec){steps->at, half, half});
    emit(f, &(index_vec){steps->at + half, steps->n - half, steps->n - half});
}

/* Steps by level, on each those first that are not fused, and by group. */
typedef struct {
    size_t level, group, step;
} order_key;

static int compare_keys(const void *a, const void *b)
{
    const order_key *x = a, *y = b;
    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->step > y->step) - (x->step < y->step);
}

static void emit_all(fusion *f)
{
    order_key *keys = nx_malloc((f->n_steps + 1) * sizeof *keys);
    index_vec some = {0};
    for (size_t i = 0; i < f->n_steps; i++)
        keys[i] = (order_key){f->step_level[i], f->group[i] == SIZE_MAX ? 0 : find(f, i) + 1, i};
    qsort(keys, f->n_steps, sizeof *keys, compare_keys);
    for (size_t i = 0; i < f->n_steps; i++) {
        if (!keys[i].group) {
            keep_step(f, keys[i].step);
            continue;
        }
        nx_vec_push(&some, keys[i].step);
        if (i + 1 < f->n_steps && keys[i + 1].level == keys[i].level && keys[i + 1].group == keys[i].group)
            continue;
        emit(f, &some);
        some.n = 0;
    }
    nx_vec_clear(&some);
    free(keys);
}

static void count_uses(fusion *f)
{
    const nx_tape *t = f->t;
    for (size_t i = 0; i < f->n_steps; i++)
        for (int k = 0; k < f->steps[i].node->n_in; k++)
            if (input(f, i, k)->slot != SIZE_MAX)
                f->uses[input(f, i, k)->slot]++;
    for (size_t i = 0; i < t->results.n; i++)
        if (t->results.at[i].slot != SIZE_MAX)
            f->uses[t->results.at[i].slot]++;
}

void nx_tape_fuse(nx_tape *t)
{
    size_t n = t->n_slots, n_steps = t->steps.n;
    size_t *room = nx_calloc(4 * n + 2 * n_steps + 1, sizeof *room);
    fusion f = {.t = t, .steps = t->steps.at, .n_steps = n_steps, .level = room, .producer = room + n,
                .moved = room + 2 * n, .uses = room + 3 * n, .group = room + 4 * n,
                .step_level = room + 4 * n + n_steps};
    nx_scope scope = nx_scope_open();
    for (size_t i = 0; i < n; i++) {
        f.producer[i] = SIZE_MAX;
        f.moved[i] = i;
    }
    count_uses(&f);
    for (size_t i = 0; i < n_steps; i++)
        place(&f, i);
    memset(&t->steps, 0, sizeof t->steps);
    emit_all(&f);
    for (size_t i = 0; i < t->results.n; i++)
        t->results.at[i] = moved(&f, t->results.at[i]);
    nx_scope_close(scope);
    free((void *)f.steps);
    free(room);
}
