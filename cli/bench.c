/*
 * bench.c: nexus bench MODEL: prefill and decode speed, medians over repetitions, with what limits
 * them beside: time to the first token, peak memory, share of the machine's read bandwidth. --shape
 * makes the model itself, with random weights.
 */
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/bandwidth.h"
#include "cli/cli.h"
#include "cli/json_out.h"

enum { MOST_BATCH = 64 };

typedef struct {
    int prompt, generate, depth, batch, threads, repetitions, bits;
    const char *shape, *format, *out, *draft, *cache_type;
    bool json, lookup;
    nexus_model *draft_model; /* of `draft` */
} bench_options;

/* What the repetitions gave: sorted once all are there. */
typedef struct {
    double *prefill, *decode, *first; /* tokens/s, tokens/s, s */
    uint64_t peak_memory, token_bytes, drafted, accepted;
    double read_bandwidth; /* bytes/s */
} figures;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *sorted, int n)
{
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* ---- one run ------------------------------------------------------------------------------------ */

typedef struct {
    nexus_session *session;
    int32_t *ids; /* made-up tokens: any will do, the work is the same */
    size_t count;
    int generate;
    bool lookup;
    nexus_stats stats;
    nexus_status status;
    char *message;
    pthread_t thread;
} sequence;

static bool go_on(const nexus_piece *piece, void *user)
{
    (void)piece, (void)user;
    return !cli_interrupted();
}

static void *generate(void *arg)
{
    sequence *s = arg;
    nexus_generate_options o = nexus_generate_defaults();
    o.temperature = 0;
    o.max_tokens = s->generate;
    o.ignore_eos = true;
    o.lookup = s->lookup;
    s->status = nexus_generate(s->session, s->ids, s->count, &o, go_on, NULL, &s->stats);
    if (s->status)
        s->message = nx_strdup(nexus_error_message());
    return NULL;
}

/* The session and, where a depth is wanted, its cache of so many tokens. */
static nexus_status sequence_start(nexus_model *m, const bench_options *o, sequence *s, int prompt,
                                   int answer)
{
    int depth = o->depth;
    nexus_session_options so = {.context = depth + prompt + answer + 1, .draft = o->draft_model,
                                .cache_type = o->cache_type};
    *s = (sequence){.count = (size_t)(depth + prompt), .generate = answer, .lookup = o->lookup};
    s->ids = malloc(s->count * sizeof *s->ids);
    for (size_t i = 0; s->ids && i < s->count; i++)
        s->ids[i] = (int32_t)(100 + i * 31 % 300);
    nexus_status status = s->ids ? nexus_session_new(m, &so, &s->session) : NEXUS_ERROR_MEMORY;
    if (status || !depth)
        return status;
    sequence fill = *s;
    fill.count = (size_t)depth;
    fill.generate = 1;
    cli_interrupt_watch(s->session);
    generate(&fill);
    cli_interrupt_watch(NULL);
    free(fill.message);
    return fill.status;
}

/* All at once, each on a thread of its own; the first on this one. */
static nexus_status run_together(sequence *all, int n)
{
    bool started[MOST_BATCH] = {false};
    cli_interrupt_watch(all[0].session);
    for (int i = 1; i < n; i++)
        started[i] = pthread_create(&all[i].thread, NULL, generate, &all[i]) == 0;
    generate(&all[0]);
    for (int i = 1; i < n; i++) {
        if (started[i])
            pthread_join(all[i].thread, NULL);
        else
            generate(&all[i]);
    }
    cli_interrupt_watch(NULL);
    for (int i = 0; i < n; i++)
        if (all[i].status)
            return nx_fail("%s", all[i].message), all[i].status;
    return NEXUS_OK;
}

/* `batch` sequences of depth + prompt tokens, then `answer` more of each. *stats: the longest times. */
static nexus_status measure(nexus_model *m, const bench_options *o, int prompt, int answer,
                            nexus_stats *stats)
{
    sequence all[MOST_BATCH] = {0};
    nexus_status status = NEXUS_OK;
    int n = 0;
    while (!status && n < o->batch)
        status = sequence_start(m, o, &all[n++], prompt, answer);
    if (status)
        nx_fail("%s", nexus_error_message());
    else
        status = run_together(all, n);
    *stats = all[0].stats;
    for (int i = 0; i < n; i++) {
        const nexus_stats *s = &all[i].stats;
        if (s->prefill_seconds > stats->prefill_seconds)
            stats->prefill_seconds = s->prefill_seconds;
        if (s->decode_seconds > stats->decode_seconds)
            stats->decode_seconds = s->decode_seconds;
        if (s->time_to_first_token_seconds > stats->time_to_first_token_seconds)
            stats->time_to_first_token_seconds = s->time_to_first_token_seconds;
        nexus_session_free(all[i].session);
        free(all[i].ids);
        free(all[i].message);
    }
    return status;
}

static double rate(int tokens, double seconds)
{
    return seconds > 0 ? tokens / seconds : 0;
}

static nexus_status measure_all(nexus_model *m, const bench_options *o, figures *f)
{
    bench_options warm = *o;
    warm.depth = 0;
    nexus_stats stats = {0};
    nexus_status status = measure(m, &warm, 16, 4, &stats); /* pages in, layouts made */
    for (int i = 0; !status && i < o->repetitions && !cli_interrupted(); i++) {
        status = measure(m, o, o->prompt, 1, &stats);
        f->prefill[i] = rate(o->batch * o->prompt, stats.prefill_seconds);
        f->first[i] = stats.time_to_first_token_seconds;
        if (!status)
            status = measure(m, o, 1, o->generate + 1, &stats); /* the first token is the prefill's */
        f->decode[i] = rate(o->batch * o->generate, stats.decode_seconds);
        f->peak_memory = stats.peak_memory_bytes;
        f->drafted += stats.drafted_tokens;
        f->accepted += stats.accepted_tokens;
    }
    size_t n = (size_t)o->repetitions;
    qsort(f->prefill, n, sizeof *f->prefill, by_value);
    qsort(f->decode, n, sizeof *f->decode, by_value);
    qsort(f->first, n, sizeof *f->first, by_value);
    return status;
}

/* ---- output ------------------------------------------------------------------------------------- */

/* Of the bandwidth that reading all weights once a step takes: a batch reads them together. */
static double share_of_bandwidth(const bench_options *o, const figures *f)
{
    double steps = median(f->decode, o->repetitions) / o->batch;
    return f->read_bandwidth > 0 ? steps * (double)f->token_bytes / f->read_bandwidth : 0;
}

static int print_json(const char *model, const bench_options *o, const figures *f)
{
    int n = o->repetitions, last = n - 1;
    json_t *out = json_pack(
        "{s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:f, s:f, s:o, s:o}",
        "model", json_out_text(model), "threads", o->threads ? o->threads : nx_os_cpus(),
        "prefill_tokens", o->prompt, "decode_tokens", o->generate, "depth", o->depth, "batch", o->batch,
        "repetitions", n, "prefill_tokens_per_second", median(f->prefill, n), "prefill_min",
        f->prefill[0], "prefill_max", f->prefill[last], "decode_tokens_per_second",
        median(f->decode, n), "decode_min", f->decode[0], "decode_max", f->decode[last],
        "time_to_first_token_seconds", median(f->first, n), "peak_memory_bytes",
        json_out_count(f->peak_memory), "token_bytes", json_out_count(f->token_bytes),
        "read_bytes_per_second", f->read_bandwidth, "bandwidth_share", share_of_bandwidth(o, f),
        "drafted_tokens", json_out_count(f->drafted), "accepted_tokens", json_out_count(f->accepted));
    return json_out_print(out);
}

static void print_row(const char *test, const bench_options *o, int tokens, const double *v)
{
    int n = o->repetitions;
    printf("%-10s %8d %8d %8d %12.1f %12.1f to %.1f\n", test, tokens, o->depth, o->batch, median(v, n),
           v[0], v[n - 1]);
}

static int print_table(const bench_options *o, const figures *f)
{
    char memory[32], weights[32], speed[32];
    int n = o->repetitions;
    printf("%-10s %8s %8s %8s %12s %12s\n", "test", "tokens", "depth", "batch", "tokens/s",
           "least to most");
    print_row("prefill", o, o->prompt, f->prefill);
    print_row("decode", o, o->generate, f->decode);
    if (f->drafted)
        printf("%-10s %llu tokens, %llu of them right\n", "drafts", (unsigned long long)f->drafted,
               (unsigned long long)f->accepted);
    printf("%-10s %.3f s to the first token of %d\n", "first", median(f->first, n), o->prompt);
    printf("%-10s %s, %d threads, median of %d\n", "memory",
           cli_bytes(f->peak_memory, memory, sizeof memory), o->threads ? o->threads : nx_os_cpus(), n);
    if (f->read_bandwidth > 0)
        printf("%-10s %.0f%% of %s/s: a token reads %s of weights\n", "bandwidth",
               100 * share_of_bandwidth(o, f),
               cli_bytes((unsigned long long)f->read_bandwidth, speed, sizeof speed),
               cli_bytes(f->token_bytes, weights, sizeof weights));
    return EXIT_GOOD;
}

static int run_bench(nexus_model *m, const char *name, const bench_options *o)
{
    size_t n = (size_t)o->repetitions;
    double *all = calloc(3 * n, sizeof *all);
    if (!all)
        nx_die_nomem(3 * n * sizeof *all);
    figures f = {.prefill = all, .decode = all + n, .first = all + 2 * n};
    nexus_model_info info;
    nexus_status status = nexus_model_describe(m, 0, &info);
    int code;
    if (status) {
        code = cli_fail(status);
    } else if ((status = measure_all(m, o, &f)) || cli_interrupted()) {
        code = cli_interrupted() ? EXIT_INTERRUPTED : cli_fail_here(status);
    } else {
        f.token_bytes = info.token_bytes;
        f.read_bandwidth = cli_read_bandwidth(o->threads);
        code = o->json ? print_json(name, o, &f) : print_table(o, &f);
    }
    free(all);
    return code;
}

/* ---- models of random weights -------------------------------------------------------------------- */

/* The path of the asked shape, made unless it is there. */
static nexus_status make_shape(const bench_options *o, nx_str *path)
{
    bool gguf = strcmp(o->format, "gguf") == 0;
    nx_str folder = {0};
    bool ok = true;
    if (o->out)
        nx_str_puts(&folder, o->out);
    else
        ok = nx_os_path(&folder, NX_OS_CACHE, "shapes");
    ok = ok && nx_os_mkdir_p(nx_str_cstr(&folder), 0755);
    nx_str_printf(path, "%s/%s-%d-bit%s", nx_str_cstr(&folder), o->shape, o->bits, gguf ? ".gguf" : "");
    nx_str whole = {0}; /* what is there once all of it is */
    nx_str_printf(&whole, "%s%s", nx_str_cstr(path), gguf ? "" : "/config.json");
    nexus_status status = ok ? NEXUS_OK : NEXUS_ERROR;
    if (ok && access(nx_str_cstr(&whole), F_OK) != 0) {
        fprintf(stderr, "making %s\n", nx_str_cstr(path));
        status = nexus_model_make(o->shape, o->bits, gguf, nx_str_cstr(path));
    }
    nx_str_clear(&whole);
    nx_str_clear(&folder);
    return status;
}

static int check(const arg_command *command, const bench_options *o, const char *name)
{
    enum { MOST_TOKENS = 1 << 20 };
    if (!name == !o->shape)
        return args_usage_error(command, name ? "either a model or --shape is measured, not both"
                                              : "no model was named");
    if (o->prompt < 1 || o->generate < 1 || o->repetitions < 1 || o->repetitions > 1000 ||
        o->threads < 0 || o->prompt > MOST_TOKENS || o->generate > MOST_TOKENS || o->depth < 0 ||
        o->depth > MOST_TOKENS)
        return args_usage_error(command, "-p, -n and -r must be at least 1, -d at least 0, and of a "
                                         "sane size");
    if (o->batch < 1 || o->batch > MOST_BATCH)
        return args_usage_error(command, "-b must be from 1 to %d", MOST_BATCH);
    if (strcmp(o->format, "gguf") != 0 && strcmp(o->format, "mlx") != 0)
        return args_usage_error(command, "--format is gguf or mlx");
    return ARGS_OK;
}

int cli_bench(int argc, char **argv)
{
    bench_options o = {.prompt = 512, .generate = 128, .batch = 1, .repetitions = 5, .bits = 4,
                       .format = "gguf", .cache_type = "f16"};
    const arg_option options[] = {
        {"prompt", 'p', ARG_INT, &o.prompt, false, "N", "tokens to prefill (512)"},
        {"generate", 'n', ARG_INT, &o.generate, false, "N", "tokens to decode (128)"},
        {"depth", 'd', ARG_INT, &o.depth, false, "N", "tokens in the cache before either (0)"},
        {"batch", 'b', ARG_INT, &o.batch, false, "N", "sequences at once (1)"},
        {"cache-type", 0, ARG_TEXT, &o.cache_type, true, "TYPE", "f16 (default), bf16, f32, q8 or q4"},
        {"threads", 't', ARG_INT, &o.threads, true, "N", "threads (0: all processors)"},
        {"repetitions", 'r', ARG_INT, &o.repetitions, false, "N", "repetitions (5)"},
        {"shape", 0, ARG_TEXT, &o.shape, false, "NAME",
         "instead of a model: one with random weights, tinyllama-1.1b, llama-3.2-1b, qwen3-0.6b, moe-1b"},
        {"bits", 0, ARG_INT, &o.bits, false, "B", "bits of its weights: 2, 3, 4, 5, 6, 8, 16 (4)"},
        {"format", 0, ARG_TEXT, &o.format, false, "F", "gguf or mlx (gguf)"},
        {"out", 0, ARG_TEXT, &o.out, false, "DIR", "folder to keep it in (the cache folder)"},
        {"draft", 0, ARG_TEXT, &o.draft, true, "MODEL", "a small model proposes tokens"},
        {"lookup", 0, ARG_FLAG, &o.lookup, false, NULL, "propose what stood in the text before"},
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus bench MODEL [options]",
                                 "Measures prefill and decode speed, medians of repetitions.", options,
                                 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code == ARGS_OK && !name && !o.shape)
        name = args_profile_text("model");
    if (code == ARGS_OK)
        code = check(&command, &o, name);
    if (code != ARGS_OK)
        return code;
    nx_str made = {0};
    nexus_model *m = NULL;
    nexus_status status = o.shape ? make_shape(&o, &made) : NEXUS_OK;
    if (!status)
        status = cli_open_model(o.shape ? nx_str_cstr(&made) : name, o.threads, &m);
    if (!status && o.draft)
        status = cli_open_model(o.draft, o.threads, &o.draft_model);
    if (status)
        code = cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    else
        code = run_bench(m, o.shape ? o.shape : name, &o);
    nexus_model_free(m);
    nexus_model_free(o.draft_model);
    nx_str_clear(&made);
    return code;
}
