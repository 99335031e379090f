/* display.c: nexus display: displays, memory, the model size that suits, window layouts. */
#include "base/display.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/table.h"

enum { MOST_DISPLAYS = 64, MOST_WINDOWS = 1 << 20 };

static const char *const layout_names[NEXUS_LAYOUTS] = {
    [NEXUS_LAYOUT_COLUMNS] = "columns", [NEXUS_LAYOUT_MAIN_AND_STACK] = "main-and-stack",
    [NEXUS_LAYOUT_GRID] = "grid", [NEXUS_LAYOUT_FOCUS] = "focus"};

typedef struct {
    nx_display displays[MOST_DISPLAYS];
    size_t n;
    const char *source;
    nexus_memory memory;
    uint64_t desktop; /* bytes the desktop is to keep */
    uint64_t room;    /* bytes a model may take now */
    uint64_t parameters; /* that 4 bits a weight fit into it */
    nexus_rect *rects; /* [NEXUS_LAYOUTS][windows] */
    int32_t *on;       /* display of each window */
    double seconds;
} view;

/* A picture of each display in three buffers, and windows four deep behind them; over what a machine
 * keeps for the rest anyway. */
static void weigh_memory(view *v)
{
    uint64_t pictures = 0;
    for (size_t i = 0; i < v->n; i++)
        pictures += (uint64_t)v->displays[i].width * (uint64_t)v->displays[i].height * 4 * 7;
    if (nexus_memory_now(&v->memory))
        return;
    v->desktop = v->memory.reserve + pictures;
    uint64_t most = v->memory.total > v->desktop ? v->memory.total - v->desktop : 0;
    v->room = v->memory.available < most ? v->memory.available : most;
    /* 4.5 bits a weight, and a sixth of the memory for cache and activations */
    v->parameters = (uint64_t)((double)v->room * 5 / 6 * 8 / 4.5);
}

static nexus_status lay_out(view *v, size_t windows)
{
    nexus_rect rects[MOST_DISPLAYS];
    size_t n = v->n;
    for (size_t i = 0; i < n; i++)
        rects[i] = (nexus_rect){v->displays[i].x, v->displays[i].y, v->displays[i].width,
                                v->displays[i].height};
    if (!n) /* nothing tells: as if there were one of the usual size */
        rects[n++] = (nexus_rect){0, 0, 1920, 1080};
    v->rects = nx_calloc(NEXUS_LAYOUTS * windows, sizeof *v->rects);
    v->on = nx_calloc(windows, sizeof *v->on);
    return nexus_layouts(rects, n, windows, v->rects, v->on, &v->seconds);
}

/* ---- printing ---- */

static json_t *display_json(const nx_display *d)
{
    return json_pack("{s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b}", "name",
                     json_out_text(d->name), "model", json_out_text(d->model), "screen", d->screen, "x",
                     d->x, "y", d->y, "width", d->width, "height", d->height, "width_mm", d->width_mm,
                     "height_mm", d->height_mm, "refresh", d->refresh, "scale", d->scale, "primary",
                     d->primary);
}

static json_t *layouts_json(const view *v, size_t windows, const char **names, int only)
{
    json_t *all = json_object();
    for (int k = 0; k < NEXUS_LAYOUTS; k++) {
        json_t *list = json_array();
        for (size_t i = 0; i < windows && (only < 0 || only == k); i++) {
            const nexus_rect *r = &v->rects[(size_t)k * windows + i];
            json_t *o = json_pack("{s:i, s:i, s:i, s:i, s:i}", "display", v->on[i], "x", r->x, "y", r->y,
                                  "width", r->width, "height", r->height);
            json_object_set_new(o, "window", names ? json_out_text(names[i]) : json_integer((json_int_t)i));
            json_array_append_new(list, o);
        }
        if (only < 0 || only == k)
            json_object_set_new(all, layout_names[k], list);
        else
            json_decref(list);
    }
    return all;
}

static int print_json(const view *v, size_t windows, const char **names, int only)
{
    json_t *displays = json_array(), *o = json_object();
    for (size_t i = 0; i < v->n; i++)
        json_array_append_new(displays, display_json(&v->displays[i]));
    json_object_set_new(o, "source", json_string(v->source));
    json_object_set_new(o, "displays", displays);
    json_object_set_new(o, "memory", json_pack("{s:I, s:I, s:I}", "total", (json_int_t)v->memory.total,
                                               "available", (json_int_t)v->memory.available, "desktop",
                                               (json_int_t)v->desktop));
    json_object_set_new(o, "suits", json_pack("{s:I, s:I}", "memory_bytes", (json_int_t)v->room,
                                              "parameters_at_4_bits", (json_int_t)v->parameters));
    if (windows) {
        json_object_set_new(o, "layouts", layouts_json(v, windows, names, only));
        json_object_set_new(o, "layout_seconds", json_real(v->seconds));
    }
    return json_out_print(o);
}

static void print_displays(const view *v)
{
    static const table_column columns[] = {
        {"DISPLAY", false, 8, 0}, {"PIXELS", true, 0, 0}, {"PLACE", true, 0, 2}, {"HZ", true, 0, 1},
        {"SCALE", true, 0, 1},    {"SIZE", true, 0, 3},   {"", false, 6, 4}};
    table *t = table_new(columns, 7);
    for (size_t i = 0; i < v->n; i++) {
        const nx_display *d = &v->displays[i];
        table_add(t, d->primary ? TABLE_STRONG : TABLE_PLAIN, d->screen ? "%s (screen %d)" : "%s", d->name,
                  d->screen);
        table_add(t, TABLE_PLAIN, "%d x %d", d->width, d->height);
        table_add(t, TABLE_PLAIN, "%+d%+d", d->x, d->y);
        table_add(t, TABLE_PLAIN, d->refresh > 0 ? "%.1f" : "", d->refresh);
        table_add(t, TABLE_PLAIN, "%g", d->scale);
        if (d->width_mm > 0)
            table_add(t, TABLE_PLAIN, "%d x %d mm", d->width_mm, d->height_mm);
        else
            table_add(t, TABLE_PLAIN, "%s", "");
        table_add(t, TABLE_DIM, "%s%s", d->model, d->primary ? (*d->model ? ", primary" : "primary") : "");
    }
    if (v->n)
        table_print(t, stdout);
    else
        printf("No display was found.\n");
    table_free(t);
}

static void print_text(const view *v, size_t windows, const char **names, int only)
{
    char a[32], b[32], c[32], d[32];
    print_displays(v);
    printf("\nmemory   %s of %s are free; %s are left to the desktop\n",
           cli_bytes(v->memory.available, a, sizeof a), cli_bytes(v->memory.total, b, sizeof b),
           cli_bytes(v->desktop, c, sizeof c));
    printf("suits    models of up to %s parameters at 4 bits (%s of memory)\n",
           table_count(v->parameters, d, sizeof d), cli_bytes(v->room, a, sizeof a));
    for (int k = 0; k < NEXUS_LAYOUTS && windows; k++) {
        if (only >= 0 && only != k)
            continue;
        printf("\n%s%s%s\n", table_color(stdout, TABLE_STRONG), layout_names[k],
               table_color(stdout, TABLE_PLAIN));
        for (size_t i = 0; i < windows; i++) {
            const nexus_rect *r = &v->rects[(size_t)k * windows + i];
            nx_str name = {0};
            if (names)
                table_clean(&name, names[i]);
            else
                nx_str_printf(&name, "window %zu", i + 1);
            printf("  %5d x %-5d at %+d%+d  %s\n", r->width, r->height, r->x, r->y, nx_str_cstr(&name));
            nx_str_clear(&name);
        }
    }
}

static int find_layout(const char *name)
{
    for (int k = 0; k < NEXUS_LAYOUTS; k++)
        if (strcmp(layout_names[k], name) == 0)
            return k;
    return -1;
}

int cli_display(int argc, char **argv)
{
    bool json = false;
    int count = 0, only = -1;
    const char *layout = NULL;
    const arg_option options[] = {
        {"windows", 'n', ARG_INT, &count, false, "N", "propose places for N windows"},
        {"layout", 'l', ARG_TEXT, &layout, false, "NAME", "only columns, main-and-stack, grid or focus"},
        {"json", 0, ARG_FLAG, &json, false, NULL, "the same as JSON"},
        {0},
    };
    const arg_command command = {"nexus display [WINDOW...] [options]",
                                 "Says what displays there are, how memory stands and which model size suits\n"
                                 "beside the desktop, and proposes places for windows (by name or number).",
                                 options, 64};
    const char *names[64];
    int code = args_parse(&command, argc, argv, names);
    if (code != ARGS_OK)
        return code;
    size_t windows = (size_t)(count > 0 ? count : 0), named = 0;
    while (named < 64 && names[named])
        named++;
    if (count < 0 || count > MOST_WINDOWS || (count && named))
        return args_usage_error(&command, "name the windows, or give their number (up to %d)", MOST_WINDOWS);
    if (layout && (only = find_layout(layout)) < 0)
        return args_usage_error(&command, "there is no layout '%s'", layout);
    windows = named ? named : windows;
    view *v = nx_calloc(1, sizeof *v);
    v->n = nx_displays(v->displays, MOST_DISPLAYS, &v->source);
    weigh_memory(v);
    nexus_status status = windows ? lay_out(v, windows) : NEXUS_OK;
    if (status)
        code = cli_fail(status);
    else if (json)
        code = print_json(v, windows, named ? names : NULL, only);
    else
        code = (print_text(v, windows, named ? names : NULL, only), EXIT_GOOD);
    free(v->rects);
    free(v->on);
    free(v);
    return code;
}
