/*
 * gemm_body.h: the blocked product for one real type; gemm_tmpl.c includes it for float and double.
 * T the type, V its vector, V_N lanes, V_OP(load) the operations, NB columns a panel, G(name) names.
 *
 * The one order of sums: each output is a single chain acc = fma(a[k], b[k], acc) over k ascending.
 * Rows, panels and chunks of k only decide which chains run side by side, so neither the number of
 * rows nor of threads changes a bit. For the same reason the two ways below give the same bits:
 * small products, whose blocks pack what they need of b themselves, and large ones, which pack a
 * (where it is read often enough) and b once for all blocks.
 */

/* What is read after these rows: the next rows of a, and a share of the next panel. Where there is nothing
 * more these are of what is at hand: an address without memory takes many times as long to find out about. */
typedef struct {
    const char *a, *panel;
} G(soon);
enum {
    G(PART) = GEMM_NV * V_N, /* columns of a part of a panel, multiplied by all rows before the next */
    G(PARTS) = NB / G(PART),
    G(A_STEP) = NX_GEMM_MR * sizeof(T),
    G(PANEL_STEP) = NB * sizeof(T) * NX_GEMM_MR / GEMM_MB / G(PARTS),
};

/* c[mr][nv vectors] += a[mr, kc] panel[kc, nv vectors]. mr and nv are constants where this is inlined, and so are
 * the steps of what was packed. */
NX_INLINE void G(sums)(int mr, int nv, int64_t kc, const T *a, int64_t a_row, int64_t a_col, const T *panel,
                       int64_t panel_row, G(soon) soon, V c[NX_GEMM_MR][GEMM_NV])
{
    for (int64_t k = 0; k < kc; k++) {
        V b[GEMM_NV];
        if (GEMM_AHEAD && mr == NX_GEMM_MR) {
            __builtin_prefetch(soon.a + k * G(A_STEP), 0, 3);
            __builtin_prefetch(soon.panel + k * G(PANEL_STEP), 0, 2);
        }
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            b[j] = V_OP(load)(panel + k * panel_row + j * V_N);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            V x = V_OP(set)(a[i * a_row + k * a_col]);
#pragma GCC unroll 4
            for (int j = 0; j < nv; j++)
                c[i][j] = V_OP(fma)(x, b[j], c[i][j]);
        }
    }
}

/* to[mr][nv vectors] = from + a[mr, kc] panel[kc, nv vectors]; from NULL: zeros. */
NX_INLINE void G(micro)(int mr, int nv, int64_t kc, const T *a, int64_t a_row, int64_t a_col,
                        const T *panel, int64_t panel_row, const T *from, T *to, int64_t to_row,
                        G(soon) soon)
{
    V c[NX_GEMM_MR][GEMM_NV];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            c[i][j] = from ? V_OP(load)(from + i * NB + j * V_N) : V_OP(set)(0);
    if (!GEMM_AHEAD && mr == NX_GEMM_MR)
        for (int64_t at = 0; at < kc * G(PANEL_STEP); at += 64)
            __builtin_prefetch(soon.panel + at, 0, 2);
    if (mr == NX_GEMM_MR && nv == GEMM_NV && a_row == 1 && a_col == NX_GEMM_MR &&
        panel_row == G(PART))
        G(sums)(NX_GEMM_MR, GEMM_NV, kc, a, 1, NX_GEMM_MR, panel, G(PART), soon, c);
    else
        G(sums)(mr, nv, kc, a, a_row, a_col, panel, panel_row, soon, c);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            V_OP(store)(to + i * to_row + j * V_N, c[i][j]);
}

#define MICRO_ARGS                                                                                 \
    int64_t kc, const T *a, int64_t a_row, int64_t a_col, const T *panel, int64_t panel_row,       \
        const T *from, T *to, int64_t to_row, G(soon) soon
#if NX_GEMM_MR > 6
#define MORE_ROWS(nv) CASE(6, nv) CASE(7, nv)
#else
#define MORE_ROWS(nv)
#endif
#define CASE(mr, nv)                                                                               \
    case mr: G(micro)(mr, nv, kc, a, a_row, a_col, panel, panel_row, from, to, to_row, soon); break;
#define WIDTH(nv)                                                                                  \
    static void G(rows_##nv)(int64_t m, MICRO_ARGS)                                                \
    {                                                                                              \
        switch (m) {                                                                               \
            CASE(1, nv) CASE(2, nv) CASE(3, nv) CASE(4, nv) CASE(5, nv) MORE_ROWS(nv)              \
        default: G(micro)(NX_GEMM_MR, nv, kc, a, a_row, a_col, panel, panel_row, from, to, to_row, \
                          soon);                                                                   \
        }                                                                                          \
    }
WIDTH(1)
WIDTH(2)
#if GEMM_NV > 2
WIDTH(3)
#endif
#undef WIDTH
#undef CASE
#undef MORE_ROWS
#undef MICRO_ARGS

/* A panel of b. One that was loaded has its parts one after the other, so that the first cache, which keeps the
 * part in hand, has no lines between its rows; one of b itself has them side by side. */
typedef struct {
    const T *data;
    int64_t row, part; /* steps, in elements */
} G(panel);

static G(panel) G(loaded)(const T *data, int64_t kc)
{
    return (G(panel)){data, G(PART), kc * G(PART)};
}

/* Rows of a. Packed ones lie in groups, one element of each row at a time: the processor sees one stream, which
 * it fetches ahead, and no two rows meet in the sets of the first cache. */
typedef struct {
    const T *data;
    int64_t row, col, group; /* steps, in elements; group: to the next NX_GEMM_MR rows */
} G(rows);

static G(rows) G(rows_of)(const nx_gemm *g, const T *data)
{
    return (G(rows)){data, g->a_row, g->a_col, NX_GEMM_MR * g->a_row};
}

/* Any number of rows by one panel of kc x nb. Whole vectors of `to` are written, nb or more. The part of the
 * panel that a block of rows is multiplied by stays in the first cache, while the rows come from the second.
 * next: the panel that is read after this one, or NULL. */
static void G(rows_by_panel)(int64_t m, int64_t kc, int nb, const G(rows) *a, const G(panel) *panel,
                             const T *next, const T *from, T *to, int64_t to_row)
{
    bool streams = a->group == NX_GEMM_MR * kc || (a->col == 1 && a->row >= kc); /* one piece, or nearly */
    for (int j = 0; j < nb; j += G(PART))
        for (int64_t i = 0; i < m; i += NX_GEMM_MR) {
            const T *x = a->data + i / NX_GEMM_MR * a->group, *f = from ? from + i * NB + j : NULL;
            const T *b = panel->data + j / G(PART) * panel->part;
            T *t = to + i * to_row + j;
            const T *more = streams && m - i >= 2 * NX_GEMM_MR ? x + a->group : streams ? x : b;
            int64_t part = next ? i / NX_GEMM_MR * G(PARTS) + j / G(PART) : 0;
            G(soon) soon = {(const char *)more, (const char *)(next ? next : b) + part * kc * G(PANEL_STEP)};
            if (nb - j <= V_N)
                G(rows_1)(m - i, kc, x, a->row, a->col, b, panel->row, f, t, to_row, soon);
            else if (GEMM_NV == 2 || nb - j <= 2 * V_N)
                G(rows_2)(m - i, kc, x, a->row, a->col, b, panel->row, f, t, to_row, soon);
#if GEMM_NV > 2
            else
                G(rows_3)(m - i, kc, x, a->row, a->col, b, panel->row, f, t, to_row, soon);
#endif
        }
}

/* What a block of outputs needs while it goes over the chunks of k. */
typedef struct {
    T acc[GEMM_MB * NB];
    T *out; /* where the last chunk's sums go at once, or NULL: they go through g->store */
    int64_t out_row;
} G(outputs);

static void G(outputs_begin)(G(outputs) *o, const nx_gemm *g, int64_t batch, int64_t m0, int64_t n0,
                             int nb)
{
    o->out = g->direct_out && nb % V_N == 0 ? g->direct_out(g, batch, m0, n0, &o->out_row) : NULL;
}

/* Chunk k0..k0+kc of m rows by nb columns. */
static void G(outputs_add)(G(outputs) *o, const nx_gemm *g, int64_t k0, int64_t kc, int64_t m,
                           int nb, const G(rows) *a, const G(panel) *b, const T *next)
{
    bool direct = o->out && k0 + kc == g->k;
    G(rows_by_panel)(m, kc, nb, a, b, next, k0 ? o->acc : NULL,
                     direct ? o->out : o->acc, direct ? o->out_row : NB);
}

static void G(outputs_end)(G(outputs) *o, const nx_gemm *g, int64_t batch, int64_t m0, int64_t m,
                           int64_t n0, int nb)
{
    if (g->k == 0)
        memset(o->acc, 0, sizeof *o->acc * (size_t)(m * NB));
    if (!o->out || g->k == 0)
        g->store(g, batch, m0, m, n0, nb, o->acc);
}

typedef struct {
    const nx_gemm *g;
    int64_t m_step, m_blocks, n_blocks;
    /* Of large products: the part in hand, and it packed; panels multiplied together, and how often. */
    int64_t batch, m0, m, a_rows, n0, n, kc, chunks, group, groups;
    T *a; /* [chunks] groups of NX_GEMM_MR rows, each [kc][NX_GEMM_MR], in `a_rows` * GEMM_KC each */
    T *b; /* [n_blocks][chunks] panels in GEMM_KC * NB each */
} G(job);

/* Cuts rows into blocks of nearly the same size. */
static void G(cut)(G(job) *j, int64_t m, int64_t n)
{
    int64_t blocks = (m + GEMM_MB - 1) / GEMM_MB;
    int64_t step = blocks ? (m + blocks - 1) / blocks : 1;
    j->m_step = (step + NX_GEMM_MR - 1) / NX_GEMM_MR * NX_GEMM_MR;
    j->m_blocks = (m + j->m_step - 1) / j->m_step;
    j->n_blocks = (n + NB - 1) / NB;
}

/* ---- small: a block loads the panels it needs ----------------------------------------------- */

static void G(block)(const nx_gemm *g, int64_t batch, int64_t m0, int64_t m, int64_t n0)
{
    T panel[GEMM_KC * NB];
    G(outputs) o;
    int nb = (int)(g->n - n0 < NB ? g->n - n0 : NB);
    if (g->few && g->m <= NX_GEMM_FEW && g->k > 0) {
        g->few(g, batch, m, n0, nb, o.acc);
        g->store(g, batch, m0, m, n0, nb, o.acc);
        return;
    }
    const T *a = (const T *)g->a + g->a_offset(g, batch) + m0 * g->a_row;
    G(outputs_begin)(&o, g, batch, m0, n0, nb);
    for (int64_t k0 = 0; k0 < g->k; k0 += GEMM_KC) {
        int64_t kc = g->k - k0 < GEMM_KC ? g->k - k0 : GEMM_KC;
        G(panel) b = {.part = G(PART)};
        if (g->direct_b && nb % V_N == 0)
            b.data = g->direct_b(g, batch, k0, n0, &b.row);
        if (!b.data) {
            g->load_b(g, batch, k0, kc, n0, nb, G(PART), panel);
            b = G(loaded)(panel, kc);
        }
        G(rows) rows = G(rows_of)(g, a + k0 * g->a_col);
        G(outputs_add)(&o, g, k0, kc, m, nb, &rows, &b, NULL);
    }
    G(outputs_end)(&o, g, batch, m0, m, n0, nb);
}

static void G(piece)(void *ctx, int64_t begin, int64_t end)
{
    const G(job) *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t n_block = i % j->n_blocks, rest = i / j->n_blocks;
        int64_t m0 = rest % j->m_blocks * j->m_step;
        int64_t m = j->g->m - m0 < j->m_step ? j->g->m - m0 : j->m_step;
        G(block)(j->g, rest / j->m_blocks, m0, m, n_block * NB);
    }
}

/* ---- large: a and b are packed once --------------------------------------------------------- */

/* Rows and columns packed at a time: all, or as many as fit the bytes of gemm_tmpl.c. */
static int64_t G(rows_at_once)(int64_t m, int64_t k)
{
    int64_t depth = (k + GEMM_KC - 1) / GEMM_KC * GEMM_KC * (int64_t)sizeof(T);
    int64_t rows = GEMM_A_BYTES / depth / GEMM_MB * GEMM_MB;
    rows = rows < GEMM_MB ? GEMM_MB : rows;
    return rows < m ? rows : m;
}
static int64_t G(panels_at_once)(int64_t n, int64_t k)
{
    int64_t depth = (k + GEMM_KC - 1) / GEMM_KC * GEMM_KC * (int64_t)sizeof(T);
    int64_t all = (n + NB - 1) / NB, panels = GEMM_B_BYTES / (depth * NB);
    panels = panels < 1 ? 1 : panels;
    return panels < all ? panels : all;
}

/* Rows that packed ones take: the last group may have fewer. */
static int64_t G(whole_groups)(int64_t rows)
{
    return (rows + NX_GEMM_MR - 1) / NX_GEMM_MR * NX_GEMM_MR;
}

static size_t G(workspace)(int64_t m, int64_t n, int64_t k)
{
    if (m < GEMM_LARGE_M || n < GEMM_LARGE_N || k < GEMM_LARGE_K)
        return 0;
    int64_t depth = (k + GEMM_KC - 1) / GEMM_KC * GEMM_KC;
    return (size_t)((G(whole_groups)(G(rows_at_once)(m, k)) + G(panels_at_once)(n, k) * NB) * depth) * sizeof(T);
}

/* From `row` on, the first of a group. */
static T *G(packed_a)(const G(job) *j, int64_t row, int64_t c, int64_t kc)
{
    return j->a + c * j->a_rows * GEMM_KC + row * kc;
}

static const T *G(packed)(const G(job) *j, int64_t n_block, int64_t c)
{
    return j->b + (n_block * j->chunks + c) * GEMM_KC * NB;
}

static int G(columns)(const G(job) *j, int64_t n_block)
{
    return (int)(j->n - n_block * NB < NB ? j->n - n_block * NB : NB);
}

static void G(pack_a)(void *ctx, int64_t begin, int64_t end)
{
    const G(job) *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t c = i % j->chunks, row = i / j->chunks * NX_GEMM_ROWS, k0 = c * j->kc;
        int64_t rows = j->m - row < NX_GEMM_ROWS ? j->m - row : NX_GEMM_ROWS;
        int64_t kc = j->g->k - k0 < j->kc ? j->g->k - k0 : j->kc;
        j->g->load_a(j->g, j->batch, j->m0 + row, rows, k0, kc, G(packed_a)(j, row, c, kc));
    }
}

static void G(pack_b)(void *ctx, int64_t begin, int64_t end)
{
    const G(job) *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t c = i % j->chunks, n0 = i / j->chunks * NB, k0 = c * j->kc;
        int64_t kc = j->g->k - k0 < j->kc ? j->g->k - k0 : j->kc;
        j->g->load_b(j->g, j->batch, k0, kc, j->n0 + n0, G(columns)(j, n0 / NB), G(PART), j->b + i * GEMM_KC * NB);
    }
}

/* A block of rows by a group of panels: for each chunk of k the rows' part of a is read by all panels of the
 * group while it lies in the second cache. */
static void G(multiply_group)(const G(job) *j, int64_t row, int64_t first, int64_t count, G(outputs) *o)
{
    const nx_gemm *g = j->g;
    const T *in_place = g->a_in_place ? (const T *)g->a + g->a_offset(g, j->batch) : NULL;
    int64_t m = j->m - row < j->m_step ? j->m - row : j->m_step;
    for (int64_t p = 0; p < count; p++)
        G(outputs_begin)(&o[p], g, j->batch, j->m0 + row, j->n0 + (first + p) * NB, G(columns)(j, first + p));
    for (int64_t c = 0; c < j->chunks; c++) {
        int64_t k0 = c * j->kc, kc = g->k - k0 < j->kc ? g->k - k0 : j->kc;
        G(rows) a = in_place ? G(rows_of)(g, in_place + (j->m0 + row) * g->a_row + k0 * g->a_col)
                             : (G(rows)){G(packed_a)(j, row, c, kc), 1, NX_GEMM_MR, NX_GEMM_MR * kc};
        for (int64_t p = 0; p < count; p++) {
            G(panel) b = G(loaded)(G(packed)(j, first + p, c), kc);
            const T *next = p + 1 < count         ? G(packed)(j, first + p + 1, c)
                            : c + 1 < j->chunks   ? G(packed)(j, first, c + 1)
                            : first + count < j->n_blocks ? G(packed)(j, first + count, 0)
                                                          : NULL;
            G(outputs_add)(&o[p], g, k0, kc, m, G(columns)(j, first + p), &a, &b, next);
        }
    }
    for (int64_t p = 0; p < count; p++)
        G(outputs_end)(&o[p], g, j->batch, j->m0 + row, m, j->n0 + (first + p) * NB, G(columns)(j, first + p));
}

static void G(multiply)(void *ctx, int64_t begin, int64_t end)
{
    const G(job) *j = ctx;
    G(outputs) o[GEMM_GROUP];
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % j->groups * j->group, left = j->n_blocks - first;
        G(multiply_group)(j, i / j->groups * j->m_step, first, left < j->group ? left : j->group, o);
    }
}

/* Groups where the rows of a block are more than the outer cache keeps for a thread, and as large as leave
 * every thread some pieces. */
static void G(cut_groups)(G(job) *j)
{
    enum { PIECES = 8 }; /* a thread */
    bool kept = j->m_step * j->g->k * (int64_t)sizeof(T) < GEMM_KEPT;
    int64_t most = kept ? 1 : j->m_blocks * j->n_blocks / (PIECES * nx_pool_threads());
    most = most < 1 ? 1 : most > GEMM_GROUP ? GEMM_GROUP : most;
    j->groups = (j->n_blocks + most - 1) / most;
    j->group = (j->n_blocks + j->groups - 1) / j->groups;
    j->groups = (j->n_blocks + j->group - 1) / j->group;
}

static void G(run_large)(const nx_gemm *g)
{
    int64_t rows = G(rows_at_once)(g->m, g->k), columns = G(panels_at_once)(g->n, g->k) * NB;
    int64_t chunks = (g->k + GEMM_KC - 1) / GEMM_KC;
    int64_t kc = ((g->k + chunks - 1) / chunks + 3) / 4 * 4;
    G(job) j = {.g = g, .a_rows = G(whole_groups)(rows), .kc = kc, .chunks = chunks, .a = g->workspace};
    j.b = j.a + j.a_rows * chunks * GEMM_KC;
    int64_t pack = nx_grain(kc * NB * 16, GEMM_PIECE); /* of 16-bit floats as much work as 16 multiplications */
    for (j.batch = 0; j.batch < g->batches; j.batch++)
        for (j.m0 = 0; j.m0 < g->m; j.m0 += rows) {
            j.m = g->m - j.m0 < rows ? g->m - j.m0 : rows;
            if (!g->a_in_place)
                nx_parallel((j.m + NX_GEMM_ROWS - 1) / NX_GEMM_ROWS * chunks, pack, G(pack_a),
                            &j);
            for (j.n0 = 0; j.n0 < g->n; j.n0 += columns) {
                j.n = g->n - j.n0 < columns ? g->n - j.n0 : columns;
                G(cut)(&j, j.m, j.n);
                nx_parallel(j.n_blocks * chunks, pack, G(pack_b), &j);
                G(cut_groups)(&j);
                nx_parallel(j.m_blocks * j.groups, nx_grain(j.m_step * g->k * NB * j.group, GEMM_PIECE),
                            G(multiply), &j);
            }
        }
}

static void G(run)(const nx_gemm *g)
{
    if (g->workspace && g->load_a && G(workspace)(g->m, g->n, g->k)) {
        G(run_large)(g);
        return;
    }
    G(job) j = {.g = g};
    G(cut)(&j, g->m, g->n);
    /* multiplications a block, and what loading b is like */
    int64_t work = (j.m_step + 4) * g->k * NB;
    nx_parallel(g->batches * j.m_blocks * j.n_blocks, nx_grain(work, GEMM_PIECE), G(piece), &j);
}
