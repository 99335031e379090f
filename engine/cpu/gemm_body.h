/*
 * gemm_body.h: the blocked product for one real type; gemm_tmpl.c includes it for float and double.
 * T the type, V its vector, V_N lanes, V_OP(load) the operations, NB columns a panel, G(name) names.
 *
 * The one order of sums: each output is a single chain acc = fma(a[k], b[k], acc) over k ascending.
 * Rows, panels and chunks of k only decide which chains run side by side, so neither the number of
 * rows nor of threads changes a bit.
 */

/* acc[mr][NV vectors] += a[mr, kc] panel[kc, NV vectors]; mr is a constant where this is inlined. */
NX_INLINE void G(micro)(int mr, int64_t kc, const T *a, int64_t a_row, int64_t a_col, const T *panel,
                        int64_t panel_row, T *acc)
{
    V c[GEMM_MR][GEMM_NV];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < GEMM_NV; j++)
            c[i][j] = V_OP(load)(acc + i * NB + j * V_N);
    for (int64_t k = 0; k < kc; k++) {
        V b[GEMM_NV];
#pragma GCC unroll 4
        for (int j = 0; j < GEMM_NV; j++)
            b[j] = V_OP(load)(panel + k * panel_row + j * V_N);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            V x = V_OP(set)(a[i * a_row + k * a_col]);
#pragma GCC unroll 4
            for (int j = 0; j < GEMM_NV; j++)
                c[i][j] = V_OP(fma)(x, b[j], c[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < GEMM_NV; j++)
            V_OP(store)(acc + i * NB + j * V_N, c[i][j]);
}

/* Any number of rows by one panel of kc x nb; acc is [m][NB]. */
static void G(rows_by_panel)(int64_t m, int64_t kc, int nb, const T *a, int64_t a_row, int64_t a_col,
                             const T *panel, int64_t panel_row, T *acc)
{
    for (int64_t i = 0; i < m; i += GEMM_MR) {
        for (int j = 0; j < nb; j += GEMM_NV * V_N) {
            const T *x = a + i * a_row;
            T *c = acc + i * NB + j;
            switch (m - i) {
#define CASE(mr) case mr: G(micro)(mr, kc, x, a_row, a_col, panel + j, panel_row, c); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#if GEMM_MR > 6
            CASE(6) CASE(7)
#endif
#undef CASE
            default: G(micro)(GEMM_MR, kc, x, a_row, a_col, panel + j, panel_row, c);
            }
        }
    }
}

typedef struct {
    const nx_gemm *g;
    int64_t m_blocks, n_blocks;
} G(job);

/* One block of at most GEMM_MB x NB outputs. */
static void G(block)(const nx_gemm *g, int64_t batch, int64_t m0, int64_t n0)
{
    T panel[GEMM_KC * NB], acc[GEMM_MB * NB];
    int64_t m = g->m - m0 < GEMM_MB ? g->m - m0 : GEMM_MB;
    int nb = (int)(g->n - n0 < NB ? g->n - n0 : NB);
    const T *a = (const T *)g->a + g->a_offset(g, batch) + m0 * g->a_row;
    memset(acc, 0, sizeof *acc * (size_t)(m * NB));
    for (int64_t k0 = 0; k0 < g->k; k0 += GEMM_KC) {
        int64_t kc = g->k - k0 < GEMM_KC ? g->k - k0 : GEMM_KC;
        int64_t row = NB;
        const T *b = g->direct_b && nb == NB ? g->direct_b(g, batch, k0, n0, &row) : NULL;
        if (!b) {
            g->load_b(g, batch, k0, kc, n0, nb, panel);
            b = panel;
            row = NB;
        }
        G(rows_by_panel)(m, kc, nb, a + k0 * g->a_col, g->a_row, g->a_col, b, row, acc);
    }
    g->store(g, batch, m0, m, n0, nb, acc);
}

static void G(piece)(void *ctx, int64_t begin, int64_t end)
{
    const G(job) *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t n_block = i % j->n_blocks, rest = i / j->n_blocks;
        G(block)(j->g, rest / j->m_blocks, rest % j->m_blocks * GEMM_MB, n_block * NB);
    }
}

static void G(run)(const nx_gemm *g)
{
    G(job) j = {g, (g->m + GEMM_MB - 1) / GEMM_MB, (g->n + NB - 1) / NB};
    int64_t m = g->m < GEMM_MB ? g->m : GEMM_MB;
    int64_t work = (m + 4) * g->k * NB; /* multiplications a block, and what loading b is like */
    nx_parallel(g->batches * j.m_blocks * j.n_blocks, nx_grain(work, GEMM_PIECE), G(piece), &j);
}
