/* eval.c: nexus eval MODEL --text FILE: perplexity, and how far another model's expectations are. */
#include <stdio.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/evaluation.h"
#include "cli/input.h"
#include "cli/json_out.h"

static bool show(double fraction, void *user)
{
    cli_progress_show(user, fraction);
    return !cli_interrupted();
}

nexus_status evaluation_run(const char *name, const char *against, const nx_str *text, int ctx, int threads,
                            nexus_evaluation *out)
{
    nexus_model *m = NULL, *other = NULL;
    cli_progress p;
    nexus_status status = cli_open_model(name, threads, &m);
    if (!status && against)
        status = cli_open_model(against, threads, &other);
    if (!status) {
        cli_progress_start(&p, "reading the text");
        status = nexus_evaluate(m, other, nx_str_cstr(text), text->len, ctx, show, &p, out);
        cli_progress_end(&p);
    }
    nexus_model_free(m);
    nexus_model_free(other);
    return status;
}

static int print_json(const nexus_evaluation *e, const char *name, const char *against)
{
    json_t *o = json_pack("{s:o, s:o, s:f, s:f, s:f}", "model", json_out_text(name), "tokens",
                          json_out_count(e->tokens), "perplexity", e->perplexity, "loss_error", e->loss_error,
                          "seconds", e->seconds);
    if (against) {
        json_object_set_new(o, "against", json_out_text(against));
        json_object_set_new(o, "against_perplexity", json_real(e->against_perplexity));
        json_object_set_new(o, "kl_divergence", json_real(e->divergence));
        json_object_set_new(o, "kl_divergence_most", json_real(e->divergence_most));
        json_object_set_new(o, "top1_agreement", json_real(e->agreement));
    }
    return json_out_print(o);
}

static int print_lines(const nexus_evaluation *e, const char *against)
{
    printf("perplexity  %.4f (+- %.4f)\n", e->perplexity, e->perplexity * e->loss_error);
    if (against) {
        printf("against     %.4f of %s\n", e->against_perplexity, against);
        printf("divergence  %.6f nats a token, %.4f at most\n", e->divergence, e->divergence_most);
        printf("agreement   %.2f%% of the likeliest tokens\n", 100 * e->agreement);
    }
    printf("tokens      %llu in %.1f s\n", (unsigned long long)e->tokens, e->seconds);
    return EXIT_GOOD;
}

int cli_eval(int argc, char **argv)
{
    const char *file = NULL, *against = NULL, *name;
    int ctx = 0, threads = 0;
    bool json = false;
    const arg_option options[] = {
        {"text", 'f', ARG_TEXT, &file, false, "FILE", "the text to read (the standard input)"},
        {"against", 0, ARG_TEXT, &against, false, "MODEL", "compare with this model's expectations"},
        {"ctx", 'c', ARG_INT, &ctx, false, "N", "tokens of a window (512)"},
        {"threads", 0, ARG_INT, &threads, true, "N", "threads (0: all processors)"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "as JSON"},
        {0},
    };
    const arg_command command = {"nexus eval MODEL --text FILE [options]",
                                 "Perplexity of a text, and with --against how far two models are apart.",
                                 options, 1};
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name)
        return args_usage_error(&command, "no model was named");
    if (ctx < 0 || threads < 0)
        return args_usage_error(&command, "--ctx and --threads cannot be negative");
    nx_str text = {0};
    nexus_evaluation e;
    if (!input_read(file, &text)) {
        code = cli_fail_here(NEXUS_ERROR);
    } else {
        nexus_status status = evaluation_run(name, against, &text, ctx, threads, &e);
        code = !status ? json ? print_json(&e, name, against) : print_lines(&e, against)
               : cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    }
    nx_str_clear(&text);
    return code;
}
