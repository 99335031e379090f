/*
 * layout.c: nexus_layouts: where windows go, as array operations: a rectangle a window, all layouts
 * at once, in one evaluation.
 *
 * Window i of n is on display floor(i D / n); it is the k-th of the c windows there. Every formula is
 * written in k, c and the display's rectangle, so that it holds for all windows together.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/os.h"
#include "nexus/nexus.h"
#include "runtime/nn/engine.h"
#include "runtime/nn/nn.h"

/* Numbers are float32, which holds whole ones to 16 million exactly: more are no coordinates. */
enum { MOST_WINDOWS = 1 << 20, MOST_DISPLAYS = 1024, MOST_PIXELS = 1 << 20 };

typedef struct {
    const nexus_rect *displays;
    size_t n_displays, n;
    nexus_rect *out;
    int32_t *display;
    double seconds;
} layout_job;

typedef struct {
    mlx_array x, y, w, h; /* [n] each */
} rects;

static mlx_array number(nn *c, float v)
{
    return nn_own(c, 0, mlx_array_new_float(v));
}

static mlx_array sub(nn *c, mlx_array a, mlx_array b)
{
    return NN_CALL(c, mlx_subtract, a, b);
}

static mlx_array quotient(nn *c, mlx_array a, mlx_array b)
{
    return NN_CALL(c, mlx_floor, NN_CALL(c, mlx_divide, a, b));
}

static mlx_array at_least_1(nn *c, mlx_array a)
{
    return NN_CALL(c, mlx_maximum, a, number(c, 1));
}

static mlx_array choose(nn *c, mlx_array condition, mlx_array yes, mlx_array no)
{
    return NN_CALL(c, mlx_where, condition, yes, no);
}

/* The k-th of c equal parts of a length: where it begins and how long it is, without gaps. */
static void part(nn *c, mlx_array length, mlx_array k, mlx_array count, mlx_array *begin, mlx_array *size)
{
    mlx_array next = nn_add(c, k, number(c, 1));
    *begin = quotient(c, nn_mul(c, k, length), count);
    *size = sub(c, quotient(c, nn_mul(c, next, length), count), *begin);
}

static rects columns(nn *c, rects d, mlx_array k, mlx_array count)
{
    rects r = {.y = d.y, .h = d.h};
    mlx_array begin;
    part(c, d.w, k, count, &begin, &r.w);
    r.x = nn_add(c, d.x, begin);
    return r;
}

/* The first takes three fifths, the others share the rest from top to bottom. */
static rects main_and_stack(nn *c, rects d, mlx_array k, mlx_array count)
{
    mlx_array one = number(c, 1), is_main = NN_CALL(c, mlx_less, k, one);
    mlx_array alone = NN_CALL(c, mlx_less_equal, count, one);
    mlx_array main_w = choose(c, alone, d.w, NN_CALL(c, mlx_floor, nn_scale(c, d.w, 0.6f)));
    mlx_array begin, size;
    part(c, d.h, sub(c, k, one), at_least_1(c, sub(c, count, one)), &begin, &size);
    return (rects){.x = choose(c, is_main, d.x, nn_add(c, d.x, main_w)),
                   .y = choose(c, is_main, d.y, nn_add(c, d.y, begin)),
                   .w = choose(c, is_main, main_w, sub(c, d.w, main_w)),
                   .h = choose(c, is_main, d.h, size)};
}

/* As square as it goes; a last row of fewer windows makes them wider. */
static rects grid(nn *c, rects d, mlx_array k, mlx_array count)
{
    mlx_array across = NN_CALL(c, mlx_ceil, NN_CALL(c, mlx_sqrt, count));
    mlx_array down = NN_CALL(c, mlx_ceil, NN_CALL(c, mlx_divide, count, across));
    mlx_array row = quotient(c, k, across), column = sub(c, k, nn_mul(c, row, across));
    mlx_array before_last = nn_mul(c, sub(c, down, number(c, 1)), across);
    mlx_array in_row = choose(c, NN_CALL(c, mlx_less, k, before_last), across, sub(c, count, before_last));
    mlx_array x, y;
    rects r;
    part(c, d.w, column, in_row, &x, &r.w);
    part(c, d.h, row, down, &y, &r.h);
    r.x = nn_add(c, d.x, x);
    r.y = nn_add(c, d.y, y);
    return r;
}

/* The first in the middle of the upper five sixths, the others as a strip below it. */
static rects focus(nn *c, rects d, mlx_array k, mlx_array count)
{
    mlx_array one = number(c, 1), is_first = NN_CALL(c, mlx_less, k, one);
    mlx_array alone = NN_CALL(c, mlx_less_equal, count, one);
    mlx_array strip = choose(c, alone, number(c, 0), NN_CALL(c, mlx_floor, nn_scale(c, d.h, 1.0f / 6)));
    mlx_array upper = sub(c, d.h, strip), side = NN_CALL(c, mlx_floor, nn_scale(c, d.w, 0.1f));
    mlx_array begin, size;
    part(c, d.w, sub(c, k, one), at_least_1(c, sub(c, count, one)), &begin, &size);
    return (rects){.x = choose(c, is_first, nn_add(c, d.x, side), nn_add(c, d.x, begin)),
                   .y = choose(c, is_first, d.y, nn_add(c, d.y, upper)),
                   .w = choose(c, is_first, sub(c, d.w, nn_scale(c, side, 2)), size),
                   .h = choose(c, is_first, upper, strip)};
}

/* [n, 4] */
static mlx_array stacked(nn *c, rects r)
{
    mlx_vector_array all = mlx_vector_array_new_data((mlx_array[]){r.x, r.y, r.w, r.h}, 4);
    mlx_array s = NN_CALL(c, mlx_stack_axis, all, 1);
    mlx_vector_array_free(all);
    return s;
}

static mlx_array member(nn *c, const layout_job *j, size_t offset, mlx_array which)
{
    float v[MOST_DISPLAYS];
    for (size_t i = 0; i < j->n_displays; i++)
        v[i] = (float)*(const int32_t *)((const char *)&j->displays[i] + offset);
    mlx_array all = nn_own(c, 0, mlx_array_new_data(v, (int[]){(int)j->n_displays}, 1, MLX_FLOAT32));
    return NN_CALL(c, mlx_take_axis, all, which, 0);
}

/* Where the windows of each display begin: display d has those from ceil(d n / D). */
static void starts(const layout_job *j, float *first, float *count)
{
    for (size_t d = 0; d < j->n_displays; d++) {
        size_t begin = (d * j->n + j->n_displays - 1) / j->n_displays;
        size_t end = ((d + 1) * j->n + j->n_displays - 1) / j->n_displays;
        first[d] = (float)begin;
        count[d] = (float)(end - begin);
    }
}

/* [5, n, 4] int32: the layouts, and the displays in the last. */
static mlx_array build(nn *c, const layout_job *j)
{
    float first[MOST_DISPLAYS], counts[MOST_DISPLAYS];
    int D = (int)j->n_displays;
    starts(j, first, counts);
    mlx_array i = NN_CALL(c, mlx_arange, 0, (double)j->n, 1, MLX_INT32);
    mlx_array scaled = NN_CALL(c, mlx_multiply, i, nn_own(c, 0, mlx_array_new_int(D)));
    mlx_array which = NN_CALL(c, mlx_floor_divide, scaled, nn_own(c, 0, mlx_array_new_int((int)j->n)));
    mlx_array starts_at = nn_own(c, 0, mlx_array_new_data(first, (int[]){D}, 1, MLX_FLOAT32));
    mlx_array counts_at = nn_own(c, 0, mlx_array_new_data(counts, (int[]){D}, 1, MLX_FLOAT32));
    mlx_array k = sub(c, nn_astype(c, i, MLX_FLOAT32), NN_CALL(c, mlx_take_axis, starts_at, which, 0));
    mlx_array count = NN_CALL(c, mlx_take_axis, counts_at, which, 0);
    rects d = {member(c, j, offsetof(nexus_rect, x), which), member(c, j, offsetof(nexus_rect, y), which),
               member(c, j, offsetof(nexus_rect, width), which),
               member(c, j, offsetof(nexus_rect, height), which)};
    mlx_array w = nn_astype(c, which, MLX_FLOAT32);
    mlx_array all[NEXUS_LAYOUTS + 1] = {
        [NEXUS_LAYOUT_COLUMNS] = stacked(c, columns(c, d, k, count)),
        [NEXUS_LAYOUT_MAIN_AND_STACK] = stacked(c, main_and_stack(c, d, k, count)),
        [NEXUS_LAYOUT_GRID] = stacked(c, grid(c, d, k, count)),
        [NEXUS_LAYOUT_FOCUS] = stacked(c, focus(c, d, k, count)),
        [NEXUS_LAYOUTS] = stacked(c, (rects){w, w, w, w}),
    };
    mlx_vector_array v = mlx_vector_array_new_data(all, NEXUS_LAYOUTS + 1);
    mlx_array s = NN_CALL(c, mlx_stack, v);
    mlx_vector_array_free(v);
    return nn_astype(c, s, MLX_INT32);
}

static bool compute(void *arg)
{
    layout_job *j = arg;
    nn c;
    nn_init(&c);
    double start = nx_os_seconds();
    mlx_array all = build(&c, j);
    bool ok = !c.failed && !mlx_array_eval(all);
    const int32_t *v = ok ? mlx_array_data_int32(all) : NULL;
    j->seconds = nx_os_seconds() - start;
    if (v) {
        memcpy(j->out, v, NEXUS_LAYOUTS * j->n * sizeof *j->out);
        for (size_t i = 0; i < j->n; i++)
            j->display[i] = v[(NEXUS_LAYOUTS * j->n + i) * 4];
    }
    nn_clear(&c);
    return v != NULL;
}

nexus_status nexus_layouts(const nexus_rect *displays, size_t n_displays, size_t n, nexus_rect *out,
                           int32_t *display, double *seconds)
{
    layout_job j = {displays, n_displays, n, out, display, 0};
    if (n < 1 || n > MOST_WINDOWS || n_displays < 1 || n_displays > MOST_DISPLAYS ||
        n * n_displays > INT32_MAX) {
        nx_fail("%zu windows on %zu displays cannot be laid out", n, n_displays);
        return NEXUS_ERROR_ARGUMENT;
    }
    for (size_t i = 0; i < n_displays; i++)
        if (displays[i].width < 1 || displays[i].height < 1 || displays[i].width > MOST_PIXELS ||
            displays[i].height > MOST_PIXELS || abs(displays[i].x) > MOST_PIXELS ||
            abs(displays[i].y) > MOST_PIXELS) {
            nx_fail("display %zu has %d x %d pixels, which is no display", i, displays[i].width,
                    displays[i].height);
            return NEXUS_ERROR_ARGUMENT;
        }
    if (!engine_run(compute, &j))
        return NEXUS_ERROR;
    if (seconds)
        *seconds = j.seconds;
    return NEXUS_OK;
}
