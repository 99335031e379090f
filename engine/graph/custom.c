#include "engine/graph/custom.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/graph/grad.h"
#include "engine/graph/vmap.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/prims.h"
#include "engine/ops/shape.h"

nx_custom *nx_custom_new(nx_custom content)
{
    nx_custom *c = nx_malloc(sizeof *c);
    *c = content;
    atomic_init(&c->refs, 1);
    return c;
}

void nx_custom_unref(nx_custom **pc)
{
    nx_custom *c = *pc;
    *pc = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->drop)
        c->drop(c->self);
    free(c);
}

/*
 * CustomTransforms: its inputs are those of the function and then the outputs it computed; its
 * outputs are the latter. A node in the way of every transform.
 */
typedef struct {
    nx_custom *custom;
    int n_primals;
} custom_params;

static void params_ref(void *params)
{
    atomic_fetch_add(&((custom_params *)params)->custom->refs, 1);
}

static void params_drop(void *params)
{
    nx_custom_unref(&((custom_params *)params)->custom);
}

static bool infer(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    int first = ((const custom_params *)params)->n_primals;
    for (int i = 0; i < n_out; i++)
        nx_spec_like(&out[i], in[first + i], (nx_dtype)in[first + i]->dtype);
    return true;
}

static bool view(nx_node *n)
{
    int first = ((const custom_params *)n->params)->n_primals;
    for (int i = 0; i < n->n_out; i++)
        nx_array_set_view(&n->out[i], n->in[first + i], n->in[first + i]->strides, 0);
    return true;
}

/* The function once more on tracers of the primals; their cotangents, none for zero, in grads. */
static bool vjp_of(nx_function f, nx_array *const *primals, size_t n, nx_array *const *cotangents,
                   size_t n_out, nx_array_vec *grads)
{
    nx_array_vec values = {0};
    nx_array **tracers = nx_malloc((2 * n + 1) * sizeof *tracers), **found = tracers + n;
    bool ok = true;
    nx_tracing++;
    for (size_t i = 0; ok && i < n; i++)
        ok = (tracers[i] = nx_tracer(primals[i])) != NULL;
    ok = ok && nx_function_call(f, tracers, n, &values);
    if (ok && values.n != n_out)
        ok = nx_fail("[custom_function] the function returned %zu arrays, before %zu", values.n,
                     n_out);
    ok = ok && nx_pull_back(tracers, n, values.at, cotangents, n_out, NULL, found);
    nx_tracing--;
    for (size_t i = 0; ok && i < n; i++)
        nx_vec_push(grads, found[i]);
    nx_vec_clear(&values);
    free(tracers);
    return ok;
}

static bool vjp(nx_node *n, nx_array *const *cotangents, const bool *wanted, nx_array **out)
{
    const custom_params *p = n->params;
    const nx_custom *c = p->custom;
    size_t n_primals = (size_t)p->n_primals;
    nx_array_vec grads = {0};
    nx_array **outputs = nx_malloc(n->n_out * sizeof *outputs);
    for (int i = 0; i < n->n_out; i++)
        outputs[i] = &n->out[i];
    bool ok = c->vjp ? c->vjp(c->self, n->in, n_primals, cotangents, outputs, n->n_out, &grads)
                     : vjp_of(c->fun, n->in, n_primals, cotangents, n->n_out, &grads);
    if (ok && grads.n < n_primals)
        ok = nx_fail("[custom_function] the vjp function returned %zu gradients for %zu inputs",
                     grads.n, n_primals);
    for (int i = 0; ok && i < n->n_in; i++)
        if (wanted[i])
            out[i] = (size_t)i < n_primals ? grads.at[i] : nx_array_none();
    nx_vec_clear(&grads);
    free(outputs);
    return ok;
}

/* Tangents by the function's own graph. */
static bool jvp_of(nx_function f, nx_array *const *primals, nx_array *const *tangents, size_t n,
                   nx_array_vec *moved)
{
    nx_array_vec values = {0};
    nx_array **all = nx_malloc((n + 1) * sizeof *all);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        nx_stream *s = nx_stream_default(nx_device_default());
        all[i] = nx_array_is_none(tangents[i]) ? nx_zeros_like(primals[i], s) : tangents[i];
        ok = all[i] != NULL;
    }
    ok = ok && nx_jvp(f, primals, n, all, n, &values, moved);
    nx_vec_clear(&values);
    free(all);
    return ok;
}

static bool custom_jvp(const nx_custom *c, nx_array *const *primals, nx_array *const *tangents,
                       size_t n, nx_array_vec *moved)
{
    nx_array **given = nx_malloc((n + 1) * sizeof *given);
    int *argnums = nx_malloc((n + 1) * sizeof *argnums);
    size_t n_given = 0;
    for (size_t i = 0; i < n; i++) {
        if (nx_array_is_none(tangents[i]))
            continue;
        argnums[n_given] = (int)i;
        given[n_given++] = tangents[i];
    }
    bool ok = c->jvp(c->self, primals, n, given, argnums, n_given, moved);
    free(given);
    free(argnums);
    return ok;
}

static bool jvp(nx_node *n, nx_array *const *tangents, nx_array **out)
{
    const custom_params *p = n->params;
    size_t n_primals = (size_t)p->n_primals;
    nx_array_vec moved = {0};
    bool ok = p->custom->jvp ? custom_jvp(p->custom, n->in, tangents, n_primals, &moved)
                             : jvp_of(p->custom->fun, n->in, tangents, n_primals, &moved);
    if (ok && moved.n < n->n_out)
        ok = nx_fail("[custom_function] the jvp function returned %zu tangents for %d outputs",
                     moved.n, n->n_out);
    for (int i = 0; ok && i < n->n_out; i++)
        out[i] = moved.at[i];
    nx_vec_clear(&moved);
    return ok;
}

static bool vmap(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    const custom_params *p = n->params;
    size_t n_primals = (size_t)p->n_primals;
    nx_array_vec made = {0};
    nx_int_list places = {0};
    bool ok, batched = false;
    for (size_t i = 0; i < n_primals; i++)
        batched |= axes[i] >= 0;
    if (!batched) { /* the outputs depend on the batch in another way: they are simply passed on */
        for (int i = 0; i < n->n_out; i++) {
            out[i] = in[n_primals + (size_t)i];
            out_axes[i] = axes[n_primals + (size_t)i];
        }
        return true;
    }
    if (p->custom->vmap) {
        ok = p->custom->vmap(p->custom->self, in, axes, n_primals, &made, &places);
    } else {
        ok = nx_vmap(p->custom->fun, in, axes, n_primals, &made);
        for (size_t i = 0; ok && i < made.n; i++)
            nx_vec_push(&places, 0);
    }
    if (ok && (made.n < n->n_out || places.n < n->n_out))
        ok = nx_fail("[custom_function] the vmap function returned %zu arrays and %zu axes for %d "
                     "outputs", made.n, places.n, n->n_out);
    for (int i = 0; ok && i < n->n_out; i++) {
        out[i] = made.at[i];
        out_axes[i] = places.at[i];
    }
    nx_vec_clear(&made);
    nx_vec_clear(&places);
    return ok;
}

/* In files only what was computed: no rule of a program's can be written. */
static bool results(nx_node *n, nx_array **out)
{
    int first = ((const custom_params *)n->params)->n_primals;
    for (int i = 0; i < n->n_out; i++)
        out[i] = n->in[first + i];
    return true;
}

const nx_prim nx_prim_CustomTransforms = {
    .name = "CustomTransforms",
    .id = NX_PRIM_CustomTransforms,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(custom_params),
    .params_ref = params_ref,
    .params_drop = params_drop,
    .infer = infer,
    .view = view,
    .decompose = results,
    .vjp = vjp,
    .jvp = jvp,
    .vmap = vmap,
};

bool nx_custom_call(nx_custom *c, nx_array *const *in, size_t n, nx_array_vec *out)
{
    nx_array_vec all = {0};
    for (size_t i = 0; i < n; i++)
        nx_vec_push(&all, in[i]);
    bool ok = nx_function_call(c->fun, in, n, &all);
    size_t n_out = ok ? all.n - n : 0;
    nx_stream *s = nx_stream_default(nx_device_default());
    if (n_out && all.at[n]->node->stream)
        s = all.at[n]->node->stream;
    for (size_t i = n; ok && i < all.n; i++)
        ok = (all.at[i] = nx_stop_gradient(all.at[i], s)) != NULL;
    nx_array **made = nx_malloc((n_out + 1) * sizeof *made);
    custom_params p = {c, (int)n};
    if (ok && n_out)
        ok = nx_op_n(&nx_prim_CustomTransforms, &p, all.at, (int)all.n, s, made, (int)n_out);
    for (size_t i = 0; ok && i < n_out; i++)
        nx_vec_push(out, made[i]);
    free(made);
    nx_vec_clear(&all);
    return ok;
}

bool nx_checkpoint_vjp(nx_function f, nx_array *const *primals, size_t n,
                       nx_array *const *cotangents, nx_array *const *outputs, size_t n_out,
                       nx_array_vec *out)
{
    nx_array **late = nx_malloc((n + 1) * sizeof *late);
    nx_stream *s = nx_stream_default(nx_device_default());
    bool ok = !n || nx_depends(primals, (int)n, outputs, (int)n_out, s, late);
    ok = ok && vjp_of(f, late, n, cotangents, n_out, out);
    free(late);
    return ok;
}
