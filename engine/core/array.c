#include "engine/core/array.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/vec.h"
#include "engine/core/half.h"
#include "engine/core/prim.h"
#include "engine/core/scope.h"

static nx_node none_node = {.refs = 1, .state = NX_SCHEDULED, .n_out = 1};
static nx_array none = {.refs = 1, .flags = NX_ROW_CONTIGUOUS | NX_COL_CONTIGUOUS | NX_DENSE,
                        .node = &none_node};

nx_array *nx_array_none(void)
{
    return &none;
}

_Thread_local int nx_tracing;
_Thread_local bool nx_tracing_any_size;

static size_t aligned(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* One block: node, outputs, inputs, parameters, then strides and shapes of each output. */
static nx_node *node_alloc(size_t params_size, int n_in, int n_out, const nx_spec *const *specs)
{
    size_t at_in = aligned(sizeof(nx_node) + (size_t)n_out * sizeof(nx_array));
    size_t at_params = aligned(at_in + (size_t)n_in * sizeof(nx_array *));
    size_t at_shapes = aligned(at_params + params_size), size = at_shapes;
    for (int i = 0; i < n_out; i++)
        size += (size_t)specs[i]->ndim * (sizeof(int64_t) + sizeof(int)) + sizeof(int64_t);
    char *block = nx_malloc(size);
    nx_node *n = (nx_node *)block;
    *n = (nx_node){.n_in = n_in, .n_out = (uint16_t)n_out, .in = (nx_array **)(block + at_in),
                   .params = params_size ? block + at_params : NULL};
    char *at = block + at_shapes;
    for (int i = 0; i < n_out; i++) {
        nx_array *a = &n->out[i];
        size_t ndim = (size_t)specs[i]->ndim;
        *a = (nx_array){.dtype = (uint8_t)specs[i]->dtype, .index = (uint16_t)i,
                        .ndim = specs[i]->ndim, .node = n};
        a->strides = (int64_t *)at;
        at += ndim * sizeof(int64_t);
        a->shape = (int *)at;
        at += (ndim + 1) / 2 * sizeof(int64_t);
        memcpy(a->shape, specs[i]->shape, ndim * sizeof(int));
        nx_strides_row(a->shape, a->ndim, a->strides);
        a->size = nx_shape_size(a->shape, a->ndim);
        a->flags = NX_ROW_CONTIGUOUS | NX_DENSE;
        if (nx_strides_are_col(a->shape, a->strides, a->ndim))
            a->flags |= NX_COL_CONTIGUOUS;
    }
    return n;
}

/* All outputs begin with one reference, which the scope gets. */
static bool node_fill(nx_node *n, const nx_prim *prim, const void *params, nx_array *const *in,
                      nx_stream *s)
{
    n->prim = prim;
    n->stream = s;
    if (prim && prim->params_size)
        memcpy(n->params, params, prim->params_size);
    if (prim && prim->params_ref)
        prim->params_ref(n->params);
    for (int i = 0; i < n->n_in; i++) {
        n->in[i] = nx_array_is_none(in[i]) ? in[i] : nx_array_ref(in[i]);
        if (nx_tracing)
            n->traced |= in[i]->node->traced;
    }
    atomic_init(&n->refs, n->n_out);
    for (int i = 0; i < n->n_out; i++)
        atomic_init(&n->out[i].refs, 1);
    return true;
}

/* Can such an array be? Its elements and bytes are counted in int64, and an empty dimension does not
 * excuse the others: strides are their products. */
static bool size_fits(const int *shape, int ndim, nx_dtype dtype)
{
    int64_t bytes = (int64_t)nx_dtype_size(dtype);
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, (int64_t)(shape[i] ? shape[i] : 1), &bytes))
            return false;
    return true;
}

/* The check of every result, whatever the operation checked before. */
static bool spec_check(const nx_prim *prim, nx_array *const *in, int n_in, const nx_spec *spec)
{
    if (spec->ndim > NX_MAX_NDIM)
        return nx_fail("[%s] %d dimensions are too many, the limit is %d", prim->name, spec->ndim,
                       NX_MAX_NDIM);
    if (size_fits(spec->shape, spec->ndim, spec->dtype))
        return true;
    const nx_array *from = n_in ? in[0] : &none;
    return nx_fail("[%s] a result of shape %s and type %s (from shape %s) is beyond the address space",
                   prim->name, nx_shape_text(spec->shape, spec->ndim), nx_dtype_name(spec->dtype),
                   nx_shape_text(from->shape, from->ndim));
}

nx_array *nx_op_spec(const nx_prim *prim, const void *params, nx_array *const *in, int n_in,
                     nx_stream *s, const nx_spec *spec)
{
    if (!spec_check(prim, in, n_in, spec))
        return NULL;
    nx_node *n = node_alloc(prim->params_size, n_in, 1, &spec);
    node_fill(n, prim, params, in, s);
    return nx_scope_own(&n->out[0]);
}

nx_array *nx_op(const nx_prim *prim, const void *params, nx_array *const *in, int n_in, nx_stream *s)
{
    nx_spec spec;
    for (int i = 0; i < n_in; i++)
        if (!in[i])
            return NULL;
    if (!s)
        return nx_fail_null("[%s] no stream to run on", prim->name);
    if (!prim->infer(in, n_in, params, &spec, 1))
        return NULL;
    return nx_op_spec(prim, params, in, n_in, s, &spec);
}

bool nx_op_n(const nx_prim *prim, const void *params, nx_array *const *in, int n_in, nx_stream *s,
             nx_array **out, int n_out)
{
    for (int i = 0; i < n_in; i++)
        if (!in[i])
            return false;
    if (n_out > UINT16_MAX)
        return nx_fail("[%s] %d outputs are too many, the limit is %d", prim->name, n_out, UINT16_MAX);
    nx_spec *specs = nx_malloc((size_t)n_out * sizeof *specs);
    const nx_spec **each = nx_malloc((size_t)n_out * sizeof *each);
    for (int i = 0; i < n_out; i++)
        each[i] = &specs[i];
    bool ok = prim->infer(in, n_in, params, specs, n_out);
    for (int i = 0; ok && i < n_out; i++)
        ok = spec_check(prim, in, n_in, &specs[i]);
    if (ok) {
        nx_node *n = node_alloc(prim->params_size, n_in, n_out, each);
        node_fill(n, prim, params, in, s);
        for (int i = 0; i < n_out; i++)
            out[i] = nx_scope_own(&n->out[i]);
    }
    free(specs);
    free(each);
    return ok;
}

bool nx_op_like(const nx_node *like, nx_array *const *in, nx_stream *s, bool infer, nx_array **out)
{
    if (infer)
        return nx_op_n(like->prim, like->params, in, like->n_in, s, out, like->n_out);
    nx_spec *specs = nx_malloc(like->n_out * sizeof *specs);
    const nx_spec **each = nx_malloc(like->n_out * sizeof *each);
    for (int i = 0; i < like->n_out; i++) {
        nx_spec_like(&specs[i], &like->out[i], (nx_dtype)like->out[i].dtype);
        each[i] = &specs[i];
    }
    nx_node *n = node_alloc(like->prim->params_size, like->n_in, like->n_out, each);
    node_fill(n, like->prim, like->params, in, s);
    for (int i = 0; i < like->n_out; i++)
        out[i] = nx_scope_own(&n->out[i]);
    free(specs);
    free(each);
    return true;
}

/*
 * Freeing. Dropping the last output of a node drops its inputs, which may free their nodes in turn:
 * those wait in a list instead of a recursion.
 */
typedef NX_VEC(nx_node *) node_vec;

static void output_drop(nx_array *a, node_vec *dead)
{
    if (a == &none || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    nx_buffer_unref(&a->buffer);
    nx_node *n = a->node;
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        nx_vec_push(dead, n);
}

/* An output that nobody held any more when its node was evaluated got memory all the same. */
static void node_free(nx_node *n)
{
    for (int i = 0; n->n_out > 1 && i < n->n_out; i++)
        nx_buffer_unref(&n->out[i].buffer);
    free(n);
}

static void nodes_free(node_vec *dead)
{
    while (dead->n) {
        nx_node *n = nx_vec_pop(dead);
        if (n->prim && n->prim->params_drop)
            n->prim->params_drop(n->params);
        for (int i = 0; i < n->n_in; i++)
            output_drop(n->in[i], dead);
        node_free(n);
    }
    nx_vec_clear(dead);
}

void nx_array_unref(nx_array **pa)
{
    nx_array *a = *pa;
    *pa = NULL;
    if (!a || a == &none || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    nx_buffer_unref(&a->buffer);
    nx_node *n = a->node;
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (n->n_in == 0 && !n->prim) { /* the common end: nothing to walk */
        node_free(n);
        return;
    }
    node_vec dead = {0};
    nx_vec_push(&dead, n);
    nodes_free(&dead);
}

bool nx_array_is_ready(const nx_array *a)
{
    const nx_node *n = a->node;
    return nx_array_is_scheduled(a) &&
           (!n->ready_seq || nx_stream_is_done(n->ready_on, n->ready_seq));
}

bool nx_array_wait(const nx_array *a)
{
    NX_BUG_IF(!nx_array_is_scheduled(a));
    if (!a->node->ready_seq)
        return true;
    nx_stream_wait(a->node->ready_on, a->node->ready_seq);
    return nx_stream_check(a->node->ready_on);
}

static void layout_set(nx_array *a, const int64_t *strides)
{
    if (!strides)
        return; /* made row-major */
    memcpy(a->strides, strides, (size_t)a->ndim * sizeof *strides);
    bool row = nx_strides_are_row(a->shape, a->strides, a->ndim);
    bool col = nx_strides_are_col(a->shape, a->strides, a->ndim);
    bool dense = row || col || nx_strides_are_dense(a->shape, a->strides, a->ndim);
    a->flags = (uint8_t)((row ? NX_ROW_CONTIGUOUS : 0) | (col ? NX_COL_CONTIGUOUS : 0) |
                         (dense ? NX_DENSE : 0));
}

void nx_array_set_view(nx_array *a, const nx_array *base, const int64_t *strides, int64_t offset)
{
    a->buffer = nx_buffer_ref(base->buffer);
    a->data = base->data + offset * (int64_t)nx_dtype_size((nx_dtype)base->dtype);
    layout_set(a, strides);
}

void nx_array_set_buffer(nx_array *a, nx_buffer *take, char *data, const int64_t *strides)
{
    a->buffer = take;
    a->data = data;
    layout_set(a, strides);
}

nx_view nx_array_view(const nx_array *a)
{
    return (nx_view){a->data, (nx_dtype)a->dtype, a->ndim, a->shape, a->strides};
}

/* A leaf over a buffer, whose reference is taken. */
static nx_array *leaf(nx_buffer *take, const int *shape, int ndim, nx_dtype dtype)
{
    nx_spec spec = {.dtype = dtype, .ndim = ndim};
    const nx_spec *each = &spec;
    if (ndim > 0) /* of a scalar there is no shape to copy */
        memcpy(spec.shape, shape, (size_t)ndim * sizeof *shape);
    nx_node *n = node_alloc(0, 0, 1, &each);
    node_fill(n, NULL, NULL, NULL, NULL);
    nx_array_set_buffer(&n->out[0], take, take->data, NULL);
    atomic_store_explicit(&n->state, NX_SCHEDULED, memory_order_release);
    return nx_scope_own(&n->out[0]);
}

static bool shape_check(const int *shape, int ndim, nx_dtype dtype, size_t *nbytes)
{
    if (ndim < 0 || ndim > NX_MAX_NDIM)
        return nx_fail("[array] %d dimensions are too many, the limit is %d", ndim, NX_MAX_NDIM);
    if ((unsigned)dtype >= NX_DTYPE_COUNT)
        return nx_fail("[array] %d is no data type", (int)dtype);
    *nbytes = nx_dtype_size(dtype);
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0)
            return nx_fail("[array] shape %s has a negative dimension", nx_shape_text(shape, ndim));
    if (!size_fits(shape, ndim, dtype))
        return nx_fail("[array] shape %s of type %s is beyond the address space",
                       nx_shape_text(shape, ndim), nx_dtype_name(dtype));
    *nbytes *= (size_t)nx_shape_size(shape, ndim);
    return true;
}

nx_array *nx_array_new(const int *shape, int ndim, nx_dtype dtype)
{
    size_t nbytes;
    if (!shape_check(shape, ndim, dtype, &nbytes))
        return NULL;
    nx_buffer *b = nx_buffer_new(nbytes, NULL);
    return b ? leaf(b, shape, ndim, dtype) : NULL;
}

nx_array *nx_array_from_data(const void *data, const int *shape, int ndim, nx_dtype dtype)
{
    nx_array *a = nx_array_new(shape, ndim, dtype);
    if (a && a->size)
        memcpy(a->data, data, (size_t)nx_array_nbytes(a));
    return a;
}

nx_array *nx_array_wrap(void *data, const int *shape, int ndim, nx_dtype dtype,
                        void (*dtor)(void *), void *payload)
{
    size_t nbytes;
    if (!shape_check(shape, ndim, dtype, &nbytes))
        return NULL;
    return leaf(nx_buffer_wrap(data, nbytes, dtor, payload), shape, ndim, dtype);
}

nx_array *nx_scalar_bool(bool v)
{
    return nx_array_from_data(&v, NULL, 0, NX_BOOL);
}

nx_array *nx_scalar_int(int v)
{
    return nx_array_from_data(&v, NULL, 0, NX_INT32);
}

nx_array *nx_scalar_float(float v)
{
    return nx_array_from_data(&v, NULL, 0, NX_FLOAT32);
}

nx_array *nx_scalar_complex(float re, float im)
{
    float v[2] = {re, im};
    return nx_array_from_data(v, NULL, 0, NX_COMPLEX64);
}

/* The bits of a number as an integer: what is out of a type's range wraps through int64, and what is out of
 * that, or no number, is its least, as processors of x86 have it (C leaves it undefined). */
static int64_t integer_of(double v, nx_dtype dtype)
{
    if (dtype == NX_UINT64 && v >= 0x1p63 && v < 0x1p64)
        return (int64_t)(uint64_t)v;
    return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN;
}

nx_array *nx_scalar(double v, nx_dtype dtype)
{
    nx_array *a = nx_array_new(NULL, 0, dtype);
    if (!a)
        return NULL;
    int64_t i = integer_of(v, dtype);
    switch (dtype) {
    case NX_BOOL: *(bool *)a->data = v != 0; break;
    case NX_UINT8: case NX_INT8: *(uint8_t *)a->data = (uint8_t)i; break;
    case NX_UINT16: case NX_INT16: *(uint16_t *)a->data = (uint16_t)i; break;
    case NX_UINT32: case NX_INT32: *(uint32_t *)a->data = (uint32_t)i; break;
    case NX_UINT64: case NX_INT64: *(int64_t *)a->data = i; break;
    case NX_FLOAT16: *(uint16_t *)a->data = nx_half_from_float((float)v); break;
    case NX_BFLOAT16: *(uint16_t *)a->data = nx_bf16_from_float((float)v); break;
    case NX_FLOAT32: *(float *)a->data = (float)v; break;
    case NX_FLOAT64: *(double *)a->data = v; break;
    case NX_COMPLEX64: ((float *)a->data)[0] = (float)v; ((float *)a->data)[1] = 0; break;
    case NX_DTYPE_COUNT: break;
    }
    return a;
}
