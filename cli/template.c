/* template.c: nexus template MODEL|FILE.jinja CONVERSATION.json: the prompt that a template makes. */
#include <stdio.h>

#include "base/error.h"
#include "base/str.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/input.h"

/* The exit code, after a message where it is not good; so below. */
static int render_file(const char *file, const nx_str *variables, char **text)
{
    nx_str source = {0};
    int code = EXIT_GOOD;
    if (!input_read(file, &source)) {
        code = cli_fail_here(NEXUS_ERROR);
    } else {
        nexus_status status = nexus_render_template(nx_str_cstr(&source), source.len,
                                                    nx_str_cstr(variables), variables->len, text);
        code = status ? cli_fail(status) : EXIT_GOOD;
    }
    nx_str_clear(&source);
    return code;
}

static int render_model(const char *name, const nx_str *variables, char **text)
{
    nexus_load_options load = {.text_only = true};
    nexus_model *m;
    nexus_status status = nexus_model_load(name, &load, &m);
    if (!status) {
        status = nexus_render_variables(m, nx_str_cstr(variables), variables->len, text);
        nexus_model_free(m);
    }
    return status ? cli_fail(status) : EXIT_GOOD;
}

int cli_template(int argc, char **argv)
{
    const arg_option options[] = {{0}};
    const arg_command command = {
        "nexus template MODEL|FILE.jinja [CONVERSATION.json]",
        "Renders a chat template with the variables of a JSON object (from the standard\n"
        "input where no file is named): messages, tools, add_generation_prompt and whatever\n"
        "else the template reads, exactly as they are. Of a model, bos_token and eos_token\n"
        "are its own where they are not given. The text is printed without a line's end.",
        options, 2};
    const char *operands[2];
    int code = args_parse(&command, argc, argv, operands);
    if (code != ARGS_OK)
        return code;
    if (!operands[0])
        return args_usage_error(&command, "name a model or a template file");
    bool is_file = nx_ends_with(operands[0], ".jinja") || nx_ends_with(operands[0], ".j2");
    nx_str variables = {0};
    char *text = NULL;
    if (!input_read(operands[1], &variables)) {
        nx_str_clear(&variables);
        return cli_fail_here(NEXUS_ERROR);
    }
    code = is_file ? render_file(operands[0], &variables, &text)
                   : render_model(operands[0], &variables, &text);
    nx_str_clear(&variables);
    if (code != EXIT_GOOD)
        return code;
    bool written = fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    nexus_free(text);
    if (written)
        return EXIT_GOOD;
    nx_fail("the output cannot be written");
    return cli_fail_here(NEXUS_ERROR);
}
