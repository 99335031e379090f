/* store.c: nexus rm, nexus import, nexus alias. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/table.h"

static void say_path(const char *word, const char *path)
{
    nx_str clean = {0};
    table_clean(&clean, path);
    printf("%s%s\n", word, nx_str_cstr(&clean));
    nx_str_clear(&clean);
}

int cli_rm(int argc, char **argv)
{
    const arg_option options[] = {{0}};
    const arg_command command = {"nexus rm NAME...",
                                 "Removes models from the store. Of a linked model only the link goes;\n"
                                 "what lies elsewhere is never removed.",
                                 options, 32};
    const char *names[32];
    int code = args_parse(&command, argc, argv, names);
    if (code != ARGS_OK)
        return code;
    if (!names[0])
        return args_usage_error(&command, "no model was named");
    code = EXIT_GOOD;
    for (int i = 0; i < 32 && names[i]; i++) {
        char *path;
        nexus_status status = nexus_store_remove(names[i], &path);
        if (status) {
            code = cli_fail(status);
            continue;
        }
        say_path("removed ", path);
        nexus_free(path);
    }
    return code;
}

static bool copying(double fraction, void *user)
{
    cli_progress_show(user, fraction);
    return !cli_interrupted();
}

int cli_import(int argc, char **argv)
{
    bool copy = false, hard = false, link = false;
    nexus_import_options o = {0};
    cli_progress progress;
    const arg_option options[] = {
        {"link", 'l', ARG_FLAG, &link, false, NULL, "a symbolic link; the files stay where they are (default)"},
        {"hard-link", 0, ARG_FLAG, &hard, false, NULL, "share the files, on the same disk"},
        {"copy", 'c', ARG_FLAG, &copy, false, NULL, "copy the files"},
        {"name", 0, ARG_TEXT, &o.name, false, "NAME", "store it under this name"},
        {0},
    };
    const arg_command command = {"nexus import MODEL [options]",
                                 "Puts a model that lies elsewhere into the store: a GGUF file, a folder, or\n"
                                 "a name that 'nexus models' lists.",
                                 options, 1};
    const char *path;
    char *stored;
    int code = args_parse(&command, argc, argv, &path);
    if (code != ARGS_OK)
        return code;
    if (!path)
        return args_usage_error(&command, "no model was named");
    if (copy + hard + link > 1)
        return args_usage_error(&command, "--link, --hard-link and --copy exclude each other");
    o.mode = copy ? NEXUS_IMPORT_COPY : hard ? NEXUS_IMPORT_HARD_LINK : NEXUS_IMPORT_LINK;
    o.progress = copying;
    o.user = &progress;
    cli_interrupt_watch(NULL);
    cli_progress_start(&progress, "copying");
    nexus_status status = nexus_store_import(path, &o, &stored);
    cli_progress_end(&progress);
    if (status) {
        code = cli_fail(status);
        return cli_interrupted() ? EXIT_INTERRUPTED : code;
    }
    say_path("stored as ", stored);
    nexus_free(stored);
    return EXIT_GOOD;
}

static int list_aliases(bool json)
{
    char *text;
    nexus_status status = nexus_alias_list(&text);
    if (status)
        return cli_fail(status);
    if (json) {
        puts(text);
    } else {
        static const table_column columns[] = {{"ALIAS", false, 0, 0}, {"MODEL", false, 20, 0}};
        json_t *all = json_loads(text, 0, NULL), *value;
        table *t = table_new(columns, 2);
        const char *name;
        json_object_foreach(all, name, value)
        {
            table_add(t, TABLE_PLAIN, "%s", name);
            table_add(t, TABLE_PLAIN, "%s", json_string_value(value) ? json_string_value(value) : "");
        }
        if (json_object_size(all))
            table_print(t, stdout);
        table_free(t);
        json_decref(all);
    }
    nexus_free(text);
    return EXIT_GOOD;
}

int cli_alias(int argc, char **argv)
{
    bool json = false, forget = false;
    const arg_option options[] = {
        {"remove", 'r', ARG_FLAG, &forget, false, NULL, "forget the alias"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "the list as JSON"},
        {0},
    };
    const arg_command command = {"nexus alias [NAME [MODEL]] [options]",
                                 "Gives a model (a path or a name) another name. Without arguments: lists\n"
                                 "them.",
                                 options, 2};
    const char *operands[2];
    int code = args_parse(&command, argc, argv, operands);
    if (code != ARGS_OK)
        return code;
    if (!operands[0])
        return list_aliases(json);
    if (forget == (operands[1] != NULL))
        return args_usage_error(&command, forget ? "--remove takes the alias alone"
                                                 : "name the model that '%s' is to stand for", operands[0]);
    nexus_model_info info;
    nexus_status status = forget ? NEXUS_OK : nexus_inspect(operands[1], 0, &info);
    if (!status || status == NEXUS_ERROR_UNSUPPORTED) {
        /* A path is to mean the same from everywhere. */
        char *whole = operands[1] ? realpath(operands[1], NULL) : NULL;
        status = nexus_alias_set(operands[0], whole ? whole : operands[1]);
        free(whole);
    }
    return status ? cli_fail(status) : EXIT_GOOD;
}
