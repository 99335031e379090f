/* pull.c: nexus pull REPO[:FILE]: a model from a hub into the store. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/table.h"

typedef struct {
    const char *revision, *name;
    int connections;
    bool list, json;
} pull_options;

typedef struct {
    double shown; /* when the line was last written */
    bool line;    /* there is one on the screen */
} pull_view;

static void put_time(nx_str *s, double seconds)
{
    long t = seconds < 0 ? 0 : seconds > 359999 ? 359999 : (long)(seconds + 0.5);
    if (t >= 3600)
        nx_str_printf(s, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        nx_str_printf(s, "%ld:%02ld", t / 60, t % 60);
}

/* "model.gguf   45%  1.20 of 2.66 GB  34.5 MB/s  0:41 left" on one line of the terminal. */
static bool show(const nexus_pull_progress *p, void *user)
{
    pull_view *v = user;
    double now = nx_os_seconds();
    int screen = table_screen(STDERR_FILENO);
    if (!screen || now - v->shown < 0.2)
        return !cli_interrupted();
    v->shown = now;
    v->line = true;
    char done[32], total[32], rate[32];
    nx_str tail = {0}, name = {0};
    nx_str_printf(&tail, " %3.0f%%  %s of %s  %s/s", p->total ? 100.0 * (double)p->done / (double)p->total : 100,
                  cli_bytes(p->done, done, sizeof done), cli_bytes(p->total, total, sizeof total),
                  cli_bytes((unsigned long long)p->rate, rate, sizeof rate));
    if (p->seconds_left >= 0) {
        nx_str_puts(&tail, "  ");
        put_time(&tail, p->seconds_left);
        nx_str_puts(&tail, " left");
    }
    table_clean(&name, p->file);
    if (p->files > 1)
        nx_str_printf(&name, " (%zu of %zu)", p->file_no, p->files);
    int room = screen - 1 - (int)tail.len;
    int n = (int)name.len > room ? (room > 0 ? room : 0) : (int)name.len;
    fprintf(stderr, "\r\033[K%.*s%s", n, nx_str_cstr(&name), nx_str_cstr(&tail));
    nx_str_clear(&tail);
    nx_str_clear(&name);
    return !cli_interrupted();
}

static int list(const char *what, const pull_options *o)
{
    nexus_pull_file *files;
    size_t n;
    nexus_status status = nexus_pull_list(what, o->revision, &files, &n);
    if (status)
        return cli_fail(status);
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        char size[32];
        if (o->json)
            json_array_append_new(array, json_pack("{s:o, s:I, s:b}", "path", json_out_text(files[i].path),
                                                   "bytes", (json_int_t)files[i].bytes, "wanted",
                                                   files[i].wanted));
        else
            printf("%s %10s  %s\n", files[i].wanted ? "*" : " ",
                   cli_bytes(files[i].bytes, size, sizeof size), files[i].path);
    }
    nexus_free(files);
    if (o->json)
        return json_out_print(json_pack("{s:o}", "files", array));
    json_decref(array);
    return EXIT_GOOD;
}

static int print_result(const nexus_pull_result *r, const pull_options *o, double seconds)
{
    char size[32], rate[32];
    if (o->json)
        return json_out_print(json_pack("{s:o, s:I, s:I, s:I, s:b, s:f}", "path", json_out_text(r->path),
                                        "bytes", (json_int_t)r->bytes, "fetched_bytes",
                                        (json_int_t)r->fetched, "files", (json_int_t)r->files,
                                        "was_there", r->was_there, "seconds", seconds));
    nx_str path = {0};
    table_clean(&path, r->path);
    if (r->was_there)
        printf("%s\nis there already (%s, checked)\n", nx_str_cstr(&path),
               cli_bytes(r->bytes, size, sizeof size));
    else
        printf("%s\n%s in %zu file%s, checked, at %s/s\n", nx_str_cstr(&path),
               cli_bytes(r->bytes, size, sizeof size), r->files, r->files == 1 ? "" : "s",
               cli_bytes((unsigned long long)((double)r->fetched / (seconds > 0.001 ? seconds : 0.001)),
                         rate, sizeof rate));
    nx_str_clear(&path);
    return EXIT_GOOD;
}

static int pull(const char *what, const pull_options *o)
{
    pull_view view = {0};
    nexus_pull_options po = {.revision = o->revision, .name = o->name, .connections = o->connections,
                             .progress = show, .user = &view};
    nexus_pull_result r;
    double start = nx_os_seconds();
    cli_interrupt_watch(NULL);
    nexus_status status = nexus_pull(what, &po, &r);
    if (view.line)
        fputs("\r\033[K", stderr);
    if (status) {
        cli_fail(status);
        return cli_interrupted()                  ? EXIT_INTERRUPTED
               : status == NEXUS_ERROR_ARGUMENT ? EXIT_USAGE
                                                : EXIT_FAILED;
    }
    int code = print_result(&r, o, nx_os_seconds() - start);
    nexus_free(r.path);
    return code;
}

int cli_pull(int argc, char **argv)
{
    pull_options o = {0};
    const arg_option options[] = {
        {"revision", 'r', ARG_TEXT, &o.revision, false, "REV", "a branch, tag or commit (main)"},
        {"name", 0, ARG_TEXT, &o.name, false, "NAME", "store it under this name"},
        {"connections", 'j', ARG_INT, &o.connections, false, "N", "fetch so many parts at once (4)"},
        {"list", 'l', ARG_FLAG, &o.list, false, NULL, "list the files (* would be fetched), fetch nothing"},
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "the result as JSON"},
        {0},
    };
    const arg_command command = {
        "nexus pull REPO[:FILE] [options]",
        "Fetches a model from a hub (HF_ENDPOINT, else huggingface.co) into the store. FILE is a file or\n"
        "a quantization (Q4_K_M); without it the best choice is made. What was interrupted goes on where\n"
        "it was. HF_TOKEN opens gated repositories.",
        options, 1};
    const char *what;
    int code = args_parse(&command, argc, argv, &what);
    if (code != ARGS_OK)
        return code;
    if (!what)
        return args_usage_error(&command, "no repository was named");
    if (o.connections < 0 || o.connections > 16)
        return args_usage_error(&command, "--connections must be 1 to 16");
    return o.list ? list(what, &o) : pull(what, &o);
}
