/* transforms.h: evaluation, derivatives, and functions with derivatives of their own. */
#include "engine/capi/closure.h"
#include "engine/core/eval.h"
#include "engine/graph/custom.h"
#include "engine/graph/grad.h"

static int eval(const nx_array_vec *v, bool wait)
{
    NX_SCOPE;
    if (v->n > INT32_MAX) {
        nx_fail("[eval] %zu arrays are more than can be evaluated at once", v->n);
        return nx_report();
    }
    return nx_status(nx_eval(v->at, (int)v->n, wait));
}

int mlx_eval(const mlx_vector_array outputs)
{
    return eval(NX_ARRAYS(outputs), true);
}

/* A transform that sees an array keeps it from being evaluated behind its back, as MLX's do. */
int mlx_async_eval(const mlx_vector_array outputs)
{
    const nx_array_vec *v = NX_ARRAYS(outputs);
    for (size_t i = 0; nx_tracing && i < v->n; i++)
        if (v->at[i]->node->traced) {
            nx_fail("[async_eval] Not allowed inside a graph transformation.");
            return nx_report();
        }
    return eval(v, false);
}

/* ---- derivatives ---------------------------------------------------------------------------- */

/* Both results if all is well, else neither. */
static int give_pair(mlx_vector_array *res_0, mlx_vector_array *res_1, bool ok, nx_array_vec *a,
                     nx_array_vec *b)
{
    if (ok) {
        nx_vector_set(res_0, a->at, a->n);
        nx_vector_set(res_1, b->at, b->n);
    }
    nx_vec_clear(a);
    nx_vec_clear(b);
    return nx_status(ok);
}

int mlx_vjp(mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_closure fun,
            const mlx_vector_array primals, const mlx_vector_array cotangents)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    const nx_array_vec *p = NX_ARRAYS(primals), *g = NX_ARRAYS(cotangents);
    nx_array_vec values = {0}, grads = {0};
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    NX_SCOPE;
    bool ok = nx_vjp(nx_closure_function(c), p->at, p->n, g->at, g->n, &values, &grads);
    return give_pair(res_0, res_1, ok, &values, &grads);
}

int mlx_jvp(mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_closure fun,
            const mlx_vector_array primals, const mlx_vector_array tangents)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    const nx_array_vec *p = NX_ARRAYS(primals), *t = NX_ARRAYS(tangents);
    nx_array_vec values = {0}, moved = {0};
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    NX_SCOPE;
    bool ok = nx_jvp(nx_closure_function(c), p->at, p->n, t->at, t->n, &values, &moved);
    return give_pair(res_0, res_1, ok, &values, &moved);
}

/* What mlx_value_and_grad returns: the function and the arguments asked for. */
typedef struct {
    nx_closure *fun;
    size_t n;
    int argnums[];
} gradient;

static void gradient_free(void *payload)
{
    gradient *g = payload;
    nx_closure_unref(&g->fun);
    free(g);
}

static int gradient_call(mlx_vector_array *res_0, mlx_vector_array *res_1,
                         const mlx_vector_array input, void *payload)
{
    const gradient *g = payload;
    const nx_array_vec *in = NX_ARRAYS(input);
    nx_array_vec values = {0}, grads = {0};
    NX_SCOPE;
    bool ok = nx_value_and_grad(nx_closure_function(g->fun), g->argnums, g->n, in->at, in->n,
                                &values, &grads);
    if (ok) {
        nx_vector_set(res_0, values.at, values.n);
        nx_vector_set(res_1, grads.at, grads.n);
    }
    nx_vec_clear(&values);
    nx_vec_clear(&grads);
    return ok ? 0 : NX_CLOSURE_FAILED;
}

int mlx_value_and_grad(mlx_closure_value_and_grad *res, const mlx_closure fun, const int *argnums,
                       size_t argnums_num)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_POINTER(res);
    NX_LIST(argnums, argnums_num, INT32_MAX);
    gradient *g = nx_malloc(sizeof *g + argnums_num * sizeof *argnums);
    g->fun = nx_closure_ref(c);
    g->n = argnums_num;
    for (size_t i = 0; i < argnums_num; i++)
        g->argnums[i] = argnums[i];
    nx_closure_give(&res->ctx,
                    nx_closure_cell_new((void (*)(void))gradient_call, g, gradient_free));
    return 0;
}

/* ---- functions with rules of their own ------------------------------------------------------ */

typedef struct {
    nx_closure *fun, *vjp, *jvp, *vmap; /* the latter three may be NULL */
} rules;

static void rules_free(void *self)
{
    rules *r = self;
    nx_closure_unref(&r->fun);
    nx_closure_unref(&r->vjp);
    nx_closure_unref(&r->jvp);
    nx_closure_unref(&r->vmap);
    free(r);
}

static bool rules_fun(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    return nx_closure_call(((rules *)self)->fun, in, n, out);
}

static bool rules_vjp(void *self, nx_array *const *primals, size_t n, nx_array *const *cotangents,
                      nx_array *const *outputs, size_t n_out, nx_array_vec *out)
{
    return nx_closure_call_vjp(((rules *)self)->vjp, primals, n, cotangents, outputs, n_out, out);
}

static bool rules_jvp(void *self, nx_array *const *primals, size_t n, nx_array *const *tangents,
                      const int *argnums, size_t n_tangents, nx_array_vec *out)
{
    return nx_closure_call_jvp(((rules *)self)->jvp, primals, n, tangents, argnums, n_tangents, out);
}

static bool rules_vmap(void *self, nx_array *const *in, const int *axes, size_t n,
                       nx_array_vec *out, nx_int_list *out_axes)
{
    return nx_closure_call_vmap(((rules *)self)->vmap, in, axes, n, out, out_axes);
}

static bool again_vjp(void *self, nx_array *const *primals, size_t n, nx_array *const *cotangents,
                      nx_array *const *outputs, size_t n_out, nx_array_vec *out)
{
    nx_function f = {rules_fun, self};
    return nx_checkpoint_vjp(f, primals, n, cotangents, outputs, n_out, out);
}

static int custom_call(mlx_vector_array *res, const mlx_vector_array input, void *payload)
{
    const nx_array_vec *in = NX_ARRAYS(input);
    nx_array_vec out = {0};
    NX_SCOPE;
    bool ok = nx_custom_call(payload, in->at, in->n, &out);
    if (ok)
        nx_vector_set(res, out.at, out.n);
    nx_vec_clear(&out);
    return ok ? 0 : NX_CLOSURE_FAILED;
}

static void custom_free(void *payload)
{
    nx_custom *c = payload;
    nx_custom_unref(&c);
}

static nx_closure *closure_of(void *cell)
{
    return cell ? nx_closure_ref(((nx_closure_cell *)cell)->closure) : NULL;
}

static int custom_give(mlx_closure *res, nx_custom content, nx_closure *fun, void *vjp, void *jvp,
                       void *vmap)
{
    rules *r = nx_malloc(sizeof *r);
    *r = (rules){nx_closure_ref(fun), closure_of(vjp), closure_of(jvp), closure_of(vmap)};
    content.fun = (nx_function){rules_fun, r};
    content.self = r;
    content.drop = rules_free;
    nx_closure_give(&res->ctx, nx_closure_cell_new((void (*)(void))custom_call,
                                                   nx_custom_new(content), custom_free));
    return 0;
}

int mlx_custom_function(mlx_closure *res, const mlx_closure fun, const mlx_closure_custom fun_vjp,
                        const mlx_closure_custom_jvp fun_jvp,
                        const mlx_closure_custom_vmap fun_vmap)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_POINTER(res);
    if (!fun_vjp.ctx && !fun_jvp.ctx && !fun_vmap.ctx)
        return mlx_closure_set(res, fun);
    nx_custom content = {.vjp = fun_vjp.ctx ? rules_vjp : NULL,
                         .jvp = fun_jvp.ctx ? rules_jvp : NULL,
                         .vmap = fun_vmap.ctx ? rules_vmap : NULL};
    return custom_give(res, content, c, fun_vjp.ctx, fun_jvp.ctx, fun_vmap.ctx);
}

int mlx_custom_vjp(mlx_closure *res, const mlx_closure fun, const mlx_closure_custom fun_vjp)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_OBJECT(nx_closure_cell, fun_vjp);
    NX_POINTER(res);
    return custom_give(res, (nx_custom){.vjp = rules_vjp}, c, fun_vjp.ctx, NULL, NULL);
}

int mlx_checkpoint(mlx_closure *res, const mlx_closure fun)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, fun)->closure;
    NX_POINTER(res);
    return custom_give(res, (nx_custom){.vjp = again_vjp}, c, NULL, NULL, NULL);
}
