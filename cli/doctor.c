/* doctor.c: nexus doctor: an audit of engine, machine, models and LM Studio, for a bug report. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/os.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/table.h"

typedef enum { CHECK_GOOD, CHECK_NOTE, CHECK_BAD } check_state;

typedef struct {
    json_t *checks, *facts; /* what is told; the same as data */
    size_t bad, notes;
    bool json;
} report;

/* One line of the audit. */
static void tell(report *r, check_state state, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void tell(report *r, check_state state, const char *name, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "note", "bad"};
    nx_str text = {0}, clean = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&text, fmt, ap);
    va_end(ap);
    table_clean(&clean, nx_str_cstr(&text));
    r->bad += state == CHECK_BAD;
    r->notes += state == CHECK_NOTE;
    json_array_append_new(r->checks, json_pack("{s:s, s:s, s:o}", "name", name, "status", words[state],
                                               "text", json_out_text(nx_str_cstr(&clean))));
    if (!r->json) {
        static const table_look looks[] = {TABLE_GOOD, TABLE_WARN, TABLE_BAD};
        printf("%s%-4s%s  %-12s %s\n", table_color(stdout, looks[state]), words[state],
               table_color(stdout, TABLE_PLAIN), name, nx_str_cstr(&clean));
    }
    nx_str_clear(&text);
    nx_str_clear(&clean);
}

static void put(report *r, const char *key, json_t *take)
{
    json_object_set_new(r->facts, key, take);
}

static const char *size_of(unsigned long long n, char out[32])
{
    return cli_bytes(n, out, 32);
}

/* ---- engine and machine ---- */

static void check_system(report *r)
{
    struct utsname u;
    nexus_system s;
    char a[32];
    tell(r, CHECK_GOOD, "nexus", "%s", nexus_version());
    if (uname(&u) == 0)
        tell(r, CHECK_GOOD, "system", "%s %s, %s", u.sysname, u.release, u.machine);
    if (nexus_system_check(&s)) {
        tell(r, CHECK_BAD, "engine", "it does not work: %s", nexus_error_message());
        return;
    }
    tell(r, CHECK_GOOD, "engine", "%s, the interface of MLX %s", strcmp(s.engine, "own") == 0 ? "our own" : "an installed mlx-c",
         s.interface_version);
    tell(r, CHECK_GOOD, "processor", "%d of %d cores, %d threads%s%s", s.processors, s.cores, s.threads,
         *s.level ? ", kernels for " : "", s.level);
    if (s.gpus)
        tell(r, CHECK_GOOD, "device", "%s; %d GPU%s with %s", s.device, s.gpus, s.gpus == 1 ? "" : "s",
             size_of(s.gpu_memory, a));
    else
        tell(r, CHECK_GOOD, "device", "%s; no GPU that the engine uses", s.device);
    tell(r, s.blas ? CHECK_GOOD : CHECK_NOTE, "BLAS",
         s.blas ? "there, for linear algebra outside models"
                : "not installed: large float products outside models are slower, and linear algebra is "
                  "missing (the package is libopenblas0)");
    tell(r, s.shares_memory ? CHECK_GOOD : CHECK_NOTE, "memory use",
         s.shares_memory ? "unified: arrays stand on mapped files, loading copies nothing (64 MB in %.2f ms)"
                         : "loading copies the weights (64 MB in %.2f ms)", s.share_seconds * 1e3);
    double gflops = 2e-9 * 1e9 / (s.matmul_seconds > 0 ? s.matmul_seconds : 1);
    tell(r, s.matmul_error < 1e-5 ? CHECK_GOOD : CHECK_BAD, "matmul",
         "1000 x 1000 normal: %.2f ms, %.0f GFLOP/s%s", s.matmul_seconds * 1e3, gflops,
         s.matmul_error < 1e-5 ? "" : ", and the result is WRONG");
    put(r, "engine", json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:i, s:I, s:b, s:b, s:f, s:f, s:b}",
                               "name", s.engine, "interface_version", s.interface_version, "level",
                               s.level, "threads", s.threads, "processors", s.processors, "cores",
                               s.cores, "device", s.device, "gpus", s.gpus, "gpu_memory_bytes",
                               (json_int_t)s.gpu_memory, "blas", s.blas, "lapack", s.lapack,
                               "matmul_seconds", s.matmul_seconds, "matmul_error",
                               isfinite(s.matmul_error) ? s.matmul_error : 1.0, "shares_memory",
                               s.shares_memory));
}

static void check_memory(report *r)
{
    nexus_memory m;
    char a[32], b[32], c[32];
    if (nexus_memory_now(&m)) {
        tell(r, CHECK_NOTE, "memory", "%s", nexus_error_message());
        return;
    }
    bool short_of = m.available < m.total / 10;
    tell(r, short_of ? CHECK_NOTE : CHECK_GOOD, "memory", "%s of %s are free%s; %s are left to the rest",
         size_of(m.available, a), size_of(m.total, b),
         short_of ? ", little: close what is not needed" : "", size_of(m.reserve, c));
    put(r, "memory", json_pack("{s:I, s:I, s:I}", "total", (json_int_t)m.total, "available",
                               (json_int_t)m.available, "reserve", (json_int_t)m.reserve));
}

static void check_settings(report *r)
{
    nx_str path = {0};
    if (nx_os_path(&path, NX_OS_CONFIG, "config.json") && nx_os_is_file(nx_str_cstr(&path))) {
        json_t *j = nx_json_load_file(nx_str_cstr(&path));
        if (json_is_object(j))
            tell(r, CHECK_GOOD, "settings", "%s", nx_str_cstr(&path));
        else
            tell(r, CHECK_BAD, "settings", "%s", j ? "config.json holds no object" : nx_error_message());
        json_decref(j);
    } else {
        tell(r, CHECK_GOOD, "settings", "none (%s)", nx_str_cstr(&path));
    }
    nx_str_clear(&path);
}

/* ---- models ---- */

typedef struct {
    size_t all, ready, mlx, gguf, broken, now, copies;
    uint64_t bytes;
} counts;

static counts count(const nexus_models *m)
{
    counts c = {.all = nexus_models_count(m)};
    for (size_t i = 0; i < c.all; i++) {
        const nexus_models_entry *e = nexus_models_at(m, i);
        bool ready = strcmp(e->status, "ready") == 0;
        c.ready += ready;
        c.mlx += strcmp(e->format, "mlx") == 0;
        c.gguf += strcmp(e->format, "gguf") == 0;
        c.broken += strcmp(e->status, "broken") == 0;
        c.now += ready && strcmp(e->fit, "now") == 0;
        c.copies += *e->duplicate_of != 0;
        c.bytes += *e->duplicate_of ? 0 : e->bytes;
    }
    return c;
}

static void check_models(report *r, const nexus_models *m)
{
    counts c = count(m);
    char a[32];
    if (!c.all)
        tell(r, CHECK_NOTE, "models", "none were found: 'nexus pull' fetches one, the setting \"folders\" "
             "names where yours are");
    else
        tell(r, c.now ? CHECK_GOOD : CHECK_NOTE, "models",
             "%zu (%s): %zu MLX, %zu GGUF; %zu can be run, %zu of them fit now%s", c.all,
             size_of(c.bytes, a), c.mlx, c.gguf, c.ready, c.now, c.now ? "" : ": none does");
    if (c.broken)
        tell(r, CHECK_NOTE, "models", "%zu %s broken: 'nexus models' says why", c.broken,
             c.broken == 1 ? "is" : "are");
    if (c.copies)
        tell(r, CHECK_NOTE, "models", "%zu %s of others here: 'nexus models' names them", c.copies,
             c.copies == 1 ? "is a copy" : "are copies");
    for (size_t i = 0; i < nexus_models_problem_count(m); i++)
        tell(r, CHECK_BAD, "folder", "%s", nexus_models_problem(m, i));
    put(r, "models", json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)c.all,
                               "ready", (json_int_t)c.ready, "mlx", (json_int_t)c.mlx, "gguf",
                               (json_int_t)c.gguf, "broken", (json_int_t)c.broken, "fit_now",
                               (json_int_t)c.now, "copies", (json_int_t)c.copies, "bytes",
                               (json_int_t)c.bytes));
}

/* ---- LM Studio ---- */

/* The model of ours that LM Studio means: ids are lower-case names, with or without the publisher
 * and the quantization. */
static const nexus_models_entry *meant(const nexus_models *m, const char *id)
{
    const nexus_models_entry *e = nexus_models_find(m, id);
    const char *name = strrchr(id, '/') ? strrchr(id, '/') + 1 : id;
    e = e ? e : nexus_models_find(m, name);
    for (size_t i = 0; !e && i < nexus_models_count(m); i++) {
        const nexus_models_entry *k = nexus_models_at(m, i);
        if (strncasecmp(k->name, name, strlen(name)) == 0)
            e = k;
    }
    return e;
}

static void check_loaded(report *r, const nexus_models *m, const json_t *o, json_t *list)
{
    const char *id = nx_json_get_str(o, "id", "?"), *format = nx_json_get_str(o, "compatibility_type", "?");
    const char *quantization = nx_json_get_str(o, "quantization", "?");
    int64_t context = nx_json_get_int(o, "loaded_context_length",
                                      nx_json_get_int(o, "max_context_length", 0));
    const nexus_models_entry *e = meant(m, id);
    nexus_memory memory = nexus_models_machine(m);
    uint64_t bytes = e && context > 0 && context < 1 << 30 ? nexus_models_memory(m, e, (int)context, NULL) : 0;
    bool suits = bytes <= memory.total - memory.reserve;
    char a[32], b[32];
    nx_str text = {0};
    nx_str_printf(&text, "%s is loaded: %s, %s, context %lld", id, format, quantization, (long long)context);
    if (bytes)
        nx_str_printf(&text, "; it needs %s of %s: %s", size_of(bytes, a), size_of(memory.total, b),
                      suits ? "that suits the machine" : "too much for this machine: load a smaller context, "
                                                         "or a model that 'nexus select' names");
#ifdef __APPLE__
    if (strcmp(format, "gguf") == 0)
        nx_str_puts(&text, "; on this machine MLX is the faster format");
#endif
    tell(r, suits ? CHECK_GOOD : CHECK_BAD, "LM Studio", "%s", nx_str_cstr(&text));
    json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:I, s:I, s:b}", "id", json_out_text(id),
                                          "format", json_out_text(format), "quantization",
                                          json_out_text(quantization), "context", (json_int_t)context,
                                          "memory_bytes", (json_int_t)bytes, "suits", suits));
    nx_str_clear(&text);
}

static void check_answer(report *r, const nexus_models *m, const char *text, json_t *lmstudio)
{
    json_t *j = nx_json_parse(text, strlen(text), "LM Studio's answer");
    const json_t *data = json_object_get(j, "data");
    json_t *list = json_array();
    size_t n = json_array_size(data);
    if (!json_is_array(data))
        tell(r, CHECK_NOTE, "LM Studio", "what answers there does not speak its language");
    else
        tell(r, CHECK_GOOD, "LM Studio", "runs, and lists %zu model%s", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++)
        if (strcmp(nx_json_get_str(json_array_get(data, i), "state", ""), "loaded") == 0)
            check_loaded(r, m, json_array_get(data, i), list);
    if (n && !json_array_size(list))
        tell(r, CHECK_GOOD, "LM Studio", "no model is loaded");
    json_object_set_new(lmstudio, "running", json_boolean(json_is_array(data)));
    json_object_set_new(lmstudio, "models", json_integer((json_int_t)n));
    json_object_set_new(lmstudio, "loaded", list);
    json_decref(j);
}

static void check_lmstudio(report *r, const nexus_models *m, const char *address)
{
    char *text;
    json_t *lmstudio = json_pack("{s:b}", "running", false);
    nexus_status status = nexus_lmstudio_models(address, &text);
    if (!status) {
        check_answer(r, m, text, lmstudio);
        nexus_free(text);
    } else if (status == NEXUS_ERROR_NOT_FOUND) {
        tell(r, CHECK_GOOD, "LM Studio", "does not run (nothing answers at %s)", address);
    } else {
        tell(r, CHECK_NOTE, "LM Studio", "%s", nexus_error_message());
    }
    put(r, "lmstudio", lmstudio);
}

/* ---- the whole ---- */

static int finish(report *r)
{
    if (r->json) {
        json_object_set_new(r->facts, "version", json_string(nexus_version()));
        json_object_set_new(r->facts, "ok", json_boolean(r->bad == 0));
        json_object_set(r->facts, "checks", r->checks);
        json_out_print(json_incref(r->facts));
    } else if (r->bad) {
        printf("\n%zu thing%s to be put right.\n", r->bad, r->bad == 1 ? " is" : "s are");
    } else {
        printf("\nAll is well.\n");
    }
    return r->bad ? EXIT_FAILED : EXIT_GOOD;
}

int cli_doctor(int argc, char **argv)
{
    report r = {0};
    const char *address = "http://127.0.0.1:1234";
    const arg_option options[] = {
        {"lmstudio", 0, ARG_TEXT, &address, true, "URL", "where LM Studio answers (http://127.0.0.1:1234)"},
        {"json", 0, ARG_FLAG, &r.json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus doctor [options]",
                                 "Looks at engine, machine, models and LM Studio, and says what is wrong:\n"
                                 "a page for a bug report. The exit code is 0 when all is well.",
                                 options, 0};
    int code = args_parse(&command, argc, argv, NULL);
    if (code != ARGS_OK)
        return code;
    r.checks = json_array();
    r.facts = json_object();
    check_system(&r);
    check_memory(&r);
    check_settings(&r);
    nexus_models *m;
    if (nexus_models_scan(NULL, &m)) {
        tell(&r, CHECK_BAD, "models", "%s", nexus_error_message());
    } else {
        check_models(&r, m);
        check_lmstudio(&r, m, address);
        nexus_models_free(m);
    }
    code = finish(&r);
    json_decref(r.checks);
    json_decref(r.facts);
    return code;
}
