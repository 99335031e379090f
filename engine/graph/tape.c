#include "engine/graph/tape.h"

#include <string.h>

#include "base/error.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"

/* ---- which operations are equal ------------------------------------------------------------- */

static size_t field_size(nx_field_type type)
{
    switch (type) {
    case NX_FIELD_BOOL: case NX_FIELD_UPPER: return sizeof(bool);
    case NX_FIELD_INT: case NX_FIELD_ENUM: return sizeof(int);
    case NX_FIELD_DTYPE: return sizeof(nx_dtype);
    case NX_FIELD_FLOAT: return sizeof(float);
    case NX_FIELD_DOUBLE: return sizeof(double);
    case NX_FIELD_INT64: return sizeof(int64_t);
    case NX_FIELD_UINT64: return sizeof(uint64_t);
    default: return 0;
    }
}

/* Of lists the part in use counts. */
static bool field_equal(const nx_field *f, const void *a, const void *b)
{
    const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    if (f->type == NX_FIELD_DIMS || f->type == NX_FIELD_SIZES) {
        const nx_dims *p = (const void *)x, *q = (const void *)y;
        return p->n == q->n && !memcmp(p->v, q->v, (size_t)p->n * sizeof *p->v);
    }
    if (f->type == NX_FIELD_DIMS64) {
        const nx_dims64 *p = (const void *)x, *q = (const void *)y;
        return p->n == q->n && !memcmp(p->v, q->v, (size_t)p->n * sizeof *p->v);
    }
    return !memcmp(x, y, field_size(f->type));
}

/* Parameters without a field table are not looked into: never equal. */
static bool params_equal(const nx_node *a, const nx_node *b)
{
    const nx_prim *p = a->prim;
    if (p->params_size && (!p->n_fields || p->params_ref))
        return false;
    for (int i = 0; i < p->n_fields; i++)
        if (!field_equal(&p->fields[i], a->params, b->params))
            return false;
    return true;
}

static bool outputs_alike(const nx_node *a, const nx_node *b)
{
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i].dtype != b->out[i].dtype ||
            !nx_shape_equal(a->out[i].shape, a->out[i].ndim, b->out[i].shape, b->out[i].ndim))
            return false;
    return true;
}

/* A number, known and at hand: equal ones are the same constant. */
static bool is_number(const nx_array *a)
{
    return a->size == 1 && a->ndim == 0 && !a->node->prim && nx_array_is_ready(a) &&
           !a->buffer->memory;
}

/* Constants of a trace that are surely equal: one array, equal numbers, equal numbers repeated. */
static bool constants_equal(const nx_array *a, const nx_array *b)
{
    if (a == b)
        return true;
    if (a->dtype != b->dtype || !nx_shape_equal(a->shape, a->ndim, b->shape, b->ndim))
        return false;
    if (is_number(a) && is_number(b))
        return !memcmp(a->data, b->data, nx_dtype_size((nx_dtype)a->dtype));
    const nx_node *m = a->node, *n = b->node;
    return m->prim == &nx_prim_Broadcast && n->prim == m->prim && is_number(m->in[0]) &&
           is_number(n->in[0]) && constants_equal(m->in[0], n->in[0]);
}

static bool values_equal(const nx_tape_value *a, const nx_tape_value *b)
{
    return a->slot == b->slot && (a->slot != SIZE_MAX || constants_equal(a->array, b->array));
}

static bool steps_equal(const nx_tape *t, const nx_tape_step *a, const nx_tape_step *b)
{
    if (a->node->prim != b->node->prim || a->node->n_in != b->node->n_in ||
        a->node->n_out != b->node->n_out || a->node->stream != b->node->stream)
        return false;
    for (int i = 0; i < a->node->n_in; i++)
        if (!values_equal(&t->inputs.at[a->first_input + (size_t)i],
                          &t->inputs.at[b->first_input + (size_t)i]))
            return false;
    return params_equal(a->node, b->node) && outputs_alike(a->node, b->node);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 29;
}

/* Constants do not enter the hash: equal ones may be different arrays. */
static uint64_t step_hash(const nx_tape *t, const nx_tape_step *s)
{
    uint64_t h = mix((uint64_t)s->node->prim->id, (uint64_t)s->node->n_in);
    for (int i = 0; i < s->node->n_in; i++)
        h = mix(h, t->inputs.at[s->first_input + (size_t)i].slot);
    return h;
}

/* ---- building ------------------------------------------------------------------------------- */

/* While a tape is built: steps by hash, and which slot stands for which. */
typedef struct {
    size_t *same;    /* by slot */
    uint32_t *table; /* step + 1 */
    size_t n_table;
} merging;

/* How many steps of one hash are compared: a trace made of nothing else must not get slow. */
enum { PROBES = 64 };

/* An equal step that is there already, or NULL after entering this one. */
static const nx_tape_step *find_equal(nx_tape *t, merging *m, const nx_tape_step *s, size_t index)
{
    size_t i = (size_t)step_hash(t, s) & (m->n_table - 1);
    for (int probes = 0; m->table[i] && probes < PROBES; probes++, i = (i + 1) & (m->n_table - 1)) {
        const nx_tape_step *other = &t->steps.at[m->table[i] - 1];
        if (steps_equal(t, other, s))
            return other;
    }
    if (!m->table[i])
        m->table[i] = (uint32_t)index + 1;
    return NULL;
}

static nx_tape_value value_of(const nx_graph_walk *w, const merging *m, nx_array *a)
{
    size_t at = nx_graph_walk_find(w, a);
    return (nx_tape_value){at == SIZE_MAX ? at : m->same[at], a};
}

static void add_step(nx_tape *t, const nx_graph_walk *w, merging *m, const nx_walked *at,
                     bool simplify)
{
    nx_tape_step s = {at->node, at->first, t->inputs.n};
    for (int i = 0; i < at->node->n_in; i++) {
        nx_vec_push(&t->inputs, value_of(w, m, at->node->in[i]));
    }
    const nx_tape_step *equal = simplify ? find_equal(t, m, &s, t->steps.n) : NULL;
    if (!equal) {
        nx_vec_push(&t->steps, s);
        return;
    }
    t->inputs.n = s.first_input;
    for (int i = 0; i < s.node->n_out; i++)
        m->same[s.first + (size_t)i] = equal->first + (size_t)i;
}

void nx_tape_init(nx_tape *t, nx_array *const *sources, size_t n, nx_array *const *outputs,
                  size_t n_out, bool simplify, bool any_shape)
{
    *t = (nx_tape){.any_shape = any_shape};
    nx_graph_walk w;
    nx_graph_walk_init(&w, sources, n, outputs, n_out, false, NULL);
    merging m = {.n_table = 64};
    while (m.n_table < w.order.n * 2)
        m.n_table *= 2;
    m.table = nx_calloc(m.n_table, sizeof *m.table);
    m.same = nx_malloc((w.n_outputs + 1) * sizeof *m.same);
    t->n_slots = w.n_outputs;
    for (size_t i = 0; i < w.n_outputs; i++)
        m.same[i] = i;
    for (size_t i = w.n_sources; i < w.order.n; i++)
        add_step(t, &w, &m, &w.order.at[i], simplify);
    for (size_t i = 0; i < n_out; i++) {
        nx_vec_push(&t->results, value_of(&w, &m, outputs[i]));
        nx_vec_push(&t->outputs, nx_array_ref(outputs[i]));
    }
    for (size_t i = 0; i < n; i++)
        nx_vec_push(&t->sources, nx_array_ref(sources[i]));
    free(m.table);
    free(m.same);
    nx_graph_walk_clear(&w);
}

void nx_tape_clear(nx_tape *t)
{
    for (size_t i = 0; i < t->outputs.n; i++)
        nx_array_unref(&t->outputs.at[i]);
    for (size_t i = 0; i < t->sources.n; i++)
        nx_array_unref(&t->sources.at[i]);
    for (size_t i = 0; i < t->held.n; i++)
        nx_array_unref(&t->held.at[i]);
    nx_vec_clear(&t->held);
    nx_vec_clear(&t->outputs);
    nx_vec_clear(&t->sources);
    nx_vec_clear(&t->steps);
    nx_vec_clear(&t->inputs);
    nx_vec_clear(&t->results);
}

/* ---- replaying ------------------------------------------------------------------------------ */

static nx_array *get(nx_array *const *slots, const nx_tape_value *v)
{
    return v->slot == SIZE_MAX ? v->array : slots[v->slot];
}

static bool same_shapes(const nx_node *n, nx_array *const *in)
{
    for (int i = 0; i < n->n_in; i++)
        if (!nx_shape_equal(in[i]->shape, in[i]->ndim, n->in[i]->shape, n->in[i]->ndim))
            return false;
    return true;
}

/* Sizes differ from those of the trace. Operands that were of one shape then broadcast now. */
static bool replay_elementwise(const nx_node *n, nx_array **in, nx_array **out)
{
    return nx_broadcast_arrays(in, n->n_in, n->stream) && nx_op_like(n, in, n->stream, true, out);
}

/* To a shape that the function itself asked for: dimensions that do not fit any more stay as they
 * are, and a user whom that does not suit refuses them. */
static bool replay_broadcast(const nx_node *n, nx_array *in, nx_array **out)
{
    int shape[NX_MAX_NDIM];
    const nx_array *then = n->in[0], *to = &n->out[0];
    int added = to->ndim - then->ndim;
    for (int i = 0; i < to->ndim; i++) {
        bool repeated = i < added || (then->shape[i - added] == 1 && to->shape[i] != 1 &&
                                      in->shape[i - added] == 1);
        shape[i] = repeated ? to->shape[i] : in->shape[i - added];
    }
    out[0] = nx_broadcast_to(in, shape, to->ndim, n->stream);
    return out[0] != NULL;
}

static bool replay_other(const nx_node *n, nx_array **in, nx_array **out)
{
    bool met = n->prim == &nx_prim_Broadcast && n->n_in > 1; /* with what it is to meet */
    met |= n->prim == &nx_prim_BroadcastAxes || n->prim == &nx_prim_NumberOfElements;
    if (!met && same_shapes(n, in))
        return nx_op_like(n, in, n->stream, false, out);
    if (n->prim->flags & NX_PRIM_ELEMENTWISE)
        return replay_elementwise(n, in, out);
    if (n->prim == &nx_prim_Broadcast && n->n_in == 1)
        return replay_broadcast(n, in[0], out);
    nx_rebuild r = {.prim = n->prim, .in = in, .n_in = n->n_in, .n_out = n->n_out, .params = n->params,
                    .s = n->stream};
    if (met || n->prim->flags & NX_PRIM_ANY_SHAPE)
        return nx_op_rebuild(&r, out);
    return nx_fail("[compile] %s cannot be replayed on other shapes than it was traced with: "
                   "compile without shapeless", n->prim->name);
}

bool nx_tape_replay(const nx_tape *t, nx_array *const *in, nx_array_vec *out)
{
    nx_array **slots = nx_malloc((t->n_slots + 1) * sizeof *slots), **args = NULL;
    size_t most = 0, at = 0;
    bool ok = true;
    for (size_t i = 0; i < t->sources.n; i++)
        slots[at++] = in[i];
    for (size_t i = 0; i < t->steps.n; i++)
        if ((size_t)t->steps.at[i].node->n_in > most)
            most = (size_t)t->steps.at[i].node->n_in;
    args = nx_malloc((most + 1) * sizeof *args);
    for (size_t i = 0; ok && i < t->steps.n; i++) {
        const nx_tape_step *s = &t->steps.at[i];
        for (int k = 0; k < s->node->n_in; k++)
            args[k] = get(slots, &t->inputs.at[s->first_input + (size_t)k]);
        ok = t->any_shape ? replay_other(s->node, args, slots + s->first)
                          : nx_op_like(s->node, args, s->node->stream, false, slots + s->first);
    }
    for (size_t i = 0; ok && i < t->results.n; i++)
        nx_vec_push(out, get(slots, &t->results.at[i]));
    free(args);
    free(slots);
    return ok;
}
