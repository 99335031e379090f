#include "runtime/nn/rope.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const double pi = 3.14159265358979323846;

nn_rope nn_rope_plain(int dims, float base, bool traditional)
{
    return (nn_rope){.dims = dims, .traditional = traditional, .base = base, .scale = 1,
                     .magnitude = 1};
}

void nn_rope_clear(nn_rope *r)
{
    mlx_array_free(r->periods);
    mlx_array_free(r->short_periods);
    r->periods = r->short_periods = (mlx_array){0};
}

/* ---- the kinds of scaling: how long pair i takes to turn by one radian ------------------------ */

static double plain_period(const nn_rope *r, int i)
{
    return pow(r->base, 2.0 * i / r->dims);
}

static bool set_periods(mlx_array *to, const nn_rope *r, const double *periods)
{
    int n = r->dims / 2;
    float *values = nx_malloc((size_t)n * sizeof *values + 1);
    for (int i = 0; i < n; i++)
        values[i] = (float)periods[i];
    mlx_array_free(*to);
    *to = mlx_array_new_data(values, &n, 1, MLX_FLOAT32);
    free(values);
    return to->ctx != NULL;
}

/* Long wavelengths are stretched by the factor, short ones kept, those between blended. */
typedef struct {
    double factor, low, high, original;
} llama3;

static double llama3_period(const llama3 *k, double period)
{
    double wavelength = 2 * pi * period;
    if (wavelength > k->original / k->low)
        return period * k->factor;
    if (wavelength < k->original / k->high)
        return period;
    double smooth = (k->original / wavelength - k->low) / (k->high - k->low);
    return period / ((1 - smooth) / k->factor + smooth);
}

/* Pairs that turn often within the original context are kept, those that turn less than once are
 * stretched, and those between blended by their place. */
typedef struct {
    double factor, original, fast, slow, mscale, mscale_all;
    bool truncate;
} yarn;

static double yarn_place(const nn_rope *r, const yarn *k, double turns)
{
    return r->dims * log(k->original / (turns * 2 * pi)) / (2 * log(r->base));
}

static void yarn_periods(const nn_rope *r, const yarn *k, double *periods)
{
    double low = yarn_place(r, k, k->fast), high = yarn_place(r, k, k->slow);
    if (k->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < r->dims - 1 ? high : r->dims - 1;
    if (low == high)
        high += 0.001;
    for (int i = 0; i < r->dims / 2; i++) {
        double ramp = (i - low) / (high - low), period = plain_period(r, i);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        periods[i] = 1 / (ramp / (k->factor * period) + (1 - ramp) / period);
    }
}

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static bool set_yarn(nn_rope *r, const yarn *k)
{
    double *periods = nx_malloc((size_t)r->dims * sizeof *periods);
    yarn_periods(r, k, periods);
    r->magnitude = (float)(yarn_mscale(k->factor, k->mscale) / yarn_mscale(k->factor, k->mscale_all));
    bool ok = set_periods(&r->periods, r, periods);
    free(periods);
    return ok;
}

static bool set_llama3(nn_rope *r, const llama3 *k)
{
    if (!(k->high > k->low && k->low > 0))
        return nx_fail("[rope] rope_scaling: high_freq_factor must be over low_freq_factor");
    double *periods = nx_malloc((size_t)r->dims * sizeof *periods);
    for (int i = 0; i < r->dims / 2; i++)
        periods[i] = llama3_period(k, plain_period(r, i));
    bool ok = set_periods(&r->periods, r, periods);
    free(periods);
    return ok;
}

/* ---- settings --------------------------------------------------------------------------------- */

static bool read_factors(const json_t *list, int n, float *out)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return nx_fail("[rope] rope_scaling: short_factor and long_factor must hold %d numbers", n);
    for (int i = 0; i < n; i++)
        out[i] = (float)json_number_value(json_array_get(list, (size_t)i));
    return true;
}

/* How much attention is sharpened where a text may be `factor` times as long. */
static float longrope_magnitude(double factor, double original)
{
    return factor <= 1 || original <= 1 ? 1 : (float)sqrt(1 + log(factor) / log(original));
}

static bool configure_longrope(nn_rope *r, const json_t *s, int max_context)
{
    int n = r->dims / 2;
    r->original = (int)nx_json_get_int(s, "original_max_position_embeddings", r->original);
    if (r->original < 1)
        return nx_fail("[rope] longrope needs original_max_position_embeddings");
    float *factors = nx_malloc((size_t)r->dims * sizeof *factors);
    bool ok = read_factors(nx_json_get(s, "long_factor"), n, factors) &&
              read_factors(nx_json_get(s, "short_factor"), n, factors + n) &&
              nn_rope_set_factors(r, factors, factors + n, n);
    free(factors);
    double factor = (double)max_context / r->original;
    double told = nx_json_get_real(s, "long_mscale", longrope_magnitude(factor, r->original));
    r->magnitude = (float)nx_json_get_real(s, "attention_factor", told);
    return ok;
}

bool nn_rope_configure(nn_rope *r, const json_t *s, int max_context)
{
    const char *type = nx_json_get_str(s, "rope_type", nx_json_get_str(s, "type", "default"));
    double factor = nx_json_get_real(s, "factor", 1);
    double original = nx_json_get_real(s, "original_max_position_embeddings", 0);
    if (r->dims < 2 || strcmp(type, "default") == 0 || strcmp(type, "mrope") == 0)
        return true;
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return configure_longrope(r, s, max_context);
    if (factor < 1 || factor > 1e6)
        return nx_fail("[rope] rope_scaling.factor %g is out of range", factor);
    if (strcmp(type, "linear") == 0) {
        r->scale = (float)(1 / factor);
        return true;
    }
    if (strcmp(type, "dynamic") == 0) {
        r->dynamic_factor = (float)factor;
        r->original = max_context;
        return r->dims > 2 || nx_fail("[rope] dynamic scaling needs more than two dimensions");
    }
    if (strcmp(type, "llama3") == 0)
        return set_llama3(r, &(llama3){factor, nx_json_get_real(s, "low_freq_factor", 1),
                                       nx_json_get_real(s, "high_freq_factor", 4),
                                       original > 0 ? original : 8192});
    if (strcmp(type, "yarn") == 0 || strcmp(type, "deepseek_yarn") == 0) {
        yarn k = {factor, original > 0 ? original : 4096, nx_json_get_real(s, "beta_fast", 32),
                  nx_json_get_real(s, "beta_slow", 1), nx_json_get_real(s, "mscale", 1),
                  nx_json_get_real(s, "mscale_all_dim", 0), nx_json_get_bool(s, "truncate", true)};
        return set_yarn(r, &k);
    }
    return nx_fail("[rope] rope scaling '%s' is not supported; supported are: linear, dynamic, "
                   "llama3, yarn, longrope", type);
}

bool nn_rope_configure_gguf(nn_rope *r, const nx_gguf *g, const char *arch, int max_context)
{
    nx_slice type = nx_gguf_str(nx_gguf_findf(g, "%s.rope.scaling.type", arch));
    double factor = nx_gguf_f64(nx_gguf_findf(g, "%s.rope.scaling.factor", arch), 1);
    double original =
        nx_gguf_f64(nx_gguf_findf(g, "%s.rope.scaling.original_context_length", arch), max_context);
    const nx_gguf_kv *attn_factor = nx_gguf_findf(g, "%s.rope.scaling.attn_factor", arch);
    if (r->dims >= 2 && (type.data || attn_factor)) { /* phi3's files name no type */
        r->magnitude = (float)nx_gguf_f64(attn_factor, 1);
        r->original = nx_int_of(original);
    }
    if (r->dims < 2 || !type.data || nx_slice_is(type, "none"))
        return true;
    if (nx_slice_is(type, "longrope"))
        return true; /* the rest is in tensors */
    if (factor < 1 || factor > 1e6)
        return nx_fail("[rope] rope.scaling.factor %g is out of range", factor);
    if (nx_slice_is(type, "linear")) {
        r->scale = (float)(1 / factor);
        return true;
    }
    if (nx_slice_is(type, "yarn")) {
        yarn k = {factor, original > 0 ? original : 4096,
                  nx_gguf_f64(nx_gguf_findf(g, "%s.rope.scaling.yarn_beta_fast", arch), 32),
                  nx_gguf_f64(nx_gguf_findf(g, "%s.rope.scaling.yarn_beta_slow", arch), 1), 1, 0,
                  nx_gguf_bool(nx_gguf_findf(g, "%s.rope.scaling.yarn_truncate", arch), true)};
        float attn = r->magnitude;
        bool ok = set_yarn(r, &k);
        r->magnitude *= attn;
        return ok;
    }
    return nx_fail("[rope] rope scaling '%.*s' is not supported; supported are: linear, yarn, longrope",
                   (int)type.len, type.data);
}

bool nn_rope_set_factors(nn_rope *r, const float *factors, const float *short_factors, int n)
{
    if (n != r->dims / 2)
        return nx_fail("[rope] %d rotation factors where %d are needed", n, r->dims / 2);
    double *periods = nx_malloc((size_t)r->dims * sizeof *periods);
    bool ok = true;
    for (int pass = 0; ok && pass < (short_factors ? 2 : 1); pass++) {
        for (int i = 0; i < n; i++)
            periods[i] = plain_period(r, i) * (double)(pass ? short_factors : factors)[i];
        ok = set_periods(pass ? &r->short_periods : &r->periods, r, periods);
    }
    free(periods);
    return ok;
}

float nn_rope_attention_factor(const json_t *s)
{
    const char *type = nx_json_get_str(s, "rope_type", nx_json_get_str(s, "type", "default"));
    double all = nx_json_get_real(s, "mscale_all_dim", 0), factor = nx_json_get_real(s, "factor", 1);
    if (strcmp(type, "default") == 0 || all == 0)
        return 1;
    double m = yarn_mscale(factor, all);
    return (float)(m * m);
}

/* ---- use -------------------------------------------------------------------------------------- */

static mlx_array turn(nn *c, const nn_rope *r, mlx_array x, float base, mlx_array periods, int position)
{
    mlx_optional_float b = {base, periods.ctx == NULL};
    return NN_CALL(c, mlx_fast_rope, x, r->dims, r->traditional, b, r->scale, position, periods);
}

/* Each row beyond the original context by the base for a text that ends with it: what decoding token
 * by token gives, however a prompt is cut. */
static mlx_array turn_dynamic(nn *c, const nn_rope *r, mlx_array x, int position)
{
    int n = c->failed ? 0 : mlx_array_dim(x, 2);
    if (position + n <= r->original)
        return turn(c, r, x, r->base, (mlx_array){0}, position);
    mlx_vector_array rows = mlx_vector_array_new();
    for (int i = 0; i < n; i++) {
        double length = position + i + 1, factor = r->dynamic_factor;
        double grown = factor * length / r->original - (factor - 1);
        double base = grown <= 1 ? r->base : r->base * pow(grown, r->dims / (r->dims - 2.0));
        mlx_array row = nn_slice(c, x, 2, i, i + 1);
        row = turn(c, r, row, (float)base, (mlx_array){0}, position + i);
        mlx_vector_array_append_value(rows, row);
    }
    mlx_array y = NN_CALL(c, mlx_concatenate_axis, rows, 2);
    mlx_vector_array_free(rows);
    return y;
}

/* y: the turned x. */
static mlx_array with_magnitude(nn *c, const nn_rope *r, mlx_array y)
{
    if (r->magnitude == 1 || c->failed)
        return y;
    int d = mlx_array_dim(y, 3);
    mlx_array turned = nn_scale(c, nn_slice(c, y, 3, 0, r->dims), r->magnitude);
    return d == r->dims ? turned : nn_concat(c, (mlx_array[]){turned, nn_slice(c, y, 3, r->dims, d)}, 2, 3);
}

mlx_array nn_rotate(nn *c, const nn_rope *r, mlx_array x, int position, int limit)
{
    if (c->failed || r->dims == 0)
        return x;
    if (r->dynamic_factor > 0)
        return with_magnitude(c, r, turn_dynamic(c, r, x, position));
    mlx_array periods = r->short_periods.ctx && limit <= r->original ? r->short_periods : r->periods;
    return with_magnitude(c, r, turn(c, r, x, r->base, periods, position));
}

bool nn_rotates_rows(const nn_rope *r)
{
    return r->dynamic_factor == 0 && !r->short_periods.ctx;
}

mlx_array nn_rotate_rows(nn *c, const nn_rope *r, mlx_array x, mlx_array positions)
{
    if (c->failed || r->dims == 0)
        return x;
    mlx_optional_float base = {r->base, r->periods.ctx == NULL};
    return with_magnitude(c, r, NN_CALL(c, mlx_fast_rope_dynamic, x, r->dims, r->traditional, base, r->scale,
                                        positions, r->periods));
}
