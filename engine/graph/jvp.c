/*
 * jvp.c: forward mode. A primitive without a rule of its own is differentiated twice backwards: its
 * vjp is linear in the cotangent c, v(c) = Jᵀc, and pulling the tangents t back through v gives Jt.
 */
#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/graph/grad.h"
#include "engine/graph/walk.h"
#include "engine/ops/creation.h"

/* The tangents of the outputs by that. The walk back ends at n: what its inputs were made of is of no
 * concern, and may be long. */
static bool transpose_vjp(nx_node *n, nx_array *const *tangents, nx_array **out)
{
    if (!n->prim->vjp)
        return nx_fail("[jvp] %s has no derivative", n->prim->name);
    size_t n_in = (size_t)n->n_in, n_out = n->n_out, n_used = 0;
    nx_array **room = nx_malloc((n_out + 3 * n_in + 1) * sizeof *room);
    nx_array **zeros = room, **grads = room + n_out, **used = grads + n_in, **moved = used + n_in;
    bool *wanted = nx_malloc(n_in + 1), ok = true;
    for (size_t i = 0; ok && i < n_out; i++) {
        zeros[i] = nx_zeros_like(&n->out[i], n->stream);
        ok = zeros[i] && (zeros[i] = nx_tracer(zeros[i]));
    }
    for (size_t i = 0; i < n_in; i++) {
        wanted[i] = !nx_array_is_none(tangents[i]);
        grads[i] = NULL;
    }
    ok = ok && n->prim->vjp(n, zeros, wanted, grads);
    for (size_t i = 0; ok && i < n_in; i++) {
        if (!wanted[i])
            continue;
        if (!(ok = grads[i] != NULL) || nx_array_is_none(grads[i]))
            continue;
        used[n_used] = grads[i];
        moved[n_used++] = tangents[i];
    }
    ok = ok && nx_pull_back(zeros, n_out, used, moved, n_used, n, out);
    free(wanted);
    free(room);
    return ok;
}

/* Tangents under way, one a number of the walk; NULL: zero. */
typedef struct {
    nx_graph_walk walk;
    nx_array **tangent;
} forward;

static nx_array *tangent_of(const forward *f, const nx_array *a)
{
    size_t at = nx_graph_walk_find(&f->walk, a);
    return at == SIZE_MAX || !f->tangent[at] ? nx_array_none() : f->tangent[at];
}

static bool visit(forward *f, const nx_walked *at)
{
    nx_node *n = at->node;
    nx_array **in = nx_malloc((size_t)(n->n_in + n->n_out + 1) * sizeof *in), **out = in + n->n_in;
    bool any = false, ok = true;
    for (int i = 0; i < n->n_in; i++) {
        in[i] = tangent_of(f, n->in[i]);
        any |= !nx_array_is_none(in[i]);
    }
    if (any)
        ok = n->prim->jvp ? n->prim->jvp(n, in, out) : transpose_vjp(n, in, out);
    for (int i = 0; any && ok && i < n->n_out; i++) {
        ok = out[i] != NULL;
        f->tangent[at->first + (size_t)i] = ok && !nx_array_is_none(out[i]) ? out[i] : NULL;
    }
    free(in);
    return ok;
}

bool nx_push_forward(nx_array *const *sources, nx_array *const *tangents, size_t n_sources,
                     nx_array *const *outputs, size_t n_outputs, nx_array **out)
{
    forward f = {0};
    nx_graph_walk_init(&f.walk, sources, n_sources, outputs, n_outputs, true, NULL);
    f.tangent = nx_calloc(f.walk.n_outputs + 1, sizeof *f.tangent);
    for (size_t i = 0; i < n_sources; i++)
        f.tangent[nx_graph_walk_find(&f.walk, sources[i])] =
            nx_array_is_none(tangents[i]) ? NULL : tangents[i];
    bool ok = true;
    for (size_t i = f.walk.n_sources; ok && i < f.walk.order.n; i++)
        ok = visit(&f, &f.walk.order.at[i]);
    for (size_t i = 0; ok && i < n_outputs; i++)
        out[i] = tangent_of(&f, outputs[i]);
    free(f.tangent);
    nx_graph_walk_clear(&f.walk);
    return ok;
}

static bool check(nx_array *const *primals, size_t n_primals, nx_array *const *tangents, size_t n)
{
    if (n_primals != n)
        return nx_fail("[jvp] Number of inputs does not match number of tangents.");
    for (size_t i = 0; i < n; i++)
        if (!nx_shape_equal(primals[i]->shape, primals[i]->ndim, tangents[i]->shape,
                            tangents[i]->ndim))
            return nx_fail("[jvp] Input shape does not match shape of tangent.");
    return true;
}

static bool jvp(nx_function f, nx_array *const *primals, nx_array *const *tangents, size_t n,
                nx_array_vec *values, nx_array_vec *out)
{
    size_t before = values->n;
    nx_array **tracers = nx_malloc((n + 1) * sizeof *tracers), **found = NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = (tracers[i] = nx_tracer(primals[i])) != NULL;
    ok = ok && nx_function_call(f, tracers, n, values);
    size_t n_values = ok ? values->n - before : 0;
    if (ok) {
        found = nx_malloc((n_values + 1) * sizeof *found);
        ok = nx_push_forward(tracers, tangents, n, values->at + before, n_values, found);
    }
    for (size_t i = 0; ok && i < n_values; i++) {
        nx_array *v = values->at[before + i];
        nx_stream *s = v->node->stream ? v->node->stream : nx_stream_default(nx_device_default());
        nx_array *t = nx_array_is_none(found[i]) ? nx_zeros_like(v, s) : found[i];
        if ((ok = t != NULL))
            nx_vec_push(out, t);
    }
    free(found);
    free(tracers);
    return ok;
}

bool nx_jvp(nx_function f, nx_array *const *primals, size_t n_primals, nx_array *const *tangents,
            size_t n_tangents, nx_array_vec *values, nx_array_vec *out)
{
    if (!check(primals, n_primals, tangents, n_tangents))
        return false;
    nx_tracing++;
    bool ok = jvp(f, primals, tangents, n_primals, values, out);
    nx_tracing--;
    return ok;
}
