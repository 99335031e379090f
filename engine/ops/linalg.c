/*
 * linalg.c: QRF, SVD, Inverse, Cholesky, Eig, Eigh, LUF: what LAPACK computes, of the matrices in the
 * last two axes. As in MLX they run on the CPU alone, and inverses and Cholesky factors have
 * derivatives (which MLX's lack).
 */
#include "engine/ops/linalg.h"

#include <string.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/creation.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/matmul.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

bool nx_matrix_check(const char *op, const nx_array *a, unsigned dtypes, bool square)
{
    if (!nx_dtype_in((nx_dtype)a->dtype, dtypes))
        return nx_fail("[linalg::%s] Arrays must have type float32%s float64%s. Received array with "
                       "type %s.", op, dtypes & NX_COMPLEXES ? "," : " or",
                       dtypes & NX_COMPLEXES ? " or complex64" : "", nx_dtype_name((nx_dtype)a->dtype));
    if (a->ndim < 2)
        return nx_fail("[linalg::%s] Arrays must have >= 2 dimensions. Received array with %d "
                       "dimensions.", op, a->ndim);
    if (square && a->shape[a->ndim - 1] != a->shape[a->ndim - 2])
        return nx_fail("[linalg::%s] Only defined for square matrices, not for shape %s.", op,
                       nx_shape_text(a->shape, a->ndim));
    return true;
}

static int rows(const nx_array *a)
{
    return a->shape[a->ndim - 2];
}

static int cols(const nx_array *a)
{
    return a->shape[a->ndim - 1];
}

static int smaller(const nx_array *a)
{
    return rows(a) < cols(a) ? rows(a) : cols(a);
}

/* The batch of `a` with matrices of m by n, or, for n < 0, lists of m. */
static void spec_of(nx_spec *out, const nx_array *a, int m, int n, nx_dtype dtype)
{
    nx_spec_like(out, a, dtype);
    out->shape[a->ndim - 2] = m;
    if (n < 0)
        out->ndim--;
    else
        out->shape[a->ndim - 1] = n;
}

static nx_dtype real_of(const nx_array *a)
{
    return a->dtype == NX_COMPLEX64 ? NX_FLOAT32 : (nx_dtype)a->dtype;
}

/* Every output has the batch's dimension in front too. */
static bool vmap_matrix(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    for (int i = 0; i < n->n_out; i++)
        out_axes[i] = 0;
    return nx_vmap_front(n, in, axes, out, out_axes);
}

static nx_array *transposed(nx_array *a, nx_stream *s)
{
    return nx_swapaxes(a, -1, -2, s);
}

/* A file of functions may say anything about how many outputs there are. */
static bool has_outputs(const nx_rebuild *r, int n)
{
    return r->n_out == n || nx_fail("[%s] has %d outputs, not %d", r->prim->name, n, r->n_out);
}

/* ---- QR ------------------------------------------------------------------------------------- */

static bool infer_qr(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    spec_of(&out[0], in[0], rows(in[0]), smaller(in[0]), (nx_dtype)in[0]->dtype);
    spec_of(&out[1], in[0], smaller(in[0]), cols(in[0]), (nx_dtype)in[0]->dtype);
    return true;
}

static bool rebuild_qr(const nx_rebuild *r, nx_array **out)
{
    return has_outputs(r, 2) && nx_qr(r->in[0], r->s, out);
}

const nx_prim nx_prim_QRF = {
    .name = "QRF",
    .id = NX_PRIM_QRF,
    .row_inputs = 1,
    .infer = infer_qr,
    .vmap = vmap_matrix,
    .rebuild = rebuild_qr,
    .least_in = 1,
    .most_in = 1,
};

bool nx_qr(nx_array *a, nx_stream *s, nx_array **out)
{
    return a && nx_matrix_check("qr", a, NX_REAL_MATRIX, false) &&
           nx_op_n(&nx_prim_QRF, NULL, &a, 1, s, out, 2);
}

/* ---- singular values ------------------------------------------------------------------------- */

static bool infer_svd(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_array *a = in[0];
    bool vectors = ((const nx_vectors_params *)params)->vectors;
    spec_of(&out[vectors ? 1 : 0], a, smaller(a), -1, real_of(a));
    if (vectors) {
        spec_of(&out[0], a, rows(a), rows(a), (nx_dtype)a->dtype);
        spec_of(&out[2], a, cols(a), cols(a), (nx_dtype)a->dtype);
    }
    return true;
}

static const nx_field vectors_fields[] = {
    {"compute_vectors", NX_FIELD_BOOL, offsetof(nx_vectors_params, vectors)},
};

static bool rebuild_svd(const nx_rebuild *r, nx_array **out)
{
    bool vectors = ((const nx_vectors_params *)r->params)->vectors;
    return has_outputs(r, vectors ? 3 : 1) && nx_svd(r->in[0], vectors, r->s, out);
}

const nx_prim nx_prim_SVD = {
    .name = "SVD",
    .id = NX_PRIM_SVD,
    .params_size = sizeof(nx_vectors_params),
    .fields = vectors_fields,
    .n_fields = 1,
    .row_inputs = 1,
    .infer = infer_svd,
    .vmap = vmap_matrix,
    .rebuild = rebuild_svd,
    .least_in = 1,
    .most_in = 1,
};

bool nx_svd(nx_array *a, bool vectors, nx_stream *s, nx_array **out)
{
    nx_vectors_params p = {vectors};
    return a && nx_matrix_check("svd", a, NX_REAL_MATRIX | NX_COMPLEXES, false) &&
           nx_op_n(&nx_prim_SVD, &p, &a, 1, s, out, vectors ? 3 : 1);
}

/* ---- inverses --------------------------------------------------------------------------------- */

static bool infer_same(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(out, in[0], (nx_dtype)in[0]->dtype);
    return true;
}

/* The triangle of a triangular result's cotangent that counts. */
static nx_array *triangle(nx_array *a, bool upper, nx_stream *s)
{
    return upper ? nx_triu(a, 0, s) : nx_tril(a, 0, s);
}

/* Y = A^-1: dY = -Y dA Y, so the cotangent of A is -Y^T G Y^T. */
static bool vjp_inverse(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_inverse_params *p = n->params;
    nx_array *y = nx_op(&nx_prim_Inverse, p, n->in, 1, n->stream);
    nx_array *turned = y ? transposed(y, n->stream) : NULL;
    nx_array *d = nx_matmul(nx_matmul(turned, g[0], n->stream), turned, n->stream);
    d = nx_negative(d, n->stream);
    out[0] = p->tri ? triangle(d, p->upper, n->stream) : d;
    return out[0] != NULL;
}

static bool jvp_inverse(nx_node *n, nx_array *const *t, nx_array **out)
{
    const nx_inverse_params *p = n->params;
    nx_array *y = nx_op(&nx_prim_Inverse, p, n->in, 1, n->stream);
    nx_array *d = p->tri ? triangle(t[0], p->upper, n->stream) : t[0];
    out[0] = nx_negative(nx_matmul(nx_matmul(y, d, n->stream), y, n->stream), n->stream);
    return out[0] != NULL;
}

static const nx_field inverse_fields[] = {
    {"tri", NX_FIELD_BOOL, offsetof(nx_inverse_params, tri)},
    {"upper", NX_FIELD_BOOL, offsetof(nx_inverse_params, upper)},
};

static nx_array *inverse(nx_array *a, nx_inverse_params p, nx_stream *s)
{
    if (!a || !nx_matrix_check("inv", a, NX_REAL_MATRIX, true))
        return NULL;
    return nx_op(&nx_prim_Inverse, &p, &a, 1, s);
}

static bool rebuild_inverse(const nx_rebuild *r, nx_array **out)
{
    out[0] = inverse(r->in[0], *(const nx_inverse_params *)r->params, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Inverse = {
    .name = "Inverse",
    .id = NX_PRIM_Inverse,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_inverse_params),
    .fields = inverse_fields,
    .n_fields = 2,
    .row_inputs = 1,
    .infer = infer_same,
    .vjp = vjp_inverse,
    .jvp = jvp_inverse,
    .vmap = vmap_matrix,
    .rebuild = rebuild_inverse,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_inv(nx_array *a, nx_stream *s)
{
    return inverse(a, (nx_inverse_params){false, true}, s);
}

nx_array *nx_tri_inv(nx_array *a, bool upper, nx_stream *s)
{
    return inverse(a, (nx_inverse_params){true, upper}, s);
}

/* ---- Cholesky --------------------------------------------------------------------------------- */

/* The lower triangle with half of the diagonal. */
static nx_array *half_lower(nx_array *a, nx_stream *s)
{
    nx_array *half = nx_scalar(0.5, a ? (nx_dtype)a->dtype : NX_FLOAT32);
    return a ? nx_multiply(nx_add(nx_tril(a, 0, s), nx_tril(a, -1, s), s), half, s) : NULL;
}

/* A = L L^T: with P = half_lower(L^T G), the cotangent of A is L^-T (P + P^T) L^-1 / 2. */
static bool vjp_cholesky(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_cholesky_params *p = n->params;
    nx_stream *s = n->stream;
    nx_array *l = nx_cholesky(n->in[0], false, s), *cotangent = g[0];
    if (p->upper)
        cotangent = transposed(cotangent, s);
    nx_array *back = nx_tri_inv(l, false, s);
    nx_array *phi = l ? half_lower(nx_matmul(transposed(l, s), cotangent, s), s) : NULL;
    if (!phi || !back)
        return false;
    phi = nx_multiply(nx_add(phi, transposed(phi, s), s), nx_scalar(0.5, (nx_dtype)phi->dtype), s);
    out[0] = nx_matmul(nx_matmul(transposed(back, s), phi, s), back, s);
    return out[0] != NULL;
}

/* dL = L half_lower(L^-1 dA L^-T). */
static bool jvp_cholesky(nx_node *n, nx_array *const *t, nx_array **out)
{
    const nx_cholesky_params *p = n->params;
    nx_stream *s = n->stream;
    nx_array *l = nx_cholesky(n->in[0], false, s), *back = nx_tri_inv(l, false, s);
    if (!back)
        return false;
    nx_array *d = nx_matmul(nx_matmul(back, t[0], s), transposed(back, s), s);
    d = nx_matmul(l, half_lower(d, s), s);
    out[0] = p->upper && d ? transposed(d, s) : d;
    return out[0] != NULL;
}

static const nx_field cholesky_fields[] = {
    {"upper", NX_FIELD_BOOL, offsetof(nx_cholesky_params, upper)},
};

static bool rebuild_cholesky(const nx_rebuild *r, nx_array **out)
{
    out[0] = nx_cholesky(r->in[0], ((const nx_cholesky_params *)r->params)->upper, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_Cholesky = {
    .name = "Cholesky",
    .id = NX_PRIM_Cholesky,
    .flags = NX_PRIM_ANY_SHAPE,
    .params_size = sizeof(nx_cholesky_params),
    .fields = cholesky_fields,
    .n_fields = 1,
    .row_inputs = 1,
    .infer = infer_same,
    .vjp = vjp_cholesky,
    .jvp = jvp_cholesky,
    .vmap = vmap_matrix,
    .rebuild = rebuild_cholesky,
    .least_in = 1,
    .most_in = 1,
};

nx_array *nx_cholesky(nx_array *a, bool upper, nx_stream *s)
{
    nx_cholesky_params p = {upper};
    if (!a || !nx_matrix_check("cholesky", a, NX_REAL_MATRIX, true))
        return NULL;
    return nx_op(&nx_prim_Cholesky, &p, &a, 1, s);
}

/* ---- LU ---------------------------------------------------------------------------------------- */

static bool infer_lu(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    nx_spec_like(&out[0], in[0], (nx_dtype)in[0]->dtype);
    spec_of(&out[1], in[0], smaller(in[0]), -1, NX_UINT32); /* which rows were exchanged */
    spec_of(&out[2], in[0], rows(in[0]), -1, NX_UINT32);    /* where each row of A is in L */
    return true;
}

static bool lu_parts(const char *op, nx_array *a, nx_stream *s, nx_array **out)
{
    return a && nx_matrix_check(op, a, NX_REAL_MATRIX, false) &&
           nx_op_n(&nx_prim_LUF, NULL, &a, 1, s, out, 3);
}

static bool rebuild_lu(const nx_rebuild *r, nx_array **out)
{
    return has_outputs(r, 3) && lu_parts("lu", r->in[0], r->s, out);
}

const nx_prim nx_prim_LUF = {
    .name = "LUF",
    .id = NX_PRIM_LUF,
    .row_inputs = 1,
    .infer = infer_lu,
    .vmap = vmap_matrix,
    .rebuild = rebuild_lu,
    .least_in = 1,
    .most_in = 1,
};

bool nx_lu_factor(nx_array *a, nx_stream *s, nx_array **out)
{
    nx_array *parts[3];
    if (!lu_parts("lu_factor", a, s, parts))
        return false;
    out[0] = parts[0];
    out[1] = parts[1];
    return true;
}

/* The first `rows` rows and `cols` columns of each matrix. */
static nx_array *corner(nx_array *a, int n_rows, int n_cols, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], ones[NX_MAX_NDIM];
    for (int i = 0; i < a->ndim; i++) {
        stop[i] = a->shape[i];
        ones[i] = 1;
    }
    if (n_rows == rows(a) && n_cols == cols(a))
        return a;
    stop[a->ndim - 2] = n_rows;
    stop[a->ndim - 1] = n_cols;
    return nx_slice(a, start, a->ndim, stop, a->ndim, ones, a->ndim, s);
}

bool nx_lu(nx_array *a, nx_stream *s, nx_array **out)
{
    nx_array *parts[3];
    if (!lu_parts("lu", a, s, parts))
        return false;
    int m = rows(a), n = cols(a), k = smaller(a);
    nx_array *l = nx_tril(corner(parts[0], m, k, s), -1, s);
    out[0] = parts[2];
    out[1] = k ? nx_add(l, nx_eye(m, k, 0, (nx_dtype)a->dtype, s), s) : l;
    out[2] = nx_triu(corner(parts[0], k, n, s), 0, s);
    return out[1] && out[2];
}

/* ---- eigenvalues -------------------------------------------------------------------------------- */

static bool infer_eig(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    spec_of(&out[0], in[0], rows(in[0]), -1, NX_COMPLEX64);
    if (n_out > 1)
        nx_spec_like(&out[1], in[0], NX_COMPLEX64);
    return true;
}

static bool rebuild_eig(const nx_rebuild *r, nx_array **out)
{
    bool vectors = ((const nx_vectors_params *)r->params)->vectors;
    return has_outputs(r, vectors ? 2 : 1) && nx_eig(r->in[0], vectors, r->s, out);
}

const nx_prim nx_prim_Eig = {
    .name = "Eig",
    .id = NX_PRIM_Eig,
    .params_size = sizeof(nx_vectors_params),
    .fields = vectors_fields,
    .n_fields = 1,
    .row_inputs = 1,
    .infer = infer_eig,
    .vmap = vmap_matrix,
    .rebuild = rebuild_eig,
    .least_in = 1,
    .most_in = 1,
};

bool nx_eig(nx_array *a, bool vectors, nx_stream *s, nx_array **out)
{
    nx_vectors_params p = {vectors};
    const char *op = vectors ? "eig" : "eigvals";
    return a && nx_matrix_check(op, a, NX_REAL_MATRIX | NX_COMPLEXES, true) &&
           nx_op_n(&nx_prim_Eig, &p, &a, 1, s, out, vectors ? 2 : 1);
}

static bool infer_eigh(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    spec_of(&out[0], in[0], rows(in[0]), -1, real_of(in[0]));
    if (n_out > 1)
        nx_spec_like(&out[1], in[0], (nx_dtype)in[0]->dtype);
    return true;
}

static const nx_field eigh_fields[] = {
    {"upper", NX_FIELD_UPPER, offsetof(nx_eigh_params, upper)},
    {"compute_vectors", NX_FIELD_BOOL, offsetof(nx_eigh_params, vectors)},
};

static bool rebuild_eigh(const nx_rebuild *r, nx_array **out)
{
    const nx_eigh_params *p = r->params;
    return has_outputs(r, p->vectors ? 2 : 1) &&
           nx_eigh(r->in[0], p->upper ? "U" : "L", p->vectors, r->s, out);
}

const nx_prim nx_prim_Eigh = {
    .name = "Eigh",
    .id = NX_PRIM_Eigh,
    .params_size = sizeof(nx_eigh_params),
    .fields = eigh_fields,
    .n_fields = 2,
    .row_inputs = 1,
    .infer = infer_eigh,
    .vmap = vmap_matrix,
    .rebuild = rebuild_eigh,
    .least_in = 1,
    .most_in = 1,
};

bool nx_eigh(nx_array *a, const char *uplo, bool vectors, nx_stream *s, nx_array **out)
{
    const char *op = vectors ? "eigh" : "eigvalsh";
    if (!a || !nx_matrix_check(op, a, NX_REAL_MATRIX | NX_COMPLEXES, true))
        return false;
    if (!strchr("LlUu", uplo[0]) || !uplo[0] || uplo[1])
        return nx_fail("[linalg::%s] the triangle is \"L\" or \"U\", not \"%s\"", op, uplo);
    nx_eigh_params p = {uplo[0] == 'U' || uplo[0] == 'u', vectors};
    return nx_op_n(&nx_prim_Eigh, &p, &a, 1, s, out, vectors ? 2 : 1);
}
