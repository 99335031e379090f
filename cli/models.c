/* models.c: nexus models [DIR...]: what models there are, and what fits. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/table.h"

typedef struct {
    const char *sort;
    bool json, mlx, gguf, stores, fresh;
    int context;
    const char *cache_type;
} models_options;

typedef const nexus_models_entry *entry;

/* ---- order ---- */

static int compare_name(entry a, entry b)
{
    int order = strcasecmp(a->name, b->name);
    return order ? order : strcmp(a->path, b->path);
}

static int larger_first(uint64_t a, uint64_t b)
{
    return (a < b) - (a > b);
}

static int rank_of_fit(entry e)
{
    static const char *const order[] = {"now", "when-free", "too-big"};
    if (strcmp(e->status, "ready") != 0)
        return strcmp(e->status, "broken") == 0 ? 9 : 8;
    for (int i = 0; i < 3; i++)
        if (strcmp(e->fit, order[i]) == 0)
            return i;
    return 3;
}

static int by_name(const void *a, const void *b)
{
    return compare_name(*(const entry *)a, *(const entry *)b);
}

static int by_size(const void *a, const void *b)
{
    entry x = *(const entry *)a, y = *(const entry *)b;
    int order = larger_first(x->bytes, y->bytes);
    return order ? order : compare_name(x, y);
}

static int by_memory(const void *a, const void *b)
{
    entry x = *(const entry *)a, y = *(const entry *)b;
    int order = larger_first(x->memory_bytes, y->memory_bytes);
    return order ? order : compare_name(x, y);
}

static int by_parameters(const void *a, const void *b)
{
    entry x = *(const entry *)a, y = *(const entry *)b;
    int order = larger_first(x->parameters, y->parameters);
    return order ? order : compare_name(x, y);
}

static int by_family(const void *a, const void *b)
{
    entry x = *(const entry *)a, y = *(const entry *)b;
    int order = strcasecmp(x->family, y->family);
    return order ? order : by_size(a, b);
}

static int by_fit(const void *a, const void *b)
{
    entry x = *(const entry *)a, y = *(const entry *)b;
    int order = rank_of_fit(x) - rank_of_fit(y);
    return order ? order : by_size(a, b);
}

static const struct {
    const char *name;
    int (*compare)(const void *, const void *);
} orders[] = {{"size", by_size},     {"name", by_name}, {"family", by_family}, {"fit", by_fit},
              {"memory", by_memory}, {"parameters", by_parameters}};
enum { N_ORDERS = sizeof orders / sizeof *orders };

static int find_order(const char *name)
{
    for (int i = 0; i < N_ORDERS; i++)
        if (strcmp(orders[i].name, name) == 0)
            return i;
    return -1;
}

/* ---- JSON ---- */

static json_t *entry_json(entry e)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_out_text(e->name));
    json_object_set_new(o, "path", json_out_text(e->path));
    json_object_set_new(o, "store", json_string(e->store));
    json_object_set_new(o, "format", json_string(e->format));
    json_object_set_new(o, "kind", json_string(e->kind));
    json_object_set_new(o, "family", json_out_text(e->family));
    json_object_set_new(o, "parameters", json_out_count(e->parameters));
    json_object_set_new(o, "quantization", json_out_text(e->quantization));
    json_object_set_new(o, "bits_per_weight", json_real(e->bits_per_weight));
    json_object_set_new(o, "bytes", json_out_count(e->bytes));
    json_object_set_new(o, "modified", json_integer(e->modified));
    json_object_set_new(o, "max_context", json_integer(e->max_context));
    json_object_set_new(o, "context", json_integer(e->context));
    json_object_set_new(o, "memory_bytes", json_out_count(e->memory_bytes));
    json_object_set_new(o, "fit", json_string(e->fit));
    json_object_set_new(o, "status", json_string(e->status));
    json_object_set_new(o, "reason", json_out_text(e->reason));
    json_object_set_new(o, "chat", json_boolean(e->chat));
    json_object_set_new(o, "duplicate_of",
                        *e->duplicate_of ? json_out_text(e->duplicate_of) : json_null());
    if (*e->base)
        json_object_set_new(o, "base", json_out_text(e->base));
    if (e->converted_bytes)
        json_object_set_new(o, "converted",
                            json_pack("{s:s, s:I, s:I, s:s}", "format", "mlx 4-bit", "bytes",
                                      (json_int_t)e->converted_bytes, "memory_bytes",
                                      (json_int_t)e->converted_memory_bytes, "fit", e->converted_fit));
    return o;
}

static bool is_mlx(entry e)
{
    return strcmp(e->format, "mlx") == 0 && strcmp(e->kind, "adapter") != 0 &&
           strcmp(e->status, "broken") != 0;
}

static int print_json(const nexus_models *m, const entry *list, size_t n)
{
    json_t *models = json_array(), *problems = json_array();
    size_t mlx = 0;
    uint64_t mlx_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(models, entry_json(list[i]));
        mlx += is_mlx(list[i]);
        mlx_bytes += is_mlx(list[i]) ? list[i]->bytes : 0;
    }
    for (size_t i = 0; i < nexus_models_problem_count(m); i++)
        json_array_append_new(problems, json_out_text(nexus_models_problem(m, i)));
    nexus_memory memory = nexus_models_machine(m);
    return json_out_print(json_pack(
        "{s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I}, s:o}", "models", models, "memory", "total",
        (json_int_t)memory.total, "available", (json_int_t)memory.available, "reserve",
        (json_int_t)memory.reserve, "mlx", "count", (json_int_t)mlx, "bytes", (json_int_t)mlx_bytes,
        "problems", problems));
}

/* ---- the table ---- */

static const char *short_format(entry e)
{
    return strcmp(e->format, "gguf") == 0          ? "GGUF"
           : strcmp(e->format, "mlx") == 0         ? "MLX"
           : strcmp(e->format, "huggingface") == 0 ? "HF"
                                                   : e->format;
}

/* What there is to say of its use: does it fit, or why not. */
static void add_note(table *t, entry e)
{
    if (strcmp(e->status, "broken") == 0)
        table_add(t, TABLE_BAD, "broken: %s", e->reason);
    else if (strcmp(e->kind, "adapter") == 0)
        table_add(t, TABLE_DIM, "adapter%s%s", *e->base ? " for " : "", e->base);
    else if (strcmp(e->kind, "projector") == 0)
        table_add(t, TABLE_DIM, "the eyes of a vision model beside it");
    else if (*e->duplicate_of)
        table_add(t, TABLE_DIM, "copy of %s",
                  strrchr(e->duplicate_of, '/') ? strrchr(e->duplicate_of, '/') + 1 : e->duplicate_of);
    else if (strcmp(e->status, "unsupported") == 0)
        table_add(t, TABLE_DIM, "not run yet: %s", e->reason);
    else if (strcmp(e->fit, "now") == 0)
        table_add(t, TABLE_GOOD, "fits now");
    else if (strcmp(e->fit, "when-free") == 0)
        table_add(t, TABLE_WARN, "fits when other programs leave room");
    else if (strcmp(e->fit, "too-big") == 0)
        table_add(t, TABLE_BAD, "too big");
    else
        table_add(t, TABLE_PLAIN, "%s", "");
}

/* "4-bit affine g64" is "4-bit g64": affine is what MLX does unless it says otherwise. */
static void add_quantization(table *t, entry e)
{
    const char *affine = strstr(e->quantization, " affine");
    if (affine)
        table_add(t, TABLE_PLAIN, "%.*s%s", (int)(affine - e->quantization), e->quantization,
                  affine + strlen(" affine"));
    else
        table_add(t, TABLE_PLAIN, "%s", e->quantization);
}

static void add_row(table *t, entry e)
{
    char text[32];
    bool ready = strcmp(e->status, "ready") == 0;
    table_add(t, ready ? TABLE_PLAIN : TABLE_DIM, "%s", e->name);
    table_add(t, TABLE_PLAIN, "%s", short_format(e));
    table_add(t, TABLE_PLAIN, "%s", e->family);
    table_add(t, TABLE_PLAIN, "%s", e->parameters ? table_count(e->parameters, text, sizeof text) : "");
    add_quantization(t, e);
    table_add(t, TABLE_PLAIN, e->parameters ? "%.1f" : "", e->bits_per_weight);
    table_add(t, TABLE_PLAIN, "%s", cli_bytes(e->bytes, text, sizeof text));
    if (e->max_context)
        table_add(t, TABLE_PLAIN, "%d", e->max_context);
    else
        table_add(t, TABLE_PLAIN, "%s", "");
    table_add(t, TABLE_PLAIN, "%s",
              e->memory_bytes ? cli_bytes(e->memory_bytes, text, sizeof text) : "");
    add_note(t, e);
}

enum { MOST_LINES = 10 };

static void print_more(size_t n)
{
    if (n > MOST_LINES)
        printf("  … and %zu more\n", n - MOST_LINES);
}

/* The MLX models, the largest first. */
static void print_mlx(const entry *list, size_t n)
{
    char size[32];
    size_t mlx = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        mlx += is_mlx(list[i]);
        bytes += is_mlx(list[i]) ? list[i]->bytes : 0;
    }
    printf("\nMLX models: %zu%s%s\n", mlx, mlx ? ", together " : "",
           mlx ? cli_bytes(bytes, size, sizeof size) : "");
    entry *sorted = nx_calloc(mlx + 1, sizeof *sorted);
    for (size_t i = 0, k = 0; i < n; i++)
        if (is_mlx(list[i]))
            sorted[k++] = list[i];
    qsort(sorted, mlx, sizeof *sorted, by_size);
    for (size_t i = 0; i < mlx && i < MOST_LINES; i++) {
        nx_str name = {0};
        table_clean(&name, sorted[i]->name);
        printf("  %10s  %s\n", cli_bytes(sorted[i]->bytes, size, sizeof size), nx_str_cstr(&name));
        nx_str_clear(&name);
    }
    print_more(mlx);
    free(sorted);
}

/* The table may have cut the reasons. */
static void print_broken(const entry *list, size_t n)
{
    size_t shown = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i]->status, "broken") != 0 || shown++ >= MOST_LINES)
            continue;
        nx_str text = {0};
        table_clean(&text, list[i]->path);
        nx_str_puts(&text, ": ");
        table_clean(&text, list[i]->reason);
        printf("%s  %s\n", shown == 1 ? "\nBroken:\n" : "", nx_str_cstr(&text));
        nx_str_clear(&text);
    }
    print_more(shown);
}

static void print_conversions(const entry *list, size_t n)
{
    size_t shown = 0;
    for (size_t i = 0; i < n; i++) {
        entry e = list[i];
        char before[32], after[32];
        if (!e->converted_bytes || *e->duplicate_of || shown++ >= MOST_LINES)
            continue;
        nx_str name = {0};
        table_clean(&name, e->name);
        if (shown == 1)
            printf("\nAs MLX models of 4 bits they would take:\n");
        const char *fit = strcmp(e->converted_fit, "now") == 0         ? ", fits now"
                          : strcmp(e->converted_fit, "when-free") == 0 ? ", fits when memory is free"
                          : strcmp(e->converted_fit, "too-big") == 0   ? ", too big all the same"
                                                                       : "";
        printf("  %10s  %s (now %s)%s\n", cli_bytes(e->converted_bytes, after, sizeof after),
               nx_str_cstr(&name), cli_bytes(e->bytes, before, sizeof before), fit);
        nx_str_clear(&name);
    }
    print_more(shown);
}

static void print_table(const nexus_models *m, const entry *list, size_t n, const models_options *o)
{
    static const table_column columns[] = {
        {"NAME", false, 20, 0},  {"FORMAT", false, 0, 1}, {"FAMILY", false, 6, 4},
        {"PARAMS", true, 0, 3},  {"QUANT", false, 6, 2},  {"BITS", true, 0, 6},
        {"SIZE", true, 0, 0},    {"CONTEXT", true, 0, 5}, {"MEMORY", true, 0, 0},
        {"FIT", false, 9, 0}};
    char free_text[32], total[32];
    table *t = table_new(columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < n; i++)
        add_row(t, list[i]);
    if (n)
        table_print(t, stdout);
    table_free(t);
    nexus_memory memory = nexus_models_machine(m);
    if (n)
        printf("\n%zu model%s; memory told for a context of %d; %s of %s are free\n", n,
               n == 1 ? "" : "s", o->context, cli_bytes(memory.available, free_text, sizeof free_text),
               cli_bytes(memory.total, total, sizeof total));
    if (n && !o->gguf)
        print_mlx(list, n);
    print_conversions(list, n);
    print_broken(list, n);
    for (size_t i = 0; i < nexus_models_problem_count(m); i++)
        fprintf(stderr, "nexus: not read: %s\n", nexus_models_problem(m, i));
    if (!n)
        fprintf(stderr, "nexus: no models were found; 'nexus pull REPO' fetches one\n");
}

static bool wanted(entry e, const models_options *o)
{
    if (!o->mlx && !o->gguf)
        return true;
    return (o->mlx && strcmp(e->format, "mlx") == 0) || (o->gguf && strcmp(e->format, "gguf") == 0);
}

static int show(const nexus_models *m, const models_options *o)
{
    size_t n = 0, all = nexus_models_count(m);
    entry *list = nx_calloc(all + 1, sizeof *list);
    for (size_t i = 0; i < all; i++)
        if (wanted(nexus_models_at(m, i), o))
            list[n++] = nexus_models_at(m, i);
    qsort(list, n, sizeof *list, orders[find_order(o->sort)].compare);
    int code = EXIT_GOOD;
    if (o->json)
        code = print_json(m, list, n);
    else
        print_table(m, list, n, o);
    free(list);
    return code;
}

int cli_models(int argc, char **argv)
{
    models_options o = {.sort = "size", .context = 4096, .cache_type = "f16"};
    const arg_option options[] = {
        {"sort", 's', ARG_TEXT, &o.sort, false, "KEY",
         "size (default), name, family, fit, memory or parameters"},
        {"mlx", 0, ARG_FLAG, &o.mlx, false, NULL, "MLX models only"},
        {"gguf", 0, ARG_FLAG, &o.gguf, false, NULL, "GGUF models only"},
        {"context", 'c', ARG_INT, &o.context, false, "N", "context the memory is told for (4096)"},
        {"cache-type", 0, ARG_TEXT, &o.cache_type, true, "TYPE", "f16 (default), bf16, f32, q8 or q4"},
        {"stores", 0, ARG_FLAG, &o.stores, false, NULL, "the stores too where folders are named"},
        {"fresh", 0, ARG_FLAG, &o.fresh, false, NULL, "look into every file again"},
        {"json", 0, ARG_FLAG, &o.json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {
        "nexus models [DIR...] [options]",
        "Lists the models in folders, at any depth. Without folders: the stores of nexus, LM Studio,\n"
        "the Hugging Face cache and ollama, and the folders of the setting \"folders\".\n"
        "Nothing is changed, and of each model only the headers are read.",
        options, 32};
    const char *folders[32];
    int code = args_parse(&command, argc, argv, folders);
    if (code != ARGS_OK)
        return code;
    if (find_order(o.sort) < 0)
        return args_usage_error(&command, "there is no order '%s': use size, name, family, fit, memory "
                                "or parameters", o.sort);
    if (o.context < 1)
        return args_usage_error(&command, "a context of %d tokens makes no sense", o.context);
    nexus_models_options so = {.folders = folders, .stores = o.stores, .context = o.context,
                               .cache_type = o.cache_type, .fresh = o.fresh};
    while (so.folder_count < 32 && folders[so.folder_count])
        so.folder_count++;
    nexus_models *m;
    nexus_status status = nexus_models_scan(&so, &m);
    if (status)
        return cli_fail(status);
    code = show(m, &o);
    nexus_models_free(m);
    return code;
}
