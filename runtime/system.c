/*
 * system.c: nexus_system_check: the engine and the machine under it, measured; and LM Studio beside
 * it.
 */
#include <dlfcn.h>
#include <math.h>
#include <mlx/c/mlx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "nexus/nexus.h"
#include "runtime/catalog/http.h"
#include "runtime/nn/engine.h"

enum { SIDE = 1000, REPEATS = 5, SHARED = 64 << 20, MOST_ANSWER = 4 << 20 };

static void ask_versions(nexus_system *s)
{
    const nexus_engine *ext = engine_extensions();
    mlx_string v = mlx_string_new();
    if (!mlx_version(&v))
        snprintf(s->interface_version, sizeof s->interface_version, "%s", mlx_string_data(v));
    mlx_string_free(v);
    snprintf(s->engine, sizeof s->engine, "%s", dlsym(RTLD_DEFAULT, "nexus_engine_get") ? "own" : "system");
    snprintf(s->level, sizeof s->level, "%s", ext ? ext->isa() : "");
    s->processors = nx_os_cpus();
    s->cores = nx_os_cores_physical();
    s->threads = ext ? ext->threads() : s->processors;
}

static void ask_devices(nexus_system *s)
{
    mlx_device d = mlx_device_new();
    mlx_string name = mlx_string_new();
    if (!mlx_get_default_device(&d) && !mlx_device_tostring(&name, d))
        snprintf(s->device, sizeof s->device, "%s", mlx_string_data(name));
    mlx_string_free(name);
    mlx_device_free(d);
    if (mlx_device_count(&s->gpus, MLX_GPU) || s->gpus < 1)
        return;
    mlx_device gpu = mlx_device_new_type(MLX_GPU, 0);
    mlx_device_info info = mlx_device_info_new();
    size_t bytes = 0;
    bool there = false;
    if (!mlx_device_info_get(&info, gpu) && !mlx_device_info_has_key(&there, info, "memory_size") && there &&
        !mlx_device_info_get_size(&bytes, info, "memory_size"))
        s->gpu_memory = bytes;
    mlx_device_info_free(info);
    mlx_device_free(gpu);
}

static bool can_load(const char *const *names)
{
    for (; *names; names++) {
        void *library = dlopen(*names, RTLD_LAZY | RTLD_LOCAL);
        if (library) {
            dlclose(library);
            return true;
        }
    }
    return false;
}

static void ask_libraries(nexus_system *s)
{
    static const char *const blas[] = {
        "libopenblas.so.0", "libopenblas.so",
        "/System/Library/Frameworks/Accelerate.framework/Accelerate", NULL};
    static const char *const lapack[] = {
        "liblapacke.so.3", "libopenblas.so.0",
        "/System/Library/Frameworks/Accelerate.framework/Accelerate", NULL};
    s->blas = can_load(blas);
    s->lapack = can_load(lapack);
}

/* A few entries of the product against sums in double. */
static double error_of(const float *a, const float *b, const float *c)
{
    double worst = 0;
    for (int k = 0; k < 16; k++) {
        int i = k * 61 % SIDE, j = k * 97 % SIDE;
        double sum = 0, size = 0;
        for (int n = 0; n < SIDE; n++) {
            double x = (double)a[i * SIDE + n] * b[n * SIDE + j];
            sum += x;
            size += fabs(x);
        }
        double e = fabs(c[i * SIDE + j] - sum) / (size > 0 ? size : 1);
        worst = e > worst || isnan(e) ? e : worst;
    }
    return worst;
}

static bool multiply(nexus_system *s, mlx_array a, mlx_array b, mlx_stream stream)
{
    mlx_array c = mlx_array_new();
    bool ok = true;
    for (int i = 0; i < REPEATS && ok; i++) {
        double start = nx_os_seconds();
        ok = !mlx_matmul(&c, a, b, stream) && !mlx_array_eval(c);
        double t = nx_os_seconds() - start;
        if (i == 0 || t < s->matmul_seconds)
            s->matmul_seconds = t;
    }
    if (ok)
        s->matmul_error = error_of(mlx_array_data_float32(a), mlx_array_data_float32(b),
                                   mlx_array_data_float32(c));
    mlx_array_free(c);
    return ok;
}

static bool measure_matmul(nexus_system *s)
{
    const int shape[2] = {SIDE, SIDE};
    mlx_array a = mlx_array_new(), b = mlx_array_new(), none = {0};
    mlx_stream stream = mlx_default_cpu_stream_new();
    bool ok = !mlx_random_normal(&a, shape, 2, MLX_FLOAT32, 0, 1, none, stream) &&
              !mlx_random_normal(&b, shape, 2, MLX_FLOAT32, 0, 1, none, stream) && !mlx_array_eval(a) &&
              !mlx_array_eval(b) && multiply(s, a, b, stream);
    mlx_array_free(a);
    mlx_array_free(b);
    mlx_stream_free(stream);
    return ok;
}

static void leave(void *payload)
{
}

/* Weights are mapped files: does an array over foreign memory stand on it, or on a copy? */
static bool measure_sharing(nexus_system *s)
{
    const int shape[1] = {SHARED / 4};
    float *memory = calloc(1, SHARED);
    if (!memory)
        return nx_fail("64 MB of memory cannot be had");
    double start = nx_os_seconds();
    mlx_array a = mlx_array_new_data_managed_payload(memory, shape, 1, MLX_FLOAT32, NULL, leave);
    bool ok = a.ctx && !mlx_array_eval(a);
    s->share_seconds = nx_os_seconds() - start;
    s->shares_memory = ok && mlx_array_data_float32(a) == memory;
    mlx_array_free(a);
    free(memory);
    return ok;
}

static bool check_on_engine(void *arg)
{
    nexus_system *s = arg;
    ask_versions(s);
    ask_devices(s);
    ask_libraries(s);
    return measure_matmul(s) && measure_sharing(s);
}

nexus_status nexus_system_check(nexus_system *out)
{
    nexus_system s = {0};
    if (!engine_run(check_on_engine, &s))
        return NEXUS_ERROR;
    *out = s;
    return NEXUS_OK;
}

/* ---- LM Studio -------------------------------------------------------------------------------- */

static bool is_here(const char *address)
{
    static const char *const here[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        size_t n = strlen(here[i]);
        if (strncmp(address, here[i], n) == 0 && (!address[n] || address[n] == ':' || address[n] == '/'))
            return !strchr(address, '@');
    }
    return false;
}

nexus_status nexus_lmstudio_models(const char *address, char **json)
{
    nx_str url = {0}, text = {0};
    http_head head;
    const char *at = address && *address ? address : "http://127.0.0.1:1234";
    if (!is_here(at)) {
        nx_fail("[%s] is no address of this machine: LM Studio is asked on loopback alone", at);
        return NEXUS_ERROR_ARGUMENT;
    }
    size_t n = strlen(at);
    nx_str_printf(&url, "%.*s/api/v0/models", (int)(n - (at[n - 1] == '/')), at);
    nexus_status status = NEXUS_OK;
    if (http_text(nx_str_cstr(&url), NULL, 2, MOST_ANSWER, &text, &head))
        *json = nx_str_take(&text);
    else
        status = head.status ? NEXUS_ERROR_FORMAT : NEXUS_ERROR_NOT_FOUND;
    nx_str_clear(&url);
    nx_str_clear(&text);
    return status;
}
