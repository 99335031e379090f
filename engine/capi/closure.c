/* closure.h: six kinds of functions of the caller's, each by closure_impl.h. */
#include "engine/capi/closure.h"

nx_closure *nx_closure_ref(nx_closure *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void nx_closure_unref(nx_closure **pc)
{
    nx_closure *c = *pc;
    *pc = NULL;
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (c->dtor)
        c->dtor(c->payload);
    free(c);
}

/* A cell with a new closure; NULL, reported, without a function. */
static nx_closure_cell *cell_new(nx_closure content)
{
    if (!content.plain && !content.with_payload) {
        nx_report_empty("closure", "fun");
        return NULL;
    }
    nx_closure *c = nx_malloc(sizeof *c);
    *c = content;
    atomic_init(&c->refs, 1);
    nx_closure_cell *cell = nx_malloc(sizeof *cell);
    cell->closure = c;
    return cell;
}

static int cell_free(nx_closure_cell *cell)
{
    if (cell)
        nx_closure_unref(&cell->closure);
    free(cell);
    return 0;
}

static void cell_set(void **ctx, nx_closure *c)
{
    nx_closure_cell *cell = *ctx;
    nx_closure_ref(c);
    if (cell)
        nx_closure_unref(&cell->closure);
    else
        *ctx = cell = nx_malloc(sizeof *cell);
    cell->closure = c;
}

/* A new result vector for a callback to fill. */
typedef struct {
    mlx_vector_array vector;
} result;

static result result_new(void)
{
    return (result){mlx_vector_array_new()};
}

/* Hands a result over if all is well, and frees it. */
static void result_end(result *r, mlx_vector_array *to, bool ok)
{
    if (ok)
        mlx_vector_array_set(to, r->vector);
    mlx_vector_array_free(r->vector);
}

#define CLOSURE(f) mlx_closure_##f
#define HANDLE     mlx_closure
#define TYPES      mlx_vector_array *, const mlx_vector_array
#define PARAMS     mlx_vector_array *res, const mlx_vector_array input
#define ARGS       res, input
#include "engine/capi/closure_impl.h"

int mlx_closure_apply(mlx_vector_array *res, mlx_closure cls, const mlx_vector_array input)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input);
    NX_POINTER(res);
    result r = result_new();
    bool ok = mlx_closure_call_(c, &r.vector, input);
    result_end(&r, res, ok);
    return nx_status(ok);
}

static mlx_vector_array vector_of(nx_array *const *a, size_t n)
{
    mlx_vector_array v = mlx_vector_array_new();
    nx_vector_set(&v, a, n);
    return v;
}

/* Appends the result to out, for the build scope to own, if all is well; and frees it. */
static void result_take(result *r, bool ok, nx_array_vec *out)
{
    nx_array_vec *made = r->vector.ctx;
    for (size_t i = 0; ok && made && i < made->n; i++)
        nx_vec_push(out, nx_scope_own(nx_array_ref(made->at[i])));
    mlx_vector_array_free(r->vector);
}

nx_closure_cell *nx_closure_cell_new(void (*with_payload)(void), void *payload,
                                     void (*dtor)(void *))
{
    return cell_new((nx_closure){.with_payload = with_payload, .payload = payload, .dtor = dtor});
}

void nx_closure_give(void **ctx, nx_closure_cell *take)
{
    cell_set(ctx, take->closure);
    cell_free(take);
}

static bool function_call(void *self, nx_array *const *in, size_t n, nx_array_vec *out)
{
    return nx_closure_call(self, in, n, out);
}

nx_function nx_closure_function(nx_closure *c)
{
    return (nx_function){function_call, c};
}

bool nx_closure_call(nx_closure *c, nx_array *const *in, size_t n, nx_array_vec *out)
{
    mlx_vector_array input = vector_of(in, n);
    result r = result_new();
    bool ok = mlx_closure_call_(c, &r.vector, input);
    result_take(&r, ok, out);
    mlx_vector_array_free(input);
    return ok;
}

/* A function of one array is a closure whose payload is the function. */
typedef struct {
    int (*fun)(mlx_array *, const mlx_array);
} unary;

static int unary_call(mlx_vector_array *res, const mlx_vector_array input, void *payload)
{
    mlx_array x = mlx_array_new(), y = mlx_array_new();
    int status = 1;
    if (mlx_vector_array_size(input) != 1)
        mlx_error("[closure] a function of one array was given %zu", mlx_vector_array_size(input));
    else if (!mlx_vector_array_get(&x, input, 0))
        status = ((unary *)payload)->fun(&y, x);
    if (!status)
        status = mlx_vector_array_set_value(res, y);
    mlx_array_free(x);
    mlx_array_free(y);
    return status;
}

mlx_closure mlx_closure_new_unary(int (*fun)(mlx_array *, const mlx_array))
{
    if (!fun)
        return mlx_closure_new_func(NULL);
    unary *u = nx_malloc(sizeof *u);
    u->fun = fun;
    return mlx_closure_new_func_payload(unary_call, u, free);
}

#define CLOSURE(f) mlx_closure_kwargs_##f
#define HANDLE     mlx_closure_kwargs
#define TYPES      mlx_vector_array *, const mlx_vector_array, const mlx_map_string_to_array
#define PARAMS                                                                                     \
    mlx_vector_array *res, const mlx_vector_array input_0, const mlx_map_string_to_array input_1
#define ARGS res, input_0, input_1
#include "engine/capi/closure_impl.h"

int mlx_closure_kwargs_apply(mlx_vector_array *res, mlx_closure_kwargs cls,
                             const mlx_vector_array input_0, const mlx_map_string_to_array input_1)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input_0);
    NX_OBJECT(nx_map, input_1);
    NX_POINTER(res);
    result r = result_new();
    bool ok = mlx_closure_kwargs_call_(c, &r.vector, input_0, input_1);
    result_end(&r, res, ok);
    return nx_status(ok);
}

bool nx_closure_call_kwargs(nx_closure *c, nx_array *const *in, size_t n, const char *const *names,
                            size_t n_names, nx_array_vec *out)
{
    mlx_vector_array plain = vector_of(in, n - n_names);
    mlx_map_string_to_array named = mlx_map_string_to_array_new();
    for (size_t i = 0; i < n_names; i++)
        nx_map_put_array(named.ctx, names[i], in[n - n_names + i]);
    result r = result_new();
    bool ok = mlx_closure_kwargs_call_(c, &r.vector, plain, named);
    result_take(&r, ok, out);
    mlx_map_string_to_array_free(named);
    mlx_vector_array_free(plain);
    return ok;
}

#define CLOSURE(f) mlx_closure_value_and_grad_##f
#define HANDLE     mlx_closure_value_and_grad
#define TYPES      mlx_vector_array *, mlx_vector_array *, const mlx_vector_array
#define PARAMS     mlx_vector_array *res_0, mlx_vector_array *res_1, const mlx_vector_array input
#define ARGS       res_0, res_1, input
#include "engine/capi/closure_impl.h"

int mlx_closure_value_and_grad_apply(mlx_vector_array *res_0, mlx_vector_array *res_1,
                                     mlx_closure_value_and_grad cls, const mlx_vector_array input)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input);
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    result values = result_new(), gradients = result_new();
    bool ok = mlx_closure_value_and_grad_call_(c, &values.vector, &gradients.vector, input);
    result_end(&values, res_0, ok);
    result_end(&gradients, res_1, ok);
    return nx_status(ok);
}

#define CLOSURE(f) mlx_closure_custom_##f
#define HANDLE     mlx_closure_custom
#define TYPES                                                                                      \
    mlx_vector_array *, const mlx_vector_array, const mlx_vector_array, const mlx_vector_array
#define PARAMS                                                                                     \
    mlx_vector_array *res, const mlx_vector_array input_0, const mlx_vector_array input_1,         \
        const mlx_vector_array input_2
#define ARGS res, input_0, input_1, input_2
#include "engine/capi/closure_impl.h"

int mlx_closure_custom_apply(mlx_vector_array *res, mlx_closure_custom cls,
                             const mlx_vector_array input_0, const mlx_vector_array input_1,
                             const mlx_vector_array input_2)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input_0);
    NX_ARRAYS(input_1);
    NX_ARRAYS(input_2);
    NX_POINTER(res);
    result r = result_new();
    bool ok = mlx_closure_custom_call_(c, &r.vector, input_0, input_1, input_2);
    result_end(&r, res, ok);
    return nx_status(ok);
}

#define CLOSURE(f) mlx_closure_custom_jvp_##f
#define HANDLE     mlx_closure_custom_jvp
#define TYPES                                                                                      \
    mlx_vector_array *, const mlx_vector_array, const mlx_vector_array, const int *, size_t
#define PARAMS                                                                                     \
    mlx_vector_array *res, const mlx_vector_array input_0, const mlx_vector_array input_1,         \
        const int *input_2, size_t input_2_num
#define ARGS res, input_0, input_1, input_2, input_2_num
#include "engine/capi/closure_impl.h"

int mlx_closure_custom_jvp_apply(mlx_vector_array *res, mlx_closure_custom_jvp cls,
                                 const mlx_vector_array input_0, const mlx_vector_array input_1,
                                 const int *input_2, size_t input_2_num)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input_0);
    NX_ARRAYS(input_1);
    NX_POINTER(res);
    result r = result_new();
    bool ok = mlx_closure_custom_jvp_call_(c, &r.vector, input_0, input_1, input_2, input_2_num);
    result_end(&r, res, ok);
    return nx_status(ok);
}

#define CLOSURE(f) mlx_closure_custom_vmap_##f
#define HANDLE     mlx_closure_custom_vmap
#define TYPES      mlx_vector_array *, mlx_vector_int *, const mlx_vector_array, const int *, size_t
#define PARAMS                                                                                     \
    mlx_vector_array *res_0, mlx_vector_int *res_1, const mlx_vector_array input_0,                \
        const int *input_1, size_t input_1_num
#define ARGS res_0, res_1, input_0, input_1, input_1_num
#include "engine/capi/closure_impl.h"

int mlx_closure_custom_vmap_apply(mlx_vector_array *res_0, mlx_vector_int *res_1,
                                  mlx_closure_custom_vmap cls, const mlx_vector_array input_0,
                                  const int *input_1, size_t input_1_num)
{
    nx_closure *c = NX_OBJECT(nx_closure_cell, cls)->closure;
    NX_ARRAYS(input_0);
    NX_POINTER(res_0);
    NX_POINTER(res_1);
    result r = result_new();
    mlx_vector_int axes = mlx_vector_int_new();
    bool ok = mlx_closure_custom_vmap_call_(c, &r.vector, &axes, input_0, input_1, input_1_num);
    result_end(&r, res_0, ok);
    if (ok)
        mlx_vector_int_set(res_1, axes);
    mlx_vector_int_free(axes);
    return nx_status(ok);
}

/* ---- the rules of custom functions, called by the engine -------------------------------------- */

bool nx_closure_call_vjp(nx_closure *c, nx_array *const *primals, size_t n,
                         nx_array *const *cotangents, nx_array *const *outputs, size_t n_out,
                         nx_array_vec *out)
{
    mlx_vector_array p = vector_of(primals, n), g = vector_of(cotangents, n_out);
    mlx_vector_array o = vector_of(outputs, n_out);
    result r = result_new();
    bool ok = mlx_closure_custom_call_(c, &r.vector, p, g, o);
    result_take(&r, ok, out);
    mlx_vector_array_free(p);
    mlx_vector_array_free(g);
    mlx_vector_array_free(o);
    return ok;
}

bool nx_closure_call_jvp(nx_closure *c, nx_array *const *primals, size_t n,
                         nx_array *const *tangents, const int *argnums, size_t n_tangents,
                         nx_array_vec *out)
{
    mlx_vector_array p = vector_of(primals, n), t = vector_of(tangents, n_tangents);
    result r = result_new();
    bool ok = mlx_closure_custom_jvp_call_(c, &r.vector, p, t, argnums, n_tangents);
    result_take(&r, ok, out);
    mlx_vector_array_free(p);
    mlx_vector_array_free(t);
    return ok;
}

bool nx_closure_call_vmap(nx_closure *c, nx_array *const *in, const int *axes, size_t n,
                          nx_array_vec *out, nx_int_list *out_axes)
{
    mlx_vector_array p = vector_of(in, n);
    mlx_vector_int places = mlx_vector_int_new();
    result r = result_new();
    bool ok = mlx_closure_custom_vmap_call_(c, &r.vector, &places, p, axes, n);
    const nx_int_vec *made = places.ctx;
    for (size_t i = 0; ok && i < made->n; i++)
        nx_vec_push(out_axes, made->at[i]);
    result_take(&r, ok, out);
    mlx_vector_int_free(places);
    mlx_vector_array_free(p);
    return ok;
}
