/* select.c: nexus select: which model for what, why, and what else there is. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/table.h"

typedef struct {
    const char *task, *cache_type;
    arg_texts folders;
    double memory;
    int context;
    bool json, policy;
} select_cli;

static json_t *candidate_json(const nexus_choice *c)
{
    json_t *o = json_object();
    json_object_set_new(o, "model", json_out_text(c->model->name));
    json_object_set_new(o, "path", json_out_text(c->model->path));
    json_object_set_new(o, "format", json_string(c->model->format));
    json_object_set_new(o, "parameters", json_out_count(c->model->parameters));
    json_object_set_new(o, "memory_bytes", json_out_count(c->memory_bytes));
    json_object_set_new(o, "fits", json_boolean(c->fits));
    json_object_set_new(o, "status", json_string(c->model->status));
    json_object_set_new(o, "score", json_real(c->score));
    json_object_set_new(o, "note", json_out_text(c->note));
    return o;
}

static int print_json(const nexus_selection *s)
{
    json_t *list = json_array(), *o = json_object();
    for (size_t i = 0; i < s->candidate_count; i++)
        json_array_append_new(list, candidate_json(&s->candidates[i]));
    json_object_set_new(o, "model", s->model ? json_out_text(s->model->name) : json_null());
    json_object_set_new(o, "path", s->model ? json_out_text(s->model->path) : json_null());
    json_object_set_new(o, "reason", json_out_text(s->reason));
    json_object_set_new(o, "task", json_string(s->task));
    json_object_set_new(o, "memory_bytes", json_out_count(s->memory_bytes));
    json_object_set_new(o, "memory_available", json_out_count(s->memory));
    json_object_set_new(o, "context", json_integer(s->context));
    json_object_set_new(o, "pull", *s->pull ? json_string(s->pull) : json_null());
    json_object_set_new(o, "candidates", list);
    return json_out_print(o);
}

enum { RUNNERS_UP = 5 };

static void print_runners_up(const nexus_selection *s)
{
    static const table_column columns[] = {
        {" ", false, 0, 0}, {"MODEL", false, 20, 0}, {"MEMORY", true, 0, 0}, {"SCORE", true, 0, 1},
        {"WHY", false, 12, 0}};
    table *t = table_new(columns, 5);
    size_t rest = 0;
    for (size_t i = 0; i < s->candidate_count; i++) {
        const nexus_choice *c = &s->candidates[i];
        char size[32];
        if (c->model == s->model)
            continue;
        if (rest++ >= RUNNERS_UP)
            continue;
        table_look look = c->fits ? TABLE_PLAIN : TABLE_DIM;
        table_add(t, look, "%s", "");
        table_add(t, look, "%s", c->model->name);
        table_add(t, look, "%s", c->memory_bytes ? cli_bytes(c->memory_bytes, size, sizeof size) : "");
        table_add(t, look, "%.1f", c->score);
        table_add(t, look, "%s", c->note);
    }
    if (rest) {
        printf("\nRunners-up:\n");
        table_print(t, stdout);
    }
    if (rest > RUNNERS_UP)
        printf("  … and %zu more\n", rest - RUNNERS_UP);
    table_free(t);
}

static int print_text(const nexus_selection *s)
{
    nx_str name = {0}, path = {0}, reason = {0};
    table_clean(&reason, s->reason);
    if (s->model) {
        table_clean(&name, s->model->name);
        table_clean(&path, s->model->path);
        printf("%s%s%s\n%s\n%s\n", table_color(stdout, TABLE_STRONG), nx_str_cstr(&name),
               table_color(stdout, TABLE_PLAIN), nx_str_cstr(&path), nx_str_cstr(&reason));
    } else {
        fprintf(stderr, "nexus: %s\n", nx_str_cstr(&reason));
    }
    print_runners_up(s);
    if (*s->pull)
        fprintf(s->model ? stdout : stderr, "%s: nexus pull %s\n",
                s->model ? "\nTo have what the policy wishes" : "nexus: fetch one", s->pull);
    nx_str_clear(&name);
    nx_str_clear(&path);
    nx_str_clear(&reason);
    return EXIT_GOOD;
}

static int print_policy(void)
{
    char *text, *path;
    nexus_status status = nexus_policy(&text, &path);
    if (status)
        return cli_fail(status);
    fputs(text, stdout);
    if (path)
        fprintf(stderr, "nexus: to change it, write it to %s\n", path);
    nexus_free(text);
    nexus_free(path);
    return EXIT_GOOD;
}

int cli_select(int argc, char **argv)
{
    select_cli o = {.task = "chat", .cache_type = "f16", .context = 4096};
    const arg_option options[] = {
        {"task", 't', ARG_TEXT, &o.task, false, "TASK",
         "chat (default), code, reason, embed, vision, transcribe, small"},
        {"memory", 'm', ARG_REAL, &o.memory, false, "GB", "memory that may be used (what is free now)"},
        {"context", 'c', ARG_INT, &o.context, false, "N", "the context it is to have (4096)"},
        {"cache-type", 0, ARG_TEXT, &o.cache_type, true, "TYPE", "f16 (default), bf16, f32, q8 or q4"},
        {"dir", 'd', ARG_TEXTS, &o.folders, false, "DIR", "only models of this folder (may be repeated)"},
        {"policy", 0, ARG_FLAG, &o.policy, false, NULL, "print the policy the choice is made by"},
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus select [options]",
                                 "Chooses among the models there are: by the policy's rules, then by its\n"
                                 "ranking, and only what fits into memory.",
                                 options, 0};
    int code = args_parse(&command, argc, argv, NULL);
    if (code != ARGS_OK)
        return code;
    if (o.policy)
        return print_policy();
    if (o.context < 1 || o.memory < 0 || o.memory > 1e6)
        return args_usage_error(&command, "--context and --memory must be of a sane size");
    nexus_models_options mo = {.folders = o.folders.at, .folder_count = o.folders.n,
                               .context = o.context, .cache_type = o.cache_type};
    nexus_select_options so = {.task = o.task, .memory = (uint64_t)(o.memory * 1e9),
                               .context = o.context, .cache_type = o.cache_type};
    nexus_models *m;
    nexus_selection s;
    nexus_status status = nexus_models_scan(&mo, &m);
    if (status)
        return cli_fail(status);
    status = nexus_select(m, &so, &s);
    if (!status) {
        code = o.json ? print_json(&s) : print_text(&s);
        if (code == EXIT_GOOD && !s.model)
            code = EXIT_FAILED;
        nexus_selection_clear(&s);
    }
    nexus_models_free(m);
    return status ? cli_fail(status) : code;
}
