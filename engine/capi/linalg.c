/* linalg.h: linear algebra. */
#include "engine/capi/capi.h"
#include "engine/ops/linalg.h"

/* Two results, each its own parameter. */
static int give_two(mlx_array *first, mlx_array *second, bool built, nx_array *const *out)
{
    if (!built)
        return nx_report();
    nx_handle_set_take(first, nx_array_ref(out[0]));
    nx_handle_set_take(second, nx_array_ref(out[1]));
    return 0;
}

#define GIVE_TWO(expression)                                                                       \
    do {                                                                                           \
        nx_array *out[3];                                                                          \
        NX_SCOPE;                                                                                  \
        bool built_ = (expression);                                                                \
        return give_two(NX_POINTER(res_0), NX_POINTER(res_1), built_, out);                        \
    } while (0)

/* ---- decompositions ------------------------------------------------------------------------- */

int mlx_linalg_cholesky(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s)
{
    NX_GIVE(nx_cholesky(NX_ARRAY(a), upper, NX_STREAM(s)));
}
int mlx_linalg_lu(mlx_vector_array *res, const mlx_array a, const mlx_stream s)
{
    nx_array *out[3];
    NX_GIVE_VECTOR(out, 3, nx_lu(NX_ARRAY(a), NX_STREAM(s), out));
}
int mlx_linalg_lu_factor(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s)
{
    GIVE_TWO(nx_lu_factor(NX_ARRAY(a), NX_STREAM(s), out));
}
int mlx_linalg_qr(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s)
{
    GIVE_TWO(nx_qr(NX_ARRAY(a), NX_STREAM(s), out));
}
int mlx_linalg_svd(mlx_vector_array *res, const mlx_array a, bool compute_uv, const mlx_stream s)
{
    nx_array *out[3];
    NX_GIVE_VECTOR(out, compute_uv ? 3 : 1, nx_svd(NX_ARRAY(a), compute_uv, NX_STREAM(s), out));
}
int mlx_linalg_eig(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const mlx_stream s)
{
    GIVE_TWO(nx_eig(NX_ARRAY(a), true, NX_STREAM(s), out));
}
int mlx_linalg_eigvals(mlx_array *res, const mlx_array a, const mlx_stream s)
{
    nx_array *out;
    NX_GIVE(nx_eig(NX_ARRAY(a), false, NX_STREAM(s), &out) ? out : NULL);
}
int mlx_linalg_eigh(mlx_array *res_0, mlx_array *res_1, const mlx_array a, const char *UPLO,
                    const mlx_stream s)
{
    GIVE_TWO(nx_eigh(NX_ARRAY(a), NX_POINTER(UPLO), true, NX_STREAM(s), out));
}
int mlx_linalg_eigvalsh(mlx_array *res, const mlx_array a, const char *UPLO, const mlx_stream s)
{
    nx_array *out;
    NX_GIVE(nx_eigh(NX_ARRAY(a), NX_POINTER(UPLO), false, NX_STREAM(s), &out) ? out : NULL);
}

/* ---- inverses and equations ------------------------------------------------------------------ */

NX_UNARY(mlx_linalg_inv, nx_inv)
NX_UNARY(mlx_linalg_pinv, nx_pinv)
NX_BINARY(mlx_linalg_solve, nx_solve)
int mlx_linalg_tri_inv(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s)
{
    NX_GIVE(nx_tri_inv(NX_ARRAY(a), upper, NX_STREAM(s)));
}
int mlx_linalg_cholesky_inv(mlx_array *res, const mlx_array a, bool upper, const mlx_stream s)
{
    NX_GIVE(nx_cholesky_inv(NX_ARRAY(a), upper, NX_STREAM(s)));
}
int mlx_linalg_solve_triangular(mlx_array *res, const mlx_array a, const mlx_array b, bool upper,
                                const mlx_stream s)
{
    NX_GIVE(nx_solve_triangular(NX_ARRAY(a), NX_ARRAY(b), upper, NX_STREAM(s)));
}

/* ---- norms and products ------------------------------------------------------------------------ */

/* NULL: no axis was given. */
#define NORM_AXES axis ? NX_LIST(axis, axis_num, NX_MAX_NDIM) : NULL, axis ? (int)axis_num : -1

int mlx_linalg_norm(mlx_array *res, const mlx_array a, double ord, const int *axis, size_t axis_num,
                    bool keepdims, const mlx_stream s)
{
    NX_GIVE(nx_norm(NX_ARRAY(a), ord, NORM_AXES, keepdims, NX_STREAM(s)));
}
int mlx_linalg_norm_matrix(mlx_array *res, const mlx_array a, const char *ord, const int *axis,
                           size_t axis_num, bool keepdims, const mlx_stream s)
{
    NX_GIVE(nx_norm_named(NX_ARRAY(a), NX_POINTER(ord), NORM_AXES, keepdims, NX_STREAM(s)));
}
int mlx_linalg_norm_l2(mlx_array *res, const mlx_array a, const int *axis, size_t axis_num,
                       bool keepdims, const mlx_stream s)
{
    NX_GIVE(nx_norm_l2(NX_ARRAY(a), NORM_AXES, keepdims, NX_STREAM(s)));
}
int mlx_linalg_cross(mlx_array *res, const mlx_array a, const mlx_array b, int axis,
                     const mlx_stream s)
{
    NX_GIVE(nx_cross(NX_ARRAY(a), NX_ARRAY(b), axis, NX_STREAM(s)));
}
