/*
 * fft.c: FFT: the discrete Fourier transform X[k] = sum x[j] exp(-2 pi i j k / n) over one or more
 * axes, and its inverse, which divides by n. A real transform goes along the last of the axes from n
 * real points to n / 2 + 1 complex ones; its inverse reads only the real part of the ends of those.
 */
#include "engine/ops/fft.h"

#include <math.h>

#include "base/error.h"
#include "engine/core/prim.h"
#include "engine/ops/axes.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/params.h"
#include "engine/ops/prims.h"
#include "engine/ops/rules.h"
#include "engine/ops/slice.h"

static int last_axis(const nx_fft_params *p)
{
    return p->axes.v[p->axes.n - 1];
}

/* Of an inverse real transform the length cannot be told from the input: n is even or odd. The
 * builder sets it. */
static bool infer_fft(nx_array *const *in, int n_in, const void *params, nx_spec *out, int n_out)
{
    const nx_fft_params *p = params;
    nx_spec_like(out, in[0], p->real && p->inverse ? NX_FLOAT32 : NX_COMPLEX64);
    if (!p->real)
        return true;
    int *size = &out->shape[last_axis(p)];
    *size = p->inverse ? 2 * (*size - 1) : *size / 2 + 1;
    return true;
}

/* The operation with the spectrum's length on one side and n points on the other. */
static nx_array *transform(nx_array *a, const nx_fft_params *p, int n, nx_stream *s)
{
    nx_spec out;
    if (!a)
        return NULL;
    infer_fft(&a, 1, p, &out, 1);
    if (p->real && p->inverse)
        out.shape[last_axis(p)] = n;
    return nx_op_spec(&nx_prim_FFT, p, &a, 1, s, &out);
}

static int points(const nx_node *node, const nx_fft_params *p)
{
    return node->out[0].shape[last_axis(p)];
}

/* The number of points over all axes, counted where they are all there. */
static double total_points(const nx_array *a, const nx_fft_params *p)
{
    double total = 1;
    for (int i = 0; i < p->axes.n; i++)
        total *= a->shape[p->axes.v[i]];
    return total;
}

/* What a point of a half spectrum stands for in the whole one: `end` where it is its own mirror
 * image, else `middle`. Shaped to multiply along the last axis of the transform. */
static nx_array *half_weights(const nx_array *like, const nx_fft_params *p, int n, float end,
                              float middle)
{
    int shape[NX_MAX_NDIM], axis = last_axis(p), half = n / 2 + 1;
    for (int i = 0; i < like->ndim; i++)
        shape[i] = i == axis ? half : 1;
    nx_array *w = nx_array_new(shape, like->ndim, NX_FLOAT32);
    if (!w)
        return NULL;
    for (int k = 0; k < half; k++)
        ((float *)w->data)[k] = k == 0 || 2 * k == n ? end : middle;
    return w;
}

/* The transform is linear, so its vjp is its adjoint: the opposite transform, without its factor. */
static bool vjp_fft(nx_node *n, nx_array *const *g, const bool *wanted, nx_array **out)
{
    const nx_fft_params *p = n->params;
    nx_fft_params back = *p;
    back.inverse = !p->inverse;
    const nx_array *x = n->in[0], *y = &n->out[0];
    nx_array *cotangent = g[0];
    if (p->real && !p->inverse) { /* each point of the half spectrum counts once, not twice */
        double total = total_points(x, p);
        nx_array *w = half_weights(y, p, x->shape[last_axis(p)], (float)total, (float)(total / 2));
        cotangent = nx_multiply(cotangent, w, n->stream);
        out[0] = transform(cotangent, &back, x->shape[last_axis(p)], n->stream);
    } else if (p->real) {
        double total = total_points(y, p);
        nx_array *w = half_weights(x, p, points(n, p), (float)(1 / total), (float)(2 / total));
        out[0] = nx_multiply(transform(cotangent, &back, 0, n->stream), w, n->stream);
    } else {
        double total = total_points(x, p);
        nx_array *factor = nx_scalar_float((float)(p->inverse ? 1 / total : total));
        out[0] = nx_multiply(transform(cotangent, &back, 0, n->stream), factor, n->stream);
    }
    return out[0] != NULL;
}

static bool jvp_fft(nx_node *n, nx_array *const *t, nx_array **out)
{
    out[0] = transform(t[0], n->params, points(n, n->params), n->stream);
    return out[0] != NULL;
}

static bool vmap_fft(nx_node *n, nx_array *const *in, const int *axes, nx_array **out, int *out_axes)
{
    nx_fft_params p = *(const nx_fft_params *)n->params;
    nx_array *a = nx_batch_front(in[0], axes[0], n->stream);
    nx_axes_shift(&p.axes);
    out[0] = transform(a, &p, points(n, n->params), n->stream);
    out_axes[0] = 0;
    return out[0] != NULL;
}

static const nx_field fft_fields[] = {
    {"axes", NX_FIELD_SIZES, offsetof(nx_fft_params, axes)},
    {"inverse", NX_FIELD_BOOL, offsetof(nx_fft_params, inverse)},
    {"real", NX_FIELD_BOOL, offsetof(nx_fft_params, real)},
};

/* Back to real numbers the result alone tells how many there are. */
static bool rebuild_fft(const nx_rebuild *r, nx_array **out)
{
    const nx_fft_params *p = r->params;
    const nx_array *a = r->in[0];
    int n[NX_MAX_NDIM];
    for (int i = 0; i < p->axes.n; i++) {
        int axis = p->axes.v[i];
        bool last = p->real && p->inverse && i == p->axes.n - 1;
        if (axis < 0 || axis >= a->ndim || (r->told && r->told[0].ndim != a->ndim))
            return nx_fail("[fft] axis %d is out of range for %d dimensions", axis, a->ndim);
        n[i] = !last ? a->shape[axis] : r->told ? r->told[0].shape[axis] : 2 * (a->shape[axis] - 1);
    }
    out[0] = nx_fftn(r->in[0], n, p->axes.n, p->axes.v, p->axes.n, p->real ? NX_FFT_REAL : NX_FFT_COMPLEX,
                     p->inverse, NX_FFT_BACKWARD, r->s);
    return out[0] != NULL;
}

const nx_prim nx_prim_FFT = {
    .name = "FFT",
    .id = NX_PRIM_FFT,
    .params_size = sizeof(nx_fft_params),
    .fields = fft_fields,
    .n_fields = 3,
    .infer = infer_fft,
    .vjp = vjp_fft,
    .jvp = jvp_fft,
    .vmap = vmap_fft,
    .rebuild = rebuild_fft,
    .least_in = 1,
    .most_in = 1,
};

/* ---- builders ------------------------------------------------------------------------------ */

/* The input cut and filled with zeros to the sizes that the transform reads. */
static nx_array *fit(nx_array *a, const int *shape, nx_stream *s)
{
    int start[NX_MAX_NDIM] = {0}, stop[NX_MAX_NDIM], ones[NX_MAX_NDIM];
    int axes[NX_MAX_NDIM], low[NX_MAX_NDIM] = {0}, high[NX_MAX_NDIM];
    bool cut = false, fill = false;
    for (int i = 0; i < a->ndim; i++) {
        stop[i] = shape[i] < a->shape[i] ? shape[i] : a->shape[i];
        high[i] = shape[i] - stop[i];
        ones[i] = 1;
        axes[i] = i;
        cut |= stop[i] < a->shape[i];
        fill |= high[i] > 0;
    }
    if (cut)
        a = nx_slice(a, start, a->ndim, stop, a->ndim, ones, a->ndim, s);
    if (fill && a)
        a = nx_pad(a, axes, a->ndim, low, a->ndim, high, a->ndim, nx_scalar(0, (nx_dtype)a->dtype),
                   "constant", s);
    return a;
}

/* What MLX multiplies with besides the inverse's own 1 / total. */
static double norm_factor(nx_fft_norm norm, bool inverse, double total)
{
    if (norm == NX_FFT_BACKWARD)
        return 1;
    double full = inverse ? total : 1 / total;
    return norm == NX_FFT_FORWARD ? full : sqrt(full);
}

nx_array *nx_fftn(nx_array *a, const int *n, int n_n, const int *axes, int n_axes, nx_fft_kind kind,
                  bool inverse, nx_fft_norm norm, nx_stream *s)
{
    nx_fft_params p = {.inverse = inverse, .real = kind == NX_FFT_REAL};
    int shape[NX_MAX_NDIM];
    double total = 1;
    if (!a)
        return NULL;
    if (a->ndim < 1)
        return nx_fail_null("[fftn] Requires array with at least one dimension.");
    if (n_n != n_axes)
        return nx_fail_null("[fftn] Shape and axes have different sizes: %d and %d.", n_n, n_axes);
    if (norm > NX_FFT_FORWARD)
        return nx_fail_null("[fftn] %d is no way to divide by the number of points.", (int)norm);
    if (n_axes == 0)
        return a;
    if (!nx_axes_fix("fftn", axes, n_axes, a->ndim, &p.axes))
        return NULL;
    for (int i = 0; i < a->ndim; i++)
        shape[i] = a->shape[i];
    for (int i = 0; i < n_axes; i++) {
        if (n[i] <= 0)
            return nx_fail_null("[fftn] Invalid FFT output size requested (%d)", n[i]);
        shape[p.axes.v[i]] = n[i];
        total *= n[i];
    }
    if (p.real && inverse)
        shape[last_axis(&p)] = n[n_axes - 1] / 2 + 1;
    if (!nx_shape_fits("fftn", shape, a->ndim))
        return NULL;
    a = fit(a, shape, s);
    a = a ? nx_astype(a, p.real && !inverse ? NX_FLOAT32 : NX_COMPLEX64, s) : NULL;
    a = transform(a, &p, n[n_axes - 1], s);
    double factor = norm_factor(norm, inverse, total);
    return factor == 1 ? a : nx_multiply(a, nx_scalar_float((float)factor), s);
}

static nx_array *frequencies(const char *op, int n, double d, bool half, nx_stream *s)
{
    int count = half ? n / 2 + 1 : n, positive = half ? count : (n - 1) / 2 + 1;
    (void)s;
    if (n <= 0)
        return nx_fail_null("[%s] `n` must be greater than 0, not %d.", op, n);
    if (d == 0)
        return nx_fail_null("[%s] `d` must be non-zero.", op);
    nx_array *f = nx_array_new(&count, 1, NX_FLOAT32);
    float step = (float)(1 / (d * n));
    for (int k = 0; f && k < count; k++)
        ((float *)f->data)[k] = (float)(k < positive ? k : k - n) * step;
    return f;
}

nx_array *nx_fftfreq(int n, double d, nx_stream *s)
{
    return frequencies("fftfreq", n, d, false, s);
}

nx_array *nx_rfftfreq(int n, double d, nx_stream *s)
{
    return frequencies("rfftfreq", n, d, true, s);
}

static nx_array *shift(const char *op, nx_array *a, const int *axes, int n_axes, bool back,
                       nx_stream *s)
{
    for (int i = 0; a && i < n_axes; i++) {
        int axis = axes[i];
        if (!nx_axis_fix(op, &axis, a->ndim))
            return NULL;
        int by = back ? -(a->shape[axis] / 2) : a->shape[axis] / 2;
        a = nx_roll_axis(a, &by, 1, axis, s);
    }
    return a;
}

nx_array *nx_fftshift(nx_array *a, const int *axes, int n_axes, nx_stream *s)
{
    return shift("fftshift", a, axes, n_axes, false, s);
}

nx_array *nx_ifftshift(nx_array *a, const int *axes, int n_axes, nx_stream *s)
{
    return shift("ifftshift", a, axes, n_axes, true, s);
}
