/* embed.c: nexus embed MODEL: a line in, its vector as a JSON array out. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/vec.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/input.h"

enum { LINES_AT_ONCE = 64 };

typedef NX_VEC(nexus_text) text_vec;

static void split_lines(const nx_str *input, text_vec *lines)
{
    const char *p = nx_str_cstr(input), *end = p + input->len;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        nx_vec_push(lines, (nexus_text){.bytes = p, .length = n && p[n - 1] == '\r' ? n - 1 : n});
        p += n + 1;
    }
}

static bool print_vector(const float *v, int n)
{
    for (int i = 0; i < n; i++)
        printf("%s%.9g", i ? "," : "[", (double)v[i]);
    return puts("]") >= 0;
}

static nexus_status embed_lines(nexus_model *m, const text_vec *lines, const nexus_embed_options *o)
{
    nexus_status status = NEXUS_OK;
    for (size_t i = 0; !status && i < lines->n && !cli_interrupted(); i += LINES_AT_ONCE) {
        size_t n = lines->n - i < LINES_AT_ONCE ? lines->n - i : LINES_AT_ONCE;
        float *vectors;
        int width;
        status = nexus_embed(m, lines->at + i, n, o, &vectors, &width, NULL);
        if (status) {
            nx_fail("lines %zu to %zu: %s", i + 1, i + n, nexus_error_message());
            break;
        }
        bool written = true;
        for (size_t k = 0; k < n && written; k++)
            written = print_vector(vectors + k * (size_t)width, width);
        nexus_free(vectors);
        if (!written || fflush(stdout) != 0) {
            nx_fail("the output cannot be written");
            status = NEXUS_ERROR;
        }
    }
    return status;
}

int cli_embed(int argc, char **argv)
{
    const char *file = NULL;
    nexus_embed_options o = {0};
    int threads = 0;
    const arg_option options[] = {
        {"file", 'f', ARG_TEXT, &file, false, "FILE", "read this instead of the standard input"},
        {"pooling", 0, ARG_TEXT, &o.pooling, false, "KIND", "mean, cls or last (what the model says)"},
        {"no-normalize", 0, ARG_FLAG, &o.raw, false, NULL, "do not make the vectors of length one"},
        {"dimensions", 0, ARG_INT, &o.dimensions, false, "N", "the first N numbers alone (all)"},
        {"truncate", 0, ARG_FLAG, &o.truncate, false, NULL, "texts that are too long lose their end"},
        {"threads", 't', ARG_INT, &threads, true, "N", "threads (0: all processors)"},
        {0},
    };
    const arg_command command = {"nexus embed MODEL [options]",
                                 "Each line of the input as a vector: a JSON array a line.",
                                 options, 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name)
        return args_usage_error(&command, "name a model");
    nx_str input = {0};
    if (!input_read(file, &input)) {
        nx_str_clear(&input);
        return cli_fail_here(NEXUS_ERROR);
    }
    text_vec lines = {0};
    split_lines(&input, &lines);
    nexus_model *m;
    nexus_status status = cli_open_model(name, threads, &m);
    if (status) {
        code = cli_fail(status);
    } else {
        status = embed_lines(m, &lines, &o);
        code = status ? cli_fail_here(status) : cli_interrupted() ? EXIT_INTERRUPTED : EXIT_GOOD;
        nexus_model_free(m);
    }
    nx_vec_clear(&lines);
    nx_str_clear(&input);
    return code;
}
