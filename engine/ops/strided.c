/* strided.c: AsStrided, Contiguous, Depends: what concerns an array's memory and order of work. */
#include <stdlib.h>

#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/creation.h"
#include "engine/ops/index.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

/* ---- AsStrided ------------------------------------------------------------------------------ */

/* Every element that shape and strides reach lies in 0..size-1. */
static bool check_reach(const nx_as_strided_params *p, int64_t size)
{
    int64_t low = p->offset, high = p->offset;
    if (p->offset < 0)
        return nx_fail("[as_strided] the offset is beyond the address space");
    for (int i = 0; i < p->shape.n; i++) {
        int64_t *end = p->strides.v[i] < 0 ? &low : &high, step;
        if (p->shape.v[i] == 0)
            return true;
        if (__builtin_mul_overflow((int64_t)p->shape.v[i] - 1, p->strides.v[i], &step) ||
            __builtin_add_overflow(*end, step, end))
            return nx_fail("[as_strided] strides reach beyond the address space");
    }
    return (low >= 0 && high < size) ||
           nx_fail("[as_strided] elements %lld to %lld are asked of an array of %lld",
                   (long long)low, (long long)high, (long long)size);
}

static bool infer_as_strided(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                             int n_out)
{
    const nx_as_strided_params *p = params;
    nx_spec_set(out, p->shape.v, p->shape.n, (nx_dtype)in[0]->dtype);
    return nx_shape_fits("as_strided", p->shape.v, p->shape.n) && check_reach(p, in[0]->size);
}

static bool view_as_strided(nx_node *n)
{
    const nx_as_strided_params *p = n->params;
    nx_array *out = &n->out[0];
    if (!(n->in[0]->flags & NX_ROW_CONTIGUOUS))
        return false;
    nx_array_set_view(out, n->in[0], p->strides.v, out->size ? p->offset : 0);
    return true;
}

static const nx_field as_strided_fields[] = {
    {"shape", NX_FIELD_DIMS, offsetof(nx_as_strided_params, shape)},
    {"strides", NX_FIELD_DIMS64, offsetof(nx_as_strided_params, strides)},
    {"offset", NX_FIELD_INT64, offsetof(nx_as_strided_params, offset)},
};

/* Each cotangent is added where its element was read. */
static bool vjp_as_strided(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_as_strided_params *p = n->params;
    nx_array *a = n->in[0];
    nx_stream *s = n->stream;
    nx_array *places = nx_arange(0, (double)a->size, 1, NX_INT64, s);
    places = nx_as_strided(places, p->shape.v, p->shape.n, p->strides.v, p->strides.n,
                           (size_t)p->offset, s);
    if (!places || a->size > INT32_MAX)
        return places && nx_fail("[vjp] AsStrided of more than 2^31 elements");
    places = nx_flatten_all(places, s);
    nx_array *sum = nx_zeros((int[]){(int)a->size}, 1, (nx_dtype)a->dtype, s);
    nx_array *flat = nx_flatten_all(g[0], s);
    sum = nx_scatter_add_axis(sum, places, flat, 0, s);
    out[0] = nx_reshape(sum, a->shape, a->ndim, s);
    return true;
}

/* One dimension more, whose stride is an item. */
static bool vmap_as_strided(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                            int *out_axes)
{
    nx_as_strided_params p = *(const nx_as_strided_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    if (!a)
        return false;
    nx_dims_prepend(&p.shape, a->shape[0]);
    for (int i = p.strides.n; i > 0; i--)
        p.strides.v[i] = p.strides.v[i - 1];
    p.strides.v[0] = n->in[0]->size;
    p.strides.n = p.shape.n;
    out[0] = nx_as_strided(a, p.shape.v, p.shape.n, p.strides.v, p.strides.n, (size_t)p.offset,
                           n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_as_strided(const nx_rebuild *r, nx_array **out)
{
    const nx_as_strided_params *p = r->params;
    if (p->offset < 0)
        return nx_fail("[as_strided] an offset of %lld", (long long)p->offset);
    out[0] = nx_as_strided(r->in[0], p->shape.v, p->shape.n, p->strides.v, p->strides.n, (size_t)p->offset,
                          r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_AsStrided = {
    .name = "AsStrided",
    .id = NX_PRIM_AsStrided,
    .flags = NX_PRIM_VIEW,
    .params_size = sizeof(nx_as_strided_params),
    .fields = as_strided_fields,
    .n_fields = 3,
    .row_inputs = 1,
    .infer = infer_as_strided,
    .view = view_as_strided,
    .vjp = vjp_as_strided,
    .vmap = vmap_as_strided,
    .rebuild = rebuild_as_strided,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_as_strided(nx_array *a, const int *shape, int ndim, const int64_t *strides,
                        int n_strides, size_t offset, nx_stream *s)
{
    nx_as_strided_params p;
    if (!a || !nx_dims_set("as_strided", &p.shape, shape, ndim))
        return NULL;
    if (n_strides != ndim)
        return nx_fail_null("[as_strided] %d strides do not fit %d dimensions", n_strides, ndim);
    p.strides.n = ndim;
    for (int i = 0; i < ndim; i++)
        p.strides.v[i] = strides[i];
    p.offset = offset > INT64_MAX ? -1 : (int64_t)offset;
    return nx_op(&nx_prim_AsStrided, &p, &a, 1, s);
}

/* ---- Contiguous ----------------------------------------------------------------------------- */

static bool infer_contiguous(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                             int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return true;
}

/* A small piece of a large buffer is copied, so that the large one can be freed. */
static bool view_contiguous(nx_node *n)
{
    const nx_contiguous_params *p = n->params;
    const nx_array *a = n->in[0];
    int accepted = NX_ROW_CONTIGUOUS | (p->allow_col_major ? NX_COL_CONTIGUOUS : 0);
    if (!(a->flags & accepted))
        return false;
    if (a->buffer->bin != NX_EXTERNAL && a->buffer->size > 2 * (size_t)nx_array_nbytes(a) + 16384)
        return false;
    nx_array_set_view(&n->out[0], a, a->strides, 0);
    return true;
}

static const nx_field contiguous_fields[] = {
    {"allow_col_major", NX_FIELD_BOOL, offsetof(nx_contiguous_params, allow_col_major)},
};

static bool vjp_contiguous(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    out[0] = g[0];
    return true;
}

static bool rebuild_contiguous(const nx_rebuild *r, nx_array **out)
{
    const nx_contiguous_params *p = r->params;
    out[0] = nx_contiguous(r->in[0], p->allow_col_major, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Contiguous = {
    .name = "Contiguous",
    .id = NX_PRIM_Contiguous,
    .flags = NX_PRIM_VIEW | NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_contiguous_params),
    .fields = contiguous_fields,
    .n_fields = 1,
    .infer = infer_contiguous,
    .view = view_contiguous,
    .vjp = vjp_contiguous,
    .vmap = nx_vmap_front,
    .rebuild = rebuild_contiguous,
    .least_in = 1,
    .most_in = 1,
    .file = &(const nx_file_form){"Copy", NULL, 0}, /* which is all that MLX's files can say */
};

nx_array *nx_contiguous(nx_array *a, bool allow_col_major, nx_stream *s)
{
    nx_contiguous_params p = {allow_col_major};
    return nx_op(&nx_prim_Contiguous, &p, &a, 1, s);
}

/* ---- Depends -------------------------------------------------------------------------------- */

static bool infer_depends(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                          int n_out)
{
    for (int i = 0; i < n_out; i++)
        nx_spec_like(&out[i], in[i], (nx_dtype)in[i]->dtype);
    return true;
}

static bool view_depends(nx_node *n)
{
    for (int i = 0; i < n->n_out; i++)
        nx_array_set_view(&n->out[i], n->in[i], n->in[i]->strides, 0);
    return true;
}

static bool vjp_depends(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    for (int i = 0; i < n->n_in; i++)
        if (wanted[i])
            out[i] = i < n->n_out ? g[i] : nx_array_none();
    return true;
}

static bool vmap_depends(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                         int *out_axes)
{
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = axes[i];
    return nx_op_like(n, in, n->stream, true, out);
}

static bool rebuild_depends(const nx_rebuild *r, nx_array **out)
{
    int n = r->n_out;
    return n <= r->n_in ? nx_depends(r->in, n, r->in + n, r->n_in - n, r->s, out)
                        : nx_fail("[depends] %d arrays come of %d", n, r->n_in);
}

const nx_prim nx_prim_Depends = {
    .name = "Depends",
    .id = NX_PRIM_Depends,
    .flags = NX_PRIM_VIEW,
    .infer = infer_depends,
    .view = view_depends,
    .vjp = vjp_depends,
    .vmap = vmap_depends,
    .rebuild = rebuild_depends,
    .least_in = 1,
    .most_in = 0,
};

bool nx_depends(nx_array *const *in, int n_in, nx_array *const *dependencies, int n_dependencies,
                nx_stream *s, nx_array **out)
{
    nx_array **all = nx_malloc(((size_t)n_in + (size_t)n_dependencies) * sizeof *all);
    for (int i = 0; i < n_in; i++)
        all[i] = in[i];
    for (int i = 0; i < n_dependencies; i++)
        all[n_in + i] = dependencies[i];
    bool ok =
        n_in == 0 || nx_op_n(&nx_prim_Depends, NULL, all, n_in + n_dependencies, s, out, n_in);
    free(all);
    return ok;
}
