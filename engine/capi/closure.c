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

bool nx_closure_call(nx_closure *c, nx_array *const *in, size_t n, nx_array_vec *out)
{
    mlx_vector_array input = mlx_vector_array_new();
    nx_vector_set(&input, in, n);
    result r = result_new();
    bool ok = mlx_closure_call_(c, &r.vector, input);
    nx_array_vec *made = r.vector.ctx;
    for (size_t i = 0; ok && made && i < made->n; i++)
        nx_vec_push(out, nx_scope_own(nx_array_ref(made->at[i])));
    mlx_vector_array_free(r.vector);
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
