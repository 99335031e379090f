/* convert.c: nexus convert and nexus quantize: a model in another format, or with fewer bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/evaluation.h"
#include "cli/input.h"
#include "cli/json_out.h"

typedef struct {
    nexus_convert_options o;
    const char *shard_size, *calibrate, *report;
    bool json;
} request;

static bool show(double fraction, void *user)
{
    cli_progress_show(user, fraction);
    return !cli_interrupted();
}

/* "500M", "2G", bytes. */
static bool size_of(const char *text, uint64_t *out)
{
    char *end;
    double v = strtod(text, &end);
    double unit = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' ? 1e9 : 1;
    end += unit > 1;
    end += *end == 'B';
    if (*end || !(v > 0) || v * unit > 1e18)
        return nx_fail("'%s' is no size: write 500M or 5G", text);
    *out = (uint64_t)(v * unit);
    return true;
}

static int print_result(const request *r, const char *source, const char *target,
                        const nexus_convert_result *result, const nexus_evaluation *e)
{
    char size[32];
    if (r->json) {
        json_t *o = json_pack("{s:o, s:o, s:o, s:o, s:f, s:o}", "source", json_out_text(source), "target",
                              json_out_text(target), "bytes", json_out_count(result->bytes), "parameters",
                              json_out_count(result->parameters), "bits_per_weight", result->bits_per_weight,
                              "rounded_scales", json_out_count(result->rounded_scales));
        if (e) {
            json_object_set_new(o, "perplexity_before", json_real(e->against_perplexity));
            json_object_set_new(o, "perplexity", json_real(e->perplexity));
            json_object_set_new(o, "kl_divergence", json_real(e->divergence));
            json_object_set_new(o, "top1_agreement", json_real(e->agreement));
        }
        return json_out_print(o);
    }
    printf("%s: %s, %.2f bits a weight\n", target, cli_bytes(result->bytes, size, sizeof size),
           result->bits_per_weight);
    if (e)
        printf("perplexity %.4f before, %.4f now; divergence %.6f nats a token; %.2f%% of the likeliest "
               "tokens agree\n", e->against_perplexity, e->perplexity, e->divergence, 100 * e->agreement);
    return EXIT_GOOD;
}

static int run(request *r, const char *source, const char *target)
{
    nx_str calibration = {0}, report = {0};
    nexus_convert_result result;
    nexus_evaluation e;
    cli_progress p;
    bool ok = (!r->shard_size || size_of(r->shard_size, &r->o.shard_bytes)) &&
              (!r->calibrate || input_read(r->calibrate, &calibration)) &&
              (!r->report || input_read(r->report, &report));
    int code = ok ? EXIT_GOOD : cli_fail_here(NEXUS_ERROR_ARGUMENT);
    if (ok) {
        r->o.calibration = r->calibrate ? nx_str_cstr(&calibration) : NULL;
        r->o.calibration_length = calibration.len;
        cli_interrupt_watch(NULL);
        cli_progress_start(&p, "converting");
        r->o.progress = show;
        r->o.user = &p;
        nexus_status status = nexus_convert(source, target, &r->o, &result);
        cli_progress_end(&p);
        if (!status && r->report)
            status = evaluation_run(target, source, &report, 0, 0, &e);
        code = !status ? print_result(r, source, target, &result, r->report ? &e : NULL)
               : cli_interrupted() ? EXIT_INTERRUPTED : cli_fail(status);
    }
    nx_str_clear(&calibration);
    nx_str_clear(&report);
    return code;
}

static int parse_and_run(int argc, char **argv, bool quantize)
{
    request r = {0};
    const arg_option options[] = {
        {"to", 0, ARG_TEXT, &r.o.to, false, "FORMAT", "mlx, hf or gguf (as OUT is named; else mlx)"},
        {"bits", 'b', ARG_INT, &r.o.bits, false, "N", "of mlx: 2, 3, 4, 5, 6 or 8 bits a weight"},
        {"group", 'g', ARG_INT, &r.o.group_size, false, "G", "of mlx: weights that share a scale (64)"},
        {"mode", 0, ARG_TEXT, &r.o.mode, false, "MODE", "of mlx: affine, mxfp4, mxfp8 or nvfp4"},
        {"recipe", 0, ARG_TEXT, &r.o.recipe, false, "NAME",
         "of mlx: mixed_LOW_HIGH, more bits where it matters (mixed_4_6)"},
        {"type", 0, ARG_TEXT, &r.o.type, false, "TYPE",
         "of gguf: Q4_K_M, Q6_K, Q8_0, Q4_0, …; of any: f16, bf16, f32"},
        {"target-bpw", 0, ARG_REAL, &r.o.target_bpw, false, "X",
         "so many bits a weight in all, divided so that the error is least"},
        {"calibrate", 0, ARG_TEXT, &r.calibrate, false, "FILE", "a text that says which columns matter"},
        {"shard-size", 0, ARG_TEXT, &r.shard_size, false, "SIZE", "the largest file, as 5G"},
        {"report", 0, ARG_TEXT, &r.report, false, "FILE",
         "perplexity of this text before and after, and the divergence"},
        {"force", 0, ARG_FLAG, &r.o.replace, false, NULL, "replace what is there"},
        {"json", 0, ARG_FLAG, &r.json, false, NULL, "the result as JSON"},
        {0},
    };
    const arg_command convert = {"nexus convert MODEL OUT [options]",
                                 "Writes a model in another format: Hugging Face's or MLX's folder, or GGUF.",
                                 options, 2},
                      smaller = {"nexus quantize MODEL OUT --bits N|--type TYPE [options]",
                                 "Writes a model with fewer bits a weight.", options, 2};
    const arg_command *command = quantize ? &smaller : &convert;
    const char *operands[2] = {NULL, NULL};
    int code = args_parse(command, argc, argv, operands);
    if (code != ARGS_OK)
        return code;
    if (!operands[0] || !operands[1])
        return args_usage_error(command, "name a model and where the new one goes");
    if (r.o.bits < 0 || r.o.group_size < 0 || r.o.target_bpw < 0)
        return args_usage_error(command, "--bits, --group and --target-bpw cannot be negative");
    bool asked = r.o.bits || r.o.type || r.o.mode || r.o.recipe || r.o.target_bpw > 0;
    if (quantize && !asked)
        return args_usage_error(command, "say how: --bits, --mode or --recipe for a folder, --type for a "
                                         ".gguf file, or --target-bpw");
    if (quantize && !r.o.to && !nx_ends_with(operands[1], ".gguf"))
        r.o.to = "mlx";
    return run(&r, operands[0], operands[1]);
}

int cli_convert(int argc, char **argv)
{
    return parse_and_run(argc, argv, false);
}

int cli_quantize(int argc, char **argv)
{
    return parse_and_run(argc, argv, true);
}
