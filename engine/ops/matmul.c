/* matmul.c: Matmul, AddMM, GatherMM, SegmentedMM: products of the last two dimensions. */
#include "engine/ops/matmul.h"

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/reduce.h"
#include "engine/ops/rules.h"
#include "engine/ops/shape.h"

#define SHAPE(a) nx_shape_text((a)->shape, (a)->ndim)

/* The leading dimensions of in[0], rows of in[0], columns of in[1]. */
static bool infer_product(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_array *a = in[0], *b = in[1];
    if (a->ndim != b->ndim || a->ndim < 2 || a->shape[a->ndim - 1] != b->shape[b->ndim - 2] ||
        !nx_shape_equal(a->shape, a->ndim - 2, b->shape, b->ndim - 2))
        return nx_fail("[matmul] shapes %s and %s do not fit", SHAPE(a), SHAPE(b));
    nx_spec_like(&out[0], a, (nx_dtype)a->dtype);
    out[0].shape[a->ndim - 1] = b->shape[b->ndim - 1];
    return true;
}

static nx_array *adjoint(nx_array *a, nx_stream *s)
{
    return nx_conjugate(nx_swapaxes(a, -1, -2, s), s);
}

static nx_array *scaled(nx_array *a, float by, nx_stream *s)
{
    return a && by != 1 ? nx_multiply(a, nx_scalar(by, (nx_dtype)a->dtype), s) : a;
}

static bool vjp_matmul(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    if (wanted[0])
        out[0] = nx_matmul(g[0], adjoint(n->in[1], n->stream), n->stream);
    if (wanted[1])
        out[1] = nx_matmul(adjoint(n->in[0], n->stream), g[0], n->stream);
    return true;
}

/* A factor without a batch dimension lacks one in front, which broadcasting gives it. */
static bool vmap_matmul(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    nx_array *b = nx_batch_front(in[1], axes[1], n->stream);
    out[0] = nx_matmul(a, b, n->stream);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_matmul(const nx_rebuild *r, nx_array **out)
{
    if (r->in[0]->ndim < 2 || r->in[1]->ndim < 2)
        return nx_fail("[matmul] the factors must be matrices");
    out[0] = nx_matmul(r->in[0], r->in[1], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Matmul = {
    .name = "Matmul",
    .id = NX_PRIM_Matmul,
    .flags = NX_PRIM_ANY_SHAPE,
    .infer = infer_product,
    .vjp = vjp_matmul,
    .vmap = vmap_matmul,
    .rebuild = rebuild_matmul,
    .least_in = 2,
    .most_in = 2,
};

static const nx_field addmm_fields[] = {
    {"alpha", NX_FIELD_FLOAT, offsetof(nx_addmm_params, alpha)},
    {"beta", NX_FIELD_FLOAT, offsetof(nx_addmm_params, beta)},
};

static bool vjp_addmm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_addmm_params *p = n->params;
    nx_stream *s = n->stream;
    if (wanted[0])
        out[0] = scaled(nx_matmul(g[0], adjoint(n->in[1], s), s), p->alpha, s);
    if (wanted[1])
        out[1] = scaled(nx_matmul(adjoint(n->in[0], s), g[0], s), p->alpha, s);
    if (wanted[2])
        out[2] = scaled(g[0], p->beta, s);
    return true;
}

static bool vmap_addmm(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    const nx_addmm_params *p = n->params;
    nx_stream *s = n->stream;
    nx_array *a = nx_batch_front(in[0], axes[0], s), *b = nx_batch_front(in[1], axes[1], s);
    nx_array *c = nx_batch_front(in[2], axes[2], s);
    if (axes[0] < 0 && axes[1] < 0) /* the product has to get the dimension from one of them */
        a = nx_batch_all(a, -1, nx_batch_size(in, axes, 3), s);
    out[0] = nx_addmm(c, a, b, p->alpha, p->beta, s);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_addmm(const nx_rebuild *r, nx_array **out)
{
    const nx_addmm_params *p = r->params;
    if (r->in[0]->ndim < 2 || r->in[1]->ndim < 2)
        return nx_fail("[addmm] the factors must be matrices");
    out[0] = nx_addmm(r->in[2], r->in[0], r->in[1], p->alpha, p->beta, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_AddMM = {
    .name = "AddMM",
    .id = NX_PRIM_AddMM,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_addmm_params),
    .fields = addmm_fields,
    .n_fields = 2,
    .infer = infer_product,
    .vjp = vjp_addmm,
    .vmap = vmap_addmm,
    .rebuild = rebuild_addmm,
    .least_in = 3,
    .most_in = 3,
};

/* The shape of the indices, then rows and columns. */
static bool infer_gather(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_array *a = in[0], *b = in[1], *index = in[2];
    nx_spec_like(&out[0], index, (nx_dtype)a->dtype);
    out[0].shape[out[0].ndim++] = a->shape[a->ndim - 2];
    out[0].shape[out[0].ndim++] = b->shape[b->ndim - 1];
    return true;
}

static const nx_field gather_fields[] = {
    {"left_sorted", NX_FIELD_BOOL, offsetof(nx_gather_mm_params, left_sorted)},
    {"right_sorted", NX_FIELD_BOOL, offsetof(nx_gather_mm_params, right_sorted)},
};

nx_array *nx_each_product(const nx_array *indices, nx_stream *s)
{
    nx_array *each = nx_arange(0, (double)indices->size, 1, NX_UINT32, s);
    return nx_reshape(each, indices->shape, indices->ndim, s);
}

nx_array *nx_add_products(nx_array *products, nx_array *places, const nx_array *like, nx_dtype dtype,
                          nx_stream *s)
{
    int n = 1, rows = like->shape[like->ndim - 2], columns = like->shape[like->ndim - 1];
    for (int i = 0; i < like->ndim - 2; i++)
        n *= like->shape[i];
    nx_array *sum = nx_zeros((int[]){n, rows, columns}, 3, dtype, s);
    products = nx_reshape(products, (int[]){(int)places->size, 1, rows, columns}, 4, s);
    places = nx_reshape(places, (int[]){(int)places->size}, 1, s);
    sum = nx_scatter(NX_UPDATE_ADD, sum, &places, 1, products, (int[]){0}, 1, s);
    return nx_reshape(sum, like->shape, like->ndim, s);
}

static bool vjp_gather_mm(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *a = n->in[0], *b = n->in[1], *left = n->in[2], *right = n->in[3];
    nx_stream *s = n->stream;
    nx_array *each = nx_each_product(left, s);
    nx_dtype t = (nx_dtype)a->dtype;
    if (wanted[0])
        out[0] = nx_add_products(nx_gather_mm(g[0], adjoint(b, s), each, right, false, s), left, a, t, s);
    if (wanted[1])
        out[1] = nx_add_products(nx_gather_mm(adjoint(a, s), g[0], left, each, false, s), right, b, t, s);
    for (int i = 2; i < 4; i++)
        if (wanted[i])
            out[i] = nx_array_none();
    return true;
}

nx_array *nx_batch_indices(nx_array *in, int axis, int size, bool each, int64_t matrices,
                           nx_stream *s)
{
    int shape[NX_MAX_NDIM + 1] = {size};
    nx_array *all = nx_batch_all(in, axis, size, s);
    if (!all || !each)
        return all;
    if (matrices * size > INT32_MAX)
        return nx_fail_null("[vmap] %lld matrices are too many", (long long)matrices * size);
    for (int i = 1; i < all->ndim; i++)
        shape[i] = 1;
    nx_array *first = nx_arange(0, (double)matrices * size, (double)(matrices ? matrices : 1), NX_UINT32, s);
    if (!matrices)
        first = nx_zeros((int[]){size}, 1, NX_UINT32, s);
    return nx_add(all, nx_reshape(first, shape, all->ndim, s), s);
}

static int64_t matrices_of(const nx_array *a)
{
    return nx_shape_size(a->shape, a->ndim - 2);
}

static bool vmap_gather_mm(nx_node *n, nx_array *const *in, const int *axes, nx_array **out,
                           int *out_axes)
{
    nx_gather_mm_params p = *(const nx_gather_mm_params *)n->params;
    nx_stream *s = n->stream;
    int size = nx_batch_size(in, axes, 4);
    nx_array *all[4];
    for (int i = 0; i < 2; i++) {
        all[i] = nx_batch_front(in[i], axes[i], s);
        all[i + 2] = nx_batch_indices(in[i + 2], axes[i + 2], size, axes[i] >= 0,
                                      matrices_of(n->in[i]), s);
    }
    p.left_sorted = p.left_sorted && axes[0] >= 0;
    p.right_sorted = p.right_sorted && axes[1] >= 0;
    out[0] = nx_op(&nx_prim_GatherMM, &p, all, 4, s);
    out_axes[0] = 0;
    return true;
}

static bool rebuild_gathermm(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_gather_mm(r->in[0], r->in[1], r->in[2], r->in[3], false, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_GatherMM = {
    .name = "GatherMM",
    .id = NX_PRIM_GatherMM,
    .row_inputs = 1 << 2 | 1 << 3,
    .params_size = sizeof(nx_gather_mm_params),
    .fields = gather_fields,
    .n_fields = 2,
    .infer = infer_gather,
    .vjp = vjp_gather_mm,
    .vmap = vmap_gather_mm,
    .rebuild = rebuild_gathermm,
    .least_in = 4,
    .most_in = 4,
};

/* The leading dimensions of the segments, then rows and columns. */
static bool infer_segmented(nx_array *const *in, int n_in, const void *params, nx_spec *out,
                            int n_out)
{
    const nx_array *a = in[0], *b = in[1], *segments = in[2];
    nx_spec_set(&out[0], segments->shape, segments->ndim - 1, (nx_dtype)a->dtype);
    out[0].shape[out[0].ndim++] = a->shape[0];
    out[0].shape[out[0].ndim++] = b->shape[1];
    return true;
}

/* [S, 1, K], one where a segment has the place. Products over all of K are taken and what lies outside
 * of their segment is left out. */
static nx_array *segment_mask(nx_array *segments, int length, nx_dtype dtype, nx_stream *s)
{
    nx_array *ends[2], *places = nx_arange(0, length, 1, NX_UINT32, s);
    if (!nx_split(nx_reshape(segments, (int[]){-1, 1, 2}, 3, s), 2, -1, s, ends))
        return NULL;
    return nx_astype(nx_logical_and(nx_greater_equal(places, ends[0], s), nx_less(places, ends[1], s), s),
                     dtype, s);
}

static bool vjp_segmented(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    nx_array *a = n->in[0], *b = n->in[1];
    nx_stream *s = n->stream;
    nx_array *mask = segment_mask(n->in[2], b->shape[0], (nx_dtype)a->dtype, s);
    int shape[3] = {(int)(n->in[2]->size / 2), a->shape[0], b->shape[1]}, first = 0;
    nx_array *c = nx_reshape(g[0], shape, 3, s);
    if (wanted[0])
        out[0] = nx_sum(nx_multiply(nx_matmul(c, adjoint(b, s), s), mask, s), &first, 1, false, s);
    if (wanted[1])
        out[1] = nx_sum(nx_multiply(nx_matmul(adjoint(a, s), c, s), nx_swapaxes(mask, 1, 2, s), s),
                        &first, 1, false, s);
    if (wanted[2])
        out[2] = nx_array_none();
    return true;
}

static bool rebuild_segmentedmm(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_segmented_mm(r->in[0], r->in[1], r->in[2], r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_SegmentedMM = {
    .name = "SegmentedMM",
    .id = NX_PRIM_SegmentedMM,
    .flags = NX_PRIM_VMAP_SLICES,
    .row_inputs = 1 << 2,
    .infer = infer_segmented,
    .vjp = vjp_segmented,
    .rebuild = rebuild_segmentedmm,
    .least_in = 3,
    .most_in = 3,
};

/* ---- builders ------------------------------------------------------------------------------- */

/* Two factors on their way: matrices of one type whose inner dimensions agree. */
typedef struct {
    nx_array *a, *b;
    bool a_was_1d, b_was_1d;
    nx_dtype dtype;
} factors;

static bool factors_check(const char *op, factors *f, unsigned types, const char *kind, nx_stream *s)
{
    nx_array *a = f->a, *b = f->b;
    if (a->ndim == 0 || b->ndim == 0)
        return nx_fail("[%s] Got 0 dimension input. Inputs must have at least one dimension.", op);
    f->a_was_1d = a->ndim == 1;
    f->b_was_1d = b->ndim == 1;
    if (f->a_was_1d)
        f->a = nx_expand_dims(a, 0, s);
    if (f->b_was_1d)
        f->b = nx_expand_dims(b, 1, s);
    if (!f->a || !f->b)
        return false;
    if (f->a->shape[f->a->ndim - 1] != f->b->shape[f->b->ndim - 2])
        return nx_fail("[%s] Last dimension of first input with shape %s must match second to last "
                       "dimension of second input with shape %s.", op, SHAPE(a), SHAPE(b));
    f->dtype = nx_promote((nx_dtype)a->dtype, (nx_dtype)b->dtype);
    if (!nx_dtype_in(f->dtype, types))
        return nx_fail("[%s] Only %s types are supported but %s and %s were provided which results "
                       "in %s, which is not a %s type.", op, kind,
                       nx_dtype_name((nx_dtype)a->dtype), nx_dtype_name((nx_dtype)b->dtype),
                       nx_dtype_name(f->dtype), types & NX_COMPLEXES ? "floating point" : kind);
    return true;
}

static bool factors_cast(factors *f, nx_stream *s)
{
    f->a = nx_astype(f->a, f->dtype, s);
    f->b = nx_astype(f->b, f->dtype, s);
    return f->a && f->b;
}

/* Takes the dimensions away again that one-dimensional factors were given. */
static nx_array *drop_added(nx_array *out, const factors *f, nx_stream *s)
{
    int axes[2], n = 0;
    if (f->a_was_1d)
        axes[n++] = -2;
    if (f->b_was_1d)
        axes[n++] = -1;
    return n && out ? nx_squeeze_axes(out, axes, n, s) : out;
}

nx_array *nx_matmul(nx_array *a, nx_array *b, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    factors f = {.a = a, .b = b};
    if (!factors_check("matmul", &f, NX_INEXACT, "inexact", s) || !factors_cast(&f, s))
        return NULL;
    nx_array *in[2] = {f.a, f.b};
    if (!nx_broadcast_leading(in, 2, 2, s))
        return NULL;
    return drop_added(nx_op(&nx_prim_Matmul, NULL, in, 2, s), &f, s);
}

/* c in the full shape of the product: [..., M, N], with the dimensions that will be dropped. */
static nx_array *addend(nx_array *c, nx_array *const *ab, const factors *f, nx_stream *s)
{
    nx_dims full = {.n = ab[0]->ndim}, kept = {0};
    for (int i = 0; i < full.n; i++)
        full.v[i] = i == full.n - 1 ? ab[1]->shape[full.n - 1] : ab[0]->shape[i];
    for (int i = 0; i < full.n; i++)
        if (!(f->a_was_1d && i == full.n - 2) && !(f->b_was_1d && i == full.n - 1))
            kept.v[kept.n++] = full.v[i];
    nx_dims both;
    if (!nx_broadcast_dims(c->shape, c->ndim, kept.v, kept.n, &both))
        return NULL;
    if (!nx_shape_equal(both.v, both.n, kept.v, kept.n))
        return nx_fail_null("[addmm] input c %s must broadcast to the output shape %s", SHAPE(c),
                            nx_shape_text(kept.v, kept.n));
    c = nx_broadcast_to(nx_astype(c, f->dtype, s), kept.v, kept.n, s);
    return c && kept.n != full.n ? nx_reshape(c, full.v, full.n, s) : c;
}

nx_array *nx_addmm(nx_array *c, nx_array *a, nx_array *b, float alpha, float beta, nx_stream *s)
{
    if (!a || !b || !c)
        return NULL;
    factors f = {.a = a, .b = b};
    if (!factors_check("addmm", &f, NX_INEXACT, "inexact", s))
        return NULL;
    f.dtype = nx_promote(f.dtype, (nx_dtype)c->dtype);
    if (!factors_cast(&f, s))
        return NULL;
    nx_array *in[3] = {f.a, f.b, NULL};
    if (!nx_broadcast_leading(in, 2, 2, s))
        return NULL;
    in[2] = addend(c, in, &f, s);
    if (!in[2])
        return NULL;
    nx_addmm_params p = {alpha, beta};
    return drop_added(nx_op(&nx_prim_AddMM, &p, in, 3, s), &f, s);
}

/* Indices given, or those of each matrix in turn, as uint32. */
static nx_array *indices_or_all(const char *op, const char *name, nx_array *index,
                                const nx_array *of, nx_stream *s)
{
    if (!index) {
        int64_t n = nx_shape_size(of->shape, of->ndim - 2);
        if (n > INT32_MAX)
            return nx_fail_null("[%s] %lld matrices are too many", op, (long long)n);
        nx_array *all = nx_array_new(of->shape, of->ndim - 2, NX_UINT32);
        for (int64_t i = 0; all && i < n; i++)
            ((uint32_t *)(void *)all->data)[i] = (uint32_t)i;
        return all;
    }
    if (!nx_dtype_in((nx_dtype)index->dtype, NX_INTEGERS))
        return nx_fail_null("[%s] Got %s with invalid dtype. Indices must be integral.", op, name);
    return nx_astype(index, NX_UINT32, s);
}

bool nx_matrix_indices(const char *op, nx_array *a, nx_array *b, nx_array **lhs, nx_array **rhs,
                       nx_stream *s)
{
    nx_array *both[2] = {indices_or_all(op, "lhs_indices", *lhs, a, s), NULL};
    both[1] = both[0] ? indices_or_all(op, "rhs_indices", *rhs, b, s) : NULL;
    if (!both[0] || !both[1] || !nx_broadcast_arrays(both, 2, s))
        return false;
    *lhs = both[0];
    *rhs = both[1];
    if ((*lhs)->size == 0)
        return true;
    if (nx_shape_size(a->shape, a->ndim - 2) == 0 || nx_shape_size(b->shape, b->ndim - 2) == 0)
        return nx_fail("[%s] there are no matrices the indices could name", op);
    if ((*lhs)->ndim + 2 > NX_MAX_NDIM)
        return nx_fail("[%s] indices of %d dimensions are too many", op, (*lhs)->ndim);
    return true;
}

nx_array *nx_gather_mm(nx_array *a, nx_array *b, nx_array *lhs_indices, nx_array *rhs_indices,
                       bool sorted, nx_stream *s)
{
    if (!a || !b)
        return NULL;
    if (!lhs_indices && !rhs_indices)
        return nx_matmul(a, b, s);
    factors f = {.a = a, .b = b};
    if (!factors_check("gather_mm", &f, NX_FLOATS, "real floating point", s) ||
        !factors_cast(&f, s))
        return NULL;
    nx_gather_mm_params p = {sorted && !rhs_indices, sorted && !lhs_indices};
    if (!nx_matrix_indices("gather_mm", f.a, f.b, &lhs_indices, &rhs_indices, s))
        return NULL;
    nx_array *in[4] = {f.a, f.b, lhs_indices, rhs_indices};
    return drop_added(nx_op(&nx_prim_GatherMM, &p, in, 4, s), &f, s);
}

nx_array *nx_segmented_mm(nx_array *a, nx_array *b, nx_array *segments, nx_stream *s)
{
    if (!a || !b || !segments)
        return NULL;
    if (!nx_dtype_in((nx_dtype)segments->dtype, NX_INTEGERS))
        return nx_fail_null("[segmented_mm] Got segments with invalid dtype. Segments must be "
                            "integral.");
    if (segments->ndim < 1 || segments->shape[segments->ndim - 1] != 2)
        return nx_fail_null("[segmented_mm] The segments should have shape (..., 2) but %s was "
                            "provided.", SHAPE(segments));
    if (a->ndim > 2 || b->ndim > 2)
        return nx_fail_null("[segmented_mm] Batched matmul not supported, of %s and %s", SHAPE(a), SHAPE(b));
    factors f = {.a = a, .b = b};
    if (!factors_check("segmented_mm", &f, NX_FLOATS, "real floating point", s) ||
        !factors_cast(&f, s))
        return NULL;
    nx_array *in[3] = {f.a, f.b, nx_astype(segments, NX_UINT32, s)};
    return drop_added(nx_op(&nx_prim_SegmentedMM, NULL, in, 3, s), &f, s);
}
