/* tokenize.c: nexus tokenize MODEL: text to token ids, and back. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/vec.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/input.h"

typedef NX_VEC(int32_t) id_vec;

static int finish(void)
{
    if (fflush(stdout) == 0)
        return EXIT_GOOD;
    nx_fail("the output cannot be written");
    return cli_fail_here(NEXUS_ERROR);
}

static int print_ids(const int32_t *ids, size_t n, bool json)
{
    if (json)
        putchar('[');
    for (size_t i = 0; i < n; i++)
        printf("%s%" PRId32, !i ? "" : json ? ", " : " ", ids[i]);
    puts(json ? "]" : "");
    return finish();
}

static int encode(nexus_model *m, const nx_str *text, bool special, bool json)
{
    int32_t *ids;
    size_t n, replaced = 0;
    nexus_status status = nexus_tokenize(m, nx_str_cstr(text), text->len, special, true, &ids, &n, &replaced);
    if (status)
        return cli_fail(status);
    if (replaced)
        fprintf(stderr, "nexus: the text is not valid UTF-8: %zu place%s read as U+FFFD\n", replaced,
                replaced == 1 ? " was" : "s were");
    int code = print_ids(ids, n, json);
    nexus_free(ids);
    return code;
}

/* Numbers between blanks, commas and brackets: what encode prints in either form. */
static bool read_ids(const nx_str *text, id_vec *ids)
{
    for (const char *p = nx_str_cstr(text); *p;) {
        if (isspace((unsigned char)*p) || *p == ',' || *p == '[' || *p == ']') {
            p++;
            continue;
        }
        char *end;
        errno = 0;
        long id = strtol(p, &end, 10);
        if (end == p || errno || id < 0 || id > INT32_MAX)
            return nx_fail("'%.20s' is no token id: give whole numbers with blanks or commas between", p);
        nx_vec_push(ids, (int32_t)id);
        p = end;
    }
    return true;
}

static int decode(nexus_model *m, const nx_str *input, bool special)
{
    id_vec ids = {0};
    char *text = NULL;
    size_t length = 0;
    if (!read_ids(input, &ids)) {
        nx_vec_clear(&ids);
        return cli_fail_here(NEXUS_ERROR_ARGUMENT);
    }
    nexus_status status = nexus_detokenize(m, ids.at, ids.n, special, &text, &length);
    if (!status)
        fwrite(text, 1, length, stdout);
    nexus_free(text);
    nx_vec_clear(&ids);
    return status ? cli_fail(status) : finish();
}

int cli_tokenize(int argc, char **argv)
{
    const char *file = NULL;
    bool plain = false, json = false, back = false;
    const arg_option options[] = {
        {"file", 'f', ARG_TEXT, &file, false, "FILE", "read this instead of the standard input"},
        {"no-special", 0, ARG_FLAG, &plain, false, NULL,
         "add no token at the beginning or end; with --decode, leave special tokens out"},
        {"decode", 'd', ARG_FLAG, &back, false, NULL, "token ids in, text out"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "ids as a JSON array"},
        {0},
    };
    const arg_command command = {"nexus tokenize MODEL [options]",
                                 "Text to token ids, by the model's own tokenizer; its weights are not read.\n"
                                 "MODEL may also be a tokenizer.json or its folder. Texts of special tokens\n"
                                 "become those tokens.",
                                 options, 1};
    const char *name;
    int code = args_parse(&command, argc, argv, &name);
    if (code != ARGS_OK)
        return code;
    if (!name)
        return args_usage_error(&command, "name a model");
    nexus_load_options load = {.text_only = true};
    nexus_model *m;
    nexus_status status = nexus_model_load(name, &load, &m);
    if (status)
        return cli_fail(status);
    nx_str input = {0};
    if (!input_read(file, &input))
        code = cli_fail_here(NEXUS_ERROR);
    else
        code = back ? decode(m, &input, !plain) : encode(m, &input, !plain, json);
    nx_str_clear(&input);
    nexus_model_free(m);
    return code;
}
