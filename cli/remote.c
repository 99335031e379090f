/* remote.c: nexus ps, load, unload, stop: what is asked of a running server. */
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/json_out.h"
#include "cli/table.h"

/* ---- ps ---- */

static void add_size(table *t, const json_t *m, const char *key)
{
    char text[32];
    table_add(t, TABLE_PLAIN, "%s", cli_bytes((unsigned long long)nx_json_get_int(m, key, 0), text, sizeof text));
}

static void add_model(table *t, const json_t *m)
{
    double left = nx_json_get_real(m, "expires_seconds", -1);
    int64_t running = nx_json_get_int(m, "running", 0), waiting = nx_json_get_int(m, "waiting", 0);
    table_add(t, TABLE_STRONG, "%s", nx_json_get_str(m, "name", ""));
    table_add(t, TABLE_PLAIN, "%s", nx_json_get_str(m, "quantization", ""));
    add_size(t, m, "memory_bytes");
    table_add(t, TABLE_PLAIN, "%lld", (long long)nx_json_get_int(m, "context", 0));
    table_add(t, running ? TABLE_GOOD : TABLE_DIM, "%lld", (long long)running);
    table_add(t, waiting ? TABLE_WARN : TABLE_DIM, "%lld", (long long)waiting);
    if (left < 0)
        table_add(t, TABLE_PLAIN, "never");
    else
        table_add(t, TABLE_PLAIN, "%.0f min", left / 60);
}

static void print_ps(const json_t *o)
{
    static const table_column columns[] = {{"MODEL", false, 12, 0}, {"QUANTIZATION", false, 0, 3},
                                           {"NEEDS", true, 0, 1}, {"CONTEXT", true, 0, 2},
                                           {"RUNNING", true, 0, 0}, {"WAITING", true, 0, 0},
                                           {"UNLOADS IN", true, 0, 0}};
    const json_t *models = json_object_get(o, "models");
    char used[32], free_bytes[32];
    table *t = table_new(columns, 7);
    json_t *each;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)models, i, each)
        add_model(t, each);
    if (json_array_size(models))
        table_print(t, stdout);
    else
        printf("no model is loaded\n");
    table_free(t);
    json_int_t drafted = nx_json_get_int(o, "drafted_tokens", 0);
    if (drafted)
        printf("%lld tokens proposed, %lld of them right\n", (long long)drafted,
               (long long)nx_json_get_int(o, "accepted_tokens", 0));
    printf("server %s, up %.0f min, %s in memory, %s free on the machine\n", nx_json_get_str(o, "version", ""),
           nx_json_get_real(o, "uptime_seconds", 0) / 60,
           cli_bytes((unsigned long long)nx_json_get_int(o, "resident_bytes", 0), used, sizeof used),
           cli_bytes((unsigned long long)nx_json_get_int(o, "memory_available_bytes", 0), free_bytes,
                     sizeof free_bytes));
}

int cli_ps(int argc, char **argv)
{
    client_options o = client_defaults();
    bool json = false;
    const arg_option options[] = {
        CLIENT_OPTIONS(&o),
        {"json", 0, ARG_FLAG, &json, false, NULL, "as JSON"},
        {0},
    };
    const arg_command command = {"nexus ps [options]", "Says what a running server has loaded and does.",
                                 options, 0};
    int code = args_parse(&command, argc, argv, NULL);
    if (code != ARGS_OK)
        return code;
    json_t *answer = client_call(&o, "/nexus/ps", NULL);
    if (!answer)
        return EXIT_FAILED;
    if (json)
        return json_out_print(answer);
    print_ps(answer);
    json_decref(answer);
    return EXIT_GOOD;
}

/* ---- load, unload, stop ---- */

typedef struct {
    const char *usage, *about, *path;
    bool names_model;
} remote_verb;

/* Parses, asks, and gives the answer; NULL with the exit code in *code. */
static json_t *ask(const remote_verb *v, int argc, char **argv, int *code)
{
    client_options o = client_defaults();
    const arg_option options[] = {CLIENT_OPTIONS(&o), {0}};
    const arg_command command = {v->usage, v->about, options, v->names_model};
    const char *operands[1] = {NULL};
    *code = args_parse(&command, argc, argv, operands);
    if (*code != ARGS_OK)
        return NULL;
    if (v->names_model && !operands[0]) {
        *code = args_usage_error(&command, "no model was named");
        return NULL;
    }
    json_t *body = v->names_model ? json_pack("{s:s}", "model", operands[0]) : json_object();
    json_t *answer = body ? client_call(&o, v->path, body) : NULL;
    json_decref(body);
    *code = answer ? EXIT_GOOD : EXIT_FAILED;
    return answer;
}

int cli_load(int argc, char **argv)
{
    static const remote_verb verb = {"nexus load MODEL [options]", "Has a running server load a model.",
                                     "/nexus/load", true};
    int code;
    json_t *answer = ask(&verb, argc, argv, &code);
    if (answer)
        printf("%s is loaded (%.2f s)\n", nx_json_get_str(answer, "model", ""),
               nx_json_get_real(answer, "load_seconds", 0));
    json_decref(answer);
    return code;
}

int cli_unload(int argc, char **argv)
{
    static const remote_verb verb = {"nexus unload MODEL [options]",
                                     "Has a running server unload a model, once its requests are done.",
                                     "/nexus/unload", true};
    int code;
    json_t *answer = ask(&verb, argc, argv, &code);
    if (answer)
        printf("%s is unloaded\n", nx_json_get_str(answer, "unloaded", ""));
    json_decref(answer);
    return code;
}

int cli_stop(int argc, char **argv)
{
    static const remote_verb verb = {"nexus stop [options]",
                                     "Ends a running server: what runs is finished first, for 20 seconds at most.",
                                     "/nexus/stop", false};
    int code;
    json_t *answer = ask(&verb, argc, argv, &code);
    if (answer)
        printf("the server ends\n");
    json_decref(answer);
    return code;
}
