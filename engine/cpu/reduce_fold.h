/*
 * reduce_fold.h: the inner loops of reduce_tmpl.c, made for each accumulator type and operation:
 * fold of a dense run into one total, fold of rows into a total a column. Included by that template
 * alone.
 *
 * FOLD(name, A, W, OP, WOP, IDENTITY): elements of type A are folded with OP in lanes and short
 * blocks; blocks meet with WOP in the wider type W. So a float sum of any length keeps its accuracy,
 * and its order is a matter of the shape alone.
 */
enum {
    LANES = 64,    /* independent accumulators of a run */
    BLOCK = 4096,  /* elements of a run before the lanes meet */
    COLUMNS = 256, /* width of a column tile */
    ROWS = 32,     /* rows folded in A before they go into W */
};

#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define CMUL(a, b)                                                  \
    CMPLXF(crealf(a) * crealf(b) - cimagf(a) * cimagf(b),           \
           crealf(a) * cimagf(b) + cimagf(a) * crealf(b))
#define ZMUL(a, b)                                                  \
    CMPLX(creal(a) * creal(b) - cimag(a) * cimag(b), creal(a) * cimag(b) + cimag(a) * creal(b))
#define IMAX(a, b) ((a) > (b) ? (a) : (b))
#define IMIN(a, b) ((a) < (b) ? (a) : (b))
/* NaN from either side stays. Functions, not macros: nested ones of those do not vectorise. */
#define EXTREMES(T, max, min)            \
    static inline T max(T a, T b)        \
    {                                    \
        T m = a > b ? a : b;             \
        return a != a ? a : m;           \
    }                                    \
    static inline T min(T a, T b)        \
    {                                    \
        T m = a < b ? a : b;             \
        return a != a ? a : m;           \
    }
EXTREMES(float, fmax_f32, fmin_f32)
EXTREMES(double, fmax_f64, fmin_f64)

/* Complex numbers are ordered by real, then imaginary part; a NaN anywhere makes a NaN. */
static inline bool c64_is_nan(nx_c64 a)
{
    return crealf(a) != crealf(a) || cimagf(a) != cimagf(a);
}
static inline bool c64_above(nx_c64 a, nx_c64 b)
{
    return crealf(a) > crealf(b) || (crealf(a) == crealf(b) && cimagf(a) > cimagf(b));
}
static inline nx_c64 c64_max(nx_c64 a, nx_c64 b)
{
    if (c64_is_nan(a) || c64_is_nan(b))
        return CMPLXF(NAN, 0);
    return c64_above(b, a) ? b : a;
}
static inline nx_c64 c64_min(nx_c64 a, nx_c64 b)
{
    if (c64_is_nan(a) || c64_is_nan(b))
        return CMPLXF(NAN, 0);
    return c64_above(a, b) ? b : a;
}

#define FOLD_LANES(A, W, OP, WOP, COUNT)                              \
    while (n >= COUNT) {                                                    \
        int64_t m = n < BLOCK ? n - n % COUNT : BLOCK;                      \
        A lane[COUNT];                                                      \
        for (int l = 0; l < COUNT; l++)                                     \
            lane[l] = x[l];                                                 \
        for (int64_t i = COUNT; i < m; i += COUNT)                          \
            for (int l = 0; l < COUNT; l++)                                 \
                lane[l] = OP(lane[l], x[i + l]);                            \
        for (int h = COUNT / 2; h; h /= 2)                                  \
            for (int l = 0; l < h; l++)                                     \
                lane[l] = OP(lane[l], lane[l + h]);                         \
        t = WOP(t, (W)(lane[0]));                                       \
        x += m;                                                             \
        n -= m;                                                             \
    }

#define FOLD(name, A, W, OP, WOP, IDENTITY)                                           \
    static void run_##name(int64_t n, const void *from, void *total)                        \
    {                                                                                       \
        const A *x = from;                                                                  \
        W t = *(W *)total;                                                                  \
        FOLD_LANES(A, W, OP, WOP, LANES)                                              \
        FOLD_LANES(A, W, OP, WOP, 8)                                                  \
        for (int64_t i = 0; i < n; i++)                                                     \
            t = WOP(t, (W)(x[i]));                                                      \
        *(W *)total = t;                                                                    \
    }                                                                                       \
    /* At most ROWS rows of at most COLUMNS elements, `step` elements apart. */             \
    static void rows_##name(int rows, int width, const void *from, int64_t step, void *totals) \
    {                                                                                       \
        A t[COLUMNS];                                                                       \
        W *restrict to = totals;                                                            \
        const A *x = from;                                                                  \
        for (int j = 0; j < width; j++)                                                     \
            t[j] = x[j];                                                                    \
        int r = 1;                                                                          \
        for (; r + 4 <= rows; r += 4) {                                                     \
            const A *a = x + r * step, *b = a + step, *c = b + step, *d = c + step;         \
            for (int j = 0; j < width; j++) {                                               \
                A u = OP(a[j], b[j]), v = OP(c[j], d[j]);                                   \
                t[j] = OP(t[j], OP(u, v));                                                  \
            }                                                                               \
        }                                                                                   \
        for (; r < rows; r++)                                                               \
            for (int j = 0; j < width; j++)                                                 \
                t[j] = OP(t[j], x[r * step + j]);                                           \
        for (int j = 0; j < width; j++)                                                     \
            to[j] = WOP(to[j], (W)(t[j]));                                              \
    }                                                                                       \
    static void meet_##name(int64_t n, void *totals, const void *more)                      \
    {                                                                                       \
        W *to = totals;                                                                     \
        const W *from = more;                                                               \
        for (int64_t i = 0; i < n; i++)                                                     \
            to[i] = WOP(to[i], from[i]);                                                    \
    }                                                                                       \
    static void clear_##name(int64_t n, void *totals)                                       \
    {                                                                                       \
        W *to = totals;                                                                     \
        for (int64_t i = 0; i < n; i++)                                                     \
            to[i] = IDENTITY;                                                               \
    }

FOLD(sum_u32, uint32_t, uint32_t, ADD, ADD, 0)
FOLD(sum_u64, uint64_t, uint64_t, ADD, ADD, 0)
FOLD(sum_f32, float, double, ADD, ADD, 0)
FOLD(sum_f64, double, double, ADD, ADD, 0)
FOLD(sum_c64, nx_c64, double _Complex, ADD, ADD, 0)
FOLD(prod_u32, uint32_t, uint32_t, MUL, MUL, 1)
FOLD(prod_u64, uint64_t, uint64_t, MUL, MUL, 1)
FOLD(prod_f32, float, double, MUL, MUL, 1)
FOLD(prod_f64, double, double, MUL, MUL, 1)
FOLD(prod_c64, nx_c64, double _Complex, CMUL, ZMUL, 1)
FOLD(max_i32, int32_t, int32_t, IMAX, IMAX, INT32_MIN)
FOLD(max_u32, uint32_t, uint32_t, IMAX, IMAX, 0)
FOLD(max_i64, int64_t, int64_t, IMAX, IMAX, INT64_MIN)
FOLD(max_u64, uint64_t, uint64_t, IMAX, IMAX, 0)
FOLD(max_f32, float, float, fmax_f32, fmax_f32, -INFINITY)
FOLD(max_f64, double, double, fmax_f64, fmax_f64, -INFINITY)
FOLD(max_c64, nx_c64, nx_c64, c64_max, c64_max, CMPLXF(-INFINITY, -INFINITY))
FOLD(min_i32, int32_t, int32_t, IMIN, IMIN, INT32_MAX)
FOLD(min_u32, uint32_t, uint32_t, IMIN, IMIN, UINT32_MAX)
FOLD(min_i64, int64_t, int64_t, IMIN, IMIN, INT64_MAX)
FOLD(min_u64, uint64_t, uint64_t, IMIN, IMIN, UINT64_MAX)
FOLD(min_f32, float, float, fmin_f32, fmin_f32, INFINITY)
FOLD(min_f64, double, double, fmin_f64, fmin_f64, INFINITY)
FOLD(min_c64, nx_c64, nx_c64, c64_min, c64_min, CMPLXF(INFINITY, INFINITY))

typedef struct {
    size_t element, total; /* sizes of A and W */
    void (*run)(int64_t n, const void *from, void *total);
    void (*rows)(int rows, int width, const void *from, int64_t step, void *totals);
    void (*meet)(int64_t n, void *totals, const void *more);
    void (*clear)(int64_t n, void *totals);
} fold;

#define FOLD_ROW(name, A, W) {sizeof(A), sizeof(W), run_##name, rows_##name, meet_##name, clear_##name}
