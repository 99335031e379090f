/*
 * tile_product.h: products of matrices of 16-bit floats packed in tiles: a part of matmul_tmpl.c, for the
 * levels that multiply pairs of bfloat16. tile_amx.h and tile_bf16.h hold the multiplications.
 *
 * bfloat16 is multiplied as it is. A float16 is the sum of two bfloat16, exactly: its 8 leading
 * bits and the other 3; of the four products of such sums the smallest, 2^-18 of the whole at most,
 * is left out.
 *
 * Sums are float32, in one order for any number of rows, which the level decides. So the two ways below
 * give the same bits: small products, whose pieces pack what they need of a and b themselves, and large
 * ones, which pack both once for all pieces.
 */

enum {
    TILE_ROWS = 64,                /* a piece of the result: its rows, in large products up to TILE_ROWS_MOST */
    TILE_COLUMNS = 256,            /* and columns; of small products */
    TILE_FEW = 64,                 /* as many */
    TILE_PIECES = 8,               /* a thread, before they become larger */
    TILE_SUMS = TILE_COLUMNS + 16, /* floats from row to row of sums: they shall not share sets */
    TILE_FEW_DEPTH = 8,
    /* Of a and of b packed at a time, unless a piece's are more. */
#if defined(NX_ISA_emulated) || defined(NX_ISA_emulated_bf16)
    TILE_A_BYTES = 96 << 10, /* so that the tests' products have several parts */
    TILE_B_BYTES = 256 << 10,
#else
    TILE_A_BYTES = 32 << 20,
    TILE_B_BYTES = 8 << 20,
#endif
    TILE_VALUES = 512, /* 16-bit values of a tile */
};

typedef struct {
    const product *p;
    int planes;    /* 1; 2: of float16 */
    int64_t depth; /* tiles along k */
    int64_t line;  /* values of packed lines of tiles, 16 rows or columns of all depths and planes */
    /* Of large products: rows and columns packed at a time, multiples of 32; the part in hand. */
    int64_t rows, columns, batch, m0, m, n0, n, step; /* step: rows a piece */
    uint16_t *a; /* [rows / 16][line]: [depth][planes] tiles of 16 rows x 32 */
    uint16_t *b; /* [columns / 16][line]: as many of 16 pairs x 16 columns */
    /* Of small ones: b's columns stand for rows, and a's few rows for columns: what lies as lines
     * along k is packed as it lies, and only the few are turned. */
    bool swapped;
} tile_job;

/* What is multiplied at a time: `depth` tiles along k of packed lines of a and b. */
typedef struct {
    int64_t depth, line;
    const uint16_t *a, *b;
    const uint16_t *next_a, *next_b; /* what comes after it, as deep; the same where that is unknown or less */
} tile_slab;

/* An operand as lines along k: rows of a, columns of b. */
typedef struct {
    const uint16_t *at;
    int64_t line, step, n; /* from line to line, along k; lines */
} tile_side;

static int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

#if NX_HAS_AMX
#include "engine/cpu/tile_amx.h"
#else
#include "engine/cpu/tile_bf16.h"
#endif

static int64_t up32(int64_t n)
{
    return (n + 31) / 32 * 32;
}

static void tile_plan(tile_job *j, nx_dtype type, int64_t m, int64_t n, int64_t k)
{
    j->planes = type == NX_FLOAT16 ? 2 : 1;
    j->depth = up32(k) / 32;
    int64_t tiles = j->depth * j->planes;
    j->line = tile_line_of(tiles) * TILE_VALUES;
    int64_t each = tiles * 64; /* bytes of a row of a, or of a column of b */
    int64_t rows = each ? TILE_A_BYTES / each / TILE_ROWS * TILE_ROWS : m;
    int64_t columns = each ? TILE_B_BYTES / each / TILE_COLUMNS * TILE_COLUMNS : n;
    rows = rows < TILE_ROWS ? TILE_ROWS : rows;
    columns = columns < TILE_COLUMNS ? TILE_COLUMNS : columns;
    j->rows = rows < m ? rows : up32(m);
    j->columns = columns < n ? columns : up32(n);
}

static bool tile_types(nx_dtype a, nx_dtype b, nx_dtype out)
{
    return a == b && b == out && (a == NX_BFLOAT16 || (TILE_FLOAT16 && a == NX_FLOAT16));
}

/* Grows with m. 0: it is small. */
static size_t tile_workspace(nx_dtype type, int64_t m, int64_t n, int64_t k)
{
    tile_job j;
    if (m <= TILE_ROWS || n <= TILE_FEW)
        return 0;
    tile_plan(&j, type, m, n, k);
    return (size_t)((j.rows + j.columns) / 16 * j.line) * sizeof *j.a;
}

static bool by_tiles(const product *p)
{
    return !p->chained && !p->a_index && !p->b_index && tile_types(p->a->dtype, p->b->dtype, p->out->dtype);
}

/* ---- packing ----------------------------------------------------------------------------------
 */

/* 32 float16 as two lines of bfloat16: the nearest, and what that leaves over, which a bfloat16 holds. Infinity is one
 * and infinity, so that no zero meets it that was not there: whatever it is multiplied by, one of the three products
 * is the right one and the others agree. */
#if defined(__AVX512F__)
/* Of 16: in the upper halves of 32 bits each, zeros below. */
NX_INLINE void tile_halves(const uint16_t *x, __m512i *high, __m512i *low)
{
    __m512 f = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
    __m512i u = _mm512_castps_si512(f), upper = _mm512_set1_epi32(-0x10000);
    *high = _mm512_and_si512(_mm512_add_epi32(u, _mm512_set1_epi32(0x8000)), upper);
    *low = _mm512_castps_si512(_mm512_sub_ps(f, _mm512_castsi512_ps(*high)));
    __mmask16 other = _mm512_fpclass_ps_mask(f, 0x99); /* infinities and NaN */
    if (__builtin_expect(other, 0)) {
        __m512i sign = _mm512_and_si512(u, _mm512_set1_epi32(INT32_MIN));
        *high = _mm512_mask_or_epi32(*high, other, sign, _mm512_set1_epi32(0x3F800000));
        *low = _mm512_mask_and_epi32(*low, other, u, upper);
    }
}

NX_INLINE __m512i tile_upper(__m512i a, __m512i b)
{
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    a = _mm512_packus_epi32(_mm512_srli_epi32(a, 16), _mm512_srli_epi32(b, 16));
    return _mm512_permutexvar_epi64(order, a);
}

static void tile_split(const uint16_t *x, uint16_t *high, uint16_t *low)
{
    __m512i h[2], l[2];
    tile_halves(x, &h[0], &l[0]);
    tile_halves(x + 16, &h[1], &l[1]);
    _mm512_storeu_si512(high, tile_upper(h[0], h[1]));
    _mm512_storeu_si512(low, tile_upper(l[0], l[1]));
}
#else
static void tile_split(const uint16_t *restrict x, uint16_t *restrict high, uint16_t *restrict low)
{
    float f[32];
    for (int i = 0; i < 32; i += VF_N)
        vf_store(f + i, vf_load_f16(x + i));
    for (int i = 0; i < 32; i++) {
        uint32_t u = nx_bits_of_float(f[i]), h = (u + 0x8000) & 0xFFFF0000;
        uint32_t l = nx_bits_of_float(f[i] - nx_float_of_bits(h));
        bool number = (x[i] & 0x7C00) != 0x7C00;
        high[i] = (uint16_t)((number ? h : (u & 0x80000000) | 0x3F800000) >> 16);
        low[i] = number ? (uint16_t)(l >> 16) : nx_bf16_from_float(f[i]);
    }
}
#endif

/* n of 32 values `step` apart, zeros after them; of two planes the low parts lie `apart` from the high ones. */
NX_INLINE void tile_line(const uint16_t *from, int64_t step, int64_t n, int planes, uint16_t *to, int64_t apart)
{
    uint16_t x[32];
    if (n < 32 || step != 1) {
        memset(x, 0, sizeof x);
        for (int64_t i = 0; i < at_most(n, 32); i++)
            x[i] = from[i * step];
        from = x;
    }
    if (planes == 1)
        memcpy(to, from, sizeof x);
    else
        tile_split(from, to, to + apart);
}

/* 16 lines from `row` on, values 32 d on of k, as rows of a tile. */
static void tile_put_rows(const tile_job *j, const tile_side *x, int64_t row, int64_t d,
                          uint16_t *to)
{
    int64_t k = d * 32, left = j->p->g.k - k;
    for (int i = 0; i < 16; i++, row++, to += 32) {
        bool there = row < x->n;
        tile_line(x->at + (there ? row * x->line + k * x->step : 0), x->step, there ? left : 0, j->planes, to,
                  TILE_VALUES);
    }
}

#if defined(__AVX512F__)
/* What tile_turn makes where all 16 columns are there, of 32 values each. */
static void tile_turn_whole(const uint16_t *from, int64_t line, uint16_t *to)
{
    for (int q = 0; q < 4; q++, from += 8) {
        vf pairs[4]; /* of 16 columns */
        vf_turn(from, line * (int64_t)sizeof *from, pairs);
        for (int i = 0; i < 4; i++, to += 32)
            vf_store(to, pairs[i]);
    }
}
#endif

/* A tile of 16 columns that are lines in memory: pairs of values are turned as floats are. */
static void tile_turn(const tile_job *j, const tile_side *x, int64_t column, int64_t k,
                      uint16_t *to)
{
#if defined(__AVX512F__)
    if (column + 16 <= x->n && k + 32 <= j->p->g.k) {
        const uint16_t *from = x->at + column * x->line + k;
        if (j->planes == 1) {
            tile_turn_whole(from, x->line, to);
            return;
        }
        _Alignas(64) uint16_t split[2 * TILE_VALUES];
        for (int i = 0; i < 16; i++)
            tile_split(from + i * x->line, split + 32 * i, split + TILE_VALUES + 32 * i);
        tile_turn_whole(split, 32, to);
        tile_turn_whole(split + TILE_VALUES, 32, to + TILE_VALUES);
        return;
    }
#endif
    for (int c = 0; c < 16; c += 4) {
        uint16_t line[4][2][32];
        float pairs[2][4][16], turned[4 * 16];
        for (int i = 0; i < 4; i++) {
            bool there = column + c + i < x->n;
            tile_line(x->at + (there ? (column + c + i) * x->line + k : 0), 1,
                      there ? j->p->g.k - k : 0, j->planes, line[i][0], 32);
            for (int plane = 0; plane < j->planes; plane++)
                memcpy(pairs[plane][i], line[i][plane], 64);
        }
        for (int plane = 0; plane < j->planes; plane++) {
            float(*f)[16] = pairs[plane];
            nx_turn_four((const float *[4]){f[0], f[1], f[2], f[3]}, 16, turned, 4);
            for (int pair = 0; pair < 16; pair++)
                memcpy(to + plane * TILE_VALUES + pair * 32 + 2 * c, turned + 4 * pair, 16);
        }
    }
}

static void tile_pair(const uint16_t *restrict even, const uint16_t *restrict odd,
                      uint16_t *restrict to)
{
    uint32_t both[16];
    for (int i = 0; i < 16; i++)
        both[i] = even[i] | (uint32_t)odd[i] << 16;
    memcpy(to, both, sizeof both);
}

/* 32 columns' values at an even k and at the odd one after it, as a line of pairs of each of two tiles and of their
 * planes. */
static void tile_put_pairs(const uint16_t *even, const uint16_t *odd, int planes, uint16_t *left, uint16_t *right)
{
    if (planes == 1) {
        tile_pair(even, odd, left);
        tile_pair(even + 16, odd + 16, right);
        return;
    }
#if defined(__AVX512F__)
    for (int half = 0; half < 2; half++) {
        uint16_t *to = half ? right : left;
        __m512i h[2], l[2];
        tile_halves(even + 16 * half, &h[0], &l[0]);
        tile_halves(odd + 16 * half, &h[1], &l[1]);
        _mm512_storeu_si512(to, _mm512_or_si512(_mm512_srli_epi32(h[0], 16), h[1]));
        _mm512_storeu_si512(to + TILE_VALUES, _mm512_or_si512(_mm512_srli_epi32(l[0], 16), l[1]));
    }
#else
    uint16_t split[2][2][32];
    tile_split(even, split[0][0], split[1][0]);
    tile_split(odd, split[0][1], split[1][1]);
    for (int plane = 0; plane < 2; plane++) {
        tile_pair(split[plane][0], split[plane][1], left + plane * TILE_VALUES);
        tile_pair(split[plane][0] + 16, split[plane][1] + 16, right + plane * TILE_VALUES);
    }
#endif
}

/* Two tiles side by side of columns that lie otherwise, pair by pair of values of k. What comes next along k is asked
 * for: it lies far away, where the processor does not look for it. */
static void tile_interleave(const tile_job *j, const tile_side *x, int64_t column, int64_t k,
                            uint16_t *left, uint16_t *right)
{
    int64_t columns = x->n - column, depth = j->p->g.k - k;
    const uint16_t *from = x->at + k * x->step + (columns > 0 ? column : 0) * x->line;
    bool whole = x->line == 1 && columns >= 32 && depth >= 32; /* the common case */
    for (int pair = 0; pair < 16; pair++, left += 32, right += 32) {
        uint16_t line[2][32];
        const uint16_t *values[2];
        for (int odd = 0; odd < 2; odd++) {
            int64_t at = 2 * pair + odd;
            values[odd] = from + at * x->step;
            if (whole && depth >= 64)
                __builtin_prefetch(values[odd] + 32 * x->step);
            if (whole)
                continue;
            bool there = at < depth;
            tile_line(there ? values[odd] : x->at, x->line, there ? columns : 0, 1, line[odd], 0);
            values[odd] = line[odd];
        }
        tile_put_pairs(values[0], values[1], j->planes, left, right);
    }
}

/* Lines from `column` on, twice 16 of them, as columns of tiles. */
static void tile_put_columns(const tile_job *j, const tile_side *x, int64_t column, int64_t d,
                             uint16_t *left, uint16_t *right)
{
    if (x->step == 1) {
        tile_turn(j, x, column, d * 32, left);
        tile_turn(j, x, column + 16, d * 32, right);
    } else {
        tile_interleave(j, x, column, d * 32, left, right);
    }
}

static tile_side tile_a(const tile_job *j, int64_t batch)
{
    const nx_gemm *g = &j->p->g;
    return (tile_side){(const uint16_t *)g->a + a_offset(g, batch), g->a_row, g->a_col, g->m};
}
static tile_side tile_b(const tile_job *j, int64_t batch)
{
    const product *p = j->p;
    return (tile_side){(const uint16_t *)(const void *)b_start(p, batch), p->b_col, p->b_row,
                       p->g.n};
}

/* Results of sums; swapped: the rows of these are its columns. */
static void tile_out(const tile_job *j, int64_t batch, int64_t row, int64_t rows, int64_t column,
                     int64_t columns, const float *sums)
{
    float line[TILE_COLUMNS];
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; j->swapped && c < columns; c++)
            line[c] = sums[c * TILE_SUMS + r];
        const float *from = j->swapped ? line : sums + r * TILE_SUMS;
        (j->planes == 1 ? put_bf16 : put_f16)(j->p, batch, row + r, column, (int)columns, from);
    }
}

/* ---- small: a piece packs what it needs -------------------------------------------------------
 */

/* Up to TILE_ROWS rows by TILE_FEW columns; of swapped products lines of b by lines of a. */
static void tile_few_piece(const tile_job *j, int64_t batch, int64_t row, int64_t column)
{
    _Alignas(64) uint16_t a[TILE_ROWS / 16 * TILE_FEW_DEPTH * 2 * TILE_VALUES];
    _Alignas(64) uint16_t b[TILE_FEW / 16 * TILE_FEW_DEPTH * 2 * TILE_VALUES];
    _Alignas(64) float sums[TILE_ROWS * TILE_SUMS];
    const tile_side x = j->swapped ? tile_b(j, batch) : tile_a(j, batch);
    const tile_side y = j->swapped ? tile_a(j, batch) : tile_b(j, batch);
    const int64_t tile = j->planes * TILE_VALUES, line = TILE_FEW_DEPTH * tile;
    int64_t rows = at_most(x.n - row, TILE_ROWS), columns = at_most(y.n - column, TILE_FEW);
    memset(sums, 0, j->depth ? 0 : sizeof sums);
    for (int64_t d0 = 0; d0 < j->depth; d0 += TILE_FEW_DEPTH) {
        int64_t depth = at_most(j->depth - d0, TILE_FEW_DEPTH);
        for (int64_t r = 0; r < rows; r += 16)
            for (int64_t d = 0; d < depth; d++)
                tile_put_rows(j, &x, row + r, d0 + d, a + r / 16 * line + d * tile);
        for (int64_t c = 0; c < columns; c += 32)
            for (int64_t d = 0; d < depth; d++)
                tile_put_columns(j, &y, column + c, d0 + d, b + c / 16 * line + d * tile,
                                 b + (c / 16 + 1) * line + d * tile);
        tile_add(j, rows, columns, &(tile_slab){depth, line, a, b, a, b}, d0 == 0, sums);
    }
    if (j->swapped)
        tile_out(j, batch, column, columns, row, rows, sums);
    else
        tile_out(j, batch, row, rows, column, columns, sums);
}

/* Pieces down x and across y. */
static int64_t tile_down(const tile_job *j)
{
    return ((j->swapped ? j->p->g.n : j->p->g.m) + TILE_ROWS - 1) / TILE_ROWS;
}
static int64_t tile_across(const tile_job *j)
{
    return ((j->swapped ? j->p->g.m : j->p->g.n) + TILE_FEW - 1) / TILE_FEW;
}

static void tile_few(void *ctx, int64_t begin, int64_t end)
{
    const tile_job *j = ctx;
    int64_t down = tile_down(j), across = tile_across(j);
    tile_begin();
    for (int64_t i = begin; i < end; i++)
        tile_few_piece(j, i / across / down, i / across % down * TILE_ROWS, i % across * TILE_FEW);
    tile_end();
}

/* ---- large: a and b are packed once -----------------------------------------------------------
 */

static void tile_pack_a(void *ctx, int64_t begin, int64_t end)
{
    const tile_job *j = ctx;
    const tile_side x = tile_a(j, j->batch);
    for (int64_t i = begin; i < end; i++)
        for (int64_t d = 0; d < j->depth; d++)
            tile_put_rows(j, &x, j->m0 + i * 16, d, j->a + i * j->line + d * j->planes * TILE_VALUES);
}

static void tile_pack_b(void *ctx, int64_t begin, int64_t end)
{
    const tile_job *j = ctx;
    const tile_side x = tile_b(j, j->batch);
    for (int64_t i = begin; i < end; i++)
        for (int64_t d = 0; d < j->depth; d++) {
            uint16_t *left = j->b + 2 * i * j->line + d * j->planes * TILE_VALUES;
            tile_put_columns(j, &x, j->n0 + i * 32, d, left, left + j->line);
        }
}

/* Of a piece, tiles d on of k. After the last the piece below is expected. */
static tile_slab tile_slab_of(const tile_job *j, int64_t row, int64_t column, int64_t d)
{
    const int64_t tile = j->planes * TILE_VALUES, depth = at_most(j->depth - d, TILE_DEPTH / j->planes);
    const uint16_t *a = j->a + row / 16 * j->line, *b = j->b + column / 16 * j->line;
    tile_slab s = {.depth = depth, .line = j->line, .a = a + d * tile, .b = b + d * tile};
    bool below = d + depth == j->depth && row + j->step < j->m, deeper = d + 2 * depth <= j->depth;
    s.next_a = deeper ? s.a + depth * tile : below ? a + j->step / 16 * j->line : s.a;
    s.next_b = deeper ? s.b + depth * tile : below ? b : s.b;
    return s;
}

static void tile_piece(const tile_job *j, int64_t row, int64_t column)
{
    _Alignas(64) float sums[TILE_ROWS_MOST * TILE_SUMS];
    int64_t rows = at_most(j->m - row, j->step), columns = at_most(j->n - column, TILE_COLUMNS);
    memset(sums, 0, j->depth ? 0 : sizeof sums);
    for (int64_t d = 0; d < j->depth; d += TILE_DEPTH / j->planes) {
        tile_slab s = tile_slab_of(j, row, column, d);
        tile_add(j, rows, columns, &s, d == 0, sums);
    }
    tile_out(j, j->batch, j->m0 + row, rows, j->n0 + column, columns, sums);
}

static void tile_multiply(void *ctx, int64_t begin, int64_t end)
{
    const tile_job *j = ctx;
    int64_t down = (j->m + j->step - 1) / j->step, across = (j->n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    bool kept = j->m * j->depth * 64 * j->planes <= TILE_A_KEPT;
    tile_begin();
    for (int64_t i = begin; i < end; i++)
        if (kept) /* down the rows first: they share columns of b */
            tile_piece(j, i % down * j->step, i / down * TILE_COLUMNS);
        else /* all of a would come from memory for each of these */
            tile_piece(j, i / across * j->step, i % across * TILE_COLUMNS);
    tile_end();
}

/* The part of a and b in hand, both packed. */
static void tile_part(tile_job *j)
{
    int64_t across = (j->n + TILE_COLUMNS - 1) / TILE_COLUMNS;
    int64_t pieces = nx_pool_threads() > 1 ? TILE_PIECES * nx_pool_threads() : 1;
    int64_t step = j->m * across / pieces / TILE_ROWS * TILE_ROWS;
    j->step = step < TILE_ROWS ? TILE_ROWS : at_most(step, TILE_ROWS_MOST);
    nx_parallel((j->m + j->step - 1) / j->step * across, nx_grain(j->step * j->depth * 32 * TILE_COLUMNS, 1 << 20),
                tile_multiply, j);
}

static void tile_many(tile_job *j)
{
    const nx_gemm *g = &j->p->g;
    int64_t lines = nx_grain(j->depth * 2048 * j->planes, 32 * 1024); /* a share of 32 lines */
    for (j->batch = 0; j->batch < g->batches; j->batch++)
        for (j->m0 = 0; j->m0 < g->m; j->m0 += j->rows) { /* more of a than of b at a time, so b is packed again */
            j->m = at_most(g->m - j->m0, j->rows);
            nx_parallel(up32(j->m) / 16, 2 * lines, tile_pack_a, j);
            for (j->n0 = 0; j->n0 < g->n; j->n0 += j->columns) {
                j->n = at_most(g->n - j->n0, j->columns);
                nx_parallel(up32(j->n) / 32, lines, tile_pack_b, j);
                tile_part(j);
            }
        }
}

/* Of one thread a piece's columns, or as many more as fit its second cache when they are packed, in memory that others
 * had before them: what is packed at once beyond that goes to the outer cache and comes back. Several threads
 * multiply by what others have packed, and want many pieces. */
static int64_t tile_columns_at_once(const tile_job *j)
{
    int64_t each = j->depth * j->planes * 64 * TILE_COLUMNS;
    if (nx_pool_threads() > 1 || !each)
        return j->columns;
    return TILE_B_THREAD > each ? TILE_B_THREAD / each * TILE_COLUMNS : TILE_COLUMNS;
}

static void tile_run(const product *p, void *workspace)
{
    const nx_gemm *g = &p->g;
    tile_job j = {.p = p, .a = workspace};
    tile_plan(&j, p->out->dtype, g->m, g->n, g->k);
    if (tile_workspace(p->out->dtype, g->m, g->n, g->k)) {
        j.b = j.a + j.rows / 16 * j.line;
        j.columns = at_most(j.columns, tile_columns_at_once(&j)); /* what there is room for, at most */
        tile_many(&j);
        return;
    }
    j.swapped = g->m <= TILE_SWAPPED && p->b_row == 1;
    /* multiplications a piece, and what packing is like */
    int64_t work = (at_most(j.swapped ? g->n : g->m, TILE_ROWS) + 64) * g->k * at_most(j.swapped ? g->m : g->n, TILE_FEW);
    nx_parallel(g->batches * tile_down(&j) * tile_across(&j), nx_grain(work, 1 << 20), tile_few, &j);
}
