/* shape_tmpl.c: what joins, pads and reshapes: copies between views made for the purpose. */
#include <string.h>

#include "engine/cpu/kernels.h"
#include "engine/ops/params.h"

static void copy_view(const nx_view *from, nx_view *to)
{
    nx_call c = {.n_in = 1, .n_out = 1, .in = from, .out = to};
    NX_FN(copy)(&c);
}

static void *element(const nx_view *v, int64_t steps)
{
    return (char *)v->data + steps * (int64_t)nx_dtype_size(v->dtype);
}

/* Reshape and Flatten where strides cannot: the output, dense, seen in the input's shape. */
void NX_FN(reshape)(const nx_call *c)
{
    int64_t strides[NX_MAX_NDIM];
    const nx_view *from = &c->in[0];
    nx_strides_row(from->shape, from->ndim, strides);
    nx_view to = {c->out[0].data, from->dtype, from->ndim, from->shape, strides};
    copy_view(from, &to);
}

void NX_FN(as_strided)(const nx_call *c)
{
    const nx_as_strided_params *p = c->params;
    nx_view from = {element(&c->in[0], p->offset), c->in[0].dtype, p->shape.n, p->shape.v,
                    p->strides.v};
    copy_view(&from, &c->out[0]);
}

/* Of the input only the shape is looked at. */
void NX_FN(number_of_elements)(const nx_call *c)
{
    const nx_number_of_elements_params *p = c->params;
    double count = 1;
    for (int i = 0; i < p->axes.n; i++)
        count *= c->in[0].shape[p->axes.v[i]];
    if (p->inverted)
        count = 1 / count;
    nx_view from = {&count, NX_FLOAT64, 0, NULL, NULL};
    copy_view(&from, &c->out[0]);
}

void NX_FN(concatenate)(const nx_call *c)
{
    int axis = ((const nx_axis_params *)c->params)->axis;
    nx_view to = c->out[0];
    for (int i = 0; i < c->n_in; i++) {
        to.shape = c->in[i].shape;
        if (nx_view_size(&to))
            copy_view(&c->in[i], &to);
        to.data = element(&to, to.shape[axis] * to.strides[axis]);
    }
}

/* Positions from..to-1 of the axis, within v, get the value. */
static void fill_slab(const nx_view *v, int axis, int from, int to, const nx_view *value)
{
    static const int64_t nowhere[NX_MAX_NDIM];
    int shape[NX_MAX_NDIM];
    memcpy(shape, v->shape, (size_t)v->ndim * sizeof *shape);
    shape[axis] = to - from;
    nx_view slab = {element(v, from * v->strides[axis]), v->dtype, v->ndim, shape, v->strides};
    nx_view wide = {value->data, v->dtype, v->ndim, shape, nowhere};
    if (nx_view_size(&slab))
        copy_view(&wide, &slab);
}

/* Below and above the input an axis at a time, each within what the axes before have left. */
void NX_FN(pad)(const nx_call *c)
{
    const nx_pad_params *p = c->params;
    int shape[NX_MAX_NDIM];
    nx_view left = c->out[0];
    memcpy(shape, left.shape, (size_t)left.ndim * sizeof *shape);
    left.shape = shape;
    for (int i = 0; i < p->axes.n; i++) {
        int axis = p->axes.v[i], low = p->low.v[i], n = c->in[0].shape[axis];
        fill_slab(&left, axis, 0, low, &c->in[1]);
        fill_slab(&left, axis, low + n, shape[axis], &c->in[1]);
        left.data = element(&left, low * left.strides[axis]);
        shape[axis] = n;
    }
    if (nx_view_size(&left))
        copy_view(&c->in[0], &left);
}
