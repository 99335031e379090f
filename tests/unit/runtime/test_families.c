/*
 * test_families.c: every folder of tests/data/families is a tiny random checkpoint with the logits
 * its reference implementation gives for two texts (tests/tools/make_families.py). The runtime must
 * give them too: in one piece, in pieces, token by token, and both texts in one batch.
 *
 *     test_families [NAME ...]     those alone
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"
#include "runtime/models/model.h"
#include "runtime/nn/engine.h"

enum { MOST = 128 };
/* Of the largest logit. Products with quantized weights round their activations to 15 bits. */
static const float tolerance_plain = 1e-4f, tolerance_quantized = 1e-3f;

typedef struct {
    char name[64], arch[64];
    config_source from;
    nn_source source;
    nx_safetensors *expected;
    json_t *json;
    model *model;
    nn nn;
} family;

/* One of the two texts: tokens and what they must give. */
typedef struct {
    const int32_t *ids;
    const float *logits; /* [n, width] */
    int n, width;
    nn_cache cache;
} text;

static text text_of(const family *f, const char *which, nn_cache_form type)
{
    text t = {0};
    char name[32];
    snprintf(name, sizeof name, "tokens_%s", which);
    const nx_safetensors_tensor *ids = nx_safetensors_find(f->expected, name);
    snprintf(name, sizeof name, "logits_%s", which);
    const nx_safetensors_tensor *logits = nx_safetensors_find(f->expected, name);
    assert_true(ids && logits && logits->ndim == 2);
    t.ids = (const int32_t *)(const void *)ids->data;
    t.logits = (const float *)(const void *)logits->data;
    t.n = (int)ids->shape[0];
    t.width = (int)logits->shape[1];
    nn_cache_init(&t.cache, f->model->caches, f->model->n_layers, type, f->model->max_context);
    return t;
}

/* Runs n tokens of each text from its cache's length on, and compares their rows: the largest
 * difference as a share of the largest logit; -1 after a failure. */
static float step(family *f, text *const *texts, const int *counts, int n_texts)
{
    nn_segment segments[2];
    int32_t ids[2 * MOST];
    int total = 0;
    for (int i = 0; i < n_texts; i++) {
        memcpy(ids + total, texts[i]->ids + texts[i]->cache.length, (size_t)counts[i] * sizeof *ids);
        nn_cache *cache = f->model->arch->encoder ? NULL : &texts[i]->cache;
        segments[i] = (nn_segment){.begin = total, .count = counts[i], .cache = cache, .wants_logits = true};
        total += counts[i];
    }
    nn_batch b = {.n_tokens = total, .segments = segments, .n_segments = n_texts, .all_rows = true};
    mlx_array tokens = mlx_array_new_data(ids, &total, 1, MLX_INT32);
    b.tokens = nn_own(&f->nn, 0, tokens);
    mlx_array y = nn_astype(&f->nn, f->model->arch->forward(&f->nn, f->model, &b), MLX_FLOAT32);
    if (f->nn.failed || mlx_array_eval(y)) {
        print_message("%s: %s\n", f->name, nx_error_message());
        nn_reset(&f->nn);
        return -1;
    }
    assert_int_equal(mlx_array_dim(y, 0), total);
    assert_int_equal(mlx_array_dim(y, 1), texts[0]->width);
    const float *got = mlx_array_data_float32(y);
    float worst = 0;
    for (int i = 0; i < n_texts; i++) {
        text *t = texts[i];
        float largest = 0;
        for (int k = 0; k < t->n * t->width; k++)
            largest = fmaxf(largest, fabsf(t->logits[k]));
        for (int k = 0; k < counts[i] * t->width; k++, got++) {
            float diff = fabsf(*got - t->logits[t->cache.length * t->width + k]) / largest;
            worst = diff >= 0 && diff < worst ? worst : diff; /* not a number is the worst of all */
        }
        nn_cache_advance(&t->cache, counts[i]);
    }
    nn_reset(&f->nn);
    return worst;
}

/* A text in pieces of the sizes given, the last of them again and again. */
static float in_pieces(family *f, const char *which, nn_cache_form type, const int *sizes, int n_sizes)
{
    text t = text_of(f, which, type);
    float worst = 0;
    for (int i = 0; t.cache.length < t.n && worst < INFINITY; i++) {
        int size = sizes[i < n_sizes ? i : n_sizes - 1], left = t.n - t.cache.length;
        size = size < left ? size : left;
        float d = step(f, (text *[]){&t}, &size, 1);
        worst = d >= 0 && d <= worst ? worst : d < 0 ? INFINITY : d;
    }
    nn_cache_clear(&t.cache);
    return worst;
}

static float together(family *f)
{
    text a = text_of(f, "a", NN_CACHE_F32), b = text_of(f, "b", NN_CACHE_F32);
    float first = step(f, (text *[]){&b, &a}, (int[]){b.n / 2, a.n / 2}, 2);
    float second = step(f, (text *[]){&b, &a}, (int[]){1, a.n - a.n / 2}, 2);
    nn_cache_clear(&a.cache);
    nn_cache_clear(&b.cache);
    return first < 0 || second < 0 ? INFINITY : fmaxf(first, second);
}

/* Forgetting the end of a text and reading it again changes nothing. */
static float after_truncation(family *f)
{
    text t = text_of(f, "a", NN_CACHE_F32);
    float worst = step(f, (text *[]){&t}, &t.n, 1);
    int kept = nn_cache_truncate(&t.cache, t.n - 5), rest = t.n - kept;
    if (kept != t.n - 5 && kept != 0)
        worst = INFINITY;
    float again = step(f, (text *[]){&t}, &rest, 1);
    nn_cache_clear(&t.cache);
    return worst < 0 || again < 0 ? INFINITY : fmaxf(worst, again);
}

static bool check(family *f, const char *what, float worst, float most)
{
    if (worst <= most)
        return true;
    print_message("%s: %s: off by %.2e of the largest logit\n", f->name, what, (double)worst);
    return false;
}

static float encode_together(family *f)
{
    text a = text_of(f, "a", NN_CACHE_F32), b = text_of(f, "b", NN_CACHE_F32);
    float d = step(f, (text *[]){&a, &b}, (int[]){a.n, b.n}, 2);
    nn_cache_clear(&a.cache);
    nn_cache_clear(&b.cache);
    return d < 0 ? INFINITY : d;
}

static bool compare(void *arg)
{
    family *f = arg;
    nn_quant_config quant = {nx_json_get(f->json, "quantization"),
                             nx_json_get(f->json, "quantization_config")};
    if (!model_load_weights(f->model, &f->source, quant, f->source.ggufs.n > 0))
        return false;
    float tolerance = quant.block || quant.foreign ? tolerance_quantized : tolerance_plain;
    if (!engine_extensions() && strstr(f->name, "bf16"))
        tolerance = 1e-2f; /* plain MLX multiplies half floats as half floats */
    nn_init(&f->nn);
    bool ok = check(f, "in one piece", in_pieces(f, "a", NN_CACHE_F32, (int[]){MOST}, 1), tolerance);
    if (f->model->arch->encoder) {
        ok = check(f, "both texts", encode_together(f), tolerance) && ok;
    } else {
        ok = check(f, "token by token", in_pieces(f, "a", NN_CACHE_F32, (int[]){1}, 1), tolerance) && ok;
        ok = check(f, "in pieces", in_pieces(f, "a", NN_CACHE_F32, (int[]){7, 1, 13, 3}, 4), tolerance) && ok;
        ok = check(f, "the other text", in_pieces(f, "b", NN_CACHE_F32, (int[]){5, 1}, 2), tolerance) && ok;
        ok = check(f, "both texts", together(f), tolerance) && ok;
        ok = check(f, "after truncation", after_truncation(f), tolerance) && ok;
        ok = check(f, "16-bit cache", in_pieces(f, "a", NN_CACHE_F16, (int[]){20, 1}, 2), 3e-2f) && ok;
    }
    if (!f->model->arch->encoder && engine_extensions()) { /* without them such caches are refused */
        ok = check(f, "8-bit cache", in_pieces(f, "a", NN_CACHE_Q8, (int[]){20, 1}, 2), 3e-2f) && ok;
        ok = check(f, "4-bit cache", in_pieces(f, "a", NN_CACHE_Q4, (int[]){20, 1}, 2), 0.45f) && ok;
    }
    nn_clear(&f->nn);
    return ok || nx_fail("the logits differ from the reference's");
}

static bool release(void *arg)
{
    model_free(((family *)arg)->model);
    return true;
}

static void open_family(family *f, const char *name)
{
    nx_str path = {0};
    snprintf(f->name, sizeof f->name, "%s", name);
    nx_str_printf(&path, "%s/families/%s/logits.bin", NX_TEST_DATA, name);
    f->expected = nx_safetensors_open(nx_str_cstr(&path));
    nx_str_truncate(&path, 0);
    nx_str_printf(&path, "%s/families/%s/model.gguf", NX_TEST_DATA, name);
    if (nx_os_is_file(nx_str_cstr(&path))) {
        assert_true(f->expected && nn_source_open_gguf(&f->source, nx_str_cstr(&path)));
        nx_slice arch = nx_gguf_get_str(f->source.ggufs.at[0], "general.architecture");
        snprintf(f->arch, sizeof f->arch, "%.*s", (int)arch.len, arch.data);
        f->from = (config_source){.gguf = f->source.ggufs.at[0], .arch = f->arch};
    } else {
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/families/%s/config.json", NX_TEST_DATA, name);
        f->json = nx_json_load_file(nx_str_cstr(&path));
        nx_str_truncate(&path, 0);
        nx_str_printf(&path, "%s/families/%s", NX_TEST_DATA, name);
        assert_true(f->expected && f->json && nn_source_open_folder(&f->source, nx_str_cstr(&path)));
        f->from = (config_source){.json = f->json, .arch = nx_json_get_str(f->json, "model_type", "")};
    }
    nx_str_clear(&path);
}

static void test_family(void **state)
{
    family f = {0};
    open_family(&f, *state);
    f.model = model_configure(&f.from);
    bool ok = f.model && engine_run(compare, &f);
    if (!ok)
        print_message("%s: %s\n", f.name, nx_error_message());
    engine_run(release, &f);
    json_decref(f.json);
    nx_safetensors_free(f.expected);
    nn_source_clear(&f.source);
    assert_true(ok);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    enum { FAMILIES = 200 };
    struct CMUnitTest tests[FAMILIES];
    char *names[FAMILIES];
    int n = 0;
    DIR *d = argc > 1 ? NULL : opendir(NX_TEST_DATA "/families");
    for (struct dirent *e; d && n < FAMILIES && (e = readdir(d));)
        if (e->d_name[0] != '.')
            names[n++] = nx_strdup(e->d_name);
    if (d)
        closedir(d);
    for (int i = 1; i < argc && n < FAMILIES; i++)
        names[n++] = nx_strdup(argv[i]);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){names[i], test_family, NULL, NULL, names[i]};
    int failed = n == 0 ? 1 : _cmocka_run_group_tests("families", tests, (size_t)n, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(names[i]);
    return failed;
}
