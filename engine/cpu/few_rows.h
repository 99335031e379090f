/*
 * few_rows.h: a few rows by a turned matrix, whose columns lie in one piece each, as the weights of a layer do:
 * a part of matmul_tmpl.c. Each weight is used as often as there are rows, so nothing may cost more than reading it:
 * columns are turned in registers, and what comes next is asked for into the second cache.
 *
 * The one order of sums is that of gemm_body.h, a chain for each result over k ascending: the same bits.
 */

_Static_assert(NX_GEMM_NB % (3 * VF_N) == 0, "columns in threes of vectors");
enum {
    FEW_K = 64, /* values of each column at a time */
    FEW_GROUPS = NX_GEMM_NB / VF_N,
#if defined(NX_ISA_avx512) || defined(__aarch64__)
    FEW_WIDE = 4, /* rows up to which three vectors of columns are summed at a time, in registers; of more one is */
#else
    FEW_WIDE = 2,
#endif
};
#define FEW_WIDTH(m) ((m) <= FEW_WIDE ? 3 : 1)

/* c += the first n of four values of the columns from x on by those of m rows. */
NX_INLINE void few_four(int m, int width, int n, const float *a, int64_t a_row, int64_t a_col, const float *x,
                        vf c[NX_GEMM_FEW][3])
{
#pragma GCC unroll 3
    for (int g = 0; g < width; g++) {
        vf w[4];
        vf_turn(x + g * VF_N * FEW_K, FEW_K * sizeof *x, w);
#pragma GCC unroll 4
        for (int i = 0; i < n; i++)
#pragma GCC unroll 8
            for (int r = 0; r < m; r++)
                c[r][g] = vf_fma(vf_set(a[r * a_row + i * a_col]), w[i], c[r][g]);
    }
}

/* acc[m][NB] (+)= rows of a by `width` vectors of columns from x on, lines of FEW_K. m and width are constants where
 * this is inlined. */
NX_INLINE void few_block(int m, int width, int64_t kc, const float *a, int64_t a_row, int64_t a_col, const float *x,
                         bool first, float *acc)
{
    vf c[NX_GEMM_FEW][3];
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
#pragma GCC unroll 3
        for (int g = 0; g < width; g++)
            c[r][g] = first ? vf_set(0) : vf_load(acc + r * NX_GEMM_NB + g * VF_N);
    for (; kc >= 4; kc -= 4, x += 4, a += 4 * a_col)
        few_four(m, width, 4, a, a_row, a_col, x, c);
    for (int i = 0; i < kc; i++, x++, a += a_col)
        few_four(m, width, 1, a, a_row, a_col, x, c);
#pragma GCC unroll 8
    for (int r = 0; r < m; r++)
#pragma GCC unroll 3
        for (int g = 0; g < width; g++)
            vf_store(acc + r * NX_GEMM_NB + g * VF_N, c[r][g]);
}

/* acc[m][NB] (+)= rows of a by the columns in x[NB][FEW_K]. */
static void few_columns(int64_t m, int64_t kc, const float *a, int64_t a_row, int64_t a_col, const float *x, bool first,
                        float *acc)
{
    for (int g = 0; g < FEW_GROUPS; g += FEW_WIDTH(m)) {
        const float *from = x + g * VF_N * FEW_K;
        float *to = acc + g * VF_N;
        switch (m) {
#define CASE(m) \
    case m: few_block(m, FEW_WIDTH(m), kc, a, a_row, a_col, from, first, to); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
        }
    }
}

/* Where to read what comes next, in elements from the first of these columns, and from column to column. */
typedef struct {
    int64_t at, step;
} few_next;

/* Columns without gaps between them are followed by more, piece by piece, so that memory is read as one stream; of others
 * what lies deeper is asked for. Where there is no more it is what is at hand. */
static few_next few_next_of(const product *p, int64_t k0, int64_t kc, int64_t n0)
{
    if (p->b_col == p->g.k && n0 + 2 * NX_GEMM_NB <= p->g.n)
        return (few_next){NX_GEMM_NB * (p->b_col + k0), kc};
    return (few_next){k0 + 2 * FEW_K <= p->g.k ? k0 + FEW_K : k0, p->b_col};
}

#define vf_load_f32(p) vf_load((const float *)(const void *)(p))
#define FEW(t, T)                                                                                                      \
    /* kc values of nb columns as lines of x. */                                                                       \
    static void few_load_##t(const product *p, const char *b, int64_t k0, int64_t kc, int64_t n0, int nb, float *x)    \
    {                                                                                                                  \
        const few_next next = few_next_of(p, k0, kc, n0);                                                              \
        const T *first = (const T *)(const void *)b + n0 * p->b_col, *from = first + k0, *ask = first + next.at;       \
        for (int j = 0; j < nb; j++, from += p->b_col, ask += next.step, x += FEW_K) {                                 \
            for (int64_t i = 0; i < kc; i += 64 / (int)sizeof(T))                                                      \
                __builtin_prefetch(ask + i, 0, 2);                                                                     \
            int64_t i = 0;                                                                                             \
            for (; i + VF_N <= kc; i += VF_N)                                                                          \
                vf_store(x + i, vf_load_##t(from + i));                                                                \
            for (; i < kc; i++)                                                                                        \
                x[i] = t##_value(from, i);                                                                             \
        }                                                                                                              \
    }                                                                                                                  \
    static void few_##t(const nx_gemm *g, int64_t batch, int64_t m, int64_t n0, int nb, void *acc)                     \
    {                                                                                                                  \
        const product *p = g->user;                                                                                    \
        const char *b = b_start(p, batch);                                                                             \
        const float *a = (const float *)g->a + g->a_offset(g, batch);                                                  \
        _Alignas(64) float x[NX_GEMM_NB * FEW_K + 4]; /* turning reads four of a line */                               \
        if (nb < NX_GEMM_NB || g->k % FEW_K)                                                                           \
            memset(x, 0, sizeof x);                                                                                    \
        for (int64_t k0 = 0; k0 < g->k; k0 += FEW_K) {                                                                 \
            int64_t kc = g->k - k0 < FEW_K ? g->k - k0 : FEW_K;                                                        \
            few_load_##t(p, b, k0, kc, n0, nb, x);                                                                     \
            few_columns(m, kc, a + k0 * g->a_col, g->a_row, g->a_col, x, k0 == 0, acc);                                \
        }                                                                                                              \
    }
FEW(f32, float)
FEW(f16, uint16_t)
FEW(bf16, uint16_t)
#undef FEW
