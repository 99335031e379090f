/*
 * fft_tmpl.c: discrete Fourier transforms along any axes, a pass an axis. A pass takes its lines
 *
 *   - VF_N at a time, a lane each, where there are enough of them (ALONG);
 *   - else one at a time as a matrix of n1 rows and n2 columns: its columns, VF_N at a time, then a
 *     turn by roots of order n1 n2, then its rows (SPLIT);
 *   - with a large prime factor, as a convolution with a chirp, two transforms of a good size: either
 *     way, by what is in the buffers of VF_N lines or a line at a time (CHIRP).
 *
 * So vectors are full whatever the length, and threads share blocks of lines or of columns.
 */
#include "engine/cpu/fft_block.h"
#include "engine/cpu/kernels.h"
#include "engine/cpu/pool.h"
#include "engine/ops/params.h"

enum { MAX_PIECES = 64, PIECE = 64 * 1024, MAX_SCRATCH = 4 << 20, SHORT = 1024, MAX_TURNS = 1 << 15 };
typedef enum { ALONG, SPLIT, CHIRP } method;
typedef enum { COMPLEX, TO_SPECTRUM, TO_REAL } direction;

/* A line of `size` points as n1 rows of n2. */
typedef struct {
    int64_t size, n1, n2;
    fft_roots roots; /* of order size */
    fft_c *table1, *table2;
    vc *turns; /* between columns and rows, [blocks of columns][n1], where they are wanted again; or NULL */
} split;

typedef struct {
    vc *x, *y;
} buffers;

/* For one line at a time: what a transform and its chirp and halves need in between. */
typedef struct {
    fft_c *middle, *a, *b, *half;
} line_space;

typedef struct {
    direction dir;
    bool inverse;
    bool packed; /* a real line of even n, as n / 2 complex points */
    method how;
    int64_t n, points; /* along the axis; of the complex transform */
    float scale;
    nx_walk walk; /* over lines: input, output */
    const float *in;
    float *out;
    int64_t in_unit, out_unit, in_step, out_step; /* floats an element, and along the axis */
    bool share_lines; /* threads take whole lines; else they share each */
    int pieces;
    fft_c *table; /* ALONG: roots of order n */
    fft_c *wide;  /* ALONG, with a chirp: roots of the order of its transforms; else NULL */
    split split;
    fft_roots real_roots; /* of order n */
    fft_c *chirp, *filter;
    buffers blocks[MAX_PIECES];
    line_space spaces[MAX_PIECES];
} pass;

/* ---- workspace ------------------------------------------------------------------------------ */

typedef struct {
    char *base; /* NULL: only counts */
    size_t used;
} arena;

static void *take(arena *a, int64_t n, size_t each)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (size_t)nx_whole_lines(n * (int64_t)each);
    return p;
}

static void take_roots(arena *a, fft_roots *r, int64_t order)
{
    fft_d *space = take(a, fft_roots_size(order), sizeof *space);
    if (space)
        fft_roots_init(r, order, space);
}

static fft_c *take_table(arena *a, int64_t order)
{
    fft_roots r;
    take_roots(a, &r, order);
    fft_c *table = take(a, order, sizeof *table);
    if (table)
        fft_table(&r, order, table);
    return table;
}

/* turns[k]: for VF_N columns from `first` the root of order size to the k times the column: each row's turn is
 * the last one's, once more by the column's root, in double precision. */
static void turns_fill(const fft_roots *roots, int64_t rows, int64_t first, int n, vc *turns)
{
    double re[VF_N], im[VF_N], by_re[VF_N], by_im[VF_N];
    for (int l = 0; l < VF_N; l++) {
        fft_d w = fft_root(roots, l < n ? first + l : 0);
        by_re[l] = w.re, by_im[l] = w.im;
        re[l] = 1, im[l] = 0;
    }
    for (int64_t k = 0; k < rows; k++) {
        float now_re[VF_N], now_im[VF_N];
        for (int l = 0; l < VF_N; l++) {
            now_re[l] = (float)re[l];
            now_im[l] = (float)im[l];
            double t = re[l] * by_re[l] - im[l] * by_im[l];
            im[l] = re[l] * by_im[l] + im[l] * by_re[l];
            re[l] = t;
        }
        turns[k] = (vc){vf_load(now_re), vf_load(now_im)};
    }
}

static int block_lines(int64_t first, int64_t all)
{
    return all - first < VF_N ? (int)(all - first) : VF_N;
}

/* again: many lines are to be transformed. */
static void take_split(arena *a, split *s, bool again)
{
    s->n1 = fft_divisor(s->size);
    s->n2 = s->size / s->n1;
    take_roots(a, &s->roots, s->size);
    s->table1 = take_table(a, s->n1);
    s->table2 = take_table(a, s->n2);
    s->turns = again && s->size <= MAX_TURNS ? take(a, (s->n2 + VF_N - 1) / VF_N * s->n1, sizeof *s->turns) : NULL;
    for (int64_t first = 0; s->turns && first < s->n2; first += VF_N)
        turns_fill(&s->roots, s->n1, first, block_lines(first, s->n2), s->turns + first / VF_N * s->n1);
}

static void take_blocks(arena *a, pass *p, int64_t points)
{
    for (int i = 0; i < p->pieces; i++) {
        p->blocks[i].x = take(a, points, sizeof(vc));
        p->blocks[i].y = take(a, points, sizeof(vc));
    }
}

static void take_spaces(arena *a, pass *p)
{
    for (int i = 0; i < (p->share_lines ? p->pieces : 1); i++) {
        line_space *s = &p->spaces[i];
        s->middle = take(a, p->split.size, sizeof(fft_c));
        s->a = p->how == CHIRP ? take(a, p->split.size, sizeof(fft_c)) : NULL;
        s->b = p->how == CHIRP ? take(a, p->split.size, sizeof(fft_c)) : NULL;
        s->half = p->dir != COMPLEX ? take(a, p->points + 1, sizeof(fft_c)) : NULL;
    }
}

/* ---- one line, as a matrix ------------------------------------------------------------------ */

typedef struct {
    const split *s;
    fft_line from, to;
    fft_c *middle;
    const buffers *blocks;
    int pieces;
    float scale;
} split_job;

static void columns_piece(void *ctx, int64_t piece, int64_t end)
{
    const split_job *j = ctx;
    const split *s = j->s;
    int64_t blocks = (s->n2 + VF_N - 1) / VF_N;
    fft_line from = j->from, to = {(float *)j->middle, 2 * s->n2, 1, true};
    from.step *= s->n2;
    for (int64_t i = blocks * piece / j->pieces; i < blocks * end / j->pieces; i++) {
        vc *x = j->blocks[piece].x, *y = j->blocks[piece].y;
        int64_t first = i * VF_N;
        int n = block_lines(first, s->n2);
        fft_block b = {.n = 0};
        block_of(&b, from, first, j->from.step, n);
        block_load(&b, s->n1, x);
        vc *z = fft_lines(s->n1, x, y, s->table1, 1) == x ? x : y, *turns = z == x ? y : x;
        if (s->turns)
            turns = s->turns + i * s->n1;
        else
            turns_fill(&s->roots, s->n1, first, n, turns);
        for (int64_t k = 1; k < s->n1; k++)
            z[k] = vc_mul(z[k], turns[k].re, turns[k].im, vf_sub(vf_set(0), turns[k].im));
        block_of(&b, to, first, 2, n);
        block_store(&b, s->n1, z, 1);
    }
}

static void rows_piece(void *ctx, int64_t piece, int64_t end)
{
    const split_job *j = ctx;
    const split *s = j->s;
    int64_t blocks = (s->n1 + VF_N - 1) / VF_N;
    fft_line from = {(float *)j->middle, 2, 1, true}, to = j->to;
    to.step *= s->n1;
    for (int64_t i = blocks * piece / j->pieces; i < blocks * end / j->pieces; i++) {
        vc *x = j->blocks[piece].x, *y = j->blocks[piece].y;
        int64_t first = i * VF_N;
        int n = block_lines(first, s->n1);
        fft_block b = {.n = 0};
        block_of(&b, from, first, 2 * s->n2, n);
        block_load(&b, s->n2, x);
        const vc *z = fft_lines(s->n2, x, y, s->table2, 1);
        block_of(&b, to, first, j->to.step, n);
        block_store(&b, s->n2, z, j->scale);
    }
}

/* from and to may be the same line: all is in `middle` before the first result is written. */
static void split_transform(const split *s, fft_line from, fft_line to, float scale, fft_c *middle,
                            const buffers *blocks, int pieces)
{
    split_job j = {s, from, to, middle, blocks, pieces, scale};
    nx_parallel(pieces, 1, columns_piece, &j);
    nx_parallel(pieces, 1, rows_piece, &j);
}

/* ---- chirps --------------------------------------------------------------------------------- */

static fft_c c_mul(fft_c a, fft_c b)
{
    return (fft_c){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static fft_line line_of(fft_c *a)
{
    return (fft_line){(float *)a, 2, 1, true};
}

/* chirp[j] = exp(-pi i j^2 / points); filter: the transform of its conjugate, wound around, with the
 * inverse's factor. */
static void take_chirp(arena *a, pass *p)
{
    int64_t n = p->points, size = p->split.size;
    fft_roots roots;
    p->chirp = take(a, n, sizeof *p->chirp);
    p->filter = take(a, size, sizeof *p->filter);
    take_roots(a, &roots, 2 * n);
    if (!a->base)
        return;
    for (int64_t j = 0, square = 0; j < n; j++) { /* square: j^2 modulo 2 n */
        fft_d w = fft_root(&roots, square);
        p->chirp[j] = (fft_c){(float)w.re, (float)w.im};
        square = (square + 2 * j + 1) % (2 * n);
    }
    memset(p->filter, 0, (size_t)size * sizeof *p->filter);
    for (int64_t j = 0; j < n; j++) {
        fft_c f = {p->chirp[j].re, -p->chirp[j].im};
        p->filter[j] = f;
        if (j)
            p->filter[size - j] = f;
    }
    fft_line f = line_of(p->filter);
    split_transform(&p->split, f, f, 1 / (float)size, p->spaces[0].middle, p->blocks, p->pieces);
}

static void chirp_transform(const pass *p, fft_line from, fft_line to, float scale,
                            const line_space *space, const buffers *blocks, int pieces)
{
    int64_t n = p->points, size = p->split.size;
    for (int64_t j = 0; j < n; j++) {
        const float *at = from.at + j * from.step;
        space->a[j] = c_mul((fft_c){at[0], from.has_im ? at[from.im] : 0}, p->chirp[j]);
    }
    memset(space->a + n, 0, (size_t)(size - n) * sizeof *space->a);
    fft_line a = line_of(space->a), b = line_of(space->b);
    split_transform(&p->split, a, b, 1, space->middle, blocks, pieces);
    for (int64_t k = 0; k < size; k++)
        space->b[k] = c_mul(space->b[k], p->filter[k]);
    split_transform(&p->split, fft_line_swapped(b), fft_line_swapped(a), 1, space->middle, blocks,
                    pieces);
    for (int64_t k = 0; k < n; k++) {
        fft_c x = c_mul(space->a[k], p->chirp[k]);
        float *at = to.at + k * to.step;
        at[0] = x.re * scale;
        if (to.has_im)
            at[to.im] = x.im * scale;
    }
}

/* ---- real lines, one at a time ---------------------------------------------------------------- */

static fft_c point(fft_line l, int64_t j)
{
    return (fft_c){l.at[j * l.step], l.at[j * l.step + l.im]};
}

static void set_point(fft_line l, int64_t j, float re, float im)
{
    l.at[j * l.step] = re;
    l.at[j * l.step + l.im] = im;
}

/* See real_from_packed. */
static void line_from_packed(const pass *p, const fft_c *z, fft_line x)
{
    int64_t h = p->points;
    float s = p->scale, half = s / 2;
    set_point(x, 0, (z[0].re + z[0].im) * s, 0);
    set_point(x, h, (z[0].re - z[0].im) * s, 0);
    for (int64_t k = 1; 2 * k <= h; k++) {
        fft_c a = z[k], b = z[h - k];
        fft_d w = fft_root(&p->real_roots, k);
        fft_c even = {(a.re + b.re) * half, (a.im - b.im) * half};
        fft_c t = c_mul((fft_c){(a.im + b.im) * half, (b.re - a.re) * half},
                        (fft_c){(float)w.re, (float)w.im});
        set_point(x, k, even.re + t.re, even.im + t.im);
        set_point(x, h - k, even.re - t.re, t.im - even.im);
    }
}

/* See packed_from_real. */
static void line_to_packed(const pass *p, fft_line x, fft_c *z)
{
    int64_t h = p->points;
    float first = point(x, 0).re, last = point(x, h).re;
    z[0] = (fft_c){first - last, first + last};
    for (int64_t k = 1; 2 * k <= h; k++) {
        fft_c a = point(x, k), b = point(x, h - k);
        fft_d w = fft_root(&p->real_roots, k);
        fft_c even = {a.re + b.re, a.im - b.im};
        fft_c t = c_mul((fft_c){a.re - b.re, a.im + b.im}, (fft_c){(float)w.im, (float)w.re});
        z[k] = (fft_c){even.im + t.im, even.re + t.re};
        z[h - k] = (fft_c){t.im - even.im, even.re - t.re};
    }
}

/* The conjugate of the whole spectrum of n real points: its transform is n times those points. */
static void line_unfold(const pass *p, fft_line x, fft_c *z)
{
    z[0] = (fft_c){point(x, 0).re, 0};
    for (int64_t k = 1; k <= p->n / 2; k++) {
        fft_c a = point(x, k);
        z[k] = (fft_c){a.re, -a.im};
        z[p->n - k] = a;
    }
}

/* ---- a line of a pass -------------------------------------------------------------------------- */

static void transform_line(const pass *p, fft_line from, fft_line to, float scale,
                           const line_space *space, const buffers *blocks, int pieces)
{
    if (p->how == CHIRP)
        chirp_transform(p, from, to, scale, space, blocks, pieces);
    else
        split_transform(&p->split, from, to, scale, space->middle, blocks, pieces);
}

/* The line as the pass's complex transform sees it on its real side. */
static fft_line real_side(const pass *p, float *at, int64_t step)
{
    return p->packed ? (fft_line){at, 2 * step, step, true} : (fft_line){at, step, 0, false};
}

static void line(const pass *p, int64_t i, const line_space *space, const buffers *blocks, int pieces)
{
    int64_t at[2];
    nx_walk_seek(&p->walk, i, at);
    float *in = (float *)(uintptr_t)p->in + at[0] * p->in_unit, *out = p->out + at[1] * p->out_unit;
    fft_line from = {in, p->in_step, 1, true}, to = {out, p->out_step, 1, true};
    if (p->dir == TO_SPECTRUM) {
        fft_line half = line_of(space->half);
        from = real_side(p, in, p->in_step);
        if (p->packed) {
            transform_line(p, from, half, 1, space, blocks, pieces);
            line_from_packed(p, space->half, to);
            return;
        }
        transform_line(p, from, half, p->scale, space, blocks, pieces);
        for (int64_t k = 0; k <= p->n / 2; k++)
            set_point(to, k, space->half[k].re, space->half[k].im);
    } else if (p->dir == TO_REAL) {
        to = real_side(p, out, p->out_step);
        if (p->packed)
            line_to_packed(p, from, space->half);
        else
            line_unfold(p, from, space->half);
        to = p->packed ? fft_line_swapped(to) : to;
        transform_line(p, line_of(space->half), to, p->scale, space, blocks, pieces);
    } else if (p->inverse) {
        transform_line(p, fft_line_swapped(from), fft_line_swapped(to), p->scale, space, blocks,
                       pieces);
    } else {
        transform_line(p, from, to, p->scale, space, blocks, pieces);
    }
}

static void lines_piece(void *ctx, int64_t piece, int64_t end)
{
    const pass *p = ctx;
    int64_t n = p->walk.size;
    for (int64_t i = n * piece / p->pieces; i < n * end / p->pieces; i++)
        line(p, i, &p->spaces[piece], &p->blocks[piece], 1);
}

/* ---- VF_N lines at once ------------------------------------------------------------------------ */

/* The conjugate of whole spectra from half ones. */
static void unfold(int64_t n, vc *x)
{
    x[0].im = vf_set(0);
    for (int64_t k = 1; k <= n / 2; k++) {
        x[n - k] = x[k];
        x[k] = vc_conj(x[k]);
    }
}

static vc vc_times(vc a, fft_c w)
{
    return vc_mul(a, vf_set(w.re), vf_set(w.im), vf_set(-w.im));
}

/* The complex transform of what is in x; the result is in the buffer returned, x or y. */
static vc *block_transform(const pass *p, vc *x, vc *y)
{
    int64_t n = p->points, size = p->split.size;
    if (!p->wide)
        return fft_lines(n, x, y, p->table, p->packed ? 2 : 1) == x ? x : y;
    for (int64_t j = 0; j < n; j++)
        x[j] = vc_times(x[j], p->chirp[j]);
    memset(x + n, 0, (size_t)(size - n) * sizeof *x);
    vc *z = fft_lines(size, x, y, p->wide, 1) == x ? x : y, *other = z == x ? y : x;
    for (int64_t k = 0; k < size; k++)
        z[k] = vc_order(vc_times(z[k], p->filter[k]), true); /* exchanged: the way back */
    vc *r = fft_lines(size, z, other, p->wide, 1) == z ? z : other;
    for (int64_t k = 0; k < n; k++)
        r[k] = vc_times(vc_order(r[k], true), p->chirp[k]);
    return r;
}

static void block_forward(const pass *p, const fft_block *in, const fft_block *out, const buffers *b)
{
    block_load(in, p->points, b->x);
    const vc *z = block_transform(p, b->x, b->y);
    vc *other = z == b->x ? b->y : b->x;
    if (p->packed) {
        real_from_packed(p->points, z, other, p->table);
        z = other;
    }
    block_store(out, p->dir == TO_SPECTRUM ? p->n / 2 + 1 : p->n, z, p->scale);
}

static void block_to_real(const pass *p, const fft_block *in, const fft_block *out, const buffers *b)
{
    block_load(in, p->n / 2 + 1, b->x);
    vc *x = b->x, *y = b->y;
    if (p->packed) {
        packed_from_real(p->points, b->x, b->y, p->table);
        x = b->y;
        y = b->x;
    } else {
        unfold(p->n, x);
    }
    const vc *z = block_transform(p, x, y);
    block_store(out, p->points, z, p->scale);
}

static void block_starts(const pass *p, int64_t first, int n, fft_block *in, fft_block *out)
{
    int last = p->walk.ndim - 1;
    for (int l = 0; l < n;) {
        int64_t at[2], run = nx_walk_run(&p->walk, first + l, first + n, at);
        for (int64_t i = 0; i < run; i++, l++) {
            in->at[l] = (float *)(uintptr_t)p->in + (at[0] + i * p->walk.strides[0][last]) * p->in_unit;
            out->at[l] = p->out + (at[1] + i * p->walk.strides[1][last]) * p->out_unit;
        }
    }
}

static void exchange(fft_block *b)
{
    for (int l = 0; l < b->n; l++)
        b->at[l] += b->line.im;
    int n = b->n;
    block_init(b, n, fft_line_swapped(b->line));
}

static void along_piece(void *ctx, int64_t piece, int64_t end)
{
    const pass *p = ctx;
    int64_t lines = p->walk.size, blocks = (lines + VF_N - 1) / VF_N;
    fft_line from = {NULL, p->in_step, 1, true}, to = {NULL, p->out_step, 1, true};
    if (p->dir == TO_SPECTRUM)
        from = real_side(p, NULL, p->in_step);
    if (p->dir == TO_REAL)
        to = real_side(p, NULL, p->out_step);
    for (int64_t i = blocks * piece / p->pieces; i < blocks * end / p->pieces; i++) {
        fft_block in = {.n = 0}, out = {.n = 0};
        int n = block_lines(i * VF_N, lines);
        block_starts(p, i * VF_N, n, &in, &out);
        block_init(&in, n, from);
        block_init(&out, n, to);
        if (p->dir == COMPLEX && p->inverse)
            exchange(&in);
        if (p->inverse && (p->dir == COMPLEX || p->packed))
            exchange(&out);
        if (p->dir == TO_REAL)
            block_to_real(p, &in, &out, &p->blocks[piece]);
        else
            block_forward(p, &in, &out, &p->blocks[piece]);
    }
}

/* ---- passes ------------------------------------------------------------------------------------ */

/* Lines whose numbers lie side by side are best taken together, whatever their length. */
static bool has_columns(const pass *p)
{
    int last = p->walk.ndim - 1;
    return p->walk.shape[last] >= VF_N && p->walk.strides[0][last] == 1;
}

static method choose(const pass *p)
{
    int64_t n = p->points;
    if (!fft_is_smooth(n))
        return CHIRP;
    if (n <= 32 || fft_divisor(n) == 1)
        return ALONG;
    if (p->walk.size < VF_N / 2 || n * 2 * (int64_t)sizeof(vc) > MAX_SCRATCH)
        return SPLIT;
    return n <= SHORT || has_columns(p) ? ALONG : SPLIT;
}

/* How many pieces of work there can be, by the size of the data and of the scratch of each. */
static int count_pieces(const pass *p, int64_t most, int64_t scratch)
{
    int64_t pieces = p->walk.size * p->n * 8 / PIECE;
    if (pieces > MAX_PIECES)
        pieces = MAX_PIECES;
    if (pieces * scratch > 16 * MAX_SCRATCH)
        pieces = 16 * MAX_SCRATCH / scratch;
    if (pieces > most)
        pieces = most;
    return pieces > 1 ? (int)pieces : 1;
}

/* Chirps of VF_N lines at once. */
static void along_with_chirp(pass *p, arena *a)
{
    p->how = ALONG;
    p->pieces = count_pieces(p, (p->walk.size + VF_N - 1) / VF_N,
                             2 * (p->split.size + 1) * (int64_t)sizeof(vc));
    take_split(a, &p->split, false);
    p->table = take_table(a, p->n); /* the part for real lines needs no more than half of it */
    p->wide = take_table(a, p->split.size);
    p->spaces[0].middle = take(a, p->split.size, sizeof(fft_c));
    take_blocks(a, p, p->split.size + 1);
    take_chirp(a, p);
}

/* Lays the pass's tables and scratch out in a; with memory, fills the tables. */
static void pass_prepare(pass *p, arena *a)
{
    int64_t lines = p->walk.size;
    p->how = choose(p);
    if (p->how == ALONG) {
        int64_t scratch = 2 * (p->points + 1) * (int64_t)sizeof(vc);
        p->pieces = count_pieces(p, (lines + VF_N - 1) / VF_N, scratch);
        p->table = take_table(a, p->packed ? p->n : p->points);
        take_blocks(a, p, p->points + 1);
        return;
    }
    p->split.size = p->how == CHIRP ? fft_good_size(2 * p->points - 1) : p->points;
    if (p->how == CHIRP && lines >= VF_N / 2 && p->split.size <= 2 * SHORT) {
        along_with_chirp(p, a);
        return;
    }
    take_split(a, &p->split, lines > 1 || p->how == CHIRP);
    int64_t scratch = 2 * p->split.n2 * (int64_t)sizeof(vc) + 32 * p->split.size;
    p->share_lines = lines > 1 && (lines >= 8 || p->split.size < 16384);
    p->pieces = count_pieces(p, p->share_lines ? lines : p->split.n1 / VF_N, scratch);
    if (p->packed)
        take_roots(a, &p->real_roots, p->n);
    take_blocks(a, p, p->split.n2);
    take_spaces(a, p);
    if (p->how == CHIRP)
        take_chirp(a, p);
}

static void pass_run(pass *p)
{
    if (p->how == ALONG)
        nx_parallel(p->pieces, 1, along_piece, p);
    else if (p->share_lines)
        nx_parallel(p->pieces, 1, lines_piece, p);
    else
        for (int64_t i = 0; i < p->walk.size; i++)
            line(p, i, &p->spaces[0], p->blocks, p->pieces);
}

static void pass_init(pass *p, const nx_view *in, const nx_view *out, int axis, bool inverse)
{
    int shape[NX_MAX_NDIM], ndim = 0;
    int64_t strides[2][NX_MAX_NDIM];
    for (int i = 0; i < in->ndim; i++) {
        if (i == axis)
            continue;
        shape[ndim] = in->shape[i];
        strides[0][ndim] = in->strides[i];
        strides[1][ndim++] = out->strides[i];
    }
    nx_walk_init(&p->walk, shape, ndim, (const int64_t *const[]){strides[0], strides[1]}, 2);
    bool from_real = in->dtype == NX_FLOAT32, to_real = out->dtype == NX_FLOAT32;
    p->dir = from_real ? TO_SPECTRUM : to_real ? TO_REAL : COMPLEX;
    p->inverse = inverse;
    p->n = to_real ? out->shape[axis] : in->shape[axis];
    p->packed = p->dir != COMPLEX && p->n % 2 == 0;
    p->points = p->packed ? p->n / 2 : p->n;
    p->scale = 1;
    p->in = in->data;
    p->out = out->data;
    p->in_unit = from_real ? 1 : 2;
    p->out_unit = to_real ? 1 : 2;
    p->in_step = in->strides[axis] * p->in_unit;
    p->out_step = out->strides[axis] * p->out_unit;
    p->share_lines = false;
    p->wide = NULL;
}

/* All passes in order; without memory only the workspace they need is counted. Between them numbers
 * are complex: in the output, or, if that is real, in a workspace of the input's size. */
static size_t passes(const nx_call *c)
{
    const nx_fft_params *params = c->params;
    const nx_view *in = &c->in[0], *out = &c->out[0];
    int n = params->axes.n;
    int64_t strides[NX_MAX_NDIM];
    bool to_real = out->dtype == NX_FLOAT32;
    arena a = {c->workspace, 0};
    nx_view now = *in, between = to_real ? *in : *out;
    if (to_real && n > 1) {
        nx_strides_row(in->shape, in->ndim, strides);
        between.strides = strides;
        between.data = take(&a, nx_view_size(in), sizeof(fft_c));
    }
    size_t base = a.used, need = base;
    double total = 1;
    for (int i = 0; i < n; i++) {
        /* The real side is first or last, and along the last axis. */
        int axis = params->axes.v[to_real ? i : n - 1 - i];
        const nx_view *next = to_real && i == n - 1 ? out : &between;
        pass p;
        pass_init(&p, &now, next, axis, params->inverse);
        total *= (double)p.n;
        if (i == n - 1 && params->inverse)
            p.scale = (float)(1 / total);
        a.used = base;
        pass_prepare(&p, &a);
        need = a.used > need ? a.used : need;
        if (a.base)
            pass_run(&p);
        now = *next;
    }
    return need;
}

size_t NX_FN(fft_workspace)(const nx_call *c)
{
    nx_call count = *c;
    count.workspace = NULL;
    return passes(&count);
}

void NX_FN(fft)(const nx_call *c)
{
    passes(c);
}
