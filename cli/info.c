/* info.c: nexus info MODEL */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/args.h"
#include "cli/cli.h"

static void print_json(const nexus_model_info *i)
{
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s, s:f, s:I, s:i, s:i, s:I}", "name", i->name, "path", i->path,
        "format", i->format, "family", i->family, "parameters", (json_int_t)i->parameters,
        "quantization", i->quantization, "bits_per_weight", i->bits_per_weight, "bytes",
        (json_int_t)i->bytes, "max_context", i->max_context, "context", i->context, "memory_bytes",
        (json_int_t)i->memory_bytes);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("%s\n", text);
    free(text);
    json_decref(o);
}

static void print_count(const char *label, uint64_t n)
{
    if (n >= 1000000000)
        printf("%-14s %.2f billion\n", label, (double)n / 1e9);
    else
        printf("%-14s %.1f million\n", label, (double)n / 1e6);
}

static void print_table(const nexus_model_info *i)
{
    char size[32];
    printf("%-14s %s\n", "name", i->name);
    printf("%-14s %s\n", "path", i->path);
    printf("%-14s %s, family %s\n", "format", i->format, i->family);
    print_count("parameters", i->parameters);
    printf("%-14s %s, %.2f bits a weight\n", "quantization", i->quantization, i->bits_per_weight);
    printf("%-14s %s\n", "size", cli_bytes(i->bytes, size, sizeof size));
    printf("%-14s %d tokens at most\n", "context", i->max_context);
    printf("%-14s %s at %d tokens\n", "memory", cli_bytes(i->memory_bytes, size, sizeof size),
           i->context);
}

int cli_info(int argc, char **argv)
{
    int ctx = 4096;
    const char *cache_type = "f16";
    bool json = false;
    const arg_option options[] = {
        {"ctx", 'c', ARG_INT, &ctx, true, "N", "context the memory is told for (4096)"},
        {"cache-type", 0, ARG_TEXT, &cache_type, true, "TYPE", "and its cache: f16, bf16, f32, q8 or q4 (f16)"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus info MODEL [options]",
                                 "Says what a model is and what it needs, without loading it.\n"
                                 "MODEL is a GGUF file, a folder, or the name of a stored model.",
                                 options, 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name && !(name = args_profile_text("model")))
        return args_usage_error(&command, "no model was named");
    if (ctx < 1)
        return args_usage_error(&command, "a context of %d tokens makes no sense", ctx);
    nexus_model_info info;
    nexus_status status = nexus_inspect_cache(name, ctx, cache_type, &info);
    if (status)
        return cli_fail(status);
    if (json)
        print_json(&info);
    else
        print_table(&info);
    return EXIT_GOOD;
}
