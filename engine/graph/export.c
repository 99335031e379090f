#include "engine/graph/export.h"

#include "base/error.h"
#include "base/outfile.h"
#include "engine/core/eval.h"
#include "engine/core/scope.h"
#include "engine/core/version.h"
#include "engine/graph/file_form.h"
#include "engine/graph/walk.h"
#include "engine/ops/creation.h"
#include "engine/ops/prims.h"
#include "engine/ops/shape.h"

/* What makes a trace different from another. */
typedef struct {
    size_t n, n_names;
    nx_spec *specs; /* [n] */
    char **names;   /* [n_names] */
} signature;

struct nx_exporter {
    nx_outfile *file;
    bool shapeless;
    uint32_t n_traces;
    uint64_t next_id;
    uint64_t count_at;     /* where in the file the number of traces stands */
    nx_ptr_map constants;  /* array -> id, of those that the file has */
    nx_array_vec held;     /* which are kept, so that no other array gets their address */
    NX_VEC(signature) signatures;
};

/* ---- one trace as a list of entries ---------------------------------------------------------- */

typedef struct {
    nx_node *node;    /* an operation; NULL: a constant */
    nx_array *array;  /* the constant */
    nx_array **in;    /* [node->n_in], owned */
} entry;

/* A node whose inputs are being looked at; where it stands for other arrays, those. */
typedef struct {
    nx_node *node;
    nx_array **in; /* owned until an entry has it */
    int n, next;
    bool expanded; /* no operation of the file: `in` are its outputs */
} frame;

typedef struct {
    nx_exporter *e;
    NX_VEC(entry) entries;
    NX_VEC(frame) stack;
    nx_ptr_map seen;    /* nodes that are done or on the stack, constants */
    nx_ptr_map instead; /* array -> what stands for it, in `stand_ins` */
    nx_array_vec stand_ins;
    nx_ptr_map ids; /* array -> id */
} trace;

/* An operation that files do not know is what it decomposes into. */
static nx_array *resolve(const trace *t, nx_array *a)
{
    const size_t *at;
    while ((at = nx_ptr_map_find(&t->instead, a)))
        a = t->stand_ins.at[*at];
    return a;
}

static bool is_source(const nx_node *n)
{
    return n->prim == &nx_prim_Placeholder;
}

static bool push_expanded(trace *t, nx_node *n, nx_array **take)
{
    frame f = {n, take, n->n_out, 0, true};
    for (int i = 0; i < n->n_out; i++) {
        nx_ptr_map_set(&t->instead, &n->out[i], t->stand_ins.n);
        nx_vec_push(&t->stand_ins, f.in[i]);
    }
    nx_vec_push(&t->stack, f);
    return true;
}

static bool push_operation(trace *t, nx_node *n)
{
    if (!n->prim->rebuild)
        return nx_fail("[export_function] Unable to serialize primitive %s", n->prim->name);
    frame f = {n, nx_calloc((size_t)n->n_in + 1, sizeof *f.in), n->n_in, 0, false};
    for (int i = 0; i < n->n_in; i++)
        f.in[i] = n->in[i];
    nx_vec_push(&t->stack, f);
    return true;
}

/* An operation, or what it is made of. */
static bool push(trace *t, nx_node *n)
{
    const nx_prim *p = n->prim;
    bool (*as)(nx_node *, nx_array **) = p->decompose ? p->decompose : p->file_as;
    if (!as)
        return push_operation(t, n);
    nx_array **out = nx_calloc(n->n_out, sizeof *out);
    bool ok = as(n, out);
    if (ok && out[0] != &n->out[0])
        return push_expanded(t, n, out);
    free(out);
    return ok && push_operation(t, n);
}

static bool visit(trace *t, nx_array *a)
{
    nx_node *n = a->node;
    bool constant = !n->prim || nx_array_is_scheduled(a);
    const void *key = constant ? (const void *)a : (const void *)n;
    if (nx_array_is_none(a) || nx_ptr_map_find(&t->ids, a) || nx_ptr_map_find(&t->seen, key))
        return true;
    if (is_source(n))
        return nx_fail("[export_function] the function uses an input of another function");
    nx_ptr_map_set(&t->seen, key, 0);
    if (constant) {
        nx_vec_push(&t->entries, (entry){.array = a});
        return true;
    }
    return push(t, n);
}

static void pop(trace *t)
{
    frame f = nx_vec_pop(&t->stack);
    if (f.expanded)
        free(f.in);
    else
        nx_vec_push(&t->entries, (entry){.node = f.node, .in = f.in});
}

/* All that leads to `a`, before it. */
static bool walk(trace *t, nx_array *a)
{
    bool ok = visit(t, a);
    while (ok && t->stack.n) {
        frame *f = &nx_vec_last(&t->stack);
        if (f->next == f->n)
            pop(t);
        else
            ok = visit(t, f->in[f->next++]);
    }
    return ok;
}

static void trace_clear(trace *t)
{
    for (size_t i = 0; i < t->entries.n; i++)
        free(t->entries.at[i].in);
    for (size_t i = 0; i < t->stack.n; i++)
        free(t->stack.at[i].in);
    nx_vec_clear(&t->entries);
    nx_vec_clear(&t->stack);
    nx_vec_clear(&t->stand_ins);
    nx_ptr_map_clear(&t->seen);
    nx_ptr_map_clear(&t->instead);
    nx_ptr_map_clear(&t->ids);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* The trace in pieces: bytes, each followed by the elements of a constant (the last by none). */
typedef struct {
    nx_str bytes;
    nx_array *constant; /* dense row-major */
} piece;
typedef NX_VEC(piece) piece_vec;

static nx_str *text(piece_vec *p)
{
    return &nx_vec_last(p).bytes;
}

static uint64_t id_of(const trace *t, nx_array *a)
{
    a = resolve(t, a);
    const size_t *id = nx_ptr_map_find(&t->ids, a);
    NX_BUG_IF(!id);
    return *id;
}

static uint64_t id_new(trace *t, nx_array *a)
{
    nx_ptr_map_set(&t->ids, a, (size_t)t->e->next_id);
    return t->e->next_id++;
}

static void put_spec(nx_str *s, const nx_array *a)
{
    nx_put_ints(s, a->shape, a->ndim);
    nx_put_dtype(s, (nx_dtype)a->dtype);
}

static void put_outputs(trace *t, nx_str *s, nx_node *n)
{
    nx_put_u64(s, (uint64_t)n->n_out - 1);
    if (n->n_out == 1) {
        put_spec(s, &n->out[0]);
        return;
    }
    nx_put_u64(s, n->n_out);
    for (int i = 0; i < n->n_out; i++)
        nx_put_u64(s, id_of(t, &n->out[i]));
    nx_put_u64(s, n->n_out);
    for (int i = 0; i < n->n_out; i++)
        nx_put_ints(s, n->out[i].shape, n->out[i].ndim);
    nx_put_u64(s, n->n_out);
    for (int i = 0; i < n->n_out; i++)
        nx_put_dtype(s, (nx_dtype)n->out[i].dtype);
}

static void put_operation(trace *t, piece_vec *pieces, const entry *x)
{
    nx_str *s = text(pieces);
    nx_node *n = x->node;
    int n_in = 0;
    for (int i = 0; i < n->n_out; i++)
        id_new(t, &n->out[i]);
    nx_put_u64(s, id_of(t, &n->out[0]));
    nx_put_u8(s, 1);
    for (int i = 0; i < n->n_in; i++)
        n_in += !nx_array_is_none(x->in[i]);
    nx_put_u64(s, (uint64_t)n_in);
    for (int i = 0; i < n->n_in; i++)
        if (!nx_array_is_none(x->in[i]))
            nx_put_u64(s, id_of(t, x->in[i]));
    for (int i = 0; i < 3; i++)
        nx_put_u32(s, 0); /* the default stream of the CPU: streams are the reader's own */
    nx_put_text(s, nx_file_form_of(n->prim).name);
    nx_put_state(s, n->prim, n->params);
    put_outputs(t, s, n);
}

static bool put_constant(trace *t, piece_vec *pieces, nx_array *a)
{
    nx_str *s = text(pieces);
    const size_t *known = nx_ptr_map_find(&t->e->constants, a);
    uint64_t id = known ? *known : t->e->next_id++;
    nx_ptr_map_set(&t->ids, a, (size_t)id);
    nx_put_u64(s, id);
    nx_put_u8(s, 0);
    nx_put_u8(s, 1);
    if (known)
        return true;
    put_spec(s, a);
    nx_array *dense = nx_contiguous(a, false, nx_stream_default((nx_device){NX_CPU, 0}));
    if (!dense || !nx_eval_one(dense))
        return false;
    nx_vec_last(pieces).constant = dense;
    nx_vec_push(pieces, (piece){0});
    return true;
}

static bool put_entries(trace *t, piece_vec *pieces, nx_array *const *sources, size_t n)
{
    nx_put_u64(text(pieces), n + t->entries.n);
    for (size_t i = 0; i < n; i++) {
        nx_put_u64(text(pieces), id_of(t, sources[i]));
        nx_put_u8(text(pieces), 0);
        nx_put_u8(text(pieces), 0);
    }
    for (size_t i = 0; i < t->entries.n; i++) {
        const entry *x = &t->entries.at[i];
        if (x->node)
            put_operation(t, pieces, x);
        else if (!put_constant(t, pieces, x->array))
            return false;
    }
    return true;
}

static void put_signature(trace *t, nx_str *s, nx_array *const *sources, size_t n,
                          const char *const *names, size_t n_names)
{
    nx_put_u64(s, n_names);
    for (size_t i = 0; i < n_names; i++)
        nx_put_text(s, names[i]);
    nx_put_u64(s, n);
    for (size_t i = 0; i < n; i++)
        nx_put_u64(s, id_of(t, sources[i]));
    nx_put_u64(s, n);
    for (size_t i = 0; i < n; i++)
        put_spec(s, sources[i]);
}

/* Outputs stand before the entries whose ids they name: those are written apart, and put behind. */
static bool trace_write(trace *t, piece_vec *pieces, nx_array *const *sources, size_t n,
                        const char *const *names, size_t n_names, const nx_array_vec *outputs)
{
    nx_str head = {0};
    for (size_t i = 0; i < n; i++)
        id_new(t, sources[i]);
    for (size_t i = 0; i < outputs->n; i++)
        if (!walk(t, outputs->at[i]))
            return false;
    put_signature(t, &head, sources, n, names, n_names);
    nx_vec_push(pieces, (piece){0});
    if (!put_entries(t, pieces, sources, n)) {
        nx_str_clear(&head);
        return false;
    }
    nx_put_u64(&head, outputs->n);
    for (size_t i = 0; i < outputs->n; i++)
        nx_put_u64(&head, id_of(t, outputs->at[i]));
    piece *first = &pieces->at[0];
    nx_str_add(&head, first->bytes.data, first->bytes.len);
    nx_str_clear(&first->bytes);
    first->bytes = head;
    return true;
}

static bool pieces_flush(nx_exporter *e, const piece_vec *pieces)
{
    bool ok = true;
    for (size_t i = 0; ok && i < pieces->n; i++) {
        const piece *p = &pieces->at[i];
        ok = nx_outfile_write(e->file, p->bytes.data, p->bytes.len);
        if (ok && p->constant)
            ok = nx_outfile_write(e->file, p->constant->data, (size_t)nx_array_nbytes(p->constant));
    }
    return ok;
}

/* The file has the constants of the trace now. */
static void constants_keep(nx_exporter *e, const trace *t)
{
    for (size_t i = 0; i < t->entries.n; i++) {
        nx_array *a = t->entries.at[i].array;
        if (!a || nx_ptr_map_find(&e->constants, a))
            continue;
        nx_ptr_map_set(&e->constants, a, (size_t)id_of(t, a));
        nx_vec_push(&e->held, nx_array_ref(a));
    }
}

/* ---- signatures ------------------------------------------------------------------------------ */

static bool spec_fits(const nx_spec *spec, const nx_array *a, bool shapeless)
{
    return spec->dtype == (nx_dtype)a->dtype && spec->ndim == a->ndim &&
           (shapeless || nx_shape_equal(spec->shape, spec->ndim, a->shape, a->ndim));
}

static bool signature_is(const signature *g, nx_array *const *in, size_t n, const char *const *names,
                         size_t n_names, bool shapeless)
{
    bool same = g->n == n && g->n_names == n_names;
    for (size_t i = 0; same && i < n; i++)
        same = spec_fits(&g->specs[i], in[i], shapeless);
    for (size_t i = 0; same && i < n_names; i++)
        same = !strcmp(g->names[i], names[i]);
    return same;
}

static void signature_keep(nx_exporter *e, nx_array *const *in, size_t n, const char *const *names,
                           size_t n_names)
{
    signature g = {n, n_names, nx_calloc(n + 1, sizeof *g.specs), nx_calloc(n_names + 1, sizeof *g.names)};
    for (size_t i = 0; i < n; i++)
        nx_spec_like(&g.specs[i], in[i], (nx_dtype)in[i]->dtype);
    for (size_t i = 0; i < n_names; i++)
        g.names[i] = nx_strdup(names[i]);
    nx_vec_push(&e->signatures, g);
}

/* ---- the exporter ---------------------------------------------------------------------------- */

nx_exporter *nx_exporter_new(const char *path, bool shapeless)
{
    nx_exporter *e = nx_calloc(1, sizeof *e);
    nx_str head = {0};
    e->file = nx_outfile_open(path);
    e->shapeless = shapeless;
    e->next_id = 1;
    nx_put_text(&head, nx_version());
    e->count_at = head.len;
    nx_put_u32(&head, 0);
    nx_put_u8(&head, shapeless);
    bool ok = e->file && nx_outfile_write(e->file, head.data, head.len);
    nx_str_clear(&head);
    if (ok)
        return e;
    nx_exporter_free(e);
    return NULL;
}

/* The function on placeholders like in[0 .. n-1]. */
static bool run_traced(const nx_exporter *e, nx_function f, nx_array *const *in, size_t n,
                       nx_array **sources, nx_array_vec *outputs)
{
    nx_stream *s = nx_stream_default(nx_device_default());
    for (size_t i = 0; i < n; i++)
        sources[i] = nx_placeholder(in[i]->shape, in[i]->ndim, (nx_dtype)in[i]->dtype, s);
    return nx_function_call(f, sources, n, outputs);
}

static bool add_traced(nx_exporter *e, nx_function f, nx_array *const *in, size_t n,
                       const char *const *names, size_t n_names)
{
    nx_array **sources = nx_malloc((n + 1) * sizeof *sources);
    nx_array_vec outputs = {0};
    piece_vec pieces = {0};
    trace t = {.e = e};
    bool ok = run_traced(e, f, in, n, sources, &outputs) &&
              trace_write(&t, &pieces, sources, n, names, n_names, &outputs) && pieces_flush(e, &pieces);
    if (ok) {
        constants_keep(e, &t);
        signature_keep(e, in, n, names, n_names);
        e->n_traces++;
    }
    for (size_t i = 0; i < pieces.n; i++)
        nx_str_clear(&pieces.at[i].bytes);
    nx_vec_clear(&pieces);
    nx_vec_clear(&outputs);
    trace_clear(&t);
    free(sources);
    return ok;
}

bool nx_exporter_add(nx_exporter *e, nx_function f, nx_array *const *in, size_t n,
                     const char *const *names, size_t n_names)
{
    for (size_t i = 0; i < e->signatures.n; i++)
        if (signature_is(&e->signatures.at[i], in, n, names, n_names, e->shapeless))
            return nx_fail("[export_function] Attempting to export a function twice with the same "
                           "signature is not allowed.");
    nx_scope scope = nx_scope_open();
    bool any_size_before = nx_tracing_any_size;
    nx_tracing++;
    nx_tracing_any_size = e->shapeless;
    bool ok = add_traced(e, f, in, n, names, n_names);
    nx_tracing_any_size = any_size_before;
    nx_tracing--;
    nx_scope_close(scope);
    return ok;
}

bool nx_exporter_finish(nx_exporter *e)
{
    nx_str count = {0};
    nx_put_u32(&count, e->n_traces);
    bool ok = nx_outfile_patch(e->file, e->count_at, count.data, count.len) && nx_outfile_commit(e->file);
    nx_str_clear(&count);
    return ok;
}

void nx_exporter_free(nx_exporter *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->held.n; i++)
        nx_array_unref(&e->held.at[i]);
    for (size_t i = 0; i < e->signatures.n; i++) {
        signature *g = &e->signatures.at[i];
        for (size_t k = 0; k < g->n_names; k++)
            free(g->names[k]);
        free(g->names);
        free(g->specs);
    }
    nx_vec_clear(&e->held);
    nx_vec_clear(&e->signatures);
    nx_ptr_map_clear(&e->constants);
    nx_outfile_free(e->file);
    free(e);
}
