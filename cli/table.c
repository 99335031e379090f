#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/error.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "cli/terminal.h"

typedef struct {
    char *text;
    size_t n;
    int cells;
    table_look look;
} cell;

struct table {
    const table_column *columns;
    int n;
    NX_VEC(cell) cells;
};

enum { GAP = 2, MOST_COLUMNS = 16 };

/* ---- text ---- */

static int cells_of(uint32_t cp)
{
    int w = utf8proc_charwidth((utf8proc_int32_t)cp);
    return w > 0 ? w : 0;
}

int table_cells(const char *text, size_t n)
{
    int cells = 0;
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        int k = nx_utf8_decode(text + i, n - i, &cp);
        cells += cells_of(cp);
        i += (size_t)(k < 0 ? -k : k);
    }
    return cells;
}

void table_clean(nx_str *out, const char *text)
{
    size_t n = strlen(text);
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        int k = nx_utf8_decode(text + i, n - i, &cp);
        if (cp < 0x20 || cp == 0x7F)
            nx_str_printf(out, "^%c", (int)(cp ^ 0x40));
        else if (cp >= 0x80 && cp < 0xA0)
            nx_str_printf(out, "^%c", (int)(cp - 0x40));
        else
            nx_str_put_utf8(out, cp);
        i += (size_t)(k < 0 ? -k : k);
    }
}

const char *table_count(unsigned long long n, char *out, size_t size)
{
    static const char units[] = {0, 'K', 'M', 'B', 'T'};
    double v = (double)n;
    int u = 0;
    for (; v >= 999.5 && u < 4; u++)
        v /= 1000;
    snprintf(out, size, u == 0 || v >= 100 ? "%.0f%c" : v >= 10 ? "%.1f%c" : "%.2f%c", v, units[u]);
    return out;
}

int table_screen(int fd)
{
    struct winsize w;
    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

const char *table_color(FILE *out, table_look look)
{
    static const char *const codes[] = {
        [TABLE_PLAIN] = "\033[0m", [TABLE_GOOD] = "\033[32m", [TABLE_WARN] = "\033[33m",
        [TABLE_BAD] = "\033[31m",  [TABLE_DIM] = "\033[2m",   [TABLE_STRONG] = "\033[1m"};
    return terminal_has_color(fileno(out)) ? codes[look] : "";
}

/* ---- the table ---- */

table *table_new(const table_column *columns, int n)
{
    NX_BUG_IF(n > MOST_COLUMNS);
    table *t = nx_calloc(1, sizeof *t);
    t->columns = columns;
    t->n = n;
    return t;
}

void table_free(table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->cells.n; i++)
        free(t->cells.at[i].text);
    nx_vec_clear(&t->cells);
    free(t);
}

void table_add(table *t, table_look look, const char *fmt, ...)
{
    nx_str raw = {0}, clean = {0};
    va_list ap;
    va_start(ap, fmt);
    nx_str_vprintf(&raw, fmt, ap);
    va_end(ap);
    table_clean(&clean, nx_str_cstr(&raw));
    nx_str_clear(&raw);
    cell c = {.n = clean.len, .look = look};
    c.cells = table_cells(nx_str_cstr(&clean), clean.len);
    c.text = nx_str_take(&clean);
    nx_vec_push(&t->cells, c);
}

static void measure(const table *t, int *widths)
{
    for (int i = 0; i < t->n; i++)
        widths[i] = table_cells(t->columns[i].title, strlen(t->columns[i].title));
    for (size_t i = 0; i < t->cells.n; i++) {
        int *w = &widths[i % (size_t)t->n];
        *w = t->cells.at[i].cells > *w ? t->cells.at[i].cells : *w;
    }
}

static int row_width(const table *t, const int *widths)
{
    int total = -GAP;
    for (int i = 0; i < t->n; i++)
        total += widths[i] ? widths[i] + GAP : 0;
    return total;
}

/* The column to cut next, the widest of those that may be; -1: none. */
static int next_to_cut(const table *t, const int *widths)
{
    int widest = -1;
    for (int i = 0; i < t->n; i++)
        if (t->columns[i].shrink && widths[i] > t->columns[i].shrink &&
            (widest < 0 || widths[i] > widths[widest]))
            widest = i;
    return widest;
}

static int next_to_drop(const table *t, const int *widths)
{
    int best = -1;
    for (int i = 0; i < t->n; i++)
        if (widths[i] && t->columns[i].drop && (best < 0 || t->columns[i].drop > t->columns[best].drop))
            best = i;
    return best;
}

/* Width 0 says that a column is left out. Columns go before others are cut to nothing. */
static void shrink(const table *t, int *widths, int screen)
{
    int least[MOST_COLUMNS], i;
    for (;;) {
        for (i = 0; i < t->n; i++)
            least[i] = t->columns[i].shrink && widths[i] > t->columns[i].shrink ? t->columns[i].shrink
                                                                                 : widths[i];
        if (row_width(t, least) <= screen || (i = next_to_drop(t, widths)) < 0)
            break;
        widths[i] = 0;
    }
    while (row_width(t, widths) > screen && (i = next_to_cut(t, widths)) >= 0)
        widths[i]--;
}

static void pad(FILE *out, int n)
{
    if (n > 0)
        fprintf(out, "%*s", n, "");
}

/* The text, cut with an ellipsis where it is too wide. */
static void put(FILE *out, const char *text, size_t n, int cells, int width, bool right, bool last)
{
    if (cells <= width) {
        if (right)
            pad(out, width - cells);
        fwrite(text, 1, n, out);
        if (!right && !last)
            pad(out, width - cells);
        return;
    }
    int shown = 0;
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        int k = nx_utf8_decode(text + i, n - i, &cp), w = cells_of(cp);
        size_t step = (size_t)(k < 0 ? -k : k);
        if (shown + w > width - 1)
            break;
        fwrite(text + i, 1, step, out);
        shown += w;
        i += step;
    }
    fputs("…", out);
    pad(out, width - shown - 1);
}

static void print_row(const table *t, FILE *out, const cell *row, const int *widths)
{
    bool begun = false;
    for (int i = 0; i < t->n; i++) {
        const table_column *c = &t->columns[i];
        if (!widths[i])
            continue;
        const char *color = row[i].look == TABLE_PLAIN ? "" : table_color(out, row[i].look);
        pad(out, begun ? GAP : 0);
        begun = true;
        fputs(color, out);
        put(out, row[i].text, row[i].n, row[i].cells, widths[i], c->right, i == t->n - 1);
        fputs(*color ? "\033[0m" : "", out);
    }
    fputc('\n', out);
}

void table_print(const table *t, FILE *out)
{
    int widths[MOST_COLUMNS], screen = table_screen(fileno(out));
    cell head[MOST_COLUMNS];
    measure(t, widths);
    if (screen)
        shrink(t, widths, screen);
    for (int i = 0; i < t->n; i++) {
        char *title = (char *)(uintptr_t)t->columns[i].title;
        head[i] = (cell){title, strlen(title), table_cells(title, strlen(title)), TABLE_STRONG};
    }
    print_row(t, out, head, widths);
    for (size_t i = 0; i + (size_t)t->n <= t->cells.n; i += (size_t)t->n)
        print_row(t, out, &t->cells.at[i], widths);
}
