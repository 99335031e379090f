/*
 * grad.c: reverse mode. The function runs on tracers, copies of its inputs; what it built on them is
 * then walked from the outputs back, each node turning the cotangents of its outputs into those of
 * its inputs. A node is visited once, when all its users have been.
 */
#include "engine/graph/grad.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/core/scope.h"
#include "engine/graph/walk.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/prims.h"

static nx_stream *stream_of(const nx_array *a)
{
    return a->node->stream ? a->node->stream : nx_stream_default(nx_device_default());
}

nx_array *nx_tracer(nx_array *a)
{
    nx_array *t = nx_copy(a, stream_of(a));
    if (t)
        t->node->traced = 1;
    return t;
}

/* ---- the walk back -------------------------------------------------------------------------- */

/* Cotangents under way: one a number of the walk, NULL: none yet. */
typedef struct {
    nx_graph_walk walk;
    nx_array **cotangent;
} backward;

static bool accumulate(nx_array **sum, nx_array *more, nx_stream *s)
{
    if (!more)
        return false;
    if (!nx_array_is_none(more))
        *sum = *sum ? nx_add(*sum, more, s) : more;
    return *sum || nx_array_is_none(more);
}

/* The cotangents of all outputs of a node, zeros where none came; false if none came at all. */
static bool cotangents_of(const backward *b, const nx_walked *at, nx_array **cotangents)
{
    bool any = false;
    for (int i = 0; i < at->node->n_out; i++)
        any |= b->cotangent[at->first + (size_t)i] != NULL;
    for (int i = 0; any && i < at->node->n_out; i++) {
        nx_array *c = b->cotangent[at->first + (size_t)i];
        cotangents[i] = c ? c : nx_zeros_like(&at->node->out[i], at->node->stream);
    }
    return any;
}

static bool apply_rule(backward *b, nx_node *n, nx_array *const *cotangents, nx_array **grads,
                       bool *wanted)
{
    if (!n->prim->vjp)
        return nx_fail("[vjp] %s has no derivative", n->prim->name);
    for (int i = 0; i < n->n_in; i++) {
        wanted[i] = nx_graph_walk_find(&b->walk, n->in[i]) != SIZE_MAX;
        grads[i] = NULL;
    }
    if (!n->prim->vjp(n, cotangents, wanted, grads))
        return false;
    for (int i = 0; i < n->n_in; i++)
        if (wanted[i] && !accumulate(&b->cotangent[nx_graph_walk_find(&b->walk, n->in[i])],
                                     grads[i], n->stream))
            return false;
    return true;
}

static bool visit(backward *b, const nx_walked *at)
{
    nx_node *n = at->node;
    size_t most = (size_t)(n->n_in > n->n_out ? n->n_in : n->n_out);
    nx_array **lists = nx_malloc((2 * most + 1) * sizeof *lists);
    bool *wanted = nx_malloc(most + 1);
    bool ok = !cotangents_of(b, at, lists) || apply_rule(b, n, lists, lists + most, wanted);
    free(lists);
    free(wanted);
    return ok;
}

bool nx_pull_back(nx_array *const *sources, size_t n_sources, nx_array *const *outputs,
                  nx_array *const *cotangents, size_t n_outputs, const nx_node *border,
                  nx_array **grads)
{
    backward b = {0};
    nx_graph_walk_init(&b.walk, sources, n_sources, outputs, n_outputs, true, border);
    b.cotangent = nx_calloc(b.walk.n_outputs + 1, sizeof *b.cotangent);
    bool ok = true;
    for (size_t i = 0; ok && i < n_outputs; i++) {
        size_t at = nx_graph_walk_find(&b.walk, outputs[i]);
        if (at != SIZE_MAX && cotangents[i])
            ok = accumulate(&b.cotangent[at], cotangents[i], stream_of(outputs[i]));
    }
    for (size_t i = b.walk.order.n; ok && i > b.walk.n_sources; i--)
        ok = visit(&b, &b.walk.order.at[i - 1]);
    for (size_t i = 0; ok && i < n_sources; i++) {
        nx_array *g = b.cotangent[nx_graph_walk_find(&b.walk, sources[i])];
        grads[i] = g ? g : nx_array_none();
    }
    free(b.cotangent);
    nx_graph_walk_clear(&b.walk);
    return ok;
}

/* ---- vjp ------------------------------------------------------------------------------------ */

/* Runs f on tracers of in, which end up in tracers[n]. */
static bool trace(nx_function f, nx_array *const *in, size_t n, nx_array **tracers,
                  nx_array_vec *values)
{
    for (size_t i = 0; i < n; i++)
        if (!(tracers[i] = nx_tracer(in[i])))
            return false;
    return nx_function_call(f, tracers, n, values);
}

static bool stops(const nx_array *a)
{
    return a->node->prim && a->node->prim->id == NX_PRIM_StopGradient;
}

/* Deals the cotangents out to the outputs, in the outputs' own types: NULL for those that stop. */
static bool match(const nx_array_vec *values, size_t from, nx_array *const *cotangents, size_t n,
                  nx_array **each)
{
    size_t used = 0, wanted = 0;
    for (size_t i = from; i < values->n; i++)
        wanted += !stops(values->at[i]);
    if (wanted > n)
        return nx_fail("[vjp] Number of outputs to compute gradients for (%zu) does not match "
                       "number of cotangents (%zu).", wanted, n);
    for (size_t i = from; i < values->n; i++) {
        const nx_array *v = values->at[i];
        nx_array *c = each[i - from] = stops(v) ? NULL : cotangents[used++];
        if (c && !nx_shape_equal(c->shape, c->ndim, v->shape, v->ndim))
            return nx_fail("[vjp] Output shape %s does not match cotangent shape %s.",
                           nx_shape_text(v->shape, v->ndim), nx_shape_text(c->shape, c->ndim));
        if (c && !(each[i - from] = nx_astype(c, (nx_dtype)v->dtype, stream_of(v))))
            return false;
    }
    return true;
}

static bool give(nx_array *const *grads, nx_array *const *like, size_t n, nx_array_vec *out)
{
    for (size_t i = 0; i < n; i++) {
        nx_array *g = nx_array_is_none(grads[i]) ? nx_zeros_like(like[i], stream_of(like[i]))
                                                 : grads[i];
        if (!g)
            return false;
        nx_vec_push(out, g);
    }
    return true;
}

static bool vjp(nx_function f, nx_array *const *primals, size_t n, nx_array *const *cotangents,
                size_t n_cotangents, nx_array_vec *values, nx_array_vec *grads)
{
    size_t before = values->n;
    nx_array **tracers = nx_malloc((2 * n + 1) * sizeof *tracers), **found = tracers + n;
    nx_array **each = NULL;
    bool ok = trace(f, primals, n, tracers, values);
    if (ok) {
        each = nx_malloc((values->n - before + 1) * sizeof *each);
        ok = match(values, before, cotangents, n_cotangents, each) &&
             nx_pull_back(tracers, n, values->at + before, each, values->n - before, NULL,
                          found) &&
             give(found, primals, n, grads);
    }
    free(each);
    free(tracers);
    return ok;
}

bool nx_vjp(nx_function f, nx_array *const *primals, size_t n_primals, nx_array *const *cotangents,
            size_t n_cotangents, nx_array_vec *values, nx_array_vec *grads)
{
    nx_tracing++;
    bool ok = vjp(f, primals, n_primals, cotangents, n_cotangents, values, grads);
    nx_tracing--;
    return ok;
}

/* ---- value_and_grad ------------------------------------------------------------------------- */

/* The function with all inputs, seen as one of those at argnums alone; of its outputs all but the
 * first are cut off. */
typedef struct {
    nx_function f;
    const int *argnums;
    nx_array *const *in;
    size_t n_in;
} partial;

static bool partial_call(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    const partial *p = self;
    size_t before = out->n;
    nx_array **all = nx_malloc((p->n_in + 1) * sizeof *all);
    for (size_t i = 0; i < p->n_in; i++)
        all[i] = p->in[i];
    for (size_t i = 0; i < n; i++)
        all[p->argnums[i]] = in[i];
    bool ok = nx_function_call(p->f, all, p->n_in, out);
    free(all);
    for (size_t i = before + 1; ok && i < out->n; i++)
        ok = (out->at[i] = nx_stop_gradient(out->at[i], stream_of(out->at[i]))) != NULL;
    return ok;
}

/* Each argument once, and one that is there. */
static bool argnums_check(const int *argnums, size_t n, size_t n_in)
{
    if (n == 0)
        return nx_fail("[grad] Must specify at least one argument.");
    for (size_t i = 0; i < n; i++) {
        if (argnums[i] < 0 || (size_t)argnums[i] >= n_in)
            return nx_fail("[grad] Invalid argument number %d for function with %zu inputs.",
                           argnums[i], n_in);
        for (size_t k = 0; k < i; k++)
            if (argnums[k] == argnums[i])
                return nx_fail("[grad] Repeat argument number %d not allowed in grad.", argnums[i]);
    }
    return true;
}

bool nx_value_and_grad(nx_function f, const int *argnums, size_t n_argnums, nx_array *const *in,
                       size_t n_in, nx_array_vec *values, nx_array_vec *grads)
{
    if (!argnums_check(argnums, n_argnums, n_in))
        return false;
    nx_array **wanted = nx_malloc((n_argnums + 1) * sizeof *wanted);
    for (size_t i = 0; i < n_argnums; i++)
        wanted[i] = in[argnums[i]];
    partial p = {f, argnums, in, n_in};
    nx_array *one = nx_scalar(1, NX_FLOAT32);
    bool ok = one && nx_vjp((nx_function){partial_call, &p}, wanted, n_argnums, &one, 1, values,
                            grads);
    free(wanted);
    return ok;
}
