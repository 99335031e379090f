/* bench.c: nexus bench MODEL: prefill and decode speed, medians over repetitions. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "cli/args.h"
#include "cli/cli.h"

typedef struct {
    int prompt, generate, threads, repetitions;
    bool json;
} bench_options;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts v. */
static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* A run of `prompt` made-up tokens and then `generate` more, in a session of its own. */
static nexus_status measure(nexus_model *m, int prompt, int generate, nexus_stats *stats)
{
    nexus_session *s;
    nexus_session_options so = {.context = prompt + generate + 1};
    nexus_status status = nexus_session_new(m, &so, &s);
    if (status)
        return status;
    int32_t *ids = malloc((size_t)prompt * sizeof *ids);
    for (int i = 0; ids && i < prompt; i++)
        ids[i] = 100 + i * 31 % 1000; /* any tokens will do: the work is the same */
    nexus_generate_options o = nexus_generate_defaults();
    o.temperature = 0;
    o.max_tokens = generate;
    o.ignore_eos = true;
    cli_interrupt_watch(s);
    status = ids ? nexus_generate(s, ids, (size_t)prompt, &o, NULL, NULL, stats) : NEXUS_ERROR_MEMORY;
    cli_interrupt_watch(NULL);
    free(ids);
    nexus_session_free(s);
    return status;
}

static void print_json(const char *model, const bench_options *o, double *prefill, double *decode,
                       const nexus_stats *s)
{
    int n = o->repetitions;
    double p = median(prefill, n), d = median(decode, n);
    json_t *out = json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "model",
                            model, "threads", o->threads ? o->threads : nx_os_cpus(),
                            "prefill_tokens", o->prompt, "decode_tokens", o->generate, "repetitions",
                            n, "prefill_tokens_per_second", p, "prefill_min", prefill[0],
                            "prefill_max", prefill[n - 1], "decode_tokens_per_second", d,
                            "decode_min", decode[0], "decode_max", decode[n - 1],
                            "peak_memory_bytes", (json_int_t)s->peak_memory_bytes);
    char *text = json_dumps(out, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("%s\n", text);
    free(text);
    json_decref(out);
}

static void print_table(const bench_options *o, double *prefill, double *decode, const nexus_stats *s)
{
    char memory[32];
    int n = o->repetitions;
    double p = median(prefill, n), d = median(decode, n);
    printf("%-10s %8s %12s %20s\n", "test", "tokens", "tokens/s", "least to most");
    printf("%-10s %8d %12.1f %10.1f to %6.1f\n", "prefill", o->prompt, p, prefill[0], prefill[n - 1]);
    printf("%-10s %8d %12.1f %10.1f to %6.1f\n", "decode", o->generate, d, decode[0], decode[n - 1]);
    printf("%-10s %s, %d threads, median of %d\n", "memory",
           cli_bytes(s->peak_memory_bytes, memory, sizeof memory),
           o->threads ? o->threads : nx_os_cpus(), n);
}

static int run_bench(nexus_model *m, const char *name, const bench_options *o)
{
    size_t n = (size_t)o->repetitions;
    double *prefill = calloc(n, sizeof *prefill), *decode = calloc(n, sizeof *decode);
    nexus_stats stats = {0};
    nexus_status status = measure(m, 16, 4, &stats); /* warm: pages in, layouts made */
    for (size_t i = 0; !status && i < n && !cli_interrupted(); i++) {
        status = measure(m, o->prompt, 1, &stats);
        prefill[i] = stats.prefill_seconds > 0 ? o->prompt / stats.prefill_seconds : 0;
        if (!status)
            status = measure(m, 1, o->generate + 1, &stats); /* the first token is the prefill's */
        decode[i] = stats.decode_seconds > 0 ? o->generate / stats.decode_seconds : 0;
    }
    int code = EXIT_GOOD;
    if (cli_interrupted())
        code = EXIT_INTERRUPTED;
    else if (status)
        code = cli_fail(status);
    else if (o->json)
        print_json(name, o, prefill, decode, &stats);
    else
        print_table(o, prefill, decode, &stats);
    free(prefill);
    free(decode);
    return code;
}

int cli_bench(int argc, char **argv)
{
    bench_options o = {.prompt = 512, .generate = 128, .repetitions = 5};
    const arg_option options[] = {
        {"prompt", 'p', ARG_INT, &o.prompt, false, "N", "tokens to prefill (512)"},
        {"generate", 'n', ARG_INT, &o.generate, false, "N", "tokens to decode (128)"},
        {"threads", 't', ARG_INT, &o.threads, true, "N", "threads (0: all processors)"},
        {"repetitions", 'r', ARG_INT, &o.repetitions, false, "N", "repetitions (5)"},
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus bench MODEL [options]",
                                 "Measures prefill and decode speed, medians of repetitions.", options,
                                 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name)
        return args_usage_error(&command, "no model was named");
    if (o.prompt < 1 || o.generate < 1 || o.repetitions < 1 || o.repetitions > 1000 || o.threads < 0 ||
        o.prompt > 1 << 20 || o.generate > 1 << 20)
        return args_usage_error(&command, "-p, -n and -r must be at least 1, and of a sane size");
    nexus_model *m;
    nexus_status status = cli_load(name, o.threads, &m);
    if (status)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    code = run_bench(m, name, &o);
    nexus_model_free(m);
    return code;
}
